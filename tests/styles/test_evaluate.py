"""Which symbol a feature gets, at the edges of what features and styles are."""

from typing import Any

import numpy as np
import pytest

from geoetl.core.errors import InvalidFilter
from geoetl.core.selectors import Column, Rows
from geoetl.styles.evaluate import symbols, text_of
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.symbol import Symbol
from geoetl.styles.values import Color, denominator_of, zoom_of

POLYGONS, LINES, POINTS = (StyledLayer("a:b", "vector", dimensions) for dimensions in (2, 1, 0))  # type: ignore[arg-type]


def draw(
    symbolizer: dict[str, Any], *rows: dict[str, Any], layer: StyledLayer = POLYGONS, selector: Any = True
) -> list[Symbol]:
    """Return the symbols of rows by a style of one rule."""
    style = Style.of({"stylingRules": [{"selector": selector, "symbolizer": symbolizer}]})
    return symbols(style, layer, Rows.of_documents(rows or [{}]), 1_000)


def test_without_rules_the_initial_values_of_the_standard_are_drawn() -> None:
    nothing = Style.of({"stylingRules": []})
    polygon, line, point = (symbols(nothing, layer, Rows.of_documents([{}]))[0] for layer in (POLYGONS, LINES, POINTS))
    assert polygon.fill and polygon.fill.color == Color(255, 255, 255) and polygon.stroke
    assert (polygon.stroke.color, polygon.stroke.width) == (Color(0, 0, 0), 1.0)
    assert line.fill is None and line.stroke and not line.markers
    assert point.fill is None and point.stroke is None and [one.size for one in point.markers] == [10.0]


@pytest.mark.parametrize(
    ("selector", "matched"),
    [
        ({"op": "=", "args": [{"property": "a"}, 1]}, [True, False, False, False]),
        ({"op": "<>", "args": [{"property": "a"}, 1]}, [False, True, True, False]),
        ({"op": "not", "args": [{"op": "=", "args": [{"property": "a"}, 1]}]}, [False, True, True, False]),
        ({"op": "<", "args": [{"property": "a"}, 5]}, [True, False, False, False]),
        ({"op": "in", "args": [{"property": "a"}, [1, "1"]]}, [True, True, False, False]),
        ({"op": "isNull", "args": [{"property": "a"}]}, [False, False, False, True]),
        ({"op": "startsWith", "args": [{"property": "a"}, "1"]}, [False, True, False, False]),
        ({"op": "contains", "args": [{"property": "a"}, "%"]}, [False, False, False, False]),
        ({"op": "=", "args": [{"op": "casei", "args": [{"property": "a"}]}, "x"]}, [False, False, True, False]),
        ({"op": "=", "args": [{"property": "missing"}, 1]}, [False] * 4),
        ({"op": "isNull", "args": [{"property": "missing"}]}, [True] * 4),
    ],
)
def test_a_number_is_no_text_and_what_is_missing_does_not_match(selector: Any, matched: list[bool]) -> None:
    found = draw({"visibility": False}, {"a": 1}, {"a": "1"}, {"a": "X"}, {"a": None}, selector=selector)
    assert [not one.visible for one in found] == matched


def test_a_value_that_cannot_be_read_is_the_initial_one_of_a_new_object() -> None:
    rows = [{"w": 3}, {"w": "3"}, {"w": None}, {"w": -2}, {"w": float("nan")}]
    found = draw({"stroke": {"width": {"property": "w"}}}, *rows)
    assert [one.stroke.width for one in found if one.stroke] == [3.0, 1.0, 1.0, 0.0, 1.0]


def test_opacities_stay_between_nothing_and_all() -> None:
    found = draw({"opacity": {"op": "/", "args": [{"property": "n"}, 10]}}, {"n": 5}, {"n": 50}, {"n": -1}, {})
    assert [one.opacity for one in found] == [0.5, 1.0, 0.0, 1.0]


def test_colours_are_read_part_by_part() -> None:
    found = draw({"fill": {"color": [{"property": "r"}, 20, 30]}}, {"r": 10}, {"r": 999}, {})
    assert [one.fill.color.parts for one in found if one.fill] == [(10, 20, 30), (255, 20, 30), (255, 255, 255)]


def test_letters_are_read_from_texts_and_numbers() -> None:
    text = {"elements": [{"type": "Text", "text": {"property": "n"}}]}
    found = draw({"label": text}, {"n": "Oslo"}, {"n": 5.0}, {"n": 2.5}, {"n": True}, {})
    assert [one.labels[0].text for one in found] == ["Oslo", "5", "2.5", "true", ""]


def test_a_marker_passes_its_opacity_and_place_on() -> None:
    marker = {"opacity": 0.5, "position": [1, 2], "elements": [{"type": "Dot", "opacity": 0.5, "position": [10, 10]}]}
    (dot,) = draw({"marker": marker}, layer=POINTS)[0].markers
    assert (dot.opacity, dot.position) == (0.25, (11.0, 12.0))


def test_the_size_of_a_dot_is_that_of_its_stroke() -> None:
    dot = {"type": "Dot", "stroke": {"color": "orange", "width": {"px": 8}}}
    (drawn,) = draw({"marker": {"elements": [dot]}}, layer=POINTS)[0].markers
    assert (drawn.size, drawn.color) == (8.0, Color(255, 165, 0))


def test_features_that_are_drawn_alike_share_their_symbol() -> None:
    first, second = draw({"fill": {"color": "red"}}, {"a": 1}, {"a": 2})
    assert first is second


def test_rows_that_refuse_a_property_they_do_not_have_are_rows_without_it() -> None:
    class Strict:
        size = 2

        def column(self, name: str) -> Column:
            """Return no property."""
            raise InvalidFilter(f"There is no property {name}.")

    rule = {"selector": {"op": "=", "args": [{"property": "x"}, 1]}, "symbolizer": {"visibility": False}}
    assert [one.visible for one in symbols(Style.of({"stylingRules": [rule]}), POLYGONS, Strict())] == [True, True]


def test_a_list_matches_no_comparison_and_breaks_nothing() -> None:
    found = draw({"visibility": False}, {"a": [1, 2]}, {"a": [1]}, selector={"op": "=", "args": [{"property": "a"}, 1]})
    assert [one.visible for one in found] == [True, True]


def test_no_rows_have_no_symbols() -> None:
    assert symbols(Style.of({"stylingRules": [{}]}), POLYGONS, Rows({}, 0)) == []


def test_columns_of_numpy_are_read() -> None:
    rows = Rows({"n": np.array([1, 2, 3]), "w": np.array([1.0, np.nan, 3.0])}, 3)
    rule = {
        "selector": {"op": ">", "args": [{"property": "n"}, 1]},
        "symbolizer": {"stroke": {"width": {"property": "w"}}},
    }
    found = symbols(Style.of({"stylingRules": [rule]}), LINES, rows)
    assert [one.stroke.width for one in found if one.stroke] == [1.0, 1.0, 3.0]


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (1e6, "1000000"), (0.1, "0.1"), (False, "false"), ("a", "a")])
def test_values_are_written_as_on_a_map(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_scales_and_zooms_are_those_of_the_web_mercator_quad() -> None:
    assert denominator_of(0, tile_size=256) == 559082264.028717
    assert denominator_of(0) == 559082264.028717 / 2
    assert zoom_of(denominator_of(7.5)) == pytest.approx(7.5)
    assert zoom_of(denominator_of(3, 256), 256) == pytest.approx(3)
