"""Messages that the filter would neither allow nor deny by itself: they wait for a human, and not for ever. Pure."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vtuber_brain.messages import ChatMessage, Retraction, Verdict

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """A message that waits for the operator, since `since_s` (monotonic), and what the filter says of it."""

    message: ChatMessage
    verdict: Verdict
    since_s: float


class Holds:
    """At most `capacity` messages, each for at most `patience_s`; when full the one held longest gives way."""

    def __init__(self, capacity: int, patience_s: float) -> None:
        self._capacity, self._patience_s = capacity, patience_s
        self._held: OrderedDict[Key, Held] = OrderedDict()

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def put(self, held: Held) -> list[ChatMessage]:
        """Hold one more; returns those that give way."""
        self._held[held.message.key] = held
        gone = []
        while len(self._held) > self._capacity:
            gone.append(self._held.popitem(last=False)[1].message)
        return gone

    def take(self, message_id: str, source: str | None = None) -> Held | None:
        """No longer hold the message of this id, the one held longest where several sources use it; None: not held."""
        for key in self._held:
            if key[1] == message_id and source in (None, key[0]):
                return self._held.pop(key)
        return None

    def retract(self, retraction: Retraction) -> list[ChatMessage]:
        """Let go of what was taken back; returns it."""
        return self._remove(held for held in self if retraction.covers(held.message))

    def expire(self, now_s: float) -> list[ChatMessage]:
        """Let go of what nobody has decided about in time; returns it."""
        return self._remove(held for held in self if now_s - held.since_s > self._patience_s)

    def clear(self) -> list[ChatMessage]:
        """Let go of everything; returns it."""
        return self._remove(self)

    def _remove(self, gone: Iterable[Held]) -> list[ChatMessage]:
        found = [held.message for held in gone]
        for message in found:
            del self._held[message.key]
        return found
