"""Items that are submitted and published by hand, in the tests of what people see of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.transform import from_bounds

from geoetl.core.principal import Principal, Role, Via
from geoetl.ingest import RasterRequest, VectorRequest
from geoetl.platform import Platform, Registered
from geoetl.publish.model import Action, Release
from geoetl.publish.steps import Step
from geoetl.publish.transition import SYSTEM

AUTHOR = Principal("1", "Ada Editor", Role.EDITOR, Via.COOKIE)
APPROVER = Principal("4", "Abe Approver", Role.APPROVER, Via.COOKIE)
VIEWER = Principal("2", "Vera Viewer", Role.VIEWER, Via.COOKIE)
PLACES, IMAGES = "places", "images"
FIELDS, HILL = "fields", "hill"


def field_rows(count: int, **changed: str) -> list[dict[str, Any]]:
    """Return so many fields side by side, each with a code; `changed` gives those of some codes another name."""
    rows = []
    for number in range(count):
        code = f"f{number:02}"
        west, south = 5 + number % 8 * 0.5, 45 + number // 8 * 0.5
        shape = shapely.box(west, south, west + 0.4, south + 0.4)
        rows.append({"code": code, "name": changed.get(code, f"Field {number}"), "crop": number % 3, "geometry": shape})
    return rows


def bring_fields(
    platform: Platform, rows: Sequence[dict[str, Any]], *, title: str = "Fields", item: str = FIELDS, **further: Any
) -> None:
    """Make a vector item of rows, in the internal zone, with its style."""
    path = _dropped(platform, f"{item}.gpkg")
    gpd.GeoDataFrame(list(rows), crs=4326).to_file(path, driver="GPKG")
    said = {"license": "CC-BY-4.0", "attribution": "The shire", "description": "Fields of the shire.", **further}
    request = VectorRequest(source=str(path), collection=PLACES, item=item, title=title, **said)
    ingest = platform.ingest.vector
    checked = ingest.validate(request)
    made = ingest.item(request, checked, ingest.to_files(request, checked), None)
    _register(platform, made)


def bring_hill(platform: Platform, *, height: float = 1000.0, title: str = "A hill") -> None:
    """Make a raster item of a cone, in the internal zone, with its style."""
    path = _dropped(platform, "hill.tif")
    rows, columns = np.mgrid[0:60, 0:80]
    heights = (height - 12 * np.hypot(rows - 30, columns - 40)).astype(np.float32)
    profile = {"driver": "GTiff", "height": 60, "width": 80, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", transform=from_bounds(5, 45, 9, 48, 80, 60), **profile) as out:
        out.write(heights, 1)
    request = RasterRequest(source=str(path), collection=IMAGES, item=HILL, title=title)
    ingest = platform.ingest.raster
    checked = ingest.validate(request)
    made = ingest.item(request, checked, ingest.to_cog(request, checked), None)
    _register(platform, made)


def submitted(platform: Platform, item: str = FIELDS, collection: str = PLACES, **further: Any) -> Release:
    """Submit an item as the author."""
    return platform.publish.submit(AUTHOR, collection, item, **further)


def published(platform: Platform, release: Release) -> Release:
    """Approve a release and copy it, without a run."""
    publish, releases = platform.publish, platform.publish.repository
    seen = {"revision": release.revision, "manifest_digest": release.manifest_digest}
    step = Step(release.id, Action.APPROVE, **seen)  # type: ignore[arg-type]
    approved = releases.move(APPROVER, step)
    assert approved.approval is not None
    begin = Step(release.id, Action.BEGIN_COPY, approved.revision, nonce=approved.approval.nonce, run_id="byhand")
    begun = releases.move(SYSTEM, begin)
    publish.make_delivery().deliver(begun.manifest, begun.id, lambda objects, size: None)
    return releases.move(SYSTEM, Step(release.id, Action.FINISH_COPY, begun.revision, run_id="byhand"))


def _register(platform: Platform, item: dict[str, Any]) -> None:
    registered: Registered = platform.register([item])
    platform.style(platform.illustrate(registered) if item["collection"] == IMAGES else registered)


def _dropped(platform: Platform, name: str) -> Path:
    folder = platform.settings.home / "drop"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
