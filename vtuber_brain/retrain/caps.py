"""What is too much of one thing: copies, one viewer, one stream, her own words. Each gives what to leave out and why.

Of what is too much the best stays: what is surest to be good, then the newest. Pure.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

from vtuber_brain.night_sections import CurateSettings
from vtuber_brain.retrain.candidates import Candidate
from vtuber_brain.retrain.likeness import near_duplicates

BURST_S = 60.0

Dropped = Mapping[str, str]
"""By the id of a candidate: why it is left out."""


def duplicates(candidates: Sequence[Candidate], _settings: CurateSettings) -> Dropped:
    """The same words answered with the same words: the best of them is kept."""
    best: dict[tuple[str, str], Candidate] = {}
    for one in sorted(candidates, key=lambda one: one.rank):
        best.setdefault((one.asked.prompt[-1].content, one.reply), one)
    kept = {one.asked.id for one in best.values()}
    return {one.asked.id: "duplicate" for one in candidates if one.asked.id not in kept}


def near_copies(candidates: Sequence[Candidate], settings: CurateSettings) -> Dropped:
    """What reads nearly the same, question and answer together: the best of each group is kept."""
    texts = [f"{one.asked.prompt[-1].content}\n{one.reply}" for one in candidates]
    dropped = {}
    for group in near_duplicates(texts, settings.near_duplicate):
        for place in sorted(group, key=lambda place: candidates[place].rank)[1:]:
            dropped[candidates[place].asked.id] = "near_duplicate"
    return dropped


def repeats(candidates: Sequence[Candidate], settings: CurateSettings) -> Dropped:
    """Replies of the same words beyond `max_repeats`, whatever they answer."""
    return capped(candidates, "repeated_reply", lambda one: one.reply.casefold(), settings.max_repeats)


def bursts(candidates: Sequence[Candidate], settings: CurateSettings) -> Dropped:
    """Of one viewer's, in the order of time, no more than `burst` within any minute."""
    lately: dict[str, deque[float]] = defaultdict(deque)
    dropped = {}
    for one in sorted(candidates, key=lambda one: (one.asked.at, one.asked.id)):
        if one.asked.viewer is None:
            continue
        times = lately[one.asked.viewer]
        while times and one.asked.at - times[0] >= BURST_S:
            times.popleft()
        if len(times) >= settings.burst:
            dropped[one.asked.id] = "burst"
        else:
            times.append(one.asked.at)
    return dropped


def capped(candidates: Sequence[Candidate], reason: str, name: Callable[[Candidate], str | None], most: int) -> Dropped:
    """The best `most` of each name are kept; what has none is not counted."""
    counts: Counter[str] = Counter()
    dropped = {}
    for one in sorted(candidates, key=lambda one: one.rank):
        called = name(one)
        if called is None:
            continue
        counts[called] += 1
        if counts[called] > most:
            dropped[one.asked.id] = reason
    return dropped


def too_many_own(candidates: Sequence[Candidate], num_corpus: int, share: float) -> Dropped:
    """What a person wrote, the corpus and corrections, bounds what the model wrote."""
    own = sorted((one for one in candidates if one.approval != "edited"), key=lambda one: one.rank)
    most = math.floor((num_corpus + len(candidates) - len(own)) * share / (1 - share) + 1e-9)
    return {one.asked.id: "own_words" for one in own[most:]}
