"""What managed datasets are: their definition, releases of their sources, and versions of what was made of them."""

import re
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from geoetl.core import html
from geoetl.core.errors import InvalidParameter
from geoetl.core.findings import Finding
from geoetl.core.identifiers import check_id
from geoetl.core.request import Request
from geoetl.runs.model import Result
from geoetl.runs.schedule import next_slot
from geoetl.store.zones import StoredObject

PIPELINE = "update-dataset"
TARGET_PREFIX = "curated_"
# Daily, at an hour of little use.
DEFAULT_SCHEDULE = "0 2 * * *"
_SLUG = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_ENVIRONMENT_NAME = r"^[A-Z][A-Z0-9_]{0,63}$"


class SourceType(StrEnum):
    """How the upstream gives its data."""

    BULK_DOWNLOAD = "api_bulk_download"
    PAGINATED = "api_paginated"
    MANUAL = "manual"  # somebody puts files into a folder


class UpdateStrategy(StrEnum):
    """What a release is: everything, or what changed since the one before."""

    FULL_REPLACE = "full_replace"
    UPSERT = "upsert"


class UpdateType(StrEnum):
    """Why an update was begun."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    TRIGGERED = "triggered"


class UpdateStatus(StrEnum):
    """Where an update stands in the log."""

    STARTED = "started"
    DOWNLOADING = "downloading"
    PROCESSING = "processing"
    HELD = "held"  # a person has to look at it; the version before keeps serving
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of the update by itself."""
        return self not in (UpdateStatus.STARTED, UpdateStatus.DOWNLOADING, UpdateStatus.PROCESSING)


class VersionState(StrEnum):
    """Where a version stands; one of each dataset is live."""

    LIVE = "live"
    KEPT = "kept"  # was live, and can be again
    HELD = "held"
    REJECTED = "rejected"
    REMOVED = "removed"  # its objects are gone


