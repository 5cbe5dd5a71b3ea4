"""What the pages are made of is sent to a browser once."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

import dashboards.app
import geoetl
from dashboards.shared.unchanged import Unchanged
from geoetl.core.principal import Role
from tests.served import PASSWORD

BUNDLE = "/components/dashboards.shared.map/Component/_bundle_path/geoetl.bundle.js"
BOKEH = "/static/js/bokeh.min.js"
ADDRESS, HERE = "http://127.0.0.1:8000", ("127.0.0.1", 50000)


@pytest.fixture
def client(home: Path) -> TestClient:
    """Give a browser on this machine, where nobody needs to sign in."""
    return TestClient(dashboards.app.create_app(geoetl.connect()), base_url=ADDRESS, client=HERE)


@pytest.mark.parametrize("path", [BUNDLE, BOKEH])
def test_a_file_that_a_browser_has_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert (first.status_code, first.headers["cache-control"]) == (200, "private, no-cache")
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["x-content-type-options"] == "nosniff"
    other = client.get(path, headers={"If-None-Match": '"of another version"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_every_program_that_a_page_asks_for_has_a_tag(client: TestClient) -> None:
    page = client.get("/explore")
    assert "etag" not in page.headers
    programs = re.findall(r'<script[^>]* src="(static/[^"]+)"', page.text)
    assert len(programs) >= 4
    assert all(client.get(f"/{path}").headers.get("etag") for path in programs)


def test_what_is_not_there_has_no_tag(client: TestClient) -> None:
    missing = client.get("/static/js/nothing.js")
    assert missing.status_code == 404
    assert "etag" not in missing.headers


def test_who_may_not_have_a_file_does_not_hear_that_it_is_unchanged(home: Path) -> None:
    platform = geoetl.connect()
    client = TestClient(dashboards.app.create_app(platform), base_url=ADDRESS, client=HERE)
    tag = client.get(BUNDLE).headers["etag"]
    platform.identity.add("alice", Role.VIEWER, PASSWORD)
    guarded = TestClient(dashboards.app.create_app(platform), base_url=ADDRESS, client=HERE)
    assert guarded.get(BUNDLE, headers={"If-None-Match": tag}).status_code == 401


def test_a_file_in_pieces_has_the_tag_of_the_whole() -> None:
    async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"onetwo"})

    first, second = (TestClient(Unchanged(app)).get("/static/x.js") for app in (pieces, whole))
    assert first.content == second.content == b"onetwo"
    assert first.headers["etag"] == second.headers["etag"]
