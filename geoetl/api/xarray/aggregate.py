"""Fields over time over HTTP: a statistic of each cell of a region."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from geoetl.access.aggregate import edges_of
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.export import NPY, TIFF
from geoetl.access.frame import GEOGRAPHIC, Extent
from geoetl.access.region import Region
from geoetl.access.regional_export import field_file
from geoetl.api.answers import ModelRoute, file_answer
from geoetl.api.raster import rescale_of, selection_of
from geoetl.api.xarray.asked import (
    Asset,
    Collection,
    EndTime,
    Item,
    OnlyEstimate,
    Percentile,
    Sel,
    StartTime,
    Statistic,
    Variable,
)
from geoetl.api.xarray.place import Document, Place, place_of
from geoetl.api.xarray.point import EXTENSIONS, MEDIA_TYPES, TimeRange
from geoetl.core.errors import InvalidParameter, did_you_mean
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    from geoetl.access.aggregate import FieldAggregate
    from geoetl.platform import Platform

_PICTURES = ("png", "jpeg", "webp")
_RASTERS = {"tif": TIFF, "npy": NPY}
FORMATS = ("json", *_RASTERS, *_PICTURES, *MEDIA_TYPES)
_MEDIA_TYPES = (*_RASTERS.values(), *(f"image/{name}" for name in _PICTURES), *MEDIA_TYPES.values())
_FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.partition(";")[0] if kind.startswith("text") else kind: {} for kind in _MEDIA_TYPES}}
}


class FieldSummary(BaseModel):
    """What a field is like over the region, each cell weighted by what of it lies inside; null without data."""

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    median: float | None
    valid_pixels: int
    data_share: float | None


class AggregateAnswer(BaseModel):
    """What a field over time is like; its values come in the other formats."""

    bbox: tuple[float, float, float, float]
    region_name: str | None
    collection_id: str
    item_id: str
    asset: str
    variable: str
    title: str
    unit: str | None
    sel: dict[str, str | float | int]
    aggregation: str
    percentile: float | None
    time_range: TimeRange
    steps: int
    calendar: str | None
    shape: list[int]
    statistics: FieldSummary
    method: str
    weighting: str
    dataset_version: str | None


@dataclass(frozen=True)
class _Asked:
    """What is asked about a region."""

    options: dict[str, Any]
    format: str
    colormap: str
    rescale: Any
    estimate: bool


def _asked(
    asset: Asset = None,
    variable: Variable = None,
    sel: Sel = [],  # noqa: B006  FastAPI copies a default
    start_time: StartTime = None,
    end_time: EndTime = None,
    aggregation: Annotated[Statistic, Query(description="What is taken of each cell over time")] = "mean",
    percentile: Percentile = None,
    format: Annotated[str, Query(description=", ".join(FORMATS))] = "json",
    colormap: Annotated[str, Query(description="Name of a colour map, _r reversed")] = "viridis",
    rescale: Annotated[str, Query(description="low,high or auto: the 2nd to 98th percentile of the field")] = "auto",
    estimate: OnlyEstimate = False,
) -> _Asked:
    options = {
        "asset": asset,
        "variable": variable,
        "sel": selection_of(sel),
        "start_time": start_time,
        "end_time": end_time,
        "aggregation": aggregation,
        "percentile": percentile,
    }
    wanted = "jpeg" if format == "jpg" else format
    if wanted not in FORMATS:
        raise InvalidParameter(
            f"format is '{format[:40]}'; expected one of {', '.join(FORMATS)}.",
            hint=did_you_mean(format, FORMATS),
            field="format",
        )
    return _Asked(options, wanted, colormap, rescale_of(rescale), estimate)


Asked = Annotated[_Asked, Depends(_asked)]


def router(platform: "Platform") -> APIRouter:
    """Return the routes of fields over time."""
    routes = APIRouter(prefix="/api/xarray", tags=["xarray"], route_class=ModelRoute)
    limits = QueryLimits.of_requests(platform.settings.limits, platform.settings.query)
    answers = AggregateAnswer | Estimate

    def answered(
        collection: str, item: str, region: BBox | Region, asked: _Asked
    ) -> AggregateAnswer | Estimate | Response:
        ids = check_id(collection, "collection"), check_id(item, "item")
        if asked.estimate:
            return platform.cube.estimate_aggregate(*ids, region, **asked.options, limits=limits)
        field = platform.cube.aggregate(*ids, region, **asked.options, limits=limits)
        return _answer(field) if asked.format == "json" else _file(field, asked)

    @routes.get("/aggregate/{collection}/{item}", responses=_FILES, response_model=answers)
    def aggregate(
        collection: Collection, item: Item, place: Annotated[Place, Depends(place_of)], asked: Asked
    ) -> AggregateAnswer | Estimate | Response:
        """Return a statistic over time of each cell of a box or a named boundary, north up, outside of it no data."""
        return answered(collection, item, place.region(platform), asked)

    @routes.post("/aggregate/{collection}/{item}", responses=_FILES, response_model=answers)
    def aggregate_of_geometry(
        collection: Collection, item: Item, document: Document, asked: Asked
    ) -> AggregateAnswer | Estimate | Response:
        """Return a statistic over time of each cell of a GeoJSON geometry, north up, outside of it no data."""
        return answered(collection, item, Region.from_geojson(document), asked)

    return routes


def _answer(field: "FieldAggregate") -> AggregateAnswer:
    first, last = field.time_range or (None, None)
    return AggregateAnswer(
        bbox=(field.bbox.west, field.bbox.south, field.bbox.east, field.bbox.north),
        region_name=field.region_name,
        collection_id=field.source.collection,
        item_id=field.source.item,
        asset=field.source.asset,
        variable=field.variable,
        title=field.title,
        unit=field.units,
        sel=field.sel,
        aggregation=field.aggregation,
        percentile=field.percentile,
        time_range=TimeRange(start=first, end=last),
        steps=field.steps,
        calendar=field.calendar,
        shape=list(field.shape),
        statistics=FieldSummary(**field.statistics.model_dump()),
        method=field.method,
        weighting=field.weighting,
        dataset_version=field.source.dataset_version,
    )


def _file(field: "FieldAggregate", asked: _Asked) -> Response:
    bbox, crs, method = field.bbox, None, field.method
    if asked.format in _PICTURES:
        picture = field.picture(format=asked.format, colormap=asked.colormap, rescale=asked.rescale)
        content, media_type, extension = picture.content, picture.media_type, asked.format
        bbox, crs, method = picture.bbox, picture.crs, picture.method
    elif asked.format in _RASTERS:
        raster = field.to_raster(format=asked.format)
        content, media_type, extension = raster.content, raster.media_type, asked.format
        bbox, crs, method = Extent.from_edges(*edges_of(raster)).bbox, GEOGRAPHIC, raster.method
    else:
        content, media_type = field_file(field, asked.format), MEDIA_TYPES[asked.format]
        extension = EXTENSIONS[asked.format]
    return file_answer(
        content,
        media_type,
        source=field.source,
        variable=field.variable,
        units=field.units,
        method=method,
        weighting=field.weighting,
        time=field.time_text,
        calendar=field.calendar,
        sel=field.sel,
        bbox=bbox,
        crs=crs,
        name=f"{field.source.item}-{field.aggregation}.{extension}",
    )
