"""What viewers wrote and are called, as harmless data inside a prompt: one line, no marks of any chat format, bounded.

The last guard before the model: plugins, transcripts and the retrain reach the prompt without passing the filter. It
changes nothing in a text that the filter has cleaned, and judges nothing.
"""

import re
import unicodedata

_MARKS = re.compile(r"<[<|/]{0,8}(?=_*[A-Za-z|/])|\|>+|#{2,}")
_UNSEEN = frozenset(["Cc", "Cf", "Cs", "Co"])
_BRACKETS = str.maketrans("[]", "()")
_NAME_MARKS = str.maketrans(dict.fromkeys(':()"', " "))


def quote(text: str, max_chars: int) -> str:
    """`text` on one line of `max_chars` at most, without control characters or the makings of a special token."""
    text = text[: 4 * max_chars]
    if not text.isprintable():
        text = "".join(char for char in text if char.isspace() or unicodedata.category(char) not in _UNSEEN)
    text = unicodedata.normalize("NFKC", text)
    text = _MARKS.sub(" ", text).translate(_BRACKETS)
    return " ".join(text.split())[:max_chars].rstrip()


def quote_name(name: str, max_chars: int = 32) -> str:
    """A display name that cannot be taken for a speaker's mark or a stage direction; `viewer` when nothing is left."""
    return " ".join(quote(name, 4 * max_chars).translate(_NAME_MARKS).split())[:max_chars].rstrip() or "viewer"
