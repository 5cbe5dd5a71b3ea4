"""What a run is: frozen records of runs and stages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from geoetl.core import html
from geoetl.core.errors import GeoetlError

# Rows of a table in a notebook; the record holds all.
MAX_ROWS_SHOWN = 25


class RunState(StrEnum):
    """Where a run or stage stands; an ``interrupted`` run lost its process: a worker or the same call resumes it."""

    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens any more unless somebody asks for it."""
        return self in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)


class RunKind(StrEnum):
    """What a run executes."""

    NOTEBOOK = "notebook"
    FUNCTION = "function"


class EventKind(StrEnum):
    """What may happen to a run."""

    QUEUED = "queued"
    STARTED = "started"
    STAGE = "stage"  # begun, or ended: its state says so
    PROGRESS = "progress"
    LOG = "log"
    DASK = "dask"  # its tasks run on Dask workers, and can be watched
    RETRYING = "retrying"  # an attempt failed for a reason that may pass
    RETURNED = "returned"  # handed back by a worker that stops
    LOST = "lost"  # its process is gone
    CANCELLING = "cancelling"
    FINISHED = "finished"


class RunEvent(BaseModel):
    """Something that happened to a run.

    Attributes:
        run_id: Whose it is.
        number: Its place among the events of the run, from 1.
        at: Unix time, seconds.
        kind: What happened.
        data: The particulars.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    number: int
    at: float
    kind: EventKind
    data: dict[str, Any]

    def lines(self) -> tuple[str, ...]:
        """Return it as people read it in a terminal: a sentence with its time, or what was printed."""
        if self.kind is EventKind.LOG:
            return tuple(f"  {line}" for line in self.printed)
        return (f"{_utc(self.at)} {self.sentence}",)

    @property
    def printed(self) -> tuple[str, ...]:
        """What was printed; what is done is left out, which the events of stages tell."""
        lines = self.data["lines"] if self.kind is EventKind.LOG else ()
        return tuple(line for line in lines if not line.startswith("✓"))

    @property
    def sentence(self) -> str:
        """What happened, in a few words."""
        data = self.data
        match self.kind:
            case EventKind.STAGE:
                return f"{data['stage']}: {data['state']}"
            case EventKind.PROGRESS:
                return f"{data['stage']}: {data['done']} done"
            case EventKind.DASK:
                return f"{data['workers']} Dask workers, to be watched on {data['host']} at {data['dashboard']}"
            case EventKind.STARTED:
                return f"started, attempt {data['attempt']}"
            case EventKind.RETRYING:
                return f"{data['error']['detail']} It is tried again in {data['after_s']:g} s."
            case EventKind.FINISHED:
                return str(data["state"])
            case EventKind.RETURNED:
                return "handed back by a worker that stops"
            case EventKind.LOST:
                return "its process is gone"
            case _:
                return str(self.kind)


class Stage(BaseModel):
    """One step of a run.

    Attributes:
        name: As in the notebook.
        state: Where it stands.
        attempt: The run's attempt in which it was last executed.
        started_at: Unix time, seconds.
        finished_at: Unix time, seconds; None while it runs.
        done: Tasks of a fan-out that are finished; 0 or 1 for a single step.
        total: Tasks of a fan-out; 1 for a single step.
        warnings: What it said.
        error: The problem that ended it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    state: RunState
    attempt: int
    started_at: float
    finished_at: float | None
    done: int
    total: int
    warnings: tuple[str, ...]
    error: dict[str, Any] | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.finished_at is None else self.finished_at - self.started_at


