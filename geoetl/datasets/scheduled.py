"""The scheduled look for a new release; it is cheap, so it is no notebook."""

from collections.abc import Iterable
from typing import Any, final

from pydantic import Field

from geoetl.datasets.model import ManagedDataset, UpdateRequest, UpdateType
from geoetl.runs.functions import LightFunction
from geoetl.runs.model import Result, RunKind
from geoetl.runs.schedule import Declaration
from geoetl.runs.stage import Run

CHECK = "check-dataset"


def checks(datasets: Iterable[ManagedDataset]) -> tuple[Declaration, ...]:
    """Return the schedules of datasets: when the source of each that is enabled is asked by itself."""
    return tuple(
        Declaration(
            name=f"check-{one.dataset_id}",
            title=f"Look for a new release: {one.name}",
            kind=RunKind.FUNCTION,
            target=CHECK,
            parameters={"dataset_id": one.dataset_id},
            cron=one.update_schedule,
        )
        for one in datasets
        if one.enabled and one.update_schedule
    )


class Looked(Result):
    """What a scheduled look found.

    Attributes:
        dataset_id: Which dataset.
        needs_update: Whether there is a new release.
        reason: Why, or why not.
        update_run: The run that fetches it.
    """

    dataset_id: str
    needs_update: bool
    reason: str
    update_run: str | None = None


@final
class CheckDataset(LightFunction):
    """Ask the source of a managed dataset for a new release, and queue the update where there is one."""

    title = "Look for a new release of a managed dataset"
    limit_s = 300.0
    dataset_id: str = Field(description="Which managed dataset")

    def __call__(self, run: Run, platform: Any) -> Looked:
        """Look."""
        updates = platform.datasets
        dataset = updates.repository.get(self.dataset_id)
        if not dataset.enabled:  # since it was queued
            return Looked(dataset_id=self.dataset_id, needs_update=False, reason="It is not enabled any more.")
        request = UpdateRequest(dataset_id=self.dataset_id, update_type=UpdateType.SCHEDULED)
        checked = updates.look(request, run.id)
        if not checked.needs_update:
            updates.skip(request, checked, run.id)
            return Looked(dataset_id=self.dataset_id, needs_update=False, reason=checked.reason)
        queued = platform.update_dataset(self.dataset_id, update_type=UpdateType.SCHEDULED, submitted_by="schedule")
        return Looked(dataset_id=self.dataset_id, needs_update=True, reason=checked.reason, update_run=queued.id)
