"""Executes a pipeline notebook with papermill; the executed copy is the run's record."""

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from geoetl.core.errors import GeoetlError, RunFailed, Unavailable
from geoetl.core.logging import bound, redacted
from geoetl.core.postponed import postponed
from geoetl.core.settings import LimitSettings
from geoetl.runs.kernel import MEMORY_VARIABLE, RUN_VARIABLE, SECONDS_VARIABLE, manager_class
from geoetl.runs.model import RunRecord, RunState, notebook_key
from geoetl.runs.pipeline import Pipeline
from geoetl.runs.presence import Notice, Presence
from geoetl.runs.queue import Claim, Ending, Superseded
from geoetl.runs.repository import RunRepository
from geoetl.store.zones import Zone

GIB = 1024**3
KERNEL_START_S = 60
# Lines that a notebook prints become events at most this often, and so many of one attempt; it keeps all itself.
LOG_EVERY_S = 0.5
MAX_LOG_LINES = 2000
MAX_LINE = 500


@dataclass(frozen=True)
class NotebookRunner:
    """Executes runs in this process; only the notebook's kernel is a child.

    Args:
        repository: Where the run is recorded.
        zone: The internal zone, which keeps the executed notebook.
        scratch: Folder for files on their way.
        limits: Memory and time of the kernel.
    """

    repository: RunRepository
    zone: Zone
    scratch: Path
    limits: LimitSettings

    def execute(
        self, pipeline: Pipeline, claim: Claim, environment: Mapping[str, str], presence: Presence
    ) -> RunRecord:
        """Execute an attempt to its end; its failure is in the returned record, not raised.

        Args:
            pipeline: The notebook.
            claim: The attempt, as `RunQueue.begin` or `RunQueue.claim` returned it.
            environment: Variables that let the kernel connect to the same platform.
            presence: Whoever executes it; hears when it is to be cancelled, or has been taken over.
        """
        execution = Execution(self, pipeline, claim, environment)
        with presence.holding(claim.run_id, claim.attempt, execution.end):
            execution.run()
        return self.repository.get(claim.run_id)


@dataclass
class Execution:
    """One attempt of a run as it is executed.

    Args:
        runner: With what.
        pipeline: The notebook.
        claim: The attempt.
        environment: Variables for the kernel.
    """

    runner: NotebookRunner
    pipeline: Pipeline
    claim: Claim
    environment: Mapping[str, str]
    ended_by: Notice | None = field(default=None, init=False)
    _kernel: int | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def run(self) -> None:
        """Execute it, and record how it ended."""
        runner, claim = self.runner, self.claim
        folder = runner.scratch / f"{claim.run_id}-{claim.attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / "notebook.ipynb"
        with bound(run_id=claim.run_id):
            error = self._papermill(output)
        if self.ended_by in (Notice.SUPERSEDED, Notice.STOP):
            _remove(output)
            if self.ended_by is Notice.STOP:
                runner.repository.queue.hand_back((claim.run_id, claim.attempt))
            return
        cancelled = self.ended_by is Notice.CANCEL
        error = self._recorded_error(error) if error and not cancelled else None
        notebook = self._keep(output)
        problem = error.problem() if error else None
        runner.repository.queue.finish(
            Ending(claim.run_id, claim.attempt, error=problem, notebook=notebook, cancelled=cancelled)
        )

    def end(self, notice: Notice) -> None:
        """End it early: the kernel and whatever it started are killed, within a second."""
        with self._lock:
            self.ended_by = notice
            if self._kernel is not None:
                _kill(self._kernel)

    def _started(self, kernel: int) -> None:
        with self._lock:
            self._kernel = kernel
            if self.ended_by is not None:
                _kill(kernel)

    def _papermill(self, output: Path) -> GeoetlError | None:
        with papermill_alone():
            import papermill
        from nbclient.exceptions import CellTimeoutError, DeadKernelError
        from papermill.exceptions import PapermillExecutionError

        limits, claim = self.runner.limits, self.claim
        variables = {
            **self.environment,
            RUN_VARIABLE: f"{claim.run_id}:{claim.attempt}",
            MEMORY_VARIABLE: str(int(limits.kernel_memory_gib * GIB)),
            SECONDS_VARIABLE: str(max(1, round(limits.run_minutes * 60))),
        }
        log = _Log(self.runner.repository, claim)
        try:
            # A short path: that of a socket may have 107 characters.
            with tempfile.TemporaryDirectory(prefix="geoetl-", ignore_cleanup_errors=True) as sockets:
                papermill.execute_notebook(
                    self.pipeline.path,
                    output,
                    parameters=claim.parameters,
                    progress_bar=False,
                    kernel_name="python3",
                    start_timeout=KERNEL_START_S,
                    kernel_manager_class=manager_class(variables, Path(sockets), self._started),
                    execution_timeout=max(1, round(limits.run_minutes * 60)),
                    stdout_file=log,
                    stderr_file=log,
                )
        except PapermillExecutionError as error:
            return _from_cell(error.ename, error.evalue)
        except DeadKernelError:
            return RunFailed(
                f"The notebook's process died; it may use {limits.kernel_memory_gib:g} GiB of memory.",
                hint="Give a smaller input, or raise GEOETL_LIMITS__KERNEL_MEMORY_GIB.",
            )
        except RuntimeError:
            return Unavailable(
                f"The notebook's process did not start within {KERNEL_START_S} s, or died at once.",
                hint="Check that the machine has memory left, then run it again.",
            )
        except CellTimeoutError:
            return RunFailed(
                f"The run took longer than {limits.run_minutes:g} minutes.",
                hint="Run it again: finished stages are not repeated. Or raise GEOETL_LIMITS__RUN_MINUTES.",
            )
        except OSError as error:
            return Unavailable(
                f"The notebook could not be executed: {error.strerror or type(error).__name__}.",
                hint="Check the free space and the permissions of GEOETL_HOME, then run it again.",
            )
        finally:
            with self._lock:
                self._kernel = None
            log.close()
        return None

    def _recorded_error(self, error: GeoetlError) -> GeoetlError:
        """Prefer the problem that the failed stage recorded: it keeps its field and hint."""
        record = self.runner.repository.get(self.claim.run_id)
        failed = [s for s in record.stages if s.state is RunState.FAILED and s.error and s.attempt == record.attempt]
        return GeoetlError.from_problem(failed[-1].error) if failed and failed[-1].error else error

    def _keep(self, output: Path) -> str | None:
        if not output.is_file():
            return None
        key = notebook_key(self.claim.run_id)
        _forget_paths(output, self.pipeline.name, key)
        try:
            self.runner.zone.put(output, key, owner=f"runs/{self.claim.run_id}")
        except Unavailable:
            return None  # the run's own outcome matters more; the copy stays in the scratch folder
        _remove(output)
        return key


