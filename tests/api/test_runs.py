"""Runs over HTTP: started, followed, cancelled, tried again, and shown without anything that could run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

import geoetl
from geoetl.api.app import create_app
from geoetl.api.roles import ServerRole
from geoetl.api.runs import NOTEBOOK_POLICY
from geoetl.platform import Platform
from geoetl.runs.model import EventKind, RunKind
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending
from geoetl.store.samples import sample_path
from tests.served import serving

TIF = "samples:landsat_rgb.tif"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give an empty platform with a raster in the working folder, which may be read."""
    shutil.copy(sample_path("landsat_rgb.tif"), home.parent / "image.tif")
    return geoetl.connect()


@pytest.fixture
def client(platform: Platform) -> Iterator[TestClient]:
    """Give a client that meets errors as answers."""
    with TestClient(create_app(platform), base_url=ADDRESS, raise_server_exceptions=False) as made:
        yield made


def start(client: TestClient, key: str | None = None, **further: Any) -> Any:
    parameters = {"source": "samples:landsat_rgb.tif", "collection": "images"}
    headers = {"Idempotency-Key": key} if key else {}
    body = {"pipeline": "ingest-raster", "parameters": parameters, **further}
    return client.post("/api/runs", json=body, headers=headers)


def claim(platform: Platform) -> tuple[str, int]:
    (taken,) = platform.runs.queue.claim(platform.runs.queue.enter(ProcessMark.own(), 1), RunKind.NOTEBOOK)
    return taken.run_id, taken.attempt


def sent(text: str) -> list[dict[str, str]]:
    """Return server-sent events, each with its fields."""
    blocks = [block for block in text.split("\n\n") if "data: " in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]  # type: ignore[misc]


# -- starting ----------------------------------------------------------------------------------------------------------


def test_a_run_is_accepted_and_waits_at_its_address(client: TestClient) -> None:
    accepted = start(client, priority=3)
    assert accepted.status_code == 202
    body = accepted.json()
    assert (body["state"], body["priority"], body["workers"], body["reused"]) == ("queued", 3, 0, False)
    assert accepted.headers["location"] == f"/api/runs/{body['id']}"
    assert client.get(accepted.headers["location"]).json()["id"] == body["id"]


def test_the_same_request_is_the_same_run_and_a_key_makes_a_repeated_one_safe(client: TestClient) -> None:
    first = start(client).json()["id"]
    assert start(client).json()["id"] == first
    keyed = start(client, key="order 1", again=True).json()["id"]
    assert keyed != first
    client.post(f"/api/runs/{keyed}/cancel")
    repeated = start(client, key="order 1", again=True).json()
    assert (repeated["id"], repeated["state"]) == (keyed, "cancelled")


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"pipeline": "ingest-rasters"}, "/pipeline", "no pipeline 'ingest-rasters'"),
        ({"parameters": {}}, "/parameters/source", "'ingest-raster' needs the parameter 'source'"),
        ({"parameters": {"source": TIF, "colour": 1}}, "/parameters/colour", "no parameter"),
        ({"parameters": {"source": TIF, "collection": 7}}, "/parameters/collection", "takes str"),
        (
            {"parameters": {"source": "samples:landsat_rgb.tif", "collection": "../x"}},
            "/parameters/collection",
            "valid",
        ),
        ({"parameters": {"source": "nowhere.tif"}}, "/parameters/source", "There is no file 'nowhere.tif'"),
        ({"parameters": {"source": "/etc/passwd"}}, "/parameters/source", "lies outside"),
        ({"parameters": {"source": "file:///etc/passwd"}}, "/parameters/source", "'ingest-raster'"),
        ({"priority": 1000}, "/priority", "1000"),
        ({"pipelin": "x"}, "/pipelin", "not known"),
    ],
)
def test_what_cannot_begin_is_refused_before_a_run_exists(
    client: TestClient, platform: Platform, body: dict[str, Any], field: str, says: str
) -> None:
    answer = client.post("/api/runs", json={"pipeline": "ingest-raster", **body})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["field"] == field
    assert says in problem["detail"]
    assert str(platform.settings.home) not in answer.text
    assert platform.runs.list() == []


