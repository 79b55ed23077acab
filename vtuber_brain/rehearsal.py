"""A recorded stream lived through again in this process, in a moment: the real way of a message under a virtual clock.

Inbox, choice, rules, memory, prompt, floor and speech are the daemon's own; the engine is scripted, and there is no
classifier, broker, database or plugin. The same recording, settings and seed give the same decisions.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from vtuber_brain.assembly import assemble
from vtuber_brain.cast import Cast
from vtuber_brain.chat.ledger import Ledger, Summary
from vtuber_brain.chat.protocol import incoming
from vtuber_brain.chat.replay import Recorded, recorded_lines
from vtuber_brain.config import Settings, state_dir
from vtuber_brain.context.personas import Persona, load_persona
from vtuber_brain.engine.scripted import ANSWERS, Pace, ScriptedEngine
from vtuber_brain.messages import ChatMessage, Cue, Dropped, Event, Incoming, Judged, Turn, Utterance, Verdict
from vtuber_brain.pipeline import Pipeline
from vtuber_brain.plan import rules_for
from vtuber_brain.publisher import Publisher
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.virtual import VirtualLoop
from vtuber_brain.sentiment.judge import Judge

SOURCE = "websocket"
"""Where a line comes from that names no source."""

SETTLE_S = 60.0
"""Virtual seconds without a fate after which those still unknown are given up."""

Tell = Callable[[dict[str, Any]], None]
"""Hears every decision, as JSON can carry it."""


def rehearse_file(
    path: Path, settings: Settings, *, seed: int = 0, answers: Sequence[str] = ANSWERS, out: TextIO | None = None
) -> Summary:
    """The recording at `path`, every decision written to `out` as one JSON line. Raises ConfigError or RecordError."""
    persona = load_persona(settings.persona.name, settings.persona.dir)
    deque(recorded_lines(path), maxlen=0)  # the whole file is checked before anything happens

    def tell(decision: dict[str, Any]) -> None:
        if out is not None:
            out.write(json.dumps(decision, ensure_ascii=False) + "\n")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(rehearse(recorded_lines(path), settings, persona, seed=seed, answers=answers, tell=tell))


async def rehearse(
    recording: Iterable[Recorded],
    settings: Settings,
    persona: Persona,
    *,
    tell: Tell,
    seed: int = 0,
    answers: Sequence[str] = ANSWERS,
    pace: Pace | None = None,
) -> Summary:
    """Play a recording, to be called under a VirtualLoop; returns once every message has its fate."""
    metrics, decisions = Metrics(), Decisions(tell)
    publisher = Publisher(_forget, [decisions], metrics)
    engine = ScriptedEngine(answers, seed, pace)
    # A folder that nobody makes: she speaks on the base model, whatever was published here.
    store = ReleaseStore(state_dir() / "rehearsal")
    bare = persona.model_copy(update={"lora": None})
    cast = Cast(bare, settings.persona, engine=engine, store=store, max_loras=0)
    pipeline = _assemble(settings, metrics, cast=cast, engine=engine, publisher=publisher, seed=seed)
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(publisher.run(), name="publisher"),
            group.create_task(pipeline.run(), name="pipeline"),
        ]
        await cast.open()
        await _play(recording, pipeline, decisions)
        await decisions.settled(SETTLE_S)
        await pipeline.drain(settings.speech.drain_s)
        for task in running:
            task.cancel()
    return decisions.ledger.summary()


def _assemble(
    settings: Settings, metrics: Metrics, *, cast: Cast, engine: ScriptedEngine, publisher: Publisher, seed: int
) -> Pipeline:
    lots = random.Random(seed)  # noqa: S311 - it names replies, it guards nothing
    persona = cast.on_stage.persona
    rules = rules_for(settings.sentiment, persona)
    judge = Judge(settings.sentiment, rules, None, metrics, policy=persona.filter)
    return assemble(
        settings.model_copy(update={"choice": settings.choice.model_copy(update={"seed": seed})}),
        metrics,
        judge=judge,
        engine=engine,
        model="scripted",
        cast=cast,
        publisher=publisher,
        new_id=lambda: f"{lots.getrandbits(48):012x}",
    )


async def _play(recording: Iterable[Recorded], pipeline: Pipeline, decisions: "Decisions") -> None:
    started_s, started_at = now_s(), unix_s()
    for recorded in recording:
        await asyncio.sleep(max(0.0, started_s + recorded.at - now_s()))
        sent_at = recorded.at if recorded.sent_at is None else recorded.sent_at
        received_at = recorded.at if recorded.received_at is None else recorded.received_at
        delivered = incoming(
            recorded.frame,
            source=recorded.source or SOURCE,
            at=started_at + sent_at,
            received_s=started_s + received_at,
        )
        decisions.deliver(delivered)
        await pipeline.receive(delivered)


async def _forget(*_: Incoming | Event) -> None:
    """There is no transcript."""


class Decisions:
    """The sink of a rehearsal: tells every decision as it happens, and keeps the books."""

    name = "decisions"

    def __init__(self, tell: Tell) -> None:
        self.ledger = Ledger()
        self._tell = tell
        self._news = asyncio.Event()

    def deliver(self, delivered: Incoming) -> None:
        """Something is about to be received."""
        if isinstance(delivered, ChatMessage):
            self.ledger.sent(delivered.key, now_s())
            self.ledger.acked(delivered.key)
        else:
            self._say("retraction", (delivered.source, None), scope=delivered.scope, target=delivered.target_id)

    async def emit(self, event: Event) -> None:
        """Take one event of the brain's."""
        match event:
            case Judged(message, verdict):
                self._judged(message, verdict)
            case Dropped(message, reason):
                self._say("dropped", message.key, reason=reason.value)
                self.ledger.dropped(message.key, reason.value)
            case Utterance():
                self._said(event)
            case Cue():
                self._say("cue", None, name=event.name)
            case Turn():
                self._ended(event)
        self._news.set()

    async def settled(self, patience_s: float) -> None:
        """Wait until every message has its fate, or for so long nothing has happened."""
        while self.ledger.num_open:
            self._news.clear()
            try:
                async with asyncio.timeout(patience_s):
                    await self._news.wait()
            except TimeoutError:
                return

    def _judged(self, message: ChatMessage, verdict: Verdict) -> None:
        chosen = message.chosen
        why: dict[str, Any] = {"action": verdict.action, "reasons": list(verdict.reasons)}
        if chosen is not None:
            why |= {"score": chosen.score, "waiting": chosen.num_waiting, "asking": message.num_asking}
        self._say("judged", message.key, **why)
        if verdict.action == "deny":
            self.ledger.denied(message.key, verdict.reasons)

    def _said(self, said: Utterance) -> None:
        key = said.in_reply_to.key if said.in_reply_to is not None else None
        cue = said.cue.name if said.cue is not None else None
        self._say("said", key, reply_id=said.reply_id, seq=said.seq, text=said.text, cue=cue, final=said.final)
        self.ledger.spoke(key, now_s())

    def _ended(self, turn: Turn) -> None:
        key = turn.message.key if turn.message is not None else None
        self._say("turn", key, reply_id=turn.reply_id, outcome=turn.outcome, reason=turn.reason, text=turn.text)
        self.ledger.ended(key, turn.outcome)

    def _say(self, event: str, key: tuple[str, str | None] | None, **fields: Any) -> None:
        source, message_id = key or (None, None)
        told = {"at": round(now_s(), 3), "event": event, "source": source, "id": message_id, **fields}
        self._tell({name: value for name, value in told.items() if value is not None})
