"""What a viewer may ask for: to be forgotten, or not to be learnt from. From any process, beside a running daemon.

A forgotten viewer's rows stay, emptied, so that ids and counts add up; their words and names are overwritten in the
file and its journal. What the daemon has in mind of them it forgets by a retraction, not by this.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.transcripts.quotes import Quoted
from vtuber_brain.transcripts.ratings import changing

MAX_SCRUB_BYTES = 256 * 2**20
"""A larger file is packed anew by the night, not at once: that would keep a running daemon waiting for too long."""

_VIEWERS = """
SELECT source, author_id, json_group_array(DISTINCT author_name) AS names, count(*) AS num, max(at) AS last_at
FROM messages WHERE author_id <> '' AND ({where}) GROUP BY source, author_id ORDER BY last_at DESC
"""
_THEIRS = "SELECT stream_id, source, message_id, author_name, text, at FROM messages WHERE source = ? AND author_id = ?"
_SAID = "SELECT text FROM verdicts WHERE stream_id = ? AND source = ? AND message_id = ?"
_TURNS = "SELECT reply_id FROM turns WHERE stream_id = ? AND source = ? AND message_id = ?"
_REPLIES = """
SELECT t.reply_id, t.text || ' ' || t.facts || ' ' || coalesce((SELECT group_concat(edited_text, ' ') FROM ratings r
    WHERE r.stream_id = t.stream_id AND r.reply_id = t.reply_id), '') AS words
