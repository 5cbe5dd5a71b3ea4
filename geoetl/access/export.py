"""Values on a map as files: GeoTIFF that says what is in it, and NumPy's own format."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.frame import RasterGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoetl.access.bands import BandInfo

TIFF = "image/tiff; application=geotiff"
NPY = "application/x-npy"
# Pixels a side of a tile; a smaller file is one.
_TILE = 256
# zlib's level that is much quicker than its default of 6 and hardly larger on floats with a predictor.
_LEVEL = 3
_FLOAT_PREDICTOR = 3
_PIECE = 1024 * 1024


def encode_tif(
    values: "NDArray[np.floating[Any]]", grid: RasterGrid, bands: "Sequence[BandInfo]", tags: Mapping[str, Any]
) -> bytes:
    """Return a compressed, tiled GeoTIFF of physical values; NaN is its declared nodata.

    Args:
        values: Array (band, row, column).
        grid: Where the pixels lie.
        bands: Their names and units.
        tags: What is to be written beside; None is left out.
    """
    from rasterio.crs import CRS
    from rasterio.io import MemoryFile

    count, height, width = values.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=count,
            dtype=values.dtype,
            crs=CRS.from_wkt(grid.crs_wkt),
            transform=grid.transform,
            nodata=np.nan,
            tiled=True,
            blockxsize=_TILE,
            blockysize=_TILE,
            compress="deflate",
            zlevel=_LEVEL,
            predictor=_FLOAT_PREDICTOR,
            bigtiff="if_safer",
        ) as out:
            out.write(values)
            out.descriptions = [band.name for band in bands]
            out.units = [band.units or "" for band in bands]
            out.update_tags(**{name: _text(value) for name, value in tags.items() if value is not None})
        content = io.BytesIO()
        # Piece by piece, as nobody else has the interpreter's lock while one is copied; `getvalue` copies nothing.
        while piece := memory.read(_PIECE):
            content.write(piece)
        return content.getvalue()


def encode_npy(values: "NDArray[np.floating[Any]]") -> bytes:
    """Return values in NumPy's format with its header: array (band, row, column), or (row, column) of one band."""
    buffer = io.BytesIO()
    np.save(buffer, values[0] if len(values) == 1 else values, allow_pickle=False)
    return buffer.getvalue()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
