"""What runs need: what the finished stages of those that may go on have made, results, and executed notebooks."""

import json
import math
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.ops.model import DAY_S
from geoetl.runs.model import RunState
from geoetl.runs.queue import is_lost
from geoetl.runs.tables import runs, stages, tasks
from geoetl.store.addresses import addresses_in
from geoetl.store.database import Database
from geoetl.store.zones import Zones

#: A run that failed or was cancelled goes on behind its finished stages when it is tried again within this time; later
#: it may have to repeat them.
RESUMABLE_S = 7 * DAY_S
# Processes have read their clocks a little before they say so.
_CLOCKS_S = 60.0


@dataclass(frozen=True)
class RunNeed:
    """What runs need.

    Args:
        zones: Where the objects are.
    """

    zones: Zones

    name = "a run"

    def addresses(self, database: Database) -> Iterator[str]:
        """Return the addresses in results of all runs, and in those of stages of runs that may go on."""
        may_go_on = sa.or_(
            runs.c.state.in_([RunState.QUEUED, RunState.RUNNING, RunState.INTERRUPTED]),
            sa.and_(
                runs.c.state.in_([RunState.FAILED, RunState.CANCELLED]),
                sa.func.coalesce(runs.c.finished_at, 0.0) > time.time() - RESUMABLE_S,
            ),
        )
        some = sa.select(runs.c.id).where(may_go_on)
        with database.read() as connection:
            for key in connection.execute(sa.select(runs.c.notebook).where(runs.c.notebook.is_not(None))).scalars():
                yield f"internal://{key}"
            for column, condition in (
                (runs.c.result, sa.true()),
                (stages.c.result, stages.c.run_id.in_(some)),
                (tasks.c.result, tasks.c.run_id.in_(some)),
            ):
                for text in connection.execute(sa.select(column).where(column.is_not(None), condition)).scalars():
                    yield from addresses_in(json.loads(text), self.zones)

    def mark(self, database: Database) -> Hashable:
        """Return nothing: what a stage has made is not told by a number."""
        return None

    def alone(self, connection: Connection) -> None:
        """Let no run change its state, so that none begins to go on behind what is about to be removed."""
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("lock table runs in share row exclusive mode")


def busy_since(database: Database) -> float:
    """Return the Unix time from which what was written may belong to a run that a living process executes.

    It is infinite where there is no such run.
    """
    query = sa.select(runs.c.worker, runs.c.started_at).where(runs.c.state == RunState.RUNNING)
    with database.read() as connection:
        rows = connection.execute(query).all()
        lost = is_lost(connection, [row.worker for row in rows])
    living = [row.started_at for row in rows if not lost[row.worker] and row.started_at is not None]
    return min(living, default=math.inf) - _CLOCKS_S
