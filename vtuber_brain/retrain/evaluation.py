"""How well a classifier did on labelled texts, from its answers alone: pure arithmetic, no model, no tensors.

Sentiment and toxicity are scored apart, each over the rows that somebody labelled for it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vtuber_brain.retrain.classifier_data import SENTIMENTS, Example, Shares

BINS = 15
HARDEST = 10
TOXICITIES = ("harmless", "toxic")


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled text, the line it stands on, and what the model said: shares that sum to 1, toxicity 0..1 or None."""

    line: int
    example: Example
    shares: Shares
    toxicity: float | None


@dataclass(frozen=True, slots=True)
class Label:
    """Of one label, all 0..1 but `rows`, which counts how often it is true."""

    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers given with a confidence from `above` on, a fifteenth wide: how sure, and how often right."""

    above: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Head:
    """One head over its rows. `confusion[truth][said]` counts, in the order of `labels`; the rest is 0..1.

    `calibration_error` is the expected one in 15 bins (Guo et al. 2017).
    """

    rows: int
    accuracy: float
    macro_f1: float
    labels: Mapping[str, Label]
    confusion: Sequence[Sequence[int]]
    calibration_error: float
    reliability: Sequence[Bin]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The toxicity from which on a text counts as toxic in `Evaluation.toxicity`, and the one with the best F1."""

    used: float
    best: float
    best_f1: float


@dataclass(frozen=True, slots=True)
class Part:
    """The sentiment of one set of the file, named by file, language and kind."""

    rows: int
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class Miss:
    """A wrong answer: its line, what is true, what was said, and the probability left for the truth.

    `text` is None where it is withheld.
    """

    line: int
    truth: str
    said: str
    left: float
    text: str | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything `vtuber-brain evaluate --classifier` says; a head is None where nothing can be said of it."""

    sentiment: Head | None
    toxicity: Head | None
    threshold: Threshold | None
    sets: Mapping[str, Part]
    hardest: Sequence[Miss]


def evaluate(answers: Sequence[Judged], threshold: float, hardest: int = HARDEST) -> Evaluation:
    """Scores of `answers`; texts count as toxic from `threshold` (0..1) on, and at most `hardest` misses are named."""
    said = [one for one in answers if one.example.sentiment is not None]
    toxic = [one for one in answers if one.toxicity is not None and one.example.has_toxic_label]
    sets: dict[str, list[Judged]] = defaultdict(list)
    for one in said:
        sets[one.example.origin].append(one)
    misses = [miss for one in said if (miss := _mood_miss(one))]
    misses += [miss for one in toxic if (miss := _toxic_miss(one, threshold))]
    return Evaluation(
        sentiment=_sentiment(said) if said else None,
        toxicity=_toxicity(toxic, threshold) if toxic else None,
        threshold=_threshold(toxic, threshold) if toxic else None,
        sets={name: _part(sets[name]) for name in sorted(sets)},
        hardest=sorted(misses, key=lambda miss: (miss.left, miss.line))[:hardest],
    )


def head(truth: Sequence[int], said: Sequence[int], confidence: Sequence[float], names: Sequence[str]) -> Head:
    """The scores of one head: for each row the true label, the one said and how surely, as indices into `names`."""
    confusion = [[0] * len(names) for _ in names]
    for t, s in zip(truth, said, strict=True):
        confusion[t][s] += 1
    hits = sum(confusion[i][i] for i in range(len(names)))
    right = [t == s for t, s in zip(truth, said, strict=True)]
    return Head(
        rows=len(truth),
        accuracy=hits / max(1, len(truth)),
        macro_f1=macro_f1(truth, said, len(names)),
        labels={name: _label(confusion, i) for i, name in enumerate(names)},
        confusion=confusion,
        calibration_error=calibration_error(confidence, right),
        reliability=reliability(confidence, right),
    )


def f1_per_class(truth: Sequence[int], said: Sequence[int], num_classes: int) -> list[float]:
    """F1 of every class: 2 TP / (2 TP + FP + FN), 0 for a class neither said nor true."""
    scores = []
    for label in range(num_classes):
        hits = sum(t == s == label for t, s in zip(truth, said, strict=True))
        claims = sum(s == label for s in said) + sum(t == label for t in truth)
        scores.append(2 * hits / claims if claims else 0.0)
    return scores


def macro_f1(truth: Sequence[int], said: Sequence[int], num_classes: int) -> float:
    """The mean F1 over the classes that are said or true anywhere."""
    seen = {*truth, *said}
    scores = f1_per_class(truth, said, num_classes)
    return sum(scores[i] for i in seen) / max(1, len(seen))


def calibration_error(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal-width bins, by their size."""
    gaps = (found.rows * abs(found.confidence - found.accuracy) for found in reliability(confidence, right))
    return sum(gaps) / max(1, len(confidence))


