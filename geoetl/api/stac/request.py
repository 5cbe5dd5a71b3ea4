"""What may be asked of the STAC API, as text in an address or as JSON, and the search that it means."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

import attr
from fastapi import Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from stac_fastapi.types.search import APIRequest

from geoetl.core.errors import InputError, InvalidFilter, InvalidParameter, InvalidTime
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import Search, SortField
from geoetl.store.catalog.protocol import MAX_LIMIT

DEFAULT_LIMIT = 10
# RFC 3339 asks for a zone; what ISO 8601 allows besides is refused, as the specification says.
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_LANGUAGES = ("cql2-text", "cql2-json")
_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


class InvalidQuery(InputError):
    """A parameter of the STAC API is not right; the specification asks for status 400."""

    code = "invalid_query"
    title = "The question is not right"


# -- as text ---------------------------------------------------------------------------------------------------------

CollectionId = Annotated[str, Path(description="Id of the collection", examples=["demo-rasters"])]
ItemId = Annotated[str, Path(description="Id of the item", examples=["landsat_rgb"])]
_Bbox = Annotated[
    str | None,
    Query(
        description="Box that items must touch: west,south,east,north in degrees; west > east crosses 180°",
        examples=["-130,20,-60,50"],
    ),
]
_Datetime = Annotated[
    str | None,
    Query(description="Instant or interval in RFC 3339, `..` for an open end", examples=["2014-01-01T00:00:00Z/.."]),
]
_Limit = Annotated[
    int | None, Query(ge=1, description=f"Most items on a page; more than {MAX_LIMIT} means {MAX_LIMIT}", examples=[10])
]
_Token = Annotated[str | None, Query(max_length=100_000, description="Of the next page, from its link")]
_Sortby = Annotated[
    str | None, Query(description="Keys of the order, `-` descending", examples=["-properties.datetime,id"])
]
_Fields = Annotated[
    str | None,
    Query(description="Fields to give, `-` to leave out", examples=["id,properties.datetime,-links"]),
]
_Filter = Annotated[
    str | None,
    Query(
        max_length=300_000,
        description="CQL2, as text or JSON",
        examples=["datetime >= TIMESTAMP('2014-01-01T00:00:00Z')"],
    ),
]
_FilterLang = Annotated[
    str | None, Query(alias="filter-lang", description="cql2-text or cql2-json", examples=["cql2-text"])
]
_FilterCrs = Annotated[str | None, Query(alias="filter-crs", description="CRS84, the only one", examples=[_CRS84])]


@attr.s(auto_attribs=True, kw_only=True)
class OfCollection(APIRequest):
    """One collection."""

    collection_id: CollectionId


@attr.s(auto_attribs=True, kw_only=True)
class OfItem(APIRequest):
    """One item."""

    collection_id: CollectionId
    item_id: ItemId


@attr.s(auto_attribs=True, kw_only=True)
class CollectionsQuery(APIRequest):
    """A search for collections."""

    bbox: _Bbox = None
    datetime: _Datetime = None
    q: Annotated[
        str | None,
        Query(max_length=500, description="Words, any of which title, description or keywords have; comma-separated"),
    ] = None
    limit: Annotated[
        int | None, Query(ge=1, description="Most collections on a page; left out, 1000", examples=[100])
    ] = None
    token: _Token = None


@attr.s(auto_attribs=True, kw_only=True)
class _ItemsQuery(APIRequest):
    bbox: _Bbox = None
    datetime: _Datetime = None
    limit: _Limit = None
    token: _Token = None
    sortby: _Sortby = None
    fields: _Fields = None
    filter: _Filter = None
    filter_lang: _FilterLang = None
    filter_crs: _FilterCrs = None


@attr.s(auto_attribs=True, kw_only=True)
class ItemsQuery(OfCollection, _ItemsQuery):
    """A search for items of one collection."""


@attr.s(auto_attribs=True, kw_only=True)
class SearchQuery(_ItemsQuery):
    """A search for items."""

    collections: Annotated[
        str | None, Query(description="Ids of collections, comma-separated", examples=["demo-rasters"])
    ] = None
    ids: Annotated[str | None, Query(description="Ids of items, comma-separated", examples=["landsat_rgb"])] = None
    intersects: Annotated[
        str | None,
        Query(
            max_length=300_000,
            description="GeoJSON geometry that items must touch; not together with bbox",
            examples=['{"type": "Point", "coordinates": [-79, 25]}'],
        ),
    ] = None


# -- as JSON ---------------------------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class SortKey(_Part):
    """One key of an order."""

    field: Annotated[str, Field(min_length=1, max_length=200)]
    direction: Annotated[str, Field(pattern="^(asc|desc)$")] = "asc"


class FieldChoice(_Part):
    """Fields to give and to leave out."""

    include: list[str] | None = None
    exclude: list[str] | None = None


class SearchBody(_Part):
    """A search for items."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "collections": ["demo-rasters"],
                    "bbox": [-130, 20, -60, 50],
                    "filter-lang": "cql2-json",
                    "filter": {
                        "op": ">=",
                        "args": [{"property": "datetime"}, {"timestamp": "1990-01-01T00:00:00Z"}],
                    },
                    "sortby": [{"field": "properties.datetime", "direction": "desc"}],
                    "limit": 10,
                }
            ]
        },
    )

    collections: list[str] | None = Field(None, description="Ids of collections")
    ids: list[str] | None = Field(None, description="Ids of items")
    bbox: list[float] | None = Field(
        None, description="West, south, east, north in degrees", min_length=4, max_length=6
    )
    intersects: dict[str, Any] | None = Field(None, description="GeoJSON geometry; not together with bbox")
    datetime: str | None = Field(None, description="Instant or interval in RFC 3339")
    limit: int | None = Field(None, ge=1, description=f"Most items on a page, up to {MAX_LIMIT}")
    token: str | None = Field(None, max_length=100_000, description="Of the next page, from its link")
    sortby: list[SortKey] | None = Field(None, description="Keys of the order")
    fields: FieldChoice = Field(default_factory=FieldChoice, description="Fields to give and to leave out")
    filter: dict[str, Any] | bool | str | None = Field(None, description="CQL2")
    filter_lang: str | None = Field(None, alias="filter-lang", description="cql2-json or cql2-text")
    filter_crs: str | None = Field(None, alias="filter-crs", description="CRS84, the only one")


