"""Arithmetic on bands, such as ``(b4 - b3) / (b4 + b3)``: parsed into a few known operations, and nothing else."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.bands import BandInfo
from geoetl.core.errors import InvalidParameter, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    type Number = np.float64 | NDArray[np.float64]

# Longer ones are no formula that someone means, and take the parser's time.
MAX_LENGTH = 500
# Operations, bands and numbers of one expression: each goes over every pixel, and as deep may they nest.
MAX_OPERATIONS = 100
# Beyond this a number means nothing, and no float has it.
_MAX_NUMBER = 1e300
# Results that one expression may have, separated by semicolons.
MAX_RESULTS = 16
_POSITION = re.compile(r"b([1-9]\d{0,5})", re.ASCII)


def _where(condition: "Number", yes: "Number", no: "Number") -> "Number":
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, yes, no))


def _compared(compare: Callable[..., Any]) -> Callable[["Number", "Number"], "Number"]:
    """Return a comparison that gives 1 or 0, and no data where either side has none."""
    return lambda one, other: np.where(np.isnan(one) | np.isnan(other), np.nan, compare(one, other))


def _of_all(pick: np.ufunc) -> Callable[..., "Number"]:
    def picked(first: "Number", *others: "Number") -> "Number":
        for other in others:
            first = pick(first, other)
        return first

    return picked


@dataclass(frozen=True)
class _Function:
    call: Callable[..., "Number"]
    least: int
    most: int


_FUNCTIONS: Mapping[str, _Function] = {
    "abs": _Function(np.abs, 1, 1),
    "exp": _Function(np.exp, 1, 1),
    "log": _Function(np.log, 1, 1),
    "log10": _Function(np.log10, 1, 1),
    "max": _Function(_of_all(np.maximum), 2, MAX_RESULTS),
    "min": _Function(_of_all(np.minimum), 2, MAX_RESULTS),
    "sqrt": _Function(np.sqrt, 1, 1),
    "where": _Function(_where, 3, 3),
}
_BINARY: Mapping[type[ast.operator], Callable[..., "Number"]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_UNARY: Mapping[type[ast.unaryop], Callable[..., "Number"]] = {ast.UAdd: np.positive, ast.USub: np.negative}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[..., "Number"]] = {
    ast.Lt: _compared(np.less),
    ast.LtE: _compared(np.less_equal),
    ast.Gt: _compared(np.greater),
    ast.GtE: _compared(np.greater_equal),
    ast.Eq: _compared(np.equal),
    ast.NotEq: _compared(np.not_equal),
}


@dataclass(frozen=True)
class Expression:
    """What is worked out of bands.

    Attributes:
        parts: The text of each result.
        bands: Numbers of the bands that it takes, from 1, each once.
    """

    parts: tuple[str, ...]
    bands: tuple[int, ...]
    _trees: tuple[ast.expr, ...]
    _names: Mapping[str, int]

    def evaluate(self, values: Mapping[int, "NDArray[Any]"]) -> "NDArray[np.float64]":
        """Return the results: array (result, …), NaN where a band has no data or the result is no finite number.

        Args:
            values: Of each band by its number, all of one shape, NaN = no data.
        """
        known = {band: np.asarray(array, dtype=np.float64) for band, array in values.items()}
        shape = next(iter(known.values())).shape
        results = np.empty((len(self._trees), *shape))
        with np.errstate(all="ignore"):
            for i, tree in enumerate(self._trees):
                results[i] = self._value(tree, known)
        results[~np.isfinite(results)] = np.nan
        return results

    def _value(self, node: ast.expr, values: Mapping[int, "NDArray[np.float64]"]) -> "Number":
        match node:
            case ast.Constant(value=int() | float() as number):
                return np.float64(number)
            case ast.Name(id=name):
                return values[self._names[name]]
            case ast.UnaryOp(op=sign, operand=inner):
                return _UNARY[type(sign)](self._value(inner, values))
            case ast.BinOp(left=left, op=operation, right=right):
                return _BINARY[type(operation)](self._value(left, values), self._value(right, values))
            case ast.Compare(left=left, ops=[comparison], comparators=[right]):
                return _COMPARISONS[type(comparison)](self._value(left, values), self._value(right, values))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _FUNCTIONS[name].call(*(self._value(argument, values) for argument in arguments))
        raise AssertionError("parse_expression let it through")


def parse_expression(text: str, offered: Sequence[BandInfo]) -> Expression:
    """Read an expression.

    Args:
        text: ``+ - * / **``, comparisons (1 or 0), numbers, brackets, the functions abs, exp, log, log10, max, min,
            sqrt and where(condition, yes, no), and bands by their names or as ``b1``, ``b2``…; several results are
            separated by semicolons.
        offered: The bands that there are.

    Raises:
        InvalidParameter: It is too long, malformed, names what there is not, or uses anything else.
    """
    if len(text) > MAX_LENGTH:
        raise _wrong(f"has {len(text):,} characters; the limit is {MAX_LENGTH}", "Give a shorter one.")
    parts = tuple(part.strip() for part in text.split(";"))
    if parts[-1] == "" and len(parts) > 1:
        parts = parts[:-1]
    if len(parts) > MAX_RESULTS:
        raise _wrong(f"has {len(parts)} results; the limit is {MAX_RESULTS}", "Ask in several turns.")
    names = _names_of(offered)
    reader = _Reader(names, [band.name for band in offered])
    trees = tuple(reader.read(part) for part in parts)
    return Expression(parts, tuple(dict.fromkeys(reader.found)), trees, names)


def _names_of(offered: Sequence[BandInfo]) -> dict[str, int]:
    """Return the numbers of bands by what they may be called; a name of the file's own goes before a position."""
    return {f"b{band.index}": band.index for band in offered} | {band.name: band.index for band in offered}


