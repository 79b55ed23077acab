"""The daemon's side of the engine's worker: an async stream per request over its line. Leaving the stream cancels it.

A request that failed raises `RequestFailed`; a worker that died raises `EngineDown` in every stream it had. Loras and
pins are remembered here, and a worker that is started again has them before anybody is answered.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from vtuber_brain.engine import wire
from vtuber_brain.engine.api import Messages, OnState, Request
from vtuber_brain.engine.gauges import EngineGauges
from vtuber_brain.engine.wire import Delta, Done, Failed
from vtuber_brain.errors import EngineDown, LoraRejected, RequestFailed, Unavailable, WireError
from vtuber_brain.runtime.child import Child, State, Supervision
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import EngineSettings, ModelSettings

log = structlog.get_logger(__name__)

Send = Callable[[wire.Message], None]
Ending = Delta | Done | Failed | EngineDown


@dataclass(frozen=True, slots=True)
class _Pin:
    """The beginning of prompts that is to be kept computed."""

    messages: tuple[dict[str, str], ...]
    lora: str | None


class LocalEngine:
    """The worker process on this machine, kept alive by `run`. See Engine."""

    def __init__(
        self, model: str, settings: EngineSettings, weights: ModelSettings, metrics: Metrics, on_state: OnState
    ) -> None:
        self._settings, self._metrics, self._report = settings, metrics, on_state
        self._gauges = EngineGauges(metrics)
        self._streams: dict[str, asyncio.Queue[Ending]] = {}
        self._loras: dict[str, Path] = {}
        self._pins: dict[str, _Pin] = {}
        self._ids, self._loading = itertools.count(), asyncio.Lock()
        self._awaited: tuple[str, asyncio.Future[None]] | None = None
        self._child: Child[wire.Message] = Child(
            "engine",
            "vtuber_brain.engine.worker",
            wire.PROTOCOL,
            _configure(model, settings, weights),
            _supervision(settings),
            on_message=self._route,
            on_state=self._on_state,
            prepare=self._restore,
        )
        self._send = _careful(self._child.send)

    @property
    def state(self) -> State:
        """Where the worker's life stands."""
        return self._child.state

    @property
    def pid(self) -> int | None:
        """The worker's process id, for the operator and the tests of its death."""
        return self._child.pid

    def stuck_s(self) -> float:
        """How long the worker's supervision is beyond its deadlines, in seconds."""
        return self._child.stuck_s()

    async def run(self) -> None:
        """Keep the worker alive until cancelled. Raises Refused for a model that can never be served."""
        await self._child.run()

    async def wait_ready(self) -> dict[str, Any]:
        """The worker's facts, as soon as it can answer, with every lora there was."""
        return await self._child.wait_ready()

    def generate(self, request: Request) -> AsyncGenerator[str | Done, None]:
        """See Engine. A stream left early, or timed out, is cancelled in the worker."""
        generate = wire.Generate(
            id=self._next_id(),
            messages=tuple(request.messages),
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            stop=request.stop,
            deadline_s=self._settings.deadline_s,
            lora=request.lora,
            priority=request.priority,
        )
        return self._stream(generate, self._send)

    async def load_lora(self, name: str, path: Path) -> None:
        """See Engine. The worker gets at most `engine.start_timeout_s`; one that sleeps takes it when it wakes."""
        if self.state != "asleep":
            await self._take_in(name, path, self._send)
        self._loras[name] = path

    async def drop_lora(self, name: str) -> None:
        """See Engine. Beginnings kept under it are not kept any longer."""
        self._forget(name)
        with contextlib.suppress(EngineDown):  # a worker that is not there has no loras, and will not get this one
            self._send(wire.DropLora(name))

    async def pin(self, name: str, messages: Messages, lora: str | None) -> None:
        """See Engine. The newest `engine.num_pinned` are kept; with none, a slot remembers it until it is needed."""
        pin = _Pin(tuple(messages), lora)
        if self.state != "asleep":
            await self._keep(name, pin, self._send)
        self._pins.pop(name, None)
        self._pins[name] = pin
        while len(self._pins) > max(1, self._settings.num_pinned):
            del self._pins[next(iter(self._pins))]

    async def sleep(self) -> None:
        """End the worker: nothing else gives all of a device's memory back. What it was saying fails as EngineDown."""
        await self._child.sleep()

    async def wake(self) -> None:
        """Start the worker again; `wait_ready` tells when it has everything back."""
        self._child.wake()

    async def _restore(self, send: Callable[[wire.Message], None]) -> None:
        """Give a worker that has just started the loras and the pins there were; what is lost holds nothing up."""
        send = _careful(send)
        loras = list(self._loras.items())
        for name, path in loras:
            try:
                await self._take_in(name, path, send)
            except LoraRejected as rejection:
                log.error("lora_lost", lora=name, reason=str(rejection))
                self._forget(name)
        for name, pin in list(self._pins.items()):
            try:
                await self._keep(name, pin, send)
            except RequestFailed as failure:
                log.warning("pin_lost", pin=name, reason=str(failure))
                self._pins.pop(name, None)
        for name, _ in loras:
            if name not in self._loras:  # also what was dropped while it was on its way
                send(wire.DropLora(name))

    async def _take_in(self, name: str, path: Path, send: Send) -> None:
        """Load one lora and wait until it answers. Raises LoraRejected or EngineDown."""
        async with self._loading:
            loaded = asyncio.get_running_loop().create_future()
            self._awaited = name, loaded
            patience_s = self._settings.start_timeout_s
            try:
                send(wire.LoadLora(name, str(path)))
                async with asyncio.timeout(patience_s):
                    await loaded
            except RequestFailed as failure:
                raise LoraRejected(failure.detail) from None
            except TimeoutError:
                raise EngineDown(f"the lora {name} was not loaded within {patience_s:g} s") from None
            finally:
                self._awaited = None

    async def _keep(self, name: str, pin: _Pin, send: Send) -> None:
        """Compute a beginning and keep it. Raises as generate."""
        message: wire.Pin | wire.Generate = wire.Pin(self._next_id(), name, pin.messages, pin.lora)
        if not self._settings.num_pinned:
            message = wire.Generate(message.id, messages=pin.messages, lora=pin.lora, max_tokens=1)
        async for _ in self._stream(message, send):
            pass

    async def _stream(self, asked: wire.Generate | wire.Pin, send: Send) -> AsyncGenerator[str | Done, None]:
        # Bounded by max_tokens: the worker sends at most one delta a token and one ending.
        events: asyncio.Queue[Ending] = asyncio.Queue()
        self._streams[asked.id] = events
        ended = False
        try:
            send(asked)
            while not ended:
                event = await events.get()
                ended = not isinstance(event, Delta)
                for piece in _pieces(event):
                    yield piece
        finally:
            del self._streams[asked.id]
            if not ended:
                with contextlib.suppress(EngineDown):
                    self._send(wire.Cancel(asked.id))

    def _next_id(self) -> str:
        return str(next(self._ids))

    def _forget(self, lora: str) -> None:
        self._loras.pop(lora, None)
        self._pins = {name: pin for name, pin in self._pins.items() if pin.lora != lora}

    def _route(self, message: wire.Message) -> None:
        match message:
            case Delta(id=request_id) | Done(id=request_id) | Failed(id=request_id):
                if request_id in self._streams:
                    self._streams[request_id].put_nowait(message)
            case wire.LoraReady(name=name):
                self._loaded(name, None)
            case wire.LoraRejected(name=name, reason=reason):
                self._loaded(name, LoraRejected(reason))
            case wire.Stats():
                self._gauges.take(message)
            case wire.Shrunk(num_slots=num_slots, detail=detail):
                self._metrics.slots.set(num_slots)
                log.warning("engine_shrunk", num_slots=num_slots, detail=detail)

    def _loaded(self, name: str, rejection: LoraRejected | None) -> None:
        if self._awaited is not None and self._awaited[0] == name:
            _settle(self._awaited[1], rejection)
        elif name not in self._loras:  # whoever wanted it has gone
            with contextlib.suppress(EngineDown):
                self._send(wire.DropLora(name))

    def _on_state(self, state: State, reason: str) -> None:
        if state in ("down", "asleep"):
            why = f"the engine died: {reason}" if state == "down" else "the engine was put to sleep"
            for events in self._streams.values():
                events.put_nowait(EngineDown(why))
            if self._awaited is not None:
                _settle(self._awaited[1], EngineDown(why))
        if state == "starting" and self._child.num_starts:
            self._gauges.restarted()
            self._metrics.restarts.labels("engine").inc()
        if state == "ready":
            self._metrics.slots.set(self._child.facts["num_slots"])
        self._report(state, reason)


