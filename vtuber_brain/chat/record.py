"""Writes what sources deliver to a file that `replay` reads, so that a stream can be lived through again.

Nothing here may hold her up: what is noted waits in a bounded queue and is written by a thread. What cannot be written
in time is lost and counted; a disk that is full or gone is tried again.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from vtuber_brain.chat.frames import MAX_EMOTES, MAX_ID_CHARS, MAX_NAME_CHARS, MAX_ROLES, MAX_TEXT_CHARS
from vtuber_brain.errors import Refused
from vtuber_brain.messages import Author, ChatMessage, Incoming, ReplyTo, Retraction
from vtuber_brain.plugin_api import Deliver
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.retry import backoff

log = structlog.get_logger(__name__)

MAX_WAITING = 16_384
PAUSE_S = 0.2
"""Between two writes, so that a flood costs few; so much may be missing after a crash."""

RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0
SAME_S = 0.001
"""Times nearer to each other are one."""

MAX_LINE_BYTES = 262_144
_BEGINNING = b'{"at":'
_BLANK = "\u200b"

Fields = dict[str, Any]
OnState = Callable[[bool, str], None]


@dataclass(frozen=True, slots=True)
class Noted:
    """What was delivered when: on the loop's clock, and in Unix time, both in seconds."""

    now_s: float
    unix_s: float
    incoming: Incoming


class Recorder:
    """Keeps a recording at `path`; where there is one it goes on. `on_state` hears whether it can be written.

    When MAX_WAITING things wait to be written the newest is lost, and counted in `vtb_errors`, where="recording".
    """

    def __init__(self, path: Path, metrics: Metrics, on_state: OnState) -> None:
        self._path, self._on_state = path, on_state
        self._lost = metrics.errors.labels("recording")
        self._waiting: list[Noted] = []
        self._arrived = asyncio.Event()
        self._given_up = False
        self._started_s, self._before_s = now_s(), -1.0

    def note(self, incoming: Incoming) -> None:
        """Have one thing recorded that is delivered now. Never waits, never raises."""
        if self._given_up or len(self._waiting) >= MAX_WAITING:
            self._lost.inc()
            return
        self._waiting.append(Noted(now_s(), unix_s(), incoming))
        self._arrived.set()

    def before(self, deliver: Deliver) -> Deliver:
        """`deliver`, with all that goes through it noted first."""

        async def noted(incoming: Incoming) -> None:
            self.note(incoming)
            await deliver(incoming)

        return noted

    async def run(self) -> None:
        """Write until cancelled, then what is left. A file that is no recording is left alone for good."""
        batch: list[Noted] = []
        with ThreadPoolExecutor(1, "recording") as thread:
            try:
                while True:
                    await self._arrived.wait()
                    self._arrived.clear()
                    batch, self._waiting = self._waiting, []
                    await self._keep_saving(thread, batch)
                    await asyncio.sleep(PAUSE_S)
            except Refused as error:
                self._given_up = True
                self._lost.inc(len(batch) + len(self._waiting))
                log.error("recording_given_up", path=str(self._path), reason=str(error))
                self._on_state(False, str(error))
            finally:
                if not self._given_up:
                    thread.submit(self._save_last, batch, self._waiting)

    async def _keep_saving(self, thread: ThreadPoolExecutor, batch: list[Noted]) -> None:
        pauses = backoff(RETRY_FIRST_S, RETRY_MAX_S)
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(thread, self._save, batch)
            except OSError as error:
                self._on_state(False, f"{self._path}: {error.strerror or error}")
                await asyncio.sleep(next(pauses))
            else:
                self._on_state(True, "")
                return

    def _save(self, batch: list[Noted]) -> None:
        """In the thread: write a batch and empty it. Raises OSError, nothing of it being written, or Refused."""
        if self._before_s < 0:
            self._before_s = resume(self._path)
        began_s = self._started_s - self._before_s
        append(self._path, b"".join(line(noted, began_s) for noted in batch))
        batch.clear()

    def _save_last(self, batch: list[Noted], waiting: Sequence[Noted]) -> None:
        batch += waiting
        try:
            self._save(batch)
        except (OSError, Refused):
            self._lost.inc(len(batch))


