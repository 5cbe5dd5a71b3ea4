"""What is asked to be done to a release, what has to be said with it, and whether a release allows it; no database."""

import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson

from geoetl.core.errors import Conflict, InvalidParameter, NotFound
from geoetl.core.identifiers import canonical_json
from geoetl.core.principal import FourEyes, Principal
from geoetl.publish.model import MOVES, UNDO_S, Action, Approval, Clearance, Manifest, State, asset_id

# An approval that is not used within this time from when it could be is void.
APPROVAL_VALID_S = 7 * 24 * 3600.0
MAX_REASON_LETTERS = 4000
_NONCE_BYTES = 16
# Ids, digests and nonces: what is none of ours is neither looked up nor written down.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Content:
    """What a release is made of.

    Attributes:
        manifest: Exactly what would become public.
        clearance: Who may see it.
        publish_after: Unix time before which it is not copied; None for at once.
        withdraw_after: Unix time from which it is withdrawn; None for never.
    """

    manifest: Manifest
    clearance: Clearance = Clearance.UNCLEARED
    publish_after: float | None = None
    withdraw_after: float | None = None

    def checked(self) -> "Content":
        """Return it if its times can be.

        Raises:
            InvalidParameter: They cannot.
        """
        for name in ("publish_after", "withdraw_after"):
            time = getattr(self, name)
            if time is not None and not (math.isfinite(time) and time >= 0):
                raise InvalidParameter(f"{name} is no Unix time.", hint="Give seconds since 1970.", field=name)
        if self.publish_after is not None and self.withdraw_after is not None:
            if self.withdraw_after <= self.publish_after:
                raise InvalidParameter(
                    "It would be withdrawn before it is published.",
                    hint="Give a withdraw_after that is later than publish_after.",
                    field="withdraw_after",
                )
        return self

    def columns(self) -> dict[str, Any]:
        """Return it as it stands in a row."""
        text = canonical_json(self.manifest.model_dump(mode="json"))
        return {
            "manifest": text,
            "manifest_digest": digest_of(text),
            "clearance": str(self.clearance),
            "publish_after": self.publish_after,
            "withdraw_after": self.withdraw_after,
        }


@dataclass(frozen=True)
class Step:
    """What is asked to be done.

    Attributes:
        release_id: To which release.
        action: What.
        revision: Of the release as it was seen; another one since is a conflict.
        reason: Why; needed where `MOVES` says so, a note elsewhere.
        manifest_digest: To approve: of the manifest that was seen.
        clearance: To approve: who may see it, where the release does not say yet or says otherwise.
        content: To edit: what the release is made of from now on.
        nonce: To begin to copy: of the approval that is used.
        run_id: To begin, finish or fail to copy: the run that does it.
        leaves_objects: To withdraw: whether they stay where they are, for whoever knows an address.
    """

    release_id: str
    action: Action
    revision: int
    reason: str | None = None
    manifest_digest: str | None = None
    clearance: Clearance | None = None
    content: Content | None = None
    nonce: str | None = None
    run_id: str | None = None
    leaves_objects: bool | None = None

    def checked(self) -> "Step":
        """Return the step, its reason without blanks around it, if all that it needs is said and nothing else.

        Raises:
            NotFound: The id is none that a release can have.
            InvalidParameter: Something is missing, is too much, or cannot be.
        """
        check_release_id(self.release_id)
        needed, possible = _SAID.get(self.action, (frozenset(), frozenset()))
        for name in ("manifest_digest", "clearance", "content", "nonce", "run_id", "leaves_objects"):
            is_said = getattr(self, name) is not None
            if name in needed and not is_said:
                raise InvalidParameter(f"To {_verb(self.action)}, {name} has to be given.", field=name)
            if is_said and name not in needed | possible:
                raise InvalidParameter(f"To {_verb(self.action)}, {name} says nothing.", hint="Omit it.", field=name)
        for name in ("manifest_digest", "nonce", "run_id"):
            text = getattr(self, name)
            if text is not None and not _NAME.fullmatch(text):
                raise InvalidParameter(f"{name} is not as we write one.", hint="Copy it whole.", field=name)
        if self.content is not None:
            self.content.checked()
        reason = _checked_reason(self.reason)
        if reason is None and MOVES[self.action].needs_reason:
            raise InvalidParameter(
                f"To {_verb(self.action)} needs a reason.", hint="Say in a sentence why.", field="reason"
            )
        return replace(self, reason=reason)


