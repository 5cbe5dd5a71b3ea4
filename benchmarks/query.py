"""Promises of the query service, with titiler and `open_mfdataset` beside it.

    point_vs_titiler          requests a second for the values at a place                          at least 1.5
    bbox_vs_titiler           pictures of 256 x 256 pixels of a box                                 at least 1.2
    tile_vs_titiler           tiles of 256 x 256 pixels                                             at least 1.0
    point_p99_under_heavy     p99 of a point beside 20 clients that clip / p99 alone                at most 2.0
    series_vs_open_mfdataset  a cube opened and the series at a point read: open_mfdataset / ours   at least 1.5
    open_vs_open_mfdataset    a cube opened                                                         at least 5.0

Two COGs of 4000 x 4000 pixels are made: a scene in UTM (3 bands of 8 bits) and heights in degrees (float). Both servers
run on their own in one process, ours as `geoetl serve` with its guard, limits and log (and with
GEOETL_SERVER__PICTURES_APART=false, as its process for heavy requests would be a second one), titiler as its
documentation has it: the plain factory under uvicorn, GDAL with the settings that its container has. One client process
asks both the same questions in turn, over 1 and over 8 connections that stay open; the ratio is the median of all
rounds. Before, answers are compared: values are equal, pictures have the same size and nearly the same pixels (titiler
takes the nearest pixel of an overview, ours the nearest of the average that it makes of the next finer one).

Of the 20 clients 10 ask for what is refused, and wait a second before they try again, and 10 for what is allowed and
takes long; these begin the next at once. They ask a server of its own, as `geoetl serve` is by default: with its
process for heavy requests. titiler has no such promise, and is not asked.

The cube is one of daily fields in NetCDF files of a year each, through references of ours; both sides open it anew for
each series. Files are made here and kept for the next time.
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
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

import geoetl
from geoetl.core.spatial import BBox
from geoetl.platform import Platform
from geoetl.store.catalog.item import new_collection

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "query.json"
AT_LEAST = {
    "point_vs_titiler": 1.5,
    "bbox_vs_titiler": 1.2,
    "tile_vs_titiler": 1.0,
    "series_vs_open_mfdataset": 1.5,
    "open_vs_open_mfdataset": 5.0,
}
AT_MOST = {"point_p99_under_heavy": 2.0}
COLLECTION, SCENE, HEIGHTS, CUBE = "bench", "scene", "heights", "cube"
SIDE = 4000
# Pixels a side of pictures and tiles.
PICTURE = 256
CONNECTIONS = (1, 8)
HEAVY_CLIENTS = 20
# A refused client tries again after this time.
PAUSE_S = 1.0
# For a server to start on a busy machine.
PATIENCE_S = 120
# Of titiler's own container (its dockerfiles and docker-compose.yml).
TITILER_GDAL = {
    "GDAL_CACHEMAX": "200",
    "GDAL_BAND_BLOCK_CACHE": "HASHSET",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
    "PYTHONWARNINGS": "ignore",
}
# Of 255 steps: as far apart may pixels be on average that come from two ways of reading an overview.
MEAN_DIFFERENCE = 4.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        points, boxes, tiles: Requests in each round.
        rounds: How often each side has its turn.
        latencies: Points whose time is taken, alone and beside heavy questions.
        years: Files of the cube.
        openings: How often the cube is opened by each side.
    """

    points: int
    boxes: int
    tiles: int
    rounds: int
    latencies: int
    years: int
    openings: int


QUICK = Sizes(points=200, boxes=40, tiles=40, rounds=2, latencies=400, years=2, openings=2)
FULL = Sizes(points=2_000, boxes=400, tiles=400, rounds=7, latencies=3_000, years=20, openings=5)


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


# -- files -----------------------------------------------------------------------------------------------------------


