"""An engine without a model: it gives answers from a list, at the pace of a model, the same for the same seed.

It stands in where decisions are to be told apart from words; nobody should talk to it for long.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.engine.api import Messages, Request
from vtuber_brain.engine.wire import Done, FinishReason, Usage
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.runtime.child import State
from vtuber_brain.runtime.clock import now_s

ANSWERS = (
    "Hello there! It is good to see you.",
    "That is a lovely thought. I will keep it.",
    "Hmm. I am not sure, but I like the question.",
    "I was just thinking about that. How was your day?",
    "Thank you for telling me. It means a lot.",
    "One moment, I am looking for my lantern. There it is!",
    "I think so too.",
    "Not today, but perhaps tomorrow. Shall we try then?",
    "You always make me laugh.",
    "I have never been there. Is it far?",
    "Slowly, slowly. One thing after the other.",
    "What a night. Stay a little longer.",
)
_TOKEN = re.compile(r"\s*\S+")

Span = tuple[float, float]
_FIX = "Give a text file with one answer a line"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the first token takes, and each further one: drawn between two numbers of seconds."""

    first_s: Span = (0.15, 0.45)
    further_s: Span = (0.02, 0.06)


class ScriptedEngine:
    """Answers with one of `answers` drawn by `seed`, word by word, always ready. Loras and sleep change nothing."""

    def __init__(self, answers: Sequence[str] = ANSWERS, seed: int = 0, pace: Pace | None = None) -> None:
        self._answers, self._pace = tuple(answers), pace or Pace()
        self._random = random.Random(seed)  # noqa: S311 - it draws lots, it guards nothing

    @property
    def state(self) -> State:
        """Ready."""
        return "ready"

    async def run(self) -> None:
        """Wait until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def wait_ready(self) -> Mapping[str, Any]:
        """What there is to know of it."""
        return {"engine": "scripted", "answers": len(self._answers)}

    async def generate(self, request: Request) -> AsyncGenerator[str | Done, None]:
        """One answer, a word for a token, at most `max_tokens` of them."""
        asked_s, first_s = now_s(), None
        words = _TOKEN.findall(self._random.choice(self._answers))
        pauses_s = [self._random.uniform(*self._pace.further_s) for _ in words]
        pauses_s[:1] = [self._random.uniform(*self._pace.first_s)]
        for word, pause_s in zip(words[: request.max_tokens], pauses_s, strict=False):
            await asyncio.sleep(pause_s)
            first_s = first_s or now_s()
            yield word
        reason: FinishReason = "stop" if len(words) <= request.max_tokens else "length"
        first_ms, total_ms = ((first_s or asked_s) - asked_s) * 1000, (now_s() - asked_s) * 1000
        prompt_tokens = sum(len(message["content"].split()) for message in request.messages)
        yield Done("", reason, Usage(prompt_tokens, 0, len(words), 0.0, first_ms, total_ms))

    async def load_lora(self, name: str, path: Path) -> None:
        """Nothing to load."""

    async def drop_lora(self, name: str) -> None:
        """Nothing to forget."""

    async def pin(self, name: str, messages: Messages, lora: str | None) -> None:
        """Nothing to keep."""

    async def sleep(self) -> None:
        """It takes no memory."""

    async def wake(self) -> None:
        """It was awake."""


def read_answers(path: Path) -> list[str]:
    """The lines of a text file, without those that are empty. Raises ConfigError when there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror or "cannot be read" if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([Problem(str(path), what, _FIX)]) from None
    answers = [line.strip() for line in lines if line.strip()]
    if not answers:
        raise ConfigError([Problem(str(path), "holds no answers", _FIX)])
    return answers
