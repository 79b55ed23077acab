"""Where messages come in: past the rules, into the inbox, and before a human's eyes where the filter is in doubt."""

from collections.abc import Sequence
from dataclasses import replace

from vtuber_brain.chat.inbox import Inbox, Recent
from vtuber_brain.holds import Held, Holds
from vtuber_brain.messages import ChatMessage, Drop, Judged, Retraction, Verdict
from vtuber_brain.publisher import Publisher
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.judge import Judge

MAX_APPROVED = 256


class Door:
    """Admits, holds and lets go. Whatever ends here is published with its reason."""

    def __init__(self, settings: SentimentSettings, inbox: Inbox, judge: Judge, publisher: Publisher) -> None:
        self._inbox, self._judge, self._publisher = inbox, judge, publisher
        self._holds = Holds(settings.max_held, settings.hold_s)
        self._approved = Recent(MAX_APPROVED)

    def take_in(self, message: ChatMessage) -> None:
        """Into the inbox; what the rules deny is told so at once, and crowds out nobody who waits."""
        if self._inbox.admit(message) is not None:
            return
        verdict = self._judge.at_door(message)
        if verdict.action == "allow":
            self._inbox.put(message)
            return
        self._publisher.later(Judged(message, verdict))
        if verdict.action == "hold":
            self.hold(message, verdict)

    async def judge(self, message: ChatMessage) -> Verdict:
        """The verdict on a message that is to be answered; what the operator has let pass, passes."""
        approved = message.key in self._approved
        return await (self._judge.approved(message) if approved else self._judge.message(message))

    def hold(self, message: ChatMessage, verdict: Verdict) -> None:
        """Keep a message for a human to decide about; the one kept longest may have to give way."""
        self._release(self._holds.expire(now_s()))
        self._release(self._holds.put(Held(message, verdict, now_s())))

    def held(self) -> list[Held]:
        """What waits for a decision, the longest first."""
        self._release(self._holds.expire(now_s()))
        return list(self._holds)

    def allow(self, message_id: str, source: str | None = None) -> bool:
        """Let a held message be answered as if it had just come; False when none of this id is held."""
        if (held := self._holds.take(message_id, source)) is None:
            return False
        self._approved.add(held.message.key)
        self._inbox.put(replace(held.message, received_s=now_s()), approved=True)
        return True

    async def deny(self, message_id: str, source: str | None = None) -> bool:
        """Deny a held message; False when none of this id is held."""
        if (held := self._holds.take(message_id, source)) is None:
            return False
        reasons = (*held.verdict.reasons, "operator")
        await self._publisher.publish(Judged(held.message, replace(held.verdict, action="deny", reasons=reasons)))
        return True

    def retract(self, retraction: Retraction) -> None:
        """Let go of what was taken back, and refuse it should it come later."""
        self._inbox.retract(retraction)
        reason = Drop.BANNED if retraction.scope == "author" else Drop.RETRACTED
        self._release(self._holds.retract(retraction), reason)

    def drain(self, reason: Drop) -> None:
        """Let go of everything."""
        self._inbox.drain(reason)
        self._release(self._holds.clear(), reason)

    def _release(self, messages: Sequence[ChatMessage], reason: Drop = Drop.HELD) -> None:
        for message in messages:
            self._publisher.drop(message, reason)
