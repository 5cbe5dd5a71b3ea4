"""CQL2 trees as predicates: SQL made of constants, with every value and property name bound.

What an operator means is said here, once; how a database writes it, in the dialects (`sqlite_predicates`,
`postgres_predicates`), so that both back ends mean the same by a filter.

What a comparison says about values of different kinds: a number never equals a text, so ``=`` is false and ``<>`` true;
``<`` and its like are unknown.  A property that is missing or null makes a comparison unknown, and what is unknown,
negated or not, does not match (three-valued logic as in SQL and CQL2).

``datetime`` stands for the item's time: its beginning in comparisons, its whole extent in temporal operators (as in
pgSTAC).  A DATE stands for the whole day.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal, Protocol

from geoetl.core.errors import InvalidBBox, InvalidFilter
from geoetl.core.spatial import BBox
from geoetl.store.catalog import functions
from geoetl.store.catalog.cql2 import ARITHMETIC, ARRAY, COMPARISONS, SPATIAL, TEMPORAL, Tree
from geoetl.store.catalog.footprint import BadGeometry, Box, Region, region_of_bbox, region_of_geometry

Kind = Literal["number", "text", "boolean", "instant", "day", "property"]

_DAY_US = 24 * 3600 * 1_000_000
# The ends of time: years 0 and 10000 lie within.
BEGINNING_US, END_US = -(1 << 62), 1 << 62
# Some operators name an argument twice, so that nesting them could double the statement at each level.
MAX_SQL_LENGTH = 300_000
# A longer pattern with many wildcards costs time that grows with the square of its length.
MAX_PATTERN_LENGTH = 500

_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MIRRORED_SPATIAL = {"s_contains": "s_within", "s_within": "s_contains"}

# Of two intervals a and b; source: OGC 21-065r2, table 9 (after Allen 1983).
_TEMPORAL_SQL = {
    "t_after": "{a0} > {b1}",
    "t_before": "{a1} < {b0}",
    "t_contains": "{a0} < {b0} and {a1} > {b1}",
    "t_disjoint": "{a0} > {b1} or {a1} < {b0}",
    "t_during": "{a0} > {b0} and {a1} < {b1}",
    "t_equals": "{a0} = {b0} and {a1} = {b1}",
    "t_finishedBy": "{a0} < {b0} and {a1} = {b1}",
    "t_finishes": "{a0} > {b0} and {a1} = {b1}",
    "t_intersects": "{a0} <= {b1} and {a1} >= {b0}",
    "t_meets": "{a1} = {b0}",
    "t_metBy": "{a0} = {b1}",
    "t_overlappedBy": "{a0} > {b0} and {a0} < {b1} and {a1} > {b1}",
    "t_overlaps": "{a0} < {b0} and {a1} > {b0} and {a1} < {b1}",
    "t_startedBy": "{a0} = {b0} and {a1} > {b1}",
    "t_starts": "{a0} = {b0} and {a1} < {b1}",
}
_TIMES = ({"timestamp"}, {"date"})


@dataclass(frozen=True)
class Predicate:
    """A filter in SQL.

    Attributes:
        sql: Condition over the aliases that the dialect names.
        regions: Regions outside of which nothing can match.
    """

    sql: str
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Operand:
    """A scalar in SQL; `json_type` is the SQL of its JSON type where it is a property of the document."""

    kind: Kind
    sql: str
    json_type: str = ""
    day: tuple[str, str] = ("", "")
    literal: Any = None


class Dialect(Protocol):
    """How one database writes what the compiler says.

    Conditions are SQL whose value is true, false or NULL.  A scalar is SQL of the type of its `Kind`: for ``instant``
    whatever `moment` gives, for ``property`` a member of the document as the database keeps it, NULL where it is
    missing or null.

    Attributes:
        shape: SQL of an item's footprint.
        extent: SQL of the beginning and end of an item's time.
    """

    shape: str
    extent: tuple[str, str]

    def bind(self, value: str | float | bytes) -> str:
        """Return the placeholder of a text, a number or a shape (WKB)."""
        ...

    def truth(self, value: bool) -> str:
        """Return a truth value."""
        ...

    def moment(self, us: int) -> str:
        """Return a time, given in microseconds since 1970 UTC."""
        ...

    def column(self, name: str) -> str:
        """Return ``id`` or ``collection`` as a text."""
        ...

    def member(self, name: str) -> Operand:
        """Return a property of the document; a dot in a name that is not there as it stands leads deeper."""
        ...

    def typed(self, value: Operand, kind: Kind) -> str:
        """Return a property as of one kind; NULL where it is of another."""
        ...

    def ordered(self, name: str, a: Operand, b: Operand) -> str:
        """Return whether one property is less (or the like) than another; NULL where they have no order."""
        ...

    def same(self, a: Operand, b: Operand) -> str:
        """Return whether two properties, both there, are of one kind and equal."""
        ...

    def arithmetic(self, name: str, a: str, b: str) -> str:
        """Return a number of two; NULL where there is none."""
        ...

    def folded(self, name: str, text: str) -> str:
        """Return a text without case (``casei``) or accents (``accenti``)."""
        ...

    def like(self, text: str, pattern: str) -> str:
        """Return whether a text matches a CQL2 pattern."""
        ...

    def spatial(self, name: str, a: str, b: str) -> str:
        """Return a predicate of two shapes; NULL where it cannot be told."""
        ...

    def touching(self, box: Box) -> str:
        """Return whether an item's bounds touch a box."""
        ...

    def array(self, value: Operand) -> str:
        """Return a property as an array; NULL where it is none."""
        ...

    def array_of(self, members: list[str | float | bool]) -> str:
        """Return an array of the filter."""
        ...

    def arrays(self, name: str, a: str, b: str) -> str:
        """Return a comparison of two arrays as sets; NULL where one is none."""
        ...


