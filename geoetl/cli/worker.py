"""``geoetl worker``: execute what waits in the queue, and start what is scheduled."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from geoetl.cli.output import err

if TYPE_CHECKING:
    from geoetl.runs.worker import Worker

GRACE_S = 10.0
# How soon a worker notices that whoever started it is gone.
PARENT_S = 0.5
# A worker that ends unasked is started again after a pause that grows to this, seconds.
MAX_PAUSE_S = 30.0
# One that lived so long did not end because it could not begin.
SETTLED_S = 60.0


def worker(
    slots: Annotated[int, typer.Option(min=1, max=64, help="Notebooks that are executed at a time.")] = 1,
    once: Annotated[bool, typer.Option("--once", help="End when nothing waits that could be done now.")] = False,
    grace: Annotated[float, typer.Option(min=0, help="Time that runs have when it is stopped, seconds.")] = GRACE_S,
    schedule: Annotated[bool, typer.Option("--schedule/--no-schedule", help="Start what is scheduled, too.")] = True,
    parent: Annotated[int, typer.Option(hidden=True, help="Process with which it ends.")] = 0,
) -> None:
    """Execute the runs that wait, any number of workers beside each other, on any number of machines.

    Ctrl+C stops it: runs have some seconds to end, then they are handed back to others and lose nothing.

    Example: geoetl worker --slots 2
    """
    import geoetl
    from geoetl.core.logging import configure_logging

    platform = geoetl.connect()
    configure_logging(platform.settings.server)
    logging.getLogger("papermill").setLevel(logging.WARNING)  # it names files of this machine
    working = platform.worker(slots=slots, grace_s=grace)
    _stop_on_signals(working, parent)
    err.print(f"Executing what waits, {slots} at a time, as process {os.getpid()}  (Ctrl+C stops it)")
    ticking = platform.declared_schedules().ticking() if schedule and not once else nullcontext()
    with ticking:
        working.run(once=once)


def _stop_on_signals(working: "Worker", parent: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: working.stop())
    signal.signal(signal.SIGHUP, lambda *_: working.stop(at_once=True))
    if not parent:
        signal.signal(signal.SIGINT, lambda *_: working.stop())
        return
    # Ctrl+C reaches the whole group; the parent says when it is our turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_S)
        working.stop(at_once=True)

    threading.Thread(target=end_with_parent, name="geoetl-parent", daemon=True).start()


@contextmanager
def beside(*, slots: int) -> Iterator[None]:
    """Have a worker beside this process for as long as the block lasts; one that dies is started again."""
    over = threading.Event()
    keeper = _Keeper(slots, over)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.end()


class _Keeper(threading.Thread):
    """Starts a worker, and another one when it ends unasked."""

    def __init__(self, slots: int, over: threading.Event) -> None:
        super().__init__(name="geoetl-keeper", daemon=True)
        self._command = [sys.executable, "-m", "geoetl.cli", "worker", "--slots", str(slots)]
        self._command += ["--parent", str(os.getpid())]
        self._over = over
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Keep a worker alive."""
        pause_s = 1.0
        while not self._over.is_set():
            started = time.monotonic()
            with self._lock:
                if self._over.is_set():
                    return
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
            status = self._process.wait()
            if self._over.is_set():
                return
            pause_s = 1.0 if time.monotonic() - started > SETTLED_S else min(2 * pause_s, MAX_PAUSE_S)
            err.print(f"[yellow]The worker ended ({status}).[/] Another one begins in {pause_s:g} s.")
            self._over.wait(pause_s)

    def end(self) -> None:
        """Ask the worker to stop, and wait until it has."""
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(2 * GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self.join()
