"""The voice as a whole, with an output of the test's: what the bus says, what is played, and what is told of it."""

import asyncio
import contextlib
import time

import pytest
from structlog.testing import capture_logs

from tests.support.voices import Hum, ended, said, state
from vtuber_brain.bus.control import Mute, Skip, Unmute
from vtuber_brain.bus.topics import CuePayload
from vtuber_brain.errors import EngineDown
from vtuber_brain.voice.synthesis import Synthesis
from vtuber_brain.voice.voice import Voice
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings


class Paper:
    """An output that writes down what it is told to do; the test says what is played."""

    def __init__(self):
        self.is_heard, self.given, self.deeds, self.told = True, [], [], None

    async def run(self, told):
        self.told = told
        await asyncio.get_running_loop().create_future()

    def give(self, sentence, sound):
        self.given.append((sentence.reply_id, sentence.seq))

    def skip(self, reply_id, *, is_retracted=False):
        self.deeds.append(("skip", reply_id, is_retracted))

    def stop(self):
        self.deeds.append(("stop",))

    def cue(self, shown):
        self.deeds.append(("cue", shown.name))

    def status(self, how):
        self.deeds.append(("status", how.state))


class Scene:
    """A running voice, its output, and the acknowledgements so far."""

    def __init__(self, hum, **changes):
        settings = VoiceSettings(engines={"en": "hum"}, fallback="", **changes)
        self.out, self.acks, self.changed = Paper(), [], asyncio.Event()
        self.voice = Voice(settings, Synthesis(settings, lambda _: PersonaVoice(), {"hum": hum}), self.out, self.note)

    def note(self, played):
        self.acks.append((played.reply_id, played.seq, played.state))

    async def until(self, holds):
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0)

    async def play(self, sentence):
        """Have one sentence spoken to its end."""
        key = (sentence.reply_id, sentence.seq)
        self.voice.utterance(sentence)
        await self.until(lambda: key in self.out.given)
        for did in ("started", "finished"):
            self.voice.played(key, did, time.time())

    async def given(self, *keys):
        await self.until(lambda: self.out.given == list(keys))


@contextlib.asynccontextmanager
async def scene(hum=None, **changes):
    one = Scene(hum or Hum(), **changes)
    running = asyncio.create_task(one.voice.run(), name="voice")
    try:
        await one.until(lambda: one.out.told is not None)
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_sentences_are_given_in_order_and_what_is_played_is_told():
    async with scene() as one:
        for seq in range(3):
            one.voice.utterance(said("r1", seq))
        await one.given(("r1", 0), ("r1", 1), ("r1", 2))
        for played in ("started", "finished"):
            one.voice.played(("r1", 0), played, 0.0)
        assert one.acks == [("r1", 0, "started"), ("r1", 0, "finished")]


@pytest.mark.parametrize(
    ("end", "is_silent"),
    [
        (ended(outcome="retracted"), True),
        (ended(outcome="cut", reason="skip"), True),
        (ended(outcome="cut", reason="interrupted"), True),
        (ended(outcome="cut", reason="toxic"), False),
        (ended(outcome="cut"), False),
        (ended(outcome="failed", reason="engine_down"), False),
        (ended(), False),
    ],
)
async def test_a_reply_that_is_cut_or_taken_back_falls_silent_and_one_that_merely_ends_does_not(end, is_silent):
    async with scene() as one:
        one.voice.utterance(said("r1", 0))
        await one.given(("r1", 0))
        one.voice.reply(end)
        assert one.acks == [("r1", 0, "skipped")] * is_silent
        assert one.out.deeds == [("skip", "r1", end.outcome == "retracted")] * is_silent


@pytest.mark.parametrize("way", ["status", "control"])
async def test_mute_is_heard_both_ways_and_lasts_until_she_may_speak(way):
    async with scene() as one:
        one.voice.utterance(said("r1", 0))
        await one.given(("r1", 0))
        if way == "status":
            one.voice.status(state("muted"))
        else:
            one.voice.control(Mute(command="mute"))
        assert one.acks == [("r1", 0, "skipped")]
        assert ("stop",) in one.out.deeds
        one.voice.status(state("offline"))
        one.voice.utterance(said("r2", 0))
        assert one.acks[-1] == ("r2", 0, "skipped")
        if way == "status":
            one.voice.status(state("online"))
        else:
            one.voice.control(Unmute(command="unmute"))
        one.voice.utterance(said("r3", 0))
        await one.given(("r1", 0), ("r3", 0))


