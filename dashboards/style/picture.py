"""The picture of a coverage in the colours of a style, made anew with every change."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoetl.styles.coverage import CoverageSymbol, Scaled

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Painted:
    """A picture that the browser is given.

    Attributes:
        content: The encoded picture.
        media_type: What it is.
    """

    content: bytes
    media_type: str = "image/png"


def paint(symbol: CoverageSymbol, bands: Mapping[str, Array]) -> Painted | None:
    """Return values in the colours of a symbol; None where it draws none of them.

    Args:
        symbol: How the coverage is drawn.
        bands: Arrays (row, column) by the name of the band or variable, NaN = no data.
    """
    if not symbol.visible:
        return None
    if symbol.channels is not None:
        return Painted(_png(composite(symbol.channels, bands, symbol.opacity)))
    return Painted(_png(colours(symbol.stops, _channel(symbol.channel, bands)))) if symbol.stops else None


def composite(channels: tuple[Scaled, Scaled, Scaled], bands: Mapping[str, Array], opacity: float) -> NDArray[np.uint8]:
    """Return three bands as red, green and blue: array (row, column, 4), no data transparent."""
    scaled = [(bands[one.name] - one.low) / (one.high - one.low) for one in channels]
    known = np.isfinite(np.stack(scaled)).all(axis=0)
    painted = np.zeros((*known.shape, 4), np.uint8)
    for number, part in enumerate(scaled):
        painted[known, number] = np.rint(np.clip(part[known], 0, 1) * 255)
    painted[known, 3] = round(255 * opacity)
    return painted


def colours(stops: Sequence[tuple[float, Sequence[float], str]], values: Array) -> NDArray[np.uint8]:
    """Return the colour of each value: array (row, column, 4) of red, green, blue and alpha, no data transparent.

    Args:
        stops: Value and colour, ascending; between two of them colours run on, two at one value are a step.
        values: Array (row, column), NaN = no data.
    """
    at = np.array([value for value, *_ in stops], dtype=float)
    parts = np.array([rgba for _, rgba, _ in stops], dtype=float)
    known = np.isfinite(values)
    painted = np.zeros((*values.shape, 4), np.uint8)
    for number in range(4):
        painted[known, number] = np.rint(np.interp(values[known], at, parts[:, number]))
    return painted


_ARITHMETIC: Mapping[str, Any] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
}


def _channel(tree: Any, bands: Mapping[str, Array]) -> Array:
    """Return what is looked up in the stops: a band, or arithmetic on bands; where nothing is named, the only one."""
    if tree is None:
        return next(iter(bands.values()))
    with np.errstate(all="ignore"):
        return np.asarray(_worked_out(tree, bands), dtype=float)


def _worked_out(tree: Any, bands: Mapping[str, Array]) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    if "property" in tree:
        return bands[tree["property"]]
    first, second = (_worked_out(part, bands) for part in tree["args"])
    return _ARITHMETIC[tree["op"]](first, second)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    # Level 1 takes a third of the time of the usual level; the picture is seen for a moment.
    Image.fromarray(pixels, "RGBA").save(out, "PNG", compress_level=1)
    return out.getvalue()
