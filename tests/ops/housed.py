"""What is cleaned up in the tests: a platform, and a janitor to whom everything in it is a day old."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import geoetl
from geoetl.ops import CleanupRequest, Janitor, Part
from geoetl.ops.model import Cleanup, Plan
from geoetl.platform import Platform
from geoetl.publish.keeping import Keeping
from geoetl.publish.repository import ReleaseRepository
from tests.migrated import sqlite_url
from tests.stac import a_collection, an_item

LATER_S = 25 * 3600.0
COLLECTION = "lands"


@dataclass(frozen=True)
class House:
    """What is cleaned, with short names for what tests do to it.

    Attributes:
        platform: All of it.
    """

    platform: Platform

    @property
    def janitor(self) -> Janitor:
        """The janitor, 25 hours later."""
        return replace(self.platform.janitor, clock=lambda: time.time() + LATER_S)

    def put(self, key: str, content: bytes = b"content", *, owner: str = "lands/a") -> str:
        """Write an object and return its address."""
        path = self.platform.settings.home / "given"
        path.write_bytes(content)
        return self.platform.zones.internal.put(path, key, owner=owner).href

    def lay(self, key: str, content: bytes = b"strange", *, zone: str = "internal") -> Path:
        """Put an object into a zone of which geoetl has no record."""
        root = self.platform.zones.named(zone).root
        assert root is not None
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)
        return root / key

    def item(self, item_id: str, *hrefs: str) -> dict[str, Any]:
        """Return an item with assets."""
        assets = {f"a{number}": {"href": href} for number, href in enumerate(hrefs)}
        return an_item(item_id, collection=COLLECTION, assets=assets)

    def register(self, item_id: str, *hrefs: str) -> None:
        """Put an item into the catalogue."""
        if COLLECTION not in {one["id"] for one in self.platform.catalog.collections()}:
            self.platform.catalog.upsert_collection(a_collection(COLLECTION))
        self.platform.catalog.upsert_items([self.item(item_id, *hrefs)])

    def is_there(self, key: str) -> bool:
        """Tell whether the internal zone has something at a key."""
        internal = self.platform.zones.internal
        return internal.size(key) is not None or internal.folder_size(key) is not None

    def plan(self, *parts: Part, **further: Any) -> Plan:
        """Look."""
        return self.janitor.plan(request(*parts, **further))

    def clean(self, *parts: Part, **further: Any) -> Cleanup:
        """Remove what is found."""
        return self.janitor.run(request(*parts, dry_run=False, **further), "test")


def request(*parts: Part, **further: Any) -> CleanupRequest:
    return CleanupRequest(parts=parts or tuple(Part), **further)


def connect(home: Path, url: str | None = None, **further: Any) -> Platform:
    """Return a platform; the parts of publishing that make and bring releases are not needed here."""
    if url:
        further["database"] = {"url": url}
    else:
        sqlite_url(home / "geoetl.db")
    platform = geoetl.connect(home, managed=empty(home), **further)
    none = cast(Any, None)
    platform.__dict__["publish"] = Keeping(
        ReleaseRepository(platform.database), platform.runs, platform.zones, platform._catalog_over,
        none, none, none, none, none, none, none, "https://data.example.org",
    )  # fmt: skip
    return platform


def empty(home: Path) -> Path:
    """Return a folder that declares no managed datasets."""
    folder = home.parent / "managed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
