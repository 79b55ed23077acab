"""Twitch, as far as we use it, as a real server on loopback: EventSub over WebSocket, Helix, OAuth.

It checks what Twitch checks (tokens, scopes, one-time refresh tokens, the session of a subscription) and fails as told:
`fail(path, Answer(...), ...)` plans the next answers of a path, `sessions` are the open EventSub connections.
"""

import asyncio
import contextlib
import itertools
import json
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import WSMsgType, web

CLIENT_ID, CLIENT_SECRET = "client-of-ours", "s3cret-of-the-application"
CHANNEL_ID, BOT_ID = "1000", "2000"
USERS = {"mori_channel": CHANNEL_ID, "mori_bot": BOT_ID}
DEADLINE_S = 15.0


@dataclass(frozen=True)
class Answer:
    """A planned answer; `hang` gives none at all, `raw` replaces the JSON."""

    status: int
    message: str = "no"
    headers: dict = field(default_factory=dict)
    hang: bool = False
    raw: str | None = None


@dataclass
class Grant:
    """What a token stands for."""

    user_id: str
    scopes: tuple
    refresh: str
    expires_in: int = 14_000


class Session:
    """One EventSub connection."""

    def __init__(self, socket, keepalive_s, tell):
        self.id, self.socket, self.topics = f"session-{uuid.uuid4().hex[:8]}", socket, {}
        self.keepalive_s, self.mute, self.user_id = keepalive_s, False, None
        self.beats, self._tell = 0, tell

    async def send(self, kind, payload, *, message_id=None, topic=None, metadata=True):
        frame = {"payload": payload}
        if metadata:
            frame["metadata"] = {
                "message_id": message_id or uuid.uuid4().hex,
                "message_type": kind,
                "message_timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f123Z"),
                **({"subscription_type": topic, "subscription_version": "1"} if topic else {}),
            }
        await self.socket.send_str(json.dumps(frame))

    async def notify(self, topic, event, message_id=None):
        subscription = {"id": "sub", "status": "enabled", "type": topic, "version": "1"}
        await self.send(
            "notification", {"subscription": subscription, "event": event}, message_id=message_id, topic=topic
        )

    async def welcome(self):
        session = {"id": self.id, "status": "connected", "keepalive_timeout_seconds": 10, "reconnect_url": None}
        await self.send("session_welcome", {"session": session})

    async def move_to(self, url):
        session = {"id": self.id, "status": "reconnecting", "keepalive_timeout_seconds": None, "reconnect_url": url}
        await self.send("session_reconnect", {"session": session})

    async def revoke(self, topic, status="authorization_revoked"):
        await self.send("revocation", {"subscription": {"id": "s", "status": status, "type": topic, "version": "1"}})

    async def drop(self):
        """The connection is gone without a word."""
        if self.socket._req is not None and self.socket._req.transport is not None:
            self.socket._req.transport.abort()

    async def beat(self):
        while True:
            await asyncio.sleep(self.keepalive_s)
            if not self.mute:
                await self.send("session_keepalive", {})
                self.beats += 1
                await self._tell()


