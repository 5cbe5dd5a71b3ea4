"""The catalogue on SQLite: R*Tree for place and time, JSON text for the documents.

A search is one of three plans, and the plan is forced, since SQLite's planner knows nothing of the shape of the data
and takes the time index even for a box of one degree (50 to 80 times slower at a million items):

* by id, where ids are given;
* the R*Tree first, where few items lie in the box and interval asked for: they are counted, up to a limit, in the
  R*Tree itself, which also holds for data that clusters in one country or one year;
* the time index first otherwise: in the order of the page, so that it ends as soon as the page is full.

The R*Tree keeps 32-bit numbers rounded outwards; exact bounds, shapes and times decide.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched
from typing import Any

from sqlalchemy.engine import Connection

from geoetl.core.errors import NotFound, VerificationFailed
from geoetl.core.identifiers import check_id
from geoetl.store.catalog import cql2
from geoetl.store.catalog.footprint import Box, Region
from geoetl.store.catalog.functions import register
from geoetl.store.catalog.hrefs import Addresses, read_openable, to_openable
from geoetl.store.catalog.managed import refuse_managed
from geoetl.store.catalog.model import Collection, Item, Showable
from geoetl.store.catalog.paging import Position, read_token, write_token
from geoetl.store.catalog.predicates import compile_filter
from geoetl.store.catalog.protocol import ItemPage, Search
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
from geoetl.store.catalog.sqlite_predicates import SqliteDialect
from geoetl.store.catalog.validation import (
    CheckedItem,
    check_collection,
    check_items,
    check_same,
    collection_exists,
    item_exists,
)
from geoetl.store.database import Database

# Items checked at once, and items written at once: the more, the less a row costs, since the rows go into the indexes
# in their order; bounded by their size too.
CHECKED_AT_ONCE = 1_000
BATCH = 10_000
BATCH_CHARACTERS = 64 * 1024**2
# Page cache while many items are written, in KiB; with SQLite's own 2 MB most pages of the indexes are written several
# times over.
BULK_CACHE_KIB = 256 * 1024
# Fewer candidates than this are always looked at one by one.
LEAST_CANDIDATES = 1_000
# Neighbours by name that "did you mean" looks at.
NAMES_LOOKED_AT = 100

_WORLD: Box = (-180.0, -90.0, 180.0, 90.0)
_YEAR_US = 365.2425 * 24 * 3600 * 1e6


@dataclass(frozen=True)
class SqliteCatalog(Showable):
    """The embedded catalogue.

    Args:
        database: A SQLite database at its newest revision.
        zones: What makes hrefs portable and openable.
        is_keeper: Whether it may change what managed datasets keep.
    """

    database: Database
    zones: Addresses
    is_keeper: bool = False

    def upsert_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a collection, or replace its document and keep its items."""
        document, content = check_collection(collection, self.zones)
        with self._change(document["id"]) as connection:
            _write_collection(connection, document["id"], content)

    def add_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a collection that is new."""
        document, content = check_collection(collection, self.zones)
        with self._change(document["id"]) as connection:
            statement = "select 1 from stac_collections where id = ?"
            if connection.exec_driver_sql(statement, (document["id"],)).scalar():
                raise collection_exists(document["id"])
            _write_collection(connection, document["id"], content)

    def change_collection(self, collection_id: str, change: Callable[[Collection], Mapping[str, Any]]) -> Collection:
        """Replace the document of a collection by what `change` makes of it; its items stay."""
        with self._change(collection_id) as connection:
            present = self._collection(connection, collection_id)
            document, content = check_collection(change(present), self.zones)
            check_same(present, document)
            _write_collection(connection, document["id"], content)
        return Collection(to_openable(document, self.zones))

    def collections(self) -> list[Collection]:
        """Return every collection, ordered by id."""
        with self.database.read() as connection:
            rows = connection.exec_driver_sql("select content from stac_collections order by id").scalars().all()
        return [Collection(to_openable(json.loads(content), self.zones)) for content in rows]

    def collection(self, collection_id: str) -> Collection:
        """Return one collection."""
        with self.database.read() as connection:
            return self._collection(connection, collection_id)

    def _collection(self, connection: Connection, collection_id: str) -> Collection:
        collection_id = plain_text(collection_id)
        statement = "select content from stac_collections where id = ?"
        content = connection.exec_driver_sql(statement, (collection_id,)).scalar()
        if content is None:
            raise _no_collection(connection, collection_id)
        return Collection(to_openable(json.loads(content), self.zones))

    def delete_collection(self, collection_id: str) -> None:
        """Remove a collection with all its items."""
        collection_id = plain_text(collection_id)
        with self._change(collection_id) as connection:
            _require_collection(connection, collection_id)
            mine = "select seq from stac_items where collection = ?"
            for statement in (
                f"delete from stac_items_rtree where id in (select 2 * seq from ({mine}))",
                f"delete from stac_items_rtree where id in (select 2 * seq + 1 from ({mine}))",
                f"delete from stac_item_documents where seq in ({mine})",
                "delete from stac_items where collection = ?",
                "delete from stac_collections where id = ?",
            ):
                connection.exec_driver_sql(statement, (collection_id,))

    def upsert_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items, or replace those whose collection and id exist already; all of them or none."""
        with self._change() as connection:
            self._put(connection, items, only_new=False)

    def add_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items that are new; all of them or none."""
        with self._change() as connection:
            self._put(connection, items, only_new=True)

    def change_item(self, collection_id: str, item_id: str, change: Callable[[Item], Mapping[str, Any]]) -> Item:
        """Replace an item by what `change` makes of it, in one unit of work."""
        with self._change(collection_id) as connection:
            present = self._read_item(connection, collection_id, item_id)
            changed = change(present)
            check_same(present, changed)
            self._put(connection, [changed], only_new=False)
            return self._read_item(connection, collection_id, item_id)

    def _put(self, connection: Connection, items: Iterable[Mapping[str, Any]], *, only_new: bool) -> None:
        known: set[str] = set()
        # Of one id given twice the later one counts, as if they had come in two calls.
        waiting: dict[tuple[str, str], CheckedItem] = {}
        characters = 0
        with _cache(connection) as enlarge:
            for batch in batched(items, CHECKED_AT_ONCE):
                for item in check_items(batch, self.zones):
                    key = item.collection, item.id
                    if only_new and key in waiting:
                        raise item_exists(*key)
                    waiting[key] = item
                    characters += len(item.content)
                if len(waiting) >= BATCH or characters >= BATCH_CHARACTERS:
                    enlarge()
                    self._check_kept(connection, {collection for collection, _ in waiting} - known)
                    _put_batch(connection, waiting, known, only_new=only_new)
                    waiting, characters = {}, 0
            if waiting:
                self._check_kept(connection, {collection for collection, _ in waiting} - known)
                _put_batch(connection, waiting, known, only_new=only_new)

    def item(self, collection_id: str, item_id: str) -> Item:
        """Return one item."""
        with self.database.read() as connection:
            return self._read_item(connection, collection_id, item_id)

    def _read_item(self, connection: Connection, collection_id: str, item_id: str) -> Item:
        seq = _seq(connection, collection_id, item_id)
        content = connection.exec_driver_sql("select content from stac_item_documents where seq = ?", (seq,)).scalar()
        return self._item(content)

    def delete_item(self, collection_id: str, item_id: str) -> None:
        """Remove one item."""
        with self._change(collection_id) as connection:
            seq = _seq(connection, collection_id, item_id)
            connection.exec_driver_sql("delete from stac_items_rtree where id in (?, ?)", (2 * seq, 2 * seq + 1))
            connection.exec_driver_sql("delete from stac_item_documents where seq = ?", (seq,))
            connection.exec_driver_sql("delete from stac_items where seq = ?", (seq,))

    def search(self, search: Search) -> ItemPage:
        """Return one page of the items that match."""
        question = _Question(search)
        with self.database.read() as connection:
            register(connection)
            secret = connection.exec_driver_sql("select secret from stac_state").scalar_one()
            after = read_token(search.token, search, secret, len(question.keys)) if search.token else None
            rows, matched = _find(connection, question, after)
            page, more = rows[: search.limit], len(rows) > search.limit
            contents = _contents(connection, [row[0] for row in page])
        token = write_token(Position(page[-1][1:], matched), search, secret) if more else None
        return ItemPage(tuple(self._item(contents[row[0]]) for row in page), token, matched if search.count else None)

    def version(self) -> int:
        """Return a number that every change raises: the key of every cache over the catalogue."""
        with self.database.read() as connection:
            return int(connection.exec_driver_sql("select version from stac_state").scalar_one())

    def _item(self, content: str | None) -> Item:
        return Item(read_openable(content or "{}", self.zones))

    def _check_kept(self, connection: Connection, collections: Iterable[str]) -> None:
        if not self.is_keeper:
            refuse_managed(connection, collections)

    @contextmanager
    def _change(self, *collections: str) -> Iterator[Connection]:
        with self.database.begin() as connection:
            self._check_kept(connection, collections)
            yield connection
            connection.exec_driver_sql("update stac_state set version = version + 1")


class _Question:
    """A search as conditions over ``i`` (stac_items) and ``d`` (stac_item_documents)."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.dialect = SqliteDialect()
        self.parameters = self.dialect.parameters
        self.conditions: list[str] = []
        bind = self.parameters.bind
        if search.collections:
            self.conditions.append(f"i.collection in ({', '.join(map(bind, search.collections))})")
        if search.ids:
            ids = bind(json.dumps(search.ids))
            self.conditions.append(f"i.id in (select value from json_each({ids}))")
        self.interval = interval_us(search)
        if self.interval:
            start, end = self.interval
            self.conditions.append(f"i.start_us <= {bind(end)} and i.end_us >= {bind(start)}")
        regions = regions_of(search)
        self.conditions += [self._touches(region) for region in regions]
        if search.filter is not None:
            predicate = compile_filter(cql2.parse(search.filter), self.dialect)
            self.conditions.append(predicate.sql)
            regions += predicate.regions
        # An item may touch two regions that are apart, each with another of its boxes: only one can lead.
        leading = min(regions, key=lambda region: sum(map(_area, region.boxes)), default=None)
        self.boxes = leading.boxes if leading else (_WORLD,)
        self.bounded = bool(regions) or self.interval is not None
        sortby = search.sortby or NEWEST_FIRST
        operands = [sort_operand(key, self.dialect) for key in sortby]
        self.keys = [
            Key(operand.sql, key.direction == "desc", operand.kind == "property")
            for key, operand in zip(sortby, operands, strict=True)
        ]
        descending = self.keys[-1].descending
        self.keys += [Key("i.id", descending, False), Key("i.collection", descending, False)]

    @property
    def needs_document(self) -> bool:
        """Whether the documents are read for more than the page."""
        return self.dialect.needs_document

    def by_time(self) -> bool:
        """Tell whether the time index gives the order."""
        return self.keys[0].sql == "i.start_us"

    def where(self, *more: str) -> str:
        """Return the whole condition."""
        return " and ".join([*self.conditions, *more]) or "1"

    def after(self, values: Sequence[Any]) -> str:
        """Return the condition that an item comes after these values of the keys."""
        return after(self.keys, [None if value is None else self.parameters.bind(value) for value in values])

    def order(self) -> str:
        """Return the order; what lacks a key comes last, whichever the direction."""
        return order(self.keys)

    def candidates(self, limit: int | None = None) -> str:
        """Return the statement that reads ids from the R*Tree."""
        bind = self.parameters.bind
        time = ""
        if self.interval:
            start, end = self.interval
            time = f" and start_year <= {bind(end / _YEAR_US)} and end_year >= {bind(start / _YEAR_US)}"
        selects = []
        for west, south, east, north in self.boxes:
            place = (
                f"west <= {bind(east)} and east >= {bind(west)} and south <= {bind(north)} and north >= {bind(south)}"
            )
            selects.append(f"select id / 2 as seq from stac_items_rtree where {place}{time}")
        if limit is not None:
            return " union all ".join(f"select * from ({select} limit {int(limit)})" for select in selects)
        return " union ".join(selects) if len(selects) > 1 else selects[0].replace("select", "select distinct", 1)

    def _touches(self, region: Region) -> str:
        touches = [self.dialect.touching(box) for box in region.boxes]
        near = f"({' or '.join(touches)})"
        bind = self.parameters.bind
        exact = f"geoetl_spatial('s_intersects', i.footprint, {bind(region.wkb)})"
        if not region.rectangular:
            return f"({near} and {exact})"
        # Most footprints need no look at their shape: they lie in the box, or what they surely cover touches it.
        sure = []
        for box in region.boxes:
            w, s, e, n = map(bind, box)
            sure.append(f"i.west >= {w} and i.east <= {e} and i.south >= {s} and i.north <= {n}")
            sure.append(
                f"i.inner_west <= {e} and i.inner_east >= {w} and i.inner_south <= {n} and i.inner_north >= {s}"
            )
        return f"({near} and (({') or ('.join(sure)}) or {exact}))"


