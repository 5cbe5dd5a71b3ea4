"""What a STAC document must have before it enters the catalogue, whichever back end keeps it.

Source: STAC specification 1.1.0, item-spec and collection-spec; RFC 3339 for times; RFC 8259 for JSON.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import orjson

from geoetl.core.errors import Conflict, InvalidBBox, InvalidParameter, InvalidTime, LimitExceeded
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import BBox
from geoetl.store.catalog.footprint import BadGeometry, Footprint, footprint_of, footprints_of
from geoetl.store.catalog.hrefs import Addresses, to_portable

# Thousands of assets fit in this; a document beyond it is data that belongs into a file.
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# What the libraries of JSON take for an integer; beyond it some of them give a float, which is another number.
_INTEGERS = (-(1 << 63), (1 << 64) - 1)
_ONLY_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


@dataclass(frozen=True)
class CheckedItem(Mapping[str, Any]):
    """An item that may be stored: a mapping as it was, with what a catalogue needs to know of it.

    Attributes:
        collection: Id of its collection.
        id: Its id, unique within the collection.
        start_us: Beginning of its time, microseconds since 1970 UTC: ``start_datetime`` where both it and
            ``end_datetime`` are given (as in pgSTAC), else ``datetime``.
        end_us: End of its time, the same way.
        footprint: Where it is.
        content: The item with portable hrefs, a bbox, and its links and assets present, as JSON text.
    """

    collection: str
    id: str
    start_us: int
    end_us: int
    footprint: Footprint
    content: str

    @cached_property
    def document(self) -> dict[str, Any]:
        """The item."""
        return dict(orjson.loads(self.content))

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.document)

    def __len__(self) -> int:
        return len(self.document)


def check_items(items: Sequence[Mapping[str, Any]], addresses: Addresses, *, parsed: bool = False) -> list[CheckedItem]:
    """Return the items as they may be stored; the items given are not changed.

    Items that were checked before, perhaps in another process, are taken as they are.

    Args:
        items: Items that were not looked at yet.
        addresses: What makes hrefs portable.
        parsed: Whether they come from JSON text, so that they can hold nothing but what JSON has.

    Raises:
        InvalidParameter: An item lacks something, has something of a wrong kind, or is not strict JSON.
        InvalidTime: A time is not RFC 3339, or the end lies before the start.
        InvalidBBox: A bbox or geometry is malformed, empty, or out of range.
        LimitExceeded: An item is larger than `MAX_DOCUMENT_BYTES`.
    """
    ready = [item for item in items if isinstance(item, CheckedItem)]
    if len(ready) == len(items):
        return ready
    documents = [_check_item(item, position) for position, item in enumerate(items)]
    places = [(document["geometry"], document.get("bbox")) for document in documents]
    checked = []
    for document, (geometry, bbox), found in zip(documents, places, footprints_of(places), strict=True):
        identity = document["id"]
        footprint = found or _footprint(identity, geometry, bbox)
        start, end = time_span_us(identity, document["properties"])
        document = to_portable(document, addresses)
        if bbox is None:
            document["bbox"] = footprint.bbox()
        content = encode(document, f"Item '{identity}'", parsed=parsed)
        checked.append(CheckedItem(document["collection"], identity, start, end, footprint, content))
    return checked


def check_collection(collection: Mapping[str, Any], addresses: Addresses) -> tuple[dict[str, Any], str]:
    """Return a collection as it may be stored, and its JSON text; the one given is not changed.

    Raises:
        InvalidParameter: It lacks something, has something of a wrong kind, or is not strict JSON.
    """
    name = _named(collection, "Collection", "collection")
    for key in ("description", "license"):
        if not isinstance(collection.get(key), str) or not collection[key]:
            raise InvalidParameter(f"{name} has no {key}.", hint=f"Give a text as '{key}'.", field=f"/{key}")
    extent = collection.get("extent")
    if not isinstance(extent, dict) or not isinstance(extent.get("spatial"), dict):
        raise InvalidParameter(
            f"{name} has no extent.", hint="Give extent.spatial and extent.temporal.", field="/extent"
        )
    for position, box in enumerate(_list(extent["spatial"].get("bbox"))):
        _check_bbox(name, box, f"/extent/spatial/bbox/{position}")
    document = to_portable(_with_parts(collection, name), addresses)
    return document, encode(document, name)


def check_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Check that a changed item or collection is still the same one.

    Raises:
        InvalidParameter: It has another id, or is of another collection.
    """
    for key in ("id", "collection"):
        if before.get(key) != after.get(key):
            raise InvalidParameter(
                f"'{key}' is {str(after.get(key))[:80]!r}; what is changed has {str(before.get(key))!r}.",
                hint="Keep it; to rename something, add it anew and delete the old one.",
                field=f"/{key}",
            )


def item_exists(collection_id: str, item_id: str) -> Conflict:
    """Return the error for an item that is to be new and is there, or was given twice."""
    return Conflict(
        f"The collection '{collection_id}' has an item '{item_id}' already.",
        hint="Choose another id, or replace it instead of adding it.",
        field="/id",
    )


