"""Footprints: GeoJSON geometries as planar shapes in -180 to 180 degrees, cut at the antimeridian (RFC 7946, 3.1.9)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from geoetl.core.outlines import is_tangle
from geoetl.core.spatial import LONGITUDE_SLACK_DEG, BBox

_TYPES = frozenset(
    ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")
)
# A closed ring of five corners is a box when its area is that of its bounds, to within rounding.
_AREA_ROUNDING = 1e-12
# Of the bounds of a footprint, tried from the largest: what of the middle it covers.
_INNER_SHARES = (0.8, 0.5, 0.25)
# Farther out a longitude is a mistake rather than another turn of the world.
_FARTHEST_LON = 360.0

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; never across the antimeridian."""


class BadGeometry(ValueError):
    """A GeoJSON geometry cannot be used; the text says why, the caller knows where it came from."""


class Footprint(NamedTuple):
    """Where an item is.

    Attributes:
        wkb: The shape, two-dimensional.
        bounds: Its planar bounds; -180 and 180 in longitude where it crosses the antimeridian.
        boxes: One box, or two where it crosses the antimeridian.
        inner: A box that the shape covers: its bounds where it is a box along the axes or a point, a smaller one in
            the middle of most others, None where the middle is not covered.
    """

    wkb: bytes
    bounds: Box
    boxes: tuple[Box, ...]
    inner: Box | None

    def bbox(self) -> list[float]:
        """Return the GeoJSON bbox: west, south, east, north; west > east across the antimeridian."""
        if len(self.boxes) == 1:
            return list(self.boxes[0])
        (_, south_a, east, north_a), (west, south_b, _, north_b) = self.boxes
        return [west, min(south_a, south_b), east, max(north_a, north_b)]


@dataclass(frozen=True)
class Region:
    """Where a search looks.

    Attributes:
        wkb: The shape, two-dimensional and valid.
        boxes: One box around it, or two where it crosses the antimeridian.
        rectangular: Whether the shape is exactly its boxes.
    """

    wkb: bytes
    boxes: tuple[Box, ...]
    rectangular: bool


def region_of_bbox(bbox: BBox) -> Region:
    """Return the region of a box; a longitude beyond 180 is taken round the world."""
    boxes = _boxes_of(bbox)
    shapes = [_shape_of(box) for box in boxes]
    shape = shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)
    return Region(shapely.to_wkb(shape), boxes, rectangular=True)


def region_of_geometry(geometry: Mapping[str, Any]) -> Region:
    """Return the region of a GeoJSON geometry.

    Raises:
        BadGeometry: It is not GeoJSON, is empty, crosses itself, or leaves the range of longitude and latitude.
    """
    shape = _parse(geometry)
    if not shape.is_valid:
        raise BadGeometry(f"the {geometry['type']} is not valid: {shapely.is_valid_reason(shape)}")
    shape = _on_one_world(shape)
    return Region(shapely.to_wkb(shape), _hull_boxes(shape), rectangular=bool(_is_rectangle(np.array([shape]))[0]))


def footprint_of(geometry: Mapping[str, Any], bbox: Sequence[float] | None = None) -> Footprint:
    """Return the footprint of an item.

    A polygon whose ring runs the long way round (from 170 to -170) is cut at the antimeridian when `bbox` says that the
    item crosses it; a ring that crosses itself is repaired.  The item's own geometry is not changed by this.

    Args:
        geometry: GeoJSON geometry in CRS84 degrees.
        bbox: The item's bbox, 4 or 6 numbers.

    Raises:
        BadGeometry: The geometry is not GeoJSON, is empty, or lies elsewhere than `bbox` says.
        InvalidBBox: `bbox` is malformed or out of range.
    """
    shape = _parse(geometry)
    box = BBox.from_list(bbox) if bbox is not None else None
    if box is not None and box.crosses_antimeridian and box.width_deg < shape.bounds[2] - shape.bounds[0] > 180:
        turned = shapely.transform(shape, _east_of_greenwich)
        shape = turned if turned.bounds[2] - turned.bounds[0] <= 180 else shape
    shape = _on_one_world(shape if shape.is_valid else _repaired(shape))
    west, south, east, north = shape.bounds
    footprint = Footprint(
        wkb=shapely.to_wkb(shape),
        bounds=(west, south, east, north),
        boxes=_hull_boxes(shape),
        inner=_inner_boxes(np.array([shape]))[0],
    )
    if box is not None and not any(_overlap(a, b) for a in _boxes_of(box) for b in footprint.boxes):
        raise BadGeometry(f"the geometry lies at {_text(footprint.bbox())}, outside the bbox {_text(box.as_list())}")
    return footprint


