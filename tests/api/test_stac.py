"""The STAC API, as pystac-client and plain HTTP meet it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pystac_client
import pytest
from fastapi.testclient import TestClient

import dashboards.app
import geoetl
from geoetl.api.app import create_app
from geoetl.api.openapi import operations
from geoetl.api.roles import ServerRole
from geoetl.api.security import Access
from geoetl.core.principal import Role
from geoetl.platform import Platform
from tests import catalogued
from tests.api.conftest import ADDRESS
from tests.catalogued import CLIMATE, HILL, IMAGES, MODEL, PLACES, SHIRES
from tests.datasets.released import declared_here
from tests.served import serving
from tests.stac import a_collection, an_item

COUNT = 25


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform with items that the searches of this module look through, and that no test changes."""
    platform = geoetl.connect(tmp_path_factory.mktemp("searched") / "home")
    catalogued.fill(platform, platform.settings.home / "shelf")
    platform.catalog.upsert_collection(a_collection("scenes", keywords=["Sentinel"]))
    platform.catalog.upsert_items(
        an_item(
            f"scene-{n:02}",
            collection="scenes",
            box=(n, 10, n + 0.5, 11),
            time=f"20{n + 1:02}-01-01T00:00:00Z",
            properties={"eo:cloud_cover": n, "platform": f"sat-{n % 3}"},
            assets={"data": {"href": "https://example.org/a.tif"}},
        )
        for n in range(COUNT)
    )
    return platform


@pytest.fixture(scope="module")
def stac(searched: Platform) -> Iterator[pystac_client.Client]:
    """Give pystac-client on a server of its own."""
    with serving(create_app(searched)) as address:
        yield pystac_client.Client.open(f"{address}/stac/")


@pytest.fixture(scope="module")
def http(searched: Platform) -> TestClient:
    """Give a client that meets errors as answers."""
    return TestClient(create_app(searched), base_url=ADDRESS, raise_server_exceptions=False)


@pytest.fixture
def editor(tmp_path: Path) -> TestClient:
    """Give a client of a catalogue that a test may change."""
    platform = geoetl.connect(tmp_path / "home")
    catalogued.fill(platform, tmp_path / "home" / "shelf")
    return TestClient(create_app(platform), base_url=ADDRESS, raise_server_exceptions=False)


# -- pystac-client ---------------------------------------------------------------------------------------------------


def test_pystac_client_finds_collections_and_items(stac: pystac_client.Client) -> None:
    assert {one.id for one in stac.get_collections()} == {IMAGES, CLIMATE, PLACES, "scenes"}
    collection = stac.get_collection("scenes")
    assert sorted(item.id for item in collection.get_items()) == [f"scene-{n:02}" for n in range(COUNT)]
    item = collection.get_item("scene-03")
    assert item is not None
    assert item.properties["eo:cloud_cover"] == 3
    item.validate()
    collection.validate()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"bbox": [2.2, 10, 4.2, 11]}, [2, 3, 4]),
        ({"datetime": "2003-01-01/2005-12-31"}, [2, 3, 4]),
        ({"intersects": {"type": "Point", "coordinates": [7.25, 10.5]}}, [7]),
        ({"ids": ["scene-01", "scene-09"]}, [1, 9]),
        ({"filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 2]}}, [0, 1]),
        ({"filter": "\"eo:cloud_cover\" >= 23 AND platform = 'sat-2'", "filter_lang": "cql2-text"}, [23]),
        ({"sortby": "-properties.eo:cloud_cover", "max_items": 3}, [24, 23, 22]),
        ({"sortby": "+id", "max_items": 3}, [0, 1, 2]),
    ],
)
def test_pystac_client_searches_in_every_way(
    stac: pystac_client.Client, method: str, asked: dict[str, Any], expected: list[int]
) -> None:
    if method == "GET" and isinstance(asked.get("filter"), dict):
        asked = {**asked, "filter_lang": "cql2-json"}
    found = stac.search(method=method, collections=["scenes"], limit=2, **asked)
    ids = [item["id"] for item in found.items_as_dicts()]
    assert (ids if "sortby" in asked else sorted(ids)) == [f"scene-{n:02}" for n in expected]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_joined_are_the_whole(stac: pystac_client.Client, method: str) -> None:
    found = stac.search(method=method, collections=["scenes"], limit=4)
    assert found.matched() == COUNT
    pages = [[item["id"] for item in page["features"]] for page in found.pages_as_dicts()]
    assert [len(page) for page in pages] == [4] * 6 + [1]
    assert len({name for page in pages for name in page}) == COUNT


