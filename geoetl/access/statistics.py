"""Statistics of a region, period by period: each cell over time first, then the cells over the region."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.chunks import Reading, chunk_lengths
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.over_region import OverRegion
from geoetl.access.over_time import Cells, check_statistic, over_time
from geoetl.access.periods import Period, check_resolution, group_steps
from geoetl.access.regional import RegionalQuestion
from geoetl.access.result import BBoxField, Result, Source, extent_text, finite_or_none
from geoetl.access.series import along_time, time_index
from geoetl.access.table_export import csv_text, written
from geoetl.access.weights import NOT_WEIGHTED
from geoetl.core.html import facts, heading
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# Statistics over time that one step alone does not change.
_ALIKE_FOR_ONE = ("mean", "min", "max", "sum", "median", "percentile")


class RegionalSeries(Result):
    """Statistics of a region over time; one value per period, None where there is no data.

    Attributes:
        bbox: The region, or the box around it.
        region_name: Its name, where it has one.
        boundary: Where a named boundary came from.
        variable: Name of the variable.
        title: Its long name, or its name.
        units: Units of the values, where they are known.
        resolution: What a period is: ``none`` (a step), ``daily``, ``monthly``, ``seasonal`` or ``yearly``.
        statistic: What was taken of each cell over the steps of a period.
        percentile: The percentile of `percentiles`, and of the statistic where that is ``percentile``; None without.
        time_range: Times of the first and the last step that were taken; None without time.
        calendar: CF calendar of the times; None without time.
        periods: Label of each period: ``2000-01``, ``2000-DJF``, ``2000``, or the time of the step.
        starts: First day of each period in the cube's calendar, or the time of the step.
        ends: Last day of each period.
        steps: How many steps each has.
        mean: Mean over the region.
        min: Least value of a cell.
        max: Largest value of a cell.
        std: Standard deviation over the region.
        median: Median over the region.
        sum: Sum of the values, each times the share of its cell that lies in the region.
        percentiles: Percentile over the region; empty where none was asked for.
        count: Cells with data.
        data_share: Share of the region's area that has data, 0 to 1.
        cells: Cells in the region.
        area_km2: Area of the region on the sphere; None where cells have no known area.
        sel: The values of the extra dimensions that were taken.
        method: How the values were made.
        weighting: What the weight of a cell is; ``none`` where all weigh the same.
        source: Where the values came from.
    """

    bbox: BBoxField
    region_name: str | None
    boundary: Source | None
    variable: str
    title: str
    units: str | None
    resolution: str
    statistic: str
    percentile: float | None
    time_range: tuple[str, str] | None
    calendar: str | None
    periods: tuple[str, ...]
    starts: tuple[str, ...]
    ends: tuple[str, ...]
    steps: tuple[int, ...]
    mean: tuple[float | None, ...]
    min: tuple[float | None, ...]
    max: tuple[float | None, ...]
    std: tuple[float | None, ...]
    median: tuple[float | None, ...]
    sum: tuple[float | None, ...]
    percentiles: tuple[float | None, ...]
    count: tuple[int, ...]
    data_share: tuple[float | None, ...]
    cells: int
    area_km2: float | None
    sel: dict[str, str | float | int]
    method: str
    weighting: str
    source: Source

    def about(self) -> dict[str, Any]:
        """Return what is to be said about the values, as in the columns and attributes of files."""
        return {
            **self.source.model_dump(),
            "region": self.region_name,
            "bbox": ",".join(f"{edge:.10g}" for edge in self.bbox.as_list()),
            "variable": self.variable,
            "units": self.units,
            "resolution": self.resolution,
            "statistic": self.statistic,
            "percentile": self.percentile,
            "calendar": self.calendar,
            "sel": dict(self.sel) or None,
            "method": self.method,
            "weighting": self.weighting,
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per period, indexed by its first day in the cube's own calendar; `.attrs` says the rest."""
        import pandas as pd

        columns: dict[str, Any] = {"period": self.periods}
        for name in ("mean", "min", "max", "std", "median", "sum"):
            columns[name] = np.array(getattr(self, name), dtype=float)
        if self.percentiles:
            columns[f"p{self.percentile:g}"] = np.array(self.percentiles, dtype=float)
        columns |= {"count": self.count, "data_share": np.array(self.data_share, dtype=float), "steps": self.steps}
        index = time_index(self.dates, self.calendar, len(self.periods))
        frame = pd.DataFrame(columns, index=index)
        frame.attrs.update({name: value for name, value in self.about().items() if value is not None})
        return frame

    @property
    def dates(self) -> tuple[str, ...]:
        """Where each period begins, or the label of a step that has no date; empty without time."""
        return () if self.time_range is None else self.starts

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """Write one row per period as CSV to `path`, or return it; every row says what it is and where it came from."""
        from geoetl.access.regional_export import series_table

        return written(csv_text(series_table(self)), path)

    def to_parquet(self, path: str | Path | None = None) -> bytes | None:
        """Write the rows of `to_csv` as Parquet to `path`, or return them."""
        from geoetl.access.regional_export import series_file

        return written(series_file(self, "parquet"), path)

    def to_netcdf(self, path: str | Path | None = None) -> bytes | None:
        """Write a NetCDF-4 file with a variable for each statistic over time to `path`, or return it."""
        from geoetl.access.regional_export import series_file

        return written(series_file(self, "netcdf"), path)

    def plot(self) -> Any:
        """Return a HoloViews plot of the mean, within what lies between least and largest.

        Calendars that are not the usual one are drawn along decimal years.
        """
        import holoviews as hv

        if not hv.Store.loaded_backends():
            hv.extension("bokeh")
        steps, axis = along_time(self.dates, self.calendar, len(self.periods))
        label = f"{self.variable} [{self.units}]" if self.units else self.variable
        value = hv.Dimension(self.variable, label=label)
        mean, low, high = (np.array(part, dtype=float) for part in (self.mean, self.min, self.max))
        span = hv.Area((steps, low, high), axis, [value, "max"], label="least to largest cell")
        curve = hv.Curve(
            (steps, mean), axis, value, label="mean" if self.weighting == NOT_WEIGHTED else "weighted mean"
        )
        place = self.region_name or extent_text(self.bbox)
        return (span.opts(alpha=0.2, line_alpha=0, backend="bokeh") * curve.opts(line_width=1.8, backend="bokeh")).opts(
            hv.opts.Overlay(
                title=f"{self.title} · {place}",
                width=760,
                height=340,
                show_grid=True,
                legend_position="top",
                padding=(0.01, 0.08),
                backend="bokeh",
            )
        )

    def _repr_html_(self) -> str:
        known = [value for value in self.mean if value is not None]
        span = f"{' to '.join(self.time_range)}, {self.calendar} calendar" if self.time_range else None
        spread = f"{min(known):.6g} to {max(known):.6g} {self.units or ''}".strip() if known else "no data"
        area = f", {self.area_km2:,.0f} km²" if self.area_km2 is not None else ""
        return heading(f"{self.title} over a region", self.region_name or "") + facts(
            [
                ("periods", f"{len(self.periods):,} ({self.resolution})"),
                ("time", span),
                ("mean over the region", spread),
                ("region", f"{extent_text(self.bbox)} ({self.cells:,} cells{area})"),
                ("weight of a cell", self.weighting),
                ("method", self.method),
                *self.sel.items(),
                ("source", self.source),
                ("dataset version", self.source.dataset_version),
            ]
        )


