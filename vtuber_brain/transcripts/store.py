"""The writing side of the transcripts: what is appended is on disk when `append` returns.

Appends that wait together share one commit, so an acknowledgement always means committed and a crowd costs little more
than one. When the disk is full or the database fails, those who wait are told so and the next append tries again. It
never drops a row by itself and reads nothing back.
"""

import asyncio
import contextlib
import itertools
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiosqlite
import structlog

from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import Event, Incoming
from vtuber_brain.transcripts.rows import (
    END_STREAM,
    START_STREAM,
    Playback,
    Statement,
    playback_statement,
    statements,
)
from vtuber_brain.transcripts.schema import migration_script, not_a_database

log = structlog.get_logger(__name__)

MAX_BATCH = 1000
BUSY_TIMEOUT_S = 5.0
MAX_SEQ = 2**31

_ADVICE = {
    "SQLITE_FULL": "free some space on that disk; writing goes on by itself",
    "SQLITE_READONLY": "make the file and its folder writable for this user; writing goes on by itself",
    "SQLITE_CANTOPEN": "see that the folder exists and may be written by this user, or set transcripts.path",
    "SQLITE_BUSY": "end the other program that holds the file; writing goes on by itself",
    "SQLITE_IOERR": "look after that disk; writing goes on by itself",
}
_UNUSABLE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")

Waiter = tuple[Sequence[Statement], "asyncio.Future[None]"]


class Transcripts:
    """One stream's rows in one database file; made by `open`, for one event loop.

    What waits for a commit is bounded by who waits: each `append` holds one place until it returns. `failing` says why
    the last commit failed; None while all is well.
    """

    def __init__(
        self, connection: aiosqlite.Connection, path: Path, stream_id: int, clock: Callable[[], float]
    ) -> None:
        self._connection, self._path, self._clock = connection, path, clock
        self._waiting: list[Waiter] = []
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False
        self.stream_id = stream_id
        self.failing: str | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, path: Path, *, persona: str, model: str, release: str | None, clock: Callable[[], float] = time.time
    ) -> AsyncIterator["Transcripts"]:
        """Open or create the file and begin a stream in it, which ends on leaving.

        Raises ConfigError for a newer database or a file that is none, Unavailable when it cannot be written now.
        """
        async with _connected(path) as connection:
            try:
                cursor = await connection.execute(START_STREAM, (clock(), persona, model, release))
                await connection.commit()
            except sqlite3.Error as error:
                raise _unavailable(path, error) from error
            assert cursor.lastrowid is not None
            transcripts = cls(connection, path, cursor.lastrowid, clock)
            try:
                yield transcripts
            finally:
                await transcripts._end()

    async def append(self, event: Incoming | Event) -> None:
        """Write what `event` says; returns once committed. Raises Unavailable when it could not be."""
        await self._commit(statements(event, self.stream_id, self._clock()))

    async def playback(self, reply_id: str, seq: int, state: Playback, at: float) -> None:
        """Note how far the player is with an utterance of this stream; one that is unknown changes nothing."""
        if 0 <= seq < MAX_SEQ:
            await self._commit([playback_statement(self.stream_id, reply_id, seq, state, at)])

    async def _commit(self, rows: Sequence[Statement]) -> None:
        if self._closed:
            raise Unavailable(f"transcripts {self._path}: closed")
        if rows:
            await self._enqueue(rows)

    async def _enqueue(self, rows: Sequence[Statement]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="transcripts-flush")
        await done

    async def _flush(self) -> None:
        """Commit what waits, batch by batch, until nothing does."""
        try:
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                await self._settle(batch)
                del self._waiting[: len(batch)]
        finally:
            for _, done in self._waiting:
                _resolve(done, Unavailable(f"transcripts {self._path}: closing"))
            self._waiting.clear()

    async def _settle(self, batch: list[Waiter]) -> None:
        error = await self._write([row for rows, _ in batch for row in rows])
        if error is not None and len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
            for waiter in batch:  # one row that the tables refuse must not cost the others theirs
                await self._settle([waiter])
            return
        self._note(error)
        for _, done in batch:
            _resolve(done, None if error is None else _unavailable(self._path, error))

    async def _write(self, rows: list[Statement]) -> sqlite3.Error | None:
        try:
            for sql, same in itertools.groupby(rows, key=lambda row: row.sql):
                await self._connection.executemany(sql, [row.values for row in same])
            await self._connection.commit()
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                await self._connection.rollback()
            return error
        return None

    def _note(self, error: sqlite3.Error | None) -> None:
        was_failing = self.failing is not None
        self.failing = None if error is None else str(_unavailable(self._path, error))
        if error is not None and not was_failing:
            log.error("transcripts_unavailable", reason=self.failing)
        elif error is None and was_failing:
            log.info("transcripts_recovered", path=str(self._path))

    async def _end(self) -> None:
        """Take no more, and write what waits and the end of the stream, which comes last in the line."""
        self._closed = True
        try:
            await self._enqueue([Statement(END_STREAM, (self._clock(), self.stream_id))])
        except Unavailable as error:
            log.warning("transcripts_end_not_written", reason=str(error))


@contextlib.asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """The database at `path` with its tables up to date; readable for its owner alone, for it holds viewers' words."""
    try:
        _make_private(path)
        connection = await aiosqlite.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level="IMMEDIATE")
    except OSError as error:
        advice = "see that the folder can be written by this user, or set transcripts.path"
        raise Unavailable(f"transcripts {path}: {error.strerror or error}: {advice}") from error
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error
    try:
        await _prepare(connection, path)
        yield connection
    finally:
        await connection.close()


def _make_private(path: Path) -> None:
    """Make the file, or find out why not before SQLite does, which would not say so clearly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


async def _prepare(connection: aiosqlite.Connection, path: Path) -> None:
    try:
        cursor = await connection.execute("PRAGMA user_version")
        row = await cursor.fetchone()
        assert row is not None
        script = migration_script(path, row[0])
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = NORMAL")
        if script is not None:
            await connection.executescript(script)
    except sqlite3.DatabaseError as error:
        if _name(error).startswith(_UNUSABLE):
            raise not_a_database(path, error) from error
        raise _unavailable(path, error) from error


def _resolve(done: "asyncio.Future[None]", failure: Unavailable | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


def _unavailable(path: Path, error: sqlite3.Error) -> Unavailable:
    name = _name(error)
    advice = next(
        (text for code, text in _ADVICE.items() if name.startswith(code)),
        "writing goes on by itself once that is mended",
    )
    return Unavailable(f"transcripts {path}: {error}: {advice}")


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
