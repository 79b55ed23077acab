"""The operator's desk: every order that comes over the bus, the CLI or HTTP passes here, is obeyed and written down.

What waits for nothing but this process (mute, skip, decisions) is done at once; what takes long, one at a time, so that
nobody has to wait for a lora to be loaded before she can be silenced. It knows no socket.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from vtuber_brain.backstage import Backstage
from vtuber_brain.bus.control import QUICK, Control, ControlResult, answer
from vtuber_brain.cast import Cast
from vtuber_brain.commands import Commands
from vtuber_brain.config import state_dir
from vtuber_brain.control.audit import AuditLog
from vtuber_brain.control.models import Answer, Queue, State, ThoughtShown
from vtuber_brain.control.tokens import BUS, Who
from vtuber_brain.engine.api import Engine
from vtuber_brain.errors import BrainError, Unavailable
from vtuber_brain.messages import Retraction
from vtuber_brain.nights import purge
from vtuber_brain.own_blocklist import Change, OwnBlocklist
from vtuber_brain.pipeline import Pipeline
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.thoughts import Thought
from vtuber_brain.transcripts.ratings import Rating, edit, rate
from vtuber_brain.transcripts.viewers import forget

LONGEST_S = 30.0
MAX_WAITING = 16
"""Long commands that wait for each other; one more is busy."""
_VERSION = version("vtuber-brain")
UNHEARD = ("classifier", "gate", "bus")
"""Parts without which she cannot be heard, beside the engine."""
_NOTHING_KEPT = "transcripts.enabled is false: nothing is kept"
_QUESTIONS = {"held", "personas", "show"}
_CONTROL: TypeAdapter[Control] = TypeAdapter(Control)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the desk looks into."""

    pipeline: Pipeline
    cast: Cast
    engine: Engine
    health: Health
    metrics: Metrics


