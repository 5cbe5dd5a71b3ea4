"""Executes a pipeline notebook with papermill; the executed copy is the run's record."""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoetl.core.errors import GeoetlError, RunFailed, Unavailable
from geoetl.core.logging import bound
from geoetl.core.settings import LimitSettings
from geoetl.runs.kernel import MEMORY_VARIABLE, RUN_VARIABLE, SECONDS_VARIABLE, manager_class
from geoetl.runs.model import RunRecord, RunState, notebook_key
from geoetl.runs.pipeline import Pipeline
from geoetl.runs.repository import LEASE_S, RunRepository
from geoetl.store.zones import Zone

GIB = 1024**3
KERNEL_START_S = 60


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

    def execute(self, pipeline: Pipeline, record: RunRecord, environment: Mapping[str, str]) -> RunRecord:
        """Execute a run that was begun, to its end; its failure is in the returned record, not raised.

        Args:
            pipeline: The notebook.
            record: The run, as `RunRepository.begin` returned it.
            environment: Variables that let the kernel connect to the same platform.
        """
        folder = self.scratch / record.id
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / "notebook.ipynb"
        with bound(run_id=record.id), _heartbeat(lambda: self.repository.beat(record.id, record.attempt)):
            error = self._papermill(pipeline, record, environment, output)
        error = self._recorded_error(record, error) if error else None
        notebook = self._keep(output, record)
        return self.repository.finish(
            record.id, record.attempt, error=error.problem() if error else None, notebook=notebook
        )

    def _papermill(
        self, pipeline: Pipeline, record: RunRecord, environment: Mapping[str, str], output: Path
    ) -> GeoetlError | None:
        import papermill
        from nbclient.exceptions import CellTimeoutError, DeadKernelError
        from papermill.exceptions import PapermillExecutionError

        variables = {
            **environment,
            RUN_VARIABLE: f"{record.id}:{record.attempt}",
            MEMORY_VARIABLE: str(int(self.limits.kernel_memory_gib * GIB)),
            SECONDS_VARIABLE: str(max(1, round(self.limits.run_minutes * 60))),
        }
        try:
            # A short path: that of a socket may have 107 characters.
            with tempfile.TemporaryDirectory(prefix="geoetl-", ignore_cleanup_errors=True) as sockets:
                papermill.execute_notebook(
                    pipeline.path,
                    output,
                    parameters=record.parameters,
                    progress_bar=False,
                    kernel_name="python3",
                    start_timeout=KERNEL_START_S,
                    kernel_manager_class=manager_class(variables, Path(sockets)),
                    execution_timeout=max(1, round(self.limits.run_minutes * 60)),
                )
        except PapermillExecutionError as error:
            return _from_cell(error.ename, error.evalue)
        except DeadKernelError:
            return RunFailed(
                f"The notebook's process died; it may use {self.limits.kernel_memory_gib:g} GiB of memory.",
                hint="Give a smaller input, or raise GEOETL_LIMITS__KERNEL_MEMORY_GIB.",
            )
        except RuntimeError:
            return RunFailed(
                f"The notebook's process did not start within {KERNEL_START_S} s, or died at once.",
                hint="Check that the machine has memory left, then run it again.",
            )
        except CellTimeoutError:
            return RunFailed(
                f"The run took longer than {self.limits.run_minutes:g} minutes.",
                hint="Run it again: finished stages are not repeated. Or raise GEOETL_LIMITS__RUN_MINUTES.",
            )
        except OSError as error:
            return Unavailable(
                f"The notebook could not be executed: {error.strerror or type(error).__name__}.",
                hint="Check the free space and the permissions of GEOETL_HOME, then run it again.",
            )
        return None

    def _recorded_error(self, record: RunRecord, error: GeoetlError) -> GeoetlError:
        """Prefer the problem that the failed stage recorded: it keeps its field and hint."""
        failed = [s for s in self.repository.get(record.id).stages if s.state is RunState.FAILED and s.error]
        return GeoetlError.from_problem(failed[-1].error) if failed and failed[-1].error else error

    def _keep(self, output: Path, record: RunRecord) -> str | None:
        if not output.is_file():
            return None
        key = notebook_key(record.id)
        _forget_paths(output, record.pipeline, key)
        try:
            self.zone.put(output, key, owner=f"runs/{record.id}")
        except Unavailable:
            return None  # the run's own outcome matters more; the copy stays in the scratch folder
        output.unlink()
        if not any(output.parent.iterdir()):
            output.parent.rmdir()
        return key


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


@contextmanager
def _heartbeat(beat: Callable[[], bool]) -> Iterator[None]:
    stop = threading.Event()

    def keep_beating() -> None:
        while not stop.wait(LEASE_S / 4):
            try:
                if not beat():
                    return
            except Unavailable:
                continue  # the next beat may succeed within the lease

    thread = threading.Thread(target=keep_beating, name="geoetl-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
