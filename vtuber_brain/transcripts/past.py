"""One stream as it was stored, in values: what the nightly run builds her prompts from. Reads, decides nothing."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.messages import Author, ChatMessage, Mood, Outcome, Verdict
from vtuber_brain.transcripts.export import reading

Key = tuple[str, str]
"""Source and id: of a message or, where that is said, of a viewer."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message with the filter's last word on it; `let_through` is the verdict it was answered by, if there is one."""

    message: ChatMessage
    last: Verdict | None
    let_through: Verdict | None
    is_retracted: bool
    is_forgotten: bool

    @property
    def action(self) -> str | None:
        """What became of it in the end; None where nobody ever judged it."""
        return self.last.action if self.last is not None else None

    @property
    def viewer(self) -> Key:
        """Source and id of who wrote it."""
        return self.message.source, self.message.author.id


@dataclass(frozen=True, slots=True)
class Hearing:
    """A state of a turn, from `at` (Unix time, s) to the next one."""

    outcome: Outcome
    reason: str | None
    heard_text: str
    at: float


@dataclass(frozen=True, slots=True)
class Rating:
    """The operator's last word on a reply."""

    rating: int
    edited_text: str | None
    rated_by: str


@dataclass(frozen=True, slots=True)
class Past:
    """A turn as it is in the file. `number` counts the turns of the file in the order in which they ended."""

    number: int
    reply_id: str
    message: Key | None
    persona: str
    release: str | None
    text: str
    musing: str | None
    num_asking: int
    facts: tuple[str, ...]
    amount: float | None
    prompted_at: float | None
    first_said_at: float | None
    hearings: tuple[Hearing, ...]
    rating: Rating | None


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: `memory` is the settings of its memory as JSON, None where they were not written down.

    `ended_at` None: it runs, or ended by a crash. `banned` and `unwilling` are viewers: sent away for good, or not to
    be learnt from.
    """

    id: int
    persona: str
    started_at: float
    ended_at: float | None
    memory: str | None
    said: Mapping[Key, Said]
    turns: tuple[Past, ...]
    banned: frozenset[Key]
    unwilling: frozenset[Key]


_IDS = """
SELECT id, ended_at FROM streams
WHERE ?1 IS NULL OR EXISTS (SELECT 1 FROM turns WHERE stream_id = streams.id AND persona = ?1) ORDER BY id
"""
_MESSAGES = "SELECT * FROM messages WHERE stream_id = ? ORDER BY id"
_VERDICTS = "SELECT * FROM verdicts WHERE stream_id = ? ORDER BY id"
_TURNS = """
SELECT t.*, (SELECT min(created_at) FROM utterances u WHERE u.stream_id = t.stream_id AND u.reply_id = t.reply_id)
    AS first_said_at
