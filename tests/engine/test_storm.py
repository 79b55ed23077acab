"""The worker under a storm of swaps and under faults: nothing torn, nothing lost, nothing said by the wrong weights."""

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import time
from dataclasses import dataclass, field

import psutil
import pytest

from tests.support.families import save_talker
from tests.support.loras import save_lora
from vtuber_brain.engine.api import Request
from vtuber_brain.engine.client import LocalEngine
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import EngineSettings, ModelSettings

SETTINGS = EngineSettings(
    num_slots=8,
    num_pinned=1,
    context=1536,
    prefill_chunk=1536,
    max_loras=3,
    max_lora_rank=8,
    threads=1,
    ping_s=0.1,
    slow_s=0.5,
    dead_s=2,
    backoff_s=0.05,
    backoff_max_s=0.1,
)
OPENING = "You keep the lighthouse, you know every ship by the sound of its horn, and you answer in few words."
QUESTIONS = ["hello there", "what ship is that?", "is it raining", "good night"]
MAX_TOKENS = 4


@pytest.fixture(scope="module")
def talker(tmp_path_factory, bundled_model):
    return save_talker(tmp_path_factory.mktemp("talker"), bundled_model)


@pytest.fixture(scope="module")
def releases(tmp_path_factory, talker):
    folder = tmp_path_factory.mktemp("releases")
    return [save_lora(folder / f"r{rank}", talker, rank=rank, seed=rank) for rank in (2, 4, 8, 3, 6)]


@contextlib.asynccontextmanager
async def engine_for(model):
    states = []
    engine = LocalEngine(
        str(model), SETTINGS, ModelSettings(dtype="fp32"), Metrics(), lambda state, _: states.append(state)
    )
    engine.states = states
    task = asyncio.create_task(engine.run(), name="engine")
    try:
        async with asyncio.timeout(60):
            await engine.wait_ready()
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(engine, question, lora, max_tokens=MAX_TOKENS):
    messages = [{"role": "system", "content": OPENING}, {"role": "user", "content": question}]
    request = Request(messages, max_tokens, Sampling(), lora=lora)
    pieces = [piece async for piece in engine.generate(request)]
    assert isinstance(pieces[-1], Done), "torn: it has no ending"
    return "".join(pieces[:-1]), pieces[-1].usage


@dataclass
class Storm:
    """Ten thousand replies under one name while its release changes as fast as it loads."""

    engine: LocalEngine
    releases: list
    expected: dict = field(default_factory=dict)
    possible: set = field(default_factory=set)
    num_answered: int = 0
    num_swaps: int = 0

    async def learn(self):
        """What each release answers to each question when nothing else goes on."""
        for number, release in enumerate(self.releases):
            await self.engine.load_lora("mori", release)
            for question in QUESTIONS:
                self.expected[question, number], _ = await ask(self.engine, question, "mori")
        for question in QUESTIONS:
            answers = {self.expected[question, number] for number in range(len(self.releases))}
            assert len(answers) == len(self.releases), "two releases say the same: the storm would prove nothing"
        self.possible = {len(self.releases) - 1}

    async def swap(self):
        for number in itertools.cycle(range(len(self.releases))):
            self.possible.add(number)
            await self.engine.load_lora("mori", self.releases[number])
            self.possible = {number}
            self.num_swaps += 1

    async def chat(self, num_replies):
        for number in range(num_replies):
            question, possible = QUESTIONS[number % len(QUESTIONS)], self.possible
            before = set(possible)
            answer, _ = await ask(self.engine, question, "mori")
            allowed = {self.expected[question, release] for release in before | possible}
            assert answer in allowed, "not what one release alone would have said"
            self.num_answered += 1


@pytest.mark.parametrize(
    "num_replies", [1_000, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_every_reply_of_a_swap_storm_is_whole_and_of_one_release(talker, releases, num_replies):
    async with engine_for(talker) as engine:
        storm = Storm(engine, releases)
        await storm.learn()
        swapping = asyncio.create_task(storm.swap(), name="swaps")
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(storm.chat(num_replies // 20))
        swapping.cancel()
        assert storm.num_answered == num_replies
        assert storm.num_swaps > num_replies / 100


async def kill(engine):
    os.kill(engine.pid, signal.SIGKILL)


async def hang(engine):
    os.kill(engine.pid, signal.SIGSTOP)


async def garble(engine):
    engine._child._writer.write(b"\xff\xff\xff\xff not a frame")


async def starve(engine):
    """No further memory: what the worker holds is all it gets, until it needs more for a long prompt."""
    held = psutil.Process(engine.pid).memory_info().vms
    resource.prlimit(engine.pid, resource.RLIMIT_AS, (held, resource.RLIM_INFINITY))


LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("fault", "rounds"), [(kill, 1), *(pytest.param(fault, 25, marks=LONG) for fault in (kill, hang, garble, starve))]
)
async def test_a_fault_is_noticed_in_time_replies_fail_by_type_and_service_comes_back(talker, releases, fault, rounds):
    async with engine_for(talker) as engine:
        await engine.load_lora("mori", releases[0])
        expected, _ = await ask(engine, QUESTIONS[0], "mori")
        for _ in range(rounds):
            talking = [asyncio.create_task(ask(engine, f"{number} " * 690, "mori", 100)) for number in range(3)]
            pid, start_s = engine.pid, time.monotonic()
            await fault(engine)
            ended = await asyncio.gather(*talking, return_exceptions=True)
            assert time.monotonic() - start_s < SETTINGS.dead_s + 3
            assert all(isinstance(one, EngineDown | RequestFailed) for one in ended)
            if fault is starve and engine.pid == pid and engine.state == "ready":
                assert {one.code for one in ended} == {"out_of_memory"}
                resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            async with asyncio.timeout(60):
                await engine.wait_ready()
                assert (await ask(engine, QUESTIONS[0], "mori"))[0] == expected
