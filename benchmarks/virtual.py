"""Promise (P1 to P4): references are made 5 times faster than by kerchunk, and 30 times faster than a conversion.

Ours is the whole way: the header of every file with all attributes, pre-flight, joining, sampled checksums of the
sources, references on disk, and three fields (the first, the last, a random one) read back through them and compared
with the files. kerchunk and VirtualiZarr neither check nor compare. All sides are alternated in one process after a
warm-up that is not counted; every chunk reference is compared with kerchunk's, and fields with the files. The files are
made here and kept for the next time. `--large` measures 1 to 100 GB of sparse files with 10 million chunks, too.

    pipeline_vs_kerchunk      40 files of 365 chunks: SingleHdf5ToZarr, MultiZarrToZarr, JSON / ours        at least 5
    pipeline_vs_virtualizarr  the same by VirtualiZarr's HDFParser
    index_vs_kerchunk         one file of 73,000 chunks: SingleHdf5ToZarr / our whole header                at least 10
    small_files_vs_kerchunk   1000 files of 365 small chunks: kerchunk / ours, given two processes          at least 8
    references_vs_conversion  the fastest conversion of the 40 files to Zarr / ours                         at least 30
    reference_share           bytes of Parquet and of Icechunk references / bytes of the 40 files       at most 0.1 %
    linear                    ms a file, for 10, 20 and 40 files                    the last at most 1.25 x the first
    peak_memory_mb            of a process that does it all for the 40 files; of 100 GB                 at most 2000 MB

With `--quick` there are fewer and smaller files, so that what does not grow with them (to open the references takes
20 ms) weighs more; 0.6 of each ratio is asked then.
"""

import argparse
import contextlib
import gc
import json
import logging
import math
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from icechunk import set_logs_filter

from geoetl.core.settings import LimitSettings
from geoetl.store.gate import Gate
from geoetl.virtual import icechunk, kerchunk
from geoetl.virtual.combine import combine
from geoetl.virtual.hdf5 import chunk_table
from geoetl.virtual.header import FileHeader
from geoetl.virtual.manifest import CubeManifest
from geoetl.virtual.preflight import Verdict, preflight
from geoetl.virtual.read import read_header, read_headers

PROMISED = {
    "pipeline_vs_kerchunk": 5.0,
    "index_vs_kerchunk": 10.0,
    "small_files_vs_kerchunk": 8.0,
    "references_vs_conversion": 30.0,
}
QUICK_PART = 0.6
MAX_SHARE = 0.001
MAX_GROWTH = 1.25
MAX_MB = 2000
VARIABLE = "tas"
DAYS = 365
# Where `--save` puts what was measured.
ROOT = Path(__file__).resolve().parent
RESULTS, PICTURE = ROOT / "results" / "virtual.json", ROOT.parent / "docs" / "images" / "virtual-growth.png"
# What is measured: it is called with files.
Side = Callable[[Sequence[Path]], object]
# A large file: 100 days of a field of 500 x 500 cells in 100 chunks of 10 kB, 100 MB in all.
LARGE_STEPS, LARGE_SIDE, LARGE_CHUNK_SIDE = 100, 500, 50
LARGE_GB, LARGE_FILES_A_GB = (1, 10, 25, 50, 100), 10