class SanityLimits(BaseModel):
    """What a release may differ in from the live version before it is held.

    Attributes:
        max_drop: Share of the rows that may be gone, 0 to 1.
        max_growth: Share of the rows that may be new, in the number of rows before; None for any.
        min_valid: Share of the geometries that must be valid as they come, 0 to 1.
        max_shift: How far an edge of the bounding box may move, in widths or heights of the box before; 0 to 1.
        min_rows: Fewer than this are held, the first version too.
        required_columns: Must be there.
        may_repeat_keys: Whether one key may name several features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_drop: float = Field(0.2, ge=0, le=1)
    max_growth: float | None = Field(1.0, ge=0)
    min_valid: float = Field(0.99, ge=0, le=1)
    max_shift: float = Field(0.1, ge=0, le=1)
    min_rows: int = Field(1, ge=0)
    required_columns: tuple[str, ...] = ()
    may_repeat_keys: bool = False


class Definition(Request):
    """What is said of a managed dataset: where it comes from, how it is kept, and whose it is.

    Attributes:
        dataset_id: Its id, at most 64 of a-z, 0-9, - and _.
        name: Title for people.
        description: What it is, in a sentence or two.
        handler: Name of the plug-in that knows the source.
        source_type: How the upstream gives its data.
        source_url: Where from: an http(s) URL without credentials, or a folder under an allowed root.
        source_config: What the handler is told besides; it checks it.
        job_type: The pipeline that updates it.
        update_strategy: Whether a release is everything, or what changed.
        update_schedule: When it is looked for a new release: cron in UTC; None for never by itself.
        credential_key: Beginning of the names of the environment variables with the credentials ("WDPA" for
            ``WDPA_AUTH_TOKEN``); None where none are needed.
        target_schema: Collection of the catalogue that it is in.
        target_table_name: Id of its item, or the beginning of the ids of its items; begins with ``curated_``.
        license: SPDX identifier, or "other"; required.
        attribution: Whom to name beside a map of it; required.
        citation: How to cite it.
        terms_url: Where its terms stand.
        sanity: What a release may differ in before it is held.
        keep_versions: So many former versions stay, to go back to.
        enabled: Whether the schedule looks for releases.
    """

    dataset_id: str = Field(pattern=_SLUG)
    name: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=4000)
    handler: str = Field(min_length=1, max_length=64)
    source_type: SourceType
    source_url: str = Field(min_length=1, max_length=2000)
    source_config: dict[str, Any] = Field(default_factory=dict)
    job_type: str = PIPELINE
    update_strategy: UpdateStrategy = UpdateStrategy.FULL_REPLACE
    update_schedule: str | None = DEFAULT_SCHEDULE
    credential_key: Annotated[str, Field(pattern=_ENVIRONMENT_NAME)] | None = None
    target_schema: str = "curated"
    target_table_name: str = Field(max_length=100)
    license: str = Field(pattern=r"^[A-Za-z0-9.+-]+$", max_length=100)
    attribution: str = Field(min_length=1, max_length=1000)
    citation: str = Field("", max_length=2000)
    terms_url: str = Field("", max_length=2000, pattern=r"^(https?://\S+)?$")
    sanity: SanityLimits = SanityLimits()
    keep_versions: int = Field(3, ge=1, le=100)
    enabled: bool = True

    @field_validator("target_schema")
    @classmethod
    def _is_collection_id(cls, value: str) -> str:
        return check_id(value, "target_schema")

    @field_validator("target_table_name")
    @classmethod
    def _is_curated(cls, value: str) -> str:
        if not value.startswith(TARGET_PREFIX) or value == TARGET_PREFIX:
            raise InvalidParameter(
                f"'{value[:60]}' does not begin with '{TARGET_PREFIX}'.",
                hint=f"Name it {TARGET_PREFIX}NAME, so that nobody takes it for ordinary data.",
                field="target_table_name",
            )
        return check_id(value, "target_table_name")

    @field_validator("update_schedule")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                next_slot(value, 0)
            except InvalidParameter as error:
                raise InvalidParameter(error.detail, hint=error.hint, field="update_schedule") from None
        return value

    @field_validator("source_url")
    @classmethod
    def _has_no_credentials(cls, value: str) -> str:
        parts = urlsplit(value)
        told = re.search(r"(?i)(^|[&;])[^=&]*(token|secret|password|api_?key|auth)[^=&]*=", parts.query)
        if parts.scheme in ("http", "https") and (parts.username or parts.password or told):
            raise InvalidParameter(
                "The address of the source has a credential in it.",
                hint="Set it as an environment variable and name its beginning in credential_key.",
                field="source_url",
            )
        return value

    @property
    def subject(self) -> str:
        """What its runs have in common: they follow each other."""
        return f"{self.job_type}/{self.dataset_id}"


class ManagedDataset(Definition):
    """A managed dataset as it stands.

    Attributes:
        is_declared: Whether a file in ``catalogs/managed`` says it; what the file says wins.
        live_version: Number of the version that is served; None before the first.
        source_version: Of the release that is served.
        last_checked_at: Unix time when the source was last asked.
        last_updated_at: Unix time when the live version became it.
        last_job_id: The run that made it so.
    """

    is_declared: bool = False
    live_version: int | None = None
    source_version: str | None = None
    last_checked_at: float | None = None
    last_updated_at: float | None = None
    last_job_id: str | None = None

    @property
    def definition(self) -> Definition:
        """What is said of it."""
        return Definition(**{name: getattr(self, name) for name in Definition.model_fields})


class UpdateRequest(Request):
    """What the pipeline `update-dataset` is asked for.

    Attributes:
        dataset_id: Which dataset.
        update_type: Why.
        force_update: Whether to fetch and compare although the source seems unchanged.
        dry_run: Whether to say only what would be done.
    """

    dataset_id: str = Field(pattern=_SLUG)
    update_type: UpdateType = UpdateType.MANUAL
    force_update: bool = False
    dry_run: bool = False


# -- what handlers tell ------------------------------------------------------------------------------------------------


class Download(Result):
    """Something that has to be fetched.

    Attributes:
        name: Of the file it becomes.
        url: Where from; without credentials.
        bytes: Its size, where the source tells.
        etag: What the source recognises it by.
    """

    name: str
    url: str
    bytes: int | None = None
    etag: str | None = None


class Release(Result):
    """What the upstream offers now.

    Attributes:
        source_version: As people name it: "5.1.1", "Sep2026", a day.
        stamp: What tells it from every other; the same stamp is the same release.
        downloads: What would be fetched.
        about: What else is known, for the plan ("12 tiles of 3 are new").
        is_news: False where the handler knows that nothing changed although the stamp did.
    """

    source_version: str = Field(min_length=1, max_length=200)
    stamp: str = Field(min_length=1, max_length=2000)
    downloads: tuple[Download, ...] = ()
    about: tuple[str, ...] = ()
    is_news: bool = True


class FetchedFile(Result):
    """A file that was fetched, checked and digested."""

    name: str
    bytes: int
    sha256: str


class PreparedVector(Result):
    """Features that a handler made ready.

    Attributes:
        suffix: Ends the id of the item ("_points"); empty for the only one.
        file: Name of the GeoParquet in the workspace, in the columns that users get.
        title: Title of the item.
        description: What the features are.
        key: Column that names a feature from version to version.
        temporal_property: Column with their time, or two as BEGIN/END.
        valid_at: What time they describe (ISO 8601).
        keywords: Words to find them by.
        style: CartoSym-JSON to draw them by; None takes one from the data.
        findings: What the handler noticed: rows left out, values that are none; an error holds the version.
    """

    suffix: str = ""
    file: str
    title: str
    description: str = ""
    key: str
    temporal_property: str = ""
    valid_at: str = ""
    keywords: tuple[str, ...] = ()
    style: dict[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


class PreparedRaster(Result):
    """A raster that a handler made ready.

    Attributes:
        suffix: Ends the id of the item ("_n05e005").
        file: Name of the GeoTIFF in the workspace.
        title: Title of the item.
        description: What it shows.
        valid_at: What time it describes (ISO 8601).
        properties: Further properties of the item.
        style: CartoSym-JSON to draw it by; None takes one from the data.
        content: Digest of what it is made of; an update that goes on after it was interrupted makes it once
            (`Task.is_made`).
        findings: What the handler noticed: rows left out, values that are none; an error holds the version.
    """

    suffix: str
    file: str
    title: str
    description: str = ""
    valid_at: str = ""
    properties: dict[str, Any] = Field(default_factory=dict)
    style: dict[str, Any] | None = None
    content: str = ""
    findings: tuple[Finding, ...] = ()


class Unchanged(Result):
    """An item of the live version that stays as it is.

    Attributes:
        suffix: Ends its id.
    """

    suffix: str


class MadeBefore(Result):
    """An item that this update has made already, before it was interrupted.

    Attributes:
        suffix: Ends its id.
    """

    suffix: str


Prepared = PreparedVector | PreparedRaster | Unchanged | MadeBefore

# -- what the stages return --------------------------------------------------------------------------------------------


class Checked(Result):
    """What the first stage found.

    Attributes:
        dataset_id: Which dataset.
        needs_update: Whether there is something to fetch.
        reason: Why, or why not.
        release: What the upstream offers.
        based_on: Number of the live version; None before the first.
        source_version: Of the live version.
        plan: What an update would do, line by line.
        dry_run: Whether it ends here.
    """

    dataset_id: str
    needs_update: bool
    reason: str
    release: Release | None = None
    based_on: int | None = None
    source_version: str | None = None
    plan: tuple[str, ...] = ()
    dry_run: bool = False

    def _repr_html_(self) -> str:
        said = "a dry run" if self.dry_run else ""
        steps = [(f"step {number}", step) for number, step in enumerate(self.plan, start=1)]
        offered = self.release.source_version if self.release else None
        known = [("the source has", offered), ("is served", self.source_version), ("reason", self.reason)]
        return html.heading(f"Plan of {self.dataset_id}", said) + html.facts([*known, *steps])


class Fetched(Result):
    """What was fetched.

    Attributes:
        files: In the folder of the release.
        bytes: Their size together.
        memo: What the handler wants to know next time; kept with the version.
    """

    files: tuple[FetchedFile, ...] = ()
    bytes: int = 0
    memo: dict[str, Any] = Field(default_factory=dict)


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


class UpdateOutcome(Result):
    """How an update ended.

    Attributes:
        dataset_id: Which dataset.
        status: Completed, held or skipped.
        reason: In a sentence.
        number: The version that was made.
        source_version: Of the release.
        collection: Where its items are.
        items: Ids of the items that are served now.
        records_added, records_updated, records_deleted, records_total: Rows.
        findings: What was noticed.
    """

    dataset_id: str
    status: UpdateStatus
    reason: str
    number: int | None = None
    source_version: str | None = None
    collection: str = ""
    items: tuple[str, ...] = ()
    records_added: int = 0
    records_updated: int = 0
    records_deleted: int = 0
    records_total: int = 0
    findings: tuple[Finding, ...] = ()


class Forgotten(Result):
    """What goes with a dataset that is deleted, and what stays.

    Attributes:
        is_done: False for a dry run.
        versions: How many go, with the log.
        objects: So many of its files go.
        collection: Where its items are.
        items_gone, items_kept: Ids of the items that were served.
        kept_by: Another dataset that keeps the collection, so that nothing else may change items in it.
    """

    dataset_id: str
    is_done: bool
    versions: int
    objects: int
    collection: str
    items_gone: tuple[str, ...] = ()
    items_kept: tuple[str, ...] = ()
    kept_by: str | None = None

    @property
    def goes(self) -> tuple[str, ...]:
        """What goes, line by line."""
        lines = [f"the dataset '{self.dataset_id}' with {self.versions} versions and its log"]
        if self.items_gone:
            lines.append(f"{_counted(self.items_gone)} of the collection '{self.collection}'")
        return (*lines, f"{self.objects} files") if self.objects else tuple(lines)

    @property
    def stays(self) -> tuple[str, ...]:
        """What stays, line by line."""
        if not self.items_kept:
            return ()
        told = f"{_counted(self.items_kept)} of the collection '{self.collection}', with their files"
        closed = f"; as long as '{self.kept_by}' keeps the collection they cannot be changed" if self.kept_by else ""
        return (told + closed,)


def _counted(items: tuple[str, ...]) -> str:
    return f"the item {items[0]}" if len(items) == 1 else f"{len(items)} items ({items[0]}, …)"


# -- what the tables hold ----------------------------------------------------------------------------------------------


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


class UpdateRecord(Result):
    """A line of the update log; see `curated_update_log`.

    Attributes:
        job_id: The run.
        duration_seconds: From its beginning to its end.
        error_message: Why it failed or was held.
        details: What else was told: the plan, findings.
    """

    dataset_id: str
    job_id: str
    update_type: UpdateType
    source_version: str | None
    status: UpdateStatus
    records_added: int | None = None
    records_updated: int | None = None
    records_deleted: int | None = None
    records_total: int | None = None
    started_at: float
    completed_at: float | None = None
    duration_seconds: float | None = None
    error_message: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
