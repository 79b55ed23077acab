"""The things kept in OBS as they should be, a slot for each: one request on its way, and the newest wish after it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from .link import Answer, Link, Lost
from .protocol import Handling, RequestFailed

log = structlog.get_logger(__name__)

LATER_S, TELL_S = 0.5, 2.0
_NOTHING = object()


@dataclass(slots=True)
class Slot:
    """`wish` is the value wanted now, None for no wish; `request` makes the request's type and data of it.

    One that `keeps` is content once OBS took the value; another's wish says so itself. One that `insists` never leaves
    a failure at that. `on_done` is told of the value that OBS took, and of what it answered.
    """

    name: str
    wish: Callable[[], Any]
    request: Callable[[Any], tuple[str, Mapping[str, Any]]]
    trouble: Callable[[str, str], None]
    on_asking: Callable[[Any], None] = lambda _: None
    on_done: Callable[[Any, Mapping[str, Any]], None] = lambda *_: None
    keeps: bool = True
    insists: bool = False
    _answer: Answer | None = None
    _asked: Any = _NOTHING
    _done: Any = _NOTHING
    _asked_at_s: float = 0.0
    _not_before_s: float = 0.0
    _logged: int | None = None

    def forget(self) -> None:
        """OBS is another, or has other sources: nothing is done yet, and nothing wrong."""
        self._answer, self._done, self._not_before_s, self._logged = None, _NOTHING, 0.0, None
        self.trouble(self.name, "")

    async def step(self, link: Link, now_s: float, timeout_s: float, wake: Callable[[Any], None]) -> None:
        """Look at the answer that came, then send the next wish. Raises Lost and Refused."""
        if self._answer is not None and not self._weighed(self._answer, now_s, timeout_s):
            return
        if now_s < self._not_before_s:
            return
        value = self.wish()
        if value is None or (self.keeps and value == self._done):
            return
        self.on_asking(value)
        self._answer = await link.post(*self.request(value))
        self._answer.add_done_callback(wake)
        self._asked, self._asked_at_s = value, now_s

    def due_s(self, now_s: float) -> float | None:
        """When it is to be stepped again by itself, if it has to be."""
        return self._not_before_s if self._not_before_s > now_s else None

    def _weighed(self, answer: Answer, now_s: float, timeout_s: float) -> bool:
        if not answer.done():
            if now_s - self._asked_at_s > timeout_s:
                raise Lost("no answer in time")
            return False
        self._answer = None
        error = answer.exception()
        if error is None:
            self._done = self._asked
            self.trouble(self.name, "")
            self.on_done(self._asked, answer.result())
        elif isinstance(error, RequestFailed):
            self._take(error, now_s)
        else:
            raise error
        return True

    def _take(self, error: RequestFailed, now_s: float) -> None:
        handling = error.known.handling
        if handling is Handling.LATER:
            self._not_before_s = now_s + LATER_S
        elif handling is Handling.TELL or self.insists:
            self._not_before_s = now_s + TELL_S
            self.trouble(self.name, f"{self.name}: {error}")
        else:
            self._done = self._asked
            if handling is Handling.LEAVE and self._logged != error.code:
                self._logged = error.code
                log.warning("obs_studio_left_out", what=self.name, code=error.code, reason=error.known.meaning)
