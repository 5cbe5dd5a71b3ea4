"""Rasters: opened by the driver of their own format."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from geoetl.core.errors import LimitExceeded, OutsideAllowedRoots, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.formats import RASTER_DRIVERS, file_format, wrong_format
from geoetl.store.gate.places import Places

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


@contextmanager
def open_raster(
    path: Path, places: Places, limits: LimitSettings, *, with_overviews: bool
) -> "Iterator[DatasetReader]":
    """See `Gate.open_raster`."""
    import rasterio
    from rasterio.errors import RasterioError, RasterioIOError

    found = file_format(path)
    driver = RASTER_DRIVERS.get(found)
    if driver is None:
        raise wrong_format(path, found, "raster", [str(f) for f in RASTER_DRIVERS])
    try:
        options = {} if with_overviews else {"OVERVIEW_LEVEL": "NONE"}
        dataset = rasterio.open(path, driver=driver, **options)
    except (RasterioIOError, RasterioError):
        raise UnreadableFile(
            f"'{path.name}' begins like a {found} but cannot be opened: {path.stat().st_size} bytes are there.",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None
    with dataset:
        for used in dataset.files:
            if not places.allows(Path(used).resolve()):
                raise OutsideAllowedRoots(
                    f"'{path.name}' draws on a file outside the folders that may be read.",
                    hint="Copy what it needs beside it, or write the raster anew without external parts.",
                    field="source",
                )
        pixels = dataset.width * dataset.height * dataset.count
        if pixels > limits.raster_pixels:
            raise LimitExceeded(
                f"'{path.name}' declares {dataset.width} x {dataset.height} pixels in {dataset.count} bands "
                f"({pixels:,} values); the limit is {limits.raster_pixels:,}.",
                hint="Cut the raster into tiles, or raise GEOETL_LIMITS__RASTER_PIXELS.",
                field="source",
            )
        yield dataset
