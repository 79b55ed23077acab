"""The embedded broker where amqtt by itself goes wrong: who gets what, who is let go, what is closed."""

import asyncio
import contextlib
import gc
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.support.brokers import Collector, Embedded, bus_settings, free_port
from vtuber_brain.bus import broker as embedded
from vtuber_brain.bus.broker import EmbeddedBroker, broker_problem
from vtuber_brain.errors import ConfigError

CONNACK, PUBACK = 0x20, 0x40
DISCONNECT = b"\xe0\x00"


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([kind, len(body)]) + body


def connect(name: str, keepalive_s: int = 0, will: str | None = None) -> bytes:
    flags = 0x02 | (0x04 if will else 0)
    wish = text(will) + text('{"left": true}') if will else b""
    return packet(0x10, text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive_s) + text(name) + wish)


def publish(topic: str, number: int) -> bytes:
    return packet(0x32, text(topic) + struct.pack(">H", number) + str(number).encode())


@contextlib.asynccontextmanager
async def dial(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came before the broker closed the connection."""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(15):
            return await reader.read()
    return b""


def sockets(port: int) -> list[str]:
    """States of this process's sockets that are the broker's on `port`."""
    return [one.status for one in psutil.Process().net_connections("tcp") if one.laddr.port == port]


def problem(raised: pytest.ExceptionInfo[ConfigError]) -> tuple[str, str]:
    (only,) = raised.value.problems
    return only.where, str(only)


@pytest.fixture(autouse=True)
async def complaints() -> AsyncIterator[list[str]]:
    """What reached the loop because nobody dealt with it; must stay empty."""
    heard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(str(context)))
    yield heard
    gc.collect()
    assert heard == []


async def test_it_takes_a_free_port_on_loopback_only_and_gives_it_back():
    async with EmbeddedBroker(bus_settings(0)) as broker:
        listening = [one for one in psutil.Process().net_connections("tcp") if one.laddr.port == broker.port]
        assert [(one.laddr.ip, one.status) for one in listening] == [("127.0.0.1", psutil.CONN_LISTEN)]
        port = broker.port
    assert sockets(port) == []
    async with EmbeddedBroker(bus_settings(port)) as broker:
        assert broker.port == port


async def test_a_taken_port_is_named_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as raised:
            await EmbeddedBroker(bus_settings(port)).__aenter__()
    where, said = problem(raised)
    assert where == "bus.port"
    for word in (f"127.0.0.1 port {port}", "in use", "bus.port", "external"):
        assert word in said


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", ""])
async def test_only_loopback_is_served(host):
    with pytest.raises(ConfigError) as raised:
        await EmbeddedBroker(bus_settings(free_port(), host=host)).__aenter__()
    where, said = problem(raised)
    assert where == "bus.host"
    assert "mosquitto" in said
    assert [broker_problem(host)] == raised.value.problems
    assert broker_problem() is None


async def test_the_missing_extra_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    with pytest.raises(ConfigError) as raised:
        await EmbeddedBroker(bus_settings(0)).__aenter__()
    assert "pip install 'vtuber-brain[broker]'" in problem(raised)[1]
    assert [broker_problem()] == raised.value.problems


async def test_nobody_is_sent_retained_messages_of_somebody_elses_topics():
    async with Embedded() as broker, Collector(broker.port, "secret/#") as owner:
        await owner.send("secret/status", {"online": True}, retain=True)
        await owner.until(lambda: owner.received)
        async with Collector(broker.port, "other/#") as stranger, Collector(broker.port, "secret/#") as later:
            await stranger.send("other/marker", {"n": 1})
            await stranger.until(lambda: stranger.received)
            await later.until(lambda: later.received)
            assert [one.topic for one in stranger.received] == ["other/marker"]
            assert [(one.topic, one.retain) for one in later.received] == [("secret/status", True)]
        await owner.send("secret/marker", {"n": 2})
        await owner.until(lambda: len(owner.received) >= 2)
        assert [one.topic for one in owner.received] == ["secret/status", "secret/marker"]


async def test_it_tells_nothing_about_itself():
    async with Embedded() as broker:
        plugins = broker._broker._broker.plugins_manager.plugins
        assert [type(plugin).__name__ for plugin in plugins] == ["AnonymousAuthPlugin"]


async def test_a_connection_that_never_says_connect_is_closed(monkeypatch):
    monkeypatch.setattr(embedded, "CONNECT_TIMEOUT_S", 0.05)
    async with Embedded() as broker, dial(broker.port) as (reader, _):
        assert await ended(reader) == b""
        assert sockets(broker.port) == [psutil.CONN_LISTEN]


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\x10\x02\xff\xff", b"\x00" * 50, DISCONNECT])
async def test_what_is_not_mqtt_is_closed_and_disturbs_nobody(nonsense):
    async with Embedded() as broker, Collector(broker.port) as other:
        async with dial(broker.port) as (reader, writer):
            writer.write(nonsense)
            writer.write_eof()
            assert await ended(reader) == b""
        await other.send("marker", {"n": 1})
        await other.until(lambda: other.received)


async def test_one_too_many_is_turned_away_and_there_is_room_again(monkeypatch):
    monkeypatch.setattr(embedded, "MAX_CONNECTIONS", 2)
    async with Embedded() as broker, dial(broker.port) as (first, first_writer), dial(broker.port) as (second, _):
        first_writer.write(connect("first"))
        assert (await first.readexactly(4))[0] == CONNACK
        async with dial(broker.port) as (third, _):
            assert await ended(third) == b""
        first_writer.write(DISCONNECT)
        assert await ended(first) == b""
        async with dial(broker.port) as (fourth, writer):
            writer.write(connect("fourth"))
            assert (await fourth.readexactly(4))[0] == CONNACK
        assert not second.at_eof()


async def test_a_client_that_falls_silent_is_declared_dead():
    async with Embedded() as broker, Collector(broker.port) as collector, dial(broker.port) as (reader, writer):
        writer.write(connect("silent", keepalive_s=1, will="silent/will"))
        assert (await reader.readexactly(4))[0] == CONNACK
        since_s = time.monotonic()
        await collector.until(lambda: collector.received)
        assert collector.received[0].at_s - since_s >= 1.5
        assert (collector.received[0].topic, collector.received[0].payload) == ("silent/will", {"left": True})
        assert await ended(reader) == b""


async def test_what_was_published_before_a_hasty_goodbye_is_all_delivered_and_without_a_will():
    async with Embedded() as broker, Collector(broker.port) as collector:
        async with dial(broker.port) as (reader, writer):
            burst = b"".join(publish("hasty", number) for number in range(1, 61))
            writer.write(connect("hasty", will="hasty/will") + burst + DISCONNECT)
            answers = await ended(reader)
        assert answers[0] == CONNACK
        assert answers[4:].count(PUBACK) >= 60
        await collector.send("marker", {"n": 1})
        await collector.until(lambda: collector.on("marker"))
        assert [(one.topic, one.payload) for one in collector.received[:-1]] == [("hasty", n) for n in range(1, 61)]


async def test_it_delivers_what_it_acknowledged_before_it_closes():
    async with Embedded() as broker, Collector(broker.port) as collector, dial(broker.port) as (reader, writer):
        writer.write(connect("last") + b"".join(publish("last", number) for number in range(1, 61)))
        await reader.readexactly(4 + 60 * 4)
        await broker.stop()
        await collector.until(lambda: len(collector.received) == 60)
        assert [one.payload for one in collector.received] == list(range(1, 61))


async def test_closing_closes_every_socket_even_of_those_who_never_spoke():
    async with (
        Embedded() as broker,
        Collector(broker.port),
        dial(broker.port) as (idle, _),
        dial(broker.port) as (known, writer),
    ):
        writer.write(connect("known"))
        assert (await known.readexactly(4))[0] == CONNACK
        assert len(sockets(broker.port)) == 4
        async with asyncio.timeout(5):
            await broker.stop()
        assert await ended(idle) == await ended(known) == b""
        assert [state for state in sockets(broker.port) if state != psutil.CONN_TIME_WAIT] == []
        await broker.start()
