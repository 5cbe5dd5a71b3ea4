"""Submitting an item for review, and deciding on what was submitted."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from geoetl.api.publish.answers import (
    MAX_REVISION,
    PLATFORM,
    PUBLISH,
    ReleaseAnswer,
    of_body,
    overtaken,
    release_answer,
)
from geoetl.api.publish.named import DatasetId, item_of
from geoetl.api.runs import LOCATION, RunAnswer, accepted
from geoetl.api.security import needs
from geoetl.core.errors import Conflict
from geoetl.core.principal import Principal, Role
from geoetl.publish.model import Clearance, Release
from geoetl.publish.steps import MAX_REASON_LETTERS

if TYPE_CHECKING:
    from geoetl.platform import Platform

Editor = Annotated[Principal, Depends(needs(Role.EDITOR))]
Approver = Annotated[Principal, Depends(needs(Role.APPROVER))]
# Later than any clock will tell.
_MAX_TIME = 253_402_300_799
_RELEASE = "06h2cq12r170v10cxhb6"
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Submission(BaseModel):
    """How an item is to become public."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"clearance": "public", "note": "The states of 2026."}]},
    )

    clearance: Clearance = Field(Clearance.PUBLIC, description="Who may see it; only `public` is copied")
    publish_after: float | None = Field(None, ge=0, le=_MAX_TIME, description="Not before this Unix time (embargo)")
    withdraw_after: float | None = Field(None, ge=0, le=_MAX_TIME, description="Withdrawn from this Unix time on")
    note: str | None = Field(None, max_length=MAX_REASON_LETTERS, description="For whoever decides")


class Seen(BaseModel):
    """Which release is decided on, as it was seen."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    release_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Id of the release")
    revision: int = Field(ge=1, le=MAX_REVISION, description="Of it, as it was seen; another one since is a conflict")


class Approving(Seen):
    """Leave to publish exactly what was seen."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"release_id": _RELEASE, "revision": 2, "manifest_digest": _DIGEST}]}
    )

    manifest_digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the manifest that was seen")
    clearance: Literal[Clearance.RESTRICTED, Clearance.PUBLIC] | None = Field(
        None, description="Who may see it, where the release says otherwise"
    )
    note: str | None = Field(None, max_length=MAX_REASON_LETTERS, description="For the audit log")


class Reasoned(Seen):
    """A decision, and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"release_id": _RELEASE, "revision": 2, "reason": "The licence is missing."}]}
    )

    reason: str = Field(min_length=1, max_length=MAX_REASON_LETTERS, description="For who submitted, and for the log")


class Retry(BaseModel):
    """Which copy is tried again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"release_id": _RELEASE}]})

    release_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Id of the release")


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes that submit and decide."""

    @routes.post(f"{PUBLISH}/submit/{{dataset_id:path}}")
    def submit(dataset_id: DatasetId, editor: Editor, asked: Submission | None = None) -> ReleaseAnswer:
        """Submit an item for review as it is now; asked again with nothing changed, it is the same release.

        What waits for review and has changed since is replaced by what there is now: a decision that names what was
        seen before is then a conflict.
        """
        collection, item = item_of(platform, dataset_id)
        asked = asked or Submission()
        with of_body():
            release = platform.publish.submit(
                editor,
                collection,
                item,
                clearance=asked.clearance,
                publish_after=asked.publish_after,
                withdraw_after=asked.withdraw_after,
                note=asked.note,
            )
        return release_answer(platform, release)

    @routes.post(f"{PLATFORM}/approve")
    @routes.post(f"{PUBLISH}/approve")
    def approve(asked: Approving, approver: Approver) -> ReleaseAnswer:
        """Give leave to publish exactly what was seen, once; its copy is queued, unless it may not be public yet.

        Refused where another decision came first, where it was changed since, and to whoever submitted it; a refusal
        is written down too.
        """
        return decided(
            platform,
            asked,
            lambda: platform.publish.approve(
                approver,
                asked.release_id,
                revision=asked.revision,
                manifest_digest=asked.manifest_digest,
                clearance=asked.clearance,
                note=asked.note,
            ),
        )

    @routes.post(f"{PLATFORM}/reject")
    @routes.post(f"{PUBLISH}/reject")
    def reject(asked: Reasoned, approver: Approver) -> ReleaseAnswer:
        """Turn a release down, for good; the item may be submitted anew."""
        return _because(platform, asked, approver, platform.publish.reject)

    @routes.post(f"{PUBLISH}/request-changes")
    def request_changes(asked: Reasoned, approver: Approver) -> ReleaseAnswer:
        """Send a release back to who submitted it, with what should be different."""
        return _because(platform, asked, approver, platform.publish.request_changes)

    @routes.post(f"{PLATFORM}/revoke")
    @routes.post(f"{PUBLISH}/revoke")
    def revoke(asked: Reasoned, approver: Approver) -> ReleaseAnswer:
        """Take back an approval of what is not public yet; what is public is withdrawn."""
        return _because(platform, asked, approver, platform.publish.revoke)

    @routes.post(f"{PUBLISH}/retry", status_code=202, responses={202: LOCATION})
    def retry(asked: Retry, request: Request, response: Response, approver: Approver) -> RunAnswer:
        """Queue the copy of an approved release once more, where it failed; what is finished is not repeated."""
        try:
            record = platform.publish.retry(asked.release_id, submitted_by=approver.name)
        except Conflict as error:
            raise overtaken(platform, error, asked.release_id) from None
        return accepted(platform, record, request, response)


def decided(platform: "Platform", seen: Seen, decide: Callable[[], Release]) -> ReleaseAnswer:
    """Return what came of a decision.

    Raises:
        Overtaken: The release does not allow it; the answer says how it stands.
    """
    try:
        with of_body():
            return release_answer(platform, decide())
    except Conflict as error:
        raise overtaken(platform, error, seen.release_id) from None


def _because(
    platform: "Platform", asked: Reasoned, approver: Principal, decide: Callable[..., Release]
) -> ReleaseAnswer:
    said = {"revision": asked.revision, "reason": asked.reason}
    return decided(platform, asked, lambda: decide(approver, asked.release_id, **said))
