"""The mood of the room: waiting messages are felt for a share of the classifier's time, and that changes the choice."""

import asyncio
import contextlib

import pytest

from tests.support.scripted import message
from vtuber_brain.chat.choice import Choice
from vtuber_brain.chat.inbox import Inbox
from vtuber_brain.config import Settings
from vtuber_brain.crowd import BATCH, Crowd
from vtuber_brain.errors import JudgeDown
from vtuber_brain.messages import Mood
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import ChatSettings, ChoiceSettings
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.sentiment.rules import RuleSet


def mood_of(text):
    share = 0.9 if "love" in text else 0.1
    return Mood("positive" if share > 0.5 else "negative", {"negative": 1 - share, "neutral": 0.0, "positive": share})


class Room:
    """A crowd before an inbox, with a classifier that a test can hold up, and what it was asked."""

    def __init__(self, share=1.0, **choice):
        settings = Settings()
        self.asked, self.metrics, self.answering = [], Metrics(), asyncio.Event()
        self.answering.set()
        chosen = Choice(ChoiceSettings(fold_likeness=2, wave_viewers=1000, **choice), lambda: ())
        self.inbox = Inbox(ChatSettings(author_burst=1000), chosen, self.metrics, on_drop=lambda *_: None)
        self.judge = Judge(settings.sentiment, RuleSet.load(settings.sentiment), self.ask, self.metrics)
        self.crowd = Crowd(self.inbox, self.judge, self.metrics, share)

    async def ask(self, text):
        self.asked.append(text)
        await self.answering.wait()
        if "down" in text:
            raise JudgeDown("gone")
        return mood_of(text)

    def hear(self, text, **fields):
        one = message(text, **fields)
        assert self.inbox.admit(one) is None
        self.inbox.put(one)

    def felt(self, why):
        return self.metrics.registry.get_sample_value("vtb_moods_total", {"why": why}) or 0

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(room):
    task = asyncio.create_task(room.crowd.run())
    try:
        yield room
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_friendlier_of_two_is_taken_once_their_moods_are_known():
    weights = dict.fromkeys(("novelty", "age", "new_viewer", "length"), 0.0)
    async with running(Room(mood=1.0, **weights)) as room:
        room.hear("i love this stream", author="a")
        room.hear("i hate this stream", author="b")
        await room.until(lambda: room.felt("waiting") == 2)
        taken = await room.inbox.take()
    assert taken.author.id == "a"
    assert taken.chosen.parts == {"mood": 0.8}
    assert taken.chosen.num_waiting == 2


async def test_of_many_the_best_and_the_latest_are_felt_and_one_batch_at_a_time():
    room = Room()
    room.answering.clear()
    for number in range(40):
        room.hear(f"line {number}" + ("?" if number < 4 else ""), author=f"v{number}")
    async with running(room):
        await room.until(lambda: room.asked)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(room.asked) == BATCH
        assert set(room.asked) == {*(f"line {n}?" for n in range(4)), *(f"line {n}" for n in range(36, 40))}
        room.answering.set()
        await room.until(lambda: room.felt("waiting") == 40)
    assert sorted(room.asked) == sorted({*room.asked}), "nothing is asked twice"


async def test_the_room_has_a_mood_that_fades():
    room = Room()
    assert room.crowd.mood is None
    room.crowd.feel(message("one"), mood_of("love"), "judged")
    assert room.crowd.mood["positive"] == pytest.approx(0.9)
    room.crowd.feel(message("two"), mood_of("hate"), "judged")
    assert room.crowd.mood["positive"] == pytest.approx(0.5, abs=0.01)
    room.crowd._felt_s -= 300
    room.crowd.feel(message("three"), mood_of("love"), "judged")
    assert room.crowd.mood["positive"] == pytest.approx(0.9, abs=0.01)
    assert room.metrics.registry.get_sample_value("vtb_room_mood", {"sentiment": "positive"}) > 0.89
    assert room.felt("judged") == 3


async def test_one_message_counts_once_in_the_mood_of_the_room():
    room = Room()
    one = message("hello")
    for why in ("waiting", "judged"):
        room.crowd.feel(one, mood_of("love"), why)
    assert (room.felt("waiting"), room.felt("judged")) == (1, 0)


async def test_with_no_share_nothing_that_waits_is_felt():
    room = Room(share=0.0)
    room.hear("hello")
    await asyncio.wait_for(room.crowd.run(), 1)
    assert room.asked == []


async def test_a_silent_classifier_is_left_alone_for_a_while():
    room = Room()
    room.hear("down")
    async with running(room):
        await room.until(lambda: room.asked)
        for _ in range(50):
            await asyncio.sleep(0)
        assert room.asked == ["down"]
        assert room.felt("waiting") == 0
