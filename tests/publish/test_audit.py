"""The log is only added to, whoever reads it can prove it, and it leaves the database in forms that others read."""

import csv
import hashlib
import io
import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import UnreadableFile
from geoetl.core.identifiers import canonical_json
from geoetl.publish.audit import (
    GENESIS,
    AuditLog,
    Entry,
    Head,
    Row,
    append,
    append_many,
    from_json_lines,
    to_csv,
    to_json_lines,
)
from geoetl.publish.verification import verify
from geoetl.store.database import Database

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def an_entry(number: int = 0, **values: Any) -> Entry:
    """Return something to be written down."""
    usual: dict[str, Any] = {
        "release_id": f"release{number % 3}",
        "asset_id": "a" * 32,
        "action": "submit",
        "before": "draft",
        "after": "pending_review",
        "actor": "06anna",
        "manifest_digest": "b" * 64,
        "at": 1_800_000_000.123456789 + number,
        "details": {"number": number},
    }
    return Entry(**{**usual, **values})


def written(database: Database, count: int) -> AuditLog:
    """Write rows and return the log."""
    with database.begin() as connection:
        append_many(connection, [an_entry(number) for number in range(count)])
    return AuditLog(database)


def test_rows_are_numbered_without_a_gap_and_chained(database: Database) -> None:
    log = AuditLog(database)
    assert (log.head(), list(log.rows())) == (GENESIS, [])
    with database.begin() as connection:
        head = append(connection, an_entry(0, before=None, actor="=1+1", details={"name": "Ünal \u2028"}))
        head = append_many(connection, [an_entry(1), an_entry(2)])
        assert append_many(connection, []) == head
    rows = list(log.rows())
    assert [row.number for row in rows] == [1, 2, 3]
    assert [row.previous for row in rows] == [GENESIS.hash, rows[0].hash, rows[1].hash]
    assert log.head() == head == rows[-1].head
    found = verify(rows, head)
    assert (found.head, found.rows, found.is_intact) == (head, 3, True)


def test_the_hash_is_what_the_description_says(database: Database) -> None:
    log = written(database, 3)
    previous = "0" * 64
    for line in to_json_lines(log.rows()):
        values = json.loads(line)
        sealed = values.pop("hash")
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == sealed
        assert values["previous"] == previous
        assert values["at"].endswith(".123457")
        previous = sealed


@given(TEXT, TEXT, st.none() | TEXT, st.floats(0, 4e9))
def test_the_hash_is_of_canonical_json_whatever_the_text(
    actor: str, details: str, before: str | None, at: float
) -> None:

    row = Row(1, round(at, 6), "r", "a", "submit", before, None, actor, "d", details, "0" * 64, "")
    values = json.loads(row.to_json())
    del values["hash"]
    assert row.sealed() == hashlib.sha256(canonical_json(values).encode()).hexdigest()
    row = row._replace(hash=row.sealed())
    assert list(from_json_lines([row.to_json()])) == [row]
    assert verify([row]).is_intact


def test_the_database_refuses_to_change_or_remove_a_row(database: Database) -> None:
    log = written(database, 3)
    before = list(log.rows())
    forged = before[1]._replace(number=5)
    statements = [
        "UPDATE publish_audit_log SET actor = 'x' WHERE number = 2",
        "DELETE FROM publish_audit_log WHERE number = 3",
        "DELETE FROM publish_audit_log",
        _insert(before[1]._replace(previous="0" * 64)),
        _insert(forged),
        _insert(before[1]._replace(number=4)),
        _insert(before[1]).replace("INSERT", "INSERT OR REPLACE" if database.dialect == "sqlite" else "INSERT"),
        *([] if database.dialect == "sqlite" else ["TRUNCATE publish_audit_log"]),
    ]
    for statement in statements:
        with pytest.raises(sa.exc.DBAPIError, match="audit log"), database.begin() as connection:
            connection.exec_driver_sql(statement)
    assert list(log.rows()) == before
    assert written(database, 1).head().number == 4


def _insert(row: Any) -> str:
    values = ["NULL" if value is None else repr(value) for value in row]
    names = ", ".join('"before"' if name == "before" else f'"{name}"' for name in row._fields)
    return f"INSERT INTO publish_audit_log ({names}) VALUES ({', '.join(values)})"


def test_a_row_goes_with_the_transaction_that_wrote_it(database: Database) -> None:
    log = written(database, 1)
    with database.begin() as connection:
        append(connection, an_entry(1))
        connection.rollback()
    assert log.head().number == 1
    assert written(database, 1).head().number == 2


def test_pages_and_filters_find_the_rows(database: Database) -> None:
    log = written(database, 10)
    assert [row.number for row in log.page(limit=3)] == [10, 9, 8]
    assert [row.number for row in log.page(before=8, limit=2)] == [7, 6]
    assert [row.number for row in log.page(release_id="release0")] == [10, 7, 4, 1]
    assert log.page(action="refused") == []
    assert [row.number for row in log.rows(after=8)] == [9, 10]


def test_an_export_can_be_verified_without_the_database(sqlite: Database) -> None:
    log = written(sqlite, 20)
    lines = list(to_json_lines(log.rows()))
    assert verify(from_json_lines(lines), log.head()).is_intact
    assert not verify(from_json_lines(lines[:-1]), log.head()).is_intact
    for wrong in ("", "{}", "[1]", "x", lines[0].replace('"at":"1', '"at":"01'), lines[0].replace('r":1', 'r":"1"')):
        with pytest.raises(UnreadableFile, match="Line 2"):
            list(from_json_lines([lines[0], wrong]))


def test_a_spreadsheet_runs_nothing_of_the_csv(sqlite: Database) -> None:
    with sqlite.begin() as connection:
        append(connection, an_entry(0, actor='=cmd|"/c calc"!A1', details={"reason": '=1+1,"x"\r\ny'}))
        append(connection, an_entry(1, actor="@SUM(1)", before=None))
    text = "".join(to_csv(AuditLog(sqlite).rows()))
    header, first, second = csv.reader(io.StringIO(text, newline=""))
    named = dict(zip(header, first, strict=True))
    assert named["actor"] == '\'=cmd|"/c calc"!A1'
    assert json.loads(named["details"])["reason"] == '=1+1,"x"\r\ny'
    assert named["time"] == "2027-01-15T08:00:00.123457+00:00"
    assert dict(zip(header, second, strict=True))["actor"] == "'@SUM(1)"
    assert not any(cell.startswith(("=", "@", "+", "-")) for cell in (*first, *second))


def test_a_head_says_where_a_log_ends() -> None:
    assert verify([], GENESIS).is_intact
    assert not verify([], Head(1, "a" * 64)).is_intact
