"""What is told of requests and runs: ids, lines and figures, without secrets and without anybody's paths."""

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
from fastapi import APIRouter, FastAPI, Response
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import dashboards.app
import geoetl
from geoetl.api import edge, problems
from geoetl.api.app import create_app
from geoetl.api.limits import heavy_groups
from geoetl.api.observe import UNROUTED, Metrics, Noted, Observed, route_of
from geoetl.core.logging import REDACTED, bound, bound_ids, configure_logging, redacted
from geoetl.core.principal import Forbidden, Principal, Role, Via
from geoetl.core.settings import ServerSettings
from geoetl.platform import Platform
from geoetl.runs.notebook import Execution, NotebookRunner
from geoetl.runs.pipeline import load_pipeline
from geoetl.runs.queue import Submission

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def lines() -> Iterator[Any]:
    """Give a stream that all logging goes to, in a form that a test chooses, and put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def start(form: Literal["json", "text"] = "json") -> io.StringIO:
        configure_logging(ServerSettings(log_format=form), stream)
        return stream

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


# -- ids -------------------------------------------------------------------------------------------------------------


class Copied:
    """Hands a copy of the scope on, as the guard does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if "state" in scope:
            scope = {**scope, "state": dict(scope["state"])}
        await self.app(scope, receive, send)


def observed(trusted: tuple[str, ...] = (), metrics: Metrics | None = None) -> FastAPI:
    app = FastAPI()
    routes = APIRouter(prefix="/inner")

    @routes.get("/{name}")
    def named(name: str) -> dict[str, str]:
        logging.getLogger("geoetl.test").info("in a thread")
        return dict(bound_ids())

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("postgresql://bob:hunter2@db/x")

    mounted = FastAPI()
    mounted.get("/{name}")(lambda name: Response("x" * 100))
    app.include_router(routes, prefix="/outer")
    app.mount("/mounted", mounted)
    problems.install(app)
    app.add_middleware(Noted)
    app.add_middleware(Copied)
    app.add_middleware(problems.Problems)
    app.add_middleware(Observed, metrics=metrics or Metrics(), trusted=trusted, pages=("/explore",))
    return app


def test_an_id_is_taken_over_from_a_trusted_caller_alone_and_only_if_it_is_one() -> None:
    given = "9f8e7d6c-5b4a"
    trusting = TestClient(observed(("10.0.0.0/8",)), client=("10.1.2.3", 5))
    assert trusting.get("/outer/inner/a", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    assert trusting.get("/outer/inner/a", headers={"X-Request-ID": given}).json() == {"request_id": given}
    for odd in ("short", "a" * 65, "a b c d e f", 'x";drop--table', "-leading-dash", ""):
        assert trusting.get("/outer/inner/a", headers={"X-Request-ID": odd}).headers["x-request-id"] != odd
    for stranger in (TestClient(observed(("10.0.0.0/8",)), client=("11.1.2.3", 5)), TestClient(observed())):
        answer = stranger.get("/outer/inner/a", headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] != given
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_ids_of_requests_at_the_same_time_do_not_mix() -> None:
    client = TestClient(observed())
    seen: list[tuple[str, str]] = []

    def ask() -> None:
        for _ in range(20):
            answer = client.get("/outer/inner/a")
            seen.append((answer.headers["x-request-id"], answer.json()["request_id"]))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(told == bound_there for told, bound_there in seen)
    assert len(set(seen)) == 120
    assert bound_ids() == {}


# -- lines -----------------------------------------------------------------------------------------------------------


def test_a_request_is_one_line_with_its_route_and_not_its_path(lines: Any) -> None:
    stream = lines()
    app = observed()

    @app.get("/who/{name}")
    def who(name: str) -> Response:
        return Response(b"12345")

    class Signed:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("state", {})["principal"] = Principal("1", "ada", Role.VIEWER, Via.TOKEN)
            await self.app(scope, receive, send)

    app.add_middleware(Signed)
    answer = TestClient(app).get("/who/geoetl_secretsecretsecret?token=abc")
    (line,) = parsed(stream)
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "GET /who/{name} 200",
        "level": "info",
        "logger": "geoetl.access",
        "method": "GET",
        "route": "/who/{name}",
        "status": 200,
        "bytes": 5,
        "principal": "ada",
        "request_id": answer.headers["x-request-id"],
    }


