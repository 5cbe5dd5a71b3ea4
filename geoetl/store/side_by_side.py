"""Doing the same to many things by several threads, until one of them fails."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event


def side_by_side[A](function: Callable[[A], None], items: Iterable[A], workers: int) -> None:
    """Call a function for each of several items.

    Args:
        function: Called from several threads at once.
        items: In this order they are begun.
        workers: How many threads.

    Raises:
        Exception: One that a call raised, when all calls that had begun are over; no other is begun after it.
    """
    # A list's iterator gives each item to one thread only.
    waiting = iter(listed := list(items))
    stop = Event()

    def work() -> None:
        try:
            for item in waiting:
                if stop.is_set():
                    return
                function(item)
        except BaseException:
            stop.set()
            raise

    if not listed:
        return
    with ThreadPoolExecutor(min(workers, len(listed)), "side-by-side") as pool:
        working = [pool.submit(work) for _ in range(min(workers, len(listed)))]
        try:
            for each in working:
                each.result()
        finally:
            stop.set()
