"""Our evaluator, MapLibre's own library and the Leaflet rules choose the same symbol, for any style and feature.

Styles have every operator of conditions, nested, scales, values of all kinds, values that are read from the features,
and parts that change parts.  Where an encoder tells of a loss it may draw less, never more.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geoetl.styles
from geoetl.core.selectors import Rows, matches
from geoetl.styles.encoders.leaflet import Leaflet, leaflet_style
from geoetl.styles.encoders.maplibre import MapLibre
from geoetl.styles.encoders.maplibre_expressions import Conditions
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import PropertyKind, StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.symbol import GraphicSymbol, LineSymbol, Symbol
from geoetl.styles.values import denominator_of
from tests.peers.judge import Judge

# So many features are compared, over all dimensions.
CASES = 1000
TYPES = {0: "Point", 1: "LineString", 2: "Polygon"}
LEAFLET_JS = Path(geoetl.styles.__file__).parent / "encoders" / "leaflet_style.js"
KINDS: dict[str, PropertyKind] = {"n": "number", "f": "number", "t": "text", "b": "boolean"}

# -- styles and features ---------------------------------------------------------------------------------------------

HOSTILE = ["</script>", "');alert(1)//", "${1}", "{t}", "constructor", "__proto__"]
texts = st.one_of(st.text("abAB%_ßıİſ😀\ue000\n", max_size=5), st.sampled_from(HOSTILE))
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -2.25, 2**52, 1e300]))
features = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-3, 3),
        "f": numbers,
        "t": texts,
        "b": st.booleans(),
        "m": st.one_of(st.integers(-3, 3), texts, st.booleans()),
        "constructor": texts,
    },
)
names = st.sampled_from(["n", "f", "t", "b", "m", "constructor"])
properties = names.map(lambda name: {"property": name})
numeric = st.sampled_from(["n", "f"]).map(lambda name: {"property": name})


def operation(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*arguments).map(lambda given: {"op": name, "args": list(given)})


arithmetic = st.one_of(*(operation(name, numeric, st.integers(-3, 3)) for name in "+-*/"))
literals = st.one_of(numbers, texts, st.booleans())
folded = operation("casei", st.sampled_from([{"property": "t"}, {"property": "m"}]))
comparisons = st.one_of(
    *(operation(name, properties, st.one_of(literals, properties)) for name in ("=", "<>", "<", "<=", ">", ">=")),
    *(operation(name, literals, properties) for name in ("=", "<>", "<", ">=")),
    *(operation(name, arithmetic, st.one_of(st.integers(-3, 3), numeric)) for name in ("=", "<>", "<", ">=")),
    *(operation(name, folded, operation("casei", texts)) for name in ("=", "<>")),
)
tests = st.one_of(
    comparisons,
    operation("in", properties, st.lists(literals, min_size=1, max_size=4)),
    operation("between", numeric, st.integers(-3, 3), st.integers(-3, 3)),
    operation("like", st.sampled_from([{"property": "t"}, {"property": "m"}]), texts),
    operation("isNull", properties),
)
conditions = st.recursive(
    tests,
    lambda inner: st.one_of(
        operation("not", inner),
        *(
            st.lists(inner, min_size=2, max_size=3).map(lambda parts, name=name: {"op": name, "args": parts})
            for name in ("and", "or")
        ),
    ),
    max_leaves=6,
)
SCALES = [1e3, 1e4, 5e5, 1e7]
scaled = st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(SCALES)).map(
    lambda parts: {"op": parts[0], "args": [{"sysId": "viz.sd"}, parts[1]]}
)
selectors = st.one_of(
    conditions,
    scaled,
    st.tuples(st.sampled_from(["and", "or"]), scaled, conditions).map(
        lambda one: {"op": one[0], "args": list(one[1:])}
    ),
)
shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
colors = st.one_of(
    st.sampled_from(["red", "darkGreen"]),
    st.lists(st.integers(0, 255), min_size=3, max_size=3),
    st.tuples(numeric, st.integers(0, 255)).map(lambda parts: {"r": parts[0], "g": parts[1], "b": 7}),
)
lengths = st.one_of(
    st.sampled_from([{"px": 1.5}, {"px": 0}, {"mm": 1}, {"m": 80}, 3]), numeric.map(lambda name: {"px": name}), numeric
)
alter = st.booleans()


def parts(color: st.SearchStrategy[Any], **members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"color": color}, optional=members)


lines = parts(colors, alter=alter, width=lengths, opacity=st.one_of(shares, numeric))
strokes = parts(
    colors,
    alter=alter,
    width=lengths,
    opacity=shares,
    casing=lines,
    centerLine=lines,
    dashPattern=st.sampled_from([[4, 2], [1], []]),
    cap=st.sampled_from(["butt", "round", "square"]),
    join=st.sampled_from(["miter", "round", "bevel"]),
)
places = st.sampled_from([[0, 0], [20, -3]])
dots = st.fixed_dictionaries(
    {"type": st.just("Dot")},
    optional={"alter": alter, "color": colors, "size": lengths, "opacity": shares, "position": places},
)
words = st.fixed_dictionaries(
    {"type": st.just("Text"), "text": st.one_of(texts, properties)},
    optional={
        "position": places,
        "alignment": st.sampled_from([["left", "top"], ["center", "bottom"]]),
        "font": parts(
            colors,
            alter=alter,
            face=st.sampled_from(["Arial", "Noto Sans"]),
            size=st.sampled_from([9, 14]),
            bold=st.booleans(),
            opacity=shares,
            outline=parts(colors, alter=alter, size=st.sampled_from([1, 2]), opacity=shares),
        ),
    },
)


def graphics(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    change = st.fixed_dictionaries({"index": st.integers(0, 2), "value": one})
    return st.one_of(
        st.fixed_dictionaries({"elements": st.lists(one, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"alter": st.just(True), "elements": change}),
    )


def symbolizers(dimensions: int) -> st.SearchStrategy[Any]:
    members: dict[str, st.SearchStrategy[Any]] = {
        "visibility": st.one_of(st.just(True), conditions),
        "opacity": st.one_of(shares, numeric),
        "label": graphics(words),
    }
    if dimensions == 0:
        members["zOrder"] = st.integers(0, 2)  # fills and strokes of areas have an order each
    own: Mapping[int, dict[str, st.SearchStrategy[Any]]] = {
        0: {"marker": graphics(st.one_of(dots, words))},
        1: {"stroke": strokes},
        2: {"fill": parts(colors, alter=alter, opacity=st.one_of(shares, numeric)), "stroke": strokes},
    }
    return st.fixed_dictionaries(own[dimensions], optional=members)


def plain_symbolizers(dimensions: int) -> st.SearchStrategy[Any]:
    """Return what Leaflet has words for."""
    light, dark = st.sampled_from(["red", "lime", "tan", "gold"]), st.sampled_from(["blue", "navy", "teal"])
    width = st.sampled_from([{"px": 2}, 3, {"mm": 1}])
    dot = st.fixed_dictionaries(
        {"type": st.just("Dot"), "color": light}, optional={"size": st.sampled_from([4, 6, 10])}
    )
    stroke = parts(dark, alter=alter, opacity=shares, width=width)
    own: Mapping[int, dict[str, st.SearchStrategy[Any]]] = {
        0: {"marker": st.fixed_dictionaries({"elements": st.tuples(dot).map(list)})},
        1: {"stroke": stroke},
        2: {"fill": parts(light, alter=alter, opacity=shares), "stroke": stroke},
    }
    return st.fixed_dictionaries(own[dimensions], optional={"visibility": st.booleans(), "opacity": shares})


def rules(symbolizer: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def of(nested: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        rule = st.fixed_dictionaries(
            {"symbolizer": symbolizer}, optional={"selector": selectors, "nestedRules": nested}
        )
        return st.lists(rule, min_size=1, max_size=3)

    return of(of(st.just([])))


def styles(symbolizer: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"stylingRules": rules(symbolizer)})


tables = st.lists(features, min_size=6, max_size=8)
zooms = st.lists(st.floats(0, 22), min_size=1, max_size=2)

# -- what is drawn, told alike for each ------------------------------------------------------------------------------


def rounded(*values: Any) -> tuple[Any, ...]:
    """Return numbers to six digits, colours to the nearest of 255."""
    return tuple(float(f"{value:.6g}") if isinstance(value, float | int) else value for value in values)


def drawn_of(symbol: Symbol, dimensions: int) -> list[tuple[Any, ...]]:
    """Return what our evaluator says that is seen: kind, colour, opacity and the rest, from the ground up."""
    if not symbol.visible:
        return []
    found: list[tuple[Any, ...]] = []
    if symbol.fill and dimensions == 2:
        found.append(("fill", symbol.fill.color.parts, symbol.opacity * symbol.fill.opacity))
    stroke = symbol.stroke
    if stroke and dimensions > 0:

        def line(part: LineSymbol, width: float, dashes: Sequence[float] = ()) -> tuple[Any, ...]:
            drawn = [round(length / part.width, 6) for length in dashes] if sum(dashes) and part.width else None
            return ("line", part.color.parts, symbol.opacity * part.opacity, width, stroke.cap, stroke.join, drawn)

        if stroke.casing:
            found.append(line(stroke.casing, stroke.width + 2 * stroke.casing.width))
        found.append(line(stroke, stroke.width, stroke.dashes))
        if stroke.center_line:
            found.append(line(stroke.center_line, stroke.center_line.width))
    for graphic in (*symbol.markers, *symbol.labels):
        found += graphic_of(symbol, graphic, dimensions)
    return [rounded(*one) for one in found if one[2] > 0 and not (one[0] in ("line", "circle") and one[3] == 0)]


def graphic_of(symbol: Symbol, graphic: GraphicSymbol, dimensions: int) -> Iterator[tuple[Any, ...]]:
    opacity, place = symbol.opacity * graphic.opacity, [round(part, 6) for part in graphic.position]
    if graphic.type == "Dot" and dimensions == 0 and graphic.color:
        yield ("circle", graphic.color.parts, opacity, graphic.size / 2, place)
    font = graphic.font
    if graphic.type == "Text" and font and graphic.text:
        halo = font.outline
        outline = (halo.color.parts, halo.opacity, halo.width) if halo and halo.width and halo.opacity else None
        letters = (graphic.text, font.face, font.bold, font.size, graphic.alignment, place)
        yield ("symbol", font.color.parts, opacity * font.opacity, *letters, outline)


def drawn_by_maplibre(layers: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what MapLibre's library says that is seen, told as `drawn_of` does."""
    found: list[tuple[Any, ...]] = []
    for layer in layers:
        kind = layer["type"]
        own = "text" if kind == "symbol" else kind
        color = layer[f"{own}-color"]
        one: tuple[Any, ...] = (kind, parts_of(color), layer[f"{own}-opacity"] * color[3])
        if kind == "line":
            dashes = layer["line-dasharray"]
            dashes = [round(length, 6) for length in dashes] if dashes else None
            one += (layer["line-width"], layer["line-cap"], layer["line-join"], dashes)
        elif kind == "circle":
            one += (layer["circle-radius"], layer["circle-translate"])
        elif kind == "symbol":
            if not layer["text-field"]:
                continue
            first, *_ = layer["text-font"]
            halo, width = layer["text-halo-color"], layer["text-halo-width"]
            outline = (parts_of(halo), halo[3], width) if width and halo[3] else None
            anchor = layer["text-anchor"]
            across = next((word for word in ("left", "right") if word in anchor), "center")
            down = next((word for word in ("top", "bottom") if word in anchor), "middle")
            face = first.removesuffix(" Bold")
            letters = (layer["text-field"], face, face != first, layer["text-size"])
            one += (*letters, (across, down), layer["text-translate"], outline)
        found.append(one)
    return [rounded(*one) for one in found if one[2] > 0 and not (one[0] in ("line", "circle") and one[3] == 0)]


