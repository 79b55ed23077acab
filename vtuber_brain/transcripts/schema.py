"""The tables of the transcripts, as migrations that only go forward; `PRAGMA user_version` counts those applied.

Times are Unix seconds. A retracted message keeps its row and gets `retracted_at`; that of a forgotten viewer keeps its
row too, so that the ids still add up, but nothing they wrote stays in it. Nothing here deletes a row.
"""

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

_PROMPTS = """
ALTER TABLE turns ADD COLUMN musing TEXT;
ALTER TABLE turns ADD COLUMN num_asking INTEGER NOT NULL DEFAULT 1;
ALTER TABLE turns ADD COLUMN facts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE turns ADD COLUMN prompted_at REAL;
"""

_RATINGS = """
CREATE TABLE ratings (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    reply_id TEXT NOT NULL,
    rated_by TEXT NOT NULL,
    rating INTEGER NOT NULL CHECK (rating IN (-1, 0, 1)),
    edited_text TEXT,
    reason TEXT,
    at REAL NOT NULL
);
CREATE INDEX ratings_by_reply ON ratings (stream_id, reply_id);
CREATE TABLE forgotten (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    author_id TEXT NOT NULL,
    at REAL NOT NULL,
    scope TEXT NOT NULL,
    scrubbed_at REAL
);
CREATE INDEX forgotten_by_author ON forgotten (source, author_id);
CREATE TABLE consent (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    author_id TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('out', 'in')),
    said_by TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX consent_by_author ON consent (source, author_id);
CREATE TABLE hearings (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    reply_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    heard_text TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX hearings_by_reply ON hearings (stream_id, reply_id);
CREATE INDEX turns_by_reply ON turns (reply_id);
ALTER TABLE streams ADD COLUMN memory TEXT;
ALTER TABLE messages ADD COLUMN forgotten_at REAL;
ALTER TABLE turns ADD COLUMN amount REAL;
INSERT INTO hearings (stream_id, reply_id, outcome, reason, heard_text, at)
    SELECT stream_id, reply_id, outcome, reason, heard_text, at FROM turns ORDER BY id;
"""

# What was on its way when its viewer was forgotten is emptied as it arrives, whoever writes it.
_LATECOMERS = """
CREATE TRIGGER late_message AFTER INSERT ON messages
WHEN EXISTS (SELECT 1 FROM forgotten WHERE source = NEW.source AND author_id = NEW.author_id AND at >= NEW.at)
BEGIN
    UPDATE messages SET author_id = '', author_name = '', roles = '[]', text = '', forgotten_at = NEW.at
    WHERE id = NEW.id;
END;
CREATE TRIGGER late_verdict AFTER INSERT ON verdicts
WHEN EXISTS (SELECT 1 FROM messages WHERE stream_id = NEW.stream_id AND source = NEW.source
    AND message_id = NEW.message_id AND forgotten_at IS NOT NULL)
BEGIN
    UPDATE verdicts SET text = '', sentiment = NULL, scores = NULL, toxicity = NULL WHERE id = NEW.id;
END;
CREATE TRIGGER late_utterance AFTER INSERT ON utterances
WHEN EXISTS (SELECT 1 FROM messages WHERE stream_id = NEW.stream_id AND source = NEW.source
    AND message_id = NEW.message_id AND forgotten_at IS NOT NULL)
BEGIN
    UPDATE utterances SET text = '' WHERE id = NEW.id;
END;
CREATE TRIGGER late_turn AFTER INSERT ON turns
WHEN EXISTS (SELECT 1 FROM messages WHERE stream_id = NEW.stream_id AND source = NEW.source
    AND message_id = NEW.message_id AND forgotten_at IS NOT NULL)
BEGIN
    UPDATE turns SET text = '', heard_text = '', facts = '[]' WHERE id = NEW.id;
END;
CREATE TRIGGER late_change AFTER UPDATE OF text, heard_text ON turns
WHEN NEW.text <> '' AND EXISTS (SELECT 1 FROM messages WHERE stream_id = NEW.stream_id AND source = NEW.source
    AND message_id = NEW.message_id AND forgotten_at IS NOT NULL)
BEGIN
    UPDATE turns SET text = '', heard_text = '' WHERE id = NEW.id;
END;
CREATE TRIGGER late_hearing AFTER INSERT ON hearings
WHEN EXISTS (SELECT 1 FROM turns t JOIN messages m
    ON m.stream_id = t.stream_id AND m.source = t.source AND m.message_id = t.message_id
    WHERE t.stream_id = NEW.stream_id AND t.reply_id = NEW.reply_id AND m.forgotten_at IS NOT NULL)
BEGIN
    UPDATE hearings SET heard_text = '' WHERE id = NEW.id;
END;
"""

MIGRATIONS = (_FIRST, _TIMEOUTS, _PROMPTS, _RATINGS + _LATECOMERS)
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


def not_a_database(path: Path, error: Exception) -> ConfigError:
    """The problem of a file that SQLite does not recognise, or finds damaged."""
    fix = "Move the file away, or set transcripts.path to another"
    return ConfigError([Problem(str(path), f"not usable as transcripts: {error}", fix)])
