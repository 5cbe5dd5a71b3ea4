"""How releases, the audit log and withdrawals read in a terminal, and as JSON."""

import json
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from geoetl.cli.output import utc
from geoetl.core.html import human_bytes

if TYPE_CHECKING:
    from geoetl.publish.audit import Row
    from geoetl.publish.model import Release
    from geoetl.publish.repository import ItemStatus
    from geoetl.publish.withdrawal import Withdrawal

# Of a digest that is shown: enough to tell it from any other, and taken by `approve`.
DIGEST_LETTERS = 12
# Objects that are listed for people; --json has all.
MAX_LISTED = 40


def document(release: "Release", *, url: str | None = None, whole: bool = False) -> dict[str, Any]:
    """Return a release for programs; `whole` with its manifest."""
    shown = release.model_dump(mode="json", exclude={"approval": {"nonce"}})
    if not whole:
        del shown["manifest"]
    size = {"objects": len(release.manifest.objects), "bytes": release.manifest.bytes}
    return {**shown, **size, **({"url": url} if url else {})}


def row(release: "Release") -> tuple[object, ...]:
    """Return id, item, version, state, size and when it changed."""
    name = f"{release.collection}/{release.item}"
    size = human_bytes(release.manifest.bytes)
    return release.id, name, release.version or "", words(release.state), size, utc(release.updated_at)


HEADER = ("id", "item", "version", "state", "size", "changed (UTC)")


def facts(release: "Release", url: str | None) -> list[tuple[str, object]]:
    """Return what there is to know of a release, but for its objects."""
    manifest, approval = release.manifest, release.approval
    told = [
        ("state", f"{words(release.state)} (revision {release.revision})"),
        ("version", release.version or f"{manifest.version} when it is approved"),
        ("clearance", release.clearance),
        ("licence", manifest.license),
        ("attribution", manifest.attribution),
        ("submitted", _by(release.submitted_by, release.submitted_at)),
        ("approved", _by(approval.by, approval.at) if approval else None),
        ("approval ends", utc(approval.expires_at) if approval and approval.used_at is None else None),
        ("not before", utc(release.publish_after)),
        ("not after", utc(release.withdraw_after)),
        ("became public", utc(release.published_at)),
        ("reason", release.reason),
        ("copy failed", release.last_error),
        ("run", release.run_id),
        ("address", url),
        ("digest", release.manifest_digest),
    ]
    return [(name, escape(str(value))) for name, value in told if value]


def objects(release: "Release") -> list[tuple[object, ...]]:
    """Return what becomes public, as it would lie below the path of the release."""
    found: list[tuple[object, ...]] = [
        (one.target, one.role, human_bytes(one.bytes), one.sha256[:DIGEST_LETTERS]) for one in release.manifest.objects
    ]
    return found + [(target, "document", "", "") for target in release.manifest.documents]


def next_step(release: "Release") -> str | None:
    """Return what can be done with a release as it stands."""
    digest = release.manifest_digest[:DIGEST_LETTERS]
    ways = {
        "pending_review": f"geoetl publish approve {release.id} --digest {digest}",
        "changes_requested": f"geoetl publish submit {release.collection} {release.item}",
        "approved": "geoetl worker --once   (copies it, where no worker does)",
        "copy_failed": f"geoetl publish retry {release.id}",
        "published": f"geoetl unpublish {release.collection} {release.item}",
        "withdrawn": f'geoetl publish restore {release.id} --reason "…"   (within 30 days)',
    }
    return ways.get(release.state)


def status_document(status: "ItemStatus", url: str | None) -> dict[str, Any]:
    """Return how an item stands, for programs."""
    named = {"open": status.open, "published": status.published, "latest": status.latest}
    shown = {name: None if one is None else document(one) for name, one in named.items()}
    return {"asset_id": status.asset_id, **shown, "url": url}


def audit_row(row: "Row") -> tuple[object, ...]:
    """Return number, time, action, who, and why."""
    details = json.loads(row.details)
    action = f"{row.action} ({details['wanted']})" if "wanted" in details else row.action
    who = details.get("by", {}).get("name") or row.actor
    return row.number, utc(row.at), words(action), who, row.release_id, details.get("reason") or details.get("detail")


AUDIT_HEADER = ("row", "time (UTC)", "action", "by", "id", "why")


def withdrawal_document(plan: "Withdrawal") -> dict[str, Any]:
    """Return a withdrawal for programs."""
    return {**plan.model_dump(mode="json"), "goes": list(plan.goes)}


def withdrawal_lines(plan: "Withdrawal") -> list[str]:
    """Return what would go, object by object as far as that can be read, what stays, and what depends on it."""
    if plan.is_nothing:
        return ["There is nothing to withdraw."]
    lines = [f"Would go: {escape(line)}" for line in plan.goes]
    for one in plan.objects[:MAX_LISTED]:
        size = "" if one.bytes is None else f"  {human_bytes(one.bytes)}"
        lines.append(f"  {escape(f'{one.zone}://{one.key}')}{size}")
    if len(plan.objects) > MAX_LISTED:
        lines.append(f"  … and {len(plan.objects) - MAX_LISTED:,} more: --json lists all")
    lines += [f"Stays: {escape(line)}" for line in plan.stays]
    return lines + [f"[yellow]Depends on it:[/] {escape(line)}" for line in plan.depends]


def words(text: str) -> str:
    """Return a name in words."""
    return text.replace("_", " ")


def _by(who: str | None, moment: float | None) -> str | None:
    return None if who is None else f"{utc(moment)} by {who}"
