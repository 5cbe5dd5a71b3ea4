"""``geoetl catalog``: find what is there."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from geoetl.cli.output import Json, err, out, print_json, print_table
from geoetl.cli.progress import shown_items
from geoetl.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geoetl.store.catalog.bulk import Loaded

app = typer.Typer(help="Find what is there; load, export and delete.", no_args_is_help=True)
# More do not help: one process writes, and it is the slower part.
MAX_PROCESSES = 4
# Bad items that are shown on a terminal; --json lists more.
MAX_SHOWN = 20
EMPTY = "No collections yet. Run: geoetl demo"


@app.command()
def collections(as_json: Json = False) -> None:
    """List the collections.

    Example: geoetl catalog collections
    """
    import geoetl

    found = geoetl.connect().catalog.collections()
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(EMPTY)
        return
    rows = [
        (c["id"], c.get("title", ""), _box(c["extent"]["spatial"]["bbox"][0]), _span(c), c["license"]) for c in found
    ]
    print_table("Collections", ["id", "title", "extent (W, S, E, N)", "time", "licence"], rows)


@app.command()
def items(
    collection: Annotated[str, typer.Argument(help="Id of the collection.")],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List the items of a collection.

    Example: geoetl catalog items demo-rasters
    """
    import geoetl
    from geoetl.store.catalog import Search

    catalog = geoetl.connect().catalog
    catalog.collection(collection)
    _print_items(catalog.search(Search(collections=(collection,), limit=limit)), as_json=as_json)


