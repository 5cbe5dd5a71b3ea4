"""The audit log: what was done, was refused, by whom and when; rows that are only ever added, each sealed by a hash.

The hash of a row is the SHA-256, 64 hex digits, of the UTF-8 bytes of one JSON object: the names and values of every
column but ``hash``, the names sorted, no blanks between the parts, letters beyond ASCII as they are. ``number`` is a
number, ``before`` and ``after`` may be null, all else is text: ``at`` in Unix seconds with six digits behind the point,
``details`` the JSON text as it was written. ``previous`` is the hash of the row before, 64 zeros in the first. Rows are
numbered from 1 without a gap. A line of the export as JSON lines is that object with ``hash`` in it.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.core.errors import UnreadableFile
from geoetl.core.identifiers import canonical_json
from geoetl.core.spreadsheet import defused
from geoetl.publish.tables import audit_log
from geoetl.store.database import Database

# Any two constants do: they name the lock that whoever adds to the log holds on PostgreSQL.
_LOCK = (0x67656F, 0x617564)
# Rows read at a time: no transaction is kept open while they are looked at.
_BATCH = 5000
MAX_PAGE = 1000
_HEADER = ("number", "time", "action", "actor", "before", "after", "release_id", "asset_id", "manifest_digest")


@dataclass(frozen=True)
class Head:
    """The last row of a log, and with it all before.

    Attributes:
        number: Of the row; 0 where there is none.
        hash: Of the row.
    """

    number: int
    hash: str


#: What comes before the first row.
GENESIS = Head(0, "0" * 64)


@dataclass(frozen=True)
class Entry:
    """What is to be written down.

    Attributes:
        release_id, asset_id: What it was done to.
        action: What was done, or ``refused``.
        before, after: State of the release; None before there was one.
        actor: Principal id.
        manifest_digest: Of the manifest of the release.
        at: Unix time; kept to the microsecond.
        details: What else is to be known, as JSON.
    """

    release_id: str
    asset_id: str
    action: str
    before: str | None
    after: str | None
    actor: str
    manifest_digest: str
    at: float
    details: dict[str, Any]


class Row(NamedTuple):
    """A row as it stands in the log; see the top of the module."""

    number: int
    at: float
    release_id: str
    asset_id: str
    action: str
    before: str | None
    after: str | None
    actor: str
    manifest_digest: str
    details: str
    previous: str
    hash: str

    @property
    def head(self) -> Head:
        """The log up to here."""
        return Head(self.number, self.hash)

    def sealed(self) -> str:
        """Return the hash that these values have to have."""
        return sha256(orjson.dumps(self._hashed())).hexdigest()

    # By name, so that it is canonical JSON without being sorted: a log is long.
    def _hashed(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "actor": self.actor,
            "after": self.after,
            "asset_id": self.asset_id,
            "at": f"{self.at:.6f}",
            "before": self.before,
            "details": self.details,
            "manifest_digest": self.manifest_digest,
            "number": self.number,
            "previous": self.previous,
            "release_id": self.release_id,
        }

    def to_json(self) -> str:
        """Return the row as one line of JSON, from which its hash can be computed."""
        return canonical_json({**self._hashed(), "hash": self.hash})


_COLUMNS = [audit_log.c[name] for name in Row._fields]


def hold(connection: Connection) -> None:
    """Let nobody else add to the log, nor move a release, until the transaction ends.

    SQLite has one writer anyway. On PostgreSQL this comes before any row is locked, so that no two wait for each other.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(*_LOCK)))


def append(connection: Connection, entry: Entry) -> Head:
    """Add one row within the caller's transaction; see `append_many`."""
    return append_many(connection, [entry])


def append_many(connection: Connection, entries: Sequence[Entry]) -> Head:
    """Add rows within the caller's transaction: they are there if, and only if, what they tell of is."""
    hold(connection)
    head = latest(connection)
    rows = []
    for entry in entries:
        at, details = round(entry.at, 6), canonical_json(entry.details)
        unsealed = Row(
            head.number + 1, at, entry.release_id, entry.asset_id, entry.action, entry.before, entry.after,
            entry.actor, entry.manifest_digest, details, head.hash, "",
        )  # fmt: skip
        row = unsealed._replace(hash=unsealed.sealed())
        rows.append(row._asdict())
        head = row.head
    if rows:
        connection.execute(sa.insert(audit_log), rows)
    return head


def latest(connection: Connection) -> Head:
    """Return the last row of the log."""
    query = sa.select(audit_log.c.number, audit_log.c.hash).order_by(audit_log.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return Head(row.number, row.hash) if row else GENESIS


@dataclass(frozen=True)
class AuditLog:
    """The log, for reading."""

    database: Database

    def head(self) -> Head:
        """Return the last row."""
        with self.database.read() as connection:
            return latest(connection)

    def rows(self, after: int = 0) -> Iterator[Row]:
        """Yield every row behind a number, in order, without holding a transaction open."""
        query = sa.select(*_COLUMNS).order_by(audit_log.c.number).limit(_BATCH)
        while True:
            with self.database.read() as connection:
                batch = connection.execute(query.where(audit_log.c.number > after)).all()
            yield from map(Row._make, batch)
            if len(batch) < _BATCH:
                return
            after = batch[-1].number

    def page(
        self, *, before: int | None = None, limit: int = 100, release_id: str | None = None, action: str | None = None
    ) -> list[Row]:
        """Return the latest rows, the newest first; with `before` those that come before a number.

        Args:
            before: Number of the last row of the page before.
            limit: At most so many.
            release_id: Of one release only.
            action: Of one action only.
        """
        query = sa.select(*_COLUMNS).order_by(audit_log.c.number.desc()).limit(max(1, min(limit, MAX_PAGE)))
        if before is not None:
            query = query.where(audit_log.c.number < before)
        if release_id is not None:
            query = query.where(audit_log.c.release_id == release_id)
        if action is not None:
            query = query.where(audit_log.c.action == action)
        with self.database.read() as connection:
            return [Row._make(row) for row in connection.execute(query)]


def to_json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each row as a line of JSON; with these a log can be verified without its database."""
    for row in rows:
        yield row.to_json() + "\n"


def from_json_lines(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of an export as JSON lines.

    Raises:
        UnreadableFile: A line is no row of a log.
    """
    for place, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            row = Row(**{**values, "at": _seconds(values["at"])})
            if type(row.number) is not int or not all(isinstance(value, str | None) for value in row[2:]):
                raise TypeError(line)
            yield row
        except (ValueError, TypeError, KeyError, RecursionError):
            raise UnreadableFile(
                f"Line {place} is no row of an audit log.", hint="Export the log as JSON lines once more."
            ) from None


def to_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Yield CSV (RFC 4180) for reading: a header, then each row; texts that a spreadsheet would run are defused."""
    yield _csv_line([*_HEADER, "details", "previous", "hash"])
    for row in rows:
        time = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="microseconds")
        values = [row.number, time, *(getattr(row, name) for name in _HEADER[2:]), row.details, row.previous, row.hash]
        yield _csv_line([defused(value) if isinstance(value, str) else value for value in values])


def _csv_line(values: Sequence[Any]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerow(values)
    return out.getvalue()


def _seconds(text: str) -> float:
    seconds = float(text)
    # Only the one way of writing a time gives the hash that the row had.
    if f"{seconds:.6f}" != text:
        raise ValueError(text)
    return seconds
