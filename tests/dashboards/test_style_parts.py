"""The parts of the page Style: changes of a document, conditions as rows and text, fields, undo, addresses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.style import draft
from dashboards.style.address import Address
from dashboards.style.condition import Condition, Row, summary, tree_of_rows, tree_of_text
from dashboards.style.form import checked_scale, color_of, fields_of, form_of, meant, scale_value
from dashboards.style.history import MAX_STEPS, History
from geoetl.core.errors import InputError
from geoetl.core.spatial import Point
from geoetl.styles.layer import StyledLayer

AREAS = StyledLayer("places:shires", "vector", 2, {"name": "text", "people": "number", "old": "boolean", "day": "time"})
DOTS = StyledLayer("places:wells", "vector", 0, {"depth": "number"})
PEOPLE = {"op": ">", "args": [{"property": "people"}, 1000]}
NORTH = {"op": "=", "args": [{"property": "name"}, "North"]}
IS_VECTOR = {"op": "=", "args": [{"sysId": "dataLayer.type"}, "vector"]}


def scale(op: str, denominator: float) -> dict[str, Any]:
    return {"op": op, "args": [{"sysId": "viz.sd"}, denominator]}


STYLE: draft.Document = {
    "metadata": {"title": "Two"},
    "stylingRules": [
        {
            "name": "base",
            "selector": IS_VECTOR,
            "symbolizer": {
                "fill": {"color": [10, 20, 30], "opacity": 0.5},
                "stroke": {"color": "red", "width": {"px": 2}},
            },
            "nestedRules": [
                {"name": "many", "selector": PEOPLE, "symbolizer": {"fill": {"alter": True, "color": [1, 2, 3]}}},
                {"name": "north", "selector": NORTH, "symbolizer": {"stroke": {"color": [9, 9, 9]}}},
            ],
        },
        {"name": "last"},
    ],
}


# ---- documents -----------------------------------------------------------------------------------------------------


def names(document: draft.Document) -> list[tuple[str, str]]:
    return [(key, rule.get("name", "")) for key, rule in draft.rules(document)]


def test_rules_have_keys_and_pointers_that_lead_to_each_other() -> None:
    assert names(STYLE) == [("0", "base"), ("0.0", "many"), ("0.1", "north"), ("1", "last")]
    assert draft.pointer_of("0.1") == "/stylingRules/0/nestedRules/1"
    assert draft.key_of("/stylingRules/0/nestedRules/1/symbolizer/fill") == "0.1"
    assert draft.key_of("/metadata/title") == ""
    assert draft.rule_at(STYLE, "7") is None
    assert draft.rule_at(STYLE, "") is None


def test_rules_are_added_moved_copied_and_removed_and_the_document_before_stays() -> None:
    before = json.dumps(STYLE)
    added, key = draft.added(STYLE, {"name": "new"}, within="0")
    assert (key, names(added)[3]) == ("0.2", ("0.2", "new"))
    moved, key = draft.moved(STYLE, "0.1", -1)
    assert (key, [name for _, name in names(moved)]) == ("0.0", ["base", "north", "many", "last"])
    assert draft.moved(STYLE, "1", 5)[1] == "1"
    copied, key = draft.copied(STYLE, "0.0")
    assert (key, names(copied)[2]) == ("0.1", ("0.1", "many (copy)"))
    removed, key = draft.removed(STYLE, "0")
    assert (key, names(removed)) == ("0", [("0", "last")])
    removed, key = draft.removed(draft.removed(STYLE, "0.0")[0], "0.0")
    assert (key, "nestedRules" in removed["stylingRules"][0]) == ("0", False)
    assert json.dumps(STYLE) == before


def test_a_rule_inherits_property_by_property_and_replaces_what_it_does_not_alter() -> None:
    assert draft.effective(STYLE, "0.0")["fill"] == {"color": [1, 2, 3], "opacity": 0.5, "alter": True}
    assert draft.effective(STYLE, "0.1")["stroke"] == {"color": [9, 9, 9]}
    assert draft.effective(STYLE, "0.1", own=False)["stroke"]["width"] == {"px": 2}


def test_a_value_set_in_a_nested_rule_keeps_what_the_rule_inherits() -> None:
    changed = draft.with_value(STYLE, "0.0", "stroke.color", [5, 5, 5])
    assert draft.rule_at(changed, "0.0")["symbolizer"]["stroke"] == {"alter": True, "color": [5, 5, 5]}  # type: ignore[index]
    assert draft.effective(changed, "0.0")["stroke"]["width"] == {"px": 2}
    again = draft.with_value(changed, "0.0", "stroke.color", None)
    assert draft.rule_at(again, "0.0") == draft.rule_at(STYLE, "0.0")


def test_a_marker_is_set_as_a_whole_from_what_it_was() -> None:
    dot = {"type": "Dot", "stroke": {"color": [1, 1, 1], "width": {"px": 6}}}
    style: draft.Document = {
        "stylingRules": [{"symbolizer": {"marker": {"elements": [dot]}}, "nestedRules": [{"name": "red"}]}]
    }
    changed = draft.with_value(style, "0.0", "marker.0.stroke.color", [255, 0, 0])
    assert draft.rule_at(changed, "0.0")["symbolizer"]["marker"] == {  # type: ignore[index]
        "elements": [{"type": "Dot", "stroke": {"color": [255, 0, 0], "width": {"px": 6}}}]
    }
    new = draft.with_value({"stylingRules": [{}]}, "0", "marker.0.stroke.width", {"px": 3})
    assert draft.value_at(draft.effective(new, "0"), "marker.0.type") == "Dot"


def test_a_label_begins_with_its_text_and_ends_with_it() -> None:
    labelled = draft.with_value(STYLE, "0", "label.0.text", {"property": "name"})
    assert draft.value_at(draft.effective(labelled, "0"), "label.0.font.size") == 12
    assert "label" not in draft.effective(draft.with_value(labelled, "0", "label.0.text", None), "0")
    assert "label" not in draft.effective(draft.with_value(STYLE, "0", "label.0.font.size", 20), "0")


def test_text_is_the_same_document_and_short_lists_stay_on_their_line() -> None:
    text = draft.text_of(STYLE)
    assert json.loads(text) == STYLE
    assert '"color": [10, 20, 30]' in text
    assert max(len(line) for line in text.splitlines()) <= 100


# ---- conditions ----------------------------------------------------------------------------------------------------


def test_a_selector_is_taken_apart_and_put_together_again() -> None:
    selector = {"op": "and", "args": [IS_VECTOR, scale(">=", 1000), scale("<", 50_000), PEOPLE, NORTH]}
    condition = Condition.of(selector)
    assert (condition.above, condition.below, condition.layer) == (1000, 50_000, (IS_VECTOR,))
    assert condition.rows() == ("and", (Row("people", ">", "1000"), Row("name", "=", "North")))
    assert condition.selector() == selector
    assert Condition.of(None).selector() is None


def test_an_operator_of_the_scale_stays_as_it_was_written() -> None:
    for selector in (scale("<=", 200_000), scale(">", 10), {"op": ">", "args": [5000, {"sysId": "viz.sd"}]}):
        condition = Condition.of(selector)
        assert {condition.above, condition.below} != {None}
        assert Condition.of(condition.selector()) == condition
    assert Condition.of(scale("<=", 200_000)).selector() == scale("<=", 200_000)


@pytest.mark.parametrize(
    ("row", "tree"),
    [
        (Row("name", "=", "North"), NORTH),
        (Row("people", "between", "10, 20.5"), {"op": "between", "args": [{"property": "people"}, 10, 20.5]}),
        (Row("name", "in", "a, b"), {"op": "in", "args": [{"property": "name"}, ["a", "b"]]}),
        (Row("name", "in", '"a, b",c'), {"op": "in", "args": [{"property": "name"}, ["a, b", "c"]]}),
        (Row("name", "like", "N%"), {"op": "like", "args": [{"property": "name"}, "N%"]}),
        (Row("old", "=", "true"), {"op": "=", "args": [{"property": "old"}, True]}),
        (Row("day", ">=", "2020-01-01"), {"op": ">=", "args": [{"property": "day"}, {"date": "2020-01-01"}]}),
        (Row("name", "isNull"), {"op": "isNull", "args": [{"property": "name"}]}),
        (Row("name", "isNotNull"), {"op": "not", "args": [{"op": "isNull", "args": [{"property": "name"}]}]}),
    ],
)
def test_a_row_is_a_comparison_and_the_comparison_is_that_row(row: Row, tree: dict[str, Any]) -> None:
    assert tree_of_rows("and", [row], AREAS.properties) == tree
    assert Condition(tree).rows() == ("and", (row,))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (Row("people", ">", "many"), "'many' is no number."),
        (Row("people", ">", ""), "'people' is compared with nothing yet."),
        (Row("people", "between", "1"), "'1' has 1 values; between takes two."),
        (Row("old", "=", "perhaps"), "'perhaps' is neither true nor false."),
    ],
)
def test_a_value_that_does_not_fit_its_attribute_is_told(row: Row, told: str) -> None:
    with pytest.raises(InputError) as caught:
        tree_of_rows("and", [row], AREAS.properties)
    assert caught.value.detail == told


# NUL is refused in every filter.
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_any_text_is_a_value_and_comes_back_as_it_was(value: str) -> None:
    tree = tree_of_rows("and", [Row("name", "=", value)], AREAS.properties)
    assert Condition(tree).rows() == ("and", (Row("name", "=", value),))
    assert tree_of_text(json.dumps(tree)) == tree


def test_conditions_are_written_as_text_and_read_again() -> None:
    nested = {"op": "or", "args": [{"op": "and", "args": [PEOPLE, NORTH]}, scale("<", 10_000)]}
    condition = Condition.of(nested)
    assert condition.rows() is None
    assert tree_of_text(condition.text()) == nested
    assert tree_of_text("  ") is None
    assert tree_of_text("name = 'it''s </script>'") == {"op": "=", "args": [{"property": "name"}, "it's </script>"]}


def test_a_condition_is_told_in_a_few_words() -> None:
    assert summary({"op": "and", "args": [IS_VECTOR, NORTH, scale("<", 50_000)]}) == (
        "name = North · closer than 1:50\u202f000"
    )
    assert summary({"op": "or", "args": [NORTH, PEOPLE]}) == "name = North or people > 1000"
    assert summary(IS_VECTOR) == ""
    long = {"op": "<", "args": [{"property": "people"}, 2.57142857142857]}
    assert summary({"op": "and", "args": [NORTH, long]}) == "name = North and people < 2.57143"


# ---- fields --------------------------------------------------------------------------------------------------------


def test_a_form_shows_what_a_rule_sets_and_what_it_inherits() -> None:
    form = form_of(STYLE, "0.0", AREAS)
    fields = {field["path"]: field for field in form["fields"]}
    assert (fields["fill.color"]["value"], fields["fill.color"]["inherited"]) == ("#010203", "#0a141e")
    assert (fields["stroke.width"]["value"], fields["stroke.width"]["inherited"]) == (None, 2)
    assert (fields["stroke.color"]["value"], fields["stroke.color"]["inherited"]) == (None, "#ff0000")
    assert form["condition"]["rows"] == [{"attribute": "people", "op": ">", "value": "1000"}]
    assert form_of(STYLE, "5", AREAS) == {}


def test_what_a_rule_asks_of_its_layer_is_told_only_where_it_is_another_layer() -> None:
    def fixed(*tests: Any) -> Any:
        rule = {"selector": {"op": "and", "args": [*tests, PEOPLE]}, "symbolizer": {}}
        return form_of({"stylingRules": [rule]}, "0", AREAS)["condition"]["fixed"]

    def asks(name: str, value: Any) -> Any:
        return {"op": "=", "args": [{"sysId": f"dataLayer.{name}"}, value]}

    assert fixed(IS_VECTOR) == fixed(IS_VECTOR, asks("id", AREAS.id)) == ""
    for other in (asks("type", "coverage"), asks("id", "elsewhere"), asks("nothing", 1)):
        assert fixed(IS_VECTOR, other).startswith("It asks for another layer than this one")


def test_each_kind_of_layer_has_the_fields_that_draw_it() -> None:
    def groups(layer: StyledLayer) -> list[str]:
        return list(dict.fromkeys(field.group for field in fields_of(layer)))

    assert groups(AREAS) == ["Fill", "Outline", "Label", "As a whole"]
    assert groups(DOTS) == ["Marker", "Label", "As a whole"]
    assert groups(StyledLayer("roads:a", "vector", 1)) == ["Line", "Label", "As a whole"]
    assert groups(StyledLayer("dem", "coverage", None, {"height": "number"})) == ["As a whole"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [("#1a9850", [26, 152, 80]), ("fff", [255, 255, 255]), ("Steel Blue", [70, 130, 180]), ("darkgray", [169] * 3)],
)
def test_colours_are_written_as_people_write_them(text: str, parts: list[int]) -> None:
    assert color_of(text, "fill.color") == parts


def test_what_is_no_value_is_told_with_the_field() -> None:
    fields = {field.path: field for field in fields_of(AREAS)}
    for path, given_text in (
        ("fill.color", "stelblue"),
        ("fill.color", "</script>"),
        ("fill.opacity", "2"),
        ("stroke.width", "-1"),
        ("stroke.width", "nan"),
        ("stroke.dashPattern", "6"),
    ):
        with pytest.raises(InputError) as caught:
            meant(fields[path], given_text)
        assert caught.value.field == path
    assert meant(fields["stroke.width"], "1,5") == {"px": 1.5}
    assert meant(fields["stroke.dashPattern"], "6, 3") == [6, 3]
    assert meant(fields["fill.color"], "") is None


def test_scales_are_read_as_they_are_written_and_may_not_cross() -> None:
    assert scale_value("1 : 50\u202f000", "below") == 50_000
    assert scale_value("", "below") is None
    for wrong in ("-5", "abc", "inf", "nan"):
        with pytest.raises(InputError):
            scale_value(wrong, "below")
    with pytest.raises(InputError, match="is not closer than"):
        checked_scale(Condition(above=1000), "below", 1000)


# ---- undo, address -------------------------------------------------------------------------------------------------


def numbered(number: int) -> draft.Document:
    return {"stylingRules": [], "number": number}


def test_steps_are_undone_and_done_again() -> None:
    history = History(numbered(0)).then(numbered(1)).then(numbered(2))
    back = history.undone()
    assert (back.present, back.redone().present, back.undone().undone().present) == (
        numbered(1),
        numbered(2),
        numbered(0),
    )
    assert back.then(numbered(3)).future == ()
    assert history.then(numbered(2)).past == history.past


def test_a_drag_is_one_step() -> None:
    history = History(numbered(0))
    for number in range(1, 9):
        history = history.then(numbered(number), moving="0 fill.color")
    history = history.then(numbered(9), ends="0 fill.color")
    assert (history.present, history.past) == (numbered(9), (numbered(0),))
    assert len(history.then(numbered(10), ends="0 fill.color").past) == 2


def test_the_oldest_steps_are_forgotten() -> None:
    history = History(numbered(0))
    for number in range(1, MAX_STEPS + 50):
        history = history.then(numbered(number))
    assert len(history.past) == MAX_STEPS


def test_an_address_brings_back_what_it_was_made_of() -> None:
    address = Address("places:shires", "by-people", 2, "0.1", Point(7.12, 46.62), 6.25)
    assert address.query() == "?layer=places:shires&style=by-people&version=2&rule=0.1&centre=7.12,46.62&zoom=6.25"
    assert Address.parse(address.query()) == address
    assert Address.parse("") == Address()


@pytest.mark.parametrize(
    "query", ["?layer=../etc", "?layer=a&style=%3Cscript%3E", "?version=x", "?zoom=99", "?zoom=nan", "?centre=1"]
)
def test_a_wrong_address_is_refused(query: str) -> None:
    with pytest.raises(InputError):
        Address.parse(query)
