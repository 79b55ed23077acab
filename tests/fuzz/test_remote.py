"""Whatever a server elsewhere streams or says it serves: the reply comes, or the error that the host knows."""

import asyncio
import json
import time

import pytest

from tests.fuzz.mutated import mutated
from tests.support.openai_fake import FakeServer, Raw
from tests.support.remotes import engine_for, request
from vtuber_brain.engine.wire import Done
from vtuber_brain.errors import EngineDown, RequestFailed

LIMIT_S = 1.0
AT_ONCE = 8


def event(**choice):
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "base", "choices": [choice]}


EVENTS = [
    event(index=0, delta={"role": "assistant", "content": "Hel"}, finish_reason=None),
    event(index=0, delta={"content": "lo."}, finish_reason=None),
    event(index=0, delta={}, finish_reason="stop"),
    {**event(), "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
]
PARTS = [json.dumps(one).encode() for one in EVENTS]
STREAM = b"".join(b"data: " + part + b"\n\n" for part in [*PARTS, b"[DONE]"])


def spoilt(number):
    """Bytes of the stream spoilt, or the JSON of one of its events."""
    if number % 2:
        return mutated([STREAM], number)
    place = number // 2 % len(PARTS)
    parts = [*PARTS[:place], mutated([PARTS[place]], number), *PARTS[place + 1 :], b"[DONE]"]
    return b"".join(b"data: " + part.replace(b"\n", b" ") + b"\n\n" for part in parts)


async def asked(engine, data, server, turn):
    """One reply after the other: the bytes are those of this one."""
    async with turn:
        server.plan[:] = [Raw(data)] * 3
        began_s = time.monotonic()
        try:
            pieces = [piece async for piece in engine.generate(request())]
        except (RequestFailed, EngineDown):
            return time.monotonic() - began_s
        assert isinstance(pieces[-1], Done)
        assert all(isinstance(piece, str) for piece in pieces[:-1])
        return time.monotonic() - began_s


async def all_answered(numbers):
    turn = asyncio.Lock()
    async with FakeServer() as server, engine_for(server.url, max_retries=0, first_token_timeout_s=0.5) as engine:
        for number in numbers:
            data = spoilt(number)
            took_s = await asked(engine, data, server, turn)
            assert took_s < LIMIT_S or await asked(engine, data, server, turn) < LIMIT_S, data[:300]
            server.plan.clear()
            await asyncio.wait_for(engine.wait_ready(), 10)
        server.plan[:] = [Raw(STREAM)]
        assert "".join([piece async for piece in engine.generate(request()) if isinstance(piece, str)]) == "Hello."


async def test_no_stream_breaks_the_engine():
    await all_answered(range(150))


@pytest.mark.slow
async def test_no_stream_of_many_breaks_the_engine():
    await all_answered(range(10_000))
