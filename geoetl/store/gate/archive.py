"""Zip archives: looked at as a whole before anything is unpacked, then unpacked by the byte.

What an archive says of itself may be forged: its directory is counted before it is read, every name is looked at, and
while a member is unpacked the bytes that really come are counted.
"""

import re
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from geoetl.core.errors import (
    Conflict,
    FormatNotAllowed,
    InvalidParameter,
    LimitExceeded,
    NotFound,
    UnreadableFile,
)
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.formats import GIB

_VECTOR_SUFFIXES = (
    ".shp", ".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".fgb", ".kml", ".csv", ".tsv",
)  # fmt: skip
# Beside a dataset of another kind they are its description.
_SIDE_SUFFIXES = (".json", ".csv", ".tsv")
# What a KMZ shows first (OGC 12-007r2, annex C).
_MAIN_OF_KMZ = "doc.kml"
# Not looked into: a dataset lies in the archive itself.
_ARCHIVE_SUFFIXES = (".zip", ".kmz", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".tar", ".7z", ".rar")
# End of central directory, its largest comment, and where its fields are (APPNOTE 6.3.10, section 4.3.16).
_END = b"PK\x05\x06"
_END_BYTES, _LARGEST_COMMENT = 22, 65_535
_DIRECTORY_ENTRY = b"PK\x01\x02"
_ZIP64_LOCATOR, _ZIP64_END = b"PK\x06\x07", b"PK\x06\x06"
# Bytes of the directory for each member that is allowed: an entry takes 46, its name and extra fields the rest.
_DIRECTORY_BYTES_PER_MEMBER = 1024
# Of a local header without name and extra field.
_LOCAL_HEADER_BYTES = 30
_PIECE_BYTES = 1024**2
_LISTED = 8
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


@contextmanager
def unpacked_vector(path: Path, limits: LimitSettings, layer: str | None = None) -> Iterator[tuple[Path, str, bool]]:
    """Unpack one dataset of an archive into a folder that is removed afterwards.

    Args:
        path: The archive.
        limits: What is refused.
        layer: Which dataset, where there are several: the name of its member, with or without folder and suffix.

    Yields:
        Its file, the name of its member, and whether `layer` was what chose it.

    Raises:
        UnreadableFile: The archive is damaged, or holds no dataset.
        InvalidParameter: It holds several, and `layer` is none of them.
        FormatNotAllowed: A member has a name that leads out, is a link, comes twice, or is an archive itself.
        LimitExceeded: It has too many members, or unpacks too large, by what it says or in fact.
    """
    member, is_chosen = vector_member(path, limits, layer)
    with tempfile.TemporaryDirectory(prefix="geoetl-") as folder, _opened(path) as archive:
        stem = member.rpartition(".")[0].lower()
        is_shapefile = member.lower().endswith(".shp")
        budget = int(limits.archive_gib * GIB)
        target = Path(folder) / plain_name(PurePosixPath(member).name)
        for info in archive.infolist():
            beside = is_shapefile and info.filename.rpartition(".")[0].lower() == stem and not info.is_dir()
            if info.filename != member and not beside:
                continue
            suffix = PurePosixPath(info.filename).suffix
            part = target if info.filename == member else target.with_suffix(suffix.lower())
            budget -= _unpack(archive, info, part, budget, path, limits)
        yield target, member, is_chosen


def vector_member(path: Path, limits: LimitSettings, layer: str | None = None) -> tuple[str, bool]:
    """Return the name of the dataset in an archive, and whether `layer` chose it among several.

    Raises:
        UnreadableFile, InvalidParameter, FormatNotAllowed, LimitExceeded: See `unpacked_vector`.
    """
    members = [info for info in members_of(path, limits) if not info.is_dir()]
    names = [info.filename for info in members if _is_dataset(PurePosixPath(info.filename))]
    if any(not name.lower().endswith(_SIDE_SUFFIXES) for name in names):
        names = [name for name in names if not name.lower().endswith(_SIDE_SUFFIXES)]
    if not names:
        raise UnreadableFile(
            f"The archive '{path.name}' holds no Shapefile, GeoPackage, GeoJSON, FlatGeobuf, KML or CSV.",
            hint=f"It holds: {_listed([info.filename for info in members]) or 'nothing'}.",
            field="source",
        )
    if len(names) == 1:
        return names[0], False
    called = [name for name in names if layer in _names_of(name)] if layer else []
    if len(called) == 1:
        return called[0], True
    if not layer and all(name.lower().endswith(".kml") for name in names) and _MAIN_OF_KMZ in names:
        return _MAIN_OF_KMZ, False
    raise InvalidParameter(
        f"The archive '{path.name}' holds {len(names)} datasets: {_listed(names)}."
        if not layer
        else f"'{_shown(layer)}' names {len(called) or 'none'} of the {len(names)} datasets in '{path.name}': "
        f"{_listed(names)}.",
        hint=f"Name one with the parameter layer, for example layer={_shown(PurePosixPath(names[0]).stem)}.",
        field="layer",
    )


