"""What plays: the contract between the voice and its one output. Nothing here sounds."""

from typing import Protocol

from vtuber_brain.bus.topics import CuePayload, Status, UtterancePayload
from vtuber_brain.voice.queue import Key, Played
from vtuber_brain.voice.sound import Clip


class Told(Protocol):
    """Whom an output tells what it does; safe to call from the loop only."""

    def played(self, key: Key, state: Played, at: float) -> None:
        """Of one sentence; `at` in Unix seconds."""

    def lost(self, why: str, keep: frozenset[Key] = frozenset()) -> None:
        """Whoever played is gone; what it had been given, but for `keep`, nobody plays any more."""


class Output(Protocol):
    """One way to be heard. Sentences are played in the order in which they are given, each after the one before."""

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to play to."""

    async def run(self, told: Told) -> None:
        """Work until cancelled. Raises Refused when it never will."""

    def give(self, sentence: UtterancePayload, sound: Clip) -> None:
        """Play it when its turn comes."""

    def skip(self, reply_id: str, *, is_retracted: bool = False) -> None:
        """Be silent about this reply at once, and have nothing more of it; of one taken back, nothing at all."""

    def stop(self) -> None:
        """Be silent at once, and drop all that was given."""

    def cue(self, shown: CuePayload) -> None:
        """Show an expression or motion now, where there is a face."""

    def status(self, how: Status) -> None:
        """The brain's state has changed, or who is on stage."""
