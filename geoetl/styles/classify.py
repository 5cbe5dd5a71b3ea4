"""Classes of a column: categories, quantiles, equal intervals, Jenks, natural breaks, or limits of one's own.

Quantiles, equal intervals and Jenks have the results of mapclassify, which is not used: importing it compiles for
seconds, and somebody would wait for them.  Natural breaks are as close together as its, or closer (see `breaks`).

Classes of numbers are half-open, ``lower <= value < upper``, the first and the last open to the outside: they neither
overlap nor leave a gap, whatever values are added later.  The limit between two classes is the number of fewest digits
that parts their values, so that what a legend says is what the condition does.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from geoetl.core import html
from geoetl.core.errors import InvalidParameter, did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.styles.breaks import fisher_jenks, natural_breaks
from geoetl.styles.numbers import number_text, readable, simplest_between

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Method = Literal["categories", "quantiles", "equal", "jenks", "natural", "manual"]
ColumnKind = Literal["number", "text", "boolean", "mixed"]
METHODS: tuple[str, ...] = get_args(Method)

DEFAULT_CLASSES = 5
# More categories than colours that everybody can tell apart help nobody.
DEFAULT_CATEGORIES = 8
MAX_CLASSES = 64
# Where more values are different, neighbours are put together before the best of all ways is looked for.
MAX_PARTED = 10_000
# A text longer than this is cut on the legend.
MAX_LABEL = 80
OTHER = "other"
# Of whole numbers up to this the last of a class is named: 1990 – 1999; of larger ones nobody minds the last digit.
_LARGEST_INCLUSIVE = 10_000
# Beyond, doubles have gaps between whole numbers.
_LARGEST_EXACT = 2.0**53


class Class(BaseModel):
    """One class of a column.

    Attributes:
        label: What the legend says.
        condition: CQL2 JSON; true for the rows of the class alone.
        lower: The limit below, in units of the column; of the first class the smallest value; None of a category.
        upper: The limit above; of the last class the largest value; None of a category.
        value: The category; None of a class of numbers and of the other categories together.
        count: Rows of the class.
    """

    model_config = ConfigDict(frozen=True)

    label: str
    condition: dict[str, Any]
    lower: float | None = None
    upper: float | None = None
    value: str | bool | int | float | None = None
    count: int


class Classes(BaseModel):
    """How a column is classified.

    Attributes:
        method: How the limits were found.
        attribute: Name of the column.
        units: Units of its values, where they are known.
        classes: From low to high; of categories the most frequent first, and then all others together.
        missing: Rows without a value: null, NaN or infinite.
        rows: All rows.
        grouped: Groups of neighbouring values that the limits lie between; None where they lie between all values.
        findings: What a person should know: fewer classes than wanted, a sample, categories put together.
    """

    model_config = ConfigDict(frozen=True)

    method: Method
    attribute: str
    units: str | None
    classes: tuple[Class, ...]
    missing: int
    rows: int
    grouped: int | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def breaks(self) -> tuple[float, ...]:
        """The limits between classes of numbers."""
        return tuple(one.upper for one in self.classes[:-1] if one.upper is not None)

    @property
    def is_ordered(self) -> bool:
        """Whether the classes go from low to high."""
        return self.method != "categories"

    def _repr_html_(self) -> str:
        title = f"{self.attribute}, {self.method}"
        rows: list[tuple[str, object]] = [(one.label, f"{one.count:,}") for one in self.classes]
        return html.heading(title, f"{self.rows:,} rows") + html.table(
            ["class", "rows"], [*rows, ("no data", f"{self.missing:,}")] if self.missing else rows
        )


def classify(
    values: Iterable[Any],
    attribute: str,
    method: Method = "quantiles",
    *,
    k: int | None = None,
    breaks: Sequence[float] | None = None,
    units: str | None = None,
) -> Classes:
    """Return the classes of a column.

    Args:
        values: The column: a pandas Series, numpy or Arrow array, or a list; null, NaN and infinite are no data.
        attribute: Its name, which the conditions look at.
        method: ``categories``, ``quantiles``, ``equal`` intervals, ``jenks`` (Fisher-Jenks, optimal), ``natural``
            (breaks by k-means) or ``manual``.
        k: How many classes: 5 of numbers and 8 categories where it is left out; fewer where the values have no more.
        breaks: Of ``manual`` alone: the limits between classes, ascending; n limits make n + 1 classes.
        units: Units of the values, for the labels.

    Raises:
        InvalidParameter: There is no such method, `k` or `breaks` do not fit it, or the values are none that it takes.
    """
    if method not in METHODS:
        raise InvalidParameter(
            f"There is no way to classify called '{str(method)[:40]}'.",
            hint=did_you_mean(str(method), METHODS),
            field="method",
        )
    limits = _checked_breaks(method, breaks, k)
    wanted = _checked_k(method, k)
    column = _Column.of(values, attribute)
    if method == "categories":
        return _categories(column, wanted, units)
    return _intervals(column, method, wanted, limits, units)


def _checked_breaks(method: str, breaks: Sequence[float] | None, k: int | None) -> list[float]:
    if (method == "manual") != (breaks is not None):
        raise InvalidParameter(
            "Limits are given, and the method finds its own." if breaks is not None else "There are no limits.",
            hint="Limits go with method=manual, and it needs them, for example breaks=[10, 20].",
            field="breaks",
        )
    if breaks is None:
        return []
    if k is not None:
        raise InvalidParameter(
            f"k is {k}, and limits are given.", hint="Leave k out: n limits make n + 1 classes.", field="k"
        )
    try:
        limits = [float(limit) for limit in breaks]
    except (TypeError, ValueError, OverflowError):
        limits = []
    ascending = all(a < b for a, b in pairwise(limits))
    if not 1 <= len(limits) < MAX_CLASSES or not np.isfinite(limits).all() or not ascending:
        raise InvalidParameter(
            f"breaks is {str(list(breaks))[:80]}; expected 1 to {MAX_CLASSES - 1} ascending finite numbers.",
            hint="For example breaks=[10, 20, 50], for classes below 10, from 10, from 20, and from 50 on.",
            field="breaks",
        )
    return limits


def _checked_k(method: str, k: int | None) -> int:
    if k is None:
        return DEFAULT_CATEGORIES if method == "categories" else DEFAULT_CLASSES
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_CLASSES:
        raise InvalidParameter(
            f"k is {str(k)[:40]}; expected 1 to {MAX_CLASSES} classes.", hint="For example k=5.", field="k"
        )
    return int(k)


# -- columns ---------------------------------------------------------------------------------------------------------


class _Column:
    """A column as it came, with its kind."""

    def __init__(
        self, name: str, series: "pd.Series[Any]", kind: Literal["number", "text", "boolean", "mixed"]
    ) -> None:
        self.name = name
        self.series = series
        self.kind = kind

    @classmethod
    def of(cls, values: Iterable[Any], name: str) -> "_Column":
        import pandas as pd
        from pandas.api import types

        if isinstance(values, pd.Series):
            series = values
        elif hasattr(values, "to_pandas"):
            series = pd.Series(values.to_pandas())
        else:
            series = pd.Series(values if isinstance(values, np.ndarray) else list(values))
        if isinstance(series.dtype, pd.CategoricalDtype):
            series = pd.Series(np.asarray(series.astype(object)))
        if types.is_bool_dtype(series.dtype):
            return cls(name, series, "boolean")
        if types.is_complex_dtype(series.dtype) or types.is_datetime64_any_dtype(series.dtype):
            raise _not_classified(name, str(series.dtype))
        if types.is_numeric_dtype(series.dtype):
            return cls(name, series, "number")
        inferred = types.infer_dtype(series, skipna=True)
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
            return cls(name, pd.to_numeric(series.astype(object)), "number")
        if inferred in ("string", "boolean"):
            return cls(name, series, "text" if inferred == "string" else "boolean")
        if inferred == "empty":
            return cls(name, pd.Series(np.full(len(series), np.nan)), "number")
        if inferred in ("mixed", "mixed-integer"):
            return cls(name, series, "mixed")
        raise _not_classified(name, inferred)

    def numbers(self) -> "NDArray[np.float64]":
        """Return the values as doubles, NaN where there is none."""
        if self.kind != "number":
            raise InvalidParameter(
                f"'{self.name}' holds no numbers only.", hint="Classify it with method=categories.", field="attribute"
            )
        return np.asarray(self.series.to_numpy(dtype=np.float64, na_value=np.nan))

    def is_whole(self, values: "NDArray[np.float64]") -> bool:
        """Tell whether all finite values are whole numbers that a double holds exactly."""
        return bool(np.all(values == np.rint(values)) and (not values.size or np.abs(values).max() < _LARGEST_EXACT))

    def counts(self) -> "list[tuple[str | bool | int | float, int]]":
        """Return each value with its number of rows, the most frequent first, equally frequent ones in order."""
        if self.kind == "mixed":
            found = Counter(_keyed(value, self.name) for value in self.series if not _is_nothing(value))
            counted: list[tuple[Any, int]] = [(value, count) for (_, value), count in found.items()]
        else:
            series = self.series.dropna()
            if self.kind == "number" and series.dtype.kind in "fO":
                series = series[np.isfinite(series.to_numpy(dtype=np.float64))]
            found_values = series.value_counts()
            counted = list(zip(found_values.index.tolist(), found_values.tolist(), strict=True))
            if self.kind == "number":
                counted = [(_shortest(value), count) for value, count in counted]
        if self.kind == "number":
            return sorted(counted, key=lambda pair: (-pair[1], pair[0]))
        return sorted(counted, key=lambda pair: (-pair[1], str(pair[0])))


def _not_classified(name: str, kind: str) -> InvalidParameter:
    return InvalidParameter(
        f"'{name}' holds {kind}; classes are made of numbers, texts and truth values.",
        hint="Choose another attribute.",
        field="attribute",
    )


def _is_nothing(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return False  # a list, which is no value that could be missing
    return value is None or value != value or (isinstance(value, float | np.floating) and not np.isfinite(value))


def _keyed(value: Any, name: str) -> tuple[str, Any]:
    """Return a value with its kind: in Python 1 equals True, in a filter it does not."""
    if isinstance(value, bool | np.bool_):
        return "boolean", bool(value)
    if isinstance(value, str):
        return "text", value
    if isinstance(value, int | float | np.number):
        return "number", _shortest(value)
    raise _not_classified(name, type(value).__name__)


def _shortest(value: Any) -> int | float:
    number = value.item() if isinstance(value, np.generic) else value
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < _LARGEST_EXACT else number


# -- categories ------------------------------------------------------------------------------------------------------


def _categories(column: _Column, wanted: int, units: str | None) -> Classes:
    counted = column.counts()
    rows = len(column.series)
    missing = rows - sum(count for _, count in counted)
    # One that would stand alone under "other" is shown as itself.
    shown = counted if len(counted) <= wanted + 1 else counted[:wanted]
    classes = [
        Class(
            label=_category_label(value, units),
            condition=_compared("=", column.name, value),
            value=value,
            count=count,
        )
        for value, count in shown
    ]
    findings = []
    if rest := counted[len(shown) :]:
        classes.append(
            Class(label=OTHER, condition=_none_of(column, [value for value, _ in shown]), count=sum(n for _, n in rest))
        )
        findings.append(
            _finding(
                "categories_together",
                f"{len(rest):,} rarer values of '{column.name}' are one class, '{OTHER}'.",
                column.name,
                "Ask for more classes to see them apart.",
            )
        )
    return Classes(
        method="categories",
        attribute=column.name,
        units=units,
        classes=tuple(classes),
        missing=missing,
        rows=rows,
        findings=tuple(findings),
    )


def _category_label(value: str | bool | int | float, units: str | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        text = value if value.strip() else "(empty)"
        return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
    return _with_units(str(value) if isinstance(value, int) else number_text(value), units)


def _none_of(column: _Column, values: list[Any]) -> dict[str, Any]:
    others: dict[str, Any] = {
        "op": "not",
        "args": [{"op": "in", "args": [{"property": column.name}, values]}],
    }
    if column.kind != "number":
        return others
    numbers = column.numbers()
    if not np.isinf(numbers).any():
        return others
    # What is infinite is no data.
    finite = numbers[np.isfinite(numbers)]
    return {
        "op": "and",
        "args": [
            others,
            _compared(">=", column.name, _shortest(finite.min())),
            _compared("<=", column.name, _shortest(finite.max())),
        ],
    }


# -- classes of numbers ----------------------------------------------------------------------------------------------


def _intervals(column: _Column, method: Method, wanted: int, limits: list[float], units: str | None) -> Classes:
    numbers = column.numbers()
    finite = np.sort(numbers[np.isfinite(numbers)])
    missing = len(numbers) - len(finite)
    findings = []
    distinct = finite[np.concatenate([[True], finite[1:] != finite[:-1]])] if finite.size else finite
    grouped = None
    if method != "manual" and finite.size:
        if len(distinct) <= wanted:
            limits = [simplest_between(a, b) for a, b in pairwise(distinct.tolist())]
        else:
            limits, grouped = _limits(method, finite, distinct, wanted)
        if len(limits) + 1 < wanted:
            findings.append(
                _finding(
                    "fewer_classes",
                    f"'{column.name}' makes {len(limits) + 1} of the {wanted} classes: "
                    + (
                        f"it has {len(distinct):,} different value{'s' if len(distinct) != 1 else ''}."
                        if len(distinct) < wanted
                        else "so many rows have the same value."
                    ),
                    column.name,
                )
            )
    if not finite.size:
        findings.append(_finding("no_values", f"'{column.name}' has no value in any row.", column.name))
    if grouped:
        findings.append(
            _finding(
                "grouped",
                f"The limits lie between {grouped:,} groups of neighbours among {len(distinct):,} different values.",
                column.name,
            )
        )
    return Classes(
        method=method,
        attribute=column.name,
        units=units,
        classes=_classes_between(column, numbers, finite, limits, units) if finite.size or limits else (),
        missing=missing,
        rows=len(numbers),
        grouped=grouped,
        findings=tuple(findings),
    )


def _limits(
    method: Method, finite: "NDArray[np.float64]", distinct: "NDArray[np.float64]", k: int
) -> tuple[list[float], int | None]:
    """Return the limits between `k` classes of sorted values, and between how many groups where not between all."""
    # By a power of two, which changes no digit: squares of what is very large or small are then numbers too.
    exponent = int(np.frexp(max(abs(float(distinct[0])), abs(float(distinct[-1]))))[1])
    scaled = np.ldexp(finite, -exponent)
    if method == "equal":
        inner = scaled[0] + (scaled[-1] - scaled[0]) * np.arange(1, k) / k
        limits = np.unique(np.ldexp(inner, exponent))
        return [limit for limit in limits.tolist() if distinct[0] < limit <= distinct[-1]], None
    if method == "quantiles":
        # In percent and by adding up, as mapclassify does: where a share falls on a value, the last digit decides.
        uppers = np.percentile(scaled, np.arange(100 / k, 100, 100 / k)[: k - 1])
    else:
        rows = np.diff(np.searchsorted(finite, distinct, side="left"), append=len(finite))
        starts, grouped = _close_starts(method, np.ldexp(distinct, -exponent), rows, k)
        return _limits_at(distinct, starts), grouped
    # A class holds what is at most its upper limit: the next begins with the first value beyond.
    starts = np.unique(np.searchsorted(distinct, np.ldexp(uppers, exponent), side="right"))
    return _limits_at(distinct, starts), None


def _close_starts(
    method: Method, values: "NDArray[np.float64]", rows: "NDArray[np.int64]", k: int
) -> tuple["NDArray[np.int64]", int | None]:
    """Return where classes begin that keep their values close together, and the number of groups where there are any.

    Args:
        method: ``jenks``, the best of all ways, or ``natural``, which goes on from the best of groups with all values.
        values: The different values, ascending; squares of them are numbers.
        rows: How many rows have each.
        k: How many classes; fewer than there are values.
    """
    if len(values) <= MAX_PARTED:
        return fisher_jenks(values, rows, k), None
    groups = _groups(rows, MAX_PARTED)
    sizes = np.add.reduceat(rows, groups)
    means = np.add.reduceat(values * rows, groups) / sizes
    starts = groups[fisher_jenks(means, sizes, k)]
    return (natural_breaks(values, rows, starts), None) if method == "natural" else (starts, len(groups))


def _limits_at(distinct: "NDArray[np.float64]", starts: "NDArray[np.int64]") -> list[float]:
    """Return the limits below the values that begin the second to last class."""
    inside = starts[(starts > 0) & (starts < len(distinct))]
    return [simplest_between(float(distinct[start - 1]), float(distinct[start])) for start in inside]


def _groups(rows: "NDArray[np.int64]", most: int) -> "NDArray[np.int64]":
    """Return the numbers of the values that begin a group of neighbours; of a column always the same.

    Half of them lie evenly among the rows, and half among the different values, so that the tail of a column in which
    most rows are alike is not one group.

    Args:
        rows: How many rows have each value.
        most: How many groups there may be.
    """
    half, ends = most // 2, np.cumsum(rows)
    by_row = np.searchsorted(ends, np.linspace(0, ends[-1] - 1, half).round().astype(int), side="right")
    by_value = np.linspace(0, len(rows) - 1, most - half).round().astype(int)
    return np.unique(np.concatenate([by_row, by_value]))


def _classes_between(
    column: _Column,
    numbers: "NDArray[np.float64]",
    finite: "NDArray[np.float64]",
    limits: list[float],
    units: str | None,
) -> tuple[Class, ...]:
    """Return the classes on either side of each limit; `finite` is sorted."""
    ends = [0, *np.searchsorted(finite, limits, side="left").tolist(), len(finite)]
    low, high = (float(finite[0]), float(finite[-1])) if finite.size else (None, None)
    # Values that are infinite are no data, and lie in no class.
    floor = low if np.isneginf(numbers).any() else None
    ceiling = high if np.isposinf(numbers).any() else None
    is_whole = column.is_whole(finite)
    inner = [_shortest(limit) for limit in limits]
    labels = _labels(limits, finite, ends, units, is_whole=is_whole)
    made = []
    for number, label in enumerate(labels):
        start = inner[number - 1] if number else None
        stop = inner[number] if number < len(inner) else None
        made.append(
            Class(
                label=label,
                condition=_between(column.name, start, stop, floor, ceiling)
                if limits
                else _all_between(column.name, low, high, is_bounded=floor is not None or ceiling is not None),
                lower=low if start is None else start,
                upper=high if stop is None else stop,
                count=ends[number + 1] - ends[number],
            )
        )
    return tuple(made)


def _between(
    name: str, start: float | None, stop: float | None, floor: float | None, ceiling: float | None
) -> dict[str, Any]:
    parts = []
    if start is not None or floor is not None:
        parts.append(_compared(">=", name, _shortest(floor) if start is None else start))
    if stop is not None:
        parts.append(_compared("<", name, stop))
    elif ceiling is not None:
        parts.append(_compared("<=", name, _shortest(ceiling)))
    return parts[0] if len(parts) == 1 else {"op": "and", "args": parts}


def _all_between(name: str, low: float | None, high: float | None, *, is_bounded: bool) -> dict[str, Any]:
    """Return the condition of a class that is alone."""
    if low == high:
        # Another value that is added later is none of the class that is called by this one.
        return _compared("=", name, _shortest(low))
    if is_bounded:
        return {"op": "and", "args": [_compared(">=", name, _shortest(low)), _compared("<=", name, _shortest(high))]}
    return {"op": "not", "args": [{"op": "isNull", "args": [{"property": name}]}]}


def _compared(operator: str, name: str, value: Any) -> dict[str, Any]:
    return {"op": operator, "args": [{"property": name}, value]}


def _labels(
    limits: list[float], finite: "NDArray[np.float64]", ends: list[int], units: str | None, *, is_whole: bool
) -> list[str]:
    if not limits:
        ends_of_all = dict.fromkeys([float(finite[0]), float(finite[-1])])
        return [_with_units(" – ".join(readable(list(ends_of_all))), units)]
    texts = readable(limits)
    labels = []
    for number in range(len(limits) + 1):
        own = finite[ends[number] : ends[number + 1]]
        if is_whole and own.size and own[0] == own[-1] and _is_single(limits, number, float(own[0])):
            labels.append(number_text(float(own[0])))
        elif is_whole and 0 < number < len(limits) and abs(limits[number]) <= _LARGEST_INCLUSIVE:
            first, last = np.ceil(limits[number - 1]), np.ceil(limits[number]) - 1
            between = first < last
            labels.append(" – ".join(readable([first, last])) if between else f"{texts[number - 1]} – {texts[number]}")
        elif number == 0:
            labels.append(f"< {texts[0]}")
        elif number == len(limits):
            labels.append(f"≥ {texts[-1]}")
        else:
            labels.append(f"{texts[number - 1]} – {texts[number]}")
    return [_with_units(label, units) for label in labels]


def _is_single(limits: list[float], number: int, value: float) -> bool:
    """Tell whether a class between limits has room for one whole number only."""
    return 0 < number < len(limits) and np.ceil(limits[number - 1]) == value == np.ceil(limits[number]) - 1


def _with_units(label: str, units: str | None) -> str:
    return f"{label} {units}" if units else label


def _finding(code: str, message: str, subject: str, remedy: str | None = None) -> Finding:
    return Finding(severity=Severity.INFO, code=code, message=message, subject=subject, remedy=remedy)
