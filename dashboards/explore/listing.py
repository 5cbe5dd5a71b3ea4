"""What the catalogue holds, as a list that a person can search: by words, by time, by what the map shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from geoetl.access import CUBE_KINDS, AssetKind, kind_of
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval

if TYPE_CHECKING:
    from geoetl.store.catalog import Catalog

# Items of a collection that are listed at once; "more" adds as many again.
PAGE = 20
# Footprints beyond this many hide each other.
MAX_FOOTPRINTS = 500
PMTILES = "application/vnd.pmtiles"


class Kind(StrEnum):
    """What an item is on the map."""

    RASTER = "raster"
    CUBE = "cube"
    VECTOR = "vector"
    OTHER = "other"

    @property
    def title(self) -> str:
        """The word for it."""
        return {"raster": "Raster", "cube": "Data cube", "vector": "Features", "other": "Item"}[self.value]


@dataclass(frozen=True)
class ItemSummary:
    """An item in the list.

    Attributes:
        key: ``collection/item``.
        title: Its title, or its id where it has none.
        subtitle: What it is and when, in a few words.
        kind: What it is on the map.
        thumbnail: Whether it has a picture of itself.
        geometry: Its footprint, GeoJSON.
    """

    key: str
    title: str
    subtitle: str
    kind: Kind
    thumbnail: bool
    geometry: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """A collection with those of its items that were found.

    Attributes:
        id: The collection's id.
        title: Its title.
        description: What it says about itself.
        matched: How many of its items were found.
        items: The first of them.
    """

    id: str
    title: str
    description: str
    matched: int
    items: tuple[ItemSummary, ...]


@dataclass(frozen=True)
class Question:
    """What is looked for; empty parts are no condition.

    Attributes:
        words: All have to occur in the texts of the item or its collection.
        interval: The item's time has to touch it.
        bbox: The item's footprint has to touch it.
    """

    words: tuple[str, ...] = ()
    interval: Interval | None = None
    bbox: BBox | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked for in particular."""
        return not self.words and self.interval is None and self.bbox is None


@dataclass(frozen=True)
class Listing:
    """The answer to a question.

    Attributes:
        question: What was asked.
        groups: The collections with something found; all of them when nothing was asked for.
        collections: How many collections the catalogue has.
        version: Version of the catalogue that was asked, or an older one.
    """

    question: Question
    groups: tuple[Group, ...]
    collections: int
    version: int

    def footprints(self, opened: str) -> dict[str, Any]:
        """Return the footprints of what is listed as GeoJSON with `id`; of an open item its own only."""
        items = [item for group in self.groups for item in group.items if opened in ("", item.key)]
        return {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": dict(item.geometry),
                    "properties": {"id": item.key, "title": item.title},
                }
                for item in items[:MAX_FOOTPRINTS]
            ],
        }


def find(catalog: "Catalog", question: Question, pages: Mapping[str, int]) -> Listing:
    """Look up the items that fit the question, collection by collection.

    Args:
        catalog: Where they are looked up.
        question: What is looked for.
        pages: How many pages of a collection to list, by id; one where it is not named.

    Raises:
        InvalidFilter: The words make no filter.
    """
    from geoetl.store.catalog import Search, SortField

    # Read first: what changes meanwhile is then noticed by the next look.
    version = catalog.version()
    collections = catalog.collections()
    groups = []
    for collection in collections:
        name = str(collection["id"])
        text = _text_of(collection)
        page = catalog.search(
            Search(
                collections=(name,),
                bbox=question.bbox,
                interval=question.interval,
                filter=_word_filter([word for word in question.words if word.casefold() not in text]),
                sortby=(SortField(field="title"), SortField(field="id")),
                limit=PAGE * pages.get(name, 1),
            )
        )
        if page.items or question.is_open:
            groups.append(
                Group(
                    id=name,
                    title=str(collection.get("title") or name),
                    description=str(collection.get("description") or ""),
                    matched=page.matched or len(page.items),
                    items=tuple(summarise(item) for item in page.items),
                )
            )
    groups.sort(key=lambda group: group.title.casefold())
    return Listing(question, tuple(groups), len(collections), version)


def summarise(item: Mapping[str, Any]) -> ItemSummary:
    """Return what the list says about a STAC item."""
    kind = kind_of_item(item)
    properties: Mapping[str, Any] = item["properties"]
    parts = [kind.title]
    if kind is Kind.VECTOR and properties.get("table:row_count"):
        parts = [f"{int(properties['table:row_count']):,} features".replace(",", "\u202f")]
    parts.append(time_text(properties))
    return ItemSummary(
        key=f"{item['collection']}/{item['id']}",
        title=title_of(item),
        subtitle=" · ".join(part for part in parts if part),
        kind=kind,
        thumbnail="thumbnail" in item.get("assets", {}),
        geometry=item.get("geometry") or {"type": "GeometryCollection", "geometries": []},
    )


def title_of(document: Mapping[str, Any]) -> str:
    """Return the title of a STAC item or collection; its id where it has none."""
    properties: Mapping[str, Any] = document.get("properties", {})
    return str(document.get("title") or properties.get("title") or document["id"])


def kind_of_item(item: Mapping[str, Any]) -> Kind:
    """Tell what a STAC item is on the map, by its assets."""
    assets: Sequence[Mapping[str, Any]] = list(item.get("assets", {}).values())
    kinds = {kind_of(asset) for asset in assets}
    if kinds & set(CUBE_KINDS):
        return Kind.CUBE
    if AssetKind.GEOTIFF in kinds:
        return Kind.RASTER
    if AssetKind.GEOPARQUET in kinds or any(asset.get("type") == PMTILES for asset in assets):
        return Kind.VECTOR
    return Kind.OTHER


def time_text(properties: Mapping[str, Any]) -> str:
    """Return when an item is, as days: ``2013-01-01`` or ``2013-01-01 to 2014-12-31``; empty where it does not say."""
    start = str(properties.get("start_datetime") or properties.get("datetime") or "")[:10]
    end = str(properties.get("end_datetime") or properties.get("datetime") or "")[:10]
    return start if start == end else " to ".join(filter(None, (start, end)))


def _text_of(collection: Mapping[str, Any]) -> str:
    words = (collection["id"], collection.get("title"), collection.get("description"), *collection.get("keywords", ()))
    return " ".join(str(word) for word in words if word).casefold()


def _word_filter(words: Sequence[str]) -> dict[str, Any] | None:
    """Return CQL2 that wants each word in an item's id, title or description, whatever its case."""
    if not words:
        return None
    wanted = [
        {
            "op": "or",
            "args": [
                {
                    "op": "like",
                    "args": [
                        {"op": "casei", "args": [{"property": name}]},
                        {"op": "casei", "args": [f"%{_literal(word)}%"]},
                    ],
                }
                for name in ("id", "title", "description")
            ],
        }
        for word in words
    ]
    return wanted[0] if len(wanted) == 1 else {"op": "and", "args": wanted}


def _literal(word: str) -> str:
    """Return a word in which LIKE sees no wildcard."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
