"""Styles of coverages and the STAC renders that draw them: ``colorMap``, channels and opacity, both ways.

What a tile, a picture and a legend of a raster or cube show comes from its item's ``renders.default``.  `styled_item`
writes there what a style says; `style_of_render` makes a style of what is there.  A render has ``colormap`` and
``rescale`` for every client, and ``geoetl:style`` with the very stops, so that our tiles have the colours of `colours`.

Between two stops colours run on; beyond the ends they stay; two stops at one value are a step, whose value has the
colour of the second.  No data are transparent.

Sources: OGC 18-067r4 (coverage styling); https://github.com/stac-extensions/render v2.0.0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.colormaps import COLORMAPS
from geoetl.store.catalog.item import RENDER
from geoetl.styles.cascade import Loss, flatten
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import UNSET, Color, ColorStop, OpacityStop

if TYPE_CHECKING:
    from numpy.typing import NDArray

OWN_FIELD = "geoetl:style"
# How the item was drawn before it had a style; it is drawn so again when it has none.
UNSTYLED = "unstyled"
# Data whose range of values shares less than this with that of a style are other data.
LEAST_SHARED = 0.5
# Stops of a style that is made of a colour map by name.
STOPS = 21
_TABLE_SIZE = 256
_OPAQUE = 255
_MOST_DECIMALS = 300
_BYTES = ("uint8", "int8")
_INTEGERS = (*_BYTES, "uint16", "int16", "uint32", "int32", "uint64", "int64")
_GREY = (ColorStop(0.0, Color(0, 0, 0)), ColorStop(1.0, Color(255, 255, 255)))

type Rgba = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scaled:
    """A band or variable of which values from `low` to `high` are dark to light."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class CoverageSymbol:
    """How a coverage is drawn.

    Attributes:
        visible: Whether it is drawn at all.
        channel: The band or variable that is looked up in the stops, or a CQL2 tree of arithmetic on bands; None for
            what the item shows by itself.
        stops: Value, colour (red, green, blue and alpha, 0 to 255) and name, ascending; empty for `channels`.
        channels: What is drawn as red, green and blue.
        opacity: Of a composite, 0 to 1; that of a colour map is in its stops.
        losses: What of the style is not drawn.
    """

    visible: bool = True
    channel: Any = None
    stops: tuple[tuple[float, Rgba, str], ...] = ()
    channels: tuple[Scaled, Scaled, Scaled] | None = None
    opacity: float = 1.0
    losses: tuple[Loss, ...] = ()

    @property
    def properties(self) -> tuple[str, ...]:
        """The bands or variables that it needs."""
        if self.channels is not None:
            return tuple(one.name for one in self.channels)
        return tuple(dict.fromkeys(_properties(self.channel)))

    @property
    def has_classes(self) -> bool:
        """Whether its stops are classes: whole numbers, of which some have names."""
        return any(name for *_, name in self.stops) and all(value.is_integer() for value, *_ in self.stops)


def coverage_symbol(style: Style, layer: StyledLayer, denominator: float | None = None) -> CoverageSymbol:
    """Return how a style draws a coverage.

    Args:
        style: The style.
        layer: The coverage; its properties are its bands or variables.
        denominator: Of the scale; left out, the largest scale at which it is visible.
    """
    cascade = flatten(style, layer)
    losses = list(cascade.losses)
    intervals = cascade.intervals()
    if denominator is None:
        drawn = [_folded(interval.rules) for interval in intervals]
        chosen = next((values for values, _ in drawn if values.get("visibility", True) is not False), drawn[0][0])
        if any(values != chosen for values, _ in drawn):
            losses.append(Loss("/stylingRules", "a coverage is drawn alike at every scale, as at the largest"))
        losses += drawn[0][1]
    else:
        chosen, more = _folded(cascade.at(denominator))
        losses += more
    return _symbol(chosen, tuple(dict.fromkeys(losses)))


