"""Map tiles of rasters and cubes: pictures of a layer, cut as web maps ask for them."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geoetl.access.bands import BandInfo
from geoetl.access.colormap import colormap_name, item_colormap
from geoetl.access.colouring import Colouring
from geoetl.access.frame import GEOGRAPHIC, map_frame, outside
from geoetl.access.items import CUBE_KINDS, AssetKind, Lookup
from geoetl.access.layer import Layer
from geoetl.access.layout import VariableInfo
from geoetl.access.matrix import TILE_SIZE, WEB_MERCATOR_QUAD, TileMatrixSet, covers
from geoetl.access.picture import Picture, check_drawn, media_type_of, own_colours, paint
from geoetl.access.raster import Choice, RasterAccess
from geoetl.access.renders import render_of
from geoetl.access.rescale import Rescale, auto_rescale, chosen_ranges
from geoetl.access.result import BBoxField, PointField, Result, Source, ValueRange, finite_or_none
from geoetl.access.tilejson import TileJson, attribution_of, no_tile
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoetl.access.cube import CubeAccess

# Ranges that are worked out from the values are kept for so many layers: every tile of one has the same colours.
_MAX_RANGES = 512
# Pixels of the longer side of the picture from which a range is worked out.
_SAMPLE_SIDE = 1024


class TileInfo(Result):
    """How a step of a variable is drawn.

    Attributes:
        source: The item.
        variable: Name, title, units and dimensions.
        bbox: What the cells cover, in degrees; west > east crosses the antimeridian.
        time: The step's time in the cube's own calendar; None without time.
        time_index: Its number, from 1.
        times: How many steps there are.
        calendar: CF calendar of the times.
        sel: The value of each extra dimension.
        rescale: Values at the ends of the colours.
        colormap: Name of the colour map; None where the item has colours of its own.
        minzoom: Zoom of the fewest tiles.
        maxzoom: Zoom of WebMercatorQuad at which a pixel is no larger than a cell.
    """

    source: Source
    variable: VariableInfo
    bbox: BBoxField
    time: str | None
    time_index: int
    times: int
    calendar: str | None
    sel: dict[str, str | float | int]
    rescale: ValueRange
    colormap: str | None
    minzoom: int
    maxzoom: int


class RasterTileInfo(Result):
    """How bands of a raster are drawn.

    Attributes:
        source: The item.
        bands: One band, or red, green and blue.
        bbox: What the pixels cover, in degrees; west > east crosses the antimeridian.
        rescale: For each band the values at the ends of the colours; empty where the colours are those of classes.
        colormap: Name of the colour map; None for colour composites, colour tables and the item's own colours.
        minzoom: Zoom of the fewest tiles.
        maxzoom: Zoom of WebMercatorQuad at which a pixel of a tile is no larger than one of the raster.
    """

    source: Source
    bands: tuple[BandInfo, ...]
    bbox: BBoxField
    rescale: tuple[ValueRange, ...]
    colormap: str | None
    minzoom: int
    maxzoom: int


class TilePoint(Result):
    """The value of a step at a place.

    Attributes:
        location: The place.
        cell: Centre of the cell that was read.
        value: Its value; None for no data.
        variable: Name of the variable.
        units: Units of the value.
        time: The step's time in the cube's own calendar.
        calendar: CF calendar of the time.
        sel: The value of each extra dimension.
        method: How the cell was chosen.
        source: The item.
    """

    location: PointField
    cell: PointField
    value: float | None
    variable: str
    units: str | None
    time: str | None
    calendar: str | None
    sel: dict[str, str | float | int]
    method: str
    source: Source


class TileSource(StrEnum):
    """What tiles are made of."""

    RASTER = "raster"
    CUBE = "cube"


_KINDS = {TileSource.RASTER: (AssetKind.GEOTIFF,), TileSource.CUBE: CUBE_KINDS}


@dataclass(frozen=True)
class TileQuestion:
    """What of an item is drawn.

    Attributes:
        kind: Whether it is a raster or a cube.
        collection: STAC collection id.
        item: STAC item id.
        asset: Key of the asset; the item's raster or cube where it is left out.
        bands: One band of a raster or three, by number from 1 or by name; those that the item shows where left out.
        expression: Arithmetic on bands instead.
        variable: Variable of a cube; the item's own where it is left out.
        time_index: Number of the step of a cube, or of the band of a raster, from 1.
        time: ISO 8601 date of the step of a cube instead, in its own calendar.
        sel: Name and value for extra dimensions of a cube.
        render: Name of one of the item's ``renders``, for what else is left out.
    """

    kind: TileSource
    collection: str
    item: str
    asset: str | None = None
    bands: tuple[int | str, ...] | None = None
    expression: str | None = None
    variable: str | None = None
    time_index: int | None = None
    time: str | None = None
    sel: tuple[tuple[str, str | float | int], ...] = ()
    render: str | None = None


class _Drawing(NamedTuple):
    """How a layer is drawn: ranges and colour map as they were asked for, else as the render has them."""

    rescale: Rescale
    colormap: str | Colouring | None


class Tiles:
    """Makes map tiles of rasters and cubes in the catalogue.

    Args:
        catalog: Where items are looked up.
        layers: Opens what is drawn.
        cubes: Opens cubes.
    """

    def __init__(self, catalog: Lookup, layers: RasterAccess, cubes: "CubeAccess") -> None:
        self._catalog = catalog
        self._layers = layers
        self._cubes = cubes
        self._lock = threading.Lock()
        self._ranges: OrderedDict[Hashable, tuple[ValueRange, ...]] = OrderedDict()

    def tile(
        self,
        question: TileQuestion,
        z: int,
        x: int,
        y: int,
        *,
        tms: TileMatrixSet = WEB_MERCATOR_QUAD,
        size: int = TILE_SIZE,
        format: str = "png",
        rescale: Rescale = None,
        colormap: str | None = None,
    ) -> Picture:
        """Return a tile; no data is transparent, white in JPEG.

        Args:
            question: What is drawn.
            z: Zoom.
            x: Column, from 0 in the west.
            y: Row, from 0 in the north.
            tms: How the Earth is cut.
            size: Pixels a side.
            format: png, jpeg or webp.
            rescale: Values at the ends of the colours; ``"auto"`` takes the 2nd to 98th percentile of the whole layer;
                left out, the item's own range, else ``"auto"``.
            colormap: Name of a colour map, ``_r`` reversed; left out, the item's own, else viridis.

        Raises:
            NotFound: There is no such item, asset or render, or no such tile, or the data do not reach there.
            InvalidTime: There is no such date.
            InvalidParameter: A band, variable, step, value, colour map, range or format is not right.
            UnreadableFile: A source is gone, changed or damaged.
        """
        media_type = media_type_of(format)
        with self._drawn(question, rescale, colormap) as (layer, drawing):
            own = own_colours(layer, drawing.colormap)
            # Colours of the item's own know their values.
            limits = self._limits(question, layer, drawing.rescale) if own is None or drawing.rescale else None
            if not tms.has(z, x, y):
                raise no_tile(str(layer.source), z, x, y)
            frame = tms.frame(z, x, y, size)
            if not covers(frame, layer.extent):
                raise no_tile(str(layer.source), z, x, y)
            values = layer.on_frame(frame)
            return paint(layer, frame, values, media_type, rescale=limits, colormap=drawing.colormap)

    def tilejson(
        self,
        question: TileQuestion,
        address: str,
        *,
        tms: TileMatrixSet = WEB_MERCATOR_QUAD,
        size: int = TILE_SIZE,
        rescale: Rescale = None,
        colormap: str | None = None,
    ) -> TileJson:
        """Return where a map finds the tiles.

        Args:
            question: What is drawn.
            address: Of a tile, with ``{z}``, ``{x}`` and ``{y}`` in it.
            tms: How the Earth is cut.
            size: Pixels of a tile, a side.
            rescale: As the address asks for it, to refuse here what every tile would.
            colormap: Likewise.

        Raises:
            NotFound: There is no such item, asset or render.
            InvalidTime: There is no such date.
            InvalidParameter: A band, variable, step, value, colour map or range is not right.
        """
        with self._drawn(question, rescale, colormap) as (layer, drawing):
            if own_colours(layer, drawing.colormap) is None or drawing.rescale:
                self._limits(question, layer, drawing.rescale)
            extent = layer.extent
            # A box of TileJSON does not cross the antimeridian: it goes all the way round.
            west, east = (-180.0, 180.0) if extent.east > 180 else (extent.west, extent.east)
            _, item = self._catalog.versioned_item(question.collection, question.item)
            return TileJson(
                name=" ".join(part for part in (str(layer.source), layer.variable, layer.time) if part),
                tiles=(address,),
                bounds=(west, extent.south, east, extent.north),
                minzoom=0,
                maxzoom=tms.max_zoom(_cell_deg(layer), size),
                attribution=attribution_of(item.get("properties") or {}),
            )

    def raster_info(self, question: TileQuestion) -> RasterTileInfo:
        """Return how bands of a raster are drawn.

        Raises:
            NotFound: There is no such item, asset or render.
            InvalidParameter: A band is not right.
        """
        with self._drawn(question, None, None) as (layer, drawing):
            own, name = own_colours(layer, drawing.colormap), _name_of(layer, drawing)
            limits: tuple[ValueRange, ...]
            if own is not None:
                limits = () if own.limits is None else (own.limits,)
            elif layer.palette is not None and name is None:
                limits = ()
            else:
                limits = self._limits(question, layer, drawing.rescale)
            return RasterTileInfo(
                source=layer.source,
                bands=layer.bands,
                bbox=layer.extent.bbox,
                rescale=limits,
                colormap=name,
                minzoom=0,
                maxzoom=WEB_MERCATOR_QUAD.max_zoom(_cell_deg(layer)),
            )

    def cube_info(self, question: TileQuestion) -> TileInfo:
        """Return how a step of a cube is drawn.

        Raises:
            NotFound: There is no such item, asset or render.
            InvalidTime: There is no such date.
            InvalidParameter: A variable, step or value is not right.
        """
        with self._drawn(question, None, None) as (layer, drawing):
            cube, _ = self._cubes.opened(question.collection, question.item, layer.source.asset)
            own = own_colours(layer, drawing.colormap)
            limits = own.limits if own is not None else None
            return TileInfo(
                source=layer.source,
                variable=cube.info(layer.variable),
                bbox=layer.extent.bbox,
                time=layer.time,
                time_index=layer.step or 1,
                times=len(cube.layout(layer.variable).times),
                calendar=layer.calendar,
                sel=layer.sel,
                rescale=limits or self._limits(question, layer, drawing.rescale)[0],
                colormap=_name_of(layer, drawing),
                minzoom=0,
                maxzoom=WEB_MERCATOR_QUAD.max_zoom(_cell_deg(layer)),
            )

    def point(self, question: TileQuestion, location: Point) -> TilePoint:
        """Return the value of a step of a cube in the cell nearest to `location`.

        Raises:
            NotFound: There is no such item, asset or render, or the point lies outside of the cube.
            InvalidTime: There is no such date.
            InvalidParameter: A variable, step or value is not right.
            UnreadableFile: A source is gone, changed or damaged.
        """
        with self._drawn(question, None, None) as (layer, _):
            read = layer.at(location)
            if read is None:
                raise outside(location, layer.extent.bbox, str(layer.source))
            return TilePoint(
                location=location,
                cell=read.cell,
                value=finite_or_none(read.values[0]),
                variable=layer.variable,
                units=layer.units,
                time=layer.time,
                calendar=layer.calendar,
                sel=layer.sel,
                method=read.method,
                source=layer.source,
            )

    @contextmanager
    def _drawn(
        self, question: TileQuestion, rescale: Rescale, colormap: str | None
    ) -> Iterator[tuple[Layer, _Drawing]]:
        """Lend the layer that a question names, with the way to draw it."""
        wanted = None if colormap is None else colormap_name(colormap, field="colormap_name")
        drawn: str | Colouring | None = wanted
        asset, bands, expression = question.asset, question.bands, question.expression
        if question.render is not None:
            _, item = self._catalog.versioned_item(question.collection, question.item)
            render = render_of(item, question.render)
            asset = asset or render.asset
            if bands is None and expression is None and question.time_index is None:
                bands, expression = (None, render.expression) if render.expression else (render.bands, None)
            rescale = rescale or render.rescale or None
            drawn = wanted or render.colouring or (render.colormap and colormap_name(render.colormap, field="render"))
        choice = Choice(
            question.collection,
            question.item,
            asset,
            bands,
            expression,
            question.variable,
            dict(question.sel) or None,
            question.time_index,
            question.time,
        )
        with self._layers.layer(choice, kinds=_KINDS[question.kind]) as layer:
            check_drawn(layer, colormap)
            yield layer, _Drawing(rescale, None if len(layer.bands) == 3 else drawn)

    def _limits(self, question: TileQuestion, layer: Layer, rescale: Rescale) -> tuple[ValueRange, ...]:
        """Return the values at the ends of the colours of each band, the same for every tile of a layer."""
        if rescale is not None and rescale != "auto":
            return chosen_ranges(rescale, [np.empty(0)] * len(layer.bands), layer.own_ranges)
        own = layer.own_ranges if rescale is None else (None,) * len(layer.bands)
        known = tuple(limits for limits in own if limits is not None)
        if len(known) == len(own):
            return known
        key = (question, layer.source.catalog_version)
        with self._lock:
            kept = self._ranges.get(key)
        if kept is None:
            kept = tuple(auto_rescale(band) for band in _sample(layer))
            with self._lock:
                self._ranges[key] = kept
                while len(self._ranges) > _MAX_RANGES:
                    self._ranges.popitem(last=False)
        return tuple(limits or auto for limits, auto in zip(own, kept, strict=True))


def _name_of(layer: Layer, drawing: _Drawing) -> str | None:
    """Return the name of the colour map that a layer is drawn with; None where it is drawn with none."""
    if isinstance(drawing.colormap, str):
        return drawing.colormap
    has_colours = layer.palette is not None or own_colours(layer, drawing.colormap) is not None
    return None if len(layer.bands) == 3 or has_colours else item_colormap(layer.render)


def _sample(layer: Layer) -> "list[NDArray[Any]]":
    """Return values from all over a layer, for each band: all of a small one, else those of a picture."""
    if layer.cells.width * layer.cells.height <= _SAMPLE_SIDE**2:
        return list(layer.window(layer.extent.bbox).values)
    return list(layer.on_frame(map_frame(layer.extent, GEOGRAPHIC, _SAMPLE_SIDE)))


def _cell_deg(layer: Layer) -> float:
    """Return about how wide a cell is, in degrees."""
    extent, cells = layer.extent, layer.cells
    return min((extent.east - extent.west) / cells.width, (extent.north - extent.south) / cells.height)
