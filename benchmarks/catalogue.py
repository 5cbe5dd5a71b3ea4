"""Promises of the catalogue among 1,000,000 items on SQLite, with pgSTAC beside it.

* ingest from a file of one item a line, with every check, footprint, index and read-back: 15,000 items a second;
* a search in a box of 1 degree and one year takes 15 ms (median), an item by its ids 1 ms;
* a walk over 100,000 items through the HTTP API in pages of 1,000 takes 5,000 items a second.

The items are made here: 70 % scenes on a grid of tiles with tilted footprints, 25 % small scenes around 200 places, 5 %
large ones that last for years.  The boxes lie where items are.  Each search returns the newest 100 and the exact count;
ids and count are compared with a scan of all items in memory, whoever answers.

pgSTAC answers the same searches among the same items in the same rounds, alternated: `pgstac.search()` as its clients
call it, and our catalogue on it.  It holds fewer items than a million, so ours is measured on as many, too: the ratio
is of equals.  PostgreSQL runs as the tests start it (no fsync; its other settings as they come).
"""

import argparse
import gc
import json
import os
import platform as machine
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psycopg
import shapely

import geoetl
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.platform import Platform
from geoetl.store.catalog import Catalog, Search
from geoetl.store.catalog.bulk import load
from geoetl.store.database import Database

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "catalogue.json"
# What is promised for the full size: at most so long, or at least so many.
AT_MOST = {"search_p50_ms": 15.0, "item_p50_ms": 1.0}
AT_LEAST = {"ingest_items_per_s": 15_000, "walk_items_per_s": 5_000}
# And for every size: pgSTAC takes at least as long.
LEAST_RATIOS = {"search_vs_pgstac": 1.0}
LIMIT = 100
PAGE = 1_000
BATCH = 10_000
COLLECTION = "scenes"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_A_YEAR = int(365.25 * 24 * 3600)
# For a server to start on a busy machine.
PATIENCE_S = 120


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    items: int
    beside_pgstac: int
    walked: int
    boxes: int
    rounds: int = 5


QUICK = Sizes(items=20_000, beside_pgstac=20_000, walked=20_000, boxes=10)
FULL = Sizes(items=1_000_000, beside_pgstac=100_000, walked=100_000, boxes=40)


@dataclass
class Measured:
    """What came out."""

    result: dict[str, Any] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    equal: bool = True


