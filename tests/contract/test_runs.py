"""The contract of the run tables, on SQLite and PostgreSQL: what is submitted is executed once, in order, or told."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from geoetl.core.errors import Conflict, NotFound, Unavailable, UnreadableFile
from geoetl.runs.model import EventKind, RunKind, RunState
from geoetl.runs.presence import Watch
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import HUNG_S, LEASE_S, MAX_BACK_OFF_S, Claim, Ending, RunQueue, Submission, Superseded
from geoetl.runs.repository import RunRepository, TaskEnding
from geoetl.runs.tables import runs, workers
from geoetl.store.database import Database
from tests.migrated import sqlite_database

ELSEWHERE = ProcessMark("another machine", 1, "")
TRANSIENT = Unavailable("The place is away.", hint="Try again.").problem()
PERMANENT = UnreadableFile("It is a web page.", hint="Give another.").problem()


@pytest.fixture(scope="module")
def shared_url(new_pgstac_url: Callable[[], str]) -> str:
    """Give the URL of one PostgreSQL database, which is emptied for each test."""
    return new_pgstac_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunRepository]:
    """Give the runs of an empty database of each kind."""
    if request.param == "sqlite":
        database = sqlite_database(tmp_path / "test.db")
    else:
        database = Database(request.getfixturevalue("shared_url"))
        with database.begin() as connection:
            connection.exec_driver_sql("TRUNCATE runs, run_workers CASCADE")
    yield RunRepository(database)
    database.dispose()


@pytest.fixture
def queue(repository: RunRepository) -> RunQueue:
    """Give the same rows as a queue."""
    return repository.queue


@pytest.fixture
def worker(queue: RunQueue) -> str:
    """Give the id of this process as a worker."""
    return queue.enter(ProcessMark.own(), 1)


def asked(name: str = "a", subject: str = "c/x", **further: object) -> Submission:
    return Submission("ingest-raster", {"source": f"{name}.tif"}, (name * 64)[:64], subject, **further)  # type: ignore[arg-type]


def submit(queue: RunQueue, *names: str, subject: str = "c/x", **further: object) -> list[str]:
    return [queue.submit(asked(name, subject, **further))[0][0] for name in names]


def claim(queue: RunQueue, worker: str, limit: int = 10) -> list[Claim]:
    return queue.claim(worker, RunKind.NOTEBOOK, limit=limit)


def dead_mark() -> ProcessMark:
    """Return the mark of a process of this machine that has ended."""
    process = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(process, 0)
    return ProcessMark(ProcessMark.own().host, process, "")


def kinds(repository: RunRepository, run_id: str) -> list[EventKind]:
    return [event.kind for event in repository.events(run_id)]


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_a_submitted_run_waits_until_a_worker_claims_it(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a")
    assert repository.get(run_id).state is RunState.QUEUED
    (taken,) = claim(queue, worker)
    assert taken == Claim(run_id, 1, "ingest-raster", {"source": "a.tif"})
    assert repository.get(run_id).state is RunState.RUNNING
    assert claim(queue, worker) == []


def test_runs_of_one_subject_follow_each_other_in_the_order_of_submission(queue: RunQueue, worker: str) -> None:
    submitted = submit(queue, "a", "b", "c")
    done = []
    while taken := claim(queue, worker):
        (one,) = taken
        done.append(one.run_id)
        queue.finish(Ending(one.run_id, one.attempt))
    assert done == submitted


def test_runs_of_different_subjects_do_not_wait_for_each_other(queue: RunQueue, worker: str) -> None:
    first, second = submit(queue, "a", subject="c/x") + submit(queue, "b", subject="c/y")
    assert [one.run_id for one in claim(queue, worker)] == [first, second]


def test_a_higher_priority_goes_first_between_subjects_and_never_within_one(queue: RunQueue, worker: str) -> None:
    low, high, behind = (
        queue.submit(one)[0][0] for one in (asked("a", "1"), asked("b", "2", priority=5), asked("c", "1", priority=9))
    )
    assert [one.run_id for one in claim(queue, worker)] == [high, low]
    queue.finish(Ending(low, 1))
    assert [one.run_id for one in claim(queue, worker)] == [behind]


def test_the_same_request_is_the_same_run_as_long_as_it_is_not_over(queue: RunQueue, worker: str) -> None:
    (run_id,) = submit(queue, "a")
    assert queue.submit(asked("a")) == [(run_id, True)]
    claim(queue, worker)
    assert queue.submit(asked("a")) == [(run_id, True)]
    queue.finish(Ending(run_id, 1))
    assert queue.submit(asked("a", window_s=60)) == [(run_id, True)]
    assert queue.submit(asked("a", once=True)) == [(run_id, True)]
    assert queue.submit(asked("a"))[0][0] != run_id


def test_fifty_submissions_at_once_are_one_run(repository: RunRepository) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: repository.queue.submit(asked("a"))[0], range(50)))
    assert len({run_id for run_id, _ in answers}) == 1
    assert sum(not before for _, before in answers) == 1
    assert len(repository.list()) == 1


def test_a_failed_run_that_is_asked_for_again_waits_again(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a")
    claim(queue, worker)
    queue.finish(Ending(run_id, 1, error=PERMANENT))
    assert repository.get(run_id).state is RunState.FAILED
    assert queue.submit(asked("a", once=True)) == [(run_id, True)]
    assert repository.get(run_id).state is RunState.FAILED
    assert queue.submit(asked("a")) == [(run_id, True)]
    assert [one.attempt for one in claim(queue, worker)] == [2]


def test_many_claims_at_once_take_each_run_once_and_one_of_each_subject(queue: RunQueue) -> None:
    submitted = [run_id for run_id, _ in queue.submit(*(asked(f"{n:03}", f"subject {n % 7}") for n in range(60)))]
    mine = [queue.enter(ProcessMark.own(), 1) for _ in range(4)]
    executed: list[str] = []

    def work(worker: str) -> None:
        while taken := queue.claim(worker, RunKind.NOTEBOOK, limit=3):
            for one in taken:
                executed.append(one.run_id)
                queue.finish(Ending(one.run_id, one.attempt))

    while len(executed) < 60:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, mine))
    assert sorted(executed) == sorted(submitted)
    for subject in range(7):
        of_it = [run_id for n, run_id in enumerate(submitted) if n % 7 == subject]
        assert [run_id for run_id in executed if run_id in of_it] == of_it


# -- ending ------------------------------------------------------------------------------------------------------------


def test_what_may_pass_is_tried_again_after_a_while_and_the_rest_is_not(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a", max_attempts=2)
    (behind,) = submit(queue, "b")
    claim(queue, worker)
    queue.finish(Ending(run_id, 1, error=TRANSIENT))
    waiting = repository.get(run_id)
    assert (waiting.state, waiting.failures) == (RunState.QUEUED, 1)
    assert claim(queue, worker) == [], "the order within a subject is kept while its first run waits"
    change(queue, run_id, ready_at=0.0)
    (again,) = claim(queue, worker)
    assert (again.run_id, again.attempt) == (run_id, 2)
    queue.finish(Ending(run_id, 2, error=TRANSIENT))
    assert repository.get(run_id).state is RunState.FAILED
    assert [one.run_id for one in claim(queue, worker)] == [behind]
    assert kinds(repository, run_id) == ["queued", "started", "retrying", "started", "finished"]


def change(queue: RunQueue, run_id: str, **values: object) -> None:
    with queue.database.begin() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**values))


def test_a_clock_that_was_set_back_does_not_make_a_run_wait(queue: RunQueue, worker: str) -> None:
    (run_id,) = submit(queue, "a")
    claim(queue, worker)
    queue.finish(Ending(run_id, 1, error=TRANSIENT))
    with queue.database.begin() as connection:
        ready_at = connection.execute(sa.select(runs.c.ready_at)).scalar_one()
    change(queue, run_id, ready_at=ready_at + MAX_BACK_OFF_S + 3600)
    assert [one.run_id for one in claim(queue, worker)] == [run_id]


def test_what_is_handed_back_has_lost_no_attempt(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a", max_attempts=1)
    for attempt in (1, 2, 3):
        (taken,) = claim(queue, worker)
        assert taken.attempt == attempt
        queue.hand_back((run_id, attempt))
    assert (repository.get(run_id).state, repository.get(run_id).failures) == (RunState.QUEUED, 0)


def test_a_worker_that_leaves_hands_back_what_it_holds(repository: RunRepository, worker: str) -> None:
    (run_id,) = submit(repository.queue, "a")
    claim(repository.queue, worker)
    repository.queue.leave(worker)
    assert repository.get(run_id).state is RunState.QUEUED
    assert repository.queue.holders() == []


def test_a_waiting_run_is_cancelled_at_once_and_the_next_one_follows(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    first, second = submit(queue, "a", "b")
    assert queue.cancel(first) is RunState.CANCELLED
    assert [one.run_id for one in claim(queue, worker)] == [second]
    with pytest.raises(Conflict, match="is cancelled already"):
        queue.cancel(first)


def test_a_running_run_is_told_to_end(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a")
    claim(queue, worker)
    assert queue.cancel(run_id) is RunState.RUNNING
    assert queue.held(worker) == {run_id: (1, True)}
    queue.finish(Ending(run_id, 1, cancelled=True))
    assert repository.get(run_id).state is RunState.CANCELLED
    assert kinds(repository, run_id) == ["queued", "started", "cancelling", "finished"]


def test_a_run_is_tried_again_only_when_it_is_over_and_not_completed(queue: RunQueue, worker: str) -> None:
    (run_id,) = submit(queue, "a")
    with pytest.raises(Conflict, match="is queued"):
        queue.retry(run_id)
    claim(queue, worker)
    queue.finish(Ending(run_id, 1, error=PERMANENT))
    queue.retry(run_id)
    (again,) = claim(queue, worker)
    queue.finish(Ending(run_id, again.attempt))
    with pytest.raises(Conflict, match="is completed"):
        queue.retry(run_id)


def test_an_older_run_that_is_tried_again_goes_before_the_waiting_ones(queue: RunQueue, worker: str) -> None:
    first, second = submit(queue, "a", "b")
    claim(queue, worker)
    queue.finish(Ending(first, 1, error=PERMANENT))
    queue.retry(first)
    assert [one.run_id for one in claim(queue, worker)] == [first]
    queue.finish(Ending(first, 2))
    assert [one.run_id for one in claim(queue, worker)] == [second]


# -- processes that are lost -------------------------------------------------------------------------------------------


def test_the_runs_of_a_dead_process_are_taken_from_it_at_once(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    dead = queue.enter(dead_mark(), 1)
    (run_id,) = submit(queue, "a")
    claim(queue, dead)
    assert repository.get(run_id).state is RunState.INTERRUPTED
    assert Watch(queue).reclaim(worker) == 1
    assert [(one.run_id, one.attempt) for one in claim(queue, worker)] == [(run_id, 2)]
    assert kinds(repository, run_id) == ["queued", "started", "lost", "started"]


def test_the_process_of_another_machine_is_watched_for_its_lease_whatever_its_clock_says(
    repository: RunRepository, worker: str
) -> None:
    queue, now = repository.queue, [0.0]
    watch = Watch(queue, lambda: now[0])
    other = queue.enter(ELSEWHERE, 1)
    submit(queue, "a")
    claim(queue, other)
    with queue.database.begin() as connection:  # its clock is an hour behind
        connection.execute(sa.update(workers).where(workers.c.id == other).values(seen_at=0.0))
    for _ in range(3):
        assert watch.reclaim(worker) == 0
        now[0] += LEASE_S - 1
        queue.beat(other)
    assert watch.reclaim(worker) == 0
    now[0] += LEASE_S + 1
    assert watch.reclaim(worker) == 1
    assert not queue.beat(other)


def test_a_living_process_of_this_machine_may_wait_for_the_database(repository: RunRepository, worker: str) -> None:
    queue, now = repository.queue, [0.0]
    watch = Watch(queue, lambda: now[0])
    submit(queue, "a")
    claim(queue, worker)
    watch.reclaim()
    now[0] = HUNG_S - 1
    assert watch.reclaim() == 0
    now[0] = HUNG_S + 1
    assert watch.reclaim() == 1


def test_a_process_that_beats_between_two_looks_keeps_its_runs(queue: RunQueue, worker: str) -> None:
    other = queue.enter(ELSEWHERE, 1)
    submit(queue, "a")
    claim(queue, other)
    (before,) = [one for one in queue.holders() if one.id == other]
    queue.beat(other)
    assert queue.reclaim(before) == 0
    assert list(queue.held(other).values()) == [(1, False)]


def test_a_run_that_loses_its_process_again_and_again_fails(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a", max_attempts=2)
    for _ in range(2):
        claim(queue, queue.enter(dead_mark(), 1))
        Watch(queue).reclaim(worker)
    record = repository.get(run_id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert "lost 2 times" in record.error["detail"]


def test_a_lost_run_that_was_to_be_cancelled_is(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    other = queue.enter(ELSEWHERE, 1)
    (run_id,) = submit(queue, "a")
    claim(queue, other)
    queue.cancel(run_id)
    queue.reclaim(next(one for one in queue.holders() if one.id == other))
    assert repository.get(run_id).state is RunState.CANCELLED


def test_a_superseded_attempt_changes_nothing_any_more(repository: RunRepository, worker: str) -> None:
    queue = repository.queue
    (run_id,) = submit(queue, "a")
    (old,) = claim(queue, queue.enter(dead_mark(), 1))
    repository.start_stage(run_id, old.attempt, "validate", 1, "x", 1)
    Watch(queue).reclaim(worker)
    (new,) = claim(queue, worker)
    before = repository.events(run_id)
    late = [
        lambda: repository.emit(run_id, old.attempt, "{}"),
        lambda: repository.start_stage(run_id, old.attempt, "convert", 2, "x", 1),
        lambda: repository.finish_stage(run_id, old.attempt, "validate", result="1"),
        lambda: repository.finish_tasks(run_id, old.attempt, "validate", [TaskEnding("x", result="1")]),
        lambda: repository.progress(run_id, old.attempt, "validate", 1),
        lambda: repository.log(run_id, old.attempt, ["late"]),
    ]
    for write in late:
        with pytest.raises(Superseded, match="taken over"):
            write()
    queue.finish(Ending(run_id, old.attempt, error=PERMANENT))
    queue.hand_back((run_id, old.attempt))
    assert repository.get(run_id).state is RunState.RUNNING
    assert repository.finished_stage(run_id, "validate", "x") is None
    assert repository.finished_tasks(run_id, "validate") == {}
    assert repository.events(run_id) == before
    queue.finish(Ending(run_id, new.attempt))
    assert repository.get(run_id).state is RunState.COMPLETED


# -- runs that somebody waits for --------------------------------------------------------------------------------------


def test_a_run_remembers_its_parameters_and_its_result(repository: RunRepository, worker: str) -> None:
    begun = repository.queue.begin(asked("a"), worker)
    repository.emit(begun.run_id, begun.attempt, '{"items": ["x"]}')
    repository.queue.finish(Ending(begun.run_id, begun.attempt, notebook="runs/x/notebook.ipynb"))
    finished = repository.get(begun.run_id)
    assert (finished.state, finished.notebook) == (RunState.COMPLETED, "runs/x/notebook.ipynb")
    assert (finished.parameters, finished.result) == ({"source": "a.tif"}, {"items": ["x"]})
    assert repository.latest("a" * 64) == finished


def test_the_same_run_is_not_executed_twice_at_once(queue: RunQueue, worker: str) -> None:
    begun = queue.begin(asked("a"), worker)
    with pytest.raises(Conflict, match="being executed already") as caught:
        queue.begin(asked("a"), worker)
    assert begun.run_id in str(caught.value.hint)


def test_a_run_that_failed_or_waits_is_begun_as_its_next_attempt(queue: RunQueue, worker: str) -> None:
    begun = queue.begin(asked("a"), worker)
    queue.finish(Ending(begun.run_id, begun.attempt, error=TRANSIENT))
    assert queue.begin(asked("a"), worker).attempt == 2
    (waiting,) = submit(queue, "b")
    assert queue.begin(asked("b"), worker).run_id == waiting
    assert claim(queue, worker) == []


def test_a_completed_run_is_not_resumed(queue: RunQueue, worker: str) -> None:
    begun = queue.begin(asked("a"), worker)
    queue.finish(Ending(begun.run_id, begun.attempt))
    assert queue.begin(asked("a"), worker).run_id != begun.run_id


def test_the_run_of_a_dead_process_is_resumed_by_the_same_call(queue: RunQueue, worker: str) -> None:
    begun = queue.begin(asked("a"), queue.enter(dead_mark(), 0))
    again = queue.begin(asked("a"), worker)
    assert (again.run_id, again.attempt) == (begun.run_id, 2)


def test_an_attended_run_is_left_to_who_attended_it_and_is_in_nobodys_way(
    repository: RunRepository, worker: str
) -> None:
    queue = repository.queue
    begun = queue.begin(asked("a"), queue.enter(dead_mark(), 0))
    (behind,) = submit(queue, "b")
    assert claim(queue, worker) == [], "it waits for the run of its subject that is executed"
    Watch(queue).reclaim(worker)
    assert repository.get(begun.run_id).state is RunState.INTERRUPTED
    assert [one.run_id for one in claim(queue, worker)] == [behind]
    assert [record.id for record in repository.list(state=RunState.INTERRUPTED)] == [begun.run_id]
    queue.retry(begun.run_id)
    assert repository.get(begun.run_id).state is RunState.QUEUED


# -- looking -----------------------------------------------------------------------------------------------------------


def test_events_grow_by_one_and_can_be_read_on_from_any(repository: RunRepository, worker: str) -> None:
    (run_id,) = submit(repository.queue, "a", submitted_by="ann")
    (taken,) = claim(repository.queue, worker)
    repository.start_stage(run_id, 1, "validate", 1, "x", 3)
    repository.progress(run_id, 1, "validate", 2)
    repository.log(run_id, 1, ["one", "two"])
    repository.finish_stage(run_id, 1, "validate", result="1", warnings=("careful",))
    repository.queue.finish(Ending(taken.run_id, 1))
    events = repository.events(run_id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events] == [
        "queued", "started", "stage", "progress", "log", "stage", "finished",
    ]  # fmt: skip
    assert events[0].data == {"submitted_by": "ann"}
    assert events[4].data == {"lines": ["one", "two"]}
    assert repository.events(run_id, after=5) == events[5:]
    assert repository.get(run_id).events == len(events)


def test_an_unknown_id_offers_the_nearest(repository: RunRepository) -> None:
    (run_id,) = submit(repository.queue, "a")
    for look in (repository.get, repository.queue.cancel, repository.queue.retry):
        with pytest.raises(NotFound) as caught:
            look(run_id[:-1])
        assert run_id in str(caught.value.hint)


def test_runs_are_listed_newest_first_by_state_and_in_pages(repository: RunRepository, worker: str) -> None:
    first, second, third = submit(repository.queue, "a", "b", "c")
    claim(repository.queue, worker)
    repository.queue.finish(Ending(first, 1))
    assert [record.id for record in repository.list()] == [third, second, first]
    assert [record.id for record in repository.list(state=RunState.COMPLETED)] == [first]
    assert [record.id for record in repository.list(before=third, limit=1)] == [second]
    assert repository.list(pipeline="other") == []
    assert repository.counts() == {RunState.COMPLETED: 1, RunState.QUEUED: 2}


def test_a_claim_looks_at_no_finished_run(repository: RunRepository) -> None:
    with repository.database.begin() as connection:
        from geoetl.runs.queue import _ready

        compiled = (
            _ready(connection, RunKind.FUNCTION).limit(1).compile(connection, compile_kwargs={"literal_binds": True})
        )
        if repository.database.dialect == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = json.dumps(connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}").scalar_one())
        else:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all())
    assert "runs_next" in plan
    assert "TEMP B-TREE" not in plan