def test_pystac_client_asks_for_some_fields_only(stac: pystac_client.Client) -> None:
    found = stac.search(collections=["scenes"], ids=["scene-05"], fields=["id", "properties.platform"])
    (item,) = found.items_as_dicts()
    assert item == {"id": "scene-05", "collection": "scenes", "properties": {"platform": "sat-2"}}
    found = stac.search(collections=["scenes"], ids=["scene-05"], fields={"exclude": ["assets", "links"]})
    (item,) = found.items_as_dicts()
    assert {"assets", "links"} & item.keys() == set()
    assert item["properties"]["platform"] == "sat-2"


def test_pystac_client_searches_collections(stac: pystac_client.Client) -> None:
    assert {one.id for one in stac.collection_search(q="sentinel").collections()} == {"scenes"}
    assert {one.id for one in stac.collection_search(q="nothing").collections()} == set()
    assert len(list(stac.collection_search(limit=1).collections())) == 4


def test_queryables_name_what_the_items_have(stac: pystac_client.Client) -> None:
    properties = stac.get_collection("scenes").get_queryables()["properties"]
    assert properties["eo:cloud_cover"]["type"] == "integer"
    assert properties["platform"]["type"] == "string"
    assert {"id", "collection", "geometry", "datetime"} <= properties.keys()


# -- documents -------------------------------------------------------------------------------------------------------


def test_no_path_of_this_machine_leaves(http: TestClient, searched: Platform) -> None:
    home = str(searched.settings.home)
    for path in ("/stac/", "/stac/collections", "/stac/search?limit=1000", f"/stac/collections/{IMAGES}/items"):
        answer = http.get(path)
        assert answer.status_code == 200
        assert home not in answer.text
        assert "internal://" not in answer.text


@pytest.mark.parametrize(("collection", "item"), [(IMAGES, HILL), (CLIMATE, MODEL), (PLACES, SHIRES)])
def test_every_address_of_an_item_leads_somewhere(http: TestClient, collection: str, item: str) -> None:
    document = http.get(f"/stac/collections/{collection}/items/{item}").json()
    for asset in document["assets"].values():
        parts = urlsplit(asset["href"])
        assert f"{parts.scheme}://{parts.netloc}" == ADDRESS
        assert http.head(parts.path).status_code == 200
    for link in document["links"]:
        assert http.get(urlsplit(link["href"]).path).status_code == 200, link


def test_every_link_of_the_landing_page_leads_to_what_it_says(http: TestClient) -> None:
    for link in http.get("/stac/").json()["links"]:
        if link["rel"] == "service-doc":
            continue  # tests/api/test_docs.py
        path = urlsplit(link["href"]).path
        answer = http.post(path, json={}) if link.get("method") == "POST" else http.get(path)
        assert answer.status_code == 200, link
        assert answer.headers["content-type"].startswith(link["type"].split(";")[0]), link


def test_pages_hold_while_items_come_in_between(editor: TestClient) -> None:
    editor.post("/stac/collections", json=a_collection("scenes"))
    times = {name: f"2020-01-{10 + n}T00:00:00Z" for n, name in enumerate("abcdef")}
    for name, time in times.items():
        assert editor.post(
            "/stac/collections/scenes/items", json=an_item(name, collection="scenes", time=time)
        ).is_success
    first = editor.get("/stac/search?collections=scenes&limit=2").json()
    newer = an_item("newer", collection="scenes", time="2021-01-01T00:00:00Z")
    assert editor.post("/stac/collections/scenes/items", json=newer).is_success
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    second = editor.get(following).json()
    assert [item["id"] for page in (first, second) for item in page["features"]] == ["f", "e", "d", "c"]


