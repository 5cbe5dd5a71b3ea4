"""Map tiles of cubes over HTTP."""

import io
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import geoetl
from geoetl.api.app import create_app
from geoetl.core.spatial import BBox
from geoetl.store.catalog.item import new_collection
from tests.api.conftest import ADDRESS
from tests.catalogued import CLIMATE, HILL, IMAGES, MODEL, PLACES, SHIRES, TINTED, hill_values, model_dataset
from tests.cube_stores import KINDS, write_store

MODEL_ITEM = f"/tiles/cube/{CLIMATE}/{MODEL}"
MODEL_TILES = f"{MODEL_ITEM}/WebMercatorQuad"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """Give a client of a catalogue that has the same cube in every kind of store."""
    home: Path = tmp_path_factory.mktemp("tiles") / "home"
    platform = geoetl.connect(home)
    shelf = home / "shelf"
    shelf.mkdir()
    source = shelf / "source.nc"
    model_dataset().to_netcdf(source, engine="h5netcdf", encoding={"tas": {"chunksizes": (1, 2, 18, 36)}})
    platform.catalog.upsert_collection(new_collection(CLIMATE))
    box = BBox(-180, -90, 180, 90)
    assets = {kind: write_store(kind, source, shelf / kind) for kind in KINDS}
    assets["netcdf"] = {"data": {"href": str(source), "type": "application/netcdf", "roles": ["data"]}}
    platform.catalog.upsert_items(
        [
            {
                "type": "Feature", "stac_version": "1.1.0", "id": kind, "collection": CLIMATE, "bbox": box.as_list(),
                "geometry": box.geometry(), "properties": {"datetime": "2000-01-01T00:00:00Z"}, "links": [],
                "assets": assets[kind],
            }
            for kind in assets
        ]
    )  # fmt: skip
    return TestClient(create_app(platform), base_url=ADDRESS, raise_server_exceptions=False)


@pytest.mark.parametrize("tile", ["0/0/0", "2/3/1", "4/15/6"])
def test_every_kind_of_store_gives_the_same_bytes(kinds: TestClient, tile: str) -> None:
    asked = {"time": "2001-07-16", "sel": "plev=50000", "rescale": "200,290", "colormap_name": "magma"}
    contents = {
        kind: kinds.get(f"/tiles/cube/{CLIMATE}/{kind}/WebMercatorQuad/{tile}.png", params=asked)
        for kind in (*KINDS, "netcdf")
    }
    assert {answer.status_code for answer in contents.values()} == {200}
    assert len({answer.content for answer in contents.values()}) == 1
    assert Image.open(io.BytesIO(contents["json"].content)).size == (256, 256)


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_that_of_the_nearest_cell(kinds: TestClient, kind: str) -> None:
    asked = {"location": "-179.9,12", "time_index": 7, "sel": "plev=50000"}
    answer = kinds.get(f"/tiles/cube/{CLIMATE}/{kind}/point", params=asked).json()
    expected = model_dataset().tas.isel(time=6).sel(plev=50000, lat=15, lon=180)
    assert answer["value"] == pytest.approx(float(expected))
    assert (answer["cell"], answer["time"], answer["calendar"]) == ([180, 15], "2000-07-16T12:00:00", "360_day")
    assert answer["sel"] == {"plev": 50_000.0}


def test_tilejson_leads_to_the_tiles_that_it_was_asked_for(client: TestClient) -> None:
    asked = [("time_index", "7"), ("sel", "plev=50000"), ("rescale", "200,290"), ("colormap_name", "magma")]
    document = client.get(f"{MODEL_TILES}/tilejson.json", params=asked).json()
    assert (document["tilejson"], document["minzoom"]) == ("3.0.0", 0)
    assert document["bounds"] == [-180, -90, 180, 90]
    (address,) = document["tiles"]
    assert address.startswith(ADDRESS)
    parts = urlsplit(address.format(z=1, x=1, y=0))
    assert (
        client.get(f"{parts.path}?{parts.query}").content
        == client.get(f"{MODEL_TILES}/1/1/0.png", params=asked).content
    )


