"""An item becomes public as it was approved, and is taken back; what fails is told, and goes on where it ended."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import geoetl
from geoetl.access.places import ItemReference
from geoetl.core.errors import Conflict, InvalidParameter, ManagedData, NotFound, Unavailable, VerificationFailed
from geoetl.core.findings import Finding, Severity
from geoetl.core.principal import Forbidden, FourEyes, Principal, Role, Via
from geoetl.platform import Platform
from geoetl.publish.model import UNDO_S, Action, Clearance, Release, State
from geoetl.publish.publishing import Publishing
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Step
from geoetl.publish.verification import verify
from geoetl.publish.withdrawal import Scope
from geoetl.runs.model import RunState
from geoetl.runs.queue import Ending
from tests.datasets.released import Upkeep
from tests.publish.outside import RASTERS, raster
from tests.publish.releasing import APPROVER, AUTHOR, NOW, Clock, a_step, brought
from tests.publish.running import Blind, bring, claimed, running, take_back

ITEM, OTHER = "hill", "copy"
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the home of a platform with two items that have the same object."""
    home = tmp_path_factory.mktemp("publishing") / "home"
    platform = geoetl.connect(home)
    item = raster(platform, home / "files", ITEM)
    platform.catalog.upsert_items([{**item, "id": OTHER}])
    platform.database.dispose()
    return home


@pytest.fixture
def platform(home: Path, tmp_path: Path) -> Iterator[Platform]:
    """Give that platform, with nothing submitted."""
    shutil.copytree(home, tmp_path / "home")
    made = geoetl.connect(tmp_path / "home")
    yield made
    made.database.dispose()


@pytest.fixture
def clock() -> Clock:
    """Give the clock of publishing."""
    return Clock()


@pytest.fixture
def publish(platform: Platform, clock: Clock) -> Publishing:
    """Give its publishing, with a clock that stands, and without what opens the published things."""
    repository = ReleaseRepository(platform.database, clock)
    return replace(platform.publish, repository=repository, make_probe=Blind)


def approved(publish: Publishing, item: str = ITEM, **said: Any) -> Release:
    """Submit an item and approve it."""
    release = publish.submit(AUTHOR, RASTERS, item, **said)
    return publish.approve(APPROVER, release.id, revision=release.revision, manifest_digest=release.manifest_digest)


def published(platform: Platform, publish: Publishing, item: str = ITEM, **said: Any) -> Release:
    """Bring an item to the public."""
    release = approved(publish, item, **said)
    bring(platform, publish, release, release.id)
    return publish.get(release.id)


def public_files(platform: Platform) -> set[str]:
    """Return what lies in the external zone, but for the head of the log."""
    root = platform.settings.home / "external"
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("audit/", ".incoming/"))}


def data_key(platform: Platform) -> str:
    """Return the key of the raster's object."""
    return platform.zones.locate(platform.catalog.item(RASTERS, ITEM)["assets"]["data"]["href"])[1]


WHOLE = {f"{RASTERS}/{ITEM}/v1/data.tif", f"{RASTERS}/{ITEM}/v1/{ITEM}.json"}
INDEX = {"catalog.json", f"{RASTERS}/collection.json"}

# -- submitting and approving ------------------------------------------------------------------------------------------


def test_the_same_item_submitted_twice_is_one_release_and_a_changed_one_is_edited(
    platform: Platform, publish: Publishing
) -> None:
    first = publish.submit(AUTHOR, RASTERS, ITEM, note="As agreed.")
    assert (first.state, first.reason, first.manifest.path) == (State.PENDING_REVIEW, "As agreed.", "images/hill/v1")
    assert publish.submit(AUTHOR, RASTERS, ITEM) == first
    item = platform.catalog.item(RASTERS, ITEM)
    platform.catalog.upsert_items([{**item, "properties": {**item["properties"], "title": "Another hill"}}])
    second = publish.submit(AUTHOR, RASTERS, ITEM)
    assert (second.id, second.state, second.revision) == (first.id, State.PENDING_REVIEW, 4)
    assert second.manifest_digest != first.manifest_digest
    with pytest.raises(Conflict, match="changed since"):
        publish.approve(APPROVER, first.id, revision=first.revision, manifest_digest=first.manifest_digest)
    with pytest.raises(FourEyes):
        publish.approve(AUTHOR, first.id, revision=second.revision, manifest_digest=second.manifest_digest)
    with pytest.raises(NotFound):
        publish.submit(AUTHOR, RASTERS, "none")