def parts_of(color: Sequence[float]) -> tuple[int, ...]:
    # Half of an even number is rounded down here and up there.
    return tuple(round(part * 255 - 1e-6) if part * 255 % 2 < 1 else round(part * 255) for part in color[:3])


def seen_in_leaflet(options: Mapping[str, Any], dimensions: int) -> list[tuple[Any, ...]]:
    """Return what path options draw, told as `drawn_of` does without what Leaflet has no words for."""
    found: list[tuple[Any, ...]] = []
    if options.get("fill"):
        kind = "circle" if dimensions == 0 else "fill"
        radius = (options["radius"],) if dimensions == 0 else ()
        found.append((kind, hex_parts(options["fillColor"]), options["fillOpacity"], *radius))
    if options.get("stroke"):
        found.append(("line", hex_parts(options["color"]), options["opacity"], options["weight"]))
    return [rounded(*one) for one in found if one[2] > 0 and not (one[0] in ("line", "circle") and one[3] == 0)]


def hex_parts(color: str) -> tuple[int, ...]:
    return tuple(int(color[at : at + 2], 16) for at in (1, 3, 5))


# -- the tests -------------------------------------------------------------------------------------------------------


def test_conditions_are_true_of_the_same_features(judge: Judge) -> None:
    compared = matched = 0

    @settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
    @given(condition=conditions, rows=tables)
    def compare(condition: Any, rows: list[dict[str, Any]]) -> None:
        nonlocal compared, matched
        wanted = matches(condition, Rows.of_documents(rows)).tolist()
        cases = [(5.0, {"type": "Polygon", "properties": row}) for row in rows]
        leaflet = {"rules": [{"filter": condition, "style": {"fill": True}}]}
        assert [bool(options) for options in judge.leaflet(LEAFLET_JS, leaflet, cases)] == wanted
        assert [bool(leaflet_style(leaflet, row)) for row in rows] == wanted
        losses: list[str] = []
        found = Conditions({}, losses.append).matching(condition)
        given = [bool(layers) for layers in judge.draw(filtered(found), cases)]
        if losses:
            assert all(ours or not theirs for ours, theirs in zip(wanted, given, strict=True))
        else:
            assert given == wanted
            compared += len(rows)
            matched += sum(wanted)

    compare()
    assert compared >= CASES and matched >= compared / 20


