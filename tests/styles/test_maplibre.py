"""MapLibre documents: what the official validator accepts, what its library draws, and what is said to be lost."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.letters import matcher
from geoetl.core.selectors import Rows, matches
from geoetl.styles.encoders import ENCODERS
from geoetl.styles.encoders.maplibre import MapLibre
from geoetl.styles.encoders.maplibre_expressions import Conditions
from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import PropertyKind, StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import denominator_of, zoom_of
from geoetl.testing.styles import PROPERTIES, coverage_styles, styles
from tests.conftest import missing
from tests.peers.judge import Judge

EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "cartosym" / "examples"
KINDS: dict[str, PropertyKind] = {"kind": "text", "height": "number", "is_open": "boolean", "since": "time"}
AREAS = StyledLayer("towns:parks", "vector", 2, KINDS)
LINES = StyledLayer("towns:roads", "vector", 1, KINDS)
POINTS = StyledLayer("towns:trees", "vector", 0, KINDS)
MIXED = StyledLayer("towns:all", "vector", None, KINDS)
RELIEF = StyledLayer("relief", "coverage")
TYPES = {0: "Point", 1: "LineString", 2: "Polygon", None: "Polygon"}
KIND = {"property": "kind"}


def encoded(*rules: dict[str, Any], layer: StyledLayer = AREAS, encoder: MapLibre | None = None) -> Encoded:
    return (encoder or MapLibre()).encode(Style.of({"stylingRules": list(rules)}), layer)


def where(op: str, *arguments: Any) -> dict[str, Any]:
    return {"op": op, "args": list(arguments)}


def reasons(given: Encoded) -> list[tuple[str, str]]:
    return [(loss.pointer, loss.reason) for loss in given.losses]


def drawn(
    judge: Judge, given: Encoded, layer: StyledLayer, *features: dict[str, Any], zoom: float = 5.0
) -> list[list[dict[str, Any]]]:
    """Return what MapLibre's library draws of each feature."""
    assert judge.validate(given.document) == []
    return judge.draw(
        given.document, [(zoom, {"type": TYPES[layer.dimensions], "properties": one}) for one in features]
    )


def held(
    judge: Judge, condition: Any, rows: Sequence[dict[str, Any]], kinds: dict[str, PropertyKind] | None = None
) -> Any:
    """Return of which rows a condition is true for MapLibre's library, and the losses."""
    losses: list[str] = []
    test = Conditions(kinds or {}, losses.append).matching(condition)
    layer = {"id": "a", "type": "fill", "source": "s", "source-layer": "l", "filter": ["all", test]}
    style = {"version": 8, "sources": {"s": {"type": "vector", "url": "x"}}, "layers": [layer]}
    assert judge.validate(style) == []
    told = judge.draw(style, [(5.0, {"type": "Polygon", "properties": row}) for row in rows])
    return [bool(one) for one in told], losses


# -- the validator ---------------------------------------------------------------------------------------------------


def test_any_style_gives_what_the_official_validator_accepts(judge: Judge) -> None:
    known: set[str] = set()

    @settings(max_examples=260, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document=styles(max_rules=2, scales=True, data=True), layer=st.sampled_from([AREAS, LINES, POINTS, MIXED]))
    def check(document: dict[str, Any], layer: StyledLayer) -> None:
        given = MapLibre().encode(Style.of(document), replace(layer, properties=PROPERTIES))
        assert judge.validate(given.document) == []
        known.add(json.dumps(document))

    check()
    assert len(known) >= 200


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=coverage_styles())
def test_any_style_of_a_coverage_gives_a_raster_layer(judge: Judge, document: dict[str, Any]) -> None:
    given = MapLibre().encode(Style.of(document), RELIEF)
    assert judge.validate(given.document) == []
    is_visible = document["stylingRules"][0]["symbolizer"].get("visibility", True)
    assert [layer["type"] for layer in given.document["layers"]] == (["raster"] if is_visible else [])


