"""What can be drawn and cut out: bands of a raster, or one step of a cube's variable, each as numbers on a map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geoetl.access.bands import BandInfo, band_info, class_labels, default_bands, is_continuous, refuse_complex
from geoetl.access.chunks import Reading, reading_of
from geoetl.access.colormap import Palette
from geoetl.access.colouring import Colouring, colouring_of
from geoetl.access.expression import Expression
from geoetl.access.fill import values_of
from geoetl.access.frame import GEOGRAPHIC, WEB_MERCATOR, Extent, Frame, RasterGrid
from geoetl.access.grid import Grid, IrregularGrid, RegularGrid, nearest_values, values_of_cells
from geoetl.access.items import FoundAsset
from geoetl.access.layout import Layout, OpenCube, Selection, picked_positions, step_of_time, step_position
from geoetl.access.mesh import project
from geoetl.access.readable import readable, readable_raster
from geoetl.access.rescale import item_ranges
from geoetl.access.result import Source, ValueRange
from geoetl.access.warp import Part, RasterHandle, blocks_of, parts_of, physical_dtype, read_parts, straight_parts
from geoetl.access.window import PixelWindow, even_grid, window_of
from geoetl.core.errors import InvalidTime
from geoetl.core.spatial import BBox, Point

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

# What a picture has to read is worked out on so many pixels a side: how large it is to be is not bounded yet.
_PLANNED_SIDE = 512
# Pixels in another projection may be off by so much of a degree: a centimetre on the ground.
_TOLERANCE_DEG = 1e-7


@dataclass(frozen=True)
class NativeWindow:
    """Values on the layer's own grid.

    Attributes:
        values: Array (band, row, column), NaN = no data, scale and offset applied.
        grid: Where the pixels lie: transform and CRS.
        method: How cells became pixels.
    """

    values: "NDArray[np.floating[Any]]"
    grid: RasterGrid
    method: str


@dataclass(frozen=True)
class PointReading:
    """What a layer has at a place.

    Attributes:
        cell: Centre of the pixel or cell that was read.
        values: One per band, scale and offset applied; NaN for no data.
        method: How the cell was chosen.
    """

    cell: Point
    values: tuple[float, ...]
    method: str


class Layer(Protocol):
    """Bands of a raster or a step of a cube's variable: what tiles, pictures, cuts and downloads are made of.

    Attributes:
        bands: What its bands are called.
        units: Units of its values, where all bands have the same.
        variable: The variable, or the names of the bands.
        step: Number of the step of a cube, from 1; None for a raster.
        time: ISO 8601 text of the step in its own calendar, where there is one.
        calendar: CF calendar of the time.
        sel: The values of the extra dimensions.
        source: Where it comes from.
        render: How the item says that it is drawn.
        own_ranges: The item's own range of values of each band, where it has one.
        colouring: The item's own colours of these values, where it has some.
        palette: The colours of its classes, where the file has some.
        labels: What the item calls these.
        extent: What it covers.
    """

    bands: tuple[BandInfo, ...]
    units: str | None
    variable: str
    step: int | None
    time: str | None
    calendar: str | None
    sel: dict[str, str | float | int]
    source: Source
    render: Mapping[str, Any]
    own_ranges: tuple[ValueRange | None, ...]
    colouring: Colouring | None
    palette: Palette | None
    labels: Mapping[int, str]

    @property
    def extent(self) -> Extent: ...

    @property
    def cells(self) -> RasterGrid:
        """Where its pixels lie; of cells that do not lie evenly, pixels of about their size."""
        ...

    def at(self, point: Point) -> "PointReading | None":
        """Return the values of the pixel that holds a place, or of the cell nearest to it; None outside.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        ...

    def on_frame(self, frame: Frame) -> "NDArray[np.floating[Any]]":
        """Return its values on a picture's grid: array (band, row, column), NaN = no data.

        Raises:
            UnreadableFile: A source is gone, changed or damaged.
        """
        ...

    def opacity(self, frame: Frame) -> "NDArray[np.floating[Any]] | None":
        """Return 0 (transparent) to 255 for each pixel: array (row, column); None where only no data is transparent."""
        ...

    def method_on(self, frame: Frame) -> str:
        """Tell how pixels of a picture's grid come from cells."""
        ...

    def reading_on(self, frame: Frame) -> Reading:
        """Return what `on_frame` has to read."""
        ...

    def window(self, bbox: BBox) -> NativeWindow:
        """Return its own pixels whose centres lie in a box; on a bent or rotated grid, the rectangle around them.

        Raises:
            InvalidParameter: The box has no place in its projection.
            UnreadableFile: A source is gone, changed or damaged.
        """
        ...

    def window_grid(self, bbox: BBox) -> RasterGrid:
        """Return where the pixels of a window lie, without reading them."""
        ...

    def reading_of(self, bbox: BBox) -> Reading:
        """Return what `window` has to read."""
        ...


