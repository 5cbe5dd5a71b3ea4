"""What is exported and loaded into an empty catalogue is the same catalogue, on every back end."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stac_geoparquet.arrow import parse_stac_items_to_arrow, stac_table_to_items, to_parquet

from geoetl.core.errors import Conflict, FormatNotAllowed, InputError, LimitExceeded, NotFound, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.store.catalog import Catalog, Search, bulk, export_static, geoparquet, incoming, walk
from geoetl.store.catalog.bulk import Progress, load
from geoetl.store.catalog.geoparquet import export_geoparquet
from geoetl.store.gate import Gate
from tests.stac import BACK_ENDS, a_collection, an_item, prepare, sqlite_catalog


def new_catalog(request: pytest.FixtureRequest, folder: Path) -> Catalog:
    folder.mkdir()
    return BACK_ENDS[request.param](prepare(request.param, folder, request))


@pytest.fixture(params=BACK_ENDS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Give a catalogue to export."""
    return new_catalog(request, tmp_path / "full")


@pytest.fixture(params=BACK_ENDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Give a catalogue to load into."""
    return new_catalog(request, tmp_path / "empty")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate((tmp_path,), LimitSettings())


ODD_ITEMS = {
    "plain": an_item("plain", properties={"n": 1, "x": 2.5, "t": "a", "yes": True}),
    "null": an_item("null", properties={"n": None, "deep": {"a": None, "b": {}}}),
    "text for a number": an_item("mixed", properties={"n": "one", "x": [1, "two", None, {"a": 1}]}),
    "whole decimals": an_item("whole", properties={"x": 2.0, "big": 2**63}),
    "integers as coordinates": an_item("integers", geometry={"type": "Point", "coordinates": [5, 50]}),
    "heights": an_item(
        "heights", geometry={"type": "Point", "coordinates": [5.0, 50.0, 7.5]}, bbox=[5.0, 50.0, 7.5, 5.0, 50.0, 7.5]
    ),
    "a period": an_item(
        "period",
        time=None,
        properties={"start_datetime": "2020-01-01T00:00:00.25Z", "end_datetime": "2020-01-02T00:00:00Z"},
    ),
    "another zone": an_item("zone", time="2020-06-01T02:00:00+02:00", properties={"created": "lately"}),
    "small letters": an_item("letters", time="2020-06-01t00:00:00z"),
    "the year one": an_item("first", time="0001-01-01T00:00:00Z"),
    "across": an_item("across", box=(170.0, -10.0, -170.0, 10.0)),
    "a collection of geometries": an_item(
        "geometries",
        geometry={"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [5.5, 50.5]}]},
    ),
    "names that are taken": an_item("taken", properties={"id": "x", "geometry": 5, "geoetl:item": "y", "links": [1]}),
    "projected": an_item(
        "projected",
        properties={"proj:geometry": {"type": "Point", "coordinates": [500000.0, 1.0]}},
        assets={"data": {"href": "https://example.org/a.tif", "proj:geometry": None}},
    ),
    "assets": an_item(
        "assets",
        assets={"data": {"href": "internal://demo/a.tif", "roles": ["data"], "empty": {}, "raster:bands": [{"a": 1}]}},
        links=[{"rel": "license", "href": "https://example.org/l", "n": None}],
        stac_extensions=["https://example.org/schema.json"],
        more={"of": ["this"]},
    ),
    "no ASCII": an_item("letters2", properties={"title": 'Åse\'s "böx" \U0001f30d\u2028'}),
}


def fill(catalog: Catalog) -> None:
    catalog.upsert_collection(a_collection("demo", title="Démo", summaries={"n": [1, None]}, extra={"a": {}}))
    catalog.upsert_collection(a_collection("empty"))
    catalog.upsert_collection(a_collection("other", links=[{"rel": "license", "href": "https://example.org/l"}]))
    catalog.upsert_items(ODD_ITEMS.values())
    catalog.upsert_items([an_item(f"i{n:02}", collection="other", properties={"n": n / 4}) for n in range(30)])


def contents(catalog: Catalog) -> tuple[list[Any], list[Any]]:
    items = sorted(walk(catalog, Search(limit=7)), key=lambda item: (item["collection"], item["id"]))
    return catalog.collections(), items


def same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def load_into(catalog: Any, gate: Gate, source: Path, **options: Any) -> bulk.Loaded:
    return load(catalog, catalog.zones, gate, str(source), **options)


# -- round trips -----------------------------------------------------------------------------------------------------


def test_a_static_catalogue_brings_everything_back(catalog: Any, empty: Any, gate: Gate, tmp_path: Path) -> None:
    fill(catalog)
    written = export_static(catalog, tmp_path / "stac")
    loaded = load_into(empty, gate, written)
    assert (loaded.collections, loaded.items, loaded.bad) == (("demo", "empty", "other"), len(ODD_ITEMS) + 30, 0)
    assert same(contents(empty), contents(catalog))
    assert load_into(empty, gate, tmp_path / "stac").items == loaded.items
    assert empty.search(Search()).matched == loaded.items


def test_a_geoparquet_file_brings_everything_back(catalog: Any, empty: Any, gate: Gate, tmp_path: Path) -> None:
    fill(catalog)
    exported = export_geoparquet(catalog, tmp_path / "items.parquet")
    assert exported.items == len(ODD_ITEMS) + 30
    assert 0 < exported.originals < len(ODD_ITEMS)
    loaded = load_into(empty, gate, exported.path)
    assert (loaded.collections, loaded.items, loaded.bad) == (("demo", "empty", "other"), exported.items, 0)
    assert same(contents(empty), contents(catalog))


# -- what is loaded --------------------------------------------------------------------------------------------------


def lines(path: Path, *documents: Any) -> Path:
    path.write_text("".join(d if isinstance(d, str) else json.dumps(d) + "\n" for d in documents))
    return path


def test_lines_are_items_and_those_without_a_collection_go_where_it_is_said(
    empty: Any, gate: Gate, tmp_path: Path
) -> None:
    homeless = an_item("two")
    del homeless["collection"]
    source = lines(tmp_path / "items.ndjson", an_item("one", collection="new"), "\n", homeless)
    loaded = load_into(empty, gate, source, collection="new")
    assert (loaded.collections, loaded.items, loaded.findings) == (("new",), 2, ())
    assert {item["id"] for item in empty.search(Search(collections=("new",)))} == {"one", "two"}
    assert load_into(empty, gate, source, collection="new").collections == ()


def test_a_load_again_puts_the_same_in_place_and_the_later_one_counts(empty: Any, gate: Gate, tmp_path: Path) -> None:
    empty.upsert_collection(a_collection())
    source = lines(tmp_path / "a.ndjson", an_item(properties={"n": 1}), an_item(properties={"n": 2}), an_item("two"))
    for _ in range(2):
        load_into(empty, gate, source)
        assert empty.search(Search()).matched == 2
        assert empty.item("demo", "one")["properties"]["n"] == 2


BAD = (
    '{"type": "Feature", \n',
    {"type": "Feature", "stac_version": "1.1.0", "id": "x", "collection": "demo"},
    an_item("elsewhere", collection="nowhere"),
    "5\n",
    an_item("big", properties={"n": 2**70}),
    an_item("late", time="tomorrow"),
)


def test_one_bad_item_refuses_all_and_every_bad_one_is_named_with_its_line(
    empty: Any, gate: Gate, tmp_path: Path
) -> None:
    empty.upsert_collection(a_collection())
    version = empty.version()
    source = lines(tmp_path / "items.ndjson", an_item("good"), *BAD, an_item("good2"))
    loaded = load_into(empty, gate, source)
    assert loaded.refused
    assert loaded.bad == len(BAD)
    assert {f.subject for f in loaded.findings} == {f"items.ndjson, line {n}" for n in range(2, 2 + len(BAD))}
    assert (empty.search(Search()).matched, empty.version()) == (0, version)


def test_bad_items_can_be_left_out(empty: Any, gate: Gate, tmp_path: Path) -> None:
    empty.upsert_collection(a_collection())
    source = lines(tmp_path / "items.ndjson", an_item("good"), *BAD, an_item("good2"))
    loaded = load_into(empty, gate, source, skip_bad=True)
    assert (loaded.items, loaded.bad, loaded.refused) == (2, len(BAD), False)
    assert {item["id"] for item in empty.search(Search())} == {"good", "good2"}
    words = " ".join(finding.message for finding in loaded.findings)
    for expected in ("not JSON", "no geometry", "'nowhere' is not in", "not a JSON object", "64 bits", "RFC 3339"):
        assert expected in words


def test_an_item_collection_and_a_single_item_are_loaded(empty: Any, gate: Gate, tmp_path: Path) -> None:
    empty.upsert_collection(a_collection())
    many = tmp_path / "many.json"
    many.write_text(json.dumps({"type": "FeatureCollection", "features": [an_item("a"), an_item("b")]}))
    one = tmp_path / "one.json"
    one.write_text(json.dumps(an_item("c")))
    assert [load_into(empty, gate, path).items for path in (many, one)] == [2, 1]
    assert empty.search(Search()).matched == 3


def test_units_of_work_and_processes_give_the_same(
    empty: Any, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "UNIT", 40)
    monkeypatch.setattr(incoming, "BATCH", 20)
    monkeypatch.setattr(bulk, "ALONE", 2)
    empty.upsert_collection(a_collection())
    source = lines(tmp_path / "items.ndjson", *[an_item(f"i{n:03}", properties={"n": n}) for n in range(150)], *BAD)
    version = empty.version()
    alone = load_into(empty, gate, source, skip_bad=True)
    assert empty.version() == version + 4
    first = contents(empty)
    empty.delete_collection("demo")
    empty.upsert_collection(a_collection())
    shared = load_into(empty, gate, source, skip_bad=True, processes=2)
    assert (shared, contents(empty)) == (alone, first)


def test_progress_is_told_for_each_step(empty: Any, gate: Gate, tmp_path: Path) -> None:
    told: list[Progress] = []
    source = lines(tmp_path / "items.ndjson", *[an_item(f"i{n}") for n in range(3)])
    load_into(empty, gate, source, collection="demo", progress=told.append)
    assert told == [Progress("check", 3, None), Progress("write", 3, 3)]


# -- static catalogues from elsewhere --------------------------------------------------------------------------------


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def link(rel: str, href: Any) -> dict[str, Any]:
    return {"rel": rel, "href": href}


def test_relative_addresses_are_those_of_the_folder_and_parents_give_the_collection(
    empty: Any, gate: Gate, tmp_path: Path
) -> None:
    home = tmp_path / "there"
    root = {"type": "Catalog", "stac_version": "1.1.0", "id": "root", "description": "x"}
    write(home / "catalog.json", {**root, "links": [link("child", "./sub/catalog.json"), link("self", "https://a.b")]})
    write(
        home / "sub/catalog.json",
        {**root, "links": [link("child", "c/collection.json"), link("child", "../catalog.json")]},
    )
    collection = a_collection(
        "c", links=[link("item", "./i%20tem.json"), link("license", "./LICENSE"), link("item", "./i%20tem.json")]
    )
    write(home / "sub/c/collection.json", collection)
    item = an_item("i", assets={"data": {"href": "./a.tif"}, "far": {"href": "https://example.org/b.tif"}})
    del item["collection"]
    write(home / "sub/c/i tem.json", {**item, "links": [link("collection", "./collection.json")]})
    loaded = load_into(empty, gate, home)
    assert (loaded.collections, loaded.items, loaded.findings) == (("c",), 1, ())
    found = empty.item("c", "i")
    assert found["assets"]["data"]["href"] == str(home / "sub/c/a.tif")
    assert found["assets"]["far"]["href"] == "https://example.org/b.tif"
    assert found["links"] == []
    assert empty.collection("c")["links"] == [link("license", str(home / "sub/c/LICENSE"))]


@pytest.mark.parametrize(
    "href",
    ["https://example.org/i.json", "s3://bucket/i.json", "../../secret.json", "/etc/passwd", "./none.json", ".", 5],
)
def test_a_link_that_leads_elsewhere_is_not_followed(empty: Any, tmp_path: Path, href: Any) -> None:
    home = tmp_path / "allowed"
    write(tmp_path / "secret.json", an_item("secret"))
    write(home / "collection.json", a_collection(links=[link("item", href), link("item", "./good.json")]))
    write(home / "good.json", an_item("good"))
    (home / "way-out.json").symlink_to(tmp_path / "secret.json")
    gate = Gate((home,), LimitSettings())
    assert load_into(empty, gate, home).refused
    loaded = load_into(empty, gate, home, skip_bad=True)
    assert (loaded.items, loaded.bad) == (1, 1)
    assert "collection.json" in loaded.findings[0].message
    write(home / "collection.json", a_collection(links=[link("item", "./way-out.json")]))
    assert load_into(empty, gate, home, skip_bad=True).items == 0


# -- what cannot be loaded or exported -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.txt", b"x", FormatNotAllowed),
        ("a.json", b"{", UnreadableFile),
        ("a.json", b"[]", UnreadableFile),
        ("a.json", b'{"type": "Topology"}', FormatNotAllowed),
        ("a.json", b'{"type": "FeatureCollection", "features": 5}', FormatNotAllowed),
        ("a.json", b"[" * 100_000, UnreadableFile),
        ("a.parquet", b"PAR1 and no more", UnreadableFile),
        ("a.parquet", b"{}", InputError),
        ("none.ndjson", None, NotFound),
    ],
)
def test_what_is_no_source_says_why(
    gate: Gate, tmp_path: Path, name: str, content: bytes | None, error: type[Exception]
) -> None:
    catalog = sqlite_catalog(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error) as caught:
        load_into(catalog, gate, tmp_path / name)
    assert str(tmp_path) not in str(caught.value)


def test_a_line_without_end_does_not_fill_the_memory(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "MAX_DOCUMENT_BYTES", 1000)
    (tmp_path / "a.ndjson").write_bytes(b"x" * 5000)
    with pytest.raises(LimitExceeded, match=r"Line 1 of 'a\.ndjson'"):
        load_into(sqlite_catalog(tmp_path), gate, tmp_path / "a.ndjson")


def test_parquet_that_is_no_catalogue_of_items_is_refused(gate: Gate, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadableFile, match="no column bbox, geometry, id"):
        load_into(sqlite_catalog(tmp_path), gate, tmp_path / "a.parquet")


def test_others_read_the_geoparquet_and_its_collections(gate: Gate, tmp_path: Path) -> None:
    catalog = sqlite_catalog(tmp_path)
    catalog.upsert_collection(a_collection())
    catalog.upsert_items([an_item(f"i{n}", properties={"n": n}) for n in range(3)])
    exported = export_geoparquet(catalog, tmp_path / "items.parquet")
    assert exported.originals == 0
    table = pq.read_table(exported.path)
    assert json.loads(table.schema.metadata[b"stac-geoparquet"])["collections"] == {"demo": a_collection()}
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"
    assert [item["id"] for item in stac_table_to_items(table.drop_columns(["geoetl:item"]))] == ["i0", "i1", "i2"]


def test_geoparquet_of_others_is_loaded(gate: Gate, tmp_path: Path) -> None:
    catalog = sqlite_catalog(tmp_path)
    point = {"type": "Point", "coordinates": [1.0, 2.0]}
    items = [an_item("a", properties={"proj:geometry": point}), an_item("b", properties={"proj:geometry": point})]
    table = parse_stac_items_to_arrow(items).read_all()
    to_parquet(table, tmp_path / "a.parquet", collections={"demo": a_collection()})
    assert load_into(catalog, gate, tmp_path / "a.parquet").items == 2
    assert catalog.item("demo", "a") == items[0]


def test_an_export_replaces_the_file_before_and_a_failed_one_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "database").mkdir()
    catalog = sqlite_catalog(tmp_path / "database")
    target = tmp_path / "out" / "items.parquet"
    with pytest.raises(Conflict, match="no items"):
        export_geoparquet(catalog, target)
    catalog.upsert_collection(a_collection())
    catalog.upsert_items([an_item()])
    export_geoparquet(catalog, target)
    first = target.read_bytes()
    catalog.upsert_items([an_item("two")])

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_disk)
        with pytest.raises(OSError, match="No space"):
            export_geoparquet(catalog, target)
    assert target.read_bytes() == first
    assert export_geoparquet(catalog, target).items == 2
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(NotFound):
        export_geoparquet(catalog, target, collections=["demos"])
    with pytest.raises(Conflict, match="folder"):
        export_geoparquet(catalog, tmp_path)


def test_items_whose_members_first_appear_late_are_kept_whole(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoparquet, "SAMPLE", 2)
    monkeypatch.setattr(geoparquet, "ROWS", 3)
    source, target = (sqlite_catalog(folder(tmp_path / name)) for name in ("a", "b"))
    source.upsert_collection(a_collection())
    source.upsert_items([an_item(f"i{n}", properties={f"p{n}": n}, assets={f"a{n}": {"href": "x"}}) for n in range(9)])
    assert export_geoparquet(source, tmp_path / "a.parquet").originals == 7
    load_into(target, gate, tmp_path / "a.parquet")
    assert same(contents(target), contents(source))


def folder(path: Path) -> Path:
    path.mkdir()
    return path
