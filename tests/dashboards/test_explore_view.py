"""The page as the last line of a notebook cell, and what its panels show of the model."""

from pathlib import Path

import panel as pn
import pytest

import geoetl
from dashboards.explore import explore
from dashboards.explore.model import ExploreModel
from dashboards.explore.view import ExploreView
from dashboards.shared.code_block import CodeBlock
from dashboards.shared.delivery import PictureShelf, Served
from dashboards.shared.lists import ItemList, LayerList
from dashboards.shared.theme import DARK
from geoetl.core.spatial import Point
from geoetl.platform import Platform
from tests import catalogued
from tests.catalogued import CLIMATE, HILL, IMAGES, LAT, LON, MODEL, PLACES, SHIRES

HILL_KEY, MODEL_KEY, SHIRES_KEY = f"{IMAGES}/{HILL}", f"{CLIMATE}/{MODEL}", f"{PLACES}/{SHIRES}"

RULES = [{"symbolizer": {"fill": {"color": [200, 30, 30]}}}]


@pytest.fixture
def view(filled: Platform) -> ExploreView:
    shown = ExploreView(ExploreModel(filled))
    shown.__panel__()
    return shown


def the[T](view: ExploreView, kind: type[T]) -> T:
    found = view.__panel__().select(kind)
    assert len(found) == 1
    component: T = found[0]
    return component


def test_a_cell_shows_the_page_without_a_server(filled: Platform) -> None:
    page = explore(filled)
    root = page.__panel__().get_root()
    assert root is not None
    assert page.map.base["data"]["type"] == "Topology"


def test_pictures_and_tiles_come_inside_the_output(view: ExploreView) -> None:
    view.model.open(HILL_KEY)
    view.model.open(SHIRES_KEY)
    tiles, picture = view.map.layers
    assert tiles["url"].startswith("data:application/vnd.pmtiles;base64,")
    assert picture["url"].startswith("data:image/png;base64,")
    assert picture["corners"][0] == pytest.approx([5.0, 48.0])


def test_the_lists_follow_the_model(view: ExploreView) -> None:
    assert [group["count"] for group in the(view, ItemList).groups] == ["1 item", "2 items", "2 items"]
    view.model.open(HILL_KEY)
    view.model.open(MODEL_KEY)
    rows = the(view, LayerList).layers
    assert [row["title"] for row in rows] == ["A model with 360 days", "A hill"]
    assert rows[0]["subtitle"] == "2000-01-16 · Air temperature"
    assert rows[1]["legend"]["units"] == "m"
    assert [stop["label"] for stop in rows[1]["legend"]["stops"]][::4] == ["0", "500", "1\u202f000"]


def test_a_click_in_the_browser_becomes_a_marker_and_a_reading(view: ExploreView) -> None:
    view.model.open(MODEL_KEY)
    view._from_map({"type": "click", "lon": LON, "lat": LAT, "tolerance_deg": 0.1, "footprints": [], "features": []})
    assert view.map.points[0]["label"] == "A"
    assert view.model.places[0].point == Point(LON, LAT)
    assert view.map.inspecting


def test_programs_are_written_when_they_are_looked_at(view: ExploreView) -> None:
    view.model.open(HILL_KEY)
    assert the(view, CodeBlock).programs == {}
    view._item._tabs.active = 2
    assert "geoetl.connect()" in the(view, CodeBlock).programs["geoetl"]


def test_the_dark_theme_reaches_every_part(view: ExploreView) -> None:
    view.dark = True
    assert view.map.dark
    assert any(DARK.surface in sheet for sheet in view._stage.stylesheets)


def test_a_problem_is_shown_and_can_be_put_away(view: ExploreView) -> None:
    view.model.open(f"{IMAGES}/nothing")
    assert view._alert.visible
    assert "nothing" in view._alert.object
    view._alert.visible = False
    assert view.model.problem is None


def test_a_layer_that_the_browser_cannot_draw_is_told(view: ExploreView) -> None:
    view.model.open(SHIRES_KEY)
    view._from_map({"type": "layer_error", "id": SHIRES_KEY, "message": "no magic number"})
    assert view.model.problem is not None
    assert "no magic number" in view.model.problem.details
    view.model.dismiss()
    view._from_map({"type": "layer_error", "id": "gone/away", "message": "late"})
    assert view.model.problem is None


def test_a_style_that_is_known_later_than_its_item_is_still_told(home: Path) -> None:
    platform = geoetl.connect(home)
    catalogued.fill(platform, home / "shelf")
    page = ExploreView(ExploreModel(platform), delivery=Served(PictureShelf()))
    told: list[str] = []

    def tell() -> None:
        panes = page.__panel__().select(pn.pane.HTML)
        told.append(next((pane.object for pane in panes if "Style this layer" in pane.object), ""))

    # Without an event loop every change is shown by itself: the item as soon as it is found, then how it is drawn.
    page.model.param.watch(lambda _: tell(), ["opened", "layers"])
    for title in ("Plain", "Bold"):
        platform.styles.put(f"{PLACES}:{SHIRES}", "own", {"metadata": {"title": title}, "stylingRules": RULES})
        page.model.open(SHIRES_KEY)
        assert f"Drawn with the style “{title}”." in told[-1]
    assert any(said and "Drawn with" not in said for said in told)