def collection_exists(collection_id: str) -> Conflict:
    """Return the error for a collection that is to be new and is there."""
    return Conflict(
        f"There is a collection '{collection_id}' already.",
        hint="Choose another id, or replace it instead of adding it.",
        field="/id",
    )


def time_span_us(name: str, properties: Mapping[str, Any]) -> tuple[int, int]:
    """Return the beginning and end of an item's time in microseconds since 1970 UTC.

    Raises:
        InvalidParameter: There is neither a ``datetime`` nor both ends of an interval.
        InvalidTime: A time is malformed, or the end lies before the start.
    """
    times = {
        key: instant_us(f"Item '{name}'", text, f"/properties/{key}")
        for key in ("datetime", "start_datetime", "end_datetime")
        if (text := properties.get(key)) is not None
    }
    if "start_datetime" in times and "end_datetime" in times:
        start, end = times["start_datetime"], times["end_datetime"]
        if end < start:
            raise InvalidTime(
                f"Item '{name}' ends ({properties['end_datetime']}) before it starts ({properties['start_datetime']}).",
                hint="Exchange start_datetime and end_datetime.",
                field="/properties/end_datetime",
            )
        return start, end
    if "datetime" not in times:
        raise InvalidParameter(
            f"Item '{name}' has no time.",
            hint="Give properties.datetime, or both start_datetime and end_datetime with datetime null.",
            field="/properties/datetime",
        )
    return times["datetime"], times["datetime"]


def instant_us(name: str, text: Any, field: str) -> int:
    """Return an RFC 3339 time in microseconds since 1970 UTC.

    Raises:
        InvalidTime: It has no zone, or is not a date of the Gregorian calendar.
    """
    try:
        if not isinstance(text, str) or not _RFC3339.fullmatch(text):
            raise ValueError
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise InvalidTime(
            f"{name} has the time {str(text)[:40]!r} at {field}, which is not RFC 3339.",
            hint="Write it as 2020-02-28T12:00:00Z, with the zone.",
            field=field,
        ) from None


def encode(document: Mapping[str, Any], name: str, *, parsed: bool = False) -> str:
    """Return a document as strict JSON text.

    Args:
        document: Item or collection.
        name: What it is called in messages.
        parsed: Whether it comes from JSON text, and need not be read back to tell that it is JSON.

    Raises:
        InvalidParameter: It holds what JSON has not; the pointer to it is in the message.
        LimitExceeded: It is larger than `MAX_DOCUMENT_BYTES`.
    """
    pointer, reason = "", ""
    try:
        text = _encode(document, parsed)
    except (ValueError, TypeError, RecursionError):
        pointer, reason = _fault(document)
        text = "" if reason else json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text:
        # NUL is legal in JSON, but PostgreSQL's jsonb refuses it and C strings end there.
        pointer, reason = _fault(document)
    if reason:
        raise InvalidParameter(
            f"{name} is not strict JSON: {reason} at {pointer or '/'}.",
            hint="Put null, a number or a text there.",
            field=pointer,
        )
    if len(text) * 4 > MAX_DOCUMENT_BYTES and (size := len(text.encode())) > MAX_DOCUMENT_BYTES:
        raise LimitExceeded(
            f"{name} has {size} bytes of JSON, more than {MAX_DOCUMENT_BYTES}.",
            hint="Put the bulk into a file and refer to it as an asset.",
        )
    return text


def _encode(document: Mapping[str, Any], parsed: bool) -> str:
    """Return a document as JSON text; raise one of several errors where it may be none, or has very large integers.

    orjson writes what JSON has not (NaN as null, a UUID as text), so that only text that reads back as what was given
    is taken; the rest goes through the standard library, which is strict and slow (tuples, NaN).
    """
    raw = orjson.dumps(document, option=_ONLY_JSON)
    if parsed or orjson.loads(raw) == document:
        return raw.decode()
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_item(item: Mapping[str, Any], position: int) -> dict[str, Any]:
    name = _named(item, "Feature", f"item {position + 1}")
    collection = item.get("collection")
    if not isinstance(collection, str) or not collection:
        raise InvalidParameter(f"{name} names no collection.", hint="Set 'collection' to its id.", field="/collection")
    if not isinstance(item.get("geometry"), dict):
        raise InvalidParameter(
            f"{name} has no geometry; the catalogue keeps items that have a place.",
            hint="Give the footprint as a GeoJSON geometry in longitude and latitude.",
            field="/geometry",
        )
    if not isinstance(item.get("properties"), dict):
        raise InvalidParameter(f"{name} has no properties.", hint="Give an object.", field="/properties")
    if item.get("bbox") is not None:
        _check_bbox(name, item["bbox"], "/bbox")
    return _with_parts(item, name)


