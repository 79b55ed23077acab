"""Takes cues such as `[smile]` out of a stream of text, and with them the stage directions that must not be read aloud.

A pure push/flush machine, one character at a time: the same text gives the same result however it was chopped. It
holds back no more than one unfinished direction.
"""

import re
from collections.abc import Collection

from vtuber_brain.messages import Cue

MAX_HELD = 24
MAX_ACTION = 40
_CLOSING = {"[": "]", "*": "*", "(": ")"}
_NEWLINES = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")
_CLOSES_UP = frozenset(".,!?)]…。！？、，")
_DIRECTION = re.compile(r"[a-z_ ]{1,20}", re.IGNORECASE)
_ACTION = re.compile(r"[a-z](?:[\w ,.'’-]*[\w.])?", re.IGNORECASE)
_THIRD_PERSON = re.compile(r"[a-z]{2,}[^su']s", re.IGNORECASE)
_NOT_VERBS = frozenset(["yes", "always", "this", "does", "perhaps", "sometimes", "besides", "things"])
_VERBS = frozenset(
    (
        *("blinks", "blushes", "bows", "chuckles", "claps", "clears", "coughs", "cries", "fidgets", "gasps", "giggles"),
        *(
            "grins",
            "hugs",
            "hums",
            "leans",
            "looks",
            "nods",
            "pats",
            "pauses",
            "points",
            "pokes",
            "raises",
            "scratches",
        ),
        *("shrugs", "sighs", "sniffs", "stretches", "tilts", "turns", "whispers", "winks", "yawns", "sighing"),
        *("tersenyum", "tertawa", "mengangguk", "melambai", "menghela", "berbisik", "menguap", "mengedip"),
    )
)


class Cues:
    """`names` are the cues the avatar knows. Feed it pieces in order, then flush; then it is as new."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = {name.casefold(): name for name in names}
        self._out: list[str | Cue] = []
        self._held = self._gap = self._last = ""
        self._after_direction = False

    def feed(self, piece: str) -> list[str | Cue]:
        """What `piece` completes, in order: cues, and text without directions, its white space made single."""
        for char in piece:
            self._push(char)
        out, self._out = self._out, []
        return out

    def flush(self) -> list[str | Cue]:
        """What was still held back: an unclosed bracket is text after all."""
        while self._held:
            self._release()
        out, self._out = self._out, []
        self._gap = self._last = ""
        self._after_direction = False
        return out

    def _push(self, char: str) -> None:
        if not self._held:
            if char in _CLOSING:
                self._held = char
            else:
                self._say(char)
            return
        self._held += char
        if char == _CLOSING[self._held[0]]:
            self._close()
        elif char in _NEWLINES or len(self._held) > self._limit():
            self._release()

    def _limit(self) -> int:
        return MAX_HELD if self._held[0] == "[" else MAX_ACTION

    def _release(self) -> None:
        """The opening mark is text; what follows it may still open a direction of its own."""
        held, self._held = self._held, ""
        self._say(held[0])
        for char in held[1:]:
            self._push(char)

    def _close(self) -> None:
        mark, inner = self._held[0], self._held[1:-1]
        cue = self._bracketed(inner) if mark == "[" else self._acted(inner)
        if cue is None and not self._is_direction(mark, inner):
            self._keep(mark, inner)
            return
        self._held = ""
        self._after_direction = True
        if cue is not None:
            self._out.append(Cue(cue))

    def _keep(self, mark: str, inner: str) -> None:
        if mark == "*" and inner == inner.strip():
            # Emphasis: the word is said, its asterisks are not.
            self._held = ""
            for char in inner:
                self._push(char)
        else:
            self._release()

    def _bracketed(self, inner: str) -> str | None:
        if not _DIRECTION.fullmatch(inner):
            return None
        return next((named[0] for word in inner.split() if (named := self._named(word))), None)

    def _acted(self, inner: str) -> str | None:
        words = inner.split()
        if not _ACTION.fullmatch(inner) or not (named := self._named(words[0])):
            return None
        name, is_bent = named
        return name if is_bent or len(words) == 1 else None

    def _is_direction(self, mark: str, inner: str) -> bool:
        if mark == "[":
            return _DIRECTION.fullmatch(inner) is not None
        if not _ACTION.fullmatch(inner):
            return False
        verb = inner.split()[0].casefold()
        if verb in _VERBS:
            return True
        stands_alone = mark == "*" and not (self._last.isalnum() or self._last == ",")
        return stands_alone and verb not in _NOT_VERBS and _THIRD_PERSON.fullmatch(verb) is not None

    def _named(self, word: str) -> tuple[str, bool] | None:
        """The cue that `word` names, and whether it does so in a bent form (smiles, waving)."""
        low = word.casefold()
        root = low.removesuffix("ing")
        stems = (low, low.removesuffix("s"), low.removesuffix("es"), root, root + "e")
        return next(((self._names[stem], stem != low) for stem in stems if stem in self._names), None)

    def _say(self, char: str) -> None:
        if char.isspace():
            self._gap = "\n" if char in _NEWLINES or self._gap == "\n" else " "
            return
        if self._after_direction and self._gap != "\n":
            self._gap = "" if char in _CLOSES_UP else " "
        text = self._gap + char if self._last else char
        self._gap, self._after_direction, self._last = "", False, char
        if self._out and isinstance(self._out[-1], str):
            self._out[-1] += text
        else:
            self._out.append(text)
