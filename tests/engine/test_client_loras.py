"""The loras of the worker on this machine: they outlive it, and nobody meets a worker that lacks them."""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
from dataclasses import fields

import pytest
import structlog

from tests.support.families import save_talker
from tests.support.loras import save_lora
from vtuber_brain.engine import wire
from vtuber_brain.engine.api import Request
from vtuber_brain.engine.client import LocalEngine, _configure
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import EngineSettings, ModelSettings

SETTINGS = EngineSettings(
    num_slots=2, num_pinned=1, context=256, max_loras=2, threads=1, ping_s=0.1, backoff_s=0.05, backoff_max_s=0.1
)


@pytest.fixture(scope="module")
def talker(tmp_path_factory, bundled_model):
    return save_talker(tmp_path_factory.mktemp("talker"), bundled_model)


@pytest.fixture(scope="module")
def loras(tmp_path_factory, talker):
    folder = tmp_path_factory.mktemp("loras")
    return [save_lora(folder / f"lora-{seed}", talker, rank=rank, seed=seed) for seed, rank in ((1, 4), (2, 8))]


@contextlib.asynccontextmanager
async def engine_for(model, settings=SETTINGS):
    states = []
    engine = LocalEngine(
        str(model), settings, ModelSettings(dtype="fp32"), Metrics(), lambda *told: states.append(told)
    )
    engine.states = states
    task = asyncio.create_task(engine.run())
    try:
        async with asyncio.timeout(60):
            await engine.wait_ready()
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(engine, lora=None, text="hello", **fields):
    request = Request([{"role": "user", "content": text}], fields.pop("max_tokens", 8), Sampling(), lora=lora, **fields)
    pieces = [piece async for piece in engine.generate(request)]
    assert isinstance(pieces[-1], Done)
    return "".join(pieces[:-1]), pieces[-1].usage


async def test_loras_change_the_answer_and_come_back_with_a_worker_that_was_killed(talker, loras, tmp_path):
    """A FIFO in place of a file of the lora holds the new worker up: it is not ready while a lora is missing."""
    own = shutil.copytree(loras[1], tmp_path / "own")
    async with engine_for(talker) as engine, asyncio.timeout(45):
        await engine.load_lora("mori@1", loras[0])
        await engine.load_lora("mori@2", own)
        before = [(await ask(engine, lora))[0] for lora in (None, "mori@1", "mori@2")]
        assert len(set(before)) == 3
        config = (own / "adapter_config.json").read_bytes()
        (own / "adapter_config.json").unlink()
        os.mkfifo(own / "adapter_config.json")
        os.kill(engine.pid, signal.SIGKILL)
        waiting = asyncio.create_task(ask_when_ready(engine, "mori@2"))
        with await when_read(own / "adapter_config.json") as fifo:  # the worker reads: it is up
            assert engine.state == "starting"
            assert not waiting.done()
            with pytest.raises(EngineDown, match="starting"):
                await ask(engine, "mori@1")
            fifo.write(config)
        assert await waiting == before[2]
        assert [(await ask(engine, lora))[0] for lora in (None, "mori@1", "mori@2")] == before
        assert [state for state, _ in engine.states[-3:]] == ["down", "starting", "ready"]


