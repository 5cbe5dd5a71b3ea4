"""Places in CRS84 (longitude, latitude in degrees, WGS 84): boxes, points, the antimeridian."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from geoetl.core.errors import InvalidBBox

# Natural Earth and others carry longitudes a hair beyond 180 (180.00126); such a hair is normalised, not refused.
LONGITUDE_SLACK_DEG = 0.01


def wrap_longitude(lon: float) -> float:
    """Return `lon` in degrees within [-180, 180); 180 itself stays 180."""
    return lon if -180 <= lon <= 180 else (lon + 180) % 360 - 180


@dataclass(frozen=True, slots=True)
class Point:
    """A place: longitude and latitude in degrees (CRS84).

    Raises:
        InvalidBBox: A coordinate is not finite or out of range.
    """

    lon: float
    lat: float

    def __post_init__(self) -> None:
        _check_latitude(self.lat, f"{self.lon},{self.lat}")
        _check_longitude(self.lon, f"{self.lon},{self.lat}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``lon,lat``."""
        return cls(*_numbers(text, 2, "lon,lat"))

    def geometry(self) -> dict[str, Any]:
        """Return the GeoJSON point."""
        return {"type": "Point", "coordinates": [self.lon, self.lat]}


@dataclass(frozen=True, slots=True)
class BBox:
    """A box in degrees (CRS84); ``west > east`` means that it crosses the antimeridian (RFC 7946, 5.2).

    Raises:
        InvalidBBox: A coordinate is not finite or out of range, or south is north of north.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        text = f"{self.west},{self.south},{self.east},{self.north}"
        for latitude in (self.south, self.north):
            _check_latitude(latitude, text)
        for longitude in (self.west, self.east):
            _check_longitude(longitude, text)
        if self.south > self.north:
            raise InvalidBBox(
                f"The box {text} has its south ({self.south}) above its north ({self.north}).",
                hint="Give west,south,east,north in degrees.",
                field="bbox",
            )
        if self.west < -180 or self.east > 180 or self.west > 180:
            # Longitudes of 0 to 360 name the same places; a box has one form.
            whole = self.east - self.west >= 360 - 2 * LONGITUDE_SLACK_DEG
            object.__setattr__(self, "west", -180.0 if whole else _one_form(self.west))
            object.__setattr__(self, "east", 180.0 if whole else _one_form(self.east))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``west,south,east,north``; longitudes of 0 to 360 are taken too."""
        return cls(*_numbers(text, 4, "west,south,east,north"))

    @classmethod
    def from_list(cls, values: Iterable[float]) -> Self:
        """Take the horizontal part of a GeoJSON bbox of 4 or 6 numbers."""
        numbers = [float(value) for value in values]
        if len(numbers) == 6:
            numbers = [numbers[0], numbers[1], numbers[3], numbers[4]]
        if len(numbers) != 4:
            raise InvalidBBox(
                f"A box has 4 numbers (or 6 with heights), not {len(numbers)}.",
                hint="Give west,south,east,north in degrees.",
                field="bbox",
            )
        return cls(*numbers)

    @property
    def crosses_antimeridian(self) -> bool:
        """Tell whether the box runs over longitude 180."""
        return self.west > self.east

    @property
    def width_deg(self) -> float:
        """Extent in longitude, in degrees, 0 to 360."""
        return self.east - self.west + (360 if self.crosses_antimeridian else 0)

    @property
    def height_deg(self) -> float:
        """Extent in latitude, in degrees, 0 to 180."""
        return self.north - self.south

    def parts(self) -> list["BBox"]:
        """Return the box as one, or as two that do not cross the antimeridian."""
        if not self.crosses_antimeridian:
            return [self]
        return [BBox(self.west, self.south, 180.0, self.north), BBox(-180.0, self.south, self.east, self.north)]

    def as_list(self) -> list[float]:
        """Return west, south, east, north."""
        return [self.west, self.south, self.east, self.north]

    def geometry(self) -> dict[str, Any]:
        """Return the GeoJSON polygon (a multipolygon when it crosses the antimeridian), counter-clockwise."""
        rings = [
            [[p.west, p.south], [p.east, p.south], [p.east, p.north], [p.west, p.north], [p.west, p.south]]
            for p in self.parts()
        ]
        if len(rings) == 1:
            return {"type": "Polygon", "coordinates": rings}
        return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}

    def intersects(self, other: "BBox") -> bool:
        """Tell whether the boxes share a point (edges count)."""
        return any(
            a.west <= b.east and b.west <= a.east and a.south <= b.north and b.south <= a.north
            for a in self.parts()
            for b in other.parts()
        )

    def overlaps(self, other: "BBox") -> bool:
        """Tell whether the boxes share an area (edges alone do not count)."""
        return any(
            a.west < b.east and b.west < a.east and a.south < b.north and b.south < a.north
            for a in self.parts()
            for b in other.parts()
        )

    def contains(self, point: Point) -> bool:
        """Tell whether the point lies in the box (edges count)."""
        return any(p.west <= point.lon <= p.east and p.south <= point.lat <= p.north for p in self.parts())

    def union(self, other: "BBox") -> "BBox":
        """Return the smallest box in longitude that covers both."""
        south, north = min(self.south, other.south), max(self.north, other.north)
        if self.width_deg == 360 or other.width_deg == 360:
            return BBox(-180.0, south, 180.0, north)
        candidates = [(west, east) for west in (self.west, other.west) for east in (self.east, other.east)]
        covering = [
            BBox(west, south, east, north)
            for west, east in candidates
            if all(_covers(west, east, box.west, box.east) for box in (self, other))
        ]
        if not covering:
            return BBox(-180.0, south, 180.0, north)
        return min(covering, key=lambda box: box.width_deg)


def _one_form(lon: float) -> float:
    if 180 < abs(lon) <= 180 + LONGITUDE_SLACK_DEG:
        return 180.0 if lon > 0 else -180.0
    return wrap_longitude(lon)


def _covers(west: float, east: float, inner_west: float, inner_east: float) -> bool:
    outer_width = (east - west) % 360 if east != west else 0.0
    offset = (inner_west - west) % 360
    inner_width = (inner_east - inner_west) % 360 if inner_east != inner_west else 0.0
    return offset + inner_width <= outer_width


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InvalidBBox(
            f"'{text[:80]}' is not {count} numbers separated by commas.", hint=f"Give {form} in degrees.", field="bbox"
        )
    return numbers


def _check_latitude(lat: float, text: str) -> None:
    if not (math.isfinite(lat) and -90 <= lat <= 90):
        raise InvalidBBox(
            f"Latitude {lat} in '{text}' is not within -90 to 90 degrees.",
            hint="Is the order lon,lat? Longitude comes first.",
            field="bbox",
        )


def _check_longitude(lon: float, text: str) -> None:
    if not (math.isfinite(lon) and -180 - LONGITUDE_SLACK_DEG <= lon <= 360):
        raise InvalidBBox(
            f"Longitude {lon} in '{text}' is not within -180 to 180 degrees.",
            hint="Give longitudes as degrees east, negative to the west of Greenwich.",
            field="bbox",
        )