#: What each action needs to be said, and what may be said besides.
_SAID: Mapping[Action, tuple[frozenset[str], frozenset[str]]] = {
    Action.EDIT: (frozenset({"content"}), frozenset()),
    Action.APPROVE: (frozenset({"manifest_digest"}), frozenset({"clearance"})),
    Action.BEGIN_COPY: (frozenset({"nonce", "run_id"}), frozenset()),
    Action.FINISH_COPY: (frozenset({"run_id"}), frozenset()),
    Action.FAIL_COPY: (frozenset({"run_id"}), frozenset()),
    Action.WITHDRAW: (frozenset(), frozenset({"leaves_objects"})),
}


@dataclass(frozen=True)
class Present:
    """A release as it stands while a step is looked at.

    Attributes:
        values: Its columns.
        approval: The leave to publish.
    """

    values: Mapping[str, Any]
    approval: Approval | None

    @property
    def state(self) -> State:
        """Where it stands."""
        return State(self.values["state"])

    def refuse(self, step: Step, actor: Principal, now: float, version: int) -> None:
        """Do nothing if the step may be done; `version` is the next one of the asset.

        Raises:
            Conflict: The release does not allow it: it stands elsewhere, was changed since it was seen, or its approval
                does not hold.
            FourEyes: Who decides is who submitted it.
        """
        move, name = MOVES[step.action], f"Release {step.release_id}"
        if self.state not in move.before:
            raise Conflict(
                f"{name} is {_words(self.state)} (revision {self.values['revision']}); to {_verb(step.action)}, "
                f"it has to be {' or '.join(sorted(_words(state) for state in move.before))}.",
                hint="Look at it again.",
                field="state",
            )
        if move.is_decision and is_same(self.values["submitted_by"], actor.id):
            raise FourEyes(
                f"{name} was submitted by you; whoever submits a release does not decide on it.",
                hint="Ask somebody else who may approve.",
            )
        if self.values["revision"] != step.revision:
            raise Conflict(
                f"{name} was changed since: it is at revision {self.values['revision']}, not {step.revision}.",
                hint="Look at it again, then decide.",
                field="revision",
            )
        if step.action in _CHECKS:
            _CHECKS[step.action](self, step, now)
        if step.action is Action.APPROVE:
            _refuse_version(self, version)

    def changed(self, step: Step, actor: Principal, now: float, version: int) -> dict[str, Any]:
        """Return the columns that the step gives other values; `version` is the next one of the asset."""
        move = MOVES[step.action]
        values = {"state": str(move.after), "revision": self.values["revision"] + 1, "updated_at": now}
        values |= {"approval": None} if move.ends_approval else {}
        if step.action is Action.FAIL_COPY:
            values |= {"last_error": step.reason}
        elif step.action not in (Action.BEGIN_COPY, Action.FINISH_COPY):
            values |= {"reason": step.reason}
        if step.action in _CHANGES:
            values |= _CHANGES[step.action](self, step, actor, now)
        return values | ({"version": version} if step.action is Action.APPROVE else {})


def is_same(one: str | None, other: str) -> bool:
    """Tell whether two principal ids are of the same principal; names, aliases and tokens do not come into it."""
    return one is not None and one.strip().casefold() == other.strip().casefold()


def check_release_id(release_id: str) -> None:
    """Do nothing if a release can have that id.

    Raises:
        NotFound: It cannot.
    """
    if not _NAME.fullmatch(release_id):
        raise not_found(release_id)


def not_found(release_id: str) -> NotFound:
    """Return the error for an id that no release has."""
    shown = release_id[:60].encode("ascii", "backslashreplace").decode()
    return NotFound(f"There is no release '{shown}'.", hint="Look at the list of releases.", field="release_id")


def digest_of(manifest: str) -> str:
    """Return the digest of a manifest as it is stored, which is `Manifest.digest`."""
    return sha256(manifest.encode()).hexdigest()


