"""The figures of how she talks, each shown by replies that have it and by some that have not."""

from dataclasses import replace

import pytest

from vtuber_brain.retrain.style import has_emoji, in_circles, overused, style

GOOD = [
    "[smile] I found a key under the stairs, Ayu.",
    "[think] Rain is good weather for umbrellas.",
    "[wave] Selamat pagi! Kamu sudah makan?",
    "[sad] That is a long way to walk without a hat.",
    "[laugh] No button has ever said that to me before.",
]
HEARD = ["Ayu: what did you find?", "Bo: rain again", "Citra: halo", "Dee: i walked home", "Eli: are buttons shy?"]


def figures(replies, heard=None, **more):
    given = {"cues": ["smile", "think", "wave", "sad", "laugh"], "max_words": 12, "spoken": ["en", "id"], **more}
    return style(replies, heard or (HEARD * 9)[: len(replies)], **given)


def test_good_replies_break_nothing():
    found = figures(GOOD)
    faults = ("empty", "over_long", "wrong_cues", "catchphrase", "emoji", "other_language", "repeats_self", "loops")
    assert {name: getattr(found, name) for name in (*faults, "echoes")} == dict.fromkeys((*faults, "echoes"), 0)
    assert found.with_cue == 1
    assert found.questions == found.starts_alike == pytest.approx(0.2)
    assert dict(found.languages) == {"en": pytest.approx(0.8), "id": pytest.approx(0.2)}
    assert found.words == pytest.approx(sum([8, 6, 5, 10, 9]) / 5)


@pytest.mark.parametrize(
    ("figure", "bad"),
    [
        ("empty", "  "),
        ("over_long", "[smile] " + "many words in a row " * 4),
        ("wrong_cues", "[dance] Hello."),
        ("emoji", "[smile] Hello 🎉"),
        ("other_language", "[smile] hola que tal estas muy bien gracias por todo porque hoy es muy bueno"),
        ("loops", "[smile] one two three one two three one two three"),
        ("repeats_self", GOOD[3]),
        ("questions", "[smile] Where is it?"),
    ],
)
def test_a_bad_reply_shows_in_its_figure(figure, bad):
    more = getattr(figures([*GOOD, bad]), figure)
    assert more > getattr(figures(GOOD), figure)


def test_a_reply_that_says_the_viewers_words_back_is_an_echo():
    said = "Eli: i think that the moon is made of old cheese"
    assert figures(["[smile] You think that the moon is made of old cheese."], [said]).echoes == 1
    assert figures(["[smile] The moon is made of light, Eli."], [said]).echoes == 0


def test_a_phrase_is_a_catchphrase_unless_the_corpus_has_it_as_often():
    replies = [f"[smile] {word}, as the lamp would say." for word in ("Rain", "Tea", "Hats", "Keys")]
    found = figures([*GOOD, *replies])
    assert found.catchphrase == pytest.approx(4 / 9)
    assert found.phrases[0].words == "as the lamp would say"
    assert figures([*GOOD, *replies], corpus=replies).catchphrase == 0


def test_replies_that_begin_alike_and_say_little_are_seen():
    found = figures(["[smile] Oh dear, rain."] * 3 + ["[wave] Hello."])
    assert found.starts_alike == 0.75
    assert found.distinct_2 < 0.5 < figures(GOOD).distinct_2


def test_of_no_replies_there_are_figures_too():
    found = figures([])
    assert (found.num_replies, found.words, found.languages) == (0, 0, ())
    assert figures(["", " "]).empty == 1
    assert replace(found, num_replies=3).num_replies == 3


def test_the_longest_form_of_a_phrase_stands_for_its_parts():
    lines = [["a", "b", "c", "d", "e", str(n)] for n in range(5)]
    assert [phrase.words for phrase in overused(lines, [])] == ["a b c d e"]


def test_marks_and_letters_are_no_emoji():
    assert not has_emoji("50 % off, naïve ^^ ~ <3 日本")
    assert has_emoji("ok ✨")
    assert not in_circles(["no", "no", "no", "no"])
    assert in_circles(["no", "no", "no", "no", "no"])
