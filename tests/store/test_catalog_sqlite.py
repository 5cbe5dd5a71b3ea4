"""The embedded catalogue: its plans, what it verifies, and what its functions answer."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.core.errors import VerificationFailed
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import Search, SqliteCatalog, functions, sqlite
from geoetl.store.catalog.validation import CheckedItem
from tests.stac import a_collection, an_item, sqlite_catalog


@pytest.fixture
def catalog(tmp_path: Path) -> SqliteCatalog:
    catalog = sqlite_catalog(tmp_path)
    catalog.upsert_collection(a_collection())
    return catalog


def plan(catalog: SqliteCatalog, search: Search) -> str:
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
        functions.register(connection)
        return " | ".join(
            row.detail for row in connection.exec_driver_sql(f"explain query plan {statement}", parameters)
        )


def test_the_plan_follows_how_much_lies_in_the_box(catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.upsert_items([an_item(f"i{n}", box=(n / 10, 0, n / 10 + 1, 1)) for n in range(300)])
    monkeypatch.setattr(sqlite, "LEAST_CANDIDATES", 10)
    few, many = BBox(0, 0, 0.1, 0.1), BBox(-180, -90, 180, 90)
    assert "SCAN stac_items_rtree VIRTUAL TABLE" in plan(catalog, Search(bbox=few))
    assert "i USING INDEX stac_items_time" in plan(catalog, Search(bbox=many, limit=3))
    assert "stac_items_collection_time" in plan(catalog, Search(bbox=many, limit=3, collections=("demo",)))
    assert "stac_items_id" in plan(catalog, Search(bbox=few, ids=("i1",)))
    assert "stac_items_rtree" in plan(catalog, Search(interval=Interval.parse("1999")))
    assert plan(catalog, Search()).startswith("SCAN i USING INDEX stac_items_time")


@pytest.mark.parametrize(
    "damage",
    [
        "delete from stac_items_rtree where id = 2 * :seq",
        "delete from stac_items_rtree where id = 2 * :seq + 1",
        "update stac_items_rtree set west = 10, east = 11 where id = 2 * :seq",
        "update stac_items_rtree set start_year = 90, end_year = 91 where id = 2 * :seq",
        "update stac_item_documents set content = json_set(content, '$.id', 'x') where seq = :seq",
        "delete from stac_item_documents where seq = :seq",
        "delete from stac_items where seq = :seq",
    ],
)
def test_what_a_search_could_not_find_as_it_was_given_is_not_kept(
    catalog: SqliteCatalog, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = sqlite._write

    def write_and_damage(connection: Connection, items: list[CheckedItem]) -> dict[int, CheckedItem]:
        numbered = write(connection, items)
        connection.exec_driver_sql(damage, {"seq": min(numbered)})
        return numbered

    across = an_item("across", box=(170, 0, -170, 1))
    version = catalog.version()
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_write", write_and_damage)
        with pytest.raises(
            VerificationFailed, match="Item 'across' of 'demo' was written but a search does not find it"
        ):
            catalog.upsert_items([across, an_item()])
    assert catalog.search(Search()).matched == 0
    assert catalog.version() == version
    catalog.upsert_items([across, an_item()])
    assert catalog.search(Search(bbox=BBox(-180, -90, 180, 90))).matched == 2


def test_a_catalogue_crosses_process_borders(catalog: SqliteCatalog) -> None:
    catalog.upsert_items([an_item()])
    assert pickle.loads(pickle.dumps(catalog)).item("demo", "one") == catalog.item("demo", "one")


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        (functions.instant, ("1970-01-01T00:00:01Z",), 1_000_000),
        (functions.instant, ("1970-01-02",), 24 * 3600 * 1_000_000),
        (functions.instant, ("yesterday",), None),
        (functions.instant, (5,), None),
        (functions.casei, ("STRASSE ß Å",), "strasse ss å"),
        (functions.casei, (None,), None),
        (functions.accenti, ("Ålesund café",), "Alesund cafe"),
        (functions.power, (2, 10), 1024.0),
        (functions.power, (10, 400), None),
        (functions.power, (-1, 0.5), None),
        (functions.modulo, (-7, 3), -1.0),
        (functions.modulo, (1, 0), None),
        (functions.div, (7, 2), 3.0),
        (functions.div, (-7, 2), -3.0),
        (functions.div, ("7", 2), None),
    ],
)
def test_a_function_answers_or_says_that_it_does_not_know(function: Any, arguments: Any, result: Any) -> None:
    assert function(*arguments) == result
