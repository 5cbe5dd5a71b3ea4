"""Selectors of rules as conditions on the properties of features: identifiers resolved, constants worked out.

A condition is True, False, None (unknown for every feature) or a CQL2-JSON tree over properties and literals, in the
operators of `geoetl.core.selectors`; only ``viz.sd`` stays as an identifier, until `at_scale`.  A selector with an
operator or an identifier that is not known raises `NotUnderstood`: it never matches, whatever stands around it.

Sources: OGC 18-067r4 (draft) section 7; OGC 21-065r2 (CQL2), whose logic has three values.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from geoetl.core.errors import InvalidFilter
from geoetl.core.letters import accenti, casei
from geoetl.core.selectors import MAX_PATTERN_LENGTH, Rows, evaluate, moments, properties_of, value_of
from geoetl.core.temporal import utc_text
from geoetl.styles.expressions import ARITHMETIC, ARRAYS, SPATIAL, SYSTEM_IDENTIFIERS, TEMPORAL
from geoetl.styles.layer import StyledLayer

# Trees are dicts, as in any document that was read: to ask for a Mapping takes several times as long.
type Condition = bool | Mapping[str, Any] | None

SCALE: Mapping[str, Any] = {"sysId": "viz.sd"}
# Variables that stand for variables.
MAX_REFERENCES = 20
# So deep an expression may be, where variables stand for more.
MAX_DEPTH = 64
# So many objects the expressions of one style have; no style within the limits of reading has more by itself.
MAX_STEPS = 200_000
# More conditions joined at once were written by no person, and every rule inside of the rule repeats them.
MAX_JOINED = 1_000
# So many conditions are looked through for one that is there already.
MAX_COMPARED = 16
_VARIABLE = "#/$variables/"
_LITERALS = (bool, int, float, str)
_COUNTS: Mapping[str, int] = {"between": 3, "?:": 3}
_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# What evaluation has no operation for.
_SPATIAL = SPATIAL - {"s_covers", "s_coveredBy"}
_FOLDS: Mapping[str, Callable[[str], str]] = {"casei": casei, "accenti": accenti}
# Operators that give values; all others give conditions.
_VALUES = ARITHMETIC | {"%", "div"} | _FOLDS.keys()
_SWAPPED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}


class NotUnderstood(Exception):
    """An expression has something that is not known; its text says what."""


@dataclass(frozen=True)
class Period:
    """The time that a map shows, which ``viz.date`` and ``viz.timeInterval`` mean.

    Attributes:
        start: Its first moment; what ``viz.date`` and ``viz.dateTime`` are.
        end: Its last moment; aware of its zone, as the first.
    """

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Surroundings:
    """What identifiers and variables of a style stand for.

    Attributes:
        layer: The layer.
        period: The time that the map shows; None where it shows none.
        variables: The style's ``$variables``.
    """

    layer: StyledLayer
    period: Period | None = None
    variables: Mapping[str, Any] | None = None

    def dereferenced(self, node: Any) -> Any:
        """Return what a value stands for, where it is a reference to a variable.

        Raises:
            NotUnderstood: There is no such variable, or it stands for itself.
        """
        for _ in range(MAX_REFERENCES):
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                return node
            address = node["$ref"]
            name = address.removeprefix(_VARIABLE).replace("~1", "/").replace("~0", "~")
            variables = self.variables or {}
            if not address.startswith(_VARIABLE) or name not in variables:
                raise NotUnderstood(f"there is no variable {address[:80]}")
            node = variables[name]
        raise NotUnderstood("a variable stands for itself")

    def identified(self, name: Any) -> Any:
        """Return what a system identifier stands for: a literal, None, or a tree.

        Raises:
            NotUnderstood: It is not known, or not while no time is given.
        """
        # Older drafts, and an official example, write vis for viz.
        known = f"viz{name[3:]}" if isinstance(name, str) and name.startswith("vis.") else name
        if not isinstance(known, str) or known not in SYSTEM_IDENTIFIERS:
            raise NotUnderstood(f"the identifier {str(name)[:60]} is not known")
        if known == "viz.sd":
            return SCALE
        if known.startswith("viz"):
            return self._time(known)
        known_here: Mapping[str, Any] = {
            "dataLayer.id": self.layer.id,
            "dataLayer.type": self.layer.kind,
            "dataLayer.featuresGeometryDimensions": self.layer.dimensions,
            "feature.geometry": {"property": "geometry"},
        }
        if known == "feature.geometryDimensions" and self.layer.dimensions is not None:
            return self.layer.dimensions
        if known not in known_here:
            raise NotUnderstood(f"the identifier {known} is not supported")
        return known_here[known]

    def _time(self, name: str) -> Any:
        if self.period is None:
            raise NotUnderstood(f"{name} needs the time of the map, and none is given")
        subject, _, part = name.removeprefix("viz.").partition(".")
        moment = self.period.start
        if name == "viz.timeInterval":
            return {"interval": [utc_text(moment), utc_text(self.period.end)]}
        if subject == "timeInterval":
            side, _, part = part.partition(".")
            moment = self.period.end if side == "end" else moment
        elif subject in ("date", "timeOfDay"):
            part = f"{'date' if subject == 'date' else 'time'}.{part}".rstrip(".")
        moment = moment.astimezone(UTC)
        parts: Mapping[str, Any] = {
            "": {"timestamp": utc_text(moment)},
            "date": {"date": f"{moment:%Y-%m-%d}"},
            "date.day": moment.day,
            "date.month": moment.month,
            "date.year": moment.year,
            "time.hour": moment.hour,
            "time.minutes": moment.minute,
            "time.seconds": moment.second,
        }
        if part not in parts:
            raise NotUnderstood(f"the identifier {name} is not supported")
        return parts[part]


class Resolver:
    """Makes conditions and values of the expressions of one style.

    Args:
        around: What identifiers and variables stand for.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        # Variables in variables can stand for more than any memory holds.
        self._left = MAX_STEPS

    def dereferenced(self, node: Any) -> Any:
        """Return what a value stands for, where it is a reference to a variable.

        Raises:
            NotUnderstood: There is no such variable, or all together stand for too much.
        """
        if not isinstance(node, dict):
            return node
        self._left -= 1
        if self._left < 0:
            raise NotUnderstood("the expressions of the style are too large")
        return self._around.dereferenced(node) if "$ref" in node else node

    def condition(self, node: Any, depth: int = 0) -> Condition:
        """Return an expression as a condition.

        Raises:
            NotUnderstood: Something in it is not known.
        """
        node = self._entered(node, depth)
        if node is None or isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise NotUnderstood(f"{node!r:.60} is no condition")
        if "op" not in node:
            found = self.value(node, depth + 1)
            if found is None or isinstance(found, bool) or (isinstance(found, dict) and "property" in found):
                return found
            raise NotUnderstood("a value is no condition")
        name = node["op"]
        arguments = node.get("args")
        if name == "isNull":
            return self._is_null(arguments, depth)
        if not isinstance(arguments, list):
            raise NotUnderstood(f"the operator {str(name)[:60]} has no list of arguments")
        if name in ("and", "or", "not"):
            return self._joined(name, arguments, depth)
        make = self._MAKERS.get(name) if isinstance(name, str) else None
        if make is None:
            raise NotUnderstood(f"the operator {str(name)[:60]} is not supported")
        count = _COUNTS.get(name, 2)
        if len(arguments) != count:
            raise NotUnderstood(f"the operator {name} takes {count} arguments, not {len(arguments)}")
        return make(self, name, arguments, depth + 1)

    def value(self, node: Any, depth: int = 0) -> Any:
        """Return an expression as a literal, None (missing for every feature), or a tree.

        Raises:
            NotUnderstood: Something in it is not known.
        """
        node = self._entered(node, depth)
        if node is None or isinstance(node, _LITERALS):
            return node
        if not isinstance(node, dict):
            raise NotUnderstood("a list is no value")
        if "op" in node:
            return self._operation(node, depth)
        if isinstance(node.get("property"), str):
            return {"property": node["property"]}
        if "sysId" in node:
            return self._around.identified(node["sysId"])
        return _instant(node)

    def _entered(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NotUnderstood("it is nested too deeply")
        return self.dereferenced(node)

    def _joined(self, name: str, arguments: list[Any], depth: int) -> Condition:
        if len(arguments) > MAX_JOINED:
            raise NotUnderstood(f"more than {MAX_JOINED:,} conditions joined by {name} are not supported")
        if not arguments or (name == "not" and len(arguments) != 1):
            raise NotUnderstood(f"the operator {name} has {len(arguments)} arguments")
        if name == "not":
            return negated(self.condition(arguments[0], depth + 1))
        parts: list[Condition] = []
        unknown: NotUnderstood | None = None
        for argument in arguments:
            try:
                part = self.condition(argument, depth + 1)
            except NotUnderstood as error:
                if name == "or":
                    raise
                unknown = unknown or error
                continue
            if part is False and name == "and":
                # Another layer's rule, say: what else it needs does not matter here.
                return False
            parts.append(part)
        if unknown is not None:
            raise unknown
        return joined(name, parts)

    def _comparison(self, name: str, arguments: list[Any], depth: int) -> Condition:
        return compared(name, *(self.value(argument, depth) for argument in arguments))

    def _between(self, name: str, arguments: list[Any], depth: int) -> Condition:
        value, low, high = (self.value(argument, depth) for argument in arguments)
        if _is_tree(value) and _is_plain(low) and _is_plain(high):
            return {"op": name, "args": [value, low, high]}
        return joined("and", [compared(">=", value, low), compared("<=", value, high)])

    def _among(self, name: str, arguments: list[Any], depth: int) -> Condition:
        listed = self.dereferenced(arguments[1])
        if not isinstance(listed, list) or not listed:
            raise NotUnderstood("the operator in takes a list with at least one member")
        value, members = self.value(arguments[0], depth), [self.value(member, depth) for member in listed]
        if not _is_tree(value):
            return joined("or", [compared("=", value, member) for member in members])
        plain = list(dict.fromkeys((type(member) is bool, member) for member in members if _is_plain(member)))
        others = [member for member in members if not _is_plain(member)]
        kept: list[Condition] = [{"op": name, "args": [value, [member for _, member in plain]]}] if plain else []
        return joined("or", [*kept, *(compared("=", value, member) for member in others)])

    def _like(self, name: str, arguments: list[Any], depth: int) -> Condition:
        value, pattern = (self.value(argument, depth) for argument in arguments)
        if value is None or pattern is None:
            return None
        if not isinstance(pattern, str):
            raise NotUnderstood(f"the operator {name} takes a text to look for")
        if name != "like":
            pattern = "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in pattern)
            pattern = f"{'' if name == 'startsWith' else '%'}{pattern}{'' if name == 'endsWith' else '%'}"
        if len(pattern) > MAX_PATTERN_LENGTH:
            raise NotUnderstood(f"a pattern has more than {MAX_PATTERN_LENGTH} letters")
        return _judged({"op": "like", "args": [value, pattern]})

    def _is_null(self, arguments: Any, depth: int) -> Condition:
        if isinstance(arguments, list) and len(arguments) != 1:
            raise NotUnderstood("the operator isNull takes one argument")
        value = self.value(arguments[0] if isinstance(arguments, list) else arguments, depth + 1)
        if not _is_tree(value) or value == SCALE:
            return value is None
        if "op" in value and value["op"] not in _VALUES:
            raise NotUnderstood("isNull of a condition is not supported")
        return {"op": "isNull", "args": [value]}

    def _relation(self, name: str, arguments: list[Any], depth: int) -> Condition:
        """Return a comparison of geometries, times or lists."""
        take = self._geometry if name in SPATIAL else self._time if name in TEMPORAL else self._list
        sides = [take(argument, depth) for argument in arguments]
        return None if None in sides else _judged({"op": name, "args": sides})

    def _geometry(self, node: Any, depth: int) -> Any:
        node = self.dereferenced(node)
        if isinstance(node, dict) and ("bbox" in node or "coordinates" in node or "geometries" in node):
            return dict(node)
        return self.value(node, depth)

    def _time(self, node: Any, depth: int) -> Any:
        node = self.dereferenced(node)
        if not isinstance(node, dict) or "interval" not in node:
            return self.value(node, depth)
        ends = node["interval"]
        if not isinstance(ends, list) or len(ends) != 2:
            raise NotUnderstood("an interval has two ends")
        made = [self.value(end, depth) for end in ends]
        return None if None in made else {"interval": made}

    def _list(self, node: Any, depth: int) -> Any:
        node = self.dereferenced(node)
        return [self.value(member, depth) for member in node] if isinstance(node, list) else self.value(node, depth)

    def _conditional(self, name: str, arguments: list[Any], depth: int) -> Condition:
        chosen = self.condition(arguments[0], depth)
        if isinstance(chosen, dict):
            raise NotUnderstood("a choice (?:) in a condition is not supported")
        return self.condition(arguments[1] if chosen else arguments[2], depth)

    def _operation(self, node: Mapping[str, Any], depth: int) -> Any:
        name, arguments = str(node["op"]), node.get("args")
        if name not in _VALUES and name != "?:":
            return self.condition(node, depth)
        if not isinstance(arguments, list):
            raise NotUnderstood(f"the operator {name} has no list of arguments")
        if name == "?:" and len(arguments) == 3:
            chosen = self.condition(arguments[0], depth + 1)
            if isinstance(chosen, dict):
                raise NotUnderstood("a choice (?:) inside of another expression is not supported")
            return self.value(arguments[1] if chosen else arguments[2], depth + 1)
        values = [self.value(argument, depth + 1) for argument in arguments]
        if len(values) != (1 if name in _FOLDS else 2):
            raise NotUnderstood(f"the operator {name} has {len(values)} arguments")
        if SCALE in values:
            raise NotUnderstood("arithmetic with viz.sd is not supported")
        if name in _FOLDS:
            if not _is_tree(values[0]):
                return _FOLDS[name](values[0]) if isinstance(values[0], str) else None
            return {"op": name, "args": values}
        if any(
            not _is_tree(value) and (isinstance(value, bool) or not isinstance(value, int | float)) for value in values
        ):
            return None
        return {"op": name, "args": values} if any(map(_is_tree, values)) else _calculated(name, *values)

    _MAKERS: ClassVar[Mapping[str, "Callable[[Resolver, str, list[Any], int], Condition]"]] = {
        **dict.fromkeys(_SPATIAL | TEMPORAL | ARRAYS, _relation),
        **dict.fromkeys(_ORDERED, _comparison),
        **dict.fromkeys(("like", "contains", "startsWith", "endsWith"), _like),
        "between": _between,
        "in": _among,
        "?:": _conditional,
    }


# -- logic of three values -------------------------------------------------------------------------------------------


def joined(name: str, parts: Sequence[Condition]) -> Condition:
    """Return conditions joined by ``and`` or ``or``."""
    decides = name == "or"
    kept: list[Condition] = []
    for part in parts:
        if part is decides:
            return decides
        if isinstance(part, bool):
            continue
        for one in part["args"] if isinstance(part, dict) and part.get("op") == name else (part,):
            if len(kept) >= MAX_COMPARED or one not in kept:
                kept.append(one)
    if len(kept) < 2:
        return kept[0] if kept else not decides
    return {"op": name, "args": kept}


def negated(part: Condition) -> Condition:
    """Return the opposite of a condition; that of unknown is unknown."""
    if isinstance(part, bool):
        return not part
    if part is None:
        return None
    return part["args"][0] if part.get("op") == "not" else {"op": "not", "args": [part]}


def compared(name: str, first: Any, second: Any) -> Condition:
    """Return a comparison of two values, worked out where both are known.

    Raises:
        NotUnderstood: The two cannot be compared.
    """
    if first is None or second is None:
        return None
    if SCALE in (first, second):
        if first != SCALE:
            first, second, name = second, first, _SWAPPED[name]
        if _is_tree(second):
            raise NotUnderstood("viz.sd is compared with something else than a number")
        if type(second) not in (int, float):
            return _of_kinds(name)
        return {"op": name, "args": [SCALE, second]}
    if isinstance(first, bool) and not isinstance(second, bool):
        first, second, name = second, first, _SWAPPED[name]
    if _is_predicate(first) or _is_predicate(second):
        if isinstance(second, bool) and name in ("=", "<>"):
            return first if second == (name == "=") else negated(first)
        raise NotUnderstood("a condition is compared with something else than true or false")
    if _is_tree(first) or _is_tree(second):
        tree = {"op": name, "args": [first, second]}
        return _judged(tree) if _has_time(first) or _has_time(second) else tree
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (first, second)]
    if numbers[0] != numbers[1] or (not numbers[0] and type(first) is not type(second)):
        return _of_kinds(name)
    if isinstance(first, bool) and name not in ("=", "<>"):
        return None
    return _ORDERED[name](first, second)


