"""CQL2 as expressions of MapLibre, which match exactly where the condition is true.

Expressions know no third truth value: what is missing is null, an order between two kinds is an error, and the property
then falls back to its default.  So every test stands behind guards on the kinds of its values, see `truth`.

What vector tiles do to values, and what it means here:

- They leave nulls out; MapLibre reads null for a property that is not there.
- Numbers become doubles.  Whole numbers from 2**53 on are not told apart any more, so a comparison with one is a loss.
- Dates and times become texts: ``2020-02-28``, ``2020-02-28T12:00:00.5`` (in UTC), with a space for the ``T`` or with
  ``Z`` or ``+01:00`` after it.  Texts of other forms are no times here, and never match.
- Lists and objects become texts of JSON.

Letters and lengths are counted by code points, as in CQL2.  The order of texts is by UTF-16, which differs from that of
code points beyond U+D7FF, so that a comparison with such a text is a loss.

Source: https://maplibre.org/maplibre-style-spec/expressions/
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from geoetl.core.letters import pattern_steps
from geoetl.core.selectors import moments
from geoetl.styles.encoders import truth
from geoetl.styles.encoders.maplibre_times import FIRST_YEAR, LAST_YEAR, TimeText
from geoetl.styles.encoders.truth import Kind, Test, is_literal, literal_kind

Expression = Any
Report = Callable[[str], None]

# Of a pattern, between two "%": MapLibre works out a variable anew each time, so that each piece doubles the work.
MAX_PIECES = 8
# Of what a division to whole numbers is made of, as its quotient is written twice.
MAX_DIVISIONS = 64
# From here on doubles do not hold every whole number.
MAX_WHOLE = 2**53
MAX_NUMBER = 1.7976931348623157e308
# The first code point that UTF-16 orders before others above it.
FIRST_UNORDERED = "\ud800"
# MapLibre finds these in every feature, as they are members of every object of JavaScript.
PROTOTYPE = frozenset(
    {"__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__", "constructor"}
    | {"hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf"}
)
_TYPES: Mapping[Kind, str] = {"number": "number", "text": "string", "boolean": "boolean"}
# The dotless i, whose capital is that of i; of all letters the only one that upper case folds too much.
_DOTLESS_I = "ı"


class Inexpressible(Exception):
    """There is no expression for it; the text says why."""


class Conditions:
    """Turns conditions into expressions; what there is no expression for is reported, and never matches.

    Args:
        kinds: Kinds of the properties, as far as they are known.
        report: Takes the reason of each loss.
    """

    def __init__(self, kinds: Mapping[str, Kind], report: Report) -> None:
        self._kinds = kinds
        self._report = report

    def matching(self, condition: Any) -> Expression | bool:
        """Return the expression that is true exactly where a condition, CQL2 JSON, is true."""
        return self.of(truth.is_true(condition))

    def of(self, test: Test) -> Expression | bool:
        """Return the expression of a test."""
        if isinstance(test, bool):
            return test
        if isinstance(test, truth.Every):
            return every([self.of(part) for part in test.parts])
        if isinstance(test, truth.Some):
            return some([self.of(part) for part in test.parts])
        try:
            return self._tested(test)
        except Inexpressible as reason:
            self._report(f"{reason} It never matches.")
            return False

    def _tested(self, test: Test) -> Expression | bool:
        match test:
            case truth.Present(value) | truth.Absent(value):
                there = every(self.there(value))
                if isinstance(test, truth.Absent) and _is_property(value) and value["property"] not in PROTOTYPE:
                    return ["==", self.value(value), None]
                return there if isinstance(test, truth.Present) else negated(there)
            case truth.Equal(left, right) | truth.Differs(left, right):
                return self._equal(left, right, same=isinstance(test, truth.Equal))
            case truth.Ordered(order, left, right):
                return self._ordered(order, left, right)
            case truth.Among(value, members) | truth.NotAmong(value, members):
                return self._among(value, members, found=isinstance(test, truth.Among))
            case truth.Like(value, pattern) | truth.Unlike(value, pattern):
                return self._like(value, pattern, matched=isinstance(test, truth.Like))
            case truth.Other(node, _):
                raise Inexpressible(f"MapLibre has no expression for {_shown(node)}.")
        raise AssertionError(test)

    # Tests

    def _equal(self, left: Any, right: Any, *, same: bool) -> Expression | bool:
        if "time" in (self.kind(left), self.kind(right)):
            return self._of_times("=" if same else "<>", left, right)
        if _is_folded(right):
            left, right = right, left
        guards = [*self.there(left), *self.there(right)]
        if self._are_apart(left, right):
            return False if same else every(guards)
        if _is_folded(left):
            return self._equal_folded(left, right, guards, same=same)
        if same and is_literal(right) and _is_property(left):
            guards = []  # what is missing equals no literal
        return every([*guards, ["==" if same else "!=", self.value(left), self.value(right)]])

    def _equal_folded(self, folded: Any, other: Any, guards: list[Expression], *, same: bool) -> Expression | bool:
        if isinstance(other, str):
            if other.casefold() != other:
                return False if same else every(guards)
            guards += self._no_dotless_i(folded, other)
            return every([*guards, ["==" if same else "!=", self.value(folded), _upper(other)]])
        if not _is_folded(other):
            raise Inexpressible("MapLibre cannot tell whether a text is in small letters.")
        guards += [*self._no_dotless_i(folded, "i"), *self._no_dotless_i(other, "i")]
        return every([*guards, ["==" if same else "!=", self.value(folded), self.value(other)]])

    def _ordered(self, order: str, left: Any, right: Any) -> Expression | bool:
        kinds = self.kind(left), self.kind(right)
        if "time" in kinds:
            return self._of_times(order, left, right)
        if self._are_apart(left, right) or "boolean" in kinds:
            return False
        kind = kinds[0] or kinds[1]
        if kind == "text":
            if not _is_property(left) or not isinstance(right, str):
                raise Inexpressible("MapLibre orders texts by UTF-16, not by letters.")
            if max(right, default="") >= FIRST_UNORDERED:
                raise Inexpressible(f"MapLibre orders texts by UTF-16, which puts {right[:40]!r} elsewhere.")
        if kind is None:
            self._report("Of two properties MapLibre compares numbers; texts are ordered by UTF-16 and never match.")
            kind = "number"
        guards = [guard for value in (left, right) for guard in self._is(value, kind)]
        return every([*guards, [order, self.value(left), self.value(right)]])

    def _among(self, value: Any, members: Sequence[Any], *, found: bool) -> Expression | bool:
        if self.kind(value) == "time":
            tests = [self._of_times("=" if found else "<>", value, member) for member in members]
            return some(tests) if found else every(tests)
        guards = self.there(value)
        if _is_folded(value):
            texts = [member for member in members if isinstance(member, str) and member.casefold() == member]
            guards += [guard for text in texts for guard in self._no_dotless_i(value, text)]
            members = [_upper(text) for text in texts]
        test: Expression | bool = False
        if members:
            test = ["in", self.value(value), ["literal", [self.value(member) for member in members]]]
        return every([*guards, test if found else negated(test)])

    def _like(self, value: Any, pattern: str, *, matched: bool) -> Expression | bool:
        if self.kind(value) == "time":
            raise Inexpressible("'like' compares texts, not times.")
        guards, is_text = self.there(value), self._is(value, "text")
        if _is_folded(value):
            letters = "".join(letter for letter, is_wildcard in pattern_steps(pattern) if not is_wildcard)
            guards += self._no_dotless_i(value, letters)
            if letters.casefold() != letters:
                return False if matched else every(guards)
        read = _upper if _is_folded(value) else str
        test = every([*is_text, _matches(self.value(value), pattern, read)])
        return every([*guards, test]) if matched else every([*guards, negated(test)])

    def _of_times(self, order: str, left: Any, right: Any) -> Expression | bool:
        if _is_property(right):
            if _is_property(left):
                self._report(
                    f"Two times are compared of the years {FIRST_YEAR} to {LAST_YEAR} only; others never match."
                )
            a, b = self._time(left, "a"), self._time(right, "b")
        else:
            # Differences keep their sign however far the times are apart.
            first, last = self._moments(right)
            a, b = self._time(left, "a", first), TimeText(0, last - first)
        tests: Mapping[str, Expression] = {
            "<": ["<", a.last, b.first],
            "<=": ["<=", a.first, b.last],
            ">": [">", a.first, b.last],
            ">=": [">=", a.last, b.first],
            # A day and a moment of it are equal.
            "=": ["all", ["<=", a.first, b.last], [">=", a.last, b.first]],
            "<>": ["any", [">", a.first, b.last], ["<", a.last, b.first]],
        }
        return every([*a.guards, *b.guards, a.around(b.around(tests[order]))])

    # Values

    def kind(self, value: Any) -> Kind | None:
        """Return the kind of a value; None where it may be several."""
        if is_literal(value):
            return literal_kind(value)
        if "property" in value:
            return self._kinds.get(value["property"])
        if "date" in value or "timestamp" in value:
            return "time"
        return "number" if value.get("op") in truth.ARITHMETIC else "text" if value.get("op") == "casei" else None

    def value(self, value: Any) -> Expression:
        """Return the expression of a value; it may be evaluated where its guards hold, see `there`.

        Raises:
            Inexpressible: There is none.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if (isinstance(value, int) and abs(value) >= MAX_WHOLE) or abs(value) > MAX_NUMBER:
                raise Inexpressible(f"MapLibre does not tell {value} from its neighbours.")
            return value
        if is_literal(value):
            return value
        if "property" in value:
            return ["get", value["property"]]
        name, arguments = value.get("op"), value.get("args", ())
        if name == "casei" and len(arguments) == 1:
            # Together they are Unicode's case folding but for one letter.
            return ["upcase", ["downcase", self.value(arguments[0])]]
        if name in truth.ARITHMETIC and len(arguments) == 2:
            a, b = (self.value(argument) for argument in arguments)
            if name != "div":
                return [name, a, b]
            if json.dumps(a).count('"/"') + json.dumps(b).count('"/"') > MAX_DIVISIONS:
                raise Inexpressible("MapLibre would take too long for so many divisions.")
            return ["-", ["/", a, b], ["%", ["/", a, b], 1]]  # the rest has the sign of what is divided
        raise Inexpressible(f"MapLibre has no expression for {_shown(value)}.")

    def there(self, value: Any, kind: Kind | None = None) -> list[Expression]:
        """Return the conditions under which a value is there, of a kind, and its expression can be evaluated.

        Raises:
            Inexpressible: There is no expression for the value.
        """
        if kind is not None:
            return self._is(value, kind)
        if is_literal(value):
            return []
        if _is_property(value):
            return [_is_simple(self.value(value))]
        name, arguments = value.get("op"), value.get("args", ())
        if name == "casei":
            return self._is(arguments[0], "text")
        result = self.value(value)
        finite = ["<=", ["abs", result], MAX_NUMBER]
        return [*(guard for argument in arguments for guard in self._is(argument, "number")), finite]

    def _is(self, value: Any, kind: Kind) -> list[Expression]:
        """Return the conditions under which a value is there and of a kind."""
        if _is_property(value):
            return [["==", ["typeof", self.value(value)], _TYPES[kind]]]
        return self.there(value) if self.kind(value) == kind else [False]

    def _are_apart(self, left: Any, right: Any) -> bool:
        """Return whether two values are of different kinds for certain, which MapLibre refuses to compare."""
        kinds = self.kind(left), self.kind(right)
        return None not in kinds and kinds[0] != kinds[1]

    def _no_dotless_i(self, folded: Any, letters: str) -> list[Expression]:
        if _DOTLESS_I in letters:
            raise Inexpressible(f"MapLibre does not tell {_DOTLESS_I!r} from 'i' without their case.")
        if "i" not in letters:
            return []
        self._report(f"Without their case MapLibre does not tell {_DOTLESS_I!r} from 'i'; texts with it never match.")
        return [["!", ["in", _DOTLESS_I, self.value(folded["args"][0])]]]

    def _time(self, value: Any, name: str, since: int | None = None) -> TimeText:
        if not _is_property(value):
            return TimeText(*self._moments(value))
        if self.kind(value) not in (None, "text", "time"):
            raise Inexpressible(f"'{value['property']}' is compared with a time and is none.")
        if self.kind(value) != "time":
            self._report(f"Texts of '{value['property']}' that are no times like 2020-01-01T00:00:00Z never match.")
        return TimeText.read(self.value(value), name, since)

    def _moments(self, value: Any) -> tuple[int, int]:
        """Return the first and last microsecond since 1970 UTC of a time that stands in the condition."""
        text = value if is_literal(value) else value.get("timestamp", value.get("date"))
        extent = moments(text) if isinstance(text, str) else None
        if extent is None or (not is_literal(value) and (len(text) == len("2020-01-01")) != ("date" in value)):
            raise Inexpressible(f"{_shown(value)} is no time.")
        return extent


