"""A cube as a Zarr v3 store of its own, where references cannot join its files or other chunks are asked for.

The store is written region by region under a hidden name beside its target, by as many tasks as Dask runs; a journal
names the finished regions, so that a killed conversion goes on where it stood. Only what was compared with the sources
gets the target's name.
"""

import errno
import fcntl
import math
import os
import re
import shutil
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from geoetl.core import html
from geoetl.core.errors import Conflict, EmptyDataset, Unavailable, UnreadableFile, VerificationFailed
from geoetl.core.identifiers import canonical_json, digest
from geoetl.core.settings import DaskSettings
from geoetl.runs.cluster import client
from geoetl.runs.model import Result
from geoetl.store.gate import Format, Gate, check_netcdf
from geoetl.store.zones import free_bytes
from geoetl.virtual.header import INLINE_BYTES, TIME, ArrayHeader, FileHeader
from geoetl.virtual.read import read_header
from geoetl.virtual.verify import same_coordinate

if TYPE_CHECKING:
    import h5py
    import xarray as xr
    from numpy.typing import NDArray

# Raw bytes of a file of the store: 100 GB become some 800 of them.
SHARD_BYTES = 128_000_000
# Of a small cube the shards are smaller, so that two tasks have something to do.
MIN_SHARD_BYTES = 16_000_000
SHARDS_WANTED = 8
# Raw bytes that one task holds: whole shards, at least one.
TASK_BYTES = 512_000_000
# A chunk aims at this; a map's or a short series' may be smaller, but not below the other: each costs 50 µs to read.
CHUNK_BYTES = 4_000_000
MIN_CHUNK_BYTES = 32_000
# Cells along each side of a map's chunk; a grid that is not half as long again is not cut.
MAP_SIDE = 256
BALANCED_SIDE, BALANCED_STEPS = 128, 64
# A series' chunk has at least so many steps where the memory of a task allows it, even when each source chunk has to be
# unpacked up to so many times.
SERIES_STEPS, SERIES_READS = 365, 4
# Threads when no Dask cluster is configured.
THREADS = 2
# Besides the first and the last step of each file.
RANDOM_STEPS = 8
# Variables up to this many values are compared whole.
WHOLE_VALUES = 100_000
# What is written may turn out larger than the sample that was compressed.
SPACE_MARGIN = 1.1
# A change of what is written to the store; part of the journal's digest.
_FORM = 1

# What tells how stored numbers become values, besides their data type.
_PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
# Attributes in the units of the stored numbers, which say nothing of decoded ones.
_OF_PACKED = (*_PACKING, "valid_min", "valid_max", "valid_range", "actual_range")
# Attributes that name other variables (CF 1.11, appendix A).
_NAMING = (
    "bounds",
    "climatology",
    "coordinates",
    "grid_mapping",
    "formula_terms",
    "ancillary_variables",
    "cell_measures",
)
_CALENDARS = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
_TICKS = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1000,
}
# An absolute path in a text, but no part of a URL or of a unit such as kg/m2/s.
_PATH = re.compile(r"(?:file://|(?<![\w:/.)]))(?:/[\w.+@~-]+)+/([\w.+@~-]+)")

Box = tuple[slice, ...]


class Chunking(StrEnum):
    """What the chunks are good for.

    ``maps``: one step of up to 256 x 256 cells. ``series``: as many steps as memory allows of few cells. ``balanced``:
    64 steps of about 128 x 128 cells.
    """

    MAPS = "maps"
    SERIES = "series"
    BALANCED = "balanced"


