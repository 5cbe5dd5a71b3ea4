"""Map tiles of cubes: pictures of one step of a variable, cut as web maps ask for them.

The values come from `geoetl.access.reader`, which loads titiler; it is imported with the first question.
"""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.colormap import colormap_name, item_colormap, legend
from geoetl.access.cube import CubeAccess, readable
from geoetl.access.frame import WEB_MERCATOR, mercator_bbox, outside
from geoetl.access.grid import RegularGrid
from geoetl.access.layout import VariableInfo
from geoetl.access.picture import Picture, encode_mapped
from geoetl.access.rescale import Rescale, auto_rescale, chosen_ranges, item_ranges
from geoetl.access.result import BBoxField, PointField, Result, Source, ValueRange, finite_or_none
from geoetl.core.errors import NotFound
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    from geoetl.access.reader import CubeReader

TILE_SIZE = 256
# Beyond this zoom a pixel of the square of Web Mercator is 1 cm wide; no cube is that fine.
MAX_ZOOM = 24
# Ranges that are worked out from the values are kept for this many steps: every tile of a step has the same colours.
_MAX_RANGES = 512
# Cells a side from which a range is worked out.
_SAMPLE_SIDE = 512


class TileJson(Result):
    """Where a map finds the tiles of a cube (TileJSON 3.0.0).

    Attributes:
        tilejson: Version of the specification.
        name: ``collection/item variable``, with the time.
        tiles: Address of a tile, with ``{z}``, ``{x}`` and ``{y}`` to fill in.
        bounds: What the tiles cover, in degrees; all the way round where the cube crosses the antimeridian.
        minzoom: Zoom of the fewest tiles.
        maxzoom: Zoom at which a pixel is as large as a cell.
        attribution: Who made the data, where the item says so.
    """

    tilejson: str = "3.0.0"
    name: str
    tiles: tuple[str, ...]
    bounds: tuple[float, float, float, float]
    minzoom: int
    maxzoom: int
    attribution: str | None = None


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
        colormap: Name of the colour map.
        minzoom: Zoom of the fewest tiles.
        maxzoom: Zoom at which a pixel is as large as a cell.
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
    colormap: str
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


@dataclass(frozen=True)
class TileQuestion:
    """Which step of which cube.

    Attributes:
        collection: STAC collection id.
        item: STAC item id.
        asset: Key of the asset; the item's cube where it is left out.
        variable: Name of the variable; the item's own where it is left out.
        time_index: Number of the step, from 1.
        time: ISO 8601 date of the step instead, in the cube's own calendar.
        sel: ``name=value`` for extra dimensions.
    """

    collection: str
    item: str
    asset: str | None = None
    variable: str | None = None
    time_index: int | None = None
    time: str | None = None
    sel: tuple[str, ...] = ()


