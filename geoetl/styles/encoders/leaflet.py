"""Leaflet: path options as data, and the one evaluator that reads them.

Leaflet styles features by a function.  We never write functions: a style is a document with the options of a feature
that no rule matches (``default``) and ``rules``, each with a filter in CQL2 JSON, options, and the zooms that it holds
for.  All rules that match are laid over the default, in their order.  `leaflet_style` reads such a document here, and
``leaflet_style.js`` beside this module in a page; a test holds them to the same answers.

Source: the options of L.Path and L.CircleMarker, https://leafletjs.com/reference.html#path.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from geoetl.core.errors import InvalidFilter
from geoetl.core.selectors import Rows, Tree, matches
from geoetl.styles.cascade import Cascade, FlatRule, Loss, flatten
from geoetl.styles.coverage import coverage_symbol
from geoetl.styles.encoders.combine import Option, combine, condition_of
from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.encoders.views import Edge, Spanning, View, spanning, views_of
from geoetl.styles.layer import LayerKind, StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import UNSET, Color, GroundLength, zoom_of

# What a style may set.
PATH_OPTIONS = (
    "stroke",
    "color",
    "weight",
    "opacity",
    "lineCap",
    "lineJoin",
    "dashArray",
    "fill",
    "fillColor",
    "fillOpacity",
    "radius",
)
# What the evaluator knows, in Python and in JavaScript; anything else never matches.
OPERATORS = frozenset(
    {"and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "between", "in", "like", "isNull", "casei"}
    | {"+", "-", "*", "/", "^", "%", "div"}
)
# A deeper filter is none that a person wrote; the same stands in leaflet_style.js.
MAX_DEPTH = 64
# From here on JavaScript does not tell whole numbers from their neighbours.
MAX_WHOLE = 2**53
TILE_SIZE = 256
# Types of values that are the same for every feature.
_FIXED = (Color, float, bool, int, str, tuple)


def leaflet_style(
    document: Mapping[str, Any], properties: Mapping[str, Any], zoom: float | None = None
) -> dict[str, Any]:
    """Return the path options of a feature.

    Args:
        document: A style, as the encoder gives it.
        properties: Of the feature.
        zoom: Of the map, at 256-pixel tiles; left out, no rule with zooms matches.
    """
    rows = Rows.of_documents([properties])
    laid = [document.get("default", {})]
    for rule in document.get("rules", ()):
        if _holds(rule, zoom) and _matches(rule.get("filter"), rows):
            laid.append(rule.get("style", {}))
    return {name: options[name] for options in laid for name in PATH_OPTIONS if name in options}


def _holds(rule: Mapping[str, Any], zoom: float | None) -> bool:
    """Tell whether a rule holds at a zoom; the lower one belongs to it, the upper does not, as in MapLibre."""
    least, most = rule.get("minZoom"), rule.get("maxZoom")
    if zoom is None:
        return least is None and most is None
    return (least is None or zoom >= least) and (most is None or zoom < most)


def _matches(condition: Tree | None, rows: Rows) -> bool:
    if condition is None or _unknown(condition) is not None:
        return False
    try:
        return bool(matches(condition, rows)[0])
    except InvalidFilter:
        return False


def _unknown(node: Any, depth: int = 0) -> str | None:
    """Return why the evaluator does not know a condition, or a part of one; None where it does."""
    if isinstance(node, (bool, float, str)):
        return None
    if isinstance(node, int) and abs(node) >= MAX_WHOLE:
        return f"JavaScript does not tell the number {node} from its neighbours"
    if not isinstance(node, Mapping) or isinstance(node.get("property"), str) or {"date", "timestamp"} & node.keys():
        return None
    op, arguments = node.get("op"), node.get("args")
    if not isinstance(op, str) or op not in OPERATORS or not isinstance(arguments, list | tuple):
        return f"the evaluator of Leaflet styles has no operator '{str(op)[:40]}'"
    if depth > MAX_DEPTH:
        return f"the condition is more than {MAX_DEPTH} levels deep"
    parts = [one for part in arguments for one in (part if isinstance(part, list | tuple) else [part])]
    if op == "casei" and any(isinstance(part, Mapping) and {"date", "timestamp"} & part.keys() for part in parts):
        return "a time has no upper and lower case"
    return next(filter(None, (_unknown(part, depth + 1) for part in parts)), None)


# -- encoding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaflet:
    """Writes path options for vectors, and the options of a tile layer for coverages."""

    name: str = "leaflet"
    title: str = "Leaflet"
    # No type is registered; this is our choice.
    media_type: str = "application/vnd.leaflet.style+json"
    specification: str = "https://leafletjs.com/reference.html#path"
    extension: str = "leaflet.json"
    kinds: Sequence[LayerKind] = ("vector", "coverage")

    def encode(self, style: Style, layer: StyledLayer) -> Encoded:
        """Return the style as data for `leaflet_style` and ``leaflet_style.js``; of a coverage, as a tile layer."""
        if layer.kind == "coverage":
            document, losses = _tile_layer(style, layer)
        else:
            document, losses = _path_options(flatten(style, layer), layer)
        return Encoded(self.name, self.media_type, self.extension, document, losses)


@dataclass(frozen=True)
class _Rule:
    """A rule of the target."""

    name: str
    condition: Tree
    options: Mapping[str, Any]


def _path_options(cascade: Cascade, layer: StyledLayer) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    losses, options, views = list(cascade.losses), _options_of(layer), views_of(cascade)
    made = [_rules_of(view.rules, cascade, layer, options, losses) for view in views]
    default = made[0][0]
    each = []
    for start, own in made:
        differing = {name: value for name, value in start.items() if value != default[name]}
        each.append([_Rule("", True, differing), *own] if differing else own)
    rules = [_written(span, views) for span in spanning(each)]
    return {"default": default, "rules": rules}, tuple(dict.fromkeys(losses))


def _rules_of(
    rules: Sequence[FlatRule],
    cascade: Cascade,
    layer: StyledLayer,
    options: Mapping[str, Option],
    losses: list[Loss],
) -> tuple[dict[str, Any], list[_Rule]]:
    """Return the options without any rule, and the rules, at one scale."""
    known = {path for option in options.values() for path in option.paths}
    kept = [rule for rule in (_kept(rule, layer, known, losses) for rule in rules) if rule is not None]
    initial = {path: UNSET for option in options.values() for path in option.paths} | dict(cascade.initial)
    default, combinations, too_many = combine(options, kept, initial)
    losses += [
        Loss("/stylingRules", f"too many rules that overlap decide '{name}'; each is taken by itself")
        for name in too_many
    ]
    made = [
        _Rule(
            kept[combination.rules[-1]].name,
            condition_of(kept[number].condition for number in combination.rules),
            combination.options,
        )
        for combination in combinations
    ]
    return default, made


def _kept(rule: FlatRule, layer: StyledLayer, known: Collection[str], losses: list[Loss]) -> FlatRule | None:
    """Return what Leaflet can do of a rule, and note what it cannot; None where its condition is not known.

    Args:
        rule: The rule.
        layer: What it is about.
        known: The properties that decide options of Leaflet.
        losses: Where to note.
    """
    has_times = "time" in layer.properties.values()
    condition, reason = _for_json(rule.condition, layer) if has_times else (rule.condition, None)
    reason = reason or _unknown(condition)
    if reason is not None:
        losses.append(Loss(rule.pointer, f"{reason}; the rule never matches"))
        return None
    changes = {}
    for path, value in rule.changes.items():
        reason = _not_drawn(path, value, layer, always=rule.condition is True)
        if reason is not None:
            losses.append(Loss(f"{rule.pointer}/symbolizer/{_member(path)}", reason))
        if path in known and (reason is None or path == "marker.0.type"):
            changes[path] = value
    return FlatRule(rule.name, rule.pointer, condition, changes)


def _member(path: str) -> str:
    return "label" if path == "placement" else path.partition(".")[0]


def _not_drawn(path: str, value: Any, layer: StyledLayer, *, always: bool) -> str | None:
    """Return why Leaflet cannot do what a change asks for; None where it can, or where nothing is lost."""
    member, _, rest = path.partition(".")
    number, _, part = rest.partition(".")
    if (
        value is UNSET
        or (layer.dimensions == 0 and member in ("fill", "stroke"))
        or (layer.dimensions == 1 and member == "fill")
    ):
        return None
    if member in ("label", "placement"):
        return "Leaflet's path options have no texts; the label is not drawn"
    if member == "zOrder":
        return None if always else "Leaflet draws the features of a layer in their own order, not by zOrder"
    if member == "marker":
        if layer.dimensions is None:
            return "in a layer of mixed geometries points are drawn with the fill and stroke of areas"
        if layer.dimensions != 0:
            return "Leaflet draws no markers on lines and areas"
        if number != "0":
            return "Leaflet draws one marker for a point; the others are not drawn"
        if part == "type":
            return None if value == "Dot" else f"Leaflet draws points as dots; a marker of type {value} is not drawn"
        if part == "position":
            return None if value == (0.0, 0.0) else "Leaflet draws a dot at its point, without an offset"
    if part.startswith(("casing", "centerLine")) or rest.startswith(("casing", "centerLine")):
        return "Leaflet draws one line; its casing and centre line are not drawn"
    if rest in ("pattern", "hatch", "dotpattern", "stipple"):
        return "Leaflet has no patterns; the colour is drawn without"
    if isinstance(value, GroundLength):
        return "Leaflet knows lengths in pixels only, not on the ground; what was before stays"
    if not isinstance(value, _FIXED):
        return "Leaflet's path options do not depend on properties but by rules; what was before stays"
    return None


def _options_of(layer: StyledLayer) -> dict[str, Option]:
    """Return the path options of a layer, and what decides them."""
    if layer.dimensions == 0:
        dot, edge = "marker.0", "marker.0.outline"
        return {
            "stroke": Option(
                ("visibility", f"{dot}.type", f"{edge}.color", f"{edge}.width", f"{edge}.opacity"), _is_outlined
            ),
            "color": Option((f"{edge}.color",), _color),
            "weight": Option((f"{edge}.width",), _width),
            "opacity": Option(("opacity", f"{dot}.opacity", f"{edge}.opacity"), _product),
            "fill": Option(("visibility", f"{dot}.type"), lambda visible, kind: visible and kind == "Dot"),
            "fillColor": Option((f"{dot}.color",), lambda color: _color(color, "#ffffff")),
            "fillOpacity": Option(("opacity", f"{dot}.opacity"), _product),
            "radius": Option((f"{dot}.size",), lambda size: 5 if size is UNSET else _plain(size / 2)),
        }
    stroke = {
        "stroke": Option(("visibility", "stroke.width"), lambda visible, width: visible and width > 0),
        "color": Option(("stroke.color",), _color),
        "weight": Option(("stroke.width",), _width),
        "opacity": Option(("opacity", "stroke.opacity"), _product),
        "lineCap": Option(("stroke.cap",), lambda cap: "butt" if cap is UNSET else cap),
        "lineJoin": Option(("stroke.join",), lambda join: "miter" if join is UNSET else join),
        "dashArray": Option(("stroke.dashPattern",), _dashes),
    }
    if layer.dimensions == 1:
        return {**stroke, "fill": Option((), lambda: False)}
    return {
        **stroke,
        "fill": Option(("visibility",), lambda visible: visible),
        "fillColor": Option(("fill.color",), _color),
        "fillOpacity": Option(("opacity", "fill.opacity"), _product),
        **({"radius": Option(("marker.0.size",), lambda _: 5)} if layer.dimensions is None else {}),
    }


def _is_outlined(visible: bool, kind: Any, color: Any, width: Any, opacity: Any) -> bool:
    is_there = any(part is not UNSET for part in (color, width, opacity))
    return visible and kind == "Dot" and is_there and width != 0


def _color(color: Any, otherwise: str = "#000000") -> str:
    return otherwise if color is UNSET else str(color.hex)


def _width(width: Any) -> float:
    return 1 if width is UNSET else _plain(width)


def _product(*shares: Any) -> float:
    return _plain(math.prod(1.0 if share is UNSET else share for share in shares))


def _plain(number: float) -> float:
    """Return a number as a person writes it: whole where it is, else to six digits after the point."""
    rounded = round(number, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def _dashes(dashes: Any) -> str | None:
    return None if dashes is UNSET or not any(dashes) else " ".join(f"{_plain(part)}" for part in dashes)


# -- conditions ------------------------------------------------------------------------------------------------------


def _for_json(node: Any, layer: StyledLayer) -> tuple[Any, str | None]:
    """Return a condition for properties as GeoJSON has them, where times are texts; or why there is none."""
    if not isinstance(node, Mapping) or "op" not in node:
        return node, None
    op, arguments = node["op"], node["args"]
    names = [part["property"] for part in arguments if isinstance(part, Mapping) and "property" in part]
    if "time" in map(layer.properties.get, names):
        if op in ("like", "casei") or len(names) > 1:
            return node, f"times of features are texts in GeoJSON, which '{op}' does not take for times"
        return {"op": op, "args": [_timed(part) for part in arguments]}, None
    parts = [_for_json(part, layer) for part in arguments]
    return {"op": op, "args": [part for part, _ in parts]}, next((reason for _, reason in parts if reason), None)


def _timed(part: Any) -> Any:
    """Return a literal that is compared with a time as one."""
    if isinstance(part, list | tuple):
        return [_timed(member) for member in part]
    return {"date" if len(part) == 10 else "timestamp": part} if isinstance(part, str) else part


# -- zooms -----------------------------------------------------------------------------------------------------------


def _zoom(edge: Edge | None, *, is_far: bool) -> float | None:
    """Return a zoom that ends a view: of its far end the first zoom that belongs to it, of its close end the first
    that does not.
    """
    if edge is None:
        return None
    zoom = zoom_of(edge.scale, TILE_SIZE)
    return zoom if edge.is_inside == is_far else math.nextafter(zoom, math.inf)


def _written(span: Spanning[_Rule], views: Sequence[View]) -> dict[str, Any]:
    least, most = _zoom(views[span.first].far, is_far=True), _zoom(views[span.last].close, is_far=False)
    return {
        **({"name": span.rule.name} if span.rule.name else {}),
        "filter": span.rule.condition,
        "style": dict(span.rule.options),
        **({"minZoom": least} if least is not None else {}),
        **({"maxZoom": most} if most is not None else {}),
    }


# -- coverages -------------------------------------------------------------------------------------------------------


def _tile_layer(style: Style, layer: StyledLayer) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    """Return where the tiles of a coverage are and how Leaflet shows them; colours and opacity are in the tiles."""
    views = views_of(flatten(style, layer))
    symbols = [coverage_symbol(style, layer, view.denominator) for view in views]
    shown = [number for number, symbol in enumerate(symbols) if symbol.visible]
    losses = dict.fromkeys(loss for symbol in symbols for loss in symbol.losses)
    if any(replace(symbols[number], losses=()) != replace(symbols[shown[0]], losses=()) for number in shown):
        losses[Loss("/stylingRules", "tiles have the same colours at every scale")] = None
    if not shown:
        return {"tileLayer": None}, tuple(losses)
    if shown != list(range(shown[0], shown[-1] + 1)):
        losses[Loss("/stylingRules", "a tile layer has one range of zooms; it is shown in the gaps too")] = None
    least, most = _zoom(views[shown[0]].far, is_far=True), _zoom(views[shown[-1]].close, is_far=False)
    options = {
        "opacity": 1,
        "tileSize": TILE_SIZE,
        # Leaflet's are whole, and the last one is part of the range.
        **({"minZoom": max(math.ceil(least), 0)} if least is not None else {}),
        **({"maxZoom": math.ceil(most) - 1} if most is not None else {}),
    }
    return {"tileLayer": {"url": _template(layer), "options": options}}, tuple(losses)


def _template(layer: StyledLayer) -> str:
    """Return the address of tiles, relative to the API; an item that the layer does not name stays open."""
    collection, _, item = layer.id.partition(":")
    place = f"{quote(collection, safe='')}/{quote(item, safe='') or '{item}'}"
    return f"tiles/raster/{place}/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
