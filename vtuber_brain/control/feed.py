"""What happens, for those who read it over HTTP: one bounded queue a reader; never waits for the network."""

import asyncio
from collections import deque
from collections.abc import Callable

from vtuber_brain.messages import Event, Turn, Utterance
from vtuber_brain.runtime.metrics import Metrics

MAX_QUEUED = 256

Encode = Callable[[Event], tuple[str, str]]
"""The kind of an event, and the event as JSON on one line."""


class Reader:
    """The events on their way to one reader: up to MAX_QUEUED; when full the oldest is lost, and the reader told."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str, str | None]] = deque()
        self._num_lost = 0
        self._changed = asyncio.Event()
        self.closed = False

    def push(self, kind: str, data: str, sentence_of: str | None) -> bool:
        """Queue one event; False when another was lost for it. `sentence_of`: the reply whose sentence it is."""
        has_room = len(self._waiting) < MAX_QUEUED
        if not has_room:
            self._waiting.popleft()
            self._num_lost += 1
        self._waiting.append((kind, data, sentence_of))
        self._changed.set()
        return has_room

    def withdraw(self, reply_id: str) -> None:
        """Hand out none of the sentences of this reply that still wait."""
        self._waiting = deque(one for one in self._waiting if one[2] != reply_id)

    def close(self) -> None:
        """There will be no more."""
        self.closed = True
        self._changed.set()

    async def next(self, patience_s: float) -> tuple[str, str] | None:
        """The next event, or how many were lost; None when nothing came in time or there will be no more."""
        if not self._waiting and not self._num_lost and not self.closed:
            self._changed.clear()
            try:
                async with asyncio.timeout(patience_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        if self._num_lost:
            lost, self._num_lost = self._num_lost, 0
            return "lost", f'{{"type":"lost","count":{lost}}}'
        if not self._waiting:  # closed, or what came was withdrawn
            return None
        kind, data, _ = self._waiting.popleft()
        return kind, data


class Feed:
    """The sink `control`. Up to `max_readers` read at once."""

    name = "control"

    def __init__(self, encode: Encode, max_readers: int, metrics: Metrics) -> None:
        self._encode, self._max_readers, self._metrics = encode, max_readers, metrics
        self._readers: set[Reader] = set()
        self._num_inside = 0

    @property
    def num_readers(self) -> int:
        """How many read."""
        return len(self._readers)

    def tell(self, kind: str, data: str) -> None:
        """Queue what is no event of the pipeline's, as `emit` does. `data` is JSON on one line."""
        for reader in self._readers:
            if not reader.push(kind, data, None):
                self._metrics.refused_frames.labels("slow_reader").inc()

    async def emit(self, event: Event) -> None:
        """Queue one event for every reader; a full queue loses its oldest. Never waits."""
        if not self._readers:
            return
        kind, data = self._encode(event)
        sentence_of = event.reply_id if isinstance(event, Utterance) else None
        for reader in self._readers:
            if isinstance(event, Turn) and event.outcome == "retracted":
                reader.withdraw(event.reply_id)
            if not reader.push(kind, data, sentence_of):
                self._metrics.refused_frames.labels("slow_reader").inc()

    def open(self) -> Reader | None:
        """A new reader; None when there are as many as there may be. `leave` must follow."""
        if len(self._readers) - self._num_inside >= self._max_readers:
            return None
        reader = Reader()
        self._readers.add(reader)
        return reader

    def open_inside(self) -> Reader:
        """A reader of this process's own, for as long as it runs; it takes nobody's place."""
        self._num_inside += 1
        reader = Reader()
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """A reader is gone."""
        self._readers.discard(reader)

    def close(self) -> None:
        """Let every reader go."""
        for reader in self._readers:
            reader.close()
