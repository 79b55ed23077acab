"""What a sound card is handed, block after block: sentences end to end, silence between, a short fade where one is cut.

Called from the card's own thread and from the loop: a lock guards it, held for microseconds. Knows no card.
"""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtuber_brain.voice.queue import Key, Played
from vtuber_brain.voice.sound import RATE

FADE_SAMPLES = RATE // 200
"""A sound that stops from one sample to the next would click."""

Block = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something begins or ends `offset` samples into the block."""

    key: Key
    state: Played
    offset: int


@dataclass(slots=True)
class _Playing:
    key: Key
    samples: Block
    place: int = 0


class Mixer:
    """Sentences in order, as 16-bit samples."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Playing] = deque()
        self._fade: Block = np.zeros(0, np.int16)

    def put(self, key: Key, pcm: bytes) -> None:
        """Play it after what is there."""
        with self._lock:
            self._waiting.append(_Playing(key, np.frombuffer(pcm, "<i2")))

    def drop(self, reply_id: str | None) -> None:
        """Nothing more of one reply, or (None) of any; what sounds fades within FADE_SAMPLES."""
        with self._lock:
            kept = deque(one for one in self._waiting if reply_id is not None and one.key[0] != reply_id)
            if self._waiting and self._waiting[0].place and (not kept or kept[0] is not self._waiting[0]):
                first = self._waiting[0]
                rest = first.samples[first.place : first.place + FADE_SAMPLES]
                self._fade = (rest * np.linspace(1, 0, len(rest))).astype(np.int16)
            self._waiting = kept

    def clear(self) -> None:
        """As new: what a device that is gone had begun is not ended on another."""
        with self._lock:
            self._waiting.clear()
            self._fade = self._fade[:0]

    def fill(self, block: Block) -> list[Moment]:
        """Write the next samples into `block`, shape (samples,); what begins and ends in it."""
        moments: list[Moment] = []
        with self._lock:
            done = self._fade_into(block)
            while done < len(block) and self._waiting:
                one = self._waiting[0]
                if not one.place:
                    moments.append(Moment(one.key, "started", done))
                num = min(len(block) - done, len(one.samples) - one.place)
                block[done : done + num] = one.samples[one.place : one.place + num]
                one.place += num
                done += num
                if one.place >= len(one.samples):
                    self._waiting.popleft()
                    moments.append(Moment(one.key, "finished", done))
        block[done:] = 0
        return moments

    def _fade_into(self, block: Block) -> int:
        num = min(len(block), len(self._fade))
        block[:num] = self._fade[:num]
        self._fade = self._fade[num:]
        return num
