"""What is published and how it stands: releases bound to a digest, their states, and who may move them where.

Pure: no database, no files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from pydantic import Field

from geoetl.core import html
from geoetl.core.errors import Conflict
from geoetl.core.identifiers import digest
from geoetl.runs.model import Result

PLATFORM = "geoetl"
_ASSET_ID_LENGTH = 32
_SHA256 = r"^[0-9a-f]{64}$"
# Rows that a notebook shows of a long list.
_SHOWN = 30


class State(StrEnum):
    """Where a release stands."""

    DRAFT = "draft"
    PENDING_REVIEW = "pending_review"
    CHANGES_REQUESTED = "changes_requested"
    APPROVED = "approved"
    COPYING = "copying"
    PUBLISHED = "published"
    COPY_FAILED = "copy_failed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"

    @property
    def is_open(self) -> bool:
        """Whether something is to come of it; an asset has one release at most that is open."""
        return self not in (State.PUBLISHED, State.REJECTED, State.WITHDRAWN)


class Action(StrEnum):
    """What may be done to a release."""

    EDIT = "edit"  # what it is made of changed
    SUBMIT = "submit"
    APPROVE = "approve"
    REQUEST_CHANGES = "request_changes"
    REJECT = "reject"
    REVOKE = "revoke"
    EXPIRE = "expire"  # the approval was not used in time
    BEGIN_COPY = "begin_copy"
    FINISH_COPY = "finish_copy"
    FAIL_COPY = "fail_copy"
    WITHDRAW = "withdraw"
    REOPEN = "reopen"
    RESTORE = "restore"  # what was withdrawn is to be public again, as it was


class Clearance(StrEnum):
    """Who may see it; only what is public is copied to the external zone."""

    UNCLEARED = "uncleared"
    RESTRICTED = "restricted"
    PUBLIC = "public"


@dataclass(frozen=True)
class Move:
    """What an action does.

    Attributes:
        before: States that it may be done in.
        after: State that it leads to.
        needs_reason: Whether it has to be said why.
        is_decision: Whether whoever submitted may not do it.
        ends_approval: Whether an approval that was given is void from then on.
    """

    before: frozenset[State]
    after: State
    needs_reason: bool = False
    is_decision: bool = False
    ends_approval: bool = False


_WAITING = frozenset({State.DRAFT, State.PENDING_REVIEW, State.CHANGES_REQUESTED})

#: The one table of all that may happen. Anything else is a conflict.
MOVES: Mapping[Action, Move] = {
    # Whoever edits what waits for review takes it back: nobody approves what they have not seen.
    Action.EDIT: Move(_WAITING, State.DRAFT),
    Action.SUBMIT: Move(frozenset({State.DRAFT, State.CHANGES_REQUESTED}), State.PENDING_REVIEW),
    Action.APPROVE: Move(frozenset({State.PENDING_REVIEW}), State.APPROVED, is_decision=True),
    Action.REQUEST_CHANGES: Move(
        frozenset({State.PENDING_REVIEW}), State.CHANGES_REQUESTED, needs_reason=True, is_decision=True
    ),
    Action.REJECT: Move(frozenset({State.PENDING_REVIEW}), State.REJECTED, needs_reason=True, is_decision=True),
    Action.REVOKE: Move(
        frozenset({State.APPROVED, State.COPY_FAILED}), State.WITHDRAWN, needs_reason=True, ends_approval=True
    ),
    Action.EXPIRE: Move(
        frozenset({State.APPROVED, State.COPY_FAILED}), State.PENDING_REVIEW, needs_reason=True, ends_approval=True
    ),
    Action.BEGIN_COPY: Move(frozenset({State.APPROVED, State.COPY_FAILED}), State.COPYING),
    Action.FINISH_COPY: Move(frozenset({State.COPYING}), State.PUBLISHED),
    Action.FAIL_COPY: Move(frozenset({State.COPYING}), State.COPY_FAILED, needs_reason=True),
    Action.WITHDRAW: Move(frozenset({State.PUBLISHED}), State.WITHDRAWN, needs_reason=True, ends_approval=True),
    Action.REOPEN: Move(frozenset({State.REJECTED, State.WITHDRAWN}), State.DRAFT),
    Action.RESTORE: Move(frozenset({State.WITHDRAWN}), State.APPROVED, needs_reason=True, is_decision=True),
}

#: Time within which a withdrawal can be undone, seconds; what that needs is kept for so long.
UNDO_S = 30 * 24 * 3600.0


def asset_id(collection: str, item: str) -> str:
    """Return the stable identity of what is published, whatever its version."""
    return sha256(f"{PLATFORM}|{collection}|{item}".encode()).hexdigest()[:_ASSET_ID_LENGTH]


class ManifestObject(Result):
    """An object that would become public.

    Attributes:
        source: Address of what is copied: ``internal://key``, or one outside the zones that a virtual cube names.
        target: Where it goes, below the path of the release.
        bytes: Its size.
        sha256: Digest of its content.
        media_type: As it is served.
        role: What it is: data, visual, thumbnail, references, style, metadata.
    """

    source: str
    target: str
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)
    media_type: str
    role: str


class Manifest(Result):
    """Exactly what would become public: nothing else does.

    Attributes:
        collection, item: Of the catalogue.
        objects: By target.
        documents: STAC documents and styles as they would be served, by target below the path of the release.
        license, attribution: As the reviewer reads them.
        version: The one that approval will assign, as it is in the addresses; None in a manifest that has none.
        collection_document: How the collection is shown: title, description, license, providers, extent; no links.
    """

    collection: str
    item: str
    objects: tuple[ManifestObject, ...]
    documents: dict[str, dict[str, Any]] = Field(default_factory=dict)
    license: str = ""
    attribution: str = ""
    version: int | None = Field(None, ge=1)
    collection_document: dict[str, Any] = Field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where in the external zone all of it lies: ``collection/item/v1``.

        Raises:
            Conflict: The manifest names no version.
        """
        if self.version is None:
            raise Conflict(
                f"What would become public of '{self.item}' has no version.", hint="Submit it again.", field="version"
            )
        return f"{self.collection}/{self.item}/v{self.version}"

    @property
    def digest(self) -> str:
        """What approval is bound to: sha256 of the manifest as canonical JSON."""
        return digest(self.model_dump(mode="json"))

    @property
    def bytes(self) -> int:
        """Size of all objects."""
        return sum(one.bytes for one in self.objects)

    def _repr_html_(self) -> str:
        subtitle = ", ".join(
            (
                html.counted(len(self.objects), "object"),
                html.human_bytes(self.bytes),
                html.counted(len(self.documents), "document"),
            )
        )
        version = f" v{self.version}" if self.version else ""
        told = [("licence", self.license), ("attribution", self.attribution), ("digest", self.digest)]
        parts = [html.heading(f"{self.collection}/{self.item}{version}", subtitle), html.facts(told)]
        rows = [(one.target, one.role, html.human_bytes(one.bytes), one.sha256[:12]) for one in self.objects[:_SHOWN]]
        rows += [(target, "document", "", "") for target in list(self.documents)[: _SHOWN - len(rows)]]
        parts.append(html.table(["what becomes public", "as", "size", "sha256"], rows))
        left = len(self.objects) + len(self.documents) - len(rows)
        return "".join(parts) + (html.facts([("", f"and {left:,} more")]) if left else "")


