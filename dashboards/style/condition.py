"""The selector of a rule as a person edits it: scales, a few comparisons, or CQL2 text.

A selector is CQL2 JSON with ``sysId`` for what belongs to the visualization (``viz.sd``, the scale denominator) and to
the layer (``dataLayer.type``); in text both are written as names with a dot.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from geoetl.core.errors import GeoetlError, InputError
from geoetl.store.catalog.cql2 import parse

Tree = Mapping[str, Any] | bool
ValueType = Literal["number", "text", "boolean", "time"]

SCALE = "viz.sd"
# `vis` was renamed `viz`; an official example still has it.
_SCALE_NAMES = (SCALE, "vis.sd")
_LAYER = "dataLayer."
_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
# Names that a text may have without being properties of the data.
_SYSTEM = re.compile(r"^(viz|vis|dataLayer)\.\w")
# A limit between classes may have all the digits of a double; a list has no room for them.
_LONG_FRACTION = re.compile(r"(?<![\w.])\d+\.\d{6,}(?![\w.])")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        attribute: Name of the property.
        op: ``=``, ``<>``, ``<``, ``<=``, ``>``, ``>=``, ``like``, ``in``, ``between``, ``isNull`` or ``isNotNull``.
        value: What it is compared with, as text; several are separated by commas.
    """

    attribute: str
    op: str
    value: str = ""


@dataclass(frozen=True)
class Condition:
    """When a rule applies.

    Attributes:
        rest: What has to hold of a feature; None where nothing has to.
        above: Smallest scale denominator, inclusive; None for any.
        below: Largest scale denominator, exclusive; None for any.
        layer: Tests of the layer itself, which stay as they are.
        scale_ops: The operators of `above` and `below` where they stand in the style.
    """

    rest: Tree | None = None
    above: float | None = None
    below: float | None = None
    layer: tuple[Tree, ...] = ()
    scale_ops: tuple[str, str] = (">=", "<")

    @classmethod
    def of(cls, selector: Tree | None) -> "Condition":
        """Read a selector."""
        rest: list[Tree] = []
        layer: list[Tree] = []
        scales: dict[str, tuple[str, float]] = {}
        for part in _conjuncts(selector):
            scale = _scale(part)
            if scale and (end := "below" if scale[0] in ("<", "<=") else "above") not in scales:
                scales[end] = scale
            elif _is_of_layer(part):
                layer.append(part)
            else:
                rest.append(part)
        above, below = scales.get("above", (">=", None)), scales.get("below", ("<", None))
        return cls(_joined("and", rest), above[1], below[1], tuple(layer), (above[0], below[0]))

    def selector(self) -> Tree | None:
        """Return the selector, None where it always holds."""
        scales = [
            {"op": op, "args": [{"sysId": SCALE}, _plain(value)]}
            for op, value in zip(self.scale_ops, (self.above, self.below), strict=True)
            if value is not None
        ]
        return _joined("and", [*self.layer, *scales, *_conjuncts(self.rest)])

    def rows(self) -> tuple[str, tuple[Row, ...]] | None:
        """Return how the comparisons are joined (and, or) and each of them; None where a form cannot show it."""
        if self.rest is None:
            return "and", ()
        for join in ("and", "or"):
            parts = _parts(self.rest, join)
            found = [row_of(part) for part in parts]
            if all(found):
                return join, tuple(row for row in found if row)
        return None

    def text(self) -> str:
        """Return what has to hold of a feature as CQL2 text, as JSON where text cannot say it."""
        if self.rest is None:
            return ""
        import cql2

        tree = _with_names(self.rest)
        try:
            return str(cql2.Expr(dict(parse(tree))).to_text())  # type: ignore[arg-type]  # a bool is refused below
        except (GeoetlError, cql2.ValidationError, ValueError, TypeError):
            return json.dumps(self.rest, ensure_ascii=False)


def tree_of_text(text: str) -> Tree | None:
    """Return what CQL2 text or CQL2 JSON says; None where it says nothing.

    Raises:
        InvalidFilter: It is no CQL2, or has operators that are not supported.
    """
    return _with_system(parse(text)) if text.strip() else None


def tree_of_rows(join: str, rows: Sequence[Row], types: Mapping[str, ValueType]) -> Tree | None:
    """Return what rows say.

    Raises:
        InputError: A value is missing, or is not of the type that its attribute has.
    """
    return _joined(join, [_tree_of(row, types.get(row.attribute)) for row in rows])


def row_of(tree: Tree) -> Row | None:
    """Return a comparison as a row; None where it is more than that."""
    if not isinstance(tree, Mapping):
        return None
    op, args = str(tree.get("op")), tree.get("args")
    if op == "not" and isinstance(args, list) and len(args) == 1:
        inner = row_of(args[0]) if isinstance(args[0], Mapping) and args[0].get("op") == "isNull" else None
        return Row(inner.attribute, "isNotNull") if inner else None
    if not isinstance(args, list) or not args or not isinstance(args[0], Mapping) or set(args[0]) != {"property"}:
        return None
    attribute, values = str(args[0]["property"]), args[1:]
    if op == "isNull" and not values:
        return Row(attribute, op)
    if op == "in" and len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    elif (op == "between") != (len(values) == 2) or op not in _COMPARISONS | {"like", "between"}:
        return None
    texts = [_text_of(value) for value in values]
    if not texts or any(text is None for text in texts):
        return None
    told = _listed([text for text in texts if text is not None]) if op in ("in", "between") else str(texts[0])
    return Row(attribute, op, told)


