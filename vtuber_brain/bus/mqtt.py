"""The brain's end of the bus: a sink that publishes in order and outlives its broker. Never makes its caller wait.

The only file that knows aiomqtt. A publication is forgotten when the broker has acknowledged it, not before: one that
was under way when the connection broke is sent again, so a subscriber may see it twice and tells by (reply_id, seq).
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from aiomqtt import Client, Message, MqttError, Will
from aiomqtt.exceptions import MqttConnectError
from pydantic import BaseModel

from vtuber_brain.bus import topics
from vtuber_brain.bus.outbox import Outbox, Publication
from vtuber_brain.bus.topics import Control, ControlResult, Playback, State, Status
from vtuber_brain.errors import BrainError, Refused, Unavailable, WireError
from vtuber_brain.plugin_api import Event
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.sections import BusSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.2
KEEPALIVE_S = 15
MAX_INCOMING = 256
CONTROL_TIMEOUT_S = 30.0
ABANDON_S = 0.1
SUBSCRIPTION_FAILED = 0x80

# Whatever aiomqtt and paho complain about reaches us as an exception, and is reported once, by us.
_library_log = logging.getLogger("aiomqtt")
_library_log.setLevel(logging.CRITICAL)


class MqttBus:
    """The sink `mqtt`. `run` keeps one connection alive until cancelled; `emit` only queues (see `Outbox`).

    Utterances, cues and finished turns are published in the order of `emit`; other events are none of the bus's.
    `on_playback` and `on_control` are called one at a time, in order of arrival; each command gets one answer.
    `on_state(up, detail)` is told of every change of the connection.
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
        self._status: Status | None = None
        self._state: tuple[bool, str] | None = None
        self._tls: ssl.SSLContext | None = None

    async def emit(self, event: Event) -> None:
        """Queue what the event becomes on the bus."""
        for channel, payload in topics.publications(event):
            self._put(channel, payload)

    def set_status(self, state: State, *, engine: str | None = None, release: str | None = None) -> None:
        """Publish, and retain, how the brain is; a state that lasts keeps its `since`."""
        before = self._status
        since = before.since if before and before.state == state else time.time()
        self._status = Status(state=state, persona=self._persona, release=release, engine=engine, since=since)
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
        self._tls = await _trust(self._settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected(), name="mqtt_connection")
            group.create_task(self._handle_incoming(), name="mqtt_incoming")

    async def _stay_connected(self) -> None:
        longest_s = self._settings.retry_max_s
        pauses = backoff(min(FIRST_PAUSE_S, longest_s), longest_s)
        while True:
            started_s = time.monotonic()
            error: BaseException = MqttError("disconnected")
            try:
                await self._live()
            except* MqttError as group:
                error = _first(group)
            self._report(False, _reason(error))
            if time.monotonic() - started_s > longest_s:
                pauses = backoff(min(FIRST_PAUSE_S, longest_s), longest_s)
            await asyncio.sleep(longest_s if isinstance(error, MqttConnectError) else next(pauses))

    async def _live(self) -> None:
        """One connection, from its first byte to its last. Raises MqttError when it cannot be had or is lost."""
        offline = Status(state="offline", persona=self._persona).model_dump_json()
        will = Will(self._topic("status"), offline, qos=1, retain=True)
        name = f"vtuber-brain-{self._settings.prefix}-{topics.segment(self._persona)}"
        async with _connection(self._settings, name, self._tls, will=will, accept=self._accept) as client:
            try:
                await self._serve(client)
            except asyncio.CancelledError:
                # The will is silent after a clean disconnection, so we say it ourselves.
                gone = Status(state="offline", persona=self._persona, since=time.time())
                with contextlib.suppress(MqttError):
                    await client.publish(self._topic("status"), gone.model_dump_json(), qos=1, retain=True)
                raise

    async def _serve(self, client: Client) -> None:
        await self._subscribe(client)
        if self._status is not None:
            self._put("status", self._status)
        self._metrics.bus_connects.inc()
        self._report(True, "connected")
        async with asyncio.TaskGroup() as group:
            group.create_task(_lost(client), name="mqtt_lost")
            group.create_task(self._publish(client), name="mqtt_publish")

    async def _subscribe(self, client: Client) -> None:
        for name in (name for name, channel in topics.CHANNELS.items() if channel.incoming):
            (code,) = await client.subscribe(self._topic(name), qos=topics.CHANNELS[name].qos)
            if (code if isinstance(code, int) else code.value) >= SUBSCRIPTION_FAILED:
                raise MqttError(f"the broker does not let us read {self._topic(name)}")

    async def _publish(self, client: Client) -> None:
        while True:
            one = await self._outbox.take()
            channel = topics.CHANNELS[one.channel]
            try:
                await client.publish(self._topic(one.channel), one.payload, qos=channel.qos, retain=channel.retain)
            except (MqttError, asyncio.CancelledError):
                self._outbox.put_back(one)
                raise
            self._outbox.settle()

    def _accept(self, message: Message) -> None:
        if not self._incoming.full():
            self._incoming.put_nowait(message)
        elif message.topic.matches(self._topic("control")):
            self._put("control/result", topics.refusal(message.payload, "busy", "too many messages are waiting"))
        else:
            self._metrics.errors.labels("bus_playback").inc()

    async def _handle_incoming(self) -> None:
        while True:
            message = await self._incoming.get()
            if message.topic.matches(self._topic("control")):
                self._put("control/result", await self._obey(message))
            else:
                await self._hear(message)

    async def _obey(self, message: Message) -> ControlResult:
        if message.retain:
            return topics.refusal(message.payload, "stale", "commands must not be retained")
        try:
            control = topics.parse_control(message.payload)
        except WireError as error:
            return topics.refusal(message.payload, "bad_message", str(error))
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_S):
                return await self._on_control(control)
        except TimeoutError:
            return topics.answer(control, "timeout", f"not done within {CONTROL_TIMEOUT_S:g} s")
        except BrainError as error:
            return topics.answer(control, "failed", str(error))

    async def _hear(self, message: Message) -> None:
        try:
            playback = topics.parse_playback(message.payload)
        except WireError as error:
            self._metrics.errors.labels("bus_playback").inc()
            log.warning("playback_not_understood", detail=str(error))
            return
        await self._on_playback(playback)

    def _put(self, channel: str, payload: BaseModel) -> None:
        self._outbox.put(Publication(channel, payload.model_dump_json().encode(), time.monotonic()))

    def _topic(self, channel: str) -> str:
        return topics.topic(self._settings.prefix, self._persona, channel)

    def _report(self, up: bool, what: str) -> None:
        detail = f"{self._settings.host}:{self._settings.port}: {what}"
        if (up, detail) != self._state:
            self._state = up, detail
            (log.info if up else log.warning)("bus_connected" if up else "bus_disconnected", detail=detail)
            self._on_state(up, detail)


