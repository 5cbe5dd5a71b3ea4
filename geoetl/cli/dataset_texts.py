"""How managed datasets, their updates and versions read in a terminal of 80 columns, and as JSON."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from geoetl.cli.output import utc

if TYPE_CHECKING:
    from geoetl.datasets.outcome import UpdateRecord
    from geoetl.datasets.overview import Overview
    from geoetl.datasets.update import DatasetUpdates
    from geoetl.datasets.version import Version

# To the minute: the seconds of a schedule say nothing, and cost columns.
_MINUTE = len("2026-01-01 00:00")
_OF_VERSION = {"items", "styles", "memo", "profile"}


def document(one: "Overview") -> dict[str, Any]:
    """Return how a dataset stands, for programs."""
    return {
        **one.dataset.model_dump(mode="json"),
        "next_check_at": one.next_check_at,
        "held_versions": list(one.held),
        "latest_update": one.latest.model_dump(mode="json") if one.latest else None,
    }


def version_document(version: "Version") -> dict[str, Any]:
    """Return a version without its items, for programs."""
    return {**version.model_dump(mode="json", exclude=_OF_VERSION), "rows": version.profile.rows}


def row(one: "Overview") -> tuple[object, ...]:
    """Return id, release, when it was made live, when the source is asked next, and how it stands."""
    dataset = one.dataset
    return dataset.dataset_id, dataset.source_version, minute(dataset.last_updated_at), _next(one), state(one)


def state(one: "Overview") -> str:
    """Return in a few words how a dataset stands."""
    if one.held:
        return f"version {one.held[0]} held"
    latest = one.latest.status if one.latest else None
    if latest == "failed":
        return "failed"
    if latest and not latest.is_over:
        return str(latest)
    return "no data yet" if one.dataset.live_version is None else "current"


def next_steps(one: "Overview") -> list[str]:
    """Return what a person should do about a dataset, if anything."""
    dataset_id = one.dataset.dataset_id
    if one.held:
        return [how_to_decide(dataset_id, one.held[0])]
    if one.latest and one.latest.status == "failed":
        return [f"[yellow]{dataset_id} failed:[/] {escape(one.latest.error_message or 'see its run')}"]
    return []


def how_to_decide(dataset_id: str, number: int) -> str:
    """Return what to do about a held version; markup."""
    return (
        f"[yellow]Version {number} of {dataset_id} is held[/] until somebody decides:\n"
        f"  geoetl datasets changes {dataset_id} {number}\n"
        f"  geoetl datasets accept {dataset_id} {number}\n"
        f'  geoetl datasets reject {dataset_id} {number} --reason "…"'
    )


def facts(one: "Overview", updates: "DatasetUpdates") -> list[tuple[str, object]]:
    """Return what is known of a dataset, line by line."""
    dataset = one.dataset
    live = f"version {dataset.live_version} ({dataset.source_version})" if dataset.live_version else "nothing yet"
    known = [
        ("serves", f"{live}, since {minute(dataset.last_updated_at)}" if dataset.live_version else live),
        ("state", state(one)),
        ("asked last", minute(dataset.last_checked_at) or "never"),
        ("asked next", f"{_next(one)}{f' ({dataset.update_schedule})' if dataset.update_schedule else ''}"),
        ("source", dataset.source_url),
        ("handler", dataset.handler),
        ("credentials", _credentials(one, updates)),
        ("is in", f"{dataset.target_schema}/{dataset.target_table_name}"),
        ("licence", dataset.license),
        ("attribution", dataset.attribution),
        ("citation", dataset.citation),
        ("terms", dataset.terms_url),
        ("declared by", f"{dataset.dataset_id}.yaml" if dataset.is_declared else "hand"),
    ]
    return [(name, value) for name, value in known if value]


def update_row(record: "UpdateRecord") -> tuple[object, ...]:
    """Return when, why, of which release, the status, and what came of an update."""
    told = record.error_message or str(record.details.get("reason", ""))
    if not told and record.records_total is not None:
        told = f"+{record.records_added} ~{record.records_updated} -{record.records_deleted} of {record.records_total}"
    return minute(record.started_at), record.update_type, record.source_version, record.status, told


def version_row(version: "Version") -> tuple[object, ...]:
    """Return number, release, state, rows, rows added, updated and deleted, when it was made, and why it stands so."""
    changes = version.changes
    errors = [finding.message for finding in version.findings if finding.severity == "error"]
    why = version.reason or ("" if version.state != "held" else " ".join(errors))
    counts = (version.profile.rows, changes.added, changes.updated, changes.deleted)
    return version.number, version.source_version, version.state, *counts, minute(version.created_at), why


def counted(version: "Version") -> str:
    """Return what a version changed, in a sentence."""
    changes = version.changes
    if version.based_on is None:
        return f"Version {version.number} is the first, with {version.profile.rows:,} rows."
    if not changes.is_any:
        return f"Version {version.number} has the rows of version {version.based_on}."
    told = changes.counts
    kept = "" if changes.listed else " Which ones is not known any more."
    return f"Version {version.number} against version {version.based_on}: {told}.{kept}"


def minute(moment: float | None) -> str:
    """Return Unix seconds as ISO 8601 text in UTC, to the minute."""
    return utc(moment)[:_MINUTE]


def _next(one: "Overview") -> str:
    if one.next_check_at is not None:
        return minute(one.next_check_at)
    return "by hand" if one.dataset.enabled else "rests"


def _credentials(one: "Overview", updates: "DatasetUpdates") -> str:
    key = one.dataset.credential_key
    if key is None or one.dataset.handler not in updates.handlers:
        return ""
    names = [f"{key}_{ending}" for ending in updates.handlers[one.dataset.handler].credentials]
    return ", ".join(f"{name} ({'set' if updates.environment.get(name) else 'not set here'})" for name in names)
