"""The contract of the run tables, on SQLite and PostgreSQL."""

import os
import socket

import pytest
import sqlalchemy as sa

from geoetl.core.errors import Conflict, NotFound
from geoetl.runs.model import RunState
from geoetl.runs.repository import RunRepository, runs

IDENTITY = "a" * 64


def begin(repository: RunRepository, identity: str = IDENTITY) -> tuple[str, int]:
    record = repository.begin("ingest-raster", {"source": "x.tif"}, identity=identity, subject="c/x")
    return record.id, record.attempt


def orphan(repository: RunRepository, run_id: str, **values: object) -> None:
    """Pretend that the run belongs to another process."""
    with repository.database.begin() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**values))


def test_a_run_remembers_its_parameters_and_its_result(repository: RunRepository) -> None:
    run_id, attempt = begin(repository)
    repository.emit(run_id, attempt, '{"items": ["x"]}')
    finished = repository.finish(run_id, attempt, error=None, notebook="runs/x/notebook.ipynb")
    assert finished.state is RunState.COMPLETED
    assert (finished.parameters, finished.result) == ({"source": "x.tif"}, {"items": ["x"]})
    assert repository.latest(IDENTITY) == finished


def test_the_same_run_is_not_executed_twice_at_once(repository: RunRepository) -> None:
    run_id, _ = begin(repository)
    with pytest.raises(Conflict, match="being executed already") as caught:
        begin(repository)
    assert run_id in str(caught.value.hint)


def test_a_failed_run_is_resumed_as_its_next_attempt(repository: RunRepository) -> None:
    run_id, attempt = begin(repository)
    repository.finish(run_id, attempt, error={"detail": "no", "hint": None}, notebook=None)
    assert begin(repository) == (run_id, 2)


def test_a_completed_run_is_not_resumed(repository: RunRepository) -> None:
    run_id, attempt = begin(repository)
    repository.finish(run_id, attempt, error=None, notebook=None)
    assert begin(repository)[0] != run_id


def test_the_run_of_a_dead_process_is_resumed_at_once(repository: RunRepository) -> None:
    run_id, _ = begin(repository)
    dead = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(dead, 0)
    orphan(repository, run_id, pid=dead)
    assert begin(repository) == (run_id, 2)


def test_the_run_of_another_host_is_left_alone_until_its_lease_ends(repository: RunRepository) -> None:
    run_id, _ = begin(repository)
    orphan(repository, run_id, host=f"not-{socket.gethostname()}")
    with pytest.raises(Conflict):
        begin(repository)
    orphan(repository, run_id, lease_until=0.0)
    assert begin(repository) == (run_id, 2)


def test_a_superseded_attempt_changes_nothing_any_more(repository: RunRepository) -> None:
    run_id, attempt = begin(repository)
    orphan(repository, run_id, lease_until=0.0, host="elsewhere")
    begin(repository)
    assert not repository.beat(run_id, attempt)
    with pytest.raises(Conflict, match="taken over"):
        repository.emit(run_id, attempt, "{}")
    with pytest.raises(Conflict, match="taken over"):
        repository.start_stage(run_id, attempt, "validate", 1, "x", 1)
    assert repository.finish(run_id, attempt, error={"detail": "late"}, notebook=None).state is RunState.RUNNING


def test_a_run_whose_process_is_gone_is_shown_as_interrupted(repository: RunRepository) -> None:
    gone, _ = begin(repository)
    living, _ = begin(repository, "b" * 64)
    orphan(repository, gone, host="elsewhere", lease_until=0.0)
    assert repository.get(gone).state is RunState.INTERRUPTED
    assert [record.id for record in repository.list(state=RunState.INTERRUPTED)] == [gone]
    assert [record.id for record in repository.list(state=RunState.RUNNING)] == [living]


def test_an_unknown_id_offers_the_nearest(repository: RunRepository) -> None:
    run_id, _ = begin(repository)
    with pytest.raises(NotFound) as caught:
        repository.get(run_id[:-1])
    assert run_id in str(caught.value.hint)


def test_runs_are_listed_newest_first_and_by_state(repository: RunRepository) -> None:
    first, attempt = begin(repository)
    repository.finish(first, attempt, error=None, notebook=None)
    second, _ = begin(repository, "b" * 64)
    assert [record.id for record in repository.list()] == [second, first]
    assert [record.id for record in repository.list(state=RunState.COMPLETED)] == [first]
    assert repository.list(pipeline="other") == []
