"""Schedules over HTTP: when they run next, how they went, and who may let them rest, go on, or run now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import geoetl
from geoetl.api import guard
from geoetl.api.app import create_app
from geoetl.api.roles import ServerRole
from geoetl.api.security import Authority
from geoetl.core.principal import Role
from geoetl.platform import Platform
from geoetl.runs.model import RunKind
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending

ADDRESS = "http://127.0.0.1:8000"
NAME = "purge-events"
DAY_S = 86_400
FILE = f"""
schedules:
  {NAME}: {{title: Remove old events, cron: "30 1 * * *", function: {NAME}, parameters: {{days: 90}}}}
  nightly:
    {{title: <b>Nightly</b>, cron: "0 2 * * *", pipeline: ingest-raster, parameters: {{source: /tmp/no/such.tif}}}}
"""


@pytest.fixture
def platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Give a platform with two schedules and a user of each role."""
    declared = home.parent / "schedules.yaml"
    declared.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("GEOETL_SCHEDULES", str(declared))
    (home.parent / "managed").mkdir()
    monkeypatch.setenv("GEOETL_MANAGED", str(home.parent / "managed"))
    made = geoetl.connect()
    for role in Role:
        made.identity.external("https://id.example.org", role.value, role.value, role)
    return made


@pytest.fixture
def app(platform: Platform) -> FastAPI:
    made = create_app(platform)
    guard.install(made, Authority.of(platform), ServerRole.ETL)
    return made


@pytest.fixture
def client(platform: Platform, app: FastAPI) -> Iterator[TestClient]:
    """Give a client of an operator."""
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False, headers=as_(platform, Role.OPERATOR)) as made:
        yield made


def as_(platform: Platform, role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {platform.identity.create_token(role.value, 'test', None, DAY_S)[1]}"}


def start_due(platform: Platform) -> Any:
    """Let a day pass since the last slot, and start what is due then."""
    schedules = platform.declared_schedules()
    for one in schedules.list():
        schedules._change(one.name, last_slot=one.last_slot - DAY_S)
    return schedules.tick()


def finish(platform: Platform, **ending: Any) -> None:
    (taken,) = platform.runs.queue.claim(platform.runs.queue.enter(ProcessMark.own(), 1), RunKind.FUNCTION)
    platform.runs.queue.finish(Ending(taken.run_id, taken.attempt, **ending))


def test_schedules_are_listed_with_their_next_time_before_any_worker_has_begun(client: TestClient) -> None:
    nightly, purge = client.get("/api/schedules").json()["schedules"]
    assert (purge["name"], purge["kind"], purge["target"], purge["cron"]) == (NAME, "function", NAME, "30 1 * * *")
    assert purge["next_slot"] % DAY_S == 1.5 * 3600
    assert (purge["is_paused"], purge["latest"]) == (False, None)
    assert nightly["parameters"] == {"source": "such.tif"}


def test_a_schedule_tells_its_slots_with_their_runs_and_how_they_stand(client: TestClient, platform: Platform) -> None:
    start_due(platform)
    document = client.get(f"/api/schedules/{NAME}").json()
    assert [
        after - before for before, after in zip(document["next_slots"], document["next_slots"][1:], strict=False)
    ] == ([DAY_S] * 4)
    (slot,) = document["slots"]
    assert (slot["outcome"], slot["run_state"], document["latest"]) == ("run", "queued", slot)
    assert client.get(f"/api/runs/{slot['run_id']}").json()["submitted_by"] == f"schedule {NAME}"
    finish(platform)
    assert client.get(f"/api/schedules/{NAME}").json()["slots"][0]["run_state"] == "completed"
    (refused,) = client.get("/api/schedules/nightly").json()["slots"]
    assert (refused["outcome"], refused["run_id"], refused["run_state"]) == ("refused", None, None)
    assert "ingest-raster" in refused["detail"] and "/tmp/no" not in refused["detail"]


def test_a_schedule_rests_and_goes_on(client: TestClient, platform: Platform) -> None:
    paused = client.post(f"/api/schedules/{NAME}/pause")
    assert (paused.status_code, paused.json()["is_paused"], paused.json()["next_slot"]) == (200, True, None)
    assert client.get(f"/api/schedules/{NAME}").json()["next_slots"] == []
    assert [slot.schedule for slot in start_due(platform)] == ["nightly"]
    resumed = client.post(f"/api/schedules/{NAME}/resume").json()
    assert resumed["is_paused"] is False
    assert resumed["next_slot"] == client.get("/api/schedules").json()["schedules"][1]["next_slot"]


def test_a_schedule_runs_now_and_its_slots_stay_as_they_are(client: TestClient, platform: Platform) -> None:
    before = client.get(f"/api/schedules/{NAME}").json()
    accepted = client.post(f"/api/schedules/{NAME}/run")
    assert accepted.status_code == 202
    run = client.get(accepted.headers["location"]).json()
    assert (run["pipeline"], run["submitted_by"], run["state"]) == (NAME, "operator", "queued")
    assert client.post(f"/api/schedules/{NAME}/run").json()["id"] != run["id"]
    after = client.get(f"/api/schedules/{NAME}").json()
    assert (after["slots"], after["next_slots"]) == ([], before["next_slots"])


def test_one_that_cannot_begin_says_why_and_makes_no_run(client: TestClient, platform: Platform) -> None:
    refused = client.post("/api/schedules/nightly/run")
    assert refused.status_code == 422
    assert "'ingest-raster' was not started" in refused.json()["detail"]
    assert "/tmp/no" not in refused.text
    assert platform.runs.list() == []


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        (Role.VIEWER, "run", 403),
        (Role.EDITOR, "run", 202),
        (Role.EDITOR, "pause", 403),
        (Role.APPROVER, "resume", 403),
        (Role.OPERATOR, "pause", 200),
    ],
)
def test_an_editor_may_run_it_and_an_operator_decides_when_it_rests(
    client: TestClient, platform: Platform, role: Role, action: str, status: int
) -> None:
    answer = client.post(f"/api/schedules/{NAME}/{action}", headers=as_(platform, role))
    assert answer.status_code == status
    assert client.get("/api/schedules", headers=as_(platform, role)).status_code == 200
    assert client.get("/api/schedules", headers={"Authorization": ""}).status_code == 401


def test_a_name_that_is_not_there_says_what_is(client: TestClient) -> None:
    for ask in (client.get("/api/schedules/purge-event"), client.post("/api/schedules/purge-event/pause")):
        assert (ask.status_code, ask.json()["hint"]) == (404, "Did you mean 'purge-events'?")


def test_a_reader_tells_what_is_stored_and_has_no_route_that_writes(client: TestClient, platform: Platform) -> None:
    client.get("/api/schedules")
    readonly = geoetl.connect(platform.settings.home, read_only=True)
    with TestClient(create_app(readonly, ServerRole.READER), base_url=ADDRESS) as reader:
        assert len(reader.get("/api/schedules").json()["schedules"]) == 2
        for action in ("pause", "resume", "run"):
            assert reader.post(f"/api/schedules/{NAME}/{action}").status_code in (404, 405)
