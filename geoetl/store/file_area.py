"""A folder of a file zone whose files come and go as one."""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from geoetl.store.area import Area
from geoetl.store.contents import BLOCK_BYTES, Content, as_ours, gone
from geoetl.store.durable import sync_disk, sync_folder
from geoetl.store.origins import Origin
from geoetl.store.zones import INCOMING

_COPY_BYTES = 64 * 1024**2
# What the system says where it cannot copy between these two files by itself.
_NOT_BY_ITSELF = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM})
_LEAVING = "leaving"


class _Buffer(threading.local):
    """Memory that each thread reads into, made once."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(BLOCK_BYTES))


@dataclass(frozen=True)
class FileArea(Area):
    """A folder of a file zone."""

    _made: set[Path] = field(default_factory=set, compare=False, repr=False)
    _buffer: _Buffer = field(default_factory=_Buffer, compare=False, repr=False)

    @cached_property
    def folder(self) -> Path:
        """The folder itself."""
        return self._at(self.key)

    def sizes(self) -> dict[str, int]:
        with as_ours(self.key):
            return dict(_sizes(str(self.folder), ""))

    def read_back(self, name: str) -> Content:
        with as_ours(name):
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return self._read(descriptor)
            finally:
                os.close(descriptor)

    def put(self, name: str, origin: Origin, size: int, media_type: str) -> None:
        with as_ours(name):
            if origin.path is not None:
                self._copy_file(origin.path, self._target(name), name)
            else:
                self._copy_object(origin, self._target(name))

    def write(self, name: str, content: bytes, media_type: str) -> None:
        with as_ours(name), self._target(name).open("wb") as out:
            out.write(content)

    def discard(self, names: Collection[str]) -> None:
        for name in names:
            with as_ours(name):
                (self.folder / name).unlink(missing_ok=True)

    def settle(self) -> None:
        # Once for all files: a hundred times as fast as one after the other.
        with as_ours(self.key):
            sync_disk(self.folder)

    def move(self, key: str, wanted: Mapping[str, Content], last: Collection[str]) -> None:
        target = self._at(key)
        self.settle()
        with as_ours(key):
            if target.exists():
                FileArea(self.zone, key).remove()
            while True:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.folder.rename(target)
                    break
                except FileNotFoundError:
                    if not self.folder.exists():
                        raise
                    # Who removed another release at the same time has removed the empty folder.
            for folder in (target.parent, *target.parent.parents[: len(Path(key).parts) - 1]):
                sync_folder(folder)

    def remove(self, first: Collection[str] = ()) -> None:
        leaving = self._at(f"{INCOMING}/{_LEAVING}/{self.key}")
        with as_ours(self.key):
            if self.folder.exists():
                leaving.parent.mkdir(parents=True, exist_ok=True)
                self._hide(leaving)
            _remove_tree(leaving)
            self._prune(self.folder.parent)
            self._prune(leaving.parent)

    def _hide(self, leaving: Path) -> None:
        try:
            self.folder.rename(leaving)
        except FileNotFoundError:  # somebody else removes it
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _remove_tree(leaving)  # left by a removal that broke off
            self.folder.rename(leaving)
        sync_folder(self.folder.parent)

    def _at(self, key: str) -> Path:
        if self.zone.root is None:
            raise TypeError(f"the {self.zone.name} zone has no folders")
        return self.zone.root / key

    def _prune(self, folder: Path) -> None:
        """Remove folders that are empty now, up to the zone's own."""
        while folder != self.zone.root:
            try:
                folder.rmdir()
            except OSError as error:
                # A link to a folder elsewhere was put there by whoever runs the machine, and stays.
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    return
                if error.errno != errno.ENOENT:
                    raise
            folder = folder.parent

    def _target(self, name: str) -> Path:
        target = self.folder / name
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        return target

    def _read(self, descriptor: int) -> Content:
        hasher, size, view = hashlib.sha256(), 0, self._buffer.view
        while got := os.readv(descriptor, [view]):
            hasher.update(view[:got])
            size += got
        return Content(hasher.hexdigest(), size)

    def _copy_file(self, source: Path, target: Path, name: str) -> None:
        try:
            read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise gone(name) from None
        try:
            written = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                _copy(read, written)
            finally:
                os.close(written)
        finally:
            os.close(read)

    def _copy_object(self, origin: Origin, target: Path) -> None:
        import obstore

        with target.open("wb") as out:
            for block in obstore.get(origin.store, origin.key).stream(min_chunk_size=BLOCK_BYTES):
                out.write(block)


def _copy(read: int, written: int) -> None:
    """Copy a file within the system, so that its bytes do not pass through this process."""
    by_itself = hasattr(os, "copy_file_range")
    while True:
        try:
            got = (
                os.copy_file_range(read, written, _COPY_BYTES)
                if by_itself
                else os.write(written, os.read(read, BLOCK_BYTES))
            )
        except OSError as error:
            if not by_itself or error.errno not in _NOT_BY_ITSELF:
                raise
            by_itself = False
            continue
        if got == 0:
            return


def _sizes(folder: str, beginning: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        name = f"{beginning}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(entry.path, f"{name}/")
            continue
        # A link is never what was put there: its own size is that of no file that is wanted.
        with suppress(FileNotFoundError):  # somebody else removes it
            yield name, entry.stat(follow_symlinks=False).st_size


def _remove_tree(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
