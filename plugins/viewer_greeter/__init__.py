"""Tells her who is here for the first time, or back after long; how she greets them is hers.

Settings: `away_days` (absence after which a viewer is greeted again, default 7) and `max_viewers` (how many are
remembered, default 10000; those unseen longest are forgotten). Viewers are kept in `viewers.db` in the plugin's state
folder as a hash of their id and the time they were last seen: no names, no words.
"""

import asyncio
import contextlib
import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.plugin_api import ChatMessage, Dropped, Event, Judged, Registry, Turn

DAY_S = 86_400.0
HOUR_S = 3_600.0
_HEARD = frozenset({"spoken", "cut"})


@dataclass(slots=True)
class _Viewer:
    """Last seen at `seen_at`, of which the file knows `kept_at` (Unix times, s).

    `greeting` is what is to be told of them once, since `due_at`; `told_in` the message with which it was.
    """

    seen_at: float
    kept_at: float
    due_at: float = 0.0
    greeting: str = ""
    told_in: str = ""


class Viewers:
    """Who was here, and who is to be greeted. Pure: it knows neither the file nor the clock."""

    def __init__(self, seen: Mapping[bytes, float], away_s: float, max_viewers: int) -> None:
        self._away_s, self._max = away_s, max_viewers
        self._viewers = OrderedDict((key, _Viewer(at, at)) for key, at in sorted(seen.items(), key=lambda one: one[1]))
        self._changed: dict[bytes, float | None] = {}
        self._forget()

    def see(self, message: ChatMessage) -> None:
        """Note that its author is here."""
        key = _key(message)
        viewer = self._viewers.get(key)
        if viewer is None:
            viewer = self._viewers[key] = _Viewer(message.at, 0.0, message.at, "is here for the first time")
        elif message.at - viewer.seen_at >= self._away_s:
            days = int((message.at - viewer.seen_at) // DAY_S)
            ago = f"after {days} days" if days > 1 else "after a while"
            viewer.greeting, viewer.due_at, viewer.told_in = f"is back {ago}", message.at, ""
        elif message.at - viewer.due_at >= DAY_S:
            viewer.greeting = ""  # nobody answered them while it was true
        viewer.seen_at = max(viewer.seen_at, message.at)
        self._viewers.move_to_end(key)
        if viewer.seen_at - viewer.kept_at >= HOUR_S:  # a write an hour is enough to know who was away for days
            viewer.kept_at = self._changed[key] = viewer.seen_at
        self._forget()

    def greeting(self, message: ChatMessage) -> str:
        """What to tell of its author, if anything: to one message only, however many are being answered."""
        viewer = self._viewers.get(_key(message))
        if viewer is None or viewer.told_in not in {"", message.id}:
            return ""
        viewer.told_in = message.id if viewer.greeting else ""
        return viewer.greeting

    def ended(self, message: ChatMessage, heard: bool) -> None:
        """The reply to a message was heard, or there was none: then the next message gets the greeting."""
        viewer = self._viewers.get(_key(message))
        if viewer is not None and viewer.greeting and viewer.told_in == message.id:
            viewer.told_in = ""
            if heard:
                viewer.greeting = ""

    def changes(self) -> dict[bytes, float | None]:
        """What the file does not know yet: when each was seen, None for who was forgotten.

        It is told once: should writing it fail, somebody is greeted twice at worst.
        """
        changed, self._changed = self._changed, {}
        return changed

    def _forget(self) -> None:
        while len(self._viewers) > self._max:
            key, _ = self._viewers.popitem(last=False)
            self._changed[key] = None


class File:
    """The viewers on disk; each method opens it anew, for it is used from threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[bytes, float]:
        """When each viewer was last seen. Raises ValueError when it is no such file."""
        table = "viewers (viewer BLOB PRIMARY KEY, seen_at REAL NOT NULL) WITHOUT ROWID"
        try:
            with contextlib.closing(sqlite3.connect(self._path)) as database, database:
                database.execute(f"CREATE TABLE IF NOT EXISTS {table}")
                return dict(database.execute("SELECT viewer, seen_at FROM viewers"))
        except sqlite3.Error as error:
            raise ValueError(f"{self._path}: {error}. Remove it, and she meets everybody anew") from error

    def write(self, changes: Mapping[bytes, float | None]) -> None:
        """Take the changes in, all or none."""
        gone = [(key,) for key, at in changes.items() if at is None]
        seen = [(key, at) for key, at in changes.items() if at is not None]
        with contextlib.closing(sqlite3.connect(self._path)) as database, database:
            database.executemany("DELETE FROM viewers WHERE viewer = ?", gone)
            database.executemany("INSERT OR REPLACE INTO viewers VALUES (?, ?)", seen)


class Greeter:
    """Recall and sink in one: what is recalled for a message depends on what became of those before it."""

    name = "viewer_greeter"

    def __init__(self, viewers: Viewers, file: File) -> None:
        self._viewers, self._file = viewers, file

    async def recall(self, message: ChatMessage) -> Sequence[str]:
        """The greeting, if this viewer is due one."""
        self._viewers.see(message)
        greeting = self._viewers.greeting(message)
        return [greeting] if greeting else []

    async def emit(self, event: Event) -> None:
        """Note who is here and who was answered. Whom the filter denies is not greeted for it."""
        match event:
            case Judged(message, verdict) if verdict.action == "allow":
                self._viewers.see(message)
            case Turn(message=ChatMessage() as message, outcome=outcome):
                self._viewers.ended(message, outcome in _HEARD)
            case Dropped(message):
                self._viewers.ended(message, heard=False)
        if changes := self._viewers.changes():
            await asyncio.to_thread(self._file.write, changes)


async def setup(registry: Registry, settings: dict[str, Any]) -> None:
    """Add the greeter. Raises ValueError or OSError for settings or a file that it cannot use."""
    if unknown := sorted(settings.keys() - {"away_days", "max_viewers"}):
        raise ValueError(f"unknown setting: {', '.join(unknown)}")
    away_days, max_viewers = float(settings.get("away_days", 7)), int(settings.get("max_viewers", 10_000))
    if not away_days > 0 or max_viewers < 1:
        raise ValueError("away_days is more than 0, max_viewers at least 1")
    file = File(registry.state_dir / "viewers.db")
    greeter = Greeter(Viewers(await asyncio.to_thread(file.read), away_days * DAY_S, max_viewers), file)
    registry.add_recall(greeter)
    registry.add_sink(greeter)


def _key(message: ChatMessage) -> bytes:
    # Of a fixed length, whatever a platform calls its viewers; and the file tells nobody who was here.
    return hashlib.blake2b(
        f"{message.source}\0{message.author.id}".encode(errors="surrogatepass"), digest_size=16
    ).digest()
