"""Map tiles of cubes, by ids: what a web map needs to lay a step of a climate cube on the Earth.

titiler's reader takes seconds to load; the first question loads it, not the start of the server.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from geoetl.access.tiles import MAX_ZOOM, CubeTiles, TileInfo, TileJson, TilePoint, TileQuestion
from geoetl.api.locations import parse_location
from geoetl.api.raster import rescale_of
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.platform import Platform

# A tile follows from the question and the state of the catalogue; a browser asks each time and mostly hears 304.
_CACHING = "private, no-cache"

Rescale = Annotated[str | None, Query(description="low,high or auto; left out, the item's own")]
Colormap = Annotated[str | None, Query(description="Name of a colour map, _r reversed; left out, the item's own")]


def _question(
    collection: Annotated[str, Path(description="STAC collection id")],
    item: Annotated[str, Path(description="STAC item id")],
    asset: Annotated[str | None, Query(description="Key of the asset; left out, the item's cube")] = None,
    variable: Annotated[str | None, Query(description="Variable; left out, the item's own")] = None,
    time_index: Annotated[int | None, Query(ge=1, description="Time step, from 1; left out, the first")] = None,
    time: Annotated[str | None, Query(description="Date of the step instead, in the cube's own calendar")] = None,
    sel: Annotated[list[str] | None, Query(description="Value of an extra dimension, as name=value")] = None,
) -> TileQuestion:
    return TileQuestion(
        check_id(collection, "collection"), check_id(item, "item"), asset, variable, time_index, time, tuple(sel or ())
    )


Question = Annotated[TileQuestion, Depends(_question)]


def router(platform: "Platform") -> APIRouter:
    """Return the routes of the tiles of cubes."""
    routes = APIRouter(prefix="/tiles/cubes/{collection}/{item}", tags=["tiles"])
    tiles = CubeTiles(platform.cube)

    @routes.get("/info")
    def info(question: Question) -> TileInfo:
        """Return how a step is drawn: its time, range, colour map, zooms and place."""
        return tiles.info(question)

    @routes.get("/tilejson.json")
    def tilejson(
        request: Request, question: Question, rescale: Rescale = None, colormap_name: Colormap = None
    ) -> TileJson:
        """Return where a map finds the tiles (TileJSON 3.0.0)."""
        names = f"{quote(question.collection)}/{quote(question.item)}"
        asked = urlencode(request.query_params.multi_items())
        address = f"{request.base_url}tiles/cubes/{names}/{{z}}/{{x}}/{{y}}.png{'?' if asked else ''}{asked}"
        return tiles.tilejson(question, address, rescale=rescale_of(rescale), colormap=colormap_name)

    @routes.get("/{z}/{x}/{y}.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def tile(
        question: Question,
        z: Annotated[int, Path(ge=0, le=MAX_ZOOM, description="Zoom")],
        x: Annotated[int, Path(ge=0, description="Column, from 0 in the west")],
        y: Annotated[int, Path(ge=0, description="Row, from 0 in the north")],
        rescale: Rescale = None,
        colormap_name: Colormap = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return a tile of WebMercatorQuad, 256 pixels a side: each pixel its nearest cell, no data transparent."""
        asked = [str(question), platform.lookup.version(), z, x, y, rescale, colormap_name]
        tag = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        headers = {"ETag": f'"{tag}"', "Cache-Control": _CACHING}
        if if_none_match and tag in if_none_match:
            return Response(status_code=304, headers=headers)
        picture = tiles.tile(question, z, x, y, rescale=rescale_of(rescale), colormap=colormap_name)
        return Response(picture.content, media_type=picture.media_type, headers=headers)

    @routes.get("/point")
    def point(
        question: Question,
        location: Annotated[str, Query(description="lon,lat in degrees, or a name such as paris")],
    ) -> TilePoint:
        """Return the value of a step at a place."""
        return tiles.point(question, parse_location(location).point)

    return routes
