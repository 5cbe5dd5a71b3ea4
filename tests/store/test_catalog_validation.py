"""What may be stored is strict JSON, whoever writes it; polygons by their coordinates are as those from text."""

import enum
import json
import math
import pickle
import uuid
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter
from geoetl.store.catalog.footprint import BadGeometry, footprint_of, footprints_of
from geoetl.store.catalog.hrefs import read_openable
from geoetl.store.catalog.incoming import parse
from geoetl.store.catalog.validation import check_items, encode
from tests.stac import an_item


class Plain:
    """Addresses that stay as they are."""

    def portable(self, href: str) -> str:
        return href

    def openable(self, href: str) -> str:
        return f"opened:{href}"


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    RED = "red"


@dataclass
class Pair:
    a: int = 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_a_document_reads_back_as_it_was_given(value: Any) -> None:
    text = encode({"x": value}, "It")
    assert json.loads(text) == {"x": value}
    assert json.dumps(read_openable(text, Plain())) == json.dumps({"x": value})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (2**64, "an integer beyond 64 bits"),
        (-(2**63) - 1, "an integer beyond 64 bits"),
        (Colour.RED, "a Colour"),
        (uuid.UUID(int=1), "a UUID"),
        (date(2020, 1, 1), "a date"),
        (Pair(), "a Pair"),
        (b"x", "a bytes"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        ({("a", "b"): 1}, "a tuple as a name"),
    ],
)
def test_what_json_has_not_is_refused_and_found(value: Any, words: str) -> None:
    for document in ({"x": [value]}, {"x": [value], "tuple": (1, 2)}):
        with pytest.raises(InvalidParameter, match=words) as caught:
            encode(document, "It")
        assert str(caught.value.field).startswith("/x/0")


def test_what_python_has_for_json_is_taken() -> None:
    given_, text = {"t": (1, (2.5,)), "w": Word.RED, 5: True}, '{"t":[1,[2.5]],"w":"red","5":true}'
    assert encode(given_, "It") == text
    assert encode({"t": (1,), "edge": [2**64 - 1, -(2**63)]}, "It") == f'{{"t":[1],"edge":[{2**64 - 1},{-(2**63)}]}}'


def test_a_checked_item_is_still_an_item_and_is_not_checked_again() -> None:
    item = an_item(properties={"n": 1})
    [checked] = check_items([item], Plain())
    assert dict(checked) == item
    assert len(checked) == len(item)
    assert check_items([checked], Plain())[0] is checked
    assert check_items([checked, item], Plain()) == [checked, checked]
    assert pickle.loads(pickle.dumps(checked)) == checked


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": 18446744073709551616}', {"a": 2**64}),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"[0.1234567890123456789012]", [0.1234567890123456789012]),
        (b'"18446744073709551616"', "18446744073709551616"),
        *[
            (text, None)
            for text in (b"NaN", b"1e999", b"[18446744073709551616, NaN]", b"[18446744073709551616, -1e999]")
        ],
        *[(text, None) for text in (b"", b"{", b"\xff", b"'a'", b"[1,]", b'"\\ud800"')],
    ],
)
def test_json_text_is_read_to_the_last_digit_and_strictly(text: bytes, value: Any) -> None:
    if value is None:
        with pytest.raises(ValueError, match="."):
            parse(text)
    else:
        assert parse(text) == value
        assert json.dumps(parse(text)) == json.dumps(value)


COORDINATES = st.one_of(
    st.integers(-200, 200),
    st.floats(-200, 200),
    st.sampled_from([0, 1, 2, 0.5, 180.0, -180.0, math.nan, 10**400, "1", True, None]),
)
POINTS = st.lists(COORDINATES, min_size=1, max_size=3) | st.tuples(COORDINATES, COORDINATES)
RINGS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2.5, 3]), st.sampled_from([0, 1, 2.5, 3])).map(list), min_size=3, max_size=6
)
POLYGONS = st.builds(
    lambda ring, closed, more: {"type": "Polygon", "coordinates": [[*ring, *ring[:closed]], *more]},
    RINGS | st.lists(POINTS, min_size=1, max_size=5),
    st.integers(0, 1),
    st.sampled_from([[], [], [[[0.5, 0.5], [0.6, 0.5], [0.6, 0.6], [0.5, 0.5]]]]),
)


@given(st.lists(POLYGONS, max_size=5))
def test_polygons_together_are_what_each_is_alone(polygons: list[dict[str, Any]]) -> None:
    for polygon, found in zip(polygons, footprints_of([(polygon, None) for polygon in polygons]), strict=True):
        try:
            alone = footprint_of(polygon)
        except BadGeometry:
            alone = None
        assert found is None or found == alone
