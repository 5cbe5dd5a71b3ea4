"""The model of the page Style: open, edit by form and by text, classify, undo, keep, compare."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import geoetl
from dashboards.style import draft
from dashboards.style.classes import Question, try_out, with_classes
from dashboards.style.condition import Row
from dashboards.style.model import StyleModel
from geoetl.core.principal import Principal, Role, Via
from geoetl.core.selectors import Rows
from geoetl.core.spatial import BBox, Point
from geoetl.platform import Platform
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from tests import catalogued
from tests.catalogued import CLIMATE, HILL_BOX, IMAGES, MODEL, PLACES, POLAR, SHIRES

LAYER = f"{PLACES}:{SHIRES}"
EDITOR = Principal("1", "Ada Editor", Role.EDITOR, Via.COOKIE)
VIEWER = Principal("2", "Vera Viewer", Role.VIEWER, Via.COOKIE)
RED: draft.Document = {
    "metadata": {"title": "Red"},
    "stylingRules": [
        {
            "name": "all",
            "symbolizer": {"fill": {"color": [255, 0, 0]}, "stroke": {"color": [0, 0, 0], "width": {"px": 1}}},
            "nestedRules": [
                {
                    "name": "north",
                    "selector": {"op": "=", "args": [{"property": "name"}, "North"]},
                    "symbolizer": {"fill": {"alter": True, "color": [0, 0, 255]}},
                }
            ],
        }
    ],
}
ATTACKS = ("</script><script>window.__pwned=1</script>", "');alert(1)//", '"><img src=x onerror=alert(1)>')


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Give a platform of one item of each kind."""
    home = tmp_path_factory.mktemp("styled") / "home"
    made = geoetl.connect(home)
    catalogued.fill(made, home / "shelf")
    variables = {"tas": {"type": "data", "dimensions": ["time", "plev", "lat", "lon"], "unit": "K"}}
    for item in (MODEL, POLAR):
        made.catalog.change_item(
            CLIMATE, item, lambda old: {**old, "properties": {**old["properties"], "cube:variables": variables}}
        )
    return made


@pytest.fixture
def platform(whole: Platform) -> Iterator[Platform]:
    """Give that platform without styles."""
    yield whole
    for layer in (LAYER, IMAGES, CLIMATE):
        for style in whole.styles.list(layer):
            whole.styles.delete(layer, style.id)


@pytest.fixture
def model(platform: Platform) -> StyleModel:
    """Give the model of an editor's page, with the style Red open."""
    platform.styles.put(LAYER, "red", RED, author="Ada Editor", note="the first")
    made = StyleModel(platform, EDITOR)
    made.load()
    made.open(LAYER)
    assert made.problem is None
    return made


def drawn(model: StyleModel) -> str:
    output = model.output("maplibre")
    assert output is not None
    return output.text


def rule(model: StyleModel, key: str) -> Any:
    return draft.rule_at(model.document, key)


# ---- opening -------------------------------------------------------------------------------------------------------


def test_layers_of_features_and_coverages_can_be_styled(model: StyleModel) -> None:
    assert {(one.id, one.kind) for one in model.layers} == {
        (LAYER, "vector"),
        (IMAGES, "coverage"),
        (CLIMATE, "coverage"),
    }


def test_a_layer_opens_with_its_default_style_and_the_map_goes_there(model: StyleModel) -> None:
    assert model.stored is not None
    assert (model.stored.id, model.selected, model.is_changed) == ("red", "0", False)
    assert model.target == BBox.from_list(HILL_BOX.as_list())
    assert model.outputs[0].name == "cartosym"
    assert json.loads(model.text.text) == model.document


def test_a_layer_without_a_style_opens_with_a_proposal_that_is_not_kept(platform: Platform) -> None:
    model = StyleModel(platform, EDITOR)
    model.open(LAYER)
    assert model.problem is None
    assert model.stored is None
    assert model.document["stylingRules"]
    assert platform.styles.list(LAYER) == ()
    model.save("as proposed")
    assert [one.is_default for one in platform.styles.list(LAYER)] == [True]