@dataclass(frozen=True)
class Items:
    """What the scan looks at, one row for each item; the arrays are in the order of their numbers."""

    shapes: "np.ndarray[Any, np.dtype[np.object_]]"
    bounds: "np.ndarray[Any, np.dtype[np.float64]]"
    start_s: "np.ndarray[Any, np.dtype[np.int64]]"
    end_s: "np.ndarray[Any, np.dtype[np.int64]]"

    @staticmethod
    def make(count: int) -> "Items":
        """Make the items; the same count always gives the same ones."""
        random = np.random.default_rng(20261123)
        tiled, small = int(count * 0.7), int(count * 0.25)
        large = count - tiled - small
        grid = np.stack([random.integers(-178, 178, 6000), random.integers(-60, 75, 6000)], axis=1).astype(float)
        places = np.stack([random.uniform(-170, 170, 200), random.uniform(-50, 70, 200)], axis=1)
        centres = np.concatenate(
            [
                grid[random.integers(0, len(grid), tiled)] + random.normal(0, 0.02, (tiled, 2)),
                places[random.integers(0, len(places), small)] + random.normal(0, 2, (small, 2)),
                np.stack([random.uniform(-120, 120, large), random.uniform(-60, 60, large)], axis=1),
            ]
        )
        half = np.concatenate([np.full(tiled, 0.55), random.uniform(0.02, 0.3, small), random.uniform(3, 30, large)])
        tilt = np.where(np.arange(count) < tiled, 0.2, 0.0) * half
        x, y = centres[:, 0], centres[:, 1]
        west, east, south, north = x - half, x + half, y - half, y + half
        ring = [(west + tilt, south), (east, south + tilt), (east - tilt, north), (west, north - tilt)]
        rings = np.stack([np.stack(corner, axis=1) for corner in [*ring, ring[0]]], axis=1).round(6)
        start = np.concatenate(
            [
                random.integers(45 * SECONDS_A_YEAR, 56 * SECONDS_A_YEAR, tiled),
                random.integers(30 * SECONDS_A_YEAR, 56 * SECONDS_A_YEAR, small),
                random.integers(-100 * SECONDS_A_YEAR, 40 * SECONDS_A_YEAR, large),
            ]
        )
        lasting = np.concatenate([np.zeros(tiled + small, int), random.integers(1, 100 * SECONDS_A_YEAR, large)])
        order = random.permutation(count)
        shapes = np.asarray(shapely.polygons(rings[order]))
        return Items(shapes, shapely.bounds(shapes), start[order], (start + lasting)[order])

    def documents(self) -> Iterator[dict[str, Any]]:
        """Give the items as STAC, of about 1.5 kB each."""
        for number, (shape, box, start, end) in enumerate(
            zip(self.shapes, self.bounds.tolist(), self.start_s.tolist(), self.end_s.tolist(), strict=True)
        ):
            times = {"datetime": iso(start)}
            if end > start:
                times |= {"start_datetime": iso(start), "end_datetime": iso(end)}
            yield {
                "type": "Feature",
                "stac_version": "1.1.0",
                "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
                "id": name(number),
                "collection": COLLECTION,
                "bbox": box,
                "geometry": shape.__geo_interface__,
                "properties": {
                    **times,
                    "title": f"Scene {number}",
                    "eo:cloud_cover": number % 101,
                    "proj:code": "EPSG:32633",
                    "proj:shape": [10980, 10980],
                    "platform": f"sat-{number % 3}",
                },
                "links": [{"rel": "license", "href": "https://example.org/licence", "type": "text/html"}],
                "assets": {
                    band: {
                        "href": f"internal://scenes/{name(number)}/{band}.tif",
                        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                        "roles": ["data"],
                        "title": f"Band {band}",
                    }
                    for band in ("red", "green", "blue")
                },
            }

    def scan(self, box: BBox, years: tuple[int, int]) -> tuple[list[str], int]:
        """Give the ids of the newest `LIMIT` items that touch the box, and how many do."""
        west, south, east, north = self.bounds.T
        near = (west <= box.east) & (east >= box.west) & (south <= box.north) & (north >= box.south)
        near &= (self.start_s <= years[1]) & (self.end_s >= years[0])
        rows = np.flatnonzero(near)
        rows = rows[shapely.intersects(self.shapes[rows], shapely.box(box.west, box.south, box.east, box.north))]
        newest = sorted(((self.start_s[row], name(row)) for row in rows.tolist()), reverse=True)
        return [item_id for _, item_id in newest[:LIMIT]], len(rows)


def name(number: int) -> str:
    """Give the id of an item."""
    return f"scene-{number:07}"


