"""The times of each file: decoded in its own units, and whether they can be."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.findings import Severity
from geoetl.core.temporal import CALENDARS, iso_of
from geoetl.virtual.header import TIME, ArrayHeader, FileHeader
from geoetl.virtual.preflight.notes import GROUP, Note, apart, named, split_by
from geoetl.virtual.preflight.storage import sizes_of
from geoetl.virtual.preflight.texts import REFERABLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Times closer than this are the same: 0.1 s, far above the rounding of days counted from year 1.
SAME_DAYS = 1e-6
# Beyond a million years dates cannot be shown.
_MAX_DAYS = 365.25e6
_EPOCH = "1850-01-01"
# Calendars that CF knows under two names (CF conventions 1.11, section 4.4.1).
_ALIASES = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}


@dataclass(frozen=True, eq=False)
class Clock:
    """The times of one file.

    Attributes:
        calendar: By the first of its names; files of different calendars cannot follow each other. Empty for numbers
            that are no dates.
        units: As in the file.
        days: Days since 1850-01-01 in that calendar (or the numbers as they are), ascending, array (step,).
        width_days: Length of one step by its bounds; None where there are none.
        is_climatology: Its steps are not meant to follow each other.
    """

    calendar: str
    units: str
    days: "NDArray[np.float64]"
    width_days: float | None
    is_climatology: bool

    @property
    def first(self) -> float:
        """Its first time."""
        return float(self.days[0])

    @property
    def last(self) -> float:
        """Its last time."""
        return float(self.days[-1])

    @property
    def line(self) -> tuple[str, str]:
        """What is equal for files that can follow each other: numbers that are no dates have to count the same."""
        return self.calendar, "" if self.calendar else self.units

    def text(self, days: float) -> str:
        """Return a time for people: 2000-02-30, or 2000-02-30T12:00:00."""
        if not self.calendar:
            return f"{days:.10g}"
        import cftime

        date = cftime.num2date(round(days * 86400), f"seconds since {_EPOCH}", self.calendar)
        return iso_of(date).removesuffix("T00:00:00")

    @property
    def span(self) -> str:
        """Its first and last time for people."""
        return f"{self.text(self.first)} to {self.text(self.last)}"

    def equals(self, other: "Clock") -> bool:
        """Tell whether it has the same times as another clock of its line."""
        return self.days.shape == other.days.shape and np.allclose(self.days, other.days, rtol=0, atol=SAME_DAYS)


def calendar_of(attributes: Mapping[str, Any]) -> str:
    """Return the calendar of a time coordinate by the first of its names."""
    told = str(attributes.get("calendar") or "standard").strip().lower()
    return _ALIASES.get(told, told)


def read_clocks(headers: Sequence[FileHeader]) -> tuple[dict[int, Clock], list[Note]]:
    """Return the times of each file where they can be told, by its number, and what is wrong with them."""
    clocks: dict[int, Clock] = {}
    notes: list[Note] = []
    for number, header in enumerate(headers):
        clock, found = _read_clock(number, header, is_alone=len(headers) == 1)
        notes += found
        if clock is not None:
            clocks[number] = clock
    return clocks, [*notes, *_differences("calendar", clocks, headers), *_differences("units", clocks, headers)]


def _differences(what: str, clocks: Mapping[int, Clock], headers: Sequence[FileHeader]) -> Iterator[Note]:
    usual, others = split_by((number, str(getattr(clock, what))) for number, clock in clocks.items())
    if not others:
        return
    expected, alike = getattr(clocks[usual[0]], what), named(usual, headers)
    if what == "units" and all(clock.calendar for clock in clocks.values()):
        rest = tuple(sorted(number for numbers in others for number in numbers))
        said = (
            f"The attribute units of 'time' in {{files}} is not '{expected}' as in {alike}; each file's times are "
            "decoded in its own units."
        )
        got = ", ".join(clocks[numbers[0]].units for numbers in others)[:200]
        yield Note(Severity.INFO, "time_units", said, rest, TIME, got, expected)
        return
    is_calendar = what == "calendar"
    remedy = "Dates of different calendars cannot follow each other: make one cube of each." if is_calendar else GROUP
    for numbers in others:
        got = getattr(clocks[numbers[0]], what)
        is_got, is_usual = (f"'{value or 'absent'}'" for value in (got, expected))
        said = f"The attribute {what} of 'time' is {is_got} in {{files}}, but {is_usual} in {alike}."
        yield apart("calendar" if is_calendar else "time_units", said, numbers, TIME, got, expected, remedy)


def _read_clock(number: int, header: FileHeader, *, is_alone: bool) -> tuple[Clock | None, list[Note]]:
    notes: list[Note] = []

    def problem(
        code: str, said: str, remedy: str, got: str | None = None, *, between: bool = False
    ) -> tuple[None, list[Note]]:
        severity = Severity.WARNING if between and is_alone else Severity.ERROR
        return None, [*notes, Note(severity, code, said, (number,), TIME, got, None, remedy, between)]

    steps = sizes_of(header).get(TIME)
    if steps is None:
        if is_alone:
            return None, []
        said = "There is no dimension 'time' in {files}, so no other file can follow."
        return problem("no_time", said, "Register these files as separate items.", between=True)
    if steps == 0:
        return problem("no_steps", "'time' in {files} has no steps.", "Leave the file out.")
    array = header.arrays.get(TIME)
    if array is None or array.values is None or array.values.shape != (steps,):
        said = "The times of {files} are not known: the variable 'time' is missing or too long to be loaded."
        return problem("time_unknown", said, "Add the variable 'time', or leave the file out.", between=True)
    numbers = array.values
    if numbers.dtype.kind not in REFERABLE or not np.isfinite(numbers).all():
        remedy = "Repair the times, or leave the file out."
        return problem("time_missing", "'time' in {files} has missing values.", remedy)
    missing = [array.attributes[key] for key in ("_FillValue", "missing_value") if key in array.attributes]
    if any(np.isin(numbers, value).any() for value in missing if not isinstance(value, str)):
        remedy = "Repair the times, or leave the file out."
        return problem("time_missing", "'time' in {files} has missing values.", remedy)
    if packed := [key for key in ("scale_factor", "add_offset") if key in array.attributes]:
        said = f"The times of {{files}} are packed ({' and '.join(packed)}), which references cannot join."
        remedy = "Convert the files to Zarr, or write the times unpacked, for example with ncpdq -U."
        return problem("time_packed", said, remedy)
    units, calendar = str(array.attributes.get("units", "")), calendar_of(array.attributes)
    scale: tuple[float, float] | None = (1.0, 0.0)
    if " since " not in f" {units} ":
        calendar = ""
        got, expected = units or "absent", "units such as days since 1850-01-01"
        said = f"The attribute units of 'time' is '{got}' in {{files}}: its steps are no dates."
        remedy = "Write the units as 'days since …' if these are dates."
        notes.append(Note(Severity.WARNING, "time_not_dates", said, (number,), TIME, got, expected, remedy))
    elif calendar not in CALENDARS:
        said = f"The attribute calendar of 'time' in {{files}} is '{calendar}', which CF does not know."
        return problem("calendar_unknown", said, f"Correct it; there are: {', '.join(sorted(CALENDARS))}.", calendar)
    else:
        scale = _scale(units, calendar)
    days = numbers.astype(np.float64) * scale[0] + scale[1] if scale else None
    if scale is None or days is None or (calendar and np.abs(days).max() >= _MAX_DAYS):
        said = f"The times of {{files}} cannot be decoded: the attribute units of 'time' is '{units}'."
        remedy = "Write the times as 'days since …', for example with cdo setreftime, and begin again."
        return problem("time_undecodable", said, remedy, units)
    clock = Clock(calendar, units, days, _width(header, array, scale[0]), "climatology" in array.attributes)
    if (falls := np.flatnonzero(np.diff(days) <= 0)).size:
        step = int(falls[0])
        before, after = (f"step {n + 1} ({clock.text(float(days[n]))})" for n in (step, step + 1))
        said = f"'time' in {{files}} does not increase from {before} to {after}."
        return problem("time_not_increasing", said, "Sort the file by time, or leave it out.")
    return clock, notes


@lru_cache(maxsize=64)
def _scale(units: str, calendar: str) -> tuple[float, float] | None:
    """Return (days of one unit, days of the epoch since 1850-01-01), or None for units that cannot be decoded."""
    import cftime

    try:
        epoch, after = (cftime.num2date(number, units, calendar) for number in (0, 1))
        zero = cftime.num2date(0, f"days since {_EPOCH}", calendar)
        return (after - epoch).total_seconds() / 86400, (epoch - zero).total_seconds() / 86400
    except (ValueError, TypeError, OverflowError):
        return None


def _width(header: FileHeader, time: ArrayHeader, factor: float) -> float | None:
    bounds = header.arrays.get(str(time.attributes.get("bounds", "")))
    if bounds is None or bounds.values is None or bounds.values.ndim != 2 or bounds.values.shape[1] != 2:
        return None
    width = float(np.median(np.abs(np.diff(bounds.values.astype(np.float64), axis=1)))) * factor
    return width if math.isfinite(width) and width > 0 else None
