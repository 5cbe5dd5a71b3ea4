"""Steps along time that are longer than usual, between files and inside."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from geoetl.core.findings import Severity
from geoetl.virtual.header import TIME, FileHeader
from geoetl.virtual.preflight.clocks import Clock
from geoetl.virtual.preflight.notes import Note

# A step this many times the usual one is a gap: months differ by 31/28, a missing one makes 2.
GAP_FACTOR = 1.5
# From here on a span is told in years.
_YEARS_FROM_DAYS = 730


def note_gaps(
    groups: Sequence[Sequence[int]], clocks: Mapping[int, Clock], headers: Sequence[FileHeader]
) -> Iterator[Note]:
    """Return a note of each gap between two files of a group, and of each file that has gaps inside."""
    for group in groups:
        timed = [(number, clocks[number]) for number in group if number in clocks]
        usual = _usual_step([clock for _, clock in timed])
        if usual is None or any(clock.is_climatology for _, clock in timed):
            continue
        for (number, before), (after_number, after) in pairwise(timed):
            if after.first - before.last > GAP_FACTOR * usual:
                where = (
                    f"between '{headers[number].name}' (ends {before.text(before.last)}) and {{files}} (begins "
                    f"{after.text(after.first)})"
                )
                yield _gap(where, after_number, after.first - before.last, usual, before)
        for number, clock in timed:
            steps = np.diff(clock.days)
            wide = np.flatnonzero(steps > GAP_FACTOR * usual)
            if wide.size:
                begin, end = (clock.text(float(clock.days[wide[0] + place])) for place in (0, 1))
                more = f", and at {wide.size - 1} more places" if wide.size > 1 else ""
                where = f"inside {{files}}, between {begin} and {end}{more}"
                yield _gap(where, number, float(steps[wide[0]]), usual, clock)


def _usual_step(clocks: Sequence[Clock]) -> float | None:
    """Return the median step in days: inside files, else by the bounds, else between files."""
    inside = [np.diff(clock.days) for clock in clocks if clock.days.size > 1]
    widths = [clock.width_days for clock in clocks if clock.width_days is not None]
    borders = [after.first - before.last for before, after in pairwise(clocks)]
    found = np.concatenate(inside) if inside else np.array(widths or borders)
    return float(np.median(found)) if found.size else None


def _gap(where: str, number: int, step: float, usual: float, clock: Clock) -> Note:
    told, known = _span(step, clock), _span(usual, clock)
    said = f"Time steps are missing {where}: {told} where {known} are usual."
    got, expected = f"a step of {told}", f"a step of about {known}"
    remedy = "Add the files of the missing time if there are any; the cube keeps the gap."
    return Note(Severity.WARNING, "gap", said, (number,), TIME, got, expected, remedy)


def _span(days: float, clock: Clock) -> str:
    if not clock.calendar:
        return f"{days:.6g}"
    if days >= _YEARS_FROM_DAYS:
        return f"{days / 365.25:.3g} years"
    return f"{days:.6g} days" if days >= 1 else f"{days * 24:.4g} hours"