class _Reader:
    """Checks what was parsed, and notes the bands that are named."""

    def __init__(self, names: Mapping[str, int], shown: Sequence[str]) -> None:
        self._names = names
        self._shown = shown
        self._operations = 0
        self.found: list[int] = []

    def read(self, part: str) -> ast.expr:
        if not part:
            raise _wrong("is empty", "For example expression=(b4-b3)/(b4+b3).")
        before = len(self.found)
        try:
            tree = ast.parse(part, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise _wrong(f"'{_short(part)}' is no formula", "For example expression=(b4-b3)/(b4+b3).") from None
        self._check(tree)
        if len(self.found) == before:
            raise _wrong(f"'{_short(part)}' names no band", f"There are: {self._listed()}.")
        return tree

    def _check(self, node: ast.AST) -> None:
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            raise _wrong(f"has more than {MAX_OPERATIONS} operations", "Give a shorter one.")
        for inner in self._inner(node):
            self._check(inner)

    def _inner(self, node: ast.AST) -> Sequence[ast.expr]:
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as number) if abs(number) <= _MAX_NUMBER:
                return ()
            case ast.Name(id=name):
                self.found.append(self._band(name))
                return ()
            case ast.UnaryOp(op=sign, operand=inner) if type(sign) in _UNARY:
                return (inner,)
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
                return (left, right)
            case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in _COMPARISONS:
                return (left, right)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                function = _FUNCTIONS.get(name)
                if function is None:
                    raise _wrong(f"calls '{name}', which is no function", f"There are: {', '.join(_FUNCTIONS)}.")
                if not function.least <= len(arguments) <= function.most:
                    more = " or more" if function.most > function.least else ""
                    raise _wrong(f"gives {name} {len(arguments)} values; it takes {function.least}{more}", None)
                return arguments
        raise _wrong(
            "uses what is no arithmetic on bands",
            f"Use + - * / **, < <= > >= == !=, numbers, brackets, {', '.join(_FUNCTIONS)}, and bands.",
        )

    def _band(self, name: str) -> int:
        if name in self._names:
            return self._names[name]
        near = did_you_mean(name, self._shown)
        hint = near if near.startswith("Did") else f"There are: {self._listed()}."
        raise _wrong(f"names '{name[:40]}', and there is no such band", hint)

    def _listed(self) -> str:
        count = len(self._shown)
        positions = "b1" if count == 1 else f"b1 to b{count}"
        named = [name for name in self._shown if not _POSITION.fullmatch(name)]
        return positions + (f", or by name {', '.join(named[:12])}" if named else "")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _wrong(what: str, hint: str | None) -> InvalidParameter:
    return InvalidParameter(f"The expression {what}.", hint=hint, field="expression")