def make_rasters(folder: Path) -> dict[str, Path]:
    """Return the two COGs, made anew where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20260101)
    down, across = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    waves = sum(
        np.sin((across * np.cos(angle) + down * np.sin(angle)) / length + angle)
        for angle, length in zip(random.uniform(0, np.pi, 8), np.geomspace(15, 600, 8), strict=True)
    )
    made = {}
    for name in (SCENE, HEIGHTS):
        made[name] = path = folder / f"{name}.tif"
        if path.exists():
            continue
        if name == SCENE:
            tint = np.array([1.0, 0.8, 0.6], dtype=np.float32)[:, np.newaxis, np.newaxis]
            noise = random.normal(0, 3, (3, SIDE, SIDE)).astype(np.float32)
            bands = np.clip(120 + 12 * waves * tint + noise, 1, 255).astype(np.uint8)
            place = {"crs": "EPSG:32633", "transform": (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0)}
        else:
            bands = (1500 + 150 * waves + random.normal(0, 2, (SIDE, SIDE))).astype(np.float32)[np.newaxis]
            step = 0.4 / SIDE
            place = {"crs": "EPSG:4326", "transform": (step, 0.0, 15.0, 0.0, -step, 47.6)}
        write_cog(path, bands, place)
    return made


def write_cog(path: Path, bands: "np.ndarray[Any, Any]", place: Mapping[str, Any]) -> None:
    """Write a COG as our pipeline and titiler's both do: tiles of 512, DEFLATE, averaged overviews."""
    import rasterio
    from affine import Affine
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    count, height, width = bands.shape
    form = {"count": count, "height": height, "width": width, "dtype": bands.dtype, "crs": place["crs"]}
    options = {"photometric": "RGB"} if count == 3 else {"nodata": -9999.0}
    unfinished = path.with_suffix(".part")
    with MemoryFile() as memory:
        transform = Affine(*place["transform"])
        with memory.open(driver="GTiff", transform=transform, **form, **options) as out:
            out.write(bands)
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
            how = {"compress": "DEFLATE", "predictor": "YES", "blocksize": 512, "overview_resampling": "AVERAGE"}
            copy(memory.name, unfinished, driver="COG", **how)
    unfinished.rename(path)


def register(platform: Platform, rasters: Mapping[str, Path], cube: Path) -> None:
    """Put the files into the catalogue."""
    platform.catalog.upsert_collection(new_collection(COLLECTION, title="Benchmark", licence="CC0-1.0"))
    cog = {"type": "image/tiff; application=geotiff; profile=cloud-optimized", "roles": ["data"]}
    references = {"type": "application/json", "roles": ["references", "data"]}
    assets = {name: {"data": {**cog, "href": str(path)}} for name, path in rasters.items()}
    assets[CUBE] = {"references": {**references, "href": str(cube), "xarray:open_kwargs": {"engine": "kerchunk"}}}
    box = BBox(15.0, 47.0, 16.0, 48.0)
    platform.catalog.upsert_items(
        [
            {
                "type": "Feature",
                "stac_version": "1.1.0",
                "id": name,
                "collection": COLLECTION,
                "bbox": box.as_list(),
                "geometry": box.geometry(),
                "properties": {"datetime": "2026-01-01T00:00:00Z"},
                "links": [],
                "assets": own,
            }
            for name, own in assets.items()
        ]
    )


# -- servers ---------------------------------------------------------------------------------------------------------


@contextmanager
def served(command: Sequence[str], ready: str, environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Start a server on a free port, give the port once it answers, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, **environment},
            cwd=log.parent,
            stdout=output,
            stderr=output,
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            with suppress(OSError):
                with Connection(port) as one:
                    if one.get(ready).status == 200:
                        break
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def serve_titiler(port: int) -> None:
    """Serve titiler's factory of COGs as its documentation has it."""
    import uvicorn
    from fastapi import FastAPI
    from titiler.core.errors import DEFAULT_STATUS_CODES, add_exception_handlers
    from titiler.core.factory import TilerFactory

    app = FastAPI()
    app.include_router(TilerFactory().router)
    add_exception_handlers(app, DEFAULT_STATUS_CODES)
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


# -- the client ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes


