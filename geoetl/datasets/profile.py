"""What an item of a version is like, and which of its rows is which: what the next version is compared with."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoetl.core import content
from geoetl.core.errors import InvalidParameter
from geoetl.datasets.features import GEOMETRY
from geoetl.datasets.protocol import Loaded
from geoetl.datasets.release import PreparedVector
from geoetl.datasets.version import ItemProfile
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone

# Derived from the geometry by the writer.
_COVERING = "bbox"
_BATCH_ROWS = 65_536
# Up to here a double holds every whole number.
_LARGEST_EXACT = 2.0**53


def profile_of_raster(loaded: Loaded) -> ItemProfile:
    """Return what a raster is like; as a whole it is one row."""
    return ItemProfile(
        item=loaded.item["id"], rows=1, rows_read=1, bbox=loaded.bbox, columns=loaded.columns, data=loaded.data
    )


def profile_of_features(
    loaded: Loaded, prepared: PreparedVector, gate: Gate, zone: Zone, folder: Path, owner: str
) -> ItemProfile:
    """Return what features are like, with their index put into the zone.

    Args:
        loaded: The item.
        prepared: What it was made of: the name of its key.
        gate: Opens the data.
        zone: Where the data is, and the index goes.
        folder: For the index on its way.
        owner: Of the objects.

    Raises:
        InvalidParameter: The key is no column of it.
    """
    key, stored = prepared.key, loaded.data
    keys, digests = [], []
    with gate.open_geoparquet(zone.local_path(stored.key)) as file:
        names = [name for name in file.schema_arrow.names if name not in (GEOMETRY, _COVERING)]
        if key not in names:
            raise InvalidParameter(f"The features have no column '{key}' to tell them apart by.", field="key")
        if not _tells_apart(type_of := file.schema_arrow.field(key).type):
            raise InvalidParameter(
                f"The column '{key}' holds {type_of}; features are told apart by texts, numbers or times.", field="key"
            )
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*names, GEOMETRY]):
            shapes = batch.column(GEOMETRY).to_numpy(zero_copy_only=False)
            keys.append(keys_of(batch.column(key)))
            digests.append(content.digests(batch.select(names), shapes))
    index = pa.table({"key": pa.chunked_array(keys), "digest": np.concatenate(digests)}).sort_by("key")
    path = folder / "index.parquet"
    pq.write_table(index, path, compression="zstd")
    distinct = len(index.column("key").unique())
    try:
        put = zone.put(path, stored.key.removesuffix(".parquet") + "-index.parquet", owner=owner)
    finally:
        path.unlink()
    return ItemProfile(
        item=loaded.item["id"],
        rows=loaded.rows,
        rows_read=loaded.rows_read,
        invalid=loaded.invalid,
        repeated_keys=len(index) - distinct,
        bbox=loaded.bbox,
        columns=loaded.columns,
        geometry_types=loaded.geometry_types,
        index=put,
        data=stored,
        key=key,
    )


def keys_of(column: pa.Array) -> pa.Array:
    """Return the values of a key as text; the same for a whole number and for a double of that value."""
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            if bool(np.all(np.isnan(values) | ((values == np.rint(values)) & (np.abs(values) <= _LARGEST_EXACT)))):
                column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64())
    return column.cast(pa.string())


def _tells_apart(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
