"""A text is foreign only when it is clearly so: by its script, or by several common words; mixing ours is normal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.sentiment.disguises import fold
from vtuber_brain.sentiment.language import is_other, languages, script
from vtuber_brain.sentiment.normal import clean


def other(text: str, *spoken: str, latin: bool = True) -> bool:
    return is_other(clean(text), fold(clean(text)), spoken or ("en", "id"), latin=latin)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("привет всем", "ru"),
        ("こんにちは、元気ですか", "ja"),
        ("今日の配信つまらない", "ja"),
        ("你好主播今天好吗", "zh"),
        ("你好", "zh"),
        ("안녕하세요 여러분", "ko"),
        ("مرحبا كيف حالك", "ar"),
        ("สวัสดีครับ", "th"),
        ("नमस्ते सब लोग", "hi"),
        ("hola a todos, como estan hoy", "es"),
        ("voce nao sabe nada e sua live e muito ruim", "pt"),
        ("bonjour a tous, je suis tres content de vous voir", "fr"),
        ("ich finde das nicht gut und du bist sehr langweilig", "de"),
        ("ciao a tutti, questo gioco e molto bello", "it"),
        ("ik vind het niet leuk maar dit is wel goed", "nl"),
        ("ang ganda naman ng boses mo po", "tl"),
        ("xin chao moi nguoi, hom nay la ngay cua toi", "vi"),
        ("merhaba bu oyun cok guzel ama ben yok", "tr"),
        ("czesc co to jest za gra ja nie wiem", "pl"),
    ],
)
def test_a_foreign_text_is_known_for_what_it_is_and_let_through_where_it_is_spoken(text: str, first: str) -> None:
    assert languages(text) == [first]
    assert other(text)
    assert not other(text, "en", first)
    assert other(text, latin=False) == (script(text) is not None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what a lovely game this is", ["en"]),
        ("aku mau makan dulu ya", ["id"]),
        ("aku suka banget sama this game", ["id", "en"]),
        ("I love this game banget", ["en", "id"]),
        ("xyzzy plugh", []),
        ("", []),
        ("😂😂😂", []),
    ],
)
def test_our_languages_are_counted_likeliest_first(text: str, expected: list[str]) -> None:
    assert languages(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "(´・ω・`) hi",
            "ʕ•ᴥ•ʔ",
            "ಠ_ಠ really",
            "ლ(ಠ益ಠლ)",
            "¯\\_(ツ)_/¯",
            "(づ｡◕‿‿◕｡)づ",
            "(ノಠ益ಠ)ノ彡┻━┻",
            "(っ˘ω˘ς )",
        ),
        *("café au lait", "que sera sera", "das boot", "la la la la la", "no no no no", "de la soul is on", "hola!"),
        *(
            "matur nuwun kak, aku arep turu",
            "eta mah gampang atuh",
            "gw literally ga bisa move on",
            "see you besok guys",
        ),
        *(
            "GG WP",
            "Kappa Kappa Kappa",
            "zоrblе look-alike",
            "I am a bit of a nerd, so?",
            "Portuguese next! boa noite Mori",
        ),
    ],
)
def test_faces_loans_names_and_slang_are_not_foreign(text: str) -> None:
    assert not other(text)


@given(st.text(max_size=60))
def test_any_text_has_languages(text: str) -> None:
    assert all(len(language) == 2 for language in languages(text))
    assert not other(text, latin=False) or script(clean(text)) is not None
