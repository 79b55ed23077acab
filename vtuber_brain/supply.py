"""Keeps the sources running: one that fails comes back after a pause, one that is refused when the operator reloads.

It knows nothing of what they deliver.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.messages import Incoming
from vtuber_brain.plugin_api import Deliver, Source
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.runtime.watchdog import Busy

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0
STABLE_S = 60.0
"""A source that ran for so long starts anew after a short pause again."""

WELL_AFTER_S = 5.0
"""A source that runs again for so long without a word counts as well; one that delivers at once."""


class Supply:
    """Runs sources with `deliver`. `busy`: the deliveries under way, for the watchdog."""

    def __init__(self, deliver: Deliver, health: Health) -> None:
        self.busy = Busy()
        self._deliver, self._health = deliver, health
        self._again = asyncio.Event()

    def try_again(self) -> None:
        """Start those once more that were given up or are pausing: the operator may have mended what was wrong."""
        self._again.set()
        self._again = asyncio.Event()

    async def keep(self, source: Source) -> None:
        """Keep one source running until cancelled, and tell its health."""
        pauses = backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while True:
            started_s, is_given_up = now_s(), False
            try:
                async with self._noting(source.name) as deliver:
                    await source.run(deliver)
            except Unavailable as error:
                self._health.set(source.name, False, str(error))
            except Refused as error:
                is_given_up = True
                self._health.set(source.name, False, str(error))
                log.error("source_given_up", source=source.name, reason=str(error))
            if now_s() - started_s > STABLE_S:
                pauses = backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if is_given_up else next(pauses)):
                    await self._again.wait()

    @contextlib.asynccontextmanager
    async def _noting(self, name: str) -> AsyncIterator[Deliver]:
        """`deliver` for one run of a source that was down: what it delivers, or that it runs on, shows that it works.

        A source of our own tells its health itself, and is left to it.
        """
        was_down = name in self._health.down and "." in name

        def well() -> None:
            nonlocal was_down
            if was_down:
                was_down = False
                self._health.set(name, True)

        async def noted(incoming: Incoming) -> None:
            with self.busy.with_it():
                await self._deliver(incoming)
            well()

        timer = asyncio.get_running_loop().call_later(WELL_AFTER_S, well)
        try:
            yield noted
        finally:
            timer.cancel()
