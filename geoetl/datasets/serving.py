"""What is served of managed datasets: one version of each, put in the place of the one before in one transaction.

A person may accept or reject a version that is held, and go back to a former one. What no version needs is swept away.
"""

import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from geoetl.core.errors import Conflict, NotFound
from geoetl.datasets.defining import declared_elsewhere
from geoetl.datasets.made import keys_of_item
from geoetl.datasets.model import ManagedDataset, VersionState
from geoetl.datasets.outcome import Forgotten
from geoetl.datasets.repository import DatasetRepository
from geoetl.datasets.version import Candidate, Version
from geoetl.runs.repository import RunRepository
from geoetl.store.catalog import Catalog, Search, walk
from geoetl.store.catalog.item import new_collection, with_extent
from geoetl.store.database import Database
from geoetl.store.zones import Zone

# Fetched files of an update that did not end are taken up again for so long.
DOWNLOADS_KEPT_S = 14 * 86_400.0
_WITH_OBJECTS = (VersionState.LIVE, VersionState.KEPT, VersionState.HELD)


@dataclass(frozen=True)
class Serving:
    """Decides which version of a managed dataset is served.

    Args:
        repository: Datasets, versions, log.
        runs: The runs that updates are.
        catalog: The catalogue over a database; one that may change what managed datasets keep.
        zone: Where finished objects are.
        folder: Where fetched files are.
        after: Told of a version that is served now, to give it its styles.
    """

    repository: DatasetRepository
    runs: RunRepository
    catalog: Callable[[Database], Catalog]
    zone: Zone
    folder: Path
    after: Callable[[Version, ManagedDataset], None]

    # -- what a person decides -----------------------------------------------------------------------------------------

    def accept(self, dataset_id: str, number: int, *, by: str | None = None, reason: str | None = None) -> Version:
        """Let a held version be served.

        Raises:
            NotFound: There is no such version.
            Conflict: It is not held, or the version that it was compared with is no longer live.
        """
        return self._put_live(dataset_id, number, VersionState.HELD, by=by, reason=reason)

    def reject(self, dataset_id: str, number: int, *, by: str | None = None, reason: str | None = None) -> Version:
        """Keep a held version from being served; its release is not fetched again.

        Raises:
            NotFound: There is no such version.
            Conflict: It is not held.
        """
        version = self.repository.version(dataset_id, number)
        if version.state is not VersionState.HELD:
            raise _not(version, VersionState.HELD)
        self.repository.decide(version, VersionState.REJECTED, by=by, reason=reason)
        self.sweep(self.repository.get(dataset_id))
        return self.repository.version(dataset_id, number)

    def rollback(
        self, dataset_id: str, number: int | None = None, *, by: str | None = None, reason: str | None = None
    ) -> Version:
        """Serve a former version again.

        Args:
            dataset_id: Which dataset.
            number: Which version; None for the one that was live before.
            by: Who wants it.
            reason: Why.

        Raises:
            NotFound: There is no such version, or none before.
            Conflict: It was never live, or its objects are gone.
        """
        if number is None:
            kept = self.repository.former(dataset_id)
            if not kept:
                self.repository.get(dataset_id)
                raise NotFound(
                    f"'{dataset_id}' has no former version.", hint="The first one is served.", field="version"
                )
            number = kept[0].number
        return self._put_live(dataset_id, number, VersionState.KEPT, by=by, reason=reason)

    def delete(self, dataset_id: str, *, with_items: bool = False, dry_run: bool = False) -> Forgotten:
        """Forget a dataset with its versions and its log; what it serves stays as ordinary items, or goes too.

        Args:
            dataset_id: Which dataset.
            with_items: Whether what it serves goes too.
            dry_run: Whether to say only what would go.

        Raises:
            NotFound: There is none of that id.
            Conflict: A file declares it, or an update of it is being executed.
        """
        with self.repository.database.begin() as connection:
            repository = DatasetRepository(self.repository.database.within(connection))
            dataset = repository.hold(dataset_id)
            if dataset.is_declared:
                raise declared_elsewhere(dataset, "deleted")
            if repository.is_updating(dataset):
                raise Conflict(
                    f"An update of '{dataset_id}' is being executed.",
                    hint="Wait for it or cancel it: geoetl runs list --state running",
                    field="dataset_id",
                )
            versions, live = repository.versions(dataset_id), repository.live(dataset_id)
            served = live.items if live else ()
            staying = set() if with_items else _keys_of_items(served, self.zone.name)
            objects = self.zone.artifacts.keys_under(self.zone.name, owner_of(dataset))
            going = [key for key in objects if key not in staying]
            others = [
                other.dataset_id
                for other in repository.list()
                if other.target_schema == dataset.target_schema and other.dataset_id != dataset_id
            ]
            if not dry_run:
                if with_items:
                    catalog = self.catalog(repository.database)
                    self._put_items(catalog, dataset, (), gone={item["id"] for item in served})
                repository.delete(dataset_id)
        if not dry_run:
            for key in going:
                self.zone.delete(key)
            shutil.rmtree(self.folder / dataset_id, ignore_errors=True)
        return Forgotten(
            dataset_id=dataset_id,
            is_done=not dry_run,
            versions=len(versions),
            objects=len(going),
            collection=dataset.target_schema,
            items_gone=tuple(item["id"] for item in served) if with_items else (),
            items_kept=() if with_items else tuple(item["id"] for item in served),
            kept_by=others[0] if others else None,
        )

    # -- cleaning up ---------------------------------------------------------------------------------------------------

    def sweep(self, dataset: ManagedDataset, run_id: str | None = None, *, besides: Collection[str] = ()) -> int:
        """Remove the objects of versions beyond those that are kept, and what updates that died have left.

        Nothing is removed while another update of the dataset is executed: it may be making what no version has yet.

        Args:
            dataset: Which one.
            run_id: The update that asks, before it makes anything more.
            besides: Keys of objects that it has made already.

        Returns:
            How many objects were removed.
        """
        present = self.zone.artifacts.keys_under(self.zone.name, owner_of(dataset))
        if self.repository.is_updating(dataset, besides=run_id):
            return 0
        wanted = self._wanted(dataset.dataset_id) | set(besides)
        removed = 0
        for key in present:
            if key in wanted:
                continue
            # One that began meanwhile may be making the same again, under the same key.
            if self.repository.is_updating(dataset, besides=run_id):
                break
            self.zone.delete(key)
            removed += 1
        self.zone.clear_incoming()
        self._sweep_downloads()
        return removed

    def _wanted(self, dataset_id: str) -> set[str]:
        """Give up versions beyond those that are kept, and return the keys of all objects that the others need."""
        with self.repository.database.begin() as connection:
            repository = DatasetRepository(self.repository.database.within(connection))
            dataset = repository.hold(dataset_id)
            for version in repository.former(dataset_id)[dataset.keep_versions :]:
                repository.decide(version, VersionState.REMOVED)
            # The live one has been compared with what it was based on; of held ones the latest counts.
            for version in repository.versions(dataset_id, states=[VersionState.HELD])[1:]:
                repository.decide(version, VersionState.REJECTED, reason="A later release is held.")
            needed = repository.versions(dataset_id, states=_WITH_OBJECTS)
        return set().union(*(keys_of(version, self.zone.name) for version in needed))

    def _sweep_downloads(self) -> None:
        for folder in self.folder.glob("*/*") if self.folder.is_dir() else ():
            try:
                age_s = time.time() - folder.stat().st_mtime
            except FileNotFoundError:
                continue  # another update has just removed it
            if age_s > DOWNLOADS_KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)

    # -- within --------------------------------------------------------------------------------------------------------

    def _put_live(
        self, dataset_id: str, number: int, expected: VersionState, *, by: str | None, reason: str | None
    ) -> Version:
        self.repository.version(dataset_id, number)
        with self.repository.database.begin() as connection:
            repository = DatasetRepository(self.repository.database.within(connection))
            dataset = repository.hold(dataset_id)
            version = repository.version(dataset_id, number)
            if version.state is not expected:
                raise _not(version, expected)
            if expected is VersionState.HELD and dataset.live_version != version.based_on:
                raise Conflict(
                    f"Version {number} was compared with version {version.based_on}, which is no longer live.",
                    hint="Reject it, then update again.",
                    field="version",
                )
            check_place(dataset, version.items)
            self.swap(connection, dataset, version, by=by, reason=reason)
        self.settle_served(dataset_id, number)
        return self.repository.version(dataset_id, number)

    def swap(
        self,
        connection: Connection,
        dataset: ManagedDataset,
        version: Version,
        *,
        run_id: str | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Put the items of a version in the place of those that are served, within the caller's transaction."""
        database = self.repository.database.within(connection)
        repository, catalog = DatasetRepository(database), self.catalog(database)
        before = repository.live(dataset.dataset_id)
        if before is not None:
            repository.decide(before, VersionState.KEPT)
        repository.decide(version, VersionState.LIVE, by=by, reason=reason)
        repository.serve(version, run_id)
        self._ensure_collection(catalog, dataset)
        gone = {item["id"] for item in before.items} if before else set()
        self._put_items(catalog, dataset, version.items, gone=gone - {item["id"] for item in version.items})

    def _put_items(
        self, catalog: Catalog, dataset: ManagedDataset, new: Sequence[Mapping[str, Any]], *, gone: Set[str]
    ) -> None:
        """Put items into the collection, take others out, and let it have the extent of all that are in it."""
        catalog.upsert_items(new)
        items = []
        for item in walk(catalog, Search(collections=(dataset.target_schema,), limit=1000, count=False)):
            if item["id"] in gone:
                catalog.delete_item(dataset.target_schema, item["id"])
            else:
                items.append(item)
        catalog.change_collection(dataset.target_schema, lambda present: with_extent(present, items))

    def _ensure_collection(self, catalog: Catalog, dataset: ManagedDataset) -> None:
        made = new_collection(
            dataset.target_schema,
            title="Managed datasets" if dataset.target_schema == "curated" else dataset.name,
            description="Outside sources that are kept current; nothing else writes here.",
            licence="other" if dataset.target_schema == "curated" else dataset.license,
        )
        try:
            catalog.collection(dataset.target_schema)
        except NotFound:
            with suppress(Conflict):  # another dataset has just made it
                catalog.add_collection(made)

    def settle_served(self, dataset_id: str, number: int, run_id: str | None = None) -> None:
        """Do what follows from a version being served; a process that dies here leaves it to the next update."""
        dataset = self.repository.get(dataset_id)
        # An update that goes on after its swap may find that somebody has gone back from it since.
        if dataset.live_version == number:
            self.after(self.repository.version(dataset_id, number), dataset)
        self.sweep(dataset, run_id)


def owner_of(dataset: ManagedDataset) -> str:
    """Return what every object of a dataset is noted with."""
    return f"{dataset.target_schema}/{dataset.target_table_name}"


def check_place(dataset: ManagedDataset, items: Sequence[Mapping[str, Any]]) -> None:
    """Refuse items that a dataset made when it had another place, which is somebody else's now.

    Raises:
        Conflict: Some of them are in another collection, or begin with another name.
    """
    name, collection = dataset.target_table_name, dataset.target_schema
    if any(item["collection"] != collection or not f"{item['id']}_".startswith(f"{name}_") for item in items):
        raise Conflict(
            f"'{dataset.dataset_id}' has another place since this version was made: {collection}/{name}.",
            hint="Update again.",
            field="target_table_name",
        )


def keys_of(version: Version | Candidate, zone: str) -> set[str]:
    """Return the keys of all objects that a version needs."""
    keys = _keys_of_items(version.items, zone).union(*(item.keys for item in version.profile.items))
    return keys | ({version.changes.features.key} if version.changes.features else set())


def _keys_of_items(items: Sequence[Mapping[str, Any]], zone: str) -> set[str]:
    return set().union(*(keys_of_item(item, zone) for item in items))


def _not(version: Version, expected: VersionState) -> Conflict:
    return Conflict(
        f"Version {version.number} of '{version.dataset_id}' is {version.state}, not {expected}.",
        hint=f"List them with: geoetl datasets versions {version.dataset_id}",
        field="version",
    )
