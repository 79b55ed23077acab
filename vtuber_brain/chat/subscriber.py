"""The events on their way to one subscriber: a bounded queue and the task that empties it; never waits for the network
on behalf of whoever pushes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from websockets.exceptions import ConnectionClosed

from vtuber_brain.chat.frames import LostFrame
from vtuber_brain.chat.protocol import encode
from vtuber_brain.runtime.metrics import Metrics

MAX_QUEUED = 512


class Subscriber:
    """Holds up to MAX_QUEUED frames; when full the oldest is lost, counted, and the subscriber told how many were."""

    def __init__(self, send: Callable[[str], Awaitable[None]], metrics: Metrics) -> None:
        self._send = send
        self._lost_frames = metrics.refused_frames.labels("slow_subscriber")
        self._frames: deque[tuple[str, str | None]] = deque()
        self._num_lost = 0
        self._pushed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send; a second call changes nothing."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="chat-subscriber")

    async def stop(self) -> None:
        """Send no more."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def push(self, frame: str, reply_id: str | None = None) -> None:
        """Queue one encoded frame; `reply_id`: the reply whose sentence it is."""
        if len(self._frames) >= MAX_QUEUED:
            self._frames.popleft()
            self._num_lost += 1
            self._lost_frames.inc()
        self._frames.append((frame, reply_id))
        self._idle.clear()
        self._pushed.set()

    def withdraw(self, reply_id: str) -> None:
        """Send none of the sentences of this reply that still wait."""
        self._frames = deque(one for one in self._frames if one[1] != reply_id)

    async def sent_all(self) -> None:
        """Return once nothing waits to be sent."""
        await self._idle.wait()

    async def _write(self) -> None:
        try:
            while True:
                await self._pushed.wait()
                self._pushed.clear()
                await self._write_queued()
        except ConnectionClosed:  # the connection's own handler sees it too, and ends the subscription
            self._idle.set()

    async def _write_queued(self) -> None:
        while self._frames:
            if self._num_lost:
                lost, self._num_lost = self._num_lost, 0
                await self._send(encode(LostFrame(count=lost)))
                continue  # what was about to be sent may have been withdrawn meanwhile
            await self._send(self._frames.popleft()[0])
        self._idle.set()
