"""The STAC item of features."""

from datetime import UTC, datetime
from typing import Any

from geoetl.core.findings import Severity
from geoetl.core.spatial import BBox
from geoetl.core.temporal import parse_instant
from geoetl.ingest.vector.request import VectorRequest
from geoetl.ingest.vector.result import CheckedVector, VectorFiles
from geoetl.store.catalog.item import PROJECTION, TABLE, instant, new_item, object_asset


def described(
    request: VectorRequest, checked: CheckedVector, files: VectorFiles, notebook: str | None
) -> dict[str, Any]:
    """Return the item with its table fields.

    Sources: STAC extensions table 1.2.0 and projection 2.0.0.
    """
    geometry_column = {"name": "geometry", "type": "binary", "description": "WKB, longitude and latitude"}
    columns = [{"name": column.name, "type": column.type} for column in files.columns]
    repairs = sum(1 for finding in checked.findings if finding.severity is Severity.WARNING)
    told = {
        "description": request.description,
        "license": request.license,
        "attribution": request.attribution,
        "keywords": list(request.keywords),
    }
    added = "added to the features that were there, " if checked.present else ""
    return new_item(
        item_id=request.item_id,
        collection=request.collection,
        bbox=BBox.from_list(files.bbox),
        geometry=None,
        times=_times(request, files),
        properties={
            "title": request.item_title,
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
