"""Names as people write them: found whatever their case, accents, blanks and hyphens."""

import unicodedata

# Letters that Unicode does not take apart into a base and a mark, as they are written without their stroke or ligature.
_BASE_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ə": "e"}
)


def plain_name(text: str) -> str:
    """Return a name in the one form that all its spellings share: ``São Paulo`` as ``sao_paulo``.

    Case, accents and punctuation go; letters of other scripts and the marks that they cannot do without stay.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold()).translate(_BASE_LETTERS)
    letters = [letter for letter in folded if not unicodedata.combining(letter)]
    # Separators, punctuation, symbols and control characters, by the first letter of their general category.
    spaced = [" " if unicodedata.category(letter)[0] in "ZPSC" else letter for letter in letters]
    return "_".join("".join(spaced).split())
