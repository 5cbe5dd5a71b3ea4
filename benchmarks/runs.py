"""Promises of the queue of runs.

    runs_per_s           trivial function runs claimed, executed and ended a second, SQLite, 2 workers    at least 200
    notebook_overhead    a pipeline through queue and worker / the same notebook by bare papermill, - 1   at most 0.15
    map_vs_dask          run.map of 10,000 tasks that do nothing / the same by bare Dask                   at most 1.3
    work_vs_dask         run.map of tasks that compute for some milliseconds / the same by bare Dask       at most 1.3

For the first, two processes that have loaded everything wait for a sign; then they execute runs that do nothing, each
of a subject of its own, while as many finished runs lie in the table as a busy year leaves. The time is that from the
first start to the last end on record. Afterwards each run has been executed once.

For the second, `ingest-vector` brings in a sample, alternately by papermill alone, with the kernel that it starts by
itself, and as it is done here: submitted, claimed by a worker, executed in a limited kernel with stages, events,
heartbeat and the executed notebook kept. Both have to register the same item. The ratio is that of the medians.

For the others, one cluster of two workers is there already. In each round the tasks are done by `Client.map` and
`gather`, and by `Run.map`, which also records each result in the database; who is first changes from round to round.
Results have to be equal. Of tasks that do nothing `Run.map` sends many at a time; of those that compute, few.
"""

import argparse
import json
import os
import platform as machine
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import geoetl
from geoetl.core.identifiers import new_id
from geoetl.core.registry import Registry
from geoetl.platform import Platform
from geoetl.runs.functions import LightFunction, function_submission
from geoetl.runs.model import RunState
from geoetl.runs.pipeline import load_pipeline
from geoetl.runs.stage import Run
from geoetl.runs.tables import runs

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "runs.json"
AT_LEAST = {"runs_per_s": 200.0}
AT_MOST = {"notebook_overhead": 0.15, "map_vs_dask": 1.3, "work_vs_dask": 1.3}
WORKERS = 2
PIPELINE, SOURCE = "ingest-vector", "samples:us_states.geojson"
# For processes to start and runs to end on a busy machine.
PATIENCE_S = 300


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        runs: That do nothing.
        finished: Runs that are in the table already.
        rounds: How often it is measured, or each side has its turn.
        tasks: Of a fan-out that do nothing.
        computing: Of one that compute.
        fan_outs: Rounds of these.
    """

    runs: int
    finished: int
    rounds: int
    tasks: int
    computing: int
    fan_outs: int


QUICK = Sizes(runs=2_000, finished=20_000, rounds=3, tasks=2_000, computing=500, fan_outs=3)
FULL = Sizes(runs=10_000, finished=100_000, rounds=7, tasks=10_000, computing=2_000, fan_outs=5)


class Nothing(LightFunction):
    """Do nothing."""

    title = "Do nothing"
    number: int

    def __call__(self, run: Run, platform: Any) -> None:
        """Do nothing."""


FUNCTIONS: Registry[type[LightFunction]] = Registry("function", {"nothing": Nothing})


@dataclass
class Measured:
    """What came out."""

    result: dict[str, Any] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    equal: bool = True

    def compare(self, same: bool, what: str) -> None:
        """Note whether something is as it has to be."""
        if not same:
            self.equal = False
            print(f"DIFFERENT: {what}")


# -- functions ---------------------------------------------------------------------------------------------------------


def work(go: Path) -> None:
    """Be a worker, from the moment a file appears until SIGTERM."""
    platform = geoetl.connect()
    worker = replace(platform.worker(), functions=FUNCTIONS)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    print("ready", flush=True)
    while not go.exists():
        time.sleep(0.01)
    worker.run()


def measure_functions(found: Measured, home: Path, sizes: Sizes) -> None:
    """Measure runs that do nothing."""
    platform = geoetl.connect(home)
    fill(platform, sizes.finished)
    for round_number in range(sizes.rounds):
        first = round_number * sizes.runs
        asked = [function_submission(FUNCTIONS, "nothing", {"number": first + n}) for n in range(sizes.runs)]
        parts = [asked[start : start + 500] for start in range(0, sizes.runs, 500)]
        ids = [run_id for part in parts for run_id, _ in platform.runs.queue.submit(*part)]
        rate = executed(platform, home, ids, home / f"go-{round_number}")
        found.rounds.setdefault("runs_per_s", []).append(rate)
        with platform.database.read() as connection:
            some = runs.c.identity.in_([one.identity for one in asked[:500]])
            mine = sa.select(runs.c.state, runs.c.attempt).where(some)
            found.compare(set(connection.execute(mine).all()) == {("completed", 1)}, "a run was not executed once")
    rate = statistics.median(found.rounds["runs_per_s"])
    found.result["runs_per_s"] = round(rate, 1)
    print(f"{'functions':<12} {rate:8.1f} runs/s with {WORKERS} workers beside {sizes.finished:,} finished runs")


def executed(platform: Platform, home: Path, ids: list[str], go: Path) -> float:
    """Let the workers execute what waits, and return how many runs they ended in a second."""
    command = [sys.executable, __file__, "--work", str(go)]
    environment = {**os.environ, "GEOETL_HOME": str(home)}
    workers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    done = platform.runs.counts().get(RunState.COMPLETED, 0)
    go.touch()
    wait_until(lambda: platform.runs.counts().get(RunState.COMPLETED, 0) == done + len(ids))
    for worker in workers:
        worker.terminate()
        worker.wait(PATIENCE_S)
    with platform.database.read() as connection:
        times = sa.select(sa.func.min(runs.c.started_at), sa.func.max(runs.c.finished_at)).where(
            runs.c.id.in_([ids[0], *ids[-500:]])
        )
        first, last = connection.execute(times).one()
    return len(ids) / float(last - first)


def fill(platform: Platform, count: int) -> None:
    """Put finished runs into the table."""
    rows = [
        {
            "id": new_id(), "kind": "function", "pipeline": "nothing", "subject": f"old {number}",
            "identity": f"{number:064}", "state": "completed", "parameters": "{}", "priority": 0, "is_head": 0,
            "attempt": 1, "failures": 0, "max_attempts": 5, "attended": 0, "cancel_requested": 0, "events": 0,
            "ready_at": 0.0, "created_at": 0.0, "started_at": 0.0, "finished_at": 0.0,
        }
        for number in range(count)
    ]  # fmt: skip
    with platform.database.begin() as connection:
        connection.execute(sa.insert(runs), rows)


def wait_until(true: Any) -> None:
    """Wait for something that comes about by itself."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("The runs did not end in time.")
        time.sleep(0.1)


