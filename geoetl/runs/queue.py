"""The queue of runs: rows that are submitted, claimed by workers, and ended, each step one transaction.

Of one subject one run is executed at a time, in the order in which they were submitted; between subjects the higher
priority comes first. A run that may be claimed is marked (``is_head``), so that claiming looks at nothing else, however
many runs there are. Order is that of ``seq``, never of a clock.

Every write of an attempt names it, and one that has been superseded changes nothing: ``attempt`` is a fencing token.
"""

import json
import random
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import Conflict, GeoetlError, NotFound, RunFailed, did_you_mean
from geoetl.core.identifiers import canonical_json, new_id
from geoetl.runs.model import EventKind, RunKind, RunState
from geoetl.runs.processes import ProcessMark
from geoetl.runs.tables import events, runs, stages, workers
from geoetl.store.database import Database

# Attempts of a run whose failures may pass.
MAX_ATTEMPTS = 5
# Of two attempts: this, doubled with each failure, and half of it at random so that not all come back at once.
BACK_OFF_S = 2.0
MAX_BACK_OFF_S = 300.0
MAX_PRIORITY = 100
# A process of another machine that has not beaten for this long is taken for dead, as is a stopped one of this machine.
LEASE_S = 8.0
# A living process of this machine may wait so long for the database before it is taken for one that hangs.
HUNG_S = 60.0
# Ids offered when one is not found.
_RECENT = 20
# Any constant does; with the subject it names a lock on PostgreSQL.
_SUBJECT_LOCK = 0x67656F
# As literals: a partial index is used only where the condition stands in the statement itself.
_QUEUED: sa.ColumnElement[str] = sa.literal_column("'queued'")
_RUNNING: sa.ColumnElement[str] = sa.literal_column("'running'")
_LEFT = (runs.c.id, runs.c.pipeline, runs.c.events, runs.c.created_at, runs.c.started_at)


@dataclass(frozen=True)
class Submission:
    """A run that is asked for.

    Attributes:
        pipeline: Name of the notebook, or of the function.
        parameters: All of them, checked.
        identity: What makes two of them the same run.
        subject: What it works on; runs of one subject follow each other.
        kind: Whether it executes a notebook or a function.
        priority: Of two subjects, the one with the higher number is served first.
        max_attempts: After so many failures that may pass, or lost processes, it has failed.
        submitted_by: Who asks.
        window_s: So long after it was completed it answers the same request; 0: not at all.
        once: Whether an earlier one is the answer whatever its state; otherwise one that failed is queued again.
    """

    pipeline: str
    parameters: Mapping[str, Any]
    identity: str
    subject: str
    kind: RunKind = RunKind.NOTEBOOK
    priority: int = 0
    max_attempts: int = MAX_ATTEMPTS
    submitted_by: str | None = None
    window_s: float = 0.0
    once: bool = False