def test_what_is_not_there_is_a_sentence(model: StyleModel) -> None:
    for layer, style in (("places:nothing", ""), ("nowhere", ""), (LAYER, "nothing")):
        model.dismiss()
        model.open(layer, style)
        assert model.problem is not None
        assert model.problem.details.startswith("not_found")
    assert model.subject is not None
    assert model.subject.id == LAYER


# ---- the form ------------------------------------------------------------------------------------------------------


def test_a_colour_reaches_every_output_at_once(model: StyleModel) -> None:
    model.set_value("0.0", "fill.color", "#00ff00")
    assert rule(model, "0.0")["symbolizer"]["fill"] == {"alter": True, "color": [0, 255, 0]}
    assert json.loads(model.text.text) == model.document
    assert "#00ff00" in drawn(model)
    assert model.is_changed


def test_what_is_wrong_is_told_beside_its_field_and_changes_nothing(model: StyleModel) -> None:
    before = model.document
    for path, given in (("fill.color", "blurple"), ("stroke.width", "wide"), ("opacity", "7")):
        model.set_value("0", path, given)
        assert model.unfinished is not None
        assert (model.unfinished.field, model.unfinished.given) == (path, given)
        assert model.unfinished.problem.startswith(("'", "7 is not"))
    assert model.document is before
    model.set_value("0", "fill.color", "blue")
    assert model.unfinished is None


def test_rows_become_a_condition_once_they_are_finished(model: StyleModel) -> None:
    model.set_rows("0.0", "and", [Row("people", ">", "")])
    assert model.unfinished is not None
    assert model.unfinished.rows == (Row("people", ">", ""),)
    assert rule(model, "0.0")["selector"]["op"] == "="
    model.set_rows("0.0", "and", [Row("people", ">", "2000")])
    assert rule(model, "0.0")["selector"] == {"op": ">", "args": [{"property": "people"}, 2000]}


def test_values_to_choose_from_are_looked_up(model: StyleModel) -> None:
    model.set_rows("0.0", "and", [Row("name", "=", "North")])
    assert set(model.values["name"]) == {"North", "<b>South</b>"}


def test_a_condition_is_written_as_text_and_a_mistake_is_told(model: StyleModel) -> None:
    model.set_condition("0.0", "people > 2000 AND (name = 'North' OR viz.sd < 1000)")
    assert model.unfinished is None
    assert {"op": "<", "args": [{"sysId": "viz.sd"}, 1000]} in rule(model, "0.0")["selector"]["args"][1]["args"]
    model.set_condition("0.0", "people >")
    assert model.unfinished is not None
    assert "not CQL2" in model.unfinished.problem


def test_scales_limit_a_rule(model: StyleModel) -> None:
    model.set_scale("0.0", "below", "1:50 000")
    assert {"op": "<", "args": [{"sysId": "viz.sd"}, 50_000]} in rule(model, "0.0")["selector"]["args"]
    model.set_scale("0.0", "above", "60000")
    assert model.unfinished is not None
    assert model.unfinished.field == "above"
    model.set_scale("0.0", "below", "")
    assert rule(model, "0.0")["selector"]["op"] == "="
    model.look_at(Point(7, 46), 8.0)
    model.scale_here("0.0")
    assert {"op": "<", "args": [{"sysId": "viz.sd"}, 1_100_000]} in rule(model, "0.0")["selector"]["args"]


