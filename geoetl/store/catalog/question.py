"""What every back end makes of a search before it becomes SQL: intervals, regions, the order, and what is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from geoetl.core.errors import InputError, InvalidParameter, NotFound, did_you_mean
from geoetl.store.catalog import cql2
from geoetl.store.catalog.footprint import BadGeometry, Region, region_of_bbox, region_of_geometry
from geoetl.store.catalog.predicates import BEGINNING_US, END_US, Dialect, Operand, property_operand
from geoetl.store.catalog.protocol import Search, SortField

NEWEST_FIRST = (SortField(field="datetime", direction="desc"),)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Key:
    """One key of an order in SQL; what lacks it comes last, whichever the direction."""

    sql: str
    descending: bool
    nullable: bool


def order(keys: Sequence[Key]) -> str:
    """Return the keys as the list of ``order by``."""
    return ", ".join(
        f"{key.sql} {'desc' if key.descending else 'asc'}{' nulls last' if key.nullable else ''}" for key in keys
    )


def after(keys: Sequence[Key], values: Sequence[str | None]) -> str:
    """Return the condition that an item comes after these values (SQL, None where it lacks the key) of the keys."""
    directions = {key.descending for key in keys}
    if len(directions) == 1 and not any(key.nullable for key in keys):
        columns = ", ".join(key.sql for key in keys)
        return f"({columns}) {'<' if directions == {True} else '>'} ({', '.join(map(str, values))})"
    ways = []
    equal: list[str] = []
    for key, value in zip(keys, values, strict=True):
        if value is not None:
            beyond = f"{key.sql} {'<' if key.descending else '>'} {value}"
            ways.append(" and ".join([*equal, f"({beyond} or {key.sql} is null)" if key.nullable else f"({beyond})"]))
        equal.append(f"{key.sql} is null" if value is None else f"{key.sql} = {value}")
    return f"({' or '.join(ways)})"


def sort_operand(key: SortField, dialect: Dialect) -> Operand:
    """Return what a key of the order sorts by.

    Raises:
        InvalidParameter: It has no order, or is no name of a property.
    """
    try:
        return property_operand(cql2.check_property_name(key.field), dialect)
    except InputError as error:
        raise InvalidParameter(
            f"Cannot sort by '{key.field}': {error.detail}", hint=error.hint, field="sortby"
        ) from None


def regions_of(search: Search) -> list[Region]:
    """Return the regions that the search's own parts name, every one of which an item must touch.

    Raises:
        InvalidParameter: The geometry cannot be searched with.
    """
    regions = [region_of_bbox(search.bbox)] if search.bbox else []
    if search.intersects is not None:
        try:
            regions.append(region_of_geometry(search.intersects))
        except BadGeometry as error:
            raise InvalidParameter(
                f"The geometry cannot be searched with: {error}.",
                hint="Give a GeoJSON geometry in longitude, latitude (degrees, WGS 84).",
                field="intersects",
            ) from None
    return regions


def interval_us(search: Search) -> tuple[int, int] | None:
    """Return the first and last microsecond since 1970 UTC of the search's interval; None where it has no end."""
    interval = search.interval
    if interval is None or (interval.start is None and interval.end is None):
        return None
    ends = []
    for moment, open_end in ((interval.start, BEGINNING_US), (interval.end, END_US)):
        aware = moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
        ends.append(open_end if aware is None else (aware - _EPOCH) // _MICROSECOND)
    return ends[0], ends[1]


def no_collection(collection_id: str, names: Iterable[str]) -> NotFound:
    """Return the error for a collection that is not among `names`."""
    return NotFound(
        f"There is no collection '{collection_id}'.",
        hint=did_you_mean(collection_id, names) or "The catalogue is empty: add a collection first.",
        field="collection",
    )


def no_item(collection_id: str, item_id: str, neighbours: Iterable[str]) -> NotFound:
    """Return the error for an item that the collection has not; `neighbours` are ids near it."""
    guess = did_you_mean(item_id, neighbours)
    return NotFound(
        f"The collection '{collection_id}' has no item '{item_id}'.",
        hint=guess if guess.startswith("Did") else "List its items with a search.",
        field="item",
    )


def plain_text(text: str) -> str:
    """Return a text that can be asked for; one with halves of surrogate pairs becomes another, which is not there."""
    return text.encode(errors="replace").decode()
