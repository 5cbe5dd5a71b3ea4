"""The models accept what the official schema accepts, and nothing else."""

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from geoetl.core.errors import InvalidStyle
from geoetl.core.selectors import Rows
from geoetl.styles import reading
from geoetl.styles.evaluate import symbols
from geoetl.styles.expressions import Kind, kinds
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.testing.styles import coverage_styles, styles
from tests.styles.official import EXAMPLES, example, is_valid

FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def one_rule(**symbolizer: Any) -> dict[str, Any]:
    """Return a style of one rule."""
    return {"stylingRules": [{"symbolizer": symbolizer}]}


@pytest.mark.parametrize("name", EXAMPLES)
def test_official_examples_are_accepted_and_come_back_equal(name: str) -> None:
    document = example(name)
    style = Style.of(document)
    assert style.document() == document
    assert Style.of(json.dumps(document)) == style == Style.of(style.document())
    assert style.title == document["metadata"]["title"]
    assert style.changes == ()


@FEW
@given(styles(max_rules=2, scales=True, data=True))
def test_random_styles_are_valid_by_the_official_schema_and_come_back_equal(document: dict[str, Any]) -> None:
    assert is_valid(document)
    style = Style.of(document)
    assert style.document() == document
    assert Style.of(json.dumps(document).encode()) == style


@FEW
@given(coverage_styles())
def test_random_styles_of_coverages_are_valid_by_the_official_schema(document: dict[str, Any]) -> None:
    assert is_valid(document)
    assert Style.of(document).document() == document


# -- the same verdict as the schema ----------------------------------------------------------------------------------

