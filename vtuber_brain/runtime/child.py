"""A supervised child process over a socketpair: spawn, handshake, ping, restart with backoff, ask-ack-kill.

It knows frames, `Ready`, `Ping` and `Stop`; what else the two say to each other is the caller's protocol.
"""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import structlog

from vtuber_brain.errors import Refused, Unavailable, WireError
from vtuber_brain.runtime.line import Deframer, NotReady, Ping, Pong, Protocol, Ready, Stop
from vtuber_brain.runtime.retry import backoff

log = structlog.get_logger(__name__)

M = TypeVar("M")
State = Literal["starting", "ready", "slow", "down", "asleep"]
STABLE_S = 60.0
MAX_LINE_CHARS = 2000
QUIET_WAITING = {"GOMP_SPINCOUNT": "1000"}
"""How long a compute thread spins before it sleeps. By default for milliseconds, and children that spin for each
other's cores slow both down tenfold; without spinning a decode step alone takes half as long again."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """How patient to be with a child; all in seconds."""

    start_timeout_s: float = 180
    ping_s: float = 1
    slow_s: float = 5
    dead_s: float = 20
    stop_s: float = 3
    backoff_s: float = 0.5
    backoff_max_s: float = 30


class Child(Generic[M]):
    """One child process that is kept alive while `run` runs.

    `module` is run with this interpreter and given `--fd N`; `first` is sent at once, then `Ready` is awaited.
    `on_message` sees everything but the handshake and pongs; `on_state` every change of state with its reason.
    `prepare` is awaited after each handshake, before the child counts as ready, and alone may write to it meanwhile.
    """

    def __init__(
        self,
        name: str,
        module: str,
        protocol: Protocol[Any],
        first: M,
        supervision: Supervision,
        *,
        on_message: Callable[[M], None],
        on_state: Callable[[State, str], None],
        prepare: Callable[[Callable[[M], None]], Awaitable[None]] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name, self._module, self._protocol, self._first = name, module, protocol, first
        self._supervision = supervision
        self._on_message, self._on_state, self._prepare = on_message, on_state, prepare
        self._environment = environment or {}
        self._writer: asyncio.StreamWriter | None = None
        self._ready, self._awake, self._gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._awake.set()
        self._gone.set()
        self._life: asyncio.Timeout | None = None
        self._last_heard_s = 0.0
        self._since_s = time.monotonic()
        self.state: State = "down"
        self.facts: dict[str, Any] = {}
        self.pid: int | None = None
        self.num_starts = 0

    async def run(self) -> None:
        """Keep the child alive until cancelled, then stop it. Raises Refused when it says it never will work.

        One that has worked before is tried again whatever it says: what it lacks now, another program may give back.
        """
        pauses = self._pauses()
        while True:
            while not self._awake.is_set():
                await self._awake.wait()
            started_s = time.monotonic()
            try:
                await self._live_until_asleep()
            except (Unavailable, WireError, OSError) as error:
                self._move("down", str(error))
            else:
                continue
            if time.monotonic() - started_s > STABLE_S:
                pauses = self._pauses()
            await asyncio.sleep(next(pauses))

    async def sleep(self) -> None:
        """End the process and start none until `wake`; returns once it is gone."""
        if self._awake.is_set():
            self._awake.clear()
            self._ready.clear()
            self._move("asleep", "")
            if self._life is not None and not self._life.expired():
                self._life.reschedule(asyncio.get_running_loop().time())
        await self._gone.wait()

    def wake(self) -> None:
        """Start the process again after `sleep`."""
        self._awake.set()

    async def wait_ready(self) -> dict[str, Any]:
        """The facts the child gave in its handshake, as soon as it has."""
        await self._ready.wait()
        return self.facts

    def send(self, message: M) -> None:
        """Write one message. Raises Unavailable when the child is not ready."""
        if not self._ready.is_set():
            raise Unavailable(f"the {self.name} process is {self.state}")
        self._write(message)

    def _write(self, message: Any) -> None:
        assert self._writer is not None
        self._writer.write(self._protocol.encode(message))

    def stuck_s(self) -> float:
        """How long the supervision is beyond its own deadlines, in seconds: what the watchdog looks at."""
        patience, since_s = self._supervision, max(self._since_s, self._last_heard_s)
        allowed_s = {
            "starting": patience.start_timeout_s,
            "ready": patience.dead_s,
            "slow": patience.dead_s,
            "down": patience.backoff_max_s + patience.stop_s,
        }.get(self.state)
        return 0.0 if allowed_s is None else max(0.0, time.monotonic() - since_s - allowed_s)

    def _pauses(self) -> Iterator[float]:
        return backoff(self._supervision.backoff_s, self._supervision.backoff_max_s)

    def _move(self, state: State, reason: str) -> None:
        """Change the state and tell of it; one that sleeps stays asleep until it is woken."""
        if state != self.state and (state == "asleep" or self._awake.is_set()):
            self.state, self._since_s = state, time.monotonic()
            self._on_state(state, reason)

    async def _live_until_asleep(self) -> None:
        """One life; returns only when `sleep` has ended it."""
        self._gone.clear()
        try:
            async with asyncio.timeout(None) as self._life:
                await self._live()
        except TimeoutError:
            if self._life is None or not self._life.expired():
                raise
        finally:
            self._life = None
            self._gone.set()

    async def _live(self) -> None:
        """One life of the child, from spawn to death; always ends by an exception."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.callback(theirs.close)
            reader, self._writer = await asyncio.open_connection(sock=ours)
            undo.callback(self._writer.close)
            process = await self._spawn(theirs)
            theirs.close()
            self.pid = process.pid
            forwarding = asyncio.create_task(self._forward_output(process), name=f"{self.name}-output")
            try:
                await self._converse(reader)
            except (Unavailable, WireError, OSError) as error:
                self._ready.clear()
                self._move("down", str(error))  # at once: ending what is left of it may take a while
                raise
            finally:
                self._ready.clear()
                try:
                    await self._end(process)
                finally:
                    forwarding.cancel()
                    await asyncio.gather(forwarding, return_exceptions=True)

    async def _spawn(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        self._move("starting", "")
        self.num_starts += 1
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            "--fd",
            str(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a ctrl-C in the terminal is for the daemon alone
            env=QUIET_WAITING | os.environ | self._environment,
        )

    async def _converse(self, reader: asyncio.StreamReader) -> None:
        messages = self._messages(reader)
        self._write(self._first)
        try:
            async with asyncio.timeout(self._supervision.start_timeout_s):
                first = await anext(messages)
        except TimeoutError:
            raise Unavailable(f"not ready within {self._supervision.start_timeout_s} s") from None
        if isinstance(first, NotReady):
            raise Unavailable(first.detail) if self.facts else Refused(first.detail)
        if not isinstance(first, Ready):
            raise WireError(f"{type(first).__name__} before Ready")
        self.facts = first.facts
        self._last_heard_s = time.monotonic()
        tasks = [
            asyncio.create_task(self._serve(messages), name=f"{self.name}-line"),
            asyncio.create_task(self._watch(), name=f"{self.name}-ping"),
            asyncio.create_task(self._get_ready(), name=f"{self.name}-prepare"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _get_ready(self) -> None:
        if self._prepare is not None:
            await self._prepare(self._write)
        if self._awake.is_set():
            self._ready.set()
            self._move("ready", "")

    async def _serve(self, messages: Any) -> None:
        async for message in messages:
            self._last_heard_s = time.monotonic()
            if not isinstance(message, Pong):
                self._on_message(message)

    async def _messages(self, reader: asyncio.StreamReader) -> Any:
        deframer = Deframer()
        while data := await reader.read(65536):
            for body in deframer.feed(data):
                yield self._protocol.decode(body)
        raise Unavailable("the process ended")

    async def _watch(self) -> None:
        """Ping; anything heard counts as life."""
        supervision = self._supervision
        for n in range(sys.maxsize):
            silent_s = time.monotonic() - self._last_heard_s
            if silent_s > supervision.dead_s:
                raise Unavailable(f"silent for {silent_s:.1f} s")
            slow = silent_s > supervision.slow_s
            if self._ready.is_set():
                self._move("slow" if slow else "ready", f"silent for {silent_s:.1f} s" if slow else "")
            self._write(Ping(n))
            await asyncio.sleep(min(supervision.ping_s, supervision.dead_s / 4))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ask, wait, kill. The whole process group goes, so nothing it started outlives it."""
        assert self._writer is not None
        try:
            if process.returncode is None and not self._writer.is_closing():
                with contextlib.suppress(OSError, TimeoutError):
                    self._write(Stop())
                    async with asyncio.timeout(self._supervision.stop_s):
                        await process.wait()
        finally:  # also when we are cancelled while we wait: a hung child must not outlive us
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            gone = asyncio.create_task(process.wait(), name=f"{self.name}-end")
            try:
                await asyncio.shield(gone)
            except asyncio.CancelledError:  # who puts it to sleep must know that the device is free
                await gone
                raise

    async def _forward_output(self, process: asyncio.subprocess.Process) -> None:
        """What the child prints becomes log events; a line without end is cut, for a full pipe would stop the child."""
        assert process.stdout is not None
        rest = b""
        while data := await process.stdout.read(8192):
            *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
            for line in filter(None, (line.strip() for line in lines)):
                log.info("child_output", child=self.name, line=line.decode(errors="replace")[:MAX_LINE_CHARS])
            rest = rest[:MAX_LINE_CHARS]