# -- writing ---------------------------------------------------------------------------------------------------------

EXAMPLE_ITEM: Mapping[str, Any] = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "example",
    "collection": "demo-rasters",
    "geometry": {"type": "Point", "coordinates": [5.0, 50.0]},
    "bbox": [5.0, 50.0, 5.0, 50.0],
    "properties": {"datetime": "2020-06-01T00:00:00Z", "title": "An example"},
    "links": [],
    "assets": {},
}
EXAMPLE_COLLECTION: Mapping[str, Any] = {
    "type": "Collection",
    "stac_version": "1.1.0",
    "id": "my-collection",
    "title": "An example",
    "description": "Made to show how.",
    "license": "CC0-1.0",
    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
    "links": [],
}
_ItemBody = Annotated[dict[str, Any], Body(description="A STAC item", examples=[EXAMPLE_ITEM])]
_CollectionBody = Annotated[dict[str, Any], Body(description="A STAC collection", examples=[EXAMPLE_COLLECTION])]
_Patch = Annotated[
    dict[str, Any],
    Body(
        description="Members to set; null removes one (JSON Merge Patch, RFC 7396)",
        examples=[{"description": "A better text", "keywords": None}],
    ),
]


@attr.s(auto_attribs=True, kw_only=True)
class NewItem(OfCollection):
    """An item, or several as a FeatureCollection."""

    item: _ItemBody


@attr.s(auto_attribs=True, kw_only=True)
class WholeItem(OfItem):
    """An item that takes the place of another."""

    item: _ItemBody


@attr.s(auto_attribs=True, kw_only=True)
class ItemPatch(OfItem):
    """A change of an item."""

    patch: _Patch


@attr.s(auto_attribs=True, kw_only=True)
class NewCollection(APIRequest):
    """A collection."""

    collection: _CollectionBody


@attr.s(auto_attribs=True, kw_only=True)
class WholeCollection(OfCollection):
    """A collection that takes the place of another."""

    collection: _CollectionBody


@attr.s(auto_attribs=True, kw_only=True)
class CollectionPatch(OfCollection):
    """A change of a collection."""

    patch: _Patch


# -- from question to search -----------------------------------------------------------------------------------------


