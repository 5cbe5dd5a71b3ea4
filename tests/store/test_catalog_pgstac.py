"""The catalogue in pgSTAC: what it verifies, what other clients of pgSTAC see, and many writers at once."""

import json
import multiprocessing
import os
import pickle
import random
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.core.errors import Unavailable, VerificationFailed
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import PgstacCatalog, Search, functions, pgstac, walk
from geoetl.store.catalog.validation import CheckedItem
from tests.stac import a_collection, an_item, pgstac_catalog, prepare


@pytest.fixture
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> PgstacCatalog:
    catalog = pgstac_catalog(prepare("pgstac", tmp_path, request))
    catalog.upsert_collection(a_collection())
    return catalog


def run(catalog: PgstacCatalog, statement: str, **values: Any) -> Any:
    with catalog.database.begin() as connection:
        connection.exec_driver_sql("set local search_path to pgstac, public")
        return connection.execute(sa.text(statement), values).scalar()


def seen_by_pgstac(catalog: PgstacCatalog, **search: Any) -> list[dict[str, Any]]:
    """Give what pgSTAC's own search finds."""
    statement = "select pgstac.search(cast(:search as jsonb))::text"
    features: list[dict[str, Any]] = json.loads(run(catalog, statement, search=json.dumps(search)))["features"]
    return features


def ids(items: Any) -> set[str]:
    return {item["id"] for item in items}


def plan(catalog: PgstacCatalog, search: Search) -> str:
    """Give the plan of the statement that reads the page."""
    seen: list[tuple[str, Any]] = []
    engine = catalog.database.engine

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    catalog.search(search)
    sa.event.remove(engine, "before_cursor_execute", note)
    statement, parameters = next(pair for pair in seen if "order by" in pair[0])
    with catalog.database.read() as connection:
        return "\n".join(row[0] for row in connection.exec_driver_sql(f"explain {statement}", parameters))


# -- other clients ---------------------------------------------------------------------------------------------------


