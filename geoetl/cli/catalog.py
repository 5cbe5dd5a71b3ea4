"""``geoetl catalog``: find what is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoetl.cli.output import Json, out, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(help="Find what is there.", no_args_is_help=True)
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


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the static catalogue goes; it is replaced as a whole.")],
    as_json: Json = False,
) -> None:
    """Write the catalogue as static STAC files, for pystac, intake and any web server.

    Example: geoetl catalog export ./stac
    """
    import geoetl
    from geoetl.store.catalog.static import export_static

    written = export_static(geoetl.connect().catalog, folder)
    if as_json:
        print_json({"catalog": str(written)})
    else:
        out.print(f"Written: {written}")


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