def footprints_of(places: Sequence[tuple[Mapping[str, Any], Sequence[float] | None]]) -> list[Footprint | None]:
    """Return the footprints of many (geometry, bbox), all at once where nothing is unusual about them.

    None stands where `footprint_of` has to look closer, or has to say what is wrong.
    """
    shapes = _plain_polygons([geometry for geometry, _ in places])
    others = np.flatnonzero(shapely.is_missing(shapes))
    texts = [_geojson(places[row][0]) for row in others.tolist()]
    shapes[others] = shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore")
    plain = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes)) & shapely.is_valid(shapes)
    shapes[plain] = shapely.force_2d(shapes[plain])
    bounds = shapely.bounds(shapes)
    # Touching both ends of the world may mean two boxes; beyond them something has to be cut.
    within = (bounds[:, 0] >= -180) & (bounds[:, 2] <= 180) & (bounds[:, 1] >= -90) & (bounds[:, 3] <= 90)
    one_box = (bounds[:, 0] > -180) | (bounds[:, 2] < 180)
    plain &= within & one_box
    rows = np.flatnonzero(plain)
    good = zip(
        rows.tolist(), bounds[rows].tolist(), _inner_boxes(shapes[rows]), shapely.to_wkb(shapes[rows]), strict=True
    )
    found: list[Footprint | None] = [None] * len(places)
    for row, box, inner, wkb in good:
        bbox = places[row][1]
        if bbox is None or _agrees(bbox, box):
            found[row] = Footprint(wkb, tuple(box), (tuple(box),), inner)
    return found


def _plain_polygons(geometries: Sequence[Mapping[str, Any]]) -> "np.ndarray[Any, np.dtype[np.object_]]":
    """Return the polygons of one closed ring without heights; None where a geometry is anything else.

    Their coordinates are taken as they are, which costs a tenth of reading them from GeoJSON text.
    """
    shapes = np.full(len(geometries), None, dtype=object)
    rows: list[int] = []
    corners: list[int] = []
    points: list[Sequence[float]] = []
    for row, geometry in enumerate(geometries):
        rings = geometry.get("coordinates") if geometry.get("type") == "Polygon" else None
        if isinstance(rings, list | tuple) and len(rings) == 1 and _is_ring(rings[0]):
            rows.append(row)
            corners.append(len(rings[0]))
            points += rings[0]
    numbers = list(chain.from_iterable(points))
    if not rows or not {float, int}.issuperset(map(type, numbers)):
        return shapes
    try:
        places = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    except OverflowError:  # an integer beyond every float: none of these is looked at here
        return shapes
    counts = np.array(corners)
    ends = np.cumsum(counts)
    plain = (places[ends - counts] == places[ends - 1]).all(axis=1)
    plain &= np.logical_and.reduceat(np.isfinite(places).all(axis=1), ends - counts)
    if plain.any():
        belongs = np.repeat(np.arange(plain.sum()), counts[plain])
        rings = shapely.linearrings(places[np.repeat(plain, counts)], indices=belongs)
        shapes[np.array(rows)[plain]] = shapely.polygons(rings)
    return shapes


def _is_ring(ring: Any) -> bool:
    if not isinstance(ring, list | tuple) or len(ring) < 4 or not {list, tuple}.issuperset(map(type, ring)):
        return False
    return set(map(len, ring)) == {2}


def _geojson(geometry: Mapping[str, Any]) -> str:
    if geometry.get("type") not in _TYPES:
        return ""
    try:
        return orjson.dumps(geometry).decode()
    except TypeError:
        return ""  # `footprint_of` says what is wrong with it


def _agrees(bbox: Sequence[float], bounds: Sequence[float]) -> bool:
    if len(bbox) != 4 or not {int, float}.issuperset(map(type, bbox)):
        return False
    west, south, east, north = bbox
    return -180 <= west <= east <= 180 and -90 <= south <= north <= 90 and _overlap((west, south, east, north), bounds)


def _parse(geometry: Mapping[str, Any]) -> BaseGeometry:
    if not isinstance(geometry, Mapping) or geometry.get("type") not in _TYPES:
        kind = geometry.get("type") if isinstance(geometry, Mapping) else type(geometry).__name__
        raise BadGeometry(f"'{str(kind)[:40]}' is not the type of a GeoJSON geometry (Point, Polygon, …)")
    try:
        shape = shapely.from_geojson(json.dumps(geometry, allow_nan=False))
    except (shapely.errors.GEOSException, TypeError, ValueError, RecursionError) as error:
        reason = str(error).rpartition("] ")[2].removeprefix("IllegalArgumentException: ").rstrip("'")
        raise BadGeometry(f"the {geometry['type']} cannot be read: {reason[:120]}") from None
    if shape.is_empty:
        raise BadGeometry(f"the {geometry['type']} is empty")
    west, south, east, north = shape.bounds
    if south < -90 or north > 90:
        raise BadGeometry(f"latitude {south if south < -90 else north} is not within -90 to 90 (longitude comes first)")
    if west < -_FARTHEST_LON or east > _FARTHEST_LON:
        raise BadGeometry(f"longitude {west if west < -_FARTHEST_LON else east} is not within -180 to 180")
    return shapely.force_2d(shape)


def _repaired(shape: BaseGeometry) -> BaseGeometry:
    if is_tangle(shape):
        raise BadGeometry(f"the {shape.geom_type} crosses itself too often to be repaired")
    for method in ("linework", "structure"):
        try:
            return shapely.make_valid(shape, method=method)
        except shapely.errors.GEOSException:
            continue  # GEOS gives up on some rings that run back and forth; the other method may not
    raise BadGeometry(f"the {shape.geom_type} is not valid and cannot be repaired")


