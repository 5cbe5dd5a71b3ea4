"""Random small cubes through references against xarray's open_mfdataset: refused with a reason, or equal in everything.

What is written decides what has to come out: `Cube.reason` says which cubes cannot be references, all others have to be
accepted. Known differences to ``open_mfdataset``: JSON has no NaN and no fixed-length bytes, so an attribute NaN is a
text, and texts are ``str``.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cftime
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Gate
from geoetl.virtual import CubeVirtualiser
from geoetl.virtual.build import opened, verify_cube
from geoetl.virtual.combine import as_header, combine, extend, fitted, is_one_plain_piece, mixed_arrays
from geoetl.virtual.header import FileHeader
from geoetl.virtual.inventory import CubeFiles, FileSeries
from geoetl.virtual.kerchunk import read_manifest, write_json, write_parquet
from geoetl.virtual.manifest import CubeManifest
from geoetl.virtual.outcome import CubeOutcome
from geoetl.virtual.preflight import Verdict, preflight
from geoetl.virtual.read import read_headers
from geoetl.virtual.request import CubeRequest
from geoetl.virtual.write import CubeFormat, write_references

CODER = xr.coders.CFDatetimeCoder(use_cftime=True)
FORMATS = (CubeFormat.JSON, CubeFormat.PARQUET, CubeFormat.ICECHUNK)
WRITERS = ("h5py", "h5py-latest", "netCDF4", "netCDF3")
COMMON = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], print_blob=False
)


# -- how a cube is written -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cube:
    """How the files of one random cube are written.

    Attributes:
        writer: ``h5py`` (oldest file format), ``h5py-latest``, ``netCDF4`` or ``netCDF3``.
        lengths: Time steps of each file.
        cells: Rows and columns.
        levels: Size of the dimension ``plev``; 0 for none.
        dtype: Of the variable, with its byte order.
        layout: ``chunked``, ``contiguous`` or ``compact``.
        chunk: Steps, rows and columns of a chunk, for ``chunked``; a chunk may be longer than the file.
        level: Of gzip; None for none.
        shuffle, fletcher32: Whether there are these filters.
        unlimited: Whether time can grow.
        calendar, units: Of time; units of each file.
        time_dtype: How time is stored.
        step_days: Between two times.
        fill: What the file declares as ``_FillValue``: ``none``, ``number`` or ``nan``.
        stored_fill: Whether chunks that were never written hold what is declared.
        missing: Whether ``missing_value`` is declared: ``none``, ``number`` or ``nan``.
        scale: ``none``, ``f8`` or ``f4``, the type of scale_factor and add_offset.
        holes: What is never written: ``none``, ``some`` (the second half of each file) or ``all``.
        extras: Further arrays and attributes, see `_others`.
        seed: Of the values.
        odd: What is different in the last file; see `ODDITIES`.
    """

    writer: str = "h5py"
    lengths: tuple[int, ...] = (3, 3)
    cells: tuple[int, int] = (2, 3)
    levels: int = 0
    dtype: str = "<f4"
    layout: str = "chunked"
    chunk: tuple[int, int, int] = (1, 2, 3)
    level: int | None = None
    shuffle: bool = False
    fletcher32: bool = False
    unlimited: bool = True
    calendar: str = "standard"
    units: tuple[str, ...] = ("days since 1850-01-01",) * 4
    time_dtype: str = "f8"
    step_days: float = 1.0
    fill: str = "number"
    stored_fill: bool = True
    missing: str = "none"
    scale: str = "none"
    holes: str = "none"
    extras: frozenset[str] = frozenset()
    seed: int = 0
    odd: str = "none"

    def reason(self, format: CubeFormat) -> str | None:
        """Say why references of a format cannot express it; None where they can."""
        if self.odd != "none" and len(self.lengths) > 1:
            return ODDITIES[self.odd]
        if self.writer == "netCDF4" and self.unlimited and self.holes != "none":
            return "is stored for"  # along an unlimited dimension NetCDF-4 keeps only what was written
        if self.writer == "netCDF4" and self.shuffle and self.fletcher32 and self.level and self.dtype.endswith("8"):
            return "shuffle"  # netCDF-4 puts the four bytes of the checksum before it
        is_partial = any(length % self.steps_of_chunk for length in self.lengths[:-1])
        if is_partial and self.layout == "chunked" and self.writer != "netCDF3":
            return "do not fill its chunks"
        if self.scale == "f4":
            return "64-bit"
        if self.has_holes and not (self.fill != "none" and self.stored_fill) and format is not CubeFormat.ICECHUNK:
            return "never written"
        return None

    @property
    def steps_of_chunk(self) -> int:
        return self.chunk[0]

    @property
    def has_holes(self) -> bool:
        """Tell whether any chunk is never written."""
        if self.writer == "netCDF3" or self.layout == "compact":
            return False
        if self.holes == "all":
            return True
        if self.holes == "none":
            return False
        if self.layout == "contiguous":
            return 1 in self.lengths  # the half of which is nothing; what is written at all is there whole
        return any(-(-(n // 2) // self.steps_of_chunk) < -(-n // self.steps_of_chunk) for n in self.lengths)

    @property
    def number(self) -> Any:
        """The number that stands for missing data."""
        native = np.dtype(self.dtype).newbyteorder("=")
        return native.type(1e20 if native.kind == "f" else np.iinfo(native).max)


@dataclass(frozen=True)
class Stored:
    """One array of a file, as it is to be stored."""

    dims: tuple[str, ...]
    values: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    written: int | None = None


def contents(cube: Cube) -> Iterator[dict[str, Stored]]:
    """Give the arrays of each file."""
    start = 0
    for number, length in enumerate(cube.lengths):
        own = _odd(cube) if number and number == len(cube.lengths) - 1 else replace(cube, odd="none")
        yield {
            "time": _time(own, cube.units[number], start, length),
            "lat": Stored(
                ("lat",), np.linspace(-60, 60, own.cells[0]) + (own.odd == "grid"), {"units": "degrees_north"}
            ),
            "lon": Stored(("lon",), np.linspace(0, 180, own.cells[1]), {"units": "degrees_east"}),
            **_others(own, number, length, start, cube.units[number]),
            "tas": _variable(own, start, length, sum(cube.lengths)),
        }
        start += length - (cube.odd == "overlap")


def possible(cube: Cube) -> list[str]:
    """Return what can differ in the last file of a cube."""
    is_packed = cube.layout == "chunked" and cube.writer != "netCDF3"
    return [
        "missing",
        "calendar",
        "grid",
        "units",
        # A compact array is copied, and numbers of several types become the widest.
        *(["dtype"] if cube.layout != "compact" else []),
        *(["order"] if cube.dtype[0] != "|" and cube.writer != "netCDF3" and cube.layout != "compact" else []),
        # Without packing netCDF-4 leaves out shuffle.
        *(["shuffle"] if is_packed and (cube.level or cube.writer != "netCDF4") else []),
        *(["gzip"] if is_packed else []),
        *(["chunk"] if is_packed and cube.chunk[1] > 1 else []),
        *(["fill"] if cube.fill == "number" else []),
        *(["scale"] if cube.scale != "none" else []),
        *(["overlap"] if min(cube.lengths) > 2 else []),
    ]


def _odd(cube: Cube) -> Cube:
    """Return how the file is written that differs."""
    other = {"<": ">", ">": "<", "|": "|"}[np.dtype(cube.dtype).str[0]]
    is_declared = cube.missing == "nan" and cube.dtype[1] != "f"
    changes: dict[str, dict[str, Any]] = {
        "order": {"dtype": np.dtype(cube.dtype).newbyteorder(other).str},
        "dtype": {"dtype": "<f8" if cube.dtype[1:] != "f8" else "<f4", "scale": "none"},
        "shuffle": {"shuffle": not cube.shuffle},
        "gzip": {"level": 4 if cube.level is None else None},
        "chunk": {"chunk": (cube.chunk[0], 1, cube.chunk[2])},
        "fill": {"fill": "none"},
        # NaN is missing whether it is declared or not.
        "missing": {"missing": "none" if cube.missing == "number" or is_declared else "number"},
        "calendar": {"calendar": "360_day" if cube.calendar != "360_day" else "noleap"},
    }
    return replace(cube, **changes.get(cube.odd, {}))


# What may differ in the last file, and what the refusal has to say.
ODDITIES = {
    "order": "data type",
    "dtype": "data type",
    "shuffle": "packing",
    "gzip": "packing",
    "chunk": "chunks",
    "fill": "_FillValue",
    "missing": "missing_value",
    "calendar": "calendar",
    "grid": "'lat'",
    "units": "units",
    "scale": "scale_factor",
    "overlap": "overlap",
}


def _time(cube: Cube, units: str, start: int, length: int) -> Stored:
    days = (start + np.arange(length)) * cube.step_days
    dates = cftime.num2date(days, "days since 1950-02-01", cube.calendar)
    numbers = np.asarray(cftime.date2num(dates, units, cube.calendar), cube.time_dtype)
    attrs = {"units": units, "calendar": cube.calendar, "axis": "T"}
    if "bounds" in cube.extras:
        attrs["bounds"] = "time_bnds"
    return Stored(("time",), numbers, attrs, _grown(cube, (512,)))


def _grown(cube: Cube, chunks: tuple[int, ...]) -> dict[str, Any]:
    return {"chunks": chunks, "unlimited": True} if cube.unlimited and cube.layout == "chunked" else {}


def _variable(cube: Cube, start: int, length: int, total: int) -> Stored:
    """Return a part of an array that is the same however it is split."""
    random = np.random.default_rng(cube.seed)
    dtype = np.dtype(cube.dtype)
    dims = ("time", *(("plev",) if cube.levels else ()), "lat", "lon")
    shape = (total, *((cube.levels,) if cube.levels else ()), *cube.cells)
    if dtype.kind == "f":
        values = random.normal(280, 10, shape).astype(dtype)
    else:
        values = random.integers(0, 100, shape).astype(dtype)
    attrs: dict[str, Any] = {"units": "degC" if cube.odd == "units" else "K"}
    number = cube.number
    if cube.fill != "none":
        attrs["_FillValue"] = (
            number if cube.fill == "number" or dtype.kind != "f" else dtype.newbyteorder("=").type("nan")
        )
    if cube.missing != "none":
        attrs["missing_value"] = (
            number if cube.missing == "number" or dtype.kind != "f" else dtype.newbyteorder("=").type("nan")
        )
    if "missing" in cube.extras:
        flat = values.reshape(-1)
        flat[0] = number
        flat[-1] = np.nan if dtype.kind == "f" else number
    values = values[start : start + length]
    if cube.scale != "none":
        kind = np.dtype(cube.scale).type
        attrs |= {"scale_factor": kind(0.1 if cube.odd != "scale" else 0.2), "add_offset": kind(250)}
    attrs |= _odd_attributes(cube)
    form: dict[str, Any] = {}
    if cube.layout == "chunked":
        chunk = (cube.chunk[0], *((1,) if cube.levels else ()), *cube.chunk[1:])
        form = {
            "chunks": chunk,
            "level": cube.level,
            "shuffle": cube.shuffle,
            "fletcher32": cube.fletcher32,
            "unlimited": cube.unlimited,
        }
    elif cube.layout == "compact":
        form = {"compact": True}
    form["fill"] = attrs.get("_FillValue") if cube.stored_fill else dtype.newbyteorder("=").type(7)
    written = {"none": None, "some": length // 2, "all": 0}[cube.holes]
    return Stored(dims, values, attrs, form, written)


def _odd_attributes(cube: Cube) -> dict[str, Any]:
    if "attributes" not in cube.extras:
        return {}
    kept = {
        "comment": "Größe: 5 µm, “quoted” \\ and\nlines",
        "flag_values": np.array([1, 2, 3], "i2"),
        "valid_range": np.array([0.1, 1e30], "f4"),
        "one": np.array([5], "i4"),
        "nothing": "",
        "odd": np.float64("nan"),
        "bound": np.float32("inf"),
    }
    return {key: value for key, value in kept.items() if cube.writer != "netCDF3" or key != "comment"}


def _others(cube: Cube, number: int, length: int, start: int, units: str) -> dict[str, Stored]:
    rows, columns = cube.cells
    found: dict[str, Stored] = {}
    if cube.levels:
        found["plev"] = Stored(("plev",), 1e5 / (1 + np.arange(cube.levels)), {"units": "Pa", "positive": "down"})
    if "bounds" in cube.extras:
        times = [_time(cube, units, start + later, length).values.astype("f8") for later in (0, 1)]
        found["time_bnds"] = Stored(("time", "bnds"), np.stack(times, 1), {}, _grown(cube, (1, 2)))
        found["lat_bnds"] = Stored(("lat", "bnds"), np.arange(2.0 * rows).reshape(rows, 2))
    if "height" in cube.extras:
        found["height"] = Stored((), np.float64(2.0), {"units": "m"})
    if "plane" in cube.extras:
        found["lat2d"] = Stored(
            ("lat", "lon"), np.arange(1.0 * rows * columns).reshape(rows, columns), {"units": "degrees"}
        )
        found["rotated"] = Stored((), np.int32(0), {"grid_mapping_name": "rotated_latitude_longitude"})
    if "index" in cube.extras:
        found["index"] = Stored(
            ("time",), (start + np.arange(length)).astype("i2"), {"long_name": "step"}, _grown(cube, (1,))
        )
    if "label" in cube.extras:
        texts = [f"row {i}" for i in range(rows)]
        found["label"] = Stored(("lat", "strlen"), np.array(texts, "S8").view("S1").reshape(rows, 8))
    if "text" in cube.extras and cube.writer != "netCDF3":
        found["text"] = Stored(("lon",), np.array([f"Spalte {i} ä" for i in range(columns)], object))
    return found


# -- writers ---------------------------------------------------------------------------------------------------------


def write(cube: Cube, folder: Path) -> list[Path]:
    """Write the files of a cube."""
    paths = []
    for number, arrays in enumerate(contents(cube)):
        path = folder / f"tas_{number}.nc"
        if cube.writer.startswith("h5py"):
            _write_h5py(path, arrays, "latest" if cube.writer.endswith("latest") else "earliest")
        else:
            _write_netcdf(path, arrays, "NETCDF4" if cube.writer == "netCDF4" else "NETCDF3_64BIT_OFFSET")
        paths.append(path)
    return paths


def _sizes(arrays: Mapping[str, Stored]) -> dict[str, int]:
    return {
        dim: size for array in arrays.values() for dim, size in zip(array.dims, np.shape(array.values), strict=True)
    }


def _write_h5py(path: Path, arrays: Mapping[str, Stored], libver: str) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        for name, array in arrays.items():
            dataset = _h5py_array(file, name, array)
            for key, value in array.attrs.items():
                dataset.attrs[key] = np.array([value]) if key == "_FillValue" else value
        for dim, size in _sizes(arrays).items():
            if dim not in file:
                file.create_dataset(dim, (size,), ">f4")
                file[dim].make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10d}")
            else:
                file[dim].make_scale(dim)
        for name, array in arrays.items():
            for axis, dim in enumerate(array.dims):
                if name != dim:
                    file[name].dims[axis].attach_scale(file[dim])
        file.attrs["title"] = "drawn"


def _h5py_array(file: h5py.File, name: str, array: Stored) -> h5py.Dataset:
    form, values = array.form, array.values
    shape = np.shape(values)
    if form.get("compact"):
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(shape)
        created = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(values.dtype), space, creation)
        dataset = h5py.Dataset(created)
        dataset[...] = values
        return dataset
    options: dict[str, Any] = {}
    if chunks := form.get("chunks"):
        options = {"chunks": tuple(chunks), "maxshape": (None, *shape[1:])}
        if not form.get("unlimited"):
            options["maxshape"] = None
            options["chunks"] = tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
        options["shuffle"], options["fletcher32"] = form.get("shuffle", False), form.get("fletcher32", False)
        if form.get("level") is not None:
            options |= {"compression": "gzip", "compression_opts": form["level"]}
    if form.get("fill") is not None:
        options["fillvalue"] = form["fill"]
    if values.dtype.kind == "O":
        return file.create_dataset(name, data=values, dtype=h5py.string_dtype())
    dataset = file.create_dataset(name, shape, values.dtype, **options)
    if array.written is None:
        dataset[...] = values
    elif array.written:
        dataset[: array.written] = values[: array.written]
    return dataset


def _write_netcdf(path: Path, arrays: Mapping[str, Stored], format: str) -> None:
    with netCDF4.Dataset(path, "w", format=format) as file:
        file.set_auto_maskandscale(False)
        grows = bool(arrays["time"].form.get("unlimited")) or arrays["tas"].form.get("unlimited", False)
        for dim, size in _sizes(arrays).items():
            file.createDimension(dim, None if dim == "time" and grows else size)
        for name, array in arrays.items():
            form = array.form
            dtype = str if array.values.dtype.kind == "O" else array.values.dtype
            options: dict[str, Any] = {}
            if format == "NETCDF4" and array.dims and array.values.dtype.kind in "iuf":
                options = {"endian": "big" if array.values.dtype.str[0] == ">" else "little"}
                if form.get("chunks"):
                    sizes = _sizes(arrays)
                    chunks = [
                        c if dim == "time" and grows else min(c, sizes[dim])
                        for dim, c in zip(array.dims, form["chunks"], strict=True)
                    ]
                    options |= {
                        "chunksizes": chunks,
                        "shuffle": form.get("shuffle", False),
                        "fletcher32": form.get("fletcher32", False),
                    }
                    options |= {"zlib": form.get("level") is not None, "complevel": form.get("level") or 0}
                elif not ("time" in array.dims and grows):
                    options["contiguous"] = True
            declared = array.attrs.get("_FillValue")
            variable = file.createVariable(name, dtype, array.dims, fill_value=declared, **options)
            variable.set_auto_maskandscale(False)
            variable.set_auto_chartostring(False)
            variable.setncatts({key: value for key, value in array.attrs.items() if key != "_FillValue"})
            if array.written is None:
                variable[...] = array.values
            elif array.written:
                variable[: array.written] = array.values[: array.written]
        file.title = "drawn"


# -- strategies ------------------------------------------------------------------------------------------------------

NUMBERS = ("i1", "i2", "i4", "i8", "u1", "u2", "f4", "f8")
CALENDARS = ("standard", "noleap", "360_day", "julian", "proleptic_gregorian")
UNITS = ("days since 1850-01-01", "days since 1930-1-1 0:0:0.0", "hours since 1900-01-01", "days since  2000-1-1")
EXTRAS = ("bounds", "height", "plane", "index", "label", "text", "attributes", "missing")
TOLD = st.frozensets(st.sampled_from(EXTRAS), max_size=3)


@st.composite
def cubes(draw: st.DrawFn, writer: str, *, files: int = 4, odd: bool = False) -> Cube:
    """Draw how a cube is written; half of those with several files can be joined."""
    lengths = tuple(draw(st.lists(st.integers(1, 6), min_size=2 if odd else 1, max_size=files)))
    cells = draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
    order = draw(st.sampled_from("<>"))
    numbers = NUMBERS if writer != "netCDF3" else ("i1", "i2", "i4", "f4", "f8")
    kind = draw(st.sampled_from(numbers))
    dtype = np.dtype(f"{order}{kind}").str
    layouts = {"netCDF4": ["chunked", "contiguous"], "netCDF3": ["chunked", "contiguous"]}
    layout = draw(st.sampled_from(layouts.get(writer, ["chunked", "contiguous", "compact"])))
    unlimited = layout == "chunked" and draw(st.booleans())
    first = draw(st.sampled_from([1, math.gcd(*lengths), 2, 3]))
    if unlimited and len(lengths) == 1:
        first = draw(st.sampled_from([first, 64]))
    chunk = (first, draw(st.integers(1, cells[0])), draw(st.integers(1, cells[1])))
    if not unlimited:
        chunk = (min(chunk[0], *lengths), *chunk[1:])
    is_packed = layout == "chunked" and writer != "netCDF3"
    is_small = kind[0] in "iu" and kind[1] in "12"
    calendar = draw(st.sampled_from(CALENDARS))
    cube = Cube(
        writer=writer,
        lengths=lengths,
        cells=cells,
        levels=draw(st.sampled_from([0, 0, 0, 2])),
        dtype=dtype,
        layout=layout,
        chunk=chunk,
        level=draw(st.sampled_from([None, 1, 6])) if is_packed else None,
        shuffle=is_packed and draw(st.booleans()),
        fletcher32=is_packed and draw(st.booleans()),
        unlimited=unlimited,
        calendar=calendar,
        units=tuple(draw(st.lists(st.sampled_from(UNITS), min_size=4, max_size=4))),
        time_dtype=draw(st.sampled_from(["f8", "i4", "i8" if writer != "netCDF3" else "f8", "f4"])),
        step_days=draw(st.sampled_from([1.0, 30.0, 365.0])),
        fill=draw(st.sampled_from(["none", "number", "nan"])),
        stored_fill=writer == "netCDF4" or draw(st.sampled_from([True, True, True, False])),
        missing=draw(st.sampled_from(["none", "none", "number", "nan"])),
        scale=draw(st.sampled_from(["none", "f8", "f4"])) if is_small else "none",
        holes=draw(st.sampled_from(["none", "none", "some", "all"])) if writer != "netCDF3" else "none",
        extras=draw(TOLD),
        seed=draw(st.integers(0, 9)),
    )
    return replace(cube, odd=draw(st.sampled_from(possible(cube)))) if odd else cube


# -- both sides ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate() -> Gate:
    """Give a gate that opens everything below the temporary folder."""
    return Gate((Path(tempfile.gettempdir()).resolve(),), LimitSettings())


def headers_of(gate: Gate, paths: Sequence[Path]) -> list[FileHeader]:
    headers = read_headers(gate, paths, ["tas"])
    if mixed := mixed_arrays(headers):
        headers = [replace(h, variables=("tas",)) for h in read_headers(gate, paths, ["tas", *mixed])]
    return headers


def manifest_of(gate: Gate, paths: Sequence[Path], format: CubeFormat) -> CubeManifest | str:
    """Return the cube of some files, or why there is none."""
    headers = headers_of(gate, paths)
    checked = preflight(headers, fill_is_missing=format is not CubeFormat.ICECHUNK)
    if checked.verdict is not Verdict.VIRTUALISE:
        return " ".join(finding.message for finding in checked.findings if finding.severity.value == "error")
    by_address = {header.address: header for header in headers}
    return combine([by_address[address] for address in checked.groups[0]])


def reopened(gate: Gate, path: Path, format: CubeFormat) -> xr.Dataset:
    if format is CubeFormat.ICECHUNK:
        return gate.open_icechunk(path, decode_times=CODER)
    return gate.open_references(path, decode_times=CODER)


def mfdataset(paths: Sequence[Path]) -> xr.Dataset:
    return xr.open_mfdataset(
        paths, engine="netcdf4", combine="nested", concat_dim="time", data_vars="minimal", coords="minimal",
        compat="override", join="override", decode_times=CODER,
    )  # fmt: skip


def assert_same(virtual: xr.Dataset, expected: xr.Dataset) -> None:
    assert set(virtual.variables) == set(expected.variables)
    assert set(virtual.coords) == set(expected.coords)
    for name, theirs in expected.variables.items():
        ours = virtual.variables[name]
        assert ours.dims == theirs.dims, name
        _assert_same_values(str(name), ours, theirs)
        got, wanted = plain(ours.attrs), plain(theirs.attrs)
        assert got == wanted, name
    assert plain(virtual.attrs) == plain(expected.attrs)


def _assert_same_values(name: str, ours: xr.Variable, theirs: xr.Variable) -> None:
    got, wanted = ours.to_numpy(), theirs.to_numpy()
    if wanted.dtype.kind in "SUO" and not isinstance(next(iter(wanted.flat), None), cftime.datetime):
        assert [_text(one) for one in got.flat] == [_text(one) for one in wanted.flat], name
        return
    assert got.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("="), name
    np.testing.assert_array_equal(got, wanted, err_msg=name)


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as JSON has them."""
    return {name: _plain(value) for name, value in attributes.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return "nan" if value == "NaN" else {"Infinity": "inf", "-Infinity": "-inf"}.get(str(value), value)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def check(gate: Gate, cube: Cube, format: CubeFormat) -> None:
    """Compare one cube in one format, or its refusal with the reason that is expected."""
    reason = cube.reason(format)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write(cube, folder)
        manifest = manifest_of(gate, paths, format)
        if isinstance(manifest, str):
            assert reason is not None, manifest
            assert reason in manifest
            assert any(path.name in manifest for path in paths)
            return
        assert reason is None, f"accepted in spite of {reason}"
        target = folder / "references"
        write_references(manifest, format, target)
        with opened(gate, target, format) as raw:
            verify_cube(gate, raw, manifest)
        with reopened(gate, target, format) as virtual, mfdataset(paths) as expected:
            assert_same(virtual, expected)


# -- the tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", WRITERS)
@settings(COMMON, max_examples=130)
@given(data=st.data(), format=st.sampled_from(FORMATS))
def test_a_random_cube_is_right_or_refused_for_its_reason(
    gate: Gate, writer: str, data: st.DataObject, format: CubeFormat
) -> None:
    check(gate, data.draw(cubes(writer)), format)


@pytest.mark.parametrize("writer", WRITERS)
@settings(COMMON, max_examples=25)
@given(data=st.data())
def test_a_file_that_differs_is_refused_naming_it(gate: Gate, writer: str, data: st.DataObject) -> None:
    cube = replace(data.draw(cubes(writer, odd=True)), holes="none")
    with tempfile.TemporaryDirectory() as folder:
        paths = write(cube, Path(folder))
        reason = manifest_of(gate, paths, CubeFormat.JSON)
        assert isinstance(reason, str)
        assert ODDITIES[cube.odd] in reason
        assert paths[-1].name in reason


@pytest.mark.parametrize("writer", WRITERS)
@settings(COMMON, max_examples=12)
@given(data=st.data(), format=st.sampled_from(FORMATS))
def test_the_whole_builder_agrees(
    virtualiser: CubeVirtualiser, tmp_path: Path, writer: str, data: st.DataObject, format: CubeFormat
) -> None:
    cube = data.draw(cubes(writer))
    reason = cube.reason(format)
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name)
        paths = write(cube, folder)
        made = built(virtualiser, folder, paths, format)
        if made.refused is not None:
            assert reason is not None, made.refused
            assert reason in made.refused
            assert any(path.name in made.refused for path in paths)
            return
        assert reason is None
        (one,) = made.cubes
        stored = one.references.key
        path = virtualiser.zone.local_folder(stored) if format.is_folder else virtualiser.zone.local_path(stored)
        with reopened(virtualiser.gate, path, format) as virtual, mfdataset(paths) as expected:
            assert_same(virtual, expected)
        assert one.model_validate_json(one.model_dump_json()) == one