def test_an_approval_queues_one_copy_and_what_is_approved_is_not_submitted(
    platform: Platform, publish: Publishing
) -> None:
    release = approved(publish)
    (run,) = platform.runs.list()
    assert (run.pipeline, run.parameters, run.state) == ("publish", {"release_id": release.id}, RunState.QUEUED)
    assert publish.do_due().begun == ()
    assert publish.start(release).id == run.id
    with pytest.raises(Conflict, match=release.id):
        publish.submit(AUTHOR, RASTERS, ITEM)


def test_an_embargo_holds_the_copy_back_and_a_restricted_release_is_never_copied(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    release = approved(publish, publish_after=NOW + DAY_S)
    approved(publish, OTHER, clearance=Clearance.RESTRICTED)
    assert (publish.do_due().begun, platform.runs.list()) == ((), [])
    clock.now += DAY_S
    assert publish.do_due().begun == (release.id,)
    assert publish.do_due().begun == ()
    assert len(platform.runs.list()) == 1


def test_of_many_decisions_each_approval_queues_its_copy(platform: Platform, publish: Publishing) -> None:
    first, second = publish.submit(AUTHOR, RASTERS, ITEM), publish.submit(AUTHOR, RASTERS, OTHER)
    outcomes = publish.decide_many(APPROVER, [a_step(first, Action.APPROVE), a_step(second, Action.REJECT)])
    assert [one.state for one in outcomes] == [State.APPROVED, State.REJECTED]
    assert [run.parameters["release_id"] for run in platform.runs.list()] == [first.id]


# -- bringing ----------------------------------------------------------------------------------------------------------


def test_what_is_published_is_what_was_approved_and_a_second_version_stands_beside_it(
    platform: Platform, publish: Publishing
) -> None:
    first = published(platform, publish)
    assert (first.state, first.version) == (State.PUBLISHED, 1)
    assert public_files(platform) == WHOLE | INDEX
    assert publish.url(first) == f"{publish.base_url}/images/hill/v1/hill.json"
    second = published(platform, publish)
    assert second.version == 2
    assert public_files(platform) == WHOLE | {name.replace("/v1/", "/v2/") for name in WHOLE} | INDEX
    status = publish.status(RASTERS, ITEM)
    assert (status.open, status.published) == (None, second)
    assert publish.anchor.read() == publish.audit.head()
    assert verify(publish.audit.rows(), publish.audit.head()).is_intact


def test_what_is_wrong_from_outside_fails_the_copy_and_a_retry_goes_on(platform: Platform, publish: Publishing) -> None:
    release = approved(publish)

    class Seeing:
        def look(self, manifest: object) -> tuple[Finding, ...]:
            return (Finding(code="gone", severity=Severity.ERROR, message="data.tif cannot be opened."),)

    with pytest.raises(VerificationFailed, match=r"data\.tif cannot be opened"):
        bring(platform, replace(publish, make_probe=Seeing), release)
    failed = publish.get(release.id)
    assert failed.state is State.COPY_FAILED
    assert failed.last_error is not None
    assert "data.tif" in failed.last_error
    assert not public_files(platform) & {f"{RASTERS}/collection.json"}
    assert bring(platform, publish, failed).version == 1
    (run,) = [one for one in platform.runs.list() if one.subject == "publish/"]
    assert [(stage.name, stage.attempt) for stage in run.stages] == [("deliver", 1), ("probe", 2), ("reveal", 2)]
    actions = [row.action for row in publish.audit.rows()]
    assert actions[3:] == ["begin_copy", "fail_copy", "begin_copy", "finish_copy"]


def test_what_is_gone_from_where_it_lay_is_copied_once_more(platform: Platform, publish: Publishing) -> None:
    release = approved(publish)
    with running(platform, "publish") as run:
        publish.deliver(run, publish.begin(run, release.id))
    shutil.rmtree(platform.settings.home / "external" / RASTERS)
    bring(platform, publish, release)
    assert public_files(platform) == WHOLE | INDEX


def test_a_failure_that_may_pass_is_one_only_when_no_try_is_left(platform: Platform, publish: Publishing) -> None:
    release = approved(publish)

    class Away:
        def deliver(self, *args: object) -> None:
            raise Unavailable("The store is away.")

    away = replace(publish, make_delivery=Away)  # type: ignore[arg-type]
    # From the queue, where it is tried again.
    with claimed(platform) as run:
        with pytest.raises(Unavailable):
            away.deliver(run, away.begin(run, release.id))
        assert publish.get(release.id).state is State.COPYING
        with pytest.raises(Conflict, match="another run"):
            bring(platform, publish, release)
        platform.runs.queue.finish(Ending(run.id, run.attempt, error=Unavailable("The store is away.").problem()))
    with platform.database.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET failures = max_attempts - 1, ready_at = 0")
    with claimed(platform) as run, pytest.raises(Unavailable):
        away.deliver(run, away.begin(run, release.id))
    failed = publish.get(release.id)
    assert (failed.state, failed.last_error) == (State.COPY_FAILED, "The store is away.")


def test_a_copy_whose_run_is_over_has_failed_with_the_reason_of_the_run(
    platform: Platform, publish: Publishing
) -> None:
    release = approved(publish)
    with running(platform, "publish") as run:
        publish.begin(run, release.id)
        assert publish.do_due().settled == ()
    # Its process is gone.
    with platform.database.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET state = 'cancelled', error = NULL")
    due = publish.do_due()
    assert due.settled == (release.id,)
    assert publish.get(release.id).last_error == "The run that copied it is cancelled."
    assert bring(platform, publish, release, "another").version == 1


def test_nothing_but_what_was_approved_is_copied(platform: Platform, publish: Publishing) -> None:
    release = approved(publish)
    with running(platform, "publish") as run:
        begun = publish.begin(run, release.id)
        with pytest.raises(Conflict, match="not what was approved"):
            publish.deliver(run, begun.model_copy(update={"manifest_digest": "0" * 64}))
        path = platform.zones.internal.local_path(data_key(platform))
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises((VerificationFailed, Conflict)):
        bring(platform, publish, publish.get(release.id), "second")
    assert not public_files(platform) - INDEX


# -- taking back -------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_exactly_what_would_go_and_changes_nothing(platform: Platform, publish: Publishing) -> None:
    release = published(platform, publish)
    head, before = publish.audit.head(), public_files(platform)
    plan = publish.plan_withdrawal(RASTERS, ITEM, 0, "everywhere")
    assert {one.key for one in plan.objects if one.zone == "external"} == WHOLE
    assert [one.key for one in plan.objects if one.zone == "internal"] == [data_key(platform)]
    assert plan.depends == (f"item {RASTERS}/{OTHER} has the same objects",)
    assert "Withdrawal of images/hill" in plan._repr_html_()
    told = take_back(platform, publish, RASTERS, ITEM, dry_run=True)
    assert (told.releases, told.objects, told.undo_until) == ((), 0, None)
    assert (publish.get(release.id), publish.audit.head(), public_files(platform)) == (release, head, before)


def test_what_is_withdrawn_is_gone_and_twice_is_once(platform: Platform, publish: Publishing) -> None:
    release = published(platform, publish)
    other = published(platform, publish, OTHER)
    told = take_back(platform, publish, RASTERS, ITEM)
    assert (told.releases, told.objects, told.undo_until) == ((release.id,), 2, NOW + UNDO_S)
    assert public_files(platform) == {name.replace(ITEM, OTHER) for name in WHOLE} | INDEX
    assert publish.get(other.id).state is State.PUBLISHED
    withdrawn = publish.get(release.id)
    assert (withdrawn.state, withdrawn.reason) == (State.WITHDRAWN, "Because.")
    assert publish.audit.page(action="withdraw")[0].actor == APPROVER.id
    assert publish.plan_withdrawal(RASTERS, ITEM).is_nothing
    assert take_back(platform, publish, RASTERS, ITEM, name="again").releases == ()
    # With the last one the collection goes.
    take_back(platform, publish, RASTERS, OTHER, name="other")
    assert public_files(platform) == {"catalog.json"}


def test_one_version_goes_and_the_others_stay(platform: Platform, publish: Publishing) -> None:
    published(platform, publish)
    published(platform, publish)
    plan = publish.plan_withdrawal(RASTERS, ITEM, 2)
    assert plan.stays == ("version 1 is public, at images/hill/v1",)
    take_back(platform, publish, RASTERS, ITEM, 2)
    assert public_files(platform) == WHOLE | INDEX
    with pytest.raises(NotFound, match="no version 3"):
        publish.plan_withdrawal(RASTERS, ITEM, 3)


def test_objects_stay_where_that_is_wanted_and_go_with_the_next_withdrawal(
    platform: Platform, publish: Publishing
) -> None:
    published(platform, publish)
    told = take_back(platform, publish, RASTERS, ITEM, delete_objects=False)
    assert (told.objects, public_files(platform)) == (0, WHOLE | {"catalog.json"})
    (row,) = publish.audit.page(action="withdraw")
    assert json.loads(row.details)["leaves_objects"] is True
    plan = publish.plan_withdrawal(RASTERS, ITEM)
    assert [one.state for one in plan.releases] == [State.WITHDRAWN]
    assert take_back(platform, publish, RASTERS, ITEM, name="again").objects == 2
    assert public_files(platform) == {"catalog.json"}


def test_what_is_approved_is_withdrawn_only_with_force_which_revokes_it(
    platform: Platform, publish: Publishing
) -> None:
    release = approved(publish)
    with pytest.raises(Conflict) as caught:
        publish.plan_withdrawal(RASTERS, ITEM)
    assert caught.value.field == "force_approved"
    assert take_back(platform, publish, RASTERS, ITEM, force_approved=True).releases == (release.id,)
    assert publish.get(release.id).state is State.WITHDRAWN
    assert publish.audit.page(action="revoke")[0].release_id == release.id


def test_what_is_copied_waits_or_is_kept_by_others_is_not_withdrawn(
    platform: Platform, publish: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = publish.submit(AUTHOR, RASTERS, ITEM)
    with pytest.raises(Conflict, match="waits for review"):
        publish.plan_withdrawal(RASTERS, ITEM, scope="everywhere")
    assert publish.plan_withdrawal(RASTERS, ITEM).is_nothing
    publish.reject(APPROVER, waiting.id, revision=waiting.revision, reason="No.")
    for said, kind, field in (
        ({"dry_run": False}, InvalidParameter, "reason"),
        ({"scope": "nowhere"}, InvalidParameter, "scope"),
        ({"version": 1, "scope": "everywhere"}, InvalidParameter, "version"),
    ):
        with pytest.raises(kind) as caught:
            publish.plan_withdrawal(RASTERS, ITEM, **said)
        assert caught.value.field == field
    with pytest.raises(NotFound):
        publish.plan_withdrawal(RASTERS, "none")
    brought(publish.repository, State.COPYING, "flood", version=1)
    with pytest.raises(Conflict, match="being copied"):
        publish.plan_withdrawal("hazards", "flood")
    monkeypatch.setattr(platform.places, "boundaries", {"country": (ItemReference(RASTERS, ITEM),)})
    with pytest.raises(Conflict, match="boundaries"):
        publish.plan_withdrawal(RASTERS, ITEM, scope="everywhere")


def test_a_managed_collection_leaves_the_public_but_not_the_catalogue(
    platform: Platform, publish: Publishing, tmp_path: Path
) -> None:
    published(platform, publish)
    # A dataset that keeps another item of the same collection.
    Upkeep.begin(platform, tmp_path / "drop", target_schema=RASTERS)
    with pytest.raises(ManagedData, match="geoetl datasets list"):
        publish.plan_withdrawal(RASTERS, ITEM, scope="everywhere")
    run = platform.submit("withdraw", {"collection": RASTERS, "item": ITEM})
    assert run.state is RunState.QUEUED
    assert take_back(platform, publish, RASTERS, ITEM).objects == 2
    assert platform.catalog.item(RASTERS, ITEM)["id"] == ITEM


def test_what_was_changed_since_it_was_planned_is_not_withdrawn(platform: Platform, publish: Publishing) -> None:
    release = published(platform, publish)
    with running(platform, "withdraw") as run:
        plan = publish.plan_withdrawal(RASTERS, ITEM, dry_run=False, reason="No.")
        publish.repository.move(APPROVER, Step(release.id, Action.WITHDRAW, release.revision, reason="First."))
        with pytest.raises(Conflict, match="withdrawn by now"):
            publish.hide(run, plan)


# -- back --------------------------------------------------------------------------------------------------------------


def test_a_withdrawal_everywhere_is_undone_within_its_time(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    release, item = published(platform, publish), dict(platform.catalog.item(RASTERS, ITEM))
    take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE)
    with pytest.raises(NotFound):
        platform.catalog.item(RASTERS, ITEM)
    clock.now += UNDO_S - 1
    assert data_key_of(item, platform) in publish.held_keys()
    assert publish.purge().keys == ()
    withdrawn = publish.get(release.id)
    with pytest.raises(FourEyes):
        publish.restore(AUTHOR, release.id, revision=withdrawn.revision, reason="Please.")
    restored = publish.restore(APPROVER, release.id, revision=withdrawn.revision, reason="It was right.")
    assert (restored.state, restored.version) == (State.APPROVED, 1)
    assert dict(platform.catalog.item(RASTERS, ITEM)) == item
    bring(platform, publish, restored, "again")
    assert public_files(platform) == WHOLE | INDEX
    details = [row.action for row in publish.audit.rows()][-4:]
    assert details == ["restore", "restore_item", "begin_copy", "finish_copy"]


def test_after_its_time_what_was_kept_is_removed_but_for_what_others_need(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    release = published(platform, publish)
    key = data_key(platform)
    take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE)
    clock.now += UNDO_S
    withdrawn = publish.get(release.id)
    with pytest.raises(Conflict, match="30 days"):
        publish.restore(APPROVER, release.id, revision=withdrawn.revision, reason="Too late.")
    # The other item has the same object.
    assert publish.purge().model_dump() == {"items": (f"{RASTERS}/{ITEM}",), "keys": ()}
    take_back(platform, publish, RASTERS, OTHER, 0, Scope.EVERYWHERE, name="other")
    assert platform.catalog.collections() == []
    clock.now += UNDO_S
    assert publish.purge().items == (f"{RASTERS}/{OTHER}",)
    assert publish.purge().items == ()
    purges = publish.audit.page(action="purge_item")
    assert [(row.actor, json.loads(row.details)["item"]) for row in purges] == [("system", OTHER), ("system", ITEM)]
    assert key not in publish.held_keys()


def test_an_item_that_was_never_public_comes_back_too(platform: Platform, publish: Publishing, clock: Clock) -> None:
    key = data_key(platform)
    platform.catalog.delete_item(RASTERS, OTHER)
    told = take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE)
    assert (told.releases, told.left_catalogue) == ((), True)
    publish.restore_item(APPROVER, RASTERS, ITEM, reason="It was right.")
    with pytest.raises(Conflict, match="in the catalogue"):
        publish.restore_item(APPROVER, RASTERS, ITEM, reason="Again.")
    take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE, name="again")
    clock.now += UNDO_S
    with pytest.raises(NotFound, match="30 days"):
        publish.restore_item(APPROVER, RASTERS, ITEM, reason="Too late.")
    assert publish.purge().keys == (key,)
    assert platform.zones.internal.size(key) is None


