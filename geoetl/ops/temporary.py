"""Temporary files of this machine that their process has left, and copies of remote objects that nobody reads."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from geoetl.core.identifiers import new_id
from geoetl.ops.model import DAY_S, Action, Fate, Leftover, Part
from geoetl.ops.objects import acted

#: Begins the name of what is being removed; whoever finds it goes on.
LEAVING = ".leaving-"
GIB = 1024**3
# Conversions go on where they were killed, see `geoetl.virtual.build`.
_RESUMABLE, _RESUMABLE_S = "converted", 14 * DAY_S
_DASK, _DASK_SPACE = "dask", "dask-scratch-space*"


@dataclass(frozen=True)
class Tree:
    """A file, or a folder with all that is in it.

    Attributes:
        bytes: Size of all files.
        touched: Unix time of the newest change in it.
        read: Unix time at which any of it was read last, as far as the file system tells; or changed.
    """

    bytes: int
    touched: float
    read: float

    @classmethod
    def of(cls, path: Path) -> "Tree | None":
        """Look at it; None where there is nothing. Links are not followed."""
        try:
            own = path.lstat()
        except FileNotFoundError:
            return None
        is_folder = path.is_dir() and not path.is_symlink()
        size, touched = (0 if is_folder else own.st_size), own.st_mtime
        read = touched if is_folder else max(touched, own.st_atime)
        if is_folder:
            with suppress(FileNotFoundError), os.scandir(path) as entries:
                for inner in [cls.of(Path(entry.path)) for entry in entries]:
                    if inner is not None:
                        size, touched = size + inner.bytes, max(touched, inner.touched)
                        read = max(read, inner.read)
        return cls(size, touched, read)


@dataclass(frozen=True)
class TemporaryFiles:
    """The folders of this machine in which something may be left.

    Args:
        home: The home folder, which names are told below.
        scratch: Of files on their way.
        dask: Of Dask workers.
        cache: Of copies of remote objects.
    """

    home: Path
    scratch: Path
    dask: Path
    cache: Path

    def find(self, before: float, cache_before: float, cache_bytes: float) -> Iterator[Leftover]:
        """Yield what may go.

        Args:
            before: Unix time before which temporary files were touched last.
            cache_before: Unix time before which copies were read last.
            cache_bytes: What all copies together may take up.
        """
        for path, limit in self._temporary(before).items():
            tree = Tree.of(path)
            if tree is not None and (tree.touched < limit or path.name.startswith(LEAVING)):
                yield self._leftover(path, tree, tree.touched, "the process that made it has left it")
        yield from self._copies(cache_before, cache_bytes)

    def remove(self, leftover: Leftover) -> Action:
        """Remove it, unless it was touched by now."""
        path = self._path(leftover.name)
        tree = Tree.of(path)
        if tree is None:
            return acted(leftover, Fate.KEPT, "it is gone already")
        if (tree.read if path.is_relative_to(self.cache) else tree.touched) > leftover.since:
            return acted(leftover, Fate.KEPT, "it was used by now")
        try:
            discard(path)
        except OSError as error:
            return acted(leftover, Fate.FAILED, f"it could not be removed: {error.strerror}")
        if path.is_relative_to(self.cache):
            _remove_empty(path.parent, self.cache)
        return acted(leftover, Fate.FIXED)

    def _temporary(self, before: float) -> Mapping[Path, float]:
        """Return what may have been left, each with the Unix time before which it is."""
        found = {path: before for path in _children(self.scratch) if path.name not in (_RESUMABLE, _DASK)}
        resumable = before - _RESUMABLE_S
        found |= {
            path: before if path.name.startswith(LEAVING) else resumable
            for path in _children(self.scratch / _RESUMABLE)
        }
        for space in sorted(self.dask.glob(_DASK_SPACE)) if self.dask.is_dir() else ():
            found |= dict.fromkeys(_children(space), before)
        return found

    def _copies(self, before: float, most_bytes: float) -> Iterator[Leftover]:
        # One version of an object each: cache/ZONE/VERSION
        versions = [path for zone in _children(self.cache) if zone.is_dir() for path in _children(zone)]
        copies = [(path, tree) for path in versions if (tree := Tree.of(path)) is not None]
        total = sum(tree.bytes for _, tree in copies)
        for path, tree in sorted(copies, key=lambda copy: copy[1].read):
            reason = None
            if path.name.startswith(LEAVING) or tree.read < before:
                reason = "a copy of a remote object that nobody has read for long"
            elif total > most_bytes:
                reason = "a copy of a remote object, of more than there is room for; others were read later"
            if reason is not None:
                total -= tree.bytes
                yield self._leftover(path, tree, tree.read, reason)

    def _leftover(self, path: Path, tree: Tree, since: float, reason: str) -> Leftover:
        return Leftover(part=Part.FILES, name=self._name(path), bytes=tree.bytes, since=since, reason=reason)

    def _name(self, path: Path) -> str:
        if path.is_relative_to(self.home):
            return path.relative_to(self.home).as_posix()
        return f"dask:{path.relative_to(self.dask).as_posix()}"

    def _path(self, name: str) -> Path:
        return self.dask / name.removeprefix("dask:") if name.startswith("dask:") else self.home / name


def discard(path: Path) -> None:
    """Remove a file, or a folder so that it disappears at once, whenever the process dies."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    leaving = path
    if not path.name.startswith(LEAVING):
        leaving = path.with_name(f"{LEAVING}{new_id()}")
        path.rename(leaving)
    with suppress(FileNotFoundError):  # another clean-up removes it, too
        shutil.rmtree(leaving)


def _remove_empty(folder: Path, root: Path) -> None:
    with suppress(OSError):  # something is in it
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
