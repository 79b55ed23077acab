"""The scores, against numbers worked out by hand."""

import pytest
import torch

from vtuber_brain.retrain.classifier_data import Example
from vtuber_brain.retrain.classifier_scores import score


def test_every_set_is_scored_on_the_rows_that_have_its_label():
    examples = [
        Example("a", (1.0, 0, 0), None, "x:en"),
        Example("b", (0, 0, 1.0), 0.0, "x:id", toxic_weight=0.3),
        Example("c", None, 1.0, "t:en"),
        Example("d", None, 0.0, "t:en"),
    ]
    logits = torch.tensor([[9.0, 0, 0, 9], [0, 0, 9.0, 9], [0, 0, 0, 9.0], [0, 0, 0, 9.0]])
    scores = score(logits, examples)
    assert scores.sentiment == pytest.approx({"x:en": 1, "x:id": 1})
    assert scores.num_rows == {"x:en": 1, "x:id": 1, "toxicity": 2}
    assert scores.toxicity == pytest.approx(2 / 3)
    assert scores.toxicity_macro == pytest.approx(1 / 3)
    assert scores.toxicity_error == pytest.approx(1, abs=1e-3)
