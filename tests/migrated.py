"""SQLite databases with the whole schema: copies of one, as migrating each takes 20 times as long.

That migrations do what they should is for the tests of the database itself.
"""

import atexit
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from geoetl.store.database import Database


def sqlite_url(file: Path) -> str:
    """Put an empty database with the whole schema at `file`, where none is yet, and return its SQLAlchemy URL."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_template(), file)
    return f"sqlite:///{file}"


def sqlite_database(file: Path) -> Database:
    """Return the database at `file`, with the whole schema."""
    return Database(sqlite_url(file))


@cache
def _template() -> Path:
    folder = tempfile.mkdtemp(prefix="geoetl-schema-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder) / "geoetl.db"
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    database.dispose()
    # All of it in the one file, and nothing beside it.
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file
