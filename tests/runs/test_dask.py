"""A fan-out on Dask workers gives what it gives without them, whatever becomes of the workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster

from geoetl.core.errors import ConfigurationError, GeoetlError, InvalidParameter, RunFailed, Unavailable
from geoetl.core.settings import DaskSettings
from geoetl.runs.attempt import Attempt
from geoetl.runs.fanout import Batch, fan_out
from geoetl.runs.queue import Ending, Submission
from geoetl.runs.stage import Run
from geoetl.runs.versions import own_versions
from tests.runs.dask_tasks import Struck, moments
from tests.runs.dask_workers import dask_workers

ITEMS = range(60)
# For what comes about by itself.
PATIENCE_S = 120


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Give two workers, of which a task may lose one."""
    with dask_workers(2, allowed_failures=1) as cluster:
        yield cluster


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    """Give an upgraded database: where its rows are is nothing to Dask."""
    from geoetl.store.database import Database

    made = Database(f"sqlite:///{tmp_path / 'test.db'}")
    made.upgrade()
    yield made
    made.dispose()


@pytest.fixture
def on_dask(run: Run, cluster: LocalCluster) -> Iterator[Run]:
    """Give a run whose tasks go to these workers."""
    with_address = replace(run, dask=DaskSettings(address=cluster.scheduler_address, start_seconds=PATIENCE_S))
    yield with_address
    with_address.close()


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """Give a client of them."""
    with Client(cluster, set_as_default=False) as client:
        yield client


