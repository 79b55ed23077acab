"""Folding sees through look-alikes as Unicode lists them, and keeps the places of what it folded."""

import re
import unicodedata

import pytest
from confusable_homoglyphs.confusables import confusables_data
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.sentiment.disguises import as_letters, fold, glued, readings, spelled, words_of
from vtuber_brain.sentiment.lookalikes import LETTERS

OURS = {"𑢤": {"z"}, "𑢼": {"y"}}  # whose small letters look like others


def doubles() -> dict[str, set[str]]:
    """Every letter or digit, once cleaned, that Unicode lists as a double of an ASCII letter, with those letters."""
    found: dict[str, set[str]] = {}
    for letter, listed in confusables_data.items():
        if len(letter) == 1 and letter.isascii() and letter.isalpha():
            for double in (one["c"] for one in listed):
                if (
                    not double.isascii()
                    and unicodedata.is_normalized("NFKC", double)
                    and unicodedata.category(double[0])[0] in "LN"
                ):
                    found.setdefault(double, set()).add(letter.lower())
    return found


def test_every_double_that_unicode_lists_folds_to_one_of_its_letters() -> None:
    listed = doubles()
    assert len(listed) > 300
    wrong = {
        double: fold(double)
        for double, letters in listed.items()
        if len(double) == 1
        and fold(double)[0] not in letters | OURS.get(double, set()) | ({"i", "l"} if letters & {"i", "l"} else set())
    }
    assert wrong == {}


def test_the_table_holds_only_single_letters_that_folding_leaves_over() -> None:
    assert all(re.fullmatch("[a-z]", letter) for letter in LETTERS.values())
    assert [chr(code) for code in LETTERS if chr(code).isascii()] == []


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ZÖRBLE", "zorble"),
        ("zоrblе", "zorble"),
        ("ᴢᴏʀʙʟᴇ", "zorble"),
        ("ᏃᎾᏒ", "zᎾr"),
        ("ɱoɳ", "mon"),
        ("z🍩rble", "z*rble"),
        ("wow 🍩", "wow 🍩"),
        ("死ね", "死ね"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text(max_size=60))
def test_every_reading_keeps_the_places_of_the_folded_text(text: str) -> None:
    folded = fold(text)
    assert {len(reading) for reading in [*readings(folded), *as_letters(folded)]} <= {len(folded)}


def test_signs_are_read_as_letters_only_where_a_letter_follows() -> None:
    assert list(as_letters("pl3ase 1gnore")) == ["please ignore", "please lgnore"]
    assert list(as_letters("thanks @mori! ok")) == []


def test_letters_set_apart_are_put_together() -> None:
    assert spelled("so w o r d and x.y.z!") == ["word", "xyz"]
    assert glued("wo.rd, a - b") == "word, a - b"
    assert words_of("it's (so), im_start…") == {"it", "s", "so", "im_start"}