FROM turns t WHERE t.stream_id = :stream AND t.at >= :since
UNION ALL SELECT reply_id, text FROM utterances WHERE stream_id = :stream AND created_at >= :since
"""
_EMPTY_VERDICT = """
UPDATE verdicts SET text = '', sentiment = NULL, scores = NULL, toxicity = NULL
WHERE stream_id = ? AND source = ? AND message_id = ?
"""
_EMPTY_MESSAGES = """
UPDATE messages SET author_id = '', author_name = '', roles = '[]', text = '', forgotten_at = ?
WHERE source = ? AND author_id = ?
"""
_EMPTY_REPLY = (
    "UPDATE turns SET text = '', heard_text = '', facts = '[]' WHERE stream_id = ? AND reply_id = ?",
    "UPDATE hearings SET heard_text = '' WHERE stream_id = ? AND reply_id = ?",
    "UPDATE utterances SET text = '' WHERE stream_id = ? AND reply_id = ?",
    "UPDATE ratings SET edited_text = NULL, reason = NULL, rating = 0 WHERE stream_id = ? AND reply_id = ?",
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who wrote under one id of one source, by every name they had. `last_at` is Unix time (s)."""

    source: str
    author_id: str
    names: tuple[str, ...] = ()
    num_messages: int = 0
    last_at: float = 0.0

    @property
    def key(self) -> str:
        """What names the viewer without doubt."""
        return f"{self.source}:{self.author_id}"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was emptied: messages, the replies to them, and replies to others that named or quoted the viewer.

    `is_scrubbed`: no byte of it is left in the file or its journal; else `scrub` is still to be called.
    """

    viewer: Viewer
    num_messages: int
    num_replies: int
    num_quoting: int
    is_scrubbed: bool


def find_viewers(path: Path, who: str) -> list[Viewer]:
    """Every viewer of that id, of that name, or of that `source:id`, latest first. Raises as `rate` does."""
    source, _, author = who.partition(":")
    where = "author_id = :who OR author_name = :who COLLATE NOCASE OR (source = :source AND author_id = :author)"
    with changing(path) as database:
        rows = database.execute(_VIEWERS.format(where=where), {"who": who, "source": source, "author": author})
        return [_viewer(row) for row in rows]


def the_viewer(path: Path, who: str) -> Viewer:
    """The one viewer meant by a name, an id or `source:id`. Raises ConfigError that lists them when there are several.

    A `source:id` that never wrote is taken at its word.
    """
    found = find_viewers(path, who)
    exact = [viewer for viewer in found if viewer.key == who]
    if len(exact or found) == 1:
        return (exact or found)[0]
    source, colon, author = who.partition(":")
    if not found and colon and source and author:
        return Viewer(source, author)
    if not found:
        raise ConfigError(
            [Problem(f"viewer {who}", "nobody of that name or id wrote", "Give a name, an id or source:id")]
        )
    listed = [Problem(one.key, f"{', '.join(one.names)}, {one.num_messages} messages", "Give this") for one in found]
    raise ConfigError([Problem(f"viewer {who}", f"{len(found)} viewers are called so", "Give one of these"), *listed])


def forget(path: Path, source: str, author_id: str, *, at: float | None = None) -> Forgotten:
    """Empty everything a viewer wrote, every reply to it, and replies to others that name or quote them.

    A tombstone of source and id stays, which empties also what is still on its way. `at`: Unix time (s), now if None.
    Raises ConfigError or Unavailable, and nothing has changed.
    """
    now = time.time() if at is None else at
    with changing(path) as database:
        messages = database.execute(_THEIRS, (source, author_id)).fetchall()
        (viewer,) = [
            _viewer(row)
            for row in database.execute(
                _VIEWERS.format(where="source = ? AND author_id = ?"), (source, author_id)
            ).fetchall()
        ] or [Viewer(source, author_id)]
        database.execute(
            "INSERT INTO forgotten (source, author_id, at, scope) VALUES (?, ?, ?, 'all')", (source, author_id, now)
        )
        replies = {(row["stream_id"], reply) for row in messages for reply in _replies_to(database, row)}
        quoting = set(_quoting(database, messages)) - replies
        for row in messages:
            database.execute(_EMPTY_VERDICT, (row["stream_id"], row["source"], row["message_id"]))
        for sql in _EMPTY_REPLY:
            database.executemany(sql, sorted(replies | quoting))
        database.execute(_EMPTY_MESSAGES, (now, source, author_id))
    is_scrubbed = path.stat().st_size <= MAX_SCRUB_BYTES and scrub(path)
    return Forgotten(viewer, len(messages), len(replies), len(quoting), is_scrubbed)


def scrub(path: Path) -> bool:
    """Write the file anew without what was emptied, and cut its journal; False when somebody was reading meanwhile."""
    with changing(path) as database:
        database.execute("VACUUM")
        busy = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy:
            database.execute("UPDATE forgotten SET scrubbed_at = ? WHERE scrubbed_at IS NULL", (time.time(),))
    return not busy


def is_scrub_due(path: Path) -> bool:
    """Whether something was forgotten whose bytes may still be in the file."""
    with changing(path) as database:
        return database.execute("SELECT 1 FROM forgotten WHERE scrubbed_at IS NULL").fetchone() is not None


def opt_out(path: Path, source: str, author_id: str, by: str) -> None:
    """Nothing of what this viewer wrote or will write is learnt from. Raises as `forget` does."""
    _choose(path, source, author_id, "out", by)


def opt_in(path: Path, source: str, author_id: str, by: str) -> None:
    """The viewer changed their mind, which holds for all they wrote. Raises as `forget` does."""
    _choose(path, source, author_id, "in", by)


def _choose(path: Path, source: str, author_id: str, choice: Literal["out", "in"], by: str) -> None:
    with changing(path) as database:
        database.execute(
            "INSERT INTO consent (source, author_id, choice, said_by, at) VALUES (?, ?, ?, ?, ?)",
            (source, author_id, choice, by, time.time()),
        )


def _replies_to(database: sqlite3.Connection, message: sqlite3.Row) -> list[str]:
    key = message["stream_id"], message["source"], message["message_id"]
    return [reply_id for (reply_id,) in database.execute(_TURNS, key)]


def _quoting(database: sqlite3.Connection, messages: Iterable[sqlite3.Row]) -> Iterator[tuple[int, str]]:
    """Replies of the streams in which these were written, after the first of them, that name or quote their author."""
    by_stream: dict[int, list[sqlite3.Row]] = {}
    for row in messages:
        by_stream.setdefault(row["stream_id"], []).append(row)
    for stream, rows in by_stream.items():
        persona = database.execute("SELECT persona FROM streams WHERE id = ?", (stream,)).fetchone()[0]
        names = {row["author_name"] for row in rows if row["author_name"].casefold() != persona}
        texts = {row["text"] for row in rows}
        for row in rows:
            texts |= {text for (text,) in database.execute(_SAID, (stream, row["source"], row["message_id"]))}
        quoted = Quoted(texts, names)
        since = min(row["at"] for row in rows)
        for reply_id, words in database.execute(_REPLIES, {"stream": stream, "since": since}).fetchall():
            if quoted.is_in(words):
                yield stream, reply_id


def _viewer(row: sqlite3.Row) -> Viewer:
    names = tuple(sorted(json.loads(row["names"])))
    return Viewer(row["source"], row["author_id"], names, row["num"], row["last_at"])
