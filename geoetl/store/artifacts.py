"""The record of every object that was written into a zone: what exists, its digest, its size, whose it is."""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from geoetl.store.database import Database, upsert

artifacts = sa.table(
    "artifacts",
    sa.column("zone"),
    sa.column("key"),
    sa.column("state"),
    sa.column("sha256"),
    sa.column("bytes"),
    sa.column("owner"),
    sa.column("written_at"),
)


@dataclass(frozen=True)
class ArtifactRepository:
    """Rows of the table ``artifacts``: state ``writing`` before the first byte, ``stored`` after the rename."""

    database: Database

    def writing(self, zone: str, key: str, owner: str) -> None:
        """Note that an object is about to be written, so that a crash leaves a trace to clean up by."""
        row = {"state": "writing", "sha256": None, "bytes": None, "owner": owner, "written_at": time.time()}
        with self.database.begin() as connection:
            upsert(connection, artifacts, {"zone": zone, "key": key}, row)

    def stored(self, zone: str, key: str, sha256: str, size: int) -> None:
        """Note that the object is in place, with its digest and size in bytes."""
        with self.database.begin() as connection:
            connection.execute(
                sa.update(artifacts)
                .where(artifacts.c.zone == zone, artifacts.c.key == key)
                .values(state="stored", sha256=sha256, bytes=size, written_at=time.time())
            )

    def deleted(self, zone: str, key: str) -> None:
        """Forget an object that was removed."""
        with self.database.begin() as connection:
            connection.execute(sa.delete(artifacts).where(artifacts.c.zone == zone, artifacts.c.key == key))

    def of_owner(self, owner: str) -> list[tuple[str, str, str | None, int | None]]:
        """Return (zone, key, sha256, bytes) of every stored object of `owner` ("collection/item")."""
        query = (
            sa.select(artifacts.c.zone, artifacts.c.key, artifacts.c.sha256, artifacts.c.bytes)
            .where(artifacts.c.owner == owner, artifacts.c.state == "stored")
            .order_by(artifacts.c.zone, artifacts.c.key)
        )
        with self.database.read() as connection:
            return [(row.zone, row.key, row.sha256, row.bytes) for row in connection.execute(query)]

    def keys_under(self, zone: str, owner: str) -> list[str]:
        """Return the keys of objects of `owner`, and of owners whose name goes on with "_"; half-written ones too."""
        # Not LIKE, which on SQLite takes capitals for small letters: they are another's.
        beginning = sa.func.substr(artifacts.c.owner, 1, len(owner) + 1)
        theirs = sa.or_(artifacts.c.owner == owner, beginning == f"{owner}_")
        query = sa.select(artifacts.c.key).where(artifacts.c.zone == zone, theirs).order_by(artifacts.c.key)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())
