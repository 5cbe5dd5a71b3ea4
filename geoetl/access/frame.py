"""Where data lie and where a picture's pixels are: extents over the antimeridian, map projections."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoetl.access.result import extent_text
from geoetl.core.errors import InvalidParameter, LimitExceeded, NotFound
from geoetl.core.spatial import BBox, Point, wrap_longitude

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import ArrayLike, NDArray
    from pyproj import Transformer

WEB_MERCATOR = "EPSG:3857"
GEOGRAPHIC = "EPSG:4326"
# Radius of the sphere of EPSG:3857, metres (EPSG Guidance Note 7-2, section 3.2.1.2).
MERCATOR_RADIUS_M = 6378137.0
# Where the square of Web Mercator ends, degrees: atan(sinh(pi)).
MERCATOR_MAX_LATITUDE = math.degrees(math.atan(math.sinh(math.pi)))
# An authority and its code. Nothing else is taken: other texts can make PROJ or GDAL open files and addresses.
_AUTHORITY_CODE = re.compile(r"[A-Za-z]{2,12}:[A-Za-z0-9]{1,16}")
# Pixels of the longer side of a picture whose size nobody gave.
MAX_NATIVE_SIDE = 1024
# Places of so many pixels are worked out at once: each takes some 100 bytes meanwhile.
_STRIPE_PIXELS = 2**21
# Points per side at which a raster's outline and inside are projected to find its extent.
_SAMPLES_PER_SIDE = 41
# Longitudes that come as near to each other as this all the way round mean that the data go round the world.
_FULL_CIRCLE_GAP_DEG = 12.0
_SLACK_DEG = 1e-9
# A point on the outermost edge may come out a hair outside after projecting.
_EDGE_SLACK_PIXELS = 1e-6
_CRS84 = "OGC:CRS84"
# Projections whose x is proportional to longitude, as EPSG and PROJ name them.
_CYLINDRICAL = frozenset(
    {
        "Popular Visualisation Pseudo Mercator",
        "Mercator (variant A)",
        "Mercator (variant B)",
        "Mercator (1SP)",
        "Mercator (Spherical)",
        "Equidistant Cylindrical",
        "Equidistant Cylindrical (Spherical)",
        "Lambert Cylindrical Equal Area",
        "Lambert Cylindrical Equal Area (Spherical)",
        "Miller Cylindrical",
    }
)


@dataclass(frozen=True, slots=True)
class Extent:
    """What data cover, in degrees; `west` lies in [-180, 180] and `east` runs on beyond 180 where need be.

    Attributes:
        west: Western edge.
        south: Southern edge.
        east: Eastern edge, at most west + 360.
        north: Northern edge.
    """

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def from_edges(cls, west: float, south: float, east: float, north: float) -> "Extent":
        """Take edges of any longitude convention (0 to 360 as well); latitudes are cut at the poles."""
        south, north = max(-90.0, min(south, north)), min(90.0, max(south, north))
        if east - west >= 360 - _SLACK_DEG:
            return cls(-180.0, south, 180.0, north)
        start = (west + 180) % 360 - 180
        return cls(start, south, start + (east - west), north)

    @property
    def is_global(self) -> bool:
        """Tell whether the data go round the world."""
        return self.east - self.west >= 360 - _SLACK_DEG

    @property
    def bbox(self) -> BBox:
        """The extent as a box, west > east where it crosses the antimeridian (RFC 7946, 5.2)."""
        east = self.east - 360 if self.east > 180 + _SLACK_DEG else min(self.east, 180.0)
        return BBox(self.west, self.south, east, self.north)


@dataclass(frozen=True, slots=True)
class Frame:
    """The grid of a picture: rows from north to south, columns from west to east.

    Attributes:
        crs: Authority code of the projection.
        left: Western edge in units of `crs`; with `right` it runs on beyond the antimeridian.
        bottom: Southern edge.
        right: Eastern edge.
        top: Northern edge.
        width: Columns.
        height: Rows.
        bbox: The same in degrees.
    """

    crs: str
    left: float
    bottom: float
    right: float
    top: float
    width: int
    height: int
    bbox: BBox

    @property
    def transform(self) -> "Affine":
        """The affine transform from pixel (column, row) to `crs`."""
        from affine import Affine

        across, down = (self.right - self.left) / self.width, (self.top - self.bottom) / self.height
        transform: Affine = Affine(across, 0.0, self.left, 0.0, -down, self.top)
        return transform

    def stripes(self) -> "Iterator[tuple[slice, Frame]]":
        """Yield its rows in pieces that are small enough to be worked out at once, each as a frame of its own."""
        rows = max(1, _STRIPE_PIXELS // self.width)
        down = (self.top - self.bottom) / self.height
        for first in range(0, self.height, rows):
            last = min(first + rows, self.height)
            top, bottom = self.top - first * down, self.top - last * down
            yield slice(first, last), replace(self, top=top, bottom=bottom, height=last - first)

    def longitudes(self) -> "NDArray[np.float64]":
        """Return the longitude of each column's centre (only for frames of Web Mercator or degrees)."""
        return pixel_longitudes(self.crs, self.left, self.right, self.width)

    def latitudes(self) -> "NDArray[np.float64]":
        """Return the latitude of each row's centre (only for frames of Web Mercator or degrees)."""
        return pixel_latitudes(self.crs, self.bottom, self.top, self.height)


