"""Times that stand in vector tiles as texts, read by expressions of MapLibre, which know only texts and numbers.

Source of the count of days: the Gregorian calendar; years are taken to begin in March, so that a leap day is the last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geoetl.core.selectors import DAY_US

Expression = Any
# Of whole years those whose microseconds since 1970 a double holds.
FIRST_YEAR, LAST_YEAR = 1685, 2254
_MAX_US = 2**53
_NAMES = ("text", "zone", "whole", "rest", "year", "month", "day", "march")


@dataclass(frozen=True)
class TimeText:
    """The moments that a time stands for.

    Attributes:
        first: Expression of its first microsecond, since 1970 UTC or another moment.
        last: Of its last.
        guards: Hold where it can be read at all.
        around: Puts what the two need around a test; false where it is no time.
    """

    first: Expression
    last: Expression
    guards: tuple[Expression, ...] = ()
    around: Callable[[Expression], Expression] = lambda test: test

    @classmethod
    def read(cls, value: Expression, name: str, since: int | None = None) -> "TimeText":
        """Return the time that a text means: ``2020-02-28``, or with ``T12:00:00``, a fraction and a zone after it.

        The digits are read as two numbers with a 1 before them, so that a text that is not all digits reads otherwise.

        Args:
            value: Expression of the text.
            name: Begins the names of its variables.
            since: Microseconds since 1970 UTC from which it is counted, so that a double holds what is near; left out,
                it is counted from 1970, and is no time where a double does not hold it.
        """

        def var(what: str) -> Expression:
            return ["var", f"{name}_{what}"]

        def part(number: Expression, power: int, size: int) -> Expression:
            return ["%", ["floor", ["/", number, power]], size]

        def piece(*ends: int) -> Expression:
            return ["slice", text, *ends]

        text, zone, whole, rest, year, month, day, march = map(var, _NAMES)
        is_day = ["==", ["length", text], 10]
        end = ["-", ["length", text], zone]
        fraction = ["case", [">", end, 20], ["slice", text, 20, end], ""]
        clock = ["case", is_day, "000000", ["concat", piece(11, 13), piece(14, 16), piece(17, 19)]]
        ahead = ["case", ["==", zone, 6], ["concat", piece(-5, -3), piece(-2)], "0000"]
        whole_text = ["concat", "1", piece(0, 4), piece(5, 7), piece(8, 10), clock]
        rest_text = ["concat", "1", ["slice", ["concat", fraction, "000000000"], 0, 9], ahead]
        base, micro = divmod(since or 0, 1_000_000)
        at = var("at")
        hour, minute, second = part(whole, 10_000, 100), part(whole, 100, 100), ["%", whole, 100]
        zone_hour, zone_minute = part(rest, 100, 100), ["%", rest, 100]
        leap = ["all", ["==", ["%", year, 4], 0], ["any", ["!=", ["%", year, 100], 0], ["==", ["%", year, 400], 0]]]
        length = ["match", month, [4, 6, 9, 11], 30, 2, ["case", leap, 29, 28], 31]
        is_time = [
            ["==", ["to-string", whole], whole_text],
            ["==", ["to-string", rest], rest_text],
            ["==", ["concat", piece(4, 5), piece(7, 8)], "--"],
            [
                "any",
                is_day,
                ["in", ["concat", piece(10, 11), piece(13, 14), piece(16, 17)], ["literal", ["T::", " ::"]]],
            ],
            ["any", ["<=", end, 19], ["all", ["==", piece(19, 20), "."], [">=", end, 21], ["<=", end, 29]]],
            ["any", ["<", zone, 6], ["==", piece(-3, -2), ":"]],
            *([">=", least, 1] for least in (year, month, day)),
            ["<=", month, 12],
            ["<=", day, length],
            *(["<", hours, 24] for hours in (hour, zone_hour)),
            *(["<", sixtieths, 60] for sixtieths in (minute, second, zone_minute)),
        ]
        # Days from 1970-01-01 of the Gregorian calendar, with years that begin in March.
        leaps = ["-", ["+", ["floor", ["/", march, 4]], ["floor", ["/", march, 400]]], ["floor", ["/", march, 100]]]
        months = ["floor", ["/", ["+", ["*", 153, ["%", ["+", month, 9], 12]], 2], 5]]
        days = ["+", ["*", 365, march], leaps, months, day, -719_469]
        sign = ["case", ["==", piece(-6, -5), "-"], 1, -1]
        offset = ["*", sign, ["+", ["*", 3600, zone_hour], ["*", 60, zone_minute]]]
        seconds = ["+", ["*", 86_400, days], ["*", 3600, hour], ["*", 60, minute], second, offset, -base]
        has_zone = ["in", piece(-6, -5), ["literal", ["+", "-"]]]

        def around(test: Expression) -> Expression:
            # From the inside to the outside; what has no name is a test.
            for what, meaning in (
                ("span", ["case", is_day, DAY_US - 1, 0]),
                (None, [] if since is not None else [["<=", ["abs", at], _MAX_US]]),
                ("at", ["+", ["*", 1_000_000, seconds], part(rest, 10**7, 10**6), -micro]),
                ("march", ["-", year, ["case", ["<=", month, 2], 1, 0]]),
                (None, is_time),
                ("day", part(whole, 10**6, 100)),
                ("month", part(whole, 10**8, 100)),
                ("year", part(whole, 10**10, 10_000)),
                ("rest", ["to-number", rest_text, 0]),
                ("whole", ["to-number", whole_text, 0]),
                ("zone", ["case", is_day, 0, ["==", piece(-1), "Z"], 1, has_zone, 6, 0]),
                ("text", ["string", value]),
            ):
                if what:
                    test = ["let", var(what)[1], meaning, test]
                elif meaning:
                    test = ["all", *meaning, test]
            return test

        guards = (["==", ["typeof", value], "string"],)
        return cls(at, ["+", at, var("span")], guards, around)
