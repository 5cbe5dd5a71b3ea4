"""SLD says of every feature what our evaluator says, as a small reader of the standard reads it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.selectors import Rows, evaluate, matches
from geoetl.styles.encoders.disjoint import MAX_CASES, atoms_of, cases_of
from geoetl.styles.encoders.filter_encoding import OGC, Filter, Filters, Inexpressible, Wanted
from geoetl.styles.encoders.sld import Sld
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.symbol import LineSymbol, Symbol
from geoetl.testing.styles import PROPERTIES, SCALES, conditions, features, layers, styles
from tests.styles.sld_reader import SE, Drawn, drawn, selects

WANTED: tuple[Wanted, ...] = ("true", "false", "not true", "not false")
LAND = StyledLayer("land", "vector", 2, {"kind": "text", "height": "number", "since": "time"})
plain_styles = styles(scales=True, labels=False)
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


# -- laws ------------------------------------------------------------------------------------------------------------


@few
@given(plain_styles, layers(), st.lists(features(mixed=False), min_size=4, max_size=4), st.sampled_from(SCALES))
def test_each_feature_is_drawn_as_our_evaluator_says(
    document: dict[str, Any], layer: StyledLayer, rows: list[dict[str, Any]], scale: int
) -> None:
    style = Style.of(document)
    encoded = Sld().encode(style, layer)
    for denominator in (scale / 2, scale, scale * 1.01):
        for row, symbol in zip(rows, symbols(style, layer, Rows.of_documents(rows), denominator), strict=True):
            for lenient_null in (False, True):
                seen = drawn(encoded.content, row, denominator, lenient_null=lenient_null)
                assert list(told(seen)) == list(expected(symbol, layer))


@few
@given(conditions(), st.lists(features(mixed=False), min_size=5, max_size=5), st.sampled_from(WANTED))
def test_a_filter_selects_by_truth_whatever_a_client_makes_of_missing_values(
    condition: Mapping[str, Any], rows: list[dict[str, Any]], wanted: Wanted
) -> None:
    truth = evaluate(condition, Rows.of_documents(rows))
    written = Filters(PROPERTIES).select(condition, wanted)
    for row, true, known in zip(rows, truth.true.tolist(), truth.known.tolist(), strict=True):
        false = known and not true
        selected = {"true": true, "false": false, "not true": not true, "not false": not false}[wanted]
        for lenient_null in (False, True):
            found = written if isinstance(written, bool) else selects(read(written), row, lenient_null=lenient_null)
            assert found == selected


@few
@given(
    st.lists(st.tuples(conditions(), st.sets(st.sampled_from(["color", "opacity", "width"]))), max_size=5),
    st.lists(features(), min_size=5, max_size=5),
)
def test_of_the_cases_exactly_one_holds_and_its_rules_decide_what_all_that_match_do(
    rules: list[tuple[Mapping[str, Any], set[str]]], rows: list[dict[str, Any]]
) -> None:
    decided = [paths for _, paths in rules]
    cases, too_many = cases_of([atoms_of(rule) for rule, _ in rules], decided, ["kind", "name"])
    assert too_many == []
    columns = Rows.of_documents(rows)

    def deciding(numbers: Iterable[int]) -> dict[str, int]:
        return {path: number for number in numbers for path in decided[number]}

    def hold(atoms: Mapping[str, Any], number: int) -> bool:
        return all(matches(atom, columns)[number] for atom in atoms.values())

    for number in range(len(rows)):
        holding = [
            case
            for case in cases
            if hold(case.true.atoms, number) and not any(hold(other.atoms, number) for other in case.others)
        ]
        assert [deciding(case.rules) for case in holding] == [
            deciding(at for at, (rule, _) in enumerate(rules) if matches(rule, columns)[number])
        ]


# -- what a person reads ---------------------------------------------------------------------------------------------


def test_fifty_categories_make_fifty_one_rules() -> None:
    nested = [
        {"selector": equals("kind", f"k{number}"), "symbolizer": {"fill": {"alter": True, "color": [number, 0, 0]}}}
        for number in range(50)
    ]
    rules = rules_of(Style.of({"stylingRules": [{"symbolizer": {"fill": {"color": "gray"}}, "nestedRules": nested}]}))
    assert len(rules) == 51


def test_too_many_cases_are_told_and_the_rule_never_matches() -> None:
    parts = [
        {"fill": {"alter": True, "color": "red"}},
        {"fill": {"alter": True, "opacity": 0.5}},
        {"stroke": {"alter": True, "color": "red"}},
        {"stroke": {"alter": True, "opacity": 0.5}},
        {"stroke": {"alter": True, "width": 3}},
        {"stroke": {"alter": True, "cap": "square"}},
        {"stroke": {"alter": True, "join": "bevel"}},
        {"stroke": {"alter": True, "dashPattern": [2, 2]}},
        {"opacity": 0.5},
        {"zOrder": 1},
    ]
    names = "abcdefghij"
    overlapping = [
        {"selector": {"op": ">", "args": [{"property": name}, 1]}, "symbolizer": part}
        for name, part in zip(names, parts, strict=True)
    ]
    layer = StyledLayer("x", "vector", 2, dict.fromkeys(names, "number"))
    encoded = Sld().encode(Style.of({"stylingRules": [{"symbolizer": {}, "nestedRules": overlapping}]}), layer)
    assert [loss.pointer for loss in encoded.losses] == [f"/stylingRules/0/nestedRules/{at}" for at in (0, 1)]
    assert f"more than {MAX_CASES}" in encoded.losses[0].reason
    assert encoded.document.count("<se:Rule>") == MAX_CASES


def test_a_rule_holds_from_its_least_scale_on_and_below_its_greatest() -> None:
    style = Style.of({
        "stylingRules": [
            {"symbolizer": {"visibility": False}},
            {"selector": {"op": "<", "args": [{"sysId": "viz.sd"}, 10000]}, "symbolizer": {"visibility": True}},
        ]
    })  # fmt: skip
    (rule,) = rules_of(style)
    assert rule.findtext(f"{SE}MinScaleDenominator") is None
    assert rule.findtext(f"{SE}MaxScaleDenominator") == "10000"


def test_what_lies_higher_is_drawn_by_a_later_style() -> None:
    style = Style.of({
        "stylingRules": [
            {"symbolizer": {"zOrder": 5, "fill": {"color": "red"}}},
            {"selector": equals("kind", "low"), "symbolizer": {"zOrder": 2, "fill": {"color": "blue"}}},
        ]
    })  # fmt: skip
    colors = [part.text for part in document_of(style).iter(f"{SE}SvgParameter") if part.attrib["name"] == "fill"]
    assert colors == ["#0000ff", "#ff0000"]


def test_texts_pictures_and_halos_are_written() -> None:
    label = {"type": "Text", "text": {"property": "kind"}, "font": {"bold": True, "outline": {"color": "red"}}}
    icon = {"type": "Image", "image": {"uri": "https://example.org/a.png", "type": "image/png"}, "position": [3, 4]}
    style = Style.of(
        {"stylingRules": [{"symbolizer": {"label": {"elements": [label]}, "marker": {"elements": [icon]}}}]}
    )
    seen = drawn(Sld().encode(style, StyledLayer("p", "vector", 0, {"kind": "text"})).content, {"kind": "Oslo"}, 1000)
    point, text = seen
    assert (point.values["Graphic/Displacement/DisplacementX"], point.values["Graphic/Displacement/DisplacementY"]) == (
        "3",
        "-4",
    )
    assert point.values["Graphic/ExternalGraphic/Format"] == "image/png"
    assert (text.values["Label"], text.values["Font/font-weight"]) == ("Oslo", "bold")
    assert text.values["Halo/Fill/fill"] == "#ff0000"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "jar:x", "//["])
def test_a_server_is_never_sent_to_an_address_that_is_no_http(address: str) -> None:
    icon = {"type": "Image", "image": {"uri": address}}
    style = Style.of({"stylingRules": [{"symbolizer": {"marker": {"elements": [icon]}}}]})
    encoded = Sld().encode(style, StyledLayer("p", "vector", 0))
    assert address not in encoded.document
    assert [loss.pointer for loss in encoded.losses] == ["/stylingRules/0/symbolizer/marker"]


@pytest.mark.parametrize("name", ["a b", "a/b", "a[1]", "*", "@id", "1st", "a:b", "", "a' or 'b", "a(b)"])
def test_a_property_that_xpath_would_read_as_a_path_never_matches(name: str) -> None:
    with pytest.raises(Inexpressible):
        Filters().select(equals(name, 1))


def test_a_text_that_xml_cannot_hold_never_matches_and_is_told() -> None:
    style = Style.of({
        "metadata": {"title": "a\u0008b"},
        "stylingRules": [
            {"selector": equals("kind", "a\u0008"), "symbolizer": {"fill": {"color": "red"}}},
            {"selector": equals("kind", "a\rb"), "symbolizer": {"fill": {"color": "blue"}}},
        ],
    })  # fmt: skip
    encoded = Sld().encode(style, LAND)
    assert [loss.pointer for loss in encoded.losses] == ["/stylingRules/0"]
    assert "#ff0000" not in encoded.document
    assert "<se:Title>a\ufffdb</se:Title>" in encoded.document
    assert [one.values["Fill/fill"] for one in drawn(encoded.content, {"kind": "a\rb"}, 1000)] == ["#0000ff"]


def test_a_number_never_equals_a_text_although_literals_have_no_type() -> None:
    style = Style.of({"stylingRules": [{"selector": equals("kind", 1), "symbolizer": {"fill": {"color": "red"}}}]})
    assert "#ff0000" not in Sld().encode(style, LAND).document
    unknown = Sld().encode(style, StyledLayer("x", "vector", 2))
    assert "'kind' is not known" in unknown.losses[0].reason


@pytest.mark.parametrize(
    ("condition", "moments"),
    [
        ({"op": "=", "args": [{"property": "since"}, {"date": "2020-02-28"}]}, ["28T00:00", "28T23:59"]),
        ({"op": "<=", "args": [{"property": "since"}, {"date": "2020-02-28"}]}, ["27T12:00", "28T00:00", "28T23:59"]),
        ({"op": ">", "args": [{"property": "since"}, "2020-02-28"]}, ["29T00:00"]),
        ({"op": "<", "args": [{"property": "since"}, {"timestamp": "2020-02-28T01:00:00+01:00"}]}, ["27T12:00"]),
    ],
)
def test_a_date_stands_for_its_whole_day(condition: Mapping[str, Any], moments: Sequence[str]) -> None:
    import datetime as dt

    rows = [
        {"since": dt.datetime.fromisoformat(f"2020-02-{text}:00+00:00")}
        for text in ("27T12:00", "28T00:00", "28T23:59", "29T00:00")
    ]
    written = Filters({"since": "time"}).select(condition)
    assert not isinstance(written, bool)
    found = [f"{row['since']:%dT%H:%M}" for row in rows if selects(read(written), row)]
    assert found == moments
    assert [bool(hit) for hit in matches(condition, Rows.of_documents(rows))] == [
        selects(read(written), row) for row in rows
    ]


def test_an_outline_that_is_not_seen_leaves_its_casing() -> None:
    stroke = {"color": "red", "width": 1, "opacity": 0, "casing": {"color": "black", "width": 2}}
    (rule,) = rules_of(Style.of({"stylingRules": [{"symbolizer": {"fill": {"color": "white"}, "stroke": stroke}}]}))
    edge = rule.find(f"{SE}PolygonSymbolizer/{SE}Stroke")
    assert edge is not None
    assert [part.text for part in edge] == ["#000000", "1", "5"]


# -- coverages -------------------------------------------------------------------------------------------------------


def test_colours_of_a_coverage_run_from_stop_to_stop() -> None:
    raster = raster_of([[0, "black"], [10, "white"]], opacity=0.5)
    assert raster.findtext(f"{SE}Opacity") == "0.5"
    assert raster.findtext(f".//{SE}GrayChannel/{SE}SourceChannelName") == "height"
    (run,) = raster.iter(f"{SE}Interpolate")
    points = [
        (point.findtext(f"{SE}Data"), point.findtext(f"{SE}Value")) for point in run.iter(f"{SE}InterpolationPoint")
    ]
    assert points == [("0", "#000000"), ("10", "#ffffff")]


def test_steps_of_a_coverage_are_categories() -> None:
    raster = raster_of([[0, "black"], [10, "black"], [10, "white"], [20, "white"]])
    (steps,) = raster.iter(f"{SE}Categorize")
    assert [part.text for part in steps.iter(f"{SE}Threshold")] == ["10"]
    assert [part.text for part in steps.iter(f"{SE}Value")] == ["#000000", "#ffffff"]


def test_a_coverage_that_is_not_visible_has_no_rule() -> None:
    style = Style.of({"stylingRules": [{"symbolizer": {"visibility": False}}]})
    assert rules_of(style, StyledLayer("relief", "coverage")) == []


# -- helpers ---------------------------------------------------------------------------------------------------------


def equals(name: str, value: Any) -> dict[str, Any]:
    return {"op": "=", "args": [{"property": name}, value]}


def read(written: Filter) -> ElementTree.Element:
    """Return a filter as a reader of XML gets it."""
    return ElementTree.fromstring(f'<x xmlns:ogc="{OGC}">{written.xml}</x>')[0]


def document_of(style: Style, layer: StyledLayer = LAND) -> ElementTree.Element:
    return ElementTree.fromstring(Sld().encode(style, layer).content)


def rules_of(style: Style, layer: StyledLayer = LAND) -> list[ElementTree.Element]:
    return list(document_of(style, layer).iter(f"{SE}Rule"))


def raster_of(color_map: list[Any], **others: Any) -> ElementTree.Element:
    symbolizer = {"singleChannel": {"property": "height"}, "colorMap": color_map, **others}
    style = Style.of({"stylingRules": [{"symbolizer": symbolizer}]})
    (rule,) = rules_of(style, StyledLayer("relief", "coverage", None, {"height": "number"}))
    (raster,) = rule.iter(f"{SE}RasterSymbolizer")
    return raster


def expected(symbol: Symbol, layer: StyledLayer) -> Iterator[tuple[Any, ...]]:
    """Return what is seen of a symbol, the lowest first: areas, lines and dots, each with colour, opacity and size."""
    if not symbol.visible:
        return
    stroke, fill = symbol.stroke, symbol.fill
    if layer.dimensions == 2 and fill and fill.opacity * symbol.opacity > 0:
        yield ("area", fill.color.hex, shown(fill.opacity * symbol.opacity))
    if layer.dimensions != 0 and stroke and stroke.width > 0:
        wide = stroke.casing and LineSymbol(
            stroke.casing.color, stroke.width + 2 * stroke.casing.width, stroke.casing.opacity
        )
        for line in (wide if stroke.casing and stroke.casing.width else None, stroke):
            if line and line.opacity * symbol.opacity > 0:
                yield ("line", line.color.hex, shown(line.opacity * symbol.opacity), shown(line.width))
    for dot in symbol.markers:
        if dot.color and dot.size > 0 and dot.opacity * symbol.opacity > 0:
            yield ("dot", dot.color.hex, shown(dot.opacity * symbol.opacity), shown(dot.size))


def told(seen: Sequence[Drawn]) -> Iterator[tuple[Any, ...]]:
    """Return what symbolizers draw, as `expected` tells it."""
    for one in seen:
        values = one.values
        if one.kind == "Point":
            mark = "Graphic/Mark/Fill/"
            yield ("dot", values[f"{mark}fill"], shown(values[f"{mark}fill-opacity"]), shown(values["Graphic/Size"]))
            continue
        if "Fill/fill" in values:
            yield ("area", values["Fill/fill"], shown(values["Fill/fill-opacity"]))
        if "Stroke/stroke" in values and float(values["Stroke/stroke-opacity"]):
            opacity, width = (shown(values[f"Stroke/stroke-{name}"]) for name in ("opacity", "width"))
            yield ("line", values["Stroke/stroke"], opacity, width)


def shown(number: float | str) -> str:
    return f"{round(float(number), 6):g}"
