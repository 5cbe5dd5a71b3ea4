"""Walk a folder of any size: NetCDF files, their checksum companions, and everything else with its reason."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from geoetl.runs.model import Result
from geoetl.store.remote import RemoteFile, SourcePath

NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
# Digits of a checksum by the suffix of its companion file.
CHECKSUMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
# Progress is told after so many entries.
STEP = 1000
# A companion holds one checksum and perhaps a file name.
_COMPANION_BYTES = 1024
_TEMPORARY = re.compile(r"\.(tmp|temp|part|partial|filepart|crdownload|swp)$|\.pid[0-9]+(\.|$)|~$", re.IGNORECASE)


class LeftOut(Result):
    """A file that belongs to no cube, and why.

    Attributes:
        file: Relative to the source; a folder ends in ``/``.
        reason: For people.
        code: Stable name of the reason: ``superseded``, ``duplicate``, ``overlap``, ``unparsable_name``,
            ``not_selected``, ``temporary``, ``orphan_checksum``, ``not_netcdf``, ``hidden``, ``link``, ``unreadable``.
    """

    file: str
    reason: str
    code: str


@dataclass(frozen=True)
class Scan:
    """What lies under a folder.

    Attributes:
        files: NetCDF files by their suffix: relative name and bytes, sorted by name.
        companions: Of a file's relative name, those of its checksum files.
        left_out: Everything else.
    """

    files: list[tuple[str, int]] = field(default_factory=list)
    companions: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


def scan(root: SourcePath, progress: Callable[[int], None] | None = None) -> Scan:
    """List a folder of any depth; links to folders are not followed, and no file is opened.

    Args:
        root: The folder, or the prefix of objects.
        progress: Called with the number of entries seen so far, every thousand and at the end.
    """
    if isinstance(root, RemoteFile):
        return _scan_objects(root, progress)
    found = Scan()
    seen = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = os.scandir(root / folder)
        except OSError as error:
            _leave(found, folder or "./", f"The folder cannot be listed ({error.strerror}).", "unreadable")
            continue
        with entries:
            for entry in entries:
                name = folder + entry.name
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    waiting.append(f"{name}/")
                else:
                    _sort_out(found, name, entry)
                seen += 1
                if progress and seen % STEP == 0:
                    progress(seen)
    if progress:
        progress(seen)
    found.files.sort()
    return found


def _scan_objects(root: RemoteFile, progress: Callable[[int], None] | None) -> Scan:
    found = Scan()
    seen = 0
    for name, stamp in root.objects():
        if not name.isprintable():
            _leave(found, name, "Its name holds characters that cannot be shown.", "unparsable_name")
        elif any(part.startswith(".") for part in name.split("/")[:-1]):
            _leave(found, name, "Hidden folders are not searched.", "hidden")
        elif not _set_aside(found, name):
            found.files.append((name, stamp.bytes))
        seen += 1
        if progress and seen % STEP == 0:
            progress(seen)
    if progress:
        progress(seen)
    found.files.sort()
    return found


def scan_file(path: SourcePath) -> Scan:
    """List one file, of whatever suffix, and the checksum companions that lie beside it on this machine."""
    if isinstance(path, RemoteFile):
        return Scan(files=[(path.name, path.size)])
    found = Scan(files=[(path.name, path.stat().st_size)])
    beside = [f"{path.name}.{kind}" for kind in CHECKSUMS if (path.parent / f"{path.name}.{kind}").is_file()]
    return Scan(files=found.files, companions={path.name: beside} if beside else {})


def read_checksum(path: Path) -> str | None:
    """Return the checksum that a companion file holds, as ``md5:…``; None where it holds none of its kind.

    It holds the bare digits, or digits and a file name as ``md5sum`` writes them.
    """
    kind = path.suffix[1:].lower()
    try:
        with path.open("rb") as file:
            words = file.read(_COMPANION_BYTES).split()
    except OSError:
        return None
    digits = words[0].decode("ascii", "replace").lower() if words else ""
    return f"{kind}:{digits}" if re.fullmatch(rf"[0-9a-f]{{{CHECKSUMS[kind]}}}", digits) else None


def _sort_out(found: Scan, name: str, entry: "os.DirEntry[str]") -> None:
    """Put one entry that is not walked into where it belongs."""
    if not name.isprintable():
        _leave(found, name, "Its name holds characters that cannot be shown.", "unparsable_name")
    elif entry.is_dir(follow_symlinks=False):
        _leave(found, f"{name}/", "Hidden folders are not searched.", "hidden")
    elif entry.is_symlink() and not entry.is_file():
        what = "Links to folders are not followed." if entry.is_dir() else "It is a link to nothing."
        _leave(found, name, what, "link")
    elif not _set_aside(found, name, is_link=entry.is_symlink()):
        if entry.is_file():
            found.files.append((name, entry.stat().st_size))
        else:
            _leave(found, name, "It is not a regular file.", "unreadable")


def _set_aside(found: Scan, name: str, *, is_link: bool = False) -> bool:
    """Put what is no NetCDF file by its name where it belongs; tell whether it was put anywhere."""
    lower = name.rpartition("/")[2].lower()
    stem, _, suffix = name.rpartition(".")
    if _TEMPORARY.search(lower):
        _leave(found, name, "It is a temporary file of an unfinished copy or tool.", "temporary")
    elif lower.startswith("."):
        _leave(found, name, "It is a hidden file.", "hidden")
    elif suffix.lower() in CHECKSUMS and not is_link:
        found.companions.setdefault(stem, []).append(name)
    elif not lower.endswith(NETCDF):
        _leave(found, name, "It is not a NetCDF file (.nc).", "not_netcdf")
    else:
        return False
    return True


def _leave(found: Scan, name: str, reason: str, code: str) -> None:
    # What is no UTF-8 in a name could not be written as JSON.
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    found.left_out.append(LeftOut(file=shown, reason=reason, code=code))
