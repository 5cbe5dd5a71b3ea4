"""The STAC item of features."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from geoetl.core.findings import Severity
from geoetl.core.spatial import BBox
from geoetl.core.temporal import parse_instant
from geoetl.ingest.vector.request import VectorRequest
from geoetl.ingest.vector.result import CheckedVector, VectorFiles
from geoetl.store.catalog.item import PROJECTION, TABLE, instant, new_item, object_asset


def described(
    request: VectorRequest,
    checked: CheckedVector,
    files: VectorFiles,
    notebook: str | None,
    present: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the item with its table fields.

    Args:
        request: What was asked for.
        checked: What the source holds.
        files: What was made of it.
        notebook: Portable address of the executed notebook.
        present: Properties of the item that features are added to; it keeps what the request does not say anew.

    Sources: STAC extensions table 1.2.0 and projection 2.0.0.
    """
    geometry_column = {"name": "geometry", "type": "binary", "description": "WKB, longitude and latitude"}
    columns = [{"name": column.name, "type": column.type} for column in files.columns]
    repairs = sum(1 for finding in checked.findings if finding.severity is Severity.WARNING)
    told = {
        "title": request.title,
        "description": request.description,
        "license": request.license,
        "attribution": request.attribution,
        "keywords": list(request.keywords),
    }
    kept = {name: present[name] for name in told if name in present}
    added = "added to the features that were there, " if checked.present else ""
    return new_item(
        item_id=request.item_id,
        collection=request.collection,
        bbox=BBox.from_list(files.bbox),
        geometry=None,
        times=_times(request, files),
        properties={
            "title": request.item_title,
            **kept,
            **{name: value for name, value in told.items() if value},
            "table:primary_geometry": "geometry",
            "table:row_count": files.rows,
            "table:columns": [*columns, geometry_column],
            "proj:code": "EPSG:4326",
        },
        assets={
            "data": object_asset(files.data, title="GeoParquet", roles=["data"]),
            "pmtiles": object_asset(files.pmtiles, title="Vector tiles (PMTiles)", roles=["visual"]),
            "thumbnail": object_asset(files.thumbnail, title="Thumbnail", roles=["thumbnail"]),
        },
        extensions=[TABLE, PROJECTION],
        lineage=(
            f"{checked.name} (sha256 {checked.sha256[:12]}…), {checked.rows} of {checked.rows_read} features, "
            f"{repairs} kinds of repair, from {checked.crs[:60]}, {added}"
            "to GeoParquet 1.1 and PMTiles in longitude and latitude"
        ),
        software=["geopandas", "pyogrio", "pyarrow", "shapely"],
        notebook=notebook,
    )


def _times(request: VectorRequest, files: VectorFiles) -> dict[str, str | None]:
    if files.interval is None:
        return instant(parse_instant(request.valid_at) if request.valid_at else datetime.now(UTC))
    first, last = files.interval
    if first == last:
        return instant(parse_instant(first))
    return {"datetime": None, "start_datetime": first, "end_datetime": last}
