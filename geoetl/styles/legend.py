"""Legends out of canonical styles: each rule as it is drawn, or the colours of a coverage from end to end.

One model gives JSON, SVG, PNG and the view in a notebook.  What an entry shows is what the rules make of a feature that
its rule is about: every rule whose conditions are among those of the entry's own, in their order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geoetl.core.findings import Finding
from geoetl.core.identifiers import canonical_json
from geoetl.core.selectors import Tree, conjuncts
from geoetl.styles.cascade import FlatRule, Loss, flatten
from geoetl.styles.coverage import CoverageSymbol, coverage_symbol
from geoetl.styles.drawing import (
    FONT_SIZE,
    Band,
    Box,
    Disc,
    Drawing,
    Ink,
    Line,
    Pen,
    Shape,
    Words,
    width_of,
)
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.numbers import number_text, readable
from geoetl.styles.ramps import MIN_GRAPHIC_CONTRAST, WHITE, check_colours, check_contrast, over
from geoetl.styles.values import UNSET, Color

# More lines than fit on a screen or a page; the last says how many are left out.
MAX_ENTRIES = 60
MAX_LABEL = 60
# Where along a gradient numbers stand.
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SWATCH_WIDTH, _SWATCH_HEIGHT, _ROW, _MARGIN, _GAP = 30.0, 16.0, 22.0, 12.0, 10.0
_RAMP_WIDTH, _RAMP_HEIGHT = 240.0, 14.0
# Of a road of 40 pixels a legend shows that it is wide, and nothing beside it.
_WIDEST, _LARGEST = 10.0, 8.0
_TITLE_SIZE, _SMALL = 13.0, 11.0


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend.

    Attributes:
        label: What it says.
        values: What is drawn by its path, such as ``fill.color``; see `geoetl.styles.cascade`.
        varies: What depends on the values of each feature, and is therefore not shown as it is.
    """

    label: str
    values: Mapping[str, Any]
    varies: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        symbol = {path: _json(value) for path, value in self.values.items() if path not in self.varies}
        return {"label": self.label, "symbol": symbol, **({"varies": list(self.varies)} if self.varies else {})}

    @property
    def colour(self) -> Color | None:
        """The colour by which it is told from the others, as it lies on white."""
        for kind in ("fill", *sorted(path[: -len(".color")] for path in self.values if path.startswith("marker."))):
            colour = self.values.get(f"{kind}.color")
            if isinstance(colour, Color):
                return over(colour, self._opacity(kind))
        colour = self.values.get("stroke.color")
        return over(colour, self._opacity("stroke")) if isinstance(colour, Color) else None

    def _opacity(self, kind: str) -> float:
        return _number(self.values, f"{kind}.opacity", 1.0) * _number(self.values, "opacity", 1.0)


@dataclass(frozen=True)
class LegendRamp:
    """The colours of values that run on between stops.

    Attributes:
        stops: Value, colour and opacity (0 to 1), ascending; two at one value are a step.
        ticks: Values that are written, with their texts.
    """

    stops: tuple[tuple[float, Color, float], ...]
    ticks: tuple[tuple[float, str], ...]

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "stops": [
                {"value": value, "color": colour.hex, **({"opacity": opacity} if opacity < 1 else {})}
                for value, colour, opacity in self.stops
            ],
            "ticks": [{"value": value, "label": label} for value, label in self.ticks],
        }