class ArrayPlan(Result):
    """How one large variable will be stored.

    Attributes:
        name: Its name.
        dims: Names of its dimensions.
        shape: Its size along each, all files joined.
        dtype: As it will be stored.
        chunks: What is read at once, elements along each dimension.
        shards: What lies in one file.
        region: What one task writes.
        codec: The compressor.
        decoded_because: Why its numbers are not stored as they are in the files; None where they are.
        bytes: Uncompressed.
        estimated_bytes: Compressed, by one chunk of the first file.
        reads: How many times each chunk of the sources is unpacked.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    region: tuple[int, ...]
    codec: str
    decoded_because: str | None
    bytes: int
    estimated_bytes: int
    reads: int

    @property
    def chunk_count(self) -> int:
        """How many chunks it has."""
        return _count(self.shape, self.chunks)

    @property
    def shard_count(self) -> int:
        """How many files it becomes."""
        return _count(self.shape, self.shards)


class ZarrPlan(Result):
    """What a conversion will write.

    Attributes:
        chunking: What the chunks are good for.
        source_files: Number of files.
        source_bytes: Their sizes added up.
        steps: Time steps of all of them; 1 without time.
        time_units: What times are counted in; None without time.
        calendar: Their calendar.
        arrays: The large variables; coordinates, bounds and other small ones are copied whole.
    """

    chunking: Chunking
    source_files: int
    source_bytes: int
    steps: int
    time_units: str | None
    calendar: str | None
    arrays: tuple[ArrayPlan, ...]

    @property
    def bytes(self) -> int:
        """Uncompressed bytes of the large variables."""
        return sum(array.bytes for array in self.arrays)

    @property
    def estimated_bytes(self) -> int:
        """Bytes that the store will take."""
        return sum(array.estimated_bytes for array in self.arrays)

    @property
    def estimated_files(self) -> int:
        """Files of the large variables."""
        return sum(array.shard_count for array in self.arrays)

    def _repr_html_(self) -> str:
        said = (
            f"{_files(self.source_files)} ({html.human_bytes(self.source_bytes)}) become about "
            f"{html.human_bytes(self.estimated_bytes)} in {_files(self.estimated_files)}, chunked for {self.chunking}"
        )
        times = f"{self.steps:,}, {self.time_units}, calendar {self.calendar}" if self.time_units else None
        rows = [
            (a.name, _times(a.shape), a.dtype, f"{_times(a.chunks)} ({html.human_bytes(_chunk_bytes(a))})",
             f"{_times(a.shards)} ({a.shard_count})", a.codec, html.human_bytes(a.estimated_bytes))
            for a in self.arrays
        ]  # fmt: skip
        reads = max((array.reads for array in self.arrays), default=1)
        repeated = f"each chunk of the sources is unpacked {reads} times" if reads > 1 else None
        header = ["variable", "shape", "type", "chunks", "shards (files)", "codec", "about"]
        decoded = [(array.name, array.decoded_because) for array in self.arrays if array.decoded_because]
        return "".join(
            [
                html.heading("Zarr store", said),
                html.facts([("time steps", times), ("reading", repeated)]),
                html.table(header, rows),
            ]
            + ([html.table(["decoded", "because"], decoded)] if decoded else [])
        )


class Converted(Result):
    """A finished store; a difference from its sources raises instead.

    Attributes:
        store: Name of its folder.
        plan: What was written.
        bytes: Of its files.
        files: Their number.
        chunks: Chunks of the large variables.
        fields_compared: Steps of variables (or whole variables without time) that were compared with the sources.
        fields_total: As many as there are.
        values_compared: Values in those that were compared.
        regions_resumed: Regions that an earlier, ended attempt had written.
        seconds: How long this attempt took.
    """

    store: str
    plan: ZarrPlan
    bytes: int
    files: int
    chunks: int
    fields_compared: int
    fields_total: int
    values_compared: int
    regions_resumed: int
    seconds: float

    def _repr_html_(self) -> str:
        took = html.human_seconds(self.seconds) + (
            f", {self.regions_resumed} regions resumed" if self.regions_resumed else ""
        )
        return html.heading("Zarr store", self.store) + html.facts(
            [
                ("size", f"{html.human_bytes(self.bytes)} in {_files(self.files)}, {self.chunks:,} chunks"),
                ("source", f"{html.human_bytes(self.plan.source_bytes)} in {_files(self.plan.source_files)}"),
                (
                    "compared",
                    f"{self.fields_compared:,} of {self.fields_total:,} fields, {self.values_compared:,} values",
                ),
                ("took", took),
            ]
        )


def plan(
    gate: Gate, paths: Sequence[Path], *, variables: Sequence[str] | None = None, chunking: Chunking = Chunking.BALANCED
) -> ZarrPlan:
    """Say what a conversion would write; headers, coordinates and one chunk of each large variable are read.

    Args:
        gate: Opens the files.
        paths: The files of one cube, in any order.
        variables: The variables to convert, with all that they refer to; None takes every one.
        chunking: What the chunks shall be good for.

    Raises:
        VerificationFailed: The files do not make one cube; the message names file and variable.
        UnreadableFile: A file is damaged, or a variable is not in it.
        EmptyDataset: There is no file, or one without a time step.
    """
    return _lay_out(_survey(gate, paths, variables), chunking)


def convert(
    gate: Gate,
    paths: Sequence[Path],
    target: Path,
    *,
    variables: Sequence[str] | None = None,
    chunking: Chunking = Chunking.BALANCED,
    dask: DaskSettings | None = None,
) -> Converted:
    """Write the files of one cube as a Zarr v3 store and compare it with them.

    Where an earlier call was killed, this one goes on; a finished store of the same sources and plan is returned as it
    is. Numbers stay packed where all files pack them alike.

    Args:
        gate: Opens the files.
        paths: The files of one cube, in any order.
        target: Folder of the store, which must not be there yet.
        variables: The variables to convert, with all that they refer to; None takes every one.
        chunking: What the chunks shall be good for.
        dask: Where the tasks run; without an address in this process, by two threads.

    Raises:
        VerificationFailed: The files do not make one cube, or the store differs from them.
        UnreadableFile: A file is damaged, or a variable is not in it.
        EmptyDataset: There is no file, or one without a time step.
        Conflict: The target is there already, or another process is writing it.
        Unavailable: The disk is full or cannot be written; what is finished is kept for the next call.
    """
    started = time.monotonic()
    survey = _survey(gate, paths, variables)
    planned = _lay_out(survey, chunking)
    token = digest([_FORM, planned.model_dump(mode="json"), survey.fingerprints])
    place = _Place(target, token)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(place):
        if target.exists():
            return place.recorded()
        tasks = _tasks(survey, planned, place)
        with _writing(target):
            place.remove_others()
            done = place.finished()
            waiting = [task for task in tasks if task.key not in done]
            _check_space(planned, target, share_left=len(waiting) / max(1, len(tasks)))
            if not done:
                place.reset()
                _write_template(survey, planned, place.partial)
                place.note(_TEMPLATE)
        with client(dask or DaskSettings()) as cluster:
            _execute(waiting, cluster)
            with _writing(target):
                _consolidate(place.partial, survey)
            checked = _execute(_checks(survey, planned, place.partial), cluster)
        files = [path for path in place.partial.rglob("*") if path.is_file()]
        result = Converted(
            store=target.name,
            plan=planned,
            bytes=sum(path.stat().st_size for path in files),
            files=len(files),
            chunks=sum(array.chunk_count for array in planned.arrays),
            fields_compared=sum(part[0] for part in checked),
            fields_total=sum(part[1] for part in checked),
            values_compared=sum(part[2] for part in checked),
            regions_resumed=max(0, len(done) - 1),
            seconds=time.monotonic() - started,
        )
        with _writing(target):
            place.publish(result)
        return result


# -- what the files say ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Survey:
    """The files of one cube in the order of time, compared with each other.

    Attributes:
        gate: Opens them.
        headers: Of each.
        names: The variables to convert.
        first: The first file: stored numbers, nothing loaded.
        dates: The loaded content of all times and their bounds, by name, in one unit; with their attributes.
        texts: The loaded content of other small variables over time that are no numbers.
        packings: For each variable that is copied region by region, how each file packs it.
    """

    gate: Gate
    headers: tuple[FileHeader, ...]
    names: tuple[str, ...]
    first: "xr.Dataset"
    dates: "Mapping[str, tuple[NDArray[Any], dict[str, Any]]]"
    texts: "Mapping[str, NDArray[Any]]"
    packings: "Mapping[str, tuple[_Packing, ...]]"

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(Path(header.address) for header in self.headers)

    @property
    def steps(self) -> int:
        return sum(header.steps for header in self.headers)

    @cached_property
    def begins(self) -> tuple[int, ...]:
        """The step of the cube at which each file begins."""
        return tuple(int(n) for n in np.cumsum([0, *(header.steps for header in self.headers)])[:-1])

    @property
    def fingerprints(self) -> list[list[Any]]:
        return [[header.name, header.bytes, header.modified_ns] for header in self.headers]

    def shape(self, name: str) -> tuple[int, ...]:
        array = self.headers[0].arrays[name]
        return tuple(self.steps if dim == TIME else size for dim, size in zip(array.dims, array.shape, strict=True))


@dataclass(frozen=True, eq=False)
class _Packing:
    """How one file packs the values of one variable.

    Attributes:
        dtype: Of the stored numbers, in this machine's byte order.
        attributes: Those of `_PACKING` that it has, with the types in which the file has them.
    """

    dtype: "np.dtype[Any]"
    attributes: Mapping[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """What equals for files that pack alike."""
        parts = ((name, _key(self.attributes[name])) for name in _PACKING if name in self.attributes)
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
        return self.decode(np.zeros(1, self.dtype)).dtype

    @cached_property
    def survives_json(self) -> bool:
        """Tell whether values are the same when the attributes have been written to JSON, which has no float32."""
        if not self.attributes:
            return True
        fill = self.attributes.get("_FillValue")
        if fill is not None and self.dtype.kind in "iu" and not (np.isfinite(fill) and int(fill) == fill):
            return False
        plain = _Packing(self.dtype, {name: _plain(value) for name, value in self.attributes.items()})
        if self.dtype.kind in "iu" and self.dtype.itemsize <= 2:
            info = np.iinfo(self.dtype)
            probe = np.arange(info.min, info.max + 1).astype(self.dtype)
        else:
            noise = np.random.default_rng(0).bytes(4096 * self.dtype.itemsize)
            probe = np.frombuffer(noise, self.dtype)
        with np.errstate(all="ignore"):
            return _same_bits(self.decode(probe), plain.decode(probe))


def _survey(gate: Gate, paths: Sequence[Path], variables: Sequence[str] | None) -> _Survey:
    if not paths:
        raise EmptyDataset("There is no file to convert.", hint="Give the files of one cube.", field="source")
    # Where nothing is asked for, a file without any grid is taken too: it may hold series.
    headers = [read_header(gate, path, variables if variables is not None else ()) for path in paths]
    names = _wanted(headers[0], variables)
    for header in headers:
        _check_form(headers[0], header, names, variables)
    headers = _ordered(gate, headers)
    with gate.open_netcdf(Path(headers[0].address), mask_and_scale=False, decode_times=False) as opened:
        first = opened[[name for name in names if name in opened.variables]]
        kinds = {str(name): variable.dtype.kind for name, variable in first.variables.items()}
    clocks = _clocks(headers, names)
    over_time = [name for name in names if headers[0].arrays[name].time_axis is not None and name in kinds]
    large = [
        name
        for name in kinds
        if kinds[name] in "iuf" and name not in clocks
        and (name in over_time or _nbytes(headers[0].arrays[name]) > INLINE_BYTES)
    ]  # fmt: skip
    fixed = [name for name in names if name not in over_time]
    _check_fixed(gate, headers, fixed)
    return _Survey(
        gate=gate,
        headers=tuple(headers),
        names=tuple(names),
        first=first,
        dates=_dates(gate, headers, clocks),
        texts={name: _texts(gate, headers, name) for name in over_time if name not in large and name not in clocks},
        packings=_packings(gate, headers, large),
    )


def _wanted(header: FileHeader, variables: Sequence[str] | None) -> list[str]:
    """Return all variables, or those asked for with what they refer to and the coordinates of their dimensions."""
    if variables is None:
        return list(header.arrays)
    kept: list[str] = []
    waiting = list(variables)
    while waiting:
        name = waiting.pop(0)
        if name in kept or name not in header.arrays:
            continue
        kept.append(name)
        array = header.arrays[name]
        waiting += array.dims
        for key in _NAMING:
            waiting += [word for word in str(array.attributes.get(key, "")).split() if not word.endswith(":")]
    return [name for name in header.arrays if name in kept]


def _check_form(first: FileHeader, other: FileHeader, names: Sequence[str], variables: Sequence[str] | None) -> None:
    """Compare the variables of two files, their dimensions and their grid."""
    extra = [name for name in other.arrays if name not in first.arrays] if variables is None else []
    for name in [*names, *extra]:
        if name not in other.arrays or name not in first.arrays:
            has, lacks = (first, other) if name in first.arrays else (other, first)
            raise VerificationFailed(
                f"'{name}' is in '{has.name}' but not in '{lacks.name}'.",
                hint="Name the variables to convert, or leave the file out.",
                field="source",
            )
        mine, its = first.arrays[name], other.arrays[name]
        if its.dims != mine.dims:
            raise _differs(other, first, f"the dimensions of '{name}' are", its.dims, mine.dims)
        for dim, size, expected in zip(its.dims, its.shape, mine.shape, strict=True):
            if dim != TIME and size != expected:
                raise _differs(other, first, f"the size of '{name}' along '{dim}' is", size, expected)
        got_units, units = its.attributes.get("units"), mine.attributes.get("units")
        if got_units != units and not (_units(its.attributes) and _units(mine.attributes)):
            raise _differs(other, first, f"the unit of '{name}' is", got_units, units)


def _differs(other: FileHeader, first: FileHeader, what: str, got: Any, expected: Any) -> VerificationFailed:
    return VerificationFailed(
        f"'{other.name}' does not belong to the cube of '{first.name}': {what} {_short(got)} there and "
        f"{_short(expected)} here.",
        hint="Leave the file out, or convert it as a cube of its own.",
        field="source",
    )


def _ordered(gate: Gate, headers: Sequence[FileHeader]) -> list[FileHeader]:
    """Return the files by their first time; none may begin before the one before it ends."""
    if len(headers) == 1 and (TIME not in headers[0].dimensions or TIME not in headers[0].arrays):
        return list(headers)
    spans = []
    for header in headers:
        if TIME not in header.dimensions or TIME not in header.arrays:
            raise VerificationFailed(
                f"'{header.name}' has no time, so it cannot be joined with others.",
                hint="Convert each file as a cube of its own.",
                field="source",
            )
        numbers = _whole(gate, header, TIME)
        if numbers.size == 0:
            raise EmptyDataset(f"'{header.name}' has no time step.", hint="Leave the file out.", field="source")
        falling = np.flatnonzero(~(np.diff(numbers) > 0))
        if falling.size:
            raise VerificationFailed(
                f"The times of '{header.name}' do not increase behind step {falling[0]}.",
                hint="Sort the file by time (cdo sorttimestamp) or leave it out.",
                field="source",
            )
        attributes = header.arrays[TIME].attributes
        if _calendar(attributes) != _calendar(headers[0].arrays[TIME].attributes):
            got, expected = (_calendar(h.arrays[TIME].attributes) for h in (header, headers[0]))
            raise _differs(header, headers[0], "the calendar is", got, expected)
        ends = numbers[[0, -1]]
        spans.append((_to_dates(header, ends, attributes) if _units(attributes) else ends, header))
    spans.sort(key=lambda span: span[0][0])
    for (before, earlier), (after, later) in pairwise(spans):
        if not after[0] > before[1]:
            raise VerificationFailed(
                f"'{later.name}' begins at {after[0]}, before '{earlier.name}' ends at {before[1]}.",
                hint="Leave out the file that overlaps.",
                field="source",
            )
    return [header for _, header in spans]


def _check_fixed(gate: Gate, headers: Sequence[FileHeader], names: Sequence[str]) -> None:
    """Compare what has no time, which the store holds once."""
    first = headers[0]
    for name in names if len(headers) > 1 else ():
        expected = _whole(gate, first, name)
        for header in headers[1:]:
            mine, its = (
                [_key(h.arrays[name].attributes.get(key)) for key in ("units", *_PACKING)] for h in (first, header)
            )
            if mine != its or not same_coordinate(_whole(gate, header, name), expected):
                raise _differs(header, first, f"the content of '{name}' is", "different", "as in the first file")


def _whole(gate: Gate, header: FileHeader, name: str) -> "NDArray[Any]":
    """Return the stored content of a small variable."""
    values = header.arrays[name].values
    if values is not None:
        return values
    shape = header.arrays[name].shape
    return _read(gate, Path(header.address), name, tuple(slice(0, size) for size in shape))


# -- times -----------------------------------------------------------------------------------------------------------


def _clocks(headers: Sequence[FileHeader], names: Sequence[str]) -> dict[str, str]:
    """Return the variable whose units count each variable of dates over time: its own, or those of whose bounds it is.

    xarray takes units from the attribute ``bounds`` only, so ``climatology`` is refused where units would change.
    """
    arrays = headers[0].arrays
    clocks = {
        name: name
        for name in names
        if arrays[name].time_axis is not None and arrays[name].dtype.kind in "iuf" and _units(arrays[name].attributes)
    }
    for name in list(clocks):
        bounds = str(arrays[name].attributes.get("bounds", ""))
        if bounds in names and arrays[bounds].time_axis is not None:
            clocks[bounds] = name
        for header in headers[1:]:
            mine, its = arrays[name].attributes, header.arrays[name].attributes
            if _calendar(its) != _calendar(mine):
                raise _differs(header, headers[0], f"the calendar of '{name}' is", _calendar(its), _calendar(mine))
            if "climatology" in mine and _units(its) != _units(mine):
                raise _differs(header, headers[0], "the unit of the climatology is", _units(its), _units(mine))
    return clocks


def _dates(
    gate: Gate, headers: Sequence[FileHeader], clocks: Mapping[str, str]
) -> "dict[str, tuple[NDArray[Any], dict[str, Any]]]":
    """Return times and bounds of all files in one unit, exactly, each with its attributes."""
    joined: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {}
    for clock in dict.fromkeys(clocks.values()):
        group = [name for name in clocks if clocks[name] == clock]
        contents = {name: [_whole(gate, header, name) for header in headers] for name in group}
        spoken = [_units(header.arrays[clock].attributes) for header in headers]
        changed: dict[str, Any] = {}
        if len(set(spoken)) > 1:
            calendar = _calendar(headers[0].arrays[clock].attributes)
            contents, units = _in_one_unit(headers, contents, clock)
            changed = {"units": units, "calendar": calendar}
        for name, parts in contents.items():
            array = headers[0].arrays[name]
            attributes = {k: v for k, v in array.attributes.items() if not changed or k not in (*changed, *_OF_PACKED)}
            whole = np.concatenate(parts, axis=array.dims.index(TIME))
            native = whole.astype(whole.dtype.newbyteorder("="), copy=False)
            joined[name] = (native, {**attributes, **(changed if name == clock else {})})
    return joined


def _in_one_unit(
    headers: Sequence[FileHeader], contents: "Mapping[str, Sequence[NDArray[Any]]]", clock: str
) -> "tuple[dict[str, list[NDArray[Any]]], str]":
    """Count dates from the first file's epoch, in whole numbers of the longest unit that says them exactly."""
    import cftime

    attributes = headers[0].arrays[clock].attributes
    epoch = _units(attributes).partition(" since ")[2]
    ticks = {
        name: [
            np.asarray(
                cftime.date2num(
                    _to_dates(header, part, header.arrays[clock].attributes),
                    f"microseconds since {epoch}",
                    _calendar(attributes),
                )
            ).astype(np.int64)
            for header, part in zip(headers, parts, strict=True)
        ]
        for name, parts in contents.items()
    }
    flat = [part for parts in ticks.values() for part in parts]
    unit = next((u for u, size in _TICKS.items() if not any((part % size).any() for part in flat)), "microseconds")
    size = _TICKS.get(unit, 1)
    return {name: [part // size for part in parts] for name, parts in ticks.items()}, f"{unit} since {epoch}"


def _to_dates(header: FileHeader, numbers: "NDArray[Any]", attributes: Mapping[str, Any]) -> "NDArray[Any]":
    import cftime

    try:
        return np.asarray(
            cftime.num2date(numbers, _units(attributes), _calendar(attributes), only_use_cftime_datetimes=True)
        )
    except (ValueError, OverflowError) as error:
        raise UnreadableFile(
            f"The times of '{header.name}' cannot be read: {(str(error).splitlines() or [''])[0][:160]}",
            hint="Its time units or calendar do not follow CF; correct them (ncatted) or leave the file out.",
            field="source",
        ) from None


def _units(attributes: Mapping[str, Any]) -> str:
    """Return the unit of dates, with single blanks; empty for any other variable."""
    units = " ".join(str(attributes.get("units", "")).split())
    return units if " since " in units else ""


def _calendar(attributes: Mapping[str, Any]) -> str:
    named = str(attributes.get("calendar", "standard")).lower()
    return _CALENDARS.get(named, named)


# -- packing ---------------------------------------------------------------------------------------------------------


def _packings(gate: Gate, headers: Sequence[FileHeader], names: Sequence[str]) -> "dict[str, tuple[_Packing, ...]]":
    packings: dict[str, list[_Packing]] = {name: [] for name in names}
    for header in headers:
        typed = _typed_attributes(gate, header, names)
        for name in names:
            array = header.arrays[name]
            attributes = typed.get(name, array.attributes)
            kept = {key: attributes[key] for key in _PACKING if key in attributes}
            packings[name].append(_Packing(array.dtype.newbyteorder("="), kept))
    return {name: tuple(parts) for name, parts in packings.items()}


def _typed_attributes(gate: Gate, header: FileHeader, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the attributes of scaled variables with their data types: float32 factors give float32 values."""
    scaled = [n for n in names if {"scale_factor", "add_offset", "_Unsigned"} & set(header.arrays[n].attributes)]
    if not scaled:
        return {}
    with gate.open_netcdf(Path(header.address), decode_cf=False) as opened:
        return {name: dict(opened[name].attrs) for name in scaled}


def _texts(gate: Gate, headers: Sequence[FileHeader], name: str) -> "NDArray[Any]":
    parts = []
    for header in headers:
        with gate.open_netcdf(Path(header.address), mask_and_scale=False, decode_times=False) as opened:
            parts.append((opened[name].dims.index(TIME), opened[name].to_numpy()))
    return np.concatenate([part for _, part in parts], axis=parts[0][0])


def _decoded_because(survey: _Survey, name: str) -> str | None:
    """Return why a variable cannot be stored as packed in its files; None where it can."""
    packings = survey.packings[name]
    for header, packing in zip(survey.headers, packings, strict=True):
        if packing.key != packings[0].key:
            return f"'{header.name}' packs it otherwise than '{survey.headers[0].name}'"
    return None if packings[0].survives_json else "its packing attributes lose their type in JSON"


# -- what will be written --------------------------------------------------------------------------------------------


def _lay_out(survey: _Survey, chunking: Chunking) -> ZarrPlan:
    clock = survey.dates.get(TIME)
    return ZarrPlan(
        chunking=chunking,
        source_files=len(survey.headers),
        source_bytes=sum(header.bytes for header in survey.headers),
        steps=survey.steps,
        time_units=_units(clock[1]) if clock else None,
        calendar=_calendar(clock[1]) if clock else None,
        arrays=tuple(_lay_out_array(survey, name, chunking) for name in survey.packings),
    )


def _lay_out_array(survey: _Survey, name: str, chunking: Chunking) -> ArrayPlan:
    array, shape = survey.headers[0].arrays[name], survey.shape(name)
    packings = survey.packings[name]
    because = _decoded_because(survey, name)
    dtype = np.result_type(*(p.decoded_dtype for p in packings)) if because else packings[0].dtype
    size = dtype.itemsize
    axis = array.time_axis
    chunks = _chunks(chunking, shape, axis, size)
    total = math.prod(shape) * size
    shards = _grown(chunks, shape, axis, size, min(SHARD_BYTES, max(total // SHARDS_WANTED, MIN_SHARD_BYTES)))
    region = _grown(shards, shape, axis, size, TASK_BYTES if chunking is Chunking.SERIES else 0)
    reads = _count([n for a, n in enumerate(shape) if a != axis], [n for a, n in enumerate(region) if a != axis])
    codec = _codec(dtype)
    return ArrayPlan(
        name=name,
        dims=array.dims,
        shape=shape,
        dtype=dtype.name,
        chunks=chunks,
        shards=shards,
        region=region,
        codec=f"blosc {codec['cname']} {codec['clevel']}, {codec['shuffle']}",
        decoded_because=because,
        bytes=total,
        estimated_bytes=round(total * _ratio(survey, name, chunks, dtype, decoded=because is not None)),
        reads=reads,
    )


def _chunks(chunking: Chunking, shape: tuple[int, ...], time_axis: int | None, itemsize: int) -> tuple[int, ...]:
    """Return the shape of a chunk; time is the axis `time_axis`, the last two others are horizontal."""
    others = [axis for axis in range(len(shape)) if axis != time_axis]
    horizontal = others[-2:]
    chunk = [1] * len(shape)
    steps = 1 if time_axis is None else shape[time_axis]
    wanted, cells = 1, MAP_SIDE**2
    if chunking is Chunking.BALANCED:
        wanted, cells = BALANCED_STEPS, BALANCED_SIDE**2
    elif chunking is Chunking.SERIES and time_axis is not None:
        wanted = _series_steps(shape, steps, itemsize)
        cells = max(1, CHUNK_BYTES // (wanted * itemsize))
    side = math.isqrt(cells) if len(horizontal) == 2 else cells
    spare = 1.5 if chunking is Chunking.MAPS else 1
    for axis in horizontal:
        chunk[axis] = shape[axis] if shape[axis] <= spare * side else _even(shape[axis], side)
    if time_axis is not None:
        cell = math.prod(chunk) * itemsize
        least = MIN_CHUNK_BYTES if chunking is Chunking.MAPS and horizontal else CHUNK_BYTES // 2
        wanted = min(max(wanted, -(-least // cell)), max(1, 2 * CHUNK_BYTES // cell))
        chunk[time_axis] = _even(steps, wanted)
    for axis in reversed(others[:-2]):
        if math.prod(chunk) * itemsize >= MIN_CHUNK_BYTES:
            break
        chunk[axis] = _even(shape[axis], max(1, MIN_CHUNK_BYTES // (math.prod(chunk) * itemsize)))
    return tuple(chunk)


def _series_steps(shape: tuple[int, ...], steps: int, itemsize: int) -> int:
    """Return how many steps of the whole grid a task can hold; more where a long series is worth repeated reads."""
    step_bytes = max(1, math.prod(shape) // steps * itemsize)
    held = max(1, TASK_BYTES // step_bytes)
    return _even(steps, max(held, min(held * SERIES_READS, SERIES_STEPS)))


def _grown(
    unit: tuple[int, ...], shape: tuple[int, ...], time_axis: int | None, itemsize: int, limit: int
) -> tuple[int, ...]:
    """Return the largest box of whole units below a number of bytes: first along the last axis, along time at last."""
    box = list(unit)
    for axis in [*(a for a in reversed(range(len(shape))) if a != time_axis), time_axis]:
        if axis is None:
            continue
        units = -(-shape[axis] // unit[axis])
        fitting = limit // (math.prod(box) * itemsize)
        box[axis] = unit[axis] * _even(units, max(1, fitting))
        if box[axis] < shape[axis]:
            break
    return tuple(box)


def _even(size: int, length: int) -> int:
    """Return the length of the parts when `size` is cut into equal ones that are not longer than `length`."""
    return max(1, -(-size // max(1, -(-size // length))))


def _codec(dtype: "np.dtype[Any]") -> dict[str, Any]:
    """Return the compressor for numbers of a type.

    Measured with zstd 3: floats become 5 to 20 % smaller with bytes shuffled than with bits; integers are as small
    with bits and compress almost three times as fast.
    """
    return {"cname": "zstd", "clevel": 3, "shuffle": "shuffle" if dtype.kind == "f" else "bitshuffle"}


def _ratio(survey: _Survey, name: str, chunks: tuple[int, ...], dtype: "np.dtype[Any]", *, decoded: bool) -> float:
    """Return by how much one chunk from the middle of the first file gets smaller."""
    from numcodecs import Blosc  # type: ignore[import-untyped]

    header = survey.headers[0]
    begins = [(size - min(size, chunk)) // 2 for size, chunk in zip(header.arrays[name].shape, chunks, strict=True)]
    box = tuple(slice(begin, begin + chunk) for begin, chunk in zip(begins, chunks, strict=True))
    box = tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, header.arrays[name].shape, strict=True))
    sample = _read(survey.gate, Path(header.address), name, box)
    if decoded:
        sample = survey.packings[name][0].decode(sample)
    codec = _codec(dtype)
    shuffle = Blosc.SHUFFLE if codec["shuffle"] == "shuffle" else Blosc.BITSHUFFLE
    plain = np.ascontiguousarray(sample.astype(dtype, copy=False))
    return len(Blosc(codec["cname"], codec["clevel"], shuffle).encode(plain)) / max(1, plain.nbytes)


# -- reading ---------------------------------------------------------------------------------------------------------


def _read(gate: Gate, path: Path, name: str, box: Box) -> "NDArray[Any]":
    """Return a box of stored numbers of one file.

    Raises:
        UnreadableFile: The file is damaged there.
    """
    try:
        if check_netcdf(path) is Format.HDF5:
            with gate.open_hdf5(path) as file:
                return _read_hdf5(file[name], box)
        with gate.open_netcdf(path, decode_cf=False) as opened:
            return np.asarray(opened[name][box].to_numpy())
    except (OSError, RuntimeError, ValueError, zlib.error) as error:
        raise UnreadableFile(
            f"'{name}' of '{path.name}' cannot be read: {(str(error).splitlines() or [''])[0][:160]}",
            hint="The file is probably truncated or damaged; fetch it again and compare its checksum.",
            field="source",
        ) from None


def _read_hdf5(dataset: "h5py.Dataset", box: Box) -> "NDArray[Any]":
    """Return a box of a dataset, unpacked by our own threads where its filters allow it.

    HDF5 unpacks under one lock for the whole process, and by a slower library.
    """
    unpack = _unpacker(dataset)
    if unpack is None:
        return np.asarray(dataset[box])
    out = np.empty([part.stop - part.start for part in box], dataset.dtype)
    grid = [range(part.start // n, -(-part.stop // n)) for part, n in zip(box, dataset.chunks, strict=True)]
    for place in product(*grid):
        origin = tuple(p * n for p, n in zip(place, dataset.chunks, strict=True))
        held = tuple(
            slice(max(o, part.start), min(o + n, part.stop))
            for o, n, part in zip(origin, dataset.chunks, box, strict=True)
        )
        into = tuple(slice(h.start - part.start, h.stop - part.start) for h, part in zip(held, box, strict=True))
        try:
            skipped, packed = dataset.id.read_direct_chunk(origin)
        except (OSError, RuntimeError):
            skipped, packed = -1, b""  # never written: the library knows the fill value
        if skipped:
            out[into] = dataset[held]
            continue
        within = tuple(slice(h.start - o, h.stop - o) for h, o in zip(held, origin, strict=True))
        out[into] = unpack(packed)[within]
    return out


def _unpacker(dataset: "h5py.Dataset") -> "Callable[[bytes], NDArray[Any]] | None":
    """Return what unpacks a raw chunk of deflated, perhaps byte-shuffled numbers; None for any other storage."""
    if dataset.chunks is None or dataset.compression != "gzip" or dataset.dtype.kind not in "iuf":
        return None
    if dataset.fletcher32 or dataset.scaleoffset is not None or dataset.id.get_create_plist().get_nfilters() > 2:
        return None
    if dataset.shuffle is False and dataset.id.get_create_plist().get_nfilters() > 1:
        return None
    from isal import isal_zlib
    from isal.igzip_lib import IsalError
    from numcodecs.shuffle import Shuffle  # type: ignore[import-untyped]

    dtype, chunks = dataset.dtype, dataset.chunks
    size = math.prod(chunks) * dtype.itemsize
    shuffle = Shuffle(dtype.itemsize) if dataset.shuffle else None

    def unpack(packed: bytes) -> "NDArray[Any]":
        try:
            plain = isal_zlib.decompress(packed, bufsize=size)
        except IsalError as error:  # type: ignore[misc]  # isal 1.9 types it as an instance
            raise ValueError(f"a chunk cannot be inflated ({error})") from error
        if len(plain) != size:
            raise ValueError(f"a chunk has {len(plain)} bytes, not {size}")
        return np.frombuffer(shuffle.decode(plain) if shuffle else plain, dtype).reshape(chunks)

    return unpack


# -- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Piece:
    """The part of one variable that one file holds.

    Attributes:
        path: The file.
        begin: Its first step in the cube.
        steps: How many it has.
        packing: How it is unpacked; None where stored numbers are copied.
    """

    path: Path
    begin: int
    steps: int
    packing: _Packing | None


@dataclass(frozen=True, eq=False)
class _WriteRegion:
    """Copies one region of one variable: whole shards, so that no two tasks write one file. Picklable, for Dask."""

    gate: Gate
    place: "_Place"
    name: str
    dtype: str
    time_axis: int | None
    shards: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    pieces: tuple[_Piece, ...]

    @property
    def key(self) -> str:
        return f"{self.name} {' '.join(f'{start}:{stop}' for start, stop in self.box)}"

    def __call__(self) -> None:
        block = self._load()
        with _writing(self.place.target):
            self._store(block)
            self.place.note(self.key)

    def _load(self) -> "NDArray[Any]":
        block = np.empty([stop - start for start, stop in self.box], self.dtype)
        for piece in self.pieces:
            box = [slice(start, stop) for start, stop in self.box]
            into = [slice(0, stop - start) for start, stop in self.box]
            if self.time_axis is not None:
                start, stop = self.box[self.time_axis]
                low, high = max(start, piece.begin), min(stop, piece.begin + piece.steps)
                box[self.time_axis] = slice(low - piece.begin, high - piece.begin)
                into[self.time_axis] = slice(low - start, high - start)
            stored = _read(self.gate, piece.path, self.name, tuple(box))
            if piece.packing is not None:
                stored = piece.packing.decode(stored.astype(stored.dtype.newbyteorder("="), copy=False))
            block[tuple(into)] = stored
        return block

    def _store(self, block: "NDArray[Any]") -> None:
        import zarr

        array = zarr.Array.open(zarr.storage.LocalStore(self.place.partial / self.name))
        grid = [range(start // n, -(-stop // n)) for (start, stop), n in zip(self.box, self.shards, strict=True)]
        for place in product(*grid):
            shard = tuple(
                slice(p * n, min((p + 1) * n, stop))
                for p, n, (_, stop) in zip(place, self.shards, self.box, strict=True)
            )
            inner = tuple(slice(s.start - b, s.stop - b) for s, (b, _) in zip(shard, self.box, strict=True))
            array[shard] = block[inner]
            written = self.place.partial.joinpath(self.name, "c", *map(str, place))
            for path in (written, *written.parents[: len(place) + 1]):
                _sync(path)


def _tasks(survey: _Survey, planned: ZarrPlan, place: "_Place") -> list[_WriteRegion]:
    tasks = []
    for array in planned.arrays:
        axis = array.dims.index(TIME) if TIME in array.dims else None
        pieces = [
            _Piece(path, begin, header.steps, packing if array.decoded_because else None)
            for path, begin, header, packing in zip(
                survey.paths, survey.begins, survey.headers, survey.packings[array.name], strict=True
            )
        ]
        for corner in product(*(range(0, size, n) for size, n in zip(array.shape, array.region, strict=True))):
            box = tuple((c, min(c + n, size)) for c, n, size in zip(corner, array.region, array.shape, strict=True))
            held = (
                pieces[:1]
                if axis is None
                else [p for p in pieces if p.begin < box[axis][1] and p.begin + p.steps > box[axis][0]]
            )
            tasks.append(
                _WriteRegion(survey.gate, place, array.name, array.dtype, axis, array.shards, box, tuple(held))
            )
    return tasks


def _write_template(survey: _Survey, planned: ZarrPlan, folder: Path) -> None:
    """Write the metadata of all variables, and the content of the small ones."""
    import xarray as xr

    arrays = {array.name: array for array in planned.arrays}
    template = xr.Dataset(attrs=_dataset_attributes(survey.first.attrs))
    encoding: dict[str, dict[str, Any]] = {}
    for key, variable in survey.first.variables.items():
        name = str(key)
        attributes = dict(variable.attrs)
        if name in arrays:
            data, attributes = _placeholder(survey, arrays[name], attributes)
            chunks, shards = arrays[name].chunks, {"shards": arrays[name].shards}
        else:
            if name in survey.dates:
                data, attributes = survey.dates[name]
            else:
                data = survey.texts[name] if name in survey.texts else _first_content(survey, name)
            shape = np.shape(data)
            chunks = _grown((1,) * len(shape), shape, 0 if shape else None, np.asarray(data).itemsize, CHUNK_BYTES)
            shards = {}
        kept = {k: v for k, v in variable.encoding.items() if k == "coordinates"}
        made = xr.Variable(variable.dims, data, _json_attributes(attributes), kept)
        is_number = made.dtype.kind in "iuf"
        encoding[name] = {
            **({"chunks": chunks} if chunks else {}),
            **shards,
            **({"compressors": (_zarr_codec(made.dtype),)} if is_number and chunks else {}),
            # Otherwise xarray declares NaN as missing for every floating point variable.
            **({"_FillValue": None} if is_number and "_FillValue" not in made.attrs else {}),
        }
        template = (
            template.assign({name: made}) if name in survey.first.data_vars else template.assign_coords({name: made})
        )
    with warnings.catch_warnings():
        # zarr 3.4 says of fixed-length bytes that they have no specification yet; that is the reader's to know.
        warnings.simplefilter("ignore")
        template.to_zarr(
            folder, mode="w-", zarr_format=3, consolidated=False, compute=False, encoding=encoding, safe_chunks=False
        )


def _placeholder(survey: _Survey, array: ArrayPlan, attributes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a lazy array that stands for what the tasks will write, and the attributes of what they write."""
    import dask.array

    if array.decoded_because:
        attributes = {key: value for key, value in attributes.items() if key not in _OF_PACKED}
        if np.dtype(array.dtype).kind == "f":
            attributes["_FillValue"] = np.dtype(array.dtype).type(np.nan)
    return dask.array.zeros(array.shape, chunks=-1, dtype=array.dtype), attributes


def _first_content(survey: _Survey, name: str) -> "NDArray[Any]":
    with survey.gate.open_netcdf(survey.paths[0], mask_and_scale=False, decode_times=False) as opened:
        data = opened[name].to_numpy()
    return np.asarray(data.astype(data.dtype.newbyteorder("="), copy=False))


def _zarr_codec(dtype: "np.dtype[Any]") -> Any:
    from zarr.codecs import BloscCodec

    return BloscCodec(**_codec(dtype))


def _dataset_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return global attributes with the names of files in place of their paths: folders tell of accounts."""
    return {
        name: _PATH.sub(r"\1", value) if isinstance(value, str) else value
        for name, value in _json_attributes(attributes).items()
    }


def _json_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as strict JSON can hold them, the fill value with its type; NaN becomes the text "NaN"."""
    made: dict[str, Any] = {}
    for name, value in attributes.items():
        if name == "_FillValue":
            made[name] = value
        elif name != "missing_value" or not _has_nan(value):  # a NaN is missing whether declared or not
            made[str(name)] = _strict(_plain(value))
    return made


def _has_nan(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    return value


def _consolidate(folder: Path, survey: _Survey) -> None:
    """Copy all metadata into the group's own, so that a reader opens the store with one read.

    Raises:
        VerificationFailed: A variable is not in the copy.
    """
    import zarr

    with warnings.catch_warnings():
        # Zarr-python says that this is not in the specification yet (zarr-specs#309); readers without it ignore it.
        warnings.simplefilter("ignore")
        group = zarr.consolidate_metadata(zarr.storage.LocalStore(folder), zarr_format=3)
    listed = group.metadata.consolidated_metadata
    if missing := set(map(str, survey.first.variables)) - set(listed.metadata if listed else ()):
        raise VerificationFailed(
            f"The consolidated metadata lack {', '.join(sorted(missing))}.", hint="Please report this with the files."
        )
    for path in folder.rglob("zarr.json"):
        _sync(path)


# -- running ---------------------------------------------------------------------------------------------------------


def _execute[T](tasks: "Sequence[Callable[[], T]]", cluster: Any) -> list[T]:
    """Call every task, on the Dask cluster or by threads of this process; the first error ends it.

    Raises:
        Unavailable: A worker was lost again and again.
    """
    from dask.base import compute
    from dask.delayed import delayed

    if not tasks:
        return []
    if cluster is None:
        calls = [delayed(task, pure=False, traverse=False)() for task in tasks]
        return list(compute(*calls, scheduler="threads", num_workers=THREADS))
    from distributed import KilledWorker

    futures = cluster.map(_call, tasks, pure=False)
    try:
        return list(cluster.gather(futures))
    except KilledWorker:
        raise Unavailable(
            "Dask workers were lost while they wrote the store.",
            hint="They may lack memory: a task holds up to 1 GB. What is finished is kept; run it again.",
        ) from None
    finally:
        cluster.cancel(futures)


def _call[T](task: "Callable[[], T]") -> T:
    return task()


# Lines of the journal that name no region.
_TEMPLATE = "template"


@dataclass(frozen=True)
class _Place:
    """Where a store is written and found again.

    Args:
        target: The finished store.
        token: Digest of its plan and its sources; what is written for others is never continued.
    """

    target: Path
    token: str

    @property
    def partial(self) -> Path:
        return self._beside(f"{self.token[:16]}.partial")

    @property
    def journal(self) -> Path:
        return self._beside(f"{self.token[:16]}.journal")

    @property
    def lock(self) -> Path:
        return self._beside("lock")

    @property
    def record(self) -> Path:
        return self._beside("converted.json")

    def _beside(self, suffix: str) -> Path:
        return self.target.with_name(f".{self.target.name}.{suffix}")

    def finished(self) -> set[str]:
        """Return the lines of the journal; one that was cut off by a crash does not count."""
        if not self.partial.is_dir() or not self.journal.is_file():
            return set()
        lines = self.journal.read_text("utf-8").split("\n")[:-1]
        return set(lines) if _TEMPLATE in lines else set()

    def note(self, line: str) -> None:
        """Add a line to the journal, durably; one write, so that lines of several tasks do not mix."""
        descriptor = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def reset(self) -> None:
        """Begin anew."""
        self.journal.unlink(missing_ok=True)
        if self.partial.exists():
            shutil.rmtree(self.partial)

    def remove_others(self) -> None:
        """Remove what was begun for other sources or another plan."""
        for path in self.target.parent.glob(f".{self.target.name}.*"):
            if path.name.endswith(".partial") and path != self.partial:
                shutil.rmtree(path)
            elif path.name.endswith(".journal") and path != self.journal:
                path.unlink()

    def publish(self, result: Converted) -> None:
        """Give the store its name."""
        self.record.write_text(canonical_json({"token": self.token, "result": result.model_dump(mode="json")}), "utf-8")
        _sync(self.record)
        for folder in [path for path in self.partial.rglob("*") if path.is_dir()]:
            _sync(folder)
        self.partial.replace(self.target)
        _sync(self.target.parent)
        self.journal.unlink(missing_ok=True)

    def recorded(self) -> Converted:
        """Return what is known of the finished store.

        Raises:
            Conflict: It is another one.
        """
        import json

        try:
            known = json.loads(self.record.read_text("utf-8"))
            if known["token"] == self.token:
                return Converted.model_validate(known["result"])
        except (OSError, ValueError, LookupError, TypeError, ValidationError):
            pass
        raise Conflict(
            f"'{self.target.name}' is there already, and not made of these files in this way.",
            hint="Remove it first, or give another target.",
            field="target",
        )


@contextmanager
def _exclusive(place: _Place) -> Iterator[None]:
    """Hold the target against other processes; a lock of a process that was killed is free at once."""
    with _writing(place.target):
        descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"'{place.target.name}' is being written by another process.", hint="Wait until it has ended."
            ) from None
        try:
            yield
        finally:
            place.lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "the disk is full" if full else error.strerror or "the disk refused"
        raise Unavailable(
            f"'{target.name}' could not be written: {reason}.",
            hint="Free some space or check the permissions, then run it again: finished regions are kept.",
        ) from error


def _check_space(planned: ZarrPlan, target: Path, *, share_left: float) -> None:
    needed = planned.estimated_bytes * SPACE_MARGIN * share_left
    free = free_bytes(target.parent)
    if free < needed:
        raise Unavailable(
            f"'{target.name}' needs about {html.human_bytes(needed)}; its disk has {html.human_bytes(free)} free.",
            hint="Free some space, or give a target on another disk.",
            field="target",
        )


def _sync(path: Path) -> None:
    """Make a file or folder durable; a shard of nothing but fill values has no file."""
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Check:
    """Compares the store with some of its files, both opened anew and decoded by xarray. Picklable, for Dask."""

    gate: Gate
    store: Path
    steps: int
    files: tuple[tuple[int, Path, int, int], ...]  # number, path, first step in the cube, steps

    def __call__(self) -> tuple[int, int, int]:
        """Return fields compared, fields in all, values compared."""
        import xarray as xr

        coder = xr.coders.CFDatetimeCoder(use_cftime=True)
        fields = total = values = 0
        with self.gate.open_zarr(self.store, decode_times=coder, decode_timedelta=False) as cube:
            if cube.sizes.get(TIME, self.steps) != self.steps:
                raise VerificationFailed(
                    f"The store has {cube.sizes[TIME]} time steps; its files have {self.steps}.",
                    hint="Please report this with the files.",
                )
            held = {str(name): self._held(variable) for name, variable in cube.variables.items()}
            for number, path, _, steps in self.files:
                with self.gate.open_netcdf(path, decode_times=coder, decode_timedelta=False) as source:
                    for name, got in held.items():
                        if TIME not in cube[name].dims and number > 0:
                            self._compare_fixed(name, got(number), source[name].to_numpy(), path)
                            continue
                        chosen = self._chosen(cube[name].variable, number, steps)
                        expected = source[name].variable
                        if TIME in expected.dims:
                            expected = expected.isel({TIME: chosen})
                        _compare(name, got(number), expected.to_numpy(), path, chosen, cube[name].dims)
                        fields += len(chosen) if TIME in cube[name].dims else 1
                        total += steps if TIME in cube[name].dims else 1
                        values += expected.size
        return fields, total, values

    def _held(self, variable: "xr.Variable") -> "Callable[[int], NDArray[Any]]":
        """Return what gives the part of a variable that is compared with a file; it is read from the store once."""
        if TIME not in variable.dims:
            whole = variable.to_numpy()
            return lambda number: whole
        chosen = {number: begin + self._chosen(variable, number, steps) for number, _, begin, steps in self.files}
        axis = variable.dims.index(TIME)
        read = variable.isel({TIME: np.concatenate(list(chosen.values()))}).to_numpy()
        ends = np.cumsum([part.size for part in chosen.values()])[:-1]
        parts = dict(zip(chosen, np.split(read, ends, axis=axis), strict=True))
        return lambda number: parts[number]

    def _chosen(self, variable: "xr.Variable", number: int, steps: int) -> "NDArray[np.intp]":
        """Return the steps of a file that are compared: first, last and random ones; all of a small variable."""
        if variable.size <= WHOLE_VALUES or variable.ndim == 1 or variable.dtype.kind == "O":
            return np.arange(steps)
        random = np.random.default_rng(number).integers(0, steps, RANDOM_STEPS)
        return np.unique(np.concatenate([[0, steps - 1], random]))

    def _compare_fixed(self, name: str, got: "NDArray[Any]", expected: "NDArray[Any]", path: Path) -> None:
        if not same_coordinate(got, expected):
            raise VerificationFailed(
                f"'{name}' differs from the one in '{path.name}'.", hint="Please report this with the files."
            )


def _checks(survey: _Survey, planned: ZarrPlan, store: Path) -> list[_Check]:
    """Return the comparisons; files whose steps share chunks go together, because a chunk is unpacked as a whole."""
    longest = max((array.chunks[array.dims.index(TIME)] for array in planned.arrays if TIME in array.dims), default=1)
    groups: list[list[tuple[int, Path, int, int]]] = [[]]
    for number, (path, begin, header) in enumerate(zip(survey.paths, survey.begins, survey.headers, strict=True)):
        if sum(part[3] for part in groups[-1]) >= longest:
            groups.append([])
        groups[-1].append((number, path, begin, header.steps))
    return [_Check(survey.gate, store, survey.steps, tuple(group)) for group in groups]


def _compare(
    name: str, got: "NDArray[Any]", expected: "NDArray[Any]", path: Path, steps: "NDArray[np.intp]", dims: Sequence[Any]
) -> None:
    # Where files are packed in several ways, the store has the type that holds all of their values.
    same_type = got.dtype == expected.dtype or np.result_type(got, expected) == got.dtype
    if got.shape == expected.shape and same_type and _same_bits(got, expected.astype(got.dtype)):
        return
    where, ours, theirs = "as a whole", f"{got.dtype} {got.shape}", f"{expected.dtype} {expected.shape}"
    if got.shape == expected.shape and same_type:
        unequal = got != expected
        if got.dtype.kind == "f":
            unequal &= ~(np.isnan(got) & np.isnan(expected))
        place = tuple(int(i) for i in np.argwhere(unequal)[0])
        index = tuple(int(steps[i]) if dim == TIME else i for i, dim in zip(place, dims, strict=True))
        where, ours, theirs = f"at {index}", str(got[place]), str(expected[place])
    raise VerificationFailed(
        f"'{name}' of '{path.name}' {where} is {theirs} in the file and {ours} in the store.",
        hint="The store was not finished. Run it again; if it happens again, please report it with the files.",
        field="source",
    )


def _same_bits(a: "NDArray[Any]", b: "NDArray[Any]") -> bool:
    """Tell whether two arrays have the same type and values; NaN equals NaN."""
    return a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


# -- small -----------------------------------------------------------------------------------------------------------


def _nbytes(array: ArrayHeader) -> int:
    return math.prod(array.shape) * array.dtype.itemsize


def _count(shape: Sequence[int], part: Sequence[int]) -> int:
    return math.prod(-(-size // n) for size, n in zip(shape, part, strict=True))


def _chunk_bytes(array: ArrayPlan) -> int:
    return math.prod(array.chunks) * np.dtype(array.dtype).itemsize


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _plain(value: Any) -> Any:
    """Return an attribute as JSON can hold it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _key(value: Any) -> Any:
    """Return what is equal for equal attributes of one type; NaN equals NaN."""
    if isinstance(value, np.ndarray | np.generic):
        return (value.dtype.str, repr(value.tolist()))
    return (type(value).__name__, repr(value))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