async def test_the_operators_skip_ends_the_reply_that_sounds_and_the_next_goes_on():
    async with scene() as one:
        one.voice.utterance(said("r1", 0))
        one.voice.utterance(said("r2", 0))
        await one.given(("r1", 0), ("r2", 0))
        one.voice.control(Skip(command="skip"))
        assert one.acks == [("r1", 0, "skipped")]
        one.voice.control(Skip(command="skip"))
        one.voice.control(Skip(command="skip"))
        assert one.acks == [("r1", 0, "skipped"), ("r2", 0, "skipped")]


async def test_what_nobody_hears_is_skipped_and_said_so_once():
    with capture_logs() as logs:
        await _unheard()
    events = [entry["event"] for entry in logs]
    assert (events.count("voice_unheard"), events.count("voice_heard")) == (1, 1)


async def test_before_anybody_ever_listened_nothing_is_acknowledged():
    async with scene() as one:
        one.out.is_heard = False
        with capture_logs() as logs:
            one.voice.utterance(said("r1", 0))
            await one.until(lambda: "sentence_skipped" in [entry["event"] for entry in logs])
        one.out.is_heard = True
        await one.play(said("r2", 0))
        assert one.acks == [("r2", 0, "started"), ("r2", 0, "finished")]


async def _unheard():
    async with scene() as one:
        await one.play(said("r0", 0))
        one.acks.clear()
        one.out.is_heard = False
        for seq in range(3):
            one.voice.utterance(said("r1", seq))
        await one.until(lambda: len(one.acks) == 3)
        assert {played for _, _, played in one.acks} == {"skipped"}
        one.out.is_heard = True
        one.voice.utterance(said("r2", 0))
        await one.given(("r0", 0), ("r2", 0))


async def test_an_engine_that_is_dead_costs_its_sentences_and_nothing_else():
    async with scene(Hum(fails=EngineDown("gone"), trigger="lost")) as one:
        one.voice.utterance(said("r1", 0, "lost words"))
        one.voice.utterance(said("r1", 1, "other words"))
        await one.given(("r1", 1))
        assert one.acks == [("r1", 0, "skipped")]


async def test_a_sentence_in_the_making_is_given_up_when_its_reply_is_cut_and_the_next_does_not_wait():
    gate = asyncio.Event()
    hum = Hum(gate=gate)
    async with scene(hum) as one:
        one.voice.utterance(said("r1", 0))
        one.voice.utterance(said("r2", 0))
        await one.until(lambda: len(hum.asked) == 1)
        one.voice.reply(ended("r1", "retracted"))
        await one.until(lambda: len(hum.asked) == 2)
        gate.set()
        await one.given(("r2", 0))
        assert one.acks == [("r1", 0, "skipped")]


async def test_a_player_that_says_nothing_is_given_up_on():
    async with scene(patience_s=0.1) as one:
        one.voice.utterance(said("r1", 0))
        await one.until(lambda: one.acks == [("r1", 0, "skipped")])
        assert one.out.deeds == [("skip", "r1", False)]


async def test_a_cue_of_a_sentence_is_shown_with_its_sound_and_one_of_its_own_at_once():
    async with scene() as one:
        smile, wave = (CuePayload(name=name, intensity=1.0, for_ms=2000) for name in ("smile", "wave"))
        one.voice.utterance(said("r1", 0, cue=smile))
        one.voice.cue(smile)
        one.voice.cue(wave)
        one.voice.cue(smile)
        assert one.out.deeds == [("cue", "wave"), ("cue", "smile")]


async def test_a_players_clock_that_is_far_off_is_not_believed():
    told = []
    async with scene() as one:
        one.voice._publish = told.append
        one.voice.utterance(said("r1", 0))
        await one.given(("r1", 0))
        one.voice.played(("r1", 0), "started", 5.0)
        assert told[0].at > 1_700_000_000
        one.voice.played(("r1", 0), "finished", told[0].at + 1)
        assert told[1].at == told[0].at + 1
