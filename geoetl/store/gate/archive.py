"""Archives: what is in them, looked at before anything of it is unpacked."""

import re
import zipfile
from pathlib import Path, PurePosixPath

from geoetl.core.errors import FormatNotAllowed, InvalidParameter, LimitExceeded, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.gate.formats import GIB

_VECTOR_SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb")


def vector_member(path: Path, limits: LimitSettings) -> str:
    members = [info for info in members_of(path, limits) if not info.is_dir()]
    names = [info.filename for info in members if _is_dataset(PurePosixPath(info.filename))]
    if any(not name.lower().endswith(".json") for name in names):
        names = [name for name in names if not name.lower().endswith(".json")]  # metadata beside the dataset
    if not names:
        raise UnreadableFile(
            f"The archive '{path.name}' holds no Shapefile, GeoPackage, GeoJSON or FlatGeobuf.",
            hint=f"It holds: {', '.join(info.filename for info in members[:8]) or 'nothing'}.",
            field="source",
        )
    if len(names) > 1:
        raise InvalidParameter(
            f"The archive '{path.name}' holds {len(names)} datasets: {', '.join(names[:8])}.",
            hint="Give an archive with one of them.",
            field="source",
        )
    return names[0]


def members_of(path: Path, limits: LimitSettings) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError):
        raise UnreadableFile(
            f"'{path.name}' is not a complete zip archive ({path.stat().st_size} bytes are there).",
            hint="Fetch it again and compare its checksum.",
            field="source",
        ) from None
    if len(members) > limits.archive_members:
        raise LimitExceeded(
            f"'{path.name}' has {len(members):,} members; the limit is {limits.archive_members:,}.",
            hint="Unpack it and give the file itself.",
            field="source",
        )
    size = sum(info.file_size for info in members)
    if size > limits.archive_gib * GIB:
        raise LimitExceeded(
            f"'{path.name}' unpacks to {size / GIB:.1f} GiB; the limit is {limits.archive_gib:g} GiB.",
            hint="Unpack it and give the file itself, or raise GEOETL_LIMITS__ARCHIVE_GIB.",
            field="source",
        )
    for info in members:
        name = info.filename
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts or re.match(r"[A-Za-z]:", name):
            raise FormatNotAllowed(
                f"The member '{name[:80]}' of '{path.name}' leads out of the archive.",
                hint="Pack it again with relative names.",
                field="source",
            )
    return members


def _is_dataset(member: PurePosixPath) -> bool:
    # macOS packs a shadow of each file.
    return (
        member.suffix.lower() in _VECTOR_SUFFIXES and member.parts[0] != "__MACOSX" and not member.name.startswith("._")
    )
