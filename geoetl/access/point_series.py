"""The series at a place: which cell, steps and chunks that is, what they cost, and the answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.chunks import Reading, reading_of
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.fill import values_of
from geoetl.access.frame import outside
from geoetl.access.grid import Cell, Grid, RegularGrid
from geoetl.access.layout import OpenCube, Selection, VariableInfo, picked_positions
from geoetl.access.located import Located
from geoetl.access.readable import readable
from geoetl.access.sampling import OverTime, Sampling
from geoetl.access.series import Series
from geoetl.access.statistics import units_over_time

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from geoetl.access.items import FoundAsset


@dataclass(frozen=True, eq=False)
class SampledVariable:
    """A variable of a cube over some steps, at one value of each extra dimension, before anything of it is read.

    Attributes:
        found: The asset.
        info: The variable.
        array: It as it was opened, with all of its dimensions.
        grid: Where its cells lie.
        sampling: Which steps, and what becomes of them.
        picked: Position along each extra dimension.
        sel: The values there.
    """

    found: "FoundAsset"
    info: VariableInfo
    array: "xr.DataArray"
    grid: Grid
    sampling: Sampling
    picked: dict[str, int]
    sel: dict[str, str | float | int]

    @classmethod
    def of(
        cls,
        cube: OpenCube,
        found: "FoundAsset",
        variable: str | None,
        sel: Selection | None,
        how: OverTime,
        limits: QueryLimits,
    ) -> "SampledVariable":
        """Work out what is asked for.

        Raises:
            InvalidParameter: A variable, value, resolution, statistic or percentile is not right.
            InvalidTime: A time is not right.
            NotFound: No step lies between the times.
            LimitExceeded: The range of time is too long.
        """
        name = cube.variable(variable)
        layout = cube.layout(name)
        picked, taken = picked_positions(layout, sel)
        sampling = Sampling.of(layout, how, limits)
        return cls(found, cube.info(name), cube.dataset[name], layout.grid, sampling, picked, taken)

    @property
    def units(self) -> str | None:
        """Units of the statistic."""
        return units_over_time(self.info.units, self.sampling.how.statistic)

    @property
    def method(self) -> str:
        """How a value is made."""
        is_regular = isinstance(self.grid, RegularGrid)
        return self.sampling.method("nearest cell" if is_regular else "nearest cell by great circle")

    def cell(self, location: Located) -> Cell:
        """Return the cell nearest to a place.

        Raises:
            NotFound: It lies outside.
        """
        cell = self.grid.nearest(location.point)
        if cell is None:
            raise outside(location.point, self.grid.extent.bbox, str(self.found.source))
        return cell

    def reading(self, place: "dict[str, NDArray[np.intp]]", steps: "NDArray[np.intp] | None" = None) -> Reading:
        """Return the chunks that hold a place at some steps, all of the sampling's where they are left out."""
        at: dict[str, Any] = {**self.picked, **place}
        if self.sampling.layout.time_dim is not None:
            at[self.sampling.layout.time_dim] = self.sampling.steps if steps is None else steps
        return reading_of(self.array, at)

    def read(self, place: "dict[str, Any]", steps: "slice | NDArray[np.intp]") -> "NDArray[np.float64]":
        """Return values: array (step, *dimensions of `place` that are slices, in the grid's order), NaN = no data.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        time_dim = self.sampling.layout.time_dim
        at = {**self.picked, **place} if time_dim is None else {**self.picked, **place, time_dim: steps}
        part = self.array.isel(at)
        across = [dim for dim in self.grid.dims if dim in part.dims]
        kept = across if time_dim is None else [time_dim, *across]
        with readable(self.found):
            values = values_of(part.transpose(*kept))
        values[~np.isfinite(values)] = np.nan
        return values[np.newaxis] if time_dim is None else values

    def fitting_steps(self, limits: QueryLimits, cost: Estimate) -> int:
        """Return how many of the steps would fit, about."""
        share = min(
            limits.bytes / max(cost.bytes, 1), limits.chunks / max(cost.chunks, 1), limits.values / max(cost.values, 1)
        )
        return min(int(len(self.sampling.steps) * share), len(self.sampling.steps))


@dataclass(frozen=True, eq=False)
class SeriesPlan:
    """The series of a variable at a place, before anything of it is read.

    Attributes:
        variable: The variable over the steps.
        location: The place that was asked for.
        cell: The cell nearest to it.
    """

    variable: SampledVariable
    location: Located
    cell: Cell

    @classmethod
    def of(cls, variable: SampledVariable, location: Located) -> "SeriesPlan":
        """Find the cell of a place.

        Raises:
            NotFound: It lies outside.
        """
        return cls(variable, location, variable.cell(location))

    def estimate(self, limits: QueryLimits) -> Estimate:
        """Return what it costs."""
        reading = self.variable.reading({dim: np.array([at]) for dim, at in self.cell.index.items()})
        return limits.estimate(len(self.variable.sampling.steps), reading.chunks, reading.size)

    def check(self, limits: QueryLimits) -> None:
        """Refuse what costs too much.

        Raises:
            LimitExceeded: It does.
        """
        cost = self.estimate(limits)
        way_out = self.variable.sampling.fitting(self.variable.fitting_steps(limits, cost))
        limits.check(cost, way_out, way_out)

    def run(self) -> Series:
        """Read the series.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        variable, sampling = self.variable, self.variable.sampling
        values, counts = sampling.reduce(variable.read(dict(self.cell.index), sampling.indexer))
        periods = sampling.periods or ()
        return Series(
            location=self.location.point,
            location_name=self.location.name,
            cell=self.cell.centre,
            distance_km=self.cell.distance_km,
            variable=variable.info.name,
            title=variable.info.title,
            standard_name=variable.info.standard_name,
            units=variable.units,
            times=sampling.labels,
            calendar=sampling.layout.calendar,
            time_range=sampling.time_range(),
            values=numbers(values),
            resolution=sampling.how.resolution,
            statistic=sampling.how.statistic,
            percentile=sampling.how.percentile,
            starts=tuple(period.start for period in periods),
            ends=tuple(period.end for period in periods),
            first_index=tuple(sampling.first_index.tolist()),
            last_index=tuple(sampling.last_index.tolist()),
            counts=tuple(counts.tolist()),
            cell_methods=sampling.cell_methods(),
            sel=variable.sel,
            method=variable.method,
            weighting="none",
            source=variable.found.source,
        )


def numbers(values: "NDArray[np.float64]") -> tuple[float | None, ...]:
    """Return numbers as an answer has them: None for NaN."""
    known = np.isfinite(values)
    if known.all():
        return tuple(values.tolist())
    listed = values.astype(object)
    listed[~known] = None
    return tuple(listed.tolist())
