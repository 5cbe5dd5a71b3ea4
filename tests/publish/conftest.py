"""Releases in a database of each kind, with a clock that stands."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geoetl.publish.repository import ReleaseRepository
from geoetl.store.database import Database
from tests.migrated import sqlite_url
from tests.publish.releasing import Clock

pytest.register_assert_rewrite("geoetl.testing.copiers")


@pytest.fixture(scope="session")
def new_sqlite_url() -> Callable[[Path], str]:
    """Give ``new_sqlite_url(folder)``: the URL of a database with the whole schema."""
    return lambda folder: sqlite_url(folder / "geoetl.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, new_sqlite_url: Callable[[Path], str], tmp_path: Path
) -> Iterator[Database]:
    """Give an empty database; each test runs on both kinds."""
    made = Database(new_sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("pgstac_url"))
    yield made
    made.dispose()


@pytest.fixture
def sqlite(new_sqlite_url: Callable[[Path], str], tmp_path: Path) -> Iterator[Database]:
    """Give an empty SQLite database, where the kind does not matter."""
    made = Database(new_sqlite_url(tmp_path))
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    """Give the clock of the releases."""
    return Clock()


@pytest.fixture
def releases(database: Database, clock: Clock) -> ReleaseRepository:
    """Give the releases of an empty database."""
    return ReleaseRepository(database, clock)
