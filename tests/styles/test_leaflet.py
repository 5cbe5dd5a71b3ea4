"""Leaflet styles are data: what the rules say, how zooms and products come out, and one answer in both languages."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geoetl.styles.encoders.leaflet as leaflet
from geoetl.core.selectors import Rows
from geoetl.styles.encoders.leaflet import Leaflet, leaflet_style
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import denominator_of, zoom_of
from geoetl.testing.styles import SCALES, features, layers, styles
from tests.peers.judge import Judge

EVALUATOR = Path(leaflet.__file__).with_name("leaflet_style.js")
LAND = StyledLayer("land", "vector", 2, {"kind": "text", "height": "number", "since": "time"})

# -- one evaluator in two languages ----------------------------------------------------------------------------------

LETTERS = ("", "x", "X", "ß", "SS", "ı", "I", "ς", "Σ", "Ꭰ", "ꭰ", "%", "a_b", "\\", "\U0001f600", "\uffff", "é")
DATES = ("2020-01-01", "2020-01-01T12:00:00Z", "2020-01-01T00:00:00+02:00", "2020-02-30", "2020-01-01 12:00")
odd_texts = st.sampled_from([*LETTERS, *DATES, "0000-01-01"])
literals = st.one_of(odd_texts, st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, -0.0, 1e300, 1 / 3]))
MOMENTS = ("2020-01-01T12:00:00.5Z", "2019-12-31T22:00:00Z", "2020-01-01")
times = st.sampled_from([{"date": "2020-01-01"}, {"date": "2020-13-01"}, *({"timestamp": one} for one in MOMENTS)])
names = st.sampled_from(["a", "b", "__proto__", "constructor", "missing"])
leaves = st.one_of(literals, names.map(lambda name: {"property": name}), times)


def operation(names: list[str], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda name, *given: {"op": name, "args": list(given)}, st.sampled_from(names), *arguments)


values = st.one_of(leaves, leaves, operation(["+", "-", "*", "/", "%", "div", "^"], leaves, leaves))
values = st.one_of(values, operation(["casei"], values))
malformed = st.sampled_from(
    [None, "x", 3, {}, [], {"op": "and", "args": []}, {"op": "=", "args": [1]}, {"op": ["="]}, {"property": 1}]
)
conditions = st.recursive(
    st.one_of(
        operation(["=", "<>", "<", "<=", ">", ">="], values, values),
        operation(["between"], values, values, values),
        operation(["in"], values, st.lists(st.one_of(literals, times), max_size=3)),
        operation(["like"], values, st.text("ab%_\\xX\U0001f600", max_size=5)),
        operation(["isNull"], values),
        operation(["frobnicate", "__proto__", "s_within", "accenti"], values),
        names.map(lambda name: {"property": name}),
        st.booleans(),
        malformed,
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda name, parts: {"op": name, "args": parts},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        operation(["not"], inner),
        operation(["=", "<>"], inner, st.booleans()),
    ),
    max_leaves=4,
)
properties = st.dictionaries(
    st.sampled_from(["a", "b", "__proto__"]),
    st.one_of(st.none(), literals, st.text("ab%_\\xX\U0001f600", max_size=4), st.just([1]), st.just({"k": 1})),
)


def test_both_evaluators_give_the_same_of_odd_conditions_and_features(judge: Judge) -> None:
    compared = 0

    @settings(max_examples=90, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(conditions, min_size=12, max_size=12), properties)
    def compare(filters: list[Any], row: dict[str, Any]) -> None:
        nonlocal compared
        for number, condition in enumerate(filters):
            style = {"default": {"weight": 1}, "rules": [{"filter": condition, "style": {"weight": number + 2}}]}
            (theirs,) = judge.leaflet(EVALUATOR, style, [(3.0, {"properties": row})])
            assert leaflet_style(style, row, 3.0) == theirs
            compared += 1

    compare()
    assert compared >= 1000


@pytest.mark.parametrize("zoom", [0, 4.999, 5, 7.5, 8, 22])
def test_a_rule_holds_from_its_least_zoom_on_and_below_its_greatest(judge: Judge, zoom: float) -> None:
    style = {"default": {"weight": 1}, "rules": [{"filter": True, "style": {"weight": 2}, "minZoom": 5, "maxZoom": 8}]}
    wanted = {"weight": 2 if 5 <= zoom < 8 else 1}
    assert leaflet_style(style, {}, zoom) == wanted
    assert judge.leaflet(EVALUATOR, style, [(zoom, {"properties": {}})]) == [wanted]


@pytest.mark.parametrize(
    "rule", [{}, {"style": {"weight": 9}}, {"filter": None, "style": {"weight": 9}}, {"filter": True}]
)
def test_a_rule_without_a_filter_or_options_changes_nothing(judge: Judge, rule: dict[str, Any]) -> None:
    style = {"default": {"weight": 1}, "rules": [rule]}
    assert leaflet_style(style, {}, 3.0) == {"weight": 1}
    assert judge.leaflet(EVALUATOR, style, [(3.0, {"properties": {}})]) == [{"weight": 1}]


def test_only_path_options_come_out_of_a_style(judge: Judge) -> None:
    style = {"default": {"onclick": "alert(1)", "weight": 1, "className": "x"}, "rules": []}
    assert leaflet_style(style, {}) == {"weight": 1}
    assert judge.leaflet(EVALUATOR, style, [(3.0, {"properties": {}})]) == [{"weight": 1}]


def test_the_program_of_the_page_has_no_way_to_run_what_it_reads() -> None:
    program = EVALUATOR.read_text(encoding="utf-8")
    assert not [word for word in ("eval", "Function(", "innerHTML", "import ", "require(") if word in code_of(program)]


# -- what rules come out ---------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    styles(scales=True, labels=False), layers(), st.lists(features(), min_size=4, max_size=4), st.sampled_from(SCALES)
)
def test_each_feature_has_the_options_of_its_symbol(
    document: dict[str, Any], layer: StyledLayer, rows: list[dict[str, Any]], scale: int
) -> None:
    style = Style.of(document)
    encoded = Leaflet().encode(style, layer)
    for denominator in (scale * 0.9, scale, scale * 1.1):
        for row, symbol in zip(rows, symbols(style, layer, Rows.of_documents(rows), denominator), strict=True):
            options = leaflet_style(encoded.document, row, zoom_of(denominator, 256))
            fill, stroke = symbol.fill, symbol.stroke
            if layer.dimensions == 2 and fill:
                shown = (fill.color.hex, pytest.approx(symbol.opacity * fill.opacity, abs=1e-6))
                assert options["fill"] == symbol.visible
                assert not symbol.visible or (options["fillColor"], options["fillOpacity"]) == shown
            if layer.dimensions != 0 and stroke:
                shown = (stroke.color.hex, pytest.approx(symbol.opacity * stroke.opacity, abs=1e-6))
                assert options["stroke"] == (symbol.visible and stroke.width > 0)
                assert not options["stroke"] or (options["color"], options["opacity"]) == shown
                assert not options["stroke"] or options["weight"] == pytest.approx(stroke.width, abs=1e-6)
            if layer.dimensions == 0 and symbol.markers and "0" not in lost_markers(encoded.losses):
                dot = symbol.markers[0]
                assert options["fill"] == symbol.visible
                assert not symbol.visible or dot.color is None or options["fillColor"] == dot.color.hex


def test_opacities_that_different_rules_change_are_multiplied() -> None:
    style = Style.of({
        "stylingRules": [
            {"symbolizer": {"fill": {"color": "red"}}},
            {"selector": equals("kind", "a"), "symbolizer": {"opacity": 0.5}},
            {"selector": equals("height", 1), "symbolizer": {"fill": {"alter": True, "opacity": 0.5}}},
            {"selector": equals("kind", "b"), "symbolizer": {"opacity": 0.25}},
        ]
    })  # fmt: skip
    document = Leaflet().encode(style, LAND).document
    shares = {
        (kind, height): leaflet_style(document, {"kind": kind, "height": height})["fillOpacity"]
        for kind in ("a", "b", "c")
        for height in (0, 1)
    }
    assert shares == {("a", 0): 0.5, ("a", 1): 0.25, ("b", 0): 0.25, ("b", 1): 0.125, ("c", 0): 1, ("c", 1): 0.5}
    # "a" and "b" exclude one another: there is no rule for both.
    assert len(document["rules"]) == 5


def test_a_class_is_one_rule_with_its_name() -> None:
    nested = [
        {
            "name": f"class {kind}",
            "selector": equals("kind", kind),
            "symbolizer": {"fill": {"alter": True, "color": color}},
        }
        for kind, color in (("a", "red"), ("b", "blue"))
    ]
    style = Style.of({"stylingRules": [{"symbolizer": {"fill": {"color": "gray"}}, "nestedRules": nested}]})
    encoded = Leaflet().encode(style, LAND)
    assert encoded.document["default"]["fillColor"] == "#808080"
    assert encoded.document["rules"] == [
        {"name": "class a", "filter": equals("kind", "a"), "style": {"fillColor": "#ff0000"}},
        {"name": "class b", "filter": equals("kind", "b"), "style": {"fillColor": "#0000ff"}},
    ]
    assert encoded.losses == ()


def test_a_text_that_is_compared_with_a_time_is_one() -> None:
    style = Style.of({"stylingRules": [{"selector": equals("since", "2020-02-28"), "symbolizer": {"opacity": 0.5}}]})
    document = Leaflet().encode(style, LAND).document
    assert document["rules"][0]["filter"] == equals("since", {"date": "2020-02-28"})
    assert leaflet_style(document, {"since": "2020-02-28T10:00:00Z"})["fillOpacity"] == 0.5


@pytest.mark.parametrize(
    ("symbolizer", "reason"),
    [
        ({"stroke": {"casing": {"color": "red"}}}, "casing"),
        ({"stroke": {"width": {"m": 8}}}, "on the ground"),
        ({"stroke": {"width": {"property": "height"}}}, "do not depend on properties"),
        ({"label": {"elements": [{"type": "Text", "text": "x"}]}}, "no texts"),
        ({"marker": {"elements": [{"type": "Dot"}]}}, "no markers on lines and areas"),
        ({"fill": {"pattern": {"type": "Dot"}}}, "no patterns"),
    ],
)
def test_what_leaflet_cannot_do_is_told_with_where_and_why(symbolizer: dict[str, Any], reason: str) -> None:
    losses = Leaflet().encode(Style.of({"stylingRules": [{"symbolizer": symbolizer}]}), LAND).losses
    assert {loss.pointer for loss in losses} == {f"/stylingRules/0/symbolizer/{next(iter(symbolizer))}"}
    assert any(reason in loss.reason for loss in losses)


@pytest.mark.parametrize(
    "condition",
    [
        {"op": "=", "args": [{"property": "height"}, 2**53]},
        {"op": "=", "args": [{"op": "accenti", "args": [{"property": "kind"}]}, "e"]},
        {"op": "like", "args": [{"property": "since"}, "2020%"]},
    ],
)
def test_a_condition_that_a_page_cannot_judge_never_matches_and_is_told(condition: dict[str, Any]) -> None:
    style = Style.of({"stylingRules": [{"selector": condition, "symbolizer": {"fill": {"color": "red"}}}]})
    encoded = Leaflet().encode(style, LAND)
    assert encoded.document["rules"] == []
    assert [loss.pointer for loss in encoded.losses] == ["/stylingRules/0"]


# -- coverages -------------------------------------------------------------------------------------------------------


def test_a_coverage_is_a_tile_layer_between_its_zooms() -> None:
    style = Style.of({
        "stylingRules": [
            {"symbolizer": {"visibility": False}},
            {
                "selector": {"op": "<", "args": [{"sysId": "viz.sd"}, denominator_of(6.5, 256)]},
                "symbolizer": {"visibility": True},
            },
        ]
    })  # fmt: skip
    document = Leaflet().encode(style, StyledLayer("images", "coverage")).document
    assert document["tileLayer"] == {
        "url": "tiles/raster/images/{item}/WebMercatorQuad/{z}/{x}/{y}.png",
        "options": {"opacity": 1, "tileSize": 256, "minZoom": 7},
    }


def test_a_coverage_that_is_never_visible_has_no_tile_layer() -> None:
    style = Style.of({"stylingRules": [{"symbolizer": {"visibility": False}}]})
    assert Leaflet().encode(style, StyledLayer("images", "coverage")).document == {"tileLayer": None}


def equals(name: str, value: Any) -> dict[str, Any]:
    return {"op": "=", "args": [{"property": name}, value]}


def lost_markers(losses: Any) -> str:
    """Return "0" where a graphic of a point is told to be lost, so that points may look different."""
    return "0" if any("marker" in loss.pointer for loss in losses) else ""


def code_of(program: str) -> str:
    """Return a program without its comments."""
    lines = (line.strip() for line in program.splitlines())
    return "\n".join(line for line in lines if not line.startswith(("*", "/*", "//")))
