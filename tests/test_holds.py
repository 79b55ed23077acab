"""What the filter leaves to a human waits in bounds, and every way out of waiting is told."""

from vtuber_brain.holds import Held, Holds
from vtuber_brain.messages import Author, ChatMessage, Retraction, Verdict

HOLD = Verdict("hold", ("links",), "hm")


def held(number, since_s=0.0, source="websocket"):
    author = Author(f"v{number}", f"V{number}")
    return Held(ChatMessage(source, str(number), author, "hm", 0.0, 0.0), HOLD, since_s)


def ids(found):
    return [getattr(one, "message", one).id for one in found]


def test_the_one_held_longest_gives_way_when_full():
    holds = Holds(2, 60)
    assert [ids(holds.put(held(number))) for number in range(4)] == [[], [], ["0"], ["1"]]
    assert ids(holds) == ["2", "3"]


def test_what_is_decided_about_is_held_no_longer():
    holds = Holds(5, 60)
    for number in range(3):
        holds.put(held(number))
    assert holds.take("1").message.id == "1"
    assert holds.take("1") is None
    assert holds.take("2", "twitch") is None
    assert holds.take("2", "websocket").message.id == "2"
    assert ids(holds) == ["0"]


def test_nothing_is_held_for_ever():
    holds = Holds(5, 60)
    holds.put(held(1, since_s=100.0))
    holds.put(held(2, since_s=130.0))
    assert holds.expire(160.0) == []
    assert ids(holds.expire(161.0)) == ["1"]
    assert ids(holds) == ["2"]


def test_what_is_taken_back_is_let_go():
    holds = Holds(5, 60)
    for number in range(3):
        holds.put(held(number))
    assert ids(holds.retract(Retraction("websocket", "author", "v1", 9.0))) == ["1"]
    assert ids(holds.retract(Retraction("websocket", "message", "2", 9.0))) == ["2"]
    assert ids(holds.clear()) == ["0"]
    assert list(holds) == []
