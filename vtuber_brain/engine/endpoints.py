"""Which server gets the next request: how each is doing, how many requests it has, and who waits. No sockets here."""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.runtime.retry import backoff

FIRST_PAUSE_S = 0.25
MAX_WAITING = 64

Kind = Literal[
    "connection", "server_error", "broken", "rate_limited", "unauthorized", "bad_request", "too_long", "not_found"
]


class ServerFailed(Exception):
    """A server did not do what it was asked. `reason` is in our words; `words` are the server's, and may quote."""

    def __init__(self, kind: Kind, reason: str, words: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {words}" if words else reason)
        self.kind, self.reason, self.words, self.retry_after_s = kind, reason, words, retry_after_s


@dataclass(slots=True, eq=False)
class Endpoint:
    """What is known of one server. `shown` is its URL without credentials; `reason` says why it is not up.

    Pauses, before it is given or asked anything again, grow from one to the next until a reply has come from it.
    """

    shown: str
    number: int
    max_pause_s: float
    up: bool = False
    asked: bool = False
    reason: str = "not asked yet"
    running: int = 0
    rest_until_s: float = 0.0
    _pauses: Iterator[float] = field(init=False)

    def __post_init__(self) -> None:
        self.replied()

    def answered(self) -> None:
        """It is there; whether it can reply is not known yet."""
        self.up, self.asked, self.reason = True, True, ""

    def failed(self, reason: str) -> None:
        """It is not there, or of no use."""
        self.up, self.asked, self.reason = False, True, reason

    def replied(self) -> None:
        """A reply came: the next pause is the shortest again."""
        self._pauses = backoff(min(FIRST_PAUSE_S, self.max_pause_s), self.max_pause_s)

    def next_pause_s(self) -> float:
        """How long to leave it alone now."""
        return next(self._pauses)


@dataclass(slots=True, order=True)
class _Waiter:
    rank: tuple[int, int]
    tried: frozenset[Endpoint] = field(compare=False)
    turn: "asyncio.Future[Endpoint]" = field(compare=False)


class Turns:
    """Gives every request an endpoint, at most `per_endpoint` at once each.

    When all are busy a request waits, the higher priority first, within it the earlier. At most MAX_WAITING wait; one
    more fails at once (queue_full).
    """

    def __init__(self, endpoints: Sequence[Endpoint], per_endpoint: int) -> None:
        self._endpoints, self._per_endpoint = endpoints, per_endpoint
        self._waiting: list[_Waiter] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def turn(self, priority: int, tried: Iterable[Endpoint] = ()) -> AsyncIterator[Endpoint]:
        """An endpoint for the time of the block; one of `tried` only when no other can be had.

        Raises RequestFailed (queue_full), or EngineDown when the last server went away while it waited.
        """
        endpoint = await self._take(priority, frozenset(tried))
        try:
            yield endpoint
        finally:
            endpoint.running -= 1
            self.dispatch()

    def rest(self, endpoint: Endpoint, pause_s: float) -> None:
        """Give it nothing new for `pause_s`; it is up all the same."""
        endpoint.rest_until_s = max(endpoint.rest_until_s, time.monotonic() + pause_s)
        asyncio.get_running_loop().call_later(pause_s + 0.001, self.dispatch)  # so that it surely is over by then

    def dispatch(self) -> None:
        """Serve those who wait, as far as there is room; to be called when anything has changed."""
        while self._waiting:
            first = self._waiting[0]
            endpoint = None if first.turn.done() else self._best(first.tried)
            if endpoint is None and not first.turn.done():
                return
            heapq.heappop(self._waiting)
            if endpoint is not None:
                endpoint.running += 1
                first.turn.set_result(endpoint)

    def give_up(self, reason: str) -> None:
        """There is no server left: who waits fails with EngineDown; who has tried one already may try another."""
        for waiter in self._waiting:
            if not waiter.tried and not waiter.turn.done():
                waiter.turn.set_exception(EngineDown(reason))
        self.dispatch()

    async def _take(self, priority: int, tried: frozenset[Endpoint]) -> Endpoint:
        if self._best(tried) is None and len(self._waiting) >= MAX_WAITING:
            raise RequestFailed("queue_full", f"{MAX_WAITING} requests wait for a server already")
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        waiter = _Waiter((-priority, next(self._numbers)), tried, turn)
        heapq.heappush(self._waiting, waiter)
        self.dispatch()
        try:
            return await turn
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            heapq.heapify(self._waiting)
        elif waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
            waiter.turn.result().running -= 1  # its turn came in the moment it was cancelled
        self.dispatch()

    def _best(self, tried: frozenset[Endpoint]) -> Endpoint | None:
        """Where the fewest requests run. When no server is up at all, one that is down is asked all the same."""
        now_s, some_up = time.monotonic(), any(endpoint.up for endpoint in self._endpoints)
        candidates = [one for one in self._endpoints if not some_up or (one.up and one.rest_until_s <= now_s)]
        free = [endpoint for endpoint in candidates if endpoint.running < self._per_endpoint]
        return min(free, key=lambda one: (one in tried, one.running, one.number), default=None)
