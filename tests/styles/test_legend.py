"""A legend shows what its style draws, in JSON, SVG and PNG alike."""

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from geoetl.core.errors import InvalidParameter
from geoetl.styles.classify import classify
from geoetl.styles.defaults import style_of_classes
from geoetl.styles.drawing import Color, Drawing, Words, width_of
from geoetl.styles.layer import StyledLayer
from geoetl.styles.legend import MAX_ENTRIES, Legend, legend_of
from geoetl.styles.model import Style

DATA = Path(__file__).parents[3] / "shared" / "data"
SVG = "{http://www.w3.org/2000/svg}"
AREAS = StyledLayer("v:x", "vector", 2, {"kind": "text", "n": "number"})
LINES = StyledLayer("v:x", "vector", 1, {"kind": "text"})
POINTS = StyledLayer("v:x", "vector", 0, {"kind": "text"})
RASTER = StyledLayer("c", "coverage", None, {"b1": "number"})
NASTY = ["</script><script>alert(1)</script>", "');alert(1)//", '" onload="x', "&amp;<b>", "]]>"]


def style(*rules: dict[str, Any], title: str = "T") -> Style:
    return Style.of({"metadata": {"title": title}, "stylingRules": list(rules)})


def rule(name: str | None, symbolizer: dict[str, Any], selector: Any = None, *nested: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"symbolizer": symbolizer}
    if name:
        made["name"] = name
    if selector is not None:
        made["selector"] = selector
    if nested:
        made["nestedRules"] = list(nested)
    return made


def kind(value: str) -> dict[str, Any]:
    return {"op": "=", "args": [{"property": "kind"}, value]}


def labels(legend: Legend) -> list[str]:
    return [entry.label for entry in legend.entries]


def pixels(legend: Legend, scale: float = 1.0) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(legend.png(scale))).convert("RGB")).astype(int)


def has(picture: np.ndarray[Any, Any], colour: str, apart: int = 3) -> bool:
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((np.abs(picture - wanted).max(axis=-1) <= apart).any())


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


WDPA = style(
    rule(
        "base",
        {"fill": {"color": [204, 204, 204], "opacity": 0.5}, "stroke": {"color": [153, 153, 153], "width": {"px": 1}}},
        None,
        rule(
            "Ia",
            {"fill": {"alter": True, "color": [26, 152, 80]}, "stroke": {"alter": True, "width": {"px": 3}}},
            kind("Ia"),
        ),
        rule("II", {"fill": {"color": "orange"}}, kind("II")),
    ),
    title="WDPA",
)


def test_each_rule_is_a_line_with_what_it_and_those_around_it_draw() -> None:
    legend = legend_of(WDPA, AREAS)
    assert labels(legend) == ["Ia", "II", "base"]
    first, second, base = (entry.values for entry in legend.entries)
    assert (first["fill.color"].hex, first["fill.opacity"], first["stroke.width"]) == ("#1a9850", 0.5, 3.0)
    assert first["stroke.color"].hex == "#999999"
    # An object without alter replaces the whole.
    assert (second["fill.color"].hex, second["fill.opacity"]) == ("#ffa500", 1.0)
    assert (base["fill.color"].hex, base["stroke.width"]) == ("#cccccc", 1.0)


def test_the_document_is_strict_json_with_colours_as_css_has_them() -> None:
    document = json.loads(json.dumps(legend_of(WDPA, AREAS).document(), allow_nan=False))
    assert (document["title"], document["units"]) == ("WDPA", None)
    assert document["entries"][0]["label"] == "Ia"
    assert document["entries"][0]["symbol"]["fill.color"] == "#1a9850"


def test_svg_and_png_show_areas_with_their_fill_and_outline() -> None:
    legend = legend_of(WDPA, AREAS)
    svg = ElementTree.fromstring(legend.svg())
    boxes = [node.attrib for node in svg.iter(f"{SVG}rect") if node.attrib.get("stroke")]
    assert [(box["fill"], box.get("fill-opacity"), box["stroke"]) for box in boxes] == [
        ("#1a9850", "0.5", "#999999"), ("#ffa500", None, "#999999"), ("#cccccc", "0.5", "#999999"),
    ]  # fmt: skip
    assert texts(legend.svg()) == ["WDPA", "Ia", "II", "base"]
    picture = pixels(legend)
    assert has(picture, "#ffa500")
    assert has(picture, "#8ccba7"), "half of green on white"
    assert not has(picture, "#1a9850")


