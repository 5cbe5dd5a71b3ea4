"""What is needed, by whom: every address of an object that some part of the platform still has use for.

Addresses are compared whole, segment by segment. A folder is needed when something in it is, and what is in it when
the folder is; ``a/`` says nothing about ``ab/``.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from geoetl.store.addresses import addresses_in
from geoetl.store.catalog import Catalog, Search, walk
from geoetl.store.catalog.hrefs import map_hrefs
from geoetl.store.database import Database
from geoetl.store.zones import Zones

# Items of the catalogue that are read at once.
_PAGE = 1000


class Need(Protocol):
    """A part of the platform that needs objects."""

    @property
    def name(self) -> str:
        """What it is called in a sentence: ``the catalogue``."""
        ...

    def addresses(self, database: Database) -> Iterable[str]:
        """Return the addresses, ``internal://key``, of all that it needs, seen from a database."""
        ...

    def mark(self, database: Database) -> Hashable:
        """Return what is equal as long as the addresses are the same; None where that is not known."""
        ...

    def alone(self, connection: Connection) -> None:
        """Keep others from changing what it needs until the transaction ends (SQLite has one writer anyway).

        It is called before anything else in the transaction is locked.
        """
        ...


class Needed:
    """All that is needed.

    Args:
        by: Addresses with who needs them.
    """

    def __init__(self, by: Mapping[str, str]) -> None:
        self._by = by
        self._above: dict[str, str] = {}
        for address, who in by.items():
            for above in _above(address):
                self._above.setdefault(above, who)

    def by(self, address: str) -> str | None:
        """Return who needs an object or folder, or something in it, or the folder that it is in; None for nobody."""
        found = self._by.get(address) or self._above.get(address)
        return found or next((self._by[above] for above in _above(address) if above in self._by), None)


@dataclass
class Gatherer:
    """Asks everybody what they need; those who say that nothing changed are not asked again.

    Args:
        needs: Who is asked.
    """

    needs: Sequence[Need]
    _known: dict[str, tuple[Hashable, frozenset[str]]] = field(default_factory=dict, init=False)
    _last: Needed | None = field(default=None, init=False)

    def gather(self, database: Database) -> Needed:
        """Return what is needed, as it is seen from a database."""
        is_same = self._last is not None
        for need in self.needs:
            mark, known = need.mark(database), self._known.get(need.name)
            if known is not None and mark is not None and known[0] == mark:
                continue
            found = frozenset(need.addresses(database))
            is_same = is_same and known is not None and known[1] == found
            self._known[need.name] = (mark, found)
        if self._last is None or not is_same:
            pairs = ((address, name) for name, (_, found) in self._known.items() for address in found)
            self._last = Needed(dict(pairs))
        return self._last


@dataclass(frozen=True)
class CatalogNeed:
    """What items and collections name, and the source files of cubes that lie in a zone.

    Args:
        catalog: Gives the catalogue as it is seen from a database.
        zones: Where the objects are.
    """

    catalog: Callable[[Database], Catalog]
    zones: Zones
    _sources: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    name = "the catalogue"

    def addresses(self, database: Database) -> Iterator[str]:
        """Return the addresses of assets, their alternates and links, and of the sources of cubes."""
        catalog = self.catalog(database)
        documents: list[Iterable[Mapping[str, Any]]] = [
            catalog.collections(),
            walk(catalog, Search(limit=_PAGE, count=False)),
        ]
        for document in (one for some in documents for one in some):
            yield from self._named(document)
            for asset in (document.get("assets") or {}).values():
                if isinstance(asset, dict) and "source" in (asset.get("roles") or ()):
                    yield from self._sources_in(str(asset.get("href", "")))

    def mark(self, database: Database) -> int:
        """Return the version of the catalogue."""
        return self.catalog(database).version()

    def alone(self, connection: Connection) -> None:
        """Wait for those who write into the catalogue, and let others wait."""
        if connection.dialect.name == "postgresql":
            from geoetl.store.catalog.pgstac import hold

            hold(connection)

    def _named(self, document: Mapping[str, Any]) -> set[str]:
        found: set[str] = set()

        def look(href: str) -> str:
            found.update(addresses_in(href, self.zones))
            return href

        map_hrefs(document, look)
        return found

    def _sources_in(self, href: str) -> frozenset[str]:
        """Return the addresses in a list of the sources of a cube, which never changes under its name."""
        zone, key = self.zones.locate(href)
        if zone is None or zone.size(key) is None:
            return frozenset()
        if href not in self._sources:
            listed = json.loads(zone.local_path(key).read_text("utf-8"))
            self._sources[href] = frozenset(addresses_in(listed, self.zones))
        return self._sources[href]


def _above(address: str) -> Iterator[str]:
    """Return the folders that an address lies in, the innermost first."""
    beginning = address.index("://") + 3 if "://" in address else 0
    while (end := address.rfind("/")) > beginning:
        address = address[:end]
        yield address
