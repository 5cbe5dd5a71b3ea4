"""Inside a run: stages and fan-outs with checkpoints, so that a resumed run repeats nothing that is done."""

import inspect
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python
from sqlalchemy.engine import Connection

from geoetl.core.errors import GeoetlError
from geoetl.core.findings import Severity
from geoetl.core.html import human_seconds
from geoetl.core.identifiers import digest
from geoetl.core.settings import DaskSettings
from geoetl.runs.attempt import Attempt, unforeseen
from geoetl.runs.cluster import Cluster, Dashboard
from geoetl.runs.fanout import fan_out
from geoetl.runs.model import notebook_key
from geoetl.runs.queue import Ending, Superseded
from geoetl.runs.repository import RunRepository, TaskEnding
from geoetl.runs.spread import spread
from geoetl.store.zones import StoredFolder, StoredObject, Zones

# Findings that the record of a stage repeats; the result holds all.
MAX_NOTICED = 100
# What the line begins with that tells where the tasks of a fan-out can be watched.
DASK_DASHBOARD = "Dask dashboard:"
# Progress rows are written at most this often; a fan-out of 100,000 tasks does not become 100,000 updates.
PROGRESS_EVERY_S = 0.3
# Tries of a task whose error may pass, and how long to wait before the second; before each further one twice as long.
TASK_TRIES = 3
TRY_AGAIN_S = 1.0


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


