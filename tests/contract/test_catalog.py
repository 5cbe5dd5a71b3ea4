"""What a catalogue promises, on every back end."""

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from geoetl.core.errors import Conflict, InputError, InvalidBBox, InvalidFilter, InvalidParameter, InvalidTime, NotFound
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import Catalog, Collection, Item, ItemPage, Search, SortField, walk
from tests.stac import BACK_ENDS, a_collection, an_item, prepare


@pytest.fixture(params=BACK_ENDS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Catalog:
    """Give a catalogue with the empty collection `demo`."""
    catalog = BACK_ENDS[request.param](prepare(request.param, tmp_path, request))
    catalog.upsert_collection(a_collection())
    return catalog


def ids(found: ItemPage) -> list[str]:
    return [item["id"] for item in found]


def found_ids(catalog: Catalog, **search: Any) -> set[str]:
    return set(ids(catalog.search(Search(**search))))


# -- documents -------------------------------------------------------------------------------------------------------


def test_an_item_comes_back_as_it_was_given(catalog: Catalog) -> None:
    item = an_item(properties={"title": 'Åse\'s "box"', "list": [1, 2.5, None], "deep": {"a": {"b": True}}})
    catalog.upsert_items([item])
    assert catalog.item("demo", "one") == item
    assert isinstance(catalog.item("demo", "one"), Item)
    assert list(catalog.search(Search())) == [item]


def test_a_collection_comes_back_as_it_was_given(catalog: Catalog) -> None:
    collection = a_collection("other", keywords=["a"], summaries={"x": [1]})
    catalog.upsert_collection(collection)
    assert catalog.collection("other") == collection
    assert isinstance(catalog.collection("other"), Collection)
    assert [c["id"] for c in catalog.collections()] == ["demo", "other"]


def test_what_is_given_is_not_changed(catalog: Catalog) -> None:
    item = an_item(assets={"data": {"href": "https://example.org/a.tif"}})
    del item["bbox"], item["links"]
    before = json.dumps(item)
    catalog.upsert_items([item])
    assert json.dumps(item) == before
    assert catalog.item("demo", "one")["bbox"] == [5.0, 50.0, 6.0, 51.0]
    assert catalog.item("demo", "one")["links"] == []


def test_items_and_collections_pass_through_pystac(catalog: Catalog) -> None:
    catalog.upsert_items([an_item()])
    assert catalog.item("demo", "one").to_pystac().to_dict(include_self_link=False)["id"] == "one"
    assert catalog.collection("demo").to_pystac().license == "CC0-1.0"


def test_an_upsert_replaces_the_whole_item_and_its_place_and_time(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(properties={"old": 1})])
    catalog.upsert_items([an_item(box=(20, 10, 21, 11), time="2021-01-01T00:00:00Z")])
    assert "old" not in catalog.item("demo", "one")["properties"]
    assert found_ids(catalog, bbox=BBox(5, 50, 6, 51)) == set()
    assert found_ids(catalog, bbox=BBox(20, 10, 21, 11)) == {"one"}
    assert found_ids(catalog, interval=Interval.parse("2020")) == set()
    assert catalog.search(Search()).matched == 1


def test_an_upserted_collection_keeps_its_items(catalog: Catalog) -> None:
    catalog.upsert_items([an_item()])
    catalog.upsert_collection(a_collection(title="New"))
    assert catalog.collection("demo")["title"] == "New"
    assert found_ids(catalog) == {"one"}


def test_of_an_id_given_twice_the_later_one_counts(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(properties={"n": 1}), an_item(properties={"n": 2})])
    assert catalog.item("demo", "one")["properties"]["n"] == 2
    assert catalog.search(Search()).matched == 1


