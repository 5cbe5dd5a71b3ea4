"""Executed notebooks of runs that were over long ago."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from geoetl.core import html
from geoetl.ops.alone import Moment
from geoetl.ops.model import DAY_S, Action, Fate, Leftover, Part
from geoetl.ops.needs import Needed
from geoetl.ops.objects import STORED, Stock, acted
from geoetl.runs.model import RunState
from geoetl.runs.tables import runs
from geoetl.store.database import Database

#: Why something failed is asked later than how it went well.
FAILED_LONGER = 4


@dataclass(frozen=True)
class OldNotebooks:
    """The executed notebooks, of which only those that nobody else than their run needs are old."""

    database: Database

    def find(self, stock: Stock, needed: Needed, now: float, days: float) -> Iterator[Leftover]:
        """Yield those of runs that were over before so many days.

        The newest of each pipeline stays, and those of runs that were not completed stay `FAILED_LONGER` times as long.

        Args:
            stock: Of the internal zone.
            needed: By all but the runs themselves.
            now: Unix time.
            days: Of runs that were completed.
        """
        columns = (runs.c.id, runs.c.pipeline, runs.c.state, runs.c.finished_at, runs.c.notebook)
        is_over = runs.c.state.in_([RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED])
        query = sa.select(*columns).where(runs.c.notebook.is_not(None), is_over).order_by(runs.c.seq.desc())
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        newest: set[str] = set()
        for row in rows:
            is_newest = row.state == RunState.COMPLETED and row.pipeline not in newest
            newest |= {row.pipeline} if is_newest else set()
            limit_s = days * DAY_S * (1 if row.state == RunState.COMPLETED else FAILED_LONGER)
            age_s = now - (row.finished_at or now)
            if is_newest or age_s < limit_s or needed.by(f"internal://{row.notebook}") is not None:
                continue
            written = stock.written.get(row.notebook)
            yield Leftover(
                part=Part.NOTEBOOKS,
                name=f"internal://{row.notebook}",
                bytes=stock.sizes.get(row.notebook, 0),
                since=row.finished_at,
                reason=f"the run of {row.pipeline} was {row.state} {html.human_seconds(age_s)} ago"
                if age_s < DAY_S
                else f"the run of {row.pipeline} was {row.state} {age_s / DAY_S:.0f} days ago",
                mark=f"{STORED} {written.written_at!r}" if written else "",
            )

    def forget(self, moment: Moment, leftover: Leftover) -> Action | None:
        """Let the run say that it has no notebook any more; say why not where that has changed."""
        key = leftover.name.removeprefix("internal://")
        changed = moment.connection.execute(
            sa.update(runs)
            .where(
                runs.c.notebook == key,
                runs.c.finished_at == leftover.since,
                runs.c.state.not_in([RunState.QUEUED, RunState.RUNNING]),
            )
            .values(notebook=None)
        )
        return None if changed.rowcount else acted(leftover, Fate.KEPT, "the run was executed again")
