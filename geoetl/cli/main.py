"""The root of the command line, and its edge: every error becomes a sentence and an exit code."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from geoetl.cli import (
    catalog,
    config,
    datasets,
    db,
    demo,
    janitor,
    pipelines,
    publish,
    runs,
    schedule,
    serve,
    styles,
    users,
    virtual,
    worker,
)
from geoetl.cli.output import err, print_error

EXIT_CODES = """
Exit codes: 0 done · 1 unforeseen · 2 wrong input or usage · 3 not found · 4 conflict · 5 over a limit ·
6 unavailable now · 7 the result differs from its source · 8 configuration · 9 a run failed
"""

app = typer.Typer(
    name="geoetl",
    help="Rasters, vectors and climate cubes from file to map.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

START, WORK, LOOK, SHARE = "Start here", "Bring data in", "Look at it", "Share it with others"
app.command("demo", rich_help_panel=START)(demo.demo)
app.command("up", rich_help_panel=START)(serve.up)
app.add_typer(config.app, name="config", rich_help_panel=START)
app.command("run", rich_help_panel=WORK)(pipelines.run)
app.command("pipelines", rich_help_panel=WORK)(pipelines.pipelines)
app.add_typer(runs.app, name="runs", rich_help_panel=WORK)
app.command("worker", rich_help_panel=WORK)(worker.worker)
app.add_typer(schedule.app, name="schedule", rich_help_panel=WORK)
app.add_typer(virtual.app, name="virtual", rich_help_panel=WORK)
app.add_typer(datasets.app, name="datasets", rich_help_panel=WORK)
app.add_typer(catalog.app, name="catalog", rich_help_panel=LOOK)
app.add_typer(styles.app, name="styles", rich_help_panel=LOOK)
app.add_typer(publish.app, name="publish", rich_help_panel=SHARE)
app.command("unpublish", rich_help_panel=SHARE)(publish.unpublish)
app.command("serve", rich_help_panel=SHARE)(serve.serve)
app.add_typer(db.app, name="db", rich_help_panel=SHARE)
app.add_typer(janitor.app, name="janitor", rich_help_panel=SHARE)
app.add_typer(users.app, name="users", rich_help_panel=SHARE)
app.add_typer(users.tokens, name="tokens", rich_help_panel=SHARE)


def _version(wanted: bool) -> None:
    if wanted:
        from geoetl import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rasters, vectors and climate cubes from file to map."""


def run() -> None:
    """Run the command line; the entry point ``geoetl``."""
    sys.exit(guarded(app))


def guarded(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code; an error is printed as a sentence, not as a stack."""
    as_json = "--json" in sys.argv
    try:
        command()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        err.print("Stopped. Run the same command again: finished stages are not repeated.")
        return 130
    except BrokenPipeError:
        # The reader of a pipe has seen enough; nothing may be flushed to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _report(error, as_json=as_json)
    return 0


def _report(error: Exception, *, as_json: bool) -> int:
    errors = importlib.import_module("geoetl.core.errors")
    if isinstance(error, errors.GeoetlError):
        print_error(error, as_json=as_json)
        return int(error.exit_code)
    unforeseen = errors.GeoetlError(
        f"Something unforeseen happened ({type(error).__name__}).",
        hint="Run it again with GEOETL_DEBUG=1 to see where, and report it with what you see.",
    )
    if os.environ.get("GEOETL_DEBUG"):
        err.print_exception()
    print_error(unforeseen, as_json=as_json)
    return 1