class Connection:
    """A connection that stays open, with as little of a client on it as is possible: it shall take no time itself."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str) -> Answer:
        """Ask for a path."""
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def post(self, path: str, document: Any) -> Answer:
        """Send a JSON document."""
        body = orjson.dumps(document)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        return self.ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        self._socket.sendall(request)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = bytes(received[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = received[end + 4 :]
        while len(body) < length:
            body += self._more()
        return Answer(int(head[9:12]), bytes(body))

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 18)
        if not part:
            raise OSError("the server closed the connection")
        return part


def time_of(port: int, paths: Sequence[str], connections: int) -> float:
    """Return the seconds that a server takes to answer all of these, over so many connections at a time."""
    left = iter(paths)
    lock = threading.Lock()
    failed: list[str] = []

    def work(connection: Connection) -> None:
        while True:
            with lock:
                path = next(left, None)
            if path is None:
                return
            if connection.get(path).status != 200:
                failed.append(path)

    with ExitStack() as stack:
        opened = [stack.enter_context(Connection(port)) for _ in range(connections)]
        threads = [threading.Thread(target=work, args=(connection,)) for connection in opened]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed, one of them {failed[0]}")
    return took


# -- questions that both are asked -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """One question, as each server takes it."""

    ours: str
    titiler: str


@dataclass(frozen=True)
class Places:
    """Where the rasters lie: boxes in degrees that are inside of them."""

    paths: Mapping[str, Path]
    boxes: Mapping[str, BBox] = field(
        default_factory=lambda: {SCENE: BBox(15.01, 47.50, 15.51, 47.84), HEIGHTS: BBox(15.0, 47.2, 15.4, 47.6)}
    )
    styles: Mapping[str, tuple[str, str]] = field(
        default_factory=lambda: {
            SCENE: ("rescale=0,255", "rescale=0,255"),
            HEIGHTS: ("rescale=500,2500&{map}=viridis", "rescale=500,2500&colormap_name=viridis"),
        }
    )

    def points(self, count: int) -> list[Pair]:
        """Return random places."""
        random = np.random.default_rng(1)
        pairs = []
        for number in range(count):
            name = (SCENE, HEIGHTS)[number % 2]
            box = self.boxes[name]
            at = f"{random.uniform(box.west, box.east):.10f},{random.uniform(box.south, box.north):.10f}"
            pairs.append(
                Pair(f"/api/raster/point/{COLLECTION}/{name}?location={at}", f"/point/{at}?url={self.paths[name]}")
            )
        return pairs

    def pictures(self, count: int) -> list[Pair]:
        """Return boxes from the size of the picture in pixels to half of the raster."""
        random = np.random.default_rng(2)
        pairs = []
        for number in range(count):
            name = (SCENE, HEIGHTS)[number % 2]
            box = self.boxes[name]
            share = PICTURE / SIDE * 2 ** random.uniform(0, 3)
            wide, high = box.width_deg * share, box.height_deg * share
            west, south = random.uniform(box.west, box.east - wide), random.uniform(box.south, box.north - high)
            edges = f"{west:.7f},{south:.7f},{west + wide:.7f},{south + high:.7f}"
            ours, theirs = self.styles[name]
            size = f"width={PICTURE}&height={PICTURE}&format=png&crs=EPSG:4326"
            style = ours.format(map="colormap")
            pairs.append(
                Pair(
                    f"/api/raster/extract/{COLLECTION}/{name}?bbox={edges}&{size}&{style}",
                    f"/bbox/{edges}/{PICTURE}x{PICTURE}.png?url={self.paths[name]}&{theirs}",
                )
            )
        return pairs

    def tiles(self, count: int) -> list[Pair]:
        """Return tiles from the zoom of the pixels to the one at which four tiles hold the raster."""
        import morecantile

        grid = morecantile.tms.get("WebMercatorQuad")
        random = np.random.default_rng(3)
        pairs = []
        for number in range(count):
            name = (SCENE, HEIGHTS)[number % 2]
            box = self.boxes[name]
            at = random.uniform(box.west, box.east), random.uniform(box.south, box.north)
            tile = grid.tile(*at, int(random.integers(10, 14)))
            ours, theirs = self.styles[name]
            where, style = f"{tile.z}/{tile.x}/{tile.y}.png", ours.format(map="colormap_name")
            pairs.append(
                Pair(
                    f"/tiles/raster/{COLLECTION}/{name}/WebMercatorQuad/{where}?{style}",
                    f"/tiles/WebMercatorQuad/{where}?url={self.paths[name]}&{theirs}",
                )
            )
        return pairs


def compare_points(found: Measured, ours: int, titiler: int, pairs: Sequence[Pair]) -> None:
    """Compare values: they have to be equal."""
    with Connection(ours) as own, Connection(titiler) as other:
        for pair in pairs:
            one, two = (orjson.loads(answer.body) for answer in (own.get(pair.ours), other.get(pair.titiler)))
            found.compare(one["values"] == two["values"], f"{pair.ours}: {one['values']} and {two['values']}")


def compare_pictures(found: Measured, name: str, ours: int, titiler: int, pairs: Sequence[Pair]) -> None:
    """Compare pictures: of the same size, of the same shape, and nearly of the same colours."""
    apart, sizes = [], []
    with Connection(ours) as own, Connection(titiler) as other:
        for pair in pairs:
            answers = own.get(pair.ours), other.get(pair.titiler)
            if {answer.status for answer in answers} != {200}:
                found.compare(False, f"{pair.ours}: {[answer.status for answer in answers]} {answers[0].body[:200]!r}")
                continue
            one, two = (np.asarray(Image.open(BytesIO(answer.body)).convert("RGBA")).astype(int) for answer in answers)
            found.compare(one.shape == two.shape == (PICTURE, PICTURE, 4), f"{pair.ours}: {one.shape} and {two.shape}")
            both = (one[..., 3] > 0) & (two[..., 3] > 0)
            edge = np.mean((one[..., 3] > 0) != (two[..., 3] > 0))
            found.compare(edge < 0.02, f"{pair.ours}: {edge:.1%} of the pixels have data on one side only")
            apart.append(float(np.abs(one - two)[both][:, :3].mean()) if both.any() else 0.0)
            found.compare(apart[-1] < MEAN_DIFFERENCE, f"{pair.ours}: {apart[-1]:.1f} of 255 apart")
            sizes.append([len(answer.body) for answer in answers])
    if sizes:
        kilobytes = np.mean(sizes, axis=0) / 1000
        found.result[f"{name}_kb"] = {"ours": round(kilobytes[0], 1), "titiler": round(kilobytes[1], 1)}
        found.result[f"{name}_mean_difference"] = round(float(np.mean(apart)), 2)


def measure_pairs(found: Measured, name: str, ours: int, titiler: int, pairs: Sequence[Pair], rounds: int) -> None:
    """Let both servers answer in turn, over few and many connections; the first round fills the caches."""
    sides = {
        "ours": (ours, [pair.ours for pair in pairs]),
        "titiler": (titiler, [pair.titiler for pair in pairs]),
    }
    ratios = []
    for connections in CONNECTIONS:
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds + 1):
            for side, (port, paths) in sides.items():
                seconds = time_of(port, paths, connections)
                if number:
                    taken[side].append(seconds)
        found.rounds[f"{name} over {connections}"] = taken
        each = [theirs / own for own, theirs in zip(taken["ours"], taken["titiler"], strict=True)]
        ratios += each
        rates = {side: len(pairs) / statistics.median(seconds) for side, seconds in taken.items()}
        found.result[f"{name}_per_s_{connections}"] = {side: round(rate) for side, rate in rates.items()}
        said = ", ".join(f"{side} {rate:,.0f}/s" for side, rate in rates.items())
        print(f"{name:>6} over {connections}: {said}, {statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})")
    found.result[f"{name}_vs_titiler"] = round(statistics.median(ratios), 2)


# -- points beside heavy questions -----------------------------------------------------------------------------------


def ring(box: BBox, share: float) -> dict[str, Any]:
    """Return an ellipse of 2,000 corners in the south-west of a box, with a share of its sides, as GeoJSON."""
    turns = np.linspace(0, 2 * np.pi, 2000)
    wide, high = box.width_deg * share / 2, box.height_deg * share / 2
    places = np.stack([box.west + wide * (1 + np.cos(turns)), box.south + high * (1 + np.sin(turns))], axis=1).tolist()
    return {"type": "Polygon", "coordinates": [[*places[:-1], places[0]]]}


def hammer(port: int, seconds: float, boxes: Mapping[str, BBox]) -> None:
    """Ask for clips from 20 clients for a time; print how many were answered in which way."""
    # Real clients have machines of their own: what these ones do shall not take the processors from the server.
    os.nice(19)
    until = time.monotonic() + seconds
    counts: dict[int, int] = {}
    lock = threading.Lock()

    def work(number: int) -> None:
        # At its own size a clip of half of the scene's sides is allowed, and one of the whole scene is not.
        document = ring(boxes[SCENE], 0.5 if number % 2 else 1.0)
        time.sleep(number * PAUSE_S / HEAVY_CLIENTS)
        with Connection(port) as connection:
            while time.monotonic() < until:
                status = connection.post(f"/api/raster/clip/{COLLECTION}/{SCENE}?format=tif", document).status
                with lock:
                    counts[status] = counts.get(status, 0) + 1
                if status != 200:
                    time.sleep(PAUSE_S)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(HEAVY_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


def latencies(port: int, paths: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Return the milliseconds of each request, one after another."""
    taken = []
    with Connection(port) as connection:
        for path in paths:
            began = time.perf_counter()
            if connection.get(path).status != 200:
                raise RuntimeError(f"{path} failed")
            taken.append((time.perf_counter() - began) * 1000)
    return np.array(taken)