def _folded(rules: Sequence[Any]) -> tuple[dict[str, Any], list[Loss]]:
    """Return the value of each property that the rules give every cell; rules for some values only are lost."""
    values: dict[str, Any] = {}
    losses = []
    for rule in rules:
        if rule.condition is True:
            values.update(rule.changes)
        else:
            losses.append(Loss(rule.pointer, "a rule for some values of a coverage never matches: use a colorMap"))
    return values, losses


def _symbol(values: Mapping[str, Any], losses: tuple[Loss, ...]) -> CoverageSymbol:
    lost = list(losses)

    def given(path: str) -> Any:
        value = values.get(path, UNSET)
        return None if value is UNSET else value

    if given("hillShading") is not None:
        lost.append(Loss("/stylingRules", "hillShading is not drawn"))
    if given("alphaChannel") not in (None, 1, 1.0):
        lost.append(Loss("/stylingRules", "alphaChannel is not drawn"))
    visible, opacity = given("visibility"), given("opacity")
    if not isinstance(visible, bool | None):
        lost.append(Loss("/stylingRules", "visibility that depends on values is not drawn"))
        visible = False
    if opacity is not None and not isinstance(opacity, int | float):
        lost.append(Loss("/stylingRules", "opacity that depends on values is not drawn: use an opacityMap"))
        opacity = None
    symbol = CoverageSymbol(visible=visible is not False, opacity=1.0 if opacity is None else float(opacity))
    color_map, opacity_map = given("colorMap"), given("opacityMap")
    channels, channel = given("colorChannels"), given("singleChannel")
    if color_map is None and channels is not None and channel is None:
        scaled = _channels(channels)
        if scaled is None:
            lost.append(Loss("/stylingRules", "colorChannels other than bands with a range are not drawn"))
        if opacity_map:
            lost.append(Loss("/stylingRules", "an opacityMap of a composite is not drawn"))
        return replace(symbol, channels=scaled, visible=symbol.visible and scaled is not None, losses=tuple(lost))
    if color_map is None and channel is None:
        return replace(symbol, losses=tuple(lost))
    if channel is not None and not _is_arithmetic(channel):
        lost.append(Loss("/stylingRules", "a singleChannel that is no arithmetic on bands is not drawn"))
        return replace(symbol, visible=False, losses=tuple(lost))
    stops = _merged(color_map or _GREY, opacity_map or (), symbol.opacity)
    return replace(symbol, channel=channel, stops=stops, losses=tuple(lost))


def _channels(channels: Any) -> tuple[Scaled, Scaled, Scaled] | None:
    parts = list(channels) if isinstance(channels, list | tuple) else [getattr(channels, name, None) for name in "rgb"]
    found = [_scaled(part) for part in parts]
    if len(found) != 3 or not all(found):
        return None
    red, green, blue = (one for one in found if one is not None)
    return red, green, blue


def _scaled(tree: Any) -> Scaled | None:
    """Return the band of ``(band - low) / (high - low)``, and of its like, with its range; None for anything else."""
    line = _line(tree)
    if line is None:
        return None
    name, factor, offset = line
    if name is None or factor <= 0 or not math.isfinite(factor):
        return None
    return Scaled(name, 0.0 - offset / factor, (1 - offset) / factor)


def _line(tree: Any) -> tuple[str | None, float, float] | None:
    """Return the band, factor and offset of a tree that is a straight line of one band; None for anything else."""
    if isinstance(tree, int | float) and not isinstance(tree, bool):
        return None, 0.0, float(tree)
    if not isinstance(tree, Mapping):
        return None
    if "property" in tree:
        return str(tree["property"]), 1.0, 0.0
    sides = [_line(side) for side in tree.get("args", ())]
    if len(sides) != 2 or sides[0] is None or sides[1] is None:
        return None
    (a, fa, oa), (b, fb, ob) = sides[0], sides[1]
    if a is not None and b is not None:
        return None
    name = a if a is not None else b
    match tree.get("op"):
        case "+":
            return name, fa + fb, oa + ob
        case "-":
            return name, fa - fb, oa - ob
        case "*":
            return (name, fa * ob, oa * ob) if b is None else (name, fb * oa, ob * oa)
        case "/" if b is None and ob:
            return name, fa / ob, oa / ob
    return None


