"""How good a classifier's logits are: macro-F1 per set, F1 of toxicity, calibration. It judges and changes nothing."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from vtuber_brain.retrain.classifier_data import SENTIMENTS, Example

BINS = 15


@dataclass(frozen=True, slots=True)
class Scores:
    """All 0..1. `sentiment` is macro-F1 per set; `toxicity` F1 of the toxic class, `toxicity_macro` of both.

    The two `_error` are expected calibration errors in 15 bins (Guo et al. 2017), over rows no temperature saw.
    """

    sentiment: Mapping[str, float]
    sentiment_error: float
    toxicity: float
    toxicity_macro: float
    toxicity_error: float
    num_rows: Mapping[str, int]


def score(logits: torch.Tensor, examples: Sequence[Example]) -> Scores:
    """Scores of logits `[examples, 4]` (three sentiments, toxicity) against the labels of `examples`."""
    shares, toxicity = logits[:, : len(SENTIMENTS)].softmax(-1), logits[:, len(SENTIMENTS)].sigmoid()
    sets: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        if example.sentiment is not None:
            sets[example.origin].append(i)
    truth = [example.sentiment_index for example in examples]
    said = shares.argmax(-1).tolist()
    judged = [i for i, example in enumerate(examples) if example.toxic is not None and example.toxic_weight == 1]
    toxic = [int(examples[i].is_toxic or 0) for i in judged]
    flagged = [int(toxicity[i] >= 0.5) for i in judged]
    unseen = [i for i in range(1, len(examples), 2) if truth[i] is not None]
    unseen_toxic = [k for k, i in enumerate(judged) if i % 2]
    f1 = f1_per_class(toxic, flagged, 2)
    return Scores(
        sentiment={
            name: macro_f1([truth[i] or 0 for i in rows], [said[i] for i in rows], len(SENTIMENTS))
            for name, rows in sorted(sets.items())
        },
        sentiment_error=calibration_error(
            [float(shares[i].max()) for i in unseen], [said[i] == truth[i] for i in unseen]
        ),
        toxicity=f1[1],
        toxicity_macro=sum(f1) / 2,
        toxicity_error=calibration_error(
            [float(max(toxicity[judged[k]], 1 - toxicity[judged[k]])) for k in unseen_toxic],
            [toxic[k] == flagged[k] for k in unseen_toxic],
        ),
        num_rows={name: len(rows) for name, rows in sorted(sets.items())} | {"toxicity": len(judged)},
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
    """The mean F1 over the classes."""
    return sum(f1_per_class(truth, said, num_classes)) / num_classes


def calibration_error(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal-width bins, by their size."""
    bins: dict[int, list[int]] = defaultdict(list)
    for i, value in enumerate(confidence):
        bins[min(BINS - 1, int(value * BINS))].append(i)
    gaps = (abs(sum(confidence[i] - right[i] for i in rows)) for rows in bins.values())
    return sum(gaps) / max(1, len(confidence))
