"""The table of emotes, and how a text reads with them."""

import pytest

from vtuber_brain.sentiment.classifier_text import prepare
from vtuber_brain.sentiment.emotes import emotes, spell_emotes
from vtuber_brain.sentiment.normal import clean


def test_the_table_knows_what_chat_uses_and_says_what_each_is_worth():
    names = sum(emote.name.isalnum() for emote in emotes().values())
    assert names >= 250
    assert len(emotes()) - names >= 80
    for emote in emotes().values():
        assert -1 <= emote.valence <= 1
        assert emote.means
        assert emote.means == emote.means.lower()
    assert {emote.name for emote in emotes().values() if emote.irony} >= {"Kappa", "Keepo", "KappaPride"}


def test_like_meanings_have_like_valence():
    worth = {}
    for emote in emotes().values():
        worth.setdefault(emote.means, []).append(emote.valence)
    assert all(max(values) - min(values) <= 0.2 for values in worth.values())


@pytest.mark.parametrize("emote", emotes().values(), ids=lambda emote: emote.name)
def test_every_emote_reads_as_what_it_means_behind_the_rules_too_and_its_meaning_as_itself(emote):
    assert prepare(emote.name) == prepare(clean(emote.name)) == prepare(emote.means) == emote.means


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("great job Kappa!", "great job just kidding sarcasm!"),
        ("LUL LUL KEKW what was that LUL", "laughing haha what was that laughing haha"),
        ("no no no", "no no no"),
        ("haiii(≧▽≦)nice", "haiii happy nice"),
        ("kappa", "kappa"),
        ("Kappacino", "Kappacino"),
        ("(╯°□°)╯︵ ┻━┻ again", "angry again"),
        ("", ""),
    ],
)
def test_emotes_are_found_whole_as_they_are_typed_and_runs_are_read_once(text, read):
    assert prepare(text) == read


def test_plain_words_stay_plain():
    text = "Aware of the danger? Surely not. I Stare at the Clap of thunder. sadly, happy, ok: fine (no)"
    assert spell_emotes(text).replace("applause well done", "Clap") == text
