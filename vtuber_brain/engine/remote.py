"""The engine as servers elsewhere: any that speak OpenAI's chat completions, over one or several base URLs.

A request that fails before its first word is tried again, at another server if there is one; afterwards never. What an
answer means is in `server`, who is asked next in `endpoints`, which loras are where in `served`.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from vtuber_brain.engine.api import Messages, OnState, Request
from vtuber_brain.engine.chunks import Reply
from vtuber_brain.engine.endpoints import FIRST_PAUSE_S, Endpoint, ServerFailed, Turns
from vtuber_brain.engine.served import ServedLoras
from vtuber_brain.engine.wire import Done
from vtuber_brain.errors import EngineDown, LoraRejected, RequestFailed
from vtuber_brain.runtime.child import State
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.sections import RemoteSettings

if TYPE_CHECKING:
    from vtuber_brain.engine.server import Server

log = structlog.get_logger(__name__)

_BY_THE_REQUEST = {"bad_request", "too_long", "not_found"}
_FINAL = {"bad_request": "bad_request", "too_long": "prompt_too_long"}
_IN_THE_END = {"rate_limited": "rate_limited", "unauthorized": "unauthorized"}


class RemoteEngine:
    """See Engine. `run` looks after the servers; it is called once. `deadline_s` bounds every request as a whole."""

    def __init__(self, settings: RemoteSettings, deadline_s: float, metrics: Metrics, on_state: OnState) -> None:
        """Raises Refused for what is no http or https URL."""
        from vtuber_brain.engine.server import Server  # openai takes long to import, and a local engine needs none

        self._settings, self._deadline_s, self._metrics, self._on_state = settings, deadline_s, metrics, on_state
        self._servers: list[Server] = [Server(url, number, settings) for number, url in enumerate(settings.urls)]
        self._endpoints = [server.endpoint for server in self._servers]
        self._turns = Turns(self._endpoints, settings.per_url)
        self._loras = ServedLoras(settings.loras, self._servers)
        self._nudges = [asyncio.Event() for _ in self._servers]
        self._ready, self._asleep = asyncio.Event(), False
        self._ids = itertools.count()
        self.state: State = "down"

    async def run(self) -> None:
        """Look at every server every `probe_s`, at one that is down after growing pauses, until cancelled."""
        self._move("starting", "")
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers:
                    group.create_task(self._watch(server), name=f"remote-{server.endpoint.number}")
        finally:
            for server in self._servers:
                await server.aclose()

    async def wait_ready(self) -> Mapping[str, Any]:
        """The servers that work (`urls`), the `model` asked for, and what they say they serve."""
        await self._ready.wait()
        up = [server for server in self._servers if server.endpoint.up]
        return {
            "urls": [server.endpoint.shown for server in up],
            "model": self._settings.model,
            "served": sorted(set().union(*(server.served for server in up))),
            "num_slots": self._settings.per_url * len(up),
        }

    async def generate(self, request: Request) -> AsyncGenerator[str | Done, None]:
        """See Engine. The reply is read as it comes, whether or not its reader is in a hurry."""
        # Bounded by max_tokens: a server sends at most one piece a token.
        reply = Reply(str(next(self._ids)))
        task = asyncio.create_task(self._answer(request, reply), name=f"remote-reply-{reply.number}")
        task.add_done_callback(lambda _: reply.pieces.put_nowait(None))
        try:
            while (piece := await reply.pieces.get()) is not None:
                yield piece
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def load_lora(self, name: str, path: Path) -> None:
        """See Engine. With remote.loras "vllm" the servers must see the directory under the same path."""
        await self._loras.load(name, path)

    async def drop_lora(self, name: str) -> None:
        """See Engine."""
        await self._loras.drop(name)

    async def pin(self, name: str, messages: Messages, lora: str | None) -> None:
        """Nothing: servers keep prefixes as they see fit."""

    async def sleep(self) -> None:
        """Take no request until `wake`; the servers are not ours to put to sleep."""
        self._asleep = True
        self._review()

    async def wake(self) -> None:
        """Take requests again."""
        self._asleep = False
        self._review()

    async def _answer(self, request: Request, reply: Reply) -> None:
        if not self._ready.is_set():
            raise EngineDown(f"the servers are {self.state}; {self._reasons()}")
        lora = self._loras.in_use(request.lora) if request.lora is not None else None
        with lora or contextlib.nullcontext(self._settings.model) as model:
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._try_servers(model, request, reply)
            except TimeoutError:
                raise RequestFailed("deadline", f"not done within {self._deadline_s} s") from None
        reply.end()

    async def _try_servers(self, model: str, request: Request, reply: Reply) -> None:
        """One attempt after the other, at servers not tried yet while there are any."""
        pauses = backoff(FIRST_PAUSE_S, self._settings.retry_max_s)
        tried: set[Endpoint] = set()
        for num_left in reversed(range(1 + self._settings.max_retries)):
            async with self._turns.turn(request.priority, tried) as endpoint:
                try:
                    await self._attempt(self._servers[endpoint.number], model, request, reply)
                except ServerFailed as failure:
                    tried.add(endpoint)
                    self._learn(endpoint, failure)
                    self._end_if_final(endpoint, failure, request, reply, is_last=num_left == 0)
                else:
                    endpoint.replied()
                    return
            if not self._any_up():
                await asyncio.sleep(next(pauses))

    async def _attempt(self, server: "Server", model: str, request: Request, reply: Reply) -> None:
        try:
            await self._stream(server, model, request, reply)
        except ServerFailed as failure:
            if failure.kind != "not_found" or not await self._reload(server, model):
                raise
            await self._stream(server, model, request, reply)

    async def _stream(self, server: "Server", model: str, request: Request, reply: Reply) -> None:
        reply.sent_s = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._settings.first_token_timeout_s) as patience,
                contextlib.aclosing(server.stream(model, request)) as chunks,
            ):
                async for chunk in chunks:
                    reply.take(chunk)
                    if reply.first_s is not None:
                        patience.reschedule(None)  # from here on the client's own limit on silence holds
        except TimeoutError:
            raise ServerFailed("connection", "no first token in time") from None
        except ServerFailed:
            if reply.finish_reason is None:  # a reply that came to its end is one, however the connection ended
                raise
        if reply.finish_reason is None:
            raise ServerFailed("broken", "its stream ended before the reply did")

    async def _reload(self, server: "Server", model: str) -> bool:
        try:
            return await self._loras.reload(server, model)
        except (LoraRejected, EngineDown):
            return False

    def _learn(self, endpoint: Endpoint, failure: ServerFailed) -> None:
        """What a failed request says of its server. That it is down, only a look at it can say."""
        self._metrics.errors.labels(f"remote_{failure.kind}").inc()
        fields = {"kind": failure.kind, "reason": failure.reason, "pii_words": failure.words}  # words may quote
        log.warning("remote_request_failed", url=endpoint.shown, **fields)
        if failure.kind == "unauthorized":
            self._lose(endpoint, failure.reason)
        elif failure.kind == "rate_limited" and failure.retry_after_s is not None:
            self._turns.rest(endpoint, min(failure.retry_after_s, self._settings.retry_max_s))
        elif failure.kind not in _BY_THE_REQUEST:
            self._turns.rest(endpoint, endpoint.next_pause_s())
            self._nudges[endpoint.number].set()

    def _end_if_final(
        self, endpoint: Endpoint, failure: ServerFailed, request: Request, reply: Reply, *, is_last: bool
    ) -> None:
        """Raise what the caller gets when trying again is no use."""
        told = f"{endpoint.shown}: {failure}"
        if reply.first_s is not None:
            raise EngineDown(f"{told}, in the middle of a reply")
        if failure.kind in _FINAL:
            raise RequestFailed(_FINAL[failure.kind], told)
        if failure.kind == "not_found":
            raise RequestFailed("unknown_model" if request.lora is None else "unknown_lora", told)
        if failure.kind == "unauthorized" and not self._any_up():
            raise RequestFailed("unauthorized", told)
        if is_last and failure.kind in _IN_THE_END:
            raise RequestFailed(_IN_THE_END[failure.kind], told)
        if is_last:
            raise EngineDown(f"no server answered; the last was {told}")

    async def _watch(self, server: "Server") -> None:
        nudge = self._nudges[server.endpoint.number]
        while True:
            nudge.clear()
            await self._look(server)
            endpoint = server.endpoint
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.probe_s if endpoint.up else endpoint.next_pause_s()):
                    await nudge.wait()

    async def _look(self, server: "Server") -> None:
        """Ask a server how it is; it counts as up only with the loras it should have."""
        try:
            await self._ask_models(server)
            await self._loras.restore(server)
        except (ServerFailed, LoraRejected, EngineDown) as error:
            self._lose(server.endpoint, error.reason if isinstance(error, ServerFailed) else str(error))
            return
        if not server.endpoint.up:
            log.info("remote_server_up", url=server.endpoint.shown)
        server.endpoint.answered()
        self._review()
        self._turns.dispatch()
        await self._loras.tidy()

    async def _ask_models(self, server: "Server") -> None:
        try:
            await server.look()
        except ServerFailed as failure:
            if failure.kind != "connection" or not server.endpoint.up:
                raise
            await server.look()  # a kept connection that the server has just closed is no dead server

    def _lose(self, endpoint: Endpoint, reason: str) -> None:
        if endpoint.up or not endpoint.asked:
            log.warning("remote_server_down", url=endpoint.shown, reason=reason)
        endpoint.failed(reason)
        self._review()
        if not self._any_up():
            self._turns.give_up(f"no server answers: {self._reasons()}")

    def _review(self) -> None:
        """The engine's state is what its servers make of it."""
        if self._asleep:
            self._move("asleep", "")
        elif self._any_up():
            self._move("ready", "")
        elif all(endpoint.asked for endpoint in self._endpoints):
            self._move("down", self._reasons())

    def _move(self, state: State, reason: str) -> None:
        (self._ready.set if state == "ready" else self._ready.clear)()
        if state != self.state:
            self.state = state
            self._on_state(state, reason)

    def _any_up(self) -> bool:
        return any(endpoint.up for endpoint in self._endpoints)

    def _reasons(self) -> str:
        return "; ".join(f"{endpoint.shown}: {endpoint.reason}" for endpoint in self._endpoints if not endpoint.up)
