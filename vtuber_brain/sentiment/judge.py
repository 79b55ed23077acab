"""The filter's last word on a text: the rules, then the classifier, then whoever else was asked; any of them may deny.

A viewer's message is let through when the classifier is down (the rules alone decide); a sentence of our own is not.
Nothing here raises, and nothing here waits longer than `sentiment.timeout_s`.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from vtuber_brain import plugin_api
from vtuber_brain.errors import JudgeDown
from vtuber_brain.messages import ChatMessage, Mood, Verdict
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.rules import RuleSet, apply, apply_spoken, clean

log = structlog.get_logger(__name__)

Ask = Callable[[str], Awaitable[Mood]]
"""The classifier: the mood of one text. Raises JudgeDown when it cannot say."""

T = TypeVar("T")

UNAVAILABLE = "judge_unavailable"


class Judge:
    """Judges messages and our own sentences. `ask` None: the classifier is off, the rules alone decide for both."""

    def __init__(
        self,
        settings: SentimentSettings,
        rules: RuleSet,
        ask: Ask | None,
        metrics: Metrics,
        others: Sequence[plugin_api.Judge] = (),
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._ask = ask
        self._metrics = metrics
        self._others = tuple(others)

    def use(self, settings: SentimentSettings, rules: RuleSet) -> None:
        """Judge by these thresholds and lists from now on."""
        self._settings, self._rules = settings, rules

    def by_rules(self, message: ChatMessage) -> Verdict:
        """What the rules alone say of a message, at once. A money event may be without words."""
        verdict = decide(message.text, None, self._rules, self._settings.toxic_threshold)
        if verdict.reasons == ("empty",) and message.is_money:
            verdict = dataclasses.replace(verdict, action="allow", reasons=())
        return verdict

    async def message(self, message: ChatMessage) -> Verdict:
        """The verdict on what a viewer sent; its text is the cleaned one."""
        verdict = self.by_rules(message)
        if verdict.action == "deny":
            return verdict
        mood, denials = await asyncio.gather(self._mood(verdict.text), self._denials(message))
        verdict = _with_mood(verdict, mood, self._settings.toxic_threshold)
        return _denied(verdict, denials) if denials else verdict

    async def sentence(self, text: str, blocked_topics: Sequence[str]) -> Verdict:
        """Whether a sentence of ours may be spoken; its text is kept as it is. No answer in time is a denial."""
        cleaned = clean(text)
        reasons = apply_spoken(cleaned, self._rules, tuple(blocked_topics))
        if reasons:
            return Verdict("deny", tuple(reasons), text)
        verdict = Verdict("allow", (), text)
        if self._ask is None:
            return verdict
        mood = await self._mood(cleaned)
        if mood is None:
            return _denied(verdict, [UNAVAILABLE])
        return _with_mood(verdict, mood, self._settings.speak_threshold)

    async def _mood(self, cleaned: str) -> Mood | None:
        if self._ask is None or not cleaned:
            return None
        ask = self._ask
        return await self._answer("classifier", lambda: ask(cleaned))

    async def _denials(self, message: ChatMessage) -> list[str]:
        """The reasons of every other judge that denies; one that is late or fails has no say."""
        opinions = await asyncio.gather(*(self._opinion(other, message) for other in self._others))
        return [reason for reasons in opinions for reason in reasons]

    async def _opinion(self, other: plugin_api.Judge, message: ChatMessage) -> tuple[str, ...]:
        verdict = await self._answer(f"judge:{other.name}", lambda: other.judge(message))
        if not isinstance(verdict, Verdict) or verdict.action == "allow":
            return ()
        return verdict.reasons or (other.name,)

    async def _answer(self, who: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None when it is late or fails, whatever the failure: a judge must not end a message."""

        async def in_time() -> T:
            return await asyncio.wait_for(ask(), self._settings.timeout_s)

        (outcome,) = await asyncio.gather(in_time(), return_exceptions=True)
        if not isinstance(outcome, BaseException):
            return outcome
        self._metrics.errors.labels(where=who).inc()
        if not isinstance(outcome, (JudgeDown, TimeoutError)):
            log.warning("judge_failed", who=who, error=type(outcome).__name__)
        return None


def decide(text: str, mood: Mood | None, rules: RuleSet, threshold: float) -> Verdict:
    """The verdict on a raw chat text, by the rules and, where there is a mood, its toxicity against `threshold`."""
    cleaned = clean(text, rules.max_chars + 1)
    reasons = tuple(apply(cleaned, rules))
    verdict = Verdict("deny" if reasons else "allow", reasons, cleaned)
    return _with_mood(verdict, mood, threshold)


def _with_mood(verdict: Verdict, mood: Mood | None, threshold: float) -> Verdict:
    verdict = dataclasses.replace(verdict, mood=mood)
    if mood is None or mood.toxicity is None or mood.toxicity < threshold:
        return verdict
    return _denied(verdict, ["toxic"])


def _denied(verdict: Verdict, reasons: Sequence[str]) -> Verdict:
    return dataclasses.replace(verdict, action="deny", reasons=tuple(dict.fromkeys([*verdict.reasons, *reasons])))
