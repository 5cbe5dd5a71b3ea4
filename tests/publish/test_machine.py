"""Releases against a model of plain dictionaries: whatever is done in whatever order, by whom and when, both agree.

The model has its own table of moves. The short form is part of every test run; ``make chaos`` makes more of it with
``GEOETL_TEST_RELEASE_EXAMPLES`` and ``GEOETL_TEST_RELEASE_STEPS``.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from geoetl.core.errors import Conflict, GeoetlError, InvalidParameter, NotFound
from geoetl.core.principal import FourEyes, Principal, Role, Via
from geoetl.publish.audit import GENESIS
from geoetl.publish.model import UNDO_S, Action, Clearance, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import APPROVAL_VALID_S, Step
from geoetl.publish.tables import outbox
from geoetl.publish.verification import verify
from geoetl.store.database import Database
from tests.publish.releasing import NOW, Clock, a_content

EXAMPLES = int(os.environ.get("GEOETL_TEST_RELEASE_EXAMPLES", 12))
STEPS = int(os.environ.get("GEOETL_TEST_RELEASE_STEPS", 50))
ITEMS = ("flood", "fire", "storm")
PEOPLE = [Principal(f"06{name}", name, Role.APPROVER, Via.TOKEN) for name in ("anna", "ben", "cleo")]
HOUR_S = 3600.0
OPEN = {"draft", "pending_review", "changes_requested", "approved", "copying", "copy_failed"}
TABLE: dict[str, tuple[set[str], str]] = {
    "edit": ({"draft", "pending_review", "changes_requested"}, "draft"),
    "submit": ({"draft", "changes_requested"}, "pending_review"),
    "approve": ({"pending_review"}, "approved"),
    "request_changes": ({"pending_review"}, "changes_requested"),
    "reject": ({"pending_review"}, "rejected"),
    "revoke": ({"approved", "copy_failed"}, "withdrawn"),
    "expire": ({"approved", "copy_failed"}, "pending_review"),
    "begin_copy": ({"approved", "copy_failed"}, "copying"),
    "finish_copy": ({"copying"}, "published"),
    "fail_copy": ({"copying"}, "copy_failed"),
    "withdraw": ({"published"}, "withdrawn"),
    "reopen": ({"rejected", "withdrawn"}, "draft"),
    "restore": ({"withdrawn"}, "approved"),
}
ONWARDS = {
    "draft": "submit",
    "pending_review": "approve",
    "changes_requested": "submit",
    "approved": "begin_copy",
    "copying": "finish_copy",
    "published": "withdraw",
    "copy_failed": "begin_copy",
    "rejected": "reopen",
    "withdrawn": "reopen",
}
NEED_A_REASON = {"request_changes", "reject", "revoke", "expire", "fail_copy", "withdraw", "restore"}
DECISIONS = ("approve", "request_changes", "reject")
# Those on what waits for review, and that on what was withdrawn.
NOT_BY_THE_AUTHOR = (*DECISIONS, "restore")
# What is wrong with a step; most often nothing.
SLIPS = st.sampled_from([""] * 6 + ["revision", "digest", "nonce", "run", "reason", "unknown"])


class ReleaseMachine(RuleBasedStateMachine):
    """Does all that may be done to releases, and much that may not, and knows what has to come of it."""

    def __init__(self, new_url: Callable[[], str]) -> None:
        super().__init__()
        self.url, self.clock = new_url(), Clock(NOW)
        self.model: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[str, str]] = []
        self.notices = 0
        self.head = GENESIS
        self.marks = 0
        self.log_seen = 0
        self.open()

    def open(self) -> None:
        """Open the database, as a process does that starts."""
        self.database = Database(self.url)
        self.releases = ReleaseRepository(self.database, self.clock)

    def teardown(self) -> None:
        """Look at everything once more."""
        self.agree()
        self.database.dispose()

    # -- rules ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len([one for item in ITEMS for one in self.open_of(item)]) < len(ITEMS))
    @rule(
        item=st.sampled_from(ITEMS),
        who=st.sampled_from(PEOPLE),
        embargo=st.sampled_from([None, None, 5 * HOUR_S]),
        made_for=st.sampled_from([None, None, None, 1]),
    )
    def create(self, item: str, who: Principal, embargo: float | None, made_for: int | None) -> None:
        after = None if embargo is None else self.clock.now + embargo
        content = a_content(item, publish_after=after, version=made_for)
        if self.open_of(item):
            assert isinstance(refusal(lambda: self.releases.create(who, content)), Conflict)
            return
        release = self.releases.create(who, content)
        self.model[release.id] = {
            "item": item, "state": "draft", "revision": 1, "version": None, "digest": content.manifest.digest,
            "submitted_by": None, "nonce": None, "used": False, "expires": None, "publish_after": after, "run": None,
            "made_for": made_for, "changed_at": self.clock.now, "published_at": None,
        }  # fmt: skip
        self.note(release.id, "create")

    @precondition(lambda self: self.model)
    @rule(data=st.data(), who=st.sampled_from(PEOPLE), slip=SLIPS)
    def do(self, data: st.DataObject, who: Principal, slip: str) -> None:
        one, action = self.some(data)
        step = self.step(one, action, slip)
        expected = self.expected(one, step, who)
        error = refusal(lambda: self.releases.move(who, step))
        assert (error and type(error)) is expected, (error, expected)
        if error is None:
            self.moved(one, step, who)
        elif isinstance(error, Conflict | FourEyes):
            self.log.append((one, "refused"))
        self.agree_on(one)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), count=st.integers(1, 4))
    def go_on(self, data: st.DataObject, count: int) -> None:
        one = data.draw(st.sampled_from(list(self.model)))
        for _ in range(count):
            is_now = self.model[one]
            was_public = is_now["state"] == "withdrawn" and is_now["published_at"]
            action = "restore" if was_public else ONWARDS[is_now["state"]]
            # Somebody who may; the copy waits until it may begin.
            who = next(person for person in PEOPLE if person.id != is_now["submitted_by"])
            if action == "begin_copy":
                self.clock.now = max(self.clock.now, is_now["publish_after"] or 0)
            step = self.step(one, action, "")
            if self.expected(one, step, who) is None:
                self.releases.move(who, step)
                self.moved(one, step, who)
                self.agree_on(one)

    @precondition(lambda self: self.in_state("pending_review"))
    @rule(data=st.data(), who=st.sampled_from(PEOPLE), count=st.integers(1, 5))
    def decide_many(self, data: st.DataObject, who: Principal, count: int) -> None:
        steps, expected = [], []
        waiting = self.in_state("pending_review")
        for _ in range(count):
            one = data.draw(st.sampled_from(waiting))
            slip = data.draw(st.sampled_from(["", "", "revision", "digest"]))
            step = self.step(one, data.draw(st.sampled_from(DECISIONS)), slip)
            steps.append(step)
            expected.append(self.expected(one, step, who))
            if expected[-1] is None:
                self.moved(one, step, who, look=False)
            else:
                self.log.append((one, "refused"))
        outcomes = self.releases.decide_many(who, steps)
        assert [None if one.error is None else type(one.error) for one in outcomes] == expected
        for step in steps:
            self.look(step.release_id)
            self.agree_on(step.release_id)

    # Not twice in a row: most steps are to do something to a release.
    @precondition(lambda self: self.log_seen != len(self.log))
    @rule(
        hours=st.sampled_from([0.0, 1.0, 4.0, 6.0, -1.0, APPROVAL_VALID_S / HOUR_S, UNDO_S / HOUR_S]),
        what=st.sampled_from(["", "", "expire", "reopen"]),
    )
    def time_passes(self, hours: float, what: str) -> None:
        self.clock.now += hours * HOUR_S
        if what == "expire":
            self.expire_due()
        elif what == "reopen":
            self.reopen()
        self.log_seen = len(self.log)

    def expire_due(self) -> None:
        due = [
            one
            for one, is_now in self.model.items()
            if is_now["state"] in ("approved", "copy_failed") and is_now["expires"] <= self.clock.now
        ]
        outcomes = self.releases.expire_due()
        ends = {one: "revoke" if self.model[one]["published_at"] else "expire" for one in due}
        assert [(one.release_id, one.state, one.error) for one in outcomes] == [
            (one, TABLE[ends[one]][1], None) for one in due
        ]
        for one in due:
            self.moved(one, Step(one, Action(ends[one]), 0), PEOPLE[0])
        for one in due:
            self.agree_on(one)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), who=st.sampled_from(PEOPLE))
    def crash(self, data: st.DataObject, who: Principal) -> None:
        one, action = self.some(data)
        step = self.step(one, action, "")
        expected = self.expected(one, step, who)
        # The connection is gone before the transaction ends, as it is when a process dies.
        with pytest.raises((sa.exc.DBAPIError, GeoetlError)), self.database.begin() as connection:  # noqa: PT012
            within = ReleaseRepository(self.database.within(connection), self.clock)
            if expected is None:
                within.move(who, step)
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.close()
        self.database.dispose()
        self.agree_on(one)

    def reopen(self) -> None:
        self.database.dispose()
        self.open()
        self.agree()

    # -- the model -----------------------------------------------------------------------------------------------------

    def some(self, data: st.DataObject) -> tuple[str, str]:
        """Choose a release and what to do to it: most often something that its state allows."""
        one = data.draw(st.sampled_from(list(self.model)))
        fitting = [action for action, (before, _) in TABLE.items() if self.model[one]["state"] in before]
        # Twice, as otherwise half of them would be turned away.
        ways = [action for action in fitting if action not in ("reject", "revoke", "edit")] * 2 + fitting
        return one, data.draw(st.sampled_from(ways * 2 + sorted(TABLE)))

    def next_version(self, one: str) -> int:
        """Return the version that an approval would assign."""
        item = self.model[one]["item"]
        return max(other["version"] or 0 for other in self.model.values() if other["item"] == item) + 1

    def in_state(self, state: str) -> list[str]:
        """Return the releases that stand there."""
        return [one for one, is_now in self.model.items() if is_now["state"] == state]

    def open_of(self, item: str) -> list[str]:
        """Return the open releases of an item."""
        return [one for one, is_now in self.model.items() if is_now["item"] == item and is_now["state"] in OPEN]

    def step(self, one: str, action: str, slip: str) -> Step:
        """Return a step, right but for one slip."""
        is_now = self.model[one]
        said: dict[str, Any] = {}
        if action in NEED_A_REASON:
            said["reason"] = " " if slip == "reason" else "Because."
        if action == "edit":
            self.marks += 1
            # Every other time for the version that comes next.
            made_for = self.next_version(one) if self.marks % 2 else None
            said["content"] = a_content(
                is_now["item"], f"{self.marks % 10}", publish_after=is_now["publish_after"], version=made_for
            )
        if action == "approve":
            said["manifest_digest"] = "0" * 64 if slip == "digest" else is_now["digest"]
        if action == "begin_copy":
            said["nonce"] = "0" * 32 if slip == "nonce" else is_now["nonce"] or "none"
        if action in ("begin_copy", "finish_copy", "fail_copy"):
            said["run_id"] = "other" if slip == "run" else is_now["run"] or f"run{is_now['revision']}"
        revision = is_now["revision"] - (slip == "revision")
        return Step("06nothing" if slip == "unknown" else one, Action(action), revision, **said)

    def expected(self, one: str, step: Step, who: Principal) -> type[GeoetlError] | None:
        """Return the error that a step has to end in; None where it has to be done."""
        is_now, now = self.model[one], self.clock.now
        if step.action in NEED_A_REASON and not (step.reason or "").strip():
            return InvalidParameter
        if step.release_id != one:
            return NotFound
        if is_now["state"] not in TABLE[step.action][0]:
            return Conflict
        if step.action in NOT_BY_THE_AUTHOR and is_now["submitted_by"] == who.id:
            return FourEyes
        holds = {
            "revision": step.revision == is_now["revision"],
            "approve": step.action != "approve" or step.manifest_digest == is_now["digest"],
            "expire": step.action != "expire" or now >= (is_now["expires"] or 0),
            "begin": step.action != "begin_copy"
            or (
                step.nonce == is_now["nonce"]
                and now < is_now["expires"]
                and now >= (is_now["publish_after"] or 0)
                and not (is_now["state"] == "approved" and is_now["used"])
            ),
            # A clock may be put back while it is copied.
            "finish": step.action != "finish_copy" or now >= (is_now["publish_after"] or 0),
            "run": step.action not in ("finish_copy", "fail_copy") or step.run_id == is_now["run"],
            "one": step.action not in ("reopen", "restore") or not self.open_of(is_now["item"]),
            "version": step.action != "approve" or is_now["made_for"] in (None, self.next_version(one)),
            "public": step.action not in ("expire", "reopen") or not is_now["published_at"],
            "undo": step.action != "restore" or now < is_now["changed_at"] + UNDO_S,
        }
        return None if all(holds.values()) else Conflict

    def moved(self, one: str, step: Step, who: Principal, *, look: bool = True) -> None:
        """Note what a step that was done has changed."""
        is_now, action = self.model[one], str(step.action)
        next_version = self.next_version(one)
        is_now |= {"state": TABLE[action][1], "revision": is_now["revision"] + 1, "changed_at": self.clock.now}
        if action == "edit":
            assert step.content is not None
            manifest = step.content.manifest
            is_now |= {"digest": manifest.digest, "submitted_by": None, "made_for": manifest.version}
        elif action == "submit":
            is_now["submitted_by"] = who.id
        elif action in ("approve", "restore"):
            start = max(self.clock.now, is_now["publish_after"] or 0)
            is_now |= {"expires": start + APPROVAL_VALID_S, "used": False, "nonce": "new"}
            is_now |= {"version": next_version} if action == "approve" else {}
        elif action == "begin_copy":
            is_now |= {"used": True, "run": step.run_id}
        elif action == "finish_copy":
            is_now["published_at"] = self.clock.now
        elif action in ("revoke", "expire", "withdraw", "reopen"):
            is_now |= {"nonce": None, "expires": None, "used": False}
            if action == "reopen":
                is_now |= {"submitted_by": None, "run": None}
        self.note(one, action)
        if look:
            self.look(one)

    def look(self, one: str) -> None:
        """Learn the nonce of a new approval: it is drawn at random, and none that was seen before."""
        if self.model[one]["nonce"] == "new":
            approval = self.releases.get(one).approval
            assert approval is not None
            assert approval.nonce not in [other["nonce"] for other in self.model.values()]
            self.model[one]["nonce"] = approval.nonce

    def note(self, one: str, action: str) -> None:
        """Expect a row in the log, and a notification."""
        self.log.append((one, action))
        self.notices += 1

    def agree_on(self, one: str) -> None:
        """Compare one release, and the length of the log."""
        is_now, release = self.model[one], self.releases.get(one)
        approval = release.approval
        assert {
            "item": release.item,
            "state": release.state,
            "revision": release.revision,
            "version": release.version,
            "digest": release.manifest.digest,
            "submitted_by": release.submitted_by,
            "nonce": approval and approval.nonce,
            "used": approval is not None and approval.used_at is not None,
            "expires": approval and approval.expires_at,
            "publish_after": release.publish_after,
            "run": release.run_id,
            "made_for": release.manifest.version,
            "changed_at": release.updated_at,
            "published_at": release.published_at,
        } == is_now
        assert release.manifest_digest == is_now["digest"]
        assert release.clearance is Clearance.PUBLIC
        assert approval is None or approval.manifest_digest == is_now["digest"]
        assert self.releases.audit.head().number == len(self.log)

    def agree(self) -> None:
        """Compare everything."""
        assert {one.id for one in self.releases.list(limit=1000).releases} == set(self.model)
        for one in self.model:
            self.agree_on(one)
        rows = list(self.releases.audit.rows(self.head.number))
        assert [(row.release_id, row.action) for row in rows] == self.log[self.head.number :]
        found = verify(rows, after=self.head)
        assert found.is_intact
        self.head = found.head
        with self.database.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar() == self.notices
        states = [is_now["state"] for is_now in self.model.values()]
        assert self.releases.counts() == {state: states.count(state) for state in State}
        for item in ITEMS:
            assert len(self.open_of(item)) <= 1


def refusal(step: Callable[[], Any]) -> GeoetlError | None:
    """Return the error in which a step ends."""
    try:
        step()
    except GeoetlError as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_releases_do_what_the_model_says(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    new_sqlite_url: Callable[[Path], str],
) -> None:
    new_url: Callable[[], str] = lambda: new_sqlite_url(tmp_path_factory.mktemp("machine"))  # noqa: E731
    examples = EXAMPLES
    if kind == "postgresql":
        # A database of its own for each example takes a while there.
        new_url, examples = request.getfixturevalue("new_pgstac_url"), max(3, EXAMPLES // 10)
    run_state_machine_as_test(
        lambda: ReleaseMachine(new_url),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