def iso(seconds: int) -> str:
    """Give a time as STAC writes it."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


@dataclass(frozen=True)
class Question:
    """A search, and what the scan found."""

    search: Search
    ids: list[str]
    count: int


Answer = tuple[list[str], int]


def answer(catalog: Catalog) -> Callable[[Search], Answer]:
    """Return what answers with a catalogue of ours."""

    def ask_it(search: Search) -> Answer:
        page = catalog.search(search)
        return [item["id"] for item in page], page.matched or 0

    return ask_it


def stock_answer(connection: psycopg.Connection[Any]) -> Callable[[Search], Answer]:
    """Return what answers with ``pgstac.search()``, as stac-fastapi calls it; the count is asked for, as of ours."""

    def ask_it(search: Search) -> Answer:
        interval, box = search.interval, search.bbox
        assert interval
        assert interval.start
        assert interval.end
        assert box
        body = {
            "bbox": box.as_list(),
            "datetime": f"{interval.start.isoformat()}/{interval.end.isoformat()}",
            "limit": search.limit,
            "conf": {"context": "on"},
        }
        row = connection.execute("select pgstac.search(%s::text::jsonb)::text", (json.dumps(body),)).fetchone()
        page = orjson.loads(row[0]) if row else {}
        return [item["id"] for item in page["features"]], page["numberMatched"]

    return ask_it


def measure_searches(
    found: Measured, name: str, sides: Mapping[str, Callable[[Search], Answer]], questions: list[Question], rounds: int
) -> dict[str, tuple[float, float]]:
    """Return median and 95th percentile in ms of each side; every answer is compared with the scan."""
    times: dict[str, list[list[float]]] = {side: [] for side in sides}
    for round_number in range(rounds + 1):
        for side, ask_it in sides.items():
            gc.collect()
            taken = []
            for question in questions:
                began = time.perf_counter()
                got = ask_it(question.search)
                taken.append((time.perf_counter() - began) * 1000)
                if got != (question.ids, question.count):
                    found.equal = False
                    print(f"DIFFERENT: {side} gives {got[1]} items, the scan {question.count}: {question.search}")
            if round_number:  # the first fills the caches
                times[side].append(taken)
    found.rounds[name] = times
    return {side: percentiles(taken) for side, taken in times.items()}


def measure_items(found: Measured, catalog: Catalog, count: int) -> None:
    """Measure how long an item takes by its ids."""
    random = np.random.default_rng(11)
    taken = []
    for number in random.integers(0, count, 2_000).tolist():
        began = time.perf_counter()
        item = catalog.item(COLLECTION, name(number))
        taken.append((time.perf_counter() - began) * 1000)
        found.equal &= item["id"] == name(number)
    p50, p95 = percentiles([taken])
    found.result |= {"item_p50_ms": round(p50, 3), "item_p95_ms": round(p95, 3)}
    print(f"an item by its ids: {p50:.3f} / {p95:.3f} ms")


def measure_ingest(found: Measured, platform: Platform, items: Items, folder: Path, processes: int) -> None:
    """Measure how fast the items come from a file into the catalogue."""
    source = folder.parent / "incoming" / "items.ndjson"
    source.parent.mkdir()
    with source.open("wb") as file:
        for document in items.documents():
            file.write(orjson.dumps(document) + b"\n")
    count = len(items.shapes)
    began = time.perf_counter()
    loaded = load(platform.catalog, platform.zones, platform.gate, str(source), skip_bad=True, processes=processes)
    taken = time.perf_counter() - began
    found.equal &= (loaded.items, loaded.bad) == (count, 0)
    source.unlink()
    size_mb = sum(file.stat().st_size for file in folder.glob("**/*.db*")) / 1e6
    found.result |= {"items": count, "ingest_items_per_s": round(count / taken), "ingest_processes": processes}
    print(f"{count:,} items loaded: {count / taken:,.0f} items/s with {processes} processes, {size_mb:,.0f} MB")


def measure_upserts(found: Measured, platform: Platform, items: Items) -> None:
    """Measure how fast dictionaries come into the catalogue, in this process alone: what is there is replaced."""
    documents = [
        orjson.loads(orjson.dumps(document)) for _, document in zip(range(BATCH), items.documents(), strict=False)
    ]
    began = time.perf_counter()
    platform.catalog.upsert_items(documents)
    rate = len(documents) / (time.perf_counter() - began)
    found.result["replace_items_per_s"] = round(rate)
    print(f"{len(documents):,} items replaced in one process: {rate:,.0f} items/s")


def measure_walk(found: Measured, home: Path, platform: Platform, walked: int) -> None:
    """Measure a walk over the items through the HTTP API of a server of its own, one page after another."""
    expected = platform.catalog.search(Search(limit=PAGE)).items
    with served(home) as base, httpx.Client(base_url=base, timeout=PATIENCE_S) as client:
        for measured in (False, True):  # the first walk, a short one, fills the caches
            url, ids = f"/stac/search?limit={PAGE}", []
            began = time.perf_counter()
            while url and len(ids) < (walked if measured else 2 * PAGE):
                answer = client.get(url)
                answer.raise_for_status()
                page = orjson.loads(answer.content)
                ids += [item["id"] for item in page["features"]]
                url = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
            taken = time.perf_counter() - began
            found.equal &= ids[:PAGE] == [item["id"] for item in expected] and len(set(ids)) == len(ids)
    found.equal &= len(ids) == walked
    found.result |= {"walked": len(ids), "walk_items_per_s": round(len(ids) / taken)}
    print(f"{len(ids):,} items through the API in pages of {PAGE:,}: {len(ids) / taken:,.0f} items/s")


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Start `geoetl serve` on a free port, give its address, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "geoetl.cli", "serve", "--role", "etl", "--port", str(port), "--no-open"]
    log = home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env={**os.environ, "GEOETL_HOME": str(home)}, cwd=home, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{base}/stac", follow_redirects=True).is_success:
                    break
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield base
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def measure_pgstac(found: Measured, sizes: Sizes, folder: Path) -> None:
    """Measure the same searches on SQLite and pgSTAC with the same items."""
    sys.path.insert(0, str(ROOT.parent))
    from geoetl.store.catalog import PgstacCatalog
    from tests.postgres import find_programs, running

    programs = find_programs()
    if programs is None:
        print("PostgreSQL with PostGIS is not installed: pgSTAC is not measured.")
        return
    items = Items.make(sizes.beside_pgstac)
    own = connect(folder / "small")
    own.catalog.upsert_items(items.documents())
    with running(programs) as server:
        url = server.new_database()
        database = Database(url)
        database.upgrade()
        pgstac = PgstacCatalog(database, own.zones)
        pgstac.upsert_collection(COLLECTION_DOCUMENT)
        began = time.perf_counter()
        pgstac.upsert_items(items.documents())
        rate = len(items.shapes) / (time.perf_counter() - began)
        plain = url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain, autocommit=True, options="-c search_path=pgstac,public") as connection:
            connection.execute("analyze")
            [(release,)] = connection.execute("select pgstac.get_version()").fetchall()
            questions = ask(items, 1, sizes.boxes)
            sides = {
                "ours": answer(own.catalog),
                "pgstac": stock_answer(connection),
                "ours on pgstac": answer(pgstac),
            }
            taken = measure_searches(found, "beside pgstac", sides, questions, sizes.rounds)
        database.dispose()
    own.database.dispose()
    times = found.rounds["beside pgstac"]
    pairs = zip(times["ours"], times["pgstac"], strict=True)
    ratios = [statistics.median(b) / statistics.median(a) for a, b in pairs]
    found.result |= {
        "pgstac": release,
        "pgstac_items": len(items.shapes),
        "pgstac_ingest_items_per_s": round(rate),
        "search_at_pgstac_size_p50_ms": round(taken["ours"][0], 2),
        "pgstac_p50_ms": round(taken["pgstac"][0], 2),
        "pgstac_p95_ms": round(taken["pgstac"][1], 2),
        "our_pgstac_p50_ms": round(taken["ours on pgstac"][0], 2),
        "search_vs_pgstac": round(taken["pgstac"][0] / taken["ours"][0], 2),
        "search_vs_pgstac_min": round(min(ratios), 2),
        "search_vs_pgstac_max": round(max(ratios), 2),
    }
    print(f"among {len(items.shapes):,} items, box of 1 degree and one year (median / 95th percentile):")
    for side, (p50, p95) in taken.items():
        print(f"  {side:<15} {p50:8.2f} / {p95:8.2f} ms")
    print(
        f"  pgSTAC {release} to ours: {taken['pgstac'][0] / taken['ours'][0]:.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
    )


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.items:,} items; only equality and ratios decide")
    parser.add_argument("--save", action="store_true", help=f"write every round to {RESULTS.relative_to(ROOT.parent)}")
    parser.add_argument("--folder", type=Path, help="where the databases go (4 GB); by default a temporary folder")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="that work on a load, the writer among them"
    )
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    found = Measured()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name).resolve()
        home = folder / "large"
        platform = connect(home)
        items = Items.make(sizes.items)
        measure_ingest(found, platform, items, home, arguments.processes)
        measure_upserts(found, platform, items)
        for degrees, key in ((1, "search"), (10, "search_10deg")):
            questions = ask(items, degrees, sizes.boxes)
            taken = measure_searches(found, key, {"ours": answer(platform.catalog)}, questions, sizes.rounds)
            p50, p95 = taken["ours"]
            found.result |= {f"{key}_p50_ms": round(p50, 2), f"{key}_p95_ms": round(p95, 2)}
            matched = statistics.median(question.count for question in questions)
            print(f"box of {degrees}° and one year: {p50:.2f} / {p95:.2f} ms, {matched:g} matches")
        measure_items(found, platform.catalog, sizes.items)
        measure_walk(found, home, platform, sizes.walked)
        platform.database.dispose()
        measure_pgstac(found, sizes, folder)
    if arguments.save:
        save(found, load_before, quick=arguments.quick)
    missed = broken(found, quick=arguments.quick)
    for promise in missed:
        print(f"BROKEN: {promise}")
    print(json.dumps({**found.result, "equal": bool(found.equal)}))
    return int(bool(missed))


def broken(found: Measured, *, quick: bool) -> list[str]:
    """Return the promises that are not kept; times and rates are promised for the full size only."""
    result = found.result
    missed = [] if found.equal else ["an answer differs from the scan"]
    missed += [
        f"{key} is {result[key]}, below {limit:g}"
        for key, limit in LEAST_RATIOS.items()
        if result.get(key, limit) < limit
    ]
    if not quick:
        missed += [f"{key} is {result[key]}, above {limit:g}" for key, limit in AT_MOST.items() if result[key] > limit]
        missed += [
            f"{key} is {result[key]:,}, below {limit:,}" for key, limit in AT_LEAST.items() if result[key] < limit
        ]
    return missed


def save(found: Measured, load_before: tuple[float, ...], *, quick: bool) -> None:
    """Write what was measured, with every round of it."""
    names = ("httpx", "numpy", "orjson", "psycopg", "pypgstac", "shapely", "SQLAlchemy", "stac-fastapi-api", "uvicorn")
    import sqlite3

    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "when": time.strftime("%Y-%m-%d"),
        "sizes": "quick" if quick else "full",
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
            "sqlite": sqlite3.sqlite_version,
            **{name: version(name) for name in names},
        },
        "result": {**found.result, "equal": bool(found.equal)},
        "rounds_ms": {
            key: {side: [[round(ms, 3) for ms in one] for one in rounds] for side, rounds in sides.items()}
            for key, sides in found.rounds.items()
        },
    }
    RESULTS.write_text(json.dumps(document, separators=(",", ":")) + "\n", "utf-8")


COLLECTION_DOCUMENT: Mapping[str, Any] = {
    "type": "Collection",
    "stac_version": "1.1.0",
    "id": COLLECTION,
    "description": "Made for a benchmark.",
    "license": "CC0-1.0",
    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
    "links": [],
}


def connect(home: Path) -> Platform:
    """Open an empty platform with the collection of the scenes."""
    platform = geoetl.connect(home, allowed_roots=(home.parent / "incoming",))
    platform.catalog.upsert_collection(COLLECTION_DOCUMENT)
    return platform


def ask(items: Items, degrees: float, boxes: int) -> list[Question]:
    """Give searches around items that are there, each in one year, with the answer of the scan."""
    random = np.random.default_rng(7)
    questions = []
    for row in random.integers(0, len(items.shapes), boxes).tolist():
        west = min(float(items.bounds[row, 0]) + random.uniform(-0.5, 0.5), 180 - degrees)
        south = min(float(items.bounds[row, 1]) + random.uniform(-0.5, 0.5), 90 - degrees)
        box = BBox(max(west, -180.0), max(south, -90.0), max(west, -180.0) + degrees, max(south, -90.0) + degrees)
        start = int(random.integers(45 * SECONDS_A_YEAR, 55 * SECONDS_A_YEAR))
        years = (start, start + SECONDS_A_YEAR)
        interval = Interval(*(EPOCH + timedelta(seconds=end) for end in years))
        questions.append(Question(Search(bbox=box, interval=interval, limit=LIMIT), *items.scan(box, years)))
    return questions


def percentiles(rounds: list[list[float]]) -> tuple[float, float]:
    """Give the median and the 95th percentile of every time."""
    p50, p95 = np.percentile([time for one in rounds for time in one], [50, 95])
    return float(p50), float(p95)


if __name__ == "__main__":
    sys.exit(main())
