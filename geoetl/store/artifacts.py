"""The record of every object that was written into a zone: what exists, its digest, its size, whose it is."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

import sqlalchemy as sa

from geoetl.store.database import Database, upsert, upsert_many

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


# Values in one question; SQLite takes 32,766.
_ASKED_AT_ONCE = 5000


@dataclass(frozen=True)
class Artifact:
    """A stored object as it was written down.

    Attributes:
        sha256: Digest of its content; of a folder, of the list of its files.
        bytes: Its size.
        written_at: Unix time when it was in place.
    """

    sha256: str
    bytes: int
    written_at: float


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

    def writing_many(self, zone: str, keys: Collection[str], owner: str) -> None:
        """Note that many objects of one owner are about to be written, in one statement."""
        self._note(zone, owner, [{"key": key, "state": "writing", "sha256": None, "bytes": None} for key in keys])

    def stored_many(self, zone: str, owner: str, objects: Mapping[str, tuple[str, int]]) -> None:
        """Note that many objects are in place, in one statement: by key, the digest and the size in bytes of each."""
        self._note(
            zone,
            owner,
            [
                {"key": key, "state": "stored", "sha256": sha256, "bytes": size}
                for key, (sha256, size) in objects.items()
            ],
        )

    def deleted_many(self, zone: str, keys: Collection[str]) -> None:
        """Forget many objects that were removed, in one statement."""
        if not keys:
            return
        theirs = sa.and_(artifacts.c.zone == zone, artifacts.c.key == sa.bindparam("gone"))
        with self.database.begin() as connection:
            connection.execute(sa.delete(artifacts).where(theirs), [{"gone": key} for key in keys])

    def _note(self, zone: str, owner: str, rows: list[dict[str, str | int | None]]) -> None:
        common = {"zone": zone, "owner": owner, "written_at": time.time()}
        with self.database.begin() as connection:
            upsert_many(connection, artifacts, ("zone", "key"), [{**common, **row} for row in rows])

    def of_owner(self, owner: str) -> list[tuple[str, str, str | None, int | None]]:
        """Return (zone, key, sha256, bytes) of every stored object of `owner` ("collection/item")."""
        query = (
            sa.select(artifacts.c.zone, artifacts.c.key, artifacts.c.sha256, artifacts.c.bytes)
            .where(artifacts.c.owner == owner, artifacts.c.state == "stored")
            .order_by(artifacts.c.zone, artifacts.c.key)
        )
        with self.database.read() as connection:
            return [(row.zone, row.key, row.sha256, row.bytes) for row in connection.execute(query)]

    def known(self, zone: str, keys: Sequence[str]) -> dict[str, Artifact]:
        """Return what was written down of stored objects, by key; those of which nothing was are not in it."""
        columns = (artifacts.c.key, artifacts.c.sha256, artifacts.c.bytes, artifacts.c.written_at)
        query = sa.select(*columns).where(artifacts.c.zone == zone, artifacts.c.state == "stored")
        found: dict[str, Artifact] = {}
        with self.database.read() as connection:
            for some in batched(keys, _ASKED_AT_ONCE):
                for row in connection.execute(query.where(artifacts.c.key.in_(some))):
                    found[row.key] = Artifact(row.sha256, row.bytes, row.written_at)
        return found

    def written_after(self, zone: str, time: float) -> set[str]:
        """Return the keys of what was written, or begun to be written, after a Unix time."""
        query = sa.select(artifacts.c.key).where(artifacts.c.zone == zone, artifacts.c.written_at > time)
        with self.database.read() as connection:
            return set(connection.execute(query).scalars())

    def keys_under(self, zone: str, owner: str) -> list[str]:
        """Return the keys of objects of `owner`, and of owners whose name goes on with "_"; half-written ones too."""
        # Not LIKE, which on SQLite takes capitals for small letters: they are another's.
        beginning = sa.func.substr(artifacts.c.owner, 1, len(owner) + 1)
        theirs = sa.or_(artifacts.c.owner == owner, beginning == f"{owner}_")
        query = sa.select(artifacts.c.key).where(artifacts.c.zone == zone, theirs).order_by(artifacts.c.key)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())
