"""Export as one stac-geoparquet file, and the way back, a few thousand items in memory at a time.

The columns are those of stac-geoparquet 1.0, made by the package of that name, so that geopandas, DuckDB, rustac and
others read them.  Columns cannot hold everything that JSON can: a property that is a number here and a text there, an
explicit null, a time in another notation, an integer among decimals.  Each item is therefore read back as it is
written, and where it differs its JSON text goes into the additional column `ORIGINAL`: nothing is lost.

Source: STAC GeoParquet specification 1.0.0 (radiantearth/stac-geoparquet-spec); GeoParquet 1.1.0.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from geoetl.core.errors import Conflict, GeoetlError, UnreadableFile
from geoetl.store.catalog.item import STAC_VERSION
from geoetl.store.catalog.model import Collection
from geoetl.store.catalog.protocol import Catalog, Search, SortField, walk
from geoetl.store.catalog.validation import time_span_us

if TYPE_CHECKING:
    from geoetl.store.gate import Gate

ORIGINAL = "geoetl:item"
# Key of the file's metadata that holds the collections, as the specification says.
METADATA = b"stac-geoparquet"
# Items of one row group, and of each collection that the columns are taken from.
ROWS = 5_000
SAMPLE = 1_000
_PAGE = 1_000
# Members of an item that are columns of their own; a property of such a name has no column.
_TOP = frozenset(
    ("type", "stac_version", "stac_extensions", "id", "collection", "bbox", "geometry", "links", "assets", "properties")
)
# A second geometry.  The package cannot read it back where one item has it and another has not
# (stac-geoparquet 0.8.3, StacJsonBatch.iter_dicts): it gets no column.
_PROJECTED = "proj:geometry"
# Properties that the specification makes timestamps, to the microsecond.
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated", "expires", "published", "unpublished")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What the conversions raise for values that do not fit their column.
_UNFIT = (pa.ArrowException, TypeError, ValueError, KeyError, AttributeError, AssertionError, OverflowError)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        items: How many items it has.
        originals: How many of them carry their JSON text too, since columns alone would have changed them.
    """

    path: Path
    items: int
    originals: int


def export_geoparquet(
    catalog: Catalog,
    file: Path,
    *,
    collections: Sequence[str] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Exported:
    """Write a catalogue, or some of its collections, to a stac-geoparquet file; an earlier one there is replaced.

    The file is written beside `file` and comes into place by renaming.

    Args:
        catalog: What to export.
        file: Where to.
        collections: Ids of collections; None means all.
        progress: Called with the number of items written, and how many there are.

    Raises:
        NotFound: A collection does not exist.
        Conflict: `file` is a folder, or there is no item to export.
    """
    from stac_geoparquet.arrow import to_parquet

    file = file.absolute()
    if file.is_dir():
        raise Conflict(f"'{file.name}' is a folder.", hint="Give the name of a file, NAME.parquet.", field="file")
    chosen = catalog.collections() if collections is None else [catalog.collection(name) for name in collections]
    total = catalog.search(Search(collections=tuple(c["id"] for c in chosen), limit=1)).matched if chosen else 0
    schema = _schema(chain.from_iterable(_sample(catalog, collection) for collection in chosen))
    if not total or schema is None:
        raise Conflict(
            "There are no items to export: a stac-geoparquet file has at least one.",
            hint="Export as a static catalogue: --format static.",
            field="collections",
        )
    counted = [0, 0]

    def batches() -> Iterator[pa.RecordBatch]:
        for chunk in batched(chain.from_iterable(_items(catalog, collection) for collection in chosen), ROWS):
            batch, originals = _to_arrow(chunk, schema)
            counted[0] += len(chunk)
            counted[1] += originals
            yield batch
            if progress:
                progress(counted[0], total)

    stream = batches()
    first = next(stream, None)
    if first is None:
        raise Conflict("The items were deleted while they were exported.", hint="Try again.", field="collections")
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], stream))
        documents = {collection["id"]: dict(collection) for collection in chosen}
        to_parquet(reader, temporary, collections=documents, compression="zstd")
        temporary.chmod(0o644)  # mkstemp makes it private
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(file, *counted)


def count_rows(gate: "Gate", path: Path) -> int:
    """Return how many items a stac-geoparquet file has.

    Raises:
        UnreadableFile, FormatNotAllowed, LimitExceeded: See `Gate.open_parquet`.
    """
    with gate.open_parquet(path) as file:
        return int(file.metadata.num_rows)


