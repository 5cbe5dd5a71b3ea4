"""Places by name, where a query takes a location."""

from dataclasses import dataclass

from geoetl.core.errors import InvalidBBox, did_you_mean
from geoetl.core.registry import Registry
from geoetl.core.spatial import Point

LOCATIONS = Registry(
    "location",
    {
        "washington_dc": Point(-77.0369, 38.9072),
        "new_york": Point(-74.0060, 40.7128),
        "los_angeles": Point(-118.2437, 34.0522),
        "chicago": Point(-87.6298, 41.8781),
        "houston": Point(-95.3698, 29.7604),
        "phoenix": Point(-112.0740, 33.4484),
        "philadelphia": Point(-75.1652, 39.9526),
        "san_antonio": Point(-98.4936, 29.4241),
        "san_diego": Point(-117.1611, 32.7157),
        "dallas": Point(-96.7970, 32.7767),
        "london": Point(-0.1276, 51.5074),
        "paris": Point(2.3522, 48.8566),
        "tokyo": Point(139.6917, 35.6895),
        "sydney": Point(151.2093, -33.8688),
    },
)


@dataclass(frozen=True)
class Location:
    """A place, with its name where it was given by name."""

    point: Point
    name: str | None = None


def parse_location(text: str) -> Location:
    """Read ``lon,lat`` or a name.

    Raises:
        InvalidBBox: It is neither.
    """
    name = text.strip().lower()
    if name in LOCATIONS:
        return Location(LOCATIONS[name], name)
    if "," in text:
        return Location(Point.parse(text))
    raise InvalidBBox(
        f"There is no location '{text[:40]}'.",
        hint=f"{did_you_mean(name, LOCATIONS)} Or give lon,lat in degrees.",
        field="location",
    )
