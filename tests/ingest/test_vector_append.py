"""Features added to those that are there, and what is left when ingest is broken off."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoetl.core.errors import Conflict, InvalidParameter, Unavailable
from geoetl.ingest import VectorIngest, VectorRequest
from geoetl.ingest.vector import CheckedVector, VectorFiles
from geoetl.store.catalog.item import new_collection
from geoetl.store.catalog.sqlite import SqliteCatalog
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone, Zones


@pytest.fixture
def catalogued(parts: tuple[Gate, Zone, Path], tmp_path: Path) -> VectorIngest:
    """Give the stages with a catalogue."""
    gate, zone, scratch = parts
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    zones = Zones(zone, Zone("external", (tmp_path / "external").as_uri(), zone.artifacts, tmp_path / "cache"))
    catalog = SqliteCatalog(database, zones)
    catalog.upsert_collection(new_collection("c"))
    return VectorIngest(gate, zone, scratch, catalog)


def ingest(vector: VectorIngest, path: Path, **more: Any) -> tuple[CheckedVector, VectorFiles]:
    request = VectorRequest(source=str(path), collection="c", item="it", **more)
    checked = vector.validate(request)
    files = vector.to_files(request, checked)
    assert vector.catalog is not None
    vector.catalog.upsert_items([vector.item(request, checked, files, None)])
    return checked, files


def made(vector: VectorIngest, files: VectorFiles) -> gpd.GeoDataFrame:
    return gpd.read_parquet(vector.zone.local_path(files.data.key)).sort_values("n").reset_index(drop=True)


def places(path: Path, numbers: list[int], **columns: Any) -> Path:
    shapes = [shapely.Point(n, n) for n in numbers]
    gpd.GeoDataFrame({"n": numbers, **columns}, geometry=shapes, crs="EPSG:4326").to_file(path)
    return path


def codes(checked: CheckedVector) -> list[str]:
    return [finding.code for finding in checked.findings]


def test_an_item_keeps_what_it_says_of_itself_when_features_are_added(catalogued: VectorIngest, tmp_path: Path) -> None:
    said = {"title": "Springs", "description": "All springs", "license": "CC0-1.0", "keywords": ("water",)}
    ingest(catalogued, places(tmp_path / "a.gpkg", [1]), **said)
    ingest(catalogued, places(tmp_path / "more.gpkg", [2]), mode="append", description="Nearly all springs")
    assert catalogued.catalog is not None
    properties = catalogued.catalog.item("c", "it")["properties"]
    expected = {**said, "description": "Nearly all springs", "keywords": ["water"]}
    assert {name: properties[name] for name in said} == expected


def test_replace_is_the_default_and_leaves_only_the_new(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1, 2]))
    _, files = ingest(catalogued, places(tmp_path / "b.gpkg", [3]))
    assert made(catalogued, files)["n"].tolist() == [3]


def test_features_are_added_in_one_order(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1, 5, 9], name=["a", "b", "c"]))
    checked, files = ingest(catalogued, places(tmp_path / "b.gpkg", [2, 8], name=["d", "e"]), mode="append")
    frame = made(catalogued, files)
    assert frame["n"].tolist() == [1, 2, 5, 8, 9]
    assert (files.rows, files.bbox, checked.rows) == (5, (1.0, 1.0, 9.0, 9.0), 2)
    assert catalogued.catalog is not None
    item = catalogued.catalog.item("c", "it")
    assert item["properties"]["table:row_count"] == 5
    assert item["bbox"] == [1, 1, 9, 9]
    assert files.zooms[-1].features == 5


def test_the_first_append_makes_the_item(catalogued: VectorIngest, tmp_path: Path) -> None:
    checked, files = ingest(catalogued, places(tmp_path / "a.gpkg", [1]), mode="append")
    assert (checked.present, files.rows) == (None, 1)


def test_the_same_features_are_not_added_twice(catalogued: VectorIngest, tmp_path: Path) -> None:
    _, first = ingest(catalogued, places(tmp_path / "a.gpkg", [1, 2], name=["a", None]))
    _, again = ingest(catalogued, tmp_path / "a.gpkg", mode="append")
    assert again.data.sha256 == first.data.sha256
    assert [(f.code, f.subject) for f in again.findings] == [("already_there", "rows 1, 2")]
    _, more = ingest(catalogued, places(tmp_path / "b.gpkg", [2, 3], name=[None, "c"]), mode="append")
    assert made(catalogued, more)["n"].tolist() == [1, 2, 3]
    assert [(f.code, f.subject) for f in more.findings] == [("already_there", "rows 1")]


def test_a_promoted_geometry_is_known_again(catalogued: VectorIngest, tmp_path: Path) -> None:
    one, two = shapely.box(0, 0, 1, 1), shapely.MultiPolygon([shapely.box(2, 2, 3, 3), shapely.box(5, 5, 6, 6)])
    gpd.GeoDataFrame({"n": [1, 2]}, geometry=[one, two], crs="EPSG:4326").to_file(tmp_path / "a.gpkg")
    gpd.GeoDataFrame({"n": [1]}, geometry=[one], crs="EPSG:4326").to_file(tmp_path / "b.gpkg")
    ingest(catalogued, tmp_path / "a.gpkg")
    _, files = ingest(catalogued, tmp_path / "b.gpkg", mode="append")
    assert (files.rows, [finding.code for finding in files.findings]) == (2, ["already_there"])


def test_columns_that_differ_are_told(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1], old=["x"], wide=np.array([1], "int32")))
    checked, files = ingest(
        catalogued, places(tmp_path / "b.gpkg", [2], new=["y"], wide=np.array([1.5])), mode="append"
    )
    assert codes(checked) == ["columns_added", "columns_missing", "columns_widened"]
    told = {finding.code: finding.message for finding in checked.findings}
    assert told["columns_added"].endswith(": new.")
    assert told["columns_missing"].endswith(": old.")
    assert "wide (int32 and float64)" in told["columns_widened"]
    frame = made(catalogued, files)
    assert frame["wide"].tolist() == [1.0, 1.5]
    assert (frame["old"].isna().tolist(), frame["new"].isna().tolist()) == ([False, True], [True, False])


def test_columns_of_another_kind_are_refused_by_name(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1], name=["x"], level=[3]))
    path = places(tmp_path / "b.gpkg", [2], name=[7], level=["high"])
    with pytest.raises(InvalidParameter, match=r"name \(string, now int64\), level \(int64, now string\)") as caught:
        ingest(catalogued, path, mode="append")
    assert caught.value.field == "mode"


def test_times_span_what_was_there_and_what_is_added(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1], day=["2020-01-01"]), temporal_property="day")
    _, files = ingest(
        catalogued, places(tmp_path / "b.gpkg", [2], day=["2021-01-01"]), temporal_property="day", mode="append"
    )
    assert files.interval == ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")


def test_features_that_another_run_has_added_meanwhile_are_not_lost(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1]))
    mine = VectorRequest(
        source=str(places(tmp_path / "b.gpkg", [2])),
        collection="c",
        item="it",
        mode="append",  # type: ignore[arg-type]
    )
    checked = catalogued.validate(mine)
    ingest(catalogued, places(tmp_path / "c.gpkg", [3]), mode="append")
    with pytest.raises(Conflict, match="were changed by another run"):
        catalogued.to_files(mine, checked)


def test_an_item_of_another_kind_takes_no_features(catalogued: VectorIngest, tmp_path: Path) -> None:
    ingest(catalogued, places(tmp_path / "a.gpkg", [1]))
    assert catalogued.catalog is not None
    item = json.loads(json.dumps(catalogued.catalog.item("c", "it")))
    del item["assets"]["data"]
    catalogued.catalog.upsert_items([item])
    with pytest.raises(Conflict, match="has no features that others could be added to"):
        ingest(catalogued, places(tmp_path / "b.gpkg", [2]), mode="append")


# -- broken off --------------------------------------------------------------------------------------------------------


def test_a_source_that_changes_between_the_stages_is_refused(vector: VectorIngest, tmp_path: Path) -> None:
    from geoetl.core.errors import UnreadableFile

    request = VectorRequest(source=str(places(tmp_path / "a.gpkg", [1])), collection="c")
    checked = vector.validate(request)
    places(tmp_path / "a.gpkg", [1, 2])
    with pytest.raises(UnreadableFile, match="changed after it was validated"):
        vector.to_files(request, checked)


KILLED = """
import sys
from pathlib import Path
from geoetl.core.settings import LimitSettings
from geoetl.ingest import VectorIngest, VectorRequest
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.zones import Zone
folder = Path(sys.argv[1])
zone = Zone("internal", (folder / "zone").as_uri(), ArtifactRepository(Database(f"sqlite:///{folder / 'test.db'}")),
            folder / "cache")