@pytest.mark.parametrize("name", ["1-core", "2-vector-polygon", "3-vector-line", "8-coverage-hillshading"])
@pytest.mark.parametrize("dimensions", [None, 0, 1, 2])
def test_the_official_examples_are_encoded(judge: Judge, name: str, dimensions: Any) -> None:
    path = EXAMPLES / f"{name}.cs.json"
    if not path.is_file():
        missing("The examples of CartoSym-JSON", "put them into ../shared/data/cartosym")
    style = Style.of(path.read_bytes())
    for kind in ("vector", "coverage"):
        for layer_id in ("Landuse", "Roads", "Elevation"):
            layer = StyledLayer(layer_id, kind, dimensions if kind == "vector" else None)  # type: ignore[arg-type]
            assert judge.validate(MapLibre().encode(style, layer).document) == []


# -- documents -------------------------------------------------------------------------------------------------------

CATEGORIES: dict[str, Any] = {
    "symbolizer": {"fill": {"color": [204, 204, 204], "opacity": 0.5}, "stroke": {"color": [153, 153, 153]}},
    "nestedRules": [
        {
            "selector": where("=", KIND, "park"),
            "symbolizer": {"fill": {"alter": True, "color": [26, 152, 80], "opacity": 0.7}},
        },
        {
            "selector": where("in", KIND, ["lake", "river"]),
            "symbolizer": {"fill": {"alter": True, "color": "blue"}, "stroke": {"alter": True, "width": {"px": 1.5}}},
        },
    ],
}


def test_categories_are_looked_up() -> None:
    given = MapLibre().encode(Style.of({"metadata": {"title": "Land"}, "stylingRules": [CATEGORIES]}), AREAS)
    shared = {"source": "layer", "source-layer": "parks"}
    color = ["match", ["get", "kind"], ["lake", "river"], "#0000ff", "park", "#1a9850", "#cccccc"]
    assert given.document == {
        "version": 8,
        "name": "Land",
        "sources": {"layer": {"type": "vector", "url": "tiles/vector/towns/parks/tilejson.json"}},
        "layers": [
            {
                "id": "fill",
                "type": "fill",
                **shared,
                "paint": {
                    "fill-color": color,
                    "fill-opacity": ["case", ["==", ["get", "kind"], "park"], 0.7, 0.5],
                },
            },
            {
                "id": "stroke",
                "type": "line",
                **shared,
                "paint": {
                    "line-color": "#999999",
                    "line-width": given.document["layers"][1]["paint"]["line-width"],
                },
            },
        ],
    }
    assert given.document["layers"][1]["paint"]["line-width"][-2:] == [1.5, 1]
    assert given.losses == ()
    assert (given.media_type, given.content) == (
        "application/vnd.mapbox.style+json",
        json.dumps(given.document, separators=(",", ":")).encode(),
    )


def test_addresses_are_those_that_it_is_given() -> None:
    at_home = MapLibre(server="https://maps.example.org/", glyphs="https://maps.example.org/{fontstack}/{range}.pbf")
    document = encoded(CATEGORIES, encoder=at_home).document
    assert document["sources"]["layer"]["url"] == "https://maps.example.org/tiles/vector/towns/parks/tilejson.json"
    assert document["glyphs"] == "https://maps.example.org/{fontstack}/{range}.pbf"
    archive = encoded(CATEGORIES, encoder=MapLibre(tiles="pmtiles://parks.pmtiles")).document
    assert archive["sources"]["layer"] == {"type": "vector", "url": "pmtiles://parks.pmtiles"}
    hostile = StyledLayer("a/../b?c:d e", "vector", 2)
    assert (
        encoded(layer=hostile).document["sources"]["layer"]["url"] == "tiles/vector/a%2F..%2Fb%3Fc/d%20e/tilejson.json"
    )


