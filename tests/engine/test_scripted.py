"""The engine without a model: its words and its pace follow from its seed alone."""

import asyncio

import pytest

from vtuber_brain.engine.api import Request
from vtuber_brain.engine.scripted import ANSWERS, Pace, ScriptedEngine, read_answers
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import ConfigError
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.virtual import VirtualLoop
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.rules import RuleSet, apply_spoken

ASKED = ({"role": "user", "content": "hello"},)


def heard(engine, num=5, max_tokens=60):
    """What it says and when, asked so often one after the other."""

    async def listen():
        pieces = []
        for _ in range(num):
            async for piece in engine.generate(Request(ASKED, max_tokens, Sampling())):
                pieces.append((round(now_s(), 6), piece))
        return pieces

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(listen())


def test_a_seed_gives_the_same_words_at_the_same_times_and_another_does_not():
    one, same, other = (heard(ScriptedEngine(seed=seed)) for seed in (4, 4, 5))
    assert one == same != other


def test_the_pace_is_kept():
    *said, (at_s, done) = heard(ScriptedEngine(["one two three"], pace=Pace((1.0, 1.0), (0.5, 0.5))), num=1)
    assert said == [(1.0, "one"), (1.5, " two"), (2.0, " three")]
    assert (at_s, done.finish_reason, done.usage.first_token_ms, done.usage.total_ms) == (2.0, "stop", 1000.0, 2000.0)


def test_an_answer_longer_than_asked_for_is_cut():
    *said, (_, done) = heard(ScriptedEngine(["one two three"]), num=1, max_tokens=2)
    assert [piece for _, piece in said] == ["one", " two"]
    assert isinstance(done, Done)
    assert done.finish_reason == "length"


def test_what_it_ships_with_may_be_said():
    rules = RuleSet.load(SentimentSettings())
    assert [apply_spoken(answer, rules, ()) for answer in ANSWERS] == [[]] * len(ANSWERS)


def test_answers_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "answers.txt"
    path.write_text("  One.\n\nTwo.\n", "utf-8")
    assert read_answers(path) == ["One.", "Two."]


@pytest.mark.parametrize("content", [b"", b" \n\n", b"caf\xe9"])
def test_a_file_without_answers_is_named_with_what_to_do(tmp_path, content):
    path = tmp_path / "answers.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="one answer a line"):
        read_answers(path)
