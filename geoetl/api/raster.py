"""Pictures, values and cuts of rasters and of steps of cubes, by ids."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.export import NPY, TIFF
from geoetl.access.located import Located, locate
from geoetl.access.picture import Picture
from geoetl.access.region import Region
from geoetl.api.answers import ModelRoute, StrictJSON, file_answer
from geoetl.api.etag import is_known, tag_of, tagged
from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    from geoetl.access import PointValues, RasterWindow
    from geoetl.platform import Platform

_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", TIFF, NPY)
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in _MEDIA_TYPES}, "description": "A picture, or values as a file"}
}
_NUMBER = re.compile(r"\d{1,6}", re.ASCII)
_SQUARE = {"type": "Polygon", "coordinates": [[[-78, 25], [-77.5, 25], [-77.5, 25.4], [-78, 25.4], [-78, 25]]]}

Collection = Annotated[str, Path(description="STAC collection id")]
Item = Annotated[str, Path(description="STAC item id")]
Asset = Annotated[str | None, Query(description="Key of the asset; left out, the item's data")]
Bands = Annotated[str | None, Query(description="Bands of a raster, by number from 1 or by name: 4,3,2")]
Formula = Annotated[str | None, Query(description="Arithmetic on bands instead: (b4-b3)/(b4+b3)")]
Variable = Annotated[str | None, Query(description="Variable of a cube; left out, the item's own")]
Sel = Annotated[list[str], Query(description="Value of an extra dimension of a cube, as name=value; may be repeated")]
TimeIndex = Annotated[int | None, Query(ge=1, description="Time step of a cube or band of a raster, from 1")]
Time = Annotated[str | None, Query(description="Date of a step of a cube instead, in the cube's own calendar")]
Colormap = Annotated[str | None, Query(description="Name of a colour map, _r reversed")]
RescaleText = Annotated[str | None, Query(description="low,high or auto; left out, the item's own")]
Width = Annotated[int | None, Query(ge=1, description="Columns; left out, they follow from height or the data")]
Height = Annotated[int | None, Query(ge=1, description="Rows; left out, they follow from width or the data")]
OnlyEstimate = Annotated[bool, Query(description="Answer what it would cost instead")]
IfNoneMatch = Annotated[str | None, Header()]


@dataclass(frozen=True)
class _What:
    """What of an item is asked for."""

    asset: str | None
    bands: tuple[int | str, ...] | None
    expression: str | None
    variable: str | None
    sel: dict[str, str | float | int]
    time_index: int | None
    time: str | None

    def options(self) -> dict[str, Any]:
        return asdict(self)


# It waits for nothing, and is a coroutine so that it does not take a thread of its own; so is the next.
async def _what(
    asset: Asset = None,
    bands: Bands = None,
    expression: Formula = None,
    variable: Variable = None,
    sel: Sel = [],  # noqa: B006  FastAPI copies a default
    time_index: TimeIndex = None,
    time: Time = None,
) -> _What:
    return _What(asset, bands_of(bands), expression, variable, selection_of(sel), time_index, time)


What = Annotated[_What, Depends(_what)]


@dataclass(frozen=True)
class _Cut:
    """How a clip is wanted."""

    format: str
    all_touched: bool
    width: int | None
    height: int | None
    colormap: str | None
    rescale: str | None
    crs: str | None
    estimate: bool


async def _cut(
    format: Annotated[str, Query(description="tif or npy for values; png, jpeg or webp")] = "tif",
    all_touched: Annotated[bool, Query(description="Take every pixel that the region touches")] = False,
    width: Width = None,
    height: Height = None,
    colormap: Colormap = None,
    rescale: RescaleText = None,
    crs: Annotated[str | None, Query(description="Projection of rows and columns")] = None,
    estimate: OnlyEstimate = False,
) -> _Cut:
    return _Cut(format, all_touched, width, height, colormap, rescale, crs, estimate)


Cut = Annotated[_Cut, Depends(_cut)]


class BandValue(BaseModel):
    """The value of one band or variable.

    Attributes:
        name: Of the band or variable.
        value: Null where there is no data.
        unit: Null where it is not known.
    """

    name: str
    value: float | None
    unit: str | None


class PointAnswer(BaseModel):
    """The values at a place; longitude comes first, in degrees."""

    location: tuple[float, float]
    location_name: str | None
    cell: tuple[float, float]
    collection_id: str
    item_id: str
    asset: str
    time_index: int | None
    time: str | None
    calendar: str | None
    sel: dict[str, str | float | int]
    values: list[float | None]
    bands: list[BandValue]
    method: str
    weighting: str
    dataset_version: str | None


def router(platform: "Platform") -> APIRouter:
    """Return the routes of pictures, values and cuts."""
    routes = APIRouter(prefix="/api/raster", tags=["raster"], route_class=ModelRoute)
    limits = QueryLimits.of_requests(platform.settings.limits, platform.settings.query)

    @routes.get("/preview/{collection}/{item}", response_class=Response, responses=_FILE, response_model=None)
    def preview(
        collection: Collection,
        item: Item,
        what: What,
        format: Annotated[str, Query(description="png, jpeg or webp; tif or npy for values")] = "png",
        max_size: Annotated[int, Query(ge=1, description="Pixels of the longer side")] = 512,
        colormap: Colormap = None,
        rescale: RescaleText = None,
        crs: Annotated[str, Query(description="Projection of the picture")] = "EPSG:3857",
        estimate: OnlyEstimate = False,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Return a picture of the whole item, with its corners in the header ``Content-Bbox``."""
        ids = check_id(collection, "collection"), check_id(item, "item")
        read = {**what.options(), "max_size": max_size, "crs": crs, "format": format, "limits": limits}
        if estimate:
            return _estimated(platform.raster.estimate_preview(*ids, **read))
        tag = tag_of(platform.lookup.version(), ids, what, format, max_size, colormap, rescale, crs)
        if is_known(tag, if_none_match):
            return Response(status_code=304, headers=tagged(tag))
        return _file(platform.raster.preview(*ids, **read, rescale=rescale_of(rescale), colormap=colormap), tag)

    @routes.get("/extract/{collection}/{item}", response_class=Response, responses=_FILE, response_model=None)
    def extract(
        collection: Collection,
        item: Item,
        bbox: Annotated[str, Query(description="west,south,east,north in degrees; west > east crosses longitude 180")],
        what: What,
        format: Annotated[str, Query(description="png, jpeg or webp; tif or npy for values")] = "png",
        width: Width = None,
        height: Height = None,
        colormap: Colormap = None,
        rescale: RescaleText = None,
        crs: Annotated[str | None, Query(description="Projection of rows and columns")] = None,
        estimate: OnlyEstimate = False,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Return a picture of a box, or its values; what of the box lies beyond the data is no data.

        Without width, height and crs, tif and npy have the pixels themselves whose centres lie in the box.
        """
        ids = check_id(collection, "collection"), check_id(item, "item")
        box = BBox.parse(bbox)
        size = {"width": width, "height": height, "crs": crs, "format": format, "limits": limits}
        read = {**what.options(), **size}
        if estimate:
            return _estimated(platform.raster.estimate_extract(*ids, box, **read))
        tag = tag_of(platform.lookup.version(), ids, box, what, format, width, height, colormap, rescale, crs)
        if is_known(tag, if_none_match):
            return Response(status_code=304, headers=tagged(tag))
        return _file(platform.raster.extract(*ids, box, **read, rescale=rescale_of(rescale), colormap=colormap), tag)

    is_local = platform.database.dialect == "sqlite"

    @routes.get("/point/{collection}/{item}")
    async def point(
        collection: Collection,
        item: Item,
        location: Annotated[str, Query(description="lon,lat in degrees, or a name such as paris")],
        what: What,
    ) -> PointAnswer:
        """Return the values at a place: of all bands of a raster, or of a step of a cube."""
        place = locate(location, platform.places)
        ids = check_id(collection, "collection"), check_id(item, "item")
        # Each change of threads waits for its turn beside heavy requests. A database elsewhere must not be waited for.
        read = platform.raster.point_at_hand(*ids, place.point, **what.options()) if is_local else None
        if read is None:
            read = await run_in_threadpool(platform.raster.point, *ids, place.point, **what.options())
        return _at(read, place, what.time_index)

    def clipped(ids: tuple[str, str], region: Region, what: _What, cut: _Cut) -> Response:
        size: dict[str, Any] = {
            "width": cut.width,
            "height": cut.height,
            "crs": cut.crs,
            "format": cut.format,
            "limits": limits,
        }
        read: dict[str, Any] = {**what.options(), **size}
        if cut.estimate:
            return _estimated(platform.raster.estimate_clip(ids[0], ids[1], region, **read))
        drawn: dict[str, Any] = {
            "rescale": rescale_of(cut.rescale),
            "colormap": cut.colormap,
            "all_touched": cut.all_touched,
        }
        return _file(platform.raster.clip(ids[0], ids[1], region, **read, **drawn))

    @routes.get("/clip/{collection}/{item}", response_class=Response, responses=_FILE, response_model=None)
    def clip_to_boundary(
        collection: Collection,
        item: Item,
        boundary_type: Annotated[str, Query(description="country, state or county")],
        boundary_id: Annotated[str, Query(description="An ISO code or a name: FRA, France")],
        what: What,
        cut: Cut,
    ) -> Response:
        """Return what lies in a named boundary: pixels whose centre is in it, the rest no data."""
        ids = check_id(collection, "collection"), check_id(item, "item")
        return clipped(ids, platform.boundaries.find(boundary_type, boundary_id), what, cut)

    @routes.post("/clip/{collection}/{item}", response_class=Response, responses=_FILE, response_model=None)
    def clip(
        collection: Collection,
        item: Item,
        document: Annotated[
            dict[str, Any],
            Body(description="GeoJSON: a Polygon, a MultiPolygon, or a Feature of one", examples=[_SQUARE]),
        ],
        what: What,
        cut: Cut,
    ) -> Response:
        """Return what lies in a GeoJSON geometry: pixels whose centre is in it, the rest no data."""
        ids = check_id(collection, "collection"), check_id(item, "item")
        return clipped(ids, Region.from_geojson(document), what, cut)

    return routes


def rescale_of(text: str | None) -> Any:
    """Read ``low,high`` for all bands, such a pair for each of them, or ``auto``.

    Raises:
        InvalidParameter: It is none of these.
    """
    if text is None or text == "auto":
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidParameter(
            f"rescale is '{text[:40]}', which is not low,high.",
            hint="For example rescale=0,255, or auto.",
            field="rescale",
        ) from None
    return numbers if len(numbers) <= 2 or len(numbers) % 2 else [numbers[i : i + 2] for i in range(0, len(numbers), 2)]


def selection_of(pairs: Sequence[str]) -> dict[str, str | float | int]:
    """Read ``name=value`` of each extra dimension.

    Raises:
        InvalidParameter: One is of another form.
    """
    selection: dict[str, str | float | int] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidParameter(
                f"sel is '{pair[:40]}', which is not name=value.", hint="For example sel=plev=85000.", field="sel"
            )
        selection[name] = value
    return selection


def bands_of(text: str | None) -> tuple[int | str, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return tuple(int(part) if _NUMBER.fullmatch(part) else part for part in parts)


def _estimated(estimate: Estimate) -> Response:
    return StrictJSON(estimate.model_dump())


def _file(result: "Picture | RasterWindow", tag: str | None = None) -> Response:
    extension = result.media_type.partition("/")[2] if isinstance(result, Picture) else result.format
    return file_answer(
        result.content,
        result.media_type,
        source=result.source,
        variable=result.variable,
        units=result.units,
        method=result.method,
        time=result.time,
        calendar=result.calendar,
        sel=result.sel,
        bbox=result.bbox,
        crs=result.crs,
        name=f"{result.source.item}.{extension}",
        headers=None if tag is None else tagged(tag),
    )


def _at(read: "PointValues", place: Located, time_index: int | None) -> PointAnswer:
    return PointAnswer(
        location=(place.point.lon, place.point.lat),
        location_name=place.name,
        cell=(read.cell.lon, read.cell.lat),
        collection_id=read.source.collection,
        item_id=read.source.item,
        asset=read.source.asset,
        time_index=time_index if read.time_index is None else read.time_index,
        time=read.time,
        calendar=read.calendar,
        sel=read.sel,
        values=list(read.values),
        bands=[
            BandValue(name=band.name, value=value, unit=band.units)
            for band, value in zip(read.bands, read.values, strict=True)
        ],
        method=read.method,
        weighting=read.weighting,
        dataset_version=read.source.dataset_version,
    )
