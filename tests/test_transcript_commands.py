"""`vtuber-brain transcripts` as the operator types it, beside the file of a daemon."""

import json
import os
import subprocess
import sys

import pytest

from vtuber_brain.messages import Author, ChatMessage, Judged, Turn, Verdict
from vtuber_brain.retrain.journal import Journal, Results
from vtuber_brain.transcripts.store import Transcripts


@pytest.fixture
async def path(tmp_path):
    """A stream of three answered messages, two of them by viewers of one name."""
    path = tmp_path / "state" / "transcripts.db"
    async with Transcripts.open(path, persona="mori", model="tiny", release=None) as transcripts:
        for n, (source, text) in enumerate([("websocket", "I keep buttons"), ("twitch", "hi"), ("twitch", "and?")]):
            message = ChatMessage(
                source, f"m{n}", Author("u1" if n < 2 else "u2", "Kopi" if n < 2 else "Lena"), text, n, 0.0
            )
            said = f"Answer {n}."
            turn = Turn(f"r{n}", message, "spoken", said, said, "mori", "tiny", None)
            await transcripts.append(message, Judged(message, Verdict("allow", (), text)), turn)
    return path


def command(*words):
    told = subprocess.run(
        [sys.executable, "-m", "vtuber_brain", "transcripts", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    return told.returncode, told.stdout, told.stderr


def listed(*options):
    return [json.loads(line) for line in command("approve-list", "--json", *options)[1].splitlines()]


async def test_replies_are_rated_and_corrected_by_the_ids_that_are_listed(path):
    assert [one["reply_id"] for one in listed()] == ["r2", "r1", "r0"]
    assert command("rate", "r0", "up", "--by", "ana")[0] == 0
    assert command("edit", "r1", "Better so.", "--by", "ana")[0] == 0
    assert [one["reply_id"] for one in listed()] == ["r2"]
    assert [(one["rating"], one["edited_text"], one["rated_by"]) for one in listed("--all")] == [
        (None, None, None),
        (1, "Better so.", "ana"),
        (1, None, "ana"),
    ]
    assert "Better so." in command("approve-list", "--all")[1]
    assert command("rate", "r9", "up")[0] == 2


async def test_a_viewer_whose_name_two_have_is_listed_and_nobody_is_forgotten(path):
    code, out, error = command("forget", "kopi")
    assert (code, out) == (2, "")
    assert "websocket:u1" in error
    assert "twitch:u1" in error
    assert b"I keep buttons" in path.read_bytes()


async def test_a_viewer_is_forgotten_by_name_or_source_and_id(path):
    made = path.parent / "retrain" / "mori" / "2027-01-15"
    Journal(made).do("planned", {}, lambda _folder: Results({"rows.jsonl": b"I keep buttons"}))
    code, out, _ = command("forget", "websocket:u1")
    assert code == 0
    assert [file.name for file in made.iterdir()] == ["journal.jsonl"]
    assert "websocket:u1 is forgotten: 1 messages, 1 replies" in out
    assert b"I keep buttons" not in path.read_bytes()
    assert command("forget", "Lena")[0] == 0
    assert [one["reply_id"] for one in listed()] == ["r1"]
    assert command("forget", "Lena")[0] == 2
    assert command("opt-out", "Kopi")[1] == "twitch:u1: nothing is learnt from\n"
    assert command("opt-in", "Kopi")[0] == 0
