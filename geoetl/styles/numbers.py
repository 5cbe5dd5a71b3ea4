"""Numbers as people read them on a legend, and the simplest number that parts two values."""

import math
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal
from itertools import pairwise

# Rounding moves a label by at most this share of the smallest step between two numbers.
LABEL_PRECISION = 0.01
# Below and above, digits are more zeros than figures.
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-4, 1e15
# Years are told without a separator.
_FIRST_GROUPED = 10_000
# A double has no more significant decimal digits.
MAX_DIGITS = 17


def readable(values: Sequence[float]) -> list[str]:
    """Return numbers as short texts, as many decimals as their steps need; different numbers stay different."""
    numbers = [float(value) for value in values]
    distinct = sorted(set(numbers))
    if len(distinct) < 2:
        return [number_text(number) for number in numbers]
    # Halves, because the step itself may be more than a double holds.
    gap = 2 * min(b / 2 - a / 2 for a, b in pairwise(distinct)) or math.ulp(0.0)
    largest = max(abs(distinct[0]), abs(distinct[-1]))
    if _SMALLEST_PLAIN <= largest < _LARGEST_PLAIN:
        decimals = max(0, min(MAX_DIGITS, math.ceil(-math.log10(gap * LABEL_PRECISION))))
        texts = [_plain(number, decimals) for number in numbers]
    else:
        digits = max(3, min(MAX_DIGITS, math.ceil(math.log10(largest) - math.log10(gap)) + 2))
        texts = [_tidy(f"{number:.{digits}g}") for number in numbers]
    return texts if len(set(texts)) == len(distinct) else [repr(number) for number in numbers]


def number_text(value: float) -> str:
    """Return one number as a short text that loses nothing a person would miss."""
    if value == 0:
        return "0"
    if _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        decimals = max(0, 10 - math.ceil(math.log10(abs(value))))
        return _plain(float(value), decimals)
    return _tidy(f"{value:.10g}")


def simplest_between(low: float, high: float) -> float:
    """Return the number of fewest digits above `low` and not above `high`; ``low < high``, both finite."""
    if low < 0 <= high:
        return 0.0
    for digits in range(1, MAX_DIGITS):
        candidate = float(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(Decimal(high)))
        if low < candidate <= high:
            return candidate
    return high


def _plain(number: float, decimals: int) -> str:
    text = f"{number:,.{decimals}f}" if abs(number) >= _FIRST_GROUPED else f"{number:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _tidy(text: str) -> str:
    """Return 1e+20 as 1e20, 1e-07 as 1e-7."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa
