"""Places and boundaries over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app as create_api
from tests import catalogued
from tests.api.conftest import ADDRESS


def test_the_places_that_may_be_named_are_listed(client: TestClient) -> None:
    answer = client.get("/api/places")
    assert answer.status_code == 200
    places = {place["name"]: place for place in answer.json()["places"]}
    assert places["paris"] == {"name": "paris", "title": "Paris", "location": [2.3522, 48.8566], "aliases": []}
    assert "københavn" in places["copenhagen"]["aliases"]


@pytest.fixture(scope="module")
def shires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Give a client of a deployment whose states are the shires."""
    home: Path = tmp_path_factory.mktemp("shires") / "home"
    file = home.parent / "places.yaml"
    file.write_text(
        f"places: {{}}\nboundaries: {{state: [gone/gone, {catalogued.PLACES}/{catalogued.SHIRES}]}}\n", encoding="utf-8"
    )
    platform = geoetl.connect(home, places=file)
    catalogued.fill(platform, home / "shelf")
    with TestClient(create_api(platform), base_url=ADDRESS, raise_server_exceptions=False) as made:
        yield made


def test_boundaries_are_listed_and_each_is_a_feature(shires: TestClient) -> None:
    listed = shires.get("/api/boundaries/state").json()
    assert listed["boundary_type"] == "state"
    assert listed["source"]["item"] == catalogued.SHIRES
    assert [one["name"] for one in listed["boundaries"]] == ["<b>South</b>", "North"]
    answer = shires.get("/api/boundaries/state/NORTH")
    assert answer.headers["content-type"] == "application/geo+json"
    feature = json.loads(answer.text)
    assert (feature["type"], feature["properties"]["name"]) == ("Feature", "North")
    assert feature["geometry"]["type"] in ("Polygon", "MultiPolygon")
    assert len(feature["bbox"]) == 4


@pytest.mark.parametrize(
    ("path", "status", "field", "hint"),
    [
        ("state/Nort", 404, "boundary_id", "'North'"),
        ("county/North", 404, "boundary_type", "ingest-vector"),
        ("canton/North", 422, "boundary_type", "country, state, county"),
        ("canton", 422, "boundary_type", "country, state, county"),
        ("country", 404, "boundary_type", "GEOETL_PLACES"),
        ("state/%00", 404, "boundary_id", "North"),
        ("state/..%2f..%2fetc", 404, None, ""),
    ],
)
def test_what_is_not_there_is_a_problem_with_the_next_step(
    shires: TestClient, path: str, status: int, field: str | None, hint: str
) -> None:
    answer = shires.get(f"/api/boundaries/{path}")
    assert answer.status_code == status, answer.text
    problem = answer.json()
    if field is not None:
        assert problem["field"] == field
        assert hint in problem["hint"]
