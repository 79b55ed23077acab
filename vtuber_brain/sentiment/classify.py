"""Verdicts for a file of lines: many at once through the micro-batches, in the lines' order. It prints nothing."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from vtuber_brain.errors import RecordError
from vtuber_brain.messages import Mood, Verdict
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.sentiment.normal import clean

AT_ONCE = 256

JudgeText = Callable[[str, Mood | None], Verdict]


async def classify_lines(
    lines: AsyncIterator[str] | Iterable[str],
    classifier: Classifier | None,
    judge_text: JudgeText,
    *,
    name: str = "standard input",
) -> AsyncIterator[dict[str, Any]]:
    """Per line `{"text"}` one dictionary: text, sentiment, scores, toxicity, verdict, reasons; blank lines are skipped.

    At most AT_ONCE lines are under way. Without a classifier, sentiment, scores and toxicity are None. Raises
    RecordError for a bad line, after the answers to the lines before it, and JudgeDown when the classifier is.
    """
    under_way: deque[asyncio.Task[dict[str, Any]]] = deque()
    try:
        async for number, line in _numbered(lines):
            if not line.strip():
                continue
            try:
                text = parse_line(name, number, line)
            except RecordError:
                while under_way:
                    yield await under_way.popleft()
                raise
            under_way.append(asyncio.create_task(_answer(text, classifier, judge_text), name=f"classify-{number}"))
            if len(under_way) >= AT_ONCE:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def parse_line(name: str, number: int, line: str) -> str:
    """The text of one line. Raises RecordError for anything but `{"text": "..."}`; other fields are ignored."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(name, number, "line", f"expected a JSON object ({error})") from None
    if not isinstance(record, dict):
        raise RecordError(name, number, "line", "expected a JSON object")
    text = record.get("text")
    if not isinstance(text, str):
        raise RecordError(name, number, "text", "expected a text")
    return text


async def _answer(text: str, classifier: Classifier | None, judge_text: JudgeText) -> dict[str, Any]:
    cleaned = clean(text)  # as the judge in the daemon asks
    mood = await classifier.mood(cleaned) if classifier is not None and cleaned else None
    verdict = judge_text(text, mood)
    return {
        "text": text,
        "sentiment": None if mood is None else mood.sentiment,
        "scores": None if mood is None else {key: round(value, 4) for key, value in mood.scores.items()},
        "toxicity": None if mood is None or mood.toxicity is None else round(mood.toxicity, 4),
        "verdict": verdict.action,
        "reasons": list(verdict.reasons),
    }


async def _numbered(lines: AsyncIterator[str] | Iterable[str]) -> AsyncIterator[tuple[int, str]]:
    number = 0
    if isinstance(lines, AsyncIterator):
        async for line in lines:
            number += 1
            yield number, line
    else:
        for number, line in enumerate(lines, 1):
            yield number, line