def test_pgstac_finds_at_once_what_was_written(catalog: PgstacCatalog) -> None:
    run(catalog, "update pgstac_settings set value = 'on' where name = 'context' returning 1")
    assert seen_by_pgstac(catalog, collections=["demo"]) == []
    assets = {"data": {"href": "https://example.org/a.tif", "title": "A", "roles": ["data"]}}
    for n, time in enumerate(["2020-06-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]):
        catalog.upsert_items([an_item(f"i{n}", time=time, assets=assets, properties={"n": n})])
        assert len(seen_by_pgstac(catalog, collections=["demo"])) == n + 1
    assert ids(seen_by_pgstac(catalog, bbox=[5, 50, 6, 51], datetime="2020-06-01T00:00:00Z")) == {"i0"}
    filter = {"op": "=", "args": [{"property": "n"}, 2]}
    assert ids(seen_by_pgstac(catalog, filter=filter, **{"filter-lang": "cql2-json"})) == {"i2"}
    found = seen_by_pgstac(catalog, ids=["i0"])[0]
    given = dict(catalog.item("demo", "i0"))
    assert {name: found[name] for name in given if name != "links"} == {
        name: given[name] for name in given if name != "links"
    }
    catalog.delete_item("demo", "i0")
    assert ids(seen_by_pgstac(catalog, collections=["demo"])) == {"i1", "i2"}


def test_a_collection_deleted_and_made_again_is_whole_for_pgstac_too(catalog: PgstacCatalog) -> None:
    for n in range(3):
        catalog.upsert_items([an_item(f"i{n}", time=f"20{n}0-01-01T00:00:00Z")])
        assert ids(seen_by_pgstac(catalog, collections=["demo"])) == {f"i{n}"}
        catalog.delete_collection("demo")
        assert seen_by_pgstac(catalog) == []
        assert run(catalog, "select count(*) from partition_stats") == 0
        catalog.upsert_collection(a_collection())


def test_pgstac_shows_the_items_with_the_assets_that_they_have(catalog: PgstacCatalog) -> None:
    shared = {"data": {"type": "image/tiff", "roles": ["data"]}, "extra": {"type": "text/plain"}}
    own = {"data": {"href": "https://example.org/a.tif", "type": "image/tiff", "roles": ["data"]}}
    catalog.upsert_collection(a_collection(item_assets=shared))
    catalog.upsert_items([an_item("before", assets=own)])
    catalog.upsert_collection(a_collection(item_assets={"data": {"type": "image/png", "title": "Changed"}}))
    catalog.upsert_items([an_item("after", assets=own)])
    for item in (*seen_by_pgstac(catalog), catalog.item("demo", "before"), catalog.item("demo", "after")):
        assert item["assets"] == own


def test_what_another_client_wrote_is_read_as_pgstac_has_it(catalog: PgstacCatalog) -> None:
    item = an_item("theirs", properties={"n": 5})
    run(catalog, "select 1 from create_item(cast(:item as jsonb))", item=json.dumps(item))
    assert catalog.search(Search(filter="n = 5")).items == (catalog.item("demo", "theirs"),)
    assert catalog.item("demo", "theirs")["properties"]["n"] == 5
    catalog.upsert_items([an_item("theirs", properties={"n": 6, "nothing": None})])
    assert catalog.item("demo", "theirs")["properties"] == an_item(properties={"n": 6, "nothing": None})["properties"]
    run(catalog, "select 1 from update_item(cast(:item as jsonb))", item=json.dumps(item))
    assert catalog.item("demo", "theirs")["properties"]["n"] == 5
    changed = a_collection(title="Theirs")
    run(catalog, "select 1 from update_collection(cast(:item as jsonb))", item=json.dumps(changed))
    assert catalog.collection("demo") == changed


@pytest.mark.parametrize("every", ["year", "month"])
def test_a_collection_that_was_partitioned_by_time_takes_items_as_before(catalog: PgstacCatalog, every: str) -> None:
    times = ["1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z", "2000-02-29T12:00:00+14:00", "2020-07-01T00:00:00Z"]
    first = [an_item(f"a{n}", time=time) for n, time in enumerate(times)]
    catalog.upsert_items(first)
    run(catalog, "update collections set partition_trunc = :every returning 1", every=every)
    moved = [an_item(f"a{n}", time=time, properties={"moved": True}) for n, time in enumerate(reversed(times))]
    catalog.upsert_items([*moved, *(an_item(f"b{n}", time=time) for n, time in enumerate(times))])
    everything = list(walk(catalog, Search(sortby="id", limit=3)))
    assert [item["id"] for item in everything] == [*(f"a{n}" for n in range(4)), *(f"b{n}" for n in range(4))]
    assert everything[0]["properties"] == moved[0]["properties"]
    assert ids(catalog.search(Search(interval=Interval.parse("2000-02")))) == {"a1", "b2"}
    assert ids(seen_by_pgstac(catalog)) == ids(everything)


@pytest.mark.parametrize(
    "extent",
    [
        {"spatial": {"bbox": []}},
        {"spatial": {"bbox": [[170, -10, -170, 10]]}, "temporal": {"interval": [["yesterday", None]]}},
        {"spatial": {"bbox": [[0, 0, 0, 1, 1, 1]]}, "temporal": {"interval": []}},
        {"spatial": {}, "temporal": {"interval": [["2020-01-01T00:00:00+23:00", "2021-01-01T00:00:00Z"]]}},
        {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": "always"},
    ],
)
def test_an_extent_that_pgstac_cannot_read_is_kept_as_given(catalog: PgstacCatalog, extent: dict[str, Any]) -> None:
    collection = a_collection("odd", extent=extent)
    catalog.upsert_collection(collection)
    assert catalog.collection("odd") == collection


# -- what is verified ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "delete from pgstac.items where id = 'across'",
        "update pgstac.items set geometry = st_setsrid(st_makepoint(0, 0), 4326) where id = 'across'",
        "update pgstac.items set end_datetime = end_datetime + interval '1 s' where id = 'across'",
        "update pgstac.items set private = null where id = 'across'",
        "update pgstac.items set private = '{\"document\": \"{}\"}' where id = 'across'",
        "delete from pgstac.partition_stats",
    ],
)
def test_what_a_search_could_not_find_as_it_was_given_is_not_kept(
    catalog: PgstacCatalog, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pgstac._write

    def write_and_damage(connection: Connection, collection_id: str, items: list[CheckedItem]) -> None:
        write(connection, collection_id, items)
        connection.exec_driver_sql(damage)

    item = an_item("across", box=(170, 0, -170, 1), properties={"nothing": None})
    version = catalog.version()
    with monkeypatch.context() as patch:
        patch.setattr(pgstac, "_write", write_and_damage)
        with pytest.raises(VerificationFailed, match="a search does not find it"):
            catalog.upsert_items([item])
    assert catalog.search(Search()).matched == 0
    assert catalog.version() == version
    catalog.upsert_items([item])
    assert ids(seen_by_pgstac(catalog)) == {"across"}


def test_searches_by_place_and_time_use_the_indexes(catalog: PgstacCatalog) -> None:
    catalog.upsert_items(
        an_item(f"i{n}", box=(n % 179, n % 89, n % 179 + 1, n % 89 + 1), time=f"{1000 + n}-01-01T00:00:00Z")
        for n in range(5_000)
    )
    assert "geometry_idx" in plan(catalog, Search(bbox=BBox(10.2, 10.2, 10.4, 10.4)))
    assert "geometry_idx" in plan(catalog, Search(bbox=BBox(179, 0, -179, 1), interval=Interval.parse("2000/2010")))
    assert "geometry_idx" in plan(catalog, Search(filter="s_intersects(geometry, POINT(5 5))"))
    assert "datetime_end_datetime_idx" in plan(catalog, Search(interval=Interval.parse("2000"), limit=10))
    assert "datetime_end_datetime_idx" in plan(catalog, Search(limit=10))
    assert "_pk" in plan(catalog, Search(ids=("i5",)))


# -- many writers ----------------------------------------------------------------------------------------------------

PROCESSES, THREADS, CALLS = 5, 10, 3


def _write_much(folder: Path, process: int, ready: Any) -> None:
    catalog = pgstac_catalog(folder)

    def write(thread: int) -> None:
        for call in range(CALLS):
            name = f"p{process}-{thread}-{call}"
            shared = an_item("shared", collection=("demo", "other")[(thread + call) % 2])
            catalog.upsert_items([an_item(name, collection=("demo", "other")[thread % 2]), shared])

    ready.wait()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, range(THREADS)))


