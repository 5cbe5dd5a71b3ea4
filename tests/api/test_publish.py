"""Publishing over HTTP: what may be asked, what is told, and that nothing is decided twice or by who submitted it."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
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
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from geoetl.publish.audit import from_json_lines
from geoetl.publish.model import Action, Release, State
from geoetl.publish.verification import verify
from tests.api import wire
from tests.publish.outside import RASTERS, raster
from tests.publish.releasing import WAYS, a_content, a_step, who_does
from tests.served import PASSWORD
from tests.stac import a_collection, an_item

ADDRESS = "http://127.0.0.1:8000"
PUBLISH = "/api/publish"
DAY_S = 86_400
USERS = {
    "anna": Role.EDITOR,
    "ben": Role.APPROVER,
    "cleo": Role.OPERATOR,
    "ed": Role.EDITOR,
    "vera": Role.VIEWER,
}
As = Callable[..., dict[str, str]]


@dataclass(frozen=True)
class Kept:
    """A platform with users and an item, its application, and its database as it was then."""

    platform: Platform
    app: FastAPI
    database: Path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("publish")
    platform = geoetl.connect(folder / "home")
    raster(platform, folder / "home" / "files")
    for name, role in USERS.items():
        platform.identity.add(name, role, PASSWORD)
    app = create_app(platform)
    guard.install(app, Authority.of(platform), ServerRole.ETL)
    platform.database.dispose()
    database = shutil.copy(platform.settings.home / "geoetl.db", folder / "kept.db")
    yield Kept(platform, app, Path(database))
    platform.database.dispose()


@pytest.fixture
def platform(kept: Kept) -> Platform:
    """Give the platform as it was kept: nothing is submitted, nothing public."""
    kept.platform.database.dispose()
    shutil.copy(kept.database, kept.platform.settings.home / "geoetl.db")
    shutil.rmtree(kept.platform.settings.home / "external", ignore_errors=True)
    return kept.platform


@pytest.fixture
def as_(platform: Platform) -> As:
    """Give ``as_(name, scope=None)``: headers of a new token of a user."""

    def headers(name: str, scope: Role | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {platform.identity.create_token(name, 'test', scope, DAY_S)[1]}"}

    return headers


@pytest.fixture
def client(kept: Kept, as_: As) -> TestClient:
    """Give a client of Ben, who may approve."""
    return TestClient(kept.app, base_url=ADDRESS, raise_server_exceptions=False, headers=as_("ben"))


def of_anna(platform: Platform, state: State = State.PENDING_REVIEW, item: str = "flood", **values: Any) -> Release:
    """Bring a release of Anna's to a state."""
    releases = platform.publish.repository
    anna = platform.identity.user("anna")
    author = Principal(anna.id, anna.name, anna.role, Via.COOKIE)
    release = releases.create(author, a_content(item, **values))
    for action in WAYS[state]:
        who = author if action is Action.SUBMIT else who_does(action)
        release = releases.move(who, a_step(release, action))
    return release


def approval(release: Release, **values: Any) -> dict[str, Any]:
    seen = {"release_id": release.id, "revision": release.revision, "manifest_digest": release.manifest_digest}
    return {**seen, **values}


def because(release: Release, reason: str = "The licence is missing.", **values: Any) -> dict[str, Any]:
    return {"release_id": release.id, "revision": release.revision, "reason": reason, **values}


def refusals(platform: Platform) -> list[dict[str, Any]]:
    """Return what the log tells of refusals, the newest first: who, and why."""
    rows = platform.publish.audit.page(action="refused")
    return [{"actor": row.actor, **json.loads(row.details)} for row in rows]


# -- reading -----------------------------------------------------------------------------------------------------------


def test_the_queue_tells_what_waits_the_longest_first(client: TestClient, platform: Platform) -> None:
    first, second = of_anna(platform, item="one"), of_anna(platform, item="two")
    of_anna(platform, State.DRAFT, item="three")
    told = client.get(f"{PUBLISH}/queue").json()
    assert [one["id"] for one in told["waiting"]] == [first.id, second.id] and told["total"] == 2
    one = told["waiting"][0]
    assert (one["dataset_id"], one["state"], one["revision"]) == ("hazards/one", "pending_review", 2)
    assert (one["objects"], one["bytes"], one["url"]) == (1, 4, None) and one["age_s"] >= 0
    assert len(client.get(f"{PUBLISH}/queue?limit=1").json()["waiting"]) == 1


