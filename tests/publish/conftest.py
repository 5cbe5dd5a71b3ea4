"""Releases in a database of each kind, with a clock that stands."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geoetl.publish.repository import ReleaseRepository
from geoetl.store.database import Database
from tests.publish.releasing import Clock

pytest.register_assert_rewrite("geoetl.testing.copiers")


@pytest.fixture(scope="session")
def new_sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Give ``new_sqlite_url(folder)``: the URL of a database with the whole schema, a copy of one for the session."""
    template = tmp_path_factory.mktemp("template") / "geoetl.db"
    database = Database(f"sqlite:///{template}")
    database.upgrade()
    database.dispose()

    def copy(folder: Path) -> str:
        shutil.copy(template, folder / "geoetl.db")
        return f"sqlite:///{folder / 'geoetl.db'}"

    return copy


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, new_sqlite_url: Callable[[Path], str], tmp_path: Path
) -> Iterator[Database]:
    """Give an empty database; each test runs on both kinds."""
    made = Database(
        new_sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("new_pgstac_url")()
    )
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
