"""Pictures and values over HTTP."""

import io
import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from fastapi.testclient import TestClient
from PIL import Image

from geoetl.api.security import Access
from geoetl.core.principal import Role
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


# -- boxes and regions -------------------------------------------------------------------------------------------------

HILL_BOX, MODEL_BOX = f"/api/raster/extract/{IMAGES}/{HILL}", f"/api/raster/extract/{CLIMATE}/{MODEL}"
HILL_CLIP, MODEL_CLIP = f"/api/raster/clip/{IMAGES}/{HILL}", f"/api/raster/clip/{CLIMATE}/{MODEL}"
TRIANGLE = {"type": "Polygon", "coordinates": [[[6, 46], [7, 46], [7, 47], [6, 46]]]}


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_box_comes_as_a_picture_that_says_what_it_shows(client: TestClient, format: str) -> None:
    answer = client.get(HILL_BOX, params={"bbox": "6,46,7,47.5", "format": format, "width": 40})
    assert answer.headers["content-type"] == f"image/{format}"
    assert Image.open(io.BytesIO(answer.content)).size == (40, 60)
    said = {"content-bbox": "6,46,7,47.5", "content-crs": "EPSG:4326", "x-variable": "height", "x-units": "m"}
    assert said.items() <= dict(answer.headers).items()
    assert {"x-method", "x-weighting", "x-collection", "x-item", "x-asset"} <= set(answer.headers)


def test_npy_has_its_header_and_the_pixels_of_the_file(client: TestClient, filled: Platform) -> None:
    answer = client.get(HILL_BOX, params={"bbox": "6,46,7,47", "format": "npy"})
    assert answer.content.startswith(b"\x93NUMPY")
    with rasterio.open(filled.settings.home / "shelf" / "hill.tif") as source:
        window = rasterio.windows.from_bounds(6, 46, 7, 47, source.transform)
        expected = source.read(1, window=window, masked=True).filled(np.nan)
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), expected)
    assert answer.headers["x-method"] == "native pixels"


def test_a_geotiff_opens_in_its_place_with_its_tags(client: TestClient) -> None:
    answer = client.get(MODEL_BOX, params={"bbox": "175,40,-175,49", "format": "tif", "time_index": 7})
    assert answer.headers["content-type"].startswith("image/tiff")
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as read:
        assert read.crs.to_epsg() == 4326
        assert read.transform.e < 0
        assert read.tags()["time"] == "2000-07-16T12:00:00"
        assert read.tags()["calendar"] == "360_day"
        assert read.descriptions == ("tas",)
    assert answer.headers["x-calendar"] == "360_day"
    assert json.loads(answer.headers["x-sel"]) == {"plev": 100_000.0}


def test_a_clip_by_geojson_has_the_pixels_of_the_polygon(client: TestClient) -> None:
    answer = client.post(HILL_CLIP, json=TRIANGLE, params={"format": "npy"})
    values = np.load(io.BytesIO(answer.content))
    rows, columns = np.mgrid[0 : values.shape[0], 0 : values.shape[1]]
    lower = columns + rows + 1 > values.shape[0]
    upper = columns + rows + 1 < values.shape[0]
    assert np.isfinite(values[lower]).all()
    assert np.isnan(values[upper]).all()
    as_feature = {"type": "Feature", "properties": {}, "geometry": TRIANGLE}
    again = client.post(HILL_CLIP, json=as_feature, params={"format": "npy"})
    assert again.content == answer.content
    assert client.post(HILL_CLIP, json=TRIANGLE).headers["content-type"].startswith("image/tiff")


def test_an_expression_and_bands_are_asked_for_by_name(client: TestClient) -> None:
    point = {"location": f"{LON},{LAT}"}
    height = strict(client.get(HILL_POINT, params=point).text)["values"]
    doubled = strict(client.get(HILL_POINT, params={**point, "expression": "height*2; b1"}).text)["values"]
    assert doubled == [pytest.approx(height[0] * 2), pytest.approx(height[0])]  # type: ignore[index]
    tinted = f"/api/raster/point/{IMAGES}/{TINTED}"
    every = strict(client.get(tinted, params=point).text)["values"]
    some = strict(client.get(tinted, params={**point, "bands": "3,1"}).text)["values"]
    assert some == [every[2], every[0]]  # type: ignore[index]
    steps = [
        client.get(MODEL_POINT, params={"location": "7,46", **at}) for at in ({"time": "2000-07"}, {"time_index": 7})
    ]
    assert steps[0].json() == steps[1].json()


