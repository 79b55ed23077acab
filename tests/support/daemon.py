"""The real daemon as a process, with its own state and free ports, and a viewer that talks to it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import psutil
from websockets.asyncio.client import connect

from tests.support.brokers import free_port

START_S = 120


def settings_text(chat_port, bus_port, *, broker="embedded", extra=""):
    """A small configuration on loopback; `extra` is further TOML."""
    return f"""
[websocket]
port = {chat_port}
[bus]
broker = "{broker}"
port = {bus_port}
retry_max_s = 0.5
[control]
port = 0
[logs]
format = "json"
{extra}
"""


class Daemon:
    """One `vtuber-brain run`, `under` another command if need be. `log` holds the events it logged so far."""

    def __init__(self, folder: Path, *, broker="embedded", bus_port=None, extra="", env=None, under=()):
        self.folder, self.log, self.under = folder, [], under
        self.chat_port, self.bus_port = free_port(), bus_port or free_port()
        self.config = folder / "brain.toml"
        self.config.write_text(settings_text(self.chat_port, self.bus_port, broker=broker, extra=extra))
        self.env = {**os.environ, "VTB_STATE_DIR": str(folder / "state"), "OMP_NUM_THREADS": "2", **(env or {})}
        self.changed = asyncio.Condition()
        self.process = None

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.chat_port}/chat"

    @property
    def transcripts(self):
        return self.folder / "state" / "transcripts.db"

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            await self.stop()

    async def start(self, until="started"):
        """Start it and wait for the event that says it can talk."""
        self.process = await asyncio.create_subprocess_exec(
            *self.under,
            sys.executable,
            "-m",
            "vtuber_brain",
            "run",
            "--config",
            str(self.config),
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        self.reading = asyncio.create_task(self._read())
        self.table = asyncio.create_task(self.process.stdout.read())
        if until:
            await self.event(until, timeout_s=START_S)

    async def stop(self, timeout_s=30):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.wait(timeout_s)

    async def kill(self):
        """SIGKILL, to the daemon alone."""
        self.process.kill()
        return await self.wait(10)

    async def wait(self, timeout_s):
        """The exit code, once it has ended."""
        async with asyncio.timeout(timeout_s):
            await self.process.wait()
            await self.reading
        return self.process.returncode

    async def event(self, name, *, count=1, timeout_s=60, **fields):
        """Wait until the log holds `count` events of this name and these fields; the last of them."""

        def found():
            return [e for e in self.log if e.get("event") == name and fields.items() <= e.items()]

        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: len(found()) >= count or self.process.returncode is not None)
        assert len(found()) >= count, "\n".join(map(str, self.log[-30:]))
        return found()[-1]

    def child(self, module):
        """The living child process that runs `module`."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if module in process.cmdline():
                    return process
        raise LookupError(module)

    async def _read(self):
        async for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except json.JSONDecodeError:
                self.log.append({"event": "plain", "line": line.decode(errors="replace")})
            async with self.changed:
                self.changed.notify_all()
        await self.process.wait()
        async with self.changed:
            self.changed.notify_all()


class Viewer:
    """A chat client that keeps every frame it was sent."""

    def __init__(self, socket):
        self.socket, self.frames, self.changed = socket, [], asyncio.Condition()

    async def send(self, **frame):
        await self.socket.send(json.dumps(frame))

    async def say(self, number, text, author="nadia", **fields):
        who = {"id": author, "name": author.title()}
        await self.send(type="message", id=str(number), author=who, text=text, **fields)

    def of(self, kind, **fields):
        return [f for f in self.frames if f["type"] == kind and fields.items() <= f.items()]

    async def until(self, kind, *, count=1, timeout_s=60, **fields):
        """Wait for `count` frames of a kind with these fields; the last of them."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: len(self.of(kind, **fields)) >= count)
        return self.of(kind, **fields)[-1]

    async def read(self):
        with contextlib.suppress(Exception):
            async for text in self.socket:
                self.frames.append(json.loads(text))
                async with self.changed:
                    self.changed.notify_all()


@contextlib.asynccontextmanager
async def viewer(url, *, subscribe=True, **options):
    """A connected viewer, subscribed to what happens."""
    async with connect(url, **options) as socket:
        one = Viewer(socket)
        reading = asyncio.create_task(one.read())
        if subscribe:
            await one.send(type="subscribe")
            await one.until("ack")
        try:
            yield one
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
