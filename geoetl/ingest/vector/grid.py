"""The square world of web maps: places in it, and the Hilbert curve that numbers its tiles and sorts features.

Sources: OGC 17-083r4, annex D (WebMercatorQuad); PMTiles 3, section 3.1: tiles are numbered zoom by zoom along a
Hilbert curve, so that a tile's number begins with that of the tile above it.
"""

import numpy as np
from numpy.typing import NDArray

# Of the side of the world in 2^26 steps one has 0.6 m at the equator; both numbers fit into 64 bits.
KEY_ZOOM = 26
# Where the square ends.
MAX_LATITUDE_DEG = 85.0511287798066
Numbers = NDArray[np.int64]
Places = NDArray[np.float64]


def world(places: Places) -> Places:
    """Return degrees as places in the unit square, x eastwards, y southwards: array (place, 2) for both."""
    latitude = np.radians(np.clip(places[:, 1], -MAX_LATITUDE_DEG, MAX_LATITUDE_DEG))
    x = places[:, 0] / 360 + 0.5
    y = 0.5 - np.arcsinh(np.tan(latitude)) / (2 * np.pi)
    return np.column_stack([x, y])


def hilbert(x: Numbers, y: Numbers, zoom: int) -> Numbers:
    """Return how far along the curve cells of a zoom lie; that of the cell above is a quarter of it, rounded down."""
    x, y = x.copy(), y.copy()
    along = np.zeros(len(x), np.int64)
    for step in (1 << bit for bit in range(zoom - 1, -1, -1)):
        right, low = (x & step) > 0, (y & step) > 0
        along += step * step * np.where(right, np.where(low, 2, 3), low.astype(np.int64))
        # The quarter is entered as the whole is: turned, and in one case mirrored too.
        mirrored = right & ~low
        x[mirrored] = step - 1 - (x[mirrored] & (step - 1))
        y[mirrored] = step - 1 - (y[mirrored] & (step - 1))
        turned = ~low
        x[turned], y[turned] = y[turned], x[turned]
    return along


def keys(places: Places) -> Numbers:
    """Return the place along the curve of each of some places: array (place, 2) of degrees to array (place)."""
    side = 1 << KEY_ZOOM
    cells = np.clip((world(places) * side).astype(np.int64), 0, side - 1)
    return hilbert(cells[:, 0], cells[:, 1], KEY_ZOOM)


def cells(keys: Numbers, zoom: int) -> Numbers:
    """Return the cell of a zoom that each key lies in, by its place along the curve."""
    return keys >> (2 * (KEY_ZOOM - zoom))


def first_tile_id(zoom: int) -> int:
    """Return the number of the first tile of a zoom."""
    return ((1 << 2 * zoom) - 1) // 3
