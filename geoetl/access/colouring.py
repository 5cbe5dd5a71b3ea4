"""The colours that an item gives its own values: the ``colormap`` of one of its renders.

The render extension has a ``colormap`` as titiler reads it: an object from numbers to colours, or a list of intervals.
Where the render has a ``rescale`` too, its numbers are those of the values brought to 0 to 255.  geoetl writes beside
it ``geoetl:style``: colours at exact values, of which the table of 256 is made.

Sources: https://github.com/stac-extensions/render v2.0.0; https://cogeotiff.github.io/rio-tiler/colormap/.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geoetl.access.colormap import Legend, LegendStop, number_labels
from geoetl.access.rescale import item_ranges, to_bytes
from geoetl.access.result import ValueRange

if TYPE_CHECKING:
    from numpy.typing import NDArray

OWN_FIELD = "geoetl:style"
# More entries are no colour map that someone reads.
MAX_ENTRIES = 4096
_TOP = 255
_HEX = re.compile("#[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?", re.ASCII)
# Entries of a legend of colours that run on.
_LEGEND_STOPS = 9

type Rgba = tuple[float, float, float, float]


class Colouring(Protocol):
    """Turns values into colours.

    Attributes:
        limits: The values at its ends; None where it has none, such as a table of classes.
    """

    @property
    def limits(self) -> ValueRange | None: ...

    def colours(self, values: "NDArray[Any]") -> "NDArray[np.uint8]":
        """Return red, green, blue and alpha of values of any shape: array (…, 4); no data are transparent."""
        ...

    def stretched(self, limits: ValueRange) -> "Colouring":
        """Return the same colours between other values; where there are no ends, as they are."""
        ...

    def legend(self, units: str | None) -> Legend:
        """Return what its colours mean."""
        ...


@dataclass(frozen=True)
class Stops:
    """Colours at exact values, and in between what lies between them.

    Two stops at one value are a step: the value itself has the colour of the second.

    Attributes:
        values: Ascending.
        rgba: Red, green, blue and alpha of each, 0 to 255.
        labels: What the legend says of each; empty texts where it says nothing.
    """

    values: tuple[float, ...]
    rgba: tuple[Rgba, ...]
    labels: tuple[str, ...]

    @property
    def limits(self) -> ValueRange:
        """The first and the last value."""
        return ValueRange(self.values[0], self.values[-1])

    def stretched(self, limits: ValueRange) -> "Stops":
        """Return the same colours from `limits.low` to `limits.high`; a single stop stays where it is."""
        own = self.limits
        if limits == own or own.low == own.high:
            return self
        factor = (limits.high - limits.low) / (own.high - own.low)
        return replace(self, values=tuple(limits.low + (value - own.low) * factor for value in self.values))

    def colours(self, values: "NDArray[Any]") -> "NDArray[np.uint8]":
        """Return the colour of each value; beyond the ends that of the end."""
        known = np.isfinite(values)
        at = np.where(known, values, self.values[0])
        result = np.empty((*values.shape, 4), np.uint8)
        # numpy takes of two stops at one value the second for the value itself, and the first for what is below it.
        for part, levels in enumerate(zip(*self.rgba, strict=True)):
            is_even = len(set(levels)) == 1
            result[..., part] = round(levels[0]) if is_even else np.rint(np.interp(at, self.values, levels))
        result[~known] = 0
        return result

    def legend(self, units: str | None) -> Legend:
        """Return its stops, with steps as classes."""
        is_stepped = len(self.values) > 1 and all(a == b for a, b in zip(self.rgba[::2], self.rgba[1::2], strict=False))
        numbers = number_labels(self.values)
        if is_stepped:
            entries = [
                LegendStop(value=value, color=_hex(colour), label=label or f"{low} – {high}")
                for value, colour, label, low, high in zip(
                    self.values[::2], self.rgba[::2], self.labels[::2], numbers[::2], numbers[1::2], strict=False
                )
            ]
            return Legend(kind="classes", colormap=None, units=units, stops=tuple(entries))
        if any(self.labels):
            # Whole numbers with names are classes; those without are there for their colour alone.
            is_classes = all(float(value).is_integer() for value in self.values)
            entries = [
                LegendStop(value=value, color=_hex(colour), label=label or number)
                for value, colour, label, number in zip(self.values, self.rgba, self.labels, numbers, strict=True)
                if label or not is_classes
            ]
            kind = "classes" if is_classes else "ramp"
            return Legend(kind=kind, colormap=None, units=units, stops=tuple(entries))
        return _ramp(self, self.limits, units)


@dataclass(frozen=True)
class Table:
    """The colours of the numbers 0 to 255 that values between two limits are brought to; others are transparent."""

    limits: ValueRange
    rgba: tuple[Rgba | None, ...]

    def stretched(self, limits: ValueRange) -> "Table":
        """Return the same colours between other limits."""
        return replace(self, limits=limits)

    def colours(self, values: "NDArray[Any]") -> "NDArray[np.uint8]":
        """Return the colour of each value; beyond the limits that of the limit."""
        table = np.array([entry or (0, 0, 0, 0) for entry in self.rgba], dtype=np.uint8)
        result = table[to_bytes(values, self.limits, _TOP)]
        result[~np.isfinite(values)] = 0
        return result

    def legend(self, units: str | None) -> Legend:
        """Return some values from end to end."""
        return _ramp(self, self.limits, units)


@dataclass(frozen=True)
class Discrete:
    """The colours of single values; every other value is transparent."""

    values: tuple[float, ...]
    rgba: tuple[Rgba, ...]
    labels: tuple[str, ...]

    @property
    def limits(self) -> None:
        """None: there is nothing between its values."""

    def stretched(self, limits: ValueRange) -> "Discrete":
        """Return it as it is: classes are not stretched."""
        return self

    def colours(self, values: "NDArray[Any]") -> "NDArray[np.uint8]":
        """Return the colour of each value."""
        known, table = np.array(self.values), np.array([*self.rgba, (0, 0, 0, 0)], dtype=np.uint8)
        at = np.clip(np.searchsorted(known, np.nan_to_num(values)), 0, len(known) - 1)
        return np.asarray(table[np.where(known[at] == values, at, len(known))])

    def legend(self, units: str | None) -> Legend:
        """Return its classes."""
        texts = number_labels(self.values)
        stops = (
            LegendStop(value=value, color=_hex(colour), label=label or text)
            for value, colour, label, text in zip(self.values, self.rgba, self.labels, texts, strict=True)
        )
        return Legend(kind="classes", colormap=None, units=units, stops=tuple(stops))


@dataclass(frozen=True)
class Intervals:
    """The colours of intervals, ``low <= value < high``; of several that hold a value the last, outside transparent.

    Attributes:
        ends: The ends of each.
        rgba: Its colour.
        rescale: What brings values to 0 to 255 before; None where they are taken as they are.
    """

    ends: tuple[ValueRange, ...]
    rgba: tuple[Rgba, ...]
    rescale: ValueRange | None = None

    @property
    def limits(self) -> ValueRange | None:
        """What values are rescaled from."""
        return self.rescale

    def stretched(self, limits: ValueRange) -> "Intervals":
        """Return it with values rescaled from `limits`, where it rescales them."""
        return self if self.rescale is None else replace(self, rescale=limits)

    def colours(self, values: "NDArray[Any]") -> "NDArray[np.uint8]":
        """Return the colour of each value."""
        scaled = values if self.rescale is None else to_bytes(values, self.rescale, _TOP)
        result = np.zeros((*values.shape, 4), dtype=np.uint8)
        for ends, colour in zip(self.ends, self.rgba, strict=True):
            result[(scaled >= ends.low) & (scaled < ends.high)] = colour
        result[~np.isfinite(values)] = 0
        return result

    def legend(self, units: str | None) -> Legend:
        """Return its intervals, in the units of the values."""
        start, stop = self.rescale or (0, _TOP)
        step = (stop - start) / _TOP
        low, high = ([start + end * step for end in side] for side in zip(*self.ends, strict=True))
        texts = number_labels([*low, *high])
        count = len(self.ends)
        stops = (
            LegendStop(value=value, color=_hex(colour), label=f"{texts[i]} – {texts[count + i]}")
            for i, (value, colour) in enumerate(zip(low, self.rgba, strict=True))
        )
        return Legend(kind="classes", colormap=None, units=units, stops=tuple(stops))


def colouring_of(render: Mapping[str, Any]) -> Colouring | None:
    """Return the colours that a render has of its own; None where it has none, or they are malformed."""
    own = render.get(OWN_FIELD)
    try:
        if isinstance(own, Mapping) and (stops := _stops(own.get("stops"))) is not None:
            return stops
        colormap = render.get("colormap")
        ranges = item_ranges(render)
        limits = ranges[0] if len(ranges) == 1 else None
        if isinstance(colormap, Mapping) and 0 < len(colormap) <= MAX_ENTRIES:
            return _mapped(colormap, limits, _labels(own))
        if isinstance(colormap, list) and 0 < len(colormap) <= MAX_ENTRIES:
            return _intervals(colormap, limits)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return None


def opacity_of(render: Mapping[str, Any]) -> float:
    """Return how opaque a composite of three bands is drawn, 0 to 1."""
    own = render.get(OWN_FIELD)
    opacity = own.get("opacity") if isinstance(own, Mapping) else None
    if not isinstance(opacity, int | float) or isinstance(opacity, bool) or not np.isfinite(opacity):
        return 1.0
    return min(max(float(opacity), 0.0), 1.0)


def _stops(given: Any) -> Stops | None:
    """Read ``[[value, [r, g, b, a], label?], …]``."""
    if not isinstance(given, list) or not 0 < len(given) <= MAX_ENTRIES:
        return None
    values = tuple(float(stop[0]) for stop in given)
    rgba = tuple(_colour(stop[1]) for stop in given)
    labels = tuple(str(stop[2]) if len(stop) > 2 else "" for stop in given)
    if not np.isfinite(values).all() or any(a > b for a, b in pairwise(values)):
        raise ValueError("stops are ascending numbers")
    return Stops(values, rgba, labels)


def _mapped(colormap: Mapping[str, Any], limits: ValueRange | None, labels: Mapping[float, str]) -> Colouring:
    entries = sorted((float(value), _colour(colour)) for value, colour in colormap.items())
    if limits is None:
        values = tuple(value for value, _ in entries)
        return Discrete(values, tuple(colour for _, colour in entries), tuple(labels.get(one, "") for one in values))
    known = dict(entries)
    return Table(limits, tuple(known.get(number) for number in range(_TOP + 1)))


def _intervals(colormap: Sequence[Any], limits: ValueRange | None) -> Intervals:
    ends = tuple(ValueRange(float(low), float(high)) for (low, high), _ in colormap)
    return Intervals(ends, tuple(_colour(colour) for _, colour in colormap), limits)


def _labels(own: Any) -> dict[float, str]:
    labels = own.get("labels") if isinstance(own, Mapping) else None
    return {float(value): str(text) for value, text in labels.items()} if isinstance(labels, Mapping) else {}


def _colour(given: Any) -> Rgba:
    """Read ``#rrggbb``, ``#rrggbbaa``, ``[r, g, b]`` or ``[r, g, b, a]``."""
    if isinstance(given, str):
        if not _HEX.fullmatch(given):
            raise ValueError("a colour is #rrggbb")
        parts: list[float] = [int(given[at : at + 2], 16) for at in range(1, len(given), 2)]
    else:
        parts = [float(part) for part in given]
    if len(parts) not in (3, 4) or not all(0 <= part <= _TOP for part in parts):
        raise ValueError("a colour has three or four parts of 0 to 255")
    red, green, blue, *alpha = parts
    return red, green, blue, alpha[0] if alpha else float(_TOP)


def _ramp(colouring: Colouring, limits: ValueRange, units: str | None) -> Legend:
    values = np.linspace(limits.low, limits.high, _LEGEND_STOPS if limits.low < limits.high else 1)
    return Legend(
        kind="ramp",
        colormap=None,
        units=units,
        stops=tuple(
            LegendStop(value=float(value), color=_hex(colour), label=label)
            for value, colour, label in zip(
                values, colouring.colours(values), number_labels(values.tolist()), strict=True
            )
        ),
    )


def _hex(colour: Iterable[float]) -> str:
    return "#" + "".join(f"{round(float(part)):02x}" for part in list(colour)[:3])
