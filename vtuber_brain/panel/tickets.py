"""Tickets into the panel that are good once and not for long: for a browser that is started by command line, which
others on this machine can read. Pure.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable

GOOD_FOR_S = 120.0
MAX_TICKETS = 16


class Tickets:
    """Those issued and not used yet; the oldest gives way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def issue(self) -> str:
        """A new one."""
        ticket = f"once-{secrets.token_urlsafe(24)}"
        self._until_s[ticket] = self._clock() + GOOD_FOR_S
        if len(self._until_s) > MAX_TICKETS:
            self._until_s.popitem(last=False)
        return ticket

    def take(self, ticket: str) -> bool:
        """Whether it is good; it is not any more then."""
        until_s = self._until_s.pop(ticket, None)
        return until_s is not None and self._clock() <= until_s