# -- whether a release allows it ---------------------------------------------------------------------------------------


def _check_edit(present: Present, step: Step, now: float) -> None:
    assert step.content is not None
    manifest = step.content.manifest
    if asset_id(manifest.collection, manifest.item) != present.values["asset_id"]:
        raise Conflict(
            f"Release {step.release_id} is one of '{present.values['collection']}/{present.values['item']}', "
            f"not of '{manifest.collection}/{manifest.item}'.",
            hint="Make a release of the other item.",
            field="content",
        )


def _check_approve(present: Present, step: Step, now: float) -> None:
    _refuse_changed(present, str(step.manifest_digest), "manifest_digest")
    if (step.clearance or Clearance(present.values["clearance"])) is Clearance.UNCLEARED:
        raise Conflict(
            f"Release {step.release_id} is not cleared for anybody.",
            hint=f"Approve it with a clearance: {Clearance.PUBLIC} or {Clearance.RESTRICTED}.",
            field="clearance",
        )


def _refuse_version(present: Present, version: int) -> None:
    made_for = orjson.loads(present.values["manifest"]).get("version")
    if made_for not in (None, version):
        raise Conflict(
            f"Release {present.values['id']} was made as version {made_for}; the next one is {version}.",
            hint="Have it submitted again: its addresses then have the right version in them.",
            field="version",
        )


def _check_restore(present: Present, step: Step, now: float) -> None:
    values, name = present.values, f"release {step.release_id}"
    # Nothing but another step, which would bring it elsewhere, changes what was withdrawn.
    if now >= values["updated_at"] + UNDO_S:
        raise Conflict(
            f"{name.capitalize()} was withdrawn more than {UNDO_S / 86_400:.0f} days ago.",
            hint="Submit the item again.",
            field="state",
        )
    if values["version"] is None:
        raise Conflict(f"{name.capitalize()} was never approved.", hint="Submit the item again.", field="version")
    if values["withdraw_after"] is not None and now >= values["withdraw_after"]:
        raise Conflict(f"The time of {name} is over.", hint="Submit the item again.", field="withdraw_after")
    _refuse_changed(present, values["manifest_digest"], "manifest_digest")


def _check_expire(present: Present, step: Step, now: float) -> None:
    _refuse_public_once(present, "Revoke it: it is withdrawn then, as before.")
    if present.approval is not None and now < present.approval.expires_at:
        raise Conflict(f"The approval of release {step.release_id} still holds.", hint="Revoke it.", field="approval")


def _check_begin(present: Present, step: Step, now: float) -> None:
    approval, values, name = present.approval, present.values, f"release {step.release_id}"
    if approval is None or approval.nonce != step.nonce:
        raise _void(f"{name.capitalize()} has another approval by now.", "Look at it again.")
    if present.state is State.APPROVED and approval.used_at is not None:
        raise _void(f"The approval of {name} was used already.", "Have it approved once more.")
    if now >= approval.expires_at:
        raise _void(f"The approval of {name} was not used in time.", "Have it approved once more.")
    _refuse_time(present, name, now)
    if values["clearance"] != Clearance.PUBLIC:
        raise Conflict(f"{name.capitalize()} is not for the public.", hint="Revoke it.", field="clearance")
    _refuse_changed(present, approval.manifest_digest, "approval")


def _check_finish(present: Present, step: Step, now: float) -> None:
    _check_run(present, step, now)
    if present.approval is None:
        raise _void(f"Release {step.release_id} has no approval.", "Have it approved once more.")
    # A copy may take long, and a clock may be put right meanwhile.
    _refuse_time(present, f"release {step.release_id}", now)
    _refuse_changed(present, present.approval.manifest_digest, "approval")


def _check_run(present: Present, step: Step, now: float) -> None:
    if present.values["run_id"] != step.run_id:
        raise Conflict(
            f"Release {step.release_id} is copied by another run, {present.values['run_id']}.",
            hint="Look at that one.",
            field="run_id",
        )


def _check_reopen(present: Present, step: Step, now: float) -> None:
    _refuse_public_once(present, "Submit the item again, or restore it.")


