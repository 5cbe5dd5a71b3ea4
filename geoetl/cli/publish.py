"""``geoetl publish`` and ``geoetl unpublish``: what becomes public, who decides on it, and how it is taken back."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from geoetl.cli import publish_texts as texts
from geoetl.cli.acting import Token, acting
from geoetl.cli.audit import audit
from geoetl.cli.output import Json, err, out, print_json, print_table, user_name

if TYPE_CHECKING:
    from geoetl.core.principal import Principal
    from geoetl.platform import Platform
    from geoetl.publish.model import Clearance as Cleared
    from geoetl.publish.model import Release, State

app = typer.Typer(
    help="Publish what somebody else than its author approves: submit, review, copy, restore.", no_args_is_help=True
)
app.add_typer(audit, name="audit")

Collection = Annotated[str, typer.Argument(metavar="COLLECTION", help="Id of the collection.")]
ItemId = Annotated[str, typer.Argument(metavar="ITEM", help="Id of the item.")]
ReleaseId = Annotated[str, typer.Argument(metavar="RELEASE", help="Id of the release; `geoetl publish list` has it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the audit log.")]
Note = Annotated[str | None, typer.Option("--note", help="For whoever looks at it.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
Clearance = Annotated[str | None, typer.Option("--clearance", help="Who may see it: public or restricted.")]


@app.command()
def submit(
    collection: Collection,
    item: ItemId,
    clearance: Clearance = None,
    publish_after: Annotated[
        str | None, typer.Option(help="Not public before this time: 2026-12-01T09:00:00Z (UTC).")
    ] = None,
    withdraw_after: Annotated[str | None, typer.Option(help="Withdrawn by itself at this time.")] = None,
    note: Note = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Submit an item for review, exactly as it is now.

    Example: geoetl publish submit demo-rasters landsat --note "As agreed"
    """
    from geoetl.core.principal import Role
    from geoetl.publish.model import Clearance as Cleared

    platform = _platform()
    release = platform.publish.submit(
        acting(platform, token, Role.EDITOR),
        collection,
        item,
        clearance=_cleared(clearance) or Cleared.PUBLIC,
        publish_after=_moment(publish_after, "publish_after"),
        withdraw_after=_moment(withdraw_after, "withdraw_after"),
        note=note,
    )
    _tell(platform, release, "waits for review", as_json=as_json)


