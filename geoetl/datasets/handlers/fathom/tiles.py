"""One tile: whether it is what its name says, and where exactly its pixels lie."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoetl.core.errors import UnreadableFile, VerificationFailed
from geoetl.datasets.handlers.fathom.drop import DropFile
from geoetl.store.gate import Gate

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# What stands where there is no depth. Those who use the data take the second for permanent water.
NODATA = -32768
NO_DEPTH = -32767
# An origin or resolution may be off by so much of a pixel: decimals of a header.
_SLACK_PIXELS = 0.01


@dataclass(frozen=True, slots=True)
class Raster:
    """Where the pixels of a tile lie.

    Attributes:
        side: Pixels along each of its sides, so on a degree.
        shift: How far its north-west corner lies north and west of that which its name says, in pixels: none, or half
            of one where the grid is registered on the centres of pixels.
    """

    side: int
    shift: float


@contextmanager
def opened(gate: Gate, folder: Path, file: DropFile) -> "Iterator[DatasetReader]":
    """Open a tile.

    Raises:
        UnreadableFile, FormatNotAllowed, OutsideAllowedRoots, LimitExceeded: See `Gate.open_raster`.
        NotFound: It is gone.
    """
    with gate.open_raster(gate.resolve(str(folder / file.path), field="source_url"), with_overviews=False) as dataset:
        yield dataset


def measured(dataset: "DatasetReader", file: DropFile) -> Raster:
    """Check the header of a tile, and that all its blocks are there.

    Raises:
        VerificationFailed: It is not what its name says, or FATHOM's tiles are not like it.
        UnreadableFile: It is truncated.
    """
    from rasterio.crs import CRS

    corner, name = file.name.corner, file.path
    expected = {
        "format": ("GTiff", dataset.driver),
        "bands": (1, dataset.count),
        "data type": ("int16", dataset.dtypes[0]),
        "scale and offset": ((1.0, 0.0), (dataset.scales[0], dataset.offsets[0])),
    }
    for what, (wanted, got) in expected.items():
        if wanted != got:
            raise _unlike(name, f"Its {what}: {got}; expected {wanted}.")
    if dataset.crs is None or dataset.crs != CRS.from_epsg(4326):
        got = "none" if dataset.crs is None else dataset.crs.to_string()[:40]
        raise _unlike(name, f"Its coordinate reference system: {got}; expected EPSG:4326.")
    if dataset.nodata not in (None, NODATA, NO_DEPTH):
        raise _unlike(name, f"Its value for no data: {dataset.nodata:g}; expected {NODATA}.")
    side = int(dataset.width)
    if side != dataset.height:
        raise _unlike(name, f"It has {side} x {dataset.height} pixels; expected a square of one degree.")
    width, skew_x, west, skew_y, height, north = tuple(dataset.transform)[:6]
    pixel, slack = 1 / side, _SLACK_PIXELS / side
    # An error of a pixel's size adds up along the side.
    if skew_x or skew_y or abs(width - pixel) > slack / side or abs(height + pixel) > slack / side:
        raise _unlike(
            name, f"Its {side} pixels are {width:.9g} x {-height:.9g} degrees; expected {pixel:.9g}, north up."
        )
    for shift in (0.0, 0.5):
        if (
            abs(west - (corner.west - shift * pixel)) < slack
            and abs(north - (corner.south + 1 + shift * pixel)) < slack
        ):
            _check_whole(dataset, file)
            return Raster(side, shift)
    raise _unlike(
        name,
        f"Its north-west corner: longitude {west:.9g}, latitude {north:.9g}; expected {corner.west}, "
        f"{corner.south + 1}, or half a pixel further north and west.",
    )


def _check_whole(dataset: "DatasetReader", file: DropFile) -> None:
    rows, columns = dataset.block_shapes[0]
    for down in range(math.ceil(dataset.height / rows)):
        for across in range(math.ceil(dataset.width / columns)):
            # A block that was never written has no offset: it is no data.
            where = dataset.get_tag_item(f"BLOCK_OFFSET_{across}_{down}", "TIFF", bidx=1)
            size = dataset.get_tag_item(f"BLOCK_SIZE_{across}_{down}", "TIFF", bidx=1)
            if where is not None and size is not None and int(where) + int(size) > file.bytes:
                raise UnreadableFile(
                    f"'{file.path}' is truncated: it has {file.bytes:,} bytes, and its pixels reach to "
                    f"{int(where) + int(size):,}.",
                    hint="Copy it into the drop folder again.",
                    field="source_url",
                )


def _unlike(name: str, what: str) -> VerificationFailed:
    return VerificationFailed(
        f"'{name}' is not what its name says. {what}",
        hint="Copy it into the drop folder again, or leave it out of it.",
        field="source_url",
    )
