"""Flattening against an oracle that applies the rules to one feature after another, written apart from it."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.selectors import Rows
from geoetl.styles.cascade import Cascade, flatten
from geoetl.styles.conditions import Period
from geoetl.styles.evaluate import symbols, symbols_of
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.symbol import GraphicSymbol, LineSymbol, Symbol
from geoetl.styles.values import COLOR_NAMES, UNSET, Color, GroundLength
from geoetl.testing.styles import features, layers, styles

POLYGONS = StyledLayer("col:parks", "vector", 2, {"kind": "text", "count": "number"})
POINTS = StyledLayer("col:trees", "vector", 0, {"kind": "text", "count": "number"})
PER_POINT = 25.4 / 72 / 0.28


# -- the oracle ------------------------------------------------------------------------------------------------------


def told(tree: Any, feature: dict[str, Any], scale: float | None) -> bool | None:
    """Return what a condition says of one feature: true, false or unknown (None)."""
    if isinstance(tree, bool):
        return tree
    name, arguments = tree["op"], tree["args"]
    if name in ("and", "or"):
        said = [told(argument, feature, scale) for argument in arguments]
        if (name == "or") in said:
            return name == "or"
        return None if None in said else name == "and"
    if name == "not":
        said = told(arguments[0], feature, scale)
        return None if said is None else not said
    if name == "isNull":
        return feature.get(arguments[0]["property"]) is None
    if name == "=" and isinstance(arguments[0], dict) and "op" in arguments[0]:
        return told(arguments[0], feature, scale)
    first, second, *more = (read(argument, feature, scale) for argument in arguments)
    if name == "between":
        ends = (ordered(">=", first, second), ordered("<=", first, more[0]))
        return False if False in ends else None if None in ends else True
    if first is None:
        return None
    if name == "in":
        return any(alike(first, member) for member in second)
    if name == "like":
        return isinstance(first, str) and liked(second, first)
    if name in ("=", "<>"):
        return alike(first, second) == (name == "=")
    return ordered(name, first, second)


def read(argument: Any, feature: dict[str, Any], scale: float | None) -> Any:
    if isinstance(argument, dict):
        return scale if "sysId" in argument else feature.get(argument["property"])
    return argument


def kind(value: Any) -> type:
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float


def alike(first: Any, second: Any) -> bool:
    return kind(first) is kind(second) and first == second


def ordered(name: str, first: Any, second: Any) -> bool | None:
    if first is None or second is None or kind(first) is not kind(second) or kind(first) is bool:
        return None
    return {"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}[name]


def liked(pattern: str, text: str) -> bool:
    letters = re.findall(r"\\.|.", pattern, re.DOTALL)
    made = [{"%": ".*", "_": "."}.get(one, re.escape(one[-1])) for one in letters]
    return re.fullmatch("".join(made), text, re.DOTALL) is not None


INITIAL_LINE = {"color": "#000000", "opacity": 1.0, "width": 1.0}
INITIAL_DOT = {"type": "Dot", "opacity": 1.0, "color": "#ffffff", "size": 10.0}
INITIAL_FONT = {"color": "#000000", "size": 12 * PER_POINT, "bold": False}


def initial(kind: str | None) -> dict[str, Any]:
    if kind == "fill":
        return {"color": "#ffffff", "opacity": 1.0}
    if kind == "font":
        return dict(INITIAL_FONT)
    if kind == "Dot":
        return dict(INITIAL_DOT)
    return {"type": "Text", "opacity": 1.0, "font": dict(INITIAL_FONT)} if kind == "Text" else dict(INITIAL_LINE)


def drawn(document: dict[str, Any], layer: StyledLayer, feature: dict[str, Any], scale: float | None) -> dict[str, Any]:
    """Return what is drawn of one feature, by applying the rules to it in order."""
    state: dict[str, Any] = {"visibility": True, "opacity": 1.0, "zOrder": 1.0, "marker": {}, "label": {}}
    if layer.dimensions == 2:
        state["fill"] = initial("fill")
    if layer.dimensions != 0:
        state["stroke"] = initial("stroke")
    if layer.dimensions == 0:
        state["marker"] = {0: initial("Dot")}

    def visit(rules: list[dict[str, Any]]) -> None:
        for rule in rules:
            if told(rule.get("selector", True), feature, scale) is True:
                paint(state, rule.get("symbolizer", {}), feature, scale)
                visit(rule.get("nestedRules", []))

    visit(document["stylingRules"])
    return state


def paint(state: dict[str, Any], symbolizer: dict[str, Any], feature: dict[str, Any], scale: float | None) -> None:
    for name, value in symbolizer.items():
        if name == "visibility":
            state[name] = told(value, feature, scale) is True
        elif name in ("opacity", "zOrder"):
            state[name] = number(value, feature, state[name], share=name == "opacity")
        elif name in ("marker", "label"):
            state[name] = graphics(state[name], value, feature, first=name == "marker")
        else:
            state[name] = altered(state.get(name), value, name, feature)


def graphics(old: dict[int, Any], value: dict[str, Any], feature: dict[str, Any], *, first: bool) -> dict[int, Any]:
    elements = value["elements"]
    if isinstance(elements, list):
        return {at: altered(None, one, one["type"], feature) for at, one in enumerate(elements)}
    kept = dict(old) if value.get("alter") else {0: initial("Dot")} if first else {}
    kept[elements["index"]] = altered(
        kept.get(elements["index"]), elements["value"], elements["value"]["type"], feature
    )
    return kept


def altered(old: Any, value: dict[str, Any], kind: str, feature: dict[str, Any]) -> dict[str, Any]:
    """Return an object after a change: whole, or with ``alter`` only of what is given."""
    before = dict(old or {})
    new = dict(before) if value.get("alter") else initial(kind)
    for name, part in value.items():
        # What cannot be read from the feature is what the object had, or has when it is new.
        last = new.get(name)
        if name in ("alter", "elements"):
            continue
        if name == "color":
            new[name] = color(part, new.get(name))
        elif name in ("width", "size") and kind != "font":
            new[name] = length(part, feature, last)
        elif name == "size":
            new[name] = part * PER_POINT
        elif name == "opacity":
            new[name] = number(part, feature, last, share=True)
        elif name in ("casing", "font"):
            new[name] = altered(new.get(name), part, name, feature)
        elif name == "text" and isinstance(part, dict):
            found = feature.get(part["property"])
            new[name] = last if found is None else written(found)
        else:
            new[name] = part
    return new


def written(value: Any) -> str:
    return (
        f"{value:.10g}".lower()
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else f"{value}"
    )


def color(value: Any, old: str | None) -> str:
    if isinstance(value, str):
        return f"#{COLOR_NAMES[value]:06x}"
    if isinstance(value, list):
        return "#{:02x}{:02x}{:02x}".format(*value)
    last = Color(*bytes.fromhex((old or "#000000")[1:])) if value.get("alter") else Color(0, 0, 0)
    return Color(value.get("r", last.r), value.get("g", last.g), value.get("b", last.b)).hex


def length(value: Any, feature: dict[str, Any], old: Any) -> Any:
    unit, size = next(iter(value.items())) if isinstance(value, dict) else ("px", value)
    found = number(size, feature, None, share=False)
    return old if found is None else max(found, 0) * {"px": 1, "mm": 1 / 0.28, "pt": PER_POINT}[unit]


def number(value: Any, feature: dict[str, Any], old: Any, *, share: bool) -> Any:
    found = feature.get(value["property"]) if isinstance(value, dict) else value
    if found is None or isinstance(found, str | bool):
        return old
    return min(max(found, 0), 1) if share else found


# -- both in one form ------------------------------------------------------------------------------------------------


def plain(symbol: Symbol) -> dict[str, Any]:
    """Return a symbol as the oracle says it."""
    stroke = symbol.stroke
    return {
        "visibility": symbol.visible,
        "opacity": symbol.opacity,
        "zOrder": symbol.z_order,
        "fill": symbol.fill and (symbol.fill.color.hex, symbol.fill.opacity),
        "stroke": stroke and (line(stroke), list(stroke.dashes), stroke.casing and line(stroke.casing)),
        "marker": [graphic(one) for one in symbol.markers],
        "label": [graphic(one) for one in symbol.labels],
    }


def line(symbol: LineSymbol) -> tuple[Any, ...]:
    return symbol.color.hex, near(symbol.width), symbol.opacity


def near(size: float) -> float:
    return round(size, 9)


def graphic(symbol: GraphicSymbol) -> tuple[Any, ...]:
    if symbol.type == "Dot":
        return "Dot", symbol.opacity, symbol.color and symbol.color.hex, near(symbol.size)
    font = symbol.font
    assert font is not None
    return "Text", symbol.opacity, symbol.text, font.color.hex, near(font.size), font.bold


def expected(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the oracle says in the same form; what was never given has its initial value."""

    def lined(part: dict[str, Any] | None) -> Any:
        if not any(value is not None for value in (part or {}).values()):
            return None
        full = INITIAL_LINE | {name: value for name, value in (part or {}).items() if value is not None}
        return full["color"], near(full["width"]), full["opacity"]

    fill = {name: value for name, value in (state.get("fill") or {}).items() if value is not None}
    stroke = {name: value for name, value in (state.get("stroke") or {}).items() if value is not None}
    casing = lined(stroke.get("casing"))
    has_stroke = bool(stroke.keys() - {"casing"}) or casing is not None
    return {
        "visibility": state["visibility"],
        "opacity": state["opacity"],
        "zOrder": state["zOrder"],
        "fill": (fill.get("color", "#ffffff"), fill.get("opacity", 1.0)) if fill else None,
        "stroke": (lined(INITIAL_LINE | stroke), stroke.get("dashPattern") or [], casing) if has_stroke else None,
        "marker": [shaped(state["marker"][at]) for at in sorted(state["marker"])],
        "label": [shaped(state["label"][at]) for at in sorted(state["label"])],
    }


