"""What is new into what is there: of each event the newest form, without those that were deleted.

In memory are the keys and times of what is new; the rows wait in a file, and those of the live version pass by.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geoetl.core.errors import UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.datasets.handlers.acled.api import KEY, Row
from geoetl.datasets.handlers.acled.events import MAX_KEY, NEEDED, SCHEMA, Columns
from geoetl.datasets.handlers.acled.sync import DELETED, TIMESTAMP, seconds_of

Keys = NDArray[np.bytes_]
_NEVER = np.iinfo(np.int64).min


class Arrivals:
    """Events that came, in a file of Arrow batches.

    Args:
        path: The file.

    Attributes:
        columns: What did not fit.
        keyless: Rows without a key.
        repeated: Rows that a newer one of the same event is there for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.columns = Columns()
        self.keyless = 0
        self.repeated = 0
        self._keys: list[Keys] = []
        self._times: list[NDArray[np.int64]] = []
        self._sorted: Keys = np.array([], "S1")
        self._newest: list[NDArray[np.bool_]] = []

    @classmethod
    def of(cls, pages: Iterable[Sequence[Row]], path: Path) -> Self:
        """Write the rows of all pages.

        Raises:
            UnreadableFile: No row has one of the columns without which there are no events.
        """
        made = cls(path)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA, options=options) as writer:
            for rows in pages:
                if rows:
                    made._add(rows, writer)
        missing = [name for name in NEEDED if name in made.columns.missing]
        if made._keys and missing:
            raise UnreadableFile(
                f"ACLED's events have no column {' and '.join(missing)} any more.",
                hint="ACLED seems to have changed its columns; the live version keeps being served.",
                field=missing[0],
            )
        made._choose()
        return made

    def _add(self, rows: Sequence[Row], writer: Any) -> None:
        batch = self.columns.of(rows)
        length = pc.binary_length(batch.column(KEY)).fill_null(0)
        usable = pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_KEY))
        if usable.false_count:
            self.keyless += usable.false_count
            batch = batch.filter(usable)
        writer.write_batch(batch)
        self._keys.append(keys_of(batch))
        self._times.append(_times_of(batch))

    def _choose(self) -> None:
        """Find the newest row of each event; of two of the same second, the one that came later."""
        if not self._keys:
            return
        keys, times = np.concatenate(self._keys), np.concatenate(self._times)
        ends = np.cumsum([len(part) for part in self._keys])
        self._keys.clear()
        self._times.clear()
        order = np.lexsort((times, keys))
        ordered = keys[order]
        is_last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.array([], bool)
        newest = np.zeros(len(keys), bool)
        newest[order[is_last]] = True
        self._sorted = ordered[is_last]
        self.repeated = len(keys) - len(self._sorted)
        self._newest = np.split(newest, ends[:-1])

    @property
    def schema(self) -> pa.Schema:
        """The columns that the source has now; all of them where nothing came."""
        missing = self.columns.missing if len(self._sorted) else ()
        return pa.schema([field for field in SCHEMA if field.name not in missing])

    def findings(self) -> Iterator[Finding]:
        """Say what did not fit."""
        if self.keyless:
            yield _noticed("rows_without_key", f"{self.keyless:,} rows have no usable '{KEY}' and were left out.")
        if self.repeated:
            yield _noticed("rows_repeated", f"{self.repeated:,} rows were left out for newer ones of the same event.")
        for name, count in sorted(self.columns.wrong.items()):
            if count:
                told = f"{count:,} values of '{name}' are not what that column holds and were left empty."
                yield _noticed("wrong_values", told)
        if unknown := sorted(self.columns.unknown):
            names = ", ".join(unknown)[:200]
            yield _noticed("unknown_columns", f"ACLED has columns that are not known here and were left out: {names}.")

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell of each key whether that event came."""
        return _is_in(keys, self._sorted)[0]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the newest row of each event."""
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as reader:
            for number, newest in enumerate(self._newest):
                yield reader.get_batch(number).filter(pa.array(newest))


class Deletions:
    """When which events were deleted, the last time each.

    Args:
        pages: Rows of the source.
    """

    def __init__(self, pages: Iterable[Sequence[Row]]) -> None:
        last: dict[bytes, int] = {}
        for rows in pages:
            for row in rows:
                key, at = str(row.get(KEY)).encode("utf-8", "replace"), seconds_of(row.get(DELETED))
                # Without a time it is taken at its word: events that are there come with the others.
                last[key] = max(last.get(key, _NEVER), np.iinfo(np.int64).max if at is None else at)
        known = sorted(last)
        self._keys = np.array(known, np.bytes_)
        self._times = np.array([last[key] for key in known], np.int64)

    def hit(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Tell of each event whether it was deleted since it got its form."""
        found, at = _is_in(keys_of(batch), self._keys)
        hit = found.copy()
        hit[found] = self._times[at[found]] >= _times_of(batch)[found]
        return hit


def merged(
    live: Iterable[pa.RecordBatch], arrivals: Arrivals, deletions: Deletions
) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """Return the events of the live version that stay as they are, and then those that came.

    What came is there, whatever was deleted before.

    Returns:
        Batches of `SCHEMA`, and whether they came.
    """
    for batch in live:
        stays = ~(arrivals.has(keys_of(batch)) | deletions.hit(batch))
        yield batch if stays.all() else batch.filter(pa.array(stays)), False
    for batch in arrivals.batches():
        yield batch, True


def keys_of(batch: pa.RecordBatch) -> Keys:
    """Return keys as bytes in UTF-8."""
    return np.array(batch.column(KEY).cast(pa.binary()).to_pylist(), np.bytes_)


def _times_of(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Return timestamps in seconds; before all others where there is none."""
    moments = batch.column(TIMESTAMP)
    seconds = moments.cast(pa.timestamp("s", "UTC")).cast(pa.int64()).fill_null(_NEVER)
    return np.asarray(seconds.to_numpy(zero_copy_only=False))


def _is_in(keys: Keys, known: Keys) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Tell of each key whether it is among the sorted ones, and where."""
    if not len(known):
        return np.zeros(len(keys), bool), np.zeros(len(keys), np.intp)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return known[at] == keys, at


def _noticed(code: str, message: str) -> Finding:
    return Finding(severity=Severity.WARNING, code=code, message=message)
