"""Retractions at odd moments: early, twice, of nothing, in mute, sleep and drain, and on the last metres."""

import asyncio
import time
from dataclasses import replace

import pytest

from tests.chat.test_twitch_replies import asked, dropped, spoken
from tests.chat.test_twitch_replies import until as comes_true
from tests.chat.twitch_stage import log_in, mocked, on_stage
from tests.support.inboxes import plain_inbox
from tests.support.scripted import calm, message
from tests.support.twitch_mock import CHANNEL_ID, Answer
from tests.test_pipeline import Brain, running, says
from vtuber_brain.bus.outbox import Outbox, Publication
from vtuber_brain.chat.subscriber import Subscriber
from vtuber_brain.context.heard import Heard
from vtuber_brain.messages import Drop, Dropped, Retraction, Turn, Utterance
from vtuber_brain.publisher import Publisher
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import ChatSettings


def deletion(of, scope="message", **more):
    return Retraction("websocket", scope, of, time.time(), **more)


def fates(brain):
    return [(drop.message.id, drop.reason) for drop in brain.out.of(Dropped)]


async def test_what_is_deleted_before_it_comes_and_deleted_twice_is_dropped_once():
    async with running(Brain(says("Never this."))) as brain:
        for _ in range(2):
            await brain.pipeline.receive(deletion("early"))
        await brain.pipeline.receive(message("early"))
        await brain.pipeline.receive(deletion("early"))
        await brain.out.until(lambda out: out.of(Dropped))
    assert fates(brain) == [("early", Drop.RETRACTED)]
    assert not brain.engine.requests


async def test_the_deletion_of_an_unknown_message_disturbs_nobody():
    more = asyncio.Event()
    async with running(Brain(says("One.", " Two", more, "."))) as brain:
        await brain.pipeline.receive(message("hello"))
        await brain.out.until(lambda out: out.of(Utterance))
        await brain.pipeline.receive(deletion("never heard of"))
        more.set()
        await brain.out.until(lambda out: out.of(Turn))
    assert (brain.turns()["hello"].outcome, brain.turns()["hello"].text) == ("spoken", "One. Two.")


@pytest.mark.parametrize("other", ["mute", "skip", "sleep", "drain"])
async def test_being_retracted_outweighs_any_other_end(other):
    """Both come before the reply has had a moment to notice either."""
    async with running(Brain(says("One.", " Two", asyncio.Event()))) as brain:
        await brain.pipeline.receive(message("hello"))
        await brain.out.until(lambda out: out.of(Utterance))
        ending = None
        if other == "mute":
            brain.pipeline.mute()
        elif other == "skip":
            assert await brain.pipeline.skip()
        else:
            ending = asyncio.create_task(getattr(brain.pipeline, other)(0))
            while brain.pipeline._mouth.speaking.ending is None:
                await asyncio.sleep(0)
        await brain.pipeline.receive(deletion("hello"))
        await brain.out.until(lambda out: out.of(Turn))
        if ending is not None:
            await ending
    assert [(turn.outcome, turn.reason) for turn in brain.out.of(Turn)] == [("retracted", "message")]


async def test_what_mute_has_cut_is_withdrawn_when_it_is_deleted_later():
    async with running(Brain(says("One.", " Two", asyncio.Event()))) as brain:
        await brain.pipeline.receive(message("hello"))
        await brain.out.until(lambda out: out.of(Utterance))
        brain.pipeline.mute()
        await brain.out.until(lambda out: out.of(Turn))
        for _ in range(2):
            await brain.pipeline.receive(deletion("hello"))
        brain.pipeline.unmute()
    assert [turn.outcome for turn in brain.out.of(Turn)] == ["cut", "retracted"]
    assert [record.outcome for record in brain.out.records if isinstance(record, Turn)] == ["cut", "retracted"]


async def test_a_ban_that_ends_takes_back_what_was_said_and_lets_the_viewer_come_back():
    async with running(Brain(says("Hello there."))) as brain:
        await brain.pipeline.receive(message("before", author="eve"))
        await brain.out.until(lambda out: out.of(Turn))
        await brain.pipeline.receive(deletion("eve", "author", until=time.time() + 60))
        await brain.pipeline.receive(message("during", author="eve"))
        await brain.pipeline.receive(message("after", author="eve", at=time.time() + 61))
        await brain.out.until(lambda out: len(out.of(Turn)) == 3)
    assert [(turn.message.id, turn.outcome) for turn in brain.out.of(Turn)] == [
        ("before", "spoken"),
        ("before", "retracted"),
        ("after", "spoken"),
    ]
    assert fates(brain) == [("during", Drop.BANNED)]
    assert "before" not in repr(brain.engine.requests[-1].messages)


