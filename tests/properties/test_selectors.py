"""CQL2 on columns says of each row what reading the row by itself says, and what pandas says of plain conditions."""

import datetime as dt
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.core import letters
from geoetl.core.errors import InvalidFilter
from geoetl.core.selectors import Column, Rows, conjuncts, evaluate, matches, properties_of
from geoetl.store.catalog import cql2

# -- a second reading of the standard, row by row --------------------------------------------------------------------


def row_says(node: Any, row: Mapping[str, Any]) -> bool | None:
    """Return what a condition says about one row, None for unknown."""
    if isinstance(node, bool):
        return node
    if "property" in node:
        value = row[node["property"]]
        return value if isinstance(value, bool) else None
    name, arguments = node["op"], node["args"]
    if name in ("and", "or"):
        told = [row_says(argument, row) for argument in arguments]
        decisive = name == "or"
        return decisive if decisive in told else None if None in told else not decisive
    if name == "not":
        inner = row_says(arguments[0], row)
        return None if inner is None else not inner
    if name == "isNull":
        return value_of(arguments[0], row) is None
    values = [value_of(argument, row) for argument in arguments if not isinstance(argument, list)]
    if name == "between":
        low = row_says({"op": ">=", "args": arguments[:2]}, row)
        high = row_says({"op": "<=", "args": [arguments[0], arguments[2]]}, row)
        return False if False in (low, high) else None if None in (low, high) else True
    if name == "in":
        if values[0] is None:
            return None
        return any(same_kind(values[0], one) and values[0] == one for one in arguments[1])
    if None in values:
        return None
    a, b = values
    if name == "like":
        return isinstance(a, str) and re.fullmatch(regex_of(b), a, re.DOTALL) is not None
    if name in ("=", "<>"):
        return (same_kind(a, b) and a == b) == (name == "=")
    if not same_kind(a, b) or isinstance(a, bool):
        return None
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[name]


def value_of(node: Any, row: Mapping[str, Any]) -> Any:
    """Return a scalar of one row, None for null."""
    if not isinstance(node, Mapping):
        return node
    if "property" in node:
        value = row[node["property"]]
        return None if isinstance(value, float) and math.isnan(value) else value
    name, arguments = node["op"], [value_of(argument, row) for argument in node["args"]]
    if name in ("casei", "accenti"):
        fold = letters.casei if name == "casei" else letters.accenti
        return fold(arguments[0]) if isinstance(arguments[0], str) else None
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in arguments):
        return None
    a, b = map(float, arguments)
    try:
        result = {
            "+": lambda: a + b,
            "-": lambda: a - b,
            "*": lambda: a * b,
            "/": lambda: a / b,
            "%": lambda: math.fmod(a, b),
            "div": lambda: float(math.trunc(a / b)),
            "^": lambda: math.pow(a, b),
        }[name]()
    except (ArithmeticError, ValueError):
        return None
    return result if math.isfinite(result) else None


def same_kind(a: Any, b: Any) -> bool:
    def kind(value: Any) -> str:
        return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"

    return kind(a) == kind(b)


def regex_of(pattern: str) -> str:
    steps = letters.pattern_steps(pattern)
    return "".join({"%": ".*", "_": "."}[letter] if wild else re.escape(letter) for letter, wild in steps)


# -- filters and rows by hypothesis ----------------------------------------------------------------------------------

TEXTS = st.text("aAäÅs%_ßé\n", max_size=4)
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -2.0, 2**53 + 1, 1e300, math.inf]))
COLUMNS: Mapping[str, st.SearchStrategy[Any]] = {
    "n": st.one_of(st.none(), st.integers(-3, 3)),
    "f": st.one_of(st.none(), NUMBERS.map(float), st.just(math.nan)),
    "t": st.one_of(st.none(), TEXTS),
    "b": st.one_of(st.none(), st.booleans()),
    "m": st.one_of(st.none(), st.integers(-3, 3), TEXTS, st.booleans()),
}
properties = st.sampled_from([{"property": name} for name in COLUMNS])
scalars = st.recursive(
    st.one_of(properties, NUMBERS.filter(math.isfinite), TEXTS, st.booleans()),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/", "%", "div", "^"]), inner, inner).map(
            lambda parts: {"op": parts[0], "args": list(parts[1:])}
        ),
        st.tuples(st.sampled_from(["casei", "accenti"]), properties | TEXTS).map(
            lambda parts: {"op": parts[0], "args": [parts[1]]}
        ),
    ),
    max_leaves=3,
)
comparisons = st.tuples(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), scalars, scalars)
tests = st.one_of(
    st.booleans(),
    st.just({"property": "b"}),
    comparisons.map(lambda parts: {"op": parts[0], "args": list(parts[1:])}),
    properties.map(lambda one: {"op": "isNull", "args": [one]}),
    st.tuples(properties, TEXTS).map(lambda parts: {"op": "like", "args": list(parts)}),
    st.tuples(scalars, scalars, scalars).map(lambda parts: {"op": "between", "args": list(parts)}),
    st.tuples(properties, st.lists(st.one_of(st.integers(-3, 3), TEXTS), min_size=1, max_size=4)).map(
        lambda parts: {"op": "in", "args": list(parts)}
    ),
)
filters = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda parts: {"op": parts[0], "args": parts[1]}
        ),
        inner.map(lambda one: {"op": "not", "args": [one]}),
    ),
    max_leaves=6,
)
tables = st.lists(st.fixed_dictionaries(dict(COLUMNS)), min_size=1, max_size=6)