def test_info_tells_how_a_step_is_drawn(client: TestClient) -> None:
    info = client.get(f"{MODEL_ITEM}/info", params={"time": "2001-02"}).json()
    assert (info["time_index"], info["times"], info["calendar"]) == (14, 36, "360_day")
    assert (info["variable"]["name"], info["variable"]["units"], info["colormap"]) == ("tas", "degK", "viridis")
    assert info["bbox"] == [-180, -90, 180, 90]
    low, high = np.percentile(model_dataset().tas.isel(time=13, plev=0).values, (2, 98))
    assert info["rescale"] == pytest.approx([low, high])


def test_a_tile_is_not_sent_again_while_nothing_changed(client: TestClient) -> None:
    first = client.get(f"{MODEL_TILES}/1/0/0.png")
    assert first.headers["content-type"] == "image/png"
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get(f"{MODEL_TILES}/1/0/0.png", headers=known).status_code == 304
    assert client.get(f"{MODEL_TILES}/1/0/0.png", params={"time_index": 2}, headers=known).status_code == 200
    assert client.get(f"{MODEL_TILES}/1/1/0.png", headers=known).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "field", "said"),
    [
        ({"time": "2000-01-17"}, 400, "time", "2000-01-16T12:00:00"),
        ({"time": "soon"}, 400, "time", "2000-01-16T12:00:00"),
        ({"time": "2000-01", "time_index": 1}, 400, "time", "one of them"),
        ({"time_index": 37}, 422, "time_index", "1 to 36"),
        ({"time_index": 0}, 422, "time_index", "greater than or equal to 1"),
        ({"variable": "pr"}, 422, "variable", "tas"),
        ({"sel": "plev=1"}, 422, "sel", "50000"),
        ({"sel": "plev"}, 422, "sel", "name=value"),
        ({"sel": "time=2000-01-16"}, 422, "sel", "time_index"),
        ({"rescale": "9,1"}, 422, "rescale", "lower first"),
        ({"rescale": "low"}, 422, "rescale", "low,high"),
        ({"colormap_name": "viridi"}, 422, "colormap_name", "viridis"),
        ({"asset": "nothing"}, 404, "asset", "data"),
    ],
)
@pytest.mark.parametrize("what", ["1/0/0.png", "tilejson.json"])
def test_wrong_values_are_told_as_problems(
    client: TestClient, what: str, asked: dict[str, str], status: int, field: str, said: str
) -> None:
    answer = client.get(f"{MODEL_TILES}/{what}", params=asked)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["field"]) == (status, status, field)
    assert said in f"{problem['detail']} {problem['hint']}"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/tiles/cube/{CLIMATE}/nothing/WebMercatorQuad/0/0/0.png", 404),
        (f"/tiles/cube/nowhere/{MODEL}/WebMercatorQuad/0/0/0.png", 404),
        (f"{MODEL_TILES}/0/1/0.png", 404),
        (f"{MODEL_TILES}/99/0/0.png", 422),
        (f"{MODEL_TILES}/0/-1/0.png", 422),
        (f"{MODEL_TILES}/0/0/x.png", 422),
        (f"/tiles/cube/{CLIMATE}/..%2F..%2Fetc/WebMercatorQuad/0/0/0.png", 404),
        ("/tiles/cube/a:b/c/WebMercatorQuad/0/0/0.png", 422),
        ("/tiles/cube/images/hill/WebMercatorQuad/0/0/0.png", 422),
    ],
)
def test_what_is_not_there_is_told_as_a_problem(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_an_address_cannot_be_given(client: TestClient) -> None:
    routes = client.get("/api/openapi.json").json()["paths"]
    ours = {path: route for path, route in routes.items() if path.startswith("/tiles/")}
    assert len(ours) == 9
    assert "url" not in {p["name"] for route in ours.values() for p in route["get"]["parameters"]}


def test_the_start_of_the_server_does_not_wait_for_xarray() -> None:
    script = "import json, sys\nimport geoetl.api.app\nprint(json.dumps([n for n in sys.modules if '.' not in n]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"xarray", "zarr", "geopandas", "rasterio"} & set(json.loads(done.stdout))


# -- rasters -----------------------------------------------------------------------------------------------------------

HILL_TILES = f"/tiles/raster/{IMAGES}/{HILL}"


def test_a_raster_has_tiles_in_both_matrix_sets(client: TestClient) -> None:
    mercator = client.get(f"{HILL_TILES}/WebMercatorQuad/6/33/22.png")
    degrees = client.get(f"{HILL_TILES}/WorldCRS84Quad/5/33/7.png")
    assert (mercator.status_code, degrees.status_code) == (200, 200)
    assert client.get(f"{HILL_TILES}/WGS84/5/33/7.png").content == degrees.content
    assert Image.open(io.BytesIO(mercator.content)).size == (256, 256)
    assert mercator.headers["etag"] != degrees.headers["etag"]


@pytest.mark.parametrize(("form", "media_type"), [("png", "image/png"), ("webp", "image/webp"), ("jpeg", "image/jpeg")])
def test_tilejson_of_a_raster_leads_to_its_tiles(client: TestClient, form: str, media_type: str) -> None:
    asked = {"bands": "3,2,1", "rescale": "0,255", "format": form, "tile_size": 512}
    document = client.get(f"/tiles/raster/{IMAGES}/{TINTED}/WebMercatorQuad/tilejson.json", params=asked).json()
    assert (document["tilejson"], document["bounds"], document["minzoom"]) == ("3.0.0", [5, 45, 9, 48], 0)
    assert None not in document.values()
    (address,) = document["tiles"]
    parts = urlsplit(address.format(z=6, x=33, y=22))
    answer = client.get(f"{parts.path}?{parts.query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert Image.open(io.BytesIO(answer.content)).size == (512, 512)


def test_info_of_a_raster_tells_bands_and_ranges(client: TestClient) -> None:
    info = client.get(f"{HILL_TILES}/info").json()
    assert [(band["name"], band["units"]) for band in info["bands"]] == [("height", "m")]
    assert (info["rescale"], info["colormap"], info["bbox"]) == ([[0, 1000]], "viridis", [5, 45, 9, 48])
    doubled = client.get(f"{HILL_TILES}/info", params={"expression": "height*2"}).json()
    heights = hill_values()
    low, high = np.percentile(2 * heights[heights > -9999], (2, 98))
    assert doubled["rescale"][0] == pytest.approx([low, high])


def test_items_lead_to_their_tiles(client: TestClient) -> None:
    for collection, item in ((CLIMATE, MODEL), (IMAGES, HILL), (PLACES, SHIRES)):
        links = client.get(f"/stac/collections/{collection}/items/{item}").json()["links"]
        (address,) = [link["href"] for link in links if link["rel"] == "tilejson"]
        document = client.get(urlsplit(address).path).json()
        assert document["tilejson"] == "3.0.0"
        assert client.get(urlsplit(document["tiles"][0].format(z=0, x=0, y=0)).path).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("WebMercatorQuad/6/0/0.png", 404, "z"),
        ("WebMercatorQuad/0/1/0.png", 404, "z"),
        ("Mercator/0/0/0.png", 404, "tms"),
        ("WebMercatorQuad/0/0/0.gif", 422, "format"),
        ("WebMercatorQuad/0/0/0.png?tile_size=4096", 422, "tile_size"),
        ("WebMercatorQuad/0/0/0.png?tile_size=large", 422, "tile_size"),
        ("WebMercatorQuad/0/0/0.png?bands=9", 422, "bands"),
        ("WebMercatorQuad/0/0/0.png?bands=1&expression=b1", 422, "expression"),
        ("WebMercatorQuad/0/0/0.png?expression=__import__('os')", 422, "expression"),
        ("WebMercatorQuad/0/0/0.png?time_index=2", 422, "time_index"),
        ("WebMercatorQuad/0/0/0.png?render=none", 404, "render"),
        ("WebMercatorQuad/0/0/0.png?rescale=0,1,2,3", 422, "rescale"),
    ],
)
def test_what_a_raster_does_not_have_is_told_as_a_problem(
    client: TestClient, path: str, status: int, field: str
) -> None:
    answer = client.get(f"{HILL_TILES}/{path}")
    assert (answer.status_code, answer.json()["field"]) == (status, field)