def search_of_query(asked: Mapping[str, Any]) -> Search:
    """Return the search that the parameters of an address mean.

    Raises:
        InputError: One of them is not right.
    """
    return _search(
        collections=_names(asked.get("collections")),
        ids=_names(asked.get("ids")),
        bbox=bbox_of(asked.get("bbox")),
        intersects=_geometry(asked.get("intersects")),
        datetime=asked.get("datetime"),
        filter=_filter(asked.get("filter"), asked.get("filter_lang") or "cql2-text", asked.get("filter_crs")),
        sortby=_keys(asked.get("sortby")),
        limit=asked.get("limit"),
        token=asked.get("token"),
    )


def search_of_body(asked: SearchBody) -> Search:
    """Return the search that a JSON document means.

    Raises:
        InputError: A part of it is not right.
    """
    return _search(
        collections=tuple(asked.collections or ()),
        ids=tuple(asked.ids or ()),
        bbox=BBox.from_list(asked.bbox) if asked.bbox is not None else None,
        intersects=asked.intersects,
        datetime=asked.datetime,
        filter=_filter(asked.filter, asked.filter_lang or "cql2-json", asked.filter_crs),
        sortby=tuple(SortField(field=key.field, direction=key.direction) for key in asked.sortby or ()),  # type: ignore[arg-type]
        limit=asked.limit,
        token=asked.token,
    )


def _search(*, datetime: str | None, limit: int | None, **parts: Any) -> Search:
    if parts["bbox"] is not None and parts["intersects"] is not None:
        raise InvalidQuery("There are both bbox and intersects.", hint="Give one of them.", field="intersects")
    return Search(
        interval=interval_of(datetime),
        limit=min(limit or DEFAULT_LIMIT, MAX_LIMIT),
        # Counting what a filter matches reads every document; without it a page comes as soon as it is full.
        count=parts["filter"] is None,
        **parts,
    )


def interval_of(text: str | None) -> Interval | None:
    """Return an instant or interval of RFC 3339.

    Raises:
        InvalidTime: It is something else, or open at both ends.
    """
    if text is None:
        return None
    ends = text.split("/")
    bounded = [end for end in ends if end not in ("", "..")]
    if len(ends) > 2 or not bounded or (len(ends) == 1 and not text) or not all(map(_RFC3339.fullmatch, bounded)):
        raise InvalidTime(
            f"'{text[:80]}' is no instant or interval in RFC 3339.",
            hint="Write 2020-02-28T12:00:00Z, or 2020-01-01T00:00:00Z/.. with .. for one open end.",
            field="datetime",
        )
    return Interval.parse(text.upper())


def bbox_of(text: str | None) -> BBox | None:
    """Return a box of 4 numbers, or of 6 with heights, which are not looked at.

    Raises:
        InvalidBBox: It is something else.
    """
    if not text:
        return None
    numbers = text.split(",")
    return BBox.parse(",".join((*numbers[:2], *numbers[3:5]) if len(numbers) == 6 else numbers))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name for name in (text or "").split(",") if name)


def _keys(text: str | None) -> tuple[SortField, ...]:
    # A plus sign in an address is a blank.
    keys = [key.strip() for key in (text or "").split(",") if key.strip()]
    if any(not key.lstrip("+-") or len(key) > 200 for key in keys):
        raise InvalidParameter(
            "sortby has a key without a name, or one of over 200 characters.",
            hint="For example sortby=-properties.datetime,id",
            field="sortby",
        )
    return tuple(map(SortField.parse, keys))


def _geometry(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        geometry = json.loads(text)
    except (ValueError, RecursionError):
        geometry = None
    if not isinstance(geometry, dict):
        raise InvalidQuery(
            "intersects is no GeoJSON geometry.",
            hint='For example intersects={"type": "Point", "coordinates": [5, 50]}, with its signs escaped.',
            field="intersects",
        )
    return geometry


def _filter(given: Any, language: str, crs: str | None) -> Any:
    if language not in _LANGUAGES:
        raise InvalidQuery(
            f"filter-lang is '{language[:40]}'.", hint=f"Use {' or '.join(_LANGUAGES)}.", field="filter-lang"
        )
    if crs is not None and crs != _CRS84:
        raise InvalidQuery(f"filter-crs is '{crs[:80]}'.", hint=f"Leave it out, or give {_CRS84}.", field="filter-crs")
    if given is None or given == "":
        return None
    if isinstance(given, str) and given.lstrip().startswith("{") != (language == "cql2-json"):
        if language == "cql2-text":
            raise InvalidFilter(
                "The filter is JSON.", hint="Say filter-lang=cql2-json, or write it as text.", field="filter"
            )
        raise InvalidFilter("The filter is no JSON object.", hint="Say filter-lang=cql2-text.", field="filter")
    return given
