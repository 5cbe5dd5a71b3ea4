"""Classes of a layer on trial: by an attribute, a method and colours; a histogram; and the rules that they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.style import draft
from geoetl.core.errors import InvalidParameter
from geoetl.styles.classify import DEFAULT_CATEGORIES, DEFAULT_CLASSES, classify
from geoetl.styles.defaults import NO_DATA, style_of_classes
from geoetl.styles.numbers import number_text
from geoetl.styles.ramps import DEFAULT_RAMPS, RAMPS, ramp_names
from geoetl.styles.values import Color

if TYPE_CHECKING:
    from geoetl.styles.layer import StyledLayer

# As a person names them; `manual` is done in the rules themselves.
METHODS: Mapping[str, str] = {
    "quantiles": "Quantiles: as many in each",
    "equal": "Equal intervals",
    "jenks": "Jenks: least spread within",
    "natural": "Natural breaks",
    "categories": "Categories",
}
COVERAGE_METHODS: Mapping[str, str] = {"equal": "Even steps", "quantiles": "Quantiles: as many in each"}
MAX_CLASSES = 12
BINS = 40
# Percentiles between which a coverage is coloured, so that single extreme cells do not use up the colours.
_ENDS = (2, 98)


@dataclass(frozen=True)
class Question:
    """How a layer is to be divided.

    Attributes:
        attribute: Name of the property, band or variable.
        method: One of `METHODS`.
        classes: How many.
        ramp: Name of the colours.
        reversed: Whether they run from high to low.
    """

    attribute: str
    method: str
    classes: int
    ramp: str
    reversed: bool = False


@dataclass(frozen=True)
class Histogram:
    """How often values occur.

    Attributes:
        edges: Of the bins, in units of the values.
        counts: Of each bin.
        colors: Of each bin, ``#rrggbb``.
        breaks: Limits between the classes.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    colors: tuple[str, ...]
    breaks: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """Classes that nobody has used yet.

    Attributes:
        question: What was asked.
        rows: Label, colour and number of rows of each class.
        rules: A rule for each; none of a coverage.
        told: How it was divided, in words.
        stops: Value and colour, of a coverage.
        histogram: None of categories.
        notes: What a person should know.
    """

    question: Question
    rows: tuple[tuple[str, Color, int], ...]
    rules: tuple[Mapping[str, Any], ...] = ()
    told: str = ""
    stops: tuple[tuple[float, Color], ...] = ()
    histogram: Histogram | None = None
    notes: tuple[str, ...] = ()


def first_question(layer: "StyledLayer") -> Question | None:
    """Return what is asked first of a layer; None where it has nothing to be divided by."""
    kinds = layer.properties
    name = next((name for name in kinds if kinds[name] == "number"), next(iter(kinds), None))
    return None if name is None else question_of(layer, name)


def question_of(layer: "StyledLayer", attribute: str) -> Question:
    """Return what is asked first of an attribute."""
    if layer.kind == "coverage":
        return Question(attribute, "equal", DEFAULT_CLASSES, DEFAULT_RAMPS["sequential"])
    if layer.properties.get(attribute) == "number":
        return Question(attribute, "quantiles", DEFAULT_CLASSES, DEFAULT_RAMPS["sequential"])
    return Question(attribute, "categories", DEFAULT_CATEGORIES, DEFAULT_RAMPS["qualitative"])


def methods_of(layer: "StyledLayer", attribute: str) -> Mapping[str, str]:
    """Return the methods that fit an attribute, by name, with their titles."""
    if layer.kind == "coverage":
        return COVERAGE_METHODS
    if layer.properties.get(attribute) == "number":
        return METHODS
    return {"categories": METHODS["categories"]}


def ramps_of(question: Question) -> tuple[str, ...]:
    """Return the names of the colours that fit a question."""
    if question.method == "categories":
        return ramp_names("qualitative")
    return (*ramp_names("sequential"), *ramp_names("diverging"))


def ramp_colors(name: str, count: int, *, reversed: bool = False) -> list[str]:
    """Return some colours of a ramp for a picture of it, as far as it has them."""
    ramp = RAMPS[name]
    for wanted in range(count, 0, -1):
        try:
            return [color.hex for color in ramp.colours(wanted, reverse=reversed)]
        except InvalidParameter:
            continue
    return []


def try_out(values: Any, question: Question, layer: "StyledLayer") -> Trial:
    """Return the classes of a column.

    Args:
        values: The column.
        question: How it is to be divided.
        layer: What is styled.

    Raises:
        InvalidParameter: It cannot be divided in this way, or the ramp has not so many colours.
    """
    method: Any = question.method
    classes = classify(values, question.attribute, method, k=question.classes)
    made = style_of_classes(
        classes, layer, title=question.attribute, ramp=question.ramp, reverse=question.reversed
    ).document()
    rules = made["stylingRules"][0].get("nestedRules", [])
    counts = {one.label: one.count for one in classes.classes}
    rows = [(rule["name"], _color_of(rule["symbolizer"]), counts[rule["name"]]) for rule in rules]
    notes = [finding.message for finding in classes.findings]
    if classes.missing:
        notes.append(f"{classes.missing:,} of {classes.rows:,} have no value: they are drawn by the rule around.")
    histogram = None
    if classes.is_ordered:
        histogram = histogram_of(values, classes.breaks, [color.hex for _, color, _ in rows])
    told = str(made["metadata"].get("description", ""))
    return Trial(question, tuple(rows), tuple(rules), told, histogram=histogram, notes=tuple(notes))