PROPERTY, SCALE = {"property": "p"}, {"sysId": "viz.sd"}
SYMBOLIZERS: tuple[dict[str, Any], ...] = (
    {
        "fill": {
            "color": "red",
            "opacity": 0.5,
            "hatch": {"width": {"px": 1}, "angle": 3},
            "stipple": {"ratio": 1},
            "dotpattern": 3,
            "pattern": {"type": "Dot"},
        }
    },
    {
        "stroke": {
            "color": [1, 2, 3],
            "width": {"mm": 1},
            "casing": {"color": "red", "width": 1},
            "centerLine": {"opacity": 1},
            "dashPattern": [1, 2],
            "pattern": {"type": "Dot", "stroke": {"width": 1}},
        }
    },
    {"stroke": {"dashPattern": {"index": 0, "value": 2}, "alter": True, "color": {"r": 1, "g": PROPERTY}}},
    {"stroke": PROPERTY, "fill": {"property": "p", "color": 5}},
    {"marker": {"alter": True, "opacity": 1, "position": [1, {"px": 2}], "elements": [{"type": "Dot", "size": 3}]}},
    {
        "marker": {
            "elements": [{"type": "Image", "image": {"uri": "x"}, "hotSpot": [{"pc": 1}, {"pc": 2}], "tint": "red"}]
        }
    },
    {
        "marker": {
            "elements": {
                "index": 1,
                "value": {
                    "type": "Text",
                    "text": PROPERTY,
                    "alignment": ["left", "top"],
                    "font": {"face": "x", "size": 2, "bold": True, "outline": {"size": 1, "color": "red"}},
                },
            }
        }
    },
    {"label": {"elements": [{"type": "Text", "text": "a"}], "placement": {"priority": 1, "minSpacing": 2}}},
    {"marker": {"elements": [{"elements": [{"type": "Dot"}]}]}},
    {"visibility": {"op": "=", "args": [PROPERTY, 1]}, "opacity": PROPERTY, "zOrder": 2, "$comment": "c"},
    {"colorMap": [[0, "red"], [1, [1, 2, 3], "n"]], "opacityMap": [[0, 1]], "singleChannel": PROPERTY},
    {
        "colorChannels": [PROPERTY, 0, 1],
        "hillShading": {
            "factor": 1,
            "sun": {"azimuth": {"deg": 1}, "elevation": 2},
            "colorMap": [[0, "red"]],
            "opacityMap": [[0, 1]],
        },
    },
)
# What stands in the place of something in them: each fits somewhere, or nearly.
REPLACED: tuple[Any, ...] = (
    *(None, True, 1, -1, 2.5, 300, "x", "red", "left", "", "Dot", "Image", [], {}, [1, 2], [1, 2, 3], ["left", "top"]),
    *(PROPERTY, SCALE, {"sysId": "vis.sd"}, {"sysId": []}, {"op": "f", "args": []}, {"op": "+", "args": [1, 2]}),
    *({"op": "?:", "args": [1, 2, 3]}, {"op": "=", "args": [1, 2]}, {"op": {}, "args": [1]}, {"r": 1}, {"r": "x"}),
    *({"px": 1}, {"px": 1, "mm": 1}, {"px": "x", "mm": 1}, {"deg": 1}, {"index": 0, "value": 1}, {"alter": 1}),
    *({"index": 0, "value": {"type": "Dot"}}, {"property": "p", "color": 5}, {"property": "p", "alter": 3}),
    *({"type": "Dot"}, {"elements": [{"type": "Dot"}]}, {"op": "f", "args": [], "elements": [{"type": "Dot"}]}),
    *([[1, "red"]], {"op": "isNull", "args": [PROPERTY]}, {"op": "not", "args": [True]}, {"type": "Circle"}),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value."""
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, member in members for found in places(member, (*path, key)))]


def changed(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return a document in which something was replaced or removed."""
    made = copy.deepcopy(document)
    *path, last = chance.choice([place for place in places(made) if place])
    around: Any = made
    for key in path:
        around = around[key]
    if chance.random() < 0.8:
        around[last] = copy.deepcopy(chance.choice(REPLACED))
    else:
        del around[last]
    return made


@pytest.mark.parametrize("seed", range(len(SYMBOLIZERS)))
def test_models_and_schema_agree_about_styles_that_are_nearly_right(seed: int) -> None:
    chance = random.Random(seed)
    verdicts = set()
    for _ in range(35):
        document = changed(
            changed({"metadata": {"title": "t", "keywords": ["a"]}, **one_rule(**SYMBOLIZERS[seed])}, chance), chance
        )
        official = is_valid(document)
        try:
            Style.model_validate(document)
            ours = True
        except ValidationError:
            ours = False
        assert ours == official, json.dumps(document)
        verdicts.add(ours)
    assert verdicts == {True, False}


CHOICES: dict[str, Kind] = {
    "boolExpression": Kind.CONDITION,
    "numericExpression": Kind.NUMBER,
    "characterExpression": Kind.TEXT,
    "geomExpression": Kind.GEOMETRY,
    "temporalExpression": Kind.TIME,
    "idOrFnExpression": Kind.REFERENCE,
    "array": Kind.LIST,
}
OPERATORS = (
    *("=", "<", "and", "or", "not", "like", "between", "in", "isNull", "startsWith", "+", "bitAnd", "bitNot", "<<"),
    *("casei", "lowerCase", "concatenate", "substitute", "format", "s_intersects", "s_buffer", "t_after", "a_equals"),
    *("?:", "f"),
)
LEAVES: tuple[Any, ...] = (
    *(1, 2.5, 2.0, "x", "abc", True, None, PROPERTY, SCALE, {"sysId": "vis.id"}, {"date": "2020-01-01"}, {}, [], ".."),
    *({"timestamp": "x"}, {"property": "a", "sysId": "viz"}, {"property": 1}, {"date": 1}),
)


def expression(chance: random.Random, depth: int) -> Any:
    """Return a random expression, mostly a strange one."""
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(LEAVES)
    arguments = [expression(chance, depth - 1) for _ in range(chance.choice([0, 1, 1, 2, 2, 2, 3, 3]))]
    if chance.random() < 0.1:
        return chance.choice([arguments, {"interval": arguments}])
    made: dict[str, Any] = {"op": chance.choice([*OPERATORS, 5]), "args": arguments}
    if chance.random() < 0.1:
        made["name"] = chance.choice(["substitute", "format", "s_union", "s_buffer", "other"])
    return made | ({"property": "a"} if chance.random() < 0.1 else {})


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_expressions_are_what_the_schema_says_they_are(name: str) -> None:
    chance = random.Random(name)
    for _ in range(50):
        node = expression(chance, 3)
        assert bool(kinds(node) & CHOICES[name]) == is_valid(node, name), json.dumps(node)


# -- messages --------------------------------------------------------------------------------------------------------


def refused(document: Any) -> InvalidStyle:
    """Return the error of a document."""
    with pytest.raises(InvalidStyle) as caught:
        Style.of(document)
    return caught.value


@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        ({}, "/stylingRules", "it is missing"),
        ({"stylingRules": None}, "/stylingRules", "null is not a list of rules"),
        ({"stylingRules": [5]}, "/stylingRules/0", "5 is not an object"),
        (one_rule(fill={"color": "reddish"}), "/stylingRules/0/symbolizer/fill/color", '"reddish" is not a colour'),
        (one_rule(stroke={"width": {"px": 1, "mm": 1}}), "/stylingRules/0/symbolizer/stroke/width", "one unit"),
        (
            one_rule(fill={"color": PROPERTY}),
            "/stylingRules/0/symbolizer/fill/color",
            "is not a colour",
        ),
        (one_rule(fill=PROPERTY), "/stylingRules/0/symbolizer/fill", "cannot tell an expression from an object"),
        (
            one_rule(marker={"elements": [{"type": "Dot"}, {"type": "Star"}]}),
            "/stylingRules/0/symbolizer/marker/elements/1",
            "shapes are of part 2",
        ),
        (one_rule(marker={"elements": []}), "/stylingRules/0/symbolizer/marker/elements", "an empty list of graphics"),
        (
            {"stylingRules": [{"selector": {"op": "frobnicate", "args": [PROPERTY]}}]},
            "/stylingRules/0/selector",
            "condition",
        ),
        ("{", "", "is not JSON"),
        (b"\xff\xfe", "", "is not JSON"),
        ('{"stylingRules": [], "stylingRules": []}', "", "stands twice"),
        ('{"stylingRules": [{"symbolizer": {"opacity": NaN}}]}', "", "NaN is not a number of JSON"),
        (one_rule(opacity=float("inf")), "/stylingRules/0/symbolizer/opacity", "not finite"),
        (one_rule(opacity=10**400), "/stylingRules/0/symbolizer/opacity", "not finite"),
        ({"stylingRules": [{"name": "\ud800"}]}, "/stylingRules/0/name", "cannot be written"),
        ({"stylingRules": [{"name": "a\0b"}]}, "/stylingRules/0/name", "cannot be written"),
        ({"stylingRules": [{"a/b~c": "x" * 30_000}]}, "/stylingRules/0/a~1b~0c", "is too long"),
        ({"stylingRules": [{}] * (reading.MAX_RULES + 1)}, "/stylingRules", "2,001 rules, more than 2,000"),
        ({"stylingRules": [{"x": object()}]}, "/stylingRules/0/x", "a object is no JSON"),
        ({1: 2}, "", "is no name of a member"),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(document: Any, pointer: str, said: str) -> None:
    error = refused(document)
    assert error.field == pointer
    assert said in error.detail
    assert error.hint
    assert (error.code, error.status) == ("invalid_style", 422)


def test_a_refusal_has_the_first_problem_and_counts_the_others() -> None:
    error = refused({"stylingRules": [{"symbolizer": {"fill": {"color": "x"}, "stroke": {"width": "x"}}}, {"name": 5}]})
    assert error.detail.endswith("There are 2 more problems.")
    assert [one["field"] for one in error.errors] == [
        "/stylingRules/0/symbolizer/fill/color",
        "/stylingRules/0/symbolizer/stroke/width",
        "/stylingRules/1/name",
    ]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"stylingRules":' + "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000]
)
def test_a_document_nested_without_end_is_refused(text: str) -> None:
    assert refused(text).code == "invalid_style"


