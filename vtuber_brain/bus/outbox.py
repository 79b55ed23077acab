"""What waits for the broker: bounded, in order, and never older than it is worth. Pure; knows no network."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vtuber_brain.bus.topics import CHANNELS

MAX_WITHDRAWN = 256


@dataclass(frozen=True, slots=True)
class Publication:
    """Bytes on their way to one channel; `at_s` is the monotonic time at which they were handed in.

    `reply_id` is the reply whose sentence or cue it is.
    """

    channel: str
    payload: bytes
    at_s: float
    reply_id: str | None = None


class Outbox:
    """At most `capacity` publications, oldest first: when full the oldest goes (full).

    Of a fleeting channel, what has waited longer than `max_age_s` is not given out any more (stale). The status has a
    place of its own, where only the latest stays, and goes first. `on_drop` is told the reason of each drop.
    """

    def __init__(self, capacity: int, max_age_s: float, on_drop: Callable[[str], None]) -> None:
        self._capacity, self._max_age_s, self._on_drop = capacity, max_age_s, on_drop
        self._waiting: deque[Publication] = deque()
        self._withdrawn: deque[str] = deque(maxlen=MAX_WITHDRAWN)
        self._status: Publication | None = None
        self._filled, self._drained = asyncio.Event(), asyncio.Event()
        self._drained.set()

    def __len__(self) -> int:
        return len(self._waiting) + (self._status is not None)

    @property
    def oldest_s(self) -> float:
        """How long the first of those that wait has waited."""
        return time.monotonic() - self._waiting[0].at_s if self._waiting else 0.0

    def put(self, publication: Publication) -> None:
        """Queue one; a status replaces the one before it."""
        if publication.channel == "status":
            self._status = publication
        else:
            self._waiting.append(publication)
            self._shorten()
        self._filled.set()
        self._drained.clear()

    async def take(self) -> Publication:
        """The next to be sent, waiting for it; follow with `settle` or `put_back` before taking another."""
        while True:
            await self._filled.wait()
            if (status := self._status) is not None:
                self._status = None
                return status
            while self._waiting:
                one = self._waiting.popleft()
                if not self._is_stale(one):
                    return one
                self._on_drop("stale")
            self.settle()

    def settle(self) -> None:
        """The broker has what `take` gave."""
        if not self._waiting and self._status is None:
            self._filled.clear()
            self._drained.set()

    def put_back(self, publication: Publication) -> None:
        """The broker may not have what `take` gave: it goes first again, unless it is a status with a later one."""
        if publication.channel == "status":
            self._status = self._status or publication
        elif publication.reply_id is not None and publication.reply_id in self._withdrawn:
            self._on_drop("retracted")
        else:
            self._waiting.appendleft(publication)
            self._shorten()
        self._filled.set()

    def withdraw(self, reply_id: str) -> None:
        """Give out nothing more of what one reply has put here so far (retracted)."""
        self._withdrawn.append(reply_id)
        kept = [one for one in self._waiting if one.reply_id != reply_id]
        for _ in range(len(self._waiting) - len(kept)):
            self._on_drop("retracted")
        self._waiting = deque(kept)

    async def drained(self) -> None:
        """Return when nothing waits and nothing is under way."""
        await self._drained.wait()

    def _is_stale(self, publication: Publication) -> bool:
        age_s = time.monotonic() - publication.at_s
        return CHANNELS[publication.channel].fleeting and age_s > self._max_age_s

    def _shorten(self) -> None:
        while len(self._waiting) > self._capacity:
            self._waiting.popleft()
            self._on_drop("full")
