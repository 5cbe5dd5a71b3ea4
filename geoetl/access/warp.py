"""An open raster, and its bands on the grid of a picture."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.frame import Frame, RasterGrid
from geoetl.core.errors import MissingCRS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from geoetl.store.gate import Gate

# Rasters are read this much finer than the picture, so that warping has something to choose from.
_OVERSAMPLING = 1.25
# How far a pixel may be taken from beside its place. GDAL's own 0.125 puts 3 to 6 percent of pixels into the wrong
# neighbour, which shows on classes; this puts 0.4 percent there and still saves most of the exact projection's time.
_WARP_TOLERANCE_PIXELS = 0.02


class RasterHandle:
    """An open raster with what was worked out about it; for one thread at a time.

    Args:
        gate: Opens it.
        path: The local file.
    """

    def __init__(self, gate: "Gate", path: Path) -> None:
        import rasterio
        from rasterio.enums import ColorInterp, MaskFlags

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


def warped(handle: RasterHandle, bands: Sequence[int], frame: Frame, averaged: bool) -> "NDArray[np.float32]":
    """Return bands on the picture's grid, scale and offset applied: array (band, height, width), NaN = no data.

    They are read once, decimated to about the picture's size (from overviews, where there are some), and warped in
    memory to the nearest pixel.

    Args:
        handle: The raster.
        bands: Their numbers, from 1.
        frame: The picture's grid.
        averaged: Whether a pixel that stands for many is their average, or one of them (classes).
    """
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    dataset = handle.dataset
    shrink = max(1.0, max(dataset.width, dataset.height) / (_OVERSAMPLING * max(frame.width, frame.height)))
    shape = (len(bands), math.ceil(dataset.height / shrink), math.ceil(dataset.width / shrink))
    # The average of one pixel is the pixel itself; only a real reduction needs it.
    reading = Resampling.average if averaged and shrink > 1 else Resampling.nearest
    values = dataset.read(list(bands), out_shape=shape, resampling=reading, out_dtype="float32")
    if handle.has_masks:
        values[dataset.read_masks(list(bands), out_shape=shape, resampling=reading) == 0] = np.nan
    values[~np.isfinite(values)] = np.nan
    for layer, band in zip(values, bands, strict=True):
        scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
        if scale != 1 or offset != 0:
            layer *= scale
            layer += offset
    at = dataset.transform
    across, down = dataset.width / shape[2], dataset.height / shape[1]
    result = np.full((len(bands), frame.height, frame.width), np.nan, dtype=np.float32)
    reproject(
        values,
        result,
        src_transform=Affine(at.a * across, at.b * down, at.c, at.d * across, at.e * down, at.f),
        src_crs=dataset.crs,
        src_nodata=np.nan,
        dst_transform=frame.transform,
        dst_crs=frame.crs,
        dst_nodata=np.nan,
        resampling=Resampling.nearest,
        tolerance=_WARP_TOLERANCE_PIXELS,
    )
    return result
