"""Both back ends find the same items in the same order, and give every document back as it came."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.errors import InputError
from geoetl.core.spatial import BBox
from geoetl.store.catalog import PgstacCatalog, Search, SortField, walk
from tests.properties.test_search import LATITUDES, LONGITUDES, geometries, searches
from tests.stac import BACK_ENDS, AnyCatalog, a_collection, an_item, pgstac_catalog, prepare

VALUES = [
    *(0, 1, -1, 2, 3.5, -2.5, 1e15, 2**53 + 1, 2**53, 1e-9, 0.1, 0.3, True, False, "", "a", "A", "ab", "B", "b%", "_"),
    *("Å", "ß", "SS", "é", "e\u0301", "İ", "𝔸", "\ufb01n", "10", "9", "2020-03-01T00:00:00Z", "2020-03-01", "Z", "z"),
    *("2020-02-29T23:59:59.9999999+01:00", "2020-13-01", [1], [], ["a", 1.0, True], ["a"], [None, "a"], {"x": 1}),
    *({}, [[1]], {"deep": {"y": "a"}}, None),
]
NAMES = ["n", "m", "s", "deep.y", "missing", "n.x", "properties.s"]
ITEMS = 120


@pytest.fixture(scope="module")
def catalogs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[AnyCatalog]:
    """Give both back ends with the same items, whose properties are of every kind."""
    drawn = random.Random(11)
    items = []
    for n in range(ITEMS):
        west, east = drawn.choice(LONGITUDES), drawn.choice(LONGITUDES)
        south, north = sorted(drawn.sample(LATITUDES, 2))
        box = BBox(west, south, east, north)
        geometry = drawn.choice([None, *SHAPES])
        if geometry is None and any(part.width_deg == 0 for part in box.parts()):
            geometry = {"type": "Point", "coordinates": [west, south]}
        properties = {name: drawn.choice(VALUES) for name in ("n", "m", "s") if drawn.random() < 0.8}
        if n % 5 == 0:
            properties |= {"start_datetime": "2020-02-01T00:00:00Z", "end_datetime": "2020-04-01T00:00:00Z"}
        if n % 7 == 0:
            properties |= {"deep": {"y": drawn.choice(VALUES)}, "n.x": drawn.choice(VALUES)}
        time = f"2020-0{drawn.randint(1, 9)}-01T00:00:00{drawn.choice(['Z', '+02:00', '.0000019Z', '-15:00'])}"
        item = an_item(
            f"i{drawn.choice('aAbZzé')}{n}" if n % 9 else f"i{n}",
            collection=("one", "two")[n % 2],
            geometry=geometry or box.geometry(),
            time=time,
            properties=properties,
        )
        item["id"] = item["id"].replace("é", "e")
        del item["bbox"]
        items.append(item)
    made = []
    for name, make in BACK_ENDS.items():
        catalog = make(prepare(name, tmp_path_factory.mktemp(name), request))
        for collection in ("one", "two"):
            catalog.upsert_collection(a_collection(collection))
        catalog.upsert_items(items)
        made.append(catalog)
    return made


POINTS = [{"type": "Point", "coordinates": place} for place in ([0.5, 0.5], [1.0, 1.0], [179.5, 0.5])]
LINE = {"type": "LineString", "coordinates": [[-90, -10], [90, 10]]}
SHAPES: list[dict[str, Any]] = [
    *POINTS,
    LINE,
    {"type": "MultiPoint", "coordinates": [[0, 0], [1, 1]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 0]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]},  # crosses itself: two triangles
    {"type": "GeometryCollection", "geometries": [POINTS[0], LINE]},
    {"type": "GeometryCollection", "geometries": [POINTS[1], BBox(0, 0, 1, 1).geometry()]},
]

scalars = st.sampled_from([value for value in VALUES if isinstance(value, str | int | float)])
properties = st.sampled_from(NAMES).map(lambda name: {"property": name})
times = st.sampled_from(
    [
        {"timestamp": "2020-03-01T00:00:00Z"},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
        {"date": "2020-03-01"},
        {"date": "9999-12-31"},
        {"property": "datetime"},
        {"property": "n"},
        {"property": "s"},
    ]
)
ends = times | st.just("..")
intervals = st.tuples(ends, ends).map(lambda pair: {"interval": list(pair)})


def operation(names: Any, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda op, args: {"op": op, "args": list(args)}, st.sampled_from(names), st.tuples(*arguments))


numbers = st.recursive(
    properties | st.sampled_from([0, 1, 2, -3, 0.5, 0.1, 1e300, 2**53, 400]),
    lambda inner: operation(["+", "-", "*", "/", "%", "div", "^"], inner, inner),
    max_leaves=4,
)
texts = st.recursive(
    properties | st.sampled_from(["a", "Å", "ß", "İ", "x"]),
    lambda inner: operation(["casei", "accenti"], inner),
    max_leaves=2,
)
lists = properties | st.lists(st.sampled_from(["a", 1, True, "b"]), min_size=1, max_size=3)
TEMPORAL = (
    "after before contains disjoint during equals finishedBy finishes intersects meets metBy overlappedBy overlaps"
)
SPATIAL = ["s_intersects", "s_disjoint", "s_within", "s_contains", "s_equals", "s_touches", "s_crosses", "s_overlaps"]
shapes = geometries() | st.sampled_from(SHAPES[:6] + SHAPES[7:])
leaves = st.one_of(
    operation(["=", "<>", "<", "<=", ">", ">="], properties | scalars, properties | scalars),
    operation(["=", "<>", "<", ">="], numbers, numbers),
    operation(["=", "<>", "<", ">="], texts, texts),
    operation(["=", "<>", "<", "<=", ">", ">="], times, times),
    operation(["=", "<", ">="], st.sampled_from(["id", "collection"]).map(lambda name: {"property": name}), texts),
    operation(["between"], properties, numbers, numbers),
    operation(["in"], properties, st.lists(scalars, min_size=1, max_size=4)),
    operation(["like"], texts, st.sampled_from(["%", "_", "a%", "%b\\%", "\\", "é", "%\\_%", "A_", "[a]", "*"])),
    operation(["isNull"], properties),
    operation(
        [f"t_{name}" for name in [*TEMPORAL.split(), "startedBy", "starts"]], times | intervals, times | intervals
    ),
    operation(["a_contains", "a_containedBy", "a_equals", "a_overlaps"], lists, lists),
    operation(SPATIAL, st.just({"property": "geometry"}), shapes),
    operation(SPATIAL, shapes, st.just({"property": "geometry"})),
    st.booleans(),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        operation(["not"], inner),
        operation(["and", "or"], inner, inner),
        operation(["=", "<>"], inner, inner),
    ),
    max_leaves=5,
)


def answer(catalog: AnyCatalog, search: Search) -> Any:
    try:
        page = catalog.search(search)
    except InputError as error:
        return str(error)
    return [(item["collection"], item["id"]) for item in page], page.matched


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(filter=filters)
def test_a_filter_means_the_same(catalogs: list[AnyCatalog], filter: Any) -> None:
    for wanted in (filter, {"op": "not", "args": [filter]}):
        answers = [answer(catalog, Search(filter=wanted, limit=ITEMS)) for catalog in catalogs]
        assert answers[0] == answers[1]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(search=searches(), order=st.lists(st.sampled_from(NAMES), max_size=3), ways=st.tuples(*[st.booleans()] * 3))
def test_a_search_finds_the_same_in_the_same_order_page_by_page(
    catalogs: list[AnyCatalog], search: Search, order: list[str], ways: tuple[bool, ...]
) -> None:
    keys = [SortField(field=name, direction="desc" if way else "asc") for name, way in zip(order, ways, strict=False)]
    search = search.model_copy(update={"sortby": (*keys, *search.sortby)})
    whole = search.model_copy(update={"limit": ITEMS})
    assert answer(catalogs[0], whole) == answer(catalogs[1], whole)
    found = [[(item["collection"], item["id"]) for item in walk(catalog, search)] for catalog in catalogs]
    assert found[0] == found[1] == answer(catalogs[0], whole)[0]


# -- documents ---------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
values = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)
# pgSTAC's mark for what an item has not and its collection has.
MARK = "𒍟※"
fields = st.dictionaries(st.sampled_from(["title", "roles", "type", MARK]), values | st.just(MARK), max_size=4)
assets = st.dictionaries(
    st.sampled_from(["data", "thumbnail", MARK]),
    fields.map(lambda given: {"href": "https://example.org/a", **given}),
    max_size=3,
)
item_assets = st.dictionaries(st.sampled_from(["data", "thumbnail", MARK]), fields, max_size=3)


@pytest.fixture(scope="module")
def pgstac(
    new_pgstac_url: Callable[[], str], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PgstacCatalog:
    return pgstac_catalog(prepare("pgstac", tmp_path_factory.mktemp("documents"), request))


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=item_assets,
    between=item_assets,
    properties=st.dictionaries(words, values, max_size=4),
    assets=assets,
    geometry=geometries(),
    extra=values,
)
def test_a_document_comes_back_as_given_whatever_its_collection_says_of_assets(
    pgstac: PgstacCatalog,
    before: dict[str, Any],
    between: dict[str, Any],
    properties: dict[str, Any],
    assets: dict[str, Any],
    geometry: dict[str, Any],
    extra: Any,
) -> None:
    for name in ("datetime", "start_datetime", "end_datetime"):
        properties.pop(name, None)
    item = an_item(geometry=geometry, properties=properties, assets=assets, extra=extra)
    del item["bbox"]
    collection = a_collection(item_assets=before, extra=extra)
    pgstac.upsert_collection(collection)
    pgstac.upsert_items([item])
    assert exactly(pgstac.collection("demo")) == exactly(collection)
    for now in (between, {}, before):
        pgstac.upsert_collection(a_collection(item_assets=now))
        for read in (pgstac.item("demo", "one"), pgstac.search(Search()).items[0]):
            assert exactly({**read, "bbox": None}) == exactly({**item, "bbox": None})
        pgstac.upsert_items([item])


def exactly(document: Any) -> str:
    """Return the text of a document, in which 1 and 1.0 differ."""
    return json.dumps(document, sort_keys=True)