# -- notebooks ---------------------------------------------------------------------------------------------------------


def measure_notebooks(found: Measured, home: Path, sizes: Sizes) -> None:
    """Measure a pipeline by papermill alone, and through the queue."""
    os.environ["GEOETL_HOME"] = str(home)  # for the kernel that papermill starts
    platform = geoetl.connect(home)
    bare, queued = [], []
    with at_work(platform):
        for round_number in range(sizes.rounds + 1):  # the first one fills caches, and is not counted
            parameters = {"source": SOURCE, "collection": f"round-{round_number}"}
            bare.append(by_papermill(parameters, home))
            queued.append(by_queue(platform, {**parameters, "collection": f"queued-{round_number}"}))
            same = [platform.catalog.item(f"{side}-{round_number}", "us_states") for side in ("round", "queued")]
            found.compare(same[0]["geometry"] == same[1]["geometry"], "the two registered different items")
    found.rounds |= {"papermill_s": bare[1:], "queued_s": queued[1:]}
    alone, here = statistics.median(bare[1:]), statistics.median(queued[1:])
    found.result["notebook_overhead"] = round(here / alone - 1, 3)
    print(f"{'notebooks':<12} {alone:8.2f} s by papermill, {here:.2f} s through the queue: {here / alone - 1:+.1%}")


def by_papermill(parameters: dict[str, str], home: Path) -> float:
    """Execute the notebook by papermill alone and return the seconds."""
    import papermill

    started = time.perf_counter()
    output = home / "bare.ipynb"
    path = load_pipeline(PIPELINE).path
    papermill.execute_notebook(path, output, parameters=parameters, progress_bar=False, kernel_name="python3")
    return time.perf_counter() - started