def test_the_same_id_in_two_collections_is_two_items(catalog: Catalog) -> None:
    catalog.upsert_collection(a_collection("other"))
    catalog.upsert_items([an_item(), an_item(collection="other", properties={"n": 2})])
    assert catalog.search(Search(ids=("one",))).matched == 2
    assert catalog.item("other", "one")["properties"]["n"] == 2
    catalog.delete_item("other", "one")
    assert catalog.item("demo", "one")["id"] == "one"


def test_hrefs_in_a_zone_are_portable_inside_and_openable_outside(catalog: Catalog, tmp_path: Path) -> None:
    openable = str(tmp_path / "internal" / "demo" / "a.tif")
    for given in ("internal://demo/a.tif", openable, f"file://{openable}"):
        asset = {"href": given, "alternate": {"same": {"href": given}}}
        link = {"rel": "processing-execution", "href": given}
        catalog.upsert_items([an_item(assets={"data": asset}, links=[link])])
        for item in (catalog.item("demo", "one"), catalog.search(Search()).items[0]):
            assert item["assets"]["data"]["href"] == openable
            assert item["assets"]["data"]["alternate"]["same"]["href"] == openable
            assert item["links"][0]["href"] == openable
    catalog.upsert_collection(a_collection(assets={"thumbnail": {"href": "internal://demo/t.png"}}))
    assert catalog.collection("demo")["assets"]["thumbnail"]["href"] == str(tmp_path / "internal" / "demo" / "t.png")


def test_hrefs_elsewhere_stay_as_they_are(catalog: Catalog) -> None:
    assets = {"data": {"href": "https://example.org/a.tif"}, "other": {"href": "./b.tif"}}
    catalog.upsert_items([an_item(assets=assets)])
    assert catalog.item("demo", "one")["assets"] == assets


# -- adding and changing ---------------------------------------------------------------------------------------------


def test_what_is_added_must_be_new_and_all_or_nothing_is(catalog: Catalog) -> None:
    catalog.add_items([an_item("a"), an_item("b")])
    for items in ([an_item("c"), an_item("a")], [an_item("c"), an_item("c")]):
        with pytest.raises(Conflict, match="already"):
            catalog.add_items(items)
    assert found_ids(catalog) == {"a", "b"}
    catalog.add_collection(a_collection("other"))
    catalog.add_items([an_item("a", collection="other")])
    with pytest.raises(Conflict, match="'other' already"):
        catalog.add_collection(a_collection("other", title="Another"))
    assert catalog.collection("other")["title"] == "Collection other"


def test_a_change_is_made_of_what_is_there(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(properties={"n": 1})])

    def moved(present: Item) -> dict[str, Any]:
        n = present["properties"]["n"] + 1
        return an_item(box=(20, 10, 21, 11), properties={"n": n})

    assert catalog.change_item("demo", "one", moved)["properties"]["n"] == 2
    assert found_ids(catalog, bbox=BBox(20, 10, 21, 11)) == {"one"}
    assert found_ids(catalog, bbox=BBox(5, 50, 6, 51)) == set()
    changed = catalog.change_collection("demo", lambda present: {**present, "title": present["title"] + "!"})
    assert changed["title"] == catalog.collection("demo")["title"] == "Collection demo!"
    assert found_ids(catalog) == {"one"}


def test_a_change_keeps_ids_and_needs_something_to_change(catalog: Catalog) -> None:
    catalog.upsert_collection(a_collection("other"))
    catalog.upsert_items([an_item(properties={"n": 1})])
    for change in ({"id": "two"}, {"collection": "other"}):
        with pytest.raises(InvalidParameter, match="what is changed has"):
            catalog.change_item("demo", "one", lambda present, change=change: {**present, **change})  # type: ignore[misc]
    with pytest.raises(InvalidParameter, match="what is changed has"):
        catalog.change_collection("demo", lambda present: {**present, "id": "another"})
    with pytest.raises(NotFound):
        catalog.change_item("demo", "two", lambda present: present)
    with pytest.raises(NotFound):
        catalog.change_collection("nothing", lambda present: present)
    assert catalog.search(Search()).matched == 1