def summary(selector: Tree | None) -> str:
    """Return a selector in a few words, for a list."""
    condition = Condition.of(selector)
    parts = []
    found = condition.rows()
    if found is None:
        parts.append(condition.text())
    elif found[1]:
        parts.append(f" {found[0]} ".join(_words(row) for row in found[1]))
    if condition.above is not None or condition.below is not None:
        parts.append(scale_text(condition.above, condition.below))
    return " · ".join(parts)


def scale_text(above: float | None, below: float | None) -> str:
    """Return scales in words: ``1:10 000 to 1:50 000``, ``from 1:50 000 on in``."""
    if above is None:
        return f"closer than 1:{grouped(below)}" if below is not None else ""
    return f"1:{grouped(above)} and farther" if below is None else f"1:{grouped(above)} to 1:{grouped(below)}"


def grouped(number: float) -> str:
    """Return a number with thin spaces between its thousands."""
    return f"{number:,.12g}".replace(",", "\u202f")


_SIGNS = {"<>": "≠", "<=": "≤", ">=": "≥", "isNull": "is missing", "isNotNull": "is there", "in": "is one of"}


def _words(row: Row) -> str:
    return f"{row.attribute} {_SIGNS.get(row.op, row.op)} {_LONG_FRACTION.sub(_rounded, row.value)}".strip()


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.6g}"


def _conjuncts(tree: Tree | None) -> list[Tree]:
    return [] if tree is None or tree is True else _parts(tree, "and")


def _parts(tree: Tree, join: str) -> list[Tree]:
    if isinstance(tree, Mapping) and tree.get("op") == join and isinstance(tree.get("args"), list):
        return list(tree["args"])
    return [tree]


def _joined(join: str, parts: Sequence[Tree]) -> Tree | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {"op": join, "args": list(parts)}


def _scale(tree: Tree) -> tuple[str, float] | None:
    """Return operator and denominator of a comparison with the scale."""
    if not isinstance(tree, Mapping) or tree.get("op") not in _TURNED:
        return None
    op, args = str(tree["op"]), tree.get("args")
    if not isinstance(args, list) or len(args) != 2:
        return None
    left, right = args
    if isinstance(right, Mapping):
        left, right, op = right, left, _TURNED[op]
    named = isinstance(left, Mapping) and left.get("sysId") in _SCALE_NAMES
    return (op, float(right)) if named and isinstance(right, int | float) and not isinstance(right, bool) else None


def _is_of_layer(tree: Tree) -> bool:
    """Tell whether a test looks at nothing but the layer."""
    names = list(_names(tree))
    return bool(names) and all(name.startswith(_LAYER) for name in names)


def _names(tree: Any) -> list[str]:
    if isinstance(tree, Mapping):
        own = [str(tree[name]) for name in ("property", "sysId") if name in tree]
        return own + [name for part in tree.values() for name in _names(part)]
    return [name for part in tree for name in _names(part)] if isinstance(tree, list) else []


def _with_names(tree: Any) -> Any:
    """Return a tree in which system identifiers are properties, as the text of CQL2 has no others."""
    if isinstance(tree, Mapping):
        if set(tree) == {"sysId"}:
            return {"property": tree["sysId"]}
        return {name: _with_names(part) for name, part in tree.items()}
    return [_with_names(part) for part in tree] if isinstance(tree, list) else tree


def _with_system(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        if set(tree) == {"property"} and _SYSTEM.match(str(tree["property"])):
            return {"sysId": tree["property"]}
        return {name: _with_system(part) for name, part in tree.items()}
    if isinstance(tree, list):
        return [_with_system(part) for part in tree]
    return _plain(tree)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _text_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.15g}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        inner = value.get("date", value.get("timestamp"))
        return inner if isinstance(inner, str) else None
    return None


def _listed(texts: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(texts)
    return out.getvalue().replace(",", ", ") if not any("," in text for text in texts) else out.getvalue()


def _tree_of(row: Row, type: ValueType | None) -> Tree:
    subject = {"property": row.attribute}
    if row.op == "isNull":
        return {"op": "isNull", "args": [subject]}
    if row.op == "isNotNull":
        return {"op": "not", "args": [{"op": "isNull", "args": [subject]}]}
    if row.value == "":
        raise InputError(f"'{row.attribute}' is compared with nothing yet.", hint="Give a value.", field="condition")
    if row.op not in ("in", "between"):
        value = row.value if row.op == "like" else _value(row.value, type, row.attribute)
        return {"op": row.op, "args": [subject, value]}
    texts = [text.strip() for text in next(csv.reader([row.value], skipinitialspace=True)) if text.strip()]
    values = [_value(text, "number" if row.op == "between" and type is None else type, row.attribute) for text in texts]
    if row.op == "in":
        return {"op": "in", "args": [subject, values]}
    if len(values) != 2:
        raise InputError(
            f"'{row.value[:60]}' has {len(values)} values; between takes two.",
            hint="For example 10, 20.",
            field="condition",
        )
    return {"op": "between", "args": [subject, *values]}


def _value(text: str, type: ValueType | None, attribute: str) -> Any:
    if type == "boolean":
        if text.casefold() not in ("true", "false"):
            raise InputError(
                f"'{text[:60]}' is neither true nor false.",
                hint=f"'{attribute}' knows nothing else.",
                field="condition",
            )
        return text.casefold() == "true"
    if type == "time":
        return {"date": text} if _DAY.match(text) else {"timestamp": text}
    if type == "text":
        return text
    try:
        return _plain(float(text)) if text.strip().lower() not in ("nan", "inf", "-inf", "infinity") else text
    except ValueError:
        if type is None:
            return text
        raise InputError(
            f"'{text[:60]}' is no number.",
            hint=f"'{attribute}' has numbers, for example 1000 or 0.5.",
            field="condition",
        ) from None
