"""The tables of the transcripts, as migrations that only go forward; `PRAGMA user_version` counts those applied.

Times are Unix seconds. A retracted message keeps its row and gets `retracted_at`; nothing here deletes.
"""

import sqlite3
from pathlib import Path

from vtuber_brain.errors import ConfigError, Problem

_FIRST = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    started_at REAL NOT NULL,
    ended_at REAL,
    persona TEXT NOT NULL,
    model TEXT NOT NULL,
    release TEXT
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    source TEXT NOT NULL,
    message_id TEXT NOT NULL,
    author_id TEXT NOT NULL,
    author_name TEXT NOT NULL,
    roles TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount REAL NOT NULL,
    text TEXT NOT NULL,
    at REAL NOT NULL,
    retracted_at REAL,
    UNIQUE (stream_id, source, message_id)
);
CREATE INDEX messages_by_id ON messages (source, message_id);
CREATE INDEX messages_by_author ON messages (source, author_id);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    source TEXT NOT NULL,
    message_id TEXT NOT NULL,
    action TEXT NOT NULL,
    reasons TEXT NOT NULL,
    text TEXT NOT NULL,
    sentiment TEXT,
    scores TEXT,
    toxicity REAL,
    at REAL NOT NULL
);
CREATE INDEX verdicts_by_message ON verdicts (stream_id, source, message_id);
CREATE TABLE drops (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    source TEXT NOT NULL,
    message_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX drops_by_stream ON drops (stream_id);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    reply_id TEXT NOT NULL,
    source TEXT,
    message_id TEXT,
    outcome TEXT NOT NULL,
    reason TEXT,
    text TEXT NOT NULL,
    heard_text TEXT NOT NULL,
    persona TEXT NOT NULL,
    model TEXT NOT NULL,
    release TEXT,
    timings_ms TEXT NOT NULL,
    at REAL NOT NULL,
    UNIQUE (stream_id, reply_id)
);
CREATE TABLE utterances (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    reply_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    text TEXT NOT NULL,
    cue TEXT,
    mood TEXT,
    lang TEXT NOT NULL,
    final INTEGER NOT NULL,
    source TEXT,
    message_id TEXT,
    created_at REAL NOT NULL,
    playback TEXT,
    playback_at REAL,
    UNIQUE (stream_id, reply_id, seq)
);
CREATE TABLE retractions (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    source TEXT NOT NULL,
    scope TEXT NOT NULL,
    target_id TEXT,
    at REAL NOT NULL
);
CREATE INDEX retractions_by_target ON retractions (stream_id, source, scope, target_id);
"""

_TIMEOUTS = """
ALTER TABLE retractions ADD COLUMN until REAL;
"""

MIGRATIONS = (_FIRST, _TIMEOUTS)
VERSION = len(MIGRATIONS)


def migration_script(path: Path, version: int) -> str | None:
    """The SQL that brings a database at `version` up to date; None when it is. Raises ConfigError for a newer one."""
    if version > VERSION:
        what = f"these transcripts have version {version}, this program knows {VERSION}"
        raise ConfigError(
            [Problem(str(path), what, "Use the newer vtuber-brain, or set transcripts.path to a new file")]
        )
    if version == VERSION:
        return None
    return f"BEGIN IMMEDIATE;\n{''.join(MIGRATIONS[version:])}PRAGMA user_version = {VERSION};\nCOMMIT;"


def not_a_database(path: Path, error: sqlite3.DatabaseError) -> ConfigError:
    """The problem of a file that SQLite does not recognise, or finds damaged."""
    fix = "Move the file away, or set transcripts.path to another"
    return ConfigError([Problem(str(path), f"not usable as transcripts: {error}", fix)])
