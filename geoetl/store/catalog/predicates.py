"""CQL2 trees as SQLite predicates: SQL made of constants, with every value and property name bound.

What a comparison says about values of different kinds: a number never equals a text, so ``=`` is false and ``<>`` true;
``<`` and its like are unknown.  A property that is missing or null makes a comparison unknown, and what is unknown,
negated or not, does not match (three-valued logic as in SQL and CQL2).

``datetime`` stands for the item's time: its beginning in comparisons, its whole extent in temporal operators (as in
pgSTAC).  A DATE stands for the whole day.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from geoetl.core.errors import InvalidBBox, InvalidFilter
from geoetl.core.spatial import BBox
from geoetl.store.catalog import functions
from geoetl.store.catalog.cql2 import ARITHMETIC, ARRAY, COMPARISONS, SPATIAL, TEMPORAL, Tree
from geoetl.store.catalog.footprint import BadGeometry, Region, region_of_bbox, region_of_geometry

Kind = Literal["number", "text", "boolean", "instant", "day", "property"]

_DAY_US = 24 * 3600 * 1_000_000
# The ends of time: years 0 and 10000 lie within.
_BEGINNING_US, _END_US = -(1 << 62), 1 << 62
_MAX_INTEGER = 1 << 63
# Some operators name an argument twice, so that nesting them could double the statement at each level.
MAX_SQL_LENGTH = 300_000
# A longer pattern with many wildcards costs time that grows with the square of its length.
MAX_PATTERN_LENGTH = 500

_TYPES = {"number": "('integer', 'real')", "text": "('text')", "boolean": "('true', 'false')", "instant": "('text')"}
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
# Members of two JSON arrays are the same when their kinds and values are.
_SAME_MEMBER = (
    "x.value = y.value and replace(replace(x.type, 'integer', 'real'), 'false', 'true')"
    " = replace(replace(y.type, 'integer', 'real'), 'false', 'true')"
)


class Parameters:
    """The values bound in one statement; equal ones are bound once."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._names: dict[tuple[type, Any], str] = {}

    def bind(self, value: Any) -> str:
        """Return the placeholder of a value."""
        if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
            value = float(value)  # SQLite's integers have 64 bits
        key = (type(value), value)
        if key not in self._names:
            self._names[key] = f"p{len(self._names)}"
            self.values[self._names[key]] = value
        return f":{self._names[key]}"


@dataclass(frozen=True)
class Predicate:
    """A filter in SQL.

    Attributes:
        sql: Condition over the aliases ``i`` (stac_items) and ``d`` (stac_item_documents).
        needs_document: Whether it reads ``d``.
        regions: Regions outside of which nothing can match.
    """

    sql: str
    needs_document: bool
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Operand:
    """A scalar in SQL; `json_type` is the SQL of its JSON type where it is a property of the document."""

    kind: Kind
    sql: str
    json_type: str = ""
    day: tuple[str, str] = ("", "")
    literal: Any = None


def compile_filter(tree: Tree, parameters: Parameters) -> Predicate:
    """Return a checked tree (`cql2.parse`) as a condition; its values are added to `parameters`.

    Raises:
        InvalidFilter: Arguments do not fit their operator.
    """
    compiler = _Compiler(parameters)
    sql = compiler.predicate(tree)
    return Predicate(sql, compiler.needs_document, tuple(compiler.bounding_regions(tree)))


def property_sql(name: str, parameters: Parameters) -> tuple[str, bool]:
    """Return the SQL of what an order sorts by, and whether it reads the document.

    Raises:
        InvalidFilter: There is no order of geometries.
    """
    compiler = _Compiler(parameters)
    return compiler.property(name).sql, compiler.needs_document


