"""The limited process that a notebook runs in."""

from pathlib import Path

import nbformat
import pytest

from geoetl.core.settings import LimitSettings
from geoetl.runs.model import RunRecord, RunState
from geoetl.runs.notebook import NotebookRunner
from geoetl.runs.pipeline import Pipeline
from geoetl.runs.presence import Presence
from geoetl.runs.queue import Submission
from geoetl.runs.repository import RunRepository
from geoetl.store.zones import Zones
from tests.migrated import sqlite_database


def write_notebook(path: Path, code: str) -> Path:
    """Write a notebook of one cell."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(notebook, path)
    return path


def execute(tmp_path: Path, zones: Zones, code: str, limits: LimitSettings) -> RunRecord:
    """Execute a notebook of one cell."""
    path = write_notebook(tmp_path / "test.ipynb", code)
    database = sqlite_database(tmp_path / "runs.db")
    repository = RunRepository(database)
    pipeline = Pipeline("test", path, "Test", "", {}, "")
    runner = NotebookRunner(repository, zones.internal, tmp_path / "scratch", limits)
    with Presence(repository.queue) as presence:
        claim = repository.queue.begin(Submission("test", {}, "a" * 64, "test"), presence.id)
        return runner.execute(pipeline, claim, {}, presence)


def test_the_executed_notebook_is_kept(tmp_path: Path, zones: Zones) -> None:
    # Nobody steps through a pipeline: its kernel takes no time to load a debugger.
    code = (
        "import sys\nprint('done' * 2, sorted({'debugpy', '_pydevd_bundle'} & {*filter(sys.modules.get, sys.modules)}))"
    )
    record = execute(tmp_path, zones, code, LimitSettings())
    assert record.state is RunState.COMPLETED
    assert record.notebook is not None
    assert "donedone []" in zones.internal.local_path(record.notebook).read_text("utf-8")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "limits", "says"),
    [
        ("block = bytearray(3 * 1024**3)", {"kernel_memory_gib": 1}, "MemoryError"),
        ("while True: pass", {"run_minutes": 0.05}, "took longer than 0.05 minutes"),
        ("import os; os._exit(1)", {}, "process died"),
        ("1 / 0", {}, "ZeroDivisionError: division by zero"),
    ],
    ids=["memory", "time", "death", "error"],
)
def test_a_notebook_that_goes_wrong_fails_its_run_with_a_reason(
    tmp_path: Path, zones: Zones, code: str, limits: dict[str, float], says: str
) -> None:
    record = execute(tmp_path, zones, code, LimitSettings(**limits))  # type: ignore[arg-type]
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert says in record.error["detail"]
    assert record.error["hint"]
    assert record.notebook is not None
