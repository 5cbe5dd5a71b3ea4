"""Whether anything happened to runs and schedules: one small question for everybody who looks."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from geoetl.runs.model import RunState
from geoetl.runs.queue import is_lost
from geoetl.runs.tables import runs, schedules, workers
from geoetl.store.database import Database

_RUNNING: sa.ColumnElement[str] = sa.literal_column("'running'")


@dataclass(frozen=True)
class Pulse:
    """What changes with whatever happens; two that are equal mean that nothing did.

    Attributes:
        newest: Number of the newest run.
        runs: Id, state, number of the latest event, and whether the process is gone: of what runs and what is shown.
        workers: Ids of the workers that live.
        schedules: Name, whether it rests, and its last slot.
    """

    newest: int
    runs: tuple[tuple[str, str, int, bool], ...]
    workers: tuple[str, ...]
    schedules: tuple[tuple[str, int, int], ...]


def feel_pulse(database: Database, shown: Collection[str]) -> Pulse:
    """Return the pulse of the database; its cost depends on what is executed and shown, not on how many runs there are.

    Of runs that wait and are not shown, only their beginning is felt.

    Args:
        database: Of the runs.
        shown: Ids of the runs that somebody sees.

    Raises:
        Unavailable: It cannot be reached.
    """
    columns = (runs.c.id, runs.c.state, runs.c.events, runs.c.worker)
    with database.read() as connection:
        newest = connection.execute(sa.select(sa.func.max(runs.c.seq))).scalar() or 0
        found = [*connection.execute(sa.select(*columns).where(runs.c.state == _RUNNING))]
        found += connection.execute(sa.select(*columns).where(runs.c.id.in_(list(shown)), runs.c.state != _RUNNING))
        claiming = connection.execute(sa.select(workers.c.id).where(workers.c.slots > 0)).scalars().all()
        lost = is_lost(connection, [*claiming, *(row.worker for row in found if row.state == RunState.RUNNING)])
        planned = connection.execute(
            sa.select(schedules.c.name, schedules.c.is_paused, schedules.c.last_slot).order_by(schedules.c.name)
        ).all()
    told = sorted(
        (row.id, row.state, row.events, row.state == RunState.RUNNING and lost.get(row.worker, True)) for row in found
    )
    alive = tuple(sorted(one for one in claiming if not lost[one]))
    return Pulse(newest, tuple(told), alive, tuple((one[0], one[1], one[2]) for one in planned))
