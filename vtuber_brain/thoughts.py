"""One reply in the making, to a message or on her own: what is known of it so far, and how it can be stopped."""

import asyncio
import uuid
from dataclasses import dataclass, field

from vtuber_brain.context.memory import Recalled
from vtuber_brain.messages import ChatMessage, Outcome, Verdict
from vtuber_brain.roles import Role


def new_reply_id() -> str:
    """Twelve hexadecimal digits that nobody has had before."""
    return uuid.uuid4().hex[:12]


class Stopped(Exception):
    """A reply ends before the model is done: with this outcome, for this reason."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome, self.reason = outcome, reason


class Withheld(Stopped):
    """The output gate kept a sentence back."""


OUTDATED = "outdated"
"""Why a reply is ended whose prompt holds words that were taken back since."""


class Outdated(Exception):
    """A reply of which nothing was said yet ends as outdated: it may be begun again, with another prompt."""


@dataclass(slots=True)
class Thought:
    """One reply on its way: the task that works on it, what was said so far, and why it was stopped, if it was.

    It is made in the `role` that was on stage when it began, whoever is on stage by now. Either `message` is answered,
    or `musing` has her speak on her own. `since_s`: from when its age counts (monotonic, seconds). `standing_in`: what
    is said now is a safe line of the persona's instead of a sentence that was refused.
    """

    message: ChatMessage | None
    role: Role
    since_s: float
    musing: str | None = None
    task: asyncio.Task[None] | None = None
    verdict: Verdict | None = None
    reply_id: str = field(default_factory=new_reply_id)
    facts: tuple[str, ...] = ()
    recalled: Recalled | None = None
    prompted_at: float | None = None
    said: list[str] = field(default_factory=list)
    ending: Stopped | None = None
    over: bool = False
    making_way: bool = False
    out_of_tokens: bool = False
    last_sentence: str = ""
    standing_in: bool = False
    timings_ms: dict[str, float] = field(default_factory=dict)

    def stop(self, outcome: Outcome, reason: str) -> None:
        """End it at the next moment it waits for anything; without effect once it is over.

        Of several reasons the first counts, but being retracted outweighs every other, and every other being outdated.
        """
        if self.over or self.task is None:
            return
        if self.ending is None:
            self.task.cancel()
        elif outcome != "retracted" and self.ending.reason != OUTDATED:
            return
        self.ending = Stopped(outcome, reason)
