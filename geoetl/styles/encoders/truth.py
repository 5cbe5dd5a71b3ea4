"""Conditions for targets that know only true and false: each test says itself what nulls and other kinds do.

CQL2 has three truth values (OGC 21-065r2, 6.6): what is missing makes a comparison unknown, and ``not`` of the unknown
is unknown.  `is_true` and `is_false` push the question down to tests that are never unknown, so that ``not (a = 1)``
becomes "a is there and is not 1".  No test is negated from outside: a target that cannot express one puts false in its
place, and then the whole matches less, never more.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from geoetl.core.letters import casei, matcher

Kind = Literal["number", "text", "boolean", "time"]
Order = Literal["<", "<=", ">", ">="]


@dataclass(frozen=True)
class Present:
    """The value is there, of whatever kind."""

    value: Any


@dataclass(frozen=True)
class Absent:
    """The value is missing."""

    value: Any


@dataclass(frozen=True)
class Equal:
    """Both are there, of one kind, and the same."""

    left: Any
    right: Any


@dataclass(frozen=True)
class Differs:
    """Both are there, and of two kinds or not the same."""

    left: Any
    right: Any


@dataclass(frozen=True)
class Ordered:
    """Both are there, both numbers, texts or times, and stand in this order."""

    order: Order
    left: Any
    right: Any


@dataclass(frozen=True)
class Among:
    """The value is one of these members."""

    value: Any
    members: tuple[Any, ...]


@dataclass(frozen=True)
class NotAmong:
    """The value is there and none of these members."""

    value: Any
    members: tuple[Any, ...]


@dataclass(frozen=True)
class Like:
    """The value is a text and matches the CQL2 pattern."""

    value: Any
    pattern: str


@dataclass(frozen=True)
class Unlike:
    """The value is there and no text that matches the CQL2 pattern."""

    value: Any
    pattern: str


@dataclass(frozen=True)
class Other:
    """A condition that is not taken apart here; it never matches unless the target knows it.

    Attributes:
        node: CQL2 JSON.
        wanted: Whether it has to be true, or false.
    """

    node: Any
    wanted: bool


@dataclass(frozen=True)
class Every:
    """All of two or more tests hold."""

    parts: "tuple[Test, ...]"


@dataclass(frozen=True)
class Some:
    """At least one of two or more tests holds."""

    parts: "tuple[Test, ...]"


Test = (
    bool | Present | Absent | Equal | Differs | Ordered | Among | NotAmong | Like | Unlike | Other | Every | Some
)  # fmt: skip

# Tuples and dicts, as they are quicker to ask for than unions and Mapping; conditions are plain JSON.
_LITERALS = (int, float, str)
_OPPOSITE: Mapping[str, Order] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": math.pow,
    "%": math.fmod,
    "div": lambda a, b: float(math.trunc(a / b)),
}
_CONDITIONS = frozenset({"and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "between", "in", "like", "isNull"})
_COUNTS = {"not": 1, "=": 2, "<>": 2, "<": 2, "<=": 2, ">": 2, ">=": 2, "between": 3, "in": 2, "like": 2, "isNull": 1}


def is_true(node: Any) -> Test:
    """Return the test that holds exactly where a condition, CQL2 JSON, is true."""
    return _told(node, wanted=True)


def is_false(node: Any) -> Test:
    """Return the test that holds exactly where a condition is false, hence not where it is unknown."""
    return _told(node, wanted=False)


def every(parts: Sequence[Test]) -> Test:
    """Return the test that all of these hold, in their order."""
    return _joined(parts, Every, decides=False)


def some(parts: Sequence[Test]) -> Test:
    """Return the test that at least one of these holds, in their order."""
    return _joined(parts, Some, decides=True)


def is_literal(value: Any) -> bool:
    """Return whether a value is a number, text or truth value."""
    return isinstance(value, _LITERALS)


def literal_kind(value: Any) -> Kind:
    """Return the kind of a number, text or truth value."""
    return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def _joined(parts: Sequence[Test], kind: type[Every] | type[Some], *, decides: bool) -> Test:
    kept: list[Test] = []
    for part in parts:
        for one in part.parts if isinstance(part, kind) else (part,):
            if one is decides:
                return decides
            if not isinstance(one, bool):
                kept.append(one)
    return kept[0] if len(kept) == 1 else kind(tuple(kept)) if kept else not decides


def _told(node: Any, *, wanted: bool) -> Test:
    if isinstance(node, bool):
        return node is wanted
    if isinstance(node, dict) and "property" in node:
        return Equal(node, wanted)
    name: Any = node.get("op") if isinstance(node, dict) else None
    arguments: Any = node.get("args", ()) if isinstance(node, dict) else ()
    if name not in _CONDITIONS or len(arguments) != _COUNTS.get(str(name), max(1, len(arguments))):
        return Other(node, wanted)
    if name in ("and", "or"):
        parts = [_told(argument, wanted=wanted) for argument in arguments]
        return every(parts) if (name == "and") == wanted else some(parts)
    if name == "not":
        return _told(arguments[0], wanted=not wanted)
    if name == "between":
        value, low, high = arguments
        ends = [{"op": ">=", "args": [value, low]}, {"op": "<=", "args": [value, high]}]
        return _told({"op": "and", "args": ends}, wanted=wanted)
    if name == "in":
        return _among(node, wanted=wanted)
    values = [_folded(argument) for argument in arguments]
    if not all(value is None or is_literal(value) or isinstance(value, dict) for value in values):
        return Other(node, wanted)
    if any(_is_condition(value) for value in values):
        return _of_conditions(node, name, values, wanted=wanted)
    if name == "isNull":
        return _is_null(values[0], wanted=wanted)
    if None in values:
        return False
    if name == "like":
        return _like(node, values[0], values[1], wanted=wanted)
    if name in ("=", "<>"):
        return _equal(values[0], values[1], same=(name == "=") == wanted)
    return _ordered(name if wanted else _OPPOSITE[name], values[0], values[1])


def _is_condition(value: Any) -> bool:
    return isinstance(value, dict) and value.get("op") in _CONDITIONS


def _of_conditions(node: Any, name: str, values: list[Any], *, wanted: bool) -> Test:
    """Return ``condition = true`` and its like; two conditions are not compared, as that has no bounded length."""
    if name not in ("=", "<>"):
        return Other(node, wanted)
    literal, condition = values if is_literal(values[0]) else values[::-1]
    if not isinstance(literal, bool):
        return Other(node, wanted)
    return _told(condition, wanted=literal if (name == "=") == wanted else not literal)


def _is_null(value: Any, *, wanted: bool) -> Test:
    if value is None or is_literal(value):
        return (value is None) is wanted
    return Absent(value) if wanted else Present(value)


def _equal(left: Any, right: Any, *, same: bool) -> Test:
    if is_literal(left) and is_literal(right):
        return (literal_kind(left) == literal_kind(right) and left == right) is same
    if is_literal(left):
        left, right = right, left
    return Equal(left, right) if same else Differs(left, right)


def _ordered(order: Order, left: Any, right: Any) -> Test:
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if is_literal(left) and is_literal(right):
        return literal_kind(left) == literal_kind(right) and _COMPARED[order](left, right)
    if is_literal(left):
        mirrored: Mapping[str, Order] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
        return Ordered(mirrored[order], right, left)
    return Ordered(order, left, right)


def _among(node: Any, *, wanted: bool) -> Test:
    value, members = node["args"]
    if not isinstance(members, list | tuple) or not members:
        return Other(node, wanted)
    value, members = _folded(value), [_folded(member) for member in members]
    if value is None:
        return False
    if is_literal(value) or not all(map(is_literal, members)) or _is_condition(value):
        parts = [_told({"op": "=", "args": [value, member]}, wanted=wanted) for member in members]
        return some(parts) if wanted else every(parts)
    kept = tuple({(literal_kind(member), member): member for member in members}.values())
    if len(kept) == 1:
        return _equal(value, kept[0], same=wanted)
    return Among(value, kept) if wanted else NotAmong(value, kept)


def _like(node: Any, value: Any, pattern: Any, *, wanted: bool) -> Test:
    if not isinstance(pattern, str):
        return Other(node, wanted)
    if is_literal(value):
        return (isinstance(value, str) and matcher(pattern)(value)) is wanted
    return Like(value, pattern) if wanted else Unlike(value, pattern)


def _folded(value: Any) -> Any:
    """Return a value with what is constant in it worked out; None where it is missing for every row."""
    if not isinstance(value, dict) or value.get("op") not in (*ARITHMETIC, "casei"):
        return value
    name, arguments = value["op"], [_folded(argument) for argument in value.get("args", ())]
    if name == "casei":
        return casei(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], str) else value
    if len(arguments) != 2:
        return value
    if any(one is None or isinstance(one, str | bool) for one in arguments):
        return None
    if not all(map(is_literal, arguments)):
        return {"op": name, "args": arguments}
    try:
        result = ARITHMETIC[name](float(arguments[0]), float(arguments[1]))
    except (ArithmeticError, ValueError):
        return None
    return result if math.isfinite(result) else None
