"""The queue: each sentence ends once, in order, and nothing is spoken late, twice, or after it was taken back."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.voices import said
from vtuber_brain.voice.queue import Fate, Queue


def queue(capacity=8, ahead=2, late_s=20.0, patience_s=3.0):
    return Queue(capacity, ahead, late_s, patience_s)


def filled(*keys, now_s=0.0, **limits):
    one = queue(**limits)
    for reply_id, seq in keys:
        assert one.add(said(reply_id, seq), now_s) == []
    return one


def given_out(one, num=1, now_s=0.0, duration_s=1.0):
    """Have the next sentences made and given to the player; their keys."""
    keys = []
    for _ in range(num):
        sentence = one.take()
        keys.append((sentence.reply_id, sentence.seq))
        assert one.made(keys[-1], duration_s, now_s)
    return keys


def test_sentences_are_made_in_the_order_in_which_they_came_and_only_so_many_ahead():
    one = filled(("a", 0), ("a", 1), ("b", 0))
    assert given_out(one, 2) == [("a", 0), ("a", 1)]
    assert one.take() is None
    assert one.played(("a", 0), "started", 1) == [Fate(("a", 0), "started")]
    assert one.played(("a", 0), "finished", 2) == [Fate(("a", 0), "finished")]
    assert one.take().reply_id == "b"


def test_a_sentence_that_comes_twice_is_spoken_once():
    one = filled(("a", 0))
    assert one.add(said("a", 0), 0) == []
    given_out(one)
    one.played(("a", 0), "finished", 1)
    assert one.add(said("a", 0), 2) == []
    assert one.take() is None


def test_a_skipped_reply_is_skipped_whole_also_what_is_made_later_and_what_comes_later():
    one = filled(("a", 0), ("a", 1), ("b", 0))
    given_out(one)
    making = one.take()
    fates = one.skip("a", "cut", 1)
    assert fates == [Fate(("a", 0), "skipped", "cut"), Fate(("a", 1), "skipped", "cut")]
    assert not one.made(("a", making.seq), 1.0, 1)
    assert one.add(said("a", 2), 2) == [Fate(("a", 2), "skipped", "gone")]
    assert one.take().reply_id == "b"


def test_mute_skips_all_that_is_there_and_all_that_comes_until_unmute():
    one = filled(("a", 0), ("b", 0))
    given_out(one)
    assert [fate.key for fate in one.mute(1)] == [("a", 0), ("b", 0)]
    assert one.add(said("c", 0), 2) == [Fate(("c", 0), "skipped", "muted")]
    one.unmute()
    assert one.add(said("a", 1), 3) == [Fate(("a", 1), "skipped", "gone")]
    assert one.add(said("d", 0), 3) == []


def test_a_reply_that_has_not_begun_in_time_is_dropped_and_one_that_has_goes_on_to_its_end():
    one = filled(("a", 0), ("a", 1), ("b", 0), late_s=20, ahead=1)
    given_out(one)
    one.played(("a", 0), "started", 1)
    assert one.overdue(1.5) == []
    one.played(("a", 0), "finished", 19)
    assert one.overdue(19.9) == []
    assert one.overdue(20.1) == [Fate(("b", 0), "skipped", "late")]
    assert given_out(one, now_s=20.2) == [("a", 1)]


def test_a_player_that_stays_silent_is_given_up_on_with_the_reply_it_had():
    one = filled(("a", 0), ("a", 1), ("b", 0), patience_s=3)
    given_out(one, now_s=0)
    assert one.overdue(2.9) == []
    assert one.overdue(3.1) == [Fate(("a", 0), "skipped", "unplayed"), Fate(("a", 1), "skipped", "unplayed")]
    given_out(one, now_s=4, duration_s=5)
    one.played(("b", 0), "started", 5)
    assert one.overdue(12.9) == []
    assert one.overdue(13.1) == [Fate(("b", 0), "skipped", "unplayed")]


def test_what_waits_in_the_player_behind_a_long_sentence_is_not_given_up_on():
    one = filled(("a", 0), ("a", 1), patience_s=3)
    given_out(one, 2, duration_s=10)
    one.played(("a", 0), "started", 0)
    assert one.overdue(9) == []
    one.played(("a", 0), "finished", 10)
    assert one.overdue(12.9) == []


def test_when_it_is_full_the_oldest_reply_that_has_not_begun_makes_room():
    one = filled(("a", 0), ("b", 0), ("b", 1), ("c", 0), capacity=4)
    given_out(one)
    assert one.add(said("d", 0), 1) == [Fate(("b", 0), "skipped", "full"), Fate(("b", 1), "skipped", "full")]
    assert len(one) == 3


def test_when_all_of_it_has_begun_the_newcomer_is_skipped():
    one = filled(("a", 0), ("a", 1), capacity=2)
    given_out(one, 2)
    assert one.add(said("b", 0), 1) == [Fate(("b", 0), "skipped", "full")]


def test_a_player_that_passes_on_has_ended_the_sentence_before_and_left_out_what_it_never_began():
    one = filled(("a", 0), ("a", 1), ("a", 2), ahead=3)
    given_out(one, 3)
    one.played(("a", 0), "started", 0)
    assert one.played(("a", 2), "started", 1) == [
        Fate(("a", 0), "finished"),
        Fate(("a", 1), "skipped", "passed_over"),
        Fate(("a", 2), "started"),
    ]


def test_a_finish_without_a_start_is_told_as_both_and_words_about_what_is_over_change_nothing():
    one = filled(("a", 0))
    assert one.played(("a", 0), "started", 0) == []
    given_out(one)
    assert one.played(("a", 0), "finished", 1) == [Fate(("a", 0), "started"), Fate(("a", 0), "finished")]
    assert one.played(("a", 0), "finished", 2) == one.played(("a", 0), "skipped", 2) == []


def test_a_player_that_is_lost_takes_with_it_what_nobody_else_has():
    one = filled(("a", 0), ("a", 1), ("b", 0))
    given_out(one, 2)
    assert one.lose("page_gone", 1, keep=frozenset({("a", 1)})) == [Fate(("a", 0), "skipped", "page_gone")]
    assert one.played(("a", 1), "started", 2) == [Fate(("a", 1), "started")]


def test_what_is_speaking_is_the_reply_that_the_player_has():
    one = filled(("a", 0), ("b", 0))
    assert one.speaking is None
    given_out(one)
    assert one.speaking == "a"


STATES = st.sampled_from(["started", "finished", "skipped"])
STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 2)),
    st.tuples(st.sampled_from(["take", "made", "mute", "unmute", "lose", "tick"])),
    st.tuples(st.just("failed")),
    st.tuples(st.just("skip"), st.integers(0, 5)),
    st.tuples(
        st.just("played"), st.integers(0, 5), st.integers(0, 2), st.sampled_from(["started", "finished", "skipped"])
    ),
)


@given(st.lists(STEP, max_size=80))
def test_whatever_happens_every_sentence_ends_once_is_started_at_most_once_and_in_order(steps):
    one, now_s, making, came, fates = queue(capacity=5, ahead=2), 0.0, [], [], []
    for step in steps:
        now_s += 0.7
        match step:
            case ("add", reply, seq):
                if (f"r{reply}", seq) not in came:
                    came.append((f"r{reply}", seq))
                fates += one.add(said(f"r{reply}", seq), now_s)
            case ("take",):
                if (sentence := one.take()) is not None:
                    making.append((sentence.reply_id, sentence.seq))
            case ("made",) if making:
                one.made(making.pop(0), 1.0, now_s)
            case ("failed",) if making:
                fates += one.failed(making.pop(0), "engine_down", now_s)
            case ("skip", reply):
                fates += one.skip(f"r{reply}", "cut", now_s)
            case ("played", reply, seq, state):
                fates += one.played((f"r{reply}", seq), state, now_s)
            case ("mute",):
                fates += one.mute(now_s)
            case ("unmute",):
                one.unmute()
            case ("lose",):
                fates += one.lose("page_gone", now_s)
            case ("tick",):
                now_s += 2
                fates += one.overdue(now_s)
        assert len(one) <= 5
    fates += one.mute(now_s)
    ends = [fate.key for fate in fates if fate.state != "started"]
    starts = [fate.key for fate in fates if fate.state == "started"]
    assert sorted(ends) == sorted(came)
    assert len(set(starts)) == len(starts)
    assert starts == [key for key in came if key in starts]
    for key in starts:
        states = [fate.state for fate in fates if fate.key == key]
        assert states[0] == "started"
        assert len(states) == 2
