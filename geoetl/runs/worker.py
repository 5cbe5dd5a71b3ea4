"""The process that executes what waits in the queue: notebooks in its slots, functions in a thread beside them.

A worker that is killed loses nothing: whoever watches it gives its runs to others. One that is asked to stop claims
nothing more, lets what it executes come to an end for a while, and hands the rest back.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import BaseModel

from geoetl.core.errors import GeoetlError, RunFailed, Unavailable
from geoetl.core.logging import bound
from geoetl.core.registry import Registry
from geoetl.runs.attempt import Attempt
from geoetl.runs.functions import LightFunction, checked_function
from geoetl.runs.model import RunKind
from geoetl.runs.notebook import Execution, NotebookRunner
from geoetl.runs.pipeline import load_pipeline
from geoetl.runs.presence import Notice, Presence, Watch
from geoetl.runs.queue import Claim, Ending, RunQueue
from geoetl.runs.stage import Run

_log = logging.getLogger("geoetl.runs")
# How often an idle worker looks for work; a look takes a fraction of a millisecond and no lock.
POLL_S = 0.2
# How often it looks for dead workers.
WATCH_S = 1.0
# When the database was away.
PAUSE_S = 1.0
# Functions that are claimed and ended in one transaction, as long as they are so quick.
MAX_BATCH = 64
QUICK_S = 0.1
# What is killed is gone within a second or two.
KILLED_S = 5.0


@dataclass
class Worker:
    """Executes runs until it is stopped.

    Args:
        runner: Executes notebooks.
        environment: Variables with which a notebook's kernel connects to the same platform.
        functions: Which there are.
        platform: Handed to them.
        new_run: Makes the `Run` of a claim, for functions.
        slots: Notebooks at a time.
        grace_s: How long what is executed may go on after `stop`, seconds.
    """

    runner: NotebookRunner
    environment: Mapping[str, str]
    functions: Registry[type[LightFunction]]
    platform: Any
    new_run: Callable[[Claim], Run]
    slots: int = 1
    grace_s: float = 10.0
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _at_once: threading.Event = field(default_factory=threading.Event, init=False)
    _drain: bool = field(default=False, init=False)
    _executions: dict[str, Execution] = field(default_factory=dict, init=False)

    @property
    def queue(self) -> RunQueue:
        """Where the runs are."""
        return self.runner.repository.queue

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping.is_set()

    def stop(self, *, at_once: bool = False) -> None:
        """Claim nothing more, and end; `at_once` without grace. May be called by a signal's handler."""
        if at_once or self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    def run(self, *, once: bool = False) -> None:
        """Work until `stop` is called, or with `once` until there is nothing that could be done now.

        Raises:
            Unavailable: The database cannot be reached at the start.
        """
        self._drain = once
        watch = Watch(self.queue)
        with Presence(self.queue, slots=self.slots) as presence:
            watch.reclaim(presence.id)
            lane = _Lane(self, presence)
            workers = [
                threading.Thread(target=self._notebooks, args=(presence,), name=f"geoetl-slot-{n}", daemon=True)
                for n in range(self.slots)
            ]
            for thread in workers:
                thread.start()
            last_watch = time.monotonic()
            while not self._stopping.wait(POLL_S):
                lane.check()
                if time.monotonic() - last_watch > WATCH_S:
                    last_watch = time.monotonic()
                    self._patiently(lambda: watch.reclaim(presence.id), tries=1)
                if once and not lane.is_alive and not any(thread.is_alive() for thread in workers):
                    return
            self._wind_up(workers, lane)

    def _wind_up(self, workers: Sequence[threading.Thread], lane: "_Lane") -> None:
        deadline = time.monotonic() + self.grace_s
        while any(thread.is_alive() for thread in workers) or lane.is_alive:
            if time.monotonic() > deadline or self._at_once.wait(0.05):
                break
        for execution in list(self._executions.values()):
            execution.end(Notice.STOP)
        deadline = time.monotonic() + KILLED_S
        for thread in workers:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _notebooks(self, presence: Presence) -> None:
        while not self._stopping.is_set():
            claims = self._claim(presence, RunKind.NOTEBOOK, 1)
            if claims:
                self._execute(claims[0], presence)
            elif self._drain:
                return
            else:
                self._stopping.wait(POLL_S)

    def _execute(self, claim: Claim, presence: Presence) -> None:
        _log.info("run %s (%s) begins, attempt %d", claim.run_id, claim.pipeline, claim.attempt)
        outcome = Attempt(partial(self._notebook, presence=presence))(claim)
        if isinstance(outcome, GeoetlError):
            self._patiently(lambda: self.queue.finish(Ending(claim.run_id, claim.attempt, error=outcome.problem())))
        _log.info("run %s (%s) ends", claim.run_id, claim.pipeline)

    def _notebook(self, claim: Claim, *, presence: Presence) -> None:
        execution = Execution(self.runner, load_pipeline(claim.pipeline), claim, self.environment)
        self._executions[claim.run_id] = execution
        try:
            if self._at_once.is_set():
                execution.end(Notice.STOP)
            with presence.holding(claim.run_id, claim.attempt, execution.end):
                execution.run()
        finally:
            del self._executions[claim.run_id]

    def _claim(self, presence: Presence, kind: RunKind, limit: int) -> list[Claim]:
        try:
            return self.queue.claim(presence.id, kind, limit=limit)
        except Unavailable as error:
            _log.warning("the queue is away: %s", error.detail)
            self._stopping.wait(PAUSE_S)
            return []

    def _patiently(self, write: Callable[[], object], *, tries: int = 0) -> None:
        """Write, again and again while the database is away; a run whose end is not told would never end."""
        while True:
            try:
                write()
                return
            except Unavailable as error:
                _log.warning("the queue is away: %s", error.detail)
                tries -= 1
                if tries == 0 or self._at_once.wait(PAUSE_S):
                    return