def built(virtualiser: CubeVirtualiser, folder: Path, paths: Sequence[Path], format: CubeFormat) -> CubeOutcome:
    request = CubeRequest(source=str(folder), collection="c", naming="file", format=format)
    series = FileSeries(variable="tas", member=None, files=tuple(path.name for path in paths))
    files = CubeFiles(id="cube", title="Cube", facets={}, series=(series,), bytes=1)
    return virtualiser.builder(request)(files)


# -- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", WRITERS)
@settings(COMMON, max_examples=12)
@given(data=st.data(), format=st.sampled_from(FORMATS))
def test_a_cube_that_was_split_into_files_is_the_whole_again(
    gate: Gate, writer: str, data: st.DataObject, format: CubeFormat
) -> None:
    cube = replace(data.draw(accepted(writer)), holes="none")
    whole = replace(cube, lengths=(sum(cube.lengths),))
    assume(whole.reason(format) is None)
    with tempfile.TemporaryDirectory() as name:
        opened_cubes = []
        for number, one in enumerate((cube, whole)):
            folder = Path(name) / str(number)
            folder.mkdir()
            manifest = manifest_of(gate, write(one, folder), format)
            assert isinstance(manifest, CubeManifest)
            write_references(manifest, format, folder / "references")
            opened_cubes.append(reopened(gate, folder / "references", format))
        assert_same(*opened_cubes)