@app.command("list")
def list_releases(
    state: Annotated[list[str] | None, typer.Option(help="Only those in this state; may be repeated.")] = None,
    collection: Annotated[str | None, typer.Option(help="Only those of this collection.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List releases, the newest first.

    Example: geoetl publish list --state published
    """
    states = [_state(one) for one in state or ()]
    page = _platform().publish.repository.list(*states, collection=collection, limit=limit, newest_first=True)
    if as_json:
        print_json([texts.document(one) for one in page.releases])
    elif page.releases:
        print_table("Releases", texts.HEADER, map(texts.row, page.releases), numbers=["version", "size"])
    else:
        out.print("No releases. Submit an item: geoetl publish submit COLLECTION ITEM")


@app.command()
def queue(limit: Limit = 100, as_json: Json = False) -> None:
    """List what waits for review, the longest first.

    Example: geoetl publish queue
    """
    from geoetl.core.html import human_seconds

    found = _platform().publish.queue(limit=limit)
    if as_json:
        print_json([{**texts.document(one.release), "age_s": one.age_s} for one in found])
        return
    if not found:
        out.print("Nothing waits for review.")
        return
    rows = [(*texts.row(one.release)[:2], *texts.row(one.release)[4:5], human_seconds(one.age_s)) for one in found]
    print_table("Waiting for review", ["id", "item", "size", "since"], rows, numbers=["size"])
    out.print(f"Look at the first: geoetl publish show {found[0].release.id}")


@app.command()
def show(release_id: ReleaseId, as_json: Json = False) -> None:
    """Show a release: how it stands, and exactly what becomes public.

    Example: geoetl publish show 0698a4c27c3d7b5a
    """
    publish = _platform().publish
    release = publish.get(release_id)
    url = publish.url(release)
    if as_json:
        print_json(texts.document(release, url=url, whole=True))
        return
    out.print(f"[bold]{escape(f'{release.collection}/{release.item}')}[/] (release {release.id})")
    print_table("", ["", ""], texts.facts(release, url))
    found = texts.objects(release)
    print_table("Becomes public", ["object", "as", "size", "sha256"], found[: texts.MAX_LISTED], numbers=["size"])
    if len(found) > texts.MAX_LISTED:
        out.print(f"… and {len(found) - texts.MAX_LISTED:,} more: geoetl publish show {release.id} --json")
    _tell_next(release)


@app.command()
def approve(
    release_id: ReleaseId,
    digest: Annotated[
        str, typer.Option("--digest", help="Of the manifest that you have seen, or its first 12 digits.")
    ],
    clearance: Clearance = None,
    note: Note = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Approve exactly what you have seen; whoever submitted it may not. A worker copies it then.

    Example: geoetl publish approve 0698a4c27c3d7b5a --digest 3f2a9c01d4e5
    """
    platform = _platform()
    release = platform.publish.get(release_id)
    release = platform.publish.approve(
        _approver(platform, token),
        release_id,
        revision=release.revision,
        manifest_digest=_whole(digest, release),
        clearance=_cleared(clearance),
        note=note,
    )
    _tell(platform, release, "is approved", as_json=as_json)


@app.command()
def reject(release_id: ReleaseId, reason: Reason, token: Token = None, as_json: Json = False) -> None:
    """Turn a release down for good.

    Example: geoetl publish reject 0698a4c27c3d7b5a --reason "The licence does not allow it"
    """
    platform = _platform()
    seen = platform.publish.get(release_id)
    actor = _approver(platform, token)
    release = platform.publish.reject(actor, release_id, revision=seen.revision, reason=reason)
    _tell(platform, release, "is rejected", as_json=as_json)


@app.command("request-changes")
def request_changes(release_id: ReleaseId, reason: Reason, token: Token = None, as_json: Json = False) -> None:
    """Send a release back to who submitted it.

    Example: geoetl publish request-changes 0698a4c27c3d7b5a --reason "The title is missing"
    """
    platform = _platform()
    seen = platform.publish.get(release_id)
    actor = _approver(platform, token)
    release = platform.publish.request_changes(actor, release_id, revision=seen.revision, reason=reason)
    _tell(platform, release, "needs changes", as_json=as_json)


@app.command()
def revoke(release_id: ReleaseId, reason: Reason, token: Token = None, as_json: Json = False) -> None:
    """Take back an approval before its release is public.

    Example: geoetl publish revoke 0698a4c27c3d7b5a --reason "The embargo was extended"
    """
    platform = _platform()
    seen = platform.publish.get(release_id)
    actor = _approver(platform, token)
    release = platform.publish.revoke(actor, release_id, revision=seen.revision, reason=reason)
    _tell(platform, release, "is revoked", as_json=as_json)


@app.command()
def restore(
    release_id: Annotated[
        str, typer.Argument(metavar="RELEASE", help="Id of the release; or COLLECTION/ITEM of an item without one.")
    ],
    reason: Reason,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Undo a withdrawal within 30 days: the same version becomes public again, and is back in the catalogue.

    Example: geoetl publish restore 0698a4c27c3d7b5a --reason "It was withdrawn by mistake"
    """
    platform = _platform()
    actor = _approver(platform, token)
    if "/" in release_id:
        collection, _, item = release_id.partition("/")
        platform.publish.restore_item(actor, collection, item, reason=reason)
        if as_json:
            print_json({"collection": collection, "item": item, "restored": True})
        else:
            out.print(f"{escape(release_id)} is in the catalogue again.")
        return
    seen = platform.publish.get(release_id)
    release = platform.publish.restore(actor, release_id, revision=seen.revision, reason=reason)
    _tell(platform, release, "is approved again", as_json=as_json)


@app.command()
def retry(release_id: ReleaseId, as_json: Json = False) -> None:
    """Copy an approved release once more after its copy failed; what is finished is not repeated.

    Example: geoetl publish retry 0698a4c27c3d7b5a
    """
    record = _platform().publish.retry(release_id, submitted_by=user_name())
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        out.print(f"Its copy is queued: geoetl runs follow {record.id}")


@app.command()
def status(collection: Collection, item: ItemId, as_json: Json = False) -> None:
    """Tell how an item stands: what is public, what waits, what came last.

    Example: geoetl publish status demo-rasters landsat
    """
    publish = _platform().publish
    found = publish.status(collection, item)
    url = publish.url(found.published) if found.published else None
    if as_json:
        print_json(texts.status_document(found, url))
        return
    if found.latest is None:
        out.print(f"It was never submitted. Submit it: geoetl publish submit {collection} {item}")
        return
    named = (("public", found.published), ("open", found.open), ("latest", found.latest))
    rows = [(name, *texts.row(one)) for name, one in named if one is not None]
    print_table(f"{collection}/{item}", ["", *texts.HEADER], rows, numbers=["version", "size"])
    if url:
        out.print(f"Public at {escape(url)}")
    _tell_next(found.open or found.latest)


def unpublish(
    collection: Collection,
    item: ItemId,
    version: Annotated[int, typer.Option(min=0, help="Only this version; 0 for all.")] = 0,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="It leaves the catalogue too.")] = False,
    keep_objects: Annotated[
        bool, typer.Option("--keep-objects", help="Nothing leads to its objects any more, but they stay.")
    ] = False,
    force_approved: Annotated[
        bool, typer.Option("--force-approved", help="Revoke an approval that is not used yet.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; needed with --yes.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "--no-dry-run", help="Do it; without, it is only said what would go.")
    ] = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Take back what is public: first nothing leads to it any more, then its objects go. By default only says what.

    Example: geoetl unpublish demo-rasters landsat --reason "The licence has ended" --yes
    """
    from geoetl.cli.pipelines import tell_end
    from geoetl.cli.progress import shown_progress
    from geoetl.core.errors import GeoetlError
    from geoetl.publish.withdrawing import described

    platform = _platform()
    asked = {
        "version": version,
        "scope": "everywhere" if everywhere else "external",
        "delete_objects": not keep_objects,
        "force_approved": force_approved,
        "reason": reason,
        "asked_by": described(_approver(platform, token)),
    }
    # What does not allow it is told before there is a run.
    plan = platform.publish.plan_withdrawal(collection, item, dry_run=not yes, **asked)  # type: ignore[arg-type]
    if not yes:
        if as_json:
            print_json(texts.withdrawal_document(plan))
            return
        for line in texts.withdrawal_lines(plan):
            out.print(line)
        if not plan.is_nothing:
            err.print("[bold]Next:[/] nothing was withdrawn. Do it: the same command with --reason and --yes")
        return
    parameters = {"collection": collection, "item": item, "dry_run": False, **asked}
    with shown_progress(enabled=not as_json) as watch:
        record = platform.run("withdraw", parameters, watch=watch)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        tell_end(record)
    if record.error:
        raise typer.Exit(GeoetlError.from_problem(record.error).exit_code)


def _platform() -> "Platform":
    import geoetl

    return geoetl.connect()


def _approver(platform: "Platform", token: str | None) -> "Principal":
    from geoetl.core.principal import Role

    return acting(platform, token, Role.APPROVER)


def _tell(platform: "Platform", release: "Release", what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(texts.document(release, url=platform.publish.url(release)))
        return
    name = escape(f"{release.collection}/{release.item}")
    out.print(f"{name} {what} (release {release.id}).")
    _tell_next(release)


def _tell_next(release: "Release") -> None:
    step = texts.next_step(release)
    if step:
        out.print(f"[bold]Next:[/] {escape(step)}")


def _whole(digest: str, release: "Release") -> str:
    """Return the digest that was meant: the release's own, where what is given is the beginning of it."""
    is_enough = len(digest) >= texts.DIGEST_LETTERS and release.manifest_digest.startswith(digest.lower())
    return release.manifest_digest if is_enough else digest


def _moment(text: str | None, field: str) -> float | None:
    from geoetl.core.errors import InvalidTime
    from geoetl.core.temporal import parse_instant

    if text is None:
        return None
    try:
        return parse_instant(text).timestamp()
    except InvalidTime as error:
        raise InvalidTime(error.detail, hint=error.hint, field=field) from None


def _cleared(text: str | None) -> "Cleared | None":
    from geoetl.publish.model import Clearance as Cleared

    return None if text is None else _one_of(Cleared, text, "clearance")


def _state(text: str) -> "State":
    from geoetl.publish.model import State

    return _one_of(State, text, "state")


def _one_of[T](kind: type[T], text: str, field: str) -> T:
    from geoetl.core.errors import InvalidParameter, did_you_mean

    known = [str(one) for one in kind]  # type: ignore[attr-defined]
    name = text.lower().replace("-", "_").replace(" ", "_")
    if name not in known:
        raise InvalidParameter(
            f"There is no {field} '{text[:40]}'.", hint=did_you_mean(name, known) or ", ".join(known), field=field
        )
    return kind(name)  # type: ignore[call-arg]