# -- what is not right -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"bbox": "1,2,3"}, "bbox"),
        ({"bbox": "1,2,3,x"}, "bbox"),
        ({"bbox": "0,50,1,40"}, "bbox"),
        ({"bbox": "0,0,1,1", "intersects": '{"type": "Point", "coordinates": [0, 0]}'}, "intersects"),
        ({"intersects": "POINT(0 0)"}, "intersects"),
        ({"datetime": "2020"}, "datetime"),
        ({"datetime": "2020-02-30T00:00:00Z"}, "datetime"),
        ({"datetime": "../.."}, "datetime"),
        ({"limit": 0}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"token": "x"}, "token"),
        ({"sortby": "-"}, "sortby"),
        ({"filter": "a ="}, "filter"),
        ({"filter": "a = 1", "filter-lang": "cql2-json"}, "filter"),
        ({"filter": "a = 1", "filter-lang": "sql"}, "filter-lang"),
        ({"filter": "a = 1", "filter-crs": "EPSG:3857"}, "filter-crs"),
    ],
)
def test_a_wrong_question_is_400_with_the_parameter_that_is_wrong(
    http: TestClient, asked: dict[str, Any], field: str
) -> None:
    answer = http.get("/stac/search", params=asked)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"bbox": "1,2,3,4"},
        {"bbox": [1, 2, 3]},
        {"ids": "scene-01"},
        {"limit": -1},
        {"sortby": [{"field": "id", "direction": "up"}]},
        {"filter": {"op": "nothing", "args": []}},
        {"filter": {"op": "and", "args": [[[]]]}},
        [],
    ],
)
def test_a_wrong_body_is_400(http: TestClient, body: Any) -> None:
    answer = http.post("/stac/search", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_what_is_not_there_is_404_with_the_nearest_name(http: TestClient) -> None:
    for path in (
        "collections/scene",
        "collections/scene/items",
        "collections/scenes/items/scene-99",
        "collections/scene/queryables",
    ):
        answer = http.get(f"/stac/{path}")
        assert answer.status_code == 404, path
        assert answer.json()["code"] == "not_found"
    assert "Did you mean 'scenes'" in http.get("/stac/collections/scene").json()["hint"]


# -- writing ---------------------------------------------------------------------------------------------------------


def test_a_new_item_is_found_at_once_and_has_an_address(editor: TestClient) -> None:
    item = an_item("new", collection=IMAGES, properties={"title": "New"})
    answer = editor.post(f"/stac/collections/{IMAGES}/items", json=item)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{ADDRESS}/stac/collections/{IMAGES}/items/new"
    assert editor.get(answer.headers["location"]).json() == answer.json()
    assert editor.post("/stac/search", json={"ids": ["new"]}).json()["numberMatched"] == 1
    again = editor.post(f"/stac/collections/{IMAGES}/items", json=item)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_items_of_a_feature_collection_come_in_all_or_none(editor: TestClient) -> None:
    path = f"/stac/collections/{IMAGES}/items"
    features = [an_item("a", collection=IMAGES), an_item("b", collection=IMAGES)]
    wrong = {
        "type": "FeatureCollection",
        "features": [*features, {**an_item("c"), "collection": IMAGES, "geometry": None}],
    }
    assert editor.post(path, json=wrong).status_code == 400
    assert editor.get(f"{path}/a").status_code == 404
    assert editor.post(path, json={"type": "FeatureCollection", "features": features}).status_code == 201
    assert editor.get(f"{path}/b").status_code == 200


def test_a_document_that_is_read_changed_and_put_back_keeps_its_files(editor: TestClient) -> None:
    path = f"/stac/collections/{IMAGES}/items/{HILL}"
    document = editor.get(path).json()
    document["properties"]["title"] = "A higher hill"
    answer = editor.put(path, json=document)
    assert answer.status_code == 200
    assert answer.json()["properties"]["title"] == "A higher hill"
    assert answer.json()["assets"] == document["assets"]
    assert answer.json()["links"] == document["links"]
    assert editor.get(f"/api/raster/point/{IMAGES}/{HILL}?location=7,46.5").status_code == 200


def test_a_patch_sets_and_removes_members(editor: TestClient) -> None:
    path = f"/stac/collections/{IMAGES}/items/{HILL}"
    answer = editor.patch(path, json={"properties": {"title": None, "gsd": 30}})
    assert answer.status_code == 200
    assert "title" not in answer.json()["properties"]
    assert answer.json()["properties"]["gsd"] == 30
    assert editor.get(f"/api/raster/preview/{IMAGES}/{HILL}?max_size=16").status_code == 200
    collection = editor.patch(f"/stac/collections/{IMAGES}", json={"title": "Pictures"}).json()
    assert collection["title"] == "Pictures"
    assert editor.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", f"{IMAGES}/items/{HILL}", {**an_item("other", collection=IMAGES)}, 400),
        ("PUT", f"{IMAGES}/items/{HILL}", an_item(HILL, collection=CLIMATE), 400),
        ("PUT", f"{IMAGES}/items/nothing", an_item("nothing", collection=IMAGES), 404),
        ("POST", f"{IMAGES}/items", an_item("x", collection=CLIMATE), 400),
        ("POST", "nowhere/items", an_item("x", collection="nowhere"), 404),
        ("POST", f"{IMAGES}/items", {**an_item("x", collection=IMAGES), "id": "../x"}, 400),
        ("POST", f"{IMAGES}/items", {"type": "FeatureCollection", "features": []}, 400),
        ("POST", f"{IMAGES}/items", {"type": "FeatureCollection", "features": [5]}, 400),
        ("POST", f"{IMAGES}/items", {}, 400),
        ("PATCH", f"{IMAGES}/items/{HILL}", {"id": "other"}, 400),
        ("PATCH", f"{IMAGES}/items/{HILL}", {"geometry": None}, 400),
        ("PATCH", f"{IMAGES}/items/nothing", {}, 404),
        ("DELETE", f"{IMAGES}/items/nothing", None, 404),
        ("PUT", IMAGES, a_collection("other"), 400),
        ("PUT", "nowhere", a_collection("nowhere"), 404),
        ("DELETE", "nowhere", None, 404),
    ],
)
def test_what_may_not_be_written_changes_nothing(
    editor: TestClient, method: str, path: str, body: Any, status: int
) -> None:
    before = editor.get("/stac/search?limit=1000").json()
    answer = editor.request(method, f"/stac/collections/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert editor.get("/stac/search?limit=1000").json() == before


def test_what_is_deleted_is_gone_for_every_reader(editor: TestClient) -> None:
    point = f"/api/raster/point/{IMAGES}/{HILL}?location=7,46.5"
    assert editor.get(point).status_code == 200
    assert editor.delete(f"/stac/collections/{IMAGES}/items/{HILL}").status_code == 204
    assert editor.get(point).status_code == 404
    assert editor.delete(f"/stac/collections/{CLIMATE}").status_code == 204
    assert editor.get(f"/stac/collections/{CLIMATE}").status_code == 404
    assert editor.post("/stac/collections", json=a_collection(CLIMATE)).status_code == 201
    assert editor.get(f"/stac/collections/{CLIMATE}/items").json()["numberMatched"] == 0


# -- the description -------------------------------------------------------------------------------------------------


def test_a_reader_has_no_route_that_writes(searched: Platform) -> None:
    document = create_app(searched, ServerRole.READER).openapi()
    writing = [
        (method, path)
        for method, path, _ in operations(document)
        if not path.startswith(("/login", "/logout"))
        and Access().needed("http", method.upper(), path.replace("{", "").replace("}", "")) is not Role.VIEWER
        and path != "/metrics"
    ]
    assert writing == []
    client = TestClient(create_app(searched, ServerRole.READER), base_url=ADDRESS)
    assert client.delete(f"/stac/collections/{IMAGES}").status_code == 405


def test_every_operation_says_its_statuses_and_has_an_example(searched: Platform) -> None:
    document = create_app(searched).openapi()
    for method, path, operation in operations(document):
        text = json.dumps([operation, *_bodies(document, operation)])
        assert '"example"' in text or '"examples"' in text, (method, path)
        assert {"400", "401", "403", "404", "422", "503"} <= operation["responses"].keys()


def _bodies(document: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    schemas = [
        content["schema"]
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "schema" in content
    ]
    names = [schema["$ref"].rpartition("/")[2] for schema in schemas if "$ref" in schema]
    return [document["components"]["schemas"][name] for name in names]


# What is there after an update, which takes longer than all questions together, a clean-up, or a submission.
LATER = (
    "/api/cleanup/history/{cleanup_id}",
    "/api/curated/datasets/{dataset_id}/versions/{number}",
    "/api/publish/releases/{release_id}",
    "/api/platform/approvals/{release_id}",
)


def test_the_examples_of_reading_are_answered(demo_home: Path, tmp_path: Path) -> None:
    app = dashboards.app.create_app(geoetl.connect(demo_home, managed=declared_here(tmp_path / "managed")))
    with serving(app) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        for method, path, operation in operations(app.openapi()):
            if method != "get" or path.startswith(LATER):
                continue
            asked = {parameter["name"]: parameter for parameter in operation.get("parameters", ())}
            for name, parameter in asked.items():
                if parameter["in"] == "path":
                    path = path.replace(f"{{{name}}}", str(parameter["example"]))
            given = {name: parameter for name, parameter in asked.items() if parameter["in"] == "query"}
            needed = {name: parameter["example"] for name, parameter in given.items() if parameter.get("required")}
            if "boundary_id" in given and "example" in given.get("bbox", {}):
                needed["bbox"] = given["bbox"]["example"]  # one of the two is needed
            assert client.get(path, params=needed).status_code == 200, path
            for name, parameter in given.items():
                if "example" in parameter:
                    answer = client.get(path, params={**needed, name: parameter["example"]})
                    assert answer.status_code == 200, (path, name, answer.text)
