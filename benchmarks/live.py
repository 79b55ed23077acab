"""A demo daemon to measure: its own state, free ports, and the viewers that talk to it."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

DEMO = Path(__file__).parent.parent / "configs" / "demo.toml"


@dataclass(slots=True)
class Live:
    """A running daemon: where to chat, its process id, the seconds until it could talk and until it was on the bus."""

    url: str
    pid: int
    ready_s: float
    bus_s: float


@contextlib.asynccontextmanager
async def demo(module: str = "vtuber_brain", **environment: str) -> AsyncIterator[Live]:
    """Run configs/demo.toml on free ports until the block is left; `module` is what is run with the command line."""
    chat, bus = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as state:
        ports = {"VTB_WEBSOCKET__PORT": str(chat), "VTB_BUS__PORT": str(bus), "VTB_CONTROL__PORT": "0"}
        own = {"VTB_STATE_DIR": state, **ports}
        own["VTB_VOICE__ENABLED"] = "false"
        limits = {"VTB_LOGS__FORMAT": "json", "VTB_CHAT__AUTHOR_BURST": "1000", "VTB_CHAT__AUTHOR_PER_S": "1000"}
        start_s = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, "run", "--config", str(DEMO)),
            env={**os.environ, **own, **limits, **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        bus_s = float("nan")
        async for line in process.stderr:
            if b'"event": "bus_connected"' in line:
                bus_s = time.perf_counter() - start_s
            if b'"event": "started"' in line:
                break
        reading = asyncio.create_task(process.stderr.read())
        try:
            yield Live(f"ws://127.0.0.1:{chat}/chat", process.pid, time.perf_counter() - start_s, bus_s)
        finally:
            process.terminate()
            await process.wait()
            await reading


async def first_words_s(url: str, name: str, texts: list[str]) -> list[float]:
    """Say each text when the reply to the one before has ended; seconds from sending to the first utterance."""
    seconds = []
    async with connect(url) as socket_:
        await socket_.send('{"type": "subscribe"}')
        for n, text in enumerate(texts):
            message_id = f"{name}-{n}"
            author = {"id": name, "name": name}
            await socket_.send(json.dumps({"type": "message", "id": message_id, "author": author, "text": text}))
            seconds.append(await _first_words(socket_, message_id, time.perf_counter()))
    return [second for second in seconds if second is not None]


async def _first_words(socket_: ClientConnection, message_id: str, sent_s: float) -> float | None:
    first: float | None = None
    while True:
        frame: dict[str, Any] = json.loads(await socket_.recv())
        about = frame.get("in_reply_to")
        if frame["type"] == "utterance" and about["message_id"] == message_id and first is None:
            first = time.perf_counter() - sent_s
        if (frame["type"] == "reply" and about == message_id) or (
            frame["type"] in {"dropped", "verdict"} and frame["id"] == message_id and frame.get("action") != "allow"
        ):
            return first


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
