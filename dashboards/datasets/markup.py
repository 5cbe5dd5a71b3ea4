"""What is told of a dataset as HTML: every text is escaped; links lead to this server or to where data come from."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from dashboards.datasets.comparison import ColumnChange, Line
from dashboards.datasets.standing import WORDS, Managed, Plan, next_text, utc
from geoetl.core.findings import Finding, Severity
from geoetl.datasets.model import ManagedDataset, UpdateStatus, VersionState
from geoetl.datasets.outcome import UpdateRecord
from geoetl.datasets.version import Version
from geoetl.runs.model import RunRecord, RunState
from geoetl.runs.privacy import paths_in, public

# Items that are linked; a dataset of rasters may have thousands.
MAX_ITEMS = 12
# Lines of a plan; a source may offer thousands of files.
MAX_PLAN = 30
_WEB = re.compile(r"https?://[^\s\"'<>]+")
STATE_WORDS: Mapping[VersionState, str] = {
    VersionState.LIVE: "served",
    VersionState.KEPT: "kept",
    VersionState.HELD: "held",
    VersionState.REJECTED: "rejected",
    VersionState.REMOVED: "removed",
}
_UPDATE_WORDS: Mapping[UpdateStatus, str] = {
    UpdateStatus.STARTED: "Started",
    UpdateStatus.DOWNLOADING: "Downloading",
    UpdateStatus.PROCESSING: "Processing",
    UpdateStatus.HELD: "Held",
    UpdateStatus.COMPLETED: "Completed",
    UpdateStatus.FAILED: "Failed",
    UpdateStatus.SKIPPED: "Nothing new",
}
BOX_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; color: var(--ge-text); }
h3 { font-size: 14px; line-height: 20px; margin: 0 0 4px; }
p { margin: 0 0 4px; overflow-wrap: anywhere; }
ul { margin: 4px 0 0; padding-left: 20px; }
li { overflow-wrap: anywhere; padding: 2px 0; }
.box { border-left: 4px solid var(--ge-accent); background: var(--ge-sunken); border-radius: 8px; padding: 12px 16px; }
.box.held { border-color: var(--ge-focus); }
.box.failed { border-color: var(--ge-error); }
.box.held h3 { color: var(--ge-focus); }
.box.failed h3 { color: var(--ge-error); }
.line { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: baseline; }
.links { display: inline-flex; flex-wrap: wrap; gap: 4px 16px; }
.muted { color: var(--ge-muted); font-size: 12px; line-height: 16px; }
a { color: var(--ge-accent); }
a:focus-visible { outline: 2px solid var(--ge-focus); outline-offset: 2px; border-radius: 2px; }
"""
TABLE_CSS = """
:host { overflow-x: auto; }
h3:first-child { margin-top: 0; }
th { text-align: left; }
td { text-align: left; }
table.numbers th, table.numbers td { text-align: right; }
table.numbers th:first-child, table.numbers td:first-child { text-align: left; }
tr.differs td { font-weight: 700; }
tbody td.told { white-space: normal; min-width: 200px; overflow-wrap: anywhere; }
tbody td.name { white-space: normal; min-width: 88px; overflow-wrap: anywhere; }
b.Failed, b.gone, b.retyped { color: var(--ge-error); }
b.Held { color: var(--ge-focus); }
b.Completed, b.new { color: var(--ge-accent); }
"""


def head_html(one: Managed) -> str:
    """Return what a dataset is called."""
    dataset = one.dataset
    served = f"serves {escape(dataset.source_version)}" if dataset.source_version else "serves nothing yet"
    counted = f", {one.rows:,} rows" if one.rows is not None else ""
    return (
        f'<h2 style="font-size:20px;line-height:28px;margin:0;overflow-wrap:anywhere">{escape(dataset.name)}</h2>'
        f'<div class="muted">{escape(dataset.dataset_id)} · {served}{counted} · {escape(next_text(one))}</div>'
    )


