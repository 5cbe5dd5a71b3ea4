"""What was made of a release: what its items are like, what differs from the version before, and how it stands."""

from typing import Any

from pydantic import Field

from geoetl.core.findings import Finding
from geoetl.datasets.model import VersionState
from geoetl.datasets.release import Release
from geoetl.runs.model import Result
from geoetl.store.zones import StoredObject


class ItemProfile(Result):
    """What one item of a version is like, for comparison with the next.

    Attributes:
        item: Its id.
        rows: Features; 1 for a raster.
        rows_read: Features as they came, those without geometry too.
        invalid: Features whose geometry had to be repaired, or was none.
        repeated_keys: Features whose key an earlier one has.
        bbox: west, south, east, north in degrees.
        columns: Name and type of each attribute or band.
        geometry_types: That occur.
        index: Key and digest of each row (Parquet); None for a raster.
        data: The data itself.
        key: Column that names a feature.
    """

    item: str
    rows: int
    rows_read: int
    invalid: int = 0
    repeated_keys: int = 0
    bbox: tuple[float, float, float, float]
    columns: dict[str, str]
    geometry_types: tuple[str, ...] = ()
    index: StoredObject | None = None
    data: StoredObject
    key: str | None = None

    @property
    def keys(self) -> set[str]:
        """Keys of the objects that it tells of."""
        return {self.data.key, *([self.index.key] if self.index else [])}


class Profile(Result):
    """What a version is like: its items."""

    items: tuple[ItemProfile, ...] = ()

    @property
    def rows(self) -> int:
        """Features, or rasters, of all items."""
        return sum(item.rows for item in self.items)

    def item(self, item_id: str) -> ItemProfile | None:
        """Return that of one item."""
        return next((item for item in self.items if item.item == item_id), None)


class Changes(Result):
    """What differs from the version before.

    Attributes:
        added, updated, deleted: Rows.
        features: The features that differ (GeoParquet, with the columns ``change`` and ``item``); None where there are
            none, or no features.
        listed: How many of them are in `features`; it has an end, the counts have none.
    """

    added: int = 0
    updated: int = 0
    deleted: int = 0
    features: StoredObject | None = None
    listed: int = 0

    @property
    def counts(self) -> str:
        """How many rows differ, in words."""
        noun = "row" if self.added == 1 else "rows"
        return f"{self.added:,} {noun} added, {self.updated:,} updated, {self.deleted:,} deleted"

    @property
    def is_any(self) -> bool:
        """Whether any row differs."""
        return bool(self.added or self.updated or self.deleted)


class Candidate(Result):
    """A version that was made, beside the live one.

    Attributes:
        dataset_id: Which dataset.
        release: What it was made of; None where nothing was to be made.
        based_on: Number of the version that it was compared with.
        items: Its STAC items, with portable hrefs.
        styles: CartoSym-JSON by layer id, that the handler proposes.
        profile: What it is like.
        changes: What differs.
        findings: What was noticed; an error holds it.
        memo: What the handler wants to know next time.
        is_same: Whether it has the same content as the version that it was compared with.
    """

    dataset_id: str
    release: Release | None = None
    based_on: int | None = None
    items: tuple[dict[str, Any], ...] = ()
    styles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    profile: Profile = Profile()
    changes: Changes = Changes()
    findings: tuple[Finding, ...] = ()
    memo: dict[str, Any] = Field(default_factory=dict)
    is_same: bool = False


class Version(Result):
    """A version of a dataset.

    Attributes:
        dataset_id: Of which dataset.
        number: Counted from 1.
        state: Where it stands.
        source_version: Of the release.
        stamp: What the release is recognised by.
        based_on: Number of the version that it was compared with.
        items: Its STAC items, with portable hrefs.
        styles: CartoSym-JSON by layer id, that the handler proposes.
        profile: What it is like.
        changes: What differs from `based_on`.
        findings: What was noticed; the errors are why it was held.
        memo: What the handler remembers.
        run_id: The run that made it.
        created_at: Unix time.
        decided_at, decided_by, reason: Who made it live, put it back or rejected it, and why; None for an update that
            needed nobody.
    """

    dataset_id: str
    number: int
    state: VersionState
    source_version: str
    stamp: str
    based_on: int | None
    items: tuple[dict[str, Any], ...]
    styles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    profile: Profile
    changes: Changes
    findings: tuple[Finding, ...]
    memo: dict[str, Any]
    run_id: str | None
    created_at: float
    decided_at: float | None = None
    decided_by: str | None = None
    reason: str | None = None
