"""An open raster, and its bands on the grid of a picture."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geoetl.access.frame import GEOGRAPHIC, WEB_MERCATOR, Extent, Frame, RasterGrid
from geoetl.access.mesh import project, project_some
from geoetl.core.errors import MissingCRS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from geoetl.store.gate import Gate

# Rasters are read this much finer than the picture, so that warping has something to choose from.
_OVERSAMPLING = 1.25
# From this many of its pixels to one on, that is two to one of the picture, it is read reduced; until then as it is,
# so that each pixel of the picture is one of the raster exactly.
_WORTH_REDUCING = 1.6
# How far a pixel may be taken from beside its place, before the last refinement, which takes most of it away.
_TOLERANCE_PIXELS = 0.02
# Places a side at which it is seen how much finer a raster is than a picture.
_TRIED = 24
# Pixels of a picture often lie on the edges of the raster's, to within rounding: none falls to one side or the other.
_EDGE_SLACK_PIXELS = 1e-6
# Share of an extent by which a picture's pixels may lie beside it and still be looked at.
_BENT_EDGE = 0.01


class RasterHandle:
    """An open raster with what was worked out about it; for one thread at a time.

    Args:
        gate: Opens it.
        path: The local file.
    """

    def __init__(self, gate: "Gate", path: Path) -> None:
        import rasterio
        from rasterio.enums import ColorInterp, Interleaving, MaskFlags

        self._stack = ExitStack()
        # A dataset that is entered starts a GDAL environment of its thread, unless there is one, and ends it when it is
        # closed; another thread could then not close it. With one around it has nothing to end.
        with rasterio.Env():
            self.dataset: DatasetReader = self._stack.enter_context(gate.open_raster(path))
        interpretations = list(self.dataset.colorinterp)
        self.alpha = next((i for i, kind in enumerate(interpretations, 1) if kind is ColorInterp.alpha), None)
        self.bands = tuple(i for i in range(1, self.dataset.count + 1) if i != self.alpha)
        colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        self.rgb = tuple(interpretations.index(c) + 1 for c in colours) if set(colours) <= set(interpretations) else ()
        self.palettes = tuple(i for i, kind in enumerate(interpretations, 1) if kind is ColorInterp.palette)
        self.has_masks = any(flags != [MaskFlags.all_valid] for flags in self.dataset.mask_flag_enums)
        self.is_interleaved_by_pixel = self.dataset.interleaving is Interleaving.pixel
        self._mask_flags = [frozenset(flags) for flags in self.dataset.mask_flag_enums]

    def is_masked_by_value(self, band: int) -> bool:
        """Tell whether the pixels of a band without data are those of one value, which the file declares."""
        from rasterio.enums import MaskFlags

        return self._mask_flags[band - 1] == {MaskFlags.nodata}

    def has_mask(self, band: int, *, by_value: bool) -> bool:
        """Tell whether it takes the mask of a band to know which of its pixels have data.

        Args:
            band: Its number, from 1.
            by_value: Whether that counts as a mask too where one value means that there is none. NaN never does, as it
                stays what it is however pixels are mixed.
        """
        from rasterio.enums import MaskFlags

        if self._mask_flags[band - 1] == {MaskFlags.all_valid}:
            return False
        nodata = self.dataset.nodatavals[band - 1]
        if self.is_masked_by_value(band):
            return by_value and not (nodata is not None and math.isnan(nodata))
        return True

    @cached_property
    def grid(self) -> RasterGrid:
        """Where its pixels lie.

        Raises:
            MissingCRS: The file does not say.
        """
        if self.dataset.crs is None:
            raise MissingCRS(
                "The raster has no coordinate reference system, so it has no place on the map.",
                hint="Ingest it again with the parameter crs, for example crs=EPSG:4326.",
                field="crs",
            )
        return RasterGrid(self.dataset.crs.to_wkt(), self.dataset.transform, self.dataset.width, self.dataset.height)

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


@dataclass(frozen=True)
class Part:
    """A window of a raster, and which pixels of a picture are taken from it.

    Attributes:
        top: First row of the window.
        left: First column.
        height: Rows of the window.
        width: Columns.
        rows: Rows that it is read as: fewer than `height` where the picture is coarser.
        columns: Columns that it is read as.
        into: Index of the picture's pixels, over its last two axes.
        out_of: Index of what was read, likewise.
    """

    top: int
    left: int
    height: int
    width: int
    rows: int
    columns: int
    into: Any
    out_of: Any

    @classmethod
    def single(cls, row: int, column: int) -> Self:
        """Return one pixel."""
        return cls(row, column, 1, 1, 1, 1, np.ix_([0], [0]), np.ix_([0], [0]))

    @classmethod
    def whole(cls, grid: RasterGrid) -> Self:
        """Return all pixels of a raster."""
        every = np.ix_(np.arange(grid.height), np.arange(grid.width))
        return cls(0, 0, grid.height, grid.width, grid.height, grid.width, every, every)

    @property
    def shrink(self) -> float:
        """How many rows or columns become one, by the axis that is reduced less."""
        return min(self.height / self.rows, self.width / self.columns)

    def is_reduced(self, finer: float = 1.0) -> bool:
        """Tell whether pixels are put together; so too where the picture is some times finer than it says."""
        return self.shrink >= _WORTH_REDUCING * finer


def parts_of(grid: RasterGrid, frame: Frame) -> tuple[Part, ...]:
    """Return which windows of a raster have the pixels of a picture: more than one where the raster's edges meet.

    Each pixel has the one of the raster in which its centre lies. Where the picture is coarser than the raster it is
    read a little finer than the picture, from overviews where there are some.
    """
    rows, columns = _near(grid.extent, frame)
    if not (len(rows) and len(columns)):
        return ()
    if (len(rows), len(columns)) == (frame.height, frame.width):
        return _projected_parts(grid, frame)
    parts = _projected_parts(grid, _cropped(frame, rows, columns))
    return tuple(replace(part, into=_moved(part.into, rows.start, columns.start)) for part in parts)


def _projected_parts(grid: RasterGrid, frame: Frame) -> tuple[Part, ...]:
    at = grid.transform
    size = min(math.hypot(at.a, at.d), math.hypot(at.b, at.e))
    mesh = project(frame, grid.crs_wkt, _TOLERANCE_PIXELS * size)
    if mesh.is_straight and grid.is_straight:
        return straight_parts(grid, *grid.positions(mesh.x, mesh.y))
    return _bent_parts(grid, frame, *grid.positions(*mesh.grids()))


def _near(extent: Extent, frame: Frame) -> tuple[range, range]:
    """Return the rows and columns of a picture that come near an extent.

    To project the rest of the Earth, where the raster's system may not even reach, would take longer than to read.
    """
    if frame.crs not in (WEB_MERCATOR, GEOGRAPHIC) or extent.is_global:
        return range(frame.height), range(frame.width)
    # Between the places by which the extent was found an edge may bend a little further.
    aside, up = _BENT_EDGE * (extent.east - extent.west), _BENT_EDGE * (extent.north - extent.south)
    lat, lon = frame.latitudes(), frame.longitudes()
    rows = np.flatnonzero((lat >= extent.south - up) & (lat <= extent.north + up))
    columns = np.flatnonzero((lon - extent.west + aside) % 360 <= extent.east - extent.west + 2 * aside)
    if not (len(rows) and len(columns)):
        return range(0), range(0)
    return range(int(rows[0]), int(rows[-1]) + 1), range(int(columns[0]), int(columns[-1]) + 1)


def _cropped(frame: Frame, rows: range, columns: range) -> Frame:
    wide, high = (frame.right - frame.left) / frame.width, (frame.top - frame.bottom) / frame.height
    return replace(
        frame,
        left=frame.left + columns.start * wide,
        right=frame.left + columns.stop * wide,
        top=frame.top - rows.start * high,
        bottom=frame.top - rows.stop * high,
        width=len(columns),
        height=len(rows),
    )


def _moved(into: Any, rows: int, columns: int) -> Any:
    """Return an index of pixels of a part of a picture as one of the picture."""
    down, across = into if isinstance(into, tuple) else np.nonzero(into)
    return down + rows, across + columns


def straight_parts(grid: RasterGrid, columns: "NDArray[np.float64]", rows: "NDArray[np.float64]") -> tuple[Part, ...]:
    """Return the windows of a raster that have certain columns of certain rows, both with fractions."""
    columns, rows = _inside(columns, grid.width), _inside(rows, grid.height)
    wanted_rows = np.flatnonzero(rows >= 0)
    parts = []
    # Where the picture crosses the raster's edge its last columns stand before its first: each side is a window.
    known = np.flatnonzero(columns >= 0)
    seams = np.flatnonzero(np.abs(np.diff(columns[known])) > grid.width / 2) + 1
    for wanted_columns in np.split(known, seams):
        if not (wanted_columns.size and wanted_rows.size):
            continue
        left, width, count, out_columns = _axis(columns[wanted_columns])
        top, height, lines, out_rows = _axis(rows[wanted_rows])
        into = np.ix_(wanted_rows, wanted_columns)
        parts.append(Part(top, left, height, width, lines, count, into, np.ix_(out_rows, out_columns)))
    return tuple(parts)


def _axis(
    positions: "NDArray[np.float64]",
) -> tuple[int, int, int, "NDArray[np.intp]"]:
    """Return first, length and length as read of what holds some positions, and where they lie in what is read."""
    first = math.floor(positions.min())
    length = math.floor(positions.max()) + 1 - first
    count = math.ceil(len(positions) * _OVERSAMPLING)
    if length < count * _WORTH_REDUCING:
        count = length
    at = np.floor((positions - first) * (count / length)).astype(np.intp)
    return first, length, count, np.minimum(at, count - 1)


def _bent_parts(
    grid: RasterGrid, frame: Frame, columns: "NDArray[np.float64]", rows: "NDArray[np.float64]"
) -> tuple[Part, ...]:
    known = np.isfinite(columns) & np.isfinite(rows)
    wanted = known & (_inside(columns, grid.width) >= 0) & (_inside(rows, grid.height) >= 0)
    shrink = _step(columns, rows, wanted) / _OVERSAMPLING
    if shrink < _WORTH_REDUCING:
        shrink = 1.0
        # Where a place lies next to the edge of a pixel, its interpolation may be off by what decides.
        edges = [np.abs(at - np.rint(at)) < _TOLERANCE_PIXELS / 2 for at in (columns, rows)]
        doubtful = np.nonzero((edges[0] | edges[1]) & known)
        if doubtful[0].size:
            x, y = project_some(frame, grid.crs_wkt, doubtful[1], doubtful[0])
            columns[doubtful], rows[doubtful] = grid.positions(x, y)
    columns, rows = _inside(columns, grid.width), _inside(rows, grid.height)
    wanted = (columns >= 0) & (rows >= 0)
    if not wanted.any():
        return ()
    x, y = columns[wanted], rows[wanted]
    left, top = math.floor(x.min()), math.floor(y.min())
    width, height = math.floor(x.max()) + 1 - left, math.floor(y.max()) + 1 - top
    count, lines = math.ceil(width / shrink), math.ceil(height / shrink)
    out_of = (
        np.minimum((y - top) * (lines / height), lines - 1).astype(np.intp),
        np.minimum((x - left) * (count / width), count - 1).astype(np.intp),
    )
    return (Part(top, left, height, width, lines, count, wanted, out_of),)


def _step(columns: "NDArray[np.float64]", rows: "NDArray[np.float64]", wanted: "NDArray[np.bool_]") -> float:
    """Return how many pixels of the raster a step of one pixel of the picture is, along the denser axis."""
    # A few places tell; where the raster is too small a part of the picture for that, all of them.
    for every in (max(1, min(wanted.shape) // _TRIED), 1):
        some = slice(None, None, every)
        steps = []
        for axis in (0, 1):
            known = wanted[some, some]
            both = known[1:] & known[:-1] if axis == 0 else known[:, 1:] & known[:, :-1]
            if both.any():
                moved = np.hypot(*(np.diff(at[some, some], axis=axis) for at in (columns, rows)))
                steps.append(float(np.median(moved[both])) / every)
        if steps:
            return min(steps)
    return 1.0


def _inside(positions: "NDArray[np.float64]", size: int) -> "NDArray[np.float64]":
    """Return positions, a hair to the right so that those on an edge all go one way; -1 for those outside."""
    moved = positions + _EDGE_SLACK_PIXELS
    with np.errstate(invalid="ignore"):
        return np.where(
            (moved >= 0) & (moved < size + 2 * _EDGE_SLACK_PIXELS), np.minimum(moved, size - _EDGE_SLACK_PIXELS), -1.0
        )


def read_parts(
    handle: RasterHandle, bands: Sequence[int], parts: Sequence[Part], shape: tuple[int, int], averaged: bool
) -> "NDArray[np.floating[Any]]":
    """Return bands on a grid of pixels, scale and offset applied: array (band, row, column), NaN = no data.

    Args:
        handle: The raster.
        bands: Their numbers, from 1.
        parts: Where the pixels come from; those that are in none have no data.
        shape: Rows and columns of the grid.
        averaged: Whether a pixel that stands for many is their average, or one of them (classes).
    """
    result = np.full((len(bands), *shape), np.nan, dtype=physical_dtype(handle.dataset, bands))
    for part in parts:
        values = _read(handle, bands, part, averaged)
        result[(slice(None), *_index(part.into))] = values[(slice(None), *part.out_of)]
    return result


def _index(into: Any) -> tuple[Any, ...]:
    return into if isinstance(into, tuple) else (into,)


def _read(handle: RasterHandle, bands: Sequence[int], part: Part, averaged: bool) -> "NDArray[np.floating[Any]]":
    from rasterio.enums import Resampling

    dataset = handle.dataset
    dtype = physical_dtype(dataset, bands)
    window = ((part.top, part.top + part.height), (part.left, part.left + part.width))
    indexes = list(bands)
    # The average of one pixel is the pixel itself; only a real reduction needs it.
    values: NDArray[np.floating[Any]]
    reading = Resampling.average if averaged and part.is_reduced() else Resampling.nearest
    how: dict[str, Any] = {"window": window, "out_shape": (len(indexes), part.rows, part.columns)}
    if reading is Resampling.nearest:
        raw = dataset.read(indexes, **how)
        values = raw.astype(dtype)
        for layer, stored, band in zip(values, raw, indexes, strict=True):
            if handle.is_masked_by_value(band):
                layer[stored == dataset.nodatavals[band - 1]] = np.nan
    else:
        values = dataset.read(indexes, **how, resampling=reading, out_dtype=dtype)
    masked = [i for i, band in enumerate(indexes) if handle.has_mask(band, by_value=reading is Resampling.average)]
    if masked:
        valid = dataset.read_masks(
            [indexes[i] for i in masked],
            window=window,
            out_shape=(len(masked), *how["out_shape"][1:]),
            resampling=reading,
        )
        for i, kept in zip(masked, valid, strict=True):
            values[i][kept == 0] = np.nan
    values[np.isinf(values)] = np.nan
    for layer, band in zip(values, indexes, strict=True):
        scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
        if scale != 1 or offset != 0:
            layer *= scale
            layer += offset
    return values


def physical_dtype(dataset: "DatasetReader", bands: Sequence[int]) -> "np.dtype[np.floating[Any]]":
    """Return the type that holds the values of bands exactly, with scale and offset applied."""
    if any(dataset.scales[band - 1] != 1 or dataset.offsets[band - 1] != 0 for band in bands):
        return np.dtype(np.float64)
    exact: np.dtype[Any] = np.result_type(np.float32, *(dataset.dtypes[band - 1] for band in bands))
    return exact


def blocks_of(handle: RasterHandle, bands: Sequence[int], parts: Sequence[Part], finer: float = 1.0) -> tuple[int, int]:
    """Return how many blocks have to be unpacked for some windows, of the overview that fits, and to how many bytes.

    Args:
        handle: The raster.
        bands: Their numbers, from 1.
        parts: The windows.
        finer: How much finer they are read than they say.
    """
    dataset = handle.dataset
    together = handle.is_interleaved_by_pixel
    count = size = 0
    for part in parts:
        factor = max((f for f in dataset.overviews(bands[0]) if f <= part.shrink / finer), default=1)
        for band in bands[:1] if together else bands:
            rows, columns = dataset.block_shapes[band - 1]
            rows, columns = min(rows, dataset.height), min(columns, dataset.width)
            down = _blocks(part.top / factor, (part.top + part.height) / factor, rows)
            across = _blocks(part.left / factor, (part.left + part.width) / factor, columns)
            count += down * across
            depth = dataset.count if together else 1
            size += down * across * rows * columns * depth * np.dtype(dataset.dtypes[band - 1]).itemsize
    return count, size


def _blocks(start: float, stop: float, length: int) -> int:
    return math.ceil(stop / length) - math.floor(start / length)
