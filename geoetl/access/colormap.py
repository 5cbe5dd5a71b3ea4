"""Colour maps by name, the range of values they stand for, and their legend."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.rescale import parse_rescale
from geoetl.access.result import Result
from geoetl.core.colormaps import COLORMAPS
from geoetl.core.errors import InvalidParameter, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_COLORMAP = "viridis"
DEFAULT_STOPS = 9


def colormap_names() -> tuple[str, ...]:
    """Return every name that can be given, each also with ``_r`` for its reverse."""
    return tuple(name + suffix for name in COLORMAPS for suffix in ("", "_r"))


def colormap_name(name: str, *, field: str = "colormap") -> str:
    """Return the canonical spelling of a colour map's name, whatever its case.

    Raises:
        InvalidParameter: There is none of that name.
    """
    known = {canonical.lower(): canonical for canonical in colormap_names()}
    found = known.get(name.strip().lower())
    if found is None:
        near = did_you_mean(name.strip().lower(), known)
        raise InvalidParameter(
            f"There is no colour map '{name[:40]}'.",
            hint=next(
                (near.replace(f"'{low}'", f"'{good}'") for low, good in known.items() if f"'{low}'" in near), near
            ),
            field=field,
        )
    return found


@lru_cache(maxsize=128)
def _table(canonical: str) -> bytes:
    import cmap

    reverse = canonical.endswith("_r")
    colours = cmap.Colormap(COLORMAPS[canonical.removesuffix("_r")]).lut(256)[:, :3]
    table = np.round(np.asarray(colours) * 255).astype(np.uint8)
    return bytes((table[::-1] if reverse else table).tobytes())


def lookup_table(name: str) -> "NDArray[np.uint8]":
    """Return the colours of a map from low to high: array (256, 3) of red, green, blue.

    Raises:
        InvalidParameter: There is none of that name.
    """
    return np.frombuffer(_table(colormap_name(name)), dtype=np.uint8).reshape(256, 3)


def item_colormap(render: Mapping[str, Any]) -> str:
    """Return the colour map that an item names for itself, or the default where it names none that we have."""
    try:
        return colormap_name(str(render.get("colormap_name") or DEFAULT_COLORMAP))
    except InvalidParameter:
        return DEFAULT_COLORMAP


class LegendStop(Result):
    """One entry of a legend.

    Attributes:
        value: The value, in the units of the legend.
        color: ``#rrggbb``.
        label: What to write beside it.
    """

    value: float
    color: str
    label: str


class Legend(Result):
    """What the colours of a picture mean.

    Attributes:
        kind: ``ramp`` (colours run on between the stops) or ``classes`` (each stop is one class).
        colormap: Name of the colour map; None where the colours come from the file's own colour table.
        units: Units of the values; None where they are not known.
        stops: The entries, from low to high.
    """

    kind: str
    colormap: str | None
    units: str | None
    stops: tuple[LegendStop, ...]

    def _repr_html_(self) -> str:
        unit = f"<div>{html.escape(self.units)}</div>" if self.units else ""
        if self.kind == "classes":
            boxes = "".join(
                f"<div><span style='display:inline-block;width:1em;height:1em;background:{stop.color}'></span> "
                f"{html.escape(stop.label)}</div>"
                for stop in self.stops
            )
            return f"<div>{unit}{boxes}</div>"
        gradient = ", ".join(stop.color for stop in self.stops)
        labels = "".join(f"<span>{html.escape(stop.label)}</span>" for stop in self.stops)
        return (
            f"<div style='max-width:480px'>{unit}"
            f"<div style='height:12px;background:linear-gradient(to right, {gradient})'></div>"
            "<div style='display:flex;justify-content:space-between;font-variant-numeric:tabular-nums'>"
            f"{labels}</div></div>"
        )


def legend(colormap: str, rescale: Sequence[float], units: str | None = None, *, stops: int = DEFAULT_STOPS) -> Legend:
    """Return the legend of a colour map between the two ends of `rescale`.

    Raises:
        InvalidParameter: There is no such colour map, the range is not right, or there are fewer than 2 stops.
    """
    (limits,) = parse_rescale([list(rescale)], 1)
    if not 2 <= stops <= 256:
        raise InvalidParameter(f"stops is {stops}; expected 2 to 256.", field="stops")
    table = lookup_table(colormap)
    positions = np.linspace(0, 1, stops)
    values = limits.low + positions * (limits.high - limits.low)
    return Legend(
        kind="ramp",
        colormap=colormap_name(colormap),
        units=units,
        stops=tuple(
            LegendStop(value=float(value), color=_hex(table[round(position * 255)]), label=label)
            for value, position, label in zip(values, positions, number_labels(values), strict=True)
        ),
    )


def number_labels(values: Iterable[float]) -> list[str]:
    """Return numbers as short texts that stay different from each other."""
    numbers = list(values)
    for digits in range(3, 17):
        labels = [f"{number:.{digits}g}" for number in numbers]
        if len(set(labels)) == len(set(numbers)):
            return labels
    return [repr(number) for number in numbers]


def _hex(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour)


@dataclass(frozen=True)
class Palette:
    """The colour table of a raster of classes.

    Attributes:
        colours: Array (n, 4) of red, green, blue, alpha; row i belongs to value i.
    """

    colours: "NDArray[np.uint8]"

    @classmethod
    def from_mapping(cls, table: Mapping[int, tuple[int, int, int, int]]) -> "Palette":
        """Take rasterio's mapping of value to colour."""
        colours = np.zeros((max(table) + 1, 4), dtype=np.uint8)
        for value, colour in table.items():
            colours[value] = colour
        return cls(colours)

    def legend(self, values: Iterable[int], labels: Mapping[int, str], units: str | None) -> Legend:
        """Return the legend of the classes `values`."""
        return Legend(
            kind="classes",
            colormap=None,
            units=units,
            stops=tuple(
                LegendStop(value=value, color=_hex(self.colours[value, :3]), label=labels.get(value, str(value)))
                for value in sorted(values)
            ),
        )
