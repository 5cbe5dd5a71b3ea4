"""A search finds what a scan of every item finds, in the same order, whichever plan and page size it takes."""

import fnmatch
import operator
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import Search, SortField, SqliteCatalog, sqlite, walk
from tests.stac import a_collection, an_item, sqlite_catalog

# Coarse numbers, so that edges, corners, equal times and equal values happen all the time; 1/3 is none of 32 bits.
LONGITUDES = [-180.0, -179.0, -90.0, -1 / 3, 0.0, 1 / 3, 1.0, 2.0, 90.0, 179.0, 180.0]
LATITUDES = [-90.0, -10.0, -1 / 3, 0.0, 1 / 3, 1.0, 10.0, 90.0]
FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
COLLECTIONS = ("one", "two")
VALUES = st.sampled_from([None, 0, 1, 2, 2.5, -1, "1", "a", "ab", "", True, False, [1], {"x": 1}])


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> SqliteCatalog:
    """Give a catalogue that every example empties and fills."""
    catalog = sqlite_catalog(tmp_path_factory.mktemp("search"))
    # Hundreds of small commits; that they survive a power cut is not what is tested here.
    sa.event.listen(catalog.database.engine, "connect", lambda raw, _: raw.execute("pragma synchronous = off"))
    catalog.database.dispose()
    return catalog


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    south, north = sorted((draw(st.sampled_from(LATITUDES)), draw(st.sampled_from(LATITUDES))))
    return BBox(draw(st.sampled_from(LONGITUDES)), south, draw(st.sampled_from(LONGITUDES)), north)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a box, perhaps across the antimeridian, a diamond or triangle in one, a line or a point."""
    west, east = draw(st.permutations(LONGITUDES))[:2]
    south, north = sorted(draw(st.permutations(LATITUDES))[:2])
    box = BBox(-180.0, south, 180.0, north) if (west, east) == (180.0, -180.0) else BBox(west, south, east, north)
    kind = draw(st.sampled_from(["box", "diamond", "triangle", "line", "point"]))
    parts = [part for part in box.parts() if part.width_deg > 0]
    if kind == "box":
        return box.geometry() if len(parts) == len(box.parts()) else parts[0].geometry()
    part = parts[0]
    corners = [[part.west, part.south], [part.east, part.south], [part.west, part.north]]
    if kind == "diamond":
        x, y = (part.west + part.east) / 2, (part.south + part.north) / 2
        ring = [[x, part.south], [part.east, y], [x, part.north], [part.west, y], [x, part.south]]
        return {"type": "Polygon", "coordinates": [ring]}
    if kind == "triangle":
        return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    if kind == "line":
        return {"type": "LineString", "coordinates": corners[1:]}
    return {"type": "Point", "coordinates": corners[0]}


@st.composite
def documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    items = {}
    for n in range(draw(st.integers(0, 25))):
        start = FIRST_DAY + timedelta(days=draw(st.integers(0, 4)))
        end = start + timedelta(days=draw(st.sampled_from([0, 0, 1, 3])))
        times = {"start_datetime": start.isoformat(), "end_datetime": end.isoformat()} if end > start else {}
        properties = {"n": draw(VALUES), "s": draw(st.sampled_from(["a", "ab", "b%", "A"])), **times}
        if draw(st.booleans()):
            del properties["n"]
        item = an_item(
            f"i{draw(st.integers(0, 9))}{n % 3}",
            collection=draw(st.sampled_from(COLLECTIONS)),
            geometry=draw(geometries()),
            time=None if times else start.isoformat(),
            properties=properties,
        )
        del item["bbox"]
        items[item["collection"], item["id"]] = item
    return list(items.values())


def trees() -> st.SearchStrategy[dict[str, Any] | bool]:
    name = st.sampled_from([{"property": "n"}, {"property": "s"}, {"property": "missing"}])
    literal = st.sampled_from([0, 1, 2.5, "1", "a", "ab", True, False])
    comparison = st.builds(
        lambda op, a, b: {"op": op, "args": [a, b]}, st.sampled_from(list(COMPARISONS)), name | literal, name | literal
    )
    leaf: st.SearchStrategy[Any] = st.one_of(
        comparison,
        st.builds(lambda a: {"op": "isNull", "args": [a]}, name),
        st.builds(lambda a, bs: {"op": "in", "args": [a, bs]}, name, st.lists(literal, min_size=1, max_size=4)),
        st.builds(lambda a, b, c: {"op": "between", "args": [a, b, c]}, name, literal, literal),
        st.builds(
            lambda p: {"op": "like", "args": [{"property": "s"}, p]}, st.sampled_from(["a%", "_", "%b%", "A", "%"])
        ),
        st.builds(lambda g: {"op": "s_intersects", "args": [{"property": "geometry"}, g]}, geometries()),
        st.booleans(),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(lambda a: {"op": "not", "args": [a]}, inner),
            st.builds(
                lambda op, args: {"op": op, "args": args},
                st.sampled_from(["and", "or"]),
                st.lists(inner, min_size=1, max_size=3),
            ),
        ),
        max_leaves=6,
    )


ORDERS = ["", "datetime", "-datetime", "id,-datetime", "n", "-n,datetime", "-s,n", "-collection,-n,id"]


@st.composite
def searches(draw: st.DrawFn) -> Search:
    def perhaps(strategy: st.SearchStrategy[Any], default: Any = None) -> Any:
        return draw(strategy) if draw(st.integers(0, 2)) == 0 else default

    start = perhaps(st.integers(0, 5))
    end = perhaps(st.integers(start or 0, 6))
    days = [None if day is None else FIRST_DAY + timedelta(days=day) for day in (start, end)]
    order = draw(st.sampled_from(ORDERS))
    return Search(
        collections=perhaps(st.lists(st.sampled_from([*COLLECTIONS, "three"]), unique=True).map(tuple), ()),
        ids=perhaps(st.lists(st.sampled_from(["i00", "i11", "i22", "x"]), unique=True).map(tuple), ()),
        bbox=perhaps(boxes()),
        interval=perhaps(st.just(Interval(*days))),
        intersects=perhaps(geometries()),
        filter=perhaps(trees()),
        sortby=tuple(map(SortField.parse, order.split(","))) if order else (),
        limit=draw(st.integers(1, 9)),
    )


# -- the scan --------------------------------------------------------------------------------------------------------

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def shape_of(geometry: dict[str, Any]) -> Any:
    return shapely.from_geojson(shapely.to_geojson(shapely.geometry.shape(geometry)))


def shapes_of(box: BBox) -> Iterator[Any]:
    for part in box.parts():
        if not part.width_deg and not part.height_deg:
            yield shapely.Point(part.west, part.south)
        elif part.width_deg and part.height_deg:
            yield shapely.box(part.west, part.south, part.east, part.north)
        else:
            yield shapely.LineString([(part.west, part.south), (part.east, part.north)])


def kind_of(value: Any) -> str:
    return (
        "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__
    )


def compare(op: str, a: Any, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    if kind_of(a) != kind_of(b):
        return {"=": False, "<>": True}.get(op)
    if op not in ("=", "<>") and kind_of(a) not in ("number", "str"):
        return None
    return COMPARISONS[op](a, b)


def every(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def holds(tree: Any, item: dict[str, Any]) -> bool | None:
    """Evaluate a filter with three truth values."""
    if isinstance(tree, bool):
        return tree
    op, args = tree["op"], tree["args"]
    if op in ("and", "or", "not"):
        values = [holds(arg, item) for arg in args]
        if op == "not":
            return None if values[0] is None else not values[0]
        if op == "and":
            return every(values)
        negated = every([None if value is None else not value for value in values])
        return None if negated is None else not negated
    if op == "s_intersects":
        return bool(shape_of(item["geometry"]).intersects(shape_of(args[1])))
    a, *rest = (item["properties"].get(arg["property"]) if isinstance(arg, dict) else arg for arg in args)
    if op == "isNull":
        return a is None
    if op == "like":
        return fnmatch.fnmatchcase(a, rest[0].replace("%", "*").replace("_", "?"))
    if op == "in":
        return None if a is None else any(compare("=", a, member) for member in rest[0])
    if op == "between":
        return every([compare(">=", a, rest[0]), compare("<=", a, rest[1])])
    return compare(op, a, rest[0])


def times_of(item: dict[str, Any]) -> tuple[datetime, datetime]:
    properties = item["properties"]
    ends = [properties.get(key) or properties["datetime"] for key in ("start_datetime", "end_datetime")]
    return datetime.fromisoformat(ends[0]), datetime.fromisoformat(ends[1])


def is_wanted(item: dict[str, Any], search: Search) -> bool:
    shape = shape_of(item["geometry"])
    start, end = times_of(item)
    wanted = search.interval or Interval(None, None)
    return (
        (not search.collections or item["collection"] in search.collections)
        and (not search.ids or item["id"] in search.ids)
        and (search.bbox is None or any(shape.intersects(part) for part in shapes_of(search.bbox)))
        and (search.intersects is None or shape.intersects(shape_of(search.intersects)))
        and (wanted.start is None or end >= wanted.start)
        and (wanted.end is None or start <= wanted.end)
        and (search.filter is None or holds(search.filter, item) is True)
    )


def rank(value: Any) -> tuple[int, Any]:
    """Order values of any kind as SQLite does: numbers (and truth values) before texts."""
    if isinstance(value, list | dict):
        value = '{"x":1}' if isinstance(value, dict) else "[1]"
    return (1, value) if isinstance(value, str) else (0, float(value))


def in_order(items: list[dict[str, Any]], search: Search) -> list[dict[str, Any]]:
    keys = search.sortby or (SortField(field="datetime", direction="desc"),)
    ties = [SortField(field=name, direction=keys[-1].direction) for name in ("id", "collection")]
    ordered = list(items)
    for key in reversed([*keys, *ties]):

        def value_of(item: dict[str, Any], key: SortField = key) -> Any:
            if key.field == "datetime":
                return times_of(item)[0].timestamp()
            return item.get(key.field) if key.field in ("id", "collection") else item["properties"].get(key.field)

        with_value = [item for item in ordered if value_of(item) is not None]
        without = [item for item in ordered if value_of(item) is None]
        reverse = key.direction == "desc"
        ordered = sorted(with_value, key=lambda item: rank(value_of(item)), reverse=reverse) + without
    return ordered


def names(items: list[Any]) -> list[tuple[str, str]]:
    return [(item["collection"], item["id"]) for item in items]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    items=documents(), wanted=st.lists(searches(), min_size=1, max_size=5), plan=st.sampled_from([None, True, False])
)
def test_a_search_equals_a_scan(
    catalog: SqliteCatalog, items: list[dict[str, Any]], wanted: list[Search], plan: bool | None
) -> None:
    for collection in catalog.collections():
        catalog.delete_collection(collection["id"])
    for name in COLLECTIONS:
        catalog.upsert_collection(a_collection(name))
    catalog.upsert_items(items)
    for search in wanted:
        expected = names(in_order([item for item in items if is_wanted(item, search)], search))
        with pytest.MonkeyPatch.context() as patch:
            if plan is not None:  # both plans must give the same; with so few items only one would be chosen
                patch.setattr(sqlite, "_few_candidates", lambda *_: plan)
            assert names(list(walk(catalog, search))) == expected
            assert catalog.search(search).matched == len(expected)
            assert names(list(catalog.search(search))) == expected[: search.limit]


@pytest.mark.parametrize("value", [[1], {"x": 1}, True])
@pytest.mark.parametrize("op", ["<", "<=", ">", ">="])
def test_what_has_no_order_is_neither_before_nor_after_itself(catalog: SqliteCatalog, value: Any, op: str) -> None:
    for collection in COLLECTIONS:
        catalog.upsert_collection(a_collection(collection))
    catalog.upsert_items([an_item("odd", collection="one", properties={"n": value})])
    both = {"op": op, "args": [{"property": "n"}, {"property": "n"}]}
    assert catalog.search(Search(ids=("odd",), filter=both)).items == ()
