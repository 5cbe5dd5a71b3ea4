"""Map tiles of rasters and cubes, by ids: what a web map needs to lay them on the Earth."""

from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BeforeValidator

from geoetl.access.located import locate
from geoetl.access.matrix import MAX_ZOOM, TileMatrixSet, matrix_set
from geoetl.access.tilejson import TileJson
from geoetl.access.tiles import RasterTileInfo, TileInfo, TilePoint, TileQuestion, TileSource
from geoetl.api.answers import ModelRoute
from geoetl.api.etag import is_known, tag_of, tagged
from geoetl.api.raster import bands_of, rescale_of, selection_of
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.platform import Platform

Collection = Annotated[str, Path(description="STAC collection id")]
Item = Annotated[str, Path(description="STAC item id")]
Render = Annotated[str | None, Query(description="Name of one of the item's renders, for what else is left out")]
Rescale = Annotated[str | None, Query(description="low,high or auto; left out, the item's own")]
Colormap = Annotated[str | None, Query(description="Name of a colour map, _r reversed; left out, the item's own")]
Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM, description="Zoom")]
Column = Annotated[int, Path(ge=0, description="Column, from 0 in the west")]
Row = Annotated[int, Path(ge=0, description="Row, from 0 in the north")]
Format = Annotated[Literal["png", "webp", "jpeg", "jpg"], Path(description="Form of the picture")]
# In an address it is text, which a Literal would not take for a number.
Size = Annotated[Literal[256, 512], BeforeValidator(int), Query(description="Pixels a side")]
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/webp": {}, "image/jpeg": {}}, "description": "A tile"}
}


# These wait for nothing, and are coroutines so that none of them takes a thread of its own.
async def _matrix_set(
    tms: Annotated[str, Path(description="Tile matrix set: WebMercatorQuad or WorldCRS84Quad (also as WGS84)")],
) -> TileMatrixSet:
    return matrix_set(tms)


async def _of_raster(
    collection: Collection,
    item: Item,
    asset: Annotated[str | None, Query(description="Key of the asset; left out, the item's raster")] = None,
    bands: Annotated[str | None, Query(description="One band or three, by number from 1 or by name: 4,3,2")] = None,
    expression: Annotated[str | None, Query(description="Arithmetic on bands instead: (b4-b3)/(b4+b3)")] = None,
    time_index: Annotated[int | None, Query(ge=1, description="The band of a step, from 1")] = None,
    render: Render = None,
) -> TileQuestion:
    ids = check_id(collection, "collection"), check_id(item, "item")
    return TileQuestion(
        TileSource.RASTER, *ids, asset, bands_of(bands), expression, time_index=time_index, render=render
    )


async def _of_cube(
    collection: Collection,
    item: Item,
    asset: Annotated[str | None, Query(description="Key of the asset; left out, the item's cube")] = None,
    variable: Annotated[str | None, Query(description="Variable; left out, the item's own")] = None,
    time_index: Annotated[int | None, Query(ge=1, description="Time step, from 1; left out, the first")] = None,
    time: Annotated[str | None, Query(description="Date of the step instead, in the cube's own calendar")] = None,
    sel: Annotated[list[str] | None, Query(description="Value of an extra dimension, as name=value")] = None,
    render: Render = None,
) -> TileQuestion:
    ids = check_id(collection, "collection"), check_id(item, "item")
    picked = tuple(selection_of(sel or ()).items())
    return TileQuestion(
        TileSource.CUBE, *ids, asset, None, None, variable, time_index=time_index, time=time, sel=picked, render=render
    )


MatrixSet = Annotated[TileMatrixSet, Depends(_matrix_set)]
OfRaster = Annotated[TileQuestion, Depends(_of_raster)]
OfCube = Annotated[TileQuestion, Depends(_of_cube)]


def router(platform: "Platform") -> APIRouter:
    """Return the routes of the tiles of rasters and cubes."""
    routes = APIRouter(prefix="/tiles", tags=["tiles"], route_class=ModelRoute)

    @routes.get("/cube/{collection}/{item}/info")
    def cube_info(question: OfCube) -> TileInfo:
        """Return how a step is drawn: its time, range, colour map, zooms and place."""
        return platform.tiles.cube_info(question)

    @routes.get("/cube/{collection}/{item}/point")
    def cube_point(
        question: OfCube,
        location: Annotated[str, Query(description="lon,lat in degrees, or a name such as paris")],
    ) -> TilePoint:
        """Return the value of a step at a place."""
        return platform.tiles.point(question, locate(location, platform.places).point)

    @routes.get("/raster/{collection}/{item}/info")
    def raster_info(question: OfRaster) -> RasterTileInfo:
        """Return how bands are drawn: their range, colour map, zooms and place."""
        return platform.tiles.raster_info(question)

    # What both have; FastAPI reads the parameters from the type of the question.
    for kind, question_of in ((TileSource.RASTER, OfRaster), (TileSource.CUBE, OfCube)):
        _add_tiles(routes, platform, kind, question_of)
    return routes


def _add_tiles(routes: APIRouter, platform: "Platform", kind: TileSource, question_of: Any) -> None:
    here = f"/{kind}/{{collection}}/{{item}}/{{tms}}"

    @routes.get(f"{here}/tilejson.json", response_model_exclude_none=True, name=f"{kind}_tilejson")
    def tilejson(
        request: Request,
        question: question_of,
        tms: MatrixSet,
        format: Annotated[Literal["png", "webp", "jpeg"], Query(description="Form of the tiles")] = "png",
        rescale: Rescale = None,
        colormap_name: Colormap = None,
        tile_size: Size = 256,
    ) -> TileJson:
        """Return where a map finds the tiles (TileJSON 3.0.0)."""
        names = f"{quote(question.collection)}/{quote(question.item)}/{tms.id}"
        asked = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "format"])
        address = f"{request.base_url}tiles/{kind}/{names}/{{z}}/{{x}}/{{y}}.{format}{'?' if asked else ''}{asked}"
        return platform.tiles.tilejson(
            question, address, tms=tms, size=tile_size, rescale=rescale_of(rescale), colormap=colormap_name
        )

    @routes.get(
        f"{here}/{{z}}/{{x}}/{{y}}.{{format}}", response_class=Response, responses=_PICTURES, name=f"{kind}_tile"
    )
    def tile(
        question: question_of,
        tms: MatrixSet,
        z: Zoom,
        x: Column,
        y: Row,
        format: Format,
        rescale: Rescale = None,
        colormap_name: Colormap = None,
        tile_size: Size = 256,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return a tile; no data is transparent."""
        asked = (question, tms.id, z, x, y, format, rescale, colormap_name, tile_size)
        tag = tag_of(platform.lookup.version(), asked)
        if is_known(tag, if_none_match):
            return Response(status_code=304, headers=tagged(tag))
        picture = platform.tiles.tile(
            question,
            z,
            x,
            y,
            tms=tms,
            size=tile_size,
            format=format,
            rescale=rescale_of(rescale),
            colormap=colormap_name,
        )
        return Response(picture.content, media_type=picture.media_type, headers=tagged(tag))
