"""A remote engine that runs for the time of a block, and what tests ask of it."""

import asyncio
import contextlib

from vtuber_brain.engine.api import Request
from vtuber_brain.engine.remote import RemoteEngine
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import RemoteSettings

QUICK = {"model": "base", "connect_timeout_s": 5, "first_token_timeout_s": 5, "retry_max_s": 0.02, "probe_s": 0.05}


@contextlib.asynccontextmanager
async def engine_for(*urls, deadline_s=10, wait=True, ready_s=10, **settings):
    """`states` are the changes of state with their reasons, `heard` is notified of each."""
    states, heard = [], asyncio.Condition()

    def note(state, reason):
        states.append((state, reason))
        telling.append(asyncio.create_task(tell()))

    async def tell():
        async with heard:
            heard.notify_all()

    telling = []
    engine = RemoteEngine(RemoteSettings(**QUICK | {"urls": list(urls)} | settings), deadline_s, Metrics(), note)
    engine.states, engine.heard = states, heard
    task = asyncio.create_task(engine.run())
    try:
        if wait:
            async with asyncio.timeout(ready_s):
                await engine.wait_ready()
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, *telling, return_exceptions=True)


async def until_state(engine, state, timeout_s=10):
    async with asyncio.timeout(timeout_s), engine.heard:
        await engine.heard.wait_for(lambda: bool(engine.states) and engine.states[-1][0] == state)


async def looked_at(*servers):
    """A look at each of these fakes has begun and ended since."""
    for server in servers:
        before = server.num_looks
        await server.until(lambda server, before=before: server.num_looks >= before + 2)


def request(text="hello", max_tokens=8, *, lora=None, priority=0, stop=(), **sampling):
    return Request([{"role": "user", "content": text}], max_tokens, Sampling(**sampling), stop, lora, priority)


async def collect(engine, asked=None):
    """The text of a reply and its Done."""
    pieces = [piece async for piece in engine.generate(asked or request())]
    assert isinstance(pieces[-1], Done)
    return "".join(pieces[:-1]), pieces[-1]
