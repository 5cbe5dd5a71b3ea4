"""Schedules, on SQLite and PostgreSQL: each slot once, whoever looks, whatever the clocks say."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import geoetl
from geoetl.core.errors import ConfigurationError, InvalidParameter, NotFound
from geoetl.runs.functions import FUNCTIONS, function_submission
from geoetl.runs.model import RunKind, RunState
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending, RunQueue, Submission
from geoetl.runs.repository import RunRepository
from geoetl.runs.schedule import (
    Declaration,
    Outcome,
    Schedule,
    Schedules,
    latest_slot,
    next_slot,
    read_declarations,
    schedule_identity,
)
from geoetl.store.database import Database
from tests.migrated import sqlite_url

HOURLY = Declaration("hourly", "Every hour", RunKind.FUNCTION, "purge-events", {}, "0 * * * *")
MINUTE_S, HOUR_S = 60, 3600
START = int(datetime(2026, 2, 28, 20, 30, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def shared_url(new_pgstac_url: Callable[[], str]) -> str:
    """Give the URL of one PostgreSQL database, which is emptied for each test."""
    return new_pgstac_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunRepository]:
    """Give the runs of an empty database of each kind."""
    is_file = request.param == "sqlite"
    database = Database(sqlite_url(tmp_path / "test.db") if is_file else request.getfixturevalue("shared_url"))
    if not is_file:
        with database.begin() as connection:
            connection.exec_driver_sql("TRUNCATE runs, run_workers, schedules, schedule_slots CASCADE")
    yield RunRepository(database)
    database.dispose()


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def prepare(schedule: Schedule, salt: str) -> Submission:
    asked = function_submission(FUNCTIONS, schedule.target, schedule.parameters, subject=schedule.name, once=True)
    return replace(asked, identity=schedule_identity(schedule, salt))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedules(repository: RunRepository, clock: Clock) -> Schedules:
    """Give one hourly schedule, half an hour before its next slot."""
    made = Schedules(repository.queue, prepare, clock)
    made.declare([HOURLY])
    return made


def finish_all(queue: RunQueue) -> None:
    worker = queue.enter(ProcessMark.own(), 1)
    while claims := queue.claim(worker, RunKind.FUNCTION, limit=64):
        queue.finish(*(Ending(claim.run_id, claim.attempt) for claim in claims))
    queue.leave(worker)


# -- cron --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "after", "slot"),
    [
        ("0 2 * * *", "2026-03-29T01:30", "2026-03-29T02:00"),  # an hour that does not exist in Berlin
        ("30 2 * * *", "2026-10-25T02:30", "2026-10-26T02:30"),  # one that comes twice there
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("*/15 * * * *", "2026-12-31T23:45", "2027-01-01T00:00"),
        ("0 6 * * 1", "2026-11-28T00:00", "2026-11-30T06:00"),
    ],
)
def test_slots_are_those_of_cron_in_utc(cron: str, after: str, slot: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    found = next_slot(cron, moment)
    assert datetime.fromtimestamp(found, UTC).isoformat(timespec="minutes") == f"{slot}+00:00"
    assert latest_slot(cron, found) == found
    assert latest_slot(cron, found - 1) <= moment


@pytest.mark.parametrize("cron", ["", "* * * *", "* * * * * *", "61 * * * *", "0 2 * * someday", "0 0 30 2 *"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(InvalidParameter, match="is no cron expression") as caught:
        next_slot(cron, START)
    assert "0 2 * * *" in str(caught.value.hint)


# -- slots -------------------------------------------------------------------------------------------------------------


def test_a_slot_has_its_run_when_it_has_come_and_not_before(schedules: Schedules, clock: Clock) -> None:
    assert schedules.tick() == ()
    clock.now = START + 30 * MINUTE_S
    (slot,) = schedules.tick()
    assert (slot.slot, slot.outcome) == (START + 30 * MINUTE_S, Outcome.RUN)
    assert schedules.tick() == ()


def test_of_missed_slots_the_latest_is_made_up_for(
    schedules: Schedules, clock: Clock, repository: RunRepository
) -> None:
    clock.now = START + 30 * MINUTE_S + 5 * HOUR_S + 7
    (slot,) = schedules.tick()
    assert slot.slot == START + 30 * MINUTE_S + 5 * HOUR_S
    assert slot.detail == "5 before it were missed"
    assert [record.id for record in repository.list()] == [slot.run_id]


def test_a_slot_whose_run_before_is_not_over_is_left_out(
    schedules: Schedules, clock: Clock, repository: RunRepository
) -> None:
    clock.now = START + HOUR_S
    (first,) = schedules.tick()
    clock.now += HOUR_S
    (second,) = schedules.tick()
    assert (second.outcome, second.run_id) == (Outcome.OVERLAP, None)
    assert second.detail == f"run {first.run_id} is not over"
    finish_all(repository.queue)
    clock.now += HOUR_S
    (third,) = schedules.tick()
    assert third.outcome is Outcome.RUN
    assert [slot.outcome for slot in schedules.history("hourly")] == ["run", "overlap", "run"]


def test_a_clock_that_jumps_starts_nothing_twice(schedules: Schedules, clock: Clock, repository: RunRepository) -> None:
    dealt = []
    for jump in (HOUR_S, -HOUR_S, HOUR_S, 3 * HOUR_S, -2 * HOUR_S, 2 * HOUR_S, HOUR_S):
        clock.now += jump
        dealt += [slot.slot for slot in schedules.tick()]
        finish_all(repository.queue)
    assert dealt == sorted(set(dealt))


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule(
    schedules: Schedules, clock: Clock, repository: RunRepository
) -> None:
    clock.now = START + 20 * 365 * 24 * HOUR_S
    assert len(schedules.tick()) == 1
    finish_all(repository.queue)
    clock.now = START
    schedules.tick()
    finish_all(repository.queue)
    clock.now = START + HOUR_S
    assert [slot.slot for slot in schedules.tick()] == [START + 30 * MINUTE_S]


def test_what_cannot_begin_is_told_and_the_next_slot_is_tried(
    schedules: Schedules, clock: Clock, repository: RunRepository
) -> None:
    schedules.declare([replace(HOURLY, parameters={"days": -1})])
    clock.now = START + HOUR_S
    (slot,) = schedules.tick()
    assert slot.outcome is Outcome.REFUSED
    assert "'days' of the function 'purge-events'" in str(slot.detail)
    assert repository.list() == []
    schedules.declare([HOURLY])
    clock.now += HOUR_S
    assert [slot.outcome for slot in schedules.tick()] == [Outcome.RUN]


def test_a_paused_schedule_rests_and_makes_up_for_nothing(schedules: Schedules, clock: Clock) -> None:
    assert schedules.pause("hourly").is_paused
    clock.now = START + 5 * HOUR_S
    assert schedules.tick() == ()
    assert not schedules.resume("hourly").is_paused
    assert schedules.tick() == ()
    clock.now += HOUR_S
    assert len(schedules.tick()) == 1


def test_a_run_now_is_beside_the_slots(schedules: Schedules, clock: Clock, repository: RunRepository) -> None:
    schedules.pause("hourly")
    run_id = schedules.run_now("hourly", "by hand")
    assert repository.get(run_id).state is RunState.QUEUED
    assert schedules.run_now("hourly", "by hand") == run_id
    schedules.resume("hourly")
    clock.now = START + HOUR_S
    assert [slot.outcome for slot in schedules.tick()] == [Outcome.RUN]
    with pytest.raises(NotFound) as caught:
        schedules.run_now("hourl", "x")
    assert caught.value.hint == "Did you mean 'hourly'?"


def test_a_file_that_changes_changes_the_schedule_and_not_what_it_has_had(schedules: Schedules, clock: Clock) -> None:
    clock.now = START + HOUR_S
    schedules.tick()
    schedules.pause("hourly")
    schedules.declare([replace(HOURLY, cron="30 * * * *"), replace(HOURLY, name="another")])
    changed = schedules.get("hourly")
    assert (changed.cron, changed.is_paused, changed.last_slot) == ("30 * * * *", True, START + 30 * MINUTE_S)
    schedules.declare([replace(HOURLY, name="another")])
    assert [one.name for one in schedules.list()] == ["another"]
    schedules.declare([HOURLY])
    clock.now = START + HOUR_S + 1
    assert schedules.tick() == (), "its slot had its run before the schedule was away"


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-5 * HOUR_S, 5 * HOUR_S), max_size=12), st.sampled_from(["0 * * * *", "*/7 * * * *"]))
def test_whatever_a_clock_does_no_slot_comes_twice(jumps: list[int], cron: str) -> None:
    database = Database("sqlite:///:memory:")
    database.upgrade()
    clock = Clock()
    schedules = Schedules(RunQueue(database), prepare, clock)
    schedules.declare([replace(HOURLY, cron=cron)])
    dealt = []
    for jump in jumps:
        clock.now += jump
        dealt += [slot.slot for slot in schedules.tick()]
    assert len(dealt) == len(set(dealt))
    assert dealt == sorted(dealt)


# -- the file ----------------------------------------------------------------------------------------------------------


def test_the_file_that_comes_along_is_right(home: Path) -> None:
    platform = geoetl.connect(home)
    for one in read_declarations():
        assert next_slot(one.cron, START) - START <= timedelta(days=1).total_seconds()
        if one.kind is RunKind.FUNCTION:
            function_submission(platform.functions, one.target, one.parameters)
        else:
            platform.preflight(one.target, one.parameters)


def test_a_slot_with_nothing_to_do_leaves_nothing_behind(
    schedules: Schedules, clock: Clock, repository: RunRepository
) -> None:
    idle = replace(schedules, is_needed=lambda schedule: False)
    clock.now = START + HOUR_S
    assert idle.tick() == () and repository.list() == [] and idle.history("hourly") == ()
    assert schedules.tick() == (), "it had its slot"
    clock.now += HOUR_S
    assert [slot.outcome for slot in schedules.tick()] == [Outcome.RUN]
    assert schedules.history("hourly")[0].detail is None, "nothing was missed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schedules: [", "is not YAML"),
        ("schedules: {x: {title: X, cron: '* * * * *'}}", "has to name a pipeline or a function"),
        ("schedules: {x: {title: X, cron: '* * *', function: purge-events}}", "five fields"),
        ("schedules: {'X y': {title: X, cron: '* * * * *', function: purge-events}}", "no name of a schedule"),
        ("schedules: {x: {title: X, crom: '* * * * *', function: purge-events}}", "schedules.x"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read_declarations(path)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_declarations(tmp_path / "nowhere.yaml")
