"""Rules that override one another, as cases of which exactly one applies to any feature.

In CartoSym every rule that matches lays its changes over those before it; in SLD every rule that matches is drawn.
The cases are what both mean alike: each says which rules match, by the conditions that are true and those that are not.
What excludes what (``a = 1`` and ``a = 2``; ``a < 3`` and ``a >= 3``) is known for comparisons with literals, so that
fifty categories are fifty-one cases; and where later rules decide all that a rule does, it is left open.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from geoetl.core.selectors import Tree, conjuncts, moments

# What a client still reads, and draws without a noticeable wait; each case is a rule with a filter of its own.
MAX_CASES = 256
# A double holds no more; whole numbers of JSON may be longer.
MAX_NUMBER = sys.float_info.max

Atoms = Mapping[str, Tree]
Value = tuple[str, Any]


class Span(NamedTuple):
    """The values that conditions leave to one property.

    Attributes:
        values: The only ones, each with its kind; None where they are not counted.
        excluded: Those that it may not have.
        low, high: Between which numbers it lies; it need not be a number where there are no ends.
        low_open, high_open: Whether the ends themselves are excluded.
        is_null: Whether it is missing; it is there otherwise.
    """

    values: frozenset[Value] | None = None
    excluded: frozenset[Value] = frozenset()
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    is_null: bool = False

    def excludes(self, other: "Span") -> bool:
        """Return whether it is certain that no value lies in both."""
        if self.values is not None and other.values is not None:  # categories, of which there are most
            return self.values.isdisjoint(other.values)
        if self.high < other.low or other.high < self.low or self.is_null != other.is_null:
            return True
        both = self.and_also(other)
        if both.values is not None:
            return not both.values
        return both.low == both.high and (both.low_open or both.high_open)

    def and_also(self, other: "Span") -> "Span":
        """Return the values that lie in both, where one does not exclude the other at once."""
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, is_closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        counted = [span.values for span in (self, other) if span.values is not None]
        both = Span(None, self.excluded | other.excluded, low, high, low_open, not is_closed, self.is_null)
        if not counted:
            return both
        return both._replace(values=frozenset(filter(both.holds, frozenset.intersection(*counted))))

    def holds(self, value: Value) -> bool:
        """Return whether a value may lie in it."""
        if value in self.excluded:
            return False
        if self.low == -math.inf and self.high == math.inf:
            return True
        kind, number = value
        if kind != "number":
            return False
        return bool(
            (number > self.low if self.low_open else number >= self.low)
            and (number < self.high if self.high_open else number <= self.high)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Conditions that are looked at together, with what they leave to each property; each is equal to itself only.

    Attributes:
        atoms: The conditions by their text.
        spans: What they leave to a property, by its name.
        is_impossible: Whether they exclude one another.
    """

    atoms: Atoms = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    is_impossible: bool = False

    @classmethod
    def of(cls, atoms: Atoms, sure: frozenset[str]) -> "Facts":
        """Return what conditions say; `sure` are the properties that hold texts and never times."""
        spans: dict[str, Span] = {}
        is_impossible = False
        for atom in atoms.values():
            name, span = _span(atom, sure)
            if span is None:
                continue
            if name in spans:
                is_impossible = is_impossible or spans[name].excludes(span)
                span = spans[name].and_also(span)
            spans[name] = span
        return cls(atoms, spans, is_impossible)

    def excludes(self, other: "Facts") -> bool:
        """Return whether it is certain that not all conditions of both are true."""
        spans = self.spans
        for name, span in other.spans.items():
            if name in spans and spans[name].excludes(span):
                return True
        return self.is_impossible or other.is_impossible

    def not_excluded(self, others: Sequence["Facts"]) -> Sequence["Facts"]:
        """Return those of others of which it is not certain that some condition is false where these are true."""
        if len(self.spans) != 1 or self.is_impossible:
            return [one for one in others if not self.excludes(one)]
        ((name, span),) = self.spans.items()  # a class or a category, which is compared with all others
        return [
            one for one in others if not (one.is_impossible or (name in one.spans and span.excludes(one.spans[name])))
        ]

    def and_also(self, other: "Facts") -> "Facts":
        """Return the conditions of both."""
        spans = {**self.spans, **other.spans}
        for name in self.spans.keys() & other.spans.keys():
            spans[name] = self.spans[name].and_also(other.spans[name])
        return Facts({**self.atoms, **other.atoms}, spans, self.excludes(other))

    def without(self, other: "Facts", sure: frozenset[str]) -> "Facts":
        """Return the conditions that are not among those of another."""
        return Facts.of({text: atom for text, atom in self.atoms.items() if text not in other.atoms}, sure)


class Case(NamedTuple):
    """What holds for some features, and for no other case.

    Attributes:
        rules: Numbers of the rules that match, ascending; whether others match does not matter here.
        true: The conditions that are true.
        others: Conditions of which, each time, not all are true.
        settled: What these rules decide, whatever those before them do.
    """

    rules: tuple[int, ...] = ()
    true: Facts = Facts()
    others: tuple[Facts, ...] = ()
    settled: frozenset[str] = frozenset()

    def conditions(self) -> tuple[Any, ...]:
        """Return the texts of all conditions."""
        return (*self.true.atoms, *(tuple(other.atoms) for other in self.others))


