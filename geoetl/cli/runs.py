"""``geoetl runs``: what ran, and how it went."""

from typing import Annotated

import typer

from geoetl.cli.output import Json, out, print_error, print_json, print_table, utc

app = typer.Typer(help="See what ran, and how it went.", no_args_is_help=True)


@app.command("list")
def list_runs(
    state: Annotated[str, typer.Option(help="Only running, interrupted, completed or failed ones.")] = "",
    pipeline: Annotated[str, typer.Option(help="Only runs of this pipeline.")] = "",
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
    found = geoetl.connect().runs.list(state=RunState(state) if state else None, pipeline=pipeline or None, limit=limit)
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
def show(run_id: Annotated[str, typer.Argument(help="Id of the run.")], as_json: Json = False) -> None:
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
        out.print("Its process is gone. Start the same run again: finished stages are not repeated.")
    if record.error:
        print_error(GeoetlError.from_problem(record.error), as_json=False)
