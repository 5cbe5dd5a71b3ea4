"""The page Review as the last line of a notebook cell, and what its panels show of the model."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import geoetl
from dashboards.review import review
from dashboards.review.feed import ReviewFeed
from dashboards.review.model import ReviewModel
from dashboards.review.view import ReviewView
from dashboards.shared.datasets import ChangeKinds, ChangeList
from dashboards.shared.map import MapView
from dashboards.shared.releases import ReleaseGroups, ReleaseList
from dashboards.shared.runs import RunStages
from dashboards.shared.styling import LegendList, Swipe
from dashboards.shared.theme import DARK
from geoetl.platform import Platform
from geoetl.publish.model import Action, Release, State
from tests.by_hand import HandWorker
from tests.reviewed import FIELDS, PLACES, VIEWER, bring_fields, field_rows, published, submitted

ATTACK = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a home in which a second version waits beside a published one; tests take copies of it."""
    made: Path = tmp_path_factory.mktemp("template") / "home"
    platform = geoetl.connect(made)
    bring_fields(platform, field_rows(8))
    published(platform, submitted(platform))
    bring_fields(platform, [*field_rows(8, f03="Renamed")[1:], *field_rows(10)[8:]], title=ATTACK)
    submitted(platform, note=ATTACK)
    platform.database.dispose()
    return made


@pytest.fixture
def platform(home: Path, template: Path) -> Platform:
    """Give the platform."""
    shutil.copytree(template, home, dirs_exist_ok=True)
    return geoetl.connect()


@pytest.fixture
def waiting(platform: Platform) -> Release:
    """Give the release that waits."""
    return platform.publish.queue()[0].release


@pytest.fixture
def view(platform: Platform, waiting: Release) -> Iterator[ReviewView]:
    """Give the page as a cell shows it, with the release open."""
    shown = review(platform, waiting.id)
    shown.__panel__()
    yield shown
    shown.model.leave()


def the(view: ReviewView, kind: type) -> Any:
    return view.__panel__().select(kind)[0]


def test_a_cell_shows_a_release_without_a_server(view: ReviewView, waiting: Release) -> None:
    assert view.__panel__().get_root() is not None
    panel = view._release
    assert the(view, ReleaseList).selected == waiting.id
    assert [group["count"] for group in the(view, ReleaseGroups).groups] == [1, 0, 1, 0, 0]
    assert "data.parquet" in panel._files.object and "<a" not in panel._files.object
    assert "<a" not in panel._about.object
    (layer,) = the(view, MapView).layers
    assert layer["kind"] == "styled" and layer["url"].startswith("data:application/vnd.pmtiles")
    assert the(view, Swipe).visible and the(view, Swipe).left == "Published v1"
    assert the(view, LegendList).entries


def test_texts_of_others_are_no_markup(view: ReviewView) -> None:
    panel = view._release
    shown = (panel._head, panel._state, panel._about, panel._changes._values, panel._trail)
    assert all(ATTACK not in pane.object for pane in shown)
    assert "&lt;/script&gt;&lt;img src=x" in panel._head.object
    assert "&lt;/script&gt;&lt;img src=x" in panel._trail.object


def test_the_map_and_the_list_show_what_was_chosen(view: ReviewView) -> None:
    changes, shown = view._release._changes, the(view, MapView)
    assert [kind["count"] for kind in the(view, ChangeKinds).kinds] == [4, 2, 1, 1]
    view.model.see("changes")
    view.model.show_kind("updated")
    (row,) = the(view, ChangeList).rows
    assert (row["name"], row["columns"]) == ("f03", "name")
    changes._from_list({"type": "open", "key": row["key"]})
    assert view.model.tab == "map" and shown.chosen == ["chosen"]
    assert next(layer["id"] for layer in shown.layers if layer["visible"]) == "changes-updated"
    changes._kinds.selected = ""
    view._release.seeing._from_map({"type": "click", "features": [{"layer": "x", "properties": {"number": 0}}]})
    assert view.model.chosen is not None and view.model.chosen.change == "deleted"
    view._release.seeing._from_map({"type": "fit"})


def test_what_is_public_can_be_put_away(view: ReviewView) -> None:
    view._release.seeing._compare.value = False
    assert not the(view, Swipe).visible and view._release.seeing._other.objects == []


def test_a_decision_is_asked_about_with_the_digest_and_what_is_wrong_stands_beside_it(
    view: ReviewView, waiting: Release, platform: Platform
) -> None:
    ask = view._release.ask
    view.model.ask(Action.APPROVE)
    assert waiting.manifest_digest in ask._question.object and ask._clearance.visible
    assert f"{PLACES}/{FIELDS}/v2" in ask._question.object
    view.model.ask(Action.REJECT)
    assert ask._reason.label == "Reason *" and not ask._clearance.visible
    ask._go_ahead()
    assert ask._reason.error_state and "Say why." in ask._reason.helper_text and not view._alert.visible
    view.model.never_mind()
    assert not ask.__panel__().visible and not ask._reason.error_state
    view.model.ask(Action.REJECT)
    ask._reason.value = "No licence."
    ask._go_ahead()
    assert platform.publish.get(waiting.id).state is State.REJECTED
    assert "No licence." in view._release._state.object
    assert "It is rejected." in view._release._state.object


def test_who_may_not_decide_sees_why_instead_of_a_button(platform: Platform, waiting: Release) -> None:
    shown = ReviewView(ReviewModel(platform, ReviewFeed(platform), VIEWER))
    shown.__panel__()
    shown.model.open(waiting.id)
    deeds = shown._release.deeds
    assert not any(button.visible for button in deeds._buttons.values())
    assert deeds._why.visible and "takes the role approver" in deeds._why.object
    shown.model.leave()


def test_the_copy_moves_on_the_page(view: ReviewView, platform: Platform) -> None:
    view.model.ask(Action.APPROVE)
    view.model.go_ahead()
    run = platform.runs.list()[0]
    assert run.pipeline == "publish"
    assert view.model.run is not None and view.model.run.id == run.id
    worker = HandWorker(platform)
    worker.claim()
    worker.begin("deliver", total=7)
    worker.progress("deliver", 3)
    view.model.load()
    (stage,) = the(view, RunStages).stages
    assert (stage["name"], stage["done"], stage["total"]) == ("Deliver", 3, 7)
    worker.fail()
    worker.leave()
    view.model.load()


def test_the_dark_colours_reach_both_maps(view: ReviewView) -> None:
    view.dark = True
    assert all(one.dark for one in view.__panel__().select(MapView))
    assert DARK.surface in view._stage.stylesheets[0]


def test_a_page_without_anything_says_what_to_do(home: Path) -> None:
    shown = review(geoetl.connect())
    shown.__panel__()
    assert the(shown, ReleaseList).message["title"] == "Nothing waits for review"
    assert "geoetl publish submit" in the(shown, ReleaseList).message["code"]
    assert shown._choose.visible and not shown._release.__panel__().visible
    shown.model.leave()
