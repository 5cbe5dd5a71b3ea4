"""What is kept so that a withdrawal can be undone, for how long, and how it is removed for good.

Objects of the external zone are removed at once: what they were copied from is kept instead. An item that was taken out
of the catalogue leaves a note in the internal zone with all that is needed to register it again.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.engine import Connection

from geoetl.core.errors import Conflict, NotFound
from geoetl.core.principal import Principal
from geoetl.publish import audit
from geoetl.publish.audit import Entry
from geoetl.publish.model import UNDO_S, Action, Release, State, asset_id
from geoetl.publish.parts import Parts
from geoetl.publish.steps import Step
from geoetl.publish.tables import queue
from geoetl.publish.transition import SYSTEM, by
from geoetl.runs.model import Result
from geoetl.store.zones import StoredObject

#: What the audit log calls it when an item leaves the catalogue, comes back, and cannot come back any more.
REMOVE_ITEM, RESTORE_ITEM, PURGE_ITEM = "remove_item", "restore_item", "purge_item"
#: Where what releases need of their own is kept in the internal zone.
OWN = "publishing"
_OWNER = "publishing/withdrawn"
_INTERNAL = "internal://"
# Looked through at a time.
_PAGE = 1000
# What was due for so long and is still there was left by a purge that never ran.
_PURGE_WITHIN_S = 2 * UNDO_S
_NO_DIGEST = "0" * 64


class Kept(Result):
    """An item that was taken out of the catalogue, as it can be registered again.

    Attributes:
        collection_document, item_document: As they stood in the catalogue.
        keys: Objects of the internal zone that are the item's own.
        delete_objects: Whether these are removed when the time is over.
        withdrawn_at: Unix time.
    """

    collection_document: dict[str, object]
    item_document: dict[str, object]
    keys: tuple[str, ...]
    delete_objects: bool
    withdrawn_at: float

    @property
    def names(self) -> tuple[str, str]:
        """Collection and item."""
        return str(self.item_document["collection"]), str(self.item_document["id"])

    def is_of(self, other: "Kept") -> bool:
        """Tell whether another one says the same of an item and of its objects."""
        return self.item_document == json.loads(other.model_dump_json())["item_document"] and self.keys == other.keys


class Purged(Result):
    """What was removed for good.

    Attributes:
        items: Items that cannot come back any more.
        keys: Objects of the internal zone.
    """

    items: tuple[str, ...] = ()
    keys: tuple[str, ...] = Field(default=())


@dataclass(frozen=True)
class Keeping(Parts):
    """Keeps what a withdrawal may need to be undone; see `Parts` for what it is given."""

    def held_keys(self) -> set[str]:
        """Return the keys of the internal zone that nobody may remove.

        They are what releases were, or will be, copied from, as long as they are open, published, or were withdrawn
        within `UNDO_S`; and objects of items that were taken out of the catalogue within that time.
        """
        held = {key for _, keys in self._sources(self._is_needed()) for key in keys}
        oldest = self.repository.clock() - UNDO_S
        for key, kept in self._kept():
            held.add(key)
            if kept.withdrawn_at > oldest or not kept.delete_objects:
                held.update(kept.keys)
        return held

    def users_of(self, keys: set[str]) -> list[str]:
        """Return the releases, in words, that need one of these objects."""
        return [told for told, needed in self._sources(self._is_needed()) if overlapping(keys, needed)]

    def kept(self, collection: str, item: str) -> Kept | None:
        """Return an item as it was when it was taken out of the catalogue, or was about to be; None without a note."""
        internal, key = self.zones.internal, _note(collection, item)
        if internal.size(key) is None:
            return None
        return Kept.model_validate_json(internal.local_path(key).read_text("utf-8"))

    def keep(self, kept: Kept) -> StoredObject:
        """Write down an item that is about to be taken out of the catalogue."""
        collection, item = kept.names
        return self.zones.internal.put_text(kept.model_dump_json(), _note(collection, item), owner=_OWNER)

    def restore_item(self, actor: Principal, collection: str, item: str, *, reason: str) -> None:
        """Put an item back into the catalogue that was taken out of it within `UNDO_S`.

        Raises:
            InvalidParameter: There is no reason.
            NotFound: It was not, or too long ago.
            Conflict: There is another one of its id by now.
        """
        # The release does not matter: it is the reason that is looked at.
        reason = Step("none", Action.RESTORE, 1, reason=reason).checked().reason or ""
        with self.transaction() as connection:
            audit.hold(connection)
            if not self._bring_back(connection, actor, collection, item, reason):
                raise Conflict(
                    f"The item '{item}' is in the catalogue.", hint="There is nothing to restore.", field="item"
                )

    def bring_back(self, connection: Connection, actor: Principal, release: Release) -> None:
        """Put the item of a release back into the catalogue, where it was taken out of it within `UNDO_S`."""
        self._bring_back(connection, actor, release.collection, release.item, release.reason)

    def purge(self) -> Purged:
        """Remove what was kept for withdrawals that can no longer be undone.

        What anybody needs stays, and so does what was written anew since: somebody is about to register it.
        """
        now = self.repository.clock()
        due = {key: kept for key, kept in self._kept() if kept.withdrawn_at <= now - UNDO_S}
        keys = {key for kept in due.values() if kept.delete_objects for key in self._not_written_since(kept)}
        is_over = sa.and_(
            queue.c.state == State.WITHDRAWN,
            queue.c.updated_at <= now - UNDO_S,
            queue.c.updated_at > now - UNDO_S - _PURGE_WITHIN_S,
        )
        own = {key for _, found in self._sources(is_over) for key in found if key.startswith(f"{OWN}/")}
        doomed = keys | own
        if doomed:
            doomed -= overlapping(doomed, self.held_keys() | self.needed_keys())
        internal = self.zones.internal
        present = sorted(
            key for key in doomed if internal.size(key) is not None or internal.folder_size(key) is not None
        )
        for key in present:
            internal.delete(key)
        for key, kept in due.items():
            told: dict[str, object] = {
                "objects": len(set(kept.keys).intersection(present)),
                "withdrawn_at": kept.withdrawn_at,
            }
            with self.transaction() as connection:
                self.note_item(connection, SYSTEM, PURGE_ITEM, *kept.names, told)
            internal.delete(key)
        return Purged(items=tuple("/".join(kept.names) for kept in due.values()), keys=tuple(present))

    # -- within --------------------------------------------------------------------------------------------------------

    def _is_needed(self) -> sa.ColumnElement[bool]:
        is_recent = queue.c.updated_at > self.repository.clock() - UNDO_S
        return sa.or_(
            queue.c.state.not_in([State.REJECTED, State.WITHDRAWN]),
            sa.and_(queue.c.state == State.WITHDRAWN, is_recent),
        )

    def _sources(self, condition: sa.ColumnElement[bool]) -> Iterator[tuple[str, set[str]]]:
        """Yield releases, in words, with the keys of the internal zone that they are copied from."""
        columns = (queue.c.seq, queue.c.id, queue.c.collection, queue.c.item, queue.c.state, queue.c.manifest)
        query, last = sa.select(*columns).where(condition).order_by(queue.c.seq).limit(_PAGE), 0
        while True:
            with self.repository.database.read() as connection:
                rows = connection.execute(query.where(queue.c.seq > last)).all()
            for row in rows:
                objects = json.loads(row.manifest)["objects"]
                sources = {one["source"] for one in objects if one["source"].startswith(_INTERNAL)}
                state = row.state.replace("_", " ")
                yield (
                    f"release {row.id} of {row.collection}/{row.item}, {state}",
                    {source.removeprefix(_INTERNAL) for source in sources},
                )
            if len(rows) < _PAGE:
                return
            last = rows[-1].seq

    def _kept(self) -> Iterator[tuple[str, Kept]]:
        internal = self.zones.internal
        for zone, key, _, _ in internal.artifacts.of_owner(_OWNER):
            if zone == internal.name and internal.size(key) is not None:
                yield key, Kept.model_validate_json(internal.local_path(key).read_text("utf-8"))

    def _bring_back(
        self, connection: Connection, actor: Principal, collection: str, item: str, reason: str | None
    ) -> bool:
        """Put an item back; tell whether it was missing.

        Raises:
            NotFound: It is missing, and cannot come back.
        """
        now = self.repository.clock()
        catalog = self.catalog(self.repository.database.within(connection))
        try:
            catalog.item(collection, item)
            return False
        except NotFound:
            found = [kept for key, kept in self._kept() if key == _note(collection, item)]
        if not found or found[0].withdrawn_at <= now - UNDO_S:
            raise NotFound(
                f"The item '{item}' is not in the catalogue, and was not taken out of it within "
                f"{UNDO_S / 86_400:.0f} days.",
                hint="Ingest it again.",
                field="item",
            )
        try:
            catalog.collection(collection)
        except NotFound:
            catalog.upsert_collection(found[0].collection_document)
        catalog.upsert_items([found[0].item_document])
        self.note_item(connection, actor, RESTORE_ITEM, collection, item, {"reason": reason})
        return True

    def note_item(
        self,
        connection: Connection,
        actor: Principal,
        action: str,
        collection: str,
        item: str,
        details: dict[str, object],
    ) -> None:
        """Write into the audit log what happened to an item itself, whether it has a release or not."""
        asset = asset_id(collection, item)
        latest = next(iter(self.within(connection).of_asset(asset)), None)
        audit.append(
            connection,
            Entry(
                release_id=latest.id if latest else "",
                asset_id=asset,
                action=action,
                before=None,
                after=None,
                actor=actor.id,
                manifest_digest=latest.manifest_digest if latest else _NO_DIGEST,
                at=self.repository.clock(),
                details={"by": by(actor), "collection": collection, "item": item, **details},
            ),
        )

    def _not_written_since(self, kept: Kept) -> set[str]:
        """Return the objects of an item that nobody has written, or begun to write, after it was taken out."""
        internal = self.zones.internal
        return set(kept.keys) - internal.artifacts.written_after(internal.name, kept.withdrawn_at)

    def keys_named(self, item: dict[str, object]) -> Iterator[str]:
        """Yield the keys of the internal zone that the assets of an item name."""
        assets = item.get("assets")
        for asset in assets.values() if isinstance(assets, dict) else ():
            zone, key = self.zones.locate(str(asset.get("href", "")))
            if zone is self.zones.internal:
                yield key


def overlapping(keys: set[str], others: set[str]) -> set[str]:
    """Return the keys that are among others, are folders that one of these lies in, or lie in a folder of these."""
    folders = {folder for other in others for folder in _above(other)}
    return {key for key in keys if key in others or key in folders or any(one in others for one in _above(key))}


def _above(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def _note(collection: str, item: str) -> str:
    return f"{OWN}/withdrawn/{collection}/{item}.json"
