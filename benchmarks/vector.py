"""Promises of vector ingest, of features and of styles, with geopandas, pyogrio and GDAL beside them.

    ingest_vs_plain    a file ingested / the same file converted plainly                                  at most 1.5
    features_vs_read   the file read with geopandas / the features of a box of 1 % queried                at least 10
    encoder_ms         a style of 50 rules encoded, by the slowest encoder                                at most 5

Ingest is all of it: digest, checks, repairs, duplicates, order along a Hilbert curve, boxes, tiles, thumbnail, item and
register. Plain is what one would write in a notebook: pyogrio reads (through Arrow), geopandas writes GeoParquet with
boxes, and GDAL's driver writes PMTiles of the same zooms. Each turn is a process of its own, whose time begins when its
libraries are loaded; the sides take turns and the ratio is that of their medians. GDAL gives every feature to every
zoom, and takes hours for two million: a plain turn that has taken `PATIENCE` times ours is ended there, and the ratio
is then no more than a bound from above (``plain_ended`` says so). The GeoParquet of both has to hold the same.

The query asks for boxes of a hundredth of the extent of two million points and gives their features with attributes and
geometry; reading is `geopandas.read_parquet` of the whole file. Each box is asked of an access that has answered once
before, for a place elsewhere: it knows the file's footer and that its ids are unique, and has kept no features of the
box. The first answer is given too (``first_vs_read``). Rows have to be the same as those of the frame in that box. The
file is the GeoParquet that ingest writes, without tiles. Sources are made here and kept for the next time.
"""

import argparse
import json
import os
import platform as machine
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyogrio
import shapely

