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
from vtuber_brain.retrain.conversations import Conversation, Row, Text
from vtuber_brain.retrain.corpora import read_corpus
from vtuber_brain.retrain.measures import BARE, FEW_SHOT, PLAIN, Measured
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
    """A corpus as what is asked; nothing else where it is plain text. Raises CorpusError; ConfigError for no row."""
    corpus = list(read_corpus(data))
    examples = examples_of(corpus)
    texts = [row for row in corpus if isinstance(row, Text)]
    if not examples and not texts:
        raise ConfigError([Problem(str(data), "nothing in it to evaluate on", "Give a corpus (docs/retrain.md)")])
    asked = questions() if with_safety and examples else ()
    return Material(examples, questions=asked, anchors=anchors(), texts=texts)


def evaluate_local(
    configure: Configure, loras: Sequence[Path], material: Material, persona: Persona | None, judges: Judges | None
) -> Measured:
    """The base and every lora beside it; text is nobody's. Raises ModelRefused, LoraRejected and ConfigError."""
    whose = persona if material.held_out else None
    everybody = [Contestant(str(lora), lora, whose) for lora in loras]
    everybody += _baselines(whose, FEW_SHOT if whose is not None else PLAIN, BARE)
    return compare(configure, everybody, material, judges)


def evaluate_remote(
    settings: RemoteSettings, material: Material, persona: Persona | None, judges: Judges | None
) -> Measured:
    """A server elsewhere, by its replies alone. Raises EngineDown when none answers, ConfigError for plain text."""
    if not material.held_out:
        fix = "Give a corpus of chats (docs/retrain.md)"
        raise ConfigError([Problem("--remote", "a server elsewhere foresees no text, it replies", fix)])
    everybody = _baselines(persona, settings.model, f"{settings.model} with prompt alone")
    return compare_replies(lambda asked: asyncio.run(_answers(settings, asked)), everybody, material, judges)


def _baselines(persona: Persona | None, whole: str, bare: str) -> list[Contestant]:
    """Without a lora: with all that goes before her prompts, and, where that holds examples, without these."""
    found = [Contestant(whole, None, persona)]
    if persona is not None and persona.examples:
        found.append(Contestant(bare, None, persona.model_copy(update={"examples": ()})))
    return found


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
