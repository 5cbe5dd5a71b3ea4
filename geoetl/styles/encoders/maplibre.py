"""MapLibre GL: one style document whose properties are expressions over the attributes of each feature.

The rules of a style become one expression for each property, which asks the last rule first.  What MapLibre takes only
whole, such as a dash pattern, makes a layer for each value, with a filter; so does each interval of scales, by zooms.
Outlines of areas are lines, as the outline of a MapLibre fill always has one pixel.  Lengths on the ground grow with
the zoom, as at the equator.  Zooms are those of tiles of 512 pixels, as MapLibre counts them.

Texts need no ``glyphs``: MapLibre GL JS from 5.11 on draws them with the fonts of the viewer.

Of a coverage the tiles have their colours from the server, which draws them as the style says; so a raster layer shows
them as they are.

Source: https://maplibre.org/maplibre-style-spec/ (version 8)
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import inf, nextafter, prod
from typing import Any
from urllib.parse import quote

from geoetl.styles.cascade import Cascade, FlatRule, Loss, flatten
from geoetl.styles.coverage import coverage_symbol
from geoetl.styles.encoders.maplibre_expressions import (
    Conditions,
    Expression,
    Inexpressible,
    chosen,
    every,
    negated,
    some,
)
from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.layer import LayerKind, StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import UNSET, Color, DataColor, GroundLength, denominator_of, zoom_of

# Zooms that layers may name.
MIN_ZOOM, MAX_ZOOM = 0.0, 24.0
# Rules times scales at which they change; each scale is drawn by itself.
MAX_VIEWED_RULES = 50_000
# Layers that one graphic may make because of what MapLibre takes only whole.
MAX_VARIANTS = 32
SOURCE = "layer"
# The paths that are drawn, or told to be lost where they would be.
_DRAWN = frozenset({"visibility", "opacity", "zOrder", "fill.color", "fill.opacity"})
_HERE = (0.0, 0.0)
_BLACK, _WHITE = Color(0, 0, 0), Color(255, 255, 255)
_STROKE = frozenset({"color", "width", "opacity", "dashPattern", "cap", "join"})
_GRAPHIC = frozenset({"type", "opacity", "position"})
_DOT = frozenset({"color", "size", "outline.color", "outline.width", "outline.opacity"})
_FONT = frozenset({"face", "size", "bold", "italic", "underline", "color", "opacity"})
_OUTLINE = frozenset({"outline.size", "outline.color", "outline.opacity"})
_TEXT = frozenset({"text", "alignment"}) | {f"font.{name}" for name in _FONT | _OUTLINE}
_PICTURE = frozenset({"image", "hotSpot", "tint", "blackTint", "alphaThreshold"})
# What need not be said, as it is so anyway.
_DEFAULTS: Mapping[str, Any] = {
    "fill-opacity": 1,
    "line-opacity": 1,
    "circle-opacity": 1,
    "circle-stroke-opacity": 1,
    "text-opacity": 1,
    "line-width": 1,
    "line-cap": "butt",
    "line-join": "miter",
    "text-anchor": "center",
}

Values = tuple[Any, ...]
Layers = list[dict[str, Any]]
Lose = Callable[[str, str], None]


@dataclass(frozen=True)
class MapLibre:
    """Writes MapLibre styles.

    Attributes:
        server: What addresses of tiles begin with, ending in a slash; left out, they are relative to the API.
        tiles: Address of a TileJSON document or ``pmtiles://`` archive, of a coverage the template of its tiles; left
            out, the API's own.
        glyphs: Template of glyphs; left out, texts are drawn with fonts of the viewer.
    """

    server: str = ""
    tiles: str | None = None
    glyphs: str | None = None
    name: str = "maplibre"
    title: str = "MapLibre GL"
    media_type: str = "application/vnd.mapbox.style+json"
    specification: str = "https://maplibre.org/maplibre-style-spec/"
    extension: str = "maplibre.json"
    kinds: Sequence[LayerKind] = ("vector", "coverage")

    def encode(self, style: Style, layer: StyledLayer) -> Encoded:
        """Return the style document of one layer."""
        collection, _, item = layer.id.partition(":")
        # An id that is not known here stays open, as in a template.
        place = f"{quote(collection, safe='')}/{quote(item, safe='') or '{item}'}"
        cascade = flatten(style, layer)
        if layer.kind == "coverage":
            template = f"{self.server}tiles/raster/{place}/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
            source: dict[str, Any] = {"type": "raster", "tiles": [self.tiles or template], "tileSize": 256}
            layers, losses = _coverage(style, layer, cascade)
        else:
            source = {"type": "vector", "url": self.tiles or f"{self.server}tiles/vector/{place}/tilejson.json"}
            layers, losses = _vector(cascade, layer, item or collection)
        document: dict[str, Any] = {"version": 8, "name": style.title or layer.id}
        if self.glyphs is not None:
            document["glyphs"] = self.glyphs
        document |= {"sources": {SOURCE: source}, "layers": layers}
        return Encoded(self.name, self.media_type, self.extension, document, losses)


def _coverage(style: Style, layer: StyledLayer, cascade: Cascade) -> tuple[Layers, tuple[Loss, ...]]:
    symbols = [(coverage_symbol(style, layer, _inside(low, high)), low, high) for _, low, high in _zooms(cascade)]
    losses = _losses(cascade) | dict.fromkeys(loss for symbol, *_ in symbols for loss in symbol.losses)
    visible = [replace(symbol, losses=()) for symbol, *_ in symbols if symbol.visible]
    if any(symbol != visible[0] for symbol in visible):
        losses.setdefault(Loss("/stylingRules", "tiles have the same colours at every scale, those of the largest"))
    drawn = []
    for symbol, low, high in symbols:
        raster: dict[str, Any] = {"id": "raster", "type": "raster", "source": SOURCE}
        if symbol.has_classes:
            raster["paint"] = {"raster-resampling": "nearest"}  # between two classes there is no third
        drawn.append((low, high, [raster] if symbol.visible else []))
    return _placed(drawn), tuple(losses)


def _vector(cascade: Cascade, layer: StyledLayer, source_layer: str) -> tuple[Layers, tuple[Loss, ...]]:
    losses = _losses(cascade)

    def lose(pointer: str, reason: str) -> None:
        losses.setdefault(Loss(pointer, reason))

    tests = _Tests(layer, lose)
    drawn = []
    for rules, low, high in _zooms(cascade):
        if low < MAX_ZOOM and high > MIN_ZOOM:
            layers = _Drawing(rules, cascade.initial, layer, tests, lose).layers()
            drawn.append((low, high, [{**one, "source": SOURCE, "source-layer": source_layer} for one in layers]))
    return _placed(drawn), tuple(losses)


def _placed(drawn: Sequence[tuple[float, float, Layers]]) -> Layers:
    """Return the layers of each interval of zooms, the highest given first, with their zooms and names of their own."""
    joined: list[tuple[float, float, Layers]] = []
    for low, high, layers in drawn:
        if joined and json.dumps(joined[-1][2]) == json.dumps(layers):
            joined[-1] = (low, joined[-1][1], layers)
        else:
            joined.append((low, high, layers))
    placed: Layers = []
    count: dict[str, int] = {}
    for low, high, layers in reversed(joined):
        if high <= MIN_ZOOM or low >= MAX_ZOOM:
            continue
        zooms = {"minzoom": low} if low > MIN_ZOOM else {}
        zooms |= {"maxzoom": high} if high < MAX_ZOOM else {}
        for one in layers:
            name = one["id"]
            count[name] = count.get(name, 0) + 1
            named = {"id": name if count[name] == 1 else f"{name}-{count[name]}"}
            first: dict[str, Any] = {key: one[key] for key in ("type", "source", "source-layer") if key in one}
            placed.append({**named, **first, **zooms, **{k: v for k, v in one.items() if k not in ("id", *first)}})
    return placed


def _inside(low: float, high: float) -> float:
    """Return a scale denominator between two zooms."""
    if low == -inf:
        return denominator_of(0.0 if high == inf else high - 1)
    return denominator_of(low + 1 if high == inf else (low + high) / 2)


def _zooms(cascade: Cascade) -> Iterator[tuple[Sequence[FlatRule], float, float]]:
    """Return the rules at all zooms, the highest first: with the lowest zoom, at which they hold, and the first above.

    At the very scale at which a style changes it may be as closer up, as further away, or as nowhere else.
    """
    if _has_too_many_scales(cascade):
        yield cascade.at(None), -inf, inf
        return
    high = inf
    for interval in cascade.intervals():
        low = -inf if interval.below is None else zoom_of(interval.below)
        edge = interval.rules if interval.below is None else cascade.at(interval.below)
        after = nextafter(low, inf) if edge != interval.rules else low
        yield interval.rules, after, high
        if after != low:
            yield edge, low, after
        high = low


def _has_too_many_scales(cascade: Cascade) -> bool:
    return len(cascade.breaks) * len(cascade.entries) > MAX_VIEWED_RULES


def _losses(cascade: Cascade) -> dict[Loss, None]:
    losses = dict.fromkeys(cascade.losses)
    if _has_too_many_scales(cascade):
        losses[
            Loss("/stylingRules", f"{len(cascade.breaks):,} scales are too many; rules that ask for one never match")
        ] = None
    return losses


class _Tests:
    """Turns the conditions of rules into expressions, each once."""

    def __init__(self, layer: StyledLayer, lose: Lose) -> None:
        self._kinds = layer.properties
        self._lose = lose
        self._conditions: dict[str, Conditions] = {}
        # By the rule itself, which is kept so that no other one is taken for it.
        self._known: dict[int, tuple[FlatRule, Expression | bool]] = {}

    def of(self, rule: FlatRule) -> Expression | bool:
        """Return where a rule holds."""
        if id(rule) not in self._known:
            self._known[id(rule)] = rule, self.within(rule.pointer).matching(rule.condition)
        return self._known[id(rule)][1]

    def within(self, pointer: str) -> Conditions:
        """Return what makes expressions of a rule, whose losses it tells."""
        if pointer not in self._conditions:
            self._conditions[pointer] = Conditions(self._kinds, partial(self._lose, pointer))
        return self._conditions[pointer]


@dataclass(frozen=True)
class _Branch:
    """A value, where it holds, and the rule that gives it; the first branch that holds decides."""

    condition: Expression | bool
    value: Any
    pointer: str


class _Drawing:
    """What rules draw at some scales: values by their paths, as expressions, and the layers that are made of them."""

    def __init__(
        self, rules: Sequence[FlatRule], initial: Mapping[str, Any], layer: StyledLayer, tests: _Tests, lose: Lose
    ) -> None:
        self._rules = rules
        self._initial = initial
        self._dimensions = layer.dimensions
        self._tests = tests
        self._lose = lose
        self._branches: dict[str, list[_Branch]] = {}
        self._layers: Layers = []
        self._is_grounded = any(isinstance(one, GroundLength) for rule in rules for one in rule.changes.values())
        self._whole_opacity = self._expression("opacity", self._share, 1)
        self._visible = self._where("visibility", lambda value: value is not False)

    def layers(self) -> Layers:
        """Return the layers, the lowest first."""
        if self._visible is False:
            return []
        if self._dimensions in (2, None):
            paint = {"fill-color": self._color("fill.color", _WHITE), "fill-opacity": self._opacity("fill")}
            self._add("fill", "fill", [self._is_set("fill"), self._of_type("Polygon")], {}, paint)
        if self._dimensions in (1, 2, None):
            self._stroke("stroke-casing", "stroke.casing", self._cased)
            self._stroke("stroke", "stroke", partial(self._length, "stroke.width"))
            self._stroke("stroke-center", "stroke.centerLine", partial(self._length, "stroke.centerLine.width"))
        for graphic in self._graphics():
            self._dot(graphic)
            self._text(graphic)
            self._lost(f"{graphic}.type", "Image", "pictures are not drawn, as there is no sprite")
        self._order()
        self._rest()
        return self._layers

    # Layers

    def _stroke(self, part: str, path: str, width: Callable[[float], Expression]) -> None:
        there = [self._is_set("stroke"), self._is_set(path)]
        if self._dimensions is None:
            there.append(["!=", ["geometry-type"], "Point"])
        if every(there) is False:
            return
        dashed = path == "stroke" and self._where("stroke.dashPattern", _is_dashed) is not False
        paths = {"stroke.cap": "butt"} | ({"stroke.dashPattern": (), "stroke.width": 1.0} if dashed else {})
        for (cap, *dashes), condition in self._variants(paths):
            layout = {"line-cap": cap, "line-join": self._word("stroke.join", "miter")}
            paint = {"line-color": self._color(f"{path}.color"), "line-width": self._zoomed(width)}
            paint |= {"line-opacity": self._opacity(path), "line-dasharray": self._dashes(*dashes)}
            self._add(part, "line", [*there, condition], layout, paint)

    def _cased(self, zoom: float) -> Expression:
        return _sum(self._length("stroke.width", zoom), self._length("stroke.casing.width", zoom, 2))

    def _dashes(self, pattern: Any = UNSET, width: Any = 1.0) -> list[float] | None:
        """Return dashes in widths of the line, as MapLibre has them."""
        if not _is_dashed(pattern):
            return None
        if not isinstance(width, float):
            self._lost(
                "stroke.dashPattern", pattern, "dashes are as long as if the line had one pixel, and grow with it"
            )
            width = 1.0
        return [_tidy(length / width) for length in pattern] if width > 0 else None

    def _dot(self, graphic: str) -> None:
        is_dot = self._where(f"{graphic}.type", lambda kind: kind == "Dot")
        if self._dimensions != 0:
            self._lost(f"{graphic}.type", "Dot", "dots are drawn on points only, not in the middle of lines and areas")
        if is_dot is False or self._dimensions in (1, 2):
            return
        outline = f"{graphic}.outline"
        has_outline = self._is_set(outline)
        for (position,), condition in self._variants({f"{graphic}.position": _HERE}):
            paint = {
                "circle-radius": self._zoomed(partial(self._length, f"{graphic}.size", factor=0.5, missing=10.0)),
                "circle-color": self._color(f"{graphic}.color", _WHITE),
                "circle-opacity": self._opacity(graphic),
                "circle-translate": self._place(graphic, position),
            }
            if has_outline is not False:
                width = self._zoomed(partial(self._length, f"{outline}.width"))
                paint["circle-stroke-width"] = chosen([(has_outline, width)], 0)
                paint["circle-stroke-color"] = self._color(f"{outline}.color")
                paint["circle-stroke-opacity"] = self._opacity(graphic, outline)
            self._add(f"{_id(graphic)}-dot", "circle", [is_dot, self._of_type("Point"), condition], {}, paint)

    def _text(self, graphic: str) -> None:
        is_text = self._where(f"{graphic}.type", lambda kind: kind == "Text")
        if is_text is False:
            return
        self._lost(f"{graphic}.font.underline", True, "texts are not underlined")
        font = f"{graphic}.font"
        paths = {f"{graphic}.position": _HERE, f"{font}.face": "Arial", f"{font}.bold": False, f"{font}.italic": False}
        paths[f"{font}.outline.opacity"] = 1.0
        field = self._expression(f"{graphic}.text", self._words, "")
        for (position, face, bold, italic, outline), condition in self._variants(paths):
            layout = {
                "text-field": ["literal", field] if isinstance(field, str) else field,  # else {name} is looked up
                "text-font": self._font(font, face, bold, italic),
                "text-size": self._zoomed(partial(self._length, f"{font}.size", missing=12.0)),
                "text-anchor": self._expression(f"{graphic}.alignment", lambda value, _: _anchor(value), "center"),
            }
            if graphic.startswith("marker"):  # labels make room for each other, markers stand
                layout |= {"text-allow-overlap": True, "text-ignore-placement": True}
            paint = {
                "text-color": self._color(f"{font}.color"),
                "text-opacity": self._opacity(graphic, font),
                "text-translate": self._place(graphic, position),
            }
            has_outline = self._is_set(f"{font}.outline")
            if has_outline is not False:
                opacity = outline if isinstance(outline, float) else 1.0
                paint["text-halo-color"] = self._color(f"{font}.outline.color", _WHITE, opacity)
                width = self._zoomed(partial(self._length, f"{font}.outline.size"))
                paint["text-halo-width"] = chosen([(has_outline, width)], 0)
            for placement, where in self._placements():
                own = {**layout, "symbol-placement": placement}
                if placement is not None:
                    own["text-rotation-alignment"] = "viewport"
                self._add(f"{_id(graphic)}-text", "symbol", [is_text, condition, where], own, paint)

    def _placements(self) -> list[tuple[str | None, Expression | bool]]:
        """Return how texts are placed: in the middle of lines and areas, which MapLibre tells apart."""
        if self._dimensions is not None:
            return [("line-center" if self._dimensions == 1 else None, True)]
        is_line = ["==", ["geometry-type"], "LineString"]
        return [(None, negated(is_line)), ("line-center", is_line)]

    def _add(
        self,
        part: str,
        kind: str,
        conditions: Sequence[Expression | bool],
        layout: Mapping[str, Any],
        paint: Mapping[str, Any],
    ) -> None:
        shown = every([self._visible, *conditions])
        if shown is False or paint[f"{'text' if kind == 'symbol' else kind}-opacity"] == 0:
            return
        made: dict[str, Any] = {"id": part, "type": kind}
        if shown is not True:
            made["filter"] = shown
        for name, values in (("layout", layout), ("paint", paint)):
            given = {key: value for key, value in values.items() if value is not None and value != _DEFAULTS.get(key)}
            if given:
                made[name] = given
        self._layers.append(made)

    def _order(self) -> None:
        """Put features in order by their ``zOrder``, where it differs between them."""
        key = self._expression("zOrder", self._number, 0.0)
        if not isinstance(key, list):
            return
        for one in self._layers:
            one["layout"] = {**one.get("layout", {}), f"{one['type']}-sort-key": key}
        if len(self._layers) > 1:
            self._lost("zOrder", None, "zOrder puts fills in order, and strokes, but no fill over a stroke")

    def _rest(self) -> None:
        """Tell what the rules have that is not drawn."""
        for rule in self._rules:
            for path, value in rule.changes.items():
                if value is not UNSET and not _is_drawn(path):
                    self._lose(rule.pointer, f"{path} is not drawn by MapLibre")

    # Values

    def _graphics(self) -> list[str]:
        """Return the paths of graphics, markers first."""
        paths = {*self._initial, *(path for rule in self._rules for path in rule.changes)}
        found = {path.removesuffix(".type") for path in paths if path.endswith(".type")}
        return sorted(found, key=lambda path: (not path.startswith("marker"), int(path.split(".")[1])))

    def _given(self, path: str) -> list[_Branch]:
        """Return the values of a path, the last rule first; each holds only where it can be read."""
        if path not in self._branches:
            found = []
            for rule in reversed(self._rules):
                if path not in rule.changes:
                    continue
                value = rule.changes[path]
                condition = self._tests.of(rule)
                readable = self._readable(path, value, rule.pointer)
                if readable:
                    condition = every([condition, *readable])
                if condition is not False:
                    found.append(_Branch(condition, value, rule.pointer))
                if condition is True:
                    break
            else:
                found.append(_Branch(True, self._initial.get(path, UNSET), ""))
            self._branches[path] = found
        return self._branches[path]

    def _readable(self, path: str, value: Any, pointer: str) -> list[Expression | bool]:
        """Return the conditions under which a value can be read from a feature."""
        trees = [tree for tree in _parts(value) if isinstance(tree, dict)]
        if not trees:
            return []
        conditions = self._tests.within(pointer)
        try:
            if path.endswith(".text"):  # any value has a spelling
                return [test for tree in trees for test in (*conditions.there(tree), _spelled_as_it_is(tree))]
            if path.endswith(".face"):
                return [test for tree in trees for test in conditions.there(tree, "text")]
            return [test for tree in trees for test in conditions.there(tree, "number")]
        except Inexpressible as reason:
            self._lose(pointer, f"{reason} The value is not used.")
            return [False]

    def _expression(self, path: str, read: Callable[[Any, Conditions], Expression], missing: Expression) -> Expression:
        """Return the expression of a path."""
        branches = [
            (one.condition, missing if one.value is UNSET else read(one.value, self._tests.within(one.pointer)))
            for one in self._given(path)
        ]
        return chosen(branches, missing)

    def _where(self, path: str, holds: Callable[[Any], bool]) -> Expression | bool:
        """Return where a path has a value of some kind."""
        return _flag([(one.condition, holds(one.value)) for one in self._given(path)])

    def _is_set(self, path: str) -> Expression | bool:
        """Return where anything of an object is given."""
        names = ("color", "opacity", "size" if path.endswith("font.outline") else "width")
        return some(self._where(f"{path}.{name}", lambda value: value is not UNSET) for name in names)

    def _variants(self, paths: Mapping[str, Any]) -> Iterator[tuple[Values, Expression | bool]]:
        """Return the values that paths have together, each with where they have them.

        Args:
            paths: The paths, and what each has where nothing is given.
        """
        given = {
            path: [(one.condition, missing if one.value is UNSET else one.value) for one in self._given(path)]
            for path, missing in paths.items()
        }
        # By their texts, as lists in them have no hash.
        values = [list({repr(value): value for _, value in branches}.values()) for branches in given.values()]
        if prod(map(len, values)) > MAX_VARIANTS:
            for path, several in zip(paths, values, strict=True):
                if len(several) > 1:
                    self._lost(path, None, f"there are too many combinations with {path}, which is as without rules")
            yield tuple(branches[-1][1] for branches in given.values()), True
            return
        for picked in product(*values):
            tests = [
                _flag([(condition, repr(value) == repr(wanted)) for condition, value in branches])
                for branches, wanted in zip(given.values(), picked, strict=True)
            ]
            yield picked, every(tests)

    def _lost(self, path: str, value: Any, reason: str) -> None:
        """Tell that a value of a path, or any with None, is lost, for each rule that gives it."""
        for one in self._given(path):
            if one.pointer and (value is None or one.value == value):
                self._lose(one.pointer, reason)

    def _number(self, value: Any, conditions: Conditions) -> Expression:
        return _tidy(value) if isinstance(value, int | float) else conditions.value(value)

    def _share(self, value: Any, conditions: Conditions) -> Expression:
        return _tidy(value) if isinstance(value, float) else ["max", 0, ["min", 1, conditions.value(value)]]

    def _opacity(self, *paths: str) -> Expression:
        """Return the opacity of a part: that of the whole symbol times its own."""
        result = self._whole_opacity
        for path in paths:
            result = _product(result, self._expression(f"{path}.opacity", self._share, 1))
        return result

    def _length(self, path: str, zoom: float, factor: float = 1.0, missing: float = 1.0) -> Expression:
        """Return a length in pixels at a zoom, times a factor; `missing` is that of what has none."""

        def read(value: Any, conditions: Conditions) -> Expression:
            if isinstance(value, GroundLength):
                value = value.pixels(denominator_of(zoom))
            if isinstance(value, float):
                return _tidy(max(value, 0.0) * factor)
            return _product(factor, ["max", 0, conditions.value(value)])

        return self._expression(path, read, _tidy(missing * factor))

    def _zoomed(self, length: Callable[[float], Expression]) -> Expression:
        """Return a length at every zoom: on the ground each zoom doubles it, others stay."""
        first = length(MIN_ZOOM)
        if not self._is_grounded:
            return first
        last = length(MAX_ZOOM)
        return first if first == last else ["interpolate", ["exponential", 2], ["zoom"], 0, first, int(MAX_ZOOM), last]

    def _color(self, path: str, missing: Color = _BLACK, opacity: float = 1.0) -> Expression:
        def read(value: Any, conditions: Conditions) -> Expression:
            if isinstance(value, Color):
                return value.css(opacity)
            assert isinstance(value, DataColor)
            parts = [["max", 0, ["min", 255, self._number(part, conditions)]] for part in (value.r, value.g, value.b)]
            return ["rgb", *parts] if opacity >= 1 else ["rgba", *parts, opacity]

        return self._expression(path, read, missing.css(opacity))

    def _words(self, value: Any, conditions: Conditions) -> Expression:
        return value if isinstance(value, str) else ["to-string", conditions.value(value)]

    def _word(self, path: str, missing: str) -> Expression:
        return self._expression(path, lambda value, _: value, missing)

    def _font(self, path: str, face: Any, bold: bool, italic: bool) -> list[str]:
        """Return the names of a font, by which MapLibre also tells its weight."""
        if not isinstance(face, str):
            self._lost(f"{path}.face", None, "a font that is read from the feature is Arial")
            face = "Arial"
        styled = " ".join([face, *(["Bold"] if bold else []), *(["Italic"] if italic else [])])
        return list(dict.fromkeys([styled, face]))

    def _place(self, graphic: str, position: Any) -> list[float] | None:
        if not isinstance(position, tuple):
            return None
        if not all(isinstance(part, float) for part in position):
            self._lost(f"{graphic}.position", position, "a place that is no number of pixels is not used")
            return None
        return [_tidy(part) for part in position] if any(position) else None

    def _of_type(self, name: str) -> Expression | bool:
        return ["==", ["geometry-type"], name] if self._dimensions is None else True


def _flag(branches: Sequence[tuple[Expression | bool, bool]]) -> Expression | bool:
    first = branches[0][1]
    return first if all(flag is first for _, flag in branches) else chosen(branches, False)


def _id(path: str) -> str:
    return path.replace(".", "-")


def _is_drawn(path: str) -> bool:
    """Return whether a path is drawn, or is told to be lost elsewhere."""
    first, _, last = path.partition(".")
    if first in ("marker", "label"):
        part = last.partition(".")[2]
        return part in _GRAPHIC or part in _DOT or part in _TEXT or part in _PICTURE
    return path in _DRAWN or (first == "stroke" and last.removeprefix("casing.").removeprefix("centerLine.") in _STROKE)


def _is_dashed(pattern: Any) -> bool:
    return isinstance(pattern, tuple) and sum(pattern) > 0


def _anchor(alignment: Any) -> str:
    across, down = alignment
    words = [word for word in (down, across) if word not in ("middle", "center")]
    return "-".join(words) or "center"


def _parts(value: Any) -> tuple[Any, ...]:
    """Return the values that a value is made of."""
    if isinstance(value, DataColor):
        return value.r, value.g, value.b
    return (value.metres,) if isinstance(value, GroundLength) else (value,)


def _spelled_as_it_is(tree: Mapping[str, Any]) -> bool:
    if tree.get("op") == "casei":
        raise Inexpressible("MapLibre shows texts with their case.")
    return True


def _tidy(number: float) -> float:
    """Return a number that JSON writes without a needless fraction."""
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else number


def _sum(a: Expression, b: Expression) -> Expression:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return _tidy(a + b)
    return b if a == 0 else a if b == 0 else ["+", a, b]


def _product(a: Expression, b: Expression) -> Expression:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return _tidy(a * b)
    return 0 if 0 in (a, b) else b if a == 1 else a if b == 1 else ["*", a, b]
