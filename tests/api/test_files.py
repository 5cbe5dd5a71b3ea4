"""The files of items, by ids."""

import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app as create_api
from geoetl.platform import Platform
from tests import catalogued
from tests.catalogued import HILL, IMAGES, PLACES, SHIRES

TILES = f"/assets/{PLACES}/{SHIRES}/pmtiles"


def test_an_asset_comes_whole_with_its_type_and_name(client: TestClient, filled: Platform) -> None:
    answer = client.get(f"/assets/{IMAGES}/{HILL}/data")
    assert answer.content == (filled.settings.home / "shelf" / "hill.tif").read_bytes()
    assert answer.headers["content-type"].startswith("image/tiff")
    assert answer.headers["content-disposition"] == 'attachment; filename="hill.tif"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("range_header", "part"), [("bytes=0-6", slice(0, 7)), ("bytes=7-", slice(7, None)), ("bytes=-9", slice(-9, None))]
)
def test_a_part_can_be_asked_for(client: TestClient, filled: Platform, range_header: str, part: slice) -> None:
    whole = (filled.settings.home / "shelf" / "shires.pmtiles").read_bytes()
    answer = client.get(TILES, headers={"Range": range_header})
    assert answer.status_code == 206
    assert answer.content == whole[part]
    assert answer.headers["content-range"].endswith(f"/{len(whole)}")


def test_a_part_beyond_the_end_is_refused(client: TestClient) -> None:
    assert client.get(TILES, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_an_unchanged_asset_is_not_sent_again(client: TestClient) -> None:
    tag = client.get(TILES).headers["etag"]
    again = client.get(TILES, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(TILES)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


@pytest.mark.parametrize(
    "path",
    [
        f"/assets/{IMAGES}/{HILL}/nothing",
        f"/assets/{IMAGES}/nothing/data",
        f"/assets/nothing/{HILL}/data",
        f"/executions/{IMAGES}/{HILL}",
    ],
)
def test_what_is_not_there_is_a_sentence(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "a%00b", "...."])
def test_a_path_instead_of_an_id_leads_nowhere(client: TestClient, filled: Platform, name: str) -> None:
    for path in (f"/assets/{name}/{HILL}/data", f"/assets/{IMAGES}/{name}/data", f"/assets/{IMAGES}/{HILL}/{name}"):
        answer = client.get(path)
        assert answer.status_code in (404, 422)
        assert str(filled.settings.home) not in answer.text


@pytest.mark.parametrize("href", ["https://example.org/a.tif", "/etc/hostname", "file:///etc/hostname"])
def test_an_address_elsewhere_is_not_handed_on(home: Path, href: str) -> None:
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    item = dict(platform.catalog.item(IMAGES, HILL))
    item["assets"] = {"data": {**item["assets"]["data"], "href": href}}
    platform.catalog.upsert_items([item])
    client = TestClient(create_api(platform), base_url="http://127.0.0.1:8000")
    answer = client.get(f"/assets/{IMAGES}/{HILL}/data")
    assert answer.status_code in (404, 422)
    assert "/etc" not in answer.text


def test_the_executed_notebook_can_be_had(home: Path) -> None:
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    notebook = home / "shelf" / "notebook.ipynb"
    notebook.write_text('{"cells": []}')
    item = dict(platform.catalog.item(IMAGES, HILL))
    item["links"] = [*item["links"], {"rel": "processing-execution", "href": str(notebook)}]
    platform.catalog.upsert_items([item])
    answer = TestClient(create_api(platform), base_url="http://127.0.0.1:8000").get(f"/executions/{IMAGES}/{HILL}")
    assert answer.text == '{"cells": []}'
    assert answer.headers["content-type"] == "application/x-ipynb+json"


def test_many_may_ask_at_once(client: TestClient) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(client.get(TILES).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
