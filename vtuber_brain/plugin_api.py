"""All that a plugin may import: the four hooks, as protocols, and the registry it hangs them on.

Our own sources, judges and sinks have the same shapes and come through the same registry.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from vtuber_brain.messages import (
    Author,
    ChatMessage,
    Cue,
    Dropped,
    Event,
    Incoming,
    Judged,
    Mood,
    Retraction,
    Turn,
    Utterance,
    Verdict,
)

API_VERSION = 1

Deliver = Callable[[Incoming], Awaitable[None]]
"""Hands one incoming thing to the brain; returns once it is stored and may be acknowledged to its sender."""


class Source(Protocol):
    """Where chat comes from."""

    name: str

    async def run(self, deliver: Deliver) -> None:
        """Deliver messages and retractions until cancelled. Raise `Unavailable` to be started again later."""


class Judge(Protocol):
    """A further opinion on a message; any judge that denies wins."""

    name: str

    async def judge(self, message: ChatMessage) -> Verdict:
        """The verdict on one message."""


class Recall(Protocol):
    """Something to remember for a reply."""

    name: str

    async def recall(self, message: ChatMessage) -> Sequence[str]:
        """Short facts, most important first, that belong in the prompt for this message."""


class Sink(Protocol):
    """Where events go: verdicts, drops, utterances, cues and finished turns, in the order in which they happened."""

    name: str

    async def emit(self, event: Event) -> None:
        """Take one event; must not wait for the network."""


class Registry(Protocol):
    """What `setup(registry, settings)` of a plugin is given."""

    def add_source(self, source: Source) -> None:
        """Chat that the daemon keeps running and answers."""

    def add_judge(self, judge: Judge) -> None:
        """An opinion on every message."""

    def add_recall(self, recall: Recall) -> None:
        """Facts for every prompt."""

    def add_sink(self, sink: Sink) -> None:
        """Somebody to tell every event."""


__all__ = [
    "API_VERSION",
    "Author",
    "ChatMessage",
    "Cue",
    "Deliver",
    "Dropped",
    "Event",
    "Incoming",
    "Judge",
    "Judged",
    "Mood",
    "Recall",
    "Registry",
    "Retraction",
    "Sink",
    "Source",
    "Turn",
    "Utterance",
    "Verdict",
]
