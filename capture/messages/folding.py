"""Text as it is searched: letters that people take for the same are the same.

Case, accents and points go (``É`` e, ``ü`` u, ``ß`` ss), Turkish has one i, Arabic
one alef, one yeh, one heh and no vowel signs; digits of all scripts are 0 to 9; what is not seen
and blanks in a row go.
"""

from __future__ import annotations

import unicodedata

__all__ = ["fold", "folded_variants"]

_SAME = {
    "\u0131": "i",  # Turkish, without its dot
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "æ": "ae",
    "œ": "oe",
    "\u0640": "",  # tatweel, which only stretches
    "\u0671": "\u0627",  # alef wasla: alef
    "\u0649": "\u064a",  # alef maksura: yeh
    "\u06cc": "\u064a",  # Persian yeh: yeh
    "\u0629": "\u0647",  # teh marbuta: heh
    "\u06a9": "\u0643",  # Persian kaf: kaf
}
"""Letters without a decomposition: letters with a stroke, and letters of Arabic and Persian that
look the same or are written for each other."""
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))


class _Table(dict[int, str]):
    """Maps each character to its folded form; filled as characters occur."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", chr(code)).casefold()
        # Once more: some fold to letters with marks.
        plain = unicodedata.normalize("NFKD", plain)
        self[code] = folded = "".join(map(_fold_sign, plain))
        return folded


def _fold_sign(sign: str) -> str:
    # Marks of combining class 0 are letters to read: vowels of Hindi and Thai.
    if unicodedata.combining(sign) or unicodedata.category(sign) == "Cf":
        return ""
    if sign.isdigit():
        return str(unicodedata.digit(sign))
    return _SAME.get(sign, sign)


_TABLE = _Table()


def fold(text: str) -> str:
    """The folded form of a text, for searching; see the module."""
    folded = text.lower() if text.isascii() else text.translate(_TABLE)
    return " ".join(folded.split())


def folded_variants(word: str) -> tuple[str, ...]:
    """Folded forms that may stand for a word: ``Muenchen`` also finds München."""
    plain = fold(word)
    short = plain
    for long, letter in _UMLAUTS:
        short = short.replace(long, letter)
    return (plain,) if short == plain else (plain, short)
