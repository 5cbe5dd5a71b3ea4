"""Pictures and values over HTTP."""

import io
import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from fastapi.testclient import TestClient
from PIL import Image

from geoetl.platform import Platform
from tests.catalogued import CLIMATE, HILL, IMAGES, LAT, LON, MODEL, PLACES, SHIRES, TINTED

HILL_PICTURE, HILL_POINT = f"/api/raster/preview/{IMAGES}/{HILL}", f"/api/raster/point/{IMAGES}/{HILL}"
MODEL_PICTURE, MODEL_POINT = f"/api/raster/preview/{CLIMATE}/{MODEL}", f"/api/raster/point/{CLIMATE}/{MODEL}"


def strict(text: str) -> dict[str, object]:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    document: dict[str, object] = json.loads(text, parse_constant=refuse)
    return document


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_picture_comes_in_the_wanted_format_and_size(client: TestClient, format: str) -> None:
    answer = client.get(HILL_PICTURE, params={"format": format, "max_size": 64})
    assert answer.headers["content-type"] == f"image/{format}"
    picture = Image.open(io.BytesIO(answer.content))
    assert max(picture.size) == 64
    assert answer.headers["content-bbox"] == "5,45,9,48"


def test_a_picture_is_not_sent_again_while_nothing_changed(client: TestClient) -> None:
    tag = client.get(HILL_PICTURE).headers["etag"]
    assert client.get(HILL_PICTURE, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(HILL_PICTURE, params={"colormap": "magma"}, headers={"If-None-Match": tag}).status_code == 200


def test_time_index_is_the_band_of_a_raster_and_the_step_of_a_cube(client: TestClient) -> None:
    bands = [client.get(f"/api/raster/preview/{IMAGES}/{TINTED}", params={"time_index": i}).content for i in (1, 2)]
    assert bands[0] != bands[1]
    steps = [client.get(MODEL_PICTURE, params={"time_index": i, "rescale": "200,300"}).content for i in (1, 7)]
    assert steps[0] != steps[1]
    level = client.get(MODEL_PICTURE, params={"time_index": 1, "rescale": "200,300", "sel": "plev=50000"}).content
    assert level != steps[0]


def test_a_value_equals_what_rasterio_reads(client: TestClient, filled: Platform) -> None:
    answer = strict(client.get(HILL_POINT, params={"location": f"{LON},{LAT}"}).text)
    with rasterio.open(filled.settings.home / "shelf" / "hill.tif") as source:
        expected = next(source.sample([(LON, LAT)]))
    assert answer["values"] == pytest.approx(expected)
    assert answer["location"] == [LON, LAT]
    assert answer["location_name"] is None
    assert answer["bands"] == [{"name": "height", "value": pytest.approx(float(expected[0])), "unit": "m"}]
    assert {"collection_id", "item_id", "asset", "time_index", "method", "weighting", "dataset_version"} <= set(answer)


def test_no_data_is_null(client: TestClient) -> None:
    assert strict(client.get(HILL_POINT, params={"location": "5.05,47.95"}).text)["values"] == [None]


def test_a_value_of_a_cube_equals_what_xarray_reads(client: TestClient, filled: Platform) -> None:
    asked = {"location": "paris", "time_index": 7, "sel": "plev=50000"}
    answer = strict(client.get(MODEL_POINT, params=asked).text)
    with xr.open_dataset(filled.settings.home / "shelf" / "model.nc", engine="h5netcdf") as source:
        expected = source.tas.sel(plev=50000).sel(lon=2.3522, lat=48.8566, method="nearest").values[6]
    np.testing.assert_allclose(answer["values"], [expected])
    assert answer["time"] == "2000-07-16T12:00:00"
    assert answer["calendar"] == "360_day"
    assert answer["location_name"] == "paris"
    assert answer["sel"] == {"plev": 50_000.0}


@pytest.mark.parametrize(
    ("path", "asked", "status", "field"),
    [
        (HILL_POINT, {}, 422, "location"),
        (HILL_POINT, {"location": "1,2,3"}, 400, "bbox"),
        (HILL_POINT, {"location": "parsi"}, 400, "location"),
        (HILL_POINT, {"location": "100,10"}, 404, "location"),
        (HILL_POINT, {"location": "7,46", "time_index": 4}, 422, "time_index"),
        (HILL_POINT, {"location": "7,46", "variable": "tas"}, 422, "variable"),
        (HILL_PICTURE, {"max_size": "big"}, 422, "max_size"),
        (HILL_PICTURE, {"max_size": 100_000}, 413, None),
        (HILL_PICTURE, {"format": "gif"}, 422, "format"),
        (HILL_PICTURE, {"colormap": "virdis"}, 422, "colormap"),
        (HILL_PICTURE, {"rescale": "1;2"}, 422, "rescale"),
        (MODEL_PICTURE, {"sel": "plev"}, 422, "sel"),
        (MODEL_PICTURE, {"variable": "pr"}, 422, "variable"),
        (MODEL_POINT, {"location": "7,46", "time_index": 37}, 422, "time_index"),
        (f"/api/raster/preview/{PLACES}/{SHIRES}", {}, 422, None),
        (f"/api/raster/preview/{IMAGES}/hil", {}, 404, None),
    ],
)
def test_what_cannot_be_answered_is_a_problem_with_a_sentence(
    client: TestClient, path: str, asked: dict[str, str | int], status: int, field: str | None
) -> None:
    answer = client.get(path, params=asked)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = strict(answer.text)
    assert body["status"] == status
    assert body["error"] == body["detail"]
    assert body["code"]
    if field:
        assert body["field"] == field


def test_a_misspelt_place_is_answered_with_the_near_one(client: TestClient) -> None:
    assert "'paris'" in str(strict(client.get(HILL_POINT, params={"location": "parsi"}).text)["hint"])
