"""The player of recorded streams: a client that sends a file to the daemon as it once happened, and counts every fate.

A recording is JSONL: each line a client's frame with `at`, seconds since the start; record.py writes them too. The
player never touches the daemon but through its chat.
"""

import asyncio
import itertools
import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from vtuber_brain.chat.client import Client, open_client
from vtuber_brain.chat.frames import (
    MAX_NAME_CHARS,
    AuthorBody,
    BanFrame,
    ClearFrame,
    DeleteFrame,
    MessageFrame,
    ReplyToBody,
    SubscribeFrame,
)
from vtuber_brain.chat.ledger import Ledger, Summary
from vtuber_brain.chat.protocol import first_problem, validate
from vtuber_brain.errors import ConfigError, Problem, RecordError, Unavailable

SETTLE_S = 30.0

Frame = MessageFrame | DeleteFrame | BanFrame | ClearFrame
Named = TypeVar("Named", AuthorBody, ReplyToBody)
Progress = Callable[[Summary], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of a recording: what was delivered, `at` seconds after the start.

    Where the daemon wrote it, `source` brought it; it happened there at `sent_at`, and was received at `received_at`,
    in the same seconds, where they differ from `at`.
    """

    at: float
    frame: Frame
    source: str = ""
    sent_at: float | None = None
    received_at: float | None = None


async def replay(
    url: str,
    token: str | None,
    path: Path,
    *,
    speed: float = 1.0,
    loop: bool = False,
    settle_s: float = SETTLE_S,
    stop: asyncio.Event | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Send the recording at `path` to the chat at `url`, `speed` times as fast, and wait for the fate of each message.

    Waiting ends when all are known, or none has been heard of for `settle_s`. With `loop` it begins anew until `stop`
    is set. Ids are made unique per lap, so a lap is a new stream; what repeats inside the file stays a repetition.
    Raises ConfigError or RecordError when the file cannot be used, Unavailable or Refused when there is no connection;
    one that is lost on the way ends the replay with what is known by then (`Summary.cut_short`).
    """
    recording = read_recording(path)
    player = _Player(stop or asyncio.Event(), progress)
    async with open_client(url, token) as client:
        await client.subscribe()
        listening = asyncio.create_task(player.listen(client), name="replay-listen")
        try:
            await player.send(client, recording, speed, itertools.count() if loop else [0])
            await player.settle(settle_s)
        except Unavailable as gone:
            player.cut_short = str(gone)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    return player.ledger.summary(player.cut_short)


def read_recording(path: Path) -> list[Recorded]:
    """Every line of the file, checked before anything is sent. Raises ConfigError or RecordError."""
    return list(recorded_lines(path))


def recorded_lines(path: Path) -> Iterator[Recorded]:
    """The lines of the file one by one, so that it may be long. Raises ConfigError or RecordError where it is wrong."""
    number, empty = 1, True
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _recorded(str(path), number, line.rstrip(b"\n"))
                    empty = False
    except OSError as error:
        fix = "Give the path of a JSONL recording, such as tests/data/stream_mori.jsonl"
        raise ConfigError([Problem(str(path), error.strerror or "cannot be read", fix)]) from None
    if empty:
        raise RecordError(str(path), number, "line", "the file holds no messages")


def renamed(frame: Frame, prefix: str) -> Frame:
    """The frame with `prefix` before the ids of messages and authors, wherever they are named."""
    match frame:
        case MessageFrame():
            names = {"id": prefix + frame.id, "author": _renamed_body(frame.author, prefix)}
            if frame.reply_to is None:
                return frame.model_copy(update=names)
            author = _renamed_body(frame.reply_to.author, prefix)
            earlier = _renamed_body(frame.reply_to, prefix).model_copy(update={"author": author})
            return frame.model_copy(update={**names, "reply_to": earlier})
        case DeleteFrame():
            return frame.model_copy(update={"id": prefix + frame.id})
        case BanFrame():
            return frame.model_copy(update={"author_id": prefix + frame.author_id})
        case ClearFrame():
            return frame


def _renamed_body(body: Named, prefix: str) -> Named:
    return body.model_copy(update={"id": prefix + body.id})


class _Player:
    def __init__(self, stop: asyncio.Event, progress: Progress | None) -> None:
        self._stop, self._progress = stop, progress
        self._heard = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self.ledger = Ledger()
        self.cut_short: str | None = None

    async def listen(self, client: Client) -> None:
        """Enter what the daemon says, until it goes."""
        try:
            while True:
                if self.ledger.heard(await client.receive(), self._clock()):
                    self._heard.set()
                    self._report()
        except Unavailable as gone:
            self.cut_short = str(gone)
            self._stop.set()
            self._heard.set()

    async def send(self, client: Client, recording: list[Recorded], speed: float, laps: Iterable[int]) -> None:
        """Send every line at its time, until stopped."""
        run = secrets.token_hex(4)
        for lap in laps:
            started_s = self._clock()
            for recorded in recording:
                await self._wait_until(started_s + recorded.at / speed)
                if self._stop.is_set():
                    return
                origin = f"{recorded.source}:" if recorded.source else ""
                frame = renamed(recorded.frame, f"{run}.{lap}:{origin}")
                if isinstance(frame, MessageFrame):
                    self.ledger.sent(frame.id, self._clock())
                await client.send(frame)

    async def settle(self, settle_s: float) -> None:
        """Wait for the fates still unknown, as long as any are heard of."""
        while self.ledger.num_open and self.cut_short is None:
            self._heard.clear()
            try:
                async with asyncio.timeout(settle_s):
                    await self._heard.wait()
            except TimeoutError:
                return

    async def _wait_until(self, due_s: float) -> None:
        try:
            async with asyncio.timeout_at(due_s):
                await self._stop.wait()
        except TimeoutError:
            return

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.ledger.summary())


def _recorded(file: str, number: int, line: bytes) -> Recorded:
    try:
        data = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise RecordError(file, number, "line", f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise RecordError(file, number, "line", "a JSON object")
    at = data.pop("at", None)
    if not _is_number(at) or at < 0:
        raise RecordError(file, number, "at", "seconds since the start, 0 or more")
    source = data.pop("source", "")
    if not isinstance(source, str) or len(source) > MAX_NAME_CHARS:
        raise RecordError(file, number, "source", f"a name of at most {MAX_NAME_CHARS} characters")
    times = {field: data.pop(field) for field in ("sent_at", "received_at") if field in data}
    for field, value in times.items():
        if not _is_number(value):
            raise RecordError(file, number, field, "seconds since the start")
    return Recorded(float(at), _frame(file, number, data), source, **times)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _frame(file: str, number: int, data: dict[str, Any]) -> Frame:
    try:
        frame = validate(data)
    except ValidationError as error:
        raise RecordError(file, number, *first_problem(error)) from None
    if isinstance(frame, SubscribeFrame):
        raise RecordError(file, number, "type", "one of message, delete, ban, clear")
    return frame
