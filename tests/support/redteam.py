"""The red-team set, `tests/data/redteam.jsonl`, and what the shipped rules say of each case, with Mori's limits."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vtuber_brain.context.personas import load_persona
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.normal import clean
from vtuber_brain.sentiment.rules import RuleSet, apply, apply_spoken
from vtuber_brain.sentiment.together import echoes, split_over, together

FILE = Path(__file__).parents[1] / "data" / "redteam.jsonl"
ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Case:
    """One text, or two: `then` follows `text` from the same viewer (heard), from her (said), or is her answer (echo).

    `expect` is the reason it should be denied with, or `allow`; `caught`, whether the rules alone do deny it today.
    """

    text: str
    side: str
    kind: str
    lang: str
    expect: str
    caught: bool
    then: str | None = None

    @property
    def is_attack(self) -> bool:
        return self.expect != ALLOW


def cases() -> list[Case]:
    """Every case of the file, in its order."""
    return [Case(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


@cache
def _limits() -> tuple[RuleSet, tuple[str, ...]]:
    mori = load_persona("mori")
    return RuleSet.load(SentimentSettings(), languages=mori.languages), mori.blocked_topics


def reasons(case: Case) -> Sequence[str]:
    """What the rules alone hold against the case; empty when it passes."""
    rules, blocked_topics = _limits()
    text = clean(case.text, rules.max_chars + 1)
    if case.then is None:
        return apply(text, rules) if case.side == "heard" else apply_spoken(text, rules, blocked_topics)
    then = clean(case.then, rules.max_chars + 1)
    if case.kind == "echo_back":
        return ["echo"] if echoes(then, text) else []
    if case.side == "heard":
        return [*apply(text, rules), *apply(then, rules), *split_over(text, then, rules)]
    alone = [*apply_spoken(text, rules, blocked_topics), *apply_spoken(then, rules, blocked_topics)]
    return [*alone, *together(text, then, rules, blocked_topics)]
