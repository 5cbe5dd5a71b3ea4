"""Which pixels lie in a region: those whose centre does, or all that it touches."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import shapely

from geoetl.access.frame import RasterGrid

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoetl.access.region import Region

# Edges are straight in degrees (RFC 7946); in another projection they bend, and follow from so many pieces of a side.
_PIECES = 400
# GDAL burns with the interpreter's lock held: of so many rows at once it takes about a millisecond.
_ROWS = 128
# Polygons of fewer corners are not worth cutting.
_LONG = 500


def inside(region: "Region", grid: RasterGrid, *, all_touched: bool = False) -> "NDArray[np.bool_]":
    """Return which pixels lie in a region: array (row, column).

    Args:
        region: The part of the world.
        grid: The pixels; over the antimeridian as well.
        all_touched: Whether pixels that the region only touches belong to it.
    """
    from affine import Affine
    from rasterio.features import geometry_mask

    shapes = list(_on_grid(region, grid))
    found = np.zeros((grid.height, grid.width), dtype=np.bool_)
    for top in range(0, grid.height, _ROWS):
        rows = min(_ROWS, grid.height - top)
        stripe = grid.transform @ Affine.translation(0, top)
        near = _near(shapes, stripe, grid.width, rows)
        if near:
            found[top : top + rows] = geometry_mask(
                near, out_shape=(rows, grid.width), transform=stripe, all_touched=all_touched, invert=True
            )
    return found


def _near(shapes: "Sequence[BaseGeometry]", stripe: "Affine", width: int, rows: int) -> "list[BaseGeometry]":
    """Return what of polygons matters for the pixels of a stripe: those that reach it, long ones cut two pixels off."""
    corners = [stripe @ corner for corner in ((-2, -2), (width + 2, -2), (-2, rows + 2), (width + 2, rows + 2))]
    (west, *_, east), (south, *_, north) = (sorted(values) for values in zip(*corners, strict=True))
    around = shapely.box(west, south, east, north)
    near = [shape for shape in shapes if shapely.intersects(shape, around)]
    long = [shapely.get_num_coordinates(shape) > _LONG for shape in near]
    cut = [shapely.intersection(shape, around) if is_long else shape for shape, is_long in zip(near, long, strict=True)]
    parts = shapely.get_parts(cut)
    return [part for part in parts if shapely.get_dimensions(part) == 2]


def _on_grid(region: "Region", grid: RasterGrid) -> Iterator["BaseGeometry"]:
    """Yield the parts of a region in the units of a grid, once for each turn around the Earth that the grid shows."""
    period = grid.period
    corners = [
        grid.transform @ corner for corner in ((0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height))
    ]
    west, east = min(x for x, _ in corners), max(x for x, _ in corners)
    for part in shapely.get_parts(region.geometry):
        projected = part if grid.is_geographic else _projected(part, grid)
        if projected.is_empty:
            continue
        if period is None:
            yield projected
            continue
        left, _, right, _ = projected.bounds
        first, last = int(np.floor((west - right) / period)), int(np.ceil((east - left) / period))
        for turn in range(first, last + 1):
            if left + turn * period <= east and right + turn * period >= west:
                yield shapely.transform(projected, partial(np.add, (turn * period, 0.0)))


def _projected(part: shapely.Polygon, grid: RasterGrid) -> "BaseGeometry":
    left, bottom, right, top = part.bounds
    fine = shapely.segmentize(part, max(right - left, top - bottom) / _PIECES)

    def project(places: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return np.column_stack(grid.from_degrees(places[:, 0], places[:, 1]))

    moved = shapely.transform(fine, project)
    if np.isfinite(shapely.get_coordinates(moved)).all():
        return moved
    # Places that the projection does not have are left out: those next to them close the ring.
    return _without_lost(moved)


def _without_lost(part: shapely.Polygon) -> "BaseGeometry":
    rings = [_kept(ring) for ring in (part.exterior, *part.interiors)]
    if rings[0] is None:
        return shapely.Polygon()
    return shapely.Polygon(rings[0], [ring for ring in rings[1:] if ring is not None])


def _kept(ring: "BaseGeometry") -> "NDArray[np.float64] | None":
    places = shapely.get_coordinates(ring)
    kept = places[np.isfinite(places).all(axis=1)]
    return kept if len(kept) >= 4 else None
