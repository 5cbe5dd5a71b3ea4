"""The friendly dialect: what people write, made canonical CartoSym-JSON.

Hex colours and CSS functions, colour names in any case, plain widths and such as ``"1.5px"``, percents, dash lists as
text, selectors as CQL2 text, markers and labels without ``elements``, a title at the top, and the predecessor's form
(``symbolizer.type`` with ``fill``, ``stroke`` and ``marker.size``).  Each kind of change is one finding with its count.
What is none of this stays as it is, for the schema to judge.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from geoetl.core.errors import InvalidFilter
from geoetl.core.findings import Finding, Severity
from geoetl.styles.conditions import NotUnderstood, Surroundings
from geoetl.styles.expressions import PREDICATES, is_condition
from geoetl.styles.layer import StyledLayer
from geoetl.styles.values import COLOR_NAMES, PIXELS_PER_POINT, UNITS

_SPELLED: Mapping[str, str] = {name.lower(): name for name in COLOR_NAMES} | {"fuchsia": "fuschia"}
_HEX = re.compile(r"(?:#|0x)([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE | re.ASCII)
_FUNCTION = re.compile(r"rgba?\(([^()]{1,80})\)", re.IGNORECASE)
_LENGTH = re.compile(rf"([+-]?\d*\.?\d+)\s*({'|'.join(UNITS)})?", re.ASCII)
_PERCENT = re.compile(r"(\d*\.?\d+)\s*(%?)", re.ASCII)
_ROUND = frozenset({"circle", "dot", "point"})
# What the predecessor says that a symbolizer is of.
_GEOMETRIES = frozenset({"polygon", "line", "linestring", "point", "raster"})
_ABOUT = ("title", "description", "keywords", "authors", "abstract", "name")
# What each kind of change is called, and how it is told.
_TOLD: Mapping[str, str] = {
    "metadata": "What the style says of itself was moved to metadata",
    "color": "{count} colours were written as [red, green, blue] or by their names",
    "transparency": "{count} transparent colours became a colour and an opacity",
    "length": "{count} lengths were given their unit",
    "opacity": "{count} opacities were written as numbers",
    "dashes": "{count} dash patterns were written as whole pixels",
    "type": "{count} members 'type' of symbolizers were removed: the layer says what is drawn",
    "marker": "{count} markers were written as dots",
    "shape": "{count} shapes were written as dots: other shapes are of part 2, which the core schema refuses",
    "label": "{count} labels were written as texts",
    "selector": "{count} selectors in CQL2 text were written as CQL2-JSON",
    "condition": "{count} conditions were written as 'condition = true', as the official schema refuses them plain",
    "variable": "{count} variables were put in place, where the official schema takes no reference",
    "stops": "{count} stops of colour maps were written as lists",
}


def speaks(document: Any) -> bool:
    """Tell whether a document that the schema accepts is still in the dialect.

    The schema lets pass what it does not name: a title at the top, the type of a symbolizer, the colour of a dot.
    """
    if not isinstance(document, dict):
        return False
    return any(isinstance(document.get(name), str) for name in ("title", "name")) or any(
        _speaks(rule) for rule in document["stylingRules"]
    )


def _speaks(rule: Mapping[str, Any]) -> bool:
    symbolizer = rule.get("symbolizer", {})
    if isinstance(symbolizer.get("type"), str) and symbolizer["type"].lower() in _GEOMETRIES:
        return True
    elements = symbolizer.get("marker", {}).get("elements", ())
    for dot in [elements.get("value")] if isinstance(elements, dict) else elements:
        if not isinstance(dot, dict) or dot.get("type") != "Dot":
            continue
        outline = dot.get("outline")
        colors = [dot.get("color"), outline.get("color") if isinstance(outline, dict) else None]
        if any(isinstance(color, str) and color not in COLOR_NAMES for color in colors):
            return True
    return any(_speaks(nested) for nested in rule.get("nestedRules", ()))


def normalised(document: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Return a document in canonical form, as far as it is known how, and what was changed.

    Args:
        document: Plain JSON, which is left as it is.
    """
    if not isinstance(document, dict):
        return document, ()
    writer = _Writer(document)
    made = writer.style(document)
    return made, tuple(writer.findings())