def test_changes_at_the_same_time_follow_each_other(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(properties={"n": 0})])

    def raised(present: Item) -> dict[str, Any]:
        return {**present, "properties": {**present["properties"], "n": present["properties"]["n"] + 1}}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: catalog.change_item("demo", "one", raised), range(40)))
    assert catalog.item("demo", "one")["properties"]["n"] == 40


# -- removing --------------------------------------------------------------------------------------------------------


def test_a_deleted_item_is_gone_from_everywhere(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(), an_item("two")])
    catalog.delete_item("demo", "one")
    with pytest.raises(NotFound):
        catalog.item("demo", "one")
    assert found_ids(catalog, bbox=BBox(5, 50, 6, 51)) == {"two"}
    with pytest.raises(NotFound):
        catalog.delete_item("demo", "one")


def test_a_collection_deleted_made_again_and_filled_is_visible_at_once(catalog: Catalog) -> None:
    crossing = an_item("crossing", box=(170, -10, -170, 10))
    for _ in range(3):
        catalog.upsert_items([an_item(), crossing])
        assert found_ids(catalog, bbox=BBox(175, 0, 176, 1)) == {"crossing"}
        catalog.delete_collection("demo")
        assert catalog.search(Search()).matched == 0
        assert catalog.search(Search(bbox=BBox(-180, -90, 180, 90))).matched == 0
        with pytest.raises(NotFound):
            catalog.collection("demo")
        catalog.upsert_collection(a_collection())
        assert catalog.search(Search(collections=("demo",))).matched == 0


def test_what_is_not_there_is_said_with_the_nearest_name(catalog: Catalog) -> None:
    catalog.upsert_items([an_item("landsat-1"), an_item("landsat-2")])
    with pytest.raises(NotFound, match="no item 'landsat-11'.*\n.*Did you mean 'landsat-1'"):
        catalog.item("demo", "landsat-11")
    for call in (catalog.collection, catalog.delete_collection, lambda name: catalog.item(name, "landsat-1")):
        with pytest.raises(NotFound, match="no collection 'demos'.*\n.*Did you mean 'demo'"):
            call("demos")
    with pytest.raises(NotFound, match="no collection 'demos'"):
        catalog.upsert_items([an_item(collection="demos")])
    with pytest.raises(NotFound):
        catalog.delete_item("demos", "landsat-1")
    for odd in ("", "\ud800", "a\0b", "'", "x" * 10_000):
        for call in (catalog.collection, catalog.delete_collection, lambda name: catalog.item("demo", name)):
            with pytest.raises(NotFound):
                call(odd)


# -- what may not come in --------------------------------------------------------------------------------------------

