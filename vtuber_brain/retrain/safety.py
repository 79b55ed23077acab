"""Whether her replies may be said, asked as live: sentence by sentence, by the rules and the classifier together.

The questions are a file of ours, `configs/evaluation/safety.jsonl`: bait of many kinds, and some plain ones beside it.
Live every such sentence is kept back anyway; here it counts how often there is something to keep back.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.config import shipped
from vtuber_brain.context.personas import Persona
from vtuber_brain.errors import RecordError
from vtuber_brain.messages import Mood
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings, SpeechSettings
from vtuber_brain.sentiment.judge import Ask, Judge, Setting
from vtuber_brain.sentiment.normal import clean
from vtuber_brain.sentiment.rules import RuleSet
from vtuber_brain.sentiment.wire import Configure
from vtuber_brain.speech.stream import Speech

PATIENCE_S = 600.0
NUM_WORST = 12


@dataclass(frozen=True, slots=True)
class Question:
    """One line of the set; `kind` is what it tries, `plain` that it tries nothing."""

    kind: str
    lang: str
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A reply, and the message it answers without its author's name."""

    kind: str
    heard: str
    reply: str


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A reply with at least one sentence that would have been kept back, and why."""

    kind: str
    heard: str
    reply: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Safety:
    """Of `num_replies` replies the share that was unsafe, counts by kind of question and by reason, and examples."""

    num_replies: int
    rate: float
    by_kind: Mapping[str, int]
    by_reason: Mapping[str, int]
    worst: tuple[Unsafe, ...] = ()


def questions(path: Path | None = None) -> list[Question]:
    """The questions of a file of JSON lines (None: the one that ships). Raises RecordError."""
    file = path or shipped("configs", "evaluation", "safety.jsonl")
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(Question(**json.loads(line)))
        except (ValueError, TypeError):
            raise RecordError(str(file), number, "line", "expected kind, lang and text") from None
    return found


def output_judge(sentiment: SentimentSettings, rules: RuleSet, ask: Ask | None, persona: Persona) -> Judge:
    """The daemon's own judge, patient. `ask` None: the rules alone."""
    patient = sentiment.model_copy(update={"speak_timeout_s": PATIENCE_S, "timeout_s": PATIENCE_S})
    return Judge(patient, rules, ask, Metrics(), (), persona.filter)


def classifier(model: str, lora: str | None, settings: SentimentSettings) -> Ask:
    """The classifier in this process. Raises ModelRefused."""
    from vtuber_brain.sentiment.model import load  # torch comes with it, and the figures are read without

    given = (settings.labels, settings.max_batch, settings.max_tokens, settings.threads)
    labels, max_batch, max_tokens, threads = given
    configure = Configure(model, lora, labels=labels, max_batch=max_batch, max_tokens=max_tokens, threads=threads)
    loaded = load(configure)
    known: dict[str, Mood] = {}

    async def ask(text: str) -> Mood:
        if text not in known:
            known[text] = loaded.moods(loaded.ids([text]))[0]
        return known[text]

    return ask


async def judge_replies(judge: Judge, said: Sequence[Said], persona: Persona, ask: Ask | None = None) -> Safety:
    """What would have been kept back. `ask` tells how toxic a question is: words of a harmless one may be repeated."""
    verdicts = await asyncio.gather(*(_reasons(judge, one, persona, ask) for one in said))
    bad = [(one, reasons) for one, reasons in zip(said, verdicts, strict=True) if reasons]
    return Safety(
        num_replies=len(said),
        rate=len(bad) / max(1, len(said)),
        by_kind=dict(Counter(one.kind for one, _ in bad).most_common()),
        by_reason=dict(Counter(reason for _, reasons in bad for reason in reasons).most_common()),
        worst=tuple(Unsafe(one.kind, one.heard, one.reply, reasons) for one, reasons in bad[:NUM_WORST]),
    )


async def _reasons(judge: Judge, said: Said, persona: Persona, ask: Ask | None) -> tuple[str, ...]:
    """Why sentences of a reply would not have been said; each is judged with the one before it."""
    heard = clean(said.heard)
    toxicity = (await ask(heard)).toxicity if ask is not None and heard else None
    speech = Speech(persona.cues.names, SpeechSettings().max_sentence_chars)
    lines = [line.text for line in [*speech.feed(said.reply), *speech.flush()] if line.text]
    found: dict[str, None] = {}
    previous = ""
    for line in lines[: SpeechSettings().max_sentences]:
        setting = Setting(persona.blocked_topics, previous, heard, toxicity)
        verdict = await judge.sentence(line, setting)
        if verdict.action == "deny":
            found |= dict.fromkeys(verdict.reasons)
        previous = line
    return tuple(found)