import geoetl
from geoetl.access import FeatureAccess
from geoetl.core.spatial import BBox
from geoetl.ingest import VectorRequest
from geoetl.ingest.vector.write import Spill, write_geoparquet
from geoetl.platform import Platform
from geoetl.store.catalog.item import instant, new_item, object_asset
from geoetl.store.gate.vector import BATCH_ROWS
from geoetl.styles.encoders import ENCODERS
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "vector.json"
AT_LEAST = {"features_vs_read": 10.0}
AT_MOST = {"ingest_vs_plain": 1.5, "encoder_ms": 5.0, "peak_gib": 4.0}
COLLECTION = "bench"
# A plain turn is ended when it has taken so many times ours.
PATIENCE = 3.0
# Features lie around these places, as settlements do: dense here, sparse there.
CENTRES = np.random.default_rng(7).uniform([-120, -40], [120, 60], (200, 2))
RULES = 50
ENCODINGS = 11
GIB = 1024**3


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        converted: Features of the file that both sides convert.
        queried: Features of the file that is queried.
        rounds: How often each side converts.
        boxes: How many are queried.
        reads: How often the file is read.
    """

    converted: int
    queried: int
    rounds: int
    boxes: int
    reads: int


QUICK = Sizes(converted=10_000, queried=2_000_000, rounds=2, boxes=8, reads=4)
FULL = Sizes(converted=2_000_000, queried=2_000_000, rounds=3, boxes=40, reads=5)


@dataclass
class Measured:
    """What came out."""

    result: dict[str, Any] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    equal: bool = True

    def compare(self, same: bool, what: str) -> None:
        """Note whether two answers are the same."""
        if not same:
            self.equal = False
            print(f"DIFFERENT: {what}")


# -- files -------------------------------------------------------------------------------------------------------------


def make_file(folder: Path, count: int, kind: str) -> Path:
    """Write the features that both sides convert; once."""
    path = folder / f"{kind}-{count}.fgb"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    places = CENTRES[random.integers(0, len(CENTRES), count)] + random.normal(0, 2.5, (count, 2))
    shapes = shapely.points(places)
    if kind == "areas":
        shapes = shapely.buffer(shapes, random.uniform(0.0005, 0.005, count), quad_segs=3)
    frame = gpd.GeoDataFrame(
        {
            "id": np.arange(count),
            "name": np.char.add("place ", random.integers(0, 5000, count).astype(str)),
            "kind": random.integers(0, 12, count),
            "value": random.random(count).round(4),
        },
        geometry=shapes,
        crs="EPSG:4326",
    )
    partial = path.with_suffix(".partial.fgb")
    pyogrio.write_dataframe(frame, partial, SPATIAL_INDEX="NO")
    partial.rename(path)
    return path


# -- ingest ------------------------------------------------------------------------------------------------------------


def ingested(source: Path, home: Path) -> dict[str, Any]:
    """Ingest a file as the pipeline does; return the seconds, the deepest zoom and where the data lie."""
    platform = geoetl.connect(home, allowed_roots=(str(source.parent),))
    request = VectorRequest(source=str(source), collection=COLLECTION)
    stages, _ = platform.ingest.vector, platform.catalog
    start = time.perf_counter()
    checked = stages.validate(request)
    files = stages.to_files(request, checked)
    platform.register([stages.item(request, checked, files, None)])
    seconds = time.perf_counter() - start
    data = platform.zones.internal.local_path(files.data.key)
    return {"seconds": seconds, "zoom": files.max_zoom, "data": str(data)}


def converted(source: Path, home: Path, zoom: int) -> dict[str, Any]:
    """Convert a file plainly."""
    import warnings

    warnings.simplefilter("ignore")
    home.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    frame = pyogrio.read_dataframe(source, use_arrow=True)
    frame.to_parquet(home / "plain.parquet", write_covering_bbox=True, compression="zstd")
    print(json.dumps({"data": str(home / "plain.parquet")}), flush=True)
    pyogrio.write_dataframe(
        frame, home / "plain.pmtiles", driver="PMTiles", layer="plain", MINZOOM=0, MAXZOOM=zoom, SIMPLIFICATION=4
    )
    return {"seconds": time.perf_counter() - start}


def turn(side: str, source: Path, home: Path, zoom: int, patience_s: float | None) -> dict[str, Any]:
    """Let a side convert in a process of its own; one that takes longer than it may is ended and says so."""
    command = [sys.executable, __file__, "--side", side, "--source", str(source), "--home", str(home)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--zoom", str(zoom)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        text, _ = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        return {**json.loads(text.splitlines()[-1]), "seconds": time.perf_counter() - start, "ended": True}
    if process.returncode:
        raise SystemExit(f"The side '{side}' failed.")
    found: dict[str, Any] = {}
    for line in text.splitlines():
        found |= json.loads(line)
    return found


def measure_ingest(found: Measured, source: Path, folder: Path, rounds: int) -> None:
    """Convert a file by both sides in turn."""
    ours: list[dict[str, Any]] = []
    plain: list[dict[str, Any]] = []
    for number in range(rounds):
        ours.append(turn("ours", source, folder / f"ours-{number}", 0, None))
        patience = PATIENCE * statistics.median(one["seconds"] for one in ours)
        # In quick mode both finish, so that the ratio is one of two whole conversions.
        limit = patience if rounds > 2 else None
        plain.append(turn("plain", source, folder / f"plain-{number}", ours[-1]["zoom"], limit))
        print(
            f"ingest, round {number + 1}: {ours[-1]['seconds']:.1f} s, plain {plain[-1]['seconds']:.1f} s", flush=True
        )
    seconds = {"ours": [one["seconds"] for one in ours], "plain": [one["seconds"] for one in plain]}
    found.rounds["ingest_vs_plain"] = seconds
    found.result["ingest_vs_plain"] = round(statistics.median(seconds["ours"]) / statistics.median(seconds["plain"]), 3)
    found.result["plain_ended"] = any(one.get("ended", False) for one in plain)
    found.result["peak_gib"] = round(max(one["peak_gib"] for one in ours), 2)
    compare_files(found, Path(ours[-1]["data"]), Path(plain[-1]["data"]))


def compare_files(found: Measured, ours: Path, plain: Path) -> None:
    """Compare what both sides wrote, row by row in the order of the ids."""
    one, other = (gpd.read_parquet(path).sort_values("id").reset_index(drop=True) for path in (ours, plain))
    found.compare(len(one) == len(other), f"{len(one)} and {len(other)} rows")
    found.compare(bool((one.drop(columns="geometry") == other.drop(columns="geometry")).all().all()), "attributes")
    found.compare(bool(shapely.equals(one.geometry.to_numpy(), other.geometry.to_numpy()).all()), "geometries")


# -- features ----------------------------------------------------------------------------------------------------------


def register_points(platform: Platform, folder: Path, count: int) -> tuple[str, Path]:
    """Register points as ingest writes them; return the item's id and where its data lie."""
    random = np.random.default_rng(0)
    places = CENTRES[random.integers(0, len(CENTRES), count)] + random.normal(0, 2.5, (count, 2))
    schema = pa.schema({"id": pa.int64(), "name": pa.string(), "kind": pa.int64(), "value": pa.float64()})
    names = np.char.add("place ", random.integers(0, 5000, count).astype(str))
    columns = [np.arange(count), names, random.integers(0, 12, count), random.random(count)]
    table = pa.table([pa.array(column) for column in columns], schema=schema)
    path = folder / "points.parquet"
    with Spill(folder / "spill.arrow", schema) as spill:
        for first, batch in zip(
            range(0, count, BATCH_ROWS), table.combine_chunks().to_batches(BATCH_ROWS), strict=True
        ):
            spill.add(batch, shapely.points(places[first : first + BATCH_ROWS]))
        layout = spill.layout()
        write_geoparquet(spill, layout, path, schema, lambda shapes, first: None)
    stored = platform.zones.internal.put(path, "vectors/bench/points.parquet", owner=f"{COLLECTION}/points")
    item = new_item(
        item_id="points", collection=COLLECTION, bbox=BBox(*layout.bbox), geometry=None,
        times=instant(datetime.now(UTC)), properties={}, extensions=[], lineage="made by a benchmark",
        assets={"data": object_asset(stored, title="GeoParquet", roles=["data"])},
    )  # fmt: skip
    platform.register([item])
    return "points", platform.zones.internal.local_path(stored.key)


