"""What managed datasets withstand: odd tables, handlers that fail, places that change, and decisions in any order."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import geoetl
from geoetl.core.errors import ConfigurationError, Conflict, GeoetlError, InvalidParameter
from geoetl.core.identifiers import new_id
from geoetl.core.registry import Registry
from geoetl.datasets import UpdateRequest, UpdateStatus, VersionState
from geoetl.datasets.declared import read_definitions
from geoetl.datasets.model import SanityLimits
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Prepared, PreparedVector
from geoetl.datasets.sanity import look
from geoetl.datasets.scheduled import CheckDataset
from geoetl.datasets.serving import owner_of
from geoetl.datasets.version import ItemProfile, Profile
from geoetl.platform import Platform
from geoetl.runs.presence import Presence
from geoetl.runs.queue import Submission
from geoetl.runs.stage import Run
from geoetl.store.zones import StoredObject
from tests.datasets.played_handler import KEY, PLAYED, play, table
from tests.datasets.released import COLLECTION, ID, ITEM, Upkeep

TEN = [str(number) for number in range(10)]
NAN = float("nan")
SECRET = "s3cr3t-0123456789"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Upkeep]:
    """Give a dataset whose source is a table at hand."""
    platform = geoetl.connect(tmp_path / "home", allowed_roots=(tmp_path,))
    play(platform, table({KEY: TEN}))
    yield Upkeep.begin(platform, tmp_path / "drop", handler=PLAYED, keep_versions=1)
    platform.database.dispose()


def release(kept: Upkeep, columns: dict[str, Any], *, stamp: str | None = None, **options: Any) -> None:
    play(kept.platform, table(columns, **options), stamp=stamp or new_id())


def serve(kept: Upkeep, *values: str) -> None:
    """Serve a version for each value."""
    for value in values:
        release(kept, {KEY: TEN, "v": [value, *TEN[1:]]}, stamp=value)
        assert kept.update().status is UpdateStatus.COMPLETED


# -- odd tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "counted"),
    [
        pytest.param({KEY: [*range(10)]}, {KEY: [float(n) for n in range(10)]}, (0, 0, 0), id="key_becomes_double"),
        pytest.param(
            {KEY: TEN, "n": [*range(10)]}, {KEY: TEN, "n": [*map(float, range(9)), None]}, (0, 1, 0), id="gap"
        ),
        pytest.param({KEY: [None, *TEN[1:]]}, {KEY: [None, *TEN[1:]]}, (0, 0, 0), id="null_key"),
        pytest.param({KEY: TEN, "v": [0.0] * 10}, {KEY: TEN, "v": [-0.0] * 10}, (0, 0, 0), id="negative_zero"),
        pytest.param({KEY: TEN, "v": [NAN] * 10}, {KEY: TEN, "v": [NAN] * 10}, (0, 0, 0), id="nan"),
        pytest.param({KEY: TEN, "v": [2**53] * 10}, {KEY: TEN, "v": [2**53 + 1] * 10}, (0, 10, 0), id="big_integers"),
        pytest.param(
            {KEY: [dt.datetime(2020, 1, n + 1, tzinfo=dt.UTC) for n in range(10)], "v": TEN},
            {KEY: [dt.datetime(2020, 1, n + 1, tzinfo=dt.UTC) for n in range(10)], "v": ["x", *TEN[1:]]},
            (0, 1, 0),
            id="key_of_times",
        ),
    ],
)
def test_rows_are_recognised_by_their_values(
    kept: Upkeep, before: dict[str, Any], after: dict[str, Any], counted: tuple[int, int, int]
) -> None:
    release(kept, before)
    kept.update()
    release(kept, after)
    outcome = kept.update()
    assert (outcome.records_added, outcome.records_updated, outcome.records_deleted) == counted


def test_the_columns_that_changed_are_named_whatever_they_are_called_and_hold(kept: Upkeep) -> None:
    def columns(value: str) -> dict[str, Any]:
        return {
            KEY: TEN,
            **{name: [value] * 10 for name in ("change", "item", "key", "columns", "ünï")},
            "f": [NAN] * 10,
            "l": [[1, 2]] * 10,
            "s": [{"a": NAN, "b": [1]}] * 10,
            "u": pa.array([2**64 - 1] * 10, pa.uint64()),
        }

    release(kept, columns("1"))
    kept.update()
    release(kept, columns("2"))
    changed = kept.platform.datasets.changed(ID, kept.update().number)
    assert changed is not None
    assert set(changed["columns"]) == {"change, item, key, columns, ünï"}


@pytest.mark.parametrize("values", [[[n] for n in range(10)], [b"\xff\xfe"] * 10], ids=["list", "binary"])
def test_a_key_that_tells_nothing_apart_is_refused_by_its_name(kept: Upkeep, values: list[Any]) -> None:
    release(kept, {KEY: values})
    with pytest.raises(InvalidParameter, match="column 'id' holds"):
        kept.update()


def test_of_many_features_that_all_changed_all_are_counted_and_ten_thousand_shown(kept: Upkeep) -> None:
    keys = [str(number) for number in range(11_000)]
    for value in ("a", "b"):
        release(kept, {KEY: keys, "v": [value] * len(keys)})
        outcome = kept.update()
    assert outcome.records_updated == len(keys)
    changed = kept.platform.datasets.changed(ID, outcome.number)
    assert changed is not None and len(changed) == 10_000


def test_whom_to_name_reaches_the_item_although_no_row_changed(kept: Upkeep) -> None:
    serve(kept, "a")
    repository = kept.platform.datasets.repository
    repository.change(repository.get(ID).definition.model_copy(update={"attribution": "Somebody else"}))
    assert kept.update(force_update=True).status is UpdateStatus.COMPLETED
    assert kept.platform.catalog.item(COLLECTION, ITEM)["properties"]["attribution"] == "Somebody else"
    assert kept.update(force_update=True).status is UpdateStatus.SKIPPED


# -- the gate ----------------------------------------------------------------------------------------------------------


def profile(rows: int = 100, invalid: int = 0, bbox: tuple[float, float, float, float] = (0, 0, 10, 10)) -> Profile:
    data = StoredObject(zone="internal", key="a", sha256="0" * 64, bytes=1)
    item = ItemProfile(
        item=ITEM, rows=rows, rows_read=rows, invalid=invalid, bbox=bbox, columns={}, data=data, index=data
    )
    return Profile(items=(item,))


@pytest.mark.parametrize(
    ("limits", "old", "new", "found"),
    [
        (SanityLimits(min_valid=0.93), None, profile(invalid=7), []),
        (SanityLimits(min_valid=0.93), None, profile(invalid=8), ["invalid_geometries"]),
        (SanityLimits(max_drop=0.3), profile(10), profile(7), []),
        (SanityLimits(max_drop=0.3), profile(10), profile(6), ["rows_dropped"]),
        (SanityLimits(max_growth=0.1), profile(10), profile(11), []),
        (SanityLimits(max_growth=0), profile(10), profile(11), ["rows_grown"]),
        (SanityLimits(), profile(bbox=(177, -20, -179, 0)), profile(bbox=(177, -20, 180, 0)), ["bbox_moved"]),
        (SanityLimits(), profile(bbox=(170, -20, 180, 0)), profile(bbox=(170, -20, -179.5, 0)), []),
        (SanityLimits(), profile(bbox=(170, -20, -179.5, 0)), profile(bbox=(170, -20, 180, 0)), []),
        (SanityLimits(), profile(bbox=(-180, -90, 180, 90)), profile(bbox=(175, -90, 180, 90)), ["bbox_moved"]),
        (SanityLimits(), profile(bbox=(5, 5, 5, 5)), profile(bbox=(5, 5, 5, 5)), []),
    ],
)
def test_limits_hold_what_is_beyond_them_and_not_what_is_at_them(
    limits: SanityLimits, old: Profile | None, new: Profile, found: list[str]
) -> None:
    assert [finding.code for finding in look(limits, (), old, new)] == found


# -- handlers that fail ------------------------------------------------------------------------------------------------


def names(file: str, suffix: str = "") -> Callable[[Task], Iterator[Prepared]]:
    def make(task: Task) -> Iterator[Prepared]:
        yield PreparedVector(file=file, title="Odd", key=KEY, suffix=suffix)

    return make


@pytest.mark.parametrize("file", ["../../../outside.parquet", "{outside}", "nothing.parquet", "."])
def test_a_file_that_a_handler_did_not_make_is_neither_read_nor_removed(
    kept: Upkeep, tmp_path: Path, file: str
) -> None:
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"mine")
    (tmp_path / "home" / "outside.parquet").write_bytes(b"mine")
    play(kept.platform, names(file.format(outside=outside)))
    with pytest.raises(InvalidParameter, match="has made no file"):
        kept.update()
    assert outside.read_bytes() == b"mine" and (tmp_path / "home" / "outside.parquet").exists()


def test_an_item_of_another_datasets_name_is_refused(kept: Upkeep) -> None:
    release(kept, {KEY: TEN}, suffix="2")
    with pytest.raises(InvalidParameter, match="made an item that ends in '2'"):
        kept.update()


def test_items_that_differ_in_capitals_only_are_refused(kept: Upkeep) -> None:
    def make(task: Task) -> Iterator[Prepared]:
        yield from table({KEY: TEN}, suffix="_a")(task)
        yield from table({KEY: TEN}, suffix="_A")(task)

    play(kept.platform, make)
    with pytest.raises(InvalidParameter, match="twice"):
        kept.update()


@pytest.mark.parametrize(
    "error", [RuntimeError(f"GET https://host/data?key={SECRET}"), InvalidParameter("no", hint=f"ask with {SECRET}")]
)
def test_a_credential_in_what_a_handler_throws_reaches_no_log(kept: Upkeep, error: Exception) -> None:
    def make(task: Task) -> Iterator[Prepared]:
        raise error
        yield

    play(kept.platform, make)
    datasets = kept.platform.datasets
    kept.platform.__dict__["datasets"] = replace(datasets, environment={"PLAYED_TOKEN": SECRET})
    definition = datasets.repository.get(ID).definition
    datasets.repository.change(definition.model_copy(update={"credential_key": "PLAYED"}))
    with pytest.raises(Exception, match=r".") as told:
        kept.update()
    told_of = [str(told.value), repr(told.value), str(told.value.__cause__), str(kept.platform.runs.list())]
    told_of += [record.model_dump_json() for record in datasets.repository.history(ID)]
    for run in kept.platform.runs.list():
        told_of += [event.model_dump_json() for event in kept.platform.runs.events(run.id)]
    assert not [text for text in told_of if SECRET in text]
    assert datasets.repository.history(ID)[0].status is UpdateStatus.FAILED


@pytest.mark.parametrize("is_enabled", [True, False])
def test_whatever_a_handler_throws_at_a_scheduled_look_is_in_the_log_unless_it_was_disabled(
    kept: Upkeep, is_enabled: bool
) -> None:
    datasets = kept.platform.datasets

    class Broken(datasets.handlers[PLAYED]):  # type: ignore[name-defined, misc]
        def check(self, task: Task) -> Any:
            raise KeyError("/srv/of/nobody.json")

    kept.platform.__dict__["datasets"] = replace(datasets, handlers=Registry("handler", {PLAYED: Broken}))
    datasets.repository.enable(ID, is_enabled)
    run = interactive(kept.platform)
    looking = CheckDataset(dataset_id=ID)
    if not is_enabled:
        assert looking(run, kept.platform).reason == "It is not enabled any more."
        return
    with pytest.raises(KeyError):
        looking(run, kept.platform)
    (latest,) = datasets.repository.history(ID)
    assert latest.status is UpdateStatus.FAILED
    assert "KeyError" in str(latest.error_message) and "/srv" not in str(latest.error_message)


def interactive(platform: Platform) -> Run:
    """Begin a run as a notebook does that is executed by hand."""
    claim = platform.runs.queue.begin(
        Submission("interactive", {}, new_id(), f"interactive/{new_id()}"), Presence(platform.runs.queue).id
    )
    return Run(claim.run_id, claim.attempt, platform.runs, platform.zones, platform.settings.dask, interactive=True)


# -- beside each other -------------------------------------------------------------------------------------------------


def test_what_a_notebook_by_hand_is_making_is_not_swept_away_by_another_update(kept: Upkeep) -> None:
    serve(kept, "a")
    datasets, request = kept.platform.datasets, UpdateRequest(dataset_id=ID)
    release(kept, {KEY: TEN, "v": ["b", *TEN[1:]]}, stamp="b")
    run = interactive(kept.platform)
    datasets = kept.platform.datasets
    checked = datasets.check(request, run.id)
    candidate = datasets.process(request, checked, datasets.fetch(request, checked, run.id), None, run.id)
    before = kept.objects()
    assert datasets.sweep(datasets.repository.get(ID)) == 0
    assert kept.objects() == before
    with pytest.raises(Conflict, match="is being executed"):
        datasets.delete(ID)
    assert datasets.finalise(run, request, checked, candidate).status is UpdateStatus.COMPLETED


def test_a_version_one_of_whose_objects_is_gone_is_not_served(kept: Upkeep) -> None:
    serve(kept, "a")
    release(kept, {KEY: TEN, "v": ["b", *TEN[1:]]}, stamp="b")
    datasets, request, run = kept.platform.datasets, UpdateRequest(dataset_id=ID), interactive(kept.platform)
    checked = datasets.check(request, run.id)
    candidate = datasets.process(request, checked, datasets.fetch(request, checked, run.id), None, run.id)
    datasets.zone.delete(next(key for key in kept.objects() if key.endswith(".pmtiles") and key in str(candidate)))
    with pytest.raises(Conflict, match="not there any more"):
        datasets.finalise(run, request, checked, candidate)
    assert datasets.repository.get(ID).live_version == 1
    assert datasets.repository.history(ID)[0].status is UpdateStatus.FAILED


def test_a_version_that_was_made_for_another_place_is_not_served(kept: Upkeep) -> None:
    release(kept, {KEY: TEN})
    datasets, request, run = kept.platform.datasets, UpdateRequest(dataset_id=ID), interactive(kept.platform)
    checked = datasets.check(request, run.id)
    candidate = datasets.process(request, checked, datasets.fetch(request, checked, run.id), None, run.id)
    definition = datasets.repository.get(ID).definition
    datasets.repository.change(definition.model_copy(update={"target_schema": "elsewhere"}))
    with pytest.raises(Conflict):
        datasets.finalise(run, request, checked, candidate)
    assert not kept.platform.catalog.collections()


def test_a_dataset_whose_first_version_is_held_keeps_its_place(kept: Upkeep) -> None:
    release(kept, {KEY: ["same"] * 10})
    assert kept.update().status is UpdateStatus.HELD
    repository = kept.platform.datasets.repository
    with pytest.raises(Conflict, match="has data"):
        repository.change(repository.get(ID).definition.model_copy(update={"target_schema": "elsewhere"}))


def test_going_back_leads_to_what_was_live_before_and_not_to_what_was_gone_back_from(kept: Upkeep) -> None:
    datasets = kept.platform.datasets
    serve(kept, "a", "bad")
    assert datasets.rollback(ID).number == 1
    # What was live until now stays, although one that was gone back from is newer; `keep_versions` is 1.
    serve(kept, "c")
    kept.platform.datasets.sweep(datasets.repository.get(ID))
    states = {version.number: version.state for version in datasets.repository.versions(ID)}
    assert states == {3: VersionState.LIVE, 2: VersionState.REMOVED, 1: VersionState.KEPT}
    assert datasets.rollback(ID).number == 1
    assert len(kept.platform.open(COLLECTION, ITEM)) == 10
    # And forth.
    assert datasets.rollback(ID).number == 3


def test_objects_that_versions_share_stay_as_long_as_one_of_them_does(kept: Upkeep) -> None:
    serve(kept, "a", "b", "a2")
    release(kept, {KEY: TEN, "v": ["b", *TEN[1:]]}, stamp="b again")
    kept.update()
    states = [version.state for version in kept.platform.datasets.repository.versions(ID)]
    assert states == ["live", "kept", "removed", "removed"]
    assert kept.platform.open(COLLECTION, ITEM)["v"].iloc[0] == "b"
    assert kept.platform.vector_tiles.tile(COLLECTION, ITEM, 0, 0, 0)


def test_the_objects_of_a_dataset_that_differs_in_capitals_are_anothers(kept: Upkeep, tmp_path: Path) -> None:
    serve(kept, "a")
    path = tmp_path / "mine"
    path.write_text("mine")
    artifacts = kept.platform.zones.internal.artifacts
    kept.platform.zones.internal.put(path, "vectors/x/y", owner=f"{COLLECTION}/{ITEM.upper()}_POINTS")
    assert "vectors/x/y" not in artifacts.keys_under("internal", owner_of(kept.platform.datasets.repository.get(ID)))
    with pytest.raises(Conflict, match="is taken"):
        Upkeep.begin(kept.platform, tmp_path / "drop", "other", target_table_name="curated_COUNTRIES_x")


def test_a_clock_that_is_set_back_makes_no_negative_durations(kept: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = kept.platform.datasets.repository
    repository.begin_update(ID, "run", UpdateRequest(dataset_id=ID).update_type)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    repository.note_update(ID, "run", UpdateStatus.COMPLETED)
    assert repository.history(ID)[0].duration_seconds == 0


# -- declarations ------------------------------------------------------------------------------------------------------

_DECLARED = (
    "name: X\nhandler: admin0\nsource_type: manual\nsource_url: /x\ntarget_table_name: curated_x\n"
    "license: CC0-1.0\nattribution: Somebody\n"
)


@pytest.mark.parametrize(
    ("further", "told"),
    [
        ("source_config: {a: &a [x, x], b: &b [*a, *a], c: [*b, *b]}\n", "aliases"),
        ("source_config: {a: " + "[" * 1000 + "]" * 1000 + "}\n", "too deep"),
        ("description: " + "x" * 300_000 + "\n", "200,000 characters"),
        ("dataset_id: y\n", "declares 'y'"),
        ("target_table_name: curated_../x\n", "not a valid target_table_name"),
        ("target_schema: 'a%2fb'\n", "not a valid target_schema"),
        ("update_schedule: 0 0 30 2 *\n", "no cron expression"),
        ("source_config: !!python/object/apply:os.system [id]\n", "is not YAML"),
    ],
)
def test_a_hostile_declaration_is_refused_with_the_name_of_its_file(tmp_path: Path, further: str, told: str) -> None:
    (tmp_path / "x.yaml").write_text(_DECLARED + further)
    with pytest.raises(ConfigurationError, match=told) as error:
        read_definitions(tmp_path)
    assert "x.yaml" in error.value.detail and str(tmp_path) not in error.value.detail


@pytest.mark.parametrize("address", ["file:///etc/passwd", "/etc/passwd", "/etc", "link", "/vsizip/x"])
def test_a_source_outside_of_the_allowed_folders_is_not_read(kept: Upkeep, address: str) -> None:
    (kept.drop / "countries.geojson").symlink_to("/etc/passwd")
    (kept.drop.parent / "link").symlink_to("/etc")
    address = str(kept.drop.parent / "link") if address == "link" else address
    datasets = kept.platform.datasets
    definition = datasets.repository.get(ID).definition
    datasets.repository.change(definition.model_copy(update={"source_url": address, "handler": "admin0"}))
    kept.platform.__dict__.pop("datasets")
    with pytest.raises(GeoetlError) as told:
        kept.update()
    assert "root:" not in str(told.value)
