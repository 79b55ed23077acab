"""What the transcript says she was asked is what the engine was asked, message by message."""

import asyncio
import contextlib
import random
import sqlite3
import time

import pytest

from tests.support.scripted import calm, message
from tests.test_pipeline import PERSONA, Brain, running
from vtuber_brain.air import Air
from vtuber_brain.bus import control
from vtuber_brain.commands import Commands
from vtuber_brain.config import state_dir
from vtuber_brain.context.prompt import opening
from vtuber_brain.messages import Mood, Retraction, Turn
from vtuber_brain.mute_mark import MuteMark
from vtuber_brain.night_sections import CurateSettings
from vtuber_brain.retrain.curate import curate
from vtuber_brain.retrain.replayed import replay
from vtuber_brain.retrain.stored import packed
from vtuber_brain.sections import MemorySettings
from vtuber_brain.transcripts.past import streams
from vtuber_brain.transcripts.ratings import rate
from vtuber_brain.transcripts.store import Transcripts
from vtuber_brain.transcripts.viewers import forget, opt_out

MEMORY = MemorySettings()
VIEWERS = ["nadia", "bram", "kopi", "lena"]
SAYINGS = [
    "my name is {}",
    "I love green tea called {}",
    "my favorite color is {}",
    "what do you think about {}?",
    "aku suka kucing {}",
    "{} and nothing else",
]


def saying(kind, number):
    """A saying of its own for every number."""
    return SAYINGS[kind % 6].format(f"k{chr(97 + number // 26)}{chr(97 + number % 26)}u")


class Knows:
    """A plugin that knows something of some viewers."""

    name = "knows"

    async def recall(self, message):
        return [f"was here on day {len(message.text)}"] if message.author.id in ("kopi", "lena") else []


async def feels(text):
    """Half of what is said sounds like something."""
    if len(text) % 2:
        return await calm(text)
    return Mood("positive", {"negative": 0.1, "neutral": 0.1, "positive": 0.8}, 0.01)


def answers(request):
    """A reply that hangs on what was asked alone: one to four sentences, the last perhaps without its end."""
    rng = random.Random(request.messages[-1]["content"])
    return [f"{'[wave] ' if n == 1 else ''}Sentence {rng.randrange(99)} of it. " for n in range(rng.randint(1, 4))]


@contextlib.asynccontextmanager
async def streaming(script=answers, memory=MEMORY, noted=True, **options):
    path = state_dir() / "transcripts.db"
    settings = memory.model_dump_json() if noted else None
    async with Transcripts.open(path, persona="mori", model="scripted", release=None, memory=settings) as transcripts:
        brain = Brain(script, feels, **options)
        brain.publisher.record, brain.transcripts = transcripts.append, transcripts
        async with running(brain):
            yield brain


def rebuilt(persona=PERSONA, assumed=MEMORY, path=None):
    return [replay(stream, persona, assumed) for stream in streams(path or state_dir() / "transcripts.db")]


def live(brain):
    """By the words that were answered: what the engine was asked last, without the opening."""
    start = len(opening(PERSONA))
    assert all(request.messages[:start] == opening(PERSONA) for request in brain.engine.requests)
    return {request.messages[-1]["content"]: request.messages[start:] for request in brain.engine.requests}


def plain(asked):
    return [{"role": one.role, "content": one.content} for one in asked.prompt]


async def settled(brain, count):
    await brain.out.until(lambda out: len(out.of(Turn)) >= count, timeout_s=30)


def assert_as_asked(brain, replayed, count):
    asked = live(brain)
    assert len(replayed.asked) == count
    for one in replayed.asked:
        assert plain(one) == asked[one.prompt[-1].content], one.reply_id
        assert len(one.past) == len(one.prompt) // 2


