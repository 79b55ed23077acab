"""Her face in VTube Studio over one connection: parameters many times a second, hotkeys and expressions when due."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from vtuber_brain.plugin_api import Refused

from .link import Answer, Link, Lost
from .options import Options
from .performance import Performance, Step
from .protocol import MODEL_LOADED, ApiError, Handling, Message, injection

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT = 8
"""Injections without an answer; while there are so many none is sent: VTube Studio is busy, late values are no use."""

REST_S = 2.0
_VOWELS = (("VoiceA", "a"), ("VoiceI", "i"), ("VoiceU", "u"), ("VoiceE", "e"), ("VoiceO", "o"))
_INJECT = "InjectParameterDataRequest"


@dataclass(frozen=True, slots=True)
class _Sent:
    what: str
    answer: Answer
    at_s: float


class Face:
    """One connection's. `woken` is set when the performance has changed; `trouble(part, reason)` tells the operator."""

    def __init__(
        self,
        link: Link,
        options: Options,
        performance: Performance,
        woken: asyncio.Event,
        trouble: Callable[[str, str], None],
    ) -> None:
        self._link, self._options, self._performance = link, options, performance
        self._woken, self._trouble = woken, trouble
        self._sent: list[_Sent] = []
        self._rests_until_s = 0.0
        self._left_out: set[tuple[str, int]] = set()
        self._look_again, self._has_model = True, False

    def hear(self, message: Message) -> None:
        """An event of VTube Studio's."""
        if message.kind == MODEL_LOADED:
            self._look_again = True
            self._woken.set()

    async def subscribe(self) -> None:
        """Hear of models being loaded; a version without that goes on without. Raises ApiError and Lost."""
        data = {"eventName": MODEL_LOADED, "subscribe": True, "config": {}}
        self._sent.append(_Sent("the news of models", await self._link.post("EventSubscriptionRequest", data), _now()))

    async def run(self) -> None:
        """Show what is to be shown until the connection ends. Raises Lost and Refused."""
        next_s = _now()
        while True:
            self._woken.clear()
            if self._look_again:
                self._look_again = False
                await self._look()
            self._weigh_answers()
            for step in self._performance.steps():
                await self._do(step)
            await self._inject()
            pause_s = 1 / self._options.rate_hz if self._performance.speaking else self._options.idle_every_s
            next_s = max(next_s + pause_s, _now())
            await self._sleep(next_s)
            next_s = min(next_s, _now())

    async def _sleep(self, until_s: float) -> None:
        """Until then; while she is silent, shorter when something happens or is due.

        Never shorter than while she speaks: a hundred messages are no hundred values.
        """
        due_s = self._performance.next_due_s()
        until_s = until_s if due_s is None else min(until_s, due_s)
        if self._performance.speaking:
            await asyncio.sleep(max(0.0, until_s - _now()))
            return
        began_s = _now()
        try:
            async with asyncio.timeout(max(0.0, until_s - began_s)):
                await self._woken.wait()
        except TimeoutError:
            pass
        await asyncio.sleep(max(0.0, began_s + 1 / self._options.rate_hz - _now()))

    async def _inject(self) -> None:
        now_s = _now()
        if now_s < self._rests_until_s or sum(sent.what == _INJECT for sent in self._sent) >= MAX_IN_FLIGHT:
            return
        data = injection(list(self._values()), face_found=self._options.face_found)
        self._sent.append(_Sent(_INJECT, await self._link.post(_INJECT, data), now_s))

    def _values(self) -> Iterator[tuple[str, float]]:
        opened, vowel = self._performance.mouth()
        yield self._options.mouth, round(opened, 3)
        if self._options.smile:
            yield self._options.smile, self._performance.smile()
        if self._options.vowels:
            yield from ((name, round(opened, 3) if letter == vowel else 0.0) for name, letter in _VOWELS)

    async def _do(self, step: Step) -> None:
        action = step.action
        if not self._has_model:
            return
        if action.expression is not None:
            data: dict[str, Any] = {"expressionFile": action.expression, "fadeTime": action.fade_s}
            answer = await self._link.post("ExpressionActivationRequest", {**data, "active": step.begin})
        elif step.begin or action.again:
            answer = await self._link.post("HotkeyTriggerRequest", {"hotkeyID": action.hotkey})
        else:
            return
        self._sent.append(_Sent(action.key, answer, _now()))

    async def _look(self) -> None:
        """See what the model has, put our expressions out, and begin anew. Raises Lost and Refused."""
        try:
            model = await self._link.ask("CurrentModelRequest")
            self._has_model = model.get("modelLoaded") is True
            if self._has_model:
                self._compare(await self._link.ask("HotkeysInCurrentModelRequest"))
                await self._put_out(await self._link.ask("ExpressionStateRequest", {"details": False}))
        except ApiError as error:
            self._weigh("the model", error)
        self._performance.begin_anew()

    def _compare(self, told: Any) -> None:
        listed = [one for one in told.get("availableHotkeys") or () if isinstance(one, dict)]
        names = {str(one.get(key, "")).casefold() for one in listed for key in ("name", "hotkeyID")}
        wanted = [action for action in self._performance.moves.actions if action.hotkey is not None]
        absent = sorted(action.key for action in wanted if (action.hotkey or "").casefold() not in names)
        if absent:
            log.warning("vtube_studio_hotkeys_absent", keys=absent)

    async def _put_out(self, told: Any) -> None:
        listed = [one for one in told.get("expressions") or () if isinstance(one, dict)]
        active = {one.get("file"): one.get("active") is True for one in listed}
        ours = {action.expression: action for action in self._performance.moves.actions if action.expression}
        if absent := sorted(action.key for file, action in ours.items() if file not in active):
            log.warning("vtube_studio_expressions_absent", keys=absent)
        for file, action in ours.items():
            if active.get(file):
                await self._do(Step(action, begin=False))

    def _weigh_answers(self) -> None:
        waiting = []
        for sent in self._sent:
            if not sent.answer.done():
                waiting.append(sent)
            elif (error := sent.answer.exception()) is None:
                if sent.what == _INJECT:
                    self._trouble("face", "")
            elif isinstance(error, ApiError):
                self._weigh(sent.what, error)
            else:
                raise error
        self._sent = waiting
        if waiting and _now() - waiting[0].at_s > self._options.timeout_s:
            raise Lost("no answer in time")

    def _weigh(self, what: str, error: ApiError) -> None:
        match error.handling:
            case Handling.AGAIN:
                raise Lost(str(error)) from error
            case Handling.STOP:
                raise Refused(str(error)) from error
            case Handling.REST:
                self._rests_until_s = _now() + REST_S
                self._trouble("face", str(error))
            case Handling.SKIP if (what, error.number) not in self._left_out:
                self._left_out.add((what, error.number))
                log.warning("vtube_studio_left_out", what=what, error=error.number, reason=error.known.meaning)


def _now() -> float:
    return time.monotonic()
