"""The audit trail of a release, as HTML: who did what when and why, and whether the log that says so is whole."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from dashboards.review.feed import Verified
from dashboards.review.markup import digest_html
from dashboards.review.standing import utc
from geoetl.publish.audit import Row
from geoetl.publish.transition import REFUSED

_WORDS: Mapping[str, str] = {
    "create": "made a draft",
    "edit": "changed what it is made of",
    "submit": "submitted it",
    "approve": "approved it",
    "request_changes": "asked for changes",
    "reject": "rejected it",
    "revoke": "revoked the approval",
    "expire": "the approval ended unused",
    "begin_copy": "began to copy",
    "finish_copy": "published it",
    "fail_copy": "the copy failed",
    "withdraw": "withdrew it",
    "reopen": "opened it again",
    "restore": "restored it",
    "remove_item": "took the item out of the catalogue",
    "restore_item": "put the item back into the catalogue",
    "purge_item": "what was kept of the item is gone for good",
}
_MARK_CSS_CLASS = {True: "right", False: "wrong"}


def trail_html(rows: Sequence[Row], person: Callable[[str], str]) -> str:
    """Return rows of the log, the newest first.

    Args:
        rows: They.
        person: Gives the name of a principal by id.
    """
    if not rows:
        return '<p class="muted">The log says nothing of it.</p>'
    body = "".join(_row(row, person) for row in rows)
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Row", "When", "Who", "What", "Reason or note", "Manifest")
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def mark_html(verified: Verified | None) -> str:
    """Return whether the log is as it was written: a mark and a sentence."""
    if verified is None:
        return '<p class="muted" role="status">The audit log is being verified …</p>'
    found = verified.found
    if found.fault is None:
        anchored = f", its head anchored at row {verified.anchor.number:,}" if verified.anchor else ""
        told = f"Verified: all {found.rows:,} rows of the audit log are as they were written{anchored}."
        sign = "✓"
    else:
        told = f"The audit log was changed, first at row {found.fault.number:,}: {found.fault.detail}"
        sign = "✕"
    kind = _MARK_CSS_CLASS[found.is_intact]
    note = f'<p class="muted">{escape(verified.told)}</p>' if verified.told else ""
    return (
        f'<p role="status"><span class="sign {kind}" aria-hidden="true">{sign}</span> <b class="{kind}">'
        f"{escape(told)}</b></p>{note}"
    )


def _row(row: Row, person: Callable[[str], str]) -> str:
    details = _details(row.details)
    by = details.get("by")
    role = str(by.get("role") or "") if isinstance(by, dict) else ""
    named = str(by.get("name") or "") if isinstance(by, dict) else ""
    who = person(row.actor)
    who = named if named and who == row.actor else who
    return (
        f'<tr><td class="number">{row.number}</td><td>{utc(row.at)}</td>'
        f'<td class="name" title="{escape(f"{row.actor} {role}".strip())}">{escape(who)}</td>'
        f'<td class="told">{_what(row, details)}</td><td class="told">{escape(_why(row, details))}</td>'
        f"<td>{digest_html(row.manifest_digest)}</td></tr>"
    )


def _what(row: Row, details: Mapping[str, Any]) -> str:
    if row.action == REFUSED:
        wanted = _WORDS.get(str(details.get("wanted")), str(details.get("wanted")))
        return f'<b class="wrong">was refused</b> <span class="muted">wanted: {escape(wanted)}</span>'
    version = details.get("version")
    tail = f" as version {version}" if row.action in ("approve", "restore") and version else ""
    tail += ", and left its files where they are" if details.get("leaves_objects") else ""
    return escape(f"{_WORDS.get(row.action, row.action)}{tail}")


def _why(row: Row, details: Mapping[str, Any]) -> str:
    return str(details.get("detail" if row.action == REFUSED else "reason") or "")


def _details(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # somebody has changed the log; that it was is told above
        return {}
    return found if isinstance(found, dict) else {}
