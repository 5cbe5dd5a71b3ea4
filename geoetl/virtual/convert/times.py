"""Times of the files: their order, and all of them with their bounds in one unit, without losing anything."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import EmptyDataset, UnreadableFile, VerificationFailed
from geoetl.store.gate import Gate
from geoetl.virtual.convert.packing import OF_PACKED
from geoetl.virtual.convert.read import first_line, read_whole
from geoetl.virtual.header import TIME, FileHeader
from geoetl.virtual.preflight.clocks import calendar_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Microseconds of each unit, the longest first.
_TICKS = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1000,
    "microseconds": 1,
}


def units_of(attributes: Mapping[str, Any]) -> str:
    """Return the unit of dates, with single blanks; empty for any other variable."""
    units = " ".join(str(attributes.get("units", "")).split())
    return units if " since " in units else ""


def in_order(gate: Gate, headers: Sequence[FileHeader]) -> list[FileHeader]:
    """Return the files by their first time; none may begin before the one before it ends.

    Raises:
        VerificationFailed: Two overlap; or one has no time, or times that do not increase.
        EmptyDataset: One has no time step.
    """
    if len(headers) == 1 and not _has_time(headers[0]):
        return list(headers)
    spans = sorted(((_ends(gate, header), header) for header in headers), key=lambda span: span[0][0])
    for ((_, end), earlier), ((begin, _), later) in pairwise(spans):
        if not begin > end:
            raise VerificationFailed(
                f"'{later.name}' begins at {begin}, before '{earlier.name}' ends at {end}.",
                hint="Leave out the file that overlaps.",
                field="source",
            )
    return [header for _, header in spans]


def clocks_of(header: FileHeader, names: Sequence[str]) -> dict[str, str]:
    """Return the variable whose units count each variable of dates over time: its own, or those of whose bounds it is.

    xarray takes units from the attribute ``bounds`` only, not from ``climatology``.
    """
    timed = {name: header.arrays[name] for name in names if header.arrays[name].time_axis is not None}
    clocks = {n: n for n, array in timed.items() if array.dtype.kind in "iuf" and units_of(array.attributes)}
    for name in list(clocks):
        if (bounds := str(timed[name].attributes.get("bounds", ""))) in timed:
            clocks[bounds] = name
    return clocks


def join_dates(
    gate: Gate, headers: Sequence[FileHeader], clocks: Mapping[str, str]
) -> "dict[str, tuple[NDArray[Any], dict[str, Any]]]":
    """Return times and bounds of all files in one unit, exactly, each with its attributes."""
    joined: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {}
    for clock in dict.fromkeys(clocks.values()):
        contents = {
            name: [read_whole(gate, header, name) for header in headers] for name in clocks if clocks[name] == clock
        }
        changed: dict[str, Any] = {}
        if len({units_of(header.arrays[clock].attributes) for header in headers}) > 1:
            contents, changed = _in_one_unit(headers, contents, clock)
        for name, parts in contents.items():
            array = headers[0].arrays[name]
            attributes = {k: v for k, v in array.attributes.items() if not changed or k not in (*changed, *OF_PACKED)}
            whole = np.concatenate(parts, axis=array.dims.index(TIME))
            native = whole.astype(whole.dtype.newbyteorder("="), copy=False)
            joined[name] = (native, {**attributes, **(changed if name == clock else {})})
    return joined


def to_dates(header: FileHeader, numbers: "NDArray[Any]", clock: str) -> "NDArray[Any]":
    """Return numbers in the units of the variable `clock` as cftime dates, array of the same shape.

    Raises:
        UnreadableFile: The units or the calendar do not follow CF.
    """
    import cftime

    attributes = header.arrays[clock].attributes
    units, calendar = units_of(attributes), calendar_of(attributes)
    try:
        return np.asarray(cftime.num2date(numbers, units, calendar, only_use_cftime_datetimes=True))
    except (ValueError, OverflowError) as error:
        raise UnreadableFile(
            f"The times of '{header.name}' cannot be read: {first_line(error)}",
            hint="Its time units or calendar do not follow CF; correct them (ncatted) or leave the file out.",
            field="source",
        ) from None


def _in_one_unit(
    headers: Sequence[FileHeader], contents: "Mapping[str, Sequence[NDArray[Any]]]", clock: str
) -> "tuple[dict[str, list[NDArray[Any]]], dict[str, Any]]":
    """Count dates from the first file's epoch, in whole numbers of the longest unit that says them exactly."""
    import cftime

    attributes = headers[0].arrays[clock].attributes
    epoch, calendar = units_of(attributes).partition(" since ")[2], calendar_of(attributes)

    def ticks(header: FileHeader, numbers: "NDArray[Any]") -> "NDArray[np.int64]":
        counted = cftime.date2num(to_dates(header, numbers, clock), f"microseconds since {epoch}", calendar)
        return np.asarray(counted).astype(np.int64)

    counts = {name: [ticks(*one) for one in zip(headers, parts, strict=True)] for name, parts in contents.items()}
    flat = [part for parts in counts.values() for part in parts]
    unit = next(unit for unit, size in _TICKS.items() if not any((part % size).any() for part in flat))
    whole = {name: [part // _TICKS[unit] for part in parts] for name, parts in counts.items()}
    return whole, {"units": f"{unit} since {epoch}", "calendar": calendar}


def _has_time(header: FileHeader) -> bool:
    return TIME in header.dimensions and TIME in header.arrays


def _ends(gate: Gate, header: FileHeader) -> Any:
    """Return the first and the last time of a file: dates, or numbers that count none."""
    if not _has_time(header):
        raise VerificationFailed(
            f"'{header.name}' has no time, so it cannot be joined with others.",
            hint="Convert each file as a cube of its own.",
            field="source",
        )
    numbers = read_whole(gate, header, TIME)
    if numbers.size == 0:
        raise EmptyDataset(f"'{header.name}' has no time step.", hint="Leave the file out.", field="source")
    falling = np.flatnonzero(~(np.diff(numbers) > 0))
    if falling.size:
        raise VerificationFailed(
            f"The times of '{header.name}' do not increase behind step {falling[0]}.",
            hint="Sort the file by time (cdo sorttimestamp) or leave it out.",
            field="source",
        )
    ends = numbers[[0, -1]]
    return to_dates(header, ends, TIME) if units_of(header.arrays[TIME].attributes) else ends
