"""What a viewer says plainly of themselves is learnt; what they do not say, or should not be kept, is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.context.facts import MAX_VALUE_CHARS, extract


def told(text: str) -> list[str]:
    return [fact.text for fact in extract(text, "m1", 1.0)]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("hi, my name is Budi and I like cats!", ["is called Budi", "likes cats"]),
        ("call me Ayu :)", ["is called Ayu"]),
        ("namaku Sari, aku suka banget kopi susu", ["is called Sari", "likes kopi susu"]),
        ("panggil aja aku Bayu", ["is called Bayu"]),
        ("gue juga suka hujan sih", ["likes hujan"]),
        ("I really love old umbrellas because they creak", ["likes old umbrellas"]),
        ("my favourite Color is dark green.", ["has a favorite color: dark green"]),
        ("makanan favoritku soto ayam", ["has a favorite makanan: soto ayam"]),
        ("hobiku memancing", ["has a hobby: memancing"]),
        ("I'm from Bandung but I live in Solo", ["is from Bandung", "is from Solo"]),
        ("aku punya dua kucing di rumah", ["has dua kucing"]),
        ("I have a cat", ["has a cat"]),
        ("I like you", []),
        ("I love it when it rains", []),
        ("aku suka kamu", []),
        ("do you like cats?", []),
        ("I live in 12 Rose Street", []),
        ("aku tinggal di jalan Mawar 5", []),
        ("my name is 007", []),
        ("I have a cat-shaped feeling of doom", ["has a cat"]),
        ("hello there", []),
        ("", []),
    ],
)
def test_extracting(text: str, facts: list[str]) -> None:
    assert told(text) == facts


@given(
    st.sampled_from(["I like ", "my name is ", "aku suka ", "I live in ", "my favorite food is "]),
    st.text(max_size=120),
)
def test_a_fact_is_short_and_harmless_whatever_follows(lead: str, rest: str) -> None:
    for text in told(lead + rest):
        assert len(text) <= MAX_VALUE_CHARS + 40
        assert "\n" not in text and "<|" not in text and "[" not in text and not any(map(str.isdecimal, text))


def test_a_later_fact_on_the_same_topic_replaces_an_earlier_one() -> None:
    first, second = (next(extract(text, "m", 1.0)) for text in ("my name is Budi", "call me Bud"))
    assert first.topic == second.topic
    liking, other = (next(extract(text, "m", 1.0)) for text in ("I like tea", "I like rain"))
    assert liking.topic != other.topic
