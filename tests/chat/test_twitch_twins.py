"""What reaches us twice, by chat and by the channel's own account, is one thing; what does not is not lost."""

from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.chat.twitch.twins import HOLD_S, MAX_KEPT, REMEMBER_S, Twins
from vtuber_brain.messages import Author, ChatMessage, Retraction


def cheer(message_id, viewer="77", bits=100.0, text="hi"):
    return ChatMessage("twitch", message_id, Author(viewer, "v"), text, 1.0, 1.0, "cheer", bits)


def redeem(message_id, text="sing"):
    return ChatMessage("twitch", message_id, Author("77", "v"), text, 1.0, 1.0, "redeem")


def test_a_twin_in_chat_first_or_last_leaves_nothing_to_let_go():
    twins = Twins()
    twins.see(cheer("m1"), 0.0)
    twins.hold(cheer("event-1"), 0.1)
    twins.hold(redeem("event-2"), 0.2)
    twins.see(redeem("m2"), 0.3)
    assert twins.next_s() is None
    assert twins.due(100.0) == []


def test_without_a_twin_it_is_let_go_after_a_moment():
    twins = Twins()
    twins.hold(cheer("event-1"), 0.0)
    assert twins.due(HOLD_S - 0.1) == []
    assert twins.next_s() == HOLD_S
    assert [message.id for message in twins.due(HOLD_S)] == ["event-1"]
    assert twins.next_s() is None


def test_another_viewer_s_or_another_amount_is_no_twin():
    twins = Twins()
    twins.see(cheer("m1", viewer="1"), 0.0)
    twins.see(cheer("m2", bits=5.0), 0.0)
    twins.hold(cheer("event-1"), 0.0)
    assert len(twins.due(HOLD_S)) == 1


def test_long_after_it_is_a_new_cheer():
    twins = Twins()
    twins.see(cheer("m1"), 0.0)
    twins.hold(cheer("event-1"), REMEMBER_S + 1)
    assert len(twins.due(REMEMBER_S + 1 + HOLD_S)) == 1


def test_what_was_taken_back_is_not_let_go():
    twins = Twins()
    twins.hold(cheer("event-1"), 0.0)
    twins.retract(Retraction("twitch", "author", "77", 2.0, until=2.0))
    assert twins.due(HOLD_S) == []


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.floats(0, 1)), max_size=60))
def test_each_pair_is_one_whatever_the_order(steps):
    twins, now_s, in_chat, beside, let_go = Twins(), 0.0, {}, {}, 0
    for chat_side, viewer, pause_s in steps:
        now_s += pause_s / 100  # all of it within the moment that is waited for a twin
        counts = in_chat if chat_side else beside
        counts[viewer] = counts.get(viewer, 0) + 1
        (twins.see if chat_side else twins.hold)(cheer(f"{now_s}", viewer), now_s)
    let_go = len(twins.due(now_s + HOLD_S))
    assert let_go == sum(max(0, beside.get(viewer, 0) - in_chat.get(viewer, 0)) for viewer in "abc")


def test_it_never_holds_without_end():
    twins = Twins()
    for number in range(MAX_KEPT + 50):
        twins.hold(cheer(str(number), viewer=str(number)), 0.0)
        twins.see(redeem(str(number), text=str(number)), 0.0)
    assert len(twins.due(0.0)) == 50
    assert len(twins._in_chat) == MAX_KEPT
