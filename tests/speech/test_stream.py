"""A reply's stream becomes sentences, each with the cue in it or before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.messages import Cue
from vtuber_brain.speech.stream import Line, Speech

NAMES = ["smile", "wave", "think"]
PIECES = [*"[] .,!?\nab😊", "[smile]", "[wave]", "*nods*", "Hello there. ", "こんにちは。", "and so on, ", "x" * 9]
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def speak(*pieces: str, max_chars: int = 220) -> list[Line]:
    speech = Speech(NAMES, max_chars)
    return [line for piece in pieces for line in speech.feed(piece)] + speech.flush()


def shown(lines: list[Line]) -> list[tuple[str, str | None]]:
    return [(line.text, line.cue and line.cue.name) for line in lines]


@given(texts, st.integers(5, 60), st.data())
def test_how_the_text_is_chopped_changes_nothing(text: str, max_chars: int, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    assert speak(*pieces, max_chars=max_chars) == speak(text, max_chars=max_chars)


@given(texts, st.integers(5, 60))
def test_every_cue_comes_out_once_and_in_order(text: str, max_chars: int) -> None:
    names = [line.cue.name for line in speak(text, max_chars=max_chars) if line.cue]
    plain = text.replace("*nods*", "")
    places = sorted((plain.find(mark, start), mark) for mark in ("[smile]", "[wave]") for start in range(len(plain)))
    expected = [mark.strip("[]") for place, mark in dict.fromkeys(places) if place >= 0]
    assert names == expected


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[smile] Hello. [wave] Bye.", [("Hello.", "smile"), ("Bye.", "wave")]),
        ("Hello [smile] there. Bye.", [("Hello there.", "smile"), ("Bye.", None)]),
        ("Hello.[smile]Bye.", [("Hello.", None), ("Bye.", "smile")]),
        ("Hello there! [smile]", [("Hello there!", None), ("", "smile")]),
        ("Hello [smile].", [("Hello.", "smile")]),
        ("[smile] [wave] Hello. Bye.", [("Hello.", "smile"), ("", "wave"), ("Bye.", None)]),
        ("[smile]", [("", "smile")]),
        ("Hi! [smile] 😊 Bye.", [("Hi! 😊", "smile"), ("Bye.", None)]),
        ("*waves* こんにちは。[think]元気？", [("こんにちは。", "wave"), ("元気？", "think")]),
        ("", []),
    ],
)
def test_which_line_a_cue_belongs_to(text: str, lines: list[tuple[str, str | None]]) -> None:
    assert shown(speak(text)) == lines


def test_a_cue_goes_with_the_part_of_a_cut_sentence_it_stands_in() -> None:
    lines = speak("this goes on and on, and in the [wave] middle it is cut", max_chars=30)
    assert shown(lines) == [("this goes on and on,", None), ("and in the middle it is cut", "wave")]


def test_a_line_comes_as_soon_as_the_next_begins() -> None:
    speech = Speech(NAMES, 220)
    assert speech.feed("[smi") == speech.feed("le] Hello") == speech.feed(" there.") == speech.feed(" [wave]") == []
    assert speech.feed(" B") == [Line("Hello there.", Cue("smile"))]
    assert speech.flush() == [Line("B", Cue("wave"))]
    assert speech.feed("Again.") + speech.flush() == [Line("Again.", None)]


def test_a_line_can_be_written_as_the_model_writes_it() -> None:
    assert [line.written for line in speak("[smile] Hello. Bye. [wave]")] == ["[smile] Hello.", "Bye.", "[wave]"]
