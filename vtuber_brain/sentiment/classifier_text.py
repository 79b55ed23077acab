"""A text as the classifier reads it, in training and in serving alike: emotes are words, names and links placeholders.

It only prepares: what a viewer may say is for the rules, and nothing here decides.
"""

import html
import re
import unicodedata
from collections.abc import Callable

from vtuber_brain.sentiment.emotes import spell_emotes

MAX_CHARS = 2000
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w@])@\w+")
_LONG_RUN = re.compile(r"(\S)\1{3,}")
_PICTURES = re.compile(r"([^\x00-\x7f])\1*")
_NO_SOUND = frozenset("\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")


def prepare(text: str) -> str:
    """`text` with `@user` for names, `http` for links, emotes as words, and letters repeated at most three times.

    HTML entities are resolved, and compatibility forms unified, as the rules do before they hand a text on.
    The placeholders are those of the TweetEval models (Barbieri et al. 2020), so that hub models read what they know.
    """
    text = unicodedata.normalize("NFKC", html.unescape(text[:MAX_CHARS]))
    text = spell_emotes(_HANDLE.sub("@user", _LINK.sub("http", text)))
    return " ".join(_LONG_RUN.sub(r"\1\1\1", text).split())


def spell_pictures(text: str, is_unknown: Callable[[str], bool]) -> str:
    """`text` with every emoji that the tokenizer does not know (`is_unknown`) as its Unicode name, once per run."""
    if text.isascii():
        return text

    def spell(match: re.Match[str]) -> str:
        char = match.group(1)
        if char in _NO_SOUND:
            return ""
        if unicodedata.category(char) != "So" or not is_unknown(char):
            return match.group(0)
        return f" {unicodedata.name(char, '').lower()} "

    return " ".join(_PICTURES.sub(spell, text).split())