class _Writer:
    """Writes one style anew, and remembers what was changed where."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        variables = document.get("$variables")
        self.around = Surroundings(StyledLayer(""), variables=variables if isinstance(variables, dict) else None)
        self.told: dict[str, list[str]] = {}

    def findings(self) -> list[Finding]:
        """Return one finding for each kind of change."""
        return [
            Finding(
                severity=Severity.WARNING if kind == "shape" else Severity.INFO,
                code=f"style_{kind}_written",
                message=f"{_TOLD[kind].format(count=len(places))}.",
                subject=places[0],
            )
            for kind, places in self.told.items()
        ]

    def tell(self, kind: str, at: str) -> None:
        """Remember a change."""
        self.told.setdefault(kind, []).append(at)

    def style(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return the whole style."""
        made = dict(node)
        about = {key: made.pop(key) for key in _ABOUT if key in made}
        metadata = made.get("metadata", {})
        if about and isinstance(metadata, dict):
            if not about.get("title") and isinstance(about.get("name"), str):
                about["title"] = about["name"]
            made["metadata"] = about | metadata
            self.tell("metadata", "/metadata")
        elif about:
            made |= about
        if isinstance(made.get("stylingRules"), list):
            made["stylingRules"] = self.rules(made["stylingRules"], "/stylingRules", nested=False)
        return made

    def rules(self, rules: list[Any], at: str, *, nested: bool) -> list[Any]:
        """Return rules, and those in them."""
        return [
            self.rule(rule, f"{at}/{number}", nested) if isinstance(rule, dict) else rule
            for number, rule in enumerate(rules)
        ]

    def rule(self, rule: dict[str, Any], at: str, nested: bool) -> dict[str, Any]:
        """Return a rule."""
        made = dict(rule)
        if made.get("selector", False) is None:
            del made["selector"]
        if "selector" in made:
            made["selector"] = self.selector(made["selector"], f"{at}/selector")
        if isinstance(made.get("symbolizer"), dict):
            made["symbolizer"] = self.symbolizer(made["symbolizer"], f"{at}/symbolizer", nested)
        if isinstance(made.get("nestedRules"), list):
            made["nestedRules"] = self.rules(made["nestedRules"], f"{at}/nestedRules", nested=True)
        return made

    # Conditions

    def selector(self, node: Any, at: str) -> Any:
        """Return a condition, which may be CQL2 text."""
        if isinstance(node, str):
            from geoetl.store.catalog.cql2 import parse  # loads the parser of texts

            try:
                node = parse(node)
            except InvalidFilter:
                return node
            self.tell("selector", at)
        return self.condition(node, at)

    def condition(self, node: Any, at: str) -> Any:
        """Return a condition in a form that the official schema takes."""
        node = self.replaced(node, at)
        if is_condition(node) or not isinstance(node, dict):
            return node
        if "op" not in node and isinstance(node.get("property"), str):
            return self.compared(node, at)
        name, arguments = node.get("op"), node.get("args")
        if name in ("and", "or", "not") and isinstance(arguments, list):
            if len(arguments) == 1 and name != "not":
                return self.condition(arguments[0], at)
            inner = [self.condition(argument, f"{at}/args/{number}") for number, argument in enumerate(arguments)]
            node = node | {"args": inner}
        elif name == "isNull" and isinstance(arguments, dict):
            node = node | {"args": [arguments]}
        if is_condition(node) or not isinstance(name, str) or name not in PREDICATES:
            return node
        return self.compared(node, at)

    def compared(self, node: dict[str, Any], at: str) -> Any:
        """Return a condition as one that is equal to true, which says the same, where the schema takes that."""
        made = {"op": "=", "args": [node, True]}
        if not is_condition(made):
            return node
        self.tell("condition", at)
        return made

    def replaced(self, node: Any, at: str) -> Any:
        """Return what a variable stands for."""
        if not isinstance(node, dict) or "$ref" not in node:
            return node
        try:
            found = self.around.dereferenced(node)
        except NotUnderstood:
            return node
        self.tell("variable", at)
        return found

    # What is drawn

    def symbolizer(self, node: dict[str, Any], at: str, nested: bool) -> dict[str, Any]:
        """Return a symbolizer."""
        made = dict(node)
        kind = made.get("type")
        is_point = isinstance(kind, str) and kind.lower() == "point"
        if isinstance(kind, str) and kind.lower() in _GEOMETRIES:
            del made["type"]
            self.tell("type", f"{at}/type")
        self.each(made, at, {"opacity": self.share, "visibility": self.condition})
        self.parts(made, at, {"fill": self.fill, "stroke": self.stroke})
        marker = made.get("marker")
        if is_point and (isinstance(marker, dict | None)) and not _has_elements(marker):
            dot = _taken(made, ("fill", "stroke")) | (marker or {})
            if dot:
                made["marker"] = self.marker(dot, f"{at}/marker", nested and marker is None)
        elif isinstance(marker, dict):
            made["marker"] = self.marker(marker, f"{at}/marker", False)
        if isinstance(made.get("label"), dict | str):
            made["label"] = self.label(made["label"], f"{at}/label")
        self.each(made, at, {"colorMap": self.stops})
        if isinstance(made.get("hillShading"), dict):
            made["hillShading"] = self.with_each(made["hillShading"], f"{at}/hillShading", {"colorMap": self.stops})
        return made

    def fill(self, node: Any, at: str) -> Any:
        """Return the fill of areas."""
        return self.colored(node, at)

    def stroke(self, node: Any, at: str) -> Any:
        """Return a stroke."""
        made = self.colored(node, at)
        if not isinstance(made, dict):
            return made
        for name in ("dashArray", "dasharray", "dashes"):
            if name in made and "dashPattern" not in made:
                made["dashPattern"] = made.pop(name)
        self.each(made, at, {"width": self.length, "dashPattern": self.dashes})
        self.parts(made, at, {"casing": self.stroke, "centerLine": self.stroke})
        return made

    def colored(self, node: Any, at: str) -> Any:
        """Return an object with a colour and an opacity; a colour alone becomes one."""
        if isinstance(node, str):
            node = {"color": node}
        if not isinstance(node, dict):
            return node
        made = self.with_each(node, at, {"opacity": self.share})
        if "color" in made:
            color, alpha = self.color(made["color"], f"{at}/color")
            made["color"] = color
            if alpha is not None:
                own = made.get("opacity", 1.0)
                made["opacity"] = round(alpha * own, 4) if isinstance(own, int | float) else alpha
        return made

    def marker(self, node: dict[str, Any], at: str, altered: bool) -> Any:
        """Return a marker of graphics; without ``elements`` it is one dot."""
        if not _has_elements(node):
            self.tell("marker", at)
            dot = self.dot({"type": "Dot", **_without(node, "type", "shape", "alter")}, at)
            if not altered and node.get("alter") is not True:
                return {"elements": [dot]}
            return {"alter": True, "elements": {"index": 0, "value": {"alter": True, **dot}}}
        made = self.with_each(node, at, {"opacity": self.share})
        made["elements"] = self.elements(node["elements"], f"{at}/elements")
        return made

    def elements(self, node: Any, at: str) -> Any:
        """Return the graphics of a marker or label."""
        if isinstance(node, list):
            return [self.graphic(one, f"{at}/{number}") for number, one in enumerate(node)]
        if isinstance(node, dict) and "value" in node:
            return node | {"value": self.graphic(node["value"], f"{at}/value")}
        return node

    def graphic(self, node: Any, at: str) -> Any:
        """Return a dot, an image or a text."""
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(node, dict) or not isinstance(kind, str):
            return node
        if kind == "Text":
            return self.letters(node, at)
        if kind == "Image":
            made = self.with_each(node, at, {"opacity": self.share})
            return self.with_each(
                made, at, {name: lambda one, to: self.color(one, to)[0] for name in ("tint", "blackTint")}
            )
        if kind.lower() not in _ROUND:
            return node
        if kind != "Dot":
            self.tell("shape", at)
        return self.dot(node | {"type": "Dot"}, at)

    def dot(self, node: dict[str, Any], at: str) -> dict[str, Any]:
        """Return a dot of the colour of its fill, with its stroke as outline."""
        made = dict(node)
        if "radius" in made and "size" not in made:
            radius = self.length(made.pop("radius"), f"{at}/radius")
            made["size"] = {unit: 2 * part for unit, part in radius.items()} if _is_plain_length(radius) else radius
        if isinstance(made.get("fill"), dict | str) or (isinstance(made.get("stroke"), dict) and "size" in made):
            fill, stroke = self.colored(made.pop("fill", {}), f"{at}/fill"), made.pop("stroke", None)
            made = {**_kept(fill, {"color": "color", "opacity": "opacity"}), **made}
            if stroke is not None and "outline" not in made:
                names = {"color": "color", "opacity": "opacity", "width": "thickness"}
                made["outline"] = _kept(self.stroke(stroke, f"{at}/stroke"), names)
        elif "stroke" in made:
            made["stroke"] = self.stroke(made["stroke"], f"{at}/stroke")
        made = dict(self.colored(made, at))
        self.each(made, at, {"size": self.length})
        if isinstance(made.get("outline"), dict):
            made["outline"] = self.with_each(
                self.colored(made["outline"], f"{at}/outline"), f"{at}/outline", {"thickness": self.length}
            )
        return made

    def label(self, node: Any, at: str) -> Any:
        """Return a label; without ``elements`` it is one text."""
        if isinstance(node, str):
            node = {"text": node}
        if _has_elements(node):
            return node | {"elements": self.elements(node["elements"], f"{at}/elements")}
        if not isinstance(node.get("text", node.get("field", node.get("property"))), str | dict):
            return node
        self.tell("label", at)
        font = _taken(node := dict(node), ("size", "color", "face", "bold", "italic", "halo", "outline"))
        if "halo" in font:
            font["outline"] = font.pop("halo")
        named = node.pop("field", node.pop("property", None))
        text = {"type": "Text", **_without(node, "type", "placement", "alter")}
        if isinstance(named, str) and "text" not in text:
            text["text"] = {"property": named}
        if font:
            text["font"] = font | text.get("font", {}) if isinstance(text.get("font", {}), dict) else text["font"]
        return _kept(node, {"placement": "placement"}) | {"elements": [self.letters(text, at)]}

    def letters(self, node: dict[str, Any], at: str) -> dict[str, Any]:
        """Return a text; of the form ``{name}`` it is a property."""
        made = self.with_each(node, at, {"opacity": self.share, "text": self.replaced})
        text = made.get("text")
        if isinstance(text, str) and re.fullmatch(r"\{[^{}]+\}", text):
            made["text"] = {"property": text[1:-1]}
        if isinstance(made.get("font"), dict):
            font = self.with_each(self.colored(made["font"], f"{at}/font"), f"{at}/font", {"size": self.points})
            if isinstance(font.get("outline"), dict):
                outline = self.colored(font["outline"], f"{at}/font/outline")
                if "width" in outline and "size" not in outline:
                    outline["size"] = outline.pop("width")
                font["outline"] = outline
            made["font"] = font
        return made

    def stops(self, node: Any, at: str) -> Any:
        """Return the stops of a colour map."""
        node = self.replaced(node, at) if isinstance(node, dict) and "$ref" in node else node
        if not isinstance(node, list):
            return node
        made = []
        for number, stop in enumerate(node):
            if isinstance(stop, dict) and "value" in stop and "color" in stop:
                self.tell("stops", f"{at}/{number}")
                stop = [stop["value"], stop["color"], *([stop["name"]] if "name" in stop else [])]
            if isinstance(stop, list) and len(stop) >= 2:
                stop = [stop[0], self.color(stop[1], f"{at}/{number}/1")[0], *stop[2:]]
            made.append(stop)
        return made

    # Values

    def each(self, made: dict[str, Any], at: str, readers: Mapping[str, Callable[[Any, str], Any]]) -> None:
        """Write members anew."""
        for name, read in readers.items():
            if name in made:
                made[name] = read(made[name], f"{at}/{name}")

    def with_each(
        self, node: dict[str, Any], at: str, readers: Mapping[str, Callable[[Any, str], Any]]
    ) -> dict[str, Any]:
        """Return an object with members written anew."""
        made = dict(node)
        self.each(made, at, readers)
        return made

    def parts(self, made: dict[str, Any], at: str, readers: Mapping[str, Callable[[Any, str], Any]]) -> None:
        """Write members anew that are objects, or a text for one; None is as good as none."""
        for name, read in readers.items():
            if made.get(name, False) is None:
                del made[name]
            elif isinstance(made.get(name), dict | str):
                made[name] = read(made[name], f"{at}/{name}")

    def color(self, node: Any, at: str) -> tuple[Any, float | None]:
        """Return a colour, and how opaque it is where it says so."""
        node = self.replaced(node, at) if isinstance(node, dict) and "$ref" in node else node
        if not isinstance(node, str) or node in COLOR_NAMES:
            return node, None
        text = node.strip().lower()
        parts = _parts_of(text)
        if parts is None and text in _SPELLED:
            self.tell("color", at)
            return _SPELLED[text], None
        if parts is None:
            return node, None
        *rgb, alpha = parts
        self.tell("color", at)
        if alpha == 1:
            return [round(part) for part in rgb], None
        self.tell("transparency", at)
        return [round(part) for part in rgb], round(alpha, 4)

    def length(self, node: Any, at: str) -> Any:
        """Return a length with its unit."""
        node = self.replaced(node, at)
        if isinstance(node, bool) or not isinstance(node, int | float | str):
            return node
        found = _LENGTH.fullmatch(node.strip().lower()) if isinstance(node, str) else None
        if isinstance(node, str) and found is None:
            return node
        self.tell("length", at)
        return {found[2] or "px": float(found[1])} if found else {"px": node}

    def points(self, node: Any, at: str) -> Any:
        """Return the size of a font in points; with a unit it may be in pixels."""
        node = self.replaced(node, at)
        found = _LENGTH.fullmatch(node.strip().lower()) if isinstance(node, str) else None
        if found is None or found[2] not in (None, "px", "pt"):
            return node
        self.tell("length", at)
        return round(float(found[1]) / (PIXELS_PER_POINT if found[2] == "px" else 1), 3)

    def share(self, node: Any, at: str) -> Any:
        """Return an opacity as a number of 0 to 1."""
        node = self.replaced(node, at)
        found = _PERCENT.fullmatch(node.strip()) if isinstance(node, str) else None
        if found is None:
            return node
        self.tell("opacity", at)
        return float(found[1]) / (100 if found[2] else 1)

    def dashes(self, node: Any, at: str) -> Any:
        """Return dashes and gaps as whole pixels."""
        node = self.replaced(node, at)
        parts = re.split(r"[\s,]+", node.strip()) if isinstance(node, str) else node
        if not isinstance(parts, list):
            return node
        try:
            numbers = [float(part) for part in parts if not isinstance(part, bool)]
        except (TypeError, ValueError):
            return node
        if not all(0 <= number < 1e6 for number in numbers) or len(numbers) != len(parts):
            return node
        whole = [max(1, round(number)) if number else 0 for number in numbers]
        if whole != node:
            self.tell("dashes", at)
        return whole