def _settle(waiting: "asyncio.Future[None]", error: Exception | None) -> None:
    if waiting.done():
        return
    if error is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(error)


def _careful(send: Send) -> Send:
    """`send` with the engine's own errors: EngineDown and RequestFailed."""

    def careful(message: wire.Message) -> None:
        try:
            send(message)
        except Unavailable as error:
            raise EngineDown(str(error)) from None
        except WireError as error:
            raise RequestFailed("bad_request", str(error)) from None

    return careful


def _pieces(event: Ending) -> list[str | Done]:
    match event:
        case Delta(text=text):
            return [text] if text else []
        case Failed(code=code, detail=detail):
            raise RequestFailed(code, detail)
        case EngineDown():
            raise event
    return [event]


def _configure(model: str, settings: EngineSettings, weights: ModelSettings) -> wire.Configure:
    return wire.Configure(
        model=model,
        revision=weights.revision,
        dtype=weights.dtype,
        device=weights.device,
        weights=weights.weights,
        num_slots=settings.num_slots,
        num_pinned=settings.num_pinned,
        context=settings.context,
        prefill_chunk=settings.prefill_chunk,
        max_waiting=settings.max_waiting,
        max_loras=settings.max_loras,
        max_lora_rank=settings.max_lora_rank,
        memory_bytes=int(settings.memory_gb * 1e9) if settings.memory_gb is not None else None,
        graphs=settings.graphs,
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