class Desk:
    """See control/ports.py, whose Brain this is. `on_change` is called after each order."""

    def __init__(
        self,
        rooms: Rooms,
        commands: Commands,
        audit: AuditLog,
        blocklist: OwnBlocklist,
        transcripts: Path | None,
        on_change: Callable[[], None],
        backstage: Backstage,
    ) -> None:
        self._rooms, self._commands, self._audit, self._blocklist = rooms, commands, audit, blocklist
        self._transcripts, self._on_change, self._backstage = transcripts, on_change, backstage
        self._long, self._num_waiting = asyncio.Lock(), 0
        self._started_at = unix_s()
        rooms.metrics.queue.labels("held").set_function(lambda: len(rooms.pipeline.door.held()))
        rooms.metrics.oldest.labels("held").set_function(self._held_s)

    async def obey(self, command: Control, who: Who = BUS) -> ControlResult:
        """Have a command obeyed and written down; whatever goes wrong stands in the answer."""
        arguments = command.model_dump(exclude={"command", "id"}, exclude_none=True)
        try:
            async with asyncio.timeout(LONGEST_S):
                done = await self._in_turn(command)
        except TimeoutError:
            done = answer(command, "timeout", f"not done within {LONGEST_S:g} s")
        except BrainError as error:
            done = answer(command, "failed", str(error))
        except asyncio.CancelledError:
            self._audit.note(who, command.command, arguments, "cancelled")
            raise
        finally:
            self._on_change()
        if command.command not in _QUESTIONS:
            self._audit.note(who, command.command, arguments, done.code)
        return done

    async def order(self, who: Who, command: str, **fields: Any) -> Answer:
        """See Brain."""
        try:
            meant = _CONTROL.validate_python({"command": command, **fields})
        except ValidationError as error:
            item = error.errors(include_input=False, include_url=False)[0]
            return Answer(ok=False, code="bad_request", detail=f"{item['loc'][-1]}: {item['msg']}")
        done = await self.obey(meant, who)
        return Answer(ok=done.ok, code=done.code, detail=done.detail, data=done.data)

    def refused(self, who: Who, action: str, arguments: Mapping[str, Any]) -> None:
        """See Brain."""
        self._audit.note(who, action, arguments, "forbidden")

    def reasons(self) -> list[str]:
        """See Brain."""
        pipeline, down = self._rooms.pipeline, self._rooms.health.down
        flags = {"muted": pipeline.muted, "asleep": pipeline.asleep, "stopping": pipeline.stopping}
        engine = ["engine"] if self._rooms.engine.state not in ("ready", "slow") else []
        starting = ["starting"] if not self._rooms.cast.is_open else []
        return [
            *starting,
            *engine,
            *(part for part in UNHEARD if part in down),
            *(name for name, holds in flags.items() if holds),
        ]

    def state(self) -> State:
        """See Brain."""
        pipeline, role = self._rooms.pipeline, self._rooms.cast.on_stage
        down, reasons, speaking = self._rooms.health.down, self.reasons(), pipeline.speaking
        return State(
            state=overall(pipeline, self._rooms.health),
            persona=role.persona.name,
            display_name=role.persona.display_name,
            release=role.release,
            engine=self._rooms.engine.state,
            ready=not reasons,
            reasons=reasons,
            down=down,
            queues=self._queues(),
            thoughts=[_shown(thought) for thought in pipeline.thoughts],
            speaking=speaking.reply_id if speaking is not None else None,
            stopping=pipeline.stopping,
            started_at=self._started_at,
            version=_VERSION,
        )

    def blocklist(self) -> tuple[str, Sequence[str]]:
        """See Brain."""
        return str(self._blocklist.path), self._blocklist.entries()

    async def block(self, who: Who, change: str, entries: Sequence[str]) -> Answer:
        """See Brain."""

        async def changed() -> Answer:
            code = self._blocklist.change(cast("Change", change), entries)
            return Answer(ok=code == "ok", code=code, data={"entries": self._blocklist.entries()})

        told = {"entry": entries[0]} if len(entries) == 1 else {"num_entries": len(entries)}
        return await self._noted(who, f"blocklist_{change}", told, changed())

    async def rate(self, who: Who, reply_id: str, rating: int, reason: str) -> Answer:
        """See Brain."""
        by = _signature(who)
        done = self._in_transcripts(lambda path: rate(path, reply_id, cast("Rating", rating), by, reason=reason))
        return await self._noted(who, "rate", {"reply_id": reply_id, "rating": rating}, done)

    async def edit(self, who: Who, reply_id: str, text: str, reason: str) -> Answer:
        """See Brain."""
        by = _signature(who)
        done = self._in_transcripts(lambda path: edit(path, reply_id, text, by, reason=reason))
        return await self._noted(who, "edit", {"reply_id": reply_id, "num_chars": len(text)}, done)

    async def chat(self, who: Who, name: str, text: str) -> Answer:
        """See Brain."""
        done = _answered(self._backstage.chat(name, text))
        return await self._noted(who, "chat", {"num_chars": len(text)}, done)

    async def preview(self, who: Who, name: str, release: str | None, text: str) -> Answer:
        """See Brain. Loading the release waits its turn as any preload does; the line itself keeps nobody waiting."""
        loaded = await self.order(who, "preload", name=name, release=release)
        if not loaded.ok or loaded.data is None:
            return loaded
        release = loaded.data["release"]
        done = _answered(self._backstage.preview(name, release, text))
        return await self._noted(who, "preview", {"name": name, "release": release}, done)

    async def replies(self, limit: int, *, unrated: bool) -> Answer:
        """See Brain."""
        if self._transcripts is None:
            return Answer(ok=False, code="no_transcripts", detail=_NOTHING_KEPT)
        return await _answered(self._backstage.replies(self._transcripts, limit, unrated=unrated))

    async def night(self) -> Answer:
        """See Brain."""
        return await _answered(self._backstage.night())

    async def forget(self, who: Who, source: str, author_id: str) -> Answer:
        """See Brain. First here, so that nothing of it is said any more, then in the transcripts."""

        async def forgotten() -> Answer:
            now = unix_s()
            await self._rooms.pipeline.receive(Retraction(source, "author", author_id, now, until=now))
            return await self._in_transcripts(lambda path: _forgotten(path, source, author_id))

        return await self._noted(who, "forget", {"source": source, "author_id": author_id}, forgotten())

    async def _in_turn(self, command: Control) -> ControlResult:
        if isinstance(command, QUICK):
            return await self._commands.obey(command)
        if self._num_waiting >= MAX_WAITING:
            return answer(command, "busy", f"{MAX_WAITING} commands are waiting")
        self._num_waiting += 1
        try:
            async with self._long:
                return await self._commands.obey(command)
        finally:
            self._num_waiting -= 1

    async def _noted(self, who: Who, action: str, arguments: Mapping[str, Any], done: Awaitable[Answer]) -> Answer:
        try:
            told = await done
        except Unavailable as error:
            told = Answer(ok=False, code="unavailable", detail=str(error))
        except BrainError as error:
            told = Answer(ok=False, code="failed", detail=str(error))
        finally:
            self._on_change()
        self._audit.note(who, action, arguments, told.code)
        return told

    async def _in_transcripts(self, change: Callable[[Path], Any]) -> Answer:
        path = self._transcripts
        if path is None:
            return Answer(ok=False, code="no_transcripts", detail=_NOTHING_KEPT)
        told = await asyncio.to_thread(change, path)
        return Answer(ok=True, code="ok", data=told if isinstance(told, dict) else {"stream": told})

    def _queues(self) -> dict[str, Queue]:
        """All at once: the registry computes every gauge it is asked for."""
        asked = self._rooms.metrics.registry.restricted_registry(["vtb_queue_waiting", "vtb_queue_oldest_seconds"])
        found = {(one.name, one.labels["queue"]): one.value for family in asked.collect() for one in family.samples}

        def queue(name: str) -> Queue:
            waiting, oldest_s = (found.get((f"vtb_queue_{what}", name), 0) for what in ("waiting", "oldest_seconds"))
            return Queue(waiting=int(waiting), oldest_s=round(oldest_s, 2))

        return {name: queue(name) for name in ("chat", "money", "held", "bus")}

    def _held_s(self) -> float:
        return max((now_s() - held.since_s for held in self._rooms.pipeline.door.held()), default=0.0)


