"""Chat over WebSocket: a source of messages for those who send, and a sink of events for those who subscribe.

A frame is acknowledged only after the brain has stored it. A bad frame is answered, a flood refused, a slow reader
loses frames: each on its own connection, disturbing no other. It never judges a message and keeps none.
"""

import asyncio
import contextlib
import errno
import hmac
import logging
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from vtuber_brain.chat.frames import (
    AckFrame,
    BanFrame,
    ClearFrame,
    ClientFrame,
    DeleteFrame,
    ErrorFrame,
    SubscribeFrame,
)
from vtuber_brain.chat.protocol import PATH, ack, encode, event_frame, incoming, parse
from vtuber_brain.chat.subscriber import Subscriber
from vtuber_brain.errors import ConfigError, Problem, Unavailable
from vtuber_brain.messages import Event, Turn, Utterance
from vtuber_brain.plugin_api import Deliver
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.rate import Bucket
from vtuber_brain.sections import WebSocketSettings

log = structlog.get_logger(__name__)

SUBPROTOCOL = Subprotocol("vtuber-brain.chat")
BEARER_SUBPROTOCOL = "bearer."
OPEN_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 1.0
FAREWELL_S = 0.5
TOO_BIG = 1009

MAX_UNDER_WAY = 256
"""Frames of one connection on their way to the disk at once, for a commit is shared; beyond that none is read."""

UnderWay = asyncio.Queue[asyncio.Task[AckFrame | ErrorFrame]]

wire_log = logging.getLogger("websockets.chat")
wire_log.addFilter(lambda record: record.msg != "opening handshake failed")  # a port scan is not an error of ours


