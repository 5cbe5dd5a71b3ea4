"""Series of cubes over HTTP: at a point, of many points at once, of regions, and fields over time."""

from typing import TYPE_CHECKING

from fastapi import APIRouter

from geoetl.api.xarray import aggregate, batch, point, statistics

if TYPE_CHECKING:
    from geoetl.platform import Platform


def router(platform: "Platform") -> APIRouter:
    """Return the routes of series."""
    routes = APIRouter()
    routes.include_router(point.router(platform))
    routes.include_router(batch.router(platform))
    routes.include_router(statistics.router(platform))
    routes.include_router(aggregate.router(platform))
    return routes
