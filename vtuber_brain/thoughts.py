"""One message while it is being answered: what is known of the reply so far, and how it can be stopped."""

import asyncio
import uuid
from dataclasses import dataclass, field

from vtuber_brain.messages import ChatMessage, Outcome, Verdict
from vtuber_brain.roles import Role


class Stopped(Exception):
    """A reply ends before the model is done: with this outcome, for this reason."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome, self.reason = outcome, reason


@dataclass(slots=True)
class Thought:
    """One message on its way: the task that works on it, what was said so far, and why it was stopped, if it was.

    It is answered in the `role` that was on stage when it began, whoever is on stage by now.
    """

    message: ChatMessage
    role: Role
    task: asyncio.Task[None] | None = None
    verdict: Verdict | None = None
    reply_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    said: list[str] = field(default_factory=list)
    ending: Stopped | None = None
    over: bool = False
    making_way: bool = False
    out_of_tokens: bool = False
    timings_ms: dict[str, float] = field(default_factory=dict)

    def stop(self, outcome: Outcome, reason: str) -> None:
        """End it at the next moment it waits for anything; without effect once it is over."""
        if self.ending is None and not self.over and self.task is not None:
            self.ending = Stopped(outcome, reason)
            self.task.cancel()
