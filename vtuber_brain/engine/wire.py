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
    """How to choose the next token. Off are temperature 0 (greedy), top_k 0, top_p 1, min_p 0 and penalties 1 and 0.

    `repetition_penalty` weighs down every token of prompt and reply, `presence_penalty` those of the reply; `banned`
    tokens are never chosen.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    banned: tuple[int, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Configure:
    """Daemon to worker, first of all: which model, on what, with how much room."""

    model: str
    revision: str | None = None
    dtype: Literal["auto", "model", "bf16", "fp16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    weights: Literal["full", "int8", "fp8", "nf4"] = "full"
    num_slots: int = 8
    num_pinned: int = 0
    context: int = 1024
    prefill_chunk: int = 256
    max_waiting: int = 64
    max_loras: int = 0
    max_lora_rank: int = 16
    memory_bytes: int | None = None
    graphs: bool = True
    threads: int = 0
    type: Literal["configure"] = "configure"


@dataclass(frozen=True, slots=True)
class Generate:
    """One request; exactly one of `messages` (role and content), `prompt` and `token_ids` is given.

    `lora` is a name of LoadLora (None: the base model); of those that wait, a higher `priority` goes first. With
    `logprobs` each token comes with its log-probability under the model, before temperature, filters and penalties.
    """

    id: str
    messages: tuple[dict[str, str], ...] | None = None
    prompt: str | None = None
    token_ids: tuple[int, ...] | None = None
    max_tokens: int = 128
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    deadline_s: float | None = None
    lora: str | None = None
    priority: int = 0
    logprobs: bool = False
    type: Literal["generate"] = "generate"


@dataclass(frozen=True, slots=True)
class Pin:
    """Daemon to worker: keep what prompts like `messages` begin with computed under `lora`, as `name`.

    Answered like a request, by Done or Failed. The same name again replaces what was kept.
    """

    id: str
    name: str
    messages: tuple[dict[str, str], ...]
    lora: str | None = None
    type: Literal["pin"] = "pin"


@dataclass(frozen=True, slots=True)
class LoadLora:
    """Daemon to worker: take the PEFT directory `path` in as `name`; answered by LoraReady or LoraRejected.

    A name in use gets the new weights between two steps; replies that run on the old ones end on them.
    """

    name: str
    path: str
    type: Literal["load_lora"] = "load_lora"


@dataclass(frozen=True, slots=True)
class LoraReady:
    """The lora answers from now on. `pause_ms` is how long copying it in kept the running replies waiting."""

    name: str
    content_hash: str
    rank: int
    pause_ms: float
    type: Literal["lora_ready"] = "lora_ready"


@dataclass(frozen=True, slots=True)
class LoraRejected:
    """The lora was not taken in; whatever had its name before keeps it."""

    name: str
    reason: str
    type: Literal["lora_rejected"] = "lora_rejected"


@dataclass(frozen=True, slots=True)
class DropLora:
    """Daemon to worker: forget a name; its place is free when its last reply has ended. No answer follows."""

    name: str
    type: Literal["drop_lora"] = "drop_lora"


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Memory ran out: from now on only `num_slots` requests run at once."""

    num_slots: int
    detail: str
    type: Literal["shrunk"] = "shrunk"


@dataclass(frozen=True, slots=True)
class Stats:
    """Worker to daemon, after each Pong: what it has done since it started, and what of its room is in use now.

    `cached_tokens` of the prompts' were not computed; of the cache's tokens, `kv_running_tokens` belong to requests
    that run, the others are kept beginnings. Bytes of the device are 0 on a CPU.
    """

    num_steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    num_running: int = 0
    num_waiting: int = 0
    num_slots: int = 0
    kv_tokens: int = 0
    kv_running_tokens: int = 0
    kv_capacity: int = 0
    kv_bytes: int = 0
    num_loras: int = 0
    max_loras: int = 0
    lora_bytes: int = 0
    device_bytes: int = 0
    device_used_bytes: int = 0
    device_total_bytes: int = 0
    type: Literal["stats"] = "stats"


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
    logprobs: tuple[float, ...] | None = None
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

    One of bad_request, prompt_too_long, queue_full, deadline, unknown_lora, out_of_memory, internal.
    """

    id: str
    code: str
    detail: str
    type: Literal["failed"] = "failed"


Message = Annotated[
    Ready
    | NotReady
    | Ping
    | Pong
    | Stop
    | Configure
    | Generate
    | Pin
    | Cancel
    | LoadLora
    | DropLora
    | LoraReady
    | LoraRejected
    | Shrunk
    | Stats
    | Delta
    | Done
    | Failed,
    Discriminator("type"),
]

PROTOCOL: Protocol[Message] = Protocol(Message)