@dataclass(frozen=True)
class Legend:
    """What a style means.

    Attributes:
        title: Of the style, else the layer's id.
        units: Units of the values, where they are known.
        entries: Its lines; none of a ramp.
        ramp: The colours of a coverage; None of everything else.
        losses: What of the style is in no legend.
    """

    title: str
    units: str | None
    entries: tuple[LegendEntry, ...] = ()
    ramp: LegendRamp | None = None
    losses: tuple[Loss, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        shown = {"ramp": self.ramp.document()} if self.ramp else {"entries": [one.document() for one in self.entries]}
        return {"title": self.title, "units": self.units, **shown}

    def svg(self) -> str:
        """Return it as SVG; every text is escaped."""
        return self._drawing().svg()

    def png(self, scale: float = 1.0) -> bytes:
        """Return it as PNG, `scale` times as large.

        Raises:
            InvalidParameter: The scale is not between 0.5 and 8.
        """
        return self._drawing().png(scale)

    def findings(self, background: Color = WHITE) -> tuple[Finding, ...]:
        """Return which of its lines cannot be told apart, or from what they lie on."""
        colours = {one.label: one.colour for one in self.entries}
        known = {label: colour for label, colour in colours.items() if colour is not None}
        found = list(check_colours(known, background=background, is_ordered=False)) if len(known) > 1 else []
        for one in self.entries:
            is_thin = not any(path.startswith("fill.") for path in one.values)
            if is_thin and one.colour is not None:
                found += check_contrast(one.label, one.colour, background=background, least=MIN_GRAPHIC_CONTRAST)
        return tuple(found)

    def _repr_html_(self) -> str:
        return self.svg()

    def _drawing(self) -> Drawing:
        title = _cut(self.title)
        shapes: list[Shape] = [Words(_MARGIN, _MARGIN + 6, title, _TITLE_SIZE, bold=True)]
        width, y = width_of(title, _TITLE_SIZE) * 1.05, _MARGIN + _ROW
        if self.units and (self.ramp is not None or not self.entries):
            shapes.append(Words(_MARGIN, y, _cut(self.units), _SMALL))
            width, y = max(width, width_of(_cut(self.units), _SMALL)), y + _ROW - 4
        if self.ramp is not None:
            drawn, used = _ramp_shapes(self.ramp, y)
            shapes += drawn
            width, y = max(width, used), y + _RAMP_HEIGHT + _ROW
        labels = [_cut(one.label) for one in self.entries[:MAX_ENTRIES]]
        for one, label in zip(self.entries, labels, strict=False):
            middle = y + _SWATCH_HEIGHT / 2
            shapes += _swatch(one, middle)
            shapes.append(Words(_MARGIN + _SWATCH_WIDTH + _GAP, middle, label))
            width, y = max(width, _SWATCH_WIDTH + _GAP + width_of(label)), y + _ROW
        if (left_out := len(self.entries) - MAX_ENTRIES) > 0:
            shapes.append(Words(_MARGIN, y + _SWATCH_HEIGHT / 2, f"… and {left_out:,} more", _SMALL))
            y += _ROW
        return Drawing(round(width + 2 * _MARGIN + 1), round(y + _MARGIN / 2), tuple(shapes), self.title)


def legend_of(
    style: Style, layer: StyledLayer, *, denominator: float | None = None, units: str | None = None
) -> Legend:
    """Return the legend of a style.

    Args:
        style: The style.
        layer: What it is laid on.
        denominator: Of the scale; left out, that at which it has most lines, the largest scale first.
        units: Units of the values of a coverage, where they are known.
    """
    title = style.title or layer.id
    if layer.kind == "coverage":
        symbol = coverage_symbol(style, layer, denominator)
        return _of_coverage(symbol, title, units)
    cascade = flatten(style, layer)
    document = style.document()
    scales = [cascade.at(denominator)] if denominator else [interval.rules for interval in cascade.intervals()]
    listed = (_entries(_named(rules, document), cascade.initial, title) for rules in scales)
    return Legend(title, units, max(listed, key=len), losses=tuple(cascade.losses))


# -- entries -----------------------------------------------------------------------------------------------------------


def _named(rules: Sequence[FlatRule], document: Mapping[str, Any]) -> list[FlatRule]:
    """Return rules with the names that they have themselves, not those of the rules around them."""
    return [replace(rule, name=str(_at(document, rule.pointer).get("name") or "")) for rule in rules]


def _at(document: Any, pointer: str) -> Mapping[str, Any]:
    for key in pointer.split("/")[1:]:
        document = document[int(key)] if isinstance(document, list) else document.get(key)
    return document if isinstance(document, Mapping) else {}


def _entries(rules: Sequence[FlatRule], initial: Mapping[str, Any], title: str) -> tuple[LegendEntry, ...]:
    """Return a line for each rule that shows something: by its name, else by its condition."""
    # Rules of the same condition draw the same features together: they are one line, by the first name.
    names: dict[str, str] = {}
    conditions: dict[str, Tree] = {}
    for rule in rules:
        if rule.changes:
            key = canonical_json(rule.condition)
            conditions.setdefault(key, rule.condition)
            names[key] = names.get(key) or rule.name
    # What is drawn where no other rule holds comes last.
    listed = sorted((conditions or {"": True}).items(), key=lambda pair: pair[1] is True)
    index = _Index(rules)
    entries = []
    for key, condition in listed:
        values = _drawn(index.including(condition), initial)
        if _is_seen(values):
            label = names.get(key) or (title if condition is True else _words(condition))
            varies = tuple(path for path, value in values.items() if _depends(value))
            entries.append(LegendEntry(label, values, varies))
    return tuple(entries)


class _Index:
    """Finds rules by their conditions, without asking each rule for each line."""

    def __init__(self, rules: Sequence[FlatRule]) -> None:
        self._rules = rules
        self._parts = [_parts(rule.condition) for rule in rules]
        count = Counter(part for parts in self._parts for part in parts)
        # Each rule stands under the rarest part of its condition, as many may share what the rules around them say.
        self._by_part: dict[str, list[int]] = {}
        self._always: list[int] = []
        for number, parts in enumerate(self._parts):
            under = self._by_part.setdefault(min(parts, key=count.__getitem__), []) if parts else self._always
            under.append(number)

    def including(self, condition: Tree) -> list[FlatRule]:
        """Return the rules that hold wherever a condition is true, as each part of theirs is one of it, in order."""
        own = _parts(condition)
        found = [number for part in own for number in self._by_part.get(part, ()) if self._parts[number] <= own]
        return [self._rules[number] for number in sorted([*self._always, *found])]


def _parts(condition: Tree) -> frozenset[str]:
    """Return the conditions that a condition joins by ``and``, as texts."""
    return frozenset(canonical_json(part) for part in conjuncts(condition) if part is not True)


def _drawn(rules: Sequence[FlatRule], initial: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is drawn where all these rules hold."""
    values = dict(initial)
    for rule in rules:
        values.update(rule.changes)
    return {path: value for path, value in values.items() if value is not UNSET}


def _is_seen(values: Mapping[str, Any]) -> bool:
    if values.get("visibility") is False or values.get("opacity") == 0:
        return False
    return any(path.endswith((".color", ".text", ".image")) for path in values)


def _depends(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        not isinstance(value, Color | str | tuple | list | int | float) and value is not None
    )


def _words(condition: Tree) -> str:
    """Return a condition as a person would say it."""
    if not isinstance(condition, Mapping):
        return str(condition)
    if "property" in condition:
        return str(condition["property"])
    operator, arguments = str(condition.get("op", "")), condition.get("args", ())
    said = [_said(argument) for argument in arguments]
    match operator, said:
        case (("and" | "or"), _):
            return f" {operator} ".join(said)
        case "not", [inner]:
            return f"not {inner}"
        case "isNull", [inner]:
            return f"{inner} is missing"
        case "between", [inner, low, high]:
            return f"{inner} between {low} and {high}"
        case (("=" | "<>" | "<" | "<=" | ">" | ">=" | "in" | "like"), [left, right]):
            return f"{left} {operator} {right}"
    return f"{operator}({', '.join(said)})"


def _said(argument: Any) -> str:
    if isinstance(argument, Mapping):
        return _words(argument)
    if isinstance(argument, list | tuple):
        return ", ".join(_said(one) for one in argument)
    if isinstance(argument, bool) or argument is None:
        return "yes" if argument else "no"
    return number_text(argument) if isinstance(argument, int | float) else str(argument)


# -- coverages ---------------------------------------------------------------------------------------------------------


def _of_coverage(symbol: CoverageSymbol, title: str, units: str | None) -> Legend:
    if not symbol.visible or not symbol.stops:
        return Legend(title, units, losses=symbol.losses)
    stops = [(value, Color.of_parts(*rgba[:3]), rgba[3] / 255, name) for value, rgba, name in symbol.stops]
    is_stepped = (
        len(stops) > 2
        and len(stops) % 2 == 0
        and all(a[1:3] == b[1:3] for a, b in zip(stops[::2], stops[1::2], strict=True))
    )
    if symbol.has_classes or all(name for *_, name in stops):
        listed = [(name, colour, opacity) for _, colour, opacity, name in stops if name]
    elif is_stepped:
        texts = readable([value for value, *_ in stops])
        listed = [(stops[at][3] or f"{texts[at]} – {texts[at + 1]}", *stops[at][1:3]) for at in range(0, len(stops), 2)]
    else:
        low, high = stops[0][0], stops[-1][0]
        shown = [low * (1 - share) + high * share for share in _SHARES] if low < high else [low]
        named = tuple((value, name) for value, *_, name in stops if name)
        ticks = named or tuple(zip(shown, readable(shown), strict=True))
        return Legend(title, units, ramp=LegendRamp(tuple(stop[:3] for stop in stops), ticks), losses=symbol.losses)
    entries = (
        LegendEntry(
            f"{label} {units}" if units and is_stepped else label, {"fill.color": colour, "fill.opacity": opacity}
        )
        for label, colour, opacity in listed
    )
    return Legend(title, units, tuple(entries), losses=symbol.losses)


# -- drawing -----------------------------------------------------------------------------------------------------------


def _swatch(entry: LegendEntry, y: float) -> list[Shape]:
    """Return what an entry shows, in the middle of its box."""
    values = entry.values
    share = _number(values, "opacity", 1.0)
    left, right, top = _MARGIN, _MARGIN + _SWATCH_WIDTH, y - _SWATCH_HEIGHT / 2
    shapes: list[Shape] = []
    fill, pens = _ink(values, "fill", share), _pens(values, "stroke", share)
    if fill is not None:
        edge = pens[-1] if pens else None
        shapes.append(Box(left + 1, top + 1, _SWATCH_WIDTH - 2, _SWATCH_HEIGHT - 2, fill, edge))
    else:
        shapes += [Line(((left, y), (right, y)), pen) for pen in pens]
    for index in _numbers_of(values, "marker"):
        shapes += _mark(values, f"marker.{index}", (left + right) / 2, y, share)
    for index in _numbers_of(values, "label"):
        shapes += _mark(values, f"label.{index}", (left + right) / 2, y, share)
    return shapes


def _mark(values: Mapping[str, Any], at: str, x: float, y: float, share: float) -> list[Shape]:
    kind = values.get(f"{at}.type", "Dot")
    share *= _number(values, f"{at}.opacity", 1.0)
    if kind == "Text":
        colour = values.get(f"{at}.font.color")
        size = min(_number(values, f"{at}.font.size", FONT_SIZE), FONT_SIZE + 2)
        ink = over(colour, share) if isinstance(colour, Color) else Color(0, 0, 0)
        return [Words(x, y, "Abc", size, bold=values.get(f"{at}.font.bold") is True, anchor="middle", colour=ink)]
    colour = values.get(f"{at}.color")
    if kind != "Dot" or not isinstance(colour, Color):
        # A picture from elsewhere is never fetched: its place is shown.
        return [Box(x - 6, y - 6, 12, 12, None, Pen(Color(119, 119, 119), 1.0, share, (2.0, 2.0)))]
    radius = min(_number(values, f"{at}.size", 10.0) / 2, _LARGEST)
    edge = _pens(values, f"{at}.outline", share) if isinstance(values.get(f"{at}.outline.color"), Color) else []
    return [Disc(x, y, radius, Ink(colour, share), edge[0] if edge else None)]


def _ink(values: Mapping[str, Any], kind: str, share: float) -> Ink | None:
    colour = values.get(f"{kind}.color")
    opacity = _number(values, f"{kind}.opacity", 1.0) * share
    return Ink(colour, opacity) if isinstance(colour, Color) and opacity > 0 else None


def _pens(values: Mapping[str, Any], kind: str, share: float) -> list[Pen]:
    """Return the pens of a line, the lowest first: its casing on both sides, itself, its centre line."""
    width = _number(values, f"{kind}.width", 1.0)
    casing = 2 * _number(values, f"{kind}.casing.width", 0.0)
    dashes = values.get(f"{kind}.dashPattern")
    found = []
    for at, wide in (("casing", width + casing), ("", width), ("centerLine", None)):
        path = f"{kind}.{at}" if at else kind
        colour = values.get(f"{path}.color")
        pixels = _number(values, f"{path}.width", 1.0) if wide is None else wide
        opacity = _number(values, f"{path}.opacity", 1.0) * share
        if isinstance(colour, Color) and pixels > 0 and opacity > 0:
            steps = tuple(map(float, dashes)) if not at and isinstance(dashes, list | tuple) else ()
            found.append(Pen(colour, min(pixels, _WIDEST), opacity, steps))
    return found


def _ramp_shapes(ramp: LegendRamp, y: float) -> tuple[list[Shape], float]:
    low, high = ramp.stops[0][0], ramp.stops[-1][0]
    span = high / 2 - low / 2
    places = [(value / 2 - low / 2) / span if span > 0 else 0.0 for value, *_ in ramp.stops]
    stops = tuple((place, colour, opacity) for place, (_, colour, opacity) in zip(places, ramp.stops, strict=True))
    shapes: list[Shape] = [Band(_MARGIN, y, _RAMP_WIDTH, _RAMP_HEIGHT, stops)]
    taken, widest = -1e9, _RAMP_WIDTH
    for value, label in ramp.ticks:
        place = (value / 2 - low / 2) / span if span > 0 else 0.5
        text, x = _cut(label), _MARGIN + place * _RAMP_WIDTH
        half = width_of(text, _SMALL) / 2
        centre = min(max(x, _MARGIN + half), _MARGIN + max(_RAMP_WIDTH - half, half))
        if centre - half < taken + 4:
            continue  # it would lie on the one before
        shapes.append(Line(((x, y + _RAMP_HEIGHT), (x, y + _RAMP_HEIGHT + 3)), Pen(Color(119, 119, 119))))
        shapes.append(Words(centre, y + _RAMP_HEIGHT + 12, text, _SMALL, anchor="middle"))
        taken, widest = centre + half, max(widest, centre + half - _MARGIN)
    return shapes, widest


def _numbers_of(values: Iterable[str], kind: str) -> list[int]:
    parts = (path.split(".") for path in values if path.startswith(f"{kind}."))
    return sorted({int(part[1]) for part in parts if part[1].isdecimal()})


def _number(values: Mapping[str, Any], path: str, otherwise: float) -> float:
    """Return a number; what depends on each feature, or on the scale, is shown as usual."""
    value = values.get(path)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _json(value: Any) -> Any:
    if isinstance(value, Color):
        return value.hex
    return list(value) if isinstance(value, tuple) else value


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LABEL else f"{line[: MAX_LABEL - 1]}…"
