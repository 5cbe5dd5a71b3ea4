"""``geoetl styles``: how layers are drawn."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from geoetl.cli.output import Json, err, out, print_json, print_table, user_name, utc
from geoetl.core.errors import Conflict, InvalidParameter, NotFound

if TYPE_CHECKING:
    from geoetl.styles.encoders.protocol import Encoded
    from geoetl.styles.library import StoredStyle, StyleLibrary, StyleSummary

app = typer.Typer(help="Look at, keep and export how layers are drawn.", no_args_is_help=True)
# Losses that are shown on a terminal; --json lists all.
MAX_SHOWN = 20
# As the API calls it, and as the encoder is called.
ALIASES = {"mapbox": "maplibre"}

Layer = Annotated[str, typer.Argument(help="COLLECTION:ITEM of a vector item, COLLECTION of rasters or cubes.")]
StyleName = Annotated[str, typer.Argument(metavar="STYLE", help="Id of the style.")]
MaybeStyle = Annotated[str, typer.Argument(metavar="[STYLE]", help="Id of the style; left out, the default.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Note = Annotated[str, typer.Option(help="Why, for the list of versions.")]


@app.command("list")
def show_all(
    layer: Annotated[str, typer.Argument(help="Styles of this layer; left out, every layer.")] = "",
    as_json: Json = False,
) -> None:
    """List the layers with their default styles, or the styles of a layer.

    Example: geoetl styles list demo-vectors:us_states
    """
    library = _library()
    if layer:
        found = library.list(layer)
        if as_json:
            print_json([_row(one) for one in found])
        elif found:
            rows = [
                (one.id, one.title, "default" if one.is_default else "", one.version, one.author, utc(one.updated))
                for one in found
            ]
            header = ["id", "title", "", "version", "author", "changed (UTC)"]
            print_table(f"Styles of {layer}", header, rows, numbers=["version"])
        else:
            out.print(f"'{escape(layer)}' has no styles yet. Make one with: geoetl styles propose {layer} --keep")
        return
    layers = library.layers()
    styles = library.lists([one.id for one in layers])
    default = {name: next((one.id for one in found if one.is_default), None) for name, found in styles.items()}
    if as_json:
        print_json([{**vars(one), "styles": len(styles[one.id]), "default": default[one.id]} for one in layers])
    elif layers:
        print_table(
            "Layers",
            ["id", "title", "kind", "styles", "default"],
            [(one.id, one.title, one.kind, len(styles[one.id]), default[one.id]) for one in layers],
            numbers=["styles"],
        )
    else:
        out.print("No layers yet. Run: geoetl demo")


@app.command()
def show(
    layer: Layer,
    style: MaybeStyle = "",
    version: Annotated[int, typer.Option(min=0, help="Number of an older version.")] = 0,
    as_json: Json = False,
) -> None:
    """Show a style: who made it, and its rules as CartoSym-JSON.

    Example: geoetl styles show demo-vectors:us_states default
    """
    library = _library()
    stored = _stored(library, layer, style)
    document = (library.version(layer, stored.id, version) if version else stored.style).document()
    if as_json:
        print_json({**_row(stored.summary), "version": version or stored.version, "style": document})
        return
    about = stored.summary
    who = f" by {about.author}" if about.author else ""
    out.print(f"[bold]{escape(about.title or about.id)}[/]{' (default)' if about.is_default else ''}")
    out.print(escape(f"'{about.id}' of {layer}, version {version or about.version}{who}, {utc(about.updated)}"))
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@app.command()
def put(
    layer: Layer,
    style: StyleName,
    file: Annotated[str, typer.Argument(help="CartoSym-JSON, or the friendly dialect; - reads standard input.")],
    note: Note = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Keep a style of a layer, as a new version where there is one of that id.

    Example: geoetl styles put demo-vectors:us_states mine style.json --note "darker borders"
    """
    library = _library()
    before = {one.id: one.version for one in library.list(layer)}
    kept = library.put(layer, style, _read(file), author=user_name(), note=note or None, dry_run=dry_run)
    changed = before.get(kept.id) != kept.version
    findings = kept.style.findings()
    if as_json:
        told = [finding.model_dump(mode="json") for finding in findings]
        print_json({**_row(kept.summary), "changed": changed, "kept": not dry_run, "findings": told})
        return
    for finding in findings[:MAX_SHOWN]:
        err.print(f"[yellow]{escape(finding.subject or 'Note')}[/] {escape(finding.message)}")
    if not changed:
        out.print(f"'{kept.id}' of {layer} is like this already (version {kept.version}).")
    else:
        out.print(f"{'Would keep' if dry_run else 'Kept'} '{kept.id}' of {layer}, version {kept.version}.")


