"""How much of a text stands in another: BLEU and ROUGE as their papers define them. Pure arithmetic over words.

Both say how alike two wordings are, not which is the better reply; for a persona they are a hint beside the likelihood.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ORDER = 4
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

Tokens = Sequence[str]


@dataclass(frozen=True, slots=True)
class Overlap:
    """All 0..1. `bleu` is the corpus's (Papineni et al. 2002), the others mean F1 of the pairs (Lin 2004)."""

    bleu: float
    rouge_1: float
    rouge_2: float
    rouge_l: float


def words_in(text: str) -> list[str]:
    """The words of a text in small letters, without marks."""
    return _WORD.findall(text.casefold())


def overlap(said: Sequence[str], references: Sequence[str]) -> Overlap:
    """Of every text with its one reference; zeros for none."""
    pairs = [(words_in(one), words_in(other)) for one, other in zip(said, references, strict=True)]
    return Overlap(
        bleu(said, [[reference] for reference in references]),
        _mean([rouge_n(one, other, 1) for one, other in pairs]),
        _mean([rouge_n(one, other, 2) for one, other in pairs]),
        _mean([rouge_l(one, other) for one, other in pairs]),
    )


def bleu(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU-4, 0..1, of texts with one or more references each; case and marks count. 0 where an order has none.

    Of several references the one nearest in length counts for brevity, the shorter of two as near.
    """
    hits, tried, length, wanted = [0] * MAX_ORDER, [0] * MAX_ORDER, 0, 0
    for text, others in zip(said, references, strict=True):
        tokens, known = _TOKEN.findall(text), [_TOKEN.findall(other) for other in others]
        length += len(tokens)
        wanted += min((abs(len(other) - len(tokens)), len(other)) for other in known)[1]
        for order in range(1, MAX_ORDER + 1):
            matched, total = clipped(tokens, known, order)
            hits[order - 1] += matched
            tried[order - 1] += total
    if not all(hits):
        return 0.0
    precision = math.exp(sum(math.log(hit / total) for hit, total in zip(hits, tried, strict=True)) / MAX_ORDER)
    return precision * (1.0 if length > wanted else math.exp(1 - wanted / length))


def clipped(tokens: Tokens, references: Sequence[Tokens], order: int) -> tuple[int, int]:
    """How many n-grams there are also in a reference, each at most as often as in the one that has it most; of all."""
    said = ngrams(tokens, order)
    known = [ngrams(reference, order) for reference in references]
    matched = sum(min(count, max((other[gram] for other in known), default=0)) for gram, count in said.items())
    return matched, said.total()


def rouge_n(said: Tokens, reference: Tokens, order: int) -> float:
    """F1 of the n-grams both have."""
    one, other = ngrams(said, order), ngrams(reference, order)
    return _f1((one & other).total(), one.total(), other.total())


def rouge_l(said: Tokens, reference: Tokens) -> float:
    """F1 of the longest common subsequence."""
    return _f1(_longest_common(said, reference), len(said), len(reference))


def ngrams(tokens: Tokens, order: int) -> Counter[tuple[str, ...]]:
    """Every run of `order` tokens, with how often it stands there."""
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _longest_common(one: Tokens, other: Tokens) -> int:
    lengths = [0] * (len(other) + 1)
    for token in one:
        before = 0
        for place, candidate in enumerate(other, 1):
            above = lengths[place]
            lengths[place] = before + 1 if token == candidate else max(above, lengths[place - 1])
            before = above
    return lengths[-1]


def _f1(hits: int, said: int, wanted: int) -> float:
    return 2 * hits / (said + wanted) if said and wanted else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
