"""Cheers and redemptions that come twice: in chat, and to the broadcaster's account. Pure; the caller brings the clock.

The one in chat counts, for it can be replied to and be taken back. So the other is held for a moment, and is let go
only when chat brings none: a redemption without words, or a cheer that was not let into chat.
"""

from collections import deque
from collections.abc import Hashable

from vtuber_brain.messages import ChatMessage, Retraction

HOLD_S = 2.0
REMEMBER_S = 30.0
MAX_KEPT = 1024


class Twins:
    """Bounded on both sides; the oldest is forgotten, or let go, first."""

    def __init__(self) -> None:
        self._in_chat: deque[tuple[Hashable, float]] = deque(maxlen=MAX_KEPT)
        self._held: deque[tuple[ChatMessage, float]] = deque()

    def see(self, message: ChatMessage, now_s: float) -> None:
        """A cheer or redemption stands in chat: the one that was held for it is dropped."""
        key = _key(message)
        for pair in self._held:
            if _key(pair[0]) == key:
                self._held.remove(pair)
                return
        self._in_chat.append((key, now_s))

    def hold(self, message: ChatMessage, now_s: float) -> None:
        """The broadcaster's account was told: hold it, unless chat had it already."""
        key = _key(message)
        for pair in self._in_chat:
            if pair[0] == key and now_s - pair[1] < REMEMBER_S:
                self._in_chat.remove(pair)
                return
        self._held.append((message, now_s))

    def retract(self, retraction: Retraction) -> None:
        """What was taken back is not let go."""
        self._held = deque(pair for pair in self._held if not retraction.covers(pair[0]))

    def next_s(self) -> float | None:
        """When the next one is let go, if one is held."""
        return self._held[0][1] + HOLD_S if self._held else None

    def due(self, now_s: float) -> list[ChatMessage]:
        """Those that chat did not bring, oldest first."""
        free = []
        while self._held and (self._held[0][1] + HOLD_S <= now_s or len(self._held) > MAX_KEPT):
            free.append(self._held.popleft()[0])
        return free


def _key(message: ChatMessage) -> Hashable:
    # Chat does not say what a reward costs, and the broadcaster's cheer keeps its cheermotes in the text.
    return message.kind, message.author.id, message.amount if message.kind == "cheer" else message.text