# -- joining expressions -----------------------------------------------------------------------------------------------


def every(parts: Iterable[Expression | bool]) -> Expression | bool:
    """Return the expression that all of these hold, each asked once and only where those before it hold."""
    return _joined(parts, "all", decides=False)


def some(parts: Iterable[Expression | bool]) -> Expression | bool:
    """Return the expression that at least one of these holds."""
    return _joined(parts, "any", decides=True)


def negated(test: Expression | bool) -> Expression | bool:
    """Return the expression that a test does not hold."""
    if isinstance(test, bool):
        return not test
    opposite = {"==": "!=", "!=": "=="}.get(test[0])
    return [opposite, *test[1:]] if opposite else test[1] if test[0] == "!" else ["!", test]


def chosen(branches: Sequence[tuple[Expression | bool, Expression]], otherwise: Expression) -> Expression:
    """Return the expression that gives the value of the first branch whose condition holds.

    Where neighbours ask for values of one property, it is a ``match``, which looks the value up instead of asking one
    after the other.
    """
    kept: list[tuple[Expression, Expression]] = []
    for condition, value in branches:
        if condition is True:
            otherwise = value
            break
        if condition is not False:
            kept.append((condition, value))
    while kept and kept[-1][1] == otherwise:
        kept.pop()
    if otherwise is False and len(kept) == 1 and kept[0][1] is True:
        return kept[0][0]
    if otherwise is True and len(kept) == 1 and kept[0][1] is False:
        return negated(kept[0][0])
    result = otherwise
    for keys, group in groupby(reversed(kept), key=lambda branch: _looked_up(branch[0])):
        ordered = list(group)[::-1]
        if keys is None or len(ordered) == 1:
            cases = [part for branch in ordered for part in branch]
            result = ["case", *cases, *(result[1:] if _is_case(result) else [result])]
        else:
            result = ["match", ["get", keys[0]], *_arms(ordered), result]
    return result


