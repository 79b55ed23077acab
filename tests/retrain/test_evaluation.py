"""The evaluation, against numbers worked out by hand."""

import pytest

from vtuber_brain.retrain.classifier_data import Example
from vtuber_brain.retrain.evaluation import (
    Bin,
    Judged,
    best_threshold,
    calibration_error,
    evaluate,
    f1_per_class,
    macro_f1,
    reliability,
)

MOODS = {"negative": (1.0, 0, 0), "neutral": (0, 1.0, 0), "positive": (0, 0, 1.0)}


def judged(line, truth, shares, toxic=None, toxicity=0.0, origin="x:en", weight=1.0):
    return Judged(line, Example(f"text {line}", MOODS.get(truth), toxic, origin, None, weight), shares, toxicity)


def test_f1_by_hand():
    truth, said = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0]
    assert f1_per_class(truth, said, 3) == pytest.approx([2 / 4, 4 / 5, 0])
    assert macro_f1(truth, said, 3) == pytest.approx((0.5 + 0.8) / 3)
    assert f1_per_class([], [], 2) == [0, 0]


def test_a_class_neither_said_nor_true_does_not_count():
    assert macro_f1([0, 2], [0, 2], 3) == 1
    assert macro_f1([0, 2], [0, 1], 3) == pytest.approx(1 / 3)
    assert macro_f1([], [], 3) == 0


def test_calibration_error_by_hand():
    assert calibration_error([1.0, 1.0], [True, True]) == 0
    assert calibration_error([0.9, 0.9], [True, False]) == pytest.approx(0.4)
    assert calibration_error([0.9, 0.5], [False, True]) == pytest.approx((0.9 + 0.5) / 2)
    assert calibration_error([], []) == 0


def test_the_reliability_table_has_the_bins_that_hold_answers():
    assert reliability([0.95, 0.97, 0.5], [True, False, True]) == [
        Bin(pytest.approx(7 / 15), 1, 0.5, 1.0),
        Bin(pytest.approx(14 / 15), 2, pytest.approx(0.96), 0.5),
    ]


def test_the_best_threshold_is_that_of_the_highest_f1():
    assert best_threshold([0.9, 0.8, 0.3, 0.2], [True, True, True, False]) == (0.3, 1.0)
    assert best_threshold([0.9, 0.8, 0.7], [True, False, False]) == (0.9, 1.0)
    used, f1 = best_threshold([0.6, 0.6, 0.1], [True, False, True])
    assert (used, f1) == (0.1, pytest.approx(0.8))
    assert best_threshold([0.5], [False]) == (0.5, 0.0)


def test_the_sentiment_head_by_hand():
    found = evaluate(
        [
            judged(1, "negative", (0.8, 0.1, 0.1)),
            judged(2, "negative", (0.1, 0.7, 0.2)),
            judged(3, "neutral", (0.2, 0.6, 0.2)),
            judged(4, "positive", (0.1, 0.0, 0.9), origin="x:id"),
            judged(5, None, (1.0, 0, 0), toxic=1.0, toxicity=0.9),
        ],
        0.5,
    )
    head = found.sentiment
    assert (head.rows, head.accuracy) == (4, 0.75)
    assert head.confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert (head.labels["negative"].precision, head.labels["negative"].recall) == (1.0, 0.5)
    assert (head.labels["neutral"].precision, head.labels["neutral"].rows) == (0.5, 1)
    assert head.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert head.calibration_error == pytest.approx((0.2 + 0.7 + 0.4 + 0.1) / 4)
    assert {name: (part.rows, part.accuracy) for name, part in found.sets.items()} == {
        "x:en": (3, pytest.approx(2 / 3)),
        "x:id": (1, 1.0),
    }


def test_toxicity_is_judged_at_the_threshold_and_only_where_somebody_labelled_it():
    answers = [
        judged(1, None, (0, 1, 0), toxic=1.0, toxicity=0.9),
        judged(2, None, (0, 1, 0), toxic=1.0, toxicity=0.6),
        judged(3, None, (0, 1, 0), toxic=0.0, toxicity=0.2),
        judged(4, "positive", (0, 0, 1), toxic=0.0, toxicity=0.99, weight=0.3),
    ]
    found = evaluate(answers, 0.7)
    assert found.toxicity.rows == 3
    assert (found.toxicity.labels["toxic"].precision, found.toxicity.labels["toxic"].recall) == (1.0, 0.5)
    assert (found.threshold.used, found.threshold.best, found.threshold.best_f1) == (0.7, 0.6, 1.0)
    assert found.toxicity.calibration_error == evaluate(answers, 0.5).toxicity.calibration_error
    assert found.toxicity.calibration_error == pytest.approx((0.1 + 0.4 + 0.2) / 3)


def test_the_hardest_errors_of_both_heads_come_first_and_no_right_answer_is_among_them():
    answers = [
        judged(7, "positive", (0.5, 0.2, 0.3)),
        judged(8, "positive", (0.96, 0.02, 0.02), toxic=0.0, toxicity=0.95),
        judged(9, "neutral", (0.1, 0.8, 0.1), toxic=1.0, toxicity=0.9),
    ]
    found = evaluate(answers, 0.5)
    assert [(miss.line, miss.truth, miss.said, miss.text) for miss in found.hardest] == [
        (8, "positive", "negative", "text 8"),
        (8, "harmless", "toxic", "text 8"),
        (7, "positive", "negative", "text 7"),
    ]
    assert [miss.left for miss in found.hardest] == pytest.approx([0.02, 0.05, 0.3])
    assert len(evaluate(answers, 0.5, hardest=1).hardest) == 1


def test_a_model_without_toxicity_or_a_file_without_a_label_leaves_that_head_out():
    found = evaluate([judged(1, "neutral", (0, 1, 0), toxic=1.0, toxicity=None)], 0.5)
    assert found.sentiment.accuracy == 1
    assert (found.toxicity, found.threshold) == (None, None)
    assert evaluate([judged(1, None, (0, 1, 0), toxic=1.0)], 0.5).sentiment is None
