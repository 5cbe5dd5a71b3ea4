"""What features are equal in: a number for each row, the same for rows of the same content."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Up to here a double holds every whole number.
_LARGEST_EXACT = 2.0**53

Digests = NDArray[np.uint64]


def digests(attributes: pa.RecordBatch | pa.Table, geometry: NDArray[Any]) -> Digests:
    """Return a number of 64 bits for each row; of two million rows two different ones share one in 10^7 files.

    Args:
        attributes: Their values count, not their order or the width of their numbers.
        geometry: WKB of each: array (row).
    """
    from pandas.util import hash_array

    total = hash_array(geometry, categorize=False)
    for name in sorted(attributes.schema.names):
        values = _plain(attributes.column(name))
        there = np.asarray(values.is_valid())
        salt = np.uint64(hash_array(np.array([name], object))[0] | np.uint64(1))
        if pa.types.is_string(values.type):
            encoded = values.dictionary_encode()
            unique = hash_array(np.asarray(encoded.dictionary.to_pylist(), object), categorize=False)
            codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
            hashed = unique[codes] if len(unique) else np.zeros(len(values), np.uint64)
        else:
            hashed = _of_numbers(values.fill_null(0).to_numpy(zero_copy_only=False))
        # Missing values add nothing, so that a column that a later file has is no difference where it is empty.
        total = total + np.where(there, hashed * salt, np.uint64(0))
    return np.asarray(total, np.uint64)


def repeated(found: Digests) -> NDArray[np.int64]:
    """Return the rows whose content an earlier one has: array, ascending."""
    order = np.argsort(found, kind="stable")
    same = np.flatnonzero(found[order][1:] == found[order][:-1]) + 1
    return np.sort(order[same]).astype(np.int64)


def _of_numbers(values: NDArray[Any]) -> Digests:
    """Return a digest of each number; a whole one has the same as a double, which a column with gaps is read as."""
    from pandas.util import hash_array

    if values.dtype.kind != "f":
        return np.asarray(hash_array(values), np.uint64)
    whole = (values == np.rint(values)) & (np.abs(values) <= _LARGEST_EXACT)
    as_whole = hash_array(np.where(whole, values, 0).astype(np.int64))
    return np.asarray(np.where(whole, as_whole, hash_array(values)), np.uint64)


def _plain(column: Any) -> Any:
    """Return values as whole numbers, doubles or text."""
    kind = column.type
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and kind != pa.uint64()):
        return whole.cast(pa.int64())
    if pa.types.is_floating(kind):
        return whole.cast(pa.float64())
    if pa.types.is_string(kind):
        return whole
    return pa.array([None if value is None else str(value) for value in whole.to_pylist()], pa.string())
