"""The queue against a model of a few lines: whatever happens in whatever order, its order and its fences hold."""

from typing import Any

import hypothesis.strategies as st
import sqlalchemy as sa
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from geoetl.core.errors import Conflict, Unavailable, UnreadableFile
from geoetl.runs.model import RunKind, RunState
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Claim, Ending, RunQueue, Submission, Superseded
from geoetl.runs.repository import RunRepository
from geoetl.runs.tables import runs
from geoetl.store.database import Database

SUBJECTS = ["a", "b", "c"]
ERRORS = {"passes": Unavailable("It is away."), "lasts": UnreadableFile("It is a web page.")}
OPEN = (RunState.QUEUED, RunState.RUNNING)


class QueueMachine(RuleBasedStateMachine):
    """Submits, claims, ends, cancels, loses and tries again, and knows what has to come of it."""

    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.database = Database("sqlite:///:memory:")
        self.database.upgrade()
        self.repository = RunRepository(self.database)
        self.queue: RunQueue = self.repository.queue
        self.order: list[str] = []
        self.subject: dict[str, str] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.dispose()

    @rule(subject=st.sampled_from(SUBJECTS), priority=st.integers(-2, 2))
    def submit(self, subject: str, priority: int) -> None:
        self.count += 1
        asked = Submission("p", {}, f"{self.count:064}", subject, priority=priority, max_attempts=3)
        ((run_id, is_known),) = self.queue.submit(asked)
        assert not is_known and self.queue.submit(asked) == [(run_id, True)]
        self.order.append(run_id)
        self.subject[run_id] = subject

    @rule(target=claims, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        states = self.states()
        worker = self.queue.enter(ProcessMark("another machine", 1, ""), 1)
        self.due()
        taken = self.queue.claim(worker, RunKind.NOTEBOOK, limit=limit)
        heads = [
            next((one for one in self.of(subject) if states[one][0] in OPEN), None)
            for subject in SUBJECTS
            if not any(states[one][0] is RunState.RUNNING for one in self.of(subject))
        ]
        free = sorted(filter(None, heads), key=lambda one: (-states[one][1], self.order.index(one)))
        assert [one.run_id for one in taken] == free[:limit]
        return multiple(*taken)

    @rule(claim=consumes(claims), how=st.sampled_from(["well", "passes", "lasts", "back"]))
    def end(self, claim: Claim, how: str) -> None:
        before = self.states()[claim.run_id]
        if how == "back":
            self.queue.hand_back((claim.run_id, claim.attempt))
        else:
            error = ERRORS[how].problem() if how in ERRORS else None
            self.queue.finish(Ending(claim.run_id, claim.attempt, error=error))
        if before[0] is not RunState.RUNNING or before[2] != claim.attempt:
            assert self.states()[claim.run_id] == before, "a superseded attempt changes nothing"

    @rule(claim=claims)
    def write(self, claim: Claim) -> None:
        state, _, attempt = self.states()[claim.run_id]
        try:
            self.repository.emit(claim.run_id, claim.attempt, "{}")
        except Superseded:
            assert (state, attempt) != (RunState.RUNNING, claim.attempt)
        else:
            assert (state, attempt) == (RunState.RUNNING, claim.attempt)

    @rule()
    def lose_all(self) -> None:
        for holder in self.queue.holders():
            self.queue.reclaim(holder)
        assert RunState.RUNNING not in [state for state, _, _ in self.states().values()]

    @rule(data=st.data(), what=st.sampled_from(["cancel", "retry"]))
    def decide(self, data: st.DataObject, what: str) -> None:
        if not self.order:
            return
        run_id = data.draw(st.sampled_from(self.order))
        state = self.states()[run_id][0]
        try:
            self.queue.cancel(run_id) if what == "cancel" else self.queue.retry(run_id)
        except Conflict:
            assert state.is_over if what == "cancel" else state in (*OPEN, RunState.COMPLETED)
        else:
            assert state in OPEN if what == "cancel" else state in (RunState.FAILED, RunState.CANCELLED)

    @invariant()
    def one_of_a_subject_is_executed_and_the_oldest_waiting_one_is_marked(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.database.read() as connection:
            rows = connection.execute(sa.select(runs).order_by(runs.c.seq)).all()
        for subject in SUBJECTS:
            mine = [row for row in rows if row.subject == subject]
            running = [row for row in mine if row.state == RunState.RUNNING]
            waiting = [row for row in mine if row.state == RunState.QUEUED]
            assert len(running) <= 1
            assert [row.id for row in mine if row.is_head] == ([waiting[0].id] if waiting and not running else [])
        for row in rows:
            assert [event.number for event in self.repository.events(row.id)] == list(range(1, row.events + 1))

    def states(self) -> dict[str, tuple[RunState, int, int]]:
        """Return state, priority and attempt of each run."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(runs)).all()
        return {row.id: (RunState(row.state), row.priority, row.attempt) for row in rows}

    def of(self, subject: str) -> list[str]:
        """Return the runs of a subject, in order."""
        return [run_id for run_id in self.order if self.subject[run_id] == subject]

    def due(self) -> None:
        """Let no run wait for its time."""
        with self.database.begin() as connection:
            connection.execute(sa.update(runs).values(ready_at=0.0))


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
