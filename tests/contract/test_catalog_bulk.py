"""What is exported and loaded into an empty catalogue is the same catalogue, on every back end."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from stac_geoparquet.arrow import stac_table_to_items

from geoetl.core.errors import Conflict, FormatNotAllowed, InputError, LimitExceeded, NotFound, UnreadableFile
from geoetl.core.settings import LimitSettings
from geoetl.core.spatial import BBox
from geoetl.store.catalog import Catalog, Search, bulk, export_static, geoparquet, incoming, walk
from geoetl.store.catalog.bulk import Progress, load
from geoetl.store.catalog.geoparquet import export_geoparquet
from geoetl.store.gate import Gate
from tests.stac import BACK_ENDS, a_collection, an_item, prepare


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
