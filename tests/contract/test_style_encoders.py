"""What every registered encoder keeps to, whoever wrote it.

It loses nothing in silence, lets nothing out of the data that a style holds, and never draws more than the style says.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from geoetl.styles.cascade import Loss, flatten
from geoetl.styles.encoders import ENCODERS, Encoded, Encoder
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.testing.styles import coverage_styles, layers, styles

EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "cartosym" / "examples"
# Nobody knows this function; as a condition the schema takes it in a comparison only.
FROBNICATED: dict[str, Any] = {"op": "=", "args": [{"op": "frobnicate", "args": [{"property": "kind"}]}, True]}
LAND = StyledLayer("land", "vector", 2, {"kind": "text", "height": "number", "is_open": "boolean", "since": "time"})
RELIEF = StyledLayer("relief", "coverage", None, {"height": "number"})
# What ends a script, a text, an attribute, a comment, a section or a path in one of the targets.
HOSTILE = (
    "</script><script>alert(1)</script>",
    "');alert(1)//",
    "${alert(1)}",
    '"><img src=x onerror=alert(1)>',
    "]]><!-- --><?x?>&xxe;",
    "a' or '1'='1",
    "__proto__",
    "\u0001\u0008\ufffe",
    "\u202ename\u2028",
    "javascript:alert(1)",
)


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    """Give each registered encoder."""
    return ENCODERS[request.param]


def test_it_says_what_it_is(encoder: Encoder) -> None:
    assert ENCODERS[encoder.name] is encoder
    assert encoder.title and encoder.extension and "/" in encoder.media_type
    assert encoder.specification.startswith("https://")
    assert set(encoder.kinds) <= {"vector", "coverage"} and encoder.kinds


def test_an_answer_carries_its_type(encoder: Encoder) -> None:
    encoded = encoder.encode(filled(), LAND)
    assert (encoded.name, encoded.extension) == (encoder.name, encoder.extension)
    assert encoded.media_type == encoder.media_type


def test_a_style_without_rules_is_encoded(encoder: Encoder) -> None:
    for layer in (LAND, RELIEF):
        check(encoder.encode(Style.of({"stylingRules": []}), layer), Style.of({"stylingRules": []}))


def test_a_style_of_fifty_classes_is_encoded_without_loss(encoder: Encoder) -> None:
    style = classes(50)
    encoded = encoder.encode(style, LAND)
    check(encoded, style)
    assert encoded.losses == ()


@pytest.mark.parametrize("name", ["1-core", "2-vector-polygon", "3-vector-line", "8-coverage-hillshading"])
def test_an_official_example_is_encoded(encoder: Encoder, name: str) -> None:
    if not EXAMPLES.is_dir():
        pytest.skip("The official examples are not on this machine.")
    style = Style.of((EXAMPLES / f"{name}.cs.json").read_bytes())
    for layer_id in ("Landuse", "Roads", "Elevation", "other"):
        for dimensions in (0, 1, 2, None):
            check(encoder.encode(style, StyledLayer(layer_id, "vector", dimensions)), style)
        check(encoder.encode(style, StyledLayer(layer_id, "coverage")), style)


@settings(max_examples=25, deadline=None)
@given(styles(scales=True, data=True), layers())
def test_whatever_a_style_says_the_answer_is_strict_and_the_same_each_time(
    document: dict[str, Any], layer: StyledLayer
) -> None:
    same_each_time(document, layer)


@settings(max_examples=25, deadline=None)
@given(coverage_styles(), layers("coverage"))
def test_whatever_a_style_says_of_a_coverage_the_answer_is_strict(document: dict[str, Any], layer: StyledLayer) -> None:
    same_each_time(document, layer)


@pytest.mark.parametrize("condition", [
    FROBNICATED,
    {"op": "not", "args": [FROBNICATED]},
    {"op": "or", "args": [FROBNICATED, {"op": "=", "args": [{"property": "kind"}, "a"]}]},
    {"op": "=", "args": [{"sysId": "viz.timeOfDay.hour"}, 3]},
])  # fmt: skip
def test_what_is_not_understood_never_matches_and_is_told(encoder: Encoder, condition: Mapping[str, Any]) -> None:
    style = Style.of({"stylingRules": [{"selector": condition, "symbolizer": {"fill": {"color": [255, 0, 0]}}}]})
    encoded = encoder.encode(style, LAND)
    check(encoded, style)
    if encoder.name != "cartosym":
        assert "#ff0000" not in encoded.content.decode()
        assert [loss.pointer for loss in encoded.losses if loss.pointer.startswith("/stylingRules/0")]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_data(encoder: Encoder, text: str) -> None:
    style = hostile(text)
    layer = StyledLayer(text, "vector", 2, {text: "text", "kind": "text"})
    encoded = encoder.encode(style, layer)
    check(encoded, style)
    coverage = StyledLayer(text, "coverage", None, {text: "number"})
    check(encoder.encode(relief(text), coverage), relief(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_makes_no_other_structure_than_a_plain_one(encoder: Encoder, text: str) -> None:
    """A text may be left out where a target cannot hold it, but it never adds an element, a key or a rule."""
    plain, odd = (encoder.encode(hostile(one), LAND) for one in ("plain", text))
    assert shape_of(odd) <= shape_of(plain)


def test_losses_are_told_in_the_order_of_the_style_and_once(encoder: Encoder) -> None:
    style = filled()
    losses = encoder.encode(style, LAND).losses
    assert len(set(losses)) == len(losses)


def test_what_the_cascade_loses_every_encoder_tells(encoder: Encoder) -> None:
    style = filled()
    if encoder.name != "cartosym":
        assert set(flatten(style, LAND).losses) <= set(encoder.encode(style, LAND).losses)


def same_each_time(document: dict[str, Any], layer: StyledLayer) -> None:
    style = Style.of(document)
    for name in ENCODERS:
        encoded = ENCODERS[name].encode(style, layer)
        check(encoded, style)
        assert ENCODERS[name].encode(Style.of(style.document()), layer).content == encoded.content


# -- what the tests are about ----------------------------------------------------------------------------------------


def filled() -> Style:
    """Return a style that uses much of what there is."""
    return Style.of({
        "metadata": {"title": "Land"},
        "stylingRules": [
            {
                "name": "all",
                "symbolizer": {
                    "opacity": 0.8,
                    "fill": {"color": "gray", "opacity": 0.5, "pattern": {"type": "Dot"}},
                    "stroke": {
                        "color": [1, 2, 3],
                        "width": {"px": 2},
                        "dashPattern": [4, 2],
                        "casing": {"color": "white", "width": {"px": 1}},
                    },
                    "label": {"elements": [{"type": "Text", "text": {"property": "kind"}, "font": {"size": 12}}]},
                },
                "nestedRules": [
                    {
                        "selector": {"op": "=", "args": [{"property": "kind"}, "a"]},
                        "symbolizer": {"fill": {"alter": True, "color": "red"}, "zOrder": 3},
                    },
                    {
                        "selector": {"op": "<", "args": [{"sysId": "viz.sd"}, 50000]},
                        "symbolizer": {"stroke": {"alter": True, "width": {"m": 20}}},
                    },
                    {
                        "selector": FROBNICATED,
                        "symbolizer": {"visibility": False},
                    },
                ],
            }
        ],
    })  # fmt: skip


def classes(count: int) -> Style:
    """Return a style of so many classes of areas."""
    nested = [
        {
            "name": f"class {number}",
            "selector": {"op": "=", "args": [{"property": "kind"}, f"kind {number}"]},
            "symbolizer": {"fill": {"alter": True, "color": [number, 100, 200 - number]}},
        }
        for number in range(count)
    ]
    base = {"fill": {"color": "gray", "opacity": 0.5}, "stroke": {"color": "black", "width": {"px": 1}}}
    return Style.of({"stylingRules": [{"name": "base", "symbolizer": base, "nestedRules": nested}]})


def hostile(text: str) -> Style:
    """Return a style that has a text wherever a text may stand."""
    return Style.of({
        "metadata": {"title": text, "description": text, "keywords": [text]},
        "stylingRules": [
            {
                "name": text,
                "selector": {"op": "=", "args": [{"property": "kind"}, text]},
                "symbolizer": {
                    "fill": {"color": [255, 0, 0]},
                    "label": {"elements": [{"type": "Text", "text": text, "font": {"face": text, "size": 10}}]},
                },
            },
            {
                "name": text,
                "selector": {"op": "like", "args": [{"property": "kind"}, text]},
                "symbolizer": {
                    "marker": {"elements": [{"type": "Image", "image": {"uri": text, "path": text, "id": text}}]}
                },
            },
            {
                "name": text,
                "selector": {"op": "=", "args": [{"property": text}, 1]},
                "symbolizer": {"label": {"elements": [{"type": "Text", "text": {"property": text}}]}},
            },
        ],
    })  # fmt: skip


def relief(text: str) -> Style:
    """Return a style of a coverage that has a text wherever a text may stand."""
    color_map = [[0, [0, 0, 0], text], [10, [255, 255, 255], text]]
    symbolizer = {"singleChannel": {"property": text}, "colorMap": color_map}
    return Style.of({"metadata": {"title": text}, "stylingRules": [{"name": text, "symbolizer": symbolizer}]})


# -- checks ----------------------------------------------------------------------------------------------------------


def check(encoded: Encoded, style: Style) -> None:
    """Check what holds for any answer: strict JSON or well-formed XML, and losses that say where and why."""
    content = encoded.content
    if isinstance(encoded.document, str):
        ElementTree.fromstring(content)
        assert b"<!DOCTYPE" not in content and b"<!ENTITY" not in content
    else:
        assert json.loads(content, parse_constant=pytest.fail) == encoded.document
        assert all(math.isfinite(number) for number in numbers(encoded.document))
    for loss in encoded.losses:
        assert loss.reason.strip()
        at(style.document(), loss)


def at(document: Mapping[str, Any], loss: Loss) -> Any:
    """Return what a loss points to (RFC 6901)."""
    found: Any = document
    for part in loss.pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def numbers(node: Any) -> Iterator[float]:
    if isinstance(node, Mapping):
        for part in node.values():
            yield from numbers(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from numbers(part)
    elif isinstance(node, float):
        yield node


def shape_of(encoded: Encoded) -> set[str]:
    """Return the names of elements and attributes, or the keys."""
    if isinstance(encoded.document, str):
        parts = list(ElementTree.fromstring(encoded.content).iter())
        return {part.tag for part in parts} | {f"@{name}" for part in parts for name in part.attrib}
    return set(_keys(encoded.document))


def _keys(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from node
        for part in node.values():
            yield from _keys(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _keys(part)
