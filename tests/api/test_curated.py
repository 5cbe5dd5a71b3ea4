"""Managed datasets over HTTP: seen, planned, updated, paused, decided upon, said and deleted, and who may do which."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import geoetl
from geoetl.api import guard
from geoetl.api.app import create_app
from geoetl.api.roles import ServerRole
from geoetl.api.security import Authority
from geoetl.core.principal import Role
from geoetl.datasets import UpdateType
from geoetl.platform import Platform
from geoetl.testing.upstream import LocalUpstream
from tests.datasets.released import COLLECTION, ID, ITEM, Upkeep, lands
from tests.served import PASSWORD
from tests.stac import a_collection, an_item

ADDRESS = "http://127.0.0.1:8000"
DATASETS = "/api/curated/datasets"
ONE = f"{DATASETS}/{ID}"
DECLARED = "declared"
DAY_S = 86_400
FILE = """
name: Of a file
handler: admin0
source_type: manual
source_url: samples:ne_10m_admin_0_countries.zip
target_table_name: curated_declared
target_schema: declared
license: CC0-1.0
attribution: Made with Natural Earth
"""


@pytest.fixture
def upkeep(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Iterator[Upkeep]:
    """Give a dataset with ten countries, before its first update, and one that a file declares."""
    folder = tmp_path / "managed"
    folder.mkdir()
    (folder / f"{DECLARED}.yaml").write_text(FILE)
    further: dict[str, Any] = {}
    if getattr(request, "param", "sqlite") == "postgresql":
        further["database"] = {"url": request.getfixturevalue("pgstac_url")}
    platform = geoetl.connect(home, allowed_roots=(tmp_path,), managed=folder, **further)
    made = Upkeep.begin(platform, tmp_path / "drop", update_schedule="0 2 * * *")
    made.release(lands(10))
    yield made
    platform.database.dispose()


@pytest.fixture
def client(upkeep: Upkeep) -> Iterator[TestClient]:
    """Give a client of an operator."""
    app = create_app(upkeep.platform)
    guard.install(app, Authority.of(upkeep.platform), ServerRole.ETL)
    headers = as_(upkeep.platform, Role.OPERATOR)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False, headers=headers) as made:
        yield made


def as_(platform: Platform, role: Role) -> dict[str, str]:
    if role not in [user.role for user in platform.identity.users()]:
        platform.identity.add(role.value, role, PASSWORD)
    return {"Authorization": f"Bearer {platform.identity.create_token(role.value, 'test', None, DAY_S)[1]}"}


def new(**further: Any) -> dict[str, Any]:
    return {
        "dataset_id": "more",
        "name": "More",
        "handler": "admin0",
        "source_type": "manual",
        "source_url": "samples:ne_10m_admin_0_countries.zip",
        "target_schema": "more",
        "target_table_name": "curated_more",
        "license": "CC0-1.0",
        "attribution": "Made with Natural Earth",
        **further,
    }


# -- reading -----------------------------------------------------------------------------------------------------------


def test_datasets_are_listed_with_what_is_served_and_when_they_are_looked_at(
    client: TestClient, upkeep: Upkeep
) -> None:
    first, second = client.get(DATASETS).json()["datasets"]
    assert (first["dataset_id"], first["license"], first["live_version"]) == (ID, "CC0-1.0", None)
    assert first["next_check_at"] % DAY_S == 2 * 3600
    assert (second["dataset_id"], second["is_declared"]) == (DECLARED, True)
    assert client.post(f"{DATASETS}/{DECLARED}/disable").json()["next_check_at"] is None
    assert [one["dataset_id"] for one in client.get(f"{DATASETS}?enabled_only=true").json()["datasets"]] == [ID]
    upkeep.update()
    told = client.get(ONE).json()
    assert (told["live_version"], told["latest_update"]["status"], told["held_versions"]) == (1, "completed", [])
    assert told["last_updated_at"] >= told["last_checked_at"] > 0


def test_no_folder_of_this_machine_is_told(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.update()
    for path in ("", "/plan", "/history", "/versions", "/versions/1", "/versions/1/changes"):
        answer = client.get(ONE + path)
        assert answer.status_code == 200, answer.text
        assert str(upkeep.drop.parent) not in answer.text
    assert client.get(ONE).json()["source_url"] == "drop"


def test_updates_are_told_from_the_latest_on(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.update()
    upkeep.update(update_type=UpdateType.TRIGGERED)
    latest, first = client.get(f"{ONE}/history").json()["updates"]
    assert (latest["status"], latest["update_type"]) == ("skipped", "triggered")
    assert latest["details"]["reason"].startswith("The source still has")
    assert (first["status"], first["records_added"], first["records_total"]) == ("completed", 10, 10)
    assert client.get(f"/api/runs/{first['job_id']}").status_code == 200
    assert client.get(f"{ONE}/history?limit=1").json()["updates"] == [latest]
    assert client.get(f"{ONE}/history?limit=0").status_code == 422


def test_a_version_tells_what_it_is_like_and_what_it_changed(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.update()
    features = lands(11)[1:]
    features[3]["properties"]["NAME"] = "Another name"
    upkeep.release(features)
    upkeep.update()
    newest, first = client.get(f"{ONE}/versions").json()["versions"]
    assert (newest["number"], newest["state"], newest["rows"], newest["based_on"]) == (2, "live", 10, 1)
    assert (first["state"], first["changes"]) == ("kept", {"added": 10, "updated": 0, "deleted": 0})
    (item,) = client.get(f"{ONE}/versions/2").json()["items"]
    assert (item["item"], item["rows"], item["key"], item["columns"]["name"]) == (ITEM, 10, "adm0_a3", "string")
    answer = client.get(f"{ONE}/versions/2/changes")
    assert answer.headers["content-type"].startswith("application/geo+json")
    document = answer.json()
    told = {one["properties"]["key"]: one["properties"] for one in document["features"]}
    assert {key: one["change"] for key, one in told.items()} == {"AAA": "deleted", "AAE": "updated", "AAK": "added"}
    assert told["AAE"]["columns"] == ["name"]
    assert all(one["geometry"]["type"].endswith("Polygon") for one in document["features"])
    assert (document["numberMatched"], document["numberReturned"]) == (3, 3)
    only = client.get(f"{ONE}/versions/2/changes?change=added&limit=1").json()
    assert [one["id"] for one in only["features"]] == [f"{ITEM}/AAK"]
    assert client.get(f"{ONE}/versions/1/changes").json()["features"] == []
    missing = client.get(f"{ONE}/versions/3")
    assert (missing.status_code, missing.json()["field"]) == (404, "version")


def test_a_name_that_is_not_there_says_what_is(client: TestClient) -> None:
    for path in ("", "/plan", "/history", "/versions", "/versions/1"):
        answer = client.get(f"{DATASETS}/countrys{path}")
        assert (answer.status_code, answer.json()["hint"]) == (404, f"Did you mean '{ID}'?"), path
    assert client.post(f"{DATASETS}/countrys/update").status_code == 404
    assert client.post(f"{DATASETS}/countrys/enable").status_code == 404


def test_what_is_enabled_is_a_schedule_at_once(client: TestClient) -> None:
    def looks() -> dict[str, str]:
        return {
            one["parameters"]["dataset_id"]: one["cron"]
            for one in client.get("/api/schedules").json()["schedules"]
            if one["target"] == "check-dataset"
        }

    assert looks() == {ID: "0 2 * * *", DECLARED: "0 2 * * *"}
    client.post(f"{ONE}/disable")
    assert looks() == {DECLARED: "0 2 * * *"}
    client.post(f"{ONE}/enable")
    client.post(DATASETS, json=new(dataset_id="more_parks", update_schedule="15 3 * * 1"))
    assert looks()["more_parks"] == "15 3 * * 1" and ID in looks()
    assert client.get("/api/schedules/check-more_parks").status_code == 200
    asked = client.post(f"/api/schedules/check-{ID}/run")
    assert (asked.status_code, asked.json()["kind"]) == (202, "function")
    client.delete(f"{DATASETS}/more_parks?confirm=yes")
    assert set(looks()) == {ID, DECLARED}


# -- plans and updates -------------------------------------------------------------------------------------------------


def test_a_plan_says_what_would_be_done_and_does_nothing(client: TestClient, upkeep: Upkeep) -> None:
    plan = client.get(f"{ONE}/plan").json()
    assert plan["needs_update"] and plan["bytes"] > 0
    assert plan["plan"][-1] == f"make the first version of {COLLECTION}/{ITEM}"
    dry = client.post(f"{ONE}/update", json={"dry_run": True})
    assert (dry.status_code, dry.json()) == (200, plan)
    assert upkeep.platform.runs.list() == []
    assert client.get(f"{ONE}/history").json()["updates"] == []
    upkeep.update()
    assert client.get(f"{ONE}/plan").json()["needs_update"] is False
    assert client.get(f"{ONE}/plan?force=true").json()["plan"][-1].startswith("replace version 1 (")


def test_an_update_is_one_run_however_often_it_is_asked_for(client: TestClient) -> None:
    first = client.post(f"{ONE}/update")
    assert first.status_code == 202
    run = client.get(first.headers["location"]).json()
    assert (run["pipeline"], run["parameters"]["dataset_id"], run["submitted_by"]) == ("update-dataset", ID, "operator")
    assert client.post(f"{ONE}/update", json={}).json()["id"] == run["id"]
    forced = client.post(f"{ONE}/update", json={"force_update": True}, headers={"Idempotency-Key": "k1"}).json()
    assert forced["id"] != run["id"] and forced["parameters"]["force_update"] is True
    client.post(f"/api/runs/{forced['id']}/cancel")
    again = client.post(f"{ONE}/update", json={"force": True}, headers={"Idempotency-Key": "k1"}).json()
    assert again["id"] == forced["id"]
    assert client.post(f"{ONE}/update", json={"update_type": "scheduled"}).json()["field"] == "/update_type"


def test_a_plan_asks_the_source_once_and_a_source_that_is_away_is_told(client: TestClient, upkeep: Upkeep) -> None:
    with LocalUpstream() as source:
        url = source.serve("/ne_10m_admin_0_countries.zip", b"PK\x03\x04" + bytes(5000))
        made = client.post(DATASETS, json=new(source_type="api_bulk_download", source_url=url))
        assert made.status_code == 201, made.text
        plan = client.get(f"{DATASETS}/more/plan").json()
        assert (plan["bytes"], plan["downloads"][0]["url"]) == (5004, url)
        assert [one.method for one in source.requests] == ["HEAD"]
    away = client.get(f"{DATASETS}/more/plan")
    assert (away.status_code, away.json()["code"]) == (503, "source_unavailable")


# -- decisions ---------------------------------------------------------------------------------------------------------


def held(upkeep: Upkeep) -> None:
    """Let half of the countries be missing in the second release."""
    upkeep.update()
    upkeep.release(lands(5))
    assert upkeep.update().status == "held"


def test_a_held_version_waits_and_is_served_when_it_is_accepted(client: TestClient, upkeep: Upkeep) -> None:
    held(upkeep)
    told = client.get(ONE).json()
    assert (told["held_versions"], told["live_version"]) == ([2], 1)
    version = client.get(f"{ONE}/versions/2").json()
    assert "rows_dropped" in [one["code"] for one in version["findings"] if one["severity"] == "error"]
    assert "waits for a decision" in client.get(f"{ONE}/plan").json()["reason"]
    body = {"reason": "They left.", "by": "somebody else"}
    assert client.post(f"{ONE}/versions/2/accept", json=body).json()["field"] == "/by"
    accepted = client.post(f"{ONE}/versions/2/accept", json={"reason": "They left."}).json()
    assert (accepted["state"], accepted["reason"]) == ("live", "They left.")
    assert accepted["decided_by"] == upkeep.platform.identity.user("operator").id
    assert len(upkeep.served()) == 5
    again = client.post(f"{ONE}/versions/2/accept")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_a_rejection_has_a_reason(client: TestClient, upkeep: Upkeep) -> None:
    held(upkeep)
    for body in ({}, {"reason": "  "}):
        assert client.post(f"{ONE}/versions/2/reject", json=body).json()["field"] == "/reason"
    rejected = client.post(f"{ONE}/versions/2/reject", json={"reason": "Half is missing."}).json()
    assert (rejected["state"], rejected["reason"]) == ("rejected", "Half is missing.")
    assert "was rejected" in client.get(f"{ONE}/plan").json()["reason"]
    empty = client.get(f"{ONE}/versions/2/changes").json()
    assert (empty["features"], empty["counts"]["deleted"]) == ([], 5)


def test_a_release_that_was_gone_back_from_does_not_come_again(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.update()
    assert client.post(f"{ONE}/rollback").status_code == 404
    upkeep.release(lands(11))
    upkeep.update()
    back = client.post(f"{ONE}/rollback", json={"reason": "Names are wrong."}).json()
    assert (back["number"], back["state"], len(upkeep.served())) == (1, "live", 10)
    assert "was gone back from (version 2)" in client.get(f"{ONE}/plan").json()["reason"]
    assert upkeep.update().status == "skipped"
    forward = client.post(f"{ONE}/rollback", json={"version": 2}).json()
    assert (forward["number"], forward["state"], len(upkeep.served())) == (2, "live", 11)


# -- definitions -------------------------------------------------------------------------------------------------------


def test_a_dataset_is_added_changed_and_deleted(client: TestClient, upkeep: Upkeep) -> None:
    made = client.post(DATASETS, json=new())
    assert (made.status_code, made.json()["is_declared"]) == (201, False)
    assert client.get(made.headers["location"]).headers["etag"] == made.headers["etag"]
    assert client.post(DATASETS, json=new()).status_code == 409
    changed = client.put(f"{DATASETS}/more", json=new(name="Many more"), headers={"If-Match": made.headers["etag"]})
    assert (changed.status_code, changed.json()["name"]) == (200, "Many more")
    late = client.put(f"{DATASETS}/more", json=new(name="Less"), headers={"If-Match": made.headers["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "definition_changed")
    unsure = client.delete(f"{DATASETS}/more")
    assert (unsure.status_code, unsure.json()["field"]) == (422, "confirm")
    dry = client.delete(f"{DATASETS}/more?dry_run=true").json()
    assert (dry["deleted"], dry["goes"], dry["stays"]) == (
        False,
        ["the dataset 'more' with 0 versions and its log"],
        [],
    )
    assert client.delete(f"{DATASETS}/more?confirm=yes").json()["deleted"] is True
    assert client.get(f"{DATASETS}/more").status_code == 404


def test_a_collection_with_ordinary_data_is_not_closed(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.platform.catalog.upsert_collection(a_collection("more"))
    upkeep.platform.catalog.upsert_items([an_item("mine", collection="more")])
    refused = client.post(DATASETS, json=new())
    assert (refused.status_code, refused.json()["field"]) == (409, "target_schema")
    upkeep.platform.catalog.delete_item("more", "mine")
    upkeep.platform.catalog.upsert_items([an_item("curated_more", collection="more")])
    assert client.post(DATASETS, json=new()).status_code == 201


def test_what_was_read_may_be_sent_back_and_a_folder_stays_what_it_was(client: TestClient, upkeep: Upkeep) -> None:
    read = client.get(ONE).json()
    body = {name: read[name] for name in new() if name in read} | {"update_schedule": None, "name": "Lands"}
    assert client.put(ONE, json=body, headers=as_(upkeep.platform, Role.EDITOR)).json()["name"] == "Lands"
    assert upkeep.platform.datasets.repository.get(ID).source_url == str(upkeep.drop)
    assert client.get(ONE).json()["next_check_at"] is None


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"handler": "admin1"}, "/handler", "Did you mean 'admin0'"),
    ({"source_config": {"colour": 1}}, "/source_config/colour", "colour"),
    ({"update_schedule": "0 2 30 2 *"}, "/update_schedule", "cron"),
    ({"job_type": "no-such"}, "/job_type", "no-such"),
    ({"target_table_name": "lands"}, "/target_table_name", "curated_"),
    ({"source_url": "https://me:hunter2@example.org/x.zip"}, "/source_url", "credential"),
    ({"credential_key": "WDPA"}, "/credential_key", "no credentials"),
    ({"sanity": {"max_drop": 2}}, "/sanity/max_drop", "less than or equal to 1"),
    ({"license": None}, "/license", "text"),
    ({"colour": 1}, "/colour", "not known"),
]


def test_what_cannot_be_a_dataset_is_refused_with_the_place(client: TestClient) -> None:
    for further, field, says in WRONG:
        answer = client.post(DATASETS, json=new(**further))
        problem = answer.json()
        assert (answer.status_code, problem["field"]) == (422, field), problem
        assert says in problem["detail"] + str(problem["hint"])
        assert "hunter2" not in answer.text
    assert len(client.get(DATASETS).json()["datasets"]) == 2


def test_every_wrong_member_is_told(client: TestClient) -> None:
    answer = client.post(DATASETS, json=new(license=1, keep_versions=0))
    assert {one["pointer"] for one in answer.json()["errors"]} == {"/license", "/keep_versions"}


def test_what_a_file_declares_is_changed_in_the_file(client: TestClient, upkeep: Upkeep) -> None:
    here = f"{DATASETS}/{DECLARED}"
    read = client.get(here).json()
    same = {name: read[name] for name in new()}
    refused = client.put(here, json={**same, "name": "Another"})
    assert refused.status_code == 409
    assert f"{DECLARED}.yaml" in refused.json()["hint"]
    assert client.put(here, json={**same, "enabled": False}).json()["enabled"] is False
    assert client.post(f"{here}/enable").json()["enabled"] is True
    assert client.delete(f"{here}?confirm=yes").status_code == 409
    assert upkeep.platform.settings.managed is not None
    (upkeep.platform.settings.managed / f"{DECLARED}.yaml").unlink()
    anew = geoetl.connect(upkeep.platform.settings.home, managed=upkeep.platform.settings.managed)
    assert not anew.datasets.repository.get(DECLARED).is_declared
    assert client.get(here).json()["is_declared"] is False
    assert client.put(here, json={**same, "name": "Another"}).json()["name"] == "Another"
    assert client.delete(f"{here}?confirm=yes").status_code == 200


@pytest.mark.parametrize("upkeep", ["sqlite", "postgresql"], indirect=True)
def test_what_is_served_stays_when_a_dataset_is_forgotten_or_goes_with_it(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.update()
    upkeep.release(lands(11))
    upkeep.update()
    item, before = upkeep.platform.catalog.item(COLLECTION, ITEM), upkeep.objects()
    dry = client.delete(f"{ONE}?dry_run=true").json()
    assert dry["stays"] == [f"the item {ITEM} of the collection '{COLLECTION}', with their files"]
    assert upkeep.objects() == before
    gone = client.delete(f"{ONE}?confirm=yes").json()
    assert (gone["items_kept"], gone["items_gone"]) == ([ITEM], [])
    assert upkeep.platform.catalog.item(COLLECTION, ITEM) == item
    assert len(upkeep.served()) == 11
    assert len(upkeep.objects()) < len(before)
    upkeep.platform.catalog.delete_item(COLLECTION, ITEM)
    other = Upkeep.begin(upkeep.platform, upkeep.drop)
    other.update()
    with_all = client.delete(f"{ONE}?confirm=yes&items=true").json()
    assert with_all["items_gone"] == [ITEM]
    assert client.get(f"/stac/collections/{COLLECTION}/items/{ITEM}").status_code == 404
    assert not [name for name in upkeep.objects() if ITEM in name or "managed/" in name]


# -- who may -----------------------------------------------------------------------------------------------------------


MAY: list[tuple[Role, str, str, dict[str, Any] | None, int]] = [
    (Role.VIEWER, "get", "", None, 200),
    (Role.VIEWER, "get", "/plan", None, 403),
    (Role.VIEWER, "post", "/update", {}, 403),
    (Role.EDITOR, "get", "/plan", None, 200),
    (Role.EDITOR, "post", "/update", {}, 202),
    (Role.EDITOR, "post", "/disable", None, 403),
    (Role.EDITOR, "post", "/versions/1/accept", None, 403),
    (Role.EDITOR, "post", "/rollback", None, 403),
    (Role.APPROVER, "post", "/versions/1/reject", {"reason": "x"}, 404),
    (Role.APPROVER, "post", "/enable", None, 403),
    (Role.APPROVER, "delete", "?confirm=yes", None, 403),
    (Role.OPERATOR, "post", "/disable", None, 200),
]


def test_an_editor_updates_an_approver_decides_and_an_operator_keeps_it(client: TestClient, upkeep: Upkeep) -> None:
    for role, method, path, body, status in MAY:
        answer = client.request(method, ONE + path, json=body, headers=as_(upkeep.platform, role))
        assert answer.status_code == status, (role, path, answer.text)
        assert client.request(method, ONE + path, json=body, headers={"Authorization": ""}).status_code == 401


def test_only_an_operator_decides_who_receives_credentials(client: TestClient, upkeep: Upkeep) -> None:
    editor = as_(upkeep.platform, Role.EDITOR)
    assert client.post(DATASETS, json=new(), headers=editor).status_code == 201
    elsewhere = new(source_url="samples:us_states.geojson")
    assert client.put(f"{DATASETS}/more", json=elsewhere, headers=editor).status_code == 403
    keyed = new(dataset_id="keyed", target_schema="keyed", handler="acled", credential_key="ACLED")
    keyed |= {"source_type": "api_paginated", "source_url": "https://acleddata.com"}
    assert client.post(DATASETS, json=keyed, headers=editor).status_code == 403
    assert client.post(DATASETS, json=keyed).status_code == 201
    assert client.put(f"{DATASETS}/keyed", json={**keyed, "name": "x"}, headers=editor).status_code == 403
    assert client.put(f"{DATASETS}/keyed", json={**keyed, "credential_key": None}, headers=editor).status_code == 403


def test_a_reader_has_only_the_routes_that_read(upkeep: Upkeep) -> None:
    upkeep.update()
    readonly = geoetl.connect(upkeep.platform.settings.home, read_only=True)
    with TestClient(create_app(readonly, ServerRole.READER), base_url=ADDRESS) as reader:
        assert [one["dataset_id"] for one in reader.get(DATASETS).json()["datasets"]] == [ID, DECLARED]
        assert reader.get(f"{ONE}/versions/1").json()["rows"] == 10
        for method, path in (("get", "/plan"), ("post", "/update"), ("post", "/enable"), ("delete", "?confirm=yes")):
            assert reader.request(method, ONE + path).status_code in (404, 405)


# -- nothing else writes there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("upkeep", ["sqlite", "postgresql"], indirect=True)
def test_ordinary_routes_refuse_what_a_managed_dataset_keeps(client: TestClient, upkeep: Upkeep) -> None:
    upkeep.update()
    collection = f"/stac/collections/{COLLECTION}"
    document, item = client.get(collection).json(), client.get(f"{collection}/items/{ITEM}").json()
    other = {**item, "id": "other", "assets": {}, "links": []}
    several = {"type": "FeatureCollection", "features": [other]}
    asked = [
        ("post", f"{collection}/items", other),
        ("post", f"{collection}/items", several),
        ("put", f"{collection}/items/{ITEM}", item),
        ("patch", f"{collection}/items/{ITEM}", {"properties": {"title": "Mine"}}),
        ("delete", f"{collection}/items/{ITEM}", None),
        ("put", collection, document),
        ("patch", collection, {"title": "Mine"}),
        ("delete", collection, None),
        ("post", "/stac/collections", a_collection(COLLECTION)),
    ]
    for method, path, body in asked:
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "managed_data"), (method, path)
        assert ID in answer.json()["detail"]
    assert client.get(f"{collection}/items/{ITEM}").json() == item
    parameters = {"source": "samples:landsat_rgb.tif", "collection": COLLECTION}
    run = client.post("/api/runs", json={"pipeline": "ingest-raster", "parameters": parameters})
    assert (run.status_code, run.json()["code"], run.json()["field"]) == (409, "managed_data", "/parameters/collection")
    assert upkeep.platform.runs.list(pipeline="ingest-raster") == []


def test_every_route_is_described(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    paths = {path: one for path, one in document["paths"].items() if path.startswith(DATASETS)}
    assert sum(map(len, paths.values())) == 16
    assert {"200", "202", "409"} <= set(paths[f"{DATASETS}/{{dataset_id}}/update"]["post"]["responses"])
    assert "412" in paths[f"{DATASETS}/{{dataset_id}}"]["put"]["responses"]
    body = document["components"]["schemas"]["DefinitionBody"]
    assert {"license", "attribution", "target_table_name"} <= set(body["required"])
