"""CQL2: what each operator says, what is refused, and that nothing of a filter becomes SQL or kills the process."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geoetl.core.errors import InvalidFilter
from geoetl.store.catalog import Search
from geoetl.store.catalog import cql2 as filters
from tests.stac import BACK_ENDS, AnyCatalog, a_collection, an_item, prepare

ITEMS: dict[str, dict[str, Any]] = {
    "number": {"n": 5, "title": "Oslo fjord", "eo:cloud_cover": 10.5, "tags": ["a", "b", 3], "flag": True},
    "text": {"n": "5", "title": "oslo", "created": "2020-05-01T00:00:00+02:00", "tags": [], "flag": False},
    "true": {"n": True, "title": "Ålesund", "nested": {"deep": {"x": 1}, "a.b": 2}, "tags": ["b", "a", 3]},
    "null": {"n": None, "title": "100% _sure_ [x]*?\\", "dotted.name": "y", "tags": "a"},
    "missing": {"title": "", "tags": [True, 1.0, "1"]},
}


@pytest.fixture(scope="module", params=BACK_ENDS)
def catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AnyCatalog:
    """Give a catalogue whose items have every kind of property."""
    catalog = BACK_ENDS[request.param](prepare(request.param, tmp_path_factory.mktemp("cql2"), request))
    catalog.upsert_collection(a_collection())
    catalog.upsert_collection(a_collection("other"))
    items = [
        an_item(name, properties=properties, box=(n, 0, n + 1, 1), time=f"202{n}-06-15T12:00:00Z")
        for n, (name, properties) in enumerate(ITEMS.items())
    ]
    period = {"start_datetime": "2021-01-01T00:00:00Z", "end_datetime": "2021-12-31T00:00:00Z"}
    shape = {"type": "Polygon", "coordinates": [[[20, 0], [22, 0], [20, 2], [20, 0]]]}
    items.append(
        an_item("period", collection="other", box=(20, 0, 22, 2), geometry=shape, time=None, properties=period)
    )
    items.append(an_item("across", collection="other", box=(178, -2, -178, 2), time="1999-12-31T23:59:59.999999Z"))
    catalog.upsert_items(items)
    return catalog


def matches(catalog: AnyCatalog, filter: Any) -> str:
    return " ".join(sorted(item["id"] for item in catalog.search(Search(filter=filter))))


ALL = "across missing null number period text true"

CASES = {
    # Kinds: a number never equals a text or a truth value, and what is missing or null is unknown.
    "n = 5": "number",
    "n = 5.0": "number",
    "n = '5'": "text",
    "n = true": "true",
    "n = 1": "",
    "n <> 5": "text true",
    "n <> '5'": "number true",
    "NOT (n = 5)": "text true",
    "n > 4": "number",
    "n < 'z'": "text",
    "NOT (n > 4)": "",
    "5 = n": "number",
    "4 < n": "number",
    "n = n": "number text true",
    "n = title": "",
    "title <> n": "number text true",
    "flag": "number",
    "NOT flag": "text",
    "flag = false": "text",
    "n IS NULL": "across missing null period",
    "n IS NOT NULL": "number text true",
    "n IS NULL AND title IS NOT NULL": "missing null",
    "n = 5 OR n IS NULL": "across missing null number period",
    "true": ALL,
    "false": "",
    "(n = 5) = true": "number",
    # Names
    "eo:cloud_cover >= 10.5": "number",
    "properties.eo:cloud_cover > 10.5": "",
    '"eo:cloud_cover" BETWEEN 10 AND 11': "number",
    "nested.deep.x = 1": "true",
    "properties.nested.deep.x = 1": "true",
    "dotted.name = 'y'": "null",
    "id = 'text'": "text",
    "id <> 'text' AND collection = 'demo'": "missing null number true",
    "id = 5": "",
    "id <> 5": ALL,
    "collection IN ('other', 'x')": "across period",
    "properties = 5": "",
    # Lists, ranges
    "n IN (5, 'x')": "number",
    "n IN ('5', true)": "text true",
    "n NOT IN (5)": "text true",
    "id IN ('text', 'true')": "text true",
    "n BETWEEN 4 AND 6": "number",
    "n NOT BETWEEN 6 AND 7": "number",
    "title IN (CASEI('x'), 'oslo')": "text",
    # Patterns
    "title LIKE 'Oslo%'": "number",
    "title LIKE '%o%'": "number text",
    "title LIKE '_slo'": "text",
    "title NOT LIKE '%s%'": "missing",
    "title LIKE ''": "missing",
    "title LIKE '%%%'": "missing null number text true",
    "title LIKE '100\\% \\_sure\\_ [x]*?%'": "null",
    "title LIKE '%\\\\'": "null",
    "title LIKE '*'": "",
    "n LIKE '5'": "text",
    "n NOT LIKE '5'": "number true",
    "CASEI(title) LIKE casei('OSLO%')": "number text",
    "CASEI(title) = casei('OSLO')": "text",
    "ACCENTI(title) = accenti('Alesund')": "true",
    "ACCENTI(title) = 'Alesund'": "true",
    "CASEI(ACCENTI(title)) LIKE 'ales%'": "true",
    "CASEI(title) IN (casei('OSLO'), casei('ÅLESUND'))": "text true",
    # Arithmetic
    "n + 1 = 6": "number",
    "n * 2 - 1 > 8": "number",
    "n / 2 = 2.5": "number",
    "n / 0 = 1": "",
    "n ^ 2 = 25": "number",
    "n ^ 9 ^ 9 ^ 9 > 0": "",
    "n % 3 = 2": "number",
    "n div 2 = 2": "number",
    "-n = -5": "number",
    "n = 99999999999999999999": "",
    # Time
    "datetime > TIMESTAMP('2022-01-01T00:00:00Z')": "missing null true",
    "datetime = TIMESTAMP('2020-06-15T14:00:00+02:00')": "number",
    "datetime = DATE('2020-06-15')": "number",
    "datetime <> DATE('2020-06-15') AND collection = 'demo'": "missing null text true",
    "datetime <= DATE('2020-06-15')": "across number",
    "datetime < DATE('2020-06-15')": "across",
    "datetime > DATE('2023-06-15')": "missing",
    "DATE('2023-06-15') <= datetime": "missing null",
    "datetime BETWEEN '2020-01-01' AND '2020-06-15'": "number",
    "datetime >= '2023-06-15T12:00:00Z'": "missing null",
    "created = TIMESTAMP('2020-04-30T22:00:00Z')": "text",
    "created < DATE('2020-05-01')": "text",
    "created < datetime": "text",
    "end_datetime > DATE('2021-12-30')": "period",
    "T_INTERSECTS(datetime, INTERVAL('2021-12-31', '2022-07-01'))": "period true",
    "T_INTERSECTS(datetime, DATE('2021-07-01'))": "period",
    "T_DURING(datetime, INTERVAL('2020-01-01', '2022-01-01'))": "number period text",
    "T_BEFORE(datetime, DATE('2000-01-01'))": "across",
    "T_AFTER(datetime, DATE('2023-01-01'))": "missing null",
    "T_CONTAINS(datetime, DATE('2021-06-01'))": "period",
    "T_DISJOINT(datetime, INTERVAL('2000-01-01', '..'))": "across",
    "T_EQUALS(datetime, INTERVAL('2021-01-01T00:00:00Z', '2021-12-31T00:00:00Z'))": "period",
    "T_STARTS(datetime, INTERVAL('2021-01-01T00:00:00Z', '..'))": "period",
    "T_STARTEDBY(datetime, INTERVAL('2021-01-01T00:00:00Z', '2021-02-01T00:00:00Z'))": "period",
    "T_FINISHES(datetime, INTERVAL('..', '2021-12-31T00:00:00Z'))": "period",
    "T_FINISHEDBY(datetime, INTERVAL('2021-02-01T00:00:00Z', '2021-12-31T00:00:00Z'))": "period",
    "T_MEETS(datetime, INTERVAL('2021-12-31T00:00:00Z', '..'))": "period",
    "T_METBY(datetime, INTERVAL('..', '2021-01-01T00:00:00Z'))": "period",
    "T_OVERLAPS(datetime, INTERVAL('2021-06-01', '..'))": "period",
    "T_OVERLAPPEDBY(datetime, INTERVAL('..', '2021-06-01'))": "period",
    "T_INTERSECTS(INTERVAL(start_datetime, end_datetime), INTERVAL('2021-05-01', '..'))": "period",
    "T_BEFORE(created, DATE('2020-06-01'))": "text",
    # Space
    "S_INTERSECTS(geometry, POINT(0.5 0.5))": "number",
    "S_INTERSECTS(POINT(0.5 0.5), geometry)": "number",
    "S_INTERSECTS(geometry, BBOX(0.5, 0.5, 1.5, 0.6))": "number text",
    "S_INTERSECTS(geometry, BBOX(179, 0, -179, 1))": "across",
    "S_INTERSECTS(geometry, POINT(21.5 1.5))": "",
    "S_DISJOINT(geometry, BBOX(0, 0, 30, 1))": "across",
    "NOT S_INTERSECTS(geometry, BBOX(0, 0, 30, 1))": "across",
    "S_WITHIN(geometry, BBOX(0, 0, 2, 1))": "number text",
    "S_WITHIN(geometry, BBOX(170, -5, -170, 5))": "across",
    "S_CONTAINS(geometry, POINT(0.5 0.5))": "number",
    "S_CONTAINS(BBOX(0, 0, 2, 1), geometry)": "number text",
    "S_WITHIN(POINT(0.5 0.5), geometry)": "number",
    "S_EQUALS(geometry, POLYGON((0 0, 1 0, 1 1, 0 1, 0 0)))": "number",
    "S_TOUCHES(geometry, POINT(1 0.5))": "number text",
    "S_CROSSES(geometry, LINESTRING(-1 0.5, 0.5 0.5))": "number",
    "S_OVERLAPS(geometry, BBOX(0.5, 0.5, 0.7, 5))": "number",
    "S_INTERSECTS(geometry, POINT(0.5 0.5)) OR S_INTERSECTS(geometry, POINT(1.5 0.5))": "number text",
    "S_INTERSECTS(POINT(1 1), BBOX(0, 0, 2, 2))": ALL,
    "geometry IS NULL": "",
    # Arrays, as sets
    "A_CONTAINS(tags, ('a', 'b'))": "number true",
    "A_EQUALS(tags, ('b', 3, 'a'))": "number true",
    "A_OVERLAPS(tags, ('a', 'x'))": "number true",
    "A_CONTAINEDBY(tags, ('a', 'b', 3, 'c'))": "number text true",
    "A_CONTAINS(tags, (1))": "missing",
    "A_CONTAINS(tags, (true))": "missing",
    "A_CONTAINS(tags, ('1'))": "missing",
    "NOT A_OVERLAPS(tags, ('a'))": "missing text",
    "A_CONTAINS(('a', 'b', 3), tags)": "number text true",
    "A_EQUALS(tags, tags)": "missing number text true",
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_a_filter_matches_what_cql2_says_as_text_and_as_json(catalog: AnyCatalog, text: str) -> None:
    assert matches(catalog, text) == CASES[text]
    tree = filters.parse(text)
    assert matches(catalog, tree) == CASES[text]
    assert matches(catalog, json.dumps(tree)) == CASES[text] if isinstance(tree, dict) else True


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        ("", "not CQL2"),
        ("n =", "not CQL2"),
        ("n = 5 xx", "near 'xx'"),
        ("n = 'a' ; drop table stac_items", "not CQL2"),
        ("n = 1e400", "number inf"),
        ("foo(n) = 1", "'foo' is not supported"),
        ("s_intersect(geometry, POINT(1 1))", "'s_intersect' is not supported"),
        ("n + 1", "gives a value"),
        ("'a'", "filter is a CQL2 text or a JSON object"),
        ("title LIKE n", "pattern"),
        ("datetime LIKE '2020%'", "'like' compares texts"),
        ("datetime = 5", "number"),
        ("datetime = 'yesterday'", "no time"),
        ("datetime = DATE('2020-02-30')", "no date"),
        ("T_BEFORE(datetime, 5)", "number"),
        ("T_BEFORE(datetime, title) AND geometry = 5", "no simple value"),
        ("S_INTERSECTS(footprint, POINT(1 1))", "'footprint' is no geometry"),
        ("S_INTERSECTS(geometry, BBOX(1, 2, 3))", "4 numbers"),
        ("S_INTERSECTS(geometry, BBOX(1, -95, 2, 3))", "Latitude"),
        ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1)))", "cannot be read"),
        ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 1 0, 0 1, 0 0)))", "Self-intersection"),
        ("A_CONTAINS(id, ('a'))", "compares lists"),
        ("n = 'a\u0001'", "control character"),
        ({"op": "=", "args": [{"property": 'a"b'}, 1]}, "quote"),
        ({"op": "=", "args": [{"property": "a\\b"}, 1]}, "quote"),
        ({"op": "=", "args": [{"property": ""}, 1]}, "1 to 200"),
        ({"op": "=", "args": [{"property": 5}, 1]}, "1 to 200"),
        ({"op": "=", "args": [{"property": "a"}]}, "takes 2 arguments, not 1"),
        ({"op": "="}, "no list of arguments"),
        ({"op": ["="], "args": []}, "not supported"),
        ({"op": "and", "args": []}, "at least 1"),
        ({"op": "and", "args": [5]}, "no condition"),
        ({"op": "in", "args": [{"property": "a"}, []]}, "at least one member"),
        ({"op": "=", "args": [{"property": "a"}, {"x": 1}]}, "no value"),
        ({"op": "=", "args": [{"property": "a"}, None]}, "no value"),
        ({"op": "=", "args": [{"property": "a"}, "\0"]}, "character"),
        ({"op": "=", "args": [{"property": "a"}, "\ud800"]}, "character"),
        ({"op": "=", "args": [{"property": "a"}, {1, 2}]}, "a set"),
        ({"op": "t_before", "args": [{"property": "datetime"}, {"interval": ["..", 5, 6]}]}, "two ends"),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": "abcd"}]}, "box"),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, 5]}, "no geometry"),
        ({"filter": "a = 1"}, "no condition"),
        ('{"op": "="', "not JSON"),
        ("{" * 100_000, "not JSON"),
    ],
)
def test_a_filter_that_cannot_be_answered_says_why(catalog: AnyCatalog, filter: Any, words: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        matches(catalog, filter)
    assert words in caught.value.detail
    assert caught.value.hint
    assert caught.value.field == "filter"


def test_an_unknown_operator_is_told_what_there_is(catalog: AnyCatalog) -> None:
    with pytest.raises(InvalidFilter) as caught:
        matches(catalog, "s_intersect(geometry, POINT(1 1))")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Did you mean 's_intersects'? Supported: %, *, +, ")


# -- limits -----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"op": "=", "args": [{"property": "n"}, 5]}
    for _ in range(depth):
        tree = {"op": "not", "args": [tree]}
    return tree


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        ("n = 5 AND " * 900 + "n = 5", "characters"),
        ("(" * 13 + "n = 5" + ")" * 13, "12 parentheses"),
        ("(" * 5 + "n = 5", "never closed"),
        ("n = 5)", "closes nothing"),
        ("NOT " * 40 + "n = 5", "32 operators in a row"),
        ("-" * 40 + "n = 5", "32 operators in a row"),
        ("n" + " = n" * 40, "32 operators in a row"),
        ("(n)" + " = (n)" * 40, "32 operators in a row"),
        ("(" * 12 + "n = 5 OR " * 800 + "n = 5" + ")" * 12, "too deep for its length"),
        (nested(40), "deeper than 16"),
        (nested(5000), "deeper than 16"),
        ({"op": "or", "args": [nested(0)] * 501}, "more than 500 operators"),
        ({"op": "in", "args": [{"property": "n"}, list(range(1001))]}, "1001 members"),
        ({"op": "=", "args": [{"property": "n"}, "x" * 300_000]}, "bytes of JSON"),
        (f'{{"op": "=", "args": [{{"property": "n"}}, "{"x" * 300_000}"]}}', "characters of JSON"),
        ({"op": "like", "args": [{"property": "n"}, "%a" * 300]}, "at most 500"),
    ],
)
def test_a_filter_beyond_a_limit_is_refused(catalog: AnyCatalog, filter: Any, words: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        matches(catalog, filter)
    assert words in caught.value.detail


def test_operators_that_repeat_their_arguments_cannot_make_the_statement_explode(catalog: AnyCatalog) -> None:
    tree: Any = {"op": "=", "args": [{"property": "n"}, 5]}
    for _ in range(12):
        tree = {"op": "in", "args": [tree, [True] * 200]}
    with pytest.raises(InvalidFilter, match="too large"):
        matches(catalog, tree)


def deepest(leaf: Any, wrap: Any, levels: int = 1) -> Any:
    for _ in range((filters.MAX_DEPTH - 2) // levels):
        leaf = wrap(leaf)
    return leaf


P = {"property": "n.x"}
EQ = {"op": "=", "args": [P, P]}
DEEPEST = {
    "not": deepest(EQ, lambda t: {"op": "not", "args": [t]}),
    "and": deepest(EQ, lambda t: {"op": "and", "args": [EQ, t]}),
    "not or": deepest(EQ, lambda t: {"op": "not", "args": [{"op": "or", "args": [EQ, t, EQ]}]}, levels=2),
    "equals": deepest(EQ, lambda t: {"op": "=", "args": [EQ, t]}),
    "casei": {"op": "=", "args": [P, deepest(P, lambda t: {"op": "casei", "args": [t]})["args"][0]]},
    "plus": {"op": "=", "args": [P, deepest(P, lambda t: {"op": "+", "args": [P, t]})["args"][1]]},
    "power": {"op": "=", "args": [P, deepest(P, lambda t: {"op": "^", "args": [t, P]})["args"][0]]},
    "isNull": deepest(EQ, lambda t: {"op": "isNull", "args": [t]}),
    "wide": {"op": "and", "args": [{"op": "or", "args": [EQ] * 20}] * 20},
    "flat": {"op": "and", "args": [EQ] * 499},
}


@pytest.mark.parametrize("name", DEEPEST)
def test_the_deepest_filter_that_is_allowed_is_one_that_the_database_answers(catalog: AnyCatalog, name: str) -> None:
    matches(catalog, DEEPEST[name])


def test_no_filter_within_the_limits_kills_or_hangs_the_parser() -> None:
    """In a child with the small stack that threads have on some systems; cql2 overflows it without the limits."""
    script = """
        import sys, threading, time
        from geoetl.core.errors import InvalidFilter
        from geoetl.store.catalog import cql2
        opens = ["(", "NOT (", "f(", "casei(", "a in (", "a_equals(a,(", "POLYGON(", "1+(", "-(", "a=(", "(a=1) and ("]
        rows = ["NOT ", "-", "- ", "a=", "a<>-", "a^", "a+", "a like ", "(a)=", "a in (1)=", "a is null=", "(a)-", "1,"]
        texts = []
        for inner in ("a=1", "a 1", "1 2", "a=1 or " * 300 + "1 1", "'"):
            for part in opens:
                for depth in (4, 8, 12, 1000):
                    closing = ")" * (part.count("(") * depth)
                    texts += [part * depth + inner + closing, part * depth + inner]
            for part in rows:
                texts += [part * count + inner for count in (16, 32, 200, 4000)]
        def work():
            for text in texts:
                began = time.monotonic()
                try:
                    cql2.parse(text[:8000])
                except InvalidFilter:
                    pass
                assert time.monotonic() - began < 2, text[:80]
            print("survived", len(texts))
        threading.stack_size(512 * 1024)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["survived"]), done.stderr


