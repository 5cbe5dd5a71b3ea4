"""The 31 columns of events, with their types, made of rows whose values may come as numbers or as text.

Source: ACLED Codebook, https://acleddata.com/methodology/acled-codebook
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geoetl.datasets.handlers.acled.api import KEY, Row
from geoetl.datasets.handlers.acled.style import EVENT_DATE, EVENT_TYPE, FATALITIES
from geoetl.datasets.handlers.acled.sync import TIMESTAMP

LATITUDE, LONGITUDE = "latitude", "longitude"
SCHEMA = pa.schema(
    [
        pa.field(KEY, pa.string()),
        pa.field(EVENT_DATE, pa.date32()),
        pa.field("year", pa.int32()),
        pa.field("time_precision", pa.int32()),
        pa.field("disorder_type", pa.string()),
        pa.field(EVENT_TYPE, pa.string()),
        pa.field("sub_event_type", pa.string()),
        pa.field("actor1", pa.string()),
        pa.field("assoc_actor_1", pa.string()),
        # The next one, `inter2` and `interaction` were numbers until 2024.
        pa.field("inter1", pa.string()),
        pa.field("actor2", pa.string()),
        pa.field("assoc_actor_2", pa.string()),
        pa.field("inter2", pa.string()),
        pa.field("interaction", pa.string()),
        pa.field("civilian_targeting", pa.string()),
        pa.field("iso", pa.int32()),
        pa.field("region", pa.string()),
        pa.field("country", pa.string()),
        pa.field("admin1", pa.string()),
        pa.field("admin2", pa.string()),
        pa.field("admin3", pa.string()),
        pa.field("location", pa.string()),
        pa.field(LATITUDE, pa.float64()),
        pa.field(LONGITUDE, pa.float64()),
        pa.field("geo_precision", pa.int32()),
        pa.field("source", pa.string()),
        pa.field("source_scale", pa.string()),
        pa.field("notes", pa.string()),
        pa.field(FATALITIES, pa.int32()),
        pa.field("tags", pa.string()),
        pa.field(TIMESTAMP, pa.timestamp("ms", "UTC")),  # Parquet has no seconds
    ]
)
# Without these there are no events to show.
NEEDED = (KEY, LATITUDE, LONGITUDE, TIMESTAMP)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
# ACLED's are of 4 to 12; a longer one is no key.
MAX_KEY = 64
# Year 10000, Unix seconds: what comes after cannot be written as a date.
_END_S = 253_402_300_800


class Columns:
    """Makes columns of rows, and counts what did not fit.

    Attributes:
        wrong: Values that are there and have not the type of their column, by name of the column.
        missing: Columns that no row had so far.
        unknown: Columns of the source that are none of ours.
    """

    def __init__(self) -> None:
        self.wrong: Counter[str] = Counter()
        self.missing = set(SCHEMA.names)
        self.unknown: set[str] = set()
        self._days: dict[str, date | None] = {}

    def of(self, rows: Sequence[Row]) -> pa.RecordBatch:
        """Return rows as columns; what has not the type of its column is null."""
        names = set[str]().union(*rows)
        self.missing -= names
        self.unknown |= names.difference(SCHEMA.names)
        columns = zip(*_values(rows), strict=True)
        made = [self._column(field, values) for field, values in zip(SCHEMA, columns, strict=True)]
        return pa.RecordBatch.from_arrays(made, schema=SCHEMA)

    def _column(self, field: pa.Field, values: Sequence[Any]) -> pa.Array:
        kind = field.type
        if pa.types.is_string(kind):
            return _texts(values)
        if pa.types.is_date(kind):
            made = pa.array([self._day(value) for value in values], kind)
        elif pa.types.is_timestamp(kind):
            made = pc.multiply(_whole(_floats(values), 0, _END_S).cast(pa.int64()), 1000).cast(kind)
        elif pa.types.is_integer(kind):
            made = _whole(_floats(values), -(2**31), 2**31).cast(kind)
        else:
            made = _floats(values)
        self._count(field.name, values, made)
        return made

    def _count(self, name: str, values: Sequence[Any], made: pa.Array) -> None:
        if made.null_count:
            given = sum(value is not None and str(value).strip() != "" for value in values)
            self.wrong[name] += max(0, given - (len(made) - made.null_count))

    def _day(self, value: Any) -> date | None:
        """Return a day; of the 11,000 that there are, each is read once."""
        text = value[:10] if isinstance(value, str) else ""
        if text not in self._days:
            try:
                self._days[text] = date.fromisoformat(text) if len(text) == 10 else None
            except ValueError:
                self._days[text] = None
        return self._days[text]


def places(batch: pa.RecordBatch) -> pa.Array:
    """Return points as WKB, longitude and latitude; null where they are none on Earth."""
    longitude, latitude = (
        batch.column(name).to_numpy(zero_copy_only=False).astype(float) for name in (LONGITUDE, LATITUDE)
    )
    is_there = (np.abs(longitude) <= 180) & (np.abs(latitude) <= 90)  # false for NaN
    shapes = np.full(len(is_there), None, object)
    shapes[is_there] = shapely.points(longitude[is_there], latitude[is_there])
    return pa.array(shapely.to_wkb(shapes, include_srid=False), pa.binary())


def _values(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """Return the values of each row, in the order of the columns; None for one that it lacks."""
    try:
        # In C, several times as fast as asking each row for each of its columns.
        return iter(list(map(itemgetter(*SCHEMA.names), rows)))
    except KeyError:
        return (tuple(row.get(name) for name in SCHEMA.names) for row in rows)


def _texts(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    # Half of a surrogate pair is no character.
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _whole(numbers: pa.Array, least: int, end: int) -> pa.Array:
    """Return numbers that are whole, from `least` on and before `end`; null for others."""
    is_inside = pc.and_(pc.greater_equal(numbers, least), pc.less(numbers, end))
    is_right = pc.and_(pc.equal(pc.floor(numbers), numbers), is_inside)
    return pc.if_else(is_right, numbers, pa.scalar(None, pa.float64()))


def _floats(values: Sequence[Any]) -> pa.Array:
    """Return numbers; null for what is none, and for infinity, which JSON has as a number that is too large."""
    try:
        texts = pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        texts = _texts([_plain(value) for value in values])
    texts = pc.utf8_trim_whitespace(texts)
    is_number = pc.match_substring_regex(texts, _NUMBER)
    numbers = pc.if_else(is_number, texts, pa.scalar(None, pa.string())).cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _plain(value: Any) -> str | None:
    return None if value is None or isinstance(value, bool) else str(value)