vector = VectorIngest(Gate((folder,), LimitSettings()), zone, folder / "scratch")
request = VectorRequest(source=str(folder / "a.fgb"), collection="c")
checked = vector.validate(request)
print("checked", flush=True)
vector.to_files(request, checked)
print("done", flush=True)
"""


def objects(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_killed_conversion_leaves_no_half_object(vector: VectorIngest, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = shapely.points(random.uniform(-80, 80, (200_000, 2)))
    gpd.GeoDataFrame({"n": range(200_000)}, geometry=shapes, crs="EPSG:4326").to_file(
        tmp_path / "a.fgb", SPATIAL_INDEX="NO"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "checked\n"
    scratch = tmp_path / "scratch"
    while not (scratch.is_dir() and any(scratch.rglob("spill.arrow"))):
        assert victim.poll() is None
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert objects(tmp_path / "zone") == set()
    request = VectorRequest(source=str(tmp_path / "a.fgb"), collection="c")
    files = vector.to_files(request, vector.validate(request))
    assert files.rows == 200_000
    assert objects(tmp_path / "zone") == {files.data.key, files.pmtiles.key, files.thumbnail.key}


def test_a_full_disk_is_told_and_leaves_nothing(vector: VectorIngest, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = shapely.points(random.uniform(-80, 80, (20_000, 2)))
    gpd.GeoDataFrame({"n": range(20_000)}, geometry=shapes, crs="EPSG:4326").to_file(tmp_path / "a.fgb")
    request = VectorRequest(source=str(tmp_path / "a.fgb"), collection="c")
    checked = vector.validate(request)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(Unavailable, match="disk for files on their way is full") as caught:
            vector.to_files(request, checked)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.hint
    assert objects(tmp_path / "zone") == set()
    assert objects(tmp_path / "scratch") == set()
    assert vector.to_files(request, checked).rows == 20_000


def test_without_a_catalogue_there_is_nothing_to_append_to(vector: VectorIngest, tmp_path: Path) -> None:
    request = VectorRequest(source=str(places(tmp_path / "a.gpkg", [1])), collection="c", mode="append")  # type: ignore[arg-type]
    assert replace(vector, catalog=None).validate(request).present is None