def _named(document: Mapping[str, Any], kind: str, unnamed: str) -> str:
    if type(document) is not dict and not isinstance(document, Mapping):
        raise InvalidParameter(f"{unnamed.capitalize()} is a {type(document).__name__}, not a JSON object.")
    found, identity, version = document.get("type"), document.get("id"), document.get("stac_version")
    shown = f"'{identity[:60]}'" if isinstance(identity, str) else f"({unnamed})"
    noun = "Item" if kind == "Feature" else kind
    if found != kind:
        raise InvalidParameter(
            f"{noun} {shown} has the type {str(found)[:40]!r}, not '{kind}'.",
            hint=f"Set 'type' to '{kind}'.",
            field="/type",
        )
    if not isinstance(identity, str):
        raise InvalidParameter(f"{noun} {shown} has no id.", hint="Set 'id' to a text.", field="/id")
    check_id(identity, f"{noun.lower()} id")
    if not isinstance(version, str) or not version.startswith("1."):
        raise InvalidParameter(
            f"{noun} {shown} has the stac_version {str(version)[:20]!r}, not 1.x.",
            hint="Write STAC 1.1.0 and set 'stac_version' to '1.1.0'.",
            field="/stac_version",
        )
    return f"{noun} {shown}"


def _with_parts(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    copy = dict(document)
    if "bbox" in copy and copy["bbox"] is None:
        del copy["bbox"]
    links = copy.setdefault("links", [])
    assets = copy.setdefault("assets", {}) if copy["type"] == "Feature" else copy.get("assets", {})
    if not isinstance(assets, dict):
        raise InvalidParameter(f"{name} has assets that are no object.", hint="Name each asset.", field="/assets")
    if not isinstance(links, list):
        raise InvalidParameter(f"{name} has links that are no list.", hint="Give a list of links.", field="/links")
    things = [*assets.values(), *links]
    if not all(isinstance(thing, dict) and _is_address(thing.get("href")) for thing in things):
        raise _without_href(name, assets, links)
    return copy


def _without_href(name: str, assets: Mapping[str, Any], links: Sequence[Any]) -> InvalidParameter:
    pairs = [(f"/assets/{key}", asset) for key, asset in assets.items()]
    pairs += [(f"/links/{position}", link) for position, link in enumerate(links)]
    pointer = next(p for p, thing in pairs if not isinstance(thing, dict) or not _is_address(thing.get("href")))
    return InvalidParameter(f"{name} has no href at {pointer}.", hint="Give the address.", field=pointer)


def _is_address(href: Any) -> bool:
    return isinstance(href, str) and bool(href)


def _check_bbox(name: str, bbox: Any, pointer: str) -> None:
    numbers = bbox if type(bbox) is list else _list(bbox)
    if len(numbers) not in (4, 6) or not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        raise InvalidBBox(
            f"{name} has a bbox that is not 4 or 6 finite numbers: {str(bbox)[:80]}.",
            hint="Give west,south,east,north in degrees.",
            field=pointer,
        )
    if len(numbers) == 4 and -180 <= numbers[0] <= numbers[2] <= 180 and -90 <= numbers[1] <= numbers[3] <= 90:
        return
    try:
        BBox.from_list(numbers)
    except InvalidBBox as error:
        raise InvalidBBox(f"{name}: {error.detail}", hint=error.hint, field=pointer) from None


def _footprint(identity: str, geometry: Mapping[str, Any], bbox: Sequence[float] | None) -> Footprint:
    try:
        return footprint_of(geometry, bbox)
    except BadGeometry as error:
        raise InvalidBBox(
            f"Item '{identity}': {error}.",
            hint="Give a GeoJSON geometry in longitude, latitude (degrees, WGS 84).",
            field="/geometry",
        ) from None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _fault(value: Any, pointer: str = "", depth: int = 0) -> tuple[str, str]:
    """Return the JSON pointer (RFC 6901) and the kind of the first thing that JSON has not."""
    # Deeper than any STAC document; the encoder itself gives up at some thousands.
    if depth > 200:
        return pointer, "more than 200 levels"
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in pairs:
            step = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if isinstance(value, Mapping) and (fault := _name_fault(key)):
                return step, fault
            found = _fault(inner, step, depth + 1)
            if found[1]:
                return found
        return pointer, ""
    if isinstance(value, str):
        return pointer, _text_fault(value)
    if isinstance(value, float) and not math.isfinite(value):
        return pointer, str(value)
    if isinstance(value, int) and not _INTEGERS[0] <= value <= _INTEGERS[1]:
        return pointer, "an integer beyond 64 bits"
    if value is None or isinstance(value, bool | int | float):
        return pointer, ""
    return pointer, f"a {type(value).__name__}"


def _name_fault(name: Any) -> str:
    if isinstance(name, str):
        return _text_fault(name)
    # The standard library writes these as texts.
    return "" if name is None or isinstance(name, bool | int | float) else f"a {type(name).__name__} as a name"


def _text_fault(text: str) -> str:
    if "\0" in text:
        return "a NUL character"
    return "half of a surrogate pair" if any("\ud800" <= letter <= "\udfff" for letter in text) else ""
