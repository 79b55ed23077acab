"""What a request must pass before anything reads it: host, origin, size, then token, role and rate.

`Border` is ASGI round the whole application and knows no routes; `Access` knows tokens; `GuardedRoute` asks it.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vtuber_brain.control.throttle import Turnstile
from vtuber_brain.control.tokens import Role, Tokens, Who, digest
from vtuber_brain.control_sections import ControlSettings
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.rate import Bucket

log = structlog.get_logger(__name__)

BODY_S = 10.0
MAX_CLIENTS = 1024
MAX_TOKEN_CHARS = 512
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "[::1]"}
_METHODS = "GET, POST, PUT, DELETE"
INSIDE = "vtb.inside"
"""The key of an ASGI scope under which this process names who asks (inside.py); no request from outside can set it."""
_ALWAYS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Refusal(Exception):
    """A request is turned down: status, stable code, words for people."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers or {}


class Border:
    """Host, origin, size and time of a request's body, which is read whole before the application sees the request."""

    def __init__(self, app: ASGIApp, settings: ControlSettings, *, is_loopback: bool) -> None:
        self._app, self._settings = app, settings
        self._hosts = LOOPBACK_NAMES | {settings.host} if is_loopback else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin")
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send, headers)
            return
        try:
            self._check(headers, origin)
            if scope["method"] == "OPTIONS" and origin is not None:
                await _preflight(send, origin)
                return
            body = await self._body(headers, receive)
        except Refusal as refusal:
            await say(send, refusal.status, refusal.code, refusal.detail)
            return
        await self._app(scope, _replayed(body, receive), _with_headers(send, origin))

    async def _socket(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """A browser says from which page a socket comes; what says nothing is none of ours."""
        try:
            self._check(headers, headers.get("origin", "null"))
        except Refusal:
            await turn_away(receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, headers: dict[str, str], origin: str | None) -> None:
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Refusal(403, "foreign_host", "this address is known by another name here")  # a page that rebinds DNS
        if origin is not None and origin not in (f"http://{host}", *self._settings.origins):
            raise Refusal(403, "foreign_origin", "this page may not ask; see control.origins")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refusal(415, "encoded", "bodies are taken as they are, never unpacked")

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        limit = self._settings.max_body_bytes
        told = headers.get("content-length", "0")
        too_large = Refusal(413, "too_large", f"more than {limit} bytes")
        if not told.isdecimal() or int(told[:20]) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Refusal(408, "too_slow", f"no whole body within {BODY_S:g} s") from None
        return bytes(body)


class Access:
    """Who may come in: the token's role, and how often. On behalf of one server."""

    def __init__(
        self, tokens: Tokens, settings: ControlSettings, metrics: Metrics, clock: Callable[[], float] = now_s
    ) -> None:
        self._tokens, self._settings, self._metrics, self._clock = tokens, settings, metrics, clock
        self._turnstile = Turnstile()
        self._clients: OrderedDict[str, Bucket] = OrderedDict()

    async def admit(self, request: Request) -> Who:
        """Who asks. Raises Refusal 401 for no or a wrong token, 429 for too many wrong ones."""
        if (inside := request.scope.get(INSIDE)) is not None:
            return Who(inside.role, inside.token, inside.address)
        address = request.client.host if request.client is not None else ""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise self._stranger("no_token", "give a bearer token")
        return await self.identify(address, token)

    async def identify(self, address: str, token: str) -> Who:
        """Whose token this is. Raises Refusal as `admit`."""
        hashed = digest(token[:MAX_TOKEN_CHARS])
        if self._turnstile.is_known_wrong(address, hashed):
            raise self._stranger("wrong_token", "nobody has this token")
        wait_s = self._turnstile.wait_s(address, self._clock())
        if wait_s is None:
            self._metrics.control_refused.labels("slowed").inc()
            raise Refusal(429, "slowed", "too many wrong tokens from this address", {"Retry-After": "10"})
        if wait_s:
            await asyncio.sleep(wait_s)
        known = self._tokens.identify(token) if len(token) <= MAX_TOKEN_CHARS else None
        if known is None:
            self._turnstile.failed(address, hashed, self._clock(), has_waited=wait_s > 0)
            log.warning("control_login_failed", address=address)
            raise self._stranger("wrong_token", "nobody has this token")
        self._turnstile.passed(address, has_waited=wait_s > 0)
        role, name = known
        return Who(role.name.lower(), name, address)

    def spend(self, who: Who | None, request: Request) -> None:
        """Count one request. Raises Refusal 429 when its sender asks too often."""
        address = request.client.host if request.client is not None else ""
        client = f"{address} {who.token if who is not None else ''}"
        bucket = self._clients.pop(client, None) or Bucket(
            self._settings.burst, self._settings.requests_per_s, self._clock()
        )
        self._clients[client] = bucket
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        if not bucket.take(self._clock()):
            self._metrics.control_refused.labels("rate").inc()
            raise Refusal(429, "rate_limited", "too many requests", {"Retry-After": "1"})

    def _stranger(self, code: str, detail: str) -> Refusal:
        self._metrics.control_refused.labels(code).inc()
        return Refusal(401, code, detail, {"WWW-Authenticate": "Bearer"})


class GuardedRoute(APIRoute):
    """A route that asks `Access` before it reads the request; the role it wants stands in the OpenAPI as `x-role`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the guard."""
        handle = super().get_route_handler()
        extra = self.openapi_extra or {}
        wanted, is_urgent = extra.get("x-role"), extra.get("x-urgent", False)

        async def guarded(request: Request) -> Response:
            access: Access = request.app.state.access
            who = None
            if wanted is not None and not (self.name == "metrics" and request.app.state.open_metrics):
                who = await access.admit(request)
                if Role[who.role.upper()] < Role[wanted.upper()]:
                    request.app.state.brain.refused(who, self.name, dict(request.path_params))
                    raise Refusal(403, "forbidden", f"this takes the role {wanted}; this token has {who.role}")
            if not is_urgent:
                access.spend(who, request)
            request.state.who = who
            return await handle(request)

        return guarded


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one piece, then whatever comes after it: that the client is gone."""
    is_given = False

    async def replay() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send, origin: str | None) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message.get("headers", [])
            named = {name.lower() for name, _ in own}
            always = [header for header in _ALWAYS if header[0] not in named]
            message["headers"] = [*own, *always, *_allowing(origin)]
        await send(message)

    return sending


def _allowing(origin: str | None) -> list[tuple[bytes, bytes]]:
    if origin is None:
        return []
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]


async def _preflight(send: Send, origin: str) -> None:
    asked = [
        (b"access-control-allow-methods", _METHODS.encode()),
        (b"access-control-allow-headers", b"authorization, content-type"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": [*_ALWAYS, *_allowing(origin), *asked]})
    await send({"type": "http.response.body", "body": b""})


async def say(send: Send, status: int, code: str, detail: str) -> None:
    """Answer without the application."""
    body = json.dumps({"ok": False, "code": code, "detail": detail, "data": None}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_ALWAYS]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


async def turn_away(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it is one (403)."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})
