"""Listens to the voice beside the overlay's pages, for how the mouth of each sentence goes. It never acknowledges."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from vtuber_brain.plugin_api import Deliver

from .mouth import from_voice
from .performance import Performance
from .racing import until

log = structlog.get_logger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_MAX_BYTES = 64 * 2**20  # should it send the sound, too


class Watcher:
    """A source that delivers nothing: it keeps the connection to the voice, quietly when there is none."""

    name = "voice"

    def __init__(self, performance: Performance, url: str, token: SecretStr | None) -> None:
        self._performance, self._url, self._token = performance, url, token
        self._renewed = asyncio.Event()

    def use(self, url: str, token: SecretStr | None) -> None:
        """Listen there from now on; nowhere, if it is empty."""
        if (url, token) != (self._url, self._token):
            self._url, self._token = url, token
            self._renewed.set()

    async def run(self, deliver: Deliver) -> None:  # noqa: ARG002 - nothing comes in this way
        """Listen, for ever, wherever the settings say."""
        while True:
            self._renewed.clear()
            if self._url:
                await until(self._renewed, self._keep_listening(), "vtube_studio-voice")
            await self._renewed.wait()

    async def _keep_listening(self) -> None:
        """Listen; connect anew after a pause."""
        tries = 0
        while True:
            try:
                async with self._connecting() as socket:
                    tries = 0
                    log.info("vtube_studio_voice_up")
                    await self._listen(socket)
            except (OSError, WebSocketException) as error:
                if tries == 0:
                    log.info("vtube_studio_voice_down", reason=type(error).__name__)
            await asyncio.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    def _connecting(self) -> connect:
        url = watching(self._url, self._token.get_secret_value() if self._token else "")
        return connect(url, max_size=_MAX_BYTES, close_timeout=0.5, proxy=None)

    async def _listen(self, socket: ClientConnection) -> None:
        async for frame in socket:
            if isinstance(frame, str) and (told := _object(frame)) is not None:
                if told.get("type") == "ping":
                    await socket.send(json.dumps({"type": "pong", "t": told.get("t")}))
                else:
                    self._take(told)

    def _take(self, told: Mapping[str, Any]) -> None:
        match told:
            case {"type": "sentence", "reply_id": str(reply_id), "seq": int(seq), "mouth": mouth}:
                if (curve := from_voice(mouth)) is not None:
                    self._performance.learn_curve(reply_id, seq, curve)
            case {"type": "skip", "reply_id": str(reply_id)}:
                self._performance.skip(reply_id)
            case {"type": "stop"}:
                self._performance.silence()


def watching(url: str, token: str) -> str:
    """The address for one that only looks; with the token as the overlay's pages give it, if there is one."""
    parts = urlsplit(url)
    known = {"token": token} if token else {}
    query = urlencode({**dict(parse_qsl(parts.query)), "watch": "1", **known})
    return urlunsplit(parts._replace(query=query))


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
