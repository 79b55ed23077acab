"""One open page of the overlay: the frames that wait for it, and how they are sent. One that lags behind is closed."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from vtuber_brain.voice import wire
from vtuber_brain.voice.audience import Listener

log = structlog.get_logger(__name__)

MAX_WAITING = 32
"""Frames waiting for one page; a page that lets more wait is cut off, and comes back."""

PING_S = 5.0
SILENT_S = 20.0
"""A page that says nothing, or takes nothing, for so long, pings notwithstanding, is cut off."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A text, and the binary frame that follows it; `reply_id` where it is a sentence."""

    text: str
    audio: bytes | None = None
    reply_id: str | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class Page(Listener):
    """One open page; `waiting` are its frames, in order. One that only watches gets no sound and has no say.

    `cut` ends its connection at once: one that takes nothing would not take a farewell either.
    """

    cut: Callable[[], None]
    watches: bool = False
    waiting: deque[Frame] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    heard_s: float = field(default_factory=time.monotonic)

    def put(self, frame: Frame) -> None:
        """Queue a frame; a page for which MAX_WAITING wait already is cut off instead."""
        if len(self.waiting) == MAX_WAITING:
            log.warning("page_too_slow")
            self.cut()
            return
        self.waiting.append(frame)
        self.filled.set()

    def drop(self, reply_id: str | None) -> None:
        """Send nothing that waits of one reply, or of all."""
        kept = [one for one in self.waiting if one.reply_id is None or (reply_id and one.reply_id != reply_id)]
        self.waiting = deque(kept)

    async def write_to(self, socket: web.WebSocketResponse) -> None:
        """Send frames in order, and a ping now and then; ends with the connection, or ends it."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while time.monotonic() - self.heard_s < SILENT_S:
                async with asyncio.timeout(SILENT_S):
                    await self._empty(socket)
                try:
                    async with asyncio.timeout(PING_S):
                        await self.filled.wait()
                except TimeoutError:
                    self.put(Frame(wire.ping(time.time())))
            log.warning("page_silent")
        self.cut()

    async def _empty(self, socket: web.WebSocketResponse) -> None:
        self.filled.clear()
        while self.waiting:
            frame = self.waiting.popleft()
            await socket.send_str(frame.text)
            if frame.audio is not None:
                await socket.send_bytes(frame.audio)
