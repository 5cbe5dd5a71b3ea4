"""Outlines that cross themselves: which of them can be repaired."""

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

# Repairing costs seconds per ten thousand crossings; what crosses itself more often than this was never an outline.
MAX_CROSSINGS = 2_000
# Edges of real outlines overlap few others in their boxes (3 to 5 each: itself, its neighbours); a tangle overlaps all.
MAX_OVERLAPS_PER_EDGE = 8
_EDGES_AT_ONCE = 64


def is_tangle(shape: "BaseGeometry") -> bool:
    """Tell whether an outline crosses itself more than `MAX_CROSSINGS` times, or may do so.

    GEOS works for seconds on a hundred lines that all cross each other, and cannot be stopped.
    """
    coordinates, belongs = shapely.get_coordinates(shapely.get_rings(shape), return_index=True)
    along = np.flatnonzero(belongs[:-1] == belongs[1:])
    edges: NDArray[np.object_] = np.asarray(
        shapely.linestrings(np.stack([coordinates[along], coordinates[along + 1]], axis=1))
    )
    tree = shapely.STRtree(edges)
    allowed = MAX_OVERLAPS_PER_EDGE * len(edges) + MAX_CROSSINGS
    crossings = 0
    for start in range(0, len(edges), _EDGES_AT_ONCE):
        here, there = tree.query(edges[start : start + _EDGES_AT_ONCE])
        allowed -= len(here)
        if allowed < 0:
            return True
        later = there > here + start
        crossings += int(shapely.crosses(edges[here[later] + start], edges[there[later]]).sum())
        if crossings > MAX_CROSSINGS:
            return True
    return False
