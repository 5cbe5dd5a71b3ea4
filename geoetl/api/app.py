"""Put the API together."""

from typing import TYPE_CHECKING

from fastapi import FastAPI

import geoetl
from geoetl.api import files, health, problems, raster, tiles

if TYPE_CHECKING:
    from geoetl.platform import Platform


def create_app(platform: "Platform") -> FastAPI:
    """Return the API of a platform.

    The interactive documentation pages of FastAPI are left out: they fetch their program from a public host.

    Args:
        platform: What answers.
    """
    app = FastAPI(
        title="geoetl",
        version=geoetl.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(health.router)
    app.include_router(files.router(platform))
    app.include_router(raster.router(platform))
    app.include_router(tiles.router(platform))
    return app
