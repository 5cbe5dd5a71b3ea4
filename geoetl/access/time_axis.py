"""The time axis of a cube: the dates of any CF calendar as numbers that sort, and as text of their own calendar.

Source: CF conventions 1.11, section 4.4 (calendars), ISO 8601 (text; the year before 1 is 0 or, where the calendar has
no year 0, -1).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

DAY = 86_400_000_000  # microseconds
# A tick is a microsecond on a scale on which every month has 31 days: it sorts, and tells apart, the dates of every
# calendar, also those that only one of them has.
DAYS_A_MONTH = 31
NO_TIME = np.iinfo(np.int64).min
# The last day of the Julian calendar in CF's `standard` calendar is 1582-10-04, the first Gregorian one 1582-10-15.
REFORM_YEAR, REFORM_MONTH, LAST_JULIAN_DAY, FIRST_GREGORIAN_DAY = 1582, 10, 4, 15
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ONE_LENGTH_OF_YEARS = {"360_day": 360, "noleap": 365, "365_day": 365, "all_leap": 366, "366_day": 366}
# Calendars without a year 0, where the file does not say otherwise (CF 1.11, section 4.4.2; cftime does the same).
_WITHOUT_YEAR_ZERO = frozenset({"standard", "gregorian", "julian"})
_EPOCH_MONTH = 1970 * 12


@dataclass(frozen=True, eq=False)
class Calendar:
    """A CF calendar; years are counted as astronomers do, with a year 0, except in text.

    Attributes:
        name: Its CF name.
        has_year_zero: Whether text of it has a year 0.
    """

    name: str
    has_year_zero: bool

    @classmethod
    def named(cls, name: str) -> "Calendar":
        """Return the calendar of a CF name, with a year 0 where it usually has one."""
        return cls(name, name not in _WITHOUT_YEAR_ZERO)

    def is_leap(self, year: int) -> bool:
        """Tell whether a year has a 29th of February; in `360_day` every year has, and a 30th."""
        if self.name in _ONE_LENGTH_OF_YEARS:
            return _ONE_LENGTH_OF_YEARS[self.name] != 365
        is_julian = self.name == "julian" or (self.name in _WITHOUT_YEAR_ZERO and year <= REFORM_YEAR)
        return year % 4 == 0 and (is_julian or year % 100 != 0 or year % 400 == 0)

    def last_day(self, year: int, month: int) -> int:
        """Return the number of the last day of a month."""
        if self.name == "360_day":
            return 30
        return 29 if month == 2 and self.is_leap(year) else _LENGTHS[month - 1]

    def has_day(self, year: int, month: int, day: int) -> bool:
        """Tell whether there is such a day."""
        if not 1 <= day <= self.last_day(year, month):
            return False
        is_reform = self.name in ("standard", "gregorian") and (year, month) == (REFORM_YEAR, REFORM_MONTH)
        return not (is_reform and LAST_JULIAN_DAY < day < FIRST_GREGORIAN_DAY)

    def day_number(self, year: int, month: int, day: int) -> int:
        """Return a number that grows by one with each day of the calendar."""
        before = sum(self.last_day(year, earlier) for earlier in range(1, month))
        if self.name in _ONE_LENGTH_OF_YEARS:
            return year * _ONE_LENGTH_OF_YEARS[self.name] + before + day
        past = year - 1
        number = past * 365 + past // 4 + before + day
        is_julian = self.name == "julian" or (
            self.name in ("standard", "gregorian")
            and (year, month, day) < (REFORM_YEAR, REFORM_MONTH, FIRST_GREGORIAN_DAY)
        )
        # The Julian 1st of January of the year 1 is the 30th of December before it in the Gregorian calendar.
        return number - 2 if is_julian else number - past // 100 + past // 400

    def year_from_text(self, year: int) -> int | None:
        """Return the astronomical number of a year as it is written; None for a year that there is not."""
        if self.has_year_zero or year > 0:
            return year
        return None if year == 0 else year + 1

    def year_text(self, year: int) -> str:
        """Return a year as it is written: four digits or more, a minus before them for years before 1 or 0."""
        written = year if self.has_year_zero or year > 0 else year - 1
        return f"-{-written:04d}" if written < 0 else f"{written:04d}"

    def date_text(self, year: int, month: int, day: int) -> str:
        """Return a date as ISO 8601 text of this calendar."""
        return f"{self.year_text(year)}-{month:02d}-{day:02d}"


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """The steps of a variable in time.

    Attributes:
        values: ``datetime64``, ``cftime`` dates, or labels that are no dates; one for each step.
        calendar: Calendar of the dates; None for labels.
    """

    values: "NDArray[Any]"
    calendar: Calendar | None

    @classmethod
    def of(cls, time: "xr.DataArray") -> "TimeAxis":
        """Return the axis of a decoded time coordinate; a scalar is one step."""
        values = np.atleast_1d(time.values)
        if values.dtype.kind == "M":
            name = str(time.encoding.get("calendar", "proleptic_gregorian")).lower()
            # numpy counts by the proleptic Gregorian calendar, which has a year 0; xarray leaves earlier dates of the
            # standard calendar to cftime.
            return cls(values, Calendar(name, has_year_zero=True))
        first = (
            next((value for value in values if hasattr(value, "calendar")), None) if values.dtype == object else None
        )
        return cls(values, None if first is None else Calendar(str(first.calendar), bool(first.has_year_zero)))

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def ticks(self) -> "NDArray[np.int64]":
        """Each date as a number that sorts: microseconds, each month counted as 31 days; `NO_TIME` for a missing one.

        Labels are all `NO_TIME`.
        """
        if self.calendar is None:
            return np.full(len(self.values), NO_TIME)
        if self.values.dtype.kind == "M":
            months, days = self.values.astype("M8[M]"), self.values.astype("M8[D]")
            month_count = months.astype(np.int64) + _EPOCH_MONTH
            day = (days - months.astype("M8[D]")).astype(np.int64)
            clock = (self.values.astype("M8[us]") - days.astype("M8[us]")).astype(np.int64)
            return np.where(np.isnat(self.values), NO_TIME, (month_count * DAYS_A_MONTH + day) * DAY + clock)
        shift = 0 if self.calendar.has_year_zero else 1
        return np.array([_ticks(date, shift) for date in self.values], dtype=np.int64)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Each step as ISO 8601 text of the calendar, to the second; a label as it is."""
        if self.calendar is None:
            return tuple(_label(value) for value in self.values)
        # What the Gregorian calendar has as well numpy writes, which is much faster.
        months = self.ticks // DAY // DAYS_A_MONTH
        days = self.ticks // DAY % DAYS_A_MONTH
        base = (months - _EPOCH_MONTH).astype("M8[M]")
        dates = base.astype("M8[D]") + days.astype("m8[D]")
        is_plain = (dates.astype("M8[M]") == base) & (months >= 12) & (self.ticks != NO_TIME)
        seconds = dates.astype("M8[s]") + (self.ticks % DAY // 1_000_000).astype("m8[s]")
        written: list[str] = np.datetime_as_string(np.where(is_plain, seconds, np.datetime64(0, "s"))).tolist()
        for position in np.flatnonzero(~is_plain).tolist():
            written[position] = self.text_of(int(self.ticks[position]))
        return tuple(written)

    def text_of(self, ticks: int) -> str:
        """Return ticks as ISO 8601 text of the calendar, to the second; ``NaT`` where there is no time."""
        if ticks == NO_TIME or self.calendar is None:
            return "NaT"
        days, clock = divmod(ticks, DAY)
        months, day = divmod(days, DAYS_A_MONTH)
        hours, rest = divmod(clock // 1_000_000, 3600)
        date = self.calendar.date_text(months // 12, months % 12 + 1, day + 1)
        return f"{date}T{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"

    def day_number(self, position: int) -> float:
        """Return a number that grows by one with each day of the calendar, for the date at a position.

        Only differences mean anything; a missing date, or a label, is its position.
        """
        ticks = int(self.ticks[position])
        if ticks == NO_TIME or self.calendar is None:
            return float(position)
        days, clock = divmod(ticks, DAY)
        months, day = divmod(days, DAYS_A_MONTH)
        return self.calendar.day_number(months // 12, months % 12 + 1, day + 1) + clock / DAY


def _ticks(date: Any, shift: int) -> int:
    """Return the ticks of a cftime date, whose years before 1 are shifted where there is no year 0."""
    if not hasattr(date, "calendar"):
        return NO_TIME
    year: int = date.year
    if year < 0:
        year += shift
    clock = ((date.hour * 60 + date.minute) * 60 + date.second) * 1_000_000 + date.microsecond
    return (int((year * 12 + date.month - 1) * DAYS_A_MONTH + date.day - 1)) * DAY + int(clock)


def _label(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(float(str(value))) if isinstance(value, np.floating) else str(value)