def append(path: Path, data: bytes) -> None:
    """Write at the end of the file, all or nothing. Only its owner may read it. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", buffering=0) as file:
        size, rest = os.fstat(file.fileno()).st_size, memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise


def length(path: Path) -> tuple[float, int]:
    """The seconds of the recording at `path`, and its bytes without a last line that a crash tore; 0 and 0 of none.

    Raises OSError, and Refused for a file that is no recording.
    """
    if not path.exists():
        return 0.0, 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - MAX_LINE_BYTES))
        *lines, torn = file.read().split(b"\n")
    last = lines[-1] if lines else b""
    if not (last if lines else torn or _BEGINNING).startswith(_BEGINNING):
        raise Refused(f"{path}: holds something else than a recording. Give chat.record another path")
    return _at(path, last) if lines else 0.0, start + sum(len(one) + 1 for one in lines)


def resume(path: Path) -> float:
    """Make ready to go on at the end of a recording; its seconds so far. Raises as `length`."""
    seconds, num_bytes = length(path)
    if path.exists():
        os.truncate(path, num_bytes)
    return seconds


def line(noted: Noted, began_s: float) -> bytes:
    """One line of a recording that began at `began_s` on the loop's clock."""
    at, incoming = max(0.0, noted.now_s - began_s), noted.incoming
    ages_s = {
        "sent_at": noted.unix_s - incoming.at,
        "received_at": noted.now_s - incoming.received_s if isinstance(incoming, ChatMessage) else 0.0,
    }
    fields: Fields = {"at": round(at, 6), "source": _cut(incoming.source)}
    fields |= {name: round(at - age_s, 6) for name, age_s in ages_s.items() if abs(age_s) >= SAME_S}
    fields |= _message(incoming) if isinstance(incoming, ChatMessage) else _retraction(incoming)
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _message(message: ChatMessage) -> Fields:
    """A message as a client's frame, what is at its default left out."""
    text = message.text[:MAX_TEXT_CHARS]
    if message.kind == "chat" and not text.strip():
        text = _BLANK  # a frame of chat has words; to the rules these are none
    fields: Fields = {"type": "message", "id": _id(message.id), "author": _author(message.author), "text": text}
    if message.kind != "chat":
        fields["kind"] = message.kind
    if message.amount > 0:
        fields["amount"] = message.amount
    if message.reply_to is not None:
        fields["reply_to"] = _reply_to(message.reply_to)
    if message.emotes:
        fields["emotes"] = [_cut(emote) for emote in message.emotes if emote][:MAX_EMOTES]
    return fields


def _retraction(retraction: Retraction) -> Fields:
    target = _id(retraction.target_id or "")
    match retraction.scope:
        case "message":
            return {"type": "delete", "id": target}
        case "author":
            ends = {"for_s": max(0.0, retraction.until - retraction.at)} if retraction.until is not None else {}
            return {"type": "ban", "author_id": target, **ends}
        case "all":
            return {"type": "clear"}


def _author(author: Author) -> Fields:
    roles = [_cut(role) for role in author.roles if role][:MAX_ROLES]
    fields: Fields = {"id": _id(author.id), "name": _cut(author.name) or "?"}
    return {**fields, "roles": roles} if roles else fields


def _reply_to(earlier: ReplyTo) -> Fields:
    author, text = _author(earlier.author), earlier.text[:MAX_TEXT_CHARS]
    return {"id": _id(earlier.id), "author": author, "text": text, "ours": earlier.ours}


def _id(given: str) -> str:
    """An id as frames allow it; one that is too long, or empty, gets another that is as much its own."""
    if 0 < len(given) <= MAX_ID_CHARS:
        return given
    return hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()


def _cut(name: str) -> str:
    return name[:MAX_NAME_CHARS]


def _at(path: Path, last: bytes) -> float:
    try:
        return float(json.loads(last)["at"])
    except (ValueError, RecursionError, KeyError, TypeError):
        raise Refused(f"{path}: its last line is no line of a recording. Give chat.record another path") from None
