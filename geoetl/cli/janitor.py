"""``geoetl janitor``: what nothing needs any more is told, and removed when that is asked for."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from geoetl.cli.output import Json, out, print_json, print_table, user_name, utc

if TYPE_CHECKING:
    from geoetl.ops import Cleanup, Plan

app = typer.Typer(help="Find what nothing needs any more; a dry run unless --no-dry-run is given.")
# Rows of a table; --json has all.
MAX_SHOWN = 200

Parts = Annotated[
    list[str] | None,
    typer.Option("--part", help="What to look for: runs, writes, files, notebooks or objects; may be given again."),
]


@app.callback(invoke_without_command=True)
def janitor(
    context: typer.Context,
    part: Parts = None,
    older_than_hours: Annotated[
        float, typer.Option(help="What was written or touched within so many hours stays; 1 at least.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option(help="Say only what would go.")] = True,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Remove also objects that geoetl has no record of having written.")
    ] = False,
    notebooks_days: Annotated[float, typer.Option(help="Executed notebooks stay for so many days.")] = 90.0,
    cache_days: Annotated[float, typer.Option(help="Copies of remote objects stay so many days unread.")] = 30.0,
    cache_gib: Annotated[float, typer.Option(help="All copies of remote objects together, GiB.")] = 50.0,
    as_json: Json = False,
) -> None:
    """Look for what nothing needs any more, and tell exactly what would go; with --no-dry-run it goes.

    Example: geoetl janitor --part objects --no-dry-run
    """
    if context.invoked_subcommand is not None:
        return
    import geoetl
    from geoetl.core import html
    from geoetl.ops import CleanupRequest

    request = CleanupRequest.model_validate(
        {
            **({"parts": part} if part else {}),
            "older_than_hours": older_than_hours,
            "dry_run": dry_run,
            "unknown": unknown,
            "notebooks_days": notebooks_days,
            "cache_days": cache_days,
            "cache_gib": cache_gib,
        }
    )
    platform = geoetl.connect()
    plan = platform.janitor.plan(request)
    done = platform.janitor.clean(request, plan, user_name())
    if as_json:
        print_json({**done.model_dump(mode="json"), "leftovers": plan.model_dump(mode="json")["leftovers"]})
        return
    if dry_run:
        _tell_plan(plan)
        return
    taken = done.actions_taken
    header = ["part", "what", "size", "what became of it"]
    rows = [
        (one.part, one.name, html.human_bytes(one.bytes), f"{one.fate}: {one.detail}" if one.detail else one.fate)
        for one in taken[:MAX_SHOWN]
    ]
    if rows:
        print_table("Clean-up", header, rows, numbers=["size"])
    _tell_more(len(taken))
    out.print(escape(done.summary))


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 20,
    cleanup: Annotated[str | None, typer.Option("--id", help="One of them, with what was done.")] = None,
    as_json: Json = False,
) -> None:
    """List the clean-ups: when, by whom, what was found and fixed.

    Example: geoetl janitor history --limit 5
    """
    import geoetl
    from geoetl.core import html

    found = geoetl.connect().janitor.history
    if cleanup is not None:
        one = found.get(cleanup)
        if as_json:
            print_json(one.model_dump(mode="json"))
            return
        rows = [(done.part, done.name, done.fate, done.detail or done.reason) for done in one.actions_taken[:MAX_SHOWN]]
        print_table(f"Clean-up {cleanup}", ["part", "what", "fate", "why"], rows)
        _tell_more(len(one.actions_taken))
        return
    listed = found.list(limit=limit)
    if as_json:
        print_json([one.model_dump(mode="json", exclude={"actions_taken"}) for one in listed])
    elif listed:
        header = ["id", "begun (UTC)", "by", "looked at", "fixed", "freed", "how it ended"]
        rows_ = [
            (
                *(one.id, utc(one.started), one.who, f"{one.items_scanned:,}", f"{one.items_fixed:,}"),
                *(html.human_bytes(one.bytes_freed), _ending(one)),
            )
            for one in listed
        ]
        print_table("Clean-ups", header, rows_, numbers=["looked at", "fixed", "freed"])
    else:
        out.print("No clean-up yet. See what would go: geoetl janitor")


def _tell_plan(plan: "Plan") -> None:
    from geoetl.core import html

    rows = [
        (one.part, one.name, html.human_bytes(one.bytes), one.reason if one.is_fixed else f"{one.reason} (it stays)")
        for one in plan.leftovers[:MAX_SHOWN]
    ]
    if rows:
        print_table("What would go", ["part", "what", "size", "why"], rows, numbers=["size"])
    _tell_more(len(plan.leftovers))
    out.print(escape(plan.summary))
    if plan.going:
        out.print("Nothing was changed. Do it with: geoetl janitor --no-dry-run")
    if len(plan.going) < len(plan.leftovers):
        out.print("What geoetl has no record of goes with --unknown as well.")


def _tell_more(count: int) -> None:
    if count > MAX_SHOWN:
        out.print(f"… and {count - MAX_SHOWN:,} more; --json tells all.")


def _ending(one: "Cleanup") -> str:
    if one.ended is None:
        return "it goes on" if one.is_running else "its process died; the next one goes on"
    return "dry run" if one.dry_run else "done"
