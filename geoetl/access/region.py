"""A region: the part of the world that a clip, a mean or a filter is about.

GeoJSON is read as RFC 7946 means it: longitude and latitude in degrees, straight lines between positions. Where a ring
takes an edge of more than 180 degrees of longitude its winding tells which way it goes: exterior rings run
counter-clockwise (3.1.6), so one that would run clockwise crosses the antimeridian instead. A ring that goes once
around the world encloses the pole that is nearer to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, mapping

from geoetl.access.result import Source, extent_text
from geoetl.core.errors import InvalidBBox, InvalidParameter, LimitExceeded
from geoetl.core.html import facts, heading
from geoetl.core.outlines import is_tangle
from geoetl.core.spatial import LONGITUDE_SLACK_DEG, BBox

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

MAX_VERTICES = 100_000
_TYPES = ("Polygon", "MultiPolygon", "Feature", "FeatureCollection")
_FIELD = "geometry"


@dataclass(frozen=True)
class Region:
    """A part of the world.

    Attributes:
        geometry: Polygon or multipolygon, valid, longitude and latitude in degrees (CRS84) within -180 to 180; cut
            where it crosses the antimeridian.
        bbox: The box around it; west > east where it crosses the antimeridian.
        name: What it is called, where it has a name.
        source: Where a named boundary came from.
    """

    geometry: "BaseGeometry"
    bbox: BBox
    name: str | None = None
    source: Source | None = None

    @classmethod
    def from_bbox(cls, bbox: BBox, *, name: str | None = None) -> Self:
        """Return a box as a region.

        Raises:
            InvalidBBox: The box has no area.
        """
        if not bbox.width_deg or not bbox.height_deg:
            raise InvalidBBox(
                f"The box {','.join(f'{edge:g}' for edge in bbox.as_list())} has no area.",
                hint="Give a west that differs from the east, and a south that differs from the north.",
                field="bbox",
            )
        boxes = [shapely.box(part.west, part.south, part.east, part.north) for part in bbox.parts() if part.width_deg]
        return cls(_together(boxes), bbox, name)

    @classmethod
    def from_geojson(cls, document: Mapping[str, Any]) -> Self:
        """Read a GeoJSON Polygon or MultiPolygon, a Feature of one, or a FeatureCollection of one such Feature.

        What crosses itself is made valid where that can be done quickly; heights are left out.

        Raises:
            InvalidParameter: It is none of these, a position is no longitude and latitude in degrees, a ring is not
                closed, or nothing with an area is left.
            LimitExceeded: It has more than 100,000 vertices.
        """
        geometry, name, box = _geometry_of(document)
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        rings = _rings_of(_list(polygons, "coordinates of a MultiPolygon"))
        if not any(rings):
            raise _wrong(f"The {geometry['type']} is empty.", "Give the rings of its outline.")
        crosses = box is not None and box.crosses_antimeridian
        return cls.from_shape(_together([_polygon(parts, crosses=crosses) for parts in rings if parts]), name=name)

    @classmethod
    def from_shape(cls, shape: "BaseGeometry", *, name: str | None = None, source: Source | None = None) -> Self:
        """Take a polygon or multipolygon in degrees of longitude and latitude, valid or not.

        Raises:
            InvalidParameter: It crosses itself too often to be repaired, or has no area.
        """
        if not shape.is_valid:
            if is_tangle(shape):
                reason = shapely.is_valid_reason(shape)
                raise _wrong(
                    f"The outline crosses itself too often to be repaired ({reason[:100]}).",
                    "Repair it where it is drawn; most programs call that 'fix geometries' or 'make valid'.",
                )
            shape = shapely.make_valid(shape, method="structure", keep_collapsed=False)
        shape = _polygonal(_on_one_world(shape))
        if shape.is_empty or not shape.area:
            raise _wrong("The outline has no area.", "Give a ring of at least three places that are not in one line.")
        return cls(shape, _box_around(shape), name, source)

    def feature(self) -> dict[str, Any]:
        """Return the region as a GeoJSON Feature."""
        properties = {"name": self.name, "source": None if self.source is None else self.source.model_dump()}
        return {
            "type": "Feature",
            "bbox": self.bbox.as_list(),
            "geometry": mapping(self.geometry),
            "properties": properties,
        }

    def _repr_html_(self) -> str:
        rows = [("extent", extent_text(self.bbox)), ("parts", str(shapely.get_num_geometries(self.geometry)))]
        if self.source is not None:
            rows.append(("from", str(self.source)))
        return heading(self.name or "Region", "") + facts(rows)


# -- reading GeoJSON -------------------------------------------------------------------------------------------------


def _geometry_of(document: Any) -> tuple[Mapping[str, Any], str | None, BBox | None]:
    """Return the geometry of a document, with the name and the box that are beside it."""
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind == "FeatureCollection":
        features = _list(document.get("features"), "features of a FeatureCollection")
        if len(features) != 1:
            raise _wrong(f"The FeatureCollection has {len(features)} features; expected 1.", "Send one of them.")
        document = features[0]
        kind = document.get("type") if isinstance(document, Mapping) else None
    name, box, geometry = None, _box_beside(document), document
    if kind == "Feature":
        properties = document.get("properties")
        given = properties.get("name") if isinstance(properties, Mapping) else None
        name = given if isinstance(given, str) else None
        geometry = document.get("geometry")
        box = box or _box_beside(geometry)
        kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind not in ("Polygon", "MultiPolygon") or "coordinates" not in geometry:
        raise _wrong(
            f"The geometry is {str(kind)[:40] if kind else 'missing'}; expected a Polygon or a MultiPolygon.",
            f"Send GeoJSON of the type {', '.join(_TYPES[:-1])} or {_TYPES[-1]}.",
        )
    return geometry, name, box


def _box_beside(document: Any) -> BBox | None:
    box = document.get("bbox") if isinstance(document, Mapping) else None
    if box is None:
        return None
    numbers = [number for number in _list(box, "bbox") if isinstance(number, int | float)]
    return BBox.from_list(numbers)


def _rings_of(polygons: Sequence[Any]) -> list[list["NDArray[np.float64]"]]:
    """Return the rings of each polygon: arrays (vertex, lon-lat) in degrees, the exterior first.

    Raises:
        InvalidParameter: A ring is malformed.
        LimitExceeded: There are too many vertices.
    """
    lists = [_list(polygon, "coordinates of a Polygon") for polygon in polygons]
    total = sum(len(_list(ring, "ring")) for rings in lists for ring in rings)
    if total > MAX_VERTICES:
        raise LimitExceeded(
            f"The outline has {total:,} vertices; the limit is {MAX_VERTICES:,}.",
            hint="Simplify it, to the size of the cells that it cuts.",
            field=_FIELD,
        )
    return [[_ring(ring) for ring in rings] for rings in lists]


def _ring(positions: Sequence[Any]) -> "NDArray[np.float64]":
    if len(positions) < 4:
        raise _wrong(f"A ring has {len(positions)} positions; expected at least 4.", "Its last one repeats its first.")
    try:
        pairs = [(position[0], position[1]) for position in positions]
        numbers = set(map(type, chain.from_iterable(pairs))) <= {int, float}
        ring = np.array(pairs, dtype=np.float64) if numbers else None
    except (IndexError, KeyError, TypeError, OverflowError):
        ring = None
    if ring is None or not np.isfinite(ring).all():
        raise _wrong("A position of the outline is no pair of numbers.", "Give [longitude, latitude] in degrees.")
    lon, lat = ring.T
    if np.abs(lat).max() > 90:
        worst = float(lat[np.argmax(np.abs(lat))])
        raise _wrong(
            f"Latitude {worst:g} of the outline is not within -90 to 90 degrees.",
            "Is the order lon,lat? Longitude comes first, in degrees of WGS 84.",
        )
    if np.abs(lon).max() > 360:
        worst = float(lon[np.argmax(np.abs(lon))])
        raise _wrong(
            f"Longitude {worst:g} of the outline is not within -180 to 180 degrees.",
            "Give degrees of WGS 84, not metres of a projection.",
        )
    if not (ring[0] == ring[-1]).all():
        raise _wrong(
            f"A ring ends at {ring[-1].tolist()}, not where it begins, at {ring[0].tolist()}.",
            "Repeat the first position at its end.",
        )
    return ring


def _list(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise _wrong(f"The {what} is {type(value).__name__}; expected a list.", "Send GeoJSON as in RFC 7946.")
    return value


def _wrong(detail: str, hint: str) -> InvalidParameter:
    return InvalidParameter(detail, hint=hint, field=_FIELD)


# -- the antimeridian and the poles ----------------------------------------------------------------------------------


def _polygon(rings: Sequence["NDArray[np.float64]"], *, crosses: bool) -> Polygon:
    """Return the polygon of some rings; its longitudes may run on beyond 180 degrees, as they are drawn.

    Args:
        rings: Arrays (vertex, lon-lat) in degrees, the exterior first.
        crosses: Whether the box beside it says that it crosses the antimeridian.
    """
    exterior, holes = rings[0], rings[1:]
    unrolled = _unrolled(exterior)
    turns = round((unrolled[-1, 0] - unrolled[0, 0]) / 360)
    if turns:
        exterior, holes = _around_pole(unrolled), [_unrolled(hole) for hole in holes]
    elif not np.array_equal(unrolled, exterior) and (crosses or _signed_area(exterior) < 0 < _signed_area(unrolled)):
        exterior, holes = unrolled, [_unrolled(hole) for hole in holes]
    middle = (exterior[:, 0].min() + exterior[:, 0].max()) / 2
    return Polygon(exterior, [_beside(hole, middle) for hole in holes])


def _together(polygons: Sequence[Polygon]) -> Polygon | MultiPolygon:
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


def _unrolled(ring: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return a ring whose every edge goes the short way round; 180 degrees and 360 are left as they are drawn."""
    steps = np.diff(ring[:, 0])
    short = np.where((np.abs(steps) > 180) & (np.abs(steps) < 360), steps - 360 * np.sign(steps), steps)
    if np.array_equal(short, steps):
        return ring
    lon = ring[0, 0] + np.concatenate([[0.0], np.cumsum(short)])
    # Sums of steps carry rounding; each longitude is its own plus whole turns.
    return np.column_stack([ring[:, 0] + 360 * np.round((lon - ring[:, 0]) / 360), ring[:, 1]])