def pixel_longitudes(crs: str, left: float, right: float, width: int) -> "NDArray[np.float64]":
    """Return the longitude of the centre of each of `width` columns between two edges in Web Mercator or degrees."""
    centres = left + (np.arange(width) + 0.5) * (right - left) / width
    return np.degrees(centres / MERCATOR_RADIUS_M) if crs == WEB_MERCATOR else centres


def pixel_latitudes(crs: str, bottom: float, top: float, height: int) -> "NDArray[np.float64]":
    """Return the latitude of the centre of each of `height` rows, from north, between edges in the same."""
    centres = top - (np.arange(height) + 0.5) * (top - bottom) / height
    return np.degrees(np.arctan(np.sinh(centres / MERCATOR_RADIUS_M))) if crs == WEB_MERCATOR else centres


def mercator_bbox(left: float, bottom: float, right: float, top: float) -> BBox:
    """Return edges in Web Mercator as a box in degrees."""
    west, east = (max(-180.0, min(180.0, math.degrees(x / MERCATOR_RADIUS_M))) for x in (left, right))
    south, north = (math.degrees(math.atan(math.sinh(y / MERCATOR_RADIUS_M))) for y in (bottom, top))
    return BBox(west, south, east, north)


def check_size(max_size: int, pixel_limit: int) -> int:
    """Return `max_size` if a square picture of that side stays within the limit.

    Raises:
        InvalidParameter: It is not a positive whole number.
        LimitExceeded: The picture could have more pixels than the limit; nothing was read.
    """
    if isinstance(max_size, bool) or not isinstance(max_size, int) or max_size < 1:
        raise InvalidParameter(
            f"max_size is {max_size!r}; expected a whole number of pixels, 1 or more.", field="max_size"
        )
    largest = math.isqrt(pixel_limit)
    if max_size > largest:
        raise LimitExceeded(
            f"max_size={max_size} asks for up to {max_size} x {max_size} pixels ({max_size * max_size:,}); "
            f"the limit is {pixel_limit:,} pixels.",
            hint=f"Give max_size={largest} or less.",
            field="max_size",
        )
    return max_size


