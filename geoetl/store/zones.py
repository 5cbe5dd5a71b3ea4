"""The two object zones, *internal* and *external*: where finished files live, each at one URL.

Writing is always: a temporary name, verify, sync, rename.  A reader sees the old object or the new one, whole.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict

from geoetl.core.errors import (
    ConfigurationError,
    Conflict,
    InvalidParameter,
    NotFound,
    Unavailable,
    VerificationFailed,
)
from geoetl.core.identifiers import MAX_ID_LENGTH, check_id, file_digest
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.media_types import media_type_of

# Read size when hashing or copying; large enough that Python's overhead does not show.
BLOCK_BYTES = 4 * 1024 * 1024
# A store that does not answer is asked again for so long, seconds.
RETRY_S = 30.0
INCOMING = ".incoming"
# What a reader of a Zarr store or of Parquet references asks for first: it arrives last, and with it the whole store.
_ENTRY_FILES = (".zmetadata", "zarr.json")
# The most of keys are seen to be right in one look; the others are looked at segment by segment, to say what is wrong.
_SEGMENT = r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:[./]|$))[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*"
_USUAL_KEY = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*", re.IGNORECASE | re.ASCII)
_REMOTE_SCHEMES = ("s3", "az", "azure", "abfs", "abfss", "gs", "memory")


class StoredObject(BaseModel):
    """An object in a zone, as it was verified after writing.

    Attributes:
        zone: ``internal`` or ``external``.
        key: Path within the zone, ``/`` between segments.
        sha256: Digest of its bytes, 64 hex digits.
        bytes: Its size.
    """

    model_config = ConfigDict(frozen=True)

    zone: str
    key: str
    sha256: str
    bytes: int

    @property
    def href(self) -> str:
        """The portable address, ``internal://key``, that the catalogue stores."""
        return f"{self.zone}://{self.key}"


class StoredFolder(BaseModel):
    """A folder in a zone, as it was verified after writing; its content never changes.

    Attributes:
        zone: ``internal`` or ``external``.
        key: Path within the zone, ``/`` between segments.
        sha256: Digest over the lines ``name sha256 size`` of its files, sorted by name (see `folder_digest`).
        bytes: Size of all its files.
        files: How many there are.
    """

    model_config = ConfigDict(frozen=True)

    zone: str
    key: str
    sha256: str
    bytes: int
    files: int

    @property
    def href(self) -> str:
        """The portable address, ``internal://key``, that the catalogue stores."""
        return f"{self.zone}://{self.key}"


