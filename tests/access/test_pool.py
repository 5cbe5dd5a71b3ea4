"""Datasets that are kept open: bounded, one borrower at a time, never stale."""

import threading

import pytest

from geoetl.access.items import AssetKey
from geoetl.access.pool import HandlePool, SharedPool
from geoetl.core.errors import NotFound


class Handle:
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def key(item: str, version: int = 1) -> AssetKey:
    return AssetKey("c", item, "data", version)


class Opener:
    """Remembers what it opened."""

    def __init__(self) -> None:
        self.opened: list[Handle] = []

    def __call__(self) -> Handle:
        self.opened.append(Handle())
        return self.opened[-1]


def test_a_handle_is_used_again() -> None:
    pool, opener = HandlePool[Handle](4), Opener()
    for _ in range(3):
        with pool.borrow(key("a"), opener):
            pass
    assert len(opener.opened) == 1


def test_two_borrowers_at_once_get_two_handles() -> None:
    pool, opener = HandlePool[Handle](4), Opener()
    with pool.borrow(key("a"), opener) as first, pool.borrow(key("a"), opener) as second:
        assert first is not second
    assert [handle.closed for handle in opener.opened] == [0, 0]


def test_the_longest_unused_handle_is_closed_when_there_are_too_many() -> None:
    pool, opener = HandlePool[Handle](2), Opener()
    for item in ("a", "b", "a", "c"):
        with pool.borrow(key(item), opener):
            pass
    a, b, c = opener.opened
    assert (a.closed, b.closed, c.closed) == (0, 1, 0)


def test_a_new_catalogue_version_closes_what_is_older() -> None:
    pool, opener = HandlePool[Handle](4), Opener()
    with pool.borrow(key("a"), opener):
        with pool.borrow(key("a", 2), opener):
            pass
    old, new = opener.opened
    assert (old.closed, new.closed) == (1, 0)


def test_a_wrong_question_keeps_the_handle_and_a_broken_one_is_closed() -> None:
    pool, opener = HandlePool[Handle](4), Opener()
    with pytest.raises(NotFound), pool.borrow(key("a"), opener):
        raise NotFound("outside")
    assert opener.opened[0].closed == 0
    with pytest.raises(OSError, match="broken"), pool.borrow(key("a"), opener):
        raise OSError("broken")
    assert opener.opened[0].closed == 1
    pool.close()
    assert opener.opened[0].closed == 1


def test_a_shared_value_is_opened_once_whoever_asks() -> None:
    pool = SharedPool[object](4)
    start, opened = threading.Barrier(8), list[object]()
    found: list[object] = []

    def open_value() -> object:
        opened.append(object())
        return opened[-1]

    def ask() -> None:
        start.wait()
        found.append(pool.get(key("a"), open_value))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert set(map(id, found)) == {id(opened[0])}


def test_shared_values_are_bounded_and_new_with_each_version() -> None:
    pool = SharedPool[object](2)
    first = pool.get(key("a"), object)
    assert pool.get(key("a"), object) is first
    pool.get(key("b"), object)
    pool.get(key("c"), object)
    assert pool.get(key("a"), object) is not first
    newer = pool.get(key("a", 2), object)
    assert pool.get(key("a", 2), object) is newer


def test_a_failed_opening_leaves_nothing_behind() -> None:
    pool = SharedPool[str](2)

    def fail() -> str:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        pool.get(key("a"), fail)
    assert pool.get(key("a"), lambda: "there") == "there"
