"""What she says while there is no engine: seldom, through the gate, and nothing that anybody learns from."""

import asyncio
import contextlib

import pytest

from tests.support.scripted import calm, message
from tests.test_pipeline import PERSONA, Brain
from vtuber_brain import canned
from vtuber_brain.canned import Canned
from vtuber_brain.context.personas import load_persona
from vtuber_brain.errors import EngineDown
from vtuber_brain.messages import CANNED, Mood, Turn, Utterance
from vtuber_brain.retrain.turns import HEARD


@contextlib.asynccontextmanager
async def engineless(monkeypatch, patience_s=0.01, **speech):
    """A brain that runs, whose engine has just gone."""
    monkeypatch.setattr(canned, "PATIENCE_S", patience_s)
    brain = Brain(lambda request: ["I am back. "], **speech)
    await brain.cast.open()
    brain.engine.awake.clear()
    task = asyncio.create_task(brain.pipeline.run())
    try:
        yield brain
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def said(brain):
    return [one.text for one in brain.out.of(Utterance)]


def turns(brain, num):
    return lambda out: len(out.of(Turn)) >= num


async def test_with_no_engine_she_says_a_line_of_her_personas_and_the_reply_counts_as_failed(monkeypatch):
    async with engineless(monkeypatch) as brain:
        await brain.pipeline.receive(message("Are you there, Mori?", number=1))
        await brain.out.until(turns(brain, 1))
    (turn,) = brain.out.of(Turn)
    assert (turn.outcome, turn.reason) == ("failed", CANNED)
    assert turn.outcome not in HEARD
    assert said(brain)
    assert all(sentence in PERSONA.canned[0] for sentence in said(brain))


async def test_of_many_who_ask_at_once_one_is_told_and_the_others_are_answered_when_the_engine_is_back(monkeypatch):
    async with engineless(monkeypatch, canned_every_s=60) as brain:
        for number in range(3):
            await brain.pipeline.receive(
                message(f"Question number {number}, Mori?", number=number, author=f"v{number}")
            )
        await brain.out.until(turns(brain, 1))
        brain.engine.awake.set()
        await brain.out.until(turns(brain, 3))
    assert sorted((turn.outcome, turn.reason) for turn in brain.out.of(Turn)) == [
        ("failed", CANNED),
        ("spoken", None),
        ("spoken", None),
    ]


async def test_it_is_neither_remembered_nor_prompted_with(monkeypatch):
    async with engineless(monkeypatch) as brain:
        first = message("Are you there, Mori?", number=1)
        await brain.pipeline.receive(first)
        await brain.out.until(turns(brain, 1))
        assert brain.memory.recall(first).exchanges == ()


async def test_muted_she_says_no_such_line(monkeypatch):
    async with engineless(monkeypatch) as brain:
        brain.pipeline.mute()
        await brain.pipeline.receive(message("Are you there, Mori?", number=1))
        async with asyncio.timeout(10):
            while not brain.metrics.dropped.labels("muted")._value.get():
                await asyncio.sleep(0)
    assert said(brain) == []


async def test_the_gate_keeps_back_a_line_as_any_other(monkeypatch):
    async def toxic_if_hers(text):
        if any(text in line for line in PERSONA.canned) or "stations" in text:
            return Mood("negative", {"negative": 1.0, "neutral": 0.0, "positive": 0.0}, 0.99)
        return await calm(text)

    monkeypatch.setattr(canned, "PATIENCE_S", 0.01)
    brain = Brain(lambda request: ["Hello."], ask=toxic_if_hers)
    await brain.cast.open()
    brain.engine.awake.clear()
    task = asyncio.create_task(brain.pipeline.run())
    await brain.pipeline.receive(message("Are you there, Mori?", number=1))
    await brain.out.until(turns(brain, 1))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (turn,) = brain.out.of(Turn)
    assert (turn.outcome, turn.reason) == ("refused", "toxic")
    assert said(brain) == []


def test_lines_come_in_turn_and_at_most_so_often():
    now = [0.0]
    lines = Canned(30, lambda: now[0])
    assert lines.take(PERSONA) == PERSONA.canned[0]
    now[0] = 29.9
    assert lines.take(PERSONA) is None
    now[0] = 30
    assert lines.take(PERSONA) == PERSONA.canned[1]
    assert Canned(0, lambda: 0.0).take(PERSONA) is None
    assert Canned(30, lambda: 0.0).take(PERSONA.model_copy(update={"canned": ()})) is None


async def test_an_engine_that_is_slow_is_not_waited_for_and_one_without_a_line_is(monkeypatch):
    class Engine:
        state = "slow"

        async def wait_ready(self):
            return {}

    lines = Canned(30, lambda: 0.0)
    with pytest.raises(EngineDown):
        await lines.until_ready(Engine(), PERSONA)
    await lines.until_ready(Engine(), PERSONA)


@pytest.mark.parametrize("name", ["mori", "bolt"])
def test_every_persona_that_ships_has_lines_that_are_no_longer_than_a_sentence_or_two(name):
    persona = load_persona(name)
    assert persona.canned
    assert all(len(line) < 120 for line in persona.canned)
