"""Shapefiles: whether all of their parts are whole, and in which encoding their text is."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geoetl.core.errors import UnreadableFile

# Of .shp and .shx; all that the check reads.
_HEADER_BYTES = 100
# The dBase flag byte at offset 29 that names a code page; 0 means "not said".
_DBF_LANGUAGE_OFFSET = 29


@dataclass(frozen=True)
class Part:
    """One file of a Shapefile: its size and its first bytes."""

    size: int
    head: bytes

    @classmethod
    def of_file(cls, path: Path) -> "Part":
        with path.open("rb") as file:
            return cls(path.stat().st_size, file.read(_HEADER_BYTES))


def parts_in_archive(path: Path, member: str) -> dict[str, Part]:
    stem = member[: -len(".shp")].lower()
    parts = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.lower()
                if name.rpartition(".")[0] == stem:
                    with archive.open(info) as file:
                        parts[PurePosixPath(name).suffix] = Part(info.file_size, file.read(_HEADER_BYTES))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError):
        raise UnreadableFile(
            f"The member '{member}' of '{path.name}' is damaged.",
            hint="Fetch the archive again and compare its checksum.",
            field="source",
        ) from None
    return parts


def check_shapefile(name: str, parts: Mapping[str, Part]) -> None:
    """Compare what the parts of a Shapefile say of their lengths: GDAL reads as far as it gets and says nothing.

    Source: ESRI Shapefile Technical Description (July 1998), pages 4 and 24; dBASE III file header.
    """

    def damaged(what: str) -> UnreadableFile:
        return UnreadableFile(
            f"The Shapefile '{name}' is not whole: {what}.",
            hint="Fetch all of its parts (.shp, .shx, .dbf, .prj) again and compare their checksums.",
            field="source",
        )

    for suffix in (".shx", ".dbf"):
        if suffix not in parts:
            raise damaged(f"its {suffix} is missing")
    shapes, index, table = parts[".shp"], parts[".shx"], parts[".dbf"]
    for suffix, part in ((".shp", shapes), (".shx", index)):
        declared = 2 * int.from_bytes(part.head[24:28], "big")
        if part.size < declared:
            raise damaged(f"its {suffix} has {part.size} of {declared} bytes")
    records, header, width = (int.from_bytes(table.head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    if table.size < header + records * width:
        raise damaged(f"its .dbf has {table.size} of {header + records * width} bytes")
    shapes_count = (index.size - _HEADER_BYTES) // 8
    if shapes_count != records:
        raise damaged(f"it has {shapes_count} shapes and {records} rows of attributes")


def missing_code_page(path: Path, member: str) -> str | None:
    """Return the encoding of a zipped Shapefile that does not say it, or None where it does.

    GDAL takes ISO-8859-1 when there is neither a .cpg nor a language byte, which garbles UTF-8; text that decodes as
    UTF-8 and is not plain ASCII is UTF-8 beyond reasonable doubt.
    """
    stem = member[: -len(".shp")]
    with zipfile.ZipFile(path) as archive:
        by_lower_name = {name.lower(): name for name in archive.namelist()}
        table = by_lower_name.get(f"{stem.lower()}.dbf")
        if f"{stem.lower()}.cpg" in by_lower_name or table is None:
            return None
        with archive.open(table) as file:
            content = file.read()
    if len(content) > _DBF_LANGUAGE_OFFSET and content[_DBF_LANGUAGE_OFFSET] != 0:
        return None
    records = content[int.from_bytes(content[8:10], "little") :]
    try:
        records.decode("utf-8")
    except UnicodeDecodeError:
        return "ISO-8859-1"
    return "UTF-8"
