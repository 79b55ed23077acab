"""What the operator decided at the door comes back as labelled rows, and what nobody may learn from does not."""

import pytest

from tests.support.scripted import message
from tests.test_gate import HOLD_LINKS, toxic_where
from tests.test_pipeline import Brain, running, says
from vtuber_brain.config import state_dir
from vtuber_brain.messages import Author, ChatMessage, Judged, Retraction, Turn, Verdict
from vtuber_brain.retrain.corrections import corrections
from vtuber_brain.transcripts.store import Transcripts
from vtuber_brain.transcripts.viewers import forget, opt_out

DOUBT = ("doubtful",)


@pytest.fixture
def path():
    return state_dir() / "transcripts.db"


def opened(path):
    return Transcripts.open(path, persona="mori", model="then", release=None)


async def decide(transcripts, name, text, action, reasons=(*DOUBT, "operator")):
    said = ChatMessage("websocket", f"{name} {text} {action}", Author(name, name.title()), text, 1000.0, 0.0)
    await transcripts.append(said, Judged(said, Verdict("hold", DOUBT, text)))
    await transcripts.append(Judged(said, Verdict(action, reasons, text)))
    return said


def labels(path):
    return {example.text: example.toxic for example in corrections(path)}


async def test_what_was_let_pass_is_harmless_and_what_was_denied_in_doubt_is_toxic(path):
    async with opened(path) as transcripts:
        brain = Brain(says("Hm."), toxic_where("vile", 0.5), policy=HOLD_LINKS)
        brain.publisher.record = transcripts.append
        async with running(brain):
            for number, text in enumerate(["a vile joke", "a vile person", "see https://cats.example", "hello"]):
                await brain.pipeline.receive(message(text, number=f"m{number}"))
            await brain.out.until(lambda out: len(out.of(Judged)) == 4)
            assert len(brain.pipeline.door.held()) == 3
            assert brain.pipeline.door.allow("m0")
            assert await brain.pipeline.door.deny("m1")
            assert await brain.pipeline.door.deny("m2")
            await brain.out.until(lambda out: len(out.of(Turn)) == 2)
    assert labels(path) == {"a vile joke": 0.0, "a vile person": 1.0}


async def test_of_one_text_the_last_decision_counts_and_the_newest_third_is_held_out(path):
    async with opened(path) as transcripts:
        for number in range(6):
            await decide(transcripts, "kopi", f"line {number}", "deny")
        await decide(transcripts, "bram", "line 0", "allow", ("operator",))
    assert [(one.text, one.toxic, one.split) for one in corrections(path)] == [
        *((f"line {number}", 1.0, "train") for number in range(1, 5)),
        ("line 5", 1.0, "valid"),
        ("line 0", 0.0, "valid"),
    ]


async def test_whose_words_nobody_may_learn_from_is_left_out(path):
    async with opened(path) as transcripts:
        for name in ("kopi", "gone", "unwilling", "banned", "sorry"):
            said = await decide(transcripts, name, f"words of {name}", "deny")
        await transcripts.append(Retraction("websocket", "message", said.id, 2000.0))
        await transcripts.append(Retraction("websocket", "author", "banned", 2000.0))
    forget(path, "websocket", "gone")
    opt_out(path, "websocket", "unwilling", "rani")
    assert labels(path) == {"words of kopi": 1.0}


async def test_what_the_filter_decided_alone_is_no_correction(path):
    async with opened(path) as transcripts:
        for action, reasons in (("allow", ()), ("deny", ("toxic",)), ("hold", DOUBT)):
            await decide(transcripts, "kopi", f"some {action}", action, reasons)
    assert corrections(path) == []
