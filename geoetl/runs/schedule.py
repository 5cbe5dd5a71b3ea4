"""Runs that start by themselves: cron in UTC, one run for each slot however many schedulers there are.

A slot is a time that the cron expression names, never the time at which somebody looked; it is a row before its run is,
in the same transaction. So a scheduler may die at any moment, two may look at once, and clocks may be wrong or jump:
what a slot has had, it does not get again. Of slots that nobody was there for, the latest is made up for.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import ConfigurationError, GeoetlError, InvalidParameter, NotFound, Unavailable, did_you_mean
from geoetl.core.identifiers import canonical_json, digest
from geoetl.runs.model import RunKind, RunState
from geoetl.runs.queue import RunQueue, Submission
from geoetl.runs.tables import runs, schedules, slots
from geoetl.store.database import insert_once

_log = logging.getLogger("geoetl.runs")
_PACKAGE = Path(__file__).resolve().parents[1]
_SETTING = "GEOETL_SCHEDULES"
# How often a scheduler looks for slots, seconds.
LOOK_S = 5.0
DAY_S = 86_400
# A last slot further ahead than any clock may be wrong was told by one that was set back since.
MAX_AHEAD_S = DAY_S
# Of slots that were missed no more are counted.
MAX_MISSED = 1000
_NAME = r"[a-z0-9]+(-[a-z0-9]+)*"


class Outcome(StrEnum):
    """What became of a slot."""

    RUN = "run"
    OVERLAP = "overlap"  # the run before is not over
    REFUSED = "refused"  # it could not begin


class Schedule(BaseModel):
    """What runs when.

    Attributes:
        name: In lower case, with hyphens.
        title: For people.
        kind: Whether it runs a pipeline or a function.
        target: Name of either.
        parameters: Of it.
        cron: Five fields, in UTC.
        is_declared: Whether a file says so; it goes when the file no longer does.
        is_paused: Whether it rests.
        last_slot: Unix time of the latest slot that was dealt with.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    kind: RunKind
    target: str
    parameters: dict[str, Any]
    cron: str
    is_declared: bool
    is_paused: bool
    last_slot: int

    def next_slot(self, now: float) -> int:
        """Return the Unix time of the next slot that it will have."""
        return next_slot(self.cron, max(self.last_slot, now))

    def next_slots(self, now: float, count: int) -> tuple[int, ...]:
        """Return the Unix times of the next slots."""
        return tuple(islice(_slots(self.cron, int(max(self.last_slot, now))), count))


class Slot(BaseModel):
    """A slot that was dealt with.

    Attributes:
        schedule: Whose it is.
        slot: Its Unix time.
        run_id: The run that it had.
        outcome: What became of it.
        detail: Why it had none, or how many before it were missed.
    """

    model_config = ConfigDict(frozen=True)

    schedule: str
    slot: int
    run_id: str | None
    outcome: Outcome
    detail: str | None


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1)
    cron: str
    pipeline: str | None = None
    function: str | None = None
    parameters: dict[str, Any] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schedules: dict[str, _Declared] = {}


@dataclass(frozen=True)
class Declaration:
    """A schedule as a file declares it; see `Schedule` for what its parts are."""

    name: str
    title: str
    kind: RunKind
    target: str
    parameters: Mapping[str, Any]
    cron: str


def next_slot(cron: str, moment: float) -> int:
    """Return the first slot of a cron expression behind a Unix time.

    Raises:
        InvalidParameter: The expression is malformed, or names no time.
    """
    return next(_slots(cron, int(moment)))


def latest_slot(cron: str, moment: float) -> int:
    """Return the last slot of a cron expression that is not behind a Unix time.

    Raises:
        InvalidParameter: The expression is malformed, or names no time.
    """
    return next(_slots(cron, int(moment) + 1, backwards=True))


def _slots(cron: str, moment: int, *, backwards: bool = False) -> Iterator[int]:
    if len(cron.split()) != 5:
        raise _malformed(cron, "it has five fields: minute, hour, day of month, month, day of week")
    try:
        for found in CronSim(cron, datetime.fromtimestamp(moment, UTC), reverse=backwards):
            yield int(found.timestamp())
    except CronSimError as error:
        raise _malformed(cron, str(error)) from None
    raise _malformed(cron, "there is no such day")