@lru_cache(maxsize=64)
def check_crs(crs: str) -> str:
    """Return the authority code `crs` in capitals.

    Raises:
        InvalidParameter: It is not an authority code, or there is no such CRS.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    text = crs.strip().upper()
    try:
        if not _AUTHORITY_CODE.fullmatch(text):
            raise CRSError(text)
        CRS.from_user_input(text)
    except CRSError:
        raise InvalidParameter(
            f"'{crs[:40]}' is not a coordinate reference system.",
            hint=f"Give an authority code such as {WEB_MERCATOR} or {GEOGRAPHIC}.",
            field="crs",
        ) from None
    return GEOGRAPHIC if text in ("OGC:CRS84", "CRS:84") else text


@lru_cache(maxsize=64)
def crs_wkt(crs: str) -> str:
    """Return the WKT of an authority code, which was checked."""
    from pyproj import CRS

    return str(CRS.from_user_input(crs).to_wkt())


@lru_cache(maxsize=64)
def crs_name(wkt: str) -> str:
    """Return the authority code of a CRS, or its WKT where it has none."""
    from pyproj import CRS

    authority = CRS.from_wkt(wkt).to_authority()
    return wkt if authority is None else ":".join(authority)


def map_frame(extent: Extent, crs: str, max_size: int) -> Frame:
    """Return the frame of a picture of the whole `extent` whose longer side has `max_size` pixels.

    Args:
        extent: What is to be seen.
        crs: ``EPSG:3857`` (cut at 85.05 degrees of latitude) or ``EPSG:4326``.
        max_size: Pixels of the longer side.

    Raises:
        InvalidParameter: Nothing of the extent lies within the projection.
    """
    if crs == GEOGRAPHIC:
        return _frame(crs, (extent.west, extent.south, extent.east, extent.north), max_size, extent.bbox)
    south = max(extent.south, -MERCATOR_MAX_LATITUDE)
    north = min(extent.north, MERCATOR_MAX_LATITUDE)
    if south >= north:
        raise InvalidParameter(
            f"Latitude {extent.south:g} to {extent.north:g} lies beyond {WEB_MERCATOR}, "
            f"which ends at {MERCATOR_MAX_LATITUDE:.2f} degrees.",
            hint=f"Give crs={GEOGRAPHIC}.",
            field="crs",
        )
    west, east = (math.radians(lon) * MERCATOR_RADIUS_M for lon in (extent.west, extent.east))
    bottom, top = (math.asinh(math.tan(math.radians(lat))) * MERCATOR_RADIUS_M for lat in (south, north))
    seen = Extent(extent.west, south, extent.east, north)
    return _frame(WEB_MERCATOR, (west, bottom, east, top), max_size, seen.bbox)


def projected_frame(grid: "RasterGrid", crs: str, max_size: int) -> Frame:
    """Return the frame of a picture of the whole raster in any projection.

    Its ``bbox`` is what the data cover in degrees, as the picture's edges do not follow meridians there.

    Raises:
        InvalidParameter: Nothing of the raster lies within the projection.
    """
    x, y = grid.sample(crs)
    if not x.size:
        raise InvalidParameter(f"Nothing of the raster lies within {crs}.", hint=f"Give crs={GEOGRAPHIC}.", field="crs")
    bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    return _frame(crs, bounds, max_size, grid.extent.bbox)


def box_frame(bbox: BBox, crs: str, size: "PictureSize", pixels: Callable[[BBox], "RasterGrid"]) -> Frame:
    """Return the frame of a picture of a box.

    Args:
        bbox: What is to be seen; beyond the data there is none.
        crs: Projection of the picture; in any but ``EPSG:4326`` and ``EPSG:3857`` it is the rectangle around the box.
        size: What is wanted of columns and rows; what is left out follows from the other, or from the data.
        pixels: Tells which pixels of the data a box has.

    Raises:
        InvalidParameter: The box has no place in the projection.
    """
    left, bottom, right, top, seen = _edges_in(bbox, crs)
    across, up = right - left, top - bottom
    width, height = size.width, size.height
    if width is None and height is None:
        native = pixels(bbox)
        shrink = max(1.0, max(native.width, native.height) / MAX_NATIVE_SIDE)
        if crs == GEOGRAPHIC and native.is_geographic and native.is_straight:
            width, height = round(native.width / shrink), round(native.height / shrink)
        else:
            longer = max(native.width, native.height) / shrink / max(across, up)
            width, height = round(across * longer), round(up * longer)
    elif width is None and height is not None:
        width = round(height * across / up)
    elif height is None and width is not None:
        height = round(width * up / across)
    return Frame(crs, left, bottom, right, top, max(1, width or 1), max(1, height or 1), seen)


def _edges_in(bbox: BBox, crs: str) -> tuple[float, float, float, float, BBox]:
    """Return left, bottom, right and top of a box in a projection, and what of it can be seen there."""
    east = bbox.west + bbox.width_deg
    if not (bbox.width_deg and bbox.height_deg):
        raise InvalidParameter(
            f"The bbox {','.join(f'{edge:g}' for edge in bbox.as_list())} has no area.",
            hint="Give a west that differs from the east, and a south that differs from the north.",
            field="bbox",
        )
    if crs in (GEOGRAPHIC, WEB_MERCATOR):
        frame = map_frame(Extent(bbox.west, bbox.south, east, bbox.north), crs, 1)
        return frame.left, frame.bottom, frame.right, frame.top, frame.bbox
    from pyproj import Transformer

    lon, lat = np.meshgrid(
        np.linspace(bbox.west, east, _SAMPLES_PER_SIDE), np.linspace(bbox.south, bbox.north, _SAMPLES_PER_SIDE)
    )
    x, y = Transformer.from_crs(_CRS84, crs, always_xy=True).transform(lon, lat)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise InvalidParameter(f"Nothing of the bbox lies within {crs}.", hint=f"Give crs={GEOGRAPHIC}.", field="crs")
    return float(x[known].min()), float(y[known].min()), float(x[known].max()), float(y[known].max()), bbox


class PictureSize(NamedTuple):
    """Columns and rows of a picture, as far as they are given."""

    width: int | None = None
    height: int | None = None

    def checked(self) -> "PictureSize":
        """Return it where both are whole numbers of pixels.

        Raises:
            InvalidParameter: One is not.
        """
        for field, pixels in self._asdict().items():
            if pixels is not None and (isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < 1):
                raise InvalidParameter(
                    f"{field} is {pixels!r}; expected a whole number of pixels, 1 or more.", field=field
                )
        return self


def _frame(crs: str, bounds: tuple[float, float, float, float], max_size: int, bbox: BBox) -> Frame:
    left, bottom, right, top = bounds
    across, up = right - left, top - bottom
    longer = max(across, up)
    width = max(1, round(max_size * across / longer))
    height = max(1, round(max_size * up / longer))
    return Frame(crs, left, bottom, right, top, width, height, bbox)


@dataclass(frozen=True)
class RasterGrid:
    """Where a raster's pixels lie.

    Attributes:
        crs_wkt: Its coordinate reference system as WKT.
        transform: From pixel (column, row) to map coordinates; may be rotated.
        width: Columns.
        height: Rows.
    """

    crs_wkt: str
    transform: "Affine"
    width: int
    height: int

    @cached_property
    def _to_degrees(self) -> "Transformer":
        from pyproj import CRS, Transformer

        return Transformer.from_crs(CRS.from_wkt(self.crs_wkt), _CRS84, always_xy=True)

    @cached_property
    def _from_degrees(self) -> "Transformer":
        from pyproj import CRS, Transformer

        return Transformer.from_crs(_CRS84, CRS.from_wkt(self.crs_wkt), always_xy=True)

    @cached_property
    def _inverse(self) -> "Affine":
        inverse: Affine = ~self.transform
        return inverse

    @cached_property
    def is_geographic(self) -> bool:
        """Tell whether its map coordinates are longitudes and latitudes."""
        from pyproj import CRS

        return bool(CRS.from_wkt(self.crs_wkt).is_geographic)

    @cached_property
    def is_straight(self) -> bool:
        """Tell whether its rows and columns follow the axes of the map."""
        return bool(self.transform.b == 0 and self.transform.d == 0)

    @cached_property
    def period(self) -> float | None:
        """After how much of x the same places come again, in map units: 360 for degrees; None where they do not."""
        if self.is_geographic:
            return 360.0
        from pyproj import CRS

        operation = CRS.from_wkt(self.crs_wkt).coordinate_operation
        if operation is None or operation.method_name not in _CYLINDRICAL:
            return None
        # A degree is the same everywhere, but for the place where x jumps.
        at, _ = self._from_degrees.transform([0.0, 1.0, 90.0, 91.0], [0.0] * 4)
        return 360 * float(min(abs(at[1] - at[0]), abs(at[3] - at[2])))

    def from_degrees(self, lon: "ArrayLike", lat: "ArrayLike") -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return map coordinates of longitudes and latitudes; not finite where there are none."""
        x, y = self._from_degrees.transform(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))
        return np.asarray(x), np.asarray(y)

    def positions(
        self, x: "NDArray[np.float64]", y: "NDArray[np.float64]"
    ) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return columns and rows, with fractions, of map coordinates; of those that come again, the one inside.

        Args:
            x: Of any shape; of a straight grid it may differ from that of `y`.
            y: Likewise.
        """
        at = self._inverse
        if self.period is not None:
            centre = self.transform.c + (self.transform.a * self.width + self.transform.b * self.height) / 2
            with np.errstate(invalid="ignore"):
                x = centre + (x - centre + self.period / 2) % self.period - self.period / 2
        if self.is_straight:
            return at.a * x + at.c, at.e * y + at.f
        return at.a * x + at.b * y + at.c, at.d * x + at.e * y + at.f

    @cached_property
    def extent(self) -> Extent:
        """What the raster covers, whatever its projection, rotation and longitude convention.

        A grid of points is projected to degrees. The longitudes of a projected raster come back within -180 to 180;
        the widest gap between them is where the raster is not. A pole that lies inside makes it go round the world.

        Raises:
            InvalidParameter: No point of the raster has a place on Earth.
        """
        columns, rows = self._lattice()
        x, y = self._map_coordinates(columns, rows)
        lon, lat = (np.asarray(values, dtype=float) for values in self._to_degrees.transform(x, y))
        known = np.isfinite(lon) & np.isfinite(lat)
        if not known.any():
            raise InvalidParameter("No point of the raster has a place on Earth in its coordinate reference system.")
        south, north = float(lat[known].min()), float(lat[known].max())
        if self.is_geographic:
            # PROJ brings longitudes back to -180..180; the raster's own numbers tell which turn they belong to.
            unwrapped = lon[known] + 360 * np.round((x[known] - lon[known]) / 360)
            return Extent.from_edges(float(unwrapped.min()), south, float(unwrapped.max()), north)
        poles = [pole for pole in (-90.0, 90.0) if self._holds_pole(pole)]
        if poles:
            return Extent(-180.0, min([south, *poles]), 180.0, max([north, *poles]))
        west, east = _shortest_arc(lon[known])
        return Extent.from_edges(west, south, east, north)

    def sample(self, crs: str) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return x and y in `crs` of points all over the raster, without those that have no place there."""
        from pyproj import CRS, Transformer

        there = Transformer.from_crs(CRS.from_wkt(self.crs_wkt), crs, always_xy=True)
        x, y = (np.asarray(values) for values in there.transform(*self._map_coordinates(*self._lattice())))
        known = np.isfinite(x) & np.isfinite(y)
        return x[known], y[known]

    def _lattice(self) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        columns, rows = np.meshgrid(
            np.linspace(0, self.width, _SAMPLES_PER_SIDE), np.linspace(0, self.height, _SAMPLES_PER_SIDE)
        )
        return columns.ravel(), rows.ravel()

    def _map_coordinates(
        self, columns: "NDArray[np.float64]", rows: "NDArray[np.float64]"
    ) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        at = self.transform
        return at.a * columns + at.b * rows + at.c, at.d * columns + at.e * rows + at.f

    def _holds_pole(self, latitude: float) -> bool:
        x, y = self._from_degrees.transform(0.0, latitude)
        if not (math.isfinite(x) and math.isfinite(y)):
            return False
        position = self._position(x, y)
        return 0 < position.column < self.width and 0 < position.row < self.height

    def _position(self, x: float, y: float) -> "PixelPosition":
        at = self._inverse
        return PixelPosition(at.a * x + at.b * y + at.c, at.d * x + at.e * y + at.f)

    def pixel(self, point: Point) -> "Pixel | None":
        """Return the pixel that holds `point`; None where the point lies outside.

        Longitudes of either convention fit rasters of either; the outermost edges belong to the raster.
        """
        x, y = self._from_degrees.transform(wrap_longitude(point.lon), point.lat)
        if not (math.isfinite(x) and math.isfinite(y)):
            return None
        turns = (0, 360, -360) if self.is_geographic else (0,)
        # An edge belongs to the pixel that begins there; only the outermost ones have to take those that end.
        for index in (_index_within, _index_at_edge):
            for turn in turns:
                position = self._position(x + turn, y)
                column, row = index(position.column, self.width), index(position.row, self.height)
                if column is not None and row is not None:
                    return Pixel(column, row)
        return None

    def centre(self, pixel: "Pixel") -> Point:
        """Return the centre of a pixel."""
        x, y = self._map_coordinates(np.array([pixel.column + 0.5]), np.array([pixel.row + 0.5]))
        lon, lat = self._to_degrees.transform(float(x[0]), float(y[0]))
        return Point(wrap_longitude(lon), lat)


