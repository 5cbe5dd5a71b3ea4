"""SLD 1.1: a style as XML for map servers, with filters that select what is true.

Every rule of SLD that matches is drawn, none overrides another.  So the rules of a style become cases of which exactly
one holds for a feature (see `disjoint`), each with all that is drawn of it; what lies higher stands in a later
FeatureTypeStyle.  Scales are denominators with pixels of 0.28 mm in both.

Characters that XML cannot hold are replaced in names, and make a condition that never matches.

Sources: OGC 05-078r4 (SLD 1.1), OGC 05-077r4 (Symbology Encoding 1.1), OGC 04-095 (Filter Encoding 1.1).
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from geoetl.styles.cascade import Cascade, FlatRule, Loss, flatten
from geoetl.styles.coverage import CoverageSymbol, coverage_symbol
from geoetl.styles.encoders.disjoint import MAX_CASES, Atoms, Case, Facts, atoms_of, cases_of
from geoetl.styles.encoders.filter_encoding import (
    OGC,
    Filters,
    Inexpressible,
    Part,
    all_of,
    any_of,
    as_xml,
    element,
    is_name,
    is_xml,
)
from geoetl.styles.encoders.markup import Xml, escaped, in_lines, written
from geoetl.styles.encoders.protocol import Encoded
from geoetl.styles.encoders.views import Edge, Spanning, View, spanning, views_of
from geoetl.styles.layer import LayerKind, StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.symbol import FillSymbol, FontSymbol, GraphicSymbol, LineSymbol, StrokeSymbol, Symbol, symbol_of
from geoetl.styles.values import UNSET, Color, GroundLength

_NAMESPACES: Mapping[str, str] = {
    "version": "1.1.0",
    "xmlns": "http://www.opengis.net/sld",
    "xmlns:se": "http://www.opengis.net/se",
    "xmlns:ogc": OGC,
    "xmlns:xlink": "http://www.w3.org/1999/xlink",
}
# RFC 3986, appendix A, and RFC 3987: what stands in no address, escaped or not.
_NOT_URI = re.compile(r'[\s<>"{}|\\^`]')
# What geometries of so many dimensions have nothing of.
_UNSEEN: Mapping[Any, tuple[str, ...]] = {0: ("fill", "stroke"), 1: ("fill",)}
# Types of values that are the same for every feature.
_FIXED = (Color, float, bool, int, str, tuple)
# What SLD draws as it is, as long as it is the same for every feature.
_DRAWN = frozenset(
    {"visibility", "opacity", "zOrder", "fill.color", "fill.opacity", "stroke.color", "stroke.opacity", "stroke.width"}
)
_PLAIN_VALUES = (Color, float, bool)
_ACROSS: Mapping[str, float] = {"left": 0.0, "center": 0.5, "right": 1.0}
_DOWN: Mapping[str, float] = {"bottom": 0.0, "middle": 0.5, "top": 1.0}


@dataclass(frozen=True)
class Sld:
    """Writes Styled Layer Descriptors."""

    name: str = "sld"
    title: str = "SLD 1.1"
    media_type: str = "application/vnd.ogc.sld+xml;version=1.1"
    specification: str = "https://www.ogc.org/standards/sld/"
    extension: str = "sld"
    kinds: Sequence[LayerKind] = ("vector", "coverage")

    def encode(self, style: Style, layer: StyledLayer) -> Encoded:
        """Return the document of one layer: one NamedLayer with one UserStyle, or with none where nothing is drawn."""
        if layer.kind == "coverage":
            styles, losses = _coverage(style, layer)
        else:
            styles, losses = _vector(flatten(style, layer), layer)
        return Encoded(self.name, self.media_type, self.extension, _document(style, layer, styles), losses)


def _document(style: Style, layer: StyledLayer, styles: Sequence[Xml]) -> str:
    users = []
    if styles:
        title, abstract = style.title or layer.id, style.description
        about = [_se("Title", text=as_xml(title)), *([_se("Abstract", text=as_xml(abstract))] if abstract else [])]
        users = [in_lines("UserStyle", _se("Name", text=as_xml(title)), _se("Description", *about), *styles)]
    named = in_lines("NamedLayer", _se("Name", text=as_xml(layer.id)), *users)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{in_lines("StyledLayerDescriptor", named, attributes=_NAMESPACES)}'


def _se(tag: str, /, *children: Xml, text: str = "", **attributes: str) -> Xml:
    if text or attributes:
        return written(f"se:{tag}", *children, text=text, attributes=attributes)
    return Xml(f"<se:{tag}>{''.join(children)}</se:{tag}>")


# -- vectors ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rule:
    """A case with what is drawn of its features.

    Attributes:
        name: For people.
        symbol: What is drawn.
        filter: Of which features; None of all.
        case: What holds for them.
    """

    name: str
    symbol: Symbol
    filter: Xml | None
    case: Case

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Rule) or self.name != other.name or self.symbol != other.symbol:
            return False
        # Views are split and written each by itself; what is the same in two of them has the same conditions.
        return self.case.conditions() == other.case.conditions()

    __hash__ = None  # type: ignore[assignment]


def _vector(cascade: Cascade, layer: StyledLayer) -> tuple[list[Xml], tuple[Loss, ...]]:
    losses, views, writer = list(cascade.losses), views_of(cascade), _Conditions(Filters(layer.properties))
    if layer.dimensions is None:
        losses.append(
            Loss("/stylingRules", "SLD cannot tell geometries of several kinds apart; all are drawn as areas")
        )
    each = [_rules_of(view.rules, cascade, layer, writer, losses) for view in views]
    drawn: dict[float, list[Xml]] = {}
    for span in spanning(each):
        symbolizers = list(_symbolizers(span.rule.symbol, layer))
        if symbolizers:
            drawn.setdefault(span.rule.symbol.z_order, []).append(_rule(span, views, symbolizers))
    return [in_lines("se:FeatureTypeStyle", *drawn[order]) for order in sorted(drawn)], tuple(dict.fromkeys(losses))


def _rule(span: Spanning[_Rule], views: Sequence[View], symbolizers: Sequence[Xml]) -> Xml:
    name = as_xml(span.rule.name)
    parts = [_se("Name", text=name), _se("Description", _se("Title", text=name))] if name else []
    if span.rule.filter is not None:
        parts.append(element("Filter", span.rule.filter))
    return in_lines("se:Rule", *parts, *_scales(span, views), *symbolizers)


def _scales(span: Spanning[Any], views: Sequence[View]) -> list[Xml]:
    """Return the scales between which a rule holds; the least denominator belongs to them, the greatest does not."""
    least, most = _scale(views[span.last].close, is_close=True), _scale(views[span.first].far, is_close=False)
    ends = (("Min", least), ("Max", most))
    return [_se(f"{name}ScaleDenominator", text=_number(scale)) for name, scale in ends if scale is not None]


def _scale(edge: Edge | None, *, is_close: bool) -> float | None:
    """Return a denominator that ends a view: the least that belongs to it, or the least that does not any more."""
    if edge is None:
        return None
    return edge.scale if edge.is_inside == is_close else math.nextafter(edge.scale, math.inf)


@dataclass
class _Conditions:
    """Writes conditions, each once.

    Attributes:
        filters: What writes them.
        known: What selects the features of which a condition is true, and those of which it is not, by its text.
        refused: What selects the features of which not all of some conditions are true.
    """

    filters: Filters
    known: dict[str, tuple[Part, Part]] = field(default_factory=dict)
    refused: "_Refused" = field(init=False)

    def __post_init__(self) -> None:
        self.refused = _Refused(self.known)

    def check(self, atoms: Atoms) -> str | None:
        """Return why conditions cannot be written; None where they can."""
        try:
            for text, atom in atoms.items():
                if text not in self.known:
                    self.known[text] = self.filters.select(atom, "true"), self.filters.select(atom, "not true")
        except Inexpressible as reason:
            return str(reason)
        return None

    def of(self, case: Case) -> Part:
        """Return what selects the features of a case, whose conditions are checked."""
        true = [self.known[text][0] for text in case.true.atoms]
        return all_of(true + [self.refused[other] for other in case.others])


class _Refused(dict[Facts, Part]):
    """What selects the features of which not all of some conditions are true, written when it is first asked for."""

    def __init__(self, known: Mapping[str, tuple[Part, Part]]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, facts: Facts) -> Part:
        self[facts] = part = any_of([self._known[text][1] for text in facts.atoms])
        return part


def _rules_of(
    rules: Sequence[FlatRule], cascade: Cascade, layer: StyledLayer, writer: _Conditions, losses: list[Loss]
) -> list[_Rule]:
    """Return the cases at one scale of which something is drawn."""
    conditions = [(rule, atoms_of(rule.condition)) for rule in rules]
    possible = [(rule, atoms) for rule, atoms in conditions if _is_kept(rule, atoms, writer, losses)]
    kept = [rule for rule, _ in possible]
    changes = [_changes(rule, layer, losses) for rule in kept]
    texts = [name for name, kind in layer.properties.items() if kind == "text"]
    cases, too_many = cases_of([atoms for _, atoms in possible], changes, texts)
    losses += [
        Loss(kept[number].pointer, f"with it there would be more than {MAX_CASES} cases of SLD; the rule never matches")
        for number in too_many
    ]
    made = []
    for case in cases:
        values = dict(cascade.initial)
        for number in case.rules:
            values |= changes[number]
        condition = writer.of(case)
        if condition is not False and values.get("visibility", True) is True:
            name = next((kept[number].name for number in reversed(case.rules) if kept[number].name), "")
            written_as = None if isinstance(condition, bool) else condition.xml
            made.append(_Rule(name, symbol_of(values), written_as, case))
    return made


def _is_kept(rule: FlatRule, atoms: Atoms, writer: _Conditions, losses: list[Loss]) -> bool:
    """Tell whether a rule can be written, and note what is lost with its condition."""
    reason = writer.check(atoms)
    if reason is not None:
        losses.append(Loss(rule.pointer, f"{reason}; the rule never matches"))
        return False
    names = sorted({name for atom in atoms.values() for name in writer.filters.untyped(atom)})
    losses += [
        Loss(rule.pointer, f"the kind of '{name}' is not known, and literals of SLD have none: '1' equals 1 in it")
        for name in names
    ]
    return True


def _changes(rule: FlatRule, layer: StyledLayer, losses: list[Loss]) -> dict[str, Any]:
    """Return what SLD can do of the changes of a rule, and note what it cannot."""
    changes = {}
    for path, value in rule.changes.items():
        reason = _not_drawn(path, value, layer)
        if reason is None:
            changes[path] = value
        else:
            member = "label" if path == "placement" else path.partition(".")[0]
            losses.append(Loss(f"{rule.pointer}/symbolizer/{member}", reason))
    return changes


def _not_drawn(path: str, value: Any, layer: StyledLayer) -> str | None:
    """Return why SLD cannot do what a change asks for; None where it can, or where nothing is lost."""
    if path in _DRAWN and type(value) in _PLAIN_VALUES:
        return None
    member, _, rest = path.partition(".")
    part = rest.rpartition(".")[2]
    if value is UNSET or not _is_of(member, layer):
        return None
    if path == "placement":
        return "SLD 1.1 has no priority or spacing of labels"
    if rest in ("pattern", "hatch", "dotpattern", "stipple"):
        return "patterns are not written as SLD; the colour is drawn without"
    if part in ("hotSpot", "tint", "blackTint", "alphaThreshold"):
        return f"SLD has no {part} of pictures; they are drawn as they are"
    if part == "underline":
        return "SLD does not underline" if value else None
    if part == "image":
        return None if _address(value) else "a picture without an address of http or https is not written"
    if part == "text" and isinstance(value, Mapping):
        return None if is_name(value.get("property")) else "a text of an expression is not written; only of a property"
    if isinstance(value, str) and not is_xml(value):
        return "a text holds a character that XML does not allow"
    if isinstance(value, GroundLength) or (
        isinstance(value, tuple) and any(isinstance(one, GroundLength) for one in value)
    ):
        return "lengths on the ground are not written as SLD; what was before stays"
    if isinstance(value, tuple) and not all(isinstance(one, float | str) for one in value):
        return "places that depend on properties are not written as SLD; what was before stays"
    if not isinstance(value, _FIXED):
        return "values that depend on properties are not written as SLD; what was before stays"
    return None


def _is_of(member: str, layer: StyledLayer) -> bool:
    """Tell whether the geometries of a layer have what a member of a symbolizer is about."""
    return member not in _UNSEEN.get(layer.dimensions, ())


# -- symbolizers -----------------------------------------------------------------------------------------------------


def _symbolizers(symbol: Symbol, layer: StyledLayer) -> Iterator[Xml]:
    """Return what is drawn of a feature, the lowest first."""
    share = symbol.opacity
    if layer.dimensions != 0:
        stroke = symbol.stroke if symbol.stroke is not None and symbol.stroke.width > 0 else None
        lines = list(_lines(stroke, share)) if stroke is not None else []
        fill = symbol.fill if layer.dimensions != 1 else None
        if fill is not None and fill.opacity * share > 0:
            edge = [_stroke(lines.pop(), share)] if len(lines) == 1 else []
            yield _se("PolygonSymbolizer", _fill(fill, share), *edge)
        for line in lines:
            yield _se("LineSymbolizer", _stroke(line, share))
    # The dot that mixed geometries have from the start is for points; of an area it would be in the middle.
    for graphic in (*(symbol.markers if layer.dimensions is not None else ()), *symbol.labels):
        yield from _graphic(graphic, share)


def _lines(stroke: StrokeSymbol, share: float) -> Iterator[LineSymbol]:
    """Return what is seen of a line, with what lies under and over it."""
    casing, center = stroke.casing, stroke.center_line
    if casing is not None and casing.width > 0:
        yield LineSymbol(casing.color, stroke.width + 2 * casing.width, casing.opacity)
    if stroke.opacity * share > 0:
        yield stroke
    if center is not None and center.width > 0:
        yield center


def _fill(fill: FillSymbol, share: float) -> Xml:
    return _se("Fill", *_parameters({"fill": fill.color.hex, "fill-opacity": _share(fill.opacity * share)}))


def _stroke(line: LineSymbol, share: float) -> Xml:
    named = {
        "stroke": line.color.hex,
        "stroke-opacity": _share(line.opacity * share),
        "stroke-width": _number(line.width),
    }
    if isinstance(line, StrokeSymbol):
        # These are as in SVG where they are not given: mitre and butt.
        if line.join != "miter":
            named["stroke-linejoin"] = line.join
        if line.cap != "butt":
            named["stroke-linecap"] = line.cap
        if any(line.dashes):
            named["stroke-dasharray"] = " ".join(map(_number, line.dashes))
    return _se("Stroke", *_parameters(named))


def _graphic(graphic: GraphicSymbol, share: float) -> Iterator[Xml]:
    share = share * graphic.opacity
    if share == 0:
        return
    if graphic.type == "Dot" and graphic.size > 0 and graphic.color is not None:
        edge = [_stroke(graphic.outline, share)] if graphic.outline is not None and graphic.outline.width > 0 else []
        mark = _se("Mark", _se("WellKnownName", text="circle"), _fill(FillSymbol(graphic.color, 1.0), share), *edge)
        yield _point(graphic, mark, _se("Size", text=_number(graphic.size)))
    elif graphic.type == "Image":
        image = dict(graphic.image)
        address = _address(image)
        if address:
            link = written("se:OnlineResource", attributes={"xlink:type": "simple", "xlink:href": address})
            picture = _se("ExternalGraphic", link, _se("Format", text=_format(image)))
            yield _point(graphic, picture, _se("Opacity", text=_share(share)))
    elif graphic.type == "Text" and graphic.text and graphic.font is not None:
        yield _text(graphic, graphic.font, share)


def _point(graphic: GraphicSymbol, *parts: Xml) -> Xml:
    return _se("PointSymbolizer", _se("Graphic", *parts, *_displacement(graphic)))


def _displacement(graphic: GraphicSymbol) -> list[Xml]:
    """Return how far a graphic is moved; in SLD to the right and up."""
    if graphic.position == (0.0, 0.0):
        return []
    across, down = graphic.position
    x, y = _se("DisplacementX", text=_number(across)), _se("DisplacementY", text=_number(-down))
    return [_se("Displacement", x, y)]


def _text(graphic: GraphicSymbol, font: FontSymbol, share: float) -> Xml:
    text: Any = graphic.text
    label = (
        _se("Label", element("PropertyName", text=text["property"]))
        if isinstance(text, Mapping)
        else _se("Label", text=text)
    )
    letters = {
        "font-family": escaped(font.face),
        "font-size": _number(font.size),
        "font-style": "italic" if font.italic else "normal",
        "font-weight": "bold" if font.bold else "normal",
    }
    across, down = graphic.alignment
    anchor = _se(
        "AnchorPoint",
        _se("AnchorPointX", text=_number(_ACROSS[across])),
        _se("AnchorPointY", text=_number(_DOWN[down])),
    )
    placement = _se("LabelPlacement", _se("PointPlacement", anchor, *_displacement(graphic)))
    halo = []
    if font.outline is not None and font.outline.width > 0:
        around = _fill(FillSymbol(font.outline.color, font.outline.opacity), share)
        halo = [_se("Halo", _se("Radius", text=_number(font.outline.width)), around)]
    ink = _fill(FillSymbol(font.color, font.opacity), share)
    return _se("TextSymbolizer", label, _se("Font", *_parameters(letters)), placement, *halo, ink)


def _parameters(named: Mapping[str, str]) -> Iterable[Xml]:
    """Return parameters, whose values are numbers, colours, or escaped."""
    return [Xml(f'<se:SvgParameter name="{name}">{value}</se:SvgParameter>') for name, value in named.items()]


def _share(number: float) -> str:
    return _number(round(number, 6))


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 2**53 else repr(float(number))


def _address(image: Mapping[str, Any]) -> str | None:
    """Return where a picture is, as far as a server may be asked to fetch it: by http, https, or beside the style."""
    address = image.get("uri") or image.get("path")
    if not isinstance(address, str) or not is_xml(address) or _NOT_URI.search(address):
        return None
    try:
        scheme = urlsplit(address).scheme
    except ValueError:
        return None
    return address if scheme in ("http", "https", "") else None


def _format(image: Mapping[str, Any]) -> str:
    named = image.get("type")
    return as_xml(named) if isinstance(named, str) and "/" in named else "image/png"


# -- coverages -------------------------------------------------------------------------------------------------------


def _coverage(style: Style, layer: StyledLayer) -> tuple[list[Xml], tuple[Loss, ...]]:
    views = views_of(flatten(style, layer))
    losses: dict[Loss, None] = {}
    rules = []
    symbols = [coverage_symbol(style, layer, view.denominator) for view in views]
    for symbol in symbols:
        losses |= dict.fromkeys((*symbol.losses, *_losses(symbol)))
    each = [[replace(symbol, losses=())] if symbol.visible else [] for symbol in symbols]
    for span in spanning(each):
        drawn = _raster(span.rule)
        if drawn is not None:
            rules.append(in_lines("se:Rule", *_scales(span, views), drawn))
    # A CoverageStyle would be the word of the standard, but QGIS and GeoServer look for a FeatureTypeStyle.
    return [in_lines("se:FeatureTypeStyle", *rules)] if rules else [], tuple(losses)


def _losses(symbol: CoverageSymbol) -> list[Loss]:
    """Return what SLD cannot do of how a coverage is drawn."""
    reasons = []
    if isinstance(symbol.channel, Mapping) and "property" not in symbol.channel:
        reasons.append("SLD has no arithmetic on bands; the coverage is not drawn")
    if symbol.channels is not None:
        reasons.append("SLD 1.1 does not say from which to which value a channel runs")
    if len({rgba[3] for _, rgba, _ in symbol.stops}) > 1:
        reasons.append("colours of an SLD have no opacity of their own; the least of them all is taken")
    names = [symbol.channel.get("property")] if isinstance(symbol.channel, Mapping) else []
    names += [one.name for one in symbol.channels or ()]
    if not all(name is None or is_xml(name) for name in names):
        reasons.append("the name of a band holds a character that XML does not allow; the coverage is not drawn")
    return [Loss("/stylingRules", reason) for reason in reasons]


def _raster(symbol: CoverageSymbol) -> Xml | None:
    """Return how a coverage is drawn; None where SLD has no words for it."""
    channels: list[Xml] = []
    colors: tuple[str, ...] = ("Gray",)
    if symbol.channels is not None:
        names = [one.name for one in symbol.channels]
        colors = ("Red", "Green", "Blue")
    else:
        if isinstance(symbol.channel, Mapping) and "property" not in symbol.channel:
            return None
        names = [symbol.channel["property"]] if isinstance(symbol.channel, Mapping) else []
    if not all(map(is_xml, names)):
        return None
    if names:
        selected = [
            _se(f"{color}Channel", _se("SourceChannelName", text=name))
            for color, name in zip(colors, names, strict=True)
        ]
        channels = [_se("ChannelSelection", *selected)]
    opacity = min((rgba[3] / 255 for _, rgba, _ in symbol.stops), default=symbol.opacity)
    colours = [_se("ColorMap", _color_map(symbol))] if symbol.stops else []
    return _se("RasterSymbolizer", _se("Opacity", text=_share(opacity)), *channels, *colours)


def _color_map(symbol: CoverageSymbol) -> Xml:
    """Return the colours of values: steps where there are only such, else what runs from stop to stop."""
    stops = [(value, Color.of_parts(*rgba[:3]).hex) for value, rgba, _ in symbol.stops]
    looked_up = _se("LookupValue", text="Rasterdata")
    pairs = list(pairwise(stops))
    if pairs and all(low == high or first == second for (low, first), (high, second) in pairs):
        steps = [(value, color) for (low, _), (value, color) in pairs if low == value]
        parts = [_se("Value", text=stops[0][1])]
        for value, color in steps:
            parts += [_se("Threshold", text=_number(value)), _se("Value", text=color)]
        # The attribute is spelled so in the schema.
        return _se("Categorize", looked_up, *parts, fallbackValue=stops[0][1], threshholdsBelongTo="succeeding")
    points = [
        _se("InterpolationPoint", _se("Data", text=_number(value)), _se("Value", text=color)) for value, color in stops
    ]
    return _se("Interpolate", looked_up, *points, fallbackValue=stops[0][1], mode="linear", method="color")
