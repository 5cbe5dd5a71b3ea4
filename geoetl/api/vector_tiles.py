"""Vector tiles by ids, out of the items' own archives."""

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response

from geoetl.access.matrix import MAX_ZOOM
from geoetl.access.vector_tiles import MEDIA_TYPE, VectorTileJson
from geoetl.api.etag import is_known, tag_of, tagged
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.platform import Platform

Collection = Annotated[str, Path(description="STAC collection id")]
Item = Annotated[str, Path(description="STAC item id")]
Asset = Annotated[str | None, Query(description="Key of the asset; left out, the item's PMTiles archive")]


def router(platform: "Platform") -> APIRouter:
    """Return the routes of vector tiles."""
    routes = APIRouter(prefix="/tiles/vector/{collection}/{item}", tags=["tiles"])

    @routes.get("/tilejson.json", response_model_exclude_none=True)
    def tilejson(request: Request, collection: Collection, item: Item, asset: Asset = None) -> VectorTileJson:
        """Return where a map finds the vector tiles, and their layers (TileJSON 3.0.0)."""
        names = f"{quote(check_id(collection, 'collection'))}/{quote(check_id(item, 'item'))}"
        asked = "" if asset is None else "?" + urlencode({"asset": asset})
        address = f"{request.base_url}tiles/vector/{names}/{{z}}/{{x}}/{{y}}.pbf{asked}"
        return platform.vector_tiles.tilejson(collection, item, address, asset=asset)

    @routes.get(
        "/{z}/{x}/{y}.pbf",
        response_class=Response,
        responses={200: {"content": {MEDIA_TYPE: {}}}, 204: {"description": "Nothing lies in this tile"}},
    )
    def tile(
        collection: Collection,
        item: Item,
        z: Annotated[int, Path(ge=0, le=MAX_ZOOM, description="Zoom")],
        x: Annotated[int, Path(ge=0, description="Column, from 0 in the west")],
        y: Annotated[int, Path(ge=0, description="Row, from 0 in the north")],
        asset: Asset = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return a vector tile (Mapbox Vector Tile 2) of WebMercatorQuad, as the archive has it."""
        check_id(collection, "collection")
        check_id(item, "item")
        tag = tag_of("vector", collection, item, platform.lookup.version(), z, x, y, asset)
        if is_known(tag, if_none_match):
            return Response(status_code=304, headers=tagged(tag))
        found = platform.vector_tiles.tile(collection, item, z, x, y, asset=asset)
        if found is None:
            return Response(status_code=204, headers=tagged(tag))
        return Response(
            found.content, media_type=MEDIA_TYPE, headers={**tagged(tag), "Content-Encoding": found.encoding}
        )

    return routes
