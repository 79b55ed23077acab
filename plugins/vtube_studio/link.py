"""One connection to VTube Studio: requests that get their answers by number, and events. It decides nothing."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from .protocol import MAX_FRAME_CHARS, Message, NotTheProtocol, error_in, parse, request

Answer = asyncio.Future[Mapping[str, Any]]


class Lost(Exception):
    """The connection cannot be had, or is no more; the words are for the operator."""


class Link:
    """Open while `opened` is. An answer fails with ApiError, or with Lost when the connection ends before it."""

    def __init__(self, socket: ClientConnection, on_event: Callable[[Message], None], timeout_s: float) -> None:
        self._socket, self._on_event, self._timeout_s = socket, on_event, timeout_s
        self._waiting: dict[str, Answer] = {}
        self._numbers = itertools.count(1)
        self.lost: Lost | None = None

    async def post(self, kind: str, data: Mapping[str, Any] | None = None) -> Answer:
        """Send a request and do not wait for its answer. Raises Lost."""
        if self.lost is not None:
            raise self.lost
        number = f"vtb-{next(self._numbers)}"
        answer: Answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_looked_at)
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._socket.send(request(kind, number, data))
        except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
            raise Lost("the connection broke") from error
        return answer

    async def ask(
        self, kind: str, data: Mapping[str, Any] | None = None, *, patience_s: float | None = None
    ) -> Mapping[str, Any]:
        """The answer's data. Raises ApiError, and Lost when there is none in time."""
        answer = await self.post(kind, data)
        try:
            async with asyncio.timeout(patience_s or self._timeout_s):
                return await answer
        except TimeoutError:
            raise Lost(f"no answer to {kind} in time") from None

    async def read(self) -> None:
        """Hand answers to those who wait for them, until the connection ends; then nobody waits any more."""
        try:
            async for text in self._socket:
                self._take(parse(text))
            self._end("VTube Studio closed the connection")
        except (OSError, WebSocketException):
            self._end("the connection broke")
        except NotTheProtocol as error:
            self._end(str(error))
        finally:
            self._end("the connection was closed")

    def _take(self, message: Message) -> None:
        answer = self._waiting.pop(message.request_id, None)
        if answer is None or answer.done():
            self._on_event(message)
        elif (error := error_in(message)) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(message.data)

    def _end(self, reason: str) -> None:
        self.lost = self.lost or Lost(reason)
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(self.lost)


@contextlib.asynccontextmanager
async def opened(url: str, on_event: Callable[[Message], None], timeout_s: float) -> AsyncIterator[Link]:
    """A connection for as long as the block runs. Raises Lost when there is none to be had."""
    # Its answers are the sign of life: not every version of VTube Studio answers a ping.
    # The farewell is short: a plugin that is told to stop has one second.
    connecting = connect(
        url, open_timeout=timeout_s, close_timeout=0.5, ping_interval=None, max_size=MAX_FRAME_CHARS, proxy=None
    )
    try:
        socket = await connecting
    except (OSError, WebSocketException, ValueError) as error:
        raise Lost("nobody answers there: is VTube Studio running, and plugin API access turned on?") from error
    link = Link(socket, on_event, timeout_s)
    reading = asyncio.create_task(link.read(), name="vtube_studio-link")
    try:
        yield link
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await socket.close()


def _looked_at(answer: Answer) -> None:
    # An answer that nobody awaits any more is no error worth a warning of asyncio's.
    if not answer.cancelled():
        answer.exception()
