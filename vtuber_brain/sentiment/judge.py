"""The filter's last word on a text: the rules, then the classifier, then whoever else was asked; any of them may deny.

A viewer's message is let through when the classifier is down (the rules alone decide); a sentence of our own is not.
Nothing here raises, and nothing here waits longer than `sentiment.timeout_s`.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from vtuber_brain import plugin_api
from vtuber_brain.errors import JudgeDown
from vtuber_brain.messages import ChatMessage, Mood, Verdict
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import Filter, SentimentSettings
from vtuber_brain.sentiment.normal import clean
from vtuber_brain.sentiment.recent import Recently
from vtuber_brain.sentiment.rules import RuleSet, apply, apply_spoken
from vtuber_brain.sentiment.together import echoes, split_over, together

log = structlog.get_logger(__name__)

Ask = Callable[[str], Awaitable[Mood]]
"""The classifier: the mood of one text. Raises JudgeDown when it cannot say."""

T = TypeVar("T")

UNAVAILABLE = "judge_unavailable"
ECHO_TOXICITY = 0.2
"""Words of a viewer's that are at least so toxic are not said back to them; harmless ones may be."""
SURE_MOOD = 0.6


@dataclass(frozen=True, slots=True)
class Setting:
    """What one of our sentences stands in: the persona's topics, what she said just before it, and what it answers.

    `heard_toxicity` None: unknown, and then nothing of it is said back.
    """

    blocked_topics: tuple[str, ...] = ()
    previous: str = ""
    heard: str = ""
    heard_toxicity: float | None = None


class Judge:
    """Judges messages and our own sentences. `ask` None: the classifier is off, the rules alone decide for both."""

    def __init__(
        self,
        settings: SentimentSettings,
        rules: RuleSet,
        ask: Ask | None,
        metrics: Metrics,
        others: Sequence[plugin_api.Judge] = (),
        policy: Filter | None = None,
    ) -> None:
        self._settings, self._rules, self._policy = settings, rules, policy or Filter()
        self._ask, self._metrics, self._others = ask, metrics, tuple(others)
        self._recently = Recently()

    def use(self, settings: SentimentSettings, rules: RuleSet, policy: Filter) -> None:
        """Judge by these thresholds, lists and ways of the persona from now on."""
        self._settings, self._rules, self._policy = settings, rules, policy

    def at_door(self, message: ChatMessage) -> Verdict:
        """What the rules alone say of a message that has just come, together with what its author wrote before it."""
        verdict = self.by_rules(message)
        previous = self._recently.note(message, verdict.text)
        split = split_over(previous, verdict.text, self._rules) if previous and verdict.action == "allow" else []
        return self._objecting(verdict, split)

    def by_rules(self, message: ChatMessage) -> Verdict:
        """What the rules alone say of a message, at once. A money event may be without words."""
        verdict = decide(message.text, self._rules)
        if verdict.reasons == ("empty",) and message.is_money:
            return dataclasses.replace(verdict, action="allow", reasons=())
        return self._objecting(verdict, ())

    async def message(self, message: ChatMessage) -> Verdict:
        """The verdict on what a viewer sent; its text is the cleaned one."""
        verdict = self.by_rules(message)
        if verdict.action == "deny":
            return verdict
        mood, denials = await asyncio.gather(self._mood(verdict.text), self._denials(message))
        verdict = by_mood(verdict, mood, self._settings, self._policy, message.author.roles)
        return _denied(verdict, denials) if denials else verdict

    async def approved(self, message: ChatMessage) -> Verdict:
        """The verdict on what the operator has let pass, whatever speaks against it."""
        cleaned = clean(message.text)
        return Verdict("allow", ("operator",), cleaned, await self._mood(cleaned))

    async def feel(self, message: ChatMessage) -> Mood | None:
        """The mood of a message that nobody has judged yet; None when the classifier cannot say."""
        return await self._mood(clean(message.text))

    async def sentence(self, text: str, setting: Setting) -> Verdict:
        """Whether a sentence of ours may be spoken; its text is kept as it is. No answer in time is a denial.

        It is judged alone, with what was said just before it, and as an echo of what it answers.
        """
        cleaned, previous = clean(text), clean(setting.previous)
        if reasons := self._unspeakable(cleaned, previous, setting):
            return Verdict("deny", tuple(reasons), text)
        verdict = Verdict("allow", (), text)
        if self._ask is None:
            return verdict
        texts = [cleaned, f"{previous} {cleaned}"] if previous else [cleaned]
        moods = await asyncio.gather(*(self._mood(one, self._settings.speak_timeout_s) for one in texts))
        known = [mood for mood in moods if mood is not None]
        if len(known) < len(texts):
            return _denied(verdict, [UNAVAILABLE])
        threshold = self._policy.speak_threshold or self._settings.speak_threshold
        toxic = any(_reaches(mood, threshold) for mood in known)
        verdict = dataclasses.replace(verdict, mood=known[0])
        return _denied(verdict, ["toxic"]) if toxic else verdict

    def _unspeakable(self, cleaned: str, previous: str, setting: Setting) -> list[str]:
        """What the rules say against a sentence of ours."""
        reasons = apply_spoken(cleaned, self._rules, setting.blocked_topics)
        if previous and not reasons:
            reasons = together(previous, cleaned, self._rules, setting.blocked_topics)
        harmless = setting.heard_toxicity is not None and setting.heard_toxicity < ECHO_TOXICITY
        if setting.heard and not harmless and echoes(cleaned, setting.heard):
            reasons.append("echo")
        return reasons

    def _objecting(self, verdict: Verdict, reasons: Sequence[str]) -> Verdict:
        """With more reasons; held instead of denied if the persona holds for each of them."""
        reasons = [*verdict.reasons, *reasons]
        if not reasons:
            return verdict
        held = self._policy.hold.issuperset(reasons)
        return dataclasses.replace(verdict, action="hold" if held else "deny", reasons=tuple(dict.fromkeys(reasons)))

    async def _mood(self, cleaned: str, timeout_s: float | None = None) -> Mood | None:
        if self._ask is None or not cleaned:
            return None
        ask = self._ask
        return await self._answer("classifier", lambda: ask(cleaned), timeout_s)

    async def _denials(self, message: ChatMessage) -> list[str]:
        """The reasons of every other judge that denies; one that is late or fails has no say."""
        opinions = await asyncio.gather(*(self._opinion(other, message) for other in self._others))
        return [reason for reasons in opinions for reason in reasons]

    async def _opinion(self, other: plugin_api.Judge, message: ChatMessage) -> tuple[str, ...]:
        verdict = await self._answer(f"judge:{other.name}", lambda: other.judge(message))
        if not isinstance(verdict, Verdict) or verdict.action == "allow":
            return ()
        return verdict.reasons or (other.name,)

    async def _answer(self, who: str, ask: Callable[[], Awaitable[T]], timeout_s: float | None = None) -> T | None:
        """The answer, or None when it is late or fails, whatever the failure: a judge must not end a message."""

        async def in_time() -> T:
            return await asyncio.wait_for(ask(), timeout_s or self._settings.timeout_s)

        (outcome,) = await asyncio.gather(in_time(), return_exceptions=True)
        if not isinstance(outcome, BaseException):
            return outcome
        self._metrics.errors.labels(where=who).inc()
        if not isinstance(outcome, (JudgeDown, TimeoutError)):
            log.warning("judge_failed", who=who, error=type(outcome).__name__)
        return None


