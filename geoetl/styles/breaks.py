"""Limits between classes of numbers that keep values within a class close together.

Both ways look for the least sum of squared distances between the values and the mean of their class, over values with
the number of rows that each has.  mapclassify has both too: importing it compiles for eight seconds, and its k-means
takes two more for twenty thousand values.

Sources: W. D. Fisher (1958), "On Grouping for Maximum Homogeneity", Journal of the American Statistical Association 53,
789-798, as G. F. Jenks used it for maps (1977); S. P. Lloyd (1982), "Least Squares Quantization in PCM", IEEE
Transactions on Information Theory 28, 129-137.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# k-means of numbers settles within some tens of steps; a limit, so that rounding cannot keep it going.
MAX_STEPS = 300


def fisher_jenks(values: "NDArray[np.float64]", rows: "NDArray[np.int64]", k: int) -> "NDArray[np.int64]":
    """Return where the best of all ways to part sorted values begins its second to last class.

    The further a part of the values reaches, the later its last class begins, so that of each class only few beginnings
    need to be tried: all of them together take `k` times n log n steps (X. Wu 1991, "Optimal Quantization by Matrix
    Searching", Journal of Algorithms 12, 663-673).

    Args:
        values: Numbers, ascending.
        rows: How many rows have each.
        k: How many classes; not more than there are values.
    """
    spread = _Spread(values, rows)
    every = np.arange(len(values))
    # Of the values up to each one: the least spread in so many classes as were looked at, and where their last begins.
    least = spread.of(np.zeros_like(every), every)
    begins = []
    for number in range(1, k):
        start, least = _last_begins(np.concatenate([[np.inf], least[:-1]]), spread, number)
        begins.append(start)
    starts: list[int] = []
    end = len(values)
    for start in reversed(begins):
        end = int(start[end - 1])
        starts.append(end)
    return np.array(starts[::-1], dtype=np.int64)


def natural_breaks(
    values: "NDArray[np.float64]", rows: "NDArray[np.int64]", starts: "NDArray[np.int64]"
) -> "NDArray[np.int64]":
    """Return where the second to last class of k-means begin: limits moved until each value is with the nearest mean.

    Linear in the number of values, with few steps from a good beginning.

    Args:
        values: Numbers, ascending.
        rows: How many rows have each.
        starts: Where the second to last class begin at first, ascending, such as `fisher_jenks` of a sample has them.
    """
    counts = np.concatenate([[0], np.cumsum(rows)])
    sums = np.concatenate([[0.0], np.cumsum(values * rows)])
    for _ in range(MAX_STEPS):
        ends = np.concatenate([[0], starts, [len(values)]])
        means = np.diff(sums[ends]) / np.diff(counts[ends])
        moved = np.searchsorted(values, (means[:-1] + means[1:]) / 2, side="right")
        # A class that would lose its last value keeps its limits.
        if (moved == starts).all() or (np.diff(np.concatenate([[0], moved, [len(values)]])) <= 0).any():
            break
        starts = moved
    return starts


class _Spread:
    """Sums of squared distances from the mean, of any values that follow each other."""

    def __init__(self, values: "NDArray[np.float64]", rows: "NDArray[np.int64]") -> None:
        # From their mean, so that squares of large numbers that differ little do not swallow the differences.
        centred = values - np.average(values, weights=rows)
        self._counts, self._sums, self._squares = (
            np.concatenate([[0.0], np.cumsum(rows * centred**power)]) for power in range(3)
        )

    def of(self, first: "NDArray[np.int64]", last: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """Return the sums of the values from `first` to `last`, both included."""
        end = last + 1
        total = self._sums[end] - self._sums[first]
        squares = self._squares[end] - self._squares[first]
        spread: NDArray[np.float64] = squares - total * total / (self._counts[end] - self._counts[first])
        return np.maximum(spread, 0.0)


def _last_begins(
    before: "NDArray[np.float64]", spread: _Spread, least: int
) -> tuple["NDArray[np.int64]", "NDArray[np.float64]"]:
    """Return for the values up to each one where their last class best begins, and the spread that comes of it.

    Args:
        before: The spread of all values before each one, in one class fewer.
        spread: The spread within a class.
        least: How many values there are at least before the last class.
    """
    count = len(before)
    start, best = np.zeros(count, dtype=np.int64), np.full(count, np.inf)
    # First those at the largest step apart: what lies between two begins its last class between where theirs begin.
    step = 1 << (count - 1).bit_length()
    while step:
        ends = np.arange(step - 1, count, 2 * step)
        ends = ends[ends >= least]
        if ends.size:
            low = np.where(ends >= step, start[np.maximum(ends - step, 0)], 0)
            high = np.where(ends + step < count, start[np.minimum(ends + step, count - 1)], ends)
            start[ends], best[ends] = _least_of(before, spread, ends, np.maximum(low, least), np.minimum(high, ends))
        step //= 2
    return start, best


def _least_of(
    before: "NDArray[np.float64]",
    spread: _Spread,
    ends: "NDArray[np.int64]",
    low: "NDArray[np.int64]",
    high: "NDArray[np.int64]",
) -> tuple["NDArray[np.int64]", "NDArray[np.float64]"]:
    """Return the best beginning from `low` to `high` for each end, and what it comes to."""
    lengths = np.maximum(high - low, 0) + 1
    firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    begin = np.arange(lengths.sum()) - np.repeat(firsts - low, lengths)
    found = before[begin] + spread.of(begin, np.repeat(ends, lengths))
    best = np.minimum.reduceat(found, firsts)
    is_best = np.flatnonzero(found == np.repeat(best, lengths))
    return begin[is_best[np.searchsorted(is_best, firsts)]], best
