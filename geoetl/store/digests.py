"""What lies at a place in a zone: its objects with their sizes and digests, read only where they are not known."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from geoetl.core.errors import InvalidParameter, NotFound, VerificationFailed
from geoetl.core.identifiers import file_digest
from geoetl.store.contents import as_ours, content_of
from geoetl.store.zones import BLOCK_BYTES, Zone, check_key

# Larger files are read side by side; of smaller ones, handing them to a thread would take as long as reading them.
_SMALL_BYTES = 1024**2
_THREADS = min(os.cpu_count() or 1, 8)
# Objects of a store that are read side by side.
_REQUESTS = 16


@dataclass(frozen=True)
class DigestedObject:
    """An object of a zone.

    Attributes:
        key: Path within the zone.
        bytes: Its size.
        sha256: Digest of its content, 64 hex digits.
    """

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Seen:
    """An object as its zone lists it: size, and the Unix time of its last change."""

    key: str
    bytes: int
    changed_at: float


def digest_object(zone: Zone, key: str) -> DigestedObject | None:
    """Return an object with its digest; None where there is none.

    The digest that was written down with the object is taken as long as the object has that size and was not written
    since. Whoever copies it sees whether that is still so: a copy is compared with the digest.

    Raises:
        VerificationFailed: It is another one than was written down, so it was changed by somebody else.
        Unavailable: The zone cannot be reached.
    """
    check_key(key)
    seen = _one(zone, key)
    if seen is None:
        return None
    known = zone.artifacts.known(zone.name, [key]).get(key)
    if known is None:
        return next(iter(_digested(zone, [seen])))
    if known.bytes == seen.bytes and seen.changed_at <= known.written_at:
        return DigestedObject(key, seen.bytes, known.sha256)
    found = next(iter(_digested(zone, [seen])))
    if found.sha256 != known.sha256:
        raise VerificationFailed(
            f"An object of the {zone.name} zone is not as it was written: it has {found.bytes:,} bytes with sha256 "
            f"{found.sha256[:12]}…, not {known.bytes:,} with {known.sha256[:12]}….",
            hint="Run the pipeline again that made it.",
        )
    return found


def digest_folder(zone: Zone, key: str) -> tuple[DigestedObject, ...]:
    """Return every object below a key with its digest, by key; none where there is no such folder.

    Raises:
        InvalidParameter: There is a link or a device among its files.
        VerificationFailed: It is another one than was written down, so it was changed by somebody else.
        Unavailable: The zone cannot be reached.
    """
    check_key(key)
    found = tuple(sorted(_digested(zone, _below(zone, key)), key=lambda one: one.key))
    known = zone.artifacts.known(zone.name, [key]).get(key)
    if known and found and known.sha256 != _folder_digest(found, key):
        raise VerificationFailed(
            f"A folder of the {zone.name} zone is not as it was written: a file of it was changed, added or removed.",
            hint="Run the pipeline again that made it.",
        )
    return found


def _folder_digest(found: Iterable[DigestedObject], key: str) -> str:
    """Return what `geoetl.store.zones.folder_digest` does of the files of a folder."""
    lines = (f"{name} {one.sha256} {one.bytes}\n" for name, one in sorted((o.key[len(key) + 1 :], o) for o in found))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _one(zone: Zone, key: str) -> _Seen | None:
    if zone.root:
        try:
            found = (zone.root / key).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _Seen(key, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None
    import obstore

    try:
        with as_ours(key.rpartition("/")[2]):
            meta = obstore.head(zone.store, key)
    except NotFound:
        return None
    return _Seen(key, int(meta["size"]), meta["last_modified"].timestamp())


def _below(zone: Zone, key: str) -> list[_Seen]:
    if zone.root:
        folder = zone.root / key
        return list(_within(str(folder), f"{key}/")) if folder.is_dir() and not folder.is_symlink() else []
    import obstore

    with as_ours(key.rpartition("/")[2]):
        return [
            _Seen(str(meta["path"]), int(meta["size"]), meta["last_modified"].timestamp())
            for batch in obstore.list(zone.store, prefix=f"{key}/")
            for meta in batch
        ]


def _within(folder: str, prefix: str) -> Iterator[_Seen]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _within(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                yield _Seen(prefix + entry.name, found.st_size, found.st_mtime)
            else:
                raise InvalidParameter(
                    f"'{entry.name}' in '{prefix.rstrip('/').rpartition('/')[2]}' is neither a file nor a folder.",
                    field="assets",
                )


def _digested(zone: Zone, seen: Iterable[_Seen]) -> Iterator[DigestedObject]:
    if zone.root is None:
        with ThreadPoolExecutor(_REQUESTS) as pool:
            yield from pool.map(lambda one: _read_remote(zone, one.key), seen)
        return
    root, prefix, large = zone.root, zone.prefix, []
    for one in seen:
        if one.bytes > _SMALL_BYTES:
            large.append(one)
        else:
            # Of thousands of chunks the making of paths would take as long as their reading.
            with open(prefix + one.key, "rb", buffering=0) as file:  # noqa: PTH123
                content = file.read()
            yield DigestedObject(one.key, len(content), hashlib.sha256(content).hexdigest())
    if large:
        with ThreadPoolExecutor(_THREADS) as pool:
            digests = pool.map(lambda one: file_digest(root / one.key), large)
            yield from (DigestedObject(one.key, one.bytes, sha256) for one, sha256 in zip(large, digests, strict=True))


def _read_remote(zone: Zone, key: str) -> DigestedObject:
    import obstore

    with as_ours(key.rpartition("/")[2]):
        found = content_of(obstore.get(zone.store, key).stream(min_chunk_size=BLOCK_BYTES))
    return DigestedObject(key, found.bytes, found.sha256)
