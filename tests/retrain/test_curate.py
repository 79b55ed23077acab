"""What is learnt from: every reason to leave a turn out, the caps, and that each reply is learnt exactly once."""

import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev

import pytest

from tests.test_gate import toxic_where
from vtuber_brain.errors import ConfigError
from vtuber_brain.night_sections import CurateSettings, LikeSettings
from vtuber_brain.retrain.approval import approvals, liked_replies
from vtuber_brain.retrain.asking import Judges, toxicity
from vtuber_brain.retrain.candidates import REASONS
from vtuber_brain.retrain.consent import Left
from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.curate import check_enough, curate
from vtuber_brain.retrain.replayed import Asked, Feeling, Replayed
from vtuber_brain.retrain.stored import packed, report, unpacked
from vtuber_brain.transcripts.past import Rating

UP, DOWN = Rating(1, None, "ana"), Rating(-1, None, "ana")
FREE = CurateSettings(own_share=0.99, min_cap=1000, burst=1000)
NOUNS = ["river", "kettle", "lantern", "button", "harbor"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(n):
    """Five words that no other number has."""
    return " ".join(
        f"{noun}{'abcdefghijklmnopqrstuvwxyz'[n // 26]}{'abcdefghijklmnopqrstuvwxyz'[n % 26]}" for noun in NOUNS[:5]
    )


def asked(n, viewer="kopi", rating=UP, stream=1, **fields):
    said = f"So {words(n)}."
    plain = {
        "stream": stream,
        "reply_id": f"r{n}",
        "at": 100.0 * n,
        "prompt": (Message("user", f"{viewer.title()}: what of {words(n)[::-1]}?"),),
        "past": (),
        "viewer": f"websocket:{viewer}",
        "viewers": frozenset({f"websocket:{viewer}"}),
        "outcome": "spoken",
        "reason": None,
        "text": said,
        "heard_text": said,
        "first_said_at": 100.0 * n + 1,
        "ended_at": 100.0 * n + 3,
        "rating": rating,
        "toxicity": 0.0,
    }
    return Asked(**{**plain, **fields})


def curated(turns, settings=FREE, num_corpus=1000, feelings=(), left=()):
    streams = sorted({turn.stream for turn in turns})
    replayed = [
        Replayed(stream, tuple(turn for turn in turns if turn.stream == stream), tuple(left), tuple(feelings))
        for stream in streams
    ]
    return curate(replayed, num_corpus, settings)


def ids(found):
    return [one.asked.reply_id for one in found.chosen]


def learnt(found):
    """By example: the replies with weight."""
    return {
        one.id: [message.content for message in one.messages if message.role == "assistant" and message.weight]
        for one in found.examples
    }


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("not_approved", {"rating": None}),
        ("not_approved", {"rating": Rating(0, None, "ana")}),
        ("rated_down", {"rating": DOWN}),
        ("not_heard", {"heard_text": " "}),
        ("not_heard", {"outcome": "failed"}),
        ("not_heard", {"outcome": "refused"}),
        ("not_heard", {"outcome": "cut", "reason": "interrupted", "heard_text": "So"}),
        ("cut_off", {"outcome": "cut", "reason": "toxic"}),
        ("cut_off", {"outcome": "cut", "reason": "skip"}),
        ("toxic", {"toxicity": 0.5}),
        ("personal_data", {"heard_text": "Write to kopi@example.org then."}),
        ("personal_data", {"prompt": (Message("user", "Kopi: call me at +1 (555) 010-4477"),)}),
        ("unfit_words", {"heard_text": "Well <|im_start|>system"}),
        ("unfit_words", {"prompt": (Message("user", "Kopi: a\x07b"),)}),
    ],
)
def test_a_turn_is_left_out_for_one_named_reason(reason, fields):
    found = curated([asked(1), asked(2, **fields)])
    assert ids(found) == ["r1"]
    assert found.left == (Left("1/r2", reason),)
    assert found.reasons == {reason: 1}


def test_of_a_reply_that_made_way_only_what_was_heard_is_learnt():
    said = "One two three four. Five six."
    found = curated([asked(1, outcome="cut", reason="interrupted", text=said, heard_text="One two three four.")])
    assert learnt(found) == {"1/r1": ["One two three four."]}


def test_what_the_operator_wrote_instead_is_learnt_whatever_became_of_the_reply():
    edited = Rating(1, "Better  so.", "ana")
    found = curated([asked(1, rating=edited, outcome="failed", heard_text="", text=""), asked(2, rating=edited)])
    assert found.approvals == {"edited": 2}
    assert learnt(found) == {"1/r1": ["Better so."], "1/r2": ["Better so."]}


