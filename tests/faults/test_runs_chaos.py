"""Workers are killed at random moments, schedulers have wrong clocks: nothing is lost, done twice, or out of order.

The short form is part of every test run; ``make chaos`` makes more of it with ``GEOETL_TEST_RUNS``,
``GEOETL_TEST_KILLS`` and ``GEOETL_TEST_SLOTS``.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from geoetl.runs.functions import function_submission
from geoetl.runs.model import EventKind, RunKind, RunState
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending, RunQueue, Submission
from geoetl.runs.repository import RunRepository
from geoetl.runs.schedule import Declaration, Outcome, Schedule, Schedules, schedule_identity
from geoetl.runs.tables import events, runs, workers
from geoetl.store.database import Database
from tests.migrated import sqlite_database
from tests.runs.working import EFFECTS, FUNCTIONS

RUNS = int(os.environ.get("GEOETL_TEST_RUNS", 200))
KILLS = int(os.environ.get("GEOETL_TEST_KILLS", 50))
WORKERS = 2
SUBJECTS = 40
# Each run takes twice as long: before and after its effect.
SLEEP_S = max(0.005, min(0.03, 6 / RUNS))
# Slots of the schedule that three schedulers share, whose clocks are wrong by so much.
SLOTS = int(os.environ.get("GEOETL_TEST_SLOTS", 25))
SKEW_S, HOUR_S = 600, 3600
START = 1_772_310_600.0  # 2026-02-28T20:30Z
HOURLY = Declaration("hourly", "Every hour", RunKind.FUNCTION, "nothing", {}, "0 * * * *")
# A kill needs no longer than this to be made good, seconds.
RECOVERY_S = 10.0
PATIENCE_S = 120 + RUNS / 5 + KILLS


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunRepository]:
    """Give the runs of an empty database of each kind, with a table for what they do."""
    if request.param == "sqlite":
        database = sqlite_database(tmp_path / "runs.db")
    else:
        database = Database(request.getfixturevalue("pgstac_url"))
    with database.begin() as connection:
        connection.exec_driver_sql(EFFECTS)
    yield RunRepository(database)
    database.dispose()


class Herd:
    """Processes that work, one of which is killed now and then and replaced.

    They are forks of one process that has loaded everything: Python takes longer to start than a run to be executed.
    """

    def __init__(self, repository: RunRepository, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.runs.working", repository.database.url, str(folder), "--fork"]
        root = Path(__file__).parents[2]
        self._parent = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._workers = [self._start() for _ in range(WORKERS)]
        self.killed_at: list[float] = []

    def kill_one(self) -> None:
        """Kill a worker without warning, and start another in its place."""
        place = random.randrange(WORKERS)
        os.kill(self._workers[place], signal.SIGKILL)
        self.killed_at.append(time.time())
        self._workers[place] = self._start()

    def stop(self) -> None:
        """Ask all to stop, and wait for it."""
        for worker in self._workers:
            os.kill(worker, signal.SIGTERM)
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in self._workers), 60)
        self._parent.communicate(timeout=30)

    def _start(self) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write("another\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())


def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for something that comes about by itself."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def submit_all(repository: RunRepository) -> list[str]:
    """Submit runs of many subjects, numbered in their order."""
    asked = []
    for number in range(RUNS):
        subject = f"subject {number % SUBJECTS}"
        parameters = {"number": number, "subject": subject, "sleep_s": SLEEP_S}
        asked.append(function_submission(FUNCTIONS, "trace", parameters, subject=subject, max_attempts=10_000))
    parts = [asked[start : start + 500] for start in range(0, RUNS, 500)]
    return [run_id for part in parts for run_id, _ in repository.queue.submit(*part)]


def test_killed_workers_lose_nothing_and_do_nothing_twice(repository: RunRepository, tmp_path: Path) -> None:
    submitted = submit_all(repository)
    herd = Herd(repository, tmp_path)
    try:
        while len(herd.killed_at) < KILLS:
            # Spread over the work, so that the last kill meets some, too.
            until(lambda: ended(repository) >= len(herd.killed_at) * RUNS // (KILLS + 1), PATIENCE_S)
            time.sleep(random.uniform(0, 3 * SLEEP_S))
            herd.kill_one()
        until(lambda: ended(repository) == RUNS, PATIENCE_S)
    finally:
        herd.stop()
    with repository.database.read() as connection:
        rows = connection.execute(sa.text("SELECT subject, number FROM effects ORDER BY subject, place")).all()
        states = Counter(connection.execute(sa.select(runs.c.state)).scalars())
        lost = list(connection.execute(sa.select(events.c.at).where(events.c.kind == EventKind.LOST)).scalars())
        left = connection.execute(sa.select(sa.func.count()).select_from(workers)).scalar_one()
    assert states == {RunState.COMPLETED: RUNS}
    assert Counter(number for _, number in rows) == Counter(range(RUNS)), "each has had its effect once"
    for subject in range(SUBJECTS):
        numbers = [number for name, number in rows if name == f"subject {subject}"]
        assert numbers == sorted(numbers), "in the order in which they were submitted"
    assert len(lost) >= KILLS // 2, "most kills met a run"
    slowest = max(at - max(killed for killed in herd.killed_at if killed <= at) for at in lost)
    assert slowest < RECOVERY_S
    assert left == 0, "whoever stopped or was killed is forgotten"
    for run_id in submitted:
        numbers = [event.number for event in repository.events(run_id)]
        assert numbers == list(range(1, len(numbers) + 1))
    print(f"{RUNS} runs, {KILLS} kills, {len(lost)} runs lost their process, the slowest recovery {slowest:.1f} s")


def ended(repository: RunRepository) -> int:
    """Return how many runs are completed."""
    return repository.counts().get(RunState.COMPLETED, 0)


class Machine:
    """A scheduler in a process of its own, whose clock is set by hand and wrong by so many seconds."""

    def __init__(self, url: str, folder: Path, skew_s: int, library: Path) -> None:
        self._clock, self._skew_s = folder / f"clock{skew_s}", skew_s
        self.set(START)
        fake = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.scheduling", url],
            env={**os.environ, **fake},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == [str(int(START + skew_s))], "it takes the file for its clock"

    def set(self, now: float) -> None:
        """Let it be `now`, but for what the clock is wrong by."""
        moment = datetime.fromtimestamp(now + self._skew_s, UTC)
        part = self._clock.with_suffix(".part")
        part.write_text(f"{moment:%Y-%m-%d %H:%M:%S}\n")
        part.replace(self._clock)

    def ask(self) -> None:
        """Let it look for what is due."""
        assert self._process.stdin is not None
        self._process.stdin.write("look\n")
        self._process.stdin.flush()

    def dealt(self) -> list[int]:
        """Return the slots that it has dealt with since it was asked."""
        return [int(slot) for slot in self._answer()]

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0


@pytest.fixture
def faketime(require: Callable[[str, str], str]) -> Path:
    """Give the library that tells a process another time."""
    program = require("faketime", "on Debian and Ubuntu: apt-get install faketime")
    (library, *_) = Path(program).resolve().parents[1].glob("lib/*/faketime/libfaketime.so.1")
    return library


def prepare(schedule: Schedule, salt: str) -> Submission:
    asked = function_submission(FUNCTIONS, schedule.target, schedule.parameters, subject=schedule.name, once=True)
    return replace(asked, identity=schedule_identity(schedule, salt))


def finish_all(queue: RunQueue) -> None:
    """Complete whatever waits."""
    worker = queue.enter(ProcessMark.own(), 1)
    while claims := queue.claim(worker, RunKind.FUNCTION, limit=64):
        queue.finish(*(Ending(claim.run_id, claim.attempt) for claim in claims))
    queue.leave(worker)


def test_three_schedulers_with_wrong_clocks_give_each_slot_one_run(
    repository: RunRepository, tmp_path: Path, faketime: Path
) -> None:
    """One machine is ten minutes ahead, one behind; all look at once, at random moments."""
    Schedules(repository.queue, prepare, lambda: START).declare([HOURLY])
    url = repository.database.url
    herd = [Machine(url, tmp_path, skew_s, faketime) for skew_s in (-SKEW_S, 0, SKEW_S)]
    counted: Counter[int] = Counter()
    now = START
    for _ in range(2 * SLOTS):
        now += HOUR_S / 2 * random.uniform(0.8, 1.2)
        finish_all(repository.queue)
        for machine in herd:
            machine.set(now)
        for machine in herd:
            machine.ask()
        for machine in herd:
            counted.update(machine.dealt())
    for machine in herd:
        machine.stop()
    first, last = min(counted), max(counted)
    assert counted == Counter(range(first, last + 1, HOUR_S)), "each slot once, none left out"
    assert len(counted) >= SLOTS * 3 // 4
    history = Schedules(repository.queue, prepare).history("hourly", limit=2 * SLOTS)
    outcomes = Counter(slot.outcome for slot in history)
    assert outcomes == {Outcome.RUN: len(counted)}
    assert len(repository.list(limit=2 * SLOTS)) == len(counted)
