"""STAC documents and an empty embedded catalogue, for every test that needs some."""

from pathlib import Path
from typing import Any

from geoetl.core.spatial import BBox
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.catalog import SqliteCatalog
from geoetl.store.database import Database
from geoetl.store.zones import Zone, Zones


def sqlite_catalog(folder: Path) -> SqliteCatalog:
    """Give an empty catalogue in a database of its own, with both zones beside it."""
    database = Database(f"sqlite:///{folder / 'geoetl.db'}")
    database.upgrade()
    artifacts = ArtifactRepository(database)
    internal, external = (
        Zone(name, (folder / name).as_uri(), artifacts, folder / "cache") for name in ("internal", "external")
    )
    return SqliteCatalog(database, Zones(internal, external))


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