def _of_kinds(name: str) -> Condition:
    """Return what a comparison of values of different kinds is: they are not equal, and have no order."""
    return {"=": False, "<>": True}.get(name)


def at_scale(tree: Condition, denominator: float | None) -> Condition:
    """Return a condition at a scale; None as the scale makes what needs it unknown."""
    if not isinstance(tree, dict) or not needs_scale(tree):
        return tree
    name, arguments = tree["op"], tree["args"]
    if name in _ORDERED:
        return None if denominator is None else _ORDERED[name](denominator, arguments[1])
    parts = [at_scale(argument, denominator) for argument in arguments]
    return negated(parts[0]) if name == "not" else joined(name, parts)


def needs_scale(tree: Any) -> bool:
    """Tell whether a condition depends on the scale."""
    return bool(scales_of(tree))


def scales_of(tree: Any) -> set[float]:
    """Return the denominators with which a condition compares the scale."""
    if not isinstance(tree, dict) or "op" not in tree:
        return set()
    name, arguments = tree["op"], tree["args"]
    if name in _ORDERED:
        return {float(arguments[1])} if arguments[0] == SCALE else set()
    if name not in ("and", "or", "not"):
        return set()
    return {scale for argument in arguments for scale in scales_of(argument)}


def matching(tree: Condition) -> bool | Mapping[str, Any]:
    """Return a condition that is true where one is true, without unknown parts in it: those never match."""
    return _true(tree) if _has_unknown(tree) else (tree if tree is not None else False)


