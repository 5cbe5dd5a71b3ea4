"""The catalogue on PostgreSQL: pgSTAC's tables and functions, our searches.

What is stored is pgSTAC's: partitions, base items and dehydrated content, so that every client of pgSTAC (among them
titiler-pgstac and stac-fastapi-pgstac) reads the items.  Two things are ours:

* ``geometry`` is the footprint, cut at the antimeridian and valid, so that searches by place are exact;
* ``private`` holds the document as it was given, because pgSTAC drops nulls, rounds geometries and lets a changed
  ``item_assets`` shine through.  pgSTAC writes null there whenever it writes an item, so the two cannot disagree.

Searches are SQL of ours over ``pgstac.items``, not ``pgstac.search``: the same filter, order and page mean the same as
on SQLite.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.exc import ProgrammingError

from geoetl.core.errors import NotFound, Unavailable, VerificationFailed
from geoetl.core.identifiers import check_id
from geoetl.store.catalog import cql2
from geoetl.store.catalog.footprint import Region
from geoetl.store.catalog.hrefs import Addresses, to_openable
from geoetl.store.catalog.managed import refuse_managed
from geoetl.store.catalog.model import Collection, Item, Showable
from geoetl.store.catalog.paging import Position, read_token, write_token
from geoetl.store.catalog.postgres_predicates import PostgresDialect, intersects, interval_text, moment_sql
from geoetl.store.catalog.predicates import Operand, compile_filter
from geoetl.store.catalog.protocol import ItemPage, Search, SortField
from geoetl.store.catalog.question import (
    NEWEST_FIRST,
    Key,
    after,
    interval_us,
    no_collection,
    no_item,
    order,
    plain_text,
    regions_of,
    sort_operand,
)
from geoetl.store.catalog.validation import (
    CheckedItem,
    check_collection,
    check_items,
    check_same,
    collection_exists,
    item_exists,
)
from geoetl.store.database import Database, sqlstate, was_in_the_way

# Items of one statement when writing: few round trips, little memory.
BATCH = 1_000
# A unit of work that another one got in the way of is done again so often.
TRIES = 5
# Neighbours by name that "did you mean" looks at.
NAMES_LOOKED_AT = 100
# The planner knows a table by its statistics; they are taken anew once so much of it is new.
ANALYZE_SHARE = 0.1

# Of advisory locks: one that those who make or drop tables have alone and all other writers share, and one for each
# collection, by the hash of its id.
_TABLES_LOCK = 0x67656F74
_COLLECTION_LOCK = 0x67656F
# pgSTAC goes on when it could not make a partition, and then finds that there is none.
_NO_PARTITION = "42P01"
_ITEM_DOCUMENT = "coalesce({i}.private ->> 'document', geoetl.hydrated({i}.collection, {i}.id))"
# Others may change a collection and leave ``private`` as it is; then what they wrote counts.
_COLLECTION_DOCUMENT = (
    "case when private ->> 'content' = md5(content::text) then private ->> 'document' else content::text end"
)


@dataclass(frozen=True)
class PgstacCatalog(Showable):
    """The catalogue in pgSTAC.

    Args:
        database: A PostgreSQL database at its newest revision.
        zones: What makes hrefs portable and openable.
        is_keeper: Whether it may change what managed datasets keep.
    """

    database: Database
    zones: Addresses
    is_keeper: bool = False

    def upsert_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a collection, or replace its document and keep its items."""
        document, content = check_collection(collection, self.zones)

        def work(connection: Connection) -> None:
            self._lock(connection, [document["id"]])
            _write_collection(connection, document, content)

        is_known = self._read(lambda connection: _has_collection(connection, document["id"]))
        self._change(work, alone=not is_known)

    def add_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a collection that is new."""
        document, content = check_collection(collection, self.zones)

        def work(connection: Connection) -> None:
            self._lock(connection, [document["id"]])
            if _has_collection(connection, document["id"]):
                raise collection_exists(document["id"])
            _write_collection(connection, document, content)

        self._change(work, alone=True)

    def change_collection(self, collection_id: str, change: Callable[[Collection], Mapping[str, Any]]) -> Collection:
        """Replace the document of a collection by what `change` makes of it; its items stay."""

        def work(connection: Connection) -> Collection:
            self._lock(connection, [_asked(collection_id)])
            present = self._collection(connection, collection_id)
            document, content = check_collection(change(present), self.zones)
            check_same(present, document)
            _write_collection(connection, document, content)
            return Collection(to_openable(document, self.zones))

        return self._change(work)

    def collections(self) -> list[Collection]:
        """Return every collection, ordered by id."""
        statement = f'select {_COLLECTION_DOCUMENT} from pgstac.collections order by id collate "C"'
        rows = self._read(lambda connection: _run(connection, statement).scalars().all())
        return [Collection(to_openable(json.loads(content), self.zones)) for content in rows]

    def collection(self, collection_id: str) -> Collection:
        """Return one collection."""
        return self._read(lambda connection: self._collection(connection, collection_id))

    def delete_collection(self, collection_id: str) -> None:
        """Remove a collection with all its items."""

        def work(connection: Connection) -> None:
            self._lock(connection, [_asked(collection_id)])
            _require_collection(connection, collection_id)
            _run(connection, "select pgstac.delete_collection(%(id)s)", id=collection_id)

        self._change(work, alone=True)

    def upsert_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items, or replace those whose collection and id exist already; all of them or none."""
        self._change(lambda connection: self._put(connection, items, only_new=False), again=_can_repeat(items))

    def add_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items that are new; all of them or none."""
        self._change(lambda connection: self._put(connection, items, only_new=True), again=_can_repeat(items))

    def change_item(self, collection_id: str, item_id: str, change: Callable[[Item], Mapping[str, Any]]) -> Item:
        """Replace an item by what `change` makes of it, in one unit of work."""

        def work(connection: Connection) -> Item:
            self._lock(connection, [_asked(collection_id)])
            present = self._item(connection, collection_id, item_id)
            changed = change(present)
            check_same(present, changed)
            self._put(connection, [changed], only_new=False)
            return self._item(connection, collection_id, item_id)

        return self._change(work)

    def item(self, collection_id: str, item_id: str) -> Item:
        """Return one item."""
        return self._read(lambda connection: self._item(connection, collection_id, item_id))

    def delete_item(self, collection_id: str, item_id: str) -> None:
        """Remove one item."""

        def work(connection: Connection) -> None:
            self._lock(connection, [_asked(collection_id)])
            self._item(connection, collection_id, item_id)
            statement = "delete from pgstac.items where collection = %(collection)s and id = %(id)s"
            _run(connection, statement, collection=collection_id, id=item_id)

        self._change(work)

    def search(self, search: Search) -> ItemPage:
        """Return one page of the items that match."""

        def work(connection: Connection) -> ItemPage:
            question = _Question(search)
            secret = bytes(_run(connection, "select secret from geoetl.catalog_state").scalar_one())
            position = read_token(search.token, search, secret, len(question.keys)) if search.token else None
            rows, matched = _find(connection, question, position)
            page, more = rows[: search.limit], len(rows) > search.limit
            token = write_token(Position(page[-1][1:], matched), search, secret) if more else None
            items = tuple(self._openable(row[0]) for row in page)
            return ItemPage(items, token, matched if search.count else None)

        return self._read(work)

    def version(self) -> int:
        """Return a number that every change raises: the key of every cache over the catalogue."""
        statement = "select version from geoetl.catalog_state"
        return self._read(lambda connection: int(_run(connection, statement).scalar_one()))

    # -- within a unit of work ---------------------------------------------------------------------------------------

    def _read[T](self, work: Callable[[Connection], T]) -> T:
        """Read in one snapshot; once more where someone who drops a table only was in the way."""

        def once() -> T:
            with self.database.read() as connection:
                return work(connection)

        return _repeated(once, 1 if self.database.is_within else TRIES)

    def _change[T](self, work: Callable[[Connection], T], *, alone: bool = False, again: bool = True) -> T:
        """Do a unit of work and raise the version; once more where another one only was in the way.

        Args:
            work: What to do.
            alone: Whether it makes or drops tables, and no other writer may be at work meanwhile.
            again: Whether it can be done again.
        """

        def once() -> T:
            with self.database.begin() as connection:
                # pgSTAC's functions call each other without naming their schema.
                path = _run(connection, "select current_setting('search_path')").scalar_one()
                _run(connection, "select set_config('search_path', 'pgstac, ' || %(path)s, true)", path=path)
                _run(connection, f"select pg_advisory_xact_lock{'' if alone else '_shared'}({_TABLES_LOCK})")
                result = work(connection)
                _run(connection, "update geoetl.catalog_state set version = version + 1")
                # Where pgSTAC counts what its own searches match, it would believe the old count for a day.
                _run(
                    connection,
                    "update pgstac.search_wheres set statslastupdated = null "
                    "where statslastupdated is not null and pgstac.context() <> 'off'",
                )
                _run(connection, "select set_config('search_path', %(path)s, true)", path=path)
            return result

        return _repeated(once, TRIES if again and not self.database.is_within else 1)

    def _lock(self, connection: Connection, collection_ids: Sequence[str]) -> None:
        """Be alone with collections that are about to change, after a look at whether they may be."""
        _lock(connection, collection_ids)
        if not self.is_keeper:
            refuse_managed(connection, collection_ids)

    def _put(self, connection: Connection, items: Iterable[Mapping[str, Any]], *, only_new: bool) -> None:
        known: dict[str, int] = {}
        for batch in batched(items, BATCH):
            # Of one id given twice the later one counts, as if they had come in two calls.
            checked: dict[str, dict[str, CheckedItem]] = {}
            for item in check_items(batch, self.zones):
                of_collection = checked.setdefault(item.collection, {})
                if only_new and item.id in of_collection:
                    raise item_exists(item.collection, item.id)
                of_collection[item.id] = item
            new = sorted(checked.keys() - known.keys())
            for collection_id in new:
                check_id(collection_id, "collection id")
            self._lock(connection, new)
            for collection_id in new:
                _require_collection(connection, collection_id)
            for collection_id, of_collection in sorted(checked.items()):
                _put_batch(connection, collection_id, list(of_collection.values()), only_new=only_new)
                known[collection_id] = known.get(collection_id, 0) + len(of_collection)
        for collection_id, count in known.items():
            _take_statistics(connection, collection_id, count)

    def _collection(self, connection: Connection, collection_id: str) -> Collection:
        statement = f"select {_COLLECTION_DOCUMENT} from pgstac.collections where id = %(id)s"
        content = _run(connection, statement, id=_asked(collection_id)).scalar()
        if content is None:
            raise _no_collection(connection, collection_id)
        return Collection(to_openable(json.loads(content), self.zones))

    def _item(self, connection: Connection, collection_id: str, item_id: str) -> Item:
        document = _ITEM_DOCUMENT.format(i="i")
        statement = f"select {document} from pgstac.items i where collection = %(collection)s and id = %(id)s"
        content = _run(connection, statement, collection=_asked(collection_id), id=_asked(item_id)).scalar()
        if content is None:
            _require_collection(connection, collection_id)
            raise _no_item(connection, collection_id, item_id)
        return self._openable(content)

    def _openable(self, content: str) -> Item:
        return Item(to_openable(json.loads(content), self.zones))


def hold(connection: Connection) -> None:
    """Wait for all who write into the catalogue, and let others wait until the transaction ends."""
    _run(connection, f"select pg_advisory_xact_lock({_TABLES_LOCK})")


class _Question:
    """A search as conditions over ``i`` (pgstac.items) and ``d`` (the properties that it names)."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.dialect = PostgresDialect()
        self.conditions: list[str] = []
        bind_as, moment = self.dialect.bind_as, self.dialect.moment
        if search.collections:
            self.conditions.append(f"i.collection = any({bind_as('text[]', list(map(_asked, search.collections)))})")
        if search.ids:
            self.conditions.append(f"i.id = any({bind_as('text[]', list(map(_asked, search.ids)))})")
        interval = interval_us(search)
        if interval:
            start, end = map(moment, interval)
            self.conditions.append(f"i.datetime <= {end} and i.end_datetime >= {start}")
        self.conditions += [self._touches(region) for region in regions_of(search)]
        if search.filter is not None:
            self.conditions.append(compile_filter(cql2.parse(search.filter), self.dialect).sql)
        self.keys: list[Key] = []
        # What a token holds of each key, and how that is bound again.
        self.columns: list[str] = []
        self._bound_as: list[str] = []
        sortby = search.sortby or NEWEST_FIRST
        for key in sortby:
            self._add_key(key, sort_operand(key, self.dialect))
        for name in ("id", "collection"):
            self._add_text(f'i.{name} collate "C"', sortby[-1].direction == "desc", nullable=False)

    def where(self, *more: str) -> str:
        """Return the whole condition."""
        return " and ".join([*self.conditions, *more]) or "true"

    def after(self, position: Position) -> str:
        """Return the condition that an item comes after a position."""
        values: list[str | None] = []
        for value, kind in zip(position.values, self._bound_as, strict=True):
            if value is None:
                values.append(None)
            elif kind == "time":
                values.append(self.dialect.moment(int(value)))
            else:
                values.append(self.dialect.bind_as(kind, value))
        return after(self.keys, values)

    def order(self) -> str:
        """Return the order; what lacks a key comes last, whichever the direction."""
        return order(self.keys)

    def _touches(self, region: Region) -> str:
        boxes = " or ".join(self.dialect.touching(box) for box in region.boxes)
        return f"(({boxes}) and {intersects(self.dialect.shape, self.dialect.bind(region.wkb))})"

    def _add_key(self, key: SortField, operand: Operand) -> None:
        descending = key.direction == "desc"
        if operand.kind == "instant":
            self.keys.append(Key(operand.sql, descending, nullable=False))
            self.columns.append(f"(extract(epoch from {operand.sql}) * 1000000)::bigint")
            self._bound_as.append("time")
        elif operand.kind == "text":
            self._add_text(operand.sql, descending, nullable=False)
        else:
            # Numbers and truth values come before texts, as on SQLite: two keys, of which one is null.
            name = cql2.check_property_name(key.field)
            number = (
                f"(case {operand.json_type} when 'number' then {operand.sql}::numeric "
                f"when 'boolean' then {operand.sql}::boolean::integer::numeric end)"
            )
            text = (
                f"(case when {operand.json_type} = 'string' then {operand.sql} #>> '{{}}' "
                f"when {operand.json_type} in ('array', 'object') then {self.dialect.as_written(name, operand)} end)"
            )
            if descending:
                self._add_text(f'{text} collate "C"', descending, nullable=True)
            self.keys.append(Key(number, descending, nullable=True))
            self.columns.append(f"{number}::text")
            self._bound_as.append("numeric")
            if not descending:
                self._add_text(f'{text} collate "C"', descending, nullable=True)

    def _add_text(self, sql: str, descending: bool, *, nullable: bool) -> None:
        self.keys.append(Key(f"({sql})", descending, nullable))
        self.columns.append(sql)
        self._bound_as.append("text")


