"""Finds what nothing needs any more, tells it, and removes it when it is asked to.

The look takes no locks and changes nothing. What it finds is looked at again one by one when its turn comes, in a
moment in which nobody else writes: what is needed by then, or was touched, stays. Removing what is gone is no error,
each step is written down in the transaction that it is done in, and whoever comes after a process that died goes on.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from geoetl.core.errors import GeoetlError
from geoetl.ops.alone import Alone, Moment
from geoetl.ops.history import CleanupHistory
from geoetl.ops.left_runs import LeftRuns
from geoetl.ops.model import DAY_S, Action, Cleanup, CleanupRequest, Fate, Leftover, Part, Plan
from geoetl.ops.needs import Gatherer, Need
from geoetl.ops.notebooks import OldNotebooks
from geoetl.ops.objects import acted, remove_object, stock, unfinished, unneeded
from geoetl.ops.run_needs import RunNeed, busy_since
from geoetl.ops.temporary import GIB, TemporaryFiles
from geoetl.ops.unfinished import OnItsWay
from geoetl.runs.repository import RunRepository
from geoetl.store.database import Database
from geoetl.store.zones import INCOMING, Zones

# Removals that touch no table are written down so many at a time.
_AT_ONCE = 100


@dataclass(frozen=True)
class Janitor:
    """Cleans up.

    Args:
        database: Of the platform.
        zones: Where the objects are.
        runs: Pipeline runs.
        needs: Who needs objects, besides runs, in the order in which they are kept from changing.
        copying: Gives the ids of the releases that are being copied, as it is seen from a database.
        files: Folders of this machine.
        clock: Gives Unix time.
    """

    database: Database
    zones: Zones
    runs: RunRepository
    needs: tuple[Need, ...]
    copying: Callable[[Database], Set[str]]
    files: TemporaryFiles
    clock: Callable[[], float] = time.time

    @property
    def history(self) -> CleanupHistory:
        """What was done before."""
        return CleanupHistory(self.database)

    def plan(self, request: CleanupRequest) -> Plan:
        """Look for what may go; nothing is changed.

        Raises:
            Unavailable: Database or a zone cannot be reached.
        """
        now, scanned = self.clock(), 0
        before = now - request.older_than_s
        # What a run that is being executed may have written is not left by anybody, however old it is.
        idle = min(before, busy_since(self.database))
        found: list[Leftover] = []
        if Part.RUNS in request.parts:
            found += self._left_runs.find(now, request.older_than_s)
            scanned += sum(self.runs.counts().values())
        if {Part.WRITES, Part.NOTEBOOKS, Part.OBJECTS} & set(request.parts):
            # First what lies there, then who needs it: what is registered meanwhile is needed.
            internal, external = (stock(self.database, zone) for zone in (self.zones.internal, self.zones.external))
            needed = self._gatherer().gather(self.database)
            scanned += internal.count + external.count
            if Part.WRITES in request.parts:
                for one in (internal, external):
                    found += unfinished(one, needed, idle)
                found += self._on_its_way.find(self.database, idle)
            if Part.NOTEBOOKS in request.parts:
                by_others = self._gatherer(with_runs=False).gather(self.database)
                old = OldNotebooks(self.database).find(internal, by_others, now, request.notebooks_days)
                found += [one for one in old if one.since < before]
            if Part.OBJECTS in request.parts:
                for one in (internal, external):
                    found += unneeded(one, needed, before, unknown=request.unknown)
        if Part.FILES in request.parts:
            found += self.files.find(idle, now - request.cache_days * DAY_S, request.cache_gib * GIB)
        scanned += sum(one.part is Part.FILES for one in found)
        ordered = sorted(found, key=lambda one: (list(Part).index(one.part), one.name))
        return Plan(at=now, items_scanned=scanned, leftovers=tuple(ordered))

    def run(self, request: CleanupRequest, who: str | None = None) -> Cleanup:
        """Look, then do what was asked for; see `plan` and `clean`."""
        return self.clean(request, self.plan(request), who)

    def clean(self, request: CleanupRequest, plan: Plan, who: str | None = None) -> Cleanup:
        """Remove what a plan names, or in a dry run write down that it was looked for.

        Args:
            request: What is asked for.
            plan: What was found; what looks different by now stays.
            who: Who asks.

        Raises:
            Unavailable: The database is away, or others wrote all the time; what was done is written down.
        """
        history = self.history
        cleanup = history.begin(request, who, plan.items_scanned)

        def note(connection: Connection, done: Sequence[Action]) -> None:
            history.note(connection, cleanup, done)

        told = [acted(one, Fate.FOUND if one.is_fixed else Fate.REPORTED) for one in plan.leftovers]
        if not request.dry_run:
            told = [one for one in told if one.fate is Fate.REPORTED]
            for part in Part:
                self._clean(part, [one for one in plan.going if one.part is part], note)
        with self.database.begin() as connection:
            note(connection, told)
        history.end(cleanup)
        return history.get(cleanup)

    # -- within --------------------------------------------------------------------------------------------------------

    @property
    def _left_runs(self) -> LeftRuns:
        return LeftRuns(self.runs.queue)

    @property
    def _on_its_way(self) -> OnItsWay:
        return OnItsWay(self.zones, self.copying)

    def _gatherer(self, *, with_runs: bool = True) -> Gatherer:
        *before, catalogue = self.needs
        # The catalogue comes last: whoever writes into it may hold a run.
        return Gatherer((*before, *([RunNeed(self.zones)] if with_runs else []), catalogue))

    def _clean(
        self, part: Part, leftovers: Sequence[Leftover], note: Callable[[Connection, Sequence[Action]], None]
    ) -> None:
        if part in (Part.RUNS, Part.FILES):
            work = self._left_runs.mend if part is Part.RUNS else self.files.remove
            for some in _some(_guarded(work, leftovers)):
                with self.database.begin() as connection:
                    note(connection, some)
            return
        alone = Alone(self.database, self._gatherer())
        if part is Part.NOTEBOOKS:
            leftovers = self._forgotten(leftovers, note)
        alone.each(leftovers, self._remove, note)

    def _forgotten(
        self, leftovers: Sequence[Leftover], note: Callable[[Connection, Sequence[Action]], None]
    ) -> list[Leftover]:
        """Let runs forget their notebooks, which are committed before these are removed; return those that did."""
        notebooks, kept = OldNotebooks(self.database), list[str]()

        def forget(moment: Moment, leftover: Leftover) -> Action | None:
            who = moment.needed.by(leftover.name)
            if who is not None:
                return acted(leftover, Fate.KEPT, f"{who} needs it by now")
            return notebooks.forget(moment, leftover)

        def told(connection: Connection, done: Sequence[Action | None]) -> None:
            refused = [one for one in done if one is not None]
            note(connection, refused)
            kept.extend(one.name for one in refused)

        Alone(self.database, self._gatherer(with_runs=False)).each(leftovers, forget, told)
        return [one for one in leftovers if one.name not in kept]

    def _remove(self, moment: Moment, leftover: Leftover) -> Action:
        if f"://{INCOMING}/" in leftover.name:
            return self._on_its_way.remove(moment, leftover)
        return remove_object(self.zones, moment, leftover)


def _guarded(work: Callable[[Leftover], Action], leftovers: Iterable[Leftover]) -> Iterator[Action]:
    """Do the work; what fails for one is told, and the others go on."""
    for one in leftovers:
        try:
            yield work(one)
        except GeoetlError as error:
            yield acted(one, Fate.FAILED, error.detail)


def _some(done: Iterator[Action]) -> Iterator[list[Action]]:
    """Give a few at a time, so that one who is killed has written down nearly all that it did."""
    some: list[Action] = []
    for one in done:
        some.append(one)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some
