"""Tile matrix sets: how the Earth is cut into tiles (OGC 17-083r4, Two Dimensional Tile Matrix Set 2.0, Annex D)."""

import math
from dataclasses import dataclass

from geoetl.access.frame import GEOGRAPHIC, MERCATOR_RADIUS_M, WEB_MERCATOR, Extent, Frame, mercator_bbox
from geoetl.core.errors import NotFound, did_you_mean
from geoetl.core.registry import Registry
from geoetl.core.spatial import BBox

TILE_SIZE = 256
# Beyond this zoom a pixel of the square of Web Mercator is 1 cm wide; no data are that fine.
MAX_ZOOM = 24


@dataclass(frozen=True)
class TileMatrixSet:
    """A set of quad-tree zooms.

    Attributes:
        id: Its name in the OGC register.
        uri: Its identifier there.
        crs: Of the tiles' edges; degrees are longitude, latitude.
        left: Western edge of the first column.
        top: Northern edge of the first row.
        side: Of a tile at zoom 0, in units of `crs`.
        columns: Tiles across at zoom 0; there is one row.
    """

    id: str
    uri: str
    crs: str
    left: float
    top: float
    side: float
    columns: int

    def has(self, z: int, x: int, y: int) -> bool:
        """Tell whether there is such a tile."""
        return 0 <= z <= MAX_ZOOM and 0 <= x < self.columns << z and 0 <= y < 1 << z

    def frame(self, z: int, x: int, y: int, size: int = TILE_SIZE) -> Frame:
        """Return the pixels of a tile.

        Args:
            z: Zoom.
            x: Column, from 0 in the west.
            y: Row, from 0 in the north.
            size: Pixels a side.
        """
        side = self.side / 2**z
        left, top = self.left + x * side, self.top - y * side
        right, bottom = left + side, top - side
        box = mercator_bbox(left, bottom, right, top) if self.crs == WEB_MERCATOR else BBox(left, bottom, right, top)
        return Frame(self.crs, left, bottom, right, top, size, size, box)

    def max_zoom(self, pixel_deg: float, size: int = TILE_SIZE) -> int:
        """Return the lowest zoom at which a pixel of a tile is no larger than `pixel_deg` degrees at the equator.

        Args:
            pixel_deg: Degrees of longitude.
            size: Pixels of a tile, a side.
        """
        side_deg = 360 / self.columns
        return min(max(math.ceil(math.log2(side_deg / (size * pixel_deg)) - 1e-9), 0), MAX_ZOOM)


_HALF_M = math.pi * MERCATOR_RADIUS_M
_REGISTER = "http://www.opengis.net/def/tilematrixset/OGC/1.0/"
WEB_MERCATOR_QUAD = TileMatrixSet(
    "WebMercatorQuad", f"{_REGISTER}WebMercatorQuad", WEB_MERCATOR, -_HALF_M, _HALF_M, 2 * _HALF_M, 1
)
WORLD_CRS84_QUAD = TileMatrixSet("WorldCRS84Quad", f"{_REGISTER}WorldCRS84Quad", GEOGRAPHIC, -180.0, 90.0, 180.0, 2)
MATRIX_SETS: Registry[TileMatrixSet] = Registry(
    "tile matrix set", {known.id: known for known in (WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD)}
)
# What people call it: the set of the same name in the register has other zooms, and few use it.
_ALIASES = {"WGS84": WORLD_CRS84_QUAD.id}


def matrix_set(name: str) -> TileMatrixSet:
    """Return a tile matrix set by its OGC id.

    Raises:
        NotFound: There is none of that name.
    """
    try:
        return MATRIX_SETS[_ALIASES.get(name, name)]
    except NotFound:
        raise NotFound(
            f"There is no tile matrix set '{name[:60]}' here.", hint=did_you_mean(name, MATRIX_SETS), field="tms"
        ) from None


def covers(frame: Frame, extent: Extent) -> bool:
    """Tell whether any of `extent` may lie in a frame of Web Mercator or degrees."""
    if frame.bbox.south >= extent.north or frame.bbox.north <= extent.south:
        return False
    # Both run eastwards from their western edge; either may begin within the other.
    ahead = (frame.bbox.west - extent.west) % 360
    behind = (extent.west - frame.bbox.west) % 360
    return ahead < extent.east - extent.west or behind < frame.bbox.east - frame.bbox.west
