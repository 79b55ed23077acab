"""What an event becomes in the transcripts: statements with their parameters. Pure; opens nothing, commits nothing."""

import json
from dataclasses import dataclass
from typing import Literal

from vtuber_brain.messages import (
    ChatMessage,
    Cue,
    Dropped,
    Event,
    Incoming,
    Judged,
    Retraction,
    Turn,
    Utterance,
)

CLEAR_REACH_S = 12 * 3600.0
Playback = Literal["started", "finished", "skipped"]
Value = str | float | int | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and the values for it; statements of one kind share the very same `sql`."""

    sql: str
    values: tuple[Value, ...]


_ADD_MESSAGE = """
INSERT INTO messages (stream_id, source, message_id, author_id, author_name, roles, kind, amount, text, at,
    retracted_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, coalesce(
    (SELECT min(at) FROM retractions
        WHERE stream_id = ?1 AND source = ?2 AND scope = 'message' AND target_id = ?3),
    (SELECT min(at) FROM retractions
        WHERE stream_id = ?1 AND source = ?2 AND scope = 'author' AND target_id = ?4
            AND (until IS NULL OR until >= ?10)),
    (SELECT min(at) FROM retractions
        WHERE stream_id = ?1 AND source = ?2 AND scope = 'all' AND target_id IS NULL AND at >= ?10)))
ON CONFLICT DO NOTHING
"""
_ADD_RETRACTION = "INSERT INTO retractions (stream_id, source, scope, target_id, at, until) VALUES (?, ?, ?, ?, ?, ?)"
_RETRACT_MESSAGE = """
UPDATE messages SET retracted_at = coalesce(retracted_at, ?1) WHERE id =
    (SELECT max(id) FROM messages WHERE source = ?2 AND message_id = ?3)
