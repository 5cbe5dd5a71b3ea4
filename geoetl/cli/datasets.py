"""``geoetl datasets``: outside sources that are kept current, and what a person decides about them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from geoetl.cli import dataset_texts as texts
from geoetl.cli.output import Json, err, out, print_json, print_table, user_name, utc

if TYPE_CHECKING:
    from geoetl.datasets.outcome import Checked
    from geoetl.datasets.version import Version
    from geoetl.platform import Platform

app = typer.Typer(
    help="Keep outside sources current: look for releases, update, accept, go back.", no_args_is_help=True
)
# Changed features that are shown; --out writes all of them.
MAX_SHOWN = 40

DatasetId = Annotated[str, typer.Argument(metavar="ID", help="Id of the dataset; `geoetl datasets list` lists them.")]
VersionNumber = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of the version.")]
Force = Annotated[bool, typer.Option("--force", help="As if the source had changed.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever looks later.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]


@app.command("list")
def list_datasets(
    enabled: Annotated[bool, typer.Option("--enabled", help="Only those whose source is asked by itself.")] = False,
    as_json: Json = False,
) -> None:
    """List the managed datasets: what is served, when the source is asked next, what waits for a decision.

    Example: geoetl datasets list
    """
    from geoetl.datasets.overview import overviews

    found = overviews(_platform().datasets.repository, enabled_only=enabled)
    if as_json:
        print_json([texts.document(one) for one in found])
        return
    if not found:
        out.print("No managed datasets. Add one: geoetl datasets add FILE.yaml")
        return
    header = ["id", "serves", "since (UTC)", "next check (UTC)", "state"]
    print_table("Managed datasets", header, [texts.row(one) for one in found])
    for one in found:
        for line in texts.next_steps(one):
            out.print(line)


@app.command()
def show(dataset_id: DatasetId, as_json: Json = False) -> None:
    """Show one dataset: where it comes from, whose it is, what is served, what waits.

    Example: geoetl datasets show admin0
    """
    from geoetl.datasets.overview import overview

    updates = _platform().datasets
    one = overview(updates.repository, dataset_id)
    if as_json:
        print_json(texts.document(one))
        return
    out.print(f"[bold]{escape(one.dataset.name)}[/] ({dataset_id})")
    if one.dataset.description:
        out.print(escape(one.dataset.description))
    print_table("", ["", ""], texts.facts(one, updates))
    for line in texts.next_steps(one):
        out.print(line)


@app.command()
def check(dataset_id: DatasetId, force: Force = False, as_json: Json = False) -> None:
    """Ask the source now, with one request for metadata, and say what an update would do; nothing is downloaded.

    Example: geoetl datasets check admin0
    """
    _tell_plan(_plan(_platform(), dataset_id, force=force), as_json=as_json)


@app.command()
def update(
    dataset_id: DatasetId,
    force: Force = False,
    dry_run: DryRun = False,
    queue: Annotated[bool, typer.Option("--queue", help="Let a worker do it, and do not wait for it.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Let a worker do it, and show what happens.")] = False,
    as_json: Json = False,
) -> None:
    """Update a dataset here and now: check, fetch, process, compare, and serve it, unless a person has to look first.

    Example: geoetl datasets update admin0 --dry-run
    """
    from geoetl.cli.pipelines import tell_end
    from geoetl.cli.progress import shown_progress
    from geoetl.cli.runs import follow_run, tell_run

    platform = _platform()
    if dry_run:
        _tell_plan(_plan(platform, dataset_id, force=force), as_json=as_json)
        return
    if queue or wait:
        record = platform.update_dataset(dataset_id, force=force, submitted_by=user_name())
        if not wait:
            tell_run(platform, record, as_json=as_json)
            return
        follow_run(platform, record, as_json=as_json)
        record = platform.runs.get(record.id)
    else:
        dataset = platform.datasets.repository.get(dataset_id)
        asked = {"dataset_id": dataset_id, "force_update": force}
        with shown_progress(enabled=not as_json) as watch:
            record = platform.run(dataset.job_type, asked, watch=watch)
        if as_json:
            print_json(record.model_dump(mode="json"))
    if not as_json:
        tell_end(record)
        if isinstance(record.result, dict) and record.result.get("status") == "held":
            out.print(texts.how_to_decide(dataset_id, int(record.result["number"])))
    _leave_with(record.error)


@app.command()
def history(
    dataset_id: DatasetId,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the updates of a dataset: what came of each, and why it failed, was held or skipped.

    Example: geoetl datasets history admin0
    """
    found = _platform().datasets.repository.history(dataset_id, limit=limit)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    elif found:
        header = ["begun (UTC)", "why", "release", "status", "what came of it"]
        print_table(f"Updates of {dataset_id}", header, [texts.update_row(one) for one in found])
    else:
        out.print(f"No update yet. Begin one: geoetl datasets update {dataset_id}")