def state_html(one: Managed, said: str, busy: str) -> str:
    """Return how a dataset stands, with what was done last."""
    note = f' <span class="muted">{escape(one.note)}</span>' if one.note else ""
    tail = f"{busy[:1].upper()}{busy[1:]} …" if busy else said
    told = f'<div class="muted">{escape(tail)}</div>' if tail else ""
    return f'<div role="status"><b class="state {one.state}">{WORDS[one.state]}</b>{note}{told}</div>'


def held_html(version: Version) -> str:
    """Return why a version is held, in plain words."""
    base = f"version {version.based_on} stays served" if version.based_on is not None else "nothing is served yet"
    return (
        f'<div class="box held" role="note"><h3>Version {version.number} ({escape(version.source_version)}) is held: '
        f"{base} until somebody decides</h3>{_findings(version.findings, Severity.ERROR)}</div>"
    )


def plan_html(plan: Plan, now: float) -> str:
    """Return what an update would do."""
    checked = plan.checked
    title = "An update would do this" if checked.needs_update else "Nothing new"
    lines = [*checked.plan[:MAX_PLAN]]
    if len(checked.plan) > MAX_PLAN:
        lines.append(f"… and {len(checked.plan) - MAX_PLAN:,} more")
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    asked = f"Asked {_ago(now - plan.at)}; nothing was downloaded."
    return (
        f'<div class="box" role="note"><h3>{title}</h3><p>{escape(checked.reason)}</p>'
        f'{f"<ul>{listed}</ul>" if listed else ""}<div class="muted" style="margin-top:4px">{asked}</div></div>'
    )


def update_html(record: UpdateRecord | None, run: RunRecord | None, *, workers: int, linked: bool) -> str:
    """Return how the latest update stands or ended, with the ways to its run.

    Args:
        record: Its line in the log; None where it has none yet.
        run: Its run; None where it was removed.
        workers: How many are at work.
        linked: Whether the page *Runs* can be gone to.
    """
    links = run_links(run) if linked and run is not None else ""
    if record is None:
        begin = "" if workers else "; none is at work. Begin one with <code>geoetl worker</code>"
        waits = run is None or run.state is RunState.QUEUED
        told = f"<b>The update waits</b> for a worker{begin}." if waits else "<b>The update has begun.</b>"
        return f'<div class="line"><span>{told}</span>{links}</div>'
    when = f'<span class="muted">{utc(record.started_at)}{_took(record)}, {record.update_type}</span>'
    title = f"<b>Latest update: {_UPDATE_WORDS[record.status].lower()}</b> {when}"
    if record.status is not UpdateStatus.FAILED:
        # Why a version is held stands above.
        told = "" if record.status is UpdateStatus.HELD else _outcome(record)
        return f'<div class="line">{title} {links}</div>{f"<p>{escape(told)}</p>" if told else ""}'
    hint = str(run.error.get("hint") or "") if run is not None and run.error else ""
    step = f"<p>{escape(hint)}</p>" if hint else ""
    return (
        f'<div class="box failed" role="note"><div class="line">{title} {links}</div><p>{escape(_outcome(record))}</p>'
        f"{step}</div>"
    )


def run_links(run: RunRecord) -> str:
    """Return the ways to a run and to its executed notebook."""
    links = [f'<a href="runs?run={quote(run.id)}">Its run</a>']
    if run.notebook:
        address = f"api/runs/{quote(run.id)}/notebook"
        links.append(f'<a href="{address}" target="_blank" rel="noopener">Its executed notebook</a>')
    return f'<span class="links">{"".join(links)}</span>'