def filtered(condition: Any) -> dict[str, Any]:
    layer = {"id": "fill", "type": "fill", "source": "s", "source-layer": "l", "filter": ["all", condition]}
    return {"version": 8, "sources": {"s": {"type": "vector", "url": "x"}}, "layers": [layer]}


@pytest.mark.parametrize("dimensions", [0, 1, 2])
def test_maplibre_draws_what_our_evaluator_says(judge: Judge, dimensions: Any) -> None:
    compared = seen = 0

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document=styles(symbolizers(dimensions)), rows=tables, at=zooms)
    def compare(document: dict[str, Any], rows: list[dict[str, Any]], at: list[float]) -> None:
        nonlocal compared, seen
        style, layer = Style.of(document), layer_of(dimensions)
        encoded = MapLibre().encode(style, layer)
        assert judge.validate(encoded.document) == []
        if encoded.losses:
            return
        cases = [(zoom, {"type": TYPES[dimensions], "properties": row}) for zoom in at for row in rows]
        ours = [one for zoom in at for one in symbols(style, layer, Rows.of_documents(rows), denominator_of(zoom))]
        for symbol, layers in zip(ours, judge.draw(encoded.document, cases), strict=True):
            wanted = drawn_of(symbol, dimensions)
            assert drawn_by_maplibre(layers) == wanted
            compared += 1
            seen += bool(wanted)

    compare()
    assert compared >= CASES / 8 and seen >= compared / 20


