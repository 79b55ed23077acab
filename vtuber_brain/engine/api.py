"""What the pipeline knows of an engine, whatever is behind it: the worker on this machine or servers elsewhere."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.runtime.child import State

OnState = Callable[[State, str], None]
"""Hears of every change of the engine's state, with the reason."""

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What the pipeline asks of an engine; `lora` is a name given to `load_lora`, a higher `priority` goes ahead."""

    messages: Messages
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...] = ()
    lora: str | None = None
    priority: int = 0


class Engine(Protocol):
    """Whatever turns a prompt into words."""

    @property
    def state(self) -> State:
        """Where its life stands."""
        ...

    async def run(self) -> None:
        """Keep it alive until cancelled. Raises Refused when it never can work like this."""
        ...

    async def wait_ready(self) -> Mapping[str, Any]:
        """Facts about the engine, as soon as it can answer."""
        ...

    def generate(self, request: Request) -> AsyncGenerator[str | Done, None]:
        """Pieces of text as they come, then how it ended and what it cost. Raises RequestFailed or EngineDown.

        Leaving the stream early cancels the request.
        """
        ...

    async def load_lora(self, name: str, path: Path) -> None:
        """Make the PEFT directory at `path` answer to `name`, before any request asks for it by that name.

        A name in use gets the new weights; running replies end on the old. An engine that sleeps may take it in when it
        wakes. Raises LoraRejected or EngineDown.
        """
        ...

    async def drop_lora(self, name: str) -> None:
        """Forget a lora; running replies end on it. An unknown name is no error."""
        ...

    async def pin(self, name: str, messages: Messages, lora: str | None) -> None:
        """Keep the beginning of the prompts of persona `name` computed, where the engine can. Raises as generate."""
        ...

    async def sleep(self) -> None:
        """Give the device's memory back; requests wait in `wait_ready` until `wake`."""
        ...

    async def wake(self) -> None:
        """Come back from `sleep`, with the loras there were."""
        ...
