"""Runs over HTTP: start a pipeline, see how it goes as it happens, end it, try it again; and what pipelines take."""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from geoetl.api.files import HARMLESS
from geoetl.api.security import principal_of
from geoetl.core.errors import InvalidParameter, ManagedData
from geoetl.core.principal import Principal
from geoetl.runs.model import RunEvent, RunKind, RunRecord, RunState
from geoetl.runs.pipeline import Pipeline, load_pipeline, pipelines
from geoetl.runs.privacy import paths_in, public, public_event
from geoetl.runs.queue import MAX_PRIORITY

if TYPE_CHECKING:
    from geoetl.platform import Platform

EVENT_STREAM = "text/event-stream"
# How often a stream looks for what has happened, and how often it says that it still listens.
LOOK_S = 0.5
HEARTBEAT_S = 10.0
# After this time a client connects again, and is recognised again.
MAX_STREAM_S = 300.0
# Milliseconds after which it does.
_AGAIN_MS = 2000
MAX_KEY = 200
# Nothing in a notebook may run, and nothing is loaded; only its own colours and pictures are shown.
NOTEBOOK_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_EXAMPLE: JsonDict = {
    "pipeline": "ingest-raster",
    "parameters": {"source": "samples:landsat_rgb.tif", "collection": "my-rasters"},
}
_ID = r"^[0-9A-Za-z]{1,64}$"
LOCATION = {"headers": {"Location": {"description": "Address of the run", "schema": {"type": "string"}}}}

RunId = Annotated[str, InPath(description="Id of the run; of those that read, `latest` is the newest", pattern=_ID)]


class RunRequest(BaseModel):
    """A run to be started."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    pipeline: str = Field(max_length=200, description="Name of the pipeline; /api/pipelines lists them")
    parameters: dict[str, Any] = Field({}, description="Its parameters; the rest keep their defaults")
    again: bool = Field(False, description="Run anew although it was completed before")
    priority: int = Field(
        0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Of two subjects, the higher is served first"
    )


class StageAnswer(BaseModel):
    """A stage of a run."""

    name: str
    state: RunState
    attempt: int
    started_at: float
    finished_at: float | None
    done: int
    total: int
    warnings: list[str]
    error: dict[str, Any] | None


class RunAnswer(BaseModel):
    """A run as it stands; times are Unix seconds."""

    id: str
    kind: RunKind
    pipeline: str
    subject: str
    state: RunState
    parameters: dict[str, Any]
    priority: int
    attempt: int
    failures: int
    max_attempts: int
    cancel_requested: bool
    submitted_by: str | None
    events: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    stages: list[StageAnswer]
    result: Any
    error: dict[str, Any] | None
    reused: bool
    has_notebook: bool
    dashboard: str | None = Field(
        None, description="Where its Dask workers can be watched, on the machine that executes it; while it does"
    )
    workers: int | None = Field(None, description="Workers at work, told when a run was started")


class RunsAnswer(BaseModel):
    """Runs, the newest first."""

    runs: list[RunAnswer]
    counts: dict[str, int] = Field(description="Runs of each state, of all")
    next: str | None = Field(description="What to give as `before` for the next page; null on the last")


class PipelineAnswer(BaseModel):
    """A pipeline, and its parameters as JSON Schema."""

    name: str
    title: str
    summary: str
    parameters: dict[str, Any]


class PipelinesAnswer(BaseModel):
    """All pipelines, by name."""

    pipelines: list[PipelineAnswer]


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of runs.

    Args:
        platform: What answers.
        writing: Whether there are routes that start, cancel or try again.
    """
    routes = APIRouter(tags=["runs"])
    _add_reading(routes, platform)
    if writing:
        _add_writing(routes, platform)
    return routes


def _add_reading(routes: APIRouter, platform: "Platform") -> None:
    @routes.get("/api/pipelines")
    def all_pipelines() -> PipelinesAnswer:
        """Return the pipelines, each with the parameters that it takes."""
        return PipelinesAnswer(pipelines=[_pipeline(load_pipeline(name)) for name in pipelines()])

    @routes.get("/api/pipelines/{pipeline}")
    def one_pipeline(pipeline: str) -> PipelineAnswer:
        """Return a pipeline with its parameters as JSON Schema, from which a form can be made."""
        return _pipeline(load_pipeline(pipeline))

    @routes.get("/api/runs")
    def runs(
        state: Annotated[RunState | None, Query(description="Only runs that stand so")] = None,
        pipeline: Annotated[str | None, Query(description="Only runs of this pipeline", max_length=200)] = None,
        subject: Annotated[str | None, Query(description="Only runs that work on this", max_length=200)] = None,
        before: Annotated[str | None, Query(description="Only runs older than that of this id", pattern=_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=500, description="At most so many")] = 50,
    ) -> RunsAnswer:
        """Return runs, the newest first."""
        found = platform.runs.list(state=state, pipeline=pipeline, subject=subject, before=before, limit=limit + 1)
        shown = found[:limit]
        counts = {str(name): count for name, count in platform.runs.counts().items()}
        more = shown[-1].id if len(found) > limit else None
        return RunsAnswer(runs=[_answer(record) for record in shown], counts=counts, next=more)

    @routes.get("/api/runs/{run_id}")
    def run(run_id: RunId) -> RunAnswer:
        """Return a run with its stages."""
        return _answer(platform.runs.get(run_id))

    @routes.get(
        "/api/runs/{run_id}/events",
        response_class=StreamingResponse,
        responses={200: {"content": {EVENT_STREAM: {}}}},
    )
    async def events(
        run_id: RunId,
        follow: Annotated[bool, Query(description="Whether to wait for what is still to happen")] = True,
        after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Number of the last event that is known")] = 0,
        last_event_id: Annotated[str | None, Header(description="Likewise, as browsers send it")] = None,
    ) -> Response:
        """Return what happens to a run as it happens, as server-sent events, from the first or on from any."""
        if last_event_id and last_event_id.isdigit():
            after = max(after, min(int(last_event_id[:10]), 2**31 - 1))
        record = await to_thread.run_sync(platform.runs.get, run_id)
        if record.state.is_over and after >= record.events:
            return Response(status_code=204)  # a browser then asks no more
        stream = _stream(platform, record.id, after, follow=follow)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type=EVENT_STREAM, headers=headers)

    @routes.get(
        "/api/runs/{run_id}/notebook", response_class=HTMLResponse, responses={200: {"content": {"text/html": {}}}}
    )
    def notebook(run_id: RunId) -> HTMLResponse:
        """Return the executed notebook of a run as a page in which nothing runs."""
        from geoetl.runs.rendering import executed_notebook

        page = executed_notebook(platform.zones.internal, platform.runs.get(run_id))
        return HTMLResponse(page, headers={**HARMLESS, "Content-Security-Policy": NOTEBOOK_POLICY})


