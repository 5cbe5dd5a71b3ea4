"""What managed datasets need of the internal zone, for those who clean up."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.datasets.made import MadeItems
from geoetl.datasets.model import ManagedDataset, VersionState
from geoetl.datasets.repository import DatasetRepository
from geoetl.datasets.serving import keys_of, owner_of
from geoetl.datasets.update import MADE
from geoetl.store.artifacts import artifacts
from geoetl.store.database import Database
from geoetl.store.zones import Zone

_WITH_OBJECTS = (VersionState.LIVE, VersionState.KEPT, VersionState.HELD)


@dataclass(frozen=True)
class DatasetNeed:
    """What managed datasets need.

    Args:
        zone: The internal zone.
        folder: Of what is fetched, see `DatasetUpdates.folder`.
    """

    zone: Zone
    folder: Path

    name = "a managed dataset"

    def addresses(self, database: Database) -> Iterator[str]:
        """Return the addresses of what versions need, of what handlers keep for themselves, and of what is being made.

        As long as a dataset is updated, all that is its own is needed.
        """
        repository = DatasetRepository(database)
        for dataset in repository.list():
            keys = self._of_handler(database, dataset, everything=repository.is_updating(dataset))
            for version in repository.versions(dataset.dataset_id, states=_WITH_OBJECTS):
                keys |= keys_of(version, self.zone.name)
            # An update that was interrupted goes on with what it has made.
            for made in (self.folder / dataset.dataset_id).glob(f"*/{MADE}"):
                keys |= MadeItems(made, self.zone).keys()
            yield from (f"{self.zone.name}://{key}" for key in keys)

    def mark(self, database: Database) -> None:
        """Return nothing: what is being made is told by no number."""

    def alone(self, connection: Connection) -> None:
        """Wait for nobody: what an update begins with is needed already, or too new to be removed."""

    def _of_handler(self, database: Database, dataset: ManagedDataset, *, everything: bool) -> set[str]:
        """Return the keys noted with names below that of the dataset; those with its own name, too, where asked."""
        owner, of = owner_of(dataset), artifacts.c.owner
        # Not LIKE, which on SQLite takes capitals for small letters: they are another's.
        conditions = [sa.func.substr(of, 1, len(owner) + 1) == f"{owner}/"]
        if everything:
            conditions += [of == owner, sa.func.substr(of, 1, len(owner) + 1) == f"{owner}_"]
        query = sa.select(artifacts.c.key).where(artifacts.c.zone == self.zone.name, sa.or_(*conditions))
        with database.read() as connection:
            return set(connection.execute(query).scalars())
