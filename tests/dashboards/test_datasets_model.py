"""The model of the page Datasets: look, check, update, compare, decide, pause, links."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import geoetl
from dashboards.datasets.feed import DatasetFeed
from dashboards.datasets.model import PAGE, DatasetsModel
from dashboards.datasets.standing import Standing, dataset_row
from geoetl.core.principal import Principal, Role, Via
from geoetl.datasets.model import VersionState
from geoetl.datasets.tables import datasets as table
from geoetl.platform import Platform
from tests.by_hand import HandWorker
from tests.datasets.released import ID, ITEM, Upkeep, country, lands

VIEWER = Principal("2", "Vera Viewer", Role.VIEWER, Via.COOKIE)
EDITOR = Principal("1", "Ada Editor", Role.EDITOR, Via.COOKIE)
APPROVER = Principal("4", "Abe Approver", Role.APPROVER, Via.COOKIE)
OPERATOR = Principal("3", "Olga Operator", Role.OPERATOR, Via.COOKIE)
DAILY = "0 2 * * *"


@pytest.fixture
def platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Give a platform where no file declares any dataset."""
    (home.parent / "managed").mkdir()
    monkeypatch.setenv("GEOETL_MANAGED", str(home.parent / "managed"))
    return geoetl.connect()


@pytest.fixture
def upkeep(platform: Platform) -> Upkeep:
    """Give a dataset whose source is a folder, looked at every day."""
    return Upkeep.begin(platform, platform.settings.home / "drop", update_schedule=DAILY)


def made(platform: Platform, principal: Principal = APPROVER) -> DatasetsModel:
    model = DatasetsModel(platform, DatasetFeed(platform), principal)
    model.load()
    return model


def opened(platform: Platform, principal: Principal = APPROVER) -> DatasetsModel:
    model = made(platform, principal)
    model.open(ID)
    assert model.opened is not None
    return model


def told(model: DatasetsModel) -> str:
    assert model.problem is not None
    return f"{model.problem.sentence} {model.problem.next_step}"


def state(model: DatasetsModel) -> Standing:
    model.load()
    assert model.datasets is not None
    found: Standing = model.datasets[0].state
    return found


def hold(upkeep: Upkeep) -> None:
    """Serve 40 rows, then hold a release of 20, of which one has another name, and one new."""
    upkeep.release(lands(40))
    upkeep.update()
    upkeep.release([*lands(20)[:-1], country(19, NAME="Renamed"), country(60)])
    assert upkeep.update().status == "held"


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


# -- how they stand ----------------------------------------------------------------------------------------------------


def test_without_datasets_there_are_none(platform: Platform) -> None:
    model = made(platform)
    assert (model.datasets, model.opened, model.problem) == ((), None, None)


def test_a_dataset_tells_in_a_word_how_it_stands(platform: Platform, upkeep: Upkeep) -> None:
    model = made(platform, OPERATOR)
    assert state(model) is Standing.UNMADE
    upkeep.release(lands(40))
    upkeep.update()
    assert state(model) is Standing.CURRENT
    model.open(ID)
    model.pause()
    assert state(model) is Standing.PAUSED
    model.resume()
    upkeep.release(lands(42))
    model.check()
    assert state(model) is Standing.AVAILABLE
    model.update()
    assert state(model) is Standing.UPDATING
    assert model.run is not None
    platform.runs.queue.cancel(model.run.id)
    upkeep.update()
    assert state(model) is Standing.CURRENT
    upkeep.release(lands(3))
    upkeep.update()
    assert state(model) is Standing.HELD


def test_a_source_that_was_not_asked_twice_when_it_should_have_been_is_stale(
    platform: Platform, upkeep: Upkeep
) -> None:
    upkeep.release(lands(40))
    upkeep.update()
    model = made(platform)
    for days, expected in ((0.5, Standing.CURRENT), (1.0, Standing.CURRENT), (4.0, Standing.STALE)):
        with platform.database.begin() as connection:
            connection.execute(sa.update(table).values(last_checked_at=time.time() - days * 86_400))
        assert state(model) is expected


