"""The stages of ingest on folders of their own."""

from pathlib import Path

import pytest

from geoetl.core.settings import LimitSettings
from geoetl.ingest import RasterIngest, VectorIngest
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.gate import Gate
from geoetl.store.samples import sample_path
from geoetl.store.zones import Zone
from tests.migrated import sqlite_database


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Gate, Zone, Path]:
    """Give a gate, an internal zone and a scratch folder."""
    database = sqlite_database(tmp_path / "test.db")
    roots = (tmp_path.resolve(), sample_path("landsat_rgb.tif"), sample_path("us_states.geojson"))
    zone = Zone("internal", (tmp_path / "zone").as_uri(), ArtifactRepository(database), tmp_path / "cache")
    return Gate(roots, LimitSettings()), zone, tmp_path / "scratch"


@pytest.fixture
def raster(parts: tuple[Gate, Zone, Path]) -> RasterIngest:
    """Give the stages of `ingest-raster`."""
    return RasterIngest(*parts)


@pytest.fixture
def vector(parts: tuple[Gate, Zone, Path]) -> VectorIngest:
    """Give the stages of `ingest-vector`."""
    return VectorIngest(*parts)
