"""One connection to OBS: logged in, requests that get their answers by number, and events. It decides nothing."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from vtuber_brain.plugin_api import Refused

from .options import Options
from .protocol import CLOSES, SUBPROTOCOL, NeedsPassword, NotTheProtocol, Op, failure_in, identify, parse, request

Answer = asyncio.Future[Mapping[str, Any]]
OnEvent = Callable[[str, Mapping[str, Any]], None]
"""Told of an event's type and data."""

_MAX_BYTES = 4 * 2**20


class Lost(Exception):
    """The connection cannot be had, or is no more; the words are for the operator."""


class Link:
    """Open while `opened` is. An answer fails with RequestFailed, or with Lost or Refused when the connection ends."""

    def __init__(
        self, socket: ClientConnection, on_event: OnEvent, on_end: Callable[[], None], timeout_s: float
    ) -> None:
        self._socket, self._on_event, self._on_end, self._timeout_s = socket, on_event, on_end, timeout_s
        self._waiting: dict[str, Answer] = {}
        self._numbers = itertools.count(1)
        self._ended: Exception | None = None

    async def log_in(self, password: str | None) -> None:
        """Answer OBS's greeting. Raises Lost and Refused."""
        try:
            async with asyncio.timeout(self._timeout_s):
                hello = await self._next(Op.HELLO)
                await self._socket.send(identify(hello, password))
                await self._next(Op.IDENTIFIED)
        except NeedsPassword:
            raise Refused("OBS asks for a password: give it as VTB_PLUGINS__OBS_STUDIO__PASSWORD") from None
        except NotTheProtocol as error:
            raise Lost(str(error)) from error
        except ConnectionClosed as error:
            raise farewell(error) from error
        except (OSError, WebSocketException) as error:
            raise Lost("it did not greet in time") from error

    async def _next(self, op: Op) -> Mapping[str, Any]:
        frame = parse(await self._socket.recv())
        if frame.op != op:
            raise NotTheProtocol("it does not greet as OBS does: is that OBS?")
        return frame.data

    def check(self) -> None:
        """Raises Lost or Refused when the connection has ended."""
        if self._ended is not None:
            raise self._ended

    async def post(self, kind: str, data: Mapping[str, Any]) -> Answer:
        """Send a request and do not wait for its answer. Raises Lost and Refused."""
        self.check()
        number = f"vtb-{next(self._numbers)}"
        answer: Answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_looked_at)
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._socket.send(request(kind, number, data))
        except ConnectionClosed as error:
            raise farewell(error) from error
        except (OSError, WebSocketException) as error:
            raise Lost("the connection broke") from error
        return answer

    async def read(self) -> None:
        """Hand on what comes until the connection ends; then nobody waits any more."""
        try:
            while True:
                frame = parse(await self._socket.recv())
                if frame.op == Op.RESPONSE:
                    self._answer(frame.data)
                elif frame.op == Op.EVENT:
                    self._on_event(str(frame.data.get("eventType")), frame.data.get("eventData") or {})
        except ConnectionClosed as error:
            self._end(farewell(error))
        except (OSError, WebSocketException, NotTheProtocol) as error:
            self._end(Lost(str(error) if isinstance(error, NotTheProtocol) else "the connection broke"))
        finally:
            self._end(Lost("the connection was closed"))

    def _answer(self, response: Mapping[str, Any]) -> None:
        answer = self._waiting.pop(str(response.get("requestId")), None)
        if answer is None or answer.done():
            return
        if (failure := failure_in(response)) is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(response.get("responseData") or {})

    def _end(self, reason: Exception) -> None:
        self._ended = self._ended or reason
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(self._ended)
        self._on_end()


@contextlib.asynccontextmanager
async def opened(options: Options, on_event: OnEvent, on_end: Callable[[], None]) -> AsyncIterator[Link]:
    """A connection that is logged in, for as long as the block runs. Raises Lost and Refused when there is none."""
    # The farewell is short: a plugin that is told to stop has one second.
    connecting = connect(
        options.url,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        open_timeout=options.timeout_s,
        close_timeout=0.5,
        max_size=_MAX_BYTES,
        proxy=None,
    )
    try:
        socket = await connecting
    except (OSError, WebSocketException, ValueError) as error:
        raise Lost("nobody answers there: is OBS running, and its WebSocket server turned on?") from error
    try:
        link = Link(socket, on_event, on_end, options.timeout_s)
        await link.log_in(options.password.get_secret_value() if options.password else None)
        reading = asyncio.create_task(link.read(), name="obs_studio-link")
        try:
            yield link
        finally:
            reading.cancel()
            await asyncio.wait({reading})
    finally:
        await socket.close()


def farewell(error: ConnectionClosed) -> Exception:
    """What the end of a connection amounts to: Lost where one may come back, Refused where not."""
    code = error.rcvd.code if error.rcvd is not None else 1006
    known = CLOSES.get(code)
    if known is None:
        return Lost("OBS closed the connection")
    return Lost(known.meaning) if known.comes_back else Refused(f"{known.meaning} (close code {code})")


def _looked_at(answer: Answer) -> None:
    # An answer that nobody awaits any more is no error worth a warning of asyncio's.
    if not answer.cancelled():
        answer.exception()
