"""What is spoken of a sentence: no links, markup, emotes or emoji, and nothing an engine would take for an order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.voice.words import spoken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, Wren! It's 7:30.", "Hello, Wren! It's 7:30."),
        ("see https://example.org/a?b=1 now", "see now"),
        ("[my page](http://example.org) is **new**", "my page is new"),
        ("[smile] <b>hi</b> :wave: there", "hi there"),
        ("well done :) <3 ^_^", "well done"),
        ("so goooooood!!!! really???", "so goood! really?"),
        ("50% & more", "50 percent and more"),
        ("yes 😀 — no", "yes, no"),
        ("it costs $5.50", "it costs $5.50"),
        ("- a list", "a list"),
        ("😀😀", ""),
        ("...", ""),
        ("[[h@'loU]] <speak>", ""),
    ],
)
def test_english_is_spoken_as_it_is_meant(text, words):
    assert spoken(text, "en") == words


def test_signs_and_laughter_are_read_in_the_language_of_the_sentence():
    assert spoken("100% & wkwkwk", "id") == "100 persen dan haha"
    assert spoken("100% xd", "en-GB") == "100 percent"


@given(st.text(max_size=200), st.sampled_from(["en", "id", "ja"]))
def test_whatever_is_written_one_harmless_line_comes_out(text, lang):
    words = spoken(text, lang)
    assert not set(words) & set('\n\r\0<>[]{}|\\`*_~"@#')
    assert not words.startswith("-")
    assert words == words.strip()
