"""What releases need of both zones, for those who clean up."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.publish import audit
from geoetl.publish.anchor import KEY as ANCHOR
from geoetl.publish.model import UNDO_S, Manifest, State
from geoetl.publish.tables import audit_log, queue
from geoetl.store.database import Database

# Of these, objects may be in the external zone, or on their way there.
_IN_PUBLIC = (State.APPROVED, State.COPYING, State.COPY_FAILED, State.PUBLISHED)


@dataclass(frozen=True)
class ReleaseNeed:
    """What releases need.

    Args:
        held_keys: Gives the keys of the internal zone that nobody may remove, see `Keeping.held_keys`.
        clock: Gives Unix time.
    """

    held_keys: Callable[[], set[str]]
    clock: Callable[[], float]

    name = "a release"

    def addresses(self, database: Database) -> Iterator[str]:
        """Return the addresses that open, published and lately withdrawn releases need, and the public index."""
        yield from (f"internal://{key}" for key in self.held_keys())
        yield from (f"external://{ANCHOR}", "external://catalog.json")
        is_recent = sa.and_(queue.c.state == State.WITHDRAWN, queue.c.updated_at > self.clock() - UNDO_S)
        query = sa.select(queue.c.manifest).where(sa.or_(queue.c.state.in_(_IN_PUBLIC), is_recent))
        with database.read() as connection:
            for text in connection.execute(query).scalars():
                manifest = Manifest.model_validate_json(text)
                yield f"external://{manifest.collection}/collection.json"
                if manifest.version is not None:
                    yield f"external://{manifest.path}"

    def mark(self, database: Database) -> int:
        """Return the number of the newest row of the audit log: nothing happens to a release without one."""
        with database.read() as connection:
            return connection.execute(sa.select(sa.func.max(audit_log.c.number))).scalar() or 0

    def alone(self, connection: Connection) -> None:
        """Let nobody move a release."""
        audit.hold(connection)

    def copying(self, database: Database) -> set[str]:
        """Return the ids of the releases that are being copied, whose staging is in use."""
        with database.read() as connection:
            return set(connection.execute(sa.select(queue.c.id).where(queue.c.state == State.COPYING)).scalars())