class CubeTiles:
    """Makes map tiles of cubes in the catalogue.

    Args:
        cubes: Opens them, once for all.
    """

    def __init__(self, cubes: CubeAccess) -> None:
        self._cubes = cubes
        self._lock = threading.Lock()
        self._ranges: OrderedDict[tuple[Any, ...], ValueRange] = OrderedDict()

    def reader(self, question: TileQuestion) -> "CubeReader":
        """Return titiler's reader of a step.

        Raises:
            NotFound: There is no such item or asset.
            InvalidTime: There is no such date.
            InvalidParameter: A variable, step or value is not right, or the grid is not regular.
        """
        from geoetl.access.reader import CubeOpener, CubeReader

        cube, _ = self._cubes.opened(question.collection, question.item, question.asset)
        return CubeReader(
            f"{question.collection}/{question.item}",
            cube.variable(question.variable),
            opener=CubeOpener(self._cubes),
            opener_options={} if question.asset is None else {"asset": question.asset},
            sel=list(question.sel),
            time_index=question.time_index,
            time=question.time,
        )

    def info(self, question: TileQuestion) -> TileInfo:
        """Return how a step is drawn."""
        reader = self.reader(question)
        return TileInfo(
            source=reader.found.source,
            variable=reader.cube.info(reader.variable),
            bbox=reader.grid.extent.bbox,
            time=reader.time_text,
            time_index=reader.step,
            times=len(reader.layout.times),
            calendar=reader.layout.calendar,
            sel=reader.taken,
            rescale=self._range(reader, None),
            colormap=item_colormap(reader.found.render),
            minzoom=0,
            maxzoom=_max_zoom(reader.grid),
        )

    def tilejson(
        self, question: TileQuestion, address: str, *, rescale: Rescale = None, colormap: str | None = None
    ) -> TileJson:
        """Return where a map finds the tiles.

        Args:
            question: Which step of which cube.
            address: Of a tile, with ``{z}``, ``{x}`` and ``{y}`` in it.
            rescale: As the address asks for it, to refuse here what every tile would.
            colormap: Likewise.

        Raises:
            NotFound: There is no such item or asset.
            InvalidTime: There is no such date.
            InvalidParameter: A variable, step, value, colour map or range is not right, or the grid is not regular.
        """
        if colormap is not None:
            colormap_name(colormap, field="colormap_name")
        reader = self.reader(question)
        self._range(reader, rescale)
        left, bottom, right, top = reader.bounds
        return TileJson(
            name=" ".join(part for part in (str(reader.found.source), reader.variable, reader.time_text) if part),
            tiles=(address,),
            bounds=(left, bottom, right, top),
            minzoom=0,
            maxzoom=_max_zoom(reader.grid),
            attribution=", ".join(str(maker.get("name")) for maker in reader.found.properties.get("providers") or ())
            or None,
        )

    def tile(
        self, question: TileQuestion, z: int, x: int, y: int, *, rescale: Rescale = None, colormap: str | None = None
    ) -> Picture:
        """Return a tile of WebMercatorQuad as PNG, 256 pixels a side; no data is transparent.

        Args:
            question: Which step of which cube.
            z: Zoom.
            x: Column, from 0 in the west.
            y: Row, from 0 in the north.
            rescale: Values at the ends of the colours; ``"auto"`` takes the 2nd to 98th percentile of the whole step;
                left out, the item's own range for its own variable, else ``"auto"``.
            colormap: Name of a colour map, ``_r`` reversed; left out, the item's own, else viridis.

        Raises:
            NotFound: There is no such item or asset, or no such tile, or the cube does not reach there.
            InvalidTime: There is no such date.
            InvalidParameter: A variable, step, value, colour map or range is not right, or the grid is not regular.
            UnreadableFile: A source is gone, changed or damaged.
        """
        from rio_tiler.errors import TileOutsideBounds

        wanted = None if colormap is None else colormap_name(colormap, field="colormap_name")
        reader = self.reader(question)
        limits = self._range(reader, rescale)
        map_name = wanted or item_colormap(reader.found.render)
        try:
            if max(x, y) >= 2**z:
                raise TileOutsideBounds(f"Zoom {z} has {2**z} tiles a side.")
            image = reader.tile(x, y, z, tilesize=TILE_SIZE)
        except TileOutsideBounds:
            raise NotFound(
                f"{reader.found.source} has no tile {z}/{x}/{y}.", hint="See bounds in its tilejson.json.", field="z"
            ) from None
        about = reader.cube.info(reader.variable)
        left, bottom, right, top = image.bounds or reader.bounds
        return Picture(
            content=encode_mapped(image.array[0].filled(np.nan), limits, map_name, "image/png"),
            media_type="image/png",
            bbox=mercator_bbox(left, bottom, right, top),
            crs=WEB_MERCATOR,
            bounds=(left, bottom, right, top),
            width=image.width,
            height=image.height,
            rescale=(limits,),
            colormap=map_name,
            legend=legend(map_name, limits, about.units),
            variable=about.name,
            units=about.units,
            method="nearest cell",
            time=reader.time_text,
            sel=reader.taken,
            source=reader.found.source,
        )

    def point(self, question: TileQuestion, location: Point) -> TilePoint:
        """Return the value of a step in the cell nearest to `location`.

        Raises:
            NotFound: There is no such item or asset, or the point lies outside of the cube.
            InvalidTime: There is no such date.
            InvalidParameter: A variable, step or value is not right, or the grid is not regular.
            UnreadableFile: A source is gone, changed or damaged.
        """
        from rio_tiler.errors import PointOutsideBounds

        reader = self.reader(question)
        try:
            read = reader.point(location.lon, location.lat)
        except PointOutsideBounds:
            raise outside(location, reader.grid.extent.bbox, str(reader.found.source)) from None
        about = reader.cube.info(reader.variable)
        lon, lat = read.coordinates or (location.lon, location.lat)
        return TilePoint(
            location=location,
            cell=Point(lon, lat),
            value=finite_or_none(read.array.filled(np.nan)[0]),
            variable=about.name,
            units=about.units,
            time=reader.time_text,
            calendar=reader.layout.calendar,
            sel=reader.taken,
            method="nearest cell",
            source=reader.found.source,
        )

    def _range(self, reader: "CubeReader", rescale: Rescale) -> ValueRange:
        """Return the values at the ends of the colours, the same for every tile of a step."""
        own = item_ranges(reader.found.render) if reader.variable == reader.cube.default_variable else ()
        if rescale is None and len(own) == 1:
            return own[0]
        if rescale is not None and rescale != "auto":
            return chosen_ranges(rescale, [np.empty(0)], [None])[0]
        key = (reader.found.key, reader.variable, *sorted(reader.positions.items()))
        with self._lock:
            kept = self._ranges.get(key)
        if kept is None:
            every = {str(dim): slice(None, None, max(1, n // _SAMPLE_SIDE)) for dim, n in reader.values.sizes.items()}
            with readable(reader.found):
                kept = auto_rescale(reader.values.isel(every).values.astype(np.float64))
            with self._lock:
                self._ranges[key] = kept
                while len(self._ranges) > _MAX_RANGES:
                    self._ranges.popitem(last=False)
        return kept


def _max_zoom(grid: RegularGrid) -> int:
    """Return the zoom from which on a pixel is no larger than a cell."""
    cells = min((axis.high - axis.low) / len(axis.centres) for axis in (grid.lon, grid.lat))
    return min(max(math.ceil(math.log2(360 / (TILE_SIZE * cells))), 0), MAX_ZOOM)
