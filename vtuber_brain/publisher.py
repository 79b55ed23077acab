"""Where events leave the brain: first into the transcript, then to every sink, in the order in which they happened."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from vtuber_brain import plugin_api
from vtuber_brain.chat.inbox import Recent
from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import ChatMessage, Drop, Dropped, Event, Incoming, Notice, Status, Turn, Utterance
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

MAX_WAITING_EVENTS = 256
"""Events waiting for one plugin's sink; when full the oldest is dropped and counted: she does not wait for plugins."""

MAX_WITHDRAWN = 1024
"""Replies remembered as taken back or skipped, while events of theirs may be on their way here."""

MAX_WAITING_FATES = 4096
"""Fates of messages that ended at the door. Beyond that one is counted, and neither recorded nor shown: a flood must
not fill the memory."""


class Record(Protocol):
    """Writes to the transcript; returns once it is safe. Raises Unavailable when it cannot."""

    async def __call__(self, *events: Incoming | Event) -> None:
        """Write what came in or happened, all of it."""


class Sink(Protocol):
    """One of ours: it takes an event at once. What is told to plugins only it is not told."""

    name: str

    async def emit(self, event: Event) -> None:
        """Take one event; must not wait for the network."""


class Publisher:
    """Records and emits. A transcript that cannot be written does not silence her.

    `sinks` are ours and take an event at once; `plugin_sinks` may take their time, each behind a queue of its own.
    """

    def __init__(
        self, record: Record, sinks: Sequence[Sink], metrics: Metrics, plugin_sinks: Sequence[plugin_api.Sink] = ()
    ) -> None:
        self.record = record
        self._sinks, self._metrics = sinks, metrics
        self._waiting = [
            (sink, deque[plugin_api.Event](maxlen=MAX_WAITING_EVENTS), asyncio.Event()) for sink in plugin_sinks
        ]
        self._withdrawn = Recent(MAX_WITHDRAWN)
        self._status: Status | None = None
        self._later: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING_FATES)

    async def run(self) -> None:
        """Publish what was put off, and feed the plugins, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for sink, events, arrived in self._waiting:
                group.create_task(_feed(sink, events, arrived), name=f"sink-{sink.name}")
            while True:
                fates = [await self._later.get()]
                while not self._later.empty():
                    fates.append(self._later.get_nowait())
                await self._record(*fates)
                for fate in fates:
                    await self._hand_on(fate)
                    self._later.task_done()

    async def drain(self) -> None:
        """Return once nothing is put off any more; `run` does the work."""
        await self._later.join()

    async def publish(self, event: Event) -> None:
        """Record one event and hand it to every sink, but nothing of a reply that was withdrawn meanwhile.

        That it is taken back the sinks hear first, for they may hold sentences of it.
        """
        retracted = isinstance(event, Turn) and event.outcome == "retracted"
        if isinstance(event, Turn) and retracted:
            await self.withdraw(event)
        await self._record(event)
        if not retracted and not (isinstance(event, Turn | Utterance) and event.reply_id in self._withdrawn):
            await self._hand_on(event)

    async def withdraw(self, turn: Turn) -> None:
        """Tell every sink that a reply was taken back or skipped, and nothing more of it; does not record that."""
        self._withdrawn.add(turn.reply_id)
        for _, events, _ in self._waiting:
            kept = [event for event in events if not (isinstance(event, Utterance) and event.reply_id == turn.reply_id)]
            events.clear()
            events.extend(kept)
        await self._hand_on(turn)

    async def _record(self, *events: Event) -> None:
        try:
            await self.record(*events)
        except Unavailable as error:
            self._metrics.errors.labels("transcript").inc()
            log.warning("not_recorded", kinds=sorted({type(event).__name__ for event in events}), reason=str(error))

    async def _hand_on(self, event: Event) -> None:
        for sink in self._sinks:
            await sink.emit(event)
        self._hand_to_plugins(event)

    def notify(self, notice: Notice) -> None:
        """Tell the plugins, and nobody else; a status only if it is another than before."""
        if notice == self._status:
            return
        if isinstance(notice, Status):
            self._status = notice
        self._hand_to_plugins(notice)

    def _hand_to_plugins(self, event: plugin_api.Event) -> None:
        for sink, events, arrived in self._waiting:
            if len(events) == MAX_WAITING_EVENTS:
                self._metrics.errors.labels(f"sink_{sink.name}_full").inc()
            events.append(event)
            arrived.set()

    def drop(self, message: ChatMessage, reason: Drop) -> None:
        """Note that a message ends here."""
        self._metrics.dropped.labels(reason.value).inc()
        self.later(Dropped(message, reason))

    def later(self, event: Event) -> None:
        """Have an event published soon, by `run`: who takes messages in never waits."""
        try:
            self._later.put_nowait(event)
        except asyncio.QueueFull:
            self._metrics.errors.labels("fates").inc()


async def _feed(sink: plugin_api.Sink, events: deque[plugin_api.Event], arrived: asyncio.Event) -> None:
    while True:
        await arrived.wait()
        arrived.clear()
        while events:
            await sink.emit(events.popleft())