def test_rules_nested_too_deeply_are_refused() -> None:
    rule: dict[str, Any] = {}
    for _ in range(reading.MAX_NESTED + 1):
        rule = {"nestedRules": [rule]}
    assert "nested more than" in refused({"stylingRules": [rule]}).detail


def test_a_document_of_too_many_bytes_is_refused_unread() -> None:
    assert "bytes, more than" in refused("x" * (reading.MAX_BYTES + 1)).detail


# -- values ----------------------------------------------------------------------------------------------------------


def test_styles_are_frozen_and_a_document_is_its_own() -> None:
    document = one_rule(fill={"color": [1, 2, 3]})
    style = Style.of(document)
    style.document()["stylingRules"].clear()
    document["stylingRules"].clear()
    assert len(style.document()["stylingRules"]) == 1
    with pytest.raises(ValidationError):
        style.styling_rules = ()  # type: ignore[misc]


def test_a_changed_copy_forgets_what_was_worked_out() -> None:
    style = Style.of(one_rule(opacity=1))
    assert style.tree
    assert style.model_copy(update={"styling_rules": ()}).document() == {"stylingRules": []}


def test_a_style_shows_itself_in_a_notebook_and_texts_stay_texts() -> None:
    html = Style.of({"metadata": {"title": "</script><b>"}, "stylingRules": [{"name": "<i>"}]})._repr_html_()
    assert "&lt;/script&gt;" in html and "<i>" not in html and "<b>" not in html


