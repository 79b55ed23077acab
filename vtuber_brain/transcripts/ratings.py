"""What the operator says of her replies: rated, or corrected. From any process, while the daemon writes or without it.

Every word of the operator's stays; of one reply the last counts.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.transcripts.database import is_unusable, opened, unavailable
from vtuber_brain.transcripts.schema import not_a_database

Rating = Literal[-1, 0, 1]

BUSY_TIMEOUT_MS = 30_000
MAX_EDIT_CHARS = 2000
MAX_REASON_CHARS = 500
_ANSWERS = """
SELECT t.stream_id, t.reply_id, t.at, t.outcome, t.text, t.heard_text, t.musing, m.author_name, m.text AS said,
    r.rating, r.edited_text, r.rated_by
FROM turns t
LEFT JOIN messages m ON m.stream_id = t.stream_id AND m.source = t.source AND m.message_id = t.message_id
LEFT JOIN ratings r ON r.id = (SELECT max(id) FROM ratings WHERE stream_id = t.stream_id AND reply_id = t.reply_id)
WHERE t.outcome IN ('spoken', 'cut') AND t.heard_text <> '' AND m.retracted_at IS NULL
    AND (:stream IS NULL OR t.stream_id = :stream) AND (:all OR r.id IS NULL)
ORDER BY t.id DESC LIMIT :limit
"""
_ADD = """
INSERT INTO ratings (stream_id, reply_id, rated_by, rating, edited_text, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_LAST_EDIT = "SELECT edited_text FROM ratings WHERE stream_id = ? AND reply_id = ? ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Rated:
    """A reply with the operator's last word on it; `rating` None: nothing was said of it yet. `at` is Unix time (s)."""

    stream: int
    reply_id: str
    at: float
    viewer: str | None
    said: str | None
    heard_text: str
    rating: int | None
    edited_text: str | None
    rated_by: str | None


def rate(path: Path, reply_id: str, rating: Rating, by: str, *, reason: str = "") -> int:
    """Note that `by` finds a reply good (1), bad (-1), or has no opinion any more (0); the stream it belongs to.

    Raises ConfigError for a reply that is not there, Unavailable when the file cannot be written now.
    """
    if rating not in (-1, 0, 1):
        raise ConfigError([Problem("rating", f"{rating!r} is none", "Give -1, 0 or 1")])
    return _noted(path, reply_id, (by, rating, None, reason.strip()[:MAX_REASON_CHARS] or None))


def edit(path: Path, reply_id: str, text: str, by: str, *, reason: str = "") -> int:
    """Note what she should have said instead, which also approves of the reply; the stream it belongs to.

    Raises ConfigError for an empty or over-long text and as `rate` does.
    """
    text = " ".join(text.split())
    if not text or len(text) > MAX_EDIT_CHARS or not text.isprintable():
        what = f"{len(text)} characters" if text.isprintable() else "it holds control characters"
        raise ConfigError(
            [Problem("text", what, f"Give 1 to {MAX_EDIT_CHARS} plain characters of what she should say")]
        )
    return _noted(path, reply_id, (by, 1, text, reason.strip()[:MAX_REASON_CHARS] or None))


def rated(path: Path, *, stream: int | None = None, unrated: bool = True, limit: int = 50) -> list[Rated]:
    """The latest replies that were heard, newest first; `unrated`: only those nobody has had a word on."""
    with changing(path) as database:
        rows = database.execute(_ANSWERS, {"stream": stream, "all": not unrated, "limit": limit}).fetchall()
    return [
        Rated(
            stream=row["stream_id"],
            reply_id=row["reply_id"],
            at=row["at"],
            viewer=row["author_name"],
            said=row["said"] if row["said"] is not None else row["musing"],
            heard_text=row["heard_text"],
            rating=row["rating"],
            edited_text=row["edited_text"],
            rated_by=row["rated_by"],
        )
        for row in rows
    ]


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own to transcripts that are there; what is done with it is one transaction, if it does not
    commit by itself. Raises ConfigError for no or other transcripts, Unavailable when they cannot be written now.
    """
    if not path.is_file():
        fix = "Run the daemon first, or name the settings with --config"
        raise ConfigError([Problem(str(path), "there are no transcripts", fix)])
    try:
        with contextlib.closing(opened(path)) as database:
            database.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}").fetchone()
            database.row_factory = sqlite3.Row
            with database:
                yield database
    except sqlite3.DatabaseError as error:
        raise (not_a_database(path, error) if is_unusable(error) else unavailable(path, error)) from error


def _noted(path: Path, reply_id: str, values: tuple[str, Rating, str | None, str | None]) -> int:
    with changing(path) as database:
        found = database.execute("SELECT max(stream_id) FROM turns WHERE reply_id = ?", (reply_id,)).fetchone()[0]
        if found is None:
            fix = "See the replies with: vtuber-brain transcripts approve-list"
            raise ConfigError([Problem(f"reply {reply_id}", "there is none of that id", fix)])
        by, rating, text, reason = values
        if rating == 1 and text is None:  # who approves of a corrected reply approves of the correction
            last = database.execute(_LAST_EDIT, (found, reply_id)).fetchone()
            text = last[0] if last is not None else None
        database.execute(_ADD, (found, reply_id, by, rating, text, reason, time.time()))
    return int(found)
