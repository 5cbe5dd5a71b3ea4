"""Pictures and values of rasters and cubes, by ids."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel

from geoetl.access.items import CUBE_KINDS, AssetKind, choose_asset, kind_of
from geoetl.api.locations import Location, parse_location
from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import check_id

if TYPE_CHECKING:
    from geoetl.access import Picture, PointValues, Series
    from geoetl.platform import Platform

_KINDS = (AssetKind.GEOTIFF, *CUBE_KINDS)

Collection = Annotated[str, Path(description="STAC collection id")]
Item = Annotated[str, Path(description="STAC item id")]
Asset = Annotated[str | None, Query(description="Key of the asset; left out, the item's data")]
TimeIndex = Annotated[int | None, Query(ge=1, description="Time step of a cube or band of a raster, from 1")]
Variable = Annotated[str | None, Query(description="Variable of a cube; left out, the item's own")]
Sel = Annotated[list[str], Query(description="Value of an extra dimension of a cube, as name=value; may be repeated")]


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
    """Return the routes of pictures and values."""
    routes = APIRouter(prefix="/api/raster", tags=["raster"])

    def is_cube(collection: str, item: str, asset: str | None) -> bool:
        document = platform.lookup.item(check_id(collection, "collection"), check_id(item, "item"))
        assets = document.get("assets", {})
        # An asset that is not there, or is something else, is answered by the access with what there is.
        return kind_of(assets.get(asset or choose_asset(document, _KINDS), {})) in CUBE_KINDS

    @routes.get(
        "/preview/{collection}/{item}", response_class=Response, responses={200: {"content": {"image/png": {}}}}
    )
    def preview(
        collection: Collection,
        item: Item,
        asset: Asset = None,
        time_index: TimeIndex = None,
        variable: Variable = None,
        sel: Sel = [],  # noqa: B006  FastAPI copies a default
        format: Annotated[str, Query(description="png, jpeg or webp")] = "png",
        max_size: Annotated[int, Query(ge=1, description="Pixels of the longer side")] = 512,
        colormap: Annotated[str | None, Query(description="Name of a colour map, _r reversed")] = None,
        rescale: Annotated[str | None, Query(description="low,high or auto; left out, the item's own")] = None,
        crs: Annotated[str, Query(description="Projection of the picture")] = "EPSG:3857",
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return a picture of the whole item, with its corners in the header ``Content-Bbox``."""
        options: dict[str, Any] = {
            "asset": asset,
            "max_size": max_size,
            "rescale": rescale_of(rescale),
            "colormap": colormap,
            "crs": crs,
            "format": format,
        }
        # The picture follows from the question and the state of the catalogue, so their digest is its tag.
        asked = [collection, item, platform.lookup.version(), time_index, variable, sel, options]
        tag = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        if if_none_match and tag in if_none_match:
            return Response(status_code=304, headers={"ETag": f'"{tag}"'})
        picture: Picture
        if is_cube(collection, item, asset):
            picture = platform.cube.preview(
                collection, item, variable=variable, time_index=time_index or 1, sel=_selection(sel), **options
            )
        else:
            _refuse_cube_parameters(variable, sel)
            bands = None if time_index is None else [time_index]
            picture = platform.raster.preview(collection, item, bands=bands, **options)
        headers = {
            "ETag": f'"{tag}"',
            "Cache-Control": "private, no-cache",
            "Content-Bbox": ",".join(f"{number:.10g}" for number in picture.bbox.as_list()),
            "Content-Crs": picture.crs,
        }
        return Response(picture.content, media_type=picture.media_type, headers=headers)

    @routes.get("/point/{collection}/{item}")
    def point(
        collection: Collection,
        item: Item,
        location: Annotated[str, Query(description="lon,lat in degrees, or a name such as paris")],
        asset: Asset = None,
        time_index: TimeIndex = None,
        variable: Variable = None,
        sel: Sel = [],  # noqa: B006  FastAPI copies a default
    ) -> PointAnswer:
        """Return the values at a place."""
        place = parse_location(location, platform.places)
        if is_cube(collection, item, asset):
            series = platform.cube.series(
                collection, item, place.point, asset=asset, variable=variable, sel=_selection(sel)
            )
            return _of_cube(series, place, time_index or 1)
        _refuse_cube_parameters(variable, sel)
        return _of_raster(platform.raster.point(collection, item, place.point, asset=asset), place, time_index)

    return routes


def rescale_of(text: str | None) -> Any:
    """Read ``low,high`` or ``auto``.

    Raises:
        InvalidParameter: It is neither.
    """
    if text is None or text == "auto":
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidParameter(
            f"rescale is '{text[:40]}', which is not low,high.",
            hint="For example rescale=0,255, or auto.",
            field="rescale",
        ) from None


def _selection(pairs: Sequence[str]) -> dict[str, str | float | int]:
    selection: dict[str, str | float | int] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidParameter(
                f"sel is '{pair[:40]}', which is not name=value.", hint="For example sel=plev=85000.", field="sel"
            )
        selection[name] = value
    return selection


def _refuse_cube_parameters(variable: str | None, sel: Sequence[str]) -> None:
    if variable is not None or sel:
        name = "variable" if variable is not None else "sel"
        raise InvalidParameter(f"A raster has no {name}.", hint="Choose a band with time_index, from 1.", field=name)


def _of_cube(series: "Series", place: Location, time_index: int) -> PointAnswer:
    if time_index > len(series.values):
        span = f" ({series.times[0]} to {series.times[-1]})" if series.times else ""
        raise InvalidParameter(
            f"time_index is {time_index}; there are {len(series.values)} steps{span}.", field="time_index"
        )
    value = series.values[time_index - 1]
    return PointAnswer(
        location=(place.point.lon, place.point.lat),
        location_name=place.name,
        cell=(series.cell.lon, series.cell.lat),
        collection_id=series.source.collection,
        item_id=series.source.item,
        asset=series.source.asset,
        time_index=time_index,
        time=series.times[time_index - 1] if series.times else None,
        calendar=series.calendar,
        sel=series.sel,
        values=[value],
        bands=[BandValue(name=series.variable, value=value, unit=series.units)],
        method=series.method,
        weighting=series.weighting,
        dataset_version=series.source.dataset_version,
    )


def _of_raster(read: "PointValues", place: Location, time_index: int | None) -> PointAnswer:
    bands = [
        BandValue(name=band.name, value=value, unit=band.units)
        for band, value in zip(read.bands, read.values, strict=True)
        if time_index is None or band.index == time_index
    ]
    if not bands:
        raise InvalidParameter(
            f"time_index is {time_index}; the raster has {len(read.bands)} bands.",
            hint=f"Give 1 to {len(read.bands)}, or leave it out for all.",
            field="time_index",
        )
    return PointAnswer(
        location=(place.point.lon, place.point.lat),
        location_name=place.name,
        cell=(read.cell.lon, read.cell.lat),
        collection_id=read.source.collection,
        item_id=read.source.item,
        asset=read.source.asset,
        time_index=time_index,
        time=None,
        calendar=None,
        sel={},
        values=[band.value for band in bands],
        bands=bands,
        method=read.method,
        weighting="none",
        dataset_version=read.source.dataset_version,
    )