def about_html(dataset: ManagedDataset, live: Version | None, *, linked: bool) -> str:
    """Return what is said of a dataset: whose it is, where it comes from, where it is.

    Args:
        dataset: The dataset.
        live: The version that is served.
        linked: Whether the other pages can be gone to.
    """
    source = str(public(dataset.source_url, paths_in(dataset.source_url)))
    if dataset.update_schedule:
        schedule = f"{dataset.update_schedule} (cron, UTC){'' if dataset.enabled else ', paused'}"
    else:
        schedule = "none: it is asked by hand"
    credentials = f"{dataset.credential_key}_… in the environment of the workers" if dataset.credential_key else ""
    facts = [
        ("Licence", escape(dataset.license)),
        ("Attribution", escape(dataset.attribution)),
        ("Citation", escape(dataset.citation)),
        ("Terms", _link(dataset.terms_url)),
        ("Source", _link(source)),
        ("Kind of source", escape(f"{dataset.source_type}, read by the handler {dataset.handler}")),
        ("Credentials", escape(credentials)),
        ("Schedule", escape(schedule)),
        ("Last check", utc(dataset.last_checked_at) if dataset.last_checked_at else "never"),
        ("Last update", utc(dataset.last_updated_at) if dataset.last_updated_at else "never"),
        ("Held when", escape(_limits(dataset))),
        ("Kept versions", str(dataset.keep_versions)),
        ("Declared by", escape(f"{dataset.dataset_id}.yaml" if dataset.is_declared else "hand")),
        ("Data", _data(dataset, live, linked=linked)),
    ]
    described = f"<p>{escape(dataset.description)}</p>" if dataset.description else ""
    return f"{described}<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts if value)}</dl>"


def history_html(history: Sequence[UpdateRecord], *, linked: bool) -> str:
    """Return the log of updates as a table."""
    if not history:
        return '<p class="muted">No update yet. Begin one with “Update now”.</p>'
    rows = []
    for one in history:
        word = _UPDATE_WORDS[one.status]
        run = f'<a href="runs?run={quote(one.job_id)}">Run</a>' if linked else ""
        rows.append(
            f'<tr><td>{utc(one.started_at)}</td><td><b class="{word}">{word}</b></td><td>{escape(one.update_type)}</td>'
            f'<td class="name">{escape(one.source_version or "")}</td><td>{_counts(one)}</td>'
            f'<td>{_seconds(one.duration_seconds)}</td><td class="told">{escape(_outcome(one))}</td><td>{run}</td></tr>'
        )
    names = ("Begun", "Status", "Why", "Release", "Rows", "Took", "What came of it", "")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def numbers_html(lines: Sequence[Line], version: Version) -> str:
    """Return numbers, old beside new."""
    rows = "".join(
        f"<tr{' class=differs' if line.differs else ''}><td>{escape(line.label)}</td><td>{escape(line.old) or '–'}</td>"
        f"<td>{escape(line.new) or '–'}</td><td>{escape(line.change)}</td></tr>"
        for line in lines
    )
    old = f"Version {version.based_on}" if version.based_on is not None else "Before"
    head = (
        f'<th></th><th scope="col">{old}</th><th scope="col">Version {version.number}</th><th scope="col">Change</th>'
    )
    return f'<table class="numbers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def columns_html(columns: Sequence[ColumnChange]) -> str:
    """Return the columns that differ; empty where none does."""
    if not columns:
        return ""
    many = len({one.item for one in columns}) > 1
    rows = "".join(
        f'<tr><td class="name">{escape(one.name)}</td><td><b class="{one.what}">{one.what}</b></td>'
        f"<td>{escape(one.old)}</td><td>{escape(one.new)}</td>{f'<td>{escape(one.item)}</td>' if many else ''}</tr>"
        for one in columns
    )
    names = ["Column", "", "Type before", "Type now", *(["Item"] if many else [])]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<h3>Columns</h3><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def findings_html(version: Version) -> str:
    """Return everything that was noticed of a version, the worst first; empty where nothing was."""
    order = (Severity.ERROR, Severity.WARNING, Severity.INFO)
    found = "".join(_findings(version.findings, severity) for severity in order)
    return f"<h3>What was noticed</h3>{found}" if found else ""


def version_title(version: Version) -> str:
    """Return what a version is, in a line of text."""
    beside = f", beside version {version.based_on}" if version.based_on is not None else ", the first"
    return f"Version {version.number} ({version.source_version}){beside}"


