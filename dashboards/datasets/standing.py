"""How a managed dataset stands, in a word; and its row in the list."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from geoetl.datasets.model import ManagedDataset, UpdateStatus
from geoetl.datasets.outcome import Checked
from geoetl.datasets.overview import Overview
from geoetl.runs.model import RunRecord, RunState
from geoetl.runs.privacy import public
from geoetl.runs.schedule import next_slot

# A look that is so late was missed, and not only put off by a worker that had other things to do.
LATE_S = 3600.0


class Standing(StrEnum):
    """How a dataset stands; the first that is true."""

    HELD = "held"
    UPDATING = "updating"
    FAILED = "failed"
    AVAILABLE = "available"
    UNMADE = "unmade"
    PAUSED = "paused"
    STALE = "stale"
    CURRENT = "current"


WORDS: Mapping[Standing, str] = {
    Standing.HELD: "Held",
    Standing.UPDATING: "Updating",
    Standing.FAILED: "Failed",
    Standing.AVAILABLE: "Update available",
    Standing.UNMADE: "No version yet",
    Standing.PAUSED: "Paused",
    Standing.STALE: "Stale",
    Standing.CURRENT: "Current",
}
# Shapes of the component: nothing is told by colour alone.
_SIGNS: Mapping[Standing, str] = {
    Standing.HELD: "interrupted",
    Standing.UPDATING: "running",
    Standing.FAILED: "failed",
    Standing.AVAILABLE: "available",
    Standing.UNMADE: "cancelled",
    Standing.PAUSED: "paused",
    Standing.STALE: "queued",
    Standing.CURRENT: "completed",
}
_FIRST = (Standing.HELD, Standing.FAILED)


@dataclass(frozen=True)
class Plan:
    """What an update would do, as it was found out lately.

    Attributes:
        checked: What the source answered, without folders of this machine.
        at: Unix time.
    """

    checked: Checked
    at: float

    def holds_for(self, one: Overview) -> bool:
        """Tell whether nothing has happened to the dataset since."""
        latest = one.latest.started_at if one.latest else 0.0
        return self.checked.based_on == one.dataset.live_version and latest <= self.at


@dataclass(frozen=True)
class Managed:
    """A dataset with all that is seen of it in the list.

    Attributes:
        overview: What is said of it, what is served, what waits.
        state: How it stands.
        note: Why it stands so, in a few words.
        rows: How many rows are served; None before the first version.
        next_look: Unix time at which its source is asked next; None where it is not by itself.
        run: The update that waits or is executed, as others may see it.
        plan: What an update would do; None where it is not known any more.
    """

    overview: Overview
    state: Standing
    note: str
    rows: int | None
    next_look: int | None
    run: RunRecord | None = None
    plan: Plan | None = None

    @property
    def dataset(self) -> ManagedDataset:
        """What is said of it, and what is served."""
        return self.overview.dataset


def managed(one: Overview, *, rows: int | None, run: RunRecord | None, plan: Plan | None, now: float) -> Managed:
    """Return how a dataset stands.

    Args:
        one: What is known of it.
        rows: How many are served.
        run: The update that waits or is executed.
        plan: What an update would do, as it was found out last.
        now: Unix time, seconds.
    """
    plan = plan if plan and plan.holds_for(one) else None
    state = _state(one, run, plan, now)
    return Managed(one, state, _note(one, state, run, plan, now), rows, _next_look(one.dataset, now), run, plan)


def in_order(found: list[Managed]) -> tuple[Managed, ...]:
    """Return datasets by title, those that a person has to look at first."""

    def rank(one: Managed) -> tuple[int, str]:
        place = _FIRST.index(one.state) if one.state in _FIRST else len(_FIRST)
        return place, one.dataset.name.casefold()

    return tuple(sorted(found, key=rank))


def dataset_row(one: Managed) -> dict[str, Any]:
    """Return a dataset as the component `DatasetList` takes it."""
    dataset = one.dataset
    served = [dataset.source_version] if dataset.source_version else []
    counted = [f"{one.rows:,} rows"] if one.rows is not None else []
    return {
        "key": dataset.dataset_id,
        "title": dataset.name,
        "state": one.state.value,
        "sign": _SIGNS[one.state],
        "word": WORDS[one.state],
        "note": one.note[:200],
        "facts": " · ".join([*served, *counted, "other licence" if dataset.license == "other" else dataset.license]),
        "checked": dataset.last_checked_at,
        "updated": dataset.last_updated_at,
        "next": next_text(one),
    }


def next_text(one: Managed) -> str:
    """Return when the source is asked next."""
    if one.next_look is not None:
        return f"next look {utc(one.next_look)}"
    return "asked by hand only" if one.dataset.enabled else "schedule paused"


def utc(moment: float) -> str:
    """Return a Unix time as people of the field write it: 2026-11-28 02:00 UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _next_look(dataset: ManagedDataset, now: float) -> int | None:
    return next_slot(dataset.update_schedule, now) if dataset.enabled and dataset.update_schedule else None


def _state(one: Overview, run: RunRecord | None, plan: Plan | None, now: float) -> Standing:
    dataset, latest = one.dataset, one.latest
    if one.held:
        return Standing.HELD
    if run is not None or (latest and not latest.status.is_over):
        return Standing.UPDATING
    if latest and latest.status is UpdateStatus.FAILED:
        return Standing.FAILED
    if plan and plan.checked.needs_update and dataset.live_version is not None:
        return Standing.AVAILABLE
    if dataset.live_version is None:
        return Standing.UNMADE
    if not dataset.enabled:
        return Standing.PAUSED
    return Standing.STALE if _is_stale(dataset, now) else Standing.CURRENT


def _is_stale(dataset: ManagedDataset, now: float) -> bool:
    """Tell whether the source was not asked when it should have been; one look alone may be late."""
    asked = dataset.last_checked_at or dataset.last_updated_at
    if dataset.update_schedule is None or asked is None:
        return False
    missed = next_slot(dataset.update_schedule, next_slot(dataset.update_schedule, asked))
    return missed + LATE_S < now


def _note(one: Overview, state: Standing, run: RunRecord | None, plan: Plan | None, now: float) -> str:
    dataset, latest = one.dataset, one.latest
    if state is Standing.HELD:
        return f"version {one.held[0]} waits for a decision"
    if state is Standing.UPDATING:
        return _under_way(run) or (str(latest.status) if latest else "")
    if state is Standing.FAILED and latest:
        return str(public(latest.error_message or "", {}))
    if state is Standing.AVAILABLE and plan and plan.checked.release:
        return f"the source has {plan.checked.release.source_version}"
    if state is Standing.STALE and (dataset.last_checked_at or dataset.last_updated_at):
        return "its source was not asked when it should have been"
    return ""


def _under_way(run: RunRecord | None) -> str:
    if run is None:
        return ""
    if run.state is RunState.QUEUED:
        return "waits for a worker"
    current = next((stage for stage in reversed(run.stages) if stage.state is RunState.RUNNING), None)
    if current is None:
        return "it has begun"
    return current.name if current.total <= 1 else f"{current.name}, {current.done} of {current.total}"
