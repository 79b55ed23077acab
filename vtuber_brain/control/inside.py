"""The API asked from within this process, as somebody who has been let in: the same routes, roles, rates and audit."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp, Message

from vtuber_brain.control.guard import INSIDE
from vtuber_brain.control.tokens import Who


@dataclass(frozen=True, slots=True)
class Told:
    """What the API answered: its status and the decoded body, in which `code` and `detail` stand where it refused."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.status < 400

    @property
    def detail(self) -> str:
        """Why not, for people."""
        return str(self.body.get("detail") or self.body.get("code") or self.status)


@dataclass(slots=True)
class _Answer:
    status: int = 500
    body: bytearray = field(default_factory=bytearray)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


class Inside:
    """Asks `app`, the API itself, with nothing before it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def ask(self, who: Who, method: str, path: str, body: dict[str, Any] | None = None) -> Told:
        """One request as `who`. `path` as in a URL; not for /v1/events, which never ends."""
        parts, answer = urlsplit(path), _Answer()
        content = json.dumps(body).encode() if body is not None else b""
        is_sent = False

        async def receive() -> Message:
            nonlocal is_sent
            if is_sent:
                return {"type": "http.disconnect"}
            is_sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(b"content-type", b"application/json")] if body is not None else [],
            "client": (who.address, 0),
            "server": ("inside", 0),
            INSIDE: who,
        }
        await self._app(scope, receive, answer.send)
        return Told(answer.status, json.loads(bytes(answer.body)) if answer.body else {})
