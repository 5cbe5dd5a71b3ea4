"""What every pipeline that makes one item of one file is asked for."""

from pathlib import Path

from pydantic import field_validator

from geoetl.core.identifiers import check_id, slug
from geoetl.core.request import Request
from geoetl.store.gate import SAMPLE_SCHEME


class FileRequest(Request):
    """One file that becomes one item.

    Attributes:
        source: ``samples:NAME``, or a path under an allowed root.
        collection: Id of the STAC collection.
        item: Id of the STAC item; empty takes the file's name.
        title: Title of the item; empty takes the file's name.
    """

    source: str
    collection: str
    item: str = ""
    title: str = ""

    @field_validator("collection")
    @classmethod
    def _safe_collection(cls, value: str) -> str:
        return check_id(value, "collection")

    @field_validator("item")
    @classmethod
    def _safe_item(cls, value: str) -> str:
        return check_id(value, "item") if value else value

    @property
    def item_id(self) -> str:
        """The item's id: as given, or from the file's name."""
        return self.item or slug(self._stem)

    @property
    def item_title(self) -> str:
        """The item's title: as given, or from the file's name."""
        return self.title or self._stem.replace("_", " ")

    @property
    def _stem(self) -> str:
        return Path(self.source.removeprefix(SAMPLE_SCHEME).removeprefix("file://")).stem