def test_rules_are_added_moved_copied_hidden_renamed_and_deleted(model: StyleModel) -> None:
    model.add()
    assert model.selected == "1"
    model.add(within="0")
    assert (model.selected, rule(model, "0.1")["name"]) == ("0.1", "New rule")
    model.move("0.1", -1)
    assert (model.selected, rule(model, "0.1")["name"]) == ("0.0", "north")
    model.copy("0.1")
    assert rule(model, model.selected)["name"] == "north (copy)"
    model.rename("0.1", "")
    assert "name" not in rule(model, "0.1")
    model.set_visible("0.1", False)
    assert rule(model, "0.1")["symbolizer"]["visibility"] is False
    model.set_visible("0.1", True)
    assert "visibility" not in rule(model, "0.1")["symbolizer"]
    for key in ("1", "0"):
        model.remove(key)
    assert (model.document["stylingRules"], model.selected) == ([], "")
    assert model.problem is None


# ---- the text ------------------------------------------------------------------------------------------------------


def test_text_changes_the_style_and_is_left_as_it_was_typed(model: StyleModel) -> None:
    typed = json.dumps(model.document).replace("[255, 0, 0]", "[1, 2, 3]")
    serial = model.text.serial
    model.write(typed)
    assert rule(model, "0")["symbolizer"]["fill"]["color"] == [1, 2, 3]
    assert (model.text.text, model.text.serial) == (typed, serial)
    model.set_value("0", "fill.color", "#040506")
    assert model.text.serial > serial


def test_text_that_is_no_style_is_told_with_its_place_and_the_last_map_stays(model: StyleModel) -> None:
    before, outputs = model.document, model.outputs
    model.write('{"stylingRules": [}')
    assert (model.text.offset, model.text.problem[:16]) == (18, "This is no JSON:")
    model.write('{"stylingRules": [{"symbolizer": {"fill": {"color": "blurple"}}}]}')
    assert model.text.pointer.startswith("/stylingRules/0/symbolizer/fill")
    assert "blurple" in model.text.problem
    for hostile in ("[" * 100_000, "1" * 5000, '"\\ud800"', "null", "NaN"):
        model.write(hostile)
        assert model.text.problem
    assert (model.document, model.outputs) == (before, outputs)
    model.write(json.dumps(RED))
    assert model.text.problem == ""


def test_what_is_doubtful_in_the_text_is_told_with_its_place(model: StyleModel) -> None:
    model.write('{"stylingRules": [{"symbolizer": {"stroke": {"width": -3}}}]}')
    assert model.text.problem == ""
    assert model.said == (
        "/stylingRules/0/symbolizer/stroke/width: The length -3 is below 0; it is taken as 0. Write 0 or more."
    )
    model.write('{"stylingRules": [{"symbolizer": {"stroke": {"width": 3}}}]}')
    assert model.said == ""


def test_a_friendly_dialect_is_taken_and_becomes_canonical(model: StyleModel) -> None:
    model.write('{"stylingRules": [{"symbolizer": {"stroke": {"color": "#ff8800", "width": 1.5}}}]}')
    assert rule(model, "0")["symbolizer"]["stroke"]["color"] == [255, 136, 0]


# ---- undo ----------------------------------------------------------------------------------------------------------


def test_everything_is_undone_and_done_again(model: StyleModel) -> None:
    before = model.document
    model.set_value("0", "stroke.width", 4)
    model.write(json.dumps({"stylingRules": []}))
    assert model.selected == ""
    model.undo()
    assert (rule(model, "0")["symbolizer"]["stroke"]["width"], model.selected) == ({"px": 4}, "0")
    model.undo()
    assert model.document == before
    model.undo()
    model.redo()
    model.redo()
    model.redo()
    assert model.document == {"stylingRules": []}


def test_a_drag_is_one_step(model: StyleModel) -> None:
    before = model.document
    for number in range(5):
        model.set_value("0", "fill.opacity", number / 10, live=True)
    model.set_value("0", "fill.opacity", 0.5)
    model.undo()
    assert model.document == before


# ---- classes -------------------------------------------------------------------------------------------------------


