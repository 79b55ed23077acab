"""Training and validation rows: the same mixture of sources and topics in both, and nothing nearly the same in both."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.conversations import Row
from vtuber_brain.retrain.likeness import near_duplicates

AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True, slots=True)
class Split(Generic[AnyRow]):
    """Rows in the order they came. `dropped` stand in neither: they are nearly the same as one of validation."""

    training: tuple[AnyRow, ...]
    validation: tuple[AnyRow, ...]
    dropped: tuple[AnyRow, ...] = ()


def split(rows: Sequence[AnyRow], share: float = 0.15, seed: int = 0, *, threshold: float = 0.8) -> Split[AnyRow]:
    """Hold out `share` of the rows, of every source and topic its part, the same ones for the same seed and content.

    Whether a row is drawn does not hang on the order of the rows. What is as alike as `threshold` to a held-out row
    leaves training. Raises ConfigError when nothing would be left to train or to validate on.
    """
    if not 0 < share < 1 or len(rows) < 2:
        what = f"{len(rows)} rows cannot be split with a share of {share}"
        raise ConfigError([Problem("validation", what, "Give two rows or more, and a share of 0.1 to 0.2")])
    held = _drawn(rows, share, seed)
    alike = {
        place
        for group in near_duplicates([row.words for row in rows], threshold, seed)
        if not held.isdisjoint(group)
        for place in group
    } - held
    training = tuple(row for place, row in enumerate(rows) if place not in held | alike)
    if not training:
        fix = "Write rows that differ, or lower the share held out"
        raise ConfigError([Problem("validation", "every row is nearly the same as one that is held out", fix)])
    return Split(training, tuple(rows[place] for place in sorted(held)), tuple(rows[place] for place in sorted(alike)))


def _drawn(rows: Sequence[Row], share: float, seed: int) -> set[int]:
    """The places held out: of each source and topic its share, what is left over by the largest remainders."""
    strata: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        strata[f"{row.source}\0{row.meta.get('topic', '')}"].append(place)
    lots = [hashlib.sha256(f"{seed}\0{row.content_hash}".encode()).digest() for row in rows]
    num_held = min(len(rows) - 1, max(1, round(share * len(rows))))
    exact = {name: num_held * len(places) / len(rows) for name, places in strata.items()}
    counts = {name: math.floor(wanted) for name, wanted in exact.items()}
    by_remainder = sorted(strata, key=lambda name: (counts[name] - exact[name], name))
    for name in by_remainder[: num_held - sum(counts.values())]:
        counts[name] += 1
    return {place for name, places in strata.items() for place in sorted(places, key=lots.__getitem__)[: counts[name]]}
