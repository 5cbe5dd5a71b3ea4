"""How things stand: what waits for review, releases, and items."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Response

from geoetl.api.etag import is_known, tag_of, tagged
from geoetl.api.publish.answers import (
    PLATFORM,
    PUBLISH,
    QueueAnswer,
    ReleaseDetail,
    ReleaseId,
    ReleasesAnswer,
    StatusAnswer,
    StatusesAnswer,
    WaitingAnswer,
    release_answer,
    release_detail,
    status_answer,
)
from geoetl.api.publish.named import DatasetId, item_of
from geoetl.core.errors import LimitExceeded
from geoetl.publish.model import State

if TYPE_CHECKING:
    from geoetl.platform import Platform

MAX_LISTED = 500
MAX_ITEMS = 100
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED, description="At most so many")]


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes that read."""

    @routes.get(f"{PUBLISH}/queue")
    def publish_queue(limit: Limit = 100) -> QueueAnswer:
        """Return what waits for review, the longest first."""
        waiting = [
            WaitingAnswer(**dict(release_answer(platform, one.release)), age_s=one.age_s)
            for one in platform.publish.queue(limit=limit)
        ]
        counts = platform.publish.repository.counts()
        return QueueAnswer(waiting=waiting, total=counts[State.PENDING_REVIEW])

    @routes.get(f"{PLATFORM}/approvals")
    @routes.get(f"{PUBLISH}/releases")
    def releases(
        state: Annotated[list[State] | None, Query(description="Only releases that stand so; may be repeated")] = None,
        collection: Annotated[str | None, Query(description="Only of this collection", max_length=200)] = None,
        limit: Limit = 50,
        after: Annotated[str | None, Query(description="`next` of the page before", max_length=20)] = None,
    ) -> ReleasesAnswer:
        """Return releases, the newest first."""
        repository = platform.publish.repository
        page = repository.list(*(state or ()), collection=collection, limit=limit, after=after, newest_first=True)
        counts = {str(name): count for name, count in repository.counts().items()}
        told = [release_answer(platform, one) for one in page.releases]
        return ReleasesAnswer(releases=told, counts=counts, next=page.next)

    # Before that of one approval, which it would be taken for.
    @routes.get(f"{PLATFORM}/approvals/status")
    def approval_statuses(
        stac_item_ids: Annotated[
            str, Query(description="Dataset ids, `collection/item`, with commas between them", max_length=8000)
        ],
    ) -> StatusesAnswer:
        """Return how several items stand."""
        wanted = [one.strip() for one in stac_item_ids.split(",") if one.strip()]
        if len(wanted) > MAX_ITEMS:
            raise LimitExceeded(
                f"{len(wanted)} items were named; at most {MAX_ITEMS} may be.", hint="Ask twice.", field="stac_item_ids"
            )
        return StatusesAnswer(statuses=[status_answer(platform, *item_of(platform, one)) for one in wanted])

    @routes.get(f"{PLATFORM}/approvals/{{release_id}}", response_model=ReleaseDetail)
    @routes.get(f"{PUBLISH}/releases/{{release_id}}", response_model=ReleaseDetail)
    def release(
        release_id: ReleaseId,
        response: Response,
        if_none_match: Annotated[str | None, Header(description="The ETag that is known")] = None,
    ) -> ReleaseDetail | Response:
        """Return a release with exactly what becomes public; its ETag changes with every revision."""
        found = platform.publish.get(release_id)
        headers = tagged(tag := tag_of(found.id, found.revision))
        if is_known(tag, if_none_match):
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return release_detail(platform, found)

    @routes.get(f"{PUBLISH}/status/{{dataset_id:path}}")
    def publish_status(dataset_id: DatasetId) -> StatusAnswer:
        """Return how an item of the catalogue stands: what is public of it, and what is to come."""
        collection, item = item_of(platform, dataset_id)
        told = status_answer(platform, collection, item)
        if told.latest is None:
            platform.catalog.item(collection, item)  # what is nowhere has no status
        return told
