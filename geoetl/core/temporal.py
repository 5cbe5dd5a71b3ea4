"""Times: ISO 8601 intervals in UTC, and the calendars of the CF conventions."""

import calendar as gregorian
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self

from geoetl.core.errors import InvalidTime

# CF conventions 1.11, section 4.4.1.
STANDARD_CALENDARS = frozenset({"standard", "gregorian", "proleptic_gregorian"})
CALENDARS = STANDARD_CALENDARS | {"noleap", "365_day", "360_day", "all_leap", "366_day", "julian"}

_PARTIAL = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)


class CalendarDate(Protocol):
    """A date of any calendar: ``datetime`` and ``cftime.datetime`` both are."""

    @property
    def year(self) -> int: ...
    @property
    def month(self) -> int: ...
    @property
    def day(self) -> int: ...
    @property
    def hour(self) -> int: ...
    @property
    def minute(self) -> int: ...
    @property
    def second(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval in UTC; ``None`` leaves an end open.

    Raises:
        InvalidTime: It ends before it starts.
    """

    start: datetime | None
    end: datetime | None

    def __post_init__(self) -> None:
        if self.start and self.end and self.end < self.start:
            raise InvalidTime(
                f"The interval ends ({_iso(self.end)}) before it starts ({_iso(self.start)}).",
                hint="Give start/end, the earlier first.",
                field="datetime",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``instant``, ``start/end``, ``start/..`` or ``../end``; a partial date means all of it.

        Source: RFC 3339 section 5.6 and OGC API - Features part 1, section 7.15.3.
        """
        first, slash, second = text.strip().partition("/")
        if not slash:
            return cls(parse_instant(first), parse_instant(first, latest=True))
        if "/" in second:
            raise InvalidTime(f"'{text[:80]}' has more than one '/'.", hint="Give start/end.", field="datetime")
        start = None if first in ("", "..") else parse_instant(first)
        end = None if second in ("", "..") else parse_instant(second, latest=True)
        return cls(start, end)

    def as_text(self) -> str:
        """Return ``start/end`` with ``..`` for an open end."""
        return "/".join(".." if at is None else _iso(at) for at in (self.start, self.end))


def parse_instant(text: str, *, latest: bool = False) -> datetime:
    """Read an RFC 3339 instant or a partial date (``2020``, ``2020-02``, ``2020-02-29``) as UTC.

    Args:
        text: The instant; without a zone it is taken as UTC.
        latest: Of a partial date take its last microsecond instead of its first.

    Raises:
        InvalidTime: It is not a date of the Gregorian calendar.
    """
    partial = _PARTIAL.fullmatch(text)
    try:
        if partial is None:
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        year, month, day = (int(part) if part else None for part in partial.groups())
        assert year is not None
        if not latest:
            return datetime(year, 1 if month is None else month, 1 if day is None else day, tzinfo=UTC)
        last_month = 12 if month is None else month
        last_day = gregorian.monthrange(year, last_month)[1] if day is None else day
        return datetime(year, last_month, last_day, 23, 59, 59, 999_999, tzinfo=UTC)
    except ValueError:
        raise InvalidTime(
            f"'{text[:40]}' is not a date of the Gregorian calendar.",
            hint="Write it as 2020-02-28 or 2020-02-28T12:00:00Z.",
            field="datetime",
        ) from None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def utc_text(moment: datetime) -> str:
    """Return an aware `moment` as RFC 3339 text in UTC, to the second."""
    return _iso(moment)


def iso_of(date: CalendarDate) -> str:
    """Return a date of any calendar as ISO text in its own calendar: 2000-02-30 stays 2000-02-30."""
    year = f"-{-date.year:04d}" if date.year < 0 else f"{date.year:04d}"
    return f"{year}-{date.month:02d}-{date.day:02d}T{date.hour:02d}:{date.minute:02d}:{date.second:02d}"


def nearest_gregorian(date: CalendarDate) -> datetime:
    """Return the nearest instant that the Gregorian calendar has: 30 February becomes its last day (UTC)."""
    year = min(max(date.year, 1), 9999)  # STAC's dates have four digits; a model may count from 0 or beyond 9999
    day = min(date.day, gregorian.monthrange(year, date.month)[1])
    return datetime(year, date.month, day, date.hour, date.minute, date.second, tzinfo=UTC)
