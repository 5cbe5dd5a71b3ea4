"""What items can be filtered and sorted by: the fields of every item, and those that a sample of them has."""

from collections.abc import Iterable, Mapping
from typing import Any

import attr
from fastapi import Request
from stac_fastapi.extensions.filter.client import BaseFiltersClient
from stac_fastapi.extensions.sort.client import BaseSortablesClient
from starlette.responses import Response

from geoetl.access.items import CatalogCache
from geoetl.api.stac.documents import SCHEMA_JSON, encoded
from geoetl.store.catalog import Catalog, Search

# So many of the newest items say which properties there are; more would make the answer slow for nothing.
SAMPLE = 200
_ITEM = "https://schemas.stacspec.org/v1.0.0/item-spec/json-schema/item.json#/definitions/core/allOf"
_EVERY: Mapping[str, Mapping[str, Any]] = {
    "id": {"title": "Id", "type": "string", "$ref": f"{_ITEM}/2/properties/id"},
    "collection": {"title": "Collection", "type": "string"},
    "geometry": {
        "title": "Geometry",
        "$ref": f"{_ITEM}/1/oneOf/0/properties/geometry",
    },
    "datetime": {
        "title": "Time",
        "description": "Its beginning in comparisons, its whole extent in temporal operators",
        "type": "string",
        "format": "date-time",
    },
}
_KINDS = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))
_TIMES = frozenset({"datetime", "start_datetime", "end_datetime", "created", "updated"})


@attr.s(auto_attribs=True, kw_only=True)
class Queryables(BaseFiltersClient):
    """Tells what can be filtered by."""

    catalog: Catalog
    cache: CatalogCache

    def get_queryables(self, collection_id: str | None = None, **asked: Any) -> Response:  # type: ignore[override]
        """Return the fields of items as a JSON Schema."""
        return _described(self.catalog, self.cache, collection_id, asked["request"], _EVERY)


@attr.s(auto_attribs=True, kw_only=True)
class Sortables(BaseSortablesClient):
    """Tells what can be sorted by."""

    catalog: Catalog
    cache: CatalogCache

    def get_sortables(self, **asked: Any) -> Response:  # type: ignore[override]
        """Return what a search can be sorted by."""
        return _described(self.catalog, self.cache, None, asked["request"], _simple(_EVERY))

    def get_collection_sortables(self, collection_id: str, **asked: Any) -> Response:  # type: ignore[override]
        """Return what the items of a collection can be sorted by."""
        return _described(self.catalog, self.cache, collection_id, asked["request"], _simple(_EVERY))


def _simple(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {name: field for name, field in fields.items() if name != "geometry"}


def _described(
    catalog: Catalog,
    cache: CatalogCache,
    collection_id: str | None,
    request: Request,
    every: Mapping[str, Mapping[str, Any]],
) -> Response:
    if collection_id is not None:
        cache.collection(collection_id)
    names = () if collection_id is None else (collection_id,)
    sample = catalog.search(Search(collections=names, limit=SAMPLE, count=False))
    found = properties_of(item["properties"] for item in sample.items)
    if "geometry" not in every:
        found = {name: field for name, field in found.items() if field.get("type") not in ("array", "object")}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": str(request.url.replace(query="")),
        "type": "object",
        "title": f"Fields of items{f' of {collection_id}' if collection_id else ''}",
        "properties": {**every, **found},
        "additionalProperties": True,
    }
    return encoded(schema, SCHEMA_JSON)


def properties_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each property that any of the documents has, by name, with the JSON type of its values."""
    kinds: dict[str, set[str]] = {}
    for properties in documents:
        for name, value in properties.items():
            if value is not None and name != "datetime":
                kinds.setdefault(name, set()).add(next(kind for known, kind in _KINDS if isinstance(value, known)))
    described: dict[str, dict[str, Any]] = {}
    for name, found in sorted(kinds.items()):
        if found == {"integer", "number"}:
            found = {"number"}
        described[name] = {"title": name, "type": found.pop()} if len(found) == 1 else {"title": name}
        if name in _TIMES:
            described[name]["format"] = "date-time"
    return described
