"""The file of the transcripts, worked on by one thread of its own: a whole transaction is one visit there."""

import asyncio
import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from vtuber_brain.errors import Unavailable
from vtuber_brain.transcripts.rows import REORDERABLE, Statement, Value
from vtuber_brain.transcripts.schema import migration_script, not_a_database

BUSY_TIMEOUT_S = 5.0

_ADVICE = {
    "SQLITE_FULL": "free some space on that disk; writing goes on by itself",
    "SQLITE_READONLY": "make the file and its folder writable for this user; writing goes on by itself",
    "SQLITE_CANTOPEN": "see that the folder exists and may be written by this user, or set transcripts.path",
    "SQLITE_BUSY": "end the other program that holds the file; writing goes on by itself",
    "SQLITE_IOERR": "look after that disk; writing goes on by itself",
}
_UNUSABLE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")

Failure = sqlite3.Error | OverflowError
"""Why rows were not written; the other is of a number that SQLite has no room for."""

T = TypeVar("T")


class Database:
    """An open file. Every call waits for those before it; being cancelled does not undo one that has begun."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transcripts")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create it with its tables up to date, readable for its owner alone, for it holds viewers' words.

        Raises ConfigError for a newer database or a file that is none, Unavailable when it cannot be written now.
        """
        try:
            self._connection = await self._visit(lambda: opened(self.path))
        except OSError as error:
            advice = "see that the folder can be written by this user, or set transcripts.path"
            raise Unavailable(f"transcripts {self.path}: {error.strerror or error}: {advice}") from error
        except UnicodeDecodeError as error:  # SQLite quotes the schema it finds damaged, and that is no text
            raise not_a_database(self.path, error) from error
        except sqlite3.DatabaseError as error:
            if is_unusable(error):
                raise not_a_database(self.path, error) from error
            raise self.unavailable(error) from error

    async def close(self) -> None:
        """Close the file, and end the thread."""
        if self._connection is not None:
            await self.do(sqlite3.Connection.close)
        self._thread.shutdown()

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` on the connection. Raises what it raises."""
        connection = self._connection
        assert connection is not None
        return await self._visit(lambda: work(connection))

    async def write(self, rows: Sequence[Statement], busy_s: float = BUSY_TIMEOUT_S) -> Failure | None:
        """All of `rows` in one transaction, or none and the reason; another program's lock is waited for `busy_s`."""
        return await self.do(lambda connection: _written(connection, rows, busy_s))

    def unavailable(self, error: Failure) -> Unavailable:
        """The failure in the operator's words, with what helps."""
        return unavailable(self.path, error)

    async def _visit(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def unavailable(path: Path, error: Failure) -> Unavailable:
    """A failure of the file at `path` in the operator's words, with what helps."""
    name = _name(error)
    advice = next(
        (text for code, text in _ADVICE.items() if name.startswith(code)),
        "writing goes on by itself once that is mended",
    )
    return Unavailable(f"transcripts {path}: {error}: {advice}")


def is_unusable(error: sqlite3.Error) -> bool:
    """Whether the file is no database at all, or a damaged one."""
    return _name(error).startswith(_UNUSABLE)


def opened(path: Path) -> sqlite3.Connection:
    """A connection to the file at `path`, made if need be, its tables up to date. What it deletes is overwritten.

    Raises ConfigError for a newer database, OSError and sqlite3.DatabaseError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made, or found to be impossible, before SQLite tries, which would not say so clearly.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level="IMMEDIATE")
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        script = migration_script(path, connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON").fetchone()
        if script is not None:
            connection.executescript(script)
        undo.pop_all()
    return connection


def _written(connection: sqlite3.Connection, rows: Sequence[Statement], busy_s: float) -> Failure | None:
    try:
        connection.execute(f"PRAGMA busy_timeout = {busy_s * 1000:.0f}").fetchone()
        with connection:
            for sql, same in _grouped(rows):
                connection.executemany(sql, same)
    except (sqlite3.Error, OverflowError) as error:
        return error
    return None


def _grouped(rows: Sequence[Statement]) -> Iterable[tuple[str, list[tuple[Value, ...]]]]:
    """The rows by statement, each as often as need be: around what is not REORDERABLE the order stays."""
    for reorderable, run in itertools.groupby(rows, key=lambda row: row.sql in REORDERABLE):
        ordered = list(run)
        if reorderable:
            ordered.sort(key=lambda row: row.sql)
        for sql, same in itertools.groupby(ordered, key=lambda row: row.sql):
            yield sql, [row.values for row in same]


def _name(error: Failure) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
