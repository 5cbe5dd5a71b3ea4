"""Which features differ between two GeoParquet files: by a key where they have one, else by geometry and attributes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dashboards.datasets.differing import Differing, differing
from geoetl.core import content
from geoetl.core.errors import LimitExceeded, UnreadableFile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from geoetl.store.gate import Gate

# Rows of each file that are compared; two million take about five seconds and 200 MB.
MAX_ROWS = 2_000_000
# As many features as a person looks through, and a map shows.
MAX_LISTED = 5_000
GEOMETRY = "geometry"
# Derived from the geometry by the writer.
_COVERING = "bbox"
_BATCH_ROWS = 65_536
# Columns that are tried as a key, and the share of the shorter file that has to be found in the other by it.
_MAX_KEYS, _KEY_SHARE = 24, 0.5
_NAMES = ("name", "title", "label", "id")

Places = NDArray[np.int64]


@dataclass(frozen=True)
class RowChanges:
    """What differs between the features of two files.

    Attributes:
        key: The column by which features are told apart; empty where they have none.
        added, updated, deleted: How many.
        differing: The first `MAX_LISTED` of them.
    """

    key: str
    added: int
    updated: int
    deleted: int
    differing: Differing

    @property
    def total(self) -> int:
        """How many features differ."""
        return self.added + self.updated + self.deleted


def row_changes(gate: "Gate", old: Path, new: Path, item: str) -> RowChanges:
    """Compare the features of two files.

    Args:
        gate: Opens them.
        old: What is public.
        new: What would become public.
        item: That they belong to.

    Raises:
        LimitExceeded: One has too many rows.
        GeoetlError: One cannot be read.
    """
    was, now = _read(gate, old), _read(gate, new)
    key = _key(was, now)
    matched = _by_key(was, now, key) if key else _by_content(was, now)
    frame = _listed(gate, (old, was), (new, now), matched, key, item)
    counts = len(matched.added), len(matched.updated_new), len(matched.deleted)
    return RowChanges(key, *counts, differing(frame))


@dataclass(frozen=True)
class _Side:
    """Digests of each row of a file; keys are the values of columns that may tell rows apart."""

    geometry: NDArray[np.uint64]
    attributes: NDArray[np.uint64]
    rows: NDArray[np.uint64]
    keys: dict[str, Any]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Matched:
    """Places of rows: new ones, changed ones (in both files, in the same order), and those that are gone."""

    added: Places
    updated_old: Places
    updated_new: Places
    deleted: Places


def _read(gate: "Gate", path: Path) -> _Side:
    with gate.open_geoparquet(path) as file:
        count = file.metadata.num_rows
        if count > MAX_ROWS:
            raise LimitExceeded(
                f"There are {count:,} rows; up to {MAX_ROWS:,} are compared one by one.",
                hint="Compare the numbers and the objects instead.",
            )
        names = _attributes(file)
        geometry, attributes, rows = [], [], []
        columns: dict[str, list[Any]] = {name: [] for name in _possible_keys(file, names)}
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*names, GEOMETRY]):
            shapes = batch.column(GEOMETRY).to_numpy(zero_copy_only=False)
            nothing = np.full(len(shapes), b"", object)
            geometry.append(content.digests(batch.select([]), shapes))
            attributes.append(content.digests(batch.select(names), nothing))
            rows.append(content.digests(batch.select(names), shapes))
            for name, parts in columns.items():
                parts.append(batch.column(name))
    return _Side(
        _joined(geometry),
        _joined(attributes),
        _joined(rows),
        {name: found for name, parts in columns.items() if (found := _unique(parts)) is not None},
        tuple(names),
    )


def _attributes(file: "pq.ParquetFile") -> list[str]:
    names = list(file.schema_arrow.names)
    if GEOMETRY not in names:
        raise UnreadableFile(f"The features have no column '{GEOMETRY}'.", hint="Compare the objects instead.")
    return [name for name in names if name not in (GEOMETRY, _COVERING)]


def _possible_keys(file: "pq.ParquetFile", names: Iterable[str]) -> list[str]:
    import pyarrow as pa

    kinds = {name: file.schema_arrow.field(name).type for name in names}
    may_tell_apart = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    return [name for name, kind in kinds.items() if any(is_one(kind) for is_one in may_tell_apart)][:_MAX_KEYS]


def _unique(parts: "list[pa.Array]") -> Any:
    """Return the values as text, where each row has one of its own; else None."""
    import pandas as pd
    import pyarrow as pa

    column = pa.chunked_array(parts) if parts else None
    if column is None or column.null_count or len(column.unique()) != len(column):
        return None
    return pd.Index(column.cast(pa.string()).to_pandas())


def _key(was: _Side, now: _Side) -> str:
    """Return the column that finds most rows again; of several the one that is named like a key, then the first."""
    shared = {name: was.keys[name].intersection(now.keys[name]) for name in was.keys if name in now.keys}
    enough = _KEY_SHARE * min(len(was.rows), len(now.rows))
    found = [name for name, both in shared.items() if len(both) >= max(enough, 1)]
    return max(found, key=lambda name: (len(shared[name]), _is_key_like(name)), default="")


def _is_key_like(name: str) -> bool:
    words = name.lower().replace("-", "_").split("_")
    return any(word in ("id", "fid", "uid", "uuid", "key", "code", "gid", "iso") for word in words)


def _by_key(was: _Side, now: _Side, key: str) -> _Matched:
    before, after = was.keys[key], now.keys[key]
    places = after.get_indexer(before)
    old = np.flatnonzero(places >= 0)
    new = places[old]
    changed = was.rows[old] != now.rows[new]
    deleted = np.flatnonzero(places < 0)
    return _Matched(_others(len(after), new), old[changed], new[changed], deleted)


def _by_content(was: _Side, now: _Side) -> _Matched:
    """Match equal rows, then those of one geometry, then those of one set of attributes."""
    same_old, same_new = _pairs(was.rows, now.rows)
    rest_old, rest_new = _others(len(was.rows), same_old), _others(len(now.rows), same_new)
    updated: list[tuple[Places, Places]] = []
    for before, after in ((was.geometry, now.geometry), (was.attributes, now.attributes)):
        left, right = _pairs(before[rest_old], after[rest_new])
        updated.append((rest_old[left], rest_new[right]))
        rest_old, rest_new = np.delete(rest_old, left), np.delete(rest_new, right)
    olds, news = zip(*updated, strict=True)
    return _Matched(rest_new, np.concatenate(olds), np.concatenate(news), rest_old)


def _pairs(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> tuple[Places, Places]:
    """Return the places of equal digests, each used once."""
    _, left, right = np.intersect1d(_numbered(before), _numbered(after), assume_unique=True, return_indices=True)
    return left, right


def _numbered(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return digests in which the second, third, … of the same value is another one."""
    import pandas as pd

    place = pd.Series(digests).groupby(digests, sort=False).cumcount().to_numpy(np.uint64)
    return np.asarray(digests + place * np.uint64(0x9E3779B97F4A7C15), np.uint64)


