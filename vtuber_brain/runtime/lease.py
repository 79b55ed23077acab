"""A lock on a file that ends with its holder, however that ends, and says who holds it.

Shared, many hold it side by side; exclusive, one does and nobody else. It is advisory, on one machine, and to look who
holds it disturbs nobody.
"""

import contextlib
import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.errors import Unavailable

LIVE = "live.lease"
"""Beside the transcripts: held, shared, by every daemon that writes them."""

ON_AIR = "on_air.lease"
"""Beside the transcripts: held, shared, by every daemon that is not asleep."""

_FLOCK = "hhqqi4x"
"""Linux' `struct flock` on 64 bits: kind, whence, start, length (0: all), pid."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who took a lease last: the process, what it does, and since when (Unix time, s)."""

    pid: int
    what: str
    since: float

    def __str__(self) -> str:
        return f"{self.what or 'a process'} (pid {self.pid or 'unknown'})"


class Taken(Unavailable):
    """Somebody else holds it."""

    def __init__(self, path: Path, holder: Holder) -> None:
        super().__init__(f"{path}: held by {holder}")
        self.holder = holder


@contextlib.contextmanager
def held(path: Path, what: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lease within the block; `what` is told to others. Raises Taken at once, never waits, and OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK if shared else fcntl.F_WRLCK))
        except (BlockingIOError, PermissionError):
            raise Taken(path, _told(path)) from None
        told = json.dumps({"pid": os.getpid(), "what": what, "since": time.time()}).encode() + b"\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, told, 0)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """Who holds the lease at present; None: nobody. Of many that share it the last to take it is named."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock(fcntl.F_WRLCK))
    finally:
        os.close(descriptor)
    kind: int = struct.unpack(_FLOCK, found)[0]
    return None if kind == fcntl.F_UNLCK else _told(path)


def _lock(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)


def _told(path: Path) -> Holder:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Holder(int(told["pid"]), str(told["what"]), float(told["since"]))
    except (OSError, ValueError, KeyError, TypeError):  # it is just being written
        return Holder(0, "", 0.0)
