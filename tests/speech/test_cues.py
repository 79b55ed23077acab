"""Cues come out of the stream across any borders; no stage direction is left to be read aloud; other text is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.messages import Cue
from vtuber_brain.speech.cues import MAX_ACTION, MAX_HELD, Cues

NAMES = ["smile", "wave", "think", "laugh"]
PIECES = [
    *"[]*() \n.,!?ab1😊",
    "[smile]",
    "[Wave]",
    "*smiles*",
    "*nods slowly*",
    "[sighs]",
    "smile",
    "(laughs)",
    "word ",
    "[a b",
]
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def parse(*pieces: str) -> list[str]:
    """Text as it is, cues as `<name>`, neighbouring texts joined."""
    cues = Cues(NAMES)
    items = [item for piece in pieces for item in cues.feed(piece)] + cues.flush()
    shown: list[str] = []
    for item in items:
        if isinstance(item, str) and shown and not shown[-1].startswith("<"):
            shown[-1] += item
        else:
            shown.append(item if isinstance(item, str) else f"<{item.name}>")
    return shown


@given(st.one_of(texts, st.text(max_size=100)), st.data())
def test_how_the_text_is_chopped_changes_nothing(text: str, data: st.DataObject) -> None:
    text = text.replace("<", "")
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    assert parse(*pieces) == parse(text) == parse(*text)


@given(st.text(alphabet="ab1.,!? \n😊é", max_size=60))
def test_text_without_marks_is_kept_up_to_white_space(text: str) -> None:
    assert "".join(parse(text)).split() == text.split()


@given(texts)
def test_a_known_cue_is_never_left_in_the_text(text: str) -> None:
    said = "".join(item for item in parse(text) if not item.startswith("<"))
    assert "[smile]" not in said and "[sighs]" not in said and "*smiles*" not in said


@given(texts)
def test_a_flushed_machine_is_as_new(text: str) -> None:
    cues = Cues(NAMES)
    first = cues.feed(text) + cues.flush()
    assert cues.feed(text) + cues.flush() == first
    assert cues.flush() == []


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("[smile] Hello", ["<smile>", "Hello"]),
        ("Hello [SMILE] you", ["Hello", "<smile>", " you"]),
        ("Hello [ wave ].", ["Hello", "<wave>", "."]),
        ("Hi.[smile]How", ["Hi.", "<smile>", " How"]),
        ("[welcoming smile] Hi", ["<smile>", "Hi"]),
        ("[smiles][laughing] [waving]", ["<smile>", "<laugh>", "<wave>"]),
        ("[sighs] Hi [looks away] you [Shrugs].", ["Hi you."]),
        ("*smiles* Hi *waves at you* there", ["<smile>", "Hi", "<wave>", " there"]),
        ("*nods* Yes. *tilts her head* Hm.", ["Yes. Hm."]),
        ("*tersenyum* Halo", ["Halo"]),
        ("Hi (laughs) you (chuckles softly)", ["Hi", "<laugh>", " you"]),
        ("I *really* like *socks*, *always*.", ["I really like socks, always."]),
        ("*This is bold.* **So is this.**", ["This is bold. So is this."]),
        ("2 * 3 * 4 (see [1], or [a1])", ["2 * 3 * 4 (see [1], or [a1])"]),
        ("(think about it) (a button)", ["(think about it) (a button)"]),
        ("(^_^) :( *", ["(^_^) :( *"]),
        ("line one\n[smile]\nline two", ["line one", "<smile>", "\nline two"]),
        ("[[smile]]", ["[", "<smile>", "]"]),
        ("[not closed", ["[not closed"]),
        ("[not\nclosed]", ["[not\nclosed]"]),
        ("*open [smile] text", ["*open", "<smile>", " text"]),
        ("", []),
    ],
)
def test_what_is_a_cue_a_direction_or_text(text: str, items: list[str]) -> None:
    assert parse(text) == items


@pytest.mark.parametrize(("mark", "limit"), [("[", MAX_HELD), ("*", MAX_ACTION), ("(", MAX_ACTION)])
def test_an_unclosed_mark_holds_the_stream_only_so_long(mark: str, limit: int) -> None:
    cues = Cues(NAMES)
    assert cues.feed(mark + "x" * (limit - 1)) == []
    assert cues.feed("x") == [mark + "x" * limit]


def test_a_cue_comes_out_at_once() -> None:
    assert Cues(NAMES).feed("[smile]") == [Cue("smile")]
