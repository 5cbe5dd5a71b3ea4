"""Styles and their versions as rows.

Whoever changes the styles of a layer is alone with them until the end of the unit of work, in all processes: on SQLite
because there is one writer, on PostgreSQL by a lock on the layer's id.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.store.database import Database

# Any constant does, so that the lock of a layer is not that of something else.
_LAYER_LOCK = 0x7374796C

_meta = sa.MetaData()
styles = sa.Table(
    "feature_collection_styles",
    _meta,
    *(sa.Column(name, sa.String) for name in ("collection_id", "style_id", "title", "description", "author")),
    *(sa.Column(name, sa.JSON) for name in ("style_spec", "metadata")),
    sa.Column("is_default", sa.Boolean),
    *(sa.Column(name, sa.Integer) for name in ("version", "revision")),
    *(sa.Column(name, sa.Float) for name in ("created", "updated")),
)
versions = sa.Table(
    "feature_collection_style_versions",
    _meta,
    *(sa.Column(name, sa.String) for name in ("collection_id", "style_id", "author", "note")),
    sa.Column("number", sa.Integer),
    sa.Column("style_spec", sa.JSON),
    sa.Column("created", sa.Float),
)
_HEAD = [column for column in styles.c if column.name != "style_spec"]
_VERSION_HEAD = [column for column in versions.c if column.name != "style_spec"]


@dataclass(frozen=True)
class StyleRow:
    """A style without its rules.

    Attributes:
        collection_id: Id of the layer.
        style_id: Id within the layer.
        title, description: As the style says itself.
        metadata: What is known of it beyond that.
        is_default: Whether the layer is drawn with it unless another is asked for.
        version: Number of the version that is shown.
        revision: Raised by every change, of the metadata too.
        author: Who made this version; None where nobody is known.
        created, updated: Unix seconds.
    """

    collection_id: str
    style_id: str
    title: str | None
    description: str | None
    metadata: Mapping[str, Any]
    is_default: bool
    version: int
    revision: int
    author: str | None
    created: float
    updated: float


@dataclass(frozen=True)
class VersionRow:
    """A version of a style without its rules.

    Attributes:
        number: Counted from 1.
        author: Who made it; None where nobody is known.
        created: Unix seconds.
        note: Why, in the author's words; None where none were given.
    """

    number: int
    author: str | None
    created: float
    note: str | None


@dataclass(frozen=True)
class StyleRepository:
    """The tables of styles and of their versions."""

    database: Database

    def rows(self, layer_ids: Sequence[str]) -> list[StyleRow]:
        """Return the styles of layers, by layer, the oldest first."""
        with self.database.read() as connection:
            return _rows(connection, layer_ids)

    def row(self, layer_id: str, style_id: str) -> tuple[StyleRow, dict[str, Any]] | None:
        """Return a style and its document, or None."""
        with self.database.read() as connection:
            return _row(connection, layer_id, style_id)

    def versions(self, layer_id: str, style_id: str) -> list[VersionRow]:
        """Return the versions of a style, the newest first."""
        query = (
            sa.select(*_VERSION_HEAD)
            .where(versions.c.collection_id == layer_id, versions.c.style_id == style_id)
            .order_by(versions.c.number.desc())
        )
        with self.database.read() as connection:
            return [VersionRow(row.number, row.author, row.created, row.note) for row in connection.execute(query)]

    def version(self, layer_id: str, style_id: str, number: int) -> dict[str, Any] | None:
        """Return the document of a version, or None."""
        with self.database.read() as connection:
            return _version(connection, layer_id, style_id, number)

    def layer_ids(self) -> list[str]:
        """Return the ids of the layers that have a style."""
        query = sa.select(styles.c.collection_id).distinct().order_by(styles.c.collection_id)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    @contextmanager
    def change(self, layer_id: str, *, keep: bool = True) -> Iterator["LayerRows"]:
        """Open a unit of work over the styles of a layer; who else wants to change them waits.

        Args:
            layer_id: Id of the layer.
            keep: Whether what was done is kept at the end of the block; else it was only tried.

        Raises:
            Unavailable: The database cannot be reached, or others were at work for too long.
            ConfigurationError: It was opened for reading alone.
        """
        with self.database.begin() as connection:
            if self.database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LAYER_LOCK, sa.func.hashtext(layer_id))))
            if keep:
                yield LayerRows(connection, layer_id)
                return
            tried = connection.begin_nested()
            yield LayerRows(connection, layer_id)
            tried.rollback()


@dataclass(frozen=True)
class LayerRows:
    """The styles of a layer within a unit of work."""

    connection: Connection
    layer_id: str

    def rows(self) -> list[StyleRow]:
        """Return all of them, the oldest first."""
        return _rows(self.connection, [self.layer_id])

    def row(self, style_id: str) -> tuple[StyleRow, dict[str, Any]] | None:
        """Return one with its document, or None."""
        return _row(self.connection, self.layer_id, style_id)

    def version(self, style_id: str, number: int) -> dict[str, Any] | None:
        """Return the document of a version, or None."""
        return _version(self.connection, self.layer_id, style_id, number)

    def add(self, style_id: str, document: Mapping[str, Any], **values: Any) -> None:
        """Add a style; its version and revision are the first, and it is not the default."""
        now = time.time()
        first: dict[str, Any] = {"version": 1, "revision": 1, "is_default": False, "created": now, "updated": now}
        row = {"collection_id": self.layer_id, "style_id": style_id, "style_spec": document, **first, **values}
        self.connection.execute(sa.insert(styles).values(row))

    def change(self, style_id: str, **values: Any) -> None:
        """Change columns of a style, and raise its revision."""
        self.connection.execute(
            sa.update(styles)
            .where(styles.c.collection_id == self.layer_id, styles.c.style_id == style_id)
            .values(revision=styles.c.revision + 1, updated=time.time(), **values)
        )

    def add_version(
        self, style_id: str, number: int, document: Mapping[str, Any], author: str | None, note: str | None
    ) -> None:
        """Write down a version."""
        row = {"collection_id": self.layer_id, "style_id": style_id, "number": number, "style_spec": document}
        self.connection.execute(
            sa.insert(versions).values(**row, author=author, note=note, created=time.time()),
        )

    def remove(self, style_id: str) -> None:
        """Remove a style with its versions."""
        self.connection.execute(
            sa.delete(styles).where(styles.c.collection_id == self.layer_id, styles.c.style_id == style_id)
        )

    def make_default(self, style_id: str | None) -> None:
        """Make one style the default, or none."""
        here = styles.c.collection_id == self.layer_id
        # In two steps: an index knows nothing of what the rest of a statement will do.
        self.connection.execute(sa.update(styles).where(here, styles.c.is_default).values(is_default=False))
        if style_id is not None:
            self.connection.execute(
                sa.update(styles).where(here, styles.c.style_id == style_id).values(is_default=True)
            )


def _rows(connection: Connection, layer_ids: Sequence[str]) -> list[StyleRow]:
    query = (
        sa.select(*_HEAD)
        .where(styles.c.collection_id.in_(layer_ids))
        .order_by(styles.c.collection_id, styles.c.created, styles.c.style_id)
    )
    return [_head(row) for row in connection.execute(query)]


def _row(connection: Connection, layer_id: str, style_id: str) -> tuple[StyleRow, dict[str, Any]] | None:
    query = sa.select(styles).where(styles.c.collection_id == layer_id, styles.c.style_id == style_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else (_head(row), row.style_spec)


def _version(connection: Connection, layer_id: str, style_id: str, number: int) -> dict[str, Any] | None:
    query = sa.select(versions.c.style_spec).where(
        versions.c.collection_id == layer_id, versions.c.style_id == style_id, versions.c.number == number
    )
    found: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return found


def _head(row: "Row[Any]") -> StyleRow:
    return StyleRow(**{column.name: row._mapping[column] for column in _HEAD})
