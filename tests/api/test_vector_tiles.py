"""Vector tiles over HTTP, as MapLibre asks for them."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from pmtiles.reader import MemorySource, Reader

from geoetl.platform import Platform
from tests.api.conftest import ADDRESS
from tests.catalogued import PLACES, SHIRES

TILES = f"/tiles/vector/{PLACES}/{SHIRES}"


def archive(platform: Platform) -> Reader:
    path = platform.catalog.item(PLACES, SHIRES)["assets"]["pmtiles"]["href"]
    return Reader(MemorySource(Path(path).read_bytes()))


def test_a_tile_comes_as_it_is_stored_and_says_how_it_is_packed(client: TestClient, filled: Platform) -> None:
    with client.stream("GET", f"{TILES}/5/16/11.pbf") as answer:
        stored = b"".join(answer.iter_raw())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert answer.headers["content-encoding"] == "gzip"
    assert stored == archive(filled).get(5, 16, 11)


def test_where_nothing_lies_the_answer_is_empty(client: TestClient) -> None:
    answer = client.get(f"{TILES}/5/0/0.pbf")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get(f"{TILES}/9/0/0.pbf").status_code == 204  # beyond the zooms of the archive


def test_a_tile_is_not_sent_again_while_nothing_changed(client: TestClient) -> None:
    first = client.get(f"{TILES}/5/16/11.pbf")
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get(f"{TILES}/5/16/11.pbf", headers=known).status_code == 304
    assert client.get(f"{TILES}/4/8/5.pbf", headers=known).status_code == 200


def test_tilejson_leads_to_the_tiles(client: TestClient) -> None:
    document = client.get(f"{TILES}/tilejson.json").json()
    assert (document["tilejson"], document["minzoom"], document["maxzoom"]) == ("3.0.0", 0, 6)
    assert document["bounds"] == [5, 45, 9, 48]
    (layer,) = document["vector_layers"]
    assert (layer["id"], layer["fields"]) == ("shires", {"name": "String", "people": "Number"})
    assert None not in document.values()
    (address,) = document["tiles"]
    assert address.startswith(ADDRESS)
    assert client.get(urlsplit(address.format(z=5, x=16, y=11)).path).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{TILES}/3/8/0.pbf", 404),
        (f"{TILES}/99/0/0.pbf", 422),
        (f"{TILES}/0/-1/0.pbf", 422),
        (f"{TILES}/0/0/0.pbf?asset=data", 422),
        (f"{TILES}/0/0/0.pbf?asset=none", 404),
        ("/tiles/vector/images/hill/0/0/0.pbf", 422),
        (f"/tiles/vector/{PLACES}/nothing/0/0/0.pbf", 404),
        (f"/tiles/vector/{PLACES}/..%2F..%2Fetc/0/0/0.pbf", 404),
        ("/tiles/vector/a:b/c/0/0/0.pbf", 422),
    ],
)
def test_what_is_not_there_is_told_as_a_problem(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
