"""What is told of a release as HTML: every text is escaped; links lead to this server, licences, or what is public."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote, urlencode

from dashboards.datasets.comparison import Line
from dashboards.review.checks import Check, noticed
from dashboards.review.comparison import size_text
from dashboards.review.contents import WRITTEN
from dashboards.review.opened import Opened
from dashboards.review.standing import WORDS, title_of, utc, version_text
from geoetl.core.findings import Severity
from geoetl.publish.comparison import Difference, ObjectChange, ValueChange, item_of
from geoetl.publish.model import UNDO_S, Clearance, Release, State

# So much of a digest is shown; the whole of it stands in the title, and in the manifest that can be downloaded.
SHORT_DIGEST = 12
# How things differ: a sign and a word, so that nothing is told by colour alone.
_SIGNS: Mapping[Difference, str] = {
    Difference.REMOVED: "−",
    Difference.CHANGED: "~",
    Difference.ADDED: "+",
    Difference.SAME: "=",
}
_WORDS: Mapping[Difference, str] = {
    Difference.REMOVED: "gone",
    Difference.CHANGED: "changed",
    Difference.ADDED: "new",
    Difference.SAME: "same",
}
CLEARANCES: Mapping[Clearance, str] = {
    Clearance.PUBLIC: "Public: everybody may see it",
    Clearance.RESTRICTED: "Restricted: it is not copied to the public",
    Clearance.UNCLEARED: "Not cleared for anybody",
}
_SEVERITIES: Mapping[Severity, tuple[str, str]] = {
    Severity.INFO: ("✓", "right"),
    Severity.WARNING: ("!", "to be looked at"),
    Severity.ERROR: ("✕", "wrong"),
}
STATE_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; color: var(--ge-text); min-width: 200px; flex: 1 1 auto; }
.state { font-weight: 700; }
.published, .copying, .approved { color: var(--ge-accent); }
.rejected, .copy_failed { color: var(--ge-error); }
.changes_requested { color: var(--ge-focus); }
.muted { color: var(--ge-muted); font-size: 12px; line-height: 16px; }
span.muted { overflow-wrap: anywhere; }
"""
TABLE_CSS = """
:host { overflow-x: auto; }
h3:first-child { margin-top: 0; }
th, td { text-align: left; }
th.number, td.number { text-align: right; }
tr.differs td { font-weight: 700; }
tbody td.told { white-space: normal; min-width: 160px; overflow-wrap: anywhere; }
tbody td.name { white-space: normal; min-width: 120px; overflow-wrap: anywhere; }
@container panes (max-width: 1000px) { .wide { display: none; } tbody td.number { white-space: normal; } }
code { font: 12px/16px ui-monospace, "DejaVu Sans Mono", monospace; }
.sign { display: inline-block; width: 20px; height: 20px; border-radius: 4px; text-align: center; font-weight: 700;
  background: var(--ge-sunken); }
.new, .right { color: var(--ge-accent); }
.gone, .wrong { color: var(--ge-error); }
.changed, .look { color: var(--ge-focus); }
td .what { margin-left: 4px; }
"""


def head_html(one: Opened, submitter: str, address: str) -> str:
    """Return what a release is called, of what it is, whose it is, and where the public finds it."""
    release = one.release
    count = len(one.new_objects)
    parts = [
        f"{release.collection} / {release.item}",
        version_text(release),
        f"{count:,} {'file' if count == 1 else 'files'}, {size_text(one.bytes)}",
    ]
    if release.submitted_at is not None:
        parts.append(f"submitted {utc(release.submitted_at)} by {submitter}")
    return (
        f'<h2 style="font-size:20px;line-height:28px;margin:0;overflow-wrap:anywhere">{escape(title_of(release))}</h2>'
        f'<div class="muted" style="overflow-wrap:anywhere">{escape(" · ".join(part for part in parts if part))}</div>'
        + (_public_html(address) if address else "")
    )


def _public_html(address: str) -> str:
    link = f'<a href="{escape(quote(address, safe=":/"))}" target="_blank" rel="noopener">{escape(address)}</a>'
    return f'<div style="font-size:12px;line-height:16px;overflow-wrap:anywhere">Public at {link}</div>'


def state_html(release: Release, said: str, busy: str) -> str:
    """Return how a release stands, with what was done last."""
    tail = f"{busy[:1].upper()}{busy[1:]} …" if busy else said
    told = f'<div class="muted">{escape(tail)}</div>' if tail else ""
    note = _note(release)
    shown = f' <span class="muted">{escape(note)}</span>' if note else ""
    return f'<div role="status"><b class="state {release.state}">{WORDS[release.state]}</b>{shown}{told}</div>'


