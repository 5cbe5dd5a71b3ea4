"""How commands speak: tables for people, JSON for programs, one sentence for errors."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from geoetl.core.errors import GeoetlError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

# Tables in a pipe or file are not squeezed into the 80 columns of a terminal that is not there.
PIPE_WIDTH = 160


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave quietly: the reader of a pipe (``| head``) has seen enough."""
        raise BrokenPipeError


out = _Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = _Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPE_WIDTH)


def print_json(value: Any) -> None:
    """Print strict JSON to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def print_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()
) -> None:
    """Print a table; columns named in `numbers` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in header:
        # An id that is folded cannot be copied.
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=name == "id")
    for row in rows:
        table.add_row(*(("" if value is None else str(value)).replace("[", r"\[") for value in row))
    out.print(table)


def print_error(error: "GeoetlError", *, as_json: bool) -> None:
    """Print what is wrong and what to do next, on standard error."""
    if as_json:
        sys.stderr.write(json.dumps(error.problem(), ensure_ascii=False) + "\n")
        return
    err.print(f"[bold red]{error.title}.[/] " + error.detail.replace("[", r"\["))
    if error.hint:
        err.print("[bold]Next:[/] " + error.hint.replace("[", r"\["))


def utc(moment: float | None) -> str:
    """Return Unix seconds as ISO 8601 text in UTC, to the second."""
    from datetime import UTC, datetime

    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")


def user_name() -> str | None:
    """Return who calls, as this machine names them; None for a user without a name, as in some containers."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


def own_name() -> str:
    """Return what has to be typed to call this command again: its name, or its path where the name is not found."""
    called = Path(sys.argv[0]).absolute()
    if shutil.which("geoetl") == str(called) or not called.is_file():
        return "geoetl"
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)


def is_terminal() -> bool:
    """Tell whether a person watches standard error, so that progress may move."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