@dataclass(frozen=True)
class Claim:
    """An attempt of a run that this process has to execute.

    Attributes:
        run_id: Which run.
        attempt: The fencing token.
        pipeline: Name of the notebook, or of the function.
        parameters: Of it.
    """

    run_id: str
    attempt: int
    pipeline: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        run_id: Whose attempt.
        attempt: Which one.
        error: The problem that ended it.
        result: What came out (JSON), of a function.
        notebook: Key of the executed notebook.
        cancelled: Whether it was ended because somebody wanted it.
    """

    run_id: str
    attempt: int
    error: dict[str, Any] | None = None
    result: str | None = None
    notebook: str | None = None
    cancelled: bool = False


@dataclass(frozen=True)
class Holder:
    """A process that executes runs, or the lack of one.

    Attributes:
        id: Its id; empty for runs whose process has no row any more.
        mark: Which process it is.
        beats: How often it has said that it lives.
        seen_at: Unix time of the last of them, by the clock of the database.
    """

    id: str
    mark: ProcessMark
    beats: int
    seen_at: float


@dataclass(frozen=True)
class Left:
    """A run that lost its process and waits for whoever attended it.

    Attributes:
        id: Its id.
        pipeline: Name of the notebook, or of the function.
        events: How much has happened to it.
        created_at, started_at: Unix time.
    """

    id: str
    pipeline: str
    events: int
    created_at: float
    started_at: float | None


class Superseded(Conflict):
    """Another process has taken over the run; what this one does has no effect any more."""

    code = "superseded"


@dataclass(frozen=True)
class RunQueue:
    """The rows of runs as a queue."""

    database: Database

    # -- asking for runs -----------------------------------------------------------------------------------------------

    def submit(self, *asked: Submission) -> list[tuple[str, bool]]:
        """Queue runs; return of each its id, and whether it was there before.

        The same identity is the same run as long as it is not over, and for its window after it was completed; one
        that failed, was cancelled or interrupted is queued again and goes on behind its last finished stage.
        """
        with self.database.begin() as connection:
            _lock(connection, [one.subject for one in asked])
            return [self.submit_within(connection, one, locked=True) for one in asked]

    def submit_within(self, connection: Connection, asked: Submission, *, locked: bool = False) -> tuple[str, bool]:
        """Queue a run in the caller's transaction; see `submit`."""
        if not locked:
            _lock(connection, [asked.subject])
        row = connection.execute(
            sa.select(runs).where(runs.c.identity == asked.identity).order_by(runs.c.seq.desc()).limit(1)
        ).one_or_none()
        if row is not None:
            state = RunState(row.state)
            if state is RunState.RUNNING and row.attended and not asked.once and self._is_lost(connection, row):
                self._interrupt(connection, row)
                row = connection.execute(sa.select(runs).where(runs.c.seq == row.seq)).one()
                state = RunState.INTERRUPTED
            if asked.once or (not state.is_over and state is not RunState.INTERRUPTED):
                return row.id, True
            if state is RunState.COMPLETED:
                if time.time() - (row.finished_at or 0.0) < asked.window_s:
                    return row.id, True
            else:
                _queue_again(connection, row, asked.max_attempts, asked.submitted_by)
                return row.id, True
        run_id, now = new_id(), time.time()
        open_ones = sa.select(runs.c.seq).where(runs.c.subject == asked.subject, _is_open()).limit(1)
        is_head = connection.execute(open_ones).first() is None
        connection.execute(
            sa.insert(runs).values(
                id=run_id,
                kind=asked.kind,
                pipeline=asked.pipeline,
                subject=asked.subject,
                identity=asked.identity,
                state=RunState.QUEUED,
                parameters=canonical_json(dict(asked.parameters)),
                priority=asked.priority,
                is_head=int(is_head),
                attempt=0,
                failures=0,
                max_attempts=asked.max_attempts,
                attended=0,
                cancel_requested=0,
                events=1,
                submitted_by=asked.submitted_by,
                ready_at=0.0,
                created_at=now,
            )
        )
        note(connection, run_id, 1, EventKind.QUEUED, {"submitted_by": asked.submitted_by})
        return run_id, False

    def retry(self, run_id: str, submitted_by: str | None = None) -> None:
        """Queue a run that failed, was cancelled or interrupted once more; what it has finished is not repeated.

        Raises:
            NotFound: There is no such run.
            Conflict: It is completed, waits, is being executed, or the same request has a newer run.
        """
        with self.database.begin() as connection:
            row = self._locked_row(connection, run_id)
            state = RunState(row.state)
            if state is RunState.RUNNING and self._is_lost(connection, row):
                self._interrupt(connection, row)
                state = RunState.INTERRUPTED
            if state not in (RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED):
                raise Conflict(
                    f"Run {run_id} is {state}; only one that failed, was cancelled or interrupted can be tried again.",
                    hint="Start a new one with: geoetl run NAME … --again" if state.is_over else "Wait for it.",
                )
            newest = connection.execute(
                sa.select(runs.c.id).where(runs.c.identity == row.identity).order_by(runs.c.seq.desc()).limit(1)
            ).scalar_one()
            if newest != run_id:
                raise Conflict(f"The same request has a newer run, {newest}.", hint="Look at that one.")
            row = self._locked_row(connection, run_id)
            _queue_again(connection, row, max(row.max_attempts, MAX_ATTEMPTS), submitted_by)

    def cancel(self, run_id: str) -> RunState:
        """Cancel a run that waits, or ask the process that executes it to end it; return how it stands then.

        Raises:
            NotFound: There is no such run.
            Conflict: It is over already.
        """
        with self.database.begin() as connection:
            row = self._locked_row(connection, run_id)
            state = RunState(row.state)
            if state.is_over:
                raise Conflict(f"Run {run_id} is {state} already.", hint="There is nothing to cancel.")
            if state is RunState.RUNNING and not self._is_lost(connection, row):
                if not row.cancel_requested:
                    self._advance(connection, row, EventKind.CANCELLING, {}, cancel_requested=1)
                return RunState.RUNNING
            _end_stages(connection, run_id, RunState.CANCELLED)
            over = {"state": RunState.CANCELLED, "finished_at": time.time(), "is_head": 0, "cancel_requested": 1}
            self._advance(connection, row, EventKind.FINISHED, {"state": RunState.CANCELLED}, **over)
            _seat(connection, [row.subject])
            return RunState.CANCELLED

    # -- executing runs ------------------------------------------------------------------------------------------------

    def begin(self, asked: Submission, worker: str) -> Claim:
        """Take the unfinished run of an identity, or make one, for the process that asks; it waits for no other.

        Raises:
            Conflict: The same run is being executed by a living process.
        """
        now = time.time()
        mine = {
            "state": RunState.RUNNING,
            "worker": worker,
            "started_at": now,
            "finished_at": None,
            "error": None,
            "cancel_requested": 0,
            "is_head": 0,
        }
        with self.database.begin() as connection:
            _lock(connection, [asked.subject])
            row = connection.execute(
                sa.select(runs)
                .where(runs.c.identity == asked.identity, runs.c.state != RunState.COMPLETED)
                .order_by(runs.c.seq.desc())
                .limit(1)
                .with_for_update()
            ).one_or_none()
            if row is None:
                run_id, attempt, number = new_id(), 1, 1
                connection.execute(
                    sa.insert(runs).values(
                        id=run_id,
                        kind=asked.kind,
                        pipeline=asked.pipeline,
                        subject=asked.subject,
                        identity=asked.identity,
                        parameters=canonical_json(dict(asked.parameters)),
                        priority=asked.priority,
                        attempt=attempt,
                        failures=0,
                        max_attempts=1,
                        attended=1,
                        events=number,
                        submitted_by=asked.submitted_by,
                        ready_at=0.0,
                        created_at=now,
                        **mine,
                    )
                )
            else:
                run_id, attempt, number = row.id, row.attempt + 1, row.events + 1
                if row.state == RunState.RUNNING and not self._is_lost(connection, row):
                    raise Conflict(
                        f"This run is being executed already (run {run_id}).",
                        hint=f"Follow it with: geoetl runs follow {run_id}",
                    )
                connection.execute(
                    sa.update(runs).where(runs.c.id == run_id).values(attempt=attempt, events=number, **mine)
                )
                _end_stages(connection, run_id, RunState.INTERRUPTED)
            note(connection, run_id, number, EventKind.STARTED, {"attempt": attempt, "worker": worker})
            _seat(connection, [asked.subject])
        return Claim(run_id, attempt, asked.pipeline, dict(asked.parameters))

    def has_ready(self, kind: RunKind) -> bool:
        """Tell, without waiting for a writer, whether there is a run to claim."""
        with self.database.read() as connection:
            return (
                connection.execute(_ready(connection, kind).with_only_columns(runs.c.seq).limit(1)).first() is not None
            )

    def claim(self, worker: str, kind: RunKind, *, limit: int = 1) -> list[Claim]:
        """Take the next runs that may be executed, at most `limit`; they are this worker's from then on."""
        if not self.has_ready(kind):
            return []
        with self.database.begin() as connection:
            found = _ready(connection, kind).with_only_columns(runs.c.seq).limit(limit)
            chosen = connection.execute(found.with_for_update(skip_locked=True)).scalars().all()
            if not chosen:
                return []
            now = time.time()
            taken = connection.execute(
                sa.update(runs)
                .where(runs.c.seq.in_(chosen))
                .values(
                    state=RunState.RUNNING,
                    worker=worker,
                    is_head=0,
                    attempt=runs.c.attempt + 1,
                    events=runs.c.events + 1,
                    started_at=now,
                    finished_at=None,
                    error=None,
                )
                .returning(runs.c.seq, runs.c.id, runs.c.attempt, runs.c.events, runs.c.pipeline, runs.c.parameters)
            ).all()
            taken = sorted(taken, key=lambda row: chosen.index(row.seq))
            _note_all(
                connection,
                [(row.id, row.events, EventKind.STARTED, {"attempt": row.attempt, "worker": worker}) for row in taken],
            )
        return [Claim(row.id, row.attempt, row.pipeline, json.loads(row.parameters)) for row in taken]

    def finish(self, *endings: Ending) -> None:
        """End attempts, all in one transaction; those that have been superseded are left alone.

        An error that may pass (`GeoetlError.retryable`) has the run tried again after a while, as long as it has
        attempts left.
        """
        by_id = {ending.run_id: ending for ending in endings}
        with self.database.begin() as connection:
            found = connection.execute(sa.select(runs).where(runs.c.id.in_(list(by_id)))).all()
            _lock(connection, [row.subject for row in found])
            query = sa.select(runs).where(runs.c.id.in_(list(by_id)), runs.c.state == _RUNNING).with_for_update()
            held = [row for row in connection.execute(query) if row.attempt == by_id[row.id].attempt]
            if not held:
                return
            notes, changes = [], []
            for row in held:
                kind, data, values = _ended(connection, row, by_id[row.id])
                notes.append((row.id, row.events + 1, kind, data))
                changes.append({"b_seq": row.seq, **values})
            names = ("state", "finished_at", "ready_at", "failures", "error", "notebook", "result")
            connection.execute(
                sa.update(runs)
                .where(runs.c.seq == sa.bindparam("b_seq"))
                .values(events=runs.c.events + 1, cancel_requested=0, **{name: sa.bindparam(name) for name in names}),
                changes,
            )
            unfinished = [
                row.id for row, change in zip(held, changes, strict=True) if change["error"] or by_id[row.id].cancelled
            ]
            for run_id in unfinished:
                _end_stages(connection, run_id, RunState.FAILED)
            _note_all(connection, notes)
            _seat(connection, [row.subject for row in held])

    def hand_back(self, *claims: tuple[str, int]) -> None:
        """Give runs back that this process cannot go on with; no attempt of theirs counts as failed."""
        with self.database.begin() as connection:
            attempts = dict(claims)
            found = connection.execute(sa.select(runs).where(runs.c.id.in_(list(attempts)))).all()
            _lock(connection, [row.subject for row in found])
            query = sa.select(runs).where(runs.c.id.in_(list(attempts)), runs.c.state == _RUNNING).with_for_update()
            held = [row for row in connection.execute(query) if row.attempt == attempts[row.id]]
            for row in held:
                state = RunState.INTERRUPTED if row.attended else RunState.QUEUED
                if row.cancel_requested:
                    state = RunState.CANCELLED
                _end_stages(connection, row.id, RunState.INTERRUPTED)
                kind = EventKind.FINISHED if state.is_over else EventKind.RETURNED
                finished = time.time() if state.is_over else None
                self._advance(connection, row, kind, {"state": state}, state=state, finished_at=finished)
            _seat(connection, [row.subject for row in held])

    def advance(self, connection: Connection, run_id: str, attempt: int, kind: EventKind, data: Any) -> None:
        """Note an event of an attempt, in the caller's transaction, which then holds the run.

        Raises:
            Superseded: Another attempt has taken over, or the run was ended.
        """
        number = connection.execute(
            sa.update(runs)
            .where(runs.c.id == run_id, runs.c.attempt == attempt, runs.c.state == _RUNNING)
            .values(events=runs.c.events + 1)
            .returning(runs.c.events)
        ).scalar()
        if number is None:
            raise _superseded(run_id)
        note(connection, run_id, number, kind, data)

    def hold(self, connection: Connection, run_id: str, attempt: int) -> None:
        """Keep an attempt from being superseded until the caller's transaction ends.

        Raises:
            Superseded: It is already.
        """
        query = sa.select(runs.c.seq).where(
            runs.c.id == run_id, runs.c.attempt == attempt, runs.c.state == RunState.RUNNING
        )
        if connection.execute(query.with_for_update()).first() is None:
            raise _superseded(run_id)

    # -- who executes --------------------------------------------------------------------------------------------------

    def enter(self, mark: ProcessMark, slots: int) -> str:
        """Note that a process executes runs, and return its id."""
        worker, now = new_id(), time.time()
        with self.database.begin() as connection:
            connection.execute(
                sa.insert(workers).values(
                    id=worker,
                    host=mark.host,
                    pid=mark.pid,
                    born=mark.born,
                    slots=slots,
                    beats=1,
                    started_at=now,
                    seen_at=clock(connection),
                )
            )
        return worker

    def beat(self, worker: str) -> bool:
        """Say that a process lives; False when it has been taken for dead."""
        with self.database.begin() as connection:
            changed = connection.execute(
                sa.update(workers)
                .where(workers.c.id == worker)
                .values(beats=workers.c.beats + 1, seen_at=clock(connection))
            )
            return changed.rowcount == 1

    def leave(self, worker: str) -> None:
        """Forget a process that stops; what it still holds is handed back."""
        query = sa.select(runs.c.id, runs.c.attempt).where(runs.c.worker == worker, runs.c.state == _RUNNING)
        with self.database.read() as connection:
            left = [(row.id, row.attempt) for row in connection.execute(query)]
        if left:
            self.hand_back(*left)
        with self.database.begin() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker))

    def held(self, worker: str) -> dict[str, tuple[int, bool]]:
        """Return the runs that a process holds, each with its attempt and whether it is to be cancelled."""
        query = sa.select(runs.c.id, runs.c.attempt, runs.c.cancel_requested).where(
            runs.c.worker == worker, runs.c.state == _RUNNING
        )
        with self.database.read() as connection:
            return {row.id: (row.attempt, bool(row.cancel_requested)) for row in connection.execute(query)}

    def holders(self) -> list[Holder]:
        """Return every process that has a row, and one without an id where a run's process has none."""
        orphans = sa.select(runs.c.seq).where(
            runs.c.state == _RUNNING,
            sa.or_(runs.c.worker.is_(None), runs.c.worker.not_in(sa.select(workers.c.id))),
        )
        with self.database.read() as connection:
            found = [_holder(row) for row in connection.execute(sa.select(workers))]
            if connection.execute(orphans.limit(1)).first():
                found.append(Holder("", ProcessMark("", 0, ""), 0, 0.0))
        return found

    def workers(self) -> list[Holder]:
        """Return the workers that are taken for living: those with slots, which claim runs."""
        with self.database.read() as connection:
            now = _now(connection)
            found = [_holder(row) for row in connection.execute(sa.select(workers).where(workers.c.slots > 0))]
        return [holder for holder in found if not _is_dead(holder, now)]

    def reclaim(self, holder: Holder) -> int:
        """Take the runs from a process that is dead, unless it has beaten since; return how many there were."""
        mine = runs.c.worker == holder.id
        if not holder.id:
            mine = sa.or_(runs.c.worker.is_(None), runs.c.worker.not_in(sa.select(workers.c.id)))
        with self.database.begin() as connection:
            if holder.id:
                gone = sa.delete(workers).where(workers.c.id == holder.id, workers.c.beats == holder.beats)
                if connection.execute(gone).rowcount == 0:
                    return 0
            subjects = connection.execute(sa.select(runs.c.subject).where(mine, runs.c.state == _RUNNING)).scalars()
            _lock(connection, subjects.all())
            lost = connection.execute(sa.select(runs).where(mine, runs.c.state == _RUNNING).with_for_update()).all()
            for row in lost:
                self._interrupt(connection, row)
            _seat(connection, [row.subject for row in lost])
            return len(lost)

    # -- what nobody executes ------------------------------------------------------------------------------------------

    def left(self, before: float) -> list[Left]:
        """Return the runs that lost their process, are nobody's to take up, and were begun before a Unix time."""
        begun = sa.func.coalesce(runs.c.started_at, runs.c.created_at)
        query = sa.select(*_LEFT).where(runs.c.state == RunState.INTERRUPTED, begun < before).order_by(runs.c.seq)
        with self.database.read() as connection:
            return [Left(*row) for row in connection.execute(query)]

    def give_up(self, run_id: str, events_seen: int) -> bool:
        """Let a run have failed that lost its process, unless anything has happened to it since; tell whether it has.

        It can be tried again like any that failed.
        """
        with self.database.begin() as connection:
            row = self._locked_row(connection, run_id)
            if row.state != RunState.INTERRUPTED or row.events != events_seen:
                return False
            error = RunFailed(
                "The process that executed it is gone, and nobody went on with it.",
                hint=f"Go on behind its last finished stage with: geoetl runs retry {run_id}",
            )
            over = {"state": RunState.FAILED, "finished_at": time.time(), "error": json.dumps(error.problem())}
            self._advance(connection, row, EventKind.FINISHED, {"state": RunState.FAILED, "lost": True}, **over)
            return True

    def unseated(self) -> dict[str, int]:
        """Return the subjects of which runs wait, none is executed, and none is the next; each with how many wait."""
        other = runs.alias()
        served = sa.exists().where(
            other.c.subject == runs.c.subject,
            sa.or_(other.c.state == RunState.RUNNING, sa.and_(other.c.state == RunState.QUEUED, other.c.is_head == 1)),
        )
        query = sa.select(runs.c.subject, sa.func.count()).where(runs.c.state == _QUEUED, ~served)
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(runs.c.subject))}

    def seat(self, subject: str) -> None:
        """Mark the oldest waiting run of a subject as the next, where none of it is executed."""
        with self.database.begin() as connection:
            _lock(connection, [subject])
            _seat(connection, [subject])

    # -- within --------------------------------------------------------------------------------------------------------

    def _interrupt(self, connection: Connection, row: Row[Any]) -> None:
        """Take a run from its lost process: it waits again, is left to who attended it, or has had its attempts."""
        _end_stages(connection, row.id, RunState.INTERRUPTED)
        failures = row.failures + 1
        values: dict[str, Any] = {"failures": failures, "worker": None}
        if row.cancel_requested:
            values |= {"state": RunState.CANCELLED, "finished_at": time.time()}
        elif row.attended:
            values |= {"state": RunState.INTERRUPTED}
        elif failures < row.max_attempts:
            values |= {"state": RunState.QUEUED, "ready_at": 0.0}
        else:
            error = RunFailed(
                f"The process that executed it was lost {failures} times.",
                hint="It may need more memory than the machine has. Try again with: geoetl runs retry " + row.id,
            )
            values |= {"state": RunState.FAILED, "finished_at": time.time(), "error": json.dumps(error.problem())}
        state: RunState = values["state"]
        kind = EventKind.FINISHED if state.is_over else EventKind.LOST
        self._advance(connection, row, kind, {"state": state, "attempt": row.attempt, "lost": True}, **values)

    def _advance(self, connection: Connection, row: Row[Any], kind: EventKind, data: Any, **values: Any) -> None:
        connection.execute(sa.update(runs).where(runs.c.seq == row.seq).values(events=row.events + 1, **values))
        note(connection, row.id, row.events + 1, kind, data)

    def _locked_row(self, connection: Connection, run_id: str) -> Row[Any]:
        query = sa.select(runs).where(runs.c.id == run_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise not_found(connection, run_id)
        _lock(connection, [row.subject])
        return connection.execute(query.with_for_update()).one()

    def _is_lost(self, connection: Connection, row: Row[Any]) -> bool:
        found = connection.execute(sa.select(workers).where(workers.c.id == row.worker)).one_or_none()
        return found is None or _is_dead(_holder(found), _now(connection))


def not_found(connection: Connection, run_id: str) -> NotFound:
    """Return the error for an id that no run has."""
    recent = connection.execute(sa.select(runs.c.id).order_by(runs.c.seq.desc()).limit(_RECENT)).scalars()
    return NotFound(f"There is no run '{run_id[:60]}'.", hint=did_you_mean(run_id[:60], recent), field="run_id")


def is_lost(connection: Connection, worker_ids: Iterable[str | None]) -> dict[str | None, bool]:
    """Tell of processes that hold runs whether they are dead."""
    wanted = set(worker_ids)
    found = connection.execute(sa.select(workers).where(workers.c.id.in_([one for one in wanted if one]))).all()
    now = _now(connection) if found else 0.0
    return {**dict.fromkeys(wanted, True), **{row.id: _is_dead(_holder(row), now) for row in found}}


def note(connection: Connection, run_id: str, number: int, kind: EventKind, data: Any) -> None:
    """Write down an event under its number."""
    _note_all(connection, [(run_id, number, kind, data)])


def back_off_s(failures: int) -> float:
    """Return how long a run waits after so many failures, seconds."""
    longest = min(MAX_BACK_OFF_S, BACK_OFF_S * 2.0 ** min(failures - 1, 30))
    return longest * random.uniform(0.5, 1.0)


def clock(connection: Connection) -> sa.ColumnElement[float]:
    """Return the time that all processes share, in Unix seconds: the server's, or this machine's where it is a file."""
    if connection.dialect.name == "postgresql":
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
    return sa.literal(time.time(), sa.Float)


def _now(connection: Connection) -> float:
    return float(connection.execute(sa.select(clock(connection))).scalar_one())


def _note_all(connection: Connection, notes: Sequence[tuple[str, int, EventKind, Any]]) -> None:
    now = time.time()
    connection.execute(
        sa.insert(events),
        [
            {"run_id": run_id, "number": number, "at": now, "kind": kind, "data": json.dumps(data)}
            for run_id, number, kind, data in notes
        ],
    )


def _ended(connection: Connection, row: Row[Any], ending: Ending) -> tuple[EventKind, dict[str, Any], dict[str, Any]]:
    """Return the event, its data, and what changes in the row."""
    now, error, failures = time.time(), ending.error, row.failures
    values: dict[str, Any] = {
        "state": RunState.COMPLETED,
        "finished_at": now,
        "ready_at": row.ready_at,
        "failures": failures,
        "error": None,
        "notebook": ending.notebook or row.notebook,
        "result": ending.result if ending.result is not None else row.result,
    }
    data: dict[str, Any] = {"attempt": row.attempt}
    if ending.cancelled or (error and row.cancel_requested):
        values["state"] = RunState.CANCELLED
    elif error:
        values |= {"state": RunState.FAILED, "error": json.dumps(error)}
        data["error"] = error
        if GeoetlError.from_problem(error).retryable and not row.attended:
            values["failures"] = failures + 1
            if failures + 1 < row.max_attempts:
                wait = back_off_s(failures + 1)
                values |= {"state": RunState.QUEUED, "finished_at": None, "ready_at": _now(connection) + wait}
                return EventKind.RETRYING, {**data, "after_s": round(wait, 1)}, values
    return EventKind.FINISHED, {"state": values["state"], **data}, values


def _queue_again(connection: Connection, row: Row[Any], max_attempts: int, submitted_by: str | None) -> None:
    _end_stages(connection, row.id, RunState.INTERRUPTED)
    connection.execute(
        sa.update(runs)
        .where(runs.c.seq == row.seq)
        .values(
            state=RunState.QUEUED,
            failures=0,
            max_attempts=max_attempts,
            attended=0,
            cancel_requested=0,
            error=None,
            finished_at=None,
            ready_at=0.0,
            events=row.events + 1,
        )
    )
    note(connection, row.id, row.events + 1, EventKind.QUEUED, {"submitted_by": submitted_by, "again": True})
    _seat(connection, [row.subject])


def _ready(connection: Connection, kind: RunKind) -> sa.Select[Any]:
    """Return the runs that may be claimed, the next first."""
    now = clock(connection)
    # What waits for longer than any back-off was told by a clock that has been set back since.
    is_due = sa.or_(runs.c.ready_at <= now, runs.c.ready_at > now + MAX_BACK_OFF_S)
    return (
        sa.select(runs)
        .where(runs.c.state == _QUEUED, runs.c.is_head == sa.literal_column("1"), runs.c.kind == kind, is_due)
        .order_by(runs.c.priority.desc(), runs.c.seq)
    )


def _is_open() -> sa.ColumnElement[bool]:
    return runs.c.state.in_([_QUEUED, _RUNNING])


def _seat(connection: Connection, subjects: Iterable[str]) -> None:
    """Mark the oldest waiting run of each subject as the next, where none of the subject is being executed."""
    for subject in dict.fromkeys(subjects):
        of_it = runs.c.subject == subject
        is_running = sa.exists().where(of_it, runs.c.state == _RUNNING)
        oldest = sa.select(sa.func.min(runs.c.seq)).where(of_it, runs.c.state == _QUEUED).scalar_subquery()
        busy, first = connection.execute(sa.select(is_running, oldest)).one()
        if first is None:
            continue
        waiting = sa.update(runs).where(of_it, runs.c.state == _QUEUED)
        head = -1 if busy else first
        connection.execute(waiting.where(runs.c.is_head == 1, runs.c.seq != head).values(is_head=0))
        connection.execute(waiting.where(runs.c.is_head == 0, runs.c.seq == head).values(is_head=1))


def _lock(connection: Connection, subjects: Iterable[str]) -> None:
    """Let nobody else change the order of these subjects until the transaction ends (SQLite has one writer anyway)."""
    if connection.dialect.name != "postgresql":
        return
    # In one order, so that two that lock several do not wait for each other.
    for key in sorted({zlib.crc32(subject.encode()) - 2**31 for subject in subjects}):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SUBJECT_LOCK, key)))


def _end_stages(connection: Connection, run_id: str, state: RunState) -> None:
    connection.execute(
        sa.update(stages)
        .where(stages.c.run_id == run_id, stages.c.state == RunState.RUNNING)
        .values(state=state, finished_at=time.time())
    )


def _holder(row: Row[Any]) -> Holder:
    return Holder(row.id, ProcessMark(row.host, row.pid, row.born), row.beats, row.seen_at)


def _is_dead(holder: Holder, now: float) -> bool:
    """Tell by the clock whether a process is dead, for who has not watched it; a worker knows better."""
    if holder.mark.is_here:
        return holder.mark.is_gone
    return now - holder.seen_at > LEASE_S


def _superseded(run_id: str) -> Superseded:
    return Superseded(f"Run {run_id} has been taken over by another process, or was ended.", hint="Stop this one.")