def test_paths_and_secrets_of_this_machine_are_not_told(client: TestClient, platform: Platform, home: Path) -> None:
    answer = start(client, parameters={"source": str(home.parent / "image.tif"), "collection": "images"})
    assert answer.status_code == 202, answer.text
    run_id, attempt = claim(platform)
    platform.runs.start_stage(run_id, attempt, "validate", 1, "x", 1)
    said = (f"{home.parent / 'image.tif'} is odd", "password=hunter2")
    platform.runs.finish_stage(run_id, attempt, "validate", result="1", warnings=said)
    texts = [client.get(f"/api/runs{path}").text for path in ("", f"/{run_id}", f"/{run_id}/events?follow=false")]
    for text in (answer.text, *texts):
        assert "hunter2" not in text and str(home.parent) not in text
        assert '"image.tif"' in text or "image.tif is odd" in text


# -- looking -----------------------------------------------------------------------------------------------------------


def test_runs_are_listed_in_pages_and_by_state(client: TestClient) -> None:
    ids = [start(client, again=True).json()["id"] for _ in range(3)]
    client.post(f"/api/runs/{ids[0]}/cancel")
    first = client.get("/api/runs?limit=2").json()
    assert ([run["id"] for run in first["runs"]], first["next"]) == ([ids[2], ids[1]], ids[1])
    second = client.get(f"/api/runs?limit=2&before={first['next']}").json()
    assert ([run["id"] for run in second["runs"]], second["next"]) == ([ids[0]], None)
    assert [run["id"] for run in client.get("/api/runs?state=cancelled").json()["runs"]] == [ids[0]]
    assert first["counts"] == {"queued": 2, "cancelled": 1}
    assert client.get("/api/runs?state=asleep").status_code == 422


