"""What is legal in a style but doubtful: most of it would draw something else than its author meant."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import did_you_mean
from geoetl.core.findings import Finding, Severity
from geoetl.core.selectors import moments
from geoetl.styles.conditions import NotUnderstood, Surroundings
from geoetl.styles.expressions import PREDICATES, SYSTEM_IDENTIFIERS, words
from geoetl.styles.layer import StyledLayer

if TYPE_CHECKING:
    from geoetl.styles.model import Style, _Object

# More are not read by anybody.
MAX_DOUBTS = 100
_VALUE_OPERATORS = words(
    """
    + - * / ^ % div bitAnd bitOr bitXor bitNot << >> casei accenti lowerCase upperCase concatenate substitute format ?:
    """
)
# Members of part 2 (shapes) and of the official examples, which the core schema does not name.
_KNOWN_MORE: Mapping[str, frozenset[str]] = {
    "Style": frozenset(),
    "Metadata": frozenset({"abstract", "name"}),
    "Fill": frozenset({"gradient"}),
    "Stroke": frozenset({"cap", "join", "patternGap", "patternInitialGap"}),
    "Dot": frozenset({"size", "color", "outline", "point", "transform"}),
    "Image": frozenset({"outline", "transform"}),
    "Text": frozenset({"transform"}),
}


def doubts(style: "Style") -> tuple[Finding, ...]:
    """Return what is doubtful in a style, in the order in which it stands there."""
    found: list[Finding] = []
    for doubt in _all(style):
        found.append(doubt)
        if len(found) == MAX_DOUBTS:
            break
    return tuple(found)


def _doubt(code: str, message: str, subject: str, remedy: str, got: str | None = None) -> Finding:
    return Finding(severity=Severity.WARNING, code=code, message=message, subject=subject, got=got, remedy=remedy)


def _all(style: "Style") -> Iterator[Finding]:
    tree = style.tree
    if "$include" in tree:
        yield _doubt(
            "style_include",
            "The style includes other styles, which are never fetched: their rules are missing.",
            "/$include",
            "Copy their rules into this style.",
        )
    yield from _members(style, "")
    around = Surroundings(StyledLayer(""), variables=tree.get("$variables"))
    yield from _nodes(tree["stylingRules"], "/stylingRules", around)


def _members(node: "_Object", at: str) -> Iterator[Finding]:
    """Look for members that nothing reads, which are mostly misspelt."""
    from geoetl.styles.model import _Object

    kind = type(node).__name__
    named = {field.alias or name for name, field in type(node).model_fields.items()}
    for name in node.more:
        if name not in _KNOWN_MORE.get(kind, frozenset()) and not name.startswith(("$", "vendor.")):
            yield _doubt(
                "style_unknown_member",
                f"'{name[:60]}' is no member of a {kind} in CartoSym-JSON; nothing reads it.",
                f"{at}/{name}",
                did_you_mean(name, named),
            )
    for name in type(node).model_fields:
        value, key = getattr(node, name), type(node).model_fields[name].alias or name
        if isinstance(value, _Object):
            yield from _members(value, f"{at}/{key}")
        elif isinstance(value, tuple):
            for number, member in enumerate(value):
                if isinstance(member, _Object):
                    yield from _members(member, f"{at}/{key}/{number}")


def _nodes(node: Any, at: str, around: Surroundings) -> Iterator[Finding]:
    """Look at each value of a tree."""
    if isinstance(node, list):
        for number, member in enumerate(node):
            yield from _nodes(member, f"{at}/{number}", around)
        return
    if not isinstance(node, Mapping):
        return
    yield from _expression(node, at, around)
    for name, member in node.items():
        where = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        yield from _number(name, member, where)
        if name in ("colorMap", "opacityMap") and isinstance(member, list):
            yield from _stops(member, where)
        if name == "opacityMap" and isinstance(member, list):
            yield from _shares(member, where)
        yield from _nodes(member, where, around)


def _expression(node: Mapping[str, Any], at: str, around: Surroundings) -> Iterator[Finding]:
    identifier, operator = node.get("sysId"), node.get("op")
    if isinstance(identifier, str) and identifier not in SYSTEM_IDENTIFIERS:
        newer = f"viz{identifier[3:]}"
        is_old = identifier.startswith("vis.") and newer in SYSTEM_IDENTIFIERS
        yield _doubt(
            "style_old_identifier" if is_old else "style_unknown_identifier",
            f"The identifier {identifier[:60]} is the older name of {newer}."
            if is_old
            else f"There is no identifier {identifier[:60]}; a rule that asks for it never matches.",
            at,
            f"Write {newer}." if is_old else did_you_mean(newer, SYSTEM_IDENTIFIERS),
        )
    if isinstance(operator, str) and operator not in PREDICATES and operator not in _VALUE_OPERATORS:
        yield _doubt(
            "style_unknown_operator",
            f"There is no operator or function {operator[:60]}; a rule that uses it never matches.",
            at,
            did_you_mean(operator, PREDICATES | _VALUE_OPERATORS),
        )
    arguments = node.get("args")
    told = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 and "function" in node else None
    for text in (node.get("date"), node.get("timestamp"), told):
        if isinstance(text, str) and moments(text) is None:
            yield _doubt(
                "style_impossible_date",
                f"'{text[:40]}' is no date of the calendar; a rule that compares with it never matches.",
                at,
                "Write it as 2020-02-28 or 2020-02-28T12:00:00Z.",
            )
    if "$ref" in node:
        try:
            around.dereferenced(node)
        except NotUnderstood as error:
            yield _doubt(
                "style_unknown_variable", f"{error}."[:1].upper() + f"{error}."[1:], at, "Define it in $variables."
            )


def _number(name: str, value: Any, at: str) -> Iterator[Finding]:
    """Look for numbers outside of what they can be."""
    if name in ("color", "tint", "blackTint") and isinstance(value, list | Mapping):
        parts = value if isinstance(value, list) else [value[part] for part in "rgb" if part in value]
        if any(isinstance(part, int | float) and not 0 <= part <= 255 for part in parts):
            yield _doubt(
                "style_color_range", f"A part of the colour {parts} is not in 0 to 255; the nearest is taken.", at, ""
            )
    # The official schema takes any number for an opacity: its zeroToOne is a number of 0 to 1, or any at all.
    if name in ("opacity", "alphaThreshold") and isinstance(value, int | float) and not 0 <= value <= 1:
        yield _out_of_share(value, at)
    if name in ("width", "size", "thickness"):
        length = next(iter(value.values()), None) if isinstance(value, Mapping) else value
        if isinstance(length, int | float) and length < 0:
            yield _doubt(
                "style_length_range", f"The length {length} is below 0; it is taken as 0.", at, "Write 0 or more."
            )


def _out_of_share(value: float, at: str) -> Finding:
    return _doubt(
        "style_opacity_range", f"The opacity {value} is not in 0 to 1; the nearest is taken.", at, "Write 0 to 1."
    )


def _shares(stops: list[Any], at: str) -> Iterator[Finding]:
    for number, stop in enumerate(stops):
        share = stop[1] if isinstance(stop, list) and len(stop) > 1 else None
        if isinstance(share, int | float) and not 0 <= share <= 1:
            yield _out_of_share(share, f"{at}/{number}/1")


def _stops(stops: list[Any], at: str) -> Iterator[Finding]:
    values = [stop[0] for stop in stops if isinstance(stop, list) and stop and isinstance(stop[0], int | float)]
    if len(values) < len(stops):
        yield _doubt("style_stop", "A stop has no number as its value; it is not drawn.", at, "Write [value, colour].")
    elif values != sorted(values):
        yield _doubt("style_stop_order", "The values of the stops do not ascend.", at, "Put them in order.")
