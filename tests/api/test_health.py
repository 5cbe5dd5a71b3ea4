"""Whether the process lives, and whether it can work."""

import asyncio
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

import geoetl
from geoetl.api import health, problems
from geoetl.api.health import Watch
from geoetl.core.errors import Unavailable
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform

PARTS = ["database", "catalogue", "internal zone", "external zone", "disk"]


class As:
    """Let everyone be somebody."""

    def __init__(self, app: Any, role: Role) -> None:
        self.app = app
        self._role = role

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["principal"] = Principal("1", "ada", self._role, Via.TOKEN)
        await self.app(scope, receive, send)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return geoetl.connect(tmp_path / "home")


def asking(platform: Platform, role: Role | None = None, *, writes: bool = True) -> TestClient:
    app = FastAPI()
    app.include_router(health.router(platform, writes=writes))
    problems.install(app)
    if role:
        app.add_middleware(As, role=role)
    return TestClient(app, raise_server_exceptions=False)


def broken(client: TestClient) -> dict[str, Any]:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert "retry-after" in answer.headers
    body = answer.json()
    assert body["code"] == "not_ready"
    assert "Traceback" not in answer.text and "select" not in answer.text.lower()
    return {check["name"]: check for check in body["checks"] if not check["ok"]}


def test_what_works_is_ready_and_strangers_learn_nothing_more(platform: Platform) -> None:
    answer = asking(platform).get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ok"
    assert [check["name"] for check in body["checks"]] == PARTS
    assert all(set(check) == {"name", "ok", "detail"} for check in body["checks"])
    assert str(platform.settings.home) not in answer.text


def test_operators_see_versions_and_sizes_and_others_do_not(platform: Platform) -> None:
    answer = asking(platform, Role.OPERATOR).get("/api/readyz")
    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert checks["database"]["info"]["kind"] == "sqlite"
    assert checks["disk"]["info"]["free_mib"] > 0
    assert asking(platform, Role.APPROVER).get("/api/readyz").status_code == 403
    assert asking(platform).get("/api/readyz").status_code == 401
    assert "info" not in asking(platform, Role.OPERATOR).get("/readyz").text


def test_a_database_that_is_gone_or_of_another_version_is_not_ready(platform: Platform) -> None:
    with platform.database.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '0001'"))
    found = broken(asking(platform))
    assert list(found) == ["database"]
    assert "geoetl db upgrade" in found["database"]["remedy"]
    platform.database.dispose()
    for file in platform.settings.home.glob("geoetl.db*"):
        file.unlink()
    (platform.settings.home / "geoetl.db").mkdir()
    assert {"database", "catalogue"} <= set(broken(asking(platform)))


def test_a_zone_that_cannot_be_written_stops_a_writer_and_not_a_reader(tmp_path: Path) -> None:
    # Nobody may write there, root included.
    platform = geoetl.connect(tmp_path / "home", zones={"internal": "file:///proc"})
    found = broken(asking(platform))
    assert list(found) == ["internal zone"]
    assert "/proc" not in json.dumps(found)
    assert asking(platform, writes=False).get("/readyz").status_code == 200


def test_a_zone_that_is_no_folder_stops_readers_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    platform = geoetl.connect(tmp_path / "home", zones={"external": (tmp_path / "file").as_uri()})
    assert list(broken(asking(platform, writes=False))) == ["external zone"]


def test_a_full_disk_is_not_ready(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MIN_FREE_MIB", shutil.disk_usage("/").total // 2**20 + 1)
    found = broken(asking(platform))
    assert list(found) == ["disk"]
    assert "MiB free" in found["disk"]["remedy"]


def test_looking_is_done_at_once_within_a_time_and_a_part_that_hangs_is_asked_once() -> None:
    go = threading.Event()
    asked: list[str] = []
    both = threading.Barrier(2, timeout=20)

    def hangs() -> dict[str, str | int]:
        asked.append("hangs")
        go.wait(30)
        return {}

    def together() -> dict[str, str | int]:
        both.wait()
        return {}

    async def scene() -> None:
        watch = Watch({"a": together, "b": together, "hangs": hangs}, seconds=0.2, kept=0.0)
        for _ in range(3):
            checks = {check.name: check for check in await watch.look()}
            assert (checks["a"].ok, checks["b"].ok, checks["hangs"].ok) == (True, True, False)
            assert "0.2 s" in checks["hangs"].detail
        assert asked == ["hangs"]
        go.set()

    asyncio.run(scene())


def test_what_was_seen_is_kept_for_a_moment_however_many_ask() -> None:
    asked: list[int] = []

    def look() -> dict[str, str | int]:
        asked.append(1)
        raise Unavailable("It is away.", hint="Bring it back.")

    async def scene() -> None:
        watch = Watch({"part": look}, kept=1000.0)
        for checks in await asyncio.gather(*(watch.look() for _ in range(50))):
            assert (checks[0].detail, checks[0].remedy) == ("It is away.", "Bring it back.")
        assert len(asked) == 1

    asyncio.run(scene())


def test_an_error_that_nobody_foresaw_names_only_its_kind() -> None:
    def fails() -> dict[str, str | int]:
        raise ValueError("/secret/path")

    (check,) = asyncio.run(Watch({"part": fails}).look())
    assert not check.ok
    assert "secret" not in json.dumps(check.model_dump())


def test_living_is_told_without_looking_at_anything(platform: Platform) -> None:
    client = asking(platform)
    shutil.rmtree(platform.settings.home)
    for path in ("/livez", "/api/livez"):
        assert client.get(path).json() == {"status": "ok", "version": geoetl.__version__}


def test_postgresql_is_looked_at_in_the_same_way(tmp_path: Path, fresh_postgres_url: str) -> None:
    platform = geoetl.connect(tmp_path / "home", database={"url": fresh_postgres_url})
    checks = {check["name"]: check for check in asking(platform, Role.OPERATOR).get("/api/readyz").json()["checks"]}
    assert checks["database"]["info"]["kind"] == "postgresql"
    platform.database.dispose()
