"""What the operator can order over the bus, and what each order does. In which turn, the desk decides (desk.py)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from vtuber_brain.air import Air
from vtuber_brain.bus import control
from vtuber_brain.bus.control import Control, ControlResult, answer
from vtuber_brain.cast import Cast
from vtuber_brain.engine.api import Engine
from vtuber_brain.holds import Held
from vtuber_brain.mute_mark import MuteMark
from vtuber_brain.pipeline import Pipeline
from vtuber_brain.roles import Role
from vtuber_brain.runtime.clock import now_s

log = structlog.get_logger(__name__)


class Commands:
    """Obeys. What a command raises is answered by the bus with the code `failed` and the reason.

    Where the operator's mute is still marked, she is muted from the beginning.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        cast: Cast,
        engine: Engine,
        *,
        air: Air,
        mute_mark: MuteMark,
        drain_s: float,
        reload: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._pipeline, self._cast, self._engine, self._drain_s = pipeline, cast, engine, drain_s
        self._air, self._mute_mark, self._reload = air, mute_mark, reload
        self._sayings: set[asyncio.Task[tuple[str, ...]]] = set()
        if mute_mark.is_set():
            pipeline.mute()
            log.warning("still_muted", fix="vtuber-brain unmute")

    async def obey(self, command: Control) -> ControlResult:
        """Do it and say how it went. Raises BrainError."""
        match command:
            case control.Mute() | control.Unmute() | control.Skip() | control.Say():
                return await self._speech(command)
            case control.Sleep() | control.Wake():
                return await self._rest(command)
            case control.Held() | control.Allow() | control.Deny() | control.Reload():
                return await self._filter(command)
            case _:
                return await self._stage(command)

    async def _speech(self, command: Control) -> ControlResult:
        match command:
            case control.Mute():
                self._pipeline.mute()
                for saying in self._sayings:
                    saying.cancel()
                self._mute_mark.set()
            case control.Unmute():
                self._pipeline.unmute()
                self._mute_mark.clear()
            case control.Skip():
                if not await self._pipeline.skip():
                    return answer(command, "nothing_to_skip", "nobody is speaking")
            case control.Say(text=text):
                return await self._say(command, text)
        return answer(command)

    async def _say(self, command: Control, text: str) -> ControlResult:
        """Muted she says nothing, the operator's words neither; nor those that still wait for the floor by then."""
        if self._pipeline.muted:
            return answer(command, "muted", "she is muted; unmute her first")
        saying = asyncio.create_task(self._pipeline.say(text), name="say")
        self._sayings.add(saying)
        try:
            await asyncio.wait({saying})
        finally:
            self._sayings.discard(saying)
            saying.cancel()
        if saying.cancelled():
            return answer(command, "muted", "she was muted before she could say it")
        reasons = saying.result()
        return answer(command, "denied", ", ".join(reasons)) if reasons else answer(command)

    async def _rest(self, command: Control) -> ControlResult:
        if isinstance(command, control.Sleep):
            await self._pipeline.sleep(self._drain_s)
            await self._engine.sleep()
            await self._air.end()
            self._pipeline.end_stream()
        else:
            self._air.begin()
            await self._engine.wake()
            self._pipeline.wake()
        return answer(command)

    async def _filter(self, command: Control) -> ControlResult:
        door = self._pipeline.door
        match command:
            case control.Allow(message_id=message_id, source=source):
                found = door.allow(message_id, source)
            case control.Deny(message_id=message_id, source=source):
                found = await door.deny(message_id, source)
            case control.Reload():
                return answer(command, data={"needs_restart": await self._reload()})
            case _:
                return answer(command, data={"held": [_shown(held) for held in door.held()]})
        return answer(command) if found else answer(command, "not_held", "no message of this id waits for a decision")

    async def _stage(self, command: Control) -> ControlResult:
        match command:
            case control.UsePersona(name=name, release=release):
                return answer(command, data=_told(await self._cast.use(name, release)))
            case control.Preload(name=name, release=release):
                return answer(command, data=_told(await self._cast.preload(name, release)))
            case control.DropRelease(name=name, release=release):
                dropped = await self._cast.drop(name, release)
                return answer(command, data={"dropped": [_told(role) for role in dropped]})
            case control.Show(name=name):
                return answer(command, data=self._cast.show(name))
            case _:
                return answer(command, data=self._cast.listing())


def _shown(held: Held) -> dict[str, Any]:
    message = held.message
    return {
        "id": message.id,
        "source": message.source,
        "author": message.author.name,
        "text": message.text,
        "reasons": list(held.verdict.reasons),
        "age_s": round(now_s() - held.since_s, 1),
    }


def _told(role: Role) -> dict[str, str | None]:
    return {"persona": role.persona.name, "release": role.release}
