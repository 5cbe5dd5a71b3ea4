"""Conditions in CQL2 as filters in Filter Encoding 1.1 that select what is *true*, and nothing that is unknown.

Clients differ in what they make of a missing value: some call ``NOT (a = 1)`` true where ``a`` is missing, some do not.
So ``not`` is pushed down to the comparisons, and each of them says itself what becomes of a missing value: the filters
mean the same under two truth values and under three.

Literals of Filter Encoding have no type.  Where the type of a property is known, a comparison with a literal of another
type is decided here, as CQL2 decides it: a number never equals a text.

Source: OGC 04-095 (Filter Encoding 1.1), OGC 21-065r2 (CQL2).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from geoetl.core.errors import InvalidFilter
from geoetl.core.selectors import MAX_PATTERN_LENGTH, Rows, Tree, evaluate, moments, properties_of
from geoetl.styles.encoders.markup import Xml, escaped, written

OGC = "http://www.opengis.net/ogc"

# Which truth values of a condition are selected.
Wanted = Literal["true", "false", "not true", "not false"]


class Filter(NamedTuple):
    """A condition as it is written, once for all the places where it stands.

    Attributes:
        tag: The name of its element.
        xml: The element.
        parts: The conditions that ``And`` and ``Or`` join.
        guard: The first of two that ``Or`` joins, where it says that a property is missing; else empty.
    """

    tag: str
    xml: Xml
    parts: "tuple[Filter, ...]" = ()
    guard: str = ""


# What selects features: a filter, or all of them, or none.
Part = Filter | bool

_SWAPPED: Mapping[Wanted, Wanted] = {
    "true": "false",
    "false": "true",
    "not true": "not false",
    "not false": "not true",
}
_OPPOSITE: Mapping[str, str] = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_NAMES: Mapping[str, str] = {
    "=": "PropertyIsEqualTo",
    "<>": "PropertyIsNotEqualTo",
    "<": "PropertyIsLessThan",
    "<=": "PropertyIsLessThanOrEqualTo",
    ">": "PropertyIsGreaterThan",
    ">=": "PropertyIsGreaterThanOrEqualTo",
}
_CONDITIONS = frozenset({"and", "or", "not", "between", "in", "like", "isNull", *_NAMES})
_KINDS: Mapping[type, str] = {bool: "boolean", int: "number", float: "number", str: "text"}
# Literals that compare with properties of these kinds as they stand.
_PLAIN: Mapping[type, tuple[str, ...]] = {int: ("number",), float: ("number",), str: ("text",)}
_WILDCARDS: Mapping[str, str] = {"wildCard": "%", "singleChar": "_", "escapeChar": "\\"}
_ARITHMETIC: Mapping[str, str] = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}
# The production Char of XML 1.0: no other character can stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# NCName of "Namespaces in XML 1.0": anything else would be read as a path of XPath.
_START = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c-\u200d\u2070-\u218f"
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NAME = re.compile(f"[{_START}][{_START}\\-.0-9\u00b7\u0300-\u036f\u203f-\u2040]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Inexpressible(Exception):
    """A condition or value has no equal in Filter Encoding; the text says why."""


@dataclass(frozen=True)
class Filters:
    """Writes conditions on the properties of one layer.

    Attributes:
        kinds: "number", "text", "boolean" or "time" by the name of the property, as far as they are known.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    _properties: dict[str, tuple[Xml, Filter]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def select(self, tree: Tree, wanted: Wanted = "true") -> Part:
        """Return what selects the features for which a condition has a wanted truth value; True for all of them.

        Raises:
            Inexpressible: It uses what Filter Encoding has no equal for.
        """
        if isinstance(tree, bool):
            return tree == (wanted in ("true", "not false"))
        if "property" in tree:
            return self._compared("=", tree, True, wanted)
        op, arguments = tree["op"], tree["args"]
        if op == "not":
            return self.select(arguments[0], _SWAPPED[wanted])
        if op in ("and", "or"):
            parts = [self.select(argument, wanted) for argument in arguments]
            return all_of(parts) if (op == "and") == (wanted in ("true", "not false")) else any_of(parts)
        if op in _NAMES and _is_property(arguments[0]):
            if self.kinds.get(arguments[0]["property"]) in _PLAIN.get(type(arguments[1]), ()):
                return self._plainly(op, arguments[0]["property"], arguments[1], wanted)
            return self._compared(op, arguments[0], arguments[1], wanted)
        if not any(isinstance(argument, dict) for argument in arguments):
            return self._constant(tree, wanted)
        for condition, literal in (arguments, arguments[::-1]) if op in ("=", "<>") else ():
            if isinstance(literal, bool) and isinstance(condition, dict) and condition.get("op") in _CONDITIONS:
                return self.select(condition, wanted if literal == (op == "=") else _SWAPPED[wanted])
        if op in _NAMES:
            return self._compared(op, arguments[0], arguments[1], wanted)
        if op == "between":
            value, low, high = arguments
            ends = {"op": "and", "args": [{"op": ">=", "args": [value, low]}, {"op": "<=", "args": [value, high]}]}
            return self.select(ends, wanted)
        if op == "in":
            parts = [self._equal(arguments[0], member, wanted) for member in arguments[1]]
            return any_of(parts) if wanted in ("true", "not false") else all_of(parts)
        if op == "like":
            return self._like(arguments[0], arguments[1], wanted)
        if op == "isNull" and _is_property(arguments[0]):
            missing = self._missing(arguments[0]["property"])
            return missing if wanted in ("true", "not false") else _negated(missing)
        raise Inexpressible(f"Filter Encoding 1.1 has no equal of the operator '{op}' as it is used here")

    def number(self, node: Any) -> Xml:
        """Return a number as an expression; raises Inexpressible where it is none."""
        if self._kind(node) not in ("number", None):
            raise Inexpressible("a number is asked for")
        return self._value(node)

    def untyped(self, tree: Tree) -> list[str]:
        """Return the properties whose kind is not known, of those that a condition compares with literals."""
        if isinstance(tree, dict) and (tree.get("op") in _NAMES or tree.get("op") == "in"):
            first, second = tree["args"]
            if _is_property(first) and not isinstance(second, dict):
                return [] if first["property"] in self.kinds else [first["property"]]
        return sorted(properties_of(tree) - self.kinds.keys())

    def _equal(self, node: Any, member: Any, wanted: Wanted) -> Part:
        if _is_property(node) and self.kinds.get(node["property"]) in _PLAIN.get(type(member), ()):
            return self._plainly("=", node["property"], member, wanted)
        return self.select({"op": "=", "args": [node, member]}, wanted)

    def _constant(self, tree: Tree, wanted: Wanted) -> bool:
        try:
            truth = evaluate(tree, Rows({}, 1))
        except InvalidFilter as error:
            raise Inexpressible(error.detail) from None
        true, known = bool(truth.true[0]), bool(truth.known[0])
        false = known and not true
        return {"true": true, "false": false, "not true": not true, "not false": not false}[wanted]

    def _plainly(self, op: str, name: str, literal: Any, wanted: Wanted) -> Filter:
        """Return the comparison of a property with a literal of its kind, which is what most conditions are."""
        op = op if wanted in ("true", "not false") else _OPPOSITE[op]
        written_name, missing = self._named(name)
        tag = _NAMES[op]
        value = _literal(literal) if isinstance(literal, str) else f"<ogc:Literal>{literal}</ogc:Literal>"
        comparison = Filter(tag, Xml(f"<ogc:{tag}>{written_name}{value}</ogc:{tag}>"))
        if wanted in ("not true", "not false"):
            either = Xml(f"<ogc:Or>{missing.xml}{comparison.xml}</ogc:Or>")
            return Filter("Or", either, (missing, comparison), missing.xml)
        return _group("And", (_negated(missing), comparison)) if op == "<>" else comparison

    def _compared(self, op: str, a: Any, b: Any, wanted: Wanted) -> Part:
        first, second = self._kind(a), self._kind(b)
        is_time = "time" in (first, second)
        are_apart = first != second and first is not None and second is not None
        if is_time and "text" in (first, second) and not (_is_property(a) and _is_property(b)):
            are_apart = False  # the text is the time that it means
        is_ordered = op not in ("=", "<>")
        names = _names(a, b)
        if not names:
            return self._constant({"op": op, "args": [a, b]}, wanted)
        if are_apart or (is_ordered and "boolean" in (first, second)):
            # Of two kinds: equality is known to be false, order is unknown.
            return self._decided(names, wanted, truth=None if is_ordered else op == "<>")
        op = op if wanted in ("true", "not false") else _OPPOSITE[op]
        comparison = self._comparison(op, a, b, is_time=is_time)
        if wanted in ("not true", "not false"):
            return any_of([*map(self._missing, names), comparison])
        # Of a missing value every client calls these false or unknown; only "is not equal" is true for some.
        return all_of([*(self._there(name) for name in names), comparison]) if op == "<>" else comparison

    def _comparison(self, op: str, a: Any, b: Any, *, is_time: bool) -> Part:
        """Return a comparison; whoever calls it sees to missing values."""
        if not is_time:
            return _condition(_NAMES[op], self._value(a), self._value(b))
        if _is_property(a) and _is_property(b):
            return _condition(_NAMES[op], self._value(a), self._value(b))
        if not _is_property(a):
            a, b, op = b, a, {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
        if not _is_property(a):
            raise Inexpressible("a time is compared with what is no property")
        return self._time(op, a, b)

    def _time(self, op: str, node: Any, literal: Any) -> Part:
        """Return the comparison of a moment with a date, which stands for its whole day, or with another moment."""
        text = literal.get("timestamp", literal.get("date")) if isinstance(literal, dict) else literal
        extent = moments(text) if isinstance(text, str) else None
        if extent is None:
            raise Inexpressible("a time is compared with what is none")

        def told(name: str, microseconds: int) -> Filter:
            return _condition(name, self._value(node), _literal(_time_text(microseconds)))

        first, last = extent
        if first == last:
            return told(_NAMES[op], first)
        since, before = (
            told("PropertyIsGreaterThanOrEqualTo", first),
            told("PropertyIsLessThan", last + 1),
        )
        earlier, later = told("PropertyIsLessThan", first), told("PropertyIsGreaterThanOrEqualTo", last + 1)
        return {
            "<": earlier,
            "<=": before,
            ">": later,
            ">=": since,
            "=": all_of([since, before]),
            "<>": any_of([earlier, later]),
        }[op]

    def _like(self, node: Any, pattern: Any, wanted: Wanted) -> Part:
        if not _is_property(node) or not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_LENGTH:
            raise Inexpressible("PropertyIsLike compares a property with a pattern")
        kind, name = self._kind(node), node["property"]
        if kind == "time":
            raise Inexpressible("a time is compared with a pattern")
        if kind in ("number", "boolean"):
            return self._decided([name], wanted, truth=False)
        like = _condition("PropertyIsLike", self._value(node), _literal(pattern), attributes=_WILDCARDS)
        if wanted == "true":
            return like
        if wanted == "false":
            return all_of([self._there(name), _negated(like)])
        return any_of([self._missing(name), _negated(like) if wanted == "not true" else like])

    def _decided(self, names: Sequence[str], wanted: Wanted, *, truth: bool | None) -> Part:
        """Return what selects by a comparison whose outcome is certain as soon as all values are there."""
        if truth is None:
            return wanted in ("not true", "not false")
        if truth == (wanted in ("true", "not false")):
            if wanted in ("true", "false"):
                return all_of([self._there(name) for name in names])
            return True
        if wanted in ("true", "false"):
            return False
        return any_of([self._missing(name) for name in names])

    def _there(self, name: str) -> Filter:
        return _negated(self._missing(name))

    def _missing(self, name: str) -> Filter:
        return self._named(name)[1]

    def _named(self, name: str) -> tuple[Xml, Filter]:
        """Return a property, and the condition that it is missing; both stand in most of the comparisons with it."""
        if name not in self._properties:
            if not is_name(name):
                raise Inexpressible(
                    "Filter Encoding names a property by XPath, and the name of this one is no name of XML"
                )
            written_name = element("PropertyName", text=name)
            self._properties[name] = written_name, _condition("PropertyIsNull", written_name)
        return self._properties[name]

    def _kind(self, node: Any) -> str | None:
        if not isinstance(node, dict):
            kind = _KINDS.get(type(node))
            if kind is None:
                raise Inexpressible("a value is neither a literal nor a property")
            return kind
        if "property" in node:
            return self.kinds.get(node["property"])
        if "date" in node or "timestamp" in node:
            return "time"
        if node.get("op") in _ARITHMETIC:
            return "number"
        raise Inexpressible(f"Filter Encoding 1.1 has no equal of the operator '{node.get('op')}'")

    def _value(self, node: Any) -> Xml:
        if not isinstance(node, dict):
            return _literal(str(node).lower() if self._kind(node) == "boolean" else str(node))
        if "property" in node:
            return self._named(node["property"])[0]
        self._kind(node)
        if node.get("op") not in _ARITHMETIC:
            raise Inexpressible("a time is compared with what is none")
        a, b = node["args"]
        if node["op"] == "/" and (isinstance(b, dict) or not b):
            raise Inexpressible("a division by what may be zero")
        return element(_ARITHMETIC[node["op"]], self.number(a), self.number(b))


def all_of(parts: Iterable[Part]) -> Part:
    """Return what selects what all parts select; "missing or not 1", "missing or not 2" as "missing, or neither"."""
    groups: defaultdict[str | int, list[Filter]] = defaultdict(list)
    for part in parts:
        if part is True:
            continue
        if part is False:
            return False
        if part.guard:
            groups[part.guard].append(part)
            continue
        for one in part.parts if part.tag == "And" else (part,):
            groups[one.guard or len(groups)].append(one)
    kept = [group[0] if len(group) == 1 else _neither(group) for group in groups.values()]
    if not kept:
        return True
    return kept[0] if len(kept) == 1 else _group("And", kept)


def any_of(parts: Iterable[Part]) -> Part:
    """Return what selects what any of the parts selects."""
    kept: list[Filter] = []
    for part in parts:
        if part is True:
            return True
        if part is not False:
            kept += part.parts if part.tag == "Or" else (part,)
    if not kept:
        return False
    return kept[0] if len(kept) == 1 else _group("Or", kept)


def element(name: str, *children: Xml, text: str = "", attributes: Mapping[str, str] | None = None) -> Xml:
    """Return an element of Filter Encoding; the root of a document says what its prefix means."""
    if text or attributes:
        return written(f"ogc:{name}", *children, text=text, attributes=attributes)
    return Xml(f"<ogc:{name}>{''.join(children)}</ogc:{name}>")


def is_xml(text: str) -> bool:
    """Return whether every character of a text may stand in a document of XML 1.0."""
    return _NOT_XML.search(text) is None


def as_xml(text: str) -> str:
    """Return a text with the characters that XML cannot hold replaced (U+FFFD)."""
    return _NOT_XML.sub("\ufffd", text)


def is_name(text: Any) -> bool:
    """Return whether a property of that name can be asked for."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def _condition(tag: str, *children: Xml, attributes: Mapping[str, str] | None = None) -> Filter:
    return Filter(tag, element(tag, *children, attributes=attributes))


def _negated(part: Filter) -> Filter:
    return _condition("Not", part.xml)


def _group(tag: Literal["And", "Or"], parts: Sequence[Filter]) -> Filter:
    is_guarded = tag == "Or" and len(parts) == 2 and parts[0].tag == "PropertyIsNull"
    xml = Xml(f"<ogc:{tag}>{''.join([part.xml for part in parts])}</ogc:{tag}>")
    return Filter(tag, xml, tuple(parts), parts[0].xml if is_guarded else "")


def _neither(group: Sequence[Filter]) -> Filter:
    """Return parts that have one guard as one."""
    missing = group[0].parts[0]
    rest = _group("And", [part.parts[1] for part in group])
    return Filter("Or", Xml(f"<ogc:Or>{missing.xml}{rest.xml}</ogc:Or>"), (missing, rest), missing.xml)


def _names(a: Any, b: Any) -> list[str]:
    """Return the properties in two values; mostly one is a property and one a literal."""
    if _is_property(a) and not isinstance(b, dict):
        return [a["property"]]
    return sorted(properties_of([a, b]))


def _is_property(node: Any) -> bool:
    return isinstance(node, dict) and "property" in node


def _literal(text: str) -> Xml:
    if not is_xml(text):
        raise Inexpressible("a text holds a character that XML does not allow")
    return Xml(f"<ogc:Literal>{escaped(text)}</ogc:Literal>")


def _time_text(microseconds: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise Inexpressible("a time is beyond the years 1 to 9999") from None
    return moment.isoformat().replace("+00:00", "Z")
