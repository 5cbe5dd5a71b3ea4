"""What the files of one cube hold together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import EmptyDataset, VerificationFailed
from geoetl.store.gate import Gate
from geoetl.virtual.convert.packing import PACKING, Packing, packings_of
from geoetl.virtual.convert.read import read_whole
from geoetl.virtual.convert.times import clocks_of, in_order, join_dates, units_of
from geoetl.virtual.header import INLINE_BYTES, TIME, ArrayHeader, FileHeader
from geoetl.virtual.preflight.clocks import calendar_of
from geoetl.virtual.read import read_header
from geoetl.virtual.verify import same_coordinate

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

# Attributes that name other variables (CF 1.11, appendix A).
_NAMING = (
    "ancillary_variables",
    "bounds",
    "cell_measures",
    "climatology",
    "coordinates",
    "formula_terms",
    "grid_mapping",
)


@dataclass(frozen=True)
class Part:
    """What one file holds of the cube: its steps `begin` up to, and without, `end`."""

    path: Path
    begin: int
    end: int

    @property
    def steps(self) -> int:
        """How many they are."""
        return self.end - self.begin


@dataclass(frozen=True, eq=False)
class Survey:
    """The files of one cube in the order of time, compared with each other.

    Attributes:
        gate: Opens them.
        headers: Of each.
        first: The first file: stored numbers, nothing loaded.
        dates: The loaded content of all times and their bounds, by name, in one unit; with their attributes.
        small: The loaded content of other small variables, as xarray reads them undecoded.
        packings: For each variable that is copied region by region, how each file packs it.
    """

    gate: Gate
    headers: tuple[FileHeader, ...]
    first: "xr.Dataset"
    dates: "Mapping[str, tuple[NDArray[Any], dict[str, Any]]]"
    small: "Mapping[str, NDArray[Any]]"
    packings: Mapping[str, tuple[Packing, ...]]

    @property
    def steps(self) -> int:
        """Time steps of all files; 1 without time."""
        return sum(header.steps for header in self.headers)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What each file holds."""
        ends = accumulate(header.steps for header in self.headers)
        return tuple(Part(Path(h.address), end - h.steps, end) for h, end in zip(self.headers, ends, strict=True))


def survey_files(gate: Gate, paths: Sequence[Path], variables: Sequence[str] | None) -> Survey:
    """Read headers and small variables of files, and compare them.

    Raises:
        VerificationFailed: The files do not make one cube.
        UnreadableFile: A file is damaged, or a variable is not in it.
        EmptyDataset: There is no file, or one without a time step.
    """
    if not paths:
        raise EmptyDataset("There is no file to convert.", hint="Give the files of one cube.", field="source")
    # Where nothing is asked for, a file without any grid is taken too: it may hold series.
    headers = [read_header(gate, path, variables if variables is not None else ()) for path in paths]
    names = _wanted(headers[0], variables)
    for header in headers:
        # Their times tell the order of files, also where only something without time is asked for.
        also = header.arrays if variables is None else {TIME}.intersection(header.arrays)
        _check_form(headers[0], header, dict.fromkeys([*names, *also]))
    headers = in_order(gate, headers)
    with gate.open_netcdf(Path(headers[0].address), mask_and_scale=False, decode_times=False) as opened:
        first = opened[[name for name in names if name in opened.variables]]
        kinds = {str(name): variable.dtype.kind for name, variable in first.variables.items()}
    arrays = headers[0].arrays
    clocks = clocks_of(headers[0], names)
    over_time = {name for name in names if arrays[name].time_axis is not None}
    is_large = {name: name in over_time or arrays[name].nbytes > INLINE_BYTES for name in kinds}
    large = [name for name in kinds if kinds[name] in "iuf" and name not in clocks and is_large[name]]
    _check_fixed(gate, headers, [name for name in names if name not in over_time])
    return Survey(
        gate=gate,
        headers=tuple(headers),
        first=first,
        dates=join_dates(gate, headers, clocks),
        small={name: _small(gate, headers, name) for name in kinds if name not in large and name not in clocks},
        packings=packings_of(gate, headers, large),
    )