def by_queue(platform: Platform, parameters: dict[str, str]) -> float:
    """Submit the pipeline, wait until a worker has executed it, and return the seconds."""
    started = time.perf_counter()
    record = platform.submit(PIPELINE, parameters)
    for _ in platform.runs.follow(record.id):
        pass
    platform.runs.get(record.id).raise_for_error()
    return time.perf_counter() - started


@contextmanager
def at_work(platform: Platform) -> Iterator[None]:
    """Have a worker as long as the block lasts."""
    worker = platform.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


# -- fan-outs ----------------------------------------------------------------------------------------------------------


def squared(number: int) -> int:
    """Do next to nothing."""
    return number * number


def summed(number: int) -> int:
    """Compute for some milliseconds."""
    return sum(value * number % 7 for value in range(50_000))


def measure_fan_outs(found: Measured, home: Path, sizes: Sizes) -> None:
    """Measure a fan-out by Dask alone, and as one of a run."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        platform = geoetl.connect(home, dask={"address": cluster.scheduler_address})
        run = platform.current_run()
        run.tell = lambda text: None

        def by_dask(function: Callable[[int], int], items: range, name: str) -> list[int]:
            return list(client.gather(client.map(function, items, pure=False)))

        def by_run(function: Callable[[int], int], items: range, name: str) -> list[int]:
            return run.map(name, function, items)

        sides = {"dask": by_dask, "run": by_run}
        for key, function, count in (("map", squared, sizes.tasks), ("work", summed, sizes.computing)):
            taken: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(sizes.fan_outs + 1):  # the first one loads what workers need, and is not counted
                results = []
                for side in (list(sides), list(reversed(sides)))[number % 2]:
                    started = time.perf_counter()
                    results.append(sides[side](function, range(count), f"{key} {number}"))
                    taken[side].append(time.perf_counter() - started)
                found.compare(results[0] == results[1], "the two gave different results")
            found.rounds |= {f"{key}_by_{side}_s": seconds[1:] for side, seconds in taken.items()}
            alone, here = (statistics.median(taken[side][1:]) for side in sides)
            found.result[f"{key}_vs_dask"] = round(here / alone, 3)
            print(f"{key:<12} {alone:8.2f} s by Dask, {here:.2f} s by run.map of {count:,} tasks: {here / alone:.2f}")
        run.close()


# -- the result --------------------------------------------------------------------------------------------------------


def broken(found: Measured) -> list[str]:
    """Return the promises that were not kept."""
    got = found.result
    missed = [f"{key} is {got[key]}, promised {least}" for key, least in AT_LEAST.items() if got[key] < least]
    missed += [f"{key} is {got[key]}, promised {most}" for key, most in AT_MOST.items() if got[key] > most]
    return missed if found.equal else [*missed, "results differ"]


def save(found: Measured, load_before: tuple[float, ...], *, quick: bool) -> None:
    """Write what was measured, with every round of it."""
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "when": time.strftime("%Y-%m-%d"),
        "sizes": "quick" if quick else "full",
        "machine": {
            "cores": os.cpu_count(),
            "system": machine.platform(),
            # Of the machine: above zero, others worked beside it.
            "load_average_before": [round(value, 2) for value in load_before],
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
        },
        "versions": {
            "python": machine.python_version(),
            **{name: version(name) for name in ("distributed", "ipykernel", "nbclient", "papermill", "sqlalchemy")},
        },
        "result": {**found.result, "equal": found.equal},
        "rounds": {key: [round(value, 3) for value in values] for key, values in found.rounds.items()},
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs and rounds")
    parser.add_argument("--save", action="store_true", help=f"write every round to {RESULTS.relative_to(ROOT.parent)}")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return 0
    sizes = QUICK if arguments.quick else FULL
    found = Measured()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        measure_functions(found, Path(folder) / "functions", sizes)
        measure_notebooks(found, Path(folder) / "notebooks", sizes)
        measure_fan_outs(found, Path(folder) / "fan-outs", sizes)
    if arguments.save:
        save(found, load_before, quick=arguments.quick)
    missed = broken(found)
    for promise in missed:
        print(f"BROKEN: {promise}")
    print(json.dumps({**found.result, "equal": found.equal}))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
