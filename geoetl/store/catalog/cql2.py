"""CQL2 filters, from text or JSON to a checked syntax tree; what the tree means in SQL is the back end's.

The parser of the cql2 package must not see everything: version 0.6 overflows its stack (the whole process dies) on
some thousand nested parentheses, ``NOT``, ``-`` or ``=``, and takes time that doubles with each parenthesis around a
mistake.  So length, nesting and chains are limited before it is called, and the tree once more before it is compiled.

Source: OGC 21-065r2, Common Query Language (CQL2).
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from geoetl.core.errors import InvalidFilter, did_you_mean

# A page of text; enough for the outline of a region in WKT, or use CQL2 JSON.
MAX_TEXT_LENGTH = 8_000
MAX_JSON_BYTES = 256 * 1024
# The official examples nest 4 parentheses in text.
MAX_PARENTHESES = 12
# The parser's time on a mistake: characters, each weighted with 2 to the power of the parentheses around it.
MAX_PARSER_WORK = 500_000
# Operators in a row that nest without a parenthesis (``NOT NOT``, ``- -``, ``a = b = c``, ``a + b + c``).
MAX_CHAIN = 32
# SQLite refuses an expression of 1000 levels, and older ones a statement that nests more than about 100.
MAX_DEPTH = 16
MAX_OPERATORS = 500
MAX_LIST = 1_000

LOGICAL = frozenset({"and", "or", "not"})
COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
ARITHMETIC = frozenset({"+", "-", "*", "/", "^", "%", "div"})
SPATIAL = frozenset(
    {
        "s_intersects",
        "s_disjoint",
        "s_within",
        "s_contains",
        "s_equals",
        "s_touches",
        "s_crosses",
        "s_overlaps",
    }
)
TEMPORAL = frozenset(
    {
        "t_after",
        "t_before",
        "t_contains",
        "t_disjoint",
        "t_during",
        "t_equals",
        "t_finishedBy",
        "t_finishes",
        "t_intersects",
        "t_meets",
        "t_metBy",
        "t_overlappedBy",
        "t_overlaps",
        "t_startedBy",
        "t_starts",
    }
)
ARRAY = frozenset({"a_contains", "a_containedBy", "a_equals", "a_overlaps"})
OTHER = frozenset({"between", "in", "like", "isNull", "casei", "accenti"})
OPERATORS = LOGICAL | COMPARISONS | ARITHMETIC | SPATIAL | TEMPORAL | ARRAY | OTHER
_BY_LOWER_CASE = {name.lower(): name for name in OPERATORS}

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*'|"[^"]*")|(?P<open>\()|(?P<close>\))|(?P<restart>,|\b(?:and|or)\b)"""
    r"""|(?P<chained>\b(?:not|in|like|between|is|div)\b|[-+*/^%]|[=<>!]+)""",
    re.IGNORECASE,
)

Tree = dict[str, Any] | bool


def parse(filter: Mapping[str, Any] | bool | str) -> Tree:
    """Return the checked syntax tree (CQL2 JSON) of a filter; every operator in it is a supported one.

    Args:
        filter: CQL2 JSON, or its text, or CQL2 text.

    Raises:
        InvalidFilter: It is malformed, larger or deeper than allowed, or uses an operator that is not supported.
    """
    if isinstance(filter, str):
        tree = _parse_json(filter) if filter.lstrip().startswith("{") else _parse_text(filter)
    else:
        tree = filter
    if not isinstance(tree, Mapping | bool):
        raise _wrong(
            "A filter is a CQL2 text or a JSON object.", "For example: datetime >= TIMESTAMP('2020-01-01T00:00:00Z')"
        )
    counter = _Counter()
    checked: Tree = tree if isinstance(tree, bool) else counter.check(tree, 1)
    try:
        size = len(json.dumps(checked, allow_nan=False).encode())
    except (ValueError, TypeError, RecursionError):
        raise _wrong(
            "The filter holds a value that JSON has not.", "Use texts, finite numbers, true and false."
        ) from None
    if size > MAX_JSON_BYTES:
        raise _wrong(
            f"The filter has {size} bytes of JSON, more than {MAX_JSON_BYTES}.", "Simplify its geometry or lists."
        )
    return checked


def _parse_json(text: str) -> Any:
    if len(text) > MAX_JSON_BYTES:
        raise _wrong(
            f"The filter has {len(text)} characters of JSON, more than {MAX_JSON_BYTES}.",
            "Simplify its geometry or lists.",
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"The filter is not JSON: {str(error)[:100]}.", "Check its brackets and quotes.") from None


