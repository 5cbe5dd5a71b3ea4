"""Runs, stages and tasks as rows.

Every write of a running notebook carries the attempt it belongs to; an attempt that has been superseded (its process
was taken for dead and the run resumed elsewhere) changes nothing any more.
"""

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import Conflict, NotFound, did_you_mean
from geoetl.core.identifiers import canonical_json, new_id
from geoetl.runs.model import RunRecord, RunState, Stage
from geoetl.store.database import Database

# A process that has not beaten for this long is taken for dead; a beat comes every quarter of it.
LEASE_S = 20.0
# Ids offered when one is not found.
_RECENT = 20

_meta = sa.MetaData()
runs = sa.Table(
    "runs",
    _meta,
    sa.Column("seq", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("id", "pipeline", "subject", "identity", "state", "host")),
    sa.Column("parameters", sa.Text),
    sa.Column("attempt", sa.Integer),
    sa.Column("pid", sa.Integer),
    *(sa.Column(name, sa.Float) for name in ("lease_until", "created_at", "started_at", "finished_at")),
    *(sa.Column(name, sa.Text) for name in ("result", "error", "notebook")),
)
stages = sa.Table(
    "run_stages",
    _meta,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    *(sa.Column(name, sa.Integer) for name in ("position", "attempt", "done", "total")),
    *(sa.Column(name, sa.String) for name in ("arguments", "state")),
    *(sa.Column(name, sa.Float) for name in ("started_at", "finished_at")),
    *(sa.Column(name, sa.Text) for name in ("warnings", "result", "error")),
)
tasks = sa.Table(
    "run_tasks",
    _meta,
    *(sa.Column(name, sa.String, primary_key=True) for name in ("run_id", "stage", "arguments")),
    sa.Column("state", sa.String),
    sa.Column("attempt", sa.Integer),
    sa.Column("finished_at", sa.Float),
    *(sa.Column(name, sa.Text) for name in ("result", "error")),
)


