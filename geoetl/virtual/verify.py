"""The virtual cube against its sources: what is read through references has to equal what is in the files.

Both sides are read as they are stored: through the references by Zarr, from the files by HDF5's own library. With equal
stored values, equal attributes that give them their meaning, and equal decoded times, the decoded values are equal too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import VerificationFailed
from geoetl.runs.model import Result
from geoetl.store.gate import Format, Gate, check_netcdf
from geoetl.store.remote import RemoteFile, RemoteReader, SourcePath, local_copy
from geoetl.virtual.header import MEANING, TIME
from geoetl.virtual.read import narrow_scales, plain_attributes

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

# Cubes up to this many values are compared whole; of larger ones the first, the last and some chunks of each file.
WHOLE_VALUES = 5_000_000
RANDOM_CHUNKS = 2
# Rounding noise between files of one grid, in the coordinate's unit: 1e-9 degrees are a tenth of a millimetre.
COORDINATE_TOLERANCE = 1e-9
# Times of files that count in other units are equal up to the rounding of 64-bit days.
TIME_TOLERANCE_S = 1e-3

Window = tuple[slice, ...]


class Verification(Result):
    """What was compared; a difference raises instead.

    Attributes:
        chunks_compared: Chunks whose values were compared.
        chunks_total: Chunks that the cube has.
        values_compared: Values in them.
        times_compared: Time steps whose dates were compared.
        unit: What is counted as a chunk: ``fields`` (time steps) for a converted cube, whose chunks are its own.
    """

    chunks_compared: int
    chunks_total: int
    values_compared: int
    times_compared: int
    unit: str = "chunks"

    @property
    def sentence(self) -> str:
        """What was compared, for people."""
        return (
            f"value check passed on {self.chunks_compared:,} of {self.chunks_total:,} {self.unit} "
            f"({self.values_compared:,} values)"
        )

    def __add__(self, other: "Verification") -> "Verification":
        return Verification(
            chunks_compared=self.chunks_compared + other.chunks_compared,
            chunks_total=self.chunks_total + other.chunks_total,
            values_compared=self.values_compared + other.values_compared,
            times_compared=self.times_compared + other.times_compared,
        )


def verify(gate: Gate, cube: "xr.Dataset", paths: Sequence[SourcePath], names: Sequence[str]) -> Verification:
    """Compare a virtual cube with its source files.

    Compared are all times and coordinates, the attributes that give values their meaning, and of each variable and file
    the first chunk, the last and random ones between; everything, in a cube of up to `WHOLE_VALUES` values.

    Args:
        gate: Opens the sources.
        cube: The cube as it is stored: opened with ``decode_cf=False``.
        paths: The source files in the order of time.
        names: The variables to compare.

    Raises:
        VerificationFailed: Something differs; the message names the file, the variable, the place and both values.
    """
    offset = 0
    done = Verification(chunks_compared=0, chunks_total=0, values_compared=0, times_compared=0)
    is_whole = sum(cube[name].size for name in names) <= WHOLE_VALUES
    for number, path in enumerate(paths):
        with _stored(gate, path) as source:
            steps = source.steps(cube, names)
            _compare_coordinates(cube, source, slice(offset, offset + steps), names)
            for name in names:
                seed = None if is_whole else number
                done += _compare_variable(cube[name].variable, source, name, offset, seed=seed)
            done += Verification(chunks_compared=0, chunks_total=0, values_compared=0, times_compared=steps)
        offset += steps
    if TIME in cube.dims and cube.sizes[TIME] != offset:
        raise VerificationFailed(
            f"The cube has {cube.sizes[TIME]} time steps; its files have {offset}.",
            hint="Please report this with the files.",
        )
    return done


class _Stored:
    """A source file, read by its own library as it is stored."""

    def __init__(self, name: str, arrays: Mapping[str, Any]) -> None:
        self.name = name
        self.arrays = arrays

    def steps(self, cube: "xr.Dataset", names: Sequence[str]) -> int:
        """Return the number of time steps; the file may have no variable of times, only the dimension."""
        timed = [name for name in names if TIME in cube[name].dims and name in self.arrays]
        return max((int(self.arrays[name].shape[cube[name].dims.index(TIME)]) for name in timed), default=1)

    def attributes(self, name: str) -> dict[str, Any]:
        held = self.arrays[name].attrs
        return plain_attributes({key: held[key] for key in (*MEANING, "bounds", "climatology") if key in held})

    def read(self, name: str, window: Window | None = None) -> "NDArray[Any]":
        return np.asarray(self.arrays[name][() if window is None else window])


@contextmanager
def _stored(gate: Gate, path: SourcePath) -> Iterator[_Stored]:
    opened_once = RemoteReader(path) if isinstance(path, RemoteFile) else path
    if check_netcdf(opened_once) is Format.HDF5:
        with gate.open_hdf5(opened_once) as file:
            yield _Stored(path.name, file)
    elif isinstance(path, RemoteFile):
        with local_copy(path) as copy, _stored(gate, copy) as stored:
            yield stored
    else:
        with gate.open_netcdf(path, decode_cf=False, mask_and_scale=False) as opened:
            yield _Stored(path.name, {str(name): variable for name, variable in opened.variables.items()})


# -- coordinates -----------------------------------------------------------------------------------------------------


def _compare_coordinates(cube: "xr.Dataset", source: _Stored, steps: slice, names: Sequence[str]) -> None:
    for key, variable in cube.variables.items():
        name = str(key)
        is_compared = TIME not in variable.dims or variable.ndim < 2 or "bnds" in name or "bounds" in name
        if name not in source.arrays or name in names or not is_compared:
            continue
        mine = variable[{TIME: steps}] if TIME in variable.dims else variable
        got, expected = np.asarray(mine.values), source.read(name)
        if TIME in variable.dims and (clock := _clock(cube, name)):
            same = _same_times(got, cube[clock].attrs, expected, source.attributes(clock))
        else:
            same = same_coordinate(got, expected)
        if not same:
            raise VerificationFailed(
                f"'{name}' differs from the one in '{source.name}'.",
                hint="Leave the file out, or convert the cube to Zarr.",
            )


def _clock(cube: "xr.Dataset", name: str) -> str | None:
    """Return the variable whose units say what `name` is counted in, if it counts times."""
    if "since" in str(cube[name].attrs.get("units", "")):
        return name
    for key, variable in cube.variables.items():
        if "since" in str(variable.attrs.get("units", "")):
            if name in (variable.attrs.get("bounds"), variable.attrs.get("climatology")):
                return str(key)
    return None


def _same_times(
    got: "NDArray[Any]", clock: Mapping[str, Any], expected: "NDArray[Any]", source_clock: Mapping[str, Any]
) -> bool:
    import cftime

    if got.shape != expected.shape:
        return False
    units, calendar = str(clock["units"]), str(clock.get("calendar", "standard"))
    own_units, own_calendar = str(source_clock["units"]), str(source_clock.get("calendar", "standard"))
    if (units, calendar) == (own_units, own_calendar):
        return bool(np.array_equal(got, expected))
    ours = np.ravel(cftime.num2date(got, units, calendar))
    theirs = np.ravel(cftime.num2date(expected, own_units, own_calendar))
    return all(
        type(a) is type(b) and abs((a - b).total_seconds()) <= TIME_TOLERANCE_S
        for a, b in zip(ours, theirs, strict=True)
    )


def same_coordinate(a: "NDArray[Any]", b: "NDArray[Any]") -> bool:
    """Tell whether two coordinates are the same up to rounding noise."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=0, atol=COORDINATE_TOLERANCE, equal_nan=True))
    if a.dtype.kind in "SUO" or b.dtype.kind in "SUO":
        return [_text(one) for one in a.ravel()] == [_text(one) for one in b.ravel()]
    return bool(np.array_equal(a, b))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# -- values ----------------------------------------------------------------------------------------------------------