def _arms(branches: Sequence[tuple[Expression, Expression]]) -> list[Any]:
    """Return labels and outputs, each label once, those of one output together."""
    outputs: dict[str, tuple[Expression, list[Any]]] = {}
    known: set[Any] = set()
    for condition, value in branches:
        labels = [label for label in _labels(condition) if label not in known]
        known.update(labels)
        if labels:
            outputs.setdefault(repr(value), (value, []))[1].extend(labels)
    return [part for value, labels in outputs.values() for part in (labels if len(labels) > 1 else labels[0], value)]


def _looked_up(condition: Expression) -> tuple[str, type] | None:
    """Return the property that a condition looks up and the type of the values; None where it is no such condition."""
    is_list = condition[0] == "all" and len(condition) == 3 and condition[1][0] == condition[2][0] == "in"
    if not is_list and condition[0] != "==":
        return None
    value, labels = (condition[2] if is_list else condition)[1], _labels(condition)
    kinds = {type(label) for label in labels}
    if value[0] != "get" or kinds not in ({str}, {int}) or not PROTOTYPE.isdisjoint(labels):
        return None
    return value[1], kinds.pop()


def _labels(condition: Expression) -> list[Any]:
    return condition[2][2][1] if condition[0] == "all" else [condition[2]]


def _is_case(expression: Expression) -> bool:
    return isinstance(expression, list) and expression[:1] == ["case"]


