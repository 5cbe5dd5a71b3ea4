"""One relational database through SQLAlchemy: SQLite (WAL) by default, PostgreSQL by URL.

One unit of work is one connection is one transaction.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url

from geoetl.core.errors import ConfigurationError, Unavailable

# A writer waits this long for another one; SQLite has one writer at a time.
BUSY_TIMEOUT_S = 30
_READ_ONLY = "geoetl_read_only"
# PostgreSQL ended the transaction because of another one; the same work succeeds when it is done again.
_IN_THE_WAY = frozenset({"40001", "40P01"})


_LOCKED = (f"The database stayed locked for {BUSY_TIMEOUT_S} s.", "Try again when the other writer is done.")
_FULL = ("The database could not be written: the disk is full.", "Free some space, then try again.")
_UNREACHABLE = (
    "The database cannot be reached or refused the connection.",
    "Check GEOETL_DATABASE__URL and that the server runs, then try again.",
)


class Database:
    """The database at `url`.

    Args:
        url: SQLAlchemy URL, ``sqlite:///PATH`` or ``postgresql+psycopg://…``.
        read_only: Whether nothing may be written: not by `begin`, and not by SQL either.

    Raises:
        ConfigurationError: The URL is malformed or of another kind of database.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.read_only = read_only
        try:
            self._url = make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            raise ConfigurationError(
                "The database URL is malformed.",
                hint="Set GEOETL_DATABASE__URL to postgresql+psycopg://user:password@host/name or sqlite:///path.",
                field="GEOETL_DATABASE__URL",
            ) from None
        if self._url.get_backend_name() == "postgresql":  # whatever driver is named, this is the one that is tried
            self._url = self._url.set(drivername="postgresql+psycopg")
        if self.dialect not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                f"A '{self.dialect}' database is not supported.",
                hint="Use PostgreSQL or SQLite in GEOETL_DATABASE__URL.",
                field="GEOETL_DATABASE__URL",
            )

    def __repr__(self) -> str:
        return f"Database({self._url.render_as_string(hide_password=True)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A connection pool does not cross process borders; the URL does.
        return (_rebuild, (self.url, self.read_only))

    @property
    def url(self) -> str:
        """The SQLAlchemy URL with its password; never to be shown."""
        return self._url.render_as_string(hide_password=False)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._url.get_backend_name()

    @cached_property
    def engine(self) -> Engine:
        """The engine; made at the first use."""
        if self.dialect == "postgresql":
            # No prepared statements: each search is planned for its own box and interval, and poolers need none.
            engine = sa.create_engine(self._url, pool_pre_ping=True, connect_args={"prepare_threshold": None})
            sa.event.listen(engine, "connect", self._prepare_postgres)
            return engine
        if self.read_only and self._url.database:
            engine = sa.create_engine(self._url, creator=self._open_existing)
        else:
            if self._url.database:
                Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(self._url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
        sa.event.listen(engine, "connect", self._prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a unit of work: everything in the block is committed at its end, or nothing.

        Raises:
            Unavailable: The database cannot be reached, is locked for too long, or its disk is full.
            ConfigurationError: It was opened for reading alone.
        """
        if self.read_only:
            raise ConfigurationError(
                "This process reads only: nothing can be written to the database.",
                hint="Write with a server of the role `all` or `etl`, or with the command line.",
            )
        with _as_unavailable(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a snapshot for reading; it never waits for a writer.

        Raises:
            Unavailable: The database cannot be reached.
        """
        options: dict[str, Any] = {_READ_ONLY: True}
        if self.dialect == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with _as_unavailable(), self.engine.connect() as plain:
            with (connection := plain.execution_options(**options)).begin():
                yield connection

    def within(self, connection: Connection) -> "Database":
        """Return this database as it is seen from an open unit of work.

        What repositories and the catalogue do with it belongs to that unit of work: it is committed or undone with it.
        """
        return _Within(self, connection)

    @property
    def is_within(self) -> bool:
        """Whether it is one within a unit of work, which cannot be done again in part."""
        return False

    def upgrade(self) -> None:
        """Bring the schema to this version's, pgSTAC's on PostgreSQL too; nothing is done when it already is.

        A database that is read only is just looked at.

        Raises:
            ConfigurationError: It was written by a newer geoetl, its role may not change the schema, or it is read only
                and lacks something.
        """
        from geoetl.store.schema import upgrade

        upgrade(self)

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def _open_existing(self) -> sqlite3.Connection:
        # Writable as a file, because readers of a WAL take part in its index; `query_only` keeps the data.
        path = quote(str(Path(str(self._url.database)).absolute()))
        return sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)

    def _prepare_sqlite(self, dbapi_connection: Any, _record: Any) -> None:
        # Leave transactions to us: the driver's own would start them too late for BEGIN IMMEDIATE.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        if self.read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            # FULL: what was committed survives a power cut, at the price of one sync a commit.
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def _prepare_postgres(self, dbapi_connection: Any, _record: Any) -> None:
        settings = [
            f"set lock_timeout = '{BUSY_TIMEOUT_S}s'",
            "set jit = off",  # compiling takes longer than any search of ours
            *(["set default_transaction_read_only = on"] if self.read_only else []),
        ]
        dbapi_connection.execute("; ".join(settings))
        dbapi_connection.commit()


class _Within(Database):
    """See `Database.within`."""

    def __init__(self, whole: Database, connection: Connection) -> None:
        super().__init__(whole.url, read_only=whole.read_only)
        self._connection = connection

    @property
    def is_within(self) -> bool:
        return True

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        yield self._connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self._connection


def insert_once(connection: Connection, table: sa.TableClause, values: Mapping[str, Any]) -> bool:
    """Insert a row unless there is one of its key; tell whether it was inserted."""
    inserted = _insert(connection, table).values(**values).on_conflict_do_nothing().returning(sa.literal_column("1"))
    return connection.execute(inserted).first() is not None


def upsert(connection: Connection, table: sa.TableClause, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert a row, or change the one of its key; of two who do it at the same time, the second changes."""
    statement = _insert(connection, table).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[*key], set_=dict(values)))


def upsert_many(
    connection: Connection, table: sa.TableClause, key: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows that have the same columns, or change those of their keys."""
    if not rows:
        return
    statement = _insert(connection, table)
    values = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values), [dict(row) for row in rows])