def compile_filter(tree: Tree, dialect: Dialect) -> Predicate:
    """Return a checked tree (`cql2.parse`) as a condition; its values are bound in the dialect.

    Raises:
        InvalidFilter: Arguments do not fit their operator.
    """
    compiler = _Compiler(dialect)
    sql = compiler.predicate(tree)
    return Predicate(sql, tuple(compiler.bounding_regions(tree)))


def property_operand(name: str, dialect: Dialect) -> Operand:
    """Return what an order sorts by.

    Raises:
        InvalidFilter: There is no order of geometries.
    """
    return _Compiler(dialect).property(name)


@dataclass
class _Compiler:
    dialect: Dialect
    _regions: dict[int, Region] = field(default_factory=dict)

    def predicate(self, node: Any) -> str:
        """Return a condition."""
        sql = self._predicate(node)
        _limit(len(sql))
        return sql

    def _predicate(self, node: Any) -> str:
        if isinstance(node, bool):
            return self.dialect.truth(node)
        if isinstance(node, Mapping) and "property" in node:
            return self.typed(self.property(node["property"]), "boolean")
        if not isinstance(node, Mapping) or "op" not in node:
            raise _wrong(f"{_shown(node)} is no condition.", "Compare it with something, for example a = 1.")
        name, arguments = node["op"], node["args"]
        if name in ("and", "or"):
            _count(name, arguments, 1, None)
            return _balanced(f" {name} ", [self.predicate(argument) for argument in arguments])
        if name == "not":
            _count(name, arguments, 1)
            return f"(not {self.predicate(arguments[0])})"
        if name in COMPARISONS:
            _count(name, arguments, 2)
            return self.compare(name, self.operand(arguments[0]), self.operand(arguments[1]))
        if name in SPATIAL:
            _count(name, arguments, 2)
            return self.spatial(name, arguments)
        if name in TEMPORAL:
            _count(name, arguments, 2)
            (a0, a1), (b0, b1) = (self.extent(argument) for argument in arguments)
            return f"({_TEMPORAL_SQL[name].format(a0=a0, a1=a1, b0=b0, b1=b1)})"
        if name in ARRAY:
            _count(name, arguments, 2)
            return self.dialect.arrays(name, *(self.array(name, argument) for argument in arguments))
        special: dict[str, Callable[[list[Any]], str]] = {
            "between": self.between,
            "in": self.among,
            "like": self.like,
            "isNull": self.is_null,
        }
        if name not in special:
            raise _wrong(f"'{name}' gives a value, not a condition.", "Compare it with something, for example a = 1.")
        return special[name](arguments)

    # Scalars

    def operand(self, node: Any) -> Operand:
        """Return a scalar."""
        if isinstance(node, bool):
            return Operand("boolean", self.dialect.truth(node), literal=node)
        if isinstance(node, int | float):
            return Operand("number", self.dialect.bind(node), literal=node)
        if isinstance(node, str):
            return Operand("text", self.dialect.bind(node), literal=node)
        if not isinstance(node, Mapping):
            raise _wrong(f"{_shown(node)} is no value to compare.", "Use a text, a number, true, false or a property.")
        if "property" in node:
            return self.property(node["property"])
        if "timestamp" in node:
            return Operand("instant", self.dialect.moment(_instant(node["timestamp"])))
        if "date" in node:
            return self.day(node["date"])
        name, arguments = node.get("op"), node.get("args", [])
        if name in ARITHMETIC:
            return self.arithmetic(name, arguments)
        if name in ("casei", "accenti"):
            return self.folded(name, arguments)
        if name is not None:
            return Operand("boolean", self.predicate(node))
        raise _wrong(f"{_shown(node)} is no value to compare.", "Use a text, a number, true, false or a property.")

    def property(self, name: str) -> Operand:
        """Return a property: a column, or a member of the document."""
        if name in ("id", "collection"):
            return Operand("text", self.dialect.column(name))
        if name == "datetime":
            return Operand("instant", self.dialect.extent[0])
        if name in ("geometry", "bbox"):
            raise _wrong(f"'{name}' has no order and no simple value.", "Use s_intersects(geometry, …) or bbox.")
        return self.dialect.member(name)

    def day(self, text: Any) -> Operand:
        """Return a date: its first and last microsecond."""
        first = _day_us(text)
        ends = self.dialect.moment(first), self.dialect.moment(first + _DAY_US - 1)
        return Operand("day", ends[0], day=ends)

    def typed(self, operand: Operand, kind: Kind) -> str:
        """Return the SQL of an operand as of one kind; NULL where it is of another."""
        if operand.kind == kind:
            return operand.sql
        if operand.kind != "property":
            return "NULL"
        return self.dialect.typed(operand, kind)

    def compare(self, name: str, a: Operand, b: Operand) -> str:
        """Return a comparison."""
        if "day" in (a.kind, b.kind) or "instant" in (a.kind, b.kind):
            a, b = (self.as_time(operand) for operand in (a, b))
        if a.kind == "day" and b.kind != "day":
            a, b, name = b, a, _MIRRORED[name]
        if b.kind == "day":
            return self.compare_day(name, a, b)
        if name == "<>":
            return f"(not {self.equal(a, b)})"
        if name == "=":
            return self.equal(a, b)
        if "boolean" in (a.kind, b.kind):
            return "(null)"  # truth values have no order
        if a.kind == b.kind == "property":
            return self.dialect.ordered(name, a, b)
        kind = b.kind if a.kind == "property" else a.kind
        return f"({self.typed(a, kind)} {name} {self.typed(b, kind)})"

    def equal(self, a: Operand, b: Operand) -> str:
        """Return an equation: false where both are there but of different kinds."""
        both, false = f"{a.sql} is not null and {b.sql} is not null", self.dialect.truth(False)
        if a.kind == b.kind == "property":
            return f"(case when {both} then {self.dialect.same(a, b)} end)"
        if a.kind == b.kind:
            return f"({a.sql} = {b.sql})"
        if "property" not in (a.kind, b.kind):
            return f"(case when {both} then {false} end)"
        kind = b.kind if a.kind == "property" else a.kind
        return f"coalesce({self.typed(a, kind)} = {self.typed(b, kind)}, case when {both} then {false} end)"

    def as_time(self, operand: Operand) -> Operand:
        """Return a text that is compared with a time as the time that it means."""
        if operand.kind == "text" and isinstance(operand.literal, str):
            text = operand.literal
            return self.day(text) if len(text) == 10 else Operand("instant", self.dialect.moment(_instant(text)))
        if operand.kind in ("number", "boolean"):
            raise _wrong(
                "A time is compared with a number or a truth value.", "Write TIMESTAMP('2020-01-01T00:00:00Z')."
            )
        return operand

    def compare_day(self, name: str, a: Operand, b: Operand) -> str:
        """Return a comparison with a day, the whole of it."""
        first, last = b.day
        value = a.sql if a.kind == "day" else self.typed(a, "instant")
        if name in ("=", "<>"):
            inside = f"({value} between {first} and {last})"
            return inside if name == "=" else f"(not {inside})"
        return f"({value} {name} {first if name in ('<', '>=') else last})"

    def arithmetic(self, name: str, arguments: list[Any]) -> Operand:
        """Return a number; NULL where an argument is none."""
        _count(name, arguments, 2)
        a, b = (self.typed(self.operand(argument), "number") for argument in arguments)
        return Operand("number", self.dialect.arithmetic(name, a, b))

    def folded(self, name: str, arguments: list[Any]) -> Operand:
        """Return a text without case or accents."""
        _count(name, arguments, 1)
        inner = self.operand(arguments[0])
        if inner.literal is not None and not isinstance(inner.literal, str):
            raise _wrong(
                f"'{name}' takes a text, not {_shown(arguments[0])}.", "For example: casei(title) = casei('Oslo')"
            )
        if isinstance(inner.literal, str):
            text = str(functions.casei(inner.literal) if name == "casei" else functions.accenti(inner.literal))
            return Operand("text", self.dialect.bind(text), literal=text)
        return Operand("text", self.dialect.folded(name, self.typed(inner, "text")))

    # Conditions on scalars

    def between(self, arguments: list[Any]) -> str:
        """Return both comparisons of a range."""
        _count("between", arguments, 3)
        value, low, high = (self.operand(argument) for argument in arguments)
        return f"({self.compare('>=', value, low)} and {self.compare('<=', value, high)})"

    def among(self, arguments: list[Any]) -> str:
        """Return membership in a list."""
        _count("in", arguments, 2)
        if not isinstance(arguments[1], list) or not arguments[1]:
            raise _wrong(
                "'in' needs a list with at least one member.", "For example: platform in ('landsat-8', 'landsat-9')"
            )
        value = self.operand(arguments[0])
        members = [self.operand(member) for member in arguments[1]]
        if value.kind == "text" and all(member.kind == "text" for member in members):
            return f"({value.sql} in ({', '.join(member.sql for member in members)}))"
        if value.kind == "property" and all(member.literal is not None for member in members):
            found, false = [], self.dialect.truth(False)
            kinds: tuple[Kind, ...] = ("number", "text", "boolean")
            for kind in kinds:
                if same := [member.sql for member in members if member.kind == kind]:
                    found.append(f"coalesce({self.typed(value, kind)} in ({', '.join(same)}), {false})")
            return f"(case when {value.sql} is not null then {_balanced(' or ', found)} end)"
        _limit(len(value.sql) * len(members))
        return _balanced(" or ", [self.compare("=", value, member) for member in members])

    def like(self, arguments: list[Any]) -> str:
        """Return a match with a pattern; ``%`` any text, ``_`` any letter, ``\\`` takes the next letter as it is."""
        _count("like", arguments, 2)
        value, pattern = (self.operand(argument) for argument in arguments)
        if not isinstance(pattern.literal, str) or len(pattern.literal) > MAX_PATTERN_LENGTH:
            raise _wrong(
                f"'like' needs a pattern of at most {MAX_PATTERN_LENGTH} letters in quotes.",
                "For example: title like 'Oslo%'",
            )
        if value.kind not in ("text", "property"):
            raise _wrong("'like' compares texts.", "Compare times and numbers with < or between.")
        matched, false = self.dialect.like(self.typed(value, "text"), pattern.literal), self.dialect.truth(False)
        return f"coalesce({matched}, case when {value.sql} is not null then {false} end)"

    def is_null(self, arguments: list[Any]) -> str:
        """Return whether a property is missing or null."""
        _count("isNull", arguments, 1)
        if arguments[0] == {"property": "geometry"}:
            return f"({self.dialect.shape} is null)"
        return f"({self.operand(arguments[0]).sql} is null)"

    # Space

    def spatial(self, name: str, arguments: list[Any]) -> str:
        """Return a spatial predicate; the boxes first, the shapes only where those touch."""
        first, second = arguments
        if _is_geometry(second) and not _is_geometry(first):
            first, second, name = second, first, _MIRRORED_SPATIAL.get(name, name)
        if name == "s_disjoint":
            return f"(not {self.spatial('s_intersects', [first, second])})"
        a, b = (self.shape(side) for side in (first, second))
        exact = self.dialect.spatial(name, a, b)
        if _is_geometry(first) and not _is_geometry(second):
            boxes = _balanced(" or ", [self.dialect.touching(box) for box in self.region(second).boxes])
            return f"({boxes} and {exact})"
        return exact

    def shape(self, node: Any) -> str:
        """Return the SQL of a shape."""
        return self.dialect.shape if _is_geometry(node) else self.dialect.bind(self.region(node).wkb)

    def region(self, node: Any) -> Region:
        """Return the region of a geometry or box of the filter."""
        if id(node) not in self._regions:
            self._regions[id(node)] = _region(node)
        return self._regions[id(node)]

    def bounding_regions(self, tree: Tree) -> list[Region]:
        """Return the regions that every match must touch: of the predicates that are joined by ``and`` at the top."""
        if not isinstance(tree, Mapping) or "op" not in tree:
            return []
        if tree["op"] == "and":
            return [region for argument in tree["args"] for region in self.bounding_regions(argument)]
        if tree["op"] in SPATIAL and tree["op"] != "s_disjoint":
            sides = [side for side in tree["args"] if not _is_geometry(side)]
            return [self.region(sides[0])] if len(sides) == 1 else []
        return []

    # Time

    def extent(self, node: Any) -> tuple[str, str]:
        """Return the first and last moment of a time."""
        if isinstance(node, Mapping) and "interval" in node:
            ends = node["interval"]
            if not isinstance(ends, list) or len(ends) != 2:
                raise _wrong("An interval has two ends.", "For example: INTERVAL('2020-01-01', '..')")
            start = self.dialect.moment(BEGINNING_US) if ends[0] == ".." else self.extent(ends[0])[0]
            end = self.dialect.moment(END_US) if ends[1] == ".." else self.extent(ends[1])[1]
            return start, end
        if node == {"property": "datetime"}:
            return self.dialect.extent
        operand = self.as_time(self.operand(node))
        if operand.kind == "day":
            return operand.day
        if operand.kind not in ("instant", "property"):
            raise _wrong(f"{_shown(node)} is no time.", "For example: TIMESTAMP('2020-01-01T00:00:00Z')")
        value = self.typed(operand, "instant")
        return value, value

    # Arrays

    def array(self, name: str, node: Any) -> str:
        """Return a JSON array."""
        if isinstance(node, list):
            # A time in a document is a text, and is compared as that.
            node = [next(iter(m.values())) if isinstance(m, Mapping) and set(m) in _TIMES else m for m in node]
            if not all(isinstance(member, str | bool | int | float) for member in node):
                raise _wrong(f"'{name}' compares lists of texts, numbers and truth values.", "For example: ('a', 'b')")
            return self.dialect.array_of(node)
        operand = self.operand(node)
        if operand.kind != "property":
            raise _wrong(
                f"'{name}' compares lists; {_shown(node)} is none.", "For example: a_contains(keywords, ('a', 'b'))"
            )
        return self.dialect.array(operand)


