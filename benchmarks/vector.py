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

The query asks for boxes of a hundredth of the file's extent, each by an access that has kept nothing, and gives the
features with attributes and geometry; reading is `geopandas.read_parquet` of the whole file. Rows have to be the same
as those of the frame in that box. The files are made here and kept for the next time.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely

import geoetl
from geoetl.access import FeatureAccess
from geoetl.core.spatial import BBox
from geoetl.ingest import VectorRequest
from geoetl.platform import Platform
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
RULES = 50
ENCODINGS = 30
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


QUICK = Sizes(converted=10_000, queried=300_000, rounds=2, boxes=12, reads=3)
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
    """Write features that lie as settlements do: dense here, sparse there; once."""
    path = folder / f"{kind}-{count}.fgb"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    centres = random.uniform([-120, -40], [120, 60], (200, 2))
    places = centres[random.integers(0, 200, count)] + random.normal(0, 2.5, (count, 2))
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
    start = time.perf_counter()
    stages = platform.ingest.vector
    checked = stages.validate(request)
    files = stages.to_files(request, checked)
    platform.register([stages.item(request, checked, files, None)])
    seconds = time.perf_counter() - start
    data = platform.zones.internal.local_path(files.data.key)
    return {"seconds": seconds, "zoom": files.max_zoom, "data": str(data), "item": request.item_id}


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


def measure_ingest(found: Measured, source: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Convert a file by both sides in turn; return our last turn."""
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
    return ours[-1]


def compare_files(found: Measured, ours: Path, plain: Path) -> None:
    """Compare what both sides wrote, row by row in the order of the ids."""
    one, other = (gpd.read_parquet(path).sort_values("id").reset_index(drop=True) for path in (ours, plain))
    found.compare(len(one) == len(other), f"{len(one)} and {len(other)} rows")
    found.compare(bool((one.drop(columns="geometry") == other.drop(columns="geometry")).all().all()), "attributes")
    found.compare(bool(shapely.equals(one.geometry.to_numpy(), other.geometry.to_numpy()).all()), "geometries")


# -- features ----------------------------------------------------------------------------------------------------------


def measure_features(found: Measured, platform: Platform, item: str, data: Path, boxes: int, reads: int) -> None:
    """Query boxes and read the whole file, in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    frame = gpd.read_parquet(data)
    west, south, east, north = frame.total_bounds
    random = np.random.default_rng(1)
    middles = shapely.get_coordinates(shapely.centroid(frame.geometry.to_numpy()))
    for number in range(boxes):
        if number % max(1, boxes // reads) == 0:
            start = time.perf_counter()
            gpd.read_parquet(data)
            theirs.append(time.perf_counter() - start)
        # A tenth of each side is a hundredth of the area; around a feature, so that there are some.
        x, y = middles[random.integers(len(middles))]
        left = float(np.clip(x - (east - west) / 20, west, east - (east - west) / 10))
        low = float(np.clip(y - (north - south) / 20, south, north - (north - south) / 10))
        box = (left, low, left + (east - west) / 10, low + (north - south) / 10)
        access = FeatureAccess(platform.lookup, platform.gate, platform.zones, platform.settings.query)
        start = time.perf_counter()
        got = access.read(COLLECTION, item, bbox=BBox(*box))
        ours.append(time.perf_counter() - start)
        touching = shapely.intersects(frame.geometry.to_numpy(), shapely.box(*box))
        found.compare(sorted(got["id"]) == sorted(frame["id"][touching]), f"rows of the box {box}")
    found.rounds["features_vs_read"] = {"ours": ours, "geopandas": theirs}
    found.result["features_vs_read"] = round(statistics.median(theirs) / statistics.median(ours), 1)
    ours_ms, theirs_ms = (statistics.median(times) * 1000 for times in (ours, theirs))
    print(f"features of 1 %: {ours_ms:.0f} ms, file read: {theirs_ms:.0f} ms")


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
        last = measure_ingest(found, source, Path(name), sizes.rounds)
        home = Path(name) / f"ours-{sizes.rounds - 1}"
        if sizes.queried != sizes.converted:
            other = make_file(data, sizes.queried, "points")
            home = Path(name) / "queried"
            last = turn("ours", other, home, 0, None)
        platform = geoetl.connect(home, allowed_roots=(str(data),))
        measure_features(found, platform, last["item"], Path(last["data"]), sizes.boxes, sizes.reads)
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
