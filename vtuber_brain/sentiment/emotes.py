"""What chat's emotes and kaomoji mean: a table of ours, `emotes.jsonl` beside this file, one a line.

The classifier reads an emote as the words in `means`, in training and in serving alike. It decides nothing.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MARKS = ".,!?~"


@dataclass(frozen=True, slots=True)
class Emote:
    """One emote, spelled as it is typed: a name's case counts. `valence` is -1 (bad) to 1 (good).

    With `irony` it turns round what it stands beside ("great job Kappa").
    """

    name: str
    means: str
    valence: float
    irony: bool = False


@cache
def emotes() -> Mapping[str, Emote]:
    """The table, by name in the compatibility form (NFKC) in which the rules hand a text on, without spaces."""
    lines = Path(__file__).with_name("emotes.jsonl").read_text(encoding="utf-8").splitlines()
    rows = (json.loads(line) for line in lines)
    found = (Emote(row["emote"], row["means"], row["valence"], row.get("irony", False)) for row in rows)
    return {"".join(unicodedata.normalize("NFKC", emote.name).split()): emote for emote in found}


def spell_emotes(text: str) -> str:
    """`text`, in NFKC, with every emote as what it means, a run of like ones once; kaomoji also inside a word."""
    if not text.isascii():
        text = _faces().sub(lambda face: f" {''.join(face[0].split())} ", text)
    spelled, last = [], None
    for word in text.split():
        emote, marks = _find(word)
        if emote is None:
            spelled.append(word)
        elif emote.means != last:
            spelled.append(emote.means + marks)
        last = emote and emote.means
    return " ".join(spelled)


def _find(word: str) -> tuple[Emote | None, str]:
    """The emote that `word` is, and the marks behind it."""
    if found := emotes().get(word):
        return found, ""
    bare = word.rstrip(_MARKS)
    return emotes().get(bare), word[len(bare) :]


@cache
def _faces() -> re.Pattern[str]:
    """Kaomoji that are not all ASCII, longest first; NFKC, and people, put spaces into them."""
    faces = sorted((name for name in emotes() if not name.isascii()), key=len, reverse=True)
    return re.compile("|".join(r"\s?".join(map(re.escape, face)) for face in faces))
