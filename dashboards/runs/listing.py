"""Runs and their stages as the lists of the page show them; words, not ids."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from geoetl.runs.model import RunKind, RunRecord, RunState, Stage

if TYPE_CHECKING:
    from geoetl.platform import Platform

INTERACTIVE = "interactive"
STATES: Mapping[RunState, str] = {
    RunState.QUEUED: "Waits",
    RunState.RUNNING: "Running",
    RunState.INTERRUPTED: "Interrupted",
    RunState.COMPLETED: "Completed",
    RunState.FAILED: "Failed",
    RunState.CANCELLED: "Cancelled",
}


def titles(platform: "Platform") -> dict[str, str]:
    """Return what pipelines and functions are called, by name."""
    from geoetl.core.errors import ConfigurationError
    from geoetl.runs.pipeline import load_pipeline, pipelines

    found = {name: platform.functions[name].title for name in platform.functions}
    for name in pipelines():
        try:
            found[name] = load_pipeline(name).title
        except ConfigurationError:  # it cannot be started, and its runs are still to be seen
            found[name] = name
    return {**found, INTERACTIVE: "A notebook by hand"}


def subject_text(record: RunRecord) -> str:
    """Return what a run works on: the file, and the collection that it comes into."""
    parameters = record.parameters
    source, collection = parameters.get("source"), parameters.get("collection")
    if isinstance(source, str) and source:
        name = PurePosixPath(source.removeprefix("samples:").rstrip("/")).name or source
        return f"{name} → {collection}" if collection else name
    said = ", ".join(f"{name} {value}" for name, value in parameters.items() if value not in ("", None, [], {}))
    return said[:160]


def state_text(record: RunRecord) -> str:
    """Return how a run stands, in a word or two."""
    if record.cancel_requested and record.state is RunState.RUNNING:
        return "Being cancelled"
    if record.state is RunState.QUEUED and record.failures:
        return "Waits to be tried again"
    return STATES[record.state]


def run_row(record: RunRecord, named: Mapping[str, str]) -> dict[str, Any]:
    """Return a run as the component `RunList` takes it.

    Args:
        record: The run, as others may see it.
        named: What pipelines are called, by name.
    """
    current = next((stage for stage in reversed(record.stages) if stage.state is RunState.RUNNING), None)
    note = ""
    if current and record.state is RunState.RUNNING:
        note = current.name if current.total <= 1 else f"{current.name}, {current.done} of {current.total}"
    elif record.error and record.state is RunState.FAILED:
        note = str(record.error["detail"])
    return {
        "key": record.id,
        "state": record.state.value,
        "word": state_text(record),
        "title": named.get(record.pipeline, record.pipeline),
        "subject": subject_text(record),
        "who": record.submitted_by or "",
        "note": note[:200],
        "done": current.done if current else 0,
        "total": current.total if current and record.state is RunState.RUNNING else 0,
        "created": record.created_at,
        "started": record.started_at,
        "finished": record.finished_at,
    }


def stage_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Return the stages of a run as the component `RunStages` takes them."""
    return [_stage_row(stage, record) for stage in record.stages]


def _stage_row(stage: Stage, record: RunRecord) -> dict[str, Any]:
    told_above = stage.error is not None and record.error is not None
    return {
        "name": f"{stage.name[:1].upper()}{stage.name[1:]}",
        "state": stage.state.value,
        "word": "Done" if stage.state is RunState.COMPLETED else STATES[stage.state],
        "done": stage.done,
        "total": stage.total,
        "started": stage.started_at,
        "finished": stage.finished_at,
        "attempt": stage.attempt if record.attempt > 1 else 0,
        "warnings": list(stage.warnings),
        # The problem of the run stands above the stages already.
        "error": "" if told_above or stage.error is None else str(stage.error["detail"]),
    }


def failed_stage(record: RunRecord) -> str:
    """Return the name of the stage with which a run that is tried again goes on; empty where it begins anew."""
    finished = [stage for stage in record.stages if stage.state is RunState.COMPLETED]
    unfinished = [stage for stage in record.stages if stage.state is not RunState.COMPLETED]
    return unfinished[0].name if unfinished and finished else ""


def may_retry(record: RunRecord) -> bool:
    """Tell whether a run can be tried again."""
    over = record.state in (RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED)
    return over and record.pipeline != INTERACTIVE


def may_cancel(record: RunRecord) -> bool:
    """Tell whether a run can be cancelled."""
    return not record.state.is_over and not record.cancel_requested


def may_run_again(record: RunRecord) -> bool:
    """Tell whether the same can be done once more by another run."""
    return record.state is RunState.COMPLETED and record.kind is RunKind.NOTEBOOK and record.pipeline != INTERACTIVE
