"""What a symbolizer changes: values by the paths of what is drawn, such as ``stroke.width`` and ``marker.0.color``.

An object replaces the one before it, and what it leaves out goes back to its initial value; with ``"alter": true`` only
what it gives is changed.  ``{"index": 1, "value": …}`` does the same for one of several graphics.

Source: OGC 18-067r4 (draft) sections 7 (initial values), 8 (vector), 9 (coverage), 16 (JSON).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import degrees
from typing import Any

from geoetl.styles.conditions import SCALE, Condition, NotUnderstood, Resolver
from geoetl.styles.expressions import ARITHMETIC
from geoetl.styles.layer import StyledLayer
from geoetl.styles.values import (
    PIXELS_PER_POINT,
    UNITS,
    UNSET,
    Color,
    ColorStop,
    DataColor,
    GroundLength,
    HillShading,
    OpacityStop,
    length_of,
    scaled,
)

# More graphics in one marker are no symbol any more.
MAX_ELEMENTS = 32
# Choices (?:) in each other; each makes a rule.
MAX_CHOICES = 30
_NUMERIC = ARITHMETIC | {"%", "div"}
_BLACK, _WHITE = Color(0, 0, 0), Color(255, 255, 255)
_FILL: Mapping[str, Any] = {"color": _WHITE, "opacity": 1.0}
_STROKE: Mapping[str, Any] = {"color": _BLACK, "opacity": 1.0, "width": 1.0}
_GRAPHIC: Mapping[str, Any] = {"opacity": 1.0, "position": (0.0, 0.0)}
_DOT: Mapping[str, Any] = {"type": "Dot", **_GRAPHIC, "color": _WHITE, "size": 10.0}
# The draft gives fonts no initial values; these are those of its example, and of most that draw letters.
_FONT: Mapping[str, Any] = {
    "face": "Arial",
    "size": 12 * PIXELS_PER_POINT,
    "bold": False,
    "italic": False,
    "underline": False,
    "color": _BLACK,
    "opacity": 1.0,
}
_OUTLINE: Mapping[str, Any] = {"size": 1.0, "color": _WHITE, "opacity": 1.0}
_ELEMENTS: Mapping[str, Mapping[str, Any]] = {
    "Dot": _DOT,
    "Image": {"type": "Image", **_GRAPHIC, "image": UNSET},
    "Text": {
        "type": "Text",
        **_GRAPHIC,
        "text": UNSET,
        "alignment": ("center", "middle"),
        **{f"font.{name}": value for name, value in _FONT.items()},
    },
}
_CAPS, _JOINS = ("butt", "round", "square"), ("miter", "round", "bevel")
# Members of an object, and the methods that read them.
_FILL_PARTS = {
    "color": "color",
    "opacity": "share",
    **dict.fromkeys(("pattern", "hatch", "dotpattern", "stipple"), "as_it_is"),
}
_LINE_PARTS = {"color": "color", "width": "size", "opacity": "share"}
_STROKE_PARTS = {"dashPattern": "dashes", "cap": "cap", "join": "join", "pattern": "as_it_is"}
# Types of values that are the same for every feature, whatever was before; most values are of these.
_FIXED = frozenset({bool, float, str, Color})


def initial_values(layer: StyledLayer) -> dict[str, Any]:
    """Return what is drawn before any rule: the draft's initial values, of what the layer's geometries have.

    The draft gives each layer a fill, a stroke and a dot; here areas and lines get no dot in their middle, and points
    no outline, unless a rule asks for one.
    """
    values: dict[str, Any] = {"visibility": True, "opacity": 1.0, "zOrder": 1.0}
    if layer.kind == "coverage":
        return values
    if layer.dimensions in (2, None):
        values |= _under("fill", _FILL)
    if layer.dimensions in (1, 2, None):
        values |= _under("stroke", _STROKE)
    if layer.dimensions in (0, None):
        values |= _under("marker.0", _DOT)
    return values


def _under(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


@dataclass(frozen=True)
class Choice:
    """A value that depends on a condition.

    Attributes:
        condition: When it is true (not unknown), `then`.
        then: The value then.
        otherwise: The value else.
    """

    condition: Condition
    then: Any
    otherwise: Any


@dataclass(frozen=True)
class Alteration:
    """A change of a part of a value, whose rest stays.

    Attributes:
        change: Makes the new value of the old one; raises NotUnderstood where it cannot.
    """

    change: Callable[[Any], Any]


@dataclass(frozen=True)
class Changes:
    """What a symbolizer does.

    Attributes:
        resets: Paths of objects that are replaced: what is below them and not among `values` goes to UNSET.
        values: New values by path: literals, CQL2 trees, `Choice`, `Alteration`.
        problems: What could not be understood: where in the symbolizer, and why.
    """

    resets: tuple[str, ...]
    values: Mapping[str, Any]
    problems: tuple[tuple[str, str], ...]


def changes_of(symbolizer: Mapping[str, Any], layer: StyledLayer, resolver: Resolver) -> Changes:
    """Return what a symbolizer changes."""
    reader = _Reader(layer, resolver)
    reader.symbolizer(symbolizer)
    return Changes(tuple(reader.resets), reader.values, tuple(reader.problems))


class _Reader:
    """Collects the changes of one symbolizer."""

    def __init__(self, layer: StyledLayer, resolver: Resolver) -> None:
        self.layer = layer
        self.resolver = resolver
        self.resets: list[str] = []
        self.values: dict[str, Any] = {}
        self.problems: list[tuple[str, str]] = []

    def symbolizer(self, node: Mapping[str, Any]) -> None:
        """Read all members."""
        self.member(node, "", "visibility", "visibility", self.flag)
        self.member(node, "", "opacity", "opacity", self.share)
        self.member(node, "", "zOrder", "zOrder", self.number)
        if self.layer.kind == "vector":
            self.object(node, "", "fill", "fill", self.fill)
            self.object(node, "", "stroke", "stroke", self.stroke)
            self.object(node, "", "marker", "marker", self.graphics)
            self.object(node, "", "label", "label", self.graphics)
            return
        self.member(node, "", "colorChannels", "colorChannels", self.channels)
        self.member(node, "", "alphaChannel", "alphaChannel", self.number)
        self.member(node, "", "singleChannel", "singleChannel", self.number)
        self.member(node, "", "colorMap", "colorMap", self.color_map)
        self.member(node, "", "opacityMap", "opacityMap", self.opacity_map)
        self.object(node, "", "hillShading", "hillShading", self.hill_shading)

    # Objects

    def fill(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read the fill of areas."""
        self.whole(node, path, _FILL)
        self.parts(node, at, path, _FILL_PARTS)

    def stroke(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read a stroke with its casing and its centre line."""
        self.line(node, at, path)
        self.parts(node, at, path, _STROKE_PARTS)
        self.object(node, at, "casing", f"{path}.casing", self.line)
        self.object(node, at, "centerLine", f"{path}.centerLine", self.line)

    def line(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read the colour, width and opacity of a stroke, or of a line over or under it."""
        self.whole(node, path, _STROKE)
        self.parts(node, at, path, _LINE_PARTS)

    def graphics(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read a marker or label: all its graphics, or one of them."""
        altered, elements = node.get("alter") is True, self.given(node, "elements", at)
        if not altered:
            self.resets.append(path)
        if path == "label":
            self.member(node, at, "placement", "placement", self.as_it_is)
            if not altered:
                self.values.setdefault("placement", UNSET)
        if isinstance(elements, list):
            if altered:
                self.resets.append(path)
            outer = {name: node[name] for name in ("opacity", "position") if name in node}
            for number, element in enumerate(elements):
                self.element(element, f"{at}/elements/{number}", path, number, outer)
        elif isinstance(elements, dict) and "index" in elements and "value" in elements:
            for name in ("opacity", "position"):
                if name in node:
                    self.problems.append((f"{at}/{name}", "it is not supported beside the change of one graphic"))
            if not altered and path == "marker":
                self.values |= _under("marker.0", _DOT)
            self.element(elements["value"], f"{at}/elements/value", path, int(elements["index"]), {})
        elif elements is not None:
            self.problems.append((f"{at}/elements", "an expression in place of graphics is not supported"))

    def element(self, node: Any, at: str, path: str, number: int, outer: Mapping[str, Any]) -> None:
        """Read one graphic; its opacity and place are those in what is around it."""
        path = f"{path}.{number}"
        try:
            node = self.resolver.dereferenced(node)
        except NotUnderstood as error:
            self.problems.append((at, str(error)))
            return
        kind = str(node.get("type")) if isinstance(node, dict) else ""
        if kind not in _ELEMENTS or number >= MAX_ELEMENTS:
            reason = (
                f"more than {MAX_ELEMENTS} graphics are not supported"
                if kind in _ELEMENTS
                else "a graphic that is no Dot, Image or Text is not supported"
            )
            self.problems.append((at, reason))
            return
        self.whole(node, path, _ELEMENTS[kind])
        self.values[f"{path}.type"] = kind
        self.member(node, at, "opacity", f"{path}.opacity", self.share)
        self.member(node, at, "position", f"{path}.position", self.place)
        {"Dot": self.dot, "Image": self.image, "Text": self.letters}[kind](node, at, path)
        self.within(outer, at, path)

    def within(self, outer: Mapping[str, Any], at: str, path: str) -> None:
        """Bring a graphic into the opacity and place of the marker around it."""
        for name, read in (("opacity", self.share), ("position", self.place)):
            if name not in outer:
                continue
            try:
                around, own = self.leaf(outer[name], read), self.values.get(f"{path}.{name}", _GRAPHIC[name])
            except NotUnderstood as error:
                self.problems.append((at, str(error)))
                continue
            if name == "opacity" and isinstance(around, float) and isinstance(own, float):
                self.values[f"{path}.opacity"] = around * own
            elif name == "position" and _is_place(around) and _is_place(own):
                self.values[f"{path}.position"] = (around[0] + own[0], around[1] + own[1])
            else:
                self.problems.append((at, f"the {name} of the marker is not supported as an expression"))

    def dot(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read a dot: its size and colour are those of its stroke, or given as ``size`` and ``color``."""
        self.object(node, at, "stroke", path, self.dot_stroke)
        self.member(node, at, "size", f"{path}.size", self.size)
        self.member(node, at, "color", f"{path}.color", self.color)
        self.object(node, at, "outline", f"{path}.outline", self.dot_outline)

    def dot_stroke(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read the stroke that is a dot."""
        self.member(node, at, "color", f"{path}.color", self.color)
        self.member(node, at, "width", f"{path}.size", self.size)
        if "opacity" in node:
            own = self.values.get(f"{path}.opacity", 1.0)
            self.member(node, at, "opacity", f"{path}.opacity", self.share)
            read = self.values.get(f"{path}.opacity")
            if isinstance(own, float) and isinstance(read, float):
                self.values[f"{path}.opacity"] = own * read
            elif own != 1.0:
                self.problems.append((f"{at}/opacity", "two opacities of a dot of which one is an expression"))

    def dot_outline(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read the outline of a dot (part 2 of the standard)."""
        self.whole(node, path, _STROKE)
        self.member(node, at, "color", f"{path}.color", self.color)
        self.member(node, at, "thickness", f"{path}.width", self.size)
        self.member(node, at, "opacity", f"{path}.opacity", self.share)

    def image(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read a picture."""
        self.member(node, at, "image", f"{path}.image", self.as_it_is)
        self.member(node, at, "hotSpot", f"{path}.hotSpot", self.as_it_is)
        self.member(node, at, "tint", f"{path}.tint", self.color)
        self.member(node, at, "blackTint", f"{path}.blackTint", self.color)
        self.member(node, at, "alphaThreshold", f"{path}.alphaThreshold", self.share)

    def letters(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read a text."""
        self.member(node, at, "text", f"{path}.text", self.text)
        self.member(node, at, "alignment", f"{path}.alignment", self.alignment)
        self.object(node, at, "font", f"{path}.font", self.font)

    def font(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read how letters look."""
        self.whole(node, path, _FONT)
        self.member(node, at, "face", f"{path}.face", self.text)
        self.member(node, at, "size", f"{path}.size", self.points)
        for name in ("bold", "italic", "underline"):
            self.member(node, at, name, f"{path}.{name}", self.flag)
        self.member(node, at, "color", f"{path}.color", self.color)
        self.member(node, at, "opacity", f"{path}.opacity", self.share)
        self.object(node, at, "outline", f"{path}.outline", self.halo)

    def halo(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read what surrounds letters."""
        self.whole(node, path, _OUTLINE)
        self.member(node, at, "size", f"{path}.size", self.number)
        self.member(node, at, "color", f"{path}.color", self.color)
        self.member(node, at, "opacity", f"{path}.opacity", self.share)

    def hill_shading(self, node: Mapping[str, Any], at: str, path: str) -> None:
        """Read the shading of relief."""
        given: dict[str, Any] = {}
        sun = self.given(node, "sun", at)
        if isinstance(sun, dict):
            if sun.get("alter") is not True:
                given |= {"azimuth": HillShading().azimuth, "elevation": HillShading().elevation}
            self.collect(given, sun, f"{at}/sun", {"azimuth": self.angle, "elevation": self.angle})
        self.collect(
            given, node, at, {"factor": self.literal, "colorMap": self.color_map, "opacityMap": self.opacity_map}
        )
        names = {"colorMap": "color_map", "opacityMap": "opacity_map"}
        made = {names.get(name, name): value for name, value in given.items()}
        if node.get("alter") is True:
            self.values[path] = Alteration(
                lambda old: replace(old if isinstance(old, HillShading) else HillShading(), **made)
            )
        else:
            self.values[path] = HillShading(**made)

    # Members

    def given(self, node: Mapping[str, Any], key: str, at: str) -> Any:
        """Return a member, or what it refers to; None where there is none."""
        try:
            return self.resolver.dereferenced(node.get(key))
        except NotUnderstood as error:
            self.problems.append((f"{at}/{key}", str(error)))
            return None

    def object(
        self, node: Mapping[str, Any], at: str, key: str, path: str, read: Callable[[Mapping[str, Any], str, str], None]
    ) -> None:
        """Read a member that is an object, where it is there."""
        if key not in node:
            return
        part = self.given(node, key, at)
        if part is None:
            return
        if not isinstance(part, dict) or "op" in part or "property" in part or "sysId" in part:
            self.problems.append((f"{at}/{key}", "an expression in place of an object is not supported"))
        else:
            read(part, f"{at}/{key}", path)

    def whole(self, node: Mapping[str, Any], path: str, initial: Mapping[str, Any]) -> None:
        """Bring an object back to its initial values, unless only parts of it change."""
        if node.get("alter") is not True:
            self.resets.append(path)
            for name, value in initial.items():
                self.values[f"{path}.{name}"] = value

    def member(self, node: Mapping[str, Any], at: str, key: str, path: str, read: Callable[[Any], Any]) -> None:
        """Read a member, where it is there; what is not understood leaves what was."""
        if key not in node:
            return
        try:
            value = self.leaf(node[key], read)
            if type(value) not in _FIXED and (isinstance(value, (Alteration, Choice)) or _is_data(value)):
                replaced = any(path.startswith(f"{reset}.") for reset in self.resets)
                value = _onto(value, self.values.get(path, UNSET)) if replaced else _backed(value)
            self.values[path] = value
        except NotUnderstood as error:
            self.problems.append((f"{at}/{key}", str(error)))

    def parts(self, node: Mapping[str, Any], at: str, path: str, readers: Mapping[str, str]) -> None:
        """Read the members of an object that are there, each by the method of that name."""
        for key, reader in readers.items():
            if key in node:
                self.member(node, at, key, f"{path}.{key}", getattr(self, reader))

    def collect(
        self, into: dict[str, Any], node: Mapping[str, Any], at: str, readers: Mapping[str, Callable[[Any], Any]]
    ) -> None:
        """Read members whose values must not depend on features."""
        for key, read in readers.items():
            if key in node:
                try:
                    into[key] = read(self.resolver.dereferenced(node[key]))
                except NotUnderstood as error:
                    self.problems.append((f"{at}/{key}", str(error)))

    def leaf(self, node: Any, read: Callable[[Any], Any], depth: int = 0) -> Any:
        """Read a value, or a choice of values (``?:``)."""
        if not isinstance(node, dict):
            return read(node)
        node = self.resolver.dereferenced(node)
        arguments = node.get("args") if isinstance(node, dict) and node.get("op") == "?:" else None
        if not isinstance(arguments, list) or len(arguments) != 3:
            return read(node)
        if depth > MAX_CHOICES:
            raise NotUnderstood(f"more than {MAX_CHOICES} choices in each other are not supported")
        chosen = self.resolver.condition(arguments[0])
        if not isinstance(chosen, dict):
            return self.leaf(arguments[1] if chosen else arguments[2], read, depth + 1)
        then, otherwise = (self.leaf(argument, read, depth + 1) for argument in arguments[1:])
        return Choice(chosen, then, otherwise)

    # Values

    def as_it_is(self, node: Any) -> Any:
        """Return plain JSON, which encoders may know what to do with."""
        return node

    def number(self, node: Any) -> Any:
        """Return a number, or a tree that gives one."""
        if type(node) in (int, float):
            return float(node)
        value = self.resolver.value(node)
        if isinstance(value, dict):
            if value == SCALE:
                raise NotUnderstood("a value that is the scale is not supported")
            if "property" not in value and value.get("op") not in _NUMERIC:
                raise NotUnderstood("it is no number")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotUnderstood("it is no number")
        return float(value)

    def literal(self, node: Any) -> float:
        """Return a number that does not depend on the feature."""
        value = self.number(node)
        if not isinstance(value, float):
            raise NotUnderstood("it depends on the feature, which is not supported")
        return value

    def share(self, node: Any) -> Any:
        """Return an opacity, brought between 0 and 1."""
        value = self.number(node)
        return min(max(value, 0.0), 1.0) if isinstance(value, float) else value

    def flag(self, node: Any) -> Any:
        """Return true or false, or a choice between them."""
        value = self.resolver.condition(node)
        return Choice(value, True, False) if isinstance(value, dict) else bool(value)

    def text(self, node: Any) -> Any:
        """Return a text, or a tree that gives one."""
        value = self.resolver.value(node)
        if value is None or value == SCALE or (isinstance(value, dict) and not _gives_text(value)):
            raise NotUnderstood("it is no text")
        if isinstance(value, bool | int | float):
            return str(value).lower() if isinstance(value, bool) else f"{value:g}"
        return value

    def cap(self, node: Any) -> str:
        """Return how a line ends."""
        return _one_of(_CAPS, node)

    def join(self, node: Any) -> str:
        """Return how parts of a line meet."""
        return _one_of(_JOINS, node)

    def color(self, node: Any) -> Any:
        """Return a colour; of a change of parts of one, the change."""
        if isinstance(node, str):
            named = Color.named(node)
            if named is None:
                raise NotUnderstood(f"there is no colour {node[:40]!r}")
            return named
        if isinstance(node, list) and len(node) == 3:
            r, g, b = node
            if type(r) is type(g) is type(b) is int and min(node) >= 0 and max(node) <= 255:
                return Color(r, g, b)
            return _color(self.number(r), self.number(g), self.number(b))
        if not isinstance(node, dict) or not node.keys() & {"r", "g", "b"}:
            raise NotUnderstood("it is no colour")
        parts = {name: self.number(node[name]) for name in "rgb" if name in node}
        if node.get("alter") is not True:
            return _color(*(parts.get(name, 0.0) for name in "rgb"))
        return Alteration(
            lambda old: _color(*(parts.get(name, part) for name, part in zip("rgb", _rgb(old), strict=True)))
        )

    def channels(self, node: Any) -> Any:
        """Return what is drawn as red, green and blue: numbers of 0 to 1, or trees that give them."""
        if isinstance(node, list) and len(node) == 3:
            return DataColor(*(self.number(part) for part in node))
        if isinstance(node, str):
            return DataColor(*(part / 255 for part in self.color(node).parts))
        if not isinstance(node, dict) or not node.keys() & {"r", "g", "b"}:
            raise NotUnderstood("it is no three channels")
        parts = {name: self.number(node[name]) for name in "rgb" if name in node}
        if node.get("alter") is not True:
            return DataColor(*(parts.get(name, 0.0) for name in "rgb"))
        return Alteration(lambda old: replace(old if isinstance(old, DataColor) else DataColor(0.0, 0.0, 0.0), **parts))

    def size(self, node: Any) -> Any:
        """Return a length that is not below nothing."""
        value = self.length(node)
        return max(value, 0.0) if isinstance(value, float) else value

    def length(self, node: Any) -> Any:
        """Return a length: pixels, a tree that gives them, or a `GroundLength`."""
        unit = next(filter(node.__contains__, UNITS), None) if isinstance(node, dict) and "op" not in node else None
        if unit is None:
            return self.number(node)
        value = length_of(self.number(node[unit]), unit)
        if value is None:
            raise NotUnderstood(f"a length in {unit} is not supported here")
        return value

    def points(self, node: Any) -> Any:
        """Return the size of a font, given in points, in pixels."""
        return scaled(self.number(node), PIXELS_PER_POINT)

    def angle(self, node: Any) -> float:
        """Return an angle in degrees."""
        if isinstance(node, dict) and "rad" in node:
            return degrees(self.literal(node["rad"]))
        return self.literal(node["deg"] if isinstance(node, dict) and "deg" in node else node)

    def dashes(self, node: Any) -> Any:
        """Return the lengths of dashes and gaps in pixels; of a change of one, the change."""
        if isinstance(node, list):
            return tuple(float(part) for part in node)
        if not isinstance(node, dict) or "index" not in node or "value" not in node:
            raise NotUnderstood("an expression that gives dashes is not supported")
        index, value = int(node["index"]), float(node["value"])
        if index >= MAX_ELEMENTS:
            raise NotUnderstood(f"more than {MAX_ELEMENTS} dashes are not supported")
        return Alteration(lambda old: _with(old if isinstance(old, tuple) else (), index, value))

    def place(self, node: Any) -> Any:
        """Return an offset in pixels to the right and down."""
        if isinstance(node, list):
            return tuple(self.length(part) for part in node[:2])
        if not isinstance(node, dict) or not node.keys() & {"x", "y"}:
            raise NotUnderstood("it is no place")
        parts = {name: self.length(node[name]) for name in ("x", "y") if name in node}
        if node.get("alter") is not True:
            return parts.get("x", 0.0), parts.get("y", 0.0)
        return Alteration(
            lambda old: tuple(parts.get(name, old[at] if old is not UNSET else 0.0) for at, name in enumerate("xy"))
        )

    def alignment(self, node: Any) -> Any:
        """Return on which side of its place a text ends: across and down."""
        across, down = ("left", "center", "right"), ("top", "middle", "bottom")
        if isinstance(node, list):
            return _one_of(across, node[0]), _one_of(down, node[1])
        if not isinstance(node, dict) or not node.keys() & {"hAlignment", "vAlignment"}:
            raise NotUnderstood("it is no alignment")
        given = {
            at: _one_of(words, node[name])
            for at, (name, words) in enumerate({"hAlignment": across, "vAlignment": down}.items())
            if name in node
        }
        initial = _ELEMENTS["Text"]["alignment"]
        if node.get("alter") is not True:
            return tuple(given.get(at, initial[at]) for at in range(2))
        return Alteration(lambda old: tuple(given.get(at, (initial if old is UNSET else old)[at]) for at in range(2)))

    def color_map(self, node: Any) -> tuple[ColorStop, ...]:
        """Return the colours of values."""
        return tuple(ColorStop(value, color, name) for value, color, name in self.stops(node, self.plain_color))

    def opacity_map(self, node: Any) -> tuple[OpacityStop, ...]:
        """Return the opacities of values."""
        return tuple(
            OpacityStop(value, min(max(opacity, 0.0), 1.0), name)
            for value, opacity, name in self.stops(node, self.literal)
        )

    def stops(self, node: Any, read: Callable[[Any], Any]) -> list[tuple[float, Any, str]]:
        """Return value, what it has, and its name."""
        if not isinstance(node, list):
            raise NotUnderstood("an expression in place of its stops is not supported")
        found = []
        for number, stop in enumerate(node):
            try:
                value, what, *name = stop
                label = str(name[0]) if name and isinstance(name[0], str) else ""
                found.append((self.literal(value), read(self.resolver.dereferenced(what)), label))
            except NotUnderstood as error:
                raise NotUnderstood(f"stop {number}: {error}") from None
        return found

    def plain_color(self, node: Any) -> Color:
        """Return a colour that does not depend on the feature."""
        color = self.color(node)
        if not isinstance(color, Color):
            raise NotUnderstood("its colour depends on something, which is not supported")
        return color


def _one_of(words: Sequence[str], node: Any) -> str:
    if node not in words:
        raise NotUnderstood(f"it is none of {', '.join(words)}")
    return str(node)


def _is_data(value: Any) -> bool:
    """Tell whether a value is read from each feature, where it may be missing."""
    if isinstance(value, GroundLength):
        return isinstance(value.metres, dict)
    if isinstance(value, tuple):
        return any(map(_is_data, value))
    return isinstance(value, DataColor) or (isinstance(value, dict) and ("property" in value or "op" in value))


def _onto(value: Any, initial: Any) -> Any:
    """Return a value of an object that is replaced: what it changes or cannot read is what the object has initially."""
    if isinstance(value, Choice):
        return Choice(value.condition, _onto(value.then, initial), _onto(value.otherwise, initial))
    if isinstance(value, Alteration):
        return value.change(initial)
    return Choice(True, value, initial) if _is_data(value) else value


def _backed(value: Any) -> Any:
    """Return a choice of values in which what cannot be read is what was before, and not what would else be chosen."""
    if not isinstance(value, Choice):
        return value
    then = _backed(value.then)
    kept = Choice(True, then, Alteration(lambda old: old)) if _is_data(then) else then
    return Choice(value.condition, kept, _backed(value.otherwise))


def _gives_text(value: Mapping[str, Any]) -> bool:
    return "property" in value or value.get("op") in ("casei", "accenti")


def _is_place(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, float) for part in value)


def _rgb(color: Any) -> tuple[Any, Any, Any]:
    if isinstance(color, Color | DataColor):
        return color.r, color.g, color.b
    return 0.0, 0.0, 0.0


def _color(r: Any, g: Any, b: Any) -> Color | DataColor:
    if isinstance(r, dict) or isinstance(g, dict) or isinstance(b, dict):
        return DataColor(r, g, b)
    return Color.of_parts(r, g, b)


def _with(dashes: tuple[float, ...], index: int, value: float) -> tuple[float, ...]:
    longer = [*dashes, *([0.0] * (index + 1 - len(dashes)))]
    longer[index] = value
    return tuple(longer)