@dataclass(frozen=True)
class Zone:
    """One object zone.

    Args:
        name: ``internal`` or ``external``.
        url: ``file://``, ``s3://``, ``az://`` or ``gs://`` URL of its root.
        artifacts: Where each written object is recorded.
        cache: Folder for local copies of remote objects.
    """

    name: str
    url: str
    artifacts: ArtifactRepository
    cache: Path

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("file", *_REMOTE_SCHEMES) or (parts.scheme == "file" and parts.netloc):
            raise ConfigurationError(
                f"The {self.name} zone's URL has to begin with file:/// (an absolute path), s3://, az:// or gs://.",
                hint=f"Set GEOETL_ZONES__{self.name.upper()}.",
                field=f"GEOETL_ZONES__{self.name.upper()}",
            )

    @cached_property
    def root(self) -> Path | None:
        """The folder of a file zone; None for a remote one."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    @cached_property
    def store(self) -> Any:
        """The connection to the store of a remote zone, below the zone's URL."""
        return connect(self.url)

    def put(self, path: Path, key: str, *, owner: str) -> StoredObject:
        """Copy a local file to `key`, verified and durable; an object of that key is replaced at once.

        Args:
            path: The finished local file.
            key: Where it goes, for example ``rasters/demo/landsat-3f2a.tif``.
            owner: ``collection/item`` that it belongs to, for the artefact's record.

        Raises:
            VerificationFailed: What arrived differs from `path`; nothing became visible (file zones).
            Unavailable: The zone cannot be written, for example because its disk is full.
        """
        check_key(key)
        self.artifacts.writing(self.name, key, owner)
        with _as_unavailable(self.name):
            sha256 = self._put_file(path, key, self.root) if self.root else self._put_remote(path, key)
        size = path.stat().st_size
        self.artifacts.stored(self.name, key, sha256, size)
        return StoredObject(zone=self.name, key=key, sha256=sha256, bytes=size)

    def _put_file(self, path: Path, key: str, root: Path) -> str:
        target = root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming = root / INCOMING
        incoming.mkdir(exist_ok=True)
        handle, temporary = _locked_file(incoming)
        try:
            hasher = hashlib.sha256()
            with os.fdopen(handle, "wb") as out:
                with path.open("rb") as source:
                    while block := source.read(BLOCK_BYTES):
                        hasher.update(block)
                        out.write(block)
                out.flush()
                os.fsync(out.fileno())
                self._verify(hasher.hexdigest(), file_digest(temporary), key)
                temporary.chmod(0o644)  # mkstemp makes it private; what is in a zone is read by the server's user too
                temporary.replace(target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
        return hasher.hexdigest()

    def _put_remote(self, path: Path, key: str) -> str:
        import obstore

        wanted = file_digest(path)
        # An object store shows an object only when its upload is complete, so there is no temporary name.
        obstore.put(self.store, key, path, attributes={"Content-Type": media_type_of(key)})
        self._verify(wanted, self._remote_stamp(key).sha256, key)
        return wanted

    def put_text(self, text: str, key: str, *, owner: str) -> StoredObject:
        """Write a small text to `key` as UTF-8; see `put`."""
        with _as_unavailable(self.name), tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            return self.put(Path(file.name), key, owner=owner)

    def put_folder(self, path: Path, key: str, *, owner: str) -> StoredFolder:
        """Copy a local folder to `key`, verified and durable; it appears there whole.

        The same content at the same key again is no error. Other content is: whoever has the folder open reads it
        piece by piece, and would get pieces of both.

        Args:
            path: The finished local folder; names within it may begin with a dot.
            key: Where it goes, for example ``cubes/demo/tas-3f2a``.
            owner: ``collection/item`` that it belongs to, for the artefact's record.

        Raises:
            InvalidParameter: The folder is empty, or holds something besides files and folders.
            Conflict: There is another content at that key.
            VerificationFailed: What arrived differs from `path`; nothing became visible (file zones).
            Unavailable: The zone cannot be written, for example because its disk is full.
        """
        check_key(key)
        with _as_unavailable(self.name):
            wanted = _stamps(path)
            stored = StoredFolder(
                zone=self.name,
                key=key,
                sha256=folder_digest(wanted),
                bytes=sum(stamp.bytes for stamp in wanted.values()),
                files=len(wanted),
            )
            there = self._folder_stamps(key)
            # Objects arrive in a remote zone one by one: a part of the same folder is an upload that broke off.
            if there and there != wanted and (self.root or not there.items() <= wanted.items()):
                raise self._conflict(key)
            self.artifacts.writing(self.name, key, owner)
            if there and self.folder_size(key) is None:
                there = {}  # it was cleaned up between the look and the record that it is needed
            if there != wanted and self.root:
                self._put_folder_file(path, key, wanted, self.root)
            elif there != wanted:
                self._put_folder_remote(path, key, wanted)
        self.artifacts.stored(self.name, key, stored.sha256, stored.bytes)
        return stored

    def _put_folder_file(self, path: Path, key: str, wanted: Mapping[str, "_FileStamp"], root: Path) -> None:
        target = root / key
        incoming = root / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=incoming))
        try:
            for name in wanted:
                copied = temporary / name
                copied.parent.mkdir(parents=True, exist_ok=True)
                with copied.open("wb") as out, (path / name).open("rb") as source:
                    shutil.copyfileobj(source, out, BLOCK_BYTES)
                    out.flush()
                    os.fsync(out.fileno())
                copied.chmod(0o644)
            self._verify(folder_digest(wanted), folder_digest(_stamps(temporary)), key)
            for folder in {temporary, *((temporary / name).parent for name in wanted)}:
                _sync_folder(folder)
            temporary.chmod(0o755)  # mkdtemp makes it private; what is in a zone is read by the server's user too
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                if _stamps(target) != wanted:  # another writer was here first
                    raise self._conflict(key) from None
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _put_folder_remote(self, path: Path, key: str, wanted: Mapping[str, "_FileStamp"]) -> None:
        import obstore

        for name in sorted(wanted, key=lambda name: (name == _entry(wanted), name)):
            attributes = {"Content-Type": media_type_of(name)}
            obstore.put(self.store, f"{key}/{name}", path / name, attributes=attributes)
            self._verify(wanted[name].sha256, self._remote_stamp(f"{key}/{name}").sha256, f"{key}/{name}")

    def _folder_stamps(self, key: str) -> dict[str, "_FileStamp"]:
        """Return what there is at a key already, by name within it."""
        if self.root:
            path = self.root / key
            return _stamps(path) if path.exists() else {}
        return {name: self._remote_stamp(f"{key}/{name}") for name in self._remote_files(key)}

    def _conflict(self, key: str) -> Conflict:
        return Conflict(
            f"The {self.name} zone has another folder at '{key}'.",
            hint="Give the new one a key of its own, for example with a digest of its content in it.",
            field="key",
        )

    def _remote_files(self, key: str) -> dict[str, dict[str, Any]]:
        """Return what the store tells of each object below `key`, by name within it."""
        import obstore

        return {
            str(found["path"]).removeprefix(f"{key}/"): dict(found)
            for batch in obstore.list(self.store, prefix=f"{key}/")
            for found in batch
        }

    def _remote_stamp(self, key: str) -> "_FileStamp":
        import obstore

        hasher, size = hashlib.sha256(), 0
        for block in obstore.get(self.store, key).stream(min_chunk_size=BLOCK_BYTES):
            hasher.update(block)
            size += len(block)
        return _FileStamp(hasher.hexdigest(), size)

    def _verify(self, wanted: str, got: str, key: str) -> None:
        if wanted != got:
            raise VerificationFailed(
                f"'{key}' arrived in the {self.name} zone with sha256 {got[:12]}…, not {wanted[:12]}….",
                hint="Run it again; if it happens again, check the disk or the network.",
            )

    @cached_property
    def prefix(self) -> str:
        """What every address in the zone begins with: the folder of a file zone, the URL of a remote one, and ``/``."""
        return f"{self.root or self.url.rstrip('/')}/"

    def href(self, key: str) -> str:
        """Return what a library can open: an absolute path in a file zone, a URL in a remote one.

        Raises:
            InvalidParameter: The key leads out of the zone.
        """
        # The full check of each segment belongs to writing; here a search of thousands of items passes.
        if ".." in key or key.startswith("/"):
            raise InvalidParameter(f"The object key '{key[:80]}' leads out of the {self.name} zone.", field="key")
        return self.prefix + key

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes, or None where there is none."""
        check_key(key)
        if self.root:
            path = self.root / key
            return path.stat().st_size if path.is_file() else None
        import obstore

        try:
            return int(obstore.head(self.store, key)["size"])
        except FileNotFoundError:
            return None

    def local_path(self, key: str) -> Path:
        """Return a local file with the object's content; a remote object is copied once and kept.

        Raises:
            NotFound: There is no such object.
        """
        check_key(key)
        if self.root:
            path = self.root / key
            if not path.is_file():
                raise NotFound(f"The {self.name} zone has no object '{key}'.", hint="Run its pipeline again.")
            return path
        import obstore

        try:
            etag = obstore.head(self.store, key)["e_tag"] or ""
        except FileNotFoundError:
            raise NotFound(f"The {self.name} zone has no object '{key}'.", hint="Run its pipeline again.") from None
        version = hashlib.sha256(etag.encode()).hexdigest()[:16]
        local = self.cache / self.name / version / key
        if not local.is_file():
            local.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=local.parent, delete=False) as out:
                for block in obstore.get(self.store, key).stream(min_chunk_size=BLOCK_BYTES):
                    out.write(block)
            Path(out.name).replace(local)
        return local

    def folder_size(self, key: str) -> int | None:
        """Return the size of all files of a folder in bytes, or None where there is no such folder."""
        check_key(key)
        if self.root:
            path = self.root / key
            return sum((path / name).stat().st_size for name in _names_within(path)) if path.is_dir() else None
        found = self._remote_files(key)
        return sum(int(described["size"]) for described in found.values()) if found else None

    def local_folder(self, key: str) -> Path:
        """Return a local folder with the content of a folder; a remote one is copied once per version and kept.

        Raises:
            NotFound: There is no such folder.
        """
        check_key(key)
        gone = NotFound(f"The {self.name} zone has no folder '{key}'.", hint="Run its pipeline again.")
        if self.root:
            path = self.root / key
            if not path.is_dir():
                raise gone
            return path
        import obstore

        found = self._remote_files(key)
        if not found:
            raise gone
        versions = sorted(f"{name} {described['e_tag']} {described['size']}" for name, described in found.items())
        version = hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]
        local = self.cache / self.name / version / key
        if not local.is_dir():
            local.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=local.parent) as name_of_copy:
                copy = Path(name_of_copy) / "copy"
                for name in found:
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    with (copy / name).open("wb") as out:
                        for block in obstore.get(self.store, f"{key}/{name}").stream(min_chunk_size=BLOCK_BYTES):
                            out.write(block)
                # Who else copied the same version meanwhile has the same content.
                if not local.is_dir():
                    copy.rename(local)
        return local

    def clear_incoming(self) -> None:
        """Remove what writers that died have left on its way; what is still written to stays."""
        for path in (self.root / INCOMING).glob("tmp*") if self.root else ():
            if not path.is_file():
                continue
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def delete(self, key: str) -> None:
        """Remove an object or a folder; one that is gone already is no error."""
        check_key(key)
        if self.root:
            self._delete_file(self.root / key, self.root)
        else:
            import obstore

            if self.size(key) is not None:
                obstore.delete(self.store, key)
            names = self._remote_files(key)
            for name in sorted(names, key=lambda name: (name != _entry(names), name)):
                obstore.delete(self.store, f"{key}/{name}")
        self.artifacts.deleted(self.name, key)

    def _delete_file(self, path: Path, root: Path) -> None:
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        # It disappears at once, before its files are removed one by one.
        (root / INCOMING).mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root / INCOMING) as leaving:
            path.rename(Path(leaving) / "folder")


@dataclass(frozen=True)
class Zones:
    """Both zones, and the way between portable and openable addresses."""

    internal: Zone
    external: Zone

    def named(self, name: str) -> Zone:
        """Return the zone of that name."""
        return self.internal if name == "internal" else self.external

    def portable(self, href: str) -> str:
        """Return ``internal://key`` for an address inside a zone; any other address as it is.

        Raises:
            InvalidParameter: The key leads out of the zone.
        """
        if not href.startswith(self._beginnings):
            return href
        for start, name in self._names:
            if href.startswith(start):
                key = check_key(href[len(start) :])
                return href if start.startswith(name) else f"{name}://{key}"
        return href

    @cached_property
    def _names(self) -> tuple[tuple[str, str], ...]:
        """How an address in a zone begins, with the name of the zone."""
        names: list[tuple[str, str]] = []
        for zone in (self.internal, self.external):
            starts = (f"{zone.name}://", zone.prefix, *([f"file://{zone.prefix}"] if zone.root else []))
            names += [(start, zone.name) for start in starts]
        return tuple(names)

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        return tuple(start for start, _ in self._names)

    def openable(self, href: str) -> str:
        """Return the path or URL behind ``internal://key``; any other address as it is.

        Raises:
            InvalidParameter: The key leads out of the zone.
        """
        for zone in (self.internal, self.external):
            if href.startswith(f"{zone.name}://"):
                return zone.href(href[len(zone.name) + 3 :])
        return href

    def locate(self, href: str) -> tuple[Zone | None, str]:
        """Return the zone and key of an address; (None, address) when it lies in neither."""
        scheme, separator, key = self.portable(href).partition("://")
        if separator and scheme in ("internal", "external"):
            return self.named(scheme), key
        return None, href


def connect(url: str) -> Any:
    """Return a connection to an object store below a URL."""
    from obstore.store import from_url

    if url.startswith("memory:"):
        return from_url(url)
    retry = {"max_retries": 5, "retry_timeout": timedelta(seconds=RETRY_S)}
    return from_url(url, retry_config=retry)  # type: ignore[call-overload]


def check_key(key: str) -> str:
    """Return `key` if every segment of it is a safe id.

    Raises:
        InvalidParameter: It is not.
    """
    if len(key) <= MAX_ID_LENGTH and _USUAL_KEY.fullmatch(key):
        return key
    segments = key.split("/")
    if not segments or len(key) > 700:
        raise InvalidParameter(f"An object key has 1 to 700 characters, not {len(key)}.", field="key")
    for segment in segments:
        check_id(segment, "object key")
    return key


@dataclass(frozen=True)
class _FileStamp:
    """Digest and size in bytes of one file of a folder."""

    sha256: str
    bytes: int

    @classmethod
    def of_file(cls, path: Path) -> "_FileStamp":
        return cls(file_digest(path), path.stat().st_size)


def folder_digest(files: Mapping[str, "_FileStamp"]) -> str:
    """Return the sha256 (64 hex digits) over the lines ``name sha256 size`` of the files of a folder, by name."""
    lines = (f"{name} {stamp.sha256} {stamp.bytes}\n" for name, stamp in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stamps(folder: Path) -> dict[str, _FileStamp]:
    return {name: _FileStamp.of_file(folder / name) for name in _names_within(folder)}


def _names_within(folder: Path) -> list[str]:
    """Return the names of all files below a folder, ``/`` between segments, sorted.

    Raises:
        InvalidParameter: There is none, or a link or device among them.
    """
    names = []
    for parent, folders, files in folder.walk():
        for name in (*folders, *files):
            if (parent / name).is_symlink() or not ((parent / name).is_file() or (parent / name).is_dir()):
                raise InvalidParameter(f"'{name}' in '{folder.name}' is neither a file nor a folder.", field="path")
        names += [(parent / name).relative_to(folder).as_posix() for name in files]
    if not names:
        raise InvalidParameter(f"'{folder.name}' is no folder with files in it.", field="path")
    return sorted(names)


def _entry(names: Iterable[str]) -> str:
    """Return the file that a reader looks for first: the store's own entry, else the last of those at the root."""
    listed = sorted(names, key=lambda name: (name in _ENTRY_FILES, "/" not in name, name))
    return listed[-1] if listed else ""


@contextmanager
def _as_unavailable(zone: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The {zone} zone could not be written: {error.strerror or 'the store refused'}.",
            hint="Free some space or check the permissions, then run it again: finished stages are not repeated.",
        ) from error


def _locked_file(folder: Path) -> tuple[int, Path]:
    """Make an empty file that `Zone.clear_incoming` leaves alone as long as it is open."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # it was cleared away before the lock was had


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that holds `path`."""
    return shutil.disk_usage(path).free