def test_releases_are_listed_page_by_page_and_by_state(client: TestClient, platform: Platform) -> None:
    made = [of_anna(platform, State.REJECTED, item=f"item-{number}").id for number in range(3)]
    draft = of_anna(platform, State.DRAFT, item="draft").id
    for base in (f"{PUBLISH}/releases", "/api/platform/approvals"):
        page = client.get(base, params={"limit": 3}).json()
        rest = client.get(base, params={"limit": 3, "after": page["next"]}).json()
        ids = [one["id"] for one in page["releases"] + rest["releases"]]
        assert ids == [draft, *reversed(made)] and rest["next"] is None
        assert (page["counts"]["rejected"], page["counts"]["draft"], page["counts"]["published"]) == (3, 1, 0)
        drafts = client.get(base, params={"state": ["draft", "approved"]}).json()["releases"]
        assert [one["id"] for one in drafts] == [draft]
    assert client.get(f"{PUBLISH}/releases?collection=other").json()["releases"] == []
    assert client.get(f"{PUBLISH}/releases?after=x").json()["field"] == "after"
    assert client.get(f"{PUBLISH}/releases?state=gone").status_code == 422


def test_a_release_tells_exactly_what_becomes_public_and_no_nonce(client: TestClient, platform: Platform) -> None:
    release = of_anna(platform, State.APPROVED)
    answer = client.get(f"{PUBLISH}/releases/{release.id}")
    told = answer.json()
    assert told["manifest"] == release.manifest.model_dump(mode="json")
    assert told["approval"].keys() == {"by", "at", "expires_at", "used_at"}
    assert release.approval is not None and release.approval.nonce not in answer.text
    same = client.get(f"{PUBLISH}/releases/{release.id}", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    client.post(f"{PUBLISH}/revoke", json=because(release))
    assert client.get(f"/api/platform/approvals/{release.id}").headers["etag"] != answer.headers["etag"]
    for missing in ("nowhere", "a" * 64):
        assert client.get(f"{PUBLISH}/releases/{missing}").status_code == 404
    assert client.get(f"{PUBLISH}/releases/{'a' * 65}").status_code == 422


def test_no_folder_of_this_machine_is_told(client: TestClient, platform: Platform, tmp_path: Path) -> None:
    content = a_content()
    (data,) = content.manifest.objects
    here = data.model_copy(update={"source": f"{tmp_path}/deep/tas_day.nc"})
    platform.publish.repository.create(
        who_does(Action.SUBMIT), a_content().__class__(content.manifest.model_copy(update={"objects": (here,)}))
    )
    (one,) = client.get(f"{PUBLISH}/releases").json()["releases"]
    answer = client.get(f"{PUBLISH}/releases/{one['id']}")
    assert str(tmp_path) not in answer.text
    assert answer.json()["manifest"]["objects"][0]["source"] == "tas_day.nc"


def test_an_item_has_a_status_by_each_of_its_names(client: TestClient, platform: Platform) -> None:
    released = of_anna(platform, State.PUBLISHED, version=1)
    waiting = of_anna(platform)
    for name in ("hazards/flood", "hazards:flood", "hazards%2Fflood"):
        told = client.get(f"{PUBLISH}/status/{name}").json()
        assert (told["dataset_id"], told["state"]) == ("hazards/flood", "pending_review")
        assert (told["published"]["id"], told["open"]["id"]) == (released.id, waiting.id)
        assert told["published"]["url"].endswith("/hazards/flood/v1/flood.json")
    several = client.get("/api/platform/approvals/status?stac_item_ids=hazards/flood,%20hazards:other").json()
    assert [one["state"] for one in several["statuses"]] == ["pending_review", None]
    assert client.get("/api/platform/approvals/status", params={"stac_item_ids": "a/b," * 101}).status_code == 413
    assert client.get(f"{PUBLISH}/status/hazards/nowhere").status_code == 404
    for wrong in ("hazards/a/b", "../x", "hazards/", ":", "a..b/c"):
        assert client.get(f"{PUBLISH}/status/{wrong}").status_code in (404, 422), wrong


# -- submitting --------------------------------------------------------------------------------------------------------


def test_an_item_is_submitted_once_however_often_it_is_asked_for(
    client: TestClient, platform: Platform, as_: As
) -> None:
    name = f"{RASTERS}/hill"
    anna = as_("anna")
    answer = client.post(f"{PUBLISH}/submit/{name}", headers=anna, json={"note": "Look at the colours."})
    assert answer.status_code == 200, answer.text
    first = answer.json()
    assert (first["state"], first["clearance"], first["reason"]) == ("pending_review", "public", "Look at the colours.")
    assert first["submitted_by"] == platform.identity.user("anna").id and first["objects"] > 0
    again = client.post(f"{PUBLISH}/submit/{name}", headers=anna).json()
    assert (again["id"], again["revision"]) == (first["id"], first["revision"])
    later = client.post(f"{PUBLISH}/submit/{name}", headers=anna, json={"publish_after": 4_000_000_000}).json()
    assert (later["id"], later["publish_after"]) == (first["id"], 4_000_000_000)
    assert later["revision"] > first["revision"], "who saw the first does not decide on this"


def test_what_cannot_be_submitted_says_why(client: TestClient, platform: Platform) -> None:
    submit = f"{PUBLISH}/submit/images/nowhere"
    assert client.post(submit).status_code == 404
    for body, field in (
        ({"clearance": "secret"}, "/clearance"),
        ({"publish_after": -1}, "/publish_after"),
        ({"publish_after": "soon"}, "/publish_after"),
        ({"by": "anna"}, "/by"),
    ):
        answer = client.post(submit, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    answer = client.post(f"{PUBLISH}/submit/{RASTERS}/hill", json={"publish_after": 9, "withdraw_after": 8})
    assert (answer.status_code, answer.json()["field"]) == (422, "/withdraw_after")


# -- deciding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "state", "after"),
    [
        ("publish/approve", State.PENDING_REVIEW, "approved"),
        ("platform/approve", State.PENDING_REVIEW, "approved"),
        ("publish/reject", State.PENDING_REVIEW, "rejected"),
        ("platform/reject", State.PENDING_REVIEW, "rejected"),
        ("publish/request-changes", State.PENDING_REVIEW, "changes_requested"),
        ("publish/revoke", State.APPROVED, "withdrawn"),
        ("platform/revoke", State.APPROVED, "withdrawn"),
    ],
)
def test_a_decision_is_made_once_and_written_down(
    client: TestClient, platform: Platform, verb: str, state: State, after: str
) -> None:
    release = of_anna(platform, state)
    body = approval(release, note="Fine.") if "approve" in verb else because(release)
    answer = client.post(f"/api/{verb}", json=body)
    assert (answer.status_code, answer.json()["state"]) == (200, after), answer.text
    ben = platform.identity.user("ben")
    row = platform.publish.audit.page(release_id=release.id)[0]
    said = json.loads(row.details)
    assert (row.actor, row.after) == (ben.id, after)
    assert said["by"] == {"name": "ben", "role": "approver", "via": "token"}
    assert said["reason"] == body.get("reason", "Fine.")
    # The same bytes once more: somebody recorded them, or pressed twice.
    again = client.post(f"/api/{verb}", json=body)
    problem = again.json()
    assert (again.status_code, problem["code"], problem["field"]) == (409, "release_conflict", "state")
    assert (problem["present"]["state"], problem["present"]["revision"]) == (after, release.revision + 1)
    assert refusals(platform)[0]["actor"] == ben.id


def test_what_was_changed_since_it_was_seen_is_not_decided_on(client: TestClient, platform: Platform) -> None:
    release = of_anna(platform)
    for body, field in (
        (approval(release, revision=1), "revision"),
        (approval(release, manifest_digest="0" * 64), "manifest_digest"),
        (approval(release, revision=99), "revision"),
    ):
        answer = client.post(f"{PUBLISH}/approve", json=body)
        assert (answer.status_code, answer.json()["field"]) == (409, field)
        assert answer.json()["present"]["manifest_digest"] == release.manifest_digest
    assert len(refusals(platform)) == 3
    assert platform.publish.get(release.id) == release


def test_a_decision_says_all_that_it_has_to(client: TestClient, platform: Platform) -> None:
    release = of_anna(platform)
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("approve", because(release), "/manifest_digest"),
        ("approve", approval(release, manifest_digest="abc"), "/manifest_digest"),
        ("approve", approval(release, clearance="uncleared"), "/clearance"),
        ("approve", approval(release, by="ben"), "/by"),
        ("reject", because(release, reason=" \n"), "/reason"),
        ("reject", because(release, reason="\x1b[2J"), "/reason"),
        ("reject", because(release, reason="x" * 4001), "/reason"),
        ("request-changes", {"release_id": release.id, "revision": release.revision}, "/reason"),
        ("revoke", because(release, revision=0), "/revision"),
        ("restore", because(release, release_id="a b"), "/release_id"),
    ]
    for verb, body, field in wrong:
        answer = client.post(f"{PUBLISH}/{verb}", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), (verb, body, answer.text)
    unknown = client.post(f"{PUBLISH}/reject", json=because(release, release_id="nowhere"))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert refusals(platform) == []


