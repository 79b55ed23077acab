"""The judge: rules before the classifier; without the classifier open on input, closed on output; it never raises."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.errors import JudgeDown
from vtuber_brain.messages import Author, ChatMessage, Kind, Mood, Verdict
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import Filter, SentimentSettings
from vtuber_brain.sentiment.blocklist import Blocklist
from vtuber_brain.sentiment.judge import Judge, Setting, by_mood, decide
from vtuber_brain.sentiment.rules import RuleSet

RULES = RuleSet(Blocklist(["zorble"]), max_chars=60)
SETTINGS = SentimentSettings(timeout_s=0.05, speak_timeout_s=0.05, toxic_threshold=0.7, speak_threshold=0.6)
NOTHING = Setting()
KIND = Mood("positive", {"negative": 0.1, "neutral": 0.2, "positive": 0.7}, 0.1)


def mood(toxicity: float | None) -> Mood:
    return Mood("neutral", {"negative": 0.2, "neutral": 0.6, "positive": 0.2}, toxicity)


def said(text: str, kind: Kind = "chat") -> ChatMessage:
    return ChatMessage("test", "m1", Author("a1", "Ayu"), text, 0.0, 0.0, kind)


class Asked:
    """A classifier that answers as told and keeps what it was asked."""

    def __init__(self, answer: Mood | Exception) -> None:
        self.answer = answer
        self.texts: list[str] = []

    async def __call__(self, text: str) -> Mood:
        self.texts.append(text)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def never(_text: str) -> Mood:
    await asyncio.Event().wait()
    raise AssertionError


class Other:
    """A plugin's judge."""

    def __init__(self, name: str, judge: Callable[[ChatMessage], Awaitable[Verdict]]) -> None:
        self.name = name
        self.judge = judge


def judge(ask: Callable[[str], Awaitable[Mood]] | None, *others: Other) -> Judge:
    return Judge(SETTINGS, RULES, ask, Metrics(), others)


def num_errors(judge: Judge, where: str) -> float | None:
    return judge._metrics.registry.get_sample_value("vtb_errors_total", {"where": where})


async def test_a_kind_message_is_let_through_with_its_mood() -> None:
    asked = Asked(KIND)
    assert await judge(asked).message(said(" hello\u200b  Mori ")) == Verdict("allow", (), "hello Mori", KIND)
    assert asked.texts == ["hello Mori"]


async def test_the_classifier_is_not_asked_what_the_rules_deny() -> None:
    asked = Asked(KIND)
    assert await judge(asked).message(said("you z0rble")) == Verdict("deny", ("blocked_word",), "you z0rble")
    assert asked.texts == []


@pytest.mark.parametrize(
    ("toxicity", "reasons"), [(0.69, ()), (0.7, ("toxic",)), (None, ()), (float("nan"), ("toxic",))]
)
async def test_toxicity_at_the_threshold_is_denied(toxicity: float | None, reasons: tuple[str, ...]) -> None:
    assert (await judge(Asked(mood(toxicity))).message(said("hm"))).reasons == reasons


@pytest.mark.parametrize("ask", [Asked(JudgeDown("restarting")), Asked(RuntimeError("a bug")), never])
async def test_without_the_classifier_the_rules_alone_decide_about_a_message(ask) -> None:
    judging = judge(ask)
    assert await judging.message(said("hello")) == Verdict("allow", (), "hello", None)
    assert (await judging.message(said("zorble"))).action == "deny"
    assert num_errors(judging, "classifier") == 1


@pytest.mark.parametrize("ask", [Asked(JudgeDown("restarting")), Asked(RuntimeError("a bug")), never])
async def test_without_the_classifier_no_sentence_is_spoken(ask) -> None:
    judging = judge(ask)
    assert await judging.sentence("Hello!", NOTHING) == Verdict("deny", ("judge_unavailable",), "Hello!")
    assert num_errors(judging, "classifier") == 1


async def test_lateness_is_noticed_in_time() -> None:
    began = time.monotonic()
    await judge(never).sentence("Hello!", NOTHING)
    assert time.monotonic() - began < 1


async def test_with_the_classifier_off_the_rules_alone_decide_about_both() -> None:
    judging = judge(None)
    assert await judging.message(said("hello")) == Verdict("allow", (), "hello", None)
    assert await judging.sentence("Hello.", NOTHING) == Verdict("allow", (), "Hello.", None)
    assert (await judging.sentence("You zorble.", NOTHING)).reasons == ("blocked_word",)


