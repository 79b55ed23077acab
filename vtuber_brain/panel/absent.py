"""What stands in the panel's place where NiceGUI is not installed: one page that says what to install."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

TOLD = "The panel is not installed. Install it with: pip install 'vtuber-brain[panel]'\n"


class Panel:
    """As panel.Panel, with nothing behind it."""

    def __init__(self, *_: Any) -> None:
        pass

    def front(self, app: ASGIApp) -> ASGIApp:
        """The API, and at / the way to a panel."""

        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] in ("/", "/login"):
                await PlainTextResponse(TOLD, 503)(scope, receive, send)
            else:
                await app(scope, receive, send)

        return either

    def ticket(self) -> str:
        """Nothing lets anybody in."""
        return ""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Nothing runs."""
        yield
