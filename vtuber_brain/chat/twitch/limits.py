"""How often we may write into a chat, and how long Twitch asks us to wait. Pure; the caller brings the clocks."""

import email.utils
from collections import deque
from collections.abc import Mapping

VIEWER_MESSAGES, MODERATOR_MESSAGES = 20, 100
WINDOW_S = 30.0


class Window:
    """Allows so many messages in any WINDOW_S seconds: what Twitch counts. Times are seconds of one monotonic clock.

    A bucket that refills would let twice as many pass in the first window, and Twitch then hears nothing for a while.
    """

    def __init__(self) -> None:
        self.moderator = False
        self._sent_s: deque[float] = deque(maxlen=MODERATOR_MESSAGES)

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next message may be sent; 0 means now."""
        limit = MODERATOR_MESSAGES if self.moderator else VIEWER_MESSAGES
        if len(self._sent_s) < limit:
            return 0.0
        return max(0.0, self._sent_s[-limit] + WINDOW_S - now_s)

    def note(self, now_s: float) -> None:
        """One is being sent."""
        self._sent_s.append(now_s)


def pause_of(headers: Mapping[str, str], now: float) -> float:
    """Seconds that Twitch wants to be left alone: Retry-After, or until Ratelimit-Reset (Unix time); 0: it says not."""
    for name, since in (("Retry-After", 0.0), ("Ratelimit-Reset", now)):
        try:
            return max(0.0, float(headers[name]) - since)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, email.utils.parsedate_to_datetime(headers["Retry-After"]).timestamp() - now)
    except (KeyError, ValueError):
        return 0.0