def test_what_was_restored_meanwhile_keeps_its_objects(platform: Platform, publish: Publishing) -> None:
    release = published(platform, publish)
    with running(platform, "withdraw") as run:
        plan = publish.plan_withdrawal(RASTERS, ITEM, dry_run=False, reason="No.")
        hidden = publish.hide(run, plan)
        withdrawn = publish.get(release.id)
        publish.restore(APPROVER, release.id, revision=withdrawn.revision, reason="Yes.")
        assert publish.remove(run, plan, hidden).objects == 0
    assert public_files(platform) >= WHOLE


def test_what_has_had_its_time_is_withdrawn_by_itself(platform: Platform, publish: Publishing, clock: Clock) -> None:
    release = published(platform, publish, withdraw_after=NOW + DAY_S)
    assert publish.do_due().withdrawn == ()
    clock.now += DAY_S
    assert publish.is_due()
    assert publish.do_due().withdrawn == (release.id,)
    assert publish.do_due().withdrawn == ()
    (run,) = platform.runs.list(pipeline="withdraw")
    assert (run.parameters["version"], run.parameters["asked_by"]["id"]) == (1, "system")


def test_on_postgresql_it_is_the_same(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("new_pgstac_url")()
    platform = geoetl.connect(tmp_path / "home", database={"url": url})
    raster(platform, tmp_path / "home" / "files", ITEM)
    publish = replace(platform.publish, repository=ReleaseRepository(platform.database, clock), make_probe=Blind)
    release, key = published(platform, publish), data_key(platform)
    assert public_files(platform) == WHOLE | INDEX
    told = take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE)
    assert (told.objects, platform.catalog.collections(), public_files(platform)) == (2, [], {"catalog.json"})
    restored = publish.restore(APPROVER, release.id, revision=publish.get(release.id).revision, reason="It was right.")
    bring(platform, publish, restored, "again")
    assert (data_key(platform), public_files(platform)) == (key, WHOLE | INDEX)
    take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE, name="again")
    clock.now += UNDO_S
    assert publish.purge().keys == (key,)
    assert verify(publish.audit.rows(), publish.anchor.read()).is_intact
    platform.database.dispose()


