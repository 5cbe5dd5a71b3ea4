"""Workers for the tests: functions that leave a trace in the database, and a program that executes them.

``python -m tests.runs.working URL FOLDER`` is a worker until it is stopped, with ``--fork`` any number of them.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import sqlalchemy as sa
from pydantic import BaseModel

from geoetl.core.errors import Unavailable, UnreadableFile
from geoetl.core.registry import Registry
from geoetl.core.settings import DaskSettings, LimitSettings
from geoetl.runs.functions import LightFunction
from geoetl.runs.model import Result
from geoetl.runs.notebook import NotebookRunner
from geoetl.runs.queue import Claim
from geoetl.runs.repository import RunRepository
from geoetl.runs.stage import Run
from geoetl.runs.worker import Worker
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.zones import Zone, Zones

EFFECTS = "CREATE TABLE effects (number INTEGER, subject TEXT, place INTEGER, PRIMARY KEY (subject, place))"


class Counted(Result):
    """What a function counted."""

    number: int


class Trace(LightFunction):
    """Leave a row, once, however often it is begun."""

    title = "Leave a trace"
    number: int
    subject: str = ""
    sleep_s: float = 0.0

    def __call__(self, run: Run, platform: Any) -> Counted:
        def leave(connection: sa.Connection) -> int:
            values = {"number": self.number, "subject": self.subject}
            connection.execute(
                sa.text(
                    "INSERT INTO effects SELECT :number, :subject, coalesce(max(place), 0) + 1 FROM effects"
                    " WHERE subject = :subject"
                ),
                values,
            )
            return self.number

        time.sleep(self.sleep_s)
        number = run.once("leave", leave)
        time.sleep(self.sleep_s)
        return Counted(number=number)


class Nothing(LightFunction):
    """Do nothing at all."""

    title = "Do nothing"
    number: int = 0

    def __call__(self, run: Run, platform: Any) -> BaseModel | None:
        return None


class Failing(LightFunction):
    """Fail, for a reason that passes or not."""

    title = "Fail"
    passes: bool

    def __call__(self, run: Run, platform: Any) -> None:
        raise Unavailable("The place is away.") if self.passes else UnreadableFile("It is a web page.")


class Hanging(LightFunction):
    """Wait for what never comes."""

    title = "Hang"
    limit_s: ClassVar[float] = 0.3
    until: str

    def __call__(self, run: Run, platform: Any) -> None:
        while not Path(self.until).exists():
            time.sleep(0.02)


FUNCTIONS: Registry[type[LightFunction]] = Registry(
    "function", {"trace": Trace, "nothing": Nothing, "failing": Failing, "hanging": Hanging}
)


def new_worker(database: Database, folder: Path, *, slots: int = 1, grace_s: float = 10.0) -> Worker:
    """Return a worker of a database, with its files in a folder."""
    repository = RunRepository(database)
    internal, external = (
        Zone(name, (folder / name).as_uri(), ArtifactRepository(database), folder / "cache")
        for name in ("internal", "external")
    )
    zones = Zones(internal, external)

    def new_run(claim: Claim) -> Run:
        return Run(claim.run_id, claim.attempt, repository, zones, DaskSettings(), tell=lambda text: None)

    runner = NotebookRunner(repository, internal, folder / "scratch", LimitSettings())
    return Worker(runner, {}, FUNCTIONS, SimpleNamespace(), new_run, slots=slots, grace_s=grace_s)


def main() -> None:
    """Work until SIGTERM; with ``--fork``, let a fork work for each line that comes in, and tell its number."""
    url, folder, *options = sys.argv[1:]
    if not options:
        work(url, Path(folder))
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    database = Database(url)
    with database.read():  # loads the driver
        pass
    database.dispose()
    for _ in sys.stdin:
        if os.fork() == 0:
            work(url, Path(folder))
            os._exit(0)


def work(url: str, folder: Path) -> None:
    """Be a worker."""
    worker = new_worker(Database(url), folder)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    print(os.getpid(), flush=True)
    worker.run()


if __name__ == "__main__":
    main()
