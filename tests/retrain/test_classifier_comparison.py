"""When a new classifier counts as better, against numbers worked out by hand."""

import pytest

from vtuber_brain.messages import Mood
from vtuber_brain.retrain.classifier_comparison import Compared, chance, compare, hard_sentences, kinds, part
from vtuber_brain.retrain.classifier_data import Example

SHARES = {"negative": 0.1, "neutral": 0.1, "positive": 0.1}


def says(sentiment, toxicity=0.1):
    """A classifier that says the same of every text."""
    return lambda texts: [Mood(sentiment, SHARES, toxicity) for _ in texts]


def row(text, sentiment=None, toxic=None, origin="x:en"):
    return Example(text, sentiment, toxic, origin, "valid")


def test_the_chance_is_that_of_fair_coins():
    assert chance(0, 0) == chance(3, 3) == 1
    assert chance(5, 0) == chance(0, 5) == pytest.approx(2 / 32)
    assert chance(8, 1) == pytest.approx(2 * 10 / 512)
    assert 0.2 < chance(1050, 1000) < 0.3
    assert chance(2000, 0) == 0


def test_a_part_counts_rows_put_right_and_rows_lost():
    answers = [(1, 0, 1)] * 8 + [(0, 0, 1)] + [(0, 0, 0)] * 3 + [(1, 0, 0)]
    found = part("toxicity", answers)
    assert (found.rows, found.gained, found.lost) == (13, 8, 1)
    assert found.before == pytest.approx((8 / 17 + 0) / 2)
    assert found.after == pytest.approx((6 / 8 + 16 / 18) / 2)
    assert found.is_better and not found.is_worse


@pytest.mark.parametrize(
    ("gained", "lost", "better", "worse"),
    [(6, 0, True, False), (5, 0, False, False), (0, 6, False, True), (0, 5, False, False), (30, 28, False, False)],
)
def test_better_and_worse_are_said_of_what_chance_hardly_does(gained, lost, better, worse):
    found = part("sentiment", [(1, 0, 1), (0, 0, 0)] * gained + [(1, 1, 0), (0, 0, 0)] * lost)
    assert (found.is_better, found.is_worse) == (better, worse)


def test_surely_worse_in_one_part_is_not_better():
    up, down = part("toxicity", [(1, 0, 1)] * 9), part("sentiment", [(1, 1, 0)] * 9)
    assert Compared([up], []).is_better
    assert not Compared([up, down], []).is_better
    assert not Compared([], []).is_better


def test_each_row_counts_where_it_has_a_label_and_decisions_once_more_alone():
    held = [
        row("a", (1.0, 0, 0)),
        row("b", None, 1.0),
        row("c", (0, 0, 1.0), 0.0),
        row("d", None, 1.0, "corrections"),
        row("e", None, 0.0, "corrections"),
    ]
    found = {one.name: one for one in compare(held, says("positive", 0.6), says("negative", 0.8), 0.7).parts}
    assert {name: one.rows for name, one in found.items()} == {"sentiment": 2, "toxicity": 4, "corrections": 2}
    assert [(one.gained, one.lost) for one in found.values()] == [(1, 1), (2, 2), (1, 1)]


def test_a_classifier_without_toxicity_is_compared_by_its_sentiments():
    held = [row("a", (1.0, 0, 0), 1.0), row("b", None, 1.0, "corrections")]
    assert [one.name for one in compare(held, says("positive", None), says("negative"), 0.7).parts] == ["sentiment"]


def test_the_hard_sentences_are_shown_by_kind_and_decide_nothing():
    found = compare([row("a", (1.0, 0, 0))], says("neutral"), says("negative"), 0.7)
    assert len(found.hard) == len(hard_sentences()) == 60
    told = kinds(found.hard)
    assert told["en:sarcasm"] == (6, 0, 6) and told["mixed:mixed"] == (12, 4, 4)
    assert sum(num for num, _, _ in told.values()) == 60
    assert not found.is_better
