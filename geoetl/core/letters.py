"""Texts as filters compare them: without case, without accents, and by the patterns of CQL2."""

import re
import unicodedata
from collections.abc import Callable, Iterator


def casei(text: str) -> str:
    """Return a text without the difference of upper and lower case (Unicode case folding)."""
    return text.casefold()


def accenti(text: str) -> str:
    """Return a text without its accents."""
    letters = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(letter for letter in letters if not unicodedata.combining(letter)))


def pattern_steps(pattern: str) -> Iterator[tuple[str, bool]]:
    """Return the letters of a CQL2 pattern, each with whether it is a wildcard (``%`` or ``_``).

    ``\\`` takes the next letter as it is.
    """
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            yield next(letters, letter), False
        else:
            yield letter, letter in "%_"


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a text matches a CQL2 pattern: ``%`` any text, ``_`` any letter.

    Each piece between two ``%`` is looked for once, from where the one before it ended, so that no pattern takes longer
    than its length times that of the text.
    """
    pieces, lengths = [""], [0]
    for letter, is_wildcard in pattern_steps(pattern):
        if is_wildcard and letter == "%":
            pieces.append("")
            lengths.append(0)
        else:
            pieces[-1] += "." if is_wildcard else re.escape(letter)
            lengths[-1] += 1
    first, *others = (re.compile(piece, re.DOTALL) for piece in pieces)
    if not others:
        return lambda text: first.fullmatch(text) is not None
    *middle, last = others
    tail = lengths[-1]

    def matches(text: str) -> bool:
        found = first.match(text)
        for piece in middle:
            if found is None:
                return False
            found = piece.search(text, found.end())
        start = len(text) - tail
        return found is not None and start >= found.end() and last.fullmatch(text, start) is not None

    return matches