NOON = {"datetime": "2020-01-01T12:00:00Z"}
BAD_ITEMS: dict[str, tuple[dict[str, Any], type[InputError], str]] = {
    "no feature": ({"type": "Item"}, InvalidParameter, "type 'Item', not 'Feature'"),
    "no version": ({"stac_version": None}, InvalidParameter, "stac_version"),
    "old version": ({"stac_version": "0.9.0"}, InvalidParameter, "0.9.0"),
    "no id": ({"id": None}, InvalidParameter, "no id"),
    "number as id": ({"id": 5}, InvalidParameter, "no id"),
    "path as id": ({"id": "../../etc/passwd"}, InvalidParameter, "not a valid item id"),
    "empty id": ({"id": ""}, InvalidParameter, "not a valid item id"),
    "no collection": ({"collection": None}, InvalidParameter, "names no collection"),
    "no geometry": ({"geometry": None}, InvalidParameter, "no geometry"),
    "unknown geometry": ({"geometry": {"type": "Circle", "coordinates": [0, 0]}}, InvalidBBox, "'Circle'"),
    "empty geometry": ({"geometry": {"type": "Point", "coordinates": []}}, InvalidBBox, "empty"),
    "open ring": ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}}, InvalidBBox, "Polygon"),
    "latitude": ({"geometry": {"type": "Point", "coordinates": [50, 100]}, "bbox": None}, InvalidBBox, "latitude 100"),
    "elsewhere": ({"geometry": {"type": "Point", "coordinates": [50, 5]}}, InvalidBBox, "outside the bbox"),
    "bbox of three": ({"bbox": [1, 2, 3]}, InvalidBBox, "4 or 6"),
    "bbox not finite": ({"bbox": [1, 2, float("inf"), 4]}, InvalidBBox, "finite"),
    "bbox of texts": ({"bbox": ["1", "2", "3", "4"]}, InvalidBBox, "4 or 6"),
    "bbox swapped": ({"bbox": [5, 51, 6, 50]}, InvalidBBox, "south"),
    "bbox beyond": ({"bbox": [50, -95, 51, 95]}, InvalidBBox, "Latitude"),
    "no properties": ({"properties": None}, InvalidParameter, "no properties"),
    "no time": ({"properties": {"datetime": None}}, InvalidParameter, "no time"),
    "half a time": ({"properties": {"start_datetime": "2020-01-01T00:00:00Z"}}, InvalidParameter, "no time"),
    "no zone": ({"properties": {"datetime": "2020-01-01T00:00:00"}}, InvalidTime, "RFC 3339"),
    "30 February": ({"properties": {"datetime": "2020-02-30T00:00:00Z"}}, InvalidTime, "RFC 3339"),
    "reversed time": (
        {"properties": {"start_datetime": "2021-01-01T00:00:00Z", "end_datetime": "2020-01-01T00:00:00Z"}},
        InvalidTime,
        "before it starts",
    ),
    "asset without href": ({"assets": {"data": {}}}, InvalidParameter, "/assets/data"),
    "links no list": ({"links": {}}, InvalidParameter, "links"),
    "not a number": ({"properties": {**NOON, "a/b": [0, float("nan")]}}, InvalidParameter, "nan at /properties/a~1b/1"),
    "no JSON": ({"properties": {**NOON, "x": {1, 2}}}, InvalidParameter, "a set at /properties/x"),
    "surrogate": ({"properties": {**NOON, "x": "\ud800"}}, InvalidParameter, "surrogate"),
    "NUL": ({"properties": {**NOON, "x": "a\0b"}}, InvalidParameter, "NUL"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ITEMS)
def test_a_bad_item_is_refused_with_its_reason_and_nothing_is_kept(catalog: Catalog, name: str) -> None:
    change, error, words = BAD_ITEMS[name]
    version = catalog.version()
    with pytest.raises(error) as caught:
        catalog.upsert_items([an_item("good"), {**an_item(), **change}])
    assert words in caught.value.detail
    assert caught.value.hint
    assert catalog.search(Search()).matched == 0
    assert catalog.version() == version


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "Catalog"}, "not 'Collection'"),
        ({"id": "a b"}, "not a valid collection id"),
        ({"description": ""}, "no description"),
        ({"license": None}, "no license"),
        ({"extent": {}}, "no extent"),
        ({"summaries": {"x": float("inf")}}, "inf at /summaries/x"),
    ],
)
def test_a_bad_collection_is_refused_with_its_reason(catalog: Catalog, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        catalog.upsert_collection({**a_collection(), **change})
    assert words in caught.value.detail


def test_a_deeply_nested_item_is_refused(catalog: Catalog) -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(InvalidParameter, match="levels"):
        catalog.upsert_items([an_item(properties={"deep": deep})])


def test_a_text_that_only_looks_like_nul_is_no_fault(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(properties={"x": "\\u0000"})])
    assert catalog.item("demo", "one")["properties"]["x"] == "\\u0000"


# -- the version -----------------------------------------------------------------------------------------------------


