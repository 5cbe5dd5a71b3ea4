"""Ids are one safe path segment; digests do not depend on the order of keys."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter
from geoetl.core.identifiers import check_id, digest, fingerprint, new_id, slug

NAUGHTY = [
    "", ".", "..", "a/b", "a\\b", "../../etc/passwd", "%2e%2e", "a\0b", "CON", "nul.tif", "com1", "-a", "a.", "a..b",
    " a", "a ", "a\n", "é", "\u202eabc", "a" * 201, "<script>", "a;b", "a'b", "$(x)", "~", "🦀",
]  # fmt: skip


@pytest.mark.parametrize("text", NAUGHTY)
def test_an_unsafe_id_is_refused_with_a_safe_one(text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check_id(text, "item")
    assert caught.value.field == "item"
    assert slug(text) in str(caught.value.hint)


@given(st.text(max_size=300))
def test_a_slug_is_always_a_valid_id(text: str) -> None:
    assert check_id(slug(text)) == slug(text)


@pytest.mark.parametrize("text", ["landsat_rgb", "CMIP6.CMIP.NCAR.CESM2.v20190308", "a", "0", "A-b_c.d", "console"])
def test_ordinary_names_are_ids(text: str) -> None:
    assert check_id(text) == text


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_number_that_json_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        digest({"a": float("nan")})


def test_ids_sort_by_the_time_they_were_made() -> None:
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()
    assert len(first) == 20


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (tmp_path / "b").write_text("2")
    assert fingerprint(tmp_path) != before
