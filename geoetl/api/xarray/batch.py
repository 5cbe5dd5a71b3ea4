"""Series of many places in many items over HTTP."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field

from geoetl.access.batch import BatchItem, BatchProblem
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.api.answers import ModelRoute, StrictJSON
from geoetl.api.xarray.asked import Resolution, Statistic
from geoetl.api.xarray.point import FILES, MEDIA_TYPES, format_of
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.platform import Platform

_EXAMPLE = {
    "points": ["denver", [-90, 40], "-100,35"],
    "items": ["demo-cubes/air_temperature_small"],
    "variable": "air",
    "resolution": "daily",
    "statistic": "max",
}


class BatchQuestion(BaseModel):
    """Many places in many items.

    Attributes:
        points: Names, ``lon,lat`` as text, or [lon, lat] in degrees.
        items: ``COLLECTION/ITEM``, or documents that name an asset or a variable too.
        variable: Variable where an item does not say; left out, the item's own.
        sel: A value for each extra dimension.
        start_time: First time, in each cube's own calendar.
        end_time: Last time; of a partial date all of it.
        resolution: What the steps are grouped into.
        statistic: What is taken of each group.
        percentile: Which percentile, 0 to 100, where the statistic is that.
        format: json, csv, parquet or netcdf (of one item).
        estimate: Answer what it would cost instead.
    """

    model_config = ConfigDict(extra="forbid")

    points: list[str | list[float]]
    items: list[str | BatchItem]
    variable: str | None = None
    sel: dict[str, str | float | int] = {}
    start_time: str | None = None
    end_time: str | None = None
    resolution: Resolution = "none"
    statistic: Statistic = "mean"
    percentile: float | None = Field(None, ge=0, le=100)
    format: str = "json"
    estimate: bool = False


class BatchRow(BaseModel):
    """The value of a place in an item at a step, or over a period.

    Attributes:
        place: Number of the place in the question, from 1.
        place_name: Null where coordinates were given.
        lon: Longitude that was asked for.
        lat: Latitude that was asked for.
        cell_lon: Longitude of the centre of the cell that was read.
        cell_lat: Its latitude.
        distance_km: Between the two.
        collection: STAC collection id.
        item: STAC item id.
        asset: Key of the asset.
        variable: Name of the variable.
        sel: Values of the extra dimensions.
        time: ISO 8601 in the cube's own calendar, or the label of the period.
        calendar: CF calendar of the times.
        start: First day of the period, or the time.
        end: Last day of the period, or the time.
        bidx: Index of the step on the item's time axis, from 1; null for a period.
        first_index: Index of the first step.
        last_index: Index of the last step.
        count: How many steps have data.
        value: Null where there is no data.
        units: Units of the value.
        statistic: What was taken of a period.
        method: How the value was made.
        weighting: How it was weighted.
        dataset_version: Version of the item.
    """

    place: int
    place_name: str | None
    lon: float
    lat: float
    cell_lon: float
    cell_lat: float
    distance_km: float
    collection: str
    item: str
    asset: str
    variable: str
    sel: str | None
    time: str | None
    calendar: str | None
    start: str | None
    end: str | None
    bidx: int | None
    first_index: int
    last_index: int
    count: int
    value: float | None
    units: str | None
    statistic: str | None
    method: str
    weighting: str
    dataset_version: str | None


class BatchAnswer(BaseModel):
    """One long table, and what could not be read."""

    rows: list[BatchRow]
    problems: list[BatchProblem]


def router(platform: "Platform") -> APIRouter:
    """Return the route of many places at once."""
    routes = APIRouter(prefix="/api/xarray", tags=["xarray"], route_class=ModelRoute)
    limits = QueryLimits.of_requests(platform.settings.limits, platform.settings.query)

    @routes.post(
        "/batch", responses={**FILES, 200: {**FILES[200], "model": BatchAnswer | Estimate}}, response_model=None
    )
    def batch(question: Annotated[BatchQuestion, Body(examples=[_EXAMPLE])]) -> Estimate | Response:
        """Return the series of many places in many items as one table; what cannot be read is listed beside it."""
        wanted = format_of(question.format)
        items = [BatchItem.of(item) for item in question.items]
        for item in items:
            check_id(item.collection, "items")
            check_id(item.item, "items")
        asked: dict[str, Any] = {
            "variable": question.variable,
            "sel": question.sel,
            "start_time": question.start_time,
            "end_time": question.end_time,
            "resolution": question.resolution,
            "statistic": question.statistic,
            "percentile": question.percentile,
            "limits": limits,
        }
        if question.estimate:
            return platform.cube.estimate_batch(question.points, items, **asked)
        table = platform.cube.batch(question.points, items, **asked)
        if wanted == "json":
            problems = [problem.model_dump() for problem in table.problems]
            return StrictJSON({"rows": table.rows(), "problems": problems})
        headers = {"X-Problems": str(len(table.problems))}
        return Response(table.file(wanted), media_type=MEDIA_TYPES[wanted], headers=headers)

    return routes
