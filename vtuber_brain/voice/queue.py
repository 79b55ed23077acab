"""Which sentence is made next, which is being played, and what its fate was: the voice's heart. Pure; knows no sound.

Every sentence it is given ends exactly once, `finished` or `skipped`, and was `started` at most once before. Sentences
are given out in the order in which they came. All times are seconds of one clock.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from vtuber_brain.bus.topics import UtterancePayload

K = TypeVar("K")
Key = tuple[str, int]
Played = Literal["started", "finished", "skipped"]

MAX_REMEMBERED = 1024
"""Sentences, and replies, remembered as over, to recognise what comes twice or too late."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a sentence, for the bus. `why` is a stable code for the log, empty where it was played."""

    key: Key
    state: Played
    why: str = ""


@dataclass(slots=True)
class _Entry:
    sentence: UtterancePayload
    came_s: float
    stage: Literal["waiting", "making", "given", "started"] = "waiting"
    duration_s: float = 0.0
    since_s: float = 0.0


class Queue:
    """At most `capacity` sentences, of which at most `ahead` are being made or played.

    When full, the oldest reply of which nothing is made yet is skipped (full), else the newcomer is. A reply that has
    not begun to sound `late_s` after its first sentence came is skipped (late), one that has goes on to its end. What
    the player is silent about for `patience_s` after it was due is skipped with the rest of its reply (unplayed).
    """

    def __init__(self, capacity: int, ahead: int, late_s: float, patience_s: float) -> None:
        self._capacity, self._ahead, self._late_s, self._patience_s = capacity, ahead, late_s, patience_s
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._begun: OrderedDict[str, None] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._settled_s = 0.0
        self.muted = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def speaking(self) -> str | None:
        """The reply that is sounding, or about to."""
        return next((key[0] for key, entry in self._entries.items() if entry.stage in ("given", "started")), None)

    def add(self, sentence: UtterancePayload, now_s: float) -> list[Fate]:
        """Take in a sentence. One that came before is ignored; one of a reply that is gone is skipped at once."""
        key = (sentence.reply_id, sentence.seq)
        if key in self._seen:
            return []
        _remember(self._seen, key)
        if self.muted:
            return [Fate(key, "skipped", "muted")]
        if sentence.reply_id in self._gone:
            return [Fate(key, "skipped", "gone")]
        fates = self._make_room(now_s)
        if len(self._entries) >= self._capacity:
            return [*fates, Fate(key, "skipped", "full")]
        self._entries[key] = _Entry(sentence, now_s)
        return fates

    def take(self) -> UtterancePayload | None:
        """The next sentence to be made; None when none waits, or enough are ahead. Follow with `made` or `failed`."""
        busy = sum(entry.stage != "waiting" for entry in self._entries.values())
        entry = next((entry for entry in self._entries.values() if entry.stage == "waiting"), None)
        if entry is None or busy >= self._ahead:
            return None
        entry.stage = "making"
        return entry.sentence

    def made(self, key: Key, duration_s: float, now_s: float) -> bool:
        """A sentence has become sound; whether it is still wanted, and so goes to the player now."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        assert entry.stage == "making"
        entry.stage, entry.duration_s, entry.since_s = "given", duration_s, now_s
        return True

    def failed(self, key: Key, why: str, now_s: float) -> list[Fate]:
        """A sentence cannot be spoken."""
        return self._end(key, "skipped", why, now_s)

    def played(self, key: Key, state: Played, now_s: float) -> list[Fate]:
        """What the player says; a word about what is over, or was said before, changes nothing."""
        entry = self._entries.get(key)
        if entry is None or entry.stage not in ("given", "started"):
            return []
        if state == "started":
            if entry.stage == "started":
                return []
            return [*self._passed_over(key, now_s), *self._start(key, now_s)]
        began = self._start(key, now_s) if state == "finished" and entry.stage == "given" else []
        return [*self._passed_over(key, now_s), *began, *self._end(key, state, "player" * (state == "skipped"), now_s)]

    def skip(self, reply_id: str, why: str, now_s: float) -> list[Fate]:
        """Nothing more of one reply, neither of what is here nor of what may come."""
        _remember(self._gone, reply_id)
        return [fate for key in self._of(reply_id) for fate in self._end(key, "skipped", why, now_s)]

    def mute(self, now_s: float) -> list[Fate]:
        """Nothing of what is here, and nothing that comes until `unmute`."""
        self.muted = True
        replies = dict.fromkeys(key[0] for key in self._entries)
        return [fate for reply_id in replies for fate in self.skip(reply_id, "muted", now_s)]

    def unmute(self) -> None:
        """From now on she may speak; what was skipped stays so."""
        self.muted = False

    def lose(self, why: str, now_s: float, *, keep: frozenset[Key] = frozenset()) -> list[Fate]:
        """The player is gone: what it had been given and nobody else has (`keep`) is skipped."""
        given = [key for key, entry in self._entries.items() if entry.stage in ("given", "started")]
        return [fate for key in given if key not in keep for fate in self._end(key, "skipped", why, now_s)]

    def overdue(self, now_s: float) -> list[Fate]:
        """Skip what has grown late before it began, and what the player has forgotten."""
        fates = [fate for reply_id in self._late(now_s) for fate in self.skip(reply_id, "late", now_s)]
        first = next(((key, e) for key, e in self._entries.items() if e.stage in ("given", "started")), None)
        if first is None:
            return fates
        key, entry = first
        due_s = max(entry.since_s, self._settled_s) + self._patience_s
        if now_s > due_s + (entry.duration_s if entry.stage == "started" else 0):
            fates += self.skip(key[0], "unplayed", now_s)
        return fates

    def _start(self, key: Key, now_s: float) -> list[Fate]:
        entry = self._entries[key]
        entry.stage, entry.since_s = "started", now_s
        _remember(self._begun, key[0])
        return [Fate(key, "started")]

    def _passed_over(self, key: Key, now_s: float) -> list[Fate]:
        """The player plays in order: what it was given before is at its end, or, if it never began, left out."""
        fates = []
        for other, entry in list(self._entries.items()):
            if other == key:
                break
            if entry.stage == "started":
                fates += self._end(other, "finished", "", now_s)
            elif entry.stage == "given":
                fates += self._end(other, "skipped", "passed_over", now_s)
        return fates

    def _end(self, key: Key, state: Played, why: str, now_s: float) -> list[Fate]:
        if self._entries.pop(key, None) is None:
            return []
        self._settled_s = now_s
        return [Fate(key, state, why)]

    def _make_room(self, now_s: float) -> list[Fate]:
        if len(self._entries) < self._capacity:
            return []
        for reply_id in dict.fromkeys(key[0] for key in self._entries):
            if all(self._entries[key].stage == "waiting" for key in self._of(reply_id)) and reply_id not in self._begun:
                return self.skip(reply_id, "full", now_s)
        return []

    def _late(self, now_s: float) -> Iterator[str]:
        firsts: dict[str, _Entry] = {}
        for key, entry in self._entries.items():
            firsts.setdefault(key[0], entry)
        for reply_id, entry in firsts.items():
            waits = entry.stage in ("waiting", "making")
            if waits and reply_id not in self._begun and now_s - entry.came_s > self._late_s:
                yield reply_id

    def _of(self, reply_id: str) -> list[Key]:
        return [key for key in self._entries if key[0] == reply_id]


def _remember(memory: OrderedDict[K, None], what: K) -> None:
    memory[what] = None
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
