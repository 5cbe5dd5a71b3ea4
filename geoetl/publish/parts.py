"""What publishing is made of, handed in by the platform; what comes in and what goes out share it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.engine import Connection

from geoetl.core.findings import Finding
from geoetl.core.principal import Principal
from geoetl.publish.anchor import Anchor
from geoetl.publish.model import Manifest, Release, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Step
from geoetl.publish.transition import Outcome, move_within
from geoetl.runs.model import RunRecord
from geoetl.runs.repository import RunRepository
from geoetl.store.catalog import Catalog
from geoetl.store.database import Database
from geoetl.store.zones import Zones

if TYPE_CHECKING:
    from geoetl.publish.assembling import Assembler
    from geoetl.publish.delivery import Delivery
    from geoetl.publish.index import PublicIndex

#: The pipelines that bring a release in and take it out.
PUBLISH, WITHDRAW = "publish", "withdraw"


class Submit(Protocol):
    """Queues a run of a pipeline; see `Platform.submit`."""

    def __call__(
        self, pipeline: str, parameters: Mapping[str, object], /, *, key: str, submitted_by: str | None
    ) -> RunRecord:
        """Queue it; the same key is the same run."""


class Looker(Protocol):
    """Opens published things from outside; see `geoetl.publish.probing`."""

    def look(self, manifest: Manifest) -> tuple[Finding, ...]:
        """Return what is wrong with them; errors for what cannot be used."""


@dataclass(frozen=True)
class Parts:
    """What publishing works with.

    Args:
        repository: The releases.
        runs: The runs that copy and withdraw.
        zones: Where objects are.
        catalog: The catalogue of a database.
        assembler: Says what would become public of an item.
        index: Writes the catalogue of the external zone.
        make_delivery: Makes what brings objects there; it may lack a setting, which matters only then.
        make_probe: Makes what opens the published things.
        queue_run: Queues a run.
        needed_keys: Gives the keys of the internal zone that anything else than a release needs.
        refuse_system: Raises where an item, by its collection and id, is one that geoetl itself reads.
        base_url: Public address of the external zone, without a slash at its end.
    """

    repository: ReleaseRepository
    runs: RunRepository
    zones: Zones
    catalog: Callable[[Database], Catalog]
    assembler: "Assembler"
    index: "PublicIndex"
    make_delivery: "Callable[[], Delivery]"
    make_probe: Callable[[], Looker]
    queue_run: Submit
    needed_keys: Callable[[], set[str]]
    refuse_system: Callable[[str, str], None]
    base_url: str

    @property
    def anchor(self) -> Anchor:
        """The head of the audit log as it is kept in the external zone."""
        return Anchor(self.zones.external)

    def transaction(self) -> AbstractContextManager[Connection]:
        """Begin a unit of work."""
        return self.repository.database.begin()

    def within(self, connection: Connection) -> ReleaseRepository:
        """Return the releases as parts of the caller's unit of work."""
        return ReleaseRepository(self.repository.database.within(connection), self.repository.clock)

    def moves(self, connection: Connection, actor: Principal, steps: Sequence[Step]) -> list[Outcome]:
        """Do steps in the caller's unit of work, and return what came of each; a refusal is kept with it."""
        return move_within(connection, actor, [step.checked() for step in steps], self.repository.clock())

    def url(self, release: Release) -> str | None:
        """Return the public address of what a release published; None where it is not public."""
        if release.state is not State.PUBLISHED:
            return None
        return f"{self.base_url}/{release.manifest.path}/{release.item}.json"