def _find(
    connection: Connection, question: _Question, position: Position | None
) -> tuple[list[tuple[Any, ...]], int | None]:
    """Return the rows of a page and one more (document, then the value of each key), and how many match in all."""
    search = question.search
    where = question.where(question.after(position)) if position else question.where()
    columns = ", ".join(f"{column} as k{n}" for n, column in enumerate(question.columns))
    # The documents are unpacked of the page alone, after it was sorted and cut.
    statement = (
        f"select {_ITEM_DOCUMENT.format(i='page')}, {', '.join(f'k{n}' for n in range(len(question.columns)))} from ("
        f"select i.collection, i.id, i.private, {columns} from {question.dialect.source()} where {where} "
        f"order by {question.order()} limit {search.limit + 1}) page"
    )
    rows = [tuple(row) for row in _run(connection, statement, **question.dialect.values)]
    if not search.count or position is not None:
        return rows, position.matched if position else None
    if len(rows) <= search.limit:
        return rows, len(rows)
    counted = f"select count(*) from {question.dialect.source()} where {question.where()}"
    return rows, int(_run(connection, counted, **question.dialect.values).scalar_one())


# -- writing -----------------------------------------------------------------------------------------------------------


def _write_collection(connection: Connection, document: Mapping[str, Any], content: str) -> None:
    given = content
    sound = _with_sound_extent(document)
    if sound is not document:
        given = json.dumps(sound, ensure_ascii=False)
    _run(connection, "select pgstac.upsert_collection(%(content)s::jsonb)", content=given)
    _run(
        connection,
        "update pgstac.collections set private = coalesce(private, '{}') || jsonb_build_object("
        "'document', %(document)s::text, 'content', md5(content::text)) where id = %(id)s",
        id=document["id"],
        document=content,
    )
    # The partition is made here, since that locks all items for a moment; writing items then needs none.
    _check_partitions(connection, document["id"], [])


