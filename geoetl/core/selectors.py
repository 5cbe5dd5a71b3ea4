"""CQL2 filters on columns in memory: which rows match, with nulls as CQL2 and SQL have them.

One evaluator serves the features of a file, all or one, and the selectors of styles.  It does no I/O: it takes a
checked tree (`geoetl.store.catalog.cql2.parse`) and columns, and returns for every row true, false or unknown.  An
operator that it does not know is refused, never true.

What a comparison says about values of different kinds is what the catalogue says (`geoetl.store.catalog.predicates`): a
number never equals a text, so ``=`` is false and ``<>`` true; ``<`` and its like are unknown.  What is missing makes a
comparison unknown.  A date stands for the whole day; a time without a zone is in UTC.

Source: OGC 21-065r2, Common Query Language (CQL2).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geoetl.core.errors import InvalidFilter, InvalidTime
from geoetl.core.letters import accenti, casei, matcher
from geoetl.core.temporal import parse_instant

Tree = Mapping[str, Any] | bool
Kind = Literal["number", "text", "boolean", "time", "list", "geometry"]
Flags = NDArray[np.bool_]
Array = NDArray[Any]
ReadShape = Callable[[Mapping[str, Any]], BaseGeometry]

# A longer pattern is no pattern that a person wrote.
MAX_PATTERN_LENGTH = 500
# About the outline of a country at its finest; the text of a filter is limited before it comes here.
MAX_VERTICES = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
DAY_US = 24 * 3600 * 1_000_000
# The ends of time: years 0 and 10000 lie within.
BEGINNING_US, END_US = -(1 << 62), 1 << 62


@dataclass(frozen=True)
class Part:
    """Those values of a column that are of one kind.

    Attributes:
        values: One for each row, or one for all; of a time its first microsecond since 1970 UTC (int64).
        there: Which rows have a value of this kind.
        last: Of times the last microsecond that they stand for.
    """

    values: Array
    there: Flags
    last: Array | None = None

    @property
    def until(self) -> Array:
        """The last microsecond of each time."""
        return self.values if self.last is None else self.last


@dataclass(frozen=True)
class Column:
    """The values of one property.

    Attributes:
        there: Which rows have one at all.
        parts: The values by their kind; a column of a table has one, the members of JSON documents may have several.
        literal: The value itself where it stands in the filter.
    """

    there: Flags
    parts: Mapping[Kind, Part]
    literal: Any = None

    @classmethod
    def of(cls, kind: Kind, values: Array, there: Flags, last: Array | None = None) -> "Column":
        """Return a column of one kind; NaN counts as missing."""
        if kind == "number" and values.dtype.kind == "f":
            there = there & ~np.isnan(values)
        return cls(there, {kind: Part(values, there, last)})

    @classmethod
    def from_values(cls, values: Iterable[Any]) -> "Column":
        """Return a column of any values: numpy and pandas arrays, or a list of what JSON and Python have."""
        array: Any = values
        if isinstance(array, np.ndarray) and array.dtype.kind in "iufb":
            kind: Kind = "boolean" if array.dtype.kind == "b" else "number"
            return cls.of(kind, array, np.ones(len(array), bool))
        if hasattr(array, "dtype") and getattr(array.dtype, "kind", "O") == "M":
            return _of_instants(array)
        return _of_objects(list(array))

    def part(self, kind: Kind) -> Part:
        """Return the values of one kind; of a text, where a time is asked for, the time that it means."""
        if kind in self.parts:
            return self.parts[kind]
        if kind == "time" and "text" in self.parts:
            return _times_of(self.parts["text"])
        none = np.empty(1, object) if kind in ("text", "list", "geometry") else np.zeros(1, np.int64)
        return Part(none, np.zeros(1, bool))


class Columns(Protocol):
    """Rows with named properties."""

    @property
    def size(self) -> int:
        """How many rows there are."""
        ...

    def column(self, name: str) -> Column:
        """Return a property of every row; raises InvalidFilter where rows have none of that name."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows in memory, by the values of each property.

    Attributes:
        values: Arrays or lists of one length; a property that is not among them is missing in every row.
        size: Number of rows.
    """

    values: Mapping[str, Iterable[Any]]
    size: int
    _known: dict[str, Column] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of_documents(cls, documents: Sequence[Mapping[str, Any]]) -> "Rows":
        """Return documents as rows, such as the properties of GeoJSON features."""
        names = {name for document in documents for name in document}
        return cls({name: [document.get(name) for document in documents] for name in names}, len(documents))

    def column(self, name: str) -> Column:
        """Return a property of every row."""
        if name not in self._known:
            self._known[name] = (
                Column.from_values(self.values[name]) if name in self.values else Column(np.zeros(self.size, bool), {})
            )
        return self._known[name]


@dataclass(frozen=True)
class Truth:
    """True, false or unknown, for each row or once for all.

    Attributes:
        true: Where it is true.
        known: Where it is true or false.
    """

    true: Flags
    known: Flags


def matches(tree: Tree, columns: Columns, shape: ReadShape | None = None) -> Flags:
    """Return which rows match: array (row) of bool; what is unknown does not.

    Args:
        tree: Checked CQL2 JSON.
        columns: The rows.
        shape: Reads a geometry or box of the filter; left out, `geometry_of`.

    Raises:
        InvalidFilter: An operator is not known here, or its arguments do not fit.
    """
    return np.broadcast_to(evaluate(tree, columns, shape).true, (columns.size,))


def evaluate(tree: Tree, columns: Columns, shape: ReadShape | None = None) -> Truth:
    """Return what a filter says about each row; see `matches`.

    Raises:
        InvalidFilter: An operator is not known here, or its arguments do not fit.
    """
    truth = _Evaluator(columns, shape or geometry_of).truth(tree)
    return Truth(np.broadcast_to(truth.true, (columns.size,)), np.broadcast_to(truth.known, (columns.size,)))


def value_of(node: Any, columns: Columns) -> Column:
    """Return an expression of each row, or one value for all: a literal, a property or arithmetic.

    Raises:
        InvalidFilter: It is no value, or has an operator that is not known here.
    """
    return _Evaluator(columns, geometry_of).value(node)


def conjuncts(tree: Tree) -> list[Tree]:
    """Return the conditions that all have to hold: those that ``and`` joins at the top."""
    if isinstance(tree, Mapping) and tree.get("op") == "and":
        return [one for argument in tree["args"] for one in conjuncts(argument)]
    return [tree]


def properties_of(node: Any) -> set[str]:
    """Return the names of the properties that a filter looks at."""
    if isinstance(node, (str, int, float)):
        return set()
    if isinstance(node, Mapping):
        if "property" in node:
            return {str(node["property"])}
        return {name for part in node.values() for name in properties_of(part)}
    if isinstance(node, list | tuple):
        return {name for part in node for name in properties_of(part)}
    return set()


def geometry_of(node: Mapping[str, Any]) -> BaseGeometry:
    """Return a geometry or box of a filter, in its own coordinates; a box with west > east crosses the antimeridian.

    Raises:
        InvalidFilter: It is none, has no finite coordinates, or too many.
    """
    if "bbox" in node:
        return _box(node["bbox"])
    try:
        shape = shapely.geometry.shape(dict(node))
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
        raise wrong(f"The geometry {_shown(node)} cannot be read.", "Give GeoJSON or WKT.") from None
    places = shapely.get_coordinates(shape)
    if len(places) > MAX_VERTICES:
        raise wrong(f"A geometry has {len(places):,} vertices, more than {MAX_VERTICES:,}.", "Simplify it.")
    if shape.is_empty or not np.isfinite(places).all():
        raise wrong("A geometry of the filter is empty or has no finite coordinates.", "Check it.")
    return shape if shape.is_valid else shapely.make_valid(shape)


def _box(numbers: Any) -> BaseGeometry:
    try:
        edges = [float(number) for number in numbers]
    except (TypeError, ValueError):
        edges = []
    if len(edges) == 6:
        edges = [edges[0], edges[1], edges[3], edges[4]]
    if len(edges) != 4 or not np.isfinite(edges).all():
        raise wrong("A box of the filter is not 4 or 6 numbers.", "For example: BBOX(5, 47, 15, 55)")
    west, south, east, north = edges
    if south > north:
        raise wrong(f"A box has its south ({south}) above its north ({north}).", "Give BBOX(west, south, east, north).")
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))


# -- conditions ------------------------------------------------------------------------------------------------------

_COMPARED: Mapping[str, Callable[[Array, Array], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
# With the shape of the filter, which is prepared, as the first argument.
_SPATIAL: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "s_intersects": (shapely.intersects, shapely.intersects),
    "s_disjoint": (shapely.disjoint, shapely.disjoint),
    "s_contains": (shapely.contains, shapely.within),
    "s_within": (shapely.within, shapely.contains),
    "s_equals": (shapely.equals, shapely.equals),
    "s_touches": (shapely.touches, shapely.touches),
    "s_crosses": (shapely.crosses, shapely.crosses),
    "s_overlaps": (shapely.overlaps, shapely.overlaps),
}
# Of two intervals, from a0 to a1 and from b0 to b1; source: OGC 21-065r2, table 9 (after Allen 1983).
_TEMPORAL: Mapping[str, Callable[[Array, Array, Array, Array], Any]] = {
    "t_after": lambda a0, a1, b0, b1: a0 > b1,
    "t_before": lambda a0, a1, b0, b1: a1 < b0,
    "t_contains": lambda a0, a1, b0, b1: (a0 < b0) & (a1 > b1),
    "t_disjoint": lambda a0, a1, b0, b1: (a0 > b1) | (a1 < b0),
    "t_during": lambda a0, a1, b0, b1: (a0 > b0) & (a1 < b1),
    "t_equals": lambda a0, a1, b0, b1: (a0 == b0) & (a1 == b1),
    "t_finishedBy": lambda a0, a1, b0, b1: (a0 < b0) & (a1 == b1),
    "t_finishes": lambda a0, a1, b0, b1: (a0 > b0) & (a1 == b1),
    "t_intersects": lambda a0, a1, b0, b1: (a0 <= b1) & (a1 >= b0),
    "t_meets": lambda a0, a1, b0, b1: a1 == b0,
    "t_metBy": lambda a0, a1, b0, b1: a0 == b1,
    "t_overlappedBy": lambda a0, a1, b0, b1: (a0 > b0) & (a0 < b1) & (a1 > b1),
    "t_overlaps": lambda a0, a1, b0, b1: (a0 < b0) & (a1 > b0) & (a1 < b1),
    "t_startedBy": lambda a0, a1, b0, b1: (a0 == b0) & (a1 > b1),
    "t_starts": lambda a0, a1, b0, b1: (a0 == b0) & (a1 < b1),
}
_SETS: Mapping[str, Callable[[set[Any], set[Any]], bool]] = {
    "a_contains": lambda a, b: a >= b,
    "a_containedBy": lambda a, b: a <= b,
    "a_equals": lambda a, b: a == b,
    "a_overlaps": lambda a, b: not a.isdisjoint(b),
}
_ARITHMETIC: Mapping[str, Callable[[Array, Array], Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "%": np.fmod,
    "div": lambda a, b: np.trunc(np.divide(a, b)),
}
_ALWAYS, _NEVER = np.ones(1, bool), np.zeros(1, bool)


@dataclass
class _Evaluator:
    columns: Columns
    shape: ReadShape

    def truth(self, node: Any) -> Truth:
        """Return what a condition says."""
        if isinstance(node, bool):
            return Truth(_ALWAYS if node else _NEVER, _ALWAYS)
        if isinstance(node, Mapping) and "property" in node:
            flags = self.columns.column(node["property"]).part("boolean")
            return Truth(flags.there & flags.values.astype(bool), flags.there)
        if not isinstance(node, Mapping) or "op" not in node:
            raise wrong(f"{_shown(node)} is no condition.", "Compare it with something, for example a = 1.")
        name, arguments = node["op"], node.get("args", ())
        if name in ("and", "or"):
            _count(name, arguments, 1, None)
            return self._joined(name, [self.truth(argument) for argument in arguments])
        if name == "not":
            _count(name, arguments, 1)
            inner = self.truth(arguments[0])
            return Truth(inner.known & ~inner.true, inner.known)
        if name in _COMPARED or name in ("=", "<>"):
            _count(name, arguments, 2)
            return self._compared(name, self.value(arguments[0]), self.value(arguments[1]))
        if name in _SPATIAL:
            _count(name, arguments, 2)
            return self._spatial(name, arguments[0], arguments[1])
        if name in _TEMPORAL:
            _count(name, arguments, 2)
            a, b = (self._extent(argument) for argument in arguments)
            known = a.there & b.there
            return Truth(known & _TEMPORAL[name](a.values, a.until, b.values, b.until), known)
        if name in _SETS:
            _count(name, arguments, 2)
            return self._sets(name, arguments[0], arguments[1])
        special: Mapping[str, Callable[[Sequence[Any]], Truth]] = {
            "between": self._between,
            "in": self._among,
            "like": self._like,
            "isNull": self._is_null,
        }
        if name not in special:
            if name in _ARITHMETIC or name in ("casei", "accenti"):
                raise wrong(f"'{name}' gives a value, not a condition.", "Compare it with something.")
            raise wrong(f"The operator '{str(name)[:60]}' is not supported here.", "See the list of queryables.")
        return special[name](arguments)

    def _joined(self, name: str, parts: list[Truth]) -> Truth:
        # A false among "and", and a true among "or", decides whatever else is unknown.
        true, known = parts[0].true, parts[0].known
        for part in parts[1:]:
            if name == "and":
                false = (known & ~true) | (part.known & ~part.true)
                true = true & part.true
                known = true | false
            else:
                false = known & ~true & part.known & ~part.true
                true = true | part.true
                known = true | false
        return Truth(true, known)

    def _compared(self, name: str, a: Column, b: Column) -> Truth:
        if "time" in a.parts or "time" in b.parts:
            a, b = _as_time(a), _as_time(b)
        if name in ("=", "<>"):
            both, same = a.there & b.there, _NEVER
            for kind in a.parts.keys() & b.parts.keys() - {"list", "geometry"}:
                same = same | _equal(kind, a.parts[kind], b.parts[kind])
            return Truth(same if name == "=" else both & ~same, both)
        true, known = _NEVER, _NEVER
        ordered: tuple[Kind, ...] = ("number", "text", "time")
        for kind in ordered:
            if kind in a.parts and kind in b.parts:
                one, other = a.parts[kind], b.parts[kind]
                there = one.there & other.there
                known = known | there
                true = true | (there & _ordered(name, kind, one, other))
        return Truth(true, known)

    def _between(self, arguments: Sequence[Any]) -> Truth:
        _count("between", arguments, 3)
        value, low, high = (self.value(argument) for argument in arguments)
        return self._joined("and", [self._compared(">=", value, low), self._compared("<=", value, high)])

    def _among(self, arguments: Sequence[Any]) -> Truth:
        _count("in", arguments, 2)
        if not isinstance(arguments[1], list | tuple) or not arguments[1]:
            raise wrong(
                "'in' needs a list with at least one member.", "For example: platform in ('landsat-8', 'landsat-9')"
            )
        value = self.value(arguments[0])
        if set(value.parts) == {"text"} and all(isinstance(member, str) for member in arguments[1]):
            members, text = set(arguments[1]), value.parts["text"]
            found = np.fromiter((one in members for one in text.values), bool, len(text.values))
            return Truth(found & text.there, value.there)
        if set(value.parts) == {"number"} and all(_kind_of(member) == "number" for member in arguments[1]):
            number = value.parts["number"]
            return Truth(np.isin(number.values, _numbers(list(arguments[1]))) & number.there, value.there)
        return self._joined("or", [self._compared("=", value, self.value(member)) for member in arguments[1]])

    def _like(self, arguments: Sequence[Any]) -> Truth:
        _count("like", arguments, 2)
        value, pattern = self.value(arguments[0]), self.value(arguments[1]).literal
        if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_LENGTH:
            raise wrong(
                f"'like' needs a pattern of at most {MAX_PATTERN_LENGTH} letters in quotes.",
                "For example: title like 'Oslo%'",
            )
        if "time" in value.parts:
            raise wrong("'like' compares texts.", "Compare times and numbers with < or between.")
        text = value.part("text")
        matched = _mapped(matcher(pattern), text, bool)
        return Truth(text.there & matched, value.there)

    def _is_null(self, arguments: Sequence[Any]) -> Truth:
        _count("isNull", arguments, 1)
        node = arguments[0]
        column = self.columns.column(node["property"]) if _is_property(node) else self.value(node)
        return Truth(~column.there, _ALWAYS)

    def _spatial(self, name: str, first: Any, second: Any) -> Truth:
        forwards, backwards = _SPATIAL[name]
        if _is_property(first) and _is_property(second):
            a, b = (self._shapes(node) for node in (first, second))
            known = a.there & b.there
            return Truth(known & _told(forwards, a.values, b.values, known), known)
        if not _is_property(first) and not _is_property(second):
            return Truth(np.array([bool(forwards(self._literal(first), self._literal(second)))]), _ALWAYS)
        literal, node, predicate = (first, second, forwards) if _is_property(second) else (second, first, backwards)
        shape, shapes = self._literal(literal), self._shapes(node)
        shapely.prepare(shape)
        return Truth(shapes.there & _told(predicate, shape, shapes.values, shapes.there), shapes.there)

    def _literal(self, node: Any) -> BaseGeometry:
        if not isinstance(node, Mapping) or not ("type" in node or "bbox" in node):
            raise wrong(f"{_shown(node)} is no geometry.", "For example: s_intersects(geometry, POINT(10 50))")
        return self.shape(node)

    def _shapes(self, node: Mapping[str, Any]) -> Part:
        column = self.columns.column(node["property"])
        if "geometry" not in column.parts and column.there.any():
            raise wrong(f"'{node['property']}' is no geometry.", "Use the property geometry.")
        return column.part("geometry")

    def _sets(self, name: str, first: Any, second: Any) -> Truth:
        a, b = (self._lists(name, node) for node in (first, second))
        known = np.atleast_1d(a.there & b.there)
        left, right = (np.broadcast_to(part.values, known.shape) for part in (a, b))
        told = [bool(there and _SETS[name](x, y)) for there, x, y in zip(known, left, right, strict=True)]
        return Truth(np.array(told, bool), known)

    def _lists(self, name: str, node: Any) -> Part:
        """Return sets of members that can be compared: 1 and true are two, 1 and 1.0 are one."""
        if isinstance(node, list | tuple):
            values = np.empty(1, object)
            values[0] = _members(node)
            return Part(values, _ALWAYS)
        if not _is_property(node):
            raise wrong(f"'{name}' compares lists; {_shown(node)} is none.", "For example: a_contains(keywords, ('a'))")
        lists = self.columns.column(node["property"]).part("list")
        values = np.empty(len(lists.values), object)
        values[:] = [_members(one) if there else set() for one, there in zip(lists.values, lists.there, strict=True)]
        return Part(values, lists.there)

    # Values

    def value(self, node: Any) -> Column:
        """Return a scalar of each row, or one for all."""
        if isinstance(node, bool | int | float | str):
            return _literal_column(node)
        if not isinstance(node, Mapping):
            raise wrong(f"{_shown(node)} is no value to compare.", "Use a text, a number, true, false or a property.")
        if "property" in node:
            column = self.columns.column(node["property"])
            if "geometry" in column.parts:
                raise wrong(
                    f"'{node['property']}' has no order and no simple value.", "Use s_intersects(geometry, …) or bbox."
                )
            if "list" in column.parts:
                raise wrong(f"'{node['property']}' is a list.", "Compare it with a_contains or a_equals.")
            return column
        if "timestamp" in node or "date" in node:
            return _literal_time(node.get("timestamp", node.get("date")), is_day="date" in node)
        name, arguments = str(node.get("op", "")), node.get("args", ())
        if name in _ARITHMETIC:
            return self._arithmetic(name, arguments)
        if name in ("casei", "accenti"):
            return self._folded(name, arguments)
        if name:
            truth = self.truth(node)
            return Column.of("boolean", truth.true, truth.known)
        raise wrong(f"{_shown(node)} is no value to compare.", "Use a text, a number, true, false or a property.")

    def _arithmetic(self, name: str, arguments: Sequence[Any]) -> Column:
        _count(name, arguments, 2)
        a, b = (self.value(argument).part("number") for argument in arguments)
        with np.errstate(all="ignore"):
            values = _ARITHMETIC[name](a.values.astype(np.float64), b.values.astype(np.float64))
        return Column.of("number", values, a.there & b.there & np.isfinite(values))

    def _folded(self, name: str, arguments: Sequence[Any]) -> Column:
        _count(name, arguments, 1)
        inner, fold = self.value(arguments[0]), casei if name == "casei" else accenti
        if inner.literal is not None:
            if not isinstance(inner.literal, str):
                raise wrong(f"'{name}' takes a text, not {_shown(arguments[0])}.", "For example: casei('Oslo')")
            return _literal_column(fold(inner.literal))
        text = inner.part("text")
        return Column.of("text", _mapped(fold, text, object), text.there)

    def _extent(self, node: Any) -> Part:
        """Return the first and last moment of a time."""
        if isinstance(node, Mapping) and "interval" in node:
            ends = node["interval"]
            if not isinstance(ends, list | tuple) or len(ends) != 2:
                raise wrong("An interval has two ends.", "For example: INTERVAL('2020-01-01', '..')")
            start = Part(np.array([BEGINNING_US]), _ALWAYS) if ends[0] == ".." else self._extent(ends[0])
            end = Part(np.array([END_US]), _ALWAYS) if ends[1] == ".." else self._extent(ends[1])
            return Part(start.values, start.there & end.there, end.until)
        return _as_time(self.value(node)).part("time")


def _told(predicate: Callable[..., Any], a: Any, b: Any, there: Flags) -> Flags:
    """Return a spatial predicate; a shape that GEOS cannot judge (it crosses itself) does not match."""
    try:
        with np.errstate(all="ignore"):  # of coordinates near the ends of what a double holds
            return np.asarray(predicate(a, b), bool)
    except shapely.errors.GEOSException:
        left, right = np.broadcast_arrays(np.asarray(a, object), np.asarray(b, object))
        return np.array([_judged(predicate, x, y) for x, y in zip(left, right, strict=True)], bool)


def _judged(predicate: Callable[..., Any], a: Any, b: Any) -> bool:
    try:
        return bool(predicate(a, b))
    except shapely.errors.GEOSException:
        return False


def _equal(kind: Kind, a: Part, b: Part) -> Flags:
    there = a.there & b.there
    if kind == "time":
        inside = (b.values <= a.values) & (a.until <= b.until) | (a.values <= b.values) & (b.until <= a.until)
        return there & inside
    return there & np.asarray(a.values == b.values, bool)


def _ordered(name: str, kind: Kind, a: Part, b: Part) -> Flags:
    if kind == "time":
        before, after = a.until < b.values, a.values > b.until
        same = _equal(kind, a, b)
        return {"<": before & ~same, "<=": before | same, ">": after & ~same, ">=": after | same}[name]
    there = a.there & b.there
    if kind == "text":
        # Where there is none, an empty text stands for it: None has no order.
        left, right = (np.where(part.there, part.values, "") for part in (a, b))
        return there & np.asarray(_COMPARED[name](left, right), bool)
    return there & np.asarray(_COMPARED[name](a.values, b.values), bool)


def _mapped(function: Callable[[str], Any], text: Part, dtype: Any) -> Array:
    """Return a function of each text, worked out once for equal ones."""
    values, there = text.values.tolist(), np.broadcast_to(text.there, text.values.shape)
    mapped = np.empty(len(values), dtype)
    known: dict[Any, Any] = {value: function(value) for value in set(text.values[there].tolist())}
    nothing = False if dtype is bool else None
    mapped[:] = [known.get(value, nothing) for value in values]
    return mapped


# -- columns ---------------------------------------------------------------------------------------------------------


def _literal_column(value: bool | float | str) -> Column:
    kind: Kind = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    values = np.empty(1, object if kind == "text" else None)
    if kind == "text":
        values[0] = value
    else:
        values = _numbers([value]) if kind == "number" else np.array([value], bool)
    return Column(_ALWAYS, {kind: Part(values, _ALWAYS)}, literal=value)


def _literal_time(text: Any, *, is_day: bool) -> Column:
    extent = moments(text) if isinstance(text, str) and (len(text) == 10) == is_day else None
    if extent is None:
        example = "DATE('2020-02-28')" if is_day else "TIMESTAMP('2020-01-01T00:00:00Z')"
        raise wrong(f"{_shown(text)} is no {'date' if is_day else 'time in RFC 3339'}.", f"For example: {example}")
    first, last = (np.array([moment]) for moment in extent)
    return Column(_ALWAYS, {"time": Part(first, _ALWAYS, last)}, literal=text)


def _as_time(column: Column) -> Column:
    """Return a column that is compared with a time: its texts are the times that they mean."""
    if "time" in column.parts:
        return column
    if column.literal is not None:
        if not isinstance(column.literal, str):
            raise wrong(
                "A time is compared with a number or a truth value.", "Write TIMESTAMP('2020-01-01T00:00:00Z')."
            )
        return _literal_time(column.literal, is_day=len(column.literal) == 10)
    if "text" not in column.parts:
        return column
    return Column(column.there, {"time": column.part("time")})


def moments(text: str) -> tuple[int, int] | None:
    """Return the first and last microsecond since 1970 UTC of an RFC 3339 time or date; None where it is none."""
    if len(text) < 10 or text[4] != "-" or text[7] != "-":
        return None
    try:
        return microseconds(parse_instant(text)), microseconds(parse_instant(text, latest=True))
    except (InvalidTime, OverflowError):
        return None


def microseconds(moment: datetime) -> int:
    """Return a time in microseconds since 1970 UTC; without a zone it is in UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    since = aware - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _times_of(text: Part) -> Part:
    first, last = np.zeros((2, len(text.values)), np.int64)
    there = np.zeros(len(text.values), bool)
    extents = _mapped(moments, text, object)
    for number, extent in enumerate(extents):
        if extent is not None:
            there[number] = True
            first[number], last[number] = extent
    return Part(first, there, last)


