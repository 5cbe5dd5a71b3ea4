"""STAC documents and an empty catalogue of each back end, for every test that needs some."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geoetl.core.spatial import BBox
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.catalog import PgstacCatalog, SqliteCatalog
from geoetl.store.database import Database
from geoetl.store.zones import Zone, Zones
from tests.migrated import sqlite_database
from tests.postgres import PostgresServer

# In the folder of a catalogue on PostgreSQL, so that another process finds its database.
URL_FILE = "pgstac-url"


def sqlite_catalog(folder: Path) -> SqliteCatalog:
    """Give the catalogue in a database of its own in `folder`, with both zones beside it."""
    database = sqlite_database(folder / "geoetl.db")
    return SqliteCatalog(database, _zones(folder, database))


def pgstac_catalog(folder: Path) -> PgstacCatalog:
    """Give the catalogue in the PostgreSQL database that `folder` names, with both zones beside it."""
    database = Database((folder / URL_FILE).read_text())
    return PgstacCatalog(database, _zones(folder, database))


AnyCatalog = SqliteCatalog | PgstacCatalog
# A further back end joins with one line: its name and what makes the catalogue of a folder.
BACK_ENDS: dict[str, Callable[[Path], AnyCatalog]] = {"sqlite": sqlite_catalog, "pgstac": pgstac_catalog}


def prepare(back_end: str, folder: Path, request: pytest.FixtureRequest) -> Path:
    """Make what a back end needs in an empty folder, and return the folder."""
    if back_end == "pgstac":
        url = request.getfixturevalue("new_pgstac_url")()
        server: PostgresServer = request.getfixturevalue("postgres")
        request.addfinalizer(lambda: server.drop(url))
        (folder / URL_FILE).write_text(url)
    return folder


def _zones(folder: Path, database: Database) -> Zones:
    artifacts = ArtifactRepository(database)
    internal, external = (
        Zone(name, (folder / name).as_uri(), artifacts, folder / "cache") for name in ("internal", "external")
    )
    return Zones(internal, external)


def a_collection(collection_id: str = "demo", **fields: Any) -> dict[str, Any]:
    """Give a collection over the whole world."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection_id,
        "title": f"Collection {collection_id}",
        "description": "Made for a test.",
        "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        **fields,
    }


def an_item(
    item_id: str = "one",
    *,
    collection: str = "demo",
    box: tuple[float, float, float, float] = (5.0, 50.0, 6.0, 51.0),
    geometry: dict[str, Any] | None = None,
    time: str | None = "2020-06-01T00:00:00Z",
    properties: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Give an item whose geometry is its box, unless another is given."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item_id,
        "collection": collection,
        "bbox": list(box),
        "geometry": geometry or BBox(*box).geometry(),
        "properties": {"datetime": time, **(properties or {})},
        "links": [],
        "assets": {},
        **fields,
    }
