"""Where each pixel of a picture lies in another coordinate reference system, exact to a small part of a pixel."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import Transformer

    type Projection = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], ...]]

# Pixels between the places that are projected exactly; each is tried in turn.
_STEPS = (32, 8)
# Where neither does, a quarter is tried by itself, down to so many pixels a side, of which each is projected.
_SMALLEST = 24
# Places a side at which it is tried whether x depends on the column alone, and y on the row.
_TRIED = 5


@dataclass(frozen=True)
class Mesh:
    """The centres of a frame's pixels in another system; not finite where they have no place there.

    Attributes:
        x: Array (column,) where rows and columns stay straight, else (row, column).
        y: Array (row,), else (row, column).
    """

    x: "NDArray[np.float64]"
    y: "NDArray[np.float64]"

    @property
    def is_straight(self) -> bool:
        """Tell whether x depends on the column alone, and y on the row."""
        return self.x.ndim == 1

    def grids(self) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return x and y of each pixel: arrays (row, column)."""
        if not self.is_straight:
            return self.x, self.y
        x, y = np.meshgrid(self.x, self.y)
        return x, y


@lru_cache(maxsize=128)
def transformer(crs: str, other: str) -> "Transformer":
    """Return what projects from one system to another, x before y; made once, as that takes long."""
    from pyproj import Transformer

    return Transformer.from_crs(crs, other, always_xy=True)


def project(frame: Frame, crs: str, tolerance: float) -> Mesh:
    """Return where the centres of a frame's pixels lie.

    Args:
        frame: The picture's grid.
        crs: The other system, as WKT or an authority code.
        tolerance: How far a place may be off, in units of `crs`.
    """
    there = transformer(frame.crs, crs).transform
    x = frame.left + (np.arange(frame.width) + 0.5) * (frame.right - frame.left) / frame.width
    y = frame.top - (np.arange(frame.height) + 0.5) * (frame.top - frame.bottom) / frame.height
    if _is_straight(there, x, y, tolerance):
        middle_x, middle_y = x[len(x) // 2], y[len(y) // 2]
        across, _ = there(x, np.full_like(x, middle_y))
        _, up = there(np.full_like(y, middle_x), y)
        return Mesh(np.asarray(across), np.asarray(up))
    found = Mesh(*np.empty((2, frame.height, frame.width)))
    _fill(found, there, x, y, tolerance)
    return found


def project_some(
    frame: Frame, crs: str, columns: "NDArray[np.intp]", rows: "NDArray[np.intp]"
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Return exactly where the centres of some of a frame's pixels lie, by their columns and rows."""
    across, down = (frame.right - frame.left) / frame.width, (frame.top - frame.bottom) / frame.height
    x, y = frame.left + (columns + 0.5) * across, frame.top - (rows + 0.5) * down
    there_x, there_y = transformer(frame.crs, crs).transform(x, y)
    return np.asarray(there_x), np.asarray(there_y)


def _fill(
    into: Mesh, there: "Projection", x: "NDArray[np.float64]", y: "NDArray[np.float64]", tolerance: float
) -> None:
    """Project places, by quarters where they bend too much for the whole, as they do at a pole or a seam."""
    for step in _STEPS:
        found = _interpolated(there, x, y, step, tolerance)
        if found is not None:
            break
    else:
        if max(len(x), len(y)) > _SMALLEST:
            half_x, half_y = -(-len(x) // 2), -(-len(y) // 2)
            for rows in (slice(0, half_y), slice(half_y, None)):
                for columns in (slice(0, half_x), slice(half_x, None)):
                    if len(x[columns]) and len(y[rows]):
                        part = Mesh(into.x[rows, columns], into.y[rows, columns])
                        _fill(part, there, x[columns], y[rows], tolerance)
            return
        found = _exact(there, x, y)
    into.x[...], into.y[...] = found.x, found.y


def _exact(there: "Projection", x: "NDArray[np.float64]", y: "NDArray[np.float64]") -> Mesh:
    across, up = there(*np.meshgrid(x, y))
    return Mesh(np.asarray(across), np.asarray(up))


def _is_straight(there: "Projection", x: "NDArray[np.float64]", y: "NDArray[np.float64]", tolerance: float) -> bool:
    some = [np.unique(np.linspace(0, len(axis) - 1, _TRIED).round().astype(int)) for axis in (x, y)]
    tried = _exact(there, x[some[0]], y[some[1]])
    if not (np.isfinite(tried.x).all() and np.isfinite(tried.y).all()):
        return False
    bent = max(np.ptp(tried.x, axis=0).max(), np.ptp(tried.y, axis=1).max())
    return bool(bent < tolerance * 1e-3)


def _interpolated(
    there: "Projection", x: "NDArray[np.float64]", y: "NDArray[np.float64]", step: int, tolerance: float
) -> Mesh | None:
    """Return places interpolated between every `step`-th; None where that is not good enough."""
    if min(len(x), len(y)) < 2 * step:
        return None
    # Twice as many are projected as are looked at: the others tell how far off those between them would be.
    at_x, at_y = (np.linspace(0, len(axis) - 1, 2 * (len(axis) // step) + 1) for axis in (x, y))
    knots = _exact(there, np.interp(at_x, np.arange(len(x)), x), np.interp(at_y, np.arange(len(y)), y))
    for values in (knots.x, knots.y):
        if not np.isfinite(values).all():
            return None
        between = (values[:-2:2] + values[2::2]) / 2, (values[:, :-2:2] + values[:, 2::2]) / 2
        off = max(np.abs(values[1::2] - between[0]).max(), np.abs(values[:, 1::2] - between[1]).max())
        if off > tolerance:
            return None
    return Mesh(*(_spread(_spread(values, at_y, len(y), 0), at_x, len(x), 1) for values in (knots.x, knots.y)))


def _spread(
    values: "NDArray[np.float64]", knots: "NDArray[np.float64]", count: int, axis: int
) -> "NDArray[np.float64]":
    """Return values at positions 0 to `count` - 1 along an axis, linearly between those at the `knots`."""
    right = np.clip(np.searchsorted(knots, np.arange(count)), 1, len(knots) - 1)
    share = (np.arange(count) - knots[right - 1]) / (knots[right] - knots[right - 1])
    # Not as a product of matrices: that takes the threads of a library, and long on a busy machine.
    weight = share[:, np.newaxis] if axis == 0 else share
    spread: NDArray[np.float64] = values.take(right - 1, axis) * (1 - weight) + values.take(right, axis) * weight
    return spread