def read_declarations(path: Path | None = None) -> tuple[Declaration, ...]:
    """Return what a file declares; without a path, that of the file that comes along, ``catalogs/schedules.yaml``.

    Raises:
        ConfigurationError: The file is missing or malformed.
    """
    import yaml

    chosen = path or _shipped()
    try:
        document = yaml.safe_load(chosen.read_text("utf-8")) or {}
        entries = _File.model_validate(document).schedules
    except OSError as error:
        raise ConfigurationError(
            f"The file of schedules cannot be read: {error.strerror}.", hint=f"Check {_SETTING}.", field=_SETTING
        ) from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise ConfigurationError(f"'{chosen.name}' is not YAML{where}.", field=_SETTING) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"'{where}' in '{chosen.name}' is not right: {first['msg']}.", field=_SETTING
        ) from None
    return tuple(_declaration(chosen.name, name, entry) for name, entry in entries.items())


@dataclass(frozen=True)
class Schedules:
    """The rows of schedules.

    Args:
        queue: Where their runs wait.
        prepare: Makes the request of a schedule, with what tells it from every other; looks at its parameters.
        clock: Unix seconds.
        is_needed: Tells whether there is anything to do now; a slot in which there is not leaves nothing behind.
    """

    queue: RunQueue
    prepare: Callable[[Schedule, str], Submission]
    clock: Callable[[], float] = time.time
    is_needed: Callable[[Schedule], bool] = lambda schedule: True

    def list(self) -> tuple[Schedule, ...]:
        """Return all of them, by name."""
        with self.queue.database.read() as connection:
            return tuple(map(_schedule, connection.execute(sa.select(schedules).order_by(schedules.c.name))))

    def get(self, name: str) -> Schedule:
        """Return a schedule.

        Raises:
            NotFound: There is none of that name.
        """
        with self.queue.database.read() as connection:
            return _find(connection, name)

    def history(self, name: str, *, limit: int = 20) -> tuple[Slot, ...]:
        """Return the latest slots of a schedule, the newest first."""
        query = sa.select(slots).where(slots.c.schedule == name).order_by(slots.c.slot.desc()).limit(limit)
        with self.queue.database.read() as connection:
            return tuple(map(_slot, connection.execute(query)))

    def latest(self) -> dict[str, Slot]:
        """Return the latest slot of each schedule that has had one."""
        newest = sa.select(slots.c.schedule, sa.func.max(slots.c.slot).label("slot")).group_by(slots.c.schedule)
        last = newest.subquery()
        query = sa.select(slots).join(last, sa.and_(slots.c.schedule == last.c.schedule, slots.c.slot == last.c.slot))
        with self.queue.database.read() as connection:
            return {row.schedule: _slot(row) for row in connection.execute(query)}

    def declare(self, declared: Sequence[Declaration]) -> None:
        """Make the stored schedules those of a file: new ones begin now, changed ones change, the others go.

        Raises:
            InvalidParameter: A cron expression is malformed; nothing was changed.
        """
        now = int(self.clock())
        for one in declared:
            next_slot(one.cron, now)
        wanted = {one.name: _values(one) for one in declared}
        # Most often nothing has changed: then nothing is locked.
        with self.queue.database.read() as connection:
            found = {row.name: row for row in connection.execute(sa.select(schedules))}
        stored = {name for name, row in found.items() if row.is_declared}
        if stored == set(wanted) and not any(_differs(found[name], values) for name, values in wanted.items()):
            return
        with self.queue.database.begin() as connection:
            known = {row.name: row for row in connection.execute(sa.select(schedules).with_for_update())}
            for name, values in wanted.items():
                if name not in known:
                    new = {"name": name, "is_declared": 1, "is_paused": 0, "last_slot": now, "created_at": now}
                    insert_once(connection, schedules, {**values, **new})
                elif _differs(known[name], values):
                    connection.execute(sa.update(schedules).where(schedules.c.name == name).values(**values))
            for name in set(known) - set(wanted):
                connection.execute(sa.delete(schedules).where(schedules.c.name == name, schedules.c.is_declared == 1))

    def pause(self, name: str) -> Schedule:
        """Let a schedule rest.

        Raises:
            NotFound: There is none of that name.
        """
        return self._change(name, is_paused=1)

    def resume(self, name: str) -> Schedule:
        """Let a schedule go on with its next slot; those of its rest are not made up for.

        Raises:
            NotFound: There is none of that name.
        """
        now = int(self.clock())
        last = sa.case((schedules.c.last_slot > now, schedules.c.last_slot), else_=now)
        return self._change(name, is_paused=0, last_slot=last)

    def run_now(self, name: str, salt: str, submitted_by: str | None = None) -> str:
        """Queue a run of a schedule outside of its slots, paused or not, and return the run's id.

        Args:
            name: Of the schedule.
            salt: Tells the run from every other.
            submitted_by: Who asks; left out, the schedule itself.

        Raises:
            NotFound: There is none of that name.
            InvalidParameter: It could not begin.
        """
        asked = self.prepare(self.get(name), salt)
        ((run_id, _),) = self.queue.submit(replace(asked, submitted_by=submitted_by or asked.submitted_by))
        return run_id

    def tick(self) -> tuple[Slot, ...]:
        """Start whatever is due, and return the slots that this call dealt with."""
        now = self.clock()
        dealt: tuple[Slot, ...] = ()
        for schedule in self.list():
            if schedule.is_paused:
                continue
            if schedule.last_slot > now + MAX_AHEAD_S:
                self._set_back(schedule, int(now))
                continue
            due, missed = _due(schedule, now)
            if due is None:
                continue
            if not self.is_needed(schedule):
                with self.queue.database.begin() as connection:
                    self._advance(connection, schedule.name, due)
                continue
            slot = self._deal(schedule, due, missed)
            dealt += (slot,) if slot else ()
        return dealt

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Look for what is due as long as the block lasts, in a thread."""
        over = threading.Event()

        def keep_looking() -> None:
            while not over.wait(LOOK_S):
                try:
                    self.tick()
                except Unavailable as error:
                    _log.warning("the schedule is away: %s", error.detail)

        thread = threading.Thread(target=keep_looking, name="geoetl-schedule", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _deal(self, schedule: Schedule, slot: int, missed: int) -> Slot | None:
        """Give a slot its run, unless somebody else has; whatever happens to us, both or neither are written."""
        asked, outcome = None, Outcome.RUN
        more = " or more" if missed == MAX_MISSED else ""
        detail = f"{missed}{more} before it were missed" if missed else None
        try:
            asked = self.prepare(schedule, f"{schedule.name}@{slot}")
        except Unavailable:
            return None  # the next look may succeed
        except GeoetlError as error:
            outcome, detail = Outcome.REFUSED, error.detail
        with self.queue.database.begin() as connection:
            row = {"schedule": schedule.name, "slot": slot, "outcome": outcome, "detail": detail, "at": self.clock()}
            if not insert_once(connection, slots, row):
                self._advance(connection, schedule.name, slot)
                return None
            run_id = None
            if asked is not None:
                if busy := _unfinished(connection, schedule.name):
                    outcome, detail = Outcome.OVERLAP, f"run {busy} is not over"
                else:
                    run_id, _ = self.queue.submit_within(connection, asked)
            this = (slots.c.schedule == schedule.name, slots.c.slot == slot)
            done = {"run_id": run_id, "outcome": outcome, "detail": detail}
            connection.execute(sa.update(slots).where(*this).values(**done))
            self._advance(connection, schedule.name, slot)
        when = datetime.fromtimestamp(slot, UTC).isoformat(timespec="minutes")
        _log.info("schedule %s, slot %s: %s %s", schedule.name, when, outcome, run_id or detail)
        return Slot(schedule=schedule.name, slot=slot, run_id=run_id, outcome=outcome, detail=detail)

    def _advance(self, connection: Connection, name: str, slot: int) -> None:
        this = (schedules.c.name == name, schedules.c.last_slot < slot)
        connection.execute(sa.update(schedules).where(*this).values(last_slot=slot))

    def _set_back(self, schedule: Schedule, now: int) -> None:
        """Go on from now where a clock that was far ahead has told the last slot; slots that had a run are rows."""
        this = (schedules.c.name == schedule.name, schedules.c.last_slot == schedule.last_slot)
        with self.queue.database.begin() as connection:
            connection.execute(sa.update(schedules).where(*this).values(last_slot=now))

    def _change(self, name: str, **values: Any) -> Schedule:
        with self.queue.database.begin() as connection:
            _find(connection, name)
            connection.execute(sa.update(schedules).where(schedules.c.name == name).values(**values))
            return _find(connection, name)


def schedule_identity(schedule: Schedule, salt: str) -> str:
    """Return the identity of a run of a schedule."""
    return digest(["schedule", schedule.name, salt])


def _due(schedule: Schedule, now: float) -> tuple[int | None, int]:
    """Return the latest slot that is due, and how many before it had nobody."""
    due = latest_slot(schedule.cron, now)
    if due <= schedule.last_slot:
        return None, 0
    before = islice(_slots(schedule.cron, schedule.last_slot), MAX_MISSED)
    return due, sum(1 for _ in takewhile(lambda slot: slot < due, before))


def _unfinished(connection: Connection, name: str) -> str | None:
    """Return the run of the schedule's latest slot with one, where it is not over."""
    latest = (
        sa.select(slots.c.run_id)
        .where(slots.c.schedule == name, slots.c.run_id.is_not(None))
        .order_by(slots.c.slot.desc())
        .limit(1)
        .scalar_subquery()
    )
    still = (RunState.QUEUED, RunState.RUNNING)
    query = sa.select(runs.c.id).where(runs.c.id == latest, runs.c.state.in_(still))
    return connection.execute(query).scalar()


