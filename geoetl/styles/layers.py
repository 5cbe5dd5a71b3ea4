"""Which layers there are to style: vector items as ``collection:item``, and STAC collections of rasters and cubes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.core.identifiers import check_id
from geoetl.store.catalog import Search, walk
from geoetl.styles.coverage import channel_names, channel_units
from geoetl.styles.layer import LayerKind, PropertyKind, StyledLayer

if TYPE_CHECKING:
    from geoetl.store.catalog import Catalog

Dimensions = Literal[0, 1, 2] | None
# What a file of features says of its geometries, and the dimension that means.
_DIMENSIONS: Mapping[str, Literal[0, 1, 2]] = {
    "Point": 0,
    "MultiPoint": 0,
    "LineString": 1,
    "MultiLineString": 1,
    "LinearRing": 1,
    "Polygon": 2,
    "MultiPolygon": 2,
}
# What our pipelines write on every item with a table; the catalogue has no other way to tell vector items.
_IS_TABLE: dict[str, Any] = {
    "op": "or",
    "args": [
        {"op": "not", "args": [{"op": "isNull", "args": [{"property": name}]}]}
        for name in ("table:row_count", "table:columns")
    ],
}
_IS_COVERAGE: dict[str, Any] = {"op": "not", "args": [_IS_TABLE]}
# Layers that are remembered; all are forgotten when the catalogue changes.
MAX_KEPT = 1_000


@dataclass(frozen=True)
class VectorFacts:
    """What styling needs to know of the features of an item.

    Attributes:
        dimensions: 0 points, 1 lines, 2 polygons; None where they are mixed or not known.
        properties: The kinds of their properties by name.
    """

    dimensions: Dimensions
    properties: Mapping[str, PropertyKind]


@dataclass(frozen=True)
class LayerSummary:
    """A layer in a list.

    Attributes:
        id: What its styles belong to.
        title: For people.
        kind: ``vector`` or ``coverage``.
    """

    id: str
    title: str
    kind: LayerKind


class Lookup(Protocol):
    """Finds items and collections by ids."""

    def item(self, collection_id: str, item_id: str) -> Mapping[str, Any]:
        """Return an item; raises NotFound where there is none."""
        ...

    def collection(self, collection_id: str) -> Mapping[str, Any]:
        """Return a collection; raises NotFound where there is none."""
        ...

    def version(self) -> int:
        """Return the number that every change of the catalogue raises."""
        ...


class Layers:
    """The layers of a catalogue.

    Args:
        catalog: What is searched.
        lookup: What is looked up by ids.
        facts: Tells what a file of features holds, by the ids of collection and item.
    """

    def __init__(self, catalog: "Catalog", lookup: Lookup, facts: Callable[[str, str], VectorFacts]) -> None:
        self._catalog = catalog
        self._lookup = lookup
        self._facts = facts
        # Replaced whole when the catalogue changed, so that threads need no lock.
        self._kept: tuple[int, dict[str, StyledLayer]] = (-1, {})

    def check(self, layer_id: str) -> None:
        """Check that there is a collection or an item of that id; nothing is opened.

        Raises:
            NotFound: There is none.
            InvalidParameter: It is no id of a layer.
        """
        collection, item = names_of(layer_id)
        if item is None:
            self._lookup.collection(collection)
        else:
            self._lookup.item(collection, item)

    def exists(self, layer_id: str) -> bool:
        """Tell whether there is a collection or an item of that id."""
        try:
            self.check(layer_id)
        except NotFound:
            return False
        return True

    def layer(self, layer_id: str) -> StyledLayer:
        """Return what there is to draw.

        Raises:
            NotFound: There is no such layer, or it has nothing that is drawn with a style.
            InvalidParameter: It is no id of a layer.
        """
        collection, item = names_of(layer_id)
        version = self._lookup.version()
        if self._kept[0] != version or len(self._kept[1]) >= MAX_KEPT:
            self._kept = (version, {})
        kept = self._kept[1]
        if layer_id not in kept:
            kept[layer_id] = self._coverage(collection) if item is None else self._vector(layer_id, collection, item)
        return kept[layer_id]

    def all(self) -> list[LayerSummary]:
        """Return every layer: collections of coverages first, then vector items, each by id."""
        collections = [
            LayerSummary(one["id"], str(one.get("title") or one["id"]), "coverage")
            for one in self._catalog.collections()
            if self._an_item(one["id"], _IS_COVERAGE) is not None
        ]
        tables = walk(self._catalog, Search(filter=_IS_TABLE, count=False))
        items = [
            LayerSummary(f"{one['collection']}:{one['id']}", str(one["properties"].get("title") or one["id"]), "vector")
            for one in tables
        ]
        return [*collections, *sorted(items, key=lambda one: one.id)]

    def units(self, layer: StyledLayer, names: Iterable[str]) -> str | None:
        """Return the units of the first of these bands or variables that has some, as an item of the layer says."""
        item = self._an_item(layer.id, _IS_COVERAGE) if layer.kind == "coverage" else None
        if item is None:
            return None
        return next((units for name in names if (units := channel_units(item, name))), None)

    def _vector(self, layer_id: str, collection: str, item: str) -> StyledLayer:
        self._lookup.item(collection, item)
        try:
            facts = self._facts(collection, item)
        except InvalidParameter:
            raise NotFound(
                f"Item '{item}' of '{collection}' has no features to style.",
                hint=f"A raster or cube is drawn with a style of its collection, '{collection}'.",
                field="collection",
            ) from None
        return StyledLayer(id=layer_id, kind="vector", dimensions=facts.dimensions, properties=facts.properties)

    def _coverage(self, collection: str) -> StyledLayer:
        self._lookup.collection(collection)
        item = self._an_item(collection, _IS_COVERAGE)
        if item is None and (table := self._an_item(collection, _IS_TABLE)) is not None:
            raise NotFound(
                f"Collection '{collection}' has vectors: a style belongs to one of its items.",
                hint=f"For example '{collection}:{table['id']}'.",
                field="collection",
            )
        properties: dict[str, PropertyKind] = dict.fromkeys(channel_names(item or {}), "number")
        return StyledLayer(id=collection, kind="coverage", dimensions=None, properties=properties)

    def _an_item(self, collection: str, filter: dict[str, Any]) -> Mapping[str, Any] | None:
        page = self._catalog.search(Search(collections=(collection,), filter=filter, limit=1, count=False))
        return page.items[0] if page.items else None


def names_of(layer_id: str) -> tuple[str, str | None]:
    """Return the ids of the STAC collection and of the STAC item in the id of a layer; None for no item.

    Raises:
        InvalidParameter: It is no id of a layer.
    """
    collection, colon, item = layer_id.partition(":")
    return check_id(collection, "collection"), check_id(item, "item") if colon else None


def dimensions_of(geometry_types: Iterable[str]) -> Dimensions:
    """Return the dimension that all geometries of these types have; None where they differ or are not known."""
    found = {_DIMENSIONS.get(name) for name in geometry_types}
    return found.pop() if len(found) == 1 else None


def property_kind(schema: Mapping[str, Any]) -> PropertyKind:
    """Return the kind of the values that a JSON Schema describes."""
    if schema.get("type") in ("number", "integer"):
        return "number"
    if schema.get("type") == "boolean":
        return "boolean"
    return "time" if schema.get("format") in ("date", "date-time") else "text"
