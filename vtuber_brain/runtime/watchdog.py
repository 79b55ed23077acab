"""Whether the parts of the daemon get on, and the word to systemd that they do (`WatchdogSec=`).

A part that cannot get on any more, with nobody left to notice, is a reason to be killed and started anew. What has
failed, is said and is tried again is none: a broker that is away, an engine that is being started.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from vtuber_brain.runtime import notify
from vtuber_brain.runtime.clock import steady_unix_s

log = structlog.get_logger(__name__)

JUMP_S = 5.0
UNASKED_S = 10.0
"""The pause where systemd does not wait for any sign of life."""


@dataclass(slots=True)
class _Part:
    stuck_s: Callable[[], float]
    allowed_s: float


class Progress:
    """The parts by name: for how long each has had something to do and got nowhere, and how long it may.

    `stuck_s` of a part tells that in seconds, 0 while it waits for work; it must return at once.
    """

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def watch(self, name: str, stuck_s: Callable[[], float], allowed_s: float) -> None:
        """Expect of `name` that it is never stuck for more than `allowed_s`."""
        self._parts[name] = _Part(stuck_s, allowed_s)

    @property
    def stuck(self) -> dict[str, float]:
        """Who has been stuck for too long, and for how many seconds."""
        found = {name: part.stuck_s() for name, part in self._parts.items()}
        return {name: stuck_s for name, stuck_s in found.items() if stuck_s > self._parts[name].allowed_s}


class Busy:
    """What one part has under way at present, of which the oldest counts. `with busy:` around each piece of work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[int, float] = {}
        self._num = 0

    def begin(self) -> int:
        """A piece of work begins; its number is for `end`."""
        self._num += 1
        self._since[self._num] = self._clock()
        return self._num

    def end(self, number: int) -> None:
        """A piece of work is over, however it ended."""
        del self._since[number]

    @contextlib.contextmanager
    def with_it(self) -> Iterator[None]:
        """The block is one piece of work."""
        number = self.begin()
        try:
            yield
        finally:
            self.end(number)

    def stuck_s(self) -> float:
        """The age of the oldest piece of work in seconds, 0 of none."""
        return self._clock() - next(iter(self._since.values())) if self._since else 0.0


def interval_s() -> float | None:
    """The pause between two signs of life, half of what systemd allows; None where it does not wait for any.

    sd_watchdog_enabled(3): WATCHDOG_USEC in microseconds, for the process WATCHDOG_PID alone where that is given.
    """
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not (usec.isascii() and usec.isdigit() and int(usec)) or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000


async def feed(progress: Progress) -> None:
    """Say that the daemon lives while nobody is stuck, and what the wall clock does; until cancelled."""
    every_s, told, ahead_s = interval_s() or UNASKED_S, frozenset[str](), _ahead_s()
    while True:
        stuck = progress.stuck
        if not stuck:
            notify.watchdog()
        elif frozenset(stuck) != told:
            log.error("watchdog_withheld", stuck={name: round(stuck_s, 1) for name, stuck_s in stuck.items()})
        told = frozenset(stuck)
        await asyncio.sleep(every_s)
        before_s, ahead_s = ahead_s, _ahead_s()
        if abs(ahead_s - before_s) > JUMP_S:
            log.warning("clock_jumped", by_s=round(ahead_s - before_s, 1))


def _ahead_s() -> float:
    """How far the machine's wall clock is from ours, which never jumps."""
    return time.time() - steady_unix_s()
