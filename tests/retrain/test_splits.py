"""Training and validation: alike in what they are about, apart in what they say."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.errors import ConfigError
from vtuber_brain.retrain.conversations import Conversation, Message
from vtuber_brain.retrain.splits import split


def row(n, topic="games", source="a.jsonl", said=None):
    said = said or f"tell me about thing{n} and part{n * 7} or case{n * 13}"
    messages = (Message("system", "You are Mori. " * 9), Message("user", said), Message("assistant", f"it is x{n}"))
    return Conversation(f"{source}:{n}", source, n, messages, {"topic": topic})


def test_every_source_and_topic_gives_its_share():
    rows = [row(n, topic, source) for source in ("a", "b") for topic, of in (("x", 200), ("y", 40)) for n in range(of)]
    rows = [row(index, one.meta["topic"], one.source) for index, one in enumerate(rows)]
    parts = split(rows, 0.15, seed=1)
    assert (len(parts.training), len(parts.validation), parts.dropped) == (408, 72, ())
    assert Counter((one.source, one.meta["topic"]) for one in parts.validation) == {
        ("a", "x"): 30,
        ("b", "x"): 30,
        ("a", "y"): 6,
        ("b", "y"): 6,
    }


@given(st.integers(2, 60), st.floats(0.05, 0.5), st.integers(0, 5))
def test_nothing_is_lost_and_neither_side_is_empty(num_rows, share, seed):
    rows = [row(n, "xyz"[n % 3]) for n in range(num_rows)]
    parts = split(rows, share, seed)
    assert sorted(one.line for side in (parts.training, parts.validation, parts.dropped) for one in side) == [
        *range(num_rows)
    ]
    assert len(parts.validation) == max(1, min(num_rows - 1, round(share * num_rows)))
    assert parts.training


def test_the_same_rows_are_held_out_in_any_order_and_others_with_another_seed():
    rows = [row(n) for n in range(100)]
    held = {one.id for one in split(rows, seed=1).validation}
    assert held == {one.id for one in split(rows[::-1], seed=1).validation}
    assert held != {one.id for one in split(rows, seed=2).validation}


def test_what_is_nearly_the_same_as_a_held_out_row_leaves_training():
    rows = [row(n) for n in range(100)]
    echoes = [row(n, said=one.messages[1].content.upper() + "!") for n, one in enumerate(rows)]
    parts = split([*rows, *echoes], 0.1)
    heard = {one.messages[1].content.rstrip("!").casefold() for one in parts.validation}
    assert not heard & {one.messages[1].content.rstrip("!").casefold() for one in parts.training}
    assert parts.dropped
    assert len(parts.training) + len(parts.validation) + len(parts.dropped) == 200


def test_a_split_that_leaves_nothing_is_refused():
    for rows, share in (([row(1)], 0.2), ([row(1), row(2)], 0.0), ([row(1), row(2)], 1.0)):
        with pytest.raises(ConfigError, match="cannot be split"):
            split(rows, share)
    with pytest.raises(ConfigError, match="nearly the same"):
        split([row(1, said="hello there my friend")] * 5, 0.2)
