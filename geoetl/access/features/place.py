"""Reference systems of features: boxes in any of them, and shapes brought from one into another; x always before y."""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoetl.access.features.table import DEGREES, FeatureTable
from geoetl.core.errors import InvalidBBox, InvalidParameter
from geoetl.core.spatial import BBox, wrap_longitude

if TYPE_CHECKING:
    import pyproj

CRS84 = "OGC:CRS84"
# Between two reference systems; each takes some milliseconds to make and a megabyte to keep.
KEPT_TRANSFORMERS = 32
# Points along each edge of a box whose bounds in another reference system are looked for.
EDGE_POINTS = 21
_EVERYWHERE = (-math.inf, -math.inf, math.inf, math.inf)

Edges = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax."""


@dataclass(frozen=True)
class ProjectedBox:
    """A box in the coordinates of a reference system, x to the east and y to the north.

    Raises:
        InvalidBBox: A coordinate is not finite, or the least is above the greatest.
    """

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    crs: str

    def __post_init__(self) -> None:
        text = f"{self.xmin},{self.ymin},{self.xmax},{self.ymax}"
        if not all(map(math.isfinite, self.edges)):
            raise InvalidBBox(f"The box {text} has a coordinate that is not finite.", field="bbox")
        if self.xmin > self.xmax or self.ymin > self.ymax:
            raise InvalidBBox(
                f"The box {text} in {self.crs} has its least coordinates above its greatest.",
                hint="Only a box in degrees may have its west above its east, where it crosses the antimeridian.",
                field="bbox",
            )

    @property
    def edges(self) -> Edges:
        """The coordinates in the order of their names."""
        return self.xmin, self.ymin, self.xmax, self.ymax


def is_degrees(crs: str) -> bool:
    """Tell whether a name stands for longitude and latitude on WGS 84."""
    return crs in (CRS84, DEGREES)


def crs_name(table: FeatureTable) -> str:
    """Return the name of a table's reference system, ``OGC:CRS84`` or ``EPSG:…``; its whole WKT where it has none."""
    if table.crs is None:
        return CRS84
    authority = table.crs.to_authority()
    return ":".join(authority) if authority else str(table.crs.to_wkt())


def parts_of(box: BBox | ProjectedBox) -> list[Edges]:
    """Return a box as one or two that do not cross the antimeridian, in its own reference system."""
    if isinstance(box, ProjectedBox):
        return [box.edges]
    if not box.crosses_antimeridian and box.width_deg >= 360:
        return [(-180.0, box.south, 180.0, box.north)]
    normal = BBox(wrap_longitude(box.west), box.south, wrap_longitude(box.east), box.north)
    return [(part.west, part.south, part.east, part.north) for part in normal.parts()]


class Projections:
    """Brings shapes and boxes from one reference system into another, and keeps what does it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def check(self, name: str, field: str) -> None:
        """Refuse a name that stands for no reference system on the plane of a map.

        Raises:
            InvalidParameter: See above.
        """
        if not is_degrees(name):
            self._crs(name, field)

    def _crs(self, name: str, field: str = "crs") -> "pyproj.CRS":
        import pyproj

        try:
            crs = pyproj.CRS.from_user_input(name)
        except (pyproj.exceptions.CRSError, ValueError, TypeError):
            crs = None
        if crs is None or not (crs.is_projected or crs.is_geographic):
            raise InvalidParameter(
                f"{field} is '{name[:60]}', which is no known reference system.",
                hint="For example EPSG:3857, or OGC:CRS84 for longitude and latitude.",
                field=field,
            )
        return crs

    def _transformer(self, source: str, target: str) -> Any:
        import pyproj

        key = (source, target)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = pyproj.Transformer.from_crs(self._crs(source), self._crs(target), always_xy=True)
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > KEPT_TRANSFORMERS:
                    self._kept.popitem(last=False)
        return found

    def shapes(self, shapes: NDArray[Any], source: str, target: str) -> NDArray[Any]:
        """Return shapes in another reference system; None for one of which a point has no place there."""
        if source == target or (is_degrees(source) and is_degrees(target)) or not len(shapes):
            return shapes
        import pyproj

        transformer = self._transformer(source, target)
        moved = np.array(shapes, object)
        with_heights = shapely.has_z(moved)
        for part, has_z in ((~with_heights, False), (with_heights, True)):
            if not part.any():
                continue
            try:
                # Heights stay as they are: only the place on the map changes.
                moved[part] = shapely.transform(
                    moved[part],
                    lambda places: np.column_stack([*transformer.transform(places[:, 0], places[:, 1]), places[:, 2:]]),
                    include_z=has_z,
                )
            except pyproj.exceptions.ProjError:
                moved[part] = None
        places, owners = shapely.get_coordinates(moved, return_index=True)
        moved[np.unique(owners[~np.isfinite(places).all(axis=1)])] = None
        return moved

    def around(self, edges: Edges, source: str, target: str) -> Edges:
        """Return the bounds of a box in another reference system; everywhere where they cannot be told."""
        if source == target or (is_degrees(source) and is_degrees(target)):
            return edges
        import pyproj

        try:
            xmin, ymin, xmax, ymax = self._transformer(source, target).transform_bounds(*edges, densify_pts=EDGE_POINTS)
        except pyproj.exceptions.ProjError:
            return _EVERYWHERE
        if not np.isfinite([xmin, ymin, xmax, ymax]).all():
            return _EVERYWHERE
        if is_degrees(target) and xmin > xmax:
            xmin, xmax = -180.0, 180.0
        # Between two of the points an edge may bulge by a little.
        margin = 0.01 * max(xmax - xmin, ymax - ymin)
        return xmin - margin, ymin - margin, xmax + margin, ymax + margin
