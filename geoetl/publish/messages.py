"""What is told of what happened to a release: to whom, and in which words."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from geoetl.publish.model import Action

# A reason may be a page long; the review page has all of it.
_MAX_REASON = 1000
_REVIEWERS, _SUBMITTER = "reviewers", "submitter"


@dataclass(frozen=True)
class _Words:
    """How an event is told.

    Attributes:
        subject: What happened, at the beginning of a subject.
        sentence: What follows on "hazards/flood", with ``{who}`` for who did it.
        only: Who gets an e-mail; None for both.
    """

    subject: str
    sentence: str
    only: str | None = None


# What is not here is told to webhooks alone.
_WORDS: Mapping[str, _Words] = {
    Action.SUBMIT: _Words("Waits for review", "was submitted for review by {who}", only=_REVIEWERS),
    Action.APPROVE: _Words("Approved", "was approved by {who}", only=_SUBMITTER),
    Action.REQUEST_CHANGES: _Words("Changes requested", "was sent back with a request by {who}", only=_SUBMITTER),
    Action.REJECT: _Words("Rejected", "was rejected by {who}", only=_SUBMITTER),
    Action.REVOKE: _Words("Approval revoked", "will not be published: {who} revoked the approval"),
    Action.EXPIRE: _Words("Waits for review again", "waits for review again: its approval was not used"),
    Action.FINISH_COPY: _Words("Published", "is public"),
    Action.FAIL_COPY: _Words("Copy failed", "is not public yet: its copy failed"),
    Action.WITHDRAW: _Words("Withdrawn", "is not public any more: {who} withdrew it"),
    Action.RESTORE: _Words("Withdrawal undone", "becomes public again: {who} undid the withdrawal"),
}


@dataclass(frozen=True)
class Notice:
    """Something that happened.

    Attributes:
        id: Of the notification; the same in every attempt to send it.
        event: What happened, as the audit log calls it.
        payload: What is known of it, see `geoetl.publish.transition.notice`.
        link: Address of the release on the review page; None where nobody said what the dashboard's is.
    """

    id: str
    event: str
    payload: Mapping[str, Any]
    link: str | None

    @property
    def for_reviewers(self) -> bool:
        """Whether those who approve get an e-mail."""
        return self.event in _WORDS and _WORDS[self.event].only != _SUBMITTER

    @property
    def for_submitter(self) -> str | None:
        """Principal id of who submitted, where they get an e-mail; nobody is told what they did themselves."""
        submitter = self.payload["submitted_by"]
        is_told = self.event in _WORDS and _WORDS[self.event].only != _REVIEWERS and submitter != self.payload["actor"]
        return str(submitter) if is_told and submitter else None

    @property
    def subject(self) -> str:
        """What happened to what."""
        return f"[geoetl] {_WORDS[self.event].subject}: {self._what}"

    def text(self, name_of: Callable[[str], str]) -> str:
        """Return the text of an e-mail.

        Args:
            name_of: Tells how the principal of an id is called.
        """
        when = datetime.fromtimestamp(self.payload["at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        told = _WORDS[self.event].sentence.format(who=name_of(self.payload["actor"]))
        said = self.payload["last_error"] if self.event == Action.FAIL_COPY else self.payload["reason"]
        parts = [f"{self._what} {told} ({when})."]
        if said:
            parts.append(said if len(said) <= _MAX_REASON else f"{said[:_MAX_REASON]}…")
        parts.append(f"Look at it: {self.link}" if self.link else f"Release {self.payload['release_id']}")
        return "\n\n".join(parts) + "\n"

    def body(self) -> bytes:
        """Return what a webhook is sent: JSON in UTF-8."""
        return json.dumps({"id": self.id, **self.payload, "link": self.link}, ensure_ascii=False).encode()

    @property
    def _what(self) -> str:
        version = self.payload["version"]
        return f"{self.payload['collection']}/{self.payload['item']}" + (f", version {version}" if version else "")
