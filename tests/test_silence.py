"""She breaks a silence after the time set, and not for ever when nobody answers."""

import asyncio

import pytest

from vtuber_brain.silence import Silence


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


async def is_over(silence):
    """Whether `over` returns without any waiting."""
    waiting = asyncio.create_task(silence.over())
    for _ in range(5):
        await asyncio.sleep(0)
    if not waiting.done():
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return False
    return True


async def test_a_silence_is_over_after_its_time_and_begins_anew(clock):
    silence = Silence(30, 5, clock)
    clock.now_s += 29
    assert not await is_over(silence)
    clock.now_s += 1
    assert await is_over(silence)
    assert not await is_over(silence)


async def test_what_is_written_or_said_begins_it_anew(clock):
    silence = Silence(30, 5, clock)
    for stir in (silence.heard, silence.spoke):
        clock.now_s += 30
        stir()
        assert not await is_over(silence)


async def test_a_silence_that_she_does_not_break_counts_for_nothing(clock):
    silence = Silence(30, 2, clock)
    for _ in range(5):
        clock.now_s += 30
        assert await is_over(silence)
        assert not await is_over(silence)


async def test_to_an_empty_room_she_speaks_only_so_often_until_somebody_writes(clock):
    silence = Silence(30, 2, clock)
    for expected in (True, True, False, False):
        clock.now_s += 60
        assert await is_over(silence) == expected
        if expected:
            silence.broken()
    silence.heard()
    clock.now_s += 60
    assert await is_over(silence)
