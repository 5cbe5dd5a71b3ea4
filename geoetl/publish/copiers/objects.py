"""Copies objects through this machine, or has the store do it where source and target lie in one."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from geoetl.core.errors import Conflict
from geoetl.core.settings import PublishSettings
from geoetl.publish.copiers.protocol import Tell, Transfer
from geoetl.store.origins import Origins
from geoetl.store.side_by_side import side_by_side
from geoetl.store.staging import Staging

#: Objects that are copied side by side.
WORKERS = 16


@dataclass(frozen=True)
class ObjectsCopier:
    """Copies between files, S3, Azure and Google Cloud Storage.

    Args:
        origins: Finds what is copied.
        workers: How many objects are copied side by side.
    """

    origins: Origins
    workers: int = WORKERS
    _cancelled: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @classmethod
    def make(cls, origins: Origins, settings: PublishSettings) -> "ObjectsCopier":
        """Return a copier; no setting concerns it."""
        return cls(origins)

    def bring(self, transfers: Sequence[Transfer], staging: Staging, tell: Tell) -> None:
        """Bring all of them; what is at a target already is replaced.

        Raises:
            NotFound: A source is gone.
            OutsideAllowedRoots: A source lies where nothing may be read.
            Unavailable: A store cannot be reached, or its disk is full.
            Conflict: It was told to end.
        """
        done = _Done(tell)

        def copy(transfer: Transfer) -> None:
            if self._cancelled.is_set():
                raise Conflict("The copy was cancelled.", hint="Run it again: what has arrived is not copied again.")
            origin = self.origins.find(transfer.source)
            staging.put(transfer.target, origin, transfer.bytes, transfer.media_type)
            done.add(transfer.bytes)

        try:
            # The largest first, so that no thread is left alone with one at the end.
            side_by_side(copy, sorted(transfers, key=lambda one: -one.bytes), self.workers)
        finally:
            self._cancelled.clear()

    def cancel(self) -> None:
        """End what `bring` does in another thread; without one, the next `bring` ends at once."""
        self._cancelled.set()


@dataclass
class _Done:
    """Counts what has been brought, and tells it from one thread at a time."""

    tell: Tell
    objects: int = 0
    bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, size: int) -> None:
        with self._lock:
            self.objects += 1
            self.bytes += size
            self.tell(self.objects, self.bytes)
