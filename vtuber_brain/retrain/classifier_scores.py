"""How good a classifier's logits are: macro-F1 per set, F1 of toxicity, calibration. It judges and changes nothing."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from vtuber_brain.retrain.classifier_data import SENTIMENTS, Example
from vtuber_brain.retrain.evaluation import calibration_error, f1_per_class, macro_f1


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
    judged = [i for i, example in enumerate(examples) if example.has_toxic_label]
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
