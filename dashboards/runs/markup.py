"""What is told of a run as HTML; every text is escaped, and links lead to this server or to where a run was watched."""

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from dashboards.runs.listing import subject_text
from dashboards.runs.plan import utc
from geoetl.runs.model import RunRecord

# A value that is longer is folded away.
MAX_VALUE = 300
# Items that are linked; a collection may get thousands.
MAX_ITEMS = 50
_WEB = re.compile(r"https?://[^\s\"'<>]+")
NOTEBOOK_CSS = """
iframe { width: 100%; height: 100%; min-height: 480px; border: 1px solid var(--ge-line); border-radius: 8px;
  background: #fff; box-sizing: border-box; display: block; }
"""
PROBLEM_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; }
.problem { border-left: 4px solid var(--ge-error); background: var(--ge-sunken); border-radius: 8px;
  padding: 12px 16px; }
.problem p { margin: 0 0 4px; overflow-wrap: anywhere; }
.problem b { color: var(--ge-error); }
.problem summary { font-size: 12px; }
.problem details div { overflow-wrap: anywhere; font-size: 12px; }
"""


def problem_html(error: Mapping[str, Any]) -> str:
    """Return what ended a run: the sentence, the next step, and the details behind a click."""
    hint = f"<p>{escape(str(error['hint']))}</p>" if error.get("hint") else ""
    field = f", field {escape(str(error['field']))}" if error.get("field") else ""
    details = f"<details><summary>Details</summary><div>{escape(str(error.get('code')))}{field}</div></details>"
    return f'<div class="problem" role="note"><p><b>{escape(str(error["detail"]))}</b></p>{hint}{details}</div>'


def facts_html(record: RunRecord) -> str:
    """Return when a run was asked for, begun and ended, and by whom."""
    facts = [
        ("Asked for", f"{utc(record.created_at)} by {record.submitted_by or 'nobody known'}"),
        ("Started", utc(record.started_at) if record.started_at else ""),
        ("Ended", utc(record.finished_at) if record.finished_at else ""),
        ("Attempt", f"{record.attempt}, of which {record.failures} failed" if record.failures else str(record.attempt)),
        ("Priority", str(record.priority) if record.priority else ""),
        ("Id", record.id),
    ]
    return _list([(name, escape(value)) for name, value in facts if value])


def parameters_html(parameters: Mapping[str, Any]) -> str:
    """Return the parameters of a run, the empty ones last."""
    given = {name: value for name, value in parameters.items() if value not in ("", None, [], {})}
    rest = [name for name in parameters if name not in given]
    told = _list([(name, _value(value)) for name, value in given.items()])
    empty = f'<p class="muted" style="margin-top:12px">Left empty: {escape(", ".join(rest))}</p>' if rest else ""
    return (told + empty) or '<p class="muted">It takes none.</p>'


def result_html(record: RunRecord, *, linked: bool) -> str:
    """Return what a run made.

    Args:
        record: The run.
        linked: Whether the page *Explore* can be gone to.
    """
    result = record.result
    if result is None:
        return '<p class="muted">It has a result when it is completed.</p>'
    if not isinstance(result, dict):
        return _list([("Result", _value(result))])
    rows = []
    collection, items = result.get("collection"), result.get("items")
    if isinstance(collection, str) and isinstance(items, list) and all(isinstance(item, str) for item in items):
        made = [_item(collection, item, linked=linked) for item in items[:MAX_ITEMS]]
        more = f'<li class="muted">and {len(items) - MAX_ITEMS:,} more</li>' if len(items) > MAX_ITEMS else ""
        rows += [("Collection", escape(collection)), ("Items", f"<ul>{''.join(made)}{more}</ul>")]
        result = {name: value for name, value in result.items() if name not in ("collection", "items")}
    rows += [(_words(name), _value(value)) for name, value in result.items() if value not in ("", None, [], {})]
    return _list(rows)


def notebook_html(record: RunRecord, page: str | None) -> str:
    """Return the executed notebook in a frame in which nothing runs.

    Args:
        record: The run.
        page: The notebook as a page; None where the server has it.
    """
    source = f'src="{notebook_address(record)}"' if page is None else f'srcdoc="{escape(page)}"'
    return (
        f'<iframe sandbox="" title="Executed notebook" loading="lazy" referrerpolicy="same-origin" {source}></iframe>'
    )


def notebook_address(record: RunRecord) -> str:
    """Return the address of the executed notebook, relative to the page."""
    return f"api/runs/{quote(record.id)}/notebook"


def dask_html(record: RunRecord) -> str:
    """Return the way to the Dask dashboard of a run; empty where it has none, or its address is none of the web."""
    link = record.dashboard or ""
    if not _WEB.fullmatch(link):
        return ""
    return (
        f'<a href="{escape(link)}" target="_blank" rel="noopener noreferrer">Watch its tasks on the Dask dashboard</a>'
    )


def head_html(record: RunRecord, title: str) -> str:
    """Return what a run is: its pipeline and what it works on."""
    subject = subject_text(record)
    return (
        f'<h2 style="font-size:20px;line-height:28px;margin:0;overflow-wrap:anywhere">{escape(title)}</h2>'
        f'<div style="overflow-wrap:anywhere">{escape(subject)}</div>'
    )


def _item(collection: str, item: str, *, linked: bool) -> str:
    if not linked:
        return f"<li>{escape(item)}</li>"
    address = f"explore?{urlencode({'collection': collection, 'item': item})}"
    return f'<li><a href="{escape(address)}">{escape(item)}</a></li>'


def _list(rows: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{value}</dd>' for name, value in rows)}</dl>" if rows else ""


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    if len(text) <= MAX_VALUE and "\n" not in text.strip("[]{}\n"):
        return escape(" ".join(text.split()) if not isinstance(value, str) else text)
    return (
        f"<details><summary>{len(text):,} characters</summary>"
        f'<pre style="white-space:pre-wrap;margin:4px 0;font-size:12px">{escape(text[:100_000])}</pre></details>'
    )


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return f"{text[:1].upper()}{text[1:]}"
