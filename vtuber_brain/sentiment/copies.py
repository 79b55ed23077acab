"""Texts that say little over and over: shouting, runs, the same words again, walls of emotes, pasted blocks, symbols.

Each rule looks at one cleaned text alone; the same text from many viewers is the inbox's wave.
"""

import re
from collections.abc import Sequence
from itertools import groupby

_RUN = re.compile(r"(\S)\1{14,}|(\S{2,4}?)\2{19,}")
_SYMBOL = re.compile("[^\\w\\s\u2600-\u27bf\U0001f000-\U0001fbff]")
_PICTURE = re.compile("[\u2600-\u27bf\U0001f000-\U0001fbff]")
_EMOTE = re.compile(
    r"[a-z0-9]*(?:[A-Z][a-z0-9]+){2,}[A-Z]*|[a-z]{3,}[A-Z]{1,4}|[A-Z]{4,}[Ww]|LUL|OMEGALUL|[a-z]+[A-Z]\w+"
)
MIN_RUN = 15
MIN_SHOUTED, SHOUTED_SHARE = 20, 0.8
MIN_SYMBOLS, SYMBOL_SHARE = 15, 0.6
MIN_REPEATED_WORDS = 8
MIN_EMOTES, EMOTE_SHARE = 12, 0.9
MIN_PICTURES = 25
PASTED_WORDS, PHRASE_WORDS = 24, 6


def shouts(text: str) -> bool:
    """Whether nearly all of twenty letters or more are capitals."""
    upper = sum(map(str.isupper, text))
    return upper >= MIN_SHOUTED and upper >= SHOUTED_SHARE * sum(map(str.isalpha, text))


def repeats(text: str, words: Sequence[str]) -> bool:
    """Whether a letter, a syllable, a word or a phrase goes on and on; `words` are the text's, in lower case."""
    if any(len(word) >= MIN_RUN for word in words) and _RUN.search(text):
        return True
    num_again = len(words) - len(set(words))
    if num_again < MIN_REPEATED_WORDS - 1:
        return False
    in_a_row = max(sum(1 for _ in run) for _, run in groupby(words))
    return in_a_row >= MIN_REPEATED_WORDS or len(words) >= 4 * len(set(words))


def is_pasted(words: Sequence[str]) -> bool:
    """Whether a long text says six words in a row a second time, as a pasted block does and a writer does not."""
    if len(words) < PASTED_WORDS or len(words) - len(set(words)) < PHRASE_WORDS:
        return False
    seen: dict[tuple[str, ...], int] = {}
    for place in range(len(words) - PHRASE_WORDS + 1):
        phrase = tuple(words[place : place + PHRASE_WORDS])
        if place - seen.setdefault(phrase, place) >= PHRASE_WORDS and len(set(phrase)) >= PHRASE_WORDS // 2:
            return True
    return False


def is_emotes(text: str) -> bool:
    """Whether it is a wall of emotes: twelve names written as emotes are, or 25 pictures, and hardly a word."""
    words = text.split()
    if len(words) >= MIN_EMOTES and any(map(_EMOTE.fullmatch, words[:3])):
        num_emotes = sum(_EMOTE.fullmatch(word) is not None for word in words)
        if num_emotes >= EMOTE_SHARE * len(words):
            return True
    if text.isascii():
        return False
    num_pictures = len(_PICTURE.findall(text))
    return num_pictures >= MIN_PICTURES and num_pictures >= EMOTE_SHARE * len(text.replace(" ", ""))


def is_symbols(text: str) -> bool:
    """Whether it is mostly signs that are neither letters nor pictures."""
    num_symbols = len(_SYMBOL.findall(text))
    return num_symbols >= MIN_SYMBOLS and num_symbols >= SYMBOL_SHARE * len(text.replace(" ", ""))