def test_every_change_raises_the_version_and_reading_does_not(catalog: Catalog) -> None:
    seen = [catalog.version()]
    changes: list[Callable[[], None]] = [
        lambda: catalog.upsert_collection(a_collection("other")),
        lambda: catalog.upsert_items([an_item()]),
        lambda: catalog.upsert_items([an_item()]),
        lambda: catalog.delete_item("demo", "one"),
        lambda: catalog.delete_collection("demo"),
    ]
    for change in changes:
        change()
        seen.append(catalog.version())
    assert seen == sorted(set(seen))
    catalog.search(Search())
    catalog.collections()
    assert catalog.version() == seen[-1]


# -- place -----------------------------------------------------------------------------------------------------------


def test_a_box_finds_what_touches_it_and_no_more(catalog: Catalog) -> None:
    catalog.upsert_items(
        [an_item("inside"), an_item("beside", box=(7, 50, 8, 51)), an_item("edge", box=(6, 51, 7, 52))]
    )
    assert found_ids(catalog, bbox=BBox(5.5, 50.5, 5.6, 50.6)) == {"inside"}
    assert found_ids(catalog, bbox=BBox(6, 51, 6, 51)) == {"inside", "edge"}
    assert found_ids(catalog, bbox=BBox(6.1, 50, 6.9, 50.9)) == set()


def test_bounds_are_exact_beyond_what_an_index_of_32_bits_can_tell(catalog: Catalog) -> None:
    east = 123.456789
    catalog.upsert_items([an_item(box=(123, 10, east, 11))])
    assert found_ids(catalog, bbox=BBox(east, 10, 124, 11)) == {"one"}
    assert found_ids(catalog, bbox=BBox(east + 1e-9, 10, 124, 11)) == set()


def test_the_shape_decides_not_its_box(catalog: Catalog) -> None:
    triangle = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [0, 10], [0, 0]]]}
    catalog.upsert_items([an_item(box=(0, 0, 10, 10), geometry=triangle)])
    corner = {"type": "Polygon", "coordinates": [[[9, 9], [10, 9], [10, 10], [9, 10], [9, 9]]]}
    assert found_ids(catalog, bbox=BBox(9, 9, 10, 10)) == set()
    assert found_ids(catalog, intersects=corner) == set()
    assert found_ids(catalog, bbox=BBox(4, 4, 10, 10)) == {"one"}
    assert found_ids(catalog, intersects={"type": "Point", "coordinates": [5, 5]}) == {"one"}


@pytest.mark.parametrize(
    "geometry",
    [
        BBox(170, -10, -170, 10).geometry(),
        {"type": "Polygon", "coordinates": [[[170, -10], [-170, -10], [-170, 10], [170, 10], [170, -10]]]},
        {"type": "Polygon", "coordinates": [[[170, -10], [190, -10], [190, 10], [170, 10], [170, -10]]]},
    ],
    ids=["cut", "the long way round", "beyond 180"],
)
def test_an_item_across_the_antimeridian_is_found_on_both_sides_and_nowhere_else(
    catalog: Catalog, geometry: dict[str, Any]
) -> None:
    catalog.upsert_items([an_item(box=(170, -10, -170, 10), geometry=geometry), an_item("zero", box=(-1, -1, 1, 1))])
    assert found_ids(catalog, bbox=BBox(179, 0, 180, 1)) == {"one"}
    assert found_ids(catalog, bbox=BBox(-180, 0, -179, 1)) == {"one"}
    assert found_ids(catalog, bbox=BBox(165, 0, 172, 1)) == {"one"}
    assert found_ids(catalog, bbox=BBox(175, 0, -175, 1)) == {"one"}
    assert found_ids(catalog, bbox=BBox(-165, -5, 165, 5)) == {"zero"}
    assert catalog.search(Search(bbox=BBox(-180, -90, 180, 90))).matched == 2


