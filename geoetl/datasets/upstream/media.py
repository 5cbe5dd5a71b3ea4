"""What a download should be, told by its first and last bytes; what the server says of its type is not believed."""

from enum import StrEnum
from pathlib import Path

from geoetl.core.errors import UnreadableFile
from geoetl.store.gate import HEAD_BYTES, Format
from geoetl.store.gate.formats import format_of

# A zip ends in a record of 22 bytes and a comment of at most 65,535 (APPNOTE 4.3.16).
_ZIP_END_BYTES = 22 + 65_535
_TEXT_BYTES = 4096


class Media(StrEnum):
    """What a download should be."""

    ZIP = "zip archive"
    GEOJSON = "GeoJSON"
    JSON = "JSON"
    CSV = "CSV"
    GEOTIFF = "GeoTIFF"
    GEOPACKAGE = "GeoPackage"
    FLATGEOBUF = "FlatGeobuf"
    PARQUET = "Parquet"
    NETCDF = "NetCDF"
    ANY = "file"


_FORMATS: dict[Media, frozenset[Format]] = {
    Media.ZIP: frozenset({Format.ZIP}),
    Media.GEOJSON: frozenset({Format.JSON}),
    Media.JSON: frozenset({Format.JSON}),
    Media.CSV: frozenset({Format.UNKNOWN}),
    Media.GEOTIFF: frozenset({Format.GEOTIFF}),
    Media.GEOPACKAGE: frozenset({Format.GEOPACKAGE}),
    Media.FLATGEOBUF: frozenset({Format.FLATGEOBUF}),
    Media.PARQUET: frozenset({Format.PARQUET}),
    Media.NETCDF: frozenset({Format.HDF5, Format.NETCDF3}),
    Media.ANY: frozenset(Format) - {Format.HTML, Format.EMPTY},
}


def check_head(head: bytes, media: Media, shown: str) -> None:
    """Check by its first bytes that a file is what was expected.

    Args:
        head: The first 512 bytes or more; all, of a smaller file.
        media: What it should be.
        shown: The address that it comes from, for the message.

    Raises:
        UnreadableFile: It is something else.
    """
    found = format_of(head[:HEAD_BYTES])
    is_text = media is not Media.CSV or b"\0" not in head[:_TEXT_BYTES]
    if found in _FORMATS[media] and is_text:
        return
    if found is Format.EMPTY:
        came = "sent nothing (0 bytes)"
    elif found is Format.HTML:
        came = "sent a web page (HTML)"
    else:
        came = f"sent {'something' if found is Format.UNKNOWN else found}"
    raise UnreadableFile(
        f"{shown} {came} and not a {media}." if media is not Media.ANY else f"{shown} {came} and not a file.",
        hint="It may be a page to sign in or of an error; open the address in a browser to see.",
        field="source_url",
    )


def is_cut(path: Path, media: Media) -> bool:
    """Tell whether the end of a file is missing, for kinds whose end can be recognised."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(100)
        file.seek(max(0, size - _ZIP_END_BYTES))
        tail = file.read()
    match media:
        case Media.ZIP:
            return b"PK\x05\x06" not in tail
        case Media.JSON | Media.GEOJSON:
            return not tail.rstrip().endswith((b"}", b"]"))
        case Media.PARQUET:
            return not tail.endswith(b"PAR1")
        case Media.GEOPACKAGE:
            # SQLite file format 1.3.2 and 1.3.7; a page size of 1 means 65,536, and 0 pages that nobody counted.
            page, pages = int.from_bytes(head[16:18]), int.from_bytes(head[28:32])
            return size < (65_536 if page == 1 else page) * pages
    return False
