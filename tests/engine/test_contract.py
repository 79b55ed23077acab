"""What every engine promises, asked of the worker on this machine and of the scripted one that other tests trust."""

import asyncio
import contextlib

import pytest

from tests.support.families import save_talker
from tests.support.loras import save_lora
from tests.support.scripted import ScriptedEngine
from vtuber_brain.engine.api import Request
from vtuber_brain.engine.client import LocalEngine
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import EngineDown, LoraRejected, RequestFailed
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import EngineSettings, ModelSettings

SETTINGS = EngineSettings(num_slots=2, context=128, max_loras=2, threads=1, ping_s=0.1)
ASKED = ({"role": "user", "content": "hello"},)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, bundled_model):
    """A small model, and a lora for it."""
    folder = tmp_path_factory.mktemp("contract")
    model = save_talker(folder / "model", bundled_model)
    return model, save_lora(folder / "lora", model)


@contextlib.asynccontextmanager
async def scripted(_model):
    yield ScriptedEngine(lambda request: ["Hello", " there", "."][: request.max_tokens])


@contextlib.asynccontextmanager
async def local(model):
    engine = LocalEngine(str(model), SETTINGS, ModelSettings(), Metrics(), lambda _state, _reason: None)
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=[scripted, local])
async def engine(request, folders):
    async with request.param(folders[0]) as one, asyncio.timeout(120):
        await one.wait_ready()
        yield one


async def ask(engine, lora=None, max_tokens=3):
    request = Request(ASKED, max_tokens, Sampling(), lora=lora)
    return [piece async for piece in engine.generate(request)]


async def unknown(asked):
    with pytest.raises(RequestFailed) as failure:
        await asked
    return failure.value.code == "unknown_lora"


async def test_a_reply_is_pieces_and_then_how_it_ended(engine):
    *pieces, done = await ask(engine)
    assert isinstance(done, Done)
    assert pieces
    assert all(isinstance(piece, str) for piece in pieces)
    assert engine.state == "ready"
    async with contextlib.aclosing(engine.generate(Request(ASKED, 100, Sampling()))) as stream:
        await anext(stream)
    assert isinstance((await ask(engine))[-1], Done), "leaving a stream early leaves the engine well"


async def test_loras_answer_from_load_to_drop(engine, folders, tmp_path):
    _, lora = folders
    assert await unknown(ask(engine, "a@1"))
    assert await unknown(engine.pin("a", ASKED, "a@1"))
    await engine.load_lora("a@1", lora)
    await engine.load_lora("b@1", lora)
    assert isinstance((await ask(engine, "a@1"))[-1], Done)
    await engine.pin("a", ASKED, "a@1")
    await engine.pin("a", ASKED, None)
    with pytest.raises(LoraRejected, match="PEFT"):
        await engine.load_lora("a@1", tmp_path)
    assert isinstance((await ask(engine, "a@1"))[-1], Done), "what was there stays"
    with pytest.raises(LoraRejected, match=r"all \d loras are taken"):
        for n in range(4):
            await engine.load_lora(f"c@{n}", lora)
    await engine.drop_lora("a@1")
    await engine.drop_lora("never there")
    assert await unknown(ask(engine, "a@1"))
    assert isinstance((await ask(engine, "b@1"))[-1], Done)


async def test_asleep_it_answers_nobody_and_awake_it_has_its_loras(engine, folders):
    _, lora = folders
    await engine.load_lora("a@1", lora)
    await engine.sleep()
    assert engine.state == "asleep"
    with pytest.raises(EngineDown):
        await ask(engine)
    await engine.load_lora("b@1", lora)
    await engine.pin("a", ASKED, None)
    waiting = asyncio.ensure_future(engine.wait_ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    await engine.wake()
    await waiting
    assert isinstance((await ask(engine, "a@1"))[-1], Done)
    assert isinstance((await ask(engine, "b@1"))[-1], Done)
