"""What is held out of her streams: the newest, about the share asked for, and never most of what there is."""

import pytest

from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.material import part
from vtuber_brain.retrain.rows import Example


def stream(name, count, since):
    """Replies of one stream, each with words of its own."""
    return [
        Example(
            f"{name}/{n}",
            name,
            frozenset(),
            (Message("user", f"{name}a{n} {name}b{n} {name}c{n}"), Message("assistant", f"{name}d{n} {name}e{n}")),
            at=since + n,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("counts", "held"),
    [((5, 100), 16), ((100, 100), 30), ((100, 5), 16), ((50, 10, 8), 18), ((40, 8, 4), 12), ((20,), 3), ((1, 1), 1)],
)
def test_about_the_share_is_held_out_and_it_is_the_newest(counts, held):
    own = [one for n, count in enumerate(counts) for one in stream(f"s{n}", count, 1000 * n)]
    parted = part((), own[::-1], 0.15, 7)
    assert parted.validation == tuple(own[-held:])
    assert parted.training == tuple(own[:-held])


def test_a_single_reply_is_learnt_and_nothing_held_out_but_of_a_corpus():
    from vtuber_brain.retrain.conversations import Conversation

    rows = [Conversation(str(n), "corpus.jsonl", n, (Message("user", f"u{n} v{n}"), Message("assistant", f"w{n}")), {})
            for n in range(10)]  # fmt: skip
    parted = part(rows, stream("s", 1, 0), 0.15, 7)
    assert "s/0" in {one.id for one in parted.training}
