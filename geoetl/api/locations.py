"""Where a question takes a place: as ``lon,lat`` or by a name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

from geoetl.access.places import Places
from geoetl.core.errors import InvalidBBox, NotFound
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    from geoetl.platform import Platform


@dataclass(frozen=True)
class Location:
    """A place, with its name where it was given by name."""

    point: Point
    name: str | None = None


def parse_location(text: str, places: Places) -> Location:
    """Read ``lon,lat`` or the name of a place.

    Raises:
        InvalidBBox: It is neither.
    """
    # Whether it is a name is asked first, as looking for the nearest name takes longer than the rest of a question.
    if "," in text and text not in places:
        return Location(Point.parse(text))
    try:
        found = places.find(text)
    except NotFound as unknown:
        raise InvalidBBox(
            f"There is no location '{text[:40]}'.",
            hint=f"{unknown.hint} Or give lon,lat in degrees.",
            field="location",
        ) from None
    return Location(found.point, found.name)


class PlaceAnswer(BaseModel):
    """A named place; longitude comes first, in degrees."""

    name: str
    title: str
    location: tuple[float, float]
    aliases: tuple[str, ...]


class PlacesAnswer(BaseModel):
    """All named places."""

    places: list[PlaceAnswer]


def router(platform: "Platform") -> APIRouter:
    """Return the routes of places."""
    routes = APIRouter(prefix="/api", tags=["places"])

    @routes.get("/places")
    def places() -> PlacesAnswer:
        """Return the places that a question may name as its location."""
        return PlacesAnswer(
            places=[
                PlaceAnswer(
                    name=place.name,
                    title=place.title,
                    location=(place.point.lon, place.point.lat),
                    aliases=place.aliases,
                )
                for place in platform.places
            ]
        )

    return routes
