"""The queue of one subscriber: bounded, in order, honest about what it lost."""

import asyncio
import json

from websockets.exceptions import ConnectionClosedOK

from vtuber_brain.chat.subscriber import MAX_QUEUED, Subscriber
from vtuber_brain.runtime.metrics import Metrics


class Wire:
    """A connection that takes a frame only when it is let."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.open = asyncio.Event()
        self.closed = False

    async def send(self, frame: str) -> None:
        await self.open.wait()
        if self.closed:
            raise ConnectionClosedOK(None, None)
        self.sent.append(frame)


async def all_sent(subscriber: Subscriber) -> None:
    async with asyncio.timeout(10):
        await subscriber.sent_all()


async def test_frames_go_out_in_order():
    wire = Wire()
    wire.open.set()
    subscriber = Subscriber(wire.send, Metrics())
    subscriber.start()
    subscriber.start()
    for n in range(5):
        subscriber.push(str(n))
    await all_sent(subscriber)
    assert wire.sent == list("01234")
    await subscriber.stop()


async def test_a_slow_subscriber_loses_the_oldest_and_is_told():
    wire, metrics = Wire(), Metrics()
    subscriber = Subscriber(wire.send, metrics)
    subscriber.start()
    total = MAX_QUEUED + 40
    for n in range(total):
        subscriber.push(str(n))
    wire.open.set()
    await all_sent(subscriber)
    assert json.loads(wire.sent[0]) == {"type": "lost", "count": 40}
    assert wire.sent[1:] == [str(n) for n in range(40, total)]
    assert metrics.registry.get_sample_value("vtb_frames_refused_total", {"code": "slow_subscriber"}) == 40
    await subscriber.stop()


async def test_a_connection_that_went_away_holds_nobody_up():
    wire = Wire()
    wire.closed = True
    wire.open.set()
    subscriber = Subscriber(wire.send, Metrics())
    subscriber.start()
    subscriber.push("a")
    await all_sent(subscriber)
    await subscriber.stop()


async def test_stopping_does_not_wait_for_a_stuck_connection():
    subscriber = Subscriber(Wire().send, Metrics())
    subscriber.start()
    subscriber.push("a")
    async with asyncio.timeout(10):
        await subscriber.stop()
