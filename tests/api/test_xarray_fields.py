"""Statistics of regions and fields over time, over HTTP."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rasterio
import xarray as xr
from fastapi.testclient import TestClient
from PIL import Image

from geoetl.core.spatial import BBox
from geoetl.platform import Platform
from tests.catalogued import CLIMATE, MODEL, model_dataset

STATISTICS = f"/api/xarray/statistics/{CLIMATE}/{MODEL}"
AGGREGATE = f"/api/xarray/aggregate/{CLIMATE}/{MODEL}"
BOX = "-40,-30,60,50"
TRIANGLE = {"type": "Polygon", "coordinates": [[[-40, -30], [60, -30], [10, 50], [-40, -30]]]}
KEPT = {"bbox", "collection_id", "item_id", "variable", "time_range"}


def strict(text: str) -> Any:
    """Read JSON without NaN and infinities."""
    return json.loads(text, parse_constant=pytest.fail)


def expected(time: slice, level: int = 0) -> xr.DataArray:
    return model_dataset()["tas"].astype(float).isel(time=time, plev=level)


def boxed(array: xr.DataArray) -> xr.DataArray:
    """Return the cells of the box, which halves those at its western and eastern edge."""
    around = array.assign_coords(lon=(array["lon"] + 180) % 360 - 180).sortby("lon")
    return around.sel(lat=slice(-30, 50), lon=slice(-40, 60))


def weights(array: xr.DataArray) -> xr.DataArray:
    edges = [array["lat"] + half for half in (-5, 5)]
    across = np.clip(array["lon"] + 5, -40, 60) - np.clip(array["lon"] - 5, -40, 60)
    return (np.sin(np.radians(edges[1])) - np.sin(np.radians(edges[0]))) * across


def test_statistics_have_the_shape_of_the_interface_and_the_right_numbers(client: TestClient) -> None:
    answer = client.get(STATISTICS, params={"bbox": BOX, "temporal_resolution": "yearly"})
    assert answer.status_code == 200, answer.text
    said = strict(answer.text)
    assert set(said) >= {*KEPT, "temporal_resolution", "time_series"}
    assert said["bbox"] == [-40, -30, 60, 50]
    assert said["time_range"] == {"start": "2000-01-16T12:00:00", "end": "2002-12-16T12:00:00"}
    assert [row["period"] for row in said["time_series"]] == ["2000", "2001", "2002"]
    first = said["time_series"][0]
    assert set(first) >= {"period", "spatial_mean", "spatial_min", "spatial_max", "spatial_std", "valid_pixels"}
    year = boxed(expected(slice(0, 12)).mean("time"))
    assert first["spatial_mean"] == pytest.approx(float(year.weighted(weights(year)).mean()), rel=1e-9)
    assert first["spatial_min"] == pytest.approx(float(year.min()))
    assert first["spatial_max"] == pytest.approx(float(year.max()))
    assert first["valid_pixels"] == year.size == said["pixels"]
    assert (first["end"], said["calendar"]) == ("2000-12-30", "360_day")
    assert (said["variable"], said["unit"], said["weighting"]) == ("tas", "degK", "area of each cell within the region")


def test_periods_are_monthly_where_nothing_is_said(client: TestClient) -> None:
    said = client.get(STATISTICS, params={"bbox": BOX, "start_time": "2000-02", "end_time": "2000-02-30"}).json()
    assert [row["period"] for row in said["time_series"]] == ["2000-02"]
    assert said["time_series"][0]["end"] == "2000-02-30"


def test_statistic_percentile_level_and_weighting_can_be_chosen(client: TestClient) -> None:
    params: dict[str, Any] = {"bbox": BOX, "temporal_resolution": "yearly", "sel": "plev=50000"}
    said = client.get(STATISTICS, params={**params, "statistic": "max", "percentile": 90, "weighted": False}).json()
    year = boxed(expected(slice(0, 12), 1).max("time"))
    first = said["time_series"][0]
    assert first["spatial_mean"] == pytest.approx(float(year.mean()), rel=1e-9)
    assert first["spatial_percentile"] == pytest.approx(float(year.quantile(0.9)), rel=1e-9)
    assert (said["weighting"], said["statistic"], said["sel"]) == ("none", "max", {"plev": 50_000.0})


def test_a_box_over_the_antimeridian_is_answered_as_one(client: TestClient) -> None:
    whole, west, east = (
        client.get(STATISTICS, params={"bbox": box}).json()["time_series"][0]["spatial_mean"]
        for box in ("150,-20,-160,20", "150,-20,180,20", "-180,-20,-160,20")
    )
    assert whole == pytest.approx((30 * west + 20 * east) / 50, rel=1e-12)


def test_a_geometry_is_posted_and_gives_the_numbers_of_the_access(client: TestClient, filled: Platform) -> None:
    from geoetl.access.region import Region

    answer = client.post(STATISTICS, json=TRIANGLE, params={"temporal_resolution": "yearly"})
    assert answer.status_code == 200, answer.text
    expected = filled.cube.statistics(CLIMATE, MODEL, Region.from_geojson(TRIANGLE), resolution="yearly")
    said = strict(answer.text)
    assert [row["spatial_mean"] for row in said["time_series"]] == list(expected.mean)
    assert said["area_km2"] == pytest.approx(expected.area_km2)
    feature = {"type": "Feature", "properties": {"name": "Triangle"}, "geometry": TRIANGLE}
    assert client.post(AGGREGATE, json=feature).json()["region_name"] == "Triangle"


def test_series_come_as_files_that_say_what_they_are(client: TestClient, tmp_path: Path) -> None:
    params: dict[str, Any] = {"bbox": BOX, "temporal_resolution": "seasonal"}
    answer = client.get(STATISTICS, params={**params, "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["X-Weighting"] == "area of each cell within the region"
    assert answer.headers["Content-Bbox"] == "-40,-30,60,50"
    table = pd.read_csv(io.StringIO(answer.text))
    assert table["time"][0] == "2000-DJF"
    parquet = pq.read_table(io.BytesIO(client.get(STATISTICS, params={**params, "format": "parquet"}).content))
    assert parquet.to_pandas()["mean"].tolist() == pytest.approx(table["mean"].tolist())
    (tmp_path / "series.nc").write_bytes(client.get(STATISTICS, params={**params, "format": "netcdf"}).content)
    with xr.open_dataset(tmp_path / "series.nc", engine="h5netcdf") as dataset:
        assert dataset["mean"].values.tolist() == pytest.approx(table["mean"].tolist())
        assert dataset["time"].encoding["calendar"] == "360_day"


def test_an_aggregate_has_the_shape_of_the_interface_and_the_right_numbers(client: TestClient) -> None:
    params = {"bbox": BOX, "aggregation": "max", "start_time": "2001", "end_time": "2001"}
    answer = client.get(AGGREGATE, params=params)
    assert answer.status_code == 200, answer.text
    said = strict(answer.text)
    assert set(said) >= {*KEPT, "aggregation", "shape", "statistics"}
    field = boxed(expected(slice(12, 24)).max("time"))
    assert said["shape"] == list(field.shape)
    assert said["aggregation"] == "max"
    assert said["statistics"]["mean"] == pytest.approx(float(field.weighted(weights(field)).mean()), rel=1e-9)
    assert (said["statistics"]["min"], said["statistics"]["max"]) == (float(field.min()), float(field.max()))
    assert said["statistics"]["valid_pixels"] == field.size


def test_an_aggregate_comes_as_geotiff_picture_array_and_table(client: TestClient) -> None:
    params: dict[str, Any] = {"bbox": BOX, "end_time": "2000"}
    field = boxed(expected(slice(0, 12)).mean("time"))
    answer = client.get(AGGREGATE, params={**params, "format": "tif"})
    with rasterio.MemoryFile(answer.content) as file, file.open() as dataset:
        np.testing.assert_allclose(dataset.read(1), field.values[::-1], rtol=1e-6)
        assert (dataset.transform.c, dataset.transform.f, dataset.crs.to_epsg()) == (-45, 50, 4326)
        assert dataset.tags()["weighting"] == "area of each cell within the region"
    assert (answer.headers["Content-Crs"], answer.headers["Content-Bbox"]) == ("EPSG:4326", "-45,-30,65,50")
    values = np.load(io.BytesIO(client.get(AGGREGATE, params={**params, "format": "npy"}).content))
    np.testing.assert_allclose(values, field.values[::-1], rtol=1e-6)
    for format in ("png", "jpeg", "webp"):
        answer = client.get(
            AGGREGATE, params={**params, "format": format, "colormap": "coolwarm", "rescale": "250,300"}
        )
        assert answer.headers["content-type"] == f"image/{format}"
        assert Image.open(io.BytesIO(answer.content)).size == field.shape[::-1]
    table = pd.read_csv(io.StringIO(client.get(AGGREGATE, params={**params, "format": "csv"}).text))
    assert len(table) == field.size


def test_an_estimate_is_answered_instead_of_the_values(client: TestClient) -> None:
    for address in (STATISTICS, AGGREGATE):
        said = client.get(address, params={"bbox": BOX, "estimate": True}).json()
        assert said["fits"] is True and said["bytes"] > 0 and "time_series" not in said


@pytest.mark.parametrize("address", [STATISTICS, AGGREGATE])
@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({}, 422, "bbox"),
        ({"bbox": BOX, "boundary_type": "country", "boundary_id": "FRA"}, 422, "bbox"),
        ({"boundary_type": "country"}, 422, "boundary_id"),
        ({"boundary_id": "FRA"}, 422, "boundary_type"),
        ({"bbox": "1,2,3"}, 400, "bbox"),
        ({"bbox": "0,50,10,-50"}, 400, "bbox"),
        ({"bbox": BOX, "variable": "tos"}, 422, "variable"),
        ({"bbox": BOX, "sel": "plev"}, 422, "sel"),
        ({"bbox": BOX, "start_time": "2000-02-31"}, 400, "start_time"),
        ({"bbox": BOX, "start_time": "2050"}, 404, "start_time"),
        ({"bbox": BOX, "format": "gif"}, 422, "format"),
        ({"bbox": BOX, "percentile": "nan"}, 422, "percentile"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(
    client: TestClient, address: str, params: dict[str, Any], status: int, field: str
) -> None:
    answer = client.get(address, params=params)
    problem = strict(answer.text)
    assert (answer.status_code, problem["field"]) == (status, field), answer.text
    assert problem["error"] == problem["detail"]


def test_check_7_a_range_of_time_over_the_limit_is_refused_with_sizes_and_advice(filled: Platform) -> None:
    from dataclasses import replace

    from geoetl.api.app import create_app

    query = filled.settings.query.model_copy(update={"max_time_range_days": 12})
    tight = replace(filled, settings=filled.settings.model_copy(update={"query": query}))
    with TestClient(create_app(tight), raise_server_exceptions=False) as client:
        answer = client.get(STATISTICS, params={"bbox": BOX})
        assert answer.status_code == 413
        assert answer.json()["detail"] == "1,051 days with 36 steps were asked for; the limit is 12."
        assert answer.json()["hint"] == "Give start_time and end_time at most 12 days or steps apart."
        assert client.get(STATISTICS, params={"bbox": BOX, "end_time": "2000"}).status_code == 200


def test_the_whole_earth_is_one_box(client: TestClient, filled: Platform) -> None:
    said = client.get(STATISTICS, params={"bbox": "-180,-90,180,90", "temporal_resolution": "yearly"}).json()
    found = filled.cube.statistics(CLIMATE, MODEL, BBox(-180, -90, 180, 90), resolution="yearly")
    assert said["time_series"][0]["spatial_mean"] == found.mean[0]
    assert said["area_km2"] == pytest.approx(510_065_621, rel=1e-6)
