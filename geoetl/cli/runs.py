"""``geoetl runs``: what ran and how it went, what waits, and what becomes of it."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from geoetl.cli.output import Json, err, out, print_error, print_json, print_table, utc

if TYPE_CHECKING:
    from geoetl.platform import Platform
    from geoetl.runs.model import RunRecord

app = typer.Typer(
    help="See what ran and how it went; start, follow and stop what workers execute.", no_args_is_help=True
)

RunId = Annotated[str, typer.Argument(help="Id of the run, or `latest`.")]


@app.command("list")
def list_runs(
    state: Annotated[str, typer.Option(help="Only queued, running, interrupted, completed, failed or cancelled.")] = "",
    pipeline: Annotated[str, typer.Option(help="Only runs of this pipeline.")] = "",
    text: Annotated[str, typer.Option(help="Only runs with these words in parameters, error or who asked.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List runs, the newest first.

    Example: geoetl runs list --state failed
    """
    import geoetl
    from geoetl.core.errors import InvalidParameter, did_you_mean
    from geoetl.core.html import human_seconds
    from geoetl.runs.model import RunState

    if state and state not in list(RunState):
        raise InvalidParameter(f"'{state}' is not a state of a run.", hint=did_you_mean(state, RunState), field="state")
    chosen = RunState(state) if state else None
    found = geoetl.connect().runs.list(state=chosen, pipeline=pipeline or None, text=text or None, limit=limit)
    if as_json:
        print_json([record.model_dump(mode="json") for record in found])
        return
    if not found:
        out.print("No runs yet. Try: geoetl demo")
        return
    rows = [
        (
            record.id,
            record.pipeline,
            record.state,
            utc(record.started_at),
            "" if record.seconds is None else human_seconds(record.seconds),
            record.parameters.get("source", ""),
        )
        for record in found
    ]
    print_table("Runs", ["id", "pipeline", "state", "started (UTC)", "took", "source"], rows, numbers=["took"])


@app.command()
def show(run_id: RunId, as_json: Json = False) -> None:
    """Show one run: its stages, parameters, and what went wrong.

    Example: geoetl runs show 06h0d64n1z476m07cr77
    """
    import geoetl
    from geoetl.core.errors import GeoetlError
    from geoetl.core.html import human_seconds
    from geoetl.runs.model import RunState

    platform = geoetl.connect()
    record = platform.runs.get(run_id)
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    started = utc(record.started_at)
    out.print(f"[bold]{record.pipeline}[/] {record.state}, attempt {record.attempt}, started {started}")
    print_table("Parameters", ["parameter", "value"], list(record.parameters.items()))
    rows = [
        (
            stage.name,
            stage.state,
            "" if stage.seconds is None else human_seconds(stage.seconds),
            f"{stage.done} of {stage.total}" if stage.total > 1 else "",
            f"attempt {stage.attempt}",
        )
        for stage in record.stages
    ]
    print_table("Stages", ["stage", "state", "took", "tasks", "executed in"], rows, numbers=["took"])
    for stage in record.stages:
        for warning in stage.warnings:
            out.print(f"[yellow]{stage.name}:[/] " + warning.replace("[", r"\["))
    if record.notebook:
        out.print(f"Executed notebook: {platform.zones.internal.href(record.notebook)}")
    if record.state is RunState.INTERRUPTED:
        out.print(
            f"Its process is gone. Go on with it: geoetl runs retry {record.id}  (finished stages are not repeated)"
        )
    if record.state is RunState.QUEUED:
        _tell_whether_somebody_works(platform)
    if record.error:
        print_error(GeoetlError.from_problem(record.error), as_json=False)


@app.command()
def submit(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline; `geoetl pipelines` lists them.")],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]…", help="Its parameters.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run anew although it was completed before.")] = False,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="The higher is served first.")] = 0,
    follow_it: Annotated[bool, typer.Option("--follow", help="Show what happens until it is over.")] = False,
    as_json: Json = False,
) -> None:
    """Let a worker run a pipeline, and do not wait for it.

    Example: geoetl runs submit ingest-raster source=samples:landsat_rgb.tif collection=my-rasters --follow
    """
    import geoetl
    from geoetl.cli.pipelines import split_parameters

    platform = geoetl.connect()
    given = split_parameters(parameters or [])
    record = platform.submit(pipeline, given, again=again, priority=priority, submitted_by=getpass.getuser())
    if follow_it:
        follow_run(platform, record, as_json=as_json)
        return
    tell_run(platform, record, as_json=as_json)


@app.command()
def follow(run_id: RunId, as_json: Json = False) -> None:
    """Show what happens to a run until it is over; with --json one event in a line.

    Example: geoetl runs follow latest
    """
    import geoetl

    platform = geoetl.connect()
    follow_run(platform, platform.runs.get(run_id), as_json=as_json)


@app.command()
def cancel(run_id: RunId, as_json: Json = False) -> None:
    """Cancel a run; what is executed is ended within moments.

    Example: geoetl runs cancel 06h0d64n1z476m07cr77
    """
    import geoetl

    platform = geoetl.connect()
    chosen = platform.runs.get(run_id).id
    platform.runs.queue.cancel(chosen)
    tell_run(platform, platform.runs.get(chosen), as_json=as_json)


@app.command()
def retry(run_id: RunId, as_json: Json = False) -> None:
    """Let a worker go on with a run that failed, was cancelled or interrupted, behind its last finished stage.

    Example: geoetl runs retry 06h0d64n1z476m07cr77
    """
    import geoetl

    platform = geoetl.connect()
    chosen = platform.runs.get(run_id).id
    platform.runs.queue.retry(chosen, getpass.getuser())
    tell_run(platform, platform.runs.get(chosen), as_json=as_json)


def tell_run(platform: "Platform", record: "RunRecord", *, as_json: bool) -> None:
    """Print how a run that was asked for stands."""
    from geoetl.runs.model import RunState

    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    ending = ", and is being ended" if record.cancel_requested and record.state is RunState.RUNNING else ""
    out.print(f"Run {record.id} is {record.state}{ending}. Follow it: geoetl runs follow {record.id}")
    if record.state is RunState.QUEUED:
        _tell_whether_somebody_works(platform)


def _tell_whether_somebody_works(platform: "Platform") -> None:
    if not platform.runs.queue.workers():
        err.print("[yellow]No worker is at work:[/] it waits until one is. Start one with: geoetl worker")


def follow_run(platform: "Platform", record: "RunRecord", *, as_json: bool) -> None:
    """Print events until the run is over.

    Raises:
        GeoetlError: The one that ended the run.
    """
    import json
    import sys

    if not (as_json or record.state.is_over):
        _tell_whether_somebody_works(platform)
    for event in platform.runs.follow(record.id):
        if as_json:
            sys.stdout.write(json.dumps(event.model_dump(mode="json"), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            for line in event.lines():
                out.print(line.replace("[", r"\["))
    platform.runs.get(record.id).raise_for_error()