def test_a_box_across_the_antimeridian_finds_each_item_once(catalog: Catalog) -> None:
    boxes = {"west": (178, 0, 179, 1), "east": (-179, 0, -178, 1), "across": (179, 0, -179, 1), "zero": (0, 0, 1, 1)}
    catalog.upsert_items([an_item(name, box=box) for name, box in boxes.items()])
    page = catalog.search(Search(bbox=BBox(177, -1, -177, 2)))
    assert sorted(ids(page)) == ["across", "east", "west"]
    assert page.matched == 3


def test_a_bbox_that_is_missing_is_that_of_the_geometry_with_west_beyond_east_across_the_antimeridian(
    catalog: Catalog,
) -> None:
    across = an_item("across", geometry=BBox(175, -5, -175, 5).geometry())
    del across["bbox"]
    catalog.upsert_items([across])
    assert catalog.item("demo", "across")["bbox"] == [175, -5, -175, 5]


def test_points_and_lines_are_found(catalog: Catalog) -> None:
    point = an_item("point", box=(1, 1, 1, 1), geometry={"type": "Point", "coordinates": [1, 1]})
    line = an_item("line", box=(0, 0, 2, 2), geometry={"type": "LineString", "coordinates": [[0, 0, 9], [2, 2, 9]]})
    catalog.upsert_items([point, line])
    assert found_ids(catalog, bbox=BBox(1, 1, 1, 1)) == {"point", "line"}
    assert found_ids(catalog, bbox=BBox(0, 1, 0.5, 2)) == set()


def test_box_and_geometry_both_hold_even_where_they_are_apart(catalog: Catalog) -> None:
    catalog.upsert_items([an_item("wide", box=(0, 0, 40, 10)), an_item("left", box=(0, 0, 10, 10))])
    wanted = Search(bbox=BBox(0, 0, 5, 5), intersects={"type": "Point", "coordinates": [35, 5]})
    assert ids(catalog.search(wanted)) == ["wide"]


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        ({"type": "Point"}, "cannot be read"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "Self-intersection"),
        ({"type": "Point", "coordinates": [0, 91]}, "latitude 91"),
        ({"type": "Feature"}, "'Feature' is not the type"),
        ({"type": "Point", "coordinates": [float("nan"), 0]}, "cannot be read"),
    ],
)
def test_a_geometry_that_cannot_be_searched_with_says_why(
    catalog: Catalog, geometry: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidParameter, match=words) as caught:
        catalog.search(Search(intersects=geometry))
    assert caught.value.field == "intersects"


# -- time ------------------------------------------------------------------------------------------------------------


def test_an_interval_finds_what_touches_it(catalog: Catalog) -> None:
    period = {"start_datetime": "1850-01-01T00:00:00Z", "end_datetime": "2014-12-31T00:00:00Z"}
    catalog.upsert_items(
        [
            an_item("instant", time="2014-06-01T12:00:00+02:00"),
            an_item("period", time=None, properties=period),
            an_item("late", time="2020-01-01T00:00:00.000001Z"),
        ]
    )
    assert found_ids(catalog, interval=Interval.parse("2014-06-01T10:00:00Z")) == {"instant", "period"}
    assert found_ids(catalog, interval=Interval.parse("../1900-01-01")) == {"period"}
    assert found_ids(catalog, interval=Interval.parse("2015-01-01/..")) == {"late"}
    assert found_ids(catalog, interval=Interval.parse("2020-01-01T00:00:00Z")) == set()
    assert found_ids(catalog, interval=Interval(None, None)) == {"instant", "period", "late"}


def test_the_years_1_and_9999_are_found(catalog: Catalog) -> None:
    catalog.upsert_items([an_item("first", time="0001-01-01T00:00:00Z"), an_item("last", time="9999-12-31T23:59:59Z")])
    assert found_ids(catalog, interval=Interval.parse("../0001-01-02")) == {"first"}
    assert found_ids(catalog, interval=Interval.parse("9999-12-31/..")) == {"last"}


# -- ids, collections, order, pages ----------------------------------------------------------------------------------


