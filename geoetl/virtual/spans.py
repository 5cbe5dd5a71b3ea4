"""Times in file names: whether they exist, what follows what in any CF calendar, what is missing, what is twice.

A name does not tell its calendar, so what is contiguous in one of the CF calendars is taken as contiguous: after
20101230 comes 20101231, or (360_day) 20110101.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from geoetl.core.findings import Finding, Severity

# Digits of a time: yyyy, yyyyMM, yyyyMMdd, yyyyMMddhh (CMIP5, CORDEX), yyyyMMddhhmm, yyyyMMddhhmmss.
DIGITS = (4, 6, 8, 10, 12, 14)
_DAY_DIGITS = 8
# Days of each month in the CF calendar where it is longest (February: 360_day) and where it is shortest.
_LONGEST = (31, 30, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SHORTEST = (30, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30)
_USUAL = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# A file of decades is named by their central or last years, so the next one begins within ten years.
_YEARS_BETWEEN_DECADES = 10
# Table ids and frequencies by what they hold, the first that fits (E1hrClimMon is hourly), and the digits of a time.
# Source: CMIP6 DRS v6.2.7, table 2.
_KINDS = (("subhr", 14), ("hr", 12), ("day", 8), ("mon", 6), ("clim", 6), ("dec", 4), ("yr", 4), ("fx", 0))


@dataclass(frozen=True, slots=True)
class Slice:
    """One file of a series: its name relative to the source, its size, its first and last time; None for no time."""

    file: str
    bytes: int
    start: str | None
    end: str | None


@dataclass(frozen=True)
class Arrangement:
    """Files in the order of time.

    Attributes:
        kept: Those that make the series.
        contained: Those whose time other files hold.
        findings: Gaps, overlaps and odd precision.
    """

    kept: tuple[Slice, ...]
    contained: tuple[Slice, ...]
    findings: tuple[Finding, ...]


def time_fault(text: str, digits: Sequence[int] = DIGITS) -> str | None:
    """Say why `text` is not a time of one of the lengths `digits`; None where it is one in some calendar."""
    if not re.fullmatch(r"[0-9]+", text) or len(text) not in digits:
        return f"{len(text)} digits; a time has {', '.join(map(str, digits[:-1]))} or {digits[-1]}"
    month = int(text[4:6] or 1)
    if not 1 <= month <= 12:
        return f"the month {text[4:6]}, which does not exist"
    if not 1 <= int(text[6:8] or 1) <= _LONGEST[month - 1]:
        return f"the day {text[4:6]}-{text[6:8]}, which does not exist in any calendar"
    clock = text[8:].ljust(6, "0")
    if not (clock == "240000" or (clock[:2] < "24" and clock[2:4] < "60" and clock[4:] < "60")):
        return f"the time of day {text[8:]}, which does not exist"
    return None


def kind_of(table: str | None) -> str | None:
    """Return ``subhr``, ``hr``, ``day``, ``mon``, ``clim``, ``dec``, ``yr`` or ``fx`` for a table or frequency."""
    return next((kind for kind, _ in _KINDS if kind in (table or "").lower()), None)


def digits_expected(table: str | None) -> int | None:
    """Return how many digits a time has in files of a table or frequency; 0 for fixed fields, None for unknown."""
    return dict(_KINDS).get(kind_of(table) or "")


def follows(end: str, start: str, table: str | None = None) -> bool:
    """Tell whether a file that begins at `start` continues one that ended at `end`, both of equal precision.

    Sub-daily files may be up to a day apart, for some are named by their last day and some by their last step.
    """
    if len(end) == 4:
        return 1 <= int(start) - int(end) <= (_YEARS_BETWEEN_DECADES if kind_of(table) == "dec" else 1)
    if len(end) == 6:
        return start == _next_month(end)
    day, next_day = end[:_DAY_DIGITS], start[:_DAY_DIGITS]
    if len(end) == _DAY_DIGITS:
        return next_day in _next_days(day)
    return start > end and (day == next_day or (next_day in _next_days(day) and start[8:] <= end[8:]))


def arrange(slices: Iterable[Slice], table: str | None = None) -> Arrangement:
    """Put files in the order of time, leave out those that others contain, and find gaps and overlaps."""
    given = list(slices)
    if any(part.start is None or part.end is None for part in given):
        return _untimed(sorted(given, key=lambda part: part.file))
    findings = list(_precision(given, table))
    digits = min(min(len(part.start or ""), len(part.end or "")) for part in given)
    if expected := digits_expected(table):
        digits = min(digits, expected)
    spans = [((part.start or "")[:digits], (part.end or "")[:digits]) for part in given]
    order = sorted(range(len(given)), key=lambda i: (spans[i][0], _reversed(spans[i][1]), given[i].file))
    given, spans = [given[i] for i in order], [spans[i] for i in order]
    if all(follows(before[1], after[0], table) for before, after in pairwise(spans)):
        chain = set(range(len(given)))
    else:
        chain = set(_clean_chain(spans, table) or _sweep(spans, table))
    kept = [i for i in range(len(given)) if i in chain]
    for i, j in pairwise(kept):
        if found := _seam(given[i], given[j], spans[i][1], spans[j][0], table):
            findings.append(found)
    return Arrangement(
        kept=tuple(given[i] for i in kept),
        contained=tuple(part for i, part in enumerate(given) if i not in chain),
        findings=tuple(findings),
    )


def period_text(first: str, last: str) -> str:
    """Return a period as people write it: 2041-2045, 2041-03 to 2041-05, 2041-03-05."""
    whole_years = first[4:] in ("", "01", "0101") and (last[4:6] in ("", "12") and last[6:8] in ("", "30", "31"))
    if whole_years:
        return first[:4] if first[:4] == last[:4] else f"{first[:4]}-{last[:4]}"
    if first[6:] == "01" and int(last[6:8]) >= _SHORTEST[int(last[4:6]) - 1]:
        first, last = first[:6], last[:6]
    return time_text(first) if first == last else f"{time_text(first)} to {time_text(last)}"


def time_text(time: str) -> str:
    """Return the digits of a name as people write a time: 2041-03-05 06:00."""
    date = "-".join(part for part in (time[:4], time[4:6], time[6:8]) if part)
    clock = ":".join(part for part in (time[8:10], time[10:12] or "00", time[12:14]) if part)
    return f"{date} {clock}" if len(time) > _DAY_DIGITS else date


def _next_month(month: str) -> str:
    year, number = int(month[:4]), int(month[4:6])
    return f"{year + number // 12:04d}{number % 12 + 1:02d}"


def _next_days(day: str) -> set[str]:
    """Return the days that follow `day` in one of the CF calendars."""
    month, number = int(day[4:6]), int(day[6:8])
    after = {f"{day[:6]}{number + 1:02d}"} if number < _LONGEST[month - 1] else set()
    if number >= _SHORTEST[month - 1]:
        after.add(f"{_next_month(day)}01")
    return after | {"15821015"} if day == "15821004" else after  # the standard calendar turns Gregorian


def _reversed(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)


def _clean_chain(spans: Sequence[tuple[str, str]], table: str | None) -> list[int] | None:
    """Return indices of files that cover the whole time, each following the one before it; None where none do."""
    first, goal = spans[0][0], max(end for _, end in spans)
    starts = [start for start, _ in spans]
    # Worked out from the last file to the first: the next file of each that leads to the goal; -1 at the goal.
    following: dict[int, int] = {}
    for i in range(len(spans) - 1, -1, -1):
        end = spans[i][1]
        if end == goal:
            following[i] = -1
            continue
        j = bisect_right(starts, end)
        while j < len(spans) and follows(end, starts[j], table):
            if j in following:
                following[i] = j
                break
            j += 1
    # Files are sorted by start, the longest first.
    chain = [min(following)]
    if spans[chain[0]][0] != first:
        return None
    while following[chain[-1]] != -1:
        chain.append(following[chain[-1]])
    return chain


def _sweep(spans: Sequence[tuple[str, str]], table: str | None) -> list[int]:
    """Return the indices of files without those that lie within one other, or within two that meet."""
    kept: list[int] = []
    for i, (start, end) in enumerate(spans):
        if kept and end <= spans[kept[-1]][1]:
            continue
        while len(kept) > 1 and start <= spans[kept[-1]][1]:
            before = spans[kept[-2]][1]
            if start > before and not follows(before, start, table):
                break
            kept.pop()
        kept.append(i)
    return kept


def _seam(before: Slice, after: Slice, end: str, start: str, table: str | None) -> Finding | None:
    """Return what is wrong where one file ends and the next begins."""
    if follows(end, start, table):
        return None
    if start > end:
        missing = _missing(end, start)
        return Finding(
            severity=Severity.WARNING,
            code="gap",
            message=f"{missing} is missing between '{_name(before)}' and '{_name(after)}'.",
            subject=after.file,
            got=time_text(start),
            expected=time_text(_after(end)),
            remedy="Add the missing files, or use the cube as it is: no values are made up for the gap.",
        )
    touch = start == end and len(end) > _DAY_DIGITS
    return Finding(
        severity=Severity.WARNING if touch else Severity.ERROR,
        code="overlap",
        message=f"'{_name(after)}' begins at {time_text(start)}, "
        + (f"the time at which '{_name(before)}' ends." if touch else f"before '{_name(before)}' ends."),
        subject=after.file,
        got=time_text(start),
        expected=f"after {time_text(end)}",
        remedy=None if touch else "Remove one of the two files.",
    )


def _missing(end: str, start: str) -> str:
    """Return the period between two times that do not meet."""
    if len(end) <= _DAY_DIGITS:
        return period_text(_after(end), _before(start))
    first = end[:8] if not end[8:].strip("0") else _after(end[:8])
    last = _before(start[:8])
    if first > last:
        return f"The time from {time_text(end)} to {time_text(start)}"
    return period_text(first, last)


def _after(time: str) -> str:
    if len(time) == 4:
        return f"{int(time) + 1:04d}"
    if len(time) == 6:
        return _next_month(time)
    if len(time) > _DAY_DIGITS:
        return time
    month, number = int(time[4:6]), int(time[6:8])
    # 30 December may be the last day (360_day) or not; the year is named where it may be over.
    return f"{_next_month(time)}01" if number >= min(30, _USUAL[month - 1]) else f"{time[:6]}{number + 1:02d}"


def _before(time: str) -> str:
    if len(time) == 4:
        return f"{int(time) - 1:04d}"
    year, month = int(time[:4]), int(time[4:6])
    if len(time) == 8 and time[6:] != "01":
        return f"{time[:6]}{int(time[6:]) - 1:02d}"
    earlier = f"{year - 1:04d}12" if month == 1 else f"{year:04d}{month - 1:02d}"
    return earlier if len(time) == 6 else f"{earlier}{_USUAL[int(earlier[4:]) - 1]:02d}"


def _precision(slices: Sequence[Slice], table: str | None) -> Iterable[Finding]:
    """Find the first file whose times have other digits than its table asks for."""
    expected = digits_expected(table)
    for part in slices:
        lengths = {len(part.start or ""), len(part.end or "")}
        odd = len(lengths) > 1 or (expected is not None and lengths != {expected})
        if odd:
            written = f"{part.start}-{part.end}" if part.start != part.end else part.start
            wanted = f"times of {expected} digits" if expected else "no time" if expected == 0 else "equal digits"
            yield Finding(
                severity=Severity.WARNING,
                code="time_precision",
                message=f"'{_name(part)}' has the time {written}; files of '{table}' have {wanted}."
                if expected is not None
                else f"The first and the last time of '{_name(part)}' have unequal digits.",
                subject=part.file,
                got=written,
                expected=wanted,
            )
            return


def _untimed(ordered: Sequence[Slice]) -> Arrangement:
    if len(ordered) == 1:
        return Arrangement(kept=tuple(ordered), contained=(), findings=())
    finding = Finding(
        severity=Severity.WARNING,
        code="no_time_in_names",
        message=f"The names of {len(ordered)} files give no time; they are taken in the order of their names.",
        subject=ordered[0].file,
        remedy="Check the order; gaps and overlaps are only found when the files are opened.",
    )
    return Arrangement(kept=tuple(ordered), contained=(), findings=(finding,))


def _name(part: Slice) -> str:
    return part.file.rpartition("/")[2]
