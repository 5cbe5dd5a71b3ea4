"""Whatever is done to a log, the first row that is not as it was written is found; a right log is never blamed.

The short form is part of every test run; ``make chaos`` makes more of it with ``GEOETL_TEST_TAMPERINGS``.
"""

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from geoetl.publish.audit import GENESIS, AuditLog, Head, Row
from geoetl.publish.verification import Tampering, verify
from geoetl.store.database import Database
from tests.publish.test_audit import written

TAMPERINGS = int(os.environ.get("GEOETL_TEST_TAMPERINGS", 1000))
ROWS = 60
TEXTS = ("release_id", "asset_id", "action", "before", "after", "actor", "manifest_digest", "details")


def resealed(rows: list[Row], start: int) -> list[Row]:
    """Return rows whose numbers and hashes were computed anew from a place on."""
    made = rows[:start]
    for row in rows[start:]:
        before = made[-1].head if made else GENESIS
        row = row._replace(number=before.number + 1, previous=before.hash)
        made.append(row._replace(hash=row.sealed()))
    return made


def renumbered(rows: list[Row]) -> list[Row]:
    """Return rows with the numbers of their places, as a table has them."""
    return [row._replace(number=number) for number, row in enumerate(rows, 1)]


def forged(row: Row) -> Row:
    """Return a row that tells of something else."""
    return row._replace(actor="mallory", action="approve")


def edited(rows: list[Row], at: int, drawn: random.Random) -> list[Row]:
    """Change one value of a row."""
    name = drawn.choice([*TEXTS, "at", "previous", "hash"])
    value = getattr(rows[at], name)
    if name == "at":
        other = value + drawn.choice([1.0, -3600.0, 1e-6, 2.4e-7])
    elif name in ("previous", "hash"):
        other = "".join(reversed(value))
    else:
        other = drawn.choice([None, "", f"{value} ", str(value)[:-1], "é"])
    return [*rows[:at], rows[at]._replace(**{name: other}), *rows[at + 1 :]]


def swapped(rows: list[Row], at: int, drawn: random.Random) -> list[Row]:
    """Let two rows change places."""
    other = drawn.randrange(at + 1, len(rows))
    made = list(rows)
    made[at], made[other] = made[other], made[at]
    return made


# Each with the kinds that it may be taken for, whether the row that is named is the very first that differs, and
# whether it shows in the log alone.
Way = tuple[Callable[[list[Row], int, random.Random], list[Row]], set[Tampering], bool, bool]
WAYS: dict[str, Way] = {
    "one value": (edited, {Tampering.EDITED}, True, True),
    "a row, and its hash with it": (
        lambda rows, at, _: [
            *rows[:at],
            forged(rows[at])._replace(hash=forged(rows[at]).sealed()),
            *rows[at + 1 :],
        ],
        {Tampering.EDITED}, True, True,
    ),
    "a row taken out": (lambda rows, at, _: rows[:at] + rows[at + 1 :], {Tampering.DELETED}, True, True),
    "rows taken out": (
        lambda rows, at, drawn: rows[:at] + rows[min(at + drawn.randint(2, 9), len(rows) - 1) :],
        {Tampering.DELETED}, True, True,
    ),
    "a row taken out, and the others renumbered": (
        lambda rows, at, _: renumbered(rows[:at] + rows[at + 1 :]), {Tampering.DELETED}, True, True,
    ),
    "rows that changed places": (swapped, {Tampering.REORDERED}, True, True),
    "rows that changed places and numbers": (
        lambda rows, at, drawn: renumbered(swapped(rows, at, drawn)), {Tampering.REORDERED}, True, True,
    ),
    "a row put in": (
        lambda rows, at, _: renumbered([*rows[:at], forged(rows[at]), *rows[at:]]), {Tampering.INSERTED}, True, True,
    ),
    "a row put in with a right hash": (
        lambda rows, at, _: [
            *resealed([*rows[:at], forged(rows[at])], at),
            *(row._replace(number=row.number + 1) for row in rows[at:]),
        ],
        {Tampering.INSERTED}, True, True,
    ),
    "a row put in twice": (
        lambda rows, at, _: renumbered([*rows[: at + 1], rows[max(at - 3, 0)], *rows[at + 1 :]]),
        {Tampering.INSERTED}, False, True,
    ),
    "the same line twice": (
        lambda rows, at, _: [*rows[: at + 1], rows[at], *rows[at + 1 :]], {Tampering.INSERTED}, True, True,
    ),
    "the end taken off": (lambda rows, at, _: rows[:at], {Tampering.TRUNCATED}, True, False),
    "all written anew from a row on": (
        lambda rows, at, _: resealed([*rows[:at], forged(rows[at]), *rows[at + 1 :]], at),
        {Tampering.FORKED}, False, False,
    ),
    "a row taken out and all written anew": (
        lambda rows, at, _: resealed(rows[:at] + rows[at + 1 :], at), {Tampering.TRUNCATED}, False, False,
    ),
    "a row put in and all written anew": (
        lambda rows, at, _: resealed([*rows[:at], forged(rows[at]), *rows[at:]], at), {Tampering.FORKED}, False, False,
    ),
    "an older log that went on otherwise": (
        lambda rows, at, _: resealed([*rows[:at], *map(forged, rows[at:]), *rows[:9]], at),
        {Tampering.FORKED}, False, False,
    ),
}  # fmt: skip