class RasterLayer:
    """Bands of an open raster; for one thread at a time, as long as the handle is borrowed.

    Args:
        handle: The open raster.
        found: Its asset.
        bands: Numbers from 1, in the order wanted; those that the item shows where it is None.

    Raises:
        MissingCRS: The raster does not say where it lies.
        InvalidParameter: A band holds complex numbers.
    """

    def __init__(self, handle: RasterHandle, found: FoundAsset, bands: Sequence[int] | None = None) -> None:
        dataset = handle.dataset
        self._handle = handle
        self._found = found
        self.cells = handle.grid
        defaults = default_bands(handle.rgb, handle.bands, found.render)
        self.indexes = tuple(defaults if bands is None else bands)
        refuse_complex(dataset, self.indexes)
        self.bands = tuple(band_info(dataset, found.asset, band) for band in self.indexes)
        self.units = self.bands[0].units if len({band.units for band in self.bands}) == 1 else None
        self.variable = ", ".join(band.name for band in self.bands)
        self.step: int | None = None
        self.time: str | None = None
        self.calendar: str | None = None
        self.sel: dict[str, str | float | int] = {}
        self.source = found.source
        self.render = found.render
        ranges = item_ranges(found.render)
        if len(ranges) == 1:
            ranges *= len(defaults)
        own = dict(zip(defaults, ranges, strict=True)) if len(ranges) == len(defaults) else {}
        self.own_ranges = tuple(own.get(band) for band in self.indexes)
        self.colouring = colouring_of(found.render) if self.indexes == defaults else None
        only = self.indexes[0] if len(self.indexes) == 1 else None
        self.palette = Palette.from_mapping(dataset.colormap(only)) if only in handle.palettes else None
        self.labels: Mapping[int, str] = class_labels(found.asset, only) if only is not None else {}
        self._last: tuple[Frame | None, tuple[Part, ...]] = (None, ())
        self._last_box: tuple[BBox, PixelWindow] | None = None
        self._averaged = self.palette is None and is_continuous(dataset, found.asset, self.indexes)

    @property
    def extent(self) -> Extent:
        """What the raster covers."""
        return self.cells.extent

    def at(self, point: Point) -> PointReading | None:
        """Return the values of the pixel that holds a place; None outside."""
        pixel = self.cells.pixel(point)
        if pixel is None:
            return None
        values = self._read(self.indexes, (Part.single(pixel.row, pixel.column),), (1, 1)).ravel()
        return PointReading(self.cells.centre(pixel), tuple(values.tolist()), "nearest pixel")

    def on_frame(self, frame: Frame) -> "NDArray[np.floating[Any]]":
        """Return the bands on a picture's grid, read from the overview that fits: array (band, row, column)."""
        return self._on(self.indexes, frame)

    def opacity(self, frame: Frame) -> "NDArray[np.floating[Any]] | None":
        """Return the alpha band on a picture's grid: array (row, column); None without one."""
        if self._handle.alpha is None:
            return None
        return np.asarray(np.nan_to_num(self._on((self._handle.alpha,), frame)[0]))

    def method_on(self, frame: Frame) -> str:
        """Tell whether pixels are averages."""
        parts, finer = self._planned(frame)
        reduced = any(part.is_reduced(finer) for part in parts)
        return "nearest of averaged pixels" if self._averaged and reduced else "nearest pixel"

    def reading_on(self, frame: Frame) -> Reading:
        """Return the blocks under a picture, of the overview that fits."""
        parts, finer = self._planned(frame)
        return Reading(*blocks_of(self._handle, self.indexes, parts, finer))

    def window(self, bbox: BBox) -> NativeWindow:
        """Return the pixels of a box, no data where it reaches beyond the raster."""
        pixels = self._pixels_of(bbox)
        parts = straight_parts(self.cells, *pixels.positions(self.cells))
        values = self._read(self.indexes, parts, (pixels.grid.height, pixels.grid.width))
        return NativeWindow(values, pixels.grid, "native pixels")

    def window_grid(self, bbox: BBox) -> RasterGrid:
        """Return where the pixels of a box lie."""
        return self._pixels_of(bbox).grid

    def reading_of(self, bbox: BBox) -> Reading:
        """Return the blocks under the pixels of a box."""
        parts = straight_parts(self.cells, *self._pixels_of(bbox).positions_inside(self.cells))
        return Reading(*blocks_of(self._handle, self.indexes, parts))

    def _planned(self, frame: Frame) -> tuple[tuple[Part, ...], float]:
        """Return about what has to be read, and how much finer than that says; however large the picture is to be."""
        coarse = replace(frame, width=min(frame.width, _PLANNED_SIDE), height=min(frame.height, _PLANNED_SIDE))
        parts = self._parts_on(coarse)
        if not parts and coarse != frame:
            # What is too small for one of these pixels may still have some of the picture.
            parts = (Part.whole(self.cells),)
        return parts, min(frame.width / coarse.width, frame.height / coarse.height)

    def _parts_on(self, frame: Frame) -> tuple[Part, ...]:
        """Return where the pixels of a picture come from, worked out once for the frame that was asked for last."""
        known, parts = self._last
        if known != frame:
            parts = parts_of(self.cells, frame)
            self._last = frame, parts
        return parts

    def _on(self, bands: Sequence[int], frame: Frame) -> "NDArray[np.floating[Any]]":
        if max(frame.width, frame.height) <= _PLANNED_SIDE:
            return self._read(bands, self._parts_on(frame), (frame.height, frame.width))
        result = np.empty((len(bands), frame.height, frame.width), physical_dtype(self._handle.dataset, bands))
        for rows, stripe in frame.stripes():
            result[:, rows] = self._read(bands, parts_of(self.cells, stripe), (stripe.height, stripe.width))
        return result

    def _pixels_of(self, bbox: BBox) -> PixelWindow:
        """Return the pixels of a box, worked out once for the box that was asked for last."""
        if self._last_box is None or self._last_box[0] != bbox:
            self._last_box = bbox, window_of(self.cells, bbox)
        return self._last_box[1]

    def _read(self, bands: Sequence[int], parts: Sequence[Part], shape: tuple[int, int]) -> "NDArray[np.floating[Any]]":
        with readable_raster(self._found):
            return read_parts(self._handle, bands, parts, shape, self._averaged)