def plan_html(one: Opened) -> str:
    """Return what leave is asked for: which files, where to, when, until when."""
    release = one.release
    count = len(one.new_objects)
    path = f"{release.collection}/{release.item}/{version_text(release)}"
    begin = f"not before {utc(release.publish_after)}" if release.publish_after is not None else "at once"
    end = f", and is withdrawn {utc(release.withdraw_after)}" if release.withdraw_after is not None else ""
    return (
        f'<div role="alert">Approve exactly {count:,} {"file" if count == 1 else "files"} '
        f"({size_text(one.bytes)}) of the manifest {digest_html(release.manifest_digest)}? "
        f"They become public below <b>{escape(path)}</b> {escape(begin)}{escape(end)}.</div>"
    )


def digest_html(digest: str) -> str:
    """Return the beginning of a digest, the whole of it when a person points at it."""
    return f'<code title="{escape(digest)}">{escape(digest[:SHORT_DIGEST])}…</code>'


def numbers_html(one: Opened) -> str:
    """Return numbers, old beside new."""
    old = f"Published {version_text(one.before)}" if one.before else "Published"
    new = f"This {version_text(one.release)}".strip()
    rows = "".join(_number_row(line) for line in one.numbers)
    return (
        f'<h3>Numbers</h3><table><thead><tr><th></th><th class="number" scope="col">{escape(old)}</th>'
        f'<th class="number" scope="col">{escape(new)}</th><th class="number" scope="col">Change</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def values_html(changes: Sequence[ValueChange], title: str, what: str) -> str:
    """Return what is said otherwise, or columns that differ; empty where nothing does."""
    if not changes:
        return ""
    rows = "".join(
        f'<tr><td class="name">{escape(_field(one.name))}</td><td>{_sign(one.what)}</td>'
        f'<td class="told">{escape(one.old)}</td><td class="told">{escape(one.new)}</td></tr>'
        for one in changes
    )
    names = (what, "", "Published", "This")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<h3>{title}</h3><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def files_html(one: Opened, limit: int, *, linked: bool) -> str:
    """Return the exact list of what becomes public, file by file, and what of the public version has no successor.

    Args:
        one: The open release.
        limit: Files that are listed.
        linked: Whether the server that has them can be asked.
    """
    found = one.new_objects
    path = f"{one.release.collection}/{one.release.item}/{version_text(one.release)}"
    rows = "".join(_file_row(change, one.release, linked=linked) for change in found[:limit])
    total = (
        f'<tr class="differs"><td>{len(found):,} {"file" if len(found) == 1 else "files"} in all</td><td></td>'
        f'<td class="number">{size_text(one.bytes)}</td><td></td><td class="wide"></td></tr>'
    )
    head = (
        '<th scope="col">File</th><th scope="col"></th><th class="number" scope="col">Size</th>'
        '<th scope="col">SHA-256</th><th class="wide" scope="col">Type</th>'
    )
    download = f' <a href="{manifest_address(one.release)}" download>Download it</a>' if linked else ""
    gone = _gone(one.gone_objects)
    return (
        f"<p>Exactly these become public, below <b>{escape(path)}</b>, and nothing else: approval is bound to their "
        f"list, {digest_html(one.release.manifest_digest)}{download}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}{total}</tbody></table>{gone}"
        '<p class="muted" style="margin-top:12px">The lists of the public catalogue, <code>catalog.json</code> and '
        f"<code>{escape(one.release.collection)}/collection.json</code>, are written anew when it is published.</p>"
    )


def checks_html(one: Opened) -> str:
    """Return what was checked, and what the making of the item noticed."""
    rows = "".join(_check_row(check) for check in one.checks)
    made = "".join(
        f'<tr><td class="name">{escape(stage)}</td><td class="told">{escape(sentence)}</td></tr>'
        for stage, sentence in noticed(one.made_by)
    )
    told = f"<h3>Noticed while it was made</h3><table><tbody>{made}</tbody></table>" if made else ""
    return f"<h3>Checks</h3><table><tbody>{rows}</tbody></table>{told}"


def about_html(one: Opened, *, linked: bool) -> str:
    """Return whose the data are, what they may be used for, where they come from, and when they are public.

    Args:
        one: The open release.
        linked: Whether the other pages can be gone to.
    """
    release = one.release
    manifest, item = release.manifest, item_of(release.manifest)
    properties = item.get("properties", {})
    collection = manifest.collection_document
    facts = [
        ("Title", escape(title_of(release))),
        ("Description", escape(str(properties.get("description") or ""))),
        ("Licence", escape(manifest.license) or '<b class="wrong">none is named</b>'),
        ("Attribution", escape(manifest.attribution)),
        ("Clearance", escape(CLEARANCES[release.clearance])),
        ("Published", _when(release.publish_after, "at once when it is approved", "not before {}")),
        ("Withdrawn", _when(release.withdraw_after, "never by itself", "{}")),
        ("Made by", escape(str(properties.get("processing:lineage") or ""))),
        ("Run", _run(one, linked=linked)),
        ("In the catalogue", _explore(release) if linked else ""),
        ("Collection", escape(str(collection.get("title") or manifest.collection))),
        ("Of the collection", escape(str(collection.get("description") or ""))),
    ]
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts if value)}</dl>"


