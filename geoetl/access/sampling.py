"""What a series takes of the time axis: which steps, what they are grouped into, and the statistic of each group."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.cost import Fitting, QueryLimits
from geoetl.access.over_time import check_statistic, over_time
from geoetl.access.periods import Period, check_resolution, ends_of, group_steps, select_steps
from geoetl.core.errors import LimitExceeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoetl.access.layout import Layout

# Statistics that one step alone does not change.
_ALIKE_FOR_ONE = frozenset({"mean", "min", "max", "sum", "median", "percentile"})
# Groups are padded to the same length and worked out at once while that takes no more numbers than this.
_PADDED = 8_000_000
_WORD = {"daily": "day", "monthly": "month", "seasonal": "season", "yearly": "year"}


@dataclass(frozen=True)
class OverTime:
    """What is wanted of the time axis of any cube.

    Attributes:
        start_time: ISO 8601 in the cube's own calendar, or a part of it; None for the first.
        end_time: The same; a part of a date means all of it.
        resolution: ``none``, ``daily``, ``monthly``, ``seasonal`` or ``yearly``.
        statistic: What is taken of the steps of a period.
        percentile: Which percentile, 0 to 100, where the statistic is that.
        resolution_field: What the caller calls the resolution, for messages.
    """

    start_time: str | None = None
    end_time: str | None = None
    resolution: str = "none"
    statistic: str = "mean"
    percentile: float | None = None
    resolution_field: str = "resolution"

    def checked(self) -> "OverTime":
        """Return itself where it can be asked of any cube.

        Raises:
            InvalidParameter: There is no such resolution, statistic or percentile.
        """
        check_resolution(self.resolution, field=self.resolution_field)
        check_statistic(self.statistic, self.percentile)
        return self


@dataclass(frozen=True, eq=False)
class Sampling:
    """What is taken of the time axis of a variable; a row is a step, or a period of several.

    Attributes:
        layout: How the variable is laid out.
        how: What was asked for.
        steps: Positions along the time axis, from 0, ascending.
        periods: What they are grouped into; None where each stands for itself.
    """

    layout: "Layout"
    how: OverTime
    steps: "NDArray[np.intp]"
    periods: Sequence[Period] | None

    @classmethod
    def of(cls, layout: "Layout", how: OverTime, limits: QueryLimits) -> "Sampling":
        """Choose and group the steps of a variable.

        Raises:
            InvalidParameter: There is no such resolution, statistic or percentile.
            InvalidTime: A time is not right, or there are no dates to group by.
            NotFound: No step lies between the times.
            LimitExceeded: The range of time is too long.
        """
        how.checked()
        steps = select_steps(layout, how.start_time, how.end_time)
        _check_range(layout, steps, limits)
        if how.resolution == "none":
            return cls(layout, how, steps, None)
        return cls(layout, how, steps, group_steps(layout, steps, how.resolution, field=how.resolution_field))

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.steps) if self.periods is None else len(self.periods)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Time of each step, or label of each period; empty without time."""
        if self.periods is not None:
            return tuple(period.label for period in self.periods)
        texts = self.layout.times
        return texts if len(texts) == len(self.steps) else tuple(texts[at] for at in self.steps.tolist() if texts)

    @cached_property
    def first_index(self) -> "NDArray[np.intp]":
        """Index of the first step of each row on the whole axis, from 1."""
        if self.periods is None:
            return self.steps + 1
        return np.array([period.positions[0] + 1 for period in self.periods], dtype=np.intp)

    @cached_property
    def last_index(self) -> "NDArray[np.intp]":
        """Index of the last step of each row."""
        if self.periods is None:
            return self.steps + 1
        return np.array([period.positions[-1] + 1 for period in self.periods], dtype=np.intp)

    @property
    def indexer(self) -> "slice | NDArray[np.intp]":
        """The steps as a slice where they are one, which is read faster."""
        first, last = int(self.steps[0]), int(self.steps[-1])
        return slice(first, last + 1) if last - first + 1 == len(self.steps) else self.steps

    def time_range(self) -> tuple[str, str] | None:
        """Return the times of the earliest and the latest step; None without time."""
        if self.layout.time is None:
            return None
        first, last = ends_of(self.layout, self.steps)
        return self.layout.times[first], self.layout.times[last]

    def reduce(self, values: "NDArray[np.float64]") -> "tuple[NDArray[np.float64], NDArray[np.intp]]":
        """Return the statistic of each row, and how many values were there for it: arrays (row, ...).

        Args:
            values: Array (step, ...), NaN = no data.
        """
        known = np.isfinite(values)
        statistic, percentile = self.how.statistic, self.how.percentile
        if self.periods is None:
            count = known.astype(np.intp)
            if statistic in _ALIKE_FOR_ONE:
                return values, count
            return over_time(values[np.newaxis], statistic, percentile), count
        if not self.periods:
            empty = np.empty((0, *values.shape[1:]))
            return empty, empty.astype(np.intp)
        members = [np.searchsorted(self.steps, period.positions) for period in self.periods]
        longest = max(map(len, members))
        counts = np.stack([known[at].sum(axis=0) for at in members])
        if longest == 1 and statistic in _ALIKE_FOR_ONE:
            return values[np.concatenate(members)], counts
        if longest * len(members) * values[0].size > min(_PADDED, 4 * values.size + 1000):
            return np.stack([over_time(values[at], statistic, percentile) for at in members]), counts
        padded = np.full((longest, len(members), *values.shape[1:]), np.nan)
        for row, at in enumerate(members):
            padded[: len(at), row] = values[at]
        return over_time(padded, statistic, percentile), counts

    def method(self, taken: str) -> str:
        """Return how a value was made, of a value that was taken from `taken`."""
        if self.periods is None:
            return taken if self.how.statistic in _ALIKE_FOR_ONE else f"{taken}, {self.how.statistic} of each step"
        name = f"percentile {self.how.percentile:g}" if self.how.statistic == "percentile" else self.how.statistic
        return f"{taken}, {name} of each {_WORD[self.how.resolution]}"

    def cell_methods(self) -> str | None:
        """Return what CF calls the statistic over time (section 7.3); None where no step was joined to another."""
        names = {"min": "minimum", "max": "maximum", "std": "standard_deviation"}
        if self.periods is None or self.how.statistic in ("count", "percentile"):
            return None
        return f"time: {names.get(self.how.statistic, self.how.statistic)}"

    def fitting(self, steps: int) -> Fitting:
        """Return the way out of a refusal: a range with so many of the steps that were asked for."""
        if self.layout.time is None or steps < 1 or len(self.steps) == 1:
            return Fitting("sel", "Ask for less at a time.")
        return Fitting("end_time", _shorter(self.layout, self.steps, steps))


def _check_range(layout: "Layout", steps: "NDArray[np.intp]", limits: QueryLimits) -> None:
    if layout.time is None or limits.time_range_days is None or len(steps) <= limits.time_range_days:
        return
    first, last = ends_of(layout, steps)
    try:
        limits.check_range(len(steps), layout.time.day_number(first), layout.time.day_number(last))
    except LimitExceeded as error:
        hint = _shorter(layout, steps, limits.time_range_days)
        raise LimitExceeded(error.detail, hint=hint, field=error.field) from None


def _shorter(layout: "Layout", steps: "NDArray[np.intp]", count: int) -> str:
    assert layout.time is not None
    if layout.time.calendar is None:
        return f"Ask for {count:,} steps at a time."
    ordered = steps[np.argsort(layout.time.ticks[steps], kind="stable")]
    first, last = layout.times[ordered[0]], layout.times[ordered[min(count, len(ordered)) - 1]]
    return f"These {count:,} steps would fit: start_time={first} and end_time={last}."
