"""``geoetl virtual``: climate files as one verified cube, step by step."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoetl.cli import pipelines
from geoetl.cli.output import Json, err, out, print_json, print_table

if TYPE_CHECKING:
    from geoetl.core.findings import Finding
    from geoetl.platform import Platform, Registered
    from geoetl.virtual.request import CubeRequest

app = typer.Typer(help="Make climate files one verified cube, without converting a byte.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(help="Folder or file under an allowed root, or samples:NAME.")]
Naming = Annotated[
    str, typer.Option(help="cmip6, nex-gddp, file, or a template: {variable_id}_{source_id}_{start}-{end}.nc")
]
Select = Annotated[
    list[str] | None, typer.Option("--select", "-s", help="FACET=VALUE to keep; may be given several times.")
]
Join = Annotated[list[str] | None, typer.Option(help="variable or member: make one cube of them.")]
Item = Annotated[str, typer.Argument(help="Id of the item.")]
Collection = Annotated[str, typer.Argument(help="Id of the collection.")]


@app.command()
def inventory(
    source: Source, naming: Naming = "cmip6", select: Select = None, join: Join = None, as_json: Json = False
) -> None:
    """List which files make which cube, and which belong to none and why. Only names are read.

    Example: geoetl virtual inventory samples:cmip6
    """
    import geoetl

    platform = geoetl.connect()
    found = platform.virtual.inventory(_request(source, naming, select, join))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from geoetl.core.html import human_bytes

    rows = [(c.id, len(c.files), c.period or "", human_bytes(c.bytes), len(c.findings) or "") for c in found.cubes]
    print_table("Cubes", ["id", "files", "time", "size", "findings"], rows, numbers=["files", "size", "findings"])
    _tell_findings([finding for cube in found.cubes for finding in cube.findings])
    if found.left_out:
        print_table("Left out", ["file", "because"], [(left.file, left.reason) for left in found.left_out])


@app.command()
def check(
    source: Source, naming: Naming = "cmip6", select: Select = None, join: Join = None, as_json: Json = False
) -> None:
    """Say for each cube whether its files can be one, what speaks against it, and what it would cost.

    Headers are read, no data. Exit code 7 when a cube cannot be made.

    Example: geoetl virtual check /data/CMIP6 --select source_id=CESM2
    """
    import geoetl
    from geoetl.core.html import human_bytes, human_seconds
    from geoetl.virtual.preflight import Verdict

    platform = geoetl.connect()
    request = _request(source, naming, select, join)
    checks = {cube.id: platform.virtual.preflight(request, cube) for cube in platform.virtual.inventory(request).cubes}
    if as_json:
        print_json({name: checked.model_dump(mode="json") for name, checked in checks.items()})
    else:
        rows = [
            (
                name,
                checked.verdict.value,
                f"{human_seconds(checked.cost.references.seconds)}, {human_bytes(checked.cost.references.bytes)}",
                f"{human_seconds(checked.cost.conversion.seconds)}, {human_bytes(checked.cost.conversion.bytes)}",
            )
            for name, checked in checks.items()
        ]
        print_table("Verdicts", ["id", "verdict", "references would take", "conversion would take"], rows)
        _tell_findings([finding for checked in checks.values() for finding in checked.findings])
    if any(checked.verdict is not Verdict.VIRTUALISE for checked in checks.values()):
        raise typer.Exit(7)


@app.command()
def build(
    source: Source,
    collection: Annotated[str, typer.Option("--collection", "-c", help="Id of the STAC collection.")] = "cmip6-virtual",
    naming: Naming = "cmip6",
    select: Select = None,
    join: Join = None,
    format: Annotated[str, typer.Option(help="auto, json, parquet, icechunk, or zarr (converted).")] = "auto",
    when_refused: Annotated[str, typer.Option(help="leave-out, split or convert.")] = "leave-out",
    chunking: Annotated[str, typer.Option(help="Of a converted cube: maps, series or balanced.")] = "maps",
    checksums: Annotated[str, typer.Option(help="Of the sources: sampled, or whole.")] = "sampled",
    again: Annotated[bool, typer.Option("--again", help="Run anew although it was completed before.")] = False,
    as_json: Json = False,
) -> None:
    """Reference, verify and register the cubes of a folder; runs the pipeline virtualise-cmip6.

    Example: geoetl virtual build samples:cmip6 --select source_id=CESM2 -c my-cubes
    """
    import json

    given = {
        "source": source,
        "collection": collection,
        "naming": naming,
        "select": json.dumps(_facets(select)),
        "join": json.dumps(join or []),
        "format": format,
        "when_refused": when_refused,
        "chunking": chunking,
        "checksums": checksums,
    }
    pipelines.run("virtualise-cmip6", [f"{name}={value}" for name, value in given.items()], again, False, as_json)


@app.command()
def append(
    collection: Collection,
    item: Item,
    files: Annotated[list[str], typer.Argument(help="Later files of the same cube.")],
    as_json: Json = False,
) -> None:
    """Add later files to a cube; those that it has are not opened again.

    Example: geoetl virtual append cmip6-virtual CMIP6.CMIP.NCAR.CESM2 tas_2015.nc
    """
    import geoetl

    _tell_registered(geoetl.connect().append_to_cube(collection, item, files), as_json=as_json)


@app.command()
def relocate(
    collection: Collection,
    item: Item,
    old: Annotated[str, typer.Argument(help="The folder that all sources were under.")],
    new: Annotated[str, typer.Argument(help="The folder that they are under now.")],
    as_json: Json = False,
) -> None:
    """Follow the sources of a cube to another folder, once they are compared with what was indexed.

    Example: geoetl virtual relocate cmip6-virtual CMIP6.CMIP.NCAR.CESM2 /old/CMIP6 /new/CMIP6
    """
    import geoetl

    _tell_registered(geoetl.connect().relocate_cube(collection, item, old, new), as_json=as_json)


@app.command()
def verify(
    collection: Collection,
    item: Annotated[str, typer.Argument(help="Id of one item; all virtual cubes of the collection without it.")] = "",
    as_json: Json = False,
) -> None:
    """Compare cubes with their source files again. Exit code 7 when a source changed or a value differs.

    Example: geoetl virtual verify cmip6-virtual
    """
    import geoetl

    platform = geoetl.connect()
    names = [item] if item else _virtual_cubes(platform, collection)
    checks = [platform.check_cube(collection, name) for name in names]
    if as_json:
        print_json([checked.model_dump(mode="json") for checked in checks])
    else:
        rows = [
            (checked.item, checked.sources, checked.verification.sentence if checked.verification else "not right")
            for checked in checks
        ]
        print_table("Cubes", ["id", "sources", "result"], rows, numbers=["sources"])
        _tell_findings([finding for checked in checks for finding in checked.findings])
    if not all(checked.is_right for checked in checks):
        raise typer.Exit(7)


def _virtual_cubes(platform: "Platform", collection: str) -> list[str]:
    from geoetl.core.errors import EmptyDataset
    from geoetl.store.catalog import Search, walk

    platform.catalog.collection(collection)
    items = walk(platform.catalog, Search(collections=(collection,)))
    names = [str(item["id"]) for item in items if "references" in item["assets"]]
    if not names:
        raise EmptyDataset(f"The collection '{collection}' holds no virtual cube.", field="collection")
    return names


def _request(source: str, naming: str, select: list[str] | None, join: list[str] | None) -> "CubeRequest":
    from geoetl.virtual import CubeRequest

    values: dict[str, Any] = {"naming": naming, "select": _facets(select), "join": join or []}
    return CubeRequest(source=source, collection="cmip6-virtual", **values)


def _facets(select: list[str] | None) -> dict[str, list[str]]:
    from geoetl.core.errors import InvalidParameter

    facets: dict[str, list[str]] = {}
    for text in select or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidParameter(
                f"'{text[:60]}' is not FACET=VALUE.", hint="For example --select source_id=CESM2", field="select"
            )
        facets.setdefault(name, []).append(value)
    return facets


def _tell_findings(findings: "list[Finding]") -> None:
    """Print the first finding of each kind, worst first, and how many more there are; --json lists all."""
    colours = {"error": "red", "warning": "yellow", "info": "dim"}
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity.value, finding.code), []).append(finding)
    for (severity, _), alike in sorted(kinds.items(), key=lambda kind: list(colours).index(kind[0][0])):
        text = f"{alike[0].message} {alike[0].remedy or ''}".strip().replace("[", r"\[")
        more = f" [dim](and {len(alike) - 1} more of this kind)[/]" if len(alike) > 1 else ""
        err.print(f"[{colours[severity]}]{severity.capitalize()}:[/] {text}{more}")


def _tell_registered(registered: "Registered", *, as_json: bool) -> None:
    if as_json:
        print_json(registered.model_dump(mode="json"))
        return
    out.print(f"Verified and registered: {', '.join(registered.items)} in collection {registered.collection}.")
