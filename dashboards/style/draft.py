"""Changes of a style's document: each takes a document and returns another one.

A rule is named by its key: the numbers of the rules that lead to it, ``2`` or ``2.0`` for the first rule within the
third.  The document is canonical CartoSym-JSON (OGC 18-067r4).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Rule = Mapping[str, Any]

# What is set as a whole: of a marker and a label only the first graphic is edited in the form.
_WHOLE = ("marker", "label")
_ALTER = "alter"


def text_of(document: Document) -> str:
    """Return a document as text that people read: two spaces, short lists on one line."""
    return _written(document, "") + "\n"


# As much as fits beside the number of a line; what is longer is broken.
_LINE = 72


def _written(value: Any, indent: str) -> str:
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Mapping | list) or not value:
        return short
    if len(indent) + len(short) <= _LINE and not _is_deep(value):
        return short
    deeper = indent + "  "
    if isinstance(value, list):
        parts = [f"{deeper}{_written(part, deeper)}" for part in value]
        return "[\n" + ",\n".join(parts) + f"\n{indent}]"
    parts = [f"{deeper}{json.dumps(k, ensure_ascii=False)}: {_written(part, deeper)}" for k, part in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{indent}}}"


def _is_deep(value: Mapping[str, Any] | list[Any]) -> bool:
    """Tell whether a value holds rules or symbolizers, which are read better one below the other."""
    return isinstance(value, Mapping) and not {"stylingRules", "symbolizer", "nestedRules", "fill"}.isdisjoint(value)


# ---- rules ---------------------------------------------------------------------------------------------------------


def numbers(key: str) -> list[int]:
    """Return the numbers of the rules that lead to a rule."""
    return [int(part) for part in key.split(".")]


def pointer_of(key: str) -> str:
    """Return the JSON pointer of a rule."""
    first, *rest = numbers(key)
    return f"/stylingRules/{first}" + "".join(f"/nestedRules/{number}" for number in rest)


def key_of(pointer: str) -> str:
    """Return the key of the rule that a JSON pointer leads to or into; empty where it leads to none."""
    parts = pointer.split("/")[1:]
    found: list[str] = []
    for name, number in zip(parts[::2], parts[1::2], strict=False):
        if name != ("nestedRules" if found else "stylingRules") or not number.isdigit():
            break
        found.append(number)
    return ".".join(found)


def rules(document: Document) -> Iterator[tuple[str, Rule]]:
    """Yield every rule with its key, each before the rules within it."""

    def walk(found: Sequence[Rule], before: str) -> Iterator[tuple[str, Rule]]:
        for number, rule in enumerate(found):
            key = f"{before}{number}"
            yield key, rule
            yield from walk(rule.get("nestedRules", ()), f"{key}.")

    yield from walk(document["stylingRules"], "")


def rule_at(document: Document, key: str) -> Rule | None:
    """Return a rule, None where there is none of that key."""
    found: Rule | None = None
    siblings: Sequence[Rule] = document["stylingRules"]
    for number in numbers(key) if key else []:
        if number >= len(siblings):
            return None
        found = siblings[number]
        siblings = found.get("nestedRules", ())
    return found


def chain(document: Document, key: str) -> list[Rule]:
    """Return the rules that lead to a rule, the outermost first, and the rule itself."""
    parts = key.split(".")
    found = (rule_at(document, ".".join(parts[: depth + 1])) for depth in range(len(parts)))
    return [rule for rule in found if rule is not None]


def siblings(document: Document, key: str) -> int:
    """Return how many rules stand beside a rule, itself among them."""
    parent = key.rpartition(".")[0]
    holder = rule_at(document, parent) if parent else document
    return len((holder or {}).get("nestedRules" if parent else "stylingRules", ()))


def with_rule(document: Document, key: str, rule: Rule) -> Document:
    """Return the document with another rule in the place of one."""
    return _with_list(document, key, lambda found, number: [*found[:number], rule, *found[number + 1 :]])


def added(document: Document, rule: Rule, *, within: str = "") -> tuple[Document, str]:
    """Return the document with one more rule, the last of all or the last within one, and its key."""
    if not within:
        found = [*document["stylingRules"], rule]
        return {**document, "stylingRules": found}, str(len(found) - 1)
    holder = rule_at(document, within) or {}
    nested = [*holder.get("nestedRules", ()), rule]
    return with_rule(document, within, {**holder, "nestedRules": nested}), f"{within}.{len(nested) - 1}"


def removed(document: Document, key: str) -> tuple[Document, str]:
    """Return the document without a rule and those within it, and the key of the one that follows or comes before."""
    after = _with_list(document, key, lambda found, number: [*found[:number], *found[number + 1 :]])
    parent, _, last = key.rpartition(".")
    left = siblings(document, key) - 1
    if left == 0:
        return after, parent
    number = min(int(last), left - 1)
    return after, f"{parent}.{number}" if parent else str(number)


def moved(document: Document, key: str, by: int) -> tuple[Document, str]:
    """Return the document with a rule earlier (negative) or later among those beside it, and its key."""
    parent, _, last = key.rpartition(".")
    to = max(0, min(siblings(document, key) - 1, int(last) + by))

    def move(found: list[Rule], number: int) -> list[Rule]:
        rest = [*found[:number], *found[number + 1 :]]
        return [*rest[:to], found[number], *rest[to:]]

    return _with_list(document, key, move), f"{parent}.{to}" if parent else str(to)


def copied(document: Document, key: str) -> tuple[Document, str]:
    """Return the document with a copy of a rule behind it, and the key of the copy."""
    parent, _, last = key.rpartition(".")
    rule = rule_at(document, key) or {}
    copy = {**rule, "name": f"{rule['name']} (copy)"} if rule.get("name") else rule
    number = int(last) + 1
    after = _with_list(document, key, lambda found, at: [*found[: at + 1], copy, *found[at + 1 :]])
    return after, f"{parent}.{number}" if parent else str(number)


def _with_list(document: Document, key: str, change: Any) -> Document:
    """Return the document with a change to the list that a rule stands in."""
    parent, _, last = key.rpartition(".")
    if not parent:
        return {**document, "stylingRules": change(list(document["stylingRules"]), int(last))}
    holder = rule_at(document, parent) or {}
    nested = change(list(holder.get("nestedRules", ())), int(last))
    kept = {name: value for name, value in holder.items() if name != "nestedRules"}
    return with_rule(document, parent, {**kept, "nestedRules": nested} if nested else kept)


# ---- what a rule draws ---------------------------------------------------------------------------------------------


def effective(document: Document, key: str, *, own: bool = True) -> dict[str, Any]:
    """Return what a rule draws together with the rules around it, as one symbolizer.

    Args:
        document: The style.
        key: The rule.
        own: Whether its own symbolizer counts; else what it would inherit.
    """
    found: dict[str, Any] = {}
    for rule in chain(document, key)[: None if own else -1]:
        for name, value in rule.get("symbolizer", {}).items():
            before = found.get(name)
            if isinstance(value, Mapping) and value.get(_ALTER) and isinstance(before, Mapping):
                found[name] = {**before, **value}
            else:
                found[name] = value
    return found


def value_at(symbolizer: Mapping[str, Any], path: str) -> Any:
    """Return a value of a symbolizer by its path, such as ``marker.0.stroke.color``; None where it has none."""
    found: Any = symbolizer
    for part in path.split("."):
        if part.isdigit():
            elements = found.get("elements") if isinstance(found, Mapping) else None
            found = elements[int(part)] if isinstance(elements, list) and int(part) < len(elements) else None
        else:
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def with_value(document: Document, key: str, path: str, value: Any) -> Document:
    """Return the document with a value of a rule's symbolizer set, or with None taken away.

    Of fill and stroke only the part is changed, and what else the rule inherits stays; marker and label are set as a
    whole, from what they were.
    """
    rule = rule_at(document, key) or {}
    symbolizer = dict(rule.get("symbolizer", {}))
    first, *rest = path.split(".")
    if not rest:
        symbolizer = _put(symbolizer, first, value)
    elif first in _WHOLE:
        whole = effective(document, key).get(first)
        made = _with_element(whole if isinstance(whole, Mapping) else {}, first, rest[1:], value)
        symbolizer = _put(symbolizer, first, made)
    else:
        present = symbolizer.get(first)
        inherits = key != "0"
        part = dict(present) if isinstance(present, Mapping) else {_ALTER: True} if inherits else {}
        part = _put(part, rest[0], value)
        symbolizer = _put(symbolizer, first, part if set(part) - {_ALTER} else None)
    kept = {name: part for name, part in rule.items() if name not in ("symbolizer", "nestedRules")}
    nested = {"nestedRules": rule["nestedRules"]} if "nestedRules" in rule else {}
    return with_rule(document, key, {**kept, **({"symbolizer": symbolizer} if symbolizer else {}), **nested})


def _put(holder: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {known: kept for known, kept in holder.items() if known != name}
    return {**holder, name: value}


_NEW_ELEMENT: Mapping[str, Mapping[str, Any]] = {
    "marker": {"type": "Dot", "stroke": {"color": [11, 107, 107], "width": {"px": 8}}},
    "label": {"type": "Text", "text": "", "font": {"size": 12}},
}


def _with_element(whole: Mapping[str, Any], name: str, path: Sequence[str], value: Any) -> Mapping[str, Any] | None:
    elements = whole.get("elements")
    known = list(elements) if isinstance(elements, list) and elements else [_NEW_ELEMENT[name]]
    element = dict(known[0])
    if len(path) == 1:
        element = _put(element, path[0], value)
    else:
        part = element.get(path[0])
        changed = dict(part) if isinstance(part, Mapping) else {}
        changed = _nested(changed, path[1:], value)
        element = _put(element, path[0], changed or None)
    if element.get("type") == "Text" and not element.get("text"):
        return None
    kept = {part: value for part, value in whole.items() if part not in ("elements", _ALTER)}
    return {**kept, "elements": [element, *known[1:]]}


def _nested(holder: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return _put(holder, path[0], value)
    part = holder.get(path[0])
    return _put(holder, path[0], _nested(dict(part) if isinstance(part, Mapping) else {}, path[1:], value) or None)
