"""The one way to try again: pauses that double, with jitter, up to a ceiling."""

import random
from collections.abc import Iterator


def backoff(first_s: float, max_s: float, jitter: float = 0.2) -> Iterator[float]:
    """Endless pauses in seconds: `first_s`, doubling up to `max_s`, each varied by up to `jitter` of itself."""
    pause_s = first_s
    while True:
        yield min(max_s, pause_s * random.uniform(1 - jitter, 1 + jitter))  # noqa: S311 - spreads load, guards nothing
        pause_s = min(max_s, pause_s * 2)