def _find(
    connection: Connection, question: _Question, after: Position | None
) -> tuple[list[tuple[Any, ...]], int | None]:
    """Return the rows of a page and one more (seq, then the value of each key), and how many match in all."""
    search = question.search
    document = " cross join stac_item_documents d on d.seq = i.seq" if question.needs_document else ""
    columns = ", ".join(["i.seq", *(key.sql for key in question.keys)])
    counting = search.count and after is None
    rtree_first = not search.ids and question.bounded and _few_candidates(connection, question)
    if rtree_first:
        source = f"({question.candidates()}) c cross join stac_items i on i.seq = c.seq"
    elif search.ids:
        source = "stac_items i indexed by stac_items_id"
    elif question.by_time():
        index = "stac_items_collection_time" if len(search.collections) == 1 else "stac_items_time"
        source = f"stac_items i indexed by {index}"
    else:
        source = "stac_items i"
    in_one = rtree_first and counting
    where = question.where(question.after(after.values)) if after else question.where()
    statement = (
        f"select {columns}{', count(*) over ()' if in_one else ''} from {source}{document} where {where} "
        f"order by {question.order()} limit {search.limit + 1}"
    )
    rows = [tuple(row) for row in connection.exec_driver_sql(statement, question.parameters.values)]
    if in_one:
        return [row[:-1] for row in rows], rows[0][-1] if rows else 0
    if not counting:
        return rows, after.matched if after else None
    if len(rows) <= search.limit:
        return rows, len(rows)
    # Many candidates: reading the narrow table in its order beats looking up each of them (nine times, at 100,000).
    in_order = " not indexed" if question.bounded and not search.ids else ""
    statement = f"select count(*) from stac_items i{in_order}{document} where {question.where()}"
    return rows, connection.exec_driver_sql(statement, question.parameters.values).scalar_one()


