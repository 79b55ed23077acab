"""Recognises a wave: much the same words from many viewers within a short time, such as copypasta and raid calls. Pure.

Texts are compared with the one that began a wave. Which those may be is looked up by min-hashes (Broder 1997), so
that a text costs the same however many were heard before it.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from vtuber_brain.messages import ChatMessage

MAX_BEGUN = 16_384
NUM_HASHES = 3
SHORT_WORDS = 3

Words = frozenset[str]
Key = tuple[int, int]


def likeness(one: Words, other: Words) -> float:
    """The share of words two texts have in common, 0 to 1 (Jaccard 1901)."""
    shared = len(one & other)
    either = len(one) + len(other) - shared
    return shared / either if either else 0.0


@dataclass(slots=True)
class _Wave:
    words: Words
    heard: deque[tuple[float, str]]


class Waves:
    """Of more than MAX_BEGUN that may have begun, the one silent longest is forgotten.

    Words at least `limit` alike from `num_viewers` viewers within `within_s` are a wave.
    """

    def __init__(self, num_viewers: int, within_s: float, limit: float) -> None:
        self._num_viewers, self._within_s, self._limit = num_viewers, within_s, limit
        self._begun: OrderedDict[Key, _Wave] = OrderedDict()

    def note(self, message: ChatMessage, words: Words) -> bool:
        """One more message, with the words of its text; whether, with it, they are a wave."""
        if not words:
            return False
        wave = self._wave(words)
        now_s = message.received_s
        wave.heard.append((now_s, message.author.id))
        if len(wave.heard) < self._num_viewers:
            return False
        authors = {author for at_s, author in wave.heard if now_s - at_s <= self._within_s}
        return len(authors) >= self._num_viewers

    def _wave(self, words: Words) -> _Wave:
        keys = list(_keys(words))
        for key in keys:
            wave = self._begun.get(key)
            if wave is not None and (wave.words == words or self._is_like(wave.words, words)):
                self._begun.move_to_end(key)
                return wave
        wave = _Wave(words, deque(maxlen=4 * self._num_viewers))
        for key in keys:
            self._begun[key] = wave
            self._begun.move_to_end(key)
        while len(self._begun) > NUM_HASHES * MAX_BEGUN:
            self._begun.popitem(last=False)
        return wave

    def _is_like(self, one: Words, other: Words) -> bool:
        # Two greetings of two words each share half of them, and are no wave.
        return min(len(one), len(other)) >= SHORT_WORDS and likeness(one, other) >= self._limit


def _keys(words: Words) -> Iterator[Key]:
    """Two texts whose words are likely to be alike share one of these with a probability of 1 - (1 - likeness)^3."""
    hashes = [crc32(word.encode("utf-8", "replace")) for word in words]
    yield 0, min(hashes)
    yield 1, min((value * 0x9E3779B1) & 0xFFFFFFFF for value in hashes)
    yield 2, min((value * 0x85EBCA6B + 0x5BD1) & 0xFFFFFFFF for value in hashes)
