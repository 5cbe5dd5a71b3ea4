"""That a process lives and executes runs: a row that it keeps fresh, and what it hears about its runs.

Whether another process lives is told by watching it, with a clock of our own that only grows: nobody compares the times
of two machines, so that one whose clock is wrong loses nothing and takes nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Self

from geoetl.core.errors import Unavailable
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import HUNG_S, LEASE_S, Holder, RunQueue

_log = logging.getLogger("geoetl.runs")
BEAT_S = LEASE_S / 4
# How soon a process hears that one of its runs is to be cancelled.
LISTEN_S = 0.5


class Notice(Enum):
    """What a process hears about a run that it executes."""

    CANCEL = "cancel"  # somebody wants it to end
    SUPERSEDED = "superseded"  # it is somebody else's now, or was ended
    STOP = "stop"  # the process stops, and hands it back


class Presence:
    """This process as one that executes runs; a context that lasts as long as it does.

    Args:
        queue: Where the runs are.
        slots: Notebooks that it executes at a time; 0 for a process that claims none.
    """

    def __init__(self, queue: RunQueue, *, slots: int = 0) -> None:
        self._queue = queue
        self._slots = slots
        self._mark = ProcessMark.own()
        self._held: dict[tuple[str, int], Callable[[Notice], None]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="geoetl-presence", daemon=True)
        self.id = queue.enter(self._mark, slots)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._queue.leave(self.id)

    @contextmanager
    def holding(self, run_id: str, attempt: int, told: Callable[[Notice], None]) -> Iterator[None]:
        """Hear about an attempt for as long as the block lasts: `told` is called at most once, in another thread."""
        with self._lock:
            self._held[run_id, attempt] = told
        try:
            yield
        finally:
            with self._lock:
                self._held.pop((run_id, attempt), None)

    def _live(self) -> None:
        last_beat = time.monotonic()
        while not self._stop.wait(LISTEN_S):
            try:
                if time.monotonic() - last_beat >= BEAT_S:
                    last_beat = time.monotonic()
                    self._beat()
                self._listen()
            except Unavailable as error:
                _log.warning("the database is away: %s", error.detail)  # the next time may be within the lease

    def _beat(self) -> None:
        if self._queue.beat(self.id):
            return
        # This process was stopped, or cut off from the database, for longer than its lease: its runs are others' now.
        with self._lock:
            lost = list(self._held)
        self.id = self._queue.enter(self._mark, self._slots)
        _log.warning("taken for dead with %d runs; going on as worker %s", len(lost), self.id)
        for key in lost:
            self._tell(key, Notice.SUPERSEDED)

    def _listen(self) -> None:
        with self._lock:
            mine = list(self._held)
        if not mine:
            return
        held = self._queue.held(self.id)
        for run_id, attempt in mine:
            is_attempt, is_cancelled = held.get(run_id, (0, False))
            if is_attempt != attempt:
                self._tell((run_id, attempt), Notice.SUPERSEDED)
            elif is_cancelled:
                self._tell((run_id, attempt), Notice.CANCEL)

    def _tell(self, key: tuple[str, int], notice: Notice) -> None:
        with self._lock:
            told = self._held.pop(key, None)
        if told is not None:
            told(notice)


class Watch:
    """Watches the other processes that execute runs, and finds the dead.

    Args:
        queue: Where they are.
        clock: Seconds that only grow.
    """

    def __init__(self, queue: RunQueue, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def reclaim(self, own: str = "") -> int:
        """Take the runs of dead processes from them, so that they go on elsewhere; return how many there were."""
        now, holders = self._clock(), self._queue.holders()
        self._seen = {
            one.id: known if (known := self._seen.get(one.id)) and known[0] == one.beats else (one.beats, now)
            for one in holders
        }
        dead = [one for one in holders if one.id != own and self._is_dead(one, now - self._seen[one.id][1])]
        return sum(self._queue.reclaim(one) for one in dead)

    def _is_dead(self, holder: Holder, silent_s: float) -> bool:
        if not holder.id or holder.mark.is_gone:
            return True
        may_wait = holder.mark.is_here and not holder.mark.is_stopped
        return silent_s > (HUNG_S if may_wait else LEASE_S)