def _others(count: int, places: Places) -> Places:
    rest = np.ones(count, bool)
    rest[places] = False
    return np.flatnonzero(rest)


def _joined(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


# -- those that are listed ---------------------------------------------------------------------------------------------


def _listed(
    gate: "Gate", old: tuple[Path, _Side], new: tuple[Path, _Side], matched: _Matched, key: str, item: str
) -> Any:
    import geopandas as gpd

    deleted = matched.deleted[:MAX_LISTED]
    room = MAX_LISTED - len(deleted)
    updated_old, updated_new = matched.updated_old[:room], matched.updated_new[:room]
    added = matched.added[: room - len(updated_new)]
    before = _taken(gate, old[0], old[1].columns, np.concatenate([deleted, updated_old]))
    after = _taken(gate, new[0], new[1].columns, np.concatenate([added, updated_new]))
    lines = [("deleted", before[place], "") for place in deleted.tolist()]
    for was, now in zip(updated_old.tolist(), updated_new.tolist(), strict=True):
        lines.append(("updated", after[now], _names_of_differing(before[was], after[now])))
    lines += [("added", after[place], "") for place in added.tolist()]
    return gpd.GeoDataFrame(
        {
            "change": [change for change, _, _ in lines],
            "item": item,
            "key": [_title(row, key) for _, row, _ in lines],
            "columns": [columns for _, _, columns in lines],
        },
        geometry=gpd.GeoSeries.from_wkb([row[GEOMETRY] for _, row, _ in lines]),
        crs=4326,
    )


def _taken(gate: "Gate", path: Path, columns: tuple[str, ...], places: Places) -> dict[int, dict[str, Any]]:
    """Return rows by their place in the file."""
    wanted, start = np.sort(places), 0
    found: dict[int, dict[str, Any]] = {}
    if not len(wanted):
        return found
    with gate.open_geoparquet(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*columns, GEOMETRY]):
            here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
            if len(here):
                rows = batch.take(here - start).to_pylist()
                found.update(zip(here.tolist(), rows, strict=True))
            start += batch.num_rows
    return found


def _names_of_differing(was: dict[str, Any], now: dict[str, Any]) -> str:
    """Return what differs in two rows: a column that only one has differs where it is not empty."""
    names = [name for name in dict.fromkeys((*now, *was)) if name != GEOMETRY]
    differing = [name for name in names if not _are_same(was.get(name), now.get(name))]
    shape = [GEOMETRY] if was[GEOMETRY] != now[GEOMETRY] else []
    return ", ".join([*differing, *shape])


def _are_same(was: Any, now: Any) -> bool:
    """Tell whether two values are the same; NaN is the same as NaN."""
    return bool(was == now or (was != was and now != now))


def _title(row: dict[str, Any], key: str) -> str:
    """Return what a feature is called: its key, else its name, else the first text in it."""
    if key:
        return str(row[key])
    named = {name.lower(): value for name, value in row.items() if isinstance(value, str | int) and value != ""}
    for name in _NAMES:
        if name in named:
            return str(named[name])
    return str(next((value for value in named.values() if isinstance(value, str)), ""))