def _of_instants(array: Any) -> Column:
    """Return a column of numpy or pandas times of any unit; those without a zone are in UTC."""
    values = array.to_numpy() if hasattr(array, "to_numpy") else array
    if values.dtype.kind != "M":  # pandas gives times with a zone as objects
        return _of_objects(list(values))
    there = ~np.isnat(values)
    return Column.of("time", values.astype("datetime64[us]").astype(np.int64), there)


def _of_objects(values: list[Any]) -> Column:
    """Return a column of values of any kind, each of its own."""
    kinds = [_kind_of(value) for value in values]
    there = np.array([kind is not None for kind in kinds], bool)
    parts: dict[Kind, Part] = {}
    for kind in dict.fromkeys(kinds):
        if kind is None:
            continue
        mine = np.array([one == kind for one in kinds], bool)
        own = [value if one == kind else None for value, one in zip(values, kinds, strict=True)]
        if kind == "time":
            extents = [(0, 0) if value is None else _extent_of(value) for value in own]
            first, last = (np.array(side, np.int64) for side in zip(*extents, strict=True))
            parts[kind] = Part(first, mine, last)
        elif kind == "number":
            parts[kind] = Part(_numbers([0 if value is None else value for value in own]), mine)
        elif kind == "boolean":
            parts[kind] = Part(np.array([bool(value) for value in own], bool), mine)
        else:
            kept = np.empty(len(own), object)
            kept[:] = own
            parts[kind] = Part(kept, mine)
    return Column(there, parts)


