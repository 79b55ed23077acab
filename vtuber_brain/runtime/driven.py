"""Other people's code, kept where it cannot hold the daemon up: calls that end in time, threads that nobody joins.

What it cannot do: interrupt code that blocks. It measures that.
"""

import asyncio
import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from vtuber_brain.errors import Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How a call ended: well, with `value`; with `error`; or not at all so far, then `late` is what still runs."""

    value: T | None = None
    error: BaseException | None = None
    late: "asyncio.Task[T] | None" = None


async def bounded(
    function: Callable[[], Coroutine[Any, Any, T]],
    timeout_s: float | None,
    grace_s: float,
    on_step: Callable[[float], None],
) -> Outcome[T]:
    """How `function()` ends within `timeout_s` (None: whenever it likes); only a cancellation of ours is raised.

    One that is late, or that we leave, is cancelled, and after `grace_s` more no longer run. `on_step` is told how long
    each step (from one wait to the next) kept the event loop, in seconds.
    """
    driven = _Driven(function, on_step)
    task = asyncio.create_task(driven.run())
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        if not task.done():
            task.add_done_callback(_retrieve)
            task.cancel()
            asyncio.get_running_loop().call_later(grace_s, _let_go, driven, task)
    if not task.done():
        return Outcome(late=task)
    if task.cancelled():
        return Outcome(error=asyncio.CancelledError())
    if (error := task.exception()) is not None:
        return Outcome(error=error)
    return Outcome(task.result())


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Nobody asks any more how it ended; asyncio is not to complain of that."""
    if not task.cancelled():
        task.exception()


def _let_go(driven: "_Driven[Any]", task: "asyncio.Task[Any]") -> None:
    driven.is_free = True
    task.cancel()


class _Driven(Generator[Any, Any, T]):
    """A coroutine, run step by step by the task that runs `run`.

    Once `is_free` a cancellation ends `run`, and the coroutine is left lying where it waits. Leaving the process
    (SystemExit, KeyboardInterrupt) becomes Unavailable: a task would pass it on to the loop.
    """

    def __init__(self, function: Callable[[], Coroutine[Any, Any, T]], on_step: Callable[[float], None]) -> None:
        self.is_free = False
        self._function, self._on_step = function, on_step
        self._coroutine: Coroutine[Any, Any, T] | None = None

    async def run(self) -> T:
        """What the coroutine returns or raises."""
        self._coroutine = self._function()
        return await self

    def __await__(self) -> Generator[Any, Any, T]:
        return self

    def send(self, value: Any) -> Any:
        """One step."""
        assert self._coroutine is not None
        return self._step(partial(self._coroutine.send, value))

    def throw(self, *raised: Any) -> Any:
        """One step that begins with an exception: a cancellation, or what the thing waited for raised."""
        assert self._coroutine is not None
        if self.is_free:
            # Never freed: Python would close it, and one that goes on at everything would then go on for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._coroutine))
            raise raised[0]
        return self._step(partial(self._coroutine.throw, *raised))

    def _step(self, step: Callable[[], Any]) -> Any:
        began_s = time.monotonic()
        try:
            return step()
        except (SystemExit, KeyboardInterrupt) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._on_step(time.monotonic() - began_s)


async def in_thread(work: Callable[[], T]) -> T:
    """The result of `work`, which must not raise, from a thread that keeps no process from ending.

    The executor's threads (`asyncio.to_thread`) would: at the end of the program they are waited for.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def finish(value: T) -> None:
        if not result.done():
            result.set_result(value)

    def run() -> None:
        value = work()
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(finish, value)

    threading.Thread(target=run, daemon=True).start()
    return await result
