"""The API as a whole: errors that nobody foresaw, and who may ask."""

import json
import logging

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import dashboards.app
import geoetl
from geoetl.api.app import create_app as create_api
from geoetl.api.guard import PROXY_HEADER
from geoetl.core.errors import Unavailable
from geoetl.platform import Platform

ADDRESS = "http://127.0.0.1:8000"


def test_a_living_process_says_so(client: TestClient) -> None:
    assert client.get("/api/livez").json() == {"status": "ok", "version": geoetl.__version__}


def test_every_answer_has_an_id(client: TestClient) -> None:
    first, second = (client.get("/api/livez").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_an_unexpected_error_is_a_problem_without_its_stack(filled: Platform, caplog: pytest.LogCaptureFixture) -> None:
    app = create_api(filled)

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("/secret/path")

    @app.get("/away")
    def away() -> None:
        raise Unavailable("The store is away.", hint="Try again.")

    client = TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)
    with caplog.at_level(logging.ERROR, "geoetl.api"):
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert body["request_id"] in body["hint"]
    assert body["request_id"] in caplog.text
    busy = client.get("/away")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")


def test_a_wrong_address_and_a_wrong_verb_are_problems_too(client: TestClient) -> None:
    assert client.get("/nowhere").json()["code"] == "not_found"
    refused = client.delete("/api/livez")
    assert refused.status_code == 405
    assert refused.json()["status"] == 405
    assert refused.headers["allow"] == "GET, HEAD"


def test_the_description_needs_no_other_host(client: TestClient) -> None:
    described = client.get("/api/openapi.json")
    assert "/api/raster/point/{collection}/{item}" in described.json()["paths"]


@pytest.fixture(scope="module")
def page(filled: Platform) -> TestClient:
    app = dashboards.app.create_app(filled)
    return TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50000), raise_server_exceptions=False)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "8.8.8.8", ""])
@pytest.mark.parametrize("path", ["/explore", "/", "/api/openapi.json", "/static/js/bokeh.min.js", "/basemap.topojson"])
def test_another_name_is_refused_on_every_path(page: TestClient, host: str, path: str) -> None:
    answer = page.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["code"] == "refused"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_this_machines_own_names_are_answered(page: TestClient, host: str) -> None:
    assert page.get("/basemap.topojson", headers={"Host": host}).status_code == 200


def test_a_page_of_another_server_may_not_open_the_websocket(page: TestClient) -> None:
    for origin in ("https://evil.example", "http://127.0.0.1:9999", "null"):
        with pytest.raises(WebSocketDisconnect), page.websocket_connect("/explore/ws", headers={"Origin": origin}):
            pass


def test_a_proxy_has_to_know_the_secret(filled: Platform) -> None:
    app = dashboards.app.create_app(filled, proxy_token="secret")
    client = TestClient(app, base_url="http://hub.example.org", raise_server_exceptions=False)
    assert client.get("/explore").status_code == 403
    assert client.get("/basemap.topojson", headers={PROXY_HEADER: "wrong"}).status_code == 403
    assert client.get("/basemap.topojson", headers={PROXY_HEADER: "secret"}).status_code == 200
    assert client.get("/api/livez").status_code == 200
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/explore/ws"):
        pass


def test_the_root_leads_to_the_first_page_below_any_proxy(page: TestClient) -> None:
    assert page.get("/", follow_redirects=False).headers["location"] == "explore"


def test_the_page_names_no_other_host(page: TestClient) -> None:
    html = page.get("/explore").text
    assert "<title>geoetl</title>" in html or "Explore" in html
    for start in ("http://", "https://"):
        for found in html.split(start)[1:]:
            assert found.split("/")[0].startswith(("www.w3.org", "127.0.0.1")), found[:80]


def test_a_picture_that_is_gone_is_a_problem(page: TestClient) -> None:
    assert json.loads(page.get("/pictures/0000").text)["code"] == "not_found"
