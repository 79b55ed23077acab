"""Walls, runs and pasted blocks are seen in one text alone; laughter, cheers and long messages are not."""

import pytest

from vtuber_brain.sentiment.copies import is_emotes, is_pasted, repeats

SHOP = "I went to the shop to buy a lamp and the lamp was very big so "


@pytest.mark.parametrize("text", [SHOP + SHOP, SHOP + "then " + SHOP, ("one two three four five six " * 5).strip()])
def test_six_words_said_twice_in_a_long_text_are_pasted(text: str) -> None:
    assert is_pasted(text.lower().split())


@pytest.mark.parametrize(
    "text",
    [
        SHOP,
        "row row row your boat gently down the stream row row row your boat",
        "la " * 40,
        " ".join(map(str, range(80))),
    ],
)
def test_a_chorus_or_a_long_message_is_not(text: str) -> None:
    assert not is_pasted(text.lower().split())


@pytest.mark.parametrize("text", ["PogChamp " * 14, "moriHi LUL " * 8, "😂" * 40, "😂 ❤ " * 20])
def test_a_wall_of_emotes(text: str) -> None:
    assert is_emotes(text.strip())


@pytest.mark.parametrize(
    "text",
    ["PogChamp PogChamp", "😂" * 10, "I met PogChamp and LUL and KappaPride at the fair today, fun", "a b " * 20],
)
def test_a_few_emotes_or_words_between_them_are_none(text: str) -> None:
    assert not is_emotes(text.strip())


def test_a_run_is_looked_for_only_where_a_word_is_long_enough_to_hold_one() -> None:
    assert repeats("ok " + "h" * 15, ["ok", "h" * 15])
    assert not repeats("h" * 14, ["h" * 14])