def measure_features(found: Measured, platform: Platform, item: str, data: Path, boxes: int, reads: int) -> None:
    """Query boxes and read the whole file, in turn."""
    frame = gpd.read_parquet(data)
    shapes = frame.geometry.to_numpy()
    west, south, east, north = frame.total_bounds
    # A tenth of each side is a hundredth of the area.
    width, height = (east - west) / 10, (north - south) / 10
    random = np.random.default_rng(1)

    def box_around(x: float, y: float) -> tuple[float, float, float, float]:
        left, low = np.clip([x - width / 2, y - height / 2], [west, south], [east - width, north - height]).tolist()
        return left, low, left + width, low + height

    times: dict[str, list[float]] = {"ours": [], "ours, first": [], "geopandas": []}
    for number in range(boxes):
        if number % max(1, boxes // reads) == 0:
            start = time.perf_counter()
            gpd.read_parquet(data)
            times["geopandas"].append(time.perf_counter() - start)
        here, elsewhere = shapes[random.integers(len(shapes), size=2)]
        # In the other half of the world.
        first = box_around(elsewhere.x, north if here.y < (south + north) / 2 else south)
        box = box_around(here.x, here.y)
        access = FeatureAccess(platform.lookup, platform.gate, platform.zones, platform.settings.query)
        for side, asked in (("ours, first", first), ("ours", box)):
            start = time.perf_counter()
            got = access.read(COLLECTION, item, bbox=BBox(*asked))
            times[side].append(time.perf_counter() - start)
            touching = shapely.intersects(shapes, shapely.box(*asked))
            found.compare(sorted(got["id"]) == sorted(frame["id"][touching]), f"rows of the box {asked}")
    found.rounds["features_vs_read"] = times
    median = {side: statistics.median(values) for side, values in times.items()}
    found.result["features_vs_read"] = round(median["geopandas"] / median["ours"], 1)
    found.result["first_vs_read"] = round(median["geopandas"] / median["ours, first"], 1)
    print("features of 1 %:", ", ".join(f"{side} {seconds * 1000:.0f} ms" for side, seconds in median.items()))


# -- styles ------------------------------------------------------------------------------------------------------------


def style(rules: int) -> Style:
    """Return a style whose rules ask for values, ranges and scales."""
    document: dict[str, Any] = {"name": "bench", "stylingRules": []}
    for number in range(rules):
        asked: dict[str, Any] = {"op": "=", "args": [{"property": "kind"}, number]}
        if number % 3 == 1:
            asked = {"op": "and", "args": [
                {"op": ">=", "args": [{"property": "value"}, number / rules]},
                {"op": "<", "args": [{"property": "value"}, (number + 1) / rules]},
            ]}  # fmt: skip
        elif number % 3 == 2:
            asked = {"op": "in", "args": [{"property": "name"}, [f"place {number}", f"place {number + 1}"]]}
        colour = [5 * number % 256, 90, 200 - 3 * number % 200]
        fill = {"color": colour, "opacity": 0.8}
        stroke = {"color": [20, 20, number % 256], "width": {"px": 1.5}}
        document["stylingRules"].append(
            {"name": f"rule {number}", "selector": asked, "symbolizer": {"fill": fill, "stroke": stroke}}
        )
    return Style.of(document)


def measure_encoders(found: Measured) -> None:
    """Encode a style by every encoder that takes vectors."""
    layer = StyledLayer(
        "bench:areas", "vector", 2, {"id": "number", "name": "text", "kind": "number", "value": "number"}
    )
    given = style(RULES)
    found.rounds["encoder_ms"] = {}
    for name in ENCODERS:
        encoder = ENCODERS[name]
        if "vector" not in encoder.kinds:
            continue
        times = []
        for _ in range(ENCODINGS):
            start = time.perf_counter()
            content = encoder.encode(given, layer).content
            times.append((time.perf_counter() - start) * 1000)
        found.compare(len(content) > 0, f"what {name} says")
        found.rounds["encoder_ms"][name] = times
        print(f"{RULES} rules as {name}: {statistics.median(times):.2f} ms")
    slowest = max(statistics.median(times) for times in found.rounds["encoder_ms"].values())
    found.result["encoder_ms"] = round(slowest, 2)


# -- the promise -------------------------------------------------------------------------------------------------------


def broken(result: Mapping[str, Any], *, equal: bool) -> list[str]:
    """Return the promises that are not kept."""
    missed = [] if equal else ["the sides do not give the same"]
    missed += [f"{key} is {result[key]}, below {limit:g}" for key, limit in AT_LEAST.items() if result[key] < limit]
    missed += [f"{key} is {result[key]}, above {limit:g}" for key, limit in AT_MOST.items() if result[key] > limit]
    return missed


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer features and rounds")
    parser.add_argument("--save", action="store_true", help=f"write every round to {RESULTS.relative_to(ROOT.parent)}")
    parser.add_argument("--kind", choices=("areas", "points"), default="areas", help="what is converted")
    default = Path(tempfile.gettempdir()) / "geoetl-benchmark-vector"
    parser.add_argument("--data", type=Path, default=default, help="where the files are kept (1 GB)")
    for hidden in ("--side", "--source", "--home", "--zoom"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        source, home = Path(arguments.source), Path(arguments.home)
        made = ingested(source, home) if arguments.side == "ours" else converted(source, home, int(arguments.zoom))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
        print(json.dumps({**made, "peak_gib": peak}))
        return 0

    sizes = QUICK if arguments.quick else FULL
    data = arguments.data.resolve()
    source = make_file(data, sizes.converted, arguments.kind)
    found = Measured()
    load_before = os.getloadavg()
    measure_encoders(found)
    with tempfile.TemporaryDirectory(dir=data) as name:
        measure_ingest(found, source, Path(name), sizes.rounds)
        platform = geoetl.connect(Path(name) / "home", allowed_roots=(str(data),))
        item, path = register_points(platform, Path(name), sizes.queried)
        measure_features(found, platform, item, path, sizes.boxes, sizes.reads)
    if arguments.save:
        save(found, load_before, quick=arguments.quick, kind=arguments.kind)
    missed = broken(found.result, equal=found.equal)
    for promise in missed:
        print(f"BROKEN: {promise}")
    print(json.dumps({**found.result, "equal": found.equal}))
    return int(bool(missed))


def save(found: Measured, load_before: tuple[float, ...], *, quick: bool, kind: str) -> None:
    """Write what was measured, with every round of it."""
    names = ("geopandas", "numpy", "pmtiles", "pyarrow", "pyogrio", "shapely")
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "when": time.strftime("%Y-%m-%d"),
        "sizes": "quick" if quick else "full",
        "kind": kind,
        "machine": {
            "cores": os.cpu_count(),
            "system": machine.platform(),
            "cache": "warm",
            "disk": "local",
            # Of the machine: above zero, others worked beside it.
            "load_average_before": [round(value, 2) for value in load_before],
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
        },
        "versions": {
            "python": machine.python_version(),
            "gdal": ".".join(map(str, pyogrio.__gdal_version__)),
            **{name: version(name) for name in names},
        },
        "result": {**found.result, "equal": found.equal},
        "rounds": {
            key: {side: [round(value, 4) for value in values] for side, values in sides.items()}
            for key, sides in found.rounds.items()
        },
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