def _few_candidates(connection: Connection, question: _Question) -> bool:
    """Tell whether the R*Tree finds so few that looking at each costs less than walking in order.

    With C candidates among N items the R*Tree costs about C, and the walk until a page of L is full about L N / C.
    """
    items = connection.exec_driver_sql("select coalesce(max(seq), 0) from stac_items").scalar_one()
    most = (question.search.limit * items) ** 0.5 if question.by_time() else items / 4
    limit = max(int(most), LEAST_CANDIDATES)
    statement = f"select count(*) from ({question.candidates(limit)})"
    return bool(connection.exec_driver_sql(statement, question.parameters.values).scalar_one() < limit)


def _write_collection(connection: Connection, collection_id: str, content: str) -> None:
    statement = (
        "insert into stac_collections (id, content) values (?, ?) "
        "on conflict (id) do update set content = excluded.content"
    )
    connection.exec_driver_sql(statement, (collection_id, content))


@contextmanager
def _cache(connection: Connection) -> Iterator[Callable[[], None]]:
    """Give what enlarges the page cache of a connection; it is small again at the end."""
    before = connection.exec_driver_sql("pragma cache_size").scalar_one()
    try:
        yield lambda: connection.exec_driver_sql(f"pragma cache_size = -{BULK_CACHE_KIB}").close()
    finally:
        connection.exec_driver_sql(f"pragma cache_size = {int(before)}")


