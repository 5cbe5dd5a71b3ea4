"""Workers: what waits is executed, what goes wrong is told, and who stops or is stopped leaves the rest to others."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.runs import notebook
from geoetl.runs import worker as module
from geoetl.runs.functions import FUNCTIONS as OURS
from geoetl.runs.functions import function_submission
from geoetl.runs.model import EventKind, RunRecord, RunState
from geoetl.runs.pipeline import Pipeline
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Submission
from geoetl.runs.repository import RunRepository
from geoetl.runs.tables import runs
from geoetl.runs.worker import Worker
from tests.migrated import sqlite_database
from tests.runs.test_notebook import write_notebook
from tests.runs.working import EFFECTS, FUNCTIONS, new_worker

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep(60)"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[RunRepository]:
    """Give the runs of an empty SQLite database; the contract with both kinds is in tests/contract."""
    database = sqlite_database(tmp_path / "runs.db")
    with database.begin() as connection:
        connection.exec_driver_sql(EFFECTS)
    yield RunRepository(database)
    database.dispose()


def submit(repository: RunRepository, name: str, *, subject: str | None = None, **parameters: object) -> str:
    asked = function_submission(FUNCTIONS, name, parameters, subject=subject)
    return repository.queue.submit(asked)[0][0]


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that comes about by itself."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@contextmanager
def at_work(worker: Worker) -> Iterator[Worker]:
    """Let a worker work in a thread, and stop it at the end."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop(at_once=True)
        thread.join(60)
        assert not thread.is_alive()


def reaches(repository: RunRepository, run_id: str, state: RunState) -> RunRecord:
    until(lambda: repository.get(run_id).state is state)
    return repository.get(run_id)


def traces(repository: RunRepository) -> list[int]:
    with repository.database.read() as connection:
        return list(connection.execute(sa.text("SELECT number FROM effects ORDER BY place")).scalars())


# -- functions ---------------------------------------------------------------------------------------------------------


def test_functions_are_executed_in_the_order_of_their_subject(repository: RunRepository, tmp_path: Path) -> None:
    ids = [submit(repository, "trace", number=n, subject="x") for n in range(20)]
    new_worker(repository.database, tmp_path).run(once=True)
    assert traces(repository) == list(range(20))
    assert all(repository.get(run_id).state is RunState.COMPLETED for run_id in ids)
    assert repository.get(ids[3]).result == {"number": 3}
    assert repository.queue.workers() == []


def test_an_error_that_may_pass_is_tried_again_later_and_another_one_is_not(
    repository: RunRepository, tmp_path: Path
) -> None:
    passing, lasting = submit(repository, "failing", passes=True), submit(repository, "failing", passes=False)
    new_worker(repository.database, tmp_path).run(once=True)
    waiting, failed = repository.get(passing), repository.get(lasting)
    assert (waiting.state, waiting.failures) == (RunState.QUEUED, 1)
    assert failed.state is RunState.FAILED
    assert failed.error is not None
    assert failed.error["detail"] == "It is a web page."


def test_a_function_that_hangs_fails_and_the_next_one_is_executed(repository: RunRepository, tmp_path: Path) -> None:
    until_file = tmp_path / "enough"
    hanging = submit(repository, "hanging", until=str(until_file))
    behind = submit(repository, "trace", number=1)
    with at_work(new_worker(repository.database, tmp_path)):
        reaches(repository, behind, RunState.COMPLETED)
        failed = reaches(repository, hanging, RunState.FAILED)
    until_file.touch()
    assert failed.error is not None
    assert "took longer than 0.3 s" in failed.error["detail"]


def test_the_parameters_of_a_function_are_checked_before_a_run_exists() -> None:
    with pytest.raises(NotFound) as unknown:
        function_submission(FUNCTIONS, "trase", {})
    assert unknown.value.hint == "Did you mean 'trace'?"
    with pytest.raises(InvalidParameter, match="'number' of the function 'trace'"):
        function_submission(FUNCTIONS, "trace", {"number": "many"})
    with pytest.raises(InvalidParameter, match="'days' of the function 'purge-events'"):
        function_submission(OURS, "purge-events", {"days": 0})


def test_the_events_of_old_runs_are_purged_and_the_runs_stay(repository: RunRepository, tmp_path: Path) -> None:
    old, new = submit(repository, "nothing", number=1), submit(repository, "nothing", number=2)
    new_worker(repository.database, tmp_path).run(once=True)
    with repository.database.begin() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == old).values(finished_at=1.0))
    assert repository.purge_events(2.0) == 3
    assert (len(repository.events(old)), len(repository.events(new))) == (0, 3)
    assert repository.get(old).state is RunState.COMPLETED


# -- notebooks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Give ``pipeline(code)``: a run that waits for a notebook with that code in its one cell."""

    def load(name: str) -> Pipeline:
        return Pipeline(name, tmp_path / f"{name}.ipynb", "Test", "", {}, "")

    monkeypatch.setattr(module, "load_pipeline", load)

    def made(code: str) -> str:
        name = f"test-{len(list(tmp_path.glob('*.ipynb')))}"
        write_notebook(tmp_path / f"{name}.ipynb", code)
        return name

    return made


