"""What was heard is what was said: of a cut reply what the player began, of a whole one what it did not skip."""

import pytest

from vtuber_brain.context.heard import MAX_REPLIES, Heard
from vtuber_brain.messages import CANNED, CUT_AT_ONCE, Turn

SENTENCES = ["[smile] One.", "Two.", "Three."]


def turn(outcome="spoken", reply_id="r", reason=None):
    text = " ".join(SENTENCES)
    return Turn(reply_id, None, outcome, text, text, "mori", "model", None, reason)


@pytest.mark.parametrize(
    ("ended", "played", "outcome", "heard"),
    [
        ("spoken", {}, "spoken", "[smile] One. Two. Three."),
        ("cut", {}, "cut", "[smile] One. Two. Three."),
        ("spoken", {0: "finished", 1: "started"}, "spoken", "[smile] One. Two. Three."),
        ("spoken", {0: "finished", 1: "skipped", 2: "skipped"}, "cut", "[smile] One."),
        ("cut", {0: "finished", 1: "started"}, "cut", "[smile] One. Two."),
        ("cut", {0: "skipped"}, "cut", ""),
        ("retracted", {0: "started"}, "retracted", "[smile] One."),
    ],
)
@pytest.mark.parametrize("told_after", [False, True])
def test_the_part_that_was_heard(ended, played, outcome, heard, told_after):
    books = Heard()
    if told_after:
        known = books.close(turn(ended), SENTENCES)
    for seq, state in played.items():
        changed = books.note("r", seq, state)
        if told_after:
            known = changed or known
    if not told_after:
        known = books.close(turn(ended), SENTENCES)
    assert (known.outcome, known.heard_text, known.text) == (outcome, heard, turn().text)


def test_only_the_reply_that_the_player_played_last_can_be_skipped_and_only_while_it_sounds():
    books = Heard()
    for reply_id in ("old", "new"):
        books.close(turn(reply_id=reply_id), SENTENCES)
    assert books.skip() is None, "nobody plays them yet"
    for reply_id in ("old", "new"):
        books.note(reply_id, 0, "started")  # of the old one this player never tells the end
    cut = books.skip()
    assert (cut.reply_id, cut.outcome, cut.reason, cut.heard_text) == ("new", "cut", "skip", "[smile] One.")
    assert books.skip() is None
    books.close(turn(reply_id="whole"), SENTENCES)
    for seq in range(3):
        books.note("whole", seq, "finished")
    assert books.skip() is None


def test_one_that_is_left_out_does_not_hide_the_one_that_sounds():
    books = Heard()
    for reply_id in ("sounding", "late"):
        books.close(turn(reply_id=reply_id), SENTENCES)
    books.note("sounding", 0, "started")
    for seq in range(3):
        books.note("late", seq, "skipped")
    assert books.skip().reply_id == "sounding"


@pytest.mark.parametrize(("outcome", "reason"), [("cut", "toxic"), ("refused", "toxic"), ("failed", CANNED)])
def test_one_that_ended_badly_can_be_skipped_while_it_sounds_and_stays_in_the_books_as_it_was(outcome, reason):
    books = Heard()
    told = books.close(turn(outcome, reason=reason), SENTENCES)
    assert books.skip() is None
    books.note("r", 0, "started")
    skipped = books.skip()
    assert (skipped.outcome, skipped.reason, skipped.heard_text) == (outcome, reason, "[smile] One.")
    assert skipped.text == told.text
    assert books.skip() is None


@pytest.mark.parametrize(
    ("outcome", "reason"), [("retracted", "message"), *(("cut", why) for why in sorted(CUT_AT_ONCE))]
)
def test_one_that_the_player_ends_by_itself_cannot_be_skipped(outcome, reason):
    books = Heard()
    books.close(turn(outcome, reason=reason), SENTENCES)
    books.note("r", 0, "started")
    assert books.skip() is None


def test_the_operators_words_can_be_skipped_and_are_in_no_books():
    books = Heard()
    books.note("r", 0, "started")  # a player may be faster than we are
    books.own(turn())
    assert books.skip().reply_id == "r"
    assert books.note("r", 0, "skipped") is None


def test_what_changes_nothing_is_not_told_again():
    books = Heard()
    books.close(turn(), SENTENCES)
    assert books.note("r", 0, "started") is None
    assert books.note("r", 1, "skipped").heard_text == "[smile] One. Three."
    assert books.note("r", 1, "skipped") is None


def test_a_sentence_that_was_finished_was_heard_whatever_comes_later():
    books = Heard()
    books.close(turn(), SENTENCES)
    books.note("r", 0, "finished")
    assert books.note("r", 0, "skipped") is None


def test_very_old_replies_are_forgotten():
    books = Heard()
    books.close(turn(), SENTENCES)
    for number in range(MAX_REPLIES):
        books.note(f"other-{number}", 0, "started")
    assert books.note("r", 0, "skipped") is None
