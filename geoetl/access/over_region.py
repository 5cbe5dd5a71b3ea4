"""Statistics of fields over a region: each cell weighs as much as the region has of it, missing cells are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoetl.access.weights import Weights

# Bytes of values that are worked on at once: what fits into the cache of a processor.
_WORKED_ON = 2 * 1024 * 1024
# Values are sorted into so many bins to find the few that a median lies between.
_BINS = 2048


@dataclass(frozen=True, eq=False)
class RegionStatistics:
    """Statistics over a region, one value per field; NaN where it has no data.

    Attributes:
        mean: Weighted mean.
        min: Least value of a cell.
        max: Largest value of a cell.
        std: Weighted standard deviation (divided by the sum of the weights).
        median: Weighted median.
        percentile: Weighted percentile; empty where none was asked for.
        sum: Sum of the values, each times the share of its cell that lies in the region.
        count: Cells with data.
        data_share: Share of the region that has data.
    """

    mean: "NDArray[np.float64]"
    min: "NDArray[np.float64]"
    max: "NDArray[np.float64]"
    std: "NDArray[np.float64]"
    median: "NDArray[np.float64]"
    percentile: "NDArray[np.float64]"
    sum: "NDArray[np.float64]"
    count: "NDArray[np.int64]"
    data_share: "NDArray[np.float64]"


class OverRegion:
    """Works out the statistics of fields, a few at a time.

    Args:
        weights: How much of the region each cell holds.
        percentile: A percentile that is wanted too, 0 to 100.
    """

    def __init__(self, weights: "Weights", percentile: float | None = None) -> None:
        self._held = np.flatnonzero(weights.areas.ravel() > 0)
        self._areas = weights.areas.ravel()[self._held]
        self._cover = weights.cover.ravel()[self._held]
        self._counted = weights.counted.ravel()[self._held]
        self._total = weights.total
        self._shares = (0.5,) if percentile is None else (0.5, percentile / 100)
        self._done: list[tuple[NDArray[np.float64], ...]] = []

    def add(self, fields: "NDArray[np.float64]") -> None:
        """Take more fields: array (field, *grid), NaN = no data."""
        flat = fields.reshape(len(fields), -1)
        if len(self._held) < flat.shape[1]:
            flat = flat[:, self._held]
        at_once = max(1, _WORKED_ON // max(flat.shape[1] * 8, 1))
        for start in range(0, len(flat), at_once):
            self._done.append(self._worked_out(flat[start : start + at_once]))

    def result(self) -> RegionStatistics:
        """Return the statistics of all that was added, in its order."""
        columns = [np.concatenate(parts) for parts in zip(*self._done, strict=True)]
        mean, low, high, std, total, count, share, median, *percentile = columns
        return RegionStatistics(
            mean=mean,
            min=low,
            max=high,
            std=std,
            median=median,
            percentile=percentile[0] if percentile else np.empty(0),
            sum=total,
            count=count.astype(np.int64),
            data_share=share,
        )

    def _worked_out(self, values: "NDArray[np.float64]") -> tuple["NDArray[np.float64]", ...]:
        known = np.isfinite(values)
        if known.all():
            filled = values
            weight = np.full(len(values), self._areas.sum())
            count = np.full(len(values), float(self._counted.sum()))
            inside = values if self._counted.all() else values[:, self._counted]
            low, high = inside.min(axis=1), inside.max(axis=1)
        else:
            filled = np.where(known, values, 0.0)
            weight = _times(known, self._areas)
            counted = known & self._counted
            count = counted.sum(axis=1).astype(np.float64)
            low = np.where(counted, values, np.inf).min(axis=1)
            high = np.where(counted, values, -np.inf).max(axis=1)
        # What only slivers of cells have is no value of the region.
        has_data = count > 0
        safe = np.where(has_data, weight, 1.0)
        mean = _times(filled, self._areas) / safe
        apart = filled - mean[:, np.newaxis]
        if not known.all():
            apart[~known] = 0.0
        deviation = np.sqrt(_times(apart**2, self._areas) / safe)
        quantiles = self._quantiles(values, known, has_data)
        found = (mean, low, high, deviation, _times(filled, self._cover))
        return (
            *(np.where(has_data, part, np.nan) for part in found),
            count,
            np.minimum(np.where(has_data, weight, 0.0) / self._total, 1.0),
            *quantiles,
        )

    def _quantiles(
        self, values: "NDArray[np.float64]", known: "NDArray[np.bool_]", has_data: "NDArray[np.bool_]"
    ) -> tuple["NDArray[np.float64]", ...]:
        found = np.full((len(self._shares), len(values)), np.nan)
        is_whole = bool(known.all())
        for field in np.flatnonzero(has_data):
            if is_whole:
                found[:, field] = weighted_quantiles(values[field], self._areas, self._shares)
            else:
                at = known[field]
                found[:, field] = weighted_quantiles(values[field][at], self._areas[at], self._shares)
        return tuple(found)


def _times(fields: "NDArray[Any]", weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the sum of each field's values times the weights.

    Not by BLAS: its threads wait for each other where other requests use the processors, ten times as long.
    """
    return np.asarray(np.einsum("ij,j->i", fields, weights))


def weighted_quantiles(
    values: "NDArray[np.float64]", weights: "NDArray[np.float64]", shares: Sequence[float]
) -> "NDArray[np.float64]":
    """Return weighted quantiles; with equal weights those of numpy (Hyndman and Fan 1996, type 7).

    The definition is that of xarray's ``weighted(...).quantile`` (Akinshin 2023, "Weighted quantile estimators"): a
    quantile is a mean of the values whose share of the sorted weights lies in an interval as wide as one value's.

    Args:
        values: One dimension, all finite, not empty.
        weights: Of each, more than zero.
        shares: The quantiles, 0 to 1.
    """
    low, high = float(values.min()), float(values.max())
    total = float(weights.sum())
    size = total**2 / float(np.einsum("i,i->", weights, weights))
    scale = _BINS / (high - low) if high > low else np.inf
    if not np.isfinite(scale) or len(values) < _BINS:
        order = np.argsort(values)
        return np.array([_quantile(values[order], weights[order], 0.0, total, size, share) for share in shares])
    # Only the few values around the quantile have to be sorted: their bins are found by the weight below them.
    bins = np.minimum(((values - low) * scale).astype(np.int32), _BINS - 1)
    below = np.cumsum(np.bincount(bins, weights, minlength=_BINS))
    found = []
    for share in shares:
        start = (size - 1) * share / size * total
        slack = total * 1e-9
        first = int(np.searchsorted(below, start - slack))
        last = min(int(np.searchsorted(below, start + total / size + slack)), _BINS - 1)
        taken = np.flatnonzero((bins >= first) & (bins <= last))
        taken = taken[np.argsort(values[taken])]
        before = float(below[first - 1]) if first else 0.0
        found.append(_quantile(values[taken], weights[taken], before, total, size, share))
    return np.array(found)


def _quantile(
    values: "NDArray[np.float64]",
    weights: "NDArray[np.float64]",
    before: float,
    total: float,
    size: float,
    share: float,
) -> float:
    """Return a quantile of sorted values, of which those with the weight `before` were left out at the lower end."""
    position = (size - 1) * share
    reached = (before + np.concatenate([[0.0], np.cumsum(weights)])) / total
    within = np.clip(reached, position / size, (position + 1) / size) * size - position
    parts = np.diff(within)
    # Dividing by what they add up to takes rounding away.
    return float(np.einsum("i,i->", values, parts) / parts.sum())
