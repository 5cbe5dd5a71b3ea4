"""How PostgreSQL writes a filter: over ``i`` (pgstac.items) and ``d`` (the properties that are asked for).

Numbers are ``numeric``, which compares integers of 64 bits and what a double prints exactly; texts have the collation
"C", the binary order of SQLite; times are ``timestamptz``.  What PostgreSQL lacks is in the schema ``geoetl``
(revision 0004 of the migrations).
"""

import json
from decimal import Decimal
from typing import Any

from geoetl.core.letters import pattern_steps
from geoetl.store.catalog.footprint import Box
from geoetl.store.catalog.predicates import BEGINNING_US, END_US, Kind, Operand

_DAY_US = 24 * 3600 * 1_000_000

_CALLED = {"+": "plus", "-": "minus", "*": "times", "/": "divide", "^": "power", "%": "modulo", "div": "div"}
# A null in a list equals nothing, as in a comparison.
_SAME_MEMBER = "x.value = y.value and y.value <> 'null'"


class PostgresDialect:
    """PostgreSQL's part of a filter.

    Attributes:
        values: The values bound so far.
    """

    shape = "i.geometry"
    extent = ("i.datetime", "i.end_datetime")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._placeholders: dict[tuple[str, type, Any], str] = {}
        self._members: dict[str, str] = {}

    def source(self) -> str:
        """Return what to select from: the items, and the properties that are asked for, each read once."""
        if not self._members:
            return "pgstac.items i"
        columns = ", ".join(f"{sql} as v{n}" for n, sql in enumerate(self._members.values()))
        # OFFSET 0 keeps the planner from writing a property out wherever it is named.
        properties = "(select i.content -> 'properties' as p offset 0) o"
        return f"pgstac.items i cross join lateral (select {columns} from {properties} offset 0) d"

    def bind_as(self, kind: str, value: Any) -> str:
        """Return the placeholder of a value of an SQL type; equal ones are bound once."""
        key = (kind, type(value), tuple(value) if isinstance(value, list) else value)
        if key not in self._placeholders:
            name = f"p{len(self._placeholders)}"
            self._placeholders[key] = f"%({name})s::{kind}"
            self.values[name] = value
        return self._placeholders[key]

    def bind(self, value: str | float | bytes) -> str:
        """Return the placeholder of a text, a number or a shape (WKB)."""
        if isinstance(value, str):
            return f'({self.bind_as("text", value)} collate "C")'
        if isinstance(value, bytes):
            return f"st_geomfromwkb({self.bind_as('bytea', value)}, 4326)"
        return self.bind_as("numeric", Decimal(repr(value)))

    def truth(self, value: bool) -> str:
        """Return a truth value."""
        return "true" if value else "false"

    def moment(self, us: int) -> str:
        """Return a time, given in microseconds since 1970 UTC."""
        if BEGINNING_US < us < END_US:
            # Years 0 and 10000 are none of Python's, and a text keeps every microsecond.
            return moment_sql(self.bind_as("interval", interval_text(us)))
        return "'-infinity'::timestamptz" if us < 0 else "'infinity'::timestamptz"

    def column(self, name: str) -> str:
        """Return ``id`` or ``collection`` as a text."""
        return f'(i.{name} collate "C")'

    def member(self, name: str) -> Operand:
        """Return a property of the document; a dot in a name that is not there as it stands leads deeper."""
        if name not in self._members:
            steps = name.split(".")
            ways = [[name]] if len(steps) == 1 or not all(steps) else [[name], steps]
            found = [
                "nullif(o.p" + "".join(f" -> {self.bind_as('text', step)}" for step in way) + ", 'null')"
                for way in ways
            ]
            self._members[name] = found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"
        sql = f"d.v{list(self._members).index(name)}"
        return Operand("property", sql, f"jsonb_typeof({sql})")

    def as_written(self, name: str, value: Operand) -> str:
        """Return the JSON text of a property as it was given, which is how SQLite orders lists and objects."""
        steps = [[name]] if "." not in name else [[name], name.split(".")]
        ways = ["".join(f" -> {self.bind_as('text', step)}" for step in way) for way in steps]
        given = [f"((i.private ->> 'document')::json -> 'properties'{way})::text" for way in ways]
        return f"coalesce({', '.join([*given, f'{value.sql}::text'])})"

    def typed(self, value: Operand, kind: Kind) -> str:
        """Return a property as of one kind; NULL where it is of another."""
        text = f"case when {value.json_type} = 'string' then {value.sql} #>> '{{}}' end"
        if kind == "text":
            return f'(({text}) collate "C")'
        if kind == "instant":
            return f"geoetl.instant({text})"
        sql_type = "numeric" if kind == "number" else "boolean"
        return f"(case when {value.json_type} = '{kind}' then {value.sql}::{sql_type} end)"

    def ordered(self, name: str, a: Operand, b: Operand) -> str:
        """Return whether one property is less (or the like) than another; NULL where they have no order."""
        texts, numbers = ([self.typed(value, kind) for value in (a, b)] for kind in ("text", "number"))
        return f"coalesce({texts[0]} {name} {texts[1]}, {numbers[0]} {name} {numbers[1]})"

    def same(self, a: Operand, b: Operand) -> str:
        """Return whether two properties, both there, are of one kind and equal."""
        return f"{a.sql} = {b.sql}"

    def arithmetic(self, name: str, a: str, b: str) -> str:
        """Return a number of two; NULL where there is none."""
        return f"geoetl.{_CALLED[name]}({a}, {b})"

    def folded(self, name: str, text: str) -> str:
        """Return a text without case (``casei``) or accents (``accenti``)."""
        return f"geoetl.{name}({text})"

    def like(self, text: str, pattern: str) -> str:
        """Return whether a text matches a CQL2 pattern."""
        steps = (
            letter if is_wildcard or letter not in "%_\\" else f"\\{letter}"
            for letter, is_wildcard in pattern_steps(pattern)
        )
        return f"{text} like {self.bind(''.join(steps))}"

    def spatial(self, name: str, a: str, b: str) -> str:
        """Return a predicate of two shapes; NULL where it cannot be told."""
        return intersects(a, b) if name == "s_intersects" else f"geoetl.spatial('{name}', {a}, {b})"

    def touching(self, box: Box) -> str:
        """Return whether an item's bounds touch a box; rounded outwards, as the index is."""
        corners = ", ".join(self.bind_as("float8", float(edge)) for edge in box)
        return f"(i.geometry && st_makeenvelope({corners}, 4326))"

    def array(self, value: Operand) -> str:
        """Return a property as an array; NULL where it is none."""
        return f"(case when {value.json_type} = 'array' then {value.sql} end)"

    def array_of(self, members: list[str | float | bool]) -> str:
        """Return an array of the filter."""
        return self.bind_as("jsonb", json.dumps(members, ensure_ascii=False))

    def arrays(self, name: str, a: str, b: str) -> str:
        """Return a comparison of two arrays as sets; NULL where one is none."""

        def covers(outer: str, inner: str) -> str:
            same = f"select 1 from jsonb_array_elements({outer}) x where {_SAME_MEMBER}"
            return f"(not exists (select 1 from jsonb_array_elements({inner}) y where not exists ({same})))"

        elements = f"jsonb_array_elements({a}) x, jsonb_array_elements({b}) y"
        said = {
            "a_contains": covers(a, b),
            "a_containedBy": covers(b, a),
            "a_equals": f"{covers(a, b)} and {covers(b, a)}",
            "a_overlaps": f"(exists (select 1 from {elements} where {_SAME_MEMBER}))",
        }
        return f"(case when {a} is not null and {b} is not null then {said[name]} end)"


def intersects(a: str, b: str) -> str:
    """Return whether two shapes touch."""
    return f"geoetl.intersects({a}, {b})"


def interval_text(us: int) -> str:
    """Return microseconds since 1970 as an interval that PostgreSQL reads exactly."""
    days, within = divmod(us, _DAY_US)
    return f"{days:+d} days {within // 1_000_000:+d}.{within % 1_000_000:06d} seconds"


def moment_sql(interval: str) -> str:
    """Return the time that lies an interval after 1970 UTC."""
    return f"((timestamp '1970-01-01' + {interval}) at time zone 'UTC')"
