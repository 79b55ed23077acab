"""The daemon's side of the engine: an async stream per request over the worker's line. Leaving the stream cancels it.

A request that failed raises `RequestFailed`; a worker that died raises `EngineDown` in every stream it had.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vtuber_brain.engine import wire
from vtuber_brain.engine.wire import Delta, Done, Failed, Sampling
from vtuber_brain.errors import EngineDown, RequestFailed, Unavailable, WireError
from vtuber_brain.runtime.child import Child, State, Supervision
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import EngineSettings, ModelSettings

OnState = Callable[[State, str], None]
"""Hears of every change of the worker's state, with the reason."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the pipeline asks of an engine."""

    messages: Sequence[dict[str, str]]
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...] = ()


class Engine(Protocol):
    """Whatever turns a prompt into words."""

    async def wait_ready(self) -> Mapping[str, Any]:
        """Facts about the engine, as soon as it can answer."""
        ...

    def generate(self, request: Request) -> AsyncGenerator[str | Done, None]:
        """Pieces of text as they come, then how it ended and what it cost. Raises RequestFailed or EngineDown."""
        ...


class LocalEngine:
    """The worker process on this machine, kept alive by `run`."""

    def __init__(
        self, model: str, settings: EngineSettings, weights: ModelSettings, metrics: Metrics, on_state: OnState
    ) -> None:
        self._settings, self._metrics, self._report = settings, metrics, on_state
        self._streams: dict[str, asyncio.Queue[Delta | Done | Failed | EngineDown]] = {}
        self._ids = itertools.count()
        self._child: Child[wire.Message] = Child(
            "engine",
            "vtuber_brain.engine.worker",
            wire.PROTOCOL,
            _configure(model, settings, weights),
            _supervision(settings),
            on_message=self._route,
            on_state=self._on_state,
        )

    @property
    def state(self) -> State:
        """Where the worker's life stands."""
        return self._child.state

    @property
    def pid(self) -> int | None:
        """The worker's process id, for the operator and the tests of its death."""
        return self._child.pid

    async def run(self) -> None:
        """Keep the worker alive until cancelled. Raises Refused for a model that can never be served."""
        await self._child.run()

    async def wait_ready(self) -> dict[str, Any]:
        """The worker's facts, as soon as it can answer."""
        return await self._child.wait_ready()

    async def generate(self, request: Request) -> AsyncGenerator[str | Done, None]:
        """See Engine. A stream left early, or timed out, is cancelled in the worker."""
        generate = self._wire_request(request)
        # Bounded by max_tokens: the worker sends at most one delta a token and one ending.
        events: asyncio.Queue[Delta | Done | Failed | EngineDown] = asyncio.Queue()
        self._streams[generate.id] = events
        ended = False
        try:
            self._send(generate)
            while not ended:
                event = await events.get()
                ended = not isinstance(event, Delta)
                for piece in _pieces(event):
                    yield piece
        finally:
            del self._streams[generate.id]
            if not ended:
                with contextlib.suppress(EngineDown):
                    self._send(wire.Cancel(generate.id))

    def _wire_request(self, request: Request) -> wire.Generate:
        return wire.Generate(
            id=str(next(self._ids)),
            messages=tuple(request.messages),
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            stop=request.stop,
            deadline_s=self._settings.deadline_s,
        )

    def _send(self, message: wire.Message) -> None:
        try:
            self._child.send(message)
        except Unavailable as error:
            raise EngineDown(str(error)) from None
        except WireError as error:
            raise RequestFailed("bad_request", str(error)) from None

    def _route(self, message: wire.Message) -> None:
        if isinstance(message, Delta | Done | Failed) and message.id in self._streams:
            self._streams[message.id].put_nowait(message)

    def _on_state(self, state: State, reason: str) -> None:
        if state == "down":
            for events in self._streams.values():
                events.put_nowait(EngineDown(f"the engine died: {reason}"))
        if state == "starting" and self._child.num_starts:
            self._metrics.restarts.labels("engine").inc()
        self._report(state, reason)


def _pieces(event: Delta | Done | Failed | EngineDown) -> list[str | Done]:
    match event:
        case Delta(text=text):
            return [text] if text else []
        case Done():
            return [event]
        case Failed(code=code, detail=detail):
            raise RequestFailed(code, detail)
        case EngineDown():
            raise event


def _configure(model: str, settings: EngineSettings, weights: ModelSettings) -> wire.Configure:
    return wire.Configure(
        model=model,
        revision=weights.revision,
        dtype=weights.dtype,
        device=weights.device,
        num_slots=settings.num_slots,
        context=settings.context,
        prefill_chunk=settings.prefill_chunk,
        max_waiting=settings.max_waiting,
        threads=settings.threads,
    )


def _supervision(settings: EngineSettings) -> Supervision:
    return Supervision(
        start_timeout_s=settings.start_timeout_s,
        ping_s=settings.ping_s,
        slow_s=settings.slow_s,
        dead_s=settings.dead_s,
        backoff_s=settings.backoff_s,
        backoff_max_s=settings.backoff_max_s,
    )
