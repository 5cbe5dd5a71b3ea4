"""What the official schema of CartoSym-JSON takes as an expression.

Its grammar is made of choices of which exactly one may fit, and many an expression fits several; ``$dynamicRef`` and
``prefixItems`` are no words of JSON Schema 2019-09, in which it is written, so that conditions inside of conditions are
not looked at.  `kinds` says for a value which of the choices it is, in one pass from the leaves up, so that the models
accept exactly what the schema accepts.

Source: OGC 18-067r4 (draft), ``CartoSym-JSON.schema.json``, from ``idOrFnExpression`` on.
"""

import re
from collections.abc import Mapping
from enum import Flag, auto
from typing import Any


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


SYSTEM_IDENTIFIERS = words(
    """
    dataLayer dataLayer.id dataLayer.type dataLayer.features dataLayer.featuresGeometry
    dataLayer.featuresGeometryDimensions feature feature.id feature.geometry feature.geometryDimensions viz viz.sd
    viz.date viz.date.day viz.date.month viz.date.year viz.dateTime viz.dateTime.date viz.dateTime.date.day
    viz.dateTime.date.month viz.dateTime.date.year viz.dateTime.time viz.dateTime.time.hour viz.dateTime.time.minutes
    viz.dateTime.time.seconds viz.timeInterval viz.timeInterval.start viz.timeInterval.start.date
    viz.timeInterval.start.date.day viz.timeInterval.start.date.month viz.timeInterval.start.date.year
    viz.timeInterval.start.time viz.timeInterval.start.time.hour viz.timeInterval.start.time.minutes
    viz.timeInterval.start.time.seconds viz.timeInterval.end viz.timeInterval.end.date viz.timeInterval.end.date.day
    viz.timeInterval.end.date.month viz.timeInterval.end.date.year viz.timeInterval.end.time
    viz.timeInterval.end.time.hour viz.timeInterval.end.time.minutes viz.timeInterval.end.time.seconds viz.timeOfDay
    viz.timeOfDay.hour viz.timeOfDay.minutes viz.timeOfDay.seconds
    """
)
COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">="})
TEXT_RELATIONS = frozenset({"contains", "startsWith", "endsWith"})
ARITHMETIC = frozenset({"+", "-", "*", "/", "^"})
SPATIAL = words(
    "s_contains s_crosses s_disjoint s_equals s_intersects s_overlaps s_touches s_within s_covers s_coveredBy"
)
TEMPORAL = words(
    """
    t_after t_before t_contains t_disjoint t_during t_equals t_finishedBy t_finishes t_intersects t_meets t_metBy
    t_overlappedBy t_overlaps t_startedBy t_starts
    """
)
ARRAYS = frozenset({"a_containedBy", "a_contains", "a_equals", "a_overlaps"})
PREDICATES = (
    COMPARISONS
    | TEXT_RELATIONS
    | SPATIAL
    | TEMPORAL
    | ARRAYS
    | frozenset({"and", "or", "not", "like", "between", "in", "isNull"})
)
_BINARY_GEOMETRY = ("s_intersection", "s_union", "s_difference", "s_symDifference")
_HEX = re.compile("[a-fA-F0-9]")


class Kind(Flag):
    """The choices that a value fits."""

    NONE = 0
    TEXT = auto()
    NUMBER = auto()
    CONDITION = auto()
    GEOMETRY = auto()
    TIME = auto()
    LIST = auto()
    # An identifier, a property, a function or a conditional: what the schema calls idOrFnExpression.
    REFERENCE = auto()
    # An operand of the bitwise operators.
    BITS = auto()
    # What the operations on geometries give.
    SHAPE = auto()
    # What may stand beside lists in comparisons of lists: exactly one kind of reference.
    ONE_REFERENCE = auto()


_ARGUMENT = Kind.TEXT | Kind.NUMBER | Kind.GEOMETRY | Kind.TIME | Kind.LIST


def kinds(node: Any) -> Kind:
    """Return which of the schema's choices a JSON value fits."""
    if isinstance(node, str):
        return Kind.TEXT | Kind.BITS if _HEX.match(node) else Kind.TEXT
    if isinstance(node, bool):
        return Kind.CONDITION
    if isinstance(node, int | float):
        return Kind.NUMBER | Kind.BITS if node == int(node) else Kind.NUMBER
    if isinstance(node, list | tuple):
        return Kind.LIST if all(_is_argument(kinds(item)) for item in node) else Kind.NONE
    return _kinds_of_object(node) if isinstance(node, Mapping) else Kind.NONE


def is_number(node: Any) -> bool:
    """Tell whether a value stands for a number."""
    return type(node) in (int, float) or bool(kinds(node) & Kind.NUMBER)


def is_text(node: Any) -> bool:
    """Tell whether a value stands for a text."""
    return isinstance(node, str) or bool(kinds(node) & Kind.TEXT)


