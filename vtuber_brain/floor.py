"""The floor: the right to speak. One holder at a time; who waits gets it by priority, then in the order of asking."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum


class Priority(IntEnum):
    """Smaller speaks first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class Floor:
    """An unbounded queue of waiters would be unbounded thoughts: their number is bounded by `speech.thinking`."""

    def __init__(self) -> None:
        self._taken = False
        self._order = itertools.count()
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def held(self, priority: Priority = Priority.NORMAL) -> AsyncIterator[None]:
        """Wait for the floor, keep it for the block, pass it on. A waiter that is cancelled never gets it."""
        await self._take(priority)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, priority: Priority) -> None:
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it was given to us in the moment we left
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
