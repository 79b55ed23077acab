"""The voice's side of the overlay's wire, made up for tests: serves the page, sends sentences, keeps the answers."""

import asyncio
import itertools
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from aiohttp import WSMsgType, web

import vtuber_brain

FOLDER = Path(vtuber_brain.__file__).parent / "overlay"
RATE = 24_000
STEP_MS = 20
DEADLINE_S = 15.0
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' blob:; base-uri 'none'; form-action 'none'"
)
MORI = {"persona": "mori", "display_name": "Mori", "lang": "en", "muted": False, "theme": {"name": "glass"}}


def sound(loud: list[tuple[float, float]]) -> tuple[bytes, list[int]]:
    """PCM and its mouth: `(seconds, loudness 0 to 1)` after one another, a tone of 220 Hz each."""
    level = np.concatenate([np.full(round(seconds * RATE), loudness) for seconds, loudness in loud])
    tone = np.sin(np.arange(len(level)) * (2 * np.pi * 220 / RATE)) * level * 0.5
    steps = level[:: RATE * STEP_MS // 1000]
    return (tone * 32767).astype("<i2").tobytes(), [round(100 * step) for step in steps]


class Link:
    """One connected page: what it sent, newest last."""

    def __init__(self, socket: web.WebSocketResponse, query: dict[str, str]) -> None:
        self.socket, self.query, self.frames, self.open = socket, query, [], True
        self.changed = asyncio.Condition()

    async def read(self) -> None:
        async for message in self.socket:
            assert message.type == WSMsgType.TEXT, message
            async with self.changed:
                self.frames.append(json.loads(message.data) | {"received": time.time()})
                self.changed.notify_all()
        self.open = False

    async def until(self, done: Callable[[list[dict[str, Any]]], Any]) -> Any:
        """Waits until `done(frames)` is true, and returns it."""
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(lambda: done(self.frames))
            return done(self.frames)

    async def played(self, *expected: tuple[str, int, str]) -> list[dict[str, Any]]:
        """Waits for that many acknowledgements and checks that they are these: (reply_id, seq, state)."""
        got = await self.until(lambda _: self.playback if len(self.playback) >= len(expected) else None)
        assert [(frame["reply_id"], frame["seq"], frame["state"]) for frame in got] == list(expected)
        return got

    @property
    def playback(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == "playback"]


class Feed:
    """A server of the page on a free port of loopback; `hello` may be changed before a page connects."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.hello: dict[str, Any] = MORI | {"sample_rate": RATE, "avatar": {"kind": "drawn", "files": {}}}
        self.files, self.links = files or {}, []
        self._arrived, self._audio_ids, self._connected = asyncio.Condition(), itertools.count(1), 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listens, on the same port as before if it did before."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/overlay", self._file),
                web.get("/overlay/ws", self._socket),
                web.get("/overlay/avatar/{name}", self._own_file),
                web.get("/overlay/{path:.+}", self._file),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        for link in self.links:
            await link.socket.close()
        await self._runner.cleanup()

    def url(self, query: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/overlay?{query}"

    async def link(self, index: int = 0, *, audio: bool | None = None) -> Link:
        """The page that connected as number `index`, once it said ready (and, if asked, ready to sound or not)."""
        async with asyncio.timeout(DEADLINE_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.links) > index)
        link = self.links[index]
        wanted = {True, False} if audio is None else {audio}
        await link.until(lambda frames: any(frame["type"] == "ready" and frame["audio"] in wanted for frame in frames))
        return link

    async def say(self, text: str, reply_id: str = "r1", seq: int = 0, *, loud=((1.0, 0.8),), **fields: Any) -> None:
        """One sentence with its sound to every page."""
        pcm, mouth = sound(list(loud))
        audio_id = next(self._audio_ids)
        frame = {
            "type": "sentence",
            "reply_id": reply_id,
            "seq": seq,
            "text": text,
            "lang": "en",
            "mood": None,
            "cue": None,
            "in_reply_to": None,
            "final": True,
            "duration_ms": len(pcm) * 500 // RATE,
            "mouth": {"step_ms": STEP_MS, "open": mouth, "shape": ("aeiou" * len(mouth))[: len(mouth)]},
            "audio_id": audio_id,
        }
        for link in self._open():
            await link.socket.send_json(frame | fields)
            await link.socket.send_bytes(struct.pack("<I", audio_id) + pcm)

    async def send(self, **frame: Any) -> None:
        """Any other frame to every page."""
        for link in self._open():
            await link.socket.send_json(frame)

    def _open(self) -> list[Link]:
        return [link for link in self.links if link.open]

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        link = Link(socket, dict(request.query))
        await socket.send_json({"type": "hello"} | self.hello)
        async with self._arrived:
            self.links.append(link)
            self._arrived.notify_all()
        await link.read()
        return socket

    async def _file(self, request: web.Request) -> web.FileResponse:
        path = FOLDER / request.match_info.get("path", "index.html")
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Content-Security-Policy": CSP, "Cache-Control": "no-cache"})

    async def _own_file(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["name"]], content_type="application/octet-stream")
