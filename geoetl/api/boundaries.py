"""Named boundaries: which there are, and each as GeoJSON."""

from typing import TYPE_CHECKING, Annotated

import orjson
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel

from geoetl.access.result import Source

if TYPE_CHECKING:
    from geoetl.platform import Platform

GEOJSON = "application/geo+json"

BoundaryTypeName = Annotated[str, Path(description="country, state or county")]
BoundaryId = Annotated[str, Path(description="ISO, postal or FIPS code, or name")]


class BoundaryAnswer(BaseModel):
    """A boundary that can be asked for by its id."""

    id: str
    name: str


class BoundariesAnswer(BaseModel):
    """All boundaries of one type, by name."""

    boundary_type: str
    boundaries: list[BoundaryAnswer]
    source: Source


def router(platform: "Platform") -> APIRouter:
    """Return the routes of boundaries."""
    routes = APIRouter(prefix="/api/boundaries", tags=["places"])

    @routes.get("/{boundary_type}")
    def boundaries(boundary_type: BoundaryTypeName) -> BoundariesAnswer:
        """Return the boundaries of a type."""
        found = platform.boundaries.list(boundary_type)
        return BoundariesAnswer(
            boundary_type=found.type,
            boundaries=[BoundaryAnswer(id=one.id, name=one.name) for one in found],
            source=found.source,
        )

    @routes.get("/{boundary_type}/{boundary_id}", response_class=Response, responses={200: {"content": {GEOJSON: {}}}})
    def boundary(boundary_type: BoundaryTypeName, boundary_id: BoundaryId) -> Response:
        """Return a boundary as a GeoJSON Feature, in longitude and latitude."""
        feature = platform.boundaries.find(boundary_type, boundary_id).feature()
        return Response(orjson.dumps(feature), media_type=GEOJSON)

    return routes