def test_health_and_figures_are_not_logged(lines: Any, filled: Platform) -> None:
    client = TestClient(create_app(filled), base_url=ADDRESS)
    stream = lines()
    for path in ("/livez", "/api/livez", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200
    assert stream.getvalue() == ""


def test_an_unexpected_error_is_logged_with_its_stack_and_id_and_without_secrets(lines: Any) -> None:
    stream = lines()
    answer = TestClient(observed(), raise_server_exceptions=False).get("/broken")
    failed, access = parsed(stream)
    assert failed["level"] == "error" and "RuntimeError" in failed["exception"]
    assert failed["request_id"] == access["request_id"] == answer.json()["request_id"]
    assert access["status"] == 500
    assert "hunter2" not in stream.getvalue()
    assert "site-packages" not in stream.getvalue() and str(Path.cwd()) not in stream.getvalue()


def test_everything_that_is_logged_goes_to_one_place_in_one_form(lines: Any) -> None:
    stream = lines()
    with bound(run_id="r1"):
        logging.getLogger("uvicorn.error").warning("from uvicorn")
        logging.getLogger("sqlalchemy.pool").error("from sqlalchemy")
        structlog.get_logger("geoetl.x").info("from structlog", answer=42)
    assert [(line["event"], line["run_id"]) for line in parsed(stream)] == [
        ("from uvicorn", "r1"),
        ("from sqlalchemy", "r1"),
        ("from structlog", "r1"),
    ]
    assert parsed(stream)[2]["answer"] == 42


def test_text_for_people_has_no_secrets_either_and_no_line_is_made_up(lines: Any) -> None:
    stream = lines("text")
    logging.getLogger("geoetl.x").info("asked for %s", "a\n2026-01-01 [error] made up\r\n")
    logging.getLogger("geoetl.x").info("told", extra={"password": "hunter2", "url": "s3://k:hunter2@bucket/x"})
    assert len(stream.getvalue().splitlines()) == 2
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "authorization=Basic aHVudGVyMjpodW50ZXIy hunter2",
        "{'Cookie': 'session=hunter2; other=hunter2'}",
        "Set-Cookie: user=hunter2",
        "X-Geoetl-Proxy: hunter2",
        "postgresql+psycopg://bob:hunter2@db.example.org:5432/geo",
        "https://hunter2@example.org/x",
        "token geoetl_hunter2hunter2hunter2",
        "https://store/x?X-Amz-Algorithm=a&X-Amz-Signature=hunter2&y=1",
        "https://store.blob/x?sv=2024&sig=hunter2",
        "https://x/cb?code=1&id_token=hunter2",
        "password=hunter2, next",
        '{"client_secret": "hunter2"}',
        "api_key: hunter2",
    ],
)
def test_what_is_secret_is_cut_out_of_any_text(text: str) -> None:
    cut = redacted(text)
    assert "hunter2" not in cut and "aHVudGVy" not in cut
    assert REDACTED in cut


@pytest.mark.parametrize(
    "text",
    ["GET /stac/search 200", "https://store/x.tif?collection=a&limit=5", "3 tokens of text", "2026-01-01T00:00:00Z"],
)
def test_what_is_not_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_folders_of_this_machine_are_not_named() -> None:
    home = str(Path.home())
    assert redacted(f"{home}/data/x.tif") == "~/data/x.tif"
    assert redacted(f"{Path(problems.__file__)}:12") == "geoetl/api/problems.py:12"
    assert redacted(f"{Path(structlog.__file__)}") == "structlog/__init__.py"


def test_what_a_run_logs_has_its_id(tmp_path: Path) -> None:
    platform = geoetl.connect(tmp_path / "home")
    seen: list[dict[str, str]] = []

    class Watched(Execution):
        def _papermill(self, *args: Any) -> None:
            seen.append(dict(bound_ids()))

    claim = platform.runs.queue.begin(Submission("ingest-raster", {}, "x" * 64, "s"), "w")
    runner = NotebookRunner(platform.runs, platform.zones.internal, tmp_path, platform.settings.limits)
    Watched(runner, load_pipeline("ingest-raster"), claim, {}).run()
    assert seen == [{"run_id": claim.run_id}]
    assert bound_ids() == {}


# -- figures ---------------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_route_however_many_paths_there_are() -> None:
    metrics = Metrics()
    client = TestClient(observed(metrics=metrics), raise_server_exceptions=False)
    for number in range(30):
        client.get(f"/outer/inner/{number}")
        client.get(f"/mounted/{number}")
        client.get(f"/nowhere/{number}")
        client.get(f"/explore/{number}")
        client.request(f"ODD{number}", "/outer/inner/x")
    client.get("/broken")
    counted = {
        tuple(labels[key] for key in ("method", "route", "status")): value
        for (name, pairs), value in figures(metrics.text().decode()).items()
        if name == "geoetl_http_requests_total" and (labels := dict(pairs))
    }
    assert counted == {
        ("GET", "/outer/inner/{name}", "200"): 30,
        ("GET", "/mounted/{name}", "200"): 30,
        ("GET", UNROUTED, "404"): 30,
        ("GET", "/explore", "404"): 30,
        ("other", "/outer/inner/{name}", "405"): 30,
        ("GET", "/broken", "500"): 1,
    }