def test_a_copy_whose_process_is_gone_is_taken_up_by_another_run(platform: Platform, publish: Publishing) -> None:
    release = approved(publish)
    with running(platform, "publish") as run:
        publish.begin(run, release.id)
    assert platform.runs.get(run.id).state is RunState.INTERRUPTED
    assert bring(platform, publish, release, "another").version == 1
    assert [row.action for row in publish.audit.rows()][-3:] == ["fail_copy", "begin_copy", "finish_copy"]


# -- who may -----------------------------------------------------------------------------------------------------------


def test_who_asks_for_a_withdrawal_is_not_theirs_to_say(platform: Platform, publish: Publishing) -> None:
    published(platform, publish)
    asked = {"collection": RASTERS, "item": ITEM, "asked_by": {"id": "someone-else"}}
    with pytest.raises(Forbidden, match="approver"):
        platform.submit("withdraw", asked, principal=AUTHOR)
    run = platform.submit("withdraw", asked, principal=APPROVER)
    assert run.parameters["asked_by"] == {"id": "06ben", "name": "Ben", "role": "approver", "via": "cookie"}
    viewer = Principal("06v", "Vera", Role.VIEWER, Via.COOKIE)
    with pytest.raises(Forbidden, match="editor"):
        platform.submit("publish", {"release_id": "x"}, principal=viewer)