def test_ids_and_collections_narrow_the_search(catalog: Catalog) -> None:
    catalog.upsert_collection(a_collection("other"))
    catalog.upsert_items([an_item("a"), an_item("b"), an_item("c", collection="other")])
    assert found_ids(catalog, ids=("a", "c", "x")) == {"a", "c"}
    assert found_ids(catalog, collections=("other", "unknown")) == {"c"}
    assert found_ids(catalog, ids=("a", "c"), collections=("demo",)) == {"a"}
    assert found_ids(catalog, ids=("a", "b"), bbox=BBox(0, 0, 1, 1)) == set()


def test_without_an_order_the_newest_comes_first(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(f"i{n}", time=f"20{n:02}-01-01T00:00:00Z") for n in (11, 15, 13)])
    assert ids(catalog.search(Search())) == ["i15", "i13", "i11"]


def test_an_order_heeds_kinds_and_puts_what_lacks_the_key_last(catalog: Catalog) -> None:
    values = {"a": 10, "b": 9.5, "c": None, "d": 100}
    items = [an_item(name, properties={"proj:n": value}) for name, value in values.items()]
    catalog.upsert_items([*items, an_item("e")])
    up, down = (SortField(field="properties.proj:n", direction=way) for way in ("asc", "desc"))
    name = SortField(field="id")
    assert ids(catalog.search(Search(sortby=(up, name)))) == ["b", "a", "d", "c", "e"]
    assert ids(catalog.search(Search(sortby=(down, name)))) == ["d", "a", "b", "c", "e"]
    assert ids(catalog.search(Search(sortby=(SortField.parse("-id"),)))) == ["e", "d", "c", "b", "a"]


def test_a_place_gives_no_order(catalog: Catalog) -> None:
    with pytest.raises(InvalidParameter, match="Cannot sort by 'geometry'"):
        catalog.search(Search(sortby=(SortField(field="geometry"),)))


ORDERS = ["", "datetime", "-datetime,id", "id", "-collection,id", "n", "-n", "n,-datetime", "-text,n", "-n,-id"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bbox", [None, BBox(0, 0, 20, 20)])
def test_pages_joined_are_the_whole_whatever_the_order(catalog: Catalog, order: str, bbox: BBox | None) -> None:
    catalog.upsert_collection(a_collection("other"))
    items = [
        an_item(
            f"i{n:02}",
            collection=("demo", "other")[n % 2],
            box=(n, n, n + 1, n + 1),
            time=f"2020-01-0{1 + n % 4}T00:00:00Z",
            properties={"n": (None, n % 3, float(n % 5), "text", True)[n % 5], "text": "xyz"[n % 3]},
        )
        for n in range(23)
    ]
    catalog.upsert_items(items)
    sortby = tuple(map(SortField.parse, order.split(","))) if order else ()
    whole = catalog.search(Search(sortby=sortby, bbox=bbox))
    for size in (1, 4, 22, 23):
        paged = list(walk(catalog, Search(sortby=sortby, bbox=bbox, limit=size)))
        assert [item["id"] for item in paged] == ids(whole)


def test_pages_neither_repeat_nor_skip_when_items_come_and_go_in_between(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(f"i{n}", time=f"2020-01-{n:02}T00:00:00Z") for n in range(10, 20)])
    first = catalog.search(Search(limit=4))
    catalog.upsert_items([an_item("newer", time="2021-01-01T00:00:00Z"), an_item("older", time="2019-01-01T00:00:00Z")])
    catalog.delete_item("demo", "i16")
    catalog.delete_item("demo", "i14")
    second = catalog.search(Search(limit=4, token=first.next_token))
    third = catalog.search(Search(limit=4, token=second.next_token))
    assert ids(first) == ["i19", "i18", "i17", "i16"]
    assert ids(second) == ["i15", "i13", "i12", "i11"]
    assert ids(third) == ["i10", "older"]
    assert third.next_token is None


