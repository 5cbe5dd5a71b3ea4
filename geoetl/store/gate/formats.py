"""What a file is, told by its first bytes; and the one driver that opens each format."""

import re
import struct
import zlib
from collections.abc import Mapping
from enum import StrEnum

from geoetl.core.errors import FormatNotAllowed, UnreadableFile
from geoetl.store.remote import RemoteFile, RemoteReader, SourcePath

# Enough of a file to tell its format by.
HEAD_BYTES = 512
GIB = 1024**3
# What libraries raise where a file is not what its header says. MemoryError: sizes in damaged headers are any numbers.
DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class Format(StrEnum):
    """What a file is, by its first bytes."""

    GEOTIFF = "GeoTIFF"
    JPEG2000 = "JPEG 2000"
    PNG = "PNG"
    JPEG = "JPEG"
    HDF5 = "NetCDF-4/HDF5"
    NETCDF3 = "NetCDF-3"
    GEOPACKAGE = "GeoPackage"
    SQLITE = "SQLite"
    FLATGEOBUF = "FlatGeobuf"
    PARQUET = "Parquet"
    SHAPEFILE = "Shapefile"
    ZIP = "zip archive"
    SEVEN_ZIP = "7z archive"
    GZIP = "gzip archive"
    JSON = "JSON"
    HTML = "HTML page"
    KML = "KML"
    XML = "XML"
    CSV = "CSV"
    EMPTY = "empty file"
    UNKNOWN = "unknown format"


# The GDAL driver for each raster format; no other driver is ever tried.
RASTER_DRIVERS: Mapping[Format, str] = {
    Format.GEOTIFF: "GTiff",
    Format.JPEG2000: "JP2OpenJPEG",
    Format.PNG: "PNG",
    Format.JPEG: "JPEG",
}
VECTOR_FORMATS = frozenset(
    {
        Format.JSON,
        Format.GEOPACKAGE,
        Format.FLATGEOBUF,
        Format.SHAPEFILE,
        Format.ZIP,
        Format.PARQUET,
        Format.KML,
        Format.CSV,
    }
)


def first_line(error: Exception) -> str:
    """Return the beginning of what a library says of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def file_format(path: SourcePath | RemoteReader) -> Format:
    """Tell what a file is by its first bytes, whatever its name says."""
    if isinstance(path, RemoteReader):
        return format_of(path.read_at(0, min(HEAD_BYTES, path.size)))
    if isinstance(path, RemoteFile):
        return format_of(path.read(0, min(HEAD_BYTES, path.size)))
    if path.exists() and not path.is_file():
        return Format.UNKNOWN  # a folder, or a pipe or device that one would wait for
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return format_of(head)


def format_of(head: bytes) -> Format:
    if not head:
        return Format.EMPTY
    for magic, found in _MAGIC.items():
        if head.startswith(magic):
            return found
    if head[4:8] == b"jP  ":
        return Format.JPEG2000
    if head.startswith(b"SQLite format 3\0"):
        return Format.GEOPACKAGE if head[68:72] in (b"GPKG", b"GP10", b"GP11") else Format.SQLITE
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Format.HTML
    if text.startswith(b"<"):
        return Format.KML if _KML.search(text) else Format.XML
    # RFC 8142 puts a record separator before each text of a sequence.
    return Format.JSON if text.startswith((b"{", b"[", b"\x1e")) else Format.UNKNOWN


_KML = re.compile(rb"<(?:[a-z]\w*:)?kml[\s>]")
_MAGIC: Mapping[bytes, Format] = {
    b"II*\0": Format.GEOTIFF,
    b"MM\0*": Format.GEOTIFF,
    b"II+\0": Format.GEOTIFF,
    b"MM\0+": Format.GEOTIFF,
    b"\x89PNG\r\n": Format.PNG,
    b"\xff\xd8\xff": Format.JPEG,
    b"\xff\x4f\xff\x51": Format.JPEG2000,
    b"\x89HDF\r\n\x1a\n": Format.HDF5,
    b"CDF\x01": Format.NETCDF3,
    b"CDF\x02": Format.NETCDF3,
    b"CDF\x05": Format.NETCDF3,
    b"fgb\x03": Format.FLATGEOBUF,
    b"PAR1": Format.PARQUET,
    b"\0\0\x27\x0a": Format.SHAPEFILE,
    b"PK\x03\x04": Format.ZIP,
    b"PK\x05\x06": Format.ZIP,
    b"7z\xbc\xaf\x27\x1c": Format.SEVEN_ZIP,
    b"\x1f\x8b\x08": Format.GZIP,
}


def check_netcdf(path: SourcePath | RemoteReader) -> Format:
    """Return ``HDF5`` or ``NETCDF3``.

    Raises:
        UnreadableFile: The file is empty or a web page.
        FormatNotAllowed: It is of another format.
    """
    found = file_format(path)
    if found not in (Format.HDF5, Format.NETCDF3):
        file = path.file if isinstance(path, RemoteReader) else path
        raise wrong_format(file, found, "NetCDF", [Format.HDF5, Format.NETCDF3])
    return found


def wrong_format(path: SourcePath, found: Format, wanted: str, allowed: list[str]) -> UnreadableFile | FormatNotAllowed:
    if found is Format.EMPTY:
        return UnreadableFile(
            f"'{path.name}' is empty (0 bytes).", hint="Fetch or export the file again.", field="source"
        )
    if found is Format.HTML:
        return UnreadableFile(
            f"'{path.name}' is a web page (HTML), not {wanted} data.",
            hint="The download probably gave a login or error page; open it in a browser to see.",
            field="source",
        )
    shown = (
        f"is of an unknown format, not {wanted} data" if found is Format.UNKNOWN else f"is {found}, not {wanted} data"
    )
    return FormatNotAllowed(f"'{path.name}' {shown}.", hint=f"Allowed are: {', '.join(allowed)}.", field="source")
