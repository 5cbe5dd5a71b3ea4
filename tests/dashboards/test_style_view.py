"""The page Style as the last line of a notebook cell, and what its panels show of the model."""

from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.shared.lists import ItemList
from dashboards.shared.map import MapView
from dashboards.shared.styling import ClassifyForm, CodeEditor, LegendList, RuleForm, RuleList, Swipe, VersionList
from dashboards.shared.theme import DARK
from dashboards.style import edit
from dashboards.style.view import StyleView
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from tests.catalogued import IMAGES, PLACES, SHIRES

LAYER = f"{PLACES}:{SHIRES}"
STYLE: dict[str, Any] = {
    "metadata": {"title": "Red"},
    "stylingRules": [
        {"name": "all", "symbolizer": {"fill": {"color": [255, 0, 0]}, "stroke": {"color": [0, 0, 0]}}},
    ],
}


@pytest.fixture
def view(filled: Platform) -> Iterator[StyleView]:
    """Give the page with a style open, as a cell shows it."""
    filled.styles.put(LAYER, "red", STYLE)
    shown = edit(filled, LAYER)
    shown.__panel__()
    yield shown
    for style in filled.styles.list(LAYER):
        filled.styles.delete(LAYER, style.id)


def the[T](view: StyleView, kind: type[T]) -> T:
    found = view.__panel__().select(kind)
    component: T = found[0]
    return component


def test_a_cell_shows_the_page_without_a_server(view: StyleView) -> None:
    assert view.__panel__().get_root() is not None
    assert view.map.base["data"]["type"] == "Topology"
    (layer,) = view.map.layers
    assert layer["kind"] == "styled"
    assert layer["url"].startswith("data:application/vnd.pmtiles;base64,")
    assert {part["source-layer"] for part in layer["style"]["layers"]} == {"shires"}


def test_without_a_layer_every_layer_is_listed(filled: Platform) -> None:
    shown = edit(filled)
    shown.__panel__()
    groups = the(shown, ItemList).groups
    assert [(group["title"], len(group["items"])) for group in groups] == [("Features", 1), ("Rasters and cubes", 2)]
    shown._picker._act({"type": "open", "key": LAYER})
    assert shown.model.subject is not None
    assert shown._right.visible


def test_a_style_that_is_listed_later_is_not_taken_for_a_choice(view: StyleView) -> None:
    view.model.save(as_new="Another")
    view.model.make_default()
    again = edit(view.model.platform, LAYER)
    again.__panel__()
    assert again.model.stored is not None
    assert again.model.stored.id == "another"
    assert list(again._editor._styles.options.values()) == ["red", "another"]
    again._editor._styles.value = "red"
    assert again.model.stored.id == "red"


def test_a_form_a_text_and_a_map_say_the_same(view: StyleView) -> None:
    form = the(view, RuleForm).form
    assert next(field for field in form["fields"] if field["path"] == "fill.color")["value"] == "#ff0000"
    rules = view._editor._bodies[0]
    rules._fill_in({"type": "set", "key": "0", "path": "fill.color", "value": "#00ff00", "live": False})
    assert the(view, RuleList).rules[0]["swatch"]["fill"] == "#00ff00"
    assert "[0, 255, 0]" in the(view, CodeEditor).content["text"]
    assert "#00ff00" in str(view.map.layers[0]["style"])
    assert the(view, LegendList).entries[0]["swatch"]["fill"] == "#00ff00"


def test_every_message_of_the_form_is_understood(view: StyleView) -> None:
    rules = view._editor._bodies[0]
    rows = [{"attribute": "people", "op": ">", "value": "2000"}]
    for message in (
        {"type": "nest"},
        {"type": "copy"},
        {"type": "down"},
        {"type": "up"},
        {"type": "name", "value": "<b>bold</b>"},
        {"type": "condition", "join": "and", "rows": rows},
        {"type": "mode", "value": "text"},
        {"type": "condition_text", "text": "people > 2000"},
        {"type": "scale", "end": "below", "value": "1:50 000"},
        {"type": "scale_here"},
        {"type": "remove"},
    ):
        rules._fill_in({"key": "0", **message})
        assert view.model.problem is None, message
    for message in ({"type": "add"}, {"type": "select", "key": "0"}, {"type": "visible", "key": "0", "value": False}):
        rules._act(message)
    assert not the(view, RuleList).rules[0]["visible"]


def test_what_is_wrong_stands_beside_its_field_and_in_the_text(view: StyleView) -> None:
    view.model.set_value("0", "fill.color", "blurple")
    field = next(field for field in the(view, RuleForm).form["fields"] if field["path"] == "fill.color")
    assert field["value"] == "blurple"
    assert "no colour" in field["error"]
    view.model.write('{"stylingRules": 1}')
    assert the(view, CodeEditor).problem["pointer"] == "/stylingRules"
    assert view._editor._panel.select(lambda one: getattr(one, "label", "") == "Save")[0].disabled


