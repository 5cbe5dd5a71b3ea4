"""``geoetl janitor``: a dry run that tells, a real one that does, and the history."""

import json
import sys
from pathlib import Path
from typing import Protocol

import pytest

from geoetl.cli.main import app, guarded


class Run(Protocol):
    """Runs ``geoetl janitor``, checks its exit code and returns what it printed, or of errors said."""

    def __call__(self, *arguments: str, code: int = 0) -> str: ...


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs ``geoetl janitor`` in this process."""

    def call(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["geoetl", "janitor", *arguments])
        assert guarded(app) == code
        printed = capsys.readouterr()
        return printed.out if code == 0 else printed.err

    return call


@pytest.fixture
def left(home: Path) -> Path:
    """Give a folder that a process has left."""
    path = home / "scratch" / ".leaving-1"
    path.mkdir(parents=True)
    (path / "x").write_text("123")
    return path


def test_a_dry_run_tells_and_a_real_run_does_it(run: Run, left: Path) -> None:
    out = run("--part", "files", "--part", "runs")
    assert "scratch/.leaving-1" in out and "3 B" in out
    assert "Nothing was changed. Do it with: geoetl janitor --no-dry-run" in out
    assert left.exists()
    done = json.loads(run("--part", "files", "--no-dry-run", "--json"))
    assert (done["items_fixed"], done["bytes_freed"], done["dry_run"]) == (1, 3, False)
    assert [one["name"] for one in done["leftovers"]] == ["scratch/.leaving-1"]
    assert not left.exists()
    listed = json.loads(run("history", "--json"))
    assert [one["dry_run"] for one in listed] == [False, True]
    table = run("history")
    assert "dry run" in table and "done" in table
    assert "scratch/.leaving-1" in run("history", "--id", done["id"])


def test_what_is_wrong_is_said(run: Run) -> None:
    assert "parts" in run("--part", "filez", code=2)
    assert "older_than_hours" in run("--older-than-hours", "0.5", code=2)
    assert "No clean-up yet" in run("history")
