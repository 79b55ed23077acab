"""A corpus in figures, as one counts them by hand."""

import pytest

from vtuber_brain.retrain.conversations import Conversation, Message, Text
from vtuber_brain.retrain.corpus_summary import Spread, describe, spread


def count(text):
    return len(text.split())


def conversation(line, *messages, **meta):
    return Conversation(str(line), "a.jsonl", line, tuple(Message(*message) for message in messages), meta)


ROWS = [
    conversation(1, ("system", "be kind now"), ("user", "a b c"), ("assistant", "d e"), topic="x"),
    conversation(2, ("user", "f"), ("assistant", "g h", 0.0), ("user", "i"), ("assistant", "j"), topic="x"),
    conversation(3, ("assistant", "k l m n o p q r s t")),
    conversation(4, ("user", "f"), ("assistant", "G, h!", 0.0), ("user", "i"), ("assistant", "j"), topic="y"),
    conversation(5, ("user", "u v"), ("assistant", "w"), ("user", "x y z")),
    conversation(6, ("user", "u v"), ("assistant", "w"), ("user", "x y z")),
    Text("7", "b.txt", 1, "one two three"),
]


def test_what_is_counted():
    summary = describe(ROWS, count, max_tokens=10, per_message=1)
    assert (summary.num_rows, summary.num_conversations, summary.num_texts) == (7, 6, 1)
    assert summary.messages == Spread(1, 1, 3.0, 3.0, 4, 4)
    assert summary.tokens == Spread(3, 3, 9, pytest.approx(61 / 7), 11, 11)
    assert summary.num_supervised == 3 + 2 + 11 + 2 + 2 + 2 + 3
    assert summary.answer_tokens.most == 11
    assert (summary.num_cut, summary.tokens_per_epoch) == (2, 59)
    assert summary.topics == {"x": 2, "y": 1}
    assert summary.near_duplicates == pytest.approx(2 / 7)
    assert summary.warnings == {
        "missing_system": 5,
        "missing_user": 1,
        "ends_with_user": 2,
        "over_long": 2,
        "duplicate": 1,
        "near_duplicate": 2,
    }


def test_what_a_run_costs():
    seconds, money = describe(ROWS, count, per_message=1).cost(epochs=3, tokens_per_s=30, price_per_million=8)
    assert (seconds, money) == (pytest.approx(61 * 3 / 30), pytest.approx(61 * 3 * 8 / 1e6))


def test_a_clean_corpus_has_no_warnings_and_an_empty_one_no_figures():
    assert describe(ROWS[:1], count).warnings == {}
    empty = describe([], count)
    assert (empty.num_rows, empty.tokens, empty.near_duplicates) == (0, spread([]), 0.0)


def test_the_spread_of_a_hundred():
    assert spread(range(1, 101)) == Spread(1, 5, 50.5, 50.5, 95, 100)