def never(condition: Condition) -> bool:
    """Tell whether a condition is true of no feature, as far as that is plain to see."""
    kept = matching(condition)
    if isinstance(kept, bool):
        return not kept
    wanted: dict[str, Any] = {}
    for part in kept["args"] if kept.get("op") == "and" else (kept,):
        if part.get("op") != "=":
            continue
        name, literal = _property(part["args"][0]), part["args"][1]
        if name is None or not _is_plain(literal):
            continue
        known = (isinstance(literal, bool), literal)
        if wanted.setdefault(name, known) != known:
            return True
    return False


def _property(node: Any) -> str | None:
    return node.get("property") if isinstance(node, dict) else None


def _has_unknown(tree: Any) -> bool:
    if tree is None:
        return True
    return (
        isinstance(tree, dict)
        and tree.get("op") in ("and", "or", "not")
        and any(_has_unknown(argument) for argument in tree["args"])
    )


def _true(tree: Condition) -> Any:
    """Return what is true where a condition is true."""
    if not isinstance(tree, dict):
        return tree is True
    name = tree.get("op")
    if name == "not":
        return _false(tree["args"][0])
    return joined(str(name), [_true(part) for part in tree["args"]]) if name in ("and", "or") else tree


def _false(tree: Condition) -> Any:
    """Return what is true where a condition is false."""
    if not isinstance(tree, dict):
        return tree is False
    name = tree.get("op")
    if name == "not":
        return _true(tree["args"][0])
    if name in ("and", "or"):
        return joined("or" if name == "and" else "and", [_false(part) for part in tree["args"]])
    return negated(tree)


