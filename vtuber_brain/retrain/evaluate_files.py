"""Any model, lora or server against any corpus: what `vtuber-brain evaluate --data` measures."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from vtuber_brain.context.personas import Persona
from vtuber_brain.engine import api
from vtuber_brain.engine.remote import RemoteEngine
from vtuber_brain.engine.wire import Configure, Done, Generate
from vtuber_brain.errors import ConfigError, EngineDown, Problem, RequestFailed
from vtuber_brain.retrain.asking import Contestant, Judges, Material
from vtuber_brain.retrain.comparison import anchors, compare, compare_replies
from vtuber_brain.retrain.conversations import Conversation, Row
from vtuber_brain.retrain.corpora import read_corpus
from vtuber_brain.retrain.measures import FEW_SHOT, Measured
from vtuber_brain.retrain.rows import Example
from vtuber_brain.retrain.safety import questions
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import RemoteSettings

PATIENCE_S = 120.0


def examples_of(rows: Iterable[Row]) -> list[Example]:
    """Conversations as examples; one that brings a system message of its own goes without the persona's opening.

    Rows that name their stream are grouped by it, others stand for themselves.
    """
    found = []
    for row in rows:
        if isinstance(row, Conversation):
            own = row.messages[0].role == "system"
            group = str(row.meta.get("stream", row.id))
            found.append(Example(row.id, group, frozenset(), row.messages, opening=not own))
    return found


def material_of(data: Path, *, with_safety: bool) -> Material:
    """A corpus of conversations as what is asked. Raises CorpusError, and ConfigError for one without any."""
    examples = examples_of(read_corpus(data))
    if not examples:
        raise ConfigError([Problem(str(data), "no conversation in it", "Give a corpus of chats (docs/retrain.md)")])
    return Material(examples, questions=questions() if with_safety else (), anchors=anchors())


def evaluate_local(
    configure: Configure, loras: Sequence[Path], material: Material, persona: Persona | None, judges: Judges | None
) -> Measured:
    """The base and every lora beside it. Raises ModelRefused and LoraRejected."""
    everybody = [Contestant(str(lora), lora, persona) for lora in loras]
    return compare(configure, [*everybody, Contestant(FEW_SHOT, None, persona)], material, judges)


def evaluate_remote(
    settings: RemoteSettings, material: Material, persona: Persona | None, judges: Judges | None
) -> Measured:
    """A server elsewhere, by its replies alone. Raises EngineDown when none answers."""
    everybody = [Contestant(settings.model, None, persona)]
    return compare_replies(lambda asked: asyncio.run(_answers(settings, asked)), everybody, material, judges)


async def _answers(settings: RemoteSettings, asked: Sequence[Generate]) -> list[str]:
    engine = RemoteEngine(settings, PATIENCE_S, Metrics(), lambda _state, _reason: None)
    running = asyncio.create_task(engine.run(), name="remote-engine")
    try:
        async with asyncio.timeout(PATIENCE_S):
            await engine.wait_ready()
        room = asyncio.Semaphore(settings.per_url * max(1, len(settings.urls)))
        return await asyncio.gather(*(_reply(engine, one, room) for one in asked))
    except TimeoutError:
        raise EngineDown(f"no server answered within {PATIENCE_S:.0f} s") from None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _reply(engine: RemoteEngine, asked: Generate, room: asyncio.Semaphore) -> str:
    """One reply; empty where the request could not be answered."""
    assert asked.messages is not None
    request = api.Request(asked.messages, asked.max_tokens, asked.sampling, asked.stop)
    async with room, contextlib.aclosing(engine.generate(request)) as stream:
        try:
            return "".join([piece async for piece in stream if not isinstance(piece, Done)]).strip()
        except RequestFailed:
            return ""
