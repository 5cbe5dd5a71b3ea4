"""The scales at which a style looks the same, for clients whose rules hold between two scales or zooms."""

from collections.abc import Sequence
from dataclasses import dataclass

from geoetl.styles.cascade import Cascade, FlatRule


@dataclass(frozen=True)
class Edge:
    """Where a view ends.

    Attributes:
        scale: Denominator.
        is_inside: Whether the very scale belongs to the view.
    """

    scale: float
    is_inside: bool


@dataclass(frozen=True)
class View:
    """The rules between two scales.

    Attributes:
        rules: The rules.
        far: The end with the greater denominator; None without end.
        close: The end with the lesser denominator; None down to nought.
        denominator: Of a scale inside.
    """

    rules: tuple[FlatRule, ...]
    far: Edge | None
    close: Edge | None
    denominator: float


@dataclass(frozen=True)
class Spanning[T]:
    """A rule of a target, and the numbers of the first and last view that it holds for."""

    rule: T
    first: int
    last: int


def views_of(cascade: Cascade) -> list[View]:
    """Return the views of a style, the furthest first.

    At the very scale at which a style changes it may be as closer up, as further away, or as nowhere else.
    """
    furthest, *closer = cascade.intervals()[::-1]
    rules, far, inside = furthest.rules, None, (furthest.above or 0.5) * 2
    views = []
    for interval, scale in zip(closer, cascade.breaks[::-1], strict=True):
        here = cascade.at(scale)
        views.append(View(rules, far, Edge(scale, here == rules), inside))
        if here not in (rules, interval.rules):
            views.append(View(here, Edge(scale, True), Edge(scale, True), scale))
        far = Edge(scale, here == interval.rules and here != rules)
        rules, inside = interval.rules, ((interval.above or 0.0) + scale) / 2
    return [*views, View(rules, far, None, inside)]


def spanning[T](each: Sequence[Sequence[T]]) -> list[Spanning[T]]:
    """Return the rules of all views in one list, which has those of each view in their order.

    A rule that goes on from the view before is one with it, as long as that changes no order.
    """
    joined: list[Spanning[T]] = []
    for number, rules in enumerate(each):
        merged: list[Spanning[T]] = []
        for rule in rules:
            at = next((at for at, one in enumerate(joined) if one.last == number - 1 and one.rule == rule), None)
            if at is None:
                merged.append(Spanning(rule, number, number))
            else:
                merged += [*joined[:at], Spanning(rule, joined[at].first, number)]
                joined = joined[at + 1 :]
        joined = [*merged, *joined]
    return joined
