"""The daemon's side of the engine against a real worker process that answers, dies, hangs and refuses."""

import asyncio
import contextlib
import os
import signal

import pytest

from tests.support.families import save_talker
from vtuber_brain.engine.api import Request
from vtuber_brain.engine.client import LocalEngine
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import EngineDown, Refused, RequestFailed
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import EngineSettings, ModelSettings

SETTINGS = EngineSettings(
    num_slots=4, context=256, threads=1, ping_s=0.1, slow_s=0.5, dead_s=3, backoff_s=0.05, backoff_max_s=0.1
)
LONG = 200


@pytest.fixture(scope="module")
def talker(tmp_path_factory, bundled_model):
    return str(save_talker(tmp_path_factory.mktemp("talker"), bundled_model))


@contextlib.asynccontextmanager
async def engine_for(model, settings=SETTINGS):
    states = []
    engine = LocalEngine(model, settings, ModelSettings(), Metrics(), lambda state, _: states.append(state))
    engine.states = states
    task = asyncio.create_task(engine.run())
    try:
        async with asyncio.timeout(60):
            await engine.wait_ready()
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def request(text="hello", max_tokens=12, **sampling):
    return Request([{"role": "user", "content": text}], max_tokens, Sampling(**sampling))


async def collect(engine, asked):
    pieces = [piece async for piece in engine.generate(asked)]
    assert isinstance(pieces[-1], Done)
    return "".join(pieces[:-1]), pieces[-1].usage


async def test_a_reply_streams_and_ends_with_its_usage(talker):
    async with engine_for(talker) as engine:
        text, usage = await collect(engine, request())
        assert text
        assert usage.completion_tokens == 12


async def test_a_crowd_gets_what_each_gets_alone(talker):
    async with engine_for(talker) as engine:
        asked = [request(f"question {n}") for n in range(6)]
        alone = [(await collect(engine, one))[0] for one in asked]
        crowd = await asyncio.gather(*(collect(engine, one) for one in asked))
        assert [text for text, _ in crowd] == alone


async def test_leaving_a_stream_frees_its_slot(talker):
    async with engine_for(talker, SETTINGS.model_copy(update={"num_slots": 1})) as engine:
        async with contextlib.aclosing(engine.generate(request(max_tokens=LONG))) as stream:
            await anext(stream)
        async with asyncio.timeout(10):
            _, usage = await collect(engine, request(max_tokens=2))
        assert usage.queued_ms < 1000


async def test_kill_in_mid_reply_fails_it_by_type_and_the_next_is_answered(talker):
    async with engine_for(talker) as engine:
        with pytest.raises(EngineDown):
            async for _ in engine.generate(request(max_tokens=LONG)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine.pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            await engine.wait_ready()
            text, _ = await collect(engine, request())
        assert text
        assert engine.states[-3:] == ["down", "starting", "ready"]


async def test_a_hung_worker_is_noticed_and_its_replies_fail(talker):
    async with engine_for(talker) as engine:
        with pytest.raises(EngineDown):
            async for _ in engine.generate(request(max_tokens=LONG)):
                os.kill(engine.pid, signal.SIGSTOP)
        assert "slow" in engine.states


async def test_a_request_that_fails_leaves_the_engine_alive(talker):
    async with engine_for(talker) as engine:
        with pytest.raises(RequestFailed) as failure:
            await collect(engine, request("word " * 400))
        assert failure.value.code == "prompt_too_long"
        assert (await collect(engine, request()))[0]


async def test_without_a_worker_the_engine_is_down():
    engine = LocalEngine("nowhere", SETTINGS, ModelSettings(), Metrics(), lambda _state, _reason: None)
    with pytest.raises(EngineDown):
        await collect(engine, request())


async def test_a_model_that_cannot_be_loaded_is_refused(tmp_path):
    engine = LocalEngine(str(tmp_path), SETTINGS, ModelSettings(), Metrics(), lambda _state, _reason: None)
    with pytest.raises(Refused, match="could not be loaded"):
        await asyncio.wait_for(engine.run(), 60)