def test_scales_are_zooms_of_tiles_of_512_pixels(judge: Judge) -> None:
    hidden = {"symbolizer": {"visibility": False}}
    near = {"selector": where("<", {"sysId": "viz.sd"}, 200_000), "symbolizer": {"visibility": True}}
    given = encoded(hidden, near, layer=LINES)
    (layer,) = given.document["layers"]
    assert layer["minzoom"] == pytest.approx(10.4488, abs=1e-4) and "maxzoom" not in layer
    edge = zoom_of(200_000)
    for zoom in (edge - 1e-9, edge, edge + 1e-9, 0.0, 22.0):
        ours = symbols(Style.of({"stylingRules": [hidden, near]}), LINES, Rows({}, 1), denominator_of(zoom))
        assert bool(drawn(judge, given, LINES, {}, zoom=zoom)[0]) is (ours[0].visible and zoom != edge)
    # At the very scale the style says no, and so does the layer, which begins a hair further in.
    assert layer["minzoom"] > edge
    closed = {"selector": where("<=", {"sysId": "viz.sd"}, 200_000), "symbolizer": {"visibility": True}}
    assert encoded(hidden, closed, layer=LINES).document["layers"][0]["minzoom"] == edge


def test_lengths_on_the_ground_double_with_each_zoom(judge: Judge) -> None:
    given = encoded({"symbolizer": {"stroke": {"width": {"m": 8}}}}, layer=LINES)
    for zoom in (0.0, 9.5, 16.0, 18.25):
        ((line,),) = drawn(judge, given, LINES, {}, zoom=zoom)
        assert line["line-width"] == pytest.approx(8 / (0.00028 * denominator_of(zoom)))
    dots = encoded({"symbolizer": {"marker": {"elements": [{"type": "Dot", "size": {"m": 10}}]}}}, layer=POINTS)
    (((dot,),), ((larger,),)) = (drawn(judge, dots, POINTS, {}, zoom=zoom) for zoom in (14.0, 15.0))
    assert larger["circle-radius"] == pytest.approx(2 * dot["circle-radius"])


def test_a_casing_lies_beneath_a_line_and_a_centre_line_over_it(judge: Judge) -> None:
    stroke = {
        "color": "white",
        "width": {"px": 4},
        "casing": {"color": "black", "width": {"px": 1}},
        "centerLine": {"color": "red", "width": {"px": 0.5}, "opacity": 0.5},
    }
    (lines,) = drawn(judge, encoded({"symbolizer": {"opacity": 0.5, "stroke": stroke}}, layer=LINES), LINES, {})
    assert [(line["id"], line["line-width"], line["line-opacity"]) for line in lines] == [
        ("stroke-casing", 6, 0.5),
        ("stroke", 4, 0.5),
        ("stroke-center", 0.5, 0.25),
    ]


def test_dashes_are_counted_in_widths_and_make_a_layer_each(judge: Judge) -> None:
    given = encoded(
        {"symbolizer": {"stroke": {"width": {"px": 2}, "dashPattern": [6, 4], "cap": "round"}}},
        {"selector": where("=", KIND, "track"), "symbolizer": {"stroke": {"alter": True, "dashPattern": [2, 2]}}},
        {
            "selector": where(">", {"property": "height"}, 5),
            "symbolizer": {"stroke": {"alter": True, "dashPattern": []}},
        },
        layer=LINES,
    )
    told = drawn(judge, given, LINES, {}, {"kind": "track"}, {"kind": "track", "height": 6})
    assert [[line["line-dasharray"] for line in lines] for lines in told] == [[[3, 2]], [[1, 1]], [None]]
    assert all(line["line-cap"] == "round" for (line,) in told)


def test_features_are_put_in_order(judge: Judge) -> None:
    given = encoded(
        {"symbolizer": {"zOrder": 1}},
        {"selector": where("=", KIND, "oak"), "symbolizer": {"zOrder": 3}},
        layer=POINTS,
    )
    told = drawn(judge, given, POINTS, {"kind": "oak"}, {})
    assert [dot["circle-sort-key"] for (dot,) in told] == [3, 1]
    assert given.losses == ()