@given(tree=filters, rows=tables)
@settings(max_examples=200, deadline=None)
def test_every_row_gets_what_it_gets_by_itself(tree: Any, rows: list[dict[str, Any]]) -> None:
    truth = evaluate(tree, Rows({name: [row[name] for row in rows] for name in COLUMNS}, len(rows)))
    told = [None if not known else bool(true) for true, known in zip(truth.true, truth.known, strict=True)]
    assert told == [row_says(tree, row) for row in rows]
    assert [bool(matches(tree, Rows.of_documents([row]))[0]) for row in rows] == [one is True for one in told]


@given(pattern=st.text("ab%_\\.*[\n", max_size=8), text=st.text("ab.*[\\%_\n", max_size=10))
@settings(max_examples=300, deadline=None)
def test_a_pattern_matches_what_its_regular_expression_does(pattern: str, text: str) -> None:
    assert letters.matcher(pattern)(text) is (re.fullmatch(regex_of(pattern), text, re.DOTALL) is not None)


def test_a_pattern_of_many_wildcards_takes_no_longer() -> None:
    # As a regular expression this takes longer than the age of the Earth.
    assert not letters.matcher("%a" * 240 + "b")("a" * 20_000)
    assert letters.matcher("%" * 500)("a" * 20_000)


# -- against pandas --------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame(
    {
        "i": np.arange(1000, dtype=np.int64) + 2**60,
        "x": np.where(np.arange(1000) % 7 == 0, np.nan, np.arange(1000) / 10),
        "name": [None if n % 11 == 0 else f"Ort {n % 13}" for n in range(1000)],
        "nullable": pd.array([None if n % 5 == 0 else n % 4 for n in range(1000)], dtype="Int64"),
        "flag": np.arange(1000) % 3 == 0,
        "kind": pd.Categorical([("red", "green", "blue")[n % 3] for n in range(1000)]),
        "at": pd.date_range("2020-01-01", periods=1000, freq="6h"),
        "zoned": pd.date_range("2020-01-01", periods=1000, freq="6h", tz="Europe/Oslo"),
        "small": np.arange(1000) % 120,
    }
).astype({"small": "int8"})
FRAME.loc[FRAME.index % 17 == 0, ["at", "zoned"]] = pd.NaT
ROWS = Rows({str(name): FRAME[name] for name in FRAME}, len(FRAME))


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("x > 50 AND x <= 70.5", (FRAME.x > 50) & (FRAME.x <= 70.5)),
        ("NOT (x > 50)", FRAME.x.notna() & ~(FRAME.x > 50)),
        ("x IS NULL OR name IS NULL", FRAME.x.isna() | FRAME.name.isna()),
        ("name = 'Ort 5'", FRAME.name == "Ort 5"),
        ("name <> 'Ort 5'", FRAME.name.notna() & (FRAME.name != "Ort 5")),
        ("name IN ('Ort 1', 'Ort 2')", FRAME.name.isin(["Ort 1", "Ort 2"])),
        ("casei(name) LIKE 'ort 1%'", FRAME.name.str.startswith("Ort 1").fillna(False).astype(bool)),
        ("name < 'Ort 3'", (FRAME.name < "Ort 3").fillna(False)),
        ("nullable BETWEEN 1 AND 2", FRAME.nullable.between(1, 2).fillna(False)),
        ("nullable + 1 = 3", (FRAME.nullable == 2).fillna(False)),
        ("small * 2 >= 230", FRAME.small.astype(int) * 2 >= 230),
        ("small >= 300 OR small < -1000", FRAME.small < -1000),
        ("flag", FRAME.flag),
        ("flag = false", ~FRAME.flag),
        ("kind = 'red'", FRAME.kind == "red"),
        ("at >= TIMESTAMP('2020-03-01T12:00:00Z')", FRAME["at"] >= "2020-03-01T12:00"),
        ("at = DATE('2020-03-01')", FRAME["at"].dt.date == dt.date(2020, 3, 1)),
        ("at > DATE('2020-03-01')", FRAME["at"] >= "2020-03-02"),
        ("zoned < TIMESTAMP('2020-02-01T00:00:00+01:00')", FRAME.zoned < "2020-02-01"),
        (
            "t_during(at, INTERVAL('2020-03-01T00:00:00Z', '2020-03-02T00:00:00Z'))",
            (FRAME["at"] > "2020-03-01") & (FRAME["at"] < "2020-03-02"),
        ),
        ("t_after(at, DATE('2020-08-30'))", FRAME["at"] >= "2020-08-31"),
        ("t_intersects(at, INTERVAL('2020-03-01', '..'))", FRAME["at"] >= "2020-03-01"),
        ("at = zoned", FRAME["at"].dt.tz_localize("UTC") == FRAME.zoned),
        ("x = small", (FRAME.x == FRAME.small)),
    ],
)
def test_plain_conditions_give_what_pandas_gives(text: str, mask: Any) -> None:
    assert matches(cql2.parse(text), ROWS).tolist() == mask.astype(bool).tolist()


