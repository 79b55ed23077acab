"""Which of her replies anybody wanted: what the operator said of them, and how the audience sounded after. Pure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal

from vtuber_brain.night_sections import LikeSettings
from vtuber_brain.retrain.replayed import Asked, Feeling, Replayed

Approval = Literal["edited", "rated", "liked"]
ORDER: tuple[Approval, ...] = ("edited", "rated", "liked")
"""The surest first: what is kept when not all can be."""

WARM = 0.5
MIN_REPLIES = 5
"""Replies a stream must have before one of them can stand out."""


@dataclass(frozen=True, slots=True)
class Approved:
    """How a reply came to be approved, and the weight (above 0, at most 1) of the loss on it."""

    how: Approval
    weight: float = 1.0


def approvals(replayed: Replayed, settings: LikeSettings) -> dict[str, Approved]:
    """By reply: how it came to be approved. One that the operator rated down is not, whoever liked it."""
    liked = liked_replies(replayed.asked, replayed.feelings, settings)
    found: dict[str, Approved] = {}
    for asked in replayed.asked:
        rating = asked.rating.rating if asked.rating is not None else 0
        if rating > 0:
            assert asked.rating is not None
            found[asked.reply_id] = Approved("edited" if asked.rating.edited_text is not None else "rated")
        elif rating == 0 and asked.reply_id in liked:
            found[asked.reply_id] = Approved("liked", liked[asked.reply_id])
    return found


def liked_replies(asked: Sequence[Asked], feelings: Sequence[Feeling], settings: LikeSettings) -> Mapping[str, float]:
    """The replies after which at least `min_viewers` sounded happy, and the whole chat clearly happier than usual.

    Each viewer counts once for a reply, with the mean of their moods, so that nobody makes a crowd alone. The weight is
    how far it stands out of its stream: a half at `threshold` standard deviations, 1 from twice as many on.
    """
    heard = [one for one in asked if one.heard_text.strip()]
    moods = [_moods(one, feelings, settings.window_s) for one in heard]
    warmths = [sum(mood) for mood in moods]
    spread = pstdev(warmths) if len(warmths) >= MIN_REPLIES else 0.0
    if not spread:
        return {}
    usual = fmean(warmths)
    clear = [(warmth - usual) / spread / settings.threshold for warmth in warmths]
    return {
        one.reply_id: min(1.0, times / 2)
        for one, mood, times in zip(heard, moods, clear, strict=True)
        if times >= 1 and sum(warmth >= WARM for warmth in mood) >= settings.min_viewers
    }


def _moods(asked: Asked, feelings: Sequence[Feeling], window_s: float) -> list[float]:
    by_viewer: dict[str, list[float]] = defaultdict(list)
    for feeling in feelings:
        if asked.first_said_at < feeling.at <= asked.ended_at + window_s and math.isfinite(feeling.warmth):
            by_viewer[feeling.viewer].append(feeling.warmth)
    return [fmean(by_viewer[viewer]) for viewer in sorted(by_viewer)]