def shaped(one: dict[str, Any]) -> tuple[Any, ...]:
    given = {name: value for name, value in one.items() if value is not None}
    if one["type"] == "Dot":
        full = INITIAL_DOT | given
        return "Dot", full["opacity"], full["color"], near(full["size"])
    font = INITIAL_FONT | {name: value for name, value in given.get("font", {}).items() if value is not None}
    return "Text", given.get("opacity", 1.0), given.get("text", ""), font["color"], near(font["size"]), font["bold"]


# -- tests -----------------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    document=styles(max_rules=3, scales=True, data=True),
    layer=layers(),
    rows=st.lists(features(), min_size=1, max_size=4),
    scale=st.sampled_from([None, 1.0, 1_000.0, 5_000.0, 10_000.0, 199_999.0, 200_000.0, 1e9]),
)
def test_every_feature_gets_what_applying_the_rules_one_by_one_gives_it(
    document: dict[str, Any], layer: StyledLayer, rows: list[dict[str, Any]], scale: float | None
) -> None:
    found = symbols(Style.of(document), layer, Rows.of_documents(rows), scale)
    for symbol, feature in zip(found, rows, strict=True):
        assert plain(symbol) == expected(drawn(document, layer, feature, scale)), feature


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=styles(max_rules=3, scales=True), layer=layers(), scale=st.floats(1, 1e7))
def test_the_rules_of_an_interval_are_those_of_every_scale_in_it(
    document: dict[str, Any], layer: StyledLayer, scale: float
) -> None:
    cascade = flatten(Style.of(document), layer)
    inside = [one for one in cascade.intervals() if (one.above or 0) < scale < (one.below or 1e99)]
    if scale not in cascade.breaks:
        assert [one.rules for one in inside] == [cascade.at(scale)]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=styles(max_rules=3, scales=True, data=True), layer=layers(), scale=st.sampled_from([None, 5_000.0]))