class CubeLayer:
    """One step of a variable of an open cube, on whatever grid its cells lie.

    Args:
        cube: The open cube.
        found: Its asset.
        variable: Name of the variable; the item's own where it is None.
        sel: A value for each extra dimension; the first value of those left out.
        time_index: Number of the step, from 1; the first where neither it nor `time` is given.
        time: ISO 8601 date of the step, in the cube's own calendar.

    Raises:
        InvalidParameter: There is no such variable, step or value.
        InvalidTime: There is no such date, or both `time` and `time_index` are given.
    """

    def __init__(
        self,
        cube: OpenCube,
        found: FoundAsset,
        variable: str | None = None,
        *,
        sel: Selection | None = None,
        time_index: int | None = None,
        time: str | None = None,
    ) -> None:
        shown = render_variable(found.render, cube)
        name = shown if variable is None else cube.variable(variable)
        layout = cube.layout(name)
        step = chosen_step(layout, time_index, time)
        self.step: int | None = step
        picked, taken = picked_positions(layout, sel)
        info = cube.info(name)
        self._found = found
        self.positions = {**picked, **step_position(layout, step)}
        self.grid = layout.grid
        self._whole = cube.dataset[name]
        self.array: xr.DataArray = self._whole.isel(self.positions)
        self.bands: tuple[BandInfo, ...] = (BandInfo(index=1, name=name, units=info.units),)
        self.units = info.units
        self.variable = name
        self.time = layout.times[step - 1] if layout.times else None
        self.calendar = layout.calendar
        self.sel = taken
        self.source = found.source
        self.render = found.render
        own = item_ranges(found.render) if name == shown else ()
        self.own_ranges: tuple[ValueRange | None, ...] = (own[0] if len(own) == 1 else None,)
        self.colouring = colouring_of(found.render) if name == shown else None
        self.palette: Palette | None = None
        self.labels: Mapping[int, str] = {}

    @property
    def extent(self) -> Extent:
        """What the cells cover."""
        return self.grid.extent

    @cached_property
    def _even(self) -> tuple[RasterGrid, bool]:
        return even_grid(self.grid)

    @property
    def cells(self) -> RasterGrid:
        """Where the cells lie, north up; pixels of about their size where they do not lie evenly."""
        return self._even[0]

    def at(self, point: Point) -> PointReading | None:
        """Return the value of the cell nearest to a place; None outside of the grid."""
        cell = self.grid.nearest(point)
        if cell is None:
            return None
        with readable(self._found):
            value = float(values_of(self.array.isel(cell.index)))
        return PointReading(cell.centre, (value,), _nearest(self.grid))

    def on_frame(self, frame: Frame) -> "NDArray[np.floating[Any]]":
        """Return the nearest cell of each pixel of a picture's grid: array (1, row, column)."""
        with readable(self._found):
            if frame.crs in (GEOGRAPHIC, WEB_MERCATOR):
                return nearest_values(self.array, self.grid, frame.latitudes(), frame.longitudes())[np.newaxis]
            result = np.empty((1, frame.height, frame.width))
            for rows, stripe in frame.stripes():
                lon, lat = project(stripe, GEOGRAPHIC, _TOLERANCE_DEG).grids()
                result[0, rows] = self._at(lat, lon)
            return result

    def _at(self, lat: "NDArray[np.float64]", lon: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the nearest cell of each place: an array of the same shape."""
        grid = self.grid
        if isinstance(grid, IrregularGrid):
            return values_of_cells(self.array, grid, grid.nearest_cells(lat, lon))
        values = np.full(lat.shape, np.nan)
        known = np.isfinite(lat) & np.isfinite(lon)
        rows, columns = grid.rows(lat[known]), grid.columns(lon[known])
        inside = (rows >= 0) & (columns >= 0)
        if inside.any():
            rows, columns = rows[inside], columns[inside]
            top, left = int(rows.min()), int(columns.min())
            window = {grid.lat.dim: slice(top, int(rows.max()) + 1), grid.lon.dim: slice(left, int(columns.max()) + 1)}
            read = values_of(self.array.isel(window).transpose(*grid.dims))
            flat = np.full(known.sum(), np.nan)
            flat[inside] = read[rows - top, columns - left]
            values[known] = flat
        return values

    def opacity(self, frame: Frame) -> None:
        """Return None: a cell without data is transparent, every other is not."""

    def method_on(self, frame: Frame) -> str:
        """Tell how the cells were found."""
        return _nearest(self.grid)

    def reading_on(self, frame: Frame) -> Reading:
        """Return the chunks under a picture."""
        return self._reading(frame.bbox)

    def window(self, bbox: BBox) -> NativeWindow:
        """Return the cells of a box, north up, no data where it reaches beyond the grid.

        Cells that do not lie evenly are told on an even grid of about their size, each pixel its nearest cell.
        """
        whole, own = self._even
        pixels = window_of(whole, bbox)
        at, grid = pixels.grid.transform, pixels.grid
        latitudes = np.asarray(at.f + at.e * (np.arange(grid.height) + 0.5), dtype=np.float64)
        longitudes = np.asarray(at.c + at.a * (np.arange(grid.width) + 0.5), dtype=np.float64)
        with readable(self._found):
            values = nearest_values(self.array, self.grid, latitudes, longitudes)
        method = "native cells" if own else f"{_nearest(self.grid)} on an even grid"
        return NativeWindow(values[np.newaxis], grid, method)

    def window_grid(self, bbox: BBox) -> RasterGrid:
        """Return where the cells of a box lie."""
        return window_of(self.cells, bbox).grid

    def reading_of(self, bbox: BBox) -> Reading:
        """Return the chunks under the cells of a box."""
        return self._reading(bbox)

    def _reading(self, bbox: BBox) -> Reading:
        return reading_of(self._whole, {**self.positions, **_cells_near(self.grid, bbox)})


class ExpressionLayer:
    """What an expression makes of the bands of another layer, band by band where it has several results.

    Args:
        base: Has the bands that the expression takes.
        expression: As it was read.
        render: How the item says that the results are drawn; left out, it says nothing of them.
    """

    def __init__(self, base: Layer, expression: Expression, render: Mapping[str, Any] | None = None) -> None:
        self._base = base
        self._expression = expression
        self.bands = tuple(BandInfo(index=i, name=part, units=None) for i, part in enumerate(expression.parts, 1))
        self.units: str | None = None
        self.variable = "; ".join(expression.parts)
        self.step, self.time, self.calendar, self.sel = base.step, base.time, base.calendar, base.sel
        self.source = base.source
        # How the item is drawn is about its own values, unless it is the item that names the expression.
        self.render: Mapping[str, Any] = render or {}
        ranges = item_ranges(self.render)
        self.own_ranges: tuple[ValueRange | None, ...] = (
            ranges if len(ranges) == len(self.bands) else (None,) * len(self.bands)
        )
        self.colouring = colouring_of(self.render)
        self.palette: Palette | None = None
        self.labels: Mapping[int, str] = {}

    @property
    def extent(self) -> Extent:
        """What the bands cover."""
        return self._base.extent

    @property
    def cells(self) -> RasterGrid:
        """Where the pixels of the bands lie."""
        return self._base.cells

    def at(self, point: Point) -> PointReading | None:
        """Return the results at a place; None outside."""
        read = self._base.at(point)
        if read is None:
            return None
        values = self._results(np.array(read.values)[:, np.newaxis])[:, 0]
        return PointReading(read.cell, tuple(values.tolist()), read.method)

    def on_frame(self, frame: Frame) -> "NDArray[np.floating[Any]]":
        """Return the results on a picture's grid: array (result, row, column)."""
        return self._results(self._base.on_frame(frame))

    def opacity(self, frame: Frame) -> "NDArray[np.floating[Any]] | None":
        """Return how opaque the bands are."""
        return self._base.opacity(frame)

    def method_on(self, frame: Frame) -> str:
        """Tell how pixels of the bands come from cells."""
        return self._base.method_on(frame)

    def reading_on(self, frame: Frame) -> Reading:
        """Return what has to be read of the bands."""
        return self._base.reading_on(frame)

    def window(self, bbox: BBox) -> NativeWindow:
        """Return the results on the bands' own pixels."""
        window = self._base.window(bbox)
        return replace(window, values=self._results(window.values))

    def window_grid(self, bbox: BBox) -> RasterGrid:
        """Return where the pixels of a box lie."""
        return self._base.window_grid(bbox)

    def reading_of(self, bbox: BBox) -> Reading:
        """Return what has to be read of the bands."""
        return self._base.reading_of(bbox)

    def _results(self, values: "NDArray[np.floating[Any]]") -> "NDArray[np.float64]":
        return self._expression.evaluate(
            {band.index: layer for band, layer in zip(self._base.bands, values, strict=True)}
        )


def render_variable(render: Mapping[str, Any], cube: OpenCube) -> str:
    """Return the variable of a cube that a render shows, else the cube's own."""
    named = render.get("variable")
    return named if isinstance(named, str) and named in cube.variables else cube.default_variable


def _cells_near(grid: Grid, bbox: BBox) -> dict[str, "NDArray[np.intp]"]:
    """Return the positions along each horizontal dimension that a box has, and one more on each side."""
    if isinstance(grid, RegularGrid):
        rows = _near(grid.lat.centres, bbox.south, bbox.height_deg)
        columns = _near((grid.lon.centres - bbox.west) % 360 + bbox.west, bbox.west, bbox.width_deg)
        return {grid.lat.dim: rows, grid.lon.dim: columns}
    lon, lat = (grid.lon - bbox.west) % 360, grid.lat
    inside = (lon <= bbox.width_deg) & (lat >= bbox.south) & (lat <= bbox.north)
    if not inside.any():
        return {dim: np.zeros(1, dtype=np.intp) for dim in grid.dims}
    found = np.nonzero(inside)
    return {dim: np.arange(at.min(), at.max() + 1) for dim, at in zip(grid.dims, found, strict=True)}


def _nearest(grid: Grid) -> str:
    return "nearest cell" if isinstance(grid, RegularGrid) else "nearest cell by great circle"


def _near(centres: "NDArray[np.float64]", start: float, length: float) -> "NDArray[np.intp]":
    inside = np.flatnonzero((centres >= start) & (centres <= start + length))
    return inside if inside.size else np.array([int(np.abs(centres - start - length / 2).argmin())])


def chosen_step(layout: Layout, time_index: int | None, time: str | None) -> int:
    """Return the number of a step, from 1: as it is given, that of a date, or the first.

    Raises:
        InvalidTime: There is no such date, or both are given.
    """
    if time is None:
        return 1 if time_index is None else time_index
    if time_index is not None:
        raise InvalidTime("Both time and time_index are given.", hint="Give one of them.", field="time")
    return step_of_time(layout, time)