@pytest.mark.parametrize("seed", range(4))
async def test_a_busy_stream_is_built_again_word_by_word(seed):
    """Several viewers, facts, musings, three thoughts at once, and a player that skips, late and early."""
    rng = random.Random(seed)
    async with streaming(recalls=[Knows()], thinking=3) as brain:
        musings = 0
        async with asyncio.TaskGroup() as group:
            for n in range(45):
                text = saying(rng.randrange(6), n)
                kind = rng.choice(["chat"] * 6 + ["cheer"])
                said = message(text, rng.choice(VIEWERS), n, kind=kind, amount=float(n))
                await brain.pipeline.receive(said)
                if rng.random() < 0.1:
                    brain.pipeline._begin(None, f"musing {n}", group, lambda: None)
                    musings += 1
                turns = brain.out.of(Turn)
                if turns and rng.random() < 0.5:
                    played = rng.choice(["started", "finished", "skipped"])
                    await brain.pipeline.hear(rng.choice(turns[-3:]).reply_id, rng.randrange(4), played)
                if rng.random() < 0.3:
                    await settled(brain, n + 1 + musings)
            await settled(brain, 45 + musings)
    (replayed,) = rebuilt()
    assert replayed.left == ()
    assert_as_asked(brain, replayed, 45 + musings)
    prompts = [one["content"] for prompt in live(brain).values() for one in prompt]
    for wanted in ("was here on day", "has talked with you", "is called", "sounds happy", "(musing", "cheers with"):
        assert any(wanted in prompt for prompt in prompts), f"the stream does not show what it should: {wanted}"
    assert any(one.outcome == "cut" and one.heard_text != one.text for one in replayed.asked)


async def test_after_sleep_and_wake_she_is_asked_what_the_transcript_of_the_next_stream_says():
    async with streaming() as brain:
        with Air(brain.transcripts, state_dir() / "transcripts.db", "mori").live() as air:
            rooms = brain.pipeline, brain.cast, brain.engine
            commands = Commands(*rooms, air=air, mute_mark=MuteMark(state_dir()), drain_s=1, reload=None)
            await brain.pipeline.receive(message("my name is Xylo", "nadia", 1))
            await settled(brain, 1)
            for command in (control.Sleep(command="sleep"), control.Wake(command="wake")):
                assert (await commands.obey(command)).ok
            for n in (2, 3):
                await brain.pipeline.receive(message(saying(n, n), "nadia", n))
                await settled(brain, n)
    yesterday, today = rebuilt()
    assert_as_asked(brain, yesterday, 1)
    assert_as_asked(brain, today, 2)


async def test_what_is_taken_back_on_the_way_leaves_every_other_prompt_as_it_was():
    gate, reached = asyncio.Event(), asyncio.Event()

    def script(request):
        if "marmalade" not in request.messages[-1]["content"]:
            return answers(request)
        reached.set()
        return ["Oh?", " Well.", gate]

    async with streaming(script, thinking=2) as brain:
        for n in range(12):
            if n == 5:
                await brain.pipeline.receive(message("I hide marmalade", "eve", "gone"))
                await reached.wait()
            if n == 9:
                await brain.pipeline.receive(Retraction("websocket", "message", "gone", time.time()))
            await brain.pipeline.receive(message(saying(n, n), VIEWERS[n % 3], n))
            if n < 5 or n >= 9:
                await settled(brain, n + 1)
        gate.set()
        await settled(brain, 13)
    (replayed,) = rebuilt()
    assert [(one.id.split("/")[0], one.reason) for one in replayed.left] == [("1", "retracted")]
    assert_as_asked(brain, replayed, 12)


async def test_words_taken_back_later_are_in_no_prompt_and_those_after_it_are_as_they_were():
    def script(request):
        if request.messages[-1]["content"].endswith(": so do you know?"):
            return ["Bram said: I hide marmalade in the piano! "]
        return answers(request)

    async with streaming(script) as brain:
        texts = ["hello there", "I hide marmalade in the piano", "so do you know?", "well then", "tea?", "more tea?"]
        for n, text in enumerate(texts):
            await brain.pipeline.receive(message(text, VIEWERS[n % 3], n))
            await settled(brain, n + 1 + (n > 3))  # of which one tells that it was taken back
            if n == 3:
                await brain.pipeline.receive(Retraction("websocket", "message", "1", time.time()))
    (replayed,) = rebuilt()
    assert sorted(one.reason for one in replayed.left) == ["quotes_filtered", "retracted"]
    asked = live(brain)
    assert [one.prompt[-1].content.rpartition(": ")[2] for one in replayed.asked] == [texts[n] for n in (0, 3, 4, 5)]
    assert "marmalade" not in repr(replayed.asked)
    for one in (replayed.asked[0], *replayed.asked[2:]):
        assert plain(one) == asked[one.prompt[-1].content]


async def test_settings_that_changed_since_are_those_of_the_stream_and_unknown_ones_are_named():
    small = MemorySettings(window=2, max_chars=400)
    async with streaming(memory=small) as brain:
        brain.memory._settings = small
        brain.pipeline._settings = brain.pipeline._settings.model_copy(update={"memory": small})
        for n in range(6):
            await brain.pipeline.receive(message(saying(n, n), "nadia", n))
            await settled(brain, n + 1)
    (replayed,) = rebuilt()
    assert_as_asked(brain, replayed, 6)
    assert max(len(one.past) for one in replayed.asked) == 2
    with sqlite3.connect(state_dir() / "transcripts.db") as database:
        database.execute("""UPDATE streams SET memory = '{"from_the_future": 1}'""")
    database.close()
    (replayed,) = rebuilt()
    assert replayed.asked == ()
    assert {one.reason for one in replayed.left} == {"settings_unknown"}


