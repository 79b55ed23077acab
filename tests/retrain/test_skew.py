"""From a live prompt to a training row and back: the very same tokens, and none of words that were taken back."""

import time

import pytest
from transformers import AutoTokenizer

from tests.retrain.test_replayed import MEMORY, PERSONA, VIEWERS, rebuilt, saying, settled, streaming
from tests.support.scripted import message
from vtuber_brain.config import state_dir
from vtuber_brain.engine.render import Renderer
from vtuber_brain.messages import Retraction, Turn
from vtuber_brain.night_sections import CurateSettings
from vtuber_brain.retrain.curate import curate
from vtuber_brain.retrain.rows import rows
from vtuber_brain.transcripts.ratings import rate

CONTEXT = 4096


@pytest.fixture(scope="module")
def tokenizer(bundled_model):
    return AutoTokenizer.from_pretrained(bundled_model)


@pytest.mark.parametrize("unit", ["reply", "conversation"])
async def test_a_learnt_reply_follows_the_very_tokens_she_was_asked_with(tokenizer, unit):
    """A row of its own for each: all of them; rows of conversations: of the past the oldest may be missing."""
    path, renderer = state_dir() / "transcripts.db", Renderer(tokenizer)
    async with streaming() as brain:
        for n in range(20):
            await brain.pipeline.receive(message(saying(n, n), VIEWERS[n % 4], n))
            await settled(brain, n + 1)
        await brain.pipeline.receive(message("I hide marmalade in pianos", "eve", "gone"))
        await settled(brain, 21)
        await brain.pipeline.receive(Retraction("websocket", "message", "gone", time.time()))
        for turn in brain.out.of(Turn):
            rate(path, turn.reply_id, 1, "ana")
        requests = [request.messages for request in brain.engine.requests[:20]]
    curated = curate(rebuilt(assumed=MEMORY), 1000, CurateSettings(min_cap=1000, burst=1000, rows=unit))
    assert len(curated.chosen) == 20
    made = rows(curated.examples, renderer, PERSONA, CONTEXT)
    starts = {
        row.tokens[:place]
        for row in made
        for place in range(1, len(row.tokens))
        if row.weights[place] and not row.weights[place - 1]
    }
    asked = {tuple(renderer.messages(messages, CONTEXT)) for messages in requests}
    assert len(starts) == 20
    if unit == "reply":
        assert starts == asked
    else:
        assert len(made) < 20
        assert len(starts & asked) >= len(made)
        opening = made[0].num_opening
        assert all(any(live[-(len(start) - opening) :] == start[opening:] for live in asked) for start in starts)
    assert not any("marmalade" in tokenizer.decode(row.tokens) for row in made)
