"""A client of chat over WebSocket: one connection, frames out and in, failures in the brain's own words.

The recorded-stream player and the viewer's terminal are built on it. It never reconnects by itself.
"""

import contextlib
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from vtuber_brain.chat.frames import AckFrame, ClientFrame, ErrorFrame, ServerFrame, SubscribeFrame
from vtuber_brain.chat.protocol import encode, parse_server
from vtuber_brain.errors import BrainError, Refused, Unavailable

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0

_REFUSALS = {
    401: "the token is missing or wrong; give the daemon's websocket.token with --token",
    403: "this origin is not allowed; see websocket.origins",
    404: "there is no chat at this address; it should end in /chat",
}


class Client:
    """One open connection; made by `open_client`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, frame: ClientFrame) -> None:
        """Send one frame. Raises Unavailable when the daemon has gone."""
        try:
            await self._connection.send(encode(frame))
        except ConnectionClosed as closed:
            raise _gone(closed) from None

    async def receive(self) -> ServerFrame:
        """The next frame of a kind this version knows. Raises Unavailable when the daemon has gone."""
        try:
            while (frame := parse_server(await self._connection.recv(decode=True))) is None:
                pass
        except ConnectionClosed as closed:
            raise _gone(closed) from None
        return frame

    async def subscribe(self) -> None:
        """Ask for every event; returns once the daemon will send them. Raises Unavailable when it does not."""
        await self.send(SubscribeFrame())
        while not isinstance(frame := await self.receive(), AckFrame):
            if isinstance(frame, ErrorFrame):
                raise Unavailable(f"the daemon sends no events: {frame.code}: {frame.detail}")


@contextlib.asynccontextmanager
async def open_client(url: str, token: str | None) -> AsyncIterator[Client]:
    """Connect to the daemon's chat. Raises Unavailable when it is not there, Refused when it does not want us."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    try:
        connection = await connect(
            url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
        )
    except (OSError, TimeoutError, InvalidHandshake, EOFError) as error:
        raise _not_connected(url, error) from None
    except InvalidURI:
        raise Refused(f"{url} is not the address of a chat; it looks like ws://127.0.0.1:8766/chat") from None
    try:
        yield Client(connection)
    finally:
        await connection.close()


def _not_connected(url: str, error: Exception) -> BrainError:
    if not isinstance(error, InvalidStatus):
        return Unavailable(
            f"nothing that speaks chat answers at {url}: is the daemon running? Start it with: vtuber-brain run"
        )
    status = error.response.status_code
    if status in _REFUSALS:
        return Refused(f"{url} answered {status}: {_REFUSALS[status]}")
    return Unavailable(f"{url} answered {status}: the daemon has no room at present; try again later")


def _gone(closed: ConnectionClosed) -> Unavailable:
    code = closed.rcvd.code if closed.rcvd else 1006
    return Unavailable(f"the daemon closed the connection ({code})")