# -- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """What one set of files looks like: `steps` days in each, a chunk a day."""

    name: str
    files: int
    steps: int
    rows: int
    columns: int

    def make(self, folder: Path) -> list[Path]:
        """Return the files, those that are not there yet made anew: smooth fields with a season, noleap calendar."""
        folder = folder / self.name
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).normal(280, 1, (self.rows, self.columns)).astype("f4")
        paths = []
        for number in range(self.files):
            years = self.steps // DAYS
            first = 1850 + number * years
            path = folder / f"tas_day_CESM2_historical_r1i1p1f1_gn_{first}0101-{first + years - 1}1231.nc"
            if not path.exists():
                unfinished = path.with_suffix(".part")
                self._write(unfinished, number * self.steps, noise)
                unfinished.rename(path)
            paths.append(path)
        return paths

    def _write(self, path: Path, first_step: int, noise: "np.ndarray[Any, Any]") -> None:
        import netCDF4

        with netCDF4.Dataset(path, "w") as file:
            file.setncatts({f"attribute_{n}": f"what attribute {n} of the file says " * 3 for n in range(45)})
            for name, size in (("time", None), ("lat", self.rows), ("lon", self.columns), ("bnds", 2)):
                file.createDimension(name, size)
            days = first_step + np.arange(self.steps) + 0.5
            clock = file.createVariable("time", "f8", ("time",), chunksizes=(512,))
            clock.setncatts({"units": "days since 1850-01-01", "calendar": "noleap", "axis": "T"})
            clock.setncatts({"standard_name": "time", "bounds": "time_bnds"})
            clock[:] = days
            bounds = file.createVariable("time_bnds", "f8", ("time", "bnds"), chunksizes=(1, 2))
            bounds[:] = np.stack([days - 0.5, days + 0.5], axis=1)
            for name, axis, unit, values in (
                ("lat", "Y", "degrees_north", np.linspace(-90, 90, self.rows)),
                ("lon", "X", "degrees_east", np.arange(self.columns) * 360 / self.columns),
            ):
                coordinate = file.createVariable(name, "f8", (name,))
                coordinate.setncatts({"units": unit, "axis": axis})
                coordinate[:] = values
            height = file.createVariable("height", "f8", ())
            height.setncatts({"units": "m", "positive": "up"})
            height[:] = 2.0
            missing = np.float32(1e20)
            field = file.createVariable(
                VARIABLE,
                "f4",
                ("time", "lat", "lon"),
                chunksizes=(1, self.rows, self.columns),
                zlib=True,
                complevel=1,
                shuffle=True,
                fill_value=missing,
            )
            field.setncatts({"units": "K", "standard_name": "air_temperature", "missing_value": missing})
            field.setncatts({"cell_methods": "area: time: mean", "coordinates": "height", "comment": "made " * 20})
            for start in range(0, self.steps, 73):
                day = np.arange(start, min(start + 73, self.steps), dtype="f4")[:, None, None]
                season = 10 * np.sin(2 * np.pi * day / DAYS) + day / 73
                field[start : start + len(day)] = noise + season


