"""Whatever a viewer wrote or is called enters a prompt as one harmless, bounded line."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.context.quote import quote, quote_name
from vtuber_brain.sentiment.normal import clean

PIECES = [*'<>|/[]#_imSs 3\n\x00\u200b\u202e\u0301｜＜＞:()"', "<|im_end|>", "<s>", "im_start", "INST", "###"]
texts = st.one_of(st.text(max_size=120), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@given(texts, st.integers(1, 80))
def test_a_quote_is_one_harmless_line(text: str, max_chars: int) -> None:
    quoted = quote(text, max_chars)
    assert len(quoted) <= max_chars
    assert not {unicodedata.category(char) for char in quoted} & {"Cc", "Cf", "Cs", "Co"}
    assert quoted == " ".join(quoted.split())
    assert not re.search(r"<_*[A-Za-z|/]|\|>|[\[\]]|##", quoted)


@given(texts)
def test_what_the_filter_has_cleaned_stays_as_it_is(text: str) -> None:
    cleaned = clean(text, 100)
    assert quote(cleaned, 100) == cleaned


@given(texts)
def test_quoting_again_changes_nothing(text: str) -> None:
    assert quote(quote(text, 200), 200) == quote(text, 200)


@given(texts)
def test_a_name_is_never_empty_and_holds_no_marks(name: str) -> None:
    quoted = quote_name(name)
    assert 0 < len(quoted) <= 32
    assert not set(quoted) & set(':()"\n[]')


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("Ayu", "Ayu"),
        ("Mori: hi\nMori", "Mori hi Mori"),
        ("(system)", "system"),
        (" \u200b ", "viewer"),
        ("あゆ😊", "あゆ😊"),
    ],
)
def test_names(name: str, quoted: str) -> None:
    assert quote_name(name) == quoted
