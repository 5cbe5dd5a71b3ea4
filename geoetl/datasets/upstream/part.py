"""A download on its way to disk: what is there of it, of which version, and how far it is durable."""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from geoetl.core.errors import Unavailable
from geoetl.core.html import human_bytes
from geoetl.datasets.upstream.stamp import Stamp
from geoetl.store.zones import free_bytes

# Asked for once more when a download goes on, and compared: servers keep an ETag over a new file.
OVERLAP_BYTES = 64 * 1024
_BLOCK_BYTES = 1024**2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Part:
    """The file ``NAME.part`` beside a target, and ``NAME.part.json``, which says of which version it is.

    Args:
        target: What it becomes.
        sync_bytes: It is made durable in steps of this size.

    Raises:
        Unavailable: Another process writes it, or the disk refuses.
    """

    def __init__(self, target: Path, sync_bytes: int) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self.stamp: Stamp | None = None
        self.have = 0
        self._target = target
        self._memory = target.with_name(f"{target.name}.part.json")
        self._sync_bytes = sync_bytes
        self._synced = 0
        self._digest = hashlib.sha256()
        with self._writing():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)
        try:
            self._lock()
            with self._writing():
                self._recall()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Part":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file.closed:
            return
        with self._file, suppress(OSError):  # there is an error already; what is not durable is fetched again
            if self.have:
                self._sync()
            else:
                self._memory.unlink(missing_ok=True)
                self.path.unlink()

    @property
    def sha256(self) -> str:
        """Digest of what is there."""
        return self._digest.hexdigest()

    def begin(self, stamp: Stamp) -> None:
        """Begin anew, with a version of which nothing is there yet.

        Raises:
            Unavailable: The disk has no room for it.
        """
        self.forget()
        if stamp.bytes is not None and stamp.bytes > (free := free_bytes(self.path.parent)):
            raise Unavailable(
                f"'{self._target.name}' has {human_bytes(stamp.bytes)}; the disk has {human_bytes(free)} free.",
                hint="Free some space, then run it again.",
            )
        self.stamp = stamp
        with self._writing():
            self._remember()

    def append(self, block: bytes) -> None:
        """Write what came.

        Raises:
            Unavailable: The disk refuses; where it is full, what was there is thrown away.
        """
        with self._writing():
            left = memoryview(block)
            while left:
                count = self._file.write(left)
                self._digest.update(left[:count])
                self.have += count
                left = left[count:]
            if self.have - self._synced >= self._sync_bytes:
                self._sync()

    def head(self, count: int) -> bytes:
        """Return the first so many bytes."""
        return os.pread(self._file.fileno(), count, 0)

    def tail(self, count: int) -> bytes:
        """Return the last so many bytes."""
        return os.pread(self._file.fileno(), count, self.have - count)

    def forget(self) -> None:
        """Throw away what is there."""
        with self._writing():
            # First what it is said to be: bytes without a version are never gone on with.
            self._memory.unlink(missing_ok=True)
            self._file.truncate(0)
            self._file.seek(0)
        self.stamp, self.have, self._synced, self._digest = None, 0, 0, hashlib.sha256()

    def finish(self) -> None:
        """Give it its name, durably."""
        with self._writing():
            os.fsync(self._file.fileno())
            self.path.replace(self._target)
            _sync_folder(self._target.parent)
            self._memory.unlink(missing_ok=True)
            self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking, whoever had it before may have given it its name, or removed it.
            is_ours = self.path.stat().st_ino == os.fstat(self._file.fileno()).st_ino
        except OSError:
            is_ours = False
        if not is_ours:
            raise Unavailable(
                f"'{self._target.name}' is being fetched by another process.", hint="Wait until it is done."
            )

    def _recall(self) -> None:
        """Take over what an earlier process left, as far as it was made durable."""
        try:
            told = json.loads(self._memory.read_bytes())
            stamp, durable = Stamp.model_validate(told["stamp"]), int(told["durable"])
        except (OSError, ValueError, LookupError, TypeError):  # none, or of no use: begin anew
            return
        if stamp.strong is None or durable > os.fstat(self._file.fileno()).st_size:
            return
        self._file.truncate(durable)
        while block := self._file.read(_BLOCK_BYTES):
            self._digest.update(block)
            self.have += len(block)
        self.stamp, self._synced = stamp, self.have

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = self.have
        if self.stamp is not None:
            self._remember()

    def _remember(self) -> None:
        assert self.stamp is not None
        written = self._memory.with_name(f"{self._memory.name}.new")
        with written.open("w", encoding="utf-8") as file:
            json.dump({"stamp": self.stamp.model_dump(), "durable": self._synced}, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._memory)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            is_full = error.errno in _FULL
            if is_full:
                with suppress(OSError):  # what else is on a full disk needs the space more
                    self.forget()
            reason = "the disk is full" if is_full else error.strerror or "the disk refused"
            raise Unavailable(
                f"'{self._target.name}' could not be written: {reason}.",
                hint="Free some space, then run it again." if is_full else "Check the disk and its permissions.",
            ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