def is_condition(node: Any) -> bool:
    """Tell whether a value stands for true or false."""
    return isinstance(node, bool) or bool(kinds(node) & Kind.CONDITION)


def is_reference(node: Any) -> bool:
    """Tell whether a value is an identifier, a property, a function or a conditional."""
    return isinstance(node, Mapping) and bool(kinds(node) & Kind.REFERENCE)


def _is_argument(kind: Kind) -> bool:
    # The schema's list of what an argument may be has an unknown word in it, which accepts everything, and takes what
    # fits one choice only: so nothing else may fit.
    return not kind & _ARGUMENT


def _kinds_of_object(node: Mapping[str, Any]) -> Kind:
    identifier = node.get("sysId")
    is_identifier = isinstance(identifier, str) and identifier in SYSTEM_IDENTIFIERS
    references = [isinstance(node.get("property"), str), is_identifier]
    found = Kind.NONE
    fits: dict[str, bool] = {}
    if "op" in node and "args" in node:
        fits = _operation(node)
        references += [fits["function"], fits["conditional"]]
    count = sum(references)
    if count:
        found |= Kind.REFERENCE
    if count == 1:
        found |= Kind.ONE_REFERENCE
    numeric = fits.get("number", 0)
    if count + numeric == 1:
        found |= Kind.NUMBER | Kind.BITS
    if count + fits.get("text", 0) == 1:
        found |= Kind.TEXT
    if fits.get("shape") == 1:
        found |= Kind.SHAPE
    if count + (fits.get("shape") == 1) == 1:
        found |= Kind.GEOMETRY
    if count + _is_time(node) == 1:
        found |= Kind.TIME
    if fits and fits["condition"] + fits["function"] + fits["conditional"] == 1:
        found |= Kind.CONDITION
    return found


def _is_time(node: Mapping[str, Any]) -> bool:
    instant = isinstance(node.get("date"), str) != isinstance(node.get("timestamp"), str)
    ends = node.get("interval")
    interval = isinstance(ends, list | tuple) and len(ends) == 2 and all(_is_end(end) for end in ends)
    return instant != interval


def _is_end(node: Any) -> bool:
    # A date fits the schema's date and its time alike, so that only an open end fits one choice.
    return node == ".." if isinstance(node, str) else bool(kinds(node) & Kind.ONE_REFERENCE)


def _operation(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many of the schema's operations of each kind an object fits."""
    arguments = node["args"]
    # Some choices look at nothing but the arguments, so that the name may be anything.
    name = node["op"] if isinstance(node["op"], str) else ""
    named = node.get("name")
    unnamed = "name" not in node
    is_list = isinstance(arguments, list | tuple)
    each = [kinds(argument) for argument in arguments] if is_list else []
    count = len(each)
    texts = sum(bool(kind & Kind.TEXT) for kind in each) == count
    bits = sum(bool(kind & Kind.BITS) for kind in each) == count
    shapes = sum(bool(kind & Kind.SHAPE) for kind in each) == count
    plain = all(_is_argument(kind) for kind in each)
    number = is_list and (
        (name in ARITHMETIC and count == 2 and all(kind & Kind.NUMBER for kind in each))
        or (name in ("bitAnd", "bitOr", "bitXor", "<<", ">>") and count == 2 and bits)
        or (name == "bitNot" and count == 1 and bits)
    )
    text = [
        name in ("casei", "accenti", "lowerCase", "upperCase") and count == 1 and texts,
        name == "concatenate" and count >= 2 and texts,
        (unnamed or named == "substitute") and count == 3 and texts,
        (unnamed or named == "format") and count >= 1 and plain,
    ]
    shape = [
        (unnamed or named in _BINARY_GEOMETRY) and count == 2 and shapes,
        (unnamed or named in ("s_convexHull", "s_envelope")) and count == 1 and shapes,
        (unnamed or named == "s_buffer") and count == 2,
    ]
    return {
        "number": bool(number),
        "text": sum(text) if is_list else 0,
        "shape": sum(shape) if is_list else 0,
        "condition": _is_predicate(name, arguments, each, is_list),
        "function": isinstance(node["op"], str) and is_list and plain,
        "conditional": name == "?:" and count == 3,
    }


def _is_predicate(name: str, arguments: Any, each: list[Kind], is_list: bool) -> bool:
    if name not in PREDICATES:
        return False
    if name == "isNull":
        return not kinds(arguments) & (Kind.TEXT | Kind.NUMBER | Kind.GEOMETRY | Kind.TIME)
    if not is_list:
        return False
    if name in ("and", "or"):
        return len(each) >= 2
    if name == "not":
        return len(each) == 1
    if name in COMPARISONS:
        return len(each) == 2
    if name == "between":
        return len(each) == 3 and all(kind & Kind.NUMBER for kind in each)
    if name in ARRAYS:
        return len(each) == 2 and all(bool(kind & Kind.LIST) != bool(kind & Kind.ONE_REFERENCE) for kind in each)
    return True