def measure_heavy(found: Measured, port: int, places: Places, count: int, rounds: int) -> None:
    """Measure points alone and beside heavy questions, in turn."""
    paths = [pair.ours for pair in places.points(count)]
    latencies(port, paths[:50])
    taken: dict[str, list[float]] = {"alone": [], "beside heavy": []}
    medians: dict[str, list[float]] = {"alone": [], "beside heavy": []}
    answered: dict[str, int] = {}
    for _ in range(rounds):
        for side in taken:
            beside = side != "alone"
            with ExitStack() as stack:
                if beside:
                    lasting = max(6.0, count * 0.006)
                    command = [sys.executable, str(ROOT / "query.py"), "--hammer", str(port), "--seconds", str(lasting)]
                    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                    stack.callback(other.wait)
                    time.sleep(1.5)  # until they are at it
                measured = latencies(port, paths)
                if beside:
                    said, _ = other.communicate(timeout=PATIENCE_S)
                    for status, times in json.loads(said).items():
                        answered[status] = answered.get(status, 0) + times
            taken[side].append(float(np.percentile(measured, 99)))
            medians[side].append(float(np.median(measured)))
    found.rounds["point p99"] = taken
    alone, beside_heavy = (statistics.median(taken[side]) for side in taken)
    found.compare(answered.get("413", 0) > 0 and answered.get("200", 0) > 0, f"clips were answered so: {answered}")
    found.result |= {
        "point_p99_ms": {"alone": round(alone, 2), "beside_heavy": round(beside_heavy, 2)},
        "point_p50_ms": {
            side.replace(" ", "_"): round(statistics.median(values), 2) for side, values in medians.items()
        },
        "point_p99_under_heavy": round(beside_heavy / alone, 2),
        "clips": answered,
    }
    print(f" p99 of a point: {alone:.1f} ms alone, {beside_heavy:.1f} ms beside {HEAVY_CLIENTS} clients ({answered})")


