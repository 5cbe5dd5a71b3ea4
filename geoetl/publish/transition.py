"""The one way in which a release changes: compare, move, write down and notify, all in one transaction or not at all.

What is refused is written down as well, and changes nothing else.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import Conflict, GeoetlError, InvalidParameter
from geoetl.core.identifiers import canonical_json, new_id
from geoetl.core.principal import Forbidden, Principal, Role, Via
from geoetl.publish import audit
from geoetl.publish.audit import Entry
from geoetl.publish.model import MOVES, Action, Approval, Manifest, Release, State
from geoetl.publish.steps import Present, Step, not_found
from geoetl.publish.tables import outbox, queue
from geoetl.store.database import Database

#: Who does what happens by itself: copying, and what a date brings about.
SYSTEM = Principal("system", "geoetl", Role.OPERATOR, Via.LOCAL)
#: What the audit log calls a step that was not done.
REFUSED = "refused"
# Others wait for no more than this at a time.
_BATCH = 250


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        release_id: Of which release.
        state, revision, version: As it stands then; None where there is no such release.
        error: Why it was not done.
    """

    release_id: str
    state: State | None
    revision: int | None
    version: int | None
    error: GeoetlError | None = None


def transition(database: Database, actor: Principal, step: Step, *, now: float | None = None) -> Release:
    """Do one step and return the release as it stands then.

    Within a unit of work the step belongs to it, and so does the record of a refusal: it is lost where the error is let
    through.

    Args:
        database: With the release.
        actor: Who does it; what their role lets them do has been seen to.
        step: What is done.
        now: Unix time, instead of the clock's.

    Raises:
        InvalidParameter: The step lacks something, or says too much.
        NotFound: There is no such release.
        Conflict: The release does not allow it; the message says how it stands.
        FourEyes: Who decides is who submitted it.
    """
    checked = step.checked()
    with database.begin() as connection:
        (outcome,) = move_within(connection, actor, [checked], time.time() if now is None else now)
        found = connection.execute(sa.select(queue).where(queue.c.id == step.release_id)).one_or_none()
    # Outside, so that the record of a refusal stays.
    if outcome.error is not None:
        raise outcome.error
    assert found is not None
    return release_of(found)


def decide_many(
    database: Database, actor: Principal, steps: Sequence[Step], *, now: float | None = None
) -> list[Outcome]:
    """Decide on many releases, several in a transaction, and return what came of each.

    Raises:
        InvalidParameter: A step is no decision, lacks something, or says too much; none is done.
        NotFound: An id is none that a release can have; none is done.
        Unavailable: The database is away; what earlier transactions did stays, and is a conflict when tried again.
    """
    checked = [step.checked() for step in steps]
    for step in checked:
        if not MOVES[step.action].is_decision:
            raise InvalidParameter(f"To {step.action} is no decision.", hint="Do it by itself.", field="action")
    outcomes: list[Outcome] = []
    for start in range(0, len(checked), _BATCH):
        with database.begin() as connection:
            at = time.time() if now is None else now
            outcomes += move_within(connection, actor, checked[start : start + _BATCH], at)
    return outcomes


def move_within(connection: Connection, actor: Principal, steps: Sequence[Step], now: float) -> list[Outcome]:
    """Do steps that have been checked, one after the other, in the caller's transaction."""
    audit.hold(connection)
    wanted = sorted({step.release_id for step in steps})
    query = sa.select(queue).where(queue.c.id.in_(wanted)).order_by(queue.c.seq).with_for_update()
    releases = {row.id: _present(row._mapping) for row in connection.execute(query)}
    versions = _latest_versions(connection, releases, steps)
    outcomes, changes, entries, notices = [], [], [], []
    for step in steps:
        before = releases.get(step.release_id)
        if before is None:
            outcomes.append(Outcome(step.release_id, None, None, None, not_found(step.release_id)))
            continue
        version = versions.get(before.values["asset_id"], 0) + 1
        error = _refusal(connection, before, step, actor, now, version)
        if error is not None:
            entries.append(_refused(before, step, actor, error, now))
            outcomes.append(_outcome(before, error))
            continue
        changed = before.changed(step, actor, now, version)
        after = _present({**before.values, **changed})
        if step.action is Action.APPROVE:
            versions[before.values["asset_id"]] = version
        changes.append({"b_id": step.release_id, "b_state": str(before.state), "b_revision": step.revision, **changed})
        entries.append(_moved(before, after, step, actor, now))
        notices.append(notice(after.values, step.action, before.state, actor, now))
        releases[step.release_id] = after
        outcomes.append(_outcome(after))
    _write(connection, changes)
    audit.append_many(connection, entries)
    if notices:
        connection.execute(sa.insert(outbox), notices)
    return outcomes


def release_of(row: Row[Any]) -> Release:
    """Return a row as a release."""
    values = {name: getattr(row, name) for name in Release.model_fields}
    values["manifest"] = Manifest.model_validate_json(row.manifest)
    values["approval"] = _approval(row.approval)
    return Release(**values)


def other_open(connection: Connection, asset: str, item: str) -> Conflict | None:
    """Return the error for an asset of which a release is open already; None where there is none."""
    is_open = queue.c.state.not_in([state for state in State if not state.is_open])
    row = connection.execute(
        sa.select(queue.c.id, queue.c.state).where(queue.c.asset_id == asset, is_open).limit(1)
    ).one_or_none()
    if row is None:
        return None
    return Conflict(
        f"'{item}' has a release already that is {row.state.replace('_', ' ')}: {row.id}.",
        hint="Go on with that one, or have it rejected or revoked first.",
        field="item",
    )