def _add_writing(routes: APIRouter, platform: "Platform") -> None:
    @routes.post("/api/runs", status_code=202, responses={202: LOCATION})
    def submit(
        asked: RunRequest,
        request: Request,
        response: Response,
        idempotency_key: Annotated[
            str | None, Header(max_length=MAX_KEY, description="A repeated request with the same key is the same run")
        ] = None,
    ) -> RunAnswer:
        """Queue a run of a pipeline; what is wrong with it is told before it exists."""
        try:
            record = platform.submit(
                asked.pipeline,
                asked.parameters,
                again=asked.again,
                key=idempotency_key or None,
                priority=asked.priority,
                principal=_principal(request),
            )
        except (InvalidParameter, ManagedData) as error:
            where = "/pipeline" if error.field == "pipeline" else f"/parameters/{error.field}"
            raise type(error)(error.detail, hint=error.hint, field=where) from None
        return accepted(platform, record, request, response)

    @routes.post("/api/runs/{run_id}/cancel", status_code=202)
    def cancel(run_id: RunId, request: Request, response: Response) -> RunAnswer:
        """Cancel a run; what is executed is ended within moments."""
        platform.runs.queue.cancel(run_id)
        return accepted(platform, platform.runs.get(run_id), request, response)

    @routes.post("/api/runs/{run_id}/retry", status_code=202)
    def retry(run_id: RunId, request: Request, response: Response) -> RunAnswer:
        """Queue a run that failed, was cancelled or interrupted once more; finished stages are not repeated."""
        platform.runs.queue.retry(run_id, principal_name(request))
        return accepted(platform, platform.runs.get(run_id), request, response)


def principal_name(request: Request) -> str | None:
    """Return who asks; None where nothing stands before the routes that would know."""
    known = _principal(request)
    return known.name if known else None


def _principal(request: Request) -> Principal | None:
    return principal_of(request) if "principal" in request.scope.get("state", {}) else None


def accepted(platform: "Platform", record: RunRecord, request: Request, response: Response) -> RunAnswer:
    """Return a run that was asked for, with its address in the headers of the answer."""
    # Relative to the path that a proxy may have added, as every address of ours.
    response.headers["Location"] = request.url_for("run", run_id=record.id).path
    return _answer(record).model_copy(update={"workers": len(platform.runs.queue.workers())})


async def _stream(platform: "Platform", run_id: str, after: int, *, follow: bool) -> AsyncIterator[str]:
    yield f"retry: {_AGAIN_MS}\n\n"
    started = heard = anyio.current_time()
    while anyio.current_time() - started < MAX_STREAM_S:
        record, found = await to_thread.run_sync(_look, platform, run_id, after)
        for event in found:
            yield _sent(event, record)
        if found:
            after, heard = found[-1].number, anyio.current_time()
        elif record.state.is_over or not follow:
            return
        elif anyio.current_time() - heard > HEARTBEAT_S:
            heard = anyio.current_time()
            yield ": still here\n\n"
        if not found:
            await anyio.sleep(LOOK_S)


def _look(platform: "Platform", run_id: str, after: int) -> tuple[RunRecord, tuple[RunEvent, ...]]:
    # The run first, so that none of its events is missed at its end.
    return platform.runs.get(run_id), platform.runs.events(run_id, after=after)


def _sent(event: RunEvent, record: RunRecord) -> str:
    """Return an event in the form of server-sent events (HTML, section 9.2)."""
    document = json.dumps({"at": event.at, **public_event(event, record).data}, ensure_ascii=False)
    return f"id: {event.number}\nevent: {event.kind}\ndata: {document}\n\n"


def _answer(record: RunRecord) -> RunAnswer:
    document = record.model_dump(mode="json", exclude={"notebook"})
    return RunAnswer(**public(document, paths_in(record.parameters)), has_notebook=record.notebook is not None)


def _pipeline(pipeline: Pipeline) -> PipelineAnswer:
    return PipelineAnswer(
        name=pipeline.name, title=pipeline.title, summary=pipeline.summary, parameters=pipeline.json_schema()
    )