def test_whole_numbers_of_64_bits_keep_every_digit() -> None:
    tree = {"op": "=", "args": [{"property": "i"}, 2**60 + 1]}
    assert np.flatnonzero(matches(tree, ROWS)).tolist() == [1]
    assert not matches({"op": "=", "args": [{"property": "i"}, 10**30]}, ROWS).any()
    assert matches({"op": "<", "args": [{"property": "i"}, 10**30]}, ROWS).all()


def test_dates_decimals_and_texts_that_are_times() -> None:
    rows = Rows.of_documents(
        [
            {"day": dt.date(2020, 2, 29), "cost": Decimal("1.50"), "said": "2020-02-29T23:59:59Z"},
            {"day": dt.date(2020, 3, 1), "cost": Decimal("2"), "said": "soon"},
            {"day": None, "cost": None, "said": "2020-03-01"},
        ]
    )
    for text, wanted in (
        ("day < TIMESTAMP('2020-03-01T00:00:00Z')", [True, False, False]),
        ("day = TIMESTAMP('2020-02-29T12:00:00Z')", [True, False, False]),
        ("t_contains(day, TIMESTAMP('2020-02-29T12:00:00Z'))", [True, False, False]),
        ("day >= '2020-03-01'", [False, True, False]),
        ("cost = 1.5", [True, False, False]),
        ("said <= DATE('2020-02-29')", [True, False, False]),
        ("said <> DATE('2020-02-29')", [False, True, True]),
        ("t_equals(said, day)", [False, False, False]),
    ):
        assert matches(cql2.parse(text), rows).tolist() == wanted, text


# -- space, lists ----------------------------------------------------------------------------------------------------

SHAPES = [
    shapely.box(0, 0, 2, 2),
    shapely.box(1, 1, 3, 3),
    shapely.Point(10, 10),
    shapely.LineString([(-1, 1), (5, 1)]),
    None,
    shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),
    shapely.box(2, 0, 4, 2),
]


@pytest.mark.parametrize("name", ["intersects", "disjoint", "within", "contains", "equals", "touches", "crosses"])
def test_shapes_stand_as_shapely_says(name: str) -> None:
    rows = Rows({"geometry": SHAPES, "other": SHAPES[::-1]}, len(SHAPES))
    literal = SHAPES[0]
    assert literal is not None
    node, judged = shapely.geometry.mapping(literal), [one for one in SHAPES if one is not None and one.is_valid]
    for arguments, told in (
        ([{"property": "geometry"}, node], lambda one: getattr(one, name)(literal)),
        ([node, {"property": "geometry"}], lambda one: getattr(literal, name)(one)),
    ):
        truth = evaluate({"op": f"s_{name}", "args": arguments}, rows)
        assert truth.known.tolist() == [one is not None for one in SHAPES]
        found = [one for one, true in zip(SHAPES, truth.true, strict=True) if true and one is not None and one.is_valid]
        assert found == [one for one in judged if told(one)]
    both = evaluate({"op": f"s_{name}", "args": [{"property": "geometry"}, {"property": "other"}]}, rows)
    assert both.known.tolist() == [a is not None and b is not None for a, b in zip(SHAPES, SHAPES[::-1], strict=True)]


def test_a_box_over_the_antimeridian_has_two_sides() -> None:
    rows = Rows({"geometry": [shapely.Point(lon, 0) for lon in (179, -179, 0, 180)]}, 4)
    found = matches(cql2.parse("S_INTERSECTS(geometry, BBOX(178, -1, -178, 1))"), rows)
    assert found.tolist() == [True, True, False, True]


