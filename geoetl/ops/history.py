"""What clean-ups did, as rows: written with each step, so that one that was killed has told what it had done."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import NotFound
from geoetl.core.identifiers import new_id
from geoetl.ops.model import Action, Cleanup, CleanupRequest, Fate, Part, counted
from geoetl.ops.tables import actions, cleanups
from geoetl.runs.processes import ProcessMark
from geoetl.store.database import Database

#: Of a dry run no more are written down; its plan has all.
MAX_FOUND_KEPT = 1000
#: A process of another machine that began before has ended, whatever it was.
_LONGEST_S = 24 * 3600.0


@dataclass(frozen=True)
class CleanupHistory:
    """Rows of the tables ``cleanups`` and ``cleanup_actions``."""

    database: Database

    def begin(self, request: CleanupRequest, who: str | None, scanned: int) -> str:
        """Write down that a clean-up begins, and return its id."""
        cleanup, mark = new_id(), ProcessMark.own()
        with self.database.begin() as connection:
            connection.execute(
                sa.insert(cleanups).values(
                    id=cleanup,
                    request=request.model_dump_json(),
                    dry_run=int(request.dry_run),
                    who=who,
                    host=mark.host,
                    pid=mark.pid,
                    born=mark.born,
                    started=time.time(),
                    items_scanned=scanned,
                    items_fixed=0,
                    bytes_freed=0,
                    actions="{}",
                )
            )
        return cleanup

    def note(self, connection: Connection, cleanup: str, done: Sequence[Action]) -> None:
        """Write down what was done, in the transaction that it was done in."""
        if not done:
            return
        row = connection.execute(sa.select(cleanups).where(cleanups.c.id == cleanup)).one()
        last = sa.select(sa.func.max(actions.c.number)).where(actions.c.cleanup_id == cleanup)
        number, now = connection.execute(last).scalar() or 0, time.time()
        fixed = [one for one in done if one.fate is Fate.FIXED]
        connection.execute(
            sa.update(cleanups)
            .where(cleanups.c.id == cleanup)
            .values(
                items_fixed=row.items_fixed + len(fixed),
                bytes_freed=row.bytes_freed + sum(one.bytes for one in fixed),
                actions=json.dumps(_added(json.loads(row.actions), counted(done))),
            )
        )
        kept = done[: max(0, MAX_FOUND_KEPT - number)] if row.dry_run else done
        rows = [
            {"cleanup_id": cleanup, "number": at, "at": now, **one.model_dump(mode="json")}
            for at, one in enumerate(kept, number + 1)
        ]
        if rows:
            connection.execute(sa.insert(actions), rows)

    def end(self, cleanup: str) -> None:
        """Write down that a clean-up has ended."""
        with self.database.begin() as connection:
            connection.execute(sa.update(cleanups).where(cleanups.c.id == cleanup).values(ended=time.time()))

    def get(self, cleanup: str) -> Cleanup:
        """Return a clean-up with what was done.

        Raises:
            NotFound: There is none of that id.
        """
        query = sa.select(actions).where(actions.c.cleanup_id == cleanup).order_by(actions.c.number)
        with self.database.read() as connection:
            row = connection.execute(sa.select(cleanups).where(cleanups.c.id == cleanup)).one_or_none()
            done = tuple(map(_action, connection.execute(query)))
        if row is None:
            raise NotFound(f"There is no clean-up '{cleanup[:60]}'.", hint="List them with: geoetl janitor history")
        return _cleanup(row).model_copy(update={"actions_taken": done})

    def list(self, *, limit: int = 20, before: str | None = None) -> list[Cleanup]:
        """Return clean-ups without what was done one by one, the newest first.

        Args:
            limit: At most so many.
            before: Only those before the one of this id.
        """
        query = sa.select(cleanups).order_by(cleanups.c.seq.desc()).limit(limit)
        if before is not None:
            seq = sa.select(cleanups.c.seq).where(cleanups.c.id == before).scalar_subquery()
            query = query.where(cleanups.c.seq < seq)
        with self.database.read() as connection:
            return [_cleanup(row) for row in connection.execute(query)]


def _added(before: Mapping[str, Mapping[str, int]], new: Mapping[Part, Mapping[Fate, int]]) -> dict[str, Any]:
    total = {part: dict(fates) for part, fates in before.items()}
    for part, fates in new.items():
        of_part = total.setdefault(str(part), {})
        for fate, count in fates.items():
            of_part[str(fate)] = of_part.get(str(fate), 0) + count
    return total


def _cleanup(row: Row[Any]) -> Cleanup:
    mark = ProcessMark(row.host, row.pid, row.born)
    may_live = not mark.is_gone if mark.is_here else time.time() - row.started < _LONGEST_S
    return Cleanup(
        id=row.id,
        request=CleanupRequest.model_validate_json(row.request),
        dry_run=bool(row.dry_run),
        who=row.who,
        started=row.started,
        ended=row.ended,
        is_running=row.ended is None and may_live,
        items_scanned=row.items_scanned,
        items_fixed=row.items_fixed,
        bytes_freed=row.bytes_freed,
        actions=json.loads(row.actions),
    )


def _action(row: Row[Any]) -> Action:
    return Action.model_validate(
        {name: row._mapping[name] for name in ("part", "name", "bytes", "reason", "fate", "detail")}
    )
