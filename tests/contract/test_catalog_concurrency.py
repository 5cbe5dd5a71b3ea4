"""Many writers, threads and processes, lose nothing, and what one writes the others see at once, on every back end."""

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from geoetl.core.errors import Conflict
from geoetl.store.catalog import Catalog, Search
from tests.stac import BACK_ENDS, a_collection, an_item, prepare

# 5 processes of 10 threads.
PROCESSES, THREADS, ROUNDS = 5, 10, 3
# Each begins with what this module imports, and with nothing that a test of this process did.
PROCESS = multiprocessing.get_context("forkserver")
# Starting five Pythons on a busy machine takes this long at most.
PATIENCE_S = 240


@pytest.fixture(params=BACK_ENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Give a back end and the folder of an empty catalogue of it."""
    PROCESS.set_forkserver_preload([__name__])
    return str(request.param), prepare(request.param, tmp_path, request)


def opened(place: tuple[str, Path]) -> Catalog:
    return BACK_ENDS[place[0]](place[1])


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do something in threads that begin together; what one raises is raised here."""
    failed: list[BaseException] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def run_processes(target: Callable[..., None], *arguments: Any) -> None:
    together = PROCESS.Barrier(PROCESSES)
    processes = [PROCESS.Process(target=target, args=(n, together, *arguments)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def write_own_and_shared(process: int, together: Barrier, place: tuple[str, Path]) -> None:
    """Write items of one's own, count up one that all share, and check that versions only rise."""
    catalog = opened(place)
    together.wait()

    def work(thread: int) -> None:
        seen = [catalog.version()]
        for number in range(ROUNDS):
            catalog.upsert_items([an_item(f"p{process}-t{thread}-{number}-{m}") for m in range(2)])
            assert catalog.item("demo", f"p{process}-t{thread}-{number}-1")["id"]
            catalog.change_item("demo", "counter", raised)
            seen.append(catalog.version())
        assert seen == sorted(seen)
        assert seen[-1] >= seen[0] + 2 * ROUNDS

    in_threads(THREADS, work)


def raised(item: Any) -> dict[str, Any]:
    return {**item, "properties": {**item["properties"], "n": item["properties"]["n"] + 1}}


def test_50_writers_in_threads_and_processes_lose_nothing(place: tuple[str, Path]) -> None:
    catalog = opened(place)
    catalog.upsert_collection(a_collection())
    catalog.upsert_items([an_item("counter", properties={"n": 0})])
    version = catalog.version()
    run_processes(write_own_and_shared, place)
    writers = PROCESSES * THREADS
    assert catalog.item("demo", "counter")["properties"]["n"] == writers * ROUNDS
    assert catalog.search(Search()).matched == writers * ROUNDS * 2 + 1
    assert catalog.version() == version + writers * ROUNDS * 2


def replace_all(process: int, together: Barrier, place: tuple[str, Path]) -> None:
    """Replace the same items again and again, each time all of them by the same writer."""
    catalog = opened(place)
    together.wait()
    for number in range(ROUNDS):
        catalog.upsert_items([an_item(f"i{m}", properties={"by": f"{process}-{number}"}) for m in range(20)])
        found = catalog.search(Search(limit=50))
        assert len({item["properties"]["by"] for item in found}) == 1  # never half of one and half of another
        assert found.matched == 20


def test_those_who_replace_the_same_items_come_one_after_another(place: tuple[str, Path]) -> None:
    catalog = opened(place)
    catalog.upsert_collection(a_collection())
    run_processes(replace_all, place)
    assert catalog.search(Search()).matched == 20


def add_same(process: int, together: Barrier, place: tuple[str, Path], folder: Path) -> None:
    catalog = opened(place)
    together.wait()
    won = []
    for number in range(10):
        try:
            catalog.add_items([an_item(f"i{number}", properties={"by": process})])
            won.append(number)
        except Conflict:
            continue
    (folder / str(process)).write_text(" ".join(map(str, won)))


def test_of_those_who_add_the_same_item_one_succeeds(place: tuple[str, Path], tmp_path: Path) -> None:
    catalog = opened(place)
    catalog.upsert_collection(a_collection())
    folder = tmp_path / "won"
    folder.mkdir()
    run_processes(add_same, place, folder)
    won = {int(n): process for process in range(PROCESSES) for n in (folder / str(process)).read_text().split()}
    assert sum(len((folder / str(process)).read_text().split()) for process in range(PROCESSES)) == 10
    assert {n: catalog.item("demo", f"i{n}")["properties"]["by"] for n in range(10)} == won


def write_when_told(place: tuple[str, Path], told: Any, done: Any) -> None:
    catalog = opened(place)
    for number in iter(told.get, None):
        catalog.upsert_items([an_item("seen", properties={"n": number})])
        done.put(number)


def test_what_another_process_wrote_is_seen_as_soon_as_it_says_so(place: tuple[str, Path]) -> None:
    first, second = opened(place), opened(place)
    first.upsert_collection(a_collection())
    told, done = PROCESS.Queue(), PROCESS.Queue()
    worker = PROCESS.Process(target=write_when_told, args=(place, told, done))
    worker.start()
    versions = [first.version()]
    for number in range(5):
        told.put(number)
        done.get(timeout=PATIENCE_S)
        for server in (first, second):
            assert server.item("demo", "seen")["properties"]["n"] == number
            assert server.search(Search()).items[0]["properties"]["n"] == number
        versions.append(first.version())
        assert second.version() == versions[-1]
    told.put(None)
    worker.join(PATIENCE_S)
    assert worker.exitcode == 0
    assert versions == sorted(set(versions))


def test_readers_are_not_held_up_by_a_writer_and_see_all_or_nothing_of_it(place: tuple[str, Path]) -> None:
    catalog = opened(place)
    catalog.upsert_collection(a_collection())
    inside, go_on = threading.Event(), threading.Event()

    def items() -> Any:
        for number in range(1500):
            yield an_item(f"i{number}")
        inside.set()
        assert go_on.wait(PATIENCE_S)

    writer = threading.Thread(target=lambda: catalog.upsert_items(items()))
    writer.start()
    assert inside.wait(PATIENCE_S)
    try:
        assert opened(place).search(Search()).matched == 0
    finally:
        go_on.set()
        writer.join(PATIENCE_S)
    assert catalog.search(Search()).matched == 1500