def _on_one_world(shape: BaseGeometry) -> BaseGeometry:
    west, _, east, _ = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    if west >= -180 - LONGITUDE_SLACK_DEG and east <= 180 + LONGITUDE_SLACK_DEG:
        return shapely.transform(shape, _clipped)
    dimension = max(shapely.get_dimensions(_parts(shape)))
    pieces: list[BaseGeometry] = []
    for turn in (-360.0, 0.0, 360.0):
        world = shapely.box(turn - 180, -90, turn + 180, 90)
        # Part by part: GEOS does not cut a collection of shapes of several dimensions.
        for piece in [piece for part in _parts(shape) for piece in _parts(shapely.intersection(part, world))]:
            # An edge along the cut is left over as a line; it belongs to the piece beside it.
            if not piece.is_empty and shapely.get_dimensions(piece) == dimension:
                pieces.append(translate(piece, -turn))
    return shapely.union_all(pieces)


def _hull_boxes(shape: BaseGeometry) -> tuple[Box, ...]:
    west, south, east, north = shape.bounds
    if west > -180 or east < 180:
        return ((west, south, east, north),)
    bounds = sorted(shapely.bounds(_parts(shape)).tolist())
    gaps = []
    reach = bounds[0][2]
    for index, (part_west, _, part_east, _) in enumerate(bounds):
        gaps.append((part_west - reach, index))
        reach = max(reach, part_east)
    gap, split = max(gaps)
    if gap <= 0:
        return ((west, south, east, north),)
    return tuple(
        (min(b[0] for b in side), min(b[1] for b in side), max(b[2] for b in side), max(b[3] for b in side))
        for side in (bounds[:split], bounds[split:])
    )


def _parts(shape: BaseGeometry) -> list[BaseGeometry]:
    parts = shapely.get_parts(shape).tolist()
    return [leaf for part in parts for leaf in (_parts(part) if part.geom_type == "GeometryCollection" else [part])]


def _boxes_of(bbox: BBox) -> tuple[Box, ...]:
    if bbox.width_deg >= 360:
        return ((-180.0, bbox.south, 180.0, bbox.north),)
    if bbox.west >= -180 and max(bbox.west, bbox.east) <= 180:
        parts = sorted(bbox.parts(), key=lambda part: part.west)
        return tuple((part.west, part.south, part.east, part.north) for part in parts)
    west = bbox.west - 360 if bbox.west > 180 else max(bbox.west, -180.0)
    east = west + bbox.width_deg
    if east <= 180 + LONGITUDE_SLACK_DEG:
        return ((west, bbox.south, min(east, 180.0), bbox.north),)
    return ((-180.0, bbox.south, east - 360, bbox.north), (west, bbox.south, 180.0, bbox.north))


def _shape_of(box: Box) -> BaseGeometry:
    west, south, east, north = box
    if west == east and south == north:
        return shapely.Point(west, south)
    if west == east or south == north:
        return shapely.LineString([(west, south), (east, north)])
    return shapely.box(west, south, east, north)


def _inner_boxes(shapes: "np.ndarray[Any, np.dtype[np.object_]]") -> list[Box | None]:
    bounds = shapely.bounds(shapes)
    centre, half = (bounds[:, 2:] + bounds[:, :2]) / 2, (bounds[:, 2:] - bounds[:, :2]) / 2
    found: list[Box | None] = [None] * len(shapes)
    rectangles = _is_rectangle(shapes)
    for row in np.flatnonzero(rectangles).tolist():
        found[row] = tuple(bounds[row].tolist())
    left = np.flatnonzero(~rectangles & (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON))
    for share in _INNER_SHARES:
        low, high = (centre - share * half)[left], (centre + share * half)[left]
        boxes = np.concatenate([low, high], axis=1)
        covered = shapely.covers(shapes[left], shapely.box(*boxes.T))
        for row, box in zip(left[covered].tolist(), boxes[covered].tolist(), strict=True):
            found[row] = tuple(box)
        left = left[~covered]
    return found


def _is_rectangle(shapes: "np.ndarray[Any, np.dtype[np.object_]]") -> "np.ndarray[Any, np.dtype[np.bool_]]":
    bounds = shapely.bounds(shapes)
    area = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
    kind = shapely.get_type_id(shapes)
    box = (kind == 3) & (shapely.get_num_coordinates(shapes) == 5)
    with np.errstate(invalid="ignore"):
        box &= np.abs(shapely.area(shapes) - area) <= _AREA_ROUNDING * area
    found: np.ndarray[Any, np.dtype[np.bool_]] = box | (kind == 0)
    return found


def _clipped(xy: "np.ndarray[Any, np.dtype[np.float64]]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.column_stack([np.clip(xy[:, 0], -180, 180), xy[:, 1]])


def _east_of_greenwich(xy: "np.ndarray[Any, np.dtype[np.float64]]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.column_stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]])


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _text(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
