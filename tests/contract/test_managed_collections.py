"""What a managed dataset keeps is closed to everything else, on every back end; the keeper alone may change it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geoetl.core.errors import ManagedData
from geoetl.core.settings import LimitSettings
from geoetl.datasets import Definition
from geoetl.datasets.model import SourceType
from geoetl.datasets.repository import DatasetRepository
from geoetl.store.catalog import Catalog, Search, walk
from geoetl.store.catalog.bulk import load
from geoetl.store.gate import Gate
from tests.stac import BACK_ENDS, AnyCatalog, a_collection, an_item, prepare

KEPT = "kept"


@pytest.fixture(params=BACK_ENDS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AnyCatalog:
    """Give a catalogue with an ordinary collection, and one that a dataset keeps, each with an item."""
    catalog = BACK_ENDS[request.param](prepare(request.param, tmp_path, request))
    for collection in ("demo", KEPT):
        catalog.upsert_collection(a_collection(collection))
        catalog.upsert_items([an_item(collection=collection)])
    DatasetRepository(catalog.database).create(
        Definition(
            dataset_id="parks",
            name="Parks",
            handler="admin0",
            source_type=SourceType.MANUAL,
            source_url="drop",
            target_schema=KEPT,
            target_table_name="curated_parks",
            license="CC0-1.0",
            attribution="Somebody",
        )
    )
    return catalog


MIXED = [an_item("two"), an_item("two", collection=KEPT)]
CHANGES: dict[str, Callable[[Catalog], Any]] = {
    "upsert_collection": lambda catalog: catalog.upsert_collection(a_collection(KEPT, title="Mine")),
    "add_collection": lambda catalog: catalog.add_collection(a_collection(KEPT)),
    "change_collection": lambda catalog: catalog.change_collection(KEPT, lambda one: {**one, "title": "Mine"}),
    "delete_collection": lambda catalog: catalog.delete_collection(KEPT),
    "upsert_items": lambda catalog: catalog.upsert_items(MIXED),
    "add_items": lambda catalog: catalog.add_items(
        [an_item("two", collection="demo"), an_item("two", collection=KEPT)]
    ),
    "change_item": lambda catalog: catalog.change_item(KEPT, "one", lambda one: {**one, "properties": {}}),
    "delete_item": lambda catalog: catalog.delete_item(KEPT, "one"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_ordinary_change_is_refused_whole_and_names_the_dataset(catalog: AnyCatalog, change: str) -> None:
    version = catalog.version()
    with pytest.raises(ManagedData, match="parks") as caught:
        CHANGES[change](catalog)
    assert caught.value.hint and "geoetl datasets" in caught.value.hint
    assert (catalog.version(), caught.value.status, caught.value.code) == (version, 409, "managed_data")
    assert catalog.item(KEPT, "one") == an_item(collection=KEPT)
    assert [one["id"] for one in catalog.collections()] == ["demo", KEPT]
    catalog.upsert_items([an_item("two")])
    catalog.delete_item("demo", "two")


def test_many_items_at_once_are_refused_whole(catalog: AnyCatalog, tmp_path: Path) -> None:
    file = tmp_path / "items.ndjson"
    items = [an_item("two"), an_item("two", collection=KEPT)]
    file.write_text("\n".join(map(json.dumps, items)))
    with pytest.raises(ManagedData):
        load(catalog, catalog.zones, Gate((tmp_path,), LimitSettings()), str(file), processes=1)
    assert [item["id"] for item in walk(catalog, Search())] == ["one", "one"]


def test_the_keeper_changes_it_and_a_dataset_that_is_forgotten_keeps_nothing(catalog: AnyCatalog) -> None:
    keeper = replace(catalog, is_keeper=True)
    keeper.upsert_items([an_item("two", collection=KEPT)])
    keeper.delete_item(KEPT, "one")
    DatasetRepository(catalog.database).delete("parks")
    catalog.delete_item(KEPT, "two")
    catalog.delete_collection(KEPT)