# -- values ----------------------------------------------------------------------------------------------------------


def _is_tree(value: Any) -> bool:
    return isinstance(value, dict) and "date" not in value and "timestamp" not in value


def _is_predicate(value: Any) -> bool:
    return isinstance(value, dict) and "op" in value and value["op"] not in _VALUES


def _is_plain(value: Any) -> bool:
    return isinstance(value, _LITERALS)


def _has_time(value: Any) -> bool:
    return isinstance(value, dict) and ("date" in value or "timestamp" in value)


def _instant(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a date or time, also as older drafts write it: ``{"function": "DATE", "args": ["2020-01-01"]}``."""
    arguments = node.get("args")
    text = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else None
    made = {"DATE": {"date": text}, "TIMESTAMP": {"timestamp": text}}.get(str(node.get("function")), node)
    for key in ("date", "timestamp"):
        text = made.get(key)
        if isinstance(text, str):
            if (len(text) == 10) != (key == "date") or moments(text) is None:
                raise NotUnderstood(f"{text[:40]!r} is no {key} of the calendar")
            return {key: text}
    raise NotUnderstood(f"an object with {', '.join(map(str, node))[:60] or 'nothing in it'} is no value")


def _judged(tree: Mapping[str, Any]) -> Condition:
    """Return a condition that evaluation takes, worked out where it is about no property."""
    try:
        truth = evaluate(tree, Rows({}, 1))
    except InvalidFilter as error:
        raise NotUnderstood(error.detail.rstrip(".")) from None
    if properties_of(tree):
        return tree
    return bool(truth.true[0]) if truth.known[0] else None


def _calculated(name: str, first: float, second: float) -> float | None:
    """Return what evaluation gives for two numbers: None where it is no finite number."""
    column = value_of({"op": name, "args": [first, second]}, Rows({}, 1)).part("number")
    return float(column.values[0]) if column.there[0] else None