def _joined(parts: Iterable[Expression | bool], name: str, *, decides: bool) -> Expression | bool:
    kept: list[Expression] = []
    for part in parts:
        for one in part[1:] if isinstance(part, list) and part[0] == name else (part,):
            if one is decides:
                return decides
            if not isinstance(one, bool):
                kept.append(one)
    if len(kept) > 1:
        kept = list({repr(one): one for one in kept}.values())  # by their texts, as 1 and true are one to Python
    return [name, *kept] if len(kept) > 1 else kept[0] if kept else not decides


# -- patterns ----------------------------------------------------------------------------------------------------------


def _matches(text: Expression, pattern: str, read: Callable[[str], str]) -> Expression | bool:
    """Return the test whether a text matches a pattern of ``like``; `read` says how its letters stand in the text.

    Raises:
        Inexpressible: Between two ``%`` there is a ``_`` with letters on both sides, or there are too many pieces.
    """
    pieces: list[list[str | None]] = [[]]
    for letter, is_wildcard in pattern_steps(pattern):
        if is_wildcard and letter == "%":
            pieces.append([])
        else:
            pieces[-1].append(None if is_wildcard else read(letter))
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        if None not in first:
            return ["==", text, "".join(letter or "" for letter in first)]
        return every([["==", ["length", text], len(first)], *_stands(text, first, 0)])
    middle = [piece for piece in pieces[1:-1] if piece]
    least = len(first) + len(last)
    inner = ["slice", text, len(first), *([-len(last)] if last else [])] if least else text
    return every(
        [
            [">=", ["length", text], least] if least else True,
            *_stands(text, first, 0),
            *_stands(text, last, -len(last)),
            _found(inner, middle, 0),
        ]
    )


