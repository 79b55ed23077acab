"""The output gate: which of her sentences may be heard. It fails closed, and after refusals in a row she pauses.

What a sentence is judged by is the judge's business (sentiment/judge.py); here is what follows from it.
"""

from collections.abc import Callable

from vtuber_brain.messages import Mood
from vtuber_brain.roles import Role
from vtuber_brain.runtime.breaker import Breaker
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SpeechSettings
from vtuber_brain.sentiment.judge import UNAVAILABLE, Judge, Setting
from vtuber_brain.thoughts import Thought, Withheld

OnPause = Callable[[bool, str], None]
"""Hears when she pauses (False, and why) and when a sentence has passed again (True)."""


class Gate:
    """Screens the sentences of every reply. `paused` while, after too many refusals in a row, nothing is begun."""

    def __init__(self, judge: Judge, settings: SpeechSettings, metrics: Metrics, on_pause: OnPause) -> None:
        self._judge, self._metrics, self._on_pause = judge, metrics, on_pause
        self._breaker = Breaker(settings.max_refusals, settings.refusal_pause_s, now_s)
        self._told = f"{settings.max_refusals} refused sentences in a row: pausing for {settings.refusal_pause_s:.0f} s"

    @property
    def paused(self) -> bool:
        """Whether she keeps silent for a while."""
        return self._breaker.state == "open"

    def resume(self) -> None:
        """End the pause: the operator has seen to it."""
        if self._breaker.succeeded():
            self._on_pause(True, "")

    async def screen(self, thought: Thought, text: str) -> Mood | None:
        """The sentence's mood, or Withheld for one that must not be heard; the reply ends with it."""
        setting = Setting(thought.role.persona.blocked_topics, thought.last_sentence, *_heard(thought))
        verdict = await self._judge.sentence(text, setting)
        if verdict.action == "allow":
            if not thought.standing_in:
                self.resume()
            return verdict.mood
        for reason in verdict.reasons:
            self._metrics.unspoken.labels(reason).inc()
        # A judge that does not answer says nothing of her words; that it is down the health tells already.
        of_her_words = UNAVAILABLE not in verdict.reasons and not thought.standing_in
        if of_her_words and self._breaker.failed():
            self._on_pause(False, self._told)
        raise Withheld("cut" if thought.said else "refused", verdict.reasons[0])

    async def allows(self, text: str, role: Role) -> tuple[tuple[str, ...], Mood | None]:
        """Why the operator's words may not be spoken, none if they may, and their mood."""
        verdict = await self._judge.sentence(text, Setting(role.persona.blocked_topics))
        return (verdict.reasons if verdict.action == "deny" else ()), verdict.mood


def _heard(thought: Thought) -> tuple[str, float | None]:
    """What the viewer wrote, and how toxic that is known to be."""
    if thought.message is None or thought.verdict is None:
        return "", None
    mood = thought.verdict.mood
    return thought.verdict.text, mood.toxicity if mood is not None else None
