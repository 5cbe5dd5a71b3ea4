"""Where a question is about: a point, a named place, or text that is either."""

from collections.abc import Sequence
from dataclasses import dataclass

from geoetl.access.places import Place, Places
from geoetl.core.errors import InvalidBBox, NotFound
from geoetl.core.spatial import Point

# What is taken for a place: ``Point(12.5, 41.9)``, ``platform.places.find("rome")``, ``"12.5,41.9"``, ``"rome"``,
# ``[12.5, 41.9]``.
PlaceLike = Point | Place | str | Sequence[float]


@dataclass(frozen=True)
class Located:
    """A place, with its name where it was given by name."""

    point: Point
    name: str | None = None


def locate(location: PlaceLike, places: Places | None = None, *, field: str = "location") -> Located:
    """Return where a place is.

    Args:
        location: Longitude comes first, in degrees of either convention.
        places: Where names are looked up.
        field: Name of the parameter, for messages.

    Raises:
        InvalidBBox: It is neither a name nor a longitude and a latitude.
    """
    if isinstance(location, Point):
        return Located(location)
    if isinstance(location, Place):
        return Located(location.point, location.name)
    if isinstance(location, str):
        return _of_text(location, places, field)
    try:
        lon, lat = location
        # True is no longitude, and neither is a text in a list.
        if not all(type(number) in (int, float) for number in (lon, lat)):
            raise TypeError
    except (TypeError, ValueError):
        raise InvalidBBox(
            f"{str(location)[:60]} is no place; expected [longitude, latitude] in degrees, or a name.",
            hint="For example [12.5, 41.9], or paris.",
            field=field,
        ) from None
    return Located(Point(float(lon), float(lat)))


def _of_text(text: str, places: Places | None, field: str) -> Located:
    # Whether it is a name is asked first, as looking for the nearest name takes longer than the rest of a question.
    if places is None or ("," in text and text not in places):
        return Located(Point.parse(text))
    try:
        found = places.find(text)
    except NotFound as unknown:
        raise InvalidBBox(
            f"There is no location '{text[:40]}'.", hint=f"{unknown.hint} Or give lon,lat in degrees.", field=field
        ) from None
    return Located(found.point, found.name)
