"""What managed datasets are: their definition, releases of their sources, and versions of what was made of them."""

import re
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import check_id
from geoetl.core.request import Request
from geoetl.runs.schedule import next_slot

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
