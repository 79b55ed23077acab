"""How the bus gets its connection: refusals with reasons, TLS, brokers that do not answer, a clean stop."""

import asyncio
import gc
import ssl
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support.brokers import Collector, Mosquitto, bus_settings, free_port, running
from tests.support.bus import ROOT, Host, hosting, seqs, utterance
from vtuber_brain.bus.connection import broker_answers
from vtuber_brain.bus.topics import Status
from vtuber_brain.errors import Refused, Unavailable

CONNECT = 0x10


@pytest.fixture
def passwords(tmp_path) -> Path:
    """A password file that knows mori."""
    path = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(path), "mori", "right"], check=True)
    return path


@pytest.fixture
def certificate(tmp_path) -> tuple[Path, Path]:
    """The key and the certificate, signed by itself, of a broker on 127.0.0.1."""
    key, path = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=broker"
    name = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run([*make.split(), *name], check=True, capture_output=True)
    return key, path


async def test_a_wrong_password_is_named_and_the_right_one_gets_in(passwords):
    async with Mosquitto(lines=("allow_anonymous false", f"password_file {passwords}")) as broker:
        async with hosting(broker.port, username="mori", password="wrong") as host:
            await host.down()
            assert host.states[-1][1].startswith(f"127.0.0.1:{broker.port}: the broker refused the connection: ")
            assert "uthori" in host.states[-1][1]
            assert "wrong" not in repr(host.states)
        async with hosting(broker.port, username="mori", password="right") as host:
            await host.up()
        await broker_answers(bus_settings(broker.port, username="mori", password="right"))
        with pytest.raises(Unavailable, match="refused the connection"):
            await broker_answers(bus_settings(broker.port))


async def test_asking_whether_a_broker_answers_disturbs_nobody(broker):
    async with Collector(broker.port) as collector, hosting(broker.port) as host:
        host.bus.set_status(Status(state="online", persona="mori"))
        await host.up()
        assert await host.bus.drain(10)
        await broker_answers(bus_settings(broker.port))
        await host.bus.emit(utterance(0))
        await collector.until(lambda: collector.on("utterance"))
        assert [up for up, _ in host.states] == [True]
        assert [one["state"] for one in collector.on("status")] == ["online"]


async def test_asking_names_what_is_wrong():
    with pytest.raises(Unavailable, match="Connection refused"):
        await broker_answers(bus_settings(free_port()))
    with pytest.raises(Unavailable, match=r"bus\.host"):
        await broker_answers(bus_settings(1883, host=""))


async def test_a_topic_we_may_not_read_is_named():
    async def forbid(reader, writer):
        assert (await reader.read(4096))[0] == CONNECT
        writer.write(b"\x20\x02\x00\x00")
        subscribe = await reader.readexactly(4)
        writer.write(b"\x90\x03" + subscribe[2:4] + b"\x80")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(forbid, "127.0.0.1", 0)
    async with server, hosting(server.sockets[0].getsockname()[1]) as host:
        await host.down()
        assert f"does not let us read {ROOT}/playback" in host.states[-1][1]


# paho forgets to close the socket of a failed handshake; it goes when it is collected.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_tls_trusts_the_system_and_nobody_else(certificate, monkeypatch):
    key, path = certificate
    async with Mosquitto(lines=(f"keyfile {key}", f"certfile {path}")) as broker:
        async with hosting(broker.port, tls=True) as host:
            await host.down()
            assert "certificate verify failed" in host.states[-1][1]
        gc.collect()
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        context = ssl.create_default_context()
        async with (
            hosting(broker.port, tls=True) as host,
            Collector(broker.port, tls_context=context) as collector,
        ):
            await host.up()
            await host.bus.emit(utterance(0))
            await collector.until(lambda: seqs(collector) == [0])


async def test_a_broker_that_never_answers_is_given_up_again_and_again_without_a_trace():
    held: list[asyncio.StreamWriter] = []
    ended: list[bool] = []
    fifth = asyncio.Event()

    async def keep_silent(reader, writer):
        held.append(writer)
        await reader.read()
        writer.close()
        ended.append(True)
        if len(ended) >= 5:
            fifth.set()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    async with server, hosting(server.sockets[0].getsockname()[1], timeout_s=0.05, retry_max_s=0.01) as host:
        await asyncio.wait_for(fifth.wait(), 15)
        assert {up for up, _ in host.states} == {False}
        assert len(held) - len(ended) <= 1
    gc.collect()
    tasks = {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not {name for name in tasks if name.startswith(("mqtt", "bus"))}


async def test_stopping_while_connecting_leaves_nothing_behind():
    connected = asyncio.Event()

    async def keep_silent(reader, writer):
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with hosting(port, timeout_s=0.3):
            await asyncio.wait_for(connected.wait(), 15)
        theirs = [one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == port]
        assert [one for one in theirs if one.status == psutil.CONN_ESTABLISHED] == []


async def test_it_can_run_again_after_it_was_stopped(broker):
    host = Host(broker.port)
    async with Collector(broker.port) as collector:
        for seq in range(2):
            async with running(host.bus.run(), "bus"):
                await host.bus.emit(utterance(seq))
                assert await host.bus.drain(10)
        await collector.until(lambda: seqs(collector) == [0, 1])


@pytest.mark.parametrize("name", ["", "a" * 70 + ".example"])
async def test_a_host_that_is_no_name_is_refused_for_good(name):
    host = Host(1, host=name)
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(host.bus.run(), 10)
    (error,) = raised.value.exceptions
    assert isinstance(error, Refused)
    assert "bus.host" in str(error)
