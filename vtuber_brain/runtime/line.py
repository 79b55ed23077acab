"""The line between the daemon and a child process: frames of JSON over a socketpair, and the child's end of it.

A frame is four bytes of length, big-endian, then that many bytes of UTF-8 JSON: one message of a closed union.
`Deframer` and `Protocol` are pure; `ChildEnd` is what a worker process reads and writes through.
"""

import os
import queue
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from vtuber_brain.errors import WireError

MAX_FRAME_BYTES = 16 * 2**20
_LENGTH = struct.Struct(">I")

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Ready:
    """Child to daemon, once: it can work; `facts` say with what."""

    facts: dict[str, Any]
    type: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class NotReady:
    """Child to daemon, once: it never will work like this; starting it again is of no use."""

    detail: str
    type: Literal["not_ready"] = "not_ready"


@dataclass(frozen=True, slots=True)
class Ping:
    """Daemon to child: are you there? Answered from the child's working loop, so that a hang shows."""

    n: int
    type: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True)
class Pong:
    """Child to daemon: the answer to `Ping` n."""

    n: int
    type: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class Stop:
    """Daemon to child: finish and exit; acknowledged by exiting."""

    type: Literal["stop"] = "stop"


class Protocol(Generic[M]):
    """Encodes and decodes the messages of one closed union (told apart by their `type`)."""

    def __init__(self, union: Any) -> None:
        self._adapter: TypeAdapter[M] = TypeAdapter(union)

    def encode(self, message: M) -> bytes:
        """The whole frame, length included. Raises WireError for what the other end would not take."""
        try:
            body = self._adapter.dump_json(message)
        except PydanticSerializationError as error:
            raise WireError(f"{type(message).__name__} cannot be sent: {error}") from None
        if len(body) > MAX_FRAME_BYTES:
            raise WireError(f"{type(message).__name__} takes {len(body)} bytes, over the limit of {MAX_FRAME_BYTES}")
        return _LENGTH.pack(len(body)) + body

    def decode(self, body: bytes) -> M:
        """The message in one frame's body. Raises WireError for anything else."""
        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            raise WireError(f"not a message of this line: {error.errors(include_input=False)[0]['msg']}") from None


class Deframer:
    """Cuts a stream of bytes into frame bodies. Raises WireError at a length no honest peer sends."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every body that `data` completes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise WireError(f"a frame of {length} bytes, over the limit of {MAX_FRAME_BYTES}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            yield bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]


class ChildEnd(Generic[M]):
    """The child's end. A thread reads, so a working loop can take what has come between two steps.

    When the daemon is gone (end of stream) or sends garbage, the process ends by SIGTERM: it has nothing to save.
    """

    def __init__(self, fd: int, protocol: Protocol[M]) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._protocol = protocol
        self._inbox: queue.SimpleQueue[M] = queue.SimpleQueue()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._read, name="line", daemon=True).start()

    def send(self, message: M) -> None:
        """Write one message; a vanished daemon is noticed by the reading thread."""
        try:
            self._socket.sendall(self._protocol.encode(message))
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)

    def receive(self, timeout_s: float | None) -> list[M]:
        """Everything that has arrived; waits for a first message up to `timeout_s` (None: for ever, 0: not at all)."""
        messages: list[M] = []
        try:
            messages.append(self._inbox.get(block=timeout_s != 0, timeout=timeout_s))
            while True:
                messages.append(self._inbox.get_nowait())
        except queue.Empty:
            return messages

    def _read(self) -> None:
        deframer = Deframer()
        try:
            while data := self._socket.recv(65536):
                for body in deframer.feed(data):
                    self._inbox.put(self._protocol.decode(body))
        except (OSError, WireError):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
