"""What a managed dataset's plug-in offers, and what it is given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field

from geoetl.core.findings import Finding
from geoetl.core.request import Request
from geoetl.datasets.model import Definition
from geoetl.datasets.release import Fetched, Prepared, PreparedRaster, PreparedVector, Release
from geoetl.datasets.version import Version
from geoetl.runs.model import Result
from geoetl.store.gate import Gate
from geoetl.store.zones import StoredObject, Zone

if TYPE_CHECKING:
    from geoetl.datasets.upstream import Upstream

ENTRY_POINTS = "geoetl.dataset_handlers"


@dataclass(frozen=True)
class Task:
    """One update, as its handler sees it.

    Attributes:
        definition: What is said of the dataset.
        upstream: Speaks HTTP; has the credentials, and keeps them out of every message.
        gate: Opens files.
        zone: Where the objects of the live version are.
        live: The version that is served; None before the first.
        folder: Where fetched files lie; they are there still when an update goes on after it was interrupted.
        workspace: A folder for what is in between; it is emptied after the update.
        tell: Says how far it is.
        is_made: Tells whether this update has made an item before it was interrupted, by its suffix and the digest of
            what it is made of (`PreparedRaster.content`); then `MadeBefore` stands for it.
    """

    definition: Definition
    upstream: "Upstream"
    gate: Gate
    zone: Zone
    live: Version | None
    folder: Path
    workspace: Path
    tell: Callable[[str], None]
    is_made: Callable[[str, str], bool] = lambda suffix, content: False


class DatasetHandler(Protocol):
    """Knows one source.

    `geoetl.testing.datasets` has the suite that every handler passes; packages offer theirs under the entry point
    ``geoetl.dataset_handlers``.
    """

    #: What `Definition.source_config` holds.
    config: ClassVar[type[Request]]
    #: Ends of the names of the environment variables with credentials, behind `Definition.credential_key` and "_".
    credentials: ClassVar[tuple[str, ...]]
    #: Columns that every release must have, besides those that the definition names.
    required_columns: ClassVar[tuple[str, ...]]

    def check(self, task: Task) -> Release:
        """Ask the source what it offers; cheap, one request for metadata, nothing is downloaded.

        Raises:
            NotFound, Unavailable, ConfigurationError: The source, or a credential, is not what it should be.
        """
        ...

    def fetch(self, task: Task, release: Release) -> Fetched:
        """Put what `release` names into `task.folder`; what is there and whole is not fetched again.

        Raises:
            UnreadableFile, VerificationFailed: What came is not what was announced.
            Unavailable: The source cannot be reached, refuses, or the disk is full.
        """
        ...

    def prepare(self, task: Task, release: Release, fetched: Fetched) -> Iterator[Prepared]:
        """Make features or rasters ready in `task.workspace`, one after the other; each file may be removed after it
        was taken.

        Raises:
            UnreadableFile, FormatNotAllowed, LimitExceeded, EmptyDataset: What was fetched cannot be used.
        """
        ...


class Loaded(Result):
    """An item that was made.

    Attributes:
        item: The STAC item, with portable hrefs.
        data: Its data.
        rows_read: Features as they came; 1 for a raster.
        rows: Features that it has.
        invalid: Features whose geometry had to be repaired, or was none.
        geometry_types: That occur.
        columns: Name and type of each attribute or band.
        bbox: west, south, east, north in degrees.
        findings: What was noticed.
    """

    item: dict[str, Any]
    data: StoredObject
    rows_read: int
    rows: int
    invalid: int = 0
    geometry_types: tuple[str, ...] = ()
    columns: dict[str, str] = Field(default_factory=dict)
    bbox: tuple[float, float, float, float]
    findings: tuple[Finding, ...] = ()


class Loader(Protocol):
    """Makes items of files, as the pipelines of ingest do; `geoetl.platform` gives it."""

    def vector(
        self, prepared: PreparedVector, path: Path, definition: Definition, item: str, notebook: str | None
    ) -> Loaded:
        """Write GeoParquet and tiles of features, and describe them."""
        ...

    def raster(
        self, prepared: PreparedRaster, path: Path, definition: Definition, item: str, notebook: str | None
    ) -> Loaded:
        """Write a COG, and describe it."""
        ...