def _insert(connection: Connection, table: sa.TableClause) -> Any:
    # Each loads what that kind of database has; the other kind's is not needed.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def was_in_the_way(error: Exception) -> bool:
    """Tell whether only another transaction kept this one from being done, so that it may be done again at once."""
    return sqlstate(error) in _IN_THE_WAY


def sqlstate(error: Exception) -> str:
    """Return PostgreSQL's code of what a unit of work raised; empty where there is none."""
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    return str(getattr(cause.orig, "sqlstate", None) or "") if isinstance(cause, sa.exc.DBAPIError) else ""


def _rebuild(url: str, read_only: bool) -> Database:
    return Database(url, read_only=read_only)


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        is_postgres = isinstance(error, sa.exc.DBAPIError) and "sqlite3" not in type(error.orig).__module__
        meaning = _postgres_error(error) if is_postgres else _sqlite_error(error)
        if meaning is error:
            raise
        raise meaning from error


def _sqlite_error(error: sa.exc.DBAPIError | sa.exc.TimeoutError) -> Exception:
    if not isinstance(error, sa.exc.OperationalError | sa.exc.TimeoutError):
        return error
    reason = str(error.orig or error) if isinstance(error, sa.exc.DBAPIError) else str(error)
    if "locked" in reason or "busy" in reason:
        detail, hint = _LOCKED
    elif "full" in reason:
        detail, hint = _FULL
    elif "readonly" in reason or "read-only" in reason:
        detail, hint = "The database is read-only.", "Give this user write permission on GEOETL_HOME."
    elif "unable to open" in reason:
        detail, hint = "The database file cannot be opened.", "Check that GEOETL_HOME exists and is writable."
    elif "disk I/O" in reason or "malformed" in reason:
        detail, hint = "The database file cannot be read.", "Check the disk; restore GEOETL_HOME from a backup."
    elif isinstance(error, sa.exc.DBAPIError):
        return error  # a statement that does not fit the schema is a fault of ours, not of the place
    else:
        detail, hint = _UNREACHABLE
    return Unavailable(detail, hint=hint)


def _postgres_error(error: sa.exc.DBAPIError | sa.exc.TimeoutError) -> Exception:
    # Source: PostgreSQL, appendix A, error codes.
    state = sqlstate(error)
    if state == "42501":
        return ConfigurationError(
            "The database role lacks a right that geoetl needs.",
            hint="Run `geoetl db upgrade` as the owner of the database, and grant the role pgstac_ingest to this one.",
            field="GEOETL_DATABASE__URL",
        )
    if state in _IN_THE_WAY:
        detail, hint = "Other writers were in the way of this one.", "Try again."
    elif state == "55P03":
        detail, hint = _LOCKED
    elif state in ("53100", "58030"):
        detail, hint = _FULL
    elif state == "25006":
        detail, hint = "The database is read-only.", "Point GEOETL_DATABASE__URL at a server that takes writes."
    elif state == "53300":
        detail = "The database server takes no more connections."
        hint = "Try again; the server's max_connections limits them."
    elif state == "57014":
        detail, hint = "The database ended the statement: it took too long.", "Narrow the search, then try again."
    elif isinstance(error, sa.exc.OperationalError):
        detail, hint = _UNREACHABLE
    else:
        return error  # a statement that does not fit the schema is a fault of ours, not of the place
    return Unavailable(detail, hint=hint)


def _begin_sqlite(connection: Connection) -> None:
    deferred = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")
