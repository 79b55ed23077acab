"""The output `device`, with a sound card of ours that keeps PortAudio's contract: a thread that asks for blocks."""

import asyncio
import contextlib
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.voices import said
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.voice.device import Device
from vtuber_brain.voice.mixer import FADE_SAMPLES, Mixer
from vtuber_brain.voice.sound import RATE, Clip


def ramp(start, num):
    return np.arange(start, start + num, dtype="<i2")


class Card:
    """An open device: calls back from its own thread, one block after another, `speed` times as fast as sound is.

    As PortAudio does: the block is uninitialised memory, time is a clock of its own, and nothing waits for Python.
    """

    def __init__(self, on_block, on_stop, *, speed=20.0, block=256):
        self.on_block, self.on_stop, self.speed, self.block = on_block, on_stop, speed, block
        self.blocks, self.broken, self.closed = [], False, threading.Event()
        self.thread = threading.Thread(target=self.run, name="card", daemon=True)
        self.thread.start()

    def run(self):
        clock_s = 0.0
        while not self.closed.is_set() and not self.broken:
            block = np.full((self.block, 1), 12345, np.int16)
            self.on_block(
                block, self.block, SimpleNamespace(currentTime=clock_s, outputBufferDacTime=clock_s + 0.02), 0
            )
            self.blocks.append(block[:, 0].copy())
            clock_s += self.block / RATE
            self.closed.wait(self.block / RATE / self.speed)
        self.on_stop()

    def close(self):
        self.closed.set()
        self.thread.join(5)

    @property
    def sound(self):
        return np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.int16)


class Told:
    """Who is told what is played, and that the player is lost."""

    def __init__(self):
        self.acks, self.lost_for = [], []

    def played(self, key, state, at):
        self.acks.append((*key, state, at))

    def lost(self, why, keep=frozenset()):
        self.lost_for.append(why)


@contextlib.asynccontextmanager
async def device(**options):
    cards, told = [], Told()

    def opening(on_block, on_stop):
        cards.append(Card(on_block, on_stop, **options))
        return cards[-1]

    out = Device(opening)
    running = asyncio.create_task(out.run(told), name="device")
    try:
        await until(lambda: out.is_heard)
        yield out, cards, told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert all(card.closed.is_set() for card in cards)


async def until(holds):
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)


async def test_sentences_sound_end_to_end_with_silence_round_them_and_their_moments_are_told():
    async with device() as (out, cards, told):
        out.give(said("r1", 0), Clip(ramp(1, 1000).tobytes()))
        out.give(said("r1", 1), Clip(ramp(1001, 1000).tobytes()))
        await until(lambda: len(told.acks) == 4)
        sound = cards[0].sound
        start = int(np.argmax(sound))
        start = start - 1999
        assert np.array_equal(sound[start : start + 2000], ramp(1, 2000))
        assert not sound[:start].any()
        assert not sound[start + 2000 :].any()
        assert [ack[:3] for ack in told.acks] == [
            ("r1", 0, "started"),
            ("r1", 0, "finished"),
            ("r1", 1, "started"),
            ("r1", 1, "finished"),
        ]
        assert told.acks[0][3] == pytest.approx(time.time(), abs=1)


async def test_a_stop_is_silent_within_200_ms_and_without_a_click():
    async with device(speed=1.0) as (out, cards, told):
        loud = np.full(10 * RATE, 20_000, "<i2")
        out.give(said("r1", 0), Clip(loud.tobytes()))
        await until(lambda: told.acks)
        before = time.monotonic()
        out.stop()
        num = len(cards[0].blocks)
        await until(lambda: any(not block.any() for block in cards[0].blocks[num:]))
        assert time.monotonic() - before < 0.2
        steps = np.abs(np.diff(cards[0].sound[cards[0].sound.argmax() + 1 :].astype(int)))
        assert steps.max() <= 20_000 / FADE_SAMPLES + 200


async def test_a_skip_leaves_the_other_reply_alone():
    async with device() as (out, _, told):
        out.give(said("r1", 0), Clip(ramp(1, 20_000).tobytes()))
        out.give(said("r2", 0), Clip(ramp(1, 500).tobytes()))
        await until(lambda: told.acks)
        out.skip("r1")
        await until(lambda: ("r2", 0, "finished") in [ack[:3] for ack in told.acks])
        assert ("r1", 0, "finished") not in [ack[:3] for ack in told.acks]


async def test_a_device_that_goes_is_told_of_and_opened_again(monkeypatch):
    monkeypatch.setattr("vtuber_brain.voice.device.FIRST_PAUSE_S", 0.01)
    async with device() as (out, cards, told):
        out.give(said("r1", 0), Clip(ramp(1, 20_000).tobytes()))
        await until(lambda: told.acks)
        cards[0].broken = True
        await until(lambda: len(cards) == 2 and out.is_heard)
        assert told.lost_for == ["device_gone"]
        out.give(said("r2", 0), Clip(ramp(1, 500).tobytes()))
        await until(lambda: ("r2", 0, "finished") in [ack[:3] for ack in told.acks])
        assert cards[1].sound.max() == 500


@pytest.mark.parametrize("error", [Refused("no such device"), Unavailable("busy")])
async def test_a_device_that_cannot_be_opened_is_tried_again_or_given_up(error, monkeypatch):
    monkeypatch.setattr("vtuber_brain.voice.device.FIRST_PAUSE_S", 0.01)
    tries = []

    def opening(on_block, on_stop):
        tries.append(1)
        raise error

    running = asyncio.create_task(Device(opening).run(Told()), name="device")
    if isinstance(error, Refused):
        with pytest.raises(Refused):
            await running
        assert len(tries) == 1
    else:
        await until(lambda: len(tries) > 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_sentence_is_not_torn_by_the_size_of_the_blocks():
    for size in (1, 7, 999, 1000, 5000):
        mixer, out = Mixer(), []
        mixer.put(("r1", 0), ramp(1, 1000).tobytes())
        mixer.put(("r1", 1), ramp(1001, 1).tobytes())
        while sum(map(len, out)) < 1100:
            block = np.empty(size, np.int16)
            mixer.fill(block)
            out.append(block)
        assert np.array_equal(np.concatenate(out)[:1001], ramp(1, 1001))
        assert not np.concatenate(out)[1001:].any()


def test_what_fades_on_a_device_that_is_gone_is_not_ended_on_another():
    mixer, block = Mixer(), np.empty(100, np.int16)
    mixer.put(("r1", 0), ramp(1, 1000).tobytes())
    mixer.fill(block)
    mixer.drop("r1")
    mixer.clear()
    mixer.fill(block)
    assert not block.any()
