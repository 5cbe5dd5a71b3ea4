"""A gate on a folder of its own, and zones in it."""

from pathlib import Path

import pytest

from geoetl.core.settings import LimitSettings
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone
from tests.migrated import sqlite_database


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Give a gate that lets in what lies in the test's folder."""
    return Gate((tmp_path.resolve(),), LimitSettings())


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    """Give an empty file zone."""
    database = sqlite_database(tmp_path / "zone.db")
    return Zone("internal", (tmp_path / "zone").as_uri(), ArtifactRepository(database), tmp_path / "cache")
