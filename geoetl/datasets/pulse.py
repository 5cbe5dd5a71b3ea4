"""Whether anything happened to managed datasets: one small question for everybody who looks."""

from dataclasses import dataclass

import sqlalchemy as sa

from geoetl.datasets.model import UpdateStatus
from geoetl.datasets.tables import datasets, log, versions
from geoetl.store.database import Database

_OPEN = [status for status in UpdateStatus if not status.is_over]
_OF_DATASET = ("dataset_id", "enabled", "live_version", "last_checked_at", "last_updated_at", "updated_at")


@dataclass(frozen=True)
class Pulse:
    """What changes with whatever happens to datasets; two that are equal mean that nothing did.

    Attributes:
        datasets: What is noted of each.
        versions: Id of the dataset and state, with how many there are and the newest of them.
        newest: Number of the newest line of the log.
        updates: Number and status of the lines that are not over.
    """

    datasets: tuple[tuple[str | float | None, ...], ...]
    versions: tuple[tuple[str, str, int, int], ...]
    newest: int
    updates: tuple[tuple[int, str], ...]


def feel_pulse(database: Database) -> Pulse:
    """Return the pulse of the managed datasets; nothing of what they hold is read.

    Raises:
        Unavailable: The database cannot be reached.
    """
    number = versions.c.number
    counted = sa.select(versions.c.dataset_id, versions.c.state, sa.func.count(), sa.func.max(number))
    with database.read() as connection:
        noted = connection.execute(sa.select(*(datasets.c[name] for name in _OF_DATASET))).all()
        found = connection.execute(counted.group_by(versions.c.dataset_id, versions.c.state)).all()
        newest = connection.execute(sa.select(sa.func.max(log.c.seq))).scalar() or 0
        open_ones = connection.execute(sa.select(log.c.seq, log.c.status).where(log.c.status.in_(_OPEN))).all()
    return Pulse(
        datasets=tuple(sorted(tuple(row) for row in noted)),
        versions=tuple(sorted((row[0], row[1], row[2], row[3]) for row in found)),
        newest=newest,
        updates=tuple(sorted((row.seq, row.status) for row in open_ones)),
    )