def _wanted(header: FileHeader, variables: Sequence[str] | None) -> list[str]:
    """Return all variables, or those asked for with what they refer to and the coordinates of their dimensions."""
    if variables is None:
        return list(header.arrays)
    kept: set[str] = set()
    waiting = list(variables)
    while waiting:
        name = waiting.pop()
        if name in kept or name not in header.arrays:
            continue
        kept.add(name)
        array = header.arrays[name]
        waiting += array.dims
        for key in _NAMING:
            waiting += [word for word in str(array.attributes.get(key, "")).split() if not word.endswith(":")]
    return [name for name in header.arrays if name in kept]


def _small(gate: Gate, headers: Sequence[FileHeader], name: str) -> "NDArray[Any]":
    """Return the content of a variable of all files; of the first one where it has no time."""
    axis, parts = headers[0].arrays[name].time_axis, []
    for header in headers if axis is not None else headers[:1]:
        with gate.open_netcdf(Path(header.address), mask_and_scale=False, decode_times=False) as opened:
            parts.append(opened[name].to_numpy())
    whole = parts[0] if axis is None else np.concatenate(parts, axis=axis)
    return np.asarray(whole.astype(whole.dtype.newbyteorder("="), copy=False))


# -- whether files go together ---------------------------------------------------------------------------------------


def _check_form(first: FileHeader, other: FileHeader, names: Iterable[str]) -> None:
    """Compare the variables of two files: their dimensions, sizes, calendars and units; without time, their packing."""
    for name in names:
        if name not in other.arrays or name not in first.arrays:
            has, lacks = (first, other) if name in first.arrays else (other, first)
            raise VerificationFailed(
                f"'{name}' is in '{has.name}' but not in '{lacks.name}'.",
                hint="Name the variables to convert, or leave the file out.",
                field="source",
            )
        its, mine = other.arrays[name], first.arrays[name]
        for (what, got), (_, expected) in zip(_facts(its), _facts(mine), strict=True):
            is_epoch = what == "unit" and TIME in mine.dims and units_of(its.attributes) and units_of(mine.attributes)
            # Dates may count from other epochs; not a climatology's: xarray does not tell what counts its bounds.
            if repr(got) != repr(expected) and (not is_epoch or "climatology" in mine.attributes):
                raise _differs(other, first, f"the {what} of '{name}' is", got, expected)


def _facts(array: ArrayHeader) -> list[tuple[str, Any]]:
    fixed = {dim: size for dim, size in zip(array.dims, array.shape, strict=True) if dim != TIME}
    facts = [
        ("list of dimensions", array.dims),
        ("size", fixed),
        ("calendar", calendar_of(array.attributes) if "units" in array.attributes else None),
        ("unit", array.attributes.get("units")),
    ]
    return facts if TIME in array.dims else [*facts, *((key, array.attributes.get(key)) for key in PACKING)]


def _check_fixed(gate: Gate, headers: Sequence[FileHeader], names: Sequence[str]) -> None:
    """Compare the content of what has no time, which the store holds once."""
    first = headers[0]
    for name in names if len(headers) > 1 else ():
        expected = read_whole(gate, first, name)
        for header in headers[1:]:
            if not same_coordinate(read_whole(gate, header, name), expected):
                raise _differs(header, first, f"the content of '{name}' is", "different", "as in the first file")


def _differs(other: FileHeader, first: FileHeader, what: str, got: Any, expected: Any) -> VerificationFailed:
    return VerificationFailed(
        f"'{other.name}' does not belong to the cube of '{first.name}': {what} {got!s:.80} there and "
        f"{expected!s:.80} here.",
        hint="Leave the file out, or convert it as a cube of its own.",
        field="source",
    )
