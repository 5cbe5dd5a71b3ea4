"""The catalogue of the external zone: what leads to the items that are public; a few small files that change.

Source: STAC 1.1.0, best practices, "Self-contained Catalogs".
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.core.errors import NotFound
from geoetl.core.identifiers import slug
from geoetl.publish.documents import COLLECTION, ROOT
from geoetl.publish.model import Release, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.tables import queue
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.catalog.item import STAC_VERSION, with_extent
from geoetl.store.zones import Zone

ID = "geoetl"
_TITLE = "Published data"
_DESCRIPTION = "What was reviewed, approved and published with geoetl."
_OWNER = "publishing/index"
_JSON, _GEOJSON = "application/json", "application/geo+json"


@dataclass(frozen=True)
class _Public:
    """An item as the catalogue leads to it.

    Attributes:
        collection, item: Ids.
        version: The newest that is public.
        document: Its STAC item.
        shown: How its collection is shown.
        seq: Of its release; a later one knows better how the collection is shown.
    """

    collection: str
    item: str
    version: int
    document: Mapping[str, Any]
    shown: Mapping[str, Any]
    seq: int


@dataclass(frozen=True)
class PublicIndex:
    """Writes the catalogue of the external zone.

    Args:
        zone: The external zone.
        repository: The releases.
    """

    zone: Zone
    repository: ReleaseRepository

    def write(
        self, connection: Connection, *, including: Release | None = None, without: Release | None = None
    ) -> None:
        """Let the catalogue lead to the newest public version of every item, and to nothing else.

        What leads to something is written after it, and removed before it: a collection that is new is there before
        the catalogue names it, one that has become empty is no longer named before it goes. Files that stay as they
        are are not written.

        Args:
            connection: A transaction that holds the log (`audit.hold`), so that writers take turns.
            including: A release that counts as public, however it stands.
            without: One that does not.

        Raises:
            Unavailable: The zone cannot be written.
        """
        zone = self._within(connection)
        found = self._public(connection, including, without)
        by_collection: dict[str, list[_Public]] = {}
        for one in found:
            by_collection.setdefault(one.collection, []).append(one)
        before = set(_named(_read(zone, ROOT)))
        titles = {}
        for name, items in sorted(by_collection.items()):
            document = _collection_document(name, items)
            titles[name] = str(document.get("title") or name)
            _write(zone, f"{name}/{COLLECTION}", document)
        _write(zone, ROOT, _root_document(titles))
        # A writer that died behind the catalogue left a collection that nothing names any more.
        known = set(connection.execute(sa.select(queue.c.collection).distinct()).scalars())
        for name in sorted((known | before) - set(by_collection)):
            if zone.size(f"{name}/{COLLECTION}") is not None:
                zone.delete(f"{name}/{COLLECTION}")

    def _within(self, connection: Connection) -> Zone:
        # The record of what is written belongs to the same transaction, which SQLite would otherwise wait for.
        database = self.zone.artifacts.database.within(connection)
        return replace(self.zone, artifacts=ArtifactRepository(database))

    def _public(self, connection: Connection, including: Release | None, without: Release | None) -> list[_Public]:
        """Return the newest public version of each item, by collection and item."""
        columns = (queue.c.seq, queue.c.id, queue.c.collection, queue.c.item, queue.c.version, queue.c.manifest)
        counts = queue.c.state == State.PUBLISHED
        if including is not None:
            counts = sa.or_(counts, queue.c.id == including.id)
        if without is not None:
            counts = sa.and_(counts, queue.c.id != without.id)
        newest: dict[tuple[str, str], tuple[int, int, str]] = {}
        for row in connection.execute(sa.select(*columns).where(counts)):
            key, version = (row.collection, row.item), row.version or 0
            if key not in newest or newest[key][0] < version:
                newest[key] = (version, row.seq, row.manifest)
        public = []
        for (collection, item), (version, seq, text) in sorted(newest.items()):
            manifest = orjson.loads(text)
            # One that has no document of its item was made before there was a catalogue.
            document = manifest["documents"].get(f"{item}.json")
            if document is not None:
                shown = manifest.get("collection_document") or {}
                public.append(_Public(collection, item, manifest["version"] or version, document, shown, seq))
        return public


def _collection_document(name: str, items: list[_Public]) -> dict[str, Any]:
    shown = max(items, key=lambda one: one.seq).shown
    document = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "description": name,
        "license": "other",
        **{key: value for key, value in shown.items() if key not in ("id", "links", "extent")},
    }
    members = [
        _link(
            "item",
            f"./{one.item}/v{one.version}/{one.item}.json",
            one.document["properties"].get("title"),
            _GEOJSON,
        )
        for one in items
    ]
    links = [_link("root", f"../{ROOT}"), _link("parent", f"../{ROOT}"), *members]
    return {**with_extent(document, [one.document for one in items]), "links": links}


def _root_document(titles: Mapping[str, str]) -> dict[str, Any]:
    children = [_link("child", f"./{name}/{COLLECTION}", title) for name, title in titles.items()]
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": ID,
        "title": _TITLE,
        "description": _DESCRIPTION,
        "links": [_link("root", f"./{ROOT}"), *children],
    }


def _link(rel: str, href: str, title: object = None, media_type: str = _JSON) -> dict[str, str]:
    link = {"rel": rel, "href": href, "type": media_type}
    return {**link, "title": title} if isinstance(title, str) and title else link


def _named(root: bytes | None) -> Iterator[str]:
    """Yield the collections that a catalogue names; none of one that is damaged."""
    try:
        links = json.loads(root or b"{}").get("links", [])
        hrefs = [link["href"] for link in links if link["rel"] == "child"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return
    for href in hrefs:
        parts = str(href).split("/")
        if len(parts) == 3 and (parts[0], parts[2]) == (".", COLLECTION) and parts[1] == slug(parts[1]):
            yield parts[1]


def _read(zone: Zone, key: str) -> bytes | None:
    try:
        return zone.local_path(key).read_bytes()
    except NotFound:
        return None


def _write(zone: Zone, key: str, document: Mapping[str, Any]) -> None:
    content = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if _read(zone, key) == content:
        return
    zone.put_text(content.decode(), key, owner=_OWNER)
