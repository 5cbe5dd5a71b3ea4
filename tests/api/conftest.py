"""The API over a filled catalogue, made once for all tests that only ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app as create_api
from geoetl.platform import Platform
from tests import catalogued

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with one item of each kind, which no test changes."""
    home: Path = tmp_path_factory.mktemp("asked") / "home"
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    return platform


@pytest.fixture(scope="session")
def client(filled: Platform) -> Iterator[TestClient]:
    """Give a client that meets errors as answers."""
    with TestClient(create_api(filled), base_url=ADDRESS, raise_server_exceptions=False) as made:
        yield made