def _names_of(member: str) -> set[str]:
    """Return what a member may be called by."""
    path = PurePosixPath(member)
    return {member, str(path.with_suffix("")), path.name, path.stem}


def unpack_member(
    path: Path, name: str, target: Path, limits: LimitSettings, *, with_archives: bool = False, most: int | None = None
) -> int:
    """Write one member of an archive to a new file, whose name the caller chooses, and return its size in bytes.

    An archive inside is written as it is; whoever opens it looks at it as at any other.

    Args:
        path: The archive.
        name: Of the member.
        target: The file; there must be none.
        limits: What is refused.
        with_archives: Whether members may be archives.
        most: It may have so many bytes; by default as many as an archive may unpack to.

    Raises:
        NotFound: There is no such member.
        UnreadableFile, FormatNotAllowed, LimitExceeded: See `unpacked_vector`; nothing is left of the file.
    """
    found = [info for info in members_of(path, limits, with_archives=with_archives) if info.filename == name]
    if not found or found[0].is_dir():
        raise NotFound(f"'{path.name}' has no member '{_shown(name)}'.", hint="Look at what it holds.", field="source")
    budget = int(limits.archive_gib * GIB) if most is None else most
    if found[0].file_size > budget:
        raise LimitExceeded(
            f"The member '{_shown(name)}' of '{path.name}' has {found[0].file_size:,} bytes; the limit is {budget:,}.",
            hint="Look whether it is the file that it should be.",
            field="source",
        )
    if target.exists():
        raise Conflict(f"There is a file '{target.name}' already.", hint="Remove it, or choose another name.")
    try:
        with _opened(path) as archive:
            return _unpack(archive, found[0], target, budget, path, limits)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def members_of(path: Path, limits: LimitSettings, *, with_archives: bool = False) -> list[zipfile.ZipInfo]:
    """Return the members of an archive, none of which leads out of it.

    Args:
        path: The archive.
        limits: What is refused.
        with_archives: Whether members may be archives themselves; they are not looked into.

    Raises:
        UnreadableFile, FormatNotAllowed, LimitExceeded: See `unpacked_vector`.
    """
    _check_count(_directory_entries(path, limits), path, limits)
    with _opened(path) as archive:
        members = archive.infolist()
        start_of_directory = archive.start_dir
    _check_count(len(members), path, limits)
    size = sum(info.file_size for info in members)
    if size > limits.archive_gib * GIB:
        raise _too_large(path, f"{size / GIB:.1f} GiB", limits)
    _check_names(members, path, with_archives)
    _check_overlap(members, start_of_directory, path)
    return members


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE:
        raise UnreadableFile(
            f"'{path.name}' is not a complete zip archive ({path.stat().st_size} bytes are there).",
            hint="Fetch it again and compare its checksum.",
            field="source",
        ) from None
    with archive:
        yield archive


