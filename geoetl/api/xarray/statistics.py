"""Statistics of regions over HTTP."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.region import Region
from geoetl.access.regional_export import series_file
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
from geoetl.api.xarray.place import Document, Place, place_of
from geoetl.api.xarray.point import EXTENSIONS, FILES, MEDIA_TYPES, Format, TimeRange, format_of
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    from geoetl.access.statistics import RegionalSeries
    from geoetl.platform import Platform


class PeriodStatistics(BaseModel):
    """Statistics of a region in a period; null where it has no data.

    Attributes:
        period: Label of the period: 2000-01, 2000-DJF, 2000, or the time of the step.
        start: First day of the period in the cube's own calendar; the time of the step.
        end: Last day of the period.
        steps: How many steps it has.
        spatial_mean: Mean over the region.
        spatial_min: Least value of a cell.
        spatial_max: Largest value of a cell.
        spatial_std: Standard deviation over the region.
        spatial_median: Median over the region.
        spatial_sum: Sum of the values, each times the share of its cell that lies in the region.
        spatial_percentile: Percentile over the region, where one was asked for.
        valid_pixels: Cells with data.
        data_share: Share of the region's area that has data, 0 to 1.
    """

    period: str
    start: str
    end: str
    steps: int
    spatial_mean: float | None
    spatial_min: float | None
    spatial_max: float | None
    spatial_std: float | None
    spatial_median: float | None
    spatial_sum: float | None
    spatial_percentile: float | None
    valid_pixels: int
    data_share: float | None


class StatisticsAnswer(BaseModel):
    """Statistics of a region over time."""

    bbox: tuple[float, float, float, float]
    region_name: str | None
    collection_id: str
    item_id: str
    asset: str
    variable: str
    title: str
    unit: str | None
    sel: dict[str, str | float | int]
    time_range: TimeRange
    calendar: str | None
    temporal_resolution: str
    statistic: str
    percentile: float | None
    time_series: list[PeriodStatistics]
    pixels: int
    area_km2: float | None
    method: str
    weighting: str
    dataset_version: str | None


@dataclass(frozen=True)
class _Asked:
    """What is asked about a region."""

    options: dict[str, Any]
    format: str
    estimate: bool


def _asked(
    asset: Asset = None,
    variable: Variable = None,
    sel: Sel = [],  # noqa: B006  FastAPI copies a default
    start_time: StartTime = None,
    end_time: EndTime = None,
    temporal_resolution: Annotated[Resolution, Query(description="What the steps are grouped into")] = "monthly",
    statistic: Annotated[Statistic, Query(description="What is taken of each cell over a period")] = "mean",
    percentile: Percentile = None,
    weighted: Annotated[bool, Query(description="Weigh each cell by what the region has of it")] = True,
    format: Format = "json",
    estimate: OnlyEstimate = False,
) -> _Asked:
    options = {
        "asset": asset,
        "variable": variable,
        "sel": selection_of(sel),
        "start_time": start_time,
        "end_time": end_time,
        "resolution": temporal_resolution,
        "statistic": statistic,
        "percentile": percentile,
        "weighted": weighted,
    }
    return _Asked(options, format_of(format), estimate)


Asked = Annotated[_Asked, Depends(_asked)]


def router(platform: "Platform") -> APIRouter:
    """Return the routes of statistics of regions."""
    routes = APIRouter(prefix="/api/xarray", tags=["xarray"], route_class=ModelRoute)
    limits = QueryLimits.of_requests(platform.settings.limits, platform.settings.query)
    answers = StatisticsAnswer | Estimate

    def answered(
        collection: str, item: str, region: BBox | Region, asked: _Asked
    ) -> StatisticsAnswer | Estimate | Response:
        ids = check_id(collection, "collection"), check_id(item, "item")
        if asked.estimate:
            return platform.cube.estimate_statistics(*ids, region, **asked.options, limits=limits)
        series = platform.cube.statistics(*ids, region, **asked.options, limits=limits)
        return _answer(series) if asked.format == "json" else _file(series, asked.format)

    @routes.get("/statistics/{collection}/{item}", responses=FILES, response_model=answers)
    def statistics(
        collection: Collection, item: Item, place: Annotated[Place, Depends(place_of)], asked: Asked
    ) -> StatisticsAnswer | Estimate | Response:
        """Return statistics of a box or a named boundary over time, each cell weighted by what of it lies inside."""
        return answered(collection, item, place.region(platform), asked)

    @routes.post("/statistics/{collection}/{item}", responses=FILES, response_model=answers)
    def statistics_of_geometry(
        collection: Collection, item: Item, document: Document, asked: Asked
    ) -> StatisticsAnswer | Estimate | Response:
        """Return statistics of a GeoJSON geometry over time, each cell weighted by what of it lies inside."""
        return answered(collection, item, Region.from_geojson(document), asked)

    return routes


def _answer(series: "RegionalSeries") -> StatisticsAnswer:
    first, last = series.time_range or (None, None)
    percentiles = series.percentiles or (None,) * len(series.periods)
    periods = [
        PeriodStatistics(
            period=period,
            start=series.starts[at],
            end=series.ends[at],
            steps=series.steps[at],
            spatial_mean=series.mean[at],
            spatial_min=series.min[at],
            spatial_max=series.max[at],
            spatial_std=series.std[at],
            spatial_median=series.median[at],
            spatial_sum=series.sum[at],
            spatial_percentile=percentiles[at],
            valid_pixels=series.count[at],
            data_share=series.data_share[at],
        )
        for at, period in enumerate(series.periods)
    ]
    return StatisticsAnswer(
        bbox=(series.bbox.west, series.bbox.south, series.bbox.east, series.bbox.north),
        region_name=series.region_name,
        collection_id=series.source.collection,
        item_id=series.source.item,
        asset=series.source.asset,
        variable=series.variable,
        title=series.title,
        unit=series.units,
        sel=series.sel,
        time_range=TimeRange(start=first, end=last),
        calendar=series.calendar,
        temporal_resolution=series.resolution,
        statistic=series.statistic,
        percentile=series.percentile,
        time_series=periods,
        pixels=series.cells,
        area_km2=series.area_km2,
        method=series.method,
        weighting=series.weighting,
        dataset_version=series.source.dataset_version,
    )


def _file(series: "RegionalSeries", format: str) -> Response:
    return file_answer(
        series_file(series, format),
        MEDIA_TYPES[format],
        source=series.source,
        variable=series.variable,
        units=series.units,
        method=series.method,
        weighting=series.weighting,
        time=None if series.time_range is None else "/".join(series.time_range),
        calendar=series.calendar,
        sel=series.sel,
        bbox=series.bbox,
        name=f"{series.source.item}-statistics.{EXTENSIONS[format]}",
    )
