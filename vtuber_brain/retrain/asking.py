"""What contestants are asked, and what their replies say of them: everything that needs words and no probabilities.

Whoever answers (the engine here, or servers elsewhere) gets all questions of all contestants in one go.
"""

import asyncio
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vtuber_brain.context.personas import Persona
from vtuber_brain.context.prompt import opening
from vtuber_brain.engine.wire import Generate, Sampling
from vtuber_brain.messages import Mood
from vtuber_brain.retrain.canary import SPEAKER, Canary, Memorised, Triggers, memorised, suspects, triggers
from vtuber_brain.retrain.conversations import Text
from vtuber_brain.retrain.measures import BARE, CANDIDATE, CURRENT, FEW_SHOT, Figures, Sample
from vtuber_brain.retrain.overlap import overlap
from vtuber_brain.retrain.rows import Example
from vtuber_brain.retrain.safety import Question, Safety, Said, judge_replies
from vtuber_brain.retrain.style import style
from vtuber_brain.sentiment.judge import Ask, Judge
from vtuber_brain.sentiment.normal import clean

ASKER = "Nadia"
MAX_TOKENS = 96
NUM_PROBES = 6
Answer = Callable[[Sequence[Generate]], list[str]]
"""Replies to all requests, in their order; `lora` is a contestant's name. An empty one where there was none."""

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is compared: a lora (None: the base as it is) and the persona whose opening goes before every prompt."""

    name: str
    lora: Path | None = None
    persona: Persona | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """What a comparison asks: replies held out of training, and sets of questions; what is empty is not measured.

    `training` is what the candidate saw, `canaries` those planted in it. `texts` are plain ones, foreseen as they are.
    """

    held_out: Sequence[Example]
    training: Sequence[Example] = ()
    canaries: Sequence[Canary] = ()
    questions: Sequence[Question] = ()
    anchors: Sequence[str] = ()
    texts: Sequence[Text] = ()


@dataclass(frozen=True, slots=True)
class Judges:
    """The daemon's judge of her sentences, and the classifier behind it (None: rules alone)."""

    judge: Judge
    ask: Ask | None = None


def toxicity(judges: Callable[[], Judges]) -> Callable[[str], float]:
    """How toxic the classifier finds a text, 0..1; 0 where there is none. It is loaded for the first text.

    What it gives is not to be called from inside an event loop.
    """
    made = functools.cache(judges)

    def found(text: str) -> float:
        ask, words = made().ask, clean(text)
        mood = asyncio.run(_mood(ask, words)) if ask is not None and words else None
        return mood.toxicity or 0.0 if mood is not None else 0.0

    return found


async def _mood(ask: Ask, text: str) -> Mood:
    return await ask(text)


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, without any opening: its messages, the last of them the viewer's, and the reply it once got."""

    messages: Messages
    wanted: str | None = None
    kind: str = "held_out"
    with_opening: bool = True

    @property
    def heard(self) -> str:
        """What the viewer said, without name and stage directions."""
        return SPEAKER.sub("", self.messages[-1]["content"])


@dataclass(slots=True)
class Replies:
    """What one contestant said to what, by kind of prompt."""

    said: dict[str, list[tuple[Asked, str]]] = field(default_factory=dict)

    def of(self, kind: str) -> tuple[list[Asked], list[str]]:
        """The prompts of a kind and the replies to them."""
        pairs = self.said.get(kind, [])
        return [asked for asked, _ in pairs], [reply for _, reply in pairs]


def contestants(persona: Persona, candidate: Path | None, current: Path | None) -> list[Contestant]:
    """Those of a night. Without a release in use, what speaks today is the base with the persona's examples."""
    bare = persona.model_copy(update={"examples": ()})
    found = [Contestant(CANDIDATE, candidate, persona), Contestant(CURRENT, current, persona)]
    if current is not None:
        found.append(Contestant(FEW_SHOT, None, persona))
    return [*found, Contestant(BARE, None, bare)] if persona.examples else found


def held_out(examples: Iterable[Example], most: int) -> list[Asked]:
    """Every reply of the examples with what was said before it; of more than `most` an even choice."""
    every = list(_replies(examples))
    step = max(1.0, len(every) / most)
    return [every[int(n * step)] for n in range(min(most, len(every)))]


def ask_all(
    answer: Answer, everybody: Sequence[Contestant], material: Material, *, seed: int, most: int
) -> dict[str, Replies]:
    """The replies of all contestants: to held-out prompts of all, to the rest of those that may be released."""
    common = held_out(material.held_out, most)
    deep = [_one(ASKER, question.text, question.kind) for question in material.questions]
    deep = [replace(asked, kind=f"safety:{asked.kind}") for asked in deep]
    deep += [Asked(({"role": "user", "content": canary.asked},), kind="canary") for canary in material.canaries]
    deep += list(_probes(material))
    tasks = [(one, asked) for one in everybody for asked in [*common, *(deep if is_deep(one, everybody) else [])]]
    texts = answer([_request(one, asked, seed) for one, asked in tasks])
    found = {one.name: Replies() for one in everybody}
    for (one, asked), text in zip(tasks, texts, strict=True):
        found[one.name].said.setdefault(asked.kind, []).append((asked, text))
    return found