def outside(location: Point, extent: BBox, what: str) -> NotFound:
    """Return the error for a point outside of the data; it notices swapped coordinates."""
    lon = wrap_longitude(location.lon)
    swapped = abs(lon) <= 90 and extent.contains(Point(location.lat, lon))
    return NotFound(
        f"The point lon={lon:.6g}, lat={location.lat:.6g} lies outside {what}, which covers {extent_text(extent)}.",
        hint=(
            f"Is the order lon,lat? {location.lat:.6g},{lon:.6g} would lie inside."
            if swapped
            else "Choose a point inside; longitude comes first, in degrees."
        ),
        field="location",
    )


def _index_within(position: float, size: int) -> int | None:
    return math.floor(position) if 0 <= position < size else None


def _index_at_edge(position: float, size: int) -> int | None:
    if -_EDGE_SLACK_PIXELS <= position <= size + _EDGE_SLACK_PIXELS:
        return min(max(math.floor(position), 0), size - 1)
    return None


class Pixel(NamedTuple):
    """A pixel, counted from 0 at the upper left."""

    column: int
    row: int


class PixelPosition(NamedTuple):
    """A place in a raster: columns from its left edge, rows from its top edge, with fractions."""

    column: float
    row: float


def _shortest_arc(longitudes: "NDArray[np.float64]") -> tuple[float, float]:
    ordered = np.unique(longitudes)
    if len(ordered) == 1:
        return float(ordered[0]), float(ordered[0])
    gaps = np.diff(ordered, append=ordered[0] + 360)
    widest = int(np.argmax(gaps))
    if gaps[widest] < _FULL_CIRCLE_GAP_DEG:
        return -180.0, 180.0
    west = float(ordered[(widest + 1) % len(ordered)])
    east = float(ordered[widest])
    return west, east if east >= west else east + 360
