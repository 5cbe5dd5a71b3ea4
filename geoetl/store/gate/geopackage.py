"""GeoPackages: a database of unknown origin, looked at for what would lead out of it before GDAL opens it."""

import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

from geoetl.core.errors import FormatNotAllowed, UnreadableFile

# The modules of virtual tables that only index the database itself.
_OWN_MODULES = frozenset({"rtree", "rtree_i32", "fts3", "fts4", "fts5"})
_VIRTUAL = re.compile(r"\s*create\s+virtual\s+table\b.*?\busing\s+[\"'`\[]?(\w+)", re.IGNORECASE | re.DOTALL)
# Functions of GDAL and SQLite that open files, hosts or libraries (GDAL's "SQL SQLite dialect").
_LEADING_OUT = re.compile(
    r"[\"'`\[]?\b((?:ogr|gdal|load|read|write|edit|hide)\w*|fts3_tokenizer)[\"'`\]]?\s*\(", re.IGNORECASE
)
_MOST_ENTRIES = 100_000


def check_geopackage(path: Path, name: str) -> None:
    """Refuse a database with virtual tables or views that draw on anything but itself.

    Raises:
        UnreadableFile: It is damaged.
        FormatNotAllowed: It has such a table or view.
    """
    try:
        # Immutable: no journal beside it is followed, and nothing is written.
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            entries = database.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT ?", (_MOST_ENTRIES,)
            ).fetchall()
        finally:
            database.close()
    except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError):
        raise UnreadableFile(
            f"'{name}' begins like GeoPackage but holds no readable features ({path.stat().st_size} bytes).",
            hint="Open it in a GIS or with ogrinfo; it is probably truncated or of another structure.",
            field="source",
        ) from None
    for kind, entry, sql in entries:
        text = str(sql)
        virtual = _VIRTUAL.match(text)
        if virtual and virtual[1].lower() not in _OWN_MODULES:
            raise _refused(name, f"the virtual table '{str(entry)[:40]}' of the kind {virtual[1][:40]}")
        if kind in ("view", "index") and (called := _LEADING_OUT.search(text)):
            raise _refused(name, f"'{str(entry)[:40]}', which calls {called[1][:40]}")


def _refused(name: str, what: str) -> FormatNotAllowed:
    return FormatNotAllowed(
        f"'{name}' holds {what}: it may draw on other files.",
        hint="Write its layers to a new GeoPackage, for example with ogr2ogr.",
        field="source",
    )
