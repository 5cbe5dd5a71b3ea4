"""Spread many small tasks over processes of this machine, as soon as that pays."""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from geoetl.core.errors import RunFailed

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# A new process imports what it needs for a second or two: so the first tasks run here, and show how long one takes.
PROBE_S = 0.5
# What has to be left, by that measure, for processes to pay.
WORTH_S = 3.0
# Work that is handed over at once, so that handing over does not show.
BATCH_S = 0.1


def spread[A, T](function: Callable[[A], T], items: Sequence[A], *, processes: int) -> Iterator[tuple[int, T]]:
    """Call a function for each item and give its position and result, in the order in which they are done.

    Short work stays in this process. Processes are spawned, not forked: a fork of a process in which Zarr's or
    obstore's threads have run hangs. Within such a process nothing is spread again.

    Args:
        function: Picklable, as are items and results. What it raises is raised here.
        items: What it is called with.
        processes: At most so many, this one among them.

    Raises:
        RunFailed: A process died, for example for lack of memory.
    """
    started = time.monotonic()
    may_spread = processes > 1 and multiprocessing.parent_process() is None
    for position, item in enumerate(items):
        if position == 1:
            started = time.monotonic()  # the first one also loads what all of them need
        spent, timed = time.monotonic() - started, position - 1
        if may_spread and timed > 0 and spent > PROBE_S and spent / timed * (len(items) - position) > WORTH_S:
            break
        yield position, function(item)
    else:
        return
    size = max(1, min(int(BATCH_S * timed / spent) if spent else 1, (len(items) - position) // (4 * processes)))
    batches = deque(range(position, len(items), size))
    others = processes - 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(others, mp_context=context, initializer=_end_with_parent) as pool:
        waiting: dict[Future[list[T]], int] = {}
        try:
            while batches or waiting:
                while batches and len(waiting) < 2 * others:
                    start = batches.pop()
                    waiting[pool.submit(_call_each, function, items[start : start + size])] = start
                if batches:
                    # This process works, too: it has already loaded what the others are still loading.
                    start = batches.popleft()
                    yield from enumerate(_call_each(function, items[start : start + size]), start)
                    finished = [future for future in waiting if future.done()]
                else:
                    finished = list(wait(waiting, return_when=FIRST_COMPLETED).done)
                for future in finished:
                    yield from enumerate(future.result(), waiting.pop(future))
        except BrokenProcessPool:
            raise RunFailed(
                "A process that worked on a part of this died, probably for lack of memory.",
                hint="Run it again: what is done is not repeated. Fewer processes: GEOETL_DASK__WORKERS=1.",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _call_each[A, T](function: Callable[[A], T], items: Sequence[A]) -> list[T]:
    return [function(item) for item in items]


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=(parent,), name="geoetl-parent", daemon=True).start()


def _wait_and_exit(parent: "BaseProcess") -> None:
    parent.join()
    os._exit(1)