def make_large(folder: Path, count: int) -> list[Path]:
    """Return sparse files whose chunks have their place and no content, so that 100 GB take 1.3 GB of the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"tas_{number:04}.nc"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            _write_sparse(unfinished, number * LARGE_STEPS)
            unfinished.rename(path)
        paths.append(path)
    return paths


def _write_sparse(path: Path, first_day: int) -> None:
    import h5py

    with h5py.File(path, "w", libver="earliest") as file:
        clock = file.create_dataset("time", data=first_day + np.arange(LARGE_STEPS) + 0.5)
        clock.attrs.update({"units": "days since 1850-01-01", "calendar": "noleap"})
        ends = {"lat": (-90, 90, "degrees_north"), "lon": (0, 360, "degrees_east")}
        for name, (low, high, unit) in ends.items():
            file.create_dataset(name, data=np.linspace(low, high, LARGE_SIDE)).attrs["units"] = unit
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((1, LARGE_CHUNK_SIDE, LARGE_CHUNK_SIDE))
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((LARGE_STEPS, LARGE_SIDE, LARGE_SIDE))
        made = h5py.h5d.create(file.id, VARIABLE.encode(), h5py.h5t.IEEE_F32LE, space, creation)
        field = h5py.Dataset(made)
        field.attrs["units"] = "K"
        for axis, name in enumerate(("time", "lat", "lon")):
            file[name].make_scale(name)
            field.dims[axis].attach_scale(file[name])


# -- the sides -------------------------------------------------------------------------------------------------------


def ours(gate: Gate, paths: Sequence[Path], target: Path, *, processes: int = 1) -> CubeManifest:
    """Make references to files as JSON, by our whole way."""
    if processes == 1:
        headers = [read_header(gate, path) for path in paths]
    else:
        headers = read_headers(gate, paths, processes=processes)
    manifest = joined(headers)
    kerchunk.write_json(manifest, target)
    compare_fields(gate, target, headers)
    return manifest


def joined(headers: Sequence[FileHeader]) -> CubeManifest:
    """Look at headers before they are joined, and join them."""
    checked = preflight(headers)
    if checked.verdict is not Verdict.VIRTUALISE:
        raise AssertionError(checked.summary)
    by_address = {header.address: header for header in headers}
    return combine([by_address[address] for address in checked.groups[0]])


def compare_fields(gate: Gate, references: Path, headers: Sequence[FileHeader]) -> None:
    """Compare the first, the last and a random field, read through references, with those of the files."""
    begins = np.cumsum([0, *(header.steps for header in headers)])
    cube = gate.open_references(references, decode_cf=False)
    for step in (0, int(begins[-1]) - 1, int(np.random.default_rng().integers(begins[-1]))):
        number = int(np.searchsorted(begins, step, side="right")) - 1
        with gate.open_hdf5(Path(headers[number].address)) as file:
            expected = file[VARIABLE][step - begins[number]]
        if not np.array_equal(cube[VARIABLE].variable[step].values, expected, equal_nan=True):
            raise AssertionError(f"step {step} differs from the one in {headers[number].name}")


def by_kerchunk(paths: Sequence[Path], target: Path, *, processes: int = 1) -> None:
    """Make the same by kerchunk, nothing inlined: the faster way, and the only one with a reference for each chunk."""
    from kerchunk.combine import MultiZarrToZarr

    if processes == 1:
        each = [scanned(path) for path in paths]
    else:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            each = list(pool.map(scanned, paths, chunksize=math.ceil(len(paths) / processes / 8)))
    same = ["lat", "lon", "height"]
    whole = MultiZarrToZarr(each, concat_dims=["time"], identical_dims=same, inline_threshold=0).translate()
    target.write_text(json.dumps(whole), "utf-8")


def scanned(path: Path) -> dict[str, Any]:
    """Return kerchunk's references of one file."""
    from kerchunk.hdf import SingleHdf5ToZarr

    scanner = SingleHdf5ToZarr(str(path), inline_threshold=0)
    references: dict[str, Any] = scanner.translate()
    scanner.close()
    return references


def by_virtualizarr(paths: Sequence[Path], target: Path) -> None:
    """Make the same by VirtualiZarr, on plain files and with bounds left virtual, which is its fastest way."""
    import xarray as xr
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr import open_virtual_dataset
    from virtualizarr.parsers import HDFParser

    parser = HDFParser(reader_factory=lambda store, path: Path("/", path).open("rb"))  # noqa: SIM115  # h5py closes it
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    loaded = ["time", "lat", "lon", "height"]
    each = [open_virtual_dataset(path.as_uri(), registry, parser, loadable_variables=loaded) for path in paths]
    whole = xr.concat(each, "time", data_vars="minimal", coords="minimal", compat="override", join="override")
    whole.virtualize.to_kerchunk(str(target), format="json")


def converted(gate: Gate, paths: Sequence[Path], target: Path) -> None:
    """Convert by our own converter: balanced chunks in shards, compared with the files at the end."""
    from geoetl.virtual.convert import convert

    convert(gate, paths, target)


def converted_by_dask(paths: Sequence[Path], target: Path) -> None:
    """Convert as people do: xarray and Dask's threads, chunks of 73 days, blosc-zstd 3 with shuffle, unchecked."""
    import xarray as xr
    from zarr.codecs import BloscCodec

    with xr.open_mfdataset(
        paths,
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        chunks={"time": 73},
    ) as cube:
        for variable in cube.variables.values():
            variable.encoding.clear()
        packed = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
        chunks = (73, *cube[VARIABLE].shape[1:])
        cube.to_zarr(target, zarr_format=3, encoding={VARIABLE: {"chunks": chunks, "compressors": [packed]}})