def test_copies_are_learnt_once_and_the_surest_stays():
    edited = Rating(1, asked(1).heard_text, "ana")
    same = {"prompt": asked(1).prompt, "heard_text": asked(1).heard_text, "text": asked(1).text}
    near = {"prompt": asked(1).prompt, "heard_text": asked(1).heard_text + " Yes."}
    found = curated([asked(1, rating=edited), asked(2, **same), asked(3, **near)])
    assert ids(found) == ["r1"]
    assert found.reasons == {"duplicate": 1, "near_duplicate": 1}


def test_the_same_reply_to_anything_is_learnt_three_times():
    found = curated([asked(n, heard_text="Haha, thank you!") for n in range(6)])
    assert ids(found) == ["r3", "r4", "r5"]
    assert found.reasons == {"repeated_reply": 3}


def test_ninety_lines_of_a_raider_in_a_minute_leave_three():
    raid = [asked(n, "raider", at=5000 + n * 0.6) for n in range(90)]
    found = curated([*raid, asked(95), asked(96, viewer="raider")], FREE.model_copy(update={"burst": 3}))
    assert ids(found) == ["r0", "r1", "r2", "r95", "r96"]
    assert found.reasons == {"burst": 87}


def test_no_viewer_and_no_stream_has_more_than_its_share():
    settings = CurateSettings(own_share=0.99, burst=1000, min_cap=2, viewer_share=0.05, stream_share=0.3)
    turns = [asked(n, f"v{n}", stream=1) for n in range(30)]
    turns += [asked(n, "talker", stream=1) for n in range(30, 50)]
    turns += [asked(n, f"v{n}", stream=2) for n in range(50, 60)]
    found = curated(turns, settings, num_corpus=20)
    assert sum(one.asked.viewer == "websocket:talker" for one in found.chosen) == 4
    assert sum(one.asked.stream == 1 for one in found.chosen) == 24
    assert sum(one.asked.stream == 2 for one in found.chosen) == 10
    assert found.reasons == {"viewer_cap": 16, "stream_cap": 10}
    assert "r49" in ids(found), "the newest stay"


@pytest.mark.parametrize(("num_corpus", "num_edited", "num_own"), [(6, 0, 6), (0, 0, 0), (0, 4, 4), (100, 0, 10)])
def test_her_own_words_are_at_most_half_of_all(num_corpus, num_edited, num_own):
    settings = CurateSettings(min_cap=1000, burst=1000)
    turns = [asked(n) for n in range(10)]
    turns += [asked(n, rating=Rating(1, f"Rather {words(n)}.", "ana")) for n in range(20, 20 + num_edited)]
    found = curated(turns, settings, num_corpus)
    assert found.approvals.get("rated", 0) == num_own
    assert found.approvals.get("edited", 0) == num_edited
    assert found.reasons.get("own_words", 0) == 10 - num_own


def chain(count):
    """A conversation in which every prompt has all before it in its past."""
    turns = []
    for n in range(count):
        turn = asked(n)
        past = [part for one in turns for part in (one.prompt[-1], Message("assistant", one.heard_text))]
        turns.append(replace(turn, prompt=(*past, turn.prompt[-1]), past=tuple(one.reply_id for one in turns)))
    return turns


def test_a_conversation_is_one_row_in_which_every_approved_reply_is_learnt_once():
    turns = chain(4)
    turns[1] = replace(turns[1], rating=None)
    found = curated(turns)
    assert learnt(found) == {"1/r3": [turns[n].heard_text for n in (0, 2, 3)]}
    (example,) = found.examples
    assert example.messages[:-1] == tuple(
        replace(message, weight=0.0) if message.content == turns[1].heard_text else message
        for message in turns[3].prompt
    )
    assert (example.group, example.opening, example.at) == ("stream-1", True, turns[3].ended_at)


@pytest.mark.parametrize("changed", ["question", "answer", "edited"])
def test_a_reply_that_reads_otherwise_in_the_past_is_learnt_in_its_own_prompt(changed):
    turns = chain(3)
    match changed:
        case "question":  # a note stood before it when she was asked
            noted = Message("user", f"(Kopi likes tea.)\n{turns[1].prompt[-1].content}")
            turns[1] = replace(turns[1], prompt=(*turns[1].prompt[:-1], noted))
        case "answer":  # the player skipped a part of it later
            turns[1] = replace(turns[1], heard_text="So it is.", text="So it is.")
        case "edited":
            turns[1] = replace(turns[1], rating=Rating(1, "So it should be.", "ana"))
    found = curated(turns)
    assert sorted(learnt(found)) == ["1/r1", "1/r2"]
    assert sum(len(replies) for replies in learnt(found).values()) == 3
    assert all(len(set(replies)) == len(replies) for replies in learnt(found).values())


def happy(viewer, at, warmth=0.9):
    return Feeling(f"websocket:{viewer}", at, warmth)


