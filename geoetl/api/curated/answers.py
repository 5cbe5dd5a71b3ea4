"""What is told of managed datasets: no folder of this machine, no secret, times as Unix seconds."""

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, Field

from geoetl.core.findings import Finding
from geoetl.datasets.model import Definition, ManagedDataset, UpdateStatus, UpdateType, VersionState
from geoetl.datasets.outcome import Checked, Forgotten, UpdateRecord
from geoetl.datasets.overview import Overview
from geoetl.datasets.release import Download
from geoetl.datasets.version import Version
from geoetl.runs.privacy import paths_in, public

DATASETS = "/api/curated/datasets"
ONE = f"{DATASETS}/{{dataset_id}}"

DatasetId = Annotated[str, Path(description="Id of the dataset", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
VersionNumber = Annotated[int, Path(description="Number of the version, from 1 on", ge=1, le=2**31 - 1)]


class RecordAnswer(BaseModel):
    """An update: a line of the log."""

    dataset_id: str
    job_id: str = Field(description="Id of its run")
    update_type: UpdateType
    source_version: str | None
    status: UpdateStatus
    records_added: int | None
    records_updated: int | None
    records_deleted: int | None
    records_total: int | None
    started_at: float
    completed_at: float | None
    duration_seconds: float | None
    error_message: str | None = Field(description="Why it failed or was held")
    details: dict[str, Any]


class DatasetAnswer(ManagedDataset):
    """A managed dataset as it stands; times are Unix seconds."""

    next_check_at: int | None = Field(None, description="When its source is asked next; null where it rests")
    held_versions: list[int] = Field([], description="Numbers of those that wait for a decision, the newest first")
    latest_update: RecordAnswer | None = None


class DatasetsAnswer(BaseModel):
    """Managed datasets, by id."""

    datasets: list[DatasetAnswer]


class HistoryAnswer(BaseModel):
    """Updates of a dataset, the newest first."""

    updates: list[RecordAnswer]


class PlanAnswer(BaseModel):
    """What an update would do now; nothing was downloaded."""

    dataset_id: str
    needs_update: bool
    reason: str = Field(description="Why, or why not")
    live_version: int | None = Field(description="Number of the version that is served")
    live_source_version: str | None = Field(description="Release that it was made of")
    source_version: str | None = Field(description="Release that the source offers now")
    downloads: list[Download] = Field(description="What would be fetched")
    bytes: int | None = Field(description="Size of it all; null where the source does not tell")
    plan: list[str] = Field(description="What would be done, line by line")


class ChangeCounts(BaseModel):
    """Rows that differ from the version that it was compared with."""

    added: int
    updated: int
    deleted: int


class VersionAnswer(BaseModel):
    """A version; times are Unix seconds."""

    dataset_id: str
    number: int
    state: VersionState
    source_version: str
    based_on: int | None = Field(description="The version that it was compared with; null for the first")
    rows: int
    changes: ChangeCounts
    findings: list[Finding] = Field(description="What was noticed; errors are why it was held")
    run_id: str | None
    created_at: float
    decided_at: float | None
    decided_by: str | None = Field(description="Id of who decided; null where nobody had to")
    reason: str | None


class ItemAnswer(BaseModel):
    """What an item of a version is like."""

    item: str
    rows: int
    rows_read: int = Field(description="As they came, those without geometry too")
    invalid: int = Field(description="Whose geometry was repaired, or was none")
    repeated_keys: int
    key: str | None = Field(description="Column that names a feature from version to version")
    bbox: tuple[float, float, float, float] = Field(description="West, south, east, north in degrees")
    columns: dict[str, str]
    geometry_types: list[str]
    bytes: int
    sha256: str


class VersionDetail(VersionAnswer):
    """A version with its items."""

    items: list[ItemAnswer]


class VersionsAnswer(BaseModel):
    """Versions of a dataset, the newest first."""

    versions: list[VersionAnswer]


class DeletedAnswer(BaseModel):
    """What goes with a dataset, and what stays."""

    dataset_id: str
    deleted: bool = Field(description="False for a dry run")
    goes: list[str]
    stays: list[str]
    items_gone: list[str]
    items_kept: list[str]


def shown(definition: Definition) -> dict[str, Any]:
    """Return what is said of a dataset as it is told: of a folder only its name."""
    document = definition.definition if isinstance(definition, ManagedDataset) else definition
    plain = document.model_dump(mode="json")
    told: dict[str, Any] = public(plain, paths_in(plain))
    return told


def dataset_answer(one: Overview) -> DatasetAnswer:
    """Return a dataset as it is told."""
    further = one.dataset.model_dump(mode="json", exclude=set(Definition.model_fields))
    return DatasetAnswer(
        **{**further, **shown(one.dataset)},
        next_check_at=one.next_check_at,
        held_versions=list(one.held),
        latest_update=record_answer(one.latest) if one.latest else None,
    )


def record_answer(record: UpdateRecord) -> RecordAnswer:
    """Return an update as it is told."""
    return RecordAnswer(**public(record.model_dump(mode="json"), {}))


def plan_answer(checked: Checked) -> PlanAnswer:
    """Return a plan as it is told."""
    release = checked.release
    downloads = list(release.downloads) if release and checked.needs_update else []
    sizes = [one.bytes for one in downloads]
    document = {
        **checked.model_dump(mode="json", include={"dataset_id", "needs_update", "reason", "plan"}),
        "live_version": checked.based_on,
        "live_source_version": checked.source_version,
        "source_version": release.source_version if release else None,
        "downloads": [one.model_dump(mode="json") for one in downloads],
        "bytes": None if None in sizes else sum(size for size in sizes if size is not None),
    }
    return PlanAnswer(**public(document, paths_in(document)))


def version_answer(version: Version) -> VersionAnswer:
    """Return a version as it is told."""
    return VersionAnswer(**_of_version(version))


def version_detail(version: Version) -> VersionDetail:
    """Return a version with its items as it is told."""
    fields = set(ItemAnswer.model_fields) - {"bytes", "sha256"}
    items = [
        ItemAnswer(**one.model_dump(include=fields), bytes=one.data.bytes, sha256=one.data.sha256)
        for one in version.profile.items
    ]
    return VersionDetail(**_of_version(version), items=items)


def deleted_answer(gone: Forgotten) -> DeletedAnswer:
    """Return what goes and what stays as it is told."""
    return DeletedAnswer(
        dataset_id=gone.dataset_id,
        deleted=gone.is_done,
        goes=list(gone.goes),
        stays=list(gone.stays),
        items_gone=list(gone.items_gone),
        items_kept=list(gone.items_kept),
    )


def _of_version(version: Version) -> dict[str, Any]:
    document = version.model_dump(mode="json", include=set(VersionAnswer.model_fields))
    told: dict[str, Any] = public(document, {})
    return {**told, "rows": version.profile.rows}