def test_texts_are_words_and_never_templates(judge: Judge) -> None:
    label = {"elements": [{"type": "Text", "text": "{kind} </script>", "font": {"bold": True, "size": 14}}]}
    (layers_,) = drawn(judge, encoded({"symbolizer": {"label": label}}), AREAS, {"kind": "park"})
    text = layers_[-1]
    # MapLibre looks up {kind} in a plain text, not in one that is marked as a literal.
    (layer,) = [one for one in encoded({"symbolizer": {"label": label}}).document["layers"] if one["type"] == "symbol"]
    assert layer["layout"]["text-field"] == ["literal", "{kind} </script>"]
    assert (text["text-field"], text["text-font"]) == ("{kind} </script>", ["Arial Bold", "Arial"])
    assert text["text-size"] == pytest.approx(14 * 25.4 / 72 / 0.28)
    named = {"elements": [{"type": "Text", "text": KIND, "position": [20, 5], "alignment": ["left", "top"]}]}
    told = drawn(judge, encoded({"symbolizer": {"marker": named}}), AREAS, {"kind": "');alert(1)//"}, {}, {"kind": 5})
    symbols_ = [[one for one in layers_ if one["type"] == "symbol"] for layers_ in told]
    assert [[one["text-field"] for one in found] for found in symbols_] == [["');alert(1)//"], [""], ["5"]]
    assert symbols_[0][0]["text-translate"] == [20, 5] and symbols_[0][0]["text-anchor"] == "top-left"


def test_mixed_geometries_are_told_apart(judge: Judge) -> None:
    label = {"label": {"elements": [{"type": "Text", "text": "a"}]}}
    given = encoded({"symbolizer": label}, layer=MIXED)
    kinds = {
        kind: [layer["id"] for layer in judge.draw(given.document, [(5.0, {"type": kind, "properties": {}})])[0]]
        for kind in ("Point", "LineString", "Polygon")
    }
    assert kinds == {
        "Point": ["marker-0-dot", "label-0-text"],
        "LineString": ["stroke", "label-0-text-2"],
        "Polygon": ["fill", "stroke", "label-0-text"],
    }


def test_a_coverage_shows_tiles_as_the_server_draws_them(judge: Judge) -> None:
    ramp = {"symbolizer": {"colorMap": [[0, "black"], [900, "white"]], "opacity": 0.5}}
    far = {"selector": where(">", {"sysId": "viz.sd"}, 1e6), "symbolizer": {"visibility": False}}
    given = encoded(ramp, far, layer=RELIEF)
    assert judge.validate(given.document) == []
    address = "tiles/raster/relief/{item}/WebMercatorQuad/{z}/{x}/{y}.png"
    assert given.document["sources"]["layer"] == {"type": "raster", "tiles": [address], "tileSize": 256}
    (layer,) = given.document["layers"]
    assert layer["type"] == "raster" and layer["minzoom"] == pytest.approx(zoom_of(1e6)) and "paint" not in layer
    classes = {
        "symbolizer": {"singleChannel": {"property": "b1"}, "colorMap": [[1, "red", "town"], [2, "green", "wood"]]}
    }
    (layer,) = encoded(classes, layer=RELIEF).document["layers"]
    assert layer["paint"] == {"raster-resampling": "nearest"}


# -- losses ----------------------------------------------------------------------------------------------------------

PICTURE = {"type": "Image", "image": {"uri": "https://example.org/a.png"}}


@pytest.mark.parametrize(
    ("layer", "symbolizer", "said"),
    [
        (AREAS, {"fill": {"color": "red", "hatch": {"angle": 45}}}, "fill.hatch is not drawn"),
        (AREAS, {"marker": {"elements": [{"type": "Dot", "size": 4}]}}, "dots are drawn on points only"),
        (POINTS, {"marker": {"elements": [PICTURE]}}, "pictures are not drawn"),
        (
            POINTS,
            {"label": {"elements": [{"type": "Text", "text": "a"}], "placement": {"priority": 1}}},
            "placement is not",
        ),
        (LINES, {"stroke": {"width": {"m": 3}, "dashPattern": [1, 2]}}, "dashes are as long as if"),
        (
            LINES,
            {"label": {"elements": [{"type": "Text", "text": "a", "font": {"underline": True}}]}},
            "not underlined",
        ),
    ],
)
def test_what_is_not_drawn_is_told(judge: Judge, layer: StyledLayer, symbolizer: dict[str, Any], said: str) -> None:
    given = encoded({}, {"symbolizer": symbolizer}, layer=layer)
    assert judge.validate(given.document) == []
    assert [pointer for pointer, reason in reasons(given) if said in reason] == ["/stylingRules/1"], reasons(given)