def _color_of(symbolizer: Mapping[str, Any]) -> Color:
    """Return the colour by which a class is told from the others."""
    paths = ("fill.color", "marker.0.stroke.color", "stroke.color")
    found = next(parts for path in paths if (parts := draft.value_at(symbolizer, path)) is not None)
    return Color.of_parts(*found)


def try_out_coverage(values: np.ndarray[Any, Any], question: Question) -> Trial:
    """Return the stops of a colour map for the values of a coverage.

    Args:
        values: Any shape; NaN is no data.
        question: How they are to be divided.

    Raises:
        InvalidParameter: There are no values, or all are the same.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or float(finite.min()) == float(finite.max()):
        raise InvalidParameter(
            "There are no two different values here, so that there is nothing to divide.", field="attribute"
        )
    low, high = _ENDS
    shares = np.linspace(low, high, question.classes)
    at = np.percentile(finite, shares)
    if question.method == "equal":
        at = np.linspace(at[0], at[-1], question.classes)
    places = sorted({float(f"{value:.4g}") for value in at})
    colors = RAMPS[question.ramp].colours(len(places), reverse=question.reversed)
    middles = [(a + b) / 2 for a, b in pairwise(places)]
    counts = np.histogram(finite, [-np.inf, *middles, np.inf])[0]
    rows = tuple(
        (f"about {number_text(place)}", color, int(count))
        for place, color, count in zip(places, colors, counts, strict=True)
    )
    histogram = histogram_of(finite, places, [], ramp=(places, colors))
    note = f"From the {_ENDS[0]}nd to the {_ENDS[1]}th percentile; colours run evenly from stop to stop."
    return Trial(question, rows, stops=tuple(zip(places, colors, strict=True)), histogram=histogram, notes=(note,))


def histogram_of(
    values: Any,
    breaks: Sequence[float],
    colors: Sequence[str],
    *,
    ramp: tuple[Sequence[float], Sequence[Color]] | None = None,
) -> Histogram | None:
    """Return how often values occur, each bin in the colour of its class, or of its place on a ramp."""
    numbers = np.asarray(_numbers(values), dtype=float)
    finite = numbers[np.isfinite(numbers)]
    if finite.size == 0:
        return None
    counts, edges = np.histogram(finite, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    if ramp is not None:
        parts = np.array([color.parts for color in ramp[1]], dtype=float)
        painted = [
            Color.of_parts(*(float(np.interp(middle, ramp[0], parts[:, band])) for band in range(3))).hex
            for middle in middles
        ]
    else:
        numbers_of = np.searchsorted(np.asarray(breaks, dtype=float), middles, side="right")
        painted = [colors[min(int(number), len(colors) - 1)] for number in numbers_of]
    return Histogram(tuple(map(float, edges)), tuple(map(int, counts)), tuple(painted), tuple(map(float, breaks)))


def _numbers(values: Any) -> Any:
    import pandas as pd

    return pd.to_numeric(pd.Series(values), errors="coerce")


# ---- rules ---------------------------------------------------------------------------------------------------------


def with_classes(document: draft.Document, key: str, trial: Trial, layer: "StyledLayer") -> tuple[draft.Document, str]:
    """Return the style with the classes in the place of the rules within a rule, and the key of that rule.

    The rule around keeps what it draws, outlines and what is in no class, and is named for the latter.

    Args:
        document: The style.
        key: Any rule within it; the outermost one around it gets the classes.
        trial: The classes.
        layer: What is styled.
    """
    if not document["stylingRules"]:
        document, key = draft.added(document, {"name": trial.question.attribute, "symbolizer": {}})
    around = key.split(".")[0] or "0"
    rule = dict(draft.rule_at(document, around) or {})
    if trial.stops:
        symbolizer = {
            **rule.get("symbolizer", {}),
            "singleChannel": {"property": trial.question.attribute},
            "colorMap": [[value, list(color.parts)] for value, color in trial.stops],
        }
        return draft.with_rule(document, around, {**rule, "symbolizer": symbolizer}), around
    nested = [
        {**made, "symbolizer": _painted(document, around, color, layer)}
        for made, (_, color, _) in zip(trial.rules, trial.rows, strict=True)
    ]
    kept = {name: value for name, value in rule.items() if name not in ("name", "nestedRules")}
    kept = {"name": _name_around(document, rule), **kept}
    told = {**document.get("metadata", {}), "description": trial.told}
    return draft.with_rule({**document, "metadata": told}, around, {**kept, "nestedRules": nested}), around


def _painted(document: draft.Document, around: str, color: Color, layer: "StyledLayer") -> dict[str, Any]:
    """Return what a class changes: the colour of whatever geometries the layer has."""
    parts = list(color.parts)
    painted: dict[str, Any] = {}
    if layer.dimensions in (2, None):
        painted["fill"] = {"alter": True, "color": parts}
    if layer.dimensions in (1, None):
        painted["stroke"] = {"alter": True, "color": parts}
    if layer.dimensions in (0, None):
        whole = draft.effective(draft.with_value(document, around, "marker.0.stroke.color", parts), around)["marker"]
        painted["marker"] = {name: value for name, value in whole.items() if name != "alter"}
    return painted


def _name_around(document: draft.Document, rule: Mapping[str, Any]) -> str:
    """Return the name of a rule whose features are all in classes but for those without a value."""
    name = str(rule.get("name") or "")
    if len(document["stylingRules"]) == 1 or not name or name == NO_DATA:
        return NO_DATA
    return name if name.endswith(f": {NO_DATA}") else f"{name}: {NO_DATA}"