class RunRecord(BaseModel):
    """A run of one pipeline, as the database remembers it.

    Attributes:
        id: Its id; ids sort by the time they were made.
        kind: Whether it executes a notebook or a function.
        pipeline: Name of the notebook, or of the function.
        subject: What it works on; runs of one subject follow each other.
        state: Where it stands.
        parameters: As they were given, completed by the defaults.
        priority: Of two subjects, the one with the higher number is served first.
        attempt: How often it was begun; what an older attempt writes is refused.
        failures: Attempts that failed for a reason that may pass, or whose process was lost.
        max_attempts: After so many of those it has failed.
        cancel_requested: Whether somebody wants it to end.
        submitted_by: Who asked for it.
        events: Number of its latest event.
        created_at: Unix time, seconds; ``started_at`` and ``finished_at`` likewise.
        stages: In the order of the notebook.
        result: What the notebook emitted.
        error: The problem that ended it (see `GeoetlError.problem`).
        notebook: Key of the executed notebook in the internal zone.
        reused: True when an earlier, completed run answered the request.
        dashboard: Where its Dask workers can be watched, as seen from the machine that executes it; while it does.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: RunKind
    pipeline: str
    subject: str
    state: RunState
    parameters: dict[str, Any]
    priority: int
    attempt: int
    failures: int
    max_attempts: int
    cancel_requested: bool
    submitted_by: str | None
    events: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    stages: tuple[Stage, ...] = ()
    result: Any = None
    error: dict[str, Any] | None = None
    notebook: str | None = None
    reused: bool = False
    dashboard: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took."""
        if self.finished_at is None or self.started_at is None:
            return None
        return self.finished_at - self.started_at

    def raise_for_error(self) -> "RunRecord":
        """Return the run itself, or raise the error that ended it."""
        if self.error is not None:
            raise GeoetlError.from_problem(self.error)
        return self

    def _repr_html_(self) -> str:
        tried = f" · attempt {self.attempt}" if self.attempt else ""
        said = f"{self.state}{tried}" + (" · done before" if self.reused else "")
        parts = [html.heading(f"Run {self.pipeline}", said)]
        parts.append(
            html.facts(
                [
                    ("id", self.id),
                    ("submitted by", self.submitted_by),
                    ("started", _utc(self.started_at)),
                    ("took", "" if self.seconds is None else html.human_seconds(self.seconds)),
                    ("Dask dashboard", self.dashboard),
                    ("error", self.error["detail"] if self.error else None),
                    ("what to do", self.error["hint"] if self.error else None),
                ]
            )
        )
        if self.stages:
            # Which attempt a stage is of shows what was not repeated.
            names = ["stage", "state", "took", "tasks", *(["attempt"] if self.attempt > 1 else [])]
            rows = [
                (
                    stage.name,
                    stage.state,
                    "" if stage.seconds is None else html.human_seconds(stage.seconds),
                    f"{stage.done} of {stage.total}" if stage.total > 1 else "",
                    *([stage.attempt] if self.attempt > 1 else []),
                )
                for stage in self.stages
            ]
            parts.append(html.table(names, rows))
        parts.append(html.facts(sorted(self.parameters.items())))
        return "".join(parts)


def notebook_key(run_id: str) -> str:
    """Return the key, in the internal zone, of a run's executed notebook."""
    return f"runs/{run_id}/notebook.ipynb"


class Result(BaseModel):
    """Base of what stages return: frozen, stored as JSON, shown as a table in notebooks."""

    model_config = ConfigDict(frozen=True)

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = []
        tables: list[str] = []
        for name, value in self:
            if isinstance(value, BaseModel):
                rows += [(f"{name}.{inner}", _short(text)) for inner, text in value]
            elif isinstance(value, tuple | list) and value and all(isinstance(part, BaseModel) for part in value):
                tables.append(_table(name, value))
            else:
                rows.append((name, _short(value)))
        return html.heading(type(self).__name__) + html.facts(rows) + "".join(tables)


def _table(name: str, parts: Sequence[BaseModel]) -> str:
    """Return the parts as rows; columns that say nothing in any row are left out."""
    fields = [field for field in type(parts[0]).model_fields if any(getattr(p, field) is not None for p in parts)]
    rows = [[_short(getattr(part, field)) for field in fields] for part in parts[:MAX_ROWS_SHOWN]]
    more = len(parts) - MAX_ROWS_SHOWN
    return html.heading(name, f"{more} more" if more > 0 else "") + html.table(fields, rows)


def _short(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ", ".join(map(_short, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 160 else f"{text[:157]}…"


def _utc(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
