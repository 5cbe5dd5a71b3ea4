"""Many places times many items in one call: one reading of each chunk of an item for all places, one long table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.chunks import chunk_lengths
from geoetl.access.cost import Estimate, Fitting, QueryLimits
from geoetl.access.grid import Cell
from geoetl.access.located import Located
from geoetl.access.point_series import SampledVariable
from geoetl.access.result import Result
from geoetl.access.table_export import (
    Axis,
    Stations,
    csv_text,
    netcdf_bytes,
    parquet_bytes,
    sel_text,
    statistic_text,
    written,
)
from geoetl.core.errors import GeoetlError, InvalidParameter, LimitExceeded
from geoetl.core.html import facts, heading

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from geoetl.access.sampling import Sampling

# Values that are read at once, in bytes of float64.
BLOCK_BYTES = 64 * 1024 * 1024
# Rows of the table: each is about half a kilobyte of text.
MAX_ROWS = 250_000
# Of the items in one call: each is looked up and opened.
MAX_ITEMS = 100
# Places times items: each is looked for on a grid before the cost is known.
MAX_PAIRS = 10_000


class BatchItem(Result):
    """One item of a batch.

    Attributes:
        collection: STAC collection id.
        item: STAC item id.
        asset: Key of the asset; the item's cube where it is left out.
        variable: Name of the variable; that of the whole batch where it is left out.
    """

    collection: str
    item: str
    asset: str | None = None
    variable: str | None = None

    @classmethod
    def of(cls, given: "BatchItem | str") -> "BatchItem":
        """Return an item that is given as ``COLLECTION/ITEM``, or as it is.

        Raises:
            InvalidParameter: It is of another form.
        """
        if isinstance(given, BatchItem):
            return given
        collection, slash, item = given.partition("/") if isinstance(given, str) else ("", "", "")
        if not (collection and slash and item) or "/" in item:
            raise InvalidParameter(
                f"items has {str(given)[:60]!r}, which is no COLLECTION/ITEM.",
                hint="For example demo-cubes/air_temperature_small.",
                field="items",
            )
        return cls(collection=collection, item=item)


class BatchProblem(Result):
    """Why a place, an item, or a place in an item has no values.

    Attributes:
        place: Number of the place in the question, from 1; None where it concerns all of them.
        place_name: Its name, or how it was asked for.
        collection: None where it concerns every item.
        item: The same.
        code: Stable word for the kind of problem.
        error: What is wrong.
        hint: What to do.
        field: The parameter that caused it.
    """

    place: int | None
    place_name: str | None
    collection: str | None
    item: str | None
    code: str
    error: str
    hint: str | None
    field: str | None

    @classmethod
    def of(
        cls, error: GeoetlError, item: BatchItem | None = None, place: int | None = None, name: str | None = None
    ) -> "BatchProblem":
        """Return what an error says."""
        return cls(
            place=place,
            place_name=name,
            collection=None if item is None else item.collection,
            item=None if item is None else item.item,
            code=error.code,
            error=error.detail,
            hint=error.hint,
            field=error.field,
        )


@dataclass(frozen=True)
class BatchPlace:
    """A place of a batch.

    Attributes:
        number: Of it in the question, from 1.
        located: Where it is.
    """

    number: int
    located: Located

    @property
    def name(self) -> str:
        """Its name, or ``lon,lat``."""
        point = self.located.point
        return self.located.name or f"{point.lon:.10g},{point.lat:.10g}"


@dataclass(frozen=True, eq=False)
class ItemPlan:
    """The places of a batch in one item, before anything of it is read.

    Attributes:
        variable: The variable over the steps.
        places: Those that lie inside.
        cells: The cell of each.
    """

    variable: SampledVariable
    places: tuple[BatchPlace, ...]
    cells: tuple[Cell, ...]

    @cached_property
    def _positions(self) -> "NDArray[np.intp]":
        """Position of each cell along each dimension of the grid: array (cell, dimension)."""
        return np.array([[cell.index[dim] for dim in self.variable.grid.dims] for cell in self.cells], dtype=np.intp)

    @cached_property
    def _groups(self) -> "list[NDArray[np.intp]]":
        """Which cells share chunks, so that each chunk is read once for all of them."""
        lengths = chunk_lengths(self.variable.array) or {}
        sizes = [lengths.get(dim, 1) for dim in self.variable.grid.dims]
        _, group_of = np.unique(self._positions // sizes, axis=0, return_inverse=True)
        order = np.argsort(group_of.ravel(), kind="stable")
        starts = np.flatnonzero(np.diff(group_of.ravel()[order])) + 1
        return np.split(order, starts)

    def reading(self) -> tuple[int, int, int]:
        """Return values, chunks and bytes."""
        chunks = size = 0
        for group in self._groups:
            at = {dim: self._positions[group, axis] for axis, dim in enumerate(self.variable.grid.dims)}
            one = self.variable.reading(at)
            chunks, size = chunks + one.chunks, size + one.size
        return len(self.cells) * len(self.variable.sampling.steps), chunks, size

    def run(self) -> "BatchBlock":
        """Read all places.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        steps = self.variable.sampling.steps
        values = np.empty((len(steps), len(self.cells)))
        for group in self._groups:
            where = self._positions[group]
            first = where.min(axis=0)
            box: dict[str, Any] = {
                dim: slice(int(low), int(high) + 1)
                for dim, low, high in zip(self.variable.grid.dims, first, where.max(axis=0), strict=True)
            }
            cells = int(np.prod(where.max(axis=0) - first + 1))
            for rows in self._blocks(cells):
                part = self.variable.read(box, _as_slice(steps[rows]))
                values[rows, group] = part[(slice(None), *(where - first).T)]
        reduced, counts = self.variable.sampling.reduce(values)
        return BatchBlock(self.variable, self.places, self.cells, reduced, counts)

    def _blocks(self, cells: int) -> Iterator[slice]:
        """Yield rows that are read together: within a bounded memory, and ending where chunks end."""
        steps = self.variable.sampling.steps
        time_dim = self.variable.sampling.layout.time_dim
        length = (chunk_lengths(self.variable.array) or {}).get(time_dim or "", 1)
        most = max(BLOCK_BYTES // (8 * cells), length, 1)
        start = 0
        while start < len(steps):
            stop = min(start + most, len(steps))
            if stop < len(steps):
                # Back to where a chunk ends, so that it is not read again for the next block.
                begins = int(np.searchsorted(steps, steps[stop] // length * length))
                stop = begins if begins > start else stop
            yield slice(start, stop)
            start = stop


def _as_slice(steps: "NDArray[np.intp]") -> "slice | NDArray[np.intp]":
    first, last = int(steps[0]), int(steps[-1])
    return slice(first, last + 1) if last - first + 1 == len(steps) else steps


@dataclass(frozen=True, eq=False)
class BatchBlock:
    """What was read of one item.

    Attributes:
        variable: The variable over the steps.
        places: Where the values are.
        cells: The cell of each place.
        values: Array (row, place), NaN = no data.
        counts: How many steps of each value had data: array (row, place).
    """

    variable: SampledVariable
    places: tuple[BatchPlace, ...]
    cells: tuple[Cell, ...]
    values: "NDArray[np.float64]"
    counts: "NDArray[np.intp]"

    @property
    def sampling(self) -> "Sampling":
        """What was taken of the time axis."""
        return self.variable.sampling

    def table(self) -> "pd.DataFrame":
        """Return one row per value, the rows of a place together."""
        import pandas as pd

        rows, sampling = self.sampling.rows, self.sampling
        variable, source = self.variable, self.variable.found.source
        of_places = [
            (
                place.number,
                place.located.name,
                place.located.point.lon,
                place.located.point.lat,
                cell.centre.lon,
                cell.centre.lat,
                cell.distance_km,
            )
            for place, cell in zip(self.places, self.cells, strict=True)
        ]
        names = ("place", "place_name", "lon", "lat", "cell_lon", "cell_lat", "distance_km")
        along = range(len(self.places))
        periods = sampling.periods
        times = sampling.labels or (None,) * rows
        starts = times if periods is None else [period.start for period in periods]
        ends = times if periods is None else [period.end for period in periods]
        alone = periods is None
        # A period's value is that of no step.
        bidx = np.tile(sampling.first_index, len(along)) if alone else [None] * (rows * len(along))
        return pd.DataFrame(
            {
                **{
                    name: np.repeat(np.array([values[at] for values in of_places], dtype=_TYPES.get(name)), rows)
                    for at, name in enumerate(names)
                },
                "collection": source.collection,
                "item": source.item,
                "asset": source.asset,
                "variable": variable.info.name,
                "sel": sel_text(variable.sel),
                "time": [time for _ in along for time in times],
                "calendar": sampling.layout.calendar,
                "start": [time for _ in along for time in starts],
                "end": [time for _ in along for time in ends],
                "bidx": pd.array(bidx, dtype="Int64"),
                "first_index": np.tile(sampling.first_index, len(along)),
                "last_index": np.tile(sampling.last_index, len(along)),
                "count": self.counts.T.ravel(),
                "value": self.values.T.ravel(),
                "units": variable.units,
                "statistic": None if alone else statistic_text(sampling.how.statistic, sampling.how.percentile),
                "method": variable.method,
                "weighting": "none",
                "dataset_version": source.dataset_version,
            }
        )


_TYPES: dict[str, Any] = {"place": np.int64, "place_name": object}


@dataclass(frozen=True, eq=False)
class BatchTable:
    """The values of many places in many items, as one long table.

    Attributes:
        blocks: What was read of each item.
        problems: What could not be read, and why.
    """

    blocks: tuple[BatchBlock, ...]
    problems: tuple[BatchProblem, ...]

    def __len__(self) -> int:
        return sum(block.values.size for block in self.blocks)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per place, item and step or period.

        Columns: place (number in the question, from 1), place_name, lon, lat (asked for), cell_lon, cell_lat,
        distance_km, collection, item, asset, variable, sel, time (ISO 8601 in the calendar, or the period), calendar,
        start, end, bidx (index of the step on the item's time axis, from 1; none of a period), first_index, last_index,
        count (steps with data), value, units, statistic (of periods), method, weighting, dataset_version.
        """
        import pandas as pd

        tables = [block.table() for block in self.blocks if block.values.size]
        if not tables:
            return pd.DataFrame(columns=list(COLUMNS))
        return pd.concat(tables, ignore_index=True)

    def rows(self) -> list[dict[str, Any]]:
        """Return the same as one document per row; None where there is no data."""
        table = self.to_dataframe()
        columns = [table[name].astype(object).where(table[name].notna(), None).tolist() for name in table.columns]
        return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """Write the table as CSV to `path`, or return it."""
        return written(csv_text(self.to_dataframe()), path)

    def to_parquet(self, path: str | Path | None = None) -> bytes | None:
        """Write the table as Parquet to `path`, or return the bytes; the problems are in its metadata."""
        return written(self._parquet(), path)

    def to_netcdf(self, path: str | Path | None = None) -> bytes | None:
        """Write the places as CF time series to `path`, or return the bytes; of one item, as others have other times.

        Raises:
            InvalidParameter: There are values of several items, or of none.
        """
        return written(self._netcdf(), path)

    def file(self, format: str) -> bytes:
        """Return the table as ``csv``, ``parquet`` or ``netcdf``.

        Raises:
            InvalidParameter: NetCDF cannot hold it.
        """
        if format == "csv":
            return csv_text(self.to_dataframe()).encode()
        return self._parquet() if format == "parquet" else self._netcdf()

    def _parquet(self) -> bytes:
        about = {"problems": [problem.model_dump(mode="json") for problem in self.problems]}
        return parquet_bytes(self.to_dataframe(), about)

    def _netcdf(self) -> bytes:
        if len(self.blocks) != 1:
            raise InvalidParameter(
                f"There are values of {len(self.blocks)} items; a NetCDF time series holds those of one.",
                hint="Ask for one item at a time, or for csv or parquet.",
                field="format",
            )
        (block,) = self.blocks
        variable, sampling = block.variable, block.sampling
        periods = sampling.periods or ()
        points = [place.located.point for place in block.places]
        stations = Stations(
            block.values.T,
            [place.name for place in block.places],
            [point.lon for point in points],
            [point.lat for point in points],
            [cell.centre.lon for cell in block.cells],
            [cell.centre.lat for cell in block.cells],
        )
        axis = Axis(
            sampling.labels,
            sampling.layout.calendar,
            [period.start for period in periods],
            [period.end for period in periods],
            sampling.first_index.tolist(),
            sampling.last_index.tolist(),
        )
        attributes = {
            "long_name": variable.info.title,
            "standard_name": variable.info.standard_name,
            "units": variable.units,
            "cell_methods": sampling.cell_methods(),
        }
        how = sampling.how
        about = {
            **variable.found.source.model_dump(),
            "sel": sel_text(variable.sel),
            "calendar": sampling.layout.calendar,
            "resolution": how.resolution,
            "statistic": None if sampling.periods is None else statistic_text(how.statistic, how.percentile),
            "method": variable.method,
            "weighting": "none",
        }
        return netcdf_bytes(variable.info.name, stations, axis, attributes, about)

    def _repr_html_(self) -> str:
        items = [
            (
                f"{block.variable.found.source}",
                f"{block.variable.info.name}: {len(block.places)} places, {block.sampling.rows} times",
            )
            for block in self.blocks
        ]
        wrong = [
            ("problem", f"{problem.place_name or problem.item}: {problem.error}") for problem in self.problems[:20]
        ]
        return heading("Places and items", f"{len(self):,} values, {len(self.problems):,} problems") + facts(
            [*items, *wrong]
        )


COLUMNS = (
    "place",
    "place_name",
    "lon",
    "lat",
    "cell_lon",
    "cell_lat",
    "distance_km",
    "collection",
    "item",
    "asset",
    "variable",
    "sel",
    "time",
    "calendar",
    "start",
    "end",
    "bidx",
    "first_index",
    "last_index",
    "count",
    "value",
    "units",
    "statistic",
    "method",
    "weighting",
    "dataset_version",
)


@dataclass
class BatchPlan:
    """A batch before anything is read: what can be, and what cannot.

    Attributes:
        items: What will be read.
        problems: What will not, and why.
    """

    items: list[ItemPlan] = field(default_factory=list)
    problems: list[BatchProblem] = field(default_factory=list)

    def add(self, item: BatchItem, variable: SampledVariable, places: Sequence[BatchPlace]) -> None:
        """Find the cells of the places in an item; those outside are problems."""
        inside, cells = [], []
        for place in places:
            try:
                cells.append(variable.cell(place.located))
                inside.append(place)
            except GeoetlError as error:
                self.problems.append(BatchProblem.of(error, item, place.number, place.name))
        if inside:
            self.items.append(ItemPlan(variable, tuple(inside), tuple(cells)))

    def estimate(self, limits: QueryLimits) -> Estimate:
        """Return what it costs."""
        each = [item.reading() for item in self.items]
        values, chunks, size = (sum(column) for column in zip(*each, strict=True)) if each else (0, 0, 0)
        return limits.estimate(values, chunks, size)

    def check(self, limits: QueryLimits) -> None:
        """Refuse what costs too much.

        Raises:
            LimitExceeded: It does.
        """
        cost = self.estimate(limits)
        rows = sum(len(plan.cells) * plan.variable.sampling.rows for plan in self.items)
        if rows > MAX_ROWS:
            raise LimitExceeded(
                f"The table would have {rows:,} rows; the limit is {MAX_ROWS:,}.",
                hint=f"Ask for about {MAX_ROWS / rows:.1%} of the points or steps at a time, or for periods "
                "(resolution=monthly).",
                field="points",
            )
        if cost.fits:
            return
        share = min(
            limits.values / max(cost.values, 1), limits.chunks / max(cost.chunks, 1), limits.bytes / max(cost.bytes, 1)
        )
        longest = max(self.items, key=lambda plan: len(plan.variable.sampling.steps)).variable.sampling
        fitting = int(len(longest.steps) * share)
        way_out = longest.fitting(fitting)
        if not fitting or way_out.field != "end_time":
            way_out = Fitting("points", f"Ask for about {share:.1%} of the points or items at a time.")
        limits.check(cost, way_out, way_out)

    def run(self) -> BatchTable:
        """Read it; an item that cannot be read is a problem among the others."""
        blocks = []
        for plan in self.items:
            try:
                blocks.append(plan.run())
            except GeoetlError as error:
                source = plan.variable.found.source
                item = BatchItem(collection=source.collection, item=source.item)
                self.problems.append(BatchProblem.of(error, item))
        return BatchTable(tuple(blocks), tuple(self.problems))


def check_pairs(points: Sequence[object], items: Sequence[object], limits: QueryLimits) -> None:
    """Refuse a batch of too many places or items, or of none.

    Raises:
        InvalidParameter: There are no points or no items.
        LimitExceeded: There are too many.
    """
    for name, given in (("points", points), ("items", items)):
        if not given:
            raise InvalidParameter(f"There are no {name}.", hint=f"Give at least one of {name}.", field=name)
    limits.check_points(points)
    if len(items) > MAX_ITEMS:
        raise LimitExceeded(
            f"{len(items):,} items were asked for; the limit is {MAX_ITEMS:,}.",
            hint=f"Give at most {MAX_ITEMS:,} items in one call.",
            field="items",
        )
    if len(points) * len(items) > MAX_PAIRS:
        raise LimitExceeded(
            f"{len(points):,} points in {len(items):,} items were asked for; the limit is {MAX_PAIRS:,} pairs.",
            hint=f"Give at most {MAX_PAIRS // len(items):,} points for so many items.",
            field="points",
        )