def _around_pole(ring: "NDArray[np.float64]") -> "NDArray[np.float64]":
    pole = 90.0 if ring[:, 1].mean() >= 0 else -90.0
    # It ends a turn from where it begins; along the pole it goes back.
    return np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]])


def _beside(hole: "NDArray[np.float64]", middle: float) -> "NDArray[np.float64]":
    turns = round((middle - (hole[:, 0].min() + hole[:, 0].max()) / 2) / 360)
    return hole + np.array([360.0 * turns, 0.0]) if turns else hole


def _signed_area(ring: "NDArray[np.float64]") -> float:
    lon, lat = ring[:, 0] - ring[0, 0], ring[:, 1]
    return float(np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1])) / 2


def _on_one_world(shape: "BaseGeometry") -> "BaseGeometry":
    """Return a shape within -180 to 180 degrees; what lies beyond is cut off and taken to where it belongs."""
    west, south, east, north = shape.bounds
    if not math.isfinite(west) or (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        return shape
    if west >= -180 - LONGITUDE_SLACK_DEG and east <= 180 + LONGITUDE_SLACK_DEG:
        # Natural Earth and others go a hair too far.
        return shapely.make_valid(shapely.transform(shape, _within_world), method="structure", keep_collapsed=False)
    first, last = math.floor((west + 180) / 360), math.ceil((east - 180) / 360)
    pieces = []
    for turn in range(first, last + 1):
        piece = shapely.intersection(shape, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        pieces.append(translate(piece, -360.0 * turn))
    return shapely.union_all(pieces)


def _within_world(at: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return np.column_stack([np.clip(at[:, 0], -180, 180), np.clip(at[:, 1], -90, 90)])


def _polygonal(shape: "BaseGeometry") -> "BaseGeometry":
    """Return the parts of a shape that have an area, without heights."""
    shape = shapely.force_2d(shape)
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    leaves = shapely.get_parts(shapely.get_parts(shape))
    return shapely.union_all(leaves[shapely.get_dimensions(leaves) == 2])


def _box_around(shape: "BaseGeometry") -> BBox:
    """Return the smallest box around a shape: over the antimeridian where its parts leave a wider gap elsewhere."""
    west, south, east, north = (float(edge) for edge in shape.bounds)
    bounds = shapely.bounds(shapely.get_parts(shape))
    bounds = bounds[np.argsort(bounds[:, 0])]
    gaps = bounds[1:, 0] - np.maximum.accumulate(bounds[:, 2])[:-1]
    if not len(gaps) or gaps.max() <= 360 - (east - west):
        return BBox(west, south, east, north)
    split = int(np.argmax(gaps))
    return BBox(float(bounds[split + 1, 0]), south, float(bounds[: split + 1, 2].max()), north)