@pytest.mark.parametrize("writer", WRITERS)
@settings(COMMON, max_examples=12)
@given(data=st.data())
def test_files_that_are_added_make_the_cube_of_all(gate: Gate, writer: str, data: st.DataObject) -> None:
    cube = data.draw(accepted(writer))
    assume(len(cube.lengths) > 1)
    split = data.draw(st.integers(1, len(cube.lengths) - 1))
    with tempfile.TemporaryDirectory() as name:
        headers = headers_of(gate, write(cube, Path(name)))
        whole, known = combine(headers), combine(headers[:split])
        later = [fitted(header, known) for header in headers[split:]]
        checked = preflight([as_header(known), *later])
        is_cut = is_one_plain_piece(headers[0].arrays["tas"])
        if is_cut and checked.verdict is not Verdict.VIRTUALISE:
            # The known part is cut into pieces that do not fit the later files.
            assert "chunk" in checked.summary
            return
        assert checked.verdict is Verdict.VIRTUALISE, checked.findings
        assert_same_manifest(extend(known, later), whole, exact=not is_cut)


@pytest.mark.parametrize("writer", WRITERS)
@settings(COMMON, max_examples=12)
@given(data=st.data())
def test_references_are_read_back_as_they_were_written(gate: Gate, writer: str, data: st.DataObject) -> None:
    cube = data.draw(accepted(writer))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = manifest_of(gate, write(cube, folder), CubeFormat.JSON)
        assert isinstance(manifest, CubeManifest)
        write_json(manifest, folder / "cube.json")
        write_parquet(manifest, folder / "cube.parquet")
        assert_same_manifest(read_manifest(folder / "cube.json"), manifest)
        assert_same_manifest(read_manifest(folder / "cube.parquet"), manifest)