class RegionalPlan:
    """How the statistics of a region are worked out: which periods are read together, and what that costs.

    Args:
        question: What is asked for.
        resolution: What a period is.
        statistic: What is taken of each cell over the steps of a period.
        percentile: A percentile that is wanted too, 0 to 100.

    Raises:
        InvalidParameter: There is no such resolution, statistic or percentile.
        InvalidTime: The variable has no dates to group by.
    """

    def __init__(
        self, question: RegionalQuestion, *, resolution: str, statistic: str, percentile: float | None
    ) -> None:
        self._question = question
        self._resolution = resolution
        self._statistic = statistic
        self._percentile = check_statistic(statistic, percentile)
        self._periods = group_steps(question.layout, question.steps, check_resolution(resolution))
        self._groups = list(_groups(self._periods, question.cells))

    def estimate(self, limits: QueryLimits) -> Estimate:
        """Return what it costs."""
        cells = self._question.cells
        most = cells.steps_at_once()
        together = [group for group in self._groups if sum(len(period.positions) for period in group) <= most]
        cost = cells.reading([np.concatenate([period.positions for period in group]) for group in together])
        for group in self._groups:
            steps = group[0].positions
            if len(group) == 1 and len(steps) > most:
                alone = cells.reading_of_field(steps, self._statistic)
                cost = Reading(cost.chunks + alone.chunks, cost.size + alone.size)
        return limits.estimate(len(self._periods), cost.chunks, cost.size)

    def run(self) -> RegionalSeries:
        """Read and work it out.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        cells = self._question.cells
        over = OverRegion(cells.weights, self._percentile)
        for group in self._groups:
            over.add(self._fields(group))
        found = over.result()
        question = self._question
        region = None if isinstance(question.region, BBox) else question.region
        return RegionalSeries(
            bbox=question.box,
            region_name=None if region is None else region.name,
            boundary=None if region is None else region.source,
            variable=question.variable.name,
            title=question.variable.title,
            units=units_over_time(question.variable.units, self._statistic),
            resolution=self._resolution,
            statistic=self._statistic,
            percentile=self._percentile,
            time_range=question.span(),
            calendar=question.layout.calendar,
            periods=tuple(period.label for period in self._periods),
            starts=tuple(period.start for period in self._periods),
            ends=tuple(period.end for period in self._periods),
            steps=tuple(len(period.positions) for period in self._periods),
            mean=_numbers(found.mean),
            min=_numbers(found.min),
            max=_numbers(found.max),
            std=_numbers(found.std),
            median=_numbers(found.median),
            sum=_numbers(found.sum),
            percentiles=_numbers(found.percentile),
            count=tuple(found.count.tolist()),
            data_share=_numbers(found.data_share),
            cells=int(cells.weights.counted.sum()),
            area_km2=question.area_km2,
            sel=question.sel,
            method=self._method(),
            weighting=cells.weights.weighting,
            source=question.found.source,
        )

    def _fields(self, group: list[Period]) -> "NDArray[np.float64]":
        """Return a field for each period: array (period, *grid)."""
        cells = self._question.cells
        if len(group) == 1 and len(group[0].positions) > cells.steps_at_once():
            return cells.field(group[0].positions, self._statistic, self._percentile)[np.newaxis]
        block = cells.read(np.concatenate([period.positions for period in group]))
        if len(block) == len(group) and self._statistic in _ALIKE_FOR_ONE:
            return block
        ends = np.cumsum([len(period.positions) for period in group])
        parts = np.split(block, ends[:-1])
        return np.stack([over_time(part, self._statistic, self._percentile) for part in parts])

    def _method(self) -> str:
        taken = f"percentile {self._percentile:g}" if self._statistic == "percentile" else self._statistic
        first = "each step by itself" if self._resolution == "none" else f"{taken} of each cell over each period"
        return f"{first}, then statistics over the region"


def _groups(periods: list[Period], cells: Cells) -> Iterator[list[Period]]:
    """Yield periods that are read together: within a block, and ending where chunks end."""
    most = cells.steps_at_once()
    length = (chunk_lengths(cells.array) or {}).get(cells.time_dim or "", 1)
    group: list[Period] = []
    steps = 0
    for period in periods:
        begins_chunk = int(period.positions[0]) % length == 0
        if group and (steps + len(period.positions) > most or (begins_chunk and steps + length > most)):
            yield group
            group, steps = [], 0
        group.append(period)
        steps += len(period.positions)
    if group:
        yield group


def units_over_time(units: str | None, statistic: str) -> str | None:
    """Return the units of a statistic over time."""
    return "1" if statistic == "count" else units


def _numbers(values: "NDArray[np.float64]") -> tuple[float | None, ...]:
    return tuple(finite_or_none(value) for value in values.tolist())