# -- injection ---------------------------------------------------------------------------------------------------------

MARK = "zq7'; drop table stac_items; --"


@pytest.mark.parametrize(
    "filter",
    [
        {"op": "=", "args": [{"property": "title"}, MARK]},
        {"op": "like", "args": [{"property": "title"}, MARK]},
        {"op": "in", "args": [{"property": "title"}, [MARK, 1]]},
        {"op": "in", "args": [{"property": "id"}, [MARK]]},
        {"op": "=", "args": [{"property": MARK}, 1]},
        {"op": "=", "args": [{"property": f"{MARK}.{MARK}"}, {"property": MARK}]},
        {"op": "casei", "args": [{"property": MARK}]},
        {"op": "a_contains", "args": [{"property": MARK}, [MARK]]},
        {"op": "t_before", "args": [{"property": MARK}, {"timestamp": MARK}]},
        {"op": MARK, "args": []},
    ],
)
def test_nothing_of_a_filter_becomes_sql(catalog: AnyCatalog, filter: dict[str, Any]) -> None:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(catalog.database.engine, "before_cursor_execute", note)
    try:
        catalog.search(Search(filter=filter, ids=(MARK,), collections=(MARK,)))
    except InvalidFilter:
        pass
    finally:
        sa.event.remove(catalog.database.engine, "before_cursor_execute", note)
    assert not any("zq7" in statement for statement in statements)
    assert matches(catalog, True) == ALL