async def test_a_clock_that_went_back_and_a_turn_without_a_time_are_named():
    async with streaming() as brain:
        for n in range(4):
            await brain.pipeline.receive(message(saying(n, n), "nadia", n))
            await settled(brain, n + 1)
    path = state_dir() / "transcripts.db"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE turns SET prompted_at = NULL WHERE message_id = '2'")
    (replayed,) = rebuilt()
    assert [one.reason for one in replayed.left] == ["no_prompt"]
    assert len(replayed.asked) == 3
    with sqlite3.connect(path) as database:
        database.execute("UPDATE hearings SET at = at - 3600 WHERE id = 3")
    database.close()
    (replayed,) = rebuilt()
    assert {one.reason for one in replayed.left} == {"clock_stepped"}


async def recorded(path, monkeypatch, viewers):
    """One stream with what `viewers` say of it, under a clock and with reply ids that hang on the messages alone."""
    now = [1000.0]
    for where in ("pipeline", "replies"):
        monkeypatch.setattr(f"vtuber_brain.{where}.unix_s", lambda: now[0])
    async with Transcripts.open(
        path, persona="mori", model="scripted", release=None, memory=MEMORY.model_dump_json(), clock=lambda: now[0]
    ) as transcripts:
        brain = Brain(lambda request: [request.messages[-1]["content"][-12:] + ", I see. ", "Really. "], feels)
        brain.publisher.record = transcripts.append
        async with running(brain):
            count = 0
            for n in range(40):
                viewer = ["xeno", *VIEWERS][n % 5]
                now[0] = 1000.0 + 10 * n
                if viewer not in viewers:
                    continue
                brain.mouth.new_id = lambda n=n: f"{n:012x}"
                text = saying(n, n)
                await brain.pipeline.receive(message(text, viewer, n, at=now[0]))
                count += 1
                await settled(brain, count)
    for stream in streams(path):
        for turn in stream.turns:
            rate(path, turn.reply_id, 1, "ana")
    return learnt(path)


def learnt(path):
    """What is learnt from a file, as bytes and as values."""
    replayed = rebuilt(path=path)
    found = curate(replayed, 1000, CurateSettings(min_cap=1000, burst=1000))
    assert len(found.chosen) > 20
    return packed(found.examples), [one.asked for one in replayed], [one.feelings for one in replayed]


@pytest.mark.parametrize("how", ["forgotten", "opted out", "banned"])
async def test_without_a_viewer_all_is_as_if_they_had_never_written(tmp_path, monkeypatch, how):
    with_x, without_x = tmp_path / "with.db", tmp_path / "without.db"
    before = await recorded(with_x, monkeypatch, ["xeno", *VIEWERS])
    never = await recorded(without_x, monkeypatch, VIEWERS)
    assert before != never
    match how:
        case "forgotten":
            forget(with_x, "websocket", "xeno", at=1e12)
        case "opted out":
            opt_out(with_x, "websocket", "xeno", "ana")
        case "banned":
            with sqlite3.connect(with_x) as database:
                database.execute(
                    "INSERT INTO retractions (stream_id, source, scope, target_id, at) "
                    "VALUES (1, 'websocket', 'author', 'xeno', 9999)"
                )
            database.close()
    assert learnt(with_x) == never
    assert b"Xeno" in before[0]
    assert b"Xeno" not in never[0]


async def test_cheers_that_became_one_and_viewers_who_asked_the_same_are_as_she_was_asked():
    gate, reached = asyncio.Event(), asyncio.Event()

    def script(request):
        if not reached.is_set():
            reached.set()
            return ["One moment.", gate]
        return answers(request)

    async with streaming(script, thinking=1) as brain:
        await brain.pipeline.receive(message("hello", "nadia", 0))
        await reached.wait()
        await brain.pipeline.receive(message("take this", "kopi", 1, kind="cheer", amount=100))
        await brain.pipeline.receive(message("", "kopi", 2, kind="cheer", amount=50))
        gate.set()
        await settled(brain, 2)
    (replayed,) = rebuilt()
    assert_as_asked(brain, replayed, 2)
    assert "cheers with 150 bits" in replayed.asked[1].prompt[-1].content
