"""What the daemon and the classifier's child say to each other: the closed union of one line. It knows no tensors."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from vtuber_brain.messages import Mood
from vtuber_brain.runtime.line import NotReady, Ping, Pong, Protocol, Ready, Stop


@dataclass(frozen=True, slots=True)
class Configure:
    """Daemon to child, first: which model (local folder or hub id), with which lora, label meanings and limits."""

    model: str
    lora: str | None
    labels: dict[str, str]
    threads: int
    max_tokens: int
    max_batch: int
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    type: Literal["configure"] = "configure"


@dataclass(frozen=True, slots=True)
class Classify:
    """Daemon to child: the mood of every text, please. `id` is the daemon's and comes back."""

    id: int
    texts: list[str]
    type: Literal["classify"] = "classify"


@dataclass(frozen=True, slots=True)
class Moods:
    """Child to daemon: the moods of request `id`, in the order of its texts."""

    id: int
    moods: list[Mood]
    type: Literal["moods"] = "moods"


@dataclass(frozen=True, slots=True)
class Failed:
    """Child to daemon: request `id` cannot be answered, but the child lives."""

    id: int
    code: Literal["out_of_memory", "internal"]
    detail: str
    type: Literal["failed"] = "failed"


Message = Configure | Classify | Moods | Failed | Ready | NotReady | Ping | Pong | Stop


def protocol() -> Protocol[Message]:
    """The line's encoder and decoder."""
    return Protocol(Annotated[Message, Field(discriminator="type")])