# -- cubes -----------------------------------------------------------------------------------------------------------


def make_cube(folder: Path, platform: Platform, years: int) -> tuple[list[Path], Path]:
    """Return the files of the cube and references to them."""
    # The form of the files, and how references are made, are those of the benchmark of virtual cubes.
    import virtual

    files = virtual.Form("series", years, virtual.DAYS, 96, 192).make(folder)
    references = folder / f"cube-{years}.json"
    if not references.exists():
        unfinished = references.with_suffix(".part")
        virtual.ours(platform.gate, files, unfinished)
        unfinished.rename(references)
    return files, references


def measure_cube(found: Measured, platform: Platform, files: Sequence[Path], openings: int) -> None:
    """Open a cube and read a series by both sides in turn."""
    import xarray as xr

    from geoetl.access import CubeAccess
    from geoetl.core.spatial import Point

    random = np.random.default_rng(4)

    def mfdataset() -> "xr.Dataset":
        return xr.open_mfdataset(
            files,
            combine="nested",
            concat_dim="time",
            data_vars="minimal",
            coords="minimal",
            compat="override",
            engine="h5netcdf",
        )

    def fresh() -> CubeAccess:
        return CubeAccess(platform.lookup, platform.gate, platform.zones)

    def our_series(at: Point) -> "np.ndarray[Any, Any]":
        return np.array(fresh().series(COLLECTION, CUBE, at).values, dtype=np.float32)

    def their_series(at: Point) -> "np.ndarray[Any, Any]":
        with mfdataset() as cube:
            return np.asarray(cube["tas"].sel(lat=at.lat, lon=at.lon % 360, method="nearest").values)

    def their_opening(at: Point) -> None:
        mfdataset().close()

    keys: dict[str, dict[str, Callable[[Point], Any]]] = {
        "open_vs_open_mfdataset": {
            "ours": lambda at: fresh().open(COLLECTION, CUBE),
            "open_mfdataset": their_opening,
        },
        "series_vs_open_mfdataset": {"ours": our_series, "open_mfdataset": their_series},
    }
    for key, sides in keys.items():
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(openings + 1):
            at = Point(float(random.uniform(-170, 170)), float(random.uniform(-80, 80)))
            answers = []
            for side, call in sides.items():
                gc.collect()
                began = time.perf_counter()
                answers.append(call(at))
                if number:
                    taken[side].append(time.perf_counter() - began)
            if key == "series_vs_open_mfdataset":
                found.compare(np.array_equal(answers[0], answers[1], equal_nan=True), f"the series at {at}")
        found.rounds[key] = taken
        each = [theirs / own for own, theirs in zip(*taken.values(), strict=True)]
        found.result[key] = round(statistics.median(each), 2)
        said = ", ".join(f"{side} {statistics.median(seconds):.3f} s" for side, seconds in taken.items())
        print(f"{key}: {said}, {found.result[key]} ({min(each):.2f}-{max(each):.2f})")


