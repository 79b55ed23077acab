"""A list of words and phrases, and whether a text holds one of them under its usual disguises.

Matches whole words on a folded copy of the text: case, accents, look-alike letters, digits and signs in place of
letters, letters drawn out, starred out or set apart. It never changes a text and never asks a model.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from vtuber_brain.errors import ConfigError, Problem

_ASCII = "abcdefghijklmnopqrstuvwxyz"
_LOOKALIKES = str.maketrans(
    {
        **dict(zip("авекмнорстухіјѕԁһӏԛԝгп", "abekmhopctyxijsdhlqwrn", strict=True)),
        **dict(zip("αβεηικνορτυχωγ", "abenikvoptuxwy", strict=True)),
        **dict(zip("ᴀʙᴄᴅᴇғɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)),
        **dict(zip("ıłøđɑɡɩʟ", "ilodagil", strict=True)),
    }
)
_BADGES = {chr(first + i): letter for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6) for i, letter in enumerate(_ASCII)}
_SIGNS = {**dict(zip("013456789@$!|+€¡", "oieasgtbgasiitei", strict=True)), **_BADGES}
_AS_LETTERS = str.maketrans(_SIGNS)
_AS_LETTERS_L = str.maketrans({**_SIGNS, "1": "l", "|": "l", "!": "l"})
_AS_GAPS = str.maketrans(dict.fromkeys([*_SIGNS, "2"], " "))
_STRAY = re.compile(r"[!|+](?![a-z])")
_SIGN = re.compile(f"[{re.escape(''.join(_SIGNS))}2]")
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_SPELLED = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]{1,3}[^\W_](?![^\W_])){2,}")
_GLUE = re.compile(r"(?<=[a-z])[.\-_~/\\+:;\"]{1,2}(?=[a-z])")
_APART = re.compile(r"[\W_]+")
_ENTRY = re.compile(r"[^\W_]+(?:[ '\-][^\W_]+)*\*?")
_LONG = 4

Trie = dict[str, "Trie"]


class Blocklist:
    """Compiled entries: words or phrases; one that ends in `*` also matches longer words that begin so."""

    def __init__(self, entries: Iterable[str]) -> None:
        trie: Trie = {}
        literal: list[str] = []
        for entry in entries:
            stem = fold(entry.rstrip("*"))
            ending = "" if entry.endswith("*") else "(?![a-z])"
            if re.fullmatch(r"[a-z' \-]+", stem):
                node = trie
                for part in [*_parts(stem), ending]:
                    node = node.setdefault(part, {})
            else:
                literal.append(_literal(stem, ending))
        self._words = re.compile(f"(?<![a-z]){_source(trie)}") if trie else None
        self._literal = re.compile("|".join(literal)) if literal else None

    def search(self, text: str) -> str | None:
        """The first thing found, as it stands in the folded text; None when there is nothing."""
        folded = fold(text)
        if self._literal and (found := self._literal.search(folded)):
            return found.group()
        if self._words is None:
            return None
        return (
            self._word(folded, 1)
            or next((hit for run in _spelled(folded) if (hit := self._spelled_word(run))), None)
            or (self._word(glued, _LONG) if (glued := _GLUE.sub("", folded)) != folded else None)
        )

    def _word(self, folded: str, least: int) -> str | None:
        assert self._words is not None
        for reading in _readings(folded):
            for found in self._words.finditer(reading):
                written = folded[found.start() : found.end()]
                if len(written) >= least and 2 * sum(map(str.isdigit, written)) <= len(written):
                    return written
        return None

    def _spelled_word(self, run: str) -> str | None:
        # "a f u c k" begins with a letter of its own, so a longer word may also start a little later in the run.
        starts = range(min(_LONG, len(run)))
        return next((hit for start in starts if (hit := self._word(run[start:], _LONG if start else 1))), None)


def load_blocklist(path: Path) -> Blocklist:
    """The entries of `path`: UTF-8, one word or phrase a line, `#` comments and `[section]` headings.

    Raises ConfigError with every wrong line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        fix = "Set sentiment.blocklist to a file of words, one a line"
        raise ConfigError([Problem(str(path), error.strerror or "cannot be read", fix)]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), f"not UTF-8 at byte {error.start}", "Save the file as UTF-8")]) from None
    seen: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        entry = line.split("#")[0].strip()
        if not entry or (entry.startswith("[") and entry.endswith("]")):
            continue
        if problem := _wrong(entry, f"{path}:{number}", seen):
            problems.append(problem)
        seen.setdefault(entry.casefold(), number)
    if problems:
        raise ConfigError(problems)
    return Blocklist(seen)


def fold(text: str) -> str:
    """Lower case, without accents, look-alikes of Latin letters as those letters."""
    low = text.casefold()
    if low.isascii():
        return low
    return _MARKS.sub("", unicodedata.normalize("NFKD", low)).casefold().translate(_LOOKALIKES)


def _wrong(entry: str, where: str, seen: dict[str, int]) -> Problem | None:
    if not _ENTRY.fullmatch(entry):
        return Problem(where, f"not a word or phrase: {entry}", "Write letters and single spaces; * only at the end")
    least = _LONG - 1 if entry.endswith("*") else 2
    if fold(entry).isascii() and len(entry.rstrip("*")) < least:
        return Problem(where, f"too short: {entry}", "Write two letters or more, three before a *")
    if line := seen.get(entry.casefold()):
        return Problem(where, f"stands already in line {line}: {entry}", "Remove one of the two")
    return None


def _parts(stem: str) -> Iterator[str]:
    words = [word for word in re.split(r"[ '\-]", stem) if word]
    for index, word in enumerate(words):
        if index:
            yield r"[\W_]+" if " " in stem else r"[\W_]*"
        runs = [(found.group()[0], len(found.group())) for found in re.finditer(r"(.)\1*", word)]
        for position, (letter, count) in enumerate(runs):
            inside = 0 < position < len(runs) - 1
            yield _run(letter, count, long=len(word) >= _LONG, starred=inside)


def _run(letter: str, count: int, *, long: bool, starred: bool) -> str:
    if not long:
        # Otherwise a short word would match the ordinary one that doubles its letter.
        return f"{letter}(?:{letter * 2}{letter}*)?" if count == 1 else letter * count + f"{letter}*"
    drawn_out = letter * count + f"{letter}*"
    stars = r"\*" * count
    return f"(?:{drawn_out}|{stars})" if starred else drawn_out


def _source(trie: Trie) -> str:
    if set(trie) == {""}:
        return ""
    ways = [part + _source(rest) if rest else part for part, rest in trie.items()]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _literal(stem: str, ending: str) -> str:
    # Scripts without spaces have no word borders; digits have.
    source = re.escape(stem)
    return rf"(?<![^\W_]){source}(?![^\W_])" if stem.isascii() else source + ending


def _readings(folded: str) -> Iterator[str]:
    if not _SIGN.search(folded):
        yield folded
        return
    yield folded.translate(_AS_GAPS)
    written = _STRAY.sub(" ", folded)
    for table in (_AS_LETTERS, _AS_LETTERS_L):
        yield written.translate(table)


def _spelled(folded: str) -> Iterator[str]:
    for run in _SPELLED.findall(folded):
        yield _APART.sub("", run)
