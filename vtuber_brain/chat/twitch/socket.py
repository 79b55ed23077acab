"""One EventSub connection: opened, welcomed, read frame by frame. It decides nothing and never comes back by itself.

twitchio's own dies of a frame without metadata, is deaf while it moves and slow to notice silence, so it is not used.
"""

import asyncio
import contextlib
import ssl
import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from vtuber_brain.chat.twitch.frames import Frame, Welcome, parse_frame
from vtuber_brain.errors import Unavailable

CLOSE_TIMEOUT_S = 0.5
MAX_FRAME_BYTES = 1 << 20

_ENDINGS = {
    4000: "internal server error",
    4002: "we did not answer its pings",
    4003: "nothing was subscribed in time",
    4004: "we did not move in time",
    4005: "network timeout",
    4006: "network error",
    4007: "the address to move to was wrong",
}


class Socket:
    """An open session; made by `open_socket`. `heard_s` is when the last frame came (monotonic, seconds)."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.session_id = ""
        self.heard_s = time.monotonic()

    async def receive(self, silence_s: float) -> Frame:
        """The next frame. Raises TimeoutError after `silence_s` without any, Unavailable when the connection ended."""
        try:
            async with asyncio.timeout(silence_s):
                data = await self._connection.recv(decode=None)
        except ConnectionClosed as closed:
            ending = _ending(closed)
        else:
            self.heard_s = time.monotonic()
            return parse_frame(data)
        raise Unavailable(ending)

    async def close(self) -> None:
        """End the session; what was not read is lost."""
        await self._connection.close()


async def open_socket(url: str, timeout_s: float) -> Socket:
    """Connect to `url` and wait for the welcome. Raises Unavailable when there is none within `timeout_s`."""
    socket: Socket | None = None
    try:
        async with asyncio.timeout(timeout_s):
            trust = await asyncio.to_thread(ssl.create_default_context) if url.startswith("wss:") else None
            socket = Socket(
                await connect(
                    url,
                    ssl=trust,
                    compression=None,
                    proxy=None,
                    ping_interval=None,  # Twitch pings us, and wants to hear nothing else
                    close_timeout=CLOSE_TIMEOUT_S,
                    max_size=MAX_FRAME_BYTES,
                )
            )
            while not isinstance(frame := await socket.receive(timeout_s), Welcome):
                pass
        socket.session_id = frame.session_id
        return socket  # noqa: TRY300 - what follows is for those who did not get here
    except TimeoutError:
        why = f"Twitch did not answer within {timeout_s:g} s"
    except (OSError, InvalidHandshake, InvalidURI, EOFError) as error:
        why = f"Twitch cannot be reached ({type(error).__name__})"
    except (Unavailable, asyncio.CancelledError):
        await _leave(socket)
        raise
    await _leave(socket)
    raise Unavailable(why)


async def _leave(socket: Socket | None) -> None:
    if socket is not None:
        with contextlib.suppress(ConnectionClosed):
            await socket.close()


def _ending(closed: ConnectionClosed) -> str:
    code = closed.rcvd.code if closed.rcvd else 1006
    return f"Twitch closed the connection ({code}{': ' + _ENDINGS[code] if code in _ENDINGS else ''})"
