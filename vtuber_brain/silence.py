"""How long nobody has written and nothing was said, and when she may break the silence. It says nothing itself."""

import asyncio
from collections.abc import Callable


class Silence:
    """Broken after `idle_s` of it, at most `times` in a row: to an empty room she does not talk for ever."""

    def __init__(self, idle_s: float, times: int, clock: Callable[[], float]) -> None:
        self._idle_s, self._times, self._clock = idle_s, times, clock
        self._since_s = clock()
        self._num_broken = 0
        self._heard = asyncio.Event()

    def heard(self) -> None:
        """Somebody has written."""
        self._since_s, self._num_broken = self._clock(), 0
        self._heard.set()

    def spoke(self) -> None:
        """She has said something, or was about to."""
        self._since_s = self._clock()

    def broken(self) -> None:
        """She breaks it, on her own."""
        self._num_broken += 1

    async def over(self) -> None:
        """Return when it is time to break it; with each return it begins anew, whether she does or not."""
        while True:
            if self._num_broken >= self._times:
                self._heard.clear()
                await self._heard.wait()
            left_s = self._since_s + self._idle_s - self._clock()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        self.spoke()