# -- measuring -------------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """What was found: the last line, every round, and whether all sides gave the same."""

    result: dict[str, Any] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    equal: bool = True

    def alternate(
        self, key: str, rounds: int, paths: Sequence[Path], sides: Mapping[str, Side], *, warm: int | None = None
    ) -> dict[str, list[float]]:
        """Call the sides in turn; return the seconds of each.

        A first round, with the first `warm` files where it is given, fills the caches and is not counted.
        """
        times: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, side in sides.items():
                gc.collect()
                began = time.perf_counter()
                side(paths if number else paths[:warm])
                if number:
                    times[name].append(time.perf_counter() - began)
        self.rounds[key] = times
        return times

    def ratio(self, key: str, slow: Sequence[float], fast: Sequence[float]) -> None:
        """Note how many times slower one side is than the other: the median of the rounds."""
        each = [a / b for a, b in zip(slow, fast, strict=True)]
        self.result[key] = round(statistics.median(each), 2)
        said = f"   promised: at least {PROMISED[key]:g}" if key in PROMISED else ""
        print(f"    {key:<36} {self.result[key]:8.2f} ({min(each):.2f}-{max(each):.2f}){said}")

    def table(self, title: str, times: Mapping[str, Sequence[float]]) -> None:
        """Print median, minimum and maximum of each side."""
        print(title)
        for name, seconds in times.items():
            middle, low, high = (1000 * f(seconds) for f in (statistics.median, min, max))
            print(f"    {name:<36} {middle:10,.1f} ms ({low:,.1f}-{high:,.1f})")

    def check(self, what: str, is_equal: bool) -> None:
        """Note whether two sides gave the same."""
        self.equal &= is_equal
        print(f"    {what:<36} {'equal' if is_equal else 'DIFFERENT'}")


def references_of(path: Path) -> dict[str, tuple[str, int, int]]:
    """Return what the references of a JSON file point at."""
    return pointed_at(json.loads(path.read_bytes())["refs"])


def pointed_at(references: Mapping[str, Any]) -> dict[str, tuple[str, int, int]]:
    """Return file, offset and size of every chunk of the data variable."""
    chunks = {key: value for key, value in references.items() if key.startswith(f"{VARIABLE}/") and "/.z" not in key}
    return {key: (file.removeprefix("file://"), offset, size) for key, (file, offset, size) in chunks.items()}


def measure_pipeline(found: Measured, gate: Gate, paths: Sequence[Path], folder: Path, rounds: int) -> None:
    """Measure ours against kerchunk and VirtualiZarr, and what the formats of references take."""
    times = found.alternate(
        "pipeline",
        rounds,
        paths,
        {
            "ours": lambda files: ours(gate, files, folder / "ours.json"),
            "kerchunk": lambda files: by_kerchunk(files, folder / "kerchunk.json"),
            "virtualizarr": lambda files: by_virtualizarr(files, folder / "virtualizarr.json"),
        },
    )
    found.table(f"whole pipeline, {len(paths)} files", times)
    found.ratio("pipeline_vs_kerchunk", times["kerchunk"], times["ours"])
    found.ratio("pipeline_vs_virtualizarr", times["virtualizarr"], times["ours"])
    theirs = references_of(folder / "kerchunk.json")
    found.check(f"{len(theirs):,} references and kerchunk's", references_of(folder / "ours.json") == theirs)
    found.check("and VirtualiZarr's", references_of(folder / "virtualizarr.json") == theirs)

    manifest = ours(gate, paths, folder / "ours.json")
    kerchunk.write_parquet(manifest, folder / "ours.parquet")
    icechunk.write_repository(manifest, folder / "ours.icechunk")
    source = sum(path.stat().st_size for path in paths)
    shares = {form: size_of(folder / f"ours.{form}") / source for form in ("json", "parquet", "icechunk")}
    found.result["reference_share"] = {form: float(f"{share:.2g}") for form, share in shares.items()}
    print("    " + ", ".join(f"{form} {share:.4%}" for form, share in shares.items()) + f" of {source / 1e6:,.0f} MB")

    raw = gate.open_references(folder / "ours.json", decode_cf=False)
    [seconds] = found.alternate("verify", 3, paths, {"verify": lambda files: full_check(gate, raw, files)}).values()
    found.result["verify_s"] = round(statistics.median(seconds), 3)
    print(f"    {'full verification (not counted above)':<36} {1000 * statistics.median(seconds):10,.1f} ms")


