"""``geoetl schedule``: what runs by itself, and when."""

from typing import TYPE_CHECKING, Annotated

import typer

from geoetl.cli.output import Json, out, print_json, print_table, utc

if TYPE_CHECKING:
    from geoetl.runs.schedule import Schedule

app = typer.Typer(help="See what runs by itself; pause it, resume it, run it now.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the schedule; `geoetl schedule list` lists them.")]


@app.command("list")
def list_schedules(as_json: Json = False) -> None:
    """List what runs by itself, with the next time.

    Example: geoetl schedule list
    """
    import time

    import geoetl

    platform = geoetl.connect()
    found = platform.declared_schedules().list()
    if as_json:
        now = time.time()
        print_json([{**one.model_dump(mode="json"), "next_slot": one.next_slot(now)} for one in found])
        return
    rows = []
    for one in found:
        latest = platform.schedules.history(one.name, limit=1)
        last = f"{utc(latest[0].slot)} {latest[0].outcome}" if latest else ""
        rows.append((one.name, one.title, one.cron, _next(one), last))
    print_table("Schedules (UTC)", ["name", "what it does", "cron", "next", "last"], rows)


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show what became of the latest slots of a schedule.

    Example: geoetl schedule show purge-events
    """
    import geoetl

    schedules = geoetl.connect().declared_schedules()
    one, latest = schedules.get(name), schedules.history(name)
    if as_json:
        slots = [slot.model_dump(mode="json") for slot in latest]
        print_json({**one.model_dump(mode="json"), "slots": slots})
        return
    out.print(f"[bold]{one.name}[/] runs the {one.kind} {one.target}, {one.cron}, next {_next(one)}")
    rows = [(utc(slot.slot), slot.outcome, slot.run_id, slot.detail) for slot in latest]
    print_table("Slots (UTC)", ["slot", "what became of it", "run", "why"], rows)


@app.command()
def pause(name: Name, as_json: Json = False) -> None:
    """Let a schedule rest.

    Example: geoetl schedule pause purge-events
    """
    import geoetl

    one = geoetl.connect().declared_schedules().pause(name)
    if as_json:
        print_json(one.model_dump(mode="json"))
    else:
        out.print(f"{name} rests. Go on with: geoetl schedule resume {name}")


@app.command()
def resume(name: Name, as_json: Json = False) -> None:
    """Let a schedule go on with its next slot.

    Example: geoetl schedule resume purge-events
    """
    import geoetl

    one = geoetl.connect().declared_schedules().resume(name)
    if as_json:
        print_json(one.model_dump(mode="json"))
    else:
        out.print(f"{name} goes on, next {_next(one)}")


@app.command()
def run(name: Name, as_json: Json = False) -> None:
    """Queue a run of a schedule now, paused or not; its slots stay as they are.

    Example: geoetl schedule run purge-events
    """
    import getpass

    import geoetl
    from geoetl.core.identifiers import new_id

    platform = geoetl.connect()
    run_id = platform.declared_schedules().run_now(name, new_id(), getpass.getuser())
    if as_json:
        print_json(platform.runs.get(run_id).model_dump(mode="json"))
    else:
        out.print(f"Run {run_id} waits for a worker. Follow it: geoetl runs follow {run_id}")


def _next(one: "Schedule") -> str:
    import time

    return "paused" if one.is_paused else utc(one.next_slot(time.time()))