def _region(node: Any) -> Region:
    try:
        if isinstance(node, Mapping) and "bbox" in node:
            return region_of_bbox(BBox.from_list(node["bbox"]))
        if isinstance(node, Mapping) and "type" in node:
            return region_of_geometry(node)
    except (BadGeometry, InvalidBBox) as error:
        raise _wrong(
            f"In the filter {error.detail if isinstance(error, InvalidBBox) else error}.", "Check it."
        ) from None
    except (TypeError, ValueError):
        raise _wrong("A box of the filter is not 4 or 6 numbers.", "For example: BBOX(5, 47, 15, 55)") from None
    if isinstance(node, Mapping) and "property" in node:
        raise _wrong(f"'{node['property']}' is no geometry of an item.", "Use the property geometry.")
    raise _wrong(f"{_shown(node)} is no geometry.", "For example: s_intersects(geometry, POINT(10 50))")


def _is_geometry(node: Any) -> bool:
    return isinstance(node, Mapping) and node.get("property") == "geometry"


def _instant(text: Any) -> int:
    at = functions.instant(text)
    if at is None:
        raise _wrong(f"{_shown(text)} is no time in RFC 3339.", "For example: TIMESTAMP('2020-01-01T00:00:00Z')")
    return at


def _day_us(text: Any) -> int:
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)) // timedelta(days=1) * _DAY_US
    except (TypeError, ValueError):
        raise _wrong(f"{_shown(text)} is no date.", "For example: DATE('2020-02-28')") from None


def _balanced(joint: str, conditions: list[str]) -> str:
    """Return conditions joined as a balanced tree, since SQLite limits the depth of an expression."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({_balanced(joint, conditions[:half])}{joint}{_balanced(joint, conditions[half:])})"


def _count(name: str, arguments: list[Any], least: int, most: int | None = -1) -> None:
    most = least if most == -1 else most
    if len(arguments) < least or (most is not None and len(arguments) > most):
        wanted = f"{least}" if most == least else f"at least {least}"
        raise _wrong(f"The operator '{name}' takes {wanted} arguments, not {len(arguments)}.", "Check its arguments.")


def _limit(sql_length: int) -> None:
    if sql_length > MAX_SQL_LENGTH:
        raise _wrong("The filter is too large when it is put together.", "Use simple values in IN and BETWEEN.")


def _shown(node: Any) -> str:
    text = repr(node) if not isinstance(node, Mapping) else f"An object with {', '.join(map(repr, node))}"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _wrong(detail: str, hint: str) -> InvalidFilter:
    return InvalidFilter(detail, hint=hint, field="filter")
