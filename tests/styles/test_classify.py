"""Classes hold every value once, are mapclassify's, and say what their conditions do."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import geopandas as gpd
import mapclassify
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter
from geoetl.core.selectors import Rows, matches
from geoetl.store.samples import sample_path
from geoetl.styles.classify import MAX_PARTED, OTHER, Classes, classify
from geoetl.styles.numbers import readable, simplest_between

NUMERIC = ("quantiles", "equal", "jenks", "natural")


def holders(classes: Classes, values: Any) -> np.ndarray[Any, Any]:
    """Return of how many classes each value is, by their conditions."""
    rows = Rows({classes.attribute: values}, len(values))
    found = np.zeros(len(values), int)
    for one in classes.classes:
        held = matches(one.condition, rows)
        assert int(held.sum()) == one.count, one.label
        found += held
    return found


def labels(classes: Classes) -> list[str]:
    return [one.label for one in classes.classes]


def skewed(size: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).lognormal(3, 1.5, size)


@pytest.mark.parametrize("method", NUMERIC)
def test_every_value_is_in_exactly_one_class(method: Any) -> None:
    values = skewed(700)
    classes = classify(values, "pop", method, k=6)
    assert len(classes.classes) == 6
    assert (holders(classes, values) == 1).all()
    # And so is whatever is added later, on either side and at the limits themselves.
    later = np.array(
        [-1e9, 0.0, *classes.breaks, *(math.nextafter(limit, -math.inf) for limit in classes.breaks), 1e12]
    )
    rows = Rows({"pop": later}, len(later))
    assert (sum(matches(one.condition, rows).astype(int) for one in classes.classes) == 1).all()


ORACLES = {"quantiles": mapclassify.Quantiles, "jenks": mapclassify.FisherJenks}


@pytest.mark.parametrize("method", ORACLES)
@pytest.mark.parametrize("k", [2, 5, 9])
def test_classes_hold_the_rows_of_mapclassify(method: Any, k: int) -> None:
    for values in (skewed(400), np.round(skewed(400)), np.arange(100.0) ** 1.5 % 17):
        wanted = [int(count) for count in ORACLES[method](values, k).counts if count]
        assert [one.count for one in classify(values, "x", method, k=k).classes] == wanted


def test_equal_intervals_have_the_limits_of_mapclassify() -> None:
    values = skewed(400)
    wanted = mapclassify.EqualInterval(values, 5).bins[:-1]
    np.testing.assert_allclose(classify(values, "x", "equal").breaks, wanted, rtol=1e-14)


@pytest.mark.parametrize("size", [500, 20_000])
def test_natural_breaks_and_jenks_are_as_good_as_those_of_mapclassify(size: int) -> None:
    values = skewed(size)

    def spread(limits: Sequence[float], side: Literal["left", "right"] = "right") -> float:
        groups = np.searchsorted(limits, values, side=side)
        return sum(((values[groups == group] - values[groups == group].mean()) ** 2).sum() for group in set(groups))

    best = spread(mapclassify.FisherJenks(values[:1000], 5).bins[:-1], "left")
    for method in ("jenks", "natural"):
        assert spread(classify(values, "x", method, k=5).breaks) <= best * (1 + 1e-9)


def test_limits_are_the_simplest_numbers_that_part_the_values() -> None:
    classes = classify([1.234, 1.31, 7.61, 7.92, 30.4, 31.7], "x", "jenks", k=3)
    assert classes.breaks == (7.0, 30.0)
    assert labels(classes) == ["< 7", "7 – 30", "≥ 30"]


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60),
    st.sampled_from(NUMERIC),
    st.integers(1, 7),
)
@settings(max_examples=150, deadline=None)
def test_any_doubles_make_classes_without_overlap_or_gap(values: list[float], method: Any, k: int) -> None:
    classes = classify(values, "x", method, k=k)
    array = np.array(values)
    assert classes.missing == int((~np.isfinite(array)).sum())
    assert len(classes.classes) <= k
    if classes.classes:
        assert (holders(classes, array) == np.isfinite(array)).all()
    assert len(set(labels(classes))) == len(classes.classes)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_the_simplest_number_lies_between(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if low < high:
        assert low < simplest_between(low, high) <= high


def test_nulls_of_every_kind_are_counted_as_no_data() -> None:
    numbers = [1.0, None, 2.0, math.nan, math.inf, -math.inf, 3.0]
    classes = classify(pd.Series(numbers, dtype="Float64"), "x", k=3)
    assert (classes.missing, classes.rows, [one.count for one in classes.classes]) == (4, 7, [1, 1, 1])
    assert (holders(classes, np.array([np.nan if one is None else one for one in numbers], float)) <= 1).all()
    texts = classify(["a", None, "b", "a", math.nan], "x", "categories")
    assert (texts.missing, [(one.label, one.count) for one in texts.classes]) == (2, [("a", 2), ("b", 1)])
    nothing = classify([None, None], "x")
    assert (nothing.classes, nothing.missing, [one.code for one in nothing.findings]) == ((), 2, ["no_values"])


def test_a_constant_column_is_one_class_that_says_its_value() -> None:
    (only,) = classify([5, 5, 5], "x", "jenks").classes
    assert (only.label, only.count, only.lower, only.upper) == ("5", 3, 5, 5)
    assert not matches(only.condition, Rows({"x": [6]}, 1)).any()


@pytest.mark.parametrize("method", NUMERIC)
def test_few_distinct_values_make_as_many_classes_and_it_is_told(method: Any) -> None:
    classes = classify([1, 2, 2, 3] * 10, "x", method, k=5)
    assert labels(classes) == ["< 2", "2", "≥ 3"]
    assert "3 of the 5" in next(one for one in classes.findings if one.code == "fewer_classes").message


def test_very_many_equal_values_do_not_make_empty_quantiles() -> None:
    classes = classify([0] * 9_990 + list(range(1, 11)), "x", "quantiles")
    assert all(one.count for one in classes.classes)
    jenks = classify([0] * 99_990 + list(range(1, 11)), "x", "jenks")
    assert len(jenks.classes) == 5, "the tail is in the sample although it is a ten-thousandth of the rows"


@pytest.mark.parametrize("method", NUMERIC)
def test_the_ends_of_what_a_double_holds_are_classified(method: Any) -> None:
    for values in (
        [-1.7e308, -1e308, 0.0, 1e308, 1.7e308, 5.0, 6.0],
        [5e-324, 1e-323, 2e-323, 4e-323, 1e-322, 3e-322],
        [1e15 + n for n in range(9)],
    ):
        array = np.array(values)
        assert (holders(classify(array, "x", method, k=3), array) == 1).all()


def test_a_large_column_is_grouped_the_same_way_every_time_and_it_is_told() -> None:
    values = skewed(50_000)
    classes = classify(values, "x", "jenks")
    shuffled = np.random.default_rng(1).permutation(values)
    assert classes == classify(shuffled, "x", "jenks")
    assert classes.grouped is not None and classes.grouped <= MAX_PARTED
    told = next(one for one in classes.findings if one.code == "grouped").message
    assert f"{classes.grouped:,} groups of neighbours among 50,000" in told
    assert (holders(classes, values) == 1).all()
    assert classify(values, "x", "quantiles").grouped is None


def test_categories_go_from_the_most_frequent_and_the_rest_is_one_class() -> None:
    values = ["c"] * 5 + ["a"] * 9 + ["b"] * 5 + ["d", "e", "f"]
    classes = classify(values, "kind", "categories", k=3)
    assert [(one.label, one.count) for one in classes.classes] == [("a", 9), ("b", 5), ("c", 5), (OTHER, 3)]
    assert (holders(classes, values) == 1).all()
    assert [one.code for one in classes.findings] == ["categories_together"]
    assert labels(classify(values, "kind", "categories", k=5))[-1] == "f", "one alone is called by its name"


def test_categories_of_every_kind_have_conditions_of_their_kind() -> None:
    mixed = ["1", 1, True, 1.0, None, "", 2.5]
    classes = classify(mixed, "x", "categories")
    assert sorted((one.label, one.count) for one in classes.classes) == [
        ("(empty)", 1), ("1", 1), ("1", 2), ("2.5", 1), ("yes", 1),
    ]  # fmt: skip
    assert (holders(classes, mixed) == [1, 1, 1, 1, 0, 1, 1]).all()
    flags = classify([True, False, True, None], "x", "categories")
    assert [(one.label, one.value, one.count) for one in flags.classes] == [("yes", True, 2), ("no", False, 1)]


def test_infinite_numbers_are_not_in_the_class_of_the_others() -> None:
    values = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, math.inf]
    classes = classify(values, "x", "categories", k=1)
    assert (holders(classes, np.array(values)) == [1, 1, 1, 1, 1, 1, 0]).all()


def test_limits_of_ones_own_are_kept_as_they_are() -> None:
    classes = classify([5, 15, 25, 100], "x", "manual", breaks=[10, 20.5], units="km")
    assert classes.breaks == (10, 20.5)
    assert [(one.label, one.count) for one in classes.classes] == [("< 10 km", 1), ("10 – 20 km", 1), ("≥ 20.5 km", 2)]


def test_labels_of_whole_numbers_name_the_last_of_a_class() -> None:
    years = [1990, 1995, 2000, 2004, 2005, 2010]
    assert labels(classify(years, "year", "manual", breaks=[1995, 2005])) == ["< 1995", "1995 – 2004", "≥ 2005"]
    assert labels(classify([5, 12_000, 40_000, 90_000], "pop", "manual", breaks=[10_000, 50_000])) == [
        "< 10,000", "10,000 – 50,000", "≥ 50,000",
    ]  # fmt: skip


def test_numbers_read_as_people_write_them_and_stay_different() -> None:
    assert readable([0.1 + 0.2, 0.6, 1.0]) == ["0.3", "0.6", "1"]
    assert readable([230.4372, 250.9, 310.111]) == ["230.4", "250.9", "310.1"]
    assert readable([1e-9, 2e-9]) == ["1e-9", "2e-9"]
    assert readable([1e20, 2.5e20]) == ["1e20", "2.5e20"]
    assert readable([1.0000001, 1.0000002]) == ["1.0000001", "1.0000002"]
    assert readable([-0.0]) == ["0"]


COLUMNS = {
    "list": lambda: [1, 2, None],
    "numpy": lambda: np.array([1, 2, np.nan]),
    "pandas nullable": lambda: pd.Series([1, 2, None], dtype="Int64"),
    "pandas category": lambda: pd.Series([1, 2, None], dtype="category"),
    "arrow": lambda: pa.chunked_array([[1], [2, None]]),
    "objects": lambda: pd.Series([1, 2, None], dtype=object),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_every_kind_give_the_same_classes(kind: str) -> None:
    for method, wanted in (("quantiles", ["< 2", "≥ 2"]), ("categories", ["1", "2"])):
        classes = classify(COLUMNS[kind](), "x", method)  # type: ignore[arg-type]
        assert (labels(classes), classes.missing) == (wanted, 1)


@pytest.mark.parametrize(
    ("values", "asked", "field", "says"),
    [
        ([1, 2], {"method": "quantile"}, "method", "quantiles"),
        ([1, 2], {"method": "jenks", "k": 0}, "k", "1 to 64"),
        ([1, 2], {"method": "jenks", "k": True}, "k", "1 to 64"),
        ([1, 2], {"method": "manual"}, "breaks", "There are no limits"),
        ([1, 2], {"method": "manual", "breaks": [2, 1]}, "breaks", "ascending"),
        ([1, 2], {"method": "manual", "breaks": [1, math.nan]}, "breaks", "finite"),
        ([1, 2], {"method": "manual", "breaks": [1], "k": 2}, "k", "n \\+ 1 classes"),
        ([1, 2], {"method": "equal", "breaks": [1]}, "breaks", "finds its own"),
        (["a"], {"method": "equal"}, "attribute", "method=categories"),
        ([1j], {"method": "equal"}, "attribute", "complex"),
        (pd.to_datetime(pd.Series(["2020-01-01"])), {"method": "categories"}, "attribute", "datetime"),
        ([[1], [2]], {"method": "categories"}, "attribute", "list"),
    ],
)
def test_what_cannot_be_classified_is_refused(values: Any, asked: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidParameter, match=f"(?s){says}") as caught:
        classify(values, "x", **asked)
    assert caught.value.field == field


def test_a_real_table_is_classified_and_shows_itself() -> None:
    states = gpd.read_file(sample_path("us_states.geojson"))
    classes = classify(states["median_income"], "median_income", "jenks", units="USD")
    assert sum(one.count for one in classes.classes) == len(states)
    assert all(label.endswith(" USD") for label in labels(classes))
    assert "USD" in classes._repr_html_()
    assert "<script" not in classify(["<script>"], "<script>", "categories")._repr_html_()
