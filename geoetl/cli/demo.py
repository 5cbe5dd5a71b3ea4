"""``geoetl demo``: real rasters, vectors and climate files through the pipelines into the catalogue."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoetl.cli.output import Json, err, out, own_name, print_json, print_table

if TYPE_CHECKING:
    from geoetl.platform import Platform
    from geoetl.runs.model import RunRecord


@dataclass(frozen=True)
class DemoRun:
    """One pipeline run of the demo.

    Attributes:
        what: What is made, for people.
        pipeline: Name of the pipeline.
        parameters: Its parameters.
    """

    what: str
    pipeline: str
    parameters: Mapping[str, Any]


RUNS = (
    DemoRun(
        "raster",
        "ingest-raster",
        {
            "source": "samples:landsat_rgb.tif",
            "collection": "demo-rasters",
            "title": "Landsat true colour, northern Bahamas",
        },
    ),
    DemoRun(
        "vector",
        "ingest-vector",
        {"source": "samples:us_states.geojson", "collection": "demo-vectors", "title": "States of the USA"},
    ),
    DemoRun(
        "vector",
        "ingest-vector",
        {
            "source": "samples:ne_10m_admin_0_countries.zip",
            "collection": "demo-vectors",
            "title": "Countries of the world (Natural Earth 1:10m)",
        },
    ),
    DemoRun(
        "cube",
        "virtualise-cmip6",
        {
            "source": "samples:air_temperature_small.nc",
            "collection": "demo-cubes",
            "naming": "file",
            "title": "Air temperature over North America",
        },
    ),
    DemoRun("cube", "virtualise-cmip6", {"source": "samples:cmip6", "collection": "cmip6-virtual"}),
)

COLLECTIONS = (
    {
        "collection_id": "demo-rasters",
        "title": "Satellite images",
        "description": "A Landsat scene as a Cloud Optimized GeoTIFF.",
        "licence": "BSD-3-Clause",
        "providers": ["HoloViz", "USGS Landsat"],
        "keywords": ["raster", "satellite", "landsat"],
    },
    {
        "collection_id": "demo-vectors",
        "title": "Boundaries",
        "description": "States of the USA (HoloViz, BSD-3-Clause) and countries of the world (Natural Earth, public "
        "domain) as GeoParquet and PMTiles.",
        "licence": "other",
        "providers": ["Natural Earth", "HoloViz"],
        "keywords": ["vector", "boundaries", "countries"],
    },
    {
        "collection_id": "demo-cubes",
        "title": "Reanalysis",
        "description": "Air temperature over North America, four times a day, as virtual Zarr.",
        "licence": "BSD-3-Clause",
        "providers": ["HoloViz", "NCEP/NCAR"],
        "keywords": ["cube", "temperature", "reanalysis"],
    },
    {
        "collection_id": "cmip6-virtual",
        "title": "CMIP6 air temperature (virtual)",
        "description": "Air temperature of about 60 CMIP6 models, a few cells each, as kerchunk references to the "
        "NetCDF files: no byte was converted, every value was compared with its source.",
        "licence": "CC-BY-SA-4.0",
        "providers": ["CMIP6 modelling centres", "ESMValTool"],
        "keywords": ["cube", "climate", "CMIP6", "virtual"],
    },
)


def demo(as_json: Json = False) -> None:
    """Take real rasters, vectors and climate files from the installed samples to the map. Needs no network.

    Run twice, the second time finds everything done.

    Example: geoetl demo
    """
    import geoetl

    started = time.monotonic()
    platform = geoetl.connect()
    declare_collections(platform)
    records = [_run(platform, step, number, as_json=as_json) for number, step in enumerate(RUNS, 1)]
    for record in records:
        record.raise_for_error()
    made = [row for step, record in zip(RUNS, records, strict=True) for row in _made(platform, step, record)]
    seconds = time.monotonic() - started
    if as_json:
        print_json({"home": str(platform.settings.home), "seconds": round(seconds, 1), "made": made})
        return
    _tell(platform, records, made, seconds)


def declare_collections(platform: "Platform") -> None:
    """Write the collections' titles and licences; what is there already keeps its extent."""
    from geoetl.core.errors import NotFound
    from geoetl.store.catalog.item import new_collection

    for fields in COLLECTIONS:
        declared = new_collection(**fields)  # type: ignore[arg-type]
        try:
            known = platform.catalog.collection(declared["id"])
        except NotFound:
            platform.catalog.upsert_collection(declared)
            continue
        wanted = {**known, **{name: declared[name] for name in ("title", "description", "license", "keywords")}}
        if wanted != known:
            platform.catalog.upsert_collection(wanted)


def _run(platform: "Platform", step: DemoRun, number: int, *, as_json: bool) -> "RunRecord":
    from geoetl.cli.progress import shown_progress
    from geoetl.core.html import human_seconds

    source = step.parameters["source"]
    if not as_json:
        err.print(f"[bold]{number} of {len(RUNS)}[/] {step.pipeline} {source}")
    with shown_progress(enabled=not as_json) as watch:
        record = platform.run(step.pipeline, step.parameters, watch=watch)
    if record.reused and not as_json:
        err.print(f"  done before, in {human_seconds(record.seconds or 0)}")
    return record


def _made(platform: "Platform", step: DemoRun, record: "RunRecord") -> list[dict[str, Any]]:
    """Return what a run made: one row for few items, one row for all of a long fan-out."""
    collection = record.result["collection"]
    items = [platform.catalog.item(collection, item_id) for item_id in record.result["items"]]
    data = {"raster": ("data",), "vector": ("data", "pmtiles"), "cube": ("references",)}[step.what]
    sizes = [sum(item["assets"][name]["file:size"] for name in data) for item in items]
    title = items[0]["properties"]["title"] if len(items) == 1 else f"{len(items)} cubes of CMIP6 models"
    return [
        {
            "what": step.what,
            "title": title,
            "collection": collection,
            "items": [item["id"] for item in items],
            "source": step.parameters["source"],
            "bytes": sum(sizes),
            "seconds": round(record.seconds or 0, 1),
            "reused": record.reused,
            "run": record.id,
        }
    ]


def _tell(platform: "Platform", records: "list[RunRecord]", made: list[dict[str, Any]], seconds: float) -> None:
    from geoetl.core.html import human_bytes, human_seconds

    rows = [
        (
            row["what"],
            row["title"],
            row["source"].removeprefix("samples:"),
            human_bytes(row["bytes"]),
            human_seconds(row["seconds"]) + (" (before)" if row["reused"] else ""),
            row["collection"],
        )
        for row in made
    ]
    out.print()
    header = ["kind", "made", "from", "size", "took", "in collection"]
    print_table("What the demo made", header, rows, numbers=["size", "took"])
    done_before = all(record.reused for record in records)
    said = "Everything was done before; nothing had to be repeated." if done_before else "All of it was verified."
    out.print(f"\n{said} Total {human_seconds(seconds)}. State lives in {platform.settings.home}")
    command = own_name()
    steps = (
        (f"{command} serve", "see it on the map"),
        (f"{command} catalog search --bbox -130,20,-60,50", "find what lies in a box"),
        ("make lab", "work with it in JupyterLab"),
    )
    print_table("\nNext", ["command", "to"], steps)
