"""What writers, runs and processes have left: it goes when they are gone, and not before."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from geoetl.ops import Part
from geoetl.ops.model import Fate
from geoetl.publish.model import Action, State
from geoetl.runs.model import RunKind, RunState, notebook_key
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Claim, Ending, RunQueue, Submission
from geoetl.runs.tables import runs, workers
from tests.ops.housed import LATER_S, House, request
from tests.publish.releasing import a_step, brought, who_does

DAY_S = 86_400.0
ERROR = {"code": "error", "detail": "It is a web page.", "title": "no", "status": 422}


def begin(queue: RunQueue, name: str = "a", mark: ProcessMark | None = None) -> Claim:
    asked = Submission("ingest-raster", {}, (name * 64)[:64], f"c/{name}")
    return queue.begin(asked, queue.enter(mark or ProcessMark.own(), 1))


def dead_mark() -> ProcessMark:
    """Return the mark of a process of this machine that has ended."""
    process = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(process, 0)
    return ProcessMark(ProcessMark.own().host, process, "")


def found(house: House, part: Part) -> list[str]:
    return [one.name for one in house.plan(part).leftovers]


# -- unfinished writes -------------------------------------------------------------------------------------------------


def test_what_was_begun_to_be_written_goes_when_no_run_may_still_write_it(house: House) -> None:
    zone, queue = house.platform.zones.internal, house.platform.runs.queue
    zone.artifacts.writing("internal", "a/dead.tif", "lands/a")
    house.put("a/replaced.tif")
    house.register("a", "internal://a/replaced.tif")
    zone.artifacts.writing("internal", "a/replaced.tif", "lands/a")
    assert found(house, Part.WRITES) == ["internal://a/dead.tif"]
    claim = begin(queue)
    with house.platform.database.begin() as connection:
        connection.execute(sa.update(runs).values(started_at=runs.c.started_at - 3600))
    assert found(house, Part.WRITES) == [], "a run that is being executed may be its writer"
    queue.finish(Ending(claim.run_id, claim.attempt))
    assert house.clean(Part.WRITES).items_fixed == 1
    assert zone.artifacts.keys_under("internal", "lands/a") == ["a/replaced.tif"]
    assert house.is_there("a/replaced.tif")


def test_what_is_on_its_way_stays_as_long_as_somebody_holds_it(cottage: House) -> None:
    held, left = cottage.lay(".incoming/tmpheld"), cottage.lay(".incoming/tmpleft")
    folder = cottage.lay(".incoming/tmpfolder/tas/0").parents[1]
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = cottage.clean(Part.WRITES)
    assert (held.exists(), left.exists(), folder.exists()) == (True, False, False)
    assert done.actions == {Part.WRITES: {Fate.FIXED: 2, Fate.KEPT: 1}}
    assert [path.name for path in held.parent.iterdir()] == ["tmpheld"]


@pytest.mark.parametrize("state", [State.APPROVED, State.COPYING, State.COPY_FAILED, State.PUBLISHED])
def test_what_is_staged_stays_as_long_as_its_release_is_copied(cottage: House, state: State) -> None:
    release = brought(cottage.platform.publish.repository, state)
    staged = cottage.lay(f".incoming/publish/{release.id}/data.tif", zone="external")
    other = cottage.lay(".incoming/publish/another/data.tif", zone="external")
    cottage.clean(Part.WRITES)
    assert staged.exists() == (state is State.COPYING)
    assert not other.parent.exists()


def test_a_release_whose_copy_began_after_the_look_keeps_what_is_staged(cottage: House) -> None:
    releases = cottage.platform.publish.repository
    release = brought(releases, State.APPROVED)
    staged = cottage.lay(f".incoming/publish/{release.id}/data.tif", zone="external")
    asked = request(Part.WRITES, dry_run=False)
    plan = cottage.janitor.plan(asked)
    releases.move(who_does(Action.BEGIN_COPY), a_step(release, Action.BEGIN_COPY))
    (kept,) = cottage.janitor.clean(asked, plan).actions_taken
    assert (kept.fate, kept.detail) == (Fate.KEPT, "the release is being copied by now")
    assert staged.exists()


# -- runs --------------------------------------------------------------------------------------------------------------


def test_runs_of_dead_processes_are_ended_and_those_with_a_heartbeat_are_left_alone(house: House) -> None:
    repository, queue = house.platform.runs, house.platform.runs.queue
    dead, alive, left = (
        begin(queue, "a", dead_mark()),
        begin(queue, "b"),
        begin(queue, "c", ProcessMark("another machine", 1, "")),
    )
    with house.platform.database.begin() as connection:
        connection.execute(sa.update(runs).values(started_at=runs.c.started_at - 3 * DAY_S))
        # The living process says so now, 25 hours after the others.
        mine = workers.c.host == ProcessMark.own().host
        connection.execute(sa.update(workers).where(mine).values(seen_at=time.time() + LATER_S))
    assert len(found(house, Part.RUNS)) == 2
    assert house.clean(Part.RUNS).items_fixed == 2
    states = [repository.get(one.run_id).state for one in (dead, alive, left)]
    assert states == [RunState.INTERRUPTED, RunState.RUNNING, RunState.INTERRUPTED]
    assert house.clean(Part.RUNS).items_fixed == 2, "nobody went on with them"
    ended = repository.get(dead.run_id)
    assert ended.state is RunState.FAILED and ended.error is not None and "nobody went on" in ended.error["detail"]
    assert repository.get(alive.run_id).state is RunState.RUNNING
    assert found(house, Part.RUNS) == []
    queue.retry(dead.run_id)
    assert repository.get(dead.run_id).state is RunState.QUEUED


def test_a_run_that_somebody_went_on_with_after_the_look_is_left_alone(cottage: House) -> None:
    queue = cottage.platform.runs.queue
    claim = begin(queue, "a", dead_mark())
    cottage.clean(Part.RUNS)
    asked = request(Part.RUNS, dry_run=False)
    plan = cottage.janitor.plan(asked)
    assert [one.name for one in plan.going] == [f"run {claim.run_id}"]
    begin(queue, "a")
    (kept,) = cottage.janitor.clean(asked, plan).actions_taken
    assert (kept.fate, kept.detail) == (Fate.KEPT, "somebody went on with it")
    assert cottage.platform.runs.get(claim.run_id).state is RunState.RUNNING


def test_runs_that_wait_without_a_next_one_are_served_again(house: House) -> None:
    queue = house.platform.runs.queue
    asked = [Submission("ingest-raster", {}, name * 64, "c/x") for name in "ab"]
    first, _ = (one[0] for one in queue.submit(*asked))
    assert found(house, Part.RUNS) == []
    with house.platform.database.begin() as connection:
        connection.execute(sa.update(runs).values(is_head=0))
    assert found(house, Part.RUNS) == ["subject c/x"]
    house.clean(Part.RUNS)
    worker = queue.enter(ProcessMark.own(), 1)
    assert [one.run_id for one in queue.claim(worker, RunKind.NOTEBOOK, limit=5)] == [first]


# -- notebooks ---------------------------------------------------------------------------------------------------------


def executed(house: House, name: str, days: float, *, failed: bool = False) -> str:
    """Make a run that was over so many days ago; return its id."""
    queue = house.platform.runs.queue
    claim = begin(queue, name)
    key = notebook_key(claim.run_id)
    house.put(key, json.dumps({"cells": []}).encode(), owner=f"runs/{claim.run_id}")
    queue.finish(Ending(claim.run_id, claim.attempt, error=ERROR if failed else None, notebook=key))
    with house.platform.database.begin() as connection:
        long_ago = {"finished_at": time.time() - days * DAY_S}
        connection.execute(sa.update(runs).where(runs.c.id == claim.run_id).values(long_ago))
    return claim.run_id


def test_old_notebooks_go_but_the_newest_those_of_failures_and_those_that_items_name(house: House) -> None:
    old, named, failed = (executed(house, n, 100, failed=n == "c") for n in "abc")
    older, newest = executed(house, "d", 400, failed=True), executed(house, "e", 100)
    house.register("a", f"internal://{notebook_key(named)}")
    assert found(house, Part.NOTEBOOKS) == sorted(f"internal://{notebook_key(one)}" for one in (old, older))
    assert found(house, Part.OBJECTS) == []
    assert house.clean(Part.NOTEBOOKS).items_fixed == 2
    records = {one: house.platform.runs.get(one) for one in (old, named, failed, older, newest)}
    assert [record.notebook is not None for record in records.values()] == [False, True, True, False, True]
    assert [house.is_there(notebook_key(one)) for one in records] == [False, True, True, False, True]
    assert found(house, Part.NOTEBOOKS) == []


def test_a_notebook_of_a_run_that_was_executed_again_after_the_look_stays(cottage: House) -> None:
    old, _ = executed(cottage, "a", 400, failed=True), executed(cottage, "b", 1)
    asked = request(Part.NOTEBOOKS, dry_run=False)
    plan = cottage.janitor.plan(asked)
    assert len(plan.going) == 1
    cottage.platform.runs.queue.retry(old)
    (kept,) = cottage.janitor.clean(asked, plan).actions_taken
    assert (kept.fate, kept.detail) == (Fate.KEPT, "the run was executed again")
    assert cottage.is_there(notebook_key(old))


# -- files of this machine ---------------------------------------------------------------------------------------------


def lay(path: Path, size: int = 3, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_temporary_folders_go_and_what_can_be_gone_on_with_stays_longer(cottage: House) -> None:
    home = cottage.platform.settings.home
    left = lay(home / "scratch/tmpabc/big.tif"), lay(home / "scratch/.leaving-1/rest"), lay(home / "scratch/0abc-1/n")
    worker = lay(home / "scratch/dask/dask-scratch-space/worker-1/storage")
    mine, resumable = lay(home / "scratch/dask/notes.txt"), lay(home / "scratch/converted/x/zarr.json")
    names = found(cottage, Part.FILES)
    assert names == [
        "scratch/.leaving-1",
        "scratch/0abc-1",
        "scratch/dask/dask-scratch-space/worker-1",
        "scratch/tmpabc",
    ]
    claim = begin(cottage.platform.runs.queue)
    with cottage.platform.database.begin() as connection:
        connection.execute(sa.update(runs).values(started_at=runs.c.started_at - 3600))
    assert found(cottage, Part.FILES) == ["scratch/.leaving-1"], "they may be those of the run"
    cottage.platform.runs.queue.finish(Ending(claim.run_id, claim.attempt))
    done = cottage.clean(Part.FILES)
    assert (done.items_fixed, done.bytes_freed) == (4, 12)
    assert not any(path.exists() for path in (*left, worker)) and mine.exists() and resumable.exists()
    assert sorted(path.name for path in (home / "scratch").iterdir()) == ["converted", "dask"]


def test_a_folder_that_was_touched_after_the_look_stays(cottage: House) -> None:
    path = lay(cottage.platform.settings.home / "scratch/tmpabc/x", age_s=60)
    asked = request(Part.FILES, dry_run=False)
    os.utime(path.parent, (time.time() - 60,) * 2)
    plan = cottage.janitor.plan(asked)
    path.write_text("more")
    (kept,) = cottage.janitor.clean(asked, plan).actions_taken
    assert (kept.fate, kept.detail, path.exists()) == (Fate.KEPT, "it was used by now", True)


def test_copies_of_remote_objects_go_by_age_and_when_they_are_too_many(cottage: House) -> None:
    cache = cottage.platform.settings.home / "cache/internal"
    for name, age_days in (("v1", 40), ("v2", 3), ("v3", 2)):
        path = lay(cache / name / "rasters/a.tif", 1000, age_days * DAY_S)
        for folder in (path.parent, path.parent.parent):
            os.utime(folder, (time.time() - age_days * DAY_S,) * 2)
    assert found(cottage, Part.FILES) == ["cache/internal/v1"]
    assert cottage.clean(Part.FILES, cache_gib=1500 / 1024**3).bytes_freed == 2000
    assert [path.name for path in cache.iterdir()] == ["v3"]