@app.command()
def versions(dataset_id: DatasetId, as_json: Json = False) -> None:
    """List the versions of a dataset: what is served, held, or can be gone back to.

    Example: geoetl datasets versions admin0
    """
    repository = _platform().datasets.repository
    repository.get(dataset_id)
    found = repository.versions(dataset_id)
    if as_json:
        print_json([texts.version_document(one) for one in found])
        return
    if not found:
        out.print(f"No version yet. Make one: geoetl datasets update {dataset_id}")
        return
    header = ["version", "release", "state", "rows", "+", "~", "-", "made (UTC)", "why"]
    numbers = ["version", "rows", "+", "~", "-"]
    print_table(f"Versions of {dataset_id}", header, [texts.version_row(one) for one in found], numbers=numbers)
    for one in found:
        if one.state == "held":
            out.print(texts.how_to_decide(dataset_id, one.number))


@app.command()
def changes(
    dataset_id: DatasetId,
    number: Annotated[int, typer.Argument(metavar="[VERSION]", min=0, help="Left out, the newest.")] = 0,
    target: Annotated[Path | None, typer.Option("--out", "-o", help="Write the features to this GeoJSON file.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a version changed, feature by feature.

    Example: geoetl datasets changes admin0 2 --out changes.geojson
    """
    updates = _platform().datasets
    version = _chosen(updates.repository.versions(dataset_id), updates.repository.get(dataset_id).dataset_id, number)
    found = updates.changed(dataset_id, version.number)
    if target is not None:
        target.write_text('{"type": "FeatureCollection", "features": []}' if found is None else found.to_json())
    rows = [] if found is None else found[["change", "item", "key", "columns"]].to_dict("records")
    if as_json:
        counts = version.changes.model_dump(mode="json", include={"added", "updated", "deleted"})
        print_json({"version": version.number, **counts, "features": rows, "file": str(target) if target else None})
        return
    out.print(texts.counted(version))
    if rows:
        shown = [tuple(row.values()) for row in rows[:MAX_SHOWN]]
        print_table("", ["change", "item", "key", "what differs"], shown)
    if len(rows) > MAX_SHOWN:
        out.print(f"… and {len(rows) - MAX_SHOWN} more: geoetl datasets changes {dataset_id} --out changes.geojson")
    if target is not None:
        out.print(f"Written: {escape(str(target))}")
    if version.state == "held":
        out.print(texts.how_to_decide(dataset_id, version.number))


@app.command()
def accept(dataset_id: DatasetId, number: VersionNumber, reason: Reason = "", as_json: Json = False) -> None:
    """Let a held version be served.

    Example: geoetl datasets accept admin0 2 --reason "The new states are right"
    """
    updates = _platform().datasets
    _tell_served(updates.accept(dataset_id, number, by=user_name(), reason=reason or None), as_json=as_json)


@app.command()
def reject(
    dataset_id: DatasetId,
    number: VersionNumber,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks later.", prompt=False)],
    as_json: Json = False,
) -> None:
    """Keep a held version from being served; its release is not fetched again.

    Example: geoetl datasets reject admin0 2 --reason "Half of the countries are missing"
    """
    version = _platform().datasets.reject(dataset_id, number, by=user_name(), reason=reason)
    if as_json:
        print_json(texts.version_document(version))
    else:
        out.print(f"Version {number} of {dataset_id} is rejected; its release is not fetched again, but with --force.")


@app.command()
def rollback(
    dataset_id: DatasetId,
    number: Annotated[int, typer.Argument(metavar="[VERSION]", min=0, help="Left out, the latest former one.")] = 0,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Serve a former version again, in one step; the one that was served stays, to go back to.

    Example: geoetl datasets rollback admin0
    """
    updates = _platform().datasets
    version = updates.rollback(dataset_id, number or None, by=user_name(), reason=reason or None)
    _tell_served(version, as_json=as_json)


@app.command()
def enable(dataset_id: DatasetId, as_json: Json = False) -> None:
    """Let the source be asked by itself, at the times of the dataset's schedule.

    Example: geoetl datasets enable admin0
    """
    _set_enabled(dataset_id, True, as_json=as_json)


@app.command()
def disable(dataset_id: DatasetId, as_json: Json = False) -> None:
    """Let the source rest; what is served stays, and an update may still be asked for.

    Example: geoetl datasets disable admin0
    """
    _set_enabled(dataset_id, False, as_json=as_json)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="What is said of it; see catalogs/managed.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add a dataset, as a file says; its id is that of the file, unless it names another.

    Example: geoetl datasets add parks.yaml --dry-run
    """
    from geoetl.datasets import defining
    from geoetl.datasets.declared import read_definition

    platform = _platform()
    definition = read_definition(file)
    updates = platform.datasets
    if dry_run:
        defining.check(updates, definition)
    else:
        defining.add(updates, definition)
        platform.declared_schedules()
    if as_json:
        print_json({**definition.model_dump(mode="json"), "added": not dry_run})
        return
    out.print(f"{'Would add' if dry_run else 'Added'} the dataset '{definition.dataset_id}'.")
    if not dry_run:
        out.print(f"See whether its source answers: geoetl datasets check {definition.dataset_id}")


@app.command()
def delete(
    dataset_id: DatasetId,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; without, it is only said what would go.")] = False,
    items: Annotated[bool, typer.Option("--items", help="What it serves goes too, with its files.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Forget a dataset with its versions and its log; what it serves stays as ordinary items, or goes with --items.

    Example: geoetl datasets delete parks --dry-run
    """
    platform = _platform()
    gone = platform.datasets.delete(dataset_id, with_items=items, dry_run=dry_run or not yes)
    if gone.is_done:
        platform.declared_schedules()
    if as_json:
        print_json({**gone.model_dump(mode="json"), "goes": gone.goes, "stays": gone.stays})
        return
    for line in gone.goes:
        out.print(f"{'Gone' if gone.is_done else 'Would go'}: {escape(line)}")
    for line in gone.stays:
        out.print(f"{'Stays' if gone.is_done else 'Would stay'}: {escape(line)}")
    if not (yes or dry_run):
        err.print(f"[bold]Next:[/] nothing was deleted. Delete it: geoetl datasets delete {dataset_id} --yes")


def _platform() -> "Platform":
    import geoetl

    return geoetl.connect()


def _plan(platform: "Platform", dataset_id: str, *, force: bool) -> "Checked":
    from geoetl.datasets import UpdateRequest

    request = UpdateRequest(dataset_id=dataset_id, force_update=force, dry_run=True)
    return platform.datasets.check(request, is_awaited=True)


def _tell_plan(checked: "Checked", *, as_json: bool) -> None:
    if as_json:
        print_json(checked.model_dump(mode="json"))
        return
    out.print(escape(checked.reason))
    for line in checked.plan:
        out.print(f"  would {escape(line)}")
    if checked.needs_update:
        force = " --force" if checked.release and checked.reason.endswith("asked for.") else ""
        out.print(f"Nothing was downloaded. Do it: geoetl datasets update {checked.dataset_id}{force}")


def _tell_served(version: "Version", *, as_json: bool) -> None:
    if as_json:
        print_json(texts.version_document(version))
        return
    dataset_id = version.dataset_id
    out.print(f"Version {version.number} of {dataset_id} ({escape(version.source_version)}) is served now.")
    out.print(f"Undo it: geoetl datasets rollback {dataset_id}")


def _set_enabled(dataset_id: str, is_enabled: bool, *, as_json: bool) -> None:
    from geoetl.datasets.overview import overview

    platform = _platform()
    platform.datasets.repository.enable(dataset_id, is_enabled)
    platform.declared_schedules()
    one = overview(platform.datasets.repository, dataset_id)
    if as_json:
        print_json(texts.document(one))
    elif one.next_check_at is not None:
        out.print(f"{dataset_id} is looked at by itself, next {utc(one.next_check_at)}.")
    elif is_enabled:
        out.print(f"{dataset_id} is enabled, and has no schedule. Update it: geoetl datasets update {dataset_id}")
    else:
        out.print(f"{dataset_id} rests. Go on with: geoetl datasets enable {dataset_id}")


def _chosen(found: "tuple[Version, ...]", dataset_id: str, number: int) -> "Version":
    from geoetl.core.errors import NotFound

    chosen = next((one for one in found if number in (0, one.number)), None)
    if chosen is None:
        raise NotFound(
            f"'{dataset_id}' has no version {number}." if number else f"'{dataset_id}' has no version yet.",
            hint=f"List them with: geoetl datasets versions {dataset_id}",
            field="version",
        )
    return chosen


def _leave_with(error: dict[str, Any] | None) -> None:
    from geoetl.core.errors import GeoetlError

    if error:
        raise typer.Exit(GeoetlError.from_problem(error).exit_code)
