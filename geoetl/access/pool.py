"""Opened datasets, kept for the next question: bounded, safe for threads, dropped when the catalogue changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from geoetl.access.items import AssetKey
from geoetl.core.errors import GeoetlError


class Closeable(Protocol):
    """What a pool keeps."""

    def close(self) -> None: ...


class HandlePool[H: Closeable]:
    """Keeps handles that only one thread at a time may use, such as rasterio datasets.

    A borrowed handle belongs to the borrower alone; a second borrower of the same dataset gets another one, so a long
    read never makes a short one wait.

    Args:
        capacity: Most idle handles that stay open (each holds a file descriptor); the longest unused goes first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, tuple[AssetKey, H]] = OrderedDict()
        self._version = -1

    @contextmanager
    def borrow(self, key: AssetKey, open_handle: Callable[[], H]) -> Iterator[H]:
        """Lend a handle of `key`, opened now where none is idle.

        It is kept afterwards, also when the borrower found something wrong with the question (a `GeoetlError`); any
        other error closes it, as it may be broken.
        """
        taken, outdated = self._take(key)
        for old in outdated:
            old.close()
        handle = open_handle() if taken is None else taken
        surplus = [handle]
        try:
            yield handle
            surplus = self._give_back(key, handle)
        except GeoetlError:
            surplus = self._give_back(key, handle)
            raise
        finally:
            for closing in surplus:
                closing.close()

    def _take(self, key: AssetKey) -> tuple[H | None, list[H]]:
        with self._lock:
            outdated = self._drop_older(key.catalog_version)
            for number, (kept_key, handle) in reversed(self._idle.items()):
                if kept_key == key:
                    del self._idle[number]
                    return handle, outdated
            return None, outdated

    def _give_back(self, key: AssetKey, handle: H) -> list[H]:
        with self._lock:
            if key.catalog_version < self._version:
                return [handle]
            self._idle[id(handle)] = (key, handle)
            surplus: list[H] = []
            while len(self._idle) > self._capacity:
                surplus.append(self._idle.popitem(last=False)[1][1])
            return surplus

    def _drop_older(self, version: int) -> list[H]:
        if version <= self._version:
            return []
        self._version = version
        outdated = [(number, handle) for number, (key, handle) in self._idle.items() if key.catalog_version < version]
        for number, _ in outdated:
            del self._idle[number]
        return [handle for _, handle in outdated]

    def close(self) -> None:
        """Close every idle handle."""
        with self._lock:
            handles = [handle for _, handle in self._idle.values()]
            self._idle.clear()
        for handle in handles:
            handle.close()


class _Slot[V]:
    """One value that is opened once, whoever asks first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: V | None = None


class SharedPool[V]:
    """Keeps values that all threads may read at once, such as lazy xarray datasets; each is opened once.

    What falls out is not closed here, as another thread may be reading it; it closes when its last user lets go.

    Args:
        capacity: Most values that are kept; the longest unused goes first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._slots: OrderedDict[AssetKey, _Slot[V]] = OrderedDict()
        self._version = -1

    def get(self, key: AssetKey, open_value: Callable[[], V]) -> V:
        """Return the value of `key`, opened now where it is not there; a failed opening leaves nothing behind."""
        with self._lock:
            if key.catalog_version > self._version:
                self._version = key.catalog_version
                for old in [kept for kept in self._slots if kept.catalog_version < self._version]:
                    del self._slots[old]
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._capacity:
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.value is None:
                slot.value = open_value()
            return slot.value
