"""The output `overlay`: serves the page, its avatar and its WebSocket, and has every page play what it is given.

Several pages may be open; `Audience` says whose word counts. A page that does not keep up is closed, and comes back.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from vtuber_brain.bus.topics import CuePayload, Status, UtterancePayload
from vtuber_brain.errors import Refused, WireError
from vtuber_brain.voice import wire
from vtuber_brain.voice.audience import Audience
from vtuber_brain.voice.avatars import Avatar
from vtuber_brain.voice.doorway import COOKIE, turned_away
from vtuber_brain.voice.output import Told
from vtuber_brain.voice.pages import Frame, Page
from vtuber_brain.voice.sound import Clip
from vtuber_brain.voice.wire import Face
from vtuber_brain.voice_sections import VoiceSettings

log = structlog.get_logger(__name__)

PAGE = Path(__file__).parents[1] / "overlay"
MAX_PAGES = 16
MAX_NAME = 200
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain",
    ".vrm": "model/gltf-binary",
}
_HEADERS = {
    "Content-Security-Policy": (
        # OBS puts the streamer's own CSS into the page as a style element.
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Overlay:
    """The server on `host`:`port`. `face(persona)` tells who she is; `health` is what `/overlay/health` answers."""

    def __init__(self, settings: VoiceSettings, avatar: Avatar, persona: str, face: Callable[[str], Face]) -> None:
        self._settings, self._avatar, self._face = settings, avatar, face
        self._token = settings.token.get_secret_value() if settings.token is not None else None
        self._persona, self._status = persona, Status(state="offline", persona=persona)
        self._audience = Audience()
        self._pages: dict[Page, web.WebSocketResponse] = {}
        self._told: Told | None = None
        self._port: asyncio.Future[int] | None = None
        self._num_given = 0

    @property
    def is_heard(self) -> bool:
        """Whether a page is ready."""
        return self._audience.leader is not None

    async def listening(self) -> int:
        """The port, once it is open."""
        return await asyncio.shield(self._opened())

    async def run(self, told: Told) -> None:
        """Serve until cancelled. Raises Refused when the address cannot be had."""
        self._told = told
        application = web.Application()
        application.router.add_get("/overlay", self._page)
        application.router.add_get("/overlay/", self._page)
        application.router.add_get("/overlay/ws", self._socket)
        application.router.add_get("/overlay/health", self._health)
        application.router.add_get("/overlay/avatar/{name}", self._picture)
        application.router.add_get("/overlay/{path:.+}", self._page)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._settings.host, self._settings.port)
            try:
                await site.start()
            except OSError as error:
                where = f"{self._settings.host}:{self._settings.port}"
                raise Refused(f"{where}: {error.strerror or error}; change voice.port, or stop what listens") from None
            self._opened().set_result(runner.addresses[0][1])
            await asyncio.get_running_loop().create_future()
        finally:
            for socket in self._pages.values():
                with contextlib.suppress(ConnectionError):
                    await socket.close(code=WSCloseCode.GOING_AWAY)
            await runner.cleanup()

    def give(self, sentence: UtterancePayload, sound: Clip) -> None:
        """Send it to every page that is ready."""
        self._num_given += 1
        text, audio = wire.sentence(sentence, sound, self._num_given)
        self._audience.give((sentence.reply_id, sentence.seq))
        for page in self._pages:
            if page.watches or page.sounds is not None:
                page.put(Frame(text, None if page.watches else audio, sentence.reply_id))

    def skip(self, reply_id: str, *, is_retracted: bool = False) -> None:  # noqa: ARG002 - pages keep nothing
        """What waits for the pages is dropped, and they drop what they have."""
        for page in self._pages:
            page.drop(reply_id)
        self._send(wire.skip(reply_id))

    def stop(self) -> None:
        """As `skip`, for all."""
        for page in self._pages:
            page.drop(None)
        self._send(wire.stop())

    def cue(self, shown: CuePayload) -> None:
        """Every page shows it."""
        self._send(wire.cue(shown))

    def status(self, how: Status) -> None:
        """Every page learns it; and who is on stage, when that has changed."""
        before, self._status = self._persona, how
        self._persona = how.persona
        if how.persona != before:
            self._send(self._hello())
        self._send(wire.status(how))

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        self._let_in(request)
        if len(self._pages) >= MAX_PAGES:
            raise web.HTTPServiceUnavailable(text="too many pages are open")
        socket = web.WebSocketResponse(max_msg_size=wire.MAX_PAGE_BYTES, compress=False)
        await socket.prepare(request)
        if request.transport is None:  # it is gone already
            return socket
        page = Page(cut=request.transport.abort, watches=request.query.get("watch") == "1")
        page.put(Frame(self._hello()))
        page.put(Frame(wire.status(self._status)))
        self._pages[page] = socket
        if not page.watches:
            self._audience.join(page)
        log.info("page_opened", num_pages=len(self._audience), watches=page.watches)
        sending = asyncio.create_task(page.write_to(socket), name="overlay-page")
        try:
            await self._read(page, socket)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            del self._pages[page]
            if not page.watches:
                self._audience.leave(page)
                self._follow()
            log.info("page_closed", num_pages=len(self._audience), watches=page.watches)
        return socket

    async def _read(self, page: Page, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                return
            page.heard_s = time.monotonic()
            try:
                self._hear(page, wire.from_page(message.data))
            except WireError as error:
                log.warning("page_not_understood", detail=str(error))
                await socket.close(code=WSCloseCode.POLICY_VIOLATION)
                return

    def _hear(self, page: Page, said: wire.FromPage) -> None:
        match said:
            case wire.PageReady() if not page.watches:
                page.sounds = said.audio
                self._follow()
            case wire.PagePlayback():
                key = (said.reply_id, said.seq)
                if self._audience.counts(page, key, said.state) and self._told is not None:
                    self._told.played(key, said.state, said.at)

    def _follow(self) -> None:
        """Another page may lead now: what it has not been given is lost, the rest goes on there."""
        if not self._audience.choose() or self._told is None:
            return
        leader = self._audience.leader
        given = dict(leader.given) if leader is not None else {}
        self._told.lost("page_gone", frozenset(given))
        for key, state in given.items():
            if state is not None:
                self._told.played(key, state, time.time())

    def _send(self, text: str) -> None:
        for page in self._pages:
            page.put(Frame(text))

    def _hello(self) -> str:
        muted = self._status.state == "muted"
        face = self._face(self._persona)
        return wire.hello(face, is_muted=muted, theme=self._settings.theme, avatar=self._avatar.told)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        name = request.match_info.get("path") or "index.html"
        if "\0" in name or len(name) > MAX_NAME:
            raise web.HTTPNotFound
        path = (PAGE / name).resolve()
        if not path.is_relative_to(PAGE) or path.suffix not in _TYPES or not path.is_file():
            raise web.HTTPNotFound
        return self._file(request, path)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        path = self._avatar.files.get(request.match_info["name"])
        if path is None or not path.is_file():
            raise web.HTTPNotFound
        return self._file(request, path)

    def _file(self, request: web.Request, path: Path) -> web.FileResponse:
        response = web.FileResponse(path, headers={**_HEADERS, "Content-Type": _content_type(path)})
        if self._token is not None and request.query.get("token"):
            response.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict", path="/overlay")
        return response

    async def _health(self, request: web.Request) -> web.Response:
        self._let_in(request)
        leader = self._audience.leader
        pages = {"num_pages": len(self._audience), "is_heard": self.is_heard, "sounds": bool(leader and leader.sounds)}
        return web.json_response({"state": self._status.state, "persona": self._persona, **pages})

    def _let_in(self, request: web.Request) -> None:
        why = turned_away(self._settings.host, self._token, request.headers, request.query, request.cookies)
        if why is not None:
            log.warning("page_refused", reason=why)
            raise web.HTTPUnauthorized if why == "token" else web.HTTPForbidden

    def _opened(self) -> "asyncio.Future[int]":
        if self._port is None:
            self._port = asyncio.get_running_loop().create_future()
        return self._port


def _content_type(path: Path) -> str:
    kind = _TYPES[path.suffix.lower()]
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "image/svg+xml" else kind