def read_collections(gate: "Gate", path: Path) -> list[dict[str, Any]]:
    """Return the collections in the metadata of a stac-geoparquet file.

    Raises:
        UnreadableFile: Its metadata are damaged, or it is no stac-geoparquet.
    """
    with gate.open_parquet(path) as file:
        raw = (file.schema_arrow.metadata or {}).get(METADATA)
        names = set(file.schema_arrow.names)
    if missing := {"id", "geometry", "bbox"} - names:
        raise UnreadableFile(
            f"'{path.name}' is no stac-geoparquet: it has no column {', '.join(sorted(missing))}.",
            hint="Load it as a vector instead: geoetl run ingest-vector.",
            field="source",
        )
    try:
        metadata = orjson.loads(raw or b"{}")
        found = metadata.get("collections") or {}
        single = metadata.get("collection")  # before version 1.0 of the specification
        return [*found.values(), *([single] if single and single.get("id") not in found else [])]
    except (ValueError, AttributeError):
        raise UnreadableFile(
            f"The collections in '{path.name}' cannot be read.", hint="Write the file again.", field="source"
        ) from None


def read_items(gate: "Gate", path: Path) -> Iterator[dict[str, Any]]:
    """Read the items of a stac-geoparquet file, in its order; a column that is null for an item is a missing member.

    Raises:
        UnreadableFile: It is damaged, or no stac-geoparquet.
    """
    with gate.open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            try:
                yield from _from_arrow(batch)
            except _UNFIT as error:
                if isinstance(error, GeoetlError):
                    raise
                raise UnreadableFile(
                    f"'{path.name}' is no stac-geoparquet: {str(error)[:120]}.",
                    hint="Was it written by stac-geoparquet, rustac or geoetl?",
                    field="source",
                ) from None


def _items(catalog: Catalog, collection: Collection) -> Iterator[Mapping[str, Any]]:
    # In the order of ids, so that two exports of the same catalogue are the same file.
    order = (SortField(field="id"),)
    return walk(catalog, Search(collections=(collection["id"],), sortby=order, limit=_PAGE, count=False))


def _sample(catalog: Catalog, collection: Collection) -> Iterator[Mapping[str, Any]]:
    order = (SortField(field="id"),)
    return iter(catalog.search(Search(collections=(collection["id"],), sortby=order, limit=SAMPLE, count=False)))


# -- to columns ------------------------------------------------------------------------------------------------------


def _schema(items: Iterator[Mapping[str, Any]]) -> pa.Schema | None:
    """Return the columns that fit as many as possible of these items, before properties are moved up."""
    # The schema of the documents is what the package wants for its batches; it offers no other way to it.
    from stac_geoparquet.arrow._schema.models import InferredSchema

    inferred = InferredSchema()
    for chunk in batched(map(_plain, items), 100):
        try:
            inferred.update_from_items(list(chunk))
        except _UNFIT:
            for item in chunk:
                with suppress(*_UNFIT):  # of two kinds of a value the first has the column
                    inferred.update_from_items([item])
    if not inferred.count:
        return None
    fields = [_without_nulls(f) for f in inferred.inner]
    return pa.schema([f for f in fields if f is not None])


def _without_nulls(given: pa.Field) -> pa.Field | None:
    """Return a field without what no value was seen of: such columns have no type yet."""
    kind = given.type
    if pa.types.is_null(kind):
        return given.with_type(pa.string()) if given.name == "datetime" else None
    if pa.types.is_struct(kind):
        inner = [f for f in map(_without_nulls, kind) if f is not None]
        return given.with_type(pa.struct(inner)) if inner or given.name in ("assets", "properties") else None
    if pa.types.is_list(kind):
        member = _without_nulls(kind.value_field)
        if member is None:
            return given.with_type(pa.list_(_LINK)) if given.name == "links" else None
        return given.with_type(pa.list_(member))
    return given


_LINK = pa.field("item", pa.struct([("rel", pa.string()), ("href", pa.string())]))


