"""The audit log: who did what and when, one JSON line each, appended, never changed. No text of viewers, no token."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from vtuber_brain.control.tokens import Who
from vtuber_brain.runtime.clock import unix_s
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

FILE = "audit.jsonl"
KEPT = 4
MAX_TEXT_CHARS = 200
TAIL_BYTES = 2**20


class AuditLog:
    """The file at `path` (0600); at `max_bytes` it becomes `path.1`, that `path.2`, and so on: KEPT files in all.

    What cannot be written is said and counted, and stops no action: a mute must work on a full disk.
    """

    def __init__(self, path: Path, max_bytes: int, metrics: Metrics) -> None:
        self._path, self._max_bytes, self._metrics = path, max_bytes, metrics

    def note(self, who: Who, action: str, arguments: Mapping[str, Any], outcome: str) -> None:
        """Write down one action; texts among the arguments are cut."""
        entry = {
            "at": round(unix_s(), 3),
            "role": who.role,
            "token": who.token,
            "address": who.address,
            "action": action,
            "arguments": {name: _cut(value) for name, value in arguments.items()},
            "outcome": outcome,
        }
        try:
            self._append(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            self._metrics.errors.labels("audit").inc()
            log.error("not_audited", action=action, role=who.role, outcome=outcome, reason=str(error))

    def latest(self, num: int) -> list[dict[str, Any]]:
        """Up to `num` entries, the newest first; reads no more than TAIL_BYTES of a file."""
        found: list[dict[str, Any]] = []
        for number in range(2):
            found += _entries(self._numbered(number))
            if len(found) >= num:
                break
        return found[:num]

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(line) > self._max_bytes and size:
                os.close(descriptor)
                descriptor = -1
                self._rotate()
                descriptor = os.open(self._path, flags, 0o600)
            os.write(descriptor, line)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _rotate(self) -> None:
        for number in reversed(range(KEPT - 1)):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _cut(value: Any) -> Any:
    return value[:MAX_TEXT_CHARS] if isinstance(value, str) else value


def _entries(path: Path) -> list[dict[str, Any]]:
    """The last entries of one file, the newest first; a line that is no entry is passed over."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except FileNotFoundError:
        return []
    return list(_parsed(reversed(lines)))


def _parsed(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