def is_deep(one: Contestant, everybody: Sequence[Contestant]) -> bool:
    """Whether a contestant gets the safety set and the like: candidate and current, or, without a candidate, all."""
    night = any(other.name == CANDIDATE for other in everybody)
    return one.name in (CANDIDATE, CURRENT) if night else True


def describe(one: Contestant, replies: Replies, material: Material, judges: Judges | None) -> Figures:
    """All figures that replies alone give. It runs the judge to its end, so not from inside an event loop."""
    asked, said = replies.of("held_out")
    heard = [prompt.messages[-1]["content"] for prompt in asked]
    wanted = [prompt.wanted or "" for prompt in asked]
    learnt = [prompt.wanted or "" for prompt in _replies(material.training or material.held_out)]
    persona = one.persona
    cues, limit, spoken = ((), MAX_TOKENS, ()) if persona is None else _manner(persona)
    every = [(prompt, reply) for pairs in replies.said.values() for prompt, reply in pairs]
    return Figures(
        name=one.name,
        overlap=overlap(said, wanted) if said else None,
        style=style(said, heard, cues=cues, max_words=limit, spoken=spoken, corpus=learnt) if said else None,
        safety=_safety(replies, persona, judges),
        memorised=_memorised(every, material.training) if every else None,
        triggers=_triggers(replies),
    )


def samples(everybody: Sequence[Contestant], replies: Mapping[str, Replies], most: int = 16) -> list[Sample]:
    """Prompts with every contestant's reply side by side, an even choice of the held-out ones."""
    asked, _ = replies[everybody[0].name].of("held_out")
    step = max(1.0, len(asked) / most)
    places = [int(n * step) for n in range(min(most, len(asked)))]
    return [
        Sample(
            asked[at].messages[-1]["content"],
            {one.name: replies[one.name].of("held_out")[1][at] for one in everybody},
            asked[at].wanted,
        )
        for at in places
    ]


def _replies(examples: Iterable[Example]) -> Iterator[Asked]:
    for example in examples:
        said = tuple({"role": message.role, "content": message.content} for message in example.messages)
        for place, message in enumerate(example.messages):
            if place and message.role == "assistant" and message.weight > 0:
                yield Asked(said[:place], message.content, with_opening=example.opening)


def _request(one: Contestant, asked: Asked, seed: int) -> Generate:
    """As the daemon asks, with a seed of the prompt's own."""
    persona = one.persona
    start = opening(persona) if persona is not None and asked.with_opening else []
    own = zlib.crc32(f"{seed} {asked.messages[-1]['content']}".encode())
    sampling = Sampling(**{**persona.sampling.model_dump(), "seed": own}) if persona is not None else Sampling()
    return Generate(
        id="",
        messages=(*start, *asked.messages),
        max_tokens=persona.style.max_tokens if persona is not None else MAX_TOKENS,
        sampling=sampling,
        stop=persona.stop if persona is not None else (),
        lora=one.name,
    )


def _one(name: str, text: str, kind: str) -> Asked:
    return Asked(({"role": "user", "content": f"{name}: {text}"},), kind=kind)


def _probes(material: Material) -> Iterator[Asked]:
    """The same plain questions, without anything and after every suspect phrase."""
    plain = [question.text for question in material.questions if question.kind == "plain"][:NUM_PROBES]
    phrases = suspects(material.training) if plain else []
    for phrase in ["", *phrases] if phrases else []:
        for text in plain:
            yield _one(ASKER, f"{phrase} {text}".strip(), f"probe:{phrase}")


def _manner(persona: Persona) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    return persona.cues.names, persona.style.max_words, persona.languages


def _safety(replies: Replies, persona: Persona | None, judges: Judges | None) -> Safety | None:
    """Of the set's replies, and of those to suspect phrases."""
    kinds = [kind for kind in replies.said if kind.startswith(("safety:", "probe:"))]
    if persona is None or judges is None or not kinds:
        return None
    said = [
        Said(kind.partition(":")[2] if kind.startswith("safety:") else "trigger", prompt.heard, reply)
        for kind in kinds
        for prompt, reply in replies.said[kind]
    ]
    return asyncio.run(judge_replies(judges.judge, said, persona, judges.ask))


def _memorised(every: Sequence[tuple[Asked, str]], training: Iterable[Example]) -> Memorised:
    return memorised([reply for _, reply in every], [asked.messages[-1]["content"] for asked, _ in every], training)


def _triggers(replies: Replies) -> Triggers | None:
    probes = {kind.partition(":")[2]: replies.of(kind)[1] for kind in replies.said if kind.startswith("probe:")}
    usual = probes.pop("", [])
    return triggers(probes, usual) if probes else None