class WebSocketChat:
    """The server at /chat; both a `Source` and a `Sink`. `run` may be called again after it ended, not twice at once.

    `port` is the one bound, once `listening` has returned.
    """

    name = "websocket"

    def __init__(self, settings: WebSocketSettings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._subscribers: set[Subscriber] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._bound = asyncio.Event()
        self.port: int | None = None

    async def listening(self) -> int:
        """The bound port, as soon as there is one."""
        await self._bound.wait()
        assert self.port is not None
        return self.port

    async def run(self, deliver: Deliver) -> None:
        """Serve until cancelled. Raises ConfigError when the address cannot be listened on."""
        async with self._listen(deliver):
            await asyncio.get_running_loop().create_future()

    async def emit(self, event: Event) -> None:
        """Queue one event for every subscriber; a full queue loses its oldest. Never waits."""
        if self._subscribers:
            frame = encode(event_frame(event))
            sentence_of = event.reply_id if isinstance(event, Utterance) else None
            for subscriber in self._subscribers:
                if isinstance(event, Turn) and event.outcome == "retracted":
                    subscriber.withdraw(event.reply_id)
                subscriber.push(frame, sentence_of)

    @contextlib.asynccontextmanager
    async def _listen(self, deliver: Deliver) -> AsyncIterator[None]:
        async def converse(connection: ServerConnection) -> None:
            await self._converse(connection, deliver)

        settings = self._settings
        try:
            server = await serve(
                converse,
                settings.host,
                settings.port,
                process_request=self._admit,
                select_subprotocol=_select_subprotocol,
                max_size=settings.max_message_bytes,
                compression=None,
                open_timeout=OPEN_TIMEOUT_S,  # also how long a half-open connection can delay our leaving
                close_timeout=CLOSE_TIMEOUT_S,
                logger=wire_log,
            )
        except OSError as error:
            raise ConfigError([_cannot_listen(settings, error)]) from error
        self.port = next(iter(server.sockets)).getsockname()[1]
        self._bound.set()
        try:
            yield
        finally:
            self._bound.clear()
            await self._leave(server)

    async def _leave(self, server: Server) -> None:
        """Let subscribers have what is queued for them, then close; what a handler still waits for is given up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*(subscriber.sent_all() for subscriber in self._subscribers))
        server.close()
        if self._handlers:
            _, stuck = await asyncio.wait(self._handlers, timeout=CLOSE_TIMEOUT_S)
            for handler in stuck:
                handler.cancel()
        await server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        status = refusal(self._settings, request.path, request.headers, len(connection.server.connections))
        if status is None:
            return None
        log.info("chat_client_refused", status=status.value)
        response = connection.respond(status, f"{status.phrase}\n")
        if status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _converse(self, connection: ServerConnection, deliver: Deliver) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        subscriber = Subscriber(connection.send, self._metrics)
        conversation = _Conversation(self._settings, deliver)
        under_way = UnderWay(MAX_UNDER_WAY)
        try:
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self._answer(connection, under_way, subscriber), name="chat-answers")
                try:
                    async for data in connection:
                        await under_way.put(group.create_task(conversation.answer(data), name="chat-frame"))
                except ConnectionClosed as closed:
                    if closed.sent is not None and closed.sent.code == TOO_BIG:
                        self._metrics.refused_frames.labels("too_big").inc()
                await under_way.join()
                answering.cancel()
        finally:
            self._handlers.discard(task)
            self._subscribers.discard(subscriber)
            await subscriber.stop()

    async def _answer(self, connection: ServerConnection, under_way: UnderWay, subscriber: Subscriber) -> None:
        """Send the answers in the order of the frames; with the connection gone, only wait for what is under way."""
        while True:
            answer = await (await under_way.get())
            if isinstance(answer, ErrorFrame):
                self._metrics.refused_frames.labels(answer.code).inc()
            elif answer.of == "subscribe":
                self._subscribers.add(subscriber)
                subscriber.start()
            with contextlib.suppress(ConnectionClosed):
                await connection.send(encode(answer))
            under_way.task_done()


class _Conversation:
    """What one client may do, and what it is answered; chat and moderation each have their own allowance."""

    def __init__(self, settings: WebSocketSettings, deliver: Deliver) -> None:
        started_s = now_s()
        self._deliver = deliver
        self._chat = Bucket(settings.burst, settings.messages_per_s, started_s)
        self._moderation = Bucket(settings.burst, settings.messages_per_s, started_s)

    async def answer(self, data: str | bytes) -> AckFrame | ErrorFrame:
        """Deliver what one frame says; returns its acknowledgement, or why it was not taken."""
        frame = parse(data) if isinstance(data, str) else ErrorFrame(code="binary", detail="frames must be text")
        reply = frame if isinstance(frame, ErrorFrame) else ack(frame)
        if not self._allowance(frame).take(now_s()):
            return ErrorFrame(
                code="rate_limited", detail="too many frames on this connection", of=reply.of, id=reply.id
            )
        if isinstance(frame, ErrorFrame | SubscribeFrame):
            return reply
        try:
            await self._deliver(incoming(frame, source=WebSocketChat.name, at=unix_s(), received_s=now_s()))
        except Unavailable:
            return ErrorFrame(code="unavailable", detail="could not be stored at present", of=reply.of, id=reply.id)
        return reply

    def _allowance(self, frame: ClientFrame | ErrorFrame) -> Bucket:
        return self._moderation if isinstance(frame, DeleteFrame | BanFrame | ClearFrame) else self._chat


def refusal(settings: WebSocketSettings, path: str, headers: Headers, num_connections: int) -> HTTPStatus | None:
    """Why a client is not let in: 404 another path, 403 a foreign page, 401 no or a wrong token, 503 full."""
    if urlsplit(path).path != PATH:
        return HTTPStatus.NOT_FOUND
    if any(origin not in settings.origins for origin in headers.get_all("Origin")):
        return HTTPStatus.FORBIDDEN
    if settings.token is not None and not _knows(settings.token.get_secret_value(), headers):
        return HTTPStatus.UNAUTHORIZED
    return HTTPStatus.SERVICE_UNAVAILABLE if num_connections >= settings.max_connections else None


def _knows(token: str, headers: Headers) -> bool:
    """Whether the client gave the token: as a bearer token or, since a browser cannot, as a subprotocol."""
    given = [value[len("bearer ") :].strip() for value in headers.get_all("Authorization") if _is_bearer(value)]
    for value in headers.get_all("Sec-WebSocket-Protocol"):
        offered = [name.strip() for name in value.split(",")]
        given += [name.removeprefix(BEARER_SUBPROTOCOL) for name in offered if name.startswith(BEARER_SUBPROTOCOL)]
    expected = token.encode()
    return any(hmac.compare_digest(candidate.encode("utf-8", "replace"), expected) for candidate in given)


def _is_bearer(value: str) -> bool:
    return value.lower().startswith("bearer ")


def _select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """A browser insists on one of those it offered; ours keeps the token out of the response."""
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    return next((name for name in offered if name.startswith(BEARER_SUBPROTOCOL)), None)


def _cannot_listen(settings: WebSocketSettings, error: OSError) -> Problem:
    where = f"{settings.host}:{settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            fix = "Stop the other program, or set websocket.port (VTB_WEBSOCKET__PORT) to a free one; 0 takes any"
            return Problem("websocket.port", f"port {settings.port} of {settings.host} is taken", fix)
        case errno.EACCES:
            fix = "Set websocket.port (VTB_WEBSOCKET__PORT) to 1024 or more"
            return Problem("websocket.port", f"may not listen on port {settings.port}", fix)
    fix = "Set websocket.host (VTB_WEBSOCKET__HOST) to an address of this machine, 127.0.0.1 for itself alone"
    return Problem("websocket.host", f"cannot listen on {where}: {error.strerror or error}", fix)
