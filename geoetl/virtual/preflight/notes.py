"""Notes of what was noticed in some files, and how many of them become the few findings that people read."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from geoetl.core.findings import Finding, Severity
from geoetl.virtual.header import FileHeader

# Files that are named, and findings of one kind that are told, before the rest is counted.
_NAMED = 3
_MAX_OF_A_KIND = 5
_WORST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.INFO)

GROUP = "Make one cube of each group of files that agree, or convert the files to Zarr."


@dataclass(frozen=True)
class Note:
    """A finding of some files, before it is known how many share it.

    Attributes:
        message: ``{files}`` in it stands for their names.
        files: Their numbers.
        is_between_files: They may be right by themselves: to separate them is a cure.
    """

    severity: Severity
    code: str
    message: str
    files: tuple[int, ...]
    variable: str | None = None
    got: str | None = None
    expected: str | None = None
    remedy: str | None = None
    is_between_files: bool = False


def apart(
    code: str, message: str, files: Iterable[int], variable: str, got: str | None, expected: str, remedy: str
) -> Note:
    """Return an error that is cured by separating files."""
    return Note(Severity.ERROR, code, message, tuple(files), variable, got, expected, remedy, is_between_files=True)


def fold(notes: Iterable[Note], headers: Sequence[FileHeader]) -> tuple[Finding, ...]:
    """Return findings, worst first: one of all notes that say the same of different files, and a few of each kind."""
    same: dict[Note, list[int]] = defaultdict(list)
    for note in notes:
        same[replace(note, files=())] += note.files
    kinds: dict[Hashable, list[Note]] = defaultdict(list)
    for note, files in same.items():
        kinds[note.severity, note.code, note.variable].append(replace(note, files=_once(files)))
    findings = [_finding(note, headers) for kind in kinds.values() for note in _few(kind)]
    return tuple(sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.severity)))


def _few(kind: list[Note]) -> list[Note]:
    """Return the first notes of one kind, the last of them counting the rest."""
    told, rest = kind[:_MAX_OF_A_KIND], kind[_MAX_OF_A_KIND:]
    if not rest:
        return told
    message = f"There are {len(rest)} more findings of this kind on '{rest[0].variable}', in {{files}}."
    files = _once(number for note in rest for number in note.files)
    return [*told, replace(rest[0], message=message, files=files, got=None, expected=None)]


def _once(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(numbers))


def _finding(note: Note, headers: Sequence[FileHeader]) -> Finding:
    told = ", ".join(headers[number].name for number in note.files[:_NAMED])
    if (more := len(note.files) - _NAMED) > 0:
        told += f" and {more} more"
    return Finding(
        severity=note.severity,
        code=note.code,
        message=note.message.replace("{files}", named(note.files, headers)),
        subject=f"{told}: {note.variable}" if note.variable else told,
        got=note.got,
        expected=note.expected,
        remedy=note.remedy,
    )


def named(numbers: Sequence[int], headers: Sequence[FileHeader]) -> str:
    """Return 'a', 'b' and 17 more."""
    quoted = [f"'{headers[number].name}'" for number in numbers[:_NAMED]]
    last = f"{len(numbers) - _NAMED} more" if len(numbers) > _NAMED else quoted.pop()
    return f"{', '.join(quoted)} and {last}" if quoted else last


def split_by[V: Hashable](values: Iterable[tuple[int, V]]) -> tuple[list[int], list[list[int]]]:
    """Return the numbers of the files that have the most common value, and those of each other value."""
    holders: dict[V, list[int]] = defaultdict(list)
    for number, value in values:
        holders[value].append(number)
    usual = max(holders.values(), key=len, default=[])
    return usual, [numbers for numbers in holders.values() if numbers is not usual]
