"""Clean-ups over HTTP: for operators alone; queued, told, and looked up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import geoetl
from geoetl.api import guard
from geoetl.api.app import create_app
from geoetl.api.roles import ServerRole
from geoetl.api.security import Authority
from geoetl.core.principal import Role
from geoetl.ops import CleanupRequest, Part
from geoetl.platform import Platform

ADDRESS = "http://127.0.0.1:8000"
DAY_S = 86_400
FILES = CleanupRequest(parts=(Part.FILES,))


@pytest.fixture
def platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Give a platform with a user of each role."""
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


def test_a_clean_up_is_a_dry_run_that_waits_for_a_worker_unless_something_else_is_asked(client: TestClient) -> None:
    answer = client.post("/api/cleanup/run", json={})
    assert answer.status_code == 202 and answer.headers["Location"].endswith(answer.json()["id"])
    run = client.get(answer.headers["Location"]).json()
    assert (run["pipeline"], run["state"], run["submitted_by"]) == ("janitor", "queued", "operator")
    assert (run["parameters"]["dry_run"], run["parameters"]["older_than_hours"]) == (True, 24.0)
    real = client.post("/api/cleanup/run", json={"dry_run": False, "parts": ["files"], "older_than_hours": 48}).json()
    assert real["id"] != run["id"]
    assert (real["parameters"]["dry_run"], real["parameters"]["parts"]) == (False, ["files"])
    assert client.get("/api/cleanup/status").json()["waiting"] == 2


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"parts": ["everything"]}, "parts"),
        ({"parts": []}, "parts"),
        ({"older_than_hours": 0.1}, "older_than_hours"),
        ({"prefix": "a/"}, "prefix"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(client: TestClient, body: dict[str, object], place: str) -> None:
    answer = client.post("/api/cleanup/run", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert place in answer.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR, Role.APPROVER])
def test_only_operators_clean_up_or_see_what_was_cleaned(client: TestClient, platform: Platform, role: Role) -> None:
    headers = as_(platform, role)
    for path in ("status", "history", "history/0abc"):
        assert client.get(f"/api/cleanup/{path}", headers=headers).status_code == 403
    assert client.post("/api/cleanup/run", json={}, headers=headers).status_code == 403
    asked = {"pipeline": "janitor", "parameters": {"dry_run": False}}
    assert client.post("/api/runs", json=asked, headers=headers).status_code == 403


def test_what_was_done_is_told_page_by_page_and_one_by_one(client: TestClient, platform: Platform) -> None:
    nothing = client.get("/api/cleanup/status").json()
    assert (nothing["running"], nothing["latest"], nothing["latest_real"]) == ([], None, None)
    assert list(nothing["schedules"]) == ["clean-up"] and nothing["schedules"]["clean-up"] % DAY_S == 6300
    left = platform.settings.home / "scratch/.leaving-1"
    left.mkdir(parents=True)
    (left / "x").write_text("123")
    dry = platform.janitor.run(FILES, "Anna")
    real = platform.janitor.run(FILES.model_copy(update={"dry_run": False}), "Ben")
    status = client.get("/api/cleanup/status").json()
    assert (status["latest"]["id"], status["latest_real"]["id"]) == (real.id, real.id)
    page = client.get("/api/cleanup/history?limit=1").json()
    assert [one["id"] for one in page["cleanups"]] == [real.id] and page["next"] == real.id
    rest = client.get(f"/api/cleanup/history?limit=1&before={page['next']}").json()
    assert [one["who"] for one in rest["cleanups"]] == ["Anna"] and rest["next"] is None
    (action,) = client.get(f"/api/cleanup/history/{real.id}").json()["actions_taken"]
    assert (action["name"], action["bytes"], action["fate"]) == ("scratch/.leaving-1", 3, "fixed")
    assert client.get(f"/api/cleanup/history/{dry.id}").json()["actions"] == {"files": {"found": 1}}
    assert client.get("/api/cleanup/history/0abc").status_code == 404
    assert str(platform.settings.home) not in client.get(f"/api/cleanup/history/{real.id}").text


def test_a_server_for_readers_cleans_nothing(platform: Platform) -> None:
    paths = {getattr(route, "path", "") for route in create_app(platform, ServerRole.READER).routes}
    assert "/api/cleanup/run" not in paths