def _find(connection: Connection, name: str) -> Schedule:
    row = connection.execute(sa.select(schedules).where(schedules.c.name == name)).one_or_none()
    if row is None:
        known = connection.execute(sa.select(schedules.c.name)).scalars()
        raise NotFound(f"There is no schedule '{name[:60]}'.", hint=did_you_mean(name[:60], known), field="schedule")
    return _schedule(row)


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(
        name=row.name,
        title=row.title,
        kind=RunKind(row.kind),
        target=row.target,
        parameters=json.loads(row.parameters),
        cron=row.cron,
        is_declared=bool(row.is_declared),
        is_paused=bool(row.is_paused),
        last_slot=row.last_slot,
    )


def _values(declared: Declaration) -> dict[str, Any]:
    return {
        "title": declared.title,
        "kind": declared.kind,
        "target": declared.target,
        "parameters": canonical_json(dict(declared.parameters)),
        "cron": declared.cron,
    }


def _differs(row: Row[Any], values: Mapping[str, Any]) -> bool:
    return any(getattr(row, name) != value for name, value in values.items())


def _slot(row: Row[Any]) -> Slot:
    outcome = Outcome(row.outcome)
    return Slot(schedule=row.schedule, slot=row.slot, run_id=row.run_id, outcome=outcome, detail=row.detail)