def _directory_entries(path: Path, limits: LimitSettings) -> int:
    """Count the entries of an archive's directory without making anything of them; 0 where there is none to be found.

    Raises:
        LimitExceeded: The directory has more bytes than the members that are allowed take.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES - _LARGEST_COMMENT))
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < _END_BYTES:
            return 0
        length, offset = struct.unpack_from("<II", tail, at + 12)
        if length == 0xFFFFFFFF or offset == 0xFFFFFFFF:
            length, offset = _of_zip64(file, tail, at)
        if length > limits.archive_members * _DIRECTORY_BYTES_PER_MEMBER:
            raise LimitExceeded(
                f"The directory of '{path.name}' has {length:,} bytes; that of {limits.archive_members:,} members, "
                "which is the limit, has fewer.",
                hint="Unpack it and give the file itself.",
                field="source",
            )
        # Something may stand before the archive: the directory lies right before its end.
        end = max(0, size - len(tail)) + at
        file.seek(max(0, min(offset, end - length) if end >= length else 0))
        return file.read(length + _END_BYTES).count(_DIRECTORY_ENTRY)


def _of_zip64(file: IO[bytes], tail: bytes, at: int) -> tuple[int, int]:
    locator = tail[at - 20 : at]
    if at < 20 or not locator.startswith(_ZIP64_LOCATOR):
        return 0, 0
    file.seek(struct.unpack_from("<Q", locator, 8)[0])
    record = file.read(56)
    if len(record) < 56 or not record.startswith(_ZIP64_END):
        return 0, 0
    length, offset = struct.unpack_from("<QQ", record, 40)
    return length, offset


def _check_count(count: int, path: Path, limits: LimitSettings) -> None:
    if count > limits.archive_members:
        raise LimitExceeded(
            f"'{path.name}' has {count:,} members; the limit is {limits.archive_members:,}.",
            hint="Unpack it and give the file itself.",
            field="source",
        )


def _check_names(members: Sequence[zipfile.ZipInfo], path: Path, with_archives: bool) -> None:
    """Refuse names that lead out of the folder that they are unpacked into, or that two members share."""
    seen: dict[str, str] = {}
    for info in members:
        name = info.filename
        reason = _refused(info, with_archives)
        if reason:
            raise FormatNotAllowed(
                f"The member '{_shown(name)}' of '{path.name}' {reason}.",
                hint="Pack it again with relative names, without links and without archives inside.",
                field="source",
            )
        same = unicodedata.normalize("NFC", name).casefold().rstrip("/")
        if same in seen:
            raise FormatNotAllowed(
                f"The members '{_shown(seen[same])}' and '{_shown(name)}' of '{path.name}' would be one file.",
                hint="Pack it again with names that differ by more than case.",
                field="source",
            )
        seen[same] = name


def _refused(info: zipfile.ZipInfo, with_archives: bool) -> str:
    """Return why a member is refused; empty for one that is not."""
    # Python shortens a name at its first NUL: `orig_filename` is what stands in the file.
    for name in (info.filename, info.orig_filename):
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
            return "leads out of the archive"
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in name):
            return "has signs in its name that no file name has"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if stat.S_ISLNK(mode) else "is no file"
    if info.filename.lower().endswith(_ARCHIVE_SUFFIXES) and not with_archives:
        return "is an archive itself"
    # Python unpacks other kinds in pieces of any size.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is neither stored nor deflated"
    if info.flag_bits & 1:
        return "is encrypted"
    return ""


def _check_overlap(members: Sequence[zipfile.ZipInfo], start_of_directory: int, path: Path) -> None:
    """Refuse members that share bytes: a small archive of those unpacks to any size (D. Fifield, 2019)."""
    ordered = sorted(members, key=lambda info: info.header_offset)
    ends = [info.header_offset for info in ordered[1:]] + [start_of_directory]
    for info, end in zip(ordered, ends, strict=False):
        if info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size > end:
            raise FormatNotAllowed(
                f"The member '{_shown(info.filename)}' of '{path.name}' overlaps with what follows.",
                hint="Do not use an archive of this origin.",
                field="source",
            )


def _unpack(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, budget: int, path: Path, limits: LimitSettings
) -> int:
    """Write a member to a new file and return how many bytes it has; its checksum is compared at its end."""
    # It ends where its directory entry says, however much comes: that may be more than was said.
    written = 0
    try:
        with archive.open(info) as member, target.open("xb") as file:
            while piece := member.read(_PIECE_BYTES):
                written += len(piece)
                if written > budget:
                    raise _too_large(path, f"more than {limits.archive_gib:g} GiB", limits)
                file.write(piece)
    except _DAMAGE:
        raise UnreadableFile(
            f"The member '{_shown(info.filename)}' of '{path.name}' is damaged.",
            hint="Fetch the archive again and compare its checksum.",
            field="source",
        ) from None
    if written != info.file_size:
        raise UnreadableFile(
            f"The member '{_shown(info.filename)}' of '{path.name}' has {written} of {info.file_size} bytes.",
            hint="Fetch the archive again and compare its checksum.",
            field="source",
        )
    return written


def _too_large(path: Path, size: str, limits: LimitSettings) -> LimitExceeded:
    return LimitExceeded(
        f"'{path.name}' unpacks to {size}; the limit is {limits.archive_gib:g} GiB.",
        hint="Unpack it and give the file itself, or raise GEOETL_LIMITS__ARCHIVE_GIB.",
        field="source",
    )


def _is_dataset(member: PurePosixPath) -> bool:
    # macOS packs a shadow of each file.
    return (
        member.suffix.lower() in _VECTOR_SUFFIXES and member.parts[0] != "__MACOSX" and not member.name.startswith("._")
    )


def plain_name(name: str) -> str:
    """Return a file name that no library takes for anything but that; the layer is called so."""
    stem, dot, suffix = name.rpartition(".")
    return f"{re.sub(r'[^\w .()+-]', '_', stem)[:80].strip('. ') or 'layer'}{dot}{suffix.lower()}"


def _shown(name: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in name)[:80]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(_shown(name) for name in names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
