"""``geoetl run`` and ``geoetl pipelines``: start pipeline notebooks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoetl.cli.output import Json, err, out, print_json, print_table

if TYPE_CHECKING:
    from geoetl.runs.model import RunRecord

# Lines of what stages warned of; `geoetl runs show` has all.
MAX_WARNINGS = 10


def pipelines(
    name: Annotated[str, typer.Argument(help="One pipeline, to see its parameters.")] = "",
    as_json: Json = False,
) -> None:
    """List the pipelines, or the parameters of one.

    Example: geoetl pipelines ingest-raster
    """
    from geoetl.runs import pipeline as notebooks

    if not name:
        loaded = [notebooks.load_pipeline(each) for each in notebooks.pipelines()]
        if as_json:
            print_json([{"name": p.name, "title": p.title, "summary": p.summary} for p in loaded])
            return
        print_table("Pipelines", ["name", "what it does"], [(p.name, p.title) for p in loaded])
        out.print("\nSee one: geoetl pipelines NAME    Run it: geoetl run NAME parameter=value …")
        return
    chosen = notebooks.load_pipeline(name)
    parameters = [
        {
            "name": p.name,
            "type": p.annotation,
            "default": None if p.required else p.default,
            "required": p.required,
            "meaning": p.meaning,
        }
        for p in chosen.parameters.values()
    ]
    if as_json:
        print_json({"name": chosen.name, "title": chosen.title, "summary": chosen.summary, "parameters": parameters})
        return
    rows = [
        (p["name"], p["type"], "required" if p["required"] else repr(p["default"]), p["meaning"]) for p in parameters
    ]
    print_table(chosen.title, ["parameter", "type", "default", "meaning"], rows)


def run(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline; `geoetl pipelines` lists them.")],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]…", help="Its parameters.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run anew although it was completed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the parameters and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline to its end. One that was interrupted goes on behind its last finished stage.

    Example: geoetl run ingest-raster source=samples:landsat_rgb.tif collection=my-rasters
    """
    import geoetl
    from geoetl.cli.progress import shown_progress
    from geoetl.runs.pipeline import load_pipeline

    given = split_parameters(parameters or [])
    platform = geoetl.connect()
    if dry_run:
        notebook = load_pipeline(pipeline)
        values = platform.check_parameters(notebook, given)
        if as_json:
            print_json({"pipeline": pipeline, "parameters": values})
        else:
            print_table(f"{notebook.title} (nothing was run)", ["parameter", "value"], list(values.items()))
        return
    with shown_progress(enabled=not as_json) as watch:
        record = platform.run(pipeline, given, again=again, watch=watch)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        tell_end(record)
    if record.error:
        from geoetl.core.errors import GeoetlError

        raise typer.Exit(GeoetlError.from_problem(record.error).exit_code)


def split_parameters(parameters: list[str]) -> dict[str, Any]:
    """Return parameters that were given as NAME=VALUE.

    Raises:
        InvalidParameter: One is not of that form.
    """
    from geoetl.core.errors import InvalidParameter

    given: dict[str, Any] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidParameter(
                f"'{text[:60]}' is not NAME=VALUE.",
                hint="For example source=samples:landsat_rgb.tif",
                field="parameters",
            )
        given[name.strip()] = value
    return given


def tell_end(record: "RunRecord") -> None:
    """Print how a run ended: what it made, why nothing came of it, or what went wrong."""
    from geoetl.cli.output import print_error
    from geoetl.core.errors import GeoetlError
    from geoetl.core.html import human_seconds

    if record.error:
        print_error(GeoetlError.from_problem(record.error), as_json=False)
        out.print(f"Run {record.id} failed. See it: geoetl runs show {record.id}")
        return
    took = human_seconds(record.seconds or 0)
    if record.reused:
        out.print(f"Done before (run {record.id}, {took}). To run it anew: --again")
    else:
        out.print(f"Done in {took} (run {record.id}).")
    if isinstance(record.result, dict) and record.result.get("reason"):
        # Why nothing, or not what was hoped for, came of it: skipped, held.
        out.print(str(record.result["reason"]).replace("[", r"\["))
    if isinstance(record.result, dict) and record.result.get("items"):
        items, collection = record.result["items"], record.result["collection"]
        listed = ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
        out.print(f"In collection {collection}: {listed}")
        for reason in record.result.get("left_out", []):
            err.print("[yellow]Left out:[/] " + reason.replace("[", r"\["))
    told = [(stage.name, warning) for stage in record.stages for warning in stage.warnings]
    for name, warning in told[:MAX_WARNINGS]:
        err.print(f"[yellow]{name}:[/] " + warning.replace("[", r"\["))
    if len(told) > MAX_WARNINGS:
        err.print(f"{len(told) - MAX_WARNINGS} more: geoetl runs show {record.id}")
