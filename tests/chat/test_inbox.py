"""The inbox: bounded, fair to money, and every message offered ends in exactly one place."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.inboxes import plain_inbox
from vtuber_brain.chat.inbox import MAX_AUTHORS, Recent
from vtuber_brain.messages import Author, ChatMessage, Drop, Retraction
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import ChatSettings

WIDE = {"author_burst": 10_000, "author_per_s": 10_000}


class Desk:
    """An inbox with a clock in the hand and a list of what it dropped."""

    def __init__(self, **chat) -> None:
        self.now_s = 100.0
        self.drops: list[tuple[str, Drop]] = []
        self.metrics = Metrics()
        self.inbox = plain_inbox(
            ChatSettings(**{**WIDE, **chat}),
            self.metrics,
            on_drop=lambda message, reason: self.drops.append((message.id, reason)),
            clock=lambda: self.now_s,
        )

    def message(self, id_, author="kopi", kind="chat", source="websocket", at=None):
        at = self.now_s if at is None else at
        return ChatMessage(source, str(id_), Author(author, author), f"hi {id_}", at, self.now_s, kind)

    def offer(self, id_, **fields):
        message = self.message(id_, **fields)
        if (reason := self.inbox.admit(message)) is None:
            self.inbox.put(message)
        return reason

    def take_all(self) -> list[str]:
        """What `take` would hand out until it had to wait."""
        return [message.id for message in iter(self.inbox._next, None)]


def test_the_newest_is_taken_first():
    desk = Desk()
    assert [desk.offer(n) for n in range(3)] == [None] * 3
    assert desk.take_all() == ["2", "1", "0"]
    assert desk.drops == []


def test_money_goes_first():
    desk = Desk()
    desk.offer("chat")
    for n, kind in enumerate(("cheer", "sub", "gift", "raid", "redeem")):
        desk.offer(n, kind=kind)
    assert desk.take_all() == ["1", "2", "0", "3", "4", "chat"], "a sub and a gift are worth more than one bit"


def test_a_full_lane_drops_its_oldest_and_says_so():
    desk = Desk(capacity=2)
    assert [desk.offer(n) for n in range(3)] == [None, None, None]
    assert desk.drops == [("0", Drop.INBOX_FULL)]
    assert desk.take_all() == ["2", "1"]


def test_chat_never_crowds_out_money():
    desk = Desk(capacity=2, money_capacity=2)
    for n in range(2):
        desk.offer(f"cheer{n}", kind="cheer", author=f"fan{n}")
    for n in range(50):
        desk.offer(n)
    assert desk.take_all() == ["cheer0", "cheer1", "49", "48"]


def test_a_full_money_lane_drops_money_and_leaves_chat_alone():
    desk = Desk(money_capacity=1)
    desk.offer("chat")
    desk.offer("a", kind="sub", author="ana")
    desk.offer("b", kind="sub", author="beni")
    assert desk.drops == [("a", Drop.INBOX_FULL)]
    assert desk.take_all() == ["b", "chat"]


def test_a_duplicate_is_known_also_after_it_was_taken():
    desk = Desk()
    desk.offer("a")
    assert desk.offer("a") is Drop.DUPLICATE
    desk.take_all()
    assert desk.offer("a") is Drop.DUPLICATE
    assert desk.offer("a", source="twitch") is None


def test_ids_are_forgotten_oldest_first_but_never_while_waiting():
    desk = Desk(dedupe=2)
    for n in range(3):
        desk.offer(n)
    assert desk.offer(0) is Drop.DUPLICATE, "still in line, though no longer remembered"
    desk.take_all()
    for n in range(3, 5):
        desk.offer(n)
    assert desk.offer(1) is None


def test_one_author_cannot_flood_but_another_may_speak():
    desk = Desk(author_burst=2, author_per_s=0.5)
    assert [desk.offer(n, author="loud") for n in range(4)] == [None, None, Drop.AUTHOR_RATE, Drop.AUTHOR_RATE]
    assert desk.offer("other", author="calm") is None
    desk.now_s += 2
    assert desk.offer("later", author="loud") is None


def test_money_has_no_author_rate():
    desk = Desk(author_burst=1, author_per_s=0.001)
    assert [desk.offer(n, kind="cheer") for n in range(5)] == [None] * 5


def test_authors_remembered_are_bounded():
    desk = Desk(author_burst=1, author_per_s=0.001, capacity=1)
    for n in range(MAX_AUTHORS + 10):
        desk.offer(n, author=f"viewer{n}")
    assert len(desk.inbox._authors) == MAX_AUTHORS
    assert desk.offer("again", author=f"viewer{MAX_AUTHORS + 9}") is Drop.AUTHOR_RATE


def test_who_goes_on_trying_is_not_forgotten():
    desk = Desk(author_burst=1, author_per_s=0.001, capacity=1)
    desk.offer("first", author="loud")
    for n in range(MAX_AUTHORS - 1):
        desk.offer(n, author=f"viewer{n}")
    assert desk.offer("second", author="loud") is Drop.AUTHOR_RATE
    for n in range(10):
        desk.offer(f"new{n}", author=f"newcomer{n}")
    assert desk.offer("third", author="loud") is Drop.AUTHOR_RATE


def test_what_waited_too_long_is_dropped_on_the_way_out():
    desk = Desk(max_age_s=20)
    desk.offer("old")
    desk.offer("gift", kind="gift")
    desk.now_s += 20.5
    desk.offer("fresh")
    assert desk.take_all() == ["gift", "fresh"]
    assert desk.drops == [("old", Drop.TOO_OLD)]


def test_a_retracted_message_leaves_the_line():
    desk = Desk()
    desk.offer("a")
    desk.offer("b")
    removed = desk.inbox.retract(Retraction("websocket", "message", "a", desk.now_s))
    assert [message.id for message in removed] == ["a"]
    assert desk.drops == [("a", Drop.RETRACTED)]
    assert desk.take_all() == ["b"]


def test_a_retraction_may_come_before_its_message():
    desk = Desk()
    assert desk.inbox.retract(Retraction("websocket", "message", "a", desk.now_s)) == []
    assert desk.offer("a", source="twitch") is None
    assert desk.offer("a") is Drop.RETRACTED


def test_a_banned_author_is_out_now_and_later_also_with_money():
    desk = Desk()
    desk.offer("a", author="troll")
    desk.offer("b", author="kopi")
    desk.inbox.retract(Retraction("websocket", "author", "troll", desk.now_s))
    assert desk.offer("c", author="troll") is Drop.BANNED
    assert desk.offer("d", author="troll", kind="cheer") is Drop.BANNED
    assert desk.offer("e", author="troll", source="twitch") is None, "another platform's troll is another person"
    assert desk.drops == [("a", Drop.BANNED), ("c", Drop.BANNED), ("d", Drop.BANNED)]


def test_a_cleared_chat_takes_back_all_that_was_said_before_it():
    desk = Desk()
    desk.offer("a")
    desk.offer("gift", kind="gift")
    desk.offer("elsewhere", source="twitch")
    desk.now_s += 1
    desk.inbox.retract(Retraction("websocket", "all", None, desk.now_s))
    assert desk.offer("late", at=desk.now_s - 0.5) is Drop.RETRACTED
    desk.now_s += 1
    assert desk.offer("new") is None
    assert desk.take_all() == ["new", "elsewhere"]


def test_an_older_clear_does_not_undo_a_newer_one():
    desk = Desk()
    desk.inbox.retract(Retraction("websocket", "all", None, 50))
    desk.inbox.retract(Retraction("websocket", "all", None, 40))
    assert desk.offer("a", at=45) is Drop.RETRACTED


def test_draining_accounts_for_everything_that_waits():
    desk = Desk()
    desk.offer("a")
    desk.offer("b", kind="sub")
    assert [message.id for message in desk.inbox.drain(Drop.STOPPING)] == ["b", "a"]
    assert desk.drops == [("b", Drop.STOPPING), ("a", Drop.STOPPING)]
    assert len(desk.inbox) == 0


def test_the_gauges_tell_what_waits():
    desk = Desk()
    desk.offer("a")
    desk.offer("b", kind="sub")
    desk.offer("c")
    value = desk.metrics.registry.get_sample_value
    assert value("vtb_inbox_waiting", {"lane": "chat"}) == 2
    assert value("vtb_inbox_waiting", {"lane": "money"}) == 1


async def test_take_waits_for_a_message():
    desk = Desk()
    taking = asyncio.create_task(desk.inbox.take())
    await asyncio.sleep(0)
    desk.offer("a")
    async with asyncio.timeout(5):
        assert (await taking).id == "a"


async def test_take_waits_again_once_all_are_taken():
    desk = Desk()
    desk.offer("a")
    assert (await desk.inbox.take()).id == "a"
    taking = asyncio.create_task(desk.inbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    desk.offer("b")
    async with asyncio.timeout(5):
        assert (await taking).id == "b"


async def test_two_takers_get_one_message_each():
    desk = Desk()
    takers = [asyncio.create_task(desk.inbox.take()) for _ in range(2)]
    await asyncio.sleep(0)
    desk.offer("a")
    desk.offer("b")
    async with asyncio.timeout(5):
        assert {message.id for message in await asyncio.gather(*takers)} == {"a", "b"}


@pytest.mark.parametrize("num_steps", range(4))
async def test_a_cancelled_taker_loses_nothing(num_steps):
    desk = Desk()
    taking = asyncio.create_task(desk.inbox.take())
    await asyncio.sleep(0)
    desk.offer("a")
    for _ in range(num_steps):
        await asyncio.sleep(0)
    cancelled = taking.cancel()
    result = (await asyncio.gather(taking, return_exceptions=True))[0]
    if cancelled:
        assert isinstance(result, asyncio.CancelledError)
        assert desk.take_all() == ["a"]
    else:
        assert result.id == "a"


class TestRecent:
    def test_forgets_the_oldest(self):
        recent = Recent(2)
        assert [recent.add(item) for item in "aab"] == [True, False, True]
        recent.add("c")
        assert ("a" in recent, "b" in recent, "c" in recent) == (False, True, True)


offers = st.tuples(
    st.just("offer"), st.integers(0, 12), st.sampled_from("xyz"), st.sampled_from(["chat", "cheer"]), st.floats(0, 3)
)
retractions = st.tuples(
    st.just("retract"), st.sampled_from(["message", "author", "all"]), st.integers(0, 12), st.sampled_from("xyz")
)


@settings(deadline=None)
@given(st.lists(st.one_of(offers, retractions, st.just(("take",)), st.just(("drain",))), max_size=80))
def test_the_books_balance_whatever_happens(steps):
    desk = Desk(capacity=3, money_capacity=2, dedupe=4, max_age_s=2, author_burst=2, author_per_s=1)
    offered, taken = Counter(), Counter()
    for step in steps:
        match step:
            case ("offer", id_, author, kind, pause_s):
                desk.now_s += pause_s
                offered[str(id_)] += 1
                dropped = len(desk.drops)
                reason = desk.offer(id_, author=author, kind=kind)
                assert reason is None or desk.drops[dropped:] == [(str(id_), reason)]
            case ("retract", "message", id_, _):
                desk.inbox.retract(Retraction("websocket", "message", str(id_), desk.now_s))
            case ("retract", scope, _, author):
                desk.inbox.retract(Retraction("websocket", scope, None if scope == "all" else author, desk.now_s))
            case ("take",):
                taken.update(desk.take_all())
            case ("drain",):
                desk.inbox.drain(Drop.MUTED)
    taken.update(desk.take_all())
    assert offered == taken + Counter(id_ for id_, _ in desk.drops)
    assert len(desk.inbox) == 0


def test_a_timeout_ends_and_never_shortens_a_ban():
    desk = Desk()
    desk.inbox.retract(Retraction("websocket", "author", "loud", desk.now_s, until=desk.now_s + 10))
    assert desk.offer("a", author="loud") is Drop.BANNED
    desk.now_s += 11
    assert desk.offer("b", author="loud") is None
    desk.inbox.retract(Retraction("websocket", "author", "rude", desk.now_s))
    desk.inbox.retract(Retraction("websocket", "author", "rude", desk.now_s, until=desk.now_s + 1))
    desk.now_s += 100
    assert desk.offer("c", author="rude") is Drop.BANNED