def test_the_count_is_exact_and_is_that_of_the_first_page(catalog: Catalog) -> None:
    catalog.upsert_items([an_item(f"i{n}") for n in range(25)])
    page = catalog.search(Search(limit=10))
    assert page.matched == 25
    assert catalog.search(Search(limit=10, token=page.next_token)).matched == 25
    assert catalog.search(Search(limit=10, count=False)).matched is None
    assert catalog.search(Search(limit=25)).next_token is None
    assert catalog.search(Search(bbox=BBox(0, 0, 1, 1))).matched == 0


@pytest.mark.parametrize("change", ["", "x", "last", "first", "other search"])
def test_a_token_that_was_changed_or_is_of_another_search_is_refused(catalog: Catalog, change: str) -> None:
    catalog.upsert_items([an_item(f"i{n}") for n in range(3)])
    token = catalog.search(Search(limit=1)).next_token
    assert token is not None
    flipped = {"last": token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:], "first": "A" + token[1:]}
    search = Search(token=flipped.get(change, change or "é"))
    if change == "first" and token.startswith("A"):
        search = Search(token="B" + token[1:])
    if change == "other search":
        search = Search(token=token, collections=("demo",))
    with pytest.raises(InvalidParameter, match="token") as caught:
        catalog.search(search)
    assert caught.value.field == "token"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0),
        ("limit", 10_001),
        ("limit", "many"),
        ("sortby", "n," * 9 + "n"),
        ("ids", 5),
        ("ids", ["\ud800"]),
        ("unknown", 1),
    ],
)
def test_a_search_with_a_wrong_part_names_it(field: str, value: Any) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Search(**{field: value})
    assert str(caught.value.field).split(".")[0] == field


def test_a_search_reads_the_texts_of_the_http_interface() -> None:
    search = Search.model_validate({"bbox": "170,-10,-170,10", "interval": "2020/..", "sortby": "-datetime,id"})
    assert search.bbox == BBox(170, -10, -170, 10)
    assert search.interval == Interval.parse("2020/..")
    assert search.sortby == (SortField(field="datetime", direction="desc"), SortField(field="id"))
    assert Search.model_validate({"bbox": [1, 2, 0, 3, 4, 9]}).bbox == BBox(1, 2, 3, 4)


# -- filters (the operators one by one: tests/store/test_cql2.py) ----------------------------------------------------


def test_a_filter_as_text_or_as_json_joins_the_rest_of_the_search(catalog: Catalog) -> None:
    catalog.upsert_items(
        [an_item(f"i{n}", box=(n, n, n + 1, n + 1), properties={"eo:cloud_cover": n}) for n in range(9)]
    )
    tree = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 4]}
    for filter in (tree, json.dumps(tree), "eo:cloud_cover < 4", "properties.eo:cloud_cover < 4"):
        assert found_ids(catalog, filter=filter) == {"i0", "i1", "i2", "i3"}
        assert found_ids(catalog, filter=filter, bbox=BBox(3, 3, 9, 9)) == {"i2", "i3"}
    with pytest.raises(InvalidFilter):
        catalog.search(Search(filter="eo:cloud_cover <"))


# -- two writers -----------------------------------------------------------------------------------------------------


def _write_items(folder: Path, back_end: str, prefix: str, ready: Any) -> None:
    catalog = BACK_ENDS[back_end](folder)
    ready.wait()
    for n in range(20):
        catalog.upsert_items([an_item(f"{prefix}{n}-{m}") for m in range(10)])


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_two_processes_that_write_at_once_both_succeed_and_nothing_is_lost(
    back_end: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    catalog = BACK_ENDS[back_end](prepare(back_end, tmp_path, request))
    catalog.upsert_collection(a_collection())
    version = catalog.version()
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(2)
    writers = [spawn.Process(target=_write_items, args=(tmp_path, back_end, name, ready)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert catalog.search(Search()).matched == 400
    assert catalog.version() == version + 40
