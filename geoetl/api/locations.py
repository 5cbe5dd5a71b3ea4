"""The places that a question may name as its location."""

from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

if TYPE_CHECKING:
    from geoetl.platform import Platform


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