async def test_a_message_deleted_in_the_moment_it_is_taken_up_is_not_answered():
    """Between leaving the inbox and the first step of its own task it was nowhere to be found."""
    brain = Brain(says("Never this."))
    taken = brain.pipeline._inbox.take

    async def take():
        chosen = await taken()
        asyncio.get_running_loop().call_soon(brain.pipeline.retract, deletion(chosen.id))
        return chosen

    brain.pipeline._inbox.take = take
    async with running(brain):
        await brain.pipeline.receive(message("hello"))
        await brain.out.until(lambda out: out.of(Dropped) or out.of(Turn))
    assert fates(brain) == [("hello", Drop.RETRACTED)]
    assert not brain.engine.requests


async def test_a_reply_prompted_with_words_taken_back_is_begun_again_without_them():
    again = asyncio.Event()

    def script(request):
        return ["Noted."] if len(brain.engine.requests) != 2 else ["She said", again, " xylophone."]

    brain = Brain(script)
    async with running(brain):
        await brain.pipeline.receive(message("my word is xylophone"))
        await brain.out.until(lambda out: out.of(Turn))
        await brain.pipeline.receive(message("what was it?", author="bram"))
        while len(brain.engine.requests) < 2:
            await asyncio.sleep(0)
        assert "xylophone" in repr(brain.engine.requests[1].messages)
        await brain.pipeline.receive(deletion("my word is xylophone"))
        await brain.out.until(lambda out: len(out.of(Turn)) == 3)
    assert "xylophone" not in repr(brain.engine.requests[2].messages)
    assert [text for id_, text in brain.said() if id_ == "what was it?"] == ["Noted."]
    assert brain.turns()["what was it?"].outcome == "spoken"


@pytest.mark.parametrize("muted", [False, True])
async def test_one_that_is_being_said_is_cut_and_mute_still_ends_one_that_would_be_begun_again(muted):
    sentence = [] if muted else ["One.", " And"]

    def script(request):
        return ["Noted."] if len(brain.engine.requests) == 1 else [*sentence, asyncio.Event()]

    brain = Brain(script)
    async with running(brain):
        await brain.pipeline.receive(message("first"))
        await brain.out.until(lambda out: out.of(Turn))
        await brain.pipeline.receive(message("second", author="bram"))
        while len(brain.engine.requests) < 2 or len(brain.out.of(Utterance)) < 2 - muted:
            await asyncio.sleep(0)
        brain.pipeline.retract(deletion("first"))
        if muted:
            brain.pipeline.mute()
        await brain.out.until(lambda out: len(out.of(Turn)) == 2)
    second = brain.turns()["second"]
    assert (second.outcome, second.reason) == (("failed", "muted") if muted else ("cut", "outdated"))
    assert len(brain.engine.requests) == 2


async def test_a_reply_that_quotes_words_taken_back_leaves_the_memory_with_them():
    async with running(Brain(says("Nadia said: I ate a SOFA!"))) as brain:
        await brain.pipeline.receive(message("i ate a sofa"))
        await brain.out.until(lambda out: out.of(Turn))
        await brain.pipeline.receive(message("what did she say?", author="bram"))
        await brain.out.until(lambda out: len(out.of(Turn)) == 2)
        await brain.pipeline.receive(deletion("i ate a sofa"))
        assert "sofa" not in repr(brain.memory.recall(message("and?"))).casefold()


async def test_no_judgement_that_is_late_brings_a_reply_back():
    gate, asked_for = asyncio.Event(), asyncio.Event()

    async def ask(text):
        if text.startswith("Slow"):
            asked_for.set()
            await gate.wait()
        return await calm(text)

    async with running(Brain(says("Slow to judge."), ask)) as brain:
        await brain.pipeline.receive(message("hello"))
        await asked_for.wait()
        await brain.pipeline.receive(deletion("hello"))
        gate.set()
        await brain.out.until(lambda out: out.of(Turn))
    assert brain.said() == []
    assert brain.turns()["hello"].outcome == "retracted"


