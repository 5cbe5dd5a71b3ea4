"""The schema of the database: which revisions it has and needs, ours (Alembic) and on PostgreSQL pgSTAC's."""

import importlib.metadata
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.core.errors import ConfigurationError, Unavailable
from geoetl.store.database import Database
from geoetl.store.migrations import HEAD

# Any constant does, it only has to be the same in every process that migrates.
_MIGRATION_LOCK = 0x67656F65746C
# Roles belong to the whole server: two databases that are upgraded at once get into each other's way there.
_TRIES = 5


@dataclass(frozen=True)
class SchemaState:
    """Where the schema stands.

    Attributes:
        revision: Of our own tables; None in an empty database.
        revision_wanted: What this version of geoetl needs.
        pgstac: Version of pgSTAC's schema; None where there is none.
        pgstac_wanted: What this version of geoetl needs; None on SQLite.
    """

    revision: str | None
    revision_wanted: str
    pgstac: str | None
    pgstac_wanted: str | None

    @property
    def is_current(self) -> bool:
        """Whether nothing has to be done."""
        return (self.revision, self.pgstac) == (self.revision_wanted, self.pgstac_wanted)


def state(database: Database) -> SchemaState:
    """Return where the schema stands.

    Raises:
        ConfigurationError: The packages for PostgreSQL are missing.
    """
    with database.read() as connection:
        return _state(connection)


def upgrade(database: Database) -> SchemaState:
    """Bring the schema to this version's and return how it stood before.

    Each step is a transaction of its own, and whoever comes next goes on where one was interrupted.

    Raises:
        ConfigurationError: It was written by a newer version, the role lacks a right, the server lacks something, or
            the database is read only and not current.
    """
    before = state(database)
    _refuse_newer(before)
    if before.is_current:
        return before
    if database.read_only:
        raise ConfigurationError(
            "The database does not have the schema that this version of geoetl needs, and this process reads only.",
            hint="Run `geoetl db upgrade` where the database may be written, then start again.",
            field="GEOETL_DATABASE__URL",
        )
    if database.dialect == "sqlite":
        _upgrade_ours(database)
        return before
    with _one_at_a_time(database):
        before = state(database)
        if before.pgstac != before.pgstac_wanted:
            _check_server(database)
            _upgrade_pgstac(database)
        _upgrade_ours(database)
    return before


def _upgrade_ours(database: Database) -> None:
    from geoetl.store.migrations import upgrade

    with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Not where the role's own path leads: other roles look for the tables, too.
            connection.exec_driver_sql("set local search_path to public")
        upgrade(connection)


def _state(connection: Connection) -> SchemaState:
    if connection.dialect.name == "sqlite":
        has_table = sa.inspect(connection).has_table("alembic_version")
        return SchemaState(_revision(connection) if has_table else None, HEAD, None, None)
    try:
        wanted = importlib.metadata.version("pypgstac")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigurationError(
            "The packages for PostgreSQL are not installed.",
            hint="Run: pip install 'geoetl[postgres]'",
            field="GEOETL_DATABASE__URL",
        ) from None
    present = connection.exec_driver_sql(
        "select to_regclass('alembic_version') is not null, "
        "exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = 'pgstac' and c.relname = 'migrations')"
    ).one()
    pgstac = None
    if present[1]:
        statement = "select version from pgstac.migrations order by datetime desc, version desc limit 1"
        pgstac = connection.exec_driver_sql(statement).scalar()
    return SchemaState(_revision(connection) if present[0] else None, HEAD, pgstac, wanted)


def _revision(connection: Connection) -> str | None:
    return connection.exec_driver_sql("select version_num from alembic_version").scalar()


def _refuse_newer(found: SchemaState) -> None:
    if (found.revision or "") > found.revision_wanted:
        raise ConfigurationError(
            f"The database was written by a newer version of geoetl (revision {found.revision}; this version knows "
            f"{found.revision_wanted}).",
            hint="Upgrade geoetl, or point GEOETL_DATABASE__URL or GEOETL_HOME elsewhere.",
        )
    if found.pgstac and found.pgstac_wanted and _numbers(found.pgstac) > _numbers(found.pgstac_wanted):
        raise ConfigurationError(
            f"The database has pgSTAC {found.pgstac}; this version of geoetl knows {found.pgstac_wanted}.",
            hint="Upgrade geoetl with its packages for PostgreSQL, or point GEOETL_DATABASE__URL elsewhere.",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


@contextmanager
def _one_at_a_time(database: Database) -> Iterator[None]:
    """Hold the lock of whoever upgrades; it ends with the connection, so a process that dies lets go of it."""
    with database.engine.connect() as connection:
        connection.detach()
        connection.exec_driver_sql("set lock_timeout = 0")  # another one may take its time
        connection.exec_driver_sql(f"select pg_advisory_lock({_MIGRATION_LOCK})")
        connection.commit()
        yield


def _check_server(database: Database) -> None:
    with database.read() as connection:
        encoding, version, postgis = connection.exec_driver_sql(
            "select current_setting('server_encoding'), current_setting('server_version_num')::integer, "
            "exists (select from pg_available_extensions where name = 'postgis')"
        ).one()
    if encoding != "UTF8":
        raise ConfigurationError(
            f"The database has the encoding {encoding}; the catalogue needs UTF8.",
            hint="Make another database: createdb --encoding UTF8 --template template0 NAME",
            field="GEOETL_DATABASE__URL",
        )
    if version < 140000:
        raise ConfigurationError(
            f"The server is PostgreSQL {version // 10000}; the catalogue needs 14 or newer.",
            hint="Use a newer server.",
            field="GEOETL_DATABASE__URL",
        )
    if not postgis:
        raise ConfigurationError(
            "The server has no PostGIS, which pgSTAC needs.",
            hint="Install it beside the server; on Debian and Ubuntu: apt-get install postgresql-postgis",
            field="GEOETL_DATABASE__URL",
        )


def _upgrade_pgstac(database: Database) -> None:
    """Run pgSTAC's own migrations, which make its extensions and roles too; all of them or none."""
    for last in (False,) * (_TRIES - 1) + (True,):
        try:
            _migrate_pgstac(database)
            return
        except _RolesInUse:
            if last:
                raise Unavailable("Another database of this server is being upgraded.", hint="Try again.") from None


class _RolesInUse(Exception):
    pass


def _migrate_pgstac(database: Database) -> None:
    import psycopg
    from pypgstac.db import PgstacDB
    from pypgstac.migrate import Migrate

    plain = sa.make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
    # The migrations change the role and the search path of their connection, so it is one of their own.
    pgstac = PgstacDB(dsn=plain)
    try:
        Migrate(pgstac).run_migration()
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigurationError(
            "The database role may not bring pgSTAC to the version that geoetl needs.",
            hint="Run `geoetl db upgrade` once with a URL of the owner of the database; PostGIS and new roles need a "
            "superuser.",
            field="GEOETL_DATABASE__URL",
        ) from None
    except psycopg.errors.InternalError as error:
        if "concurrently" in str(error):
            raise _RolesInUse("Another upgrade changes the same roles.") from None
        raise
    except psycopg.OperationalError as error:
        raise Unavailable(
            "The database went away while pgSTAC was brought to this version.",
            hint="Nothing of that step was kept. Run `geoetl db upgrade` again.",
        ) from error
    finally:
        pgstac.disconnect()
        pgstac.close()
