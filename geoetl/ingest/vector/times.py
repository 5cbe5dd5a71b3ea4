"""When the features are of: what the times in one or two of their columns span."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geoetl.core.errors import InvalidParameter, did_you_mean
from geoetl.core.findings import Finding
from geoetl.core.temporal import utc_text
from geoetl.ingest.vector.repair import Tally

# Of the years that RFC 3339 can write; some libraries keep "no date" as a year outside.
_FIRST, _LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59", "us")
_SENTENCES = {
    "invalid_datetime": "{} features have a time that cannot be read; they do not count for the item's time.",
    "reversed_times": "{} features end before they begin; they do not count for the item's time.",
}


class Times:
    """Collects the first and the last time of features that pass by.

    Args:
        columns: Name of the column of times, or of those of beginning and end; both among `schema`.
        schema: The attributes.

    Raises:
        InvalidParameter: There is no such column, or it holds neither times nor text.
    """

    def __init__(self, columns: str, schema: pa.Schema) -> None:
        self._begin, _, self._end = columns.partition("/")
        for name in filter(None, (self._begin, self._end)):
            if name not in schema.names:
                raise InvalidParameter(
                    f"There is no column '{name[:60]}'.",
                    hint=did_you_mean(name, schema.names),
                    field="temporal_property",
                )
            kind = schema.field(name).type
            if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_string(kind)):
                raise InvalidParameter(
                    f"The column '{name}' holds {kind}, not times.",
                    hint="Take one with dates or ISO 8601 texts.",
                    field="temporal_property",
                )
        self._tallies = {code: Tally() for code in _SENTENCES}
        self._first: np.datetime64 | None = None
        self._last: np.datetime64 | None = None

    def add(self, attributes: pa.RecordBatch, rows: NDArray[np.int64]) -> None:
        """Look at some features, whose numbers in the source are `rows`."""
        begins, wrong = _instants(attributes.column(self._begin))
        ends = begins
        if self._end:
            ends, wrong_end = _instants(attributes.column(self._end))
            wrong |= wrong_end
        reversed_ = ends < begins
        self._tallies["invalid_datetime"].add(rows[wrong])
        self._tallies["reversed_times"].add(rows[reversed_])
        for times, pick in ((begins, np.min), (ends, np.max)):
            right = times[~np.isnat(times) & ~reversed_]
            if len(right):
                found = pick(right)
                self._first = found if self._first is None else min(self._first, found)
                self._last = found if self._last is None else max(self._last, found)

    def interval(self) -> tuple[str, str]:
        """Return the first and the last time, RFC 3339.

        Raises:
            InvalidParameter: No feature has one.
        """
        if self._first is None or self._last is None:
            raise InvalidParameter(
                f"No feature has a time in '{self._begin}'.",
                hint="Take another column, or give valid_at.",
                field="temporal_property",
            )
        first, last = (_utc(at) for at in (self._first, self._last))
        return first, last

    def findings(self) -> list[Finding]:
        """Return which features have no right time."""
        return [tally.finding(code, _SENTENCES[code]) for code, tally in self._tallies.items() if tally.count]


def _utc(at: np.datetime64) -> str:
    moment: datetime = at.astype("datetime64[us]").item()
    return utc_text(moment.replace(tzinfo=UTC))


def _instants(column: Any) -> tuple[NDArray[np.datetime64], NDArray[np.bool_]]:
    """Return times in UTC, NaT where there is none, and which of them are there but wrong."""
    import pandas as pd

    there = np.asarray(column.is_valid())
    if pa.types.is_string(column.type):
        parsed = pd.to_datetime(
            pd.Series(column.to_pylist(), dtype=object), errors="coerce", utc=True, format="ISO8601"
        )
        times = parsed.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
        there &= ~np.asarray(pc.equal(pc.fill_null(column, ""), ""))
    else:
        # A time without a zone counts as UTC; one with a zone is kept in UTC by Arrow.
        plain = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.timestamp("us"))
        times = plain.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    with np.errstate(invalid="ignore"):
        outside = ~np.isnat(times) & ((times < _FIRST) | (times > _LAST))
    times = np.where(outside, np.datetime64("NaT", "us"), times)
    return times, there & np.isnat(times)