@dataclass
class Run:
    """The run that a notebook belongs to.

    Args:
        id: Its id.
        attempt: Which try this is; writes of an older one are refused.
        repository: Where its stages are recorded.
        zones: To check that the objects of a finished stage are still there.
        dask: Where fan-outs run; a cluster that is started for them serves the whole run.
        interactive: True outside of a pipeline; `emit` then also ends the run.
        tell: Says what was done; in a notebook, below the cell.
    """

    id: str
    attempt: int
    repository: RunRepository
    zones: Zones
    dask: DaskSettings
    interactive: bool = False
    tell: Callable[[str], None] = say
    _position: int = field(default=0, init=False)
    _cluster: Cluster = field(init=False)

    def __post_init__(self) -> None:
        self._cluster = Cluster(self.dask)

    @property
    def dashboard(self) -> Dashboard | None:
        """Where the tasks of its fan-outs can be watched; None without Dask, or as long as there was none."""
        return self._cluster.dashboard

    def close(self) -> None:
        """End the Dask cluster that was started for it, if any; the next fan-out would start another."""
        self._cluster.close()

    def stage[**P, T](self, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one step, or return its recorded result when it was done before with the same arguments.

        Args:
            name: Its name, unique in the notebook.
            function: What to do; its annotated return type is a pydantic model or plain JSON data.
            *args: Its arguments: pydantic models or plain JSON data.
            **kwargs: Its keyword arguments, likewise.

        Raises:
            GeoetlError: What `function` raised; recorded with the stage.
        """
        arguments = digest(to_jsonable_python([args, kwargs]))
        adapter = _result_type(function)
        stored = self._finished(name, arguments, adapter)
        if stored is not None:
            self._position += 1
            self.tell(f"✓ {name} was done before")
            return stored[0]  # type: ignore[no-any-return]
        with self._recorded(name, arguments, total=1) as finish:
            result = function(*args, **kwargs)
            finish(adapter.dump_json(result).decode())
        return result

    def once[T](self, name: str, effect: Callable[[Connection], T]) -> T:
        """Change the database as one step that is done once, whoever dies meanwhile: change and record are committed
        together, or neither is.

        Args:
            name: Its name, unique in the run.
            effect: What to do with the open transaction; its annotated return type is as that of a stage.

        Raises:
            Superseded: Another attempt has taken over; nothing was changed.
        """
        adapter = _result_type(effect)
        stored = self._finished(name, "", adapter)
        if stored is not None:
            self._position += 1
            return stored[0]  # type: ignore[no-any-return]
        self._position += 1
        self.repository.start_stage(self.id, self.attempt, name, self._position, "", 1)
        with self.repository.database.begin() as connection:
            self.repository.queue.hold(connection, self.id, self.attempt)
            result = effect(connection)
            text = adapter.dump_json(result).decode()
            self.repository.finish_stage_within(connection, self.id, self.attempt, name, result=text)
        return result

    def map[A, T](self, name: str, function: Callable[[A], T], items: Iterable[A]) -> list[T]:
        """Do one step for each item; finished tasks are not repeated.

        Tasks run on the Dask client when one is configured (`Cluster.client`, `fan_out`); otherwise here, and in
        processes of this machine as soon as that pays (`spread`).

        The results come in the order of `items`, and are the same wherever they were made.  A failing task does not
        stop the others; one whose error may pass is tried again when all have been tried.  Then the first error is
        raised, and a resumed run tries only the failed ones again.

        Raises:
            GeoetlError: A task failed; the message counts the others.
        """
        listed = list(items)
        keys = [digest(to_jsonable_python(item)) for item in listed]
        adapter = _result_type(function)
        whole: TypeAdapter[list[T]] = TypeAdapter(list[adapter._type])  # type: ignore[name-defined]
        arguments = digest(keys)
        stored = self._finished(name, arguments, whole)
        if stored is not None:
            self._position += 1
            self.tell(f"✓ {name} was done before ({len(listed)} tasks)")
            return stored[0]  # type: ignore[no-any-return]
        with self._recorded(name, arguments, total=max(len(listed), 1)) as finish:
            done = self._restored_tasks(name, adapter)
            waiting = {key: item for key, item in zip(keys, listed, strict=True) if key not in done}
            errors: list[GeoetlError] = []
            last_write = 0.0
            for outcomes in self._tried(name, function, waiting):
                endings = []
                for key, outcome in outcomes:
                    if isinstance(outcome, GeoetlError):
                        errors.append(outcome)
                        endings.append(TaskEnding(key, error=outcome.problem()))
                    else:
                        done[key] = outcome
                        endings.append(TaskEnding(key, adapter.dump_json(outcome).decode()))
                self.repository.finish_tasks(self.id, self.attempt, name, endings)
                if time.monotonic() - last_write > PROGRESS_EVERY_S:
                    self.repository.progress(self.id, self.attempt, name, len(done) + len(errors))
                    last_write = time.monotonic()
            if errors:
                first = errors[0]
                raise type(first)(
                    f"{len(errors)} of {len(listed)} tasks failed. The first: {first.detail}",
                    hint=first.hint,
                    field=first.field,
                )
            results = [done[key] for key in keys]
            finish(whole.dump_json(results).decode())
        return results

    def emit(self, result: BaseModel) -> BaseModel:
        """Give the run its one typed result; the last cell of a pipeline."""
        self.close()
        self.repository.emit(self.id, self.attempt, result.model_dump_json())
        if self.interactive:
            self.repository.queue.finish(Ending(self.id, self.attempt))
        return result

    @property
    def notebook(self) -> str | None:
        """Portable address of the executed notebook, for the items' provenance; None for an interactive run."""
        return None if self.interactive else f"internal://{notebook_key(self.id)}"

    def _tried[A, T](
        self, name: str, function: Callable[[A], T], waiting: dict[str, A]
    ) -> Iterator[Sequence[tuple[str, T | GeoetlError]]]:
        """Give the outcomes of tasks as they come, some at a time; of each the last one."""
        for tried in range(1, TASK_TRIES + 1):
            passing: dict[str, A] = {}
            for outcomes in self._outcomes(name, function, waiting):
                if tried < TASK_TRIES:
                    may_pass = {key for key, one in outcomes if isinstance(one, GeoetlError) and one.retryable}
                    passing |= {key: waiting[key] for key in may_pass}
                    outcomes = [(key, outcome) for key, outcome in outcomes if key not in may_pass]
                if outcomes:
                    yield outcomes
            if not passing:
                return
            time.sleep(TRY_AGAIN_S * 2 ** (tried - 1))
            waiting = passing

    def _outcomes[A, T](
        self, name: str, function: Callable[[A], T], waiting: dict[str, A]
    ) -> Iterator[Sequence[tuple[str, T | GeoetlError]]]:
        keys, items = list(waiting), list(waiting.values())
        if not items:
            return
        known = self.dashboard
        dask = self._cluster.client()
        if dask is None:
            for position, outcome in spread(Attempt(function), items, processes=self.dask.workers):
                yield [(keys[position], outcome)]
            return
        if (shown := self.dashboard) and shown is not known:
            self.repository.tell_dashboard(self.id, self.attempt, shown.url, shown.host, shown.workers)
            self.tell(f"{DASK_DASHBOARD} {shown}")
        for outcomes in fan_out(dask, name, Attempt(function), items, self.dask):
            yield [(keys[position], outcome) for position, outcome in outcomes]

    def _restored_tasks(self, name: str, adapter: TypeAdapter[Any]) -> dict[str, Any]:
        restored = {}
        for key, text in self.repository.finished_tasks(self.id, name).items():
            result = adapter.validate_json(text)
            if self._objects_exist(result):
                restored[key] = result
        return restored

    def _finished(self, name: str, arguments: str, adapter: TypeAdapter[Any]) -> tuple[Any] | None:
        text = self.repository.finished_stage(self.id, name, arguments)
        if text is None:
            return None
        result = adapter.validate_json(text)
        return (result,) if self._objects_exist(result) else None

    def _objects_exist(self, result: Any) -> bool:
        return all(self._bytes_of(stored) == stored.bytes for stored in _objects(result))

    def _bytes_of(self, stored: StoredObject | StoredFolder) -> int | None:
        zone = self.zones.named(stored.zone)
        return zone.folder_size(stored.key) if isinstance(stored, StoredFolder) else zone.size(stored.key)

    @contextmanager
    def _recorded(self, name: str, arguments: str, *, total: int) -> Any:
        self._position += 1
        self.repository.start_stage(self.id, self.attempt, name, self._position, arguments, total)
        result: list[str] = []
        started = time.monotonic()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            try:
                yield result.append
            except Superseded:
                raise  # there is nothing of this attempt to write to any more
            except GeoetlError as error:
                self._end(name, caught, error=error.problem())
                raise
            except Exception as error:
                # The edge between a pipeline and the rest: whatever a library throws ends the stage as failed.
                self._end(name, caught, error=unforeseen(name, error).problem())
                raise
        self._end(name, caught, noticed(result[0]), result=result[0])
        self.tell(f"✓ {name} · {human_seconds(time.monotonic() - started)}")

    def _end(
        self, name: str, caught: Sequence[warnings.WarningMessage], found: Sequence[str] = (), **outcome: Any
    ) -> None:
        said = tuple(dict.fromkeys([*found, *(str(warning.message)[:500] for warning in caught)]))
        self.repository.finish_stage(self.id, self.attempt, name, warnings=said, **outcome)


def noticed(result: str) -> list[str]:
    """Return what a result (JSON) tells of that a person should know: the findings in it that are warnings."""
    document = json.loads(result)
    findings = document.get("findings") if isinstance(document, dict) else None
    told = []
    for finding in findings if isinstance(findings, list) else ():
        if isinstance(finding, dict) and finding.get("severity") == Severity.WARNING:
            where = f" ({finding['subject']})" if finding.get("subject") else ""
            told.append(f"{finding['message']}{where}"[:500])
    return told[:MAX_NOTICED]


def _result_type(function: Callable[..., Any]) -> TypeAdapter[Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    hints = get_type_hints(target)
    if "return" not in hints:
        raise TypeError(f"{getattr(function, '__qualname__', function)!r} needs an annotated return type to be a stage")
    return TypeAdapter(hints["return"])


def _objects(value: Any) -> Iterable[StoredObject | StoredFolder]:
    if isinstance(value, StoredObject | StoredFolder):
        yield value
    elif isinstance(value, BaseModel):
        for _, inner in value:
            yield from _objects(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _objects(inner)
