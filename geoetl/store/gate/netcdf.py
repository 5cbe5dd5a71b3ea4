"""NetCDF: its container opened as HDF5, or all of it as a lazy Dataset."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import OutsideAllowedRoots, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.budget import check_array
from geoetl.store.gate.formats import DAMAGE, Format, check_netcdf, file_format, first_line, wrong_format
from geoetl.store.remote import RemoteFile, RemoteReader, SourcePath, stamp_of

if TYPE_CHECKING:
    import h5py
    import xarray as xr


def open_netcdf(path: Path, limits: LimitSettings, **options: Any) -> "xr.Dataset":
    """See `Gate.open_netcdf`."""
    import xarray as xr

    found = check_netcdf(path)
    engine = "h5netcdf" if found is Format.HDF5 else "scipy"
    if found is Format.HDF5:
        with open_hdf5(path, limits):
            pass  # what it leads to is looked at there
    try:
        return xr.open_dataset(path, engine=engine, **options)
    except DAMAGE as error:
        # SyntaxError: scipy hands the types of a damaged header to NumPy as text, which parses it.
        reason = (str(error).splitlines() or [""])[0][:120]
        raise UnreadableFile(
            f"'{path.name}' is {found} but cannot be opened ({type(error).__name__}: {reason}).",
            hint="It may be truncated (compare its checksum), or its time units or calendar may not follow CF.",
            field="source",
        ) from None


@contextmanager
def open_hdf5(path: SourcePath | RemoteReader, limits: LimitSettings) -> "Iterator[h5py.File]":
    """See `Gate.open_hdf5`."""
    import h5py

    opened = RemoteReader(path) if isinstance(path, RemoteFile) else path
    path = opened.file if isinstance(opened, RemoteReader) else opened
    found = file_format(opened)
    if found is not Format.HDF5:
        raise wrong_format(path, found, "NetCDF-4", [Format.HDF5])
    try:
        file = h5py.File(opened, "r")
    except DAMAGE:
        raise UnreadableFile(
            f"'{path.name}' begins like {found} but cannot be opened ({stamp_of(path).bytes} bytes are there).",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None
    with file:
        _check_whole(file, path.name, limits)
        yield file


def _check_whole(file: "h5py.File", name: str, limits: LimitSettings) -> None:
    """Refuse a file that draws on others, which HDF5 would follow to anywhere, and arrays of more than the limits.

    Raises:
        LimitExceeded: An array or one of its chunks declares more.
        OutsideAllowedRoots: It has a link to another file, or an array that is stored in one.
        UnreadableFile: It is damaged.
    """
    import h5py

    leads: list[str] = []

    def link(key: bytes, info: Any) -> None:
        if info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            leads.append(f"the link '{key.decode('utf-8', 'replace')}' leads to another file")

    def thing(key: bytes, info: Any) -> None:
        if info.type == h5py.h5o.TYPE_DATASET:
            array = h5py.h5d.open(file.id, key)
            creation = array.get_create_plist()
            is_chunked = creation.get_layout() == h5py.h5d.CHUNKED
            shape: tuple[int, ...] = array.shape or ()  # None for an empty array
            check_array(
                key.decode("utf-8", "replace"),
                name,
                limits,
                shape,
                creation.get_chunk() if is_chunked else (),
                array.get_type().get_size(),
                is_axis=len(shape) == 1 and shape[0] > limits.axis_values and _is_coordinate(array),
            )
            if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count() > 0:
                leads.append(f"the array '{key.decode('utf-8', 'replace')}' is stored in other files")

    try:
        file.id.links.visit(link, info=True)
        if not leads:
            h5py.h5o.visit(file.id, thing, info=True)
    except DAMAGE as error:
        raise UnreadableFile(
            f"'{name}' is damaged: {first_line(error)}",
            hint="The file is probably truncated; fetch it again and compare its checksum.",
            field="source",
        ) from None
    if leads:
        raise OutsideAllowedRoots(
            f"'{name}' does not hold all of its content: {leads[0]}.",
            hint="Copy everything into one file, for example with h5repack or nccopy.",
            field="source",
        )


def _is_coordinate(array: "h5py.h5d.DatasetID") -> bool:
    """Tell whether a dataset of HDF5 is a coordinate variable, not only the length of a dimension.

    Source: NetCDF-4 file format, "Dimensions"; HDF5 dimension scales.
    """
    import h5py

    attributes = h5py.Dataset(array).attrs
    name = attributes.get("NAME", b"")
    plain = name if isinstance(name, bytes) else str(name).encode()
    return "CLASS" in attributes and not plain.startswith(b"This is a netCDF dimension but not a netCDF variable")
