"""A small reader of SLD 1.1, written from the standard and not from our encoder: what is drawn of a feature at a scale.

It is as a plain server: filters are true or false, what is missing compares false (or, where `lenient_null` is set,
"is not equal" and "not" are true of it), and a literal has the type of what it is compared with.

Source: OGC 05-078r4 (SLD 1.1), OGC 05-077r4 (SE 1.1), OGC 04-095 (Filter Encoding 1.1).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

SE, OGC, SLD = "{http://www.opengis.net/se}", "{http://www.opengis.net/ogc}", "{http://www.opengis.net/sld}"
ORDERED = {
    "PropertyIsLessThan": lambda a, b: a < b,
    "PropertyIsLessThanOrEqualTo": lambda a, b: a <= b,
    "PropertyIsGreaterThan": lambda a, b: a > b,
    "PropertyIsGreaterThanOrEqualTo": lambda a, b: a >= b,
    "PropertyIsEqualTo": lambda a, b: a == b,
    "PropertyIsNotEqualTo": lambda a, b: a != b,
}


@dataclass(frozen=True)
class Drawn:
    """One symbolizer.

    Attributes:
        kind: ``Polygon``, ``Line``, ``Point``, ``Text`` or ``Raster``.
        values: Texts of its parameters by their paths, such as ``Fill/fill`` and ``Graphic/Size``.
    """

    kind: str
    values: Mapping[str, str] = field(default_factory=dict)


def drawn(
    document: bytes, properties: Mapping[str, Any], denominator: float, *, lenient_null: bool = False
) -> list[Drawn]:
    """Return the symbolizers that are drawn of a feature, bottom first."""
    found: list[Drawn] = []
    for rule in ElementTree.fromstring(document).iter(f"{SE}Rule"):
        least, most = (rule.findtext(f"{SE}{name}ScaleDenominator") for name in ("Min", "Max"))
        if (least is not None and denominator < float(least)) or (most is not None and denominator >= float(most)):
            continue
        condition = rule.find(f"{OGC}Filter")
        if condition is not None and not selects(condition[0], properties, lenient_null=lenient_null):
            continue
        found.extend(_symbolizer(part, properties) for part in rule if part.tag.endswith("Symbolizer"))
    return found


def selects(node: ElementTree.Element, properties: Mapping[str, Any], *, lenient_null: bool = False) -> bool:
    """Return whether a filter selects a feature."""

    def told(part: ElementTree.Element) -> bool:
        return selects(part, properties, lenient_null=lenient_null)

    name = node.tag.removeprefix(OGC)
    if name == "And":
        assert len(node) > 1
        return all(map(told, node))
    if name == "Or":
        assert len(node) > 1
        return any(map(told, node))
    if name == "Not":
        (inner,) = node
        return not told(inner)
    if name == "PropertyIsNull":
        (inner,) = node
        return properties.get(inner.text or "") is None
    if name == "PropertyIsLike":
        value, pattern = properties.get(node[0].text or ""), node[1].text or ""
        wild, single, escape = (node.attrib[key] for key in ("wildCard", "singleChar", "escapeChar"))
        return (
            isinstance(value, str) and re.fullmatch(_regex(pattern, wild, single, escape), value, re.DOTALL) is not None
        )
    a, b = (_value(part, properties) for part in node)
    if a is None or b is None:
        return lenient_null and name == "PropertyIsNotEqualTo"
    a, b = _alike(a, b)
    return bool(ORDERED[name](a, b))


@dataclass(frozen=True)
class Untyped:
    text: str


def _value(node: ElementTree.Element, properties: Mapping[str, Any]) -> Any:
    name = node.tag.removeprefix(OGC)
    if name == "PropertyName":
        return properties.get(node.text or "")
    if name == "Literal":
        return Untyped(node.text or "")
    a, b = (_value(part, properties) for part in node)
    a, b = (float(one.text) if isinstance(one, Untyped) else one for one in (a, b))
    if a is None or b is None:
        return None
    return {"Add": a + b, "Sub": a - b, "Mul": a * b, "Div": a / b if b else None}[name]


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    if isinstance(a, Untyped) and isinstance(b, Untyped):
        return a.text, b.text
    if isinstance(a, Untyped):
        return _as(a.text, b), b
    if isinstance(b, Untyped):
        return a, _as(b.text, a)
    return a, b


def _as(text: str, other: Any) -> Any:
    if isinstance(other, bool):
        return text == "true"
    if isinstance(other, int | float):
        return float(text)
    if isinstance(other, datetime):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return text


def _regex(pattern: str, wild: str, single: str, escape: str) -> str:
    parts, letters = [], iter(pattern)
    for letter in letters:
        if letter == escape:
            parts.append(re.escape(next(letters, letter)))
        else:
            parts.append(".*" if letter == wild else "." if letter == single else re.escape(letter))
    return "".join(parts)


def _symbolizer(node: ElementTree.Element, properties: Mapping[str, Any]) -> Drawn:
    values: dict[str, str] = {}

    def collect(part: ElementTree.Element, path: str) -> None:
        for child in part:
            name = child.attrib.get("name") or child.tag.rpartition("}")[2]
            if child.tag == f"{OGC}PropertyName":
                values[path.rstrip("/")] = str(properties.get(child.text or ""))
            elif len(child):
                collect(child, f"{path}{name}/")
            else:
                values[f"{path}{name}"] = child.text or ""

    collect(node, "")
    return Drawn(node.tag.removeprefix(SE).removesuffix("Symbolizer"), values)