def test_lists_are_compared_as_sets() -> None:
    rows = Rows({"tags": [["a", "b"], ["a"], None, [1, True], [], np.array(["b", "a"])]}, 6)
    for text, wanted in (
        ("A_CONTAINS(tags, ('a','b'))", [True, False, False, False, False, True]),
        ("A_CONTAINEDBY(tags, ('a','b'))", [True, True, False, False, True, True]),
        ("A_EQUALS(tags, ('b','a'))", [True, False, False, False, False, True]),
        ("A_OVERLAPS(tags, (1.0, 'x'))", [False, False, False, True, False, False]),
        ("NOT A_OVERLAPS(tags, ('a'))", [False, False, False, True, True, False]),
    ):
        assert matches(cql2.parse(text), rows).tolist() == wanted, text


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"op": "s_dwithin", "args": [{"property": "geometry"}, 1]}, "'s_dwithin' is not supported"),
        ({"op": "=", "args": [{"op": "upper", "args": [{"property": "t"}]}, "A"]}, "'upper' is not supported"),
        ({"op": None, "args": []}, "'None' is not supported"),
        ({"op": "+", "args": [1, 2]}, "gives a value, not a condition"),
        ({"op": "=", "args": [{"property": "t"}]}, "takes 2 arguments, not 1"),
        ({"op": "like", "args": [{"property": "t"}, {"property": "t"}]}, "needs a pattern"),
        ({"op": "like", "args": [{"property": "t"}, "a" * 501]}, "at most 500"),
        ({"op": "in", "args": [{"property": "t"}, []]}, "at least one member"),
        ({"op": "<", "args": [{"property": "at"}, 5]}, "A time is compared with a number"),
        ({"op": "<", "args": [{"property": "at"}, {"date": "2020-02-30"}]}, "is no date"),
        ({"op": "t_after", "args": [{"property": "at"}, {"interval": ["2020-01-01"]}]}, "two ends"),
        ({"op": "t_after", "args": [{"property": "at"}, "soon"]}, "is no time"),
        ({"op": "=", "args": [{"property": "geometry"}, 1]}, "no simple value"),
        ({"op": "s_within", "args": [{"property": "t"}, {"bbox": [0, 0, 1, 1]}]}, "'t' is no geometry"),
        ({"op": "s_within", "args": [{"property": "geometry"}, 5]}, "5 is no geometry"),
        ({"op": "s_within", "args": [{"property": "geometry"}, {"bbox": [0, 0, 1]}]}, "4 or 6 numbers"),
        ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Polygon", "coordinates": [[[0]]]}]}, "read"),
        ({"op": "s_within", "args": [{"property": "geometry"}, {"type": "Sphere", "coordinates": []}]}, "read"),
        ({"op": "a_equals", "args": [{"property": "t"}, "a"]}, "compares lists"),
        ("t = 1", "is no condition"),
    ],
)
def test_what_is_not_known_or_does_not_fit_is_refused(tree: Any, said: str) -> None:
    rows = Rows({"t": ["a"], "at": pd.to_datetime(["2020-01-01"]), "geometry": [shapely.Point(0, 0)]}, 1)
    with pytest.raises(InvalidFilter, match=re.escape(said)):
        matches(tree, rows)


def test_every_operator_that_is_parsed_is_known_here() -> None:
    rows = Rows({}, 1)
    examples: Mapping[str, list[Any]] = {
        "between": [{"property": "p"}, 1, 2],
        "in": [{"property": "p"}, [1]],
        "like": [{"property": "p"}, "a"],
        "isNull": [{"property": "p"}],
        "not": [True],
        "and": [True],
        "or": [True],
    }
    for name in sorted(cql2.OPERATORS):
        tree: Any = {"op": name, "args": examples.get(name, [{"property": "p"}, {"property": "q"}])}
        if name in cql2.ARITHMETIC:
            tree = {"op": "=", "args": [tree, 1]}
        elif name in ("casei", "accenti"):
            tree = {"op": "=", "args": [{"op": name, "args": [{"property": "p"}]}, "a"]}
        assert matches(cql2.parse(tree), rows).tolist() == [name in ("isNull", "and", "or")], name


def test_a_filter_names_its_properties_and_its_parts() -> None:
    tree = cql2.parse("a = 1 AND (b LIKE 'x%' OR c + d > 2) AND S_INTERSECTS(geometry, POINT(1 2))")
    assert properties_of(tree) == {"a", "b", "c", "d", "geometry"}
    assert [one["op"] for one in conjuncts(tree) if not isinstance(one, bool)] == ["=", "or", "s_intersects"]


def test_a_long_list_and_a_long_table_are_no_trouble() -> None:
    values = np.arange(200_000) % 5000
    found = matches({"op": "in", "args": [{"property": "n"}, list(range(1000))]}, Rows({"n": values}, len(values)))
    assert found.sum() == 40_000
    assert isinstance(Column.from_values(values).part("number").values, np.ndarray)
