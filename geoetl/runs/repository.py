"""Runs, stages and tasks as rows.

Every write of a running notebook carries the attempt it belongs to; an attempt that has been superseded (its process
was taken for dead and the run resumed elsewhere) changes nothing any more.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.identifiers import canonical_json
from geoetl.runs.model import EventKind, RunEvent, RunKind, RunRecord, RunState, Stage
from geoetl.runs.queue import RunQueue, is_lost, not_found
from geoetl.runs.tables import events, runs, stages, tasks
from geoetl.store.database import Database

# Stands for the id of the newest run.
LATEST = "latest"
# How often what happens to a run is looked for.
FOLLOW_S = 0.25
# Where words are looked for.
_WORDED = (runs.c.id, runs.c.pipeline, runs.c.subject, runs.c.parameters, runs.c.error, runs.c.submitted_by)


@dataclass(frozen=True)
class TaskEnding:
    """How a task of a fan-out ended.

    Attributes:
        arguments: Digest of what it was called with.
        result: What came out (JSON).
        error: The problem that ended it.
    """

    arguments: str
    result: str | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunRepository:
    """The tables of runs."""

    database: Database

    @cached_property
    def queue(self) -> RunQueue:
        """The same rows as a queue."""
        return RunQueue(self.database)

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, run_id: str) -> RunRecord:
        """Return a run with its stages; `LATEST` is the newest one.

        Raises:
            NotFound: There is none of that id.
        """
        with self.database.read() as connection:
            query = sa.select(runs).order_by(runs.c.seq.desc()).limit(1)
            row = connection.execute(query if run_id == LATEST else query.where(runs.c.id == run_id)).one_or_none()
            if row is None:
                raise not_found(connection, run_id)
            return _records(connection, [row])[0]

    def list(
        self,
        *,
        state: RunState | None = None,
        pipeline: str | None = None,
        subject: str | None = None,
        text: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        """Return the newest runs first.

        Args:
            state: Only those that stand so.
            pipeline: Only those of this notebook or function.
            subject: Only those that work on this.
            text: Only those with each of these words in id, pipeline, subject, parameters, error or who asked for them.
            before: Only those that were submitted before the run of this id.
            limit: At most so many.

        Raises:
            NotFound: There is no run `before`.
        """
        query = sa.select(runs).order_by(runs.c.seq.desc())
        if pipeline:
            query = query.where(runs.c.pipeline == pipeline)
        if subject:
            query = query.where(runs.c.subject == subject)
        for word in (text or "").casefold().split():
            query = query.where(sa.or_(*(sa.func.lower(column).contains(word, autoescape=True) for column in _WORDED)))
        with self.database.read() as connection:
            if before:
                seq = connection.execute(sa.select(runs.c.seq).where(runs.c.id == before)).scalar()
                if seq is None:
                    raise not_found(connection, before)
                query = query.where(runs.c.seq < seq)
            if state in (RunState.RUNNING, RunState.INTERRUPTED):
                # Which of the two is not only in the row but in whether its process lives; such rows are few.
                query = query.where(runs.c.state.in_([RunState.RUNNING, state]))
            else:
                query = query.where(runs.c.state == state).limit(limit) if state else query.limit(limit)
            found = _records(connection, connection.execute(query).all())
        return [record for record in found if state is None or record.state is state][:limit]

    def states(self, run_ids: Sequence[str]) -> dict[str, RunState]:
        """Return how runs stand, by id; those that are not there are left out."""
        if not run_ids:
            return {}
        query = sa.select(runs.c.id, runs.c.state, runs.c.worker).where(runs.c.id.in_(run_ids))
        with self.database.read() as connection:
            rows = connection.execute(query).all()
            lost = is_lost(connection, [row.worker for row in rows if row.state == RunState.RUNNING])
        return {row.id: _standing(row.state, is_lost=lost.get(row.worker, True)) for row in rows}

    def counts(self) -> dict[RunState, int]:
        """Return how many runs there are of each state by their rows: one whose process is gone counts as running."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)).all()
        return {RunState(state): count for state, count in rows}

    def latest(self, identity: str) -> RunRecord | None:
        """Return the newest run of this identity."""
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(runs).where(runs.c.identity == identity).order_by(runs.c.seq.desc()).limit(1)
            ).one_or_none()
            return None if row is None else _records(connection, [row])[0]

    def open_like(self, pipeline: str, subject: str, parameters: Mapping[str, Any]) -> RunRecord | None:
        """Return the run of these parameters that waits or is executed; None where there is none."""
        query = sa.select(runs).where(
            runs.c.subject == subject,
            runs.c.pipeline == pipeline,
            runs.c.state.in_([RunState.QUEUED, RunState.RUNNING]),
            runs.c.parameters == canonical_json(dict(parameters)),
        )
        with self.database.read() as connection:
            row = connection.execute(query.order_by(runs.c.seq.desc()).limit(1)).one_or_none()
            return None if row is None else _records(connection, [row])[0]

    def has_running(self, subject: str, *, besides: str | None = None) -> bool:
        """Tell whether a run of a subject is executed, by a process that lives."""
        query = sa.select(runs.c.id).where(runs.c.subject == subject, runs.c.state == RunState.RUNNING)
        with self.database.read() as connection:
            found = [run_id for run_id in connection.execute(query).scalars() if run_id != besides]
        return RunState.RUNNING in self.states(found).values()

    def events(self, run_id: str, *, after: int = 0, limit: int = 1000) -> tuple[RunEvent, ...]:
        """Return what happened to a run behind the event of number `after`, in order."""
        query = sa.select(events).where(events.c.run_id == run_id, events.c.number > after)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(events.c.number).limit(limit)).all()
        return tuple(
            RunEvent(
                run_id=row.run_id, number=row.number, at=row.at, kind=EventKind(row.kind), data=json.loads(row.data)
            )
            for row in rows
        )

    def follow(self, run_id: str, *, after: int = 0) -> Iterator[RunEvent]:
        """Give what happens to a run as it happens, until it is over or nobody is there who would go on with it.

        Raises:
            NotFound: There is no such run.
        """
        while True:
            record = self.get(run_id)  # before its events, so that none is missed at its end
            found = self.events(run_id, after=after)
            yield from found
            if found:
                after = found[-1].number
            elif record.state.is_over or (record.state is RunState.INTERRUPTED and not self.queue.workers()):
                return
            else:
                time.sleep(FOLLOW_S)

    def purge_events(self, before: float) -> int:
        """Remove the events of runs that were over before this time (Unix seconds); return how many there were."""
        old = sa.select(runs.c.id).where(
            runs.c.finished_at < before, runs.c.state.in_([s for s in RunState if s.is_over])
        )
        with self.database.begin() as connection:
            return connection.execute(sa.delete(events).where(events.c.run_id.in_(old))).rowcount

    # -- what an attempt says ----------------------------------------------------------------------------------------

    def log(self, run_id: str, attempt: int, lines: Sequence[str]) -> None:
        """Keep lines that the run printed.

        Raises:
            Superseded: Another attempt has taken over.
        """
        with self.database.begin() as connection:
            self.queue.advance(connection, run_id, attempt, EventKind.LOG, {"lines": [*lines]})

    def emit(self, run_id: str, attempt: int, result: str) -> None:
        """Store the run's typed result (JSON text).

        Raises:
            Superseded: Another attempt has taken over.
        """
        with self.database.begin() as connection:
            self.queue.hold(connection, run_id, attempt)
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(result=result))

    # -- stages and tasks --------------------------------------------------------------------------------------------

    def finished_stage(self, run_id: str, name: str, arguments: str) -> str | None:
        """Return the stored result (JSON) of a completed stage called with the same arguments."""
        query = sa.select(stages.c.result).where(
            stages.c.run_id == run_id,
            stages.c.name == name,
            stages.c.arguments == arguments,
            stages.c.state == RunState.COMPLETED,
        )
        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def start_stage(self, run_id: str, attempt: int, name: str, position: int, arguments: str, total: int) -> None:
        """Note that a stage begins; an earlier record of that name is replaced.

        Raises:
            Superseded: Another attempt has taken over.
        """
        with self.database.begin() as connection:
            told = {"stage": name, "state": RunState.RUNNING, "attempt": attempt, "total": total}
            self.queue.advance(connection, run_id, attempt, EventKind.STAGE, told)
            connection.execute(sa.delete(stages).where(stages.c.run_id == run_id, stages.c.name == name))
            connection.execute(
                sa.insert(stages).values(
                    run_id=run_id,
                    name=name,
                    position=position,
                    arguments=arguments,
                    state=RunState.RUNNING,
                    attempt=attempt,
                    started_at=time.time(),
                    done=0,
                    total=total,
                    warnings="[]",
                )
            )

    def progress(self, run_id: str, attempt: int, name: str, done: int) -> None:
        """Note how many tasks of a stage are done.

        Raises:
            Superseded: Another attempt has taken over.
        """
        with self.database.begin() as connection:
            self.queue.advance(connection, run_id, attempt, EventKind.PROGRESS, {"stage": name, "done": done})
            this = (stages.c.run_id == run_id, stages.c.name == name, stages.c.attempt == attempt)
            connection.execute(sa.update(stages).where(*this).values(done=done))

    def finish_stage(
        self,
        run_id: str,
        attempt: int,
        name: str,
        *,
        result: str | None = None,
        error: dict[str, Any] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """End a stage with its result (JSON) or its problem.

        Raises:
            Superseded: Another attempt has taken over.
        """
        with self.database.begin() as connection:
            self.finish_stage_within(connection, run_id, attempt, name, result=result, error=error, warnings=warnings)

    def finish_stage_within(
        self,
        connection: Connection,
        run_id: str,
        attempt: int,
        name: str,
        *,
        result: str | None = None,
        error: dict[str, Any] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """End a stage in the caller's transaction; see `finish_stage`."""
        values: dict[str, Any] = {
            "state": RunState.FAILED if error else RunState.COMPLETED,
            "finished_at": time.time(),
            "result": result,
            "error": json.dumps(error) if error else None,
            "warnings": json.dumps(warnings),
        }
        if not error:
            values["done"] = stages.c.total
        told: dict[str, Any] = {"stage": name, "state": values["state"], "attempt": attempt}
        if error:
            told["error"] = error
        if warnings:
            told["warnings"] = list(warnings)
        self.queue.advance(connection, run_id, attempt, EventKind.STAGE, told)
        connection.execute(
            sa.update(stages)
            .where(stages.c.run_id == run_id, stages.c.name == name, stages.c.attempt == attempt)
            .values(values)
        )

    def finished_tasks(self, run_id: str, stage: str) -> dict[str, str]:
        """Return the stored results (JSON) of a fan-out's completed tasks, by the digest of their argument."""
        query = sa.select(tasks.c.arguments, tasks.c.result).where(
            tasks.c.run_id == run_id, tasks.c.stage == stage, tasks.c.state == RunState.COMPLETED
        )
        with self.database.read() as connection:
            return {row.arguments: row.result for row in connection.execute(query)}

    def finish_tasks(self, run_id: str, attempt: int, stage: str, endings: Sequence[TaskEnding]) -> None:
        """Record how tasks ended, all in one transaction; earlier records of the same ones are replaced.

        Raises:
            Superseded: Another attempt has taken over.
        """
        now = time.time()
        rows = [
            {
                "run_id": run_id,
                "stage": stage,
                "arguments": one.arguments,
                "state": RunState.FAILED if one.error else RunState.COMPLETED,
                "attempt": attempt,
                "finished_at": now,
                "result": one.result,
                "error": json.dumps(one.error) if one.error else None,
            }
            for one in endings
        ]
        with self.database.begin() as connection:
            self.queue.hold(connection, run_id, attempt)
            this = (tasks.c.run_id == run_id, tasks.c.stage == stage)
            mine = tasks.c.arguments == sa.bindparam("mine")
            connection.execute(sa.delete(tasks).where(*this, mine), [{"mine": one.arguments} for one in endings])
            connection.execute(sa.insert(tasks), rows)

    def tell_dashboard(self, run_id: str, attempt: int, url: str, host: str, workers: int) -> None:
        """Note where the Dask workers of a run can be watched, as seen from which machine, and how many there are.

        Raises:
            Superseded: Another attempt has taken over.
        """
        with self.database.begin() as connection:
            told = {"attempt": attempt, "dashboard": url, "host": host, "workers": workers}
            self.queue.advance(connection, run_id, attempt, EventKind.DASK, told)


def reused(record: RunRecord) -> RunRecord:
    """Return the record marked as the answer to a repeated request."""
    return record.model_copy(update={"reused": True})


def _stages_of(connection: Connection, run_ids: list[str]) -> dict[str, tuple[Stage, ...]]:
    found: dict[str, list[Stage]] = {run_id: [] for run_id in run_ids}
    query = sa.select(stages).where(stages.c.run_id.in_(run_ids)).order_by(stages.c.position)
    for row in connection.execute(query):
        found[row.run_id].append(
            Stage(
                name=row.name,
                state=RunState(row.state),
                attempt=row.attempt,
                started_at=row.started_at,
                finished_at=row.finished_at,
                done=row.done,
                total=row.total,
                warnings=tuple(json.loads(row.warnings)),
                error=json.loads(row.error) if row.error else None,
            )
        )
    return {run_id: tuple(listed) for run_id, listed in found.items()}


def _records(connection: Connection, rows: Sequence[Row[Any]]) -> list[RunRecord]:
    found = _stages_of(connection, [row.id for row in rows])
    lost = is_lost(connection, [row.worker for row in rows if row.state == RunState.RUNNING])
    alive = {row.id: row.attempt for row in rows if row.state == RunState.RUNNING and not lost.get(row.worker, True)}
    dashboards = _dashboards_of(connection, alive)
    return [_record(row, found[row.id], dashboards.get(row.id), is_lost=lost.get(row.worker, True)) for row in rows]


def _dashboards_of(connection: Connection, attempts: dict[str, int]) -> dict[str, str]:
    """Return where these attempts of runs can be watched; a dashboard ends with its attempt."""
    if not attempts:
        return {}
    told = events.c.run_id.in_(list(attempts)), events.c.kind == EventKind.DASK
    found = {}
    for row in connection.execute(sa.select(events).where(*told).order_by(events.c.number)):
        data = json.loads(row.data)
        if data["attempt"] == attempts[row.run_id]:
            found[row.run_id] = data["dashboard"]
    return found


def _standing(state: str, *, is_lost: bool) -> RunState:
    return RunState.INTERRUPTED if state == RunState.RUNNING and is_lost else RunState(state)


def _record(row: Row[Any], found: tuple[Stage, ...], dashboard: str | None, *, is_lost: bool) -> RunRecord:
    return RunRecord(
        id=row.id,
        kind=RunKind(row.kind),
        pipeline=row.pipeline,
        subject=row.subject,
        state=_standing(row.state, is_lost=is_lost),
        parameters=json.loads(row.parameters),
        priority=row.priority,
        attempt=row.attempt,
        failures=row.failures,
        max_attempts=row.max_attempts,
        cancel_requested=bool(row.cancel_requested),
        submitted_by=row.submitted_by,
        events=row.events,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        stages=found,
        result=json.loads(row.result) if row.result else None,
        error=json.loads(row.error) if row.error else None,
        notebook=row.notebook,
        dashboard=dashboard,
    )
