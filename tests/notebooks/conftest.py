"""A platform on a home folder of its own."""

from pathlib import Path

import pytest

import geoetl
from geoetl.platform import Platform


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give an empty platform."""
    return geoetl.connect()
