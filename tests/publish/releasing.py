"""Who publishes what, in the tests of publishing."""

from dataclasses import dataclass
from typing import Any

from geoetl.core.principal import Principal, Role, Via
from geoetl.publish.model import MOVES, Action, Clearance, Manifest, ManifestObject, Release, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Content, Step
from geoetl.publish.transition import SYSTEM

AUTHOR = Principal("06anna", "Anna", Role.EDITOR, Via.COOKIE)
APPROVER = Principal("06ben", "Ben", Role.APPROVER, Via.COOKIE)
NOW = 1_800_000_000.0

#: A way from a draft to each state.
WAYS: dict[State, tuple[Action, ...]] = {
    State.DRAFT: (),
    State.PENDING_REVIEW: (Action.SUBMIT,),
    State.CHANGES_REQUESTED: (Action.SUBMIT, Action.REQUEST_CHANGES),
    State.APPROVED: (Action.SUBMIT, Action.APPROVE),
    State.COPYING: (Action.SUBMIT, Action.APPROVE, Action.BEGIN_COPY),
    State.PUBLISHED: (Action.SUBMIT, Action.APPROVE, Action.BEGIN_COPY, Action.FINISH_COPY),
    State.COPY_FAILED: (Action.SUBMIT, Action.APPROVE, Action.BEGIN_COPY, Action.FAIL_COPY),
    State.REJECTED: (Action.SUBMIT, Action.REJECT),
    State.WITHDRAWN: (Action.SUBMIT, Action.APPROVE, Action.REVOKE),
}


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def a_manifest(item: str = "flood", mark: str = "a", **values: Any) -> Manifest:
    """Return the manifest of an item; another mark is another content."""
    data = ManifestObject(
        source=f"rasters/{item}.tif",
        target=f"rasters/{item}.tif",
        bytes=4,
        sha256=mark * 64,
        media_type="image/tiff",
        role="data",
    )
    return Manifest(collection="hazards", item=item, objects=(data,), **values)


def a_content(item: str = "flood", mark: str = "a", *, version: int | None = None, **values: Any) -> Content:
    """Return what a release of it for the public is made of."""
    return Content(a_manifest(item, mark, version=version), **{"clearance": Clearance.PUBLIC, **values})


def a_step(release: Release, action: Action, **values: Any) -> Step:
    """Return a step with all that has to be said, as somebody says it who has just looked."""
    said: dict[str, Any] = {"reason": "Because." if MOVES[action].needs_reason else None}
    if action is Action.EDIT:
        said["content"] = a_content(release.item, "b")
    if action is Action.APPROVE:
        said["manifest_digest"] = release.manifest_digest
    if action is Action.BEGIN_COPY:
        said["nonce"] = release.approval.nonce if release.approval else "none"
    if action in (Action.BEGIN_COPY, Action.FINISH_COPY, Action.FAIL_COPY):
        said["run_id"] = release.run_id or "run1"
    return Step(release.id, action, release.revision, **{**said, **values})


def who_does(action: Action) -> Principal:
    """Return who usually does it."""
    if action in (Action.EDIT, Action.SUBMIT, Action.REOPEN):
        return AUTHOR
    return SYSTEM if "copy" in action or action is Action.EXPIRE else APPROVER


def brought(releases: ReleaseRepository, state: State, item: str = "flood", **values: Any) -> Release:
    """Make a release and bring it to a state."""
    release = releases.create(AUTHOR, a_content(item, **values))
    for action in WAYS[state]:
        release = releases.move(who_does(action), a_step(release, action))
    return release
