"""A style for a layer that has none: from its geometries, its attributes, and what their values are like.

What is chosen is what a person would try first: protected areas by their IUCN category; an attribute that is named like
a category and has a few values; one that is named like a measurement; else one symbol for all.  Points and lines get
colours that stand out from a light map by themselves, areas have an outline.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geoetl.core.errors import InvalidParameter, InvalidStyle
from geoetl.styles.classify import Class, Classes, classify
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.ramps import DEFAULT_RAMPS, MIN_GRAPHIC_CONTRAST, RAMPS
from geoetl.styles.values import Color

# Columns that are read to find one that shows something.
MAX_TRIED = 6
# A layer of fewer features shows nothing by classes.
MIN_ROWS = 3
# A column that is empty in most rows says little of the layer.
MIN_KNOWN = 0.5
NO_DATA = "no data"

# What is in no class: of areas, and darker of lines and points; and the class of all others.
_GREY, _DARK_GREY = Color(187, 187, 187), Color(146, 146, 146)
_OTHER = Color(96, 96, 96)
_SINGLE = Color(51, 107, 163)
_OUTLINE = Color(68, 68, 68)
_FILL_OPACITY = 0.8
_OUTLINE_PX, _LINE_PX, _DOT_PX = 0.6, 2.0, 8.0

# Parts of the names of attributes, in the order in which they are tried.
_CATEGORY_WORDS = (
    "category", "cat", "class", "landuse", "landcover", "continent", "biome", "realm", "type", "kind", "status",
    "designation", "use", "cover", "zone", "region", "group", "boro", "borough", "sector", "level", "rank",
)  # fmt: skip
_NUMBER_WORDS = (
    "population", "pop", "density", "income", "magnitude", "mag", "depth", "elevation", "height", "rate",
    "percent", "pct", "score", "index", "temperature", "value", "amount", "total", "count",
)  # fmt: skip
# What tells one feature from another, or where it is, makes no classes.
_KEY_WORDS = frozenset({
    "id", "fid", "gid", "oid", "objectid", "pid", "uid", "uuid", "key", "code", "zip", "postcode", "fips",
    "geoid", "iso", "iso2", "iso3", "wikidata", "ne", "name", "label", "lat", "lon", "latitude", "longitude",
    "x", "y", "url", "source", "shape", "leng", "scalerank", "labelrank",
    "mapcolor7", "mapcolor8", "mapcolor9", "mapcolor13",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+(?![a-z])[0-9]*|[0-9]+")

# The management categories of IUCN, from the strictest on; source: Dudley (ed.) 2008, "Guidelines for Applying
# Protected Area Management Categories".
IUCN_CATEGORIES: Mapping[str, str] = {
    "Ia": "Ia Strict nature reserve",
    "Ib": "Ib Wilderness area",
    "II": "II National park",
    "III": "III Natural monument or feature",
    "IV": "IV Habitat or species management area",
    "V": "V Protected landscape or seascape",
    "VI": "VI Protected area with sustainable use",
}
OTHER_CATEGORY = "Not reported, assigned or applicable"

Read = Callable[[str], Iterable[Any]]


@dataclass(frozen=True)
class Symbol:
    """How features are drawn, but for their colour."""

    dimensions: int | None

    def of(self, colour: Color) -> dict[str, Any]:
        """Return the symbolizer of a colour."""
        parts: dict[str, Any] = {}
        if self.dimensions in (2, None):
            # The dark colours of points are told apart on a light map only where nothing shines through.
            opacity = _FILL_OPACITY if self.dimensions == 2 else 1.0
            parts["fill"] = {"color": list(colour.parts), "opacity": opacity}
        if self.dimensions == 2:
            parts["stroke"] = {"color": list(_OUTLINE.parts), "width": {"px": _OUTLINE_PX}}
        if self.dimensions in (1, None):
            # Where there are lines among areas, the outline is what they are drawn with.
            parts["stroke"] = {"color": list(colour.parts), "width": {"px": _LINE_PX}}
        if self.dimensions in (0, None):
            parts["marker"] = {"elements": [_dot(colour)]}
        return parts

    def altered(self, colour: Color) -> dict[str, Any]:
        """Return the symbolizer that changes the colour of `of`."""
        parts: dict[str, Any] = {}
        if self.dimensions in (2, None):
            parts["fill"] = {"alter": True, "color": list(colour.parts)}
        if self.dimensions in (1, None):
            parts["stroke"] = {"alter": True, "color": list(colour.parts)}
        if self.dimensions in (0, None):
            parts["marker"] = {"elements": [_dot(colour)]}
        return parts

    @property
    def least_contrast(self) -> float:
        """The contrast with a light map that its colours need: areas have an outline."""
        return 0.0 if self.dimensions == 2 else MIN_GRAPHIC_CONTRAST

    @property
    def grey(self) -> Color:
        """The colour of what is in no class."""
        return _DARK_GREY if self.dimensions in (0, 1) else _GREY

    @property
    def ordered_ramp(self) -> str:
        """The ramp for classes from low to high; the dark part of batlow has more shades than that of others."""
        return DEFAULT_RAMPS["sequential"] if self.dimensions == 2 else "batlow"


def _dot(colour: Color) -> dict[str, Any]:
    return {"type": "Dot", "stroke": {"color": list(colour.parts), "width": {"px": _DOT_PX}}}


def default_style(layer: StyledLayer, read: Read, *, title: str) -> Style:
    """Return a style for a layer of features.

    Args:
        layer: The layer.
        read: Returns the values of an attribute; it is asked for at most `MAX_TRIED`.
        title: Title of the style.
    """
    category = iucn_attribute(layer)
    if category is not None:
        return wdpa_style(layer, category, title=title)
    for name in _candidates(layer)[:MAX_TRIED]:
        classes = _tried(read(name), name, layer)
        if classes is None:
            continue
        try:
            return style_of_classes(classes, layer, title=title)
        except InvalidStyle:
            continue  # values that no style can name, such as whole pages of text
    return single_style(layer, title=title)


def single_style(layer: StyledLayer, *, title: str, colour: Color = _SINGLE) -> Style:
    """Return a style that draws all features alike."""
    rule = {"name": title, "selector": _is_vector(), "symbolizer": Symbol(layer.dimensions).of(colour)}
    return Style.of({"metadata": {"title": title}, "stylingRules": [rule]})


def style_of_classes(
    classes: Classes, layer: StyledLayer, *, title: str, ramp: str | None = None, reverse: bool = False
) -> Style:
    """Return a style that gives each class a colour of a ramp, and what is in none of them grey.

    Args:
        classes: The classes of one attribute.
        layer: The layer.
        title: Title of the style.
        ramp: One of `geoetl.styles.ramps.RAMPS`; left out, the usual one for the kind of classes.
        reverse: Whether high values have the colours of the low end.

    Raises:
        NotFound: There is no such ramp.
        InvalidParameter: The ramp has not so many colours.
    """
    symbol = Symbol(layer.dimensions)
    own = [one for one in classes.classes if one.value is not None or classes.is_ordered]
    usual = symbol.ordered_ramp if classes.is_ordered else DEFAULT_RAMPS["qualitative"]
    chosen = RAMPS[ramp or usual]
    colours = chosen.colours(len(own), reverse=reverse, least_contrast=symbol.least_contrast) if own else ()
    nested = [
        {"name": one.label, "selector": one.condition, "symbolizer": symbol.altered(colour)}
        for one, colour in zip(own, colours, strict=True)
    ]
    others = [one for one in classes.classes if one not in own]
    nested += [{"name": one.label, "selector": one.condition, "symbolizer": symbol.altered(_OTHER)} for one in others]
    base = {"name": NO_DATA, "selector": _is_vector(), "symbolizer": symbol.of(symbol.grey), "nestedRules": nested}
    return Style.of({"metadata": {"title": title, "description": _told(classes)}, "stylingRules": [base]})


def _told(classes: Classes) -> str:
    ways = {
        "categories": "its most frequent values",
        "quantiles": "quantiles: classes of about equally many features",
        "equal": "equal intervals",
        "jenks": "Fisher-Jenks",
        "natural": "natural breaks",
        "manual": "limits that were given",
    }
    return f"By {classes.attribute}: {ways[classes.method]}."


def iucn_attribute(layer: StyledLayer) -> str | None:
    """Return the attribute with the IUCN category of protected areas (WDPA, old and new schema), if there is one."""
    return next((name for name in layer.properties if name.lower() == "iucn_cat"), None)


def wdpa_style(layer: StyledLayer, attribute: str, *, title: str) -> Style:
    """Return the style of protected areas: a colour for each IUCN category, grey for what has none."""
    symbol = Symbol(layer.dimensions)
    colours = RAMPS[symbol.ordered_ramp].colours(len(IUCN_CATEGORIES), least_contrast=symbol.least_contrast)
    nested = [
        {
            "name": label,
            "selector": {"op": "=", "args": [{"property": attribute}, category]},
            "symbolizer": symbol.altered(colour),
        }
        for (category, label), colour in zip(IUCN_CATEGORIES.items(), colours, strict=True)
    ]
    base = {
        "name": OTHER_CATEGORY,
        "selector": _is_vector(),
        "symbolizer": symbol.of(symbol.grey),
        "nestedRules": nested,
    }
    metadata = {"title": title, "description": f"By {attribute}: IUCN management categories.", "keywords": ["wdpa"]}
    return Style.of({"metadata": metadata, "stylingRules": [base]})


def _is_vector() -> dict[str, Any]:
    return {"op": "=", "args": [{"sysId": "dataLayer.type"}, "vector"]}


# -- which attribute ---------------------------------------------------------------------------------------------------


def _candidates(layer: StyledLayer) -> list[str]:
    """Return the attributes worth a look, the likeliest first."""
    ranked = []
    for position, (name, kind) in enumerate(layer.properties.items()):
        words = [word.lower() for word in _WORD.findall(name)]
        if kind == "time" or not words or _KEY_WORDS.intersection(words):
            continue
        known = _CATEGORY_WORDS if kind in ("text", "boolean") else _NUMBER_WORDS
        places = [known.index(word) for word in words if word in known]
        # Categories by name, numbers by name, then whatever else there is.
        group = (0 if kind != "number" else 1) if places else (2 if kind != "number" else 3)
        ranked.append((group, min(places, default=0), position, name))
    return [name for *_, name in sorted(ranked)]


def _tried(values: Iterable[Any], name: str, layer: StyledLayer) -> Classes | None:
    """Return the classes of an attribute; None where they show nothing."""
    kind = layer.properties[name]
    symbol = Symbol(layer.dimensions)
    try:
        if kind == "number":
            classes = classify(values, name, "quantiles")
        else:
            classes = classify(values, name, "categories", k=_most_categories(symbol))
    except InvalidParameter:
        return None
    known = classes.rows - classes.missing
    if classes.rows < MIN_ROWS or known < classes.rows * MIN_KNOWN or len(classes.classes) < 2:
        return None
    return classes if _shows(classes.classes, known, is_number=kind == "number") else None


def _most_categories(symbol: Symbol) -> int:
    return len(RAMPS[DEFAULT_RAMPS["qualitative"]].all_colours(symbol.least_contrast)) - 1


def _shows(classes: tuple[Class, ...], known: int, *, is_number: bool) -> bool:
    if is_number:
        return len(classes) >= 3
    # Where most are "other", or hardly two are alike, it is a name and no category.
    other = sum(one.count for one in classes if one.value is None)
    return other <= known / 4 and known >= 2 * len(classes)
