"""Releases as rows: made, moved and looked at."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from geoetl.core import html
from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import check_id, new_id
from geoetl.core.principal import Principal
from geoetl.publish import audit
from geoetl.publish.audit import AuditLog, Entry
from geoetl.publish.model import Action, Approval, Clearance, Release, State, asset_id, moment
from geoetl.publish.steps import Content, Step, check_release_id, not_found
from geoetl.publish.tables import outbox, queue
from geoetl.publish.transition import (
    SYSTEM,
    Outcome,
    by,
    decide_many,
    move_within,
    notice,
    other_open,
    release_of,
    transition,
)
from geoetl.store.database import Database

#: What the audit log calls the making of a release.
CREATE = "create"
MAX_PAGE = 1000
# The longest look for approvals that were not used; the others come with the next one.
_EXPIRED_AT_ONCE = 250
_NOT_USED = "The approval was not used in time."


@dataclass(frozen=True)
class ReleasePage:
    """Some of the releases.

    Attributes:
        releases: In order.
        next: What to ask for the next page with; None after the last.
    """

    releases: tuple[Release, ...]
    next: str | None


@dataclass(frozen=True)
class Waiting:
    """A release that waits for review.

    Attributes:
        release: As it stands.
        age_s: Since it was submitted, seconds.
    """

    release: Release
    age_s: float


@dataclass(frozen=True)
class ItemStatus:
    """How an item of the catalogue stands.

    Attributes:
        asset_id: Its identity, whatever the version.
        open: The release of which something is to come.
        published: The one that is public, of several the newest version.
        latest: The one that was made last.
    """

    asset_id: str
    open: Release | None
    published: Release | None
    latest: Release | None

    def _repr_html_(self) -> str:
        named = (("open", self.open), ("public", self.published), ("latest", self.latest))
        rows = [
            (name, one.id, one.version or "", one.state.replace("_", " "), moment(one.updated_at))
            for name, one in named
            if one is not None
        ]
        if self.latest is None:
            return html.heading("Never submitted", "for publication")
        title = f"{self.latest.collection}/{self.latest.item}"
        return html.heading(title) + html.table(["", "release", "version", "state", "since"], rows)


@dataclass(frozen=True)
class ReleaseRepository:
    """Rows of the table ``publish_queue``; every change leaves a row in the audit log and a notification.

    Args:
        database: One within a unit of work makes every call a part of it.
        clock: Gives Unix time.
    """

    database: Database
    clock: Callable[[], float] = time.time

    @property
    def audit(self) -> AuditLog:
        """What was done, and what was refused."""
        return AuditLog(self.database)

    # -- changing ------------------------------------------------------------------------------------------------------

    def create(self, actor: Principal, content: Content) -> Release:
        """Make a draft.

        Raises:
            InvalidParameter: Collection or item is no id, or a time cannot be.
            Conflict: A release of the same item is open.
        """
        manifest = content.checked().manifest
        collection, item = check_id(manifest.collection, "collection"), check_id(manifest.item, "item")
        asset, release_id, now = asset_id(collection, item), new_id(), self.clock()
        with self.database.begin() as connection:
            audit.hold(connection)
            taken = other_open(connection, asset, item)
            if taken is not None:
                raise taken
            row = {
                "id": release_id,
                "asset_id": asset,
                "collection": collection,
                "item": item,
                "state": str(State.DRAFT),
                "revision": 1,
                **content.columns(),
                "created_at": now,
                "updated_at": now,
            }
            connection.execute(sa.insert(queue).values(**row))
            found = connection.execute(sa.select(queue).where(queue.c.id == release_id)).one()
            details = {name: row[name] for name in ("revision", "clearance", "publish_after", "withdraw_after")}
            audit.append(
                connection,
                Entry(
                    release_id=release_id,
                    asset_id=asset,
                    action=CREATE,
                    before=None,
                    after=str(State.DRAFT),
                    actor=actor.id,
                    manifest_digest=found.manifest_digest,
                    at=now,
                    details={"by": by(actor), "collection": collection, "item": item, **details},
                ),
            )
            connection.execute(sa.insert(outbox).values(**notice(found._mapping, CREATE, None, actor, now)))
        return release_of(found)

    def move(self, actor: Principal, step: Step) -> Release:
        """Do one step; see `transition`."""
        return transition(self.database, actor, step, now=self.clock())

    def decide_many(self, actor: Principal, steps: Sequence[Step]) -> list[Outcome]:
        """Decide on many releases; see `geoetl.publish.transition.decide_many`."""
        return decide_many(self.database, actor, steps, now=self.clock())

    def expire_due(self) -> list[Outcome]:
        """Send releases back to review whose approval was not used in time; return what came of each.

        One that was to become public again is withdrawn, as it was.
        """
        now = self.clock()
        steps = [
            Step(release_id, Action.REVOKE if was_public else Action.EXPIRE, revision, reason=_NOT_USED)
            for release_id, revision, was_public in self._expired(now)[:_EXPIRED_AT_ONCE]
        ]
        if not steps:
            return []
        with self.database.begin() as connection:
            return move_within(connection, SYSTEM, steps, now)

    def _expired(self, now: float) -> list[tuple[str, int, bool]]:
        """Return ids and revisions of releases whose approval was not used in time, and whether they were public."""
        # What is restricted is approved to stay inside: there is nothing that its approval waits for.
        query = sa.select(queue.c.id, queue.c.revision, queue.c.approval, queue.c.published_at).where(
            queue.c.state.in_([State.APPROVED, State.COPY_FAILED]),
            queue.c.approval.is_not(None),
            queue.c.clearance == Clearance.PUBLIC,
        )
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(queue.c.seq)).all()
        return [
            (row.id, row.revision, row.published_at is not None)
            for row in rows
            if Approval.model_validate_json(row.approval).expires_at <= now
        ]

    # -- looking -------------------------------------------------------------------------------------------------------

    def get(self, release_id: str) -> Release:
        """Return a release.

        Raises:
            NotFound: There is none of that id.
        """
        check_release_id(release_id)
        with self.database.read() as connection:
            row = connection.execute(sa.select(queue).where(queue.c.id == release_id)).one_or_none()
        if row is None:
            raise not_found(release_id)
        return release_of(row)

    def list(
        self,
        *states: State,
        collection: str | None = None,
        limit: int = 100,
        after: str | None = None,
        newest_first: bool = False,
    ) -> ReleasePage:
        """Return releases in the order in which they were made, of some states or of all.

        Args:
            states: Those that are wanted; none for all.
            collection: Of one collection only.
            limit: At most so many.
            after: ``next`` of the page before.
            newest_first: Whether the order is the other way round.

        Raises:
            InvalidParameter: `after` is not what a page gave.
        """
        limit = max(1, min(limit, MAX_PAGE))
        order = queue.c.seq.desc() if newest_first else queue.c.seq
        query = sa.select(queue).order_by(order).limit(limit + 1)
        if states:
            query = query.where(queue.c.state.in_([str(state) for state in states]))
        if collection is not None:
            query = query.where(queue.c.collection == collection)
        if after is not None:
            place = _place(after)
            query = query.where(queue.c.seq < place if newest_first else queue.c.seq > place)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        more = str(rows[limit - 1].seq) if len(rows) > limit else None
        return ReleasePage(tuple(map(release_of, rows[:limit])), more)

    def waiting(self, *, limit: int = 100) -> tuple[Waiting, ...]:
        """Return what waits for review, the longest first."""
        is_waiting = queue.c.state == State.PENDING_REVIEW
        query = sa.select(queue).where(is_waiting).order_by(queue.c.submitted_at, queue.c.seq)
        now = self.clock()
        with self.database.read() as connection:
            found = [release_of(row) for row in connection.execute(query.limit(max(1, min(limit, MAX_PAGE))))]
        return tuple(Waiting(one, max(0.0, now - (one.submitted_at or now))) for one in found)

    def of_asset(self, asset: str) -> tuple[Release, ...]:
        """Return every release of an asset, the one that was made last first."""
        query = sa.select(queue).where(queue.c.asset_id == asset).order_by(queue.c.seq.desc())
        with self.database.read() as connection:
            return tuple(map(release_of, connection.execute(query)))

    def overdue(self, now: float) -> tuple[str, ...]:
        """Return the ids of releases that are public, and were to be so until `now` or earlier."""
        query = sa.select(queue.c.id).where(queue.c.state == State.PUBLISHED, queue.c.withdraw_after <= now)
        with self.database.read() as connection:
            return tuple(connection.execute(query.order_by(queue.c.seq)).scalars())

    def is_any_due(self, now: float) -> bool:
        """Tell whether a copy may begin or may have died, an approval was not used, or a release has had its time."""
        may_begin = sa.and_(
            queue.c.state == State.APPROVED,
            queue.c.clearance == Clearance.PUBLIC,
            sa.func.coalesce(queue.c.publish_after, 0.0) <= now,
        )
        is_over = sa.and_(queue.c.state == State.PUBLISHED, queue.c.withdraw_after <= now)
        query = sa.select(queue.c.id).where(sa.or_(queue.c.state == State.COPYING, may_begin, is_over)).limit(1)
        with self.database.read() as connection:
            found = connection.execute(query).first()
        return found is not None or bool(self._expired(now))

    def next_version(self, asset: str) -> int:
        """Return the version that the next approval of an asset assigns."""
        query = sa.select(sa.func.max(queue.c.version)).where(queue.c.asset_id == asset)
        with self.database.read() as connection:
            return int(connection.execute(query).scalar() or 0) + 1

    def status(self, collection: str, item: str) -> ItemStatus:
        """Return how an item of the catalogue stands."""
        asset = asset_id(collection, item)
        found = self.of_asset(asset)
        public = [one for one in found if one.state is State.PUBLISHED]
        return ItemStatus(
            asset_id=asset,
            open=next((one for one in found if one.state.is_open), None),
            published=max(public, key=lambda one: one.version or 0, default=None),
            latest=found[0] if found else None,
        )

    def counts(self) -> dict[State, int]:
        """Return how many releases stand in each state."""
        query = sa.select(queue.c.state, sa.func.count().label("releases")).group_by(queue.c.state)
        with self.database.read() as connection:
            found = {row.state: int(row.releases) for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in State}


def _place(after: str) -> int:
    # No row has a number of more digits.
    if after.isascii() and after.isdigit() and len(after) <= 9:
        return int(after)
    raise InvalidParameter(
        "There is no such page.", hint="Give `next` of the page before, or nothing for the first.", field="after"
    )
