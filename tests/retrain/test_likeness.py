"""Near duplicates: found among thousands in a moment, the same ones every time, none that comparing would not find."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.retrain.likeness import likeness, near_duplicates, rows_per_band, words_of

WORDS = [f"{a}{b}" for a, b in itertools.product(("ka", "mo", "ri", "tu", "se", "bo"), ("lam", "ni", "to", "pek"))]


def by_comparing_all(texts, threshold):
    sets = [words_of(text) for text in texts]
    groups = [{place} for place in range(len(texts))]
    for one, other in itertools.combinations(range(len(texts)), 2):
        if likeness(sets[one], sets[other]) >= threshold:
            first, second = (next(group for group in groups if place in group) for place in (one, other))
            if first is not second:
                groups.remove(second)
                first |= second
    return sorted(tuple(sorted(group)) for group in groups if len(group) > 1)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_the_groups_are_those_that_comparing_each_with_each_finds(threshold):
    rng = random.Random(3)
    texts = [" ".join(rng.sample(WORDS, rng.randint(3, 9))) for _ in range(300)]
    texts += [text + " " + rng.choice(WORDS) for text in texts[:150]] + texts[:20] + ["!!!", "!!!", "", " "]
    assert near_duplicates(texts, threshold) == by_comparing_all(texts, threshold)


@given(st.lists(st.text("ab .!", max_size=12), max_size=8), st.sampled_from([0.5, 0.8]))
def test_equal_texts_are_always_in_one_group(texts, threshold):
    groups = near_duplicates(texts, threshold)
    assert [place for group in groups for place in group] == list(
        dict.fromkeys(place for group in groups for place in group)
    ), "the groups are disjoint"
    for one, other in itertools.combinations(range(len(texts)), 2):
        if texts[one] == texts[other]:
            assert any({one, other} <= set(group) for group in groups)


def test_case_marks_and_spaces_do_not_make_a_text_another():
    assert near_duplicates(["Halo, Tono! I keep keys.", "other words", "halo tono  I KEEP keys"]) == [(0, 2)]
    assert near_duplicates([]) == near_duplicates(["one"]) == []


def test_ten_thousand_rows_take_seconds_and_give_the_same_groups_again():
    rng = random.Random(5)
    words = [f"word{n}" for n in range(2_000)]
    texts = [" ".join(rng.choices(words, k=20)) for _ in range(9_000)]
    copies = [text.rsplit(" ", 1)[0] + " changed" for text in texts[:500]] + [texts[0]] * 500
    started = time.process_time()
    groups = near_duplicates(texts + copies, seed=1)
    assert time.process_time() - started < 10
    assert groups == near_duplicates(texts + copies, seed=1)
    assert len(groups) == 500
    assert len(groups[0]) == 502


def test_a_raid_of_almost_the_same_line_stays_cheap():
    texts = [f"raid raid from the night train number {n} hello everybody here we are" for n in range(5_000)]
    started = time.process_time()
    (group,) = near_duplicates(texts)
    assert len(group) == 5_000
    assert time.process_time() - started < 10


def test_bands_are_as_wide_as_recall_allows():
    assert [rows_per_band(threshold) for threshold in (0.5, 0.8, 0.9)] == [3, 6, 9]
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(["a"], 0.0)