_CHECKS: Mapping[Action, Callable[[Present, Step, float], None]] = {
    Action.EDIT: _check_edit,
    Action.APPROVE: _check_approve,
    Action.RESTORE: _check_restore,
    Action.EXPIRE: _check_expire,
    Action.REOPEN: _check_reopen,
    Action.BEGIN_COPY: _check_begin,
    Action.FINISH_COPY: _check_finish,
    Action.FAIL_COPY: _check_run,
}


def _refuse_changed(present: Present, seen: str, field: str) -> None:
    # Of the text itself: that the digest beside it says the same is not enough.
    stands = digest_of(present.values["manifest"])
    if not seen == stands == present.values["manifest_digest"]:
        raise Conflict(
            f"Release {present.values['id']} was changed since: its manifest is {stands[:12]}…, not {seen[:12]}….",
            hint="Look at it again, then decide.",
            field=field,
        )


def _refuse_public_once(present: Present, hint: str) -> None:
    """Refuse what leads to another manifest: only this row knows what lay, or still lies, at its address."""
    values = present.values
    if values["published_at"] is not None:
        raise Conflict(
            f"Release {values['id']} was public as version {values['version']}: what it holds is kept.",
            hint=hint,
            field="state",
        )


def _refuse_time(present: Present, name: str, now: float) -> None:
    values = present.values
    if values["publish_after"] is not None and now < values["publish_after"]:
        raise Conflict(f"{name.capitalize()} may not be published yet.", hint="Wait.", field="publish_after")
    if values["withdraw_after"] is not None and now >= values["withdraw_after"]:
        raise Conflict(f"The time of {name} is over.", hint="Revoke it.", field="withdraw_after")


def _void(detail: str, hint: str) -> Conflict:
    return Conflict(detail, hint=hint, field="approval")


# -- what it changes ---------------------------------------------------------------------------------------------------


def _edited(present: Present, step: Step, actor: Principal, now: float) -> dict[str, Any]:
    assert step.content is not None
    return {**step.content.columns(), "submitted_by": None, "submitted_at": None}


def _approved(present: Present, step: Step, actor: Principal, now: float) -> dict[str, Any]:
    usable_from = max(now, present.values["publish_after"] or 0.0)
    approval = Approval(
        manifest_digest=present.values["manifest_digest"],
        nonce=secrets.token_hex(_NONCE_BYTES),
        by=actor.id,
        at=now,
        expires_at=usable_from + APPROVAL_VALID_S,
    )
    return {
        "approval": approval.model_dump_json(),
        "clearance": str(step.clearance or present.values["clearance"]),
        "last_error": None,
    }


def _begun(present: Present, step: Step, actor: Principal, now: float) -> dict[str, Any]:
    assert present.approval is not None
    used = present.approval.model_copy(update={"used_at": present.approval.used_at or now})
    return {"approval": used.model_dump_json(), "run_id": step.run_id, "last_error": None}


_CHANGES: Mapping[Action, Callable[[Present, Step, Principal, float], dict[str, Any]]] = {
    Action.EDIT: _edited,
    Action.SUBMIT: lambda present, step, actor, now: {"submitted_by": actor.id, "submitted_at": now},
    Action.APPROVE: _approved,
    Action.RESTORE: _approved,
    Action.BEGIN_COPY: _begun,
    Action.FINISH_COPY: lambda present, step, actor, now: {"published_at": now},
    Action.REOPEN: lambda present, step, actor, now: {
        "submitted_by": None, "submitted_at": None, "approval": None, "run_id": None, "last_error": None,
    },
}  # fmt: skip


def _checked_reason(reason: str | None) -> str | None:
    text = (reason or "").strip()
    if len(text) > MAX_REASON_LETTERS:
        raise InvalidParameter(
            f"A reason has at most {MAX_REASON_LETTERS:,} letters, not {len(text):,}.", field="reason"
        )
    if any(ord(letter) < 32 and letter not in "\n\r\t" for letter in text) or not _is_text(text):
        raise InvalidParameter("The reason holds letters that are no text.", hint="Omit them.", field="reason")
    return text or None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _verb(action: Action) -> str:
    return str(action).replace("_", " ")


def _words(state: State) -> str:
    return str(state).replace("_", " ")
