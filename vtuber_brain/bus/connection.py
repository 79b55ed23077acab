"""One connection to a broker, from opening to leaving: TLS, the will, and every way in which aiomqtt can be late.

Beside it only `mqtt` (the daemon's end) and `order` (the operator's) know aiomqtt.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable

from aiomqtt import Client, Message, MqttError, Will
from aiomqtt.exceptions import MqttConnectError

from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.sections import BusSettings

KEEPALIVE_S = 15
ABANDON_S = 0.1
SUBSCRIPTION_FAILED = 0x80

# Whatever aiomqtt and paho complain about reaches us as an exception, and is reported once, by us.
_library_log = logging.getLogger("aiomqtt")
_library_log.setLevel(logging.CRITICAL)


async def broker_answers(settings: BusSettings) -> None:
    """Connect once, disturbing nobody, and leave. Raises Unavailable with the reason."""
    tls = await trust(settings)
    try:
        async with connection(settings, f"vtuber-brain-check-{os.getpid()}", tls):
            pass
    except (MqttError, Refused) as error:
        raise Unavailable(reason(error)) from None


async def trust(settings: BusSettings) -> ssl.SSLContext | None:
    """The system's certificates, read in a thread; None without TLS."""
    return await asyncio.to_thread(ssl.create_default_context) if settings.tls else None


@contextlib.asynccontextmanager
async def connection(
    settings: BusSettings,
    identifier: str,
    tls: ssl.SSLContext | None,
    *,
    will: Will | None = None,
    accept: Callable[[Message], None] = lambda _: None,
) -> AsyncIterator[Client]:
    """A connected client that hands every message to `accept`. Raises MqttError, or Refused for an impossible host."""
    client = _client(settings, identifier, tls, will, accept)
    opening = asyncio.create_task(client.__aenter__(), name="mqtt_open")
    try:
        await asyncio.shield(opening)
    except ValueError as error:
        raise Refused(f"bus.host {settings.host!r}, bus.port {settings.port}: no such address: {error}") from None
    except (MqttError, asyncio.CancelledError):
        await _abandon(client, opening)
        raise
    try:
        yield client
    finally:
        with contextlib.suppress(MqttError):
            await client.__aexit__(None, None, None)


async def subscribe(client: Client, topic: str, qos: int) -> None:
    """Listen to a topic. Raises MqttError when we may not."""
    (code,) = await client.subscribe(topic, qos=qos)
    if (code if isinstance(code, int) else code.value) >= SUBSCRIPTION_FAILED:
        raise MqttError(f"the broker does not let us read {topic}")


async def lost(client: Client) -> None:
    """Wait for the end of the connection: raises MqttError. No message ever comes this way (see `Passing`)."""
    async for _ in client.messages:
        raise AssertionError


def _client(
    settings: BusSettings,
    identifier: str,
    tls: ssl.SSLContext | None,
    will: Will | None,
    accept: Callable[[Message], None],
) -> Client:
    class Passing(asyncio.Queue[Message]):
        """In place of aiomqtt's own queue, which is emptied too slowly in a burst and drops without a word."""

        def put_nowait(self, item: Message) -> None:
            accept(item)

    return Client(
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


async def _abandon(client: Client, opening: "asyncio.Task[Client]") -> None:
    """Give up a connection that is not there yet. paho connects in a thread that must be waited for."""
    client.timeout = ABANDON_S
    with contextlib.suppress(MqttError):
        await opening
    with contextlib.suppress(MqttError):
        await client.__aexit__(None, None, None)


def first_of(error: BaseException) -> BaseException:
    """The innermost reason in groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def reason(error: BaseException) -> str:
    """Why there is no connection, for people."""
    return f"the broker refused the connection: {error}" if isinstance(error, MqttConnectError) else str(error)