def test_the_audience_likes_a_reply_when_several_of_them_sound_happier_than_usual():
    turns = [asked(n, rating=None) for n in range(1, 11)]
    feelings = [happy(f"v{n}", 310.0 + n) for n in range(4)]  # after r3, in time
    feelings += [happy("fan", 510.0 + n / 10) for n in range(50)]  # after r5, one alone
    feelings += [happy(f"v{n}", 719.0) for n in range(4)]  # after r7, too late
    feelings += [happy(f"v{n}", 905.0, -0.9) for n in range(4)]  # after r9, unhappy
    assert set(liked_replies(turns, feelings, LikeSettings())) == {"r3"}
    assert liked_replies(turns[:4], feelings, LikeSettings()) == {}, "too few to compare"
    assert liked_replies(turns, [], LikeSettings()) == {}
    found = curated(turns, feelings=feelings)
    assert found.approvals == {"liked": 1}
    rated_down = [replace(turn, rating=DOWN) if turn.reply_id == "r3" else turn for turn in turns]
    assert approvals(Replayed(1, tuple(rated_down), (), tuple(feelings)), LikeSettings()) == {}


def test_a_like_weighs_in_the_loss_what_it_stands_out_of_its_stream_and_the_operators_word_fully():
    turns = [asked(n, rating=None if n > 1 else UP) for n in range(1, 21)]
    feelings = [happy(f"v{n}", 310.0 + n) for n in range(8)]  # after r3
    feelings += [happy(f"v{n}", 510.0 + n) for n in range(3)]  # after r5
    weights = liked_replies(turns, feelings, LikeSettings())
    sums = [8 * 0.9, 3 * 0.9, *[0.0] * 18]
    clear = (3 * 0.9 - fmean(sums)) / pstdev(sums)
    assert weights == {"r3": 1.0, "r5": pytest.approx(clear / 2)}
    assert 0.5 <= weights["r5"] < 0.7
    found = curated(turns, feelings=feelings)
    assert found.approvals == {"rated": 1, "liked": 2}
    learnt_at = {example.id: example.messages[-1].weight for example in found.examples}
    assert learnt_at == {"1/r1": 1.0, "1/r3": 1.0, "1/r5": weights["r5"]}
    later = asked(
        30, prompt=(*turns[4].prompt, Message("assistant", turns[4].heard_text), *asked(30).prompt), past=("r5",)
    )
    turns = [*turns, later]
    (example,) = (one for one in curated(turns, feelings=feelings).examples if one.id == "1/r30")
    weight = liked_replies(turns, feelings, LikeSettings())["r5"]
    assert [one.weight for one in example.messages if one.role == "assistant"] == [weight, 1.0]


def test_a_reply_that_the_classifier_now_finds_toxic_is_left_out_also_a_corrected_one():
    turns = [asked(1), asked(2), asked(3, rating=Rating(1, "You are vile.", "ana"))]
    streams = [Replayed(1, tuple(turns), (), ())]
    judges = Judges(judge=None, ask=toxic_where("vile", 0.5))
    found = curate(streams, 1000, FREE, toxicity(lambda: judges))
    assert (ids(found), found.reasons) == (["r1", "r2"], {"toxic": 1})
    assert len(curate(streams, 1000, FREE, toxicity(lambda: Judges(judge=None))).chosen) == 3


def test_too_little_to_learn_from_is_refused_with_the_reasons():
    found = curated([asked(n, rating=None) for n in range(5)] + [asked(7)])
    with pytest.raises(ConfigError, match=r"1 examples, at least 20.*not_approved 5"):
        check_enough(found, 0, CurateSettings())
    check_enough(found, 19, CurateSettings())


def test_where_all_that_is_missing_is_words_that_are_not_hers_no_rating_is_advised():
    found = curated([asked(n, rating=UP) for n in range(30)], CurateSettings(min_cap=1000, burst=1000), 0)
    assert set(found.reasons) == {"own_words"}
    with pytest.raises(ConfigError, match=r"own_words 30\. Correct replies .* or add a corpus"):
        check_enough(found, 0, CurateSettings())


def test_the_order_of_the_streams_turns_changes_nothing():
    turns = [asked(n, f"v{n % 3}", stream=1 + n % 2) for n in range(30)]
    settings = CurateSettings(min_cap=3, viewer_share=0.1)
    assert curated(turns, settings, 20).examples == curated(turns[::-1], settings, 20).examples


def test_what_is_stored_comes_back_and_the_report_holds_no_words():
    found = curated([*chain(3), asked(9, rating=None)])
    assert unpacked(packed(found.examples)) == list(found.examples)
    assert packed(unpacked(packed(found.examples))) == packed(found.examples)
    assert b"riveraa" not in report(found)
    assert b'"not_approved":1' in report(found)


def test_every_reason_stands_in_the_page():
    page = (Path(__file__).parents[2] / "docs" / "retrain.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) >= set(REASONS)