def overall(pipeline: Pipeline, health: Health) -> Any:
    """In one word how she is, as the bus's status has it."""
    awake = "muted" if pipeline.muted else "degraded" if health.down else "online"
    return "asleep" if pipeline.asleep else awake


async def _answered(data: Awaitable[dict[str, Any]]) -> Answer:
    """An answer that carries this. Raises nothing of ours but what a route may: the answer says it."""
    try:
        async with asyncio.timeout(LONGEST_S):
            return Answer(ok=True, code="ok", data=await data)
    except TimeoutError:
        return Answer(ok=False, code="timeout", detail=f"not done within {LONGEST_S:g} s")
    except Unavailable as error:
        return Answer(ok=False, code="unavailable", detail=str(error))
    except BrainError as error:
        return Answer(ok=False, code="failed", detail=str(error))


def _forgotten(path: Path, source: str, author_id: str) -> dict[str, Any]:
    gone = forget(path, source, author_id)
    at_work = purge(state_dir())
    return {
        "messages": gone.num_messages,
        "replies": gone.num_replies,
        "quoting": gone.num_quoting,
        "scrubbed": gone.is_scrubbed,
        "night_at_work": str(at_work) if at_work is not None else None,
    }


def _signature(who: Who) -> str:
    return f"{who.role} {who.token}".strip()


def _shown(thought: Thought) -> ThoughtShown:
    message = thought.message
    stages = thought.timings_ms
    return ThoughtShown(
        reply_id=thought.reply_id,
        source=message.source if message is not None else None,
        message_id=message.id.encode("utf-8", "replace").decode() if message is not None else None,
        persona=thought.role.persona.name,
        release=thought.role.release,
        stage=max(stages, key=lambda stage: stages[stage], default="begun"),
        age_s=round(now_s() - thought.since_s, 2),
        sentences=len(thought.said),
    )
