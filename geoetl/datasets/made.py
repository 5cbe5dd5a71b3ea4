"""Items that an update has made already, so that one that goes on after it was interrupted does not make them again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.core.identifiers import digest
from geoetl.datasets.protocol import Loaded
from geoetl.datasets.version import ItemProfile
from geoetl.runs.model import Result
from geoetl.store.zones import Zone


class Record(Result):
    """An item that was made.

    Attributes:
        suffix: Ends its id.
        content: Digest of what it was made of.
        loaded: The item.
        profile: What it is like.
        style: CartoSym-JSON that the handler proposes.
    """

    suffix: str
    content: str
    loaded: Loaded
    profile: ItemProfile
    style: dict[str, Any] | None


@dataclass(frozen=True)
class MadeItems:
    """Records of items, beside the fetched files of the release.

    Args:
        folder: Of the records.
        zone: Where the objects of the items are.
    """

    folder: Path
    zone: Zone

    def get(self, suffix: str, content: str | None = None) -> Record | None:
        """Return the record of an item whose objects are there; None where there is none, or of other content."""
        try:
            record = Record.model_validate_json(self._path(suffix).read_bytes())
        except (OSError, ValueError):
            return None  # one that was half written is none
        is_whole = self.zone.size(record.loaded.data.key) == record.loaded.data.bytes
        return record if is_whole and content in (None, record.content) else None

    def has(self, suffix: str, content: str) -> bool:
        """Tell whether an item of this content was made."""
        return self.get(suffix, content) is not None

    def keep(self, record: Record) -> None:
        """Remember an item that was made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(record.suffix)
        part = path.with_suffix(".part")
        part.write_text(record.model_dump_json(), "utf-8")
        part.replace(path)

    def keys(self) -> set[str]:
        """Return the keys of the objects of all of them."""
        found: set[str] = set()
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            try:
                record = Record.model_validate_json(path.read_bytes())
            except ValueError:
                continue
            found |= record.profile.keys | keys_of_item(record.loaded.item, self.zone.name)
        return found

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{digest(suffix)[:16]}.json"


def keys_of_item(item: Mapping[str, Any], zone: str) -> set[str]:
    """Return the keys of the objects of a zone that an item's assets are."""
    prefix = f"{zone}://"
    hrefs = [str(asset["href"]) for asset in item["assets"].values()]
    return {href.removeprefix(prefix) for href in hrefs if href.startswith(prefix)}
