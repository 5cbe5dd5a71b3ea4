"""NetCDF: its container opened as HDF5, or all of it as a lazy Dataset."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import OutsideAllowedRoots, UnreadableFile
from geoetl.store.gate.formats import Format, check_netcdf, file_format, first_line, wrong_format
from geoetl.store.remote import RemoteFile, RemoteReader, SourcePath, stamp_of

if TYPE_CHECKING:
    import h5py
    import xarray as xr


def open_netcdf(path: Path, **options: Any) -> "xr.Dataset":
    """See `Gate.open_netcdf`."""
    import xarray as xr

    found = check_netcdf(path)
    engine = "h5netcdf" if found is Format.HDF5 else "scipy"
    if found is Format.HDF5:
        with open_hdf5(path):
            pass  # what it leads to is looked at there
    try:
        return xr.open_dataset(path, engine=engine, **options)
    except (LookupError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError) as error:
        # SyntaxError: scipy hands the types of a damaged header to NumPy as text, which parses it.
        reason = (str(error).splitlines() or [""])[0][:120]
        raise UnreadableFile(
            f"'{path.name}' is {found} but cannot be opened ({type(error).__name__}: {reason}).",
            hint="It may be truncated (compare its checksum), or its time units or calendar may not follow CF.",
            field="source",
        ) from None


@contextmanager
def open_hdf5(path: SourcePath | RemoteReader) -> "Iterator[h5py.File]":
    """See `Gate.open_hdf5`."""
    import h5py

    opened = RemoteReader(path) if isinstance(path, RemoteFile) else path
    path = opened.file if isinstance(opened, RemoteReader) else opened
    found = file_format(opened)
    if found is not Format.HDF5:
        raise wrong_format(path, found, "NetCDF-4", [Format.HDF5])
    try:
        file = h5py.File(opened, "r")
    except OSError:
        raise UnreadableFile(
            f"'{path.name}' begins like {found} but cannot be opened ({stamp_of(path).bytes} bytes are there).",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None
    with file:
        _check_whole(file, path.name)
        yield file


def _check_whole(file: "h5py.File", name: str) -> None:
    """Refuse a file that draws on others, which HDF5 would follow to anywhere.

    Raises:
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
            creation = h5py.h5d.open(file.id, key).get_create_plist()
            if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count() > 0:
                leads.append(f"the array '{key.decode('utf-8', 'replace')}' is stored in other files")

    try:
        file.id.links.visit(link, info=True)
        if not leads:
            h5py.h5o.visit(file.id, thing, info=True)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
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
