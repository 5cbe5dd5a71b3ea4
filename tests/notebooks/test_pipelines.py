"""The pipelines through the production runner: from file to catalogue, and what happens when it goes wrong."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

import geoetl
from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import BBox, Point
from geoetl.platform import Platform
from geoetl.runs.model import RunState
from geoetl.runs.pipeline import load_pipeline, pipelines
from geoetl.store.catalog import Search
from geoetl.store.samples import sample_path
from tests.schemas import schema_errors

SOME_CUBES = {"source_id": ["KACE-1-0-G", "CanESM5"], "table_id": ["Amon"]}


def notebook_text(platform: Platform, key: str | None) -> str:
    assert key is not None
    return platform.zones.internal.local_path(key).read_text("utf-8")


def item_of(platform: Platform, collection: str, item: str) -> dict[str, Any]:
    """Return the item after checking what every item has to satisfy."""
    found = platform.catalog.item(collection, item)
    assert schema_errors(dict(found)) == []
    assert pystac.Item.from_dict(json.loads(json.dumps(found))).to_dict(transform_hrefs=False) == found
    (execution,) = [link for link in found["links"] if link["rel"] == "processing-execution"]
    assert Path(execution["href"]).is_file()
    return found


def test_a_raster_goes_from_file_to_catalogue(platform: Platform) -> None:
    record = platform.run("ingest-raster", {"source": "samples:landsat_rgb.tif", "collection": "images"})
    assert record.raise_for_error().state is RunState.COMPLETED
    names = ["validate", "convert", "describe", "register", "style", "illustrate"]
    assert [stage.name for stage in record.stages] == names
    item = item_of(platform, "images", "landsat_rgb")
    with (
        rasterio.open(sample_path("landsat_rgb.tif")) as before,
        rasterio.open(item["assets"]["data"]["href"]) as after,
    ):
        np.testing.assert_array_equal(before.read(), after.read())
    assert Path(item["assets"]["thumbnail"]["href"]).read_bytes().startswith(b"\x89PNG")
    assert platform.catalog.collection("images")["extent"]["spatial"]["bbox"] == [item["bbox"]]
    assert str(platform.settings.home) not in notebook_text(platform, record.notebook)


def test_features_go_from_file_to_catalogue(platform: Platform) -> None:
    platform.run("ingest-vector", {"source": "samples:us_states.geojson", "collection": "areas"}).raise_for_error()
    item = item_of(platform, "areas", "us_states")
    made = gpd.read_parquet(item["assets"]["data"]["href"])
    assert set(made["state"]) == set(gpd.read_file(sample_path("us_states.geojson"))["state"])
    assert item["properties"]["table:row_count"] == len(made)


def test_climate_files_go_from_folder_to_catalogue(platform: Platform) -> None:
    record = platform.run(
        "virtualise-cmip6", {"source": "samples:cmip6", "collection": "cmip6", "select": SOME_CUBES}
    ).raise_for_error()
    references = next(stage for stage in record.stages if stage.name == "references")
    assert references.done == references.total == len(record.result["items"]) >= 2
    for item_id in record.result["items"]:
        item = item_of(platform, "cmip6", item_id)
        source = sample_path("cmip6") / "/".join(
            item["properties"][f"cmip6:{name}"]
            for name in ("activity_id", "institution_id", "source_id", "experiment_id", "member_id", "table_id")
        )
        paths = sorted(source.rglob("*.nc"))
        coder = xr.coders.CFDatetimeCoder(use_cftime=True)
        with (
            xr.open_mfdataset(
                paths, combine="nested", concat_dim="time", decode_times=coder, data_vars="minimal"
            ) as files,
            platform.gate.open_references(Path(item["assets"]["references"]["href"]), decode_times=coder) as cube,
        ):
            xr.testing.assert_equal(cube["ta"].compute(), files["ta"].compute())
            assert str(cube["time"].encoding["calendar"]) == str(files["time"].encoding["calendar"])


def test_the_same_run_is_not_repeated_until_its_item_is_gone_or_its_source_changes(
    platform: Platform, tmp_path: Path
) -> None:
    source = tmp_path / "mine.tif"
    shutil.copy(sample_path("landsat_rgb.tif"), source)
    first = platform.run("ingest-raster", {"source": "mine.tif", "collection": "images"})
    again = platform.run("ingest-raster", {"source": str(source), "collection": "images"})
    assert (again.id, again.reused) == (first.id, True)
    platform.catalog.delete_item("images", "mine")
    anew = platform.run("ingest-raster", {"source": "mine.tif", "collection": "images"})
    assert not anew.reused
    assert anew.id != first.id
    platform.catalog.item("images", "mine")
    source.touch()
    assert platform.run("ingest-raster", {"source": "mine.tif", "collection": "images"}).id not in (first.id, anew.id)


def large_raster(path: Path) -> Path:
    """Write noise that takes a few seconds to convert."""
    data = np.random.default_rng(0).integers(0, 255, (3, 5000, 5000), dtype="uint8")
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=5000, width=5000, dtype="uint8", crs="EPSG:32633",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as dataset:  # fmt: skip
        dataset.write(data)
    return path


def kernels_end(run_id: str) -> bool:
    """Wait until no kernel of the run is left: it notices that its parent is gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        environments = [path for path in Path("/proc").glob("[0-9]*/environ") if _mentions(path, run_id)]
        if not environments:
            return True
        time.sleep(0.1)
    return False


