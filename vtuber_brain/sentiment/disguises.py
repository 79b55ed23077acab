"""A text as a reader sees through its disguises: case, accents, look-alikes, digits for letters, letters set apart.

`fold` and the readings keep every place of the folded text, so that what is found can be shown. Decides nothing.
"""

import re
import string
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from vtuber_brain.sentiment.lookalikes import CAPITALS, LETTERS

_ASCII = "abcdefghijklmnopqrstuvwxyz"
_BADGES = {chr(first + i): letter for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6) for i, letter in enumerate(_ASCII)}
_SIGNS = {**dict(zip("013456789@$!|+€¡", "oieasgtbgasiitei", strict=True)), **_BADGES}
_AS_LETTERS = str.maketrans(_SIGNS)
_AS_LETTERS_L = str.maketrans({**_SIGNS, "1": "l", "|": "l", "!": "l"})
_AS_GAPS = str.maketrans(dict.fromkeys([*_SIGNS, "2"], " "))
_BETWEEN = str.maketrans(dict.fromkeys(string.punctuation.replace("_", "") + "“”‘’…—–", " "))
_STRAY = re.compile(r"[!|+](?![a-z])")
_ANY_SIGN = "013456789@$!|+€¡\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189\U0001f1e6-\U0001f1ff"
_SIGN = re.compile(f"[{_ANY_SIGN}2]")
_BEFORE_LETTER = re.compile(f"[{_ANY_SIGN}](?<![^a-z]@)(?<!^@)[a-z]")
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_PICTURE_IN_WORD = re.compile("(?<=[a-z])[\u2600-\u27bf\U0001f300-\U0001faff](?=[a-z])")
_SPELLED = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]{1,3}[^\W_](?![^\W_])){2,}")
_GLUE = re.compile(r"(?<=[a-z])[.\-_~/\\+:;\"]{1,2}(?=[a-z])")
_APART = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Lower case, without accents, look-alikes of Latin letters as those letters, a picture within a word as `*`."""
    if text.isascii():
        return text.lower()
    low = _MARKS.sub("", unicodedata.normalize("NFKD", text)).translate(CAPITALS).casefold()
    low = _MARKS.sub("", unicodedata.normalize("NFKD", low)).casefold().translate(LETTERS)
    return _PICTURE_IN_WORD.sub("*", low)


def vocabulary(words: str) -> frozenset[str]:
    """The words of a text of words, to be held against `words_of`."""
    return frozenset(words.split())


@lru_cache(maxsize=4)  # the rules of one text ask one after another
def words_of(folded: str) -> frozenset[str]:
    """The words of a folded text without the signs around and within them; `_` is a letter here."""
    return frozenset(folded.translate(_BETWEEN).split())


def readings(folded: str) -> Iterator[str]:
    """The folded text with its digits and signs as gaps and as the letters they stand for; each of the same length."""
    if not _SIGN.search(folded):
        yield folded
        return
    yield folded.translate(_AS_GAPS)
    written = _STRAY.sub(" ", folded)
    if not _SIGN.search(written):
        return
    for table in (_AS_LETTERS, _AS_LETTERS_L):
        yield written.translate(table)


def as_letters(folded: str) -> Iterator[str]:
    """Those readings that take signs for letters, when a sign stands before a letter ("pl3ase"; "@name" is none)."""
    if _BEFORE_LETTER.search(folded):
        yield folded.translate(_AS_LETTERS)
        yield folded.translate(_AS_LETTERS_L)


def spelled(folded: str) -> list[str]:
    """What is written letter by letter ("w o r d", "w.o.r.d"), each run as one word."""
    return [_APART.sub("", run) for run in _SPELLED.findall(folded)]


def glued(folded: str) -> str:
    """The folded text without the signs that part the letters of a word ("wo.rd")."""
    return _GLUE.sub("", folded)
