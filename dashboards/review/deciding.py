"""What a person does to a release: asked first, with what was seen; then done, as long as it is still that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import InvalidParameter
from geoetl.publish.model import MOVES, Action, Clearance, Release

if TYPE_CHECKING:
    from geoetl.core.principal import Principal
    from geoetl.publish.publishing import Publishing
    from geoetl.publish.withdrawal import Withdrawal

DOING: Mapping[Action, str] = {
    Action.APPROVE: "approving the release",
    Action.REQUEST_CHANGES: "sending the release back",
    Action.REJECT: "rejecting the release",
    Action.REVOKE: "revoking the approval",
    Action.WITHDRAW: "withdrawing the release",
    Action.RESTORE: "restoring the release",
}
SAID: Mapping[Action, str] = {
    Action.APPROVE: "It is approved: exactly these files become public.",
    Action.REQUEST_CHANGES: "It was sent back to who submitted it.",
    Action.REJECT: "It is rejected.",
    Action.REVOKE: "The approval is revoked; nothing of it becomes public.",
    Action.WITHDRAW: "The withdrawal was started: it leaves the public catalogue first, then the files go.",
    Action.RESTORE: "It is approved again as it was, and becomes public once more.",
}
NO_REASON: Mapping[Action, str] = {
    Action.REQUEST_CHANGES: "It is not sent back",
    Action.REJECT: "It is not rejected",
    Action.REVOKE: "The approval is not revoked",
    Action.WITHDRAW: "It is not withdrawn",
    Action.RESTORE: "It is not restored",
}


@dataclass(frozen=True)
class Asking:
    """What a person is asked before it is done to the release that they see.

    Attributes:
        action: What would be done.
        release_id, revision, manifest_digest: Of the release as it was seen.
        clearance: As the release says.
        plan: Of a withdrawal: exactly what would go; None while that is looked up.
    """

    action: Action
    release_id: str
    revision: int
    manifest_digest: str
    clearance: Clearance
    plan: "Withdrawal | None" = None

    @classmethod
    def of(cls, action: Action, release: Release) -> "Asking":
        """Ask about a release as it stands."""
        return cls(action, release.id, release.revision, release.manifest_digest, release.clearance)

    @property
    def needs_reason(self) -> bool:
        """Whether it is not done without a reason."""
        return MOVES[self.action].needs_reason

    def is_about(self, release: Release) -> bool:
        """Tell whether a release is still as it was when it was asked."""
        return (release.id, release.revision) == (self.release_id, self.revision)


def decide(publishing: "Publishing", actor: "Principal", asking: Asking, why: str, clearance: Clearance | None) -> str:
    """Do what was asked for, to the release as it was seen; return the id of the run that goes on with it, if one does.

    Args:
        publishing: What does it.
        actor: Who decides.
        asking: What, and what was seen.
        why: The reason, or a note.
        clearance: To approve: who may see it.

    Raises:
        Conflict: The release is not as it was seen.
        Forbidden: Who decides is who submitted it.
    """
    seen: dict[str, Any] = {"revision": asking.revision}
    match asking.action:
        case Action.APPROVE:
            seen |= {"manifest_digest": asking.manifest_digest, "note": why or None}
            publishing.approve(actor, asking.release_id, clearance=clearance or asking.clearance, **seen)
        case Action.REJECT:
            publishing.reject(actor, asking.release_id, reason=why, **seen)
        case Action.REQUEST_CHANGES:
            publishing.request_changes(actor, asking.release_id, reason=why, **seen)
        case Action.REVOKE:
            publishing.revoke(actor, asking.release_id, reason=why, **seen)
        case Action.RESTORE:
            publishing.restore(actor, asking.release_id, reason=why, **seen)
        case _:
            plan = asking.plan
            if plan is None:
                raise InvalidParameter("It is still looked up what would go.", hint="Wait a moment.", field="plan")
            return publishing.withdraw(actor, plan.collection, plan.item, plan.version, reason=why).id
    return ""