@pytest.mark.parametrize(
    ("text", "toxicity", "reasons"),
    [
        ("What a day!", 0.59, ()),
        ("What a day!", 0.6, ("toxic",)),
        ("Go to www.x.example now.", 0.0, ("links",)),
        ("Elections, elections.", 0.0, ("blocked_topic",)),
        ("OH NO NOT AGAIN THE UMBRELLA IS GONE!", 0.0, ()),
    ],
)
async def test_our_own_sentences(text: str, toxicity: float, reasons: tuple[str, ...]) -> None:
    verdict = await judge(Asked(mood(toxicity))).sentence(text, Setting(("election*",)))
    assert (verdict.reasons, verdict.text) == (reasons, text)
    assert verdict.action == ("deny" if reasons else "allow")


async def test_a_sentence_is_spoken_as_it_was_written() -> None:
    verdict = await judge(Asked(KIND)).sentence("Half a cake… ½ — ﬁne™!", NOTHING)
    assert verdict == Verdict("allow", (), "Half a cake… ½ — ﬁne™!", KIND)


@pytest.mark.parametrize("kind", ["cheer", "sub", "gift", "raid", "redeem"])
async def test_a_money_event_may_be_without_words(kind: Kind) -> None:
    asked = Asked(KIND)
    assert await judge(asked).message(said("", kind)) == Verdict("allow", (), "", None)
    assert asked.texts == []
    assert (await judge(asked).message(said("\u200b"))).reasons == ("empty",)
    assert (await judge(asked).message(said("zorble", kind))).reasons == ("blocked_word",)


async def test_any_other_judge_that_denies_wins() -> None:
    async def allow(message: ChatMessage) -> Verdict:
        return Verdict("allow", (), message.text)

    async def deny(message: ChatMessage) -> Verdict:
        return Verdict("deny", ("spoiler", "toxic"), message.text)

    async def curt(message: ChatMessage) -> Verdict:
        return Verdict("deny", (), message.text)

    others = Other("a", allow), Other("spoilers", deny), Other("curt", curt)
    verdict = await judge(Asked(mood(0.9)), *others).message(said("hm"))
    assert verdict == Verdict("deny", ("toxic", "spoiler", "curt"), "hm", mood(0.9))
    assert (await judge(None, others[0]).message(said("hm"))).action == "allow"


async def test_a_late_or_broken_judge_has_no_say_and_is_counted() -> None:
    async def late(_message: ChatMessage) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError

    async def broken(_message: ChatMessage) -> Verdict:
        raise KeyError("viewer")

    def rude(_message: ChatMessage) -> Awaitable[Verdict]:
        raise ValueError

    async def silent(_message: ChatMessage) -> Verdict:
        return None  # type: ignore[return-value]

    others = Other("late", late), Other("broken", broken), Other("rude", rude), Other("silent", silent)
    judging = judge(Asked(KIND), *others)
    assert await judging.message(said("hello")) == Verdict("allow", (), "hello", KIND)
    assert [num_errors(judging, f"judge:{name}") for name in ("late", "broken", "rude", "silent")] == [1, 1, 1, None]


async def test_leaving_leaves_nothing_behind() -> None:
    started = asyncio.Event()
    stopped = asyncio.Event()

    async def slow(_text: str) -> Mood:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    task = asyncio.create_task(Judge(SentimentSettings(), RULES, slow, Metrics()).message(said("hello")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(1):
        await stopped.wait()


@given(st.text(max_size=80), st.one_of(st.none(), st.floats(0, 1)))
def test_deciding_offline_agrees_with_deciding_live(text: str, toxicity: float | None) -> None:
    ask = Asked(mood(toxicity))
    live = asyncio.run(judge(ask).message(said(text)))
    offline = by_mood(decide(text, RULES), mood(toxicity), SETTINGS, Filter())
    assert offline.text == live.text
    assert offline.action == live.action
    assert live.mood is None or live == offline


def test_deciding_offline_names_every_reason() -> None:
    verdict = by_mood(decide("zorble https://x.example", RULES), mood(0.9), SETTINGS, Filter())
    assert verdict == Verdict("deny", ("blocked_word", "links", "toxic"), "zorble https://x.example", mood(0.9))