"""
_RETRACT_AUTHOR = """
UPDATE messages SET retracted_at = coalesce(retracted_at, ?1) WHERE source = ?2 AND author_id = ?3
"""
_RETRACT_ALL = """
UPDATE messages SET retracted_at = coalesce(retracted_at, ?1)
WHERE stream_id IN (SELECT id FROM streams WHERE coalesce(ended_at, ?1) >= ?3) AND source = ?2 AND at BETWEEN ?3 AND ?1
"""
_ADD_VERDICT = """
INSERT INTO verdicts (stream_id, source, message_id, action, reasons, text, sentiment, scores, toxicity, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_DROP = "INSERT INTO drops (stream_id, source, message_id, reason, at) VALUES (?, ?, ?, ?, ?)"
_ADD_UTTERANCE = """
INSERT INTO utterances (stream_id, reply_id, seq, text, cue, mood, lang, final, source, message_id, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_PUT_TURN = """
INSERT INTO turns (stream_id, reply_id, source, message_id, outcome, reason, text, heard_text, persona, model, release,
    timings_ms, musing, num_asking, facts, prompted_at, amount, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason, text = excluded.text,
    heard_text = excluded.heard_text, timings_ms = excluded.timings_ms
"""
_ADD_HEARING = "INSERT INTO hearings (stream_id, reply_id, outcome, reason, heard_text, at) VALUES (?, ?, ?, ?, ?, ?)"
"""Every state of a turn in the order in which memory took them in: what later prompts rest on."""
_SET_PLAYBACK = """
UPDATE utterances SET playback = ?1, playback_at = ?2
WHERE stream_id = ?3 AND reply_id = ?4 AND seq = ?5 AND (playback IS NULL OR playback = 'started')
"""
REORDERABLE = frozenset({_ADD_MESSAGE, _ADD_VERDICT, _ADD_DROP, _ADD_UTTERANCE, _PUT_TURN})
"""Statements that may change places with one another: each has a table of its own, and reads no other of these.

The triggers that empty what comes late read messages, which by the order of the names are written first.
"""

START_STREAM = "INSERT INTO streams (started_at, persona, model, release, memory) VALUES (?, ?, ?, ?, ?)"
END_STREAM = "UPDATE streams SET ended_at = ? WHERE id = ?"


def statements(event: Incoming | Event, stream_id: int, now: float) -> list[Statement]:
    """What to execute for `event` at Unix time `now`; a bare Cue leaves no trace."""
    match event:
        case ChatMessage():
            return [_message(event, stream_id)]
        case Retraction():
            return _retraction(event, stream_id)
        case Judged():
            return [_verdict(event, stream_id, now)]
        case Dropped(message, reason):
            return [_statement(_ADD_DROP, stream_id, message.source, message.id, reason.value, now)]
        case Utterance():
            return [_utterance(event, stream_id)]
        case Turn():
            return [_turn(event, stream_id, now), _hearing(event, stream_id, now)]
        case Cue():
            return []


def playback_statement(stream_id: int, reply_id: str, seq: int, state: Playback, at: float) -> Statement:
    """What to execute when the player tells how far it is; finished and skipped are final."""
    return _statement(_SET_PLAYBACK, state, at, stream_id, reply_id, seq)


def _message(message: ChatMessage, stream_id: int) -> Statement:
    author = message.author
    return _statement(
        _ADD_MESSAGE,
        stream_id,
        message.source,
        message.id,
        author.id,
        author.name,
        _json(list(author.roles)),
        message.kind,
        message.amount,
        message.text,
        message.at,
    )


def _retraction(retraction: Retraction, stream_id: int) -> list[Statement]:
    """The tombstone, and what it marks.

    One message: the latest of that id, for a client may count anew in its next stream. An author: all there is of them.
    All: what was said in the last CLEAR_REACH_S, so that a daemon started again in mid-stream reaches back far enough.
    """
    source, target, at = retraction.source, retraction.target_id, retraction.at
    tombstone = _statement(_ADD_RETRACTION, stream_id, source, retraction.scope, target, at, retraction.until)
    match retraction.scope:
        case "message":
            return [tombstone, _statement(_RETRACT_MESSAGE, at, source, target)]
        case "author":
            return [tombstone, _statement(_RETRACT_AUTHOR, at, source, target)]
        case "all":
            return [tombstone, _statement(_RETRACT_ALL, at, source, at - CLEAR_REACH_S)]


def _verdict(event: Judged, stream_id: int, now: float) -> Statement:
    message, verdict, mood = event.message, event.verdict, event.verdict.mood
    return _statement(
        _ADD_VERDICT,
        stream_id,
        message.source,
        message.id,
        verdict.action,
        _json(list(verdict.reasons)),
        verdict.text,
        mood.sentiment if mood else None,
        _json(dict(mood.scores)) if mood else None,
        mood.toxicity if mood else None,
        now,
    )


def _utterance(utterance: Utterance, stream_id: int) -> Statement:
    cue, message = utterance.cue, utterance.in_reply_to
    return _statement(
        _ADD_UTTERANCE,
        stream_id,
        utterance.reply_id,
        utterance.seq,
        utterance.text,
        _json({"name": cue.name, "intensity": cue.intensity, "for_ms": cue.for_ms}) if cue else None,
        utterance.mood,
        utterance.lang,
        int(utterance.final),
        message.source if message else None,
        message.id if message else None,
        utterance.created_at,
    )


def _turn(turn: Turn, stream_id: int, now: float) -> Statement:
    message = turn.message
    return _statement(
        _PUT_TURN,
        stream_id,
        turn.reply_id,
        message.source if message else None,
        message.id if message else None,
        turn.outcome,
        turn.reason,
        turn.text,
        turn.heard_text,
        turn.persona,
        turn.model,
        turn.release,
        _json(dict(turn.timings_ms)),
        turn.musing,
        message.num_asking if message else 1,
        _json(list(turn.facts)),
        turn.prompted_at,
        message.amount if message else None,
        now,
    )


def _hearing(turn: Turn, stream_id: int, now: float) -> Statement:
    return _statement(_ADD_HEARING, stream_id, turn.reply_id, turn.outcome, turn.reason, turn.heard_text, now)


def _statement(sql: str, *values: Value) -> Statement:
    """Lone surrogates, which some source may hand on, would fail the whole transaction they are bound in."""
    return Statement(
        sql, tuple(value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in values)
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