@app.command()
def search(
    bbox: Annotated[str, typer.Option(help="west,south,east,north in degrees; west > east crosses 180°.")] = "",
    datetime: Annotated[str, typer.Option(help="2020-06-01, 2020, 2019/2020, 2020/.. (ISO 8601).")] = "",
    collection: Annotated[list[str] | None, typer.Option("--collection", "-c", help="Only these collections.")] = None,
    filter_text: Annotated[str, typer.Option("--filter", help="CQL2 text: \"cmip6:source_id\" = 'CESM2'")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Search items by place, time, collection and properties.

    Example: geoetl catalog search --bbox -180,-90,180,90 --json
    """
    import geoetl
    from geoetl.core.spatial import BBox
    from geoetl.core.temporal import Interval
    from geoetl.store.catalog import Search

    wanted = Search(
        collections=tuple(collection or ()),
        bbox=BBox.parse(bbox) if bbox else None,
        interval=Interval.parse(datetime) if datetime else None,
        filter=filter_text or None,
        limit=limit,
    )
    _print_items(geoetl.connect().catalog.search(wanted), as_json=as_json)


class ExportFormat(StrEnum):
    """What an export is written as."""

    STATIC = "static"
    GEOPARQUET = "geoparquet"


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="Folder of a static catalogue, or file NAME.parquet; replaced whole.")],
    format: Annotated[
        ExportFormat | None, typer.Option("--format", "-f", help="By default what the name of the target says.")
    ] = None,
    collection: Annotated[list[str] | None, typer.Option("--collection", "-c", help="Only these collections.")] = None,
    as_json: Json = False,
) -> None:
    """Write the catalogue as static STAC files or as stac-geoparquet, for pystac, intake, DuckDB and any web server.

    Example: geoetl catalog export ./stac
    """
    import geoetl

    catalog = geoetl.connect().catalog
    by_name = ExportFormat.GEOPARQUET if target.suffix == ".parquet" else ExportFormat.STATIC
    if (format or by_name) is ExportFormat.STATIC:
        from geoetl.store.catalog.static import export_static

        written = export_static(catalog, target, collections=collection)
        if as_json:
            print_json({"catalog": str(written)})
        else:
            out.print(f"Written: {written}")
        return
    from geoetl.store.catalog.geoparquet import export_geoparquet

    with shown_items("items written", enabled=not as_json) as tell:
        exported = export_geoparquet(catalog, target, collections=collection, progress=tell)
    if as_json:
        print_json({"file": str(exported.path), "items": exported.items, "originals": exported.originals})
        return
    out.print(f"Written: {exported.path}, {exported.items} items")
    if exported.originals:
        out.print(f"{exported.originals} of them carry their JSON text too: columns alone would have changed them.")


@app.command()
def load(
    source: Annotated[
        str,
        typer.Argument(help="Items: .ndjson (one a line), .json, .parquet, or a static catalogue (file or folder)."),
    ],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Where items go that name none; made when it is missing.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Load what is good and list the rest; else one bad item stops it all.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load many items and their collections; what is there under the same ids is replaced.

    Example: geoetl catalog load ./stac
    """
    import os

    import geoetl
    from geoetl.store.catalog.bulk import load as load_items

    platform = geoetl.connect()
    with shown_items("items", enabled=not as_json) as tell:
        loaded = load_items(
            platform.catalog,
            platform.zones,
            platform.gate,
            source,
            collection=collection,
            skip_bad=skip_bad,
            processes=min(os.cpu_count() or 1, MAX_PROCESSES),
            progress=lambda p: tell(p.done, p.total, f"items {'checked' if p.step == 'check' else 'written'}"),
        )
    if as_json:
        findings = [finding.model_dump(mode="json") for finding in loaded.findings]
        counts = {"collections": loaded.collections, "items": loaded.items, "bad": loaded.bad}
        print_json({**counts, "findings": findings})
    else:
        for finding in loaded.findings[:MAX_SHOWN]:
            err.print(f"[bold red]Bad.[/] {escape(finding.message)}" + (f" {escape(finding.remedy or '')}"))
        if loaded.bad > MAX_SHOWN:
            err.print(f"… and {loaded.bad - MAX_SHOWN} more; --json lists up to {len(loaded.findings)}.")
        out.print(_what_was_loaded(loaded))
    if loaded.bad and not skip_bad:
        raise typer.Exit(InputError.exit_code)


@app.command()
def delete(
    collection: Annotated[str, typer.Argument(help="Id of the collection.")],
    item: Annotated[
        str, typer.Argument(help="Id of the item; without it the collection goes with all its items.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an item, or a collection with all its items, from the catalogue; files stay where they are.

    Example: geoetl catalog delete demo-rasters landsat_rgb --dry-run
    """
    import geoetl
    from geoetl.store.catalog import Search

    catalog = geoetl.connect().catalog
    if item:
        catalog.item(collection, item)
        count = 1
    else:
        catalog.collection(collection)
        count = catalog.search(Search(collections=(collection,), limit=1)).matched or 0
    if not dry_run:
        if item:
            catalog.delete_item(collection, item)
        else:
            catalog.delete_collection(collection)
    if as_json:
        print_json({"collection": collection, "item": item or None, "items": count, "deleted": not dry_run})
        return
    what = f"the item '{item}' of '{collection}'" if item else f"the collection '{collection}' with {count} items"
    out.print(f"Would delete {what}." if dry_run else f"Deleted {what}.")


def _what_was_loaded(loaded: "Loaded") -> str:
    if loaded.refused:
        return f"Nothing was loaded: {loaded.bad} cannot be stored. Load the rest with --skip-bad."
    left = f", {loaded.bad} left out" if loaded.bad else ""
    return f"Loaded {loaded.items} items and {len(loaded.collections)} collections{left}."


def _print_items(page: Any, *, as_json: bool) -> None:
    if as_json:
        features = list(page.items)
        answer = {"type": "FeatureCollection", "features": features, "numberReturned": len(features)}
        print_json({**answer, "numberMatched": page.matched} if page.matched is not None else answer)
        return
    if not page.items:
        out.print("Nothing matches. See what there is: geoetl catalog collections")
        return
    print_table("Items", ["collection", "item", "title", "extent (W, S, E, N)", "time"], _rows(page.items))
    if page.next_token:
        out.print(f"{len(page.items)} of {page.matched} shown; raise --limit to see more.")


def _rows(found: "Iterable[dict[str, Any]]") -> list[tuple[str, ...]]:
    return [
        (i["collection"], i["id"], i["properties"].get("title", ""), _box(i["bbox"]), _time(i["properties"]))
        for i in found
    ]


def _box(numbers: list[float]) -> str:
    return ", ".join(f"{number:.2f}" for number in numbers)


def _time(properties: dict[str, Any]) -> str:
    if properties.get("datetime"):
        return str(properties["datetime"])[:10]
    return f"{str(properties.get('start_datetime'))[:10]} / {str(properties.get('end_datetime'))[:10]}"


def _span(collection: dict[str, Any]) -> str:
    start, end = collection["extent"]["temporal"]["interval"][0]
    return f"{(start or '..')[:10]} / {(end or '..')[:10]}"
