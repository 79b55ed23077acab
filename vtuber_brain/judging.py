"""`vtuber-brain classify`: the filter of the daemon, rules and classifier, over lines of text."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from vtuber_brain.errors import Refused
from vtuber_brain.messages import Mood, Verdict
from vtuber_brain.plan import Plan, make_plan
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.sentiment.classify import classify_lines
from vtuber_brain.sentiment.judge import decide


async def verdicts(lines: Iterable[str], name: str, config: Path | None) -> AsyncIterator[dict[str, Any]]:
    """For each line of `{"text"}`: text, sentiment, scores, toxicity, verdict, reasons; in order.

    Raises ConfigError, RecordError (with `name` as the file) and Refused.
    """
    plan = make_plan(config)

    def judge(text: str, mood: Mood | None) -> Verdict:
        return decide(text, mood, plan.rules, plan.settings.sentiment.toxic_threshold)

    if plan.classifier is None:
        async for verdict in classify_lines(lines, None, judge, name=name):
            yield verdict
        return
    classifier = _classifier(plan, plan.classifier)
    running = asyncio.create_task(classifier.run(), name="classifier")
    try:
        await _ready(classifier, running)
        async for verdict in classify_lines(lines, classifier, judge, name=name):
            yield verdict
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _classifier(plan: Plan, base: str) -> Classifier:
    patient = plan.settings.sentiment.model_copy(update={"timeout_s": 60.0})
    return Classifier(base, plan.classifier_lora, patient, Metrics(), lambda _state, _reason: None)


async def _ready(classifier: Classifier, running: "asyncio.Task[None]") -> None:
    """Wait until the child can answer; a refusal of its model ends the wait."""
    ready = asyncio.create_task(classifier.wait_ready())
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        running.result()
        raise Refused("the classifier ended before it was ready")
