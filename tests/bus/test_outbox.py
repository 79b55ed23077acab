"""The outbox: order, bounds, age, and what happens to the one under way."""

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.bus.outbox import Outbox, Publication


def one(name: str, channel: str = "utterance", age_s: float = 0) -> Publication:
    return Publication(channel, name.encode(), time.monotonic() - age_s)


def make(capacity: int = 3, max_age_s: float = 10) -> tuple[Outbox, list[str]]:
    drops: list[str] = []
    return Outbox(capacity, max_age_s, drops.append), drops


async def take_all(outbox: Outbox) -> list[str]:
    names = []
    while True:
        try:
            names.append((await asyncio.wait_for(outbox.take(), 0.01)).payload.decode())
        except TimeoutError:
            return names
        outbox.settle()


async def test_first_in_first_out_and_the_oldest_goes_when_full():
    outbox, drops = make(capacity=3)
    for name in "abcde":
        outbox.put(one(name))
    assert drops == ["full", "full"]
    assert await take_all(outbox) == ["c", "d", "e"]


async def test_what_is_spoken_grows_stale_and_what_is_recorded_does_not():
    outbox, drops = make(max_age_s=10)
    outbox.put(one("old words", age_s=11))
    outbox.put(one("old cue", "cue", age_s=11))
    outbox.put(one("old record", "reply", age_s=11))
    assert await take_all(outbox) == ["old record"]
    assert drops == ["stale", "stale"]


async def test_only_the_latest_status_is_kept_it_goes_first_and_is_never_dropped():
    outbox, drops = make(capacity=1)
    outbox.put(one("online", "status"))
    outbox.put(one("a"))
    outbox.put(one("muted", "status"))
    outbox.put(one("b"))
    assert await take_all(outbox) == ["muted", "b"]
    assert drops == ["full"]


async def test_what_was_under_way_goes_first_again():
    outbox, drops = make()
    outbox.put(one("a"))
    under_way = await outbox.take()
    outbox.put(one("b"))
    outbox.put_back(under_way)
    assert await take_all(outbox) == ["a", "b"]
    assert drops == []


async def test_what_was_under_way_is_the_oldest_and_goes_when_full():
    outbox, drops = make(capacity=2)
    for name in "ab":
        outbox.put(one(name))
    under_way = await outbox.take()
    outbox.put(one("c"))
    outbox.put_back(under_way)
    assert await take_all(outbox) == ["b", "c"]
    assert drops == ["full"]


async def test_a_status_under_way_gives_way_to_a_later_one():
    outbox, _ = make()
    outbox.put(one("online", "status"))
    under_way = await outbox.take()
    outbox.put(one("muted", "status"))
    outbox.put_back(under_way)
    assert await take_all(outbox) == ["muted"]
    outbox.put_back(under_way)
    assert await take_all(outbox) == ["online"]


async def test_drained_waits_for_the_one_under_way():
    outbox, _ = make()
    await outbox.drained()
    outbox.put(one("a"))
    await outbox.take()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outbox.drained(), 0.01)
    outbox.settle()
    await asyncio.wait_for(outbox.drained(), 1)


async def test_take_wakes_when_something_comes():
    outbox, _ = make()
    taking = asyncio.create_task(outbox.take())
    await asyncio.wait({taking}, timeout=0.01)
    outbox.put(one("a"))
    assert (await asyncio.wait_for(taking, 1)).payload == b"a"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["put", "take", "fail"])), st.integers(1, 5))
def test_nothing_is_lost_uncounted_and_nothing_changes_places(steps, capacity):
    async def run() -> None:
        drops: list[str] = []
        outbox = Outbox(capacity, 10, drops.append)
        num_put, num_waiting, sent = 0, 0, []
        for step in steps:
            if step == "put":
                outbox.put(Publication("utterance", str(num_put).encode(), time.monotonic()))
                num_put, num_waiting = num_put + 1, min(num_waiting + 1, capacity)
            elif num_waiting:
                taken = await outbox.take()
                if step == "take":
                    outbox.settle()
                    sent.append(int(taken.payload))
                    num_waiting -= 1
                else:
                    outbox.put_back(taken)
        assert sent == sorted(set(sent))
        assert num_put == len(sent) + len(drops) + num_waiting

    asyncio.run(run())
