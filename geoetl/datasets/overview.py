"""How managed datasets stand: what is served, when the source is asked next, what waits for a person."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from geoetl.datasets.model import ManagedDataset, VersionState
from geoetl.datasets.outcome import UpdateRecord
from geoetl.datasets.repository import DatasetRepository
from geoetl.datasets.tables import versions
from geoetl.runs.schedule import next_slot


@dataclass(frozen=True)
class Overview:
    """How a dataset stands.

    Attributes:
        dataset: What is said of it, and what is served.
        next_check_at: Unix time at which its source is asked next; None where it is not by itself.
        held: Numbers of the versions that wait for a person, the newest first.
        latest: The latest update.
    """

    dataset: ManagedDataset
    next_check_at: int | None
    held: tuple[int, ...]
    latest: UpdateRecord | None


def overviews(repository: DatasetRepository, *, enabled_only: bool = False) -> tuple[Overview, ...]:
    """Return how all datasets stand, by id."""
    return _of(repository, repository.list(enabled_only=enabled_only))


def overview(repository: DatasetRepository, dataset_id: str) -> Overview:
    """Return how a dataset stands.

    Raises:
        NotFound: There is none of that id.
    """
    return _of(repository, [repository.get(dataset_id)])[0]


def _of(repository: DatasetRepository, found: Sequence[ManagedDataset]) -> tuple[Overview, ...]:
    query = (
        sa.select(versions.c.dataset_id, versions.c.number)
        .where(versions.c.state == VersionState.HELD)
        .order_by(versions.c.number.desc())
    )
    with repository.database.read() as connection:
        waiting = [(row.dataset_id, row.number) for row in connection.execute(query)]
    made = []
    for dataset in found:
        held = tuple(number for dataset_id, number in waiting if dataset_id == dataset.dataset_id)
        latest = next(iter(repository.history(dataset.dataset_id, limit=1)), None)
        made.append(Overview(dataset, _next_check(dataset), held, latest))
    return tuple(made)


def _next_check(dataset: ManagedDataset) -> int | None:
    if not dataset.enabled or dataset.update_schedule is None:
        return None
    return next_slot(dataset.update_schedule, time.time())
