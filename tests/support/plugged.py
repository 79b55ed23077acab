"""One of the plugins that ship, set up and running as the daemon runs it: sources in tasks, events to its sinks."""

import asyncio
import contextlib
import time

from vtuber_brain.config import shipped
from vtuber_brain.errors import Refused
from vtuber_brain.messages import Playback, Status
from vtuber_brain.plugins import Plugins
from vtuber_brain.runtime.metrics import Metrics


class Plugged:
    """`given_up` is why a source ended with Refused; `health` all that was told of the plugin's own health."""

    def __init__(self, name, plugins):
        self.name, self.plugins = name, plugins
        self.health, self.given_up = [(True, "")], None
        self._changed = asyncio.Event()
        plugins.on_health = self._hear_health

    @property
    def status(self):
        return next(one for one in self.plugins.statuses if one.name == self.name)

    @property
    def trouble(self):
        return self.health[-1][1]

    async def emit(self, *events):
        for event in events:
            for sink in self.plugins.sinks:
                await sink.emit(event)

    async def play(self, said, state="started", late_s=0.0):
        """The player's word on one sentence."""
        await self.emit(Playback(said.reply_id, said.seq, state, time.time() - late_s))

    async def say(self, said):
        """A sentence is said, and begins to be heard."""
        await self.emit(said)
        await self.play(said)

    async def is_now(self, *, muted=False, persona="mori"):
        await self.emit(Status("muted" if muted else "online", muted, persona, None))

    async def until(self, holds, timeout_s=10):
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def _hear_health(self, part, up, reason):
        assert part == self.name
        self.health.append((up, reason))
        self._changed.set()

    async def run(self, source):
        try:
            await source.run(_refuse)
        except Refused as error:
            self.given_up = str(error)
            self._changed.set()


async def _refuse(incoming):
    raise AssertionError("it delivers nothing")


@contextlib.asynccontextmanager
async def plugged(name, **settings):
    """The plugin with these settings, running inside the block; nothing of it is left behind."""
    plugins = await Plugins.start({name: settings}, Metrics(), places=[shipped("plugins")])
    one = Plugged(name, plugins)
    assert one.status.state == "on", one.status.detail
    tasks = [asyncio.create_task(one.run(source)) for source in plugins.sources]
    before = asyncio.all_tasks() - set(tasks)
    try:
        yield one
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        inner = {task for task in asyncio.all_tasks() - before if task.get_name().startswith(name)}
        left = (await asyncio.wait(inner, timeout=0.9))[1] if inner else ()  # after 1 s they would be left lying
        assert not left, left


async def refusal(name, **settings):
    """Why the plugin does not set itself up with these settings."""
    plugins = await Plugins.start({name: settings}, Metrics(), places=[shipped("plugins")])
    (status,) = [one for one in plugins.statuses if one.name == name]
    assert status.state == "failed"
    return status.detail
