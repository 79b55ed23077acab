"""The classifier in its child process: micro-batches against one text at a time, over the same line."""

import asyncio
import time

from benchmarks.table import Table
from vtuber_brain.models import own_lora, resolve
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.classifier import Classifier

MODEL = "bundled:minilm-chat"
NUM_TEXTS = 1024
WAITING = 64


def measure() -> Table:
    """Distinct chat lines of 4 to 20 words, asked one after another, and 64 at a time."""
    alone, crowd = asyncio.run(_speeds())
    table = Table(
        "Classifier",
        f"{MODEL}, one CPU thread, {NUM_TEXTS} texts. {measure.__doc__}",
        ["way", "messages/s", "ratio"],
    )
    table.rows.append(["one by one", f"{alone:.0f}", "1.0x"])
    table.rows.append([f"micro-batches, {WAITING} waiting", f"{crowd:.0f}", f"{crowd / alone:.1f}x (aim 8x)"])
    table.notes.append(
        "One by one, each text waits `sentiment.max_wait_ms` for company that does not come; a batch of short lines is "
        "about as much work per text as one alone on a single thread, which bounds the ratio."
    )
    return table


async def _speeds() -> tuple[float, float]:
    settings = SentimentSettings(timeout_s=60)
    lora = own_lora(MODEL)
    classifier = Classifier(resolve(MODEL), str(lora), settings, Metrics(), lambda _state, _reason: None)
    running = asyncio.create_task(classifier.run())
    try:
        await classifier.wait_ready()
        await asyncio.gather(*(classifier.mood(text) for text in texts("warm up")[:WAITING]))
        return await _speed(classifier, texts("alone"), 1), await _speed(classifier, texts("crowd"), WAITING)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _speed(classifier: Classifier, texts: list[str], waiting: int) -> float:
    free = asyncio.Semaphore(waiting)

    async def ask(text: str) -> None:
        async with free:
            await classifier.mood(text)

    start_s = time.perf_counter()
    await asyncio.gather(*(ask(text) for text in texts))
    return len(texts) / (time.perf_counter() - start_s)


def texts(kind: str) -> list[str]:
    """Distinct chat lines of 4 to 20 words; those of another `kind` are others."""
    words = ("the stream is so good today mori please tell us about your little box of keys and buttons " * 2).split()
    return [f"{kind} {n} {' '.join(words[: 2 + n % 17])}" for n in range(NUM_TEXTS)]