class Approval(Result):
    """The leave to publish one manifest, once.

    Attributes:
        manifest_digest: Which one.
        nonce: Tells it from every other.
        by: Principal id of who gave it.
        at: Unix time.
        expires_at: Unix time from which it is void.
        used_at: Unix time when its copy first began; one that failed goes on, another is not begun with it.
    """

    manifest_digest: str
    nonce: str
    by: str
    at: float
    expires_at: float
    used_at: float | None = None


class Release(Result):
    """A release as it stands.

    Attributes:
        id: Its id; ids sort by the time they were made.
        asset_id: What it is a release of.
        collection, item: Of the catalogue.
        state: Where it stands.
        revision: Raised by every change; who changes it names the one that they saw.
        version: Assigned at approval, counted from 1 for each asset.
        clearance: Who may see it.
        manifest: What would become public.
        manifest_digest: Of the manifest.
        submitted_by, submitted_at: Principal id, Unix time.
        approval: The leave to publish.
        publish_after: Unix time before which it is not copied; None for at once.
        withdraw_after: Unix time from which it is withdrawn; None for never.
        published_at: Unix time when it became public, the last time; what was public keeps its manifest for good.
        run_id: The run that copied, or copies.
        last_error: Why the copy failed.
        reason: Why it was rejected, sent back, revoked or withdrawn.
        created_at, updated_at: Unix time.
    """

    id: str
    asset_id: str
    collection: str
    item: str
    state: State
    revision: int
    version: int | None
    clearance: Clearance
    manifest: Manifest
    manifest_digest: str
    submitted_by: str | None
    submitted_at: float | None
    approval: Approval | None
    publish_after: float | None
    withdraw_after: float | None
    published_at: float | None
    run_id: str | None
    last_error: str | None
    reason: str | None
    created_at: float
    updated_at: float

    def _repr_html_(self) -> str:
        version = f" v{self.version}" if self.version else ""
        told = [
            ("release", f"{self.id}, revision {self.revision}"),
            ("clearance", self.clearance),
            (
                "becomes public",
                f"{html.counted(len(self.manifest.objects), 'object')}, {html.human_bytes(self.manifest.bytes)}",
            ),
            ("licence", self.manifest.license),
            ("submitted", moment(self.submitted_at)),
            ("approved until", moment(self.approval.expires_at if self.approval else None)),
            ("not before", moment(self.publish_after)),
            ("became public", moment(self.published_at)),
            ("not after", moment(self.withdraw_after)),
            ("copy failed", self.last_error),
            ("reason", self.reason),
            ("digest", self.manifest_digest),
        ]
        words = self.state.replace("_", " ")
        return html.heading(f"{self.collection}/{self.item}{version}", words) + html.facts(told)


def moment(time: float | None) -> str:
    """Return a Unix time as people read it, in UTC; nothing for None."""
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
