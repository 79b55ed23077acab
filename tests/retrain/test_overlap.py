"""BLEU and ROUGE give the numbers that their papers and their best-known tools give."""

import pytest

from vtuber_brain.retrain.overlap import bleu, clipped, overlap, rouge_l, rouge_n, words_in

# Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation", section 2.1.
FIRST = "It is a guide to action which ensures that the military always obeys the commands of the party"
SECOND = "It is to insure the troops forever hearing the activity guidebook that party direct"
REFERENCES = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
]


@pytest.mark.parametrize(
    ("said", "references", "order", "wanted"),
    [
        ("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"], 1, (2, 7)),
        (FIRST, REFERENCES, 1, (17, 18)),
        (FIRST, REFERENCES, 2, (10, 17)),
        (SECOND, REFERENCES, 1, (8, 14)),
        (SECOND, REFERENCES, 2, (1, 13)),
    ],
)
def test_the_modified_precisions_are_those_of_the_paper(said, references, order, wanted):
    assert clipped(words_in(said), [words_in(one) for one in references], order) == wanted


def test_corpus_bleu_is_what_sacrebleu_shows_in_its_readme():
    said = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    first = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
    second = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
    assert 100 * bleu(said, [list(pair) for pair in zip(first, second, strict=True)]) == pytest.approx(48.53, abs=0.005)


def test_rouge_prefers_what_lin_says_it_prefers():
    reference, *others = (
        words_in(text)
        for text in (
            "police killed the gunman",
            "police kill the gunman",
            "the gunman kill police",
            "the gunman police killed",
        )
    )
    assert [rouge_l(other, reference) for other in others] == [0.75, 0.5, 0.5]
    second = [rouge_n(other, reference, 2) for other in others]
    assert second[0] == second[1] == pytest.approx(1 / 3)
    assert second[2] == pytest.approx(2 / 3)


def test_rouge_is_what_the_rouge_score_package_shows_in_its_readme():
    reference = words_in("The quick brown fox jumps over the lazy dog")
    said = words_in("The quick brown dog jumps on the log.")
    assert rouge_n(said, reference, 1) == pytest.approx(0.70588, abs=1e-5)
    assert rouge_l(said, reference) == pytest.approx(0.58823, abs=1e-5)


def test_the_same_words_are_all_of_it_and_none_are_nothing():
    same = overlap(["I keep the smallest button here."] * 2, ["I keep the smallest button here."] * 2)
    assert (same.bleu, same.rouge_1, same.rouge_2, same.rouge_l) == (1, 1, 1, 1)
    none = overlap(["abc", ""], ["I keep the smallest button.", "Hello."])
    assert (none.bleu, none.rouge_1, none.rouge_2, none.rouge_l) == (0, 0, 0, 0)
    assert overlap([], []).bleu == 0


def test_a_short_reply_pays_for_its_brevity():
    assert bleu(["a b c d"], [["a b c d e f g h"]]) == pytest.approx(2.718281828 ** (1 - 8 / 4))
