"""The splitter ends sentences where people do, as early as it can tell, whatever the pieces it is fed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.speech.sentences import Sentences

WORDS = [
    *(
        "hello",
        "Hello",
        "and",
        "tapi",
        "Mr.",
        "dll.",
        "e.g.",
        "p.m.",
        "No.",
        "3.14",
        "1.000,50",
        "5",
        "J.",
        "I.",
        "...",
    ),
    *(
        "…",
        "!",
        "?!",
        "。",
        "ですか？",
        "はい",
        "」",
        "「",
        '"',
        "'",
        "(",
        ")",
        ":)",
        "😊",
        "♪",
        "(^_^)",
        "https://x.example/a?b=1.",
    ),
    *("me@x.example", ",", "—", "-", ";", " ", " ", " ", "\n", "\t", "\u2028", "x" * 15, "[", "*", "<3", "W.", "end."),
]
prose = st.lists(st.sampled_from(WORDS), max_size=30).flatmap(
    lambda words: st.sampled_from(["", " "]).map(lambda gap: gap.join(words))
)
texts = st.one_of(prose, st.text(max_size=120))


def split(text: str, max_chars: int = 220) -> list[str]:
    sentences = Sentences(max_chars)
    return [*sentences.feed(text), *sentences.flush()]


def chopped(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@given(texts, st.integers(1, 60), st.data())
def test_how_the_text_is_chopped_changes_nothing(text: str, max_chars: int, data: st.DataObject) -> None:
    sentences = Sentences(max_chars)
    pieces = chopped(data, text)
    got = [sentence for piece in pieces for sentence in sentences.feed(piece)] + sentences.flush()
    assert got == split(text, max_chars)


@given(texts, st.integers(1, 60))
def test_nothing_is_lost_but_white_space_and_no_sentence_is_too_long(text: str, max_chars: int) -> None:
    got = split(text, max_chars)
    assert "".join("".join(got).split()) == "".join(text.split())
    assert all(0 < len(sentence) <= max_chars and sentence == " ".join(sentence.split()) for sentence in got)


@given(texts)
def test_a_flushed_splitter_is_as_new(text: str) -> None:
    sentences = Sentences(40)
    first = sentences.feed(text) + sentences.flush()
    assert sentences.feed(text) + sentences.flush() == first
    assert sentences.flush() == []


@given(texts)
def test_only_the_last_sentences_may_be_without_a_word(text: str) -> None:
    got = split(text, 1000)
    assert all(any(char.isalnum() or char == "_" for char in sentence) for sentence in got[:-1])


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("ok. sure. why not", ["ok.", "sure.", "why not"]),
        (
            "Mr. Tea met Dr. Cup at 5 p.m. in town. Then it rained.",
            ["Mr. Tea met Dr. Cup at 5 p.m. in town.", "Then it rained."],
        ),
        ("It is 5 p.m. Then tea.", ["It is 5 p.m.", "Then tea."]),
        ("Fruit, e.g. pears. Nuts, i.e. Seeds.", ["Fruit, e.g. pears.", "Nuts, i.e. Seeds."]),
        ("Pi is 3.14 or so. I owe 1.000,50 rupiah.", ["Pi is 3.14 or so.", "I owe 1.000,50 rupiah."]),
        ("I have 3. You have 4.", ["I have 3.", "You have 4."]),
        ("1. Find a button. 2. Keep it.", ["1. Find a button.", "2. Keep it."]),
        ("Did you say no. 5? No. I said no.", ["Did you say no. 5?", "No.", "I said no."]),
        ("J. R. Rabbit was here. So was I. You?", ["J. R. Rabbit was here.", "So was I.", "You?"]),
        (
            "Beli sayur, buah, dll. di Jl. Mawar No. 5. Harganya Rp. 5.000 saja, dsb. Murah!",
            ["Beli sayur, buah, dll. di Jl. Mawar No. 5.", "Harganya Rp. 5.000 saja, dsb.", "Murah!"],
        ),
        ("See https://x.example/a.b?c=1. Or www.y.example!", ["See https://x.example/a.b?c=1.", "Or www.y.example!"]),
        ("Write to me@x.example. Bye.", ["Write to me@x.example.", "Bye."]),
        ("Well... maybe. Hmm... Yes. Oh… no.", ["Well... maybe.", "Hmm...", "Yes.", "Oh… no."]),
        ("What?! Really?? Yes!!!", ["What?!", "Really??", "Yes!!!"]),
        ('"Really?" she said. "Yes." He left.', ['"Really?" she said.', '"Yes."', "He left."]),
        ("(It was late.) We left. «Bon.» Oui.", ["(It was late.)", "We left.", "«Bon.»", "Oui."]),
        ("Nice! 😊 Next. 🎉🎉 Done ♪", ["Nice! 😊", "Next. 🎉🎉", "Done ♪"]),
        ("Hmm... 😊 well.", ["Hmm... 😊", "well."]),
        ("Nice!😊 Next.", ["Nice!😊", "Next."]),
        ("Hi! :D How? <3 Good ;) Bye.", ["Hi! :D", "How? <3", "Good ;) Bye."]),
        ("( ´ . ` ) hello. (>.<) ow", ["( ´ . ` ) hello.", "(>.<) ow"]),
        ("こんにちは。元気？はい！！またね", ["こんにちは。", "元気？", "はい！！", "またね"]),
        ("「はい。」と言った。「うん。」終わり。", ["「はい。」と言った。", "「うん。」", "終わり。"]),
        ("今日はいい😊！次", ["今日はいい😊！", "次"]),
        ("First line\nsecond line\n\n- third", ["First line", "second line", "- third"]),
        ("...", ["..."]),
        ("😊\nhello", ["😊 hello"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello there. H", "Hello there."),
        ("Hello there! \n", "Hello there!"),
        ("Hello there\n", "Hello there"),
        ("こんにちは。元", "こんにちは。"),
        ("Oh... N", "Oh..."),
    ],
)
def test_a_sentence_comes_with_the_first_letter_after_it(text: str, first: str) -> None:
    sentences = Sentences(220)
    assert sentences.feed(text[:-1]) == []
    assert sentences.feed(text[-1]) == [first]


@pytest.mark.parametrize(
    ("text", "max_chars", "sentences"),
    [
        ("I went to the market, and I bought a pear", 30, ["I went to the market,", "and I bought a pear"]),
        ("I went to the market and I bought a pear", 30, ["I went to the market", "and I bought a pear"]),
        ("aku pergi ke pasar karena mau beli buah", 30, ["aku pergi ke pasar", "karena mau beli buah"]),
        ("a b, c d e f g h i j k l m n o p q r", 30, ["a b, c d e f g h i j k l m n o", "p q r"]),
        ("it costs 1,000,000 coins or more than that", 22, ["it costs 1,000,000", "coins or more than", "that"]),
        ("a cat — a small one — sat here today", 24, ["a cat — a small one —", "sat here today"]),
        ("x" * 25, 10, ["x" * 10, "x" * 10, "x" * 5]),
        ("今日はとても、いい天気ですね今日は", 10, ["今日はとても、", "いい天気ですね今日は"]),
    ],
)
def test_a_long_sentence_is_cut_at_a_clause_or_a_word(text: str, max_chars: int, sentences: list[str]) -> None:
    assert split(text, max_chars) == sentences