def test_the_figures_tell_of_catalogue_cache_runs_slots_and_process(filled: Platform) -> None:
    client = TestClient(create_app(filled), base_url=ADDRESS)
    filled.runs.queue.begin(Submission("ingest-raster", {}, "x" * 64, "s"), "w")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = figures(answer.text)
    assert found["geoetl_catalog_version", ()] == filled.catalog.version()
    assert found["geoetl_runs", (("state", "running"),)] == 1
    assert found["geoetl_heavy_slots", (("kind", "pictures"),)] == filled.settings.server.pictures_at_once
    assert found["geoetl_heavy_slots_used", (("kind", "searches"),)] == 0
    assert found["geoetl_http_requests_in_flight", ()] == 1
    assert found["process_resident_memory_bytes", ()] > 0
    assert any(name == "geoetl_build_info" for name, _ in found)
    assert ("geoetl_access_cache_lookups_total", (("outcome", "miss"),)) in found
    assert str(filled.settings.home) not in answer.text


def test_a_part_that_is_away_does_not_take_the_other_figures_along(filled: Platform, tmp_path: Path) -> None:
    platform = geoetl.connect(tmp_path / "home")
    platform.database.dispose()
    for file in platform.settings.home.glob("geoetl.db*"):
        file.unlink()
    (platform.settings.home / "geoetl.db").mkdir()
    found = figures(Metrics(platform, heavy_groups(platform.settings.server).values()).text().decode())
    assert not any(name == "geoetl_catalog_version" for name, _ in found)
    assert ("geoetl_heavy_slots", (("kind", "pictures"),)) in found


def test_a_request_that_met_no_route_has_no_template() -> None:
    assert route_of({"type": "http", "path": "/x"}) == ""


def test_the_outer_layers_stay_outside_of_what_is_put_on_later(filled: Platform) -> None:
    class Wall:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await problems.respond(Forbidden("You may not."), scope)(scope, receive, send)
                return
            await self.app(scope, receive, send)

    app = create_app(filled)
    app.add_middleware(Wall)
    edge.outermost(app)
    edge.outermost(app)
    names = [layer.cls.__name__ for layer in app.user_middleware]  # type: ignore[attr-defined]
    assert names == [
        "Observed",
        "SecurityHeaders",
        "Problems",
        "RequestLimits",
        "Wall",
        "Heads",
        "Bodies",
        "HeavySlots",
        "Noted",
    ]
    answer = TestClient(app, base_url=ADDRESS).get("/api/livez")
    assert answer.status_code == 403
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_all_of_it_stands_around_the_guard_and_the_pages(lines: Any, filled: Platform) -> None:
    app = dashboards.app.create_app(filled)
    client = TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50000), raise_server_exceptions=False)
    stream = lines()
    assert client.get("/api/raster/point/none/none?location=1,1").status_code == 404
    page = client.get("/explore")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-request-id"]
    missing = client.get("/static/none.js")
    assert (missing.status_code, missing.headers["content-type"]) == (404, problems.MEDIA_TYPE)
    stranger = TestClient(app, base_url="http://evil.example", raise_server_exceptions=False)
    assert stranger.get("/api/openapi.json").json()["request_id"]
    told = [line for line in parsed(stream) if line["logger"] == "geoetl.access"]
    assert [(line["route"], line["status"], line.get("principal")) for line in told] == [
        ("/api/raster/point/{collection}/{item}", 404, "Local operator"),
        ("/explore", 200, "Local operator"),
        ("/static", 404, "Local operator"),
        (UNROUTED, 403, None),
    ]
    assert client.get("/metrics").status_code == 200
    assert client.get("/api/readyz").json()["checks"][0]["info"]


# -- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/livez", "/nowhere", "/docs", "/docs/assets/docs.css", "/api/openapi.json"])
def test_every_answer_says_what_a_browser_may_do_with_it(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    kind = headers["content-type"].partition(";")[0]
    if kind.endswith("json"):
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'self'"
    if kind == "text/html":
        assert re.search(r"script-src 'self';", headers["content-security-policy"])
