"""The operator's end of the bus: one command to a running daemon, and its answer."""

import asyncio
import contextlib
import uuid
from typing import Any

from aiomqtt import Client, Message, MqttError
from pydantic import ValidationError

from vtuber_brain.bus import topics
from vtuber_brain.bus.connection import connection, lost, reason, subscribe, trust
from vtuber_brain.bus.control import Control, ControlResult
from vtuber_brain.errors import Unavailable
from vtuber_brain.sections import BusSettings

GREETING_S = 5.0
ANSWER_S = 40.0
"""Longer than the daemon allows itself for one command."""


async def order(settings: BusSettings, persona: str, command: Control, answer_s: float = ANSWER_S) -> ControlResult:
    """Have the daemon whose topics are named after `persona` obey, and give its answer.

    Raises Unavailable when the broker cannot be reached, no daemon is there, or it does not answer in `answer_s`;
    Refused when bus.host never can be a host.
    """
    call = _Call(settings, persona, command.model_copy(update={"id": uuid.uuid4().hex}))
    name = f"vtuber-brain-operator-{uuid.uuid4().hex[:12]}"
    try:
        async with connection(settings, name, await trust(settings), accept=call.accept) as client:
            return await call.make(client, answer_s)
    except MqttError as error:
        raise Unavailable(f"{settings.host}:{settings.port}: {reason(error)}") from None


class _Call:
    """One command under way."""

    def __init__(self, settings: BusSettings, persona: str, command: Control) -> None:
        self._settings, self._persona, self._command = settings, persona, command
        loop = asyncio.get_running_loop()
        self._there: asyncio.Future[None] = loop.create_future()
        self._result: asyncio.Future[ControlResult] = loop.create_future()

    def accept(self, message: Message) -> None:
        """Note the daemon's status, or its answer; what cannot be read is none."""
        with contextlib.suppress(ValidationError):
            if message.topic.matches(self._topic("status")):
                self._greet(topics.Status.model_validate_json(message.payload))
            else:
                self._answer(ControlResult.model_validate_json(message.payload))

    async def make(self, client: Client, answer_s: float) -> ControlResult:
        """Wait for a sign of the daemon, order, and wait for the answer. Raises Unavailable or MqttError."""
        for channel in ("status", "control/result"):
            await subscribe(client, self._topic(channel), qos=1)
        where = f"{self._settings.host}:{self._settings.port} as {self._topic('control')}"
        await self._wait(client, self._there, GREETING_S, f"no daemon is listening on {where}")
        await client.publish(self._topic("control"), self._command.model_dump_json(), qos=1)
        await self._wait(client, self._result, answer_s, f"no answer on {where} within {answer_s:g} s")
        return self._result.result()

    def _greet(self, status: topics.Status) -> None:
        if status.state != "offline" and not self._there.done():
            self._there.set_result(None)

    def _answer(self, result: ControlResult) -> None:
        if result.id == self._command.id and not self._result.done():
            self._result.set_result(result)

    @staticmethod
    async def _wait(client: Client, future: "asyncio.Future[Any]", patience_s: float, otherwise: str) -> None:
        gone = asyncio.create_task(lost(client), name="order-lost")
        try:
            done, _ = await asyncio.wait({future, gone}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if gone in done:
            gone.result()
        if not done:
            raise Unavailable(otherwise)

    def _topic(self, channel: str) -> str:
        return topics.topic(self._settings.prefix, self._persona, channel)
