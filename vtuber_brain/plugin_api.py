"""All that a plugin may import: the four hooks, as protocols, and the registry it hangs them on.

Our own sources, judges and sinks have the same shapes. docs/plugins.md tells what a plugin may rely on, hook by hook.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Protocol, get_args

from vtuber_brain import messages
from vtuber_brain.errors import Refused, Unavailable, WireError
from vtuber_brain.messages import (
    Author,
    ChatMessage,
    Cue,
    Dropped,
    Incoming,
    Judged,
    Kind,
    Mood,
    Playback,
    Retraction,
    Scope,
    Status,
    Turn,
    Utterance,
    Verdict,
)

API_VERSION = 1

Event = messages.Event | messages.Notice
"""All that a sink is told of."""

Deliver = Callable[[Incoming], Awaitable[None]]
"""Hands one incoming thing to the brain; returns once it is stored and may be acknowledged to its sender."""


class Source(Protocol):
    """Where chat comes from."""

    name: str

    async def run(self, deliver: Deliver) -> None:
        """Deliver messages and retractions until cancelled.

        Raise `Unavailable` to be started again later, `Refused` to be given up.
        """


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
    """Where events go, in the order in which they happened: verdicts, drops, utterances, cues, finished turns, what
    the player says of each sentence, and how she is whenever that changes.
    """

    name: str

    async def emit(self, event: Event) -> None:
        """Take one event; must not wait for the network."""


class Registry(Protocol):
    """What `setup(registry, settings)` of a plugin is given."""

    @property
    def state_dir(self) -> Path:
        """A folder of this plugin's own, for what it must not forget. It exists. Raises OSError when it cannot."""

    def set_health(self, up: bool, reason: str = "") -> None:
        """Say whether the plugin can do its work at present, at any time: health shows it, with the reason.

        For one that keeps a connection of its own; `reason` is for the operator and quotes nobody.
        """

    def add_source(self, source: Source) -> None:
        """Chat that the daemon keeps running and answers."""

    def add_judge(self, judge: Judge) -> None:
        """An opinion on every message."""

    def add_recall(self, recall: Recall) -> None:
        """Facts for every prompt."""

    def add_sink(self, sink: Sink) -> None:
        """Somebody to tell every event."""


_CODE = re.compile(r"[a-z0-9_]{1,64}")
_LARGEST = 2**53
_KINDS, _SCOPES = frozenset(get_args(Kind)), frozenset(get_args(Scope))


def checked_incoming(incoming: object) -> Incoming:
    """What a source delivered, if the rest of the daemon can rely on it. Raises WireError else."""
    match incoming:
        case ChatMessage(source=str(), id=str(), text=str(), author=Author(id=str(), name=str(), roles=tuple())):
            roles, numbers = incoming.author.roles, (incoming.at, incoming.received_s, incoming.amount)
            if _all_str(roles) and all(map(_is_number, numbers)) and incoming.kind in _KINDS:
                return incoming
        case Retraction(source=str(), scope=scope, target_id=target) if scope in _SCOPES:
            times = (incoming.at,) if incoming.until is None else (incoming.at, incoming.until)
            if isinstance(target, str if scope != "all" else NoneType) and all(map(_is_number, times)):
                return incoming
    raise WireError(f"a source delivered a {type(incoming).__name__} with a field that is not what it should be")


def checked_verdict(verdict: object) -> Verdict:
    """What a judge said, if it is a verdict whose reasons are codes. Raises WireError else."""
    match verdict:
        case Verdict(action="allow" | "deny", reasons=tuple(), text=str()):
            # They are labels of a metric, and shown to viewers.
            if _all_str(verdict.reasons) and all(map(_CODE.fullmatch, verdict.reasons)):
                return verdict
    raise WireError("a judge returned no Verdict, or one whose reasons are not short codes like too_loud")


def checked_facts(facts: object) -> tuple[str, ...]:
    """What a recall gave, if it is a sequence of texts. Raises WireError else."""
    if isinstance(facts, str) or not isinstance(facts, Sequence) or not _all_str(facts):
        raise WireError("a recall returned something else than a sequence of str")
    return tuple(facts)


def _all_str(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST  # NaN is neither


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
    "Kind",
    "Mood",
    "Playback",
    "Recall",
    "Refused",
    "Registry",
    "Retraction",
    "Scope",
    "Sink",
    "Source",
    "Status",
    "Turn",
    "Unavailable",
    "Utterance",
    "Verdict",
    "checked_facts",
    "checked_incoming",
    "checked_verdict",
]
