"""Clean-ups over HTTP: what nothing needs any more is looked for or removed by a worker; how it stands, what was done.

All of it is for operators: what is told names objects of every collection, and folders of the server.
"""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from geoetl.api.runs import LOCATION, RunAnswer, accepted, principal_name
from geoetl.api.security import needs
from geoetl.core.principal import Role
from geoetl.ops.model import MIN_OLDER_THAN_HOURS, Cleanup, Fate, Part
from geoetl.runs.model import RunState

if TYPE_CHECKING:
    from geoetl.platform import Platform

PIPELINE = "janitor"
_ID = r"^[0-9A-Za-z]{1,64}$"


class CleanupBody(BaseModel):
    """What is to be cleaned up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dry_run": True}]})

    dry_run: bool = Field(True, description="Say only what would go")
    older_than_hours: float = Field(
        24.0, ge=MIN_OLDER_THAN_HOURS, le=87_600, description="What was written or touched within so many hours stays"
    )
    parts: list[Part] = Field(list(Part), min_length=1, max_length=20, description="What is looked for")
    unknown: bool = Field(False, description="Remove also objects that geoetl has no record of having written")


class ActionAnswer(BaseModel):
    """What became of one thing."""

    part: Part
    name: str = Field(description="Address of an object, path below the home folder, or a run")
    bytes: int
    reason: str = Field(description="Why it may go")
    fate: Fate
    detail: str | None = Field(description="Why it was kept, or what went wrong")


class CleanupAnswer(BaseModel):
    """A clean-up; times are Unix seconds."""

    id: str
    dry_run: bool
    parts: list[Part]
    older_than_hours: float
    who: str | None
    started: float
    ended: float | None
    is_running: bool = Field(description="False without an end: its process died, and the next one goes on")
    items_scanned: int
    items_fixed: int
    bytes_freed: int
    actions: dict[Part, dict[Fate, int]] = Field(description="How many of each part had each fate")


class CleanupDetail(CleanupAnswer):
    """A clean-up with what was done."""

    actions_taken: list[ActionAnswer] = Field(description="One by one; of a dry run the first thousand")


class StatusAnswer(BaseModel):
    """How cleaning up stands."""

    running: list[CleanupAnswer]
    waiting: int = Field(description="Clean-ups that wait for a worker")
    latest: CleanupAnswer | None = Field(description="The one that ended last")
    latest_real: CleanupAnswer | None = Field(description="The one that ended last and was no dry run")
    schedules: dict[str, int | None] = Field(description="Schedules of it with their next time; null while one rests")


class HistoryAnswer(BaseModel):
    """Clean-ups, the newest first."""

    cleanups: list[CleanupAnswer]
    next: str | None = Field(description="What to give as `before` for the next page; null on the last")


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of clean-ups.

    Args:
        platform: What answers.
        writing: Whether there is a route that begins one.
    """
    routes = APIRouter(tags=["clean-up"], dependencies=[Depends(needs(Role.OPERATOR))])

    @routes.get("/api/cleanup/status")
    def cleanup_status() -> StatusAnswer:
        """Return what is being cleaned up, what waits, and when it runs by itself."""
        import time

        listed = platform.janitor.history.list(limit=100)
        ended = [one for one in listed if one.ended is not None]
        real = [one for one in ended if not one.dry_run]
        now, known = time.time(), platform.declared_schedules().list()
        return StatusAnswer(
            running=[_answer(one) for one in listed if one.is_running],
            waiting=len(platform.runs.list(state=RunState.QUEUED, pipeline=PIPELINE, limit=100)),
            latest=_answer(ended[0]) if ended else None,
            latest_real=_answer(real[0]) if real else None,
            schedules={
                one.name: None if one.is_paused else one.next_slot(now) for one in known if one.target == PIPELINE
            },
        )

    @routes.get("/api/cleanup/history")
    def cleanup_history(
        limit: Annotated[int, Query(ge=1, le=500, description="At most so many")] = 50,
        before: Annotated[str | None, Query(description="Only those before the one of this id", pattern=_ID)] = None,
    ) -> HistoryAnswer:
        """Return clean-ups, the newest first."""
        found = platform.janitor.history.list(limit=limit + 1, before=before)
        more = found[limit - 1].id if len(found) > limit else None
        return HistoryAnswer(cleanups=[_answer(one) for one in found[:limit]], next=more)

    @routes.get("/api/cleanup/history/{cleanup_id}")
    def cleanup(cleanup_id: Annotated[str, InPath(description="Id of the clean-up", pattern=_ID)]) -> CleanupDetail:
        """Return a clean-up with what was done, one by one."""
        found = platform.janitor.history.get(cleanup_id)
        taken = [ActionAnswer(**dict(one)) for one in found.actions_taken]
        return CleanupDetail(**dict(_answer(found)), actions_taken=taken)

    if writing:

        @routes.post("/api/cleanup/run", status_code=202, responses={202: LOCATION})
        def run_cleanup(asked: CleanupBody, request: Request, response: Response) -> RunAnswer:
            """Queue a clean-up; without `dry_run: false` it only tells what would go."""
            values = asked.model_dump(mode="json")
            record = platform.submit(PIPELINE, values, submitted_by=principal_name(request))
            return accepted(platform, record, request, response)

    return routes


def _answer(one: Cleanup) -> CleanupAnswer:
    told = one.model_dump(include=set(CleanupAnswer.model_fields) - {"parts", "older_than_hours"})
    return CleanupAnswer(**told, parts=list(one.request.parts), older_than_hours=one.request.older_than_hours)
