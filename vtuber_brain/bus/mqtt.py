"""The brain's end of the bus: a sink that publishes in order and outlives its broker. Never makes its caller wait.

A publication is forgotten when the broker has acknowledged it, not before: one that
was under way when the connection broke is sent again, so a subscriber may see it twice and tells by (reply_id, seq).
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable

import structlog
from aiomqtt import Client, Message, MqttError, Will
from aiomqtt.exceptions import MqttConnectError
from pydantic import BaseModel

from vtuber_brain.bus import control, topics
from vtuber_brain.bus.connection import connection, first_of, lost, reason, subscribe, trust
from vtuber_brain.bus.control import Control, ControlResult
from vtuber_brain.bus.outbox import Outbox, Publication
from vtuber_brain.bus.topics import Playback, Status
from vtuber_brain.errors import BrainError, WireError
from vtuber_brain.messages import Event, Turn, Utterance
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.runtime.watchdog import Busy
from vtuber_brain.sections import BusSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.2
MAX_INCOMING = 256
CONTROL_TIMEOUT_S = 33.0
"""Longer than whoever obeys allows itself (desk.py)."""
SLACK_S = 10.0


class MqttBus:
    """The sink `mqtt`. `run` keeps one connection alive until cancelled; `emit` only queues (see `Outbox`).

    Utterances, cues and finished turns are published in the order of `emit`; other events are none of the bus's.
    Commands that take long are obeyed one at a time, in order of arrival; those that do not (`control.QUICK`) likewise
    among themselves, and so is what the player says heard: none of the three waits for another. Each command gets one
    answer.
    `on_state(up, detail)` is told of every change of the connection. `busy`: its talks with the broker under way, none
    of which should ever take `patience_s`.
    """

    name = "mqtt"

    def __init__(
        self,
        settings: BusSettings,
        persona: str,
        metrics: Metrics,
        *,
        on_playback: Callable[[Playback], Awaitable[None]],
        on_control: Callable[[Control], Awaitable[ControlResult]],
        on_state: Callable[[bool, str], None],
    ) -> None:
        self._settings, self._persona, self._metrics = settings, persona, metrics
        self._on_playback, self._on_control, self._on_state = on_playback, on_control, on_state
        self._outbox = Outbox(settings.queue, settings.max_age_s, lambda why: metrics.bus_dropped.labels(why).inc())
        self._incoming: asyncio.Queue[Message] = asyncio.Queue(MAX_INCOMING)
        self._quick: asyncio.Queue[Message] = asyncio.Queue(MAX_INCOMING)
        self._played: asyncio.Queue[Message] = asyncio.Queue(MAX_INCOMING)
        metrics.queue.labels("bus").set_function(lambda: len(self._outbox))
        metrics.oldest.labels("bus").set_function(lambda: self._outbox.oldest_s)
        self._status: Status | None = None
        self._state: tuple[bool, str] | None = None
        self._tls: ssl.SSLContext | None = None
        self.busy = Busy()
        self.patience_s = 4 * settings.timeout_s + SLACK_S

    async def emit(self, event: Event) -> None:
        """Queue what the event becomes on the bus; a retracted reply takes its own sentences out of the queue."""
        if isinstance(event, Turn) and event.outcome == "retracted":
            self._outbox.withdraw(event.reply_id)
        reply_id = event.reply_id if isinstance(event, Utterance) else None
        for channel, payload in topics.publications(event):
            self._put(channel, payload, reply_id)

    def set_status(self, status: Status) -> None:
        """Publish, and retain, how the brain is; a state that lasts keeps its `since`."""
        before = self._status
        since = before.since if before and before.state == status.state else time.time()
        self._status = status.model_copy(update={"since": since})
        if self._status != before:
            self._put("status", self._status)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything queued is with the broker; False when `timeout_s` passed before."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._outbox.drained()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Connect, publish, listen, and connect again, until cancelled; then say offline and disconnect.

        Raises Refused, in an ExceptionGroup, when bus.host never can be a host.
        """
        self._tls = await trust(self._settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected(), name="mqtt_connection")
            group.create_task(self._take_orders(self._incoming), name="mqtt_incoming")
            group.create_task(self._take_orders(self._quick), name="mqtt_quick")
            group.create_task(self._listen(), name="mqtt_played")

    async def _stay_connected(self) -> None:
        longest_s = self._settings.retry_max_s
        pauses = backoff(min(FIRST_PAUSE_S, longest_s), longest_s)
        while True:
            started_s = time.monotonic()
            error: BaseException = MqttError("disconnected")
            try:
                await self._live()
            except* MqttError as group:
                error = first_of(group)
            self._report(False, reason(error))
            if time.monotonic() - started_s > longest_s:
                pauses = backoff(min(FIRST_PAUSE_S, longest_s), longest_s)
            await asyncio.sleep(longest_s if isinstance(error, MqttConnectError) else next(pauses))

    async def _live(self) -> None:
        """One connection, from its first byte to its last. Raises MqttError when it cannot be had or is lost."""
        offline = Status(state="offline", persona=self._persona).model_dump_json()
        will = Will(self._topic("status"), offline, qos=1, retain=True)
        name = f"vtuber-brain-{self._settings.prefix}-{topics.segment(self._persona)}"
        async with contextlib.AsyncExitStack() as leaving:
            opening = connection(self._settings, name, self._tls, will=will, accept=self._accept)
            with self.busy.with_it():
                client = await leaving.enter_async_context(opening)
                await self._subscribe(client)
            try:
                await self._serve(client)
            except asyncio.CancelledError:
                # The will is silent after a clean disconnection, so we say it ourselves.
                gone = Status(state="offline", persona=self._persona, since=time.time())
                with contextlib.suppress(MqttError):
                    await client.publish(self._topic("status"), gone.model_dump_json(), qos=1, retain=True)
                raise

    async def _serve(self, client: Client) -> None:
        if self._status is not None:
            self._put("status", self._status)
        self._metrics.bus_connects.inc()
        self._report(True, "connected")
        async with asyncio.TaskGroup() as group:
            group.create_task(lost(client), name="mqtt_lost")
            group.create_task(self._publish(client), name="mqtt_publish")

    async def _subscribe(self, client: Client) -> None:
        for name in (name for name, channel in topics.CHANNELS.items() if channel.incoming):
            await subscribe(client, self._topic(name), topics.CHANNELS[name].qos)

    async def _publish(self, client: Client) -> None:
        while True:
            one = await self._outbox.take()
            channel = topics.CHANNELS[one.channel]
            try:
                with self.busy.with_it():
                    await client.publish(self._topic(one.channel), one.payload, qos=channel.qos, retain=channel.retain)
            except (MqttError, asyncio.CancelledError):
                self._outbox.put_back(one)
                raise
            self._outbox.settle()
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # Python 3.11's wait_for forgets it when the acknowledgement comes then

    def _accept(self, message: Message) -> None:
        if not message.topic.matches(self._topic("control")):
            if self._played.full():
                self._metrics.errors.labels("bus_playback").inc()
            else:
                self._played.put_nowait(message)
            return
        lane = self._quick if _is_quick(message) else self._incoming
        if lane.full():
            self._put("control/result", control.refusal(message.payload, "busy", "too many messages are waiting"))
        else:
            lane.put_nowait(message)

    async def _take_orders(self, lane: "asyncio.Queue[Message]") -> None:
        while True:
            self._put("control/result", await self._obey(await lane.get()))

    async def _listen(self) -> None:
        while True:
            await self._hear(await self._played.get())

    async def _obey(self, message: Message) -> ControlResult:
        if message.retain:
            return control.refusal(message.payload, "stale", "commands must not be retained")
        try:
            command = control.parse_control(message.payload)
        except WireError as error:
            return control.refusal(message.payload, "bad_message", str(error))
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_S):
                return await self._on_control(command)
        except TimeoutError:
            return control.answer(command, "timeout", f"not done within {CONTROL_TIMEOUT_S:g} s")
        except BrainError as error:
            return control.answer(command, "failed", str(error))

    async def _hear(self, message: Message) -> None:
        try:
            playback = topics.parse_playback(message.payload)
        except WireError as error:
            self._metrics.errors.labels("bus_playback").inc()
            log.warning("playback_not_understood", detail=str(error))
            return
        await self._on_playback(playback)

    def _put(self, channel: str, payload: BaseModel, reply_id: str | None = None) -> None:
        self._outbox.put(Publication(channel, payload.model_dump_json().encode(), time.monotonic(), reply_id))

    def _topic(self, channel: str) -> str:
        return topics.topic(self._settings.prefix, self._persona, channel)

    def _report(self, up: bool, what: str) -> None:
        detail = f"{self._settings.host}:{self._settings.port}: {what}"
        if (up, detail) != self._state:
            self._state = up, detail
            (log.info if up else log.warning)("bus_connected" if up else "bus_disconnected", detail=detail)
            self._on_state(up, detail)


def _is_quick(message: Message) -> bool:
    try:
        return isinstance(control.parse_control(message.payload), control.QUICK)
    except WireError:
        return False
