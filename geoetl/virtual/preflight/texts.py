"""How arrays and their attributes are told in a sentence, and when two attributes mean the same."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from geoetl.virtual.header import MEANING, ArrayHeader, Layout

# Types of numbers, to which references can point.
REFERABLE = "iuf"
_FILLS = ("_FillValue", "missing_value")

# What is compared, by code; attributes by their names.
Form = dict[str, Hashable]


def attribute_key(value: Any, name: str, dtype: "np.dtype[Any]") -> Hashable:
    """Return what is equal for values that mean the same: NaN is NaN, a fill value is what `dtype` holds of it."""
    if value is None:
        return None
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.dtype.kind not in "iufb":
        return " ".join(str(value).split())
    if name in _FILLS and dtype.kind in REFERABLE:
        numbers = _held(numbers, dtype)
    plain = tuple("nan" if number != number else number for number in numbers.tolist())
    # NaN is missing whether a file says so or not, and some writers declare it everywhere.
    return None if name in _FILLS and plain == ("nan",) else plain


def attribute_text(value: Any, name: str, dtype: "np.dtype[Any]") -> str:
    """Return the value of an attribute for people."""
    if value is None:
        return "absent"
    if isinstance(value, list | tuple):
        return ", ".join(attribute_text(one, name, dtype) for one in value)
    if isinstance(value, str):
        return f"'{value}'"
    return str(_held(value, dtype) if name in _FILLS and dtype.kind in REFERABLE else value)


def _held(value: Any, dtype: "np.dtype[Any]") -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(dtype.newbyteorder("="))


def dtype_text(array: ArrayHeader) -> str:
    """Return float32 (big-endian)."""
    if array.dtype.names is not None:
        return "records of several fields"
    if array.dtype.kind in "SOU":
        return "text"
    return array.dtype.name + {">": " (big-endian)", "<": " (little-endian)"}.get(array.dtype.str[0], "")


def codecs_text(array: ArrayHeader) -> str:
    """Return shuffle (elementsize 4) + zlib."""

    def told(codec: Mapping[str, Any]) -> str:
        options = ", ".join(f"{key} {value}" for key, value in codec.items() if key not in ("id", "level"))
        return f"{codec['id']} ({options})" if options else str(codec["id"])

    return " + ".join(map(told, array.codecs)) or "none"


def _shape_text(array: ArrayHeader) -> str:
    """Return 192 × 384 a time step."""
    told = " × ".join(str(size) for place, size in enumerate(array.shape) if place != array.time_axis) or "one value"
    return told if array.time_axis is None else f"{told} a time step"


def _chunks_text(array: ArrayHeader) -> str:
    """Return the shape of a chunk, or say that there is one piece."""
    return f"one contiguous piece {array.chunks}" if array.layout is Layout.CONTIGUOUS else str(array.chunks)


# What is compared beside the attributes: how a sentence calls it, and how its value is told.
_ASPECTS: Mapping[str, tuple[str, Callable[[ArrayHeader], str]]] = {
    "dims": ("dimensions of '{}' are", lambda array: f"({', '.join(array.dims)})"),
    "shape": ("size of '{}' is", _shape_text),
    "storage": (
        "storage of '{}' is",
        lambda array: "in pieces that references point at" if array.values is None else "in the file's header",
    ),
    "dtype": ("data type of '{}' is", dtype_text),
    "chunk_shape": ("chunks of '{}' are", _chunks_text),
    "codecs": ("packing of '{}' is", codecs_text),
    "storage_fill": (
        "value of chunks that were never written of '{}' is",
        lambda array: attribute_text(array.fill_value, "_FillValue", array.dtype),
    ),
}


def called(code: str, name: str) -> str:
    """Return what is compared, for the beginning of a sentence."""
    if code == "epoch":
        return f"time units of '{name}' are"
    return f"attribute {code} of '{name}' is" if code in MEANING else _ASPECTS[code][0].format(name)


def value_text(code: str, array: ArrayHeader, form: Form) -> str:
    """Return the value that an array has there."""
    if code == "epoch":
        return f"'{form[code]}'"
    if code in MEANING:
        return attribute_text(array.attributes.get(code), code, array.dtype)
    return _ASPECTS[code][1](array)
