"""A worker whose every step is taken by a test, so that runs move when the test says so."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geoetl
from geoetl.core.errors import GeoetlError, UnreadableFile
from geoetl.platform import Platform
from geoetl.runs.model import RunKind, notebook_key
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending

SAMPLE = "samples:landsat_rgb.tif"
_SCHEDULES = """
schedules:
  purge-events: {title: Remove the events of old runs by night, cron: "30 1 * * *", function: purge-events}
"""


def scheduled(home: Path) -> Platform:
    """Return an empty platform with one schedule, `purge-events`."""
    declared = home.parent / "schedules.yaml"
    declared.write_text(_SCHEDULES, encoding="utf-8")
    managed = home.parent / "managed"
    managed.mkdir()
    return geoetl.connect(home, schedules=declared, managed=managed)


@dataclass
class HandWorker:
    """Executes what waits, step by step.

    Args:
        platform: Whose runs.
    """

    platform: Platform

    def __post_init__(self) -> None:
        self._id = self.platform.runs.queue.enter(ProcessMark.own(), 1)
        self.run_id, self.attempt = "", 0

    def claim(self, kind: RunKind = RunKind.NOTEBOOK) -> str:
        """Take the next run and return its id."""
        (taken,) = self.platform.runs.queue.claim(self._id, kind)
        self.run_id, self.attempt = taken.run_id, taken.attempt
        return taken.run_id

    def begin(self, stage: str, *, total: int = 1, position: int = 1) -> None:
        """Begin a stage."""
        self.platform.runs.start_stage(self.run_id, self.attempt, stage, position, "x", total)

    def progress(self, stage: str, done: int) -> None:
        """Be done with so many tasks of a stage."""
        self.platform.runs.progress(self.run_id, self.attempt, stage, done)

    def end(self, stage: str, *warnings: str, error: GeoetlError | None = None) -> None:
        """End a stage, with warnings or an error."""
        outcome: dict[str, Any] = {"error": error.problem()} if error else {"result": "1"}
        self.platform.runs.finish_stage(self.run_id, self.attempt, stage, warnings=warnings, **outcome)

    def say(self, *lines: str) -> None:
        """Print lines."""
        self.platform.runs.log(self.run_id, self.attempt, lines)

    def finish(self, result: Any = None, *, cells: list[dict[str, Any]] | None = None) -> None:
        """Complete the run, with an executed notebook where its cells are given."""
        key = self._keep(cells) if cells is not None else None
        text = json.dumps(result) if result is not None else None
        self.platform.runs.queue.finish(Ending(self.run_id, self.attempt, result=text, notebook=key))

    def fail(self, error: GeoetlError | None = None) -> None:
        """Let the run fail for good."""
        error = error or UnreadableFile("The file is a web page.", hint="Download it again.")
        self.platform.runs.queue.finish(Ending(self.run_id, self.attempt, error=error.problem()))

    def is_to_cancel(self) -> bool:
        """Tell whether somebody wants the run to end."""
        return self.platform.runs.queue.held(self._id)[self.run_id][1]

    def cancel(self) -> None:
        """End the run as somebody wanted."""
        self.platform.runs.queue.finish(Ending(self.run_id, self.attempt, cancelled=True))

    def leave(self) -> None:
        """Be at work no more."""
        self.platform.runs.queue.leave(self._id)

    def _keep(self, cells: list[dict[str, Any]]) -> str:
        path = self.platform.settings.home / "executed.ipynb"
        path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        key = notebook_key(self.run_id)
        self.platform.zones.internal.put(path, key, owner=f"runs/{self.run_id}")
        return key


def submit(platform: Platform, *, who: str = "Ada", pipeline: str = "ingest-raster", **parameters: Any) -> str:
    """Queue a run and return its id."""
    given = {"source": SAMPLE, "collection": "images", **parameters}
    return platform.submit(pipeline, given, submitted_by=who).id
