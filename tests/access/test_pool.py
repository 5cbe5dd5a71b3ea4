"""Datasets that are kept open: bounded, one borrower at a time, never stale."""

import threading

import pytest

from geoetl.access.items import AssetKey
from geoetl.access.pool import MAX_IDLE_S, HandlePool, PoolStatistics, SharedPool
from geoetl.core.errors import NotFound


class Handle:
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def key(item: str, state: int = 1) -> AssetKey:
    return AssetKey("c", item, "data", str(state))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


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


def test_another_state_of_an_asset_closes_the_handles_of_the_older_one_and_no_others() -> None:
    pool, opener = HandlePool[Handle](4), Opener()
    with pool.borrow(key("a"), opener), pool.borrow(key("a"), opener), pool.borrow(key("b"), opener):
        pass
    with pool.borrow(key("a", 2), opener):
        assert [handle.closed for handle in opener.opened] == [1, 1, 0, 0]
    with pool.borrow(key("a", 2), opener), pool.borrow(key("b"), opener):
        assert len(opener.opened) == 4


def test_a_handle_that_comes_back_after_a_newer_one_is_closed() -> None:
    pool, opener = HandlePool[Handle](4), Opener()
    with pool.borrow(key("a"), opener):
        with pool.borrow(key("a", 2), opener):
            pass
    old, new = opener.opened
    assert (old.closed, new.closed) == (1, 0)


def test_what_nobody_asks_for_is_closed_at_the_next_use_or_look_at_the_numbers() -> None:
    clock = Clock()
    pool, opener = HandlePool[Handle](4, clock), Opener()
    with pool.borrow(key("withdrawn"), opener), pool.borrow(key("b"), opener):
        pass
    clock.now = MAX_IDLE_S - 1
    with pool.borrow(key("b"), opener):
        assert pool.statistics() == PoolStatistics(open=2, hits=1, misses=2)
    clock.now = MAX_IDLE_S + 1
    with pool.borrow(key("b"), opener):
        assert [handle.closed for handle in opener.opened] == [1, 0]
    clock.now *= 3
    assert pool.statistics() == PoolStatistics(open=0, hits=2, misses=2)
    assert [handle.closed for handle in opener.opened] == [1, 1]


def test_a_failed_opening_of_a_handle_is_not_counted_as_open() -> None:
    pool = HandlePool[Handle](4)

    def fail() -> Handle:
        raise OSError("away")

    with pytest.raises(OSError, match="away"), pool.borrow(key("a"), fail):
        pass
    assert pool.statistics() == PoolStatistics(open=0, hits=0, misses=1)


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


def test_shared_values_are_bounded_and_new_with_each_state() -> None:
    pool = SharedPool[object](2)
    first = pool.get(key("a"), object)
    assert pool.get(key("a"), object) is first
    pool.get(key("b"), object)
    pool.get(key("c"), object)
    assert pool.get(key("a"), object) is not first
    other = pool.get(key("c"), object)
    newer = pool.get(key("a", 2), object)
    assert pool.get(key("a", 2), object) is newer
    assert pool.get(key("c"), object) is other
    assert pool.statistics() == PoolStatistics(open=2, hits=4, misses=5)


def test_shared_values_that_nobody_asks_for_are_let_go() -> None:
    clock = Clock()
    pool = SharedPool[object](4, clock)
    pool.get(key("withdrawn"), object)
    clock.now = MAX_IDLE_S + 1
    kept = pool.get(key("a"), object)
    assert pool.statistics().open == 1
    assert pool.get(key("a"), object) is kept
    pool.close()
    assert pool.statistics().open == 0


def test_a_failed_opening_leaves_nothing_behind() -> None:
    pool = SharedPool[str](2)

    def fail() -> str:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        pool.get(key("a"), fail)
    assert pool.get(key("a"), lambda: "there") == "there"