@dataclass(frozen=True)
class RunRepository:
    """The tables of runs."""

    database: Database

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, run_id: str) -> RunRecord:
        """Return a run with its stages.

        Raises:
            NotFound: There is none of that id.
        """
        with self.database.read() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
            if row is None:
                recent = connection.execute(sa.select(runs.c.id).order_by(runs.c.seq.desc()).limit(_RECENT)).scalars()
                raise NotFound(f"There is no run '{run_id}'.", hint=did_you_mean(run_id, recent), field="run_id")
            return _record(row, _stages_of(connection, [run_id])[run_id])

    def list(self, *, state: RunState | None = None, pipeline: str | None = None, limit: int = 50) -> list[RunRecord]:
        """Return the newest runs first."""
        query = sa.select(runs).order_by(runs.c.seq.desc())
        if pipeline:
            query = query.where(runs.c.pipeline == pipeline)
        if state in (RunState.RUNNING, RunState.INTERRUPTED):
            # Which of the two is not in the row but in whether its process lives; such rows are few.
            query = query.where(runs.c.state == RunState.RUNNING)
        elif state:
            query = query.where(runs.c.state == state).limit(limit)
        else:
            query = query.limit(limit)
        with self.database.read() as connection:
            rows = [row for row in connection.execute(query) if state is None or _state(row) is state][:limit]
            found = _stages_of(connection, [row.id for row in rows])
        return [_record(row, found[row.id]) for row in rows]

    def counts(self) -> dict[RunState, int]:
        """Return how many runs there are of each state by their rows: an interrupted one counts as running."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)).all()
        return {RunState(state): count for state, count in rows}

    # -- the life of a run -------------------------------------------------------------------------------------------

    def latest(self, identity: str) -> RunRecord | None:
        """Return the newest run of this identity."""
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(runs).where(runs.c.identity == identity).order_by(runs.c.seq.desc()).limit(1)
            ).one_or_none()
            return None if row is None else _record(row, _stages_of(connection, [row.id])[row.id])

    def begin(self, pipeline: str, parameters: dict[str, Any], *, identity: str, subject: str) -> RunRecord:
        """Resume the unfinished run of this identity, or make a new one; this process becomes its worker.

        Raises:
            Conflict: The same run is being executed by a living process.
        """
        now = time.time()
        mine = {
            "state": RunState.RUNNING,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "lease_until": now + LEASE_S,
            "started_at": now,
            "finished_at": None,
            "error": None,
        }
        with self.database.begin() as connection:
            row = connection.execute(
                sa.select(runs)
                .where(runs.c.identity == identity, runs.c.state != RunState.COMPLETED)
                .order_by(runs.c.seq.desc())
                .limit(1)
                .with_for_update()
            ).one_or_none()
            if row is None:
                run_id = new_id()
                connection.execute(
                    sa.insert(runs).values(
                        id=run_id,
                        pipeline=pipeline,
                        subject=subject,
                        identity=identity,
                        parameters=canonical_json(parameters),
                        attempt=1,
                        created_at=now,
                        **mine,
                    )
                )
            else:
                run_id = row.id
                if row.state == RunState.RUNNING and _is_alive(row, now):
                    raise Conflict(
                        f"This run is being executed already (run {run_id}, process {row.pid}).",
                        hint=f"Follow it with: geoetl runs show {run_id}",
                    )
                connection.execute(
                    sa.update(runs).where(runs.c.id == run_id).values(attempt=runs.c.attempt + 1, **mine)
                )
        return self.get(run_id)

    def beat(self, run_id: str, attempt: int) -> bool:
        """Prolong the lease; False when another attempt has taken over."""
        with self.database.begin() as connection:
            changed = connection.execute(
                sa.update(runs).where(*_fence(run_id, attempt)).values(lease_until=time.time() + LEASE_S)
            )
            return changed.rowcount == 1

    def finish(self, run_id: str, attempt: int, *, error: dict[str, Any] | None, notebook: str | None) -> RunRecord:
        """End the attempt, as completed or with its problem."""
        values = {
            "state": RunState.FAILED if error else RunState.COMPLETED,
            "finished_at": time.time(),
            "lease_until": None,
            "error": json.dumps(error) if error else None,
            "notebook": notebook,
        }
        with self.database.begin() as connection:
            connection.execute(sa.update(runs).where(*_fence(run_id, attempt)).values(values))
            if error:
                connection.execute(
                    sa.update(stages)
                    .where(stages.c.run_id == run_id, stages.c.state == RunState.RUNNING)
                    .values(state=RunState.FAILED, finished_at=time.time())
                )
        return self.get(run_id)

    def emit(self, run_id: str, attempt: int, result: str) -> None:
        """Store the run's typed result (JSON text).

        Raises:
            Conflict: The attempt has been superseded.
        """
        with self.database.begin() as connection:
            changed = connection.execute(sa.update(runs).where(*_fence(run_id, attempt)).values(result=result))
            _check_fence(changed.rowcount, run_id)

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
            Conflict: The attempt has been superseded.
        """
        with self.database.begin() as connection:
            held = connection.execute(sa.select(runs.c.id).where(*_fence(run_id, attempt))).all()
            _check_fence(len(held), run_id)
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
        """Note how many tasks of a stage are done."""
        with self.database.begin() as connection:
            connection.execute(sa.update(stages).where(*_stage_fence(run_id, attempt, name)).values(done=done))

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
        """End a stage with its result (JSON) or its problem."""
        values: dict[str, Any] = {
            "state": RunState.FAILED if error else RunState.COMPLETED,
            "finished_at": time.time(),
            "result": result,
            "error": json.dumps(error) if error else None,
            "warnings": json.dumps(warnings),
        }
        if not error:
            values["done"] = stages.c.total
        with self.database.begin() as connection:
            connection.execute(sa.update(stages).where(*_stage_fence(run_id, attempt, name)).values(values))

    def finished_tasks(self, run_id: str, stage: str) -> dict[str, str]:
        """Return the stored results (JSON) of a fan-out's completed tasks, by the digest of their argument."""
        query = sa.select(tasks.c.arguments, tasks.c.result).where(
            tasks.c.run_id == run_id, tasks.c.stage == stage, tasks.c.state == RunState.COMPLETED
        )
        with self.database.read() as connection:
            return {row.arguments: row.result for row in connection.execute(query)}

    def finish_task(
        self, run_id: str, attempt: int, stage: str, arguments: str, *, result: str | None, error: dict[str, Any] | None
    ) -> None:
        """Record one task's result (JSON) or problem, once."""
        key = {"run_id": run_id, "stage": stage, "arguments": arguments}
        with self.database.begin() as connection:
            connection.execute(sa.delete(tasks).where(*(tasks.c[name] == value for name, value in key.items())))
            connection.execute(
                sa.insert(tasks).values(
                    **key,
                    state=RunState.FAILED if error else RunState.COMPLETED,
                    attempt=attempt,
                    finished_at=time.time(),
                    result=result,
                    error=json.dumps(error) if error else None,
                )
            )


def reused(record: RunRecord) -> RunRecord:
    """Return the record marked as the answer to a repeated request."""
    return record.model_copy(update={"reused": True})


def _fence(run_id: str, attempt: int) -> tuple[Any, ...]:
    return (runs.c.id == run_id, runs.c.attempt == attempt, runs.c.state == RunState.RUNNING)


def _stage_fence(run_id: str, attempt: int, name: str) -> tuple[Any, ...]:
    return (stages.c.run_id == run_id, stages.c.name == name, stages.c.attempt == attempt)


def _check_fence(rows: int, run_id: str) -> None:
    if rows != 1:
        raise Conflict(
            f"Run {run_id} has been taken over by another process.", hint="Stop this one; the other goes on."
        )


def _is_alive(row: Row[Any], now: float) -> bool:
    if row.host == socket.gethostname() and row.pid is not None:
        try:
            os.kill(row.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it lives and belongs to another user
    return row.lease_until is not None and row.lease_until > now


def _state(row: Row[Any]) -> RunState:
    state = RunState(row.state)
    return RunState.INTERRUPTED if state is RunState.RUNNING and not _is_alive(row, time.time()) else state


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


def _record(row: Row[Any], found: tuple[Stage, ...]) -> RunRecord:
    return RunRecord(
        id=row.id,
        pipeline=row.pipeline,
        subject=row.subject,
        state=_state(row),
        parameters=json.loads(row.parameters),
        attempt=row.attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        stages=found,
        result=json.loads(row.result) if row.result else None,
        error=json.loads(row.error) if row.error else None,
        notebook=row.notebook,
    )
