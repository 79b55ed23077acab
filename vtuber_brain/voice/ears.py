"""The voice's end of the bus: hears what is to be said, tells what was played, and outlives the broker.

Acknowledgements wait for the broker, in order, and are sent again when the connection broke under them.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from aiomqtt import Client, Message, MqttError
from pydantic import BaseModel, TypeAdapter

from vtuber_brain.bus import topics
from vtuber_brain.bus.connection import connection, first_of, lost, reason, subscribe, trust
from vtuber_brain.bus.control import parse_control
from vtuber_brain.bus.payload import parse
from vtuber_brain.bus.topics import CuePayload, Playback, ReplyPayload, Status, UtterancePayload
from vtuber_brain.errors import WireError
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.sections import BusSettings
from vtuber_brain.voice.voice import Voice

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.2
MAX_WAITING = 512
"""Acknowledgements waiting for the broker; when full the oldest goes, and the brain takes it as not told."""

_CHANNELS: dict[str, TypeAdapter[Any]] = {
    "utterance": TypeAdapter(UtterancePayload),
    "reply": TypeAdapter(ReplyPayload),
    "cue": TypeAdapter(CuePayload),
    "status": TypeAdapter(Status),
}


class Ears:
    """Listens to the topics of `persona`. `attach` the voice, then `run`; `on_state(up, detail)` hears of changes."""

    def __init__(self, settings: BusSettings, persona: str, on_state: Callable[[bool, str], None]) -> None:
        self._settings, self._persona, self._on_state = settings, persona, on_state
        self._waiting: deque[Playback] = deque(maxlen=MAX_WAITING)
        self._filled, self._drained = asyncio.Event(), asyncio.Event()
        self._drained.set()
        self._state: tuple[bool, str] | None = None
        self._topics = {self._topic(channel): channel for channel in (*_CHANNELS, "control")}

    def attach(self, voice: Voice) -> None:
        """Whom to tell what is heard."""
        self._hear: dict[str, Callable[[Any], None]] = {
            "utterance": voice.utterance,
            "reply": voice.reply,
            "cue": voice.cue,
            "status": voice.status,
        }
        self._obey = voice.control

    def publish(self, played: Playback) -> None:
        """Tell the brain, as soon as the broker is there."""
        self._waiting.append(played)
        self._filled.set()
        self._drained.clear()

    async def run(self) -> None:
        """Keep one connection until cancelled. Raises Refused for a host that never can be one."""
        tls = await trust(self._settings)
        name = f"vtuber-brain-voice-{self._settings.prefix}-{topics.segment(self._persona)}"
        pauses = backoff(FIRST_PAUSE_S, self._settings.retry_max_s)
        while True:
            try:
                async with connection(self._settings, name, tls, accept=self._accept) as client:
                    await self._serve(client)
            except* MqttError as error:
                self._report(False, reason(first_of(error)))
            if self._state is not None and self._state[0]:
                pauses = backoff(FIRST_PAUSE_S, self._settings.retry_max_s)
            await asyncio.sleep(next(pauses))

    async def drain(self, patience_s: float) -> None:
        """Let what waits reach the broker, within `patience_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._drained.wait()

    async def _serve(self, client: Client) -> None:
        for topic, channel in self._topics.items():
            await subscribe(client, topic, topics.CHANNELS[channel].qos)
        self._report(True, "connected")
        async with asyncio.TaskGroup() as group:
            group.create_task(lost(client), name="voice-bus-lost")
            group.create_task(self._publish(client), name="voice-bus-publish")

    async def _publish(self, client: Client) -> None:
        topic = self._topic("playback")
        while True:
            self._filled.clear()
            while self._waiting:
                played = self._waiting[0]
                await client.publish(topic, played.model_dump_json(), qos=1)
                if self._waiting and self._waiting[0] is played:
                    self._waiting.popleft()
            self._drained.set()
            await self._filled.wait()

    def _accept(self, message: Message) -> None:
        channel = self._topics.get(str(message.topic), "")
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        try:
            if channel == "control":
                if not message.retain:  # commands are for now
                    self._obey(parse_control(bytes(payload)))
            elif channel:
                heard: BaseModel = parse(_CHANNELS[channel], bytes(payload))
                self._hear[channel](heard)
        except WireError as error:
            log.warning("bus_not_understood", channel=channel, detail=str(error))

    def _topic(self, channel: str) -> str:
        return topics.topic(self._settings.prefix, self._persona, channel)

    def _report(self, up: bool, what: str) -> None:
        detail = f"{self._settings.host}:{self._settings.port}: {what}"
        if (up, detail) != self._state:
            self._state = up, detail
            (log.info if up else log.warning)("voice_bus_connected" if up else "voice_bus_lost", detail=detail)
            self._on_state(up, detail)
