"""Whether a new classifier is better than the one in use: both are asked the same texts and compared answer by answer.

Pure but for reading the hard sentences that ship; it knows no tensors.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.config import shipped
from vtuber_brain.messages import Mood
from vtuber_brain.retrain.classifier_data import SENTIMENTS, Example, read_numbered
from vtuber_brain.retrain.corrections import ORIGIN
from vtuber_brain.retrain.evaluation import macro_f1

SURE = 0.05

Moods = Callable[[Sequence[str]], Sequence[Mood]]
"""A classifier: the mood of every text, in order."""
Answer = tuple[int, int, int]
"""Of one row the true label, what the one in use says and what the new one says."""


@dataclass(frozen=True, slots=True)
class Part:
    """One head on its held-out rows, or the operator's corrections: macro-F1 (0..1) of the one in use and the new one.

    `gained` rows only the new one has right, `lost` only the one in use. `p` is how often chance alone would part them
    so far or farther (McNemar's exact test, two-sided).
    """

    name: str
    rows: int
    before: float
    after: float
    gained: int
    lost: int
    p: float

    @property
    def is_better(self) -> bool:
        """Whether the new one is surely better here."""
        return self.p < SURE and self.gained > self.lost and self.after > self.before

    @property
    def is_worse(self) -> bool:
        """Whether the new one is surely worse here."""
        return self.p < SURE and self.gained < self.lost


@dataclass(frozen=True, slots=True)
class Hard:
    """A hard sentence: its kind, what is true, what the one in use says and what the new one says."""

    kind: str
    text: str
    truth: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Compared:
    """The whole comparison; the hard sentences are shown and decide nothing."""

    parts: Sequence[Part]
    hard: Sequence[Hard]

    @property
    def is_better(self) -> bool:
        """Surely better in one part at least, and in none surely worse."""
        return any(part.is_better for part in self.parts) and not any(part.is_worse for part in self.parts)


def hard_sentences(path: Path | None = None) -> list[Example]:
    """Invented sentences that are easily misread, from a labelled file (None: the one that ships)."""
    file = path or shipped("configs", "evaluation", "hard_sentences.jsonl")
    return [example for _, example in read_numbered(file)]


def compare(held: Sequence[Example], before: Moods, after: Moods, threshold: float) -> Compared:
    """Both on held-out rows and the hard sentences; texts count as toxic from `threshold` (0..1) on.

    A part of which nobody can say anything, for want of rows or of a head, is left out.
    """
    hard = hard_sentences()
    texts = [example.text for example in (*held, *hard)]
    said = list(zip(before(texts), after(texts), strict=True))
    rows = list(zip(held, said[: len(held)], strict=True))
    parts = {
        "sentiment": [_sentiment(example, *moods) for example, moods in rows],
        "toxicity": [_toxicity(example, *moods, threshold) for example, moods in rows],
        ORIGIN: [_toxicity(example, *moods, threshold) for example, moods in rows if example.origin == ORIGIN],
    }
    found = {name: [answer for answer in answers if answer is not None] for name, answers in parts.items()}
    return Compared(
        parts=[part(name, answers) for name, answers in found.items() if answers],
        hard=[_hard(example, *moods) for example, moods in zip(hard, said[len(held) :], strict=True)],
    )


def part(name: str, answers: Sequence[Answer]) -> Part:
    """Both, from their answers."""
    truth, before, after = zip(*answers, strict=True)
    gained = sum(old != true == new for true, old, new in answers)
    lost = sum(old == true != new for true, old, new in answers)
    old_score, new_score = (macro_f1(truth, said, len(SENTIMENTS)) for said in (before, after))
    return Part(name, len(answers), old_score, new_score, gained, lost, chance(gained, lost))


def chance(gained: int, lost: int) -> float:
    """How often as many fair coins fall as unevenly or more so (McNemar 1947, the exact form), 0..1."""
    tosses = gained + lost
    tail = sum(math.comb(tosses, heads) for heads in range(min(gained, lost) + 1))
    return min(1.0, tail / (1 << tosses) * 2)


def kinds(hard: Iterable[Hard]) -> dict[str, tuple[int, int, int]]:
    """By kind of hard sentence: how many there are, how many the one in use has right, and the new one."""
    counts: dict[str, tuple[int, int, int]] = {}
    for one in hard:
        num, before, after = counts.get(one.kind, (0, 0, 0))
        counts[one.kind] = num + 1, before + (one.before == one.truth), after + (one.after == one.truth)
    return counts


def _sentiment(example: Example, before: Mood, after: Mood) -> Answer | None:
    if example.sentiment_index is None:
        return None
    return example.sentiment_index, SENTIMENTS.index(before.sentiment), SENTIMENTS.index(after.sentiment)


def _toxicity(example: Example, before: Mood, after: Mood, threshold: float) -> Answer | None:
    if not example.has_toxic_label or before.toxicity is None or after.toxicity is None:
        return None
    return int(example.is_toxic or 0), int(before.toxicity >= threshold), int(after.toxicity >= threshold)


def _hard(example: Example, before: Mood, after: Mood) -> Hard:
    kind = example.origin.partition(":")[2]
    return Hard(kind, example.text, SENTIMENTS[example.sentiment_index or 0], before.sentiment, after.sentiment)