def test_classes_are_tried_out_and_then_used(model: StyleModel) -> None:
    before = model.document
    model.ask(attribute="people", method="quantiles", classes=2)
    assert model.trial is not None
    assert [count for _, _, count in model.trial.rows] == [1, 1]
    assert model.trial.histogram is not None
    assert sum(model.trial.histogram.counts) == 2
    assert model.document == before
    model.use_classes()
    assert len(rule(model, "0")["nestedRules"]) == 2
    assert rule(model, "0")["symbolizer"]["stroke"]["width"] == {"px": 1}
    assert rule(model, "0")["name"] == "no data"
    legend = model.legend()
    assert legend is not None
    assert [entry.label for entry in legend.entries] == [*(label for label, _, _ in model.trial.rows), "no data"]
    assert model.problem is None


def test_beside_other_rules_one_with_classes_keeps_its_name(model: StyleModel) -> None:
    model.add()
    for _ in range(2):
        model.select("0")
        model.ask(attribute="people", method="quantiles", classes=2)
        model.use_classes()
    assert [rule(model, key)["name"] for key in ("0", "1")] == ["all: no data", "New rule"]


@pytest.mark.parametrize(
    ("dimensions", "members"),
    [(0, {"marker"}), (1, {"stroke"}), (2, {"fill"}), (None, {"fill", "stroke", "marker"})],
)
def test_a_class_colours_whatever_geometries_there_are(dimensions: Any, members: set[str]) -> None:
    layer = StyledLayer("places:all", "vector", dimensions, {"people": "number"})
    trial = try_out([1, 2, 3, 4], Question("people", "equal", 2, "batlow"), layer)
    document, _ = with_classes(RED, "0", trial, layer)
    style = Style.of(document)
    for number, (_, colour, _) in zip((1, 4), trial.rows, strict=True):
        (symbol,) = symbols(style, layer, Rows.of_documents([{"people": number}]))
        drawn = {"fill": symbol.fill, "stroke": symbol.stroke, "marker": next(iter(symbol.markers), None)}
        assert {name for name, part in drawn.items() if part and part.color == colour} == members


def test_a_text_is_divided_by_its_categories(model: StyleModel) -> None:
    model.ask(attribute="name")
    assert model.question is not None
    assert (model.question.method, model.trial_problem) == ("categories", "")
    assert model.trial is not None
    assert {label for label, _, _ in model.trial.rows} == {"North", "<b>South</b>"}


def test_what_cannot_be_divided_is_told(model: StyleModel) -> None:
    model.ask(attribute="nothing")
    assert model.trial is None
    assert "nothing" in model.trial_problem


# ---- keeping -------------------------------------------------------------------------------------------------------


def test_a_version_is_kept_with_its_author_and_note(model: StyleModel) -> None:
    model.set_value("0", "fill.color", "#00ff00")
    model.save("greener")
    assert model.problem is None
    assert not model.is_changed
    newest = model.versions[0]
    assert (newest.number, newest.author, newest.note) == (2, "Ada Editor", "greener")
    model.compare(1)
    assert model.compared is not None
    assert model.compared.document["stylingRules"][0]["symbolizer"]["fill"]["color"] == [255, 0, 0]
    assert model.address().version == 1
    model.take_version(1)
    assert rule(model, "0")["symbolizer"]["fill"]["color"] == [255, 0, 0]
    assert model.is_changed
    model.undo()
    assert not model.is_changed


def test_a_style_of_its_own_is_kept_under_a_new_title_and_can_become_the_default(model: StyleModel) -> None:
    model.set_value("0", "fill.color", "#00ff00")
    model.save(as_new="Green fields")
    assert model.stored is not None
    assert (model.stored.id, model.stored.is_default) == ("green-fields", False)
    model.make_default()
    assert model.platform.styles.default(LAYER).id == "green-fields"  # type: ignore[union-attr]
    model.save(as_new="Green fields")
    assert model.stored.id == "green-fields-2"