def test_lines_have_their_dashes_casing_and_centre() -> None:
    stroke = {
        "color": "red", "width": {"px": 4}, "dashPattern": [6, 3],
        "casing": {"color": "black", "width": {"px": 1}}, "centerLine": {"color": "yellow", "width": {"px": 1}},
    }  # fmt: skip
    legend = legend_of(style(rule("Road", {"stroke": stroke})), LINES)
    lines = [node.attrib for node in ElementTree.fromstring(legend.svg()).iter(f"{SVG}polyline")]
    assert [(line["stroke"], line["stroke-width"], line.get("stroke-dasharray")) for line in lines] == [
        ("#000000", "6", None), ("#ff0000", "4", "6 3"), ("#ffff00", "1", None),
    ]  # fmt: skip
    picture = pixels(legend, 4)
    assert has(picture, "#ff0000")
    assert has(picture, "#ffff00")


def test_points_are_dots_of_their_size_and_texts_are_letters() -> None:
    marker = {"elements": [
        {"type": "Dot", "stroke": {"color": "black", "width": {"px": 12}}},
        {"type": "Dot", "stroke": {"color": "lime", "width": {"px": 6}}},
    ]}  # fmt: skip
    label = {"elements": [{"type": "Text", "text": {"property": "kind"}, "font": {"color": "purple", "bold": True}}]}
    legend = legend_of(style(rule("Town", {"marker": marker, "label": label})), POINTS)
    discs = [node.attrib for node in ElementTree.fromstring(legend.svg()).iter(f"{SVG}circle")]
    assert [(disc["fill"], disc["r"]) for disc in discs] == [("#000000", "6"), ("#00ff00", "3")]
    assert "Abc" in texts(legend.svg())
    assert legend.entries[0].varies == ("label.0.text",)
    assert "label.0.text" not in legend.document()["entries"][0]["symbol"]
    assert has(pixels(legend, 2), "#00ff00")


def test_a_picture_from_elsewhere_is_a_frame_and_never_fetched() -> None:
    image = {"elements": [{"type": "Image", "image": {"uri": "https://example.org/x.png"}}]}
    svg = legend_of(style(rule("Peak", {"marker": image})), POINTS).svg()
    assert "example.org" not in svg
    assert "stroke-dasharray" in svg


def test_huge_widths_and_sizes_stay_in_their_line() -> None:
    legend = legend_of(style(rule("River", {"stroke": {"color": "blue", "width": {"px": 5000}}})), LINES)
    assert pixels(legend).shape[0] < 100
    dot = {"elements": [{"type": "Dot", "stroke": {"color": "blue", "width": {"px": 1e9}}}]}
    assert pixels(legend_of(style(rule("Dot", {"marker": dot})), POINTS)).shape[0] < 100


def test_what_is_not_seen_is_in_no_legend() -> None:
    hidden = rule("hidden", {"visibility": False}, kind("h"))
    clear = rule("clear", {"opacity": 0}, kind("c"))
    unknown = rule(
        "unknown",
        {"fill": {"color": "red"}},
        {"op": "s_touches", "args": [{"property": "geom"}, {"bbox": [0, 0, 1, 1]}]},
    )
    legend = legend_of(style(rule("all", {"fill": {"color": "blue"}}), hidden, clear, unknown), AREAS)
    assert "hidden" not in labels(legend)
    assert "clear" not in labels(legend)
    assert labels(legend)[-1] == "all"


def test_rules_without_a_name_are_called_by_their_condition() -> None:
    conditions = {
        "kind = Ia": kind("Ia"),
        "n < 5 and kind <> x": {
            "op": "and",
            "args": [{"op": "<", "args": [{"property": "n"}, 5]}, {"op": "<>", "args": [{"property": "kind"}, "x"]}],
        },
        "kind in a, b": {"op": "in", "args": [{"property": "kind"}, ["a", "b"]]},
        "n between 1 and 2.5": {"op": "between", "args": [{"property": "n"}, 1, 2.5]},
    }
    for words, condition in conditions.items():
        legend = legend_of(
            style(rule("all", {"fill": {"color": "blue"}}, None, rule(None, {"fill": {"color": "red"}}, condition))),
            AREAS,
        )
        assert labels(legend) == [words, "all"]


