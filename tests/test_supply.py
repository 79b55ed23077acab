"""Sources that fail come back, those that were refused when the operator reloads, and their health with them."""

import asyncio
import contextlib

import pytest

from vtuber_brain import supply
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.supply import Supply


class Script:
    """A source whose runs are scripted: an exception to raise, or an Event to run until."""

    def __init__(self, *runs, name="one.chat"):
        self.name, self.runs, self.num = name, list(runs), 0
        self.started = asyncio.Condition()

    async def run(self, deliver):
        self.num += 1
        async with self.started:
            self.started.notify_all()
        one = self.runs.pop(0) if self.runs else asyncio.Event()
        if isinstance(one, Exception):
            raise one
        await deliver("hello")
        await one.wait()

    async def nth(self, num):
        async with asyncio.timeout(5), self.started:
            await self.started.wait_for(lambda: self.num >= num)


@contextlib.asynccontextmanager
async def kept(source, monkeypatch, first_s=0.001, deliver=None):
    monkeypatch.setattr(supply, "FIRST_PAUSE_S", first_s)

    async def nothing(incoming):
        pass

    health = Health(Metrics(), lambda: None)
    keeping = Supply(deliver or nothing, health)
    task = asyncio.create_task(keeping.keep(source))
    try:
        yield keeping, health
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_source_that_fails_is_down_and_up_again_when_it_delivers(monkeypatch):
    source = Script(Unavailable("gone"), Unavailable("gone again"))
    async with kept(source, monkeypatch) as (_, health):
        await source.nth(2)
        assert health.down == {"one.chat": "gone again"} or health.down == {"one.chat": "gone"}
        await source.nth(3)
        async with asyncio.timeout(5):
            while health.down:
                await asyncio.sleep(0)


async def test_one_that_only_runs_on_is_up_again_after_a_while(monkeypatch):
    monkeypatch.setattr(supply, "WELL_AFTER_S", 0.05)

    class Quiet(Script):
        async def run(self, deliver):
            await super().run(lambda _: asyncio.sleep(0)) if self.runs else await asyncio.Event().wait()

    async with kept(Quiet(Unavailable("gone")), monkeypatch) as (_, health):
        async with asyncio.timeout(5):
            while not health.down:
                await asyncio.sleep(0)
            while health.down:
                await asyncio.sleep(0.005)


async def test_one_that_was_refused_rests_until_the_operator_reloads(monkeypatch):
    source = Script(Refused("no login"))
    async with kept(source, monkeypatch) as (keeping, health):
        await source.nth(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                async with source.started:
                    await source.started.wait_for(lambda: source.num > 1)
        assert health.down == {"one.chat": "no login"}
        keeping.try_again()
        await source.nth(2)


async def test_a_reload_ends_a_long_pause_and_does_not_touch_what_runs(monkeypatch):
    source = Script(Unavailable("gone"))
    async with kept(source, monkeypatch, first_s=600) as (keeping, _):
        await source.nth(1)
        await asyncio.sleep(0)
        keeping.try_again()
        await source.nth(2)
        keeping.try_again()
        await asyncio.sleep(0.01)
        assert source.num == 2


async def test_after_a_stable_run_the_pause_is_short_again(monkeypatch):
    monkeypatch.setattr(supply, "STABLE_S", -1)
    monkeypatch.setattr(supply, "MAX_PAUSE_S", 600)
    source = Script(*(Unavailable("gone") for _ in range(12)))
    async with kept(source, monkeypatch, first_s=0.01):
        await source.nth(13)  # doubling from 10 ms it would take 40 s


async def test_a_delivery_that_hangs_is_seen_by_the_watchdog(monkeypatch):
    let_go = asyncio.Event()

    async def hangs(incoming):
        await let_go.wait()

    async with kept(Script(), monkeypatch, deliver=hangs) as (keeping, _):
        async with asyncio.timeout(5):
            while not keeping.busy.stuck_s() > 0.01:
                await asyncio.sleep(0.005)
        let_go.set()
        async with asyncio.timeout(5):
            while keeping.busy.stuck_s():
                await asyncio.sleep(0.005)
