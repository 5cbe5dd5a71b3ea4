"""Which pixels of a raster, or cells of a cube, a box of degrees has: those whose centres lie in it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.frame import GEOGRAPHIC, MERCATOR_MAX_LATITUDE, RasterGrid
from geoetl.access.grid import Axis, Grid, RegularGrid
from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A centre on an edge of the box belongs to the box in its east or south, whatever rounding says.
_EDGE_SLACK_PIXELS = 1e-6
# Places along each side of a box, and inside of it, that are projected to find what it covers.
_OUTLINE = 721
_INSIDE = 41
# How far cells may be from where even steps would put them, in cells, to be told as pixels of a map.
_EVEN = 0.01
# An uneven grid is told on an even one of at most so many times its rows.
_FINER = 4


@dataclass(frozen=True)
class PixelWindow:
    """A rectangle of pixels, which may reach beyond the raster.

    Attributes:
        left: First column; negative to the left of the raster.
        top: First row.
        grid: Where the pixels lie.
    """

    left: int
    top: int
    grid: RasterGrid

    def positions_inside(self, whole: RasterGrid) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return what `positions` does, only of those that lie in the raster, however far the window reaches."""
        rows = _centres(max(self.top, 0), min(self.top + self.grid.height, whole.height))
        turn = self._turn(whole)
        if turn is None:
            return _centres(max(self.left, 0), min(self.left + self.grid.width, whole.width)), rows
        columns = []
        for k in range(math.floor(self.left / turn) - 1, math.ceil((self.left + self.grid.width) / turn) + 1):
            first, last = math.ceil(k * turn - 0.5), math.ceil(k * turn + whole.width - 0.5)
            columns.append(_centres(max(self.left, first), min(self.left + self.grid.width, last)) - k * turn)
        return np.concatenate(columns), rows

    def _turn(self, whole: RasterGrid) -> float | None:
        """Return how many columns go around the Earth; None where they do not."""
        return whole.period / abs(whole.transform.a) if whole.period is not None and whole.is_straight else None

    def positions(self, whole: RasterGrid) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return where the centres of its columns and rows lie in the raster, in columns and rows of that.

        Those beyond an edge at which the other begins, all around the Earth, are there.
        """
        columns = _centres(self.left, self.left + self.grid.width)
        turn = self._turn(whole)
        if turn is not None:
            middle = whole.width / 2
            columns = np.asarray(middle + (columns - middle + turn / 2) % turn - turn / 2, dtype=np.float64)
        return columns, _centres(self.top, self.top + self.grid.height)


def _centres(first: int, last: int) -> "NDArray[np.float64]":
    return np.arange(first, max(first, last), dtype=np.float64) + 0.5


def window_of(grid: RasterGrid, bbox: BBox) -> PixelWindow:
    """Return the pixels of a box, those beyond the raster as well.

    On a grid that does not follow the meridians they are the rectangle around the box.

    Raises:
        InvalidParameter: The box has no place in the raster's projection.
    """
    from affine import Affine

    columns, rows = _straight_edges(grid, bbox) if grid.is_straight and grid.period else _outline(grid, bbox)
    left, right = _range(*columns)
    top, bottom = _range(*rows)
    moved = grid.transform @ Affine.translation(left, top)
    return PixelWindow(left, top, RasterGrid(grid.crs_wkt, moved, right - left, bottom - top))


def _range(start: float, stop: float) -> tuple[int, int]:
    """Return the pixels, from first to behind the last, whose centres lie between two edges; one where none does."""
    first, last = (math.ceil(edge - 0.5 - _EDGE_SLACK_PIXELS) for edge in (start, stop))
    if last > first:
        return first, last
    only = math.floor((start + stop) / 2)
    return only, only + 1


def _straight_edges(grid: RasterGrid, bbox: BBox) -> tuple[tuple[float, float], tuple[float, float]]:
    at, period = grid.transform, grid.period
    assert period is not None
    south, north = bbox.south, bbox.north
    if not grid.is_geographic:
        south, north = (max(-MERCATOR_MAX_LATITUDE, min(MERCATOR_MAX_LATITUDE, lat)) for lat in (south, north))
    (west, _), (bottom, top) = grid.from_degrees([bbox.west] * 2, [south, north])
    east = west + bbox.width_deg / 360 * period
    own = sorted((at.c, at.c + at.a * grid.width))
    # Of the turns around the Earth the one that has most of the raster; the box's own where there are several.
    turn = max((0, 1, -1, 2, -2), key=lambda k: min(east + k * period, own[1]) - max(west + k * period, own[0]))
    columns = sorted((x + turn * period - at.c) / at.a for x in (west, east))
    rows = sorted((y - at.f) / at.e for y in (bottom, top))
    if grid.is_geographic:
        # Cells around a pole have it as their centre: they belong to every box that reaches there.
        for lat, edge in ((bbox.south, -90.0), (bbox.north, 90.0)):
            if lat == edge:
                end = 0 if (edge - at.f) / at.e < grid.height / 2 else 1
                rows[end] = min(rows[0], 0.0) if end == 0 else max(rows[1], float(grid.height))
    return (columns[0], columns[1]), (rows[0], rows[1])


def _outline(grid: RasterGrid, bbox: BBox) -> tuple[tuple[float, float], tuple[float, float]]:
    lon = np.linspace(bbox.west, bbox.west + bbox.width_deg, _OUTLINE)
    lat = np.linspace(bbox.south, bbox.north, _OUTLINE)
    inside = np.meshgrid(lon[:: _OUTLINE // _INSIDE], lat[:: _OUTLINE // _INSIDE])
    x, y = grid.from_degrees(
        np.concatenate([lon, lon, np.full_like(lat, lon[0]), np.full_like(lat, lon[-1]), inside[0].ravel()]),
        np.concatenate([np.full_like(lon, lat[0]), np.full_like(lon, lat[-1]), lat, lat, inside[1].ravel()]),
    )
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise InvalidParameter("The box has no place in the projection of the raster.", field="bbox")
    columns, rows = grid.positions(x[known], y[known])
    return (float(columns.min()), float(columns.max())), (float(rows.min()), float(rows.max()))


def even_grid(grid: Grid) -> tuple[RasterGrid, bool]:
    """Return cells of a cube as pixels of a map, north up, and whether these are its own cells.

    Where they are not, the map's pixels are about as large, and each is to have the nearest cell.
    """
    from affine import Affine
    from pyproj import CRS

    wkt = CRS.from_user_input(GEOGRAPHIC).to_wkt()
    if isinstance(grid, RegularGrid):
        (west, across, columns, straight), (south, up, rows, level) = _even_steps(grid.lon), _even_steps(grid.lat)
        north = south + up * rows
        return RasterGrid(wkt, Affine(across, 0, west, 0, -up, north), columns, rows), straight and level
    extent, cells = grid.extent, int(np.isfinite(grid.lon).sum())
    width, height = max(extent.east - extent.west, 1e-6), max(extent.north - extent.south, 1e-6)
    side = math.sqrt(width * height / max(cells, 1))
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    at = Affine(width / columns, 0, extent.west, 0, -height / rows, extent.north)
    return RasterGrid(wkt, at, columns, rows), False


def _even_steps(axis: Axis) -> tuple[float, float, int, bool]:
    """Return start, step and number of even steps over an axis, and whether they are its own."""
    ordered = np.sort(axis.centres)
    count = len(ordered)
    if count == 1:
        return axis.low, axis.high - axis.low, 1, True
    step = float(ordered[-1] - ordered[0]) / (count - 1)
    if _farthest(ordered, float(ordered[0]) - step / 2, step) < _EVEN:
        return float(ordered[0]) - step / 2, step, count, True
    whole = axis.high - axis.low
    if _farthest(ordered, axis.low, whole / count) >= 0.5:
        count = min(_FINER * count, math.ceil(whole / float(np.diff(ordered).min())))
    return axis.low, whole / count, count, False


def _farthest(ordered: "NDArray[np.float64]", start: float, step: float) -> float:
    """Return how far a centre is at most from where even steps have it, in steps."""
    return float(np.abs(start + (np.arange(len(ordered)) + 0.5) * step - ordered).max() / step)
