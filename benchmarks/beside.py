"""What the classifier adds to a message's way at 100 messages a second, alone and beside an engine that is busy."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

from benchmarks.filtering import MODEL, texts
from benchmarks.live import DEMO
from benchmarks.table import Table, percentile
from vtuber_brain.config import load
from vtuber_brain.engine.api import Request
from vtuber_brain.engine.client import LocalEngine
from vtuber_brain.engine.wire import Sampling
from vtuber_brain.models import own_lora, resolve
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.classifier import Classifier

PER_S, SECONDS, NUM_REPLIES = 100, 20, 2
SEED = 7


def measure() -> Table:
    """Distinct lines at random moments (Poisson), each timed from the asking to its mood."""
    alone, beside = asyncio.run(_latencies())
    table = Table(
        "Classifier beside the engine",
        f"{MODEL}, {PER_S} messages a second for {SECONDS} s; the engine as in the demo, with {NUM_REPLIES} replies "
        f"without end. {measure.__doc__}",
        ["the engine", "p50", "p95", "p99", "aim for p95"],
    )
    for name, taken_s in (("idle", alone), ("busy", beside)):
        shares = [f"{1000 * percentile(taken_s, share):.0f} ms" for share in (0.5, 0.95, 0.99)]
        table.rows.append([name, *shares, "25 ms"])
    return table


async def _latencies() -> tuple[list[float], list[float]]:
    classifier = Classifier(
        resolve(MODEL), str(own_lora(MODEL)), SentimentSettings(timeout_s=60), Metrics(), lambda _state, _reason: None
    )
    running = asyncio.create_task(classifier.run())
    try:
        await classifier.wait_ready()
        await _flow(classifier, "warm up", 2)
        alone = await _flow(classifier, "alone", SECONDS)
        async with _busy_engine():
            return alone, await _flow(classifier, "beside", SECONDS)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _flow(classifier: Classifier, kind: str, seconds: float) -> list[float]:
    chance, lines, taken_s = random.Random(SEED), texts(kind), list[float]()

    async def ask(text: str) -> None:
        asked_s = time.perf_counter()
        await classifier.mood(text)
        taken_s.append(time.perf_counter() - asked_s)

    async with asyncio.TaskGroup() as group:
        due_s = time.perf_counter()
        for number in range(int(PER_S * seconds)):
            due_s += chance.expovariate(PER_S)
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            group.create_task(ask(f"{lines[number % len(lines)]} {number}"))
    return taken_s


@contextlib.asynccontextmanager
async def _busy_engine() -> AsyncIterator[None]:
    settings = load(DEMO)
    engine = LocalEngine(
        resolve(settings.model.path), settings.engine, settings.model, Metrics(), lambda _state, _reason: None
    )
    tasks = [asyncio.create_task(engine.run())]
    try:
        await engine.wait_ready()
        tasks += [asyncio.create_task(_talk(engine, number)) for number in range(NUM_REPLIES)]
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _talk(engine: LocalEngine, number: int) -> None:
    while True:
        asked = [{"role": "user", "content": f"Tell me a long story about lamp {number}."}]
        async for _ in engine.generate(Request(asked, 200, Sampling(temperature=0.8), ())):
            pass
