"""Options of a target that several properties of a style decide together, as rules of which each matching one applies.

In CartoSym a rule changes ``opacity`` and another one ``fill.opacity``; a client has one option for both, their
product.  Merging rules in order cannot multiply.  So each option gets a rule for every set of conditions that leads to
a value of its own, and these rules stand in such an order that the last one that matches is always the right one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Protocol

from geoetl.core.selectors import Tree, conjuncts
from geoetl.styles.encoders.disjoint import are_exclusive

# How many sets of rules are looked at for one option; the properties of one are two or three.
MAX_SETS = 2048
# Of a property that no rule sets.
_NO_SETTERS: tuple[int, tuple[int, ...]] = (-1, ())


# The rules of a set that have conditions, ascending, and for each property the rule that sets it.
_Set = tuple[tuple[int, ...], tuple[int, ...]]


class Conditional(Protocol):
    """A rule that changes properties where its condition is true."""

    @property
    def condition(self) -> Tree: ...
    @property
    def changes(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Option:
    """What a target calls something, and how it follows from properties of the style.

    Attributes:
        paths: The properties.
        value: Gives the value for the target from those of the properties, in their order.
    """

    paths: tuple[str, ...]
    value: Callable[..., Any]


@dataclass(frozen=True)
class Combination:
    """What some of the rules together make of options.

    Attributes:
        rules: Their numbers, ascending; all of them have to match.
        options: Values for the target.
    """

    rules: tuple[int, ...]
    options: Mapping[str, Any]


def combine(
    options: Mapping[str, Option], rules: Sequence[Conditional], initial: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Combination], list[str]]:
    """Return the options of a feature that no rule matches, those that rules make, and what had too many sets.

    Every combination that matches is laid over those before it.  An option that has too many sets follows the last of
    its rules alone, with the other properties as they are without conditions.

    Args:
        options: The options of the target by their names.
        rules: In the order in which they are laid over one another.
        initial: The values of properties that no rule sets.
    """
    default: dict[str, Any] = {}
    found: dict[tuple[int, ...], dict[str, Any]] = {}
    too_many: list[str] = []
    exclusive: dict[tuple[int, int], bool] = {}
    setters_of = _setters(rules)
    for name, option in options.items():
        each = [setters_of.get(path, _NO_SETTERS) for path in option.paths]
        bases, setters = tuple(base for base, _ in each), tuple(others for _, others in each)
        sets = _alike(bases, setters)
        if sets is None:
            sets = _sets(bases, setters, rules, exclusive)
            if _are_too_many(setters):
                too_many.append(name)
        values = {
            numbers: option.value(*[_value(rules, *part, initial) for part in zip(chosen, option.paths, strict=True)])
            for numbers, chosen in sets
        }
        default[name] = values.pop(())
        if any(value != default[name] for value in values.values()):
            for numbers, value in values.items():
                found.setdefault(numbers, {})[name] = value
    ordered = sorted(found.items(), key=lambda one: one[0][::-1])
    return default, [Combination(numbers, made) for numbers, made in ordered], too_many


def condition_of(conditions: Iterable[Tree]) -> Tree:
    """Return the condition that all of these hold, each part once."""
    parts: list[Tree] = []
    for condition in conditions:
        parts.extend(part for part in conjuncts(condition) if part is not True and part not in parts)
    return True if not parts else parts[0] if len(parts) == 1 else {"op": "and", "args": parts}


def _setters(rules: Sequence[Conditional]) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return for each property the last rule that sets it always (-1 for none), and those after it that may."""
    found: dict[str, tuple[int, list[int]]] = {}
    for number, rule in enumerate(rules):
        for path in rule.changes:
            if rule.condition is True:
                found[path] = number, []
            else:
                found.setdefault(path, (-1, []))[1].append(number)
    return {path: (base, tuple(others)) for path, (base, others) in found.items()}


def _value(rules: Sequence[Conditional], number: int, path: str, initial: Mapping[str, Any]) -> Any:
    return initial[path] if number < 0 else rules[number].changes[path]


def _alike(bases: tuple[int, ...], setters: tuple[tuple[int, ...], ...]) -> Iterable[_Set] | None:
    """Return the sets of rules for properties that the same rules set, where each rule is a set; None of others."""
    setting = {some for some in setters if some}
    if len(setting) > 1:
        return None
    alone = [
        ((number,), tuple(number if some else base for base, some in zip(bases, setters, strict=True)))
        for some in setting
        for number in some
    ]
    return [((), bases), *alone]


def _are_too_many(setters: tuple[tuple[int, ...], ...]) -> bool:
    return prod(len(some) + 1 for some in setters) > MAX_SETS


def _sets(
    bases: tuple[int, ...],
    setters: tuple[tuple[int, ...], ...],
    rules: Sequence[Conditional],
    exclusive: dict[tuple[int, int], bool],
) -> Iterable[_Set]:
    """Return every set of rules that makes a difference.

    Of two sets that match, the one whose rules come later for each property is the right one; the order by the
    numbers of the rules, highest first, keeps to that.
    """
    if _are_too_many(setters):
        yield (), bases
        for number in sorted({number for some in setters for number in some}):
            chosen = tuple(number if number in some else base for base, some in zip(bases, setters, strict=True))
            yield (number,), chosen
        return
    for chosen in product(*((base, *some) for base, some in zip(bases, setters, strict=True))):
        matching = _conditional(chosen, bases)
        # A rule of the set that sets a property later than the one chosen for it overrides that one.
        if all(
            number == max((other for other in matching if other in some), default=base)
            for number, base, some in zip(chosen, bases, setters, strict=True)
        ) and not any(_exclude(rules, a, b, exclusive) for at, a in enumerate(matching) for b in matching[at + 1 :]):
            yield matching, chosen


def _conditional(chosen: tuple[int, ...], bases: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rules of a set that have conditions, ascending."""
    return tuple(sorted({number for number, base in zip(chosen, bases, strict=True) if number != base}))


def _exclude(rules: Sequence[Conditional], a: int, b: int, known: dict[tuple[int, int], bool]) -> bool:
    if (a, b) not in known:
        known[a, b] = are_exclusive(rules[a].condition, rules[b].condition)
    return known[a, b]
