"""Personal data is found in the forms people write it in; scores, prices, times and versions are none."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.sentiment.disguises import fold
from vtuber_brain.sentiment.normal import clean
from vtuber_brain.sentiment.personal import KINDS, personal_data


def kinds(text: str) -> list[str]:
    return personal_data(fold(clean(text)))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("my number is 555-213-4477", "telephone"),
        ("(555) 213-4477", "telephone"),
        ("+44 7700 900123", "telephone"),
        ("call 5552134477", "telephone"),
        ("0812-3456-7890", "telephone"),
        ("wa 62 812 3456 7890", "telephone"),
        ("(021) 555-1234", "telephone"),
        ("0 8 1 2 3 4 5 6 7 8 9", "telephone"),
        ("o8l2 3456 789O", "telephone"),
        ("nol delapan satu dua tiga empat lima enam tujuh", "telephone"),
        ("five five five two one three four four seven seven", "telephone"),
        ("０８１２－３４５６－７８９０", "telephone"),
        ("wren@example.org", "email"),
        ("wren (at) example (dot) org", "email"),
        ("wren at gmail dot com", "email"),
        ("budi et gmail titik com", "email"),
        ("I live at 221 Maple Street", "address"),
        ("9 Elm Ave, Springfield", "address"),
        ("PO Box 1182", "address"),
        ("Jl. Mawar no. 5", "address"),
        ("jalan anggrek raya no 21", "address"),
        ("rt 03 / rw 05", "address"),
        ("kec. sukasari kab. contohan", "address"),
        ("kode pos 40123", "address"),
        ("4111 1111 1111 1111", "card"),
        ("5500-0000-0000-0004", "card"),
        ("3204015708950003", "resident_number"),
        ("my ssn is 078-05-1120", "resident_number"),
        ("norek bca 1234567890", "account"),
        ("GB82 WEST 1234 5698 7654 32", "account"),
        ("SW-1234-5678-9012", "account"),
        ("wren#4821", "handle"),
        ("discord.gg/abc123", "handle"),
        ("ig ku budi_77", "handle"),
        ("add me on discord: wren.draws", "handle"),
        ("203.0.113.77", "internet_address"),
    ],
)
def test_personal_data_is_found_and_named(text: str, kind: str) -> None:
    assert kind in kinds(text)
    assert kind in kinds(f"hey, {text} ok?")


@pytest.mark.parametrize(
    "text",
    [
        *("1000000 points", "8-0", "3.14159265358979", "24/7", "10:30", "2024-11-20", "v1.20.4.1", "1,299,000 rupiah"),
        *(
            "1.500.000.000 rupiah",
            "59.99",
            "level 100",
            "987654321",
            "10 9 8 7 6 5 4 3 2 1",
            "6969 42069",
            "100-200-300",
        ),
        *(
            "seed 8675309123",
            "127.0.0.1",
            "192.168.1.1",
            "1.2.3.4",
            "50000000 gold",
            "99999999999999",
            "1234567890123456",
        ),
        *("4111 1111 1111 1112", "2 x 24 jam", "tanggal 17-08-1945", "jam 08.30", "08", "0-8-1", "rank 1500 poin 3000"),
        *("mario kart 8 rainbow road", "a 5 minute walk down the road", "24 hours that way", "jalan kaki 5 menit"),
        *("look at youtube", "meet at dawn dot dot dot", "I am at home", "my discord is down", "the line is long"),
        *("#1 fan", "#12345", "rt if you agree", "dana desa cair", "one two three four five six seven eight nine ten"),
        *("my tan line is retired.lol", "3204019908950003", "3204011513950003"),
    ],
)
def test_numbers_and_words_of_play_are_none(text: str) -> None:
    assert kinds(text) == []
    assert kinds(f"hey, {text} ok?") == []


def test_a_thousand_random_scores_are_no_personal_data() -> None:
    dice = random.Random(5)
    scores = [f"I have {dice.randrange(10 ** dice.randrange(1, 10))} points" for _ in range(1000)]
    assert [score for score in scores if kinds(score)] == []


@given(st.text(alphabet="0123456789 .-+()@#,/abotil", max_size=80))
def test_any_text_is_read(text: str) -> None:
    assert set(personal_data(fold(clean(text)))) <= {kind for kind, _, _ in KINDS}


@pytest.mark.parametrize(
    "text", ["1 " * 2000, "jl " * 1300, "a@" * 2000, "0." * 2000, "12 a street " * 300, "at " * 1300]
)
def test_no_text_takes_long(text: str) -> None:
    began_s = time.process_time()
    kinds(text)
    assert time.process_time() - began_s < 0.25
