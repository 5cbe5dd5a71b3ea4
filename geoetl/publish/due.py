"""What is due by the clock, whoever has forgotten about it."""

from dataclasses import dataclass

from geoetl.core.errors import Conflict
from geoetl.core.identifiers import digest
from geoetl.publish import audit
from geoetl.publish.bringing import Bringing
from geoetl.publish.model import Clearance, Release, State
from geoetl.publish.parts import PUBLISH, WITHDRAW
from geoetl.publish.transition import SYSTEM
from geoetl.publish.withdrawal import Scope
from geoetl.publish.withdrawing import Withdrawing, described
from geoetl.runs.model import Result, RunRecord, RunState

# Releases that are looked at at a time.
_PAGE = 1000
#: The scheduled look for what is due.
PUBLISH_DUE = "publish-due"
# Withdrawals that are looked at for one that died half way, and how long ago one may have begun whose process is gone.
_RECENT_RUNS = 20
_INTERRUPTED_S = 24 * 3600.0
# How a withdrawal ended that did not do what it was to, and so long until it is tried again, seconds.
_UNDONE, _AGAIN_S = (RunState.FAILED, RunState.CANCELLED), 900.0
_TIME_IS_OVER = "The time until which it was to be public is over."


class Due(Result):
    """What was due.

    Attributes:
        expired: Releases whose approval was not used in time; they wait for review again, or are withdrawn again.
        settled: Releases whose copy died with its run; it has failed.
        begun: Releases whose copy was queued.
        withdrawn: Releases whose withdrawal was queued.
        indexed: Whether the public catalogue was written anew, as a run may have died while it wrote.
        row: Of the audit log, up to which its head is kept.
    """

    expired: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    begun: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    indexed: bool = False
    row: int = 0


@dataclass(frozen=True)
class ByTheClock(Bringing, Withdrawing):
    """Does what is due; see `Parts` for what it is given."""

    def is_due(self) -> bool:
        """Tell cheaply whether there is anything to do."""
        if self.repository.is_any_due(self.repository.clock()):
            return True
        return self._died_lately() or self.anchor.read() != self.repository.audit.head()

    def do_due(self) -> Due:
        """Do all that is due; again at once does nothing.

        Raises:
            VerificationFailed: The audit log is not as it was written.
            Unavailable: The database or the external zone cannot be reached.
        """
        now = self.repository.clock()
        expired = tuple(one.release_id for one in self.repository.expire_due() if one.error is None)
        settled = tuple(one.id for one in self._in(State.COPYING) if self.settle(one))
        begun = tuple(one.id for one in self._in(State.APPROVED) if _may_begin(one, now) and self._is_new(one))
        over = map(self.repository.get, self.repository.overdue(now))
        withdrawn = tuple(one.id for one in over if self._queue_withdrawal(one))
        indexed = self._died_lately()
        if indexed:
            with self.transaction() as connection:
                audit.hold(connection)
                self.index.write(connection)
        row = self.anchor.write(self.repository.audit).number
        return Due(expired=expired, settled=settled, begun=begun, withdrawn=withdrawn, indexed=indexed, row=row)

    def start(self, release: Release, *, submitted_by: str | None = None) -> RunRecord:
        """Queue the copy of an approved release; that of the same approval is the same run.

        Raises:
            Conflict: It has no approval.
        """
        if release.approval is None:
            raise Conflict(f"Release {release.id} has no approval.", hint="Have it approved.", field="approval")
        key = f"publish {release.id} {release.approval.nonce}"
        return self.queue_run(PUBLISH, {"release_id": release.id}, key=key, submitted_by=submitted_by)

    # -- within --------------------------------------------------------------------------------------------------------

    def _in(self, state: State) -> list[Release]:
        found: list[Release] = []
        after: str | None = None
        while True:
            page = self.repository.list(state, limit=_PAGE, after=after)
            found += page.releases
            if (after := page.next) is None:
                return found

    def _is_new(self, release: Release) -> bool:
        """Queue the copy of a release; tell whether it was not queued before."""
        return not self.start(release, submitted_by=SYSTEM.name).reused

    def _queue_withdrawal(self, release: Release) -> bool:
        """Queue the withdrawal of what has had its time; tell whether it was not queued before."""
        asked = {
            "collection": release.collection,
            "item": release.item,
            "version": release.version,
            "scope": str(Scope.EXTERNAL),
            "dry_run": False,
            "reason": _TIME_IS_OVER,
            "asked_by": described(SYSTEM),
        }
        key = f"withdraw {digest([release.id, release.revision])}"
        run = self.queue_run(WITHDRAW, asked, key=key, submitted_by=SYSTEM.name)
        if not run.reused:
            return True
        # What failed for good is not left alone: it is public for longer than it may be.
        is_left = run.state in _UNDONE and (run.finished_at or 0.0) <= self.repository.clock() - _AGAIN_S
        if is_left:
            self.runs.queue.retry(run.id, SYSTEM.name)
        return is_left

    def _died_lately(self) -> bool:
        """Whether a withdrawal broke off since the last look: it may have changed the public catalogue."""
        looked = self.runs.list(pipeline=PUBLISH_DUE, state=RunState.COMPLETED, limit=1)
        since = looked[0].created_at if looked else 0.0
        recent = self.runs.list(pipeline=WITHDRAW, limit=_RECENT_RUNS)
        return any(_ended_badly(run, since) for run in recent)


def _ended_badly(run: RunRecord, since: float) -> bool:
    if run.state is RunState.INTERRUPTED:  # it has no end that is on record
        return (run.started_at or 0.0) > since - _INTERRUPTED_S
    return run.state in (RunState.FAILED, RunState.CANCELLED) and (run.finished_at or 0.0) >= since


def _may_begin(release: Release, now: float) -> bool:
    return release.clearance is Clearance.PUBLIC and (release.publish_after or now) <= now
