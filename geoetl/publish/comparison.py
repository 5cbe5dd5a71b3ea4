"""What becomes public beside what is public already: objects, columns and what is said, from two manifests alone.

Pure: no database, no files.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from geoetl.core.spatial import BBox
from geoetl.publish.model import Manifest, ManifestObject

# What is said differs in so many places at most; a list of thousands of values differs as a whole.
MAX_VALUES = 200
# A value that is longer is shown by its beginning.
MAX_LETTERS = 400
# What differs from version to version and says nothing of the data.
_PASSING = frozenset({"updated", "created", "published", "version", "geoetl:release"})
# What is compared elsewhere, part by part or as numbers.
_TABLE, _VARIABLES, _BANDS = "table:columns", "cube:variables", "bands"
_NUMBERS = frozenset({"datetime", "start_datetime", "end_datetime", "table:row_count"})
_ABSENT = object()


class Difference(StrEnum):
    """How something differs from what is public."""

    REMOVED = "removed"
    CHANGED = "changed"
    ADDED = "added"
    SAME = "same"


@dataclass(frozen=True)
class ObjectChange:
    """An object of either release.

    Attributes:
        target: Where it goes, below the path of the release.
        what: How it differs.
        old, new: As it is in each; None where it is not.
    """

    target: str
    what: Difference
    old: ManifestObject | None
    new: ManifestObject | None


@dataclass(frozen=True)
class ValueChange:
    """Something that is said of the data.

    Attributes:
        name: Where it is said: ``properties.title``, ``collection.license``.
        what: How it differs; never the same.
        old, new: As text; empty where nothing is said.
    """

    name: str
    what: Difference
    old: str
    new: str


def object_changes(old: Iterable[ManifestObject], new: Iterable[ManifestObject]) -> tuple[ObjectChange, ...]:
    """Return every object of two releases by target, what differs first; with none before all is added.

    The same content at the same target is the same; how it is served does not come into it.
    """
    was, now = {one.target: one for one in old}, {one.target: one for one in new}
    found = []
    for target in sorted({*was, *now}):
        before, after = was.get(target), now.get(target)
        found.append(ObjectChange(target, _of_objects(before, after), before, after))
    order = list(Difference)
    return tuple(sorted(found, key=lambda one: (order.index(one.what), one.target)))


def value_changes(old: Manifest | None, new: Manifest) -> tuple[ValueChange, ...]:
    """Return what is said otherwise of the item, its assets and its collection; nothing where there is none before."""
    if old is None:
        return ()
    was, now = dict(_said(old)), dict(_said(new))
    found = []
    for name in dict.fromkeys((*was, *now)):
        before, after = was.get(name, _ABSENT), now.get(name, _ABSENT)
        if before != after:
            found.append(ValueChange(name, _what(before, after), _text(before), _text(after)))
    return tuple(found[:MAX_VALUES])


def schema_changes(old: Manifest | None, new: Manifest) -> tuple[ValueChange, ...]:
    """Return the columns, variables and bands that are gone, are of another type, or are new; the gone ones first."""
    if old is None:
        return ()
    was, now = _schema(old), _schema(new)
    found = []
    for name in dict.fromkeys((*was, *now)):
        before, after = was.get(name, _ABSENT), now.get(name, _ABSENT)
        if before != after:
            found.append(ValueChange(name, _what(before, after), _text(before), _text(after)))
    order = list(Difference)
    return tuple(sorted(found, key=lambda one: order.index(one.what))[:MAX_VALUES])


def item_of(manifest: Manifest) -> Mapping[str, Any]:
    """Return the item as it would be public; empty where the manifest has none."""
    return manifest.documents.get(f"{manifest.item}.json", {})


def box_of(manifest: Manifest) -> BBox | None:
    """Return where the data lie; None where the item does not say."""
    box = item_of(manifest).get("bbox")
    return BBox.from_list(box) if isinstance(box, list) and len(box) in (4, 6) else None


def row_count(manifest: Manifest) -> int | None:
    """Return how many rows its table has; None where it is none."""
    counted = item_of(manifest).get("properties", {}).get("table:row_count")
    return counted if isinstance(counted, int) else None


def statistics(manifest: Manifest) -> dict[str, Mapping[str, float]]:
    """Return what is told of the values of each band: minimum, maximum, mean, stddev, as far as it is."""
    found: dict[str, Mapping[str, float]] = {}
    for asset in item_of(manifest).get("assets", {}).values():
        for number, band in enumerate(asset.get(_BANDS) or (), 1):
            told = band.get("statistics") or {}
            numbers = {name: value for name, value in told.items() if isinstance(value, int | float)}
            if numbers:
                found.setdefault(str(band.get("name") or f"band {number}"), numbers)
    return found


# -- within ------------------------------------------------------------------------------------------------------------


def _of_objects(before: ManifestObject | None, after: ManifestObject | None) -> Difference:
    if before is None or after is None:
        return Difference.ADDED if before is None else Difference.REMOVED
    return Difference.SAME if before.sha256 == after.sha256 else Difference.CHANGED


def _said(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    item = item_of(manifest)
    yield from _flat("properties", item.get("properties", {}), leave_out=_PASSING | _NUMBERS | {_TABLE, _VARIABLES})
    for name, asset in item.get("assets", {}).items():
        # Addresses, sizes and digests are compared as objects.
        told = {key: value for key, value in asset.items() if key in ("title", "description", "roles", "type")}
        yield from _flat(f"assets.{name}", told)
    yield from _flat("collection", manifest.collection_document, leave_out=frozenset({"extent", "links"}))
    for target, document in manifest.documents.items():
        if target != f"{manifest.item}.json":
            yield target, document


def _flat(prefix: str, value: Any, *, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Yield the values within mappings by their dotted names; a list is one value."""
    for name, inner in value.items():
        if name in leave_out:
            continue
        if isinstance(inner, Mapping) and inner:
            yield from _flat(f"{prefix}.{name}", inner)
        else:
            yield f"{prefix}.{name}", inner


def _schema(manifest: Manifest) -> dict[str, str]:
    item = item_of(manifest)
    properties = item.get("properties", {})
    found = {str(one.get("name")): str(one.get("type") or "") for one in properties.get(_TABLE) or ()}
    for name, variable in (properties.get(_VARIABLES) or {}).items():
        axes = ", ".join(map(str, variable.get("dimensions") or ()))
        found[name] = " ".join(filter(None, (str(variable.get("unit") or ""), f"({axes})" if axes else "")))
    for asset in item.get("assets", {}).values():
        for number, band in enumerate(asset.get(_BANDS) or (), 1):
            kind = " ".join(str(band[key]) for key in ("data_type", "unit") if band.get(key))
            found[str(band.get("name") or f"band {number}")] = kind
    return found


def _what(before: Any, after: Any) -> Difference:
    if before is _ABSENT:
        return Difference.ADDED
    return Difference.REMOVED if after is _ABSENT else Difference.CHANGED


def _text(value: Any) -> str:
    if value is _ABSENT or value is None:
        return ""
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        text = ", ".join(map(str, value))
    else:
        import orjson

        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}…"