class MockTwitch:
    """`async with MockTwitch() as twitch`; then `twitch.grant(...)` makes logins."""

    def __init__(self, keepalive_s=0.2):
        self.keepalive_s = keepalive_s
        self.grants, self.spent = {}, set()
        self.requests, self.sent, self.sessions, self.plans = [], [], [], defaultdict(deque)
        self.changed, self.refreshes, self.confirmed = asyncio.Condition(), 0, None
        self.welcomes, self.on_post = True, lambda body: None
        self._count = itertools.count(1)

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/ws", self._socket)
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for session in self.sessions:
            await session.drop()
        await self._runner.cleanup()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self):
        return f"ws://127.0.0.1:{self.port}/ws"

    def point(self, monkeypatch):
        """Have twitchio talk to this server."""
        from vtuber_brain.chat.twitch import http as twitch_http

        monkeypatch.setattr(twitch_http.Route, "BASE", f"{self.base}/helix/")
        monkeypatch.setattr(twitch_http.Route, "ID_BASE", f"{self.base}/")
        monkeypatch.setattr(twitch_http.eventsub, "WSS", self.ws)

    def grant(self, user_id=BOT_ID, scopes=("user:read:chat", "user:write:chat"), expires_in=14_000):
        """A fresh pair of tokens: access, refresh."""
        number = next(self._count)
        access, refresh = f"acc3ss-token-{number}-{user_id}", f"refr3sh+token/{number}-{user_id}"
        self.grants[access] = Grant(user_id, tuple(scopes), refresh, expires_in)
        return access, refresh

    def expire(self, user_id=BOT_ID):
        """No access token of the account is good any more; their refresh tokens are."""
        for access, grant in list(self.grants.items()):
            if grant.user_id == user_id:
                self.grants[f"expired:{access}"] = self.grants.pop(access)

    def withdraw(self, user_id=BOT_ID):
        """The account's owner disconnects the application."""
        self.grants = {access: grant for access, grant in self.grants.items() if grant.user_id != user_id}

    def fail(self, path, *answers):
        self.plans[path].extend(answers)

    def secrets(self):
        """Everything that must appear nowhere."""
        pairs = [
            text for access, grant in self.grants.items() for text in (access.removeprefix("expired:"), grant.refresh)
        ]
        return [CLIENT_SECRET, *pairs, *self.spent]

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(condition)

    async def subscribed(self, count=5, number=1, user_id=None):
        """The `number`th session (of an account's) with at least `count` subscriptions, in the order of opening."""

        def ready():
            its = [session for session in self.sessions if user_id in (None, session.user_id)]
            return [session for session in its if len(session.topics) >= count]

        await self.until(lambda: len(ready()) >= number)
        return ready()[number - 1]

    async def _tell(self):
        async with self.changed:
            self.changed.notify_all()

    async def _socket(self, request):
        if self.plans["/ws"]:
            answer = self.plans["/ws"].popleft()
            if answer.hang:
                await asyncio.sleep(60)
            return web.Response(status=answer.status)
        socket = web.WebSocketResponse(autoclose=True)
        await socket.prepare(request)
        session = Session(socket, self.keepalive_s, self._tell)
        if old := request.query.get("from"):
            session.topics = next(other.topics for other in self.sessions if other.id == old)
        self.sessions.append(session)
        if self.welcomes:
            await session.welcome()
        await self._tell()
        beating = asyncio.create_task(session.beat())
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:  # Twitch wants to hear nothing
                    await socket.close(code=4001)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self._tell()
        return socket

    async def _rest(self, request):
        path = request.path
        body = await request.json() if request.can_read_body else {}
        self.requests.append((request.method, path, dict(request.query), body, dict(request.headers)))
        try:
            if self.plans[path]:
                answer = self.plans[path].popleft()
                if answer.hang:
                    await asyncio.sleep(60)
                if answer.raw is not None:
                    return web.Response(status=answer.status, text=answer.raw, content_type="application/json")
                return _problem(answer.status, answer.message, answer.headers)
            handler = {
                ("GET", "/oauth2/validate"): self._validate,
                ("POST", "/oauth2/token"): self._token,
                ("POST", "/oauth2/device"): self._device,
                ("POST", "/oauth2/revoke"): self._revoke,
                ("GET", "/helix/users"): self._users,
                ("POST", "/helix/eventsub/subscriptions"): self._subscribe,
                ("POST", "/helix/chat/messages"): self._post,
            }.get((request.method, path))
            return handler(request, body) if handler else _problem(404, "not found")
        finally:
            await self._tell()

    def _bearer(self, request):
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("OAuth ")
        if request.path.startswith("/helix") and request.headers.get("Client-ID") != CLIENT_ID:
            return None
        return self.grants.get(token)

    def _validate(self, request, _):
        if (grant := self._bearer(request)) is None:
            return _problem(401, "invalid access token")
        login = next(name for name, user_id in USERS.items() if user_id == grant.user_id)
        return web.json_response(
            {
                "client_id": CLIENT_ID,
                "login": login,
                "scopes": list(grant.scopes),
                "user_id": grant.user_id,
                "expires_in": grant.expires_in,
            }
        )

    def _token(self, request, _):
        query = request.query
        if query["grant_type"] == "refresh_token":
            found = [access for access, grant in self.grants.items() if grant.refresh == query["refresh_token"]]
            if not found:
                return _problem(400, "Invalid refresh token")
            old = self.grants.pop(found[0])
            self.spent |= {found[0].removeprefix("expired:"), old.refresh}
            self.refreshes += 1
            return self._given(*self.grant(old.user_id, old.scopes), old.scopes)
        if self.confirmed is None:
            return _problem(400, "authorization_pending")
        user_id, scopes = self.confirmed, tuple(query["scopes"].split())
        return self._given(*self.grant(user_id, scopes), scopes)

    def _given(self, access, refresh, scopes):
        given = {"access_token": access, "refresh_token": refresh, "expires_in": 14_000}
        return web.json_response({**given, "scope": list(scopes), "token_type": "bearer"})

    def _device(self, request, _):
        if request.query["client_id"] != CLIENT_ID:
            return _problem(400, "invalid client")
        code = {"device_code": "device-c0de-hidden", "user_code": "ABCDEFGH", "interval": 0.05, "expires_in": 1}
        return web.json_response({**code, "verification_uri": "https://www.twitch.tv/activate?device-code=ABCDEFGH"})

    def _revoke(self, request, _):
        self.grants.pop(request.query["token"], None)
        return web.Response()

    def _users(self, request, _):
        if self._bearer(request) is None:
            return _problem(401, "Invalid OAuth token")
        logins = request.query.getall("login", [])
        return web.json_response({"data": [{"id": USERS[name], "login": name} for name in logins if name in USERS]})

    def _subscribe(self, request, body):
        grant = self._bearer(request)
        if grant is None:
            return _problem(401, "Invalid OAuth token")
        session = next((one for one in self.sessions if one.id == body["transport"]["session_id"]), None)
        if session is None or session.socket.closed:
            return _problem(400, "websocket transport session does not exist or has already disconnected")
        if session.user_id not in (None, grant.user_id):
            return _problem(400, "websocket transport cannot have subscriptions created by different users")
        needed = SCOPES.get(body["type"])
        if needed and needed not in grant.scopes:
            return _problem(403, "subscription missing proper authorization")
        if body["type"] in session.topics:
            return _problem(409, "subscription already exists")
        session.user_id = grant.user_id
        session.topics[body["type"]] = body["condition"]
        return web.json_response({"data": [{"id": uuid.uuid4().hex}], "total": 1}, status=202)

    def _post(self, request, body):
        grant = self._bearer(request)
        if grant is None:
            return _problem(401, "Invalid OAuth token")
        if "user:write:chat" not in grant.scopes:
            return _problem(401, "Missing required oauth scope: user:write:chat")
        self.sent.append(body)
        self.on_post(body)
        return web.json_response({"data": [{"message_id": uuid.uuid4().hex, "is_sent": True, "drop_reason": None}]})