@contextmanager
def papermill_alone() -> Iterator[None]:
    """Let papermill be imported in the block without what takes twice as long to load as itself and is not called.

    That is a grammar of addresses that jsonschema has for a format which notebooks do not use (rfc3987-syntax 1.1 makes
    38 parsers of it at its import), and the ways to sign in at Azure, for notebooks that are stored there.
    """
    with postponed("rfc3987_syntax", "is_valid_syntax"), postponed("papermill.abs", "AzureBlobStore"):
        yield


class _Log:
    """What a notebook prints, as events of its run: whole lines, a few at a time."""

    def __init__(self, repository: RunRepository, claim: Claim) -> None:
        self._repository = repository
        self._claim = claim
        self._begun = ""
        self._lines: list[str] = []
        self._left = MAX_LOG_LINES
        self._last_write = 0.0

    def write(self, text: str) -> None:
        """Take what was printed."""
        *lines, self._begun = (self._begun + text).replace("\r\n", "\n").split("\n")
        # What overwrites its own line is progress, of which only the last matters.
        self._lines += [line.rpartition("\r")[2][:MAX_LINE] for line in lines]
        self._begun = self._begun[-MAX_LINE:]
        if time.monotonic() - self._last_write > LOG_EVERY_S:
            self._write()

    def flush(self) -> None:
        """Do nothing: lines are written a few at a time."""

    def close(self) -> None:
        """Write what is left."""
        self._lines += [self._begun] if self._begun.strip() else []
        self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines[: self._left], []
        if not lines:
            return
        self._left -= len(lines)
        self._last_write = time.monotonic()
        with suppress(Unavailable, Superseded):  # the notebook has them too
            self._repository.log(self._claim.run_id, self._claim.attempt, [redacted(line) for line in lines])


def _kill(process: int) -> None:
    # The kernel leads a group of its own, with whatever it started in it.
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def _remove(output: Path) -> None:
    output.unlink(missing_ok=True)
    with suppress(OSError):
        output.parent.rmdir()


def _forget_paths(notebook: Path, pipeline: str, key: str) -> None:
    """Replace what papermill notes of this machine's folders; the notebook is shown to others."""
    document = json.loads(notebook.read_text("utf-8"))
    noted = document["metadata"].get("papermill", {})
    noted.update(input_path=f"{pipeline}.ipynb", output_path=key)
    notebook.write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8")


def _from_cell(name: str, value: str) -> GeoetlError:
    """Rebuild our own error from what the kernel reported; any other becomes `RunFailed`."""
    kinds = {kind.__name__: kind for kind in _all_kinds(GeoetlError)}
    detail, _, hint = value.partition("\n")
    if name in kinds:
        return kinds[name](detail, hint=hint or None)
    return RunFailed(
        f"The notebook stopped with {name}: {detail[:200]}",
        hint="The executed notebook shows where. Please report it if the input is in order.",
    )


def _all_kinds(kind: type[GeoetlError]) -> Iterator[type[GeoetlError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from _all_kinds(sub)
