"""What she says while there is no engine: now and then a line of the persona's, so the room knows she is there.

It only chooses and paces; that the line passes the gate and waits for the floor is the mouth's business.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable

from vtuber_brain.context.personas import Persona
from vtuber_brain.engine.api import Engine
from vtuber_brain.errors import EngineDown

PATIENCE_S = 3.0
"""How long an engine that is not there is waited for before a line is said instead of an answer."""


class LineInstead(EngineDown):
    """There is no engine, and it is time for `line`."""

    def __init__(self, line: str) -> None:
        super().__init__("there is no engine at present")
        self.line = line


class Canned:
    """At most one line in `every_s` seconds of `clock`, one after the other; 0: none ever."""

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        self._every_s, self._clock = every_s, clock
        self._said_s = -math.inf
        self._numbers = itertools.count()

    def take(self, persona: Persona) -> str | None:
        """The next line, which counts as said; None when it is not time for one, or there is none."""
        if not (persona.canned and self._every_s) or self._clock() - self._said_s < self._every_s:
            return None
        self._said_s = self._clock()
        return persona.canned[next(self._numbers) % len(persona.canned)]

    async def until_ready(self, engine: Engine, persona: Persona) -> None:
        """Wait for the engine; for one that is not there PATIENCE_S at most, if it is time. Raises LineInstead."""
        if engine.state != "slow":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await engine.wait_ready()
                    return
        if (line := self.take(persona)) is not None:
            raise LineInstead(line)
        await engine.wait_ready()
