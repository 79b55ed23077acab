"""Rows of random tokens for the small random models of `families`."""

import random

from tests.support.families import VOCABULARY
from vtuber_brain.retrain.rows import Row


def random_rows(count: int, *, num_opening: int = 11, longest: int = 40, seed: int = 0, patterned: bool = False):
    """Rows with one opening; of what follows it some stretches are learnt, the last token always.

    `patterned` rows can be learnt: each token follows from the one before.
    """
    rng = random.Random(seed)
    opening = [rng.randrange(3, VOCABULARY) for _ in range(num_opening)]
    rows = []
    for n in range(count):
        length = rng.randrange(4, longest)
        own = [rng.randrange(3, VOCABULARY)]
        while len(own) < length:
            own.append(3 + (own[-1] * 5 + 1) % (VOCABULARY - 3) if patterned else rng.randrange(3, VOCABULARY))
        weights = [0.0, *(rng.choice((0.0, 1.0, 1.0, 0.5)) for _ in own[2:]), 1.0]
        rows.append(Row((*opening, *own), (0.0,) * num_opening + tuple(weights), num_opening, f"row-{n:03d}", "random"))
    return rows
