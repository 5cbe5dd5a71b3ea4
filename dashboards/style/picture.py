"""The picture of a coverage in the colours of a style, made anew with every change."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.style.subject import first_band
from geoetl.styles.coverage import coverage_symbol

if TYPE_CHECKING:
    from geoetl.access.extract import RasterWindow
    from geoetl.styles.layer import StyledLayer
    from geoetl.styles.model import Style


@dataclass(frozen=True)
class Painted:
    """A picture that the browser is given.

    Attributes:
        content: The encoded picture.
        media_type: What it is.
    """

    content: bytes
    media_type: str = "image/png"


def paint(style: "Style", layer: "StyledLayer", window: "RasterWindow") -> Painted | None:
    """Return the values in the colours of a style; None where it draws none of them."""
    symbol = coverage_symbol(style, layer)
    if not symbol.visible or not symbol.stops:
        return None
    return Painted(_png(colours(symbol.stops, first_band(window))))


def colours(stops: Sequence[tuple[float, Sequence[float], str]], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the colour of each value: array (row, column, 4) of red, green, blue and alpha, no data transparent.

    Args:
        stops: Value and colour, ascending; between two of them colours run on, two at one value are a step.
        values: Array (row, column), NaN = no data.
    """
    at = np.array([value for value, *_ in stops], dtype=float)
    parts = np.array([rgba for _, rgba, _ in stops], dtype=float)
    known = np.isfinite(values)
    painted = np.zeros((*values.shape, 4), np.uint8)
    inside = values[known]
    for band in range(4):
        painted[known, band] = np.rint(np.interp(inside, at, parts[:, band]))
    return painted


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    # Level 1 takes a third of the time of the usual level; the picture is seen for a moment.
    Image.fromarray(pixels, "RGBA").save(out, "PNG", compress_level=1)
    return out.getvalue()
