"""What people write becomes canonical, and is told."""

from typing import Any

import pytest

from geoetl.core.errors import InvalidStyle
from geoetl.core.selectors import Rows
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import Color
from tests.styles.official import is_valid

WDPA: dict[str, Any] = {
    "name": "wdpa-iucn",
    "title": "WDPA by IUCN category",
    "stylingRules": [
        {
            "name": f"category-{category}",
            "selector": {"op": "=", "args": [{"property": "iucn_cat"}, category]},
            "symbolizer": {
                "type": "Polygon",
                "fill": {"color": color, "opacity": 0.7},
                "stroke": {"color": "#0d5c2e", "width": 1.5},
            },
        }
        for category, color in (("Ia", "#1a9850"), ("II", "#66bd63"))
    ],
}


def canonical(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a style becomes, after a look at what every canonical document has to be."""
    style = Style.of(document)
    made = style.document()
    assert is_valid(made)
    again = Style.of(made)
    assert again == style and again.changes == ()
    return made


def drawn(**symbolizer: Any) -> Any:
    """Return the symbolizer of the only rule."""
    return canonical({"stylingRules": [{"symbolizer": symbolizer}]})["stylingRules"][0]["symbolizer"]


def selected(selector: Any) -> Any:
    """Return the selector of the only rule."""
    return canonical({"stylingRules": [{"selector": selector}]})["stylingRules"][0]["selector"]


def test_the_form_of_the_predecessor_is_read_and_what_was_changed_is_told() -> None:
    style = Style.of(WDPA)
    assert canonical(WDPA)["stylingRules"][0]["symbolizer"] == {
        "fill": {"color": [26, 152, 80], "opacity": 0.7},
        "stroke": {"color": [13, 92, 46], "width": {"px": 1.5}},
    }
    assert style.title == "WDPA by IUCN category"
    assert {finding.code for finding in style.findings()} == {
        "style_metadata_written",
        "style_type_written",
        "style_color_written",
        "style_length_written",
    }
    assert "4 colours" in " ".join(finding.message for finding in style.findings())
    rows = Rows.of_documents([{"iucn_cat": "Ia"}, {"iucn_cat": "II"}, {}])
    fills = [one.fill for one in symbols(style, StyledLayer("wdpa:all", "vector", 2), rows)]
    assert [fill.color.hex for fill in fills if fill] == ["#1a9850", "#66bd63", "#ffffff"]


def test_a_point_of_the_predecessor_is_a_dot_with_an_outline() -> None:
    made = drawn(type="Point", fill={"color": "#ff0000"}, stroke={"color": "#fff", "width": 2}, marker={"size": 6})
    assert made == {
        "marker": {
            "elements": [
                {
                    "type": "Dot",
                    "color": [255, 0, 0],
                    "size": {"px": 6},
                    "outline": {"color": [255, 255, 255], "thickness": {"px": 2}},
                }
            ]
        }
    }
    style = Style.of({"stylingRules": [{"symbolizer": made}]})
    (marker,) = symbols(style, StyledLayer("a:b", "vector", 0), Rows.of_documents([{}]))[0].markers
    assert (marker.color, marker.size, marker.outline and marker.outline.width) == (Color(255, 0, 0), 6.0, 2.0)


@pytest.mark.parametrize(
    ("given", "color"),
    [
        ("#1a9850", [26, 152, 80]),
        ("#FFF", [255, 255, 255]),
        ("0x1A9850", [26, 152, 80]),
        ("rgb(1, 2, 3)", [1, 2, 3]),
        ("rgb(100%, 0%, 50%)", [255, 0, 128]),
        ("DarkGreen", "darkGreen"),
        ("fuchsia", "fuschia"),
    ],
)
def test_colours_of_the_web_are_read(given: str, color: Any) -> None:
    assert drawn(fill={"color": given}) == {"fill": {"color": color}}


@pytest.mark.parametrize(
    ("given", "opacity"), [("#1a985080", 0.502), ("rgba(26,152,80,.5)", 0.5), ("rgb(26 152 80 / 50%)", 0.5)]
)
def test_a_transparent_colour_is_a_colour_and_an_opacity(given: str, opacity: float) -> None:
    assert drawn(fill={"color": given}) == {"fill": {"color": [26, 152, 80], "opacity": opacity}}


@pytest.mark.parametrize(
    ("stroke", "made"),
    [
        ({"color": "#000", "width": "1.5px"}, {"color": [0, 0, 0], "width": {"px": 1.5}}),
        ({"color": "#000", "width": "2 mm"}, {"color": [0, 0, 0], "width": {"mm": 2.0}}),
        ({"color": "#000", "dashArray": "4, 2.4"}, {"color": [0, 0, 0], "dashPattern": [4, 2]}),
        ({"dashPattern": [4.5, 2]}, {"dashPattern": [4, 2]}),
        ("#000", {"color": [0, 0, 0]}),
        ({"opacity": "50%"}, {"opacity": 0.5}),
    ],
)
def test_strokes_of_other_clients_are_read(stroke: Any, made: dict[str, Any]) -> None:
    assert drawn(stroke=stroke) == {"stroke": made}


def test_a_label_without_elements_is_one_text() -> None:
    assert drawn(label={"field": "name", "size": 10, "color": "#333", "halo": {"color": "#fff", "width": 1}}) == {
        "label": {
            "elements": [
                {
                    "type": "Text",
                    "text": {"property": "name"},
                    "font": {
                        "size": 10,
                        "color": [51, 51, 51],
                        "outline": {"color": [255, 255, 255], "size": 1},
                    },
                }
            ]
        }
    }


def test_a_circle_of_part_2_is_a_dot_and_other_shapes_are_refused() -> None:
    circle = {"type": "Circle", "radius": {"px": 4}, "fill": {"color": "red"}}
    made = drawn(marker={"elements": [circle]})
    assert made == {"marker": {"elements": [{"type": "Dot", "size": {"px": 8}, "color": "red"}]}}
    with pytest.raises(InvalidStyle, match="shapes are of part 2"):
        Style.of({"stylingRules": [{"symbolizer": {"marker": {"elements": [{"type": "Rectangle"}]}}}]})


PROPERTY = {"property": "a"}
BETWEEN = {"op": "between", "args": [PROPERTY, 1, 2]}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("a = 'x'", {"op": "=", "args": [PROPERTY, "x"]}),
        (PROPERTY, {"op": "=", "args": [PROPERTY, True]}),
        ({"op": "isNull", "args": PROPERTY}, {"op": "isNull", "args": [PROPERTY]}),
        ({"op": "not", "args": [BETWEEN]}, {"op": "=", "args": [{"op": "not", "args": [BETWEEN]}, True]}),
    ],
)
def test_conditions_that_the_schema_refuses_plain_are_written_as_it_takes_them(given: Any, made: Any) -> None:
    assert selected(given) == made


def test_a_condition_written_anew_says_the_same() -> None:
    selector = {"op": "not", "args": [{"op": "isNull", "args": [PROPERTY]}]}
    rule = {"selector": selector, "symbolizer": {"visibility": False}}
    rows = Rows.of_documents([{"a": 1}, {"a": None}, {}])
    found = symbols(Style.of({"stylingRules": [rule]}), StyledLayer("a:b", "vector", 2), rows)
    assert [one.visible for one in found] == [False, True, True]


def test_variables_are_put_in_place_where_the_schema_takes_no_reference() -> None:
    made = canonical(
        {
            "$variables": {"half": 0.5},
            "stylingRules": [{"symbolizer": {"opacity": {"$ref": "#/$variables/half"}}}],
        }
    )
    assert made["stylingRules"][0]["symbolizer"] == {"opacity": 0.5}


def test_stops_of_colour_maps_may_be_objects_and_hex() -> None:
    stops = [{"value": 1, "color": "#fff", "name": "low"}, [2, "#000"]]
    assert drawn(colorMap=stops) == {"colorMap": [[1, [255, 255, 255], "low"], [2, [0, 0, 0]]]}


def test_what_is_given_is_left_as_it_is() -> None:
    before = repr(WDPA)
    Style.of(WDPA)
    assert repr(WDPA) == before


@pytest.mark.parametrize("color", ["#12", "rgb(1,2)", "no colour", "#gggggg", "rgb(1,2,3", ""])
def test_what_is_no_colour_is_refused_where_it_stands(color: str) -> None:
    with pytest.raises(InvalidStyle) as caught:
        Style.of({"title": "x", "stylingRules": [{"symbolizer": {"fill": {"color": color}}}]})
    assert caught.value.field == "/stylingRules/0/symbolizer/fill/color"