async def broker_answers(settings: BusSettings) -> None:
    """Connect once, disturbing nobody, and leave. Raises Unavailable with the reason."""
    tls = await _trust(settings)
    try:
        async with _connection(settings, f"vtuber-brain-check-{os.getpid()}", tls):
            pass
    except (MqttError, Refused) as error:
        raise Unavailable(_reason(error)) from None


async def _trust(settings: BusSettings) -> ssl.SSLContext | None:
    """The system's certificates, read in a thread; None without TLS."""
    return await asyncio.to_thread(ssl.create_default_context) if settings.tls else None


@contextlib.asynccontextmanager
async def _connection(
    settings: BusSettings,
    identifier: str,
    tls: ssl.SSLContext | None,
    *,
    will: Will | None = None,
    accept: Callable[[Message], None] = lambda _: None,
) -> AsyncIterator[Client]:
    """A connected client that hands every message to `accept`. Raises MqttError, or Refused for an impossible host."""

    class Passing(asyncio.Queue[Message]):
        """In place of aiomqtt's own queue, which is emptied too slowly in a burst and drops without a word."""

        def put_nowait(self, item: Message) -> None:
            accept(item)

    client = Client(
        settings.host,
        settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        identifier=identifier,
        will=will,
        clean_session=True,
        timeout=settings.timeout_s,
        keepalive=KEEPALIVE_S,
        logger=_library_log,
        queue_type=Passing,
        tls_context=tls,
        # A sentence that follows a cue must not wait for the acknowledgement of the cue's packet.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    opening = asyncio.create_task(client.__aenter__(), name="mqtt_open")
    try:
        await asyncio.shield(opening)
    except ValueError as error:
        raise Refused(f"bus.host {settings.host!r} cannot be a host's name: {error}") from None
    except (MqttError, asyncio.CancelledError):
        await _abandon(client, opening)
        raise
    try:
        yield client
    finally:
        with contextlib.suppress(MqttError):
            await client.__aexit__(None, None, None)


async def _lost(client: Client) -> None:
    """Wait for the end of the connection: raises MqttError. No message ever comes this way (see `Passing`)."""
    async for _ in client.messages:
        raise AssertionError


async def _abandon(client: Client, opening: "asyncio.Task[Client]") -> None:
    """Give up a connection that is not there yet. paho connects in a thread that must be waited for."""
    client.timeout = ABANDON_S
    with contextlib.suppress(MqttError):
        await opening
    with contextlib.suppress(MqttError):
        await client.__aexit__(None, None, None)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> str:
    return f"the broker refused the connection: {error}" if isinstance(error, MqttConnectError) else str(error)