def test_of_two_who_decide_one_is_told_how_it_stands(client: TestClient, platform: Platform, as_: As) -> None:
    release = of_anna(platform)
    cleo = as_("cleo")
    assert client.post(f"{PUBLISH}/reject", json=because(release)).status_code == 200
    late = client.post(f"{PUBLISH}/approve", json=approval(release), headers=cleo)
    assert (late.status_code, late.json()["present"]["state"]) == (409, "rejected")
    assert late.json()["detail"].startswith(f"Release {release.id} is rejected")


def test_what_was_approved_is_copied_by_a_run_and_an_embargo_is_kept(client: TestClient, platform: Platform) -> None:
    release = of_anna(platform)
    client.post(f"{PUBLISH}/approve", json=approval(release)).raise_for_status()
    (run,) = [one for one in platform.runs.list() if one.pipeline == "publish"]
    assert run.parameters["release_id"] == release.id
    later = of_anna(platform, item="later", publish_after=4_000_000_000.0)
    told = client.post(f"{PUBLISH}/approve", json=approval(later)).json()
    assert told["approval"]["expires_at"] > 4_000_000_000
    assert len([one for one in platform.runs.list() if one.pipeline == "publish"]) == 1


# -- who may -----------------------------------------------------------------------------------------------------------


DECISIONS = ("approve", "reject", "request-changes", "revoke", "restore", "restore-item", "withdraw", "retry")


