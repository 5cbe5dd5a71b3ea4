"""Rules that override one another, as cases of which exactly one applies to any feature.

In CartoSym every rule that matches lays its changes over those before it; in SLD every rule that matches is drawn.
The cases are what both mean alike: each says which rules match, by the conditions that are true and those that are not.
What excludes what (``a = 1`` and ``a = 2``; ``a < 3`` and ``a >= 3``) is known for comparisons with literals, so that
fifty categories are fifty-one cases.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geoetl.core.selectors import Tree, conjuncts, moments

# What a client still reads, and draws without a noticeable wait; each case is a rule with a filter of its own.
MAX_CASES = 256
# A double holds no more; whole numbers of JSON may be longer.
MAX_NUMBER = sys.float_info.max


@dataclass(frozen=True)
class Span:
    """The values that a condition leaves to one property.

    Attributes:
        values: The only ones, each with its kind; None where they are not counted.
        excluded: Those that it may not have.
        low, high: Between which numbers it lies; NaN where it need not be a number.
        low_open, high_open: Whether the ends themselves are excluded.
        is_null: Whether it is missing; it is there otherwise.
    """

    values: frozenset[tuple[str, Any]] | None = None
    excluded: frozenset[tuple[str, Any]] = frozenset()
    low: float = math.nan
    high: float = math.nan
    low_open: bool = False
    high_open: bool = False
    is_null: bool = False

    def excludes(self, other: "Span") -> bool:
        """Return whether no value lies in both."""
        if self.is_null != other.is_null:
            return True
        if self.values is not None:
            if other.values is not None:
                return self.values.isdisjoint(other.values)
            return all(not other.holds(value) for value in self.values)
        if other.values is not None:
            return all(not self.holds(value) for value in other.values)
        low, high = max(self.low, other.low), min(self.high, other.high)
        if math.isnan(self.low) or math.isnan(other.low):
            return False
        return low > high or (low == high and not (self._has(low) and other._has(low)))

    def holds(self, value: tuple[str, Any]) -> bool:
        """Return whether a value, with its kind, may lie in it."""
        if value in self.excluded:
            return False
        if math.isnan(self.low):
            return True
        return value[0] == "number" and self._has(value[1])

    def _has(self, number: float) -> bool:
        above = number > self.low if self.low_open else number >= self.low
        return above and (number < self.high if self.high_open else number <= self.high)


@dataclass(frozen=True)
class Facts:
    """Conditions that are looked at together, with what they leave to each property.

    Attributes:
        atoms: The conditions by their text.
        spans: What each leaves to a property, by its name.
        counted: The only values of a property, where one of the conditions counts them.
    """

    atoms: Mapping[str, Tree] = field(default_factory=dict)
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    counted: Mapping[str, frozenset[tuple[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, atoms: Mapping[str, Tree], sure: frozenset[str]) -> "Facts":
        """Return what conditions say; `sure` are the properties that hold texts and never times."""
        spans: dict[str, tuple[Span, ...]] = {}
        for atom in atoms.values():
            name, span = _span(atom, sure)
            if span is not None:
                spans[name] = (*spans.get(name, ()), span)
        return cls(atoms, spans, _counted_in(spans))

    def excludes(self, other: "Facts") -> bool:
        """Return whether it is certain that not all conditions of both are true."""
        for name, values in other.counted.items():
            mine = self.counted.get(name)
            if mine is not None and mine.isdisjoint(values):
                return True
        return any(
            one.excludes(another)
            for name in self.spans.keys() & other.spans.keys()
            for one in self.spans[name]
            for another in other.spans[name]
        )

    def and_also(self, other: "Facts") -> "Facts":
        """Return the conditions of both."""
        names = {**self.spans, **other.spans}
        spans = {name: (*self.spans.get(name, ()), *other.spans.get(name, ())) for name in names}
        return Facts({**self.atoms, **other.atoms}, spans, _counted_in(spans))

    def without(self, other: "Facts", sure: frozenset[str]) -> "Facts":
        """Return the conditions that are not among those of another."""
        if self.atoms.keys().isdisjoint(other.atoms):
            return self
        return Facts.of({text: atom for text, atom in self.atoms.items() if text not in other.atoms}, sure)


@dataclass(frozen=True)
class Case:
    """What holds for some features, and for no other case.

    Attributes:
        rules: Numbers of the rules that match, ascending.
        true: The conditions that are true.
        others: Conditions of which, each time, not all are true.
    """

    rules: tuple[int, ...] = ()
    true: Facts = Facts()
    others: tuple[Facts, ...] = ()


def cases_of(conditions: Sequence[Tree], texts: Iterable[str] = ()) -> tuple[list[Case], list[int]]:
    """Return the cases that rules with these conditions make, and the numbers of rules that there were too many for.

    A rule that would make more than `MAX_CASES` is left out of all of them, as if it never matched.

    Args:
        conditions: One for each rule, in the order in which they are laid over one another.
        texts: Names of the properties that hold texts for certain, never times.
    """
    cases, too_many, sure = [Case()], [], frozenset(texts)
    for number, condition in enumerate(conditions):
        facts = Facts.of(_atoms(condition), sure)
        split = [part for case in cases for part in _split(case, number, facts, sure)]
        if len(split) > MAX_CASES:
            too_many.append(number)
        else:
            cases = split
    return cases, too_many


def are_exclusive(one: Tree, other: Tree) -> bool:
    """Return whether it is certain that no feature has two conditions true; texts may be times here."""
    first, second = (Facts.of(_atoms(condition), frozenset()) for condition in (one, other))
    return first.excludes(second)


def _split(case: Case, number: int, facts: Facts, sure: frozenset[str]) -> Iterable[Case]:
    """Return a case in two: where a rule does not match, and where it does; one of them where it is certain."""
    if case.true.excludes(facts):
        return (case,)
    rest = facts.without(case.true, sure)
    if not rest.atoms:
        return (Case((*case.rules, number), case.true, case.others),)
    without = Case(case.rules, case.true, (*case.others, rest))
    true = case.true.and_also(rest)
    others = []
    for one in case.others:
        left = one.without(true, sure)
        if not left.atoms:  # these are true together, and shall not be
            return (without,)
        if not true.excludes(left):
            others.append(left)
    return without, Case((*case.rules, number), true, tuple(others))


def _counted_in(spans: Mapping[str, tuple[Span, ...]]) -> Mapping[str, frozenset[tuple[str, Any]]]:
    return {name: span.values for name, some in spans.items() for span in some if span.values is not None}


def _atoms(condition: Tree) -> Mapping[str, Tree]:
    return {json.dumps(atom, sort_keys=True): atom for atom in conjuncts(condition) if atom is not True}


def _span(atom: Tree, sure: frozenset[str]) -> tuple[str, Span | None]:
    """Return what a condition says about one property, as far as it is simple."""
    if not isinstance(atom, Mapping) or not isinstance(atom.get("args"), list | tuple) or not atom["args"]:
        return "", None
    first, *others = atom["args"]
    if not isinstance(first, Mapping) or "property" not in first:
        return "", None
    name, op = str(first["property"]), atom["op"]
    if op == "isNull":
        return name, Span(is_null=True)
    if op == "in":
        return name, _among(others[0], name in sure)
    numbers = [_finite(other) for other in others]
    if op in ("=", "<>") and len(others) == 1:
        counted = _among(others, name in sure)
        return name, Span(excluded=counted.values) if op == "<>" and counted and counted.values else counted
    if op == "between" and len(numbers) == 2 and None not in numbers:
        return name, Span(low=numbers[0] or 0.0, high=numbers[1] or 0.0)
    if op in ("<", "<=", ">", ">=") and len(numbers) == 1 and numbers[0] is not None:
        if op[0] == "<":
            return name, Span(low=-math.inf, high=numbers[0], high_open=op == "<")
        return name, Span(low=numbers[0], high=math.inf, low_open=op == ">")
    return name, None


def _among(literals: Iterable[Any], is_text: bool) -> Span | None:
    values = [_counted(literal, is_text) for literal in literals]
    return None if None in values else Span(values=frozenset(value for value in values if value is not None))


def _counted(literal: Any, is_text: bool) -> tuple[str, Any] | None:
    """Return a literal with its kind; None where another literal may equal the same value, as of times."""
    if isinstance(literal, bool):
        return "boolean", literal
    number = _finite(literal)
    if number is not None:
        return "number", number
    if isinstance(literal, str) and (is_text or moments(literal) is None):
        return "text", literal
    return None


def _finite(literal: Any) -> float | None:
    if isinstance(literal, bool) or not isinstance(literal, int | float) or abs(literal) > MAX_NUMBER:
        return None
    return float(literal)
