"""Dask workers are killed and stopped at random moments of a reduction, and the answer is the same to the last bit.

The short form is part of every test run; ``make chaos`` makes more of it with ``GEOETL_TEST_REDUCTIONS``.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from geoetl.core.errors import GeoetlError
from geoetl.core.settings import DaskSettings
from geoetl.runs.attempt import Attempt
from geoetl.runs.cluster import Cluster, replace_lost_workers
from geoetl.runs.fanout import fan_out
from tests.runs.dask_tasks import Struck, moments

REDUCTIONS = int(os.environ.get("GEOETL_TEST_REDUCTIONS", 5))
ITEMS = range(200)
SETTINGS = DaskSettings(address="local", workers=2)
PATIENCE_S = 120
# So that a reduction takes some seconds, and a signal strikes in its middle.
SLEEP_S = 0.01
STRIKE_S = (0.1, 0.9)
# A stopped worker goes on after a while.
STOPPED_S = 0.5


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give two workers of this machine."""
    cluster = Cluster(SETTINGS)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def oracle() -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Give what comes out when it is computed here, one after another."""
    return reduced([moments(number) for number in ITEMS])


def reduced(parts: list[list[float]]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Return mean, variance and largest of all numbers; float64 sums depend on the order of their terms."""
    total, squares, largest = np.array(parts).T
    count = 20_000 * len(parts)
    mean = total.sum() / count
    return np.array([mean, squares.sum() / count - mean**2, largest.max()])


def worker_processes() -> list[int]:
    """Return the processes of the workers, also of those that are only starting."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # one that has just ended
            if any("spawn_main" in part for part in child.cmdline()):
                found.append(child.pid)
    return sorted(found)


def go_on(process: int) -> None:
    """Let a stopped process go on, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("number", range(REDUCTIONS))
def test_a_reduction_whose_worker_is_struck_gives_what_the_serial_one_gives(
    number: int, cluster: Cluster, oracle: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", tmp_path: Path
) -> None:
    luck = random.Random(number)
    client = cluster.client()
    assert client is not None
    deadline = time.monotonic() + PATIENCE_S
    while replace_lost_workers(client, SETTINGS) < SETTINGS.workers:  # of the one before
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kind = signal.SIGSTOP if luck.random() < 0.25 else signal.SIGKILL
    outcomes: dict[int, object] = {}
    done: list[int] = []

    def strike() -> None:
        process = luck.choice(worker_processes())
        os.kill(process, kind)
        done.append(len(outcomes))
        if kind == signal.SIGSTOP:
            threading.Timer(STOPPED_S, go_on, (process,)).start()

    task = Struck(tmp_path, -1, sleep_s=SLEEP_S)
    timer = threading.Timer(luck.uniform(*STRIKE_S), strike)
    timer.start()
    for some in fan_out(client, "moments", Attempt(task), list(ITEMS), SETTINGS):
        outcomes.update(some)
    timer.join()
    assert done, "nothing was struck"
    assert done[0] < len(ITEMS), "it was struck too late"
    assert not any(isinstance(outcome, GeoetlError) for outcome in outcomes.values())
    assert np.array_equal(reduced([outcomes[place] for place in ITEMS]), oracle)  # type: ignore[misc]
