"""Spread many tasks over the workers of a Dask client.

Small tasks travel in batches of neighbours: handing one over costs Dask some milliseconds, and neighbours often read
the same files, which a worker then has at hand. Beyond that an item has no place where it is best worked on: data lie
in zones that every worker reaches alike; what does lie on a worker is Dask's to know.

A batch that takes too long or becomes too large comes back with what it has, and its rest is handed out again; so no
worker keeps much to itself, and little is lost with one. At most two batches for each thread are under way, and their
results are taken and released as they come: neither cluster nor client holds more, whatever the number of items.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from geoetl.core.errors import GeoetlError, RunFailed, Unavailable
from geoetl.core.settings import DaskSettings
from geoetl.runs.attempt import unforeseen
from geoetl.runs.cluster import ANSWER_S, lost_scheduler, replace_lost_workers
from geoetl.runs.versions import other_versions, own_versions

if TYPE_CHECKING:
    from distributed import Client, Future

# Work of a batch: so much that handing it over does not show, so little that few results are lost with a worker.
BATCH_S = 0.25
BATCH_BYTES = 16 * 1024**2
MAX_BATCH = 1000
# A batch has at most so many times the tasks of the one before: how long a task takes is only known by the last ones.
GROWTH = 4
# How often it is looked which workers there are.
LOOK_S = 2.0


@dataclass(frozen=True)
class Done:
    """What came of a batch.

    Attributes:
        seconds: How long its tasks took.
        outcomes: What came of them, pickled; fewer than it had items when it ended early.
    """

    seconds: float
    outcomes: tuple[bytes, ...]


@dataclass(frozen=True, repr=False)
class Batch:
    """Calls a function for some items, on a Dask worker.

    Attributes:
        function: Returns its errors; see `Attempt`.
        items: What it is called with.
        versions: That a worker has to have; one that came later may have others.
    """

    function: Callable[[Any], Any]
    items: Sequence[Any]
    versions: Mapping[str, str]

    def __call__(self) -> Done | GeoetlError:
        ours = own_versions()
        if ours != self.versions:
            pairs = ((name, wanted, ours.get(name)) for name, wanted in self.versions.items())
            return other_versions(
                "; ".join(f"{name} {one} here, {two} there" for name, one, two in pairs if one != two)
            )
        started, size = time.monotonic(), 0
        outcomes: list[bytes] = []
        for item in self.items:
            outcomes.append(_pickled(self.function(item)))
            size += len(outcomes[-1])
            if time.monotonic() - started > 2 * BATCH_S or size > BATCH_BYTES:
                break
        return Done(time.monotonic() - started, tuple(outcomes))


def fan_out(
    dask: "Client", name: str, function: Callable[[Any], Any], items: Sequence[Any], settings: DaskSettings
) -> Generator[list[tuple[int, Any]]]:
    """Call a function for each item on Dask's workers; give positions and outcomes as they come, some at a time.

    A batch whose worker is lost is given to another one by Dask. One that has lost several is suspected: its tasks run
    one by one when all others are done, with nothing else under way, so that it shows which of them it was. That one's
    outcome is an error, the others' are what they are.

    Args:
        dask: Whose workers.
        name: As which the batches are shown by Dask's dashboard.
        function: Returns its errors as values; picklable, as are items and outcomes.
        items: What it is called with.
        settings: How long workers may be gone.

    Raises:
        Unavailable: The scheduler, or all of its workers, are gone.
        ConfigurationError: A worker has other versions, or cannot load a task.
    """
    yield from _FanOut(dask, name, function, items, settings).outcomes()


@dataclass(frozen=True)
class _Flight:
    """A batch that is under way, with nothing else beside it or not."""

    future: "Future[Any]"
    positions: list[int]
    is_alone: bool


@dataclass
class _FanOut:
    """See `fan_out`; positions of items wait, fly, or are suspected."""

    dask: "Client"
    name: str
    function: Callable[[Any], Any]
    items: Sequence[Any]
    settings: DaskSettings
    _waiting: deque[int] = field(default_factory=deque, init=False)
    _suspects: deque[int] = field(default_factory=deque, init=False)
    _flying: dict[str, _Flight] = field(default_factory=dict, init=False)
    _landed: SimpleQueue[str] = field(default_factory=SimpleQueue, init=False)
    _size: int = field(default=1, init=False)
    _threads: int = field(default=1, init=False)
    _looked_at: float = field(default=0.0, init=False)
    _seen_at: float = field(default_factory=time.monotonic, init=False)

    def outcomes(self) -> Generator[list[tuple[int, Any]]]:
        self._waiting.extend(range(len(self.items)))
        versions = own_versions()
        try:
            while self._waiting or self._flying or self._suspects:
                self._look()
                self._submit(versions)
                if outcomes := list(self._taken(self._next_landed())):
                    yield outcomes
        finally:
            # Of a run that ends early; what runs on a worker comes to its end there, and nobody takes it.
            if self._flying and self.dask.status == "running":
                self.dask.cancel([flight.future for flight in self._flying.values()])

    def _look(self) -> None:
        """See how many threads there are; workers come and go."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return
        threads = replace_lost_workers(self.dask, self.settings)
        self._looked_at = now
        if threads:
            self._threads, self._seen_at = threads, now
        elif now - self._seen_at > self.settings.start_seconds:
            raise Unavailable(
                "All Dask workers are gone.", hint="Start workers, then run it again: what is done is not repeated."
            )

    def _submit(self, versions: Mapping[str, str]) -> None:
        slots = 2 * self._threads
        while self._waiting and len(self._flying) < slots:
            fair = -(-len(self._waiting) // (2 * slots))
            size = max(1, min(self._size, fair))
            self._fly([self._waiting.popleft() for _ in range(min(size, len(self._waiting)))], versions)
        if self._suspects and not self._flying:
            self._fly([self._suspects.popleft()], versions, is_alone=True)

    def _fly(self, positions: list[int], versions: Mapping[str, str], *, is_alone: bool = False) -> None:
        batch = Batch(self.function, [self.items[position] for position in positions], versions)
        key = f"{self.name}-{uuid4().hex}"
        self._await(key, _Flight(self.dask.submit(batch, key=key, pure=False), positions, is_alone))

    def _await(self, key: str, flight: _Flight) -> None:
        landed = self._landed
        self._flying[key] = flight
        flight.future.add_done_callback(lambda _: landed.put(key))

    def _next_landed(self) -> list[str]:
        """Wait a while until something has landed, and return all that has."""
        keys: list[str] = []
        with suppress(Empty):
            keys.append(self._landed.get(timeout=LOOK_S))
            while True:
                keys.append(self._landed.get_nowait())
        return keys

    def _taken(self, keys: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Take what has landed from the cluster."""
        landed = {key: self._flying.pop(key) for key in keys}
        fine = {key: flight.future for key, flight in landed.items() if flight.future.status == "finished"}
        results = self._gathered(fine)
        for key, flight in landed.items():
            done = results.get(key)
            if isinstance(done, Done):
                yield from self._finished(done, flight.positions)
            elif isinstance(done, GeoetlError):
                raise done
            elif flight.future.status == "cancelled":
                raise lost_scheduler()
            elif flight.future.status == "error":
                yield from self._failed(flight)
            else:
                self._await(key, flight)  # its worker was lost before anyone took the result: it is computed again

    def _gathered(self, futures: Mapping[str, "Future[Any]"]) -> Mapping[str, Any]:
        """Return the results of batches that are done, without those that were lost with their worker meanwhile.

        Dask waits until what was lost is computed again, which without any worker left is never: so that is looked at
        while it waits.
        """
        loop: Any = self.dask.loop  # tornado's, which Dask has made on top of one of asyncio
        gathering = asyncio.run_coroutine_threadsafe(
            self.dask.gather(futures, errors="skip", asynchronous=True), loop.asyncio_loop
        )
        try:
            while not wait([gathering], timeout=LOOK_S).done:
                self._look()
            results: Mapping[str, Any] = gathering.result()
        except (OSError, TimeoutError, CancelledError):
            raise lost_scheduler() from None
        finally:
            gathering.cancel()
        return results

    def _finished(self, done: Done, positions: list[int]) -> Iterator[tuple[int, Any]]:
        from distributed.protocol.pickle import loads

        count = len(done.outcomes)
        self._waiting.extendleft(reversed(positions[count:]))
        fitting = int(BATCH_S * count / max(done.seconds, 1e-6))
        self._size = max(1, min(fitting, GROWTH * max(count, self._size), MAX_BATCH))
        for position, outcome in zip(positions, done.outcomes, strict=False):
            yield position, loads(outcome)

    def _failed(self, flight: _Flight) -> Iterator[tuple[int, Any]]:
        from distributed import KilledWorker

        try:
            error = flight.future.exception(timeout=ANSWER_S)
        except (OSError, TimeoutError):
            raise lost_scheduler() from None
        if not isinstance(error, KilledWorker):
            told = unforeseen("a Dask worker", error)
            raise RunFailed(told.detail, hint="The same packages have to be installed on all Dask workers.") from None
        if not flight.is_alone:
            self._suspects.extend(flight.positions)
            return
        outcome = RunFailed(
            f"Its Dask worker died each of the {error.allowed_failures + 1} times it was tried.",
            hint="It may need more memory than a worker has: GEOETL_DASK__MEMORY_GIB.",
        )
        yield flight.positions[0], outcome


def _pickled(outcome: Any) -> bytes:
    from distributed.protocol.pickle import dumps

    try:
        return bytes(dumps(outcome))
    except Exception as error:  # noqa: BLE001  what cannot be sent is the task's error, not that of its batch
        return bytes(dumps(unforeseen("the result of a task", error)))
