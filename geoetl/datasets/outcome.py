"""How an update goes: what its stages found, how it ended, and its line in the log."""

from typing import Any

from pydantic import Field

from geoetl.core import html
from geoetl.core.findings import Finding
from geoetl.datasets.model import UpdateStatus, UpdateType
from geoetl.datasets.release import Release
from geoetl.runs.model import Result


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