def by(actor: Principal) -> dict[str, str]:
    """Return what the audit log keeps of a principal beside the id."""
    return {"name": actor.name, "role": str(actor.role), "via": str(actor.via)}


def notice(values: Any, action: str, before: State | None, actor: Principal, now: float) -> dict[str, Any]:
    """Return the row of a notification that waits to be sent."""
    names = ("asset_id", "collection", "item", "state", "revision", "version", "manifest_digest", "reason")
    payload = {
        "release_id": values["id"],
        **{name: values[name] for name in (*names, "last_error", "submitted_by")},
        "event": str(action),
        "before": before,
        "actor": actor.id,
        "at": now,
    }
    return {
        "id": new_id(),
        "release_id": values["id"],
        "event": str(action),
        "payload": canonical_json(payload),
        "created_at": now,
        "attempts": 0,
        "ready_at": now,
    }


# -- within ------------------------------------------------------------------------------------------------------------


def _refusal(
    connection: Connection, present: Present, step: Step, actor: Principal, now: float, version: int
) -> Conflict | Forbidden | None:
    try:
        present.refuse(step, actor, now, version)
    except (Conflict, Forbidden) as error:
        return error
    if step.action in (Action.REOPEN, Action.RESTORE):
        return other_open(connection, present.values["asset_id"], present.values["item"])
    return None


def _latest_versions(connection: Connection, releases: dict[str, Present], steps: Sequence[Step]) -> dict[str, int]:
    approved = {step.release_id for step in steps if step.action is Action.APPROVE} & set(releases)
    assets = [releases[release_id].values["asset_id"] for release_id in sorted(approved)]
    query = (
        sa.select(queue.c.asset_id, sa.func.max(queue.c.version).label("latest"))
        .where(queue.c.asset_id.in_(assets), queue.c.version.is_not(None))
        .group_by(queue.c.asset_id)
    )
    return {row.asset_id: row.latest for row in connection.execute(query)} if assets else {}


def _write(connection: Connection, changes: Sequence[dict[str, Any]]) -> None:
    """Write changes in order, those of the same columns at once, each only where the release is as it was seen."""
    this = (
        queue.c.id == sa.bindparam("b_id"),
        queue.c.state == sa.bindparam("b_state"),
        queue.c.revision == sa.bindparam("b_revision"),
    )
    for names, alike in groupby(changes, key=lambda change: tuple(sorted(change))):
        rows = list(alike)
        values: dict[str, Any] = {name: sa.bindparam(name) for name in names if not name.startswith("b_")}
        if connection.execute(sa.update(queue).where(*this).values(**values), rows).rowcount != len(rows):
            raise Conflict("A release was changed by something that does not keep to the order.", hint="Try again.")


def _present(values: Any) -> Present:
    return Present(values, _approval(values["approval"]))


def _approval(text: str | None) -> Approval | None:
    return None if text is None else Approval.model_validate_json(text)


def _outcome(present: Present, error: GeoetlError | None = None) -> Outcome:
    values = present.values
    return Outcome(values["id"], present.state, values["revision"], values["version"], error)


def _moved(before: Present, after: Present, step: Step, actor: Principal, now: float) -> Entry:
    details: dict[str, Any] = {"by": by(actor), "revision": after.values["revision"]}
    details |= {"reason": step.reason} if step.reason else {}
    details |= {"run_id": step.run_id} if step.run_id else {}
    details |= {"leaves_objects": step.leaves_objects} if step.leaves_objects is not None else {}
    if step.action is Action.EDIT:
        details |= {"manifest_before": before.values["manifest_digest"]}
    if step.action in (Action.EDIT, Action.APPROVE, Action.RESTORE):
        details |= {name: after.values[name] for name in ("clearance", "publish_after", "withdraw_after")}
    if step.action in (Action.APPROVE, Action.RESTORE, Action.BEGIN_COPY, Action.FINISH_COPY, Action.WITHDRAW):
        details |= {"version": after.values["version"]}
    approval = before.approval if MOVES[step.action].ends_approval else after.approval
    if approval is not None:
        details |= {"approval": approval.model_dump(exclude={"manifest_digest"})}
    return _entry(after, str(step.action), before.state, actor, now, details)


def _refused(present: Present, step: Step, actor: Principal, error: GeoetlError, now: float) -> Entry:
    seen = {name: getattr(step, name) for name in ("revision", "manifest_digest", "nonce", "run_id")}
    details = {
        "by": by(actor),
        "wanted": str(step.action),
        "code": error.code,
        "detail": error.detail,
        "seen": {name: value[:64] if isinstance(value, str) else value for name, value in seen.items() if value},
        "revision": present.values["revision"],
    }
    return _entry(present, REFUSED, present.state, actor, now, details)


def _entry(
    present: Present, action: str, before: State, actor: Principal, now: float, details: dict[str, Any]
) -> Entry:
    values = present.values
    return Entry(
        release_id=values["id"],
        asset_id=values["asset_id"],
        action=action,
        before=str(before),
        after=values["state"],
        actor=actor.id,
        manifest_digest=values["manifest_digest"],
        at=now,
        details=details,
    )
