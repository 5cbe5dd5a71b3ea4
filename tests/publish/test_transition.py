"""Each step is done whole or not at all, by whom and when it may be; what is refused is on record too."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from geoetl.core.errors import Conflict, InvalidParameter, NotFound, Unavailable
from geoetl.core.principal import FourEyes, Principal, Role, Via
from geoetl.publish.model import MOVES, UNDO_S, Action, Clearance, Manifest, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import APPROVAL_VALID_S, MAX_REASON_LETTERS, Content, Step
from geoetl.publish.tables import outbox, queue
from geoetl.publish.transition import SYSTEM
from geoetl.publish.verification import verify
from geoetl.store.database import Database
from tests.publish.releasing import APPROVER, AUTHOR, NOW, WAYS, Clock, a_content, a_step, brought, who_does

# On what waits for review.
DECISIONS = [action for action, move in MOVES.items() if move.is_decision and State.PENDING_REVIEW in move.before]
DAY_S = 86_400.0


def events(releases: ReleaseRepository, release_id: str) -> list[tuple[str, str, str]]:
    """Return event, state after it and who did it, of each notification that waits."""
    query = sa.select(outbox).where(outbox.c.release_id == release_id).order_by(outbox.c.id)
    with releases.database.read() as connection:
        rows = [(row.event, json.loads(row.payload)) for row in connection.execute(query)]
    rows.sort(key=lambda row: row[1]["revision"])
    return [(event, said["state"], said["actor"]) for event, said in rows]


def refusals(releases: ReleaseRepository) -> list[dict[str, Any]]:
    """Return the details of what was refused, in order."""
    return [json.loads(row.details) for row in releases.audit.rows() if row.action == "refused"]


# -- the table of moves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_in_each_state_what_the_table_allows_is_done_and_all_else_is_a_conflict(
    releases: ReleaseRepository, clock: Clock, state: State
) -> None:
    for number, (action, move) in enumerate(MOVES.items()):
        clock.now = NOW
        release = brought(releases, state, f"item-{number}")
        clock.now += APPROVAL_VALID_S if action is Action.EXPIRE else 0
        step = a_step(release, action)
        if state in move.before:
            after = releases.move(who_does(action), step)
            assert (after.state, after.revision) == (move.after, release.revision + 1)
            assert releases.get(release.id) == after
        else:
            with pytest.raises(Conflict, match=f"is {state.replace('_', ' ')}"):
                releases.move(who_does(action), step)
            assert releases.get(release.id) == release
            assert refusals(releases)[-1]["wanted"] == action


def test_each_step_leaves_one_row_in_the_log_and_one_notification(releases: ReleaseRepository) -> None:
    release = brought(releases, State.PUBLISHED)
    rows = list(releases.audit.rows())
    way = ["create", *WAYS[State.PUBLISHED]]
    assert [row.action for row in rows] == way
    assert [(row.before, row.after) for row in rows[1:]] == [(MOVES[one].after, MOVES[two].after) for one, two in zip(
        [Action.EDIT, *WAYS[State.PUBLISHED]], WAYS[State.PUBLISHED], strict=False
    )]  # fmt: skip
    assert {row.manifest_digest for row in rows} == {release.manifest_digest}
    assert events(releases, release.id) == [
        ("create", "draft", AUTHOR.id),
        ("submit", "pending_review", AUTHOR.id),
        ("approve", "approved", APPROVER.id),
        ("begin_copy", "copying", SYSTEM.id),
        ("finish_copy", "published", SYSTEM.id),
    ]
    assert json.loads(rows[2].details)["by"] == {"name": "Ben", "role": "approver", "via": "cookie"}


def test_who_saw_an_earlier_revision_is_told_the_present_one(releases: ReleaseRepository) -> None:
    seen = brought(releases, State.PENDING_REVIEW)
    releases.move(AUTHOR, a_step(seen, Action.EDIT))
    again = releases.move(AUTHOR, a_step(releases.get(seen.id), Action.SUBMIT))
    with pytest.raises(Conflict, match="at revision 4, not 2") as caught:
        releases.move(APPROVER, a_step(seen, Action.APPROVE))
    assert caught.value.status == 409
    assert releases.get(seen.id) == again


def test_an_unknown_release_is_not_found_and_nothing_is_written(releases: ReleaseRepository) -> None:
    for release_id in ("06nothing", "", "a/b", "\ud800", "a\0", "x" * 65):
        with pytest.raises(NotFound):
            releases.move(AUTHOR, Step(release_id, Action.SUBMIT, 1))
        with pytest.raises(NotFound):
            releases.get(release_id)
    assert releases.audit.head().number == 0


# -- what has to be said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [action for action, move in MOVES.items() if move.needs_reason])
@pytest.mark.parametrize("reason", [None, "", " \n", "x" * (MAX_REASON_LETTERS + 1), "\0", "half \ud83d"])
def test_a_reason_is_needed_and_is_a_text(sqlite: Database, action: Action, reason: str | None) -> None:
    releases = ReleaseRepository(sqlite, Clock())
    release = brought(releases, next(iter(sorted(MOVES[action].before))))
    head = releases.audit.head()
    with pytest.raises(InvalidParameter) as caught:
        releases.move(APPROVER, a_step(release, action, reason=reason))
    assert caught.value.field == "reason"
    assert (releases.get(release.id), releases.audit.head()) == (release, head)


@pytest.mark.parametrize(
    ("action", "values", "field"),
    [
        (Action.APPROVE, {"manifest_digest": None}, "manifest_digest"),
        (Action.APPROVE, {"manifest_digest": "\ud800"}, "manifest_digest"),
        (Action.APPROVE, {"nonce": "abc"}, "nonce"),
        (Action.EDIT, {"content": None}, "content"),
        (Action.BEGIN_COPY, {"nonce": None}, "nonce"),
        (Action.BEGIN_COPY, {"run_id": "a b"}, "run_id"),
        (Action.FINISH_COPY, {"run_id": None}, "run_id"),
        (Action.SUBMIT, {"clearance": Clearance.PUBLIC}, "clearance"),
        (Action.EDIT, {"content": a_content(publish_after=2.0, withdraw_after=1.0)}, "withdraw_after"),
        (Action.EDIT, {"content": a_content(publish_after=float("nan"))}, "publish_after"),
    ],
)
def test_what_is_missing_or_too_much_is_named(
    sqlite: Database, action: Action, values: dict[str, Any], field: str
) -> None:
    releases = ReleaseRepository(sqlite, Clock())
    release = brought(releases, next(iter(sorted(MOVES[action].before))))
    with pytest.raises(InvalidParameter) as caught:
        releases.move(who_does(action), a_step(release, action, **values))
    assert caught.value.field == field
    assert releases.get(release.id) == release


# -- four eyes ---------------------------------------------------------------------------------------------------------


ALIASES: dict[str, dict[str, Any]] = {
    "himself": {},
    "by another name": {"name": "A. Nonymous"},
    "by the name of the approver": {"name": APPROVER.name},
    "in other letters": {"id": AUTHOR.id.upper(), "name": "ANNA"},
    "with blanks": {"id": f" {AUTHOR.id} "},
    "with a second token": {"via": Via.TOKEN},
    "through the proxy": {"via": Via.PROXY},
}


@pytest.mark.parametrize("alias", ALIASES)
def test_who_submitted_never_decides_whatever_role_name_or_token(releases: ReleaseRepository, alias: str) -> None:
    release = brought(releases, State.PENDING_REVIEW)
    refused: list[tuple[str, str, str]] = []
    for role in Role:
        actor = replace(AUTHOR, role=role, **ALIASES[alias])
        for action in DECISIONS:
            with pytest.raises(FourEyes) as caught:
                releases.move(actor, a_step(release, action))
            assert (caught.value.status, caught.value.code) == (403, "four_eyes")
            (outcome,) = releases.decide_many(actor, [a_step(release, action)])
            assert isinstance(outcome.error, FourEyes)
            refused += [(action, "four_eyes", role)] * 2
    assert releases.get(release.id) == release
    assert [(one["wanted"], one["code"], one["by"]["role"]) for one in refusals(releases)] == refused


def test_principals_without_a_user_are_one_each(releases: ReleaseRepository) -> None:
    for who in ("local", "proxy", "anonymous"):
        me = Principal(who, who, Role.OPERATOR, Via.LOCAL)
        release = releases.create(me, a_content(who))
        release = releases.move(me, a_step(release, Action.SUBMIT))
        with pytest.raises(FourEyes):
            releases.move(me, a_step(release, Action.APPROVE))


def test_who_submits_anew_what_another_submitted_does_not_decide_on_it_either(releases: ReleaseRepository) -> None:
    release = brought(releases, State.CHANGES_REQUESTED)
    release = releases.move(APPROVER, a_step(release, Action.SUBMIT))
    with pytest.raises(FourEyes):
        releases.move(APPROVER, a_step(release, Action.APPROVE))
    assert releases.move(AUTHOR, a_step(release, Action.APPROVE)).state is State.APPROVED


# -- the approval ------------------------------------------------------------------------------------------------------


def test_an_approval_is_of_the_manifest_that_was_seen(releases: ReleaseRepository) -> None:
    seen = brought(releases, State.PENDING_REVIEW)
    edited = releases.move(AUTHOR, a_step(seen, Action.EDIT))
    assert (edited.state, edited.submitted_by, edited.submitted_at) == (State.DRAFT, None, None)
    present = releases.move(AUTHOR, a_step(edited, Action.SUBMIT))
    # With the present revision, as whoever replays an answer that was recorded might try.
    with pytest.raises(Conflict, match="changed since") as caught:
        releases.move(APPROVER, a_step(present, Action.APPROVE, manifest_digest=seen.manifest_digest))
    assert caught.value.field == "manifest_digest"
    assert refusals(releases)[-1]["seen"]["manifest_digest"] == seen.manifest_digest
    approved = releases.move(APPROVER, a_step(present, Action.APPROVE))
    assert approved.approval is not None
    assert approved.approval.manifest_digest == approved.manifest.digest == approved.manifest_digest


def test_one_byte_that_changed_after_the_approval_stops_the_copy(releases: ReleaseRepository) -> None:
    release = brought(releases, State.APPROVED)
    other = a_content(mark="b").columns()
    for columns in ({"manifest": other["manifest"]}, {k: other[k] for k in ("manifest", "manifest_digest")}):
        with releases.database.begin() as connection:
            connection.execute(sa.update(queue).where(queue.c.id == release.id).values(**columns))
        with pytest.raises(Conflict, match="changed since"):
            releases.move(SYSTEM, a_step(release, Action.BEGIN_COPY))
        assert releases.get(release.id).state is State.APPROVED
    assert len(refusals(releases)) == 2


def test_an_approval_is_used_once_and_a_copy_that_failed_goes_on_with_it(
    releases: ReleaseRepository, clock: Clock
) -> None:
    approved = brought(releases, State.APPROVED)
    begin = a_step(approved, Action.BEGIN_COPY)
    copying = releases.move(SYSTEM, begin)
    assert copying.approval is not None
    assert copying.approval.used_at == NOW
    clock.now += 60
    failed = releases.move(SYSTEM, a_step(copying, Action.FAIL_COPY, reason="The disk is full."))
    assert failed.last_error == "The disk is full."
    with pytest.raises(Conflict):
        releases.move(SYSTEM, begin)
    again = releases.move(SYSTEM, a_step(failed, Action.BEGIN_COPY, run_id="run2"))
    assert again.approval == copying.approval
    assert (again.run_id, again.last_error) == ("run2", None)
    with pytest.raises(Conflict, match="another run"):
        releases.move(SYSTEM, a_step(again, Action.FINISH_COPY, run_id="run1"))
    published = releases.move(SYSTEM, a_step(again, Action.FINISH_COPY))
    withdrawn = releases.move(APPROVER, a_step(published, Action.WITHDRAW))
    assert withdrawn.approval is None
    newly = releases.move(APPROVER, a_step(withdrawn, Action.RESTORE))
    # The leave of the first approval, said for the second.
    with pytest.raises(Conflict, match="another approval"):
        releases.move(SYSTEM, a_step(newly, Action.BEGIN_COPY, nonce=begin.nonce))
    assert newly.approval is not None
    with releases.database.begin() as connection:
        used = newly.approval.model_copy(update={"used_at": NOW}).model_dump_json()
        connection.execute(sa.update(queue).where(queue.c.id == newly.id).values(approval=used))
    with pytest.raises(Conflict, match="was used already"):
        releases.move(SYSTEM, a_step(newly, Action.BEGIN_COPY))


def test_an_approval_that_is_not_used_in_time_is_void(releases: ReleaseRepository, clock: Clock) -> None:
    release = brought(releases, State.APPROVED)
    with pytest.raises(Conflict, match="still holds"):
        releases.move(SYSTEM, a_step(release, Action.EXPIRE))
    assert releases.expire_due() == []
    clock.now += APPROVAL_VALID_S
    with pytest.raises(Conflict, match="not used in time"):
        releases.move(SYSTEM, a_step(release, Action.BEGIN_COPY))
    (outcome,) = releases.expire_due()
    assert (outcome.state, outcome.error) == (State.PENDING_REVIEW, None)
    back = releases.get(release.id)
    assert (back.approval, back.submitted_by) == (None, AUTHOR.id)
    with pytest.raises(FourEyes):
        releases.move(AUTHOR, a_step(back, Action.APPROVE))
    assert releases.move(APPROVER, a_step(back, Action.APPROVE)).version == 2


def test_what_was_public_keeps_its_manifest_for_good(releases: ReleaseRepository, clock: Clock) -> None:
    published = brought(releases, State.PUBLISHED)
    assert published.published_at == NOW
    withdrawn = releases.move(APPROVER, a_step(published, Action.WITHDRAW))
    with pytest.raises(Conflict, match="was public as version 1") as caught:
        releases.move(AUTHOR, a_step(withdrawn, Action.REOPEN))
    assert "Submit the item again" in caught.value.hint
    restored = releases.move(APPROVER, a_step(withdrawn, Action.RESTORE))
    clock.now += APPROVAL_VALID_S
    with pytest.raises(Conflict, match="was public as version 1"):
        releases.move(SYSTEM, a_step(restored, Action.EXPIRE))
    (outcome,) = releases.expire_due()
    assert (outcome.state, outcome.error) == (State.WITHDRAWN, None)
    again = releases.get(published.id)
    assert (again.manifest, again.version, again.published_at) == (published.manifest, 1, NOW)
    with pytest.raises(Conflict):
        releases.move(AUTHOR, a_step(again, Action.EDIT))
    assert brought(releases, State.PUBLISHED).version == 2


def test_an_embargo_is_kept_and_the_approval_lasts_beyond_it(releases: ReleaseRepository, clock: Clock) -> None:
    embargo = NOW + 30 * DAY_S
    release = brought(releases, State.APPROVED, publish_after=embargo, withdraw_after=embargo + DAY_S)
    begin = a_step(release, Action.BEGIN_COPY)
    clock.now = embargo - 0.001
    with pytest.raises(Conflict) as caught:
        releases.move(SYSTEM, begin)
    assert caught.value.field == "publish_after"
    assert releases.expire_due() == []
    clock.now = embargo + DAY_S
    with pytest.raises(Conflict) as caught:
        releases.move(SYSTEM, begin)
    assert caught.value.field == "withdraw_after"
    clock.now = embargo
    assert releases.move(SYSTEM, begin).state is State.COPYING


def test_nothing_is_approved_that_is_cleared_for_nobody_and_copied_that_is_not_for_the_public(
    releases: ReleaseRepository,
) -> None:
    release = brought(releases, State.PENDING_REVIEW, clearance=Clearance.UNCLEARED)
    with pytest.raises(Conflict) as caught:
        releases.move(APPROVER, a_step(release, Action.APPROVE))
    assert caught.value.field == "clearance"
    approved = releases.move(APPROVER, a_step(release, Action.APPROVE, clearance=Clearance.RESTRICTED))
    with pytest.raises(Conflict) as caught:
        releases.move(SYSTEM, a_step(approved, Action.BEGIN_COPY))
    assert caught.value.field == "clearance"


# -- back from a withdrawal --------------------------------------------------------------------------------------------


def test_what_was_withdrawn_comes_back_as_it_was_and_needs_a_new_approval(
    releases: ReleaseRepository, clock: Clock
) -> None:
    published = brought(releases, State.PUBLISHED, version=1)
    withdrawn = releases.move(APPROVER, a_step(published, Action.WITHDRAW))
    with pytest.raises(FourEyes):
        releases.move(AUTHOR, a_step(withdrawn, Action.RESTORE))
    clock.now += UNDO_S - 1
    restored = releases.move(APPROVER, a_step(withdrawn, Action.RESTORE, reason="It was right."))
    assert (restored.state, restored.version, restored.manifest) == (State.APPROVED, 1, published.manifest)
    assert restored.approval is not None
    assert published.approval is not None
    assert restored.approval.nonce != published.approval.nonce
    assert (restored.approval.used_at, restored.approval.expires_at) == (None, clock.now + APPROVAL_VALID_S)
    details = json.loads(releases.audit.page(action=Action.RESTORE)[0].details)
    assert (details["version"], details["reason"]) == (1, "It was right.")
    copying = releases.move(SYSTEM, a_step(restored, Action.BEGIN_COPY, run_id="run2"))
    assert releases.move(SYSTEM, a_step(copying, Action.FINISH_COPY)).version == 1


def test_a_withdrawal_is_undone_within_its_time_and_while_no_other_release_is_open(
    releases: ReleaseRepository, clock: Clock
) -> None:
    withdrawn = brought(releases, State.WITHDRAWN)
    other = releases.create(AUTHOR, a_content())
    with pytest.raises(Conflict, match=other.id):
        releases.move(APPROVER, a_step(withdrawn, Action.RESTORE))
    for action in WAYS[State.REJECTED]:
        other = releases.move(who_does(action), a_step(other, action))
    clock.now += UNDO_S
    with pytest.raises(Conflict, match="more than 30 days ago"):
        releases.move(APPROVER, a_step(withdrawn, Action.RESTORE))
    ended = brought(releases, State.WITHDRAWN, "other", withdraw_after=clock.now + DAY_S)
    clock.now += DAY_S
    with pytest.raises(Conflict) as caught:
        releases.move(APPROVER, a_step(ended, Action.RESTORE))
    assert caught.value.field == "withdraw_after"


# -- releases of one item ----------------------------------------------------------------------------------------------


def test_an_item_has_one_open_release(releases: ReleaseRepository) -> None:
    first = releases.create(AUTHOR, a_content())
    with pytest.raises(Conflict, match=first.id):
        releases.create(AUTHOR, a_content())
    releases.create(AUTHOR, a_content("other"))
    for action in WAYS[State.REJECTED]:
        first = releases.move(who_does(action), a_step(first, action))
    second = releases.create(AUTHOR, a_content())
    with pytest.raises(Conflict, match=second.id):
        releases.move(AUTHOR, a_step(first, Action.REOPEN))
    assert refusals(releases)[-1]["wanted"] == Action.REOPEN
    with pytest.raises(Conflict, match="not of 'hazards/other'"):
        releases.move(AUTHOR, a_step(second, Action.EDIT, content=a_content("other")))


def test_each_approval_takes_the_next_version_and_none_twice(releases: ReleaseRepository) -> None:
    first = brought(releases, State.WITHDRAWN)
    second = brought(releases, State.PUBLISHED)
    assert (first.version, second.version) == (1, 2)
    first = releases.move(AUTHOR, a_step(first, Action.REOPEN))
    first = releases.move(AUTHOR, a_step(first, Action.SUBMIT))
    first = releases.move(APPROVER, a_step(first, Action.APPROVE))
    assert first.version == 3
    assert brought(releases, State.APPROVED, "other").version == 1
    status = releases.status("hazards", "flood")
    assert (status.open, status.published, status.latest) == (first, second, second)


def test_what_was_made_as_another_version_than_comes_next_is_not_approved(
    releases: ReleaseRepository, clock: Clock
) -> None:
    expired = brought(releases, State.APPROVED, version=1)
    clock.now += APPROVAL_VALID_S
    releases.expire_due()
    again = releases.get(expired.id)
    with pytest.raises(Conflict, match="made as version 1; the next one is 2") as caught:
        releases.move(APPROVER, a_step(again, Action.APPROVE))
    assert caught.value.field == "version"
    edited = releases.move(AUTHOR, a_step(again, Action.EDIT, content=a_content(version=2)))
    pending = releases.move(AUTHOR, a_step(edited, Action.SUBMIT))
    approved = releases.move(APPROVER, a_step(pending, Action.APPROVE))
    assert (approved.version, approved.manifest.path) == (2, "hazards/flood/v2")
    with pytest.raises(Conflict):
        _ = a_content().manifest.path


def test_the_looks_at_the_queue_agree(releases: ReleaseRepository, clock: Clock) -> None:
    made = []
    for number in range(5):
        clock.now += 60
        made.append(brought(releases, State.PENDING_REVIEW, f"item-{number}"))
    clock.now += 60
    assert [(one.release.id, one.age_s) for one in releases.waiting(limit=2)] == [(made[0].id, 300), (made[1].id, 240)]
    page = releases.list(State.PENDING_REVIEW, limit=3)
    rest = releases.list(State.PENDING_REVIEW, limit=3, after=page.next)
    assert [one.id for one in (*page.releases, *rest.releases)] == [one.id for one in made]
    assert rest.next is None
    assert releases.list(State.DRAFT).releases == releases.list(collection="none").releases == ()
    assert releases.counts() == {**dict.fromkeys(State, 0), State.PENDING_REVIEW: 5}
    with pytest.raises(InvalidParameter):
        releases.list(after="-1")


# -- many at once ------------------------------------------------------------------------------------------------------


def test_of_many_decisions_each_has_its_own_outcome(releases: ReleaseRepository) -> None:
    first, second, third, fourth = (brought(releases, State.PENDING_REVIEW, f"item-{n}") for n in range(4))
    outcomes = releases.decide_many(
        APPROVER,
        [
            a_step(first, Action.APPROVE),
            a_step(second, Action.REJECT),
            replace(a_step(third, Action.APPROVE), revision=1),
            a_step(first, Action.REJECT),
            Step("06nothing", Action.REJECT, 1, reason="No."),
            a_step(fourth, Action.REQUEST_CHANGES),
        ],
    )
    kinds = [type(one.error) for one in outcomes]
    assert kinds == [type(None), type(None), Conflict, Conflict, NotFound, type(None)]
    assert [one.state for one in outcomes] == [
        State.APPROVED, State.REJECTED, State.PENDING_REVIEW, State.APPROVED, None, State.CHANGES_REQUESTED,
    ]  # fmt: skip
    for one in (first, second, third, fourth):
        present = releases.get(one.id)
        mine = [outcome for outcome in outcomes if outcome.release_id == one.id and outcome.error is None]
        assert all((present.state, present.revision) == (one.state, one.revision) for one in mine)
    assert verify(releases.audit.rows(), releases.audit.head()).is_intact
    with pytest.raises(InvalidParameter):
        releases.decide_many(AUTHOR, [a_step(third, Action.EDIT)])


# -- nothing without its record ----------------------------------------------------------------------------------------


@contextmanager
def no_writing(database: Database, table: str) -> Iterator[None]:
    """Have the database refuse new rows of a table."""
    if database.dialect == "sqlite":
        refuse = [f"CREATE TRIGGER no_writing BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END"]
        allow = ["DROP TRIGGER no_writing"]
    else:
        refuse = [
            "CREATE FUNCTION no_writing() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION 'refused'; END $$",
            f"CREATE TRIGGER no_writing BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION no_writing()",
        ]
        allow = [f"DROP TRIGGER no_writing ON {table}", "DROP FUNCTION no_writing"]
    for statements in (refuse, allow):
        with database.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        if statements is refuse:
            yield


@pytest.mark.parametrize("table", ["publish_audit_log", "publish_outbox"])
def test_what_cannot_be_written_down_does_not_happen(releases: ReleaseRepository, table: str) -> None:
    for number, (action, move) in enumerate(MOVES.items()):
        if action is Action.EXPIRE:
            continue
        release = brought(releases, next(iter(sorted(move.before))), f"item-{number}")
        head = releases.audit.head()
        with no_writing(releases.database, table), pytest.raises(sa.exc.DBAPIError, match="refused"):
            releases.move(who_does(action), a_step(release, action))
        assert (releases.get(release.id), releases.audit.head()) == (release, head)
        assert len(events(releases, release.id)) == release.revision
    with no_writing(releases.database, table), pytest.raises(sa.exc.DBAPIError, match="refused"):
        releases.create(AUTHOR, a_content("one-more"))
    assert releases.status("hazards", "one-more").latest is None


def test_on_a_full_disk_nothing_happens(sqlite: Database) -> None:
    releases = ReleaseRepository(sqlite, Clock())
    release = brought(releases, State.PENDING_REVIEW)

    @sa.event.listens_for(sqlite.engine, "begin")
    def fill(connection: sa.Connection) -> None:
        # The database may not have one page more: the same as a disk that has none.
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    head = releases.audit.head()
    with pytest.raises(Unavailable, match="disk is full"):
        releases.move(APPROVER, a_step(release, Action.REJECT, reason="x" * MAX_REASON_LETTERS))
    assert (releases.get(release.id), releases.audit.head()) == (release, head)


def test_a_step_within_a_unit_of_work_is_undone_with_it(releases: ReleaseRepository) -> None:
    release = brought(releases, State.APPROVED)
    head = releases.audit.head()
    with releases.database.begin() as connection:
        inner = replace(releases, database=releases.database.within(connection))
        assert inner.move(SYSTEM, a_step(release, Action.BEGIN_COPY)).state is State.COPYING
        connection.rollback()
    assert (releases.get(release.id), releases.audit.head()) == (release, head)


def test_a_manifest_comes_back_as_it_was_given(releases: ReleaseRepository) -> None:
    document = {
        "title": "Überflutung 洪水 \u2028\0",
        "n": [1e300, -0.0, 0.1, 2**60, None, True],
        "deep": {"b": {}, "a": []},
    }
    manifest = Manifest(collection="hazards", item="odd", objects=(), documents={"odd.json": document}, license="©")
    release = releases.create(AUTHOR, Content(manifest))
    assert releases.get(release.id).manifest == manifest
    assert release.manifest_digest == manifest.digest == releases.get(release.id).manifest.digest
