"""One file of a release: fetched from its address, or copied from where somebody put it."""

import errno
import fnmatch
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from geoetl.core.errors import InvalidParameter, NotFound, Unavailable
from geoetl.core.html import human_bytes
from geoetl.core.identifiers import digest, file_digest
from geoetl.datasets.model import SourceType
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Download, FetchedFile, Release
from geoetl.datasets.upstream import Auth, Media, SourceChanged, Stamp

_MEDIA = {
    ".zip": Media.ZIP,
    ".geojson": Media.GEOJSON,
    ".json": Media.GEOJSON,
    ".gpkg": Media.GEOPACKAGE,
    ".fgb": Media.FLATGEOBUF,
    ".parquet": Media.PARQUET,
}
# The digest of a file of this size takes half a second; larger ones are told apart by size and time of change.
_DIGESTED_BYTES = 256 * 1024**2
_BLOCK_BYTES = 1024**2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def suffix_of(address: str) -> str:
    """Return the suffix of the file that a URL or path names, in lower case; ".zip" where it tells of none we know."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    return suffix if suffix in _MEDIA else ".zip"


def stamp_text(said: Stamp) -> str:
    """Return what a release is recognised by; a source that tells nothing is taken to change every day."""
    return said.mark or f"unmarked {time.strftime('%Y-%m-%d', time.gmtime())}"


def fetch(task: Task, download: Download, *, auth: Auth | None = None, url: str | None = None) -> FetchedFile:
    """Fetch a file into the folder of the release; one that is there and whole is not fetched again.

    Args:
        task: The update.
        download: What is wanted; its name says what it should be.
        auth: Who asks.
        url: Where from, if that is no address that may be shown (one that is signed).

    Raises:
        UnreadableFile, VerificationFailed, SourceChanged, LimitExceeded, Unavailable, NotFound, SourceRefused: See
            `Upstream.download`.
    """
    path = task.folder / download.name
    if path.is_file() and download.bytes in (None, path.stat().st_size):
        return FetchedFile(name=path.name, bytes=path.stat().st_size, sha256=file_digest(path))
    return task.upstream.download(
        url or download.url,
        path,
        media=_MEDIA[suffix_of(download.name)],
        expect=Stamp(etag=download.etag, bytes=download.bytes, url=download.url),
        auth=auth,
        progress=_progress(task, download.name),
    )


def _progress(task: Task, name: str) -> Callable[[int, int | None], None]:
    """Return what tells how far a download is, at each twentieth of it."""
    told = -1

    def tell(done: int, total: int | None) -> None:
        nonlocal told
        part = done * 20 // total if total else done // (64 * _BLOCK_BYTES)
        if part != told:
            told = part
            task.tell(f"{name}: {human_bytes(done)}" + (f" of {human_bytes(total)}" if total else ""))

    return tell


# -- files that somebody put somewhere ---------------------------------------------------------------------------------


def is_put_there(task: Task) -> bool:
    """Tell whether somebody puts the files into a folder."""
    return task.definition.source_type is SourceType.MANUAL


def file_put_there(task: Task, patterns: Sequence[str]) -> Path:
    """Return the file that the definition names, or the only one in the folder that it names.

    Args:
        task: The update.
        patterns: Of file names, in lower case, the preferred first: the first that a file fits counts.

    Raises:
        NotFound: There is none.
        InvalidParameter: There are several.
        OutsideAllowedRoots, ConfigurationError: See `Gate.resolve`.
    """
    place = task.gate.resolve(task.definition.source_url, field="source_url")
    if place.is_file():
        return place
    files = sorted(path for path in place.iterdir() if path.is_file() and task.gate.allows(path.resolve()))
    for pattern in patterns:
        found = [path for path in files if fnmatch.fnmatchcase(path.name.lower(), pattern)]
        if len(found) > 1:
            raise InvalidParameter(
                f"The folder '{place.name}' has {len(found)} files like '{pattern}': "
                f"{', '.join(path.name for path in found[:4])}.",
                hint="Leave only the one that is to be taken.",
                field="source_url",
            )
        if found:
            return found[0]
    raise NotFound(
        f"The folder '{place.name}' has no file like '{patterns[0]}' ({len(files)} files are there).",
        hint="Put the file there, and look whether it has its own name still.",
        field="source_url",
    )


def release_put_there(task: Task, path: Path, name: str, source_version: str) -> Release:
    """Describe a file that somebody put somewhere.

    Args:
        task: The update.
        path: The file.
        name: What it becomes.
        source_version: As people name it; empty for the day when the file was written.
    """
    size = path.stat().st_size
    return Release(
        source_version=source_version or time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime)),
        stamp=_stamp_put_there(path),
        downloads=(Download(name=name, url=task.definition.source_url, bytes=size),),
    )


def take(task: Task, release: Release, path: Path) -> FetchedFile:
    """Copy a file that somebody put somewhere into the folder of the release.

    Raises:
        SourceChanged: It is another one than that of `release`.
        Unavailable: The disk is full.
    """
    target = task.folder / release.downloads[0].name
    if _stamp_put_there(path) != release.stamp:
        raise SourceChanged(
            f"'{path.name}' changed after it was looked at.", hint="Run it again when it is whole.", field="source_url"
        )
    if not target.is_file():
        part = target.with_name(f"{target.name}.part")
        try:
            with path.open("rb") as source, part.open("wb") as copy:
                while block := source.read(_BLOCK_BYTES):
                    copy.write(block)
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            reason = "the disk is full" if error.errno in _FULL else error.strerror or "the disk refused"
            raise Unavailable(
                f"'{path.name}' could not be copied: {reason}.", hint="Free some space, then run it again."
            ) from None
    return FetchedFile(name=target.name, bytes=target.stat().st_size, sha256=file_digest(target))


def _stamp_put_there(path: Path) -> str:
    stat = path.stat()
    if stat.st_size <= _DIGESTED_BYTES:
        return f"sha256:{file_digest(path)}"
    return digest([path.name, stat.st_size, stat.st_mtime_ns])
