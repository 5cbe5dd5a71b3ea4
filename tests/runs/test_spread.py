"""Work spread over processes: the same results, and nothing is left behind."""

import os
import time
from pathlib import Path

import pytest

from geoetl.core.errors import NotFound, RunFailed
from geoetl.runs import spread as module
from geoetl.runs.spread import spread


def squared(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def slow(number: int) -> int:
    time.sleep(0.01)
    if number == 90:
        raise NotFound("There is no number 90.")
    return number


def dying(number: int) -> int:
    time.sleep(0.01)
    if number > 90:
        os._exit(1)
    return number


def nested(number: int) -> int:
    return sum(result for _, (result, _) in spread(squared, range(3), processes=2)) + number


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes pay at once."""
    monkeypatch.setattr(module, "PROBE_S", 0.0)
    monkeypatch.setattr(module, "WORTH_S", 0.0)


def test_short_work_stays_here() -> None:
    results = dict(spread(squared, range(50), processes=2))
    assert results == {n: (n * n, os.getpid()) for n in range(50)}


def test_long_work_runs_in_other_processes_and_gives_the_same(eager: None) -> None:
    results = dict(spread(squared, range(50), processes=2))
    assert {place: value for place, (value, _) in results.items()} == {n: n * n for n in range(50)}
    assert len({process for _, process in results.values()} - {os.getpid()}) in (1, 2)


def test_within_a_process_nothing_is_spread_again(eager: None) -> None:
    assert dict(spread(nested, range(3), processes=2)) == {0: 5, 1: 6, 2: 7}


def test_an_error_of_the_work_is_raised_here(eager: None) -> None:
    with pytest.raises(NotFound, match="no number 90"):
        list(spread(slow, range(100), processes=2))


def test_a_process_that_dies_is_told(eager: None) -> None:
    with pytest.raises(RunFailed, match="A process that worked on a part of this died"):
        list(spread(dying, range(100), processes=2))


def test_no_process_is_left(eager: None) -> None:
    list(spread(squared, range(10), processes=2))
    left = [path for path in Path("/proc").glob("[0-9]*/stat") if is_child(path)]
    assert not left


def is_child(stat: Path) -> bool:
    """Tell whether a process is a spawned worker of this one."""
    try:
        parent = int(stat.read_text().rpartition(")")[2].split()[1])
        command = stat.with_name("cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return False
    return parent == os.getpid() and b"spawn_main" in command
