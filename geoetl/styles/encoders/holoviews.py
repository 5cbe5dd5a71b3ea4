"""HoloViews: options of Bokeh plots as data, and the element that they make of a frame in a notebook.

A document has ``elements``, each with its options.  What differs between features is an option that names a column
(``{"dim": "fill_color"}``), and ``columns`` says by a default and by rules, each laid over those before it, what stands
in it; `columns_of` works it out.  A plot has no scale: a rule that asks for one never matches.

Source: the styles of Bokeh's elements, https://holoviews.org/user_guide/Style_Mapping.html.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.core.errors import InvalidFilter, InvalidParameter
from geoetl.core.selectors import Columns, Rows, matches
from geoetl.styles.cascade import Cascade, FlatRule, Loss, flatten
from geoetl.styles.conditions import scales_of
from geoetl.styles.coverage import CoverageSymbol, colours, coverage_symbol
from geoetl.styles.encoders.combine import Option, combine, condition_of
from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.layer import LayerKind, StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import UNSET, Color, GroundLength

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

# What Bokeh's palettes have for a run of colours.
PALETTE_SIZE = 256
ELEMENTS: Mapping[int, str] = {2: "Polygons", 1: "Contours", 0: "Points"}
_WHITE, _BLACK = "#ffffff", "#000000"
# What an element shows nothing of.
_UNSEEN: Mapping[int, tuple[str, ...]] = {0: ("fill", "stroke"), 1: ("fill",)}
# Types of values that are the same for every feature.
_FIXED = (Color, float, bool, int, str, tuple)


@dataclass(frozen=True)
class HoloViews:
    """Writes options of HoloViews elements for the Bokeh backend."""

    name: str = "holoviews"
    title: str = "HoloViews"
    # No type is registered; this is our choice.
    media_type: str = "application/vnd.holoviews.opts+json"
    specification: str = "https://holoviews.org/user_guide/Style_Mapping.html"
    extension: str = "holoviews.json"
    kinds: Sequence[LayerKind] = ("vector", "coverage")

    def encode(self, style: Style, layer: StyledLayer) -> Encoded:
        """Return the elements of a layer with their options, the lowest first."""
        if layer.kind == "coverage":
            elements, losses = _coverage(style, layer)
        else:
            elements, losses = _vector(flatten(style, layer), layer)
        document = {"backend": "bokeh", "elements": elements}
        return Encoded(self.name, self.media_type, self.extension, document, losses)


def columns_of(element: Mapping[str, Any], rows: Columns) -> dict[str, list[Any]]:
    """Return the columns that the options of an element name, with a value for each row.

    Args:
        element: One of the ``elements`` of a document.
        rows: The features.
    """
    columns = element.get("columns", {})
    values = {name: [value] * rows.size for name, value in columns.get("default", {}).items()}
    for rule in columns.get("rules", ()):
        try:
            hit = np.flatnonzero(matches(rule["filter"], rows))
        except InvalidFilter:
            continue  # a property is of a kind that an operator does not take: it never matches
        for name, value in rule["style"].items():
            for number in hit:
                values[name][number] = value
    return values


def to_holoviews(style: Style, layer: StyledLayer, frame: "gpd.GeoDataFrame | xr.DataArray | xr.Dataset") -> Any:
    """Return a frame as a GeoViews element that looks as styled: the last line of a notebook cell.

    Args:
        style: The style.
        layer: What the frame is of.
        frame: Features, in any CRS, or a coverage in longitudes and latitudes: an array (y, x), or a dataset with the
            variables that the style names.

    Raises:
        InvalidParameter: Nothing of the frame is drawn by the style.
    """
    import holoviews as hv

    if not hv.Store.loaded_backends():
        hv.extension("bokeh")
    elements = HoloViews().encode(style, layer).document["elements"]
    drawn = [_raster(one, frame) for one in elements] if layer.kind == "coverage" else _features(elements, frame)
    if not drawn:
        raise InvalidParameter(
            f"The style draws nothing of '{layer.id}'.", hint="Check its selectors and visibility.", field="style"
        )
    shown = drawn[0]
    for more in drawn[1:]:
        shown = shown * more
    return shown


# -- vectors ---------------------------------------------------------------------------------------------------------


def _vector(cascade: Cascade, layer: StyledLayer) -> tuple[list[dict[str, Any]], tuple[Loss, ...]]:
    losses, rules = list(cascade.losses), cascade.at(None)
    losses += [
        Loss(rule.pointer, "a plot has no scale; what asks for one is not true")
        for rule in cascade.entries
        if scales_of(rule.condition)
    ]
    dimensions = [2, 1, 0] if layer.dimensions is None else [layer.dimensions]
    elements = [_element(dimension, rules, cascade, losses) for dimension in dimensions]
    return elements, tuple(dict.fromkeys(losses))


def _element(dimension: int, rules: Sequence[FlatRule], cascade: Cascade, losses: list[Loss]) -> dict[str, Any]:
    options = _options_of(dimension)
    known = {path for option in options.values() for path in option.paths}
    kept = [_kept(rule, dimension, known, losses) for rule in rules]
    initial = {path: UNSET for option in options.values() for path in option.paths} | dict(cascade.initial)
    default, combinations, too_many = combine(options, kept, initial)
    losses += [
        Loss("/stylingRules", f"too many rules that overlap decide '{name}'; each is taken by itself")
        for name in too_many
    ]
    varying = {name for one in combinations for name in one.options}
    opts: dict[str, Any] = {name: {"dim": name} if name in varying else value for name, value in default.items()}
    if dimension == 0:
        opts["marker"] = "circle"
    element: dict[str, Any] = {"element": ELEMENTS[dimension], "opts": opts}
    if varying:
        written = [
            {
                **({"name": name} if (name := kept[one.rules[-1]].name) else {}),
                "filter": condition_of(kept[number].condition for number in one.rules),
                "style": dict(one.options),
            }
            for one in combinations
        ]
        first = {name: value for name, value in default.items() if name in varying}
        element["columns"] = {"default": first, "rules": written}
    return element


def _kept(rule: FlatRule, dimension: int, known: Collection[str], losses: list[Loss]) -> FlatRule:
    """Return what a plot can do of a rule, and note what it cannot; `known` are the properties that decide options."""
    changes = {}
    for path, value in rule.changes.items():
        reason = _not_drawn(path, value, dimension)
        if reason is not None:
            member = "label" if path == "placement" else path.partition(".")[0]
            losses.append(Loss(f"{rule.pointer}/symbolizer/{member}", reason))
        if path in known and (reason is None or path == "marker.0.type"):
            changes[path] = value
    return FlatRule(rule.name, rule.pointer, rule.condition, changes)


def _not_drawn(path: str, value: Any, dimension: int) -> str | None:
    """Return why a plot cannot do what a change asks for; None where it can, or where nothing is lost."""
    member, _, rest = path.partition(".")
    number, _, part = rest.partition(".")
    if value is UNSET or member in _UNSEEN.get(dimension, ()):
        return None
    if member in ("label", "placement"):
        return "texts are not drawn in the plot"
    if member == "zOrder":
        return "the plot draws features in their own order, not by zOrder"
    if member == "marker":
        if dimension != 0:
            return "the plot draws no markers on lines and areas"
        if number != "0":
            return "the plot draws one marker for a point; the others are not drawn"
        if part == "type":
            return None if value == "Dot" else f"points are drawn as dots; a marker of type {value} is not drawn"
        if part == "position":
            return None if value == (0.0, 0.0) else "a dot is drawn at its point, without an offset"
        if part.startswith(("font", "text", "alignment", "image", "hotSpot", "tint", "blackTint", "alphaThreshold")):
            return "pictures and texts are not drawn in the plot"
    if rest.startswith(("casing", "centerLine")):
        return "the plot draws one line; its casing and centre line are not drawn"
    if rest in ("pattern", "hatch", "dotpattern", "stipple"):
        return "the plot has no patterns; the colour is drawn without"
    if isinstance(value, GroundLength):
        return "the plot knows lengths in pixels only, not on the ground; what was before stays"
    if not isinstance(value, _FIXED):
        return "options of the plot do not depend on properties but by rules; what was before stays"
    return None


def _options_of(dimension: int) -> dict[str, Option]:
    """Return the options of an element, and what decides them."""
    if dimension == 0:
        dot, edge = "marker.0", "marker.0.outline"
        return {
            "fill_color": Option((f"{dot}.color",), lambda color: _color(color, _WHITE)),
            "fill_alpha": Option(("visibility", f"{dot}.type", "opacity", f"{dot}.opacity"), _dot_share),
            "size": Option((f"{dot}.size",), lambda size: _number(size, 10.0)),
            "line_color": Option((f"{edge}.color",), lambda color: _color(color, _BLACK)),
            "line_width": Option((f"{edge}.color", f"{edge}.width", f"{edge}.opacity"), _outline_width),
            "line_alpha": Option(
                ("visibility", f"{dot}.type", "opacity", f"{dot}.opacity", f"{edge}.opacity"), _dot_share
            ),
        }
    line = {
        "line_color": Option(("stroke.color",), lambda color: _color(color, _BLACK)),
        "line_width": Option(("stroke.width",), lambda width: _number(width, 1.0)),
        "line_alpha": Option(("visibility", "opacity", "stroke.opacity"), _share),
        "line_cap": Option(("stroke.cap",), lambda cap: "butt" if cap is UNSET else cap),
        "line_join": Option(("stroke.join",), lambda join: "miter" if join is UNSET else join),
        "line_dash": Option(("stroke.dashPattern",), _dashes),
    }
    if dimension == 1:
        # Contours have one colour, width and opacity, without "line" in their names for the colour and opacity.
        return {"color": line.pop("line_color"), "alpha": line.pop("line_alpha"), **line}
    return {
        "fill_color": Option(("fill.color",), lambda color: _color(color, _WHITE)),
        "fill_alpha": Option(("visibility", "opacity", "fill.opacity"), _share),
        **line,
    }


def _color(color: Any, otherwise: str) -> str:
    return otherwise if color is UNSET else str(color.hex)


def _number(value: Any, otherwise: float) -> float:
    return otherwise if value is UNSET else round(value, 6)


def _share(visible: bool, *shares: Any) -> float:
    return round(visible * prod(1.0 if share is UNSET else share for share in shares), 6)


def _dot_share(visible: bool, kind: Any, *shares: Any) -> float:
    return _share(visible and kind == "Dot", *shares)


def _outline_width(color: Any, width: Any, opacity: Any) -> float:
    is_there = any(part is not UNSET for part in (color, width, opacity))
    return _number(width, 1.0) if is_there else 0.0


def _dashes(dashes: Any) -> str:
    """Return dashes as Bokeh reads them from a text: numbers of whole pixels."""
    return "solid" if dashes is UNSET or not any(dashes) else " ".join(f"{round(part)}" for part in dashes)


def _features(elements: Sequence[Mapping[str, Any]], frame: "gpd.GeoDataFrame") -> list[Any]:
    """Return the elements of a frame, each with the features of its kind of geometry."""
    import geoviews as gv
    import holoviews as hv
    import shapely

    placed = frame if frame.crs is None else frame.to_crs(4326)
    kinds = shapely.get_dimensions(placed.geometry.to_numpy())
    attributes = [name for name in placed.columns if name != placed.geometry.name]
    drawn = []
    for element in elements:
        part = placed[kinds == {name: number for number, name in ELEMENTS.items()}[element["element"]]]
        if part.empty:
            continue
        rows = Rows({name: part[name] for name in attributes}, len(part))
        columns = {f"_{name}": values for name, values in columns_of(element, rows).items()}
        styled = part.assign(**columns)
        opts = {
            name: hv.dim(f"_{value['dim']}") if isinstance(value, Mapping) else value
            for name, value in element["opts"].items()
        }
        make = getattr(gv, element["element"])
        drawn.append(make(styled, vdims=[*attributes, *columns]).opts(**opts, backend="bokeh"))
    return drawn


# -- coverages -------------------------------------------------------------------------------------------------------


def _coverage(style: Style, layer: StyledLayer) -> tuple[list[dict[str, Any]], tuple[Loss, ...]]:
    symbol = coverage_symbol(style, layer)
    losses = list(symbol.losses)
    if not symbol.visible:
        return [], tuple(losses)
    if symbol.channels is not None:
        element = {
            "element": "RGB",
            "variables": [one.name for one in symbol.channels],
            "ranges": [[one.low, one.high] for one in symbol.channels],
            "opts": {"alpha": symbol.opacity},
        }
        return [element], tuple(losses)
    if isinstance(symbol.channel, Mapping) and "property" not in symbol.channel:
        losses.append(Loss("/stylingRules", "a plot shows one variable, not arithmetic on several; it is not drawn"))
        return [], tuple(losses)
    element = {"element": "Image", "opts": _colors(symbol)}
    if isinstance(symbol.channel, Mapping):
        element["variables"] = [symbol.channel["property"]]
    return [element], tuple(losses)


def _colors(symbol: CoverageSymbol) -> dict[str, Any]:
    """Return the palette and its range: the colour of the middle of each of `PALETTE_SIZE` equal parts."""
    if not symbol.stops:
        return {"alpha": symbol.opacity}
    low, high = symbol.stops[0][0], symbol.stops[-1][0]
    if low == high:
        low, high = low - 0.5, high + 0.5
    middles = low + (np.arange(PALETTE_SIZE) + 0.5) / PALETTE_SIZE * (high - low)
    palette = ["#" + bytes(rgba if rgba[3] < 255 else rgba[:3]).hex() for rgba in colours(symbol, middles)]
    return {"cmap": palette, "clim": [low, high]}


def _raster(element: Mapping[str, Any], frame: "xr.DataArray | xr.Dataset") -> Any:
    """Return the element of a coverage."""
    import geoviews as gv
    import xarray as xr

    names = element.get("variables", ())
    opts = {name: tuple(value) if name == "clim" else value for name, value in element["opts"].items()}
    if isinstance(frame, xr.DataArray):
        frame = frame.to_dataset(name=names[0] if len(names) == 1 else frame.name or "value")
    shown = [name for name in names or list(frame.data_vars)[:1] if name in frame.data_vars]
    if not shown or len(shown) < len(names):
        raise InvalidParameter(
            f"The style shows {', '.join(map(repr, names))}; the dataset has {', '.join(map(repr, frame.data_vars))}.",
            hint="Give a dataset with these variables.",
            field="frame",
        )
    y, x = frame[shown[0]].dims[-2:]
    if element["element"] == "RGB":
        parts = [
            ((frame[name] - low) / (high - low)).clip(0, 1)
            for name, (low, high) in zip(shown, element["ranges"], strict=True)
        ]
        frame = xr.Dataset(dict(zip("RGB", parts, strict=True)))
        return gv.RGB(frame, [x, y], ["R", "G", "B"]).opts(**opts, backend="bokeh")
    return gv.Image(frame, [x, y], shown).opts(**opts, backend="bokeh")
