"""A wave is much the same words from many viewers in a short time; nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.chat import waves
from vtuber_brain.chat.choice import words_of
from vtuber_brain.chat.waves import Waves
from vtuber_brain.messages import Author, ChatMessage

PASTA = "I came for the buttons and stayed for the umbrellas, long live the lost property office"


def note(heard, text, viewer, at_s=100.0):
    message = ChatMessage("websocket", f"{viewer}-{at_s}", Author(str(viewer), str(viewer)), text, at_s, at_s)
    return heard.note(message, words_of(text))


@pytest.fixture
def heard():
    return Waves(4, 15.0, 0.8)


def test_the_same_words_from_enough_viewers_are_a_wave(heard):
    assert [note(heard, PASTA, viewer) for viewer in range(6)] == [False, False, False, True, True, True]


def test_small_changes_do_not_hide_a_wave(heard):
    ends = ["", " KEKW", " lol", " moriHi", "!!", " yes"]
    assert any(note(heard, PASTA + end, viewer) for viewer, end in enumerate(ends))


def test_different_texts_short_ones_and_one_viewer_alone_make_no_wave(heard):
    questions = [
        "do you like rain",
        "do you like tea today",
        "who are you really",
        "where is the sea",
        "what game is it",
    ]
    assert not any(note(heard, text, viewer) for viewer, text in enumerate(questions))
    assert not any(note(heard, f"hello {name}", viewer) for viewer, name in enumerate(["ana", "budi", "cici", "dodi"]))
    assert not any(note(heard, PASTA, "one") for _ in range(20))
    assert not any(note(heard, "!!!", viewer) for viewer in range(20))


def test_what_took_longer_than_the_time_given_is_no_wave(heard):
    assert not any(note(heard, PASTA, viewer, 100.0 + 6 * viewer) for viewer in range(20))


def test_a_wave_that_goes_on_outlasts_a_flood_of_other_texts(heard, monkeypatch):
    monkeypatch.setattr(waves, "MAX_BEGUN", 50)
    for viewer in range(4):
        found = note(heard, PASTA, viewer)
        for number in range(40):
            note(heard, f"line {viewer} about matter {number} of some kind", f"{viewer}.{number}")
    assert found
    assert len(heard._begun) <= 3 * 50


@given(st.lists(st.text(max_size=60), max_size=30))
def test_any_text_can_be_heard(texts):
    heard = Waves(2, 15.0, 0.8)
    for viewer, text in enumerate(texts):
        assert note(heard, text, viewer) in (True, False)
