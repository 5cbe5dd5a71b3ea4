"""Which symbol each feature gets: the reference that every client's translation is measured by.

A rule holds where its condition is true; what is false or unknown does not match.  A value that is read from a feature
and is missing there, or of another kind than it should be, leaves what was before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoetl.core.errors import InvalidFilter
from geoetl.core.selectors import Column, Columns, Kind, matches, value_of
from geoetl.styles.cascade import Cascade, FlatRule, flatten
from geoetl.styles.conditions import Period
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.symbol import Symbol, symbol_of
from geoetl.styles.values import UNSET, Color, DataColor, GroundLength

# A length on the ground has no size without a scale; it is drawn as thin as a line can be.
_THIN = 1.0


def symbols(
    style: Style,
    layer: StyledLayer,
    rows: Columns,
    denominator: float | None = None,
    period: Period | None = None,
) -> list[Symbol]:
    """Return the symbol of each row.

    Args:
        style: The style.
        layer: What it is laid on.
        rows: The features.
        denominator: Of the scale; without it, selectors that ask for the scale never match.
        period: The time that the map shows; without it, selectors that ask for it never match.
    """
    return symbols_of(flatten(style, layer, period), rows, denominator)


def symbols_of(cascade: Cascade, rows: Columns, denominator: float | None = None) -> list[Symbol]:
    """Return the symbol of each row by a style that is flattened; see `symbols`."""
    drawn = _Drawn(cascade, _Lenient(rows), denominator)
    for rule in cascade.at(denominator):
        drawn.apply(rule)
    return drawn.symbols()


@dataclass(frozen=True)
class _Lenient:
    """Rows to which a property that they do not have is missing everywhere."""

    rows: Columns

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.rows.size

    def column(self, name: str) -> Column:
        """Return a property of every row."""
        try:
            return self.rows.column(name)
        except InvalidFilter:
            return Column(np.zeros(self.size, bool), {})


class _Drawn:
    """The values of each row by path: for each path a list of values and, for each row, which of them it has."""

    def __init__(self, cascade: Cascade, rows: Columns, denominator: float | None) -> None:
        self.rows = rows
        self.denominator = denominator
        self.values: dict[str, NDArray[Any]] = {}
        for path, value in cascade.initial.items():
            self.column(path)[:] = _boxed(value)

    def column(self, path: str) -> NDArray[Any]:
        """Return the values of a path."""
        if path not in self.values:
            self.values[path] = np.full(self.rows.size, UNSET, object)
        return self.values[path]

    def apply(self, rule: FlatRule) -> None:
        """Give the rows of a rule its values."""
        try:
            hit = np.ones(self.rows.size, bool) if rule.condition is True else matches(rule.condition, self.rows)
        except InvalidFilter:
            # A property is of a kind that the operator does not take, such as a list.
            return
        if not hit.any():
            return
        for path, value in rule.changes.items():
            values, there = self.read(path, value)
            wanted = hit & there
            column = self.column(path)
            column[wanted] = values[wanted] if isinstance(values, np.ndarray) else _boxed(values)

    def read(self, path: str, value: Any) -> tuple[Any, NDArray[np.bool_]]:
        """Return a value, or an array of one for each row, and where there is one."""
        everywhere = np.ones(self.rows.size, bool)
        if isinstance(value, GroundLength):
            value = _THIN if self.denominator is None else value.pixels(self.denominator)
        if isinstance(value, DataColor) and path != "colorChannels":
            return self.colors(value)
        if isinstance(value, tuple) and any(isinstance(part, GroundLength | Mapping) for part in value):
            return self.pairs(path, value)
        if not isinstance(value, Mapping) or path.rsplit(".", 1)[-1] in _PLAIN:
            return value, everywhere
        return self.expression(path, value)

    def expression(self, path: str, tree: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return what a tree gives for each row."""
        name = path.rsplit(".", 1)[-1]
        made = np.full(self.rows.size, UNSET, object)
        try:
            column = value_of(tree, self.rows)
        except InvalidFilter:
            return made, np.zeros(self.rows.size, bool)
        if name in _TEXTS:
            kinds: tuple[Kind, ...] = ("text", "number", "boolean") if name == "text" else ("text",)
            for kind in kinds:
                part = column.part(kind)
                there = np.broadcast_to(part.there, made.shape)
                made[there] = [text_of(one) for one in np.broadcast_to(part.values, made.shape)[there].tolist()]
            return made, made != UNSET
        part = column.part("number")
        there = np.broadcast_to(part.there, made.shape)
        numbers = np.broadcast_to(part.values, made.shape).astype(np.float64)
        there = there & np.isfinite(numbers)
        if name == "opacity":
            numbers = np.clip(numbers, 0, 1)
        elif name in _SIZES:
            numbers = np.maximum(numbers, 0)
        made[there] = numbers[there].tolist()
        return made, there

    def colors(self, color: DataColor) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the colour of each row."""
        parts = [self.read("part", part) for part in (color.r, color.g, color.b)]
        there = np.logical_and.reduce([known for _, known in parts])
        made = np.full(self.rows.size, UNSET, object)
        for number in np.flatnonzero(there).tolist():
            made[number] = Color.of_parts(*(_at(values, number) for values, _ in parts))
        return made, there

    def pairs(self, path: str, pair: tuple[Any, ...]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return two numbers of each row."""
        parts = [self.read("part", part) for part in pair]
        there = np.logical_and.reduce([known for _, known in parts])
        made = np.full(self.rows.size, UNSET, object)
        for number in np.flatnonzero(there).tolist():
            made[number] = tuple(_at(values, number) for values, _ in parts)
        return made, there

    def symbols(self) -> list[Symbol]:
        """Return the symbol of each row; rows that are drawn alike share one."""
        paths = list(self.values)
        known: dict[Any, Symbol] = {}
        made = []
        for row in zip(*self.values.values(), strict=True):
            key = tuple(_hashable(value) for value in row)
            if key not in known:
                known[key] = symbol_of(dict(zip(paths, row, strict=True)))
            made.append(known[key])
        return made


def text_of(value: Any) -> str:
    """Return a value as letters on a map: numbers as JavaScript writes them, without needless digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)
    return str(value)


# What encoders and symbols keep as plain JSON.
_PLAIN = frozenset({"image", "hotSpot", "pattern", "hatch", "dotpattern", "stipple", "placement"})
_TEXTS = frozenset({"text", "face"})
_SIZES = frozenset({"width", "size"})


def _boxed(value: Any) -> Any:
    """Return a value as numpy keeps it in a column of objects: a tuple would be taken apart."""
    box = np.empty((), object)
    box[()] = value
    return box


def _at(values: Any, number: int) -> Any:
    return values[number] if isinstance(values, np.ndarray) else values


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list | DataColor) else value
