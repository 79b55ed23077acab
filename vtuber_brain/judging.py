"""The daemon's filter over files: `vtuber-brain classify` judges lines, `evaluate --classifier` asks for moods."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vtuber_brain import models
from vtuber_brain.config import Settings
from vtuber_brain.errors import Refused
from vtuber_brain.messages import Mood, Verdict
from vtuber_brain.plan import make_plan
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.sentiment.classify import AT_ONCE, classify_lines
from vtuber_brain.sentiment.judge import by_mood, decide


async def verdicts(lines: Iterable[str], name: str, config: Path | None) -> AsyncIterator[dict[str, Any]]:
    """For each line of `{"text"}`: text, sentiment, scores, toxicity, verdict, reasons; in order.

    Raises ConfigError, RecordError (with `name` as the file) and Refused.
    """
    plan = make_plan(config)

    def judge(text: str, mood: Mood | None) -> Verdict:
        verdict = decide(text, plan.rules)
        return by_mood(verdict, mood, plan.settings.sentiment, plan.persona.filter)

    if plan.classifier is None:
        async for verdict in classify_lines(lines, None, judge, name=name):
            yield verdict
        return
    async with _serving(plan.classifier, plan.classifier_lora, plan.settings.sentiment) as classifier:
        async for verdict in classify_lines(lines, classifier, judge, name=name):
            yield verdict


async def moods(texts: Sequence[str], settings: Settings) -> list[Mood]:
    """The mood of every text, in order, by the classifier of `settings`. Raises ConfigError, Refused and JudgeDown."""
    sentiment = settings.sentiment
    lora = sentiment.lora or models.own_lora(sentiment.model)
    base, lora_name = models.resolve(sentiment.model), str(lora) if lora is not None else None
    async with _serving(base, lora_name, sentiment) as classifier:
        found: list[Mood] = []
        for start in range(0, len(texts), AT_ONCE):
            found += await asyncio.gather(*map(classifier.mood, texts[start : start + AT_ONCE]))
        return found


@asynccontextmanager
async def _serving(base: str, lora: str | None, settings: SentimentSettings) -> AsyncIterator[Classifier]:
    """The classifier's child, ready and patient, for as long as the block lasts."""
    patient = settings.model_copy(update={"timeout_s": 60.0})
    classifier = Classifier(base, lora, patient, Metrics(), lambda _state, _reason: None)
    running = asyncio.create_task(classifier.run(), name="classifier")
    try:
        await _ready(classifier, running)
        yield classifier
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _ready(classifier: Classifier, running: "asyncio.Task[None]") -> None:
    """Wait until the child can answer; a refusal of its model ends the wait."""
    ready = asyncio.create_task(classifier.wait_ready())
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        running.result()
        raise Refused("the classifier ended before it was ready")
