"""Attributes of every type that Parquet has: as columns that filters read, as strict JSON, and as JSON Schema.

Times without a zone count as UTC in filters, and are told without a zone.  Bytes are told in Base64.
"""

import base64
import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geoetl.core.selectors import DAY_US, Column

# Integers beyond are rounded by programs that keep numbers as doubles; they are told in full all the same.
_SCHEMAS: tuple[tuple[Any, Mapping[str, Any]], ...] = (
    (pa.types.is_boolean, {"type": "boolean"}),
    (pa.types.is_integer, {"type": "integer"}),
    (pa.types.is_floating, {"type": "number"}),
    (pa.types.is_decimal, {"type": "number"}),
    (pa.types.is_timestamp, {"type": "string", "format": "date-time"}),
    (pa.types.is_date, {"type": "string", "format": "date"}),
    (pa.types.is_time, {"type": "string", "format": "time"}),
)


def settled(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column is kept as: pyarrow 26 cannot take rows of views, nor sort numbers of 16 bits."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(settled(kind.value_type))
    return kind


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Tell whether a type holds bytes."""
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a type holds lists."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def is_temporal(kind: pa.DataType) -> bool:
    """Tell whether a type holds dates or times with their dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def is_sortable(kind: pa.DataType) -> bool:
    """Tell whether values of a type have an order."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_time)
    return any(test(kind) for test in tests) or is_temporal(kind) or is_text(kind)


def schema_of(kind: pa.DataType) -> dict[str, Any]:
    """Return the JSON Schema of a type's values."""
    if pa.types.is_dictionary(kind):
        return schema_of(kind.value_type)
    for test, schema in _SCHEMAS:
        if test(kind):
            return dict(schema)
    if is_bytes(kind):
        return {"type": "string", "contentEncoding": "base64"}
    if is_list(kind):
        return {"type": "array", "items": schema_of(kind.value_type)}
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return {"type": "object"}
    return {"type": "string"}


def decoded(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without the dictionary that it may be written with."""
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def column_of(array: pa.ChunkedArray) -> Column:
    """Return a column as filters read it; what has no order and no equal (structs, bytes) is only there or not."""
    array = decoded(array)
    kind, there = array.type, array.is_valid().to_numpy()
    if pa.types.is_boolean(kind):
        return Column.of("boolean", array.fill_null(False).to_numpy(), there)
    if pa.types.is_integer(kind):
        return Column.of("number", array.fill_null(0).to_numpy(), there)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Column.of("number", array.cast(pa.float64()).to_numpy(), there)
    if is_text(kind):
        return Column.of("text", array.to_numpy(), there)
    if pa.types.is_timestamp(kind):
        whole = array.cast(pa.int64()).fill_null(0).to_numpy()
        return Column.of("time", _microseconds(whole, kind.unit), there)
    if pa.types.is_date(kind):
        days = array.cast(pa.date32(), safe=False).cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64)
        return Column.of("time", days * DAY_US, there, days * DAY_US + DAY_US - 1)
    if pa.types.is_time(kind) or is_list(kind):
        values = np.empty(len(array), object)
        values[:] = plain_column(array)
        return Column.of("list" if is_list(kind) else "text", values, there)
    return Column(there, {})


def _microseconds(values: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    if unit == "ns":
        return values // 1000
    factor = {"s": 1_000_000, "ms": 1000, "us": 1}[unit]
    bound = (1 << 62) // factor
    return np.clip(values, -bound, bound) * factor


def plain_column(array: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as strict JSON has them."""
    array = decoded(array)
    kind = array.type
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64())
    if pa.types.is_floating(array.type):
        return list(pc.if_else(pc.is_finite(array), array, None).to_pylist())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or is_text(kind):
        return list(array.to_pylist())
    try:
        return [plain_value(value) for value in array.to_pylist()]
    except (ValueError, OverflowError):
        return [_plain_scalar(scalar) for scalar in array]


def _plain_scalar(scalar: Any) -> Any:
    """Return a value, None for a time outside of the years 1 to 9999, of which RFC 3339 has none."""
    try:
        return plain_value(scalar.as_py())
    except (ValueError, OverflowError):
        return None


def plain_value(value: Any) -> Any:
    """Return a value as strict JSON has it: None for what is missing, ISO 8601 for times, Base64 for bytes."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain_value(part) for name, part in value.items()}
    if hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat() if value == value else None  # NaT is not equal to itself
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    number = plain_number(value)
    return str(value) if number is None else number


def plain_number(value: Any) -> float | None:
    """Return a decimal within a list or struct as a finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
