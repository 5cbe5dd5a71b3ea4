"""A style as a flat list of rules: where each holds, and what it changes.

`flatten` works out once what all clients need: nested rules with the conditions of those above them, identifiers of the
layer resolved, initial values put back where an object is replaced.  At a scale the last rule that holds for a feature
and has a path wins; where none has it, `Cascade.initial` does.  A value that cannot be read for a feature (it is
missing, or of another kind) leaves what the rules before have: an object that is replaced is first given its initial
values and then, by a rule of its own with the same condition, what is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from geoetl.styles.changes import Alteration, Changes, Choice, changes_of, initial_values
from geoetl.styles.conditions import (
    Condition,
    NotUnderstood,
    Period,
    Resolver,
    Surroundings,
    at_scale,
    joined,
    matching,
    never,
    scales_of,
)
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.styles.values import UNSET

# Changes of parts of values make a rule for each value that there may be; beyond this they are a loss.
MAX_FLAT_RULES = 5_000


@dataclass(frozen=True)
class Loss:
    """What of a style cannot be expressed.

    Attributes:
        pointer: Where in the style (JSON pointer).
        reason: Why, and what comes of it.
    """

    pointer: str
    reason: str


@dataclass(frozen=True)
class FlatRule:
    """A rule without rules in it.

    Attributes:
        name: Its name, or that of the rule around it.
        pointer: Where it stands in the style.
        condition: True, or a CQL2-JSON tree over properties and literals; the rule holds where it is true.
        changes: Values by path: literals, CQL2 trees that are read from each feature, or UNSET.
    """

    name: str
    pointer: str
    condition: bool | Mapping[str, Any]
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Interval:
    """The rules between two scales.

    Attributes:
        above: They hold for denominators greater than this; None from nought on.
        below: They hold for denominators less than this; None without end.
        rules: The rules.
    """

    above: float | None
    below: float | None
    rules: tuple[FlatRule, ...]


@dataclass(frozen=True)
class Cascade:
    """A style for one layer, flattened.

    Attributes:
        initial: What is drawn before any rule, by path.
        entries: All rules in order; what their conditions say of the scale (``viz.sd``) is worked out by `at`.
        losses: What was not understood; selectors of which that is true never match.
    """

    initial: Mapping[str, Any]
    entries: tuple[FlatRule, ...]
    losses: tuple[Loss, ...]

    @cached_property
    def _scales(self) -> tuple[set[float], ...]:
        return tuple(scales_of(rule.condition) for rule in self.entries)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        """The scale denominators at which something changes, ascending."""
        return tuple(sorted({scale for scales in self._scales for scale in scales if scale > 0}))

    def at(self, denominator: float | None) -> tuple[FlatRule, ...]:
        """Return the rules at a scale, without those that never hold; with None what asks for the scale never does."""
        return tuple(self._at(denominator))

    def _at(self, denominator: float | None) -> Iterator[FlatRule]:
        for rule, scales in zip(self.entries, self._scales, strict=True):
            if not scales:
                yield rule
                continue
            condition = matching(at_scale(rule.condition, denominator))
            if condition is not False:
                yield FlatRule(rule.name, rule.pointer, condition, rule.changes)

    def intervals(self) -> tuple[Interval, ...]:
        """Return the rules of each interval of scales, from the largest scale (least denominator) on."""
        ends: list[float | None] = [None, *self.breaks, None]
        made = []
        for above, below in pairwise(ends):
            inside = (above or 0.5) * 2 if below is None else (above or 0) / 2 + below / 2
            made.append(Interval(above, below, self.at(inside)))
        return tuple(made)


def flatten(style: Style, layer: StyledLayer, period: Period | None = None) -> Cascade:
    """Return a style for one layer as flat rules.

    Args:
        style: The style.
        layer: What it is laid on.
        period: The time that the map shows; without it, selectors that ask for it never match.
    """
    tree = style.tree
    walk = _Walk(layer, Resolver(Surroundings(layer, period, tree.get("$variables"))))
    if "$include" in tree:
        walk.losses.append(Loss("/$include", "other styles are not fetched, so that their rules are missing"))
    walk.rules(tree["stylingRules"], "/stylingRules", "", True)
    initial = initial_values(layer)
    paths = dict.fromkeys([*initial, *(path for found in walk.found for path in found.changes.values)])
    below = {prefix: [path for path in paths if path.startswith(f"{prefix}.")] for prefix in walk.resets()}
    entries: list[FlatRule] = []
    before: dict[str, list[FlatRule]] = {}
    for found in walk.found:
        made = list(_flattened(found, below, initial, before))
        if len(entries) + len(made) > MAX_FLAT_RULES:
            reason = f"with it there are more than {MAX_FLAT_RULES:,} flat rules; it is left out"
            walk.losses.append(Loss(found.pointer, reason))
            continue
        entries += made
        for rule in made:
            for path in rule.changes.keys() & walk.altered:
                before.setdefault(path, []).append(rule)
    return Cascade(initial, tuple(entries), tuple(walk.losses))


@dataclass(frozen=True)
class _Found:
    """A symbolizer with all that decides where it holds."""

    name: str
    pointer: str
    condition: Condition
    changes: Changes


class _Walk:
    """Visits the rules of a style in the order in which they apply."""

    def __init__(self, layer: StyledLayer, resolver: Resolver) -> None:
        self.layer = layer
        self.resolver = resolver
        self.found: list[_Found] = []
        self.losses: list[Loss] = []

    def resets(self) -> set[str]:
        """Return the paths of all objects that are replaced somewhere."""
        return {prefix for found in self.found for prefix in found.changes.resets}

    @cached_property
    def altered(self) -> set[str]:
        """The paths of values of which a part is changed somewhere."""
        return {
            path
            for found in self.found
            for path, value in found.changes.values.items()
            if isinstance(value, (Alteration, Choice))
        }

    def rules(self, rules: Sequence[Mapping[str, Any]], pointer: str, name: str, around: Condition) -> None:
        """Visit rules, and those in them where they can match at all."""
        for number, rule in enumerate(rules):
            at = f"{pointer}/{number}"
            try:
                own = self.resolver.condition(rule.get("selector", True))
            except NotUnderstood as error:
                self.losses.append(Loss(f"{at}/selector", f"{error}; the rule never matches"))
                continue
            condition = own if around is True else joined("and", [around, own])
            if never(condition):
                continue
            called = rule.get("name") or name
            if "symbolizer" in rule:
                changes = changes_of(rule["symbolizer"], self.layer, self.resolver)
                self.losses += [Loss(f"{at}/symbolizer{where}", reason) for where, reason in changes.problems]
                self.found.append(_Found(called, at, condition, changes))
            self.rules(rule.get("nestedRules", ()), f"{at}/nestedRules", called, condition)


def _flattened(
    found: _Found, below: Mapping[str, Sequence[str]], initial: Mapping[str, Any], before: Mapping[str, list[FlatRule]]
) -> Iterator[FlatRule]:
    """Return a rule of all that its symbolizer changes wherever it holds, then rules of what else it chooses.

    Args:
        found: The symbolizer.
        below: The paths below each object that is replaced.
        initial: What is drawn before any rule.
        before: The rules so far that change a path, for paths of which a part is changed somewhere.
    """
    changes: dict[str, Any] = {path: UNSET for prefix in found.changes.resets for path in below[prefix]}
    more: list[tuple[Condition, str, Any]] = []
    for path, value in found.changes.values.items():
        if not isinstance(value, (Choice, Alteration)):
            changes[path] = value
            continue
        (_, first), *others = _expanded(value, found.condition, initial.get(path, UNSET), path, before.get(path, ()))
        changes[path] = first
        more += [(condition, path, other) for condition, other in others]
    if changes:
        yield FlatRule(found.name, found.pointer, matching(found.condition), changes)
    for condition, path, other in more:
        both = joined("and", [found.condition, condition])
        if not never(both):
            yield FlatRule(found.name, found.pointer, matching(both), {path: other})


def _expanded(
    value: Any, around: Condition, initial: Any, path: str, before: Sequence[FlatRule]
) -> list[tuple[Condition, Any]]:
    """Return what a value is and when, the last that holds deciding; the first always holds."""
    if isinstance(value, Choice):
        then = _expanded(value.then, around, initial, path, before)
        otherwise = _expanded(value.otherwise, around, initial, path, before)
        return [*otherwise, *((joined("and", [value.condition, condition]), one) for condition, one in then)]
    if not isinstance(value, Alteration):
        return [(True, value)]
    parts, earlier = _parts(around), list[tuple[Condition, Any]]()
    for rule in reversed(before):
        if all(part in parts for part in _parts(rule.condition)):
            earlier.append((True, rule.changes[path]))
            break
        earlier.append((rule.condition, rule.changes[path]))
    else:
        earlier.append((True, initial))
    changed = [(condition, value.change(old)) for condition, old in reversed(earlier)]
    # As long as all come to the same, it does not matter which of them holds.
    same = next((at for at, (_, one) in enumerate(changed) if one != changed[0][1]), len(changed))
    return [changed[0], *changed[same:]]


def _parts(condition: Condition) -> Sequence[Any]:
    if condition is True:
        return ()
    if isinstance(condition, dict) and condition.get("op") == "and":
        return list(condition["args"])
    return [condition]