def atoms_of(condition: Tree) -> Atoms:
    """Return the conditions that a condition joins by ``and``, by their text."""
    return {repr(atom): atom for atom in conjuncts(condition) if atom is not True}


def cases_of(
    conditions: Sequence[Atoms], decided: Sequence[Iterable[str]], texts: Iterable[str] = ()
) -> tuple[list[Case], list[int]]:
    """Return the cases that rules with these conditions make, and the numbers of rules that there were too many for.

    The last rule is looked at first: of those before it only what it leaves undecided matters, so that rules which all
    decide the same are as many cases as rules.  A rule that would make more than `MAX_CASES` is left out of all,
    as if it never matched.

    Args:
        conditions: Those of each rule (`atoms_of`), in the order in which the rules are laid over one another.
        decided: What each rule decides (paths of its changes).
        texts: Names of the properties that hold texts for certain, never times.
    """
    cases, finished, too_many, sure = [Case()], list[Case](), list[int](), frozenset(texts)
    before = list(accumulate(map(frozenset, decided), frozenset.union, initial=frozenset[str]()))
    counted = Counter(text for atoms in conditions for text in atoms)
    shared = frozenset(text for text, count in counted.items() if count > 1)
    for number in reversed(range(len(conditions))):
        facts, paths = Facts.of(conditions[number], sure), frozenset(decided[number])
        split: list[Case] = []
        for case in cases:
            if paths <= case.settled or case.true.excludes(facts):
                split.append(case)
            else:
                split += _split(case, number, facts, paths, sure, shared)
        if len(split) + len(finished) > MAX_CASES:
            too_many.append(number)
        else:
            cases = split
        # Whatever the rules before would do is settled in the last ones: they are not looked at again.
        while cases and before[number] <= cases[-1].settled:
            finished.append(cases.pop())
    return cases + finished[::-1], too_many[::-1]


def are_exclusive(one: Tree, other: Tree) -> bool:
    """Return whether it is certain that no feature has two conditions true; texts may be times here."""
    first, second = (Facts.of(atoms_of(condition), frozenset()) for condition in (one, other))
    return first.excludes(second)


def _split(
    case: Case, number: int, facts: Facts, paths: frozenset[str], sure: frozenset[str], shared: frozenset[str]
) -> Iterable[Case]:
    """Return a case in two: where a rule does not match, and where it does; one of them where it is certain.

    `shared` are the conditions that several rules have.
    """
    is_new = shared.isdisjoint(facts.atoms) or case.true.atoms.keys().isdisjoint(facts.atoms)
    rest = facts if is_new else facts.without(case.true, sure)
    rules, settled = (number, *case.rules), case.settled | paths
    if not rest.atoms:
        return (Case(rules, case.true, case.others, settled),)
    without = Case(case.rules, case.true, (*case.others, rest), case.settled)
    true = case.true.and_also(rest) if case.true.atoms else rest
    atoms, others = true.atoms.keys(), true.not_excluded(case.others)
    if not atoms.isdisjoint(shared):
        others = [one if atoms.isdisjoint(one.atoms) else one.without(true, sure) for one in others]
        if not all(one.atoms for one in others):  # some are true together, and shall not be
            return (without,)
    return without, Case(rules, true, tuple(others), settled)


def _span(atom: Tree, sure: frozenset[str]) -> tuple[str, Span | None]:
    """Return what a condition says about one property, as far as it is simple."""
    if not isinstance(atom, dict) or not isinstance(atom.get("args"), list | tuple) or not atom["args"]:
        return "", None
    first, *others = atom["args"]
    if not isinstance(first, dict) or "property" not in first:
        return "", None
    name, op = str(first["property"]), atom["op"]
    if op == "isNull":
        return name, Span(is_null=True)
    if op == "in":
        return name, _among(others[0], name in sure)
    if op in ("=", "<>") and len(others) == 1:
        counted = _among(others, name in sure)
        return name, Span(excluded=counted.values) if op == "<>" and counted and counted.values else counted
    numbers = [_finite(other) for other in others]
    if op == "between" and len(numbers) == 2 and None not in numbers:
        return name, Span(low=numbers[0] or 0.0, high=numbers[1] or 0.0)
    if op in ("<", "<=", ">", ">=") and len(numbers) == 1 and numbers[0] is not None:
        if op[0] == "<":
            return name, Span(high=numbers[0], high_open=op == "<")
        return name, Span(low=numbers[0], low_open=op == ">")
    return name, None


def _among(literals: Iterable[Any], is_text: bool) -> Span | None:
    values = set()
    for literal in literals:
        value = _counted(literal, is_text)
        if value is None:
            return None
        values.add(value)
    return Span(frozenset(values))


def _counted(literal: Any, is_text: bool) -> Value | None:
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
