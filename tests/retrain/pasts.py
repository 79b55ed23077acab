"""Toy streams that are over, in transcripts of their own, and nights that learn from them."""

import asyncio
import random
import time
from pathlib import Path

from tests.retrain import whole_night
from tests.support import toys
from tests.support.past import Exchange, record
from vtuber_brain.retrain.task import Task
from vtuber_brain.sections import MemorySettings

MEMORY = MemorySettings(max_chars=1)
"""No past in any prompt: what is learnt of one viewer holds nothing of another."""

AGO_S = 9e6


def exchanges(seed: int, count: int) -> list[Exchange]:
    """One stream's, no two of which are nearly the same."""
    draw, found = random.Random(seed), []
    for one in toys.streams(seed, 1, turns=count):
        name, _, said = one.messages[0].content.partition(": ")
        beside = " ".join(draw.sample((*toys.ITEMS, *toys.PLACES, *toys.COLOURS), 9))
        found.append((name, f"{said} {beside}", one.messages[1].content))
    return found


def streamed(state: Path, *seeds: int, count: int = 14) -> Path:
    """Add a stream for each seed; every second reply is rated good and the others are corrected."""
    path = state / "transcripts.db"
    began_at = time.time() - AGO_S
    streams = [exchanges(seed, count) for seed in seeds]
    asyncio.run(record(path, "toy", streams, memory=MEMORY, began_at=began_at))
    return path


def night(base: Path, state: Path, **changed) -> Task:
    """A night over these streams, and the corpus unless told otherwise, in which all that was approved counts."""
    given = whole_night.task(base, state)
    curate = given.settings.curate.model_copy(update={"viewer_share": 1.0, "max_repeats": 99, "near_duplicate": 1.0})
    path = state / "transcripts.db"
    settings = given.settings.model_copy(update={"curate": curate})
    return whole_night.task(
        base, state, **{"settings": settings, "memory": MEMORY, "transcripts": path, "force": None, **changed}
    )