def test_the_legend_is_that_of_a_scale() -> None:
    large = rule(
        "near",
        {"stroke": {"color": "red"}},
        {"op": "<", "args": [{"sysId": "viz.sd"}, 10_000]},
        rule("paved", {"stroke": {"color": "blue"}}, kind("p")),
    )
    given = style(rule("far", {"stroke": {"color": "black"}}), large)
    assert labels(legend_of(given, LINES)) == ["paved", "far"]
    assert legend_of(given, LINES, denominator=5_000).entries[-1].values["stroke.color"].hex == "#ff0000"
    assert labels(legend_of(given, LINES, denominator=50_000)) == ["far"]


@pytest.mark.parametrize("text", NASTY)
def test_every_text_stays_text(text: str) -> None:
    legend = legend_of(style(rule(text, {"fill": {"color": "red"}}), title=text), AREAS, units=text)
    svg = legend.svg()
    assert texts(svg) == [text, text]
    assert "<script" not in svg
    assert ElementTree.fromstring(svg).attrib["aria-label"] == text
    assert legend._repr_html_() == svg
    assert legend.png()[:4] == b"\x89PNG"
    ramp = legend_of(style(rule(text, {"colorMap": [[0, "red", text], [1, "blue"]]}), title=text), RASTER, units=text)
    assert set(texts(ramp.svg())) == {text}


def test_characters_that_xml_has_no_form_for_are_left_out() -> None:
    Drawing(100, 30, (Words(0, 15, "a\x00\x08\ud800\uffffb"),), "t\x01").svg().encode()
    ElementTree.fromstring(Drawing(100, 30, (Words(0, 15, "a\x00\x08\uffffb"),), "t\x01").svg())


def test_a_colour_map_is_a_gradient_with_readable_numbers() -> None:
    colour_map = [[230.13, [49, 54, 149]], [270, [255, 255, 191]], [310.77, [165, 0, 38]]]
    legend = legend_of(style(rule("t", {"colorMap": colour_map}), title="Air"), RASTER, units="K")
    assert legend.ramp is not None
    assert [label for _, label in legend.ramp.ticks] == ["230.1", "250.3", "270.4", "290.6", "310.8"]
    assert texts(legend.svg()) == ["Air", "K", *(label for _, label in legend.ramp.ticks)]
    picture = pixels(legend, 2)
    for colour in ("#313695", "#ffffbf", "#a50026"):
        assert has(picture, colour, 6), colour
    document = legend.document()
    assert document["ramp"]["stops"][0] == {"value": 230.13, "color": "#313695"}
    assert "entries" not in document


def test_steps_and_named_classes_are_lines() -> None:
    steps = [[0, "red"], [10, "red"], [10, "blue"], [25.5, "blue"]]
    assert labels(legend_of(style(rule("t", {"colorMap": steps})), RASTER, units="mm")) == ["0 – 10 mm", "10 – 25.5 mm"]
    classes = [[1, "green", "wood"], [2, "gray"], [3, "blue", "water"]]
    legend = legend_of(style(rule("t", {"colorMap": classes})), RASTER)
    assert [(entry.label, entry.values["fill.color"].hex) for entry in legend.entries] == [
        ("wood", "#008000"), ("water", "#0000ff"),
    ]  # fmt: skip
    assert has(pixels(legend), "#0000ff")


def test_see_through_colours_are_drawn_on_white() -> None:
    legend = legend_of(
        style(rule("t", {"colorMap": [[0, "black"], [1, "black"]], "opacityMap": [[0, 0], [1, 1]]})), RASTER
    )
    picture = pixels(legend, 2)
    row = picture[next(line for line in range(len(picture)) if (picture[line, 200] < 200).all()) + 6]
    assert row[30].min() > 240
    assert row[480].max() < 30


@pytest.mark.parametrize("ends", [(0.0, 0.0), (-1e308, 1e308), (1e-12, 2e-12)])
def test_the_ends_of_what_a_double_holds_are_drawn(ends: tuple[float, float]) -> None:
    legend = legend_of(style(rule("t", {"colorMap": [[ends[0], "red"], [ends[1], "blue"]]})), RASTER)
    ElementTree.fromstring(legend.svg())
    assert "nan" not in legend.svg()
    json.dumps(legend.document(), allow_nan=False)
    assert legend.png()


def test_classes_of_a_column_are_told_with_their_units() -> None:
    classes = classify(range(1000), "n", "quantiles", k=4, units="km²")
    legend = legend_of(style_of_classes(classes, AREAS, title="Area"), AREAS)
    assert labels(legend) == ["< 250 km²", "250 – 499 km²", "500 – 749 km²", "≥ 750 km²", "no data"]


