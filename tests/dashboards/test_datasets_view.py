"""The page Datasets as the last line of a notebook cell, and what its panels show of the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import geoetl
from dashboards.datasets import oversee
from dashboards.datasets.feed import DatasetFeed
from dashboards.datasets.model import DatasetsModel
from dashboards.datasets.panels import ABOUT, CHANGES
from dashboards.datasets.view import DatasetsView
from dashboards.shared.datasets import ChangeKinds, ChangeList, DatasetList
from dashboards.shared.map import MapView
from dashboards.shared.runs import RunStages
from dashboards.shared.styling import VersionList
from dashboards.shared.theme import DARK
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from tests.by_hand import HandWorker
from tests.datasets.released import ID, Upkeep, country, lands

VIEWER = Principal("2", "Vera Viewer", Role.VIEWER, Via.COOKIE)


@pytest.fixture
def platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Give a platform where no file declares any dataset."""
    (home.parent / "managed").mkdir()
    monkeypatch.setenv("GEOETL_MANAGED", str(home.parent / "managed"))
    return geoetl.connect()


@pytest.fixture
def upkeep(platform: Platform) -> Upkeep:
    """Give a dataset that serves 40 rows and holds a release of 21."""
    made = Upkeep.begin(platform, platform.settings.home / "drop", update_schedule="0 2 * * *")
    made.release(lands(40))
    made.update()
    made.release([*lands(20)[:-1], country(19, NAME="Renamed"), country(60)])
    made.update()
    return made


@pytest.fixture
def view(platform: Platform, upkeep: Upkeep) -> Iterator[DatasetsView]:
    """Give the page as a cell shows it, with the dataset open."""
    shown = oversee(platform, ID)
    shown.__panel__()
    yield shown
    shown.model.leave()


def the(view: DatasetsView, kind: type) -> Any:
    return view.__panel__().select(kind)[0]


def test_a_cell_shows_a_held_release_without_a_server(view: DatasetsView) -> None:
    assert view.__panel__().get_root() is not None
    panel = view._dataset
    assert the(view, DatasetList).selected == ID
    assert panel._tabs.active == CHANGES and panel._banner.visible and not panel._look.visible
    assert "There are 21 rows where there were 40" in panel._held.object
    assert [kind["count"] for kind in the(view, ChangeKinds).kinds] == [22, 1, 1, 20]
    assert [layer["id"] for layer in the(view, MapView).layers] == ["2-deleted", "2-updated", "2-added"]
    assert "<a" not in panel._about.object


def test_the_map_and_the_list_show_what_was_chosen(view: DatasetsView) -> None:
    release, listed, shown = view._dataset.release, the(view, ChangeList), the(view, MapView)
    view.model.show_kind("updated")
    assert [layer["visible"] for layer in shown.layers] == [False, True, False]
    (row,) = listed.rows
    assert (row["name"], row["sign"], row["columns"]) == ("AAT", "~", "name")
    before = shown.fit
    release._from_list({"type": "open", "key": row["key"]})
    assert shown.fit != before and shown.chosen == ["chosen"] and listed.selected == row["key"]
    assert "AAT" in release._chosen.object and "What differs: name." in release._chosen.object
    view.model.show_kind("")
    release._from_map({"type": "click", "features": [{"layer": "2-deleted", "properties": {"number": 0}}]})
    assert "was deleted" in release._chosen.object
    release._from_map({"type": "click", "features": []})
    release._from_map({"type": "fit"})


def test_a_decision_is_asked_about_and_made(view: DatasetsView, upkeep: Upkeep) -> None:
    panel = view._dataset
    panel._decide("reject")
    assert panel._ask.visible and "Reject version 2" in panel._question.object
    assert panel._reason.label.endswith("*")
    view.model.go_ahead("")
    assert panel._reason.error_state and "Say why." in panel._reason.helper_text and not view._alert.visible
    view.model.withdraw()
    assert not panel._ask.visible and not panel._reason.error_state
    panel._act({"type": "accept", "key": "2"})
    view.model.go_ahead("Right.")
    assert not panel._banner.visible and "Version 2 is served now." in panel._state.object
    newest, former = the(view, VersionList).versions
    assert (newest["badge"], former["badge"]) == ("served", "kept")
    assert newest["note"].endswith("by Local operator: Right.")
    assert [action["type"] for action in former["actions"]] == ["look", "rollback"]
    assert len(upkeep.served()) == 21


def test_an_update_moves_on_the_page(view: DatasetsView, platform: Platform) -> None:
    panel = view._dataset
    view.model.update()
    told = view.__panel__().select(RunStages)[0]
    assert panel._update.disabled and "The update was started." in panel._state.object
    worker = HandWorker(platform)
    worker.claim()
    worker.begin("process", total=4)
    worker.progress("process", 1)
    view.model.load()
    (stage,) = told.stages
    assert (stage["name"], stage["done"], stage["total"]) == ("Process", 1, 4)
    worker.fail()
    worker.leave()
    view.model.load()
    assert not panel._update.disabled


def test_a_schedule_is_paused_and_resumed(view: DatasetsView) -> None:
    panel = view._dataset
    panel._switch_schedule()
    assert panel._pause.label == "Resume" and "schedule paused" in panel._head.object
    panel._switch_schedule()
    assert panel._pause.label == "Pause"


def test_another_dataset_opens_with_what_it_is(view: DatasetsView, platform: Platform) -> None:
    Upkeep.begin(platform, platform.settings.home / "b", dataset_id="b", name="B", target_table_name="curated_b")
    view.model.load()
    view.model.open("b")
    assert view._dataset._tabs.active == ABOUT and not view._dataset._banner.visible
    assert the(view, VersionList).message.startswith("No version yet.")
    view.model.close()
    assert view._choose.visible and not view._dataset.__panel__().visible


def test_without_datasets_it_is_told_how_to_begin(platform: Platform) -> None:
    shown = oversee(platform)
    listed = the(shown, DatasetList)
    assert (listed.datasets, listed.loading, listed.message["code"]) == ([], False, "geoetl datasets add FILE.yaml")
    shown.model.leave()


def test_a_viewer_has_no_buttons_that_change_anything(platform: Platform, upkeep: Upkeep) -> None:
    shown = DatasetsView(DatasetsModel(platform, DatasetFeed(platform), VIEWER))
    shown.__panel__()
    shown.model.open(ID)
    panel = shown._dataset
    buttons = (panel._update, panel._check, panel._pause, panel._accept, panel._reject)
    assert not any(button.visible for button in buttons)
    assert panel._who.visible
    assert all(len(row["actions"]) == 1 for row in the(shown, VersionList).versions)
    shown.model.leave()


def test_dark_colours_reach_the_page_and_its_map(view: DatasetsView) -> None:
    view.dark = True
    assert DARK.surface in view._stage.stylesheets[0] and the(view, MapView).dark
