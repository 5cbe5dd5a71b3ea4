"""One relational database through SQLAlchemy: SQLite (WAL) by default, PostgreSQL by URL.

One unit of work is one connection is one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url

from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.store.migrations import HEAD

# A writer waits this long for another one; SQLite has one writer at a time.
BUSY_TIMEOUT_S = 30
# Any constant does, it only has to be the same in every process that migrates.
_MIGRATION_LOCK = 0x67656F65746C
_READ_ONLY = "geoetl_read_only"


class Database:
    """The database at `url`.

    Args:
        url: SQLAlchemy URL, ``sqlite:///PATH`` or ``postgresql+psycopg://…``.

    Raises:
        ConfigurationError: The URL is malformed or of another kind of database.
    """

    def __init__(self, url: str) -> None:
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
        return (Database, (self._url.render_as_string(hide_password=False),))

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._url.get_backend_name()

    @cached_property
    def engine(self) -> Engine:
        """The engine; made at the first use."""
        if self.dialect == "postgresql":
            return sa.create_engine(self._url, pool_pre_ping=True)
        if self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(self._url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a unit of work: everything in the block is committed at its end, or nothing.

        Raises:
            Unavailable: The database cannot be reached, is locked for too long, or its disk is full.
        """
        with _as_unavailable(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a snapshot for reading; it never waits for a writer.

        Raises:
            Unavailable: The database cannot be reached.
        """
        with _as_unavailable(), self.engine.connect() as plain:
            with (connection := plain.execution_options(**{_READ_ONLY: True})).begin():
                yield connection

    def upgrade(self) -> None:
        """Bring the schema to this version's; nothing is done when it already is.

        Raises:
            ConfigurationError: The database was written by a newer geoetl.
        """
        if self._revision() == HEAD:
            return
        from geoetl.store.migrations import upgrade

        with self.begin() as connection:
            if self.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            upgrade(connection)

    def _revision(self) -> str | None:
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("select version_num from alembic_version")).scalar()

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
        reason = str(error.orig or error) if isinstance(error, sa.exc.DBAPIError) else str(error)
        if "locked" in reason or "busy" in reason:
            detail, hint = (
                f"The database stayed locked for {BUSY_TIMEOUT_S} s.",
                "Try again when the other writer is done.",
            )
        elif "full" in reason:
            detail, hint = "The database could not be written: the disk is full.", "Free some space, then try again."
        elif "readonly" in reason or "read-only" in reason:
            detail, hint = "The database is read-only.", "Give this user write permission on GEOETL_HOME."
        elif "unable to open" in reason:
            detail, hint = "The database file cannot be opened.", "Check that GEOETL_HOME exists and is writable."
        elif "disk I/O" in reason or "malformed" in reason:
            detail, hint = "The database file cannot be read.", "Check the disk; restore GEOETL_HOME from a backup."
        elif isinstance(error, sa.exc.DBAPIError) and "sqlite3" in type(error.orig).__module__:
            raise  # a statement that does not fit the schema is a fault of ours, not of the place
        else:
            detail = "The database cannot be reached or refused the connection."
            hint = "Check GEOETL_DATABASE__URL and that the server runs, then try again."
        raise Unavailable(detail, hint=hint) from error


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # Leave transactions to us: the driver's own would start them too late for BEGIN IMMEDIATE.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL: what was committed survives a power cut, at the price of one sync a commit.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    deferred = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")
