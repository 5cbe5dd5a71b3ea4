"""Which files go together: those that agree and follow each other in time."""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf

from geoetl.core.findings import Severity
from geoetl.virtual.header import TIME, FileHeader
from geoetl.virtual.preflight.clocks import SAME_DAYS, Clock
from geoetl.virtual.preflight.form import Compared, can_be_cut
from geoetl.virtual.preflight.notes import Note, apart

Group = list[int]


def find_copies(compared: Compared, clocks: Mapping[int, Clock]) -> dict[int, int]:
    """Return the files that have the times and the kind of another one, with the number of that one.

    Of such files the one stays that is stored as most files are.
    """
    usual = Counter(compared.fingerprints)
    alike: dict[Hashable, list[int]] = defaultdict(list)
    for number, clock in clocks.items():
        alike[compared.kinds[number], clock.line, clock.days.size].append(number)
    copies: dict[int, int] = {}
    for members in alike.values():
        runs: list[list[int]] = []
        for number in _in_time(members, clocks):
            if runs and clocks[runs[-1][0]].equals(clocks[number]):
                runs[-1].append(number)
            else:
                runs.append([number])
        for run in runs:
            model = min(run, key=lambda number: (-usual[compared.fingerprints[number]], number))
            copies |= {number: model for number in run if number != model}
    return copies


def in_lanes(keys: Mapping[int, Hashable], clocks: Mapping[int, Clock]) -> list[Group]:
    """Return the files of `keys` that agree and follow each other without overlap; a file without times is alone.

    Args:
        keys: What has to be equal, by the number of the file.
        clocks: Their times.
    """
    alike: dict[Hashable, list[int]] = defaultdict(list)
    lanes = [[number] for number in keys if number not in clocks]
    for number, key in keys.items():
        if number in clocks:
            alike[key, clocks[number].line].append(number)
    for members in alike.values():
        ends: list[tuple[float, int]] = []
        for number in _in_time(members, clocks):
            # Behind the file that ended last before this one begins.
            place = bisect_left(ends, (clocks[number].first - SAME_DAYS, -1)) - 1
            lane = ends.pop(place)[1] if place >= 0 else len(lanes)
            if lane == len(lanes):
                lanes.append([])
            lanes[lane].append(number)
            insort(ends, (clocks[number].last, lane))
    return sorted(lanes, key=lambda lane: (clocks[lane[0]].first if lane[0] in clocks else inf, lane[0]))


def _in_time(members: Iterable[int], clocks: Mapping[int, Clock]) -> list[int]:
    return sorted(members, key=lambda number: (clocks[number].first, number))


def cut_behind_partial_chunks(lanes: Sequence[Group], headers: Sequence[FileHeader]) -> tuple[list[Group], list[Note]]:
    """Return the groups that end behind files whose last chunk is not full, and a note of each that another follows."""
    groups: list[Group] = []
    notes: list[Note] = []
    for lane in lanes:
        ragged: set[int] = set()
        for name, array in headers[lane[0]].arrays.items():
            arrays = [headers[number].arrays[name] for number in lane]
            if array.time_axis is None or any(one.values is not None for one in arrays):
                continue
            lengths = [one.shape[array.time_axis] for one in arrays]
            if all(can_be_cut(one) for one in arrays):
                if len(set(lengths)) > 1:
                    steps = f"{min(lengths)} to {max(lengths)} steps"
                    said = (
                        f"'{name}' lies in one plain piece in each of {{files}}, of {steps}; the pieces are cut into "
                        "equal chunks."
                    )
                    notes.append(Note(Severity.INFO, "unequal_lengths", said, tuple(lane), name, got=steps))
                continue
            chunk = array.chunks[array.time_axis]
            partial = [(number, length) for number, length in zip(lane[:-1], lengths, strict=False) if length % chunk]
            ragged.update(number for number, _ in partial)
            notes += [_partial(name, number, length, chunk) for number, length in partial]
        groups.append([])
        for number in lane:
            groups[-1].append(number)
            if number in ragged:
                groups.append([])
    return groups, notes


def _partial(name: str, number: int, length: int, chunk: int) -> Note:
    said = (
        f"The {length} time steps of '{name}' in {{files}} do not fill its chunks of {chunk} steps, and another file "
        "follows: everything behind would be shifted in time."
    )
    remedy = "Rechunk the files along time, keep them as separate items, or convert them to Zarr."
    return apart("partial_chunk", said, [number], name, f"{length} steps", f"a multiple of {chunk} steps", remedy)


def note_overlaps(
    copies: Mapping[int, int], clocks: Mapping[int, Clock], headers: Sequence[FileHeader]
) -> Iterator[Note]:
    """Return a note of each file that is a copy of another, or begins before an earlier one ends."""

    def error(code: str, said: str, number: int, before: Clock, remedy: str) -> Note:
        got, expected = f"begins {clocks[number].text(clocks[number].first)}", f"after {before.text(before.last)}"
        return apart(code, said, [number], TIME, got, expected, remedy)

    for number, model in copies.items():
        said = f"The times of {{files}} are those of '{headers[model].name}' once more ({clocks[number].span})."
        yield error("duplicate", said, number, clocks[model], "Remove it; cubes are made without it.")
    lines: dict[Hashable, list[int]] = defaultdict(list)
    for number, clock in clocks.items():
        if number not in copies:
            lines[clock.line].append(number)
    for members in lines.values():
        longest, *later = _in_time(members, clocks)
        for number in later:
            before, after = clocks[longest], clocks[number]
            if after.first <= before.last + SAME_DAYS:
                whose = f"those of '{headers[longest].name}' ({before.span})"
                said = f"The times of {{files}} ({after.span}) overlap with {whose}."
                remedy = "Leave one of the two files out, or make a cube of each."
                yield error("overlap", said, number, before, remedy)
            if after.last > before.last:
                longest = number


def note_order(groups: Sequence[Group]) -> Iterator[Note]:
    """Return a note of the files that stand before others which come first in time."""
    moved = tuple(sorted(after for group in groups for before, after in pairwise(group) if after < before))
    if moved:
        said = "The files are not in the order of their times; the cube follows the times, which moves {files} forward."
        yield Note(Severity.INFO, "order", said, moved, TIME)