def test_an_update_that_failed_says_why(platform: Platform, upkeep: Upkeep) -> None:
    (upkeep.drop / "ne_admin_0_countries.geojson").write_text("<html>sorry</html>")
    with pytest.raises(geoetl.core.errors.UnreadableFile):
        upkeep.update()
    model = opened(platform)
    assert state(model) is Standing.FAILED
    assert "web page" in model.opened.managed.note


def test_rows_tell_release_rows_licence_and_times(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    upkeep.update()
    row = dataset_row(made(platform).datasets[0])
    assert row["facts"].endswith("40 rows · CC0-1.0")
    assert time.time() - row["checked"] < 60
    assert time.time() - row["updated"] < 60
    assert row["next"].startswith("next look ") and row["next"].endswith("02:00 UTC")


def test_those_that_wait_for_a_person_come_first(platform: Platform, upkeep: Upkeep) -> None:
    Upkeep.begin(platform, platform.settings.home / "other", dataset_id="a", name="A", target_table_name="curated_a")
    hold(upkeep)
    assert [one.dataset.dataset_id for one in made(platform).datasets] == [ID, "a"]


# -- looking -----------------------------------------------------------------------------------------------------------


def test_decisions_and_pauses_of_others_come_by_themselves(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(platform, VIEWER)
    model.follow()
    platform.datasets.repository.enable(ID, False)
    until(lambda: not model.opened.managed.dataset.enabled)
    platform.datasets.accept(ID, 2, by="4")
    until(lambda: model.opened.managed.dataset.live_version == 2)
    until(lambda: model.looked.version.state is VersionState.LIVE)
    model.leave()
    until(lambda: model.feed._thread is None)
    # The thread says that it ends just before it does.
    until(lambda: "geoetl-runs" not in [thread.name for thread in threading.enumerate()])


def test_as_long_as_nothing_happens_a_page_asks_the_database_nothing(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    feed = DatasetFeed(platform)
    models = [DatasetsModel(platform, feed, VIEWER) for _ in range(3)]
    for model in models:
        model.load()
        model.open(ID)
        model.refresh()
    asked: list[str] = []
    sa.event.listen(platform.database.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    for model in models:
        model.refresh()
    assert asked == []
    feed.look()
    assert 0 < len(asked) < 16


def test_a_folder_of_this_machine_is_not_told(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    model = opened(platform)
    model.check()
    plan = model.opened.managed.plan
    assert plan.checked.needs_update and plan.checked.plan
    assert str(platform.settings.home) not in str(plan)


# -- updating ----------------------------------------------------------------------------------------------------------


def test_a_check_says_what_an_update_would_do_and_downloads_nothing(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    model = opened(platform)
    model.check()
    plan = model.opened.managed.plan
    assert plan.checked.needs_update
    assert plan.checked.plan[-1] == f"make the first version of curated/{ITEM}"
    assert not (platform.settings.home / "downloads").exists() or not list(
        (platform.settings.home / "downloads").glob("*/*")
    )
    assert model.opened.managed.dataset.last_checked_at is not None
    assert model.opened.history == ()
    upkeep.update()
    model.load()
    assert model.opened.managed.plan is None


def test_a_source_that_is_away_is_a_problem_with_a_next_step(platform: Platform) -> None:
    Upkeep.begin(platform, platform.settings.home / "drop")
    model = opened(platform)
    model.check()
    assert model.problem is not None and model.problem.sentence
    assert model.opened.managed.plan is None and model.busy == ""


def test_credentials_that_are_not_set_are_named(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACLED_USERNAME", raising=False)
    Upkeep.begin(
        platform,
        platform.settings.home / "drop",
        handler="acled",
        source_type="api_paginated",
        source_url="https://acleddata.com/api",
        credential_key="ACLED",
    )
    model = opened(platform)
    model.check()
    assert "The credentials of 'countries' are not set. Set ACLED_USERNAME" in told(model)


def test_an_update_is_queued_watched_and_seen_to_end(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    model = opened(platform, EDITOR)
    model.update()
    assert model.said == "The update was started."
    assert model.is_updating and model.run.submitted_by == "Ada Editor"
    model.update()
    assert model.said == "This update is under way already."
    worker = HandWorker(platform)
    worker.claim()
    worker.begin("fetch", total=8, position=2)
    worker.progress("fetch", 3)
    worker.say("three of them")
    model.load()
    assert [(stage.name, stage.done, stage.total) for stage in model.run.stages] == [("fetch", 3, 8)]
    assert "three of them" in [line.text for line in model.log]
    assert model.datasets[0].note == "fetch, 3 of 8"
    worker.finish()
    worker.leave()
    upkeep.update()
    model.load()
    assert not model.is_updating
    assert model.opened.history[0].records_added == 40


# -- comparing ---------------------------------------------------------------------------------------------------------


def test_a_held_version_is_shown_beside_the_one_before(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(platform)
    looked = model.looked
    assert (looked.version.number, looked.version.based_on) == (2, 1)
    lines = {line.label: line for line in looked.lines}
    assert (lines["Rows"].old, lines["Rows"].new, lines["Rows"].change) == ("40", "21", "-19 (-47.5%)")
    features = looked.differing.features
    assert [one.change for one in features] == [*["deleted"] * 20, "updated", "added"]
    assert features[20].columns == "name" and features[20].key == "AAT"
    model.show_kind("updated")
    assert model.listed() == ((features[20],), 0)
    model.choose(20)
    assert model.chosen == features[20] and looked.differing.shape(20)["properties"]["key"] == "AAT"
    model.show_kind("no such kind")
    assert model.kind == "updated"


def test_columns_that_are_gone_new_or_of_another_type_are_told(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    upkeep.update()
    changed = [country(number, POP=str(number), CAPITAL="X") for number in range(40)]
    for one in changed:
        del one["properties"]["ISO_N3"]
    upkeep.release(changed)
    upkeep.update()
    model = opened(platform)
    found = {column.name: column.what for column in model.looked.columns}
    assert found["pop"] == "retyped" and found["capital"] == "new"


def test_long_lists_are_told_in_parts(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    upkeep.update()
    upkeep.release(lands(40 + PAGE + 30))
    upkeep.update()
    model = opened(platform)
    found, more = model.listed()
    assert (len(found), more) == (PAGE, 30)
    model.list_more()
    assert (len(model.listed()[0]), model.listed()[1]) == (PAGE + 30, 0)


def test_the_first_version_has_nothing_beside_it(platform: Platform, upkeep: Upkeep) -> None:
    upkeep.release(lands(40))
    upkeep.update()
    model = opened(platform)
    assert model.looked is None
    model.look_at(1)
    assert model.looked.differing.features == () and not any(line.old for line in model.looked.lines)
    model.look_at(9)
    assert told(model) == "The dataset has no version 9. Choose one of its versions."


# -- deciding ----------------------------------------------------------------------------------------------------------


def test_a_held_version_is_accepted_by_name_and_gone_back_from(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(platform)
    model.confirm("rollback", 2)
    assert model.asking is None
    model.confirm("accept", 2)
    assert model.opened.managed.dataset.live_version == 1
    model.go_ahead("  The new ones\nare right. ")
    assert len(upkeep.served()) == 21
    version = platform.datasets.repository.version(ID, 2)
    assert (version.state, version.decided_by, version.reason) == ("live", "4", "The new ones are right.")
    assert model.asking is None and "Version 2 is served now." in model.said
    model.confirm("rollback", 1)
    model.withdraw()
    model.go_ahead("no")
    assert len(upkeep.served()) == 21
    model.confirm("rollback", 1)
    model.go_ahead()
    assert len(upkeep.served()) == 40
    assert platform.datasets.repository.version(ID, 1).decided_by == "4"


def test_a_held_version_is_not_rejected_without_a_reason(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(platform)
    model.confirm("reject", 2)
    model.go_ahead(" ")
    assert told(model) == "It is not rejected without a reason. Say why."
    assert model.asking is not None
    model.go_ahead("x" * 1001)
    assert "1,001 characters" in told(model)
    model.go_ahead("Half of them are missing.")
    assert model.problem is None and model.looked.version.state is VersionState.REJECTED
    assert len(upkeep.served()) == 40
    assert opened(platform).looked is None


def test_what_somebody_else_decided_is_not_decided_again(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(platform)
    model.confirm("accept", 2)
    platform.datasets.reject(ID, 2, by="9", reason="No.")
    model.go_ahead()
    assert "Version 2 of 'countries' is rejected, not held." in told(model)
    assert len(upkeep.served()) == 40
    model.confirm("accept", 2)
    assert model.asking is None


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [(VIEWER, []), (EDITOR, ["update"]), (APPROVER, ["update", "decide"]), (OPERATOR, ["update", "decide", "pause"])],
)
def test_each_role_may_do_its_own(platform: Platform, upkeep: Upkeep, principal: Principal, allowed: list[str]) -> None:
    hold(upkeep)
    model = opened(platform, principal)
    may = {"update": model.may_update, "decide": model.may_decide, "pause": model.may_pause}
    assert [name for name, is_allowed in may.items() if is_allowed] == allowed
    for name, act in (("update", model.check), ("update", model.update), ("pause", model.pause)):
        model.dismiss()
        act()
        assert (model.problem is None) is (name in allowed)
    model.dismiss()
    model.confirm("accept", 2)
    model.go_ahead()
    assert (model.problem is None) is ("decide" in allowed)
    assert (platform.datasets.repository.get(ID).live_version == 2) is ("decide" in allowed)
    assert platform.datasets.repository.get(ID).enabled is ("pause" not in allowed)


def test_a_server_that_only_reads_changes_nothing(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(geoetl.connect(read_only=True), OPERATOR)
    assert not (model.may_update or model.may_decide or model.may_pause)
    assert model.looked.differing.features
    model.update()
    assert "This server only reads." in told(model)


# -- links -------------------------------------------------------------------------------------------------------------


def test_addresses_lead_to_the_same_view(platform: Platform, upkeep: Upkeep) -> None:
    hold(upkeep)
    model = opened(platform)
    assert model.address().query() == f"?dataset={ID}&version=2"
    for query, number in ((f"?dataset={ID}&version=1", 1), (f"?dataset={ID}", 0), (f"?dataset={ID}&version=2", 2)):
        model.go(query)
        assert model.address().query() == query
        assert (model.looked.version.number if model.looked else 0) == number
    model.go("")
    assert (model.opened, model.looked, model.address().query()) == (None, None, "")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?dataset=contries", "There is no managed dataset 'contries'. Did you mean 'countries'?"),
        ("?dataset=%3Cb%3E", "'<b>' is no id of a dataset. Choose one in the list."),
        (f"?dataset={ID}&version=two", "'two' is no number of a version. Choose one of its versions."),
        (f"?dataset={ID}&version=7", "The dataset has no version 7. Choose one of its versions."),
    ],
)
def test_addresses_that_lead_nowhere_say_so(platform: Platform, upkeep: Upkeep, query: str, said: str) -> None:
    model = made(platform)
    model.go(query)
    assert told(model) == said


def test_a_dataset_that_is_deleted_meanwhile_closes(platform: Platform, upkeep: Upkeep) -> None:
    model = opened(platform)
    platform.datasets.delete(ID)
    model.load()
    assert model.opened is None and model.datasets == ()