def _declaration(file: str, name: str, entry: _Declared) -> Declaration:
    import re

    target = entry.pipeline or entry.function
    if not re.fullmatch(_NAME, name) or len(name) > 100:
        raise ConfigurationError(
            f"'{name[:60]}' in '{file}' is no name of a schedule.", hint="Use a-z, 0-9 and hyphens.", field=_SETTING
        )
    if target is None or (entry.pipeline and entry.function):
        raise ConfigurationError(
            f"The schedule '{name}' in '{file}' has to name a pipeline or a function, one of them.", field=_SETTING
        )
    kind = RunKind.NOTEBOOK if entry.pipeline else RunKind.FUNCTION
    try:
        next_slot(entry.cron, 0)
    except InvalidParameter as error:
        raise ConfigurationError(f"The schedule '{name}' in '{file}': {error.detail}", field=_SETTING) from None
    return Declaration(name, entry.title, kind, target, entry.parameters, entry.cron)


def _malformed(cron: str, why: str) -> InvalidParameter:
    return InvalidParameter(
        f"'{cron[:60]}' is no cron expression: {why}.",
        hint="For example '0 2 * * *': daily at 02:00 UTC.",
        field="cron",
    )


def _shipped() -> Path:
    for folder in (_PACKAGE / "_catalogs", _PACKAGE.parent / "catalogs"):
        if (folder / "schedules.yaml").is_file():
            return folder / "schedules.yaml"
    raise ConfigurationError("The file of schedules is missing from this installation.", hint="Install geoetl again.")