@pytest.fixture
def rows(sqlite: Database) -> list[Row]:
    """Give a log as it was written."""
    return list(written(sqlite, ROWS).rows())


@pytest.mark.parametrize("way", WAYS)
def test_what_was_done_to_a_log_is_found_and_named(rows: list[Row], way: str) -> None:
    change, kinds, is_exact, is_seen_alone = WAYS[way]
    head = rows[-1].head
    drawn = random.Random(way)
    for _ in range(max(5, TAMPERINGS // len(WAYS))):
        at = drawn.randrange(len(rows) - 1)
        changed = change(list(rows), at, drawn)
        if changed == rows:
            continue
        found = verify(changed, head)
        assert found.fault is not None, (way, at)
        assert found.fault.kind in kinds, (way, at, found)
        if is_exact:
            assert found.fault.number == at + 1, (way, at, found)
        assert found.fault.detail.startswith("Row")
        alone = verify(changed)
        assert alone.is_intact is not is_seen_alone, (way, at)


def test_a_log_as_it_was_written_is_never_blamed(rows: list[Row]) -> None:
    drawn = random.Random(7)
    for _ in range(TAMPERINGS):
        kept = drawn.choice([GENESIS, *(row.head for row in rows)])
        verified = drawn.choice([row.head for row in rows[: kept.number]] or [GENESIS])
        until = drawn.randint(max(kept.number, verified.number), len(rows))
        found = verify(rows[verified.number : until], kept, after=verified)
        assert found.is_intact
        assert found.rows == until - verified.number


def test_a_head_that_was_kept_is_held_against_the_rows_before_it_alone(rows: list[Row]) -> None:
    kept = rows[29].head
    assert verify(rows[:30], kept).is_intact
    assert verify(rows, kept).is_intact
    other = resealed([*rows[:40], forged(rows[40]), *rows[41:]], 40)
    assert verify(other, kept).is_intact, "what came after the head was kept cannot be told from what is new"
    assert verify(other, rows[40].head).fault is not None
    assert verify(rows[30:], Head(30, "f" * 64), after=kept).fault is not None


def test_what_is_done_to_the_file_is_found(tmp_path: Path, sqlite: Database) -> None:
    log = written(sqlite, ROWS)
    head = log.head()
    sqlite.dispose()
    for number, statement in enumerate(
        [
            "UPDATE publish_audit_log SET at = 'soon' WHERE number = 7",
            "UPDATE publish_audit_log SET actor = x'00ff' WHERE number = 7",
            "UPDATE publish_audit_log SET details = details || ' ' WHERE number = 7",
            "UPDATE publish_audit_log SET number = 1000 WHERE number = 7",
            "DELETE FROM publish_audit_log WHERE number = 7",
        ]
    ):
        copy = tmp_path / f"{number}.db"
        with sqlite3.connect(tmp_path / "geoetl.db") as source, sqlite3.connect(copy) as target:
            source.backup(target)
            # Whoever has the file can remove what refuses to change it.
            for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                target.execute(f"DROP TRIGGER {name}")
            target.execute(statement)
        found = verify(AuditLog(Database(f"sqlite:///{copy}")).rows(), head)
        assert found.fault is not None
        assert found.fault.number == 7, statement
