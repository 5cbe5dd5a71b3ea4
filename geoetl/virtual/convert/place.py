"""Where a store is written: its hidden name, the journal of what is finished, and the lock."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from geoetl.core import html
from geoetl.core.errors import Conflict, Unavailable
from geoetl.core.identifiers import canonical_json
from geoetl.store.zones import free_bytes
from geoetl.virtual.convert.model import Converted

# The line of the journal that names no region.
TEMPLATE = "template"
# What is written may turn out larger than the sample that was compressed.
SPACE_MARGIN = 1.1


@dataclass(frozen=True)
class Place:
    """Where a store is written and found again.

    Args:
        target: The finished store.
        token: Digest of its plan and its sources; what is written for others is never continued.
    """

    target: Path
    token: str

    @property
    def partial(self) -> Path:
        """The store while it is written."""
        return self._beside(f"{self.token[:16]}.partial")

    @property
    def _journal(self) -> Path:
        return self._beside(f"{self.token[:16]}.journal")

    @property
    def _record(self) -> Path:
        return self._beside("converted.json")

    def _beside(self, suffix: str) -> Path:
        return self.target.with_name(f".{self.target.name}.{suffix}")

    def finished(self) -> set[str]:
        """Return the lines of the journal; one that was cut off by a crash does not count."""
        if not self.partial.is_dir() or not self._journal.is_file():
            return set()
        lines = self._journal.read_text("utf-8").split("\n")[:-1]
        return set(lines) if TEMPLATE in lines else set()

    def note(self, line: str) -> None:
        """Add a line to the journal, durably; one write, so that lines of several tasks do not mix."""
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(f"{line}\n".encode())
            os.fsync(journal.fileno())

    def reset(self) -> None:
        """Begin anew."""
        self._journal.unlink(missing_ok=True)
        if self.partial.exists():
            shutil.rmtree(self.partial)

    def remove_others(self) -> None:
        """Remove what was begun for other sources or another plan."""
        for path in self.target.parent.glob(f".{self.target.name}.*"):
            if path.suffix == ".partial" and path != self.partial:
                shutil.rmtree(path)
            elif path.suffix == ".journal" and path != self._journal:
                path.unlink()

    def publish(self, result: Converted) -> None:
        """Give the store its name."""
        record = canonical_json({"token": self.token, "result": result.model_dump(mode="json")})
        self._record.write_text(record, "utf-8")
        sync(self._record)
        for folder in [path for path in self.partial.rglob("*") if path.is_dir()]:
            sync(folder)
        self.partial.replace(self.target)
        sync(self.target.parent)
        self._journal.unlink(missing_ok=True)

    def recorded(self) -> Converted:
        """Return what is known of the finished store.

        Raises:
            Conflict: It is another one.
        """
        try:
            known = json.loads(self._record.read_text("utf-8"))
            if known["token"] == self.token:
                return Converted.model_validate(known["result"])
        except (OSError, ValueError, LookupError, TypeError, ValidationError):
            pass
        raise Conflict(
            f"'{self.target.name}' is there already, and not made of these files in this way.",
            hint="Remove it first, or give another target.",
            field="target",
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the target against other processes; a lock of a process that was killed is free at once.

        Raises:
            Conflict: Another process holds it.
        """
        path = self._beside("lock")
        with self.writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("a")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"'{self.target.name}' is being written by another process.", hint="Wait until it has ended."
                ) from None
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say of an error of the disk what could not be written.

        Raises:
            Unavailable: The disk is full, or cannot be written.
        """
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            reason = "the disk is full" if full else error.strerror or "the disk refused"
            raise Unavailable(
                f"'{self.target.name}' could not be written: {reason}.",
                hint="Free some space or check the permissions, then run it again: finished regions are kept.",
            ) from error

    def check_space(self, estimated_bytes: float) -> None:
        """Check that the disk has room.

        Raises:
            Unavailable: It has not.
        """
        free = free_bytes(self.target.parent)
        if free < (needed := estimated_bytes * SPACE_MARGIN):
            said = f"needs about {html.human_bytes(needed)}; its disk has {html.human_bytes(free)} free"
            raise Unavailable(
                f"'{self.target.name}' {said}.",
                hint="Free some space, or give a target on another disk.",
                field="target",
            )


def sync(path: Path) -> None:
    """Make a file or folder durable; a shard of nothing but fill values has no file."""
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
