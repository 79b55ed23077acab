"""The HTTP server in the daemon's loop: built, bound, served until cancelled. It takes no signal."""

import asyncio
import errno
import socket
from collections.abc import Callable

import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from vtuber_brain.control.audit import AuditLog
from vtuber_brain.control.feed import Feed
from vtuber_brain.control.guard import Access, Border, Refusal, say
from vtuber_brain.control.models import Answer
from vtuber_brain.control.ports import Brain
from vtuber_brain.control.routes import router
from vtuber_brain.control.tokens import Tokens
from vtuber_brain.control_sections import ControlSettings
from vtuber_brain.errors import BrainError, ConfigError, Problem, Unavailable
from vtuber_brain.exposure import is_loopback
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

SILENT = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)
"""What is measured stands in /metrics, and nowhere else."""

HEADERS_S = 5.0
KEEPALIVE_S = 5
MAX_HEADER_BYTES = 16384
MAX_FRAME_BYTES = 65536
"""Of what the panel's page sends over its WebSocket at once."""
LEAVE_S = 1
_CODES = {404: "not_found", 405: "not_allowed", 400: "unreadable", 422: "bad_request"}


def _alone(app: FastAPI) -> ASGIApp:
    return app


def application(
    brain: Brain,
    tokens: Tokens,
    feed: Feed,
    audit: AuditLog,
    settings: ControlSettings,
    metrics: Metrics,
    front: Callable[[FastAPI], ASGIApp] = _alone,
) -> ASGIApp:
    """The whole API as ASGI. `front` stands before it, behind the border: it takes paths that are not the API's."""
    app = FastAPI(
        title="vtuber-brain",
        summary="The control API of one daemon.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        telemetry=SILENT,
    )
    app.state.brain, app.state.feed, app.state.audit, app.state.metrics = brain, feed, audit, metrics
    app.state.access = Access(tokens, settings, metrics)
    app.state.open_metrics = settings.open_metrics
    app.include_router(router)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(BrainError, _not_done)
    _describe(app)
    return _Counted(Border(front(app), settings, is_loopback=is_loopback(settings.host)), metrics)


class ControlServer:
    """`run` serves until cancelled. `port` is the one bound, once it serves."""

    def __init__(self, app: ASGIApp, feed: Feed, settings: ControlSettings) -> None:
        self._app, self._feed, self._settings = app, feed, settings
        self.port: int | None = None

    async def run(self, on_listening: Callable[[int], None] = lambda _port: None) -> None:
        """Serve. Raises ConfigError when the address cannot be listened on."""
        bound = _bind(self._settings)
        self.port = bound.getsockname()[1]
        server = uvicorn.Server(_configuration(self._app, self._settings))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        # Neither serve() nor its main loop: they would take the daemon's signals, and wake it ten times a second.
        await server.startup(sockets=[bound])
        log.info("control_listening", host=self._settings.host, port=self.port)
        on_listening(self.port)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._feed.close()
            await server.shutdown(sockets=[bound])


class _Protocol(H11Protocol):
    """Closes a connection on which no whole request has begun in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEADERS_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        is_ours = self.transport.get_protocol() is self  # else it has become a WebSocket
        if is_ours and self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class _Counted:
    """Counts answers by route and status, no route: `none`; and answers those for which there is no more time."""

    def __init__(self, inner: ASGIApp, metrics: Metrics) -> None:
        self._inner, self._metrics = inner, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun = False

        async def counting(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "none")
                self._metrics.control_requests.labels(path, str(message["status"])).inc()
            await send(message)

        try:
            await self._inner(scope, receive, counting)
        except asyncio.CancelledError:  # the server leaves, and gave it a second
            if not begun:
                await say(send, 503, "stopping", "she is stopping")


def _configuration(app: ASGIApp, settings: ControlSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="websockets-sansio" if settings.panel else "none",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        loop="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=KEEPALIVE_S,
        timeout_graceful_shutdown=LEAVE_S,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )


def _bind(settings: ControlSettings) -> socket.socket:
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(128)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError([_cannot_listen(settings, error)]) from error
    bound.setblocking(False)
    return bound


def _cannot_listen(settings: ControlSettings, error: OSError) -> Problem:
    match error.errno:
        case errno.EADDRINUSE:
            fix = "Stop the other program, or set control.port (VTB_CONTROL__PORT) to a free one; 0 takes any"
            return Problem("control.port", f"port {settings.port} of {settings.host} is taken", fix)
        case errno.EACCES:
            fix = "Set control.port (VTB_CONTROL__PORT) to 1024 or more"
            return Problem("control.port", f"may not listen on port {settings.port}", fix)
    fix = "Set control.host (VTB_CONTROL__HOST) to an address of this machine, 127.0.0.1 for itself alone"
    return Problem("control.host", f"cannot listen on {settings.host}: {error.strerror or error}", fix)


def _describe(app: FastAPI) -> None:
    """Say in the OpenAPI what a bearer token is: the guard asks for it, FastAPI does not know of that."""
    original = app.openapi

    def described() -> dict[str, object]:
        schema = original()
        schema.setdefault("components", {}).setdefault("securitySchemes", {})["bearer"] = {
            "type": "http",
            "scheme": "bearer",
        }
        return schema

    app.openapi = described  # type: ignore[method-assign]


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return _said(error.status, error.code, error.detail, error.headers)


async def _not_valid(_: Request, error: Exception) -> JSONResponse:
    """Where the request is wrong and how, never what stood there."""
    assert isinstance(error, RequestValidationError)
    item = error.errors()[0]
    where = ".".join(map(str, item["loc"]))
    return _said(422, "bad_request", f"{where}: {item['msg']}")


async def _not_served(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "refused")
    return _said(error.status_code, code, str(error.detail), dict(error.headers or {}))


async def _not_done(_: Request, error: Exception) -> JSONResponse:
    return _said(503 if isinstance(error, Unavailable) else 409, "failed", str(error))


def _said(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    told = Answer(ok=False, code=code, detail=detail.encode("utf-8", "replace").decode()[:500])
    return JSONResponse(told.model_dump(), status, headers)
