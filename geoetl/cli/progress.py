"""Progress of a run: moving bars on a terminal, plain lines in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from geoetl.cli.output import err, is_terminal

if TYPE_CHECKING:
    from geoetl.runs.model import RunRecord, Stage

Watch = Callable[["RunRecord"], None]


@contextmanager
def shown_progress(*, enabled: bool = True) -> "Iterator[Watch | None]":
    """Give a watcher that shows each stage of a run on standard error."""
    if not enabled:
        yield None
    elif is_terminal():
        with _bars() as watch:
            yield watch
    else:
        yield _lines()


def _lines() -> Watch:
    told: set[str] = set()

    def watch(record: "RunRecord") -> None:
        for stage in record.stages:
            text = _sentence(stage)
            if stage.finished_at is not None and stage.attempt == record.attempt and text not in told:
                told.add(text)
                err.print(f"  {text}")

    return watch


def _sentence(stage: "Stage") -> str:
    from geoetl.core.html import human_seconds

    tasks = f", {stage.done} of {stage.total} tasks" if stage.total > 1 else ""
    return f"{stage.name}: {stage.state} in {human_seconds(stage.seconds or 0)}{tasks}"


@contextmanager
def _bars() -> Iterator[Watch]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
    )
    starting = progress.add_task("starting the notebook's kernel", total=None)
    known: dict[str, int] = {}

    def watch(record: "RunRecord") -> None:
        for stage in record.stages:
            if stage.name not in known:
                known[stage.name] = int(progress.add_task(stage.name, total=stage.total))
                progress.update(starting, visible=False)
            progress.update(known[stage.name], completed=stage.done, total=stage.total)  # type: ignore[arg-type]

    with progress:
        yield watch
        progress.update(starting, visible=False)
