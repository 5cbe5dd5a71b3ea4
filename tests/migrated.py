"""SQLite databases with the whole schema: copies of one, as migrating each takes 20 times as long.

`copying` lets whatever a test opens take that way, a new home for instance.

That migrations do what they should is for the tests of the database itself.
"""

import atexit
import fcntl
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from geoetl.store import schema
from geoetl.store.database import Database

_migrate = schema._upgrade_ours


def copying() -> None:
    """Let a new SQLite database of this process begin as a copy, from now on."""
    schema._upgrade_ours = _copy_or_migrate


def migrating() -> None:
    """Let every database be migrated, as outside the tests."""
    schema._upgrade_ours = _migrate


def sqlite_url(file: Path) -> str:
    """Put an empty database with the whole schema at `file`, where none is yet, and return its SQLAlchemy URL."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_template(), file)
    return f"sqlite:///{file}"


def sqlite_database(file: Path) -> Database:
    """Return the database at `file`, with the whole schema."""
    return Database(sqlite_url(file))


def _copy_or_migrate(database: Database) -> None:
    file = sa.make_url(database.url).database
    if database.dialect == "sqlite" and file and file != ":memory:":
        template = _template()
        # One at a time, in forked processes too: what another one writes into its copy at once must not be lost.
        with (template.parent / "lock").open("w") as lock, closing(sqlite3.connect(file, timeout=60)) as copy:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if copy.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                with closing(sqlite3.connect(template)) as whole:
                    whole.backup(copy)
                return
    _migrate(database)


@cache
def _template() -> Path:
    folder = tempfile.mkdtemp(prefix="geoetl-schema-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder) / "geoetl.db"
    database = Database(f"sqlite:///{file}")
    _migrate(database)
    database.dispose()
    # All of it in the one file, and nothing beside it.
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file