def _put_batch(
    connection: Connection, items: Mapping[tuple[str, str], CheckedItem], known: set[str], *, only_new: bool
) -> None:
    for collection_id in {collection_id for collection_id, _ in items} - known:
        check_id(collection_id, "collection id")
        _require_collection(connection, collection_id)
        known.add(collection_id)
    if only_new:
        present = _present(connection, [item_id for _, item_id in items])
        for key in items:
            if key in present:
                raise item_exists(*key)
    # In the order of their times, which is that of the indexes.
    ordered = sorted(items.values(), key=lambda item: item.start_us)
    _read_back(connection, _write(connection, ordered))


def _present(connection: Connection, ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return the numbers of the items of these ids, by collection and id."""
    statement = "select collection, id, seq from stac_items where id in (select value from json_each(?))"
    rows = connection.exec_driver_sql(statement, (json.dumps(ids),))
    return {(collection, item_id): seq for collection, item_id, seq in rows}


def _contents(connection: Connection, seqs: list[int]) -> dict[int, str]:
    statement = "select seq, content from stac_item_documents where seq in (select value from json_each(?))"
    return {row.seq: row.content for row in connection.exec_driver_sql(statement, (json.dumps(seqs),))}


def _write(connection: Connection, items: list[CheckedItem]) -> dict[int, CheckedItem]:
    """Write items that are distinct; return them by their numbers."""
    present = _present(connection, [item.id for item in items])
    following = connection.exec_driver_sql("select coalesce(max(seq), 0) + 1 from stac_items").scalar_one()
    numbered: dict[int, CheckedItem] = {}
    replaced: list[tuple[int]] = []
    for item in items:
        seq = present.get((item.collection, item.id))
        if seq is None:
            seq, following = following, following + 1
        else:
            replaced += [(2 * seq,), (2 * seq + 1,)]
        numbered[seq] = item
    if replaced:
        connection.exec_driver_sql("delete from stac_items_rtree where id = ?", replaced)
    connection.exec_driver_sql(
        "insert or replace into stac_items values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(seq, item.collection, item.id, item.start_us, item.end_us, *_place(item)) for seq, item in numbered.items()],
    )
    connection.exec_driver_sql(
        "insert or replace into stac_item_documents values (?, ?)", [(seq, i.content) for seq, i in numbered.items()]
    )
    connection.exec_driver_sql(
        "insert into stac_items_rtree values (?, ?, ?, ?, ?, ?, ?)",
        [
            (2 * seq + part, west, east, south, north, item.start_us / _YEAR_US, item.end_us / _YEAR_US)
            for seq, item in numbered.items()
            for part, (west, south, east, north) in enumerate(item.footprint.boxes)
        ],
    )
    return numbered


def _place(item: CheckedItem) -> tuple[Any, ...]:
    place = item.footprint
    return (*place.bounds, *(place.inner or (None, None, None, None)), place.wkb)


def _read_back(connection: Connection, numbered: dict[int, CheckedItem]) -> None:
    """Read each item the way a search does: from its boxes in the R*Tree to its row and its document."""
    statement = """
        select r.id, i.collection, i.id, d.content, r.west, r.south, r.east, r.north, r.start_year, r.end_year
        from json_each(?) wanted
        cross join stac_items_rtree r on r.id in (2 * wanted.value, 2 * wanted.value + 1)
        cross join stac_items i on i.seq = r.id / 2
        cross join stac_item_documents d on d.seq = i.seq
    """
    rows = connection.exec_driver_sql(statement, (json.dumps(list(numbered)),))
    found = {row[0]: row for row in rows.all()}
    for seq, item in numbered.items():
        start, end = item.start_us / _YEAR_US, item.end_us / _YEAR_US
        for part, box in enumerate(item.footprint.boxes):
            row = found.get(2 * seq + part)
            if row is None or not _is_same(row, item) or not _covers(row, box, start, end):
                raise VerificationFailed(
                    f"Item '{item.id}' of '{item.collection}' was written but a search does not find it as given.",
                    hint="Nothing was kept. Check the database with `pragma integrity_check`, then try again.",
                )


def _is_same(row: Sequence[Any], item: CheckedItem) -> bool:
    return bool(row[3] == item.content and row[2] == item.id and row[1] == item.collection)


def _covers(row: Sequence[Any], box: Box, start: float, end: float) -> bool:
    return bool(
        row[4] <= box[0]
        and row[5] <= box[1]
        and row[6] >= box[2]
        and row[7] >= box[3]
        and row[8] <= start
        and row[9] >= end
    )


def _seq(connection: Connection, collection_id: str, item_id: str) -> int:
    collection_id, item_id = plain_text(collection_id), plain_text(item_id)
    statement = "select seq from stac_items where id = ? and collection = ?"
    seq = connection.exec_driver_sql(statement, (item_id, collection_id)).scalar()
    if seq is None:
        _require_collection(connection, collection_id)
        names: list[str] = []
        for side in ("id >= ? order by id", "id < ? order by id desc"):
            statement = f"select id from stac_items where collection = ? and {side} limit {NAMES_LOOKED_AT}"
            names += connection.exec_driver_sql(statement, (collection_id, item_id)).scalars().all()
        raise no_item(collection_id, item_id, names)
    return int(seq)


def _require_collection(connection: Connection, collection_id: str) -> None:
    statement = "select 1 from stac_collections where id = ?"
    if connection.exec_driver_sql(statement, (collection_id,)).scalar() is None:
        raise _no_collection(connection, collection_id)


def _no_collection(connection: Connection, collection_id: str) -> NotFound:
    return no_collection(collection_id, connection.exec_driver_sql("select id from stac_collections").scalars().all())


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
