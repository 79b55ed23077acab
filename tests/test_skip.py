"""The operator cuts what sounds: whatever it is, and nothing else."""

import asyncio

import pytest

from tests.support.scripted import calm, message
from tests.test_pipeline import Brain, running, says
from vtuber_brain.messages import Mood, Turn, Utterance


async def toxic_when_vile(text):
    return Mood("negative", {"negative": 1.0}, 0.9) if "Vile" in text else await calm(text)


async def answered(brain, *texts):
    """Have these answered one after the other; the ids of their replies."""
    for text in texts:
        await brain.pipeline.receive(message(text, author=text))
        await brain.out.until(lambda _, text=text: text in brain.turns())
    return [brain.turns()[text].reply_id for text in texts]


def told(brain):
    """The last that every listener was told of a reply."""
    last = brain.out.of(Turn)[-1]
    return last.reply_id, last.outcome, last.reason


def recorded(brain, reply_id):
    """What the transcript holds of a reply in the end, if anything; without its sentences."""
    turns = [one for one in brain.out.records if isinstance(one, Turn) and one.reply_id == reply_id]
    return [(one.outcome, one.reason, one.heard_text) for one in turns][-1:]


def goes_on(hold):
    """The third reply goes on when `hold` is set; the others are whole at once."""
    story = ["Unheard.", " And", hold, " more."]
    return lambda request: story if "third" in request.messages[-1]["content"] else ["One is said. Two is said."]


async def speaking(brain):
    async with asyncio.timeout(10):
        while brain.pipeline.speaking is None:
            await asyncio.sleep(0)


async def test_a_reply_that_was_left_out_as_late_does_not_take_the_place_of_the_one_that_sounds():
    hold = asyncio.Event()
    async with running(Brain(goes_on(hold))) as brain:
        sounding, late = await answered(brain, "first", "second")
        await brain.pipeline.hear(sounding, 0, "started")
        for seq in range(2):
            await brain.pipeline.hear(late, seq, "skipped")
        await brain.pipeline.receive(message("third", author="third"))
        await speaking(brain)
        assert await brain.pipeline.skip()
        assert told(brain) == (sounding, "cut", "skip")
        assert recorded(brain, sounding) == [("cut", "skip", "One is said.")]
        hold.set()
        await brain.out.until(lambda out: "third" in brain.turns())
        assert brain.turns()["third"].outcome == "spoken"


@pytest.mark.parametrize(
    ("pieces", "outcome"), [(["Good words come first.", " Vile words."], "cut"), (["Vile words."], "refused")]
)
async def test_what_the_gate_has_ended_can_be_skipped_and_the_transcript_calls_it_as_before(pieces, outcome):
    async with running(Brain(says(*pieces), toxic_when_vile)) as brain:
        (reply,) = await answered(brain, "first")
        await brain.pipeline.hear(reply, 0, "started")
        assert await brain.pipeline.skip()
        await brain.pipeline.hear(reply, 1, "skipped")
        assert told(brain) == (reply, "cut", "skip")
        ((*how, heard),) = recorded(brain, reply)
        assert how == [outcome, "toxic"]
        assert heard.endswith(brain.out.of(Utterance)[0].text)
        assert not await brain.pipeline.skip()


async def test_the_operators_words_can_be_skipped_without_the_reply_behind_them():
    hold = asyncio.Event()
    async with running(Brain(goes_on(hold))) as brain:
        assert await brain.pipeline.say("Words that go on and on.") == ()
        (own,) = brain.out.of(Utterance)
        await brain.pipeline.hear(own.reply_id, 0, "started")
        await brain.pipeline.receive(message("third"))
        await speaking(brain)
        assert await brain.pipeline.skip()
        assert told(brain) == (own.reply_id, "cut", "skip")
        await brain.pipeline.hear(own.reply_id, 0, "skipped")
        assert recorded(brain, own.reply_id) == []
        hold.set()
        await brain.out.until(lambda out: any(turn.message is not None for turn in out.of(Turn)))
        assert brain.out.of(Turn)[-1].outcome == "spoken"