def test_the_same_withdrawal_asked_for_twice_is_one_run(platform: Platform, publish: Publishing) -> None:
    published(platform, publish)
    runs = [publish.withdraw(APPROVER, RASTERS, ITEM, reason="The licence has ended.").id for _ in range(2)]
    assert runs[0] == runs[1]
    with pytest.raises(InvalidParameter):
        publish.withdraw(APPROVER, RASTERS, ITEM, reason=" ")


# -- as notebooks ------------------------------------------------------------------------------------------------------


def test_the_notebooks_publish_and_withdraw(platform: Platform) -> None:
    release = approved(platform.publish)
    done = platform.run("publish", {"release_id": release.id})
    assert done.error is None
    assert isinstance(done.result, dict)
    assert (done.result["version"], done.result["objects"]) == (1, 1)
    assert public_files(platform) >= WHOLE
    gone = platform.run("withdraw", {"collection": RASTERS, "item": ITEM, "dry_run": False, "reason": "No."})
    assert gone.error is None
    assert isinstance(gone.result, dict)
    assert gone.result["objects"] == 2
    assert publish_rows(platform)[-1] == ("withdraw", "local")
    assert not public_files(platform) & WHOLE


def publish_rows(platform: Platform) -> list[tuple[str, str]]:
    """Return action and actor of every row of the log."""
    return [(row.action, row.actor) for row in platform.publish.audit.rows()]


def data_key_of(item: dict[str, Any], platform: Platform) -> str:
    """Return the key of an item's object."""
    return platform.zones.locate(item["assets"]["data"]["href"])[1]
