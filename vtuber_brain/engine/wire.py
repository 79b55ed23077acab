"""What the daemon and the engine's worker say to each other: a closed union of frozen messages.

`Failed` ends one request; a dead engine says nothing, it is noticed (runtime/child.py) and becomes `EngineDown`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from vtuber_brain.runtime.line import NotReady, Ping, Pong, Protocol, Ready, Stop

FinishReason = Literal["stop", "length", "stop_string"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token. temperature 0 is greedy; top_k 0, top_p 1, min_p 0 and penalty 1 are off."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Configure:
    """Daemon to worker, first of all: which model, on what, with how much room."""

    model: str
    revision: str | None = None
    dtype: Literal["auto", "model", "bf16", "fp16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_slots: int = 8
    context: int = 1024
    prefill_chunk: int = 256
    max_waiting: int = 64
    threads: int = 0
    type: Literal["configure"] = "configure"


@dataclass(frozen=True, slots=True)
class Generate:
    """One request; exactly one of `messages` (role and content), `prompt` and `token_ids` is given."""

    id: str
    messages: tuple[dict[str, str], ...] | None = None
    prompt: str | None = None
    token_ids: tuple[int, ...] | None = None
    max_tokens: int = 128
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    deadline_s: float | None = None
    type: Literal["generate"] = "generate"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Daemon to worker: nobody waits for this request any more; no answer follows."""

    id: str
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of a reply, never part of a stop string, and the token ids it came from."""

    id: str
    text: str
    token_ids: tuple[int, ...]
    type: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost: tokens, and milliseconds in the queue, to the first token, and in all."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    queued_ms: float
    first_token_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Done:
    """A request ended well; all its deltas were sent before."""

    id: str
    finish_reason: FinishReason
    usage: Usage
    type: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Failed:
    """A request ended badly; `code` is stable.

    One of bad_request, prompt_too_long, queue_full, deadline, out_of_memory, internal.
    """

    id: str
    code: str
    detail: str
    type: Literal["failed"] = "failed"


Message = Annotated[
    Ready | NotReady | Ping | Pong | Stop | Configure | Generate | Cancel | Delta | Done | Failed, Discriminator("type")
]

PROTOCOL: Protocol[Message] = Protocol(Message)
