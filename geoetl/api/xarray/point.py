"""Series at a place over HTTP."""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.table_export import series_file
from geoetl.api.answers import ModelRoute, file_answer
from geoetl.api.raster import selection_of
from geoetl.api.xarray.asked import (
    Asset,
    Collection,
    EndTime,
    Item,
    OnlyEstimate,
    Percentile,
    Resolution,
    Sel,
    StartTime,
    Statistic,
    Variable,
)
from geoetl.core.errors import InvalidParameter, did_you_mean
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.access import Series
    from geoetl.platform import Platform

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "netcdf": "application/netcdf",
}
FORMATS = ("json", *MEDIA_TYPES)
EXTENSIONS = {"csv": "csv", "parquet": "parquet", "netcdf": "nc"}
FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}}
}
Format = Annotated[str, Query(description=", ".join(FORMATS))]


class Value(BaseModel):
    """The value of a step, or of the steps of a period.

    Attributes:
        time: ISO 8601 in the cube's own calendar, or the label of the period.
        value: Null where there is no data.
        bidx: Index of the step on the item's time axis, from 1: a time_index. Null for a period of several steps.
        start: First day of the period; null for a step.
        end: Last day of the period; null for a step.
        first_index: Index of the first step of the period, or of the step.
        last_index: Index of the last step of the period, or of the step.
        count: How many of its steps have data.
    """

    time: str | None
    value: float | None
    bidx: int | None
    start: str | None
    end: str | None
    first_index: int
    last_index: int
    count: int


class TimeRange(BaseModel):
    """Times of the first and the last step that were taken; null without time."""

    start: str | None
    end: str | None


class Summary(BaseModel):
    """What the values of a series are like; those without data are left out."""

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    count: int


class SeriesAnswer(BaseModel):
    """A series at a place; longitude comes first, in degrees."""

    location: tuple[float, float]
    location_name: str | None
    cell: tuple[float, float]
    distance_km: float
    collection_id: str
    item_id: str
    asset: str
    variable: str
    title: str
    unit: str | None
    sel: dict[str, str | float | int]
    time_range: TimeRange
    calendar: str | None
    aggregation: str
    statistic: str
    percentile: float | None
    time_series: list[Value]
    statistics: Summary
    method: str
    weighting: str
    dataset_version: str | None


def router(platform: "Platform") -> APIRouter:
    """Return the route of series at a place."""
    routes = APIRouter(prefix="/api/xarray", tags=["xarray"], route_class=ModelRoute)
    limits = QueryLimits.of_requests(platform.settings.limits, platform.settings.query)

    @routes.get("/point/{collection}/{item}", responses=FILES, response_model=SeriesAnswer | Estimate)
    def point(
        collection: Collection,
        item: Item,
        location: Annotated[str, Query(description="lon,lat in degrees, or a name such as paris")],
        asset: Asset = None,
        variable: Variable = None,
        sel: Sel = [],  # noqa: B006  FastAPI copies a default
        start_time: StartTime = None,
        end_time: EndTime = None,
        aggregation: Annotated[Resolution, Query(description="What the steps are grouped into")] = "none",
        statistic: Annotated[Statistic, Query(description="What is taken of each group")] = "mean",
        percentile: Percentile = None,
        format: Format = "json",
        estimate: OnlyEstimate = False,
    ) -> SeriesAnswer | Estimate | Response:
        """Return the values over time in the cell nearest to a place, or a statistic of each period."""
        wanted = format_of(format)
        ids = check_id(collection, "collection"), check_id(item, "item")
        asked: dict[str, Any] = {
            "asset": asset,
            "variable": variable,
            "sel": selection_of(sel),
            "start_time": start_time,
            "end_time": end_time,
            "resolution": aggregation,
            "statistic": statistic,
            "percentile": percentile,
            "limits": limits,
        }
        if estimate:
            return platform.cube.estimate_series(*ids, location, **asked)
        series = platform.cube.series(*ids, location, **asked)
        return _answer(series) if wanted == "json" else _file(series, wanted)

    return routes


def format_of(name: str) -> str:
    """Return the name of a format.

    Raises:
        InvalidParameter: There is none of that name.
    """
    if name not in FORMATS:
        raise InvalidParameter(
            f"format is '{name[:40]}'; expected one of {', '.join(FORMATS)}.",
            hint=did_you_mean(name, FORMATS),
            field="format",
        )
    return name


def _answer(series: "Series") -> SeriesAnswer:
    times = series.times or (None,) * len(series.values)
    nothing = (None,) * len(series.values)
    rows = zip(
        times,
        series.values,
        series.starts or nothing,
        series.ends or nothing,
        series.first_index,
        series.last_index,
        series.counts,
        strict=True,
    )
    # A period's value is that of no step; only an index that leads to the value itself is called one.
    values = [
        Value(
            time=time,
            value=value,
            bidx=None if series.is_grouped else first,
            start=start,
            end=end,
            first_index=first,
            last_index=last,
            count=count,
        )
        for time, value, start, end, first, last, count in rows
    ]
    first_time, last_time = series.time_range or (None, None)
    return SeriesAnswer(
        location=(series.location.lon, series.location.lat),
        location_name=series.location_name,
        cell=(series.cell.lon, series.cell.lat),
        distance_km=series.distance_km,
        collection_id=series.source.collection,
        item_id=series.source.item,
        asset=series.source.asset,
        variable=series.variable,
        title=series.title,
        unit=series.units,
        sel=series.sel,
        time_range=TimeRange(start=first_time, end=last_time),
        calendar=series.calendar,
        aggregation=series.resolution,
        statistic=series.statistic,
        percentile=series.percentile,
        time_series=values,
        statistics=_summary(series.values),
        method=series.method,
        weighting=series.weighting,
        dataset_version=series.source.dataset_version,
    )


def _summary(values: tuple[float | None, ...]) -> Summary:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return Summary(min=None, max=None, mean=None, std=None, count=0)
    return Summary(
        min=float(known.min()),
        max=float(known.max()),
        mean=float(known.mean()),
        std=float(known.std()),
        count=known.size,
    )


def _file(series: "Series", format: str) -> Response:
    return file_answer(
        series_file(series, format),
        MEDIA_TYPES[format],
        source=series.source,
        variable=series.variable,
        units=series.units,
        method=series.method,
        weighting=series.weighting,
        calendar=series.calendar,
        sel=series.sel,
        name=f"{series.source.item}.{EXTENSIONS[format]}",
    )
