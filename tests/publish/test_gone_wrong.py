"""What must not happen where something goes wrong, is late, or happens at the same time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import geoetl
from geoetl.core.errors import Conflict, InvalidParameter, Unavailable, VerificationFailed
from geoetl.core.findings import Finding, Severity
from geoetl.platform import Platform
from geoetl.publish.copiers.protocol import Copier, Transfer
from geoetl.publish.delivery import Delivery
from geoetl.publish.keeping import overlapping
from geoetl.publish.model import UNDO_S, Clearance, Manifest, ManifestObject, Release, State
from geoetl.publish.publishing import Publishing
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Content
from geoetl.publish.withdrawal import Scope
from geoetl.runs.model import RunState
from geoetl.runs.queue import Ending
from geoetl.store.staging import Staging
from tests.publish.outside import RASTERS, raster
from tests.publish.releasing import APPROVER, AUTHOR, NOW, Clock
from tests.publish.running import Blind, bring, claimed, running, take_back

ITEM = "hill"
HOUR_S, DAY_S = 3600.0, 86_400.0
# Where the kind of database does not matter, one is enough.
ON_SQLITE = pytest.mark.parametrize("platform", ["sqlite"], indirect=True)


class Strict:
    """Finds a fault in whatever is published."""

    def look(self, manifest: object) -> tuple[Finding, ...]:
        """Find it."""
        return (Finding(code="probe", severity=Severity.ERROR, message="It leads inside."),)


@pytest.fixture
def clock() -> Clock:
    """Give the clock of publishing."""
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Platform]:
    """Give a platform with one item, with a database of each kind."""
    home = tmp_path / "home"
    if request.param == "sqlite":
        made = geoetl.connect(home)
    else:
        made = geoetl.connect(home, database={"url": request.getfixturevalue("new_pgstac_url")()})
    raster(made, tmp_path / "home" / "files", ITEM)
    yield made
    made.database.dispose()


@pytest.fixture
def publish(platform: Platform, clock: Clock) -> Publishing:
    """Give its publishing, with a clock that stands, and without what opens the published things."""
    repository = ReleaseRepository(platform.database, clock)
    return replace(platform.publish, repository=repository, make_probe=Blind)


def approved(publish: Publishing, release: Release | None = None, **said: float) -> Release:
    """Approve a release, or the item as it is."""
    one = release or publish.submit(AUTHOR, RASTERS, ITEM, **said)  # type: ignore[arg-type]
    return publish.approve(APPROVER, one.id, revision=one.revision, manifest_digest=one.manifest_digest)


def retitled(platform: Platform, title: str) -> None:
    """Register the item anew."""
    item = platform.catalog.item(RASTERS, ITEM)
    platform.catalog.upsert_items([{**item, "properties": {**item["properties"], "title": title}}])


def visible(platform: Platform) -> set[str]:
    """Return what of the items lies where a web server finds it."""
    root = platform.settings.home / "external"
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("audit/", ".incoming/", "catalog.json"))}


def test_what_failed_behind_its_copy_is_not_there_for_who_guesses_its_address(
    platform: Platform, publish: Publishing
) -> None:
    release = approved(publish)
    with pytest.raises(VerificationFailed, match="leads inside"):
        bring(platform, replace(publish, make_probe=Strict), release)
    failed = publish.get(release.id)
    assert (failed.state, visible(platform)) == (State.COPY_FAILED, set())
    assert [
        row[1] for row in platform.zones.external.artifacts.of_owner(f"{RASTERS}/{ITEM}") if row[0] == "external"
    ] == []
    # What has arrived is kept for the next try, out of sight.
    with running(platform, "publish", "again") as run:
        assert publish.deliver(run, publish.begin(run, release.id)).resumed == 2
        publish.failed(release.id, run.id, "The machine was needed.")
    failed = publish.get(release.id)
    publish.revoke(APPROVER, release.id, revision=failed.revision, reason="It is not right.")
    assert visible(platform) == set()


@ON_SQLITE
def test_what_has_had_its_time_when_its_copy_ends_does_not_become_public(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    release = approved(publish, withdraw_after=NOW + HOUR_S)
    with running(platform, "publish") as run:
        begun = publish.begin(run, release.id)
        publish.deliver(run, begun)
        clock.now += HOUR_S
        with pytest.raises(Conflict, match="time of release"):
            publish.reveal(run, begun)
    assert (publish.get(release.id).state, visible(platform)) == (State.COPY_FAILED, set())


@ON_SQLITE
def test_a_clock_that_is_put_back_does_not_end_an_embargo(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    release = approved(publish, publish_after=NOW + HOUR_S)
    clock.now += 2 * HOUR_S
    with running(platform, "publish") as run:
        begun = publish.begin(run, release.id)
        publish.deliver(run, begun)
        clock.now = NOW
        with pytest.raises(Conflict, match="may not be published yet"):
            publish.reveal(run, begun)
    assert visible(platform) == set()


def test_an_item_that_was_submitted_meanwhile_does_not_leave_the_catalogue(
    platform: Platform, publish: Publishing
) -> None:
    with running(platform, "withdraw") as run:
        plan = publish.plan_withdrawal(RASTERS, ITEM, 0, "everywhere", dry_run=False, reason="No.")
        waiting = publish.submit(AUTHOR, RASTERS, ITEM)
        with pytest.raises(Conflict, match=rf"by now that is pending review: {waiting.id}"):
            publish.hide(run, plan)
    assert platform.catalog.item(RASTERS, ITEM)["id"] == ITEM


def test_what_was_registered_anew_while_a_withdrawal_was_down_is_what_comes_back(
    platform: Platform, publish: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(platform, "withdraw") as run:
        plan = publish.plan_withdrawal(RASTERS, ITEM, 0, "everywhere", dry_run=False, reason="No.")
        with monkeypatch.context() as broken:
            broken.setattr(type(publish), "_end", _away)
            with pytest.raises(Unavailable):
                publish.hide(run, plan)
        retitled(platform, "A newer hill")
        publish.hide(run, plan)
    publish.restore_item(APPROVER, RASTERS, ITEM, reason="It was right.")
    assert platform.catalog.item(RASTERS, ITEM)["properties"]["title"] == "A newer hill"


def _away(*given: object) -> None:
    raise Unavailable("The disk is full.")


def test_a_withdrawal_by_the_clock_that_failed_is_tried_again_and_so_is_one_that_was_asked_for(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    release = approved(publish, withdraw_after=NOW + HOUR_S)
    with claimed(platform) as run:
        begun = publish.begin(run, release.id)
        publish.deliver(run, begun)
        run.emit(publish.reveal(run, begun))
        platform.runs.queue.finish(Ending(run.id, run.attempt, result="{}"))
    clock.now += HOUR_S
    for again in (publish.do_due, lambda: publish.withdraw(APPROVER, RASTERS, ITEM, reason="Its time is over.")):
        again()
        with claimed(platform) as run:
            platform.runs.queue.finish(Ending(run.id, run.attempt, error=Conflict("It is in the way.").problem()))
        assert platform.runs.get(run.id).state is RunState.FAILED
        clock.now += HOUR_S
        again()
        assert platform.runs.get(run.id).state is RunState.QUEUED
        platform.runs.queue.cancel(run.id)


@ON_SQLITE
def test_what_is_being_removed_is_not_restored_at_the_same_time(platform: Platform, publish: Publishing) -> None:
    release = approved(publish)
    bring(platform, publish, release)
    (queued,) = platform.runs.list(pipeline="publish", state=RunState.QUEUED)
    platform.runs.queue.cancel(queued.id)
    publish.withdraw(APPROVER, RASTERS, ITEM, reason="No.")
    with claimed(platform) as run:
        plan = publish.plan_withdrawal(RASTERS, ITEM, dry_run=False, reason="No.")
        hidden = publish.hide(run, plan)
        gone = publish.get(release.id)
        with pytest.raises(Conflict, match="withdrawn at this moment"):
            publish.restore(APPROVER, release.id, revision=gone.revision, reason="Yes.")
        run.emit(publish.remove(run, plan, hidden))
        platform.runs.queue.finish(Ending(run.id, run.attempt, result="{}"))
    assert publish.restore(APPROVER, release.id, revision=gone.revision, reason="Yes.").state is State.APPROVED


@ON_SQLITE
def test_a_purge_leaves_folders_in_which_a_release_has_an_object(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    internal = platform.zones.internal
    folder = platform.settings.home / "files" / "cube.zarr"
    (folder / "c").mkdir(parents=True)
    (folder / "c" / "0").write_bytes(b"data")
    stored = internal.put_folder(folder, "cubes/cube.zarr", owner=f"{RASTERS}/{ITEM}")
    take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE)
    chunk = ManifestObject(
        source=f"internal://{stored.key}/c/0",
        target="cube.zarr/c/0",
        bytes=4,
        sha256="a" * 64,
        media_type="x/y",
        role="data",
    )
    needing = Manifest(collection=RASTERS, item="other", objects=(chunk,))
    publish.repository.create(AUTHOR, Content(needing, Clearance.PUBLIC))
    clock.now += UNDO_S
    assert stored.key not in publish.purge().keys
    assert internal.local_folder(stored.key).is_dir()
    assert overlapping({"a/b", "a/bc", "d"}, {"a/b/c", "d/e/f"}) == {"a/b", "d"}
    assert overlapping({"a/b/c", "ab"}, {"a"}) == {"a/b/c"}


@ON_SQLITE
def test_a_purge_leaves_what_was_written_anew(platform: Platform, publish: Publishing, clock: Clock) -> None:
    internal = platform.zones.internal
    _, key = platform.zones.locate(platform.catalog.item(RASTERS, ITEM)["assets"]["data"]["href"])
    clock.now = 1_000_000_000.0
    take_back(platform, publish, RASTERS, ITEM, 0, Scope.EVERYWHERE)
    # Another run has written the same object, and registers it in a moment.
    internal.put(internal.local_path(key), key, owner=f"{RASTERS}/{ITEM}")
    clock.now += UNDO_S
    assert publish.purge().keys == ()
    assert internal.size(key) is not None


@ON_SQLITE
def test_collections_that_are_links_to_another_folder_are_withdrawn(platform: Platform, publish: Publishing) -> None:
    bring(platform, publish, approved(publish))
    root, elsewhere = platform.settings.home / "external", platform.settings.home / "disk"
    (root / RASTERS).rename(elsewhere)
    (root / RASTERS).symlink_to(elsewhere)
    assert take_back(platform, publish, RASTERS, ITEM).objects == 2
    assert list(elsewhere.iterdir()) == []


@ON_SQLITE
@pytest.mark.parametrize(
    "address",
    [
        "https://anna:hunter2@example.org/x.tif",
        "https://account.blob.core.windows.net/c/x.tif?sv=2024-11-04&sig=abc%3D",
        "https://bucket.s3.amazonaws.com/x.tif?X-Amz-Credential=AKIA&X-Amz-Signature=abc",
        "https://storage.googleapis.com/b/x.tif?X-Goog-Signature=abc",
        "https://example.org/tiles/{z}/{x}/{y}?access_token=pk.abc",
    ],
)
def test_an_address_with_a_key_in_it_does_not_become_public(
    platform: Platform, publish: Publishing, address: str
) -> None:
    item = dict(platform.catalog.item(RASTERS, ITEM))
    platform.catalog.upsert_items([{**item, "links": [*item["links"], {"rel": "via", "href": address}]}])
    assert address not in publish.submit(AUTHOR, RASTERS, ITEM).manifest.model_dump_json()
    told = {**item, "properties": {**item["properties"], "description": f"Made from {address}"}}
    platform.catalog.upsert_items([told])
    with pytest.raises(VerificationFailed) as caught:
        publish.submit(AUTHOR, RASTERS, ITEM)
    assert (caught.value.field, address in caught.value.detail) == ("properties.description", False)


@ON_SQLITE
def test_only_objects_that_are_there_are_said_to_go(platform: Platform, publish: Publishing) -> None:
    approved(publish)
    plan = publish.plan_withdrawal(RASTERS, ITEM, force_approved=True)
    assert ([one.objects for one in plan.releases], plan.objects) == ([0], ())
    assert take_back(platform, publish, RASTERS, ITEM, force_approved=True).objects == 0


@ON_SQLITE
def test_what_is_approved_to_stay_inside_or_to_wait_is_not_due(
    platform: Platform, publish: Publishing, clock: Clock
) -> None:
    inside = publish.submit(AUTHOR, RASTERS, ITEM, clearance=Clearance.RESTRICTED)
    inside = approved(publish, inside)
    publish.do_due()
    assert not publish.is_due()
    clock.now += 400 * DAY_S
    assert not publish.is_due()
    assert publish.do_due().expired == ()
    publish.revoke(APPROVER, inside.id, revision=inside.revision, reason="It may be shown.")
    approved(publish, publish_after=clock.now + DAY_S)
    publish.do_due()
    assert not publish.is_due()
    clock.now += DAY_S
    assert publish.is_due()


def test_a_process_that_was_taken_for_dead_leaves_nothing_of_what_was_revoked_meanwhile(
    platform: Platform, publish: Publishing
) -> None:
    release = approved(publish)

    def stalled() -> Delivery:
        made = publish.make_delivery()
        return replace(made, copier=Stalling(made.copier, lambda: revoked_meanwhile(publish, release.id)))

    with running(platform, "publish") as run:
        slow = replace(publish, make_delivery=stalled)
        begun = slow.begin(run, release.id)
        with pytest.raises(Conflict, match="withdrawn by now"):
            slow.deliver(run, begun)
    assert (publish.get(release.id).state, visible(platform)) == (State.WITHDRAWN, set())


@dataclass
class Stalling:
    """A copier whose process stands still while others go on."""

    copier: Copier
    meanwhile: Callable[[], None]

    def bring(self, transfers: Sequence[Transfer], staging: Staging, tell: Callable[[int, int], None]) -> None:
        """Copy, after something has happened."""
        self.meanwhile()
        self.copier.bring(transfers, staging, tell)

    def cancel(self) -> None:
        """End at once."""
        self.copier.cancel()


def revoked_meanwhile(publish: Publishing, release_id: str) -> None:
    """Take its run for dead, and its approval back."""
    run_id = publish.get(release_id).run_id
    assert run_id is not None
    publish.failed(release_id, run_id, "The run that copied it is interrupted.")
    publish.revoke(APPROVER, release_id, revision=publish.get(release_id).revision, reason="It is not right.")


@ON_SQLITE
def test_what_would_be_withdrawn_before_anybody_sees_it_is_not_submitted(publish: Publishing) -> None:
    with pytest.raises(InvalidParameter) as caught:
        publish.submit(AUTHOR, RASTERS, ITEM, withdraw_after=NOW)
    assert (caught.value.field, bool(caught.value.hint)) == ("withdraw_after", True)
