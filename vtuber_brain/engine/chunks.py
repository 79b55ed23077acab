"""What a server streams of one reply, event by event, and what becomes of it: pieces of text and an ending."""

import asyncio
import time
from dataclasses import dataclass, field

from pydantic import BaseModel

from vtuber_brain.engine.wire import Done, Usage


class PromptDetails(BaseModel):
    """How much of a prompt the server had computed before."""

    cached_tokens: int | None = None


class ChunkUsage(BaseModel):
    """What a reply cost, in tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta
    finish_reason: str | None = None


class Chunk(BaseModel):
    """The part of a streamed event that we use. What the model thinks aloud (`reasoning_content`) is not part of it."""

    choices: list[_Choice]
    usage: ChunkUsage | None = None

    @property
    def text(self) -> str:
        """New text of the reply."""
        return "".join(choice.delta.content or "" for choice in self.choices)

    @property
    def finish_reason(self) -> str | None:
        """Why the reply ended, in the event that says so."""
        return next((choice.finish_reason for choice in self.choices if choice.finish_reason), None)


@dataclass(slots=True)
class Reply:
    """One request under way: its pieces go into `pieces`, and None at the end."""

    number: str
    pieces: asyncio.Queue[str | Done | None] = field(default_factory=asyncio.Queue)
    started_s: float = field(default_factory=time.monotonic)
    sent_s: float = 0.0
    first_s: float | None = None
    num_pieces: int = 0
    finish_reason: str | None = None
    usage: Usage | None = None

    def take(self, chunk: Chunk) -> None:
        """Note what a streamed event brings."""
        if chunk.text:
            self.first_s = self.first_s or time.monotonic()
            self.num_pieces += 1
            self.pieces.put_nowait(chunk.text)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        if chunk.usage is not None:
            details = chunk.usage.prompt_tokens_details
            cached = (details.cached_tokens if details is not None else None) or 0
            self.usage = self._usage(chunk.usage.prompt_tokens, cached, chunk.usage.completion_tokens)

    def end(self) -> None:
        """Its last event came."""
        usage = self._usage(0, 0, self.num_pieces) if self.usage is None else self.usage
        self.pieces.put_nowait(Done(self.number, "length" if self.finish_reason == "length" else "stop", usage))

    def _usage(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> Usage:
        now_s = time.monotonic()
        queued_s, first_s = self.sent_s - self.started_s, (self.first_s or now_s) - self.started_s
        total_s = now_s - self.started_s
        return Usage(prompt_tokens, cached_tokens, completion_tokens, queued_s * 1e3, first_s * 1e3, total_s * 1e3)
