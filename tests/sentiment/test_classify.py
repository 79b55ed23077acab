"""A file of lines through the classifier: all at once, in order, bad lines named."""

import asyncio
import contextlib
import json
import os
import signal

import pytest

from tests.support.encoders import tiny_encoder
from vtuber_brain.errors import JudgeDown, RecordError
from vtuber_brain.messages import Mood, Verdict
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.sentiment.classify import AT_ONCE, classify_lines


def judge_text(text, mood):
    return Verdict("deny", ("shouting",), text, mood) if text.isupper() else Verdict("allow", (), text, mood)


def lines(*texts):
    return [json.dumps({"text": text}) + "\n" for text in texts]


async def test_many_lines_come_out_in_order_with_all_that_is_known(tmp_path):
    settings = SentimentSettings(timeout_s=90)
    classifier = Classifier(str(tiny_encoder(tmp_path)), None, settings, Metrics(), lambda state, reason: None)
    task = asyncio.create_task(classifier.run())
    texts = [f"line {n}" if n % 3 else f"LINE {n}" for n in range(AT_ONCE + 40)]
    try:
        await asyncio.wait_for(classifier.wait_ready(), 90)
        answers = [answer async for answer in classify_lines(lines(*texts), classifier, judge_text)]
        await leave_early(classifier, known=texts[0])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [answer["text"] for answer in answers] == texts
    assert list(answers[0]) == ["text", "sentiment", "scores", "toxicity", "verdict", "reasons"]
    assert answers[0]["verdict"] == "deny"
    assert answers[0]["reasons"] == ["shouting"]
    assert answers[1]["verdict"] == "allow"
    for answer in answers:
        assert answer["sentiment"] == max(answer["scores"], key=answer["scores"].get)
        assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-3)
        assert 0 <= answer["toxicity"] <= 1


async def test_the_classifier_reads_what_the_judge_in_the_daemon_gives_it():
    asked = []

    class Listening:
        async def mood(self, text):
            asked.append(text)
            return Mood("neutral", {"negative": 0.0, "neutral": 1.0, "positive": 0.0}, 0.1)

    texts = ["ｆｕｌｌ\u200b width", "\u200b"]
    answers = [answer async for answer in classify_lines(lines(*texts), Listening(), judge_text)]
    assert asked == ["full width"]
    assert [answer["toxicity"] for answer in answers] == [0.1, None]


async def leave_early(classifier, known):
    """With the child frozen, the texts still under way would take as long as `timeout_s`."""
    os.kill(classifier.pid, signal.SIGSTOP)
    async with (
        asyncio.timeout(30),
        contextlib.aclosing(classify_lines(lines(known, "new"), classifier, judge_text)) as it,
    ):
        assert (await anext(it))["text"] == known
    os.kill(classifier.pid, signal.SIGCONT)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("classify-")]


async def test_without_a_classifier_the_rules_still_answer():
    (answer,) = [answer async for answer in classify_lines(lines("HELLO"), None, judge_text)]
    assert answer == {
        "text": "HELLO",
        "sentiment": None,
        "scores": None,
        "toxicity": None,
        "verdict": "deny",
        "reasons": ["shouting"],
    }


async def test_lines_may_come_one_by_one_and_blank_ones_are_skipped():
    async def arriving():
        for line in (*lines("one"), "\n", *lines("two")):
            yield line

    assert [answer["text"] async for answer in classify_lines(arriving(), None, judge_text)] == ["one", "two"]


@pytest.mark.parametrize(
    ("bad", "field", "expected"),
    [
        ("{", "line", "JSON object"),
        ("[]", "line", "JSON object"),
        ("{}", "text", "a text"),
        ('{"text": 3}', "text", "a text"),
        ("[" * 100_000, "line", "JSON object"),
    ],
)
async def test_a_bad_line_is_named_after_the_answers_before_it(bad, field, expected):
    seen = []
    with pytest.raises(RecordError, match=expected) as raised:
        async for answer in classify_lines([*lines("one", "two"), "", bad], None, judge_text, name="chat.jsonl"):
            seen.append(answer["text"])
    assert (raised.value.file, raised.value.line, raised.value.field) == ("chat.jsonl", 4, field)
    assert seen == ["one", "two"]


async def test_a_classifier_that_is_down_is_not_taken_for_an_answer(tmp_path):
    down = Classifier(str(tmp_path), None, SentimentSettings(), Metrics(), lambda state, reason: None)
    with pytest.raises(JudgeDown):
        await anext(classify_lines(lines("one", "two"), down, judge_text))
