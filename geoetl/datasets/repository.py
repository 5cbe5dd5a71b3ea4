"""Managed datasets, their versions and the log of their updates as rows."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.errors import Conflict, NotFound, did_you_mean
from geoetl.core.identifiers import canonical_json
from geoetl.datasets.model import Definition, ManagedDataset, UpdateStatus, UpdateType, VersionState
from geoetl.datasets.outcome import UpdateRecord
from geoetl.datasets.release import Release
from geoetl.datasets.tables import datasets, log, versions
from geoetl.datasets.version import Candidate, Version
from geoetl.runs.model import RunState
from geoetl.runs.repository import RunRepository
from geoetl.runs.tables import runs
from geoetl.store.database import Database

MAX_HISTORY = 1000
_JSON_OF_DATASET = ("source_config", "sanity")
_JSON_OF_VERSION = ("items", "styles", "profile", "changes", "findings", "memo")
_OPEN = [status for status in UpdateStatus if not status.is_over]


@dataclass(frozen=True)
class DatasetRepository:
    """Rows of the tables ``curated_datasets``, ``curated_versions`` and ``curated_update_log``.

    Args:
        database: One within a unit of work makes every call a part of it.
    """

    database: Database

    # -- datasets ------------------------------------------------------------------------------------------------------

    def list(self, *, enabled_only: bool = False) -> tuple[ManagedDataset, ...]:
        """Return all datasets by id."""
        query = sa.select(datasets).order_by(datasets.c.dataset_id)
        if enabled_only:
            query = query.where(datasets.c.enabled == 1)
        with self.database.read() as connection:
            return tuple(map(_dataset, connection.execute(query)))

    def get(self, dataset_id: str) -> ManagedDataset:
        """Return a dataset.

        Raises:
            NotFound: There is none of that id.
        """
        with self.database.read() as connection:
            return _find(connection, dataset_id)

    def hold(self, dataset_id: str) -> ManagedDataset:
        """Return a dataset that nobody else changes until the unit of work ends.

        Raises:
            NotFound: There is none of that id.
        """
        with self.database.begin() as connection:
            query = sa.select(datasets.c.dataset_id).where(datasets.c.dataset_id == dataset_id)
            connection.execute(query.with_for_update())
            return _find(connection, dataset_id)

    def create(self, definition: Definition, *, is_declared: bool = False) -> ManagedDataset:
        """Add a dataset.

        Raises:
            Conflict: There is one of that id, or one that fills the same place.
        """
        now = time.time()
        with self.database.begin() as connection:
            _refuse_taken(connection, definition, is_new=True)
            row = {"is_declared": int(is_declared), "created_at": now, "updated_at": now}
            connection.execute(sa.insert(datasets).values(**_row(definition), **row))
            return _find(connection, definition.dataset_id)

    def change(self, definition: Definition, *, is_declared: bool = False) -> ManagedDataset:
        """Say a dataset anew.

        Raises:
            NotFound: There is none of that id.
            Conflict: Another one fills the same place, or this one has data in another.
        """
        with self.database.begin() as connection:
            within = DatasetRepository(self.database.within(connection))
            present = within.hold(definition.dataset_id)
            place = (definition.target_schema, definition.target_table_name)
            has_data = present.live_version is not None or within.versions(
                definition.dataset_id, states=[VersionState.HELD]
            )
            if has_data and place != (present.target_schema, present.target_table_name):
                raise Conflict(
                    f"'{definition.dataset_id}' has data in '{present.target_schema}' already.",
                    hint="Delete the dataset, then make it anew at the other place.",
                    field="target_schema",
                )
            _refuse_taken(connection, definition, is_new=False)
            row = {**_row(definition), "is_declared": int(is_declared), "updated_at": time.time()}
            connection.execute(sa.update(datasets).where(datasets.c.dataset_id == definition.dataset_id).values(**row))
            return _find(connection, definition.dataset_id)

    def enable(self, dataset_id: str, enabled: bool) -> ManagedDataset:
        """Let the schedule look for releases of a dataset, or not.

        Raises:
            NotFound: There is none of that id.
        """
        return self._set(dataset_id, enabled=int(enabled), updated_at=time.time())

    def delete(self, dataset_id: str) -> None:
        """Forget a dataset with its versions and its log; its items become ordinary ones.

        Raises:
            NotFound: There is none of that id.
        """
        with self.database.begin() as connection:
            _find(connection, dataset_id)
            for table in (log, versions, datasets):
                connection.execute(sa.delete(table).where(table.c.dataset_id == dataset_id))

    def declare(self, definitions: Sequence[Definition]) -> None:
        """Bring the datasets in step with files: what is new is added, what a file says otherwise is changed.

        One that no file says any more stays, because its data does; it can then be changed like any other. Whether one
        is enabled is said by the file until somebody says otherwise.
        """
        known = {dataset.dataset_id: dataset for dataset in self.list()}
        for definition in definitions:
            present = known.get(definition.dataset_id)
            if present is None:
                try:
                    self.create(definition, is_declared=True)
                except Conflict:
                    if definition.dataset_id not in {dataset.dataset_id for dataset in self.list()}:
                        raise  # its place is taken; that another process declared the same is no conflict
                continue
            wanted = definition.model_copy(update={"enabled": present.enabled})
            if present.definition != wanted or not present.is_declared:
                self.change(wanted, is_declared=True)
        for dataset_id in set(known) - {definition.dataset_id for definition in definitions}:
            if known[dataset_id].is_declared:
                self._set(dataset_id, is_declared=0)

    def checked(self, dataset_id: str) -> None:
        """Note that the source was asked just now."""
        self._set(dataset_id, last_checked_at=time.time())

    def _set(self, dataset_id: str, **values: Any) -> ManagedDataset:
        with self.database.begin() as connection:
            connection.execute(sa.update(datasets).where(datasets.c.dataset_id == dataset_id).values(**values))
            return _find(connection, dataset_id)

    # -- versions ------------------------------------------------------------------------------------------------------

    def versions(self, dataset_id: str, *, states: Sequence[VersionState] = ()) -> tuple[Version, ...]:
        """Return the versions of a dataset, the newest first."""
        query = sa.select(versions).where(versions.c.dataset_id == dataset_id).order_by(versions.c.number.desc())
        if states:
            query = query.where(versions.c.state.in_(states))
        with self.database.read() as connection:
            return tuple(map(_version, connection.execute(query)))

    def version(self, dataset_id: str, number: int) -> Version:
        """Return one version.

        Raises:
            NotFound: There is none of that number.
        """
        query = sa.select(versions).where(versions.c.dataset_id == dataset_id, versions.c.number == number)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            self.get(dataset_id)
            raise NotFound(
                f"'{dataset_id}' has no version {number}.",
                hint=f"List them with: geoetl datasets versions {dataset_id}",
                field="version",
            )
        return _version(row)

    def live(self, dataset_id: str) -> Version | None:
        """Return the version that is served; None before the first."""
        found = self.versions(dataset_id, states=[VersionState.LIVE])
        return found[0] if found else None

    def former(self, dataset_id: str) -> tuple[Version, ...]:
        """Return the versions that can be served again, the one that was live before first."""
        live, kept = self.live(dataset_id), self.versions(dataset_id, states=[VersionState.KEPT])
        if live is None or any(version.number > live.number for version in kept):
            return kept  # the newest was gone back from
        # What was live when a version was made is what it replaced: not the newest one, if that was gone back from.
        return tuple(sorted(kept, key=lambda version: version.number != live.based_on))

    def _next_number(self, dataset_id: str) -> int:
        query = sa.select(sa.func.max(versions.c.number)).where(versions.c.dataset_id == dataset_id)
        with self.database.read() as connection:
            return int(connection.execute(query).scalar() or 0) + 1

    def add_version(self, candidate: Candidate, state: VersionState, run_id: str | None) -> Version:
        """Add a version that was made, with the next number."""
        if candidate.release is None:
            raise ValueError("nothing was made")
        number = self._next_number(candidate.dataset_id)
        row = {
            "dataset_id": candidate.dataset_id,
            "number": number,
            "state": state,
            "source_version": candidate.release.source_version,
            "stamp": candidate.release.stamp,
            "based_on": candidate.based_on,
            "run_id": run_id,
            "created_at": time.time(),
        }
        document = candidate.model_dump(mode="json", include=set(_JSON_OF_VERSION))
        row |= {name: canonical_json(document[name]) for name in _JSON_OF_VERSION}
        with self.database.begin() as connection:
            connection.execute(sa.insert(versions).values(**row))
        return self.version(candidate.dataset_id, number)

    def decide(
        self, version: Version, state: VersionState, *, by: str | None = None, reason: str | None = None
    ) -> None:
        """Move a version from the state that it was seen in to another one.

        Raises:
            Conflict: Somebody else has moved it.
        """
        this = (versions.c.dataset_id == version.dataset_id, versions.c.number == version.number)
        decided = {"decided_at": time.time(), "decided_by": by, "reason": reason} if by or reason else {}
        with self.database.begin() as connection:
            changed = connection.execute(
                sa.update(versions).where(*this, versions.c.state == version.state).values(state=state, **decided)
            )
        if changed.rowcount != 1:
            raise Conflict(
                f"Version {version.number} of '{version.dataset_id}' is no longer {version.state}.",
                hint="Look at it again, then decide.",
                field="version",
            )

    def recognise(self, version: Version, release: Release, memo: Mapping[str, Any]) -> None:
        """Remember another release that has the content of a version."""
        this = (versions.c.dataset_id == version.dataset_id, versions.c.number == version.number)
        row = {"source_version": release.source_version, "stamp": release.stamp, "memo": canonical_json(dict(memo))}
        with self.database.begin() as connection:
            connection.execute(sa.update(versions).where(*this).values(**row))
        self._set(version.dataset_id, source_version=release.source_version)

    def serve(self, version: Version, run_id: str | None) -> None:
        """Note which version is served."""
        self._set(
            version.dataset_id,
            live_version=version.number,
            source_version=version.source_version,
            last_updated_at=time.time(),
            **({"last_job_id": run_id} if run_id else {}),
        )

    # -- the log -------------------------------------------------------------------------------------------------------

    def begin_update(self, dataset_id: str, run_id: str, update_type: UpdateType) -> None:
        """Write the line of an update that begins, or goes on; those of runs that are over and did not say so end."""
        self.settle(dataset_id)
        row = {"status": UpdateStatus.STARTED, "completed_at": None, "duration_seconds": None, "error_message": None}
        with self.database.begin() as connection:
            this = (log.c.dataset_id == dataset_id, log.c.job_id == run_id)
            if connection.execute(sa.update(log).where(*this).values(**row)).rowcount == 0:
                new = {"dataset_id": dataset_id, "job_id": run_id, "update_type": update_type}
                connection.execute(sa.insert(log).values(**new, **row, started_at=time.time(), details="{}"))

    def note_update(
        self,
        dataset_id: str,
        run_id: str,
        status: UpdateStatus,
        *,
        details: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> None:
        """Write how far an update is, or how it ended; one that is over is not begun or failed any more."""
        this = [log.c.dataset_id == dataset_id, log.c.job_id == run_id]
        if not status.is_over or status is UpdateStatus.FAILED:
            this.append(log.c.status.in_(_OPEN))
        row: dict[str, Any] = {"status": status, **values}
        if details is not None:
            row["details"] = canonical_json(dict(details))
        if status.is_over:
            now = time.time()
            # A clock that was set back makes no time negative.
            took = sa.case((log.c.started_at < now, now - log.c.started_at), else_=0.0)
            row |= {"completed_at": now, "duration_seconds": took}
        with self.database.begin() as connection:
            connection.execute(sa.update(log).where(*this).values(**row))

    def settle(self, dataset_id: str | None = None) -> int:
        """End the lines of updates whose run is over without having said so: it was killed or cancelled.

        Returns:
            How many there were.
        """
        query = _with_runs().where(log.c.status.in_(_OPEN))
        if dataset_id is not None:
            query = query.where(log.c.dataset_id == dataset_id)
        with self.database.begin() as connection:
            rows = connection.execute(query).all()
            states = self._states(rows)
            ended = [(row, _as_ended(row, states.get(row.job_id))) for row in rows]
            for row, values in ended:
                if values:
                    connection.execute(sa.update(log).where(log.c.seq == row.seq).values(**values))
        return sum(1 for _, values in ended if values)

    def is_updating(self, dataset: ManagedDataset, *, besides: str | None = None) -> bool:
        """Tell whether an update is executed by a process that lives: a run of the dataset, or a notebook by hand.

        Args:
            dataset: Of which dataset.
            besides: A run that does not count.
        """
        found = RunRepository(self.database)
        if found.has_running(dataset.subject, besides=besides):
            return True
        query = sa.select(log.c.job_id).where(log.c.dataset_id == dataset.dataset_id, log.c.status.in_(_OPEN))
        with self.database.read() as connection:
            told = [run_id for run_id in connection.execute(query).scalars() if run_id != besides]
        return RunState.RUNNING in found.states(told).values()

    def history(self, dataset_id: str, *, limit: int = 50) -> tuple[UpdateRecord, ...]:
        """Return the latest updates of a dataset, the newest first.

        Raises:
            NotFound: There is no such dataset.
        """
        self.get(dataset_id)
        query = _with_runs().where(log.c.dataset_id == dataset_id).order_by(log.c.seq.desc())
        with self.database.read() as connection:
            rows = connection.execute(query.limit(min(limit, MAX_HISTORY))).all()
        states = self._states(rows)
        return tuple(_record(row, states.get(row.job_id)) for row in rows)

    def _states(self, rows: Sequence[Row[Any]]) -> dict[str, RunState]:
        """Return how the runs of open lines stand."""
        return RunRepository(self.database).states([row.job_id for row in rows if row.status in _OPEN])


def _with_runs() -> sa.Select[Any]:
    over = [runs.c.error.label("run_error"), runs.c.finished_at.label("run_ended")]
    return sa.select(log, *over).select_from(log.outerjoin(runs, runs.c.id == log.c.job_id))


def _as_ended(row: Row[Any], state: RunState | None) -> dict[str, Any]:
    """Return what is to be written of an update that its run left open; nothing where it may go on by itself."""
    if UpdateStatus(row.status).is_over:
        return {}
    if state is not None and not state.is_over and state is not RunState.INTERRUPTED:
        return {}
    if state is RunState.FAILED and row.run_error:
        reason = json.loads(row.run_error).get("detail") or "The run failed."
    elif state is RunState.CANCELLED:
        reason = "It was cancelled."
    else:
        reason = "Its process is gone; the next update begins where the live version is."
    ended = row.run_ended or row.started_at
    return {
        "status": UpdateStatus.FAILED,
        "error_message": reason,
        "completed_at": ended,
        "duration_seconds": max(0.0, ended - row.started_at),
    }


def _record(row: Row[Any], state: RunState | None) -> UpdateRecord:
    values = {name: getattr(row, name) for name in UpdateRecord.model_fields}
    return UpdateRecord(**{**values, **_as_ended(row, state), "details": json.loads(row.details)})


def _row(definition: Definition) -> dict[str, Any]:
    row = definition.model_dump(mode="json")
    row |= {name: canonical_json(row[name]) for name in _JSON_OF_DATASET}
    return {**row, "enabled": int(definition.enabled)}


def _dataset(row: Row[Any]) -> ManagedDataset:
    values = {name: getattr(row, name) for name in ManagedDataset.model_fields}
    return ManagedDataset(**{**values, **{name: json.loads(values[name]) for name in _JSON_OF_DATASET}})


def _version(row: Row[Any]) -> Version:
    values = {name: getattr(row, name) for name in Version.model_fields}
    return Version.model_validate({**values, **{name: json.loads(values[name]) for name in _JSON_OF_VERSION}})


def _find(connection: Connection, dataset_id: str) -> ManagedDataset:
    row = connection.execute(sa.select(datasets).where(datasets.c.dataset_id == dataset_id)).one_or_none()
    if row is None:
        names = connection.execute(sa.select(datasets.c.dataset_id)).scalars().all()
        raise NotFound(
            f"There is no managed dataset '{dataset_id[:64]}'.",
            hint=did_you_mean(dataset_id, names),
            field="dataset_id",
        )
    return _dataset(row)


def _refuse_taken(connection: Connection, definition: Definition, *, is_new: bool) -> None:
    same_id = datasets.c.dataset_id == definition.dataset_id
    if is_new and connection.execute(sa.select(datasets.c.dataset_id).where(same_id)).first():
        raise Conflict(
            f"There is a managed dataset '{definition.dataset_id}' already.", hint="Change it.", field="dataset_id"
        )
    query = sa.select(datasets.c.dataset_id, datasets.c.target_table_name).where(
        sa.func.lower(datasets.c.target_schema) == definition.target_schema.lower(), sa.not_(same_id)
    )
    name = definition.target_table_name
    for other, taken in connection.execute(query):
        # Items of one dataset begin with its name; there are zones that do not tell small letters from capitals.
        mine, theirs = f"{name}_".lower(), f"{taken}_".lower()
        if mine.startswith(theirs) or theirs.startswith(mine):
            raise Conflict(
                f"'{definition.target_schema}/{name}' is taken by the dataset '{other}', which fills '{taken}'.",
                hint="Choose another target_table_name, or another target_schema.",
                field="target_table_name",
            )
