"""The red-team set against the filter: what the rules catch alone, and with the classifier behind them."""

import asyncio
from collections.abc import Iterable, Sequence

from benchmarks.table import Table
from tests.support.redteam import Case, cases, reasons
from vtuber_brain.models import own_lora, resolve
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.sentiment.normal import clean

MODEL = SentimentSettings().model


def measure() -> Table:
    """Attacks by kind, and harmless look-alikes; thresholds as shipped. Of two texts the second is judged, and both."""
    every = cases()
    toxic = asyncio.run(_toxic(every))
    table = Table(
        "Red team",
        f"{MODEL}, tests/data/redteam.jsonl. {measure.__doc__}",
        ["kind", "cases", "by rules", "with classifier"],
    )
    attacks = [case for case in every if case.is_attack]
    for kind in dict.fromkeys(case.kind for case in attacks):
        table.rows.append(_row(kind, [case for case in attacks if case.kind == kind], toxic))
    table.rows.append(_row("all attacks", attacks, toxic))
    table.rows.append(_row("harmless, denied", [case for case in every if not case.is_attack], toxic))
    return table


def _row(name: str, some: Sequence[Case], toxic: set[Case]) -> list[str]:
    by_rules = {case for case in some if reasons(case)}
    return [name, str(len(some)), str(len(by_rules)), str(len(by_rules | toxic.intersection(some)))]


async def _toxic(every: Iterable[Case]) -> set[Case]:
    """The cases that the classifier alone denies."""
    settings = SentimentSettings(timeout_s=60)
    classifier = Classifier(resolve(MODEL), str(own_lora(MODEL)), settings, Metrics(), lambda _state, _reason: None)
    running = asyncio.create_task(classifier.run())

    async def is_toxic(case: Case) -> bool:
        texts = [case.then, f"{case.text} {case.then}"] if case.then else [case.text]
        moods = await asyncio.gather(*(classifier.mood(clean(text)) for text in texts))
        threshold = settings.toxic_threshold if case.side == "heard" else settings.speak_threshold
        return any(mood.toxicity is not None and mood.toxicity >= threshold for mood in moods)

    try:
        await classifier.wait_ready()
        verdicts = await asyncio.gather(*map(is_toxic, every))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return {case for case, verdict in zip(every, verdicts, strict=True) if verdict}