def test_words_of_a_gift_keep_the_id_by_which_they_can_be_taken_back():
    drops = []
    inbox = plain_inbox(
        ChatSettings(), Metrics(), on_drop=lambda one, why: drops.append((one.id, why)), clock=lambda: 0
    )
    for number, text in (("a", ""), ("b", "marmalade"), ("c", "")):
        gift = message(text, number=number, kind="cheer", amount=5, received_s=0)
        assert inbox.admit(gift) is None
        inbox.put(gift)
    inbox.retract(deletion("b"))
    assert drops == [("c", Drop.COMBINED), ("b", Drop.RETRACTED)]
    assert len(inbox) == 1


async def test_nothing_of_a_withdrawn_reply_leaves_the_outbox_not_even_what_was_under_way():
    drops = []
    outbox = Outbox(9, 60, drops.append)
    for name, reply_id in (("a0", "a"), ("a1", "a"), ("b0", "b"), ("end", None)):
        outbox.put(Publication("utterance", name.encode(), time.monotonic(), reply_id))
    under_way = await outbox.take()
    outbox.withdraw("a")
    outbox.put_back(under_way)
    left = []
    for _ in range(2):
        left.append((await outbox.take()).payload)
        outbox.settle()
    async with asyncio.timeout(5):
        await outbox.drained()
    assert (left, drops) == ([b"b0", b"end"], ["retracted", "retracted"])


async def test_a_subscriber_who_is_slow_is_not_told_sentences_taken_back():
    sent, free = [], asyncio.Event()

    async def send(frame):
        await free.wait()
        sent.append(frame)

    subscriber = Subscriber(send, Metrics())
    for frame, reply_id in (("a0", "a"), ("a1", "a"), ("b0", "b"), ("verdict", None)):
        subscriber.push(frame, reply_id)
    subscriber.withdraw("a")
    subscriber.start()
    free.set()
    async with asyncio.timeout(5):
        await subscriber.sent_all()
    await subscriber.stop()
    assert sent == ["b0", "verdict"]


async def test_who_may_be_playing_it_hears_of_a_retraction_before_a_slow_disk_does():
    told, disk = [], asyncio.Event()

    class Ear:
        name = "ear"

        async def emit(self, event):
            told.append(event.outcome)

    async def record(_event):
        await disk.wait()

    publisher = Publisher(record, [Ear()], Metrics())
    whole = Turn("r", message("hello"), "spoken", "One.", "One.", "mori", "m", None)
    late = asyncio.create_task(publisher.publish(whole))
    gone = asyncio.create_task(publisher.publish(replace(whole, outcome="retracted")))
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0)
    disk.set()
    await asyncio.gather(late, gone)
    assert told == ["retracted"], "and nothing of the reply after it"


def test_a_reply_that_is_over_is_taken_back_once_and_what_the_player_says_later_changes_nothing():
    heard, asked_by = Heard(), message("hello")
    heard.close(Turn("r", asked_by, "spoken", "One. Two.", "One. Two.", "mori", "m", None), ["One.", "Two."])
    heard.close(Turn("s", message("other"), "spoken", "One.", "One.", "mori", "m", None), ["One."])
    heard.close(Turn("silent", asked_by, "failed", "", "", "mori", "m", None), [])
    (turn,) = heard.retract(deletion("hello"))
    assert (turn.reply_id, turn.outcome, turn.reason) == ("r", "retracted", "message")
    assert heard.retract(deletion("hello")) == []
    later = heard.note("r", 0, "finished")
    assert (later.outcome, later.heard_text) == ("retracted", "One.")


async def test_a_reply_that_twitch_is_too_busy_for_is_not_written_after_its_message_was_deleted(monkeypatch):
    async with mocked(monkeypatch) as twitch:
        log_in(twitch)
        async with on_stage(reply_in_chat="all") as stage:
            session = await twitch.subscribed()
            twitch.fail("/helix/chat/messages", *[Answer(429, headers={"Retry-After": "0.3"})] * 3)
            await spoken(stage, "too late", asked(message_id="m0"))
            await comes_true(lambda: len(twitch.plans["/helix/chat/messages"]) < 3)
            room = {"broadcaster_user_id": CHANNEL_ID, "target_user_id": "77"}
            await session.notify("channel.chat.message_delete", {**room, "message_id": "m0"})
            await comes_true(lambda: dropped(stage, "retracted") == 1)
            await spoken(stage, "fine", asked(message_id="m1"))
            await twitch.until(lambda: twitch.sent)
    assert [body["message"] for body in twitch.sent] == ["fine"]