def decide(text: str, rules: RuleSet) -> Verdict:
    """The verdict on a raw chat text by the rules."""
    cleaned = clean(text, rules.max_chars + 1)
    reasons = tuple(apply(cleaned, rules))
    return Verdict("deny" if reasons else "allow", reasons, cleaned)


def by_mood(
    verdict: Verdict, mood: Mood | None, settings: SentimentSettings, policy: Filter, roles: Sequence[str] = ()
) -> Verdict:
    """The rules' verdict with the classifier's view, by the settings' thresholds and the persona's own.

    Of several roles the most generous counts.
    """
    verdict = dataclasses.replace(verdict, mood=mood)
    if mood is None:
        return verdict
    own = settings.toxic_threshold if policy.toxic_threshold is None else policy.toxic_threshold
    threshold = max([own, *(policy.roles[role] for role in roles if role in policy.roles)])
    if _reaches(mood, threshold):
        return _denied(verdict, ["toxic"])
    if policy.answer_negative == "never" and mood.scores.get("negative", 0.0) >= SURE_MOOD:
        return _denied(verdict, ["negative"])
    doubtful = policy.hold_threshold is not None and _reaches(mood, policy.hold_threshold)
    if doubtful and threshold == own and verdict.action != "deny":
        return dataclasses.replace(verdict, action="hold", reasons=(*verdict.reasons, "doubtful"))
    return verdict


def _reaches(mood: Mood, threshold: float) -> bool:
    """Whether a text is too toxic; a model that gives no number at all has found something it cannot bear."""
    return mood.toxicity is not None and not mood.toxicity < threshold


def _denied(verdict: Verdict, reasons: Sequence[str]) -> Verdict:
    return dataclasses.replace(verdict, action="deny", reasons=tuple(dict.fromkeys([*verdict.reasons, *reasons])))
