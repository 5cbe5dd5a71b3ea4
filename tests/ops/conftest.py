"""A platform on a database of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.housed import House, connect


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, home: Path) -> Iterator[House]:
    """Give an empty platform; each test runs on both kinds of database."""
    url = request.getfixturevalue("pgstac_url") if request.param == "postgresql" else None
    platform = connect(home, url)
    yield House(platform)
    platform.database.dispose()


@pytest.fixture
def cottage(home: Path) -> Iterator[House]:
    """Give an empty platform on SQLite, where the kind of database does not matter."""
    platform = connect(home)
    yield House(platform)
    platform.database.dispose()