def full_check(gate: Gate, raw: Any, paths: Sequence[Path]) -> None:
    """Compare a cube with its files as the pipeline does before it registers one; a difference raises."""
    from geoetl.virtual.verify import verify

    verify(gate, raw, paths, [VARIABLE])


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(part.stat().st_size for part in (path, *path.rglob("*")) if part.is_file())


def measure_linear(found: Measured, gate: Gate, paths: Sequence[Path], folder: Path, rounds: int) -> None:
    """Measure what a file costs among few and among many."""
    counts = [len(paths) // 4, len(paths) // 2, len(paths)]
    sides = {str(n): lambda files, n=n: ours(gate, files[:n], folder / "linear.json") for n in counts}
    times = found.alternate("linear", rounds, paths, sides)
    each = {count: 1000 * min(seconds) / int(count) for count, seconds in times.items()}
    found.result["linear"] = {count: round(cost, 2) for count, cost in each.items()}
    print("cost of a file: " + ", ".join(f"{cost:.2f} ms among {count}" for count, cost in each.items()))


def measure_index(found: Measured, gate: Gate, path: Path, rounds: int) -> None:
    """Measure the index of one file with many chunks."""
    import h5py

    def table_alone(files: Sequence[Path]) -> object:
        with h5py.File(files[0]) as file:
            return chunk_table(file[VARIABLE])

    times = found.alternate(
        "index",
        rounds,
        [path],
        {
            "ours: whole header": lambda files: read_header(gate, files[0]),
            "ours: index alone": table_alone,
            "kerchunk": lambda files: scanned(files[0]),
        },
    )
    header, table, theirs = times.values()
    grid = read_header(gate, path).arrays[VARIABLE].grid
    assert grid is not None
    found.table(f"one file of {grid.offsets.size:,} chunks", times)
    found.ratio("index_vs_kerchunk", theirs, header)
    found.ratio("index_alone_vs_kerchunk", theirs, table)
    for name, seconds in (("header", header), ("index", table), ("kerchunk", theirs)):
        found.result[f"{name}_us_per_chunk"] = round(1e6 * statistics.median(seconds) / grid.offsets.size, 3)
    mine = {
        f"{VARIABLE}/{'.'.join(map(str, place))}": (str(path), int(grid.offsets[place]), int(grid.sizes[place]))
        for place in np.ndindex(grid.shape)
    }
    found.check("every place, offset and size", mine == pointed_at(scanned(path)["refs"]))


def measure_small_files(found: Measured, gate: Gate, paths: Sequence[Path], folder: Path, rounds: int) -> None:
    """Measure many small files, read by two processes where that pays, which new ones have to be started for."""
    sides: dict[str, Side] = {
        "ours, 2 processes": lambda files: ours(gate, files, folder / "small.json", processes=2),
        "ours, 1 process": lambda files: ours(gate, files, folder / "small.json"),
        "kerchunk, 2 processes": lambda files: by_kerchunk(files, folder / "small-kerchunk.json", processes=2),
        "kerchunk, 1 process": lambda files: by_kerchunk(files, folder / "small-kerchunk.json"),
    }
    times = found.alternate("small_files", rounds, paths, sides, warm=8)
    found.table(f"{len(paths)} small files", times)
    two, one, kerchunk_two, kerchunk_one = times.values()
    found.ratio("small_files_vs_kerchunk", kerchunk_one, two)
    found.ratio("small_files_vs_kerchunk_2_processes", kerchunk_two, two)
    found.ratio("small_files_1_process_vs_kerchunk", kerchunk_one, one)
    theirs = references_of(folder / "small-kerchunk.json")
    found.check(f"{len(theirs):,} references and kerchunk's", references_of(folder / "small.json") == theirs)


def measure_conversion(found: Measured, gate: Gate, paths: Sequence[Path], folder: Path, rounds: int) -> None:
    """Measure ours against conversions to Zarr, the fastest of which counts."""
    stores = {"converted": folder / "ours.zarr", "converted by Dask": folder / "dask.zarr"}

    def fresh(store: Path, convert: Callable[[Sequence[Path], Path], None]) -> Side:
        def side(files: Sequence[Path]) -> None:
            shutil.rmtree(store, ignore_errors=True)
            convert(files, store)

        return side

    sides: dict[str, Side] = {
        "references": lambda files: ours(gate, files, folder / "ours.json"),
        "converted": fresh(stores["converted"], lambda files, target: converted(gate, files, target)),
        "converted by Dask": fresh(stores["converted by Dask"], converted_by_dask),
    }
    times = found.alternate("conversion", rounds, paths, sides, warm=1)
    found.table(f"conversion of {len(paths)} files", times)
    best = min(stores, key=lambda name: statistics.median(times[name]))
    found.ratio("references_vs_conversion", times[best], times["references"])
    source = sum(path.stat().st_size for path in paths)
    found.result["conversion_share"] = round(min(size_of(store) for store in stores.values()) / source, 3)
    found.check("fields of all stores and files", same_fields(gate, folder / "ours.json", list(stores.values()), paths))


def same_fields(gate: Gate, references: Path, stores: Sequence[Path], paths: Sequence[Path]) -> bool:
    """Tell whether fields of every file are the same through references, in converted stores and in the file."""
    cubes = [gate.open_references(references), *map(gate.open_zarr, stores)]
    random = np.random.default_rng(1)
    offset = 0
    for path in paths:
        with gate.open_netcdf(path) as file:
            steps = np.unique([0, file.sizes["time"] - 1, *random.integers(0, file.sizes["time"], 2)])
            expected = file[VARIABLE][steps]
            for cube in cubes:
                got = cube[VARIABLE][offset + steps]
                if not (
                    np.array_equal(got, expected, equal_nan=True) and (got["time"].values == expected["time"]).all()
                ):
                    return False
            offset += file.sizes["time"]
    return True


# -- memory and growth -------------------------------------------------------------------------------------------------


def measure_alone(paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Make and check references in this process, which does nothing else; return time and peak memory of each step."""
    gate = Gate((paths[0].parent, folder), LimitSettings())
    steps: dict[str, dict[str, float]] = {}

    @contextlib.contextmanager
    def step(name: str) -> Any:
        began = time.perf_counter()
        yield
        steps[name] = {"seconds": round(time.perf_counter() - began, 3), "peak_mb": round(resident_mb())}

    with step("import"):
        import h5py  # noqa: F401
        import pyarrow.parquet  # noqa: F401
        import xarray  # noqa: F401
    with step("read"):
        headers = [read_header(gate, path) for path in paths]
    with step("preflight and combine"):
        manifest = joined(headers)
    chunks = manifest.chunk_count
    del headers
    with step("parquet"):
        kerchunk.write_parquet(manifest, folder / "alone.parquet")
    with step("icechunk"):
        icechunk.write_repository(manifest, folder / "alone.icechunk")
    del manifest
    with step("verify"):
        full_check(gate, gate.open_references(folder / "alone.parquet", decode_cf=False), paths)
    return {
        "files": len(paths),
        "chunks": chunks,
        "source_gb": round(sum(path.stat().st_size for path in paths) / 1e9, 3),
        "parquet_bytes": size_of(folder / "alone.parquet"),
        "icechunk_bytes": size_of(folder / "alone.icechunk"),
        "steps": steps,
    }


def resident_mb() -> float:
    """Return the most memory that this process had so far."""
    if (status := Path("/proc/self/status")).exists():
        # On Linux ru_maxrss begins with what the process had that started this one.
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def alone(paths: Sequence[Path]) -> dict[str, Any]:
    """Run `measure_alone` in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "paths.json"
        listed.write_text(json.dumps([str(path) for path in paths]), "utf-8")
        command = [sys.executable, __file__, "--alone", str(listed)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def peak_mb(measured: Mapping[str, Any]) -> float:
    """Return the most memory that a process had."""
    return max(float(step["peak_mb"]) for step in measured["steps"].values())


def measure_large(found: Measured, folder: Path) -> None:
    """Measure 1 to 100 GB."""
    began = time.perf_counter()
    paths = make_large(folder / "large", LARGE_GB[-1] * LARGE_FILES_A_GB)
    on_disk = sum(path.stat().st_blocks * 512 for path in paths)
    size = sum(path.stat().st_size for path in paths)
    took = time.perf_counter() - began
    print(f"sparse files: {size / 1e9:.0f} GB, {on_disk / 1e9:.2f} GB of the disk, made in {took:.0f} s")
    growth = []
    for gigabytes in LARGE_GB:
        measured = alone(paths[: gigabytes * LARGE_FILES_A_GB])
        growth.append(measured)
        steps = measured["steps"]
        said = ", ".join(f"{name} {step['seconds']:.2f} s ({step['peak_mb']:.0f} MB)" for name, step in steps.items())
        print(f"{measured['source_gb']:6.1f} GB, {measured['chunks']:>10,} chunks: {said}", flush=True)
    found.result["large"] = {
        "gb": growth[-1]["source_gb"],
        "chunks": growth[-1]["chunks"],
        "seconds": round(sum(step["seconds"] for name, step in growth[-1]["steps"].items() if name != "import"), 1),
        "peak_memory_mb": peak_mb(growth[-1]),
        "parquet_share": float(f"{growth[-1]['parquet_bytes'] / size:.2g}"),
    }
    found.result["growth"] = growth


def draw(growth: Sequence[Mapping[str, Any]], picture: Path) -> None:
    """Draw time and peak memory against the size of the sources."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = [one["source_gb"] for one in growth]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = {
        "read": "read headers and chunk indexes",
        "preflight and combine": "pre-flight and combine",
        "parquet": "write Parquet",
        "icechunk": "write Icechunk",
        "verify": "verify against the files",
    }
    colours = ("#0b6b6b", "#4c9a98", "#e8871e", "#d1495b", "#5b5f97")
    bottom = np.zeros(len(growth))
    for (name, label), colour in zip(names.items(), colours, strict=True):
        seconds = np.array([one["steps"][name]["seconds"] for one in growth])
        left.fill_between(sizes, bottom, bottom + seconds, label=label, color=colour, linewidth=0)
        bottom += seconds
    left.plot(sizes, bottom, "o-", color="#222222", markersize=4, linewidth=1, label="all")
    left.set(xlabel="size of the source files (GB)", ylabel="time (s)", title="Time, one process")
    left.legend(loc="upper left", frameon=False, fontsize=9)
    peaks = [peak_mb(one) for one in growth]
    right.plot(sizes, peaks, "o-", color="#0b6b6b", markersize=4, label="peak of the process")
    right.axhline(MAX_MB, color="#d1495b", linestyle="--", linewidth=1, label="promised: below this")
    right.set(xlabel="size of the source files (GB)", ylabel="resident memory (MB)", title="Memory", ylim=(0, None))
    right.legend(loc="center left", frameon=False, fontsize=9)
    for axes in (left, right):
        axes.set_xlim(0, None)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        above = axes.secondary_xaxis("top", functions=(lambda gb: gb / 10, lambda millions: millions * 10))
        above.set_xlabel("chunks (million)", fontsize=8)
        above.tick_params(labelsize=8)
    left.set_ylim(0, None)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)


# -- the promise -------------------------------------------------------------------------------------------------------


def broken(found: Measured, part: float) -> list[str]:
    """Return the promises that are not kept.

    Args:
        found: What was measured.
        part: How much of the promised ratios is asked for.
    """
    result = found.result
    missed = [
        f"{key} is {result[key]}, not {part * limit:g}" for key, limit in PROMISED.items() if result[key] < part * limit
    ]
    for form in ("parquet", "icechunk"):
        if (share := result["reference_share"][form]) > MAX_SHARE:
            missed.append(f"{form} references are {share:.4%} of the files, not {MAX_SHARE:.1%}")
    first, *_, last = result["linear"].values()
    if last > MAX_GROWTH * first:
        missed.append(f"a file costs {last} ms among many and {first} ms among few")
    for peak in (result["peak_memory_mb"], result.get("large", {}).get("peak_memory_mb", 0)):
        if peak > MAX_MB:
            missed.append(f"a process took {peak:,.0f} MB of memory, not {MAX_MB:,}")
    return missed if found.equal else [*missed, "the sides do not give the same"]


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 files, 100 small ones and 7,300 chunks; fewer rounds")
    parser.add_argument("--large", action="store_true", help="measure 1 to 100 GB of sparse files, too")
    parser.add_argument("--save", action="store_true", help=f"write every round to {RESULTS.relative_to(ROOT.parent)}")
    default = Path(tempfile.gettempdir()) / "geoetl-benchmark-virtual"
    parser.add_argument("--data", type=Path, default=default, help="where the files are kept (2.8 GB; large: 1.4 GB)")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    # Else every repository warns that a local one takes one writer at a time.
    set_logs_filter("error")
    if arguments.alone:
        paths = [Path(path) for path in json.loads(arguments.alone.read_text("utf-8"))]
        print(json.dumps(measure_alone(paths, arguments.alone.parent)))
        return 0

    quick = arguments.quick
    data = arguments.data.resolve()
    cmip6 = Form("cmip6", 8 if quick else 40, DAYS, 192, 384).make(data)
    tiny = Form("tiny", 100 if quick else 1000, DAYS, 8, 16).make(data)
    [many] = Form("many-7300" if quick else "many", 1, 7300 if quick else 73_000, 24, 48).make(data)
    found = Measured()
    with tempfile.TemporaryDirectory(dir=data) as name:
        folder = Path(name)
        gate = Gate((data,), LimitSettings())
        measure_pipeline(found, gate, cmip6, folder, rounds=5)
        measure_linear(found, gate, cmip6, folder, rounds=5)
        measure_index(found, gate, many, rounds=5)
        measure_small_files(found, gate, tiny, folder, rounds=2 if quick else 5)
        measure_conversion(found, gate, cmip6, folder, rounds=1 if quick else 5)
        found.result["peak_memory_mb"] = peak_mb(alone(cmip6))
        if arguments.large:
            measure_large(found, data)
    growth = found.result.pop("growth", None)
    if arguments.save:
        save(found, growth, quick=quick)
    missed = broken(found, QUICK_PART if quick else 1)
    for promise in missed:
        print(f"BROKEN: {promise}")
    print(json.dumps({**found.result, "equal": found.equal}))
    return int(bool(missed))


def save(found: Measured, growth: Sequence[Mapping[str, Any]] | None, *, quick: bool) -> None:
    """Write what was measured, every round of it, and the picture of the growth."""
    names = ("h5py", "icechunk", "kerchunk", "netCDF4", "numpy", "virtualizarr", "xarray", "zarr")
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "when": time.strftime("%Y-%m-%d"),
        "sizes": "quick" if quick else "full",
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "cache": "warm", "disk": "local"},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "result": {**found.result, "equal": found.equal},
        "rounds_s": {
            key: {name: [round(s, 4) for s in seconds] for name, seconds in times.items()}
            for key, times in found.rounds.items()
        },
        **({"growth": growth} if growth else {}),
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if growth:
        draw(growth, PICTURE)


if __name__ == "__main__":
    sys.exit(main())
