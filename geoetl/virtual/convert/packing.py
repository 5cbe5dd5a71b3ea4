"""How files pack values into stored numbers, and the attributes that say so, in the store's JSON."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.store.gate import Gate
from geoetl.virtual.header import FileHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What tells how stored numbers become values, besides their data type.
PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
# Attributes in the units of the stored numbers, which say nothing of decoded ones.
OF_PACKED = (*PACKING, "valid_min", "valid_max", "valid_range", "actual_range")
# An absolute path in a text, but no part of a URL or of a unit such as kg/m2/s.
_PATH = re.compile(r"(?:file://|(?<![\w:/.)]))(?:/[\w.+@~-]+)+/([\w.+@~-]+)")


@dataclass(frozen=True, eq=False)
class Packing:
    """How one file packs the values of one variable.

    Attributes:
        dtype: Of the stored numbers, in this machine's byte order.
        attributes: Those of `PACKING` that it has, with the types in which the file has them.
    """

    dtype: "np.dtype[Any]"
    attributes: Mapping[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """What equals for files that pack alike; NaN equals NaN."""
        parts = ((name, repr(self.attributes[name])) for name in PACKING if name in self.attributes)
        return (self.dtype.str, *parts)

    def decode(self, stored: "NDArray[Any]") -> "NDArray[Any]":
        """Return the values of stored numbers as xarray decodes them."""
        import xarray as xr

        dims = [f"dim_{axis}" for axis in range(stored.ndim)]
        variable = xr.Variable(dims, stored, dict(self.attributes))
        decoded = xr.conventions.decode_cf_variable("values", variable, decode_times=False, decode_timedelta=False)
        return np.asarray(decoded.to_numpy())

    @cached_property
    def decoded_dtype(self) -> "np.dtype[Any]":
        """The type of its values."""
        return self.decode(np.zeros(1, self.dtype)).dtype

    @cached_property
    def survives_json(self) -> bool:
        """Tell whether values are the same when the attributes have been written to JSON, which has no float32."""
        if not self.attributes:
            return True
        fill = self.attributes.get("_FillValue")
        if fill is not None and self.dtype.kind in "iu" and not (np.isfinite(fill) and int(fill) == fill):
            return False
        read_back = Packing(self.dtype, {name: plain(value) for name, value in self.attributes.items()})
        if self.dtype.kind in "iu" and self.dtype.itemsize <= 2:
            probe = np.arange(np.iinfo(self.dtype).min, np.iinfo(self.dtype).max + 1).astype(self.dtype)
        else:
            probe = np.frombuffer(np.random.default_rng(0).bytes(4096 * self.dtype.itemsize), self.dtype)
        with np.errstate(all="ignore"):
            before, after = self.decode(probe), read_back.decode(probe)
        return before.dtype == after.dtype and np.array_equal(before, after, equal_nan=before.dtype.kind == "f")


def packings_of(gate: Gate, headers: Sequence[FileHeader], names: Sequence[str]) -> dict[str, tuple[Packing, ...]]:
    """Return how each file packs each variable."""
    packings: dict[str, tuple[Packing, ...]] = dict.fromkeys(names, ())
    for header in headers:
        typed = _typed_attributes(gate, header, names)
        for name in names:
            attributes = typed.get(name, header.arrays[name].attributes)
            kept = {key: attributes[key] for key in PACKING if key in attributes}
            packings[name] += (Packing(header.arrays[name].dtype.newbyteorder("="), kept),)
    return packings


def decoded_because(headers: Sequence[FileHeader], packings: Sequence[Packing]) -> str | None:
    """Return why a variable cannot be stored as packed in its files; None where it can."""
    for header, packing in zip(headers, packings, strict=True):
        if packing.key != packings[0].key:
            return f"'{header.name}' packs it otherwise than '{headers[0].name}'"
    return None if packings[0].survives_json else "its packing attributes lose their type in JSON"


def _typed_attributes(gate: Gate, header: FileHeader, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the attributes of scaled variables with their data types: float32 factors give float32 values."""
    scaled = [n for n in names if {"scale_factor", "add_offset", "_Unsigned"} & set(header.arrays[n].attributes)]
    if not scaled:
        return {}
    with gate.open_netcdf(Path(header.address), decode_cf=False) as opened:
        return {name: dict(opened[name].attrs) for name in scaled}


# -- attributes as strict JSON holds them ------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return an attribute as JSON can hold it, which has no data types and no bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def json_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as strict JSON can hold them, the fill value with its type; NaN becomes the text "NaN"."""
    made: dict[str, Any] = {}
    for name, value in attributes.items():
        if name == "_FillValue":
            made[name] = value
        elif name != "missing_value" or not _has_nan(value):  # a NaN is missing whether declared or not
            made[str(name)] = _strict(plain(value))
    return made


def dataset_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return global attributes with the names of files in place of their paths: folders tell of accounts."""
    made = json_attributes(attributes)
    return {name: _PATH.sub(r"\1", value) if isinstance(value, str) else value for name, value in made.items()}


def _has_nan(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    return value
