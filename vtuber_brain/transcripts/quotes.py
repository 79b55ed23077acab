"""Whether a text repeats what somebody wrote, or names them: where words must not come back. Pure."""

import re
from collections.abc import Iterable

MIN_WORDS, MIN_LETTERS, MIN_NAME = 3, 8, 3
_WORD = re.compile(r"\w+")


class Quoted:
    """What must not come back: messages worth telling apart (MIN_WORDS words, or MIN_LETTERS letters), and names."""

    def __init__(self, texts: Iterable[str], names: Iterable[str] = ()) -> None:
        told = {words for text in texts if (words := telling(text)) is not None}
        called = {words for name in names if (words := called_by(name)) is not None}
        self._needles = sorted(told | called)

    def __bool__(self) -> bool:
        return bool(self._needles)

    def is_in(self, text: str) -> bool:
        """Whether any of it stands in `text`, whatever the case and what stands between the words."""
        words = words_of(text)
        return any(needle in words for needle in self._needles)


def words_of(text: str) -> str:
    """The words of a text in small letters and nothing else, so that a quotation is found as such: ` like these `."""
    words = " ".join(_WORD.findall(text.casefold()))
    return f" {words} " if words else ""


def telling(text: str) -> str | None:
    """The words of a message, if to find them elsewhere means that it was quoted."""
    words = words_of(text)
    return words if words.count(" ") > MIN_WORDS or len(words.replace(" ", "")) >= MIN_LETTERS else None


def called_by(name: str) -> str | None:
    """The words of a name, if it is long enough to be looked for."""
    words = words_of(name)
    return words if len(words.strip()) >= MIN_NAME else None