def _parse_text(text: str) -> Any:
    _check_text(text)
    import cql2

    try:
        return cql2.parse_text(text).to_json()
    except (cql2.ParseError, ValueError) as error:
        place = re.search(r"(\d+):(\d+)", str(error))
        where = f" at character {place.group(2)}" if place and place.group(1) == "1" else ""
        near = f", near '{text[int(place.group(2)) - 1 :][:30]}'" if where and place else ""
        raise _wrong(
            f"The filter is not CQL2{where}{near}.", "For example: eo:cloud_cover < 10 AND platform = 'landsat-9'"
        ) from None


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT_LENGTH:
        raise _wrong(
            f"The filter has {len(text)} characters, more than {MAX_TEXT_LENGTH}.",
            "Send a long geometry as CQL2 JSON, or as `intersects`.",
        )
    if any(letter < " " and letter not in "\t\n\r" for letter in text):
        raise _wrong("The filter holds a control character.", "Remove it.")
    chains = [0]  # operators in a row, for the text outside and for each open parenthesis
    position = work = 0
    for token in _TOKEN.finditer(text):
        work += (token.end() - position) << (len(chains) - 1)
        position = token.end()
        if token["open"]:
            chains.append(0)
        elif token["close"]:
            chains.pop()
        elif token["restart"]:
            chains[-1] = 0
        elif token["chained"]:
            chains[-1] += 1
        if not chains:
            raise _wrong(
                f"The parenthesis at character {position} closes nothing.", "Remove it, or open one before it."
            )
        if len(chains) - 1 > MAX_PARENTHESES:
            raise _wrong(f"The filter nests more than {MAX_PARENTHESES} parentheses.", "Send it as CQL2 JSON.")
        if chains[-1] > MAX_CHAIN:
            raise _wrong(f"The filter has more than {MAX_CHAIN} operators in a row.", "Simplify it, or use IN.")
    if len(chains) > 1:
        raise _wrong("A parenthesis of the filter is never closed.", "Close it.")
    if work + len(text) - position > MAX_PARSER_WORK:
        raise _wrong("The filter is too deep for its length.", "Send it as CQL2 JSON.")


class _Counter:
    """Checks a tree on the way down and counts its operators."""

    def __init__(self) -> None:
        self.operators = 0

    def check(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _wrong(f"The filter nests deeper than {MAX_DEPTH} levels.", "Simplify it.")
        if isinstance(node, Mapping):
            if "op" in node:
                return self._operation(node, depth)
            if "property" in node:
                return {"property": check_property_name(node["property"])}
            if "interval" in node:
                return {"interval": self.check(node["interval"], depth + 1)}
            return dict(node)
        if isinstance(node, list | tuple):
            if len(node) > MAX_LIST:
                raise _wrong(
                    f"A list in the filter has {len(node)} members, more than {MAX_LIST}.", "Split the search."
                )
            return [self.check(member, depth + 1) for member in node]
        if isinstance(node, str):
            return check_text_value(node)
        if isinstance(node, float) and not math.isfinite(node):
            raise _wrong(f"The filter holds the number {node}.", "Use finite numbers.")
        if node is None or isinstance(node, bool | int | float):
            return node
        raise _wrong(f"The filter holds a {type(node).__name__}.", "Use texts, finite numbers, true and false.")

    def _operation(self, node: Mapping[str, Any], depth: int) -> dict[str, Any]:
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise _wrong(f"The filter has more than {MAX_OPERATORS} operators.", "Use IN for long lists of values.")
        name, arguments = node["op"], node.get("args")
        known = _BY_LOWER_CASE.get(name.lower()) if isinstance(name, str) else None
        if known is None:
            raise unsupported(str(name)[:60])
        if not isinstance(arguments, list | tuple):
            raise _wrong(
                f"The operator '{known}' has no list of arguments.", f'Write {{"op": "{known}", "args": [...]}}.'
            )
        if known == "between" and len(arguments) == 2 and isinstance(arguments[1], list | tuple):
            # As drafts of the standard had it, and clients still send it: both ends in a list.
            arguments = [arguments[0], *arguments[1]]
        if len(arguments) > MAX_LIST:
            raise _wrong(f"'{known}' has {len(arguments)} arguments, more than {MAX_LIST}.", "Split the search.")
        return {"op": known, "args": [self.check(argument, depth + 1) for argument in arguments]}


def check_property_name(name: Any) -> str:
    """Return the name of a property without its ``properties.`` prefix.

    Raises:
        InvalidFilter: It is empty, too long, or has a quote, backslash or control character.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise _wrong("The name of a property has 1 to 200 characters.", "For example: eo:cloud_cover")
    if any(letter in '"\\' or letter < " " or "\ud800" <= letter <= "\udfff" for letter in name):
        raise _wrong(f"The property {name!r} has a quote, a backslash or a control character.", "Give the plain name.")
    return name.removeprefix("properties.") or name


def check_text_value(text: str) -> str:
    """Return a text that a database takes as it is.

    Raises:
        InvalidFilter: It holds NUL or half of a surrogate pair.
    """
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _wrong(f"The filter holds a text with a character that cannot be searched: {text[:40]!r}.", "Remove it.")
    return text


def unsupported(name: str) -> InvalidFilter:
    """Return the error for an operator that is not supported; it lists those that are."""
    close = did_you_mean(name, OPERATORS)
    hint = f"{close} " if close.startswith("Did") else ""
    return _wrong(
        f"The operator or function '{name}' is not supported.", f"{hint}Supported: {', '.join(sorted(OPERATORS))}."
    )


def _wrong(detail: str, hint: str) -> InvalidFilter:
    return InvalidFilter(detail, hint=hint, field="filter")