@pytest.mark.parametrize(
    "condition",
    [
        where("s_within", {"property": "geometry"}, {"bbox": [0, 0, 1, 1]}),
        where("like", KIND, "%a_b%"),
        where("like", KIND, "%a%b%c%d%e%f%g%h%i%j%"),
        where("<", KIND, "😀"),
        where("=", {"property": "height"}, 2**53),
        where("=", where("accenti", KIND), "a"),
        where("<", where("casei", KIND), "a"),
        where("=", where("casei", KIND), "kızıl"),
        where("a_contains", KIND, ["a"]),
        where("<", where("+", 1, where("upper", KIND)), 2),
    ],
)
def test_what_has_no_expression_never_matches_either_way(judge: Judge, condition: dict[str, Any]) -> None:
    rows = [{"kind": "a", "height": 2**53}, {"kind": "😀"}, {"height": 2**53 + 1}, {}]
    for tried in (condition, where("not", condition), where("not", where("not", condition))):
        told, losses = held(judge, tried, rows)
        assert told == [False] * len(rows) and losses


def test_more_than_can_be_drawn_apart_is_told(judge: Judge) -> None:
    scales = [
        {"selector": where("<", {"sysId": "viz.sd"}, 1000 + one), "symbolizer": {"fill": {"color": "red"}}}
        for one in range(300)
    ]
    given = encoded(*scales)
    assert "#ff0000" not in given.content.decode()
    assert reasons(given) == [("/stylingRules", "300 scales are too many; rules that ask for one never match")]
    dashes = [
        {
            "selector": where("=", KIND, str(one)),
            "symbolizer": {"stroke": {"width": {"px": one + 2}, "dashPattern": [one + 1, 2]}},
        }
        for one in range(8)
    ]
    crowded = encoded(*dashes, layer=LINES)
    ((line,),) = drawn(judge, crowded, LINES, {"kind": "3"})
    assert (line["line-width"], line["line-dasharray"]) == (5, None)
    assert {pointer for pointer, reason in reasons(crowded) if "too many combinations" in reason} == {
        f"/stylingRules/{one}" for one in range(8)
    }


def test_a_graphic_that_some_features_have_makes_one_layer(judge: Judge) -> None:
    text = {"elements": [{"type": "Text", "text": "a", "font": {"size": 9}}]}
    given = encoded({"selector": where("=", KIND, "park"), "symbolizer": {"label": text}})
    told = drawn(judge, given, AREAS, {"kind": "park"}, {})
    assert [[layer["id"] for layer in layers_] for layers_ in told] == [
        ["fill", "stroke", "label-0-text"],
        ["fill", "stroke"],
    ]
    assert given.losses == ()


def test_a_rule_that_is_not_understood_never_matches(judge: Judge) -> None:
    red = {"fill": {"color": "red"}}
    given = encoded({"symbolizer": {}}, {"selector": where("=", {"sysId": "viz.mood"}, 1), "symbolizer": red})
    assert "#ff0000" not in given.content.decode()
    assert [pointer for pointer, _ in reasons(given)] == ["/stylingRules/1/selector"]


# -- conditions ------------------------------------------------------------------------------------------------------

WORDS = [
    "",
    "a",
    "ab",
    "abc",
    "aXbc",
    "bca",
    "abab",
    "a%",
    "A",
    "ß",
    "SS",
    "ss",
    "ſ",
    "ı",
    "İ",
    "😀",
    "a😀b",
    "\n",
    "Straße",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a",
        "a%",
        "%c",
        "%b%",
        "a%c",
        "_",
        "a_",
        "_b%",
        "%_b",
        "%b_%",
        "a\\%",
        "%%",
        "__%",
        "%a%b%",
        "ab%ab",
        "a_b",
        "%_%",
    ],
)
def test_patterns_match_what_they_match_everywhere(judge: Judge, pattern: str) -> None:
    rows: list[dict[str, Any]] = [{"kind": word} for word in WORDS]
    told, losses = held(judge, where("like", KIND, pattern), rows)
    assert told == [matcher(pattern)(word) for word in WORDS]
    untold, _ = held(judge, where("not", where("like", KIND, pattern)), [*rows, {"kind": 5}, {}])
    assert untold == [*(not one for one in told), True, False]
    assert losses == []


