"""Documents of the catalogue are kept until it changes, and no longer."""

import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest

from geoetl.access.items import ITEM_TTL_S, MAX_ITEMS_KEPT, CacheStatistics, CatalogCache
from geoetl.core.errors import NotFound
from geoetl.store.catalog import SqliteCatalog
from tests.stac import a_collection, an_item, sqlite_catalog


class Counting:
    """A catalogue that counts what it is asked, and may be made to wait."""

    def __init__(self, catalog: SqliteCatalog) -> None:
        self.catalog = catalog
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def item(self, collection_id: str, item_id: str) -> Any:
        self.asked.append(item_id)
        assert self.open.wait(30)
        return self.catalog.item(collection_id, item_id)

    def collection(self, collection_id: str) -> Any:
        self.asked.append(collection_id)
        return self.catalog.collection(collection_id)

    def version(self) -> int:
        return self.catalog.version()


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    catalog = sqlite_catalog(tmp_path)
    catalog.upsert_collection(a_collection())
    catalog.upsert_items([an_item("one"), an_item("two")])
    return Counting(catalog)


def test_a_document_is_read_once(counting: Counting) -> None:
    cache = CatalogCache(counting)  # type: ignore[arg-type]
    for _ in range(3):
        assert cache.item("demo", "one")["id"] == "one"
        assert cache.collection("demo")["id"] == "demo"
    assert counting.asked == ["one", "demo"]
    assert cache.stats() == CacheStatistics(2, 2, 0, hits=4, misses=2)


def test_a_change_is_seen_by_the_next_look_up(counting: Counting) -> None:
    cache = CatalogCache(counting)  # type: ignore[arg-type]
    assert "title" not in cache.item("demo", "one")["properties"]
    counting.catalog.upsert_items([an_item("one", properties={"title": "New"})])
    assert cache.item("demo", "one")["properties"]["title"] == "New"
    counting.catalog.delete_item("demo", "one")
    with pytest.raises(NotFound):
        cache.item("demo", "one")


def _write(folder: Path) -> None:
    sqlite_catalog(folder).upsert_items([an_item("one", properties={"title": "From another process"})])


def test_a_change_by_another_process_is_seen_by_the_next_look_up(counting: Counting, tmp_path: Path) -> None:
    cache = CatalogCache(counting)  # type: ignore[arg-type]
    cache.item("demo", "one")
    other = multiprocessing.get_context("spawn").Process(target=_write, args=(tmp_path,))
    other.start()
    other.join(60)
    assert cache.item("demo", "one")["properties"]["title"] == "From another process"


def test_what_is_too_old_is_read_again_and_counted(counting: Counting) -> None:
    clock = Clock()
    cache = CatalogCache(counting, clock)  # type: ignore[arg-type]
    cache.item("demo", "one")
    cache.collection("demo")
    clock.now = ITEM_TTL_S
    assert (cache.stats().valid_entries, cache.stats().expired_entries) == (1, 1)
    cache.item("demo", "one")
    cache.collection("demo")
    assert counting.asked == ["one", "demo", "one"]


def test_where_there_is_no_room_a_tenth_that_expires_soonest_makes_it(tmp_path: Path) -> None:
    catalog = sqlite_catalog(tmp_path)
    catalog.upsert_collection(a_collection())
    names = [f"i{n}" for n in range(MAX_ITEMS_KEPT + 1)]
    catalog.upsert_items([an_item(name) for name in names])
    counting = Counting(catalog)
    cache = CatalogCache(counting)  # type: ignore[arg-type]
    for name in names:
        cache.item("demo", name)
    dropped = MAX_ITEMS_KEPT // 10
    assert cache.stats().total_entries == MAX_ITEMS_KEPT + 1 - dropped
    counting.asked.clear()
    for name in names[dropped:]:
        cache.item("demo", name)
    assert counting.asked == []
    cache.item("demo", names[0])
    assert counting.asked == [names[0]]


def test_who_misses_the_same_document_at_once_waits_for_one_reading(counting: Counting) -> None:
    cache = CatalogCache(counting)  # type: ignore[arg-type]
    counting.open.clear()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(cache.item("demo", "one"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    while cache.stats().misses < 8:
        pass  # until all of them wait
    counting.open.set()
    for thread in threads:
        thread.join()
    assert [item["id"] for item in found] == ["one"] * 8
    assert counting.asked == ["one"]


def test_an_error_reaches_all_who_wait_and_is_not_kept(counting: Counting) -> None:
    cache = CatalogCache(counting)  # type: ignore[arg-type]
    counting.open.clear()
    said: list[str] = []

    def ask() -> None:
        try:
            cache.item("demo", "three")
        except NotFound as error:
            said.append(error.detail)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    while cache.stats().misses < 3:
        pass
    counting.open.set()
    for thread in threads:
        thread.join()
    assert said == ["The collection 'demo' has no item 'three'."] * 3
    counting.catalog.upsert_items([an_item("three")])
    assert cache.item("demo", "three")["id"] == "three"


def test_items_and_collections_can_be_forgotten(counting: Counting) -> None:
    cache = CatalogCache(counting)  # type: ignore[arg-type]

    def fill() -> None:
        counting.asked.clear()
        for name in ("one", "two"):
            cache.item("demo", name)
        cache.collection("demo")

    fill()
    cache.invalidate("demo", "one")
    fill()
    assert counting.asked == ["one"]
    cache.invalidate("demo")
    fill()
    assert counting.asked == ["one", "two", "demo"]
    cache.clear()
    assert cache.stats().total_entries == 0