def _with_sound_extent(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a collection whose extent pgSTAC can read: where ours allows what is none of its, the widest one."""
    from geoetl.store.catalog.functions import instant

    extent = document["extent"]
    boxes, temporal = extent["spatial"].get("bbox"), extent.get("temporal")
    intervals = temporal.get("interval") if isinstance(temporal, dict) else None
    ends = intervals[0] if isinstance(intervals, list) and intervals else None
    has_ends = isinstance(ends, list) and len(ends) == 2 and all(e is None or _is_pgstac_time(e, instant) for e in ends)
    has_box = isinstance(boxes, list) and bool(boxes) and isinstance(boxes[0], list)
    if has_ends and has_box:
        return document
    spatial = extent["spatial"] if has_box else {**extent["spatial"], "bbox": [[-180.0, -90.0, 180.0, 90.0]]}
    interval = extent["temporal"] if has_ends else {"interval": [[None, None]]}
    return {**document, "extent": {**extent, "spatial": spatial, "temporal": interval}}


def _is_pgstac_time(text: Any, instant: Callable[[Any], int | None]) -> bool:
    # PostgreSQL takes offsets to 15:59 only; Z is what nearly every time has.
    return isinstance(text, str) and text[-1:] in ("Z", "z") and instant(text) is not None


def _put_batch(connection: Connection, collection_id: str, items: list[CheckedItem], *, only_new: bool) -> None:
    ids = [item.id for item in items]
    if only_new:
        statement = "select id from pgstac.items where collection = %(collection)s and id = any(%(ids)s) limit 1"
        present = _run(connection, statement, collection=collection_id, ids=ids).scalar()
        if present is not None:
            raise item_exists(collection_id, present)
    _check_partitions(connection, collection_id, items)
    if not only_new:
        statement = "delete from pgstac.items where collection = %(collection)s and id = any(%(ids)s)"
        _run(connection, statement, collection=collection_id, ids=ids)
    _write(connection, collection_id, items)
    _read_back(connection, collection_id, items)


def _check_partitions(connection: Connection, collection_id: str, items: list[CheckedItem]) -> None:
    """See to it that the collection has partitions that take these items, and that pgSTAC knows them.

    A collection in one partition gets one for all times: a tighter one would be checked again, and locked meanwhile,
    with every item that lies beyond it.
    """
    truncated, has_some = _run(
        connection,
        "select partition_trunc, exists (select from pgstac.partition_stats where collection = %(id)s) "
        "from pgstac.collections where id = %(id)s",
        id=collection_id,
    ).one()
    if truncated is not None or not has_some:
        # Of two that wait for each other here PostgreSQL ends one, which is done again.
        _run(connection, f"select pg_advisory_xact_lock({_TABLES_LOCK})")
    if truncated is None:
        statement = (
            "select pgstac.check_partition(%(id)s, tstzrange('-infinity', 'infinity', '[]'), "
            "tstzrange('-infinity', 'infinity', '[]'))"
        )
        _run(connection, statement, id=collection_id)
        return
    # As pgSTAC's own trigger on its staging tables does.
    statement = f"""
        select pgstac.check_partition(%(id)s, starts, ends) from (
            select
                tstzrange(min(t.start), max(t.start), '[]') as starts,
                tstzrange(min(t.until), max(t.until), '[]') as ends
            from (
                select {moment_sql("s::interval")} as start, {moment_sql("e::interval")} as until
                from unnest(%(starts)s::text[], %(ends)s::text[]) as given (s, e)
            ) t
            group by date_trunc(%(truncated)s, t.start, 'UTC')
            order by 1
        ) parts
    """
    _run(connection, statement, id=collection_id, truncated=truncated, **_times(items))


def _write(connection: Connection, collection_id: str, items: list[CheckedItem]) -> None:
    """Write items that are not there, dehydrated as pgSTAC does it."""
    base_id, has_assets = _run(
        connection,
        "select base_item_id, coalesce(base_item -> 'assets', 'null') not in ('null', '{}') "
        "from pgstac.current_base_item(%(id)s)",
        id=collection_id,
    ).one()
    # Without assets to share there is nothing to take out, and pgSTAC's function takes most of the time.
    own = "given.document::jsonb - '{id,geometry,collection,type,pgstac:base_item}'::text[]"
    tagged = f"{own} || '{json.dumps({'pgstac:base_item': base_id})}'" if base_id is not None else own
    content = "pgstac.content_slim(given.document::jsonb)" if has_assets else tagged
    statement = f"""
        insert into pgstac.items (id, geometry, collection, datetime, end_datetime, content, private)
        select
            given.id,
            st_geomfromwkb(given.shape, 4326),
            %(collection)s,
            {moment_sql("given.s::interval")},
            {moment_sql("given.e::interval")},
            {content},
            jsonb_build_object('document', given.document)
        from unnest(%(ids)s::text[], %(shapes)s::bytea[], %(starts)s::text[], %(ends)s::text[], %(documents)s::text[])
            as given (id, shape, s, e, document)
    """
    _run(
        connection,
        statement,
        collection=collection_id,
        ids=[item.id for item in items],
        shapes=[item.footprint.wkb for item in items],
        documents=[item.content for item in items],
        **_times(items),
    )


def _read_back(connection: Connection, collection_id: str, items: list[CheckedItem]) -> None:
    """Read each item the way a search does: from its place and time to its document, and in pgSTAC's own index."""
    statement = f"""
        select given.id
        from unnest(%(ids)s::text[], %(shapes)s::bytea[], %(starts)s::text[], %(ends)s::text[], %(digests)s::text[])
            as given (id, shape, s, e, digest)
        where not exists (
            select from pgstac.items i
            where i.collection = %(collection)s
                and i.id = given.id
                and i.geometry && st_geomfromwkb(given.shape, 4326)
                and st_asbinary(i.geometry, 'NDR') = given.shape
                and i.datetime = {moment_sql("given.s::interval")}
                and i.end_datetime = {moment_sql("given.e::interval")}
                and md5({_ITEM_DOCUMENT.format(i="i")}) = given.digest
                and exists (
                    select from pgstac.partition_stats p
                    where p.collection = i.collection and p.partition_dtrange @> i.datetime
                )
        )
        limit 1
    """
    lost = _run(
        connection,
        statement,
        collection=collection_id,
        ids=[item.id for item in items],
        shapes=[item.footprint.wkb for item in items],
        digests=[hashlib.md5(item.content.encode(), usedforsecurity=False).hexdigest() for item in items],
        **_times(items),
    ).scalar()
    if lost is not None:
        raise VerificationFailed(
            f"Item '{lost}' of '{collection_id}' was written but a search does not find it as given.",
            hint="Nothing was kept. Check the indexes of the database with `reindex`, then try again.",
        )


def _take_statistics(connection: Connection, collection_id: str, written: int) -> None:
    """Let the planner know of many new items now; autovacuum would only see them in a minute or so."""
    if written < BATCH:
        return
    statement = (
        "select format('analyze pgstac.%%I', c.relname) from pgstac.partition_stats p "
        "join pg_catalog.pg_class c on c.oid = pgstac.partition_oid(p.partition) "
        "where p.collection = %(id)s and %(written)s >= c.reltuples * %(share)s"
    )
    for command in _run(connection, statement, id=collection_id, written=written, share=ANALYZE_SHARE).scalars().all():
        _run(connection, command.replace("%", "%%"))


def _times(items: Sequence[CheckedItem]) -> dict[str, list[str]]:
    return {
        "starts": [interval_text(item.start_us) for item in items],
        "ends": [interval_text(item.end_us) for item in items],
    }


# -- asking ------------------------------------------------------------------------------------------------------------


def _run(connection: Connection, statement: str, **values: Any) -> CursorResult[*tuple[Any, ...]]:
    return connection.exec_driver_sql(statement, values or None)


def _repeated[T](work: Callable[[], T], tries: int) -> T:
    for tries_left in reversed(range(tries)):
        try:
            return work()
        except (Unavailable, ProgrammingError) as error:
            if tries_left and (was_in_the_way(error) or sqlstate(error) == _NO_PARTITION):
                continue
            raise
    raise AssertionError("unreachable")


def _lock(connection: Connection, collection_ids: Sequence[str]) -> None:
    """Wait for whoever writes to these collections; the locks end with the transaction."""
    for collection_id in collection_ids:
        statement = "select pg_advisory_xact_lock(%(class)s, hashtext(%(id)s))"
        _run(connection, statement, **{"class": _COLLECTION_LOCK, "id": collection_id})


def _can_repeat(items: Iterable[Any]) -> bool:
    # A stream that was read is gone.
    return isinstance(items, Sequence)


def _asked(text: str) -> str:
    """Return a text that PostgreSQL takes; one with NUL or half of a surrogate pair becomes one that is not there."""
    return plain_text(text).replace("\0", "?") + "?" * ("\0" in text)


def _has_collection(connection: Connection, collection_id: str) -> bool:
    statement = "select exists (select from pgstac.collections where id = %(id)s)"
    return bool(_run(connection, statement, id=_asked(collection_id)).scalar_one())


def _require_collection(connection: Connection, collection_id: str) -> None:
    if not _has_collection(connection, collection_id):
        raise _no_collection(connection, collection_id)


def _no_collection(connection: Connection, collection_id: str) -> NotFound:
    return no_collection(collection_id, _run(connection, "select id from pgstac.collections").scalars().all())


def _no_item(connection: Connection, collection_id: str, item_id: str) -> NotFound:
    names: list[str] = []
    sides = ['>= %(id)s order by id collate "C"', '< %(id)s order by id collate "C" desc']
    for side in sides:
        statement = (
            f'select id from pgstac.items where collection = %(c)s and id collate "C" {side} limit {NAMES_LOOKED_AT}'
        )
        names += _run(connection, statement, c=_asked(collection_id), id=_asked(item_id)).scalars().all()
    return no_item(collection_id, item_id, names)