def accepted(writer: str) -> st.SearchStrategy[Cube]:
    return cubes(writer).filter(lambda cube: cube.reason(CubeFormat.JSON) is None)


def assert_same_manifest(got: CubeManifest, expected: CubeManifest, *, exact: bool = True) -> None:
    """Compare manifests; not `exact`, chunks may be cut otherwise."""
    assert got.sources == expected.sources
    assert got.variables == expected.variables
    assert plain(got.attributes) == plain(expected.attributes)
    assert list(got.arrays) == list(expected.arrays)
    for name, theirs in expected.arrays.items():
        ours = got.arrays[name]
        assert (ours.dims, ours.shape) == (theirs.dims, theirs.shape), name
        wanted = plain(theirs.attributes)
        if wanted.get("missing_value") == "nan":
            wanted.pop("missing_value", None)  # no JSON, and missing anyway
        assert {k: v for k, v in plain(ours.attributes).items() if k in wanted} == wanted, name
        if theirs.values is not None:
            assert ours.values is not None
            assert [_text(v) for v in ours.values.ravel()] == [_text(v) for v in theirs.values.ravel()], name
            assert ours.values.dtype == theirs.values.dtype or theirs.values.dtype.kind == "O", name
            continue
        assert (ours.dtype, ours.codecs) == (theirs.dtype, theirs.codecs), name
        if exact:
            assert ours.references is not None
            assert theirs.references is not None
            assert ours.chunks == theirs.chunks, name
            np.testing.assert_array_equal(ours.references.files, theirs.references.files)
            there = theirs.references.files >= 0
            for part in ("offsets", "sizes"):
                got_part, wanted_part = getattr(ours.references, part), getattr(theirs.references, part)
                np.testing.assert_array_equal(got_part[there], wanted_part[there])
            if not theirs.references.is_complete:
                np.testing.assert_array_equal(ours.fill_value, theirs.fill_value)