def test_classes_are_shown_before_they_are_used(view: StyleView) -> None:
    view._editor._tabs.active = 1
    form = the(view, ClassifyForm).form
    assert [row["count"] for row in form["rows"]] == [1, 1]
    assert form["histogram"]["counts"]
    view._editor._bodies[1]._act({"type": "ask", "attribute": "name"})
    assert {row["label"] for row in the(view, ClassifyForm).form["rows"]} == {"North", "<b>South</b>"}
    view._editor._bodies[1]._act({"type": "apply"})
    assert len(the(view, RuleList).rules) == 3


def test_each_target_is_shown_with_its_losses(view: StyleView) -> None:
    view.model.write(
        '{"stylingRules": [{"symbolizer": {"fill": {"color": "red", "pattern": {"type": "Text", "text": "x"}}}}]}'
    )
    titles = [item["label"] for item in view._outputs._tabs.items]
    assert titles[0] == "CartoSym"
    for number in range(len(titles)):
        view._outputs._tabs.active = number
        assert view._outputs._losses.object
    assert any(output.losses for output in view.model.outputs)


def test_two_versions_lie_on_each_other_with_a_bar_between(view: StyleView) -> None:
    view.model.set_value("0", "fill.color", "#00ff00")
    view.model.save("greener")
    assert [row["note"] for row in the(view, VersionList).versions] == ["greener", ""]
    assert [row["subtitle"].partition(" UTC")[2] for row in the(view, VersionList).versions] == [
        " · Local operator",
        "",
    ]
    view._editor._bodies[2]._act({"type": "compare", "key": "1"})
    first, second = view.__panel__().select(MapView)
    assert first.link == second.link
    assert "#ff0000" in str(second.layers)
    assert "#ff0000" not in str(first.layers)
    assert the(view, Swipe).visible
    assert "[255, 0, 0]" in the(view, CodeEditor).against
    view._editor._bodies[2]._act({"type": "compare", "key": "1"})
    assert not the(view, Swipe).visible


def test_a_clicked_feature_tells_its_attributes_as_text(view: StyleView) -> None:
    properties = {"name": "<b>South</b>", "people": 3400}
    click = {"type": "click", "lon": 7.0, "lat": 46.0, "features": [{"layer": "x", "properties": properties}]}
    view._from_map(click)
    assert view.map.points[0]["lat"] == 46.0
    shown = [pane.object for pane in view.__panel__().select(lambda one: "South" in str(getattr(one, "object", "")))]
    assert "&lt;b&gt;South" in shown[0]
    view._from_map({**click, "features": []})
    assert view.map.points == []


def test_a_narrow_page_folds_the_text_away(view: StyleView) -> None:
    view.map.width_px = 900
    assert view._outputs.folded
    assert not view._outputs._body.visible
    view.map.width_px = 1400
    assert view._outputs._body.visible


def test_a_viewer_is_told_why_nothing_can_be_saved(view: StyleView) -> None:
    view.model.principal = Principal("2", "Vera", Role.VIEWER, Via.COOKIE)
    view.model.param.trigger("said")
    save = view._editor._panel.select(lambda one: getattr(one, "label", "") == "Save")[0]
    view.model.save()
    assert view.model.problem is not None
    assert not view._editor._panel.objects[-1].objects[0].visible
    assert save is not None


def test_a_coverage_is_a_picture_in_the_colours_of_its_style(filled: Platform) -> None:
    shown = edit(filled, IMAGES)
    shown.__panel__()
    (layer,) = shown.map.layers
    assert layer["kind"] == "image"
    assert layer["corners"][0] == pytest.approx([5.0, 48.0], abs=0.01)
    assert "red, green and blue" in the(shown, LegendList).message
    shown.model.ask(attribute="red")
    shown.model.use_classes()
    assert shown.map.layers[0]["url"] != layer["url"]
    assert the(shown, LegendList).entries[0]["kind"] == "ramp"
    before = shown.map.layers[0]["url"]
    stops = [{"value": 0, "color": "#ff0000"}, {"value": 200, "color": "#00ff00"}]
    shown._editor._bodies[0]._fill_in({"type": "stops", "key": "0", "stops": stops})
    assert shown.map.layers[0]["url"] != before


def test_the_dark_theme_reaches_every_part(view: StyleView) -> None:
    view.dark = True
    assert view.map.dark
    assert any(DARK.surface in sheet for sheet in view._stage.stylesheets)