@pytest.mark.parametrize("path", [HILL_BOX, HILL_CLIP, HILL_PICTURE])
def test_an_estimate_is_answered_instead_of_the_file(client: TestClient, path: str) -> None:
    asked = {"estimate": True, "bbox": "6,46,7,47", "format": "npy"}
    answer = client.post(path, json=TRIANGLE, params=asked) if path is HILL_CLIP else client.get(path, params=asked)
    told = strict(answer.text)
    assert set(told) == {"values", "chunks", "bytes", "seconds", "max_values", "max_chunks", "max_bytes", "fits"}
    assert told["fits"] is True


def test_a_box_is_not_sent_again_while_nothing_changed(client: TestClient) -> None:
    asked = {"bbox": "6,46,7,47"}
    tag = client.get(HILL_BOX, params=asked).headers["etag"]
    assert client.get(HILL_BOX, params=asked, headers={"If-None-Match": tag}).status_code == 304
    other = client.get(HILL_BOX, params={**asked, "expression": "b1+1"}, headers={"If-None-Match": tag})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "asked", "status", "field"),
    [
        (HILL_BOX, {}, 422, "bbox"),
        (HILL_BOX, {"bbox": "6,46,7"}, 400, "bbox"),
        (HILL_BOX, {"bbox": "6,46,6,47"}, 400, "bbox"),
        (HILL_BOX, {"bbox": "60,46,61,47"}, 404, "bbox"),
        (HILL_BOX, {"bbox": "-50,-50,50,50"}, 413, "bbox"),
        (HILL_BOX, {"bbox": "6,46,7,47", "width": 100_000}, 413, "width"),
        (HILL_BOX, {"bbox": "6,46,7,47", "width": 0}, 422, "width"),
        (HILL_BOX, {"bbox": "6,46,7,47", "expression": "__import__('os')"}, 422, "expression"),
        (HILL_BOX, {"bbox": "6,46,7,47", "bands": "1,999999999999999999999"}, 422, "bands"),
        (HILL_BOX, {"bbox": "6,46,7,47", "rescale": "1,2,3"}, 422, "rescale"),
        (MODEL_BOX, {"bbox": "6,46,7,47", "time": "2000-13"}, 400, "time"),
        (MODEL_BOX, {"bbox": "6,46,7,47", "bands": "2"}, 422, "bands"),
        (HILL_CLIP, {}, 422, "boundary_type"),
    ],
)
def test_a_box_that_cannot_be_answered_is_a_problem(
    client: TestClient, path: str, asked: dict[str, str | int], status: int, field: str
) -> None:
    answer = client.get(path, params=asked)
    assert answer.status_code == status
    assert strict(answer.text)["field"] == field


@pytest.mark.parametrize(
    "body", [{"type": "Point", "coordinates": [6, 46]}, {}, {"type": "Polygon", "coordinates": [[[0, 0]]]}]
)
def test_a_body_that_is_no_region_is_a_problem(client: TestClient, body: dict[str, object]) -> None:
    answer = client.post(HILL_CLIP, json=body)
    assert answer.status_code in (400, 422)
    assert strict(answer.text)["hint"]


def test_a_viewer_may_ask_for_a_clip_with_a_body_and_write_nothing() -> None:
    access = Access()
    assert access.needed("http", "POST", HILL_CLIP) is Role.VIEWER
    assert access.needed("http", "POST", "/api/xarray/batch") is Role.VIEWER
    for path in ("/api/raster/clip/a/b/c", f"{HILL_CLIP}/..", HILL_BOX, "/stac/collections", "/api/raster/clips/a/b"):
        assert access.needed("http", "POST", path) is Role.EDITOR
    assert access.needed("http", "DELETE", HILL_CLIP) is Role.EDITOR
