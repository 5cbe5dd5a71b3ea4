"""A statistic over time in each cell of a region: a field, with what it is like over the region."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.grid import Axis, Grid, IrregularGrid, RegularGrid
from geoetl.access.over_region import OverRegion
from geoetl.access.over_time import check_statistic
from geoetl.access.regional import RegionalQuestion
from geoetl.access.result import BBoxField, Result, Source, finite_or_none
from geoetl.access.statistics import units_over_time
from geoetl.core.spatial import BBox, wrap_longitude

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoetl.access.weights import Weights


class FieldStatistics(Result):
    """What a field is like over a region; each cell weighs as much as the region has of it.

    Attributes:
        min: Least value of a cell.
        max: Largest value of a cell.
        mean: Mean.
        std: Standard deviation.
        median: Median.
        valid_pixels: Cells with data.
        data_share: Share of the region's area that has data, 0 to 1.
    """

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    median: float | None
    valid_pixels: int
    data_share: float | None


class FieldAggregate(Result):
    """A statistic over time in each cell of a region.

    Attributes:
        bbox: The region, or the box around it.
        region_name: Its name, where it has one.
        boundary: Where a named boundary came from.
        variable: Name of the variable.
        title: Its long name, or its name.
        units: Units of the values, where they are known.
        aggregation: What was taken of each cell over time.
        percentile: Which percentile, where it is that.
        time_range: Times of the first and the last step that were taken; None without time.
        calendar: CF calendar of the times; None without time.
        steps: How many steps were taken.
        shape: Cells along each dimension of the grid.
        statistics: What the field is like over the region.
        sel: The values of the extra dimensions that were taken.
        method: How the values were made.
        weighting: What the weight of a cell is.
        source: Where the values came from.
        grid: Where the cells lie: longitudes from west to east, beginning within -180 to 180; latitudes as in the file.
        values: Array over the dimensions of `grid` (latitude, longitude), NaN = no data or outside of the region.
    """

    bbox: BBoxField
    region_name: str | None
    boundary: Source | None
    variable: str
    title: str
    units: str | None
    aggregation: str
    percentile: float | None
    time_range: tuple[str, str] | None
    calendar: str | None
    steps: int
    shape: tuple[int, ...]
    statistics: FieldStatistics
    sel: dict[str, str | float | int]
    method: str
    weighting: str
    source: Source
    grid: Annotated[Any, Field(exclude=True, repr=False)]
    values: Annotated[Any, Field(exclude=True, repr=False)]


class FieldPlan:
    """How a field over a region is worked out, and what that costs.

    Args:
        question: What is asked for.
        aggregation: What is taken of each cell over the steps.
        percentile: Which percentile, 0 to 100, where it is that.

    Raises:
        InvalidParameter: There is no such aggregation or percentile.
    """

    def __init__(self, question: RegionalQuestion, *, aggregation: str, percentile: float | None) -> None:
        self._question = question
        self._aggregation = aggregation
        self._percentile = check_statistic(aggregation, percentile, field="aggregation")

    def estimate(self, limits: QueryLimits) -> Estimate:
        """Return what it costs."""
        cells = self._question.cells
        reading = cells.reading_of_field(self._question.steps, self._aggregation)
        return limits.estimate(cells.count, reading.chunks, reading.size)

    def run(self) -> FieldAggregate:
        """Read and work it out.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        question = self._question
        weights = question.cells.weights
        values = question.cells.field(question.steps, self._aggregation, self._percentile)
        over = OverRegion(weights)
        over.add(values[np.newaxis])
        found = over.result()
        grid, values = _held(question.layout.grid, weights, values)
        region = None if isinstance(question.region, BBox) else question.region
        taken = f"percentile {self._percentile:g}" if self._aggregation == "percentile" else self._aggregation
        return FieldAggregate(
            bbox=question.box,
            region_name=None if region is None else region.name,
            boundary=None if region is None else region.source,
            variable=question.variable.name,
            title=question.variable.title,
            units=units_over_time(question.variable.units, self._aggregation),
            aggregation=self._aggregation,
            percentile=self._percentile,
            time_range=question.span(),
            calendar=question.layout.calendar,
            steps=len(question.steps),
            shape=values.shape,
            statistics=FieldStatistics(
                min=finite_or_none(found.min[0]),
                max=finite_or_none(found.max[0]),
                mean=finite_or_none(found.mean[0]),
                std=finite_or_none(found.std[0]),
                median=finite_or_none(found.median[0]),
                valid_pixels=int(found.count[0]),
                data_share=finite_or_none(found.data_share[0]),
            ),
            sel=question.sel,
            method=f"{taken} of each cell over {len(question.steps):,} steps",
            weighting=weights.weighting,
            source=question.found.source,
            grid=grid,
            values=values,
        )


def _held(grid: Grid, weights: "Weights", values: "NDArray[np.float64]") -> "tuple[Grid, NDArray[np.float64]]":
    """Return the smallest part of a grid that has all cells of a region, and its values, NaN outside of the region."""
    counted = weights.counted
    kept = []
    for axis in range(counted.ndim):
        used = np.flatnonzero(counted.any(axis=tuple(other for other in range(counted.ndim) if other != axis)))
        kept.append(slice(int(used[0]), int(used[-1]) + 1))
    at = tuple(kept)
    inside = np.where(counted[at], values[at], np.nan)
    positions = [along[part] for along, part in zip(weights.positions, kept, strict=True)]
    if isinstance(grid, IrregularGrid):
        placed = np.ix_(*positions)
        return replace(grid, lon=grid.lon[placed], lat=grid.lat[placed]), inside
    return RegularGrid(_eastern(grid.lon, positions[1]), _part(grid.lat, positions[0])), inside


def _part(axis: Axis, positions: "NDArray[np.intp]") -> Axis:
    edges = axis.edges[positions]
    return Axis(axis.dim, axis.centres[positions], float(edges.min()), float(edges.max()), edges)


def _eastern(axis: Axis, columns: "NDArray[np.intp]") -> Axis:
    """Return columns that run eastwards, over the seam of the grid too, with longitudes that grow from -180 or more."""
    centres = axis.centres[columns]
    first = wrap_longitude(float(centres[0]))
    moved = first + np.concatenate([[0.0], np.cumsum(np.diff(centres) % 360)])
    edges = axis.edges[columns] + (moved - centres)[:, np.newaxis]
    return Axis(axis.dim, moved, float(edges.min()), float(edges.max()), edges)
