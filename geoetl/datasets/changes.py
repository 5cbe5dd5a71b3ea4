"""What differs between two versions: how many rows were added, changed and removed, and which."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from geoetl.datasets.features import GEOMETRY, FeatureWriter
from geoetl.datasets.profile import keys_of
from geoetl.datasets.version import Changes, ItemProfile, Profile
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone

if TYPE_CHECKING:
    import pandas as pd

ADDED, UPDATED, DELETED = "added", "updated", "deleted"
# As many features as a person looks through, and a map shows.
MAX_LISTED = 10_000
_BATCH_ROWS = 65_536
_SCHEMA = pa.schema([("change", pa.string()), ("item", pa.string()), ("key", pa.string()), ("columns", pa.string())])


@dataclass(frozen=True)
class Comparison:
    """Compares versions of a dataset.

    Args:
        gate: Opens their data.
        zone: Where it is.
    """

    gate: Gate
    zone: Zone

    def changes(self, old: Profile | None, new: Profile, folder: Path, key: str, owner: str) -> Changes:
        """Return what differs, with the features put into the zone.

        Args:
            old: The live version; None for the first, all of which is added.
            new: What was made.
            folder: For the file on its way.
            key: Of the object that lists the features.
            owner: Of the object.
        """
        was = {item.item: item for item in old.items} if old else {}
        now = {item.item: item for item in new.items}
        found = [self._of_item(was.get(item), now.get(item)) for item in dict.fromkeys((*was, *now))]
        counted = Changes(
            added=sum(len(one.added) for one in found),
            updated=sum(len(one.updated) for one in found),
            deleted=sum(len(one.deleted) for one in found),
        )
        if old is None or not counted.is_any:
            return counted
        path = folder / "changes.parquet"
        lines: list[tuple[dict[str, str], bytes]] = []
        for one in found:
            lines += self._listed(one, MAX_LISTED - len(lines))
        with FeatureWriter(path, _SCHEMA) as writer:
            rows = pa.RecordBatch.from_pylist([row for row, _ in lines], schema=_SCHEMA)
            writer.write(rows, pa.array([shape for _, shape in lines], pa.binary()))
        try:
            stored = self.zone.put(path, key, owner=owner)
        finally:
            path.unlink()
        return counted.model_copy(update={"features": stored, "listed": len(lines)})

    def _of_item(self, was: ItemProfile | None, now: ItemProfile | None) -> "_Difference":
        before, after = self._digests(was), self._digests(now)
        both = before.index.intersection(after.index)
        same = before.loc[both].to_numpy() == after.loc[both].to_numpy()
        return _Difference(
            was,
            now,
            added=after.index.difference(before.index).tolist(),
            updated=both[~same].tolist(),
            deleted=before.index.difference(after.index).tolist(),
        )

    def _digests(self, item: ItemProfile | None) -> "pd.Series[Any]":
        """Return a digest by key; that of rows with one key together is one."""
        import pandas as pd

        if item is None:
            return pd.Series([], index=pd.Index([], dtype="str"), dtype="uint64")
        if item.index is None:
            return pd.Series([int(item.data.sha256[:16], 16)], index=pd.Index([item.item], dtype="str"), dtype="uint64")
        with self.gate.open_parquet(self.zone.local_path(item.index.key)) as file:
            table = file.read()
        frame = table.to_pandas()
        frame["key"] = frame["key"].fillna("")
        digests: pd.Series[Any] = frame.groupby("key", sort=False)["digest"].sum()
        return digests

    def _listed(self, one: "_Difference", room: int) -> Iterator[tuple[dict[str, str], bytes]]:
        if one.now is not None and room > 0:
            updated = set(one.updated[:room])
            added = set(one.added[: room - len(updated)])
            before = self._rows(one.was, updated) if one.was is not None else {}
            for key, (values, shape) in self._rows(one.now, updated | added).items():
                if key in added:
                    yield _line(ADDED, one.now, key, "", shape)
                else:
                    yield _line(UPDATED, one.now, key, _differing(before.get(key), (values, shape)), shape)
            room -= len(updated) + len(added)
        if one.was is not None and room > 0:
            for key, (_, shape) in self._rows(one.was, set(one.deleted[:room])).items():
                yield _line(DELETED, one.was, key, "", shape)

    def _rows(self, item: ItemProfile, keys: Iterable[str]) -> dict[str, tuple[dict[str, Any], bytes]]:
        """Return attributes and WKB of the first row of each key; of a raster, its box."""
        import shapely

        wanted = pa.array(sorted(keys), pa.string())
        if not len(wanted):
            return {}
        if item.index is None or item.key is None:
            return {item.item: ({"data": item.data.sha256}, shapely.to_wkb(shapely.box(*item.bbox)))}
        found: dict[str, tuple[dict[str, Any], bytes]] = {}
        with self.gate.open_geoparquet(self.zone.local_path(item.data.key)) as file:
            names = [name for name in file.schema_arrow.names if name in item.columns]
            for batch in file.iter_batches(_BATCH_ROWS, columns=[*names, GEOMETRY]):
                own = pc.fill_null(keys_of(batch.column(item.key)), "")
                for key, row in zip(*_taken(batch, own, wanted), strict=True):
                    shape = row.pop(GEOMETRY)
                    found.setdefault(key, (row, shape))
        return found


@dataclass(frozen=True)
class _Difference:
    was: ItemProfile | None
    now: ItemProfile | None
    added: list[str]
    updated: list[str]
    deleted: list[str]


def _taken(batch: pa.RecordBatch, own: pa.Array, wanted: pa.Array) -> tuple[list[str], list[dict[str, Any]]]:
    mask = pc.is_in(own, value_set=wanted)
    return own.filter(mask).to_pylist(), batch.filter(mask).to_pylist()


def _differing(was: tuple[dict[str, Any], bytes] | None, now: tuple[dict[str, Any], bytes]) -> str:
    """Return the names of what is not the same in two rows."""
    if was is None:
        return ""
    names = dict.fromkeys((*was[0], *now[0]))
    differing = [name for name in names if not _are_same(was[0].get(name), now[0].get(name))]
    return ", ".join([*differing, *(["geometry"] if was[1] != now[1] else [])])


def _are_same(was: Any, now: Any) -> bool:
    """Tell whether two values are the same; NaN is the same as NaN."""
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(_are_same, was, now))
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(_are_same(was[name], now[name]) for name in was)
    return bool(was == now or (was != was and now != now))


def _line(change: str, item: ItemProfile, key: str, columns: str, shape: bytes) -> tuple[dict[str, str], bytes]:
    return {"change": change, "item": item.item, "key": key, "columns": columns}, shape
