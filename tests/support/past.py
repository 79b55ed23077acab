"""Streams that are over, as the daemon writes them: by its own writer, with its verdicts, turns and ratings."""

import contextlib
import itertools
import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.messages import Author, ChatMessage, Judged, Mood, Turn, Verdict
from vtuber_brain.sections import MemorySettings
from vtuber_brain.transcripts.ratings import edit, rate
from vtuber_brain.transcripts.store import Transcripts

Exchange = tuple[str, str, str]
"""A viewer's name, what they wrote, what she answered."""
CALM = Mood("neutral", {"negative": 0.1, "neutral": 0.8, "positive": 0.1}, 0.01)
DAY_S, APART_S = 86_400.0, 20.0


@dataclass
class Clock:
    now: float

    def __call__(self) -> float:
        return self.now


async def record(
    path: Path, persona: str, streams: Iterable[Sequence[Exchange]], *, memory: MemorySettings, began_at: float
) -> int:
    """Write one stream a day into the transcripts at `path`; the number of replies.

    The operator rates every second one good, and writes the others herself: what is learnt may be half her own words.
    """
    numbers = itertools.count()
    for day, stream in enumerate(streams):
        clock = Clock(began_at + day * DAY_S)
        noted = memory.model_dump_json()
        opened = Transcripts.open(path, persona=persona, model="then", release=None, memory=noted, clock=clock)
        async with opened as transcripts:
            for viewer, said, answered in stream:
                await _exchange(transcripts, clock, next(numbers), persona, (viewer, said, answered))
    replies = _replies(path)
    for number, (reply_id, text) in enumerate(replies):
        rate(path, reply_id, 1, "rani") if number % 2 else edit(path, reply_id, text, "rani")
    return len(replies)


async def _exchange(transcripts: Transcripts, clock: Clock, number: int, persona: str, exchange: Exchange) -> None:
    viewer, said, answered = exchange
    clock.now += APART_S
    asked = ChatMessage("websocket", f"m{number}", Author(viewer.lower(), viewer), said, clock.now, 0.0)
    await transcripts.append(asked, Judged(asked, Verdict("allow", (), said, CALM)))
    prompted_at = clock.now
    clock.now += 2.0
    await transcripts.append(
        Turn(f"{number:012x}", asked, "spoken", answered, answered, persona, "then", None, prompted_at=prompted_at)
    )


def _replies(path: Path) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT reply_id, text FROM turns ORDER BY id").fetchall()


def dialogues(path: Path, num_streams: int, num_replies: int) -> list[list[Exchange]]:
    """Streams of two-person dialogues: JSON lines whose `dialogue` has `User 1: ...` and `User 2: ...` in turns.

    Synthetic-Persona-Chat (CC BY 4.0) is of that form. User 2 is her; each dialogue has a viewer of its own.
    """
    found: list[list[Exchange]] = [[]]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        lines = json.loads(line)["dialogue"].splitlines()
        pairs = zip(lines[::2], lines[1::2], strict=False)
        stream = found[-1]
        for said, answered in pairs:
            if said.startswith("User 1: ") and answered.startswith("User 2: ") and len(stream) < num_replies:
                stream.append((f"Viewer{number}", said[8:], answered[8:]))
        if len(stream) == num_replies:
            if len(found) == num_streams:
                return found
            found.append([])
    raise ValueError(f"{path} has too few dialogues")


def exchanges(corpus: Path, num_streams: int, num_replies: int) -> list[list[Exchange]]:
    """The same of a persona's corpus that ships: the first exchange of every row, without her cues."""
    every: list[Exchange] = []
    for line in corpus.read_text(encoding="utf-8").splitlines():
        asked, told = json.loads(line)["messages"][:2]
        name, _, said = asked["content"].rpartition("\n")[2].partition(": ")
        if said:
            every.append((name, said, re.sub(r"\[\w+\]\s*", "", told["content"])))
    most = num_streams * num_replies
    assert len(every) >= num_streams * 2, corpus
    every = every[:most]
    share = len(every) // num_streams
    return [every[n * share : (n + 1) * share] for n in range(num_streams)]