def _problem(status, message, headers=None):
    return web.json_response({"error": "problem", "status": status, "message": message}, status=status, headers=headers)


SCOPES = {
    **{f"channel.chat.{name}": "user:read:chat" for name in ("message", "notification", "message_delete", "clear")},
    "channel.chat.clear_user_messages": "user:read:chat",
    "channel.follow": "moderator:read:followers",
    "channel.cheer": "bits:read",
    "channel.channel_points_custom_reward_redemption.add": "channel:read:redemptions",
}


def said(text, message_id="m1", user_id="77", name="kopi_susu", **more):
    """A `channel.chat.message` event."""
    return {
        "broadcaster_user_id": CHANNEL_ID,
        "broadcaster_user_login": "mori_channel",
        "broadcaster_user_name": "mori_channel",
        "chatter_user_id": user_id,
        "chatter_user_login": name,
        "chatter_user_name": name,
        "message_id": message_id,
        "message": {"text": text, "fragments": [{"type": "text", "text": text, "cheermote": None, "emote": None}]},
        "color": "",
        "message_type": "text",
        "badges": [],
        "reply": None,
        "cheer": None,
        "channel_points_custom_reward_id": None,
        "source_broadcaster_user_id": None,
        "source_message_id": None,
        "source_badges": None,
        **more,
    }


@contextlib.asynccontextmanager
async def working(coroutine, name):
    """A task while the block lasts; its own failure comes out of the block."""
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