def test_two_who_edit_at_once_do_not_overwrite_each_other(model: StyleModel, platform: Platform) -> None:
    other = StyleModel(platform, EDITOR)
    other.open(LAYER)
    other.set_value("0", "fill.color", "#0000ff")
    other.save()
    model.set_value("0", "fill.color", "#00ff00")
    model.save()
    assert model.problem is not None
    assert model.problem.details.startswith("outdated")
    assert "new style" in model.problem.next_step
    assert model.is_changed


def test_a_viewer_tries_everything_and_keeps_nothing(platform: Platform, model: StyleModel) -> None:
    viewer = StyleModel(platform, VIEWER)
    viewer.open(LAYER)
    viewer.set_value("0", "fill.color", "#00ff00")
    assert viewer.is_changed
    for keep in (viewer.save, lambda: viewer.save(as_new="Mine"), viewer.make_default):
        viewer.dismiss()
        keep()
        assert viewer.problem is not None
        assert viewer.problem.details.startswith("forbidden")
    assert len(platform.styles.versions(LAYER, "red")) == 1


def test_what_was_not_saved_is_there_when_the_layer_is_opened_again(model: StyleModel) -> None:
    model.set_value("0", "fill.color", "#00ff00")
    model.close()
    assert model.subject is None
    model.open(LAYER)
    assert rule(model, "0")["symbolizer"]["fill"]["color"] == [0, 255, 0]
    assert "your changes" in model.said
    model.undo()
    assert not model.is_changed


# ---- coverages -----------------------------------------------------------------------------------------------------


def test_a_coverage_is_coloured_by_stops(platform: Platform) -> None:
    model = StyleModel(platform, EDITOR)
    model.open(IMAGES)
    assert model.problem is None
    assert model.window is not None
    model.ask(classes=4)
    assert model.trial is not None
    assert len(model.trial.stops) == 4
    model.use_classes()
    key = model.selected
    model.set_stops(key, [(900, "#ff0000"), (0, "#0000ff")])
    assert rule(model, key)["symbolizer"]["colorMap"] == [[0, [0, 0, 255]], [900, [255, 0, 0]]]
    model.add_stop(key)
    assert rule(model, key)["symbolizer"]["colorMap"][1] == [450, [127, 0, 127]]
    assert model.problem is None


def test_a_cube_is_styled_by_its_variable(platform: Platform) -> None:
    model = StyleModel(platform, EDITOR)
    model.open(CLIMATE)
    assert model.problem is None
    model.ask(classes=3)
    assert model.trial_problem == ""
    model.use_classes()
    assert model.problem is None
    assert model.document["stylingRules"]


# ---- the address, hostile values -----------------------------------------------------------------------------------


def test_a_link_opens_the_same_view(model: StyleModel, platform: Platform) -> None:
    model.set_value("0", "fill.color", "#00ff00")
    model.save()
    model.select("0.0")
    model.look_at(Point(7.12, 46.62), 6.5)
    model.compare(1)
    other = StyleModel(platform, VIEWER)
    other.go(model.address().query())
    assert other.problem is None
    assert other.address() == model.address()
    assert other.target == Point(7.12, 46.62)
    other.go("?layer=places:shires&rule=9.9&version=77")
    assert (other.problem, other.selected) == (None, "0")
    other.go("?layer=%3Cscript%3E")
    assert other.problem is not None


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_values_stay_values(model: StyleModel, attack: str) -> None:
    model.rename("0", attack)
    model.set_rows("0.0", "and", [Row("name", "=", attack)])
    model.save(attack, as_new=attack)
    assert model.problem is None
    assert model.title == attack
    assert rule(model, "0")["name"] == attack
    assert rule(model, "0.0")["selector"]["args"][1] == attack
    assert model.stored is not None
    assert re.fullmatch(r"[a-z0-9._-]+", model.stored.id)
    for output in model.outputs:
        assert "<script>" not in output.text or output.is_json
