"""Texts that are nearly the same, found without comparing each with each. Pure and deterministic.

Two texts are as alike as their sets of words (Jaccard). MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman
and Ullman, Mining of Massive Datasets, 3.4) propose pairs, and the sets themselves decide.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

NUM_HASHES = 128
MIN_RECALL = 0.995
MAX_COMPARED = 64
_CHUNK = 2**18
_WORD = re.compile(r"\w+")

Words = frozenset[int]


def words_of(text: str) -> Words:
    """The set of the text's words in small letters, as numbers; of a text without any, of its characters."""
    said = text.casefold()
    return frozenset(zlib.crc32(word.encode(errors="replace")) for word in _WORD.findall(said) or said.split() or [""])


def likeness(one: Words, other: Words) -> float:
    """The share of the words of both that both have, 0 to 1."""
    return len(one & other) / len(one | other)


def near_duplicates(texts: Sequence[str], threshold: float = 0.8, seed: int = 0) -> list[tuple[int, ...]]:
    """Groups of two or more places in `texts`, each as alike as `threshold` (over 0, to 1) to another of its group.

    The groups are disjoint, in the order of their first places. A pair at the threshold is missed once in 200 times or
    less often; equal texts never. Of very many that share a band each is compared with the last MAX_COMPARED.
    """
    if not 0 < threshold <= 1:
        raise ValueError("threshold must be over 0 and at most 1")
    sets: dict[Words, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        sets[words_of(text)].append(place)
    distinct = list(sets)
    parents = list(range(len(distinct)))
    for one, other in _candidates(distinct, threshold, seed):
        first, second = _root(parents, one), _root(parents, other)
        if first != second and likeness(distinct[one], distinct[other]) >= threshold:
            parents[max(first, second)] = min(first, second)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, words in enumerate(distinct):
        groups[_root(parents, index)] += sets[words]
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def rows_per_band(threshold: float) -> int:
    """The most rows a band may have for a pair at `threshold` to be proposed with MIN_RECALL or more."""
    fitting = (
        rows for rows in range(NUM_HASHES, 1, -1) if 1 - (1 - threshold**rows) ** (NUM_HASHES // rows) >= MIN_RECALL
    )
    return next(fitting, 1)


def _candidates(sets: Sequence[Words], threshold: float, seed: int) -> Iterator[tuple[int, int]]:
    """Pairs of places that share a band, some of them more than once."""
    rows = rows_per_band(threshold)
    signatures = _signatures(sets, seed)
    for start in range(0, NUM_HASHES - rows + 1, rows):
        band = np.ascontiguousarray(signatures[:, start : start + rows])
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for place, key in enumerate(band.view(f"V{band.itemsize * rows}").ravel()):
            buckets[key.tobytes()].append(place)
        for bucket in buckets.values():
            for index, place in enumerate(bucket[1:], 1):
                yield from ((other, place) for other in bucket[max(0, index - MAX_COMPARED) : index])


def _signatures(sets: Sequence[Words], seed: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint32]]":
    """`[sets, NUM_HASHES]`: of every set the least of each hash of its words (multiply-shift, Dietzfelbinger 1997)."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, 2**63, NUM_HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 2**63, NUM_HASHES, dtype=np.uint64)
    signatures = np.empty((len(sets), NUM_HASHES), dtype=np.uint32)
    for start, stop in pairwise(_cuts(sets)):
        part = sets[start:stop]
        flat = np.fromiter((word for words in part for word in sorted(words)), dtype=np.uint64)
        begins = np.cumsum([0, *(len(words) for words in part[:-1])])
        for index in range(NUM_HASHES):
            hashed = (flat * factors[index] + shifts[index]) >> np.uint64(32)
            signatures[start:stop, index] = np.minimum.reduceat(hashed, begins)
    return signatures


def _cuts(sets: Sequence[Words]) -> list[int]:
    """Where to cut so that no part has many more than _CHUNK words."""
    cuts, num_words = [0], 0
    for index, words in enumerate(sets):
        if num_words > _CHUNK:
            cuts.append(index)
            num_words = 0
        num_words += len(words)
    return [*cuts, len(sets)] if sets else cuts


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
