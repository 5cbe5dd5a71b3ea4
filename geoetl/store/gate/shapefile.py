"""Shapefiles: whether all of their parts are whole, and in which encoding their text is."""

from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from geoetl.core.errors import OutsideAllowedRoots, UnreadableFile
from geoetl.store.gate.places import Places

# Of .shp and .shx; all that the check reads.
_HEADER_BYTES = 100
# Before each record of a .shp: its number and its length.
_RECORD_HEADER_BYTES = 8
# Language bytes that stand for Windows' Western code page.
_LATIN_LANGUAGES = frozenset({0x03, 0x57, 0x58, 0x59})
# The dBase flag byte at offset 29 that names a code page; 0 means "not said".
_DBF_LANGUAGE_OFFSET = 29
# Bytes of the attributes that are looked at to tell their encoding.
_SAMPLE_BYTES = 64 * 1024**2
# C1 control characters in ISO 8859-1 are letters and quotation marks in Windows' code page.
_ONLY_IN_CP1252 = frozenset(range(0x80, 0xA0))


@dataclass(frozen=True)
class Part:
    """One file of a Shapefile: its path, its size and its first bytes."""

    path: Path
    size: int
    head: bytes

    @classmethod
    def of_file(cls, path: Path) -> "Part":
        """Look at a file."""
        with path.open("rb") as file:
            return cls(path, path.stat().st_size, file.read(_HEADER_BYTES))


def parts_of(path: Path, places: Places) -> dict[str, Part]:
    """Return the parts of a Shapefile by their suffix in lower case; GDAL takes them in any.

    Raises:
        OutsideAllowedRoots: One is a link that leads out.
    """
    parts = {}
    for beside in path.parent.glob(f"{escape(path.stem)}.*"):
        if not beside.is_file():
            continue
        if beside.is_symlink() and not places.allows(beside.resolve()):
            raise OutsideAllowedRoots(
                f"'{beside.name}' beside '{path.name}' is a link to outside the folders that may be read.",
                hint="Copy what it leads to beside it.",
                field="source",
            )
        parts[beside.suffix.lower()] = Part.of_file(beside)
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


def missing_code_page(parts: Mapping[str, Part]) -> str | None:
    """Return the encoding of a Shapefile that does not say it or says a wrong one; None where it is right as it stands.

    GDAL takes ISO-8859-1 when there is neither a .cpg nor a language byte, which garbles others. Text that decodes as
    UTF-8 and is not plain ASCII is UTF-8 beyond reasonable doubt, also where the language byte says Latin-1, which many
    programs write whatever they do; what is neither mostly comes from Windows. A .cpg is believed.
    """
    table = parts[".dbf"]
    if ".cpg" in parts or len(table.head) <= _DBF_LANGUAGE_OFFSET:
        return None
    language = table.head[_DBF_LANGUAGE_OFFSET]
    if language not in (0, *_LATIN_LANGUAGES):
        return None
    with table.path.open("rb") as file:
        file.seek(int.from_bytes(table.head[8:10], "little"))
        records = file.read(_SAMPLE_BYTES)
    if language and records.isascii():
        return None
    try:
        records.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and len(records) == _SAMPLE_BYTES
        if not is_cut:
            if language:
                return None
            return "CP1252" if _ONLY_IN_CP1252 & set(records) else "ISO-8859-1"
    return "UTF-8"


def rebuilt_index(shapes: Path) -> bytes:
    """Return the .shx that belongs to a .shp: where each of its records begins, and how long it is.

    Source: ESRI Shapefile Technical Description (July 1998), pages 4, 5 and 24; lengths count 16-bit words.

    Raises:
        UnreadableFile: A record ends beyond the file.
    """
    entries = bytearray()
    with shapes.open("rb") as file:
        head = bytearray(file.read(_HEADER_BYTES))
        size = shapes.stat().st_size
        at = _HEADER_BYTES
        while at + _RECORD_HEADER_BYTES <= size:
            file.seek(at)
            words = int.from_bytes(file.read(_RECORD_HEADER_BYTES)[4:8], "big")
            end = at + _RECORD_HEADER_BYTES + 2 * words
            if words < 2 or end > size:
                break
            entries += (at // 2).to_bytes(4, "big") + words.to_bytes(4, "big")
            at = end
    if at != size or len(head) < _HEADER_BYTES:
        raise UnreadableFile(
            f"The Shapefile '{shapes.name}' has no .shx, and its records end at byte {at} of {size}.",
            hint="Fetch all of its parts (.shp, .shx, .dbf, .prj) again and compare their checksums.",
            field="source",
        )
    head[24:28] = ((_HEADER_BYTES + len(entries)) // 2).to_bytes(4, "big")
    return bytes(head + entries)