def file_address(release: Release, target: str) -> str:
    """Return the address of a file of a release, relative to the page."""
    return f"releases/{quote(release.id)}/files/{quote(target)}"


def manifest_address(release: Release) -> str:
    """Return the address of the manifest of a release, relative to the page."""
    return f"releases/{quote(release.id)}/manifest"


# -- within ------------------------------------------------------------------------------------------------------------


def _note(release: Release) -> str:
    if release.state is State.COPY_FAILED:
        return release.last_error or ""
    if release.state is State.APPROVED and release.publish_after is not None:
        return f"It is copied {utc(release.publish_after)}."
    if release.state is State.WITHDRAWN and release.version is not None:
        until = utc(release.updated_at + UNDO_S)
        return f"{release.reason or ''} It can be restored until {until}.".strip()
    if release.state in (State.REJECTED, State.CHANGES_REQUESTED, State.WITHDRAWN, State.PENDING_REVIEW):
        return release.reason or ""
    return ""


def _field(name: str) -> str:
    """Return a field as people call it: what is said of the item itself has no beginning."""
    return name.removeprefix("properties.")


def _number_row(line: Line) -> str:
    return (
        f"<tr{' class=differs' if line.differs else ''}><td>{escape(line.label)}</td>"
        f'<td class="number">{escape(line.old) or "–"}</td><td class="number">{escape(line.new) or "–"}</td>'
        f'<td class="number">{escape(line.change)}</td></tr>'
    )


def _sign(what: Difference) -> str:
    word = _WORDS[what]
    return f'<span class="sign {word}" aria-hidden="true">{_SIGNS[what]}</span><span class="what">{word}</span>'


def _file_row(change: ObjectChange, release: Release, *, linked: bool) -> str:
    one = change.new
    assert one is not None
    name, kind = escape(one.target), escape(one.media_type.partition(";")[0])
    is_here = linked and (one.source.startswith("internal://") or one.source == WRITTEN or _is_public(release))
    shown = f'<a href="{escape(file_address(release, one.target))}" download>{name}</a>' if is_here else name
    return (
        f'<tr><td class="name">{shown}</td><td>{_sign(change.what)}</td>'
        f'<td class="number" title="{one.bytes:,} bytes">{size_text(one.bytes)}</td>'
        f'<td>{digest_html(one.sha256)}</td><td class="told muted wide">{kind}</td></tr>'
    )


def _gone(changes: Sequence[ObjectChange]) -> str:
    if not changes:
        return ""
    names = "".join(f'<li><span class="name">{escape(one.target)}</span></li>' for one in changes[:20])
    more = f'<li class="muted">and {len(changes) - 20:,} more</li>' if len(changes) > 20 else ""
    return (
        "<h3>Only in the published version</h3><p class='muted'>They stay public at the address of that version.</p>"
        f"<ul>{names}{more}</ul>"
    )


def _check_row(check: Check) -> str:
    sign, word = _SEVERITIES[check.severity]
    kind = {"right": "right", "wrong": "wrong"}.get(word, "look")
    return (
        f'<tr><td><span class="sign {kind}" title="{word}" role="img" aria-label="{word}">{sign}</span></td>'
        f'<td class="name"><b>{escape(check.name)}</b></td><td class="told">{escape(check.told)}</td></tr>'
    )


def _when(moment: float | None, otherwise: str, form: str) -> str:
    return escape(otherwise if moment is None else form.format(utc(moment)))


def _run(one: Opened, *, linked: bool) -> str:
    run = one.made_by
    if run is None:
        return '<span class="muted">not known any more</span>'
    if not linked:
        return escape(f"{run.pipeline}, {run.id}")
    links = f'<a href="runs?run={quote(run.id)}">Its run</a>'
    if run.notebook:
        address = f"api/runs/{quote(run.id)}/notebook"
        links += f' · <a href="{address}" target="_blank" rel="noopener">Its executed notebook</a>'
    return links


def _explore(release: Release) -> str:
    address = f"explore?{urlencode({'collection': release.collection, 'item': release.item})}"
    return f'<a href="{escape(address)}">{escape(release.item)} on the map</a>'


def _is_public(release: Release) -> bool:
    return release.state is State.PUBLISHED


def manifest_text(release: Release) -> str:
    """Return the manifest of a release as it is downloaded."""
    return json.dumps(release.manifest.model_dump(mode="json"), ensure_ascii=False, indent=1)
