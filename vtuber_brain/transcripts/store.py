"""The writing side of the transcripts: what is appended is on disk when `append` returns.

Appends that wait together share one commit, so an acknowledgement always means committed and a crowd costs little more
than one. When the disk is full or the database fails, those who wait are told so and the next append tries again. It
never drops a row by itself and reads nothing back. What was taken back is kept until it is written, for nobody can be
asked to send it again.
"""

import asyncio
import contextlib
import math
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import Event, Incoming, Retraction, Turn, Utterance
from vtuber_brain.transcripts.database import BUSY_TIMEOUT_S, Database, Failure
from vtuber_brain.transcripts.rows import (
    END_STREAM,
    START_STREAM,
    Playback,
    Statement,
    playback_statement,
    statements,
)

log = structlog.get_logger(__name__)

MAX_BATCH = 1000
MAX_SEQ = 2**31
PATIENCE_S = 8.0
"""How long an append waits for a disk that does not answer; after that the next ones are told so at once."""

NUM_RECENT = 256
"""Replies of which it is remembered in which stream they began: more than the player can still be telling of."""

IMPATIENT_S = 0.25
"""How long a file that another program holds is waited for, once it was waited for in vain."""

MAX_OWED = 4096
"""Retractions, and replies taken back, that are kept while they cannot be written; beyond that the oldest is lost."""

Of = tuple[str, str, str | None, str | None]
"""Persona, model, release and memory settings of a stream, as it began."""


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """Rows to be written together; `owed` ones also after whoever waited for them was told that they could not be."""

    rows: Sequence[Statement]
    done: "asyncio.Future[None]"
    owed: bool


