"""An event loop with a clock of its own, which jumps to the next timer whenever nothing is ready: an hour passes in a
moment, and the same way each time.

What may run under it: tasks that wait for each other and for timers, and work in threads (`run_in_executor`,
`asyncio.to_thread`), during which its time stands still. Sockets, pipes and child processes are refused, for no timer
may be jumped over while somebody outside is still to answer. Code that computes takes no time.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH_S = 1_767_225_600.0
"""Unix time at which every virtual clock starts: 2026-01-01T00:00:00Z."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s. For `asyncio.Runner(loop_factory=VirtualLoop)`."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._num_outside = 0
        super().__init__(_Selector(self._jump))

    def time(self) -> float:
        """Seconds since this loop began, by its own clock."""
        return self._now_s

    def unix_s(self) -> float:
        """Unix time by its own clock."""
        return EPOCH_S + self._now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """As usual; the clock stands still until the thread is done."""
        future = super().run_in_executor(executor, func, *args)
        self._num_outside += 1
        future.add_done_callback(self._come_back)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - not ours
        """As usual, however long the threads take."""
        self._num_outside += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._num_outside -= 1

    def _come_back(self, _: "asyncio.Future[Any]") -> None:
        self._num_outside -= 1

    def _jump(self, pause_s: float) -> bool:
        """Let so much time pass, unless somebody outside is at work."""
        if self._num_outside:
            return False
        self._now_s += pause_s
        return True


class _Selector(selectors.DefaultSelector):
    """Asks `jump` where another would wait. Knows the one pipe by which threads and signals wake the loop."""

    def __init__(self, jump: Callable[[float], bool]) -> None:
        super().__init__()
        self._jump = jump

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.get_map():
            raise RuntimeError("no sockets, pipes or child processes under a virtual clock")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        woken = super().select(0)
        if woken or self._jump(timeout):
            return woken
        return super().select(None)
