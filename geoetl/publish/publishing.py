"""Publishing: what an item is made into for the public, who decides on it, and how it stands.

`geoetl.publish.bringing` has the stages that bring a release to the public, `geoetl.publish.withdrawing` those that
take it back.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from geoetl.core.errors import Conflict, GeoetlError, InvalidParameter
from geoetl.core.principal import Principal
from geoetl.publish.audit import AuditLog
from geoetl.publish.due import ByTheClock
from geoetl.publish.model import Action, Clearance, Release, State
from geoetl.publish.parts import WITHDRAW
from geoetl.publish.repository import ItemStatus, ReleasePage, Waiting
from geoetl.publish.steps import Content, Step
from geoetl.publish.transition import Outcome
from geoetl.publish.withdrawal import Scope
from geoetl.publish.withdrawing import described
from geoetl.runs.model import RunRecord, RunState

_log = logging.getLogger(__name__)
# Withdrawals at one moment that are looked at.
_PAGE = 1000
# What may still be given another content.
_EDITABLE = (State.DRAFT, State.PENDING_REVIEW, State.CHANGES_REQUESTED)


@dataclass(frozen=True)
class Publishing(ByTheClock):
    """Brings items of the catalogue to the public, and takes them back; see `Parts` for what it is given.

    What a role lets someone do has been seen to by whoever calls; that a decision is not made by who submitted is seen
    to here, see `geoetl.publish.transition`.
    """

    # -- submitting ----------------------------------------------------------------------------------------------------

    def submit(
        self,
        actor: Principal,
        collection: str,
        item: str,
        *,
        clearance: Clearance = Clearance.PUBLIC,
        publish_after: float | None = None,
        withdraw_after: float | None = None,
        note: str | None = None,
    ) -> Release:
        """Submit an item for review, as it is now; what waits already and has changed is replaced.

        Args:
            actor: Who submits.
            collection, item: Of the catalogue.
            clearance: Who may see it.
            publish_after: Unix time before which it is not copied; None for at once.
            withdraw_after: Unix time from which it is withdrawn; None for never.
            note: For whoever decides.

        Returns:
            The release, pending review; the one that waits already when nothing has changed.

        Raises:
            NotFound: There is no such item.
            InvalidParameter: A time cannot be.
            Conflict: A release of it is approved or being copied, or the item changes at this moment.
            VerificationFailed: The item cannot become public: what it names is missing, or lies where nobody may read.
        """
        status = self.repository.status(collection, item)
        is_open = status.open
        if is_open is not None and is_open.state not in _EDITABLE:
            raise Conflict(
                f"'{item}' has a release that is {is_open.state.replace('_', ' ')}: {is_open.id}.",
                hint="Wait until it is public, or have it revoked, before you submit the item anew.",
                field="item",
            )
        if withdraw_after is not None and withdraw_after <= self.repository.clock():
            raise InvalidParameter(
                "The time at which it would be withdrawn is over.",
                hint="Give a withdraw_after that is still to come, in seconds since 1970; or none.",
                field="withdraw_after",
            )
        version = self.repository.next_version(status.asset_id)
        manifest = self.assembler.assemble(collection, item, version)
        content = Content(manifest, clearance, publish_after, withdraw_after)
        if is_open is not None and is_open.state is State.PENDING_REVIEW and _is_same(is_open, content):
            return is_open
        with self.transaction() as connection:
            releases = self.within(connection)
            if is_open is None:
                draft = releases.create(actor, content)
            else:
                draft = releases.move(actor, Step(is_open.id, Action.EDIT, is_open.revision, content=content))
            return releases.move(actor, Step(draft.id, Action.SUBMIT, draft.revision, reason=note))

    # -- deciding ------------------------------------------------------------------------------------------------------

    def approve(
        self,
        actor: Principal,
        release_id: str,
        *,
        revision: int,
        manifest_digest: str,
        clearance: Clearance | None = None,
        note: str | None = None,
    ) -> Release:
        """Give leave to publish exactly what was seen; its copy is queued, unless there is an embargo.

        Args:
            actor: Who decides; not who submitted.
            release_id: Which release.
            revision: Of it, as it was seen.
            manifest_digest: Of its manifest, as it was seen.
            clearance: Who may see it, where the release says otherwise.
            note: Goes into the audit log.

        Raises:
            NotFound: There is no such release.
            Conflict: It stands elsewhere, or was changed since.
            FourEyes: Who decides is who submitted it.
        """
        said = {"manifest_digest": manifest_digest, "clearance": clearance, "reason": note}
        return self._started(self.repository.move(actor, Step(release_id, Action.APPROVE, revision, **said)))  # type: ignore[arg-type]

    def reject(self, actor: Principal, release_id: str, *, revision: int, reason: str) -> Release:
        """Turn a release down; see `approve` for what it raises."""
        return self.repository.move(actor, Step(release_id, Action.REJECT, revision, reason=reason))

    def request_changes(self, actor: Principal, release_id: str, *, revision: int, reason: str) -> Release:
        """Send a release back to who submitted it; see `approve` for what it raises."""
        return self.repository.move(actor, Step(release_id, Action.REQUEST_CHANGES, revision, reason=reason))

    def revoke(self, actor: Principal, release_id: str, *, revision: int, reason: str) -> Release:
        """Take back an approval that is not public yet; see `approve` for what it raises."""
        return self.repository.move(actor, Step(release_id, Action.REVOKE, revision, reason=reason))

    def restore(self, actor: Principal, release_id: str, *, revision: int, reason: str) -> Release:
        """Undo a withdrawal: the same version becomes public again, and what was taken out of the catalogue is back.

        Raises:
            NotFound: There is no such release.
            Conflict: It was not withdrawn, or too long ago, its objects are being removed at this moment, or another
                release of the item is open.
            FourEyes: Who decides is who submitted it.
        """
        self._refuse_leaving(self.repository.get(release_id))
        step = Step(release_id, Action.RESTORE, revision, reason=reason)
        with self.transaction() as connection:
            (outcome,) = self.moves(connection, actor, [step])
            if outcome.error is None:
                self.bring_back(connection, actor, self.within(connection).get(release_id))
        if outcome.error is not None:
            raise outcome.error
        return self._started(self.repository.get(release_id))

    def decide_many(self, actor: Principal, steps: Sequence[Step]) -> list[Outcome]:
        """Decide on many releases, each with its own outcome; what is approved is copied.

        Raises:
            InvalidParameter, NotFound, Unavailable: See `geoetl.publish.transition.decide_many`.
        """
        outcomes = self.repository.decide_many(actor, steps)
        for outcome in outcomes:
            if outcome.error is None and outcome.state is State.APPROVED:
                self._started(self.repository.get(outcome.release_id))
        return outcomes

    def retry(self, release_id: str, *, submitted_by: str | None = None) -> RunRecord:
        """Queue the copy of an approved release once more; what is finished is not repeated.

        Raises:
            NotFound: There is no such release.
            Conflict: It is neither approved nor did its copy fail, or it is being copied.
        """
        release = self.repository.get(release_id)
        if release.state not in (State.APPROVED, State.COPY_FAILED):
            raise Conflict(
                f"Release {release_id} is {release.state.replace('_', ' ')}; only a copy that failed is tried again.",
                hint="Look at it again.",
                field="state",
            )
        queued = self.start(release, submitted_by=submitted_by)
        if queued.state.is_over:
            self.runs.queue.retry(queued.id, submitted_by)
        return self.runs.get(queued.id)

    def withdraw(
        self,
        actor: Principal,
        collection: str,
        item: str,
        version: int = 0,
        scope: Scope = Scope.EXTERNAL,
        *,
        delete_objects: bool = True,
        force_approved: bool = False,
        reason: str,
    ) -> RunRecord:
        """Queue the withdrawal of an item, after a look at whether it may be; see `plan_withdrawal`."""
        said = {"delete_objects": delete_objects, "force_approved": force_approved, "reason": reason}
        self.plan_withdrawal(collection, item, version, scope, dry_run=False, asked_by=described(actor), **said)  # type: ignore[arg-type]
        asked = {"collection": collection, "item": item, "version": version, "scope": str(scope), "dry_run": False}
        head = self.audit.head()
        # Until something else happens, the same request is the same withdrawal.
        key = f"withdraw {actor.id} {head.number} {sorted({**asked, **said}.items())}"
        parameters = {**asked, **said, "asked_by": described(actor)}
        run = self.queue_run(WITHDRAW, parameters, key=key, submitted_by=actor.name)
        if run.reused and run.state in (RunState.FAILED, RunState.CANCELLED):
            self.runs.queue.retry(run.id, actor.name)
            return self.runs.get(run.id)
        return run

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def audit(self) -> AuditLog:
        """What was done, and what was refused."""
        return self.repository.audit

    def get(self, release_id: str) -> Release:
        """Return a release.

        Raises:
            NotFound: There is none of that id.
        """
        return self.repository.get(release_id)

    def list(
        self, *states: State, collection: str | None = None, limit: int = 100, after: str | None = None
    ) -> ReleasePage:
        """Return releases in the order in which they were made; see `ReleaseRepository.list`."""
        return self.repository.list(*states, collection=collection, limit=limit, after=after)

    def queue(self, *, limit: int = 100) -> tuple[Waiting, ...]:
        """Return what waits for review, the longest first."""
        return self.repository.waiting(limit=limit)

    def status(self, collection: str, item: str) -> ItemStatus:
        """Return how an item of the catalogue stands."""
        return self.repository.status(collection, item)

    # -- within --------------------------------------------------------------------------------------------------------

    def _refuse_leaving(self, release: Release) -> None:
        """Do nothing unless a run withdraws the item at this moment: it would remove what is copied meanwhile."""
        for run in self.runs.list(pipeline=WITHDRAW, state=RunState.RUNNING, limit=_PAGE):
            asked = run.parameters
            is_dry = asked.get("dry_run", True)
            if not is_dry and (asked.get("collection"), asked.get("item")) == (release.collection, release.item):
                raise Conflict(
                    f"'{release.item}' is being withdrawn at this moment.",
                    hint=f"Wait until that has ended: geoetl runs follow {run.id}",
                    field="state",
                )

    def _started(self, release: Release) -> Release:
        """Queue the copy of what was approved, where it may begin; `do_due` does where that does not succeed."""
        now = self.repository.clock()
        if release.clearance is Clearance.PUBLIC and (release.publish_after or now) <= now:
            try:
                self.start(release)
            except GeoetlError as error:
                _log.warning("the copy of release %s was not queued yet: %s", release.id, error.detail)
        return release


def _is_same(release: Release, content: Content) -> bool:
    seen = (release.manifest_digest, release.clearance, release.publish_after, release.withdraw_after)
    return seen == (content.manifest.digest, content.clearance, content.publish_after, content.withdraw_after)