@pytest.mark.parametrize("text", ["strasse", "STRASSE", "ss", "a", "😀", "ς"])
def test_case_is_left_out_as_unicode_has_it(judge: Judge, text: str) -> None:
    rows: list[dict[str, Any]] = [{"kind": word} for word in [*WORDS, "STRASSE", "straße", "Σ", "σ", "ς", "K"]]
    condition = where("=", where("casei", KIND), where("casei", text))
    told, losses = held(judge, condition, rows)
    assert told == matches(condition, Rows.of_documents(rows)).tolist() and any(told)
    assert losses == []


@pytest.mark.parametrize("op", ["=", "<>", "<", "<=", ">", ">="])
@pytest.mark.parametrize(
    "moment",
    [{"date": "2020-02-29"}, {"timestamp": "2020-02-29T12:00:00Z"}, {"timestamp": "2020-03-01T00:30:00+01:00"}],
)
def test_times_are_read_from_the_texts_in_tiles(judge: Judge, op: str, moment: dict[str, str]) -> None:
    texts = ["2020-02-28", "2020-02-29", "2020-03-01", "0001-01-01", "9999-12-31", "1969-12-31T23:59:59.999999"]
    texts += [f"2020-02-29{clock}" for clock in ("T00:00:00", " 12:00:00", "T12:00:00.000Z", "T23:59:59.9Z")]
    texts += [
        "2020-02-29T12:00:00.000001Z",
        "2020-03-01T00:30:00+01:00",
        "2020-02-29T23:30:00Z",
        "2020-02-28T23:30:00-02:00",
    ]
    rows = [{"since": text} for text in texts]
    condition = where(op, {"property": "since"}, moment)
    told, losses = held(judge, condition, rows, KINDS)
    assert told == matches(condition, Rows.of_documents(rows)).tolist()
    assert losses == []
    none = [
        "soon",
        "",
        "2020-02-30",
        "2020-13-01",
        "2020-02-29T25:00:00Z",
        "20200229",
        "2020-02-29T12:00",
        5,
        True,
        None,
    ]
    assert held(judge, condition, [{"since": one} for one in none], KINDS)[0] == [False] * len(none)


def test_names_that_every_object_of_javascript_has_are_names(judge: Judge) -> None:
    for name in ("constructor", "__proto__", "toString"):
        here = {"property": name}
        rows: list[dict[str, Any]] = [{}, {name: "a"} if name != "__proto__" else {}]
        for condition in (
            where("=", here, "a"),
            where("<>", here, "b"),
            where("in", here, ["a", "b"]),
            where("like", here, "a%"),
            where("not", where("isNull", here)),
            where("not", where("like", here, "b%")),
        ):
            told, losses = held(judge, condition, rows)
            assert told == matches(condition, Rows.of_documents(rows)).tolist() and losses == []
        # As labels they are no categories to look up.
        rule = {"symbolizer": {"fill": {"color": "red"}}}
        given = encoded(*({"selector": where("=", KIND, word), **rule} for word in (name, "b", "c")))
        assert judge.validate(given.document) == []


def test_lists_and_objects_of_geojson_are_no_values(judge: Judge) -> None:
    rows: list[dict[str, Any]] = [{"kind": ["a"]}, {"kind": {"a": 1}}]
    for condition in (
        where("=", KIND, "a"),
        where("<>", KIND, "a"),
        where("in", KIND, ["a", "b"]),
        where("<", KIND, "b"),
    ):
        assert held(judge, condition, rows)[0] == [False, False]


def test_kinds_are_never_mixed_up(judge: Judge) -> None:
    rows: list[dict[str, Any]] = [{"kind": one} for one in (1, "1", True, 0, "", False, None)]
    for literal in (1, "1", True, 0, "", False):
        for condition in (where("=", KIND, literal), where("in", KIND, [literal, "z", 7, True])):
            for tried in (condition, where("not", condition)):
                assert held(judge, tried, rows)[0] == matches(tried, Rows.of_documents(rows)).tolist(), tried


def test_it_is_registered() -> None:
    assert isinstance(ENCODERS["maplibre"], MapLibre)