def test_fifty_writers_in_five_processes_lose_nothing(catalog: PgstacCatalog, tmp_path: Path) -> None:
    catalog.upsert_collection(a_collection("other"))
    version = catalog.version()
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(PROCESSES)
    writers = [spawn.Process(target=_write_much, args=(tmp_path, n, ready)) for n in range(PROCESSES)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    assert catalog.search(Search(limit=1)).matched == PROCESSES * THREADS * CALLS + 2
    assert catalog.version() == version + PROCESSES * THREADS * CALLS
    assert len(seen_by_pgstac(catalog, limit=1000)) == PROCESSES * THREADS * CALLS + 2


def _write_and_wait(folder: Path, ready: Any) -> None:
    def items() -> Iterator[dict[str, Any]]:
        yield from (an_item(f"lost{n}") for n in range(2 * pgstac.BATCH))
        ready.set()
        signal.pause()

    pgstac_catalog(folder).upsert_items(items())


def test_a_writer_that_is_killed_leaves_nothing_and_holds_up_nobody(catalog: PgstacCatalog, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    writer = spawn.Process(target=_write_and_wait, args=(tmp_path, ready))
    writer.start()
    assert ready.wait(120)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join(30)
    catalog.upsert_items([an_item("kept")])
    assert ids(catalog.search(Search())) == {"kept"}
    assert ids(seen_by_pgstac(catalog)) == {"kept"}


def test_collections_come_and_go_while_others_are_written_and_searched(catalog: PgstacCatalog) -> None:
    def come_and_go(name: str) -> None:
        for _ in range(4):
            catalog.upsert_collection(a_collection(name))
            catalog.upsert_items([an_item(collection=name), an_item("two", collection=name)])
            assert catalog.search(Search(collections=(name,))).matched == 2
            catalog.delete_collection(name)

    def write(thread: int) -> None:
        for n in range(6):
            catalog.upsert_items([an_item(f"{thread}-{n}")])
            assert f"{thread}-{n}" in ids(catalog.search(Search(collections=("demo",))))

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(come_and_go, name) for name in ("a", "b", "c")]
        jobs += [pool.submit(write, thread) for thread in range(4)]
        for job in jobs:
            job.result()
    assert catalog.search(Search()).matched == 24
    assert [collection["id"] for collection in catalog.collections()] == ["demo"]


def test_a_unit_of_work_is_done_again_when_another_was_in_the_way(catalog: PgstacCatalog) -> None:
    tries = []

    def work(connection: Connection) -> str:
        tries.append(1)
        if len(tries) < 3:
            connection.exec_driver_sql("do $$ begin raise exception 'x' using errcode = 'deadlock_detected'; end $$")
        return "done"

    version = catalog.version()
    assert catalog._change(work) == "done"
    assert (len(tries), catalog.version()) == (3, version + 1)
    tries.clear()
    with pytest.raises(Unavailable, match="in the way"):
        catalog._change(work, again=False)


def test_a_catalogue_crosses_process_borders(catalog: PgstacCatalog) -> None:
    catalog.upsert_items([an_item()])
    assert pickle.loads(pickle.dumps(catalog)).item("demo", "one") == catalog.item("demo", "one")


# -- functions -------------------------------------------------------------------------------------------------------

TIMES = [
    *("1970-01-01T00:00:01Z", "1970-01-02", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59"),
    *("2020-01-01 00:00:00.1234567Z", "2020-01-01t00:00:00.9999999z", "2000-02-29", "2020-01-01T00:00:00+10:75"),
    *("yesterday", "", "2020-02-30", "1900-02-29", "2020-13-01", "0000-01-01", "2020-01-01T24:00:00Z", "2020-1-1"),
    *("2020-01-01T00:00:60Z", "2020-01-01T00:00:00", "2020-01-01T00:00:00+24:00", "2020-01-01T00:00:00Z\n"),
]
NUMBERS = [
    *(0, 1, -1, 2, 3, -7, 99, 400, 0.1, 0.3, -0.5, 2.5, 1 / 3, 123456.789, 1e15, 1e-300, 5e-324, 1e300, -1e308),
    *(sys.float_info.max, 2**53 + 1, 2**63 - 1, -(2**63)),
]


def test_letters_are_folded_as_python_folds_them(catalog: PgstacCatalog) -> None:
    letters = [chr(code) for code in range(1, sys.maxunicode + 1, 1) if not 0xD800 <= code < 0xE000]
    texts = ["".join(letters[n : n + 50]) for n in range(0, len(letters), 50)]
    for name, fold in (("casei", functions.casei), ("accenti", functions.accenti)):
        with catalog.database.read() as connection:
            statement = f"select text, geoetl.{name}(text) from unnest(%(texts)s::text[]) text"
            answers = connection.exec_driver_sql(statement, {"texts": [*texts, "", "Straße"]}).all()
        assert [(text, answer) for text, answer in answers if answer != fold(text)] == []


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_read_as_python_reads_it(catalog_of_module: PgstacCatalog, text: str) -> None:
    statement = "select (extract(epoch from geoetl.instant(:text)) * 1000000)::bigint"
    assert run(catalog_of_module, statement, text=text) == functions.instant(text)


@pytest.mark.parametrize("name", ["plus", "minus", "times", "divide", "power", "modulo", "div"])
def test_numbers_are_reckoned_as_sqlite_reckons_them(catalog_of_module: PgstacCatalog, name: str) -> None:
    import sqlite3

    sqlite = sqlite3.connect(":memory:")
    for called in ("power", "modulo", "div"):
        sqlite.create_function(called, 2, getattr(functions, called))
    written = {"plus": "? + ?", "minus": "? - ?", "times": "? * ?", "divide": "? * 1.0 / ?"}.get(name, f"{name}(?, ?)")
    pairs = [(a, b) for a in NUMBERS for b in NUMBERS]
    expected = [sqlite.execute(f"select {written}", pair).fetchone()[0] for pair in pairs]
    statement = f"""
        select geoetl.{name}(a::numeric, b::numeric)::text from unnest(%(a)s::text[], %(b)s::text[]) as t (a, b)
    """
    with catalog_of_module.database.read() as connection:
        values = {"a": [repr(a) for a, _ in pairs], "b": [repr(b) for _, b in pairs]}
        answers = [text for (text,) in connection.exec_driver_sql(statement, values)]
    for pair, one, other in zip(pairs, expected, answers, strict=True):
        same = one is None if other is None else one == (int(other) if isinstance(one, int) else float(other))
        assert same, (pair, one, other)


@pytest.mark.parametrize("name", ["intersects", "contains", "within", "equals", "touches", "crosses", "overlaps"])
def test_shapes_relate_as_on_sqlite_points_on_edges_too(catalog_of_module: PgstacCatalog, name: str) -> None:
    drawn = random.Random(3)
    longitudes, latitudes = (-180, -90, -1 / 3, 0, 1 / 6, 1 / 3, 0.5, 1, 7 / 6, 2, 179), (-10, 0, 1 / 3, 0.5, 1, 10)
    places = [(x, y) for x in longitudes for y in latitudes]
    polygons = [shapely.Polygon(drawn.sample(places, drawn.choice([3, 4]))) for _ in range(80)]
    shapes: list[Any] = [shape for shape in polygons if shape.is_valid and shape.area > 0]
    shapes += [shapely.LineString(drawn.sample(places, 2)) for _ in range(30)]
    points: list[Any] = [shapely.Point(place) for place in places]
    points += [shapely.MultiPoint(drawn.sample(places, 3)) for _ in range(10)]
    # Where two lines cross is rounded, and before GEOS 3.13 that decided whether they touch: points have no such place.
    one, other = np.repeat(shapes + points, len(points)), np.tile(np.array(points), len(shapes + points))
    a, b = np.concatenate([one, other]), np.concatenate([other, one])
    said = "geoetl.intersects(a, b)" if name == "intersects" else f"geoetl.spatial('s_{name}', a, b)"
    statement = f"""
        select {said} from unnest(%(a)s::bytea[], %(b)s::bytea[]) with ordinality as t (x, y, n),
            lateral (select st_geomfromwkb(x, 4326) a, st_geomfromwkb(y, 4326) b offset 0) q
        order by n
    """
    with catalog_of_module.database.read() as connection:
        values = {"a": shapely.to_wkb(a).tolist(), "b": shapely.to_wkb(b).tolist()}
        answers = np.array([row[0] for row in connection.exec_driver_sql(statement, values)])
    wrong = np.flatnonzero(answers != getattr(shapely, name)(a, b))
    assert [(a[n].wkt, b[n].wkt) for n in wrong] == []


@pytest.fixture(scope="module")
def catalog_of_module(
    new_pgstac_url: Callable[[], str], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PgstacCatalog:
    return pgstac_catalog(prepare("pgstac", tmp_path_factory.mktemp("functions"), request))
