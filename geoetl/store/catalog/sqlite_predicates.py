"""How SQLite writes a filter: over ``i`` (stac_items) and ``d`` (stac_item_documents).

Truth values are 1 and 0, times microseconds since 1970 UTC; what SQLite lacks is in `functions`.
"""

import json
from typing import Any

from geoetl.core.letters import pattern_steps
from geoetl.store.catalog.footprint import Box
from geoetl.store.catalog.predicates import Kind, Operand

_MAX_INTEGER = 1 << 63

_TYPES = {"number": "('integer', 'real')", "text": "('text')", "boolean": "('true', 'false')", "instant": "('text')"}
_CALLED = {"^": "geoetl_power", "%": "geoetl_modulo", "div": "geoetl_div"}
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


class SqliteDialect:
    """SQLite's part of a filter.

    Attributes:
        parameters: The values bound so far.
        needs_document: Whether ``d`` is read.
    """

    shape = "i.footprint"
    extent = ("i.start_us", "i.end_us")

    def __init__(self) -> None:
        self.parameters = Parameters()
        self.needs_document = False

    def bind(self, value: str | float | bytes) -> str:
        """Return the placeholder of a text, a number or a shape (WKB)."""
        return self.parameters.bind(value)

    def truth(self, value: bool) -> str:
        """Return a truth value."""
        return "1" if value else "0"

    def moment(self, us: int) -> str:
        """Return a time, given in microseconds since 1970 UTC."""
        return self.parameters.bind(us)

    def column(self, name: str) -> str:
        """Return ``id`` or ``collection`` as a text."""
        return f"i.{name}"

    def member(self, name: str) -> Operand:
        """Return a property of the document; a dot in a name that is not there as it stands leads deeper."""
        self.needs_document = True
        paths = [self.bind(f'$.properties."{name}"')]
        steps = name.split(".")
        if len(steps) > 1 and all(steps):
            nested = "".join(f'."{step}"' for step in steps)
            paths.append(self.bind(f"$.properties{nested}"))
        values, types = ([f"{call}(d.content, {path})" for path in paths] for call in ("json_extract", "json_type"))
        if len(paths) == 1:
            return Operand("property", values[0], types[0])
        return Operand("property", f"coalesce({', '.join(values)})", f"coalesce({', '.join(types)})")

    def typed(self, value: Operand, kind: Kind) -> str:
        """Return a property as of one kind; NULL where it is of another."""
        sql = f"geoetl_instant({value.sql})" if kind == "instant" else value.sql
        return f"(case when {value.json_type} in {_TYPES[kind]} then {sql} end)"

    def ordered(self, name: str, a: Operand, b: Operand) -> str:
        """Return whether one property is less (or the like) than another; NULL where they have no order."""
        both = f"{_class(a)} = {_class(b)} and {_class(a)} not in ('true', 'array', 'object')"
        return f"(case when {both} then {a.sql} {name} {b.sql} end)"

    def same(self, a: Operand, b: Operand) -> str:
        """Return whether two properties, both there, are of one kind and equal."""
        return f"{_class(a)} = {_class(b)} and {a.sql} = {b.sql}"

    def arithmetic(self, name: str, a: str, b: str) -> str:
        """Return a number of two; NULL where there is none."""
        if name in _CALLED:
            return f"{_CALLED[name]}({a}, {b})"
        # SQLite divides integers to an integer; CQL2 has one kind of number.
        return f"({a} * 1.0 / {b})" if name == "/" else f"({a} {name} {b})"

    def folded(self, name: str, text: str) -> str:
        """Return a text without case (``casei``) or accents (``accenti``)."""
        return f"geoetl_{name}({text})"

    def like(self, text: str, pattern: str) -> str:
        """Return whether a text matches a CQL2 pattern: as one of GLOB, which heeds case."""
        glob = ""
        for letter, is_wildcard in pattern_steps(pattern):
            if not is_wildcard:
                glob += f"[{letter}]" if letter in "*?[" else letter
            elif letter == "_":
                glob += "?"
            elif not glob.endswith("*"):
                glob += "*"
        return f"{text} glob {self.bind(glob)}"

    def spatial(self, name: str, a: str, b: str) -> str:
        """Return a predicate of two shapes; NULL where it cannot be told."""
        return f"geoetl_spatial('{name}', {a}, {b})"

    def touching(self, box: Box) -> str:
        """Return whether an item's bounds touch a box."""
        west, south, east, north = (self.bind(edge) for edge in box)
        return f"(i.west <= {east} and i.east >= {west} and i.south <= {north} and i.north >= {south})"

    def array(self, value: Operand) -> str:
        """Return a property as an array; NULL where it is none."""
        return f"(case when {value.json_type} = 'array' then {value.sql} end)"

    def array_of(self, members: list[str | float | bool]) -> str:
        """Return an array of the filter."""
        return self.bind(json.dumps(members, ensure_ascii=False))

    def arrays(self, name: str, a: str, b: str) -> str:
        """Return a comparison of two arrays as sets; NULL where one is none."""
        # Every member of one is in the other.
        inner = f"select 1 from json_each({{a}}) x where {_SAME_MEMBER}"
        covers = f"(not exists (select 1 from json_each({{b}}) y where not exists ({inner})))"
        a_covers_b, b_covers_a = covers.format(a=a, b=b), covers.format(a=b, b=a)
        overlaps = f"(exists (select 1 from json_each({a}) x, json_each({b}) y where {_SAME_MEMBER}))"
        said = {
            "a_contains": a_covers_b,
            "a_containedBy": b_covers_a,
            "a_equals": f"{a_covers_b} and {b_covers_a}",
            "a_overlaps": overlaps,
        }
        return f"(case when {a} is not null and {b} is not null then {said[name]} end)"


def _class(operand: Operand) -> str:
    """Return the SQL of the kind of a property: integer and real are one, true and false are one."""
    return f"replace(replace({operand.json_type}, 'integer', 'real'), 'false', 'true')"
