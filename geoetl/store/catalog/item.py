"""The parts that every STAC item of ours is built from: assets of stored objects, provenance, footprints.

Sources: STAC 1.1.0; extensions file 2.1.0, processing 1.2.0.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from geoetl.core.spatial import BBox
from geoetl.core.temporal import utc_text
from geoetl.store.media_types import media_type_of
from geoetl.store.zones import StoredObject

STAC_VERSION = "1.1.0"
_SCHEMAS = "https://stac-extensions.github.io"
FILE = f"{_SCHEMAS}/file/v2.1.0/schema.json"
PROCESSING = f"{_SCHEMAS}/processing/v1.2.0/schema.json"
PROJECTION = f"{_SCHEMAS}/projection/v2.0.0/schema.json"
RASTER = f"{_SCHEMAS}/raster/v2.0.0/schema.json"
RENDER = f"{_SCHEMAS}/render/v2.0.0/schema.json"
TABLE = f"{_SCHEMAS}/table/v1.2.0/schema.json"
DATACUBE = f"{_SCHEMAS}/datacube/v2.3.0/schema.json"
XARRAY_ASSETS = f"{_SCHEMAS}/xarray-assets/v1.0.0/schema.json"
ZARR = f"{_SCHEMAS}/zarr/v1.1.0/schema.json"
VERSION = f"{_SCHEMAS}/version/v1.2.0/schema.json"
SCIENTIFIC = f"{_SCHEMAS}/scientific/v1.0.0/schema.json"
WEB_MAP_LINKS = f"{_SCHEMAS}/web-map-links/v1.2.0/schema.json"

# The multihash prefix of sha2-256 with 32 bytes, as file:checksum wants it.
_SHA256_MULTIHASH = "1220"


def object_asset(stored: StoredObject, *, title: str, roles: Iterable[str], **fields: Any) -> dict[str, Any]:
    """Return the asset of an object in a zone, with its size and checksum."""
    return {
        "href": stored.href,
        "type": media_type_of(stored.key),
        "title": title,
        "roles": list(roles),
        "file:size": stored.bytes,
        "file:checksum": _SHA256_MULTIHASH + stored.sha256,
        **fields,
    }


def new_item(
    *,
    item_id: str,
    collection: str,
    bbox: BBox,
    geometry: Mapping[str, Any] | None,
    times: Mapping[str, str | None],
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    extensions: Iterable[str],
    lineage: str,
    software: Iterable[str] = (),
    notebook: str | None = None,
) -> dict[str, Any]:
    """Return a STAC 1.1.0 item with provenance.

    Args:
        item_id: Its id.
        collection: The id of its collection.
        bbox: Its box; ``west > east`` when it crosses the antimeridian.
        geometry: Its footprint in CRS84; None takes the box.
        times: ``datetime``, or ``datetime: None`` with ``start_datetime`` and ``end_datetime``.
        properties: Further properties.
        assets: By key.
        extensions: Schemas of the extensions used, besides file and processing.
        lineage: How it was made, in one sentence.
        software: Packages whose versions are written down, besides geoetl.
        notebook: Portable address of the executed notebook.
    """
    links = [{"rel": "collection", "href": f"../{collection}", "type": "application/json"}]
    if notebook:
        links.append(
            {
                "rel": "processing-execution",
                "href": notebook,
                "type": "application/x-ipynb+json",
                "title": "The executed notebook",
            }
        )
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": sorted({FILE, PROCESSING, *extensions}),
        "id": item_id,
        "collection": collection,
        "bbox": bbox.as_list(),
        "geometry": dict(geometry) if geometry else bbox.geometry(),
        "properties": {
            **times,
            **properties,
            "processing:lineage": lineage,
            "processing:software": _versions(["geoetl", *software]),
        },
        "links": links,
        "assets": dict(assets),
    }


def new_collection(
    collection_id: str,
    *,
    title: str | None = None,
    description: str | None = None,
    licence: str = "other",
    providers: Iterable[str] = (),
    keywords: Iterable[str] = (),
) -> dict[str, Any]:
    """Return a STAC 1.1.0 collection whose extent is the whole world and all time, until items narrow it."""
    words = title or collection_id.replace("-", " ").replace("_", " ").capitalize()
    collection: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": collection_id,
        "title": words,
        "description": description or f"{words}.",
        "license": licence,
        "extent": {"spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }
    if named := list(providers):
        collection["providers"] = [{"name": name, "roles": ["producer"]} for name in named]
    if listed := list(keywords):
        collection["keywords"] = listed
    return collection


def with_extent(collection: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the collection with the extent of these items; without any it keeps its own."""
    box: BBox | None = None
    starts: list[str] = []
    ends: list[str] = []
    for item in items:
        here = BBox.from_list(item["bbox"])
        box = here if box is None else box.union(here)
        properties = item["properties"]
        starts.append(properties.get("start_datetime") or properties["datetime"])
        ends.append(properties.get("end_datetime") or properties["datetime"])
    if box is None:
        return dict(collection)
    extent = {
        "spatial": {"bbox": [box.as_list()]},
        "temporal": {"interval": [[min(starts), max(ends)]]},
    }
    return {**collection, "extent": extent}


def instant(moment: datetime) -> dict[str, str | None]:
    """Return the time properties of one instant."""
    return {"datetime": utc_text(moment)}


def period(start: datetime, end: datetime) -> dict[str, str | None]:
    """Return the time properties of a period; one of no length becomes an instant."""
    if start == end:
        return instant(start)
    return {"datetime": None, "start_datetime": utc_text(start), "end_datetime": utc_text(end)}


def _versions(packages: Iterable[str]) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in packages}
