"""The reading side of the transcripts: figures per stream, and turns as JSON, from a file that may be in use.

It opens the file read-only and never changes it.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.transcripts.schema import VERSION, migration_script, not_a_database


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One stream in figures; times are Unix seconds, `ended_at` None while it runs or when it ended by a crash.

    `denied` counts by the first reason of the verdict; the latencies run from a message to its first utterance.
    """

    stream: int
    started_at: float
    ended_at: float | None
    persona: str
    model: str
    release: str | None
    messages: int
    retracted: int
    denied: Mapping[str, int]
    dropped: Mapping[str, int]
    turns: Mapping[str, int]
    latency_p50_s: float | None
    latency_p95_s: float | None


_STREAMS = "SELECT id, started_at, ended_at, persona, model, release FROM streams ORDER BY id"
_MESSAGES = "SELECT count(*), count(retracted_at) FROM messages WHERE stream_id = ?"
_DENIED = """
SELECT coalesce(json_extract(reasons, '$[0]'), 'denied') AS reason, count(*) FROM verdicts
WHERE stream_id = ? AND action = 'deny' GROUP BY reason ORDER BY 2 DESC, 1
"""
_DROPPED = "SELECT reason, count(*) FROM drops WHERE stream_id = ? GROUP BY reason ORDER BY 2 DESC, 1"
_TURNS = "SELECT outcome, count(*) FROM turns WHERE stream_id = ? GROUP BY outcome ORDER BY 2 DESC, 1"
_LATENCIES = """
SELECT u.created_at - m.at FROM utterances u
JOIN messages m ON m.stream_id = u.stream_id AND m.source = u.source AND m.message_id = u.message_id
WHERE u.stream_id = ? AND u.seq = 0 ORDER BY 1
"""
_EXPORT = """
SELECT t.*, m.author_id, m.author_name, m.roles, m.kind, m.amount, m.text AS said, m.at AS said_at, m.retracted_at
FROM turns t LEFT JOIN messages m
    ON m.stream_id = t.stream_id AND m.source = t.source AND m.message_id = t.message_id
WHERE (:stream IS NULL OR t.stream_id = :stream)
    AND (:retracted OR (m.retracted_at IS NULL AND t.outcome <> 'retracted'))
    AND (NOT :willing OR coalesce((SELECT choice FROM consent c WHERE c.source = m.source AND c.author_id = m.author_id
        ORDER BY c.id DESC LIMIT 1), 'in') = 'in')
ORDER BY t.id
"""
_VERDICT = "SELECT * FROM verdicts WHERE stream_id = ? AND source = ? AND message_id = ? ORDER BY id DESC LIMIT 1"
_UTTERANCES = "SELECT * FROM utterances WHERE stream_id = ? AND reply_id = ? ORDER BY seq"


def stats(path: Path) -> list[StreamStats]:
    """Every stream in the file, oldest first. Raises ConfigError when the file cannot be read."""
    with reading(path) as database:
        return [_stream(database, row) for row in database.execute(_STREAMS)]


def export(
    path: Path, *, stream: int | None = None, retracted: bool = False, willing: bool = False
) -> Iterator[dict[str, Any]]:
    """Every turn as it goes into JSONL, oldest first: of one stream or all, without what was taken back unless asked.

    `willing`: without those of viewers who do not want to be learnt from.
    Raises ConfigError when the file cannot be read or has no such stream.
    """
    with reading(path) as database:
        if stream is not None and database.execute("SELECT 1 FROM streams WHERE id = ?", (stream,)).fetchone() is None:
            fix = "See which there are with: vtuber-brain transcripts stats"
            raise ConfigError([Problem(str(path), f"there is no stream {stream}", fix)])
        for row in database.execute(_EXPORT, {"stream": stream, "retracted": retracted, "willing": willing}):
            yield _turn(database, row)


