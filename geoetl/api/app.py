"""Put the API together."""

from typing import TYPE_CHECKING

from fastapi import FastAPI

import geoetl
from geoetl.api import (
    boundaries,
    cleanup,
    curated,
    edge,
    features,
    files,
    locations,
    openapi,
    problems,
    publish,
    raster,
    runs,
    schedules,
    styles,
    tiles,
    vector_tiles,
    xarray,
)
from geoetl.api.answers import StrictJSON
from geoetl.api.limits import Bodies
from geoetl.api.roles import ServerRole
from geoetl.api.stac import PREFIX as STAC
from geoetl.api.stac import serve_stac

if TYPE_CHECKING:
    from geoetl.api.apart import Launch
    from geoetl.platform import Platform

DESCRIPTION = """
Search and read what is in the catalogue: a STAC API at `/stac`, values and pictures of rasters and cubes, map tiles,
and the files themselves. Errors are `application/problem+json`, with a sentence, a stable code and the next step.
"""


def create_app(platform: "Platform", role: ServerRole = ServerRole.ALL, *, launch: "Launch | None" = None) -> FastAPI:
    """Return the API of a platform.

    Whoever puts further layers on it calls `edge.outermost` at the end.

    Args:
        platform: What answers.
        role: What the server is for; a reader has no route that writes.
        launch: Starts the process that heavy requests are answered by; left out, this one answers them.
    """
    app = FastAPI(
        title="geoetl",
        version=geoetl.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        default_response_class=StrictJSON,
    )
    edge.install(app, platform, writes=role.writes, launch=launch)
    app.include_router(files.router(platform))
    app.include_router(locations.router(platform))
    app.include_router(boundaries.router(platform))
    app.include_router(raster.router(platform))
    app.include_router(xarray.router(platform))
    app.include_router(tiles.router(platform))
    app.include_router(vector_tiles.router(platform))
    app.include_router(features.router(platform, writing=role.writes))
    app.include_router(styles.router(platform, writing=role.writes))
    app.include_router(runs.router(platform, writing=role.writes))
    app.include_router(schedules.router(platform, writing=role.writes))
    app.include_router(curated.router(platform, writing=role.writes))
    app.include_router(cleanup.router(platform, writing=role.writes))
    app.include_router(publish.router(platform, writing=role.writes))
    serve_stac(app, platform, writing=role.writes)
    # After stac-fastapi, which sets handlers of its own.
    openapi.describe(app, DESCRIPTION)
    problems.install(app, bad_request_below=(f"{STAC}/", features.PREFIX, "/collections/"))
    return app


def create_heavy_app(platform: "Platform") -> FastAPI:
    """Return the routes of `geoetl.api.limits.PICTURES` alone.

    The process apart answers with it what the server's own layers have let through; bodies are checked here.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, default_response_class=StrictJSON)
    for part in (raster, xarray, tiles):
        app.include_router(part.router(platform))
    problems.install(app)
    app.add_middleware(Bodies, settings=platform.settings.server)
    return app
