"""Where the bytes of something lie, by its address: a file of this machine, or an object of a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.store.contents import BLOCK_BYTES, Content, as_ours, content_of
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone, Zones


@dataclass(frozen=True)
class Origin:
    """A file, or an object of a store.

    Attributes:
        url: Absolute path of the file, or URL of the object.
        path: The file; None for an object.
        store: Connection to the store of the object (obstore); None for a file.
        store_url: What the connection leads to, as it was configured; empty for a file.
        key: Of the object below that URL; empty for a file.
    """

    url: str
    path: Path | None = None
    store: Any = None
    store_url: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.url.rpartition("/")[2]

    def read(self) -> Content:
        """Read it whole and return what it holds.

        Raises:
            NotFound: It is gone.
            Unavailable: It cannot be read.
        """
        with as_ours(self.name):
            if self.path is not None:
                with self.path.open("rb") as file:
                    return content_of(iter(lambda: file.read(BLOCK_BYTES), b""))
            import obstore

            return content_of(obstore.get(self.store, self.key).stream(min_chunk_size=BLOCK_BYTES))


@dataclass(frozen=True)
class Origins:
    """Finds what is to be copied.

    Args:
        zones: For addresses such as ``internal://key``.
        gate: For those of sources of virtual cubes, which lie elsewhere.
    """

    zones: Zones
    gate: Gate

    def find(self, address: str) -> Origin:
        """Return where an address leads to; what lies in a zone is not asked after.

        Raises:
            InvalidParameter: The key leads out of its zone.
            OutsideAllowedRoots: It lies in no zone and below no root.
            NotFound: There is nothing (outside of the zones).
            ConfigurationError, Unavailable: Its object store cannot be asked.
        """
        zone, key = self._in_zone(address)
        if zone is not None:
            url = zone.href(key)
            return Origin(url, path=Path(url)) if zone.root else Origin(url, None, zone.store, zone.url, key)
        found = self.gate.locate(address)
        if isinstance(found, Path):
            return Origin(str(found), path=found)
        return Origin(str(found), None, found.root.store, found.root.url, found.key)

    def _in_zone(self, address: str) -> tuple[Zone | None, str]:
        name, separator, key = address.partition("://")
        if separator and name in (self.zones.internal.name, self.zones.external.name):
            # A file of a folder may have any name, such as .zmetadata; `Zone.href` sees that it stays inside.
            return self.zones.named(name), key
        return self.zones.locate(address)