def _stands(text: Expression, piece: Sequence[str | None], start: int) -> list[Expression]:
    """Return the tests that a piece stands in a text, from a place that counts from the end where it is below 0."""
    tests, at = [], 0
    for is_open, run in groupby(piece, key=lambda letter: letter is None):
        letters = list(run)
        begin, end = start + at, start + at + len(letters)
        at += len(letters)
        if not is_open:
            ends = [begin] if end == 0 else [begin, end]
            tests.append(["==", ["slice", text, *ends], "".join(letter or "" for letter in letters)])
    return tests


def _found(text: Expression, pieces: Sequence[Sequence[str | None]], number: int) -> Expression | bool:
    """Return the test that pieces stand in a text one after the other, each as early as it may."""
    if not pieces:
        return True
    piece, *others = pieces
    before = next((place for place, letter in enumerate(piece) if letter is not None), len(piece))
    after = next((place for place, letter in enumerate(reversed(piece)) if letter is not None), 0)
    letters = piece[before : len(piece) - after]
    if None in letters:
        raise Inexpressible("MapLibre cannot look for a '_' between letters between two '%'.")
    if number >= MAX_PIECES:
        raise Inexpressible(f"MapLibre would take too long for a pattern of more than {MAX_PIECES} pieces.")
    rest, at = ["var", f"rest{number}"], ["var", f"at{number}"]
    wanted = "".join(letter or "" for letter in letters)
    skipped = ["slice", text, before] if before else text
    if not letters:
        return every([[">=", ["length", text], before], _found(skipped, others, number + 1)])
    if not others and not after:
        return ["in", wanted, skipped]
    behind = ["slice", rest, ["+", at, len(letters) + after]]
    tests = every(
        [
            [">=", at, 0],
            [">=", ["length", rest], ["+", at, len(letters) + after]] if after else True,
            _found(behind, others, number + 1),
        ]
    )
    return ["let", f"rest{number}", skipped, ["let", f"at{number}", ["index-of", wanted, rest], tests]]


def _upper(letters: str) -> str:
    """Return folded letters as ``upcase`` of ``downcase`` gives them."""
    return letters.lower().upper()


def _is_simple(value: Expression) -> Expression:
    """Return the test that a value is there, and no list and no object, which tests refuse to look at."""
    return ["in", ["typeof", value], ["literal", ["string", "number", "boolean"]]]


def _is_property(value: Any) -> bool:
    return isinstance(value, dict) and "property" in value


def _is_folded(value: Any) -> bool:
    return isinstance(value, dict) and value.get("op") == "casei"


def _shown(value: Any) -> str:
    return f"'{str(value['op'])[:60]}'" if isinstance(value, dict) and "op" in value else json.dumps(value)[:80]
