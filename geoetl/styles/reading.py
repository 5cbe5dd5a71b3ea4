"""Documents from anywhere as plain JSON values, within limits: how long, how deep, how many."""

import json
import math
from collections.abc import Mapping
from typing import Any

from geoetl.core.errors import InvalidStyle

# A style is written by a person or made by a classification; more is a mistake or an attack.
MAX_BYTES = 2_000_000
MAX_DEPTH = 48
MAX_VALUES = 200_000
MAX_TEXT_LENGTH = 20_000
MAX_RULES = 2_000
# Rules in rules; each level joins the conditions of those above.
MAX_NESTED = 10


def plain(document: Any) -> Any:
    """Return a document as new dicts, lists, texts, numbers, booleans and None.

    Raises:
        InvalidStyle: It is no JSON, has NaN, infinite numbers or a key twice, or is beyond a limit.
    """
    if isinstance(document, str | bytes | bytearray):
        document = _parsed(document)
    copied = _Reader().read(document, "", 0)
    _check_rules(copied)
    return copied


def wrong(detail: str, pointer: str, hint: str) -> InvalidStyle:
    """Return the error of a document that cannot be read."""
    return InvalidStyle(detail, hint=hint, field=pointer)


def _parsed(text: str | bytes | bytearray) -> Any:
    if len(text) > MAX_BYTES:
        raise wrong(f"The style has {len(text):,} bytes, more than {MAX_BYTES:,}.", "", "Use fewer rules.")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise wrong(f"The style is not JSON: {why}.", "", "Send CartoSym-JSON in UTF-8.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"'{twice[:60]}' stands twice in one object")
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


class _Reader:
    """Copies a document, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def read(self, value: Any, pointer: str, depth: int) -> Any:
        """Return a value as plain JSON."""
        self.count += 1
        if depth > MAX_DEPTH:
            raise wrong(f"The style is nested more than {MAX_DEPTH} levels deep.", pointer, "Use fewer levels.")
        if self.count > MAX_VALUES:
            raise wrong(f"The style has more than {MAX_VALUES:,} values.", pointer, "Use fewer rules.")
        if isinstance(value, str):
            return _text(value, pointer)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _number(value, pointer)
        if isinstance(value, list | tuple):
            return [self.read(member, f"{pointer}/{number}", depth + 1) for number, member in enumerate(value)]
        if isinstance(value, Mapping):
            return {
                _key(key, pointer): self.read(member, f"{pointer}/{_escaped(key)}", depth + 1)
                for key, member in value.items()
            }
        raise wrong(f"{pointer or 'The style'}: a {type(value).__name__} is no JSON.", pointer, "Use plain values.")


def _escaped(key: Any) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _key(key: Any, pointer: str) -> str:
    if not isinstance(key, str):
        raise wrong(f"{pointer or 'The style'}: {key!r:.60} is no name of a member.", pointer, "Use texts as names.")
    return _text(key, pointer)


def _text(text: str, pointer: str) -> str:
    if len(text) > MAX_TEXT_LENGTH:
        raise wrong(f"{pointer}: a text of {len(text):,} letters is too long.", pointer, f"Use {MAX_TEXT_LENGTH:,}.")
    # Half of a pair of UTF-16 cannot be written as UTF-8, and no database keeps a NUL.
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise wrong(f"{pointer}: a text has a letter that cannot be written.", pointer, "Remove it.")
    return str(text)


def _number(value: float, pointer: str) -> float:
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise wrong(f"{pointer}: a number is not finite.", pointer, "Use numbers of at most 1e308.")
    # Of numpy, for one, whose numbers JSON does not write.
    return int(value) if isinstance(value, int) else float(value)


def _check_rules(document: Any) -> None:
    """Refuse more rules, or rules deeper in each other, than styles have."""
    count, level = 0, [document] if isinstance(document, dict) else []
    for depth in range(MAX_NESTED + 2):
        key = "nestedRules" if depth else "stylingRules"
        lists = [found for rule in level if isinstance(found := rule.get(key), list)]
        level = [rule for rules in lists for rule in rules if isinstance(rule, dict)]
        count += len(level)
    if level:
        raise wrong(f"Rules are nested more than {MAX_NESTED} deep.", "/stylingRules", "Write flatter rules.")
    if count > MAX_RULES:
        raise wrong(f"The style has {count:,} rules, more than {MAX_RULES:,}.", "/stylingRules", "Use fewer classes.")
