"""A filled catalogue, made once for all tests that only look."""

from pathlib import Path

import pytest

import geoetl
from dashboards.explore.model import ExploreModel
from geoetl.platform import Platform
from tests import catalogued


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with one item of each kind, which no test changes."""
    home: Path = tmp_path_factory.mktemp("filled") / "home"
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    return platform


@pytest.fixture
def model(filled: Platform) -> ExploreModel:
    """Give a page's model that does everything at once, with its list looked up."""
    made = ExploreModel(filled)
    made.search()
    return made


@pytest.fixture
def unwatched(filled: Platform) -> ExploreModel:
    """Give a model that nothing was asked of yet."""
    return ExploreModel(filled)