def test_more_lines_than_fit_are_counted() -> None:
    rules = [
        rule(f"class {number}", {"fill": {"color": "red"}}, kind(str(number))) for number in range(MAX_ENTRIES + 5)
    ]
    legend = legend_of(style(*rules), AREAS)
    assert len(legend.document()["entries"]) == MAX_ENTRIES + 5
    assert texts(legend.svg())[-1] == "… and 5 more"


def test_a_line_shows_all_rules_that_ask_for_no_more_than_its_own_in_their_order() -> None:
    large = {"op": ">", "args": [{"property": "n"}, 5]}
    both = {"op": "and", "args": [kind("a"), large]}
    legend = legend_of(
        style(
            rule("large", {"fill": {"color": "red", "opacity": 0.5}}, large),
            rule("large a", {"stroke": {"width": {"px": 2}}}, both),
            rule("a", {"fill": {"alter": True, "color": "blue"}}, kind("a")),
            rule("b", {"fill": {"color": "green"}}, kind("b")),
        ),
        AREAS,
    )
    drawn = {
        one.label: [one.values.get(path) for path in ("fill.opacity", "stroke.width")] + [one.values["fill.color"].hex]
        for one in legend.entries
    }
    assert drawn == {
        "large": [0.5, 1.0, "#ff0000"],
        "large a": [0.5, 2.0, "#0000ff"],
        "a": [1.0, 1.0, "#0000ff"],
        "b": [1.0, 1.0, "#008000"],
    }


def test_colours_that_cannot_be_told_apart_are_findings() -> None:
    rules = [
        rule("a", {"fill": {"color": [200, 30, 30]}}, kind("a")),
        rule("b", {"fill": {"color": [203, 32, 30]}}, kind("b")),
    ]
    assert [one.code for one in legend_of(style(*rules), AREAS).findings()] == ["colours_alike"]
    pale = legend_of(style(rule("path", {"stroke": {"color": "yellow"}})), LINES)
    assert [one.code for one in pale.findings()] == ["low_contrast"]


def test_letters_that_the_font_lacks_are_written_as_their_nearest() -> None:
    plain = Drawing(300, 30, (Words(5, 15, "Angstrom > 5 - 6"),), "t")
    accents = Drawing(300, 30, (Words(5, 15, "Ångström ≥ 5 – 6 中文"),), "t")
    for drawing in (plain, accents):
        picture = np.asarray(Image.open(io.BytesIO(drawing.png(2))))
        assert (picture < 128).any()
    assert width_of("mm") > width_of("ii")


def test_a_scale_that_is_no_picture_is_refused() -> None:
    legend = legend_of(WDPA, AREAS)
    assert np.asarray(pixels(legend, 2)).shape[0] == 2 * pixels(legend).shape[0]
    for scale in (0, 0.1, 9, float("nan")):
        with pytest.raises(InvalidParameter, match="scale"):
            legend.png(scale)


def test_a_hidden_coverage_and_one_without_colours_have_an_empty_legend() -> None:
    for symbolizer in ({"visibility": False}, {"visibility": True}):
        legend = legend_of(style(rule("t", symbolizer)), RASTER)
        assert (legend.entries, legend.ramp) == ((), None)
        assert legend.png()


@pytest.mark.skipif(not DATA.is_dir(), reason="The folder of real files is not beside the checkout.")
@pytest.mark.parametrize("name", ["1-core", "2-vector-polygon", "3-vector-line", "8-coverage-hillshading"])
def test_the_official_examples_have_legends(name: str) -> None:
    given = Style.of((DATA / "cartosym" / "examples" / f"{name}.cs.json").read_text("utf-8"))
    for on in (
        StyledLayer("Landuse", "vector", 2, {"FunctionCode": "text"}),
        StyledLayer("Roads", "vector", 1, {"FunctionCode": "text"}),
        StyledLayer("Elevation", "coverage", None, {"elevation": "number"}),
    ):
        legend = legend_of(given, on)
        ElementTree.fromstring(legend.svg())
        json.dumps(legend.document(), allow_nan=False)
        assert legend.png()


def test_colours_are_as_they_lie_on_white() -> None:
    (entry,) = legend_of(style(rule("x", {"fill": {"color": "black", "opacity": 0.5}, "opacity": 0.5})), AREAS).entries
    assert entry.colour == Color(191, 191, 191)