@app.command()
def default(
    layer: Layer,
    style: Annotated[str, typer.Argument(metavar="[STYLE]", help="The new default; left out, it is only told.")] = "",
    none: Annotated[bool, typer.Option("--none", help="Draw the layer with no style of its own.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Tell or choose the style that a layer is drawn with.

    Example: geoetl styles default demo-vectors:us_states mine
    """
    library = _library()
    if style and none:
        raise InvalidParameter("There are both a style and --none.", hint="Give one of them.", field="none")
    if style or none:
        chosen = library.set_default(layer, style or None, dry_run=dry_run)
    else:
        chosen = next((one for one in library.list(layer) if one.is_default), None)
    if as_json:
        print_json(
            {"layer": layer, "default": chosen.id if chosen else None, "changed": bool(style or none) and not dry_run}
        )
        return
    what = f"'{chosen.id}'" if chosen else "none"
    out.print(f"{'The default would be' if dry_run else 'Default'}: {what}")


@app.command()
def versions(
    layer: Layer,
    style: MaybeStyle = "",
    restore: Annotated[int, typer.Option(min=0, help="Make a new version of this old one.")] = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """List the versions of a style, or go back to one.

    Example: geoetl styles versions demo-vectors:us_states mine --restore 1
    """
    library = _library()
    stored = _stored(library, layer, style)
    if restore:
        kept = library.restore(layer, stored.id, restore, author=user_name(), dry_run=dry_run)
        if as_json:
            print_json({**_row(kept.summary), "restored": restore, "kept": not dry_run})
            return
        done = "Would be" if dry_run else "Is now"
        out.print(f"{done} version {kept.version} of '{kept.id}': version {restore} again.")
        return
    found = library.versions(layer, stored.id)
    if as_json:
        print_json([vars(one) for one in found])
        return
    rows = [(one.number, one.author, utc(one.created), one.note) for one in found]
    print_table(f"Versions of '{stored.id}'", ["version", "author", "made (UTC)", "note"], rows, numbers=["version"])


@app.command()
def export(
    layer: Layer,
    style: MaybeStyle = "",
    format: Annotated[
        str, typer.Option("--format", "-f", help="cartosym, mapbox, leaflet, sld or holoviews.")
    ] = "cartosym",
    target: Annotated[Path | None, typer.Option("--out", "-o", help="File; left out, standard output.")] = None,
    as_json: Json = False,
) -> None:
    """Write a style for another program, and list what that cannot express.

    Example: geoetl styles export demo-vectors:us_states --format sld --out states.sld
    """
    library = _library()
    stored = _stored(library, layer, style)
    made = library.encoded(stored, ALIASES.get(format, format))
    if target is not None:
        target.write_bytes(made.content)
    if as_json:
        lossy = [{"pointer": loss.pointer, "reason": loss.reason} for loss in made.losses]
        answer = {"style": stored.id, "format": format, "media_type": made.media_type, "lossy": lossy}
        print_json({**answer, "file": str(target)} if target else {**answer, "content": made.content.decode()})
        return
    if target is None:
        sys.stdout.write(made.content.decode().rstrip("\n") + "\n")
    else:
        out.print(f"Written: {escape(str(target))}")
    _tell_losses(made)


@app.command()
def propose(
    layer: Layer,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it under --as; a style that is there stays.")] = False,
    name: Annotated[str, typer.Option("--as", help="Id to keep it under.")] = "default",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a style from the geometries and values of a layer; it is printed, and kept only with --keep.

    Example: geoetl styles propose demo-vectors:us_states --keep
    """
    library = _library()
    made = library.propose(layer)
    if not keep:
        print_json(made.document())
        return
    if any(one.id == name for one in library.list(layer)):
        raise Conflict(
            f"'{layer}' has a style '{name}' already, which stays as it is.",
            hint="Keep the new one under another id: --as NAME",
            field="as",
        )
    kept = library.put(layer, name, made, author=user_name(), note="Made from the data", only_new=True, dry_run=dry_run)
    if as_json:
        print_json({**_row(kept.summary), "kept": not dry_run})
        return
    out.print(f"{'Would keep' if dry_run else 'Kept'} '{kept.id}' of {layer}{', its default' * kept.is_default}.")


@app.command()
def delete(layer: Layer, style: StyleName, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Delete a style with all its versions.

    Example: geoetl styles delete demo-vectors:us_states mine --dry-run
    """
    removed = _library().delete(layer, style, dry_run=dry_run)
    if as_json:
        print_json({"layer": layer, "style": removed.id, "versions": removed.version, "deleted": not dry_run})
        return
    out.print(f"{'Would delete' if dry_run else 'Deleted'} '{removed.id}' of {layer}, {removed.version} versions.")


@app.command()
def prune(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Delete the styles of layers that are not in the catalogue any more.

    A layer that is registered again under its old id has its styles back, as long as they were not pruned.

    Example: geoetl styles prune --dry-run
    """
    library = _library()
    gone = library.orphans()
    if not dry_run:
        for layer in gone:
            library.forget(layer)
    if as_json:
        print_json({"layers": list(gone), "deleted": not dry_run})
    elif gone:
        out.print(f"{'Would delete' if dry_run else 'Deleted'} the styles of: {escape(', '.join(gone))}")
    else:
        out.print("Every layer that has styles is in the catalogue.")


def _library() -> "StyleLibrary":
    import geoetl

    return geoetl.connect().styles


def _stored(library: "StyleLibrary", layer: str, style: str) -> "StoredStyle":
    if style:
        return library.get(layer, style)
    found = library.default(layer)
    if found is None:
        raise NotFound(
            f"'{layer}' has no default style.",
            hint=f"Name one of: geoetl styles list {layer}\nOr make one: geoetl styles propose {layer} --keep",
            field="style",
        )
    return found


def _read(file: str) -> bytes:
    from geoetl.styles.library import MAX_STYLE_BYTES

    # One byte more than may be, so that what is too large is told by its limit.
    if file == "-":
        return sys.stdin.buffer.read(MAX_STYLE_BYTES + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_STYLE_BYTES + 1)
    except OSError as error:
        raise NotFound(
            f"The file '{file}' cannot be read: {error.strerror}.", hint="Give a file with a style.", field="file"
        ) from None


def _row(style: "StyleSummary") -> dict[str, Any]:
    return {
        **{name: getattr(style, name) for name in ("id", "title", "description", "version", "author")},
        "layer": style.layer_id,
        "default": style.is_default,
        "created": utc(style.created),
        "updated": utc(style.updated),
    }


def _tell_losses(made: "Encoded") -> None:
    for loss in made.losses[:MAX_SHOWN]:
        err.print(f"[yellow]Left out.[/] {escape(loss.pointer)} {escape(loss.reason)}")
    if len(made.losses) > MAX_SHOWN:
        err.print(f"… and {len(made.losses) - MAX_SHOWN} more; --json lists all.")
