"""Progress of runs and loads: moving bars on a terminal, plain lines in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from geoetl.cli.output import err, is_terminal

if TYPE_CHECKING:
    from geoetl.runs.model import RunRecord, Stage

Watch = Callable[["RunRecord"], None]
# Items between two lines in a pipe.
ITEMS_A_LINE = 50_000


class Tell(Protocol):
    """Takes how many are done, how many there are, and what they are, where that has changed."""

    def __call__(self, done: int, total: int | None, what: str = "") -> None:
        """Show it."""
        ...


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


@contextmanager
def shown_items(what: str, *, enabled: bool = True) -> Iterator[Tell]:
    """Give what shows on standard error how many items are done."""
    if not enabled:
        yield lambda done, total, what="": None
    elif is_terminal():
        with _item_bar(what) as tell:
            yield tell
    else:
        yield _item_lines(what)


def _item_lines(named: str) -> Tell:
    told: dict[str, int] = {}

    def tell(done: int, total: int | None, what: str = "") -> None:
        what = what or named
        if done // ITEMS_A_LINE > told.get(what, 0) // ITEMS_A_LINE or done == total:
            err.print(f"  {what}: {done}" + (f" of {total}" if total is not None else ""))
            told[what] = done

    return tell


@contextmanager
def _item_bar(named: str) -> Iterator[Tell]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
    )
    tasks = {}

    def tell(done: int, total: int | None, what: str = "") -> None:
        what = what or named
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done, total=total)

    with progress:
        yield tell
