"""Updates of managed datasets: check, fetch, process, finalise; and what a person decides about versions.

Whatever happens meanwhile, readers see the version before or the new one, whole: everything is made beside what is
served, and one transaction puts the items of a version in the place of those before. What an update that died has left
is swept away by the next one.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from geoetl.core.errors import Conflict, GeoetlError
from geoetl.core.findings import Severity, has_errors, sentences
from geoetl.core.html import human_bytes
from geoetl.core.identifiers import digest
from geoetl.core.registry import Registry
from geoetl.datasets.made import MadeItems
from geoetl.datasets.making import Making
from geoetl.datasets.model import ManagedDataset, UpdateRequest, UpdateStatus, UpdateType, VersionState
from geoetl.datasets.outcome import Checked, UpdateOutcome
from geoetl.datasets.protocol import DatasetHandler, Loader, Task
from geoetl.datasets.release import Fetched, Release
from geoetl.datasets.repository import DatasetRepository
from geoetl.datasets.serving import Serving, check_place, keys_of, owner_of
from geoetl.datasets.upstream import CredentialMissing, Limits, Upstream
from geoetl.datasets.version import Candidate, Version
from geoetl.runs.attempt import unforeseen
from geoetl.runs.queue import Superseded
from geoetl.runs.stage import Run, say
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.gate import Gate

if TYPE_CHECKING:
    import geopandas as gpd

# Somebody waits for the answer, and asks again.
_AWAITED = Limits(connect_s=5, silence_s=15, answer_s=25, attempts=2, longest_backoff_s=2, longest_retry_after_s=2)
# Within the folder of fetched files: what was made of them.
MADE = "made"
# Their objects were, or are about to be, removed.
_WITHOUT_OBJECTS = (VersionState.REJECTED, VersionState.REMOVED)
# What became of releases that are not fetched again.
_DECIDED = {
    VersionState.HELD: "is held and waits for a decision",
    VersionState.REJECTED: "was rejected",
    VersionState.KEPT: "was gone back from",
}


@dataclass(frozen=True)
class DatasetUpdates(Serving):
    """Keeps managed datasets current; see `Serving` for what it is given besides.

    Args:
        gate: Opens files.
        loader: Makes items of files.
        handlers: What knows sources.
        environment: Where credentials are.
        scratch: For what is in between.
        tell: Says how far it is.
    """

    gate: Gate
    loader: Loader
    handlers: Registry[type[DatasetHandler]]
    environment: Mapping[str, str]
    scratch: Path
    tell: Callable[[str], None] = say

    # -- the four stages -----------------------------------------------------------------------------------------------

    def check(self, request: UpdateRequest, run_id: str | None = None, *, is_awaited: bool = False) -> Checked:
        """Ask the source whether there is something new, and say what an update would do; nothing is downloaded.

        Args:
            request: What is asked for.
            run_id: The run that the log tells of; None leaves no line.
            is_awaited: Whether somebody waits for the answer: a source that is away is given up on within half a
                minute.

        Raises:
            NotFound: There is no such dataset.
            GeoetlError: What the source answered with.
        """
        dataset = self.repository.get(request.dataset_id)
        if run_id and not request.dry_run:
            self.repository.begin_update(dataset.dataset_id, run_id, request.update_type)
        with self._logged(dataset.dataset_id, None if request.dry_run else run_id):
            live = self.repository.live(dataset.dataset_id)
            with self._task(dataset, live, Path(), _AWAITED if is_awaited else None) as (handler, task):
                release = handler.check(task)
            if not request.dry_run:
                self.repository.checked(dataset.dataset_id)
            needs_update, reason = self._verdict(dataset, live, release, force=request.force_update)
            return Checked(
                dataset_id=dataset.dataset_id,
                needs_update=needs_update,
                reason=reason,
                release=release,
                based_on=live.number if live else None,
                source_version=live.source_version if live else None,
                plan=_plan(dataset, live, release, needs_update=needs_update),
                dry_run=request.dry_run,
            )

    def look(self, request: UpdateRequest, run_id: str) -> Checked:
        """Check for the schedule; a look that fails is a line of the log, one that finds a release is none.

        Raises:
            GeoetlError: See `check`.
        """
        with self._logged(request.dataset_id, run_id, begin=request.update_type):
            return self.check(request)

    def fetch(self, request: UpdateRequest, checked: Checked, run_id: str | None = None) -> Fetched:
        """Fetch what the release names; what is there and whole is not fetched again.

        Raises:
            GeoetlError: The source could not be had, or is not what was announced; the live version keeps serving.
        """
        if not checked.needs_update or checked.dry_run or checked.release is None:
            return Fetched()
        with self._logged(request.dataset_id, run_id):
            if run_id:
                self.repository.note_update(
                    request.dataset_id,
                    run_id,
                    UpdateStatus.DOWNLOADING,
                    source_version=checked.release.source_version,
                    details={"plan": checked.plan},
                )
            dataset = self.repository.get(request.dataset_id)
            live = self._based_on(dataset, checked.based_on)
            folder = self._downloads(dataset, checked.release)
            with self._task(dataset, live, folder) as (handler, task):
                return handler.fetch(task, checked.release)

    def process(
        self,
        request: UpdateRequest,
        checked: Checked,
        fetched: Fetched,
        notebook: str | None = None,
        run_id: str | None = None,
    ) -> Candidate:
        """Make a version beside the live one, compare the two, and look whether it can be served.

        Raises:
            Conflict: Another version became live meanwhile.
            GeoetlError: It could not be made; the live version keeps serving.
        """
        if not checked.needs_update or checked.dry_run or checked.release is None:
            return Candidate(dataset_id=request.dataset_id)
        with self._logged(request.dataset_id, run_id):
            if run_id:
                self.repository.note_update(request.dataset_id, run_id, UpdateStatus.PROCESSING)
            dataset = self.repository.get(request.dataset_id)
            live = self._based_on(dataset, checked.based_on)
            folder = self._downloads(dataset, checked.release)
            made = MadeItems(folder / MADE, self.zone)
            self.sweep(dataset, run_id, besides=made.keys())
            with self._task(dataset, live, folder) as (handler, task):
                # On another machine, or after a while, what was fetched is not there any more.
                fetched = handler.fetch(task, checked.release) if self._lacks(folder, fetched) else fetched
                making = Making(dataset, handler, task, self.loader, made, owner_of(dataset), notebook)
                return making.candidate(checked.release, fetched)

    def finalise(self, run: Run, request: UpdateRequest, checked: Checked, candidate: Candidate) -> UpdateOutcome:
        """Let the version that was made be served, or hold it, and write the log; all of it or nothing.

        Raises:
            Conflict: Another version became live meanwhile, the dataset was given another place, or what was made is
                not there any more.
        """

        def effect(connection: Connection) -> UpdateOutcome:
            self._check_present(connection, candidate)
            return self._finalised(connection, run.id, request, checked, candidate)

        with self._logged(request.dataset_id, None if checked.dry_run else run.id):
            outcome = run.once("finalise", effect)
            if outcome.status is UpdateStatus.COMPLETED and outcome.number is not None:
                self.settle_served(request.dataset_id, outcome.number, run.id)
                if candidate.release is not None:
                    dataset = self.repository.get(request.dataset_id)
                    shutil.rmtree(self._downloads(dataset, candidate.release), ignore_errors=True)
        return outcome

    def skip(self, request: UpdateRequest, checked: Checked, run_id: str) -> None:
        """Write into the log that a look found nothing to do."""
        self.repository.begin_update(request.dataset_id, run_id, request.update_type)
        self.repository.note_update(
            request.dataset_id,
            run_id,
            UpdateStatus.SKIPPED,
            source_version=checked.source_version,
            details={"reason": checked.reason},
        )

    def changed(self, dataset_id: str, number: int | None) -> "gpd.GeoDataFrame | None":
        """Return the features that a version changed, with ``change``, ``item``, ``key`` and ``columns``.

        Args:
            dataset_id: Which dataset.
            number: Which version.

        Returns:
            In longitude and latitude, at most 10,000; None where nothing was compared or nothing differs.

        Raises:
            NotFound: There is no such version.
        """
        version = self.repository.version(dataset_id, number) if number is not None else None
        if version is None or version.changes.features is None or version.state in _WITHOUT_OBJECTS:
            return None
        return self.gate.read_geoparquet(self.zone.local_path(version.changes.features.key))

    # -- within --------------------------------------------------------------------------------------------------------

    def _verdict(
        self, dataset: ManagedDataset, live: Version | None, release: Release, *, force: bool
    ) -> tuple[bool, str]:
        if force:
            return True, "It is fetched and compared because that was asked for."
        if live is None:
            return True, f"There is no version yet; the source has {release.source_version}."
        if release.stamp == live.stamp or not release.is_news:
            return False, f"The source still has {live.source_version}."
        for version in self.repository.versions(dataset.dataset_id, states=list(_DECIDED)):
            # A former version that is newer than the live one was gone back from.
            if version.stamp == release.stamp and (
                version.state is not VersionState.KEPT or version.number > live.number
            ):
                told = _DECIDED[version.state]
                return False, f"The release {version.source_version} {told} (version {version.number})."
        return True, f"The source has {release.source_version}; {live.source_version} is served."

    def _based_on(self, dataset: ManagedDataset, number: int | None) -> Version | None:
        live = self.repository.live(dataset.dataset_id)
        if (live.number if live else None) != number:
            raise Conflict(
                f"Another version of '{dataset.dataset_id}' became live since the source was checked.",
                hint="Update again.",
                field="dataset_id",
            )
        return live

    def _finalised(
        self, connection: Connection, run_id: str, request: UpdateRequest, checked: Checked, candidate: Candidate
    ) -> UpdateOutcome:
        repository = DatasetRepository(self.repository.database.within(connection))
        if candidate.release is None:
            if not checked.dry_run:
                details = {"reason": checked.reason}
                repository.note_update(
                    request.dataset_id,
                    run_id,
                    UpdateStatus.SKIPPED,
                    source_version=checked.source_version,
                    details=details,
                )
            return _skipped(checked)
        dataset = repository.hold(request.dataset_id)
        if dataset.live_version != candidate.based_on:
            raise Conflict(
                f"Another version of '{dataset.dataset_id}' became live meanwhile.",
                hint="Update again.",
                field="dataset_id",
            )
        check_place(dataset, candidate.items)
        if candidate.is_same:
            return self._same(repository, dataset, candidate, run_id)
        is_held = has_errors(candidate.findings)
        version = repository.add_version(candidate, VersionState.HELD, run_id)
        if not is_held:
            self.swap(connection, dataset, version, run_id=run_id)
        return self._told(repository, dataset, candidate, version, run_id, is_held=is_held)

    def _same(
        self, repository: DatasetRepository, dataset: ManagedDataset, candidate: Candidate, run_id: str
    ) -> UpdateOutcome:
        """Remember the release that has nothing new as that of the live version."""
        live = repository.live(dataset.dataset_id)
        if live is None or candidate.release is None:
            raise Conflict(f"'{dataset.dataset_id}' has no live version.", hint="Update again.", field="dataset_id")
        repository.recognise(live, candidate.release, candidate.memo)
        reason = f"The source has {candidate.release.source_version}, with the same content as what is served."
        repository.note_update(
            dataset.dataset_id,
            run_id,
            UpdateStatus.SKIPPED,
            source_version=candidate.release.source_version,
            details={"reason": reason},
        )
        return UpdateOutcome(
            dataset_id=dataset.dataset_id,
            status=UpdateStatus.SKIPPED,
            reason=reason,
            source_version=candidate.release.source_version,
            records_total=candidate.profile.rows,
        )

    def _told(
        self,
        repository: DatasetRepository,
        dataset: ManagedDataset,
        candidate: Candidate,
        version: Version,
        run_id: str,
        *,
        is_held: bool,
    ) -> UpdateOutcome:
        changes, errors = candidate.changes, [f for f in candidate.findings if f.severity is Severity.ERROR]
        counts = {
            "records_added": changes.added,
            "records_updated": changes.updated,
            "records_deleted": changes.deleted,
            "records_total": candidate.profile.rows,
        }
        status = UpdateStatus.HELD if is_held else UpdateStatus.COMPLETED
        reason = (
            f"Held for a person to look at: {sentences(errors)}"
            if is_held
            else f"Version {version.number} ({version.source_version}) is served: {changes.counts}."
        )
        repository.note_update(
            dataset.dataset_id,
            run_id,
            status,
            source_version=version.source_version,
            error_message=sentences(errors) if is_held else None,
            details={"version": version.number, "findings": [f.model_dump(mode="json") for f in candidate.findings]},
            **counts,
        )
        return UpdateOutcome(
            dataset_id=dataset.dataset_id,
            status=status,
            reason=reason,
            number=version.number,
            source_version=version.source_version,
            collection="" if is_held else dataset.target_schema,
            items=() if is_held else tuple(item["id"] for item in candidate.items),
            findings=candidate.findings,
            **counts,
        )

    def _check_present(self, connection: Connection, candidate: Candidate) -> None:
        """Look whether all that a version needs is in the zone still: its data, and what is made of them."""
        wanted = keys_of(candidate, self.zone.name)
        if not wanted:
            return
        database = self.repository.database.within(connection)
        owner = owner_of(DatasetRepository(database).get(candidate.dataset_id))
        there = ArtifactRepository(database).keys_under(self.zone.name, owner)
        lacking = any(self.zone.size(item.data.key) != item.data.bytes for item in candidate.profile.items)
        if lacking or not wanted <= set(there):
            raise Conflict(
                f"What was made of '{candidate.dataset_id}' is not there any more.",
                hint="Update again.",
                field="dataset_id",
            )

    @contextmanager
    def _task(
        self, dataset: ManagedDataset, live: Version | None, folder: Path, limits: Limits | None = None
    ) -> Iterator[tuple[DatasetHandler, Task]]:
        handler = self.handlers[dataset.handler]()
        handler.config(**dataset.source_config)
        self.scratch.mkdir(parents=True, exist_ok=True)
        folder = folder if folder != Path() else self.folder
        folder.mkdir(parents=True, exist_ok=True)
        with (
            Upstream(self._credentials(dataset, handler), limits=limits) as upstream,
            tempfile.TemporaryDirectory(dir=self.scratch, prefix="dataset-") as workspace,
            _without_credentials(upstream, dataset.dataset_id),
        ):
            yield (
                handler,
                Task(
                    definition=dataset.definition,
                    upstream=upstream,
                    gate=self.gate,
                    zone=self.zone,
                    live=live,
                    folder=folder,
                    workspace=Path(workspace),
                    tell=self.tell,
                    is_made=MadeItems(folder / MADE, self.zone).has,
                ),
            )

    def _credentials(self, dataset: ManagedDataset, handler: DatasetHandler) -> dict[str, str]:
        if dataset.credential_key is None:
            return {}
        names = [f"{dataset.credential_key}_{ending}" for ending in handler.credentials]
        if missing := [name for name in names if not self.environment.get(name)]:
            raise CredentialMissing(
                f"The credentials of '{dataset.dataset_id}' are not set.",
                hint=f"Set {' and '.join(missing)} in the environment of the workers.",
                field=missing[0],
            )
        return {name: self.environment[name] for name in names}

    def _downloads(self, dataset: ManagedDataset, release: Release) -> Path:
        return self.folder / dataset.dataset_id / digest([release.stamp, dataset.source_url])[:16]

    def _lacks(self, folder: Path, fetched: Fetched) -> bool:
        return any(
            not (path := folder / file.name).is_file() or path.stat().st_size != file.bytes for file in fetched.files
        )

    @contextmanager
    def _logged(self, dataset_id: str, run_id: str | None, *, begin: UpdateType | None = None) -> Iterator[None]:
        """Write a failure into the log before it is passed on, in a line that is begun then where `begin` says so."""
        try:
            yield
        except Superseded:
            raise  # another attempt goes on, and tells how it ends
        except Exception as error:
            if run_id is not None:
                if begin is not None:
                    self.repository.begin_update(dataset_id, run_id, begin)
                known = error if isinstance(error, GeoetlError) else unforeseen(dataset_id, error)
                self.repository.note_update(dataset_id, run_id, UpdateStatus.FAILED, error_message=known.detail[:2000])
            raise


@contextmanager
def _without_credentials(upstream: Upstream, dataset_id: str) -> Iterator[None]:
    """Keep out of errors what a handler, or a library that it uses, has put into them."""
    try:
        yield
    except GeoetlError as error:
        detail, hint = upstream.hide(error.detail), upstream.hide(error.hint or "")
        if (detail, hint) == (error.detail, error.hint or ""):
            raise
        raise type(error)(detail, hint=hint or None, field=error.field) from None
    except Exception as error:
        known = unforeseen(dataset_id, error)
        # What is shown of it may have lost the beginning of a credential with a path.
        if upstream.hide(f"{error}") == f"{error}" and upstream.hide(repr(error)) == repr(error):
            raise
        raise type(known)(
            f"'{dataset_id}' stopped with {type(error).__name__}, whose message has a credential in it.",
            hint=known.hint,
        ) from None


def _plan(dataset: ManagedDataset, live: Version | None, release: Release, *, needs_update: bool) -> tuple[str, ...]:
    if not needs_update:
        return ()
    lines = []
    for download in release.downloads:
        size = f", {human_bytes(download.bytes)}" if download.bytes is not None else ""
        lines.append(f"fetch {download.name}{size}")
    lines += release.about
    place = f"{dataset.target_schema}/{dataset.target_table_name}"
    lines.append(
        f"replace version {live.number} ({live.source_version}, {live.profile.rows:,} rows) of {place}"
        if live
        else f"make the first version of {place}"
    )
    return tuple(lines)


def _skipped(checked: Checked) -> UpdateOutcome:
    return UpdateOutcome(
        dataset_id=checked.dataset_id,
        status=UpdateStatus.SKIPPED,
        reason=f"Dry run. {checked.reason}" if checked.dry_run else checked.reason,
        source_version=checked.source_version,
    )
