"""Updates of a managed dataset: what is new is served whole, what is suspicious is held, and nothing is lost."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import geoetl
from geoetl.core.errors import Conflict, GeoetlError, ManagedData, NotFound, Unavailable, UnreadableFile
from geoetl.datasets import UpdateStatus, VersionState
from geoetl.store.catalog import Search
from tests.datasets.released import COLLECTION, ID, ITEM, Upkeep, country, lands


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upkeep]:
    """Give a dataset with ten countries, before its first update."""
    further: dict[str, Any] = {}
    if request.param == "postgresql":
        further["database"] = {"url": request.getfixturevalue("pgstac_url")}
    platform = geoetl.connect(tmp_path / "home", allowed_roots=(tmp_path,), **further)
    upkeep = Upkeep.begin(platform, tmp_path / "drop", keep_versions=2)
    upkeep.release(lands(10))
    yield upkeep
    platform.database.dispose()


def test_the_first_release_becomes_the_first_version(kept: Upkeep) -> None:
    outcome = kept.update()
    assert (outcome.status, outcome.number, outcome.records_added, outcome.records_total) == ("completed", 1, 10, 10)
    assert list(kept.served()["name"]) == [f"Land {number}" for number in range(10)]
    item = kept.platform.catalog.item(COLLECTION, ITEM)
    assert item["properties"]["geoetl:dataset"] == ID
    assert item["properties"]["license"] == "CC0-1.0"
    assert item["properties"]["attribution"] == "Made with Natural Earth"
    assert kept.platform.styles.default(f"{COLLECTION}:{ITEM}") is not None
    dataset = kept.platform.datasets.repository.get(ID)
    assert (dataset.live_version, dataset.source_version) == (1, outcome.source_version)
    assert dataset.last_checked_at and dataset.last_updated_at and dataset.last_job_id


def test_an_unchanged_source_is_skipped_and_nothing_is_fetched(kept: Upkeep) -> None:
    kept.update()
    before = kept.objects()
    outcome = kept.update()
    assert outcome.status is UpdateStatus.SKIPPED
    assert outcome.reason.startswith("The source still has")
    assert kept.objects() == before
    skipped, first = kept.platform.datasets.repository.history(ID)
    assert (skipped.status, first.status) == (UpdateStatus.SKIPPED, UpdateStatus.COMPLETED)
    assert skipped.completed_at is not None and first.duration_seconds is not None


def test_the_same_content_in_another_file_is_no_new_version(kept: Upkeep) -> None:
    kept.update()
    kept.release(list(reversed(lands(10))))
    outcome = kept.update()
    assert outcome.status is UpdateStatus.SKIPPED
    assert "same content" in outcome.reason
    assert len(kept.platform.datasets.repository.versions(ID)) == 1
    assert kept.update().reason.startswith("The source still has")


def test_what_differs_is_counted_and_shown(kept: Upkeep) -> None:
    kept.update()
    features = lands(11)[1:]
    features[3]["properties"]["NAME"] = "Another name"
    features[5]["geometry"] = country(90)["geometry"]
    kept.release(features)
    outcome = kept.update()
    assert (outcome.records_added, outcome.records_updated, outcome.records_deleted) == (1, 2, 1)
    changed = kept.platform.datasets.changed(ID, outcome.number)
    assert changed is not None
    rows = {row.key: (row.change, row.columns) for row in changed.itertuples()}
    assert rows == {
        "AAA": ("deleted", ""),
        "AAE": ("updated", "name"),
        "AAG": ("updated", "geometry"),
        "AAK": ("added", ""),
    }
    assert kept.served().loc["AAE", "name"] == "Another name"


def suspicious(change: Callable[[list[dict[str, Any]]], Any], told: str) -> Any:
    return pytest.param(change, told, id=told)


def _retype(features: list[dict[str, Any]]) -> None:
    for feature in features:
        feature["properties"]["POP"] = "many"


def _rename(features: list[dict[str, Any]]) -> None:
    for feature in features:
        feature["properties"]["ISO_N3_NEW"] = feature["properties"].pop("NAME")


def _repeat(features: list[dict[str, Any]]) -> None:
    features[1]["properties"]["ADM0_A3"] = features[0]["properties"]["ADM0_A3"]


def _break(features: list[dict[str, Any]]) -> None:
    bow = [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]
    features[0]["geometry"]["coordinates"] = [bow]


def _to_points(features: list[dict[str, Any]]) -> None:
    for feature in features:
        feature["geometry"] = {"type": "Point", "coordinates": feature["geometry"]["coordinates"][0][0]}


def _move(features: list[dict[str, Any]]) -> None:
    features[0]["geometry"]["coordinates"] = [[[170, 80], [171, 80], [171, 81], [170, 80]]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        suspicious(lambda features: features.__delitem__(slice(0, 5)), "rows_dropped"),
        suspicious(lambda features: features.extend(country(n) for n in range(10, 25)), "rows_grown"),
        suspicious(_retype, "columns_retyped"),
        suspicious(_rename, "missing_column"),
        suspicious(_repeat, "repeated_keys"),
        suspicious(_break, "invalid_geometries"),
        suspicious(_to_points, "geometry_types"),
        suspicious(_move, "bbox_moved"),
    ],
)
@pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
def test_a_suspicious_release_is_held_and_the_version_before_keeps_serving(
    kept: Upkeep, change: Callable[[list[dict[str, Any]]], Any], told: str
) -> None:
    kept.update()
    before = kept.served()
    features = lands(10)
    change(features)
    kept.release(features)
    outcome = kept.update()
    assert outcome.status is UpdateStatus.HELD
    assert told in {finding.code for finding in outcome.findings if finding.severity == "error"}
    assert outcome.reason.startswith("Held for a person to look at:")
    assert kept.served().equals(before)
    assert kept.platform.datasets.repository.get(ID).live_version == 1
    assert kept.platform.datasets.repository.history(ID)[0].status is UpdateStatus.HELD
    # The night after, nothing is fetched: it waits for somebody.
    again = kept.update()
    assert again.status is UpdateStatus.SKIPPED
    assert "is held and waits for a decision" in again.reason


def test_a_held_version_is_served_when_somebody_accepts_it(kept: Upkeep) -> None:
    kept.update()
    kept.release(lands(4))
    held = kept.update()
    assert held.number == 2 and len(kept.served()) == 10
    accepted = kept.platform.datasets.accept(ID, 2, by="ada", reason="They merged.")
    assert (accepted.state, accepted.decided_by, accepted.reason) == (VersionState.LIVE, "ada", "They merged.")
    assert len(kept.served()) == 4
    assert kept.platform.datasets.repository.version(ID, 1).state is VersionState.KEPT
    with pytest.raises(Conflict, match="is live, not held"):
        kept.platform.datasets.accept(ID, 2)


def test_a_rejected_release_is_not_fetched_again_and_its_objects_go(kept: Upkeep) -> None:
    kept.update()
    before = kept.objects()
    kept.release(lands(4))
    kept.update()
    assert kept.objects() > before
    kept.platform.datasets.reject(ID, 2, by="ada", reason="Half of it is missing.")
    assert kept.objects() == before
    assert "was rejected" in kept.update().reason
    kept.release(lands(11))
    assert kept.update().status is UpdateStatus.COMPLETED


def test_a_held_version_whose_basis_is_gone_cannot_be_accepted(kept: Upkeep) -> None:
    kept.update()
    kept.release(lands(4))
    kept.update()
    kept.release(lands(11))
    assert kept.update().number == 3
    with pytest.raises(Conflict, match="no longer live"):
        kept.platform.datasets.accept(ID, 2)


def test_a_former_version_is_served_again_by_one_step(kept: Upkeep) -> None:
    kept.update()
    kept.release(lands(11))
    kept.update()
    version = kept.platform.datasets.rollback(ID, by="ada", reason="Land 10 is disputed.")
    assert (version.number, version.state) == (1, VersionState.LIVE)
    assert len(kept.served()) == 10
    # And forth.
    assert kept.platform.datasets.rollback(ID, 2).number == 2
    assert len(kept.served()) == 11


def test_the_first_version_has_none_to_go_back_to(kept: Upkeep) -> None:
    kept.update()
    with pytest.raises(NotFound, match="no former version"):
        kept.platform.datasets.rollback(ID)


def test_so_many_former_versions_are_kept_and_the_objects_of_others_go(kept: Upkeep) -> None:
    for count in range(10, 15):
        kept.release(lands(count))
        kept.update()
    states = {version.number: version.state for version in kept.platform.datasets.repository.versions(ID)}
    assert states == {1: "removed", 2: "removed", 3: "kept", 4: "kept", 5: "live"}
    assert sum(key.endswith("-index.parquet") for key in kept.objects()) == 3
    with pytest.raises(Conflict, match="is removed, not kept"):
        kept.platform.datasets.rollback(ID, 1)


def test_a_release_that_cannot_be_read_is_a_failure_with_its_reason(kept: Upkeep) -> None:
    kept.update()
    before = kept.served()
    (kept.drop / "ne_admin_0_countries.geojson").write_text("<html>Sorry</html>")
    with pytest.raises(GeoetlError) as told:
        kept.update()
    latest = kept.platform.datasets.repository.history(ID)[0]
    assert latest.status is UpdateStatus.FAILED
    assert latest.error_message == told.value.detail
    assert latest.completed_at is not None
    assert kept.served().equals(before)


def test_an_empty_folder_is_no_empty_dataset(kept: Upkeep) -> None:
    kept.update()
    (kept.drop / "ne_admin_0_countries.geojson").unlink()
    with pytest.raises((NotFound, Unavailable, UnreadableFile)):
        kept.update()
    assert len(kept.served()) == 10


@pytest.mark.parametrize("kept", ["postgresql"], indirect=True)
def test_a_full_disk_is_a_failed_run_and_the_version_before_keeps_serving(kept: Upkeep) -> None:
    kept.update()
    before = kept.served()
    kept.release(lands(11))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, no file of this process grows; the database is another process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(Unavailable, match=r"disk.* full"):
            kept.update()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    latest = kept.platform.datasets.repository.history(ID)[0]
    assert latest.status is UpdateStatus.FAILED and "full" in str(latest.error_message)
    assert kept.served().equals(before)
    assert kept.update().status is UpdateStatus.COMPLETED


def test_a_dry_run_downloads_nothing_and_says_what_would_happen(kept: Upkeep) -> None:
    kept.update()
    before = kept.objects()
    kept.release(lands(11))
    outcome = kept.update(dry_run=True)
    assert outcome.status is UpdateStatus.SKIPPED and outcome.reason.startswith("Dry run.")
    assert kept.objects() == before
    assert len(kept.platform.datasets.repository.history(ID)) == 1
    assert not list((kept.platform.settings.home / "downloads").rglob("*.geojson"))


def test_nothing_else_writes_into_the_collection(kept: Upkeep) -> None:
    kept.update()
    catalog = kept.platform.catalog
    item = catalog.item(COLLECTION, ITEM)
    for change in (
        lambda: catalog.delete_item(COLLECTION, ITEM),
        lambda: catalog.delete_collection(COLLECTION),
        lambda: catalog.upsert_items([dict(item)]),
        lambda: catalog.add_items([{**item, "id": "other"}]),
        lambda: catalog.change_item(COLLECTION, ITEM, lambda present: present),
        lambda: catalog.upsert_collection(dict(catalog.collection(COLLECTION))),
        lambda: catalog.change_collection(COLLECTION, lambda present: present),
    ):
        with pytest.raises(ManagedData, match="Only managed datasets"):
            change()
    assert len(catalog.search(Search(collections=(COLLECTION,))).items) == 1


def test_an_update_from_an_outdated_check_is_refused(kept: Upkeep) -> None:
    from geoetl.datasets import UpdateRequest

    kept.update()
    kept.release(lands(11))
    request = UpdateRequest(dataset_id=ID)
    checked = kept.platform.datasets.check(request)
    kept.update()
    with pytest.raises(Conflict, match="became live since"):
        kept.platform.datasets.fetch(request, checked)