def _mentions(path: Path, run_id: str) -> bool:
    try:
        return f"GEOETL_RUN={run_id}".encode() in path.read_bytes()
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_run_goes_on_behind_its_last_finished_stage(platform: Platform, tmp_path: Path) -> None:
    large_raster(tmp_path / "large.tif")
    command = [sys.executable, "-m", "geoetl.cli", "run", "ingest-raster", "source=large.tif", "collection=c"]
    victim = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        started = platform.runs.list(limit=1)
        if started and [stage.name for stage in started[0].stages if stage.state is RunState.COMPLETED] == ["validate"]:
            break
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    (before,) = platform.runs.list()
    assert before.state is RunState.INTERRUPTED
    assert kernels_end(before.id)
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (after,) = platform.runs.list()
    assert (after.id, after.state, after.attempt) == (before.id, RunState.COMPLETED, 2)
    assert {stage.name: stage.attempt for stage in after.stages} == {
        "validate": 1, "convert": 2, "describe": 2, "register": 2, "style": 2, "illustrate": 2,
    }  # fmt: skip
    assert len(list((platform.settings.home / "internal" / "rasters").rglob("*.tif"))) == 1


def test_a_run_killed_among_its_cubes_makes_only_the_others(platform: Platform, tmp_path: Path) -> None:
    request = ["source=samples:cmip6", "collection=c", 'select={"table_id": ["day"]}']
    command = [sys.executable, "-m", "geoetl.cli", "run", "virtualise-cmip6", *request]
    victim = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        started = platform.runs.list(limit=1)
        if started and any(stage.name == "references" and stage.done >= 2 for stage in started[0].stages):
            break
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    (before,) = platform.runs.list()
    assert kernels_end(before.id)
    zone = platform.settings.home / "internal" / "cubes"
    finished = platform.runs.finished_tasks(before.id, "references")
    assert 2 <= len(finished) < 30
    written = {path: path.stat().st_mtime_ns for path in zone.rglob("*.json")}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (after,) = platform.runs.list()
    assert (after.id, after.state, after.attempt) == (before.id, RunState.COMPLETED, 2)
    assert {stage.name: stage.attempt for stage in after.stages if stage.name == "inventory"} == {"inventory": 1}
    made = [key for text in finished.values() for key in re.findall(r'"key":"([^"]+)"', text)]
    assert made
    for key in made:
        path = platform.settings.home / "internal" / key
        assert path.stat().st_mtime_ns == written[path]
    assert len(platform.catalog.search(Search(collections=("c",), limit=100)).items) == len(after.result["items"])


def write_bare_raster(path: Path) -> None:
    with rasterio.open(path, "w", driver="GTiff", count=1, height=2, width=2, dtype="uint8"):
        pass


