"""What the operator reaches her with, put together: the desk, the feed of events, the audit log, the HTTP server.

FastAPI and uvicorn are imported when there is a server to run, in a thread, while the engine's worker is loading.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from vtuber_brain.chat.protocol import encode, event_frame
from vtuber_brain.commands import Commands
from vtuber_brain.config import state_dir
from vtuber_brain.control.audit import FILE, AuditLog
from vtuber_brain.control.feed import Feed
from vtuber_brain.control.tokens import load_tokens
from vtuber_brain.desk import Desk, Rooms
from vtuber_brain.messages import Event
from vtuber_brain.own_blocklist import OwnBlocklist, own_list
from vtuber_brain.plan import Plan
from vtuber_brain.playback import PlaybackTimes
from vtuber_brain.plugin_api import Sink
from vtuber_brain.runtime.memory import resident_bytes
from vtuber_brain.runtime.metrics import Metrics


class Controls:
    """One daemon's. `open` follows once the rooms are there, then `run`."""

    desk: Desk

    def __init__(self, plan: Plan, metrics: Metrics) -> None:
        self._plan, self._metrics, self._settings = plan, metrics, plan.settings.control
        self.playback = PlaybackTimes(metrics)
        self._audit = AuditLog(state_dir() / FILE, self._settings.audit_max_bytes, metrics)
        self._feed = Feed(_encoded, self._settings.max_streams, metrics)

    @property
    def sinks(self) -> list[Sink]:
        """Where events are to go."""
        return [self.playback, *([self._feed] if self._settings.enabled else [])]

    def open(
        self,
        rooms: Rooms,
        commands: Commands,
        *,
        relist: Callable[[], object],
        on_change: Callable[[], None],
        children: Mapping[str, Any],
    ) -> None:
        """Take up the work. `relist` has the judge read its lists anew; `children` are those with a `pid`, by name."""
        sentiment, transcripts = self._plan.settings.sentiment, self._plan.transcripts
        own = OwnBlocklist(own_list(sentiment), relist)
        self.desk = Desk(rooms, commands, self._audit, own, transcripts, on_change)
        self._metrics.resident.labels("daemon").set_function(lambda: resident_bytes(os.getpid()))
        for name, child in children.items():
            self._metrics.resident.labels(name).set_function(_resident(child))

    async def run(self) -> None:
        """Serve HTTP, if it is wanted, until cancelled. Raises ConfigError when that cannot be."""
        if not self._settings.enabled:
            return
        tokens = load_tokens(self._settings, state_dir())
        server = await asyncio.to_thread(import_module, "vtuber_brain.control.server")
        app = server.application(self.desk, tokens, self._feed, self._audit, self._settings, self._metrics)
        await server.ControlServer(app, self._feed, self._settings).run()


def _encoded(event: Event) -> tuple[str, str]:
    frame = event_frame(event)
    return frame.type, encode(frame)


def _resident(child: Any) -> Callable[[], float]:
    return lambda: resident_bytes(getattr(child, "pid", None))