def test_a_style_shows_the_legend_of_the_layer_that_it_is_written_for() -> None:
    mine = {"op": "=", "args": [{"sysId": "dataLayer.id"}, "parks"]}
    rule = {"name": "Old parks", "selector": mine, "symbolizer": {"fill": {"color": [1, 2, 3]}}}
    html = Style.of({"stylingRules": [rule]})._repr_html_()
    assert "<svg" in html and "#010203" in html
    assert "<svg" in Style.of(one_rule(colorMap=[[0, "red"], [1, "blue"]]))._repr_html_()


def codes(document: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return the codes and places of what is doubtful."""
    return [(finding.code, finding.subject) for finding in Style.of(document).findings()]


def test_what_is_doubtful_in_the_official_examples_is_found() -> None:
    assert codes(example("1-core")) == [
        ("style_impossible_date", "/stylingRules/0/nestedRules/0/selector/args/1/args/1")
    ]
    assert codes(example("2-vector-polygon"))[0] == (
        "style_unknown_identifier",
        "/stylingRules/0/nestedRules/0/selector/args/0/args/0",
    )
    assert codes(example("3-vector-line")) == codes(example("8-coverage-hillshading")) == []


@pytest.mark.parametrize(
    ("symbolizer", "code"),
    [
        ({"strok": {"width": 1}}, "style_unknown_member"),
        ({"fill": {"colour": "red"}}, "style_unknown_member"),
        ({"opacity": 5}, "style_opacity_range"),
        ({"fill": {"color": "red", "opacity": -0.1}}, "style_opacity_range"),
        ({"opacityMap": [[0, 0.5], [1, 7]]}, "style_opacity_range"),
        ({"fill": {"color": [300, 0, 0]}}, "style_color_range"),
        ({"stroke": {"width": {"px": -1}}}, "style_length_range"),
        ({"colorMap": [[5, "red"], [1, "blue"]]}, "style_stop_order"),
        ({"colorMap": [["a", "red"]]}, "style_stop"),
        ({"fill": {"color": {"$ref": "#/$variables/x"}}}, "style_unknown_variable"),
    ],
)
def test_what_is_legal_but_hardly_meant_is_found(symbolizer: dict[str, Any], code: str) -> None:
    assert [found for found, _ in codes(one_rule(**symbolizer))] == [code]


@pytest.mark.parametrize(("given", "taken"), [(7, 1.0), (-3, 0.0)])
def test_an_opacity_beyond_0_to_1_is_legal_by_the_official_schema_told_and_brought_back(
    given: float, taken: float
) -> None:
    document = one_rule(opacity=given, fill={"color": "red", "opacity": given})
    assert is_valid(document)
    style = Style.of(document)
    assert [where for _, where in codes(document)] == [
        "/stylingRules/0/symbolizer/opacity",
        "/stylingRules/0/symbolizer/fill/opacity",
    ]
    (symbol,) = symbols(style, StyledLayer("x", "vector", 2), Rows({}, 1))
    assert symbol.fill is not None
    assert (symbol.opacity, symbol.fill.opacity) == (taken, taken)