class Transcripts:
    """One stream's rows in one database file; made by `open`, for one event loop.

    What waits for a commit is bounded by who waits: each `append` holds one place until it returns. `failing` says why
    the last commit failed; None while all is well.
    """

    def __init__(self, database: Database, stream_id: int, of: Of, clock: Callable[[], float]) -> None:
        self._database, self._of, self._clock = database, of, clock
        self._waiting: list[_Entry] = []
        self._owed: deque[_Entry] = deque(maxlen=MAX_OWED)
        self._begun_in: OrderedDict[str, int] = OrderedDict()
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False
        self._writing_since_s = math.inf
        self.stream_id = stream_id
        self.failing: str | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        persona: str,
        model: str,
        release: str | None,
        memory: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator["Transcripts"]:
        """Open or create the file and begin a stream in it, which ends on leaving.

        `memory` is the settings of the memory as JSON, so that what she was asked can be built again.
        Raises ConfigError for a newer database or a file that is none, Unavailable when it cannot be written now.
        """
        database = Database(path)
        try:
            await database.open()
            of = persona, model, release, memory
            transcripts = cls(database, await _begun(database, (clock(), *of)), of, clock)
            try:
                yield transcripts
            finally:
                await transcripts._end()
        finally:
            await database.close()

    async def append(self, *events: Incoming | Event) -> None:
        """Write what `events` say; returns once committed. Raises Unavailable when one of them could not be.

        Those that take words back are then written before whatever is written next.
        """
        now = self._clock()
        await self._commit(
            [_entry(statements(event, self._stream_of(event), now), owed=_takes_back(event)) for event in events]
        )

    async def playback(self, reply_id: str, seq: int, state: Playback, at: float) -> None:
        """Note how far the player is with an utterance; one that is unknown changes nothing."""
        if 0 <= seq < MAX_SEQ:
            stream_id = self._begun_in.get(reply_id, self.stream_id)
            await self._commit([_entry([playback_statement(stream_id, reply_id, seq, state, at)])])

    async def next_stream(self) -> None:
        """End the stream and begin another of the same kind; what is told later of a reply is still added to its own.

        Raises Unavailable; a stream without an end ends with us.
        """
        ended, now = self.stream_id, self._clock()
        self.stream_id = await _begun(self._database, (now, *self._of))
        await self._commit([_entry([Statement(END_STREAM, (now, ended))])])

    def _stream_of(self, event: Incoming | Event) -> int:
        """A reply belongs whole to the stream in which it began: the player may come to its end in the next one."""
        if not isinstance(event, Turn | Utterance):
            return self.stream_id
        stream_id = self._begun_in.setdefault(event.reply_id, self.stream_id)
        if len(self._begun_in) > NUM_RECENT:
            self._begun_in.popitem(last=False)
        return stream_id

    async def _commit(self, entries: Sequence[_Entry]) -> None:
        if self._closed:
            raise Unavailable(f"transcripts {self._database.path}: closed")
        if time.monotonic() - self._writing_since_s > PATIENCE_S:
            owed = [entry for entry in entries if entry.owed]
            self._waiting += owed[: max(0, MAX_OWED - len(self._waiting))]
            raise Unavailable(self._does_not_answer())
        waiters = [self._enqueue(entry) for entry in entries if entry.rows]
        try:
            async with asyncio.timeout(PATIENCE_S):
                if len(waiters) == 1:
                    await waiters[0]
                elif waiters:
                    await asyncio.wait(waiters)
        except TimeoutError:
            if self.failing is None:
                self.failing = self._does_not_answer()
                log.error("transcripts_unavailable", reason=self.failing)
            raise Unavailable(self._does_not_answer()) from None
        for waiter in waiters:
            waiter.result()

    def _does_not_answer(self) -> str:
        return f"transcripts {self._database.path}: the disk does not answer: look after it; writing goes on by itself"

    def _enqueue(self, entry: _Entry) -> "asyncio.Future[None]":
        self._waiting.append(entry)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="transcripts-flush")
        return entry.done

    async def _flush(self) -> None:
        """Commit what waits, batch by batch, until nothing does; what is owed goes first."""
        try:
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                owed, self._owed = self._owed, deque(maxlen=MAX_OWED)
                await self._settle([*owed, *batch])
                del self._waiting[: len(batch)]
        finally:
            for entry in self._waiting:
                _resolve(entry.done, Unavailable(f"transcripts {self._database.path}: closing"))
            self._waiting.clear()

    async def _settle(self, batch: list[_Entry]) -> None:
        self._writing_since_s = time.monotonic()
        try:
            patience_s = BUSY_TIMEOUT_S if self.failing is None else IMPATIENT_S
            error = await self._database.write([row for entry in batch for row in entry.rows], patience_s)
        finally:
            self._writing_since_s = math.inf
        if error is not None and len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
            for entry in batch:  # one row that the tables refuse must not cost the others theirs
                await self._settle([entry])
            return
        self._note(error)
        for entry in batch:
            _resolve(entry.done, None if error is None else self._database.unavailable(error))
        if isinstance(error, sqlite3.OperationalError):
            self._owed.extend(entry for entry in batch if entry.owed)

    def _note(self, error: Failure | None) -> None:
        was_failing = self.failing is not None
        self.failing = None if error is None else str(self._database.unavailable(error))
        if error is not None and not was_failing:
            log.error("transcripts_unavailable", reason=self.failing)
        elif error is None and was_failing:
            log.info("transcripts_recovered", path=str(self._database.path))

    async def _end(self) -> None:
        """Take no more, and write what waits and the end of the stream, which comes last in the line."""
        self._closed = True
        try:
            await self._enqueue(_entry([Statement(END_STREAM, (self._clock(), self.stream_id))]))
        except Unavailable as error:
            log.warning("transcripts_end_not_written", reason=str(error), num_owed=len(self._owed))


def _takes_back(event: Incoming | Event) -> bool:
    return isinstance(event, Retraction) or (isinstance(event, Turn) and event.outcome == "retracted")


def _entry(rows: Sequence[Statement], *, owed: bool = False) -> _Entry:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.add_done_callback(_look)
    return _Entry(rows, done, owed)


def _resolve(done: "asyncio.Future[None]", failure: Unavailable | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


def _look(done: "asyncio.Future[None]") -> None:
    """A failure is told to each who waits; of one who has left nobody need hear."""
    if not done.cancelled():
        done.exception()


async def _begun(database: Database, values: tuple[float, str, str, str | None, str | None]) -> int:
    """Begin a stream; its id."""

    def begin(connection: sqlite3.Connection) -> int:
        cursor = connection.execute(START_STREAM, values)
        connection.commit()
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    try:
        return await database.do(begin)
    except sqlite3.Error as error:
        raise database.unavailable(error) from error
