"""The content of arrays without time, of which a cube has one for all files: coordinates, levels, texts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core import html
from geoetl.core.findings import Severity
from geoetl.virtual.header import TIME, ArrayHeader, FileHeader
from geoetl.virtual.preflight.notes import Note, apart, named, split_by
from geoetl.virtual.preflight.texts import REFERABLE
from geoetl.virtual.verify import COORDINATE_TOLERANCE, same_coordinate

if TYPE_CHECKING:
    from numpy.typing import NDArray

# More cubes than this out of what was meant to be one are no help to anybody.
MAX_GROUPS = 12


def compare_contents(
    name: str, arrays: Mapping[int, ArrayHeader], headers: Sequence[FileHeader]
) -> tuple[dict[int, int], list[Note]]:
    """Return what is equal for files whose arrays of that name hold the same, and notes of those that do not."""
    contents = _contents(name, arrays)
    return contents, list(_differences(name, arrays, contents, headers))


def _contents(name: str, arrays: Mapping[int, ArrayHeader]) -> dict[int, int]:
    """Return of each array the number of the first that is equal; -1 where it was not read.

    Among files that equal none of the first `MAX_GROUPS`, it does not matter who agrees: these are too many groups.
    """
    found: dict[int, int] = {}
    models: dict[int, NDArray[Any]] = {}
    for number, array in arrays.items():
        if array.time_axis is not None or name == TIME:
            continue
        if array.values is None:
            found[number] = -1
            continue
        equal = next((n for n, model in models.items() if _same(model, array.values)), None)
        if equal is None:
            equal = number if len(models) <= MAX_GROUPS else next(reversed(models))
            models.setdefault(equal, array.values)
        found[number] = equal
    return found


def _same(a: "NDArray[Any]", b: "NDArray[Any]") -> bool:
    # Most are equal to the bit, which is found out ten times as fast.
    return a is b or np.array_equal(a, b) or same_coordinate(a, b)


def _differences(
    name: str, arrays: Mapping[int, ArrayHeader], contents: Mapping[int, int], headers: Sequence[FileHeader]
) -> Iterator[Note]:
    usual, others = split_by((number, model) for number, model in contents.items() if model >= 0)
    for numbers in others:
        expected, array = arrays[usual[0]].values, arrays[numbers[0]]
        # Another size was noted with the form of the array.
        if expected is None or array.values is None or array.shape != expected.shape:
            continue
        told = _how_far(array.values, expected, str(array.attributes.get("units", "")))
        said = f"'{name}' in {{files}} differs {told} from {named(usual, headers)}."
        remedy = "These are different grids or levels: make one cube of each."
        within = f"equal within {COORDINATE_TOLERANCE:g}"
        yield apart("coordinate", said, numbers, name, f"differs {told}", within, remedy)
    unread = tuple(number for number, model in contents.items() if model < 0)
    if len(headers) > 1 and unread:
        size = html.human_bytes(arrays[unread[0]].nbytes)
        said = (
            f"The values of '{name}' ({size}) in {{files}} were not compared, only their size and type; the "
            "verification of the cube compares them."
        )
        yield Note(Severity.INFO, "not_compared", said, unread, name)


def _how_far(values: "NDArray[Any]", expected: "NDArray[Any]", units: str) -> str:
    if values.dtype.kind not in REFERABLE or expected.dtype.kind not in REFERABLE:
        return "in its text"
    off = np.abs(values.astype(np.float64) - expected.astype(np.float64))
    most = float(np.nanmax(off)) if not np.isnan(off).all() else math.nan
    return f"by up to {most:.6g} {units}".rstrip() if most > COORDINATE_TOLERANCE else "where values are missing"
