"""A circuit breaker: what keeps failing is left alone for a while, then tried once. Pure: it only counts and looks at
a clock; who makes the calls, and what a failure is, is the caller's business.
"""

from collections.abc import Callable
from typing import Literal

from vtuber_brain.runtime.clock import now_s

State = Literal["closed", "open", "half_open"]


class Breaker:
    """`closed`: calls go through. `open` after `max_failures` in a row, for `rest_s`: none does. Then `half_open`: one
    does, and how it ends closes or opens it again.
    """

    def __init__(self, max_failures: int, rest_s: float, clock: Callable[[], float] = now_s) -> None:
        self.num_failures = 0
        self._max_failures, self._rest_s, self._clock = max_failures, rest_s, clock
        self._open_until_s: float | None = None
        self._is_tried = False

    @property
    def state(self) -> State:
        """How it stands at this moment."""
        if self._open_until_s is None:
            return "closed"
        return "open" if self._clock() < self._open_until_s else "half_open"

    def admit(self) -> bool:
        """Whether a call may be made now. Who is told so says afterwards how it ended."""
        if self.state == "half_open" and not self._is_tried:
            self._is_tried = True
            return True
        return self.state == "closed"

    def succeeded(self) -> bool:
        """A call ended well; whether that closed it."""
        was_open = self._open_until_s is not None
        self.num_failures, self._open_until_s, self._is_tried = 0, None, False
        return was_open

    def failed(self) -> bool:
        """A call failed; whether that opened it, having been closed."""
        was_closed = self._open_until_s is None
        self.num_failures += 1
        self._is_tried = False
        if self.num_failures >= self._max_failures:
            self._open_until_s = self._clock() + self._rest_s
        return was_closed and self._open_until_s is not None

    def given_up(self) -> None:
        """A call was stopped before it could tell anything: the next may be the one that is tried."""
        self._is_tried = False
