"""Rasters: opened by the driver of their own format, with nothing but what lies beside them and is harmless."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from geoetl.core.errors import FormatNotAllowed, LimitExceeded, OutsideAllowedRoots, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.declared import DeclaredSize, declared_size
from geoetl.store.gate.formats import GIB, RASTER_DRIVERS, Format, file_format, wrong_format
from geoetl.store.gate.places import Places

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# What GDAL opens by itself beside a raster, with any driver that fits: overviews and masks.
_SIDE_RASTERS = (".ovr", ".msk")
# Overviews in ERDAS Imagine's form, which may name further files.
_SIDE_IMAGINE = (".aux", ".rrd")
# GDAL looks for them in a list of the folder and takes any case; with more files than this it has no list, and takes
# all lower or all upper case (its GDAL_READDIR_LIMIT_ON_OPEN).
_LISTED_FILES = 1000
_IMAGINE_MAGIC = b"EHFA_HEADER_TAG"
# An overview file may have a mask beside it; there is no reason for more.
_SIDE_DEPTH = 2
# Most bands: the days of fifty years. Each costs memory when the file is opened, however small it is.
MAX_BANDS = 20_000
# PNG and JPEG are unpacked whole, whatever is wanted of them.
MAX_WHOLE_BYTES = GIB // 2
_UNPACKED_WHOLE = (Format.PNG, Format.JPEG)
_OUTSIDE_HINT = "Copy what it needs beside it, or write the raster anew without external parts."


@contextmanager
def open_raster(
    path: Path, places: Places, limits: LimitSettings, *, with_overviews: bool
) -> "Iterator[DatasetReader]":
    """See `Gate.open_raster`."""
    found = file_format(path)
    driver = RASTER_DRIVERS.get(found)
    if driver is None:
        raise wrong_format(path, found, "raster", [str(f) for f in RASTER_DRIVERS])
    declared = declared_size(path, found)
    if declared is not None:
        _check_size(declared, path, limits)
    _check_beside(path, places, _SIDE_DEPTH)
    with _opened(path, driver, found, with_overviews=with_overviews) as dataset:
        _check_overview_names(dataset, path)
        for used in dataset.files:
            if not places.allows(Path(used).resolve()):
                raise OutsideAllowedRoots(
                    f"'{path.name}' draws on a file outside the folders that may be read.",
                    hint=_OUTSIDE_HINT,
                    field="source",
                )
        _check_size(DeclaredSize(dataset.width, dataset.height, dataset.count), path, limits)
        _check_block(dataset, found, path, limits)
        yield dataset


def _opened(path: Path, driver: str, found: Format, *, with_overviews: bool) -> "DatasetReader":
    import rasterio
    from rasterio.errors import RasterioError, RasterioIOError

    try:
        options = {} if with_overviews else {"OVERVIEW_LEVEL": "NONE"}
        return rasterio.open(path, driver=driver, **options)
    except (RasterioIOError, RasterioError, MemoryError, OverflowError, UnicodeDecodeError, ValueError):
        raise UnreadableFile(
            f"'{path.name}' begins like a {found} but cannot be opened: {path.stat().st_size} bytes are there.",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None


def _check_overview_names(dataset: "DatasetReader", path: Path) -> None:
    """Refuse a raster that names a file for its overviews: GDAL opens it by any driver, at any address.

    It does so when it is asked which files the dataset has, so this has to be asked first.
    """
    if "OVERVIEW_FILE" in {name.upper() for name in dataset.tags(ns="OVERVIEWS")}:
        raise OutsideAllowedRoots(
            f"'{path.name}' names another file for its overviews.",
            hint=_OUTSIDE_HINT,
            field="source",
        )


def _check_beside(path: Path, places: Places, depth: int) -> None:
    """Look at the files beside a raster that GDAL opens by itself, before it does.

    Raises:
        OutsideAllowedRoots: One is a link that leads out.
        FormatNotAllowed: One is no GeoTIFF, such as a VRT.
    """
    imagine = [stem + suffix for stem in (path.name, path.stem) for suffix in _SIDE_IMAGINE]
    for beside in _beside(path, [path.name + suffix for suffix in _SIDE_RASTERS] + imagine):
        if beside.suffix.lower() in _SIDE_RASTERS:
            _check_side_raster(beside, path, places, depth)
        elif beside.is_file() and _starts_with(beside, _IMAGINE_MAGIC):
            raise FormatNotAllowed(
                f"'{beside.name}' beside '{path.name}' is ERDAS Imagine, which may name other files.",
                hint="Remove it; overviews are made anew.",
                field="source",
            )


def _beside(path: Path, wanted: list[str]) -> list[Path]:
    """Return which files of these names, in any case, lie beside a file."""
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in islice(entries, _LISTED_FILES + 1)]
    if len(names) > _LISTED_FILES:
        names = [
            f"{name.removesuffix(suffix)}{case}"
            for name in wanted
            for suffix in [Path(name).suffix]
            for case in (suffix, suffix.upper())
        ]
    lowered = {name.lower() for name in wanted}
    found = [path.with_name(name) for name in names if name.lower() in lowered and name != path.name]
    return [beside for beside in found if os.path.lexists(beside)]


def _check_side_raster(beside: Path, path: Path, places: Places, depth: int) -> None:
    if not places.allows(beside.resolve()):
        raise OutsideAllowedRoots(
            f"'{beside.name}' beside '{path.name}' is a link to outside the folders that may be read.",
            hint=_OUTSIDE_HINT,
            field="source",
        )
    found = file_format(beside) if beside.is_file() else Format.UNKNOWN
    if found is not Format.GEOTIFF or depth == 0:
        raise FormatNotAllowed(
            f"'{beside.name}' beside '{path.name}' is {found}, not GeoTIFF.",
            hint="Remove it; overviews and masks are GeoTIFF themselves.",
            field="source",
        )
    _check_beside(beside, places, depth - 1)
    with _opened(beside, RASTER_DRIVERS[Format.GEOTIFF], found, with_overviews=False) as dataset:
        _check_overview_names(dataset, beside)


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _check_size(size: DeclaredSize, path: Path, limits: LimitSettings) -> None:
    """Refuse more pixels than the limit, or more bands."""
    if size.values > limits.raster_pixels:
        raise LimitExceeded(
            f"'{path.name}' declares {size.width} x {size.height} pixels in {size.bands} bands "
            f"({size.values:,} values); the limit is {limits.raster_pixels:,}.",
            hint="Cut the raster into tiles, or raise GEOETL_LIMITS__RASTER_PIXELS.",
            field="source",
        )
    if size.bands > MAX_BANDS:
        raise LimitExceeded(
            f"'{path.name}' declares {size.bands:,} bands; the limit is {MAX_BANDS:,}.",
            hint="Split the raster, or give it as NetCDF.",
            field="source",
        )


def _check_block(dataset: "DatasetReader", found: Format, path: Path, limits: LimitSettings) -> None:
    """Refuse blocks that are too large to unpack: one pixel costs a whole one."""
    import numpy as np
    from rasterio.enums import Interleaving

    if not dataset.count:
        return
    each = max(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    if found in _UNPACKED_WHOLE:
        limit, block = MAX_WHOLE_BYTES, dataset.width * dataset.height * dataset.count * each
    else:
        together = dataset.count if dataset.interleaving is Interleaving.pixel else 1
        limit = int(limits.chunk_gib * GIB)
        block = max(rows * columns for rows, columns in dataset.block_shapes) * each * together
    if block > limit:
        raise LimitExceeded(
            f"One block of '{path.name}' unpacks to {block / GIB:.2f} GiB; the limit is {limit / GIB:g} GiB.",
            hint="Write it anew in tiles, for example with gdal_translate -of COG.",
            field="source",
        )
