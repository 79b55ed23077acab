"""A list of words and phrases, and whether a text holds one of them under its usual disguises.

Matches whole words on a folded copy of the text: case, accents, look-alike letters, digits and signs in place of
letters, letters drawn out, starred out or set apart. Words that are allowed are matched as they are written, without
disguise, and what stands wholly within one of them is not found. It never changes a text and never asks a model.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.sentiment.disguises import fold, glued, readings, spelled

_ENTRY = re.compile(r"[^\W_]+(?:[ '\-][^\W_]+)*\*?")
_LONG = 4

MAX_ENTRY_CHARS = 100
Trie = dict[str, "Trie"]


class Blocklist:
    """Compiled entries: words or phrases; one that ends in `*` also matches longer words that begin so.

    `allowed` is written alike, and wins: an entry that is allowed is no entry, and a find within allowed words is none
    ("hoe" within "garden hoe").
    """

    def __init__(self, entries: Iterable[str], allowed: Iterable[str] = ()) -> None:
        kept = {fold(entry): entry for entry in allowed}
        entries = list(entries)
        trie: Trie = {}
        literal: list[str] = []
        for entry in entries:
            stem = fold(entry.rstrip("*"))
            ending = "" if entry.endswith("*") else "(?![a-z])"
            if fold(entry) in kept:
                continue
            if re.fullmatch(r"[a-z' \-]+", stem):
                node = trie
                for part in [*_parts(stem), ending]:
                    node = node.setdefault(part, {})
            else:
                literal.append(_literal(stem, ending))
        self._words = re.compile(f"(?<![a-z]){_source(trie)}") if trie else None
        phrases = [
            re.escape(fold(entry.rstrip("*")).replace(" ", ""))
            for entry in entries
            if " " in entry and fold(entry) not in kept
        ]
        self._run_on = re.compile("|".join(phrases)) if phrases else None
        self._literal = re.compile("|".join(literal)) if literal else None
        self._allowed = re.compile("|".join(map(_as_written, kept))) if kept else None

    def search(self, text: str) -> str | None:
        """The first thing found, as it stands in the folded text; None when there is nothing."""
        return self.search_folded(fold(text))

    def search_folded(self, folded: str) -> str | None:
        """As `search`, in a text that `fold` has made."""
        if self._literal and (found := self._literal.search(folded)) and not self._is_allowed(found, folded):
            return found.group()
        if self._words is None:
            return None
        return (
            self._word(folded, 1)
            or next((hit for run in spelled(folded) if (hit := self._spelled_word(run))), None)
            or (self._word(joined, _LONG) if (joined := glued(folded)) != folded else None)
        )

    def _word(self, folded: str, least: int) -> str | None:
        assert self._words is not None
        for reading in readings(folded):
            for found in self._words.finditer(reading):
                written = folded[found.start() : found.end()]
                is_word = len(written) >= least and 2 * sum(map(str.isdigit, written)) <= len(written)
                if is_word and not self._is_allowed(found, folded):
                    return written
        return None

    def _is_allowed(self, found: "re.Match[str]", folded: str) -> bool:
        if self._allowed is None:
            return False
        return any(kept.start() <= found.start() and found.end() <= kept.end() for kept in _all(self._allowed, folded))

    def _spelled_word(self, run: str) -> str | None:
        # "a f u c k" begins with a letter of its own, so a longer word may also start a little later in the run.
        if self._run_on and (found := self._run_on.search(run)):
            return found.group()
        starts = range(min(_LONG, len(run)))
        return next((hit for start in starts if (hit := self._word(run[start:], _LONG if start else 1))), None)


def load_blocklist(path: Path) -> Blocklist:
    """The entries of one file; see `load_lists`."""
    return load_lists([path], [])


def load_lists(blocked: Sequence[Path], allowed: Sequence[Path]) -> Blocklist:
    """The entries of the files: UTF-8, one word or phrase a line, `#` comments and `[section]` headings.

    Raises ConfigError with every wrong line of every file.
    """
    problems: list[Problem] = []
    entries, kept = ([entry for path in paths for entry in _read(path, problems)] for paths in (blocked, allowed))
    blocklist = Blocklist(entries, kept)
    if problems:
        raise ConfigError(problems)
    return blocklist


def _read(path: Path, problems: list[Problem]) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        fix = "Name a file of words, one a line, in sentiment or in the persona's file"
        problems.append(Problem(str(path), error.strerror or "cannot be read", fix))
        return
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), f"not UTF-8 at byte {error.start}", "Save the file as UTF-8"))
        return
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        entry = line.split("#")[0].strip()
        if not entry or (entry.startswith("[") and entry.endswith("]")):
            continue
        if problem := _wrong(entry, f"{path}:{number}", seen):
            problems.append(problem)
        else:
            yield entry
        seen.setdefault(entry.casefold(), number)


def _wrong(entry: str, where: str, seen: dict[str, int]) -> Problem | None:
    if len(entry) > MAX_ENTRY_CHARS:
        what = f"longer than {MAX_ENTRY_CHARS} characters: {entry[:20]}..."
        return Problem(where, what, "Write a word or a short phrase; one a line")
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


def _as_written(entry: str) -> str:
    words = r"[\W_]+".join(re.escape(word) for word in entry.rstrip("*").split())
    ending = "" if entry.endswith("*") else r"(?![^\W_])"
    return rf"(?<![^\W_]){words}{ending}"


def _all(pattern: "re.Pattern[str]", text: str) -> Iterator["re.Match[str]"]:
    """Every match, overlapping ones too."""
    start = 0
    while found := pattern.search(text, start):
        yield found
        start = found.start() + 1