BAD_INPUT = {
    "missing file": ("ingest-raster", "nowhere.tif", lambda path: None, "not_found", "There is no file 'nowhere.tif'"),
    "HTML named tif": (
        "ingest-raster", "page.tif", lambda path: path.write_text("<!DOCTYPE html><html></html>"), "unreadable_file",
        "'page.tif' is a web page",
    ),
    "raster without CRS": ("ingest-raster", "bare.tif", write_bare_raster, "missing_crs", "'bare.tif' does not say"),
    "empty GeoJSON": (
        "ingest-vector", "empty.geojson",
        lambda path: path.write_text('{"type": "FeatureCollection", "features": []}'), "empty_dataset",
        "'empty.geojson' has no features",
    ),
    "NetCDF that is not CMIP6": (
        "virtualise-cmip6", "air.nc", lambda path: shutil.copy(sample_path("air_temperature_small.nc"), path),
        "not_cmip6", "'air.nc' does not follow the CMIP6 file name",
    ),
    "a folder": ("ingest-raster", "folder", lambda path: path.mkdir(), "unreadable_file", "is a folder"),
    "outside": ("ingest-raster", "/etc/hostname", lambda path: None, "outside_allowed_roots", "lies outside"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_fails_the_run_with_one_sentence_and_changes_nothing(
    platform: Platform, tmp_path: Path, name: str
) -> None:
    pipeline, source, make, code, says = BAD_INPUT[name]
    make(tmp_path / source)
    record = platform.run(pipeline, {"source": source, "collection": "c"})
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error["code"] == code
    assert says in record.error["detail"]
    assert record.error["hint"]
    assert "\n" not in record.error["detail"]
    assert str(tmp_path) not in json.dumps(record.error)
    assert platform.catalog.collections() == []
    assert {p.name for p in (platform.settings.home / "internal").rglob("*") if p.is_file()} == {"notebook.ipynb"}
    assert "Traceback" not in notebook_text(platform, record.notebook)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"source": "x.tif", "colection": "c"}, "colection"),
        ({"source": "x.tif", "collection": 7}, "collection"),
        ({"collection": "c"}, "source"),
        ({"source": "x.tif", "bbox=1\nprint(1)\ny": 1}, "bbox=1\nprint(1)\ny"),
    ],
)
def test_wrong_parameters_are_refused_before_a_run_exists(
    platform: Platform, parameters: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParameter) as caught:
        platform.run("ingest-raster", parameters)
    assert caught.value.field == field
    assert platform.runs.list() == []


def test_a_wrong_id_fails_in_the_typed_request(platform: Platform) -> None:
    record = platform.run("ingest-raster", {"source": "samples:landsat_rgb.tif", "collection": "../c"})
    assert record.error is not None
    assert (record.error["code"], record.stages) == ("invalid_parameter", ())
    assert "'../c' is not a valid collection" in record.error["detail"]


@pytest.mark.parametrize("name", pipelines())
def test_a_pipeline_names_what_it_cannot_do_without(name: str) -> None:
    pipeline = load_pipeline(name)
    if name == "janitor":  # it cleans up whatever there is
        assert not any(one.required for one in pipeline.parameters.values())
    else:
        assert pipeline.parameters[pipeline.subject or "source"].required


def test_runs_live_in_postgresql_when_its_url_says_so(home: Path, fresh_postgres_url: str) -> None:
    platform = geoetl.connect(database={"url": fresh_postgres_url})
    record = platform.run("ingest-vector", {"source": "samples:us_states.geojson", "collection": "areas"})
    assert record.raise_for_error().state is RunState.COMPLETED
    assert platform.runs.list()[0].id == record.id
    assert platform.catalog.item("areas", "us_states")["properties"]["table:row_count"] == 49
    assert not (home / "geoetl.db").exists()


def test_two_runs_at_once_both_succeed(platform: Platform, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "geoetl.cli", "run", "--json"]
    runs = [
        subprocess.Popen([*command, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for arguments in (
            ["ingest-vector", "source=samples:us_states.geojson", "collection=both"],
            ["ingest-raster", "source=samples:landsat_rgb.tif", "collection=both"],
        )
    ]
    for run in runs:
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err.decode()
        assert json.loads(out)["state"] == "completed"
    assert {item["id"] for item in platform.catalog.search(Search()).items} == {"us_states", "landsat_rgb"}
    box = BBox.from_list(platform.catalog.collection("both")["extent"]["spatial"]["bbox"][0])
    assert all(box.contains(Point(lon, lat)) for lon, lat in ((-120, 49), (-77, 24), (-67, 45)))