def test_conditions_at_a_scale_are_only_about_properties(
    document: dict[str, Any], layer: StyledLayer, scale: float | None
) -> None:
    for rule in flatten(Style.of(document), layer).at(scale):
        assert rule.condition is True or ("sysId" not in str(rule.condition) and "None" not in str(rule.condition))


def flat(*rules: dict[str, Any], layer: StyledLayer = POLYGONS, period: Period | None = None, **more: Any) -> Cascade:
    """Return rules flattened."""
    return flatten(Style.of({"stylingRules": list(rules), **more}), layer, period)


def op(name: str, *arguments: Any) -> dict[str, Any]:
    """Return an operation of CQL2-JSON."""
    return {"op": name, "args": list(arguments)}


KIND, COUNT, SCALE = {"property": "kind"}, {"property": "count"}, {"sysId": "viz.sd"}
RED = {"fill": {"color": "red"}}


def test_what_is_known_of_the_layer_is_worked_out() -> None:
    mine = op("and", op("=", {"sysId": "dataLayer.id"}, "col:parks"), op("=", {"sysId": "dataLayer.type"}, "vector"))
    other = op("=", {"sysId": "dataLayer.id"}, "col:roads")
    cascade = flat({"selector": mine, "symbolizer": RED}, {"selector": other, "symbolizer": RED})
    assert [(rule.pointer, rule.condition) for rule in cascade.entries] == [("/stylingRules/0", True)]
    assert cascade.losses == ()