def _kind_of(value: Any) -> Kind | None:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, int | float | Decimal | np.number):
        return "number" if value == value else None  # NaN is not equal to itself, and neither is NaT
    if isinstance(value, date):
        return "time" if value == value else None
    if isinstance(value, BaseGeometry):
        return "geometry"
    return "list" if isinstance(value, list | tuple | np.ndarray) else None


def _extent_of(value: date) -> tuple[int, int]:
    if isinstance(value, datetime):
        moment = microseconds(value)
        return moment, moment
    first = (value.toordinal() - _EPOCH_DAY) * DAY_US
    return first, first + DAY_US - 1


def _numbers(values: list[Any]) -> Array:
    """Return numbers as int64 where all are whole and fit, so that long ids keep every digit; else as float64."""
    if all(isinstance(value, int | np.integer) and -(1 << 63) <= value < 1 << 63 for value in values):
        return np.array(values, np.int64)
    return np.array([_as_float(value) for value in values], np.float64)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _members(values: Iterable[Any]) -> set[Any]:
    kinds = ((_kind_of(value), value) for value in values)
    return {(kind, float(value) if kind == "number" else str(value)) for kind, value in kinds if kind is not None}


# -- messages --------------------------------------------------------------------------------------------------------


def _is_property(node: Any) -> bool:
    return isinstance(node, Mapping) and "property" in node


def _count(name: str, arguments: Sequence[Any], least: int, most: int | None = -1) -> None:
    most = least if most == -1 else most
    if len(arguments) < least or (most is not None and len(arguments) > most):
        wanted = f"{least}" if most == least else f"at least {least}"
        raise wrong(f"The operator '{name}' takes {wanted} arguments, not {len(arguments)}.", "Check its arguments.")


def _shown(node: Any) -> str:
    text = repr(node) if not isinstance(node, Mapping) else f"An object with {', '.join(map(repr, node))}"
    return text if len(text) <= 60 else f"{text[:60]}…"


def wrong(detail: str, hint: str) -> InvalidFilter:
    """Return the error of a filter that does not fit."""
    return InvalidFilter(detail, hint=hint, field="filter")


def walk(node: Any) -> Iterator[Mapping[str, Any]]:
    """Return every object of a tree, itself first."""
    if isinstance(node, Mapping):
        yield node
        for part in node.values():
            yield from walk(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from walk(part)