@pytest.mark.parametrize("dimensions", [0, 1, 2])
def test_maplibre_and_leaflet_choose_the_symbol_that_our_evaluator_chooses(judge: Judge, dimensions: Any) -> None:
    compared, symbols_seen = 0, set()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document=styles(plain_symbolizers(dimensions)), rows=tables, at=zooms)
    def compare(document: dict[str, Any], rows: list[dict[str, Any]], at: list[float]) -> None:
        nonlocal compared
        style, layer = Style.of(document), layer_of(dimensions)
        maplibre, leaflet = (encoder.encode(style, layer) for encoder in (MapLibre(), Leaflet()))
        if maplibre.losses or leaflet.losses:
            return
        cases = [(zoom, {"type": TYPES[dimensions], "properties": row}) for zoom in at for row in rows]
        # Leaflet counts the zooms of tiles of 256 pixels.
        closer = [(zoom + 1, feature) for zoom, feature in cases]
        ours = [one for zoom in at for one in symbols(style, layer, Rows.of_documents(rows), denominator_of(zoom))]
        told = zip(
            ours,
            judge.draw(maplibre.document, cases),
            judge.leaflet(LEAFLET_JS, leaflet.document, closer),
            (leaflet_style(leaflet.document, feature["properties"], zoom) for zoom, feature in closer),
            strict=True,
        )
        for symbol, layers, options, same in told:
            wanted = drawn_of(symbol, dimensions)
            assert drawn_by_maplibre(layers) == wanted
            plain = [one[:4] for one in wanted]
            assert seen_in_leaflet(options, dimensions) == plain
            assert seen_in_leaflet(same, dimensions) == plain
            compared += 1
            symbols_seen.add(tuple(plain))

    compare()
    assert compared >= CASES / 3 and len(symbols_seen) >= 8


def layer_of(dimensions: Any) -> StyledLayer:
    return StyledLayer("places:all", "vector", dimensions, KINDS)
