"""Cuts a stream of text into sentences as early as is safe, in English, Indonesian and scripts without spaces.

A pure push/flush machine, one character at a time: the same text gives the same sentences however it was chopped, and
nothing but white space is ever lost. A sentence ends when the next one begins, so that an abbreviation is told from an
end; no sentence is longer than its limit.
"""

import re

_STOPS = ".!?…。！？｡"
_WIDE = frozenset("。！？｡")
_CLOSERS = "\"'”’»)]}」』）】"
_EITHER_QUOTE = frozenset("\"'’")
_TAIL_START = re.compile("[:;=^<>~♪♫♡♥★☆☺\u2600-\u27bf\U0001f000-\U0001fbff]")
_END = re.compile(
    rf"(?P<stop>[{_STOPS}]+)(?P<close>[{re.escape(_CLOSERS)}]*)(?P<tail>(?: ?{_TAIL_START.pattern}\S*)*)(?P<gap> ?)$"
)
_WORD = re.compile(r"\w")
_LAST_WORD = re.compile(r"[\w.]*$")
_DOTTED = re.compile(r"(?:\w\.)+\w")
_NEWLINES = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")

_GO_ON = frozenset(
    (
        *("mr", "mrs", "ms", "mx", "dr", "prof", "sr", "jr", "vs", "e.g", "i.e", "approx", "dept", "gen", "capt", "mt"),
        *("jl", "jln", "bpk", "sdr", "yth", "drs", "dra", "ir", "hj", "alm", "kec", "kab", "prov", "a.n", "d.a", "s.d"),
    )
)
_GO_ON_BEFORE_DIGITS = frozenset(
    ["no", "nr", "vol", "fig", "p", "pp", "hal", "hlm", "tgl", "rp", "st", "rt", "rw", "ch"]
)
_GO_ON_IN_LOWER_CASE = frozenset(["etc", "inc", "ltd", "co", "corp", "est", "dll", "dsb", "dst", "dkk", "tsb"])

_CLAUSE = re.compile(
    r"(?<=[,;:—–])[ ]|(?<=[、，；：])|[ ](?=[-—–][ ])"
    r"|[ ](?=(?:and|but|or|because|so|while|when|which|that|although"
    r"|dan|tapi|tetapi|atau|karena|jadi|sedangkan|ketika|yang|supaya|kalau)[ ])",
    re.IGNORECASE,
)


class Sentences:
    """No sentence has more than `max_chars` characters; a longer one is cut at a clause, else at a word, else there.

    Feed it pieces in order, then flush; then it is as new.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._buffer = ""
        self._out: list[str] = []

    def feed(self, text: str) -> list[str]:
        """The sentences that `text` shows to be complete, white space made single."""
        for char in text:
            self._push(char)
        out, self._out = self._out, []
        return out

    def flush(self) -> list[str]:
        """What is left, finished or not."""
        self._emit(len(self._buffer))
        out, self._out = self._out, []
        return out

    def _push(self, char: str) -> None:
        if char in _NEWLINES and _WORD.search(self._buffer):
            self._emit(len(self._buffer))
        elif char.isspace():
            self._buffer += " " if self._buffer and self._buffer[-1] != " " else ""
        else:
            if self._ends_before(char):
                self._emit(len(self._buffer))
            self._buffer += char
            if len(self._buffer) > self._max_chars:
                self._cut()

    def _emit(self, end: int) -> None:
        sentence, self._buffer = self._buffer[:end].strip(), self._buffer[end:].lstrip()
        if sentence:
            self._out.append(sentence)

    def _cut(self) -> None:
        least, most = self._max_chars // 3, self._max_chars
        clauses = [found.start() for found in _CLAUSE.finditer(self._buffer) if least <= found.start() <= most]
        self._emit(
            clauses[-1] if clauses else self._buffer.rfind(" ", 1, most + 1) if " " in self._buffer[1:] else most
        )

    def _ends_before(self, char: str) -> bool:
        """Whether the buffer is a whole sentence, given that `char`, no white space, comes next."""
        last = self._buffer[-1:]
        if not last or last.isalnum() or (last != " " and _WIDE.isdisjoint(self._buffer)):
            return False
        end = _END.search(self._buffer)
        if end is None or not _WORD.search(self._buffer, 0, end.start()) or _belongs(char, end):
            return False
        if not end["gap"]:
            return not _WIDE.isdisjoint(end["stop"])
        if end["tail"]:
            return True
        if end["close"] or end["stop"].endswith(("..", "…")):
            return not char.islower()
        return end["stop"] != "." or not _goes_on(self._buffer[: end.start()], char)


def _belongs(char: str, end: re.Match[str]) -> bool:
    """Whether `char` is still of the sentence that `end` ends: another stop, a closing mark, an emoji, a tag."""
    if char in _STOPS or _TAIL_START.match(char):
        return True
    if char in _CLOSERS:
        return not end["gap"] or char not in _EITHER_QUOTE
    return end["close"][-1:] in {"」", "』"} and char in {"と", "っ"}


def _goes_on(before: str, char: str) -> bool:
    """Whether a full stop after `before` is part of an abbreviation, an initial or a list's number."""
    found = _LAST_WORD.search(before)
    last = found.group() if found else ""
    word = last.casefold()
    if word in _GO_ON_BEFORE_DIGITS:
        return char.isdigit()
    if word in _GO_ON_IN_LOWER_CASE or (word not in _GO_ON and _DOTTED.fullmatch(word)):
        return char.islower()
    is_initial = len(last) == 1 and last.isupper() and last != "I"
    return word in _GO_ON or is_initial or (last.isdigit() and last == before)
