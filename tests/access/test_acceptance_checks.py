"""The acceptance checks that concern queries, each by its number, over HTTP as a client meets them."""

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pytest
import rasterio
import xarray as xr
from fastapi.testclient import TestClient
from PIL import Image

from geoetl.api.app import create_app
from geoetl.platform import Platform
from geoetl.store.samples import sample_path
from tests.access.conftest import COLLECTION, Shelf
from tests.access.cubes import field, one_degree, regular_cube

ADDRESS = "http://127.0.0.1:8000"


def strict(content: bytes) -> Any:
    """Read JSON as RFC 8259 has it: NaN and the infinities are refused."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(content, parse_constant=refuse)


@pytest.fixture
def ask(platform: Platform) -> Iterator[Callable[..., Any]]:
    """Give ``ask(path, **query)``: the answer to a GET, which has to be 200."""
    with TestClient(create_app(platform), base_url=ADDRESS) as http:

        def asked(path: str, **query: Any) -> Any:
            answer = http.get(path, params=query)
            assert answer.status_code == 200, (path, query, answer.text[:500])
            return answer

        yield asked


CONVENTIONS = {
    "180, north up": {"west": -180.0, "south_up": False, "names": ("time", "lat", "lon")},
    "180, south up": {"west": -180.0, "south_up": True, "names": ("time", "latitude", "longitude")},
    "360, north up": {"west": 0.0, "south_up": False, "names": ("valid_time", "y", "x")},
    "360, south up": {"west": 0.0, "south_up": True, "names": ("time", "lat", "lon")},
}


def convention(name: str, *, cf: bool = True) -> xr.Dataset:
    """Return the one-degree cube of a convention: every value encodes its own place."""
    chosen = CONVENTIONS[name]
    lon, lat = one_degree(west=chosen["west"], south_up=chosen["south_up"])
    return regular_cube(lon, lat, names=chosen["names"], cf=cf)


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("cf", [True, False], ids=["CF", "names alone"])
def test_check_01_every_convention_gives_the_same_values_and_the_geotiff_lies_the_right_way_up(
    shelf: Shelf, ask: Callable[..., Any], name: str, cf: bool
) -> None:
    item = shelf.cube("cube", convention(name, cf=cf))
    for lon, lat in [(-0.5, 45.5), (0.5, -45.5), (179.5, 0.5), (-179.5, 89.5), (359.5, -89.5)]:
        answer = strict(ask(f"/api/xarray/point/{COLLECTION}/{item}", location=f"{lon},{lat}").content)
        expected = float(field(np.array(lon), np.array(lat)))
        assert [row["value"] for row in answer["time_series"]] == [expected, expected + 1000, expected + 2000]
        assert answer["unit"] == "K"

    box = "-5,40,5,50"
    tif = ask(f"/api/raster/extract/{COLLECTION}/{item}", bbox=box, format="tif", time_index=2).content
    with rasterio.MemoryFile(tif) as memory, memory.open() as written:
        values = written.read(1).astype(float)
        assert written.transform.e < 0
        rows, columns = np.mgrid[0 : written.height, 0 : written.width]
        xs, ys = rasterio.transform.xy(written.transform, rows.ravel(), columns.ravel())
        np.testing.assert_array_equal(values.ravel(), field(np.array(xs), np.array(ys)) + 1000)
        assert written.bounds == (-5, 40, 5, 50)

    npy = np.load(io.BytesIO(ask(f"/api/raster/extract/{COLLECTION}/{item}", bbox=box, format="npy").content))
    lon, lat = np.meshgrid(np.arange(-4.5, 5), np.arange(49.5, 40, -1))
    np.testing.assert_array_equal(np.squeeze(npy), field(lon, lat))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_check_02_a_box_over_the_antimeridian_is_the_union_of_its_halves(
    shelf: Shelf, ask: Callable[..., Any], name: str
) -> None:
    item = shelf.cube("cube", convention(name))
    whole, west, east = "176.5,-3,-177.25,5.5", "176.5,-3,180,5.5", "-180,-3,-177.25,5.5"

    def pixels(box: str) -> Any:
        content = ask(f"/api/raster/extract/{COLLECTION}/{item}", bbox=box, format="npy").content
        return np.squeeze(np.load(io.BytesIO(content)))

    np.testing.assert_array_equal(pixels(whole), np.hstack([pixels(west), pixels(east)]))

    def mean(box: str) -> float:
        answer = strict(
            ask(f"/api/xarray/statistics/{COLLECTION}/{item}", bbox=box, temporal_resolution="yearly").content
        )
        return float(answer["time_series"][0]["spatial_mean"])

    shares = np.array([3.5, 2.75])
    assert mean(whole) == pytest.approx(float(np.average([mean(west), mean(east)], weights=shares)), rel=1e-12)


@pytest.mark.parametrize("name", ["180, north up", "360, south up"])
def test_check_03_the_weighted_mean_of_a_known_field_is_its_integral_and_the_plain_mean_is_not(
    shelf: Shelf, platform: Platform, ask: Callable[..., Any], name: str
) -> None:
    cube = convention(name)
    lat_name = CONVENTIONS[name]["names"][1]
    edges = np.radians(np.sort(cube[lat_name].values)[:, None] + [-0.5, 0.5])
    # The mean of sin(lat)^2 over each cell: its integral over the sphere is then exact, a third.
    sines = np.sin(edges)
    means = (sines[:, 1] ** 3 - sines[:, 0] ** 3) / 3 / (sines[:, 1] - sines[:, 0])
    if cube[lat_name].values[0] > 0:
        means = means[::-1]
    cube["tas"].values[:] = means[None, :, None]
    item = shelf.cube("cube", cube)
    answer = strict(
        ask(f"/api/xarray/statistics/{COLLECTION}/{item}", bbox="-180,-90,180,90", temporal_resolution="yearly").content
    )
    assert answer["time_series"][0]["spatial_mean"] == pytest.approx(1 / 3, abs=1e-12)
    assert "area" in answer["weighting"]
    from geoetl.core.spatial import BBox

    plain = platform.cube.statistics(
        COLLECTION, item, BBox(-180, -90, 180, 90), resolution="yearly", weighted=False
    ).to_dataframe()
    assert abs(plain["mean"].iloc[0] - 1 / 3) > 0.1


@pytest.mark.parametrize(
    ("calendar", "february"), [("noleap", 28), ("360_day", 30), ("all_leap", 29), ("standard", 29)]
)
def test_check_04_monthly_means_follow_the_calendar_of_the_cube(
    shelf: Shelf, ask: Callable[..., Any], calendar: str, february: int
) -> None:
    start = cftime.datetime(2000, 1, 1, 12, calendar=calendar)
    length = {"noleap": 365, "360_day": 360}.get(calendar, 366)
    dates = [cftime.num2date(day + 0.5, "days since 2000-01-01", calendar=calendar) for day in range(length)]
    assert dates[0] == start
    values = np.arange(length, dtype=float)
    cube = xr.Dataset(
        {"pr": (("time", "lat", "lon"), np.broadcast_to(values[:, None, None], (length, 2, 4)).copy())},
        coords={"time": dates, "lat": [-45.0, 45.0], "lon": [0.0, 90.0, 180.0, 270.0]},
    )
    item = shelf.cube("cube", cube)
    path = f"/api/xarray/point/{COLLECTION}/{item}"
    answer = strict(ask(path, location="10,40", aggregation="monthly").content)
    by_hand: dict[int, list[float]] = {}
    for date, value in zip(dates, values, strict=True):
        by_hand.setdefault(date.month, []).append(float(value))
    assert [row["value"] for row in answer["time_series"]] == [
        pytest.approx(sum(month) / len(month), rel=1e-12) for month in by_hand.values()
    ]
    every = strict(ask(path, location="10,40").content)["time_series"]
    texts = [row["time"][:10] for row in every if row["time"].startswith("2000-02")]
    assert texts == [f"2000-02-{day:02d}" for day in range(1, february + 1)]
    # A part of the year, in the calendar's own dates.
    part = strict(ask(path, location="10,40", start_time="2000-02", end_time=f"2000-02-{february}").content)
    assert len(part["time_series"]) == february


def test_check_05_every_index_of_a_series_gives_the_same_value_as_a_point(
    shelf: Shelf, ask: Callable[..., Any]
) -> None:
    lon, lat = one_degree()
    item = shelf.cube("cube", regular_cube(lon, lat, steps=12))
    where = {"location": "33.5,-12.5"}
    series = strict(
        ask(f"/api/xarray/point/{COLLECTION}/{item}", start_time="2000-01-04", end_time="2000-01-09", **where).content
    )["time_series"]
    assert [row["bidx"] for row in series] == [4, 5, 6, 7, 8, 9]
    for row in series:
        point = strict(ask(f"/api/raster/point/{COLLECTION}/{item}", time_index=row["bidx"], **where).content)
        assert point["values"] == [row["value"]]
        assert point["time"] == row["time"]


def test_check_06_npy_opens_in_numpy_no_data_is_transparent_and_json_is_strict(
    shelf: Shelf, ask: Callable[..., Any]
) -> None:
    lon, lat = one_degree()
    cube = regular_cube(lon, lat, steps=2)
    cube["tas"].values[:, 95:100, 5:10] = np.nan
    item = shelf.cube("cube", cube)
    box = {"bbox": "0,0,15,6"}
    path = f"/api/raster/extract/{COLLECTION}/{item}"
    values = np.squeeze(np.load(io.BytesIO(ask(path, format="npy", **box).content)))
    missing = np.isnan(values)
    assert values.shape == (6, 15)
    assert missing.sum() == 5  # of latitudes 5 to 6 the longitudes 5 to 10
    for format in ("png", "webp"):
        picture = Image.open(io.BytesIO(ask(path, format=format, width=15, height=6, **box).content)).convert("RGBA")
        np.testing.assert_array_equal(np.asarray(picture)[..., 3] == 0, missing)
    nothing = strict(ask(f"/api/xarray/point/{COLLECTION}/{item}", location="7.5,7.5").content)
    assert [row["value"] for row in nothing["time_series"]] == [None, None]
    assert nothing["statistics"]["mean"] is None
    assert nothing["statistics"]["count"] == 0
    for answer in (
        ask(f"/api/raster/point/{COLLECTION}/{item}", location="7.5,7.5"),
        ask(f"/api/xarray/statistics/{COLLECTION}/{item}", bbox="5,5,10,10"),
        ask(f"/api/xarray/aggregate/{COLLECTION}/{item}", bbox="5,5,10,10"),
    ):
        strict(answer.content)


def test_check_07_what_is_over_a_limit_is_refused_before_anything_is_opened(shelf: Shelf, platform: Platform) -> None:
    lon, lat = one_degree()
    item = shelf.cube("cube", regular_cube(lon, lat))
    dates = [cftime.num2date(day, "days since 1900-01-01", calendar="noleap") for day in range(5000)]
    long = shelf.cube(
        "long",
        xr.Dataset(
            {"pr": (("time", "lat", "lon"), np.zeros((5000, 2, 4), dtype="f4"))},
            coords={"time": dates, "lat": [-45.0, 45.0], "lon": [0.0, 90.0, 180.0, 270.0]},
        ),
    )
    asked = [
        (f"/api/raster/extract/{COLLECTION}/{item}?bbox=-20,-20,20,20", "1,600", "100", "bbox"),
        (
            f"/api/raster/extract/{COLLECTION}/{item}?bbox=0,0,5,5&width=9000&height=9000",
            "81,000,000",
            "16,777,216",
            "width",
        ),
        (f"/api/raster/preview/{COLLECTION}/{item}?max_size=100000", "10,000,000,000", "16,777,216", "max_size"),
        (f"/api/xarray/point/{COLLECTION}/{long}?location=10,10", "5,000", "3,650", "time"),
        (f"/api/xarray/statistics/{COLLECTION}/{long}?bbox=0,0,5,5", "5,000", "3,650", "time"),
    ]
    with TestClient(create_app(platform), base_url=ADDRESS) as http:
        for path, size, limit, parameter in asked:
            http.get(path)  # what a process does once is not the answer's own time
            began = time.perf_counter()
            answer = http.get(path)
            took = time.perf_counter() - began
            problem = strict(answer.content)
            said = f"{problem['detail']} {problem['hint']} {problem['field']}"
            assert answer.status_code == 413, (path, answer.text)
            assert size in said and limit in said and parameter in said, said
            assert math.isfinite(took)  # how long it takes is measured in benchmarks/query.py
            estimate = http.get(f"{path}&estimate=true")
            assert estimate.status_code in (200, 413)


def test_check_09_a_source_that_is_gone_is_an_error_that_names_it_and_never_a_value(
    shelf: Shelf, platform: Platform
) -> None:
    lon, lat = one_degree()
    item = shelf.references("cube", regular_cube(lon, lat), encoding={"tas": {"chunksizes": (1, 180, 360)}})
    (shelf.folder / "cube-source.nc").unlink()
    with TestClient(create_app(platform), base_url=ADDRESS, raise_server_exceptions=False) as http:
        for path in (
            f"/api/xarray/point/{COLLECTION}/{item}?location=1,1",
            f"/api/xarray/statistics/{COLLECTION}/{item}?bbox=0,0,5,5",
            f"/api/raster/extract/{COLLECTION}/{item}?bbox=0,0,5,5",
        ):
            answer = http.get(path)
            assert 400 <= answer.status_code < 500, (path, answer.text)
            assert "cube-source.nc" in strict(answer.content)["detail"]
            assert str(shelf.folder) not in answer.text


def test_check_23_what_is_withdrawn_or_registered_anew_is_seen_by_the_next_question(
    shelf: Shelf, platform: Platform
) -> None:
    lon, lat = one_degree()
    item = shelf.cube("cube", regular_cube(lon, lat))
    asked = {
        "point": f"/api/raster/point/{COLLECTION}/{item}?location=10.5,10.5",
        "series": f"/api/xarray/point/{COLLECTION}/{item}?location=10.5,10.5",
        "tile": f"/tiles/cube/{COLLECTION}/{item}/WebMercatorQuad/0/0/0.png",
        "stac": f"/stac/collections/{COLLECTION}/items/{item}",
    }
    with TestClient(create_app(platform), base_url=ADDRESS) as http:
        before = {name: http.get(path) for name, path in asked.items()}
        assert {answer.status_code for answer in before.values()} == {200}
        changed = regular_cube(lon, lat)
        changed["tas"].values[:] += 5 + 10 * np.cos(np.radians(lat))[None, :, None]
        # As the pipelines do it: a file of its own, then the address in the catalogue.
        newer = shelf.folder / "newer.nc"
        changed.to_netcdf(newer, engine="h5netcdf")
        shelf.register(item, {"data": {"href": str(newer), "type": "application/netcdf", "roles": ["data"]}})
        after = {name: http.get(path) for name, path in asked.items()}
        assert strict(after["point"].content)["values"] != strict(before["point"].content)["values"]
        assert strict(after["series"].content)["time_series"] != strict(before["series"].content)["time_series"]
        assert after["tile"].content != before["tile"].content
        platform.catalog.delete_item(COLLECTION, item)
        assert {http.get(path).status_code for path in asked.values()} == {404}


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("FRA", "France"),
        ("fr", "France"),
        ("France", "France"),
        ("Frankreich", "France"),
        ("NOR", "Norway"),
        ("NO", "Norway"),
        ("Norge", "Norway"),
        ("Kosovo", "Kosovo"),
        ("XKX", "Kosovo"),
        ("KOS", "Kosovo"),
    ],
)
def test_check_32_countries_answer_to_all_of_their_codes_and_names(countries: Platform, asked: str, name: str) -> None:
    region = countries.boundaries.find("country", asked)
    assert region.name == name
    assert region.geometry.is_valid and not region.geometry.is_empty


@pytest.fixture(scope="module")
def countries(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with the countries of Natural Earth, as the demo ingests them."""
    import geoetl

    home: Path = tmp_path_factory.mktemp("countries") / "home"
    platform = geoetl.connect(home)
    assert sample_path("ne_10m_admin_0_countries.zip").exists()
    platform.run(
        "ingest-vector", {"source": "samples:ne_10m_admin_0_countries.zip", "collection": "demo-vectors"}
    ).raise_for_error()
    return platform
