"""Workers, queue and schedule from the command line; and that nothing works on when whoever started it is gone."""

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import geoetl
from geoetl.cli.main import app, guarded
from geoetl.runs.model import RunState

BESIDE = "import time\nfrom geoetl.cli.worker import beside\nwith beside(slots=1):\n    time.sleep(600)\n"


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Give a function that runs a command line in this process and returns what it prints."""

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["geoetl", *arguments])
        ended = guarded(app)
        printed = capsys.readouterr()
        assert ended == code, printed.err
        return printed.out or printed.err

    return run


@pytest.fixture
def call(command: Callable[..., str]) -> Callable[..., Any]:
    """Give a function that runs a command line with --json and returns what it says."""
    return lambda *arguments, code=0: json.loads(command(*arguments, "--json", code=code))


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that comes about by itself."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_is_scheduled_is_run_now_by_a_worker_and_can_be_followed(
    call: Callable[..., Any], command: Callable[..., str]
) -> None:
    listed = next(one for one in call("schedule", "list") if one["name"] == "purge-events")
    assert not listed["is_paused"]
    assert listed["next_slot"] > time.time()
    assert call("schedule", "pause", "purge-events")["is_paused"]
    assert not call("schedule", "resume", "purge-events")["is_paused"]
    waiting = call("schedule", "run", "purge-events")
    assert (waiting["state"], waiting["submitted_by"]) == ("queued", getpass.getuser())
    subprocess.run([sys.executable, "-m", "geoetl.cli", "worker", "--once"], check=True, capture_output=True)
    followed = command("runs", "follow", waiting["id"])
    assert [line.split()[-1] for line in followed.splitlines()] == ["queued", "1", "completed"]
    assert call("runs", "show", "latest")["result"] == {"events": 0}


def test_a_run_that_waits_is_cancelled_and_tried_again(call: Callable[..., Any]) -> None:
    run = call("runs", "submit", "ingest-raster", "source=samples:landsat_rgb.tif", "--priority", "3")
    assert (run["state"], run["priority"]) == ("queued", 3)
    assert call("runs", "cancel", run["id"])["state"] == "cancelled"
    assert call("runs", "cancel", run["id"], code=4)["code"] == "conflict"
    assert call("runs", "retry", "latest")["state"] == "queued"
    assert call("runs", "submit", "ingest-raster", "source=nowhere.tif", code=2)["field"] == "source"


def test_a_worker_beside_a_program_ends_with_it_however_it_ends(home: Path) -> None:
    queue = geoetl.connect().runs.queue
    for how in (signal.SIGKILL, signal.SIGINT):
        parent = subprocess.Popen([sys.executable, "-c", BESIDE], stderr=subprocess.DEVNULL)
        until(lambda: len(queue.workers()) == 1)
        (worker,) = (holder.mark.pid for holder in queue.workers())
        assert alive(worker)
        parent.send_signal(how)
        assert parent.wait(60) != 0
        until(lambda worker=worker: not alive(worker))  # type: ignore[misc]
        assert queue.holders() == [], "it took its leave"


def test_a_worker_that_dies_is_replaced(home: Path) -> None:
    platform = geoetl.connect()
    queue = platform.runs.queue
    parent = subprocess.Popen([sys.executable, "-c", BESIDE], stderr=subprocess.DEVNULL)
    until(lambda: len(queue.workers()) == 1)
    (first,) = queue.workers()
    os.kill(first.mark.pid, signal.SIGKILL)
    run_id = platform.declared_schedules().run_now("purge-events", "now")
    until(lambda: platform.runs.get(run_id).state is RunState.COMPLETED)
    until(lambda: first.id not in [holder.id for holder in queue.holders()])
    parent.terminate()
    parent.wait(60)
