"""Classes of close values are the best that there are, however they are looked for."""

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoetl.styles.breaks import fisher_jenks, natural_breaks

weighted = st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 4)), min_size=1, max_size=9)


def spread(values: Any, rows: Any, starts: Any) -> float:
    """Return the sum of squared distances from the mean of the class."""
    parts = [slice(start, end) for start, end in pairwise([0, *starts, len(values)])]
    means = [np.average(values[part], weights=rows[part]) for part in parts]
    return sum(float((rows[part] * (values[part] - mean) ** 2).sum()) for part, mean in zip(parts, means, strict=True))


@settings(deadline=None)
@given(weighted, st.data())
def test_no_other_way_to_part_values_keeps_them_closer(drawn: list[tuple[int, int]], data: st.DataObject) -> None:
    values, rows = (np.array(one) for one in zip(*sorted(drawn), strict=True))
    k = data.draw(st.integers(1, len(values)))
    starts = fisher_jenks(values.astype(float), rows, k)
    assert len(starts) == k - 1
    assert (np.diff([0, *starts, len(values)]) > 0).all()
    best = min(spread(values, rows, others) for others in combinations(range(1, len(values)), k - 1))
    assert spread(values, rows, starts) == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(weighted, st.data())
def test_natural_breaks_are_no_worse_than_where_they_begin(drawn: list[tuple[int, int]], data: st.DataObject) -> None:
    values, rows = (np.array(one) for one in zip(*sorted(dict(drawn).items()), strict=True))
    places = data.draw(st.sets(st.integers(1, len(values)), max_size=4))
    begun = np.array(sorted(place for place in places if place < len(values)), dtype=np.int64)
    moved = natural_breaks(values.astype(float), rows, begun)
    assert len(moved) == len(begun) and (np.diff([0, *moved, len(values)]) > 0).all()
    assert spread(values, rows, moved) <= spread(values, rows, begun) + 1e-9


def test_a_value_lies_with_the_mean_that_is_nearest() -> None:
    values = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    assert natural_breaks(values, np.ones(6, dtype=np.int64), np.array([1])).tolist() == [3]