def table(streams: list[StreamStats]) -> Table:
    """The figures for people, one stream after the other."""
    grid = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="cyan")
    grid.add_column(justify="right")
    grid.add_column(style="dim")
    for item in streams:
        grid.add_row(f"[bold]stream {item.stream}[/]", "", item.persona)
        grid.add_row("messages", str(item.messages))
        for name, counts in (("denied", item.denied), ("dropped", item.dropped), ("turns", item.turns)):
            grid.add_row(name, str(sum(counts.values())), _parts(counts))
        grid.add_row("first words", "", f"p50 {_seconds(item.latency_p50_s)} · p95 {_seconds(item.latency_p95_s)}")
    return grid


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Raises ConfigError when the file cannot be read or is older than this program."""
    if not path.is_file():
        fix = "Run the daemon first, or name its settings with --config and its state folder with VTB_STATE_DIR"
        raise ConfigError([Problem(str(path), "there are no transcripts", fix)])
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if migration_script(path, version) is not None:
                fix = "Start the daemon once, which brings the file up to date"
                raise ConfigError([Problem(str(path), f"version {version} is older than {VERSION}", fix)])
            database.row_factory = sqlite3.Row
            yield database
    except (sqlite3.DatabaseError, ValueError) as error:  # also text that is none, or no JSON where that should be
        raise not_a_database(path, error) from error


def _stream(database: sqlite3.Connection, row: sqlite3.Row) -> StreamStats:
    stream = (row["id"],)
    messages, retracted = database.execute(_MESSAGES, stream).fetchone()
    latencies_s = [value for (value,) in database.execute(_LATENCIES, stream)]
    return StreamStats(
        stream=row["id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        persona=row["persona"],
        model=row["model"],
        release=row["release"],
        messages=messages,
        retracted=retracted,
        denied=_counts(database.execute(_DENIED, stream)),
        dropped=_counts(database.execute(_DROPPED, stream)),
        turns=_counts(database.execute(_TURNS, stream)),
        latency_p50_s=_rank(latencies_s, 50),
        latency_p95_s=_rank(latencies_s, 95),
    )


def _turn(database: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    verdict = database.execute(_VERDICT, (row["stream_id"], row["source"], row["message_id"])).fetchone()
    utterances = database.execute(_UTTERANCES, (row["stream_id"], row["reply_id"]))
    return {
        "stream": row["stream_id"],
        "reply_id": row["reply_id"],
        "at": row["at"],
        "message": _message(row) if row["said"] is not None else None,
        "verdict": _verdict(verdict) if verdict is not None else None,
        "reply": {
            **{name: row[name] for name in ("outcome", "reason", "text", "heard_text")},
            "utterances": [_utterance(utterance) for utterance in utterances],
        },
        **{name: row[name] for name in ("persona", "model", "release", "musing", "num_asking")},
        "facts": json.loads(row["facts"]),
        "timings_ms": json.loads(row["timings_ms"]),
    }


def _message(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "source": row["source"],
        "id": row["message_id"],
        "author": {"id": row["author_id"], "name": row["author_name"], "roles": json.loads(row["roles"])},
        "kind": row["kind"],
        "amount": row["amount"],
        "text": row["said"],
        "at": row["said_at"],
        "retracted_at": row["retracted_at"],
    }


def _verdict(row: sqlite3.Row) -> dict[str, Any]:
    scores = json.loads(row["scores"]) if row["scores"] else None
    plain = {name: row[name] for name in ("action", "text", "sentiment", "toxicity")}
    return {**plain, "reasons": json.loads(row["reasons"]), "scores": scores}


def _utterance(row: sqlite3.Row) -> dict[str, Any]:
    plain = {name: row[name] for name in ("seq", "text", "mood", "lang", "created_at", "playback", "playback_at")}
    return {**plain, "cue": json.loads(row["cue"]) if row["cue"] else None}


def _counts(rows: sqlite3.Cursor) -> dict[str, int]:
    return {row[0]: row[1] for row in rows}


def _rank(ordered: list[float], percent: int) -> float | None:
    """The smallest of the ordered values that at least `percent` of them do not exceed; None of nothing."""
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)] if ordered else None


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _parts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"