def expected(items: range | list[int]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Return the moments of each item, computed here one after another."""
    return np.array([moments(number) for number in items])


def test_results_are_equal_on_one_two_and_four_workers(on_dask: Run, cluster: LocalCluster) -> None:
    for count in (1, 2, 4):
        cluster.scale(count)
        cluster.wait_for_workers(count)
        found = on_dask.map(f"on {count}", moments, ITEMS)
        assert np.array_equal(np.array(found), expected(ITEMS))
    cluster.scale(2)


def test_a_worker_that_is_killed_midway_changes_nothing(on_dask: Run, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    struck = Struck(tmp_path / "marks", 30)
    assert np.array_equal(np.array(on_dask.map("moments", struck, ITEMS)), expected(ITEMS))
    assert struck.calls[30] == 2  # it was struck, and done again


def test_what_kills_its_worker_each_time_fails_alone_and_a_resumed_run_repeats_nothing_else(
    on_dask: Run, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    deadly = Struck(tmp_path / "marks", 30, once=False)
    with pytest.raises(RunFailed, match=r"1 of 60 tasks failed\. The first: Its Dask worker died each of the 2 times"):
        on_dask.map("moments", deadly, ITEMS)
    done = on_dask.repository.finished_tasks(on_dask.id, "moments")
    assert len(done) == 59

    queue = on_dask.repository.queue
    queue.finish(Ending(on_dask.id, on_dask.attempt, error={"detail": "killed", "hint": None}))
    claim = queue.begin(Submission("test", {}, "a" * 64, "test"), "w")
    again = replace(on_dask, attempt=claim.attempt)
    (tmp_path / "again").mkdir()
    harmless = Struck(tmp_path / "again", -1)
    assert np.array_equal(np.array(again.map("moments", harmless, ITEMS)), expected(ITEMS))
    assert harmless.calls == {30: 1}
    again.close()


def test_errors_of_tasks_are_values_and_stop_no_other(on_dask: Run) -> None:
    with pytest.raises(InvalidParameter, match=r"2 of 5 tasks failed\. The first: -\d is negative"):
        on_dask.map("moments", moments, [1, -1, 2, -2, 3])
    assert len(on_dask.repository.finished_tasks(on_dask.id, "moments")) == 3


def test_little_is_under_way_at_a_time(client: Client) -> None:
    most = 0
    outcomes: dict[int, object] = {}
    for some in fan_out(client, "moments", Attempt(moments), list(range(3000)), DaskSettings()):
        outcomes.update(some)
        most = max(most, client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
    assert most <= 4  # two for each of two threads
    assert len(outcomes) == 3000


class Unsendable:
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("It stays here.")


def give(number: int) -> object:
    return Unsendable() if number == 1 else number


def test_a_result_that_cannot_be_sent_is_the_error_of_its_task(client: Client) -> None:
    outcomes = dict(pair for some in fan_out(client, "give", Attempt(give), [0, 1, 2], DaskSettings()) for pair in some)
    assert (outcomes[0], outcomes[2]) == (0, 2)
    assert isinstance(outcomes[1], GeoetlError)
    assert "It stays here" in outcomes[1].detail


def test_what_nobody_waits_for_any_more_is_forgotten(client: Client, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    slow = Struck(tmp_path / "marks", -1, sleep_s=0.2)
    outcomes = fan_out(client, "slow", Attempt(slow), list(range(100)), DaskSettings())
    next(outcomes)
    outcomes.close()
    wait_until_forgotten(client)
    assert slow.calls.total() < 20


CLIENT = """
import sys, time
from pathlib import Path
from geoetl.core.settings import DaskSettings
from geoetl.runs.attempt import Attempt
from geoetl.runs.cluster import client
from geoetl.runs.fanout import fan_out
from tests.runs.dask_tasks import Struck

settings = DaskSettings(address=sys.argv[1])
with client(settings) as dask:
    for _ in fan_out(dask, "slow", Attempt(Struck(Path(sys.argv[2]), -1, sleep_s=0.2)), list(range(100)), settings):
        print("going on", flush=True)
"""


def test_a_run_that_is_killed_leaves_nothing_on_the_cluster(
    client: Client, cluster: LocalCluster, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    command = [sys.executable, "-c", CLIENT, cluster.scheduler_address, str(tmp_path / "marks")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"going on\n"
    process.kill()
    process.wait()
    wait_until_forgotten(client)


def wait_until_forgotten(client: Client) -> None:
    """Wait until the scheduler has no task."""
    deadline = time.monotonic() + PATIENCE_S
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_that_came_later_with_other_versions_is_refused() -> None:
    found = Batch(moments, [1], {**own_versions(), "geoetl": "0.0.1"})()
    assert isinstance(found, ConfigurationError)
    assert "geoetl 0.0.1 here" in found.detail


def test_without_any_worker_left_the_run_ends_and_may_be_tried_again() -> None:
    with (
        dask_workers(1) as cluster,
        # By its address: workers of a cluster that is ours would be replaced.
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        outcomes = fan_out(client, "moments", Attempt(moments), list(range(100_000)), DaskSettings(start_seconds=1.0))
        next(outcomes)
        cluster.scale(0)
        with pytest.raises(Unavailable, match="All Dask workers are gone"):
            list(outcomes)


def test_results_that_are_lost_with_the_last_worker_are_not_waited_for() -> None:
    with dask_workers(1) as cluster, Client(cluster.scheduler_address, set_as_default=False) as client:
        (pid,) = client.run(os.getpid).values()
        outcomes = fan_out(client, "moments", Attempt(moments), list(range(100_000)), DaskSettings(start_seconds=1.0))
        next(outcomes)
        # It has results, and does not give them.
        os.kill(pid, signal.SIGSTOP)
        ending = threading.Timer(1.0, cluster.scale, [0])
        ending.start()
        with pytest.raises(Unavailable, match="All Dask workers are gone"):
            list(outcomes)
        ending.join()


def test_a_scheduler_that_is_lost_ends_the_run_which_may_be_tried_again(tmp_path: Path) -> None:
    with dask_workers(1) as cluster:
        with Client(cluster.scheduler_address, set_as_default=False, timeout=1) as client:
            outcomes = fan_out(client, "moments", Attempt(moments), list(range(100_000)), DaskSettings())
            next(outcomes)
            closing = threading.Thread(target=cluster.close)
            closing.start()
            with pytest.raises(Unavailable, match="The Dask scheduler was lost"):
                list(outcomes)
            closing.join()
