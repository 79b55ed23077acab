"""From conversations to the tokens that are trained on, and the weight of each. It knows no tensors.

Every prompt in a row is what `engine.render.Renderer` gives the live engine for the same messages, cut from the left in
the same way; what is learnt is the reply that follows and the token that ends it.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtuber_brain.context.personas import Persona
from vtuber_brain.context.prompt import opening
from vtuber_brain.engine.render import Renderer
from vtuber_brain.errors import RequestFailed
from vtuber_brain.retrain.conversations import Message, Text

REPLY_TOKENS = 96
"""The room a live request keeps for the reply where there is no persona to say."""

Dropped = Callable[[str, str], None]
"""Told the id of an example and why a reply of it is not trained on: prompt_too_long, bad_request or no_reply."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn from: user and assistant in turn, the persona's opening not among them.

    `group` is the stream or corpus it comes from, `viewers` who speaks in it (`source:author_id`), `at` when it ended;
    `opening` says whether the persona's opening goes before it. A message's weight is that of the loss on it.
    """

    id: str
    group: str
    viewers: frozenset[str]
    messages: tuple[Message, ...]
    opening: bool = True
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence. `weights[i]` is the weight of the loss for predicting `tokens[i]` from those before it.

    The first `num_opening` tokens are the persona's opening, the same in many rows; none of them has weight.
    """

    tokens: tuple[int, ...] = field(repr=False)
    weights: tuple[float, ...] = field(repr=False)
    num_opening: int
    id: str
    group: str

    @property
    def num_learnt(self) -> int:
        """How many tokens have weight."""
        return sum(weight > 0 for weight in self.weights)


def rows(
    examples: Iterable[Example],
    renderer: Renderer,
    persona: Persona | None,
    max_tokens: int,
    *,
    reply_tokens: int | None = None,
    ends: Collection[int] = (),
    dropped: Dropped = lambda _id, _reason: None,
) -> list[Row]:
    """Rows of at most `max_tokens` tokens, those of one example next to each other; most give exactly one.

    `max_tokens` is the live engine's context, `reply_tokens` (None: the persona's) the room it keeps for a reply: the
    prompts are then cut where live ones are. A longer reply takes from its prompt, never from itself. `ends` are the
    model's end tokens (`end_tokens`); without one in the template the first of them ends a reply.
    """
    if reply_tokens is None:
        reply_tokens = persona.style.max_tokens if persona is not None else REPLY_TOKENS
    room = max(1, max_tokens - min(reply_tokens, max_tokens // 2))
    start = opening(persona) if persona is not None else []
    shared = renderer.messages(start, 2**30) if start else []
    made = []
    for example in examples:
        builder = _Builder(example, renderer, start if example.opening else [], shared, max_tokens, room, tuple(ends))
        made += builder.rows(dropped)
    return made


def text_rows(texts: Iterable[Text], renderer: Renderer, max_tokens: int, end: int) -> list[Row]:
    """Plain language modelling: the texts one after another, `end` before, between and after them, cut into chunks.

    Every token is learnt once: a chunk begins with the last token of the one before, which there has no weight.
    """
    stream, group = [end], "text"
    for text in texts:
        stream += [*renderer.prompt(text.text), end]
        group = text.source
    chunks = [tuple(stream[at : at + max_tokens]) for at in range(0, len(stream) - 1, max_tokens - 1)]
    return [Row(ids, (0.0,) + (1.0,) * (len(ids) - 1), 0, f"{group}:{n}", group) for n, ids in enumerate(chunks)]


def end_tokens(base: Path) -> tuple[int, ...]:
    """The tokens with which the model in the folder `base` ends its answer, as the live engine reads them."""
    for name in ("generation_config.json", "config.json"):
        path = base / name
        found: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.exists() else None
        if found is not None:
            return (found,) if isinstance(found, int) else tuple(found)
    return ()


@dataclass(slots=True)
class _Builder:
    """One example on its way to rows: while the next prompt goes on where the last reply ended, the row goes on."""

    example: Example
    renderer: Renderer
    start: Sequence[dict[str, str]]
    shared: Sequence[int]
    max_tokens: int
    room: int
    ends: tuple[int, ...]
    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    num_opening: int = 0
    made: list[Row] = field(default_factory=list)

    def rows(self, dropped: Dropped) -> list[Row]:
        said = [*self.start, *({"role": m.role, "content": m.content} for m in self.example.messages)]
        for place, message in enumerate(self.example.messages, len(self.start)):
            if message.role != "assistant" or message.weight <= 0:
                continue
            if not message.content.strip():
                dropped(self.example.id, "no_reply")
                continue
            try:
                self._learn(said[:place], message)
            except RequestFailed as failure:
                dropped(self.example.id, failure.code)
        self._close()
        return self.made

    def _learn(self, before: Sequence[dict[str, str]], message: Message) -> None:
        words, behind = self.renderer.answer(before, message.content)
        reply = [*words, *self._end(behind)]
        prompt = self.renderer.messages(before, min(self.room, self.max_tokens - len(reply)))
        if not self.tokens or prompt[: len(self.tokens)] != self.tokens:
            self._close()
            self.num_opening = min(_common(prompt, self.shared), len(prompt) - 1) if self.start else 0
        self.weights += [0.0] * (len(prompt) - len(self.tokens)) + [message.weight] * len(reply)
        self.tokens = [*prompt, *reply]

    def _end(self, behind: Sequence[int]) -> Iterator[int]:
        """The template's own words up to its end token; where it has none, the model's."""
        if any(token in self.ends for token in behind):
            for token in behind:
                yield token
                if token in self.ends:
                    return
        yield from self.ends[:1]

    def _close(self) -> None:
        if self.tokens:
            name = self.example.id + (f"#{len(self.made)}" if self.made else "")
            row = Row(tuple(self.tokens), tuple(self.weights), self.num_opening, name, self.example.group)
            self.made.append(row)
        self.tokens, self.weights = [], []


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    same = (a == b for a, b in zip(one, other, strict=False))
    return next((n for n, equal in enumerate(same) if not equal), min(len(one), len(other)))