def test_a_nested_rule_has_the_conditions_of_those_around_it() -> None:
    inner = {"name": "big", "selector": op(">", COUNT, 5), "symbolizer": {"fill": {"alter": True, "color": "blue"}}}
    outer = {"name": "parks", "selector": op("=", KIND, "park"), "symbolizer": RED, "nestedRules": [inner]}
    first, second = flat(outer).at(None)
    assert (first.name, first.condition) == ("parks", op("=", KIND, "park"))
    assert (second.name, second.condition) == ("big", op("and", op("=", KIND, "park"), op(">", COUNT, 5)))
    assert second.changes == {"fill.color": Color(0, 0, 255)}
    assert second.pointer == "/stylingRules/0/nestedRules/0"


def test_an_object_without_alter_brings_back_what_it_leaves_out() -> None:
    first = {"symbolizer": {"stroke": {"color": "red", "width": 4, "dashPattern": [2, 1], "casing": {"color": "gold"}}}}
    second = {"symbolizer": {"stroke": {"color": "blue"}}}
    changes = flat(first, second).entries[1].changes
    assert changes["stroke.width"] == 1.0 and changes["stroke.opacity"] == 1.0
    assert changes["stroke.dashPattern"] is UNSET and changes["stroke.casing.color"] is UNSET


def test_one_graphic_of_several_is_changed() -> None:
    both = {"marker": {"elements": [{"type": "Dot", "size": 8, "color": "red"}, {"type": "Dot", "color": "gold"}]}}
    one = {"marker": {"alter": True, "elements": {"index": 1, "value": {"type": "Dot", "alter": True, "size": 3}}}}
    entries = flat({"symbolizer": both}, {"symbolizer": one}, layer=POINTS).entries
    assert entries[1].changes == {"marker.1.type": "Dot", "marker.1.size": 3.0}


def test_a_part_of_a_colour_is_changed_whatever_the_colour_was() -> None:
    rules = [
        {"selector": op("=", KIND, "park"), "symbolizer": {"fill": {"alter": True, "color": [10, 20, 30]}}},
        {"symbolizer": {"fill": {"alter": True, "color": {"alter": True, "r": 200}}}},
    ]
    rows = Rows.of_documents([{"kind": "park"}, {"kind": "lake"}])
    found = symbols_of(flat(*rules), rows)
    assert [one.fill.color for one in found if one.fill] == [Color(200, 20, 30), Color(200, 255, 255)]


@pytest.mark.parametrize("scale", [1.0, 9_999.0, 10_000.0, 10_001.0, 50_000.0, 1e8])
def test_scales_decide_exactly_at_their_ends(scale: float) -> None:
    rule = {"selector": op("and", op(">=", SCALE, 10_000), op("not", op(">", SCALE, 50_000))), "symbolizer": RED}
    cascade = flat(rule)
    assert cascade.breaks == (10_000.0, 50_000.0)
    assert bool(cascade.at(scale)) == (10_000 <= scale <= 50_000)
    assert cascade.at(None) == ()


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        (op("=", {"sysId": "vis.id"}, 5), "the identifier vis.id is not known"),
        (op("or", op("=", KIND, "x"), op("=", {"op": "frobnicate", "args": []}, True)), "frobnicate is not supported"),
        (op(">", {"sysId": "viz.date"}, {"date": "2020-01-01"}), "needs the time of the map"),
        (op(">", {"property": "day"}, {"date": "2020-13-01"}), "is no date of the calendar"),
        (op("=", {"sysId": "viz.date"}, {"function": "DATE", "args": ["2020-13-01"]}), "needs the time of the map"),
        (op("like", KIND, COUNT), "takes a text to look for"),
        (op("<", SCALE, COUNT), "viz.sd is compared with something else than a number"),
        (op("s_covers", {"property": "geometry"}, {"property": "geometry"}), "s_covers is not supported"),
        (op("=", op("lowerCase", KIND), "x"), "lowerCase is not supported"),
        (op("=", op("bitAnd", COUNT, 1), 1), "bitAnd is not supported"),
        (op("in", KIND, []), "at least one member"),
        (op("t_after", {"property": "day"}, {"interval": ["2020-01-01"]}), "an interval has two ends"),
        (op("=", KIND, {"$ref": "#/$variables/missing"}), "there is no variable"),
    ],
)
def test_what_is_not_understood_never_matches_and_is_told(selector: dict[str, Any], reason: str) -> None:
    inner = {"selector": op("=", KIND, "x"), "symbolizer": RED}
    cascade = flat({"selector": selector, "symbolizer": RED, "nestedRules": [inner]})
    assert cascade.entries == ()
    (loss,) = cascade.losses
    assert loss.pointer == "/stylingRules/0/selector"
    assert reason in loss.reason and loss.reason.endswith("the rule never matches")


