"""The range of values that the colours of a picture stand for: given, the item's own, or from the data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoetl.access.result import ValueRange
from geoetl.core.errors import InvalidParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rescale = Literal["auto"] | Sequence[float] | Sequence[Sequence[float]] | None
# "auto" cuts the tails so that a few outliers do not take all the contrast.
AUTO_PERCENTILES = (2.0, 98.0)


def chosen_ranges(
    rescale: Rescale, layers: Sequence["NDArray[Any]"], own: Sequence[ValueRange | None]
) -> tuple[ValueRange, ...]:
    """Return the range of each layer.

    Args:
        rescale: What was asked for: ranges, ``"auto"``, or None for the item's own, else ``"auto"``.
        layers: Values of each layer, not finite = no data.
        own: The item's own range of each layer, where it has one.

    Raises:
        InvalidParameter: `rescale` is of another form, not finite, or its ends are the wrong way round.
    """
    if rescale is not None and not (isinstance(rescale, str) and rescale == "auto"):
        return parse_rescale(rescale, len(layers))
    kept = own if rescale is None else (None,) * len(layers)
    return tuple(limits or auto_rescale(layer) for limits, layer in zip(kept, layers, strict=True))


def item_ranges(render: Mapping[str, Any]) -> tuple[ValueRange, ...]:
    """Return the ranges that an item names for itself; empty where there are none that can be used."""
    pairs = render.get("rescale")
    try:
        return parse_rescale(pairs, len(pairs)) if isinstance(pairs, list) and pairs else ()
    except InvalidParameter:
        return ()


def auto_rescale(values: "NDArray[Any]") -> ValueRange:
    """Return the 2nd to 98th percentile of the finite values; (0, 1) where there are none."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return ValueRange(0.0, 1.0)
    low, high = np.percentile(finite, AUTO_PERCENTILES)
    if low == high:
        # Nearly everything is one value: the few others are then what there is to see.
        low, high = finite.min(), finite.max()
    return widened(ValueRange(float(low), float(high)))


def widened(limits: ValueRange) -> ValueRange:
    """Return `limits`, or a range around its value where both ends are the same (a constant field)."""
    if limits.low < limits.high:
        return limits
    margin = max(abs(limits.low) * 1e-3, 0.5)
    return ValueRange(limits.low - margin, limits.high + margin)


def parse_rescale(rescale: object, bands: int) -> tuple[ValueRange, ...]:
    """Read ``[lo, hi]`` or ``[[lo, hi], …]`` (one pair for all bands, or one per band).

    Raises:
        InvalidParameter: It is of another form, not finite, or the ends are the wrong way round.
    """
    try:
        numbers = np.asarray(rescale, dtype=float)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.ndim == 1:
        numbers = numbers[np.newaxis]
    if numbers.ndim != 2 or numbers.shape[1] != 2 or numbers.shape[0] not in (1, bands):
        raise InvalidParameter(
            f"rescale is {str(rescale)[:80]!r}; expected [low, high], or one such pair for each of {bands} band(s).",
            hint="Leave it out for the item's own range, or give 'auto' for the 2nd to 98th percentile.",
            field="rescale",
        )
    ranges = [ValueRange(float(low), float(high)) for low, high in numbers]
    for limits in ranges:
        if not (np.isfinite(limits.low) and np.isfinite(limits.high) and limits.low <= limits.high):
            raise InvalidParameter(
                f"rescale goes from {limits.low:g} to {limits.high:g}; expected finite numbers, the lower first.",
                hint="To turn the colours round, use the colour map's name with _r.",
                field="rescale",
            )
    return tuple(widened(limits) for limits in (ranges * bands if len(ranges) == 1 else ranges))


def to_bytes(values: "NDArray[Any]", limits: ValueRange, top: int) -> "NDArray[np.uint8]":
    """Return values as 0 (at or below the lower end) to `top` (at or above the upper end); NaN becomes 0."""
    scaled = (values - limits.low) * (top / (limits.high - limits.low))
    return np.asarray(np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, top)), dtype=np.uint8)
