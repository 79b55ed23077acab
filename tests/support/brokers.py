"""Real brokers for tests: mosquitto as a process, our embedded one, and a subscriber that collects."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from aiomqtt import Client, MqttError

from vtuber_brain.bus.broker import EmbeddedBroker
from vtuber_brain.sections import BusSettings

DEADLINE_S = 15.0


def free_port() -> int:
    """A TCP port that nobody listens on at present."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Broker(Protocol):
    """A broker on 127.0.0.1 that can be stopped and started again on the same port."""

    port: int

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Mosquitto:
    """`async with Mosquitto() as broker`: a mosquitto process on `broker.port`; anonymous, nothing kept unless told.

    `persistent` keeps sessions and retained messages over a restart; `lines` are added to mosquitto.conf.
    """

    def __init__(self, port: int | None = None, *, persistent: bool = False, lines: tuple[str, ...] = ()) -> None:
        self.port = port or free_port()
        self._persistent, self._lines = persistent, lines
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None
        self.log: list[str] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._folder.cleanup()

    async def start(self) -> None:
        """Return once it serves."""
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert program, "the tests need mosquitto: apt install mosquitto"
        self._process = await asyncio.create_subprocess_exec(
            program, "-c", str(self._write_configuration()), stderr=asyncio.subprocess.PIPE
        )
        running = asyncio.Event()
        self._drain = asyncio.create_task(self._read(running))
        async with asyncio.timeout(DEADLINE_S):
            waiting = asyncio.create_task(running.wait())
            await asyncio.wait({waiting, self._drain}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert running.is_set(), f"mosquitto did not start: {self.log}"

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it (SIGKILL: without a word to anybody) and return when it is gone."""
        if self._process is None:
            return
        self._process.send_signal(how)
        await self._process.wait()
        assert self._drain is not None
        await self._drain
        self._process = None

    async def _read(self, running: asyncio.Event) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.log.append(line.decode().rstrip())
            if self.log[-1].endswith(" running"):
                running.set()

    def _write_configuration(self) -> Path:
        folder = Path(self._folder.name)
        path = folder / "mosquitto.conf"
        keep = ("persistence true", f"persistence_location {folder}/") if self._persistent else ("persistence false",)
        # As root it would become the user mosquitto, who cannot read our files; and by default it drops what a
        # subscriber with QoS 1 has not taken after 1000 messages.
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            *(() if any(line.startswith("allow_anonymous") for line in self._lines) else ("allow_anonymous true",)),
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "set_tcp_nodelay true",
            "log_dest stderr",
            *keep,
            *self._lines,
        ]
        path.write_text("\n".join(lines) + "\n")
        return path


class Embedded:
    """Our embedded broker with mosquitto's test manners."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._broker: EmbeddedBroker | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return once it serves."""
        self._broker = EmbeddedBroker(bus_settings(self.port))
        await self._broker.__aenter__()

    async def stop(self) -> None:
        """End it and return when it is gone."""
        if self._broker is not None:
            await self._broker.__aexit__()
            self._broker = None


KINDS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Broker]]] = {
    "mosquitto": Mosquitto,
    "embedded": Embedded,
}


def bus_settings(port: int, **changes: Any) -> BusSettings:
    """Settings of a bus on 127.0.0.1:port that tries again quickly."""
    return BusSettings(**{"port": port, "retry_max_s": 0.2, **changes})


@dataclass(frozen=True)
class Received:
    """One message that a subscriber got: JSON, else bytes; `channel` is the topic after PREFIX/PERSONA/v1/."""

    topic: str
    payload: Any
    retain: bool
    qos: int
    at_s: float

    @property
    def channel(self) -> str:
        return self.topic.split("/", 3)[-1]


class Collector:
    """A subscriber to everything that keeps what it gets, in order, and reconnects by itself.

    With an `identifier` its session outlives a connection, and a `persistent` mosquitto keeps it over a restart.
    """

    def __init__(self, port: int, topic: str = "#", *, identifier: str | None = None, **client: Any) -> None:
        self._port, self._topic, self._identifier, self._client_options = port, topic, identifier, client
        self._changed, self._connecting = asyncio.Event(), asyncio.Lock()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self.received: list[Received] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="collector")
        await self.connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        # aiomqtt cannot be cancelled while it connects: it would leave its socket behind.
        async with self._connecting:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def on(self, *channels: str) -> list[Any]:
        """Payloads received so far on these channels."""
        return [one.payload for one in self.received if one.channel in channels]

    async def until(self, holds: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        """Return once `holds()` is true, asked again at every message."""
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s:g} s; received {self.received[-20:]}") from None

    async def connected(self) -> None:
        """Return once it is connected and subscribed."""
        await self.until(lambda: self._client is not None)

    async def send(self, topic: str, payload: bytes | str | dict[str, Any], *, retain: bool = False) -> None:
        """Publish with QoS 1; a dictionary goes as JSON."""
        assert self._client is not None
        data = json.dumps(payload) if isinstance(payload, dict) else payload
        await self._client.publish(topic, data, qos=1, retain=retain)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(MqttError):
                await self._collect()
            await asyncio.sleep(0.02)

    async def _collect(self) -> None:
        options = {"identifier": self._identifier, "clean_session": self._identifier is None, **self._client_options}
        client = Client("127.0.0.1", self._port, timeout=5, **options)
        async with contextlib.AsyncExitStack() as stack:
            async with self._connecting:
                await stack.enter_async_context(client)
            await client.subscribe(self._topic, qos=1)
            self._client = client
            self._changed.set()
            try:
                async for message in client.messages:
                    now_s = time.monotonic()
                    payload = _decoded(message.payload)
                    self.received.append(Received(str(message.topic), payload, message.retain, message.qos, now_s))
                    self._changed.set()
            finally:
                self._client = None


def _decoded(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload


@contextlib.asynccontextmanager
async def running(coroutine: Any, name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """A task that runs inside the block and is cancelled, and waited for, at its end."""
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