def _properties(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        if "property" in tree:
            yield str(tree["property"])
        for part in tree.get("args", ()):
            yield from _properties(part)


def _is_arithmetic(tree: Any) -> bool:
    if isinstance(tree, Mapping) and "property" in tree:
        return True
    if isinstance(tree, Mapping):
        return tree.get("op") in ("+", "-", "*", "/", "^") and all(_is_arithmetic(part) for part in tree["args"])
    return isinstance(tree, int | float) and not isinstance(tree, bool)


def _merged(
    colours: Sequence[ColorStop], opacities: Sequence[OpacityStop], opacity: float
) -> tuple[tuple[float, Rgba, str], ...]:
    """Return colours and opacities as one sequence of stops: wherever either has one."""
    colours = sorted(colours, key=lambda stop: stop.value)
    opacities = sorted(opacities, key=lambda stop: stop.value)
    if not opacities:
        alpha = round(255 * opacity, 6)
        return tuple((stop.value, (*_floats(stop.color), alpha), stop.name) for stop in colours)
    rgb: list[tuple[float, tuple[float, ...]]] = [(stop.value, _floats(stop.color)) for stop in colours]
    alphas: list[tuple[float, tuple[float, ...]]] = [
        (stop.value, (255 * opacity * stop.opacity,)) for stop in opacities
    ]
    names = {stop.value: stop.name for stop in colours if stop.name}
    stops = []
    for value in sorted({value for value, _ in (*rgb, *alphas)}):
        is_step = any(sum(at == value for at, _ in one) > 1 for one in (rgb, alphas))
        for side in ("left", "right") if is_step else ("right",):
            red, green, blue, alpha = (*_at(rgb, value, side), *_at(alphas, value, side))
            stops.append((value, (red, green, blue, alpha), names.get(value, "") if side == "right" else ""))
    return tuple(stops)


def _floats(colour: Color) -> tuple[float, float, float]:
    return float(colour.r), float(colour.g), float(colour.b)


def _at(stops: Sequence[tuple[float, tuple[float, ...]]], value: float, side: str) -> tuple[float, ...]:
    """Return what stops say at a value: of a step what comes before it (``left``), or from it on (``right``)."""
    here = [parts for at, parts in stops if at == value]
    if here:
        return here[0] if side == "left" else here[-1]
    below = [(at, parts) for at, parts in stops if at < value]
    above = [(at, parts) for at, parts in stops if at > value]
    if not below or not above:
        return (below[-1] if below else above[0])[1]
    (start, first), (end, last) = below[-1], above[0]
    # As numpy does it, so that tiles have the very same colour where one is as near as the next.
    return tuple((b - a) / (end - start) * (value - start) + a for a, b in zip(first, last, strict=True))


def colours(symbol: CoverageSymbol, values: "NDArray[Any]") -> "NDArray[np.uint8]":
    """Return the colour of each value of the channel of a symbol with stops: array (…, 4) of red, green, blue, alpha.

    What is not finite is transparent, and so is everything where the coverage is not visible.
    """
    result = np.zeros((*values.shape, 4), np.uint8)
    known = np.isfinite(values)
    if symbol.visible and symbol.stops:
        stops: list[tuple[float, tuple[float, ...]]] = [(value, rgba) for value, rgba, _ in symbol.stops]
        distinct, inverse = np.unique(values[known], return_inverse=True)
        table = np.array([_at(stops, float(value), "right") for value in distinct]).reshape(-1, 4)
        result[known] = np.rint(table).astype(np.uint8)[inverse]
    return result


# -- to a render -------------------------------------------------------------------------------------------------------


def render_of(symbol: CoverageSymbol, item: Mapping[str, Any], title: str | None = None) -> dict[str, Any] | None:
    """Return the render of an item that draws it as a symbol says; None where the item has not what that needs."""
    asset = _data_asset(item)
    if asset is None or not set(symbol.properties) <= set(channel_names(item)):
        return None
    base = {"assets": [asset], "title": title or "Style"}
    if not symbol.visible:
        return {**base, **_shown(symbol, item), OWN_FIELD: {"stops": [[0.0, [0, 0, 0, 0]]], "opacity": 0.0}}
    if symbol.channels is not None:
        return {
            **base,
            **_shown(symbol, item),
            "rescale": [[one.low, one.high] for one in symbol.channels],
            OWN_FIELD: {"opacity": symbol.opacity},
        }
    if not symbol.stops:
        return None
    numbers = {name: list(channel_names(item)).index(name) + 1 for name in symbol.properties}
    shown = _shown(symbol, item)
    if isinstance(symbol.channel, Mapping) and "op" in symbol.channel:
        if _is_cube(item):
            return None
        shown = {"expression": _formula(symbol.channel, numbers)}
    own = {"stops": [[value, list(rgba), *([name] if name else [])] for value, rgba, name in symbol.stops]}
    return {**base, **shown, **_colormap(symbol, item), OWN_FIELD: own}


def _shown(symbol: CoverageSymbol, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return which bands or variable a render shows; nothing where the symbol does not say."""
    if not symbol.properties:
        return {}
    if _is_cube(item):
        return {"variable": symbol.properties[0]}
    names = channel_names(item)
    wanted = [one.name for one in symbol.channels] if symbol.channels is not None else symbol.properties
    return {"bidx": [names.index(name) + 1 for name in wanted]}


def _colormap(symbol: CoverageSymbol, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``colormap``, and ``rescale`` unless its numbers are the values themselves."""
    low, high = symbol.stops[0][0], symbol.stops[-1][0]
    if symbol.has_classes and low >= 0 and high < _TABLE_SIZE and _data_type(item, symbol) in _INTEGERS:
        at = np.arange(int(low), int(high) + 1)
        return {"colormap": _entries(at, colours(symbol, at.astype(float)))}
    if low == high:
        low, high = low - 0.5, high + 0.5
    table = colours(symbol, np.linspace(low, high, _TABLE_SIZE))
    return {"rescale": [[low, high]], "colormap": _entries(np.arange(_TABLE_SIZE), table)}


def _entries(keys: "NDArray[Any]", rgba: "NDArray[np.uint8]") -> dict[str, list[int]]:
    return {str(int(key)): [int(part) for part in colour] for key, colour in zip(keys, rgba, strict=True)}


def _formula(tree: Any, numbers: Mapping[str, int]) -> str:
    """Return arithmetic on bands as titiler and we write it: ``(b4 - b3) / (b4 + b3)``."""
    if not isinstance(tree, Mapping):
        return repr(tree)
    if "property" in tree:
        return f"b{numbers[tree['property']]}"
    left, right = (_formula(part, numbers) for part in tree["args"])
    return f"({left} {'**' if tree['op'] == '^' else tree['op']} {right})"


# -- items -------------------------------------------------------------------------------------------------------------


def styled_item(item: Mapping[str, Any], style: Style | None, layer: StyledLayer) -> dict[str, Any] | None:
    """Return an item that is drawn as a style says, or as before it had one; None where nothing changes.

    Args:
        item: A STAC item with a raster or cube.
        style: The style; None for none.
        layer: Its collection as a layer; the bands or variables are those of the item.
    """
    renders = (item.get("properties") or {}).get("renders")
    known: dict[str, Any] = dict(renders) if isinstance(renders, Mapping) else {}
    plain = known.get(UNSTYLED, known.get("default"))
    drawn = None
    if style is not None:
        own = replace(layer, properties=dict.fromkeys(channel_names(item), "number"))
        drawn = render_of(coverage_symbol(style, own), item, style.title)
    if drawn is not None:
        changed = {**known, **({UNSTYLED: plain} if plain is not None else {}), "default": drawn}
    elif UNSTYLED in known:
        changed = {name: render for name, render in known.items() if name not in (UNSTYLED, "default")}
        changed["default"] = plain
    elif isinstance(known.get("default"), Mapping) and OWN_FIELD in known["default"]:
        changed = {name: render for name, render in known.items() if name != "default"}
    else:
        return None
    if changed == known:
        return None
    properties = {**item["properties"], "renders": changed}
    if not changed:
        del properties["renders"]
    extensions = list(dict.fromkeys([*(item.get("stac_extensions") or ()), *([RENDER] if changed else [])]))
    return {**item, "properties": properties, "stac_extensions": extensions}


def fits(style: Style, item: Mapping[str, Any], layer: StyledLayer) -> bool:
    """Tell whether a style that was made from other data of a collection suits an item: about the same values.

    Without it a collection of all kinds of rasters, whose bands are all called ``b1``, would be drawn in the colours of
    its first.
    """
    own = replace(layer, properties=dict.fromkeys(channel_names(item), "number"))
    symbol = coverage_symbol(style, own)
    render = render_of(symbol, item)
    plain = ((item.get("properties") or {}).get("renders") or {}).get("default") or {}
    if render is None or symbol.has_classes != ("rescale" not in plain):
        return False
    pairs = list(zip(render.get("rescale") or (), plain.get("rescale") or (), strict=False))
    return all(_shared(wanted, own_range) >= LEAST_SHARED for wanted, own_range in pairs)


def _shared(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how much of what either of two ranges covers both cover."""
    both = min(one[1], other[1]) - max(one[0], other[0])
    either = max(one[1], other[1]) - min(one[0], other[0])
    return max(both, 0.0) / either if either > 0 else 1.0


def is_coverage(item: Mapping[str, Any]) -> bool:
    """Tell whether an item has a raster or cube that is drawn."""
    return _data_asset(item) is not None and "table:columns" not in (item.get("properties") or {})


def channel_names(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of an item's variables, or of the bands of its data asset, in their order.

    Bands that the item does not name are called as the reader calls them; where it has none at all, there is one.
    """
    variables = (item.get("properties") or {}).get("cube:variables")
    if isinstance(variables, Mapping):
        return tuple(str(name) for name in variables)
    return tuple(str(band.get("name") or f"b{number}") for number, band in enumerate(_bands(item), 1)) or ("b1",)


def channel_units(item: Mapping[str, Any], name: str) -> str | None:
    """Return the units of a band or variable, where the item says them."""
    variables = (item.get("properties") or {}).get("cube:variables")
    if isinstance(variables, Mapping):
        found: Any = variables.get(name)
    else:
        found = next((band for band in _bands(item) if band.get("name") == name), None)
    units = found.get("unit") if isinstance(found, Mapping) else None
    return str(units) if units else None


def _is_cube(item: Mapping[str, Any]) -> bool:
    return "cube:variables" in (item.get("properties") or {})


def _data_asset(item: Mapping[str, Any]) -> str | None:
    """Return the key of the asset that is drawn: the one that its default render names, else its data."""
    assets = item.get("assets") or {}
    renders = (item.get("properties") or {}).get("renders")
    drawn = renders.get("default") if isinstance(renders, Mapping) else None
    named = drawn.get("assets") if isinstance(drawn, Mapping) else None
    for name in (*(named if isinstance(named, list) else ()), "data", "references"):
        if name in assets:
            return str(name)
    return next((str(name) for name, asset in assets.items() if "data" in (asset.get("roles") or ())), None)


def _bands(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    name = _data_asset(item)
    bands = item["assets"][name].get("bands") if name is not None else None
    return [band for band in bands if isinstance(band, Mapping)] if isinstance(bands, list) else []


def _data_type(item: Mapping[str, Any], symbol: CoverageSymbol) -> str | None:
    bands = _bands(item)
    names = channel_names(item)
    wanted = symbol.properties[0] if symbol.properties else (names[0] if names else None)
    return next((str(band.get("data_type")) for band in bands if band.get("name") == wanted), None)


# -- from a render -----------------------------------------------------------------------------------------------------


def style_of_render(render: Mapping[str, Any], channels: Sequence[str], *, title: str) -> Style | None:
    """Return the style that draws a coverage as a render does; None where the render does not say how.

    Args:
        render: An entry of ``renders``: ``rescale`` with ``colormap_name``, a ``colormap``, or three ranges.
        channels: The names of the bands or variables that it shows.
        title: Title of the style.
    """
    if not channels:
        return None
    ranges = [(float(low), float(high)) for low, high in render.get("rescale") or ()]
    if any(not low < high for low, high in ranges):
        return None
    if len(ranges) == 3 and len(channels) == 3:
        composed = [_stretched(name, *pair) for name, pair in zip(channels, ranges, strict=True)]
        return _style(title, {"colorChannels": composed})
    own, colormap = render.get(OWN_FIELD), render.get("colormap")
    stops: list[tuple[float, Sequence[float], str]] = []
    if isinstance(own, Mapping) and own.get("stops"):
        stops = [(value, rgba, str(name[0]) if name else "") for value, rgba, *name in own["stops"]]
    elif isinstance(colormap, Mapping):
        low, high = ranges[0] if len(ranges) == 1 else (0.0, _TABLE_SIZE - 1.0)
        names = own.get("labels") or {} if isinstance(own, Mapping) else {}
        for number, rgba in sorted((int(key), rgba) for key, rgba in colormap.items()):
            stops.append((low + (high - low) * number / (_TABLE_SIZE - 1), rgba, str(names.get(str(number), ""))))
    elif len(ranges) == 1:
        stops = [(value, rgb, "") for value, rgb in _named_stops(str(render.get("colormap_name")), *ranges[0])]
    return _style(title, {"singleChannel": {"property": channels[0]}, **_maps(stops)}) if stops else None


def _maps(stops: Sequence[tuple[float, Sequence[float], str]]) -> dict[str, Any]:
    """Return ``colorMap``, and ``opacityMap`` where not everything is opaque."""
    colors = [
        [_plain(value), [round(part) for part in rgba[:3]], *([name] if name else [])] for value, rgba, name in stops
    ]
    if all(len(rgba) < 4 or rgba[3] == _OPAQUE for _, rgba, _ in stops):
        return {"colorMap": colors}
    opacities = [
        [_plain(value), round((rgba[3] if len(rgba) > 3 else _OPAQUE) / _OPAQUE, 6)] for value, rgba, _ in stops
    ]
    return {"colorMap": colors, "opacityMap": opacities}


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _named_stops(colormap: str, low: float, high: float) -> list[tuple[float, tuple[int, int, int]]]:
    """Return stops of a colour map by name (``_r`` reversed; viridis where there is none), at readable values."""
    import cmap

    known = {name.lower(): full for name, full in COLORMAPS.items()}
    plain = colormap.lower().removesuffix("_r")
    ramp = cmap.Colormap(known.get(plain, COLORMAPS["viridis"]))
    is_reversed = colormap.lower().endswith("_r") and plain in known
    decimals = 3 - math.floor(math.log10(high - low))
    found = {}
    for number in range(STOPS):
        exact = low + (high - low) * number / (STOPS - 1)
        # A range far from zero has fewer decimals than its steps would need.
        value = round(exact, decimals) if abs(decimals) < _MOST_DECIMALS else exact
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        colour = ramp(1 - share if is_reversed else share).rgba8
        found[value] = (colour.r, colour.g, colour.b)
    return sorted(found.items())


def _stretched(name: str, low: float, high: float) -> dict[str, Any]:
    below: Any = {"property": name}
    if low:
        below = {"op": "-", "args": [below, _plain(low)]}
    return {"op": "/", "args": [below, _plain(high - low)]}


def plain_style(title: str) -> Style:
    """Return a style that says only that a coverage is drawn."""
    return _style(title, {"visibility": True})


def _style(title: str, symbolizer: Mapping[str, Any]) -> Style:
    is_coverage: dict[str, Any] = {"op": "=", "args": [{"sysId": "dataLayer.type"}, "coverage"]}
    return Style.of(
        {
            "metadata": {"title": title},
            "stylingRules": [{"name": title, "selector": is_coverage, "symbolizer": dict(symbolizer)}],
        }
    )
