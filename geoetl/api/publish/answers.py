"""What is told of releases: no folder of this machine, no secret, times as Unix seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Path
from pydantic import BaseModel, Field

from geoetl.core.errors import Conflict, InvalidParameter
from geoetl.publish.model import Clearance, Manifest, Release, State
from geoetl.runs.privacy import paths_in, public

if TYPE_CHECKING:
    from geoetl.platform import Platform

PUBLISH = "/api/publish"
#: Where other programs look for some of the same.
PLATFORM = "/api/platform"
MAX_REVISION = 2**31 - 1

ReleaseId = Annotated[str, Path(description="Id of the release", pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class ApprovalAnswer(BaseModel):
    """The leave to publish one manifest, once."""

    by: str = Field(description="Principal id of who gave it")
    at: float
    expires_at: float = Field(description="It is void from then on")
    used_at: float | None = Field(description="When its copy began")


class ReleaseAnswer(BaseModel):
    """A release as it stands; times are Unix seconds."""

    id: str
    dataset_id: str = Field(description="collection/item")
    asset_id: str = Field(description="What it is a release of, whatever the version")
    state: State
    revision: int = Field(description="Raised by every change; a decision names the one that was seen")
    version: int | None = Field(description="Given at approval, counted from 1 for each item")
    clearance: Clearance
    manifest_digest: str = Field(description="sha256 of exactly what becomes public; an approval names it")
    objects: int
    bytes: int
    license: str
    submitted_by: str | None = Field(description="Principal id")
    submitted_at: float | None
    approval: ApprovalAnswer | None
    publish_after: float | None = Field(description="Not before")
    withdraw_after: float | None = Field(description="Not after")
    published_at: float | None = Field(description="When it became public, the last time")
    run_id: str | None = Field(description="The run that copied, or copies")
    last_error: str | None = Field(description="Why the copy failed")
    reason: str | None = Field(description="What was said with the last decision")
    url: str | None = Field(description="Public address of the item; null where it is not public")
    created_at: float
    updated_at: float


class ReleaseDetail(ReleaseAnswer):
    """A release with exactly what becomes public."""

    manifest: dict[str, Any]


class ReleasesAnswer(BaseModel):
    """Releases, the newest first."""

    releases: list[ReleaseAnswer]
    counts: dict[str, int] = Field(description="Releases of each state, of all")
    next: str | None = Field(description="What to give as `after` for the next page; null on the last")


class WaitingAnswer(ReleaseAnswer):
    """A release that waits for review."""

    age_s: float = Field(description="Since it was submitted, seconds")


class QueueAnswer(BaseModel):
    """What waits for review, the longest first."""

    waiting: list[WaitingAnswer]
    total: int = Field(description="How many wait in all")


class StatusAnswer(BaseModel):
    """How an item of the catalogue stands."""

    dataset_id: str = Field(description="collection/item")
    asset_id: str
    state: State | None = Field(description="Of the release that was made last; null where there never was one")
    open: ReleaseAnswer | None = Field(description="Of which something is to come")
    published: ReleaseAnswer | None = Field(description="Public now; of several the newest version")
    latest: ReleaseAnswer | None


class StatusesAnswer(BaseModel):
    """How items stand, in the order in which they were named."""

    statuses: list[StatusAnswer]


class Overtaken(Conflict):
    """A release does not allow what was asked; the answer says how it stands."""

    code = "release_conflict"
    title = "The release does not allow this as it stands"
    present: ReleaseAnswer | None = None

    def problem(self) -> dict[str, Any]:
        """Return the body of the answer, with the release as it stands."""
        present = self.present.model_dump(mode="json") if self.present else None
        return {**super().problem(), "present": present}


def release_answer(platform: "Platform", release: Release) -> ReleaseAnswer:
    """Return a release as it is told."""
    return ReleaseAnswer(**_of(platform, release))


def release_detail(platform: "Platform", release: Release) -> ReleaseDetail:
    """Return a release with its manifest as it is told."""
    return ReleaseDetail(**_of(platform, release), manifest=shown(release.manifest))


def shown(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as it is told: of a source on this machine only its name."""
    document = manifest.model_dump(mode="json")
    told: dict[str, Any] = public(document, paths_in(document["objects"]))
    return told


def status_answer(platform: "Platform", collection: str, item: str) -> StatusAnswer:
    """Return how an item stands as it is told."""
    found = platform.publish.status(collection, item)
    told = {
        name: None if release is None else release_answer(platform, release)
        for name, release in (("open", found.open), ("published", found.published), ("latest", found.latest))
    }
    state = found.latest.state if found.latest else None
    return StatusAnswer(dataset_id=f"{collection}/{item}", asset_id=found.asset_id, state=state, **told)


def overtaken(platform: "Platform", error: Conflict, release_id: str) -> Overtaken:
    """Return a conflict with the release as it stands."""
    made = Overtaken(error.detail, hint=error.hint, field=error.field)
    made.present = release_answer(platform, platform.publish.get(release_id))
    return made


@contextmanager
def of_body() -> Iterator[None]:
    """Let an error point to the member of the body that it speaks of.

    Raises:
        InvalidParameter: As it came, with a JSON pointer.
    """
    try:
        yield
    except InvalidParameter as error:
        raise InvalidParameter(error.detail, hint=error.hint, field=f"/{error.field}") from None


def _of(platform: "Platform", release: Release) -> dict[str, Any]:
    own = set(ReleaseAnswer.model_fields) & set(Release.model_fields)
    document = release.model_dump(mode="json", include=own)
    told: dict[str, Any] = public(document, {})
    return {
        **told,
        "dataset_id": f"{release.collection}/{release.item}",
        "objects": len(release.manifest.objects),
        "bytes": release.manifest.bytes,
        "license": release.manifest.license,
        "url": platform.publish.url(release),
    }
