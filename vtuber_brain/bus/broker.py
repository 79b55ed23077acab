"""An MQTT 3.1.1 broker inside this process, on loopback, for a demo without a server. Never listens to the network.

It is amqtt (the extra `broker`), imported only when it is started, with what it gets wrong put right in `_Guards`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import structlog

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.exposure import is_loopback
from vtuber_brain.sections import BusSettings

if TYPE_CHECKING:
    from amqtt.broker import Broker as _Broker
else:
    _Broker = object

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 64
CONNECT_TIMEOUT_S = 5.0
LAST_WORDS_S = 1.0
CLOSE_TIMEOUT_S = 5.0


class EmbeddedBroker:
    """`async with EmbeddedBroker(settings) as broker`: it serves on `broker.port` until the block is left.

    Anyone on this machine may connect, so only a loopback address is accepted. Nothing is kept on disk: retained
    messages are gone when it stops. Entering raises ConfigError: not loopback, port taken, amqtt not installed.
    """

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._broker: Any = None
        self.port = settings.port

    async def __aenter__(self) -> Self:
        if problem := broker_problem(self._settings.host):
            raise ConfigError([problem])
        make = _import()
        listening = _listen(self._settings.host, self._settings.port)
        self.port = listening.getsockname()[1]
        self._broker = make(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self._settings.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await self._broker.serve_on(listening)
        log.info("broker_started", host=self._settings.host, port=self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._broker.close()
        log.info("broker_stopped", port=self.port)


class _Guards(_Broker):
    """What amqtt 0.12.1 does wrong, put right from outside; the text in brackets is what it would do by itself."""

    _listening: socket.socket
    _clients: dict["asyncio.Task[None]", asyncio.StreamWriter]

    async def serve_on(self, listening: socket.socket) -> None:
        """Start on a socket that is bound already."""
        self._listening, self._clients = listening, {}
        with contextlib.ExitStack() as unless_started:
            unless_started.callback(listening.close)
            await self.start()
            unless_started.pop_all()

    async def close(self) -> None:
        """Deliver what was acknowledged, then close every socket. (Leaves those of clients, drops what is queued.)"""
        self._servers["default"].instance.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._delivered()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(list(self._clients), timeout=CLOSE_TIMEOUT_S)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.shutdown()
        except TimeoutError:
            log.warning("broker_closed_late")

    async def _delivered(self) -> None:
        for session, _ in list(self._sessions.values()):
            await session.delivered_message_queue.join()
        await self._broadcast_queue.join()
        if sending := list(self._tasks_queue):
            await asyncio.wait(sending)

    async def stream_connected(self, reader: Any, writer: asyncio.StreamWriter, listener_name: str) -> None:
        """Serve one client; close its socket whatever happens. (Keeps the sockets of those that break off early.)

        One too many is turned away at once. (Accepts it and lets it wait; a place can be lost for ever.)
        """
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._clients) >= MAX_CONNECTIONS:
                log.warning("broker_full", num_clients=len(self._clients))
                return
            self._clients[task] = writer
            # A cancelled one, which is how `close` ends it, asyncio would report as a mistake.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await super().stream_connected(reader, writer, listener_name)
        finally:
            self._clients.pop(task, None)
            writer.transport.abort()

    async def _create_server_instance(self, listener_name: str, *_: Any) -> asyncio.Server:
        """Listen on our own socket. (Binds itself, to every interface unless told.)"""
        return await asyncio.start_server(
            partial(self.stream_connected, listener_name=listener_name), sock=self._listening
        )

    async def _initialize_client_session(self, reader: Any, writer: Any, *address: Any) -> tuple[Any, Any]:
        """Wait for CONNECT, within a time. (Waits for ever.) Then drop a client that falls silent. (Never notices.)"""
        task = asyncio.current_task()
        assert task is not None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            handler, session = await super()._initialize_client_session(reader, writer, *address)
        if session.keep_alive > 0:
            # MQTT-3.1.2-24: one and a half times the keep-alive time; one second more for clients that round.
            session.keep_alive += session.keep_alive // 2 + 1
        handler.handle_read_timeout = self._clients[task].transport.abort
        handler.handle_disconnect = partial(_after_deliveries, session, handler.handle_disconnect)
        return handler, session

    async def _handle_message_delivery(self, session: Any, *arguments: Any) -> bool:
        """Pass one message on, and count it as passed on, for `_after_deliveries`."""
        went_on: bool = await super()._handle_message_delivery(session, *arguments)
        session.delivered_message_queue.task_done()
        return went_on

    async def _run_broadcast(self, running: Any) -> None:
        """Hand one message to its subscribers, and count it as handed over, for `close`."""
        await super()._run_broadcast(running)
        self._broadcast_queue.task_done()

    async def _publish_retained_messages_for_subscription(self, subscription: tuple[str, int], session: Any) -> None:
        """Send what is retained for the client's own filter. (Called for every client's filters when one connects.)"""
        if any(owner is session for owner, _ in self._subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def _after_deliveries(session: Any, handle: Callable[[Any], Awaitable[None]], packet: Any) -> None:
    """Let a client go once what it published is passed on. (Acknowledges, then drops it when the client leaves.)"""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            await session.delivered_message_queue.join()
    await handle(packet)


def broker_problem(host: str = "127.0.0.1") -> Problem | None:
    """Why there can be no embedded broker on `host`, if so: not loopback, or the extra `broker` is not installed."""
    if not is_loopback(host):
        fix = 'Set bus.host to 127.0.0.1, or bus.broker = "external" and run a mosquitto with passwords'
        return Problem("bus.host", f"the embedded broker lets anyone in, so it does not listen on {host!r}", fix)
    try:
        _import()
    except ModuleNotFoundError as error:
        what = f"the embedded broker needs the package {error.name}, which is not installed"
        fix = "Run pip install 'vtuber-brain[broker]', or set bus.broker = \"external\" and run mosquitto"
        return Problem("bus.broker", what, fix)
    return None


def _import() -> Any:
    from amqtt.broker import Broker

    return type("GuardedBroker", (_Guards, Broker), {})


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ConfigError when it cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        what = f"the embedded broker cannot listen on {host} port {port}: {error.strerror}"
        fix = 'Set bus.port to a free port (0 takes one), or bus.broker = "external" to use the broker that runs there'
        raise ConfigError([Problem("bus.port", what, fix)]) from None