class _Lane:
    """Functions, one after another in a thread of their own.

    Python cannot stop a thread: one whose function takes too long is left to itself, without the right to write
    anything, and another one goes on.
    """

    def __init__(self, worker: Worker, presence: Presence) -> None:
        self._worker = worker
        self._presence = presence
        self._thread = self._new_thread()

    @property
    def is_alive(self) -> bool:
        """Whether its thread works."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Fail a function that takes too long, and leave its thread."""
        thread = self._thread
        begun = thread.begun
        if begun is None or time.monotonic() - begun[1] <= begun[2]:
            return
        claim, _, limit_s = begun
        thread.is_left = True
        error = RunFailed(
            f"The function '{claim.pipeline}' took longer than {limit_s:g} s.", hint="Give it less to do."
        )
        queue = self._worker.queue
        queue.finish(Ending(claim.run_id, claim.attempt, error=error.problem()))
        rest = [(one.run_id, one.attempt) for one in thread.waiting]
        if rest:
            queue.hand_back(*rest)
        self._thread = self._new_thread()

    def _new_thread(self) -> "_LaneThread":
        thread = _LaneThread(self._worker, self._presence)
        thread.start()
        return thread


class _LaneThread(threading.Thread):
    """See `_Lane`."""

    def __init__(self, worker: Worker, presence: Presence) -> None:
        super().__init__(name="geoetl-functions", daemon=True)
        self._worker = worker
        self._presence = presence
        self.is_left = False
        self.begun: tuple[Claim, float, float] | None = None
        self.waiting: list[Claim] = []
        self._done: list[Ending] = []
        self._ended: set[tuple[str, int]] = set()

    def run(self) -> None:
        """Claim functions and call them."""
        worker, limit = self._worker, 1
        while not (worker.is_stopping or self.is_left):
            claims = worker._claim(self._presence, RunKind.FUNCTION, limit)
            if not claims:
                if worker._drain:
                    return
                worker._stopping.wait(POLL_S)
                continue
            started = time.monotonic()
            self._batch(claims)
            is_quick = time.monotonic() - started < QUICK_S
            limit = min(2 * limit, MAX_BATCH) if is_quick else max(limit // 2, 1)

    def _batch(self, claims: list[Claim]) -> None:
        self.waiting = list(claims)
        with ExitStack() as stack:
            for claim in claims:
                told = partial(self._told, claim)
                stack.enter_context(self._presence.holding(claim.run_id, claim.attempt, told))
            last_write = time.monotonic()
            while self.waiting and not self._worker.is_stopping:
                claim = self.waiting.pop(0)
                if (claim.run_id, claim.attempt) in self._ended:
                    continue
                ending = self._call(claim)
                if self.is_left:
                    return
                self._done.append(ending)
                if time.monotonic() - last_write > QUICK_S:
                    self._write()
                    last_write = time.monotonic()
            self._write()
            self._ended.clear()
            rest = [(claim.run_id, claim.attempt) for claim in self.waiting]
            if rest:
                self._worker._patiently(lambda: self._worker.queue.hand_back(*rest))

    def _call(self, claim: Claim) -> Ending:
        with bound(run_id=claim.run_id):
            outcome = Attempt(self._function)(claim)
        self.begun = None
        if isinstance(outcome, GeoetlError):
            return Ending(claim.run_id, claim.attempt, error=outcome.problem())
        result = outcome.model_dump_json() if isinstance(outcome, BaseModel) else None
        return Ending(claim.run_id, claim.attempt, result=result)

    def _function(self, claim: Claim) -> BaseModel | None:
        function = checked_function(self._worker.functions, claim.pipeline, claim.parameters)
        self.begun = (claim, time.monotonic(), function.limit_s)
        with closing(self._worker.new_run(claim)) as run:
            return function(run, self._worker.platform)

    def _told(self, claim: Claim, notice: Notice) -> None:
        # One that has not begun is not called; of one that has, nothing is taken any more.
        self._ended.add((claim.run_id, claim.attempt))
        if notice is Notice.CANCEL:
            self._worker.queue.finish(Ending(claim.run_id, claim.attempt, cancelled=True))

    def _write(self) -> None:
        done, self._done = self._done, []
        if done:
            self._worker._patiently(lambda: self._worker.queue.finish(*done))