def reliability(confidence: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """The bins that are not empty, least sure first."""
    bins: dict[int, list[int]] = defaultdict(list)
    for i, value in enumerate(confidence):
        bins[min(BINS - 1, int(value * BINS))].append(i)
    return [
        Bin(k / BINS, len(rows), sum(confidence[i] for i in rows) / len(rows), sum(right[i] for i in rows) / len(rows))
        for k, rows in sorted(bins.items())
    ]


def best_threshold(toxicity: Sequence[float], truth: Sequence[bool]) -> tuple[float, float]:
    """The threshold of the highest F1 of the toxic class, with that F1; the lowest of several."""
    ranked = sorted(zip(toxicity, truth, strict=True), reverse=True)
    best, hits = (1.0, 0.0), 0
    for flagged, (score, is_toxic) in enumerate(ranked, 1):
        hits += is_toxic
        is_last_of_score = flagged == len(ranked) or ranked[flagged][0] != score
        if is_last_of_score and (f1 := 2 * hits / (flagged + sum(truth))) >= best[1]:
            best = score, f1
    return best


def _sentiment(answers: Sequence[Judged]) -> Head:
    truth = [one.example.sentiment_index or 0 for one in answers]
    return head(truth, [_likeliest(one) for one in answers], [max(one.shares) for one in answers], SENTIMENTS)


def _toxicity(answers: Sequence[Judged], threshold: float) -> Head:
    """Confidence is that of the answer at a half, whatever the threshold: it judges the probabilities."""
    scores = [one.toxicity or 0.0 for one in answers]
    truth = [int(one.example.is_toxic or 0) for one in answers]
    found = head(truth, [int(score >= threshold) for score in scores], [], TOXICITIES)
    sure = [max(score, 1 - score) for score in scores]
    right = [(score >= 0.5) == bool(t) for score, t in zip(scores, truth, strict=True)]
    return replace(found, calibration_error=calibration_error(sure, right), reliability=reliability(sure, right))


def _threshold(answers: Sequence[Judged], used: float) -> Threshold:
    scores, truth = [one.toxicity or 0.0 for one in answers], [one.example.is_toxic or False for one in answers]
    return Threshold(used, *best_threshold(scores, truth))


def _part(answers: Sequence[Judged]) -> Part:
    truth, said = [one.example.sentiment_index or 0 for one in answers], [_likeliest(one) for one in answers]
    hits = sum(t == s for t, s in zip(truth, said, strict=True))
    return Part(len(answers), hits / len(answers), macro_f1(truth, said, len(SENTIMENTS)))


def _label(confusion: Sequence[Sequence[int]], i: int) -> Label:
    hits, claimed, true = confusion[i][i], sum(row[i] for row in confusion), sum(confusion[i])
    f1 = 2 * hits / (claimed + true) if claimed + true else 0.0
    return Label(hits / max(1, claimed), hits / max(1, true), f1, true)


def _likeliest(one: Judged) -> int:
    return one.shares.index(max(one.shares))


def _mood_miss(one: Judged) -> Miss | None:
    truth, said = one.example.sentiment_index or 0, _likeliest(one)
    if said == truth:
        return None
    return Miss(one.line, SENTIMENTS[truth], SENTIMENTS[said], one.shares[truth], one.example.text)


def _toxic_miss(one: Judged, threshold: float) -> Miss | None:
    score, truth = one.toxicity or 0.0, int(one.example.is_toxic or 0)
    said = int(score >= threshold)
    if said == truth:
        return None
    return Miss(one.line, TOXICITIES[truth], TOXICITIES[said], score if truth else 1 - score, one.example.text)
