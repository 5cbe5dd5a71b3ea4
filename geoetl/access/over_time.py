"""Read the cells of a region step by step, and make one field of many steps, within a bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.chunks import Reading, chunk_lengths, reading_of
from geoetl.access.fill import values_of
from geoetl.access.readable import readable
from geoetl.core.errors import InvalidParameter, did_you_mean

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from geoetl.access.items import FoundAsset
    from geoetl.access.weights import Weights

STATISTICS = ("mean", "min", "max", "sum", "median", "std", "count", "percentile")
# These need all values of a cell at once; the others are worked out as the steps go by.
_ORDERED = ("median", "percentile")
# Values that are read at once, in bytes of float64; what is worked out of them takes about as much again.  Buffers of
# this size are used again, larger ones come from the system page by page, which takes longer than the arithmetic.
BLOCK_BYTES = 16 * 1024 * 1024
# A chunk that is longer in time than a block is read in one go up to this size, so that it is unpacked once.
LONG_BLOCK_BYTES = 256 * 1024 * 1024
# Columns without a part in the region are read along with their neighbours up to this number.
_GAP = 16


def check_statistic(statistic: str, percentile: float | None, *, field: str = "statistic") -> float | None:
    """Return the percentile that is to be taken, 0 to 100, or None.

    Raises:
        InvalidParameter: There is no such statistic, or the percentile is missing, needless or out of range.
    """
    if statistic not in STATISTICS:
        raise InvalidParameter(
            f"{field} is {str(statistic)[:40]!r}; expected one of {', '.join(STATISTICS)}.",
            hint=did_you_mean(str(statistic), STATISTICS),
            field=field,
        )
    if percentile is None:
        if statistic == "percentile":
            raise InvalidParameter(
                f"{field} is percentile; which one is not said.", hint="Give percentile=90.", field="percentile"
            )
        return None
    if isinstance(percentile, bool) or not isinstance(percentile, (int, float)) or not 0 <= percentile <= 100:
        raise InvalidParameter(
            f"percentile is {percentile!r}; expected 0 to 100.", hint="Give percentile=90.", field="percentile"
        )
    return float(percentile)


@dataclass(frozen=True)
class _Run:
    """Columns that are read in one piece: where they lie in the file, and which of the wanted ones they are.

    Attributes:
        columns: In the file.
        parts: Which of the wanted columns, and where these are in what is read; both grow by one or stand alone.
    """

    columns: slice
    parts: tuple[tuple[slice, slice], ...]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a region, of a variable over time.

    Attributes:
        found: The asset that the variable is in.
        array: The variable as it was opened, with all of its dimensions.
        picked: Position along each extra dimension.
        time_dim: Dimension of time; None for a variable of one step.
        weights: Which cells, and how much of them.
        block_bytes: Values that are read at once, in bytes of float64.
        long_block_bytes: The same for a chunk that is longer in time than that.
    """

    found: "FoundAsset"
    array: "xr.DataArray"
    picked: dict[str, int]
    time_dim: str | None
    weights: "Weights"
    block_bytes: int = BLOCK_BYTES
    long_block_bytes: int = LONG_BLOCK_BYTES

    @property
    def count(self) -> int:
        """Cells of the rectangle that is read."""
        return self.weights.areas.size

    @cached_property
    def _rows(self) -> slice:
        """The wanted rows that have a part in the region, of a grid of two dimensions."""
        used = np.flatnonzero(self.weights.areas.any(axis=1))
        return slice(int(used[0]), int(used[-1]) + 1)

    @cached_property
    def _runs(self) -> tuple[_Run, ...]:
        """What to read of the last dimension: what belongs together, or all at once where that costs no more chunks."""
        columns = self.weights.positions[-1]
        used = np.flatnonzero(self.weights.areas.reshape(-1, len(columns)).any(axis=0))
        order = used[np.argsort(columns[used], kind="stable")]
        in_file = columns[order]
        breaks = np.flatnonzero(np.diff(in_file) > _GAP) + 1
        parts = np.split(np.arange(len(order)), breaks)
        runs = tuple(_run(in_file[part], order[part]) for part in parts)
        if len(runs) == 1:
            return runs
        whole = _run(in_file, order)
        lengths = chunk_lengths(self.array) or {}
        length = lengths.get(self.weights.dims[-1], 1)
        apart = sum(len(_chunks_of(run.columns, length)) for run in runs)
        return (whole,) if len(_chunks_of(whole.columns, length)) <= apart else runs

    def reading(self, blocks: Sequence["NDArray[np.intp]"], *, by_rows: int = 1) -> Reading:
        """Return what reading blocks of steps costs; a chunk that lies in several of them is counted in each.

        Args:
            blocks: Positions along the time axis.
            by_rows: In how many bands of rows each block is read.
        """
        chunks = size = 0
        steps = sum(len(block) for block in blocks)
        lengths = chunk_lengths(self.array)
        for run in self._runs:
            place: dict[str, Any] = {self.weights.dims[-1]: np.arange(run.columns.start, run.columns.stop)}
            if len(self.weights.dims) == 2:
                place[self.weights.dims[0]] = self.weights.positions[0][self._rows]
            if self.time_dim is not None:
                place[self.time_dim] = [0]
            one = reading_of(self.array, {**self.picked, **place})
            chunks, size = chunks + one.chunks, size + one.size
        if self.time_dim is None:
            return Reading(chunks, size)
        if lengths is None:
            return Reading(chunks * len(blocks), size * steps)
        length = lengths[self.time_dim]
        block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        touched = len(np.unique(np.stack([block_of, np.concatenate(blocks) // length]), axis=1).T)
        return Reading(chunks * touched * by_rows, size * touched * by_rows)

    def read(self, positions: "NDArray[np.intp]", rows: slice = slice(None)) -> "NDArray[np.float64]":
        """Return values: array (step, *grid), NaN = no data or not in the region.

        Args:
            positions: Steps, in any order.
            rows: Which of the wanted rows.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        shape = self.weights.areas[rows].shape
        out = np.full((len(positions), *shape), np.nan)
        place: dict[str, Any] = dict(self.picked)
        order = np.argsort(positions, kind="stable")
        is_ordered = bool((order == np.arange(len(order))).all())
        if self.time_dim is not None:
            place[self.time_dim] = _as_slice(positions[order])
        inner = slice(None)
        dims = self.weights.dims
        if len(dims) == 2:
            wanted = range(*rows.indices(len(self.weights.positions[0])))
            first, last = max(wanted.start, self._rows.start), min(wanted.stop, self._rows.stop)
            if last <= first:
                return out
            inner = slice(first - wanted.start, last - wanted.start)
            place[dims[0]] = slice(*self.weights.positions[0][[first, last - 1]] + [0, 1])
        for run in self._runs:
            part = self.array.isel({**place, dims[-1]: run.columns})
            kept = dims if self.time_dim is None else (self.time_dim, *dims)
            with readable(self.found):
                values = values_of(part.transpose(*kept))
            if self.time_dim is None:
                values = values[np.newaxis]
            values[np.isinf(values)] = np.nan
            into = out[:, inner] if len(dims) == 2 else out
            for wanted_columns, taken in run.parts:
                into[..., wanted_columns] = values[..., taken]
        if not is_ordered:
            out[order] = out.copy()
        return out

    def steps_at_once(self) -> int:
        """Return how many steps make a block: whole chunks where these are not too long."""
        one = max(self.count, 1) * 8
        steps = max(1, self.block_bytes // one)
        length = (chunk_lengths(self.array) or {}).get(self.time_dim or "", 1)
        if length <= steps:
            return steps // length * length
        return length if length * one <= self.long_block_bytes else max(steps, self.long_block_bytes // one)

    def bands(self, steps: int) -> int:
        """Return in how many bands of rows so many steps are read, where all are needed at once."""
        rows = self.weights.shape[0]
        return min(rows, -(-steps * self.count * 8 // self.long_block_bytes))

    def reading_of_field(self, positions: "NDArray[np.intp]", statistic: str) -> Reading:
        """Return what `field` costs."""
        if statistic in _ORDERED:
            return self.reading([positions], by_rows=self.bands(len(positions)))
        return self.reading(list(self.blocks(positions)))

    def field(
        self, positions: "NDArray[np.intp]", statistic: str, percentile: float | None = None
    ) -> "NDArray[np.float64]":
        """Return a statistic over steps for each cell: array (*grid), NaN = no data; missing values are left out.

        `std` is that of the steps themselves (divided by their number); `count` is 0 where there is no data.
        """
        if statistic in _ORDERED:
            bands = np.array_split(np.arange(self.weights.shape[0]), self.bands(len(positions)))
            return np.concatenate(
                [
                    over_time(self.read(positions, slice(int(band[0]), int(band[-1]) + 1)), statistic, percentile)
                    for band in bands
                ]
            )
        running = Running()
        for block in self.blocks(positions):
            running.add(self.read(block))
        return running.result(statistic)

    def blocks(self, positions: "NDArray[np.intp]") -> Iterator["NDArray[np.intp]"]:
        """Yield steps as they are read together: within a block, and ending where chunks end."""
        most = self.steps_at_once()
        length = (chunk_lengths(self.array) or {}).get(self.time_dim or "", 1)
        start = 0
        while start < len(positions):
            stop = min(start + most, len(positions))
            if stop < len(positions) and length <= most:
                # The first block of a range that begins within a chunk is shorter, so that the others are whole ones.
                chunk = positions[start:stop] // length
                if chunk[0] != chunk[-1] and positions[stop] // length == chunk[-1]:
                    stop = start + int(np.flatnonzero(chunk != chunk[-1])[-1]) + 1
            yield positions[start:stop]
            start = stop


def _run(in_file: "NDArray[np.intp]", wanted: "NDArray[np.intp]") -> _Run:
    """Return a run of columns at ascending positions in the file, each with its place among the wanted ones."""
    first = int(in_file[0])
    breaks = np.flatnonzero((np.diff(in_file) != 1) | (np.diff(wanted) != 1)) + 1
    parts = zip(np.split(wanted, breaks), np.split(in_file - first, breaks), strict=True)
    return _Run(
        slice(first, int(in_file[-1]) + 1),
        tuple((slice(int(to[0]), int(to[-1]) + 1), slice(int(at[0]), int(at[-1]) + 1)) for to, at in parts),
    )


def _chunks_of(columns: slice, length: int) -> range:
    return range(columns.start // length, (columns.stop - 1) // length + 1)


def _as_slice(positions: "NDArray[np.intp]") -> "slice | NDArray[np.intp]":
    """Return ascending positions as a slice where they are one, which is read faster."""
    if len(positions) > 1 and (np.diff(positions) != 1).any():
        return positions
    return slice(int(positions[0]), int(positions[-1]) + 1)


class Running:
    """Statistics of each cell, as the steps go by (Chan, Golub and LeVeque 1983 for the deviation)."""

    def __init__(self) -> None:
        self._count: NDArray[np.float64] | None = None

    def add(self, block: "NDArray[np.float64]") -> None:
        """Take more steps: array (step, *grid), NaN = no data."""
        known = ~np.isnan(block)
        count = known.sum(axis=0).astype(np.float64)
        filled = np.where(known, block, 0.0)
        total = filled.sum(axis=0)
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        squares = (np.where(known, block - mean, 0.0) ** 2).sum(axis=0)
        low = np.where(known, block, np.inf).min(axis=0)
        high = np.where(known, block, -np.inf).max(axis=0)
        if self._count is None:
            self._count, self._total, self._mean = count, total, mean
            self._squares, self._low, self._high = squares, low, high
            return
        both = self._count + count
        apart = mean - self._mean
        share = np.divide(count, both, out=np.zeros_like(both), where=both > 0)
        self._squares += squares + apart**2 * self._count * share
        self._mean += apart * share
        self._count, self._total = both, self._total + total
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)

    def result(self, statistic: str) -> "NDArray[np.float64]":
        """Return mean, min, max, sum, std or count of what was added."""
        assert self._count is not None
        if statistic == "count":
            return self._count
        if statistic == "std":
            found = np.sqrt(self._squares / np.maximum(self._count, 1))
        else:
            found = {"mean": self._mean, "min": self._low, "max": self._high, "sum": self._total}[statistic]
        return np.where(self._count > 0, found, np.nan)


def over_time(block: "NDArray[np.float64]", statistic: str, percentile: float | None = None) -> "NDArray[np.float64]":
    """Return a statistic over the first axis of an array, NaN = no data; missing values are left out."""
    if statistic not in _ORDERED:
        running = Running()
        running.add(block)
        return running.result(statistic)
    share = 0.5 if statistic == "median" else (percentile or 0.0) / 100
    ordered = np.sort(block, axis=0)
    count = (~np.isnan(ordered)).sum(axis=0)
    # Linear between the two values around it, as numpy does it (Hyndman and Fan 1996, type 7).
    at = np.maximum(count - 1, 0) * share
    below = np.floor(at).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (np.take_along_axis(ordered, where[np.newaxis], axis=0)[0] for where in (below, above))
    return np.asarray(low + (high - low) * (at - below))