FROM turns t WHERE t.stream_id = ? ORDER BY t.id
"""
_HEARINGS = "SELECT * FROM hearings WHERE stream_id = ? ORDER BY id"
_RATINGS = "SELECT * FROM ratings WHERE stream_id = ? ORDER BY id"
_BANNED = "SELECT DISTINCT source, target_id FROM retractions WHERE scope = 'author' AND until IS NULL"
_LAST = {
    "turns": "SELECT coalesce(max(id), 0) FROM turns",
    "hearings": "SELECT coalesce(max(id), 0) FROM hearings",
    "retractions": "SELECT coalesce(max(id), 0) FROM retractions",
    "ratings": "SELECT coalesce(max(id), 0) FROM ratings",
    "forgotten": "SELECT coalesce(max(id), 0) FROM forgotten",
    "consent": "SELECT coalesce(max(id), 0) FROM consent",
}
_UNWILLING = """
SELECT source, author_id FROM consent c
WHERE choice = 'out' AND id = (SELECT max(id) FROM consent WHERE source = c.source AND author_id = c.author_id)
"""


def stream_ids(path: Path, persona: str | None = None) -> list[tuple[int, float | None]]:
    """Every stream's id with when it ended (Unix time, s; None: it runs or crashed), oldest first.

    Of one persona: those in which she had a turn. Raises ConfigError when the file cannot be read.
    """
    with reading(path) as database:
        rows = database.execute(_IDS, (persona,))
        return [(row["id"], row["ended_at"]) for row in rows]


def marks(path: Path) -> dict[str, int]:
    """How far the file has got, by table: the same as long as nothing was said, taken back, rated or to be forgotten.

    Raises as `stream_ids` does.
    """
    with reading(path) as database:
        return {table: database.execute(sql).fetchone()[0] for table, sql in _LAST.items()}


def streams(path: Path, ids: frozenset[int] | None = None) -> Iterator[Stream]:
    """The streams of these ids (None: all), oldest first, one in memory at a time. Raises as `stream_ids` does."""
    with reading(path) as database:
        banned, unwilling = _viewers(database, _BANNED), _viewers(database, _UNWILLING)
        for row in database.execute("SELECT * FROM streams ORDER BY id").fetchall():
            if ids is None or row["id"] in ids:
                yield _stream(database, row, banned, unwilling)


def _stream(
    database: sqlite3.Connection, row: sqlite3.Row, banned: frozenset[Key], unwilling: frozenset[Key]
) -> Stream:
    stream = (row["id"],)
    verdicts: dict[Key, list[sqlite3.Row]] = {}
    for verdict in database.execute(_VERDICTS, stream):
        verdicts.setdefault((verdict["source"], verdict["message_id"]), []).append(verdict)
    hearings: dict[str, list[Hearing]] = {}
    for one in database.execute(_HEARINGS, stream):
        hearing = Hearing(one["outcome"], one["reason"], one["heard_text"], one["at"])
        hearings.setdefault(one["reply_id"], []).append(hearing)
    ratings = {
        one["reply_id"]: Rating(one["rating"], one["edited_text"], one["rated_by"])
        for one in database.execute(_RATINGS, stream)
    }
    said = {
        (one["source"], one["message_id"]): _said(one, verdicts.get((one["source"], one["message_id"]), []))
        for one in database.execute(_MESSAGES, stream)
    }
    turns = tuple(
        _past(one, tuple(hearings.get(one["reply_id"], ())), ratings.get(one["reply_id"]))
        for one in database.execute(_TURNS, stream)
    )
    here = {one.viewer for one in said.values()}
    return Stream(
        id=row["id"],
        persona=row["persona"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        memory=row["memory"],
        said=said,
        turns=turns,
        banned=banned & here,
        unwilling=unwilling & here,
    )


def _said(row: sqlite3.Row, verdicts: list[sqlite3.Row]) -> Said:
    author = Author(row["author_id"], row["author_name"], tuple(json.loads(row["roles"])))
    message = ChatMessage(
        row["source"],
        row["message_id"],
        author,
        row["text"],
        row["at"],
        received_s=0.0,
        kind=row["kind"],
        amount=row["amount"],
    )
    allowed = [verdict for verdict in verdicts if verdict["action"] == "allow"]
    return Said(
        message=message,
        last=_verdict(verdicts[-1]) if verdicts else None,
        let_through=_verdict(allowed[-1]) if allowed else None,
        is_retracted=row["retracted_at"] is not None,
        is_forgotten=row["forgotten_at"] is not None,
    )


def _verdict(row: sqlite3.Row) -> Verdict:
    mood = Mood(row["sentiment"], json.loads(row["scores"] or "{}"), row["toxicity"]) if row["sentiment"] else None
    return Verdict(row["action"], tuple(json.loads(row["reasons"])), row["text"], mood)


def _past(row: sqlite3.Row, hearings: tuple[Hearing, ...], rating: Rating | None) -> Past:
    return Past(
        number=row["id"],
        reply_id=row["reply_id"],
        message=(row["source"], row["message_id"]) if row["message_id"] is not None else None,
        persona=row["persona"],
        release=row["release"],
        text=row["text"],
        musing=row["musing"],
        num_asking=row["num_asking"],
        facts=tuple(json.loads(row["facts"])),
        amount=row["amount"],
        prompted_at=row["prompted_at"],
        first_said_at=row["first_said_at"],
        hearings=hearings,
        rating=rating,
    )


def _viewers(database: sqlite3.Connection, sql: str) -> frozenset[Key]:
    return frozenset((source, author) for source, author in database.execute(sql))
