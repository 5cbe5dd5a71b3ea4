"""Opened datasets, kept for the next question: bounded, safe for threads, never stale.

They are kept under what they are (`AssetKey`), so that a change of the catalogue closes only what it is about. Whoever
comes with another state of the same asset closes the older one at once; what nobody asked for in `MAX_IDLE_S`, such as
items that were withdrawn, goes at the next use of the pool, or when its numbers are read.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol

from geoetl.access.items import AssetKey
from geoetl.core.errors import GeoetlError

# Opening again costs milliseconds; a file that was deleted frees its place on the disk only when it is closed.
MAX_IDLE_S = 300.0


class Closeable(Protocol):
    """What a pool keeps."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class PoolStatistics:
    """What a pool holds and did.

    Attributes:
        open: Datasets that are open, in use or not.
        hits: Questions that found theirs open.
        misses: Questions for which one was opened.
    """

    open: int
    hits: int
    misses: int


@dataclass(frozen=True, slots=True)
class _Idle[H]:
    """A handle that nobody uses.

    Attributes:
        key: What it is of.
        handle: The handle.
        turn: Number of the borrowing that it came back from.
        since: When it came back.
    """

    key: AssetKey
    handle: H
    turn: int
    since: float


class NotOpen(LookupError):
    """No handle is idle, and none was to be opened."""


def open_nothing() -> NoReturn:
    """Open no handle, for whoever must not wait for that.

    Raises:
        NotOpen: Always.
    """
    raise NotOpen


class HandlePool[H: Closeable]:
    """Keeps handles that only one thread at a time may use, such as rasterio datasets.

    A borrowed handle belongs to the borrower alone; a second borrower of the same dataset gets another one, so a long
    read never makes a short one wait.

    Args:
        capacity: Most idle handles that stay open (each holds a file descriptor); the longest unused goes first.
        clock: Seconds that only go forward.
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        # The longest unused first.
        self._idle: OrderedDict[int, _Idle[H]] = OrderedDict()
        self._lent = self._hits = self._misses = 0

    @contextmanager
    def borrow(self, key: AssetKey, open_handle: Callable[[], H]) -> Iterator[H]:
        """Lend a handle of `key`, opened now where none is idle.

        It is kept afterwards, also when the borrower found something wrong with the question (a `GeoetlError`); any
        other error closes it, as it may be broken.
        """
        taken, turn, outdated = self._take(key)
        _close_all(outdated)
        try:
            handle = open_handle() if taken is None else taken
        except BaseException:
            self._end(None)
            raise
        kept: _Idle[H] | None = None
        try:
            yield handle
            kept = _Idle(key, handle, turn, self._clock())
        except GeoetlError:
            kept = _Idle(key, handle, turn, self._clock())
            raise
        finally:
            surplus = self._end(kept)
            _close_all(surplus if kept is not None else [handle])

    def statistics(self) -> PoolStatistics:
        """Return what is open, and how often that helped."""
        with self._lock:
            outdated = self._drop_old()
            found = PoolStatistics(self._lent + len(self._idle), self._hits, self._misses)
        _close_all(outdated)
        return found

    def close(self) -> None:
        """Close every idle handle."""
        with self._lock:
            handles = [idle.handle for idle in self._idle.values()]
            self._idle.clear()
        _close_all(handles)

    def _take(self, key: AssetKey) -> tuple[H | None, int, list[H]]:
        """Return an idle handle, the number of this borrowing, and what is to be closed."""
        with self._lock:
            outdated = self._drop_old()
            self._lent += 1
            turn = self._hits + self._misses
            for number, idle in reversed(self._idle.items()):
                if idle.key == key:
                    del self._idle[number]
                    self._hits += 1
                    return idle.handle, turn, outdated
            self._misses += 1
            others = [number for number, idle in self._idle.items() if idle.key.is_outdated_by(key)]
            return None, turn, outdated + [self._idle.pop(number).handle for number in others]

    def _end(self, back: _Idle[H] | None) -> list[H]:
        """End a borrowing; return what is to be closed."""
        with self._lock:
            self._lent -= 1
            if back is None:
                return []
            if any(idle.key.is_outdated_by(back.key) and idle.turn > back.turn for idle in self._idle.values()):
                return [back.handle]
            self._idle[id(back.handle)] = back
            surplus: list[H] = []
            while len(self._idle) > self._capacity:
                surplus.append(self._idle.popitem(last=False)[1].handle)
            return surplus

    def _drop_old(self) -> list[H]:
        before = self._clock() - MAX_IDLE_S
        old: list[H] = []
        while self._idle and next(iter(self._idle.values())).since < before:
            old.append(self._idle.popitem(last=False)[1].handle)
        return old


def _close_all[H: Closeable](handles: list[H]) -> None:
    for handle in handles:
        handle.close()


class _Slot[V]:
    """One value that is opened once, whoever asks first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: V | None = None
        self.used = 0.0


class SharedPool[V]:
    """Keeps values that all threads may read at once, such as lazy xarray datasets; each is opened once.

    What falls out is not closed here, as another thread may be reading it; it closes when its last user lets go.

    Args:
        capacity: Most values that are kept; the longest unused goes first.
        clock: Seconds that only go forward.
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        # The longest unused first.
        self._slots: OrderedDict[AssetKey, _Slot[V]] = OrderedDict()
        self._hits = self._misses = 0

    def get(self, key: AssetKey, open_value: Callable[[], V]) -> V:
        """Return the value of `key`, opened now where it is not there; a failed opening leaves nothing behind."""
        with self._lock:
            self._drop_old()
            slot = self._slots.get(key)
            if slot is None:
                self._misses += 1
                for old in [kept for kept in self._slots if kept.is_outdated_by(key)]:
                    del self._slots[old]
                slot = self._slots[key] = _Slot()
            else:
                self._hits += 1
            slot.used = self._clock()
            self._slots.move_to_end(key)
            while len(self._slots) > self._capacity:
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.value is None:
                slot.value = open_value()
            return slot.value

    def statistics(self) -> PoolStatistics:
        """Return what is kept, and how often that helped."""
        with self._lock:
            self._drop_old()
            return PoolStatistics(len(self._slots), self._hits, self._misses)

    def close(self) -> None:
        """Let go of every value."""
        with self._lock:
            self._slots.clear()

    def _drop_old(self) -> None:
        before = self._clock() - MAX_IDLE_S
        while self._slots and next(iter(self._slots.values())).used < before:
            self._slots.popitem(last=False)