@dataclass
class _Compiler:
    parameters: Parameters
    needs_document: bool = False
    _regions: dict[int, Region] = field(default_factory=dict)

    def predicate(self, node: Any) -> str:
        """Return a condition: SQL whose value is 1, 0 or NULL."""
        sql = self._predicate(node)
        _limit(len(sql))
        return sql

    def _predicate(self, node: Any) -> str:
        if isinstance(node, bool):
            return "1" if node else "0"
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
            return self.arrays(name, *(self.array(name, argument) for argument in arguments))
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
            return Operand("boolean", "1" if node else "0", literal=node)
        if isinstance(node, int | float):
            return Operand("number", self.parameters.bind(node), literal=node)
        if isinstance(node, str):
            return Operand("text", self.parameters.bind(node), literal=node)
        if not isinstance(node, Mapping):
            raise _wrong(f"{_shown(node)} is no value to compare.", "Use a text, a number, true, false or a property.")
        if "property" in node:
            return self.property(node["property"])
        if "timestamp" in node:
            return Operand("instant", self.parameters.bind(_instant(node["timestamp"])))
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
            return Operand("text", f"i.{name}")
        if name == "datetime":
            return Operand("instant", "i.start_us")
        if name in ("geometry", "bbox"):
            raise _wrong(f"'{name}' has no order and no simple value.", "Use s_intersects(geometry, …) or bbox.")
        self.needs_document = True
        paths = [self.parameters.bind(f'$.properties."{name}"')]
        steps = name.split(".")
        if len(steps) > 1 and all(steps):
            nested = "".join(f'."{step}"' for step in steps)
            paths.append(self.parameters.bind(f"$.properties{nested}"))
        values, types = ([f"{call}(d.content, {path})" for path in paths] for call in ("json_extract", "json_type"))
        if len(paths) == 1:
            return Operand("property", values[0], types[0])
        return Operand("property", f"coalesce({', '.join(values)})", f"coalesce({', '.join(types)})")

    def day(self, text: Any) -> Operand:
        """Return a date: its first and last microsecond."""
        first = _day_us(text)
        ends = self.parameters.bind(first), self.parameters.bind(first + _DAY_US - 1)
        return Operand("day", ends[0], day=ends)

    def typed(self, operand: Operand, kind: Kind) -> str:
        """Return the SQL of an operand as of one kind; NULL where it is of another."""
        if operand.kind == kind:
            return operand.sql
        if operand.kind != "property":
            return "NULL"
        value = operand.sql
        if kind == "instant":
            value = f"geoetl_instant({value})"
        return f"(case when {operand.json_type} in {_TYPES[kind]} then {value} end)"

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
            both = f"{_class(a)} = {_class(b)} and {_class(a)} not in ('true', 'array', 'object')"
            return f"(case when {both} then {a.sql} {name} {b.sql} end)"
        kind = b.kind if a.kind == "property" else a.kind
        return f"({self.typed(a, kind)} {name} {self.typed(b, kind)})"

    def equal(self, a: Operand, b: Operand) -> str:
        """Return an equation: 0 where both are there but of different kinds."""
        both = f"{a.sql} is not null and {b.sql} is not null"
        if a.kind == b.kind == "property":
            return f"(case when {both} then {_class(a)} = {_class(b)} and {a.sql} = {b.sql} end)"
        if a.kind == b.kind:
            return f"({a.sql} = {b.sql})"
        if "property" not in (a.kind, b.kind):
            return f"(case when {both} then 0 end)"
        kind = b.kind if a.kind == "property" else a.kind
        return f"coalesce({self.typed(a, kind)} = {self.typed(b, kind)}, case when {both} then 0 end)"

    def as_time(self, operand: Operand) -> Operand:
        """Return a text that is compared with a time as the time that it means."""
        if operand.kind == "text" and isinstance(operand.literal, str):
            text = operand.literal
            return self.day(text) if len(text) == 10 else Operand("instant", self.parameters.bind(_instant(text)))
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
        called = {"^": "geoetl_power", "%": "geoetl_modulo", "div": "geoetl_div"}
        if name in called:
            return Operand("number", f"{called[name]}({a}, {b})")
        # SQLite divides integers to an integer; CQL2 has one kind of number.
        return Operand("number", f"({a} * 1.0 / {b})" if name == "/" else f"({a} {name} {b})")

    def folded(self, name: str, arguments: list[Any]) -> Operand:
        """Return a text without case or accents."""
        _count(name, arguments, 1)
        inner = self.operand(arguments[0])
        if inner.literal is not None and not isinstance(inner.literal, str):
            raise _wrong(
                f"'{name}' takes a text, not {_shown(arguments[0])}.", "For example: casei(title) = casei('Oslo')"
            )
        if isinstance(inner.literal, str):
            text = functions.casei(inner.literal) if name == "casei" else functions.accenti(inner.literal)
            return Operand("text", self.parameters.bind(text), literal=text)
        return Operand("text", f"geoetl_{name}({self.typed(inner, 'text')})")

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
            found = []
            kinds: tuple[Kind, ...] = ("number", "text", "boolean")
            for kind in kinds:
                if same := [member.sql for member in members if member.kind == kind]:
                    found.append(f"coalesce({self.typed(value, kind)} in ({', '.join(same)}), 0)")
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
        glob = self.parameters.bind(_glob(pattern.literal))
        return f"coalesce({self.typed(value, 'text')} glob {glob}, case when {value.sql} is not null then 0 end)"

    def is_null(self, arguments: list[Any]) -> str:
        """Return whether a property is missing or null."""
        _count("isNull", arguments, 1)
        if arguments[0] == {"property": "geometry"}:
            return "(i.footprint is null)"
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
        exact = f"geoetl_spatial('{name}', {a}, {b})"
        if _is_geometry(first) and not _is_geometry(second):
            boxes = _balanced(" or ", [touching(box, self.parameters) for box in self.region(second).boxes])
            return f"({boxes} and {exact})"
        return exact

    def shape(self, node: Any) -> str:
        """Return the SQL of a shape."""
        return "i.footprint" if _is_geometry(node) else self.parameters.bind(self.region(node).wkb)

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
            start = self.parameters.bind(_BEGINNING_US) if ends[0] == ".." else self.extent(ends[0])[0]
            end = self.parameters.bind(_END_US) if ends[1] == ".." else self.extent(ends[1])[1]
            return start, end
        if node == {"property": "datetime"}:
            return "i.start_us", "i.end_us"
        operand = self.as_time(self.operand(node))
        if operand.kind == "day":
            return operand.day
        if operand.kind not in ("instant", "property"):
            raise _wrong(f"{_shown(node)} is no time.", "For example: TIMESTAMP('2020-01-01T00:00:00Z')")
        value = self.typed(operand, "instant")
        return value, value

    # Arrays

    def array(self, name: str, node: Any) -> tuple[str, str]:
        """Return the SQL of a JSON array and of its JSON type."""
        if isinstance(node, list):
            # A time in a document is a text, and is compared as that.
            node = [next(iter(m.values())) if isinstance(m, Mapping) and set(m) in _TIMES else m for m in node]
            if not all(isinstance(member, str | bool | int | float) for member in node):
                raise _wrong(f"'{name}' compares lists of texts, numbers and truth values.", "For example: ('a', 'b')")
            return self.parameters.bind(json.dumps(node, ensure_ascii=False)), "'array'"
        operand = self.operand(node)
        if operand.kind != "property":
            raise _wrong(
                f"'{name}' compares lists; {_shown(node)} is none.", "For example: a_contains(keywords, ('a', 'b'))"
            )
        return f"(case when {operand.json_type} = 'array' then {operand.sql} end)", operand.json_type

    def arrays(self, name: str, a: tuple[str, str], b: tuple[str, str]) -> str:
        """Return a comparison of two JSON arrays as sets."""
        # Every member of one is in the other.
        inner = f"select 1 from json_each({{a}}) x where {_SAME_MEMBER}"
        covers = f"(not exists (select 1 from json_each({{b}}) y where not exists ({inner})))"
        a_covers_b, b_covers_a = covers.format(a=a[0], b=b[0]), covers.format(a=b[0], b=a[0])
        overlaps = f"(exists (select 1 from json_each({a[0]}) x, json_each({b[0]}) y where {_SAME_MEMBER}))"
        said = {
            "a_contains": a_covers_b,
            "a_containedBy": b_covers_a,
            "a_equals": f"{a_covers_b} and {b_covers_a}",
            "a_overlaps": overlaps,
        }
        return f"(case when {a[1]} = 'array' and {b[1]} = 'array' then {said[name]} end)"


def touching(box: tuple[float, float, float, float], parameters: Parameters) -> str:
    """Return the condition that an item's bounds touch a box."""
    west, south, east, north = (parameters.bind(edge) for edge in box)
    return f"(i.west <= {east} and i.east >= {west} and i.south <= {north} and i.north >= {south})"


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


def _class(operand: Operand) -> str:
    """Return the SQL of the kind of a property: integer and real are one, true and false are one."""
    return f"replace(replace({operand.json_type}, 'integer', 'real'), 'false', 'true')"


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


def _glob(pattern: str) -> str:
    """Return a CQL2 pattern as one of SQLite's GLOB, which heeds case."""
    glob = ""
    letters = iter(pattern)
    for letter in letters:
        if letter == "%":
            glob = glob if glob.endswith("*") else f"{glob}*"
        elif letter == "_":
            glob += "?"
        else:
            plain = next(letters, letter) if letter == "\\" else letter
            glob += f"[{plain}]" if plain in "*?[" else plain
    return glob


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
