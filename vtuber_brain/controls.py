"""What the operator reaches her with, put together: the desk, the feed of events, the audit log, the HTTP server.

FastAPI and uvicorn are imported when there is a server to run, in a thread, while the engine's worker is loading.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import structlog

from vtuber_brain.backstage import Backstage, Receive
from vtuber_brain.chat.protocol import encode, event_frame
from vtuber_brain.commands import Commands
from vtuber_brain.config import state_dir
from vtuber_brain.control.audit import FILE, AuditLog
from vtuber_brain.control.feed import Feed
from vtuber_brain.control.tokens import Tokens, load_tokens, owner_token
from vtuber_brain.desk import Desk, Rooms
from vtuber_brain.messages import ChatMessage, Event, Incoming, Retraction
from vtuber_brain.own_blocklist import OwnBlocklist, own_list
from vtuber_brain.panel.addresses import Doors, addresses, login_link
from vtuber_brain.plan import Plan
from vtuber_brain.playback import PlaybackTimes
from vtuber_brain.publisher import Sink
from vtuber_brain.runtime.memory import resident_bytes
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)


class Controls:
    """One daemon's. `open` follows once the rooms are there, then `run`."""

    desk: Desk

    def __init__(self, plan: Plan, metrics: Metrics) -> None:
        self._plan, self._metrics, self._settings = plan, metrics, plan.settings.control
        self.playback = PlaybackTimes(metrics)
        self._audit = AuditLog(state_dir() / FILE, self._settings.audit_max_bytes, metrics)
        self._issue: Callable[[], str] = str
        self._listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._feed = Feed(encoded, self._settings.max_streams, metrics)

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
        receive, gate = self.before(rooms.pipeline.receive), rooms.pipeline.gate
        settings, state = self._plan.settings, state_dir()
        backstage = Backstage(rooms.cast, rooms.engine, gate, settings, receive=receive, state=state)
        self.desk = Desk(rooms, commands, self._audit, own, transcripts, on_change, backstage)
        self._metrics.resident.labels("daemon").set_function(lambda: resident_bytes(os.getpid()))
        for name, child in children.items():
            self._metrics.resident.labels(name).set_function(_resident(child))

    def before(self, receive: Receive) -> Receive:
        """`receive`, and those who read the events hear first what comes in."""

        async def heard(incoming: Incoming) -> None:
            if self._feed.num_readers:
                self._feed.tell(*came_in(incoming))
            await receive(incoming)

        return heard if self._settings.enabled else receive

    async def run(self) -> None:
        """Serve HTTP, if it is wanted, until cancelled. Raises ConfigError when that cannot be."""
        if not self._settings.enabled:
            return
        tokens = load_tokens(self._settings, state_dir())
        server = await asyncio.to_thread(import_module, "vtuber_brain.control.server")
        panel = await self._panel(tokens)
        what = self.desk, tokens, self._feed, self._audit, self._settings, self._metrics
        app = server.application(*what, panel.front) if panel is not None else server.application(*what)
        async with panel.open() if panel is not None else contextlib.nullcontext():
            await server.ControlServer(app, self._feed, self._settings).run(self._listening.set_result)

    async def doors(self) -> Doors | None:
        """Where the panel and the overlay are, once the API listens; None where there is no panel."""
        if not (self._settings.enabled and self._settings.panel):
            return None
        port, settings = await asyncio.shield(self._listening), self._plan.settings
        ticket = self._issue()
        if not ticket:
            return None
        return Doors(
            panel=login_link(settings, port),
            link=login_link(settings, port, owner_token(self._settings, state_dir())),
            once=login_link(settings, port, ticket),
            overlay=addresses(settings).overlay,
            is_voiced=settings.voice.enabled,
            may_open=self._settings.open_browser,
        )

    async def _panel(self, tokens: Tokens) -> Any:
        """The operator's panel, imported when it is wanted; where it is not installed, what says so in its place."""
        if not self._settings.panel:
            return None
        where = addresses(self._plan.settings)
        try:
            module = await asyncio.to_thread(import_module, "vtuber_brain.panel.panel")
        except ModuleNotFoundError as error:
            log.warning("panel_not_installed", missing=error.name, fix="pip install 'vtuber-brain[panel]'")
            module = await asyncio.to_thread(import_module, "vtuber_brain.panel.absent")
        panel = module.Panel(self.desk, tokens, self._feed, self._metrics, where)
        self._issue = panel.ticket
        return panel


def encoded(event: Event) -> tuple[str, str]:
    """An event as those hear it who read them over HTTP: its kind, and JSON on one line."""
    frame = event_frame(event)
    return frame.type, encode(frame)


def came_in(incoming: Incoming) -> tuple[str, str]:
    """The same of what came in, before anything is thought of it."""
    if isinstance(incoming, Retraction):
        return "retraction", _json(
            type="retraction", source=incoming.source, scope=incoming.scope, target_id=incoming.target_id
        )
    return "message", _message(incoming)


def _message(message: ChatMessage) -> str:
    return _json(
        type="message",
        id=message.id,
        source=message.source,
        author=message.author.name,
        author_id=message.author.id,
        roles=list(message.author.roles),
        text=message.text,
        kind=message.kind,
        amount=message.amount,
        at=message.at,
    )


def _json(**fields: Any) -> str:
    """On one line, and whatever a source hands on, lone surrogates too, can be sent."""
    return json.dumps(fields)


def _resident(child: Any) -> Callable[[], float]:
    return lambda: resident_bytes(getattr(child, "pid", None))