def version_row(version: Version, decider: str, actions: Sequence[Mapping[str, str]], *, shown: bool) -> dict[str, Any]:
    """Return a version as the component `VersionList` takes it.

    Args:
        version: The version.
        decider: Name of who decided.
        actions: What can be done with it: type and label.
        shown: Whether its changes are looked at.
    """
    changes = version.changes
    counted = f" · +{changes.added:,} ~{changes.updated:,} −{changes.deleted:,}" if version.based_on is not None else ""
    note = ""
    if version.decided_at is not None:
        by = f" by {decider}" if decider else ""
        note = f"Decided {utc(version.decided_at)}{by}{f': {version.reason}' if version.reason else ''}"
    elif version.state is VersionState.REJECTED and version.reason:
        note = version.reason
    return {
        "key": str(version.number),
        "title": f"Version {version.number} · {version.source_version}",
        "badge": STATE_WORDS[version.state],
        "subtitle": f"{version.profile.rows:,} rows{counted} · made {utc(version.created_at)}",
        "note": note,
        "shown": shown,
        "actions": list(actions),
    }


def _findings(findings: Sequence[Finding], severity: Severity) -> str:
    lines = "".join(
        f"<li>{escape(one.message)}{f' ({escape(one.subject)})' if one.subject else ''}</li>"
        for one in findings
        if one.severity is severity
    )
    return f"<ul>{lines}</ul>" if lines else ""


def _outcome(record: UpdateRecord) -> str:
    told = record.error_message or str(record.details.get("reason") or "")
    if not told and record.status is UpdateStatus.COMPLETED and record.records_total is not None:
        told = f"{record.records_total:,} rows are served: {_counts(record)}."
    return str(public(told, {}))


def _counts(record: UpdateRecord) -> str:
    if record.records_added is None:
        return ""
    return f"+{record.records_added:,} ~{record.records_updated or 0:,} −{record.records_deleted or 0:,}"


def _took(record: UpdateRecord) -> str:
    return f", took {_seconds(record.duration_seconds)}" if record.duration_seconds is not None else ""


def _seconds(count: float | None) -> str:
    if count is None:
        return ""
    if count < 60:
        return f"{count:.1f} s" if count < 10 else f"{count:.0f} s"
    return f"{int(count // 60)} min {int(count % 60)} s" if count < 3600 else f"{count / 3600:.1f} h"


def _ago(seconds: float) -> str:
    if seconds < 60:
        return "just now"
    return f"{int(seconds // 60)} min ago" if seconds < 3600 else f"{int(seconds // 3600)} h ago"


def _limits(dataset: ManagedDataset) -> str:
    limits = dataset.sanity
    parts = [f"more than {limits.max_drop:.0%} of the rows are gone"]
    if limits.max_growth is not None:
        parts.append(f"more than {limits.max_growth:.0%} are new")
    parts += [
        f"an edge of the extent moves by more than {limits.max_shift:.0%}",
        f"fewer than {limits.min_valid:.0%} of the geometries are valid",
        "columns are gone or hold something else",
    ]
    return "; ".join(parts)


def _link(address: str) -> str:
    if not _WEB.fullmatch(address):
        return escape(address)
    return f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>'


def _data(dataset: ManagedDataset, live: Version | None, *, linked: bool) -> str:
    if live is None:
        return escape(f"{dataset.target_schema}/{dataset.target_table_name}, when there is a version")
    parts = []
    for item in live.items[:MAX_ITEMS]:
        collection, name = str(item["collection"]), str(item["id"])
        if not linked:
            parts.append(escape(f"{collection}/{name}"))
            continue
        # Rasters of a collection share a style; features have one of their own.
        layer = f"{collection}:{name}" if "table:columns" in item["properties"] else collection
        explore = escape(f"explore?{urlencode({'collection': collection, 'item': name})}")
        style = escape(f"style?{urlencode({'layer': layer}, safe=':')}")
        parts.append(f'{escape(name)}: <a href="{explore}">on the map</a> · <a href="{style}">its style</a>')
    more = len(live.items) - MAX_ITEMS
    if more > 0:
        parts.append(f"and {more:,} more")
    return "<br>".join(parts)
