"""The panel put together: the gatehouse before the API, NiceGUI behind it, and the board that every page draws from."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

os.environ.setdefault("NICEGUI_STORAGE_PATH", "/nonexistent")  # nothing is ever stored there; the default is ./.nicegui

import structlog
from fastapi import FastAPI
from nicegui import ui
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vtuber_brain.control.feed import Feed
from vtuber_brain.control.guard import INSIDE
from vtuber_brain.control.inside import Inside
from vtuber_brain.control.ports import Brain
from vtuber_brain.control.sessions import Sessions
from vtuber_brain.control.tokens import Tokens
from vtuber_brain.panel import page
from vtuber_brain.panel.addresses import Addresses
from vtuber_brain.panel.board import Board
from vtuber_brain.panel.figures import EVERY_S, Figures
from vtuber_brain.panel.gatehouse import Gatehouse
from vtuber_brain.panel.seat import Studio
from vtuber_brain.panel.tickets import Tickets
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

STATIC = Path(__file__).parent / "static"
PATIENCE_S = 3600.0
KNOCK_S = 1.0
_REPORT_CSP = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)


class Panel:
    """One daemon's; NiceGUI is one per process, so this is too. `front` once, then `open`."""

    def __init__(self, brain: Brain, tokens: Tokens, feed: Feed, metrics: Metrics, where: Addresses) -> None:
        self._brain, self._tokens, self._feed, self._metrics, self._where = brain, tokens, feed, metrics, where
        self._tickets = Tickets(now_s)
        self._shell = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def front(self, app: FastAPI) -> ASGIApp:
        """What stands before the API."""
        board, figures = Board(), Figures(self._metrics.registry)
        self._studio = Studio(self._brain, Inside(app), board, figures, self._where)
        page.build(self._studio, self._metrics.registry)
        ui.run_with(
            self._shell,
            title="vtuber-brain",
            favicon=STATIC / "favicon.svg",
            tailwind=False,
            show_welcome_message=False,
            reconnect_timeout=10.0,
            message_history_length=100,
            binding_refresh_interval=None,
            gzip_middleware_factory=None,
        )
        confined, sessions = _confined(self._shell, self._where), Sessions(self._tokens)
        return Gatehouse(app, confined, self._night, sessions, app.state.access, self._tickets)

    def ticket(self) -> str:
        """What lets a browser in once, as the owner."""
        return self._tickets.issue()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pages can be opened within the block."""
        async with self._shell.router.lifespan_context(self._shell), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow(), name="panel-board"),
                group.create_task(self._sample(), name="panel-figures"),
                group.create_task(self._knock(), name="panel-voice"),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _follow(self) -> None:
        reader = self._feed.open_inside()
        while not reader.closed:
            event = await reader.next(PATIENCE_S)
            if event is not None:
                self._studio.board.take(*event)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            timings, self._studio.board.timings = self._studio.board.timings, []
            self._studio.figures.sample(unix_s(), timings)

    async def _knock(self) -> None:
        """See whether the voice's page is there, as long as anybody looks."""
        while True:
            if self._studio.pages:
                self._studio.voice_up = await _answers(*self._where.voice)
            await asyncio.sleep(EVERY_S if self._studio.voice_up else KNOCK_S)

    async def _night(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Last night's report, a page without scripts in a world of its own."""
        told = await self._studio.inside.ask(scope[INSIDE], "GET", "/v1/night")
        report = told.body.get("report") if told.ok else None
        response: Response = HTMLResponse(report)
        if report is None:
            response = PlainTextResponse(told.detail if not told.ok else "", told.status if not told.ok else 404)
        response.headers["content-security-policy"] = _REPORT_CSP
        await response(scope, receive, send)


def _confined(app: ASGIApp, where: Addresses) -> ASGIApp:
    """The panel's pages, told to ask nobody but us and to stand in nobody's frame."""
    overlay = where.overlay.removesuffix("/overlay")
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
        f" img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-src 'self' {overlay};"
        " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ).encode()

    async def confined(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", policy)]
            await send(message)

        await app(scope, receive, sending if scope["type"] == "http" else send)

    return confined


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