@pytest.mark.parametrize("path", ["", "/events", "/notebook"])
def test_an_unknown_run_is_not_found(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/runs/06h285e65sq5gbgh2gy7{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.get(f"/api/runs/%00{path}").status_code == 422


def test_events_stream_until_the_end_and_go_on_from_the_last_one_seen(client: TestClient, platform: Platform) -> None:
    run_id = start(client).json()["id"]
    _, attempt = claim(platform)
    platform.runs.log(run_id, attempt, ["one", "two"])
    platform.runs.queue.finish(Ending(run_id, attempt))
    stream = client.get(f"/api/runs/{run_id}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = sent(stream.text)
    assert [event["event"] for event in events] == ["queued", "started", "log", "finished"]
    assert [event["id"] for event in events] == ["1", "2", "3", "4"]
    assert json.loads(events[2]["data"])["lines"] == ["one", "two"]
    rest = client.get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": "2"})
    assert [event["event"] for event in sent(rest.text)] == ["log", "finished"]
    assert client.get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": "4"}).status_code == 204


def test_a_stream_tells_what_happens_while_it_happens_and_ends_with_the_run(platform: Platform) -> None:
    with serving(create_app(platform)) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
        parameters = {"source": TIF, "collection": "images"}
        run_id = http.post("/api/runs", json={"pipeline": "ingest-raster", "parameters": parameters}).json()["id"]
        with http.stream("GET", f"/api/runs/{run_id}/events") as stream:
            lines = (line for line in stream.iter_lines() if line.startswith("event: "))
            assert next(lines) == "event: queued"
            _, attempt = claim(platform)
            assert next(lines) == "event: started"
            platform.runs.log(run_id, attempt, ["one"])
            assert next(lines) == "event: log"
            platform.runs.queue.finish(Ending(run_id, attempt))
            assert list(lines) == ["event: finished"]


def test_the_head_of_a_stream_is_answered_at_once(platform: Platform) -> None:
    with serving(create_app(platform)) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
        parameters = {"source": TIF, "collection": "images"}
        run_id = http.post("/api/runs", json={"pipeline": "ingest-raster", "parameters": parameters}).json()["id"]
        answers = [http.head(f"/api/runs/{run_id}/events") for _ in range(2)]
        assert [(one.status_code, one.headers["content-type"]) for one in answers] == [
            (200, "text/event-stream; charset=utf-8")
        ] * 2


def test_the_newest_run_has_a_name_of_its_own(client: TestClient) -> None:
    assert client.get("/api/runs/latest").status_code == 404
    ids = [start(client, again=True).json()["id"] for _ in range(2)]
    assert client.get("/api/runs/latest").json()["id"] == ids[-1]
    assert sent(client.get("/api/runs/latest/events?follow=false").text)[0]["event"] == "queued"


def test_what_has_happened_so_far_can_be_asked_for_without_waiting(client: TestClient) -> None:
    run_id = start(client).json()["id"]
    events = sent(client.get(f"/api/runs/{run_id}/events?follow=false").text)
    assert [event["event"] for event in events] == ["queued"]


def test_the_parameters_of_each_pipeline_are_told_as_a_schema(client: TestClient) -> None:
    told = {one["name"]: one for one in client.get("/api/pipelines").json()["pipelines"]}
    schema = told["ingest-raster"]["parameters"]
    assert schema["required"] == ["source"]
    assert schema["properties"]["collection"]["type"] == "string"
    assert schema["properties"]["source"]["description"]
    assert client.get("/api/pipelines/ingest-raster").json() == told["ingest-raster"]
    assert client.get("/api/pipelines/nothing").status_code == 404


# -- ending ------------------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_and_tried_again(client: TestClient, platform: Platform) -> None:
    run_id = start(client).json()["id"]
    cancelled = client.post(f"/api/runs/{run_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert client.post(f"/api/runs/{run_id}/cancel").status_code == 409
    again = client.post(f"/api/runs/{run_id}/retry")
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert client.post(f"/api/runs/{run_id}/retry").status_code == 409
    kinds = [event.kind for event in platform.runs.events(run_id)]
    assert kinds == [EventKind.QUEUED, EventKind.FINISHED, EventKind.QUEUED]


def test_a_reader_has_no_route_that_writes(client: TestClient, platform: Platform) -> None:
    run_id = start(client).json()["id"]
    readonly = geoetl.connect(platform.settings.home, read_only=True)
    with TestClient(create_app(readonly, ServerRole.READER), base_url=ADDRESS) as reader:
        assert reader.get(f"/api/runs/{run_id}").json()["state"] == "queued"
        assert sent(reader.get(f"/api/runs/{run_id}/events?follow=false").text)
        for path in ("", f"/{run_id}/cancel", f"/{run_id}/retry"):
            assert reader.post(f"/api/runs{path}", json={}).status_code in (404, 405)


# -- executed notebooks ------------------------------------------------------------------------------------------------


def keep_notebook(platform: Platform, client: TestClient, source: str, outputs: list[dict[str, Any]], md: str) -> str:
    """Finish a run whose executed notebook has these outputs."""
    run_id = start(client, parameters={"source": source, "collection": "images"}).json()["id"]
    _, attempt = claim(platform)
    cells = [
        {"cell_type": "markdown", "source": md},
        {"cell_type": "code", "source": f'source = "{source}"', "outputs": outputs},
    ]
    path = platform.settings.home / "executed.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    key = f"runs/{run_id}/notebook.ipynb"
    platform.zones.internal.put(path, key, owner=f"runs/{run_id}")
    platform.runs.queue.finish(Ending(run_id, attempt, notebook=key))
    return run_id


def test_nothing_in_an_executed_notebook_can_run_or_tell_where_it_ran(
    client: TestClient, platform: Platform, home: Path
) -> None:
    hostile = "<table onclick=x><tr><td>kept<script>alert(1)</script><img src=x onerror=alert(2)></table><a href='x'>"
    outputs = [
        {"output_type": "display_data", "data": {"text/html": hostile}},
        {"output_type": "display_data", "data": {"text/html": "<svg onload=alert(3)><p>gone</p></svg></div>after"}},
        {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}},
        {
            "output_type": "display_data",
            "data": {"image/png": '"><script>alert(4)</script>', "text/plain": "none"},
        },
        {"output_type": "display_data", "data": {"application/javascript": "alert(5)"}},
        {"output_type": "stream", "name": "stdout", "text": ["<script>alert(6)</script>\n"]},
        {"output_type": "error", "ename": "Odd", "evalue": "<b>", "traceback": []},
    ]
    source = str(home.parent / "image.tif")
    run_id = keep_notebook(platform, client, source, outputs, "# Title\n<script>alert(7)</script> [l](javascript:x)")
    page = client.get(f"/api/runs/{run_id}/notebook")
    assert page.headers["content-security-policy"] == NOTEBOOK_POLICY
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.text
    assert "<script" not in text and "onerror" not in text and "onclick" not in text and "href=" not in text
    assert "<td>kept</td></tr></table>" in text
    assert "gone" not in text and "after" in text and "none" in text
    assert '<img alt="" src="data:image/png;base64,iVBORw0KGgo=">' in text
    assert "&lt;script&gt;alert(6)" in text
    assert "<h1>Title</h1>" in text
    assert source not in text and "source = &quot;image.tif&quot;" in text


def test_a_run_without_a_notebook_says_so(client: TestClient) -> None:
    run_id = start(client).json()["id"]
    answer = client.get(f"/api/runs/{run_id}/notebook")
    assert (answer.status_code, answer.json()["hint"]) == (404, "It has one when an attempt has ended.")