# -- the promise -----------------------------------------------------------------------------------------------------


def broken(found: Measured) -> list[str]:
    """Return the promises that are not kept."""
    result = found.result
    missed = [] if found.equal else ["the sides do not give the same"]
    missed += [f"{key} is {result[key]}, below {limit:g}" for key, limit in AT_LEAST.items() if result[key] < limit]
    missed += [f"{key} is {result[key]}, above {limit:g}" for key, limit in AT_MOST.items() if result[key] > limit]
    return missed


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests, rounds and years")
    parser.add_argument("--save", action="store_true", help=f"write every round to {RESULTS.relative_to(ROOT.parent)}")
    default = Path(tempfile.gettempdir()) / "geoetl-benchmark-query"
    parser.add_argument("--data", type=Path, default=default, help="where the files are kept (600 MB)")
    for hidden in ("--titiler", "--hammer", "--seconds", "--port"):
        parser.add_argument(hidden, nargs="?", const="1", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.titiler:
        serve_titiler(int(arguments.port))
        return 0
    if arguments.hammer:
        hammer(int(arguments.hammer), float(arguments.seconds), Places({}).boxes)
        return 0

    sizes = QUICK if arguments.quick else FULL
    data = arguments.data.resolve()
    rasters = make_rasters(data)
    found = Measured()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory(dir=data) as name, ExitStack() as stack:
        home = Path(name) / "home"
        platform = geoetl.connect(home, allowed_roots=(str(data),))
        files, cube = make_cube(data, platform, sizes.years)
        register(platform, rasters, cube)
        places = Places(rasters)
        own = [sys.executable, "-m", "geoetl.cli", "serve", "--role", "etl", "--no-open"]
        settings = {"GEOETL_HOME": str(home), "GEOETL_ALLOWED_ROOTS": json.dumps([str(data)])}
        alone = {**settings, "GEOETL_SERVER__PICTURES_APART": "false"}
        ours = stack.enter_context(served(own, "/api/livez", alone, home / "ours.log"))
        other = [sys.executable, __file__, "--titiler"]
        titiler = stack.enter_context(served(other, "/openapi.json", TITILER_GDAL, home / "titiler.log"))
        compare_points(found, ours, titiler, places.points(100))
        compare_pictures(found, "bbox", ours, titiler, places.pictures(24))
        compare_pictures(found, "tile", ours, titiler, places.tiles(24))
        measure_pairs(found, "point", ours, titiler, places.points(sizes.points), sizes.rounds)
        measure_pairs(found, "bbox", ours, titiler, places.pictures(sizes.boxes), sizes.rounds)
        measure_pairs(found, "tile", ours, titiler, places.tiles(sizes.tiles), sizes.rounds)
        stack.close()
        with served(own, "/api/livez", settings, home / "default.log") as port:
            measure_heavy(found, port, places, sizes.latencies, 2 if arguments.quick else 3)
        measure_cube(found, platform, files, sizes.openings)
    if arguments.save:
        save(found, load_before, quick=arguments.quick)
    missed = broken(found)
    for promise in missed:
        print(f"BROKEN: {promise}")
    print(json.dumps({**found.result, "equal": bool(found.equal)}))
    return int(bool(missed))


def save(found: Measured, load_before: tuple[float, ...], *, quick: bool) -> None:
    """Write what was measured, with every round of it."""
    names = ("fastapi", "numpy", "rasterio", "rio-tiler", "starlette", "titiler-core", "uvicorn", "xarray", "zarr")
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
        "versions": {"python": machine.python_version(), **{name: version(name) for name in names}},
        "result": {**found.result, "equal": bool(found.equal)},
        "rounds": {
            key: {side: [round(value, 4) for value in values] for side, values in sides.items()}
            for key, sides in found.rounds.items()
        },
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