@pytest.mark.parametrize("verb", DECISIONS)
def test_only_who_may_approve_decides(client: TestClient, platform: Platform, as_: As, verb: str) -> None:
    release = of_anna(platform)
    body = approval(release) if verb == "approve" else because(release)
    lesser = [as_("vera"), as_("ed"), as_("ben", scope=Role.EDITOR)]
    for headers in lesser:
        answer = client.post(f"{PUBLISH}/{verb}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert client.post(f"{PUBLISH}/{verb}", json=body, headers={"Authorization": ""}).status_code == 401
    assert platform.publish.get(release.id) == release


def test_a_viewer_looks_and_neither_submits_nor_reads_the_log(client: TestClient, platform: Platform, as_: As) -> None:
    release = of_anna(platform)
    vera = as_("vera")
    for path in ("queue", "releases", f"releases/{release.id}", "status/hazards/flood"):
        assert client.get(f"{PUBLISH}/{path}", headers=vera).status_code == 200
    assert client.post(f"{PUBLISH}/submit/hazards/flood", headers=vera).status_code == 403
    for path in ("audit", "audit?f=csv", "audit/verify"):
        assert client.get(f"{PUBLISH}/{path}", headers=vera).status_code == 403
    ed = as_("ed")
    assert client.get(f"{PUBLISH}/audit", headers=ed).status_code == 200
    assert client.get(f"{PUBLISH}/audit/verify", headers=ed).status_code == 403


def by_alias(platform: Platform, as_: As) -> dict[str, str]:
    """The same person under another name that looks the same, where names are compared without their case."""
    platform.identity.set_role("ANNA", Role.APPROVER)
    return {"Authorization": f"Bearer {platform.identity.create_token('Anna', 'alias', None, DAY_S)[1]}"}


def by_second_token(platform: Platform, as_: As) -> dict[str, str]:
    platform.identity.set_role("anna", Role.APPROVER)
    as_("anna")
    return as_("anna")


def by_role_change(platform: Platform, as_: As) -> dict[str, str]:
    headers = as_("anna")
    platform.identity.set_role("anna", Role.OPERATOR)
    return as_("anna") if headers else headers


def by_delegation(platform: Platform, as_: As) -> dict[str, str]:
    """A token that may just approve, as it is given to a program."""
    platform.identity.set_role("anna", Role.OPERATOR)
    return as_("anna", scope=Role.APPROVER)


@pytest.mark.parametrize("verb", ["approve", "reject", "request-changes"])
@pytest.mark.parametrize("how", [by_alias, by_second_token, by_role_change, by_delegation])
def test_who_submitted_does_not_decide_in_whatever_guise(
    client: TestClient,
    platform: Platform,
    as_: As,
    how: Callable[[Platform, As], dict[str, str]],
    verb: str,
) -> None:
    release = of_anna(platform)
    body = approval(release) if verb == "approve" else because(release)
    answer = client.post(f"{PUBLISH}/{verb}", json=body, headers=how(platform, as_))
    assert (answer.status_code, answer.json()["code"]) == (403, "four_eyes"), answer.text
    assert platform.publish.get(release.id) == release
    (row,) = refusals(platform)
    assert (row["actor"], row["code"]) == (release.submitted_by, "four_eyes")
    assert row["wanted"] == verb.replace("-", "_")
    assert row["by"]["role"] in ("approver", "operator")
    assert verify(platform.publish.audit.rows()).is_intact


def test_the_case_of_an_id_makes_nobody_somebody_else(client: TestClient, platform: Platform, as_: As) -> None:
    ben = platform.identity.user("ben")
    shouted = Principal(f" {ben.id.upper()}", "somebody else", Role.EDITOR, Via.TOKEN)
    repository = platform.publish.repository
    release = repository.create(shouted, a_content())
    release = repository.move(shouted, a_step(release, Action.SUBMIT))
    answer = client.post(f"{PUBLISH}/approve", json=approval(release))
    assert (answer.status_code, answer.json()["code"]) == (403, "four_eyes")
    assert refusals(platform)[0]["actor"] == ben.id


def test_a_reader_has_no_route_that_decides(platform: Platform) -> None:
    app = create_app(platform, ServerRole.READER)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as reader:
        for verb in (*DECISIONS, "submit/a/b"):
            assert reader.post(f"{PUBLISH}/{verb}", json={}).status_code == 404


def test_recorded_bytes_of_an_approval_are_refused(kept: Kept, platform: Platform, as_: As) -> None:
    """Whatever happened since: it was approved, revoked, opened anew, or submitted once more as it was."""
    release = of_anna(platform)
    token = as_("ben")["Authorization"]
    recorded = wire.post_json(f"{PUBLISH}/approve", json.dumps(approval(release)).encode(), f"Authorization: {token}")
    repository = platform.publish.repository
    with wire.serving(kept.app, platform.settings.server) as port:
        assert wire.send(port, recorded).status == 200
        approved = repository.get(release.id)
        steps: list[Action] = [Action.REVOKE, Action.REOPEN, Action.SUBMIT]
        for action in (None, *steps):
            if action is not None:
                who = Principal(str(release.submitted_by), "anna", Role.EDITOR, Via.COOKIE)
                approver = who_does(Action.REVOKE)
                approved = repository.move(
                    approver if action is Action.REVOKE else who, a_step(approved, action, reason="Because.")
                )
            before = len(refusals(platform))
            answer = wire.send(port, recorded)
            assert answer.status == 409, (action, answer.body)
            assert repository.get(release.id) == approved
            assert len(refusals(platform)) == before + 1
        # It waits again, with the same content: only the revision is another one.
        assert (approved.state, approved.manifest_digest) == (State.PENDING_REVIEW, release.manifest_digest)


# -- taking back -------------------------------------------------------------------------------------------------------


def test_a_withdrawal_is_planned_first_and_then_one_run(client: TestClient, platform: Platform) -> None:
    release = of_anna(platform, State.PUBLISHED, version=1)
    plan = client.post(f"{PUBLISH}/withdraw", json={"dataset_id": "hazards/flood"})
    assert plan.status_code == 200, plan.text
    told = plan.json()
    assert [one["release_id"] for one in told["releases"]] == [release.id] and not told["is_nothing"]
    assert told["objects_total"] == len(told["objects"]) > 0 and told["goes"]
    assert platform.runs.list() == []
    wanted = {"dataset_id": "hazards:flood", "dry_run": False}
    unsaid = client.post(f"{PUBLISH}/withdraw", json=wanted)
    assert (unsaid.status_code, unsaid.json()["field"]) == (422, "/reason")
    wanted["reason"] = "A mistake in the north."
    first = client.post(f"{PUBLISH}/withdraw", json=wanted)
    assert first.status_code == 202, first.text
    run = client.get(first.headers["location"]).json()
    assert (run["pipeline"], run["submitted_by"], run["parameters"]["reason"]) == ("withdraw", "ben", wanted["reason"])
    assert client.post(f"{PUBLISH}/withdraw", json=wanted).json()["id"] == run["id"]


def test_what_cannot_be_withdrawn_says_why(client: TestClient, platform: Platform) -> None:
    of_anna(platform, State.APPROVED)
    approved = client.post(f"{PUBLISH}/withdraw", json={"dataset_id": "hazards/flood"})
    assert (approved.status_code, approved.json()["field"]) == (409, "force_approved")
    unknown = client.post(f"{PUBLISH}/withdraw", json={"dataset_id": "hazards/nowhere"})
    assert unknown.status_code == 404
    for body, field in (
        ({"dataset_id": "hazards/flood", "scope": "internal"}, "/scope"),
        ({"dataset_id": "hazards/flood", "version": 7}, "version"),
        ({"dataset_id": "hazards/../x"}, "/item"),
        ({}, "/dataset_id"),
    ):
        answer = client.post(f"{PUBLISH}/withdraw", json=body)
        assert (answer.status_code in (404, 422), answer.json()["field"]) == (True, field), answer.text


def test_a_withdrawal_is_undone_by_somebody_else_than_who_submitted(
    client: TestClient, platform: Platform, as_: As
) -> None:
    platform.catalog.upsert_collection(a_collection("hazards"))
    platform.catalog.upsert_items([an_item("flood", collection="hazards")])
    release = of_anna(platform, State.PUBLISHED, version=1)
    withdrawn = platform.publish.repository.move(who_does(Action.APPROVE), a_step(release, Action.WITHDRAW))
    platform.identity.set_role("anna", Role.APPROVER)
    own = client.post(f"{PUBLISH}/restore", json=because(withdrawn), headers=as_("anna"))
    assert (own.status_code, own.json()["code"]) == (403, "four_eyes")
    back = client.post(f"{PUBLISH}/restore", json=because(withdrawn, "It was right."))
    assert back.status_code == 200, back.text
    told = back.json()
    assert (told["state"], told["version"]) == ("approved", 1)
    again = client.post(f"{PUBLISH}/restore", json=because(withdrawn))
    assert (again.status_code, again.json()["present"]["state"]) == (409, "approved")


def test_an_item_that_is_in_the_catalogue_does_not_come_back(client: TestClient) -> None:
    body = {"dataset_id": f"{RASTERS}/hill", "reason": "It was the other one."}
    there = client.post(f"{PUBLISH}/restore-item", json=body)
    assert (there.status_code, there.json()["field"]) == (409, "item")
    never = client.post(f"{PUBLISH}/restore-item", json={**body, "dataset_id": f"{RASTERS}/vale"})
    assert (never.status_code, never.json()["code"]) == (404, "not_found")


def test_a_copy_that_failed_is_tried_again(client: TestClient, platform: Platform) -> None:
    waiting = of_anna(platform)
    early = client.post(f"{PUBLISH}/retry", json={"release_id": waiting.id})
    assert (early.status_code, early.json()["present"]["state"]) == (409, "pending_review")
    failed = of_anna(platform, State.COPY_FAILED, item="failed")
    answer = client.post(f"{PUBLISH}/retry", json={"release_id": failed.id})
    assert answer.status_code == 202, answer.text
    assert client.get(answer.headers["location"]).json()["parameters"]["release_id"] == failed.id


# -- the log -----------------------------------------------------------------------------------------------------------


def test_the_log_is_told_page_by_page(client: TestClient, platform: Platform) -> None:
    release, other = of_anna(platform, State.PUBLISHED), of_anna(platform, item="other")
    client.post(f"{PUBLISH}/approve", json=approval(other, revision=9))
    first = client.get(f"{PUBLISH}/audit?limit=4").json()
    rest = client.get(f"{PUBLISH}/audit", params={"before": first["next"]}).json()
    numbers = [row["number"] for row in first["rows"] + rest["rows"]]
    assert numbers == list(range(8, 0, -1)) and rest["next"] is None
    own = client.get(f"{PUBLISH}/audit?release_id={release.id}").json()["rows"]
    assert [row["action"] for row in own] == ["finish_copy", "begin_copy", "approve", "submit", "create"]
    (refused,) = client.get(f"{PUBLISH}/audit?action=refused").json()["rows"]
    assert (refused["details"]["wanted"], refused["details"]["by"]["name"]) == ("approve", "ben")
    for wrong in ("limit=0", "before=0", "f=xml", "action=DROP%20TABLE"):
        assert client.get(f"{PUBLISH}/audit?{wrong}").status_code == 422


def test_an_export_can_be_verified_by_hand_and_shows_a_changed_row(client: TestClient, platform: Platform) -> None:
    of_anna(platform, State.PUBLISHED)
    answer = client.get(f"{PUBLISH}/audit?f=jsonl")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["content-disposition"] == 'attachment; filename="publishing-audit.jsonl"'
    lines = answer.text.splitlines()
    # As docs/publishing.md tells it: a JSON library and sha256 are enough.
    previous = "0" * 64
    for line in lines:
        row = json.loads(line)
        hash = row.pop("hash")
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert sha256(text.encode()).hexdigest() == hash and row["previous"] == previous
        previous = hash
    assert len(lines) == 5
    assert verify(from_json_lines(lines), platform.publish.audit.head()).is_intact
    lines[1] = lines[1].replace("anna", "hans")
    found = verify(from_json_lines(lines))
    assert found.fault is not None and found.fault.number == 2
    table = client.get(f"{PUBLISH}/audit?f=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["action"] for row in csv.DictReader(io.StringIO(table.text))] == [
        json.loads(line)["action"] for line in lines
    ]


def test_the_log_is_verified_against_the_head_that_is_kept_outside(client: TestClient, platform: Platform) -> None:
    of_anna(platform)
    told = client.get(f"{PUBLISH}/audit/verify").json()
    assert told == {"is_intact": True, "rows": 2, "head": told["head"], "kept": None, "fault": None}
    platform.publish.anchor.write(platform.publish.audit)
    of_anna(platform, item="other")
    told = client.get(f"{PUBLISH}/audit/verify").json()
    assert (told["rows"], told["kept"]["number"], told["is_intact"]) == (4, 2, True)
    with platform.database.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER publish_audit_log_no_update")
        connection.exec_driver_sql("UPDATE publish_audit_log SET actor = 'nobody' WHERE number = 2")
    told = client.get(f"{PUBLISH}/audit/verify").json()
    assert (told["is_intact"], told["fault"]["number"], told["fault"]["kind"]) == (False, 2, "edited")
