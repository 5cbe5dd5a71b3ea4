"""A database of each kind, with the schema in place."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from geoetl.core.settings import DaskSettings
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Submission
from geoetl.runs.repository import RunRepository
from geoetl.runs.stage import Run
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.zones import Zone, Zones
from tests.migrated import sqlite_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give an upgraded database; each contract test runs on both kinds."""
    if request.param == "sqlite":
        made = sqlite_database(tmp_path / "test.db")
    else:
        made = Database(request.getfixturevalue("pgstac_url"))
    yield made
    made.dispose()


@pytest.fixture
def repository(database: Database) -> RunRepository:
    """Give the runs of an empty database."""
    return RunRepository(database)


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    """Give two empty file zones."""
    database = sqlite_database(tmp_path / "zones.db")
    artifacts = ArtifactRepository(database)
    internal, external = (
        Zone(name, (tmp_path / name).as_uri(), artifacts, tmp_path / "cache") for name in ("internal", "external")
    )
    return Zones(internal, external)


@pytest.fixture
def run(repository: RunRepository, zones: Zones) -> Run:
    """Give a run that has just begun."""
    worker = repository.queue.enter(ProcessMark.own(), 0)
    claim = repository.queue.begin(Submission("test", {}, "a" * 64, "test"), worker)
    return Run(claim.run_id, claim.attempt, repository, zones, DaskSettings())
