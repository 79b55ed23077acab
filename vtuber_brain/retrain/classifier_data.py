"""The classifier's examples: labelled files read, checked, split and varied. It knows no tensors.

Read are `sentiment_*.jsonl`, `toxicity_*.jsonl` and `chat_*.jsonl`: a `text` per line and any of `score` (-4..4),
`label` (a sentiment; or hate, offensive, neither), `votes` and `toxic` (0 or 1); `split` "valid" is never trained on.
"""

import json
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtuber_brain.errors import ConfigError, Problem, RecordError
from vtuber_brain.sentiment.emotes import emotes as emote_table

SENTIMENTS = ("negative", "neutral", "positive")
ABUSE = ("hate", "offensive", "neither")
PATTERNS = ("sentiment_*.jsonl", "toxicity_*.jsonl", "chat_*.jsonl")
NEUTRAL_WITHIN = 0.6
SCORE_NOISE = 0.6
LONG = 4
POSITIVE = 2
IRONIC = (0.65, 0.25, 0.1)
_WORD = re.compile(r"\w+")

Shares = tuple[float, float, float]
Emotes = Mapping[int | None, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text. `sentiment` are shares that sum to 1, `toxic` is a share; None where nobody said."""

    text: str
    sentiment: Shares | None
    toxic: float | None
    origin: str
    split: str | None = None
    toxic_weight: float = 1.0

    @property
    def sentiment_index(self) -> int | None:
        """The likeliest sentiment, as an index into SENTIMENTS."""
        return None if self.sentiment is None else self.sentiment.index(max(self.sentiment))

    @property
    def is_toxic(self) -> bool | None:
        """Whether most said toxic."""
        return None if self.toxic is None else self.toxic > 0.5

    @property
    def has_toxic_label(self) -> bool:
        """Whether somebody labelled its toxicity, rather than it being taken for harmless."""
        return self.toxic is not None and self.toxic_weight == 1

    @property
    def is_emote(self) -> bool:
        """Whether the text is nothing but an emote; such rows also lend themselves to others."""
        return self.origin.endswith(":emote")


def read_folder(folder: Path, extra: Sequence[Path] = ()) -> list[Example]:
    """Every example in `folder` and in the files of `extra`. Raises RecordError at the first bad record."""
    files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)}) + list(extra)
    if not files:
        fix = f"Give --data a folder with files named {', '.join(PATTERNS)}"
        raise ConfigError([Problem(str(folder), "no training data", fix)])
    return [example for path in files for example in read_file(path)]


def read_file(path: Path) -> Iterator[Example]:
    """The examples of one file. Raises RecordError for a line that is not one."""
    return (example for _, example in read_numbered(path))


def read_numbered(path: Path) -> Iterator[tuple[int, Example]]:
    """As `read_file`, each example with the number of its line, from 1."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _example(path, number, _record(path, number, line))


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Training and validation: marked rows, and of unmarked files `share` of every label; no text stands in both."""
    groups: dict[tuple[str, int | None, bool | None], list[Example]] = defaultdict(list)
    marked = {example.origin for example in examples if example.split is not None}
    for example in examples:
        if example.origin not in marked:
            groups[example.origin, example.sentiment_index, example.is_toxic].append(example)
    held = [example for example in examples if example.split == "valid"]
    for key in sorted(groups, key=str):
        random.Random(f"{seed}{key}").shuffle(groups[key])  # noqa: S311 - it deals rows
        held += groups[key][: round(share * len(groups[key]))]
    seen = {_key(example.text) for example in held}
    return [example for example in examples if _key(example.text) not in seen], held


def vary(example: Example, slang: Mapping[str, Sequence[str]], emotes: Emotes, rng: random.Random) -> str:
    """The text as a hurried viewer might type it: slang for standard words, words left out, an emote that agrees."""
    words = example.text.split()
    if example.is_emote:
        return " ".join(words * rng.choice((1, 1, 2, 3)))
    if len(words) > LONG:
        words = [rng.choice(slang.get(word.lower(), [word])) if rng.random() < 0.15 else word for word in words]
        words = [word for word in words if rng.random() > 0.05] or words
    agreeing = emotes.get(example.sentiment_index, ())
    if agreeing and len(words) < 5 * LONG and rng.random() < 0.08:
        words.append(rng.choice(agreeing))
    return " ".join(words)


def emote_examples() -> list[Example]:
    """One row for every meaning of the table of emotes, by the first emote that has it; all to train on."""
    rows: dict[str, Example] = {}
    for emote in emote_table().values():
        example = Example(emote.name, shares_of_score(4 * emote.valence), 0.0, "emotes:xx:emote", "train")
        rows.setdefault(emote.means, example)
    return list(rows.values())


def ironic(examples: Sequence[Example], rng: random.Random) -> list[Example]:
    """Every fourth kind chat line with an ironic emote behind it, which mostly means the opposite."""
    kind = [e for e in examples if e.sentiment_index == POSITIVE and e.origin.startswith("chat") and not e.is_emote]
    winks = [emote.name for emote in emote_table().values() if emote.irony and emote.valence < 0]
    return [
        Example(f"{example.text} {rng.choice(winks)}", IRONIC, 0.0, "irony:xx:line", "train")
        for example in rng.sample(kind, len(kind) // 4)
    ]


def emotes_by_sentiment(examples: Sequence[Example]) -> Emotes:
    """The texts of the rows marked as emotes, by the index of what they express."""
    emotes: dict[int | None, list[str]] = defaultdict(list)
    for example in examples:
        if example.is_emote:
            emotes[example.sentiment_index].append(example.text)
    return emotes


def read_slang(path: Path) -> dict[str, list[str]]:
    """From a file of slang to standard word, the slang of every standard word that is one word."""
    if not path.exists():
        return {}
    said: dict[str, list[str]] = defaultdict(list)
    for slang, standard in json.loads(path.read_text(encoding="utf-8")).items():
        if slang.isalpha() and standard.isalpha():
            said[standard].append(slang)
    return dict(said)


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(str(path), number, "line", f"expected a JSON object ({error})") from None
    if not isinstance(record, dict):
        raise RecordError(str(path), number, "line", "expected a JSON object")
    text = record.get("text")
    if not isinstance(text, str) or not text.strip():
        raise RecordError(str(path), number, "text", "expected a text that is not empty")
    return record


def _example(path: Path, number: int, record: Mapping[str, Any]) -> Example:
    sentiment, toxic = _sentiment(path, number, record), _toxic(path, number, record)
    if sentiment is None and toxic is None:
        raise RecordError(str(path), number, "label", "expected one of label, score and toxic")
    origin = ":".join(str(part) for part in (path.stem, record.get("lang", "xx"), record.get("kind")) if part)
    example = Example(record["text"], sentiment, toxic, origin, record.get("split"))
    return _assume_harmless(example)


def _sentiment(path: Path, number: int, record: Mapping[str, Any]) -> Shares | None:
    if (score := record.get("score")) is not None:
        if not isinstance(score, int | float) or not -4 <= score <= 4:
            raise RecordError(str(path), number, "score", "expected a number from -4 to 4")
        return shares_of_score(score)
    label = record.get("label")
    if label in SENTIMENTS:
        i = SENTIMENTS.index(label)
        return float(i == 0), float(i == 1), float(i == 2)
    if label is not None and label not in ABUSE:
        raise RecordError(str(path), number, "label", f"expected one of {', '.join(SENTIMENTS + ABUSE)}")
    return None


def shares_of_score(score: float) -> Shares:
    """How many of many raters with SCORE_NOISE would say negative, neutral, positive at a mean score of -4..4."""
    below = _normal((-NEUTRAL_WITHIN - score) / SCORE_NOISE)
    above = _normal((score - NEUTRAL_WITHIN) / SCORE_NOISE)
    return below, 1 - below - above, above


def _toxic(path: Path, number: int, record: Mapping[str, Any]) -> float | None:
    if (toxic := record.get("toxic")) is not None:
        if toxic not in (0, 1):
            raise RecordError(str(path), number, "toxic", "expected 0 or 1")
        return float(toxic)
    if record.get("label") not in ABUSE:
        return None
    votes = record.get("votes")
    if votes is None:
        return float(record["label"] != "neither")
    counted = isinstance(votes, list) and len(votes) == len(ABUSE) and all(isinstance(vote, int) for vote in votes)
    if not counted or min(votes) < 0 or sum(votes) == 0:
        raise RecordError(str(path), number, "votes", f"expected a count for each of {', '.join(ABUSE)}")
    return float(sum(votes[:2]) / sum(votes))


def _assume_harmless(example: Example) -> Example:
    """A kind text is hardly toxic: weak evidence, from other domains and languages than the abusive tweets'."""
    if example.toxic is None and example.sentiment_index != 0:
        return replace(example, toxic=0.0, toxic_weight=0.3)
    return example


def _normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _key(text: str) -> str:
    return "".join(_WORD.findall(text.lower())) or text
