"""What the classifier reads of a text."""

import pytest

from vtuber_brain.sentiment.classifier_text import MAX_CHARS, prepare, spell_pictures


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("hi @nightowl_7, how are you", "hi @user, how are you"),
        ("mail me@example.org", "mail me@example.org"),
        ("look https://a.b/c?d=e now", "look http now"),
        ("www.example.org", "http"),
        ("fish &amp; chips &lt;4", "fish & chips <4"),
        ("soooooooo goooood!!!!!!!!", "sooo goood!!!"),
        ("  two\n\tlines ", "two lines"),
        ("1000 points", "1000 points"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("@PogChamp PogChamp", "@user wow amazing"),
        ("gg &lt;3", "gg love hug"),
        ("that aim :/ https://a.b", "that aim annoyed http"),
        ("", ""),
    ],
)
def test_names_links_entities_and_long_runs(text, read):
    assert prepare(text) == read
    assert prepare(read) == read


def test_a_very_long_text_is_cut():
    assert len(prepare("ab" * MAX_CHARS)) == MAX_CHARS


def test_emoji_that_the_tokenizer_does_not_know_are_spelled_once_per_run():
    assert spell_pictures("gg 😂😂😂!", lambda char: True) == "gg face with tears of joy !"
    assert spell_pictures("👍🏽 ok ❤️", lambda char: True) == "thumbs up sign ok heavy black heart"


def test_what_the_tokenizer_knows_and_what_is_no_picture_stays():
    assert spell_pictures("gg 😂", lambda char: False) == "gg 😂"
    assert spell_pictures("キャラ é ..!!", lambda char: True) == "キャラ é ..!!"