async def when_read(fifo):
    """The writer's end of a FIFO, once somebody reads it."""
    while True:
        try:
            return os.fdopen(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            assert error.errno == errno.ENXIO, error
        await asyncio.sleep(0.01)


async def ask_when_ready(engine, lora):
    while engine.state == "ready":  # the kill is noticed a moment later
        await asyncio.sleep(0.01)
    await engine.wait_ready()
    return (await ask(engine, lora))[0]


async def test_after_a_sleep_what_was_pinned_is_computed_and_a_lora_that_is_gone_is_lost_alone(talker, loras, tmp_path):
    own = shutil.copytree(loras[1], tmp_path / "own")
    system = {"role": "system", "content": "You are Mori, who looks after lost things. " * 8}

    async def share_cached(engine):
        for n in range(3):  # what the slots remember is worn out; what is pinned stays
            await ask(engine, None, f"something else {n} " * 9)
        request = Request([system, {"role": "user", "content": "hi"}], 2, Sampling(), lora="mori@2")
        usage = [piece async for piece in engine.generate(request)][-1].usage
        return usage.cached_tokens / usage.prompt_tokens

    async with engine_for(talker) as engine, asyncio.timeout(45):
        await engine.load_lora("mori@1", own)
        await engine.load_lora("mori@2", loras[0])
        await engine.pin("mori@2", [system, {"role": "user", "content": "..."}], "mori@2")
        assert await share_cached(engine) > 0.5
        before = await ask(engine, "mori@2")
        shutil.rmtree(own)
        with structlog.testing.capture_logs() as logs:
            await engine.sleep()
            await engine.wake()
            await engine.wait_ready()
        (lost,) = [log for log in logs if log["event"] == "lora_lost"]
        assert lost["lora"] == "mori@1"
        assert "adapter_config.json" in lost["reason"]
        assert await share_cached(engine) > 0.5
        assert (await ask(engine, "mori@2"))[0] == before[0]
        with pytest.raises(RequestFailed, match="unknown_lora"):
            await ask(engine, "mori@1")


async def test_a_loading_that_is_given_up_or_dies_with_its_worker_takes_no_place(talker, loras, tmp_path):
    own = shutil.copytree(loras[1], tmp_path / "own")
    config = (own / "adapter_config.json").read_bytes()
    (own / "adapter_config.json").unlink()
    os.mkfifo(own / "adapter_config.json")
    async with engine_for(talker) as engine, asyncio.timeout(45):
        loading = asyncio.create_task(engine.load_lora("mori@1", own))
        with await when_read(own / "adapter_config.json") as fifo:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            fifo.write(config)
        await engine.load_lora("rin@1", loras[0])
        await engine.load_lora("rin@2", loras[0])
        with pytest.raises(RequestFailed, match="unknown_lora"):
            await ask(engine, "mori@1")
        await engine.drop_lora("rin@2")
        loading = asyncio.create_task(engine.load_lora("mori@1", own))
        with await when_read(own / "adapter_config.json"):
            os.kill(engine.pid, signal.SIGKILL)
            with pytest.raises(EngineDown, match="died"):
                await loading
        await engine.wait_ready()
        await ask(engine, "rin@1")
        for name in ("mori@1", "rin@2"):
            with pytest.raises(RequestFailed, match="unknown_lora"):
                await ask(engine, name)


async def test_a_higher_priority_goes_ahead(talker):
    async with engine_for(talker, SETTINGS.model_copy(update={"num_slots": 1})) as engine, asyncio.timeout(60):
        order = []

        async def queue(name, priority):
            await ask(engine, text=name, priority=priority)
            order.append(name)

        async with contextlib.aclosing(
            engine.generate(Request([{"role": "user", "content": "x"}], 200, Sampling()))
        ) as s:
            await anext(s)
            waiting = [asyncio.create_task(queue(name, priority)) for name, priority in (("chat", 0), ("paid", 1))]
            await anext(s)
        await asyncio.gather(*waiting)
    assert order == ["paid", "chat"]


async def test_a_shrunk_engine_is_said_and_counted(talker):
    engine = LocalEngine(str(talker), SETTINGS, ModelSettings(), Metrics(), lambda _state, _reason: None)
    with structlog.testing.capture_logs() as logs:
        engine._route(wire.Shrunk(1, "out of memory"))
    assert [(log["event"], log["num_slots"]) for log in logs] == [("engine_shrunk", 1)]
    assert engine._metrics.slots._value.get() == 1
    assert engine.state == "down", "it is no news about its life"


def test_every_setting_of_the_engine_and_the_weights_reaches_the_worker():
    told = _configure("m", EngineSettings(memory_gb=1.5, max_loras=3, graphs=False), ModelSettings(weights="int8"))
    assert (told.memory_bytes, told.max_loras, told.graphs, told.weights) == (1_500_000_000, 3, False, "int8")
    names = set(EngineSettings.model_fields) & {field.name for field in fields(wire.Configure)}
    assert {name: getattr(told, name) for name in names} == {
        name: getattr(EngineSettings(max_loras=3, graphs=False), name) for name in names
    }
