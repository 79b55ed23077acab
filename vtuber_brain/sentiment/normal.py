"""A text made harmless: one line of visible characters that no tokenizer takes for its own marks.

It never refuses anything, and what it has made it leaves alone.
"""

import re
import unicodedata

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]+"
)
_STACKABLE = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\ufe20-\ufe2f"
)
_STACK = re.compile(f"([{_STACKABLE}]{{2}})[{_STACKABLE}]+")
_TAG = re.compile(r"<[<|/]{0,8}(_*[A-Za-z][\w ./:-]{0,40}?)[|/]*>+")
_TAG_OPENING = re.compile(r"<[<|/]{0,8}(?=_*[A-Za-z|/])")
_TAG_CLOSING = re.compile(r"\|>+")
_HEADING = re.compile(r"#{2,}")
_BRACKETS = str.maketrans("[]", "()")
MAX_CHARS = 4000


def clean(text: str, max_chars: int = MAX_CHARS) -> str:
    """`text` as harmless letters on one line, at most `max_chars` of them.

    NFKC; invisible, direction and control characters removed; stacked accents kept to two; special tokens, headings
    and square brackets broken up, so that no tokenizer takes a viewer's words for its own marks.
    """
    text = _INVISIBLE.sub("", text[: 4 * max_chars])
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFC", _STACK.sub(r"\1", text))
    text = _TAG.sub(r" \1 ", text)
    text = _TAG_CLOSING.sub(" ", _TAG_OPENING.sub(" ", text))
    text = _HEADING.sub("#", text).translate(_BRACKETS)
    return " ".join(text.split())[:max_chars].rstrip()