def _parts_of(text: str) -> tuple[float, float, float, float] | None:
    """Return red, green, blue (0 to 255) and alpha (0 to 1) of a colour of CSS; None where it is none."""
    if text == "transparent":
        return 0, 0, 0, 0
    if found := _HEX.fullmatch(text):
        digits = found[1]
        pairs = [digit * 2 for digit in digits] if len(digits) < 6 else re.findall("..", digits)
        red, green, blue, alpha = (int(pair, 16) for pair in [*pairs, "ff"][:4])
        return red, green, blue, alpha / 255
    if not (found := _FUNCTION.fullmatch(text)):
        return None
    parts = re.split(r"[\s,/]+", found[1].strip())
    read = [_PERCENT.fullmatch(part) for part in parts]
    if len(parts) not in (3, 4) or None in read:
        return None
    values = [(float(one[1]), bool(one[2])) for one in read if one is not None]
    r, g, b = (min(value * 255 / 100 if is_percent else value, 255) for value, is_percent in values[:3])
    a, is_percent = values[3] if len(values) == 4 else (1.0, False)
    return r, g, b, min(a / 100 if is_percent else a, 1.0)


def _has_elements(node: Any) -> bool:
    return isinstance(node, dict) and "elements" in node


def _is_plain_length(node: Any) -> bool:
    return isinstance(node, dict) and all(type(part) in (int, float) for part in node.values())


def _taken(node: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: node.pop(name) for name in names if name in node}


def _without(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name not in names}


def _kept(node: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {to: node[name] for name, to in names.items() if isinstance(node, dict) and name in node}
