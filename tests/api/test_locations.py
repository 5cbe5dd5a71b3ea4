"""Places and boundaries over HTTP."""

from fastapi.testclient import TestClient


def test_the_places_that_may_be_named_are_listed(client: TestClient) -> None:
    answer = client.get("/api/places")
    assert answer.status_code == 200
    places = {place["name"]: place for place in answer.json()["places"]}
    assert places["paris"] == {"name": "paris", "title": "Paris", "location": [2.3522, 48.8566], "aliases": []}
    assert "københavn" in places["copenhagen"]["aliases"]