def _compare_variable(
    virtual: "xr.Variable", source: _Stored, name: str, offset: int, *, seed: int | None
) -> Verification:
    if name not in source.arrays:
        raise VerificationFailed(f"'{source.name}' has no variable '{name}'.", hint="Leave the file out.")
    stored = source.arrays[name]
    _compare_meaning(virtual, source, name)
    axis = virtual.dims.index(TIME) if TIME in virtual.dims else None
    expected_shape = tuple(stored.shape[place] if place == axis else size for place, size in enumerate(virtual.shape))
    if tuple(stored.shape) != expected_shape:
        raise VerificationFailed(
            f"'{name}' has the shape {tuple(stored.shape)} in '{source.name}', not {expected_shape}.",
            hint="Leave the file out.",
        )
    # Of one member, the encoding still tells the chunks of all, with the members first.
    chunks = tuple(virtual.encoding.get("chunks") or virtual.shape)[-len(virtual.shape) :]
    windows = list(_windows(tuple(stored.shape), chunks, seed))
    values = 0
    for window in windows:
        got = np.asarray(virtual[_shifted(window, axis, offset)].values)
        expected = source.read(name, window)
        if not _same_bits(got, expected):
            raise _difference(name, source.name, window, axis, offset, got, expected)
        values += expected.size
    total = math.prod(-(-size // chunk) for size, chunk in zip(stored.shape, chunks, strict=True))
    compared = total if seed is None else len(windows)
    return Verification(chunks_compared=compared, chunks_total=total, values_compared=values, times_compared=0)


def _compare_meaning(virtual: "xr.Variable", source: _Stored, name: str) -> None:
    theirs = source.attributes(name)
    if narrow := narrow_scales(source.arrays[name].attrs):
        raise VerificationFailed(
            f"{narrow[0]} of '{name}' in '{source.name}' is no 64-bit number; references can hold no others.",
            hint="Convert the cube to Zarr.",
        )
    for key in MEANING:
        got, expected = virtual.attrs.get(key), theirs.get(key)
        if key == "_FillValue" and expected is None:
            # Zarr 2 has to name what unwritten chunks hold; whether NetCDF readers see the same, preflight has checked.
            continue
        if not same_meaning(got, expected, virtual.dtype):
            raise VerificationFailed(
                f"{key} of '{name}' is {got!r} in the cube and {expected!r} in '{source.name}'.",
                hint="Leave the file out, or convert the cube to Zarr.",
            )


def same_meaning(got: Any, expected: Any, dtype: "np.dtype[Any]") -> bool:
    """Tell whether two values of an attribute mean the same for an array of that type; NaN equals NaN."""
    numbers = (int, float, np.number)
    if isinstance(got, numbers) and isinstance(expected, numbers):
        a, b = float(got), float(expected)
        return a == b or (math.isnan(a) and math.isnan(b)) or bool(dtype.type(got) == dtype.type(expected))
    if expected is not None and isinstance(expected, float) and math.isnan(expected):
        return got is None  # a NaN that is declared missing is missing anyway, and no JSON
    return bool(got == expected)


def _windows(shape: tuple[int, ...], chunks: tuple[int, ...], seed: int | None) -> Iterator[Window]:
    if seed is None:
        yield tuple(slice(0, size) for size in shape)
        return
    grid = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    random = np.random.default_rng(seed)
    first, last = tuple(0 for _ in grid), tuple(count - 1 for count in grid)
    between = (tuple(int(random.integers(count)) for count in grid) for _ in range(RANDOM_CHUNKS))
    for place in dict.fromkeys([first, last, *between]):
        yield tuple(
            slice(p * chunk, min((p + 1) * chunk, size)) for p, chunk, size in zip(place, chunks, shape, strict=True)
        )


def _shifted(window: Window, axis: int | None, offset: int) -> Window:
    return tuple(
        slice(part.start + offset, part.stop + offset) if place == axis else part for place, part in enumerate(window)
    )


def _same_bits(a: "NDArray[Any]", b: "NDArray[Any]") -> bool:
    if a.shape != b.shape or a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def _difference(
    name: str, file: str, window: Window, axis: int | None, offset: int, got: "NDArray[Any]", expected: "NDArray[Any]"
) -> VerificationFailed:
    hint = "Convert the cube to Zarr, and please report this with the file."
    if got.shape != expected.shape or got.dtype.newbyteorder("=") != expected.dtype.newbyteorder("="):
        said = f"{got.dtype} {got.shape} instead of {expected.dtype} {expected.shape}"
        return VerificationFailed(f"'{name}' reads as {said} from '{file}'.", hint=hint)
    both_nan = np.zeros(got.shape, bool)
    if got.dtype.kind in "fc":
        both_nan = np.isnan(got) & np.isnan(expected)
    place = np.unravel_index(int(np.argmax((got != expected) & ~both_nan)), got.shape)
    index = tuple(int(p) + part.start for p, part in zip(place, window, strict=True))
    where = ", ".join(map(str, index))
    step = f" (step {index[axis] + offset} of the cube)" if axis is not None else ""
    return VerificationFailed(
        f"'{name}'[{where}] of '{file}'{step} is {expected[place]} there, and {got[place]} through the references.",
        hint=hint,
    )