def _to_arrow(items: Sequence[Mapping[str, Any]], schema: pa.Schema) -> tuple[pa.RecordBatch, int]:
    """Return items as columns, with the text of those that the columns would change, and how many these are."""
    plain = [_plain(item) for item in items]
    try:
        batch = _convert(plain, schema)
    except _UNFIT:
        plain = [one if _fits(one, schema) else _core(item) for one, item in zip(plain, items, strict=True)]
        batch = _convert(plain, schema)
    # The package cannot read collections of geometries back.
    odd = [one["geometry"]["type"] == "GeometryCollection" for one in plain]
    back = iter(_from_columns(batch.filter(pa.array([not is_odd for is_odd in odd]))))
    texts = []
    for item, is_odd in zip(items, odd, strict=True):
        kept = not is_odd and _canonical(next(back)) == _canonical(item)
        texts.append(None if kept else orjson.dumps(item).decode())
    batch = batch.append_column(pa.field(ORIGINAL, pa.string()), pa.array(texts, pa.string()))
    return batch, sum(text is not None for text in texts)


def _convert(items: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    from stac_geoparquet.arrow import parse_stac_items_to_arrow

    return parse_stac_items_to_arrow(items, chunk_size=len(items), schema=schema).read_next_batch()


def _fits(item: dict[str, Any], schema: pa.Schema) -> bool:
    try:
        _convert([item], schema)
    except _UNFIT:
        return False
    return True


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an item may have columns: without nulls, empty objects and names that are taken."""
    found: dict[str, Any] = _without_empty(item)
    properties = found.get("properties", {})
    bbox = item["bbox"]
    flat = bbox if len(bbox) == 4 else (*bbox[:2], *bbox[3:5])
    return {
        **{name: value for name, value in found.items() if name in _TOP},
        "geometry": item["geometry"],
        "bbox": [float(number) for number in flat],
        "properties": {
            "datetime": None,
            **{name: value for name, value in properties.items() if name not in _TOP and name != ORIGINAL},
        },
        "links": found.get("links", []),
        "assets": found.get("assets", {}),
    }


def _core(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an item only what every reader needs; the rest is in its text."""
    names = ("datetime", "start_datetime", "end_datetime")
    start, end = (_text_of(us) for us in time_span_us(item["id"], item["properties"]))
    times: dict[str, Any] = {"datetime": start}
    if end != start or item["properties"].get("datetime") is None:
        times = dict(zip(names, (None, start, end), strict=True))
    plain = _plain(item)
    return {
        **{name: plain[name] for name in ("type", "id", "collection", "bbox", "geometry")},
        "stac_version": STAC_VERSION,
        "properties": times,
        "links": [],
        "assets": {},
    }


def _text_of(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        cleaned = ((name, _without_empty(inner)) for name, inner in value.items() if name != _PROJECTED)
        return {name: inner for name, inner in cleaned if inner is not None and inner != {}}
    if isinstance(value, list | tuple):
        return [_without_empty(inner) for inner in value]
    return value


def _canonical(document: Any) -> bytes:
    # As text, so that 1 and 1.0, which are equal in Python, differ.
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


# -- from columns ----------------------------------------------------------------------------------------------------


def _from_arrow(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Give the items of a batch: from their text where they have it, else from their columns."""
    if ORIGINAL not in batch.schema.names:
        yield from _from_columns(batch)
        return
    texts = batch.column(ORIGINAL)
    columns = batch.drop_columns([ORIGINAL]).filter(pc.is_null(texts))
    others = _from_columns(columns)
    for text in texts.to_pylist():
        yield orjson.loads(text) if text is not None else next(others)


def _from_columns(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    from stac_geoparquet.arrow import stac_table_to_items

    if not batch.num_rows:
        return
    if _PROJECTED in batch.schema.names and 0 < (missing := batch.column(_PROJECTED)).null_count < batch.num_rows:
        lacking = pc.is_null(missing)
        without = _from_columns(batch.filter(lacking).drop_columns([_PROJECTED]))
        having = _from_columns(batch.filter(pc.invert(lacking)))
        for lacks in lacking.to_pylist():
            yield next(without if lacks else having)
        return
    for found in stac_table_to_items(pa.Table.from_batches([batch])):
        item = _without_null(found)
        properties = item.setdefault("properties", {})
        for name in _TIMES:
            if isinstance(time := properties.get(name), str):
                properties[name] = _plain_time(time)
        properties.setdefault("datetime", None)
        yield {"type": "Feature", **item, "links": item.get("links", []), "assets": item.get("assets", {})}


def _plain_time(text: str) -> str:
    """Return a time as the package writes it (with six digits of a second) without digits that say nothing."""
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    digits = fraction.rstrip("0")
    return f"{whole}.{digits}Z" if dot and digits else f"{whole}Z"


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_null(inner) for inner in value]
    return value
