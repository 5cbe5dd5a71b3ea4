"""Rasters of FATHOM: return periods as bands, and tiles side by side in one cell.

Both is done at once, strip by strip: a tile is read once, and no tile of eight bands is written in between. What is
in memory does not grow with the cell.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from geoetl.core.errors import Unavailable, UnreadableFile, VerificationFailed
from geoetl.datasets.handlers.fathom.drop import Cell, DropFile
from geoetl.datasets.handlers.fathom.names import RETURN_PERIODS, Corner
from geoetl.datasets.handlers.fathom.tiles import NO_DEPTH, NODATA, Raster, measured, opened
from geoetl.datasets.upstream.errors import SourceChanged
from geoetl.store.gate import Gate
from geoetl.store.zones import free_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader, DatasetWriter
    from rasterio.windows import Window

# Centimetres are kept as they come, so that no pixel changes; readers multiply and have metres.
SCALE = 0.01
UNIT = "m"
BANDS = tuple(f"1in{period}" for period in RETURN_PERIODS)
# Largest block of the raster that is made: tiles are cut into whole ones, so that each is written once.
_MOST_BLOCK = 1024
_OTHER_BLOCK = 256
# Bytes of the values that are in memory at a time.
_STRIP_BYTES = 48 * 1024**2
# Of blocks that GDAL keeps: by itself a twentieth of the memory. Nothing is read twice but where two strips meet.
_CACHE_BYTES = 64 * 1024**2
_MIN_FREE_BYTES = 1_000_000


def stack(gate: Gate, folder: Path, cell: Cell, files: Sequence[DropFile], target: Path) -> None:
    """Write one raster of a cell: int16 in centimetres with the scale to metres, a band for each return period.

    Where no tile is, there are no data; so where FATHOM has no depth. The grid is that of the tiles.

    Args:
        gate: Opens the tiles.
        folder: The drop folder.
        cell: What is made.
        files: Its tiles, each with all return periods, in this order.
        target: Where it is written; it is there only when it is whole.

    Raises:
        UnreadableFile: The pixels of a tile cannot be read, or are no depths.
        SourceChanged: A file changed since it was checked.
        VerificationFailed: A tile is not what its name says, or lies on another grid than the others; or the raster
            is not what was written.
        Unavailable: The disk is full.
    """
    import rasterio

    with opened(gate, folder, files[0]) as dataset:
        raster = measured(dataset, files[0])
    tiles: dict[Corner, list[DropFile]] = defaultdict(list)
    for file in files:
        tiles[file.name.corner].append(file)
    part = target.with_name(f"{target.name}.part")
    try:
        with _writing(part), rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            with rasterio.open(part, "w", **profile(cell, raster)) as made:
                made.descriptions = BANDS
                made.scales = (SCALE,) * len(BANDS)
                made.units = (UNIT,) * len(BANDS)
                copier = _Copier(gate, folder, cell, raster, made)
                written = [strip for corner, members in tiles.items() for strip in copier.copy(corner, members)]
            with gate.open_raster(part) as made:
                # A write that fails late is told to nobody, and what it left out reads as no data.
                if any(crc32(made.read(window=window)) != checksum for window, checksum in written):
                    raise VerificationFailed(
                        f"The raster of {cell.title} is not what was written to it.",
                        hint="See whether the disk of the workspace is full or damaged, then run it again.",
                    )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def profile(cell: Cell, raster: Raster) -> dict[str, Any]:
    """Return how the raster of a cell is written: where its pixels lie, and its blocks."""
    from rasterio.transform import from_origin

    pixel = 1 / raster.side
    moved = raster.shift * pixel
    width, height = size_of(cell, raster)
    fitting = [size for size in range(16, _MOST_BLOCK + 1, 16) if raster.side % size == 0]
    block = max(fitting, default=_OTHER_BLOCK)
    return {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": len(BANDS),
        "dtype": "int16",
        "crs": "EPSG:4326",
        "transform": from_origin(cell.corner.west - moved, cell.north + moved, pixel, pixel),
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "interleave": "band",
        "compress": "zstd",
        "zstd_level": 1,
        "predictor": 2,
        "sparse_ok": True,  # sea takes no room
        "bigtiff": "if_safer",
    }


def size_of(cell: Cell, raster: Raster) -> tuple[int, int]:
    """Return the pixels along a row of a cell, and its rows."""
    return (cell.east - cell.corner.west) * raster.side, (cell.north - cell.corner.south) * raster.side


def check_unchanged(folder: Path, file: DropFile) -> None:
    """Refuse a file that is another one now than the one that was listed.

    Raises:
        SourceChanged: It is, or it is gone.
    """
    try:
        stat = (folder / file.path).stat()
    except FileNotFoundError:
        stat = None
    if stat is None or (stat.st_size, stat.st_mtime_ns) != (file.bytes, file.mtime_ns):
        raise SourceChanged(
            f"'{file.path}' {'is gone' if stat is None else 'changed'} since it was looked at.",
            hint="Run it again when nothing is copied into the drop folder any more.",
            field="source_url",
        )


@dataclass(frozen=True)
class _Copier:
    """Copies tiles into the raster of a cell.

    Args:
        gate: Opens the tiles.
        folder: The drop folder.
        cell: The cell.
        raster: Where the pixels of its tiles lie.
        made: Its raster.
    """

    gate: Gate
    folder: Path
    cell: Cell
    raster: Raster
    made: "DatasetWriter"

    def copy(self, corner: Corner, files: Sequence[DropFile]) -> "Iterator[tuple[Window, int]]":
        """Copy a tile with all its return periods; give each strip that was written, with its checksum."""
        from rasterio.windows import Window

        side = self.raster.side
        left = (corner.west - self.cell.corner.west) * side
        top = (self.cell.north - corner.south - 1) * side
        with ExitStack() as held:
            sources = [held.enter_context(self._opened(file)) for file in files]
            # As many rows of blocks as fit.
            rows = self.made.block_shapes[0][0]
            rows *= max(1, _STRIP_BYTES // (rows * side * len(files) * 2))
            for row in range(0, side, rows):
                height = min(rows, side - row)
                strip = np.empty((len(files), height, side), np.int16)
                for values, source, file in zip(strip, sources, files, strict=True):
                    _read(source, file, Window(0, row, side, height), values)
                window = Window(left, top + row, side, height)
                self.made.write(strip, window=window)
                yield window, crc32(strip)

    @contextmanager
    def _opened(self, file: DropFile) -> "Iterator[DatasetReader]":
        check_unchanged(self.folder, file)
        with opened(self.gate, self.folder, file) as source:
            check_grid(measured(source, file), self.raster, file)
            yield source


def check_grid(found: Raster, expected: Raster, file: DropFile) -> None:
    """Refuse a tile whose pixels do not fit to those of its neighbours.

    Raises:
        VerificationFailed: They do not.
    """
    if found != expected:
        raise VerificationFailed(
            f"'{file.path}' has {_grid(found)}; other tiles of its cell have {_grid(expected)}.",
            hint="Copy tiles of one delivery into the drop folder.",
            field="source_url",
        )


def _grid(raster: Raster) -> str:
    return f"{raster.side} pixels a degree{', shifted by half a pixel' if raster.shift else ''}"


def _read(source: "DatasetReader", file: DropFile, window: Any, values: "NDArray[np.int16]") -> None:
    from rasterio.errors import RasterioError

    try:
        source.read(1, window=window, out=values)
    except RasterioError:
        raise UnreadableFile(
            f"The pixels of '{file.path}' cannot be read, although its header can.",
            hint="Copy it into the drop folder again.",
            field="source_url",
        ) from None
    # The two lowest numbers there are; whatever else is below zero is no depth.
    values[values == NO_DEPTH] = NODATA
    below = (values < 0) & (values != NODATA)
    if below.any():
        raise UnreadableFile(
            f"'{file.path}' has the value {values[below][0]}, which is neither a depth in centimetres nor no data.",
            hint="Copy it into the drop folder again.",
            field="source_url",
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, VerificationFailed):
        if free_bytes(path.parent) >= _MIN_FREE_BYTES:
            raise
        raise Unavailable(
            "The disk of the workspace is full.",
            hint="Free some space, then run it again: what is done is not done again.",
        ) from None
