"""Events to write, and a file to write them to."""

import sqlite3
from pathlib import Path

import pytest

from vtuber_brain.messages import (
    Author,
    ChatMessage,
    Cue,
    Drop,
    Dropped,
    Judged,
    Mood,
    Retraction,
    Turn,
    Utterance,
    Verdict,
)
from vtuber_brain.transcripts.store import Transcripts

STREAM = {"persona": "mori", "model": "tiny", "release": "v1"}


class Events:
    """Makes events that belong together."""

    def message(self, id_="m1", author="kopi", text="hi Mori", at=1000.0, source="websocket", **fields):
        return ChatMessage(source, id_, Author(author, author.title(), ("sub",)), text, at, 0.0, **fields)

    def judged(self, message, *reasons):
        mood = Mood("positive", {"positive": 0.9, "neutral": 0.1}, 0.02)
        return Judged(message, Verdict("deny" if reasons else "allow", reasons, message.text, mood))

    def dropped(self, message, reason=Drop.TOO_OLD):
        return Dropped(message, reason)

    def utterance(self, message, seq=0, text="Hi!", created_at=1000.5, reply_id=None, final=False):
        reply_id = reply_id or f"r-{message.id}"
        return Utterance(
            reply_id, seq, text, Cue("smile", 0.5, 900), "positive", "en", final, message, created_at, "mori", None
        )

    def turn(self, message, outcome="spoken", reply_id=None, **fields):
        fields = {"text": "Hi! Bye!", "heard_text": "Hi! Bye!", "timings_ms": {"judge": 4.0}, **fields}
        reply_id = reply_id or f"r-{message.id}"
        return Turn(reply_id, message, outcome, persona="mori", model="tiny", release="v1", **fields)

    def retraction(self, scope="message", target="m1", at=1010.0, source="websocket", until=None):
        return Retraction(source, scope, target, at, until)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state" / "transcripts.db"


@pytest.fixture
def opened(path):
    """A function that opens the file for one more stream."""
    return lambda **changes: Transcripts.open(path, **{**STREAM, **changes})


@pytest.fixture
def query(path):
    """A function that asks the file something, as another program would."""

    def ask(sql, *values):
        database = sqlite3.connect(path)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    return ask