def test_what_is_not_understood_does_not_matter_in_a_rule_of_another_layer() -> None:
    selector = op("and", op("=", {"sysId": "dataLayer.id"}, "other"), op("=", {"sysId": "vis.id"}, 5))
    assert flat({"selector": selector, "symbolizer": RED}).losses == ()


def test_variables_stand_for_their_values_and_never_for_themselves() -> None:
    rule = {
        "selector": op("=", KIND, {"$ref": "#/$variables/kind"}),
        "symbolizer": {"fill": {"color": {"$ref": "#/$variables/main"}}},
    }
    cascade = flat(rule, **{"$variables": {"kind": "park", "main": {"$ref": "#/$variables/second"}, "second": "red"}})
    assert cascade.entries[0].condition == op("=", KIND, "park")
    assert cascade.entries[0].changes["fill.color"] == Color(255, 0, 0)
    circular = flat(rule, **{"$variables": {"kind": {"$ref": "#/$variables/kind"}, "main": "red"}})
    assert "stands for itself" in circular.losses[0].reason


def test_variables_in_variables_do_not_grow_without_end() -> None:
    growing: dict[str, Any] = {"v0": op("=", KIND, "x")}
    for number in range(1, 40):
        growing[f"v{number}"] = op("or", *[{"$ref": f"#/$variables/v{number - 1}"}] * 9)
    cascade = flat(
        {"selector": op("and", {"$ref": "#/$variables/v39"}, op("=", KIND, "y")), "symbolizer": RED},
        **{"$variables": growing},
    )
    assert cascade.entries == () and "too" in cascade.losses[0].reason


def test_a_time_is_compared_when_the_map_has_one() -> None:
    from datetime import UTC, datetime

    period = Period(datetime(2020, 5, 1, tzinfo=UTC), datetime(2020, 8, 1, tzinfo=UTC))
    day = {"property": "day"}
    selector = op(
        "and",
        op(">=", day, {"sysId": "viz.timeInterval.start.date"}),
        op("<=", day, {"sysId": "viz.timeInterval.end.date"}),
        op("=", {"sysId": "viz.date.month"}, 5),
    )
    cascade = flat({"selector": selector, "symbolizer": RED}, period=period)
    assert cascade.entries[0].condition == op(
        "and", op(">=", day, {"date": "2020-05-01"}), op("<=", day, {"date": "2020-08-01"})
    )


def test_other_styles_are_never_fetched() -> None:
    assert [loss.pointer for loss in flat(**{"$include": "https://example.org/base.cs.json"}).losses] == ["/$include"]


def test_lengths_become_pixels_and_those_on_the_ground_wait_for_a_scale() -> None:
    changes = flat({"symbolizer": {"stroke": {"width": {"mm": 2.8}, "color": "red"}}}).entries[0].changes
    assert changes["stroke.width"] == pytest.approx(10)
    ground = flat({"symbolizer": {"stroke": {"width": {"m": 8}}}}).entries[0].changes["stroke.width"]
    assert ground == GroundLength(8.0) and ground.pixels(10_000) == pytest.approx(8 / 2.8)


def test_a_choice_of_values_becomes_rules() -> None:
    width = op("?:", op(">", COUNT, 5), 4, op("?:", op(">", COUNT, 2), 2, 1))
    rows = Rows.of_documents([{"count": 9}, {"count": 3}, {"count": 1}, {}])
    found = symbols_of(flat({"symbolizer": {"stroke": {"width": width}}}), rows)
    assert [one.stroke.width for one in found if one.stroke] == [4, 2, 1, 1]


def test_a_condition_that_contradicts_itself_is_dropped() -> None:
    inner = {"selector": op("=", KIND, "lake"), "symbolizer": RED}
    assert flat({"selector": op("=", KIND, "park"), "nestedRules": [inner]}).entries == ()
