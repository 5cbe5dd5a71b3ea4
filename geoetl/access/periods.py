"""Choose and group the steps of a cube in its own calendar: ranges with partial dates, days, months, seasons, years."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.time_axis import DAY, DAYS_A_MONTH, NO_TIME, Calendar, TimeAxis
from geoetl.core.errors import InvalidParameter, InvalidTime, NotFound, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoetl.access.layout import Layout

RESOLUTIONS = ("none", "daily", "monthly", "seasonal", "yearly")
SEASONS = ("DJF", "MAM", "JJA", "SON")
_TIME = re.compile(
    r"""(?P<year>-?\d{4,6})
    (?:-(?P<month>\d\d)
    (?:-(?P<day>\d\d)
    (?:[T\ ](?P<hour>\d\d)
    (?::(?P<minute>\d\d)
    (?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?
    (?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)?)?)?)?""",
    re.ASCII | re.VERBOSE,
)
_UTC = frozenset({"", "Z", "z", "+00:00", "-00:00", "+0000", "-0000", "+00", "-00"})
_OPEN = frozenset({"", ".."})
# Years are looked for this far only, so that numbers stay within 64 bits.
_MAX_YEAR = 200_000
_MONTH_TICKS = DAYS_A_MONTH * DAY
_NO_ZONES = "Times of a cube are in UTC and its own calendar: write them without a zone, or with Z."


@dataclass(frozen=True, eq=False)
class Period:
    """Steps that are taken together.

    Attributes:
        label: ``2000-02-30`` (a day), ``2000-02`` (a month), ``2000-DJF`` (a season: December 1999 to February 2000),
            ``2000`` (a year), or the time of the one step.
        start: Its first day in the cube's calendar; the time of the one step.
        end: Its last day, which belongs to it.
        positions: Of its steps along the time axis, from 0, in the order of the axis.
    """

    label: str
    start: str
    end: str
    positions: "NDArray[np.intp]"


def select_steps(layout: "Layout", start_time: str | None = None, end_time: str | None = None) -> "NDArray[np.intp]":
    """Return the positions, from 0 and in their order, of the steps from `start_time` to `end_time`, both included.

    A partial date means all of it: ``end_time="2000"`` ends with the last step of that year. Dates are of the cube's
    own calendar: in ``360_day`` there is a 2000-02-30. The steps of the axis may be in any order. Without both ends
    every step is taken; a variable without time is one step.

    Args:
        layout: How the variable is laid out.
        start_time: ISO 8601 (``2000``, ``2000-02``, ``2000-02-30``, ``2000-02-30T12:00:00Z``); None or ``..`` for the
            beginning.
        end_time: The same; None or ``..`` for the end.

    Raises:
        InvalidTime: A time is malformed or in another zone than UTC, the calendar has no such date, the range is
            reversed, or the variable has no dates.
        NotFound: No step lies in the range; the message says what the cube covers.
    """
    bounds = [
        None if value is None or (isinstance(value, str) and value.strip() in _OPEN) else (value, field)
        for value, field in ((start_time, "start_time"), (end_time, "end_time"))
    ]
    axis = layout.time
    asked = [bound for bound in bounds if bound is not None]
    if not asked:
        return np.arange(1 if axis is None else len(axis))
    if axis is None or axis.calendar is None:
        raise InvalidTime("This variable has no dates.", hint="Leave start_time and end_time out.", field=asked[0][1])
    first, last = (None if bound is None else parse_range(bound[0], axis.calendar, bound[1]) for bound in bounds)
    if first is not None and last is not None and last.stop <= first.start:
        raise InvalidTime(
            f"The range ends ({end_time}) before it starts ({start_time}).",
            hint="Give the earlier as start_time.",
            field="start_time",
        )
    chosen = axis.ticks != NO_TIME
    if first is not None:
        chosen &= axis.ticks >= first.start
    if last is not None:
        chosen &= axis.ticks < last.stop
    positions = np.flatnonzero(chosen)
    if not positions.size:
        raise _nothing_there(axis, bounds[0], bounds[1])
    return positions


def ends_of(layout: "Layout", positions: "NDArray[np.intp]") -> tuple[int, int]:
    """Return the positions of the earliest and the latest of some steps; of labels, the first and the last."""
    if layout.time is None or layout.time.calendar is None:
        return int(positions[0]), int(positions[-1])
    ticks = layout.time.ticks[positions]
    dated = ticks != NO_TIME
    if not dated.any():
        return int(positions[0]), int(positions[-1])
    known = np.asarray(positions)[dated]
    return int(known[ticks[dated].argmin()]), int(known[ticks[dated].argmax()])


def _nothing_there(axis: TimeAxis, start: tuple[str, str] | None, end: tuple[str, str] | None) -> NotFound:
    asked = " ".join(f"{word} {bound[0]}" for word, bound in (("from", start), ("to", end)) if bound is not None)
    assert axis.calendar is not None
    known = axis.ticks[axis.ticks != NO_TIME]
    covers = f"from {axis.text_of(int(known.min()))} to {axis.text_of(int(known.max()))}"
    return NotFound(
        f"No step lies in the range {asked}; the cube has {len(axis):,} steps {covers} "
        f"in the {axis.calendar.name} calendar.",
        hint="Choose start_time and end_time so that a step lies between them.",
        field="end_time" if start is None else "start_time",
    )


def parse_range(text: str, calendar: Calendar, field: str) -> range:
    """Return the ticks (see `TimeAxis`) of a date of a calendar, or of all that lies in a partial one.

    Raises:
        InvalidTime: It is malformed, in another zone than UTC, or the calendar has no such date.
    """
    matched = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if matched is None:
        raise InvalidTime(
            f"{field} is {str(text)[:40]!r}, which is no date.",
            hint="Write it as 2000, 2000-02, 2000-02-28 or 2000-02-28T12:00:00Z.",
            field=field,
        )
    if (matched["zone"] or "") not in _UTC:
        raise InvalidTime(f"{field} is {text.strip()[:40]!r}, which is not in UTC.", hint=_NO_ZONES, field=field)
    written, month, day = (int(matched[name] or 1) for name in ("year", "month", "day"))
    year = calendar.year_from_text(written)
    if year is None or abs(year) > _MAX_YEAR:
        why = "the year before 0001 is -0001" if year is None else f"years are looked for up to {_MAX_YEAR}"
        raise InvalidTime(
            f"{field} is {text.strip()}; the {calendar.name} calendar of this cube has no such year.",
            hint=f"There, {why}.",
            field=field,
        )
    if not 1 <= month <= 12:
        raise InvalidTime(f"{field} is {text.strip()}; there is no month {month}.", hint="Give 01 to 12.", field=field)
    months = year * 12 + month - 1
    if matched["month"] is None:
        return range(months * _MONTH_TICKS, (months + 12) * _MONTH_TICKS)
    if matched["day"] is None:
        return range(months * _MONTH_TICKS, (months + 1) * _MONTH_TICKS)
    if not calendar.has_day(year, month, day):
        raise InvalidTime(
            f"{field} is {text.strip()}; the {calendar.name} calendar of this cube has no such day.",
            hint=f"The nearest is {calendar.date_text(year, month, _nearest_day(calendar, year, month, day))}.",
            field=field,
        )
    start = (months * DAYS_A_MONTH + day - 1) * DAY
    return _within_day(matched, start, field)


def _nearest_day(calendar: Calendar, year: int, month: int, day: int) -> int:
    days = [possible for possible in range(1, DAYS_A_MONTH + 1) if calendar.has_day(year, month, possible)]
    return min(days, key=lambda possible: abs(possible - day))


def _within_day(matched: "re.Match[str]", start: int, field: str) -> range:
    """Return the ticks of the day that begins at `start`, or of the hour, minute, second or moment in it."""
    length = DAY
    for name, parts in (("hour", 24), ("minute", 60), ("second", 60)):
        if matched[name] is None:
            return range(start, start + length)
        number = int(matched[name])
        if number >= parts:
            raise InvalidTime(
                f"{field} has {name} {number}; expected 0 to {parts - 1}.",
                hint="Write it as 2000-02-28T12:00:00Z.",
                field=field,
            )
        length //= parts
        start += number * length
    if matched["fraction"] is not None:
        start, length = start + int(f"{matched['fraction']:0<6.6}"), 1
    return range(start, start + length)


def check_resolution(resolution: str, *, field: str = "resolution") -> str:
    """Return `resolution` where it is one of ``none``, ``daily``, ``monthly``, ``seasonal`` and ``yearly``.

    Raises:
        InvalidParameter: It is not.
    """
    if resolution not in RESOLUTIONS:
        raise InvalidParameter(
            f"{field} is {str(resolution)[:40]!r}; expected one of {', '.join(RESOLUTIONS)}.",
            hint=did_you_mean(str(resolution), RESOLUTIONS),
            field=field,
        )
    return resolution


def group_steps(
    layout: "Layout", positions: "NDArray[np.intp]", resolution: str, *, field: str = "resolution"
) -> list[Period]:
    """Return steps by day, month, season or year of the cube's own calendar, or each by itself; the earliest first.

    Seasons are DJF, MAM, JJA and SON; a December belongs to the DJF of the next year. Steps whose time is missing
    belong to no period but ``none``'s.

    Args:
        layout: How the variable is laid out.
        positions: As `select_steps` returned them.
        resolution: ``none``, ``daily``, ``monthly``, ``seasonal`` or ``yearly``.
        field: Name of the parameter that `resolution` came from, for messages.

    Raises:
        InvalidParameter: There is no such resolution.
        InvalidTime: The variable has no dates to group by.
    """
    check_resolution(resolution, field=field)
    axis = layout.time
    if resolution == "none":
        texts = ("",) if axis is None else axis.texts
        steps = np.asarray(positions)
        return [Period(texts[at], texts[at], texts[at], steps[i : i + 1]) for i, at in enumerate(steps.tolist())]
    if axis is None or axis.calendar is None:
        raise InvalidTime("This variable has no dates to group by.", hint=f"Give {field}=none.", field=field)
    dated = np.asarray(positions)[axis.ticks[positions] != NO_TIME]
    numbers = _period_numbers(axis.ticks[dated], resolution)
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    ordered = dated[order]
    ends = [*starts[1:].tolist(), len(ordered)]
    return [
        Period(*_names(number, resolution, axis.calendar), np.sort(ordered[start:end]))
        for number, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True)
    ]


def _period_numbers(ticks: "NDArray[np.int64]", resolution: str) -> "NDArray[np.int64]":
    days = ticks // DAY
    if resolution == "daily":
        return days
    months = days // DAYS_A_MONTH
    if resolution == "monthly":
        return months
    return (months + 1) // 3 if resolution == "seasonal" else months // 12


def _names(number: int, resolution: str, calendar: Calendar) -> tuple[str, str, str]:
    """Return label, first day and last day of a period."""
    if resolution == "daily":
        months, day = divmod(number, DAYS_A_MONTH)
        text = calendar.date_text(months // 12, months % 12 + 1, day + 1)
        return text, text, text
    first, count = {"monthly": (number, 1), "seasonal": (number * 3 - 1, 3), "yearly": (number * 12, 12)}[resolution]
    last = first + count - 1
    start = calendar.date_text(first // 12, first % 12 + 1, 1)
    last_year, last_month = last // 12, last % 12 + 1
    end = calendar.date_text(last_year, last_month, calendar.last_day(last_year, last_month))
    if resolution == "monthly":
        return start[:-3], start, end
    year = calendar.year_text(last_year)
    return (f"{year}-{SEASONS[number % 4]}" if resolution == "seasonal" else year), start, end