def submit_notebook(repository: RunRepository, name: str) -> str:
    return repository.queue.submit(Submission(name, {}, name.ljust(64, "0"), name))[0][0]


def lines(repository: RunRepository, run_id: str) -> list[str]:
    events = [event for event in repository.events(run_id) if event.kind is EventKind.LOG]
    return [line for event in events for line in event.data["lines"]]


def test_what_a_notebook_prints_can_be_followed(
    repository: RunRepository, tmp_path: Path, pipeline: Callable[[str], str]
) -> None:
    run_id = submit_notebook(repository, pipeline("print('one'); print('password=hunter2'); print('10%\\r20%')"))
    new_worker(repository.database, tmp_path).run(once=True)
    assert repository.get(run_id).state is RunState.COMPLETED
    assert lines(repository, run_id) == ["one", "password=[redacted]", "20%"]
    followed = list(repository.follow(run_id))
    told = [line for event in followed for line in event.lines()]
    assert told[0].endswith(" queued") and told[-1].endswith(" completed") and "  one" in told
    assert [event.number for event in followed] == list(range(1, len(followed) + 1))
    assert followed[-1].data["state"] == "completed"


def test_a_cancelled_notebook_is_gone_within_moments(
    repository: RunRepository, tmp_path: Path, pipeline: Callable[[str], str]
) -> None:
    run_id = submit_notebook(repository, pipeline(SLOW))
    with at_work(new_worker(repository.database, tmp_path)):
        until(lambda: lines(repository, run_id) == ["begun"])
        repository.queue.cancel(run_id)
        record = reaches(repository, run_id, RunState.CANCELLED)
    assert record.notebook is not None, "what it had done is kept"
    assert not kernels(run_id)


def kernels(run_id: str) -> list[str]:
    """Return the processes that belong to a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"GEOETL_RUN={run_id}".encode() in path.read_bytes() and "Z" not in path.with_name("stat").read_text():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_worker_that_stops_hands_back_what_does_not_end_in_time(
    repository: RunRepository, tmp_path: Path, pipeline: Callable[[str], str]
) -> None:
    run_id = submit_notebook(repository, pipeline(SLOW))
    worker = new_worker(repository.database, tmp_path, grace_s=0.2)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: lines(repository, run_id) == ["begun"])
    worker.stop()
    thread.join(60)
    record = repository.get(run_id)
    assert (record.state, record.failures) == (RunState.QUEUED, 0)
    assert EventKind.RETURNED in [event.kind for event in repository.events(run_id)]
    assert not kernels(run_id)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_run_that_was_taken_over_ends_and_writes_nothing(
    repository: RunRepository, tmp_path: Path, pipeline: Callable[[str], str]
) -> None:
    run_id = submit_notebook(repository, pipeline(SLOW))
    with at_work(new_worker(repository.database, tmp_path)):
        until(lambda: lines(repository, run_id) == ["begun"])
        another = repository.queue.enter(ProcessMark.own(), 0)  # one that lives, or the run would be taken from it too
        with repository.database.begin() as connection:
            taken = {"attempt": runs.c.attempt + 1, "worker": another}
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**taken))
        until(lambda: not kernels(run_id))
    assert repository.get(run_id).notebook is None
    assert repository.get(run_id).attempt == 2


# -- processes ---------------------------------------------------------------------------------------------------------


def start(repository: RunRepository, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.runs.working", repository.database.url, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid
    return process


def test_a_stopped_process_that_wakes_up_has_no_effect(
    repository: RunRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP while it works, a lease later another takes over, then SIGCONT."""
    run_id = submit(repository, "trace", number=7, sleep_s=2.0)  # long enough to be stopped in, on a busy machine too
    zombie = start(repository, tmp_path)
    until(lambda: repository.get(run_id).state is RunState.RUNNING)
    os.kill(zombie.pid, signal.SIGSTOP)
    monkeypatch.setattr("geoetl.runs.presence.LEASE_S", 0.5)
    with at_work(new_worker(repository.database, tmp_path)):
        record = reaches(repository, run_id, RunState.COMPLETED)
        assert record.attempt == 2
        os.kill(zombie.pid, signal.SIGCONT)
        until(lambda: len(repository.queue.workers()) == 2)  # it noticed, and goes on under a new name
        further = submit(repository, "trace", number=8, subject="later")
        reaches(repository, further, RunState.COMPLETED)
    zombie.terminate()
    assert zombie.wait(60) == 0
    assert traces(repository) == [7, 8]


def test_log_lines_of_one_attempt_are_bounded(
    repository: RunRepository, tmp_path: Path, pipeline: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "MAX_LOG_LINES", 10)
    run_id = submit_notebook(repository, pipeline("for n in range(1000): print(n, 'x' * 1000)"))
    new_worker(repository.database, tmp_path).run(once=True)
    said = lines(repository, run_id)
    assert len(said) == 10
    assert max(map(len, said)) == notebook.MAX_LINE
