"""How a release stands, in words; its row in the queue; and who may do what to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dashboards.review.comparison import size_text
from dashboards.review.contents import everything
from geoetl.core.principal import Principal, Role
from geoetl.publish.comparison import item_of
from geoetl.publish.model import MOVES, UNDO_S, Action, Release, State
from geoetl.publish.steps import is_same


class Group(StrEnum):
    """Which releases are listed."""

    WAITING = "waiting"
    UNDER_WAY = "under-way"
    PUBLISHED = "published"
    ENDED = "ended"
    DRAFTS = "drafts"

    @property
    def states(self) -> tuple[State, ...]:
        """The states of these releases."""
        return _STATES[self]


_STATES: Mapping[Group, tuple[State, ...]] = {
    Group.WAITING: (State.PENDING_REVIEW,),
    Group.UNDER_WAY: (State.APPROVED, State.COPYING, State.COPY_FAILED),
    Group.PUBLISHED: (State.PUBLISHED,),
    Group.ENDED: (State.REJECTED, State.WITHDRAWN),
    Group.DRAFTS: (State.DRAFT, State.CHANGES_REQUESTED),
}
GROUP_WORDS: Mapping[Group, str] = {
    Group.WAITING: "Waiting",
    Group.UNDER_WAY: "Approved",
    Group.PUBLISHED: "Published",
    Group.ENDED: "Ended",
    Group.DRAFTS: "Drafts",
}
WORDS: Mapping[State, str] = {
    State.DRAFT: "Draft",
    State.PENDING_REVIEW: "Waits for review",
    State.CHANGES_REQUESTED: "Changes requested",
    State.APPROVED: "Approved",
    State.COPYING: "Being published",
    State.PUBLISHED: "Published",
    State.COPY_FAILED: "Copy failed",
    State.REJECTED: "Rejected",
    State.WITHDRAWN: "Withdrawn",
}
# Shapes of the component: nothing is told by colour alone.
_SIGNS: Mapping[State, str] = {
    State.DRAFT: "cancelled",
    State.PENDING_REVIEW: "queued",
    State.CHANGES_REQUESTED: "interrupted",
    State.APPROVED: "available",
    State.COPYING: "running",
    State.PUBLISHED: "completed",
    State.COPY_FAILED: "failed",
    State.REJECTED: "failed",
    State.WITHDRAWN: "cancelled",
}


@dataclass(frozen=True)
class Deed:
    """Something that may be done to a release in its state.

    Attributes:
        action: What.
        barred: Why the visitor may not do it; empty where they may.
    """

    action: Action
    barred: str = ""


#: What a person does on the page, in the order of the buttons; all else happens by itself or elsewhere.
_DEEDS = (Action.APPROVE, Action.REQUEST_CHANGES, Action.REJECT, Action.REVOKE, Action.WITHDRAW, Action.RESTORE)


def deeds(release: Release, principal: Principal, *, read_only: bool, now: float) -> tuple[Deed, ...]:
    """Return what may be done to a release, with the reason for whoever may not.

    Args:
        release: As it stands.
        principal: Who looks.
        read_only: Whether this server only reads.
        now: Unix time, seconds.
    """
    found = [action for action in _DEEDS if release.state in MOVES[action].before]
    if not may_be_restored(release, now):
        found = [action for action in found if action is not Action.RESTORE]
    return tuple(Deed(action, _barred(action, release, principal, read_only=read_only)) for action in found)


def may_be_restored(release: Release, now: float) -> bool:
    """Tell whether a withdrawal can still be undone."""
    was_approved = release.state is State.WITHDRAWN and release.version is not None
    return was_approved and now < release.updated_at + UNDO_S


def _barred(action: Action, release: Release, principal: Principal, *, read_only: bool) -> str:
    if read_only:
        return "This server only reads: decide on one of the role “all”, or with the command line."
    if not principal.may(Role.APPROVER):
        return f"Your role is {principal.role}: deciding what becomes public takes the role {Role.APPROVER}."
    if MOVES[action].is_decision and is_same(release.submitted_by, principal.id):
        return "You submitted it: somebody else decides on it."
    return ""


def title_of(release: Release) -> str:
    """Return what a release is called: the title of its item, else the id."""
    return str(item_of(release.manifest).get("properties", {}).get("title") or release.item)


def version_text(release: Release) -> str:
    """Return the version that a release has or would get: ``v2``; empty where that is not known."""
    number = release.version or release.manifest.version
    return f"v{number}" if number else ""


def release_row(release: Release, person: str) -> dict[str, Any]:
    """Return a release as the component `ReleaseList` takes it.

    Args:
        release: As it stands.
        person: Name of who submitted it.
    """
    files = everything(release.manifest)
    size = size_text(sum(one.bytes for one in files))
    parts = (version_text(release), f"{len(files):,} {'file' if len(files) == 1 else 'files'}", size)
    return {
        "key": release.id,
        "title": title_of(release),
        "place": f"{release.collection} / {release.item}",
        "sign": _SIGNS[release.state],
        "state": str(release.state),
        "word": WORDS[release.state],
        "facts": " · ".join(part for part in parts if part),
        "who": person,
        "note": note_of(release)[:200],
        # What waits is told by how long it does so, all else by what happened to it last.
        "since": release.submitted_at if release.state is State.PENDING_REVIEW else release.updated_at,
    }


def note_of(release: Release) -> str:
    """Return why a release stands as it does; empty where there is nothing to say."""
    if release.state is State.COPY_FAILED:
        return release.last_error or ""
    if release.state is State.APPROVED and release.publish_after is not None:
        return f"not before {utc(release.publish_after)}"
    if release.state in (State.REJECTED, State.CHANGES_REQUESTED, State.WITHDRAWN):
        return release.reason or ""
    return ""


def utc(moment: float) -> str:
    """Return a Unix time as people of the field write it: 2026-11-28 02:00 UTC."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):  # a date that no calendar has
        return "in a time beyond all calendars"
