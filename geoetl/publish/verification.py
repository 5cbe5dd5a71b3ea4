"""Whether an audit log is as it was written; if not, which row is the first that is not, and what was done to it."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from geoetl.publish.audit import GENESIS, Head, Row

# A row that was given another number is recognised as long as it was moved by no more than this.
_REACH = 1000


class Tampering(StrEnum):
    """What was done to a log."""

    EDITED = "edited"
    DELETED = "deleted"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"  # the end of it is missing
    FORKED = "forked"  # whole in itself, and another than the one whose head was kept


@dataclass(frozen=True)
class Fault:
    """Where a log is not as it was written.

    Attributes:
        number: Of the first row that is bad, or that is missing.
        kind: What was done to it.
        detail: The same in a sentence.
    """

    number: int
    kind: Tampering
    detail: str


@dataclass(frozen=True)
class Verification:
    """What came of looking through a log.

    Attributes:
        head: The last row up to which all is right; with one that was kept elsewhere nothing before it can change.
        rows: How many were seen to be right.
        fault: The first thing that is not; None in a log as it was written.
    """

    head: Head
    rows: int
    fault: Fault | None = None

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return self.fault is None


def verify(rows: Iterable[Row], head: Head | None = None, *, after: Head = GENESIS) -> Verification:
    """Look through rows in order, and stop at the first that is not as it was written.

    Without a head that was kept elsewhere, rows missing at the end and a log that was written anew from some row on
    cannot be seen: each is a log that is whole in itself.

    Args:
        rows: All behind `after`.
        head: As it was kept; rows behind it may be new.
        after: Up to where it has been verified before.
    """
    number, hash = after.number, after.hash
    kept_number, kept_hash = (head.number, head.hash) if head else (-1, "")
    recent: deque[str] = deque(maxlen=_REACH)
    rest = iter(rows)
    if number == kept_number and hash != kept_hash:
        return Verification(after, 0, _forked(kept_number))
    for row in rest:
        if row.number != number + 1 or row.previous != hash or not _is_sealed(row):
            found = _Break(row, rest, Head(number, hash), after, head, recent).fault()
            return Verification(Head(number, hash), number - after.number, found)
        if row.number == kept_number and row.hash != kept_hash:
            return Verification(Head(number, hash), number - after.number, _forked(kept_number))
        number, hash = row.number, row.hash
        recent.append(hash)
    fault = None
    if number < kept_number:
        missing = f"Rows {number + 1} to {kept_number}" if number + 1 < kept_number else f"Row {kept_number}"
        fault = Fault(number + 1, Tampering.TRUNCATED, f"{missing} of the log whose head was kept are missing.")
    return Verification(Head(number, hash), number - after.number, fault)


def _forked(number: int) -> Fault:
    return Fault(
        number,
        Tampering.FORKED,
        f"Row {number} is not the one whose hash was kept: it, or a row before it, was written anew.",
    )


@dataclass(frozen=True)
class _Break:
    """The first row that does not go on from the ones before.

    Attributes:
        row: That one.
        rest: Those behind it.
        last: The one before.
        start: Where the looking began.
        kept: A head that was kept.
        recent: Hashes of the rows before.
    """

    row: Row
    rest: Iterator[Row]
    last: Head
    start: Head
    kept: Head | None
    recent: deque[str]

    def fault(self) -> Fault:
        """Tell what was done, from what is left of it."""
        row, expected = self.row, self.last.number + 1
        if row.number > expected:
            if any(later.number == expected for later in self.rest):
                return Fault(expected, Tampering.REORDERED, f"Row {row.number} comes before row {expected}.")
            gone = f"Rows {expected} to {row.number - 1} are" if row.number - 1 > expected else f"Row {expected} is"
            return Fault(expected, Tampering.DELETED, f"{gone} missing.")
        if row.number < expected:
            return Fault(row.number, Tampering.INSERTED, f"Row {row.number} comes a second time.")
        return self._of_sealed() if _is_sealed(row) else self._of_unsealed()

    def _of_sealed(self) -> Fault:
        row, number = self.row, self.row.number
        follower = next(self.rest, None)
        is_kept = self.kept == row.head or (follower is not None and follower.previous == row.hash)
        if is_kept and self.last != self.start:
            detail = f"Row {number - 1} was changed, and its hash with it: row {number} was written after another one."
            return Fault(number - 1, Tampering.EDITED, detail)
        return Fault(number, Tampering.EDITED, f"Row {number} does not go on from row {number - 1}.")

    def _of_unsealed(self) -> Fault:
        row, number = self.row, self.row.number
        if row.previous == self.last.hash:
            follower = next(self.rest, None)
            if follower is not None and follower.previous == self.last.hash:
                return Fault(number, Tampering.INSERTED, f"Row {number} was put in before the one that was there.")
            return Fault(number, Tampering.EDITED, f"Row {number} does not have the hash of what it says.")
        was = _number_before(row)
        if was is None:
            return Fault(number, Tampering.EDITED, f"Row {number} does not have the hash of what it says.")
        if was < number:
            first = number if row.hash in self.recent else was
            return Fault(first, Tampering.INSERTED, f"Row {first} was put in: row {number} was row {was}.")
        if any(later.hash == row.previous for later in self.rest):
            return Fault(number, Tampering.REORDERED, f"Row {number} was row {was}: rows have changed places.")
        return Fault(number, Tampering.DELETED, f"Row {number} was row {was}: rows before it were taken out.")


def _is_sealed(row: Row) -> bool:
    try:
        # A time that differs by less than what is hashed has been changed too.
        return row.sealed() == row.hash and float(f"{row.at:.6f}") == row.at
    except (TypeError, ValueError):
        return False  # SQLite keeps a text or bytes where a number belongs


def _number_before(row: Row) -> int | None:
    """Return the number with which a row was sealed, where that is not far from the one it has."""
    numbers = range(max(1, row.number - _REACH), row.number + _REACH + 1)
    return next((number for number in numbers if _is_sealed(row._replace(number=number))), None)
